r"""Fully connected networks without biases, and their gradient flow: what the minimal model is compared with.

Weights are tensors of shape (..., out, in); leading axes are networks trained side by side. The loss is the mean over
samples of :math:`\tfrac12 (f(x) - y)^2`, or of the logistic loss of :math:`y f(x)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class FlowEnd:
    """Where the flow of a network was stopped.

    Attributes
    ----------
    weights : list of Tensor
    loss, sharpness : float
    num_gradients : int
        Gradients that the integrator evaluated.
    converged : bool
        Whether the loss reached its goal.
    """

    weights: list[Tensor]
    loss: float
    sharpness: float
    num_gradients: int
    converged: bool


def network_flow(
    weights: Sequence[Tensor],
    X: Tensor,
    y: Tensor,
    network: Network,
    *,
    loss_goal: float,
    rtol: float = 1e-3,
    max_gradients: int = 100_000,
) -> FlowEnd:
    r"""Gradient flow of a network to a loss goal, by a stabilised Runge–Kutta–Chebyshev method.

    The flow is stiff: descent needs steps below 2 over the sharpness, while the loss changes a thousand times more
    slowly. A step of s gradients of this explicit second-order method is stable up to :math:`0.65 s^2` over the
    sharpness (Sommeijer, Shampine, Verwer 1998), so that s gradients do the work of :math:`s^2/3` steps of descent.

    Raises
    ------
    ValueError
        `loss_goal` is not positive.
    """
    if not loss_goal > 0:
        raise ValueError(f"loss_goal={loss_goal!r} must be positive")
    shapes = [w.shape for w in weights]
    sizes = [w.numel() for w in weights]

    def unflatten(flat: Tensor) -> list[Tensor]:
        return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]

    def velocity(flat: Tensor) -> tuple[float, Tensor]:
        outputs, gradients = gradient(unflatten(flat), X, y, network)
        return float(loss_of(outputs, y, network.loss)), -torch.cat([g.reshape(-1) for g in gradients])

    position = torch.cat([w.reshape(-1) for w in weights])
    loss, slope = velocity(position)
    spent, since, ritz = 1, 0, None
    stiffness, step = 0.0, 0.0
    while loss > loss_goal and spent < max_gradients:
        if since == 0:  # refresh the stiffness every few steps; it rises along the flow
            top, ritz = network_sharpness(unflatten(position), X, y, network, tol=0.03, start=ritz)
            stiffness = 1.25 * max(top, 1e-3)
            step = step or 0.5 / stiffness
        step = min(step, 0.65 * 64**2 / stiffness)
        stages = 2 + int(np.sqrt(1 + 1.54 * step * stiffness))
        proposal = _chebyshev_step(position, slope, step, stages, lambda flat: velocity(flat)[1])
        new_loss, new_slope = velocity(proposal)
        spent += stages
        estimate = 0.8 * (position - proposal) + 0.4 * step * (slope + new_slope)
        error = float(estimate.norm() / (rtol * proposal.norm()))
        if error <= 1 and new_loss < 0.8 * loss_goal:  # stop at the goal, not beyond it
            step /= 2
            continue
        if np.isfinite(error) and error <= 1:
            position, slope, loss, since = proposal, new_slope, new_loss, (since + 1) % 8
        else:
            since = 0
        factor = 0.8 * error ** (-1 / 3) if np.isfinite(error) and error > 0 else 0.1
        step *= min(5.0, max(0.1, factor))
    final = unflatten(position)
    top, _ = network_sharpness(final, X, y, network, start=ritz)
    return FlowEnd(final, loss, top, spent, loss <= loss_goal)


def _chebyshev_step(y0: Tensor, f0: Tensor, step: float, stages: int, velocity: Callable[[Tensor], Tensor]) -> Tensor:
    """One step of the second-order Runge–Kutta–Chebyshev method; names follow Sommeijer et al."""
    w0 = 1 + 2 / 13 / stages**2
    t, dt, ddt = np.zeros(stages + 1), np.zeros(stages + 1), np.zeros(stages + 1)  # Chebyshev polynomials at w0
    t[:2], dt[1] = (1, w0), 1
    for j in range(2, stages + 1):
        t[j] = 2 * w0 * t[j - 1] - t[j - 2]
        dt[j] = 2 * t[j - 1] + 2 * w0 * dt[j - 1] - dt[j - 2]
        ddt[j] = 4 * dt[j - 1] + 2 * w0 * ddt[j - 1] - ddt[j - 2]
    w1 = dt[stages] / ddt[stages]
    b = np.empty(stages + 1)
    b[2:] = ddt[2:] / dt[2:] ** 2
    b[:2] = b[2]
    previous, current = y0, y0 + b[1] * w1 * step * f0
    for j in range(2, stages + 1):
        mu, nu, mu_step = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        gamma = -(1 - b[j - 1] * t[j - 1]) * mu_step
        following = (1 - mu - nu) * y0 + mu * current + nu * previous
        following = following + (mu_step * step) * velocity(current) + (gamma * step) * f0
        previous, current = current, following
    return current


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
