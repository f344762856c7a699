"""Experiments behind the lesson sgmcmc, and the statements of its paper."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import k0
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from descentlab import data
from descentlab.claims import Statements
from descentlab.compiled import njit
from descentlab.data import Dataset
from descentlab.networks import resnet20_frn, seeded
from descentlab.sgmcmc import _blocks as blocks
from descentlab.sgmcmc import diagnostics, expansion
from descentlab.sgmcmc._energies import FactoredGaussian
from descentlab.sgmcmc.ensemble import Ensemble
from descentlab.sgmcmc.expansion import by_block, expand, expansion_of, induced_prior
from descentlab.sgmcmc.kernels import hmc, sghmc, sgnht
from descentlab.sgmcmc.layouts import merge_parameters
from descentlab.sgmcmc.posterior import posterior_energy, sample_posterior
from descentlab.sgmcmc.preconditioning import expected_move, factors_preconditioner, factors_trace, move_bound
from descentlab.sgmcmc.schedules import cyclical_schedule
from descentlab.sgmcmc.state import Kernel, State
from descentlab.training.parallel import choose_device

# -- Stationary moments of the samplers on :math:`U = \lambda x^2 / 2`, in closed form, and a bench to measure them ---


class Moments(NamedTuple):
    """Stationary variance of the position, mean squared momentum, and the thermostat's friction (NaN without)."""

    position: float
    momentum: float
    friction: float = math.nan


def sgld_moments(*, step_size: float, curvature: float, temperature: float = 1.0, noise: float = 0.0) -> Moments:
    r""":math:`E x^2 = (T + \eta V/2) / (\lambda (1 - \eta\lambda/2))`."""
    _stable(step_size * curvature, 2.0, "step_size * curvature")
    heat = temperature + step_size * noise / 2
    return Moments(heat / (curvature * (1 - step_size * curvature / 2)), math.nan)


def sghmc_moments(
    *, step_size: float, curvature: float, friction: float, temperature: float = 1.0, noise: float = 0.0
) -> Moments:
    r"""Momentum first: :math:`E x^2 = (T_e/\lambda) / (1 - h^2\lambda/(2(2-\alpha)))`, :math:`T_e = T + hV/(2\gamma)`.

    :math:`\alpha = h\gamma`, and :math:`E r^2 = 2\lambda E x^2/(2-\alpha)`.
    """
    alpha = step_size * friction
    limit = 2 * (2 - alpha)
    _stable(step_size**2 * curvature, limit, "step_size**2 * curvature")
    heat = temperature + step_size * noise / (2 * friction)
    position = heat / curvature / (1 - step_size**2 * curvature / limit)
    return Moments(position, 2 * curvature * position / (2 - alpha))


def explicit_euler_moments(*, step_size: float, curvature: float, friction: float, temperature: float = 1.0) -> Moments:
    r"""Moments where the position moves before the momentum, with :math:`\alpha = h\gamma` and :math:`w = h^2\lambda`.

    .. math:: E x^2 = \frac T\lambda\, \frac{2\alpha(2-\alpha+w)}{(\alpha-w)(4-2\alpha+w)}

    Unstable where :math:`h\lambda \ge \gamma`. :math:`E r^2 = 2 \lambda E x^2 / (2 - \alpha + w)`, as stationarity of
    :math:`x^2` and :math:`xr` demands.
    """
    alpha, w = step_size * friction, step_size**2 * curvature
    _stable(step_size * curvature, friction, "step_size * curvature")
    position = temperature / curvature * 2 * alpha * (2 - alpha + w) / ((alpha - w) * (4 - 2 * alpha + w))
    return Moments(position, 2 * curvature * position / (2 - alpha + w))


def sgnht_moments(
    *, step_size: float, curvature: float, friction: float, temperature: float = 1.0, noise: float = 0.0
) -> Moments:
    r"""Where :math:`\alpha = h\xi` solves :math:`\alpha(2-\alpha-h^2\lambda/2) = 2hA + h^2V/T`, in many dimensions.

    :math:`E r^2 = T` exactly, :math:`E x^2 = T(2-\alpha)/(2\lambda)`.
    """
    w = step_size**2 * curvature
    injected = 2 * step_size * friction + step_size**2 * noise / temperature
    peak = 1 - w / 4  # of the left-hand side
    if injected >= peak**2:
        raise ValueError(
            f"step_size={step_size!r}: no stationary thermostat, the noise is more than friction can take up"
        )
    alpha = brentq(lambda a: a * (2 - a - w / 2) - injected, 0.0, peak, xtol=1e-15)
    return Moments(temperature * (2 - alpha) / (2 * curvature), temperature, alpha / step_size)


class Quadratic:
    """Energy λ x²/2 + s ⟨n, x⟩ of all chains, shape (chains,) or (chains, d), with its gradient λ x + s n."""

    def __init__(self, curvature: float | Tensor, spread: float | Tensor):
        self.curvature, self.spread = curvature, spread

    def __call__(self, x: Tensor, batch: Tensor | None) -> Tensor:
        value = 0.5 * self.curvature * x.square()
        value = value if batch is None else value + self.spread * batch * x
        return value if x.ndim == 1 else value.sum(-1)

    def value_and_grad(self, x: Tensor, batch: Tensor | None, out: Tensor) -> Tensor:
        """Energies, shape (chains,); the gradient is written into `out`."""
        torch.mul(x, self.curvature, out=out)
        value = 0.5 * x * out
        if batch is not None:
            slope = self.spread * batch
            value += slope * x
            out += slope
        return value if x.ndim == 1 else value.sum(-1)


def noisy_quadratic(curvature: float, noise: float = 0.0) -> Callable[[Tensor, Any], Tensor]:
    """Energy λ x²/2 + √V ⟨n, x⟩ of all chains, of shape (chains, d); the batch is n, or None."""
    return Quadratic(curvature, math.sqrt(noise))


def measure_moments(
    kernel: Kernel,
    *,
    num_chains: int = 4000,
    num_steps: int = 3000,
    num_dropped: int = 1000,
    dimension: int = 1,
    noise: float = 0.0,
    seed: int = 0,
) -> Moments:
    """Simulated stationary moments of a kernel whose energy is a `noisy_quadratic`.

    Works with any object that has ``init`` and ``step`` as `Kernel` has: a bench for samplers of one's own.

    Parameters
    ----------
    kernel : Kernel
    num_chains, num_steps, num_dropped : int
        Chains, steps kept, and steps before them.
    dimension : int
        Independent coordinates of each chain; many for `sgnht`, whose thermostat averages over them.
    noise : float
        Variance of the gradient noise; above 0, batches of normal numbers are passed.
    seed : int
    """
    generator = torch.Generator().manual_seed(seed)
    state = kernel.init(torch.randn(num_chains, dimension, generator=generator, dtype=torch.float64))
    sums = torch.zeros(3, dtype=torch.float64)
    for index in range(num_dropped + num_steps):
        batch = None
        if noise > 0:
            batch = torch.randn(num_chains, dimension, generator=generator, dtype=torch.float64)
        state, _ = kernel.step(state, batch, generator)
        if index >= num_dropped:
            sums[0] += state.params.square().mean()
            sums[1] += math.nan if state.momentum is None else state.momentum.square().mean()
            sums[2] += math.nan if state.thermostat is None else state.thermostat.mean()
    return Moments(*(sums / num_steps).tolist())


def _stable(value: float, limit: float, name: str) -> None:
    if not value < limit:
        raise ValueError(f"{name}={value:g} must stay below {limit:g}: no stationary distribution beyond")


# -- Bayesian networks on small images: the data, the network, the samplers to compare, and their comparison with HMC ---


@dataclass(frozen=True, eq=False)
class Images:
    """A training set, images to choose settings by, and test images; standardised by the training mean and deviation.

    Attributes
    ----------
    inputs, validation_inputs, test_inputs, ood_inputs : Tensor, shape (n, 196), float32
    targets, validation_targets, test_targets : Tensor, shape (n,)
    deviation : float
        Of the training pixels, on the grey scale [0, 1].
    """

    inputs: Tensor
    targets: Tensor
    validation_inputs: Tensor
    validation_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    ood_inputs: Tensor
    deviation: float = 1.0


@lru_cache(maxsize=4)
def load_images(
    name: str, *, num_samples: int, num_validation: int = 1000, num_test: int = 2000, seed: int = 0
) -> Images:
    """Images of 14 × 14 pixels: Fashion-MNIST, pooled, or the digits of scikit-learn, enlarged.

    Those of the other kind, the first 1797, are the images from elsewhere.

    Parameters
    ----------
    name : {"fashion-mnist-12k", "fashion-mnist", "digits"}
    num_samples : int
        Training images: the first ones of a permutation of all that ``default_rng(seed)`` draws.
    num_validation : int
        The images after them in the permutation.
    num_test : int
        The first test images.
    """
    loaded = data.load(name)
    order = np.random.default_rng(seed).permutation(len(loaded.inputs))
    train = torch.from_numpy(order[:num_samples])
    held = torch.from_numpy(order[num_samples : num_samples + num_validation])
    inputs = _small(loaded.inputs[train])
    mean, deviation = inputs.mean(), inputs.std(correction=0)
    others = data.load("digits" if name != "digits" else "fashion-mnist-12k").inputs[:1797]

    def standard(images: Tensor) -> Tensor:
        return (images - mean) / deviation

    return Images(
        standard(inputs), loaded.targets[train],
        standard(_small(loaded.inputs[held])), loaded.targets[held],
        standard(_small(loaded.test_inputs[:num_test])), loaded.test_targets[:num_test],
        standard(_small(others)), float(deviation),
    )  # fmt: skip


def _small(images: Tensor) -> Tensor:
    if images.shape[-1] == 28:
        return nn.functional.avg_pool2d(images, 2).flatten(1)
    return nn.functional.interpolate(images, size=(14, 14), mode="bilinear", align_corners=False).flatten(1)


def normalised_mlp(widths: Sequence[int] = (32, 32), *, num_inputs: int = 196, num_classes: int = 10) -> nn.Sequential:
    """Perceptron whose hidden layers are affine, RMSNorm, SiLU; He initialisation, biases zero, scales one."""
    layers: list[nn.Module] = []
    for before, after in zip([num_inputs, *widths], widths, strict=False):
        layers += [nn.Linear(before, after), nn.RMSNorm(after, eps=1e-6), nn.SiLU()]
    layers.append(nn.Linear(widths[-1], num_classes))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def expanded_mlp(widths: Sequence[int], *, left: int = 1, right: int = 1, **target: Any) -> nn.Module:
    """A `normalised_mlp` with factors around its linear layers and none at the scales of its norms."""
    model = normalised_mlp(widths)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    where = {name: (left if name != linear[-1] else 0, right if name != linear[0] else 0) for name in linear}
    return expansion.expand(model, where=where, **target)


@dataclass(frozen=True)
class Method:
    """A sampler of the comparison.

    Attributes
    ----------
    name : str
    step_size, friction : float
    factor_friction : float
        Friction of P and Q.
    expanded : {None, "exact", "paper"}
    prior_variance : float
        Of W, or of V for ``"paper"``.
    factor_precision : float
        Of P and Q for ``"paper"``.
    left, right : int
    temperature : float
    """

    name: str
    step_size: float
    friction: float
    factor_friction: float = 0.0
    expanded: str | None = None
    prior_variance: float = 0.2
    factor_precision: float | None = None
    left: int = 1
    right: int = 1
    temperature: float = 1.0


# fmt: off
METHODS = (
    Method("SGHMC, h = 1e-3", 1e-3, 30.0),
    Method("SGHMC, h = 2e-3", 2e-3, 15.0),
    Method("SGHMC, h = 8e-3", 8e-3, 10.0),
    Method("PX exact, h = 1e-3", 1e-3, 30.0, 30.0, "exact"),
    Method("PX paper, h = 1e-3", 1e-3, 30.0, 0.3, "paper", 0.1, 2.0),
)
# fmt: on


def run_methods(
    methods: Sequence[Method],
    images: Images,
    *,
    widths: Sequence[int] = (32, 32),
    num_chains: int = 3,
    num_cycles: int = 20,
    cycle_length: int = 300,
    num_dropped: int = 6,
    batch_size: int = 100,
    seed: int = 0,
) -> dict[str, Ensemble]:
    """Sample the posterior with several methods: cyclical step size, a sample a cycle; the same starts for all.

    Methods that differ in step size and friction only run as chains of one batch.
    """
    found: dict[str, Ensemble] = {}
    for family in dict.fromkeys(replace(m, name="", step_size=1.0, friction=0.0, factor_friction=0.0) for m in methods):
        alike = [m for m in methods if replace(m, name="", step_size=1.0, friction=0.0, factor_friction=0.0) == family]

        def build(number: int, family: Method = family) -> nn.Module:
            with seeded(seed + (number - seed) % num_chains):
                return network(family, widths)

        def column(key: str, alike: list[Method] = alike) -> float | Tensor:
            values = [float(getattr(m, key)) for m in alike]
            return torch.tensor(values).repeat_interleave(num_chains) if len(set(values)) > 1 else values[0]

        shape, sizes = cyclical_schedule(1.0, cycle_length=cycle_length), column("step_size")
        model = network(family, widths)
        friction = {True: column("factor_friction"), False: column("friction")}
        inside = expansion.factor_names(model)
        together = sample_posterior(
            build,
            (images.inputs, images.targets),
            kernel=sghmc,
            step_size=lambda step, shape=shape, sizes=sizes: shape(step) * sizes,
            friction={name: friction[name in inside] for name, _ in model.named_parameters()},
            temperature=family.temperature,
            prior_variance=family.prior_variance,
            num_samples=num_cycles - num_dropped,
            steps_per_sample=cycle_length,
            num_chains=num_chains * len(alike),
            num_dropped=num_dropped,
            batch_size=batch_size,
            seed=seed,
            device="cpu",
            progress=False,
        )
        for k, method in enumerate(alike):
            found[method.name] = together.chain(*range(k * num_chains, (k + 1) * num_chains))
    return {m.name: found[m.name] for m in methods}


def network(method: Method, widths: Sequence[int]) -> nn.Module:
    """The network that a method samples."""
    if method.expanded is None:
        return normalised_mlp(widths)
    return expanded_mlp(
        widths, left=method.left, right=method.right, target=method.expanded,
        prior_variance=method.prior_variance, factor_precision=method.factor_precision,
    )  # fmt: skip


def run_hmc(
    images: Images,
    *,
    widths: Sequence[int] = (32, 32),
    num_chains: int = 3,
    num_samples: int = 100,
    num_dropped: int = 33,
    num_steps: int = 70,
    step_size: float = 0.01,
    prior_variance: float = 0.2,
    seed: int = 0,
) -> Ensemble:
    """The gold standard: full-batch HMC with Metropolis, the first ten proposals accepted, at half the step size."""

    def sizes(proposal: int) -> float:
        return step_size / 2 if proposal < 11 else step_size

    return sample_posterior(
        lambda _: normalised_mlp(widths),
        (images.inputs, images.targets),
        kernel=hmc,
        step_size=sizes,
        num_steps=num_steps,
        accept_first=10,
        prior_variance=prior_variance,
        num_samples=num_samples - num_dropped,
        num_dropped=num_dropped,
        num_chains=num_chains,
        seed=seed,
        device="cpu",
        progress=False,
    )


@dataclass(frozen=True, eq=False)
class Scores:
    """Metrics of each chain on the test images, and how near its predictions are to HMC's.

    Attributes
    ----------
    metrics : dict of ndarray, shape (chains,)
        Those of `ensemble_metrics`, and ``agreement`` and ``total_variation`` to the reference.
    validation_nll : ndarray, shape (chains,)
    temperatures : dict of float
        Kinetic temperatures, averaged over chains and samples.
    """

    metrics: Mapping[str, np.ndarray]
    validation_nll: np.ndarray
    temperatures: Mapping[str, float] = field(default_factory=dict)

    def mean(self, key: str) -> float:
        return float(np.mean(self.metrics[key]))


def score(ensemble: Ensemble, images: Images, *, reference: Tensor | None = None) -> Scores:
    """Metrics of each chain; `reference`, shape (n, classes), are HMC's probabilities of the test images."""
    metrics = ensemble.metrics(images.test_inputs, images.test_targets, ood_inputs=images.ood_inputs, by_chain=True)
    if reference is not None:
        chains = [ensemble.chain(k).predict(images.test_inputs) for k in range(ensemble.num_chains)]
        near = [diagnostics.likeness(p, reference) for p in chains]
        metrics["agreement"] = np.array([n.agreement for n in near])
        metrics["total_variation"] = np.array([n.total_variation for n in near])
    held = ensemble.metrics(images.validation_inputs, images.validation_targets, by_chain=True)
    temperatures = {k: float(t.mean()) for k, t in ensemble.temperatures.items()}
    return Scores(metrics, held["nll"], temperatures)


def noisy(images: Images, deviation: float, *, seed: int = 0) -> Tensor:
    """Test images with Gaussian noise of a deviation in units of the grey scale, [0, 1], on each pixel."""
    generator = torch.Generator().manual_seed(seed)
    clean = images.test_inputs
    return clean + deviation / images.deviation * torch.randn(clean.shape, generator=generator)


def best_by_validation(scores: Mapping[str, Scores]) -> str:
    """Name of the method with the smallest mean validation NLL."""
    return min(scores, key=lambda name: float(scores[name].validation_nll.mean()))


def barrier(
    ensemble: Ensemble, images: Images, *, apart: int, pairs: int = 2, num_points: int = 11
) -> tuple[np.ndarray, np.ndarray]:
    """Training loss on the straight line between two samples of a chain.

    Parameters
    ----------
    apart : int
        Samples between the ends.
    pairs : int
        Pairs a chain, spread over it.

    Returns
    -------
    loss : ndarray, shape (num_points,)
        Mean over chains and pairs.
    height : ndarray, shape (chains * pairs,)
        Loss at the middle minus the mean of the ends, for each pair.
    """
    last = ensemble.num_samples - 1 - apart
    if last < 0:
        raise ValueError(f"apart={apart!r}: the ensemble has only {ensemble.num_samples} samples a chain")
    starts = np.unique(np.linspace(0, last, pairs).astype(int))
    along = torch.linspace(0, 1, num_points)
    curves = []
    for start in starts:
        ends = {k: (t[:, start], t[:, start + apart]) for k, t in ensemble.samples.items()}
        path = {
            k: torch.stack([(1 - s) * a + s * b for s in along], dim=1) for k, (a, b) in ends.items()
        }  # shape (chains, points, ...)
        line = Ensemble(ensemble.model, path, torch.zeros(ensemble.num_chains, num_points))
        logits = line.logits(images.inputs).double()
        picked = logits.gather(-1, images.targets.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)
        curves.append((logits.logsumexp(-1) - picked).mean(-1).numpy())
    every = np.concatenate(curves)
    return every.mean(0), every[:, num_points // 2] - 0.5 * (every[:, 0] + every[:, -1])


def separation(ensemble: Ensemble, *, apart: int) -> float:
    """Mean distance of samples `apart` from each other in a chain, between unit vectors; √2 if independent."""
    flat = torch.cat([t.flatten(2) for t in ensemble.samples.values()], dim=-1)
    unit = flat / flat.norm(dim=-1, keepdim=True)
    return float((unit[:, apart:] - unit[:, :-apart]).norm(dim=-1).mean())


def thermostat_temperatures(
    images: Images, *, num_chains: int = 3, num_steps: int = 1500, seed: int = 0
) -> dict[str, float]:
    """Kinetic temperatures of P, Q and of the rest with one thermostat a block, the paper's prior, over the later half."""
    method = METHODS[-1]
    run = sample_posterior(
        lambda _: network(method, (32, 32)),
        (images.inputs, images.targets),
        kernel=sgnht,
        per_block=True,
        step_size=method.step_size,
        friction=10.0,
        num_samples=max(1, num_steps // 20),
        num_dropped=num_steps // 20,
        steps_per_sample=10,
        num_chains=num_chains,
        batch_size=100,
        seed=seed,
        device="cpu",
        progress=False,
    )
    return {name: float(t.mean()) for name, t in run.temperatures.items()}


def count_operations(
    method: Method, *, widths: Sequence[int] = (64, 64), batch_size: int = 100, num_chains: int = 2
) -> int:
    """Floating-point operations of matrix products in one gradient of a method's energy, a chain."""
    model = network(method, widths)
    energy = posterior_energy(model, 1000)
    leaves = {
        k: p.detach().repeat(num_chains, *[1] * p.ndim).view(num_chains, *p.shape) for k, p in model.named_parameters()
    }
    leaves = {k: p.requires_grad_() for k, p in leaves.items()}
    batch = torch.zeros(num_chains, batch_size, 196), torch.zeros(num_chains, batch_size, dtype=torch.long)
    with _Products() as counter:
        torch.autograd.grad(energy(leaves, batch).sum(), list(leaves.values()))
    return counter.total // num_chains


class _Products(TorchDispatchMode):
    """Counts floating-point operations as ``FlopCounterMode`` does, without loading the compiler, which takes seconds."""

    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


# -- The comparison on 4000 images and hidden layers of 64 units, depths and temperatures included: minutes, not seconds ---

LARGER: dict[str, Any] = {"widths": (64, 64), "cycle_length": 300}
# fmt: off
LARGER_METHODS = (
    Method("SGHMC, h = 1e-3", 1e-3, 30.0),
    Method("SGHMC, h = 2e-3", 2e-3, 15.0),
    Method("PX paper, h = 1e-3", 1e-3, 30.0, 0.3, "paper", 0.1, 2.0),
    Method("PX exact, h = 1e-3", 1e-3, 30.0, 30.0, "exact"),
)
# fmt: on


def compare_larger(
    images: Images, *, num_cycles: int = 15, num_dropped: int = 4, num_chains: int = 4, seed: int = 0
) -> dict[str, Scores]:
    """The samplers on 4000 images and hidden layers of 64 units."""
    runs = run_methods(
        LARGER_METHODS,
        images,
        num_cycles=num_cycles,
        num_dropped=num_dropped,
        num_chains=num_chains,
        seed=seed,
        **LARGER,
    )
    return {name: score(run, images) for name, run in runs.items()}


@dataclass(frozen=True, eq=False)
class Depth:
    """One depth of the ablation: scores, and the extreme singular values of the square hidden layer, averaged."""

    scores: Scores
    largest: float
    smallest: float


def compare_depths(
    images: Images, target: str, depths: Sequence[tuple[int, int]], *, num_cycles: int = 10, num_dropped: int = 3,
    num_chains: int = 3, seed: int = 0,
) -> dict[tuple[int, int], Depth]:  # fmt: skip
    """Expansions of several depths, all else equal: h = 7e-4, friction 30 everywhere."""
    found = {}
    for left, right in depths:
        variance, precision = (0.2, None) if target == "exact" else (0.1, 2.0)
        kind = target if left + right else None
        method = Method("depth", 7e-4, 30.0, 30.0, kind, variance if kind else 0.2, precision, left, right)
        run = run_methods(
            [method], images, num_cycles=num_cycles, num_dropped=num_dropped, num_chains=num_chains, seed=seed, **LARGER
        )["depth"]
        square = next(t for t in run.samples.values() if t.ndim == 4 and t.shape[-1] == t.shape[-2])
        values = torch.linalg.svdvals(square[:, -1])
        found[left, right] = Depth(score(run, images), float(values[:, 0].mean()), float(values[:, -1].mean()))
    return found


def compare_temperatures(
    images: Images, temperatures: Sequence[float] = (1.0, 0.1, 0.01), *, num_cycles: int = 12, num_dropped: int = 4,
    num_chains: int = 4, seed: int = 0,
) -> dict[str, list[Scores]]:  # fmt: skip
    """SGHMC and the paper's expansion at several temperatures."""
    found: dict[str, list[Scores]] = {}
    for base in (LARGER_METHODS[1], LARGER_METHODS[2]):
        for temperature in temperatures:
            method = replace(base, temperature=temperature)
            run = run_methods(
                [method],
                images,
                num_cycles=num_cycles,
                num_dropped=num_dropped,
                num_chains=num_chains,
                seed=seed,
                **LARGER,
            )
            found.setdefault(base.name, []).append(score(run[base.name], images))
    return found


# -- What the authors' code logged on CIFAR-10: one run of each sampler, seed 42, published with their repository -----

CYCLES = (1, 2, 5, 10, 20, 50, 100)
CURVES = {
    "SGHMC": {
        "error": (0.4125, 0.3322, 0.2486, 0.2030, 0.1719, 0.1457, 0.1343),
        "nll": (1.142, 0.9645, 0.7576, 0.6342, 0.5436, 0.4615, 0.4212),
        "ambiguity": (0.0, 0.078, 0.144, 0.166, 0.177, 0.184, 0.188),
    },
    "PX-SGHMC": {
        "error": (0.3956, 0.3155, 0.2418, 0.1954, 0.1588, 0.1269, 0.1185),
        "nll": (1.086, 0.8991, 0.7112, 0.5904, 0.4944, 0.4128, 0.3763),
        "ambiguity": (0.0, 0.105, 0.183, 0.224, 0.243, 0.246, 0.241),
    },
}
"""Error, negative log-likelihood and ambiguity of the ensemble after so many cycles."""

SINGLE_NLL = {"SGHMC": 0.5455, "PX-SGHMC": 0.5460}
"""Of single samples, averaged over the last 50."""

MINUTES = {"SGHMC": 106, "PX-SGHMC": 117}
"""On one RTX A6000."""

LOGGED = {"‖W‖, PX": 2113.0, "‖W‖, SP": 119.2, "½ Σ ‖P, Q‖²": 27_780.0, "‖V‖² / 2σ²": 139_400.0}
"""Norms at the end of the two runs (that of W under PX is the middle of 2106 to 2120)."""

BASELINES = {"SGLD": (0.153, 0.473, 0.182), "SGHMC": (0.132, 0.409, 0.181), "SGNHT": (0.136, 0.424, 0.191)}
"""Error, negative log-likelihood and ambiguity of other samplers on the same data, means of 8 runs."""


def normalised(images: Tensor) -> Tensor:
    """Colour images with values in [0, 1] as the authors' network takes them, shape (n, 3, height, width)."""
    return (images - images.new_tensor(MEANS).view(3, 1, 1)) / DEVIATION


def splits(images: Dataset) -> tuple[Pair, Pair, Pair]:
    """Training, validation and test images of CIFAR-10 with their labels, normalised, as in the authors' runs.

    The first 40 960 images train and the others validate; of a smaller set that share.
    """
    count = len(images.inputs) * NUM_TRAINING // 50_000
    inputs = normalised(images.inputs)
    return (
        (inputs[:count], images.targets[:count]),
        (inputs[count:], images.targets[count:]),
        (normalised(images.test_inputs), images.test_targets),
    )


Pair = tuple[Tensor, Tensor]
NUM_TRAINING = 40_960
"""Training images of the authors' runs; the other 9 040 of the 50 000 are for validation."""

MEANS, DEVIATION = (0.49, 0.48, 0.44), 0.2


class Constants(NamedTuple):
    """Settings of one of the authors' runs."""

    step_size: float
    friction: float
    factor_friction: float
    prior_variance: float
    factor_precision: float


SGHMC = Constants(3e-4, 100.0, 0.0, 0.05, 0.0)
PX_SGHMC = Constants(1e-4, 100.0, 1.0, 0.02, 2.0)


def predicted_norms(*, factor_precision: float = 2.0, prior_variance: float = 0.02) -> dict[str, float]:
    r"""What the logged norms would be if all factors were draws from their prior: Gaussian, forgetful of the identity.

    :math:`E \|W\|^2` adds up the variances of `induced_prior` over the layers; vectors are products with left factors
    only.
    """
    sizes = {name: t.numel() for name, t in resnet20_frn().named_parameters()}
    network = expand(resnet20_frn())
    p = factor_precision**-0.5
    total, added = 0.0, 0
    for group in expansion_of(network).groups:
        m, vector = group.shape[0], prior_variance * (group.shape[0] * p**2) ** group.left
        if group.weight is not None:
            entry = induced_prior(group.shape, left=group.left, right=group.right, scales=(p, p, prior_variance**0.5))
            total += int(np.prod(group.shape)) * entry.variance
        total += len(group.vectors) * m * vector
        added += group.left * m * m + (group.right * group.shape[1] ** 2 if group.right else 0)
    parameters = sum(sizes.values())
    expanded = {g.name(t) for g in expansion_of(network).groups for t in (g.weight, *g.vectors) if t is not None}
    plain = sum(size for name, size in sizes.items() if name not in expanded)
    total += plain * prior_variance
    return {
        "‖W‖, PX": total**0.5,
        "‖W‖, SP": (parameters * SGHMC.prior_variance) ** 0.5,
        "½ Σ ‖P, Q‖²": 0.5 * added / factor_precision,
        "‖V‖² / 2σ²": 0.5 * parameters,
    }


def cycles_to_reach(curve: str, value: float, method: str = "PX-SGHMC") -> float:
    """Cycle at which a logged curve falls to `value`, between the tabulated ones on a logarithmic scale."""
    heights = np.array(CURVES[method][curve])
    return float(np.exp(np.interp(-value, -heights, np.log(CYCLES))))


# -- What the paper states and what we derived, as claims to be measured ----------------------------------------------

_CHAINS = "mean of 12 chains of plain loops, which spread by 0.017 (NLL), 0.012 (ambiguity) and 0.006 (error) at most"
_SEEDS = "spread over seeds and data subsets of an independent implementation"

# fmt: off
statements = Statements("sgmcmc")


C1 = statements.statement(
    "C1", r"Gradient flow on the factors is a preconditioned flow of the product.", "Lemma 3.1", source="paper",
)
C1.in_cells(
    "a", r"Gradient flow on the factors is preconditioned flow of $W$: largest relative error of $P_W$ against automatic differentiation, up to five factors",
    "Lemma 3.1 (formula derived)", "at most", 1e-12, 0.0,
    "rounding in float64", basis="exact", control="transposes on the wrong factors",
)
C1.in_cells(
    "b", r"At $P = Q = I$ the eigenvalues of $P_W$ are $1 + c\,\sigma_j(V)^2 + d\,\sigma_i(V)^2$: largest relative error",
    "ours", "at most", 1e-12, 0.0,
    "rounding in float64", basis="exact", control="c and d exchanged",
)
C1.in_cells(
    "c", r"The flow conserves $A_i^\top A_i - A_{i+1} A_{i+1}^\top$: drift after 2000 Runge–Kutta steps of $10^{-3}$",
    "balancedness of deep linear networks", "at most", 1e-5, 0.0,
    "fourth-order error of the integrator", basis="statement", control="weight decay of 0.1 on the factors",
)

C2 = statements.statement(
    "C2", r"The move of a step on the factors is bounded by their singular values, and can be larger than without them.", "Theorem 3.2 (constants reconstructed)", source="paper",
)
C2.in_cells(
    "a", r"One Langevin step on the factors moves $W$ by $2\varepsilon T \operatorname{tr} P_W + \varepsilon^2 \|P_W \nabla U\|^2$: simulated over predicted, $(c,d) = (0,0), (1,0), (1,1), (2,2), (3,3)$",
    "ours", "approx", (1.0, 1.0, 1.0, 1.0, 1.0), 0.02,
    "Monte Carlo, and the next order at $\\varepsilon = 10^{-4}$", basis="exact", control="$mn$ in place of the trace",
)
C2.in_cells(
    "b", r"The bound in the manner of the theorem holds: smallest ratio of bound to root mean square move",
    "Theorem 3.2 (constants reconstructed)", "at least", 1.0, 0.01,
    "Monte Carlo of the move", basis="statement", control="the bound with $e = M = 1$",
)
C2.in_cells(
    "c", r"A growing bound does not mean larger moves: $\operatorname{tr} P_W$ at depth 7 over depth 5, for some perturbed identities",
    "ours", "at most", 1.0, 0.0,
    "existence of an example", basis="statement", control="exact identities",
)

C3 = statements.statement(
    "C3", r"The samplers have their exact stationary moments on a Gaussian.", "ours", source="ours",
)
C3.in_cells(
    "a", r"Stationary variance of SGHMC, momentum first, over that of a Lyapunov solve, at $(h, \lambda, \gamma, V) = (0.1, 4, 1, 0), (0.5, 1, 1, 0), (0.1, 4, 2, 50)$",
    "ours", "approx", (1.0, 1.0, 1.0), 0.01,
    "Monte Carlo, 4000 chains", basis="exact", control="position moved before momentum",
)
C3.in_cells(
    "b", r"… and of its mean squared momentum, in the first two settings",
    "ours", "approx", (1.0, 1.0), 0.01,
    "Monte Carlo, 4000 chains", basis="exact", control="position moved before momentum",
)
C3.in_cells(
    "c", r"Explicit Euler inflates the variance to 0.42101 instead of 0.25, first setting (ratio to the closed form)",
    "ours", "approx", 1.0, 0.01,
    "Monte Carlo, 4000 chains", basis="exact", control="momentum moved first",
)
C3.in_cells(
    "d", r"The thermostat (SGNHT) absorbs noisy gradients: $E x^2$ and $\xi$ at $V = 0$ and $80$ over the closed form",
    "ours", "approx", (1.0, 1.0, 1.0, 1.0), 0.01,
    "Monte Carlo, thermostat averaged over many coordinates", basis="exact", control="friction that does not adapt",
)
C3.in_cells(
    "e", r"Langevin dynamics has variance $T / (\lambda (1 - \eta\lambda/2)) = 0.3125$ at $\eta = 0.1$, $\lambda = 4$ (ratio)",
    "ours", "approx", 1.0, 0.01,
    "Monte Carlo, 4000 chains", basis="exact", control="HMC with Metropolis, which has no bias",
)

C4 = statements.statement(
    "C4", r"Cyclical steps find modes that decaying steps miss.", "Zhang et al. 2020", source="prior",
)
C4.in_cells(
    "a", r"25 Gaussians: Langevin dynamics with decaying steps visits few modes (mean of 32 chains)",
    "Zhang et al. 2020", "at most", 5.0, 0.0,
    "an independent implementation saw 2.4", basis="statement", control="a constant step size",
)
C4.in_cells(
    "b", r"… with cyclical steps nearly all of them",
    "Zhang et al. 2020", "at least", 24.0, 0.0,
    "an independent implementation saw 25.0", basis="statement", control="decaying steps",
)
C4.in_cells(
    "c", r"… and with a constant large step nearly as many",
    "ours", "approx", 24.25, 0.6,
    "spread of the mean over seeds", basis="statement", control="decaying steps",
)

C5 = statements.statement(
    "C5", r"On a mixture the expansion changes modes more often at the same step.", "Section 5.1 (mixture ours)", source="paper",
)
C5.in_cells(
    "a", r"Nine Gaussians, HMC at the same small step: mode switches of the expansion over those without, for $(c,d) = (1,0)$ and $(1,1)$, exact target",
    "Section 5.1 (mixture ours)", "approx", (2.5, 2.5), 0.7,
    "range [1.8, 3.2] set before the run", basis="statement", control="no expansion on either side",
)
C5.in_cells(
    "b", r"With Gaussian priors on the factors the centre has the mass 0.743 instead of 0.111",
    "ours", "approx", 0.743, 0.02,
    "Monte Carlo and slow mixing", basis="exact", control="the exact target",
)
C5.in_cells(
    "c", r"With the exact target the masses are right: total variation to a ninth each",
    "ours", "at most", 0.08, 0.0,
    "an independent implementation saw 0.044", basis="statement", control="Gaussian priors on the factors",
)
C5.in_cells(
    "d", r"The advantage is one of step size: switches of $(1,1)$ at the small step over those of plain HMC at its tuned one",
    "ours", "approx", 1.0, 0.2,
    "Monte Carlo of two rates", basis="statement", control="plain HMC at the small step",
)

C6 = statements.statement(
    "C6", r"The expansion changes the prior, and the authors' logs show it.", "ours", source="ours",
)
C6.in_cells(
    "a", r"Norms at the end of the authors' runs are those of the prior: predicted over logged, for $\|W\|$ (PX, SP), $\tfrac12 \sum \|P, Q\|^2$ and $\|V\|^2 / 2\sigma^2$",
    "ours", "approx", (1.0, 1.0, 1.0, 1.0), 0.03,
    "the data move the norms a little", basis="exact", control="factors of precision 1 instead of 2",
)
C6.in_cells(
    "b", r"Induced variance of $W = PVQ$ over $\sigma_V^2 (m s_P^2)(n s_Q^2)$, $3 \times 4$",
    "ours", "approx", 1.0, 0.01,
    "Monte Carlo", basis="exact", control="a factor less on the left",
)
C6.in_cells(
    "c", r"Its kurtosis is $3 (1 + 2/m)(1 + 2/n) = 7.5$",
    "ours", "approx", 7.5, 0.375,
    "heavy tails slow the fourth moment", basis="exact", control="V alone",
)
C6.in_cells(
    "d", r"Scalar $w = pv$, $y \mid w \sim N(w, \tfrac14)$: posterior mean and variance at $y = 1$ and $y = 2$",
    "ours", "approx", (0.616773, 0.231147, 1.674864, 0.264116), 1e-6,
    "digits of an independent quadrature", basis="exact", control="a Gaussian prior of the same variance",
)
C6.in_cells(
    "e", r"A sampler on $(p, v)$ has that mean, at $y = 1$ (in standard errors)",
    "ours", "at most", 3.0, 0.0,
    "three standard errors", basis="exact", control="the exact target, whose mean is 0.8",
)

C7 = statements.statement(
    "C7", r"With a correction of the target the expanded sampler is exact.", "ours", source="ours",
)
C7.in_cells(
    "a", r"Exact target, $2 \times 3$ Gaussian: largest error of the mean of $W$ in standard errors, $\rho$ around the identity and Wishart-like",
    "ours", "at most", (4.0, 4.0), 0.0,
    "four standard errors", basis="exact", control="the determinant left out",
)
C7.in_cells(
    "b", r"… relative error of the covariance",
    "ours", "at most", (0.04, 0.04), 0.0,
    "Monte Carlo", basis="exact", control="the determinant left out",
)
C7.in_cells(
    "c", r"… and $E\|P\|^2/m$, $E\|Q\|^2/n$ as $\rho$ says",
    "ours", "approx", (1.18, 1.27, 1.0, 1.0), 0.03,
    "Monte Carlo", basis="exact", control="the determinant left out",
)

C8 = statements.statement(
    "C8", r"On CIFAR-10 the expansion predicts better and more diversely.", "Table 1", source="paper",
)
C8.in_cells(
    "", r"CIFAR-10, ResNet-20: error, NLL and ambiguity of 100 samples of PX-SGHMC",
    "Table 1; official log of seed 42", "approx", (0.1185, 0.3763, 0.2408), 0.012,
    "spread between seeds", basis="printed", control="SGHMC", paper_value='0.1185, 0.3763, 0.2408',
)

C9 = statements.statement(
    "C9", r"At equal step the expanded sampler is more diverse and better on a small network.", "Section 5.2 (scale ours)", source="paper",
)
C9.in_cells(
    "a", r"Fashion-MNIST 14×14, NLL of HMC, SGHMC at $h = $ 1e-3, 2e-3, 8e-3, PX exact and PX paper at 1e-3",
    "ours", "approx", (0.577, 0.669, 0.635, 0.606, 0.636, 0.627), 0.03,
    _CHAINS, basis="second", control="chains that have hardly moved",
)
C9.in_cells(
    "b", r"… their ambiguity",
    "ours", "approx", (0.205, 0.085, 0.126, 0.173, 0.122, 0.169), 0.012,
    _CHAINS, basis="second", control="chains that have hardly moved",
)
C9.in_cells(
    "c", r"… their error",
    "ours", "approx", (0.198, 0.236, 0.223, 0.206, 0.222, 0.217), 0.015,
    _CHAINS, basis="second", control="chains that have hardly moved",
)
C9.in_cells(
    "d", r"At equal step the expansion is more diverse: ambiguity of PX exact over SGHMC, each chain",
    "ours", "approx", 1.5, 0.2,
    "range [1.3, 1.7] set before the run", basis="second", control="SGHMC on both sides", across="every",
)
C9.in_cells(
    "e", r"… of PX paper over SGHMC",
    "ours", "approx", 2.2, 0.4,
    "range [1.8, 2.6] set before the run", basis="second", control="SGHMC on both sides", across="every",
)
C9.in_cells(
    "f", r"… and better: NLL of SGHMC minus that of PX exact, over chains",
    "Section 5.2 (scale ours)", "at least", 0.01, 0.0,
    "0.020 to 0.038 over three data subsets, independently", basis="statement", control="SGHMC on both sides", across="mean",
)
C9.in_cells(
    "g", r"… minus that of PX paper",
    "Section 5.2 (scale ours)", "at least", 0.02, 0.0,
    "0.034 to 0.066 over three data subsets, independently", basis="statement", control="SGHMC on both sides", across="mean",
)
C9.in_cells(
    "h", r"PX exact at $h$ is SGHMC at $2h$: distance of NLL and ambiguity",
    "ours", "at most", (0.03, 0.02), 0.0,
    "predicted by the trace of $P_W$", basis="exact", control="SGHMC at a step a hundred times smaller",
)
C9.in_cells(
    "i", r"A step tuned on validation images closes the gap: total variation to HMC of PX exact minus that of tuned SGHMC, each chain",
    "ours", "at least", 0.0, 0.0,
    "0.106 against 0.074, independently", basis="statement", control="SGHMC at a step a hundred times smaller",
)
C9.in_cells(
    "j", r"PX paper samples another posterior: NLL of its single samples minus that of HMC's",
    "ours", "at least", 0.02, 0.0,
    "0.778 against 0.729, independently", basis="statement", control="HMC on both sides", across="mean",
)

C10 = statements.statement(
    "C10", r"The comparison on a larger network.", "ours", source="ours",
)
C10.in_cells(
    "a", r"4000 images, 64-64 units: NLL of SGHMC at 1e-3, 2e-3, PX paper, PX exact",
    "ours", "approx", (0.479, 0.4641, 0.4607, 0.4616), 0.02,
    _SEEDS, basis="second", control="chains that have hardly moved",
)
C10.in_cells(
    "b", r"… their ambiguity",
    "ours", "approx", (0.0581, 0.0842, 0.0965, 0.0969), 0.012,
    _SEEDS, basis="second", control="chains that have hardly moved",
)

C11 = statements.statement(
    "C11", r"Diversity grows with the depth of the expansion.", "Table 4, Figure 2 (scale ours)", source="paper",
)
C11.in_cells(
    "a", r"Ambiguity grows with depth, exact target",
    "Table 4 (scale ours)", "order", ("(0, 0)", "(1, 0)", "(1, 1)", "(2, 2)"), 0.0,
    "strictly", basis="statement", control="no expansion at any depth",
)
C11.in_cells(
    "b", r"… deepest over none",
    "Table 4 (scale ours)", "at least", 1.7, 0.0,
    "2.1 in an independent implementation", basis="statement", control="no expansion at any depth",
)
C11.in_cells(
    "c", r"With the paper's prior the largest singular value of a hidden layer grows with depth",
    "Figure 2 (scale ours)", "order", ("(0, 0)", "(1, 0)", "(1, 1)", "(2, 2)"), 1.0,
    "4.3, 11, 31, 184 in an independent implementation", basis="statement", control="no expansion at any depth",
)
C11.in_cells(
    "d", r"… and the smallest falls",
    "Figure 2 (scale ours)", "order", ("(2, 2)", "(1, 1)", "(1, 0)", "(0, 0)"), 0.0,
    "strictly", basis="statement", control="no expansion at any depth",
)

C12 = statements.statement(
    "C12", r"The expansion's samples are separated by barriers.", "Figure 4 (scale ours)", source="paper",
)
C12.in_cells(
    "a", r"Barrier on the line between samples of a chain",
    "Figure 4 (scale ours)", "order", ("SGHMC", "PX exact", "PX paper", "HMC"), 0.0,
    "strictly; a demonstration on one data set", basis="statement", control="the same samples for all",
)
C12.in_cells(
    "b", r"… none for SGHMC at $h = $ 1e-3",
    "ours", "at most", 0.02, 0.0,
    "−0.05 in an independent implementation", basis="statement", control="the same path between samples of different chains",
)
C12.in_cells(
    "c", r"… a high one for HMC",
    "ours", "at least", 0.25, 0.0,
    "0.38 in an independent implementation", basis="statement", control="both ends the same sample",
)

C13 = statements.statement(
    "C13", r"It detects foreign images better, and suffers less from noise.", "Section 5.3 (data ours)", source="paper",
)
C13.in_cells(
    "a", r"Digits among clothes: AUROC of the entropy, PX exact minus SGHMC at equal step, over chains",
    "Section 5.3 (data ours)", "at least", 0.005, 0.0,
    "0.894 against 0.851, independently; a difference that counts", basis="statement", control="SGHMC on both sides", across="mean",
)
C13.in_cells(
    "b", r"Noisy pixels: NLL of SGHMC minus PX exact, mean of the levels 0.1, 0.2, 0.4, over chains",
    "Section 5.3 (data ours)", "at least", 0.005, 0.0,
    "0.035, 0.075, 0.18 on the larger network, independently; a difference that counts", basis="statement", control="SGHMC on both sides", across="mean",
)

C14 = statements.statement(
    "C14", r"At low temperatures the expansion loses nothing.", "ours", source="ours",
)
C14.in_cells(
    "a", r"Temperatures 1, 0.1, 0.01: NLL of SGHMC",
    "ours", "approx", (0.472, 0.439, 0.435), 0.02,
    _SEEDS, basis="second", control="chains that have hardly moved",
)
C14.in_cells(
    "b", r"… and of PX paper",
    "ours", "approx", (0.476, 0.472, 0.471), 0.02,
    _SEEDS, basis="second", control="chains that have hardly moved",
)

C15 = statements.statement(
    "C15", r"Merged networks cost nothing at inference; a step costs the products of the factors.", "Section 3", source="paper",
)
C15.in_cells(
    "a", r"A merged ResNet-20 has the plain one's parameters (difference of counts), an expanded one 109 056 more",
    "Section 3", "approx", (0.0, 109_056.0), 0.0,
    "a count", basis="exact", control="the norms left plain",
)
C15.in_cells(
    "b", r"Floating-point operations of a step with factors over one without, 196-64-64-10 and batches of 100: merging costs $m^2 n + m n^2$ a layer, whatever the batch",
    "ours", "approx", 2.051, 0.002,
    "products counted by hand: 1 + 4 128 768 / 3 929 600", basis="exact", control="batches of 400",
)

D1 = statements.statement(
    "D1", r"The effective step predicts the gain.", "ours", source="ours",
)
D1.in_cells(
    "", r"The effective step predicts the gain: $\operatorname{tr}(P_W) / \dim W$ of the sampled network, mean over layers",
    "ours", "approx", 7.5, 2.5,
    "range [5, 10] set before the run, from the matched step of C9h", basis="statement", control="a network without factors",
)

D2 = statements.statement(
    "D2", r"An expansion can keep the variance of the prior.", "ours", source="ours",
)
D2.in_cells(
    "", r"A prior-matched expansion, $s_P^2 = 1/m$, $s_Q^2 = 1/n$: variance of $W$ over that without factors, depths $(1,1)$ and $(2,2)$",
    "ours", "approx", (1.0, 1.0), 0.02,
    "Monte Carlo", basis="exact", control="the paper's variances, one half",
)

D3 = statements.statement(
    "D3", r"One thermostat a block keeps each block at its temperature.", "ours", source="ours",
)
D3.in_cells(
    "", r"One thermostat a block keeps each block of an expanded network at the temperature it should have: kinetic temperature of P, Q and of the rest",
    "ours", "approx", (1.0, 1.0), 0.05,
    "Monte Carlo, and the bias of the step", basis="exact", control="friction 0.3 on the factors instead, which a cycle does not warm",
)
# fmt: on

# fmt: on


# -- The energy of nine Gaussians on a grid, of w, of w = P v and of w = P v q, with its gradient written out ---------

NINE = torch.tensor([(a, b) for a in (-2.0, 0.0, 2.0) for b in (-2.0, 0.0, 2.0)], dtype=torch.float64)
NINE_DEVIATION = 0.4
KINDS = ("plain", "left", "both", "gaussian")


class NineEnergy:
    """Minus the log-density of the factors of w, up to a constant; see `mix_nine` for the kinds."""

    def __init__(self, kind: str):
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}; allowed are 'plain', 'left', 'both' and 'gaussian'")
        self.kind = kind

    def start(self) -> dict[str, Tensor]:
        """A corner mode, factors at the identity."""
        eye, one = torch.eye(2, dtype=torch.float64), torch.ones((), dtype=torch.float64)
        start = {"v": NINE[0], "P": eye, "q": one}
        return {name: start[name] for name in {"plain": "v", "left": "vP"}.get(self.kind, "vPq")}

    def product(self, params: Mapping[str, Tensor]) -> Tensor:
        """The point w of each chain."""
        w = params["v"]
        if "P" in params:
            w = (params["P"] @ w.unsqueeze(-1)).squeeze(-1)
        return w * params["q"].unsqueeze(-1) if "q" in params else w

    def __call__(self, params: Mapping[str, Tensor], _: Any) -> Tensor:
        w = self.product(params)
        u = -torch.logsumexp(-torch.cdist(w, NINE).square() / (2 * NINE_DEVIATION**2), dim=1)
        if self.kind == "gaussian":
            squared_norm = params["P"].square().sum((-2, -1)) + params["q"].square()
            return u + 0.5 * squared_norm + params["v"].square().sum(-1) / 8
        if "P" in params:  # one column: |det P| of the Jacobian, and the density |det P| exp(-3 |P|² / 2)
            u = u - 2 * torch.linalg.slogdet(params["P"]).logabsdet + 1.5 * params["P"].square().sum((-2, -1))
        if "q" in params:  # two rows: q² of the Jacobian, and the density |q| exp(-q²)
            u = u - 3 * params["q"].abs().log() + params["q"].square()
        return u

    def value_and_grad(self, params: Mapping[str, Tensor], _: Any, out: Mapping[str, Tensor]) -> Tensor:
        """Energies, shape (chains,); the gradients are written into `out`."""
        chains, none = len(params["v"]), np.empty(0)
        value = np.empty(chains)
        rows = [
            t[k].numpy().reshape(chains, -1) if k in t else none.reshape(0, 1) for t in (params, out) for k in "vPq"
        ]
        _evaluate(*rows, NINE.numpy(), NINE_DEVIATION**2, self.kind == "gaussian", value)  # type: ignore[call-arg]
        return torch.from_numpy(value)


@njit(error_model="numpy")  # a path that leaves the finite is rejected, no error
def _evaluate(v, p, q, grad_v, grad_p, grad_q, centres, variance, gaussian, value):
    logs = np.empty(len(centres))
    for i in range(len(v)):
        a, b, c, d, s = 1.0, 0.0, 0.0, 1.0, 1.0
        if len(p):
            a, b, c, d = p[i, 0], p[i, 1], p[i, 2], p[i, 3]
        if len(q):
            s = q[i, 0]
        y0, y1 = a * v[i, 0] + b * v[i, 1], c * v[i, 0] + d * v[i, 1]
        w0, w1 = s * y0, s * y1
        best = -np.inf
        for k in range(len(centres)):
            logs[k] = -((w0 - centres[k, 0]) ** 2 + (w1 - centres[k, 1]) ** 2) / (2 * variance)
            best = max(best, logs[k])
        total, mean0, mean1 = 0.0, 0.0, 0.0
        for k in range(len(centres)):
            weight = np.exp(logs[k] - best)
            total += weight
            mean0 += weight * centres[k, 0]
            mean1 += weight * centres[k, 1]
        u = -best - np.log(total)
        g0, g1 = (w0 - mean0 / total) / variance, (w1 - mean1 / total) / variance
        slope = g0 * y0 + g1 * y1
        g0, g1 = s * g0, s * g1
        grad_v[i, 0], grad_v[i, 1] = a * g0 + c * g1, b * g0 + d * g1
        if len(p):
            square = a * a + b * b + c * c + d * d
            pull, turn = 1.0, 0.0
            if gaussian:
                u += 0.5 * square
            else:
                det = a * d - b * c
                u += 1.5 * square - 2 * np.log(abs(det))
                pull, turn = 3.0, 2 / det
            grad_p[i, 0] = g0 * v[i, 0] + pull * a - turn * d
            grad_p[i, 1] = g0 * v[i, 1] + pull * b + turn * c
            grad_p[i, 2] = g1 * v[i, 0] + pull * c + turn * b
            grad_p[i, 3] = g1 * v[i, 1] + pull * d - turn * a
        if len(q):
            if gaussian:
                u += 0.5 * s * s
                grad_q[i, 0] = slope + s
            else:
                u += s * s - 3 * np.log(abs(s))
                grad_q[i, 0] = slope + 2 * s - 3 / s
        if gaussian:
            u += (v[i, 0] ** 2 + v[i, 1] ** 2) / 8
            grad_v[i, 0] += v[i, 0] / 4
            grad_v[i, 1] += v[i, 1] / 4
        value[i] = u


# -- Small targets on which the truth is known: Gaussian mixtures, one product of two numbers, a Gaussian matrix ------

Array = NDArray[np.float64]

# -- 25 Gaussians: which modes a schedule visits --------------------------------------------------------------------

CENTRES = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
VARIANCE = 0.03


@dataclass(frozen=True, eq=False)
class Visits:
    """Positions of one chain, and how many of the 25 modes each chain came within half a unit of."""

    path: Array
    counts: NDArray[np.int64]


def step_sizes(kind: str, num_steps: int) -> tuple[Array, NDArray[np.bool_]]:
    """Step sizes of a run on the 25 Gaussians, and which positions are kept.

    ``"decaying"``: 0.043 for 500 steps, then 0.043 (t − 500)^−0.55; ``"constant"``: 0.043; ``"cyclical"``: 30 cycles from
    0.07, the first 50 positions of each cycle dropped. The constants are those of Zhang et al. 2020.
    """
    steps = np.arange(num_steps)
    if kind == "cyclical":
        length = num_steps // 30
        schedule = cyclical_schedule(0.07, cycle_length=length)
        return np.array([schedule(int(t)) for t in steps]), steps % length > 50
    if kind not in ("decaying", "constant"):
        raise ValueError(f"kind={kind!r}; allowed are 'decaying', 'constant' and 'cyclical'")
    sizes = np.full(num_steps, 0.043)
    if kind == "decaying":
        sizes[501:] *= (steps[501:] - 500.0) ** -0.55
    return sizes, np.ones(num_steps, dtype=bool)


def visit_modes(kind: str, *, num_steps: int = 50_000, num_chains: int = 32, seed: int = 0) -> Visits:
    """SGLD on 25 Gaussians with unit noise on the gradients, from random starts; the injected noise is less by that."""
    sizes, kept = step_sizes(kind, num_steps)
    starts = np.random.default_rng(seed).uniform(-10, 10, (num_chains, 2))
    seen, path = _grid_langevin(starts, sizes, kept, CENTRES, VARIANCE, seed)
    return Visits(path, seen.reshape(num_chains, -1).sum(1))


@njit
def _grid_langevin(starts, sizes, kept, centres, variance, seed):
    """The density is a product over the two coordinates, hence so are the forces."""
    np.random.seed(seed)  # noqa: NPY002 (numba's own generator)
    chains, modes = len(starts), len(centres)
    seen = np.zeros((chains, modes, modes), dtype=np.int64)
    path = np.empty((len(sizes), 2))
    logs = np.empty(modes)
    place = np.empty(2, dtype=np.int64)
    for c in range(chains):
        x = starts[c].copy()
        for t in range(len(sizes)):
            for k in range(2):
                best = -np.inf
                for j in range(modes):
                    logs[j] = -0.5 * (x[k] - centres[j]) ** 2 / variance
                    if logs[j] > best:
                        best = logs[j]
                total, force = 0.0, 0.0
                for j in range(modes):
                    w = np.exp(logs[j] - best)
                    total += w
                    force += w * (x[k] - centres[j]) / variance
                gradient = force / total + np.random.normal()  # noqa: NPY002
                spread = np.sqrt(2 * sizes[t] * (1 - sizes[t] / 2))
                x[k] += -sizes[t] * gradient + spread * np.random.normal()  # noqa: NPY002
                place[k] = np.argmin(np.abs(x[k] - centres))
            if c == 0:
                path[t] = x
            if kept[t] and (x[0] - centres[place[0]]) ** 2 + (x[1] - centres[place[1]]) ** 2 < 0.25:
                seen[c, place[0], place[1]] = 1
    return seen, path


# -- nine Gaussians: SP and EP by HMC -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mixing:
    """Masses that the chains give to the nine modes, how often they switch, how many each visits, acceptance."""

    masses: Array
    switch_rate: float
    num_visited: float
    acceptance: float

    @property
    def total_variation(self) -> float:
        """Distance of the masses from a ninth each."""
        return float(0.5 * np.abs(self.masses - 1 / 9).sum())


def mix_nine(
    kind: str,
    *,
    step_size: float = 0.05,
    num_iterations: int = 300,
    num_chains: int = 128,
    num_dropped: int = 0,
    seed: int = 0,
) -> Mixing:
    """HMC on a 3 × 3 grid of Gaussians, all chains from a corner.

    Parameters
    ----------
    kind : {"plain", "left", "both", "gaussian"}
        Sample w; w = P v or w = P v q with the exact target; w = P v q with Gaussian priors of deviations 1 (P, q) and
        2 (v) in place of it.
    step_size : float
        Of HMC; ten steps a proposal, jittered by a fifth.
    """
    energy = NineEnergy(kind)
    kernel = hmc(energy, step_size=step_size, num_steps=10, jitter=0.2, batched=True)
    state = kernel.init(energy.start(), num_chains=num_chains)
    generator = torch.Generator().manual_seed(seed)
    places, accepted = [], []
    for _ in range(num_iterations):
        state, info = kernel.step(state, None, generator)
        places.append(torch.cdist(energy.product(state.params), NINE).argmin(1))
        accepted.append(float(info.acceptance.mean()))  # type: ignore[union-attr]
    visits = torch.stack(places)
    switches = (visits[1:] != visits[:-1]).double().mean()
    visited = torch.nn.functional.one_hot(visits, 9).amax(0).sum(1).double().mean()
    masses = torch.bincount(visits[num_dropped:].flatten(), minlength=9).double()
    return Mixing((masses / masses.sum()).numpy(), float(switches), float(visited), float(np.mean(accepted)))


def gaussian_masses(*, num_draws: int = 4_000_000, seed: int = 0) -> Array:
    r"""Masses of the nine modes under Gaussian priors on P, v, q, up to the error of averaging over :math:`\tau`.

    Given v and q, w = P v q is Gaussian with variance :math:`\tau = |v|^2 q^2`, so that a mode at :math:`\mu` has a mass
    proportional to :math:`E_\tau\, e^{-|\mu|^2 / (2 (s^2 + \tau))} / (s^2 + \tau)`.
    """
    rng = np.random.default_rng(seed)
    tau = 4 * rng.chisquare(2, num_draws) * rng.chisquare(1, num_draws) + NINE_DEVIATION**2
    squares = (NINE**2).sum(1).numpy()
    by_square = {s: float(np.mean(np.exp(-s / (2 * tau)) / tau)) for s in set(squares.tolist())}
    masses = np.array([by_square[s] for s in squares.tolist()])
    return np.asarray(masses / masses.sum())


# -- one product of two numbers -------------------------------------------------------------------------------------


def product_posterior(y: float, *, noise_variance: float = 0.25) -> tuple[float, float]:
    r"""Mean and variance of w = p v given y ~ N(w, 1/4), for standard normal p and v: prior density :math:`K_0(|w|)/\pi`."""

    def integrate(power: int) -> float:
        def inside(w: float) -> float:
            return float(w**power * k0(abs(w)) * math.exp(-((y - w) ** 2) / (2 * noise_variance)))

        parts = [(-12.0, 0.0), (0.0, 12.0)]  # the density has a logarithmic peak at zero
        return sum(quad(inside, *part, epsabs=1e-13, epsrel=1e-12, limit=400)[0] for part in parts)

    mass, first, second = integrate(0), integrate(1), integrate(2)
    return first / mass, second / mass - (first / mass) ** 2


def sample_product(
    y: float,
    kind: str,
    *,
    num_chains: int = 512,
    num_iterations: int = 300,
    num_dropped: int | None = None,
    seed: int = 0,
) -> Tensor:
    """HMC draws of w given y, shape (chains, draws): ``"plain"`` w ~ N(0, 1), ``"paper"`` or ``"exact"`` w = p v."""
    if kind not in ("plain", "paper", "exact"):
        raise ValueError(f"kind={kind!r}; allowed are 'plain', 'paper' and 'exact'")

    def energy(x: Tensor, _: Any) -> Tensor:
        w = x[:, 0] if kind == "plain" else x[:, 0] * x[:, 1]
        fit = 2 * (y - w).square()
        if kind == "plain":
            return fit + 0.5 * w.square()
        if kind == "paper":
            return fit + 0.5 * x.square().sum(1)
        p = x[:, 0]  # Jacobian |p|, density |p|³ exp(-2 p²)
        return fit + 0.5 * w.square() - 4 * p.abs().log() + 2 * p.square()

    kernel = hmc(energy, step_size=0.25, num_steps=8, jitter=0.2, batched=True)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(num_chains, 1 if kind == "plain" else 2, generator=generator, dtype=torch.float64)
    if kind == "exact":
        start[:, 0] = 1.0  # the density vanishes at p = 0
    state, draws = kernel.init(start), []
    for _ in range(num_iterations):
        state, _ = kernel.step(state, None, generator)
        draws.append(state.params.prod(1))
    return torch.stack(draws[num_iterations // 6 if num_dropped is None else num_dropped :], dim=1)


# -- a Gaussian matrix ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Exactness:
    r"""How far the samples of W are from their Gaussian target.

    Attributes
    ----------
    mean_errors : float
        Largest error of the mean, in its standard errors over chains.
    covariance_error : float
        Of the covariance, relative, in the Frobenius norm.
    factor_sizes : pair of float
        :math:`E\|P\|^2 / m` and :math:`E\|Q\|^2 / n`.
    """

    mean_errors: float
    covariance_error: float
    factor_sizes: tuple[float, float]


def gaussian_matrix(
    kind: str,
    *,
    shape: tuple[int, int] = (2, 3),
    num_chains: int = 512,
    num_iterations: int = 300,
    num_dropped: int | None = None,
    seed: int = 0,
) -> Exactness:
    r"""Sample a Gaussian W = P V Q by HMC on the factors.

    Parameters
    ----------
    kind : {"identity", "wishart", "no determinant"}
        Density of the factors: N(I, 0.3²); :math:`|\det P|^{10} e^{-(m + 10) \|P\|^2 / 2}`; N(I, 0.3²) with the Jacobian
        left out.
    """
    m, n = shape
    rng = np.random.default_rng(7)
    mean = torch.as_tensor(rng.standard_normal(m * n))
    root = torch.as_tensor(0.3 * rng.standard_normal((m * n, m * n)))
    covariance = 0.5 * torch.eye(m * n, dtype=torch.float64) + root @ root.T
    precision = torch.linalg.inv(covariance)
    settings: dict[str, Any] = {"factor_density": "identity", "factor_precision": 1 / 0.3**2}
    if kind == "wishart":
        settings = {"factor_density": "wishart", "factor_power": 10.0}
    elif kind not in ("identity", "no determinant"):
        raise ValueError(f"kind={kind!r}; allowed are 'identity', 'wishart' and 'no determinant'")
    layer = expand(nn.Linear(n, m, bias=False, dtype=torch.float64), target="exact", **settings)
    groups = expansion_of(layer).groups
    num_dropped = num_iterations // 4 if num_dropped is None else num_dropped
    p, q = groups[0].factors("left")[0], groups[0].factors("right")[0]
    energy = FactoredGaussian(layer, mean, precision, jacobian=kind != "no determinant")
    kernel = hmc(energy, step_size=0.12, num_steps=12, jitter=0.2, batched=True)
    generator = torch.Generator().manual_seed(seed)
    state = kernel.init({k: t.detach() for k, t in layer.named_parameters()}, num_chains=num_chains)
    draws, sizes = [], []
    for _ in range(num_iterations):
        state, _ = kernel.step(state, None, generator)
        draws.append(merge_parameters(groups, state.params)["weight"].flatten(1))
        sizes.append([float(state.params[k].square().sum((-2, -1)).mean()) for k in (p, q)])
    kept = torch.stack(draws[num_dropped:], dim=1)
    by_chain = kept.mean(1)
    error = (by_chain.mean(0) - mean) / (by_chain.std(0) / math.sqrt(num_chains))
    found = torch.cov(kept.flatten(0, 1).T)
    factor = np.mean(sizes[num_dropped:], axis=0) / (m, n)
    off = float((found - covariance).norm() / covariance.norm())
    return Exactness(float(error.abs().max()), off, (float(factor[0]), float(factor[1])))


# -- the order that several libraries use ---------------------------------------------------------------------------


def explicit_euler(
    energy: Callable[[Any, Any], Tensor], *, step_size: Any, friction: Any, temperature: float = 1.0
) -> Kernel:
    """SGHMC with the position moved before the momentum: a warning, not a tool; compare `explicit_euler_moments`."""

    def step(state: State, batch: Any, generator: torch.Generator | None = None) -> tuple[State, None]:
        theta = state.params.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(theta, batch).sum(), theta)
        names = [""]
        h: Any = blocks.settings(step_size, names, [theta], "step_size")[0]
        alpha: Any = h * blocks.settings(friction, names, [theta], "friction")[0]
        (noise,) = blocks.normals([theta], generator)
        before: Any = state.momentum
        position = theta.detach() + h * before
        momentum = (1 - alpha) * before - h * gradient + (2 * alpha * temperature) ** 0.5 * noise
        return State(position, momentum, state.step + 1), None

    def init(params: Tensor, *, num_chains: int | None = None) -> State:
        start = params if num_chains is None else params.unsqueeze(0).repeat(num_chains, *[1] * params.ndim)
        return State(start.clone(), torch.zeros_like(start))

    return Kernel("explicit_euler", init, step)  # type: ignore[arg-type]


# -- The paper's experiments as pure functions of a configuration: no printing, no plotting ---------------------------

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_chains : int
        Chains of each sampler on the images, each with its own start and batches.
    num_cycles, cycle_length, num_dropped : int
        Cycles of each chain, updates a cycle, samples dropped.
    hmc_chains, hmc_samples, hmc_dropped : int
        Chains of HMC, its proposals, and how many are dropped.
    moment_chains, moment_steps : int
        Of the runs that measure stationary moments.
    num_draws : int
        Monte Carlo draws.
    iterations : int
        HMC proposals on the small targets.
    num_images, num_test : int
        Training and test images.
    long_runs : bool
        Whether to run what the chapter otherwise reads from a record.
    """

    num_chains: int
    num_cycles: int
    cycle_length: int
    num_dropped: int
    hmc_chains: int
    hmc_samples: int
    hmc_dropped: int
    moment_chains: int
    moment_steps: int
    num_draws: int
    iterations: int
    num_images: int = 1000
    num_test: int = 2000
    long_runs: bool = False


SMOKE = Config(3, 4, 5, 1, 2, 5, 2, 200, 60, 2_000, 12, num_images=200, num_test=200)
BOOK = Config(4, 20, 300, 6, 2, 100, 33, 4000, 3000, 200_000, 300)
FULL = Config(12, 20, 300, 6, 4, 100, 33, 4000, 3000, 200_000, 300, long_runs=True)


# -- what a step on the factors does to W ---------------------------------------------------------------------------


def random_factors(
    left: int, right: int, *, shape: tuple[int, int] = (3, 4), spread: float = 0.2, seed: int = 0
) -> list[Array]:
    """Perturbed identities around a Gaussian matrix: the factors A_1, …, A_e of a product."""
    rng = np.random.default_rng(seed)
    m, n = shape
    before = [np.eye(m) + spread * rng.standard_normal((m, m)) for _ in range(left)]
    after = [np.eye(n) + spread * rng.standard_normal((n, n)) for _ in range(right)]
    return [*before, rng.standard_normal((m, n)), *after]


def flow_error(left: int, right: int, *, shape: tuple[int, int] = (3, 4), seed: int = 0) -> float:
    r"""Relative distance of :math:`-P_W \operatorname{vec} \nabla U` from W's velocity, by automatic differentiation."""
    factors = random_factors(left, right, shape=shape, seed=seed)
    target = np.random.default_rng(seed + 1).standard_normal(shape)
    leaves = [torch.tensor(a, requires_grad=True) for a in factors]
    w = torch.linalg.multi_dot(leaves) if len(leaves) > 1 else leaves[0]
    energy = ((w - torch.as_tensor(target)) ** 4).sum()
    (gradient,) = torch.autograd.grad(energy, w, retain_graph=True)
    velocities = torch.autograd.grad(energy, leaves)
    with torch.no_grad():  # the derivative of the product along minus the gradients
        moved = torch.zeros_like(w)
        for i, velocity in enumerate(velocities):
            parts = [*leaves[:i], -velocity, *leaves[i + 1 :]]
            moved += torch.linalg.multi_dot(parts) if len(parts) > 1 else parts[0]
    predicted = -factors_preconditioner(factors) @ gradient.numpy().flatten(order="F")
    return float(np.abs(predicted - moved.numpy().flatten(order="F")).max() / np.abs(predicted).max())


def identity_spectrum_error(left: int, right: int, *, shape: tuple[int, int] = (3, 4), seed: int = 0) -> float:
    r"""Distance of P_W's eigenvalues at the identity from :math:`1 + c\,\sigma_j^2 + d\,\sigma_i^2`, zeros included.

    The right Gram matrix :math:`V^\top V` comes with the left factors, :math:`V V^\top` with the right ones.
    """
    factors = random_factors(left, right, shape=shape, spread=0.0, seed=seed)
    m, n = shape
    squares = np.linalg.svd(factors[left], compute_uv=False) ** 2
    over_left = np.concatenate([squares, np.zeros(m - len(squares))])
    over_right = np.concatenate([squares, np.zeros(n - len(squares))])
    predicted = np.sort((1 + left * over_right[:, None] + right * over_left[None, :]).ravel())
    found = np.linalg.eigvalsh(factors_preconditioner(factors))
    return float(np.abs(predicted - found).max() / predicted.max())


@dataclass(frozen=True, eq=False)
class Flow:
    """Energy along the gradient flow, and how far the conserved matrices have drifted."""

    energy: tuple[float, float]
    drift: float


def conserved_flow(*, step_size: float = 1e-3, num_steps: int = 2000, decay: float = 0.0, seed: int = 0) -> Flow:
    r"""Gradient flow on five factors by Runge–Kutta: :math:`A_i^\top A_i - A_{i+1} A_{i+1}^\top` stays, without decay."""
    factors = random_factors(2, 2, seed=seed)
    target = np.random.default_rng(seed + 1).standard_normal(factors[2].shape)

    def velocity(parts: list[Array]) -> list[Array]:
        off = np.linalg.multi_dot(parts) - target
        out = []
        for i, part in enumerate(parts):
            before = np.linalg.multi_dot(parts[:i]) if i > 1 else (parts[0] if i else np.eye(len(off)))
            rest = parts[i + 1 :]
            after = np.linalg.multi_dot(rest) if len(rest) > 1 else (rest[0] if rest else np.eye(off.shape[1]))
            out.append(-before.T @ off @ after.T - decay * part)
        return out

    def moved(parts: list[Array], along: list[Array], by: float) -> list[Array]:
        return [a + by * d for a, d in zip(parts, along, strict=True)]

    def invariants(parts: list[Array]) -> list[Array]:
        return [a.T @ a - b @ b.T for a, b in pairwise(parts)]

    def energy(parts: list[Array]) -> float:
        return float(0.5 * np.sum((np.linalg.multi_dot(parts) - target) ** 2))

    start, first = invariants(factors), energy(factors)
    for _ in range(num_steps):
        k1 = velocity(factors)
        k2 = velocity(moved(factors, k1, step_size / 2))
        k3 = velocity(moved(factors, k2, step_size / 2))
        k4 = velocity(moved(factors, k3, step_size))
        mean = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
        factors = moved(factors, mean, step_size)
    drift = max(float(np.abs(a - b).max()) for a, b in zip(start, invariants(factors), strict=True))
    return Flow((first, energy(factors)), drift)


@dataclass(frozen=True, eq=False)
class Move:
    """Mean squared move of W in one Langevin step: simulated, by the sharp formula, and the bound on its root."""

    simulated: float
    formula: float
    bound: float


def langevin_move(
    left: int, right: int, *, step_size: float = 1e-4, num_draws: int = 200_000, spread: float = 0.2, seed: int = 0
) -> Move:
    """One step on the factors, many times over."""
    factors = random_factors(left, right, spread=spread, seed=seed)
    target = np.random.default_rng(seed + 1).standard_normal(factors[left].shape)
    leaves = [torch.tensor(a, requires_grad=True) for a in factors]
    w = torch.linalg.multi_dot(leaves) if len(leaves) > 1 else leaves[0]
    energy = 0.5 * ((w - torch.as_tensor(target)) ** 2).sum()
    (gradient,) = torch.autograd.grad(energy, w, retain_graph=True)
    drifts = torch.autograd.grad(energy, leaves)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        product: Tensor | None = None
        for a, g in zip(leaves, drifts, strict=True):
            noise = torch.randn(num_draws, *a.shape, generator=generator, dtype=a.dtype)
            stepped = a - step_size * g + (2 * step_size) ** 0.5 * noise
            product = stepped if product is None else product @ stepped
        assert product is not None
        simulated = float((product - w).square().sum((1, 2)).mean())
    sizes = {"step_size": step_size}
    return Move(
        simulated, expected_move(factors, gradient.numpy(), **sizes), move_bound(factors, gradient.numpy(), **sizes)
    )


def shrinking_example(*, spread: float = 0.2, max_seed: int = 1000) -> tuple[float, float, float, float]:
    """Factors of which a deeper product moves less: traces of P_W at depths 5 and 7, and the bounds on the moves.

    The first seed, in order, at which two more perturbed identities make the trace of P_W smaller.
    """
    for seed in range(max_seed):
        rng = np.random.default_rng(seed)
        shallow = random_factors(2, 2, spread=spread, seed=seed)
        deep = [
            np.eye(3) + spread * rng.standard_normal((3, 3)),
            *shallow,
            np.eye(4) + spread * rng.standard_normal((4, 4)),
        ]
        traces = factors_trace(shallow), factors_trace(deep)
        if traces[1] < traces[0]:
            zero = np.zeros((3, 4))
            return (*traces, move_bound(shallow, zero, step_size=1e-4), move_bound(deep, zero, step_size=1e-4))
    raise ValueError(f"max_seed={max_seed!r}: no example among these")


# -- stationary moments, all settings in one batch ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StationaryRun:
    """Simulated moments, one entry a setting."""

    position: Array
    momentum: Array


def stationary(
    settings: list[dict[str, float]],
    *,
    explicit: bool = False,
    num_chains: int = 4000,
    num_steps: int = 3000,
    seed: int = 0,
) -> StationaryRun:
    """Moments of SGHMC on quadratics for several (step_size, curvature, friction, noise), as chains of one run.

    Parameters
    ----------
    settings : list of dict
        Keywords of `sghmc_moments`.
    explicit : bool
        Move the position before the momentum.
    num_chains, num_steps : int
        Of each setting; a fifth as many steps go before.
    """

    def column(key: str, default: float = 0.0) -> Tensor:
        values = torch.tensor([s.get(key, default) for s in settings], dtype=torch.float64)
        return values.repeat_interleave(num_chains)

    spread = column("noise").sqrt()
    energy = Quadratic(column("curvature"), spread)
    build: dict[str, Any] = {"step_size": column("step_size"), "friction": column("friction", 1.0)}
    kernel: Kernel = explicit_euler(energy, **build) if explicit else sghmc(energy, batched=True, **build)
    generator = torch.Generator().manual_seed(seed)
    total = num_chains * len(settings)
    state = kernel.init(torch.randn(total, generator=generator, dtype=torch.float64))
    sums = torch.zeros(2, len(settings), dtype=torch.float64)
    noisy, batch = bool(spread.max() > 0), None
    for index in range(num_steps + num_steps // 5):
        if noisy:
            batch = torch.randn(total, generator=generator, dtype=torch.float64)
        state, _ = kernel.step(state, batch, generator)
        if index >= num_steps // 5:
            sums[0] += state.params.view(len(settings), -1).square().mean(1)
            sums[1] += state.momentum.view(len(settings), -1).square().mean(1)  # type: ignore[union-attr]
    means = (sums / num_steps).numpy()
    return StationaryRun(means[0], means[1])


EXAMPLES = (
    {"step_size": 0.1, "curvature": 4.0, "friction": 1.0},
    {"step_size": 0.5, "curvature": 1.0, "friction": 1.0},
    {"step_size": 0.1, "curvature": 4.0, "friction": 2.0, "noise": 50.0},
)
"""Settings with values known from a Lyapunov solve."""


def predicted(settings: list[dict[str, float]]) -> list[Moments]:
    """Closed forms for `stationary`."""
    return [sghmc_moments(**s) for s in settings]


# -- moments of the induced prior -----------------------------------------------------------------------------------


def sampled_prior(
    shape: tuple[int, int],
    *,
    left: int = 1,
    right: int = 1,
    scales: tuple[float, float, float],
    num_draws: int = 200_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Variance and kurtosis of the entries of W over draws of Gaussian factors."""
    rng = np.random.default_rng(seed)
    m, n = shape
    w = scales[2] * rng.standard_normal((num_draws, m, n))
    for _ in range(left):
        w = scales[0] * rng.standard_normal((num_draws, m, m)) @ w
    for _ in range(right):
        w = w @ (scales[1] * rng.standard_normal((num_draws, n, n)))
    square = float(np.mean(w**2))
    return square, float(np.mean(w**4)) / square**2


# -- CIFAR-10, the paper's own scale --------------------------------------------------------------------------------


def sample_resnet(
    model: nn.Module,
    data: Any,
    *,
    constants: Constants = PX_SGHMC,
    num_cycles: int = 100,
    cycle_length: int = 5000,
    num_chains: int = 1,
    batch_size: int = 256,
    checkpoint: Any = None,
    seed: int = 0,
    device: str = "auto",
) -> Ensemble:
    """The authors' run: a network with their constants, expanded where these have factors; resumable, chains batched.

    Parameters
    ----------
    model : Module
        `descentlab.networks.resnet20_frn`, or a smaller one.
    data : Dataset or pair of tensors
    constants : Constants
        `SGHMC` or `PX_SGHMC`.
    num_cycles, cycle_length, batch_size : int
        100 cycles of 5000 updates, batches of 256.
    num_chains : int
        All start at the weights of `model`.
    """
    network = model
    if constants.factor_precision:
        network = expand(model, prior_variance=constants.prior_variance, factor_precision=constants.factor_precision)
    return sample_posterior(
        network,
        data,
        kernel=sghmc,
        step_size=cyclical_schedule(constants.step_size, cycle_length=cycle_length),
        friction=by_block(network, factors=constants.factor_friction, others=constants.friction),
        prior_variance=constants.prior_variance,
        num_samples=num_cycles,
        steps_per_sample=cycle_length,
        num_chains=num_chains,
        batch_size=batch_size,
        order="reshuffled",
        checkpoint=checkpoint,
        seed=seed,
        device=device,
    )


def run_on_cifar(
    images: Dataset,
    *,
    constants: Constants = PX_SGHMC,
    num_cycles: int = 100,
    cycle_length: int = 5000,
    num_chains: int = 1,
    batch_size: int = 256,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, float]:
    """`sample_resnet` on CIFAR-10 as the authors split it, and the metrics of its ensemble on the test images.

    Continues from, and writes, a checkpoint in the folder that the environment variable ``DESCENTLAB_CHECKPOINTS``
    names, where it is set.
    """
    train, _, (inputs, targets) = splits(images)
    with seeded(seed):
        network = resnet20_frn()
    folder = os.environ.get("DESCENTLAB_CHECKPOINTS")
    kind = "px" if constants.factor_precision else "sp"
    run = sample_resnet(
        network,
        train,
        constants=constants,
        num_cycles=num_cycles,
        cycle_length=cycle_length,
        num_chains=num_chains,
        batch_size=batch_size,
        checkpoint=None if folder is None else os.path.join(folder, f"sgmcmc-{kind}-{seed}.pt"),
        seed=seed,
        device=device,
    )
    where = choose_device(device)
    return run.metrics(inputs.to(where), targets.to(where))
