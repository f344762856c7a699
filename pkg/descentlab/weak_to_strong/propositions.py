"""What a linear model can do with hard signals, and what a ReLU network can (Propositions 2.1 and 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from descentlab.weak_to_strong.history import Array
from descentlab.weak_to_strong.lessons import ABUNDANT, Setting, train_teacher
from descentlab.weak_to_strong.models import ideal_student
from descentlab.weak_to_strong.patches import HardPatches
from descentlab.weak_to_strong.protocol import Accuracy, evaluate, pseudo_label
from descentlab.weak_to_strong.training import train_weak


def linear_on_hard(
    seed: int = 0,
    *,
    num_samples: int = 40_000,
    dim: int = 200,
    num_random: int = 5,
    kind: int = 1,
    hard_patches: HardPatches = "same",
) -> Array:
    """Accuracy on hard-only data of random linear models and, last, of a trained one; shape (num_random + 1,).

    `kind` = 0 or 2 asks for easy-only or both-signal data instead.
    """
    setting = replace(ABUNDANT, dim=dim, hard_patches=hard_patches)
    weak, _ = train_weak(setting.data(2000, seed))
    test = replace(setting, probabilities=tuple(np.eye(3)[kind])).data(num_samples, seed + 1)  # type: ignore[arg-type]
    scores = []
    rng = np.random.default_rng([seed, 5])
    for weights in [*rng.standard_normal((num_random, dim)), None]:
        if weights is not None:
            with torch.no_grad():
                model = type(weak)(dim, dtype=torch.float32)
                model.weight.copy_(torch.as_tensor(weights))
        scores.append(evaluate(model if weights is not None else weak, test).overall)
    return np.array(scores)


@dataclass(frozen=True)
class TeacherReport:
    """Teachers by seed: accuracy by kind, flip rate, and the fraction of flips that sit on hard-only data."""

    accuracy: Accuracy
    flip_rate: Array
    flips_on_hard: Array

    def by_kind(self) -> Array:
        """Shape (seeds, 3)."""
        return np.stack([self.accuracy.easy, self.accuracy.hard, self.accuracy.both], axis=-1)


def teacher_report(seeds: Sequence[int], *, setting: Setting = ABUNDANT, num_test: int = 10_000) -> TeacherReport:
    """Train teachers and see what they get wrong."""
    weak = train_teacher(setting, seeds)
    test = setting.data(num_test, [1000 + seed for seed in seeds])
    flips = pseudo_label(weak, test) != test.labels
    on_hard = (flips & (test.kinds == 1)).sum(-1) / flips.sum(-1)
    return TeacherReport(evaluate(weak, test), flips.double().mean(-1).numpy(), on_hard.double().numpy())


def ideal_accuracy(seed: int = 0, *, hard_patches: HardPatches = "same", num_samples: int = 20_000) -> float:
    """Accuracy of the network whose filters are the signals."""
    data = replace(ABUNDANT, hard_patches=hard_patches).data(num_samples, seed)
    return float(evaluate(ideal_student(data), data).overall)
