r"""The dimension disappears: data and filters in coordinates of their own span.

Gradient descent never leaves the span of the samples and of the start. What happens there depends on inner products
alone, and those of k = n + 2m normal vectors in :math:`\mathbb R^p` form a Wishart matrix, which Bartlett's decomposition
draws as :math:`LL^\top` with L lower triangular: normal below the diagonal, :math:`\chi_{p-i}` on it. The rows of L are the
vectors in an orthonormal basis of their span: the same law at the cost of k numbers a vector, whatever p is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from descentlab.weak_to_strong.models import ReluCNN
from descentlab.weak_to_strong.patches import NUM_SIGNALS, PatchData, Seeds


def draw_in_span(
    num_samples: int,
    dim: int,
    *,
    num_filters: int = 10,
    init_scale: float = 0.01,
    noise: float = 1.0,
    seed: Seeds = 0,
    dtype: torch.dtype = torch.float64,
    **arguments: Any,
) -> tuple[PatchData, ReluCNN]:
    """Samples in dimension `dim` and a network to train on them, in 4 + n + 2m coordinates, equal in law.

    Test data for them are ``PatchData(..., dim=data.dim)``: of fresh noise only the part within the span matters, and it
    is normal there.

    Parameters
    ----------
    num_samples, dim, noise, seed, dtype
        As in `PatchData`.
    num_filters, init_scale
        As in `ReluCNN`.
    **arguments
        Others of `PatchData`.

    Returns
    -------
    PatchData, ReluCNN

    Raises
    ------
    ValueError
        `dim` is smaller than 4 + n + 2m, so that the span is the whole space and nothing is gained.
    """
    size = num_samples + 2 * num_filters
    if dim < NUM_SIGNALS + size:
        raise ValueError(f"dim={dim} must be at least 4 + num_samples + 2 num_filters = {NUM_SIGNALS + size}")
    data = PatchData(num_samples, NUM_SIGNALS + 1, noise=noise, seed=seed, dtype=dtype, **arguments)
    model = ReluCNN(NUM_SIGNALS + size, num_filters, init_scale=init_scale, seed=seed, dtype=dtype)
    seeds = [seed] if isinstance(seed, (int, np.integer)) else list(seed)
    factors = []
    for s in seeds:
        rng = np.random.default_rng([s, 13])
        factor = np.tril(rng.standard_normal((size, size)), -1)
        factor[np.diag_indices(size)] = np.sqrt(rng.chisquare(dim - NUM_SIGNALS - np.arange(size)))
        factors.append(factor)
    rows = torch.as_tensor(np.stack(factors), dtype=dtype).reshape(*data.batch, size, size)
    data.dim, data.rows = NUM_SIGNALS + size, noise * rows[..., :num_samples, :]
    with torch.no_grad():
        filters = init_scale * rows[..., num_samples:, :]
        model.weights[..., NUM_SIGNALS:] = filters.unflatten(-2, (2, num_filters))
    return data, model
