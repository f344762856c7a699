"""Quadratic objectives: the permutation-invariant class, and the checks and scaling that all methods share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

METHODS = ("rpcd", "rcd", "ccd")
MAX_EXACT = 14
"""Largest matrix for which the mean over all orders is computed."""
_SINGULAR = 1e-13  # least eigenvalue of a unit-diagonal matrix that is told from zero


def permutation_invariant(n: int, sigma: float, *, signs: ArrayLike | None = None, block: int | None = None) -> Array:
    r"""The matrix :math:`\sigma I + (1-\sigma) s s^\top`, unit diagonal, least eigenvalue :math:`\sigma`.

    Parameters
    ----------
    n : int
        Dimension, at least 2.
    sigma : float
        In (0, 1].
    signs : array_like of ±1, shape (n,), optional
        The vector `s`, all ones unless given.
    block : int, optional
        Couple only the first `block` coordinates (2 to n); the others are independent of all.

    Returns
    -------
    ndarray, shape (n, n)

    Raises
    ------
    ValueError
        For an argument outside its range.
    """
    check_size(n, sigma)
    size = n if block is None else block
    if int(size) != size or not 2 <= size <= n:
        raise ValueError(f"block={block!r} must be an integer from 2 to n={n}")
    s = np.ones(n) if signs is None else np.asarray(signs, dtype=np.float64)
    if s.shape != (n,) or not np.all(np.abs(s) == 1):
        raise ValueError(f"signs={signs!r} must hold {n} numbers, each 1 or -1")
    A = np.eye(n)
    A[:size, :size] = sigma * np.eye(size) + (1 - sigma) * np.outer(s[:size], s[:size])
    np.fill_diagonal(A, 1.0)
    return A


def check_size(n: int, sigma: float) -> None:
    """Refuse `n` below 2 and `sigma` outside (0, 1]."""
    if int(n) != n or n < 2:
        raise ValueError(f"n={n!r} must be an integer that is at least 2")
    if not 0 < sigma <= 1:
        raise ValueError(f"sigma={sigma!r} must be in (0, 1]: the least eigenvalue of a unit-diagonal matrix")


def check_method(method: str) -> None:
    """Refuse a method of another name than those in `METHODS`."""
    if method not in METHODS:
        raise ValueError(f"method={method!r}; allowed are {', '.join(map(repr, METHODS))}")


def check_count(name: str, value: int, *, least: int = 0) -> int:
    """`value` as an integer, which must not be below `least`."""
    if int(value) != value or value < least:
        raise ValueError(f"{name}={value!r} must be an integer that is at least {least}")
    return int(value)


def check_relaxation(relaxation: float) -> None:
    """Refuse a relaxation outside (0, 2)."""
    if not 0 < relaxation < 2:
        raise ValueError(f"relaxation={relaxation!r} must be in (0, 2), where every step lowers the objective")


def positive_definite(A: ArrayLike) -> Array:
    """`A` as a symmetric float64 matrix, shape (n, n).

    Raises
    ------
    ValueError
        If `A` is not a square matrix of finite numbers, not symmetric, or not positive definite.
    """
    matrix = np.asarray(A, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"A has shape {matrix.shape}; expected a square matrix")
    if not np.all(np.isfinite(matrix)):
        raise ValueError("A holds NaN or infinity; every entry must be finite")
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > 1e-10 * np.abs(matrix).max():
        raise ValueError(f"A is not symmetric: its entries differ from those of its transpose by {asymmetry:.2g}")
    matrix = (matrix + matrix.T) / 2
    diagonal = np.diag(matrix)
    if diagonal.min() <= 0:
        raise ValueError(f"A is not positive definite: its diagonal holds {diagonal.min():.3g}; add a multiple of I")
    least = np.linalg.eigvalsh(matrix / np.sqrt(np.outer(diagonal, diagonal)))[0]
    if least <= _SINGULAR:
        raise ValueError(
            f"A is not positive definite: scaled to a unit diagonal, its least eigenvalue is {least:.3g}; it must "
            f"exceed {_SINGULAR:g}. Add a multiple of I"
        )
    return matrix


def unit_diagonal(A: ArrayLike) -> Array:
    """`A` with rows and columns divided by the roots of its diagonal: every rate is that of this matrix."""
    A = positive_definite(A)
    root = np.sqrt(np.diag(A))
    scaled = A / np.outer(root, root)
    np.fill_diagonal(scaled, 1.0)
    return scaled


@dataclass(frozen=True)
class Frame:
    """A unit-diagonal matrix with the square roots that make its coordinate steps symmetric.

    Attributes
    ----------
    A, root, inverse_root : ndarray, shape (n, n)
        The matrix, its square root and the inverse of that.
    """

    A: Array
    root: Array
    inverse_root: Array


def energy_frame(A: Array) -> Frame:
    """Square roots of a positive definite matrix."""
    values, vectors = np.linalg.eigh(A)
    root = np.sqrt(values)
    return Frame(A, vectors * root @ vectors.T, vectors / root @ vectors.T)


def as_invariant(A: Array) -> tuple[float, Array] | None:
    """``(sigma, signs)`` if the unit-diagonal `A` is ``permutation_invariant(n, sigma, signs=signs)``, else None."""
    n = len(A)
    size = abs(A[0, 1]) if n > 1 else 0.0
    signs = np.where(A[0] < 0, -1.0, 1.0)
    matches = (
        n > 1
        and size < 1
        and np.allclose(A, (1 - size) * np.eye(n) + size * np.outer(signs, signs), rtol=0, atol=1e-14)
    )
    return (float(1 - size), signs) if matches else None
