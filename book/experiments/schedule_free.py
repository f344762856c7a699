"""Experiments behind the lesson schedule_free, and the statements of its paper."""

from __future__ import annotations

import copy
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from descentlab import data
from descentlab.claims import Statements
from descentlab.compiled import njit
from descentlab.data import Text, load_text
from descentlab.networks import MLP, Llama, seeded
from descentlab.schedule_free.optimizers import ScheduleFreeAdamW, ScheduleFreeSGD
from descentlab.schedule_free.theory import (
    Array,
    averaging_coefficients,
    oscillation_variance,
    stability_threshold,
    step_matrix,
)
from descentlab.training import choose_device, fit_language_model, interpolate, sweep

# -- A river in two dimensions, and runs down it ----------------------------------------------------------------------

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


# -- A network trained with full batches: its sharpness rises to the threshold of stability and stays there -----------


@dataclass(frozen=True)
class Edge:
    """Sharpness along a run.

    Attributes
    ----------
    steps : ndarray, shape (n,)
    loss : ndarray, shape (n,)
    sharpness : ndarray, shape (n,)
        Largest eigenvalue of the Hessian at the gradient points, preconditioned for AdamW.
    threshold : float
        Limit of stability for it.
    """

    steps: np.ndarray
    loss: np.ndarray
    sharpness: np.ndarray
    threshold: float

    @property
    def ratio(self) -> np.ndarray:
        return self.sharpness / self.threshold

    @property
    def plateau(self) -> float:
        """Mean ratio over the last quarter of the run."""
        return float(self.ratio[-len(self.ratio) // 4 :].mean())

    @property
    def beginning(self) -> float:
        """Smallest ratio over steps 20 to 40."""
        return float(self.ratio[self.steps <= 40].min())


def small_images(num_samples: int = 1000) -> tuple[Tensor, Tensor]:
    """The first images of Fashion-MNIST, pooled to 14 × 14 and standardised a pixel at a time, and one-hot classes."""
    images = data.load("fashion-mnist-12k")
    pooled = nn.functional.avg_pool2d(images.inputs[:num_samples], 2).flatten(1)
    centred = pooled - pooled.mean(dim=0)
    spread = centred.std(dim=0)
    scaled = centred / torch.where(spread < 1e-3, torch.ones(()), spread)
    return scaled, nn.functional.one_hot(images.targets[:num_samples], 10).float()


def edge_of_stability(
    inputs: Tensor,
    targets: Tensor,
    *,
    learning_rate: float,
    beta: float,
    adaptive: bool,
    stop_loss: float,
    max_steps: int,
    weight_decay: float = 0.1,
    every: int = 20,
    num_products: int = 12,
    seed: int = 0,
) -> Edge:
    """Train a tanh network on the squared error with full batches, and follow its sharpness.

    Parameters
    ----------
    inputs, targets : Tensor, shapes (n, d) and (n, 10)
    learning_rate, beta : float
    adaptive : bool
        Schedule-Free AdamW with the second moment's memory 0.99, or Schedule-Free descent (no decay).
    stop_loss : float
    max_steps, every : int
        Length, and steps between measurements; the first is at step `every`.
    weight_decay : float
        For AdamW.
    num_products : int
        Products with the Hessian a measurement, in a power iteration that goes on from the last one's vector.
    seed : int
    """
    with seeded(seed):
        model = MLP(inputs.shape[1], 10, widths=(100, 100), activation=nn.Tanh)
        vector = [torch.randn_like(p) for p in model.parameters()]
    parameters = list(model.parameters())
    optimizer: ScheduleFreeAdamW | ScheduleFreeSGD
    if adaptive:
        optimizer = ScheduleFreeAdamW(parameters, learning_rate, betas=(beta, 0.99), weight_decay=weight_decay)
    else:
        optimizer = ScheduleFreeSGD(parameters, learning_rate, momentum=beta)
    decay = weight_decay if adaptive else 0.0
    threshold = stability_threshold(learning_rate, beta=beta, weight_decay=decay)
    optimizer.train()
    found: list[tuple[int, float, float]] = []
    for step in range(1, max_steps + 1):
        due = step % every == 0
        loss = (model(inputs) - targets).square().sum(dim=1).mean() / 2
        grads = torch.autograd.grad(loss, parameters, create_graph=due)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss at step {step} is {value}: lower learning_rate={learning_rate!r}")
        if due:
            roots = [
                _root(optimizer, p, g.detach(), step) if adaptive else torch.ones(())
                for p, g in zip(parameters, grads, strict=True)
            ]
            top, vector = _top_eigenvalue(grads, parameters, roots, vector, num_products)
            found.append((step, value, top))
        for p, g in zip(parameters, grads, strict=True):
            p.grad = g.detach()
        optimizer.step()
        if value < stop_loss and len(found) > 4:
            break
    steps, losses, tops = (np.array(column) for column in zip(*found, strict=True))
    return Edge(steps, losses, tops, float(threshold))


def _root(optimizer: torch.optim.Optimizer, p: Tensor, g: Tensor, step: int) -> Tensor:
    """Square root of the preconditioner with which this step's gradient will be divided."""
    state = optimizer.state.get(p, {})
    before = state.get("exp_avg_sq", torch.zeros(()))
    corrected = (0.99 * before + 0.01 * g.square()) / (1 - 0.99**step)
    return (corrected.sqrt() + 1e-8).sqrt()


def _top_eigenvalue(
    grads: tuple[Tensor, ...],
    parameters: Sequence[Tensor],
    roots: list[Tensor],
    vector: list[Tensor],
    num_products: int,
) -> tuple[float, list[Tensor]]:
    """Largest eigenvalue of the Hessian between the inverse roots on both sides, by power iteration."""
    value = 0.0
    for _ in range(num_products):
        norm = torch.sqrt(sum((v.square().sum() for v in vector), start=torch.zeros(())))
        vector = [v / norm for v in vector]
        across = [v / r for v, r in zip(vector, roots, strict=True)]
        product = torch.autograd.grad(grads, parameters, across, retain_graph=True)
        image = [h / r for h, r in zip(product, roots, strict=True)]
        value = float(sum((v * h).sum() for v, h in zip(vector, image, strict=True)))
        vector = image
    return value, vector


# -- The paper's experiments on small problems, as pure functions: no printing, no plotting ---------------------------


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Noisy runs down the toy river.
    toy_steps, stall_steps : int
        Of the runs to the edge of stability, and to where the river's runs come to rest.
    edge_steps : int
        At most, of the network at the edge of stability.
    language_steps : int
        Of the language models that are trained in the chapter itself.
    seeds : tuple of int
        Of the recorded ones, which only the full scale trains anew.
    """

    num_seeds: int
    toy_steps: int
    stall_steps: int
    edge_steps: int
    language_steps: int
    seeds: tuple[int, ...] = (0, 1, 2, 3)


SMOKE = Config(64, 6_000, 3_000, 60, 40)
BOOK = Config(2_048, 6_001, 30_000, 2_500, 600)
FULL = Config(8_192, 6_001, 100_000, 5_000, 600)

# The methods of the noisy river: name, and None (AdamW), or beta and C
NOISY = {
    "AdamW, constant": None,
    "AdamW, decayed": None,
    "SF 0.1": (0.1, None),
    "SF 0.5": (0.5, None),
    "SF 0.9": (0.9, None),
    "SF 0.95": (0.95, None),
    "SF 0.1, C=20": (0.1, 20.0),
    "SF 0.5, C=20": (0.5, 20.0),
    "SF 0.9, C=50": (0.9, 50.0),
}


# The algorithms agree with one another --------------------------------------------------------------------------------


def optimizer_run(
    gradients: Array,
    *,
    beta: float,
    decoupling_c: float | None = None,
    learning_rate: float = 0.01,
    warmup_steps: int = 100,
    weight_decay: float = 0.1,
    dtype: torch.dtype = torch.float64,
    layout: str = "in-place",
) -> tuple[Array, Array]:
    """`ScheduleFreeAdamW` fed with given gradients; the first row is the start.

    Returns
    -------
    y, x : ndarray, shape (d,)
        After the last step.
    """
    p = torch.nn.Parameter(torch.tensor(gradients[0], dtype=dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that C is large beside the warmup
        optimizer = ScheduleFreeAdamW(
            [p],
            learning_rate,
            betas=(beta, 0.99),
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            decoupling_c=decoupling_c,
            layout=layout,  # type: ignore[arg-type]
        )
    optimizer.train()
    for g in gradients[1:]:
        p.grad = torch.as_tensor(g, dtype=dtype)
        optimizer.step()
    y = p.detach().double().numpy().copy()
    return y, optimizer.averages()[0].double().numpy()


def three_sequences(
    gradients: Array,
    *,
    beta: float,
    decoupling_c: float | None = None,
    power: float | None = None,
    learning_rate: float = 0.01,
    warmup_steps: int = 100,
    weight_decay: float = 0.1,
    first: int = 1,
) -> tuple[Array, Array]:
    r"""The same, in NumPy and word for word: `x`, `y` and `z` in memory of their own.

    Parameters
    ----------
    power : float, optional
        Average with weights :math:`t^r` instead of `C`, as the public package does.
    first : int
        1 is Algorithm 1; 2 numbers the average's coefficients one step later, so that the start stays in it.
    """
    x, z, v = gradients[0].copy(), gradients[0].copy(), np.zeros(gradients.shape[1])
    weights = 0.0
    for t, g in enumerate(gradients[1:], start=1):
        y = (1 - beta) * z + beta * x
        v = 0.99 * v + 0.01 * g**2
        rate = learning_rate * min(1.0, t / warmup_steps if warmup_steps else 1.0)
        z = z - rate * g / (np.sqrt(v / (1 - 0.99**t)) + 1e-8) - rate * weight_decay * y
        weight = rate**2 * (t**power if power is not None else 1.0)
        weights += weight if t > 1 or first == 1 else 2 * weight
        c = weight / weights
        c = c if decoupling_c is None else min(c * (1 - beta) * decoupling_c, 1.0)
        x = (1 - c) * x + c * z
    return (1 - beta) * z + beta * x, x


def random_gradients(num_steps: int = 2000, dim: int = 50, seed: int = 0) -> Array:
    """Standard normal numbers, the first row a start, shape (num_steps + 1, dim)."""
    return np.random.default_rng(seed).standard_normal((num_steps + 1, dim))


def momentum_gap(*, beta: float, num_steps: int = 400, seed: int = 0, averaged: bool = True) -> float:
    r"""Largest difference between `y` from the three sequences, and from its momentum form.

    :math:`m_t = (1-c_t) m_{t-1} + \Delta_t`, :math:`y_{t+1} = y_t - \gamma[(1-\beta)\Delta_t + \beta c_{t+1} m_t]`, for
    random :math:`c_t` and :math:`\Delta_t`. With ``averaged=False`` the factor :math:`c_{t+1}` is forgotten.
    """
    rng, rate = np.random.default_rng(seed), 0.1
    c = np.concatenate([[1.0], rng.uniform(0, 1, num_steps + 1)])
    steps = rng.standard_normal((num_steps, 5))
    x = z = y = rng.standard_normal(5)
    m, gap = np.zeros(5), 0.0
    for t in range(num_steps):
        m = (1 - c[t]) * m + steps[t]
        y = y - rate * ((1 - beta) * steps[t] + beta * (c[t + 1] if averaged else 1.0) * m)
        z = z - rate * steps[t]
        x = (1 - c[t + 1]) * x + c[t + 1] * z
        gap = max(gap, float(np.abs(y - ((1 - beta) * z + beta * x)).max()))
    return gap


def average_gap(*, beta: float, decoupling_c: float | None, weights: Array, seed: int = 0) -> float:
    """Largest entry of the difference between the average and the weighted sum of all gradient points."""
    num_steps, rng = len(weights), np.random.default_rng(seed)
    c = averaging_coefficients(num_steps, beta=beta, decoupling_c=decoupling_c)
    z = np.cumsum(rng.standard_normal((num_steps, 5)), axis=0)
    x, ys = z[0], []
    for t in range(num_steps):
        x = (1 - c[t]) * x + c[t] * z[t]
        ys.append((1 - beta) * z[t] + beta * x)
    return float(np.abs(x - weights @ np.array(ys)).max())


def buffers(optimizer: torch.optim.Optimizer, parameters: Sequence[torch.Tensor]) -> float:
    """Bytes of parameters and optimizer state, in units of the parameters' bytes; single numbers do not count."""
    own = sum(p.numel() * p.element_size() for p in parameters)
    state = [t for entry in optimizer.state.values() for t in entry.values() if torch.is_tensor(t) and t.numel() > 1]
    return 1 + sum(t.numel() * t.element_size() for t in state) / own


# Stability on quadratics ---------------------------------------------------------------------------------------------


def quadratic_run(
    hessian: ArrayLike,
    *,
    learning_rate: float,
    beta: float,
    num_steps: int,
    preconditioner: ArrayLike | None = None,
    weight_decay: float = 0.0,
    start: ArrayLike | None = None,
) -> Array:
    """Gradient points of preconditioned Schedule-Free descent on a quadratic, shape (num_steps, d)."""
    H = np.atleast_2d(np.asarray(hessian, dtype=float))
    d = len(H)
    P = np.ones(d) if preconditioner is None else np.asarray(preconditioner, dtype=float)
    matrix = H / P[:, None] + weight_decay * np.eye(d)
    x = z = np.ones(d) if start is None else np.asarray(start, dtype=float)
    path = np.empty((num_steps, d))
    for t in range(1, num_steps + 1):
        x = (1 - 1 / t) * x + z / t
        path[t - 1] = (1 - beta) * z + beta * x
        z = z - learning_rate * (matrix @ path[t - 1])
    return path


def growth_power(*, beta: float, num_steps: int = 20_000) -> tuple[Array, Array]:
    """Steps, and the size of the gradient point, of a run exactly at the threshold; from a tenth of its length on."""
    path = np.abs(quadratic_run(1.0, learning_rate=2 / (1 - beta), beta=beta, num_steps=num_steps)[:, 0])
    steps = np.unique(np.geomspace(num_steps // 10, num_steps, 60).astype(int))
    return steps.astype(float), path[steps - 1]


def spectral_radius(
    coefficients: ArrayLike, betas: ArrayLike, *, learning_rate: float = 0.3, factor: float = 1.0
) -> Array:
    """Of a step with `c` held fixed, at `factor` times the threshold; shape (betas, coefficients)."""
    radii = []
    for beta in np.atleast_1d(betas):
        row = []
        for c in np.atleast_1d(coefficients):
            limit = stability_threshold(learning_rate, beta=float(beta), step=1 / c)
            matrix = step_matrix(factor * float(limit), learning_rate, beta=float(beta), c=float(c))
            row.append(np.abs(np.linalg.eigvals(matrix)).max())
        radii.append(row)
    return np.array(radii)


def preconditioned_growth(
    *, factor: float, beta: float, weight_decay: float = 0.1, seed: int = 0, num_steps: int = 3000
) -> float:
    """Size of the last gradient point over that of the first, at `factor` times the critical learning rate."""
    rng = np.random.default_rng(seed)
    A, P = rng.standard_normal((5, 5)), rng.uniform(0.5, 2, 5)
    H = A @ A.T + 0.1 * np.eye(5)
    top = np.linalg.eigvalsh(H / np.sqrt(np.outer(P, P)))[-1]
    critical = 2 / ((1 - beta) * (top + weight_decay))
    path = quadratic_run(
        H, learning_rate=factor * critical, beta=beta, num_steps=num_steps, preconditioner=P, weight_decay=weight_decay
    )
    return float(np.linalg.norm(path[-1]) / np.linalg.norm(path[0]))


def reparametrisation_gap(*, beta: float = 0.9, seed: int = 0, num_steps: int = 500, root: bool = True) -> float:
    """Largest difference between preconditioned iterates, and plain ones in the coordinates that the root of P gives."""
    rng = np.random.default_rng(seed)
    A, P = rng.standard_normal((5, 5)), rng.uniform(0.5, 2, 5)
    H, R = A @ A.T, np.sqrt(P) if root else P
    rate = 1 / ((1 - beta) * np.linalg.eigvalsh(H / np.sqrt(np.outer(P, P)))[-1])
    direct = quadratic_run(H, learning_rate=rate, beta=beta, num_steps=num_steps, preconditioner=P, weight_decay=0.1)
    plain = quadratic_run(
        H / np.outer(R, R), learning_rate=rate, beta=beta, num_steps=num_steps, weight_decay=0.1, start=R
    )
    return float(np.abs(direct - plain / R).max())


# The river -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoisyRiver:
    """Means over seeds at the end of noisy runs, by method: the hill at `x` and at `y`, `x_1`, and the loss at `x`."""

    hill_x: dict[str, float]
    hill_y: dict[str, float]
    river: dict[str, float]
    loss: dict[str, float]


def noisy_river(
    num_seeds: int, *, noise: float = 0.3, num_steps: int = 2000, learning_rate: float = 0.02, seed: int = 0
) -> NoisyRiver:
    """Every method of `NOISY` down the toy river with noisy gradients; blocks of seeds keep the memory small."""
    f, block = river_toy(), min(256, num_seeds)
    ends: dict[str, list[tuple[Array, Array]]] = {name: [] for name in NOISY}
    for number in range(-(-num_seeds // block)):
        for name in NOISY:
            run = noisy_run(
                name, noise=noise, num_steps=num_steps, learning_rate=learning_rate, num_seeds=block, seed=seed + number
            )
            ends[name].append((run.x[:, -1].copy(), run.y[:, -1].copy()))
    xs = {name: np.concatenate([x for x, _ in parts]) for name, parts in ends.items()}
    ys = {name: np.concatenate([y for _, y in parts]) for name, parts in ends.items()}
    return NoisyRiver(
        {name: float(f.hill(x).mean()) for name, x in xs.items()},
        {name: float(f.hill(y).mean()) for name, y in ys.items()},
        {name: float(x[:, 0].mean()) for name, x in xs.items()},
        {name: float(f(x).mean()) for name, x in xs.items()},
    )


def noisy_run(
    name: str,
    *,
    noise: float = 0.3,
    num_steps: int = 2000,
    learning_rate: float = 0.02,
    num_seeds: int = 1,
    seed: int = 0,
) -> Run:
    """Runs of one method of `NOISY`."""
    setting = NOISY[name]
    common = {
        "learning_rate": learning_rate,
        "num_steps": num_steps,
        "noise": noise,
        "num_seeds": num_seeds,
        "seed": seed,
    }
    if setting is None:
        return run_adamw(decay_fraction=0.1 * (name == "AdamW, decayed"), **common)  # type: ignore[arg-type]
    return run_schedule_free(river_toy(), beta=setting[0], decoupling_c=setting[1], **common)  # type: ignore[arg-type]


def late_residuals(beta: float, decoupling_c: float | None = None, *, num_steps: int = 2000) -> dict[str, float]:
    """Without noise, over the last 500 steps: mean size of the residual at `x` and `y`, and its mean at `y`; the last loss at `x`."""
    f = river_toy()
    run = run_schedule_free(f, learning_rate=0.02, beta=beta, num_steps=num_steps, decoupling_c=decoupling_c)
    at_x, at_y = (f.residual(points[0, -500:]) for points in (run.x, run.y))
    return {
        "x": float(np.abs(at_x).mean()),
        "y": float(np.abs(at_y).mean()),
        "bias": float(at_y.mean()),
        "loss": float(f(run.x[0, -1])),
    }


def toy_sharpness(learning_rate: float, beta: float, *, num_steps: int, at: str = "y") -> Array:
    r"""Preconditioned sharpness along a run of Schedule-Free AdamW down the river, over :math:`2/((1-\beta)\gamma)`."""
    f = river_toy()
    run = run_schedule_free(f, learning_rate=learning_rate, beta=beta, num_steps=num_steps)
    points, root = (run.y if at == "y" else run.x)[0], np.sqrt(run.scale[0])
    scaled = f.hessian(points) / root[:, :, None] / root[:, None, :]
    return np.linalg.eigvalsh(scaled)[:, -1] / float(stability_threshold(learning_rate, beta=beta))


def measured_variance(run: Run, objective: RiverToy, *, end: int, window: int = 200) -> tuple[float, Array]:
    """Mean square of the oscillation along the sharpest direction, and the centre, over the steps before `end`."""
    y, k = run.y[0], np.arange(end - window, end)
    centre = (y[k - 1] + 2 * y[k] + y[k + 1]) / 4  # an oscillation of period two cancels
    middle = centre.mean(axis=0)
    top = np.linalg.eigh(objective.hessian(middle))[1][:, -1]
    return float((((y[k] - centre) @ top) ** 2).mean()), middle


def variance_ratios(
    *, betas: Sequence[float] = (0.1, 0.5, 0.9), end: int, learning_rate: float = 0.02
) -> tuple[Array, Array]:
    """Measured size of the oscillation of the scalar adaptive method, and the same over the central flow's; by beta."""
    f, sizes, ratios = river_toy(), [], []
    for beta in betas:
        run = run_schedule_free(f, learning_rate=learning_rate, beta=beta, num_steps=end + 1, method="scalar_adam")
        size, middle = measured_variance(run, f, end=end)
        sizes.append(size)
        ratios.append(size / oscillation_variance(f, middle, learning_rate=learning_rate, beta=beta))
    return np.array(sizes), np.array(ratios)


def resting_places(settings: Sequence[tuple[float, float]], *, num_steps: int) -> Array:
    """Where Schedule-Free AdamW is on the toy river at the end, for pairs of learning rate and beta; mean of 200 steps."""
    f = river_toy()
    runs = (run_schedule_free(f, learning_rate=g, beta=b, num_steps=num_steps) for g, b in settings)
    return np.array([run.y[0, -200:, 0].mean() for run in runs])


def warmup_stretch(*, beta: float, decoupling_c: float, warmup_steps: int) -> float:
    """How many times its late length a step of `y` has just after the warmup, read from the weights of the average."""
    rates = np.minimum(np.arange(1, warmup_steps + 1) / warmup_steps, 1.0)
    c = min(float(rates[-1] ** 2 / (rates**2).sum()) * (1 - beta) * decoupling_c, 1.0)
    return 1 + beta * c / (1 - beta)


# -- The paper's experiments with language models, at a size for a CPU: settings, and what is measured of each run ----


@dataclass(frozen=True)
class LanguageConfig:
    """Size of a language model and of its training.

    Attributes
    ----------
    num_steps, batch_size, context, warmup_steps : int
    probe_steps : int
        Length of the decay and of the probes that follow a run.
    branch_step : int
        Where the segment of the interpolation begins; it ends with the run.
    dim, num_layers, num_heads : int
    num_windows : int
        Validation sequences.
    """

    num_steps: int = 1500
    batch_size: int = 16
    context: int = 64
    warmup_steps: int = 75
    probe_steps: int = 150
    branch_step: int = 1200
    dim: int = 32
    num_layers: int = 2
    num_heads: int = 2
    num_windows: int = 512


RATE = 0.02  # Schedule-Free's learning rate, unless a setting has another


@dataclass(frozen=True)
class Setting:
    """An optimizer and what it is given.

    Attributes
    ----------
    beta : float or None
        Schedule-Free's; None is AdamW with betas (0.9, 0.95) and gradients clipped to norm 1.
    decoupling_c : float or None
    learning_rate : float
    schedule : {"constant", "cosine"}
        After the warmup; the cosine falls to a tenth.
    probes : bool
        Whether the run is followed by decays and interpolations.
    """

    beta: float | None
    decoupling_c: float | None = None
    learning_rate: float = RATE
    schedule: str = "constant"
    probes: bool = True

    @property
    def name(self) -> str:
        if self.beta is None:
            return f"AdamW {self.learning_rate:g}" + (" cosine" if self.schedule == "cosine" else "")
        window = "" if self.decoupling_c is None else f", C={self.decoupling_c:g}"
        rate = "" if self.learning_rate == RATE else f", lr={self.learning_rate:g}"
        return f"SF {self.beta:g}{window}{rate}"


ADAMW = Setting(None, learning_rate=0.005)
# vanilla at four betas, one of them at a second rate, and refined ones
SETTINGS = (
    ADAMW,
    Setting(0.9),
    Setting(0.1),
    Setting(0.1, 50),
    Setting(0.5),
    Setting(0.5, 50, probes=False),
    Setting(0.95),
    Setting(0.95, learning_rate=0.04, probes=False),
    Setting(0.95, 50, probes=False),
    Setting(0.5, 20, probes=False),
)
LARGE_BATCH = LanguageConfig(num_steps=1200, batch_size=64, warmup_steps=180)
LARGE_BATCH_SETTINGS = (
    *(Setting(None, None, rate, "cosine", probes=False) for rate in (0.005, 0.01, 0.02)),
    *(Setting(0.98, c, rate, probes=False) for rate in (0.03, 0.06) for c in (None, 200, 100)),
)


# The tables that are recorded: settings and size
TABLES = {"language": (SETTINGS, LanguageConfig()), "large_batch": (LARGE_BATCH_SETTINGS, LARGE_BATCH)}


@dataclass(frozen=True)
class LanguageRun:
    """Validation losses of a run, nats a token; NaN and empty where the setting has no probes.

    Attributes
    ----------
    seed : int
    x, y, ema_x, ema_y : float
        At the end: at the average and at the gradient point (the same for AdamW), and exponential averages of them.
    decay : float
        After a decay of the learning rate to zero from its full value (AdamW only).
    short : float
        After a decay to zero from a tenth of AdamW's rate, on AdamW or on Schedule-Free's `x`: it removes hills and
        hardly moves along the river.
    longer : float
        After as many more steps at a constant rate.
    steps, x_curve, y_curve : sequence of float
        During the run.
    segment, decay_segment : sequence of float
        On the way from the branch step to the end, and to the end of a decay between the two (AdamW only).
    """

    seed: int
    x: float
    y: float
    ema_x: float = math.nan
    ema_y: float = math.nan
    decay: float = math.nan
    short: float = math.nan
    longer: float = math.nan
    steps: Sequence[float] = ()
    x_curve: Sequence[float] = ()
    y_curve: Sequence[float] = ()
    segment: Sequence[float] = ()
    decay_segment: Sequence[float] = ()


def language_run(
    text: Text,
    setting: Setting,
    config: LanguageConfig,
    *,
    seed: int = 0,
    num_points: int = 9,
    device: str | torch.device = "auto",
) -> LanguageRun:
    """Train at a constant learning rate, then probe what is found.

    Runs of one seed share their initial weights and their batches, so that differences between them are paired.

    Parameters
    ----------
    text : Text
    setting : Setting
    config : LanguageConfig
    seed : int
    num_points : int
        On a segment, both ends included.
    device : str or torch.device
    """
    target, probes = choose_device(device), setting.probes
    tokens, held_out = text.tokens.to(target), text.validation.to(target)
    with seeded(seed):
        model = Llama(
            len(text.vocabulary),
            context=config.context,
            dim=config.dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
        ).to(target)
    train = partial(
        fit_language_model,
        text=(tokens, held_out),
        batch_size=config.batch_size,
        context=config.context,
        num_windows=config.num_windows,
        clip=1.0 if setting.beta is None else None,
        seed=seed,
        device=target,
        progress=False,
    )
    kept: dict[str, Any] = {}  # at the branch step
    optimizer = _optimizer(setting, config, model)

    def look(step: int) -> None:
        if probes and step == config.branch_step:
            kept["x"] = _usable(optimizer, model)
            if setting.beta is None:  # a copy of both at once, so that the optimizer's parameters are the copy's
                kept["branch"] = copy.deepcopy((model, optimizer))

    result = train(
        model,
        optimizer=optimizer,
        num_steps=config.num_steps,
        schedule=_schedule(setting, config) if setting.beta is None else None,
        ema=0.99 if probes else None,
        ema_start=config.warmup_steps,
        evaluate_every=max(config.num_steps // 5, 1),
        callback=look,
    )
    c = result.curves
    found: dict[str, Any] = {}
    if probes:
        fractions = np.linspace(0, 1, num_points).tolist()
        options = {"context": config.context, "num_windows": config.num_windows}
        end = _usable(optimizer, model)
        found["segment"] = interpolate(model, (kept["x"], end), held_out, fractions, **options).tolist()
        more = partial(train, num_steps=config.probe_steps, first_step=config.num_steps)
        if setting.beta is None:
            for name, factor in {"decay": 1.0, "short": 0.1}.items():
                twin, state = copy.deepcopy((model, optimizer))
                lower = _linear(factor, config.probe_steps)
                found[name] = more(twin, optimizer=_at(state, setting.learning_rate), schedule=lower).final()
            branch, state = kept["branch"]
            length = config.num_steps - config.branch_step
            train(
                branch,
                optimizer=_at(state, setting.learning_rate),
                num_steps=length,
                first_step=config.branch_step,
                schedule=_linear(1.0, length),
            )
            lowered = [p.detach() for p in branch.parameters()]
            found["decay_segment"] = interpolate(model, (kept["x"], lowered), held_out, fractions, **options).tolist()
        else:
            twin = copy.deepcopy(model)
            with torch.no_grad():
                torch._foreach_copy_(list(twin.parameters()), end)
            fresh = torch.optim.AdamW(twin.parameters(), lr=ADAMW.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
            found["short"] = more(twin, optimizer=fresh, schedule=_linear(0.1, config.probe_steps), clip=1.0).final()
        found |= {"longer": more(model, optimizer=optimizer).final(), "ema_x": result.final("ema_x")}
        found["ema_y"] = result.final("ema_y")
    curves = {"steps": c["step"].tolist(), "x_curve": c["x"].tolist(), "y_curve": c["y"].tolist()}
    return LanguageRun(seed, result.final("x"), result.final("y"), **found, **curves)


def language_table(
    text: Text,
    settings: Iterable[Setting],
    config: LanguageConfig,
    *,
    seeds: Sequence[int] = (0, 1),
    num_jobs: int = 1,
    device: str | torch.device = "auto",
) -> dict[str, list[LanguageRun]]:
    """Runs by name, one a seed; `num_jobs` of them at a time, each in a process of its own."""
    settings = list(settings)
    common = {"text": text, "config": config, "device": device}
    cases = [{**common, "setting": setting, "seed": seed} for setting in settings for seed in seeds]
    runs = iter(sweep(language_run, cases, num_jobs=num_jobs, progress="language models"))
    return {setting.name: [next(runs) for _ in seeds] for setting in settings}


def language_claims(table: Mapping[str, Sequence[LanguageRun]]) -> dict[str, Any]:
    """What the claims about language models compare, by claim, from a table with all of `SETTINGS`."""
    adamw, best, low = table["AdamW 0.005"], table["SF 0.9"], table["SF 0.1"]
    tuned = [min(a.x, b.x) for a, b in zip(best, table["SF 0.95, lr=0.04"], strict=True)]
    refined = {0.1: table["SF 0.1, C=50"], 0.5: table["SF 0.5, C=50"], 0.95: table["SF 0.95, C=50"]}
    vanilla = {0.1: low, 0.5: table["SF 0.5"], 0.95: table["SF 0.95"]}

    def over(runs: Sequence[LanguageRun], of: Callable[[LanguageRun], float]) -> list[float]:
        return [of(run) for run in runs]

    def gain(run: LanguageRun) -> float:
        return run.x - run.short

    plain = [best, *vanilla.values()]
    return {
        "C11a": over(adamw, lambda r: r.x - r.decay),
        "C11b": over(adamw, lambda r: r.x - r.ema_x),
        "C11c": over(best, lambda r: r.x - r.ema_x),
        "C11d": over(best, gain),
        "C11e": [gain(b) / gain(a) for a, b in zip(adamw, best, strict=True)],
        "C11f": [x - a.decay for a, x in zip(adamw, tuned, strict=True)],
        "C12a": over(adamw, lambda r: min(r.segment[0], r.segment[-1]) - min(r.segment)),
        "C12b": [max(_rise(a.decay_segment), _rise(b.segment)) for a, b in zip(adamw, best, strict=True)],
        "C12c": [_fall(b.segment) / _fall(a.decay_segment) for a, b in zip(adamw, best, strict=True)],
        "C13a": over(low, gain),
        "C13b": over(vanilla[0.5], gain),
        "C13c": over(vanilla[0.95], gain),
        "C14a": over(low, lambda r: r.x - r.y),
        "C14b": [max(r.ema_y - min(r.x, r.y) for r in runs) for runs in zip(*plain, strict=True)],
        "C15a": [v.x - r.x for v, r in zip(vanilla[0.1], refined[0.1], strict=True)],
        "C15b": [v.x - r.x for v, r in zip(vanilla[0.5], refined[0.5], strict=True)],
        "C15c": [v.x - r.x for v, r in zip(vanilla[0.95], refined[0.95], strict=True)],
        "C15d": [max(r.x - r.y for r in runs) for runs in zip(*refined.values(), strict=True)],
        "C15e": [abs(a.x - b.x) for a, b in zip(table["SF 0.5, C=20"], refined[0.5], strict=True)],
    }


def large_batch_claims(table: Mapping[str, Sequence[LanguageRun]]) -> dict[str, list[float]]:
    """What the claims about large batches compare, from a table with all of `LARGE_BATCH_SETTINGS`."""
    cosine = [min(run.x for run in runs) for runs in zip(*_named(table, "cosine"), strict=True)]

    def behind(name: str) -> list[float]:
        return [run.x - best for run, best in zip(table[name], cosine, strict=True)]

    tie = [abs(difference) for difference in behind("SF 0.98, C=200, lr=0.03")]
    return {"C16a": behind("SF 0.98, lr=0.03"), "C16b": tie, "C16c": behind("SF 0.98, C=100, lr=0.03")}


def record_table(
    name: str,
    path: str | os.PathLike[str],
    *,
    seeds: Sequence[int],
    num_jobs: int = 1,
    device: str | torch.device = "auto",
) -> None:
    """Train one of `TABLES` on Shakespeare's plays and store it, with what it was trained on, for `read_table`.

    A seed of "language" takes three minutes of one core, a seed of "large_batch" eight.
    """
    from descentlab.chapters import machine

    settings, config = TABLES[name]
    environment, start = machine(str(device)), time.perf_counter()
    text = load_text("shakespeare")
    table = language_table(text, settings, config, seeds=seeds, num_jobs=num_jobs, device=device)
    seconds = round(time.perf_counter() - start, 1)
    write_table(path, table, {**environment, "seconds": seconds, "seeds": list(seeds), "text": text.name})


def write_table(
    path: str | os.PathLike[str], table: Mapping[str, Sequence[LanguageRun]], environment: Mapping[str, Any]
) -> None:
    """Store runs by name as JSON, one run a line, losses to five decimals: float32 hardly knows more."""
    rows = [
        f"  {json.dumps(name)}: [\n   " + ",\n   ".join(json.dumps(_known(run)) for run in runs) + "\n  ]"
        for name, runs in table.items()
    ]
    head = json.dumps(dict(environment), indent=1).replace("\n", "\n ")
    text = f'{{\n "environment": {head},\n "runs": {{\n' + ",\n".join(rows) + "\n }\n}\n"
    Path(path).write_text(text, encoding="utf-8")


def read_table(path: str | os.PathLike[str]) -> dict[str, list[LanguageRun]]:
    """Runs by name, one a seed, as `write_table` stored them; ValueError if the file is damaged."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))["runs"]
        return {name: [LanguageRun(**run) for run in runs] for name, runs in stored.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a recorded table ({error}); restore it, or call record_table") from None


# Details -------------------------------------------------------------------------------------------------------------


def _optimizer(setting: Setting, config: LanguageConfig, model: nn.Module) -> torch.optim.Optimizer:
    if setting.beta is None:
        return torch.optim.AdamW(model.parameters(), lr=setting.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that C is large beside the warmup: the paper's own are, too
        return ScheduleFreeAdamW(
            model.parameters(),
            lr=setting.learning_rate,
            betas=(setting.beta, 0.99),
            weight_decay=0.1,
            warmup_steps=config.warmup_steps,
            decoupling_c=setting.decoupling_c,
        )


def _usable(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[Tensor]:
    """Copies of the parameters to use: the averages where there are some."""
    if isinstance(optimizer, ScheduleFreeAdamW):
        return optimizer.averages()
    return [p.detach().clone() for p in model.parameters()]


def _schedule(setting: Setting, config: LanguageConfig) -> Callable[[int], float]:
    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / config.warmup_steps)
        if setting.schedule == "constant" or step < config.warmup_steps:
            return rise
        along = (step - config.warmup_steps) / (config.num_steps - config.warmup_steps)
        return 0.1 + 0.9 * (1 + float(np.cos(np.pi * along))) / 2

    return factor


def _known(run: LanguageRun) -> dict[str, Any]:
    """The fields that a run has, rounded."""
    fields = {name: np.round(value, 5).tolist() for name, value in asdict(run).items()}
    return {name: value for name, value in fields.items() if value == value and value != []}


def _named(table: Mapping[str, Sequence[LanguageRun]], part: str) -> list[Sequence[LanguageRun]]:
    return [runs for name, runs in table.items() if part in name]


def _rise(losses: Sequence[float]) -> float:
    return float(np.diff(losses).max())


def _fall(losses: Sequence[float]) -> float:
    return losses[0] - losses[-1]


def _linear(first: float, num_steps: int) -> Callable[[int], float]:
    return lambda step: first * max(0.0, 1 - step / num_steps)


def _at(optimizer: torch.optim.Optimizer, learning_rate: float) -> torch.optim.Optimizer:
    """Set the rate that a schedule multiplies, in place of what an earlier schedule left."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        group.pop("initial_lr", None)
    return optimizer


# -- What the paper states and what we derived, as claims to be measured ----------------------------------------------

_ROUNDING = "rounding of float64"
_INDEPENDENT = "an independent implementation, rounding of its table"
_PAIRED = "paired runs; an independent implementation's spread"

# fmt: off
statements = Statements("schedule_free")


C1 = statements.statement(
    "C1", r"The optimizer is Algorithm 1, in a layout that keeps two sequences.", "Algorithm 1", source="paper",
)
C1.in_cells(
    "a", r"Our optimizer in float64 is Algorithm 1: largest difference of $x$ and $y$ from the three sequences after 2000 random gradients, at $\beta_1 = 0.1, 0.5, 0.9, 0.95$",
    "Algorithm 1", "at most", 1e-12, 0.0,
    _ROUNDING, basis="exact", control="the coefficients of the average numbered one step later",
)
C1.in_cells(
    "b", r"It is the public package's optimizer: $y_1, y_2, x_1, x_2$ of the same run at $\beta_1 = 0.95$ as `schedulefree` 1.4.1 computes them",
    "Algorithm 1", "approx", (0.04057506897390576, -0.21691193020204863, 0.04622887861204565, -0.22742813402636297), 1e-12,
    _ROUNDING, basis="exact", control="weight decay left out",
)
C1.in_cells(
    "c", r"The in-place layout in float32 against one with $x$ in memory of its own, at $\beta_1 = 0.1$",
    "Algorithm 1", "at most", 1.5e-5, 0.0,
    "rounding, enlarged by $1/\\beta_1$: the layout written out in NumPy's float32 differs by 1.0e-5 to 1.5e-5 over eight seeds", basis="exact", control="beta 0.11 in the way back from y to x",
)
C1.in_cells(
    "d", r"The same at $\beta_1 = 0.5, 0.9, 0.95$",
    "Algorithm 1", "at most", 2e-6, 0.0,
    "rounding, enlarged by $1/\\beta_1$", basis="exact", control="the average taken of the last gradient point",
)

C2 = statements.statement(
    "C2", r"The gradient points follow a momentum method.", "Section 5", source="paper",
)
C2.in_cells(
    "", r"$y$ follows a momentum method: largest difference between the two forms, random $c_t$ and $\Delta_t$, four values of $\beta$",
    "Section 5", "at most", 1e-12, 0.0,
    _ROUNDING, basis="exact", control="momentum not multiplied by c",
)

C3 = statements.statement(
    "C3", r"The averaged point is a weighted mean of the gradient points, with weights that the window sets.", "Section 5, Figures 8, 14 and 15", source="paper",
)
C3.in_cells(
    "a", r"$x_T = \sum_t \alpha_t y_t$: largest difference, vanilla and refined",
    "Section 5", "at most", 1e-12, 0.0,
    _ROUNDING, basis="exact", control="the power law in place of the exact weights",
)
C3.in_cells(
    "b", r"Distance in $L^1$ between the weights and $(C/T)(t/T)^{C-1}$ with $C = 1/(1-\beta)$, at $T = 1000$ and $\beta = 0.1, 0.5, 0.9$",
    "ours", "approx", (0.0003, 0.0010, 0.0061), 0.00005,
    _INDEPENDENT, basis="second", control="C = 1 for all",
)
C3.in_cells(
    "c", r"The same for the refined method at $\beta = 0.1$ and $C = 5, 20, 50, 200$, in units of $C/2T$",
    "Figures 14 and 15", "approx", (1.0, 1.0, 1.0, 1.0), 0.05,
    "leading order of the exact Gamma functions, corrections of order $C/T$", basis="exact", control="the weights of beta 0.1 without C",
)
C3.in_cells(
    "d", r"Mean age of the average at $T = 1000$, $C = 20$, $\beta = 0.1$ and $0.95$: $(T - (1-\beta)C)/(C+1)$",
    "ours", "approx", (46.76190476, 47.57142857), 1e-3,
    "closed form", basis="exact", control="vanilla",
)

C4 = statements.statement(
    "C4", r"$C = 1/(1-\beta_1)$ gives the vanilla method back.", "Section 6", source="paper",
)
C4.in_cells(
    "a", r"$C = 1/(1-\beta_1)$ is the vanilla method: largest difference of $x$ and $y$",
    "Section 6", "at most", 1e-15, 0.0,
    _ROUNDING, basis="exact", control="C = 20 at beta 0.9",
)
C4.in_cells(
    "b", r"A huge $C$ switches averaging off: largest $|x - y|$ for $C = 10^9$",
    "ours", "at most", 1e-12, 0.0,
    _ROUNDING, basis="exact", control="C = 50",
)

C5 = statements.statement(
    "C5", r"On a quadratic Schedule-Free descent is unstable above $2/((1-\beta)\gamma)$.", "Proposition 4.1", source="paper",
)
C5.in_cells(
    "a", r"On a quadratic with $A = (1-\beta)\gamma\lambda_1 = 2.02, 2.1$, $|y_{t+1}/y_t| \to A - 1$ ($\beta = 0.5$, then $0.9$)",
    "Proposition 4.1", "approx", (1.02, 1.1, 1.02, 1.1), 0.0033,
    "$\\beta/((1-\\beta)t)$ at step 4000", basis="exact", control="gradient descent at the same sharpness, beta 0",
)
C5.in_cells(
    "b", r"For $A = 1.98$ the gradient point decays: $|y_{4000}/y_1|$",
    "Proposition 4.1", "at most", 1e-3, 0.0,
    "$t^{-1/(1-\\beta)}$", basis="statement", control="A = 2.02",
)
C5.in_cells(
    "c", r"Exactly at the threshold $|y_t| \sim t^{\beta/(1-\beta)}$: log-log slope, $\beta = 0.5$",
    "ours", "slope", 1.0, 0.01,
    "corrections of order $1/t$", basis="exact", control="beta 0.4",
)
C5.in_cells(
    "d", r"The same at $\beta = 0.9$",
    "ours", "slope", 9.0, 0.01,
    "corrections of order $1/t$", basis="exact", control="beta 0.89",
)
C5.in_cells(
    "e", r"With $c$ held fixed, the spectral radius at $\frac{4-2c}{\gamma[2(1-\beta)+c(2\beta-1)]}$ is 1: largest deviation over $c$ and $\beta$",
    "ours", "at most", 1e-12, 0.0,
    _ROUNDING, basis="exact", control="the limit of the threshold for c to 0",
)

C6 = statements.statement(
    "C6", r"With a preconditioner and weight decay the threshold is $\frac{2}{(1-\beta)\gamma} - \lambda$.", "Proposition 4.2", source="paper",
)
C6.in_cells(
    "a", r"A learning rate 3 % below $\lambda_1(P^{-1}H) = \frac{2}{(1-\beta)\gamma} - \lambda$ converges: $\|y_{3000}\|/\|y_1\|$, five problems",
    "Proposition 4.2", "at most", 1e-2, 0.0,
    "slow modes fall like $t^{-1/(1-\\beta)}$", basis="statement", control="the threshold without $1-\\beta$ of SF, ten times the rate",
)
C6.in_cells(
    "b", r"3 % above diverges: the same ratio",
    "Proposition 4.2", "at least", 1e10, 0.0,
    "$1.06^{3000}$", basis="statement", control="3 % below",
)
C6.in_cells(
    "c", r"Preconditioned iterates are plain ones in other coordinates: largest difference",
    "Appendix", "at most", 1e-10, 0.0,
    _ROUNDING, basis="exact", control="P in place of its root",
)

C7 = statements.statement(
    "C7", r"In a river valley the gradient points straddle the river; with small $\beta_1$ the average leaves it, and a longer window brings it back.", "Figures 1 and 5, Section 6", source="paper",
)
C7.in_cells(
    "a", r"Small $\beta$ leaves the river: mean $|h(x)|$ late in the run for $\beta_1 = 0.1, 0.5, 0.9$",
    "ours", "approx", (0.522, 0.242, 0.012), 0.0006,
    _INDEPENDENT, basis="second", control="C = 20",
)
C7.in_cells(
    "b", r"The gradient points straddle it: mean $|h(y)|$",
    "ours", "approx", (0.0648, 0.0392, 0.0081), 0.0004,
    _INDEPENDENT, basis="second", control="measured at x",
)
C7.in_cells(
    "c", r"… centred on it: size of the mean of $h(y)$",
    "Figure 5", "at most", 0.002, 0.0,
    "an independent implementation's bound", basis="statement", control="measured at x",
)
C7.in_cells(
    "d", r"$C = 20$ brings $x$ back: mean $|h(x)|$",
    "ours", "approx", (0.0004, 0.0005, 0.0021), 0.0001,
    _INDEPENDENT, basis="second", control="vanilla",
)
C7.in_cells(
    "e", r"Loss at $x$ at the end, $\log_{10}$: vanilla at $\beta_1 = 0.1, 0.5, 0.9$, then with $C = 20$",
    "ours", "approx", (-0.857, -1.536, -3.237, -3.046, -3.347, -3.721), 0.025,
    "5 %, and rounding of an independent implementation's table", basis="second", control="refined and vanilla exchanged",
)
C7.in_cells(
    "f", r"The gradient points oscillate less as $\beta_1$ grows",
    "Figure 5", "order", ("0.9", "0.5", "0.1"), 0.0,
    "none: the run is deterministic", basis="statement", control="the residuals of x with C = 20",
)
C7.in_cells(
    "g", r"Averages of $y_1 \sim t^p$ on the river lie at $h(x) = p^2/(C^2-p^2)$: $(p, C) = (0.5, 2), (1, 5), (0.5, 10)$",
    "ours", "approx", (0.0666667, 0.0416667, 0.00250627), 1e-4,
    "closed form, corrections of order $1/T$", basis="exact", control="a window of C + 1",
)
C7.in_cells(
    "h", r"… and lag by $x_1/y_1 = C/(C+p)$",
    "ours", "approx", (0.8, 0.8333333, 0.952381), 1e-3,
    "closed form, corrections of order $1/T$", basis="exact", control="a window of C + 1",
)

C8 = statements.statement(
    "C8", r"On the river the preconditioned sharpness hovers at the threshold.", "Figure 7", source="paper",
)
C8.in_cells(
    "", r"On the toy, $\lambda_1(P^{-1}H(y))$ hovers at $2/((1-\beta_1)\gamma)$: ratio for $\gamma = 0.02, 0.05$ and $\beta_1 = 0.1, 0.5, 0.9$",
    "Figure 7", "approx", (1.0,) * 6, 0.01,
    "an independent implementation's spread", basis="statement", control="GD's threshold, without the factor $1-\\beta_1$",
)

C9 = statements.statement(
    "C9", r"In a network trained with full batches the sharpness rises to the threshold and stays there.", "Figure 7", source="paper",
)
C9.in_cells(
    "a", r"Schedule-Free descent on a network with full batches: mean ratio of sharpness to threshold in the last quarter",
    "Figure 7", "approx", 1.0, 0.075,
    "oscillation of the plateau", basis="statement", control="gradient descent's threshold",
)
C9.in_cells(
    "b", r"Schedule-Free AdamW: the same for $\gamma = 0.001, 0.0005$ at $\beta_1 = 0.95$, and $\gamma = 0.0005$ at $0.9$",
    "Figure 7", "approx", (1.0,) * 3, 0.075,
    "oscillation of the plateau", basis="statement", control="gradient descent's threshold",
)
C9.in_cells(
    "c", r"Early on, all are far below: ratio at steps 20 to 40",
    "Figure 7", "at most", 0.6, 0.0,
    "progressive sharpening comes first", basis="statement", control="late in the run",
)

C10 = statements.statement(
    "C10", r"The central flow predicts the size of the oscillation, which shrinks as $\beta_1$ grows.", "Section 4", source="paper",
)
C10.in_cells(
    "a", r"Size of the oscillation of the scalar adaptive method over the central flow's, $t = 4000$ and $5800$ at $\beta_1 = 0.1, 0.5, 0.9$",
    "Section 4", "approx", (1.01,) * 6, 0.04,
    "the neglected $c_t$", basis="exact", control="the flow without the factor $1-\\beta_1$",
)
C10.in_cells(
    "b", r"Where Schedule-Free AdamW stops on the toy, $w_1^* = W(4/((1-\beta_1)\gamma)^2)$: six pairs $(\gamma, \beta_1)$",
    "ours", "approx", (7.4173, 8.4611, 5.8261, 6.8411, 5.6467, 8.4611), 0.011,
    "closed form; 0.2 % of finite time", basis="exact", control="a tenth of the steps",
)
C10.in_cells(
    "c", r"The oscillation shrinks as $\beta_1$ grows",
    "Section 4", "order", ("0.9", "0.5", "0.1"), 0.0,
    "none: the run is deterministic", basis="statement", control="the base iterates $z$ in place of $y$",
)
C10.in_cells(
    "d", r"The flow's error falls at least like $1/t$: error at 4000 over error at 5800, $\beta_1 = 0.5, 0.9$",
    "ours", "at least", 1.45, 0.0,
    "$5800/4000$", basis="statement", control="the same time twice",
)
C10.in_cells(
    "e", r"Schedule-Free descent on a funnel: mean of $v^2$ in units of $\epsilon\eta$, and mean sharpness over threshold",
    "Section 4", "approx", (1.0, 1.0), 0.08,
    "closed form; the neglected $c_t$", basis="exact", control="the threshold of gradient descent",
)

C11 = statements.statement(
    "C11", r"A language model trained at a constant rate gains from a decay and from averaging; Schedule-Free gains from neither.", "Figure 2", source="paper",
)
C11.in_cells(
    "a", r"A language model on Shakespeare: constant AdamW gains from a decay (nats, each seed)",
    "ours", "at least", 0.04, 0.0,
    _PAIRED, basis="second", control="Schedule-Free's gain from the probe", across="paired",
)
C11.in_cells(
    "b", r"… and from an exponential average",
    "ours", "at least", 0.04, 0.0,
    _PAIRED, basis="second", control="Schedule-Free's gain from the average", across="paired",
)
C11.in_cells(
    "c", r"Schedule-Free ($\beta_1 = 0.9$) gains from no exponential average",
    "ours", "at most", 0.002, 0.0,
    _PAIRED, basis="second", control="AdamW's gain", across="paired",
)
C11.in_cells(
    "d", r"… and from no short decay",
    "ours", "at most", 0.01, 0.0,
    _PAIRED, basis="second", control="AdamW's gain", across="paired",
)
C11.in_cells(
    "e", r"… which gives at most a fifth of what it gives AdamW (ratio)",
    "ours", "at most", 0.2, 0.0,
    _PAIRED, basis="second", control="Schedule-Free at beta 0.1", across="paired",
)
C11.in_cells(
    "f", r"Without a decay the better of two tuned runs ($\beta_1 = 0.9$, and $0.95$ at twice the rate) reaches AdamW with one: difference of losses",
    "ours", "at most", 0.01, 0.0,
    _PAIRED, basis="second", control="Schedule-Free at beta 0.1", across="paired",
)
C11.in_cells(
    "g", r"At the paper's size, 124 million parameters on SlimPajama, Schedule-Free at $\beta_1 = 0.95$ gains nothing from the short decay either (nats a token)",
    "Figure 2", "at most", 0.01, 0.0,
    "the bound of the small runs", basis="statement", control="AdamW's gain",
)

C12 = statements.statement(
    "C12", r"Between two checkpoints the loss dips for AdamW, and falls slowly for Schedule-Free.", "Figure 3", source="paper",
)
C12.in_cells(
    "a", r"Between two checkpoints of constant AdamW the loss dips below both ends",
    "ours", "at least", 0.015, 0.0,
    _PAIRED, basis="second", control="a decay between the two", across="paired",
)
C12.in_cells(
    "b", r"Along a decay, and along Schedule-Free's averages, it falls: largest rise between neighbours",
    "Figure 3", "at most", 1e-3, 0.0,
    "noise of the evaluation", basis="statement", control="constant AdamW", across="paired",
)
C12.in_cells(
    "c", r"Schedule-Free's fall is less than half of the decay's (ratio)",
    "ours", "at most", 0.5, 0.0,
    _PAIRED, basis="second", control="the decay itself", across="paired",
)
C12.in_cells(
    "d", r"At the paper's size: ratio of the falls of Schedule-Free and of the decay, between 2 and 2.5 billion tokens",
    "Figure 3", "at most", 0.5, 0.0,
    "the bound of the small runs", basis="statement", control="the decay itself",
)

C13 = statements.statement(
    "C13", r"Badly tuned Schedule-Free does gain from a short decay.", "Figure 4", source="paper",
)
C13.in_cells(
    "a", r"Badly tuned Schedule-Free does gain from the short decay: $\beta_1 = 0.1$",
    "ours", "at least", 0.07, 0.0,
    _PAIRED, basis="second", control="beta 0.95", across="paired",
)
C13.in_cells(
    "b", r"… $\beta_1 = 0.5$",
    "ours", "at least", 0.025, 0.0,
    _PAIRED, basis="second", control="beta 0.95", across="paired",
)
C13.in_cells(
    "c", r"… unlike $\beta_1 = 0.95$",
    "ours", "at most", 0.01, 0.0,
    _PAIRED, basis="second", control="beta 0.1", across="paired",
)
C13.in_cells(
    "d", r"At the paper's size: gain of $\beta_1 = 0.1$ by the short decay",
    "Figure 4", "at least", 0.07, 0.0,
    "the bound of the small runs", basis="statement", control="beta 0.95",
)

C14 = statements.statement(
    "C14", r"With small $\beta_1$ the gradient point is better than the average; an average of gradient points is as good as both.", "Figure 6", source="paper",
)
C14.in_cells(
    "a", r"At $\beta_1 = 0.1$ the gradient point is better than the average",
    "ours", "at least", 0.01, 0.0,
    _PAIRED, basis="second", control="beta 0.9", across="paired",
)
C14.in_cells(
    "b", r"The exponential average of $y$ is no worse than both, at all four $\beta_1$ of the vanilla method: largest excess",
    "ours", "at most", 0.0015, 0.0,
    _PAIRED, basis="second", control="the exponential average of x", across="paired",
)
C14.in_cells(
    "c", r"At the paper's size: loss at $x$ minus loss at $y$ for $\beta_1 = 0.1$",
    "Figure 6", "at least", 0.01, 0.0,
    "the bound of the small runs", basis="statement", control="beta 0.9",
)

C15 = statements.statement(
    "C15", r"The refined method repairs small $\beta_1$, and improves large.", "Figure 9, Table 5", source="paper",
)
C15.in_cells(
    "a", r"$C = 50$ repairs $\beta_1 = 0.1$: gain over vanilla",
    "ours", "at least", 0.10, 0.0,
    _PAIRED, basis="second", control="beta 0.95", across="paired",
)
C15.in_cells(
    "b", r"… $\beta_1 = 0.5$",
    "ours", "at least", 0.03, 0.0,
    _PAIRED, basis="second", control="beta 0.95", across="paired",
)
C15.in_cells(
    "c", r"… and improves $\beta_1 = 0.95$",
    "ours", "at least", 0.01, 0.0,
    _PAIRED, basis="second", control="vanilla 0.9 for the refined run", across="paired",
)
C15.in_cells(
    "d", r"Then $x$ is no worse than $y$: largest excess",
    "ours", "at most", 0.0, 0.0,
    _PAIRED, basis="second", control="vanilla beta 0.1", across="paired",
)
C15.in_cells(
    "e", r"The value of $C$ matters little: $C = 20$ against $50$ at $\beta_1 = 0.5$",
    "ours", "at most", 0.02, 0.0,
    _PAIRED, basis="second", control="vanilla for C = 20", across="paired",
)
C15.in_cells(
    "f", r"At the paper's size: $C = 100$ minus vanilla at $\beta_1 = 0.95$, nats a token: $\log(23.60/25.12)$",
    "Table 5", "approx", -0.0624, 0.02,
    "final losses of two seeds differ by 0.01 to 0.02", basis="printed", control="vanilla", paper_value='log(23.60/25.12)',
)

C16 = statements.statement(
    "C16", r"With large batches the refined method catches up where the vanilla one falls behind.", "Figure 9, Table 6", source="paper",
)
C16.in_cells(
    "a", r"Four times the batch: vanilla 0.98 is behind AdamW with its best cosine",
    "ours", "at least", 0.008, 0.0,
    _PAIRED, basis="second", control="C = 100", across="paired",
)
C16.in_cells(
    "b", r"… $C = 200$ catches up: size of the difference",
    "ours", "at most", 0.012, 0.0,
    _PAIRED, basis="second", control="AdamW with a cosine at a low rate", across="paired",
)
C16.in_cells(
    "c", r"… $C = 100$ is ahead",
    "ours", "at most", 0.0, 0.0,
    _PAIRED, basis="second", control="vanilla", across="paired",
)
C16.in_cells(
    "d", r"At the paper's size, 2 million tokens a batch: $C = 200$ minus vanilla at $\beta_1 = 0.98$, nats a token: $\log(24.51/26.09)$",
    "Table 6", "approx", -0.0625, 0.02,
    "final losses of two seeds differ by 0.01 to 0.02", basis="printed", control="vanilla", paper_value='log(24.51/26.09)',
)

C17 = statements.statement(
    "C17", r"OpenWebText2 shows the same.", "Figures 10 to 13", source="paper",
)
C17.in_cells(
    "", r"OpenWebText2 with 124 million parameters shows the same: refined minus AdamW with cosine at a large batch",
    "Figures 10 to 13", "at most", 0.01, 0.0,
    "nats a token", basis="statement", control="vanilla, which the paper finds behind",
)

C18 = statements.statement(
    "C18", r"It needs no more memory than AdamW, and less than AdamW with an average.", "Section 5", source="paper",
)
C18.in_cells(
    "", r"Memory in units of the parameters: ours, AdamW, AdamW with an average",
    "Section 5", "approx", (3.0, 3.0, 4.0), 0.0,
    "a count", basis="exact", control="the reference layout",
)

C19 = statements.statement(
    "C19", r"On a river with noise every method ends where its average and its step say.", "ours", source="ours",
)
C19.in_cells(
    "a", r"The noisy river: $\log_{10}$ of the hill at $x$ for AdamW, AdamW decayed, SF 0.1, SF 0.5",
    "ours", "approx", (-2.979, -3.921, -1.382, -2.292), 0.104,
    "three standard errors of a mean of 256 squared normal numbers, 27 %, in an independent implementation", basis="second", control="measured at y",
)
C19.in_cells(
    "b", r"… at $y$ for SF 0.1, 0.5, 0.9",
    "ours", "approx", (-2.770, -3.097, -3.854), 0.119,
    "the same, and rounding of two digits", basis="exact", control="measured at x",
)
C19.in_cells(
    "c", r"… how far down the river each method is, in the order of the figure",
    "ours", "approx", (4.83, 4.77, 3.43, 3.78, 4.44, 4.56, 4.62, 4.64, 4.72), 0.17,
    "5 %", basis="statement", control="the methods in opposite order",
)
C19.in_cells(
    "d", r"… $\log_{10}$ of the hills that are nearly nothing: SF 0.9, 0.95, and the three with $C$",
    "ours", "approx", (-5.0, -5.0, -5.0, -5.0, -4.52), 0.48,
    "a factor of three", basis="statement", control="measured at y",
)
C19.in_cells(
    "e", r"… who leaves the river",
    "ours", "order", ("SF 0.9", "AdamW, decayed", "AdamW, constant", "SF 0.5", "SF 0.1"), 0.0,
    "factors of four between neighbours", basis="statement", control="measured at y",
)
C19.in_cells(
    "f", r"… refined (0.9, 50) equals decayed AdamW: difference of their losses",
    "ours", "at most", 6e-4, 0.0,
    "two standard errors of an independent implementation", basis="second", control="vanilla 0.95",
)

D1 = statements.statement(
    "D1", r"The threshold at finite times has a closed form.", "ours", source="ours",
)
D1.in_cells(
    "", r"Stability at finite times: late sharpness on the toy in units of $\frac{4-2c_t}{\gamma[2(1-\beta)+c_t(2\beta-1)]}$ at $\beta_1 = 0.9$, $C = 200$",
    "ours", "approx", 1.0, 0.002,
    "closed form; curvature of the path", basis="exact", control="the limit of the threshold",
)

D2 = statements.statement(
    "D2", r"Just after a warmup the gradient points take longer steps, by a known factor.", "ours", source="ours",
)
D2.in_cells(
    "", r"Just after a warmup of $T_w$ steps, $y$ steps are $1 + 3\beta C/T_w$ times as long as late ones: $(\beta, C, T_w) = (0.95, 200, 250), (0.98, 200, 180), (0.95, 50, 150)$",
    "ours", "approx", (3.28, 4.2667, 1.95), 0.04,
    "closed form, corrections of order $1/T_w$", basis="exact", control="no warmup weights, c = (1-beta)C/t",
)

D3 = statements.statement(
    "D3", r"The vanilla weights are beta-binomial.", "ours", source="ours",
)
D3.in_cells(
    "", r"The vanilla weights are beta-binomial: largest difference from $t - 1 \sim \mathrm{BetaBinomial}(T-1, 1/(1-\beta), 1)$",
    "ours", "at most", 1e-12, 0.0,
    _ROUNDING, basis="exact", control="parameter $\\beta/(1-\\beta)$",
)

D4 = statements.statement(
    "D4", r"The public package's power $r$ is the window $C$ in disguise.", "ours", source="ours",
)
D4.in_cells(
    "", r"The public package's power $r$ is $C$ in disguise, $r = (1-\beta)C - 1$: distance of the two averages over that to vanilla, four pairs",
    "ours", "at most", 0.002, 0.0,
    "order $1/t$; an independent implementation saw 0.0005 to 0.0009", basis="exact", control="r = (1-beta)C",
)
# fmt: on
