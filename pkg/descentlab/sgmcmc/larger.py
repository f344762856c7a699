"""The comparison on 4000 images and hidden layers of 64 units, depths and temperatures included: minutes, not seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from descentlab.sgmcmc.images import Images, Method, Scores, run_methods, score

LARGER: dict[str, Any] = {"widths": (64, 64), "cycle_length": 300}
# fmt: off
LARGER_METHODS = (
    Method("SGHMC, h = 1e-3", 1e-3, 30.0),
    Method("SGHMC, h = 2e-3", 2e-3, 15.0),
    Method("PX paper, h = 1e-3", 1e-3, 30.0, 0.3, "paper", 0.1, 2.0),
    Method("PX exact, h = 1e-3", 1e-3, 30.0, 30.0, "exact"),
)
# fmt: on


def compare_larger(
    images: Images, *, num_cycles: int = 15, num_dropped: int = 4, num_chains: int = 4, seed: int = 0
) -> dict[str, Scores]:
    """The samplers on 4000 images and hidden layers of 64 units."""
    runs = run_methods(
        LARGER_METHODS,
        images,
        num_cycles=num_cycles,
        num_dropped=num_dropped,
        num_chains=num_chains,
        seed=seed,
        **LARGER,
    )
    return {name: score(run, images) for name, run in runs.items()}


@dataclass(frozen=True, eq=False)
class Depth:
    """One depth of the ablation: scores, and the extreme singular values of the square hidden layer, averaged."""

    scores: Scores
    largest: float
    smallest: float


def compare_depths(
    images: Images, target: str, depths: Sequence[tuple[int, int]], *, num_cycles: int = 10, num_dropped: int = 3,
    num_chains: int = 3, seed: int = 0,
) -> dict[tuple[int, int], Depth]:  # fmt: skip
    """Expansions of several depths, all else equal: h = 7e-4, friction 30 everywhere."""
    found = {}
    for left, right in depths:
        variance, precision = (0.2, None) if target == "exact" else (0.1, 2.0)
        kind = target if left + right else None
        method = Method("depth", 7e-4, 30.0, 30.0, kind, variance if kind else 0.2, precision, left, right)
        run = run_methods(
            [method], images, num_cycles=num_cycles, num_dropped=num_dropped, num_chains=num_chains, seed=seed, **LARGER
        )["depth"]
        square = next(t for t in run.samples.values() if t.ndim == 4 and t.shape[-1] == t.shape[-2])
        values = torch.linalg.svdvals(square[:, -1])
        found[left, right] = Depth(score(run, images), float(values[:, 0].mean()), float(values[:, -1].mean()))
    return found


def compare_temperatures(
    images: Images, temperatures: Sequence[float] = (1.0, 0.1, 0.01), *, num_cycles: int = 12, num_dropped: int = 4,
    num_chains: int = 4, seed: int = 0,
) -> dict[str, list[Scores]]:  # fmt: skip
    """SGHMC and the paper's expansion at several temperatures."""
    found: dict[str, list[Scores]] = {}
    for base in (LARGER_METHODS[1], LARGER_METHODS[2]):
        for temperature in temperatures:
            method = replace(base, temperature=temperature)
            run = run_methods(
                [method],
                images,
                num_cycles=num_cycles,
                num_dropped=num_dropped,
                num_chains=num_chains,
                seed=seed,
                **LARGER,
            )
            found.setdefault(base.name, []).append(score(run[base.name], images))
    return found
