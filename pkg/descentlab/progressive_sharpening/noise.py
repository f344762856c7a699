"""What gradient noise does to the imbalance, a step at a time and over a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from descentlab.geometry import Array
from descentlab.progressive_sharpening.batches import fresh_batches, noise_factor
from descentlab.progressive_sharpening.minimal import MinimalModel
from descentlab.progressive_sharpening.problems import DRIFT_TIME, START_SCALE, Config

# One step of GD and SGD (C8) ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepTerms:
    """The terms of an expected step of C at depth 2: it is eta² (psi - C omega)."""

    psi: float
    omega: float


def step_terms(X: Array, y: Array, u: Array, v: float, *, factor: float) -> StepTerms:
    r"""The paper's :math:`\Psi` and :math:`\Omega` for noise that enters with `factor`; 0 is full batch.

    With :math:`g_n = (v\,u^\top x_n - y_n)\,x_n` and mean g, where :math:`u` lies in the span of the samples:
    :math:`\Omega = \lVert g\rVert^2 + k(\overline{\lVert g_n\rVert^2} - \lVert g\rVert^2)` and
    :math:`\Psi = \lVert u\rVert^2\,\Omega - (u^\top g)^2 - k \operatorname{Var}(u^\top g_n)`.
    """
    gradients = (v * (X @ u) - y)[:, None] * X
    mean = gradients.mean(axis=0)
    omega = mean @ mean + factor * (np.sum(gradients**2) / len(X) - mean @ mean)
    psi = (u @ u) * omega - (u @ mean) ** 2 - factor * np.var(gradients @ u)
    return StepTerms(float(psi), float(omega))


def enumerated_increment(
    X: Array, y: Array, u: Array, v: float, *, rate: float, batches: Sequence[Sequence[int]]
) -> float:
    """Mean change of C in one literal step of depth 2, over given batches."""
    changes = []
    for batch in batches:
        rows = X[list(batch)]
        residual = v * (rows @ u) - y[list(batch)]
        new_u, new_v = u - rate * v * (residual @ rows) / len(rows), v - rate * (residual @ (rows @ u)) / len(rows)
        changes.append((new_u @ new_u - new_v**2) - (u @ u - v**2))
    return float(np.mean(changes))


def identity_error(
    kind: str, *, terms: Callable[[Array, Array, Array, float, int], float] | None = None, seed: int = 0
) -> float:
    r"""Largest relative error of :math:`\eta^2(\Psi - C\,\Omega)` against enumerated steps.

    Parameters
    ----------
    kind : {"full batch", "subsets", "replacement"}
    terms : callable, (X, y, u, v, batch_size) -> float, optional
        Another formula for the increment over eta².
    """
    rng = np.random.default_rng(seed)
    worst = 0.0
    num_samples = 5 if kind == "replacement" else 7
    sizes = {"full batch": (num_samples,), "subsets": (1, 2, 3, 5), "replacement": (1, 2, 3)}[kind]
    for _, size in product(range(5), sizes):
        X, y = rng.standard_normal((num_samples, 9)), rng.choice([-1.0, 1.0], num_samples)
        u, v = X.T @ rng.standard_normal(num_samples), float(rng.standard_normal())
        index = range(num_samples)
        batches: list[tuple[int, ...]] = list(combinations(index, size))
        if kind == "replacement":
            batches = list(product(index, repeat=size))
        factor = noise_factor(num_samples, size, "replacement" if kind == "replacement" else "reshuffled")
        t = step_terms(X, y, u, v, factor=factor)
        balance = float(u @ u) - v**2
        formula = t.psi - balance * t.omega if terms is None else terms(X, y, u, v, size)
        exact = enumerated_increment(X, y, u, v, rate=0.1, batches=batches) / 0.1**2
        worst = max(worst, float(abs(formula / exact - 1)))
    return worst


def noise_terms(*, trials: int = 200, seed: int = 0) -> Array:
    """Psi of full batch, and what noise adds to Psi and to Omega, over random weights; shape (trials, 3)."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(trials):
        X, y = rng.standard_normal((6, 8)), rng.choice([-1.0, 1.0], 6)
        u, v = X.T @ rng.standard_normal(6), float(rng.standard_normal())
        calm, noisy = (step_terms(X, y, u, v, factor=k) for k in (0.0, 1.0))
        rows.append((calm.psi, noisy.psi - calm.psi, noisy.omega - calm.omega))
    return np.array(rows)


def balancing_error(*, sign: float = -1.0, seed: int = 0) -> float:
    r"""Largest relative error of :math:`1 - \eta^2 (a^\top g')^2 P^2/v_i^2v_j^2` for a step of GD on three or more layers."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for depth in (3, 4, 6):
        m = MinimalModel(rng.standard_normal((7, 9)), np.array([1, -1, 1, -1, 1, 1, -1.0]), depth=depth)
        a, v = rng.standard_normal(m.rank), rng.uniform(0.6, 1.4, depth - 1)
        run = m.gradient_descent(a, v, learning_rate=0.03, num_steps=1)
        before, after = v**2, run.v[1] ** 2
        P = v.prod()
        inner = (m.spectrum.sigma * a) @ (P * m.spectrum.sigma * a - m.spectrum.labels) / m.num_samples
        for i, j in combinations(range(depth - 1), 2):
            factor = 1 + sign * 0.03**2 * inner**2 * P**2 / (before[i] * before[j])
            worst = max(worst, abs((after[i] - after[j]) / ((before[i] - before[j]) * factor) - 1))
    return worst


# Batch size and learning rate (C10) ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchSweep:
    """Imbalance and sharpness that SGD has after a fixed time, shapes (rates, batch sizes, seeds)."""

    rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    imbalance: Array
    sharpness: Array
    flow_sharpness: float
    num_samples: int

    def excess_constants(self, factor: Callable[[int, int], float] = noise_factor) -> Array:
        """The excess of C over full batch, over eta and the noise factor; shape (rates, batch sizes - 1)."""
        mean = self.imbalance.mean(axis=2)
        scale = [[rate * factor(self.num_samples, b) for b in self.batch_sizes[:-1]] for rate in self.rates]
        return (mean[:, :-1] - mean[:, -1:]) / np.array(scale)


def batch_sweep(m: MinimalModel, config: Config, *, batch_sizes: tuple[int, ...] = (10, 25, 50, 100)) -> BatchSweep:
    """SGD for a fixed time, at several step and batch sizes, the last of which is the full batch."""
    a, v = m.balanced_start(START_SCALE)
    C = np.empty((len(config.drift_rates), len(batch_sizes), config.num_seeds))
    S = np.empty_like(C)
    for i, rate in enumerate(config.drift_rates):
        steps = round(DRIFT_TIME / rate)
        for j, size in enumerate(batch_sizes):
            if size == m.num_samples:
                run = m.gradient_descent(a, v, learning_rate=rate, num_steps=steps, record=[0])
                C[i, j], S[i, j] = m.imbalance(run.a, run.v)[-1, 0], run.sharpness[-1]
                continue
            for k in range(config.num_seeds):
                order = fresh_batches(m.num_samples, size, steps, seed=k)
                run = m.sgd(a, v, learning_rate=rate, num_steps=steps, batch_size=size, order=order, record=[0])
                C[i, j, k], S[i, j, k] = m.imbalance(run.a, run.v)[-1, 0], run.sharpness[-1]
    flow = m.gradient_flow(a, v, times=[0.0, DRIFT_TIME])
    return BatchSweep(config.drift_rates, batch_sizes, C, S, float(flow.sharpness[-1]), m.num_samples)


def depth_drift_error(m: MinimalModel, *, rate: float, batch_size: int, seeds: int, time: float = DRIFT_TIME) -> Array:
    """Relative error of the first-order law for each layer's imbalance, mean over orders; shape (depth - 1,)."""
    a, v = m.balanced_start(START_SCALE)
    v = v * np.linspace(1.0, 2.0, m.depth - 1)
    steps = round(time / rate)
    change = []
    for k in range(seeds):
        order = fresh_batches(m.num_samples, batch_size, steps, seed=k)
        run = m.sgd(a, v, learning_rate=rate, num_steps=steps, batch_size=batch_size, order=order, record=[0])
        change.append(m.imbalance(run.a[-1], run.v[-1]) - m.imbalance(a, v))
    calm, noise = m.drift(a, v, time=time)
    law = rate * (calm + noise_factor(m.num_samples, batch_size) * noise)
    return np.abs(law / np.mean(change, axis=0) - 1)
