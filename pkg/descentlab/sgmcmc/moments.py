r"""Stationary moments of the samplers on :math:`U = \lambda x^2 / 2`, in closed form, and a bench to measure them.

The noise of the batches adds a variance :math:`V` to the gradient. Each function returns `Moments` with
:math:`E x^2` and :math:`E r^2`; the target has :math:`T/\lambda` and :math:`T`. The difference is the bias of the step
size, and what the noise heats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from scipy.optimize import brentq
from torch import Tensor

from descentlab.sgmcmc.state import Kernel


class Moments(NamedTuple):
    """Stationary variance of the position, mean squared momentum, and the thermostat's friction (NaN without)."""

    position: float
    momentum: float
    friction: float = math.nan


def sgld_moments(*, step_size: float, curvature: float, temperature: float = 1.0, noise: float = 0.0) -> Moments:
    r""":math:`E x^2 = (T + \eta V/2) / (\lambda (1 - \eta\lambda/2))`."""
    _stable(step_size * curvature, 2.0, "step_size * curvature")
    heat = temperature + step_size * noise / 2
    return Moments(heat / (curvature * (1 - step_size * curvature / 2)), math.nan)


def sghmc_moments(
    *, step_size: float, curvature: float, friction: float, temperature: float = 1.0, noise: float = 0.0
) -> Moments:
    r"""Momentum first: :math:`E x^2 = (T_e/\lambda) / (1 - h^2\lambda/(2(2-\alpha)))`, :math:`T_e = T + hV/(2\gamma)`.

    :math:`\alpha = h\gamma`, and :math:`E r^2 = 2\lambda E x^2/(2-\alpha)`.
    """
    alpha = step_size * friction
    limit = 2 * (2 - alpha)
    _stable(step_size**2 * curvature, limit, "step_size**2 * curvature")
    heat = temperature + step_size * noise / (2 * friction)
    position = heat / curvature / (1 - step_size**2 * curvature / limit)
    return Moments(position, 2 * curvature * position / (2 - alpha))


def explicit_euler_moments(*, step_size: float, curvature: float, friction: float, temperature: float = 1.0) -> Moments:
    r"""Moments where the position moves before the momentum, with :math:`\alpha = h\gamma` and :math:`w = h^2\lambda`.

    .. math:: E x^2 = \frac T\lambda\, \frac{2\alpha(2-\alpha+w)}{(\alpha-w)(4-2\alpha+w)}

    Unstable where :math:`h\lambda \ge \gamma`. :math:`E r^2 = 2 \lambda E x^2 / (2 - \alpha + w)`, as stationarity of
    :math:`x^2` and :math:`xr` demands.
    """
    alpha, w = step_size * friction, step_size**2 * curvature
    _stable(step_size * curvature, friction, "step_size * curvature")
    position = temperature / curvature * 2 * alpha * (2 - alpha + w) / ((alpha - w) * (4 - 2 * alpha + w))
    return Moments(position, 2 * curvature * position / (2 - alpha + w))


def sgnht_moments(
    *, step_size: float, curvature: float, friction: float, temperature: float = 1.0, noise: float = 0.0
) -> Moments:
    r"""Where :math:`\alpha = h\xi` solves :math:`\alpha(2-\alpha-h^2\lambda/2) = 2hA + h^2V/T`, in many dimensions.

    :math:`E r^2 = T` exactly, :math:`E x^2 = T(2-\alpha)/(2\lambda)`.
    """
    w = step_size**2 * curvature
    injected = 2 * step_size * friction + step_size**2 * noise / temperature
    peak = 1 - w / 4  # of the left-hand side
    if injected >= peak**2:
        raise ValueError(
            f"step_size={step_size!r}: no stationary thermostat, the noise is more than friction can take up"
        )
    alpha = brentq(lambda a: a * (2 - a - w / 2) - injected, 0.0, peak, xtol=1e-15)
    return Moments(temperature * (2 - alpha) / (2 * curvature), temperature, alpha / step_size)


class Quadratic:
    """Energy λ x²/2 + s ⟨n, x⟩ of all chains, shape (chains,) or (chains, d), with its gradient λ x + s n."""

    def __init__(self, curvature: float | Tensor, spread: float | Tensor):
        self.curvature, self.spread = curvature, spread

    def __call__(self, x: Tensor, batch: Tensor | None) -> Tensor:
        value = 0.5 * self.curvature * x.square()
        value = value if batch is None else value + self.spread * batch * x
        return value if x.ndim == 1 else value.sum(-1)

    def value_and_grad(self, x: Tensor, batch: Tensor | None, out: Tensor) -> Tensor:
        """Energies, shape (chains,); the gradient is written into `out`."""
        torch.mul(x, self.curvature, out=out)
        value = 0.5 * x * out
        if batch is not None:
            slope = self.spread * batch
            value += slope * x
            out += slope
        return value if x.ndim == 1 else value.sum(-1)


def noisy_quadratic(curvature: float, noise: float = 0.0) -> Callable[[Tensor, Any], Tensor]:
    """Energy λ x²/2 + √V ⟨n, x⟩ of all chains, of shape (chains, d); the batch is n, or None."""
    return Quadratic(curvature, math.sqrt(noise))


def measure_moments(
    kernel: Kernel,
    *,
    num_chains: int = 4000,
    num_steps: int = 3000,
    num_dropped: int = 1000,
    dimension: int = 1,
    noise: float = 0.0,
    seed: int = 0,
) -> Moments:
    """Simulated stationary moments of a kernel whose energy is a `noisy_quadratic`.

    Works with any object that has ``init`` and ``step`` as `Kernel` has: a bench for samplers of one's own.

    Parameters
    ----------
    kernel : Kernel
    num_chains, num_steps, num_dropped : int
        Chains, steps kept, and steps before them.
    dimension : int
        Independent coordinates of each chain; many for `sgnht`, whose thermostat averages over them.
    noise : float
        Variance of the gradient noise; above 0, batches of normal numbers are passed.
    seed : int
    """
    generator = torch.Generator().manual_seed(seed)
    state = kernel.init(torch.randn(num_chains, dimension, generator=generator, dtype=torch.float64))
    sums = torch.zeros(3, dtype=torch.float64)
    for index in range(num_dropped + num_steps):
        batch = None
        if noise > 0:
            batch = torch.randn(num_chains, dimension, generator=generator, dtype=torch.float64)
        state, _ = kernel.step(state, batch, generator)
        if index >= num_dropped:
            sums[0] += state.params.square().mean()
            sums[1] += math.nan if state.momentum is None else state.momentum.square().mean()
            sums[2] += math.nan if state.thermostat is None else state.thermostat.mean()
    return Moments(*(sums / num_steps).tolist())


def _stable(value: float, limit: float, name: str) -> None:
    if not value < limit:
        raise ValueError(f"{name}={value:g} must stay below {limit:g}: no stationary distribution beyond")
