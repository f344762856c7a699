r"""Labelled points: their separation, projections that keep it, and lattices that stay away from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]

EPS = float(np.finfo(float).eps)
_BLOCK = 2_000_000  # entries of a block of pairwise distances


@dataclass(frozen=True, eq=False)
class Points:
    r"""Labelled points, checked.

    Attributes
    ----------
    X : array, shape (N, d)
    codes : array of int, shape (N,)
        Class numbers 0, 1, …, in the order of the labels.
    labels : array of int, shape (C,)
        The labels, ascending.
    separation : float
        :math:`\varepsilon_D`.
    nearest : (int, int)
        A pair of points of different labels at distance :math:`2\varepsilon_D`.
    """

    X: Array
    codes: NDArray[np.int64]
    labels: NDArray[np.int64]
    separation: float
    nearest: tuple[int, int]


def as_points(X: ArrayLike, y: ArrayLike, *, norm: float = 2) -> Points:
    """Check labelled points.

    Raises
    ------
    ValueError
        Shapes do not match, an entry is not finite, a label is not an integer, there is one class only, or two equal
        points have different labels.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X has shape {X.shape}, expected (number of points, dimension), both positive")
    if not np.all(np.isfinite(X)):
        raise ValueError(f"X: point {int(np.argmin(np.isfinite(X).all(axis=1)))} has an entry that is not finite")
    if y.shape != X.shape[:1]:
        raise ValueError(f"y has shape {y.shape}, expected ({len(X)},): one label a point")
    whole = y.astype(np.int64) if y.dtype.kind in "biuf" and np.all(np.abs(y.astype(float)) < 2.0**53) else None
    if whole is None or not np.array_equal(whole, y):
        raise ValueError(f"y must hold integers below 2^53, got {y.dtype} labels such as {y[:3].tolist()}")
    labels, codes = np.unique(whole, return_inverse=True)
    if len(labels) < 2:
        raise ValueError(f"y has one class only ({labels[0]}): any constant memorizes it, at least two are needed")
    if norm != np.inf and not norm >= 1:
        raise ValueError(f"norm={norm!r}; allowed are numbers from 1 to infinity")
    distance, nearest = _nearest_foes(X, codes, norm)
    if distance == 0:
        i, j = nearest
        raise ValueError(f"points {i} and {j} are equal but have the labels {whole[i]} and {whole[j]}")
    return Points(X, codes, labels, distance / 2, nearest)


def separation(X: ArrayLike, y: ArrayLike, *, norm: float = 2) -> float:
    r"""Half the smallest distance between points of different labels, :math:`\varepsilon_D`.

    Parameters
    ----------
    X : array_like, shape (N, d)
    y : array_like of int, shape (N,)
    norm : float
        `p` of the :math:`\ell_p` norm, from 1 to infinity.

    Raises
    ------
    ValueError
        As for `memorize`: one class only, or equal points of different labels (they are named).
    """
    return as_points(X, y, norm=norm).separation


def _nearest_foes(X: Array, codes: NDArray[np.int64], norm: float = 2) -> tuple[float, tuple[int, int]]:
    """The smallest distance between points of different codes, and where it is attained."""
    best, pair = np.inf, (0, 0)
    rows = max(1, _BLOCK // len(X))
    for start in range(0, len(X), rows):
        part = X[start : start + rows]
        distances = cdist(part, X, "chebyshev") if norm == np.inf else cdist(part, X, "minkowski", p=norm)
        distances[codes[start : start + rows, None] == codes] = np.inf
        i, j = np.unravel_index(np.argmin(distances), distances.shape)
        if distances[i, j] < best:
            best, pair = float(distances[i, j]), (start + int(i), int(j))
    return best, pair


def projected_separation(points: Points, projection: ArrayLike) -> float:
    """Half the smallest distance between projected points of different labels."""
    return _nearest_foes(points.X @ np.asarray(projection).T, points.codes)[0] / 2


class Unsuitable(ValueError):
    """The condition of a construction fails for these points."""


def reading_error(points: Points, projection: Array, extra: float = 0.0) -> float:
    """Bound on the rounding of a projected coordinate in float64, in the units of the points."""
    size = float(np.abs(projection).sum(axis=1).max() * (np.abs(points.X).max() + extra))
    return EPS * (points.X.shape[1] + 4) * size


def check_projection(projection: ArrayLike, dim: int) -> Array:
    """`projection` as an array of shape (m, dim) with orthonormal rows, or `ValueError`."""
    Q = np.asarray(projection, dtype=float)
    if Q.ndim != 2 or Q.shape[1] != dim or not 1 <= len(Q) <= dim:
        raise ValueError(f"projection has shape {Q.shape}, expected (m, {dim}) with 1 ≤ m ≤ {dim}")
    gap = float(np.abs(Q @ Q.T - np.eye(len(Q))).max())
    if not gap <= 1e-10:
        raise ValueError(f"projection: rows must be orthonormal, but Q Qᵀ differs from the identity by {gap:.2g}")
    return Q


def random_rotation(points: Points, rng: np.random.Generator) -> Array:
    """Orthonormal rows in random order of importance: the first m of them are a random projection to m dimensions.

    They span the whole space, or the affine hull of the points where that is smaller: there, nothing is lost
    (Proposition B.21).
    """
    num, dim = points.X.shape
    basis = np.eye(dim)
    if num <= dim:
        _, sizes, rows = np.linalg.svd(points.X - points.X.mean(axis=0), full_matrices=False)
        basis = rows[sizes > 1e-12 * sizes[0]]
    q, r = np.linalg.qr(rng.standard_normal((len(basis), len(basis))))
    return np.asarray((q * np.sign(np.diag(r))).T @ basis)


def num_draws(points: Points, most: int = 20) -> int:
    """How many random rotations to try: at most `most`, fewer where each takes long."""
    num, dim = points.X.shape
    return int(np.clip(2e8 / (num**2 * min(num, dim)), 1, most))


def smallest_projection(points: Points, needed: float, rng: np.random.Generator) -> Array:
    """A random projection to the fewest dimensions that keeps a separation of `needed`, shape (m, d).

    Distances of all foes are built up coordinate by coordinate along each rotation, and pairs that are far enough are
    dropped, so that one draw costs O(N²d) for all m together.
    """
    best = random_rotation(points, rng)
    for _ in range(num_draws(points)):
        rotation = random_rotation(points, rng)
        size = _dimensions_needed(points, rotation, needed)
        if size < len(best):
            best = rotation[:size]
    return best


def _dimensions_needed(points: Points, rotation: Array, needed: float) -> int:
    """How many first rows of `rotation` keep every pair of foes at distance ``2 * needed``; all, if none do."""
    Z = points.X @ rotation.T
    first, second = np.nonzero(np.triu(points.codes[:, None] != points.codes))
    squares, goal = np.zeros(len(first)), (2 * needed) ** 2
    for size in range(1, len(rotation) + 1):
        squares += (Z[first, size - 1] - Z[second, size - 1]) ** 2
        short = squares < goal
        if not short.any():
            return size
        if short.sum() < 0.5 * len(short):
            first, second, squares = first[short], second[short], squares[short]
    return len(rotation)


def cheapest_projection(points: Points, cost: Callable[[Array], float], rng: np.random.Generator) -> Array | None:
    """Of random projections to 1, 2, 3, 4, 6, 8, … dimensions the one of least cost; None where all cost infinity."""
    best, least = None, np.inf
    for _ in range(num_draws(points, most=5)):
        rotation = random_rotation(points, rng)
        sizes = {s for e in range(20) for s in (2**e, 3 * 2**e // 2) if s < len(rotation)} | {len(rotation)}
        for size in sorted(sizes):
            price = cost(rotation[:size])
            if price < least:
                best, least = rotation[:size], price
    return best


def lattice_translation(Z: ArrayLike) -> tuple[Array, Array]:
    r"""Where to put the unit lattice so that the points stay away from its planes (Lemma B.15).

    Parameters
    ----------
    Z : array_like, shape (N, m)

    Returns
    -------
    translation : array, shape (m,)
        In [0, 1): in each coordinate the middle of the largest circular gap between fractional parts.
    gap : array, shape (m,)
        Those gaps. Each is at least 1/N, and every :math:`z_{ij} - b_j` is at least half of it from an integer.
    """
    fractions = np.sort(np.mod(np.asarray(Z, dtype=float), 1.0), axis=0)
    gaps = np.diff(np.vstack([fractions, fractions[:1] + 1]), axis=0)
    place = np.argmax(gaps, axis=0)
    columns = np.arange(fractions.shape[1])
    gap = gaps[place, columns]
    return np.mod(fractions[place, columns] + gap / 2, 1.0), gap
