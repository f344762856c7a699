"""Where the factors of an expanded network stand, and the arithmetic of their products.

A weight of shape (out, in, ...) is read as a matrix of its first two axes for each place in the kernel; a factor on
the left multiplies the outputs, one on the right the inputs. All functions take tensors with any number of leading
axes, so that the chains of a sampler are multiplied out together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Tensors of one layer that share their factors.

    Attributes
    ----------
    layer : str
        Name of the module; ``""`` is the model itself.
    weight : str or None
        Name of its weight, expanded on both sides; None for a normalisation.
    vectors : tuple of str
        Names of vectors that the left factors multiply too: a bias, or the vectors of a normalisation.
    shape : tuple of int
        Of the weight; (length,) of a normalisation's vectors.
    left, right : int
        Numbers of factors.
    """

    layer: str
    weight: str | None
    vectors: tuple[str, ...]
    shape: tuple[int, ...]
    left: int
    right: int

    @property
    def columns(self) -> int:
        """Columns that a left factor multiplies: those of the weight and one a vector."""
        return (prod(self.shape[1:]) if self.weight else 0) + len(self.vectors)

    @property
    def rows(self) -> int:
        """Rows that a right factor multiplies: outputs times places of the kernel."""
        return self.shape[0] * prod(self.shape[2:])

    @property
    def owner(self) -> str:
        """The tensor whose parametrisation holds the factors."""
        return self.weight if self.weight is not None else self.vectors[0]

    def name(self, tensor: str) -> str:
        """Parameter name in the plain network."""
        return f"{self.layer}.{tensor}".removeprefix(".")

    def original(self, tensor: str) -> str:
        """Parameter name of what the factors multiply, in the expanded network."""
        return f"{self.layer}.parametrizations.{tensor}.original".removeprefix(".")

    def factors(self, side: str) -> list[str]:
        """Parameter names of the factors of a side, ``"left"`` or ``"right"``, in the expanded network."""
        count = self.left if side == "left" else self.right
        return [f"{self.layer}.parametrizations.{self.owner}.0.{side}.{k}".removeprefix(".") for k in range(count)]


def product(value: Tensor, left: Sequence[Tensor], right: Sequence[Tensor], *, num_axes: int) -> Tensor:
    """P_c … P_1 V Q_1 … Q_d, over the channels where V is a convolution's.

    Parameters
    ----------
    value : Tensor, shape (..., out, in, kernel...), or (..., out) where ``num_axes`` is 1
    left, right : sequence of Tensor, shape (..., out, out) and (..., in, in)
        P_1, …, P_c and Q_1, …, Q_d.
    num_axes : int
        Axes of the layer's tensor; those before them are chains.
    """
    if num_axes == 1:
        value = value.unsqueeze(-1)
        for factor in left:
            value = factor @ value
        return value.squeeze(-1)
    shape = value.shape
    kernel = prod(shape[value.ndim - num_axes + 2 :])
    lead, (out, inputs) = shape[: value.ndim - num_axes], shape[value.ndim - num_axes : value.ndim - num_axes + 2]
    if right:
        joined = right[0]
        for factor in right[1:]:
            joined = joined @ factor
        if kernel == 1:
            value = value.reshape(*lead, out, inputs) @ joined
        else:  # the inputs are contracted, the kernel's places come along
            value = torch.einsum("...opk,...pq->...oqk", value.reshape(*lead, out, inputs, kernel), joined)
    value = value.reshape(*lead, out, inputs * kernel)
    for factor in left:
        value = factor @ value
    return value.reshape(shape)


def merge_parameters(groups: Sequence[Group], params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of the plain network from those of the expanded one, any leading axes included."""
    merged = dict(params)
    for group in groups:
        left = [merged.pop(name) for name in group.factors("left")]
        right = [merged.pop(name) for name in group.factors("right")]
        if group.weight is not None:
            value = merged.pop(group.original(group.weight))
            merged[group.name(group.weight)] = product(value, left, right, num_axes=len(group.shape))
        for vector in group.vectors:
            merged[group.name(vector)] = product(merged.pop(group.original(vector)), left, (), num_axes=1)
    return merged
