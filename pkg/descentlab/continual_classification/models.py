"""Cycle-averaged forgetting of any PyTorch model, and the network of the chapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from descentlab.continual_classification.experiments import PAIRS
from descentlab.continual_classification.limits import recorded_cycles
from descentlab.geometry import Array

if TYPE_CHECKING:
    from descentlab.data import Dataset

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ModelForgetting:
    """Forgetting in the recorded cycles of a model's training.

    Attributes
    ----------
    cycles : ndarray of int, shape (r,)
        Numbers of the cycles, counted from 1.
    values : ndarray, shape (r,)
        Cycle-averaged forgetting.
    per_task : ndarray, shape (r, M)
        Mean loss of each task at the end of the cycle minus that right after its own stage.
    losses : ndarray, shape (r, M)
        Mean loss of each task at the end of the cycle.
    """

    cycles: NDArray[np.int64]
    values: Array
    per_task: Array
    losses: Array


def logistic_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean logistic loss of real outputs, shape (n,) or (n, 1), for labels −1 and +1."""
    return nn.functional.softplus(-outputs.reshape(labels.shape) * labels).mean()


def forgetting(
    model: nn.Module,
    task_loaders: Sequence[Iterable[Any]],
    *,
    num_cycles: int,
    num_steps: int,
    learning_rate: float | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss_function: LossFunction = nn.functional.cross_entropy,
    record: ArrayLike | None = None,
) -> ModelForgetting:
    r"""Train a model on tasks in cyclic order, and measure what each cycle forgets.

    The model is trained in place, `num_steps` steps of the optimizer on each task in turn, with the loader's batches one
    after another, across stages. Losses are measured over a task's whole loader, in evaluation mode.

    Parameters
    ----------
    model : Module
    task_loaders : sequence of iterables of (inputs, targets), or of pairs of tensors (inputs, targets)
        One for each task: a DataLoader, a list of batches, or the whole task as a pair, which is then a single batch.
    num_cycles, num_steps : int
    learning_rate : float, optional
        Of plain gradient descent; give it or `optimizer`.
    optimizer : Optimizer, optional
        Over the model's parameters.
    loss_function : callable, (outputs, targets) -> Tensor
        Mean over the batch; cross-entropy by default.
    record : array_like of int, optional
        Cycles to measure, counted from 1; by default about 200 log-spaced ones.

    Returns
    -------
    ModelForgetting

    Raises
    ------
    ValueError
        If there is no task, a loader is empty, or not exactly one of `learning_rate` and `optimizer` is given.

    Notes
    -----
    The definition of arXiv 2504.12712, section 3.3, for means instead of sums over samples.
    """
    loaders = [_Batches(loader, m) for m, loader in enumerate(task_loaders)]
    if not loaders:
        raise ValueError("task_loaders is empty; expected one loader a task")
    if (learning_rate is None) == (optimizer is None):
        raise ValueError(f"learning_rate={learning_rate!r}, optimizer={optimizer!r}: give exactly one of them")
    if int(num_steps) != num_steps or num_steps < 1:
        raise ValueError(f"num_steps={num_steps!r} must be a positive integer")
    descent = _Descent(model, learning_rate) if optimizer is None else optimizer
    cycles = recorded_cycles(num_cycles, record)
    own, end = np.empty((2, len(cycles), len(loaders)))
    for cycle in range(1, num_cycles + 1):
        row = int(np.searchsorted(cycles, cycle))
        measured = cycles[row] == cycle
        for m, loader in enumerate(loaders):
            for _ in range(num_steps):
                inputs, targets = loader.next()
                descent.zero_grad()
                loss_function(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
                descent.step()
            if measured:
                own[row, m] = _mean_loss(model, loader, loss_function)
        if measured:
            end[row] = [_mean_loss(model, loader, loss_function) for loader in loaders]
    return ModelForgetting(cycles, (end - own).mean(axis=1), end - own, end)


class _Descent:
    """Plain gradient descent; torch.optim's takes seconds to import."""

    def __init__(self, model: nn.Module, learning_rate: float | None):
        if learning_rate is None or not 0 < learning_rate < float("inf"):
            raise ValueError(f"learning_rate={learning_rate!r} must be finite and positive")
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.learning_rate = learning_rate

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for p in self.parameters:
            if p.grad is not None:
                p.sub_(p.grad, alpha=self.learning_rate)


class _Batches:
    """A task's batches, one after another without end."""

    def __init__(self, loader: Iterable[Any], number: int):
        pair = isinstance(loader, (tuple, list)) and len(loader) == 2 and isinstance(loader[0], Tensor)
        self.loader: Iterable[Any] = [loader] if pair else loader
        self.number = number
        self.batches: Iterator[Any] = iter(self.loader)

    def next(self) -> tuple[Tensor, Tensor]:
        for _ in range(2):
            for inputs, targets in self.batches:
                return inputs, targets
            self.batches = iter(self.loader)
        raise ValueError(
            f"task_loaders[{self.number}] yields no batch; an iterator can be used only once, a list again"
        )


@torch.no_grad()
def _mean_loss(model: nn.Module, task: _Batches, loss_function: LossFunction) -> float:
    training = model.training
    model.eval()
    terms = [(float(loss_function(model(inputs), targets)), len(targets)) for inputs, targets in task.loader]
    model.train(training)
    return sum(loss * size for loss, size in terms) / sum(size for _, size in terms)


# The network of the chapter ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetworkRun:
    """A network's forgetting on pairs of classes.

    Attributes
    ----------
    forgetting : ModelForgetting
    accuracy : ndarray, shape (M,)
        On the test images of each task, at the end.
    """

    forgetting: ModelForgetting
    accuracy: Array


def pair_tensors(
    dataset: Dataset, *, per_class: int, pairs: Sequence[tuple[int, int]] = PAIRS, test: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of classes as tasks: the first `per_class` images of each, flat, with labels +1 and −1."""
    inputs, targets = (dataset.test_inputs, dataset.test_targets) if test else (dataset.inputs, dataset.targets)
    tasks = []
    for pair in pairs:
        members = [(targets == number).nonzero()[:per_class, 0] for number in pair]
        labels = [torch.full((len(found),), sign) for found, sign in zip(members, (1.0, -1.0), strict=True)]
        tasks.append((inputs[torch.cat(members)].flatten(1), torch.cat(labels).to(inputs.device)))
    return tasks


def small_network(dim: int, *, width: int = 128, seed: int = 0, device: Any = "cpu") -> nn.Sequential:
    """One hidden layer of ReLUs and one output, with PyTorch's usual initialisation drawn from `seed`."""
    model = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, 1))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            bound = cast(nn.Linear, layer).in_features ** -0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    return model.to(device)


def network_run(
    dataset: Dataset,
    *,
    num_cycles: int,
    per_class: int = 200,
    num_steps: int = 20,
    learning_rate: float = 0.05,
    width: int = 128,
    pairs: Sequence[tuple[int, int]] = PAIRS,
    seed: int = 0,
    record: ArrayLike | None = None,
) -> NetworkRun:
    """Train `small_network` on pairs of classes in cyclic order with full-batch gradient descent on mean losses."""
    train = pair_tensors(dataset, per_class=per_class, pairs=pairs)
    device = dataset.inputs.device
    model = small_network(train[0][0].shape[1], width=width, seed=seed, device=device)
    measured = forgetting(
        model, train, num_cycles=num_cycles, num_steps=num_steps, learning_rate=learning_rate,
        loss_function=logistic_loss, record=record,
    )  # fmt: skip
    with torch.no_grad():
        test = pair_tensors(dataset, per_class=len(dataset.test_inputs), pairs=pairs, test=True)
        accuracy = [float((model(inputs)[:, 0] * labels > 0).float().mean()) for inputs, labels in test]
    return NetworkRun(measured, np.array(accuracy))
