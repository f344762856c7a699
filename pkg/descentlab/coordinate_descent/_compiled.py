"""Compiled loops: the subset recursion for coordinate steps, and runs of coordinate descent."""

from __future__ import annotations

import numpy as np

from descentlab.compiled import njit


@njit
def subset_moments(rows, X, table):  # type: ignore[no-untyped-def]
    """Fill ``table[C]`` with the mean of ``T X T'`` over the orders of the coordinates in the bit set C.

    A step is ``U_i = I - e_i rows[i]'``, of rank one, so that with ``r = Phi rows[i]`` and ``q = rows[i]' r``

        ``U_i Phi U_i' = Phi - e_i r' - r e_i' + q e_i e_i'``,

    which holds for symmetric Phi only.
    """
    n = rows.shape[0]
    table[0] = X
    r = np.empty(n)
    for subset in range(1, 1 << n):
        phi = table[subset]
        phi[:] = 0.0
        size = 0
        for i in range(n):
            if (subset >> i) & 1:
                size += 1
                before = table[subset ^ (1 << i)]
                r[:] = 0.0
                for a in range(n):
                    weight = rows[i, a]
                    for b in range(n):
                        phi[a, b] += before[a, b]
                        r[b] += weight * before[a, b]
                q = 0.0
                for a in range(n):
                    q += rows[i, a] * r[a]
                for a in range(n):
                    phi[i, a] -= r[a]
                    phi[a, i] -= r[a]
                phi[i, i] += q
        phi /= size


@njit
def epoch_matrix(rows, root, inverse_root):  # type: ignore[no-untyped-def]
    """The RPCD operator in the energy frame on `svec` coordinates, shape (n (n + 1) / 2,) twice, for small n."""
    n = rows.shape[0]
    matrix = np.empty((n * (n + 1) // 2, n * (n + 1) // 2))
    table = np.empty((1 << n, n, n))
    half = np.sqrt(0.5)
    column = 0
    for i in range(n):
        for j in range(i + 1):
            X = np.outer(inverse_root[i], inverse_root[j])  # the frame's inverse at a basis matrix
            X = X if i == j else half * (X + X.T)
            subset_moments(rows, X, table)
            h = root @ table[-1] @ root
            row = 0
            for a in range(n):
                for b in range(a + 1):
                    matrix[row, column] = h[a, a] if a == b else half * (h[a, b] + h[b, a])
                    row += 1
            column += 1
    return (matrix + matrix.T) / 2


@njit
def row_gradients(A, table):  # type: ignore[no-untyped-def]
    """Derivatives of ``<A X A, M(X)>`` with respect to the rows of the steps, X fixed, shape (n, n).

    `table` is that of `subset_moments` for the rows of A itself. Row i sums over what comes before i in an order, C,
    and what comes after, D: ``-2/n sum_C binom(n-1, |C|)^-1 Phi_C A U_i Phi_D a_i``.
    """
    n = A.shape[0]
    gradient = np.zeros((n, n))
    full = (1 << n) - 1
    ways = np.ones(n)
    for k in range(1, n):
        ways[k] = ways[k - 1] * (n - k) / k
    r, w = np.empty(n), np.empty(n)
    for i in range(n):
        for before in range(1 << n):
            if (before >> i) & 1:
                continue
            size = 0
            for k in range(n):
                size += (before >> k) & 1
            after = table[full ^ before ^ (1 << i)]
            r[:] = 0.0
            for a in range(n):
                for b in range(n):
                    r[b] += A[i, a] * after[a, b]
            q = 0.0
            for a in range(n):
                q += A[i, a] * r[a]
            r[i] -= q
            w[:] = 0.0
            for a in range(n):
                for b in range(n):
                    w[b] += r[a] * A[a, b]
            phi = table[before]
            scale = -2.0 / (n * ways[size])
            for a in range(n):
                for b in range(n):
                    gradient[i, b] += scale * w[a] * phi[a, b]
    return gradient


@njit
def epochs(rows, offsets, x, orders):  # type: ignore[no-untyped-def]
    """One epoch of each run, in place: ``x[i] -= rows[i] @ x - offsets[i]`` for i in the run's order.

    Parameters
    ----------
    rows : ndarray, shape (n, n)
    offsets : ndarray, shape (n,)
    x : ndarray, shape (runs, n)
    orders : ndarray of int, shape (runs, steps)
    """
    for run in range(len(x)):
        for i in orders[run]:
            residual = -offsets[i]
            for k in range(x.shape[1]):
                residual += rows[i, k] * x[run, k]
            x[run, i] -= residual


@njit
def epochs_invariant(sigma, x, orders):  # type: ignore[no-untyped-def]
    """`epochs` for ``sigma I + (1 - sigma) 1 1'`` in O(1) a step: the sum of the entries is carried along."""
    for run in range(len(x)):
        total = x[run].sum()
        for i in orders[run]:
            before = x[run, i]
            x[run, i] = -(1.0 - sigma) * (total - before)
            total = sigma * (total - before)
