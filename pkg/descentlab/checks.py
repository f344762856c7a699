"""Small checks of arguments, shared by all tools: each returns the value, or raises an error that names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def whole(name: str, value: Any, *, least: int = 0, most: float = math.inf) -> int:
    """A whole number in [least, most]."""
    try:
        number = int(value)
        fits = number == value and least <= number <= most
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        above = "" if most == math.inf else f" to {most:g}"
        raise ValueError(f"{name}={value!r} must be a whole number from {least}{above}")
    return number


def real(
    name: str, value: Any, *, least: float = -math.inf, below: float = math.inf, above: float = -math.inf
) -> float:
    """A finite number, at least `least`, greater than `above`, less than `below`."""
    try:
        number = float(value)
        fits = math.isfinite(number) and least <= number < below and number > above
    except (TypeError, ValueError):
        fits = False
    if not fits:
        low = f"({above:g}" if above > -math.inf else f"[{least:g}" if least > -math.inf else "(-inf"
        raise ValueError(f"{name}={value!r} must be a finite number in {low}, {below:g})")
    return number


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """One of the allowed values."""
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name}={value!r}; allowed are {', '.join(map(repr, allowed))}")
    return value


def divisor(name: str, value: Any, total: int) -> int:
    """A whole number that divides `total`."""
    if whole(name, value, least=1) > total or total % int(value):
        divisors = [k for k in range(1, total + 1) if total % k == 0]
        raise ValueError(f"{name}={value!r} does not divide the {total} samples; allowed are {divisors}")
    return int(value)


def vector(name: str, value: ArrayLike, length: int) -> NDArray[np.float64]:
    """A copy of a vector of finite float64 numbers, shape (length,)."""
    array = np.array(value, dtype=np.float64)
    if array.shape != (length,) or not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has shape {array.shape}; expected ({length},) with finite entries")
    return array
