"""Expected gaps over random orders, exactly: no order is ever drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from descentlab import random_maps
from descentlab.incremental_gd.problems import Array, QuadraticSum

MAX_BLOCK = 16
"""Most coordinates that may mix: second moments of d coordinates need matrices with about d^4 / 4 entries."""


def expected_gap(
    problem: QuadraticSum, x0: ArrayLike, *, learning_rate: ArrayLike, num_epochs: int, order: str = "reshuffled"
) -> float | Array:
    r"""Expectation of F(x) minus its least value after `num_epochs` epochs in a random order.

    Parameters
    ----------
    problem : QuadraticSum
    x0 : array_like, shape (d,)
        Start.
    learning_rate : array_like, shape (...)
    num_epochs : int
    order : {"reshuffled", "replacement"}
        A fresh permutation an epoch, or n independent uniform draws.

    Returns
    -------
    float, or ndarray of shape (...) where `learning_rate` has axes
        Infinite where it overflows. With replacement this also says where the mean square diverges although most
        runs converge.

    Raises
    ------
    ValueError
        An argument is outside its range; more than `MAX_BLOCK` coordinates mix; or, reshuffled, more than
        `random_maps.MAX_DISTINCT` different components meet in a set of coordinates that mix and whose curvature
        differs between components. The alternative then is a mean of `incremental_gd` over seeds.

    Notes
    -----
    The expectation is a sum over sets of coordinates that no Hessian couples. In homogeneous coordinates
    :math:`(x, 1)` a step is a matrix, and `random_maps` propagates second moments through a random epoch. Where a
    single coordinate has the same curvature :math:`\lambda` in all components, any number of different tilts has a
    closed form: with :math:`w_i = (1 - \eta\lambda)^{n-i}` and the mean square tilt :math:`s^2`, an epoch adds the variance
    :math:`\eta^2 s^2 [\sum w^2 - ((\sum w)^2 - \sum w^2)/(n-1)]`.
    """
    if order not in ("reshuffled", "replacement"):
        raise ValueError(f"order={order!r}; allowed are 'reshuffled' and 'replacement' (incremental_gd has the others)")
    if num_epochs != int(num_epochs) or num_epochs < 0:
        raise ValueError(f"num_epochs={num_epochs!r} must be an integer that is not negative")
    rates, start = np.asarray(learning_rate, dtype=float), np.asarray(x0, dtype=float)
    if not np.all((rates >= 0) & np.isfinite(rates)):
        raise ValueError(f"learning_rate={learning_rate!r} must be finite and not negative")
    if start.shape != (problem.dim,) or not np.isfinite(start).all():
        raise ValueError(f"x0 of shape {start.shape} must be finite and of shape ({problem.dim},)")
    hessians = problem.hessians[:, :, None] * np.eye(problem.dim) if problem.is_diagonal else problem.hessians
    centred, tilts = start - problem.minimizer, problem.gradients(problem.minimizer)
    total = np.zeros(rates.shape)
    for block in _blocks(hessians):
        arguments = (hessians[:, block[:, None], block], tilts[:, block], centred[block], rates, int(num_epochs))
        alike = np.ptp(arguments[0], axis=0).max() == 0
        single = len(block) == 1 and alike and order == "reshuffled"
        total = total + (_shared_curvature(*arguments) if single else _through_moments(*arguments, order))
    return total if rates.ndim else float(total)


def _blocks(hessians: Array) -> list[NDArray[np.intp]]:
    """Sets of coordinates that no Hessian couples with the others."""
    _, label = connected_components(csr_array(np.abs(hessians).max(axis=0)), directed=False)
    blocks = [np.flatnonzero(label == k) for k in range(label.max() + 1)]
    if (largest := max(map(len, blocks))) > MAX_BLOCK:
        raise ValueError(
            f"problem: {largest} coordinates mix, at most {MAX_BLOCK} can be done exactly; average incremental_gd over seeds"
        )
    return blocks


def _shared_curvature(hessians: Array, tilts: Array, start: Array, rates: Array, num_epochs: int) -> Array:
    """The closed form for one coordinate of one curvature, reshuffled; tilts of mean zero."""
    n, curvature = len(tilts), hessians[0, 0, 0]
    factor = 1 - rates * curvature
    with np.errstate(over="ignore", invalid="ignore"):
        weights = factor[..., None] ** np.arange(n)
        squares, square = (weights**2).sum(axis=-1), weights.sum(axis=-1) ** 2
        spread = squares - (square - squares) / max(n - 1, 1)
        growth = factor ** (2 * n)
        geometric = np.where(growth == 1, num_epochs, (1 - growth**num_epochs) / np.where(growth == 1, 1, 1 - growth))
        moment = growth**num_epochs * start[0] ** 2 + rates**2 * np.mean(tilts**2) * np.maximum(spread, 0) * geometric
        return np.where(np.isnan(moment), np.inf, 0.5 * curvature * moment)


def _through_moments(hessians: Array, tilts: Array, start: Array, rates: Array, num_epochs: int, order: str) -> Array:
    """Any block, by second moments in homogeneous coordinates."""
    n, d = tilts.shape
    maps = np.zeros((*rates.shape, n, d + 1, d + 1))
    maps[...] = np.eye(d + 1)
    scaled = rates[..., None, None, None]
    maps[..., :d, :d] -= scaled * hessians
    maps[..., :d, d:] = -scaled * tilts[:, :, None]
    point = np.append(start, 1.0)
    moments = random_maps.second_moments(maps, np.outer(point, point), num_epochs=num_epochs, order=order)
    with np.errstate(invalid="ignore"):
        gap = 0.5 * (moments[..., :d, :d] * hessians.mean(axis=0)).sum(axis=(-1, -2))
    return np.where(np.isnan(gap), np.inf, gap)
