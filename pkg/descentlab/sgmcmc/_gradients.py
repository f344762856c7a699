r"""Gradients of posterior energies written out, for networks whose layers allow: no graph is built, nothing copied.

An *energy with a gradient of its own* is a callable as kernels take it with a method besides,

    ``value_and_grad(params, batch, out) -> values``,

of all chains at once: it returns the energies, shape (chains,), and writes their gradients into `out`, tensors laid out
like the blocks of `params`. Kernels use it in place of automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from descentlab.networks import MLP
from descentlab.sgmcmc.layouts import Group

Grads = Mapping[str, Tensor]


class Layer(Protocol):
    """A layer of many chains, with its derivative."""

    def forward(self, params: Grads, x: Tensor) -> tuple[Tensor, Any]:
        """Outputs, and what `backward` needs besides."""

    def backward(self, params: Grads, saved: Any, grad: Tensor, out: Grads, *, first: bool) -> Tensor:
        """Writes the gradients of the layer's parameters into `out`, and returns that of its inputs, but in the first layer."""


class _Linear:
    def __init__(self, weight: str, bias: str | None):
        self.weight, self.bias = weight, bias

    def forward(self, params: Grads, x: Tensor) -> tuple[Tensor, Any]:
        matrices = params[self.weight]
        chains, outputs, inputs = matrices.shape
        if len(x) == 1 and chains > 1:  # the same inputs for all chains: one product of matrices
            y = (x[0] @ matrices.reshape(-1, inputs).T).view(-1, chains, outputs).transpose(0, 1)
            return (y.contiguous() if self.bias is None else y + params[self.bias].unsqueeze(1)), x
        if self.bias is None:
            return torch.bmm(x, matrices.mT), x
        return torch.baddbmm(params[self.bias].unsqueeze(1), x, matrices.mT), x

    def backward(self, params: Grads, saved: Any, grad: Tensor, out: Grads, *, first: bool) -> Tensor:
        if self.bias is not None:
            torch.sum(grad, 1, out=out[self.bias])
        into = out[self.weight]
        if len(saved) == 1 and len(grad) > 1:
            together = grad.transpose(0, 1).reshape(grad.shape[1], -1)
            torch.mm(together.T, saved[0], out=into.view(-1, into.shape[-1]))
        else:
            torch.bmm(grad.mT, saved, out=into)
        return grad if first else torch.bmm(grad, params[self.weight])


class _RMSNorm:
    def __init__(self, scale: str | None, eps: float | None):
        self.scale, self.eps = scale, eps

    def forward(self, params: Grads, x: Tensor) -> tuple[Tensor, Any]:
        small = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(small).rsqrt_()
        unit = x * inverse
        return (unit if self.scale is None else unit * params[self.scale].unsqueeze(1)), (unit, inverse)

    def backward(self, params: Grads, saved: Any, grad: Tensor, out: Grads, *, first: bool) -> Tensor:
        unit, inverse = saved
        along = grad * unit
        if self.scale is None:
            shift = along.mean(-1, keepdim=True)
        else:
            torch.sum(along, 1, out=out[self.scale])
            scale = params[self.scale]
            shift = torch.bmm(along, scale.unsqueeze(-1)).div_(scale.shape[-1])
            grad = torch.mul(grad, scale.unsqueeze(1), out=along)
        return torch.addcmul(grad, unit, shift, value=-1).mul_(inverse)


class _Elementwise:
    """An activation; `derivative` takes the gradient of the outputs, the inputs and the outputs."""

    def __init__(self, function: Callable[[Tensor], Tensor], derivative: Callable[[Tensor, Tensor, Tensor], Tensor]):
        self.function, self.derivative = function, derivative

    def forward(self, params: Grads, x: Tensor) -> tuple[Tensor, Any]:
        y = self.function(x)
        return y, (x, y)

    def backward(self, params: Grads, saved: Any, grad: Tensor, out: Grads, *, first: bool) -> Tensor:
        return self.derivative(grad, *saved)


class _Flatten:
    def forward(self, params: Grads, x: Tensor) -> tuple[Tensor, Any]:
        return x.flatten(2), x.shape

    def backward(self, params: Grads, saved: Any, grad: Tensor, out: Grads, *, first: bool) -> Tensor:
        return grad.view(len(grad), *saved[1:])


_ACTIVATIONS: dict[type[nn.Module], _Elementwise] = {
    nn.SiLU: _Elementwise(nn.functional.silu, lambda g, x, y: torch.ops.aten.silu_backward(g, x)),
    nn.ReLU: _Elementwise(torch.relu, lambda g, x, y: torch.ops.aten.threshold_backward(g, y, 0)),
    nn.Tanh: _Elementwise(torch.tanh, lambda g, x, y: torch.ops.aten.tanh_backward(g, y)),
    nn.Identity: _Elementwise(lambda x: x, lambda g, x, y: g),
}


def layers_of(module: nn.Module, name: str = "") -> list[Layer] | None:
    """The layers of a network in turn, or None where one of them is not known here."""
    kind, prefix = type(module), f"{name}." if name else ""
    if kind is nn.Sequential or kind is MLP:
        found: list[Layer] = []
        for key, child in module.named_children():
            inner = layers_of(child, f"{prefix}{key}")
            if inner is None:
                return None
            found += inner
        return found
    if kind is nn.Linear:
        return [_Linear(f"{prefix}weight", f"{prefix}bias" if module.bias is not None else None)]
    if kind is nn.RMSNorm and len(module.normalized_shape) == 1:  # type: ignore[arg-type]
        return [_RMSNorm(f"{prefix}weight" if module.weight is not None else None, module.eps)]  # type: ignore[arg-type]
    if kind is nn.Flatten and module.start_dim == 1 and module.end_dim == -1:
        return [_Flatten()]
    return [_ACTIVATIONS[kind]] if kind in _ACTIVATIONS else None


def fit_and_grad(
    layers: Sequence[Layer], params: Grads, batch: tuple[Tensor, Tensor], out: Grads, loss: Any, scale: float
) -> Tensor:
    """`scale` times the loss of each chain, summed over its batch; gradients by the plain parameters are written to `out`.

    `loss` is None for the cross-entropy of class labels.
    """
    x, targets = batch
    saved: list[Any] = []
    for layer in layers:
        x, kept = layer.forward(params, x)
        saved.append(kept)
    if loss is None:
        logs = torch.log_softmax(x, -1)
        wanted = targets.expand(x.shape[:-1]).unsqueeze(-1)
        value = logs.gather(-1, wanted).sum((1, 2)).mul_(-scale)
        grad = logs.exp_()
        grad.scatter_add_(-1, wanted, grad.new_full((), -1.0).expand(wanted.shape))
        grad.mul_(scale)
    else:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            total = loss(leaf, targets).sum(-1) * scale
            (grad,) = torch.autograd.grad(total.sum(), leaf)
        value = total.detach()
    for place in range(len(layers) - 1, -1, -1):
        grad = layers[place].backward(params, saved[place], grad, out, first=place == 0)
    return value


Room = Callable[[str, tuple[int, ...], Tensor], Tensor]


def product_steps(
    name: str, value: Tensor, left: Sequence[Tensor], right: Sequence[Tensor], room: Room
) -> list[Tensor]:
    """V, V Q_1, …, P_c … P_1 V Q_1 … Q_d: all of shape (chains, rows, columns), in memory from `room`."""
    steps = [value]
    for k, factor in enumerate((*right, *left)):
        pair = (steps[-1], factor) if k < len(right) else (factor, steps[-1])
        steps.append(torch.bmm(*pair, out=room(f"{name} {k}", tuple(value.shape), value)))
    return steps


def product_grad(
    steps: Sequence[Tensor],
    left: Sequence[Tensor],
    right: Sequence[Tensor],
    grad: Tensor,
    into: Sequence[Tensor],
    add: bool,
) -> None:
    """Gradients by V, P_1, …, P_c, Q_1, …, Q_d, written to `into`, from that by the last of the `product_steps`.

    With `add`, those of the factors are added to what `into` holds.
    """
    c, d = len(left), len(right)

    def put(place: int, a: Tensor, b: Tensor) -> None:
        if add:
            into[place].baddbmm_(a, b)
        else:
            torch.bmm(a, b, out=into[place])

    for k in range(c + d - 1, -1, -1):
        target = into[0] if k == 0 else None  # the innermost product is V's gradient
        if k >= d:
            put(1 + k - d, grad, steps[k].mT)
            grad = torch.bmm(left[k - d].mT, grad, out=target)
        else:
            put(1 + c + k, steps[k].mT, grad)
            grad = torch.bmm(grad, right[k].mT, out=target)
    if c + d == 0:
        into[0].copy_(grad)


class Expanded:
    """The products of an expanded network, forwards and backwards; its weights are matrices."""

    def __init__(self, groups: Sequence[Group]):
        self.rows: list[tuple[str, str, list[str], list[str]]] = []  # plain name, original, left and right factors
        for group in groups:
            left, right = group.factors("left"), group.factors("right")
            if group.weight is not None:
                self.rows.append((group.name(group.weight), group.original(group.weight), left, right))
            self.rows += [(group.name(vector), group.original(vector), left, []) for vector in group.vectors]

    def merge(self, params: Grads, room: Room) -> tuple[dict[str, Tensor], list[list[Tensor]]]:
        """Parameters of the plain network, and the products on the way."""
        merged, ways = dict(params), []
        for name, original, left, right in self.rows:
            value = merged.pop(original)
            matrix = value if value.ndim == 3 else value.unsqueeze(-1)
            factors = [params[k] for k in left], [params[k] for k in right]
            ways.append(product_steps(name, matrix, *factors, room))
            merged[name] = ways[-1][-1].view_as(value)
        for _, _, left, right in self.rows:
            for key in (*left, *right):
                merged.pop(key, None)
        return merged, ways

    def backward(self, params: Grads, ways: Sequence[list[Tensor]], grads: Grads, out: Grads) -> None:
        """Carries gradients by the plain parameters, `grads`, back to those of the expanded network, into `out`."""
        seen: set[str] = set()
        for (name, original, left, right), steps in zip(self.rows, ways, strict=True):
            into = [out[original].view_as(steps[0]), *(out[k] for k in (*left, *right))]
            add = bool(left) and left[0] in seen
            grad = grads[name].view_as(steps[-1])
            product_grad(steps, [params[k] for k in left], [params[k] for k in right], grad, into, add)
            seen.update(left)


def add_square(value: Tensor, tensor: Tensor, precision: float, into: Tensor) -> None:
    """Adds ``precision / 2`` times the square of `tensor` to the values of the chains, and its gradient to `into`."""
    rows = tensor.reshape(len(tensor), 1, -1)
    value.add_(torch.bmm(rows, rows.mT).view(-1), alpha=0.5 * precision)
    into.add_(tensor, alpha=precision)


def transposed_inverse(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Inverses, transposed, and logarithms of the absolute determinants; not finite where singular."""
    size = matrices.shape[-1]
    if size in (2, 3):  # cofactors over the determinant; a factorisation is a call for each matrix
        if size == 2:
            (a, b), (c, d) = (row.unbind(-1) for row in matrices.unbind(-2))
            cofactors = torch.stack([d, -c, -b, a], -1).view_as(matrices)
        else:
            rows = matrices.unbind(-2)
            cofactors = torch.stack([torch.linalg.cross(rows[k - 2], rows[k - 1]) for k in range(3)], -2)
        determinants = (matrices[..., 0, :] * cofactors[..., 0, :]).sum(-1)
        return cofactors / determinants[..., None, None], determinants.abs().log()
    lu, pivots, _ = torch.linalg.lu_factor_ex(matrices)
    logs = lu.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
    eye = torch.eye(size, dtype=matrices.dtype, device=matrices.device)
    return torch.linalg.lu_solve(lu, pivots, eye.expand_as(matrices)).mT, logs
