"""Data sets: random, extreme, awkward, and images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from descentlab.robust_memorization.points import Array

Labels = NDArray[np.int64]


def gaussian_data(num: int, dim: int, num_classes: int = 3, seed: int = 0) -> tuple[Array, Labels]:
    """Standard normal points, shape (num, dim), with random labels 1, …, `num_classes`, each of which occurs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, num_classes + 1, num)
    labels[:num_classes] = np.arange(1, num_classes + 1)
    return rng.standard_normal((num, dim)), labels


def scattered_data(num: int, num_classes: int = 3, seed: int = 0) -> tuple[Array, Labels]:
    """Points of the unit square that avoid each other, shape (num, 2): each the best of 20 random candidates."""
    rng = np.random.default_rng(seed)
    X = rng.random((1, 2))
    while len(X) < num:
        candidates = rng.random((20, 2))
        nearest = np.linalg.norm(candidates[:, None] - X, axis=2).min(axis=1)
        X = np.vstack([X, candidates[nearest.argmax()]])
    return X, rng.permutation(np.resize(np.arange(1, num_classes + 1), num))


def simplex_data(dim: int, num_extra: int = 0) -> tuple[Array, Labels]:
    r"""The unit vectors, label 2, and zero, label 1: the data of Proposition 3.2; extra points 2e₁, 3e₁, … of label 2."""
    extra = np.zeros((num_extra, dim))
    extra[:, 0] = np.arange(2, num_extra + 2)
    X = np.vstack([np.eye(dim), extra, np.zeros((1, dim))])
    return X, np.array([2] * (dim + num_extra) + [1])


@dataclass(frozen=True, eq=False)
class Shattering:
    """The data of Proposition 3.3: centres whose labels are decided by signs, and points that read the signs back."""

    X: Array
    y: Labels
    points: Array
    signs: Labels


def shattering_data(num: int, dim: int, rho: float, *, seed: int = 0) -> Shattering:
    r"""Centres :math:`c_l \pm \sum_j s_j e_j` with labels 2 and 1, and the points :math:`c_l + e_j`, for random signs."""
    size = int(1 / (1 - rho**2) + 1e-10)
    if size > dim:
        raise ValueError(f"rho={rho!r} must be at most sqrt(1 - 1/dim) = {math.sqrt(1 - 1 / dim):.6g}")
    groups = num // 2
    signs = np.random.default_rng(seed).choice([-1, 1], (groups, size))
    base = np.zeros((groups, dim))
    base[:, 0] = 2 * dim**2 * np.arange(groups)
    step = np.zeros((groups, dim))
    step[:, :size] = signs
    points = (base[:, None, :] + np.eye(dim)[:size]).reshape(-1, dim)
    return Shattering(
        np.vstack([base + step, base - step]), np.repeat([2, 1], groups), points, signs.reshape(-1).astype(np.int64)
    )


def nearest_own_centre(case: Shattering, *, other: bool = False) -> Array:
    """Distance of each point to the centre that has the label it reads, or to the `other` of its group."""
    groups, size = len(case.X) // 2, len(case.points) // (len(case.X) // 2)
    own = case.signs if not other else -case.signs
    rows = np.repeat(np.arange(groups), size) + np.where(own > 0, 0, groups)
    return np.asarray(np.linalg.norm(case.points - case.X[rows], axis=1))


def random_keys(num: int, *, seed: int = 0) -> dict[int, int]:
    """Different integers below num², with random labels 1 and 2."""
    rng = np.random.default_rng(seed)
    keys: set[int] = set()
    while len(keys) < num:
        keys.update(rng.integers(0, num**2, num - len(keys)).tolist())
    return dict(zip(sorted(keys), rng.integers(1, 3, num).tolist(), strict=True))


def edge_cases(seed: int = 0) -> dict[str, tuple[Array, Labels]]:
    """Data sets that break careless constructions, by name."""
    rng = np.random.default_rng(seed)
    lattice = np.array(list(product(range(3), repeat=3)), dtype=float)
    blobs = np.repeat(10 * rng.standard_normal((4, 5)), 8, axis=0) + 0.1 * rng.standard_normal((32, 5))
    X, y = gaussian_data(30, 6, seed=seed)
    return {
        "integer lattice, parity": (lattice, lattice.sum(axis=1).astype(int) % 2),
        "overlapping balls of one label": (blobs, np.repeat([1, 2, 1, 2], 8)),
        "far from the origin": (X + 1e4, y),
        "tiny": (1e-6 * X, y),
        "huge": (1e6 * X, y),
        "alternating on a line": (np.outer(np.arange(20.0), rng.standard_normal(4)), np.arange(20) % 2),
        "two points": (X[:2], np.array([-7, 40])),
        "one against many": (X, np.where(np.arange(30) == 7, 5, 0)),
        "unit vectors against zero": simplex_data(16),
    }


def image_points(images: Array, labels: Labels, num: int) -> tuple[Array, Labels]:
    """The first images as points, mean removed, rotated to the span of their differences and of their mean."""
    X = images[:num].reshape(num, -1).astype(float)
    X = X - X.mean()
    left, sizes, _ = np.linalg.svd(X, full_matrices=False)
    kept = sizes > 1e-10 * sizes[0]
    return np.asarray(left[:, kept] * sizes[kept]), np.asarray(labels[:num], dtype=np.int64)
