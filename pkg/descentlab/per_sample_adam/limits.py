r"""Where the methods go: limit directions computed without running them.

Along the limit the gradients have fixed shares: with dual weights `c`, sample `i` contributes :math:`c_i x_i`. A share can
be stable only if all samples that keep one gain margin at the same rate, and the others gain faster. That is a fixed
point: of a max-margin problem in a norm that depends on `c` (:math:`\beta_2 \to 1`, `adam_fixed_point`), or of an epoch's
displacement (any betas, `adam_limit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root
from scipy.special import logsumexp

from descentlab.geometry import Array, as_samples, l2_max_margin, linf_max_margin, mahalanobis_max_margin


@dataclass(frozen=True)
class FixedPoint:
    """A limit direction with the dual weights that carry it.

    Attributes
    ----------
    dual : ndarray, shape (N,)
        Shares of the samples in the gradient: non-negative, sum one.
    direction : ndarray, shape (d,)
        The limit direction, of Euclidean norm one.
    num_iterations : int
        Iterations used.
    """

    dual: Array
    direction: Array
    num_iterations: int


def adam_fixed_point(
    X: ArrayLike,
    *,
    batch_size: int = 1,
    start: ArrayLike | None = None,
    tol: float = 1e-12,
    max_iterations: int = 10_000,
) -> FixedPoint:
    r"""Limit direction of cyclic mini-batch Adam as :math:`\beta_2 \to 1`, by the paper's fixed-point iteration.

    .. math::
        M(c) = \operatorname{diag}\sqrt{\textstyle\sum_B \big(\sum_{i \in B} c_i x_i\big)^2}, \qquad
        T(c) = \text{dual of } \min \tfrac12 w^\top M(c)\, w \text{ s.t. } Xw \ge 1, \qquad
        \hat w = M(c)^{-1} X^\top c .

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in; consecutive rows form the batches.
    batch_size : int
        Divides N. The iteration is damped by one half above one; ``batch_size=len(X)`` is sign descent, whose limit
        is the :math:`\ell_\infty` max-margin direction.
    start : array_like, shape (N,), optional
        Dual weights to begin with, uniform by default; where there are several fixed points, starts lead to
        different ones.
    tol : float
        Stop once :math:`\|T(c) - c\|_1` is below.
    max_iterations : int
        Give up after so many.

    Returns
    -------
    FixedPoint

    Raises
    ------
    NotSeparableError
        If no direction separates the rows.
    ValueError
        For a batch size that does not divide N, or a start that is not a vector of non-negative weights.
    RuntimeError
        If the iteration does not settle.

    Notes
    -----
    arXiv 2510.26303, Algorithm 3 and Theorem 4.8, for ``batch_size=1``; larger batches are our extension.
    """
    X, batches, dual = _checked(X, batch_size, start)
    if len(batches) == 1:
        return _sign_limit(X)
    damping = 0.5 if batch_size > 1 else 0.0
    for iteration in range(1, max_iterations + 1):
        image = mahalanobis_max_margin(X, _second_moment(batches, dual)).dual
        change = np.abs(image - dual).sum()
        dual = damping * dual + (1 - damping) * image
        if change < tol:
            direction = (dual @ X) / _second_moment(batches, dual)
            return FixedPoint(dual, direction / np.linalg.norm(direction), iteration)
    raise RuntimeError(
        f"adam_fixed_point did not settle in max_iterations={max_iterations}: the last change of the dual weights was "
        f"{change:.1e}, above tol={tol:g}; raise one of them or try another start"
    )


def adam_limit(
    X: ArrayLike,
    *,
    betas: tuple[float, float],
    batch_size: int = 1,
    start: ArrayLike | None = None,
    tol: float = 1e-12,
    max_iterations: int = 200_000,
) -> FixedPoint:
    r"""Limit direction of cyclic mini-batch Adam at finite betas.

    With the batches' shares :math:`g_j = \sum_{i \in B_j} c_i x_i` and `K` batches, an epoch moves the weights along

    .. math::
        u(c) = \sum_{i=1}^K \frac{\sum_j \beta_1^{(i-j) \bmod K} g_j}{\sqrt{\sum_j \beta_2^{(i-j) \bmod K} g_j^2}} .

    In the limit :math:`x_k^\top u(c)` is equal on the support of `c` and larger off it. Exponential loss makes the shares
    :math:`c = \operatorname{softmax}(-z)` follow :math:`\dot z = X u(c)`; that flow comes near, and Newton's method
    finishes. As :math:`\beta_2 \to 1` the limit is that of `adam_fixed_point`.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in; consecutive rows form the batches, visited in turn.
    betas : (float, float)
        :math:`\beta_1` and :math:`\beta_2` in [0, 1).
    batch_size, start, tol, max_iterations
        As in `adam_fixed_point`; `tol` bounds the relative spread of :math:`x_k^\top u` over the support.

    Returns
    -------
    FixedPoint

    Raises
    ------
    NotSeparableError
        If no direction separates the rows.
    ValueError
        For betas outside [0, 1), a batch size that does not divide N, or a bad start.
    RuntimeError
        If the flow does not settle: then the method has no limit direction, or a degenerate one.

    Notes
    -----
    Derived from the epoch recurrence, arXiv 2510.26303, Proposition 2.5; not in the paper.
    """
    for beta in betas:
        if not 0 <= beta < 1:
            raise ValueError(f"betas={betas!r}: every entry must lie in [0, 1)")
    X, batches, weights = _checked(X, batch_size, start)
    if len(batches) == 1:
        return _sign_limit(X)
    l2_max_margin(X)  # raises where nothing separates
    ages = np.subtract.outer(np.arange(len(batches)), np.arange(len(batches))) % len(batches)
    kernels = tuple(np.power(float(beta), ages) for beta in betas)  # 0**0 is 1: the newest batch alone

    z = -np.log(np.maximum(weights, 1e-12))  # a share of exactly zero would stay zero, whatever its sample's gain
    step, attempt, spread = 1.0, 50, np.inf
    for iteration in range(1, max_iterations + 1):
        dual = np.exp(-z - logsumexp(-z))
        gains = X @ _displacement(batches, dual, *kernels)
        if iteration == attempt:
            attempt *= 2
            solution = _equalise_gains(X, batches, dual, kernels, tol)
            if solution is not None:
                return _limit(batches, solution, kernels, iteration)
            spread = dual @ np.abs(gains - dual @ gains) / np.abs(gains).max()
            if spread < tol and gains.min() >= (dual @ gains) * (1 - 1e-9):  # the flow itself has arrived
                return _limit(batches, dual, kernels, iteration)
            if iteration > 3000:  # the flow should be near by now, unless its steps overshoot
                step /= 2
        z = z + step * gains / np.abs(gains).max()
        z = np.minimum(z - z.min(), 100.0)  # so that a share driven to zero by an overshoot can come back
    raise RuntimeError(
        f"adam_limit did not settle in max_iterations={max_iterations}: margins still grow at rates that differ by "
        f"{spread:.1e}, relatively; betas={betas} may have no single limit direction on these data"
    )


def _limit(batches: Array, dual: Array, kernels: tuple[Array, Array], iteration: int) -> FixedPoint:
    direction = _displacement(batches, dual, *kernels)
    return FixedPoint(dual, direction / np.linalg.norm(direction), iteration)


def _equalise_gains(X: Array, batches: Array, dual: Array, kernels: tuple[Array, Array], tol: float) -> Array | None:
    """Newton's method for equal gains on the support near `dual`; None unless that ends in an equilibrium to `tol`.

    The support is found as in an active-set method: begin with all shares that count, drop those that turn negative.
    """
    support = np.flatnonzero(dual > 1e-6 * dual.max())
    while support.size:
        reference, free = support[np.argmax(dual[support])], support[support != support[np.argmax(dual[support])]]

        def shares(values: Array, reference: int = reference, free: Array = free) -> Array:
            full = np.zeros(len(X))
            full[free], full[reference] = values, 1 - values.sum()
            return full

        def excess(values: Array, shares: Any = shares, reference: int = reference, free: Array = free) -> Array:
            gains = X @ _displacement(batches, shares(values), *kernels)
            return gains[free] / gains[reference] - 1.0

        values = dual[free] / dual[support].sum()
        if free.size:
            values = root(excess, values, method="hybr", options={"xtol": 1e-15}).x
        solution = shares(values)
        if solution.min() >= 0:
            gains = X @ _displacement(batches, solution, *kernels)
            level = gains[reference]
            equal = level > 0 and np.abs(gains[support] / level - 1).max() <= max(tol, 1e-14 * len(X))
            return solution if equal and gains.min() >= level * (1 - 1e-9) else None
        support = np.flatnonzero(solution > 0)
    return None


def _displacement(batches: Array, dual: Array, first: Array, second: Array) -> Array:
    """An epoch's displacement for gradient shares `dual`, up to a factor; shape (d,)."""
    g = np.einsum("kb,kbd->kd", dual.reshape(batches.shape[:2]), batches)
    scale = np.sqrt(second @ g**2)
    return np.divide(first @ g, scale, out=np.zeros_like(scale), where=scale > 0).sum(axis=0)


def _second_moment(batches: Array, dual: Array) -> Array:
    """Diagonal of M(c), shape (d,); coordinates that no share touches get a tiny weight, so that M has an inverse."""
    g = np.einsum("kb,kbd->kd", dual.reshape(batches.shape[:2]), batches)
    diagonal = np.sqrt((g**2).sum(axis=0))
    return np.maximum(diagonal, 1e-12 * diagonal.max())


def _sign_limit(X: Array) -> FixedPoint:
    solution = linf_max_margin(X)
    return FixedPoint(solution.dual, solution.direction / np.linalg.norm(solution.direction), 1)


def _checked(X: ArrayLike, batch_size: int, start: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Samples, batches and starting weights, or an error that names what is wrong with them."""
    X = as_samples(X)
    return X, _batches(X, batch_size), _weights(start, len(X))


def _batches(X: Array, batch_size: int) -> Array:
    """`X` cut into consecutive batches, shape (K, b, d)."""
    if int(batch_size) != batch_size or batch_size < 1 or len(X) % batch_size:
        divisors = [b for b in range(1, len(X) + 1) if len(X) % b == 0]
        raise ValueError(f"batch_size={batch_size!r} does not divide the {len(X)} samples; allowed are {divisors}")
    return X.reshape(-1, int(batch_size), X.shape[1])


def _weights(start: ArrayLike | None, num_samples: int) -> Array:
    """Dual weights to start from, normalised to sum one."""
    if start is None:
        return np.full(num_samples, 1.0 / num_samples)
    weights = np.asarray(start, dtype=np.float64)
    if weights.shape != (num_samples,) or not np.all(weights >= 0) or not 0 < weights.sum() < np.inf:
        raise ValueError(f"start={start!r} must hold {num_samples} non-negative weights, one a sample, not all zero")
    return weights / weights.sum()
