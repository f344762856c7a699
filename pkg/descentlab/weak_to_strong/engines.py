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

BLOCK = 2**21  # numbers that stay in the cache between two products


class Engine(Protocol):
    """Outputs on the training set (or on a mini-batch), a step, what is logged, and the network at the end."""

    def outputs(self, index: Tensor | None) -> Tensor: ...
    def step(
        self, f: Tensor, y: Tensor, target: Tensor | None, weight: Tensor | None, index: Tensor | None
    ) -> None: ...
    def state(self) -> tuple[Tensor, Tensor | None, Tensor | None]: ...
    def model(self) -> ReluCNN: ...


def _slopes(f: Tensor, y: Tensor, target: Tensor | None, weight: Tensor | None) -> Tensor:
    """Derivative of the mean loss in the outputs, shape (..., n); without cancellation at confident outputs."""
    if target is None:
        return torch.sigmoid(-y * f).mul_(y).div_(-f.shape[-1])
    pull = (1 - target) * torch.sigmoid(f) - target * torch.sigmoid(-f)
    return (pull if weight is None else weight * pull) / f.shape[-1]


def _products(rows: Tensor, filters: Tensor) -> Tensor:
    """All inner products, shape (..., rows, F); in one product of matrices where a batch of filters shares the rows."""
    if rows.ndim == 2 and filters.ndim == 3:
        return (filters.flatten(0, 1) @ rows.mT).unflatten(0, filters.shape[:2]).mT
    return rows @ filters.mT


def _sums(active: Tensor, rows: Tensor) -> Tensor:
    """Sums of rows, weighted by `active`, shape (..., rows, F); shape (..., F, p)."""
    if rows.ndim == 2 and active.ndim == 3:
        return (active.mT.flatten(0, 1) @ rows).unflatten(0, (active.shape[0], active.shape[2]))
    return active.mT @ rows


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
        self.z, self.table, self.key = _products(self.part.rows, self.noise), self._table(), index
        self.f = combine(self.z, self.table, self.output, self.part)
        return self.f

    def step(self, f: Tensor, y: Tensor, target: Tensor | None, weight: Tensor | None, index: Tensor | None) -> None:
        g = _slopes(f, y, target, weight)
        per_row = g if self.split else g.repeat_interleave(self.data.num_patches, dim=-1)
        active = self.z.sign().clamp_(min=0).mul_(per_row.unsqueeze(-1))  # (..., n * q, F); faster than a comparison
        gradients = [_sums(active, self.part.rows) * self.output.unsqueeze(-1)]
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
            on_test = combine(_products(self.test.rows, self.noise), table, self.output, self.test)
        return self.z, self._table(), on_test

    def model(self) -> ReluCNN:
        end = copy.deepcopy(self.start)
        with torch.no_grad():
            end.weights.copy_(torch.cat([self.signal, self.noise], dim=-1).view_as(end.weights))
            end.output.copy_(self.output.view_as(end.output))
        return end


class Streamed(Split):
    """The split form for data larger than the cache: outputs and gradient in one pass over blocks of samples.

    It needs the labels `y`, for the plain logistic loss, when the outputs are asked for.
    """

    def __init__(self, *arguments: Any, y: Tensor) -> None:
        super().__init__(*arguments)
        rows, away = self.data.rows, -y
        self.z, self.f, self.g = rows.new_empty(len(rows), len(self.noise)), torch.empty_like(y), torch.empty_like(y)
        self.gradient = torch.empty_like(self.noise)
        some = max(64, BLOCK // rows.shape[-1])
        columns = (rows, self.z, self.f, self.g, away, away / len(rows))
        self.blocks = list(zip(*(column.split(some) for column in columns), strict=True))

    def outputs(self, index: Tensor | None) -> Tensor:
        if self.key is None:
            return self.f
        filters, self.table, self.key = self.noise.mT, self._table(), None
        assert self.data.counts is not None and self.table is not None
        torch.mv(self.data.counts, (torch.relu(self.table) * self.output.unsqueeze(-1)).sum(-2), out=self.f)
        self.gradient.zero_()
        for rows, z, f, g, away, share in self.blocks:
            torch.mm(rows, filters, out=z)
            f.addmv_(torch.relu(z), self.output)
            torch.mul(torch.sigmoid(away * f), share, out=g)
            self.gradient.addmm_(z.sign().clamp_(min=0).mul_(g.unsqueeze(-1)).mT, rows)
        return self.f

    def step(self, f: Tensor, y: Tensor, target: Tensor | None, weight: Tensor | None, index: Tensor | None) -> None:
        assert self.data.counts is not None and self.data.signals is not None and self.table is not None
        pulls = (self.g @ self.data.counts).unsqueeze(0)
        self.signal.sub_(((self.table > 0) * pulls * self.output.unsqueeze(-1)) @ self.data.signals, alpha=self.rate)
        self.noise.addcmul_(self.gradient, self.output.unsqueeze(-1), value=-self.rate)
        self.key = object()


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
        self.kernel, self.z0 = data.rows @ data.rows.mT, _products(data.rows, noise)
        self.a = torch.zeros_like(self.z0)
        if test is not None:
            self.test_kernel, self.test_z0 = test.rows @ data.rows.mT, _products(test.rows, noise)
        self.fresh = False

    def _table(self) -> Tensor | None:
        return None if self.data.signals is None else self.signal @ self.data.signals.mT

    def outputs(self, index: Tensor | None) -> Tensor:
        if not self.fresh:
            self.z, self.table, self.fresh = _products(self.kernel, self.a.mT).add_(self.z0), self._table(), True
            self.f = combine(self.z, self.table, self.output, self.data)
        return self.f

    def step(self, f: Tensor, y: Tensor, target: Tensor | None, weight: Tensor | None, index: Tensor | None) -> None:
        g = _slopes(f, y, target, weight).mul_(self.rate)
        per_row = g if self.split else g.repeat_interleave(self.data.num_patches, dim=-1)
        active = self.z.sign().clamp_(min=0).mul_(per_row.unsqueeze(-1))
        self.a.addcmul_(active, self.output.unsqueeze(-2), value=-1)
        if self.table is not None and self.data.counts is not None and self.data.signals is not None:
            pulls = g.unsqueeze(-2) @ self.data.counts
            self.signal -= ((self.table > 0) * pulls * self.output.unsqueeze(-1)) @ self.data.signals
        self.fresh = False

    def state(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        on_test = None
        if self.test is not None:
            table = None if self.test.signals is None else self.signal @ self.test.signals.mT
            on_test = combine(_products(self.test_kernel, self.a.mT) + self.test_z0, table, self.output, self.test)
        return self.z, self._table(), on_test

    def model(self) -> ReluCNN:
        end = copy.deepcopy(self.start)
        with torch.no_grad():
            noise = end.weights.flatten(-3, -2)[..., self.split :] + _sums(self.a, self.data.rows)
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

    def step(self, f: Tensor, y: Tensor, target: Tensor | None, weight: Tensor | None, index: Tensor | None) -> None:
        target = ((1 + y) / 2).expand_as(f) if target is None else target
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
