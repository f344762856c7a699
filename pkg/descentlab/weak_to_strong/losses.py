r"""What a student is asked to fit: targets and weights of the samples, given its own predictions.

The gradient of the cross-entropy with respect to the logits is prediction minus target; so a loss is here a rule that
turns pseudo-labels into targets, and nothing else distinguishes the training loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor | None]]
"""From class probabilities (..., n, K), pseudo-labels (..., n, K) and progress in [0, 1] to targets of the same shape and
weights (..., n) of the samples, or None for ones."""


@dataclass(frozen=True)
class CrossEntropy:
    """The pseudo-labels as they are."""

    def __call__(self, predicted: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor | None]:
        return labels, None


@dataclass(frozen=True)
class LogConf:
    r"""The log-confidence loss of Burns et al. (2023): targets mixed with the student's own hard predictions.

    The targets are :math:`(1 - c)\hat y + c\,\hat f`, where :math:`\hat f` is the student's prediction as a hard label; for
    two classes it is thresholded so that the student predicts the classes as often as the pseudo-labels do. The coefficient
    c rises linearly to `coefficient` over the first `warmup` of the steps. At a sample whose pseudo-label is wrong and whose
    prediction is right, the target stays on the right side of ½ if and only if c > ½.

    Attributes
    ----------
    coefficient, warmup : float
        In [0, 1].
    """

    coefficient: float = 0.5
    warmup: float = 0.1

    def __post_init__(self) -> None:
        _check_unit(coefficient=self.coefficient, warmup=self.warmup)

    def __call__(self, predicted: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor | None]:
        c = self.coefficient * (min(1.0, progress / self.warmup) if self.warmup else 1.0)
        if predicted.shape[-1] == 2:
            one = predicted[..., 1]
            rank = _ranks(one)
            num_zeros = (labels[..., 0].mean(-1, keepdim=True) * one.shape[-1]).round()
            hard = (rank >= num_zeros).to(predicted.dtype)
            own = torch.stack([1 - hard, hard], dim=-1)
        else:
            own = torch.nn.functional.one_hot(predicted.argmax(-1), predicted.shape[-1]).to(predicted.dtype)
        return (1 - c) * labels + c * own, None


@dataclass(frozen=True)
class SmallLoss:
    """Small-loss selection: after the warm-up only the fraction `keep` of samples with the smallest loss counts.

    Attributes
    ----------
    keep, warmup : float
        In [0, 1].
    """

    keep: float
    warmup: float = 0.1

    def __post_init__(self) -> None:
        _check_unit(keep=self.keep, warmup=self.warmup)

    def __call__(self, predicted: Tensor, labels: Tensor, progress: float) -> tuple[Tensor, Tensor | None]:
        if progress < self.warmup:
            return labels, None
        likelihood = (predicted * labels).sum(-1)
        rank = _ranks(-likelihood)
        return labels, (rank < self.keep * rank.shape[-1]).to(predicted.dtype)


def _ranks(values: Tensor) -> Tensor:
    """Place of each value in rising order along the last axis."""
    order = values.argsort(-1)
    places = torch.arange(values.shape[-1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def as_loss(loss: str | Loss) -> Loss:
    """A loss by name, ``"xent"`` or ``"logconf"``, or itself."""
    if callable(loss):
        return loss
    named: dict[str, Loss] = {"xent": CrossEntropy(), "logconf": LogConf()}
    if loss not in named:
        raise ValueError(f"loss={loss!r}; allowed are 'xent', 'logconf' and a function such as SmallLoss(keep=0.85)")
    return named[loss]


def _check_unit(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} must be in [0, 1]")
