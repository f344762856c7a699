"""Finite sums to minimise: quadratics, which can be solved exactly, and regularised logistic regression."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]

_ROUNDING = 1e-9  # relative; what a check of symmetry or of a sum lets pass


@dataclass(frozen=True, eq=False, repr=False)
class QuadraticSum:
    r"""Mean of quadratics, :math:`F = \frac1n \sum_i f_i` with :math:`f_i(x) = \tfrac12 x^\top H_i x + b_i^\top x`.

    Parameters
    ----------
    hessians : array_like, shape (n, d, d) or (n, d)
        Symmetric :math:`H_i`, or their diagonals. Single ones may be indefinite; their mean is positive definite.
    linear_terms : array_like, shape (n, d)
        The :math:`b_i`.
    mu, L : float, optional
        Where given, it is checked that :math:`\sum_i b_i = 0`, that no eigenvalue of the mean Hessian lies outside
        [mu, L], and that no component has a curvature beyond L in size.

    Raises
    ------
    ValueError
        A shape does not fit, an entry is not finite, a Hessian is not symmetric, the mean Hessian is not positive
        definite, or a check of `mu` or `L` fails.
    """

    hessians: Array
    linear_terms: Array
    mu: InitVar[float | None] = None
    L: InitVar[float | None] = None

    def __post_init__(self, mu: float | None, L: float | None) -> None:
        hessians = np.array(self.hessians, dtype=float)
        linear = np.array(self.linear_terms, dtype=float)
        if linear.ndim != 2 or linear.size == 0:
            raise ValueError(f"linear_terms has shape {linear.shape}, expected (n, d)")
        n, d = linear.shape
        if hessians.shape not in ((n, d), (n, d, d)):
            raise ValueError(f"hessians has shape {hessians.shape}, expected {(n, d, d)} or, diagonals only, {(n, d)}")
        for name, values in (("hessians", hessians), ("linear_terms", linear)):
            if not np.isfinite(values).all():
                raise ValueError(f"{name} has an entry that is not finite")
        if hessians.ndim == 3:
            skew = np.abs(hessians - hessians.swapaxes(1, 2)).max(axis=(1, 2))
            if np.any(skew > _ROUNDING * np.abs(hessians).max()):
                raise ValueError(f"hessians[{int(skew.argmax())}] is not symmetric (by {skew.max():.3g})")
        object.__setattr__(self, "hessians", hessians)
        object.__setattr__(self, "linear_terms", linear)
        if not self.strong_convexity > 0:
            raise ValueError(
                f"hessians: their mean has the eigenvalue {self.strong_convexity:g}; it must be positive definite"
            )
        if mu is not None or L is not None:
            self._check(mu, L)

    def _check(self, mu: float | None, L: float | None) -> None:
        drift, size = np.abs(self.linear_terms.sum(axis=0)).max(), np.abs(self.linear_terms).max()
        if drift > _ROUNDING * self.num_components * size:
            raise ValueError(f"linear_terms: their sum must be zero, found an entry of size {drift:.3g}")
        if mu is not None and self.strong_convexity < mu * (1 - _ROUNDING):
            raise ValueError(f"mu={mu:g} exceeds the least eigenvalue {self.strong_convexity:g} of the mean Hessian")
        if L is not None and self.smoothness > L * (1 + _ROUNDING):
            raise ValueError(f"L={L:g} is below the largest curvature {self.smoothness:g} of a component")

    def __repr__(self) -> str:
        kind = "diagonal" if self.is_diagonal else "dense"
        return (
            f"QuadraticSum: {self.num_components} {kind} quadratics in {self.dim} dimensions, "
            f"mu = {self.strong_convexity:g}, L = {self.smoothness:g}"
        )

    @property
    def num_components(self) -> int:
        return len(self.linear_terms)

    @property
    def dim(self) -> int:
        return int(self.linear_terms.shape[1])

    @property
    def is_diagonal(self) -> bool:
        """Whether the Hessians were given by their diagonals."""
        return self.hessians.ndim == 2

    @cached_property
    def mean_hessian(self) -> Array:
        """Hessian of F, shape (d, d)."""
        mean = self.hessians.mean(axis=0)
        return np.diag(mean) if self.is_diagonal else mean

    @cached_property
    def strong_convexity(self) -> float:
        """Least eigenvalue of the Hessian of F."""
        mean = self.hessians.mean(axis=0)
        return float(mean.min() if self.is_diagonal else np.linalg.eigvalsh(mean)[0])

    @cached_property
    def smoothness(self) -> float:
        """Largest curvature of a component, in size: the constant L for which every component is L-smooth."""
        values = self.hessians if self.is_diagonal else np.linalg.eigvalsh(self.hessians)
        return float(np.abs(values).max())

    @cached_property
    def minimizer(self) -> Array:
        """Where F is least, shape (d,)."""
        mean, tilt = self.hessians.mean(axis=0), self.linear_terms.mean(axis=0)
        return (-tilt / mean if self.is_diagonal else np.linalg.solve(mean, -tilt)) + 0.0  # no negative zeros

    def gap(self, x: ArrayLike) -> Array:
        """F(x) minus its least value; x of shape (..., d) to an array of shape (...), infinite where it overflows."""
        away = _points(x, self.dim) - self.minimizer
        with np.errstate(over="ignore", invalid="ignore"):
            if self.is_diagonal:
                value = 0.5 * (self.hessians.mean(axis=0) * away**2).sum(axis=-1)
            else:
                value = 0.5 * (away * (away @ self.mean_hessian)).sum(axis=-1)
        return np.where(np.isnan(value), np.inf, value)

    def gradients(self, x: ArrayLike) -> Array:
        """Gradients of the components at x of shape (d,), one a row: shape (n, d)."""
        point = _points(x, self.dim)
        curved = self.hessians * point if self.is_diagonal else self.hessians @ point
        return curved + self.linear_terms


@dataclass(frozen=True, eq=False, repr=False)
class LogisticSum:
    r"""Regularised logistic regression, :math:`f_i(w) = \log(1 + e^{-y_i x_i^\top w}) + \tfrac r2 \lVert w \rVert^2`.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Samples; add a column of ones for a bias.
    y : array_like, shape (n,)
        Labels, 1 and -1.
    ridge : float
        r, positive, on all weights.

    Raises
    ------
    ValueError
        A shape does not fit, an entry is not finite, a label is neither 1 nor -1, or `ridge` is not positive.
    """

    X: Array
    y: Array
    ridge: float

    def __init__(self, X: ArrayLike, y: ArrayLike, *, ridge: float):
        X, y = np.ascontiguousarray(X, dtype=float), np.array(y, dtype=float)
        if X.ndim != 2 or X.size == 0 or not np.isfinite(X).all():
            raise ValueError(f"X of shape {X.shape} must be finite and of shape (n, d)")
        if y.shape != X.shape[:1] or not np.isin(y, (-1, 1)).all():
            raise ValueError(f"y of shape {y.shape} must hold {len(X)} labels, each 1 or -1")
        if not (ridge > 0 and np.isfinite(ridge)):
            raise ValueError(f"ridge={ridge!r} must be positive and finite")
        for name, value in (("X", X), ("y", y), ("ridge", float(ridge))):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"LogisticSum: {self.num_components} samples of {self.dim} features, ridge = {self.ridge:g}"

    @property
    def num_components(self) -> int:
        return len(self.X)

    @property
    def dim(self) -> int:
        return int(self.X.shape[1])

    @property
    def strong_convexity(self) -> float:
        """The ridge: what is certain everywhere. See `hessian` for the curvature at a point."""
        return self.ridge

    @cached_property
    def smoothness(self) -> float:
        """Largest curvature of a component: a quarter of the largest squared norm of a sample, plus the ridge."""
        return float((self.X**2).sum(axis=1).max() / 4 + self.ridge)

    def value(self, x: ArrayLike) -> Array:
        """F at x of shape (..., d), shape (...)."""
        points = _points(x, self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.logaddexp(0, -self.y * (points @ self.X.T)).mean(axis=-1)
            return np.asarray(losses + 0.5 * self.ridge * (points**2).sum(axis=-1))

    def gradients(self, x: ArrayLike) -> Array:
        """Gradients of the components at x of shape (d,), one a row: shape (n, d)."""
        point = _points(x, self.dim)
        slopes = -self.y * expit(-self.y * (self.X @ point))
        return slopes[:, None] * self.X + self.ridge * point

    def hessian(self, x: ArrayLike) -> Array:
        """Hessian of F at x of shape (d,), shape (d, d)."""
        p = expit(self.X @ _points(x, self.dim))
        return (self.X.T * (p * (1 - p))) @ self.X / len(self.X) + self.ridge * np.eye(self.dim)

    @cached_property
    def minimizer(self) -> Array:
        """Where F is least, shape (d,), by Newton's method in a trust region, polished by two full steps."""
        start = np.zeros(self.dim)
        found = minimize(
            self.value, start, jac=lambda w: self.gradients(w).mean(axis=0), hess=self.hessian, method="trust-exact",
            options={"gtol": 1e-8},
        ).x  # fmt: skip
        for _ in range(2):
            found = found - np.linalg.solve(self.hessian(found), self.gradients(found).mean(axis=0))
        return np.asarray(found)

    @cached_property
    def least_value(self) -> float:
        """F at its minimiser."""
        return float(self.value(self.minimizer))

    def gap(self, x: ArrayLike) -> Array:
        """F(x) minus its least value; x of shape (..., d) to an array of shape (...), infinite where it overflows."""
        value = self.value(x) - self.least_value
        return np.where(np.isnan(value), np.inf, np.maximum(value, 0.0))


def _points(x: ArrayLike, dim: int) -> Array:
    points = np.asarray(x, dtype=float)
    if points.ndim == 0 or points.shape[-1] != dim:
        raise ValueError(f"x has shape {points.shape}, expected (..., {dim})")
    return points
