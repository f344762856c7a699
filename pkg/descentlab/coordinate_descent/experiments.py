"""The chapter's experiments as pure functions: no printing, no plotting."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from descentlab import data
from descentlab.coordinate_descent.matrices import Array, permutation_invariant, unit_diagonal
from descentlab.coordinate_descent.methods import coordinate_descent, coordinate_descent_invariant, expected_moments
from descentlab.coordinate_descent.rates import (
    rate_bound,
    rcd_rate,
    rcd_rate_invariant,
    rpcd_rate,
    rpcd_rate_invariant,
)
from descentlab.coordinate_descent.search import worst_case_search
from descentlab.random_maps import enumerate_orders

SIGMAS = (0.05, 0.2, 0.5, 0.8)
"""Least eigenvalues of the worst-case search."""
SIMULATIONS = ((10, 0.1, 20), (25, 0.05, 40), (10, 0.5, 10))
"""Settings (n, sigma, num_epochs) in which runs are compared with exact moments."""
RIDGES = (0.001, 0.01, 0.1)
"""Multiples of the mean variance that are added to the covariance of images."""


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_sigmas : int
        Least eigenvalues of the grid on which the two methods are compared.
    num_matrices : int
        Random matrices.
    num_runs : int
        Runs of a simulation.
    search_sizes : tuple of int
        Dimensions of the worst-case search.
    num_starts : int
        Its random starts.
    num_peer_runs : int
        Runs of scikit-learn's solver.
    num_orders : int
        Orders sampled for the bracket of a large matrix.
    map_points : int
        Grid points along an axis of the map of all 3×3 matrices.
    """

    num_sigmas: int
    num_matrices: int
    num_runs: int
    search_sizes: tuple[int, ...]
    num_starts: int
    num_peer_runs: int
    num_orders: int
    map_points: int


SMOKE = Config(10, 16, 400, (3, 4), 2, 100, 20, 15)
BOOK = Config(90, 240, 20_000, (3, 4, 5, 6, 7), 10, 4_000, 100, 41)
FULL = Config(300, 5_000, 1_000_000, (3, 4, 5, 6, 7, 8), 50, 100_000, 2_000, 121)


# The permutation-invariant class ------------------------------------------------------------------------------------


def coordinate_maps(A: ArrayLike, *, relaxation: float = 1.0) -> Array:
    r"""The steps :math:`U_i = I - \omega e_i e_i^\top A / A_{ii}` as matrices, shape (n, n, n), for `random_maps`."""
    A = np.asarray(A, dtype=np.float64)
    maps = np.tile(np.eye(len(A)), (len(A), 1, 1))
    each = np.arange(len(A))
    maps[each, each] -= relaxation * A / np.diag(A)[:, None]
    return maps


def enumeration_gap(sizes: Sequence[int], sigmas: Sequence[float], *, relaxation: float = 1.0) -> Array:
    """Difference of the 2×2 rate from that of all n! orders, shape (len(sizes), len(sigmas))."""
    return np.array(
        [
            [
                rpcd_rate_invariant(n, sigma, relaxation=relaxation)
                - np.abs(
                    np.linalg.eigvals(
                        enumerate_orders(coordinate_maps(permutation_invariant(n, sigma), relaxation=relaxation))
                    )
                ).max()
                for sigma in sigmas
            ]
            for n in sizes
        ]
    )


@dataclass(frozen=True)
class Gaps:
    r"""Logarithmic gaps on a grid of the class, shape (len(sizes), len(sigmas)).

    Attributes
    ----------
    below : ndarray
        :math:`\log B - \log \rho_P`.
    above : ndarray
        :math:`\log \rho_R - \log B`.
    """

    sizes: Array
    sigmas: Array
    below: Array
    above: Array

    def small_sigma_ratios(self) -> Array:
        r"""`below` over its prediction :math:`2\sigma/n`, where n ≤ 100, σ ≤ 0.001 and σn ≤ 0.1."""
        n, sigma = self.sizes[:, None], self.sigmas[None, :]
        chosen = (n <= 100) & (sigma <= 1e-3) & (sigma * n <= 0.1)
        return (self.below * n / (2 * sigma))[chosen]


def gap_grid(config: Config) -> Gaps:
    """Both gaps for n up to 1000 and σ from 10⁻⁶ to 0.99, log-spaced."""
    sizes = np.array([*range(2, 41), 50, 80, 100, 200, 400, 1000])
    sigmas = np.geomspace(1e-6, 0.99, config.num_sigmas)
    shuffled, drawn, bound = (
        np.log([[rate(n, sigma) for sigma in sigmas] for n in sizes])
        for rate in (rpcd_rate_invariant, rcd_rate_invariant, rate_bound)
    )
    return Gaps(sizes.astype(float), sigmas, bound - shuffled, drawn - bound)


def limit_exponent(sigma: ArrayLike, relaxation: ArrayLike = 1.0) -> Any:
    r"""The number `x` of the limit n → ∞ on the class: RPCD contracts by :math:`1 - x` an epoch, RCD by :math:`e^{-x}`.

    .. math:: x = \frac{2 \omega (2 - \omega) \sigma}{2 - \omega (1 - \sigma)}
    """
    sigma, relaxation = np.asarray(sigma, dtype=float), np.asarray(relaxation, dtype=float)
    return 2 * relaxation * (2 - relaxation) * sigma / (2 - relaxation * (1 - sigma))


def best_relaxation(n: int, sigma: float, rate: Callable[..., float] = rpcd_rate_invariant) -> float:
    """The relaxation at which `rate`, a function of ``(n, sigma, relaxation=…)``, is smallest."""
    result = minimize_scalar(
        lambda omega: rate(n, sigma, relaxation=omega), bounds=(0.5, 1.999), method="bounded", options={"xatol": 1e-9}
    )
    return float(result.x)


# Any matrix ---------------------------------------------------------------------------------------------------------


def random_matrices(num_matrices: int, *, seed: int = 0) -> list[Array]:
    """Unit-diagonal matrices of dimensions 3 to 6 and four kinds in turn.

    Wishart, spiked identity, negative equicorrelation, and rank two plus a ridge.
    """
    rng = np.random.default_rng(seed)
    matrices = []
    for k in range(num_matrices):
        n, kind = 3 + k // 4 % 4, k % 4
        if kind == 0:
            G = rng.standard_normal((n, n + 1 + k % 3))
            A = G @ G.T
        elif kind == 1:
            v = rng.standard_normal(n)
            A = np.eye(n) + rng.uniform(1, 20) * np.outer(v, v)
        elif kind == 2:
            A = np.eye(n) - rng.uniform(0.3, 0.95) / (n - 1) * (np.ones((n, n)) - np.eye(n))
        else:
            G = rng.standard_normal((n, 2))
            A = G @ G.T + rng.uniform(0.02, 0.5) * np.eye(n)
        matrices.append(unit_diagonal(A))
    return matrices


@dataclass(frozen=True)
class Rates:
    """Rates of both methods and the bound between them, one entry a matrix."""

    rpcd: Array
    rcd: Array
    bound: Array


def rates_of(matrices: Sequence[Array]) -> Rates:
    """Exact rates of unit-diagonal matrices."""
    bounds = [rate_bound(len(A), np.linalg.eigvalsh(A)[0]) for A in matrices]
    return Rates(
        np.array([rpcd_rate(A) for A in matrices]), np.array([rcd_rate(A) for A in matrices]), np.array(bounds)
    )


@dataclass(frozen=True)
class WorstCases:
    r"""Results of the search in `n` dimensions, one entry a σ of `SIGMAS`.

    Attributes
    ----------
    rates : ndarray
        Largest rates found.
    matrices : list of ndarray
        Where.
    rank_one : ndarray
        Smallest absolute entry of :math:`C = (A - \sigma I)/(1 - \sigma)`: one if `C` is :math:`s s^\top`.
    """

    rates: Array
    matrices: list[Array]
    rank_one: Array


def worst_cases(n: int, config: Config, *, seed: int = 0) -> WorstCases:
    """Search for the matrix on which RPCD is slowest, at each σ."""
    found = [worst_case_search(n, sigma, num_starts=config.num_starts, seed=seed) for sigma in SIGMAS]
    entries = [np.abs((A - sigma * np.eye(n)) / (1 - sigma)).min() for (_, A), sigma in zip(found, SIGMAS, strict=True)]
    return WorstCases(np.array([rate for rate, _ in found]), [A for _, A in found], np.array(entries))


def correlation_map(sigma: float, num_points: int) -> tuple[Array, Array, Array]:
    r"""All 3×3 matrices with unit diagonal and least eigenvalue σ, as a sheet over the sphere of directions.

    A direction `h` of the three entries off the diagonal is followed from the identity until the least eigenvalue is σ.

    Returns
    -------
    longitude, latitude : ndarray, shape (num_points,)
        Of the directions, in radians.
    ratio : ndarray, shape (num_points, num_points)
        :math:`\log \rho_P / \log B`, by latitude and longitude; at least one where Conjecture 4.1 holds.
    """
    longitude = np.linspace(-np.pi, np.pi, num_points)
    latitude = np.linspace(-np.pi / 2, np.pi / 2, num_points)
    ratio = np.empty((num_points, num_points))
    log_bound = np.log(rate_bound(3, sigma))
    for i, theta in enumerate(latitude):
        for j, phi in enumerate(longitude):
            x, y, z = np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)
            H = np.array([[0.0, x, y], [x, 0.0, z], [y, z, 0.0]])
            A = np.eye(3) + (1 - sigma) / -np.linalg.eigvalsh(H)[0] * H
            ratio[i, j] = np.log(rpcd_rate(A)) / log_bound
    return longitude, latitude, ratio


# Runs ---------------------------------------------------------------------------------------------------------------


def simulated_norms(
    n: int, sigma: float, num_epochs: int, config: Config, *, method: str = "rpcd", seed: int = 0
) -> Array:
    """Squared norms of runs from N(0, I) on the class, shape (num_runs, num_epochs + 1)."""
    rng = np.random.default_rng(seed)
    chunks = []
    for first in range(0, config.num_runs, 5_000):  # bounds the memory
        x0 = rng.standard_normal((min(5_000, config.num_runs - first), n))
        run = coordinate_descent_invariant(
            n, sigma, x0, num_epochs=num_epochs, method=method, seed=int(rng.integers(2**32))
        )
        chunks.append(np.sum(run**2, axis=-1).T)
    return np.concatenate(chunks)


def standard_scores(samples: Array, expected: Array) -> Array:
    """Distance of the means over runs from `expected`, in standard errors, shape (num_epochs + 1,)."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - expected) / error


def scikit_learn_norms(A: Array, *, num_epochs: int, num_runs: int, selection: str = "random", seed: int = 0) -> Array:
    """Squared norms after `num_epochs` epochs of scikit-learn's solver, one a run from N(0, I), shape (num_runs,).

    This is the routine behind ``Lasso`` and ``ElasticNet`` with a precomputed Gram matrix `A`, both penalties zero, and
    screening of coordinates switched off.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import _cd_fast

    if selection not in ("random", "cyclic"):
        raise ValueError(f"selection={selection!r}; allowed are 'random' and 'cyclic'")
    starts = np.random.default_rng(seed).standard_normal((num_runs, len(A)))
    random_state = np.random.RandomState(seed)
    flags = (selection == "random", False)  # the second: coefficients of either sign
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # eight epochs are not meant to converge
        for w in starts:  # overwritten by the result
            arguments = (w, 0.0, 0.0, A, np.zeros(len(A)), np.ones(len(A)), num_epochs, 0.0, random_state)
            try:
                _cd_fast.enet_coordinate_descent_gram(*arguments, *flags, False)
            except TypeError:  # versions before 1.8 have no screening to switch off
                _cd_fast.enet_coordinate_descent_gram(*arguments, *flags)
    return np.asarray(np.sum(starts**2, axis=1))


# Real images --------------------------------------------------------------------------------------------------------


def image_covariance(name: str, *, num_images: int = 5000) -> Array:
    """Covariance of the pixels of the first training images, those of 28×28 pixels pooled to 7×7."""
    images = data.load(name).inputs[:num_images, 0].double().numpy()
    size = images.shape[-1] // (4 if images.shape[-1] == 28 else 1)
    pooled = images.reshape(len(images), size, images.shape[-1] // size, size, -1).mean(axis=(2, 4))
    return np.cov(pooled.reshape(len(images), -1).T)


def image_hessian(covariance: Array, ridge: float) -> Array:
    """Hessian of least squares on the images: covariance plus `ridge` times the mean variance, to a unit diagonal."""
    return unit_diagonal(covariance + ridge * np.diag(covariance).mean() * np.eye(len(covariance)))


def epochs_to(
    A: Array, method: str, *, target: float = 1e-3, num_runs: int | None = 20, num_epochs: int = 100, seed: int = 0
) -> int:
    """Epochs until the mean of f from N(0, I) has fallen below `target` times its first value.

    The mean is that over `num_runs` runs, or the exact one where that is None.
    """
    if num_runs is None:
        start = np.eye(len(A))
        energy = expected_moments(A, None, num_epochs=num_epochs, method=method, second_moment=start).objective
    else:
        x0 = np.random.default_rng(seed).standard_normal((num_runs, len(A)))
        run = coordinate_descent(A, x0, num_epochs=num_epochs, method=method, seed=seed)
        energy = np.einsum("kri,kri->k", run, run @ A)
    below = np.flatnonzero(energy <= target * energy[0])
    return int(below[0]) if below.size else num_epochs


def sampled_rate(A: Array, method: str, first: int, last: int) -> float:
    """Mean factor an epoch of the exact E f between two epochs, from N(0, I): what a plot of a run would suggest."""
    energy = expected_moments(A, None, num_epochs=last, method=method, second_moment=np.eye(len(A))).objective
    return float((energy[last] / energy[first]) ** (1 / (last - first)))
