"""Three forms of the same gradient descent: split into signals and noise, by inner products, by autograd.

*Split* keeps the signals, six different patches in four coordinates, apart from the noise, which needs two matrix products
a step. *Gram* keeps no weights at all: descent never leaves the span of the start and the samples, so that inner products
between samples are enough. *Autograd* is the plain form. All of them take a batch of networks at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from descentlab.weak_to_strong.models import ReluCNN, combine, outputs
from descentlab.weak_to_strong.patches import NUM_SIGNALS, PatchData


class Engine(Protocol):
    """Outputs on the training set (or on a mini-batch), a step, what is logged, and the network at the end."""

    def outputs(self, index: Tensor | None) -> Tensor: ...
    def step(self, f: Tensor, target: Tensor, weight: Tensor | None, index: Tensor | None) -> None: ...
    def state(self) -> tuple[Tensor, Tensor | None, Tensor | None]: ...
    def model(self) -> ReluCNN: ...


def _slopes(f: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Derivative of the mean loss in the outputs, shape (..., n); without cancellation at confident outputs."""
    pull = (1 - target) * torch.sigmoid(f) - target * torch.sigmoid(-f)
    return (pull if weight is None else weight * pull) / f.shape[-1]


class Split:
    """Weights as signal coordinates S, shape (..., F, 4), and noise coordinates W, shape (..., F, p)."""

    def __init__(
        self, start: ReluCNN, data: PatchData, test: PatchData | None, learning_rate: float, optimizer: Any, train: bool
    ) -> None:
        filters = start.weights.detach().flatten(-3, -2)
        self.start, self.data, self.test, self.rate = start, data, test, learning_rate
        self.split = 0 if data.signals is None else NUM_SIGNALS
        self.signal, self.noise = filters[..., : self.split].clone(), filters[..., self.split :].clone()
        self.output, self.train_output = start.output.detach().flatten(-2).clone(), train
        moving = [self.signal] * bool(self.split) + [self.noise] + [self.output] * train
        self.optimizer = (
            None if optimizer is None and not train else (optimizer or torch.optim.SGD)(moving, lr=self.rate)
        )
        self.z, self.f, self.key = torch.empty(0), torch.empty(0), object()

    def _table(self) -> Tensor | None:
        return None if self.data.signals is None else self.signal @ self.data.signals.mT

    def outputs(self, index: Tensor | None) -> Tensor:
        if index is None and self.key is None:
            return self.f  # at a logged step the outputs are there already
        self.part = self.data if index is None else self.data.subset(index)
        self.z, self.table, self.key = self.part.rows @ self.noise.mT, self._table(), index
        self.f = combine(self.z, self.table, self.output, self.part)
        return self.f

    def step(self, f: Tensor, target: Tensor, weight: Tensor | None, index: Tensor | None) -> None:
        g = _slopes(f, target, weight)
        per_row = g if self.split else g.repeat_interleave(self.data.num_patches, dim=-1)
        active = self.z.sign().clamp_(min=0).mul_(per_row.unsqueeze(-1))  # (..., n * q, F); faster than a comparison
        gradients = [(active.mT @ self.part.rows) * self.output.unsqueeze(-1)]
        if self.table is not None and self.part.counts is not None and self.part.signals is not None:
            pulls = g.unsqueeze(-2) @ self.part.counts  # (..., 1, 6)
            gradients.insert(0, ((self.table > 0) * pulls * self.output.unsqueeze(-1)) @ self.part.signals)
        if self.train_output:
            of_signals = 0 if self.table is None else (torch.relu(self.table) * pulls).sum(-1)
            gradients.append((per_row.unsqueeze(-2) @ torch.relu(self.z)).squeeze(-2) + of_signals)
        moving = [self.signal] * bool(self.split) + [self.noise] + [self.output] * self.train_output
        for parameter, gradient in zip(moving, gradients, strict=True):
            if self.optimizer is None:
                parameter.sub_(gradient, alpha=self.rate)
            else:
                parameter.grad = gradient
        if self.optimizer is not None:
            self.optimizer.step()
        self.key = object()

    def state(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        on_test = None
        if self.test is not None:
            table = None if self.test.signals is None else self.signal @ self.test.signals.mT
            on_test = combine(self.test.rows @ self.noise.mT, table, self.output, self.test)
        return self.z, self._table(), on_test

    def model(self) -> ReluCNN:
        end = copy.deepcopy(self.start)
        with torch.no_grad():
            end.weights.copy_(torch.cat([self.signal, self.noise], dim=-1).view_as(end.weights))
            end.output.copy_(self.output.view_as(end.output))
        return end


class Gram:
    """Noise weights as W0 + sum_i a_i x_i, held as A, shape (..., n * q, F); a step costs an n × n product."""

    def __init__(
        self, start: ReluCNN, data: PatchData, test: PatchData | None, learning_rate: float, optimizer: Any, train: bool
    ) -> None:
        filters = start.weights.detach().flatten(-3, -2)
        self.start, self.data, self.test, self.rate = start, data, test, learning_rate
        self.split = 0 if data.signals is None else NUM_SIGNALS
        self.signal = filters[..., : self.split].clone()
        self.output = start.output.detach().flatten(-2)
        noise = filters[..., self.split :]
        self.kernel, self.z0 = data.rows @ data.rows.mT, data.rows @ noise.mT
        self.a = torch.zeros_like(self.z0)
        if test is not None:
            self.test_kernel, self.test_z0 = test.rows @ data.rows.mT, test.rows @ noise.mT
        self.fresh = False

    def _table(self) -> Tensor | None:
        return None if self.data.signals is None else self.signal @ self.data.signals.mT

    def outputs(self, index: Tensor | None) -> Tensor:
        if not self.fresh:
            self.z, self.table, self.fresh = self.z0 + self.kernel @ self.a, self._table(), True
            self.f = combine(self.z, self.table, self.output, self.data)
        return self.f

    def step(self, f: Tensor, target: Tensor, weight: Tensor | None, index: Tensor | None) -> None:
        g = _slopes(f, target, weight)
        per_row = g if self.split else g.repeat_interleave(self.data.num_patches, dim=-1)
        self.a -= (self.z > 0) * (self.rate * per_row.unsqueeze(-1)) * self.output.unsqueeze(-2)
        if self.table is not None and self.data.counts is not None and self.data.signals is not None:
            pulls = self.rate * (g.unsqueeze(-2) @ self.data.counts)
            self.signal -= ((self.table > 0) * pulls * self.output.unsqueeze(-1)) @ self.data.signals
        self.fresh = False

    def state(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        on_test = None
        if self.test is not None:
            table = None if self.test.signals is None else self.signal @ self.test.signals.mT
            on_test = combine(self.test_z0 + self.test_kernel @ self.a, table, self.output, self.test)
        return self.z, self._table(), on_test

    def model(self) -> ReluCNN:
        end = copy.deepcopy(self.start)
        with torch.no_grad():
            noise = end.weights.flatten(-3, -2)[..., self.split :] + self.a.mT @ self.data.rows
            end.weights.copy_(torch.cat([self.signal, noise], dim=-1).view_as(end.weights))
        return end


class Autograd:
    """The network as PyTorch sees it, on all patches."""

    def __init__(
        self, start: ReluCNN, data: PatchData, test: PatchData | None, learning_rate: float, optimizer: Any, train: bool
    ) -> None:
        self.net, self.data, self.test, self.patches = start, data, test, data.patches
        self.net.weights.requires_grad_()
        self.net.output.requires_grad_(train)
        moving = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = (optimizer or torch.optim.SGD)(moving, lr=learning_rate)

    def outputs(self, index: Tensor | None) -> Tensor:
        return self.net(self.patches if index is None else self.patches[..., index, :, :])

    def step(self, f: Tensor, target: Tensor, weight: Tensor | None, index: Tensor | None) -> None:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(f, target, reduction="none")
        self.optimizer.zero_grad()
        (losses if weight is None else weight * losses).mean(-1).sum().backward()
        self.optimizer.step()

    @torch.no_grad()
    def state(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        filters = self.net.weights.detach().flatten(-3, -2)
        split = 0 if self.data.signals is None else NUM_SIGNALS
        table = None if self.data.signals is None else filters[..., :split] @ self.data.signals.mT
        return (
            self.data.rows @ filters[..., split:].mT,
            table,
            None if self.test is None else outputs(self.net, self.test),
        )

    def model(self) -> ReluCNN:
        self.net.output.requires_grad_(False)
        self.net.zero_grad()
        return self.net


ENGINES: dict[str, Callable[..., Engine]] = {"split": Split, "gram": Gram, "autograd": Autograd}
