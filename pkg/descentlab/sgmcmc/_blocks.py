"""Parameters in blocks: a tensor, or a mapping or sequence of tensors, each with the chains as its first axis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat

import torch
from torch import Tensor

Params = Any  # Tensor, mapping of names to tensors, or sequence of tensors
Setting = Any  # float, Tensor, or mapping of block names to either


def split(params: Params) -> tuple[list[str], list[Tensor]]:
    """Names and tensors of the blocks, in order.

    Raises
    ------
    ValueError
        `params` holds anything but tensors of floating-point numbers, or nothing.
    """
    if isinstance(params, Tensor):
        names, tensors = [""], [params]
    elif isinstance(params, Mapping):
        names, tensors = [str(k) for k in params], list(params.values())
    elif isinstance(params, Sequence):
        names, tensors = [str(k) for k in range(len(params))], list(params)
    else:
        raise ValueError(f"params={type(params).__name__}: expected a tensor, or a mapping or sequence of tensors")
    for name, tensor in zip(names, tensors, strict=True):
        if not (isinstance(tensor, Tensor) and tensor.is_floating_point()):
            raise ValueError(f"params: block {name!r} is not a tensor of floating-point numbers")
    if not tensors:
        raise ValueError("params: expected at least one block, found none")
    return names, tensors


def join(like: Params, tensors: Sequence[Tensor]) -> Params:
    """Tensors in the layout of `like`."""
    if isinstance(like, Tensor):
        return tensors[0]
    if isinstance(like, Mapping):
        return dict(zip(like, tensors, strict=True))
    return tuple(tensors)


def settings(value: Setting, names: Sequence[str], blocks: Sequence[Tensor], argument: str) -> list[float | Tensor]:
    """What `value` is for each block: as it is, by the block's name, or one entry a chain made to broadcast.

    Raises
    ------
    ValueError
        A mapping misses a block, or a tensor does not broadcast against its block.
    """
    if isinstance(value, Mapping):
        missing = [name for name in names if name not in value]
        if missing:
            raise ValueError(f"{argument}: no entry for the blocks {', '.join(map(repr, missing))}")
        return [_fit(value[name], block, argument) for name, block in zip(names, blocks, strict=True)]
    if not isinstance(value, Tensor):
        return [float(value)] * len(blocks)
    if value.ndim == 1 and all(len(value) == len(block) for block in blocks):  # one entry a chain: the same for all
        value = value.to(blocks[0].device, blocks[0].dtype)
        shaped = {block.ndim: value.view(-1, *[1] * (block.ndim - 1)) for block in blocks}
        return [shaped[block.ndim] for block in blocks]
    return [_fit(value, block, argument) for block in blocks]


class Remembered:
    """A setting that stays the same, fitted to the blocks and laid out with `level` once."""

    def __init__(self, value: Setting, argument: str):
        self.value, self.argument = value, argument
        self._fitted: dict[Any, float | Tensor] = {}

    def __call__(self, names: Sequence[str], blocks: Sequence[Tensor]) -> float | Tensor:
        key = (blocks[0].device, blocks[0].dtype, *((name, b.shape) for name, b in zip(names, blocks, strict=True)))
        if key not in self._fitted:
            self._fitted = {key: level(settings(self.value, names, blocks, self.argument), blocks)}
        return self._fitted[key]


class Scratch(threading.local):
    """Vectors for intermediate results, kept from step to step: pages fresh from the system cost more than arithmetic.

    Each thread has its own; nothing that a step returns may live in them.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def __call__(self, name: str, like: Tensor, size: int | None = None) -> Tensor:
        """A vector of `size` entries (those of `like`) with the type and device of `like`; its contents are anything."""
        size, found = like.numel() if size is None else size, self.kept.get(name)
        if found is None or len(found) != size or found.dtype != like.dtype or found.device != like.device:
            found = self.kept[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return found


def _fit(value: Any, block: Tensor, argument: str) -> float | Tensor:
    if not isinstance(value, Tensor):
        return float(value)
    if value.ndim == 1 and len(value) == len(block):
        value = value.reshape(-1, *[1] * (block.ndim - 1))
    value = value.to(block.device, block.dtype)
    missing = block.ndim - value.ndim  # torch.broadcast_shapes would load sympy, which takes seconds
    fits = missing >= 0 and all(n in (1, m) for n, m in zip(value.shape, block.shape[max(missing, 0) :], strict=True))
    if not fits:
        raise ValueError(f"{argument}: shape {tuple(value.shape)} does not broadcast against {tuple(block.shape)}")
    return value


def check_numbers(value: Setting, argument: str) -> None:
    """Raise unless a setting is a number or tensor, or a mapping to such."""
    for entry in value.values() if isinstance(value, Mapping) else [value]:
        if isinstance(entry, str) or not isinstance(entry, (Tensor, SupportsFloat)):
            raise ValueError(
                f"{argument}={value!r} must be a number or tensor, or a mapping from names of blocks to them"
            )


def smallest(value: Setting) -> float:
    """Smallest entry of a setting."""
    if isinstance(value, Mapping):
        return min(smallest(v) for v in value.values())
    return float(value.min()) if isinstance(value, Tensor) else float(value)


def combine(function: Callable[..., Any], *values: Setting) -> Setting:
    """`function` of settings, block by block where any of them is a mapping."""
    keys = next((list(v) for v in values if isinstance(v, Mapping)), None)
    if keys is None:
        return function(*values)
    return {k: function(*(v[k] if isinstance(v, Mapping) else v for v in values)) for k in keys}


def normals(like: Sequence[Tensor], generator: torch.Generator | None) -> list[Tensor]:
    """Standard normal numbers in the shapes of `like`, from one draw."""
    total = sum(t.numel() for t in like)
    return parts(torch.randn(total, generator=generator, device=like[0].device, dtype=like[0].dtype), like)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in one vector, block after block: the one that the blocks are views of, or else a copy.

    Updates of one long vector cost a fraction of those of many short tensors; `parts` gives the blocks back.
    """
    if len(tensors) == 1:
        return tensors[0].reshape(-1)
    base, place = tensors[0]._base, 0
    for tensor in tensors:
        if base is None or tensor._base is not base or tensor.storage_offset() != place or not tensor.is_contiguous():
            return torch.cat([t.reshape(-1) for t in tensors])
        place += tensor.numel()
    assert base is not None
    return base if base.ndim == 1 and base.numel() == place else torch.cat([t.reshape(-1) for t in tensors])


def parts(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views of a vector in the shapes of `like`, block after block."""
    pieces = vector.split([t.numel() for t in like])
    return [piece.view(t.shape) for piece, t in zip(pieces, like, strict=True)]


def level(values: Sequence[float | Tensor], like: Sequence[Tensor], into: Scratch | None = None) -> float | Tensor:
    """A setting of each block as one number where it is the same for all, else a vector in the layout of `flat`.

    The vector may lie in a scratch, as long as the next call with it comes after its last use.
    """
    first = values[0]
    if not isinstance(first, Tensor) and all(not isinstance(v, Tensor) and v == first for v in values):
        return first
    if into is not None:
        vector = into("level", like[0], sum(t.numel() for t in like))
        for view, v in zip(parts(vector, like), values, strict=True):
            view.copy_(v) if isinstance(v, Tensor) else view.fill_(v)
        return vector
    rows = [
        v.expand(t.shape).reshape(-1) if isinstance(v, Tensor) else t.new_full((t.numel(),), v)
        for v, t in zip(values, like, strict=True)
    ]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def add_(x: Tensor, y: Tensor, factor: float | Tensor, sign: int = 1) -> Tensor:
    """``x + sign * factor * y`` in place of `x`."""
    return x.addcmul_(y, factor, value=sign) if isinstance(factor, Tensor) else x.add_(y, alpha=sign * factor)


def add(x: Tensor, y: Tensor, factor: float | Tensor) -> Tensor:
    """``x + factor * y``."""
    return torch.addcmul(x, factor.expand_as(y), y) if isinstance(factor, Tensor) else torch.add(x, y, alpha=factor)


def mean_square(tensor: Tensor) -> Tensor:
    """Mean of the squares of each chain, shape (chains,)."""
    return tensor.flatten(1).square().mean(dim=1) if tensor.ndim > 1 else tensor.square()
