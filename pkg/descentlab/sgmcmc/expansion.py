r"""Parameter expansion of networks: :math:`W = P_c \cdots P_1 V Q_1 \cdots Q_d`, and the prior that comes with it.

`expand` puts square factors, identities at first, around the weights of a copy of a network, through
``torch.nn.utils.parametrize``; the function stays what it was. `merge` multiplies them out again, so that predictions
cost what they always did.

Two targets. ``"paper"`` puts Gaussian priors on all factors, as Kim et al. do; the prior that this induces on W is
another one (`induced_prior`). ``"exact"`` keeps the prior on W: with the Jacobian of :math:`V \mapsto P V Q`,

.. math::
    \log p(P, V, Q) = \log p_W(PVQ) + n \log|\det P| + m \log|\det Q| + \log \rho(P) + \log \rho(Q),

the product is distributed as before and independent of P and Q, whatever the proper density :math:`\rho` is. A left
factor that also multiplies a bias has the exponent n + 1.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from descentlab.sgmcmc.layouts import Group, merge_parameters, product

Where = Callable[[str, nn.Module], tuple[int, int] | None] | Mapping[str, tuple[int, int]] | None
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MARK = "_expansion"


@dataclass(frozen=True)
class Expansion:
    """How a network was expanded: its groups of tensors, its target and the constants of its prior."""

    groups: tuple[Group, ...]
    target: Literal["paper", "exact"]
    prior_variance: float
    factor_precision: float | None
    factor_density: Literal["wishart", "identity"] = "wishart"
    factor_power: float | None = None
    factors: frozenset[str] = field(default_factory=frozenset)


class _Product(nn.Module):
    """Parametrisation of a weight: holds its factors."""

    def __init__(self, outputs: int, inputs: int, left: int, right: int, like: Tensor):
        super().__init__()
        self.left = nn.ParameterList([torch.eye(outputs, dtype=like.dtype, device=like.device) for _ in range(left)])
        self.right = nn.ParameterList([torch.eye(inputs, dtype=like.dtype, device=like.device) for _ in range(right)])

    def forward(self, value: Tensor) -> Tensor:
        return product(value, list(self.left), list(self.right), num_axes=value.ndim)


class _Shared(nn.Module):
    """Parametrisation of a bias or norm vector by the left factors that another tensor of its layer holds."""

    def __init__(self, holder: _Product):
        super().__init__()
        self._holder = (holder,)  # in a tuple: the factors are registered once, where they are held

    def forward(self, value: Tensor) -> Tensor:
        return product(value, list(self._holder[0].left), (), num_axes=1)


def expand(
    model: nn.Module,
    *,
    left: int = 1,
    right: int = 1,
    where: Where = None,
    target: Literal["paper", "exact"] = "paper",
    prior_variance: float | None = None,
    factor_precision: float | None = None,
    factor_density: Literal["wishart", "identity"] = "wishart",
    factor_power: float | None = None,
) -> nn.Module:
    r"""An expanded copy of a network: the same function, more parameters.

    By default factors stand where the paper's network has them. Linear layers and convolutions get `left` factors on
    their outputs, which multiply the bias too, and `right` factors on their inputs; the first layer only those on its
    outputs, the last one only those on its inputs (a lone layer both). Modules that hold nothing but vectors of one
    length, as normalisations do, get `left` factors for all their vectors together. Weights that several modules
    share stay as they are.

    Parameters
    ----------
    model : Module
        Left untouched.
    left, right : int
        c and d.
    where : callable or mapping, optional
        Numbers of factors of a module in place of the default: ``(name, module) -> (left, right) or None``, None being
        no factors; or a mapping from names of modules, those not in it being left alone.
    target : {"paper", "exact"}
        What `log_prior` says of the result; see the module.
    prior_variance : float, optional
        Of the entries of V (``"paper"``; 0.02) or W (``"exact"``; 0.05), and of all other parameters.
    factor_precision : float, optional
        :math:`\lambda` in :math:`-\frac{\lambda}{2}(\|P\|^2 + \|Q\|^2)`; 2 by default for ``"paper"``. For ``"exact"``
        the precision of :math:`\rho`: by default m + `factor_power`, at which :math:`E P P^\top = I`.
    factor_density : {"wishart", "identity"}
        :math:`\rho` of the exact target: :math:`|\det P|^\nu e^{-\lambda \|P\|^2/2}`, or a Gaussian around the
        identity, :math:`e^{-\lambda \|P - I\|^2/2}`.
    factor_power : float, optional
        :math:`\nu`; by default the side m of the factor.

    Raises
    ------
    ValueError
        `model` is expanded already, an argument is out of range, or nothing can be expanded.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model={type(model).__name__}: expected a torch.nn.Module")
    if getattr(model, _MARK, None) is not None or any(parametrize.is_parametrized(m) for m in model.modules()):
        raise ValueError("model is expanded already; merge it first")
    for name, count in (("left", left), ("right", right)):
        if not (isinstance(count, int) and count >= 0):
            raise ValueError(f"{name}={count!r} must be a whole number, not negative")
    if target not in ("paper", "exact"):
        raise ValueError(f"target={target!r}; allowed are 'paper' and 'exact'")
    if factor_density not in ("wishart", "identity"):
        raise ValueError(f"factor_density={factor_density!r}; allowed are 'wishart' and 'identity'")
    variance = (0.02 if target == "paper" else 0.05) if prior_variance is None else prior_variance
    precision = 2.0 if factor_precision is None and target == "paper" else factor_precision
    if factor_density == "identity" and target == "exact" and precision is None:
        raise ValueError("factor_precision=None: a Gaussian around the identity needs its precision")
    for name, value in (("prior_variance", variance), ("factor_precision", precision), ("factor_power", factor_power)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}={value!r} must be positive")
    expanded = copy.deepcopy(model)
    groups = tuple(_groups(expanded, left, right, where))
    if not groups and (left or right):
        raise ValueError("model has no layer to expand where the factors were asked for")
    for group in groups:
        _install(expanded.get_submodule(group.layer), group)
    factors = frozenset(name for g in groups for side in ("left", "right") for name in g.factors(side))
    mark = Expansion(groups, target, float(variance), precision, factor_density, factor_power, factors)
    setattr(expanded, _MARK, mark)
    return expanded


def merge(model: nn.Module) -> nn.Module:
    """The plain network: a copy in which the factors are multiplied out, with the classes and names it had.

    Raises
    ------
    ValueError
        `model` was not made by `expand`.
    """
    groups = expansion_of(model).groups
    values = merge_parameters(groups, dict(model.named_parameters()))
    merged = copy.deepcopy(model)
    for group in groups:
        layer = merged.get_submodule(group.layer)
        tensors = ((group.weight,) if group.weight else ()) + group.vectors
        # `parametrize.remove_parametrizations` would also take the properties from the class, which copies share
        trained = {t: layer.parametrizations[t].original.requires_grad for t in tensors}  # type: ignore[index, union-attr]
        del layer._modules["parametrizations"]
        layer.__class__ = type(layer).__bases__[0]
        own = {t: nn.Parameter(values[group.name(t)].detach().clone(), requires_grad=trained[t]) for t in tensors}
        rest = dict(layer._parameters)
        layer._parameters.clear()
        for name, parameter in {**own, **rest}.items():
            layer.register_parameter(name, parameter)
    delattr(merged, _MARK)
    return merged


def expansion_of(model: nn.Module) -> Expansion:
    """How `model` was expanded.

    Raises
    ------
    ValueError
        It was not made by `expand`.
    """
    found = getattr(model, _MARK, None)
    if found is None:
        raise ValueError(f"model={type(model).__name__} was not expanded: expand it first")
    return found


def factor_names(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that are factors P and Q; empty for a plain network."""
    found = getattr(model, _MARK, None)
    return frozenset() if found is None else found.factors


def by_block(model: nn.Module, *, factors: float, others: float) -> dict[str, float]:
    """A setting for each parameter of an expanded network, such as a friction: of the factors, and of the others."""
    inside = factor_names(model)
    return {name: factors if name in inside else others for name, _ in model.named_parameters()}


def log_prior(
    model: nn.Module, params: Mapping[str, Tensor] | None = None, *, prior_variance: float | None = None
) -> Tensor:
    r"""Logarithm of the prior that the target puts on a network, up to a constant.

    A plain network has independent Gaussians on all parameters, :math:`-\|\theta\|^2 / (2\sigma^2)`.

    Parameters
    ----------
    model : Module
        Expanded or plain.
    params : mapping, optional
        Parameters by name, in place of the model's own. They may have leading axes, such as chains.
    prior_variance : float, optional
        In place of the variance that the expansion names; 0.05 for a plain network.

    Returns
    -------
    Tensor, shape of the leading axes
    """
    own = {name: p for name, p in model.named_parameters()}
    return prior_of(model, prior_variance=prior_variance)(own if params is None else params)


def prior_of(model: nn.Module, *, prior_variance: float | None = None) -> Callable[..., Tensor]:
    """`log_prior` as a function ``(params, merged=None)``, for loops: the layout of the network is read once.

    `merged` are the parameters of the plain network, where they have been multiplied out already.
    """
    if prior_variance is not None and not prior_variance > 0:
        raise ValueError(f"prior_variance={prior_variance!r} must be positive")
    shapes = {name: p.ndim for name, p in model.named_parameters()}
    mark: Expansion | None = getattr(model, _MARK, None)
    if mark is None:
        precision = 1 / (0.05 if prior_variance is None else prior_variance)
        return lambda params, merged=None: -0.5 * precision * _squares(params, shapes, shapes)
    inside, variance = mark, mark.prior_variance if prior_variance is None else prior_variance
    others = [name for name in shapes if name not in inside.factors]
    plain = {g.name(t): shapes[g.original(t)] for g in mark.groups for t in (g.weight, *g.vectors) if t is not None}
    originals = {g.original(t) for g in mark.groups for t in (g.weight, *g.vectors) if t is not None}
    plain |= {name: shapes[name] for name in others if name not in originals}

    def paper(params: Mapping[str, Tensor], merged: Mapping[str, Tensor] | None = None) -> Tensor:
        quadratic = _squares(params, shapes, others) / (2 * variance)
        if inside.factors:
            quadratic = quadratic + 0.5 * (inside.factor_precision or 0.0) * _squares(params, shapes, inside.factors)
        return -quadratic

    def exact(params: Mapping[str, Tensor], merged: Mapping[str, Tensor] | None = None) -> Tensor:
        merged = merge_parameters(inside.groups, params) if merged is None else merged
        return _factor_terms(inside, params) - _squares(merged, plain, plain) / (2 * variance)

    return paper if mark.target == "paper" else exact


def factors_by_size(mark: Expansion, params: Mapping[str, Tensor]) -> dict[int, list[tuple[str, int]]]:
    """Names of the factors and the powers of their determinants in the Jacobian, by the side of the factors."""
    found: dict[int, list[tuple[str, int]]] = {}
    for group in mark.groups:
        for side, power in (("left", group.columns), ("right", group.rows)):
            for name in group.factors(side):
                found.setdefault(params[name].shape[-1], []).append((name, power))
    return found


def factor_constants(mark: Expansion, size: int) -> tuple[float, float, bool]:
    """Power and precision of the density of a factor of that side, and whether it lies around the identity."""
    wishart = mark.factor_density == "wishart"
    nu = (float(size) if mark.factor_power is None else mark.factor_power) if wishart else 0.0
    return nu, size + nu if mark.factor_precision is None else mark.factor_precision, not wishart


def _factor_terms(mark: Expansion, params: Mapping[str, Tensor]) -> Tensor:
    """Jacobian and auxiliary densities of all factors; factors of one size are treated together."""
    total: Any = 0.0
    for size, entries in factors_by_size(mark, params).items():
        stack = torch.stack([params[name] for name, _ in entries])
        exponents = torch.tensor([float(e) for _, e in entries], dtype=stack.dtype, device=stack.device)
        nu, precision, around = factor_constants(mark, size)
        centre = stack - torch.eye(size, dtype=stack.dtype, device=stack.device) if around else stack
        logs = torch.linalg.slogdet(stack).logabsdet
        weights = (exponents + nu).reshape(-1, *[1] * (logs.ndim - 1))
        total = total + (weights * logs - 0.5 * precision * centre.square().sum((-2, -1))).sum(0)
    return total


def _squares(params: Mapping[str, Tensor], shapes: Mapping[str, int], names: Iterable[str]) -> Tensor:
    """Sum of squares of the named parameters, over all axes but the leading ones."""
    rows = [params[n].reshape(*params[n].shape[: params[n].ndim - shapes[n]], -1) for n in names]
    flat = torch.cat(rows, dim=-1)
    return torch.linalg.vecdot(flat, flat)


class InducedPrior(NamedTuple):
    """Moments of an entry of W under Gaussian factors."""

    variance: float
    kurtosis: float


def induced_prior(
    shape: tuple[int, ...], *, left: int = 1, right: int = 1, scales: tuple[float, float, float]
) -> InducedPrior:
    r"""Variance and kurtosis of an entry of :math:`W = P_c \cdots V \cdots Q_d` with independent Gaussian factors.

    .. math::
        \operatorname{Var} W_{ij} = \sigma_V^2 (m \sigma_P^2)^c (n \sigma_Q^2)^d, \qquad
        \operatorname{kurt} = 3 (1 + 2/m)^c (1 + 2/n)^d

    Parameters
    ----------
    shape : tuple of int
        Of the weight: (m, n), or (m, n, …) of a convolution.
    left, right : int
        c and d.
    scales : three float
        Standard deviations of the entries of P, Q and V.
    """
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"shape={shape!r} must be that of a matrix or convolution")
    if left < 0 or right < 0:
        raise ValueError(f"left={left!r}, right={right!r} must not be negative")
    if len(scales) != 3 or min(scales) <= 0:
        raise ValueError(f"scales={scales!r} must be three positive standard deviations, of P, Q and V")
    m, n = shape[:2]
    p, q, v = (s**2 for s in scales)
    return InducedPrior(v * (m * p) ** left * (n * q) ** right, 3 * (1 + 2 / m) ** left * (1 + 2 / n) ** right)


# -- how an expansion is laid out -----------------------------------------------------------------------------------


def _groups(model: nn.Module, left: int, right: int, where: Where) -> Iterator[Group]:
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    layers = [name for name, module in model.named_modules() if isinstance(module, _LAYERS)]
    if isinstance(where, Mapping):
        unknown = sorted(set(where) - {name for name, _ in model.named_modules()})
        if unknown:
            raise ValueError(f"where: the model has no modules {', '.join(map(repr, unknown))}")
    for name, module in model.named_modules():
        own = {k: p for k, p in module._parameters.items() if p is not None}
        is_layer = isinstance(module, _LAYERS)
        vectors = not is_layer and bool(own) and all(p.ndim == 1 for p in own.values())
        is_norm = vectors and len({len(p) for p in own.values()}) == 1 and not list(module.children())
        if not (is_layer or is_norm):
            if isinstance(where, Mapping) and name in where:
                raise ValueError(f"where: {name!r} is a {type(module).__name__}, which cannot be expanded")
            continue
        if isinstance(where, Mapping):
            counts = where.get(name)
        elif where is not None:
            counts = where(name, module)
        elif is_norm:
            counts = (left, 0)
        else:
            lone = len(layers) == 1
            counts = (left if lone or name != layers[-1] else 0, right if lone or name != layers[0] else 0)
        if counts is None or counts == (0, 0) or any(uses[id(p)] > 1 for p in own.values()):
            continue
        if min(counts) < 0 or (is_norm and counts[1]):
            raise ValueError(f"where: {counts!r} for {name!r}; counts are not negative, and norms have no inputs")
        if is_norm:
            yield Group(name, None, tuple(own), (len(next(iter(own.values()))),), *counts)
        else:
            bias = ("bias",) if "bias" in own and counts[0] else ()
            yield Group(name, "weight", bias, tuple(own["weight"].shape), *counts)


def _install(layer: nn.Module, group: Group) -> None:
    owner = getattr(layer, group.owner)
    outputs, inputs = group.shape[0], group.shape[1] if group.weight else 0
    holder = _Product(outputs, inputs, group.left, group.right, owner)
    parametrize.register_parametrization(layer, group.owner, holder)
    for vector in group.vectors:
        if vector != group.owner:
            parametrize.register_parametrization(layer, vector, _Shared(holder))


def count_added(model: nn.Module) -> int:
    """Number of entries in the factors of an expanded network."""
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    return sum(sizes[name] for name in expansion_of(model).factors)


def sides(model: nn.Module) -> int:
    r"""Sum of the side lengths of all factors, which is :math:`\sum \|I\|_F^2`."""
    groups = expansion_of(model).groups
    return sum(g.left * g.shape[0] + g.right * (g.shape[1] if g.weight else 0) for g in groups)
