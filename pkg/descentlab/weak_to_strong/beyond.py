"""Experiments that are not in the paper: images, stopping without labels, other losses and optimizers, chains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from descentlab import data as datasets
from descentlab.weak_to_strong.experiments import Config
from descentlab.weak_to_strong.history import Array, History
from descentlab.weak_to_strong.lessons import ABUNDANT, BEYOND, Setting, train_teacher
from descentlab.weak_to_strong.models import ReluCNN
from descentlab.weak_to_strong.patches import HardPatches, PatchData, ideal_pseudo_labels
from descentlab.weak_to_strong.protocol import Accuracy, evaluate, pseudo_label
from descentlab.weak_to_strong.training import train_strong, train_weak

IMAGE_CLASSES = {"easy": (0, 5), "hard": (1, 7)}


def image_patches(
    name: str,
    num_samples: int,
    *,
    hard_patches: HardPatches = "opposite",
    probabilities: Sequence[float] = (0.2, 0.3, 0.5),
    test: bool = False,
    seed: int = 0,
) -> PatchData:
    """Signals made of images: easy is class 0 (y = 1) against class 5, hard is a signed image of class 1 against class 7.

    An image minus the training mean, of norm 1.5, is a signal patch; the noise patch is normal of expected norm one.

    Parameters
    ----------
    name : str
        A data set of `descentlab.data`, such as ``"fashion-mnist-12k"``.
    num_samples : int
    hard_patches : {"same", "opposite"}
        The signs of the two images, different ones, of a hard-only sample.
    probabilities : (float, float, float)
    test : bool
        Draw from the test images.
    seed : int
    """
    images, targets = _signals(name)[test]
    layout = PatchData(num_samples, 5, probabilities=probabilities, hard_patches=hard_patches, seed=seed)
    labels, kinds = layout.labels.numpy(), layout.kinds.numpy()
    rng = np.random.default_rng([seed, 17])

    def draw(classes: tuple[int, int]) -> torch.Tensor:
        pools = [np.flatnonzero(targets == c) for c in classes]
        picks = [rng.choice(pool, num_samples) for pool in pools]
        return images[torch.as_tensor(np.where(labels > 0, *picks))]

    sign = torch.as_tensor(rng.choice([-1.0, 1.0], num_samples), dtype=images.dtype)[:, None]
    turn = -1.0 if hard_patches == "opposite" else 1.0
    easy, hard = [draw(IMAGE_CLASSES["easy"]) for _ in range(2)], [draw(IMAGE_CLASSES["hard"]) for _ in range(2)]
    is_hard, is_easy = (torch.as_tensor(kinds == k)[:, None] for k in (1, 0))
    size = images.shape[1]
    patches = images.new_empty(num_samples, 3, size)
    patches[:, 0] = torch.where(is_hard, sign * hard[0], easy[0])
    patches[:, 1] = torch.where(is_easy, easy[1], torch.where(is_hard, turn * sign, sign) * hard[1])
    noise = torch.as_tensor(rng.standard_normal((num_samples, size), dtype=np.float32))
    torch.div(noise, size**0.5, out=patches[:, 2])
    return PatchData.from_arrays(patches, labels, kinds)


@cache
def _signals(name: str) -> tuple[tuple[torch.Tensor, NDArray[np.int64]], tuple[torch.Tensor, NDArray[np.int64]]]:
    """Training and test images of the four classes as patches, shape (n, d), and their classes."""
    source = datasets.load(name)
    mean, classes = source.inputs.mean(0), torch.tensor(sorted(sum(IMAGE_CLASSES.values(), ())))

    def patches(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, NDArray[np.int64]]:
        used = torch.isin(targets, classes)
        images = (inputs[used] - mean).flatten(1)
        return 1.5 * images / images.norm(dim=1, keepdim=True), targets[used].numpy()

    return patches(source.inputs, source.targets), patches(source.test_inputs, source.test_targets)


@dataclass(frozen=True)
class ImageLesson:
    """Teacher, student by step, and the student's network trained on true labels, for one seed."""

    teacher: Accuracy
    student: History
    ceiling: History


def image_lesson(
    config: Config,
    name: str,
    hard_patches: HardPatches,
    *,
    seed: int,
    with_ceiling: bool = True,
    shuffled: bool = False,
) -> ImageLesson:
    """The lesson on images; `shuffled` permutes the student's labels."""
    sizes = (2000, config.image_samples, config.num_test)
    weak_data, data, test = (
        image_patches(name, n, hard_patches=hard_patches, test=role == 2, seed=10 * seed + role)
        for role, n in enumerate(sizes)
    )
    weak, _ = train_weak(weak_data, learning_rate=5.0, num_steps=300)
    model = ReluCNN(data.dim, 20, init_scale=0.01, seed=seed, dtype=torch.float32)
    arguments = {
        "learning_rate": 5.0,
        "num_steps": config.image_steps,
        "record": range(0, config.image_steps + 1, 10),
        "test": test,
    }
    labels = pseudo_label(weak, data)
    if shuffled:
        labels = labels[torch.as_tensor(np.random.default_rng([seed, 19]).permutation(data.num_samples))]
    given = torch.stack([labels, data.labels] if with_ceiling else [labels])  # side by side: the data are read once
    _, both = train_strong(model, data.repeated(len(given)), given, **arguments)  # type: ignore[arg-type]
    student, ceiling = both.of_batch(0), both.of_batch(-1)
    return ImageLesson(evaluate(weak, test), student, ceiling)


# When to stop, without labels ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stopping:
    """Signals that are observable without true labels, and the accuracy that they are meant to find.

    Attributes
    ----------
    steps : array, shape (k,)
    test_accuracy : array, shape (seeds, k)
        Of the first student.
    disagreement : array, shape (seeds, k)
        Fraction of unlabelled samples on which two students, trained on disjoint halves, disagree.
    held_out : array, shape (seeds, k)
        Agreement with the teacher's labels on samples kept aside.
    held_out_on_hard : array, shape (seeds, k)
        The same on hard-only samples; nobody could compute it, but it shows why the former is blind.
    loss : array, shape (seeds, k)
    """

    steps: Array
    test_accuracy: Array
    disagreement: Array
    held_out: Array
    held_out_on_hard: Array
    loss: Array

    def chosen(self, rule: str) -> NDArray[np.int64]:
        """Index of the step that a rule stops at, by seed.

        ``"disagreement"``: where the two students agree best; ``"held out"``: where the agreement with held-out
        pseudo-labels is best; ``"loss curvature"``: where the training loss, over the logarithm of time, bends most;
        ``"last"``: the end.
        """
        if rule == "last":
            return np.full(len(self.loss), len(self.steps) - 1)
        if rule == "disagreement":
            return np.asarray(self.disagreement.argmin(-1))
        if rule == "held out":
            return np.asarray(self.held_out.argmax(-1))
        if rule != "loss curvature":
            raise ValueError(f"rule={rule!r}; allowed are 'disagreement', 'held out', 'loss curvature', 'last'")
        time = np.log(np.asarray(self.steps, dtype=float))
        return np.asarray(np.gradient(np.gradient(self.loss, time, axis=-1), time, axis=-1)[:, 1:-1].argmax(-1) + 1)

    def regret(self, rule: str) -> Array:
        """Best test accuracy over time minus that at the chosen step, by seed."""
        at = np.take_along_axis(self.test_accuracy, self.chosen(rule)[:, None], -1)[:, 0]
        return np.asarray(self.test_accuracy.max(-1) - at)


def stopping(config: Config, *, seeds: Sequence[int], setting: Setting = BEYOND, coin_flips: bool = False) -> Stopping:
    """Train two students on disjoint halves of the pseudo-labelled samples and log what each rule looks at.

    With `coin_flips` the labels are those of a perfect linear teacher, whose errors have nothing to do with the noise.
    """
    half, num_steps = config.beyond_samples // 2, config.overtraining_steps
    weak = train_teacher(setting, seeds)
    data = setting.data(2 * half, [1000 + seed for seed in seeds])
    test = setting.data(config.num_test, [2000 + seed for seed in seeds])
    labels, kept = (
        ideal_pseudo_labels(part, seed=seeds[0] + i) if coin_flips else pseudo_label(weak, part)
        for i, part in enumerate((data, test))
    )
    aside = kept.numpy()[:, None]
    record = range(8, num_steps + 1, 8)
    runs = []
    for number in (0, 1):
        part = slice(half, None) if number else slice(half)
        start = ReluCNN(
            setting.dim, setting.num_filters, seed=[3000 + 100 * number + s for s in seeds], dtype=torch.float32
        )
        runs.append(
            train_strong(
                start,
                data.subset(part),
                labels[..., part],
                learning_rate=setting.learning_rate,
                num_steps=num_steps,
                record=record,
                test=test,
                keep_predictions=True,
            )[1]
        )
    first, second = (run.predictions for run in runs)
    assert first is not None and second is not None
    agrees, hard = first == aside, (test.kinds == 1).numpy()[:, None]
    return Stopping(
        np.array(record, dtype=float),
        runs[0].test_accuracy,
        (first != second).mean(-1),
        agrees.mean(-1),
        (agrees & hard).sum(-1) / hard.sum(-1),
        runs[0].loss,
    )


# A chain of students ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """Accuracy of the labels that the second student gets, and its history; arrays over seeds."""

    label_accuracy: Array
    history: History


def chain(config: Config, *, seeds: Sequence[int], stop: int, setting: Setting = BEYOND) -> Chain:
    """A student, stopped after `stop` steps, labels fresh samples for a second student, which trains to the end."""
    weak = train_teacher(setting, seeds)
    n, rate = config.beyond_samples, setting.learning_rate
    data, fresh = (setting.data(n, [1000 * role + seed for seed in seeds]) for role in (1, 4))
    test = setting.data(config.num_test, [2000 + seed for seed in seeds])
    starts = [
        ReluCNN(setting.dim, setting.num_filters, seed=[r + s for s in seeds], dtype=torch.float32)
        for r in (3000, 5000)
    ]
    first, _ = train_strong(
        starts[0], data, pseudo_label(weak, data), learning_rate=rate, num_steps=stop, record=[stop]
    )
    labels = pseudo_label(first, fresh)
    num_steps = config.overtraining_steps
    record = range(10, num_steps + 1, 10)
    _, history = train_strong(
        starts[1], fresh, labels, learning_rate=rate, num_steps=num_steps, record=record, test=test
    )
    return Chain((labels == fresh.labels).double().mean(-1).numpy(), history)


# The factor 1/m ---------------------------------------------------------------------------------------------------------


def output_factor_gap(seed: int = 0, *, num_steps: int = 60, rescale: bool = True) -> float:
    r"""Largest difference of outputs between the network with 1/m and the one without, after training.

    ReLU is homogeneous: without the factor, a start smaller by m and a step smaller by m² give the same outputs. With
    `rescale` False the step is left as it is.
    """
    setting = replace(ABUNDANT, dim=100)
    data = setting.data(500, seed, torch.float64)
    weak, _ = train_weak(setting.data(500, seed + 1, torch.float64))
    labels, m = pseudo_label(weak, data), setting.num_filters
    ends = []
    for average in (True, False):
        scale = 1 if average or not rescale else m
        start = ReluCNN(100, m, init_scale=0.01 / (1 if average else m), average=average, seed=seed)
        end, _ = train_strong(
            start, data, labels, learning_rate=setting.learning_rate / scale**2, num_steps=num_steps, record=[num_steps]
        )
        with torch.no_grad():
            ends.append(end(data.patches))
    return float((ends[0] - ends[1]).abs().max())
