"""Experiments behind the lesson coordinate_descent, and the statements of its paper."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize, minimize_scalar

from descentlab import data
from descentlab.claims import Statements
from descentlab.coordinate_descent import (
    coordinate_descent,
    coordinate_descent_invariant,
    expected_moments,
    permutation_invariant,
    rate_bound,
    rcd_rate,
    rcd_rate_invariant,
    rpcd_rate,
    rpcd_rate_invariant,
)
from descentlab.coordinate_descent._compiled import row_gradients, subset_moments
from descentlab.coordinate_descent.matrices import (
    MAX_EXACT,
    Array,
    check_count,
    check_size,
    energy_frame,
    unit_diagonal,
)
from descentlab.coordinate_descent.rates import leading_moment
from descentlab.random_maps import enumerate_orders

# -- Worst cases: the matrix with least eigenvalue :math:`\sigma` on which random permutations converge most slowly ---


def rpcd_rate_gradient(A: ArrayLike) -> tuple[float, Array]:
    """`rpcd_rate` of a unit-diagonal matrix, and its derivative.

    Parameters
    ----------
    A : array_like, shape (n, n)
        Symmetric positive definite with unit diagonal, n at most `MAX_EXACT`.

    Returns
    -------
    rate : float
    gradient : ndarray, shape (n, n)
        Symmetric with zero diagonal: ``sum(gradient * dA)`` is the change of the rate under a small symmetric `dA`
        that keeps the diagonal. Where the largest eigenvalue is not simple, one of several directional derivatives.

    Raises
    ------
    ValueError
        If `A` is not symmetric positive definite, its diagonal is not one, or it is too large.
    """
    matrix = unit_diagonal(A)
    if np.abs(np.diag(np.asarray(A)) - 1).max() > 1e-12:
        raise ValueError("A must have a unit diagonal; see unit_diagonal")
    if len(matrix) > MAX_EXACT:
        raise ValueError(f"A has {len(matrix)} coordinates; at most {MAX_EXACT} are possible")
    return _rate_and_gradient(matrix)


def _rate_and_gradient(A: Array) -> tuple[float, Array]:
    rate, X = leading_moment(energy_frame(A))  # <AXA, X> = 1
    table = np.empty((1 << len(A), *A.shape))
    subset_moments(A, X, table)
    gradient = row_gradients(A, table)
    gradient = (gradient + gradient.T) / 2
    np.fill_diagonal(gradient, 0.0)
    return rate, gradient


def worst_case_search(n: int, sigma: float, *, num_starts: int = 10, seed: int = 0) -> tuple[float, Array]:
    r"""Maximise the rate of RPCD over all unit-diagonal matrices with least eigenvalue at least `sigma`.

    Parameters
    ----------
    n : int
        From 2 to `MAX_EXACT`; seconds up to 8.
    sigma : float
        In (0, 1).
    num_starts : int
        Random starts of the quasi-Newton method (L-BFGS); the best end counts. There are several local maxima.
    seed : int

    Returns
    -------
    rate : float
        The largest rate found. A search: it may be exceeded, although no larger one is known.
    A : ndarray, shape (n, n)
        Where it was found.

    Raises
    ------
    ValueError
        For an argument outside its range.
    """
    check_size(n, sigma)
    if n > MAX_EXACT:
        raise ValueError(f"n={n} is too large: rates are computed for at most {MAX_EXACT} coordinates")
    if sigma == 1:
        raise ValueError("sigma=1 leaves the identity alone; it must be in (0, 1)")
    num_starts = check_count("num_starts", num_starts, least=1)
    rng = np.random.default_rng(seed)
    ends = []
    with _one_blas_thread():
        for _ in range(num_starts):
            result = minimize(
                _minus_log_rate, rng.standard_normal(n * n), args=(n, sigma), jac=True, method="L-BFGS-B",
                options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-9, "maxcor": 10},
            )  # fmt: skip
            ends.append((float(np.exp(-result.fun)), correlation(result.x, n, sigma)))
    return max(ends, key=lambda end: end[0])


def _one_blas_thread() -> AbstractContextManager[Any]:
    """BLAS on one thread, where threadpoolctl (a part of scikit-learn's installation) can say so.

    For matrices of a few rows, more threads only wait for one another: on a busy machine ten times as long.
    """
    if find_spec("threadpoolctl") is None:
        return nullcontext()
    limits: AbstractContextManager[Any] = import_module("threadpoolctl").threadpool_limits(1, "blas")
    return limits


def correlation(parameters: Array, n: int, sigma: float) -> Array:
    r"""The matrix :math:`\sigma I + (1-\sigma) V V^\top` of n² parameters, the rows of `V` before they are normalised."""
    V = parameters.reshape(n, n)
    V = V / np.linalg.norm(V, axis=1, keepdims=True)
    A = sigma * np.eye(n) + (1 - sigma) * V @ V.T
    np.fill_diagonal(A, 1.0)
    return A


def _minus_log_rate(parameters: Array, n: int, sigma: float) -> tuple[float, Array]:
    lengths = np.linalg.norm(parameters.reshape(n, n), axis=1, keepdims=True)
    V = parameters.reshape(n, n) / lengths
    rate, gradient = _rate_and_gradient(correlation(parameters, n, sigma))
    slope = 2 * (1 - sigma) * gradient @ V
    slope = (slope - np.sum(slope * V, axis=1, keepdims=True) * V) / lengths  # rows keep length one
    return -float(np.log(rate)), -slope.ravel() / rate


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


# Statements ---------------------------------------------------------------------------------------------------------

# fmt: off
_SECOND = "digits of an independent implementation"
statements = Statements("coordinate_descent")

C1 = statements.statement(
    "C1", r"On $\sigma I + (1-\sigma) 11^\top$ second moments, averaged over permutations, move by a 2×2 matrix, which gives the exact rates",
    "ours", source="ours",
)
C1.in_cells(
    "a", r"Difference of its rate from that of all $n!$ orders, $n = 2 … 6$: the largest", "ours", "at most", 1e-12, 0.0, "rounding",
    basis="exact", control="one order for all epochs",
)
C1.in_cells(
    "b", r"$\rho_P$ at $(n, \sigma) = (5, 0.05), (10, 0.1), (25, 0.3), (100, 0.5)$", "ours", "approx",
    (0.885822, 0.800224, 0.521895, 0.328889), 1e-6, _SECOND, basis="second", control="coordinates drawn with replacement",
)
C1.in_cells(
    "c", r"$B$ at the same four", "ours", "approx", (0.904382, 0.817907, 0.546824, 0.366958), 1e-6, _SECOND,
    basis="second", control=r"only the branch $(1 - 1/n)^n$",
)
C1.in_cells(
    "d", r"$\rho_R$ at the same four", "ours", "approx", (0.907507, 0.831066, 0.625486, 0.511508), 1e-6, _SECOND,
    basis="second", control="a fresh permutation each epoch",
)

C2 = statements.statement(
    "C2", r"On every matrix $\sigma I + (1-\sigma) 11^\top$, $0 < \sigma < 1$, random permutations are faster than uniform draws, with $B(n, \sigma)$ between them: $\rho_P < B \le \rho_R$",
    "Main theorem", source="paper",
)
C2.in_cells(
    "a", r"Violations on a grid, $n = 2 … 1000$, $\sigma = 10^{-6} … 0.99$", "Main theorem", "at most", 0.0, 0.0, "a count",
    basis="statement", control="one fixed order in place of random permutations",
)

C3 = statements.statement(
    "C3", r"For every matrix with unit diagonal and least eigenvalue $\sigma$, uniform draws contract no faster than $B(n, \sigma)$: $\rho_R \ge B$",
    "Lower bound for RCD", source="paper",
)
C3.in_cells(
    "a", r"Smallest $\log\rho_R - \log B$ over random matrices, $n = 3 … 6$", "Lower bound for RCD", "at least", 0.0, 1e-12, "rounding",
    basis="statement", control="RPCD in the place of RCD",
)

C4 = statements.statement(
    "C4", r"With many coordinates $\rho_P \to (1-\sigma)/(1+\sigma)$ and $\rho_R \to e^{-2\sigma/(1+\sigma)}$ on the permutation-invariant class",
    "ours", source="ours",
)
C4.in_cells(
    "a", r"$\rho_P$ and $\rho_R$ at $n = 1000$, $\sigma = 0.3$", "ours", "approx", (0.53804568, 0.63019), 1e-5, _SECOND,
    basis="second", control=r"$n = 100$",
)
C4.in_cells(
    "b", "Their distances from the limits there", "ours", "approx", (0.0, 0.0), 5e-4, r"$1/n$",
    basis="statement", control="the limits exchanged",
)

C5 = statements.statement("C5", r"The exact $E\|x_k\|^2$ is what runs show, at every epoch", "ours", source="ours")
C5.in_cells(
    "", "Mean of simulated runs and exact value: largest distance in standard errors over all epochs, three settings", "ours", "at most", 4.0, 0.0,
    "four standard errors", basis="exact", control="runs with replacement",
)

C6 = statements.statement(
    "C6", r"Conjecture: $\rho_P \le B(n, \sigma)$ for every matrix with unit diagonal; searches for $n = 3 … 6$ find no counterexample, and the worst in the permutation-invariant class",
    "Conjecture 4.1", source="paper",
)
C6.in_cells(
    "d", r"Largest $\rho_P$ found for $n = 6$, $\sigma = 0.05, 0.2, 0.5, 0.8$", "Search for counterexamples (n = 3 … 6)", "approx",
    (0.88896338, 0.61421612, 0.26028052, 0.08151874), 1e-8, "eight digits of the largest rate in the class, in multiprecision",
    basis="exact", control="the random starts, not optimised",
)
C6.in_cells(
    "e", r"Distance of the largest $\rho_P$ found from that of the class, $\max_{k \le n} \rho_P(k, \sigma)$: the largest over $n$ and $\sigma$",
    "Conjecture 4.1", "at most", 1e-8, 0.0, "tolerance of the search", basis="statement", control="the random starts, not optimised",
)
C6.in_cells(
    "f", r"The maximisers are $\sigma I + (1-\sigma) ss^\top$ up to signs: smallest $|C_{ij}|$ of $C = (A - \sigma I)/(1-\sigma)$", "Conjecture 4.1",
    "at least", 1.0, 1e-6, "square root of the tolerance", basis="statement", control="the random starts, not optimised",
)
C6.in_cells(
    "g", r"Largest $\log\rho_P - \log B$ found by the search", "Conjecture 4.1", "at most", 0.0, 0.0, "a search can refute, not prove",
    basis="statement", control="the rate of RCD at the same matrices",
)
C6.in_cells(
    "h", r"Largest $\log\rho_P - \log B$ over random matrices, $n = 3 … 6$", "Conjecture 4.1", "at most", 0.0, 1e-12, "rounding",
    basis="statement", control="RCD in the place of RPCD",
)

C7 = statements.statement("C7", "In the class, the worst block of coupled coordinates need not be the largest", "ours", source="ours")
C7.in_cells(
    "a", r"Worst block size for $n = 40$, $\sigma = 0.8, 0.85, 0.9$", "ours", "approx", (21, 19, 23), 0.0,
    "integers: all sizes in multiprecision", basis="exact", control="the best block",
)

C8 = statements.statement(
    "C8", "The diagonal may be taken as one: scaling, order and signs of the coordinates do not change the rate", "Assumption 2.2", source="paper",
)
C8.in_cells(
    "a", "Largest difference of the rates", "Assumption 2.2", "at most", 1e-12, 0.0, "rounding",
    basis="statement", control="the sign of one pair of entries",
)

C9 = statements.statement(
    "C9", r"Cyclic coordinate descent may need about $n^2$ times as many epochs as either random order", "Lee and Wright 2019; Sun and Ye 2021",
    source="prior",
)
C9.in_cells(
    "a", r"Rates of CCD, RPCD, RCD at $(n, \sigma) = (10, 0.1)$, $(50, 0.01)$, $(100, 0.01)$", "ours", "approx",
    (0.956165, 0.800224, 0.831066, 0.999839, 0.979802, 0.980385, 0.99995975, 0.98000002, 0.98038897), 1e-6, _SECOND,
    basis="second", control="CCD in a random order each epoch",
)
C9.in_cells(
    "b", r"Slope of $\log\rho_P/\log\rho_C$ in $n = 50, 100, 200$", "Lee and Wright 2019; Sun and Ye 2021", "slope", 2.0, 0.03,
    r"next order in $1/n$", basis="statement", control="RCD against RPCD",
)
C9.in_cells(
    "c", r"$\log\rho_P/\log\rho_C$ there", "ours", "approx", (126.9, 501.9, 1996.7), 0.06, _SECOND,
    basis="second", control="RCD against RPCD",
)

C10 = statements.statement(
    "C10", r"The gain is asymptotic: from $x_0 = e_1$ the first epoch of RPCD increases $E\|x\|^2$, that of RCD lowers it", "ours", source="ours",
)
C10.in_cells(
    "a", r"$E\|x\|^2$ after one epoch of RPCD and of RCD, $n = 9$, $\sigma = 0.25$", "ours", "approx", (1.017778625, 0.973774836), 1e-8,
    "nine digits of rational arithmetic: the nine places of the first coordinate in an order, and nine draws",
    basis="exact", control="start at the all-ones vector of norm one",
)

C11 = statements.statement(
    "C11", "The ranking of the worst case does not carry over to every matrix: on Hessians of images cyclic descent may be faster than RCD, or slower",
    "ours", source="ours",
)
C11.in_cells(
    "d", r"Sign of $\rho_R - \rho_C$ for 49 pooled pixels, ridge 0.001, 0.01, 0.1", "ours", "approx", (1, 1, -1), 0.0, "signs",
    basis="statement", control="positive equicorrelation with the same least eigenvalues",
)
C11.in_cells(
    "e", r"Epochs until the mean energy has fallen to $10^{-3}$: RPCD, RCD at ridge 0.1, then at 0.01", "ours", "approx",
    (17, 22, 32, 43), 2.0, "an independent implementation, and its spread over 20 seeds", basis="second", control="with replacement throughout",
)

C12 = statements.statement("C12", "scikit-learn's `selection='random'` draws with replacement: it is RCD, not RPCD", "ours", source="ours")
C12.in_cells(
    "a", r"Its mean $\|w\|^2$ after 8 epochs beside that of exact RCD, $n = 10$, $\sigma = 0.1$", "ours", "approx", 3.78737, 0.21,
    "four standard errors of 0.053", basis="exact", control="RPCD",
)
C12.in_cells("b", "Exact RCD there", "ours", "approx", 3.78737, 1e-5, _SECOND, basis="second", control="exact RPCD")
C12.in_cells(
    "c", "Its distance from the exact value of RPCD, in standard errors", "ours", "at least", 4.0, 0.0, "four standard errors",
    basis="statement", control="RPCD itself",
)

D1 = statements.statement(
    "D1", r"Relaxed by $\omega$ and with many coordinates, RPCD contracts by $1 - x$ an epoch and RCD by $e^{-x}$ with the same $x$; $\omega = 2/(1+\sqrt\sigma)$ is best for both",
    "ours", source="ours",
)
D1.in_cells(
    "a", r"Slope of RPCD's distance from $1 - x$ in $n$, $\omega = 1.5$", "ours", "slope", -1.0, 0.05, r"expansion in $1/n$",
    basis="statement", control=r"$e^{-x}$ for RPCD",
)
D1.in_cells(
    "b", r"Slope of RCD's distance from $e^{-x}$", "ours", "slope", -1.0, 0.05, r"expansion in $1/n$",
    basis="statement", control=r"$1 - x$ for RCD",
)
D1.in_cells(
    "c", r"RPCD's best relaxation for $\sigma = 0.01, 0.1, 0.4$, $n = 2000$", "ours", "approx",
    tuple(2 / (1 + math.sqrt(s)) for s in (0.01, 0.1, 0.4)), 0.01, r"$1/n$", basis="statement", control="$n = 3$",
)
D1.in_cells(
    "d", "RCD's best relaxation there", "ours", "approx", tuple(2 / (1 + math.sqrt(s)) for s in (0.01, 0.1, 0.4)), 0.01, r"$1/n$",
    basis="statement", control="$n = 3$",
)
D1.in_cells(
    "e", r"Relaxed rates from the 2×2 matrix and from all orders, $\omega = 1.5$: largest difference", "ours", "at most", 1e-12, 0.0, "rounding",
    basis="exact", control="without relaxation",
)

D2 = statements.statement("D2", "In seven dimensions, too, the search finds its worst matrix in the permutation-invariant class", "ours", source="ours")
D2.in_cells(
    "", r"Largest $\rho_P$ found at $\sigma = 0.05, 0.2, 0.5, 0.8$", "ours", "approx", (0.89121258, 0.62155733, 0.27043517, 0.09196687), 1e-8,
    "eight digits of the largest rate in the class, in multiprecision", basis="exact", control="the random starts, not optimised",
)

D3 = statements.statement("D3", r"Of all 3×3 matrices with the same $\sigma$ none has a larger $\rho_P$ than the class", "ours", source="ours")
D3.in_cells(
    "", r"Largest $\rho_P$ on the map of $\sigma = 0.4$", "ours", "at most", (4521 + 3 * math.sqrt(2321049)) / 31250, 1e-12,
    "closed form of the class; rounding", basis="exact", control="the rate of RCD",
)

D4 = statements.statement("D4", r"Sampled orders bracket $\rho_P$ of a matrix too large for all of them", "ours", source="ours")
D4.in_cells(
    "", r"Distances of the exact 0.800224 from (low minus three errors, high), $n = 10$, $\sigma = 0.1$", "ours", "at least", 0.0, 1e-6,
    "three standard errors", basis="exact", control="with replacement",
)

D5 = statements.statement("D5", r"On Hessians of images, too large for exact work, $\rho_P < \rho_R$", "ours", source="ours")
D5.in_cells(
    "a", r"Upper end of the bracket for $\rho_P$ minus $\rho_R$, digits, ridge 0.1", "ours", "at most", 0.0, 0.0, "the upper end is biased upwards",
    basis="statement", control="the worst factor of the energy in an epoch of one order",
)
D5.in_cells(
    "b", "The same for Fashion-MNIST", "ours", "at most", 0.0, 0.0, "the upper end is biased upwards",
    basis="statement", control="the worst factor of the energy in an epoch of one order",
)

D6 = statements.statement("D6", r"An epoch of RPCD multiplies the energy by at most $\theta/(1+\theta)$ on average", "ours", source="ours")
D6.in_cells(
    "a", r"Smallest excess of the bound over $\rho_P$, random matrices", "ours", "at least", 0.0, 0.0, "a proven bound",
    basis="statement", control=r"without the term $\operatorname{Diag}(H^2)/6$ and with $H^2/6$",
)
D6.in_cells(
    "b", r"The bound at $n = 10$, $\sigma = 0.1$, where $\rho_P = 0.800$: it is loose", "ours", "approx", 0.937, 5e-4, _SECOND,
    basis="second", control=r"$\rho_P$ itself",
)

D7 = statements.statement(
    "D7", "A public research repository, which averages over all orders, finds the same rates for its 4×4 example", "ours", source="ours",
)
D7.in_cells(
    "", r"$\rho_P$, $B$, $\rho_R$", "ours", "approx", (0.75576074, 0.81634337, 0.81939220), 1e-8, "digits of that repository",
    basis="exact", control="two of its entries exchanged",
)

D8 = statements.statement("D8", r"For small $\sigma$ the gap $\log B - \log\rho_P$ is $2\sigma/n$ on the permutation-invariant class", "ours", source="ours")
D8.in_cells(
    "a", r"Ratio of the smallest gap on the grid, at $n = 1000$, $\sigma = 10^{-6}$, to $2\sigma/n$", "ours", "approx", 1.0, 0.001,
    r"next order in $\sigma$ and in $1/n$", basis="statement", control="RCD's gap",
)
D8.in_cells(
    "b", r"Least and largest ratio over $n \le 100$, $\sigma \le 10^{-3}$, $\sigma n \le 0.1$", "ours", "approx", (1.0005, 1.0005), 0.0015,
    r"next order in $\sigma n$: from 0.999 to 1.002", basis="statement", control="RCD's gap",
)

D9 = statements.statement("D9", "Averaging a matrix over permuted copies of itself can make RPCD faster", "ours", source="ours")
D9.in_cells(
    "", r"$\rho_P$ before and after, $n = 3$, same $\sigma = 0.4$", "ours", "approx",
    ((4521 + 3 * math.sqrt(2321049)) / 31250, 153 / 625), 1e-12, "closed forms", basis="exact", control="the average over all permuted copies",
)

D10 = statements.statement("D10", "Negative equicorrelation turns the ranking around: the cyclic order is the fastest", "ours", source="ours")
D10.in_cells(
    "", r"Rates at $n = 10$, $\sigma = 0.1$", "ours", "order", ("CCD", "RPCD", "RCD"), 0.01, "rates that differ visibly",
    basis="statement", control="positive equicorrelation",
)
# fmt: on
