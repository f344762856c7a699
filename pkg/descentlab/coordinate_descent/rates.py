r"""Exact asymptotic rates: the factor by which :math:`E\|x\|^2` shrinks in `n` updates, in the long run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from descentlab.coordinate_descent._compiled import epoch_matrix, subset_moments
from descentlab.coordinate_descent.matrices import (
    MAX_EXACT,
    Array,
    Frame,
    as_invariant,
    check_count,
    check_relaxation,
    check_size,
    energy_frame,
    unit_diagonal,
)
from descentlab.random_maps import largest_eigenvalue, leading_eigenpair, smat, svec

_MAX_DENSE = 8  # coordinates up to which the dense operator beats Lanczos iterations

# Any matrix ---------------------------------------------------------------------------------------------------------


def rpcd_rate(A: ArrayLike, *, relaxation: float = 1.0) -> float:
    r"""Rate of random-permutation coordinate descent: spectral radius of :math:`\mathcal M(X) = E_p\, T_p X T_p^\top`.

    Parameters
    ----------
    A : array_like, shape (n, n)
        Symmetric positive definite; any diagonal. At most `MAX_EXACT` coordinates, or of the permutation-invariant
        class.
    relaxation : float
        Each step goes this many times as far as the minimiser along its coordinate; in (0, 2).

    Returns
    -------
    float
        By dynamic programming over subsets, and Lanczos iterations in the energy frame.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite, or too large.
    """
    check_relaxation(relaxation)
    A = unit_diagonal(A)
    if len(A) > MAX_EXACT:
        structure = as_invariant(A)
        if structure is None:
            raise ValueError(
                f"A has {len(A)} coordinates; the mean over all orders is computed for at most {MAX_EXACT}. Beyond, "
                "use rpcd_rate_invariant(n, sigma) for the permutation-invariant class, or rpcd_bracket(A) for bounds"
            )
        return rpcd_rate_invariant(len(A), structure[0], relaxation=relaxation)
    return leading_moment(energy_frame(A), relaxation)[0]


def leading_moment(frame: Frame, relaxation: float = 1.0) -> tuple[float, Array]:
    """Largest eigenvalue of the RPCD operator, and its eigenmatrix: norm one in the energy frame, returned outside it."""
    n = len(frame.A)
    rows = np.ascontiguousarray(relaxation * frame.A)
    if n <= _MAX_DENSE:
        values, vectors = np.linalg.eigh(epoch_matrix(rows, frame.root, frame.inverse_root))
        rate, h = float(values[-1]), smat(vectors[:, -1])
    else:
        table = np.empty((1 << n, n, n))

        def apply(v: Array) -> Array:
            X = frame.inverse_root @ smat(v) @ frame.inverse_root
            # symmetric at every application: antisymmetric rounding would grow into an eigenvalue 1
            subset_moments(rows, (X + X.T) / 2, table)
            return svec(frame.root @ table[-1] @ frame.root)

        rate, vector = leading_eigenpair(apply, start=svec(np.eye(n)))
        h = smat(vector)
    X = frame.inverse_root @ h @ frame.inverse_root
    return max(rate, 0.0), (X + X.T) / 2


def rcd_rate(A: ArrayLike, *, relaxation: float = 1.0) -> float:
    r"""Rate of random coordinate descent (with replacement) per `n` updates: :math:`\rho(\mathcal R)^n`.

    The operator of a step has a closed form, so that any size will do; an iteration costs a few matrix products:

    .. math:: \mathcal R(X) = X - (AX + XA)/n + \operatorname{Diag}(AXA)/n

    Parameters
    ----------
    A, relaxation
        As in `rpcd_rate`, of any size.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite.
    """
    check_relaxation(relaxation)
    frame = energy_frame(unit_diagonal(A))
    n = len(frame.A)

    def apply(v: Array) -> Array:
        h = smat(v)
        drift = frame.A @ h
        curvatures = np.sum(frame.root @ h * frame.root, axis=1)
        noise = frame.root * curvatures @ frame.root
        return svec(h - (relaxation * (drift + drift.T) - relaxation**2 * noise) / n)

    return largest_eigenvalue(apply, start=svec(np.eye(n)), num_vectors=80) ** n


def ccd_rate(A: ArrayLike, *, relaxation: float = 1.0) -> float:
    r"""Rate of cyclic coordinate descent in the order of the rows: :math:`\rho(T)^2` of the Gauss–Seidel matrix `T`.

    Parameters
    ----------
    A, relaxation
        As in `rcd_rate`; with a relaxation this is the method of successive over-relaxation.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite.
    """
    check_relaxation(relaxation)
    return float(np.abs(np.linalg.eigvals(cyclic_epoch(unit_diagonal(A), relaxation))).max() ** 2)


def cyclic_epoch(A: Array, relaxation: float = 1.0) -> Array:
    """Matrix of an epoch in the order of the rows, for a unit diagonal: ``I - (strict lower part + I/ω)^-1 A``."""
    return np.eye(len(A)) - np.linalg.solve(np.tril(A, -1) + np.diag(np.diag(A)) / relaxation, A)


# The permutation-invariant class ------------------------------------------------------------------------------------


def rpcd_rate_invariant(n: int, sigma: float, *, relaxation: float = 1.0) -> float:
    r"""`rpcd_rate` of :math:`\sigma I + (1-\sigma) 1 1^\top` in O(n), from a 2×2 matrix; signs and order do not matter.

    Parameters
    ----------
    n : int
        At least 2.
    sigma : float
        In (0, 1].
    relaxation : float
        In (0, 2).

    Raises
    ------
    ValueError
        For an argument outside its range.
    """
    return _larger_eigenvalue(invariant_operator(n, sigma, "rpcd", relaxation))


def rcd_rate_invariant(n: int, sigma: float, *, relaxation: float = 1.0) -> float:
    r"""`rcd_rate` of :math:`\sigma I + (1-\sigma) 1 1^\top` in O(1).

    Parameters and errors as in `rpcd_rate_invariant`.
    """
    step = invariant_operator(n, sigma, "rcd", relaxation)
    if relaxation == 1:  # 1 - rho from its own quadratic equation, whose constant term is 2 sigma lambda_max
        largest = sigma + n * (1 - sigma)
        trace = n * (step[0, 0] + step[1, 1] - 2)
        return math.exp(n * math.log1p(4 * sigma * largest / (trace - math.sqrt(trace**2 - 8 * sigma * largest)) / n))
    return _larger_eigenvalue(step) ** n


def invariant_operator(n: int, sigma: float, method: str, relaxation: float = 1.0) -> Array:
    r"""An RPCD epoch or an RCD step on :math:`uI + w 1 1^\top`: the 2×2 matrix that acts on `(u, w)`.

    Second moments averaged over all permutations have this form, and both operators keep it. Since all orders give the
    same matrix up to a permutation, one order suffices: if the average of `Y` over permutations is
    :math:`\alpha I + \beta 1 1^\top`, then :math:`\beta = (1^\top Y 1 - \operatorname{tr} Y)/(n(n-1))` and
    :math:`\alpha = \operatorname{tr} Y/n - \beta`.
    """
    check_size(n, sigma)
    check_relaxation(relaxation)
    a = 1 - sigma
    if method == "rcd":
        largest, square = sigma + n * a, 1 + (n - 1) * a**2
        return np.array(
            [
                [1 - (2 * relaxation * sigma - relaxation**2 * square) / n, relaxation**2 * largest**2 / n],
                [-2 * relaxation * a / n, 1 - 2 * relaxation * largest / n],
            ]
        )
    # one step is x_i <- (1 - relaxation sigma) x_i - pull * total, total <- shrink * total - relaxation sigma x_i
    pull = relaxation * a
    shrink = 1 - pull
    powers = shrink ** np.arange(n + 1.0)
    sums = np.concatenate([[0.0], np.cumsum(powers)])[: n + 1]  # sums[m] = 1 + shrink + ... + shrink^(m-1)
    squares = np.concatenate([[0.0], np.cumsum(powers**2)])[: n + 1]
    earlier = np.arange(n)  # coordinates before that of the start e_j
    later = n - 1 - earlier
    total = (1 - relaxation) - pull * shrink * sums[earlier]  # once e_j itself has been updated
    own = (1 - relaxation) + pull**2 * sums[earlier]
    trace_I = np.sum(pull**2 * (squares[earlier] + total**2 * squares[later]) + own**2)
    whole_I = np.sum((powers[later] * total) ** 2)
    totals = n * powers - relaxation * sigma * sums  # from the start 1
    trace_J = np.sum((1 - relaxation * sigma - pull * totals[:-1]) ** 2)
    whole_J = totals[-1] ** 2
    beta = (np.array([whole_I, whole_J]) - np.array([trace_I, trace_J])) / (n * (n - 1))
    alpha = np.array([trace_I, trace_J]) / n - beta
    return np.stack([alpha, beta])


def _larger_eigenvalue(matrix: Array) -> float:
    """Larger eigenvalue of a 2×2 matrix with a real spectrum."""
    (p, q), (r, s) = matrix
    return float((p + s + math.sqrt(max((p - s) ** 2 + 4 * q * r, 0.0))) / 2)


def worst_block(n: int, sigma: float) -> tuple[float, int]:
    """Largest `rpcd_rate` of ``permutation_invariant(n, sigma, block=k)`` over k, and that k.

    The rate of a block is the k-dimensional rate: the other coordinates vanish in the first epoch, and a random order
    of all coordinates is a random order of those in the block.
    """
    check_size(n, sigma)
    rates = [rpcd_rate_invariant(k, sigma) for k in range(2, n + 1)]
    k = int(np.argmax(rates))
    return rates[k], k + 2


# Bounds -------------------------------------------------------------------------------------------------------------


def rate_bound(n: int, sigma: float) -> float:
    r"""The number :math:`B(n, \sigma) = \max\{(1 - 1/n)^n, (1 - \sigma/n)^{2n}\}` between the two methods.

    At most the rate of RCD for every unit-diagonal matrix with least eigenvalue `sigma`; more than the rate of RPCD
    on the permutation-invariant class, and by Conjecture 4.1 never less than it.
    """
    check_size(n, sigma)
    return max(math.exp(n * math.log1p(-1 / n)), math.exp(2 * n * math.log1p(-sigma / n)))


def energy_bound(A: ArrayLike) -> float:
    r"""A proven upper bound on `rpcd_rate` for any size: :math:`\theta/(1+\theta)` from the mean of :math:`M_p M_p^\top`.

    :math:`\theta` is the largest eigenvalue of :math:`A^{-1/2} S A^{-1/2}` with :math:`S = H^2/3 +
    \operatorname{Diag}(H^2)/6`, :math:`H = A - I`: an epoch multiplies the energy by
    :math:`I - A^{1/2}(M_p M_p^\top)^{-1} A^{1/2}`, the mean of :math:`M_p M_p^\top` is :math:`A + S`, and the inverse is
    operator convex. Valid, and loose.
    """
    frame = energy_frame(unit_diagonal(A))
    square = np.linalg.matrix_power(frame.A - np.eye(len(frame.A)), 2)
    spread = square / 3 + np.diag(np.diag(square)) / 6
    theta = np.linalg.eigvalsh(frame.inverse_root @ spread @ frame.inverse_root)[-1]
    return float(theta / (1 + theta))


def rpcd_bracket(A: ArrayLike, *, num_orders: int = 200, seed: int = 0) -> tuple[float, float, float]:
    """Two-sided estimate of `rpcd_rate` for matrices too large for it, from sampled orders.

    Parameters
    ----------
    A : array_like, shape (n, n)
    num_orders : int
        Orders sampled for each side; each is used with its reverse.
    seed : int

    Returns
    -------
    low, high, error : float
        `high` is the spectral radius of the operator averaged over a sample, which is biased upwards; `low` is the
        Rayleigh quotient of its eigenmatrix over an independent sample, whose expectation is at most the rate;
        `error` is the standard error of `low`.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite or `num_orders` is below 2.
    """
    num_orders = check_count("num_orders", num_orders, least=2)
    frame = energy_frame(unit_diagonal(A))
    n = len(frame.A)
    rng = np.random.default_rng(seed)
    first, second = (_sampled_epochs(frame, num_orders, rng) for _ in range(2))

    def apply(v: Array) -> Array:
        h = smat(v)
        forth = (first @ h @ first.transpose(0, 2, 1)).mean(axis=0)
        back = (first.transpose(0, 2, 1) @ h @ first).mean(axis=0)  # the reversed orders
        return svec((forth + back) / 2)

    high, vector = leading_eigenpair(apply, start=svec(np.eye(n)), tol=1e-8, num_vectors=40)
    h = smat(vector)
    quotients = np.einsum("ij,pij->p", h, second @ h @ second.transpose(0, 2, 1))
    return float(quotients.mean()), high, float(quotients.std(ddof=1) / math.sqrt(num_orders))


def _sampled_epochs(frame: Frame, num_orders: int, rng: np.random.Generator) -> Array:
    """Epoch matrices of random orders in the energy frame, shape (num_orders, n, n): products of projectors."""
    n = len(frame.A)
    orders = rng.permuted(np.tile(np.arange(n), (num_orders, 1)), axis=1)
    epochs = np.tile(np.eye(n), (num_orders, 1, 1))
    for step in orders.T:
        direction = frame.root[step]  # unit vectors, shape (num_orders, n)
        epochs -= direction[:, :, None] * (direction[:, None, :] @ epochs)
    return epochs
