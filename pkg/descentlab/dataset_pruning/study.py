"""The trainings behind the tables: one seed is four recorded runs and some twenty trainings on subsets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descentlab import training
from descentlab.dataset_pruning import experiments as ex
from descentlab.dataset_pruning import scores as scoring
from descentlab.dataset_pruning import selection
from descentlab.dataset_pruning.dynamics import TrainingDynamics
from descentlab.geometry import Array

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
    clean: ex.Dynamics
    noisy: ex.Dynamics
    corrupted: ex.Dynamics
    mlp: ex.Dynamics
    accuracy: Accuracies
    noisy_accuracy: Accuracies
    from_mlp: Accuracies
    from_cnn: Accuracies


def run_study(
    config: ex.Config, seed: int, *, methods: Mapping[float, Sequence[str]] = METHODS, device: str = "auto"
) -> Study:
    """All trainings of one seed, each from its checkpoint where ``DESCENTLAB_CHECKPOINTS`` has one."""
    problem = ex.make_problem(config, device=device)
    noise = ex.make_problem(config, damage="labels", device=device)
    damage = ex.make_problem(config, damage="images", device=device)
    early = config.scoring_epochs
    clean = ex.record(problem, config, seed, num_epochs=config.num_epochs, name="clean", device=device)
    noisy = ex.record(noise, config, seed, num_epochs=early, name="labels", device=device)
    corrupted = ex.record(damage, config, seed, num_epochs=early, name="images", device=device)
    mlp = ex.record(problem, config, seed, num_epochs=early, network="mlp", name="clean", device=device)
    accuracy = ex.accuracies(methods, clean, problem, config, seed, name="clean", device=device)
    noisy_accuracy = ex.accuracies(NOISY_METHODS, noisy, noise, config, seed, name="labels", device=device)
    from_mlp = ex.accuracies(TRANSFER_METHODS, mlp, problem, config, seed, name="from-mlp", device=device)
    from_cnn = ex.accuracies(
        TRANSFER_METHODS, clean, problem, config, seed, network="mlp", name="from-cnn", device=device
    )
    return Study(seed, clean, noisy, corrupted, mlp, accuracy, noisy_accuracy, from_mlp, from_cnn)


def paper_table(config: ex.Config, *, device: str = "auto") -> Array:
    """Accuracy of DUAL with Beta sampling at the five ratios, mean over the seeds, shape (5,): the paper's main table."""
    cases = [{"config": config, "seed": seed, "device": device} for seed in config.seeds]
    return np.mean(training.sweep(_paper_row, cases), axis=0)


def _paper_row(config: ex.Config, seed: int, device: str) -> list[float]:
    problem, method = ex.make_problem(config, device=device), f"DUAL+β {config.complexities[0]:g}"
    run = ex.record(problem, config, seed, num_epochs=config.scoring_epochs, name="clean", device=device)
    cases = {ratio: (method,) for ratio in ex.RATIOS}
    found = ex.accuracies(cases, run, problem, config, seed, name="clean", device=device)
    return [found[method, ratio] for ratio in ex.RATIOS]


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


def run_studies(config: ex.Config, *, device: str = "auto") -> list[Study]:
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
    config: ex.Config,
    seeds: Sequence[int],
    *,
    num_epochs: int = 12,
    learning_rate: float | None = None,
    device: str = "auto",
) -> Array:
    """Softmax regression: early rank correlation of DUAL minus that of Dyn-Unc, shape (seeds,) (C3e, D5)."""
    rate = config.learning_rate if learning_rate is None else learning_rate
    small = replace(config, num_samples=config.softmax_samples, network="softmax", learning_rate=rate)
    problem, early = ex.make_problem(small, device=device), [min(num_epochs, small.num_epochs - 1)]
    runs = [ex.record(problem, small, seed, num_epochs=small.num_epochs, device=device) for seed in seeds]
    curves = [ex.early_correlation(run, small, epochs=early) for run in runs]
    return np.array([found["DUAL"][0] - found["Dyn-Unc"][0] for found in curves])


def measure(studies: Sequence[Study], config: ex.Config) -> dict[str, Any]:
    """What the studies say about the claims that need trained networks, by claim; entries are seeds, or their mean."""
    return {
        **_measure_scores(studies, config),
        **_measure_accuracy(studies),
        **_measure_damage(studies, config),
    }


def _measure_scores(studies: Sequence[Study], config: ex.Config) -> dict[str, Any]:
    runs, early = [study.clean for study in studies], config.scoring_epochs
    short = [t for t in (5, 6, 8, 10) if config.window < t < config.num_epochs or t == config.window] or [early]
    epochs = list(range(config.window, config.num_epochs + 1))
    curves = [ex.early_correlation(run, config, epochs=epochs) for run in runs]
    at = [epochs.index(t) for t in short]
    tables = [ex.all_scores(run, config) for run in runs]
    steady = ex.stability(runs, config)
    tenth = [{name: run.mean(early)[selection.top_select(s, ratio=0.9)].mean() for name, s in table.items()}
             for run, table in zip(runs, tables, strict=True)]  # fmt: skip
    mean_curve = {name: np.mean([c[name] for c in curves], axis=0) for name in curves[0]}
    windows = [j for j in range(3, 9) if j <= early]
    kept = {m: np.mean([ex.kept_means(r, config, method=m, ratios=ex.RATIOS, seed=s.seed) for r, s in zip(runs, studies, strict=True)], axis=0)
            for m in ("DUAL", "DUAL+β 4")}  # fmt: skip
    stops = [ex.stopping_epoch(run, config) for run in runs]
    return {
        "C3a": np.array([(c["DUAL"] - c["Dyn-Unc"])[at].min() for c in curves]),
        "C3b": np.array([c["DUAL"][epochs.index(early)] for c in curves]),
        "C3c": ex.crossing_epoch(epochs, mean_curve["DUAL"], mean_curve["Dyn-Unc"]),
        "C3d": np.array(
            [
                ex.overlap(t["DUAL"], t["Dyn-Unc"], share=0.2) - ex.overlap(t["Dyn-Unc (T)"], t["Dyn-Unc"], share=0.2)
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


def window_correlations(run: ex.Dynamics, config: ex.Config, windows: Sequence[int]) -> dict[int, float]:
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


def _measure_damage(studies: Sequence[Study], config: ex.Config) -> dict[str, Any]:
    noise = ex.make_problem(config, damage="labels", device="cpu")
    images = ex.make_problem(config, damage="images", device="cpu")
    ratios = (0.3, 0.5, 0.8, 0.9)
    methods = ("DUAL", "DUAL+β 4", "EL2N", "Dyn-Unc (T)")
    noisy = [ex.filtering(s.noisy, noise, config, methods=methods, ratios=ratios, seed=s.seed) for s in studies]
    shares = {m: np.array([found[m] for found in noisy]) for m in methods}  # (seeds, ratios)
    kept = [
        ex.filtering(s.corrupted, images, config, methods=("DUAL",), ratios=(0.3, 0.5, 0.7, 0.9), seed=s.seed)
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
    runs: Sequence[ex.Dynamics],
    noise: ex.Problem,
    config: ex.Config,
    *,
    powers: Sequence[float] = (0, 1, 2),
    ratio: float = 0.3,
) -> dict[str, float]:
    """Share of the wrong labels that s (1 − m)^q prunes, by the name of the power; mean over runs."""
    found = {}
    for q in powers:
        kept = [selection.top_select(scoring.family_score(run.first(config.scoring_epochs), window=config.window, power=q), ratio=ratio)
                for run in runs]  # fmt: skip
        found[f"q = {q:g}"] = float(np.mean([ex.share_pruned(k, noise.damaged) for k in kept]))
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


def time_shares(config: ex.Config, seeds: Sequence[int], *, device: str = "auto") -> dict[str, Array]:
    """Shares of time by claim, a seed an entry: scoring epochs of all epochs over T/E; score and draw of the scoring.

    A fifth of the images is enough: every epoch costs the same.
    """
    count = len(ex.make_problem(config, device=device).data.inputs)
    small = replace(config, num_samples=max(1, count // 5))
    problem, early = ex.make_problem(small, device=device), config.scoring_epochs
    shares: dict[str, list[float]] = {"C10a": [], "C10b": []}
    for seed in seeds:
        clock = _Clock()
        run = ex.record(problem, small, seed, num_epochs=config.num_epochs, callbacks=(clock,), device=device)
        ex.select("DUAL+β 4", run, small, ratio=0.5, seed=seed)  # compiles
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
