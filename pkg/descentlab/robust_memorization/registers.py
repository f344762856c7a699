r"""Networks written as programs: registers, affine expressions, and one instruction.

A `Program` holds the layers emitted so far. Its registers are `Affine` expressions in the units of the newest hidden
layer; sums, differences and multiples of expressions cost nothing, since consecutive affine maps merge. The one
instruction, `Program.relu`, appends a layer whose units are :math:`\sigma(e_1), \sigma(e_2), \dots` and returns them. A
register that must outlive a layer is emitted again, and so has to be non-negative on all inputs of interest.

With ``dtype=object`` weights and values are Python integers of any length, for networks whose weights have more bits than
a float64 can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """An affine map ``weight @ a + bias``: shapes (out, in) and (out,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Affine:
    """Expressions in the units of one hidden layer: ``matrix @ units + offset``.

    Attributes
    ----------
    layer : int
        How many hidden layers precede the expression.
    matrix : array, shape (k, width)
    offset : array, shape (k,)
    """

    layer: int
    matrix: Array
    offset: Array

    __array_ufunc__ = None  # so that ``array @ expression`` and ``array * expression`` arrive here

    def __len__(self) -> int:
        return len(self.offset)

    def __add__(self, other: Affine | ArrayLike) -> Affine:
        if isinstance(other, Affine):
            if other.layer != self.layer:
                raise ValueError(
                    f"expressions of layers {self.layer} and {other.layer} cannot be added: emit them again"
                )
            matrix, offset = self.matrix + other.matrix, self.offset + other.offset
            return Affine(self.layer, matrix, offset)
        offset = self.offset + np.asarray(other, dtype=self.offset.dtype)
        return Affine(self.layer, np.broadcast_to(self.matrix, (len(offset), self.matrix.shape[1])), offset)

    __radd__ = __add__

    def __mul__(self, factor: ArrayLike) -> Affine:
        factor = np.asarray(factor, dtype=self.offset.dtype)
        rows = factor[:, None] if factor.ndim else factor
        return Affine(self.layer, self.matrix * rows, self.offset * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | ArrayLike) -> Affine:
        return self + (-other if isinstance(other, Affine) else -np.asarray(other, dtype=self.offset.dtype))

    def __rsub__(self, other: ArrayLike) -> Affine:
        return -self + other

    def __rmatmul__(self, matrix: ArrayLike) -> Affine:
        """Linear combinations, one a row of `matrix`; a vector gives one expression."""
        rows = np.atleast_2d(np.asarray(matrix, dtype=self.offset.dtype))
        return Affine(self.layer, rows @ self.matrix, rows @ self.offset)

    def sum(self) -> Affine:
        """The sum of the expressions, as one expression."""
        return np.ones(len(self), dtype=self.offset.dtype) @ self


class Program:
    """Emits the layers of a ReLU network.

    Parameters
    ----------
    num_inputs : int
    dtype : {float, object}
        float64, or Python integers of any length.
    """

    def __init__(self, num_inputs: int, *, dtype: type = float):
        if num_inputs < 1:
            raise ValueError(f"num_inputs={num_inputs!r} must be at least 1")
        self.dtype = np.dtype(dtype)
        self.layers: list[Layer] = []
        self._width = num_inputs

    @property
    def units(self) -> Affine:
        """The units of the newest layer; at the start, the inputs."""
        identity = np.zeros((self._width, self._width), dtype=self.dtype)
        np.fill_diagonal(identity, 1)
        return Affine(len(self.layers), identity, np.zeros(self._width, dtype=self.dtype))

    def constant(self, value: ArrayLike) -> Affine:
        """Expressions that do not depend on the input."""
        offset = np.atleast_1d(np.asarray(value, dtype=self.dtype))
        return Affine(len(self.layers), np.zeros((len(offset), self._width), dtype=self.dtype), offset)

    def relu(self, *expressions: Affine) -> list[Affine]:
        """Append the layer of units ``max(e, 0)``, and return them, grouped as the expressions were.

        Raises
        ------
        ValueError
            An expression belongs to an older layer, whose units are out of reach.
        """
        self.layers.append(self._merge(expressions))
        self._width = sum(map(len, expressions))
        units = self.units
        ends = np.cumsum([len(e) for e in expressions])
        return [
            Affine(units.layer, units.matrix[end - len(e) : end], units.offset[end - len(e) : end])
            for e, end in zip(expressions, ends, strict=True)
        ]

    def relu_keeping(
        self, new: Sequence[Affine], kept: Sequence[Affine | None]
    ) -> tuple[list[Affine], list[Affine | None]]:
        """One layer of new units and of the registers that must survive, those that are None left out."""
        fresh = self.relu(*new, *[e for e in kept if e is not None])
        rest = iter(fresh[len(new) :])
        return fresh[: len(new)], [next(rest) if e is not None else None for e in kept]

    def finish(self, output: Affine) -> list[Layer]:
        """All layers, the last of which computes `output` without a ReLU."""
        return [*self.layers, self._merge([output])]

    def _merge(self, expressions: Sequence[Affine]) -> Layer:
        for e in expressions:
            if e.layer != len(self.layers):
                raise ValueError(f"an expression of layer {e.layer} is out of reach in layer {len(self.layers)}")
        return Layer(np.concatenate([e.matrix for e in expressions]), np.concatenate([e.offset for e in expressions]))


def to_torch(layers: Sequence[Layer]) -> torch.nn.Sequential:
    """The layers as a plain network of float64 ``Linear`` and ``ReLU``; integers beyond 53 bits are rounded."""
    modules: list[torch.nn.Module] = []
    for layer in layers:
        linear = empty_linear(*layer.weight.shape[::-1], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(layer.weight.astype(float)))
            linear.bias.copy_(torch.as_tensor(layer.bias.astype(float)))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def empty_linear(fan_in: int, fan_out: int, *, dtype: torch.dtype) -> torch.nn.Linear:
    """A layer whose weights are still to be filled in; the global generator is left as it is."""
    with torch.random.fork_rng(devices=[]):  # torch.nn.utils.skip_init would import sympy: seconds
        return torch.nn.Linear(fan_in, fan_out, dtype=dtype)


def from_torch(network: torch.nn.Module) -> list[Layer]:
    """The affine maps of a ``Sequential`` of ``Linear`` and ``ReLU`` in turn, in float64.

    Raises
    ------
    ValueError
        The network has other modules, or two affine maps or two ReLUs in a row.
    """
    if not isinstance(network, torch.nn.Sequential) or len(network) % 2 == 0:
        raise ValueError(f"network={type(network).__name__} must be a Sequential: Linear, ReLU, …, Linear")
    layers = []
    for place, module in enumerate(network):
        expected = torch.nn.ReLU if place % 2 else torch.nn.Linear
        if type(module) is not expected:
            raise ValueError(f"network[{place}] is a {type(module).__name__}, expected a {expected.__name__}")
        if isinstance(module, torch.nn.Linear):
            weight = module.weight.detach().to("cpu", torch.float64).numpy()
            bias = (
                np.zeros(len(weight)) if module.bias is None else module.bias.detach().to("cpu", torch.float64).numpy()
            )
            layers.append(Layer(weight, bias))
    return layers


def evaluate(layers: Sequence[Layer], inputs: ArrayLike) -> Array:
    """Outputs of the network, shape (n, out), in the number type of its layers.

    Exact where that type is `object`: inputs are then integers, or floats, which are taken as the fractions they are.
    """
    values = np.asarray(inputs)
    if layers[0].weight.dtype == object:
        values = np.vectorize(_exact, otypes=[object])(values)
    for layer in layers[:-1]:
        values = np.maximum(values @ layer.weight.T + layer.bias, 0)
    return np.asarray(values @ layers[-1].weight.T + layers[-1].bias)


def count(layers: Sequence[Layer], *, nonzero: bool = False) -> int:
    """Number of entries of all weights and biases, zeros included unless `nonzero`."""
    if nonzero:
        return int(sum(np.count_nonzero(layer.weight) + np.count_nonzero(layer.bias) for layer in layers))
    return sum(layer.weight.size + layer.bias.size for layer in layers)


def _exact(value: Any) -> int | Fraction:
    fraction = Fraction(value) if isinstance(value, (int, Fraction)) else Fraction(float(value))
    return fraction.numerator if fraction.denominator == 1 else fraction
