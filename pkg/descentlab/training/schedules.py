"""Learning-rate schedules: functions from the number of steps done to a factor of the optimizer's learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def count_steps(num_samples: int, *, batch_size: int, num_epochs: int) -> int:
    """Updates in `num_epochs` epochs, a smaller last batch included."""
    for name, value in (("num_samples", num_samples), ("batch_size", batch_size), ("num_epochs", num_epochs)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} must be a positive whole number")
    return num_epochs * math.ceil(num_samples / batch_size)


def cosine(num_steps: int, *, warmup_steps: int = 0, final: float = 0.0) -> Schedule:
    """A linear rise over `warmup_steps`, then half a cosine from 1 to `final` at `num_steps`.

    Raises
    ------
    ValueError
        Unless ``0 <= warmup_steps < num_steps``.
    """
    if not 0 <= warmup_steps < num_steps:
        raise ValueError(
            f"warmup_steps={warmup_steps!r}, num_steps={num_steps!r}: 0 <= warmup_steps < num_steps needed"
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        along = min(1.0, (step - warmup_steps) / (num_steps - warmup_steps))
        return final + (1 - final) * (1 + math.cos(math.pi * along)) / 2

    return factor
