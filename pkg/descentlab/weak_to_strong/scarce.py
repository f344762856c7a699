"""The data-scarce transition: noise is memorised before signals are learned (Theorem 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descentlab.weak_to_strong.experiments import Config
from descentlab.weak_to_strong.history import Array
from descentlab.weak_to_strong.patches import NUM_SIGNALS, HardPatches, PatchData, ideal_pseudo_labels
from descentlab.weak_to_strong.span import draw_in_span
from descentlab.weak_to_strong.training import train_strong


@dataclass(frozen=True)
class Scarce:
    """Students of a perfect linear teacher at one point of the transition; arrays over seeds."""

    kappa: float
    train_accuracy: Array
    loss: Array
    hard: Array
    overall: Array


def signal_at(kappa: float, num_samples: int, dim: int, *, p_both: float = 0.5, noise: float = 1.0) -> float:
    r"""The norm of :math:`\nu` at which :math:`\kappa = n p_b^2 \|\nu\|^4 / (\sigma_p^4 d)`."""
    return float((kappa * noise**4 * dim / (num_samples * p_both**2)) ** 0.25)


def scarce_run(
    num_samples: int,
    dim: int,
    *,
    kappa: float | None = None,
    signal_hard: float | None = None,
    p_both: float = 0.5,
    **arguments: Any,
) -> Scarce:
    """Train students where noise is memorised before signals are learned; drawn in the span of the data.

    Give `kappa` or `signal_hard`; for the other arguments see `scarce_runs`.
    """
    if (kappa is None) == (signal_hard is None):
        raise ValueError(f"give one of kappa={kappa} and signal_hard={signal_hard}")
    norm = signal_at(kappa, num_samples, dim, p_both=p_both) if signal_hard is None else signal_hard  # type: ignore[arg-type]
    return scarce_runs(num_samples, dim, [(norm, p_both)], **arguments)[0]


def scarce_runs(
    num_samples: int,
    dim: int,
    points: Sequence[tuple[float, float]],
    *,
    hard_patches: HardPatches = "opposite",
    seeds: Sequence[int] = (0, 1, 2, 3),
    num_steps: int = 150,
    num_test: int = 2000,
    labels: str = "ideal",
) -> list[Scarce]:
    """`scarce_run` at several points of equal size, side by side: with the same seed their noise is the same.

    Parameters
    ----------
    num_samples, dim : int
    points : sequence of (signal_hard, p_both)
    hard_patches : {"same", "opposite"}
    seeds : sequence of int
    num_steps, num_test : int
    labels : {"ideal", "true", "uniform"}
        Those of a perfect linear teacher, the truth (no flips), or the same number of flips on samples of any kind.
    """
    laws: list[dict[str, Any]] = [
        {
            "signal_easy": 2 * norm,
            "signal_hard": norm,
            "probabilities": (0.7 - p_both, 0.3, p_both),
            "hard_patches": hard_patches,
        }
        for norm, p_both in points
    ]
    given = [_given(num_samples, law, seeds, labels) for law in laws]
    histories = []
    for i, seed in enumerate(seeds):
        data, model = draw_in_span(num_samples, dim, init_scale=1e-3, seed=seed, dtype=torch.float32, **laws[0])
        test = PatchData(num_test, data.dim, seed=1000 + seed, dtype=torch.float32, **laws[0])
        rate = 0.5 * num_samples * model.num_filters / dim
        arguments: dict[str, Any] = {"learning_rate": rate, "num_steps": num_steps, "record": [num_steps]}
        arguments["test"] = test.under_laws(laws, 1000 + seed)
        y = torch.stack([labels[i] for labels in given])
        histories.append(train_strong(model, data.under_laws(laws, seed), y, **arguments)[1])

    def last(name: str) -> Array:
        return np.stack([getattr(h, name)[:, -1] for h in histories], axis=1)

    names = ("train_accuracy", "loss", "test_by_kind", "test_accuracy")
    accuracy, loss, by_kind, overall = (last(name) for name in names)
    kappas = [num_samples * p_both**2 * norm**4 / dim for norm, p_both in points]
    columns = zip(kappas, accuracy, loss, by_kind[..., 1], overall, strict=True)
    return [Scarce(*column) for column in columns]


def _given(num_samples: int, law: dict[str, Any], seeds: Sequence[int], labels: str) -> Tensor:
    """Labels for the student, shape (seeds, n); they do not depend on the noise."""
    data = PatchData(num_samples, NUM_SIGNALS + 1, seed=list(seeds), dtype=torch.float32, **law)
    if labels == "uniform":
        flip = torch.as_tensor(np.random.default_rng([seeds[0], 29]).random(tuple(data.labels.shape)) < 0.15)
        return torch.where(flip, -data.labels, data.labels)
    return {"ideal": ideal_pseudo_labels(data, seed=seeds[0]), "true": data.labels}[labels]


def heat_map(config: Config, *, dim: int = 60_000, seed: int = 0) -> dict[tuple[int, float], Scarce]:
    """Runs over the grid (num_samples, signal_hard) of the configuration."""
    seeds = range(seed, seed + config.heat_seeds)
    points = [(norm, 0.5) for norm in config.heat_signals]
    return {
        (n, norm): run
        for n in config.heat_samples
        for (norm, _), run in zip(
            points, scarce_runs(n, dim, points, seeds=seeds, num_test=config.num_test), strict=True
        )
    }


def contour_slope(samples: Sequence[int], signals: Sequence[float], accuracy: Array) -> float:
    r"""Slope of the level sets of accuracy in :math:`\log n` against :math:`\log \|\nu\|`.

    Least squares for the probit :math:`\Phi^{-1}(\text{accuracy})` as a linear function of both logarithms, on the points
    where it is neither saturated nor chance; minus the ratio of the two coefficients.

    Parameters
    ----------
    samples, signals : sequences of a and b numbers
    accuracy : array, shape (a, b)
    """
    from scipy.special import ndtri

    log_n, log_nu = np.meshgrid(np.log(samples), np.log(signals), indexing="ij")
    inside = (accuracy > 0.55) & (accuracy < 0.9)
    design = np.stack([log_n[inside], log_nu[inside], np.ones(inside.sum())], axis=1)
    # the probit grows like the square root of kappa, so that its logarithm is linear
    height = np.log(ndtri(accuracy[inside]))
    along_n, along_nu, _ = np.linalg.lstsq(design, height, rcond=None)[0]
    return float(-along_nu / along_n)
