"""Asymptotic rates: spectral radii of the operators that epochs apply to second moments."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import LinearOperator, eigs, eigsh

from descentlab.random_maps._checks import Array, Order, check_maps, check_order, grouped, product, reshuffled_groups
from descentlab.random_maps._compiled import mean_of_congruences, mean_over_orders
from descentlab.random_maps.moments import smat, svec

_MAX_DENSE = 28  # dimension of the space of symmetric matrices up to which a dense matrix beats Lanczos iterations


def spectral_radius(
    maps: ArrayLike,
    *,
    order: Order,
    energy: ArrayLike | None = None,
    counts: ArrayLike | None = None,
    tol: float = 1e-12,
) -> float:
    r"""Spectral radius of an epoch's operator: the factor by which second moments shrink an epoch, in the long run.

    Where each map is self-adjoint in the inner product of a positive definite matrix `A` (coordinate descent on
    :math:`\frac12 x^\top A x`, for instance), the maps :math:`A^{1/2} U_i A^{-1/2}` are symmetric. Then a random order
    and its reverse being equally likely makes the operator self-adjoint on :math:`h = A^{1/2} S A^{1/2}`, and Lanczos
    iterations find its largest eigenvalue. The operator maps positive semidefinite matrices to such, so that this
    eigenvalue is the spectral radius although negative ones exist.

    Parameters
    ----------
    maps : array_like, shape (m, D, D)
    order, counts
        As in `second_moment_epoch`.
    energy : array_like, shape (D, D), optional
        The matrix `A`, symmetric positive definite. Without it, Arnoldi iterations for general maps are used.
    tol : float
        Relative tolerance of the eigenvalue.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As in `second_moment_epoch`; or if `energy` is not symmetric positive definite or does not make the maps
        self-adjoint; or if `maps` is a batch.
    """
    maps, counts = check_maps(maps, counts)
    if maps.ndim != 3:
        raise ValueError(f"maps has shape {maps.shape}; spectral_radius takes one set of maps, (m, D, D)")
    sequence = check_order(order, counts)
    if energy is not None:
        maps = _in_energy_frame(maps, energy)
    if sequence is not None:
        return float(np.abs(np.linalg.eigvals(product(maps, counts, sequence))).max() ** 2)
    distinct, multiplicities = (grouped if order == "replacement" else reshuffled_groups)(maps, counts)
    dim = maps.shape[-1]
    size = dim * (dim + 1) // 2

    def apply(v: Array) -> Array:
        h = smat(v.reshape(size))  # symmetric by construction, at every application
        if order == "reshuffled":
            return svec(mean_over_orders(distinct, multiplicities, h))
        return svec(mean_of_congruences(distinct, multiplicities, h))

    radius = largest_eigenvalue(apply, start=svec(np.eye(dim)), symmetric=energy is not None, tol=tol)
    return radius ** int(counts.sum()) if order == "replacement" else radius


def largest_eigenvalue(
    apply: Callable[[Array], Array], *, start: Array, symmetric: bool = True, tol: float = 1e-12, num_vectors: int = 20
) -> float:
    """Spectral radius of an operator that maps positive semidefinite matrices to such: its largest eigenvalue.

    Parameters
    ----------
    apply : callable
        Function of a vector of `svec` coordinates that returns such a vector.
    start : ndarray, shape (D (D + 1) / 2,)
        Coordinates of a positive definite matrix: if the operator sends it to zero, it is zero.
    symmetric : bool
        Whether the operator is self-adjoint (Lanczos) or not (Arnoldi).
    tol : float
        Relative tolerance.
    num_vectors : int
        Lanczos vectors kept between restarts.
    """
    if symmetric:
        return leading_eigenpair(apply, start=start, tol=tol, num_vectors=num_vectors)[0]
    if not np.any(apply(start)):
        return 0.0
    size = len(start)
    if size <= _MAX_DENSE:
        return float(np.abs(np.linalg.eigvals(_dense(apply, size))).max())
    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    return float(np.abs(eigs(operator, k=1, which="LM", v0=start, tol=tol, return_eigenvectors=False)[0]))


def leading_eigenpair(
    apply: Callable[[Array], Array], *, start: Array, tol: float = 1e-12, num_vectors: int = 20
) -> tuple[float, Array]:
    """Largest eigenvalue of a self-adjoint operator on `svec` coordinates, and its eigenvector of norm one.

    Parameters and assumptions as in `largest_eigenvalue`; `num_vectors` is how many Lanczos vectors are kept between
    restarts, more of which pay where the operator is cheap and its largest eigenvalues are close. The eigenvector is the coordinates of a positive
    semidefinite matrix if the eigenvalue is simple (its sign is chosen so).
    """
    size = len(start)
    if not np.any(apply(start)):
        return 0.0, start / np.linalg.norm(start)
    if size <= _MAX_DENSE:
        dense = _dense(apply, size)
        values, vectors = np.linalg.eigh((dense + dense.T) / 2)
    else:
        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        values, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=tol, ncv=min(num_vectors, size))
    vector = vectors[:, -1]
    return float(values[-1]), vector * np.where(start @ vector < 0, -1.0, 1.0)


def _dense(apply: Callable[[Array], Array], size: int) -> Array:
    return np.stack([apply(e) for e in np.eye(size)], axis=1)


def _in_energy_frame(maps: Array, energy: ArrayLike) -> Array:
    """The maps :math:`A^{1/2} U_i A^{-1/2}`, which must come out symmetric."""
    A = np.asarray(energy, dtype=np.float64)
    dim = maps.shape[-1]
    if A.shape != (dim, dim) or not np.allclose(A, A.T, rtol=0, atol=1e-10 * np.abs(A).max(initial=0.0)):
        raise ValueError(f"energy has shape {A.shape}; expected a symmetric matrix ({dim}, {dim})")
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    if values[0] <= 0:
        raise ValueError(f"energy has the eigenvalue {values[0]:.3g}; it must be positive definite")
    root, inverse_root = (vectors * np.sqrt(values) @ vectors.T, vectors / np.sqrt(values) @ vectors.T)
    framed = root @ maps @ inverse_root
    asymmetry = np.abs(framed - np.swapaxes(framed, -1, -2)).max()
    if asymmetry > 1e-8 * max(1.0, np.abs(framed).max()) * math.sqrt(values[-1] / values[0]):
        raise ValueError(
            f"energy does not make the maps self-adjoint (A U is not symmetric, by {asymmetry:.2g} in its frame); "
            "leave it out for general maps"
        )
    return (framed + np.swapaxes(framed, -1, -2)) / 2
