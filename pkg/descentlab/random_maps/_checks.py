"""Checks of what is passed in, and the maps of an epoch grouped or multiplied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Order = str | Sequence[int] | NDArray[np.int64]

ORDERS = ("cyclic", "replacement", "reshuffled")
MAX_DISTINCT = 14
MAX_STATES = 2**23


def check_maps(maps: ArrayLike, counts: ArrayLike | None) -> tuple[Array, NDArray[np.int64]]:
    maps = np.asarray(maps, dtype=np.float64)
    if maps.ndim < 3 or maps.shape[-1] != maps.shape[-2] or maps.size == 0:
        raise ValueError(f"maps has shape {maps.shape}; expected square matrices (m, D, D), or a batch (..., m, D, D)")
    if not np.all(np.isfinite(maps)):
        raise ValueError("maps holds NaN or infinity; every entry must be finite")
    num_maps = maps.shape[-3]
    numbers = np.ones(num_maps) if counts is None else np.asarray(counts)
    if numbers.shape != (num_maps,) or np.any(numbers < 1) or np.any(numbers != np.floor(numbers)):
        raise ValueError(f"counts={counts!r}; expected {num_maps} positive integers, one a map")
    return maps, numbers.astype(np.int64)


def check_moment(S: ArrayLike, dim: int) -> Array:
    S = np.asarray(S, dtype=np.float64)
    if S.shape[-2:] != (dim, dim):
        raise ValueError(f"S has shape {S.shape}; expected (..., {dim}, {dim}), as the maps have")
    scale = np.abs(S).max(initial=0.0)
    if not np.isfinite(scale):
        raise ValueError("S holds NaN or infinity; every entry must be finite")
    if np.abs(S - np.swapaxes(S, -1, -2)).max(initial=0.0) > 1e-8 * scale:
        raise ValueError("S is not symmetric; a second moment E[x x'] is")
    return (S + np.swapaxes(S, -1, -2)) / 2


def check_order(order: Order, counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The indices of a fixed order, None for a random one."""
    if isinstance(order, str):
        if order not in ORDERS:
            raise ValueError(f"order={order!r}; allowed are {', '.join(map(repr, ORDERS))} or a sequence of indices")
        return np.repeat(np.arange(len(counts)), counts) if order == "cyclic" else None
    indices = np.asarray(order)
    valid = indices.ndim == 1 and indices.size > 0 and np.all(indices == np.floor(indices))
    valid = valid and indices.min() >= 0 and indices.max() < len(counts)
    if valid and np.array_equal(np.bincount(indices.astype(np.int64), minlength=len(counts)), counts):
        return indices.astype(np.int64)
    often = "once" if np.all(counts == 1) else f"as often as counts={counts.tolist()} says"
    raise ValueError(f"order={order!r} is no order of an epoch: it must name each of 0 … {len(counts) - 1} {often}")


def grouped(maps: Array, counts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """Equal maps (equal in the whole batch) merged, the most frequent first."""
    by_map = np.moveaxis(maps, -3, 0)
    _, first, group = np.unique(by_map.reshape(len(counts), -1), axis=0, return_index=True, return_inverse=True)
    multiplicities = np.bincount(group.ravel(), weights=counts).astype(np.int64)
    sort = np.argsort(-multiplicities, kind="stable")
    return np.moveaxis(by_map[first[sort]], 0, -3), multiplicities[sort]


def reshuffled_groups(maps: Array, counts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """`grouped`, if the mean over all orders is within reach."""
    distinct, multiplicities = grouped(maps, counts)
    num_states = math.prod(int(c) + 1 for c in multiplicities)
    if len(multiplicities) > MAX_DISTINCT or num_states > MAX_STATES:
        raise ValueError(
            f"order='reshuffled' with {len(multiplicities)} distinct maps (multiplicities at most "
            f"{multiplicities.max()}) needs {num_states} states; the limits are {MAX_DISTINCT} distinct maps and "
            f"{MAX_STATES} states. Alternatives: order='replacement', a given sequence, or averages over sampled orders"
        )
    return distinct, multiplicities


def product(maps: Array, counts: NDArray[np.int64], sequence: NDArray[np.int64] | None) -> Array:
    """The maps multiplied in the order of `sequence`, the first one rightmost; runs of one map by squaring."""
    assert sequence is not None
    starts = np.flatnonzero(np.diff(sequence, prepend=-1))
    T = np.broadcast_to(np.eye(maps.shape[-1]), (*maps.shape[:-3], *maps.shape[-2:]))
    for i, length in zip(sequence[starts], np.diff(np.append(starts, len(sequence))), strict=True):
        T = np.linalg.matrix_power(maps[..., i, :, :], int(length)) @ T
    return T


def finite_or_inf(S: Array) -> Array:
    """Matrices with an entry that overflowed, replaced by infinity throughout: no entry of theirs can be trusted."""
    return np.where(np.isfinite(S).all(axis=(-1, -2), keepdims=True), S, np.inf)
