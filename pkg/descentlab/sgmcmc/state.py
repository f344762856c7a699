"""What samplers pass around: the state of the chains, what a step saw, the kernel, and the error of a step gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from descentlab.sgmcmc import _blocks as blocks
from descentlab.sgmcmc._blocks import Params

Energy = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, eq=False)
class State:
    """Where the chains are. Every tensor has the chains as its first axis.

    Attributes
    ----------
    params : tensor, mapping or sequence of tensors
    momentum : like `params`, or None for samplers without
    step : int
        Updates done.
    second_moment : like `params`, or None
        Running mean of squared gradients (`psgld`).
    thermostat : Tensor, shape (chains,), or a list of such, or None
        Adaptive friction (`sgnht`).
    """

    params: Params
    momentum: Params | None
    step: int = 0
    second_moment: Params | None = None
    thermostat: Any = None


@dataclass(frozen=True, eq=False)
class Info:
    """What a step saw.

    Attributes
    ----------
    energy : Tensor, shape (chains,)
        Of the parameters before the step, on its batch.
    acceptance : Tensor, shape (chains,), or None
        Metropolis probability of acceptance (`hmc`).
    """

    energy: Tensor
    acceptance: Tensor | None = None
    _momentum: Params | None = None

    @property
    def kinetic_temperature(self) -> Any:
        """Mean squared momentum of each block and chain, laid out like the parameters, shape (chains,) each.

        At equilibrium it is the temperature, up to the bias of the step size; more says that noise of the batches
        heats, less that the block has not warmed up. None for samplers without momentum.
        """
        if self._momentum is None:
            return None
        _, tensors = blocks.split(self._momentum)
        return blocks.join(self._momentum, [blocks.mean_square(r) for r in tensors])


@dataclass(frozen=True, eq=False)
class Kernel:
    """A sampler: ``init(params, *, num_chains) → State``, ``step(state, batch, generator) → (State, Info)``."""

    name: str
    init: Callable[..., State]
    step: Callable[..., tuple[State, Info]]


class NonFiniteEnergy(FloatingPointError, ValueError):
    """An energy or gradient is not finite; `state` is the last good one, `chain` and `step` say where."""

    def __init__(self, message: str, *, state: State, chain: int, step: int):
        super().__init__(message)
        self.state, self.chain, self.step = state, chain, step
