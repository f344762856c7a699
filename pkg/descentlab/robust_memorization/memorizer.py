"""From labelled points to a certified network, in one call."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from descentlab.robust_memorization.lattices import (
    BitsPlan,
    ModeratePlan,
    SmallPlan,
    plan_bits,
    plan_moderate,
    plan_small,
)
from descentlab.robust_memorization.lifts import LiftPlan, SequentialPlan, plan_lift
from descentlab.robust_memorization.parts import hat_kinks
from descentlab.robust_memorization.points import (
    Array,
    Points,
    Unsuitable,
    as_points,
    cheapest_projection,
    check_projection,
    smallest_projection,
)
from descentlab.robust_memorization.registers import count, evaluate, from_torch, to_torch
from descentlab.robust_memorization.verification import Certificate, certify

Method = Literal["auto", "small", "moderate", "lift", "sequential", "bits"]
_HEADROOM = 0.95  # balls take at most this share of the projected separation, where the projection is chosen


@dataclass(frozen=True, eq=False)
class Memorizer:
    r"""A network that is constant on every ball around its points.

    Attributes
    ----------
    network : torch.nn.Sequential
        Plain ``Linear`` and ``ReLU`` in float64. For ``regime == "bits"`` it is only the architecture: its weights have
        more bits than a float64 holds, and calling the memorizer evaluates them as integers.
    plan : object
        The ingredients: projection, thresholds, keys, ….
    points : Points
    rho, radius : float
        :math:`\rho` and :math:`\mu = \rho\,\varepsilon_D`.
    regime : {"small", "moderate", "lift", "sequential", "bits"}
    """

    network: torch.nn.Sequential
    plan: SmallPlan | ModeratePlan | LiftPlan | SequentialPlan | BitsPlan
    points: Points
    rho: float
    radius: float
    regime: str

    def __call__(self, X: ArrayLike) -> Array:
        """Outputs at the rows of `X`, shape (n, d); returns shape (n,)."""
        inputs = np.asarray(X, dtype=float)
        dim = self.points.X.shape[1]
        if inputs.ndim != 2 or inputs.shape[1] != dim:
            raise ValueError(f"X has shape {inputs.shape}, expected (n, {dim})")
        if isinstance(self.plan, BitsPlan):
            keys = evaluate(self.plan.front(), inputs)
            return np.asarray(evaluate(self.plan.tail(), keys)[:, 0], dtype=float)
        with torch.no_grad():
            return np.asarray(self.network(torch.from_numpy(inputs))[:, 0].numpy())

    @property
    def num_parameters(self) -> int:
        """All weights and biases, zeros included."""
        return parameter_count(self.network)

    @property
    def depth(self) -> int:
        """Number of affine maps."""
        return (len(self.network) + 1) // 2

    @property
    def width(self) -> int:
        """Largest hidden layer."""
        return max(layer.out_features for layer in self.network[:-1] if isinstance(layer, torch.nn.Linear))

    @cached_property
    def certificate(self) -> Certificate:
        """What is proved on the balls that the network was built for; see `certify`."""
        return certify(self, self.points.X, self.points.labels[self.points.codes], radius=self.radius)


def parameter_count(network: torch.nn.Module, *, nonzero: bool = False) -> int:
    r"""Number of entries of all weights and biases, :math:`\sum_\ell (d_{\ell-1} + 1)\,d_\ell`.

    Parameters
    ----------
    network : torch.nn.Sequential
        ``Linear`` and ``ReLU`` in turn.
    nonzero : bool
        Leave out zeros.
    """
    return count(from_torch(network), nonzero=nonzero)


def memorize(
    X: ArrayLike,
    y: ArrayLike,
    *,
    rho: float,
    method: Method = "auto",
    guard: bool = True,
    projection: ArrayLike | None = None,
    max_parameters: int = 10_000_000,
    ramp: float | None = None,
    seed: int = 0,
) -> Memorizer:
    r"""A ReLU network with :math:`f(x) = y_i` on the whole ball of radius :math:`\rho\,\varepsilon_D` around each point.

    Parameters
    ----------
    X : array_like, shape (N, d)
    y : array_like of int, shape (N,)
        Any integers; at least two classes.
    rho : float
        Radius over separation, in (0, 1).
    method : {"auto", "small", "moderate", "lift", "sequential", "bits"}
        The construction: floor and lookup (small radii only); group by group (moderate radii); the paraboloid lift (any
        radius); point by point, at the paper's rate; floor and bit extraction. ``"auto"`` takes the smaller of
        ``"small"``, where it applies, and ``"lift"``; below about 10⁶ points the others are never smaller.
    guard : bool
        Whether the moderate network notices inexact floors. False gives the paper's, which errs on thin slits.
    projection : array_like, shape (m, d), optional
        Orthonormal rows; random ones, as few as suffice, by default.
    max_parameters : int
        A larger network is refused: raise it to confirm.
    ramp : float, optional
        Width of the floors' ramps over the margin: below 1, or below ½ for a guarded network.
    seed : int
        Of projections and flattening weights.

    Raises
    ------
    ValueError
        An argument is out of range, equal points have different labels, there is one class only, projected balls
        overlap, the construction does not suit the radius, float64 cannot separate the points, or the network would be
        larger than `max_parameters`.
    """
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}; allowed are {', '.join(map(repr, get_args(Method)))}")
    if not 0 < rho < 1:
        raise ValueError(f"rho={rho!r} must be strictly between 0 and 1: at 1 balls of different labels touch")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed={seed!r} must be an integer that is not negative")
    if not max_parameters >= 1:
        raise ValueError(f"max_parameters={max_parameters!r} must be at least 1")
    most = 0.5 if method == "moderate" and guard else 1.0
    if ramp is not None and not 0 < ramp < most:
        raise ValueError(f"ramp={ramp!r} must be between 0 and {most:g}")
    points = as_points(X, y)
    Q = None if projection is None else check_projection(projection, points.X.shape[1])
    _check_resolution(points, rho)
    ramp = 0.9 * most if ramp is None else ramp
    plan = _plan(points, rho, method, guard, Q, max_parameters, ramp, seed)
    layers = plan.layers()
    size = count(layers)
    if size > max_parameters:
        raise ValueError(_too_large(size, max_parameters))
    return Memorizer(to_torch(layers), plan, points, rho, rho * points.separation, _regime(plan))


def _plan(
    points: Points, rho: float, method: str, guard: bool, Q: Array | None, limit: int, ramp: float, seed: int
) -> SmallPlan | ModeratePlan | LiftPlan | SequentialPlan | BitsPlan:
    radius, rng = rho * points.separation, np.random.default_rng(seed)
    if method in ("small", "bits", "auto"):
        try:
            small = _small(points, radius, Q, ramp, seed, rng)
            if method == "bits":
                return plan_bits(small, points.labels)
            lift = None if method == "small" else _lift(points, radius, Q, rng)
            size = _small_count(small)
            if lift is None or size <= lift.count():
                _check_size(size, limit)
                return small
        except Unsuitable:
            if method != "auto":
                raise
    if method == "moderate":
        return _moderate(points, rho, Q, guard, ramp, limit, seed, rng)
    lift = _lift(points, radius, Q, rng)
    if method == "sequential":
        m = len(lift.rows)
        _check_size(len(lift.active) * lift.levels * (3 * m + 1) ** 2, limit)
        return SequentialPlan(lift)
    _check_size(lift.count(), limit)
    return lift


def _small(
    points: Points, radius: float, Q: Array | None, ramp: float, seed: int, rng: np.random.Generator
) -> SmallPlan:
    def plan(projection: Array) -> SmallPlan:
        return plan_small(points, radius, projection, ramp=ramp, seed=seed)

    def cost(projection: Array) -> float:
        try:
            return _small_count(plan(projection))
        except Unsuitable:
            return math.inf

    best = cheapest_projection(points, cost, rng) if Q is None else Q
    if best is None:
        best = np.eye(points.X.shape[1])  # whose refusal names the margins
    return plan(best)


def _small_count(plan: SmallPlan) -> int:
    """Parameters of the small-radius network, by the formula."""
    (m, d), n = plan.rows.shape, plan.num_bits
    units = len(hat_kinks(plan.values)[0])
    floors = 2 * m * (m + 1) + m * 2 * (2 * m + 1)
    if n >= 2:
        floors += (2 * m + 1) ** 2 + (2 * m + 2) * (2 * m + 1) + 2 * (n - 2) * (2 * m + 2) * (2 * m + 1)
    return m * (d + 1) + floors + (2 * m + 1 + (n >= 2)) + 3 * units + 1


def _moderate(
    points: Points,
    rho: float,
    Q: Array | None,
    guard: bool,
    ramp: float,
    limit: int,
    seed: int,
    rng: np.random.Generator,
) -> ModeratePlan:
    radius, dim = rho * points.separation, points.X.shape[1]
    size = group_size(rho, dim)

    def plan(projection: Array) -> ModeratePlan:
        return plan_moderate(points, radius, projection, group_size=size, guard=guard, ramp=ramp, seed=seed)

    if Q is None:
        # the condition is that of the small network, for groups in the place of all points
        Q = smallest_projection(points, 0.9 * points.separation * math.sqrt(min(1.0, _span(points) / dim)), rng)
    m = len(Q)
    _check_size(math.ceil(len(points.X) / size) * 2 * (3 * m + 2) ** 2 * (4 if guard else 1), limit)
    return plan(Q)


def _span(points: Points) -> int:
    return min(points.X.shape)


def group_size(rho: float, dim: int) -> int:
    r"""Points a group of the moderate network, :math:`\lfloor 1/(5\rho\sqrt d)\rfloor`, at least 1."""
    return max(1, int(1 / (5 * rho * math.sqrt(dim)) + 1e-9))


def _lift(points: Points, radius: float, Q: Array | None, rng: np.random.Generator) -> LiftPlan:
    if Q is None:
        needed = radius / _HEADROOM
        if needed < points.separation:
            Q = smallest_projection(points, needed, rng)
        else:  # too close to touching for any projection to be sure
            Q = np.eye(points.X.shape[1])
    return plan_lift(points, radius, Q)


def _check_resolution(points: Points, rho: float) -> None:
    """Refuse points whose coordinates float64 stores too coarsely for the gaps between their balls."""
    gap = (1 - rho) * points.separation
    coarse = float(np.spacing(np.abs(points.X).max())) * math.sqrt(points.X.shape[1])
    if not gap > 64 * coarse:
        i, j = points.nearest
        raise ValueError(
            f"points {i} and {j}, of different labels, are {2 * points.separation:.3g} apart, but coordinates up to "
            f"{np.abs(points.X).max():.3g} are stored in steps of {coarse:.2g}: float64 cannot separate their balls"
        )


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(_too_large(size, limit))


def _too_large(size: int, limit: int) -> str:
    return f"the network needs about {size:,} parameters, more than max_parameters={limit:,}: raise it to confirm"


def _regime(plan: object) -> str:
    names = {
        SmallPlan: "small", ModeratePlan: "moderate", LiftPlan: "lift", SequentialPlan: "sequential", BitsPlan: "bits",
    }  # fmt: skip
    return names[type(plan)]
