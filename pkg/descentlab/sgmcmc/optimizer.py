"""SGHMC as a drop-in `torch.optim.Optimizer`, for training loops that exist already."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from descentlab.sgmcmc.state import NonFiniteEnergy, State


class SGHMC(torch.optim.Optimizer):
    r"""The sampler `sghmc` behind the interface of an optimizer: one chain, parameters changed in place.

    .. math::
        r \leftarrow (1 - h\gamma)\, r - h N \nabla \ell + \sqrt{2 h \gamma T}\, n, \qquad \theta \leftarrow \theta + h\, r

    Parameters
    ----------
    params : iterable
        Parameters, or groups with their own ``step_size`` and ``friction``, as factors of an expansion may want.
    step_size : float or callable
        A callable, such as `cyclical_schedule` makes, is given the number of steps done.
    friction, temperature : float
    num_samples : float
        N: gradients are multiplied by it, so that the loss can be the mean over a batch. 1 if it is the energy itself.
    prior_variance : float, optional
        Adds the gradient of a Gaussian prior, :math:`\theta / \sigma^2`.
    generator : torch.Generator, optional
        Of the noise, on the parameters' device.

    Raises
    ------
    ValueError
        A step size is not positive, a friction or temperature negative, or friction × step_size at least 2.
    NonFiniteEnergy
        By a step that finds a loss or gradient that is not finite: nothing has been moved then.
    """

    def __init__(
        self,
        params: Iterable[Any],
        step_size: float | Callable[[int], float],
        *,
        friction: float = 1.0,
        temperature: float = 1.0,
        num_samples: float = 1.0,
        prior_variance: float | None = None,
        generator: torch.Generator | None = None,
    ):
        if not (0 <= temperature < math.inf):
            raise ValueError(f"temperature={temperature!r} must not be negative; 0 is the deterministic limit")
        if not num_samples > 0 or (prior_variance is not None and not prior_variance > 0):
            raise ValueError(f"num_samples={num_samples!r}, prior_variance={prior_variance!r} must be positive")
        super().__init__(params, {"step_size": step_size, "friction": friction})
        for group in self.param_groups:
            h, gamma = _size(group["step_size"], 0), group["friction"]
            group.setdefault("num_steps", 0)
            if not 0 < h < math.inf:
                raise ValueError(f"step_size={h!r} must be positive and finite")
            if not 0 <= gamma * h < 2:
                raise ValueError(f"friction={gamma!r}, step_size={h!r}: friction * step_size must be in [0, 2)")
        self.temperature, self.num_samples, self.prior_variance = temperature, num_samples, prior_variance
        self.generator = generator

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update; returns the loss of `closure`, where there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._verify(loss)
        for group in self.param_groups:
            h = _size(group["step_size"], group["num_steps"])
            alpha = h * group["friction"]
            group["num_steps"] += 1
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum: Tensor = state["momentum"]
                momentum.mul_(1 - alpha).add_(parameter.grad, alpha=-h * self.num_samples)
                if self.prior_variance is not None:
                    momentum.add_(parameter, alpha=-h / self.prior_variance)
                if self.temperature > 0:
                    noise = torch.randn(
                        parameter.shape, generator=self.generator, device=parameter.device, dtype=parameter.dtype
                    )
                    momentum.add_(noise, alpha=math.sqrt(2 * alpha * self.temperature))
                parameter.add_(momentum, alpha=h)
        return loss

    def _verify(self, loss: Any) -> None:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        sums = [g.sum() for g in gradients] + ([loss.detach()] if isinstance(loss, Tensor) else [])
        if not sums or bool(torch.isfinite(torch.stack([s.reshape(()) for s in sums])).all()):
            return
        step = self.param_groups[0]["num_steps"]
        params = [p.detach().unsqueeze(0) for group in self.param_groups for p in group["params"]]
        message = (
            f"the loss or gradient of chain 0 at step {step} is not finite; the parameters are those before the step"
        )
        raise NonFiniteEnergy(message, state=State(params, None, step), chain=0, step=step)


def _size(step_size: float | Callable[[int], float], step: int) -> float:
    return step_size(step) if callable(step_size) else step_size
