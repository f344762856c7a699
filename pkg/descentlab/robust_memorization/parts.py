r"""The parts that robust memorizers are made of: floors, flattened cells, integer memorizers, squares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.robust_memorization.registers import Affine, Layer, Program

Array = NDArray[np.float64]


# Floors -------------------------------------------------------------------------------------------------------------


def floor_network(num_bits: int, ramp: float) -> list[Layer]:
    r"""The paper's network for :math:`\lfloor x \rfloor` on :math:`[0, 2^n)` (Lemma B.16).

    It doubles :math:`1 - x/2^n` modulo one, `n` times: exact in real arithmetic where :math:`x - \lfloor x \rfloor`
    exceeds the ramp :math:`\gamma`. In float64 it loses what the slopes :math:`2^n/\gamma` amplify; see `floor_key`.
    """
    _check_ramp(num_bits, ramp)
    program = Program(1)
    (x,) = program.relu(program.units)
    gamma = ramp / 2**num_bits
    slope = (1 - 2 * gamma) / gamma
    turn = x * (-1 / 2**num_bits) + 1
    for _ in range(num_bits):
        x, a, b, c, d = program.relu(x, turn, turn - 0.5 + gamma, turn - 0.5, turn - 1 + gamma)
        turn = 2 * a - (2 + slope) * b + (2 + slope) * c - (2 + slope) * d
    return program.finish(x - 1 + turn)


def floor_key(
    program: Program,
    z: Affine,
    *,
    offset: ArrayLike = 0.0,
    num_bits: int,
    ramp: float,
    weights: ArrayLike,
    guard: bool = False,
    keep: Affine | None = None,
    keep_z: bool = False,
) -> tuple[Affine, Affine | None, Affine | None, Affine | None]:
    r"""Emit :math:`\sum_j w_j \lfloor z_j + b_j \rfloor`, all coordinates in parallel, exact in float64.

    From the highest bit `k` down, with remainder `r`:

    .. math::
        \text{bit} = 1 - \sigma(1 - \sigma((r - 2^k)/\gamma)), \quad r \leftarrow r - 2^k\,\text{bit}.

    Nested ReLUs saturate at exactly 0 and 1, so the floor is exact unless a fractional part of a non-zero integer is in
    the ramp :math:`(0, \gamma)`. With `guard` a second output is at least 1 wherever the fractional part lies in that
    ramp, is never negative, and is 0 where all fractional parts are in :math:`[2\gamma, 1 - \gamma]`: it adds up the
    trapezoids that are 1 for :math:`r - 2^k \in [0, \gamma]` and 0 outside :math:`(-\gamma, 2\gamma)`.

    Parameters
    ----------
    program : Program
    z : Affine
        m units; with the offset in :math:`[0, 2^n)`.
    offset : float or array, shape (m,)
    num_bits : int
        `n`.
    ramp : float
        :math:`\gamma`.
    weights : array, shape (m,)
        Positive integers `w`.
    guard : bool
    keep : Affine, optional
        Other registers that must survive.
    keep_z : bool
        Whether `z` must survive.

    Returns
    -------
    key, alarm, z, keep : Affine or None
        Expressions in the newest units; the last three where they were asked for.
    """
    _check_ramp(num_bits, ramp)
    weights = np.asarray(weights, dtype=float)
    remainder, key, alarm = z + offset, None, None
    for step, bit in enumerate(reversed(range(num_bits))):
        place = 2.0**bit
        steep = (remainder - place) * (1 / ramp)
        ramps = [steep, steep + 1, steep - 1] if guard else [steep]
        follow_z = keep_z and step == 0  # at first the remainder is z, up to its offset
        state = [remainder if not follow_z else None, z if keep_z else None, key, alarm, keep]
        first = program.relu(*ramps, *[e for e in state if e is not None])
        remainder, z, key, alarm, keep = _unpack(first[len(ramps) :], state, (remainder, z, key, alarm, keep))
        if follow_z:
            remainder = z + offset
        ramps = [1 - e for e in first[: len(ramps)]]
        state = [remainder if not follow_z else None, z if keep_z else None, key, alarm, keep]
        second = program.relu(*ramps, *[e for e in state if e is not None])
        remainder, z, key, alarm, keep = _unpack(second[len(ramps) :], state, (remainder, z, key, alarm, keep))
        if follow_z:
            remainder = z + offset
        bits = 1 - second[0]
        remainder = remainder - place * bits
        key = place * (weights @ bits) if key is None else key + place * (weights @ bits)
        if guard:
            trapezoids = (second[2] - second[1]).sum()
            alarm = trapezoids if alarm is None else alarm + trapezoids
    assert key is not None
    return key, alarm, z if keep_z else None, keep


def _unpack(
    fresh: Sequence[Affine], state: Sequence[Affine | None], old: Sequence[Affine | None]
) -> tuple[Affine, Affine, Affine | None, Affine | None, Affine | None]:
    """Put the fresh units in the places of the expressions they were emitted for."""
    units = iter(fresh)
    return tuple(next(units) if e is not None else o for e, o in zip(state, old, strict=True))  # type: ignore[return-value]


def _check_ramp(num_bits: int, ramp: float) -> None:
    if num_bits < 1:
        raise ValueError(f"num_bits={num_bits!r} must be at least 1")
    if not 0 < ramp < 1:
        raise ValueError(f"ramp={ramp!r} must be between 0 and 1")


# Integers -----------------------------------------------------------------------------------------------------------


def hat_kinks(values: Mapping[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kinks and changes of slope of the piecewise linear function with these values at integers, and 0 at all others."""
    changes: dict[int, int] = {}
    for key, value in values.items():
        for place, change in ((key - 1, value), (key, -2 * value), (key + 1, value)):
            changes[place] = changes.get(place, 0) + change
    kinks = sorted(place for place, change in changes.items() if change)
    return np.array(kinks, dtype=np.int64), np.array([changes[k] for k in kinks], dtype=np.int64)


def piecewise(program: Program, x: Affine, values: Sequence[float]) -> Affine:
    """Emit the function that takes `values` at 0, 1, … and is linear in between; no layer where it is affine."""
    slopes = np.diff(np.asarray(values, dtype=x.offset.dtype))
    start = x * slopes[0] + values[0]
    places = np.flatnonzero(np.diff(slopes) != 0)
    if not len(places):
        return start
    units = program.relu(x, program_repeat(x, len(places)) - (places + 1))
    return units[0] * slopes[0] + values[0] + np.diff(slopes)[places] @ units[1]


def program_repeat(x: Affine, times: int) -> Affine:
    """A single expression, `times` times."""
    return np.ones((times, 1), dtype=x.offset.dtype) @ x


@dataclass(frozen=True)
class Words:
    """How keys and labels are packed into integers for `extract_bits`.

    Attributes
    ----------
    key_bits, label_bits, group_size : int
        `B`, `c` and `k`: a word has ``group_size * (key_bits + label_bits)`` bits.
    """

    key_bits: int
    label_bits: int
    group_size: int

    @property
    def length(self) -> int:
        """Bits of a word."""
        return self.group_size * (self.key_bits + self.label_bits)


def best_group_size(num_keys: int, key_bits: int, label_bits: int) -> int:
    r"""The group size that minimises the parameters, :math:`\sqrt{20N/(42B + 56c + 98)}`, at least 1."""
    return max(1, round(math.sqrt(20 * num_keys / (42 * key_bits + 56 * label_bits + 98))))


def extract_bits(
    program: Program, x: Affine, values: Mapping[int, int], words: Words, keep: Affine | None = None
) -> tuple[Affine, Affine | None]:
    r"""Emit a memorizer of integers with :math:`\tilde O(\sqrt N)` parameters, in exact integers.

    Keys are sorted and packed, `group_size` at a time, into words. The network selects the word of the group that a key
    may be in, reads it bit by bit, and outputs the label where the key read equals `x`; other integers give 0. The idea
    is that of Vardi, Yehudai and Shamir (2021).

    Parameters
    ----------
    program : Program
        Of dtype object, unless words have at most 52 bits.
    x : Affine
        One expression: an integer that is not negative.
    values : mapping from int to int
        Keys, all below ``2**key_bits``, and their values, from 1 to ``2**label_bits - 1``.
    words : Words
    keep : Affine, optional
        Registers that must survive.
    """
    keys = sorted(values)
    if keys[0] < 0 or keys[-1] >= 2**words.key_bits:
        raise ValueError(f"values: keys from {keys[0]} to {keys[-1]} do not fit {words.key_bits} bits")
    if min(values.values()) < 1 or max(values.values()) >= 2**words.label_bits:
        raise ValueError(f"values must lie between 1 and {2**words.label_bits - 1}, got {sorted(set(values.values()))}")
    kept = [] if keep is None else [keep]
    groups = [keys[i : i + words.group_size] for i in range(0, len(keys), words.group_size)]
    packed = [_pack(group, values, words) for group in groups]
    word = program.constant(packed[0])
    for group, before, after in zip(groups[1:], packed, packed[1:], strict=False):
        x, word, up, down, *kept = program.relu(x, word, x - (group[0] - 1), x - group[0], *kept)
        word = word + (after - before) * (up - down)
    top, cap = 1 << (words.length - 1), 1 << words.label_bits
    out: Affine | None = None
    for _ in range(words.group_size):
        numbers: list[Affine] = []
        for size in (words.key_bits, words.label_bits):
            number: Affine | None = None
            for _ in range(size):
                state = [e for e in (number, out) if e is not None]
                x, word, up, down, *rest = program.relu(x, word, word - (top - 1), word - top, *numbers, *state, *kept)
                bit = up - down
                word = 2 * word - 2 * top * bit
                numbers = rest[: len(numbers)]
                fresh = iter(rest[len(numbers) :])
                number = bit if number is None else 2 * next(fresh) + bit
                out = next(fresh) if out is not None else None
                kept = list(fresh)
            assert number is not None
            numbers.append(number)
        key, label = numbers
        x, word, over, under, label, *rest = program.relu(
            x, word, x - key, key - x, label, *([out] if out is not None else []), *kept
        )
        out, kept = (rest[0], rest[1:]) if out is not None else (None, rest)
        x, word, hit, *rest = program.relu(
            x, word, label - cap * (over + under), *([out] if out is not None else []), *kept
        )
        out, kept = (rest[0] + hit, rest[1:]) if out is not None else (hit, rest)
    assert out is not None
    return out, (kept[0] if kept else None)


def _pack(group: Sequence[int], values: Mapping[int, int], words: Words) -> int:
    """The word of a group: key and value of each entry from the highest bits down; missing entries are zero."""
    word = 0
    for place in range(words.group_size):
        key, value = (group[place], values[group[place]]) if place < len(group) else (0, 0)
        word = (((word << words.key_bits) | key) << words.label_bits) | value
    return word


# Squares ------------------------------------------------------------------------------------------------------------


def sum_of_squares(
    program: Program, t: Affine, *, levels: int, keep: Affine | None = None, keep_t: bool = False
) -> tuple[Affine, Affine | None]:
    r"""Emit :math:`A` with :math:`0 \le A - \sum_j t_j^2 \le m\,4^{-T-1}` for :math:`t \in [0, 1]^m`.

    .. math::
        g_1 = 2\sigma(t) - 4\sigma(t - \tfrac12), \quad g_{k+1} = 2\sigma(g_k) - 4\sigma(g_k - \tfrac12), \quad
        A = \sum_j t_j - \sum_{k \le T} 4^{-k} \sum_j g_{k,j}.

    Returns the expression and the registers `keep`, in the newest units; with `keep_t` these are `t` itself, which costs
    no units in the first layer.
    """
    if levels < 1:
        raise ValueError(f"levels={levels!r} must be at least 1")
    if keep_t and keep is not None:
        raise ValueError("keep and keep_t exclude each other")
    kept = [] if keep is None else [keep]
    total, wave = t.sum(), t
    for level in range(1, levels + 1):
        # the first layer holds t itself, so that its sum needs no register of its own
        low, high, *rest = program.relu(wave, wave - 0.5, *([] if level == 1 else [total]), *kept)
        total, kept = (low.sum(), rest) if level == 1 else (rest[0], rest[1:])
        if level == 1 and keep_t:
            kept = [low]
        wave = 2 * low - 4 * high
        total = total - 4.0**-level * wave.sum()
    return total, (kept[0] if kept else None)
