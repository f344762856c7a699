r"""A river in two dimensions, and runs down it.

:math:`f(w) = \tfrac12 (w_1 w_2 - 1)^2 + \log(1 + e^{-w_1})`: the river is the curve :math:`w_1 w_2 = 1`, along which the
second term falls slowly as :math:`w_1` grows; the first is the hill on both sides, steeper the further down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from descentlab.compiled import njit
from descentlab.schedule_free.theory import Array

START = (2.0, 2.0)


@dataclass(frozen=True)
class RiverToy:
    """The toy's loss; all methods take points of shape (..., 2)."""

    def __call__(self, w: ArrayLike) -> Array:
        """Loss, shape (...)."""
        w = np.asarray(w, dtype=float)
        return self.residual(w) ** 2 / 2 + np.logaddexp(0, -w[..., 0])

    value = __call__

    def residual(self, w: ArrayLike) -> Array:
        """How far off the river, :math:`w_1 w_2 - 1`, shape (...)."""
        w = np.asarray(w, dtype=float)
        return w[..., 0] * w[..., 1] - 1

    def hill(self, w: ArrayLike) -> Array:
        """The part of the loss that is due to leaving the river, half the residual's square, shape (...)."""
        return self.residual(w) ** 2 / 2

    def gradient(self, w: ArrayLike) -> Array:
        """Shape (..., 2)."""
        w = np.asarray(w, dtype=float)
        r, s = self.residual(w), np.exp(-np.logaddexp(0, w[..., 0]))
        return np.stack([r * w[..., 1] - s, r * w[..., 0]], axis=-1)

    def hessian(self, w: ArrayLike) -> Array:
        """Shape (..., 2, 2)."""
        w = np.asarray(w, dtype=float)
        r, s = self.residual(w), np.exp(-np.logaddexp(0, w[..., 0]))
        mixed = 2 * r + 1
        rows = [np.stack([w[..., 1] ** 2 + s * (1 - s), mixed], axis=-1), np.stack([mixed, w[..., 0] ** 2], axis=-1)]
        return np.stack(rows, axis=-2)


def river_toy() -> RiverToy:
    """The toy river: an objective with ``gradient``, ``hessian`` and ``residual``."""
    return RiverToy()


@dataclass(frozen=True)
class Funnel:
    r""":math:`f(u, v) = \tfrac12 e^u v^2 - \epsilon u`: its sharpness is :math:`e^u`, and plain descent raises it."""

    slope: float = 1e-3

    def __call__(self, w: ArrayLike) -> Array:
        w = np.asarray(w, dtype=float)
        return np.exp(w[..., 0]) * w[..., 1] ** 2 / 2 - self.slope * w[..., 0]

    def gradient(self, w: ArrayLike) -> Array:
        """Shape (..., 2)."""
        w = np.asarray(w, dtype=float)
        e, v = np.exp(w[..., 0]), w[..., 1]
        return np.stack([e * v**2 / 2 - self.slope, e * v], axis=-1)

    def hessian(self, w: ArrayLike) -> Array:
        """Shape (..., 2, 2)."""
        w = np.asarray(w, dtype=float)
        e, v = np.exp(w[..., 0]), w[..., 1]
        return np.stack([np.stack([e * v**2 / 2, e * v], axis=-1), np.stack([e * v, e], axis=-1)], axis=-2)


@dataclass(frozen=True)
class Run:
    """A run on a toy, over a batch of seeds.

    Attributes
    ----------
    y : ndarray, shape (seeds, num_steps, 2)
        Gradient points; for AdamW its iterates.
    x : ndarray, shape (seeds, num_steps, 2)
        Averages after each step; for AdamW its iterates.
    scale : ndarray, shape (seeds, num_steps, 2)
        What each step's gradient was divided by: the preconditioner; ones for gradient descent.
    """

    y: Array
    x: Array
    scale: Array


_METHODS = ("sgd", "adamw", "scalar_adam")


def run_schedule_free(
    objective: RiverToy | Funnel,
    *,
    learning_rate: float,
    beta: float,
    num_steps: int,
    decoupling_c: float | None = None,
    beta2: float = 0.99,
    method: Literal["sgd", "adamw", "scalar_adam"] = "adamw",
    start: ArrayLike = START,
    noise: float = 0.0,
    num_seeds: int = 1,
    seed: int = 0,
) -> Run:
    """A Schedule-Free method down a toy: Algorithms 1 and 2 of the paper, without warmup or decay.

    Parameters
    ----------
    objective : RiverToy or Funnel
    learning_rate, beta, beta2 : float
    num_steps : int
    decoupling_c : float, optional
    method : {"sgd", "adamw", "scalar_adam"}
        The last has one second moment for both coordinates.
    start : array, shape (2,)
    noise : float
        Standard deviation of the gradient's noise.
    num_seeds, seed : int
        Independent runs, and the seed of their noise.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    _check(learning_rate, beta, beta2, num_steps, num_seeds, noise)
    if method not in _METHODS:
        raise ValueError(f"method={method!r}; allowed are {', '.join(map(repr, _METHODS))}")
    if decoupling_c is not None and not decoupling_c >= 1:
        raise ValueError(f"decoupling_c={decoupling_c!r}: must be None or at least 1")
    factor = 1.0 if decoupling_c is None else (1 - beta) * decoupling_c
    slope = objective.slope if isinstance(objective, Funnel) else math.nan
    drawn = _noise(noise, num_seeds, num_steps, seed)
    number = _METHODS.index(method)
    return Run(*_schedule_free(_start(start), drawn, learning_rate, beta, beta2, factor, number, slope, num_steps))


def run_adamw(
    *,
    learning_rate: float,
    num_steps: int,
    betas: tuple[float, float] = (0.9, 0.95),
    decay_fraction: float = 0.0,
    start: ArrayLike = START,
    noise: float = 0.0,
    num_seeds: int = 1,
    seed: int = 0,
) -> Run:
    """AdamW without weight decay down the toy river; the learning rate falls linearly to 0 over the last fraction.

    Parameters as `run_schedule_free`; `decay_fraction` is in [0, 1), and 0 keeps the rate constant.
    """
    _check(learning_rate, betas[0], betas[1], num_steps, num_seeds, noise)
    if not 0 <= decay_fraction < 1:
        raise ValueError(f"decay_fraction={decay_fraction!r}: allowed are values in [0, 1)")
    last = round(decay_fraction * num_steps)
    rates = np.full(num_steps, learning_rate)
    rates[num_steps - last :] *= 1 - np.arange(last) / max(last, 1)
    y, scale = _adamw(_start(start), _noise(noise, num_seeds, num_steps, seed), rates, *betas)
    return Run(y, y, scale)


def _start(start: ArrayLike) -> Array:
    point = np.asarray(start, dtype=float)
    if point.shape != (2,) or not np.all(np.isfinite(point)):
        raise ValueError(f"start={start!r}: expected a finite point of shape (2,)")
    return point


def _check(learning_rate: float, beta: float, beta2: float, num_steps: int, num_seeds: int, noise: float) -> None:
    for name, size in {"num_steps": num_steps, "num_seeds": num_seeds}.items():
        if not (isinstance(size, (int, np.integer)) and size >= 1):
            raise ValueError(f"{name}={size!r}: must be a positive whole number")
    for name, value in {"beta": beta, "beta2": beta2}.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value!r}: allowed are values in [0, 1)")
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate={learning_rate!r}: must be a positive finite number")
    if not (noise >= 0 and math.isfinite(noise)):
        raise ValueError(f"noise={noise!r}: must be a finite number that is not negative")


def _noise(size: float, num_seeds: int, num_steps: int, seed: int) -> Array:
    if size == 0:
        return np.zeros((num_seeds, 1, 2))
    return size * np.random.default_rng(seed).standard_normal((num_seeds, num_steps, 2))


# Loops ---------------------------------------------------------------------------------------------------------------


@njit
def _gradient(w, slope, g):
    if math.isnan(slope):
        r = w[0] * w[1] - 1
        g[0] = r * w[1] - 1 / (1 + math.exp(w[0]))
        g[1] = r * w[0]
    else:
        e = math.exp(w[0])
        g[0] = e * w[1] ** 2 / 2 - slope
        g[1] = e * w[1]


@njit
def _schedule_free(start, noise, rate, beta, beta2, factor, method, slope, steps):
    seeds = noise.shape[0]
    ys, xs, scales = np.empty((seeds, steps, 2)), np.empty((seeds, steps, 2)), np.ones((seeds, steps, 2))
    for i in range(seeds):
        x, z, v, g = start.copy(), start.copy(), np.zeros(2), np.zeros(2)
        y = start.copy()
        for t in range(1, steps + 1):
            y[:] = (1 - beta) * z + beta * x
            _gradient(y, slope, g)
            g += noise[i, min(t, noise.shape[1]) - 1]
            if method > 0:
                square = (g[0] ** 2 + g[1] ** 2) if method == 2 else 0.0
                for j in range(2):
                    v[j] = beta2 * v[j] + (1 - beta2) * (square if method == 2 else g[j] ** 2)
                    scales[i, t - 1, j] = math.sqrt(v[j] / (1 - beta2**t)) + 1e-8
            c = min(factor / t, 1.0)
            ys[i, t - 1] = y
            for j in range(2):
                z[j] -= rate * g[j] / scales[i, t - 1, j]
                x[j] = (1 - c) * x[j] + c * z[j]
            xs[i, t - 1] = x
    return ys, xs, scales


@njit
def _adamw(start, noise, rates, beta1, beta2):
    seeds, steps = noise.shape[0], len(rates)
    ys, scales = np.empty((seeds, steps, 2)), np.empty((seeds, steps, 2))
    for i in range(seeds):
        y, m, v, g = start.copy(), np.zeros(2), np.zeros(2), np.zeros(2)
        for t in range(steps):
            _gradient(y, math.nan, g)
            for j in range(2):
                g[j] += noise[i, min(t, noise.shape[1] - 1), j]
                m[j] = beta1 * m[j] + (1 - beta1) * g[j]
                v[j] = beta2 * v[j] + (1 - beta2) * g[j] ** 2
                scales[i, t, j] = math.sqrt(v[j] / (1 - beta2 ** (t + 1))) + 1e-8
                y[j] -= rates[t] * m[j] / (1 - beta1 ** (t + 1)) / scales[i, t, j]
            ys[i, t] = y
    return ys, scales
