"""The experiments as functions of a configuration and a seed: no printing, no plotting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from descentlab import data, networks, training
from descentlab.dataset_pruning import scores as scoring
from descentlab.dataset_pruning import selection
from descentlab.dataset_pruning.dynamics import RecordDynamics
from descentlab.geometry import Array

RATIOS = (0.3, 0.5, 0.7, 0.8, 0.9)
CCS_CUTOFF = {0.3: 0.0, 0.5: 0.0, 0.7: 0.1, 0.8: 0.1, 0.9: 0.3}
CORRUPTIONS_AND_NOISE = 0.2  # share of samples whose image or label is damaged


@dataclass(frozen=True)
class Config:
    """A data set, a network and a recipe.

    Attributes
    ----------
    dataset : str
        Name for `data.load`.
    num_samples : int or None
        Training images, drawn at random; None is all.
    network : str
        ``"cnn"``, ``"mlp"``, ``"softmax"``, ``"resnet18"`` or ``"resnet34"``.
    num_epochs, scoring_epochs : int
        E, the whole training, and T, what DUAL needs of it.
    window : int
        J of scores over T epochs; those over E epochs take 10, or all where there are fewer.
    subset_epochs : int
        Epochs of a training on a subset.
    seeds : tuple of int
    learning_rate, weight_decay : float
        Of SGD with Nesterov momentum 0.9 and a cosine schedule over the E epochs.
    batch_size : int
        Subsets take half of it at 80 % pruning and a quarter from 90 % on, as the paper does.
    padding : int
        Random crops after padding by so many pixels, and flips.
    complexities : tuple of float
        Values of c_D to try.
    softmax_samples : int
        Training images of the softmax regression.
    """

    dataset: str = "fashion-mnist-12k"
    num_samples: int | None = None
    network: str = "cnn"
    num_epochs: int = 40
    scoring_epochs: int = 10
    window: int = 5
    subset_epochs: int = 20
    seeds: tuple[int, ...] = (0,)
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    batch_size: int = 128
    padding: int = 2
    complexities: tuple[float, ...] = (4.0, 5.5)
    softmax_samples: int = 3000


SMOKE = Config(num_samples=400, num_epochs=12, scoring_epochs=6, window=3, subset_epochs=3, softmax_samples=300)
BOOK = Config()
CPU_FULL = Config(dataset="fashion-mnist", num_samples=15_000, seeds=(0, 1, 2))  # what is recorded
FULL = Config(
    dataset="cifar10", num_samples=None, network="resnet18", num_epochs=200, scoring_epochs=30, window=10, subset_epochs=200,
    seeds=(42, 43, 44, 45, 46), learning_rate=0.1, padding=4, complexities=(5.5,),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Problem:
    """Standardised training and test data, and which samples are damaged.

    Attributes
    ----------
    data : Dataset
        With the labels that training sees.
    damaged : ndarray of bool, shape (N,)
    black : float
        Value of a black pixel after standardisation, for padding.
    """

    data: data.Dataset
    damaged: NDArray[np.bool_]
    black: float

    @property
    def num_classes(self) -> int:
        return len(self.data.class_names)


@dataclass(frozen=True, eq=False)
class Dynamics:
    """What a training recorded.

    Attributes
    ----------
    probabilities, margins, errors : ndarray of float32, shape (T, N)
    correct : ndarray of bool, shape (T, N)
    num_steps : int
        Updates.
    epoch_seconds : ndarray, shape (T,)
    """

    probabilities: NDArray[np.float32]
    correct: NDArray[np.bool_]
    margins: NDArray[np.float32]
    errors: NDArray[np.float32]
    num_steps: int
    epoch_seconds: Array
    model: nn.Module = field(repr=False)

    def first(self, num_epochs: int) -> NDArray[np.float32]:
        """Probabilities of the first epochs only."""
        return self.probabilities[:num_epochs]

    def mean(self, num_epochs: int) -> Array:
        """Mean probability over the first epochs, shape (N,)."""
        return np.asarray(self.probabilities[:num_epochs].mean(axis=0, dtype=np.float64))


def make_problem(
    config: Config, *, damage: str = "", rate: float = CORRUPTIONS_AND_NOISE, device: str = "auto"
) -> Problem:
    """The configuration's data, the same samples for every seed; `damage` is ``""``, ``"labels"`` or ``"images"``."""
    if damage not in ("", "labels", "images"):
        raise ValueError(f"damage={damage!r}; allowed are '', 'labels' and 'images'")
    whole = data.load(config.dataset, device=training.choose_device(device))
    count = len(whole.inputs) if config.num_samples is None else min(config.num_samples, len(whole.inputs))
    chosen = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(whole.inputs))[:count])).to(
        whole.inputs.device
    )
    inputs, targets = whole.inputs[chosen], whole.targets[chosen]
    mean, deviation = float(whole.inputs.mean()), float(whole.inputs.std())
    damaged = np.zeros(count, dtype=bool)
    if damage == "labels":
        targets, changed = data.symmetric_label_noise(targets, rate=rate, num_classes=len(whole.class_names), seed=1)
        damaged = changed.cpu().numpy()
    elif damage == "images":
        inputs, kind = data.corrupt_share(inputs, rate=rate, seed=1)
        damaged = (kind >= 0).cpu().numpy()
    ready = data.Dataset(
        whole.name, whole.licence, whole.origin, (inputs - mean) / deviation, targets,
        (whole.test_inputs - mean) / deviation, whole.test_targets, whole.class_names,
    )  # fmt: skip
    return Problem(ready, damaged, -mean / deviation)


def build(network: str, problem: Problem, seed: int) -> nn.Module:
    """A network for the problem's images, drawn from `seed`."""
    _, channels, side, _ = problem.data.inputs.shape
    classes = problem.num_classes
    makers: dict[str, Any] = {
        "cnn": lambda: networks.SmallCNN(channels, classes, image_size=side),
        "mlp": lambda: networks.MLP(channels * side * side, classes, widths=(128, 128)),
        "softmax": lambda: networks.MLP(channels * side * side, classes, widths=()),
        "resnet18": lambda: networks.resnet18(classes, num_channels=channels),
        "resnet34": lambda: networks.resnet34(classes, num_channels=channels),
    }
    if network not in makers:
        raise ValueError(f"network={network!r}; allowed are {', '.join(map(repr, makers))}")
    with networks.seeded(seed):
        return makers[network]()


def record(
    problem: Problem,
    config: Config,
    seed: int,
    *,
    num_epochs: int,
    network: str | None = None,
    name: str = "",
    callbacks: Sequence[training.Callback] = (),
    device: str = "auto",
) -> Dynamics:
    """Train for the first `num_epochs` of the configuration's E epochs, and record.

    `name` tells this training's checkpoint from others', see `checkpoint_path`; without one there is none.
    """
    network = network or config.network
    recorder = RecordDynamics(record=("correct", "margins", "errors"))
    model = build(network, problem, seed)
    steps = training.count_steps(len(problem.data.inputs), batch_size=config.batch_size, num_epochs=config.num_epochs)
    result = training.fit(
        model, problem.data, num_epochs=num_epochs, batch_size=config.batch_size, schedule=training.cosine(steps),
        optimizer=_sgd(config), augment=_augment(config, problem, network), callbacks=[recorder, *callbacks], seed=seed, device=device,
        checkpoint=checkpoint_path(f"{name}-record", config, network, seed) if name else None, evaluate_every=0,
    )  # fmt: skip
    dynamics = recorder.dynamics
    tables = (dynamics.probabilities, dynamics.correct, dynamics.margins, dynamics.errors)
    p, correct, margins, errors = (t.cpu().numpy() for t in tables)
    return Dynamics(p, correct, margins, errors, result.num_steps, result.curves["seconds"], model)


def train_subset(
    problem: Problem,
    config: Config,
    seed: int,
    kept: Any,
    *,
    ratio: float,
    network: str | None = None,
    name: str = "",
    device: str = "auto",
) -> float:
    """Accuracy in per cent on the clean test images after training on the samples `kept` alone, from scratch."""
    network = network or config.network
    batch_size = subset_batch_size(config, ratio)
    steps = training.count_steps(len(kept), batch_size=batch_size, num_epochs=config.subset_epochs)
    result = training.fit(
        build(network, problem, seed), problem.data, subset=kept, num_epochs=config.subset_epochs, batch_size=batch_size,
        schedule=training.cosine(steps), optimizer=_sgd(config), augment=_augment(config, problem, network), seed=seed,
        device=device, checkpoint=checkpoint_path(name, config, network, seed) if name else None, progress=False,
    )  # fmt: skip
    return 100 * result.test_accuracy


def subset_batch_size(config: Config, ratio: float) -> int:
    """The recipe's batch size: halved at 80 % pruning, quartered from 90 % on."""
    return config.batch_size // (4 if ratio >= 0.9 else 2 if ratio >= 0.8 else 1)


def checkpoint_path(name: str, config: Config, network: str, seed: int) -> Path | None:
    """Where a training is kept: in the folder that ``DESCENTLAB_CHECKPOINTS`` names; None without it."""
    folder = os.environ.get("DESCENTLAB_CHECKPOINTS")
    kind = f"{config.dataset}-{config.num_samples or 'all'}-{network}"
    return Path(folder) / "dataset_pruning" / f"{kind}-{name}-{seed}.pt" if folder else None


def _sgd(config: Config) -> Any:
    return partial(
        torch.optim.SGD, lr=config.learning_rate, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
    )


def _augment(config: Config, problem: Problem, network: str) -> Any:
    if network == "softmax" or config.padding == 0:
        return None

    def augment(images: Tensor, generator: torch.Generator) -> Tensor:
        return data.augment(images, generator, padding=config.padding, flip=True, fill=problem.black)

    return augment


# Scores by the name of the method -----------------------------------------------------------------------------------


def all_scores(run: Dynamics, config: Config) -> dict[str, Array]:
    """Scores of the samples by method; those of whole trainings where `run` is one.

    ``"DUAL"``, ``"Dyn-Unc (T)"`` and ``"EL2N"`` (a snapshot at the middle of the scoring epochs) need the first T
    epochs; ``"Dyn-Unc"``, ``"forgetting"`` and ``"AUM"`` take all.
    """
    early = run.first(config.scoring_epochs)
    snapshot = config.scoring_epochs // 2 - 1
    found = {
        "DUAL": scoring.dual_score(early, window=config.window),
        "Dyn-Unc (T)": scoring.dyn_unc_score(early, window=config.window),
        "EL2N": scoring.el2n_score(run.errors[snapshot : snapshot + 1], num_epochs=1),
        "EL2N (mean)": scoring.el2n_score(run.errors, num_epochs=config.scoring_epochs),
    }
    if len(run.probabilities) >= config.num_epochs:
        found |= {
            "Dyn-Unc": scoring.dyn_unc_score(run.probabilities, window=min(10, config.num_epochs)),
            "forgetting": scoring.forgetting_score(run.correct),
            "AUM": scoring.aum_score(run.margins),
        }
    return found


def select(
    method: str, run: Dynamics, config: Config, *, ratio: float, seed: int, targets: Any = None
) -> NDArray[np.int64]:
    """Samples kept by ``"random"``, ``"DUAL+β 4"`` (with its c_D), ``"CCS"``, or by the top of a score."""
    table = all_scores(run, config)
    if method == "random":
        return selection.prune(table["DUAL"], ratio=ratio, method="random", seed=seed)
    if method.startswith("DUAL+β"):
        mean = run.mean(config.scoring_epochs)
        complexity = float(method.split()[1])
        return selection.beta_sample(
            table["DUAL"], mean, ratio=ratio, complexity=complexity, targets=targets, seed=seed
        )
    if method == "CCS":
        return selection.ccs_select(table["AUM"], ratio=ratio, hard_cutoff=CCS_CUTOFF[ratio], seed=seed)
    if method not in table:
        raise ValueError(f"method={method!r} needs another run; this one has {', '.join(table)}")
    return selection.top_select(table[method], ratio=ratio, seed=seed)


def accuracies(
    cases: Mapping[float, Sequence[str]],
    run: Dynamics,
    problem: Problem,
    config: Config,
    seed: int,
    *,
    network: str | None = None,
    name: str = "",
    device: str = "auto",
) -> dict[tuple[str, float], float]:
    """Test accuracy in per cent by (method, ratio), for the methods of each ratio; scores come from `run`."""
    found = {}
    for ratio, methods in cases.items():
        for method in methods:
            kept = select(method, run, config, ratio=ratio, seed=seed)
            label = f"{name}-{method.replace(' ', '')}-{ratio:g}"
            found[method, ratio] = train_subset(
                problem, config, seed, kept, ratio=ratio, network=network, name=label, device=device
            )
    return found


# What the tables say ------------------------------------------------------------------------------------------------


def early_correlation(run: Dynamics, config: Config, *, epochs: Sequence[int]) -> dict[str, Array]:
    """Rank correlation with the whole run's Dyn-Unc, of DUAL and of Dyn-Unc from the first epochs, by method."""
    final = scoring.dyn_unc_score(run.probabilities, window=min(10, len(run.probabilities)))
    methods = {"DUAL": scoring.dual_score, "Dyn-Unc": scoring.dyn_unc_score}
    return {
        name: np.array([scoring.rank_correlation(score(run.first(t), window=config.window), final) for t in epochs])
        for name, score in methods.items()
    }


def overlap(first: Any, second: Any, *, share: float) -> float:
    """How much of the top `share` of one score is in that of another, in [0, 1]."""
    kept = [selection.top_select(values, ratio=1 - share) for values in (first, second)]
    return len(np.intersect1d(kept[0], kept[1])) / len(kept[0])


def crossing_epoch(epochs: Sequence[int], leader: Array, follower: Array) -> float:
    """Where the second curve overtakes the first, between the epochs by linear interpolation; NaN if it never does."""
    gap = np.asarray(leader) - np.asarray(follower)
    behind = np.flatnonzero((gap[1:] <= 0) & (gap[:-1] > 0))
    if len(behind) == 0:
        return float("nan")
    k = behind[0]
    return float(epochs[k] + (epochs[k + 1] - epochs[k]) * gap[k] / (gap[k] - gap[k + 1]))


def stability(runs: Sequence[Dynamics], config: Config) -> dict[str, Array]:
    """Rank correlation of each score between pairs of seeds, (pairs,) by method."""
    tables = [all_scores(run, config) for run in runs]
    pairs = [(a, b) for i, a in enumerate(tables) for b in tables[i + 1 :]]
    return {name: np.array([scoring.rank_correlation(a[name], b[name]) for a, b in pairs]) for name in tables[0]}


def share_pruned(kept: Any, damaged: NDArray[np.bool_]) -> float:
    """Share of the damaged samples that is not kept."""
    return 1 - damaged[kept].sum() / damaged.sum()


def filtering(
    run: Dynamics, problem: Problem, config: Config, *, methods: Sequence[str], ratios: Sequence[float], seed: int
) -> dict[str, Array]:
    """Share of the damaged samples that each method prunes at each ratio, by method."""
    return {
        method: np.array(
            [share_pruned(select(method, run, config, ratio=r, seed=seed), problem.damaged) for r in ratios]
        )
        for method in methods
    }


def kept_means(run: Dynamics, config: Config, *, method: str, ratios: Sequence[float], seed: int) -> Array:
    """Mean early probability of the samples kept at each ratio."""
    mean = run.mean(config.scoring_epochs)
    return np.array([mean[select(method, run, config, ratio=r, seed=seed)].mean() for r in ratios])


def stopping_epoch(run: Dynamics, config: Config, *, threshold: float = 0.98) -> int:
    """First number of epochs from which on the running DUAL score ranks samples as it did an epoch before."""
    before = scoring.dual_score(run.first(config.window), window=config.window)
    for t in range(config.window + 1, len(run.probabilities) + 1):
        now = scoring.dual_score(run.first(t), window=config.window)
        if scoring.rank_correlation(before, now) >= threshold:
            return t
        before = now
    return len(run.probabilities)
