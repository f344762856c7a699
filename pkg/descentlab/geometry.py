r"""Margins, exact max-margin directions, and the loss kernels that survive underflow.

Binary data come with the labels folded in: row :math:`i` of `X` is :math:`y_i x_i`, so that a direction `w` separates
the data if and only if ``X @ w > 0``. Everything is float64.

The :math:`\ell_2` (and Mahalanobis) problem is the smallest point of a convex hull, hence one non-negative
least-squares problem, solved exactly by an active set (Lawson & Hanson 1974, ch. 23); the :math:`\ell_\infty` problem is
a linear program. Losses are handled through the logarithm of their derivative, so that margins in the thousands, where
:math:`e^{-z}` is zero in floating point, are as good as small ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, nnls

from descentlab.compiled import njit

Array = NDArray[np.float64]
Loss = Literal["logistic", "exponential"]
Order = Literal["cyclic", "reshuffled", "replacement"]

_SEPARABLE = 1e-12  # margin over largest row norm below which the smallest point of the hull counts as zero


class NotSeparableError(ValueError):
    """No direction has a positive margin on all rows.

    Attributes
    ----------
    certificate : ndarray, shape (N,)
        Convex weights under which the rows average to zero, which no separating direction allows.
    """

    def __init__(self, certificate: Array):
        super().__init__(
            f"X is not linearly separable: a convex combination of {np.count_nonzero(certificate)} of its "
            f"{len(certificate)} rows is zero (see .certificate); remove or relabel samples, or add features"
        )
        self.certificate = certificate


@dataclass(frozen=True)
class MaxMargin:
    """The solution of a max-margin problem.

    Attributes
    ----------
    direction : ndarray, shape (d,)
        Maximiser of the smallest ``x_i @ w`` over the unit ball of the problem's norm; it has norm one.
    margin : float
        The smallest ``x_i @ direction``.
    dual : ndarray, shape (N,)
        Convex weights of the support vectors: non-negative, sum one, zero off the support.
    """

    direction: Array
    margin: float
    dual: Array


@dataclass(frozen=True)
class Trajectory:
    """Recorded iterates of a method.

    Attributes
    ----------
    steps : ndarray of int, shape (r,)
        Numbers of updates after which the iterates were recorded; the last is the final iterate's.
    weights : ndarray, shape (r, d)
        ``weights[k]`` is the iterate after ``steps[k]`` updates.
    """

    steps: NDArray[np.int64]
    weights: Array

    def increment(self) -> Array:
        r"""Second half of the run, :math:`w(T) - w(\lfloor T/2 \rfloor)`, shape (d,): it forgets the start.

        The iterate is :math:`v\tau + \text{const}`, so its angle to the limit closes like :math:`1/\tau`; the
        increment's closes with the step size, far sooner.

        Raises
        ------
        ValueError
            If the half-way iterate was not recorded.
        """
        half = np.flatnonzero(self.steps == self.steps[-1] // 2)
        if half.size == 0:
            raise ValueError(f"record lacks the half-way step {self.steps[-1] // 2}, which increment() needs; add it")
        return self.weights[-1] - self.weights[half[0]]


def as_samples(X: ArrayLike, y: ArrayLike | None = None) -> Array:
    """`X` as a C-contiguous float64 array of shape (N, d), after the checks that every method here needs.

    Raises
    ------
    ValueError
        If `X` is not a non-empty matrix, holds NaN or infinity, or has a row of zeros.
    """
    rows: Array = np.ascontiguousarray(X, dtype=np.float64)
    if y is not None and rows.ndim == 2:
        labels = np.asarray(y, dtype=np.float64)
        if labels.shape != (len(rows),) or not np.all(np.abs(labels) == 1):
            raise ValueError(f"y has shape {labels.shape}; expected {len(rows)} labels +1 and -1, one a row of X")
        rows = labels[:, None] * rows
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"X has shape {rows.shape}; expected a non-empty matrix (samples, features)")
    if not np.all(np.isfinite(rows)):
        i, k = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"X[{i}, {k}] is {rows[i, k]}; every entry must be finite")
    zero = np.flatnonzero(~rows.any(axis=1))
    if zero.size:
        raise ValueError(f"X[{zero[0]}] is a row of zeros, which no direction separates; remove it")
    return rows


def l2_max_margin(X: ArrayLike) -> MaxMargin:
    """Hard-margin support vector machine: the maximiser of ``min(X @ w)`` over ``norm(w) <= 1``.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in.

    Returns
    -------
    MaxMargin
        Exact up to rounding (active set, then one least-squares solve on the support).

    Raises
    ------
    NotSeparableError
        With its certificate, if no direction separates the rows.
    ValueError
        If `X` is empty, not finite, or has a zero row.
    """
    X = as_samples(X)
    rows = X / np.linalg.norm(X, axis=1).max()
    # min over y >= 0 of |rows' y|^2 + (sum y - 1)^2: the optimal y points at the smallest point of the convex hull
    system = np.vstack([rows.T, np.ones(len(rows))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    y, _ = nnls(system, target, maxiter=30 * max(system.shape))
    dual = _polish(rows, y / y.sum())
    point = dual @ rows
    size = float(np.linalg.norm(point))
    if size <= _SEPARABLE or (rows @ point).min() <= 0:
        raise NotSeparableError(dual)
    direction = point / size
    return MaxMargin(direction, float((X @ direction).min()), dual)


def _polish(rows: Array, dual: Array) -> Array:
    """The convex weights re-solved on their support, without the squaring of the condition number."""
    support = np.flatnonzero(dual)
    base, edges = rows[support[0]], rows[support[1:]] - rows[support[0]]
    if not edges.size:
        return dual
    shares = np.linalg.lstsq(edges.T, -base, rcond=None)[0]
    better = np.zeros_like(dual)
    better[support] = np.concatenate([[1.0 - shares.sum()], shares])
    valid = better.min() >= 0 and (rows @ (better @ rows)).min() >= (rows @ (dual @ rows)).min()
    return better if valid else dual


def mahalanobis_max_margin(X: ArrayLike, scale: ArrayLike) -> MaxMargin:
    r"""Maximiser of ``min(X @ w)`` over :math:`\sqrt{w^\top M w} \le 1` with a diagonal `M`.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in.
    scale : array_like, shape (d,)
        Diagonal of `M`, positive.

    Raises
    ------
    NotSeparableError
        With its certificate, if no direction separates the rows.
    ValueError
        If `scale` is not a positive vector of length d, or `X` is empty, not finite, or has a zero row.
    """
    X = as_samples(X)
    root = np.sqrt(_positive(scale, X.shape[1]))
    try:
        solution = l2_max_margin(X / root)
    except NotSeparableError as error:  # X @ w and (X / root) @ (root * w) agree: the same weights would do
        raise NotSeparableError(error.certificate) from None
    direction = solution.direction / root
    return MaxMargin(direction, float((X @ direction).min()), solution.dual)


def linf_max_margin(X: ArrayLike) -> MaxMargin:
    """Maximiser of ``min(X @ w)`` over ``max(abs(w)) <= 1``, by linear programming.

    Where the optimum is a face rather than a point (data of few distinct values), `direction` is one of its vertices:
    compare margins then, not directions.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in.

    Raises
    ------
    NotSeparableError
        With its certificate, if no direction separates the rows.
    ValueError
        If `X` is empty, not finite, or has a zero row.
    """
    X = as_samples(X)
    num_samples, dim = X.shape
    rows = X / np.abs(X).sum(axis=1).max()
    result = linprog(
        np.append(np.zeros(dim), -1.0),  # variables: w, and the margin, which is maximised
        A_ub=np.column_stack([-rows, np.ones(num_samples)]),
        b_ub=np.zeros(num_samples),
        bounds=[(-1.0, 1.0)] * dim + [(0.0, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if not result.success:
        raise RuntimeError(f"the linear program of linf_max_margin failed: {result.message}")
    w = result.x[:dim]
    if result.x[dim] <= _SEPARABLE or np.abs(w).max() == 0 or (rows @ w).min() <= 0:
        return l2_max_margin(X)  # zero margin in one norm is zero margin in all: raises with an exact certificate
    dual = np.maximum(-result.ineqlin.marginals, 0.0)
    direction = w / np.abs(w).max()
    return MaxMargin(direction, float((X @ direction).min()), dual / dual.sum())


def margin(X: ArrayLike, w: ArrayLike, norm: float = 2, *, scale: ArrayLike | None = None) -> Any:
    r"""Normalised margin :math:`\min_i x_i^\top w / \|w\|`.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in.
    w : array_like, shape (..., d)
        Directions; not zero.
    norm : {2, inf}
        The norm of `w`.
    scale : array_like, shape (d,), optional
        Diagonal of `M`, positive: the norm is then :math:`\sqrt{w^\top M w}`.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    ValueError
        If `norm` is neither 2 nor inf.
    """
    w = np.asarray(w, dtype=np.float64)
    if norm not in (2, np.inf):
        raise ValueError(f"norm={norm!r}; allowed are 2 and inf")
    stretched = w if scale is None else w * np.sqrt(_positive(scale, w.shape[-1]))
    result = (w @ np.asarray(X, dtype=np.float64).T).min(axis=-1) / np.linalg.norm(stretched, ord=norm, axis=-1)
    return float(result) if np.ndim(result) == 0 else result


def cosine(u: ArrayLike, v: ArrayLike) -> Any:
    """Cosine of the angle between vectors, along the last axis; shapes broadcast."""
    u, v = _unit(u), _unit(v)
    result = np.sum(u * v, axis=-1)
    return float(result) if np.ndim(result) == 0 else result


def misalignment(u: ArrayLike, v: ArrayLike) -> Any:
    r"""One minus the cosine, computed as :math:`\tfrac12\|\hat u - \hat v\|^2`, so that tiny angles keep their digits."""
    result = 0.5 * np.sum((_unit(u) - _unit(v)) ** 2, axis=-1)
    return float(result) if np.ndim(result) == 0 else result


def _unit(u: ArrayLike) -> Array:
    u = np.asarray(u, dtype=np.float64)
    u = u / np.abs(u).max(axis=-1, keepdims=True)  # so that squares of huge or tiny entries stay in range
    return u / np.linalg.norm(u, axis=-1, keepdims=True)


def _positive(scale: ArrayLike, dim: int) -> Array:
    scale = np.asarray(scale, dtype=np.float64)
    if scale.shape != (dim,) or not np.all(scale > 0) or not np.all(np.isfinite(scale)):
        raise ValueError(
            f"scale must hold {dim} positive finite numbers; it has shape {scale.shape}, least {scale.min()}"
        )
    return scale


@njit
def log_slope_logistic(z: float) -> float:
    r"""Logarithm of :math:`-\ell'(z) = 1/(1 + e^z)` for the logistic loss, exact to rounding at any `z`."""
    return -z - np.log1p(np.exp(-z)) if z > 0 else -np.log1p(np.exp(z))


@njit
def log_slope_exponential(z: float) -> float:
    r"""Logarithm of :math:`-\ell'(z) = e^{-z}` for the exponential loss."""
    return -z


LOG_SLOPES: dict[str, Callable[[float], float]] = {
    "logistic": log_slope_logistic,
    "exponential": log_slope_exponential,
}
"""Compiled kernels by the name of the loss; they may be passed to other compiled functions."""


def log_loss(X: ArrayLike, w: ArrayLike, loss: Loss = "logistic") -> Any:
    r"""Logarithm of the mean loss :math:`\frac1N\sum_i \ell(x_i^\top w)`, finite where the loss itself underflows.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in.
    w : array_like, shape (..., d)
        Weights.
    loss : {"logistic", "exponential"}

    Returns
    -------
    float or ndarray, shape (...)
    """
    if loss not in LOG_SLOPES:
        raise ValueError(f"loss={loss!r}; allowed are {', '.join(map(repr, LOG_SLOPES))}")
    z = np.asarray(w, dtype=np.float64) @ np.asarray(X, dtype=np.float64).T
    if loss == "exponential":
        logs = -z
    else:  # ln ln(1 + e^-z) = -z up to a relative error of e^-z / 2 once z is large
        logs = np.where(z > 40, -z, np.log(np.logaddexp(0.0, -np.minimum(z, 40))))
    result = np.logaddexp.reduce(logs, axis=-1) - np.log(z.shape[-1])
    return float(result) if np.ndim(result) == 0 else result


def recorded_steps(num_steps: int, record: ArrayLike | None = None) -> NDArray[np.int64]:
    """Step counts to keep: those asked for, or about 200 log-spaced ones with the half-way and the last among them.

    Raises
    ------
    ValueError
        If `num_steps` is not a positive integer or a requested count lies outside 0 … `num_steps`.
    """
    if int(num_steps) != num_steps or num_steps < 1:
        raise ValueError(f"num_steps={num_steps!r} must be a positive integer")
    if record is None:
        record = np.concatenate([np.geomspace(1, num_steps, 200).round(), [num_steps // 2]])
    steps = np.unique(np.append(np.asarray(record, dtype=np.int64).ravel(), num_steps))
    if steps[0] < 0 or steps[-1] > num_steps:
        raise ValueError(f"record holds {steps[0] if steps[0] < 0 else steps[-1]}; allowed are 0 … {num_steps}")
    return steps
