"""The experiments as pure functions: no printing, no plotting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard

from descentlab.robust_memorization.bounds import upper_bound
from descentlab.robust_memorization.instances import Labels, gaussian_data, random_keys, shattering_data, simplex_data
from descentlab.robust_memorization.lattices import lookup_layers
from descentlab.robust_memorization.lifts import plan_lift
from descentlab.robust_memorization.memorizer import Memorizer, memorize
from descentlab.robust_memorization.parts import Words, best_group_size
from descentlab.robust_memorization.points import Array, as_points, smallest_projection
from descentlab.robust_memorization.registers import count, empty_linear, evaluate
from descentlab.robust_memorization.verification import (
    LineReport,
    attack_nullspace,
    ball_segments,
    certify,
    check_lines,
    foe_directions,
)


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    small_sizes : tuple of (int, int)
        Points and dimensions of the small-radius networks.
    key_exponents : tuple of int
        Powers of two: numbers of keys that are memorized by bit extraction.
    num_samples : int
        Random points a ball, in the sampling that finds nothing.
    num_matrices : int
        Random first layers that are attacked.
    num_patterns : int
        Sign patterns that are read back.
    match_sizes : tuple of int
        Sizes N = d at which the lift is compared with the lower bound.
    sequential_sizes : tuple of int
        Dimensions, and numbers of points over three, of the sequential networks.
    num_images : int
    num_steps : int
        Of the training of ordinary networks, which are then attacked.
    long_keys : int
        Keys whose lookup is built for several lengths of the words.
    slider : tuple of float
        Radii over separation that the slider offers.
    """

    small_sizes: tuple[tuple[int, int], ...]
    key_exponents: tuple[int, ...]
    num_samples: int
    num_matrices: int
    num_patterns: int
    match_sizes: tuple[int, ...]
    sequential_sizes: tuple[int, ...]
    num_images: int
    num_steps: int
    long_keys: int
    slider: tuple[float, ...]


SMOKE = Config(((48, 16),), (6, 8, 10), 50, 10, 2, (32,), (8, 16), 40, 100, 4096, (0.3, 0.9))
BOOK = Config(
    ((48, 16), (64, 32), (256, 64)), tuple(range(6, 15)), 1000, 100, 10, (32, 64, 128), (8, 16, 32), 100, 500, 16384,
    (0.1, 0.3, 0.5, 0.7, 0.9, 0.97),
)  # fmt: skip
FULL = Config(
    ((48, 16), (64, 32), (256, 64), (1024, 64)), tuple(range(6, 17)), 10_000, 1000, 100, (32, 64, 128, 256), (8, 16, 32, 64),
    1000, 500, 16384, (0.1, 0.3, 0.5, 0.7, 0.9, 0.97),
)  # fmt: skip


# First-layer width (Proposition 3.2) --------------------------------------------------------------------------------


def shortest_images(matrices: Sequence[Array]) -> Array:
    r""":math:`\min_j \lVert\Pi e_j\rVert` over :math:`\sqrt{m/d}` for each matrix, with the projector onto its rows."""
    shortest = []
    for W in matrices:
        q, _ = np.linalg.qr(W.T)
        shortest.append(np.sqrt((q**2).sum(axis=1)).min() / math.sqrt(q.shape[1] / q.shape[0]))
    return np.array(shortest)


def hadamard_rows(num: int, dim: int) -> Array:
    """The first rows of a Hadamard matrix, made orthonormal: they shorten all unit vectors alike."""
    return np.asarray(hadamard(dim)[:num] / math.sqrt(dim))


def tight_width_shares(pairs: Sequence[tuple[int, int]], *, stretch: float = 1.0) -> list[float]:
    r"""Share of proved balls of the lift on Hadamard rows at :math:`\rho = 0.99\sqrt{m/d}`, for pairs (d, m).

    `stretch` multiplies the radius of the balls, not of the construction.
    """
    shares = []
    for dim, width in pairs:
        X, y = simplex_data(dim)
        rho = 0.99 * math.sqrt(width / dim)
        network = memorize(X, y, rho=rho, method="lift", projection=hadamard_rows(width, dim))
        shares.append(float(certify(network, X, y, radius=stretch * network.radius).proved.mean()))
    return shares


def num_broken_widths(pairs: Sequence[tuple[int, int]], *, stretch: float) -> int:
    r"""Of the networks of `tight_width_shares`, how many the null space breaks at `stretch` times :math:`\rho = \sqrt{m/d}`."""
    broken = 0
    for dim, width in pairs:
        X, y = simplex_data(dim)
        ratio = math.sqrt(width / dim)
        network = memorize(X, y, rho=0.99 * ratio, method="lift", projection=hadamard_rows(width, dim))
        attack = attack_nullspace(network.network, X, y, radius=stretch * ratio / 2)
        broken += attack is not None and attack.gap <= 1e-9
    return broken


def train_mlp(
    X: Array, y: Labels, width: int, *, num_steps: int = 500, hidden: int = 64, seed: int = 0
) -> torch.nn.Sequential:
    """A network with three layers, fitted to the labels by Adam: mean square error, full batch."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [X.shape[1], width, hidden, 1]
    modules: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = empty_linear(fan_in, fan_out, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            linear.bias.zero_()
        modules += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*modules[:-1])
    inputs, targets = torch.as_tensor(X), torch.as_tensor(y, dtype=torch.float64)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(num_steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(inputs)[:, 0], targets).backward()
        optimizer.step()
    return network


def read_back(num: int, dim: int, rho: float, num_patterns: int, *, shuffle: bool = False) -> int:
    """Signs that the lift reads back right, in the worst of several random patterns; `shuffle` permutes the labels."""
    right = []
    for seed in range(num_patterns):
        case = shattering_data(num, dim, rho, seed=seed)
        y = np.random.default_rng(seed).permutation(case.y) if shuffle else case.y
        network = memorize(case.X, y, rho=rho, method="lift", projection=np.eye(dim))
        right.append(int((np.abs(2 * network(case.points) - 3 - case.signs) < 1e-6).sum()))
    return min(right)


# Integers (Theorem 4.2(i)) ------------------------------------------------------------------------------------------


def bit_extraction_sizes(num: int, *, group_size: int | None = None) -> tuple[int, int, int]:
    """Parameters, depth and width of the lookup of `num` random keys."""
    key_bits, label_bits = max(1, 2 * (num - 1).bit_length()), 2
    size = best_group_size(num, key_bits, label_bits) if group_size is None else group_size
    layers = lookup_layers(random_keys(num), Words(key_bits, label_bits, size))
    return count(layers), len(layers), max(len(layer.bias) for layer in layers[:-1])


def lookup_errors(num: int, *, group_size: int | None = None, exact: bool = True, num_others: int = 100) -> int:
    """Keys with a wrong value, and other integers that do not give 0, in exact integers or in float64."""
    values = random_keys(num)
    key_bits = 2 * (num - 1).bit_length()
    size = best_group_size(num, key_bits, 2) if group_size is None else group_size
    layers = lookup_layers(values, Words(key_bits, 2, size))
    others = [int(k) for k in np.random.default_rng(1).integers(0, num**2, 2 * num_others) if int(k) not in values]
    inputs = np.array([*values, *others[:num_others]], dtype=object)[:, None]
    if not exact:
        layers = [type(layer)(layer.weight.astype(float), layer.bias.astype(float)) for layer in layers]
        inputs = inputs.astype(float)
    expected = np.array([*values.values(), *[0] * num_others])
    return int((evaluate(layers, inputs)[:, 0].astype(float) != expected).sum())


# Lines through balls ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Search:
    """What lines and samples find: errors a segment, the ball each belongs to, and the share of wrong samples."""

    lines: LineReport
    owner: NDArray[np.int64]
    sampled: float

    @property
    def worst(self) -> float:
        """Largest error on any segment."""
        return float(self.lines.worst.max())

    @property
    def num_broken(self) -> int:
        """Balls in which a segment errs by 0.9 or more."""
        return len(np.unique(self.owner[self.lines.worst >= 0.9]))


def search(
    memorizer: Memorizer,
    *,
    stretch: float = 1.0,
    foes: bool = True,
    num_random: int = 2,
    num_samples: int = 0,
    seed: int = 0,
) -> Search:
    """Diameters of every ball along the first layer's rows, towards the nearest foe and at random; random samples.

    `stretch` multiplies the radius.
    """
    X, y = memorizer.points.X, memorizer.points.labels[memorizer.points.codes]
    radius, rng = stretch * memorizer.radius, np.random.default_rng(seed)
    first = memorizer.network[0]
    assert isinstance(first, torch.nn.Linear)
    rows = first.weight.detach().numpy()
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    shape = (len(X), len(rows), X.shape[1])
    ways = [np.broadcast_to(rows, shape)] + [foe_directions(X, y)[:, None]] * foes
    ways.append(rng.standard_normal((len(X), num_random, X.shape[1])))
    starts, ends, owner = ball_segments(X, radius, np.concatenate(ways, axis=1))
    report = check_lines(memorizer.network, starts, ends, y[owner])
    wrong = [np.abs(memorizer(x + uniform_ball(rng, num_samples, len(x)) * radius) - label) > 1e-3 for x, label in
             zip(X, y, strict=True)] if num_samples else [np.zeros(1, dtype=bool)]  # fmt: skip
    return Search(report, owner, float(np.mean(wrong)))


def uniform_ball(rng: np.random.Generator, num: int, dim: int) -> Array:
    """Uniform points of the unit ball, shape (num, dim)."""
    steps = rng.standard_normal((num, dim))
    return np.asarray(steps / np.linalg.norm(steps, axis=1, keepdims=True) * rng.random((num, 1)) ** (1 / dim))


def slit_ratios(networks: Sequence[Memorizer]) -> list[float]:
    """Length of the slits on lines along the lattice, over that of the first network: medians over lines slit in all.

    Of a slit at the end of a line only a part may lie in the ball, hence the median.
    """
    found = [search(n, foes=False, num_random=0).lines for n in networks]
    slit = np.all([report.worst >= 0.9 for report in found], axis=0)
    return [float(np.median(report.share[slit] / found[0].share[slit])) for report in found[1:]]


def moderate_networks(ramps: Sequence[float], *, guard: bool, seed: int = 0) -> list[Memorizer]:
    """32 points in 8 dimensions, in groups of three: the moderate network for several ramps."""
    X, y = gaussian_data(32, 8, seed=seed)
    rho = 0.3 / (5 * math.sqrt(8))
    return [
        memorize(X, y, rho=rho, method="moderate", guard=guard, projection=np.eye(8), ramp=ramp, seed=seed)
        for ramp in ramps
    ]


# Formulas -----------------------------------------------------------------------------------------------------------


def growth_exponent(bound: Callable[[float, float, float], float], power: float, *, dim_power: float = 1.0) -> float:
    r"""Exponent of `N` in ``bound(N, N**dim_power, N**-power)``, between two sizes so large that only one term counts."""
    ends = [math.log(bound(n, n**dim_power, n**-power)) for n in (1e40, 1e60)]
    return (ends[1] - ends[0]) / (math.log(1e60) - math.log(1e40))


def jumps(source: str, num: float = 1e6, dim: float = 1e6) -> list[float]:
    """Right over left limit of the upper bound at its two breaks."""
    breaks = {
        "paper": (1 / (5 * num * math.sqrt(dim)), 1 / (5 * math.sqrt(dim))),
        "prior": (dim**-0.5, dim ** (-1 / 6)),
    }
    sides = [[upper_bound(num, dim, at * (1 + s), source=source) for s in (-1e-9, 1e-9)] for at in breaks[source]]  # type: ignore[arg-type]
    return [right / left for left, right in sides]


def break_even(dim: int = 8, *, bare: bool = False) -> float:
    r"""Fewest points, in steps of a quarter decade, for which the moderate network is smaller than the lift.

    At the geometric middle of the moderate regime, where groups have :math:`\sqrt N` points. `bare` leaves out the floors
    and the registers that are carried along.
    """
    for num in 10 ** np.arange(2, 16, 0.25):
        lift = num * (dim + 2 + 2)
        if moderate_count(num, math.sqrt(num), dim, bits=True, bare=bare) < lift:
            return float(num)
    return math.inf


def moderate_count(num: float, size: float, dim: int, *, bits: bool, num_bits: int = 6, bare: bool = False) -> float:
    r"""Parameters of the guarded moderate network by formula, for numbers of points that nobody would build.

    A group of `size` points costs its floor, :math:`2n(5m+3)^2`, and its lookup: hat functions that carry m + 2
    registers along, or bit extraction, whose layers are m + 1 units wider than alone.
    """
    floor = 2 * num_bits * (5 * dim + 3) ** 2
    if not bits:
        return num / size * (floor + 3 * size * (2 * dim + 6) + 3 * (dim + 2) ** 2)
    key_bits = 2 * math.log2(max(size, 2))
    alone = 2 * math.sqrt(20 * size * (42 * key_bits + 56 * 2 + 98))
    return num / size * (alone if bare else floor + alone * (1 + (dim + 1) / 7) ** 2)


# Large radii --------------------------------------------------------------------------------------------------------


def levels_needed(X: Array, y: Labels, rhos: Sequence[float]) -> list[int]:
    """Levels `T` of the lift without a projection, by radius."""
    points = as_points(X, y)
    return [plan_lift(points, rho * points.separation, np.eye(X.shape[1])).levels for rho in rhos]


def size_by_dimension(dims: Sequence[int], *, method: Any, num: int = 24, rho: float = 0.9) -> list[int]:
    """Parameters for Gaussian data of growing dimension, without a projection."""
    return [memorize(*gaussian_data(num, d), rho=rho, method=method, projection=np.eye(d)).num_parameters for d in dims]


def size_by_number(nums: Sequence[int], *, method: Any, dim: int = 16, rho: float = 0.9) -> list[int]:
    """Parameters for more and more points of the same data, all subsets holding the nearest pair of foes.

    So all have the same separation, and a third of their points in each of three classes.
    """
    X, _ = gaussian_data(max(nums), dim)
    y = np.resize([1, 2, 3], len(X))
    i, j = sorted(as_points(X, y).nearest)
    order = [i, j, *(k for k in range(len(X)) if k not in (i, j))]
    X, y = X[order], y[order]
    return [memorize(X[:num], y[:num], rho=rho, method=method, projection=np.eye(dim)).num_parameters for num in nums]


def match_ratios(
    sizes: Sequence[int], rhos: Sequence[float], *, count_with: Callable[[Any], int] | None = None
) -> Array:
    r"""The lift's parameters over :math:`\rho^2 d^2` on Gaussian data with N = d, shape (len(sizes), len(rhos))."""
    ratios = np.empty((len(sizes), len(rhos)))
    for row, size in enumerate(sizes):
        points = as_points(*gaussian_data(size, size))
        for column, rho in enumerate(rhos):
            radius = rho * points.separation
            Q = smallest_projection(points, radius / 0.95, np.random.default_rng(0))
            plan = plan_lift(points, radius, Q)
            ratios[row, column] = (plan.count() if count_with is None else count_with(plan)) / (rho * size) ** 2
    return ratios


# Images -------------------------------------------------------------------------------------------------------------


def principal_projection(X: Array, y: Labels, rho: float) -> Array:
    """The fewest principal directions that keep enough of the separation, shape (m, d)."""
    points = as_points(X, y)
    rows = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2]
    for size in range(1, len(rows)):
        if as_points(X @ rows[:size].T, y).separation > rho * points.separation / 0.95:
            return np.asarray(rows[:size])
    return np.asarray(rows)


def bound_curves(num: float, dim: float, rhos: Array) -> dict[str, Array]:
    """Upper bounds by source, at each radius."""
    return {s: np.array([upper_bound(num, dim, r, source=s) for r in rhos]) for s in ("paper", "prior", "lift")}  # type: ignore[arg-type]
