"""The paper's experiments as pure functions of a configuration: no printing, no plotting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.geometry import (
    Array,
    MaxMargin,
    Order,
    Trajectory,
    as_samples,
    cosine,
    l2_max_margin,
    linf_max_margin,
    log_loss,
    margin,
    misalignment,
)
from descentlab.per_sample_adam.limits import FixedPoint, adam_fixed_point, adam_limit
from descentlab.per_sample_adam.methods import adam, adam_proxy, gradient_descent, signum


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Gaussian data sets behind the statements about many.
    num_steps : int
        Updates of a single-sample run.
    num_full_batch_steps : int
        Updates of a full-batch run.
    signum_steps : int
        Updates of a Signum run, whose steps are smaller.
    num_instances : int
        Random problems on which the fixed-point iteration is tried.
    num_starts : int
        Random starts of the bistability experiment.
    """

    num_seeds: int
    num_steps: int
    num_full_batch_steps: int
    signum_steps: int
    num_instances: int
    num_starts: int


SMOKE = Config(2, 40_000, 20_000, 20_000, 10, 8)
BOOK = Config(10, 1_000_000, 100_000, 2_000_000, 189, 40)
FULL = Config(100, 10_000_000, 1_000_000, 20_000_000, 2_000, 1_000)


# Data ---------------------------------------------------------------------------------------------------------------


def gaussian_data(seed: int, num_samples: int = 10, dim: int = 50) -> Array:
    """Standard normal rows, shape (num_samples, dim): separable with probability one when ``num_samples <= dim``."""
    return np.random.default_rng(seed).standard_normal((num_samples, dim))


def scaled_rademacher_data(seed: int, num_samples: int = 10, dim: int = 50) -> Array:
    """Random signs times a size a sample, uniform in [0.5, 1.5]: all coordinates of a row have one magnitude."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (num_samples, dim))
    return rng.uniform(0.5, 1.5, num_samples)[:, None] * signs


def shifted_diagonal_data(diagonal: ArrayLike, offset: float) -> Array:
    """The matrix with `diagonal` on its diagonal and `offset` elsewhere, shape (d, d)."""
    diagonal = np.asarray(diagonal, dtype=float)
    X = np.full((len(diagonal), len(diagonal)), float(offset))
    np.fill_diagonal(X, diagonal)
    return X


def elapsed(steps: ArrayLike, *, learning_rate: float = 0.1, decay: float = 0.5) -> Array:
    r"""Sum of the first step sizes, :math:`\tau(t) = \sum_{s<t} \eta\,(s+2)^{-a}`, the time in which margins grow linearly."""
    steps = np.asarray(steps)
    sizes = learning_rate * np.arange(2.0, steps.max() + 2) ** -decay
    return np.concatenate([[0.0], np.cumsum(sizes)])[steps]


def offset_time(time: ArrayLike, gap: ArrayLike) -> Array:
    r"""The times shifted by the offset `s` that fits ``gap`` best to :math:`(\tau + s)^{-2}`, same shape.

    An iterate :math:`w = v(\tau + s) + p` with `p` orthogonal to `v` has :math:`1 - \cos \approx |p|^2 / 2|v|^2(\tau + s)^2`,
    so that :math:`\text{gap}^{-1/2}` is a straight line in :math:`\tau` that ends at :math:`-s`.
    """
    time = np.asarray(time, dtype=float)
    rate, intercept = np.polyfit(time, np.asarray(gap, dtype=float) ** -0.5, 1)
    return time + intercept / rate


# Which direction? ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Methods on one data set, by name.

    Attributes
    ----------
    l2, linf : MaxMargin
        The two directions that the methods are compared with.
    trajectories : dict of Trajectory
        By the name of the method.
    """

    X: Array
    l2: MaxMargin
    linf: MaxMargin
    trajectories: dict[str, Trajectory]

    def to_l2(self) -> dict[str, float]:
        """Cosine of each increment to the l2-max-margin direction."""
        return {name: cosine(t.increment(), self.l2.direction) for name, t in self.trajectories.items()}

    def to_linf(self) -> dict[str, float]:
        """Cosine of each increment to the l-infinity-max-margin direction."""
        return {name: cosine(t.increment(), self.linf.direction) for name, t in self.trajectories.items()}

    def l2_ratio(self) -> dict[str, float]:
        """Normalised l2 margin of each increment over the best."""
        return {name: margin(self.X, t.increment()) / self.l2.margin for name, t in self.trajectories.items()}

    def linf_ratio(self) -> dict[str, float]:
        """Normalised l-infinity margin of each increment over the best."""
        return {n: margin(self.X, t.increment(), np.inf) / self.linf.margin for n, t in self.trajectories.items()}


def compare(
    X: ArrayLike,
    config: Config,
    *,
    betas: tuple[float, float] = (0.9, 0.95),
    decay: float = 0.5,
    orders: Sequence[Order] = ("cyclic", "reshuffled", "replacement"),
    seed: int = 0,
) -> Comparison:
    """Full-batch Adam, Adam with one sample a step in each order, and gradient descent on one data set (Figure 1)."""
    X = as_samples(X)
    common: dict[str, Any] = {"betas": betas, "decay": decay}
    runs = {"full batch": adam(X, num_steps=config.num_full_batch_steps, batch_size=len(X), **common)}
    runs |= {order: adam(X, num_steps=config.num_steps, order=order, seed=seed, **common) for order in orders}
    runs["gradient descent"] = gradient_descent(X, num_steps=config.num_full_batch_steps)
    return Comparison(X, l2_max_margin(X), linf_max_margin(X), runs)


# The two recurrences of Proposition 2.5 -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Residuals:
    """How far a method's displacement is from its approximation, at `times` (steps or epochs)."""

    times: NDArray[np.int64]
    median: Array
    largest: Array


def sign_residuals(X: ArrayLike, *, times: Sequence[int], decay: float = 0.8) -> Residuals:
    r"""Distance of full-batch Adam's step :math:`m/\sqrt v` from the sign of the gradient, over the coordinates."""
    X = as_samples(X)
    at = np.asarray(times)
    run = adam(X, num_steps=at.max() + 1, batch_size=len(X), decay=decay, record=np.concatenate([at, at + 1]))
    before, after = _iterates(run, at), _iterates(run, at + 1)
    step = (after - before) / (0.1 * (at + 2.0) ** -decay)[:, None]
    distance = np.abs(step - np.sign(_shares(X, before) @ X))
    return Residuals(at, np.median(distance, axis=1), distance.max(axis=1))


def epoch_residuals(
    X: ArrayLike, *, epochs: Sequence[int], betas: tuple[float, float] = (0.9, 0.95), decay: float = 0.5
) -> Residuals:
    """Distance of an epoch of cyclic Adam from its recurrence (Proposition 2.5, incremental), over the coordinates."""
    return _epoch_residuals(X, epochs, betas, decay, _epoch_displacement(X, betas))


def proxy_residuals(
    X: ArrayLike, *, epochs: Sequence[int], betas: tuple[float, float], decay: float = 0.5
) -> Residuals:
    """Distance of an epoch of cyclic Adam from a scaled AdamProxy step (Proposition 4.1), over the coordinates."""
    X = as_samples(X)
    scale = np.sqrt((1 - betas[1] ** len(X)) / (1 - betas[1]))

    def displacement(shares: Array) -> Array:
        return scale * (shares @ X) / np.sqrt(shares**2 @ X**2)

    return _epoch_residuals(X, epochs, betas, decay, displacement)


def _epoch_residuals(X: ArrayLike, epochs: Sequence[int], betas: Any, decay: float, displacement: Any) -> Residuals:
    X = as_samples(X)
    at, period = np.asarray(epochs), len(X)
    record = np.concatenate([at * period, (at + 1) * period])
    run = adam(X, num_steps=record.max(), betas=betas, decay=decay, record=record)
    before, after = _iterates(run, at * period), _iterates(run, (at + 1) * period)
    step = (after - before) / (0.1 * (at * period + 2.0) ** -decay)[:, None]
    distance = np.abs(step - displacement(_shares(X, before)))
    return Residuals(at, np.median(distance, axis=1), distance.max(axis=1))


def _epoch_displacement(X: ArrayLike, betas: tuple[float, float]) -> Any:
    r"""The epoch's displacement with :math:`C_{inc} = \frac{1-\beta_1}{1-\beta_1^N}\sqrt{\frac{1-\beta_2^N}{1-\beta_2}}`."""
    X = as_samples(X)
    num_samples, (beta1, beta2) = len(X), betas
    constant = (1 - beta1) / (1 - beta1**num_samples) * np.sqrt((1 - beta2**num_samples) / (1 - beta2))
    ages = np.subtract.outer(np.arange(num_samples), np.arange(num_samples)) % num_samples  # 0 is the newest

    def displacement(shares: Array) -> Array:
        first = np.einsum("ij,rj,jd->rid", float(beta1) ** ages, shares, X)
        second = np.einsum("ij,rj,jd->rid", float(beta2) ** ages, shares**2, X**2)
        return constant * (first / np.sqrt(second)).sum(axis=1)

    return displacement


def _shares(X: Array, weights: Array) -> Array:
    """Logistic loss slopes of the samples over the largest, shape (r, N); every ratio of gradients is blind to it."""
    z = weights @ X.T
    logs = -np.logaddexp(0.0, z)
    return np.exp(logs - logs.max(axis=-1, keepdims=True))


def _iterates(run: Trajectory, steps: NDArray[np.int64]) -> Array:
    return run.weights[np.searchsorted(run.steps, steps)]


# The beta2 -> 1 limit -----------------------------------------------------------------------------------------------


def limit_angles(X: ArrayLike, *, beta2: Sequence[float], beta1: float = 0.9) -> Array:
    """Angle in radians between the limit at each beta2 and the limit as beta2 → 1, shape (len(beta2),)."""
    proxy = adam_fixed_point(X).direction
    gaps = [misalignment(adam_limit(X, betas=(beta1, value)).direction, proxy) for value in beta2]
    return np.arccos(1 - np.array(gaps)) if max(gaps) > 0.1 else 2 * np.arcsin(np.sqrt(np.array(gaps) / 2))


def replicator(X: ArrayLike, *, num_steps: int, learning_rate: float) -> Array:
    r"""Final shares of multiplicative weights :math:`c_i \leftarrow c_i e^{-\eta f_i}/Z` with :math:`f = X M(c)^{-1} X^\top c`.

    The discrete replicator flow from uniform shares, shape (N,): what AdamProxy does to the shares of the exponential
    losses, without ever forming the weights.
    """
    X = as_samples(X)
    shares = np.full(len(X), 1 / len(X))
    for _ in range(num_steps):
        fitness = X @ ((shares @ X) / np.sqrt(shares**2 @ X**2))
        shares = shares * np.exp(-learning_rate * (fitness - fitness.min()))
        shares /= shares.sum()
    return shares


def replicator_gap(X: ArrayLike, *, num_steps: int = 5000, learning_rate: float = 0.01) -> float:
    """Largest difference between the replicator's shares and those of AdamProxy's exponential losses."""
    X = as_samples(X)
    run = adam_proxy(X, num_steps=num_steps, learning_rate=learning_rate, decay=0.0, loss="exponential")
    z = X @ run.weights[-1]
    shares = np.exp(z.min() - z) / np.exp(z.min() - z).sum()
    return float(np.abs(shares - replicator(X, num_steps=num_steps, learning_rate=learning_rate)).max())


@dataclass(frozen=True)
class ProxyRun:
    """AdamProxy on one data set beside its fixed point: time, log-loss, Mahalanobis margin over the best, angle."""

    steps: NDArray[np.int64]
    time: Array
    log_loss: Array
    margin_ratio: Array
    gap: Array
    fixed_point: FixedPoint
    loss_rate: float
    """Predicted rate: minus the smallest margin that a unit of time adds."""


def proxy_run(X: ArrayLike, *, num_steps: int, record: ArrayLike | None = None) -> ProxyRun:
    """Follow AdamProxy towards its fixed point (Proposition 4.3, Theorem 4.8)."""
    X = as_samples(X)
    run, point = adam_proxy(X, num_steps=num_steps, record=record), adam_fixed_point(X)
    scale = np.sqrt(point.dual**2 @ X**2)
    velocity = (point.dual @ X) / scale
    ratio = margin(X, run.weights, scale=scale) / margin(X, velocity, scale=scale)
    return ProxyRun(
        run.steps, elapsed(run.steps), log_loss(X, run.weights), ratio, misalignment(run.weights, point.direction), point,
        -float((X @ velocity).min()),
    )  # fmt: skip


def fixed_point_survey(config: Config, *, seed: int = 0, num_starts: int = 4) -> tuple[Array, NDArray[np.int64]]:
    """Spread of the fixed points over random starts, and iteration counts, on random separable problems.

    Gaussian, Student-t(2), shifted and log-normally scaled data with 3–20 samples in 2–60 dimensions; shapes
    (num_instances,) and (num_instances, num_starts).
    """
    rng = np.random.default_rng(seed)
    spreads: list[float] = []
    iterations: list[list[int]] = []
    while len(spreads) < config.num_instances:
        X = _random_problem(rng)
        if X is None:
            continue
        starts = [None, *rng.dirichlet(np.ones(len(X)), num_starts - 1)]
        points = [adam_fixed_point(X, start=start) for start in starts]
        spreads.append(max(np.abs(p.dual - points[0].dual).sum() for p in points))
        iterations.append([p.num_iterations for p in points])
    return np.array(spreads), np.array(iterations)


def _random_problem(rng: np.random.Generator) -> Array | None:
    """A random data set of one of four families, or None where it is not separable."""
    num_samples, dim = int(rng.integers(3, 21)), int(rng.integers(2, 61))
    X = rng.standard_normal((num_samples, dim))
    family = rng.integers(4)
    if family == 1:
        X = rng.standard_t(2, (num_samples, dim))
    elif family == 2:
        X = X + 0.5
    elif family == 3:
        X = X * rng.lognormal(size=dim)
    try:
        l2_max_margin(X)
    except ValueError:
        return None
    return X


# Tables -------------------------------------------------------------------------------------------------------------

SIGNUM_BETAS = (0.0, 0.5, 0.9, 0.99, 0.999)
SIGNUM_COLUMNS: tuple[tuple[int, Order], ...] = (
    (1, "cyclic"), (1, "reshuffled"), (1, "replacement"), (2, "cyclic"), (5, "cyclic"), (10, "cyclic"),
)  # fmt: skip


def signum_table(X: ArrayLike, config: Config, *, seed: int = 0) -> Array:
    """l-infinity margin of Signum's increment over the best, by momentum (rows) and batches (columns) (Theorem 5.1)."""
    X = as_samples(X)
    best = linf_max_margin(X).margin
    table = np.empty((len(SIGNUM_BETAS), len(SIGNUM_COLUMNS)))
    for row, beta in enumerate(SIGNUM_BETAS):
        num_steps = config.signum_steps if beta >= 0.99 else config.signum_steps // 4  # larger steps arrive sooner
        for column, (size, order) in enumerate(SIGNUM_COLUMNS):
            run = signum(
                X, num_steps=num_steps, beta=beta, batch_size=size, order=order, seed=seed,
                learning_rate=min(0.1, 1 - beta),
            )  # fmt: skip
            table[row, column] = margin(X, run.increment(), np.inf) / best
    return table


def step_size_power(
    X: ArrayLike,
    direction: ArrayLike,
    *,
    num_steps: int,
    learning_rates: tuple[float, float] = (0.4, 0.2),
    **adam_arguments: Any,
) -> float:
    r"""Power of the step size with which Adam's increment closes in on `direction`: two at its limit, zero elsewhere.

    Two runs of `num_steps` with the given learning rates; the gap is one minus the cosine of their increments. The rates
    are large because the transient has to be over, which takes elapsed time: samples that nearly belong to the support
    lose their share like :math:`e^{-\delta \tau}`, with a small excess :math:`\delta` of their gain.
    """
    runs = [adam(X, num_steps=num_steps, learning_rate=rate, **adam_arguments) for rate in learning_rates]
    gaps = [misalignment(run.increment(), direction) for run in runs]
    return float(np.log(gaps[0] / gaps[1]) / np.log(learning_rates[0] / learning_rates[1]))


def batch_size_sweep(X: ArrayLike, config: Config, *, order: Order = "cyclic", seed: int = 0) -> dict[int, Array]:
    """Increments of Adam by batch size, for the divisors of N (Figure 6)."""
    X = as_samples(X)
    sizes = [b for b in range(1, len(X) + 1) if len(X) % b == 0]
    steps = {b: config.num_steps if b < len(X) else config.num_full_batch_steps for b in sizes}
    return {b: adam(X, num_steps=steps[b], batch_size=b, order=order, seed=seed).increment() for b in sizes}


def epsilon_table(X: ArrayLike, *, eps: Sequence[float], steps: Sequence[int]) -> tuple[Array, Array]:
    """Cosine of full-batch Adam's iterate to the l-infinity direction, and its smallest margin; (len(eps), len(steps))."""
    X = as_samples(X)
    target = linf_max_margin(X).direction
    runs = [adam(X, num_steps=max(steps), batch_size=len(X), eps=value, record=steps).weights for value in eps]
    return np.array([cosine(w, target) for w in runs]), np.array([(w @ X.T).min(axis=-1) for w in runs])


# Several limits -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Basins:
    """Where cyclic Adam ends from random starts: index of the nearest fixed point, and the distance to it."""

    starts: Array
    nearest: NDArray[np.int64]
    gap: Array


def basins(X: ArrayLike, points: Sequence[FixedPoint], config: Config, *, seed: int = 0, spread: float = 3.0) -> Basins:
    """Run cyclic Adam with beta2 = 0.999 from normal starts of standard deviation `spread`."""
    X = as_samples(X)
    starts = spread * np.random.default_rng(seed).standard_normal((config.num_starts, X.shape[1]))
    num_steps = config.num_steps // 5
    ends = np.array([adam(X, num_steps=num_steps, betas=(0.9, 0.999), w0=w0).increment() for w0 in starts])
    gaps = np.stack([misalignment(ends, point.direction) for point in points], axis=-1)
    return Basins(starts, gaps.argmin(axis=1), gaps.min(axis=1))
