"""What the samplers share: energies and gradients of all chains, starts, settings and their checks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from descentlab.sgmcmc import _blocks as blocks
from descentlab.sgmcmc._blocks import Params, Setting
from descentlab.sgmcmc.state import Energy, NonFiniteEnergy, State


class Target:
    """Energies and gradients of all chains, with the check that they are finite."""

    def __init__(self, energy: Energy | None, log_posterior: Energy | None, batched: bool | None, chain_batches: bool):
        if (energy is None) == (log_posterior is None):
            raise ValueError("give either energy or log_posterior")
        self.energy = energy if energy is not None else lambda p, b: -cast("Energy", log_posterior)(p, b)
        self.batched, self.chain_batches = batched, chain_batches
        self.own = getattr(energy, "value_and_grad", None)
        self.scratch = blocks.Scratch()

    def __call__(
        self,
        state: State,
        batch: Any,
        theta: list[Tensor],
        *,
        check: bool = True,
        limit: Callable[[], str] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        value, gradients = self._evaluate(state.params, batch, theta)
        if check:
            sums = torch.stack([g.sum() for g in gradients])
            self.verify(state, value, gradients, sums.sum(), limit=limit)
        return value, gradients

    def verify(
        self,
        state: State,
        value: Tensor,
        gradients: list[Tensor],
        total: Tensor,
        *,
        limit: Callable[[], str] | None = None,
    ) -> None:
        """Raise if an energy or gradient is not finite; `total` is the sum of all gradients, which tells at once."""
        if bool(torch.isfinite(total + value.sum())):
            return
        bad = ~torch.isfinite(value)
        what = "energy" if bool(bad.any()) else "gradient"
        for gradient in gradients:
            bad = bad | ~torch.isfinite(gradient.reshape(len(gradient), -1)).all(1)
        if bool(bad.any()):
            chain = int(torch.nonzero(bad)[0])
            found = f"is {float(value[chain])}" if what == "energy" else "is not finite"
            hint = f"; a stable step has {limit()}" if limit is not None else ""
            message = f"the {what} of chain {chain} at step {state.step} {found}{hint}"
            raise NonFiniteEnergy(message, state=state, chain=chain, step=state.step)

    def _evaluate(self, like: Params, batch: Any, theta: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        if self.own is not None and self.batched:
            out = blocks.parts(self.scratch("gradients", theta[0], sum(x.numel() for x in theta)), theta)
            return self.own(blocks.join(like, theta), batch, blocks.join(like, out)), out
        if self.batched is not None:
            return self._all(like, batch, theta) if self.batched else self._each(like, batch, theta)
        try:
            result = self._each(like, batch, theta)
        except Exception as error:
            try:
                result = self._all(like, batch, theta)
            except Exception:
                raise error from None
            self.batched = True
            return result
        self.batched = False
        return result

    def _each(self, like: Params, batch: Any, theta: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """By `vmap` over an energy of one chain."""

        def one(tensors: list[Tensor], data: Any) -> Tensor:
            value = self.energy(blocks.join(like, tensors), data)
            if value.numel() != 1:
                raise ValueError(f"energy returned shape {tuple(value.shape)} for one chain, expected one number")
            return value.reshape(())

        axes = (0, 0 if self.chain_batches else None)
        gradients, value = torch.func.vmap(torch.func.grad_and_value(one), in_dims=axes)(theta, batch)
        return value, gradients

    def _all(self, like: Params, batch: Any, theta: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """By reverse mode through an energy of all chains."""
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in theta]
            value = self.energy(blocks.join(like, leaves), batch)
            if value.shape != (len(theta[0]),):
                raise ValueError(
                    f"energy returned shape {tuple(value.shape)} for all chains, expected ({len(theta[0])},)"
                )
            found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        gradients = [torch.zeros_like(x) if g is None else g for x, g in zip(theta, found, strict=True)]
        return value.detach(), gradients


class Watch:
    """Warns, once, of momenta far hotter than the bath: what a step beyond the limit of stability looks like."""

    def __init__(self, temperature: float, largest_curvature: float):
        self.temperature, self.largest_curvature, self.warned = temperature, largest_curvature, False

    def text(self) -> str:
        return f"step_size**2 * curvature < 2 * (2 - friction * step_size), here a curvature below {self.largest_curvature:.4g}"

    def __call__(self, step: int, momenta: list[Tensor]) -> None:
        if self.warned or step % 50 != 49 or self.temperature == 0:
            return
        hottest = max(float(blocks.mean_square(r).max()) for r in momenta if r[0].numel() > 0)
        if hottest > 1e4 * self.temperature:
            self.warned = True
            warnings.warn(f"kinetic temperature {hottest:.3g} at step {step}: unstable? {self.text()}", stacklevel=3)


def start(*, momentum: bool) -> Callable[..., State]:
    def init(params: Params, *, num_chains: int | None = None) -> State:
        """Chains at `params`, `num_chains` copies of it; None says that the first axis of `params` is the chains'."""
        _, tensors = blocks.split(params)
        if len({(t.dtype, t.device) for t in tensors}) > 1:
            raise ValueError("params: all blocks must have the same dtype and be on the same device")
        if num_chains is None:
            if any(t.ndim == 0 or len(t) != len(tensors[0]) for t in tensors):
                raise ValueError("num_chains=None: every block needs the chains as its first axis")
        elif not (isinstance(num_chains, int) and num_chains >= 1):
            raise ValueError(f"num_chains={num_chains!r} must be a whole number, at least 1")
        else:
            tensors = [t.detach().unsqueeze(0).repeat(num_chains, *[1] * t.ndim) for t in tensors]
        start = torch.cat([t.detach().reshape(-1) for t in tensors])
        tensors = blocks.parts(start, tensors)
        zero = blocks.join(params, blocks.parts(torch.zeros_like(start), tensors)) if momentum else None
        return State(blocks.join(params, tensors), zero)

    return init


def first_size(step_size: Setting) -> Setting:
    """The step size of the first step, which schedules do not exceed."""
    return step_size(0) if callable(step_size) else step_size


def check_settings(*, step_size: Setting, temperature: float, friction: Setting = 0.0) -> None:
    first = first_size(step_size)
    blocks.check_numbers(first, "step_size")
    blocks.check_numbers(friction, "friction")
    blocks.check_numbers(temperature, "temperature")
    if not (0 < blocks.smallest(first) < math.inf):
        raise ValueError(f"step_size={step_size!r} must be positive and finite")
    if not (0 <= temperature < math.inf):
        raise ValueError(f"temperature={temperature!r} must not be negative; 0 is the deterministic limit")
    if not (0 <= blocks.smallest(friction) < math.inf):
        raise ValueError(f"friction={friction!r} must not be negative, and finite")
    margin = blocks.smallest(blocks.combine(lambda h, g: 2 - h * g, first, friction))
    if margin <= 0:
        raise ValueError(
            f"friction={friction!r}, step_size={step_size!r}: friction * step_size must stay below 2, it reaches {2 - margin:g}"
        )


def check_curvature(curvature: float | None, step_size: Setting, limit: Callable[[Any], Setting], rule: str) -> None:
    if curvature is None:
        return
    if not curvature > 0:
        raise ValueError(f"curvature={curvature!r} must be positive")
    largest = blocks.smallest(blocks.combine(limit, first_size(step_size)))
    if curvature >= largest:
        raise ValueError(
            f"curvature={curvature!r}, step_size={step_size!r}: {rule}, a curvature below {largest:g} here"
        )


def step_sizes(step_size: Setting, step: int, names: list[str], theta: list[Tensor]) -> list[float | Tensor]:
    return blocks.settings(step_size(step) if callable(step_size) else step_size, names, theta, "step_size")


def heat_of(temperature: float, step_size: Setting, step: int) -> float:
    """The temperature of a step; none while a cyclical schedule explores."""
    explores = getattr(step_size, "explores", None)
    return 0.0 if explores is not None and explores(step) else temperature


def root(value: float | Tensor) -> float | Tensor:
    return value.sqrt() if isinstance(value, Tensor) else math.sqrt(value)


def level_step(
    step_size: Setting, step: int, names: list[str], theta: list[Tensor], into: blocks.Scratch
) -> float | Tensor:
    """The step size of a step, as one number or in the layout of `blocks.flat`."""
    return blocks.level(step_sizes(step_size, step, names, theta), theta, into)


def kinetic_energy(momenta: list[Tensor]) -> Tensor:
    return 0.5 * torch.stack([r.reshape(len(r), -1).square().sum(1) for r in momenta]).sum(0)
