"""Networks evaluated for many chains at once: batched matrix products by hand where the layers allow, `vmap` elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from descentlab.networks import MLP

Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]
_ELEMENTWISE = (nn.ReLU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.Softplus, nn.LeakyReLU, nn.Identity)


def chain_forward(model: nn.Module) -> Forward:
    """A function that evaluates `model` with the parameters of many chains.

    Returns
    -------
    callable, (params, inputs) -> outputs
        `params` by name, with the chains as their first axis; `inputs` of shape (chains, batch, …), or (1, batch, …)
        where all chains see the same; outputs of shape (chains, batch, …). Buffers are the model's own.

    Raises
    ------
    ValueError
        The model drops units at random, or tracks statistics of its batches.
    """
    for name, module in model.named_modules():
        drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        tracks = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        if module.training and (drops or tracks):
            raise ValueError(
                f"model: {name!r} is a {type(module).__name__} in training mode, whose randomness or running statistics "
                "chains cannot share; call model.eval(), or use a normalisation without them"
            )
    return _by_hand(model, "") or _by_vmap(model)


def is_batched_by_hand(model: nn.Module) -> bool:
    """Whether every layer of `model` is one that `chain_forward` multiplies out itself."""
    return _by_hand(model, "") is not None


def _by_hand(module: nn.Module, name: str) -> Forward | None:
    kind, prefix = type(module), f"{name}." if name else ""
    if kind is nn.Sequential or kind is MLP:
        parts = [_by_hand(child, f"{prefix}{key}") for key, child in module.named_children()]
        steps = [part for part in parts if part is not None]
        return _in_turn(steps) if len(steps) == len(parts) else None
    if kind is nn.Linear:
        return _linear(f"{prefix}weight", f"{prefix}bias" if module.bias is not None else None)
    if kind is nn.Flatten and module.start_dim == 1 and module.end_dim == -1:
        return lambda params, x: x.flatten(2)
    if kind is nn.RMSNorm and len(module.normalized_shape) == 1:  # type: ignore[arg-type]
        return _rms_norm(f"{prefix}weight" if module.weight is not None else None, module.eps)  # type: ignore[arg-type]
    if kind in _ELEMENTWISE:
        return lambda params, x: module(x)
    return None


def _in_turn(steps: list[Forward]) -> Forward:
    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        for step in steps:
            x = step(params, x)
        return x

    return forward


def _linear(weight: str, bias: str | None) -> Forward:
    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        matrices = params[weight]
        x = x.expand(len(matrices), *x.shape[1:])
        if bias is None:
            return torch.bmm(x, matrices.mT)
        return torch.baddbmm(params[bias].unsqueeze(1), x, matrices.mT)

    return forward


def _rms_norm(scale: str | None, eps: float | None) -> Forward:
    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        small = torch.finfo(x.dtype).eps if eps is None else eps
        unit = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + small)
        return unit if scale is None else unit * params[scale].unsqueeze(1)

    return forward


def _by_vmap(model: nn.Module) -> Forward:
    def one(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(params), (x,))

    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        chains = len(next(iter(params.values())))
        if len(x) == 1 and chains > 1:
            return torch.func.vmap(one, in_dims=(0, None))(params, x[0])
        return torch.func.vmap(one)(params, x)

    return forward
