"""Two points, one hard and one easy: when each score notices the hard one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from descentlab.geometry import Array

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
