"""The data-scarce transition: noise is memorised before signals are learned (Theorem 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from descentlab.weak_to_strong.experiments import Config
from descentlab.weak_to_strong.history import Array
from descentlab.weak_to_strong.patches import HardPatches, PatchData, ideal_pseudo_labels
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
    hard_patches: HardPatches = "opposite",
    seeds: Sequence[int] = (0, 1, 2, 3),
    num_steps: int = 150,
    num_test: int = 2000,
    labels: str = "ideal",
) -> Scarce:
    """Train students where noise is memorised before signals are learned; drawn in the span of the data.

    Give `kappa` or `signal_hard`. `labels` may be ``"true"`` (no flips) or ``"uniform"`` (the same number of flips, on
    samples of any kind).
    """
    if (kappa is None) == (signal_hard is None):
        raise ValueError(f"give one of kappa={kappa} and signal_hard={signal_hard}")
    norm = signal_at(kappa, num_samples, dim, p_both=p_both) if signal_hard is None else signal_hard  # type: ignore[arg-type]
    law: dict[str, Any] = {
        "signal_easy": 2 * norm,
        "signal_hard": norm,
        "probabilities": (0.7 - p_both, 0.3, p_both),
        "hard_patches": hard_patches,
        "dtype": torch.float32,
    }
    data, model = draw_in_span(num_samples, dim, init_scale=1e-3, seed=list(seeds), **law)
    test = PatchData(num_test, data.dim, seed=[1000 + s for s in seeds], **law)
    given = {"ideal": ideal_pseudo_labels(data, seed=seeds[0]), "true": data.labels}
    if labels == "uniform":
        flip = torch.as_tensor(np.random.default_rng([seeds[0], 29]).random(tuple(data.labels.shape)) < 0.15)
        given["uniform"] = torch.where(flip, -data.labels, data.labels)
    rate = 0.5 * num_samples * model.num_filters / dim
    _, h = train_strong(
        model, data, given[labels], learning_rate=rate, num_steps=num_steps, record=[num_steps], test=test
    )
    value = num_samples * p_both**2 * norm**4 / dim
    return Scarce(value, h.train_accuracy[:, -1], h.loss[:, -1], h.test_by_kind[:, -1, 1], h.test_accuracy[:, -1])


def heat_map(config: Config, *, dim: int = 60_000, seed: int = 0) -> dict[tuple[int, float], Scarce]:
    """Runs over the grid (num_samples, signal_hard) of the configuration."""
    seeds = range(seed, seed + config.heat_seeds)
    return {
        (n, norm): scarce_run(n, dim, signal_hard=norm, seeds=seeds, num_test=config.num_test)
        for n in config.heat_samples
        for norm in config.heat_signals
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
