r"""Samplers of :math:`\exp(-U(\theta)/T)`: pure functions of a frozen state, all chains at once.

Each builder takes an energy :math:`U`, minus the logarithm of the posterior (of a batch: an unbiased estimate of it,
the number of samples included), and returns a `Kernel`:

>>> kernel = sghmc(energy, step_size=0.1, friction=1.0)
>>> state = kernel.init(torch.zeros(2), num_chains=100)
>>> state, info = kernel.step(state, batch, generator)

In all of them the momentum moves first, then the position (symplectic Euler). The opposite order, explicit Euler,
inflates variances by about step size × curvature / friction.

An energy of all chains may know its gradient: where it has a method ``value_and_grad(params, batch, out)``, which returns
the energies, shape (chains,), and writes the gradients into `out`, laid out like `params`, kernels built with
``batched=True`` use it in place of automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

import torch

from descentlab.sgmcmc import _blocks as blocks
from descentlab.sgmcmc._blocks import Params, Setting
from descentlab.sgmcmc._steps import (
    Target,
    Watch,
    check_curvature,
    check_settings,
    first_size,
    heat_of,
    kinetic_energy,
    level_step,
    root,
    start,
    step_sizes,
)
from descentlab.sgmcmc.state import Energy, Info, Kernel, State

P = ParamSpec("P")
K = TypeVar("K", covariant=True)


class Builder(Protocol, Generic[P, K]):
    """A function that builds a kernel; `build` is the function itself, for those who like the name spelt out."""

    build: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> K: ...


def _builder(function: Callable[P, Kernel]) -> Builder[P, Kernel]:
    function.build = function  # type: ignore[attr-defined]
    return cast("Builder[P, Kernel]", function)


def _limit(step_size: Setting, friction: Setting, temperature: float, curvature: float | None) -> Watch:
    """Refuses steps beyond the limit of stability of symplectic Euler, or watches where the curvature is not known."""
    first = first_size(step_size)
    limit = blocks.combine(lambda h, g: 2 * (2 - h * g) / h**2, first, friction)
    rule = "step_size**2 * curvature must stay below 2 * (2 - friction * step_size)"
    check_curvature(curvature, step_size, lambda _: limit, rule)
    return Watch(temperature, blocks.smallest(limit))


def _check_plain_friction(friction: float) -> None:
    """Friction of a method that divides by it, or forgets momenta at that rate."""
    if not (isinstance(friction, (int, float)) and not isinstance(friction, bool) and 0 < friction < math.inf):
        raise ValueError(f"friction={friction!r} must be a positive finite number")


# -- the samplers ---------------------------------------------------------------------------------------------------


@_builder
def sgld(
    energy: Energy | None = None,
    *,
    step_size: Setting,
    friction: float = 1.0,
    temperature: float = 1.0,
    curvature: float | None = None,
    log_posterior: Energy | None = None,
    batched: bool | None = None,
    chain_batches: bool = False,
) -> Kernel:
    r"""Stochastic gradient Langevin dynamics, :math:`\theta \leftarrow \theta - \eta \nabla U + \sqrt{2 \eta T}\, n`.

    Parameters are those of `sghmc`; :math:`\eta` is the step size over the friction, since friction without inertia only
    slows time.
    """
    target = Target(energy, log_posterior, batched, chain_batches)
    _check_plain_friction(friction)
    check_settings(step_size=step_size, temperature=temperature)
    rule = "step_size * curvature must stay below 2 * friction"
    check_curvature(curvature, step_size, lambda h: 2 * friction / h, rule)

    def step(state: State, batch: Any, generator: torch.Generator | None = None) -> tuple[State, Info]:
        names, theta = blocks.split(state.params)
        eta = [h / friction for h in step_sizes(step_size, state.step, names, theta)]
        heat = heat_of(temperature, step_size, state.step)
        value, gradients = target(state, batch, theta, limit=lambda: f"step_size * curvature < 2, step_size {eta[0]}")
        theta = [blocks.add(x, g, -1 * e) for x, g, e in zip(theta, gradients, eta, strict=True)]
        if heat > 0:
            noise = blocks.normals(theta, generator)
            theta = [blocks.add(x, n, root(2 * e * heat)) for x, n, e in zip(theta, noise, eta, strict=True)]
        params = blocks.join(state.params, theta)
        return replace(state, params=params, step=state.step + 1), Info(value)

    return Kernel("sgld", start(momentum=False), step)


@_builder
def psgld(
    energy: Energy | None = None,
    *,
    step_size: Setting,
    friction: float = 1.0,
    temperature: float = 1.0,
    memory: float = 0.99,
    eps: float = 1e-5,
    num_samples: float = 1.0,
    log_posterior: Energy | None = None,
    batched: bool | None = None,
    chain_batches: bool = False,
) -> Kernel:
    r"""SGLD with RMSProp's preconditioner (Li et al. 2016); the term of its derivative is dropped, as is usual.

    .. math::
        v \leftarrow \beta v + (1-\beta) \bar g^2, \quad G = 1/(\sqrt v + \varepsilon), \\
        \theta \leftarrow \theta - \tfrac{\eta}{2} G \nabla U + \sqrt{\eta T G}\, n

    Here :math:`\eta` is the step size over the friction.

    Parameters
    ----------
    memory : float
        :math:`\beta`, in [0, 1); the first gradient starts the average.
    eps : float
    num_samples : float
        :math:`\bar g = \nabla U / \text{num\_samples}`, the gradient of a datum's mean energy.

    Other parameters are those of `sghmc`.
    """
    target = Target(energy, log_posterior, batched, chain_batches)
    _check_plain_friction(friction)
    check_settings(step_size=step_size, temperature=temperature)
    if not 0 <= memory < 1:
        raise ValueError(f"memory={memory!r} must be in [0, 1)")
    if not (eps > 0 and num_samples > 0):
        raise ValueError(f"eps={eps!r} and num_samples={num_samples!r} must be positive")

    def step(state: State, batch: Any, generator: torch.Generator | None = None) -> tuple[State, Info]:
        names, theta = blocks.split(state.params)
        eta = [h / friction for h in step_sizes(step_size, state.step, names, theta)]
        heat = heat_of(temperature, step_size, state.step)
        value, gradients = target(state, batch, theta)
        squares = [(g / num_samples).square() for g in gradients]
        if state.second_moment is not None:
            old = blocks.split(state.second_moment)[1]
            squares = [torch.lerp(s, v, memory) for s, v in zip(squares, old, strict=True)]
        noise = blocks.normals(theta, generator) if heat > 0 else theta
        moved = []
        for x, g, v, n, e in zip(theta, gradients, squares, noise, eta, strict=True):
            scale = e / (v.sqrt() + eps)
            x = x - 0.5 * scale * g
            moved.append(x + (scale * heat).sqrt() * n if heat > 0 else x)
        params, second = blocks.join(state.params, moved), blocks.join(state.params, squares)
        return replace(state, params=params, second_moment=second, step=state.step + 1), Info(value)

    return Kernel("psgld", start(momentum=False), step)


@_builder
def sghmc(
    energy: Energy | None = None,
    *,
    step_size: Setting,
    friction: Setting = 1.0,
    temperature: float = 1.0,
    curvature: float | None = None,
    log_posterior: Energy | None = None,
    batched: bool | None = None,
    chain_batches: bool = False,
) -> Kernel:
    r"""Stochastic gradient Hamiltonian Monte Carlo (Chen et al. 2014) as symplectic Euler, with unit mass.

    .. math::
        r \leftarrow (1 - h\gamma)\, r - h \nabla U(\theta) + \sqrt{2 h \gamma T}\, n, \qquad
        \theta \leftarrow \theta + h\, r

    Parameters
    ----------
    energy : callable, (params, batch) -> Tensor
        Minus the log-posterior, of one chain as a number, or of all chains as a tensor of shape (chains,).
    step_size : float, Tensor, mapping or callable
        :math:`h`: a number; one entry a chain; a tensor that broadcasts against a block with its chain axis; one of
        these for each block's name; or a function from the steps done to one of these, as `cyclical_schedule` makes.
    friction : float, Tensor or mapping
        :math:`\gamma`.
    temperature : float
        :math:`T`; 0 is the deterministic limit, gradient descent with momentum.
    curvature : float, optional
        Largest eigenvalue of the Hessian of `energy`, where known: steps beyond the limit
        :math:`h^2 \lambda < 2 (2 - h\gamma)` are then refused. Otherwise a run that heats up is warned of.
    log_posterior : callable
        In place of `energy`.
    batched : bool, optional
        Whether `energy` takes all chains at once; None finds out with the first step, one chain being tried first.
    chain_batches : bool
        Whether each tensor of a batch has the chains as its first axis. A batched energy sees batches as they are.

    Raises
    ------
    ValueError
        A step size is not positive, a friction or temperature negative, friction × step_size at least 2, or the step
        beyond the limit that `curvature` sets.
    NonFiniteEnergy
        By a step whose energy is not finite.
    """
    target = Target(energy, log_posterior, batched, chain_batches)
    check_settings(step_size=step_size, temperature=temperature, friction=friction)
    watch = _limit(step_size, friction, temperature, curvature)
    frictions, scratch = blocks.Remembered(friction, "friction"), blocks.Scratch()

    def step(state: State, batch: Any, generator: torch.Generator | None = None) -> tuple[State, Info]:
        names, theta = blocks.split(state.params)
        r = blocks.flat(blocks.split(state.momentum)[1])
        h = level_step(step_size, state.step, names, theta, scratch)
        gamma = frictions(names, theta)
        several = isinstance(h, torch.Tensor) or isinstance(gamma, torch.Tensor)
        alpha: Any = torch.mul(gamma, h, out=scratch("alpha", r)) if several else h * gamma
        heat = heat_of(temperature, step_size, state.step)
        value, gradients = target(state, batch, theta, check=False)
        g = blocks.flat(gradients)
        target.verify(state, value, gradients, g.sum(), limit=watch.text)
        r = torch.addcmul(r, alpha, r, value=-1) if several else (1 - alpha) * r
        r = blocks.add_(r, g, h, -1)
        if heat > 0:
            noise = scratch("noise", r).normal_(generator=generator)
            r = blocks.add_(r, noise, alpha.mul_(2 * heat).sqrt_() if several else root(2 * alpha * heat))
        x = blocks.add(blocks.flat(theta), r, h)
        positions, moved = blocks.parts(x, theta), blocks.parts(r, theta)
        watch(state.step, moved)
        params, momentum = blocks.join(state.params, positions), blocks.join(state.params, moved)
        after = replace(state, params=params, momentum=momentum, step=state.step + 1)
        return after, Info(value, _momentum=momentum)

    return Kernel("sghmc", start(momentum=True), step)


@_builder
def sgnht(
    energy: Energy | None = None,
    *,
    step_size: Setting,
    friction: float = 1.0,
    temperature: float = 1.0,
    per_block: bool = False,
    curvature: float | None = None,
    log_posterior: Energy | None = None,
    batched: bool | None = None,
    chain_batches: bool = False,
) -> Kernel:
    r"""Stochastic gradient Nosé–Hoover thermostat (Ding et al. 2014): friction that adapts until momenta have heat T.

    .. math::
        r \leftarrow (1 - h\xi)\, r - h \nabla U + \sqrt{2 h A T}\, n, \quad \theta \leftarrow \theta + h\, r, \quad
        \xi \leftarrow \xi + h\,(\overline{r^2} - T)

    Parameters
    ----------
    friction : float
        :math:`A`, the noise that is injected, and where :math:`\xi` starts.
    per_block : bool
        One thermostat a block instead of one a chain.

    Other parameters are those of `sghmc`, whose limit on the step is checked with the friction `friction`; the step size is one number, or a function of the step to one.
    """
    target = Target(energy, log_posterior, batched, chain_batches)
    check_settings(step_size=step_size, temperature=temperature, friction=friction)
    watch = _limit(step_size, friction, temperature, curvature)
    plain = start(momentum=True)

    def init(params: Params, *, num_chains: int | None = None) -> State:
        state = plain(params, num_chains=num_chains)
        tensors = blocks.split(state.params)[1]
        xi = [torch.full((len(t),), float(friction), dtype=t.dtype, device=t.device) for t in tensors]
        return replace(state, thermostat=xi if per_block else xi[0])

    def step(state: State, batch: Any, generator: torch.Generator | None = None) -> tuple[State, Info]:
        names, theta = blocks.split(state.params)
        momenta = blocks.split(state.momentum)[1]
        h = step_sizes(step_size, state.step, names, theta)
        heat = heat_of(temperature, step_size, state.step)
        value, gradients = target(state, batch, theta, limit=watch.text)
        noise = blocks.normals(theta, generator) if heat > 0 else theta
        xis = state.thermostat if per_block else [state.thermostat] * len(theta)
        positions, moved = [], []
        for x, r, g, n, e, xi in zip(theta, momenta, gradients, noise, h, xis, strict=True):
            r = blocks.add(r * (1 - e * xi.reshape(-1, *[1] * (r.ndim - 1))), g, -1 * e)
            if heat > 0:
                r = blocks.add(r, n, root(2 * e * friction * heat))
            moved.append(r)
            positions.append(blocks.add(x, r, e))
        watch(state.step, moved)
        squares = [blocks.mean_square(r) for r in moved]
        if per_block:
            thermostat: Any = [xi + e * (s - heat) for xi, s, e in zip(xis, squares, h, strict=True)]
        else:
            sizes = [r[0].numel() for r in moved]
            mean = torch.stack([s * k for s, k in zip(squares, sizes, strict=True)]).sum(0) / sum(sizes)
            thermostat = state.thermostat + h[0] * (mean - heat)
        params, momentum = blocks.join(state.params, positions), blocks.join(state.params, moved)
        after = State(params, momentum, state.step + 1, None, thermostat)
        return after, Info(value, _momentum=momentum)

    return Kernel("sgnht", init, step)


@_builder
def hmc(
    energy: Energy | None = None,
    *,
    step_size: Setting,
    num_steps: int = 10,
    friction: float | None = None,
    temperature: float = 1.0,
    jitter: float = 0.0,
    metropolis: bool = True,
    accept_first: int = 0,
    curvature: float | None = None,
    log_posterior: Energy | None = None,
    batched: bool | None = None,
    chain_batches: bool = False,
) -> Kernel:
    r"""Hamiltonian Monte Carlo: fresh momenta, `num_steps` leapfrog steps, Metropolis. Give it full batches.

    Parameters
    ----------
    num_steps : int
        Leapfrog steps a proposal.
    friction : float, optional
        Generalised HMC (Horowitz 1991): momenta lose the share :math:`1 - e^{-\gamma h L}` between proposals, for a path of
        length hL, and turn round where one is rejected. By default they are drawn anew.
    jitter : float
        Each proposal multiplies the step size of a chain by a uniform number of ``1 ± jitter``.
    metropolis : bool
        False always accepts: unadjusted, biased by the step size.
    accept_first : int
        Proposals accepted whatever their energy, which lets chains fall from a poor origin.

    Other parameters are those of `sghmc`. ``state.step`` counts proposals.
    """
    target = Target(energy, log_posterior, batched, chain_batches)
    if friction is not None:
        _check_plain_friction(friction)
    check_settings(step_size=step_size, temperature=temperature)
    rule = "step_size**2 * curvature must stay below 4"
    check_curvature(curvature, step_size, lambda h: 4 / ((1 + jitter) * h) ** 2, rule)
    if temperature == 0:
        raise ValueError("temperature=0: HMC needs a positive temperature")
    if not (isinstance(num_steps, int) and num_steps >= 1):
        raise ValueError(f"num_steps={num_steps!r} must be a whole number, at least 1")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter={jitter!r} must be in [0, 1)")

    def step(state: State, batch: Any, generator: torch.Generator | None = None) -> tuple[State, Info]:
        names, origin = blocks.split(state.params)
        h = step_sizes(step_size, state.step, names, origin)
        chains, device, dtype = len(origin[0]), origin[0].device, origin[0].dtype
        if jitter:
            spread = 1 + jitter * (2 * torch.rand(chains, generator=generator, device=device, dtype=dtype) - 1)
            h = [e * spread.reshape(-1, *[1] * (x.ndim - 1)) for e, x in zip(h, origin, strict=True)]
        size = blocks.level(h, origin)
        half = 0.5 * size
        x, r = blocks.flat(origin), math.sqrt(temperature) * blocks.flat(blocks.normals(origin, generator))
        if friction is not None and state.momentum is not None:
            kept_share = torch.exp(-friction * num_steps * torch.as_tensor(size, dtype=dtype, device=device))
            last = blocks.flat(blocks.split(state.momentum)[1])
            r = kept_share * last + (1 - kept_share**2).sqrt() * r
        first = blocks.parts(r.clone(), origin) if friction is not None else []
        before, gradients = target(state, batch, origin)
        kinetic = kinetic_energy(blocks.parts(r, origin))
        r = blocks.add_(r, blocks.flat(gradients), half, -1)
        x = x.clone()
        theta = blocks.parts(x, origin)
        for k in range(num_steps):
            blocks.add_(x, r, size)
            value, gradients = target(state, batch, theta, check=False)
            r = blocks.add_(r, blocks.flat(gradients), size if k < num_steps - 1 else half, -1)
        momenta = blocks.parts(r, origin)
        gain = (before + kinetic - value - kinetic_energy(momenta)) / temperature
        acceptance = torch.nan_to_num(gain.clamp(max=0).exp(), nan=0.0)  # a path that left the finite is rejected
        uniform = torch.rand(chains, generator=generator, device=device, dtype=dtype)
        accepted = (uniform < acceptance) if metropolis else torch.isfinite(value)
        if state.step < accept_first:
            accepted = torch.isfinite(value)
        shaped = [accepted.reshape(-1, *[1] * (x.ndim - 1)) for x in origin]
        kept = [torch.where(a, new, old) for a, new, old in zip(shaped, theta, origin, strict=True)]
        if friction is not None:
            momenta = [torch.where(a, new, -old) for a, new, old in zip(shaped, momenta, first, strict=True)]
        params, momentum = blocks.join(state.params, kept), blocks.join(state.params, momenta)
        return replace(state, params=params, momentum=momentum, step=state.step + 1), Info(before, acceptance, momentum)

    return Kernel("hmc", start(momentum=True), step)
