r"""What a product of factors does to a step: Lemma 3.1, and the size of the moves of Theorem 3.2.

For :math:`W = A_1 \cdots A_e` with :math:`L_i = A_1 \cdots A_{i-1}` and :math:`R_i = A_{i+1} \cdots A_e`, a gradient
step on the factors moves W by :math:`-P_W \nabla U(W)`,

.. math::
    P_W = \sum_i (R_i^\top R_i) \otimes (L_i L_i^\top),

on column-major vectors; symmetric and positive semidefinite. One step of Langevin dynamics on the factors, of size
:math:`\varepsilon`, moves W by :math:`E\|\Delta W\|^2 = 2 \varepsilon T \operatorname{tr} P_W +
\varepsilon^2 \|P_W \nabla U\|^2` to first orders.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from descentlab.sgmcmc.expansion import expansion_of
from descentlab.sgmcmc.layouts import Group

Array = NDArray[np.float64]


def factors_preconditioner(factors: Sequence[Array]) -> Array:
    """P_W of a product of matrices, on column-major vectors.

    Parameters
    ----------
    factors : sequence of array
        A_1, …, A_e; neighbours fit.

    Returns
    -------
    ndarray, shape (mn, mn)
    """
    terms = [np.kron(after.T @ after, before @ before.T) for before, after in _neighbours(factors)]
    return np.asarray(np.sum(terms, axis=0))


def factors_trace(factors: Sequence[Array]) -> float:
    r"""Trace of P_W, :math:`\sum_i \|L_i\|_F^2 \|R_i\|_F^2`, without building it."""
    return float(sum(np.sum(before**2) * np.sum(after**2) for before, after in _neighbours(factors)))


def expected_move(factors: Sequence[Array], gradient: Array, *, step_size: float, temperature: float = 1.0) -> float:
    r"""Mean of :math:`\|\Delta W\|_F^2` of one Langevin step on the factors, to the first orders of `step_size`."""
    moved = sum(before @ before.T @ gradient @ after.T @ after for before, after in _neighbours(factors))
    return 2 * step_size * temperature * factors_trace(factors) + step_size**2 * float(np.sum(np.asarray(moved) ** 2))


def move_bound(factors: Sequence[Array], gradient: Array, *, step_size: float, temperature: float = 1.0) -> float:
    r"""Upper bound on :math:`E\|\Delta W\|_F` in the manner of Theorem 3.2.

    :math:`\varepsilon e M^{2(e-1)} \|\nabla U\| + M^{e-1} \sqrt{2 T \varepsilon e m n}`, where M, at least 1, bounds all
    singular values of the e factors.
    """
    e = len(factors)
    largest = max(1.0, *(float(np.linalg.norm(a, 2)) for a in factors))
    m, n = factors[0].shape[0], factors[-1].shape[1]
    drift = step_size * e * largest ** (2 * (e - 1)) * float(np.linalg.norm(gradient))
    return drift + largest ** (e - 1) * math.sqrt(2 * temperature * step_size * e * m * n)


def _neighbours(factors: Sequence[Array]) -> list[tuple[Array, Array]]:
    """(L_i, R_i) for each factor."""
    if not factors or any(a.ndim != 2 or a.shape[1] != b.shape[0] for a, b in pairwise(factors)):
        raise ValueError(f"factors of shapes {[np.shape(a) for a in factors]} cannot be multiplied")
    before = [np.eye(factors[0].shape[0])]
    for factor in factors[:-1]:
        before.append(before[-1] @ factor)
    after = [np.eye(factors[-1].shape[1])]
    for factor in reversed(factors[1:]):
        after.append(factor @ after[-1])
    return list(zip(before, reversed(after), strict=True))


# -- of networks ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def preconditioner(model: nn.Module, *, layers: Iterable[str] | None = None, max_side: int = 8192) -> dict[str, Tensor]:
    """P_W of the expanded weights of a network, at its current factors.

    Parameters
    ----------
    model : Module
        From `expand`.
    layers : iterable of str, optional
        Names of the layers; by default all that have an expanded weight.
    max_side : int
        Largest matrix that is built.

    Returns
    -------
    dict of Tensor, shape (m * k, m * k)
        By the layer's name, on column-major vectors of the weight as a matrix of m rows and k columns,
        ``weight.reshape(m, -1)``.

    Raises
    ------
    ValueError
        The model is plain, a layer has no expanded weight, or a matrix would be too large; see `effective_step`.
    """
    params = dict(model.named_parameters())
    groups = {g.layer: g for g in expansion_of(model).groups if g.weight is not None}
    chosen = list(groups) if layers is None else list(layers)
    for name in chosen:
        if name not in groups:
            raise ValueError(f"layers: {name!r} has no expanded weight; there are {', '.join(map(repr, groups))}")
        side = prod(groups[name].shape)
        if side > max_side:
            raise ValueError(
                f"layers: the matrix of {name!r} has {side} rows, max_side={max_side}; effective_step gives its trace"
            )
    return {name: _matrix(groups[name], params) for name in chosen}


@torch.no_grad()
def effective_step(model: nn.Module) -> dict[str, float]:
    r"""By how much the expansion lengthens a Langevin step of each weight: :math:`\operatorname{tr}(P_W) / \dim W`.

    1 for a plain layer. SGHMC's learning rate is the square of its step size, so that its step is comparable to one
    longer by the square root.
    """
    found = effective_steps(expansion_of(model).groups, dict(model.named_parameters()))
    return {layer: float(value) for layer, value in found.items()}


@torch.no_grad()
def effective_steps(groups: Sequence[Group], params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`effective_step` from the parameters of an expanded network by name; chains are a matter of ``vmap``."""
    return {g.layer: _trace(g, params) / prod(g.shape) for g in groups if g.weight is not None}


def _pieces(
    group: Group, params: Mapping[str, Tensor]
) -> tuple[list[Tensor], Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Left factors in the order of the product, V as (m, n, places), right factors; products before and after."""
    left = [params[name] for name in reversed(group.factors("left"))]
    right = [params[name] for name in group.factors("right")]
    m, n = group.shape[:2]
    value = params[group.original("weight")].reshape(m, n, -1)
    before, after = (
        [torch.eye(m, dtype=value.dtype, device=value.device)],
        [torch.eye(n, dtype=value.dtype, device=value.device)],
    )
    for factor in left:
        before.append(before[-1] @ factor)
    for factor in reversed(right):
        after.append(factor @ after[-1])
    return left, value, right, before, after[::-1]


def _matrix(group: Group, params: Mapping[str, Tensor]) -> Tensor:
    left, value, right, before, after = _pieces(group, params)
    m, n, places = value.shape
    expanded = torch.einsum("mps,pn->mns", value, after[0])
    eye = torch.eye(places, dtype=value.dtype, device=value.device)
    total = torch.kron(torch.kron((after[0].T @ after[0]).contiguous(), eye), before[-1] @ before[-1].T)
    rest = expanded.reshape(m, -1)
    for k in range(len(left) - 1, -1, -1):
        total = total + torch.kron((rest.T @ rest).contiguous(), before[k] @ before[k].T)
        rest = left[k] @ rest
    outer = torch.einsum("mp,pns->mns", before[-1], value)
    for k, factor in enumerate(right):
        gram = after[k + 1].T @ after[k + 1]
        # a right factor is shared by the kernel's places s and t, which it therefore couples
        coupled = torch.einsum("ij,oqs,pqt->isojtp", gram, outer, outer)
        total = total + coupled.reshape(m * n * places, m * n * places)
        outer = torch.einsum("mns,nq->mqs", outer, factor)
    return total


def _trace(group: Group, params: Mapping[str, Tensor]) -> Tensor:
    left, value, right, before, after = _pieces(group, params)
    places = value.shape[2]
    total = before[-1].square().sum() * after[0].square().sum() * places
    rest = torch.einsum("mps,pn->mns", value, after[0]).reshape(len(value), -1)
    for k in range(len(left) - 1, -1, -1):
        total = total + before[k].square().sum() * rest.square().sum()
        rest = left[k] @ rest
    outer = torch.einsum("mp,pns->mns", before[-1], value)
    for k, factor in enumerate(right):
        total = total + outer.square().sum() * after[k + 1].square().sum()
        outer = torch.einsum("mns,nq->mqs", outer, factor)
    return total
