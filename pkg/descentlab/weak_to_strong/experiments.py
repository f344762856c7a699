"""The paper's experiments as pure functions of a configuration: no printing, no plotting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from descentlab.weak_to_strong.history import Array
from descentlab.weak_to_strong.lessons import ABUNDANT, Lesson, Setting, some_of, teach, teach_laws, train_teacher
from descentlab.weak_to_strong.models import LinearCNN
from descentlab.weak_to_strong.patches import HardPatches, PatchData


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Runs behind a statement.
    panels : tuple of (num_samples, dim, signal_hard, learning_rate, num_steps)
        The three runs of the first figure.
    transition_seeds, heat_seeds : int
        Runs of a point of the data-scarce transition, and of its heat map.
    heat_samples, heat_signals : tuple
        Grid of its heat map: student's samples, norms of the hard signal.
    sweep : tuple of (num_samples, num_steps)
        Runs of the phase portrait.
    overtraining_samples, overtraining_steps : int
        Size and length of the long run.
    bridge_samples, bridge_steps : int
        Student's samples and steps in the bridge-data ablation.
    beyond_samples : int
        Student's samples in the experiments that go beyond the paper.
    image_samples, image_steps : int
    num_test : int
    """

    num_seeds: int
    panels: tuple[tuple[int, int, float, float, int], ...]
    transition_seeds: int
    heat_seeds: int
    heat_samples: tuple[int, ...]
    heat_signals: tuple[float, ...]
    sweep: tuple[tuple[int, int], ...]
    overtraining_samples: int
    overtraining_steps: int
    bridge_samples: int
    bridge_steps: int
    beyond_samples: int
    image_samples: int
    image_steps: int
    num_test: int

    @property
    def seeds(self) -> list[int]:
        """The seeds of a run that starts at 0."""
        return list(range(self.num_seeds))


SMOKE = Config(
    num_seeds=2,
    panels=((40, 200, 2.5, 0.5, 60), (200, 200, 2.5, 0.5, 60), (1000, 100, 3.0, 0.3, 60)),
    transition_seeds=2,
    heat_seeds=1,
    heat_samples=(25, 50),
    heat_signals=(4.0, 6.0, 8.0),
    sweep=tuple((n, 12) for n in (40, 100, 400, 1000, 2500, 8000)),
    overtraining_samples=200,
    overtraining_steps=400,
    bridge_samples=200,
    bridge_steps=16,
    beyond_samples=200,
    image_samples=100,
    image_steps=20,
    num_test=300,
)
BOOK = Config(
    num_seeds=3,
    panels=((75, 2000, 2.5, 0.5, 200), (2000, 2000, 2.5, 0.5, 200), (20000, 2000, 2.5, 0.5, 60)),
    transition_seeds=4,
    heat_seeds=2,
    heat_samples=(100, 141, 200, 283, 400),
    heat_signals=(3.0, 3.6, 4.3, 5.2, 6.2, 7.4),
    sweep=((40, 200), (100, 200), (400, 200), (1000, 200), (2500, 120), (8000, 80)),
    overtraining_samples=8000,
    overtraining_steps=400,
    bridge_samples=4000,
    bridge_steps=120,
    beyond_samples=3000,
    image_samples=2000,
    image_steps=60,
    num_test=2000,
)
FULL = replace(
    BOOK,
    num_seeds=5,
    transition_seeds=16,
    heat_seeds=8,
    heat_samples=(100, 119, 141, 168, 200, 238, 283, 336, 400),
    heat_signals=tuple(np.round(np.geomspace(3, 7.4, 11), 2).tolist()),
    sweep=tuple((n, 200) for n in (40, 60, 100, 160, 250, 400, 630, 1000, 1600, 2500, 4000, 8000)),
    image_steps=120,
    num_test=5000,
)


def steps_to_log(num_steps: int, every: int = 10) -> list[int]:
    """Even steps up to 40, every tenth after that, and the last."""
    return sorted({*range(0, min(40, num_steps) + 1, 2), *range(40, num_steps + 1, every), num_steps})


# The first figure ---------------------------------------------------------------------------------------------------------


def three_panels(
    config: Config, *, seed: int = 0, few_seeds: int = 8, hard_patches: HardPatches = "same"
) -> dict[int, Lesson]:
    """Lessons by number of samples, from few to many; panels of one law share their teachers and their test samples.

    Forty or a hundred samples are another story in each draw: such panels are run on `few_seeds` seeds, the others on
    ``config.num_seeds``.
    """
    lessons: dict[int, Lesson] = {}
    shared: dict[Setting, tuple[LinearCNN, PatchData]] = {}
    for n, dim, norm, rate, steps in config.panels:
        setting = Setting(dim, norm, rate, hard_patches=hard_patches)
        seeds = range(seed, seed + (few_seeds if n < 100 else config.num_seeds))
        if setting not in shared or len(shared[setting][0].weight) < len(seeds):
            shared[setting] = train_teacher(setting, seeds), setting.data(config.num_test, [2000 + s for s in seeds])
        some, (weak, test) = slice(len(seeds)), shared[setting]
        taught: dict[str, Any] = {"weak": some_of(weak, some), "test": test.of_seed(some)}
        lessons[n] = teach(setting, n, steps, seeds=seeds, record=steps_to_log(steps), **taught)
    return lessons


# From scarce to abundant ------------------------------------------------------------------------------------------------

BOUNDARY = Setting(dim=1000, signal_hard=2.5, learning_rate=0.5, hard_patches="opposite")


def boundary_ratio(setting: Setting, num_samples: int) -> float:
    r""":math:`n\|\nu\|^2/(\sigma_p^2 d)`: growth of the hard signal over growth of a sample's own noise, per step."""
    return num_samples * setting.signal_hard**2 / (setting.noise**2 * setting.dim)


def boundary_sweep(config: Config, *, seeds: Sequence[int], **training: Any) -> dict[int, Lesson]:
    """Lessons by number of samples, all with the same teachers and tests, logged every fourth step from the eighth on."""
    weak = train_teacher(BOUNDARY, seeds)
    test = BOUNDARY.data(config.num_test, [2000 + s for s in seeds])
    return {
        n: teach(
            BOUNDARY,
            n,
            steps,
            seeds=seeds,
            weak=weak,
            record=range(8, steps + 1, 4),
            test=test,
            **training,
        )
        for n, steps in config.sweep
    }


PORTRAIT = {40: 200, 100: 200, 400: 200, 1000: 200, 2500: 120, 8000: 80}
"""Samples, and the step up to which a run is judged."""


def gain_of_stopping(sweep: Mapping[int, Lesson]) -> dict[int, float]:
    """Best test accuracy over time minus that at the last step, by number of samples; means over seeds."""
    tests = {n: lesson.history.test_accuracy for n, lesson in sweep.items()}
    return {n: float((test.max(-1) - test[:, -1]).mean()) for n, test in tests.items()}


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
    config: Config, hard_patches: HardPatches, *, seeds: Sequence[int], **training: Any
) -> dict[float, Lesson]:
    """Lessons by the fraction of both-signal samples, taken from the easy ones."""
    settings = [replace(ABUNDANT, hard_patches=hard_patches, probabilities=(0.7 - p, 0.3, p)) for p in BRIDGES]
    arguments: dict[str, Any] = {"record": range(8, config.bridge_steps + 1, 8), "num_test": config.num_test}
    arguments |= {"seeds": seeds, **training}
    lessons = teach_laws(settings, config.bridge_samples, config.bridge_steps, **arguments)
    return dict(zip(BRIDGES, lessons, strict=True))


def best_hard(lesson: Lesson) -> NDArray[np.float64]:
    """Best accuracy on hard-only data over time, shape (seeds,)."""
    return np.asarray(lesson.history.test_by_kind[..., 1].max(-1))
