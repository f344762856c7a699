"""Data and experiments of the chapter, as pure functions: no printing, no plotting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.continual_classification.limits import (
    Forgetting,
    cycle_averaged_forgetting,
    horizon_step,
    increment_error,
    joint_limit,
)
from descentlab.continual_classification.methods import TaskOrder, Tasks, as_tasks, joint_minimizer, sequential_gd
from descentlab.geometry import Array, Trajectory, cosine, l2_max_margin

if TYPE_CHECKING:
    from descentlab.data import Dataset


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_cycles : int
        Cycles of a run on toy data.
    num_image_cycles : int
        Cycles of the run on images.
    num_network_cycles : int
        Cycles of a network's run.
    num_seeds : int
        Random orders.
    num_network_seeds : int
        Initialisations of the network.
    network_images : int
        Training images of each class for the network.
    """

    num_cycles: int
    num_image_cycles: int
    num_network_cycles: int
    num_seeds: int
    num_network_seeds: int
    network_images: int


SMOKE = Config(20_000, 200, 4, 2, 2, 20)
BOOK = Config(1_000_000, 20_000, 100, 3, 3, 200)
FULL = Config(1_000_000, 20_000, 100, 20, 10, 200)

CLUSTERED = ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))
INTERLEAVED = ((0, 4, 8, 1), (5, 9, 2, 6), (10, 3, 7, 11))
PAIRS = ((0, 1), (2, 3), (4, 5))


# Data ---------------------------------------------------------------------------------------------------------------


def plane_tasks() -> Tasks:
    """Data A: two tasks of two points in the plane, whose own max-margin directions are far from the joint one."""
    return as_tasks([[(1.5, -0.5), (2.0, 1.0)], [(-0.6, 1.2), (0.5, 2.5)]])


def space_tasks() -> Tasks:
    """Data B: two tasks of two points in space, for the picture."""
    return as_tasks([[(1.61, -0.51, -0.06), (1.17, -0.95, 1.09)], [(-0.59, 1.53, 0.10), (-0.89, 1.09, 0.84)]])


def three_tasks() -> Tasks:
    """Three tasks of two points in space, one of each a support vector and the other far beyond."""
    return as_tasks(
        [
            [(1.0, -0.2, 0.3), (2.0, 1.0, 1.0)],
            [(-0.3, 1.0, 0.2), (1.0, 2.0, 0.5)],
            [(0.2, -0.4, 1.0), (0.5, 1.0, 2.0)],
        ]
    )


def acute_tasks() -> Tasks:
    """Two tasks in the plane without a negative inner product between samples."""
    return as_tasks([[(2.0, 0.3), (1.6, 0.6)], [(0.6, 1.4), (0.3, 2.0)]])


def stopping_tasks() -> Tasks:
    """One sample a task, for which projections stop at another separator than the joint max-margin one."""
    return as_tasks([[(0.6, 0.6)], [(0.5, 0.0)]])


def clustered_points() -> Array:
    """Twelve points in ten dimensions, in three clusters of four, shape (12, 10)."""
    rng = np.random.default_rng(11)
    base = np.full(10, 1 / np.sqrt(10))
    frame, triangular = np.linalg.qr(np.column_stack([base, rng.standard_normal((10, 3))]))
    # a factorisation fixes its columns only up to their signs: these are the ones with this diagonal
    signs = np.sign(np.diag(triangular)) * np.array([1.0, 1.0, 1.0, -1.0])
    centres = (frame * signs)[:, 1:].T
    centres = centres - centres.mean(axis=0)
    return np.array(
        [0.6 * base + 1.2 * centres[c] + 0.25 * rng.standard_normal(10) for c in range(3) for _ in range(4)]
    )


def split(points: ArrayLike, groups: Sequence[Sequence[int]]) -> Tasks:
    """The rows of `points` distributed over tasks: `CLUSTERED`, `INTERLEAVED` or groups of your own."""
    points = np.asarray(points)
    return as_tasks([points[list(group)] for group in groups])


def overlapping_tasks() -> Tasks:
    """Three tasks of twenty samples in five dimensions with noisy labels: not separable together."""
    rng = np.random.default_rng(0)
    truth, X = rng.standard_normal(5), rng.standard_normal((60, 5))
    y = np.sign(X @ truth + rng.standard_normal(60))
    return as_tasks(np.split(X * y[:, None], 3))


def flipped(tasks: Any) -> Tasks:
    """The tasks with a copy of the first sample, its label flipped, in the last: nothing separates them."""
    tasks = as_tasks(tasks)
    rows = [tasks[m] for m in range(len(tasks))]
    return as_tasks([*rows[:-1], np.vstack([rows[-1], -rows[0][:1]])])


def image_tasks(dataset: Dataset, *, per_class: int, pairs: Sequence[tuple[int, int]] = PAIRS) -> Tasks:
    """Pairs of classes as tasks: the first training images of each class, as vectors of length one.

    Raises
    ------
    ValueError
        If a class has fewer images.
    """
    return as_tasks([_pair(dataset.inputs, dataset.targets, pair, per_class) for pair in pairs])


def _pair(inputs: Any, targets: Any, pair: tuple[int, int], per_class: int) -> Array:
    """Images of two classes as unit rows, the second class negative."""
    rows = []
    for number, sign in zip(pair, (1.0, -1.0), strict=True):
        members = (targets == number).nonzero()[:per_class, 0]
        if len(members) < per_class:
            raise ValueError(f"per_class={per_class}: class {number} has only {len(members)} training images")
        images = inputs[members].cpu().numpy().astype(np.float64).reshape(per_class, -1)
        rows.append(sign * images / np.linalg.norm(images, axis=1, keepdims=True))
    return np.concatenate(rows)


# Experiments --------------------------------------------------------------------------------------------------------


def paths(tasks: Any, *, num_stages: int, num_steps: int = 10, learning_rate: float = 0.1) -> dict[str, Trajectory]:
    """Every iterate of gradient descent: in turn, on the joint loss, and on each task alone (Figure 1).

    The joint path takes as many joint steps as the continual one takes of each task.
    """
    tasks = as_tasks(tasks)
    common: dict[str, Any] = {"num_steps": num_steps, "learning_rate": learning_rate, "record": range(num_stages + 1)}
    runs = {"in turn": sequential_gd(tasks, num_stages=num_stages, **common)}
    runs["together"] = sequential_gd([tasks.X], num_stages=num_stages, **common)
    for m in range(len(tasks)):
        runs[f"task {m} alone"] = sequential_gd([tasks[m]], num_stages=num_stages, **common)
    return runs


def own_directions(tasks: Any) -> Array:
    """The max-margin direction of each task alone, shape (M, d)."""
    tasks = as_tasks(tasks)
    return np.array([l2_max_margin(tasks[m]).direction for m in range(len(tasks))])


def increment_errors(
    tasks: Any, learning_rates: Sequence[float], *, num_stages: int, num_steps: int = 10, order: TaskOrder = "cyclic"
) -> list[float]:
    """`increment_error` over the second half of a run, for each learning rate."""
    errors = []
    for rate in learning_rates:
        run = sequential_gd(
            tasks, num_stages=num_stages, num_steps=num_steps, learning_rate=rate, order=order, record=[num_stages // 2]
        )
        errors.append(increment_error(tasks, run.weights[-1], run.weights[0]))
    return errors


def stage_lengths(tasks: Any, *, num_updates: int, num_steps: Sequence[int], learning_rate: float) -> list[float]:
    """Cosine to the joint solution after the same number of updates, in stages of different length."""
    solution = joint_limit(tasks).solution
    ends = [
        sequential_gd(
            tasks, num_stages=num_updates // K, num_steps=K, learning_rate=learning_rate, record=[num_updates // K]
        ).weights[-1]
        for K in num_steps
    ]
    return [cosine(w, solution) for w in ends]


def constant_step_bias(tasks: Any, learning_rates: Sequence[float], *, num_cycles: int, num_steps: int = 10) -> Array:
    """Distance of the limit of cyclic gradient descent to the joint minimiser, over the step size."""
    minimiser = joint_minimizer(tasks)
    stages = num_cycles * len(as_tasks(tasks))
    ends = [
        sequential_gd(tasks, num_stages=stages, num_steps=num_steps, learning_rate=rate, record=[stages]).weights[-1]
        for rate in learning_rates
    ]
    return np.linalg.norm(np.array(ends) - minimiser, axis=1) / np.asarray(learning_rates)


def horizon_runs(
    tasks: Any, num_cycles: Sequence[int], *, num_steps: int = 10, order: TaskOrder = "cyclic", seed: int = 0
) -> Array:
    """Squared distance to the joint minimiser after each horizon, with the step tuned to it."""
    tasks, minimiser = as_tasks(tasks), joint_minimizer(tasks)
    ends = [
        sequential_gd(
            tasks, num_stages=J * len(tasks), num_steps=num_steps, order=order, seed=seed, record=[J * len(tasks)],
            learning_rate=horizon_step(tasks, num_cycles=J, num_steps=num_steps),
        ).weights[-1]
        for J in num_cycles
    ]  # fmt: skip
    return np.sum((np.array(ends) - minimiser) ** 2, axis=1)


def falling_step_run(
    tasks: Any, *, num_cycles: int, decay: float, strong_convexity: float, num_steps: int = 10, largest: float
) -> tuple[NDArray[np.int64], Array]:
    r"""Cyclic run with steps :math:`c/(\mu K j)` in cycle `j`, at most `largest`: cycles, and distance to the minimiser."""
    tasks = as_tasks(tasks)
    cycles = np.unique(np.geomspace(1, num_cycles, 60).round().astype(int))
    rates = np.minimum(largest, decay / (strong_convexity * num_steps * np.arange(1, num_cycles + 1)))
    run = sequential_gd(
        tasks, num_stages=num_cycles * len(tasks), num_steps=num_steps,
        learning_rate=np.repeat(rates, len(tasks)), record=cycles * len(tasks),
    )  # fmt: skip
    return cycles, np.linalg.norm(run.weights - joint_minimizer(tasks), axis=1)


def forgetting_by_order(
    tasks: Any, orders: Sequence[Sequence[int]], *, num_cycles: int, num_steps: int, learning_rate: float
) -> list[Forgetting]:
    """Forgetting in the last cycle, for several orders of the tasks within a cycle."""
    return [
        cycle_averaged_forgetting(
            tasks, num_cycles=num_cycles, num_steps=num_steps, learning_rate=learning_rate, order=order,
            record=[num_cycles],
        )
        for order in orders
    ]  # fmt: skip
