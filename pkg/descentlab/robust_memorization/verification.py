r"""Proofs and refutations that need only the weights: enclosures, exact lines, and the null space of the first layer.

Sampling and gradient attacks are no evidence here: robust memorizers are constant almost everywhere, and the flaws of a
faulty one are slits whose width is a millionth of the ball.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from descentlab.robust_memorization.points import Array, as_points
from descentlab.robust_memorization.registers import Layer, evaluate, from_torch

EPS = float(np.finfo(float).eps)
PROVED = 1e-6  # largest |f - y| that counts as equal


class Planned(Protocol):
    """A network with the construction that it came from."""

    @property
    def network(self) -> torch.nn.Sequential:
        """The weights."""
        ...

    @property
    def plan(self) -> Any:
        """What emits them: it has `layers`, and may have `bounds`."""
        ...


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is known of a network's output on balls, one entry a point.

    Attributes
    ----------
    lower, upper : array, shape (N,)
        The output lies between them on the whole ball, rounding included.
    proved : array of bool, shape (N,)
        Whether both are within 1e-6 of the label.
    """

    lower: Array
    upper: Array
    proved: NDArray[np.bool_]

    def __bool__(self) -> bool:
        return bool(np.all(self.proved))


def certify(
    memorizer_or_network: torch.nn.Module | Planned, X: ArrayLike, y: ArrayLike, *, radius: float
) -> Certificate:
    r"""Enclose the output over every closed ball :math:`\lVert x - x_i\rVert_2 \le` `radius`.

    Any ``Sequential`` of ``Linear`` and ``ReLU`` is enclosed by intervals, exact on the first layer's balls. For a
    `Memorizer` the proof of its construction is checked on these points instead, once its weights are seen to be those
    that the construction emits; small-radius networks need intervals only.

    Parameters
    ----------
    memorizer_or_network : Memorizer or torch.nn.Sequential
    X : array_like, shape (N, d)
    y : array_like of int, shape (N,)
    radius : float
        Not negative.

    Raises
    ------
    ValueError
        Shapes or the radius are wrong, or the network has other modules.
    """
    if not (np.isfinite(radius) and radius >= 0):
        raise ValueError(f"radius={radius!r} must be a finite number that is not negative")
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape {X.shape} and y {y.shape}, expected (N, d) and (N,)")
    if not isinstance(memorizer_or_network, torch.nn.Module) and not hasattr(memorizer_or_network, "plan"):
        kind = type(memorizer_or_network).__name__
        raise ValueError(f"memorizer_or_network is a {kind}; expected a Memorizer, or a Sequential of Linear and ReLU")
    if isinstance(memorizer_or_network, torch.nn.Module):
        lower, upper = interval_bounds(from_torch(memorizer_or_network), X, radius)
    else:
        lower, upper = _planned_bounds(memorizer_or_network, X, radius)
    proved = (lower >= y - PROVED) & (upper <= y + PROVED)
    return Certificate(lower, upper, proved)


def _planned_bounds(memorizer: Planned, X: Array, radius: float) -> tuple[Array, Array]:
    plan = memorizer.plan
    layers = from_torch(memorizer.network)
    if X.shape[1] != layers[0].weight.shape[1]:
        raise ValueError(f"X has shape {X.shape}, the network takes {layers[0].weight.shape[1]} inputs")
    if not _same(
        layers, plan.layers()
    ):  # somebody changed the weights: what was proved of the plan says nothing of them
        return interval_bounds(layers, X, radius)
    if hasattr(plan, "tail"):
        return _exact_tail_bounds(plan.front(), plan.tail(), X, radius)
    if hasattr(plan, "bounds"):
        return plan.bounds(X, radius)
    return interval_bounds(layers, X, radius)


def _exact_tail_bounds(front: list[Layer], tail: list[Layer], X: Array, radius: float) -> tuple[Array, Array]:
    """Intervals up to the key; where it is one integer, the exact value of the rest."""
    low, high = interval_bounds(front, X, radius)
    lower, upper = np.full(len(X), -np.inf), np.full(len(X), np.inf)
    known = (low == high) & (low == np.round(low))
    if known.any():
        lower[known] = upper[known] = evaluate(tail, low[known][:, None])[:, 0].astype(float)
    return lower, upper


def _same(first: Sequence[Layer], second: Sequence[Layer]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a.weight, b.weight) and np.array_equal(a.bias, b.bias)
        for a, b in zip(first, second, strict=True)
    )


# Intervals -----------------------------------------------------------------------------------------------------------


def interval_bounds(layers: Sequence[Layer], X: Array, radius: float) -> tuple[Array, Array]:
    """Intervals of the (single) output over balls, widened by a bound on the rounding of the network in float64.

    A sum of float64 numbers is off by less than its length times the machine's precision times the sum of magnitudes,
    in any order of summation; sums of integers below 2⁵³ are exact.
    """
    if X.shape[1] != layers[0].weight.shape[1]:
        raise ValueError(f"X has shape {X.shape}, the network takes {layers[0].weight.shape[1]} inputs")
    if len(layers[-1].weight) != 1:
        raise ValueError(f"network: it has {len(layers[-1].weight)} outputs, expected one")
    first = layers[0]
    middle = X @ first.weight.T + first.bias
    norms = np.sqrt((first.weight**2).sum(axis=1))
    reach = radius * norms * (1 + 1e-12)
    magnitude = (np.abs(X) + radius) @ np.abs(first.weight).T + np.abs(first.bias)
    slack = 2 * EPS * (X.shape[1] + 4) * magnitude
    low, high = middle - reach - slack, middle + reach + slack
    for layer in layers[1:]:
        low, high = _through(layer, np.maximum(low, 0), np.maximum(high, 0))
    return low[:, 0], high[:, 0]


def _through(layer: Layer, low: Array, high: Array) -> tuple[Array, Array]:
    positive, negative = np.maximum(layer.weight, 0).T, np.minimum(layer.weight, 0).T
    least = low @ positive + high @ negative + layer.bias
    most = high @ positive + low @ negative + layer.bias
    magnitude = high @ np.abs(layer.weight).T + np.abs(layer.bias)
    # a row is exact where it adds up integers that are known, and that stay below 2^53
    vague = ((low != high) | (low != np.round(low))).astype(float)
    fractional = np.any(layer.weight != np.round(layer.weight), axis=1) | (layer.bias != np.round(layer.bias))
    exact = (vague @ (layer.weight != 0).astype(float).T == 0) & ~fractional & (magnitude < 2.0**53)
    slack = np.where(exact, 0.0, 2 * EPS * (layer.weight.shape[1] + 4) * magnitude)
    return least - slack, most + slack


# Lines --------------------------------------------------------------------------------------------------------------


def verify_line(network: torch.nn.Module, start: ArrayLike, end: ArrayLike) -> tuple[Array, Array]:
    """The network on a segment, exactly: it is linear between the positions returned.

    Parameters
    ----------
    network : torch.nn.Sequential
        Of ``Linear`` and ``ReLU`` in turn; any number of outputs.
    start, end : array_like, shape (d,)

    Returns
    -------
    positions : array, shape (n,)
        From 0, at `start`, to 1, at `end`: every place where a unit changes its sign, in order.
    values : array, shape (n,), or (n, outputs) for several outputs

    Raises
    ------
    ValueError
        The network has other modules, or the ends do not have its number of inputs.
    """
    layers = from_torch(network)
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    if start.ndim != 1 or start.shape != end.shape or len(start) != layers[0].weight.shape[1]:
        raise ValueError(
            f"start and end have shapes {start.shape} and {end.shape}, expected ({layers[0].weight.shape[1]},)"
        )
    if not (np.all(np.isfinite(start)) and np.all(np.isfinite(end))):
        raise ValueError("start and end must be finite")
    positions, values, _ = lines(layers, start[None], end[None])
    return positions, values[:, 0] if values.shape[1] == 1 else values


def lines(layers: Sequence[Layer], starts: Array, ends: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Many segments at once: positions (n,), values (n, outputs), and the segment that each row belongs to (n,).

    Segments pass through the layers as lists of breakpoints. At each ReLU a breakpoint is inserted wherever a unit
    changes its sign between neighbours, its value there set to exactly zero.
    """
    number = np.repeat(np.arange(len(starts)), 2)
    positions = np.tile([0.0, 1.0], len(starts))
    values = np.stack([starts, ends], axis=1).reshape(2 * len(starts), -1)
    for layer in layers[:-1]:
        values = values @ layer.weight.T + layer.bias
        positions, values, number = _insert_kinks(positions, values, number)
        np.maximum(values, 0, out=values)
    return positions, values @ layers[-1].weight.T + layers[-1].bias, number


def _insert_kinks(positions: Array, values: Array, number: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    above, below = values > 0, values < 0
    crossing = (above[:-1] & below[1:]) | (below[:-1] & above[1:])
    if number[0] != number[-1]:
        crossing &= (number[:-1] == number[1:])[:, None]
    rows, units = np.nonzero(crossing)
    if not len(rows):
        return positions, values, number
    here, there = values[rows, units], values[rows + 1, units]
    share = here / (here - there)
    fresh = values[rows] + share[:, None] * (values[rows + 1] - values[rows])
    fresh[np.arange(len(rows)), units] = 0.0
    places = positions[rows] + share * (positions[rows + 1] - positions[rows])
    order = np.lexsort((share, rows))
    rows = rows[order]
    # row r of the old list moves behind the kinks inserted before it
    total = len(values) + len(rows)
    target = rows + 1 + np.arange(len(rows))
    old = np.ones(total, dtype=bool)
    old[target] = False
    merged = np.empty((total, values.shape[1]))
    merged[old], merged[target] = values, fresh[order]
    where, which = np.empty(total), np.empty(total, dtype=np.int64)
    where[old], where[target] = positions, places[order]
    which[old], which[target] = number, number[rows]
    return where, merged, which


@dataclass(frozen=True, eq=False)
class LineReport:
    """The worst of many segments, one entry a segment.

    Attributes
    ----------
    worst : array, shape (n,)
        Largest ``|f - y|`` on the segment.
    share : array, shape (n,)
        Fraction of its length on which ``|f - y|`` exceeds 1e-3.
    """

    worst: Array
    share: Array


def check_lines(
    network: torch.nn.Module, starts: Array, ends: Array, targets: ArrayLike, *, at_once: int = 128
) -> LineReport:
    """Compare the network with a constant on segments, exactly.

    Parameters
    ----------
    network : torch.nn.Sequential
        With one output.
    starts, ends : array, shape (n, d)
    targets : array_like, shape (n,)
        The label that the network should have on each segment.
    at_once : int
        Segments that pass through the layers together.
    """
    layers, targets = from_torch(network), np.asarray(targets, dtype=float)
    worst, share = np.zeros(len(starts)), np.zeros(len(starts))
    for begin in range(0, len(starts), at_once):
        part = slice(begin, begin + at_once)
        positions, values, number = lines(layers, starts[part], ends[part])
        off = values[:, 0] - targets[part][number]
        np.maximum.at(worst, begin + number, np.abs(off))
        inside = number[:-1] == number[1:]
        length = np.diff(positions)[inside] * _share_beyond(off[:-1][inside], off[1:][inside], 1e-3)
        np.add.at(share, begin + number[:-1][inside], length)
    return LineReport(worst, share)


def _share_beyond(first: Array, second: Array, limit: float) -> Array:
    """Fraction of a segment on which a linear function exceeds `limit` in absolute value."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    spread = np.where(high > low, high - low, 1.0)
    within = np.clip(np.minimum(high, limit) - np.maximum(low, -limit), 0, None) / spread
    return np.where(high > low, 1 - within, (np.abs(first) > limit).astype(float))


def ball_segments(
    X: Array, radius: float, directions: Array, *, shrink: float = 1e-9
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Diameters of every ball along given directions: starts, ends and the number of the ball.

    `directions` has shape (k, d), the same for all points, or (N, k, d). The ends stay a relative `shrink` inside.
    """
    directions = np.broadcast_to(directions, (len(X), *directions.shape[-2:]))
    steps = directions / np.linalg.norm(directions, axis=-1, keepdims=True) * (radius * (1 - shrink))
    owner = np.repeat(np.arange(len(X)), steps.shape[1])
    steps = steps.reshape(-1, X.shape[1])
    return X[owner] - steps, X[owner] + steps, owner


def foe_directions(X: Array, y: ArrayLike) -> Array:
    """From each point towards the nearest of another label, shape (N, d)."""
    y = np.asarray(y)
    distances = cdist(X, X)
    distances[y[:, None] == y] = np.inf
    return np.asarray(X[distances.argmin(axis=1)] - X)


# The null space of the first layer ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Attack:
    """Two points in balls of different labels between which the network cannot tell.

    Attributes
    ----------
    x, x_other : array, shape (d,)
    gap : float
        ``|f(x) - f(x_other)|``: zero but for rounding, so that at least one of the two is wrong.
    """

    x: Array
    x_other: Array
    gap: float


def attack_nullspace(network: torch.nn.Module, X: ArrayLike, y: ArrayLike, *, radius: float) -> Attack | None:
    r"""Break a network whose first layer is too narrow, in closed form (Proposition 3.2).

    With :math:`\Pi` the projector onto the row space of the first weight matrix, and :math:`x_i, x_j` the pair of foes
    for which :math:`\delta = \Pi(x_i - x_j)` is shortest, the points :math:`x_i - \delta/2` and :math:`x_j + \delta/2`
    have the same image. Both are in their open balls where :math:`\lVert\delta\rVert < 2\,\text{radius}`.

    Returns
    -------
    Attack or None
        None where no pair is close enough, which proves nothing.
    """
    points = as_points(X, y)
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"radius={radius!r} must be a finite positive number")
    layers = from_torch(network)
    weight = layers[0].weight
    if weight.shape[1] != points.X.shape[1]:
        raise ValueError(f"X has shape {points.X.shape}, the network takes {weight.shape[1]} inputs")
    _, sizes, rows = np.linalg.svd(weight, full_matrices=False)
    rows = rows[sizes > 1e-12 * max(float(sizes[0]), np.finfo(float).tiny)]
    distances = cdist(points.X @ rows.T, points.X @ rows.T)
    distances[points.codes[:, None] == points.codes] = np.inf
    i, j = np.unravel_index(np.argmin(distances), distances.shape)
    if not distances[i, j] < 2 * radius:
        return None
    step = (points.X[i] - points.X[j]) @ rows.T @ rows / 2
    x, other = points.X[i] - step, points.X[j] + step
    f = evaluate(layers, np.stack([x, other]))
    return Attack(x, other, float(np.abs(f[0] - f[1]).max()))
