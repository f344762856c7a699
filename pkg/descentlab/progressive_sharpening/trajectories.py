"""What flows and descents of the minimal model return, and checks that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from descentlab.geometry import Array


@dataclass(frozen=True)
class Trajectory:
    """What a flow or a descent went through.

    Attributes
    ----------
    steps : ndarray, shape (t,)
        Numbers of updates, or times of a flow.
    a : ndarray, shape (t, ..., r)
    v : ndarray, shape (t, ..., depth - 1)
    loss, sharpness : ndarray, shape (t, ...)
        Of the whole data set; the loss includes the floor of labels out of reach.
    """

    steps: Array
    a: Array
    v: Array
    loss: Array
    sharpness: Array


@dataclass(frozen=True)
class Limit:
    """Where the gradient flow ends: the scalar layers `v` (..., depth - 1), and the `sharpness` (...) there.

    Signs are those of the start. A layer of positive imbalance may cross zero on its way; the sharpness does not see it.
    """

    v: Array
    sharpness: Array


@dataclass(frozen=True)
class EdgeLimit:
    r"""Where gradient descent of a given step size ends.

    Attributes
    ----------
    imbalance : float
        C at the end point; NaN where there is none.
    sharpness : float
        :math:`\min(S_\text{flow}, 2/\eta)`, or NaN.
    case : {"unique", "two roots", "none"}
        ``"unique"``: the flow's limit is stable, so that descent ends there too, or 2/η is exactly the least sharpness
        of all minima. ``"two roots"``: minima of two imbalances have sharpness 2/η; the end point is the one on the
        start's side of the flattest minimum. ``"none"``: every minimum is sharper than 2/η.
    """

    imbalance: float
    sharpness: float
    case: Literal["unique", "two roots", "none"]


def as_steps(num_steps: int, record: ArrayLike | None) -> Any:
    """Numbers of updates to record, increasing, the last included; all of them unless given."""
    if isinstance(num_steps, bool) or not isinstance(num_steps, (int, np.integer)) or num_steps < 1:
        raise ValueError(f"num_steps={num_steps!r} must be an integer of at least 1")
    steps = np.arange(num_steps + 1) if record is None else np.unique(np.append(np.asarray(record, int), num_steps))
    if steps[0] < 0 or steps[-1] > num_steps:
        raise ValueError(f"record has {steps[0]} … {steps[-1]}; allowed are 0 … {num_steps}")
    return steps


def as_rate(learning_rate: float) -> float:
    """`learning_rate` as a positive float, or a ValueError."""
    if not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate={learning_rate!r} must be positive and finite")
    return float(learning_rate)
