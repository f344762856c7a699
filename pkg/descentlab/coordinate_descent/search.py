r"""Worst cases: the matrix with least eigenvalue :math:`\sigma` on which random permutations converge most slowly.

Write :math:`A = \sigma I + (1-\sigma) V V^\top` with unit rows of `V`: these are all unit-diagonal matrices whose least
eigenvalue is at least :math:`\sigma`, smoothly and without constraints. The rate is the Rayleigh quotient
:math:`\rho = \langle AXA, \mathcal M_A(X) \rangle / \langle AXA, X \rangle` at its leading eigenmatrix `X`, and the
factors `A` in it drop out of the derivative because :math:`\mathcal M_A(X) = \rho X`. What remains needs the mean over
all orders before and after a step; since :math:`U_i^\top A = A U_i`, what comes after is the same table read from the
other end, and one pass over the subsets yields the whole gradient.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from descentlab.coordinate_descent._compiled import row_gradients, subset_moments
from descentlab.coordinate_descent.matrices import (
    MAX_EXACT,
    Array,
    check_count,
    check_size,
    energy_frame,
    unit_diagonal,
)
from descentlab.coordinate_descent.rates import leading_moment


def rpcd_rate_gradient(A: ArrayLike) -> tuple[float, Array]:
    """`rpcd_rate` of a unit-diagonal matrix, and its derivative.

    Parameters
    ----------
    A : array_like, shape (n, n)
        Symmetric positive definite with unit diagonal, n at most `MAX_EXACT`.

    Returns
    -------
    rate : float
    gradient : ndarray, shape (n, n)
        Symmetric with zero diagonal: ``sum(gradient * dA)`` is the change of the rate under a small symmetric `dA`
        that keeps the diagonal. Where the largest eigenvalue is not simple, one of several directional derivatives.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite, its diagonal is not one, or it is too large.
    """
    matrix = unit_diagonal(A)
    if np.abs(np.diag(np.asarray(A)) - 1).max() > 1e-12:
        raise ValueError("A must have a unit diagonal; see unit_diagonal")
    if len(matrix) > MAX_EXACT:
        raise ValueError(f"A has {len(matrix)} coordinates; at most {MAX_EXACT} are possible")
    return _rate_and_gradient(matrix)


def _rate_and_gradient(A: Array) -> tuple[float, Array]:
    rate, X = leading_moment(energy_frame(A))  # <AXA, X> = 1
    table = np.empty((1 << len(A), *A.shape))
    subset_moments(A, X, table)
    gradient = row_gradients(A, table)
    gradient = (gradient + gradient.T) / 2
    np.fill_diagonal(gradient, 0.0)
    return rate, gradient


def worst_case_search(n: int, sigma: float, *, num_starts: int = 10, seed: int = 0) -> tuple[float, Array]:
    r"""Maximise the rate of RPCD over all unit-diagonal matrices with least eigenvalue at least `sigma`.

    Parameters
    ----------
    n : int
        From 2 to `MAX_EXACT`; seconds up to 8.
    sigma : float
        In (0, 1).
    num_starts : int
        Random starts of the quasi-Newton method (L-BFGS); the best end counts. There are several local maxima.
    seed : int

    Returns
    -------
    rate : float
        The largest rate found. A search: it may be exceeded, although no larger one is known.
    A : ndarray, shape (n, n)
        Where it was found.

    Raises
    ------
    ValueError
        For an argument outside its range.
    """
    check_size(n, sigma)
    if n > MAX_EXACT:
        raise ValueError(f"n={n} is too large: rates are computed for at most {MAX_EXACT} coordinates")
    if sigma == 1:
        raise ValueError("sigma=1 leaves the identity alone; it must be in (0, 1)")
    num_starts = check_count("num_starts", num_starts, least=1)
    rng = np.random.default_rng(seed)
    ends = []
    with _one_blas_thread():
        for _ in range(num_starts):
            result = minimize(
                _minus_log_rate, rng.standard_normal(n * n), args=(n, sigma), jac=True, method="L-BFGS-B",
                options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-9, "maxcor": 10},
            )  # fmt: skip
            ends.append((float(np.exp(-result.fun)), correlation(result.x, n, sigma)))
    return max(ends, key=lambda end: end[0])


def _one_blas_thread() -> AbstractContextManager[Any]:
    """BLAS on one thread, where threadpoolctl (a part of scikit-learn's installation) can say so.

    For matrices of a few rows, more threads only wait for one another: on a busy machine ten times as long.
    """
    if find_spec("threadpoolctl") is None:
        return nullcontext()
    limits: AbstractContextManager[Any] = import_module("threadpoolctl").threadpool_limits(1, "blas")
    return limits


def correlation(parameters: Array, n: int, sigma: float) -> Array:
    r"""The matrix :math:`\sigma I + (1-\sigma) V V^\top` of n² parameters, the rows of `V` before they are normalised."""
    V = parameters.reshape(n, n)
    V = V / np.linalg.norm(V, axis=1, keepdims=True)
    A = sigma * np.eye(n) + (1 - sigma) * V @ V.T
    np.fill_diagonal(A, 1.0)
    return A


def _minus_log_rate(parameters: Array, n: int, sigma: float) -> tuple[float, Array]:
    lengths = np.linalg.norm(parameters.reshape(n, n), axis=1, keepdims=True)
    V = parameters.reshape(n, n) / lengths
    rate, gradient = _rate_and_gradient(correlation(parameters, n, sigma))
    slope = 2 * (1 - sigma) * gradient @ V
    slope = (slope - np.sum(slope * V, axis=1, keepdims=True) * V) / lengths  # rows keep length one
    return -float(np.log(rate)), -slope.ravel() / rate
