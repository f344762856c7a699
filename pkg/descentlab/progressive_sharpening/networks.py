r"""Fully connected networks without biases: what the minimal model is compared with.

Weights are tensors of shape (..., out, in); leading axes are networks trained side by side. The loss is the mean over
samples of :math:`\tfrac12 (f(x) - y)^2`, or of the logistic loss of :math:`y f(x)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from descentlab.progressive_sharpening.hessian import top_hessian_eigenvalues

Activation = Literal["linear", "tanh"]
LossName = Literal["squared", "logistic"]


@dataclass(frozen=True)
class Network:
    """The shape of a network: `depth` weight layers of `width` neurons, one output."""

    depth: int
    width: int
    activation: Activation = "tanh"
    loss: LossName = "squared"
    gain: float = 1.0


def initial_weights(
    network: Network, basis: np.ndarray, *, seed: int, device: str = "cpu", dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    r"""Uniform weights in :math:`\pm\text{gain}/\sqrt{\text{fan in}}`, the first layer in the coordinates of `basis`.

    The first layer is drawn over pixels, then projected on the right singular vectors of the data, the rows of `basis`
    (r, d). It moves within their span only, so that training on `Spectrum.samples` sees no difference, and costs less.
    """
    rng = np.random.default_rng(seed)
    sizes = [basis.shape[1], *[network.width] * (network.depth - 1), 1]
    drawn = [rng.uniform(-1, 1, (out, fan_in)) * network.gain / np.sqrt(fan_in) for fan_in, out in pairwise(sizes)]
    drawn[0] = drawn[0] @ basis.T
    return [torch.as_tensor(w, dtype=dtype, device=device) for w in drawn]


def forward(weights: Sequence[Tensor], X: Tensor, activation: Activation) -> Tensor:
    """Outputs, shape (..., N)."""
    for layer, w in enumerate(weights):
        X = X @ w.mT
        if activation == "tanh" and layer < len(weights) - 1:
            X = torch.tanh(X)
    return X[..., 0]


def loss_of(outputs: Tensor, y: Tensor, loss: LossName) -> Tensor:
    """Mean loss over the samples, shape (...)."""
    if loss == "squared":
        return ((outputs - y) ** 2).mean(dim=-1) / 2
    return functional.softplus(-y * outputs).mean(dim=-1)


def gradient(weights: Sequence[Tensor], X: Tensor, y: Tensor, network: Network) -> tuple[Tensor, list[Tensor]]:
    """Outputs, and the gradient of the mean loss, by hand: several times faster than autograd on nets so small."""
    layers = [X]
    for layer, w in enumerate(weights):
        X = X @ w.mT
        if network.activation == "tanh" and layer < len(weights) - 1:
            X = torch.tanh(X)
        layers.append(X)
    outputs = X[..., 0]
    slope = outputs - y if network.loss == "squared" else -y * torch.sigmoid(-y * outputs)
    delta = slope[..., None] / y.shape[-1]
    gradients = []
    for layer in range(len(weights) - 1, -1, -1):
        gradients.append(delta.mT @ layers[layer])
        if layer:
            delta = delta @ weights[layer]
            if network.activation == "tanh":
                delta = delta * (1 - layers[layer] ** 2)
    return outputs, gradients[::-1]


def network_sharpness(
    weights: Sequence[Tensor], X: Tensor, y: Tensor, network: Network, *, tol: float = 1e-3, start: Tensor | None = None
) -> tuple[float, Tensor]:
    """Sharpness of one network, and the leading Ritz vectors for the next evaluation."""
    leaves = [w.detach().requires_grad_() for w in weights]
    found = top_hessian_eigenvalues(
        lambda: loss_of(forward(leaves, X, network.activation), y, network.loss), leaves, tol=tol, start=start
    )
    return float(found.values[0]), found.subspace


def train_in_batches(
    weights: Sequence[Tensor],
    X: Tensor,
    y: Tensor,
    network: Network,
    *,
    learning_rate: float,
    num_steps: int,
    batch_size: int,
    seed: int = 0,
) -> list[Tensor]:
    """SGD on networks side by side, fresh batches without replacement each step, the same for all of them.

    Parameters
    ----------
    weights : list of Tensor, shapes (networks, out, in)
    """
    weights = [w.clone() for w in weights]
    generator = torch.Generator().manual_seed(seed)
    whole = batch_size == len(y)
    block = 256  # batches drawn at once
    for t in range(num_steps):
        if not whole:
            if t % block == 0:
                keys = torch.rand(block, len(y), generator=generator)
                drawn = keys.topk(batch_size, dim=1).indices.to(X.device)
            inputs, targets = X[drawn[t % block]], y[drawn[t % block]]
        else:
            inputs, targets = X, y
        _, gradients = gradient(weights, inputs, targets, network)
        for w, g in zip(weights, gradients, strict=True):
            w.sub_(g, alpha=learning_rate)
    return weights
