"""The energy of a posterior as kernels take it: a callable that may know its own gradient."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from descentlab.sgmcmc import _gradients as gradients
from descentlab.sgmcmc import expansion
from descentlab.sgmcmc.chains import Forward
from descentlab.sgmcmc.layouts import Group, merge_parameters

Loss = Callable[[Tensor, Tensor], Tensor]
Batch = tuple[Tensor, Tensor]
Named = Mapping[str, Tensor]


class PosteriorEnergy:
    """Minus the log-posterior of a network for many chains; see `posterior_energy`."""

    def __init__(
        self, forward: Forward, groups: tuple[Group, ...], log_prior: Callable[..., Tensor], loss: Loss, num_data: int
    ):
        self.forward, self.groups, self.log_prior = forward, groups, log_prior
        self.loss, self.num_data = loss, num_data

    def __call__(self, params: Named, batch: Batch) -> Tensor:
        inputs, targets = batch
        merged = merge_parameters(self.groups, params)
        fit = self.loss(self.forward(merged, inputs), targets).sum(-1) * (self.num_data / inputs.shape[1])
        return fit - self.log_prior(params, merged)


class GradientEnergy(PosteriorEnergy):
    """The same with the gradient written out, for networks of known layers; expanded ones have matrices for weights."""

    def __init__(self, layers: list[gradients.Layer], model: nn.Module, variance: float, plain_loss: bool, *parts: Any):
        super().__init__(*parts)
        self.layers, self.variance, self.plain_loss = layers, variance, plain_loss
        self.mark: expansion.Expansion | None = getattr(model, "_expansion", None)
        self.products = gradients.Expanded(self.groups)
        self.local = threading.local()

    def value_and_grad(self, params: Named, batch: Batch, out: Named) -> Tensor:
        """Energies, shape (chains,); the gradients are written into `out`, laid out like `params`."""
        merged, ways = (params, []) if self.mark is None else self.products.merge(params, self._room)
        own = (
            out
            if self.mark is None
            else {k: out[k] if k in out else self._room(k, tuple(t.shape), t) for k, t in merged.items()}
        )
        loss, scale = None if self.plain_loss else self.loss, self.num_data / batch[0].shape[1]
        value = gradients.fit_and_grad(self.layers, merged, batch, own, loss, scale)
        if self.mark is None or self.mark.target == "exact":  # the prior is one on the plain network's parameters
            for name, tensor in merged.items():
                gradients.add_square(value, tensor, 1 / self.variance, own[name])
        if self.mark is not None:
            self.products.backward(params, ways, own, out)
            if self.mark.target == "exact":
                add_factor_terms(self.mark, value, params, out)
            else:
                inside = self.mark.factors
                for name, tensor in params.items():
                    precision = (self.mark.factor_precision or 0.0) if name in inside else 1 / self.variance
                    gradients.add_square(value, tensor, precision, out[name])
        return value

    def _room(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Memory for an intermediate result, the same at every call: fresh pages cost more than the arithmetic."""
        found: dict[Any, Tensor] = self.local.__dict__
        key = f"{name} {shape} {like.dtype} {like.device}"
        if key not in found:
            for old in [k for k in found if k.startswith(f"{name} (")]:
                del found[old]
            found[key] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return found[key]


class FactoredGaussian:
    """Energy of the factors of W = P V Q, the exact target with a Gaussian W, shape (m, n) and by rows.

    Without `jacobian` the determinants of the change of variables are left out, which is wrong.
    """

    def __init__(self, layer: nn.Module, mean: Tensor, precision: Tensor, *, jacobian: bool = True):
        self.mark = expansion.expansion_of(layer)
        self.mean, self.precision, self.jacobian = mean, precision, jacobian
        self.products = gradients.Expanded(self.mark.groups)

    def value_and_grad(self, params: Named, _: Any, out: Named) -> Tensor:
        """Energies, shape (chains,); the gradients are written into `out`."""

        def room(name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
            return torch.empty(shape, dtype=like.dtype, device=like.device)

        merged, ways = self.products.merge(params, room)
        off = merged["weight"].flatten(1) - self.mean
        slope = off @ self.precision
        value = 0.5 * (off * slope).sum(1)
        for tensor in out.values():
            tensor.zero_()
        self.products.backward(params, ways, {"weight": slope.view_as(merged["weight"])}, out)
        add_factor_terms(self.mark, value, params, out, jacobian=self.jacobian)
        return value

    def __call__(self, params: Named, batch: Any) -> Tensor:
        return self.value_and_grad(params, batch, {k: torch.empty_like(t) for k, t in params.items()})


def add_factor_terms(
    mark: expansion.Expansion, value: Tensor, params: Named, out: Named, *, jacobian: bool = True
) -> None:
    """Adds Jacobian and auxiliary densities of the factors to energies, and their gradients to `out`."""
    for size, entries in expansion.factors_by_size(mark, params).items():
        stack = torch.stack([params[name] for name, _ in entries])
        nu, precision, around = expansion.factor_constants(mark, size)
        eye = torch.eye(size, dtype=stack.dtype, device=stack.device) if around else None
        powers = [nu + (power if jacobian else 0) for _, power in entries]
        inverses, logs = gradients.transposed_inverse(stack) if max(powers) > 0 else (stack, stack)
        for k, (name, _) in enumerate(entries):
            gradients.add_square(value, params[name] if eye is None else params[name] - eye, precision, out[name])
            if powers[k] > 0:
                value.add_(logs[k], alpha=-powers[k])
                out[name].add_(inverses[k], alpha=-powers[k])


def posterior_of(
    model: nn.Module, plain: nn.Module, variance: float | None, plain_loss: bool, *parts: Any
) -> PosteriorEnergy:
    """The energy with its own gradient where the layers of `plain`, the network without factors, allow."""
    layers = gradients.layers_of(plain)
    mark: expansion.Expansion | None = getattr(model, "_expansion", None)
    shared = len(list(plain.named_parameters(remove_duplicate=False))) != len(list(plain.parameters()))
    matrices = mark is None or all(g.weight is None or len(g.shape) == 2 for g in mark.groups)
    if not layers or shared or not matrices:
        return PosteriorEnergy(*parts)
    if variance is None:
        variance = 0.05 if mark is None else mark.prior_variance
    return GradientEnergy(layers, model, variance, plain_loss, *parts)
