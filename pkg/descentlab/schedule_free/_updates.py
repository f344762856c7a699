"""The arithmetic of one step on lists of tensors: fused on the CPU, foreach operations, and torch.compile on a GPU.

All change parameters `y`, fast iterates `z` and second moments `v` in place and leave gradients as they are. A fused step
reads `g`, `y`, `z`, `v` and writes `y`, `z`, `v`: seven passes over memory, as many as AdamW's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descentlab.compiled import njit

CHUNK = 1 << 20  # entries that a thread takes at a time; smaller tensors are not worth a thread


@dataclass(frozen=True)
class Scalars:
    r"""What a step needs besides tensors.

    Attributes
    ----------
    rate : float
        :math:`\gamma_t`.
    pull : float
        :math:`\gamma_t(\beta(1-c)-1)`, the factor of the direction in the step of `y`.
    average : float
        :math:`c_{t+1}`.
    decay : float
        :math:`\lambda`.
    beta2, correction, eps : float
        Memory of the second moment, :math:`1-\beta_2^t`, and :math:`\varepsilon`.
    """

    rate: float
    pull: float
    average: float
    decay: float
    beta2: float = 0.0
    correction: float = 1.0
    eps: float = 0.0


Tensors = Sequence[Tensor]


# Fused, on the CPU ---------------------------------------------------------------------------------------------------


@njit(nogil=True, error_model="numpy")
def _adamw(y, g, z, v, rate, pull, average, decay, beta2, fresh, inverse, eps):
    for i in range(y.size):
        v[i] = beta2 * v[i] + fresh * g[i] * g[i]
        u = g[i] / (np.sqrt(v[i] * inverse) + eps) + decay * y[i]
        y[i] += average * (z[i] - y[i]) + pull * u
        z[i] -= rate * u


@njit(nogil=True, error_model="numpy")
def _sgd(y, g, z, rate, pull, average, decay):
    for i in range(y.size):
        u = g[i] + decay * y[i]
        y[i] += average * (z[i] - y[i]) + pull * u
        z[i] -= rate * u


def can_fuse(*tensors: Tensor) -> bool:
    """Whether tensors of one shape are dense on the CPU, in the same order, and of a type that NumPy has."""
    first = tensors[0]
    return all(
        t.device.type == "cpu"
        and t.dtype in (torch.float32, torch.float64)
        and t.dtype == first.dtype
        and t.stride() == first.stride()
        and _is_dense(t)
        for t in tensors
    )


def _is_dense(t: Tensor) -> bool:
    return t.is_contiguous() or (t.ndim == 4 and t.is_contiguous(memory_format=torch.channels_last))


def _flat(tensor: Tensor) -> np.ndarray:
    """All entries in the order in which they lie in memory, sharing it."""
    return tensor.detach().as_strided((tensor.numel(),), (1,)).numpy()


def fused(ys: Tensors, gs: Tensors, zs: Tensors, vs: Tensors | None, s: Scalars) -> None:
    """One pass over memory, on as many threads as torch uses."""
    kernel = _sgd if vs is None else _adamw
    groups = (ys, gs, zs) if vs is None else (ys, gs, zs, vs)
    jobs: list[tuple[Any, ...]] = []
    for tensors in zip(*groups, strict=True):
        arrays = [_flat(t) for t in tensors]
        number = arrays[0].dtype.type  # scalars of the arrays' type, or the loop would compute in float64
        values = (s.rate, s.pull, s.average, s.decay)
        if vs is not None:
            values += (s.beta2, 1 - s.beta2, 1 / s.correction, s.eps)  # type: ignore[assignment]
        scalars = [number(value) for value in values]
        size = arrays[0].size
        jobs += [(*(a[start : start + CHUNK] for a in arrays), *scalars) for start in range(0, size, CHUNK)]
    threads = min(torch.get_num_threads(), sum(len(job[0]) for job in jobs) // CHUNK)
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:  # the loops hold no lock
            list(pool.map(lambda job: kernel(*job), jobs))
    else:
        for job in jobs:
            kernel(*job)


# Foreach -------------------------------------------------------------------------------------------------------------


def foreach(ys: Tensors, gs: Tensors, zs: Tensors, vs: Tensors | None, s: Scalars) -> None:
    """PyTorch's operations on lists of tensors, any device."""
    y, g, z = list(ys), list(gs), list(zs)
    if vs is not None:
        v = list(vs)
        torch._foreach_mul_(v, s.beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - s.beta2)
        scale = torch._foreach_div(v, s.correction)
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, s.eps)
        direction = list(torch._foreach_div(g, scale))
    else:
        direction = [t.clone() for t in g]
    if s.decay:
        torch._foreach_add_(direction, y, alpha=s.decay)
    torch._foreach_lerp_(y, z, s.average)
    torch._foreach_add_(y, direction, alpha=s.pull)
    torch._foreach_add_(z, direction, alpha=-s.rate)


# Compiled ------------------------------------------------------------------------------------------------------------


def _expressions(ys: Tensors, gs: Tensors, zs: Tensors, vs: Tensors | None, scalars: Tensors) -> None:
    """The step as expressions that a compiler turns into one kernel; scalars are tensors, so that it does so once."""
    rate, pull, average, decay, beta2, correction, eps = scalars
    for i, (y, g, z) in enumerate(zip(ys, gs, zs, strict=True)):
        u = g
        if vs is not None:
            v = beta2 * vs[i] + (1 - beta2) * g * g
            vs[i].copy_(v)
            u = g / ((v / correction).sqrt() + eps)
        u = u + decay * y
        step = average * (z - y) + pull * u
        y.add_(step)
        z.sub_(rate * u)


@cache
def _compiled() -> Callable[..., None]:
    return torch.compile(_expressions)


def compiled(ys: Tensors, gs: Tensors, zs: Tensors, vs: Tensors | None, s: Scalars) -> None:
    """The step through ``torch.compile``: one kernel, where a compiler for the device is installed."""
    scalars = [torch.tensor(value, dtype=ys[0].dtype, device=ys[0].device) for value in astuple(s)]
    _compiled()(list(ys), list(gs), list(zs), None if vs is None else list(vs), scalars)


IMPLEMENTATIONS = {"fused": fused, "foreach": foreach, "compiled": compiled}
