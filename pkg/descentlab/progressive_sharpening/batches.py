"""Batches of stochastic gradient descent, and how noisy their means are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

ORDERS = ("cyclic", "reshuffled", "replacement")


def fresh_batches(num_samples: int, batch_size: int, num_steps: int, *, seed: int = 0) -> Any:
    """Batches drawn anew at each step, without replacement within a batch; ints, shape (num_steps, batch_size)."""
    if not 1 <= batch_size <= num_samples:
        raise ValueError(f"batch_size={batch_size!r} must be from 1 to {num_samples}")
    keys = np.random.default_rng(seed).random((num_steps, num_samples), dtype=np.float32)
    return np.argpartition(keys, batch_size - 1, axis=1)[:, :batch_size].astype(np.int32)


def noise_factor(num_samples: int, batch_size: int, order: str = "reshuffled") -> float:
    """Variance of a batch's mean over that of a sample: (N - B) / (B (N - 1)), or 1 / B with replacement."""
    if not isinstance(batch_size, (int, np.integer)) or not 1 <= batch_size <= num_samples:
        raise ValueError(f"batch_size={batch_size!r} must be an integer from 1 to {num_samples}")
    if order == "replacement":
        return 1 / batch_size
    return (num_samples - batch_size) / (batch_size * (num_samples - 1)) if num_samples > 1 else 0.0


def batches_of(
    order: str | ArrayLike, num_samples: int, size: int, num_steps: int, rng: np.random.Generator, m: int, starts: int
) -> Any:
    """The samples of each batch of the m-th start, int32, shape (num_steps, size)."""
    if isinstance(order, str):
        if order not in ORDERS:
            raise ValueError(f"order={order!r}; allowed are {', '.join(map(repr, ORDERS))} or an array of indices")
        if order == "replacement":
            return rng.integers(0, num_samples, (num_steps, size), dtype=np.int32)
        per_epoch = num_samples // size
        epochs = -(-num_steps // per_epoch)
        samples = np.broadcast_to(np.arange(num_samples, dtype=np.int32), (epochs, num_samples))
        samples = rng.permuted(samples, axis=1) if order == "reshuffled" else samples
        return np.ascontiguousarray(samples[:, : per_epoch * size].reshape(-1, size)[:num_steps])
    given = np.asarray(order)
    if given.ndim == 3 and len(given) == starts:
        given = given[m]
    if given.ndim != 2 or given.shape[0] < num_steps or given.shape[1] != size or given.dtype.kind not in "iu":
        raise ValueError(f"order has shape {np.shape(order)}; expected indices of shape ({num_steps}, {size})")
    if given.min() < 0 or given.max() >= num_samples:
        raise ValueError(f"order has indices {given.min()} … {given.max()}; allowed are 0 … {num_samples - 1}")
    return np.ascontiguousarray(given[:num_steps], dtype=np.int32)
