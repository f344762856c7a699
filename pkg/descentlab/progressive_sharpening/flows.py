r"""Gradient flow of networks, to a loss goal: many networks on data sets of their own at once.

The flow is stiff: descent needs steps below 2 over the sharpness, while the loss changes a thousand times more slowly.
A step of s gradients of the explicit second-order Runge–Kutta–Chebyshev method is stable up to :math:`0.65 s^2` over
the sharpness (Sommeijer, Shampine, Verwer 1998), so that s gradients do the work of :math:`s^2/3` steps of descent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from descentlab.progressive_sharpening.networks import Network, gradient, loss_of, network_sharpness

Velocity = Callable[[Tensor], Tensor]


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
    """Gradient flow of one network to a loss goal; see `network_flows`.

    Raises
    ------
    ValueError
        `loss_goal` is not positive.
    """
    batch = [w[None] for w in weights]
    (end,) = network_flows(
        batch, X[None], y[None], network, loss_goal=loss_goal, rtol=rtol, max_gradients=max_gradients
    )
    return end


def network_flows(
    weights: Sequence[Tensor],
    X: Tensor,
    y: Tensor,
    network: Network,
    *,
    loss_goal: float,
    rtol: float = 1e-3,
    max_gradients: int = 100_000,
) -> list[FlowEnd]:
    """Gradient flows of networks side by side, each on its own data set and with its own step, to one loss goal.

    A network leaves the batch when its loss is there. The number of gradients of a step is the largest that one of the
    others needs; it is their steps that differ, and whether they are accepted.

    Parameters
    ----------
    weights : list of Tensor, shapes (B, out, in)
    X : Tensor, shape (B, N, r)
        Where a data set has a smaller rank than another, columns of zeros fill it up.
    y : Tensor, shape (B, N)
    loss_goal : float
        Each flow ends at a loss between 0.8 of this and this.
    rtol : float
        Error of a step relative to the norm of the weights.
    max_gradients : int
        A flow that is not there after so many is given up.

    Returns
    -------
    list of FlowEnd, length B

    Raises
    ------
    ValueError
        `loss_goal` is not positive, or shapes do not agree.
    """
    if not loss_goal > 0:
        raise ValueError(f"loss_goal={loss_goal!r} must be positive")
    count = len(X)
    if X.ndim != 3 or y.shape != X.shape[:2] or any(len(w) != count for w in weights):
        shapes = [tuple(w.shape) for w in weights]
        raise ValueError(
            f"weights {shapes}, X {tuple(X.shape)} and y {tuple(y.shape)} must be (B, out, in), (B, N, r), (B, N)"
        )
    field = _Field([w.shape[1:] for w in weights], X, y, network)
    position = torch.cat([w.flatten(1) for w in weights], dim=1)
    ends: list[FlowEnd | None] = [None] * count
    running = np.arange(count)  # which network each row of the tensors below belongs to
    loss, slope = field(position)
    ritz = _random_directions(position)
    stiffness, step = np.ones(count), np.zeros(count)
    spent, since = 1, 0

    def leave(rows: np.ndarray) -> None:
        for row in np.flatnonzero(rows):
            final = [w[row] for w in field.unflatten(position)]
            top, _ = network_sharpness(final, field.X[row], field.y[row], network, start=ritz[row])
            ends[running[row]] = FlowEnd(final, float(loss[row]), top, spent, bool(loss[row] <= loss_goal))

    while True:
        finished = loss <= loss_goal
        if finished.any():
            leave(finished)
            keep = ~finished
            kept = torch.as_tensor(np.flatnonzero(keep), device=X.device)
            field, running = field.rows(kept), running[keep]
            position, slope, ritz = position[kept], slope[kept], ritz[kept]
            loss, stiffness, step = loss[keep], stiffness[keep], step[keep]
        if not len(running) or spent >= max_gradients:
            break
        if since == 0:  # refresh the stiffness every few steps; it rises along the flow
            top, ritz = _top_curvature(field.velocity, position, ritz)
            stiffness = 1.25 * np.maximum(top, 1e-3)
            step = np.where(step > 0, step, 0.5 / stiffness)
        step = np.minimum(step, 0.65 * 64**2 / stiffness)
        stages = 2 + int(np.sqrt(1 + 1.54 * (step * stiffness).max()))
        steps = torch.as_tensor(step[:, None], dtype=position.dtype, device=position.device)
        proposal = _chebyshev_step(position, slope, steps, stages, field.velocity)
        new_loss, new_slope = field(proposal)
        spent += stages
        estimate = 0.8 * (position - proposal) + 0.4 * steps * (slope + new_slope)
        error = (estimate.norm(dim=1) / (rtol * proposal.norm(dim=1))).double().cpu().numpy()
        small = np.isfinite(error) & (error <= 1)
        beyond = small & (new_loss < 0.8 * loss_goal)  # stop at the goal, not beyond it
        accepted = small & ~beyond
        taken = torch.as_tensor(accepted, device=X.device)[:, None]
        position, slope = torch.where(taken, proposal, position), torch.where(taken, new_slope, slope)
        loss = np.where(accepted, new_loss, loss)
        since = (since + 1) % 8 if small.all() else 0
        safe = np.where(np.isfinite(error) & (error > 0), error, 512.0)
        step = step * np.where(beyond, 0.5, np.clip(0.8 * safe ** (-1 / 3), 0.1, 5.0))
    leave(np.ones(len(running), dtype=bool))
    return [end for end in ends if end is not None]


class _Field:
    """The velocity of the flows: minus the gradients, with the weights of each network as a row."""

    def __init__(self, shapes: Sequence[torch.Size], X: Tensor, y: Tensor, network: Network):
        self.shapes, self.X, self.y, self.network = shapes, X, y, network

    def unflatten(self, flat: Tensor) -> list[Tensor]:
        parts = flat.split([shape.numel() for shape in self.shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def __call__(self, flat: Tensor) -> tuple[np.ndarray, Tensor]:
        """Losses (B,), on the CPU, and velocities (B, p)."""
        outputs, gradients = gradient(self.unflatten(flat), self.X, self.y, self.network)
        losses = loss_of(outputs, self.y, self.network.loss).double().cpu().numpy()
        return losses, -torch.cat([g.flatten(1) for g in gradients], dim=1)

    def velocity(self, flat: Tensor) -> Tensor:
        _, gradients = gradient(self.unflatten(flat), self.X, self.y, self.network)
        return -torch.cat([g.flatten(1) for g in gradients], dim=1)

    def rows(self, kept: Tensor) -> _Field:
        return _Field(self.shapes, self.X[kept], self.y[kept], self.network)


def _random_directions(like: Tensor) -> Tensor:
    """One for all rows, drawn on the CPU, so that neither the device nor the batch matters."""
    noise = torch.randn(like.shape[1], generator=torch.Generator().manual_seed(0), dtype=like.dtype)
    return (noise / noise.norm()).to(like.device).expand_as(like)


def _top_curvature(
    velocity: Velocity, position: Tensor, start: Tensor, *, tol: float = 0.03, most: int = 32
) -> tuple[np.ndarray, Tensor]:
    """Sharpness of each row to within about `tol` squared, and Ritz vectors; Lanczos, all rows in step."""
    point = position.detach().requires_grad_()
    slope = velocity(point)  # minus the gradient; its graph serves for all products, the Hessian being symmetric
    first = start + 0.1 * _random_directions(start)
    basis = [first / first.norm(dim=1, keepdim=True)]
    tridiagonal = np.zeros((len(position), most, most))
    for j in range(min(most, position.shape[1])):
        (image,) = torch.autograd.grad(slope, point, basis[j], retain_graph=True)
        rest = -image
        tridiagonal[:, j, j] = (rest * basis[j]).sum(dim=1).double().cpu().numpy()
        for _ in range(2):
            for vector in basis:
                rest = rest - (rest * vector).sum(dim=1, keepdim=True) * vector
        beta = rest.norm(dim=1, keepdim=True)
        values, states = np.linalg.eigh(tridiagonal[:, : j + 1, : j + 1])
        tail = beta[:, 0].double().cpu().numpy()
        if np.all(tail * np.abs(states[:, -1, -1]) <= tol * np.abs(values[:, -1])) or j + 1 == most:
            break
        tridiagonal[:, j, j + 1] = tridiagonal[:, j + 1, j] = tail
        basis.append(rest / beta.clamp_min(torch.finfo(rest.dtype).tiny))
    mix = torch.as_tensor(states[:, :, -1], dtype=position.dtype, device=position.device)
    ritz = sum((mix[:, [i]] * vector for i, vector in enumerate(basis)), torch.zeros_like(position))
    return values[:, -1], ritz


def _chebyshev_step(y0: Tensor, f0: Tensor, step: Tensor, stages: int, velocity: Velocity) -> Tensor:
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
    f0 = step * f0
    previous, current = y0, y0 + b[1] * w1 * f0
    for j in range(2, stages + 1):
        mu, nu, mu_step = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        gamma = -(1 - b[j - 1] * t[j - 1]) * mu_step
        following = mu * current + nu * previous
        following.add_(y0, alpha=1 - mu - nu).add_(f0, alpha=gamma).addcmul_(step, velocity(current), value=mu_step)
        previous, current = current, following
    return current
