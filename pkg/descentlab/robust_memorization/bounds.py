r"""How many parameters robustness costs: the paper's bounds, those before it, and ours, as functions.

All are up to constants and logarithms. The upper bounds leave out the additive `d` of the input layer, as the paper does.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

Source = Literal["paper", "prior", "lift"]
Term = Literal["all", "width", "vc"]


def lower_bound(
    n: float, d: float, rho: float, *, source: Literal["paper", "prior"] = "paper", term: Term = "all"
) -> float:
    r"""Parameters that every robust memorizer needs, up to a constant.

    .. math::
        (\rho^2 \min\{n, d\} + 1)\,d + \min\{1/\sqrt{1-\rho^2}, \sqrt d\}\,\sqrt n

    Parameters
    ----------
    n, d : float
        Number of points and dimension, at least 1.
    rho : float
        Radius over separation, in (0, 1).
    source : {"paper", "prior"}
        The paper's; or, before it, :math:`\sqrt n + d`, which jumps to :math:`\sqrt{nd} + d` at
        :math:`\rho = \sqrt{1 - 1/d}`.
    term : {"all", "width", "vc"}
        The sum, the summand of Proposition 3.2 (first layer), or that of Proposition 3.3 (VC dimension).
    """
    _check(n, d, rho)
    if source not in ("paper", "prior"):
        raise ValueError(f"source={source!r}; allowed are 'paper' and 'prior'")
    if term not in get_args(Term):
        raise ValueError(f"term={term!r}; allowed are {', '.join(map(repr, get_args(Term)))}")
    if source == "prior":
        width, vc = d, math.sqrt(n * d if rho >= math.sqrt(1 - 1 / d) else n)
    else:
        width = (rho**2 * min(n, d) + 1) * d
        vc = min(1 / math.sqrt(1 - rho**2), math.sqrt(d)) * math.sqrt(n)
    return {"all": width + vc, "width": width, "vc": vc}[term]


def upper_bound(n: float, d: float, rho: float, *, source: Source = "paper") -> float:
    r"""Parameters that suffice, up to logarithms.

    ============================================  =====================================
    paper (Theorem 4.2)
    :math:`\rho \le 1/(5n\sqrt d)`                :math:`\sqrt n`
    :math:`\rho \le 1/(5\sqrt d)`                 :math:`n\,d^{1/4} \rho^{1/2}`
    above                                         :math:`n\,d^2 \rho^4`
    before
    :math:`\rho \le 1/\sqrt d`                    :math:`n`
    :math:`\rho \le d^{-1/6}`                     :math:`n\,d^3 \rho^6`
    above                                         :math:`n\,d^2`
    lift (derived)                                :math:`(\rho^2 \min\{n, d\} + 1)(d + n)`
    ============================================  =====================================

    Parameters as for `lower_bound`; source : {"paper", "prior", "lift"}.
    """
    _check(n, d, rho)
    if source not in get_args(Source):
        raise ValueError(f"source={source!r}; allowed are {', '.join(map(repr, get_args(Source)))}")
    if source == "lift":
        return (rho**2 * min(n, d) + 1) * (d + n)
    if source == "prior":
        return n if rho <= d**-0.5 else n * d**3 * rho**6 if rho <= d ** (-1 / 6) else n * d**2
    if rho <= 1 / (5 * n * math.sqrt(d)):
        return math.sqrt(n)
    return n * d**0.25 * rho**0.5 if rho <= 1 / (5 * math.sqrt(d)) else n * d**2 * rho**4


def nonzero_bound(n: float, d: float, rho: float, *, side: Literal["lower", "upper"]) -> float:
    r"""The same where only weights that are not zero count (Theorems E.1 and E.2).

    Below :math:`1/(5\sqrt d)` the upper bounds are those of `upper_bound`; above, :math:`n d \rho^2 + d`. Of the lower
    bound only the VC term stays.
    """
    _check(n, d, rho)
    if side == "lower":
        return lower_bound(n, d, rho, term="vc")
    if side != "upper":
        raise ValueError(f"side={side!r}; allowed are 'lower' and 'upper'")
    return upper_bound(n, d, rho) if rho <= 1 / (5 * math.sqrt(d)) else n * d * rho**2 + d


def lp_factor(d: int, p: float) -> float:
    r""":math:`\gamma_p(d) = d^{|1/p - 1/2|}`: a network for :math:`\ell_2` ratio :math:`\gamma_p\rho` serves :math:`\ell_p` ratio :math:`\rho`."""
    if not p >= 1:
        raise ValueError(f"p={p!r}; allowed are numbers from 1 to infinity")
    return float(d ** abs(1 / p - 0.5))


def _check(n: float, d: float, rho: float) -> None:
    if not (n >= 1 and d >= 1):
        raise ValueError(f"n={n!r} and d={d!r} must be at least 1")
    if not 0 < rho < 1:
        raise ValueError(f"rho={rho!r} must be strictly between 0 and 1")
