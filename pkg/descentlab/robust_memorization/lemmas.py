"""The lemmas behind the constructions, and other norms, checked: pure functions, no printing, no plotting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.spatial.distance import pdist
from scipy.special import gammaln

from descentlab.robust_memorization.bounds import lp_factor
from descentlab.robust_memorization.experiments import uniform_ball
from descentlab.robust_memorization.instances import gaussian_data
from descentlab.robust_memorization.memorizer import memorize
from descentlab.robust_memorization.parts import floor_key, floor_network
from descentlab.robust_memorization.points import Array, as_points, lattice_translation
from descentlab.robust_memorization.registers import Program, evaluate
from descentlab.robust_memorization.verification import check_lines, foe_directions

# Lemmas -------------------------------------------------------------------------------------------------------------


def length_ratios(num: int, dim: int, kept: int, *, seed: int = 0) -> Array:
    r"""Projected over original distances, over :math:`\sqrt{m/d}`, of Gaussian points under a random projection."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((num, dim))
    q, _ = np.linalg.qr(rng.standard_normal((dim, kept)))
    return np.asarray(pdist(X @ q) / pdist(X) / math.sqrt(kept / dim))


def lattice_gaps(Z: Array) -> Array:
    """Largest gaps between fractional parts, times the number of points: at least 1."""
    return len(Z) * lattice_translation(Z)[1]


def floor_errors(
    num_bits: int, ramp: float, *, safe: bool, margin: float = 0.001, num: int = 2000, seed: int = 0
) -> float:
    """Largest error of the paper's or the float-safe floor on points whose fractional part exceeds ramp and margin."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 2**num_bits, num)
    start = ramp + margin
    x = (whole + start + (1 - 2e-3 - start) * np.concatenate([rng.random(num - num // 2), np.zeros(num // 2)]))[:, None]
    if safe:
        program = Program(1)
        (z,) = program.relu(program.units)
        layers = program.finish(floor_key(program, z, num_bits=num_bits, ramp=ramp, weights=[1])[0])
    else:
        layers = floor_network(num_bits, ramp)
    return float(np.abs(evaluate(layers, x) - np.floor(x)).max())


def ball_volume_ratio(dim: int) -> float:
    r""":math:`V_d / V_{d-1} = \sqrt\pi\,\Gamma((d+1)/2)/\Gamma(d/2 + 1)`."""
    return math.sqrt(math.pi) * math.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2 + 1))


def slab_fractions(dims: Sequence[int], width: float, *, num: int = 200_000, seed: int = 0) -> Array:
    """Fraction of a ball within a central slab, `width` being its thickness over the diameter, by sampling."""
    rng = np.random.default_rng(seed)
    return np.array([np.mean(np.abs(uniform_ball(rng, num, d)[:, 0]) < width) for d in dims])


# Other norms --------------------------------------------------------------------------------------------------------


def lp_errors(p: float, *, num: int = 40, dim: int = 6, stretch: float = 1.0) -> float:
    r"""Largest error on the corners and diameters of the :math:`\ell_p` balls of a network built for :math:`\gamma_p\rho = 0.95`."""
    X, y = gaussian_data(num, dim)
    points = as_points(X, y, norm=p)
    network = memorize(X, y, rho=0.95, method="lift", projection=np.eye(dim))
    radius = stretch * 0.95 / lp_factor(dim, p) * points.separation
    corners = (
        np.array(list(product([-1.0, 1.0], repeat=dim))) if p == np.inf else np.vstack([np.eye(dim), -np.eye(dim)])
    )
    if p == 2:
        corners = uniform_ball(np.random.default_rng(0), 64, dim)
        corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    towards = foe_directions(X, y)
    order = np.inf if p == np.inf else p
    towards /= np.linalg.norm(towards, ord=order, axis=1, keepdims=True)
    steps = (
        radius
        * (1 - 1e-9)
        * np.concatenate([np.broadcast_to(corners, (num, *corners.shape)), towards[:, None]], axis=1)
    )
    owner = np.repeat(np.arange(num), steps.shape[1])
    flat = steps.reshape(-1, dim)
    return float(check_lines(network.network, X[owner] - flat, X[owner] + flat, y[owner]).worst.max())


def kernel_distances(num_matrices: int, dim: int, *, norm: float = np.inf, seed: int = 0) -> Array:
    r"""Distance from the nearest unit vector to the kernel of a random matrix with d − 1 rows, in :math:`\ell_\infty` or :math:`\ell_2`."""
    rng = np.random.default_rng(seed)
    nearest = []
    for _ in range(num_matrices):
        v = np.linalg.svd(rng.standard_normal((dim - 1, dim)))[2][-1]
        if norm == 2:
            nearest.append(math.sqrt(1 - (v**2).max()))
            continue
        j = int(np.argmax(np.abs(v)))
        others = np.delete(np.abs(v), j).max() / abs(v[j])
        nearest.append(others / (1 + others))  # |1 - t| = t · others
    return np.array(nearest)
