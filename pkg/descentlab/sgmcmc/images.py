"""Bayesian networks on small images: the data, the network, the samplers to compare, and their comparison with HMC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from descentlab import data
from descentlab.networks import seeded
from descentlab.sgmcmc import diagnostics, expansion
from descentlab.sgmcmc.ensemble import Ensemble
from descentlab.sgmcmc.kernels import hmc, sghmc, sgnht
from descentlab.sgmcmc.posterior import posterior_energy, sample_posterior
from descentlab.sgmcmc.schedules import cyclical_schedule


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
