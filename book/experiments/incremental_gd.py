"""Experiments behind the lesson incremental_gd, and the statements of its paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import log2, log10
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.claims import Statements
from descentlab.data import Dataset
from descentlab.incremental_gd import (
    LogisticSum,
    QuadraticSum,
    best_gap,
    epoch_map,
    expected_gap,
    final_gaps,
    herded_order,
    incremental_gd,
    step_sizes,
)

Array = NDArray[np.float64]

# -- Problems on which a fixed order is slow whatever the step, and the closed forms that explain them ----------------


def shared_hessian_instance(
    *, num_epochs: int, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""All components share the Hessian :math:`\operatorname{diag}(\mu, \lambda, L)`, :math:`\lambda = \min(\mu K, L/2)`.

    The second coordinate is tilted, by G in the first half of the components and by -G in the second (for odd `n` the
    middle one is not tilted). The first coordinate punishes small steps, the third steps beyond 2/L, and the tilt all
    between. Gap of order :math:`G^2/(\mu K)` (arXiv 2506.04126, Theorem 3.1; the constants are ours).

    Parameters
    ----------
    num_epochs : int
        K.
    mu, L, G : float
        Strong convexity, smoothness, size of the gradients at the minimiser.
    n : int
        Number of components.

    Returns
    -------
    (QuadraticSum in 3 dimensions, ndarray of shape (3,))

    Raises
    ------
    ValueError
        A number is outside its range.
    """
    _check(mu, L, G, n, num_epochs)
    curvature = max(min(mu * num_epochs, L / 2), mu)
    start = np.array([G / mu, 0.0, G / np.sqrt(mu * L * num_epochs)])
    return _tilted(mu, curvature, L, G, n), start


def large_epoch_convex_instance(
    *, num_epochs: int | None = None, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""`shared_hessian_instance` with the tilted curvature L/2: gap of order :math:`LG^2/(\mu^2K^2)` once :math:`K > \kappa`.

    Arguments, errors and return value are those of `shared_hessian_instance`. `num_epochs` sets only the start of the
    third coordinate; it is :math:`L/\mu` by default.
    """
    num_epochs = max(1, round(L / mu)) if num_epochs is None else num_epochs
    _check(mu, L, G, n, num_epochs)
    return _tilted(mu, L / 2, L, G, n), np.array([G / mu, 0.0, G / np.sqrt(mu * L * num_epochs)])


def polygon_instance(
    *, num_epochs: int, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""Strongly convex components that rotate: the method walks for ever round a regular n-gon.

    Coordinates 0 and 1 have shared curvatures :math:`\mu` and L and no tilt; they start at
    :math:`\sqrt L G/\mu^{3/2}` and :math:`G/\mu`. On coordinates 2 and 3, :math:`H_i = R^{i-1}
    \operatorname{diag}(\mu, L) R^{-(i-1)}` and :math:`b_i = R^{i-1} (-G, 0)^\top` with the rotation R by
    :math:`2\pi/n`. The start is `polygon_orbit` at the step :math:`1/(\mu n K)`. Gap of order
    :math:`(LG^2/\mu^2) \min\{1, \kappa^2/K^4\}` (arXiv 2506.04126, Theorem 3.3; the constants are ours).

    Arguments, errors and return value are those of `shared_hessian_instance`, in 4 dimensions; ``n >= 3``.
    """
    _check(mu, L, G, n, num_epochs, smallest=3)
    angles = 2 * np.pi * np.arange(n) / n
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    hessians = np.zeros((n, 4, 4))
    hessians[:, 0, 0], hessians[:, 1, 1] = mu, L
    hessians[:, 2:, 2:] = L * np.eye(2) + (mu - L) * along[:, :, None] * along[:, None, :]
    problem = QuadraticSum(hessians, np.concatenate([np.zeros((n, 2)), -G * along], axis=1), mu=mu, L=L)
    return problem, polygon_orbit(problem, learning_rate=1 / (mu * n * num_epochs))


def polygon_orbit(problem: QuadraticSum, *, learning_rate: ArrayLike, offset: bool = True) -> Array:
    r"""Start of the closed orbit of a `polygon_instance`: from there each step rotates the iterate by one corner.

    Parameters
    ----------
    problem : QuadraticSum
        From `polygon_instance`.
    learning_rate : array_like, shape (...)
        Step size; positive.
    offset : bool
        Whether coordinates 0 and 1, which every step shrinks, start where the instance has them, or at zero. With
        zero the whole iterate returns to its start after an epoch; otherwise its coordinates 2 and 3 do.

    Returns
    -------
    ndarray, shape (..., 4)

    Raises
    ------
    ValueError
        The problem is no polygon, or a step size is not positive.

    Notes
    -----
    :math:`x_0 = -(\eta H_1 + R - I)^{-1} \eta b_1` solves :math:`x_0 - \eta(H_1x_0 + b_1) = Rx_0`, and rotating this
    identity gives all the other steps.
    """
    rates = np.asarray(learning_rate, dtype=float)
    if not np.all(rates > 0):
        raise ValueError(f"learning_rate={learning_rate!r} must be positive")
    n = problem.num_components
    if problem.dim != 4 or problem.is_diagonal or n < 3:
        raise ValueError(f"problem={problem!r}: expected a polygon_instance")
    turn = _rotation_minus_identity(n)
    rotation = np.eye(2) + turn
    hessian, tilt = problem.hessians[:, 2:, 2:], problem.linear_terms[:, 2:]
    rotated = np.allclose(np.roll(hessian, -1, axis=0), rotation @ hessian @ rotation.T, atol=1e-9 * problem.smoothness)
    if not (rotated and np.allclose(np.roll(tilt, -1, axis=0), tilt @ rotation.T, atol=1e-9 * np.abs(tilt).max())):
        raise ValueError("problem: its components do not turn by 2π/n from each to the next; take a polygon_instance")
    G = float(np.linalg.norm(tilt[0]))
    mu, L = problem.hessians[0, 0, 0], problem.hessians[0, 1, 1]
    orbit = np.empty((*rates.shape, 4))
    orbit[..., :2] = (np.sqrt(L) * G / mu**1.5, G / mu) if offset else (0.0, 0.0)
    scaled = rates[..., None, None]
    orbit[..., 2:] = -np.linalg.solve(scaled * hessian[0] + turn, scaled * tilt[0][:, None])[..., 0]
    return orbit


def polygon_gap(*, learning_rate: ArrayLike, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200) -> Array:
    r"""Gap on the closed orbit, :math:`\frac{L+\mu}4 \lVert x_0 \rVert^2`, without building the n components.

    `learning_rate` of shape (...) or `L` of that shape; returns shape (...). Only the plane of the polygon counts.
    """
    rates, L_ = np.broadcast_arrays(np.asarray(learning_rate, dtype=float), np.asarray(L, dtype=float))
    turn = _rotation_minus_identity(n)
    matrix = np.broadcast_to(turn, (*rates.shape, 2, 2)).copy()
    matrix[..., 0, 0] += rates * mu
    matrix[..., 1, 1] += rates * L_
    tilt = np.stack([-G * rates, np.zeros_like(rates)], axis=-1)
    start = -np.linalg.solve(matrix, tilt[..., None])[..., 0]
    return np.asarray((L_ + mu) / 4 * (start**2).sum(axis=-1))


def nonconvex_instance(
    *, num_epochs: int, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""Half of the components are concave in the second coordinate: the gap grows like :math:`e^{\kappa/(2K)}`.

    There the first n/2 components have curvature L and tilt -G, the others -L/2 and G. The first half pulls the
    iterate to about G/L, the second amplifies it. The first coordinate has the shared curvature :math:`\mu` and
    starts at :math:`(G/\sqrt{\mu L})(1 + L/(2\mu nK))^{n/2}`. Gap of order :math:`(G^2/L)(1 + L/(2\mu nK))^n`
    (arXiv 2506.04126, Theorem 3.5; the constants are ours).

    Arguments, errors and return value are those of `shared_hessian_instance`, in 2 dimensions; `n` is even and
    :math:`L \ge 4\mu`.
    """
    _check(mu, L, G, n, num_epochs, multiple=2)
    if 4 * mu > L:
        raise ValueError(f"L={L:g} must be at least 4 mu = {4 * mu:g}, so that F has the strong convexity mu")
    first = np.arange(n) < n // 2
    hessians = np.stack([np.full(n, mu), np.where(first, L, -L / 2)], axis=1)
    linear = np.stack([np.zeros(n), np.where(first, -G, G)], axis=1)
    with np.errstate(over="ignore"):
        start = G / np.sqrt(mu * L) * np.exp(n / 2 * np.log1p(L / (2 * mu * n * num_epochs)))
    return QuadraticSum(hessians, linear, mu=mu, L=L), np.array([start, 0.0])


def large_epoch_nonconvex_instance(
    *, num_epochs: int | None = None, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""Curvature and tilt correlate along the epoch: gap of order :math:`L^2G^2/(\mu^3K^2)` once :math:`K > \kappa`.

    In the second coordinate the curvature is L on the middle half and :math:`2\mu - L` on the outer quarters, the tilt
    G on the first half and -G on the second; to second order in the step an epoch drifts by
    :math:`\eta^2 \sum_{i<j} h_j b_i \approx \eta^2 n^2 L G/8`.

    Arguments, errors and return value are those of `shared_hessian_instance`, in 2 dimensions; 4 divides `n`, and
    `num_epochs` does not enter.
    """
    _check(mu, L, G, n, 1 if num_epochs is None else num_epochs, multiple=4)
    place = np.arange(n)
    middle = (place >= n // 4) & (place < 3 * n // 4)
    hessians = np.stack([np.full(n, mu), np.where(middle, L, 2 * mu - L)], axis=1)
    linear = np.stack([np.zeros(n), np.where(place < n // 2, G, -G)], axis=1)
    return QuadraticSum(hessians, linear, mu=mu, L=L), np.array([G / mu * np.sqrt(L / mu), 0.0])


def _tilted(mu: float, curvature: float, L: float, G: float, n: int) -> QuadraticSum:
    """Shared curvatures (mu, curvature, L), the second coordinate tilted half/half."""
    tilt = G * np.sign(n - 1 - 2 * np.arange(n))  # zero in the middle of an odd number
    hessians = np.tile([mu, curvature, L], (n, 1))
    return QuadraticSum(hessians, tilt[:, None] * np.array([0.0, 1.0, 0.0]), mu=mu, L=L)


def _rotation_minus_identity(n: int) -> Array:
    """R - I for the rotation by 2π/n, exact for large n, where cos - 1 would cancel."""
    angle = 2 * np.pi / n
    down = -2 * np.sin(angle / 2) ** 2
    return np.array([[down, -np.sin(angle)], [np.sin(angle), down]])


def _check(mu: float, L: float, G: float, n: int, num_epochs: int, *, smallest: int = 2, multiple: int = 1) -> None:
    if not (0 < mu <= L < np.inf):
        raise ValueError(f"mu={mu!r}, L={L!r}: expected 0 < mu <= L")
    if not 0 < G < np.inf:
        raise ValueError(f"G={G!r} must be positive")
    if n != int(n) or n < max(smallest, multiple) or n % multiple:
        wanted = f"a multiple of {multiple}" if multiple > 1 else f"an integer of at least {smallest}"
        raise ValueError(f"n={n!r} must be {wanted}")
    if not 1 <= num_epochs < np.inf:
        raise ValueError(f"num_epochs={num_epochs!r} must be at least 1")


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
    order: Any = "cyclic",
    schedule: Any = "constant",
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


# The table of rates -------------------------------------------------------------------------------------------------


def rate(name: str, num_epochs: ArrayLike, *, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200) -> Array:
    r"""A bound on the gap without its constant and its logarithms (arXiv 2506.04126, Table 1 and Figure 1).

    Parameters
    ----------
    name : str
        One of `RATES`.
    num_epochs : array_like, shape (...)
        K.
    mu, L, G, n : float
        Strong convexity, smoothness, size of the components' gradients, number of components.

    Returns
    -------
    ndarray, shape (...)

    Raises
    ------
    ValueError
        The name is unknown.
    """
    K, kappa = np.asarray(num_epochs, dtype=float), L / mu
    with np.errstate(over="ignore"):
        values = {
            "shared Hessian": G**2 / (mu * K),
            "strongly convex, lower": L * G**2 / mu**2 * np.minimum(1, kappa**2 / K**4),
            "strongly convex, upper": L**2 * G**2 / (mu**3 * K**2),
            "nonconvex": G**2 / L * np.exp(n * np.log1p(L / (2 * mu * n * K))),
            "replacement": G**2 / (mu * n * K),
            "large epochs, convex": L * G**2 / (mu**2 * K**2),
            "large epochs, nonconvex": L**2 * G**2 / (mu**3 * K**2),
        }
    if name not in values:
        raise ValueError(f"name={name!r}; allowed are {', '.join(map(repr, values))}")
    return np.asarray(values[name])


RATES = (
    "shared Hessian",
    "strongly convex, lower",
    "strongly convex, upper",
    "nonconvex",
    "replacement",
    "large epochs, convex",
    "large epochs, nonconvex",
)

_LOWER: dict[str, tuple[Instance, bool]] = {
    "shared Hessian": (shared_hessian_instance, True),
    "strongly convex, lower": (polygon_instance, True),
    "nonconvex": (nonconvex_instance, True),
    "large epochs, convex": (large_epoch_convex_instance, False),
    "large epochs, nonconvex": (large_epoch_nonconvex_instance, False),
}


@dataclass(frozen=True)
class RateCheck:
    """Measured least gaps of one row of the table.

    Attributes
    ----------
    name : str
        The lower bound, one of `RATES`.
    epochs, gaps, ratios : ndarray, shape (m,)
        K, the least gap over step sizes, and that over the bound without its constant.
    """

    name: str
    epochs: Array
    gaps: Array
    ratios: Array


def rate_table(
    *, condition: float = 200.0, n: int = 200, num_rates: int = 120, small: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
) -> list[RateCheck]:
    """Least gaps on the five constructions beside the lower bounds that they prove.

    The constructions for few epochs are measured at K in `small`, the others at 1 to 32 times the condition number.
    """
    large = tuple(int(condition * 2**k) for k in range(6))
    rows = []
    for name, (instance, few) in _LOWER.items():
        found = minimum_gaps(instance, small if few else large, num_rates=num_rates, L=condition, n=n)
        ratios = found.gaps / rate(name, found.epochs, L=condition, n=n)
        rows.append(RateCheck(name, found.epochs.astype(float), found.gaps, ratios))
    return rows


# The problem of Safran and Shamir -------------------------------------------------------------------------------------


def safran_shamir_instance(
    *, num_epochs: int | None = None, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 500
) -> tuple[QuadraticSum, Array]:
    r"""The problem on which Safran and Shamir (2021) ask when reshuffling beats replacement, and its start; n is even.

    Curvatures :math:`\mu` and L, tilts of :math:`\pm G/2` in the second coordinate, plus first; starts at
    :math:`-G/(2\mu), -G/(2L)`. `num_epochs` does not enter.
    """
    tilts = np.where(np.arange(n) < n // 2, G / 2, -G / 2)
    problem = QuadraticSum(np.tile([mu, L], (n, 1)), np.stack([np.zeros(n), tilts], axis=1), mu=mu, L=L)
    return problem, np.array([-G / (2 * mu), -G / (2 * L)])


# Random orders ------------------------------------------------------------------------------------------------------


def nonconvex_gaps(num_epochs: int, z: float) -> dict[str, float]:
    """Gap of the tilted coordinate of `nonconvex_instance` from the minimiser, by order; random orders exactly."""
    problem, _ = nonconvex_instance(num_epochs=num_epochs)
    zero, rate = np.zeros(2), z / (problem.num_components * num_epochs)
    gaps = {"cyclic": float(final_gaps(problem, zero, learning_rate=rate, num_epochs=num_epochs))}
    for order in ("reshuffled", "replacement"):
        gaps[order] = float(expected_gap(problem, zero, learning_rate=rate, num_epochs=num_epochs, order=order))
    return gaps


def monte_carlo_deviation(num_epochs: int, num_runs: int, *, order: str, z: float = 1.0, seed: int = 0) -> float:
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


# Statements ---------------------------------------------------------------------------------------------------------


def _log2(*values: float) -> tuple[float, ...]:
    return tuple(log2(v) for v in values)


def _log10(*values: float) -> tuple[float, ...]:
    return tuple(log10(v) for v in values)


# fmt: off
_DIGITS = "digits of an independent implementation"
statements = Statements("incremental_gd")

C1 = statements.statement(
    "C1", r"Components with one shared Hessian: whatever the constant step, a fixed order may end $G^2/(\mu K)$ above the minimum, up to a constant",
    "Theorem 3.1", source="paper",
)
C1.in_cells(
    "a", r"Least gap times $\mu K/G^2$ for $K = 2, 4, \dots, 64$", "Theorem 3.1; its constant is derived", "at least", 0.05, 0.0,
    "a bound up to a constant: half of the least value of an independent implementation", basis="statement", control="replacement order",
)
C1.in_cells(
    "c", "Its growth when $K$ doubles, a factor near one: the drift is a logarithm", "Theorem 3.1; its constant is derived", "approx", (1.2,) * 5, 0.3,
    "from 0.9 to 1.5", basis="statement", control="not multiplied by $K$",
)

C2 = statements.statement(
    "C2", "A fixed order may be $n$ times slower than drawing with replacement, although all components share one Hessian",
    "Theorem 3.1 beside replacement", source="paper",
)
C2.in_cells(
    "a", r"Ratio of gaps over $n$, for $n = 50, 100, 200, 400, 800$ ($K = 4$, $\eta\mu nK = 1$, tilted coordinate)", "ours", "approx",
    (5.845 / 50, 11.628 / 100, 23.193 / 200, 46.324 / 400, 92.585 / 800), 5e-5, "four " + _DIGITS,
    basis="second", control="reshuffled instead of replacement",
)
C2.in_cells(
    "b", "Log-log slope of the ratio in $n$", "Theorem 3.1 beside replacement", "slope", 1.0, 0.02, r"$O(1/n)$ in the cyclic gap",
    basis="statement", control="tilts that alternate",
)
C2.in_cells(
    "c", "Common logarithms of both gaps at $n = 200$: cyclic, replacement", "ours", "approx", _log10(7.264e-3, 3.132e-4), 1e-4,
    "four " + _DIGITS, basis="second", control="one epoch more",
)

C3 = statements.statement(
    "C3", r"In one dimension a fixed order is never slower than $G^2/(\mu K)$ up to logarithms, whatever the curvature", "Theorem 3.2", source="paper",
)
C3.in_cells(
    "a", r"Half/half tilts: steady gap over $\eta n G^2$, largest over all curvatures; it is $\frac12 \max_u \tanh^2 u/(4u)$",
    "Theorem 3.2; the constant is derived", "approx", 0.0729, 0.0015, "closed form; 2 %: finite $n$", basis="exact", control="tilts that alternate",
)
C3.in_cells(
    "b", r"The largest gap after $K = 4, 16, 64$ epochs at $\eta\mu nK = 1$, times $\mu K/G^2$", "ours", "approx", (0.0736, 0.0736, 0.069), 0.0014,
    "an independent implementation, 2 %", basis="second", control="three times the step",
)
C3.in_cells(
    "c", r"The curvature that attains it, over $\mu K$ ($K = 4, 16$)", "ours", "approx", (4.3, 4.3), 0.1,
    r"$4u$ at the maximum, to two digits, and the grid of curvatures", basis="exact", control="three times the step",
)

C4 = statements.statement(
    "C4", r"Strongly convex components: whatever the constant step, a fixed order may end $\frac{LG^2}{\mu^2}\min\{1, \kappa^2/K^4\}$ above the minimum, up to a constant",
    "Theorem 3.3", source="paper",
)
C4.in_cells(
    "b", r"Least gap over that rate, $K = 2, \dots, 64$", "Theorem 3.3; its constant is derived", "at least", 0.008, 0.0,
    r"the closed form at $\eta\mu nK = 1$ falls to about 0.01 near $K = \sqrt\kappa$", basis="statement", control="reshuffled order",
)

C5 = statements.statement(
    "C5", r"In any order of strongly convex components $\lVert x - x_\star \rVert^2 \le (1-\eta\mu)^{nK} \lVert x_0 - x_\star \rVert^2 + \eta^2 L S^2/\mu$ with prefix sums bounded by $S$",
    "ours, after Mishchenko et al. 2020", source="ours",
)
C5.in_cells(
    "a", "Largest ratio of the two sides on random problems", "ours, after Mishchenko et al. 2020", "at most", 1.0, 0.0, "a theorem",
    basis="statement", control="prefix sums of a herded order, for the closed orbit",
)
C5.in_cells(
    "b", "The ratio on the closed orbit, $K = 4, 8, 14$", "ours", "approx", (0.055, 0.020, 0.008), 6e-4, "two " + _DIGITS,
    basis="second", control="the bound with $S = nG/2$",
)

C6 = statements.statement(
    "C6", r"Some components nonconvex: whatever the constant step, a fixed order may end $\frac{G^2}{L}(1 + \frac{L}{2\mu nK})^n$ above the minimum, up to a constant: exponential in $\kappa/K$",
    "Theorem 3.5", source="paper",
)
C6.in_cells(
    "a", r"Least gap over that rate, $K = 2, \dots, 32$", "Theorem 3.5; its constant is derived", "at least", 0.03, 0.0,
    "a bound up to a constant: a third of the least value of an independent implementation", basis="statement", control="reshuffled order",
)
C6.in_cells(
    "d", "Slope of the logarithm of the least gap in $1/K$ over $K = 2, 3, 4, 5, 6, 8$, for $n = 200, 1000$", "Theorem 3.5", "approx", (86.5, 96.9), 2.6,
    r"3 % of the slope of the formula $n \log(1 + \frac{\kappa}{2nK})$", basis="statement", control="half of the condition number",
)

C7 = statements.statement("C7", "On the same nonconvex components random reshuffling is harmless", "Section 3.3, as reported", source="paper")
C7.in_cells(
    "a", r"Common logarithm of the exact expectation, tilted coordinate, reshuffled, at $(K, \eta\mu nK) = (8, 1), (16, 1), (8, 4)$",
    "Section 3.3, as reported", "approx", _log10(1.096e-4, 3.342e-5, 1.068e-3), 2e-4, "four digits of the recursion over the counts of both types, written out for one coordinate",
    basis="exact", control="replacement",
)
C7.in_cells(
    "b", "The same with replacement", "ours", "approx", _log10(1.852e-4, 8.475e-5, 1.667e-3), 2e-4, "four " + _DIGITS,
    basis="second", control="reshuffled",
)
C7.in_cells(
    "c", "The same in cyclic order", "ours", "approx", _log10(1.143e2, 2.608e-1, 1.506e16), 2e-4, "four " + _DIGITS,
    basis="second", control="concave components first",
)

C8 = statements.statement(
    "C8", r"Herding the gradients at the minimiser gives a fixed order that beats drawing with replacement already for few epochs", "Theorem 3.7",
    source="paper",
)
C8.in_cells(
    "a", "Least gap with replacement over that of the herded order, shared Hessian then polygon, $K = 8, 16, 32, 64$ each", "Theorem 3.7",
    "at least", 5.0, 0.0, "a factor that grid-resolved minima cannot blur", basis="statement", control="the cyclic order",
)
C8.in_cells(
    "d", "Least gaps of the herded order at $K = 16$ (binary logarithm): shared Hessian, nonconvex", "ours", "approx", _log2(9.6e-6, 5.4e-5), 1.0,
    "an independent implementation; a factor of two: minima on a grid", basis="second", control="an order drawn at random",
)
C8.in_cells(
    "e", "On the polygon herding is a chain of ties, and how they are broken matters: median least gap over random ties, $K = 16$", "ours",
    "at most", 7.9e-8, 7.9e-8, "the figure of an independent implementation, whose ties rounding broke; a factor of two: minima on a grid",
    basis="second", control="ties to the smaller angle",
)
C8.in_cells(
    "f", "Least gaps in random order at $K = 16$ (binary logarithm): shared Hessian reshuffled, replacement; polygon reshuffled, replacement", "ours",
    "approx", _log2(2.5e-4, 4.1e-4, 4e-4, 9e-4), 1.0, "an independent implementation; a factor of two: minima on a grid, means over runs",
    basis="second", control="the cyclic order",
)
C8.in_cells(
    "g", "The same, nonconvex, reshuffled", "ours", "approx", log2(4.9e-4), 0.1,
    "two digits of a recursion over single states; an independent mean of few runs saw 1.3e-4, which choosing the luckiest step flatters",
    basis="second", control="the cyclic order",
)

C9 = statements.statement(
    "C9", r"Many epochs, convex components: a fixed order may end $\frac{LG^2}{\mu^2K^2}$ above the minimum, up to a constant and logarithms",
    "Table 1, many epochs", source="paper",
)
C9.in_cells(
    "a", r"Least gap over $\frac{LG^2}{\mu^2K^2} z_\star^2$, $z_\star = \eta_\star\mu nK$, for $K = 20, 40, \dots, 1280$ ($\kappa = 20$, $n = 100$)",
    "Table 1, many epochs; the constant is derived", "approx", (0.0185,) * 7, 0.0065, "1/64 from the tilt, plus the transient",
    basis="statement", control=r"without $z_\star^2$",
)
C9.in_cells(
    "b", r"Slope of the raw gap in $K$ at both ends: not yet $-2$, because $z_\star$ grows like a logarithm", "ours", "approx", (-1.46, -1.72), 0.03,
    "three " + _DIGITS + ", steps on a grid", basis="second", control=r"$z_\star^2$ divided out",
)

C10 = statements.statement(
    "C10", r"Many epochs, some components nonconvex: $\kappa$ times slower, $\frac{L^2G^2}{\mu^3K^2}$", "Table 1, many epochs", source="paper",
)
C10.in_cells(
    "a", r"Least gap over $\frac{L^2G^2}{\mu^3K^2} z_\star^2$, $K = 20, 40, \dots, 1280$ ($\kappa = 20$, $n = 100$)",
    "Table 1, many epochs; the constant is derived", "approx", (0.00778, 0.00832, 0.00891, 0.00934, 0.00958, 0.00968, 0.00970), 2e-4,
    "closed form on a fine grid of steps; another implementation saw 0.0079 to 0.0097 on a coarse one", basis="exact", control=r"without $z_\star^2$",
)
C10.in_cells(
    "b", r"For $\kappa = 50$ it climbs from $K = 20$ to $10240$", "ours", "approx", (0.003, 0.009), 6e-4, "one " + _DIGITS,
    basis="second", control=r"without $z_\star^2$",
)
C10.in_cells(
    "c", r"At the fixed step $z = 1$ from the minimiser: gap over the rate, $K = 120, 480, 1920$ ($\kappa = 30$, $n = 80$)", "ours", "approx",
    (0.00323, 0.00331, 0.00333), 6e-6, "three " + _DIGITS, basis="second", control="reshuffled order",
)
C10.in_cells(
    "d", "Slope of that gap between $K = 480$ and $1920$", "Table 1, many epochs", "slope", -2.0, 0.01, "next order in the step",
    basis="statement", control="reshuffled order",
)

C11 = statements.statement(
    "C11", r"The lower bounds of the table hold for every constant step; those for strongly convex components meet the upper bound at $K \approx \sqrt\kappa$",
    "Table 1, Figure 1", source="paper",
)
C11.in_cells(
    "a", "Least gap over the lower bound, worst over its five rows and all $K$", "Table 1, Figure 1; constants derived", "at least", 0.008, 0.0,
    "the constant of C4b, the smallest", basis="statement", control="the replacement order",
)
C11.in_cells(
    "b", r"Where the strongly convex row's bounds meet ($\kappa = 200$)", "Figure 1", "approx", 14.142, 0.15, "grid of $K$",
    basis="statement", control=r"$\kappa = 400$",
)

C12 = statements.statement(
    "C12", r"Reshuffling begins to beat replacement only after about $\kappa$ epochs", "Safran and Shamir 2021", source="prior",
)
C12.in_cells(
    "a", "Expected gap, reshuffled over replacement, at $K = 40, 80, 200, 400, 1000, 2000, 10000$ for $\\kappa = 200$, exactly",
    "Safran and Shamir 2021", "approx", (0.964, 0.928, 0.830, 0.677, 0.343, 0.134, 0.008), 6e-4, "three digits of the closed form for one shared curvature, in multiprecision",
    basis="exact", control="twice the step",
)
C12.in_cells(
    "b", "Common logarithms of the gaps at $K = 40$: replacement, sorted", "ours", "approx", _log10(3.256e-5, 6.250e-4), 1e-4, "four " + _DIGITS,
    basis="second", control="twice the step",
)

C13 = statements.statement(
    "C13", "On two classes of images, each order with its own best step: sorted by class is the slowest, herding the fastest, and with few epochs reshuffling is no better than replacement",
    "ours", source="ours",
)
C13.in_cells(
    "a", "Logistic regression: least loss", "ours", "approx", 0.400426, 1e-6, "six " + _DIGITS, basis="second", control="half the ridge",
)
C13.in_cells(
    "b", "Condition number of the Hessian at the minimiser", "ours", "approx", 173.5, 0.1, "four " + _DIGITS, basis="second", control="half the ridge",
)
C13.in_cells(
    "c", "Largest gradient of a component there", "ours", "approx", 3.155, 0.001, "four " + _DIGITS, basis="second", control="half the ridge",
)
C13.in_cells(
    "d", "Sorted by class over reshuffled: ratio of gaps after each of 50 epochs", "ours", "at least", 4.0, 0.0,
    "a wide margin: an independent implementation saw 5 or more", basis="statement", control="the classes in turns",
)
C13.in_cells(
    "e", r"Reshuffled over replacement: binary logarithm of their ratio, $K = 1, \dots, 5$", "ours", "approx", (0.0,) * 5, 1.0, "a factor of two",
    basis="statement", control="sorted instead of reshuffled",
)
C13.in_cells(
    "f", r"Reshuffled over herded, $K = 5, \dots, 50$", "ours", "at least", 5.0, 0.0, "a wide margin: an independent implementation saw 8 or more",
    basis="statement", control="an order drawn at random",
)
C13.in_cells(
    "g", "Prefix constants $H$ of the sorted and the herded order", "ours", "approx", (42.3, 0.78), 0.06, "three " + _DIGITS,
    basis="second", control="an order drawn at random",
)
C13.in_cells(
    "h", "Common logarithm of the tuned gap, sorted, replacement, herded, at $K = 5$, then at $K = 20$", "ours", "approx",
    _log10(6.8e-2, 1.05e-2, 1.6e-3, 2.8e-2, 5.8e-3, 1.4e-4), 0.114, "an independent implementation; 30 %: spread over seeds",
    basis="second", control="a single step size",
)
C13.in_cells(
    "i", "The same, reshuffled", "ours", "approx", _log10(1.35e-2, 3.0e-3), 0.114, "an independent implementation; 30 %: spread over five seeds",
    basis="second", control="a single step size",
)

C14 = statements.statement(
    "C14", "The lower bounds need a constant step: on the same problems steps that decay to zero reach gaps lower by factors from fifty to ten thousand",
    "ours", source="ours",
)
C14.in_cells(
    "a", "Least gap at $K = 8$ (binary logarithm) with constant steps: shared Hessian, polygon, nonconvex", "ours", "approx",
    _log2(2.3e-2, 5.4, 177.0), 1.0, "an independent implementation, a factor of two", basis="second", control="linear decay",
)
C14.in_cells(
    "b", "With steps that decay linearly to zero", "ours", "approx", _log2(4.9e-7, 0.11, 0.066), 1.0,
    "an independent implementation; a factor of two, beside effects of fifty and more",
    basis="statement", control="constant steps",
)
C14.in_cells(
    "c", "With steps that decay along a cosine", "ours", "approx", _log2(2.6e-6, 0.017, 0.0070), 1.0,
    "an independent implementation; a factor of two, beside effects of fifty and more",
    basis="statement", control="linear decay",
)

D1 = statements.statement(
    "D1", "Forward in one epoch, backward in the next repairs only the nonconvex construction", "ours", source="ours",
)
D1.in_cells(
    "", "Least gap at $K = 8$ (binary logarithm): shared Hessian, polygon, nonconvex", "ours", "approx", _log2(1.6e-2, 5.4, 6e-4), 0.15,
    "an independent implementation; one or two digits, beside an effect of five orders of magnitude", basis="statement", control="forward always",
)

D2 = statements.statement(
    "D2", r"What makes an order good once curvatures differ is the bias $\sum_{i<j} H_j b_i$, which predicts the steady gap of every order",
    "ours", source="ours",
)
D2.in_cells(
    "", "Largest error of the predicted gap over all 720 orders of six components: its slope in the step", "ours", "slope", 1.0, 0.1,
    "next order in the step", basis="statement", control="the mean Hessian instead of $H_j$",
)

D3 = statements.statement(
    "D3", "On long bowls, each turned against the one before, the iterates walk for ever round a regular polygon; starting at the minimiser changes little",
    "ours", source="ours",
)
D3.in_cells(
    "a", "After 8 epochs: distance from the start (relative), and spread of all distances from the minimiser", "ours", "at most", (1e-12, 1e-12), 0.0,
    "rounding of 1600 steps", basis="exact", control="components in clockwise order",
)
D3.in_cells(
    "b", "Least gap started on the orbit over that started at the minimiser (binary logarithm), $K = 2, \\dots, 64$", "ours", "approx", (0.0,) * 6, 1.0,
    "a factor of two", basis="statement", control="the other coordinates at the minimiser, too",
)
D3.in_cells(
    "c", r"Least gap started at the minimiser over $\frac{LG^2}{\mu^2}\min\{1, \kappa^2/K^4\}$", "ours", "approx",
    (0.130, 0.073, 0.026, 0.011, 0.038, 0.105), 6e-4, "three " + _DIGITS, basis="second", control=r"at the fixed step $\eta\mu nK = 1$",
)

D4 = statements.statement(
    "D4", r"The gap on the polygon has a plateau for few epochs, falls like $K^{-4}$ beyond $\sqrt\kappa$, and like $K^{-2}$ beyond $\kappa$",
    "ours", source="ours",
)
D4.in_cells(
    "a", r"Height of the plateau over $LG^2/\mu^2$ ($\kappa = 10^6$, $n = 10^5$, $\eta\mu nK = 1$, $K = 5$)", "ours", "approx", 0.25, 5e-4, "closed form",
    basis="exact", control=r"$K = \sqrt\kappa$",
)
D4.in_cells(
    "b", "Exponents in $K$ between $K =$ 5–10, 10–20, 1000–2000, 2000–5000, 5000–10⁴, 10⁶–3·10⁶", "ours", "approx",
    (-0.006, -0.03, -3.95, -3.99, -4.00, -2.02), 0.03, "the radius for many components in closed form; $1/n$ and two digits",
    basis="exact", control="$n = 200$, for which steps exceed $2/L$",
)

D5 = statements.statement("D5", "The exact expectations of random orders are what runs show", "ours", source="ours")
D5.in_cells(
    "", "Mean of seeded runs on the nonconvex construction minus the expectation, in standard errors: reshuffled, replacement ($K = 8$)", "ours", "approx",
    (0.0, 0.0), 4.0, "four standard errors", basis="exact", control="a shuffle once, kept for all epochs",
)

D6 = statements.statement(
    "D6", r"The prefix constant $H$ is 1 after herding on all three constructions, against $n/2$, $1/\sin(\pi/n)$ and $n/2$ in the order of the file",
    "ours", source="ours",
)
D6.in_cells(
    "a", "$H$ of the herded order", "ours", "at most", (1.01, 1.01, 1.01), 0.0, "one, and rounding", basis="exact", control="an order drawn at random",
)
D6.in_cells(
    "b", "$H$ of the cyclic order", "ours", "approx", (100.0, 63.66, 100.0), 0.01, "closed forms", basis="exact", control="an order drawn at random",
)
# fmt: on
