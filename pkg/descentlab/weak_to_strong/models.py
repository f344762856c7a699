"""The teacher and the student: a linear and a ReLU network with filters shared by the patches."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from descentlab.weak_to_strong.patches import NUM_SIGNALS, PatchData, Seeds


class LinearCNN(nn.Module):
    r"""The weak model :math:`f(X) = \sum_p \langle w, x^{(p)} \rangle`, started at zero.

    Parameters
    ----------
    dim : int
        Length of a patch.
    batch : tuple of int
        Leading shape: ``(seeds,)`` for one model a seed.
    dtype : torch.dtype

    Attributes
    ----------
    weight : Parameter, shape (..., d)
    seen : Tensor
        Fingerprints of the samples it was trained on.
    """

    seen: Tensor

    def __init__(self, dim: int, *, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        self.weight = nn.Parameter(torch.zeros(*batch, dim, dtype=dtype))
        self.register_buffer("seen", torch.zeros(0, dtype=torch.int64), persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Outputs, shape (..., n), of patches, shape (..., n, q, d)."""
        return torch.einsum("...nd,...d->...n", patches.sum(-2), self.weight)


class ReluCNN(nn.Module):
    r"""The strong model :math:`f = F_1 - F_{-1}`, :math:`F_s(X) = \frac1m \sum_{r,p} \max(0, \langle w_{s,r}, x^{(p)} \rangle)`.

    Parameters
    ----------
    dim : int
        Length of a patch.
    num_filters : int
        m, the filters of each sign.
    init_scale : float
        :math:`\sigma_0`: filters start as :math:`N(0, \sigma_0^2 I)`.
    average : bool
        Divide by m. Without it, ``init_scale / m`` and ``learning_rate / m**2`` give the very same outputs.
    seed : int or sequence of int
        A sequence gives a leading batch axis, one network a seed.
    dtype : torch.dtype

    Attributes
    ----------
    weights : Parameter, shape (..., 2, m, d)
        First the filters of s = 1, then those of s = -1.
    output : Parameter, shape (..., 2, m)
        The second layer, fixed unless asked otherwise.
    """

    def __init__(
        self,
        dim: int,
        num_filters: int = 10,
        *,
        init_scale: float = 0.01,
        average: bool = True,
        seed: Seeds = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if dim < 1 or num_filters < 1:
            raise ValueError(f"dim={dim} and num_filters={num_filters} must be at least 1")
        if not init_scale >= 0:
            raise ValueError(f"init_scale={init_scale} must not be negative")
        seeds = [seed] if isinstance(seed, (int, np.integer)) else list(seed)
        drawn = np.stack([np.random.default_rng([s, 7]).standard_normal((2, num_filters, dim)) for s in seeds])
        batch = () if isinstance(seed, (int, np.integer)) else (len(seeds),)
        weights = torch.as_tensor(init_scale * drawn, dtype=dtype).reshape(*batch, 2, num_filters, dim)
        self.weights = nn.Parameter(weights)
        signs = torch.tensor([1.0, -1.0], dtype=dtype)[:, None] / (num_filters if average else 1)
        self.output = nn.Parameter(signs.expand(*batch, 2, num_filters).clone(), requires_grad=False)

    @property
    def num_filters(self) -> int:
        return int(self.weights.shape[-2])

    def of_seed(self, index: int) -> ReluCNN:
        """One network of a batch of them; it shares its numbers."""
        part = copy.copy(self)
        each = self.named_parameters()
        part._parameters = {name: nn.Parameter(value.detach()[index], value.requires_grad) for name, value in each}
        return part

    def forward(self, patches: Tensor) -> Tensor:
        """Outputs, shape (..., n), of patches, shape (..., n, q, d)."""
        filters = self.weights.flatten(-3, -2)
        active = torch.relu(patches.flatten(-3, -2) @ filters.mT).unflatten(-2, patches.shape[-3:-1]).sum(-2)
        return (active @ self.output.flatten(-2).unsqueeze(-1)).squeeze(-1)


def ideal_student(data: PatchData) -> ReluCNN:
    r"""The network whose filters are the signals :math:`\mu_s, \nu_s, -\nu_s` (Proposition 2.2): m = 3, never wrong.

    Raises
    ------
    ValueError
        `data` come from arrays, so that their signals are unknown.
    """
    if data.signals is None:
        raise ValueError("data: made from arrays, so that their signals are unknown")
    model = ReluCNN(data.dim, 3, init_scale=0.0, dtype=data.rows.dtype)
    with torch.no_grad():
        model.weights[0, :, :NUM_SIGNALS] = data.signals[[0, 2, 3]]
        model.weights[1, :, :NUM_SIGNALS] = data.signals[[1, 4, 5]]
    return model


@torch.no_grad()
def outputs(model: nn.Module, data: PatchData) -> Tensor:
    """Outputs of a model on data, shape (..., n); without building the patches where the model is one of these two."""
    if isinstance(model, LinearCNN):
        if data.signals is None or data.counts is None:
            return model(data.patches)
        signal = data.counts @ (data.signals @ model.weight[..., :NUM_SIGNALS].unsqueeze(-1))
        return (signal + data.rows @ model.weight[..., NUM_SIGNALS:].unsqueeze(-1)).squeeze(-1)
    if isinstance(model, ReluCNN):
        filters, output = model.weights.flatten(-3, -2), model.output.flatten(-2)
        split = 0 if data.signals is None else NUM_SIGNALS
        z = data.rows @ filters[..., split:].mT
        table = None if data.signals is None else filters[..., :split] @ data.signals.mT
        return combine(z, table, output, data)
    return model(data.patches)


def combine(z: Tensor, table: Tensor | None, output: Tensor, data: PatchData) -> Tensor:
    """Outputs from the pre-activations of `data.rows`, shape (..., n * q, F), and of its signals, shape (..., F, 6)."""
    f = (torch.relu(z) @ output.unsqueeze(-1)).squeeze(-1)
    if table is None or data.counts is None:
        return f.unflatten(-1, (-1, data.num_patches)).sum(-1)
    return f + (data.counts @ (torch.relu(table) * output.unsqueeze(-1)).sum(-2).unsqueeze(-1)).squeeze(-1)
