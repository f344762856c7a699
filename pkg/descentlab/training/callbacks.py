"""What a user's code can do during a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Run:
    """State of a training, as callbacks see it.

    Attributes
    ----------
    model : Module
        The plain network, neither compiled nor wrapped.
    optimizer : Optimizer
    device : torch.device
    num_samples : int
        Training samples; ``-1`` where a loader does not tell.
    num_epochs, num_steps : int
        Length of the whole training; steps counted over all of it.
    epoch, step : int
        Epochs and steps done; within a batch those before it.
    curves : dict of list of float
        One entry an epoch.
    seconds : float
        Time spent so far, of interrupted runs too.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    num_samples: int
    num_epochs: int
    num_steps: int
    epoch: int = 0
    step: int = 0
    curves: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0


class Callback:
    """Methods that `fit` calls; override those of interest.

    What is to survive an interruption goes through `state_dict` and `load_state_dict`, in the types that
    `training.save_checkpoint` admits.
    """

    def start(self, run: Run) -> None:
        """Before the first epoch; after `load_state_dict` where a run resumes."""

    def batch(self, run: Run, indices: Tensor | None, outputs: Tensor, targets: Tensor) -> None:
        """After the forward pass of a batch, before its update. Must not wait for the device.

        Parameters
        ----------
        indices : Tensor, shape (batch,), or None
            Which training samples; None where a loader does not give them. Under ``torchrun`` those of this rank.
        outputs : Tensor, shape (batch, …), float32
            Detached.
        targets : Tensor, shape (batch,)
        """

    def epoch(self, run: Run) -> None:
        """After an epoch, ``run.epoch`` counting it; what it appends to ``run.curves`` is kept."""

    def finish(self, run: Run) -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
