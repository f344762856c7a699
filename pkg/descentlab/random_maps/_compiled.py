"""Compiled loops over the states of a random epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from descentlab.compiled import njit
from descentlab.random_maps._checks import Array


@njit
def add_congruence(out, weight, U, S, half):  # type: ignore[no-untyped-def]
    """Add ``weight * U @ S @ U.T`` to `out`; zeros of U, of which there are many, cost nothing."""
    dim = U.shape[0]
    half[:] = 0.0
    for a in range(dim):
        for b in range(dim):
            u = U[a, b]
            if u != 0.0:
                for c in range(dim):
                    half[a, c] += u * S[b, c]
    for c in range(dim):
        for b in range(dim):
            u = weight * U[c, b]
            if u != 0.0:
                for a in range(dim):
                    out[a, c] += half[a, b] * u


@njit
def mean_over_orders(maps, counts, S):  # type: ignore[no-untyped-def]
    """Mean over all orders of ``T S T'``, maps[i] occurring counts[i] times: dynamic programming over counts.

    States are numbers in a mixed radix, counts[0] the leading digit: the state before map i is `strides[i]` places
    back, so that only the last ``strides[0] + 1`` states are kept, in a ring.
    """
    num_maps, dim = maps.shape[0], maps.shape[1]
    strides = np.ones(num_maps, dtype=np.int64)
    for i in range(num_maps - 2, -1, -1):
        strides[i] = strides[i + 1] * (counts[i + 1] + 1)
    num_states, ring = strides[0] * (counts[0] + 1), strides[0] + 1
    table = np.empty((ring, dim, dim))
    table[0] = S
    digits = np.zeros(num_maps, dtype=np.int64)
    half = np.empty((dim, dim))
    level = 0
    for state in range(1, num_states):
        i = num_maps - 1
        while digits[i] == counts[i]:  # the odometer
            level -= digits[i]
            digits[i] = 0
            i -= 1
        digits[i] += 1
        level += 1
        phi = table[state % ring]
        phi[:] = 0.0
        for i in range(num_maps):
            if digits[i] > 0:
                add_congruence(phi, digits[i] / level, maps[i], table[(state - strides[i]) % ring], half)
    return table[(num_states - 1) % ring].copy()


@njit
def mean_of_congruences(maps, counts, S):  # type: ignore[no-untyped-def]
    """One step with replacement, map i having probability ``counts[i] / sum(counts)``."""
    after, half = np.zeros_like(S), np.empty_like(S)
    for i in range(len(maps)):
        add_congruence(after, counts[i] / counts.sum(), maps[i], S, half)
    return after


@njit
def steps_with_replacement(maps, counts, S):  # type: ignore[no-untyped-def]
    """An epoch of ``sum(counts)`` steps with replacement."""
    after = S.copy()
    for _ in range(counts.sum()):
        after = mean_of_congruences(maps, counts, after)
    return after


def batched(kernel, maps: Array, counts: NDArray[np.int64], S: Array) -> Array:  # type: ignore[no-untyped-def]
    """A kernel for one set of maps and one moment, over broadcast batches of them."""
    batch = np.broadcast_shapes(maps.shape[:-3], S.shape[:-2])
    maps = np.broadcast_to(maps, batch + maps.shape[-3:]).reshape(-1, *maps.shape[-3:])
    S = np.broadcast_to(S, batch + S.shape[-2:]).reshape(-1, *S.shape[-2:])
    after = np.empty(S.shape)
    for i in range(len(S)):
        after[i] = kernel(np.ascontiguousarray(maps[i]), counts, np.ascontiguousarray(S[i]))
    return after.reshape(batch + S.shape[-2:])
