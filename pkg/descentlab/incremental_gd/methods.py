r"""Incremental gradient descent in any order, simulated or, for quadratics, through the affine map of an epoch.

On a quadratic one step is affine, :math:`x \mapsto (I - \eta H_i) x - \eta b_i`, and so is an epoch: `epoch_map` composes
its n steps once, for a whole vector of step sizes, and `AffineMap.power` raises it to the K-th power by repeated
squaring. The cost of a sweep over step sizes then grows like :math:`n + \log K` instead of nK. Expectations over random
orders need no sampling either: second moments of affine maps obey linear recursions (`descentlab.random_maps`).
Iterates that overflow are infinite, never an exception: on these problems that is the expected end of many runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.incremental_gd._loops import dense_loop, diagonal_loop, logistic_loop
from descentlab.incremental_gd.maps import epoch_map
from descentlab.incremental_gd.problems import Array, LogisticSum, QuadraticSum

ORDERS = ("cyclic", "reshuffled", "replacement")
SCHEDULES = ("constant", "linear", "cosine")
Order = Literal["cyclic", "reshuffled", "replacement"] | Sequence[int] | Sequence[Sequence[int]] | NDArray[Any]
Schedule = Literal["constant", "linear", "cosine"]


@runtime_checkable
class FiniteSum(Protocol):
    """What `incremental_gd` needs of a problem: see `QuadraticSum` and `LogisticSum`, for which its loops are compiled."""

    @property
    def num_components(self) -> int: ...
    @property
    def dim(self) -> int: ...
    def gap(self, x: ArrayLike) -> Array: ...
    def gradients(self, x: ArrayLike) -> Array: ...


@dataclass(frozen=True)
class EpochTrajectory:
    """Iterates at the ends of epochs.

    Attributes
    ----------
    iterates : ndarray, shape (num_epochs + 1, ..., d)
        ``iterates[k]`` after k epochs; the start is the first. The middle axes are those of the batch.
    gaps : ndarray, shape (num_epochs + 1, ...)
        F minus its least value there; infinite where it overflows.
    """

    iterates: Array
    gaps: Array


def incremental_gd(
    problem: FiniteSum,
    x0: ArrayLike,
    *,
    learning_rate: ArrayLike,
    num_epochs: int,
    order: Order = "cyclic",
    schedule: Schedule = "constant",
    seed: int | Sequence[int] | NDArray[Any] = 0,
) -> EpochTrajectory:
    r"""Gradient descent on one component at a time, :math:`x \leftarrow x - \eta_t \nabla f_{\sigma(t)}(x)`.

    Parameters
    ----------
    problem : QuadraticSum, LogisticSum, or any `FiniteSum`
    x0 : array_like, shape (..., d)
        Start.
    learning_rate : array_like, shape (...)
        :math:`\eta`, not negative. Batched: the axes of `learning_rate`, of `seed` and the leading ones of `x0` are
        broadcast together.
    num_epochs : int
        K, each of n steps.
    order : {"cyclic", "reshuffled", "replacement"} or sequence of int
        0, 1, … every epoch; a fresh permutation an epoch; each step's component drawn independently; a permutation of
        your own, shape (n,), used in every epoch, or one an epoch, shape (num_epochs, n).
    schedule : {"constant", "linear", "cosine"}
        Factor on the step size at step t of T = nK: 1, :math:`1 - t/T`, :math:`(1 + \cos(\pi t/T))/2`.
    seed : int or array_like of int
        Of the random orders. All members of a batch that have the same seed see the same orders.

    Returns
    -------
    EpochTrajectory
        Last iterates of the epochs, without averaging.

    Raises
    ------
    ValueError
        An argument is outside its range, or `order` is no permutation.
    """
    n, d = problem.num_components, problem.dim
    rates, start, seeds = _batch(x0, learning_rate, seed, d)
    num_epochs = _positive("num_epochs", num_epochs)
    orders = _orders(order, n, num_epochs, np.unique(seeds))
    factors = _factors(schedule, n * num_epochs)
    shape = rates.shape
    if isinstance(problem, QuadraticSum) and schedule == "constant" and orders.shape[:2] == (1, 1):
        one_epoch = epoch_map(problem, rates, order=orders[0, 0])
        iterates = np.empty((num_epochs + 1, *shape, d))
        iterates[0] = start
        for k in range(num_epochs):
            iterates[k + 1] = one_epoch(iterates[k])
        return EpochTrajectory(iterates, problem.gap(iterates))
    which = np.searchsorted(np.unique(seeds), seeds.ravel()) % len(orders)
    each = np.ascontiguousarray(np.broadcast_to(orders, (len(orders), num_epochs, n)))
    arguments = (start.copy(order="C").reshape(-1, d), each, which, rates.copy(order="C").ravel(), factors)
    if isinstance(problem, QuadraticSum):
        loop = diagonal_loop if problem.is_diagonal else dense_loop
        iterates = loop(problem.hessians, problem.linear_terms, *arguments)
    elif isinstance(problem, LogisticSum):
        iterates = logistic_loop(problem.X, problem.y, problem.ridge, *arguments)
    else:
        iterates = _plain_loop(problem, *arguments)
    iterates = iterates.reshape(num_epochs + 1, *shape, d)
    return EpochTrajectory(iterates, problem.gap(iterates))


def step_sizes(problem: FiniteSum, num_epochs: int, *, num: int = 120) -> Array:
    r"""Log-spaced step sizes from :math:`0.05/(\mu nK)` to :math:`2.2/L`: below, nothing moves; beyond, it explodes.

    Every minimum of interest lies inside. :math:`\mu` and L are the problem's `strong_convexity` and `smoothness`.
    """
    mu, L = problem.strong_convexity, problem.smoothness  # type: ignore[attr-defined]
    top = 2.2 / L
    return np.geomspace(min(0.05 / (mu * problem.num_components * num_epochs), top / 2), top, num)


def best_gap(
    problem: FiniteSum,
    x0: ArrayLike | Callable[[float], ArrayLike],
    *,
    num_epochs: int,
    learning_rates: ArrayLike | None = None,
    order: Order = "cyclic",
    schedule: Schedule = "constant",
    seed: int = 0,
) -> tuple[float, float]:
    """The least gap after `num_epochs` epochs over a grid of step sizes, and the step size at which it occurs.

    Parameters
    ----------
    problem : QuadraticSum, LogisticSum, or any `FiniteSum`
        Without `learning_rates`, one that also has `strong_convexity` and `smoothness`.
    x0 : array_like, shape (d,), or callable
        Start, or a function from a step size to the start.
    num_epochs : int
    learning_rates : array_like, shape (m,), optional
        The grid; `step_sizes` by default.
    order, schedule, seed
        As in `incremental_gd`.

    Returns
    -------
    (gap, learning_rate) : pair of float
        ``(inf, first step size)`` where every run overflows.

    Raises
    ------
    ValueError
        As in `incremental_gd`.
    """
    num_epochs = _positive("num_epochs", num_epochs)
    rates = np.atleast_1d(step_sizes(problem, num_epochs) if learning_rates is None else np.asarray(learning_rates))
    starts = np.stack([np.asarray(x0(float(r)), dtype=float) for r in rates]) if callable(x0) else x0
    gaps = final_gaps(
        problem, starts, learning_rate=rates, num_epochs=num_epochs, order=order, schedule=schedule, seed=seed
    )
    best = int(np.argmin(gaps))
    return float(gaps[best]), float(rates[best])


def final_gaps(
    problem: FiniteSum,
    x0: ArrayLike,
    *,
    learning_rate: ArrayLike,
    num_epochs: int,
    order: Order = "cyclic",
    schedule: Schedule = "constant",
    seed: int | Sequence[int] | NDArray[Any] = 0,
) -> Array:
    """``incremental_gd(...).gaps[-1]``, of shape (...), in O(log K) once an epoch's map is known, where there is one.

    That is: on a `QuadraticSum` with constant steps in a fixed order. Arguments and errors as in `incremental_gd`.
    """
    num_epochs = _positive("num_epochs", num_epochs)
    fixed = order == "cyclic" if isinstance(order, str) else np.ndim(order) == 1
    if not (isinstance(problem, QuadraticSum) and schedule == "constant" and fixed):
        run = incremental_gd(
            problem, x0, learning_rate=learning_rate, num_epochs=num_epochs, order=order, schedule=schedule, seed=seed
        )
        return run.gaps[-1]
    rates, start, seeds = _batch(x0, learning_rate, seed, problem.dim)
    index = _orders(order, problem.num_components, num_epochs, np.unique(seeds))[0, 0]
    return problem.gap(epoch_map(problem, rates, order=index).power(num_epochs)(start))


# Arguments ----------------------------------------------------------------------------------------------------------


def _batch(x0: ArrayLike, learning_rate: ArrayLike, seed: Any, dim: int) -> tuple[Array, Array, NDArray[Any]]:
    """Step sizes, starts (with a last axis of length dim) and seeds, broadcast together."""
    start, rates, seeds = np.asarray(x0, dtype=float), np.asarray(learning_rate, dtype=float), np.asarray(seed)
    if start.ndim == 0 or start.shape[-1] != dim:
        raise ValueError(f"x0 has shape {start.shape}, expected (..., {dim})")
    if np.isnan(start).any():
        raise ValueError("x0 has an entry that is not a number")
    if not np.all((rates >= 0) & np.isfinite(rates)):
        raise ValueError(f"learning_rate={learning_rate!r} must be finite and not negative")
    if seeds.dtype.kind not in "iu" or np.any(seeds < 0):
        raise ValueError(f"seed={seed!r} must be an integer that is not negative, or an array of such")
    try:
        shape = np.broadcast_shapes(rates.shape, start.shape[:-1], seeds.shape)
    except ValueError:
        shapes = f"learning_rate {rates.shape}, x0 {start.shape[:-1]} and seed {seeds.shape}"
        raise ValueError(f"the batch axes of {shapes} do not fit together") from None
    return np.broadcast_to(rates, shape), np.broadcast_to(start, (*shape, dim)), np.broadcast_to(seeds, shape)


def _orders(order: Any, n: int, num_epochs: int, seeds: NDArray[Any]) -> NDArray[np.int64]:
    """Indices of shape (1 or one a seed, 1 or num_epochs, n); an axis of length one stands for all."""
    if isinstance(order, str):
        if order == "cyclic":
            return np.arange(n).reshape(1, 1, n)
        if order == "reshuffled":
            rows = np.tile(np.arange(n), (num_epochs, 1))
            return np.stack([np.random.default_rng(s).permuted(rows, axis=1) for s in seeds])
        if order == "replacement":
            return np.stack([np.random.default_rng(s).integers(n, size=(num_epochs, n)) for s in seeds])
        raise ValueError(f"order={order!r}; allowed are {', '.join(map(repr, ORDERS))} and permutations of {n} indices")
    index = np.asarray(order)
    if index.shape not in ((n,), (num_epochs, n)) or index.dtype.kind not in "iu":
        raise ValueError(
            f"order of shape {index.shape}, {index.dtype}: expected integers of shape ({n},) or ({num_epochs}, {n})"
        )
    if np.any(np.sort(index, axis=-1) != np.arange(n)):
        raise ValueError(f"order is no permutation: each of 0 … {n - 1} must occur once")
    return index.reshape(1, -1, n).astype(np.int64)


def _factors(schedule: str, num_steps: int) -> Array:
    done = np.arange(num_steps) / num_steps
    if schedule == "constant":
        return np.ones(num_steps)
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return 0.5 * (1 + np.cos(math.pi * done))
    raise ValueError(f"schedule={schedule!r}; allowed are {', '.join(map(repr, SCHEDULES))}")


def _positive(name: str, value: int) -> int:
    if value != int(value) or value < 1:
        raise ValueError(f"{name}={value!r} must be an integer of at least 1")
    return int(value)


def _plain_loop(problem: FiniteSum, x: Array, orders: Any, which: Any, rates: Array, factors: Array) -> Array:
    """For problems of your own, which are asked for all gradients and use one."""
    out = np.empty((orders.shape[1] + 1, *x.shape))
    out[0] = x
    n = orders.shape[2]
    with np.errstate(over="ignore", invalid="ignore"):
        for r, k in np.ndindex(len(x), orders.shape[1]):
            for t, i in enumerate(orders[which[r], k]):
                x[r] = x[r] - rates[r] * factors[k * n + t] * problem.gradients(x[r])[i]
            out[k + 1, r] = x[r]
    return out
