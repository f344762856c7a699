"""The paper's experiments as pure functions of a configuration: no printing, no plotting."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from descentlab.data import Dataset
from descentlab.networks import resnet20_frn, seeded
from descentlab.sgmcmc import official
from descentlab.sgmcmc.ensemble import Ensemble
from descentlab.sgmcmc.expansion import by_block, expand
from descentlab.sgmcmc.kernels import sghmc
from descentlab.sgmcmc.moments import Moments, Quadratic, sghmc_moments
from descentlab.sgmcmc.posterior import sample_posterior
from descentlab.sgmcmc.preconditioning import expected_move, factors_preconditioner, factors_trace, move_bound
from descentlab.sgmcmc.schedules import cyclical_schedule
from descentlab.sgmcmc.state import Kernel
from descentlab.sgmcmc.toys import explicit_euler
from descentlab.training.parallel import choose_device

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
    constants: official.Constants = official.PX_SGHMC,
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
        `official.SGHMC` or `official.PX_SGHMC`.
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
    constants: official.Constants = official.PX_SGHMC,
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
    train, _, (inputs, targets) = official.splits(images)
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
