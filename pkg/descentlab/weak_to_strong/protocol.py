"""Weak-to-strong learning as a protocol: label, train, report; for the models of this chapter and for your own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from descentlab.weak_to_strong.history import by_kind
from descentlab.weak_to_strong.losses import CrossEntropy, Loss, as_loss
from descentlab.weak_to_strong.models import LinearCNN, outputs
from descentlab.weak_to_strong.patches import PatchData
from descentlab.weak_to_strong.training import warn_of_seen


@dataclass(frozen=True)
class Accuracy:
    """Accuracy overall and by kind of sample: floats, or arrays over seeds; NaN for a kind that does not occur."""

    overall: Any
    easy: Any
    hard: Any
    both: Any


def pseudo_label(weak: nn.Module, data: PatchData) -> Tensor:
    """The teacher's labels, sign of its outputs, ties counting as 1; shape (..., n).

    Warns
    -----
    UserWarning
        The teacher was trained on some of these samples: it would repeat labels that it memorised.
    """
    if isinstance(weak, LinearCNN):
        warn_of_seen(weak, data)
    f = outputs(weak, data)
    return torch.where(f >= 0, torch.ones_like(f), -torch.ones_like(f))


def evaluate(model: nn.Module, data: PatchData) -> Accuracy:
    """Accuracy against the true labels, overall and by kind of sample.

    Parameters
    ----------
    model : Module
        From patches (..., n, q, d) to outputs (..., n), such as `LinearCNN` and `ReluCNN`.
    data : PatchData
    """
    with torch.no_grad():
        right = (outputs(model, data) >= 0) == (data.labels > 0)
        kinds = by_kind(right, data.kinds.expand(right.shape)).double().cpu().numpy()
        overall = right.double().mean(-1).cpu().numpy()
    values = [overall, *np.moveaxis(kinds, -1, 0)]
    return Accuracy(*(float(value) if np.ndim(value) == 0 else value for value in values))


@dataclass(frozen=True)
class Report:
    """Three test accuracies, under the names that the field uses, and what training did.

    Attributes
    ----------
    weak : float
        The teacher, trained on true labels.
    weak_to_strong : float
        The student, trained on the teacher's labels.
    ceiling : float
        The student's network, trained on true labels.
    epochs : dict
        By the same three names, the epoch whose parameters were kept.
    models : dict
        By the same three names, the trained networks.
    """

    weak: float
    weak_to_strong: float
    ceiling: float
    epochs: dict[str, int] = field(default_factory=dict, repr=False)
    models: dict[str, nn.Module] = field(default_factory=dict, repr=False, compare=False)

    @property
    def performance_gap_recovered(self) -> float:
        """(weak_to_strong - weak) / (ceiling - weak): 0 is the teacher, 1 the ceiling; NaN where there is no gap."""
        gap = self.ceiling - self.weak
        return (self.weak_to_strong - self.weak) / gap if gap else float("nan")

    def __str__(self) -> str:
        return (
            f"weak {self.weak:.3f}, weak-to-strong {self.weak_to_strong:.3f}, ceiling {self.ceiling:.3f}, "
            f"performance gap recovered {self.performance_gap_recovered:.2f}"
        )


def weak_to_strong(
    weak_model: nn.Module,
    strong_model: nn.Module,
    train_loader: Iterable[Sequence[Tensor]],
    test_loader: Iterable[Sequence[Tensor]],
    *,
    loss: str | Loss = "xent",
    teacher_fraction: float = 0.5,
    holdout: float = 0.1,
    num_epochs: int = 20,
    patience: int = 3,
    batch_size: int = 64,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    weak_learning_rate: float = 1e-2,
    learning_rate: float = 1e-3,
    soft_labels: bool = False,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Report:
    """Train a teacher, let it label fresh samples, train a student on them, and train the student's network on the truth.

    The training samples are split at random: the teacher gets `teacher_fraction` of them with their true labels; student
    and ceiling get the others. Each of the three stops early: a fraction `holdout` of its samples is kept aside **with the
    labels that it is trained on**, and the parameters with the smallest held-out loss are kept. For the student these are the teacher's
    labels, so that nothing of the truth leaks; nor can such a stop see whether the student has corrected its teacher.

    Parameters
    ----------
    weak_model, strong_model : Module
        From a batch of inputs to logits (batch, K), or to one number (batch,) whose sign is the class. Both are
        copied, not changed.
    train_loader, test_loader : iterable of (inputs, labels)
        Batches, as from ``torch.utils.data.DataLoader``. Labels are 0 … K-1, or 1 and -1 for models with one output.
    loss : {"xent", "logconf"} or Loss
        For the student; see `losses`. The other two are trained with cross-entropy.
    teacher_fraction, holdout : float
        In (0, 1); `holdout` may be 0, which means no early stopping.
    num_epochs, patience : int
        Epochs at most; epochs without a smaller held-out loss before training stops.
    batch_size : int
    optimizer : callable
        ``optimizer(parameters, lr=...)``.
    weak_learning_rate, learning_rate : float
        Of the teacher; of student and ceiling.
    soft_labels : bool
        Pass on the teacher's probabilities instead of its decisions.
    device : str or torch.device
    seed : int
        Of the split and of the order of mini-batches.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        A label or an argument is out of range, or a loader is empty.

    Warns
    -----
    UserWarning
        A sample occurs on both sides of the split.
    """
    rule = as_loss(loss)
    for name, value in (("teacher_fraction", teacher_fraction), ("holdout", holdout)):
        if not (0 < value < 1 or (name == "holdout" and value == 0)):
            raise ValueError(f"{name}={value} must be between 0 and 1")
    for name, number in (("num_epochs", num_epochs), ("patience", patience), ("batch_size", batch_size)):
        if number < 1:
            raise ValueError(f"{name}={number} must be at least 1")
    inputs, labels = _collect(train_loader, "train_loader", device)
    test_inputs, test_labels = _collect(test_loader, "test_loader", device)
    rng = np.random.default_rng(seed)
    order = torch.as_tensor(rng.permutation(len(inputs)), device=inputs.device)
    cut = round(teacher_fraction * len(inputs))
    if not 0 < cut < len(inputs):
        raise ValueError(f"teacher_fraction={teacher_fraction} of {len(inputs)} samples leaves one side empty")
    first, second = order[:cut], order[cut:]
    _warn_of_overlap(inputs[first], inputs[second])

    def classes(model: nn.Module, labels: Tensor) -> Tensor:
        with torch.no_grad():
            width = _logits(model.eval(), inputs[:1]).shape[-1]
            scalar = model(inputs[:1]).ndim == 1
        return _one_hot(labels, width, scalar)

    def fit(model: nn.Module, part: Tensor, targets: Tensor, rate: float, rule: Loss) -> tuple[nn.Module, int]:
        settings = (holdout, num_epochs, patience, batch_size)
        return _fit(copy.deepcopy(model).to(device), inputs[part], targets, rule, optimizer, rate, settings, rng)

    plain = CrossEntropy()
    weak_model, strong_model = weak_model.to(device), strong_model.to(device)
    truth_weak, truth = classes(weak_model, labels), classes(strong_model, labels)
    if truth_weak.shape != truth.shape:
        raise ValueError(f"weak_model has {truth_weak.shape[-1]} classes, strong_model {truth.shape[-1]}")
    weak, weak_epoch = fit(weak_model, first, truth_weak[first], weak_learning_rate, plain)
    taught = _predict(weak, inputs[second], batch_size)
    if not soft_labels:
        taught = nn.functional.one_hot(taught.argmax(-1), taught.shape[-1]).to(taught.dtype)
    student, student_epoch = fit(strong_model, second, taught, learning_rate, rule)
    ceiling, ceiling_epoch = fit(strong_model, second, truth[second], learning_rate, plain)

    right = classes(strong_model, test_labels).argmax(-1)
    models = {"weak": weak, "weak_to_strong": student, "ceiling": ceiling}
    scores = {
        name: float((_predict(model, test_inputs, batch_size).argmax(-1) == right).double().mean())
        for name, model in models.items()
    }
    epochs = {"weak": weak_epoch, "weak_to_strong": student_epoch, "ceiling": ceiling_epoch}
    return Report(scores["weak"], scores["weak_to_strong"], scores["ceiling"], epochs=epochs, models=models)


def _collect(loader: Iterable[Sequence[Tensor]], name: str, device: str | torch.device) -> tuple[Tensor, Tensor]:
    batches = [(batch[0], batch[1]) for batch in loader]
    if not batches:
        raise ValueError(f"{name}: holds no batch")
    return tuple(torch.cat(parts).to(device) for parts in zip(*batches, strict=True))  # type: ignore[return-value]


def _logits(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (n, K); an output of one number f becomes the pair (0, f)."""
    out = model(inputs)
    return torch.stack([torch.zeros_like(out), out], dim=-1) if out.ndim == 1 else out


def _one_hot(labels: Tensor, width: int, scalar: bool) -> Tensor:
    valid = (labels.abs() == 1) if scalar else (labels >= 0) & (labels < width) & (labels == labels.round())
    if labels.ndim != 1 or not bool(valid.all()):
        found = torch.unique(labels)[:10].tolist()
        raise ValueError(
            f"labels: expected {'1 and -1' if scalar else f'0 … {width - 1}'} of shape (n,), found {found}"
        )
    number = (labels > 0) if scalar else labels
    return nn.functional.one_hot(number.long(), width).to(torch.get_default_dtype())


@torch.no_grad()
def _predict(model: nn.Module, inputs: Tensor, batch_size: int) -> Tensor:
    model.eval()
    return torch.cat([torch.softmax(_logits(model, part), dim=-1) for part in inputs.split(max(batch_size, 512))])


def _fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    rule: Loss,
    optimizer: Callable[..., torch.optim.Optimizer],
    learning_rate: float,
    settings: tuple[float, int, int, int],
    rng: np.random.Generator,
) -> tuple[nn.Module, int]:
    """Mini-batch training with early stopping on a part kept aside; the network, and the epoch that was kept."""
    holdout, num_epochs, patience, batch_size = settings
    aside = round(holdout * len(inputs))
    held, kept = inputs[:aside], inputs[aside:]
    held_targets, kept_targets = targets[:aside], targets[aside:]
    steps = optimizer([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
    best, best_epoch, best_state = float("inf"), num_epochs, copy.deepcopy(model.state_dict())
    per_epoch = -(-len(kept) // batch_size)
    for epoch in range(1, num_epochs + 1):
        model.train()
        order = torch.as_tensor(rng.permutation(len(kept)), device=inputs.device)
        for number, index in enumerate(order.split(batch_size)):
            logits = _logits(model, kept[index])
            labels = kept_targets[index].to(logits.dtype)
            progress = ((epoch - 1) * per_epoch + number) / (num_epochs * per_epoch)
            target, weight = rule(torch.softmax(logits.detach(), dim=-1), labels, progress)
            losses = nn.functional.cross_entropy(logits, target, reduction="none")
            steps.zero_grad()
            (losses if weight is None else weight * losses).mean().backward()
            steps.step()
        if not aside:
            continue
        probabilities = _predict(model, held, batch_size).clamp_min(1e-12)
        now = float(-(held_targets.to(probabilities.dtype) * probabilities.log()).sum(-1).mean())
        if now < best:
            best, best_epoch, best_state = now, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= patience:
            break
    if aside and best < float("inf"):
        model.load_state_dict(best_state)
    return model.eval(), best_epoch


def _warn_of_overlap(first: Tensor, second: Tensor) -> None:
    hashes = [{row.tobytes() for row in part.flatten(1).cpu().numpy()} for part in (first, second)]
    if shared := len(hashes[0] & hashes[1]):
        warnings.warn(
            f"{shared} samples occur both among the teacher's and among the student's: the teacher may have memorised "
            "their labels; remove duplicates first",
            UserWarning,
            stacklevel=3,
        )
