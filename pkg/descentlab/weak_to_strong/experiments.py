"""The paper's experiments as pure functions of a configuration: no printing, no plotting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from descentlab.weak_to_strong.history import Array, History
from descentlab.weak_to_strong.models import LinearCNN, ReluCNN, ideal_student
from descentlab.weak_to_strong.patches import HardPatches, PatchData, ideal_pseudo_labels
from descentlab.weak_to_strong.protocol import Accuracy, evaluate, pseudo_label
from descentlab.weak_to_strong.training import train_strong, train_weak

Labels = Literal["teacher", "coin", "true", "shuffled"]
KINDS_PAPER = (0.2, 0.3, 0.5)
_MEMORY = 2**26  # numbers in a batch of data sets; beyond it seeds run one after the other


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Runs behind a statement.
    panels : tuple of (num_samples, dim, signal_hard, learning_rate, num_steps)
        The three runs of the first figure.
    transition_seeds : int
        Runs of a point of the data-scarce transition.
    heat_samples, heat_signals : tuple
        Grid of its heat map: student's samples, norms of the hard signal.
    sweep : tuple of (num_samples, num_steps)
        Runs of the phase portrait.
    overtraining_samples, overtraining_steps : int
        Size and length of the long run.
    bridge_samples : int
        Student's samples in the bridge-data ablation.
    beyond_samples : int
        Student's samples in the experiments that go beyond the paper.
    image_samples, image_steps : int
    num_test : int
    """

    num_seeds: int
    panels: tuple[tuple[int, int, float, float, int], ...]
    transition_seeds: int
    heat_samples: tuple[int, ...]
    heat_signals: tuple[float, ...]
    sweep: tuple[tuple[int, int], ...]
    overtraining_samples: int
    overtraining_steps: int
    bridge_samples: int
    beyond_samples: int
    image_samples: int
    image_steps: int
    num_test: int


SMOKE = Config(
    num_seeds=2,
    panels=((40, 1000, 2.5, 0.5, 100), (400, 1000, 2.5, 0.5, 100), (1500, 200, 3.0, 0.3, 100)),
    transition_seeds=2,
    heat_samples=(50, 100),
    heat_signals=(4.0, 6.0, 8.0),
    sweep=tuple((n, 12) for n in (40, 100, 400, 1000, 2500, 8000)),
    overtraining_samples=1000,
    overtraining_steps=400,
    bridge_samples=500,
    beyond_samples=1000,
    image_samples=300,
    image_steps=60,
    num_test=500,
)
BOOK = Config(
    num_seeds=3,
    panels=((75, 2000, 2.5, 0.5, 200), (2000, 2000, 2.5, 0.5, 200), (20000, 2000, 2.5, 0.5, 60)),
    transition_seeds=4,
    heat_samples=(100, 141, 200, 283, 400),
    heat_signals=(3.0, 3.6, 4.3, 5.2, 6.2, 7.4),
    sweep=((40, 200), (100, 200), (400, 200), (1000, 200), (2500, 120), (8000, 80)),
    overtraining_samples=8000,
    overtraining_steps=400,
    bridge_samples=4000,
    beyond_samples=3000,
    image_samples=2000,
    image_steps=60,
    num_test=2000,
)
FULL = replace(
    BOOK,
    num_seeds=10,
    transition_seeds=16,
    heat_samples=(100, 119, 141, 168, 200, 238, 283, 336, 400),
    heat_signals=tuple(np.round(np.geomspace(3, 7.4, 11), 2).tolist()),
    sweep=tuple((n, 200) for n in (40, 60, 100, 160, 250, 400, 630, 1000, 1600, 2500, 4000, 8000)),
    image_steps=120,
    num_test=5000,
)


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

    def data(self, num_samples: int, seed: Any, dtype: torch.dtype = torch.float32) -> PatchData:
        """Samples of this law."""
        return PatchData(
            num_samples,
            self.dim,
            signal_easy=self.signal_easy,
            signal_hard=self.signal_hard,
            noise=self.noise,
            probabilities=self.probabilities,
            hard_patches=self.hard_patches,
            seed=seed,
            dtype=dtype,
        )


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
    weak: LinearCNN | None = None,
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
    weak : LinearCNN, optional
        Trained already, with a batch axis for the seeds.
    **training
        Passed to `train_strong`.
    """
    if num_samples * setting.dim * len(seeds) > _MEMORY and len(seeds) > 1:
        one = {"record": record, "num_test": num_test, "labels": labels, **training}
        return _stack([teach(setting, num_samples, num_steps, seeds=[seed], **one) for seed in seeds])
    roles = [[1000 * role + seed for seed in seeds] for role in range(4)]
    weak = train_teacher(setting, seeds) if weak is None else weak
    data, test = setting.data(num_samples, roles[1]), setting.data(num_test, roles[2])
    taught = {
        "teacher": lambda: pseudo_label(weak, data),
        "coin": lambda: ideal_pseudo_labels(data, seed=seeds[0]),
        "true": lambda: data.labels,
        "shuffled": lambda: pseudo_label(weak, data)[..., torch.as_tensor(_permutation(num_samples, seeds[0]))],
    }
    if labels not in taught:
        raise ValueError(f"labels={labels!r}; allowed are {', '.join(map(repr, taught))}")
    given = taught[labels]()
    model = ReluCNN(
        setting.dim, setting.num_filters, init_scale=setting.init_scale, seed=roles[3], dtype=data.rows.dtype
    )
    arguments = {"learning_rate": setting.learning_rate, "num_steps": num_steps, "record": record, "test": test}
    _, history = train_strong(model, data, given, **(arguments | training))
    flips = (given != data.labels).double().mean(-1).numpy()
    return Lesson(setting, evaluate(weak, test), flips, history)


def train_teacher(setting: Setting, seeds: Sequence[int]) -> LinearCNN:
    """Linear models trained on true labels, with a batch axis for the seeds."""
    data = setting.data(setting.weak_samples, list(seeds))
    return train_weak(data, learning_rate=setting.weak_learning_rate, num_steps=setting.weak_steps)[0]


def _permutation(size: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 31]).permutation(size)


def _stack(lessons: Sequence[Lesson]) -> Lesson:
    """Lessons of one seed each as one."""

    def joined(name: str, of: Sequence[Any]) -> Any:
        parts = [getattr(part, name) for part in of]
        return parts[0] if name == "steps" or parts[0] is None else np.concatenate(parts)

    histories, teachers = [lesson.history for lesson in lessons], [lesson.teacher for lesson in lessons]
    history = History(**{f.name: joined(f.name, histories) for f in fields(History)})
    teacher = Accuracy(*(joined(f.name, teachers) for f in fields(Accuracy)))
    return Lesson(lessons[0].setting, teacher, joined("flip_rate", lessons), history)


def steps_to_log(num_steps: int, every: int = 10) -> list[int]:
    """Even steps up to 40, every tenth after that, and the last."""
    return sorted({*range(0, min(40, num_steps) + 1, 2), *range(40, num_steps + 1, every), num_steps})


# What a linear model can do, and what a ReLU network can ---------------------------------------------------------------


def linear_on_hard(
    seed: int = 0, *, num_samples: int = 40_000, dim: int = 200, num_random: int = 5, kind: int = 1
) -> Array:
    """Accuracy on hard-only data of random linear models and, last, of a trained one; shape (num_random + 1,).

    `kind` = 0 or 2 asks for easy-only or both-signal data instead.
    """
    setting = replace(ABUNDANT, dim=dim)
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


# From scarce to abundant ------------------------------------------------------------------------------------------------

BOUNDARY = Setting(dim=1000, signal_hard=2.5, learning_rate=0.5, hard_patches="opposite")


def boundary_ratio(setting: Setting, num_samples: int) -> float:
    r""":math:`n\|\nu\|^2/(\sigma_p^2 d)`: growth of the hard signal over growth of a sample's own noise, per step."""
    return num_samples * setting.signal_hard**2 / (setting.noise**2 * setting.dim)


def boundary_sweep(config: Config, *, seeds: Sequence[int], **training: Any) -> dict[int, Lesson]:
    """Lessons by number of samples, all with the same teachers, logged every fourth step from the eighth on."""
    weak = train_teacher(BOUNDARY, seeds)
    return {
        n: teach(
            BOUNDARY,
            n,
            steps,
            seeds=seeds,
            weak=weak,
            record=range(8, steps + 1, 4),
            num_test=config.num_test,
            **training,
        )
        for n, steps in config.sweep
    }


PORTRAIT = {40: 200, 100: 200, 400: 200, 1000: 200, 2500: 120, 8000: 80}
"""Samples, and the step up to which a run is judged."""


@dataclass(frozen=True)
class Portrait:
    """The runs of `PORTRAIT` in numbers; arrays of shape (6, seeds) but for `ratio`, shape (6,).

    Attributes
    ----------
    ratio : array
        See `boundary_ratio`.
    corrected : array
        Largest corrected fraction over time.
    best, final : array
        Test accuracy, largest over time and at the end.
    teacher : array
    """

    ratio: Array
    corrected: Array
    best: Array
    final: Array
    teacher: Array


def portrait(sweep: Mapping[int, Lesson]) -> Portrait:
    """Numbers of a sweep that has the samples of `PORTRAIT`."""
    rows = []
    for n, until in PORTRAIT.items():
        h = sweep[n].history
        early = h.steps <= until
        test = h.test_accuracy[:, early]
        rows.append((h.corrected[:, early].max(-1), test.max(-1), test[:, -1], sweep[n].teacher.overall))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Portrait(np.array([boundary_ratio(sweep[n].setting, n) for n in PORTRAIT]), *columns)


# Bridge data --------------------------------------------------------------------------------------------------------------

BRIDGES = (0.05, 0.1, 0.2, 0.4, 0.6)


def bridge_ablation(
    config: Config, hard_patches: HardPatches, *, seeds: Sequence[int], num_steps: int = 120, **training: Any
) -> dict[float, Lesson]:
    """Lessons by the fraction of both-signal samples, taken from the easy ones."""
    return {
        p: teach(
            replace(ABUNDANT, hard_patches=hard_patches, probabilities=(0.7 - p, 0.3, p)),
            config.bridge_samples,
            num_steps,
            seeds=seeds,
            record=range(8, num_steps + 1, 8),
            num_test=config.num_test,
            **training,
        )
        for p in BRIDGES
    }


def best_hard(lesson: Lesson) -> NDArray[np.float64]:
    """Best accuracy on hard-only data over time, shape (seeds,)."""
    return np.asarray(lesson.history.test_by_kind[..., 1].max(-1))
