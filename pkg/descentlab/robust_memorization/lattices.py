r"""Memorizers on lattices, for small and moderate radii: from labelled points to the layers of a network.

Each construction is a frozen record of its ingredients (projection, translations, keys). `layers` emits the network;
`bounds` encloses its output over balls, for those constructions whose proof is not interval arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from descentlab.robust_memorization.parts import (
    Words,
    best_group_size,
    extract_bits,
    floor_key,
    hat_kinks,
    piecewise,
    program_repeat,
)
from descentlab.robust_memorization.points import (
    Array,
    Points,
    Unsuitable,
    lattice_translation,
    projected_separation,
    reading_error,
)
from descentlab.robust_memorization.registers import Affine, Layer, Program

WEIGHT_LIMIT = 2**20  # random integer weights of the flattening lie below
_EXACT = 2.0**53
_MAX_STRADDLED = 14  # a ball that crosses more lattice planes touches too many cells to list


# Small radius --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SmallPlan:
    r"""Project, translate, floor, flatten, and look the integer up (Theorem 4.2, small :math:`\rho`).

    The scale makes points of different labels at least :math:`\sqrt m` apart, so that no unit cell holds two of them.

    Attributes
    ----------
    rows, offset : arrays, shapes (m, d) and (m,)
        The first layer: scaled projection, and the translation to cells 0, 1, ….
    num_bits : int
    margin : float
        :math:`\tau`, by which the balls stay away from the lattice planes.
    ramp : float
        :math:`\gamma < \tau`.
    weights : array of int, shape (m,)
        Of the flattening.
    values : dict
        From a cell's key to its label.
    """

    rows: Array
    offset: Array
    num_bits: int
    margin: float
    ramp: float
    weights: NDArray[np.int64]
    values: Mapping[int, int]

    def key(self, program: Program) -> Affine:
        """Emit everything up to the key."""
        (z,) = program.relu(self.rows @ program.units + self.offset)
        return floor_key(program, z, num_bits=self.num_bits, ramp=self.ramp, weights=self.weights)[0]

    def layers(self) -> list[Layer]:
        """The network, with one hidden layer of hat functions on the keys."""
        program = Program(self.rows.shape[1])
        (key,) = program.relu(self.key(program))
        return program.finish(_hats(program, key, self.values))


def plan_small(points: Points, radius: float, projection: Array, *, ramp: float, seed: int) -> SmallPlan:
    """Ingredients of the network for small radii; `Unsuitable` where balls reach the lattice."""
    lattice = _cells(points, radius, projection, [np.arange(len(points.X))])
    (offset,), (margin,) = lattice.offsets, lattice.margins
    cells = np.floor(lattice.Z + offset).astype(np.int64)
    weights, values = _flatten(cells, points.labels[points.codes], np.random.default_rng(seed))
    num_bits = max(1, int(cells.max()).bit_length())
    return SmallPlan(lattice.rows, lattice.shift + offset, num_bits, margin, ramp * margin, weights, values)


def _hats(program: Program, key: Affine, values: Mapping[int, int], keep: Affine | None = None) -> Affine:
    """Emit the lookup of an integer key: a single unit in, zero at other integers."""
    kinks, changes = hat_kinks(values)
    units = program.relu(program_repeat(key, len(kinks)) - kinks.astype(float))[0]
    return changes.astype(float) @ units


@dataclass(frozen=True, eq=False)
class BitsPlan:
    """The small-radius network, its keys looked up by bit extraction in exact integers.

    Attributes
    ----------
    small : SmallPlan
        Floor and flattening, in float64.
    codes : dict
        From key to class number plus one.
    labels : array of int
    words : Words
    """

    small: SmallPlan
    codes: Mapping[int, int]
    labels: NDArray[np.int64]
    words: Words

    def front(self) -> list[Layer]:
        """The network from a point to its key, in float64."""
        program = Program(self.small.rows.shape[1])
        return program.finish(self.small.key(program))

    def tail(self) -> list[Layer]:
        """The network from a key to a label, in Python integers."""
        return lookup_layers(self.codes, self.words, self.labels)

    def layers(self) -> list[Layer]:
        """The whole network, its two parts merged at the key."""
        front, tail = self.front(), self.tail()
        weight = tail[0].weight.astype(float) @ front[-1].weight
        bias = tail[0].weight.astype(float) @ front[-1].bias + tail[0].bias.astype(float)
        rest = [Layer(layer.weight.astype(float), layer.bias.astype(float)) for layer in tail[1:]]
        return [*front[:-1], Layer(weight, bias), *rest]


def lookup_layers(
    values: Mapping[int, int], words: Words | None = None, labels: NDArray[np.int64] | None = None
) -> list[Layer]:
    r"""A network of exact integers that maps keys to values in :math:`\tilde O(\sqrt N)` parameters, other integers to 0.

    Parameters
    ----------
    values : mapping from int to int
        Positive values, by non-negative keys.
    words : Words, optional
        How they are packed; by default as cheaply as possible.
    labels : array of int, optional
        What the values 1, 2, … stand for, where not for themselves.
    """
    if words is None:
        key_bits = max(1, max(values).bit_length())
        label_bits = max(values.values()).bit_length()
        words = Words(key_bits, label_bits, best_group_size(len(values), key_bits, label_bits))
    program = Program(1, dtype=object)
    out, _ = extract_bits(program, program.units, values, words)
    if labels is not None:
        out = piecewise(program, out, [2 * int(labels[0]) - int(labels[1]), *map(int, labels)])
    return program.finish(out)


def plan_bits(small: SmallPlan, labels: NDArray[np.int64]) -> BitsPlan:
    """Bit extraction behind the floor of a small-radius network."""
    codes = {key: int(np.searchsorted(labels, value)) + 1 for key, value in small.values.items()}
    key_bits = max(1, max(codes).bit_length())
    label_bits = len(labels).bit_length()
    return BitsPlan(
        small, codes, labels, Words(key_bits, label_bits, best_group_size(len(codes), key_bits, label_bits))
    )


# Lattices, shared by small and moderate radii -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Cells:
    """Scaled projected points, with a translation and a margin a group."""

    rows: Array
    shift: Array
    Z: Array  # without the offsets, positive on all balls
    radius: float
    offsets: list[Array]
    margins: list[float]


def _cells(points: Points, radius: float, projection: Array, groups: list[NDArray[np.int64]]) -> _Cells:
    kept = projected_separation(points, projection)
    if not radius < kept:
        raise Unsuitable(f"projected balls overlap: radius {radius:.6g}, separation {kept:.6g} after the projection")
    scale = math.sqrt(len(projection)) / (2 * kept)
    rows, reach = scale * projection, scale * radius
    Z = points.X @ rows.T
    shift = np.ceil(reach) - Z.min(axis=0)
    Z = Z + shift
    offsets, margins = [], []
    for group in groups:
        translation, gap = lattice_translation(Z[group])
        margins.append(float(gap.min() / 2 - reach - 8 * scale * reading_error(points, projection, radius)))
        offsets.append(1 - translation)  # keeps everything positive
    if min(margins) <= 0:
        raise Unsuitable(
            f"rho is too large for this construction: in the lattice's units balls have radius {reach:.3g}, and its "
            f"planes are only {reach + min(margins):.3g} away; the lift works for every rho"
        )
    return _Cells(rows, shift, Z, reach, offsets, margins)


def _flatten(
    cells: NDArray[np.int64], labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], dict[int, int]]:
    """Integer weights under which no two cells of different labels share a key, and the labels by key."""
    num_bits, dim = max(1, int(cells.max()).bit_length()), cells.shape[-1]
    size = int(np.abs(labels).sum()) + 1
    limit = min(WEIGHT_LIMIT, int(_EXACT / (8 * size * dim * 2**num_bits)))
    for _ in range(100):
        weights = np.ones(1, dtype=np.int64) if dim == 1 else np.asarray(rng.integers(1, max(2, limit), dim))
        table: dict[int, int] = {}
        for key, label in zip((cells @ weights).tolist(), labels.tolist(), strict=True):
            if table.setdefault(key, label) != label:
                break
        else:
            return weights, table
    raise Unsuitable("no flattening was found whose keys float64 holds exactly: too many points or cells")


# Moderate radius -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ModeratePlan:
    r"""Memorize group by group, each on a lattice of its own, and take the running maximum (Theorem 4.2, moderate).

    With few points a group has room for larger balls. But balls of other groups may lie across the group's lattice
    planes; there its floor is inexact, which is the paper's robust error. The guard is a second output of the floor
    that tells, and with it the error is zero.

    Attributes
    ----------
    rows, shift : arrays, shapes (m, d) and (m,)
        The first layer.
    offsets : list of array, shape (m,)
        Translations of the groups.
    margins, ramps : list of float
        :math:`\tau` and :math:`\gamma` a group.
    groups : list of array of int
        Members.
    num_bits : int
    weights : array of int, shape (m,)
    values : list of dict
        From key to class number plus one, a group.
    labels : array of int
    guard : bool
    error : float
        Bound on the rounding of a coordinate.
    """

    rows: Array
    shift: Array
    offsets: list[Array]
    margins: list[float]
    ramps: list[float]
    groups: list[NDArray[np.int64]]
    num_bits: int
    weights: NDArray[np.int64]
    values: list[dict[int, int]]
    labels: NDArray[np.int64]
    guard: bool
    error: float

    def layers(self) -> list[Layer]:
        """The network."""
        program = Program(self.rows.shape[1])
        num_classes = len(self.labels)
        (z,) = program.relu(self.rows @ program.units + self.shift)
        best: Affine | None = None
        for group, values in enumerate(self.values):
            key, alarm, fresh, best = floor_key(
                program, z, offset=self.offsets[group], num_bits=self.num_bits, ramp=self.ramps[group],
                weights=self.weights, guard=self.guard, keep=best, keep_z=True,
            )  # fmt: skip
            assert fresh is not None
            (key,), (fresh, alarm, best) = program.relu_keeping([key], [fresh, alarm, best])
            kinks, changes = hat_kinks(values)
            units = program_repeat(key, len(kinks)) - kinks.astype(float)
            (units,), (fresh, alarm, best) = program.relu_keeping([units], [fresh, alarm, best])
            found = changes.astype(float) @ units
            if alarm is not None:
                # zero in the ramps, where the alarm is at least 1; interpolated values never exceed the largest code
                (found,), (fresh, best) = program.relu_keeping([found - (num_classes + 1.0) * alarm], [fresh, best])
            rise = found - best if best is not None else found
            (rise,), (fresh, best) = program.relu_keeping([rise], [fresh, best])
            best = rise if best is None else best + rise
            assert fresh is not None
            z = fresh
        assert best is not None
        out = piecewise(program, best, [2 * float(self.labels[0]) - float(self.labels[1]), *map(float, self.labels)])
        return program.finish(out)

    def bounds(self, centres: Array, radius: float) -> tuple[Array, Array]:
        """Smallest and largest possible output over balls around `centres`, each shape (n,).

        On the own group's balls the floor is constant. On others, with the guard, the output of a group lies between
        zero and the largest code of an active cell that the ball touches; without it, anything up to the largest code.
        """
        scale = float(np.linalg.norm(self.rows, 2)) * (1 + 1e-12)
        reach = scale * radius + self.error
        Z = centres @ self.rows.T + self.shift
        low, high = np.zeros(len(Z)), np.zeros(len(Z))
        for offset, ramp, values in zip(self.offsets, self.ramps, self.values, strict=True):
            for i, z in enumerate(Z + offset):
                least, most = self._group_bounds(z, reach, ramp, values)
                low[i], high[i] = max(low[i], least), max(high[i], most)
        table = np.array([2 * self.labels[0] - self.labels[1], *self.labels], dtype=float)
        return table[low.astype(int)], table[high.astype(int)]

    def _group_bounds(self, z: Array, reach: float, ramp: float, values: Mapping[int, int]) -> tuple[int, int]:
        start, end = z - reach, z + reach
        if start.min() < 0 or end.max() >= 2**self.num_bits:
            return 0, max(values.values())  # beyond the floor's domain
        cell, last = np.floor(start), np.floor(end)
        clear = (2 if self.guard else 1) * ramp
        calm = (cell == last) & (start - cell >= clear) & (end <= cell + 1 - (ramp if self.guard else 0))
        if np.all(calm):
            value = values.get(int(cell @ self.weights), 0)
            return value, value
        if not self.guard:
            return 0, max(values.values())
        straddled = np.flatnonzero(cell < last)
        if len(straddled) > _MAX_STRADDLED or np.any(last - cell > 1):
            return 0, max(values.values())
        return 0, max(_touched(z, reach, cell, straddled, self.weights, values), default=0)


def _touched(
    z: Array,
    reach: float,
    cell: Array,
    straddled: NDArray[np.int64],
    weights: NDArray[np.int64],
    values: Mapping[int, int],
) -> list[int]:
    """Values of the active keys among the cells that a ball touches."""
    found = []
    base = int(cell @ weights)
    for size in range(len(straddled) + 1):
        for raised in combinations(straddled.tolist(), size):
            value = values.get(base + int(weights[list(raised)].sum()), 0)
            if value:
                corner = cell.copy()
                corner[list(raised)] += 1
                if np.linalg.norm(np.maximum(np.maximum(corner - z, z - corner - 1), 0)) <= reach:
                    found.append(value)
    return found


def plan_moderate(
    points: Points, radius: float, projection: Array, *, group_size: int, guard: bool, ramp: float, seed: int
) -> ModeratePlan:
    """Ingredients of the network for moderate radii, flattened anew until no foreign cell aliases an active one."""
    num = len(points.X)
    groups = [np.arange(start, min(start + group_size, num)) for start in range(0, num, group_size)]
    lattice = _cells(points, radius, projection, groups)
    rng = np.random.default_rng(seed)
    cells = np.stack([np.floor(lattice.Z + offset) for offset in lattice.offsets]).astype(np.int64)
    highest = int(np.floor(max((lattice.Z + o).max() for o in lattice.offsets) + lattice.radius))
    num_bits = max(1, highest.bit_length())
    error = float(np.linalg.norm(lattice.rows, 2)) * reading_error(points, projection, radius)
    limit = min(WEIGHT_LIMIT, int(_EXACT / (8 * (len(points.labels) + 1) * num * lattice.Z.shape[1] * 2**num_bits)))
    plan = None
    for _ in range(20):
        weights = np.asarray(rng.integers(1, max(2, limit), lattice.Z.shape[1]))
        values = [
            dict(zip((cells[g][group] @ weights).tolist(), (points.codes[group] + 1).tolist(), strict=True))
            for g, group in enumerate(groups)
        ]
        plan = ModeratePlan(
            lattice.rows, lattice.shift, lattice.offsets, lattice.margins, [ramp * m for m in lattice.margins], groups,
            num_bits, weights, values, points.labels, guard, error,
        )  # fmt: skip
        if not guard and _clean(plan, points):
            return plan
        if guard:
            low, high = plan.bounds(points.X, radius)
            if np.array_equal(low, points.labels[points.codes]) and np.array_equal(high, low):
                return plan
    raise Unsuitable("no flattening was found under which foreign cells and active cells have different keys")


def _clean(plan: ModeratePlan, points: Points) -> bool:
    """Whether the points themselves get their labels: no two cells of different labels share a key in any group."""
    Z = points.X @ plan.rows.T + plan.shift
    best = np.zeros(len(Z), dtype=np.int64)
    for offset, values in zip(plan.offsets, plan.values, strict=True):
        keys = np.floor(Z + offset).astype(np.int64) @ plan.weights
        best = np.maximum(best, [values.get(int(key), 0) for key in keys])
    return bool(np.array_equal(best, points.codes + 1))
