"""The methods themselves, and their exact expected progress epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.coordinate_descent._compiled import epochs, epochs_invariant, subset_moments
from descentlab.coordinate_descent.matrices import (
    MAX_EXACT,
    Array,
    as_invariant,
    check_count,
    check_method,
    check_relaxation,
    check_size,
    positive_definite,
)
from descentlab.coordinate_descent.rates import invariant_operator


@dataclass(frozen=True)
class Moments:
    r"""Expected progress of a method.

    Attributes
    ----------
    squared_norm : ndarray, shape (num_epochs + 1,)
        :math:`E\|x_k\|^2`, the start included.
    objective : ndarray, shape (num_epochs + 1,)
        :math:`E f(x_k)` with :math:`f(x) = \frac12 x^\top A x`.
    """

    squared_norm: Array
    objective: Array


def coordinate_descent(
    A: ArrayLike,
    x0: ArrayLike,
    *,
    num_epochs: int,
    method: str = "rpcd",
    b: ArrayLike | None = None,
    relaxation: float = 1.0,
    seed: int = 0,
) -> Array:
    r"""Exact minimisation of :math:`f(x) = \frac12 x^\top A x - b^\top x` along one coordinate after another.

    .. math:: x_i \leftarrow x_i - \omega \, (Ax - b)_i / A_{ii}

    Parameters
    ----------
    A : array_like, shape (n, n)
        Symmetric positive definite; any diagonal.
    x0 : array_like, shape (..., n)
        Starts, such as ``(runs, n)``; each run has its own orders.
    num_epochs : int
        Epochs of `n` updates.
    method : {"rpcd", "rcd", "ccd"}
        A fresh random permutation each epoch; coordinates drawn with replacement; in the order of the rows.
    b : array_like, shape (n,), optional
        Zero unless given: the minimiser solves ``A x = b``.
    relaxation : float
        :math:`\omega`, in (0, 2).
    seed : int
        Of the random orders.

    Returns
    -------
    ndarray, shape (num_epochs + 1, ..., n)
        The iterates after each epoch, the start first.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite, shapes disagree, or an argument is outside its range.
    """
    A = positive_definite(A)
    check_relaxation(relaxation)
    offsets = _vector("b", np.zeros(len(A)) if b is None else b, len(A))
    diagonal = np.diag(A) / relaxation
    rows = np.ascontiguousarray(A / diagonal[:, None])
    return _run(epochs, (rows, offsets / diagonal), x0, len(A), num_epochs, method, seed)


def coordinate_descent_invariant(
    n: int, sigma: float, x0: ArrayLike, *, num_epochs: int, method: str = "rpcd", seed: int = 0
) -> Array:
    r"""`coordinate_descent` on :math:`\sigma I + (1-\sigma) 1 1^\top`, without the matrix and at O(1) an update.

    Parameters
    ----------
    n, sigma
        As in `permutation_invariant`.
    x0, num_epochs, method, seed
        As in `coordinate_descent`; the same seed gives the same orders.

    Returns
    -------
    ndarray, shape (num_epochs + 1, ..., n)
    """
    check_size(n, sigma)
    return _run(epochs_invariant, (float(sigma),), x0, n, num_epochs, method, seed)


def _run(kernel, problem, x0: ArrayLike, n: int, num_epochs: int, method: str, seed: int) -> Array:  # type: ignore[no-untyped-def]
    """Epoch after epoch, with the orders of all runs drawn at once."""
    check_method(method)
    num_epochs = check_count("num_epochs", num_epochs)
    start = np.asarray(x0, dtype=np.float64)
    if start.ndim == 0 or start.shape[-1] != n or not np.all(np.isfinite(start)):
        raise ValueError(f"x0 has shape {start.shape}; expected finite numbers of shape (..., {n})")
    x = start.reshape(-1, n).copy()
    trajectory = np.empty((num_epochs + 1, *x.shape))
    trajectory[0] = x
    rng = np.random.default_rng(seed)
    for k in range(num_epochs):
        kernel(*problem, x, _orders(rng, method, len(x), n))
        trajectory[k + 1] = x
    return trajectory.reshape(num_epochs + 1, *start.shape)


def _orders(rng: np.random.Generator, method: str, runs: int, n: int) -> NDArray[np.int64]:
    """The coordinates that an epoch of each run updates, shape (runs, n)."""
    if method == "rcd":
        return rng.integers(0, n, (runs, n))
    in_turn = np.tile(np.arange(n), (runs, 1))
    return rng.permuted(in_turn, axis=1) if method == "rpcd" else in_turn


def expected_moments(
    A: ArrayLike,
    x0: ArrayLike | None,
    *,
    num_epochs: int,
    method: str = "rpcd",
    relaxation: float = 1.0,
    second_moment: ArrayLike | None = None,
) -> Moments:
    r"""Exact :math:`E\|x_k\|^2` and :math:`E f(x_k)` after each epoch, over all random orders; no simulation.

    Parameters
    ----------
    A : array_like, shape (n, n)
        Symmetric positive definite; any diagonal. For ``"rpcd"`` at most `MAX_EXACT` coordinates, or of the
        permutation-invariant class.
    x0 : array_like, shape (n,) or (runs, n)
        Start, relative to the minimiser; of several, the mean. None where `second_moment` is given.
    num_epochs : int
        Epochs of `n` updates.
    method : {"rpcd", "rcd", "ccd"}
    relaxation : float
        In (0, 2).
    second_moment : array_like, shape (n, n), optional
        :math:`E[x_0 x_0^\top]` of a random start: the identity for :math:`x_0 \sim N(0, I)`.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite or too large, shapes disagree, or an argument is outside its range.
    """
    A = positive_definite(A)
    check_method(method)
    check_relaxation(relaxation)
    num_epochs = check_count("num_epochs", num_epochs)
    X = _start_moment(x0, second_moment, len(A))
    structure = as_invariant(A)
    if method == "rpcd" and len(A) > MAX_EXACT:
        if structure is None:
            raise ValueError(
                f"A has {len(A)} coordinates; the mean over all orders is computed for at most {MAX_EXACT}, or for "
                "matrices of the permutation-invariant class. Beyond, average coordinate_descent over runs"
            )
        return _invariant_moments(len(A), *structure, X, num_epochs, relaxation)
    rows = relaxation * A / np.diag(A)[:, None]
    squared_norm, objective = [np.trace(X)], [np.sum(A * X) / 2]
    for _ in range(num_epochs):
        X = _moment_after_epoch(rows, X, method)
        squared_norm.append(np.trace(X))
        objective.append(np.sum(A * X) / 2)
    return Moments(np.array(squared_norm), np.array(objective))


def _moment_after_epoch(rows: Array, X: Array, method: str) -> Array:
    n = len(rows)
    if method == "rpcd":
        table = np.empty((1 << n, n, n))
        subset_moments(rows, X, table)
        X = table[-1]
    elif method == "rcd":
        for _ in range(n):
            drift = rows @ X
            X = X - (drift + drift.T) / n + np.diag(np.sum(drift * rows, axis=1)) / n
    else:
        for i in range(n):  # U X U', a rank-one change of the row and the column i
            r = X @ rows[i]
            X = X.copy()
            q = rows[i] @ r
            X[i] -= r
            X[:, i] -= r
            X[i, i] += q
    return (X + X.T) / 2


def _invariant_moments(n: int, sigma: float, signs: Array, X: Array, num_epochs: int, relaxation: float) -> Moments:
    """`expected_moments` of RPCD in the coordinates `(u, w)` of the start averaged over permutations."""
    operator = invariant_operator(n, sigma, "rpcd", relaxation)
    trace, whole = np.trace(X), signs @ X @ signs
    w = (whole - trace) / (n * (n - 1))
    state = np.array([trace / n - w, w])
    states = [state]
    for _ in range(num_epochs):
        state = operator @ state
        states.append(state)
    u, w = np.array(states).T
    return Moments(n * (u + w), (sigma * n * (u + w) + (1 - sigma) * (n * u + n**2 * w)) / 2)


def _start_moment(x0: ArrayLike | None, second_moment: ArrayLike | None, n: int) -> Array:
    if (x0 is None) == (second_moment is None):
        raise ValueError("x0 and second_moment: give one of them, the other None")
    if second_moment is not None:
        X = np.asarray(second_moment, dtype=np.float64)
        if X.shape != (n, n) or not np.allclose(X, X.T) or np.linalg.eigvalsh(X)[0] < -1e-10 * max(np.trace(X), 0.0):
            raise ValueError(f"second_moment has shape {X.shape}; expected a positive semidefinite ({n}, {n}) matrix")
        return (X + X.T) / 2
    starts = np.atleast_2d(np.asarray(x0, dtype=np.float64))
    if starts.ndim != 2 or starts.shape[1] != n or not np.all(np.isfinite(starts)):
        raise ValueError(f"x0 has shape {starts.shape}; expected finite numbers of shape ({n},) or (runs, {n})")
    return starts.T @ starts / len(starts)


def _vector(name: str, value: ArrayLike, n: int) -> Array:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (n,) or not np.all(np.isfinite(vector)):
        raise ValueError(f"{name} has shape {vector.shape}; expected {n} finite numbers")
    return vector
