"""The paper's table of rates as functions of the number of epochs: what its first figure draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from descentlab.incremental_gd.experiments import Instance, minimum_gaps
from descentlab.incremental_gd.instances import (
    large_epoch_convex_instance,
    large_epoch_nonconvex_instance,
    nonconvex_instance,
    polygon_instance,
    shared_hessian_instance,
)
from descentlab.incremental_gd.problems import Array


def rate(name: str, num_epochs: ArrayLike, *, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200) -> Array:
    r"""A bound on the gap without its constant and its logarithms (arXiv 2506.04126, Table 1 and Figure 1).

    Parameters
    ----------
    name : str
        One of `RATES`.
    num_epochs : array_like, shape (...)
        K.
    mu, L, G, n : float
        Strong convexity, smoothness, size of the components' gradients, number of components.

    Returns
    -------
    ndarray, shape (...)

    Raises
    ------
    ValueError
        The name is unknown.
    """
    K, kappa = np.asarray(num_epochs, dtype=float), L / mu
    with np.errstate(over="ignore"):
        values = {
            "shared Hessian": G**2 / (mu * K),
            "strongly convex, lower": L * G**2 / mu**2 * np.minimum(1, kappa**2 / K**4),
            "strongly convex, upper": L**2 * G**2 / (mu**3 * K**2),
            "nonconvex": G**2 / L * np.exp(n * np.log1p(L / (2 * mu * n * K))),
            "replacement": G**2 / (mu * n * K),
            "large epochs, convex": L * G**2 / (mu**2 * K**2),
            "large epochs, nonconvex": L**2 * G**2 / (mu**3 * K**2),
        }
    if name not in values:
        raise ValueError(f"name={name!r}; allowed are {', '.join(map(repr, values))}")
    return np.asarray(values[name])


RATES = (
    "shared Hessian",
    "strongly convex, lower",
    "strongly convex, upper",
    "nonconvex",
    "replacement",
    "large epochs, convex",
    "large epochs, nonconvex",
)

_LOWER: dict[str, tuple[Instance, bool]] = {
    "shared Hessian": (shared_hessian_instance, True),
    "strongly convex, lower": (polygon_instance, True),
    "nonconvex": (nonconvex_instance, True),
    "large epochs, convex": (large_epoch_convex_instance, False),
    "large epochs, nonconvex": (large_epoch_nonconvex_instance, False),
}


@dataclass(frozen=True)
class RateCheck:
    """Measured least gaps of one row of the table.

    Attributes
    ----------
    name : str
        The lower bound, one of `RATES`.
    epochs, gaps, ratios : ndarray, shape (m,)
        K, the least gap over step sizes, and that over the bound without its constant.
    """

    name: str
    epochs: Array
    gaps: Array
    ratios: Array


def rate_table(
    *, condition: float = 200.0, n: int = 200, num_rates: int = 120, small: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
) -> list[RateCheck]:
    """Least gaps on the five constructions beside the lower bounds that they prove.

    The constructions for few epochs are measured at K in `small`, the others at 1 to 32 times the condition number.
    """
    large = tuple(int(condition * 2**k) for k in range(6))
    rows = []
    for name, (instance, few) in _LOWER.items():
        found = minimum_gaps(instance, small if few else large, num_rates=num_rates, L=condition, n=n)
        ratios = found.gaps / rate(name, found.epochs, L=condition, n=n)
        rows.append(RateCheck(name, found.epochs.astype(float), found.gaps, ratios))
    return rows
