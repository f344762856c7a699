"""Samples of a network's weights as an ensemble: what it predicts, how good and how diverse it is."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from descentlab.sgmcmc import diagnostics
from descentlab.sgmcmc.chains import chain_forward, is_batched_by_hand


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Samples of a network's weights, factors multiplied out.

    Attributes
    ----------
    model : Module
        The plain network, whose weights are of no account.
    samples : dict of Tensor, shape (chains, samples, …)
        Parameters by name.
    energies : Tensor, shape (chains, samples)
        Of the batch of the update before each sample.
    temperatures : dict of Tensor, shape (chains, samples)
        Kinetic temperature: ``"factors"`` (P and Q, where there are any) and ``"others"``.
    acceptance : Tensor, shape (chains, samples)
        Of Metropolis steps, averaged since the sample before; NaN for samplers without.
    effective_steps : Tensor, shape (chains, samples)
        Trace of P_W over the size of W, averaged over the layers with factors; 1 without. See `effective_step`.
    """

    model: nn.Module
    samples: dict[str, Tensor]
    energies: Tensor
    temperatures: dict[str, Tensor] = field(default_factory=dict)
    acceptance: Tensor | None = None
    effective_steps: Tensor | None = None

    @property
    def num_chains(self) -> int:
        return len(self.energies)

    @property
    def num_samples(self) -> int:
        """Samples of each chain."""
        return self.energies.shape[1]

    def drop(self, count: int) -> Ensemble:
        """Without the first `count` samples of each chain."""
        return self._cut(slice(None), slice(count, None))

    def chain(self, *numbers: int) -> Ensemble:
        """Some of the chains."""
        return self._cut(list(numbers), slice(None))

    def _cut(self, chains: Any, draws: slice) -> Ensemble:
        def cut(t: Tensor) -> Tensor:
            return t[chains][:, draws]

        temperatures = {k: cut(t) for k, t in self.temperatures.items()}
        acceptance = None if self.acceptance is None else cut(self.acceptance)
        steps = None if self.effective_steps is None else cut(self.effective_steps)
        return Ensemble(
            self.model,
            {k: cut(t) for k, t in self.samples.items()},
            cut(self.energies),
            temperatures,
            acceptance,
            steps,
        )

    @torch.no_grad()
    def logits(self, inputs: Tensor, *, batch_size: int = 1000, group_size: int | None = None) -> Tensor:
        """Outputs of every sample, shape (chains, samples, n, classes), on the device of `inputs`.

        `batch_size` inputs and `group_size` samples at a time; by default all samples of a network whose layers are
        multiplied out by hand, and eight of any other, whose hidden layers may be large.
        """
        forward = chain_forward(copy.deepcopy(self.model).to(inputs.device))
        flat = {name: t.flatten(0, 1) for name, t in self.samples.items()}
        total = self.num_chains * self.num_samples
        size = group_size or (total if is_batched_by_hand(self.model) else 8)
        rows = []
        for start in range(0, total, size):
            group = {name: t[start : start + size].to(inputs.device) for name, t in flat.items()}
            rows.append(torch.cat([forward(group, part.unsqueeze(0)) for part in inputs.split(batch_size)], dim=1))
        return torch.cat(rows).unflatten(0, (self.num_chains, self.num_samples))

    def predict(self, inputs: Tensor, *, batch_size: int = 1000) -> Tensor:
        """Class probabilities averaged over all samples of all chains, shape (n, classes), float64."""
        return self.logits(inputs, batch_size=batch_size).double().softmax(-1).mean((0, 1))

    def metrics(
        self, inputs: Tensor, targets: Tensor, *, ood_inputs: Tensor | None = None, by_chain: bool = False
    ) -> dict[str, Any]:
        """`ensemble_metrics` of all samples together, or an array with one entry a chain."""
        logits = self.logits(inputs)
        other = None if ood_inputs is None else self.logits(ood_inputs)
        if not by_chain:
            together = None if other is None else other.flatten(0, 1)
            return dict(diagnostics.ensemble_metrics(logits.flatten(0, 1), targets, ood_logits=together))
        rows = [
            diagnostics.ensemble_metrics(z, targets, ood_logits=None if other is None else other[k])
            for k, z in enumerate(logits)
        ]
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def convergence(self, inputs: Tensor) -> diagnostics.Convergence:
        """R-hat and effective sample size of the class probabilities at `inputs`, shape (n, classes), by ArviZ."""
        return diagnostics.convergence(self.logits(inputs).double().softmax(-1))

    def distances(self) -> tuple[Tensor, Tensor]:
        """Distance of consecutive samples over all weights, raw and between unit vectors, shape (chains, samples − 1)."""
        flat = torch.cat([t.flatten(2) for t in self.samples.values()], dim=-1)
        unit = flat / flat.norm(dim=-1, keepdim=True)
        return (flat[:, 1:] - flat[:, :-1]).norm(dim=-1), (unit[:, 1:] - unit[:, :-1]).norm(dim=-1)
