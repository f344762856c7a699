"""A lesson: a teacher trained on true labels, and a student trained on the labels that it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from descentlab.weak_to_strong.history import Array, History, joined
from descentlab.weak_to_strong.models import LinearCNN, ReluCNN
from descentlab.weak_to_strong.patches import NUM_SIGNALS, HardPatches, PatchData, ideal_pseudo_labels
from descentlab.weak_to_strong.protocol import Accuracy, evaluate, pseudo_label
from descentlab.weak_to_strong.training import train_strong, train_weak

Labels = Literal["teacher", "coin", "true", "shuffled"]
KINDS_PAPER = (0.2, 0.3, 0.5)
_MEMORY = 2**26  # numbers in a batch of data sets; beyond it seeds run one after the other


@dataclass(frozen=True)
class Setting:
    """The law of the data, and how the student starts and steps."""

    dim: int
    signal_hard: float
    learning_rate: float
    signal_easy: float = 4.0
    noise: float = 1.0
    probabilities: tuple[float, float, float] = KINDS_PAPER
    hard_patches: HardPatches = "same"
    num_filters: int = 10
    init_scale: float = 0.01
    weak_samples: int = 2000
    weak_learning_rate: float = 0.05
    weak_steps: int = 300

    @property
    def law(self) -> dict[str, Any]:
        """Signals and kinds, as arguments of `PatchData`."""
        names = ("signal_easy", "signal_hard", "probabilities", "hard_patches")
        return {name: getattr(self, name) for name in names}

    def data(self, num_samples: int, seed: Any, dtype: torch.dtype = torch.float32) -> PatchData:
        """Samples of this law."""
        return PatchData(num_samples, self.dim, noise=self.noise, seed=seed, dtype=dtype, **self.law)


ABUNDANT = Setting(dim=400, signal_hard=3.0, learning_rate=0.3)
"""Samples enough that signals are learned before noise: with 8000 of them n‖ν‖²/(σ²d) = 180."""


BEYOND = replace(ABUNDANT, dim=150)
"""The same ratio with 3000 samples."""


@dataclass(frozen=True)
class Lesson:
    """A teacher and what its student did.

    Attributes
    ----------
    teacher : Accuracy
        Arrays over seeds.
    flip_rate : array, shape (seeds,)
        Fraction of the student's labels that are wrong.
    history : History
        Of the student, with a leading axis of seeds.
    """

    setting: Setting
    teacher: Accuracy
    flip_rate: Array
    history: History


def teach(
    setting: Setting,
    num_samples: int,
    num_steps: int,
    *,
    seeds: Sequence[int],
    record: Sequence[int] | None = None,
    num_test: int = 2000,
    labels: Labels = "teacher",
    flip_probability: float = 0.5,
    weak: LinearCNN | None = None,
    test: PatchData | None = None,
    **training: Any,
) -> Lesson:
    """Train a teacher on true labels, let it label `num_samples` fresh samples, and train a student on those labels.

    Parameters
    ----------
    setting : Setting
    num_samples, num_steps : int
        Of the student.
    seeds : sequence of int
        One teacher and one student each, trained side by side.
    record : sequence of int, optional
        Steps to log.
    num_test : int
    labels : {"teacher", "coin", "true", "shuffled"}
        What the student is trained on: the teacher's labels; those of a perfect linear teacher, who tosses a coin on
        hard-only samples; the truth; or the teacher's labels in random order, which say nothing.
    flip_probability : float
        Of the coin.
    weak : LinearCNN, optional
        Trained already, with a batch axis for the seeds.
    test : PatchData, optional
        Drawn already, likewise; `num_test` is not used.
    **training
        Passed to `train_strong`.
    """
    weak = train_teacher(setting, seeds) if weak is None else weak
    if num_samples * setting.dim * len(seeds) > _MEMORY and len(seeds) > 1:
        one: dict[str, Any] = {"record": record, "num_test": num_test, "labels": labels, **training}
        one["flip_probability"] = flip_probability
        lessons = []
        for i, s in enumerate(seeds):
            at = slice(i, i + 1)
            one["test"] = None if test is None else test.of_seed(at)
            lessons.append(teach(setting, num_samples, num_steps, seeds=[s], weak=some_of(weak, at), **one))
        return _stack(lessons)
    roles = [[1000 * role + seed for seed in seeds] for role in range(4)]
    data = setting.data(num_samples, roles[1])
    test = setting.data(num_test, roles[2]) if test is None else test
    given = _labels(
        labels,
        weak,
        data,
        seeds[0],
        lambda: ideal_pseudo_labels(data, flip_probability=flip_probability, seed=seeds[0]),
    )
    model = ReluCNN(
        setting.dim, setting.num_filters, init_scale=setting.init_scale, seed=roles[3], dtype=data.rows.dtype
    )
    arguments = {"learning_rate": setting.learning_rate, "num_steps": num_steps, "record": record, "test": test}
    _, history = train_strong(model, data, given, **(arguments | training))
    flips = (given != data.labels).double().mean(-1).numpy()
    return Lesson(setting, evaluate(weak, test), flips, history)


def teach_laws(
    settings: Sequence[Setting],
    num_samples: int,
    num_steps: int,
    *,
    seeds: Sequence[int],
    record: Sequence[int] | None = None,
    num_test: int = 2000,
    labels: Labels = "teacher",
    flip_probability: float = 0.5,
    **training: Any,
) -> list[Lesson]:
    """`teach` for settings that differ in signals and kinds only: a lesson each.

    With the same seed their noise is the same, so that they are trained side by side, and it is read once for all.
    """
    first, lessons = settings[0], []
    laws, bare = [setting.law for setting in settings], replace(first, dim=NUM_SIGNALS + 1)
    coins = {"flip_probability": flip_probability, "seed": seeds[0]}
    for i, s in enumerate(seeds):

        def draw(n: int, seed: int) -> PatchData:
            return first.data(n, seed).under_laws(laws, seed)

        def tossed(i: int = i) -> Tensor:
            students = [1000 + seed for seed in seeds]
            drawn = [replace(bare, **law).data(num_samples, students) for law in laws]
            return torch.stack([ideal_pseudo_labels(data, **coins)[i] for data in drawn])  # type: ignore[arg-type]

        weak, _ = train_weak(
            draw(first.weak_samples, s), learning_rate=first.weak_learning_rate, num_steps=first.weak_steps
        )
        data, test = draw(num_samples, 1000 + s), draw(num_test, 2000 + s)
        given = _labels(labels, weak, data, seeds[0], tossed)
        start = ReluCNN(first.dim, first.num_filters, init_scale=first.init_scale, seed=3000 + s, dtype=data.rows.dtype)
        arguments = {"learning_rate": first.learning_rate, "num_steps": num_steps, "record": record, "test": test}
        _, history = train_strong(start, data, given, **(arguments | training))
        flips, scores = (given != data.labels).double().mean(-1).numpy(), evaluate(weak, test)
        one = []
        for law, setting in enumerate(settings):
            teacher = Accuracy(*(getattr(scores, f.name)[law : law + 1] for f in fields(Accuracy)))
            one.append(Lesson(setting, teacher, flips[law : law + 1], history.of_batch(slice(law, law + 1))))
        lessons.append(one)
    return [_stack(of_law) for of_law in zip(*lessons, strict=True)]


def _labels(labels: str, weak: LinearCNN, data: PatchData, seed: int, coin: Callable[[], Tensor]) -> Tensor:
    """What the student is trained on."""
    taught = {
        "teacher": lambda: pseudo_label(weak, data),
        "coin": coin,
        "true": lambda: data.labels,
        "shuffled": lambda: pseudo_label(weak, data)[..., torch.as_tensor(_permutation(data.num_samples, seed))],
    }
    if labels not in taught:
        raise ValueError(f"labels={labels!r}; allowed are {', '.join(map(repr, taught))}")
    return taught[labels]()


def train_teacher(setting: Setting, seeds: Sequence[int]) -> LinearCNN:
    """Linear models trained on true labels, with a batch axis for the seeds."""
    data = setting.data(setting.weak_samples, list(seeds))
    return train_weak(data, learning_rate=setting.weak_learning_rate, num_steps=setting.weak_steps)[0]


def _permutation(size: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 31]).permutation(size)


def _stack(lessons: Sequence[Lesson]) -> Lesson:
    """Lessons of one seed each as one."""
    teachers = [lesson.teacher for lesson in lessons]
    teacher = Accuracy(*(np.concatenate([getattr(part, f.name) for part in teachers]) for f in fields(Accuracy)))
    flips = np.concatenate([lesson.flip_rate for lesson in lessons])
    return Lesson(lessons[0].setting, teacher, flips, joined([lesson.history for lesson in lessons]))


def some_of(weak: LinearCNN, index: slice) -> LinearCNN:
    """Some of a batch of teachers."""
    part = LinearCNN(weak.weight.shape[-1], batch=(0,), dtype=weak.weight.dtype)
    part.weight, part.seen = torch.nn.Parameter(weak.weight.detach()[index]), weak.seen
    return part
