"""Small targets on which the truth is known: Gaussian mixtures, one product of two numbers, a Gaussian matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import k0
from torch import Tensor, nn

from descentlab.compiled import njit
from descentlab.sgmcmc import _blocks as blocks
from descentlab.sgmcmc._energies import FactoredGaussian
from descentlab.sgmcmc._nine import NINE, NINE_DEVIATION, NineEnergy
from descentlab.sgmcmc.expansion import expand, expansion_of
from descentlab.sgmcmc.kernels import hmc
from descentlab.sgmcmc.layouts import merge_parameters
from descentlab.sgmcmc.schedules import cyclical_schedule
from descentlab.sgmcmc.state import Kernel, State

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
