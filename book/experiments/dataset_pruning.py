"""Experiments behind the lesson dataset_pruning, and the statements of its paper."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from descentlab import data, networks, training
from descentlab.claims import Statements
from descentlab.dataset_pruning import scores as scoring
from descentlab.dataset_pruning import selection
from descentlab.dataset_pruning.dynamics import RecordDynamics, TrainingDynamics
from descentlab.geometry import Array

# -- The experiments as functions of a configuration and a seed: no printing, no plotting -----------------------------

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


# -- What the paper states and what we derived, as claims to be measured ----------------------------------------------

_SPREAD = "an independent implementation's spread over three seeds"
_RANK = "an independent implementation saw more; rank correlations vary by 0.03 between seeds"
_ROOT2 = 2**0.5

# fmt: off
statements = Statements("dataset_pruning")


C1 = statements.statement(
    "C1", r"The DUAL score: the deviation of the true class's probability over windows of $J$ epochs, times one minus its mean, averaged over the windows.", "Section 3", source="paper",
)
C1.in_cells(
    "a", r"The score of a table worked out by hand, $P = (0,1,0), (.2,.4,.9), (.5,.5,.5)$ with $J = 2$",
    "Section 3", "approx", (_ROOT2 / 4, 0.07875 * _ROOT2, 0.0), 1e-12,
    "rounding", basis="exact", control="the deviation with divisor J",
)
C1.in_cells(
    "b", r"Streaming, with the last $J$ epochs in memory, gives the table's scores: largest difference",
    "ours", "at most", 1e-12, 0.0,
    "rounding", basis="statement", control="streaming in single precision",
)
C1.in_cells(
    "c", r"The divisor $J$ instead of $J - 1$ multiplies each score by $\sqrt{(J-1)/J}$: extremes of the ratio, $J = 10$",
    "ours", "approx", (0.9**0.5, 0.9**0.5), 1e-12,
    "rounding", basis="exact", control="windows of nine epochs instead of ten",
)
C1.in_cells(
    "d", r"Scores go with their samples: largest change when the samples are shuffled and put back; and when $T = J$, of the only window",
    "Section 3", "at most", (0.0, 1e-12), 0.0,
    "rounding", basis="statement", control="the samples are not put back; two windows instead of one",
)

C2 = statements.statement(
    "C2", r"On two points DUAL ranks the important one first earlier than the variance, and the variance earlier than Dyn-Unc.", "Theorem on the two-point model", source="paper",
)
C2.in_cells(
    "a", r"Two points, exponential loss: $(T_v, T_{vm}, T_{sm})$ for $\eta = 0.1$, $0.01$, $0.003$",
    "Theorem on the two-point model (conditions derived)", "approx", (20, 8, 4, 243, 120, 74, 822, 411, 259), 0.0,
    "integers", basis="exact", control="windows of five steps",
)
C2.in_cells(
    "b", r"… and logistic loss, $\eta = 0.01$",
    "Theorem on the two-point model (conditions derived)", "approx", (343, 174, 112), 0.0,
    "integers", basis="exact", control="exponential loss",
)
C2.in_cells(
    "c", r"On 111 random pairs of points that meet the conditions: violations of $T_{vm} < T_v$, and of $T_{sm} < T_{vm}$",
    "Theorem on the two-point model; the second is derived", "at most", (0, 0), 0.0,
    "a theorem", basis="statement", control="the easiness $m$ in place of the difficulty $1 - m$",
)
C2.in_cells(
    "d", r"Large steps break strictness: $(T_v, T_{vm})$ for the logistic loss, $\eta = 1$",
    "ours", "approx", (1, 1), 0.0,
    "integers", basis="exact", control=r"$\eta = 0.01$",
)
C2.in_cells(
    "e", r"Crossing times are continuous time over $\eta$: $\eta\,(T_v, T_{vm}, T_{sm})$ at $\eta = 0.001$, exponential loss",
    "ours", "approx", (2.47, 1.23, 0.78), 0.015,
    r"a window is $10 \eta$ long, and two digits of an independent implementation", basis="second", control=r"$\eta = 0.1$",
)

C3 = statements.statement(
    "C3", r"DUAL from the first epochs already ranks as Dyn-Unc does after the whole training.", "Figure on early identification", source="paper",
)
C3.in_cells(
    "a", r"DUAL sees early what Dyn-Unc sees late: rank correlation with the whole run's Dyn-Unc, minus that of Dyn-Unc from the same $T = 5, 6, 8, 10$ epochs (smallest, by seed)",
    "Figure on early identification", "at least", 0.05, 0.0,
    _RANK, basis="statement", control="DUAL's scores given to the wrong samples",
)
C3.in_cells(
    "b", r"DUAL from 10 of 40 epochs: rank correlation with the whole run's Dyn-Unc (by seed)",
    "Figure on early identification", "at least", 0.85, 0.0,
    _RANK, basis="statement", control="DUAL's scores given to the wrong samples",
)
C3.in_cells(
    "c", r"… and Dyn-Unc catches up: the epoch at which the two curves cross (mean of the seeds)",
    "ours", "approx", 18.6, 3.0,
    "interpolated from an independent implementation's curves, which are nearly parallel there", basis="second", control="DUAL's scores given to the wrong samples",
)
C3.in_cells(
    "d", r"Overlap of the top fifth with the whole run's: DUAL from 10 epochs minus Dyn-Unc from 10 (by seed)",
    "ours", "at least", 0.05, 0.0,
    "an independent implementation saw 0.68 and 0.53", basis="second", control="DUAL's scores given to the wrong samples",
)
C3.in_cells(
    "e", r"Softmax regression on 3000 images: the same difference of rank correlations at $T = 12$ of 40 epochs (by seed)",
    "ours", "at least", 0.2, 0.0,
    "an independent implementation saw 0.90 against 0.48", basis="second", control="DUAL's scores given to the wrong samples",
)

C4 = statements.statement(
    "C4", r"Scores from a single snapshot vary between seeds; DUAL's vary less.", "Section 2", source="paper",
)
C4.in_cells(
    "a", r"Rank correlation between two seeds: DUAL ($T = 10$) minus a one-epoch EL2N (pairs of seeds)",
    "Section 2 (snapshots vary)", "at least", 0.02, 0.0,
    "an independent implementation saw 0.86 and 0.81; ±0.03", basis="statement", control="the second seed's samples in another order",
)
C4.in_cells(
    "b", r"… minus Dyn-Unc from the same 10 epochs",
    "ours", "at least", 0.0, 0.0,
    "an independent implementation saw 0.86 and 0.76", basis="second", control="the second seed's samples in another order",
)
C4.in_cells(
    "c", r"Averages are steadier than DUAL: EL2N averaged over 10 epochs minus DUAL",
    "ours", "at least", 0.0, 0.0,
    "an independent implementation saw 0.935 and 0.86", basis="second", control="the second seed's samples in another order for EL2N",
)

C5 = statements.statement(
    "C5", r"In the plane of mean and deviation DUAL moves the chosen samples towards the hard side of the moon.", "Figure of the moon", source="paper",
)
C5.in_cells(
    "a", r"Mean early probability of the top tenth: Dyn-Unc minus DUAL (by seed)",
    "Figure of the moon", "at least", 0.10, 0.0,
    "an independent implementation saw 0.54 and 0.38", basis="statement", control="DUAL's scores given to the wrong samples",
)
C5.in_cells(
    "b", r"No sample lies above $\sqrt{T/(T-1)\, m(1-m)}$: largest excess of its deviation",
    "ours", "at most", 1e-6, 0.0,
    "single precision of the table", basis="statement", control="the bound without its factor, on zeros and ones",
)
C5.in_cells(
    "c", r"Where a sample of zeros and ones scores highest: $m$ of the largest $\sqrt{m(1-m)}$ and $\sqrt{m(1-m)}\,(1-m)$",
    "ours", "approx", (0.5, 0.25), 1e-3,
    "grid of $10^{-4}$", basis="statement", control="difficulty $m$ in place of $1 - m$",
)

C6 = statements.statement(
    "C6", r"Beta sampling moves to easier samples as more is pruned.", "Section 4", source="paper",
)
C6.in_cells(
    "a", r"$(\alpha_r, \beta_r, \text{mode})$ at $\mu_D = .336$, $c_D = 4$ for $r = .3, .5, .7, .8, .9$",
    "ours", "approx", (6.12, 9.88, 0.37, 6.66, 9.34, 0.40, 8.43, 7.57, 0.53, 10.12, 5.88, 0.65, 12.57, 3.43, 0.83), 0.0051,
    "two digits of an independent implementation", basis="second", control=r"$\alpha_r = C - \beta_r$",
)
C6.in_cells(
    "b", r"The mode rises with $r$ and falls with $c_D$: smallest step over a grid of both",
    "ours", "at least", 1e-9, 0.0,
    "strict monotonicity", basis="statement", control=r"$r^{1/c_D}$ in place of $r^{c_D}$",
)
C6.in_cells(
    "c", r"Six samples, three drawn: how often each is kept, against the exact enumeration, in standard errors of $2 \cdot 10^5$ draws (largest)",
    "Section 4, successive sampling", "at most", 4.0, 0.0,
    "six comparisons", basis="exact", control="uniform keys $w\\,U$ in place of Gumbel keys",
)
C6.in_cells(
    "d", r"Mean early probability of what is kept, $c_D = 4$, $r = .3, .5, .7, .8, .9$ (mean of the seeds)",
    "ours", "approx", (0.62, 0.54, 0.53, 0.62, 0.75), 0.03,
    "two digits of an independent implementation, and the spread of seeds", basis="second", control="the top scores (recorded)",
)
C6.in_cells(
    "e", r"… and of plain top scores",
    "ours", "approx", (0.62, 0.53, 0.44, 0.41, 0.38), 0.03,
    "two digits of an independent implementation, and the spread of seeds", basis="second", control="Beta sampling (recorded)",
)
C6.in_cells(
    "f", r"Exactly $\mathrm{round}((1-r)N)$ different samples are kept, for every $r$ and method: number of exceptions",
    "Section 4", "at most", 0, 0.0,
    "a count", basis="exact", control="drawing with replacement",
)

C7 = statements.statement(
    "C7", r"At high pruning ratios DUAL with Beta sampling beats random pruning and the other scores.", "Tables 1 and 2", source="paper",
)
C7.in_cells(
    "a", r"At 90 % Beta sampling rescues DUAL: points gained over plain DUAL, EL2N, forgetting and AUM (smallest, $c_D = 4$ and $5.5$, by seed)",
    "Table 1", "at least", 10.0, 0.0,
    "an independent implementation saw 19 or more", basis="statement", control="plain DUAL in place of Beta sampling (recorded)",
)
C7.in_cells(
    "b", r"At 90 % DUAL with Beta sampling is no worse than random ($c_D = 4$ and $5.5$, by seed), in points",
    "Table 1", "at least", -0.5, 0.0,
    "two standard errors of a three-seed difference", basis="statement", control="plain DUAL in place of Beta sampling (recorded)", across="mean", paper_value='+3.4 (CIFAR-10), +9.4 (CIFAR-100)',
)
C7.in_cells(
    "c", r"At 80 %, $c_D = 4$: no worse than random (by seed), in points",
    "Table 1", "at least", -0.5, 0.0,
    "two standard errors of a three-seed difference", basis="statement", control="plain DUAL in place of Beta sampling (recorded)", across="mean",
)
C7.in_cells(
    "d", r"… and within two points of CCS, which needs four times the epochs (by seed)",
    "ours", "at least", -2.0, 0.0,
    "an independent implementation saw −0.8", basis="second", control="plain DUAL in place of Beta sampling (recorded)", across="mean",
)
C7.in_cells(
    "e", r"At 50 % plain DUAL beats random (by seed), in points",
    "Table 1", "at least", 0.5, 0.0,
    "two standard errors of a three-seed difference; an independent implementation saw 1.0", basis="statement", control="at 90 % (recorded)", across="mean",
)
C7.in_cells(
    "f", r"At 90 % hard-first scores collapse, in this order (accuracy in per cent, mean of the seeds)",
    "ours", "order", ("AUM", "EL2N", "forgetting", "Dyn-Unc"), 2.0,
    "an independent implementation saw gaps of 13 and more", basis="second", control="random pruning under each name (recorded)",
)
C7.in_cells(
    "g", r"CIFAR-10, ResNet-18, DUAL with Beta sampling at $r = 30, 50, 70, 80, 90$ %: accuracy",
    "Table 1", "approx", (95.51, 95.23, 93.04, 91.42, 87.09), 0.7,
    "spread of five seeds", basis="printed", control="random pruning (the paper's figure)", paper_value='95.51, 95.23, 93.04, 91.42, 87.09',
)
C7.in_cells(
    "h", r"CIFAR-100, the same",
    "Table 1", "approx", (77.86, 74.66, 69.25, 64.76, 54.54), 1.0,
    "spread of five seeds", basis="printed", control="random pruning (the paper's figure)", paper_value='77.86, 74.66, 69.25, 64.76, 54.54',
)
C7.in_cells(
    "i", r"ImageNet-1k, ResNet-34, DUAL with Beta sampling at 90 %: accuracy",
    "Table 2", "approx", 60.0, 0.7,
    "spread between runs", basis="printed", control="random pruning (the paper's table)", paper_value=60.0,
)

C8 = statements.statement(
    "C8", r"Of wrongly labelled samples DUAL prunes most, and Beta sampling more.", "Section on label noise", source="paper",
)
C8.in_cells(
    "a", r"20 % wrong labels: share of them that plain DUAL prunes at $r = .3$ (by seed)",
    "Section on label noise", "at least", 0.70, 0.0,
    "an independent implementation saw 0.77", basis="statement", control="random pruning",
)
C8.in_cells(
    "b", r"… and EL2N, which takes wrong labels for hard samples",
    "ours", "at most", 0.05, 0.0,
    "an independent implementation saw 0.01", basis="second", control="random pruning",
)
C8.in_cells(
    "c", r"Beta sampling prunes more of them than plain DUAL: smallest difference over $r = .3, .5, .8$, $c_D = 4$ (by seed)",
    "Section on label noise", "at least", 0.0, 0.0,
    "an independent implementation saw 0.036 and more", basis="statement", control="Beta sampling with the scores of the wrong samples",
)
C8.in_cells(
    "d", r"At 90 % Beta sampling prunes nearly all of them (by seed)",
    "ours", "at least", 0.99, 0.0,
    "an independent implementation saw 0.996 at 80 %", basis="second", control="random pruning",
)
C8.in_cells(
    "e", r"Dyn-Unc from the same epochs is the better filter: its share at $r = .3$ minus DUAL's (by seed)",
    "ours", "at least", 0.05, 0.0,
    "an independent implementation saw 0.94 and 0.77", basis="second", control="Dyn-Unc's scores given to the wrong samples",
)
C8.in_cells(
    "f", r"20 % wrong labels, $r = .5$: accuracy of DUAL minus random (by seed), in points",
    "Section on label noise", "at least", 1.5, 0.0,
    "an independent implementation saw 3.2 in one seed", basis="statement", control="EL2N in place of DUAL (recorded)", across="mean",
)
C8.in_cells(
    "g", r"… and EL2N is the worst: random minus EL2N (by seed), in points",
    "Section on label noise", "at least", 10.0, 0.0,
    "an independent implementation saw 22 in one seed", basis="statement", control="DUAL in place of EL2N (recorded)",
)

C9 = statements.statement(
    "C9", r"With damaged images DUAL with Beta sampling is the best of all.", "Section on image corruption", source="paper",
)
C9.in_cells(
    "a", r"20 % damaged images are kept, not pruned: share of them that plain DUAL prunes at $r = .3, .5, .7, .9$ (mean of the seeds)",
    "ours", "at most", (0.3, 0.5, 0.7, 0.9), 0.0,
    "random pruning's shares; an independent implementation saw 0.14, 0.32, 0.58, 0.86", basis="second", control="wrong labels in place of damaged images",
)
C9.in_cells(
    "b", r"Their mean early probability is lower: clean minus damaged (by seed)",
    "ours", "at least", 0.05, 0.0,
    "an independent implementation saw 0.71 and 0.59", basis="second", control="which images are damaged, shuffled",
)
C9.in_cells(
    "c", r"With damaged images, accuracy of DUAL with Beta sampling minus the best other method's",
    "Section on image corruption", "at least", 0.0, 0.0,
    "as stated; the paper's table was not at hand", basis="statement", control="random pruning in place of Beta sampling (CIFAR-100 without damage, the paper's figures)",
)

C10 = statements.statement(
    "C10", r"Scoring costs its share of the epochs: 5.5 minutes in place of 38.", "Figure on time", source="paper",
)
C10.in_cells(
    "a", r"Scoring costs its share of epochs: processor time of the first $T$ epochs over all, divided by $T/E$ (by seed)",
    "Figure on time", "approx", 1.0, 0.1,
    "10 % relative", basis="statement", control="the epochs of a 30-of-40 run", across="mean",
)
C10.in_cells(
    "b", r"Score and draw cost little beside it: their share of the scoring run's processor time (by seed)",
    "Figure on time", "at most", 0.01, 0.0,
    "a run takes minutes, a score milliseconds", basis="statement", control="the scoring run itself",
)
C10.in_cells(
    "c", r"The published minutes, 5.5 of 38.0, are the ratio of epochs, 30 of 200",
    "Figure on time", "approx", 5.5 / 38.0, 0.1 * 5.5 / 38.0,
    "10 % relative", basis="printed", control="ImageNet's 60 of 90", paper_value='5.5 of 38 minutes',
)

C11 = statements.statement(
    "C11", r"The scores of one architecture prune for another, and the window matters little.", "Section on architectures, ablations", source="paper",
)
C11.in_cells(
    "a", r"The window matters little: rank correlation of DUAL ($T = 10$) with $J = 3 … 8$ to $J = 5$ (smallest, by seed)",
    "Ablations", "at least", 0.95, 0.0,
    "an independent implementation saw 0.99", basis="statement", control="DUAL's scores given to the wrong samples",
)
C11.in_cells(
    "b", r"Scores of a perceptron prune for the CNN: at 90 %, points gained by Beta sampling over plain DUAL (by seed)",
    "Section on architectures", "at least", 0.0, 0.0,
    "the paper's ranking", basis="statement", control="the two methods exchanged (recorded)",
)
C11.in_cells(
    "c", r"… and those of the CNN for the perceptron",
    "Section on architectures", "at least", 0.0, 0.0,
    "the paper's ranking", basis="statement", control="the two methods exchanged (recorded)",
)

D1 = statements.statement(
    "D1", r"In the family $s(1-m)^q$, more weight on difficulty finds the hard point earlier.", "ours", source="ours",
)
D1.in_cells(
    "", r"The family $s(1-m)^q$: the more weight on difficulty, the earlier the hard point is found (windows until crossing, $\eta = .01$)",
    "ours", "order", ("q = 2", "q = 1", "q = 0.5", "q = 0"), 1.0,
    "integers", basis="statement", control="weight on easiness, $m^q$",
)

D2 = statements.statement(
    "D2", r"Beta sampling within classes keeps as many of each as its size allows.", "ours", source="ours",
)
D2.in_cells(
    "", r"Class-balanced Beta sampling keeps as many of each class as its size allows, at 90 %: largest difference from the exact share",
    "ours", "at most", 1.0, 0.0,
    "rounding to whole samples", basis="statement", control="classes not looked at",
)

D3 = statements.statement(
    "D3", r"A stopping rule can replace the number of scoring epochs.", "ours", source="ours",
)
D3.in_cells(
    "", r"A stopping rule in place of $T$: stop when an epoch leaves the ranking within .98 of itself. Rank correlation with the whole run's Dyn-Unc there (by seed)",
    "ours", "at least", 0.85, 0.0,
    "the bar of C3b", basis="statement", control="DUAL's scores given to the wrong samples",
)

D4 = statements.statement(
    "D4", r"As a filter of wrong labels the family goes the other way.", "ours", source="ours",
)
D4.in_cells(
    "", r"As a filter of wrong labels the family goes the other way: share pruned at $r = .3$ by power (mean of the seeds)",
    "ours", "order", ("q = 2", "q = 1", "q = 0"), 0.05,
    "an independent implementation saw 0.77 for $q = 1$ and 0.94 for $q = 0$", basis="statement", control="the powers in the opposite order (recorded)",
)

D5 = statements.statement(
    "D5", r"The smaller the learning rate, the longer DUAL's lead.", "ours", source="ours",
)
D5.in_cells(
    "", r"Softmax regression: the smaller the learning rate, the longer DUAL's lead, as crossing times $\propto 1/\eta$ predict. The difference of C3e by learning rate (mean of the seeds)",
    "ours", "order", ("0.05", "0.005", "0.001"), 0.03,
    "the spread of rank correlations between seeds", basis="statement", control="DUAL in place of Dyn-Unc",
)
# fmt: on


# those that rest on several trained networks, and are recorded
TRAINED_CLAIMS = (
    *("C3a", "C3b", "C3c", "C3d", "C3e", "C4a", "C4b", "C4c", "C5a", "C6d", "C6e"),
    *("C7a", "C7b", "C7c", "C7d", "C7e", "C7f", "C8a", "C8b", "C8c", "C8d", "C8e", "C8f", "C8g"),
    *("C9a", "C9b", "C10a", "C10b", "C11a", "C11b", "C11c", "D3", "D4", "D5"),
)

# why a measurement misses, where one does
NOTES: dict[str, str] = {}


# -- The trainings behind the tables: one seed is four recorded runs and some twenty trainings on subsets -------------

METHODS: Mapping[float, tuple[str, ...]] = {
    0.9: ("random", "DUAL", "DUAL+β 4", "DUAL+β 5.5", "CCS", "Dyn-Unc", "EL2N", "forgetting", "AUM"),
    0.8: ("random", "DUAL", "DUAL+β 4", "CCS"),
    0.5: ("random", "DUAL"),
}
NOISY_METHODS: Mapping[float, tuple[str, ...]] = {0.5: ("random", "DUAL", "EL2N")}
TRANSFER_METHODS: Mapping[float, tuple[str, ...]] = {0.9: ("DUAL", "DUAL+β 4")}

Accuracies = dict[tuple[str, float], float]


@dataclass(frozen=True, eq=False)
class Study:
    """One seed's trainings.

    Attributes
    ----------
    clean, noisy, corrupted : Dynamics
        The whole training; the first T epochs with wrong labels, and with damaged images.
    mlp : Dynamics
        The first T epochs of a perceptron.
    accuracy, noisy_accuracy, from_mlp, from_cnn : dict
        Test accuracy in per cent by (method, ratio): of the clean data; of noisy labels; of the CNN on what the
        perceptron chose; of the perceptron on what the CNN chose.
    """

    seed: int
    clean: Dynamics
    noisy: Dynamics
    corrupted: Dynamics
    mlp: Dynamics
    accuracy: Accuracies
    noisy_accuracy: Accuracies
    from_mlp: Accuracies
    from_cnn: Accuracies


def run_study(
    config: Config, seed: int, *, methods: Mapping[float, Sequence[str]] = METHODS, device: str = "auto"
) -> Study:
    """All trainings of one seed, each from its checkpoint where ``DESCENTLAB_CHECKPOINTS`` has one."""
    problem = make_problem(config, device=device)
    noise = make_problem(config, damage="labels", device=device)
    damage = make_problem(config, damage="images", device=device)
    early = config.scoring_epochs
    clean = record(problem, config, seed, num_epochs=config.num_epochs, name="clean", device=device)
    noisy = record(noise, config, seed, num_epochs=early, name="labels", device=device)
    corrupted = record(damage, config, seed, num_epochs=early, name="images", device=device)
    mlp = record(problem, config, seed, num_epochs=early, network="mlp", name="clean", device=device)
    accuracy = accuracies(methods, clean, problem, config, seed, name="clean", device=device)
    noisy_accuracy = accuracies(NOISY_METHODS, noisy, noise, config, seed, name="labels", device=device)
    from_mlp = accuracies(TRANSFER_METHODS, mlp, problem, config, seed, name="from-mlp", device=device)
    from_cnn = accuracies(TRANSFER_METHODS, clean, problem, config, seed, network="mlp", name="from-cnn", device=device)
    return Study(seed, clean, noisy, corrupted, mlp, accuracy, noisy_accuracy, from_mlp, from_cnn)


def paper_table(config: Config, *, device: str = "auto") -> Array:
    """Accuracy of DUAL with Beta sampling at the five ratios, mean over the seeds, shape (5,): the paper's main table."""
    cases = [{"config": config, "seed": seed, "device": device} for seed in config.seeds]
    return np.mean(training.sweep(_paper_row, cases), axis=0)


def _paper_row(config: Config, seed: int, device: str) -> list[float]:
    problem, method = make_problem(config, device=device), f"DUAL+β {config.complexities[0]:g}"
    run = record(problem, config, seed, num_epochs=config.scoring_epochs, name="clean", device=device)
    cases = {ratio: (method,) for ratio in RATIOS}
    found = accuracies(cases, run, problem, config, seed, name="clean", device=device)
    return [found[method, ratio] for ratio in RATIOS]


def tables(studies: Sequence[Study]) -> dict[str, dict[str, list[float]]]:
    """Accuracies of the studies by table and by ``"method, ratio"``, one entry a seed; what is recorded of them."""
    names = {"clean": "accuracy", "wrong labels": "noisy_accuracy", "from MLP": "from_mlp", "from CNN": "from_cnn"}
    return {
        table: {
            f"{method}, {ratio:g}": [round(getattr(study, field)[method, ratio], 2) for study in studies]
            for method, ratio in getattr(studies[0], field)
        }
        for table, field in names.items()
    }


def run_studies(config: Config, *, device: str = "auto") -> list[Study]:
    """`run_study` for each seed of the configuration, spread by `training.sweep`."""
    cases = [{"config": config, "seed": seed, "device": device} for seed in config.seeds]
    return training.sweep(run_study, cases, progress="seeds")


def write_tables(path: str | os.PathLike[str], studies: Sequence[Study]) -> None:
    """Store `tables` as JSON; under ``torchrun`` the first rank does."""
    if training.rank() != 0:
        return
    text = json.dumps({"seeds": [study.seed for study in studies], **tables(studies)}, indent=1, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_tables(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `write_tables` stored; None where there is no such file."""
    file = Path(path)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def softmax_gap(
    config: Config,
    seeds: Sequence[int],
    *,
    num_epochs: int = 12,
    learning_rate: float | None = None,
    device: str = "auto",
) -> Array:
    """Softmax regression: early rank correlation of DUAL minus that of Dyn-Unc, shape (seeds,) (C3e, D5)."""
    rate = config.learning_rate if learning_rate is None else learning_rate
    small = replace(config, num_samples=config.softmax_samples, network="softmax", learning_rate=rate)
    problem, early = make_problem(small, device=device), [min(num_epochs, small.num_epochs - 1)]
    runs = [record(problem, small, seed, num_epochs=small.num_epochs, device=device) for seed in seeds]
    curves = [early_correlation(run, small, epochs=early) for run in runs]
    return np.array([found["DUAL"][0] - found["Dyn-Unc"][0] for found in curves])


def measure(studies: Sequence[Study], config: Config) -> dict[str, Any]:
    """What the studies say about the claims that need trained networks, by claim; entries are seeds, or their mean."""
    return {
        **_measure_scores(studies, config),
        **_measure_accuracy(studies),
        **_measure_damage(studies, config),
    }


def _measure_scores(studies: Sequence[Study], config: Config) -> dict[str, Any]:
    runs, early = [study.clean for study in studies], config.scoring_epochs
    short = [t for t in (5, 6, 8, 10) if config.window < t < config.num_epochs or t == config.window] or [early]
    epochs = list(range(config.window, config.num_epochs + 1))
    curves = [early_correlation(run, config, epochs=epochs) for run in runs]
    at = [epochs.index(t) for t in short]
    tables = [all_scores(run, config) for run in runs]
    steady = stability(runs, config)
    tenth = [{name: run.mean(early)[selection.top_select(s, ratio=0.9)].mean() for name, s in table.items()}
             for run, table in zip(runs, tables, strict=True)]  # fmt: skip
    mean_curve = {name: np.mean([c[name] for c in curves], axis=0) for name in curves[0]}
    windows = [j for j in range(3, 9) if j <= early]
    kept = {m: np.mean([kept_means(r, config, method=m, ratios=RATIOS, seed=s.seed) for r, s in zip(runs, studies, strict=True)], axis=0)
            for m in ("DUAL", "DUAL+β 4")}  # fmt: skip
    stops = [stopping_epoch(run, config) for run in runs]
    return {
        "C3a": np.array([(c["DUAL"] - c["Dyn-Unc"])[at].min() for c in curves]),
        "C3b": np.array([c["DUAL"][epochs.index(early)] for c in curves]),
        "C3c": crossing_epoch(epochs, mean_curve["DUAL"], mean_curve["Dyn-Unc"]),
        "C3d": np.array(
            [
                overlap(t["DUAL"], t["Dyn-Unc"], share=0.2) - overlap(t["Dyn-Unc (T)"], t["Dyn-Unc"], share=0.2)
                for t in tables
            ]
        ),
        "C4a": steady["DUAL"] - steady["EL2N"],
        "C4b": steady["DUAL"] - steady["Dyn-Unc (T)"],
        "C4c": steady["EL2N (mean)"] - steady["DUAL"],
        "C5a": np.array([means["Dyn-Unc (T)"] - means["DUAL"] for means in tenth]),
        "C6d": kept["DUAL+β 4"],
        "C6e": kept["DUAL"],
        "C11a": np.array([min(window_correlations(run, config, windows).values()) for run in runs]),
        "D3": np.array([c["DUAL"][epochs.index(stop)] for c, stop in zip(curves, stops, strict=True)]),
    }


def window_correlations(run: Dynamics, config: Config, windows: Sequence[int]) -> dict[int, float]:
    """Rank correlation of DUAL with another window to DUAL with the configuration's, by window."""
    early = run.first(config.scoring_epochs)
    usual = scoring.dual_score(early, window=config.window)
    return {j: scoring.rank_correlation(usual, scoring.dual_score(early, window=j)) for j in windows}


def _measure_accuracy(studies: Sequence[Study]) -> dict[str, Any]:
    def column(which: str, method: str, ratio: float) -> Array:
        return np.array([getattr(study, which)[method, ratio] for study in studies])

    def clean(method: str, ratio: float) -> Array:
        return column("accuracy", method, ratio)

    betas = [clean("DUAL+β 4", 0.9), clean("DUAL+β 5.5", 0.9)]
    best_hard = np.max([clean(m, 0.9) for m in ("DUAL", "EL2N", "forgetting", "AUM")], axis=0)
    return {
        "C7a": np.min(betas, axis=0) - best_hard,
        "C7b": np.concatenate(betas) - np.tile(clean("random", 0.9), 2),
        "C7c": clean("DUAL+β 4", 0.8) - clean("random", 0.8),
        "C7d": clean("DUAL+β 4", 0.8) - clean("CCS", 0.8),
        "C7e": clean("DUAL", 0.5) - clean("random", 0.5),
        "C7f": {m: clean(m, 0.9).mean() for m in ("AUM", "EL2N", "forgetting", "Dyn-Unc")},
        "C8f": column("noisy_accuracy", "DUAL", 0.5) - column("noisy_accuracy", "random", 0.5),
        "C8g": column("noisy_accuracy", "random", 0.5) - column("noisy_accuracy", "EL2N", 0.5),
        "C11b": column("from_mlp", "DUAL+β 4", 0.9) - column("from_mlp", "DUAL", 0.9),
        "C11c": column("from_cnn", "DUAL+β 4", 0.9) - column("from_cnn", "DUAL", 0.9),
    }


def _measure_damage(studies: Sequence[Study], config: Config) -> dict[str, Any]:
    noise = make_problem(config, damage="labels", device="cpu")
    images = make_problem(config, damage="images", device="cpu")
    ratios = (0.3, 0.5, 0.8, 0.9)
    methods = ("DUAL", "DUAL+β 4", "EL2N", "Dyn-Unc (T)")
    noisy = [filtering(s.noisy, noise, config, methods=methods, ratios=ratios, seed=s.seed) for s in studies]
    shares = {m: np.array([found[m] for found in noisy]) for m in methods}  # (seeds, ratios)
    kept = [
        filtering(s.corrupted, images, config, methods=("DUAL",), ratios=(0.3, 0.5, 0.7, 0.9), seed=s.seed)
        for s in studies
    ]
    means = [s.corrupted.mean(config.scoring_epochs) for s in studies]
    return {
        "C8a": shares["DUAL"][:, 0],
        "C8b": shares["EL2N"][:, 0],
        "C8c": (shares["DUAL+β 4"] - shares["DUAL"])[:, :3].min(axis=1),
        "C8d": shares["DUAL+β 4"][:, 3],
        "C8e": shares["Dyn-Unc (T)"][:, 0] - shares["DUAL"][:, 0],
        "C9a": np.mean([found["DUAL"] for found in kept], axis=0),
        "C9b": np.array([mean[~images.damaged].mean() - mean[images.damaged].mean() for mean in means]),
        "D4": family_filter([s.noisy for s in studies], noise, config),
    }


def family_filter(
    runs: Sequence[Dynamics],
    noise: Problem,
    config: Config,
    *,
    powers: Sequence[float] = (0, 1, 2),
    ratio: float = 0.3,
) -> dict[str, float]:
    """Share of the wrong labels that s (1 − m)^q prunes, by the name of the power; mean over runs."""
    found = {}
    for q in powers:
        kept = [selection.top_select(scoring.family_score(run.first(config.scoring_epochs), window=config.window, power=q), ratio=ratio)
                for run in runs]  # fmt: skip
        found[f"q = {q:g}"] = float(np.mean([share_pruned(k, noise.damaged) for k in kept]))
    return found


class _Clock(training.Callback):
    """Time of each epoch: that of the processor, which other programs do not change, or the clock's on a GPU."""

    def __init__(self) -> None:
        self.read, self.moments = time.process_time, [0.0]

    def start(self, run: training.Run) -> None:
        self.read = time.perf_counter if run.device.type == "cuda" else time.process_time
        self.moments = [self.read()]

    def epoch(self, run: training.Run) -> None:
        self.moments.append(self.read())


def time_shares(config: Config, seeds: Sequence[int], *, device: str = "auto") -> dict[str, Array]:
    """Shares of time by claim, a seed an entry: scoring epochs of all epochs over T/E; score and draw of the scoring.

    A fifth of the images is enough: every epoch costs the same.
    """
    count = len(make_problem(config, device=device).data.inputs)
    small = replace(config, num_samples=max(1, count // 5))
    problem, early = make_problem(small, device=device), config.scoring_epochs
    shares: dict[str, list[float]] = {"C10a": [], "C10b": []}
    for seed in seeds:
        clock = _Clock()
        run = record(problem, small, seed, num_epochs=config.num_epochs, callbacks=(clock,), device=device)
        select("DUAL+β 4", run, small, ratio=0.5, seed=seed)  # compiles
        start = clock.read()
        mean = run.mean(early)
        selection.beta_sample(scoring.dual_score(run.first(early), window=config.window), mean, ratio=0.5, complexity=4)
        spent, moments = clock.read() - start, clock.moments
        scoring_time = moments[early] - moments[0]
        shares["C10a"].append(scoring_time / (moments[-1] - moments[0]) * config.num_epochs / early)
        shares["C10b"].append(spent / scoring_time)
    return {key: np.array(values) for key, values in shares.items()}


def replay(probabilities: Any, *, seed: int = 0, **settings: Any) -> TrainingDynamics:
    """Pass a table through `TrainingDynamics`, each epoch in an order of its own, as the logits of two classes.

    Parameters
    ----------
    probabilities : array, shape (T, N), entries in (0, 1)
    seed : int
        Of the orders.
    **settings
        For `TrainingDynamics`.
    """
    table = torch.as_tensor(np.asarray(probabilities))
    dynamics = TrainingDynamics(table.shape[1], table.shape[0], dtype=table.dtype, across_ranks=False, **settings)
    rng = np.random.default_rng(seed)
    for row in table:
        order = torch.from_numpy(rng.permutation(len(row)))
        p = row[order]
        dynamics.update(order, torch.stack([p.log(), torch.log1p(-p)], dim=1), torch.zeros_like(order))
        dynamics.end_epoch()
    return dynamics


# -- Two points, one hard and one easy: when each score notices the hard one ------------------------------------------

HARD, EASY = (0.3, 0.1), (2.0, 1.0)  # the points of the chapter


@dataclass(frozen=True)
class TwoPoints:
    """Windows of gradient descent on two points; index 0 is the hard point, 1 the easy one.

    Attributes
    ----------
    probabilities : ndarray, shape (steps, 2)
        σ(w·x) before each step.
    mean, variance : ndarray, shape (windows, 2)
        Over each window; divisor J − 1.
    """

    probabilities: Array
    mean: Array
    variance: Array

    def crossing(self, *, deviation_power: float = 2.0, difficulty_power: float = 0.0) -> int:
        r"""First window in which :math:`s^a (1-m)^b` of the hard point exceeds that of the easy one.

        :math:`(a, b) = (2, 0)` is the variance, :math:`T_v`; (2, 1) the theorem's :math:`T_{vm}`; (1, 1) DUAL itself,
        :math:`T_{sm}`.

        Raises
        ------
        ValueError
            It does not within the run.
        """
        value = 0.5 * deviation_power * np.log(self.variance) + difficulty_power * np.log1p(-self.mean)
        ahead = np.flatnonzero(value[:, 0] > value[:, 1])
        if len(ahead) == 0:
            raise ValueError(f"no crossing within {len(value)} windows: take more steps")
        return int(ahead[0])

    def crossings(self) -> tuple[int, int, int]:
        r""":math:`(T_v, T_{vm}, T_{sm})`."""
        pairs = ((2.0, 0.0), (2.0, 1.0), (1.0, 1.0))
        v, vm, sm = (self.crossing(deviation_power=a, difficulty_power=b) for a, b in pairs)
        return v, vm, sm


def two_points(
    *,
    learning_rate: float,
    num_steps: int,
    hard: ArrayLike = HARD,
    easy: ArrayLike = EASY,
    window: int = 10,
    loss: Literal["exponential", "logistic"] = "exponential",
) -> TwoPoints:
    r"""Gradient descent from zero on the sum of the losses of two points of label +1 (the theorem's set-up).

    Parameters
    ----------
    hard, easy : array, shape (2,)
        With :math:`\langle x_1, x_2\rangle > \|x_1\|^2` and :math:`\|x_2\|^2 > \langle x_1, x_2\rangle`.
    """
    x = np.array([hard, easy], dtype=float)
    gram = x @ x.T
    if not (gram[0, 1] > gram[0, 0] and gram[1, 1] > gram[0, 1]):
        raise ValueError(f"hard={hard!r}, easy={easy!r}: ⟨x₁,x₂⟩ > ‖x₁‖² and ‖x₂‖² > ⟨x₁,x₂⟩ needed")
    if loss not in ("exponential", "logistic"):
        raise ValueError(f"loss={loss!r}; allowed are 'exponential' and 'logistic'")
    margins = np.zeros(2)  # the run needs the two products w·x only
    path = np.empty((num_steps, 2))
    for t in range(num_steps):
        path[t] = margins
        slopes = np.exp(-margins) if loss == "exponential" else 1 / (1 + np.exp(margins))
        margins = margins + learning_rate * gram @ slopes
    probabilities = 1 / (1 + np.exp(-path))
    # 1 − p and the spread of p are those of 1 − p, which keeps its digits where p is close to one
    windows = sliding_window_view(1 / (1 + np.exp(path)), window, axis=0)
    return TwoPoints(probabilities, 1 - windows.mean(axis=2), windows.var(axis=2, ddof=1))


def random_pairs(count: int, *, seed: int = 0) -> list[tuple[Array, Array]]:
    """Pairs of points in the plane that meet the theorem's conditions and are not linearly dependent."""
    rng = np.random.default_rng(seed)
    pairs: list[tuple[Array, Array]] = []
    while len(pairs) < count:
        first, second = rng.uniform(0.1, 0.6, 2), rng.uniform(0.5, 2.5, 2)
        inner = first @ second
        if inner > 1.05 * first @ first and second @ second > 1.05 * inner:
            pairs.append((first, second))
    return pairs


def crossing_times(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]], *, time: float = 40.0, learning_rate: float = 0.01
) -> Array:
    r"""Crossing times :math:`(T_v, T_{vm}, T_{sm})` of each pair, shape (pairs, 3).

    Runs last ``time / learning_rate`` steps, and longer where the variances have not crossed by then.
    """
    rows = []
    for hard, easy in pairs:
        num_steps = int(time / learning_rate)
        while True:
            try:
                rows.append(
                    two_points(hard=hard, easy=easy, learning_rate=learning_rate, num_steps=num_steps).crossings()
                )
                break
            except ValueError:
                if num_steps > 100 * time / learning_rate:
                    raise
                num_steps *= 4
    return np.array(rows)


def family_crossings(
    powers: Sequence[float], *, learning_rate: float = 0.01, num_steps: int = 1000
) -> dict[str, float]:
    r"""Crossing time of :math:`s (1-m)^q` for each power q, by the name ``"q = …"``."""
    run = two_points(learning_rate=learning_rate, num_steps=num_steps)
    return {f"q = {q:g}": float(run.crossing(deviation_power=1.0, difficulty_power=q)) for q in powers}


def inclusion_probabilities(weights: ArrayLike, count: int) -> Array:
    """How probable it is that each sample is among `count` drawn one after another, by enumeration; for few samples."""
    w = np.asarray(weights, dtype=float)
    found = np.zeros(len(w))
    for order in permutations(range(len(w)), count):
        left, probability = w.sum(), 1.0
        for i in order:
            probability *= w[i] / left
            left -= w[i]
        found[list(order)] += probability
    return found


def envelope(mean: ArrayLike, num_epochs: int) -> Array:
    r"""Largest standard deviation of `num_epochs` probabilities with this mean, :math:`\sqrt{T/(T-1)\, m(1-m)}`."""
    m = np.asarray(mean, dtype=float)
    return np.sqrt(num_epochs / (num_epochs - 1) * m * (1 - m))
