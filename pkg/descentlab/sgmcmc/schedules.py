"""Step sizes that fall along half a cosine, again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CyclicalSchedule:
    """Step size as a function of the steps done; see `cyclical_schedule`."""

    step_size: float
    cycle_length: int
    min_step_size: float = 0.0
    explore_fraction: float = 0.0

    def __call__(self, step: int) -> float:
        """The step size of update `step`, counted from 0."""
        along = (step % self.cycle_length) / self.cycle_length
        return self.min_step_size + 0.5 * (1 + math.cos(math.pi * along)) * (self.step_size - self.min_step_size)

    def explores(self, step: int) -> bool:
        """Whether update `step` lies in the part of its cycle that runs without noise."""
        return (step % self.cycle_length) < self.explore_fraction * self.cycle_length

    def ends_cycle(self, step: int) -> bool:
        """Whether update `step` is the last one of its cycle: a sample is taken after it."""
        return (step + 1) % self.cycle_length == 0


def cyclical_schedule(
    step_size: float, *, cycle_length: int, min_step_size: float = 0.0, explore_fraction: float = 0.0
) -> CyclicalSchedule:
    r"""Cyclical step size (Zhang et al. 2020), :math:`h_{\min} + \frac12 (1 + \cos(\pi u / K)) (h_0 - h_{\min})`.

    Parameters
    ----------
    step_size : float
        :math:`h_0`, that of the first step of each cycle, exactly.
    cycle_length : int
        :math:`K`; :math:`u = 0, \dots, K - 1` counts the steps within a cycle.
    min_step_size : float
        :math:`h_{\min}`; never quite reached, so that the last step of a cycle still moves.
    explore_fraction : float
        First part of each cycle in which samplers inject no noise. 0 is the paper's schedule.

    Returns
    -------
    CyclicalSchedule
        A callable of the step counted from 0, to be given as a sampler's ``step_size``.

    Raises
    ------
    ValueError
        Unless ``0 <= min_step_size < step_size``, ``cycle_length >= 1`` and ``0 <= explore_fraction < 1``.
    """
    if not (math.isfinite(step_size) and step_size > 0):
        raise ValueError(f"step_size={step_size!r} must be a positive number")
    if not (isinstance(cycle_length, int) and cycle_length >= 1):
        raise ValueError(f"cycle_length={cycle_length!r} must be a whole number, at least 1")
    if not 0 <= min_step_size < step_size:
        raise ValueError(f"min_step_size={min_step_size!r} must be in [0, step_size={step_size!r})")
    if not 0 <= explore_fraction < 1:
        raise ValueError(f"explore_fraction={explore_fraction!r} must be in [0, 1)")
    return CyclicalSchedule(float(step_size), cycle_length, float(min_step_size), float(explore_fraction))
