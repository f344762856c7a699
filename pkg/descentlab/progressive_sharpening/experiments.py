"""Sharpness, its bounds and the gradient flow, checked: pure functions, no printing, no plotting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from descentlab.geometry import Array
from descentlab.progressive_sharpening.difficulty import layer_squares, sharpness_bounds, spectrum
from descentlab.progressive_sharpening.minimal import MinimalModel, sharpness_at_minimum
from descentlab.progressive_sharpening.problems import START_SCALE, power_law_data, two_classes

# The exact Hessian (C1) ----------------------------------------------------------------------------------------------


def autodiff_sharpness(X: Array, y: Array, u: Array, v: Array) -> Array:
    """All eigenvalues of the Hessian in the original weights (u, v), ascending, by automatic differentiation."""
    inputs, targets = torch.as_tensor(X), torch.as_tensor(y)
    dim = len(u)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ((inputs @ x[:dim] * x[dim:].prod() - targets) ** 2).mean() / 2

    point = torch.as_tensor(np.concatenate([u, v]))
    return np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point).numpy())


def hessian_points(kind: str, *, seed: int = 0) -> list[tuple[Array, Array, Array, Array]]:
    """Problems and weights (X, y, u, v) on which the exact sharpness is tested.

    ``"random"``: depths 2, 3, 5, 8, equal and unequal layers, mixed signs. ``"deflated"``: small layers of one size,
    where the top eigenvalue is that of their differences. ``"saddle"``: the most negative eigenvalue is larger.
    """
    rng = np.random.default_rng(seed)
    points = []
    for depth, trial in product((2, 3, 5, 8), range(4)):
        X = rng.standard_normal((12, 16))
        y = np.sign(X[:, 0] + 0.1 * rng.standard_normal(12))
        u, v = rng.standard_normal(16), rng.uniform(0.5, 1.5, depth - 1) * rng.choice([-1, 1], depth - 1)
        if trial % 2:
            v = np.abs(v[0]) * np.sign(v)
        depth = max(depth, 2 if kind == "random" else 3)
        if kind == "deflated":  # small layers of one size, less aligned with the labels than the first layer is
            u, v = (1 + trial) * X.T @ y / 12, np.full(depth - 1, 0.1)
        if kind == "saddle":
            u, v = 0.05 * X.T @ y / 12, np.linspace(0.05, 0.05 + 0.01 * trial, depth - 1)
        points.append((X, y, u, v))
    return points


def hessian_error(kind: str, sharpness: Callable[[MinimalModel, Array, Array], float] | None = None) -> float:
    """Largest relative difference between the exact sharpness, or another one, and automatic differentiation."""
    worst = 0.0
    for X, y, u, v in hessian_points(kind):
        m = MinimalModel(X, y, depth=len(v) + 1)
        a = m.project(u)
        value = float(m.sharpness(a, v)) if sharpness is None else sharpness(m, a, v)
        truth = autodiff_sharpness(X, y, u, v)[-1]
        worst = max(worst, abs(value / truth - 1))
    return worst


# Bounds (C2, C3) and dataset difficulty (C11) ------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """Lower bound, exact sharpness and upper bound at minima; arrays of one shape."""

    lower: Array
    exact: Array
    upper: Array

    def slack(self) -> Array:
        """How far the exact sharpness is inside the bounds, relative to it; negative outside."""
        return np.minimum(self.exact - self.lower, self.upper - self.exact) / self.exact


def imbalance_bounds(X: Array, y: Array, imbalance: Array) -> Bounds:
    """Bounds at depth 2 for several imbalances, shape (k,)."""
    m = MinimalModel(X, y, depth=2)
    C = np.asarray(imbalance, dtype=float)[:, None]
    lower, upper = sharpness_bounds(X, y, depth=2, imbalance=C)
    exact = m.minimum_sharpness(np.sqrt(layer_squares(m.difficulty, C)))
    return Bounds(np.asarray(lower), exact, np.asarray(upper))


def depth_bounds(X: Array, y: Array, depths: Sequence[int] = (2, 3, 4, 5, 6)) -> Bounds:
    """Bounds at balanced minima for several depths."""
    s = spectrum(X, y)
    pairs = np.array([sharpness_bounds(X, y, depth=depth) for depth in depths])
    exact = [float(sharpness_at_minimum(s, np.full(depth - 1, s.difficulty ** (1 / depth)))) for depth in depths]
    return Bounds(pairs[:, 0], np.array(exact), pairs[:, 1])


def turning_point(X: Array, y: Array) -> float:
    r""":math:`v^4 \sigma_1^2/d_1^2` where the lower bound of depth 2, as a function of the imbalance, is least."""
    s = spectrum(X, y)

    def lower(log_square: float) -> float:
        C = s.difficulty / np.exp(log_square) - np.exp(log_square)
        return float(sharpness_bounds(X, y, depth=2, imbalance=C)[0])

    middle = float(np.log(s.difficulty) / 2)
    found = minimize_scalar(lower, bracket=(middle - 3.0, middle), tol=1e-9)
    return float(np.exp(2 * found.x) * s.sigma[0] ** 2 / s.labels[0] ** 2)


def prediction_error(X: Array, y: Array) -> float:
    """Largest relative difference between the predicted sharpness and the exact one at balanced minima."""
    exact = depth_bounds(X, y).exact
    s = spectrum(X, y)
    predicted = [s.predicted_sharpness(depth) for depth in (2, 3, 4, 5, 6)]
    return float(np.max(np.abs(np.array(predicted) / exact - 1)))


# Flows (C4, C5, C7) -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlowRow:
    """One flow: sharpness at its start and its end, and what was predicted from the start."""

    num_samples: int
    depth: int
    balanced: bool
    start: float
    end: float
    predicted: float
    lower: float
    upper: float


def flow_table(sizes: Sequence[int] = (20, 50, 100), depths: Sequence[int] = (2, 3, 5)) -> list[FlowRow]:
    """Flows from balanced and unbalanced starts to a loss of 1e-10."""
    rows = []
    for N, depth, balanced in product(sizes, depths, (True, False)):
        X, y = two_classes(N)
        m = MinimalModel(X, y, depth=depth)
        a, v = m.balanced_start(START_SCALE)
        if not balanced:
            a, v = 3 * a, v * np.linspace(1.0, 2.0, depth - 1) * np.where(np.arange(depth - 1) % 2, -1, 1)
        run, limit = m.gradient_flow(a, v), m.flow_limit(a, v)
        low, high = sharpness_bounds(X, y, depth=depth, imbalance=m.imbalance(a, v))
        rows.append(
            FlowRow(N, depth, balanced, run.sharpness[0], run.sharpness[-1], float(limit.sharpness), low, high)  # type: ignore[arg-type]
        )
    return rows


def flow_drift(depths: Sequence[int] = (2, 3, 5)) -> float:
    """Largest change of an imbalance along a flow, on generated data."""
    X, y = power_law_data(50)
    worst = 0.0
    for depth in depths:
        m = MinimalModel(X, y, depth=depth)
        run = m.gradient_flow(*m.balanced_start(START_SCALE), loss_goal=1e-8)
        C = m.imbalance(run.a, run.v)
        worst = max(worst, float(np.abs(C - C[0]).max()))
    return worst


def euler_drift_ratio() -> float:
    """Ratio of the imbalances that descent has after the same time with a step and with half of it."""
    m = MinimalModel(*power_law_data(50), depth=3)
    a, v = m.balanced_start(START_SCALE)
    runs = [m.gradient_descent(a, v, learning_rate=1e-4 / k, num_steps=10_000 * k, record=[0]) for k in (1, 2)]
    drift = [float(m.imbalance(run.a[-1], run.v[-1])[0]) for run in runs]
    return drift[0] / drift[1]


def convexity(m: MinimalModel) -> float:
    """Smallest second difference of the sharpness of balanced-layer minima in v², relative to their sharpness."""
    middle = m.difficulty ** (1 / m.depth)
    v2 = np.linspace(0.05 * middle, 5 * middle, 400)
    S = m.minimum_sharpness(np.sqrt(np.repeat(v2[:, None], m.depth - 1, axis=1)))
    return float(np.min(np.diff(S, 2) / S[1:-1]))
