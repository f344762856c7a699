"""Second moments after epochs in a fixed or random order, and the operators that epochs apply to them."""

from __future__ import annotations

import math
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.random_maps._checks import (
    MAX_DISTINCT,
    Array,
    Order,
    check_maps,
    check_moment,
    check_order,
    finite_or_inf,
    grouped,
    product,
    reshuffled_groups,
)
from descentlab.random_maps._compiled import batched, mean_over_orders, steps_with_replacement

MAX_ENUMERATED = 8
"""Most maps whose orders are written out one by one."""


def svec(S: ArrayLike) -> Array:
    r"""Coordinates of symmetric matrices in an orthonormal basis.

    Parameters
    ----------
    S : array_like, shape (..., D, D)
        Symmetric; what is not is averaged with its transpose.

    Returns
    -------
    ndarray, shape (..., D (D + 1) / 2)
        The lower triangle row by row, entries off the diagonal times :math:`\sqrt2`: the Euclidean inner product of
        two such vectors is the Frobenius inner product of the matrices.
    """
    S = np.asarray(S, dtype=np.float64)
    rows, columns, scales = _triangle(S.shape[-1])
    return (S[..., rows, columns] + S[..., columns, rows]) * (0.5 / scales)


def smat(v: ArrayLike) -> Array:
    """The symmetric matrices with the coordinates `v`, shape (..., D, D): the inverse of `svec`.

    Raises
    ------
    ValueError
        If the last axis of `v` has no length of the form D (D + 1) / 2.
    """
    v = np.asarray(v, dtype=np.float64)
    length = v.shape[-1] if v.ndim else 0
    dim = (math.isqrt(8 * length + 1) - 1) // 2
    if length == 0 or dim * (dim + 1) // 2 != length:
        raise ValueError(f"v has shape {v.shape}; its last axis must have length D (D + 1) / 2")
    rows, columns, scales = _triangle(dim)
    S = np.empty((*v.shape[:-1], dim, dim))
    entries = v * scales
    S[..., rows, columns] = entries
    S[..., columns, rows] = entries
    return S


@cache
def _triangle(dim: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Rows and columns of the lower triangle, and what an entry is times its coordinate."""
    rows, columns = np.tril_indices(dim)
    return rows, columns, np.where(rows == columns, 1.0, math.sqrt(0.5))


def second_moment_epoch(maps: ArrayLike, S: ArrayLike, *, order: Order, counts: ArrayLike | None = None) -> Array:
    """Expected second moment after one epoch.

    Parameters
    ----------
    maps : array_like, shape (..., m, D, D)
        The linear maps of the steps. Leading axes are a batch, such as one entry a step size.
    S : array_like, shape (..., D, D)
        Second moment before the epoch, symmetric; a batch is broadcast against that of `maps`.
    order : {"cyclic", "replacement", "reshuffled"} or sequence of int
        All maps in turn; each step's map drawn anew; all maps in a uniformly random order; or the maps of these
        indices, each as often as it occurs in an epoch.
    counts : array_like of int, shape (m,), optional
        How often each map occurs in an epoch, once unless given; the epoch has ``sum(counts)`` steps. In the cyclic
        order, repetitions of a map follow one another. Equal maps are found and counted without it, too.

    Returns
    -------
    ndarray, shape (..., D, D)
        A matrix that overflows is ``inf`` throughout.

    Raises
    ------
    ValueError
        If an argument has the wrong shape or is not finite, `S` is not symmetric, the sequence does not use each map
        as often as it occurs, or more than `MAX_DISTINCT` maps (`MAX_STATES` vectors of counts) are to be reshuffled.
    """
    maps, counts = check_maps(maps, counts)
    S = check_moment(S, maps.shape[-1])
    sequence = check_order(order, counts)
    with np.errstate(over="ignore", invalid="ignore"):
        if sequence is None and order == "replacement":
            after = batched(steps_with_replacement, *grouped(maps, counts), S)
        elif sequence is None:
            after = batched(mean_over_orders, *reshuffled_groups(maps, counts), S)
        else:
            T = product(maps, counts, sequence)
            after = T @ S @ np.swapaxes(T, -1, -2)
        return finite_or_inf((after + np.swapaxes(after, -1, -2)) / 2)


def epoch_operator(maps: ArrayLike, *, order: Order, counts: ArrayLike | None = None) -> Array:
    """The linear operator that an epoch applies to second moments, as a matrix acting on `svec` coordinates.

    Parameters
    ----------
    maps, order, counts
        As in `second_moment_epoch`.

    Returns
    -------
    ndarray, shape (..., D (D + 1) / 2, D (D + 1) / 2)
        ``svec(S_after) = operator @ svec(S_before)``.

    Raises
    ------
    ValueError
        As in `second_moment_epoch`.
    """
    maps, counts = check_maps(maps, counts)
    sequence = check_order(order, counts)
    dim = maps.shape[-1]
    basis = smat(np.eye(dim * (dim + 1) // 2))
    with np.errstate(over="ignore", invalid="ignore"):
        if sequence is None and order == "replacement":
            distinct, multiplicities = grouped(maps, counts)
            one = multiplicities / multiplicities.sum()
            step = sum(weight * _congruence_matrix(distinct[..., i, :, :], basis) for i, weight in enumerate(one))
            return np.linalg.matrix_power(step, int(counts.sum()))
        if sequence is None:
            after = batched(mean_over_orders, *reshuffled_groups(maps[..., None, :, :, :], counts), basis)
            return np.ascontiguousarray(np.swapaxes(svec(after), -1, -2))
        return _congruence_matrix(product(maps, counts, sequence), basis)


def second_moments(
    maps: ArrayLike, S: ArrayLike, *, num_epochs: int, order: Order, counts: ArrayLike | None = None
) -> Array:
    """Expected second moment after many epochs, by repeated squaring of the epoch's operator.

    Parameters
    ----------
    maps, S, order, counts
        As in `second_moment_epoch`. With ``"reshuffled"`` each epoch has a fresh order.
    num_epochs : int
        Not negative; the cost grows with its logarithm.

    Returns
    -------
    ndarray, shape (..., D, D)
        A matrix that overflows is ``inf`` throughout.

    Raises
    ------
    ValueError
        As in `second_moment_epoch`, or if `num_epochs` is no integer ≥ 0.
    """
    if int(num_epochs) != num_epochs or num_epochs < 0:
        raise ValueError(f"num_epochs={num_epochs!r} must be an integer that is not negative")
    maps, counts = check_maps(maps, counts)
    S = check_moment(S, maps.shape[-1])
    sequence = check_order(order, counts)
    with np.errstate(over="ignore", invalid="ignore"):
        if sequence is None:
            power = np.linalg.matrix_power(epoch_operator(maps, order=order, counts=counts), int(num_epochs))
            return finite_or_inf(smat((power @ svec(S)[..., None])[..., 0]))
        T = np.linalg.matrix_power(product(maps, counts, sequence), int(num_epochs))
        after = T @ S @ np.swapaxes(T, -1, -2)
        return finite_or_inf((after + np.swapaxes(after, -1, -2)) / 2)


def enumerate_orders(maps: ArrayLike) -> Array:
    """The operator of a reshuffled epoch from all n! orders, one by one: the slow check of `epoch_operator`.

    Parameters
    ----------
    maps : array_like, shape (n, D, D)
        At most `MAX_ENUMERATED`.

    Returns
    -------
    ndarray, shape (D (D + 1) / 2, D (D + 1) / 2)
        Acting on `svec` coordinates.

    Raises
    ------
    ValueError
        If there are more than `MAX_ENUMERATED` maps.
    """
    maps, counts = check_maps(maps, None)
    num_maps, dim = len(counts), maps.shape[-1]
    if maps.ndim != 3 or num_maps > MAX_ENUMERATED:
        raise ValueError(
            f"maps has shape {maps.shape}: {num_maps}! orders are written out for one set of at most {MAX_ENUMERATED} "
            f"maps; epoch_operator(order='reshuffled') does the same for up to {MAX_DISTINCT} distinct ones"
        )
    products = np.eye(dim)[None]
    order = np.array(list(permutations(range(num_maps))))
    for step in range(num_maps):  # all orders side by side
        products = maps[order[:, step]] @ products
    flat = products.reshape(len(order), dim * dim)
    pairs = (flat.T @ flat / len(order)).reshape(dim, dim, dim, dim)  # mean of T[a, b] T[c, d]
    return svec(np.einsum("abcd,kbd->kac", pairs, smat(np.eye(dim * (dim + 1) // 2)))).T


def _congruence_matrix(T: Array, basis: Array) -> Array:
    r""":math:`S \mapsto T S T^\top` as a matrix on `svec` coordinates, shape (..., size, size)."""
    after = T[..., None, :, :] @ basis @ np.swapaxes(T, -1, -2)[..., None, :, :]
    return np.ascontiguousarray(np.swapaxes(svec(after), -1, -2))
