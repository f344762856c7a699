"""The paper's experiments as pure functions: no printing, no plotting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.data import Dataset
from descentlab.incremental_gd.expectations import expected_gap
from descentlab.incremental_gd.instances import nonconvex_instance, polygon_instance, polygon_orbit
from descentlab.incremental_gd.maps import epoch_map
from descentlab.incremental_gd.methods import Order, Schedule, best_gap, final_gaps, incremental_gd, step_sizes
from descentlab.incremental_gd.ordering import herded_order
from descentlab.incremental_gd.problems import Array, LogisticSum, QuadraticSum

Instance = Callable[..., tuple[QuadraticSum, Array]]


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_rates : int
        Step sizes over which a minimum is taken.
    epochs : tuple of int
        Numbers of epochs K of the small-epoch experiments, at condition number 200.
    condition_numbers : tuple of float
        For the plot of the shared-Hessian rate.
    num_runs : int
        Random runs beside an exact expectation.
    num_instances : int
        Random problems on which the upper bound is tried.
    num_shuffles : int
        Reshuffled runs where no exact expectation is known.
    image_epochs, image_seeds : int
        Epochs and random orders of the experiment on images.
    """

    num_rates: int
    epochs: tuple[int, ...]
    condition_numbers: tuple[float, ...]
    num_runs: int
    num_instances: int
    num_shuffles: int
    image_epochs: int
    image_seeds: int


SMOKE = Config(40, (2, 4, 8, 16, 32, 64), (200,), 200, 10, 4, 10, 2)
BOOK = Config(120, (2, 4, 8, 16, 32, 64), (50, 200, 1000), 2000, 100, 20, 50, 20)
FULL = Config(480, (2, 4, 8, 16, 32, 64), (50, 200, 1000, 10_000), 20_000, 10_000, 200, 50, 100)


# The least gap over step sizes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Minima:
    r"""Least gaps over a grid of step sizes, by number of epochs.

    Attributes
    ----------
    epochs : ndarray of int, shape (m,)
    gaps, learning_rates : ndarray, shape (m,)
        The minimum, and where it is attained.
    z : ndarray, shape (m,)
        The same step in natural units, :math:`\eta\mu nK`.
    """

    epochs: NDArray[np.int64]
    gaps: Array
    learning_rates: Array
    z: Array


def minimum_gaps(
    instance: Instance,
    epochs: Iterable[int],
    *,
    num_rates: int = 120,
    order: Order | Callable[[QuadraticSum, int], Order] = "cyclic",
    schedule: Schedule = "constant",
    z: ArrayLike | None = None,
    from_minimizer: bool = False,
    expected: bool = False,
    **constants: Any,
) -> Minima:
    """`best_gap` of an instance for several numbers of epochs.

    Parameters
    ----------
    instance : callable
        Such as `shared_hessian_instance`; called with ``num_epochs=K`` and `constants`.
    epochs : iterable of int
    num_rates : int
        Points of the grid `step_sizes`.
    order : as in `incremental_gd`, or a function from the problem and K to an order
    schedule : as in `incremental_gd`
    z : array_like, optional
        A grid in natural units instead.
    from_minimizer : bool
        Start the plane of the polygon at the minimiser, not on its orbit.
    expected : bool
        `expected_gap` of a random order instead of a run.
    **constants
        mu, L, G, n of the instance.
    """
    found = []
    for num_epochs in epochs:
        problem, x0 = instance(num_epochs=num_epochs, **constants)
        scale = problem.strong_convexity * problem.num_components * num_epochs
        rates = step_sizes(problem, num_epochs, num=num_rates) if z is None else np.asarray(z) / scale
        if from_minimizer:
            x0 = np.where(np.arange(problem.dim) < 2, x0, 0.0)
        chosen: Any = order(problem, num_epochs) if callable(order) else order
        if expected:
            gaps = np.asarray(expected_gap(problem, x0, learning_rate=rates, num_epochs=num_epochs, order=chosen))
            gap, rate = float(gaps.min()), float(rates[gaps.argmin()])
        else:
            gap, rate = best_gap(
                problem, x0, num_epochs=num_epochs, learning_rates=rates, order=chosen, schedule=schedule
            )
        found.append((num_epochs, gap, rate, rate * scale))
    columns = np.array(found).T
    return Minima(columns[0].astype(np.int64), *columns[1:])


def herded(problem: QuadraticSum, num_epochs: int = 1) -> NDArray[np.int64]:
    """The greedily herded order of the gradients at the minimiser."""
    return herded_order(problem.gradients(problem.minimizer))[0]


def flip_flop(problem: QuadraticSum, num_epochs: int) -> NDArray[np.int64]:
    """Forward in one epoch, backward in the next: shape (num_epochs, n)."""
    forward = np.arange(problem.num_components)
    return np.stack([forward if k % 2 == 0 else forward[::-1] for k in range(num_epochs)])


def sampled_minimum(instance: Instance, num_epochs: int, config: Config, *, seed: int = 0, **constants: Any) -> float:
    """Least mean gap over step sizes, reshuffled, from runs: for problems without an exact expectation.

    The mean of half of the runs chooses the step, and that of the other half is returned, so that choosing the luckiest
    of many steps does not flatter.
    """
    problem, x0 = instance(num_epochs=num_epochs, **constants)
    rates = step_sizes(problem, num_epochs, num=config.num_rates // 2)
    seeds = seed + np.arange(2 * config.num_shuffles)[:, None]
    gaps = final_gaps(problem, x0, learning_rate=rates, num_epochs=num_epochs, order="reshuffled", seed=seeds)
    choose, judge = gaps[: config.num_shuffles].mean(axis=0), gaps[config.num_shuffles :].mean(axis=0)
    return float(judge[np.argmin(choose)])


# One coordinate -----------------------------------------------------------------------------------------------------


def gap_by_curvature(
    curvatures: Array,
    *,
    learning_rate: float,
    num_epochs: int,
    order: ArrayLike | None = None,
    G: float = 1.0,
    n: int = 200,
) -> Array:
    """Gap of a coordinate with half/half tilts and start zero for each curvature, shape (m,): all in one problem."""
    tilt = np.where(np.arange(n) < n // 2, G, -G)
    problem = QuadraticSum(np.tile(curvatures, (n, 1)), np.tile(tilt[:, None], (1, len(curvatures))))
    x = epoch_map(problem, learning_rate, order=order).power(num_epochs)(np.zeros(len(curvatures)))
    return np.asarray(0.5 * curvatures * x**2)


# The polygon --------------------------------------------------------------------------------------------------------


def polygon_path(*, num_epochs: int, learning_rate: float | None = None, n: int = 200, **constants: Any) -> Array:
    r"""All iterates of the plane of a polygon from the start of its orbit, shape (n K + 1, 2).

    The step is :math:`1/(\mu nK)` unless given.
    """
    problem, _ = polygon_instance(num_epochs=num_epochs, n=n, **constants)
    rate = 1 / (problem.strong_convexity * n * num_epochs) if learning_rate is None else learning_rate
    steps = [epoch_map(problem, rate, order=[i]) for i in range(n)]
    path = [polygon_orbit(problem, learning_rate=rate)]
    for t in range(n * num_epochs):
        path.append(steps[t % n](path[-1]))
    return np.array(path)[:, 2:]


# The upper bound ----------------------------------------------------------------------------------------------------


def distance_bound(
    problem: QuadraticSum, x0: ArrayLike, *, learning_rate: float, num_epochs: int, order: ArrayLike | None = None
) -> float:
    r"""Bound on :math:`\lVert x - x_\star \rVert^2` after K epochs in a fixed order, strongly convex components.

    :math:`(1-\eta\mu)^{nK} \lVert x_0 - x_\star \rVert^2 + \eta^2 L S^2 / \mu` for :math:`\eta \le 1/L`, with S the
    largest norm of a prefix sum of the gradients at the minimiser, and :math:`\mu` the strong convexity of every
    component. The argument is that of Mishchenko et al. (2020): compare with :math:`x_\star^{i+1} = x_\star^i -
    \eta \nabla f_i(x_\star)`.
    """
    n = problem.num_components
    index = np.arange(n) if order is None else np.asarray(order)
    values = problem.hessians if problem.is_diagonal else np.linalg.eigvalsh(problem.hessians)
    mu, L = float(values.min()), problem.smoothness
    if not (mu > 0 and learning_rate <= 1 / L):
        raise ValueError(
            f"learning_rate={learning_rate!r} above 1/L={1 / L:g}, or a component of curvature {mu:g} <= 0"
        )
    S = np.linalg.norm(np.cumsum(problem.gradients(problem.minimizer)[index], axis=0), axis=1).max()
    start = np.sum((np.asarray(x0) - problem.minimizer) ** 2)
    return float((1 - learning_rate * mu) ** (n * num_epochs) * start + learning_rate**2 * L * S**2 / mu)


def random_quadratic(rng: np.random.Generator, *, condition: float = 200.0) -> tuple[QuadraticSum, Array]:
    """Strongly convex components with eigenvalues in [1, condition], sorted adversely; and a start.

    4 to 40 components in 1 to 4 dimensions. The order is along the leading principal direction of the tilts, so that
    prefix sums grow.
    """
    n, d = int(rng.integers(4, 41)), int(rng.integers(1, 5))
    frames = np.linalg.qr(rng.standard_normal((n, d, d)))[0]
    values = condition ** rng.uniform(0, 1, (n, d))
    hessians = frames * values[:, None, :] @ frames.swapaxes(1, 2)
    tilts = rng.standard_normal((n, d))
    tilts -= tilts.mean(axis=0)
    along = tilts @ np.linalg.svd(tilts, full_matrices=False)[2][0]
    order = np.argsort(along)
    return QuadraticSum((hessians + hessians.swapaxes(1, 2))[order] / 2, tilts[order]), rng.standard_normal(d)


def bound_survey(num_instances: int, *, seed: int = 0) -> Array:
    """Squared distance over `distance_bound` on random problems, steps and numbers of epochs, shape (m,)."""
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(num_instances):
        problem, x0 = random_quadratic(rng)
        rate, num_epochs = 1 / problem.smoothness * 10 ** rng.uniform(-2, 0), int(rng.integers(1, 30))
        x = incremental_gd(problem, x0, learning_rate=rate, num_epochs=num_epochs).iterates[-1]
        bound = distance_bound(problem, x0, learning_rate=rate, num_epochs=num_epochs)
        ratios.append(np.sum((x - problem.minimizer) ** 2) / bound)
    return np.array(ratios)


def orbit_over_bound(epochs: Sequence[int]) -> Array:
    r"""The same ratio on the closed orbit of the polygon at the step :math:`1/(\mu nK)`, by number of epochs."""
    ratios = []
    for num_epochs in epochs:
        problem, _ = polygon_instance(num_epochs=num_epochs)
        rate = 1 / (problem.strong_convexity * problem.num_components * num_epochs)
        start = polygon_orbit(problem, learning_rate=rate, offset=False)
        x = incremental_gd(problem, start, learning_rate=rate, num_epochs=num_epochs).iterates[-1]
        ratios.append(np.sum(x**2) / distance_bound(problem, start, learning_rate=rate, num_epochs=num_epochs))
    return np.array(ratios)


# Random orders ------------------------------------------------------------------------------------------------------


def nonconvex_gaps(num_epochs: int, z: float) -> dict[str, float]:
    """Gap of the tilted coordinate of `nonconvex_instance` from the minimiser, by order; random orders exactly."""
    problem, _ = nonconvex_instance(num_epochs=num_epochs)
    zero, rate = np.zeros(2), z / (problem.num_components * num_epochs)
    gaps = {"cyclic": float(final_gaps(problem, zero, learning_rate=rate, num_epochs=num_epochs))}
    for order in ("reshuffled", "replacement"):
        gaps[order] = float(expected_gap(problem, zero, learning_rate=rate, num_epochs=num_epochs, order=order))
    return gaps


def monte_carlo_deviation(num_epochs: int, num_runs: int, *, order: Order, z: float = 1.0, seed: int = 0) -> float:
    """Mean gap of random runs minus the exact expectation, in standard errors, on the same problem."""
    problem, _ = nonconvex_instance(num_epochs=num_epochs)
    zero, rate = np.zeros(2), z / (problem.num_components * num_epochs)
    seeds = seed + np.arange(num_runs)
    gaps = final_gaps(problem, zero, learning_rate=rate, num_epochs=num_epochs, order=order, seed=seeds)
    return float((gaps.mean() - nonconvex_gaps(num_epochs, z)[str(order)]) / (gaps.std(ddof=1) / np.sqrt(num_runs)))


# All orders of a few components -------------------------------------------------------------------------------------


def second_order_bias(problem: QuadraticSum, order: ArrayLike) -> Array:
    r"""Coefficient :math:`\sum_{i<j} H_j b_i` of :math:`\eta^2` in an epoch's drift at the minimiser, shape (d,).

    The sum is over the positions of the order, and :math:`b_i` are the gradients at the minimiser.
    """
    index = np.asarray(order)
    b = problem.gradients(problem.minimizer)[index]
    before = np.cumsum(b, axis=0) - b
    hessians = problem.hessians[index]
    return np.asarray((hessians * before if problem.is_diagonal else np.einsum("ijk,ik->ij", hessians, before)).sum(0))


def bias_gap(problem: QuadraticSum, order: ArrayLike, *, learning_rate: ArrayLike) -> Array:
    r"""Steady gap that the bias predicts, :math:`\frac{\eta^2}{2n^2} v^\top \bar H^{-1} v`, to leading order in the step."""
    v = second_order_bias(problem, order)
    curved = v @ np.linalg.solve(problem.mean_hessian, v)
    return np.asarray(np.asarray(learning_rate) ** 2 / (2 * problem.num_components**2) * curved)


def steady_gap(problem: QuadraticSum, order: ArrayLike, *, learning_rate: float) -> float:
    """Gap at the ends of epochs after infinitely many: that of the fixed point of the epoch's map."""
    epoch = epoch_map(problem, learning_rate, order=np.asarray(order))
    linear = np.diag(epoch.linear) if epoch.diagonal else epoch.linear
    return float(problem.gap(np.linalg.solve(np.eye(problem.dim) - linear, epoch.shift)))


def all_orders(n: int) -> NDArray[np.int64]:
    """The n! permutations, one a row; at most 8!."""
    if not 1 <= n <= 8:
        raise ValueError(f"n={n!r}: at most 8 components, 8! = 40320 orders; sample orders beyond")
    return np.array(list(permutations(range(n))))


def rotating_quadratic(n: int = 6, *, condition: float = 20.0, seed: int = 0) -> QuadraticSum:
    """A few strongly convex components in the plane with random axes and tilts of sum zero."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, np.pi, n)
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    hessians = condition * np.eye(2) + (1 - condition) * along[:, :, None] * along[:, None, :]
    tilts = rng.standard_normal((n, 2))
    return QuadraticSum(hessians, tilts - tilts.mean(axis=0))


# Images -------------------------------------------------------------------------------------------------------------


def image_problem(
    dataset: Dataset,
    *,
    classes: tuple[int, int] = (0, 6),
    num_samples: int = 1000,
    pool: int = 4,
    ridge: float = 1e-3,
) -> LogisticSum:
    """Two classes of images, in the order of the file, as regularised logistic regression.

    Pixels are averaged over squares of `pool` × `pool` and centred; a column of ones makes the bias. The first class
    has the label 1.

    Raises
    ------
    ValueError
        There are fewer than `num_samples` such images, or `pool` does not divide their size.
    """
    targets = dataset.targets.cpu().numpy()
    chosen = np.flatnonzero(np.isin(targets, classes))[:num_samples]
    if len(chosen) < num_samples:
        raise ValueError(f"num_samples={num_samples}: {dataset.name} has only {len(chosen)} images of {classes}")
    pixels = dataset.inputs.cpu().numpy()[chosen, 0].astype(float)
    height, width = pixels.shape[1:]
    if height % pool or width % pool:
        raise ValueError(f"pool={pool} does not divide images of {height} × {width}")
    pooled = pixels.reshape(num_samples, height // pool, pool, width // pool, pool).mean(axis=(2, 4))
    features = pooled.reshape(num_samples, -1)
    features = np.column_stack([features - features.mean(axis=0), np.ones(num_samples)])
    return LogisticSum(features, np.where(targets[chosen] == classes[0], 1.0, -1.0), ridge=ridge)


def sorted_by_class(problem: LogisticSum) -> NDArray[np.int64]:
    """All samples of the first class, then all of the second, each in their order."""
    return np.argsort(-problem.y, kind="stable")


def image_gaps(problem: LogisticSum, config: Config, *, seed: int = 0) -> dict[str, Array]:
    r"""Tuned gap after each of K = 1, 2, … epochs from zero, by order: shapes (image_epochs,).

    Tuned means the least of 28 constant steps from :math:`10^{-4}` to :math:`10^{0.5}`, for each K by itself; random
    orders are averaged over seeds before.
    """
    rates = np.geomspace(1e-4, 10**0.5, 28)
    orders: dict[str, Any] = {
        "sorted": sorted_by_class(problem),
        "reshuffled": "reshuffled",
        "replacement": "replacement",
        "herded": herded_order(problem.gradients(problem.minimizer))[0],
    }
    tuned = {}
    for name, order in orders.items():
        seeds = seed + np.arange(config.image_seeds if isinstance(order, str) else 1)[:, None]
        run = incremental_gd(
            problem, np.zeros(problem.dim), learning_rate=rates, num_epochs=config.image_epochs, order=order, seed=seeds
        )
        tuned[name] = run.gaps[1:].mean(axis=1).min(axis=1)
    return tuned
