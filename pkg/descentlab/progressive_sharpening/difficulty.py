r"""How hard a data set is, and what that alone says about the sharpness at a minimum.

With the singular values :math:`\sigma_1 \ge \dots \ge \sigma_r > 0` of `X` and :math:`d_i = e_i^\top y` along its left
singular vectors, the dataset difficulty is :math:`Q = \sum_i d_i^2/\sigma_i^2 = \lVert X^+ y\rVert^2`, the squared norm
of the shortest interpolator.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr, solve_triangular

from descentlab.compiled import njit
from descentlab.geometry import Array


@dataclass(frozen=True)
class Spectrum:
    """Labelled data in the coordinates of their singular vectors.

    Attributes
    ----------
    left : ndarray, shape (N, r)
        Left singular vectors e_i, those of the singular values above the rank cut.
    sigma : ndarray, shape (r,)
        Singular values, from the largest down.
    right : ndarray, shape (r, d)
        Right singular vectors w_i, one a row.
    labels : ndarray, shape (r,)
        The components d_i of y along the e_i.
    floor : float
        The loss that no weights can remove, from the part of y outside the span of the e_i.
    """

    left: Array
    sigma: Array
    right: Array
    labels: Array
    floor: float

    @property
    def num_samples(self) -> int:
        return len(self.left)

    @property
    def difficulty(self) -> float:
        return float(np.sum((self.labels / self.sigma) ** 2))

    @property
    def samples(self) -> Array:
        """The samples in the coordinates of the right singular vectors, shape (N, r)."""
        return self.left * self.sigma

    def predicted_sharpness(self, depth: int) -> float:
        """See `predicted_sharpness`."""
        return float(self.sigma[0] ** 2 / self.num_samples * self.difficulty ** ((depth - 1) / depth))


def spectrum(X: ArrayLike, y: ArrayLike) -> Spectrum:
    """Singular value decomposition of `X`, cut at its numerical rank, with the labels in the same coordinates.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples, one a row; rank-deficient data are allowed.
    y : array_like, shape (N,)
        Labels, not all equal.

    Raises
    ------
    ValueError
        `X` or `y` has the wrong shape, is empty or not finite, the labels are all equal, or `X` has rank 0.
    """
    X, y = as_labelled(X, y)
    left, sigma, right = _decomposition(X)
    rank = int(np.sum(sigma > max(X.shape) * np.finfo(float).eps * sigma[0]))
    left, sigma, right = left[:, :rank], sigma[:rank], right[:rank]
    labels = left.T @ y
    if np.linalg.norm(labels) <= 4 * len(y) * np.finfo(float).eps * np.linalg.norm(y):
        labels = np.zeros(rank)  # orthogonal to the data, up to rounding
    unreachable = y - left @ labels
    floor = float(unreachable @ unreachable) / (2 * len(y)) if rank < len(y) else 0.0
    return Spectrum(left, sigma, right, labels, floor)


_KEPT = 16
_decompositions: OrderedDict[tuple[tuple[int, ...], bytes], tuple[Array, Array, Array]] = OrderedDict()


def _decomposition(X: Array) -> tuple[Array, Array, Array]:
    """Singular value decomposition; the last few are kept by content, since one data set is asked about many times."""
    key = X.shape, blake2b(X.tobytes()).digest()
    if key not in _decompositions:
        _decompositions[key] = np.linalg.svd(X, full_matrices=False)
        if len(_decompositions) > _KEPT:
            _decompositions.popitem(last=False)
    return _decompositions[key]


def dataset_difficulty(X: ArrayLike, y: ArrayLike) -> float:
    r"""Dataset difficulty :math:`Q = \lVert X^+ y\rVert^2`, from the singular values above the rank cut.

    Parameters
    ----------
    X : array_like, shape (N, d)
    y : array_like, shape (N,)
        Labels, not all equal.

    Raises
    ------
    ValueError
        See `spectrum`.
    """
    return spectrum(X, y).difficulty


def dataset_difficulty_prefixes(X: ArrayLike, y: ArrayLike) -> Array:
    r"""Dataset difficulty of the first n samples, for every n at once.

    With :math:`X = R^\top Q^\top`, the solution of :math:`R^\top w = y` gives :math:`Q(n) = \sum_{i \le n} w_i^2`. Where
    samples are linearly dependent, a QR factorisation is updated sample by sample instead, by plane rotations.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Rank-deficient data are allowed.
    y : array_like, shape (N,)
        Labels, not all equal; the labels of a prefix may be.

    Returns
    -------
    ndarray, shape (N,)
        Entry n - 1 belongs to the first n samples. It never falls where the labels of dependent samples agree.

    Raises
    ------
    ValueError
        See `spectrum`.
    """
    X, y = as_labelled(X, y)
    if len(X) <= X.shape[1]:
        (triangle,) = qr(X.T, mode="r", check_finite=False)
        triangle = triangle[: len(X)]
        scale = np.abs(triangle).max()
        if np.abs(np.diag(triangle)).min() > 4 * max(X.shape) * np.finfo(float).eps * scale:
            return np.cumsum(solve_triangular(triangle, y, trans="T", check_finite=False) ** 2)
    return _difficulty_by_rotations(X, y, 4 * max(X.shape) * np.finfo(float).eps * np.linalg.norm(X, 2))


@njit
def _difficulty_by_rotations(X, y, cut):
    """Q of all prefixes; the triangle R of X_n B' for an orthonormal basis B of the rows, kept by plane rotations."""
    num_samples, dim = X.shape
    size = min(num_samples, dim)
    basis, triangle = np.zeros((size, dim)), np.zeros((size, size))
    image, solution = np.zeros(size), np.zeros(size)  # image: the rotated labels
    result = np.empty(num_samples)
    rank = 0
    for n in range(num_samples):
        rest, row = X[n].copy(), np.zeros(size)
        for _ in range(2):  # twice, so that the basis stays orthogonal
            for k in range(rank):
                along = np.dot(basis[k], rest)
                row[k] += along
                rest -= along * basis[k]
        length = np.sqrt(np.dot(rest, rest))
        if length > cut and rank < size:
            basis[rank] = rest / length
            row[rank] = length
            rank += 1
        label = y[n]
        for k in range(rank):  # rotate the new row into the triangle
            radius = np.hypot(triangle[k, k], row[k])
            if radius == 0.0:
                continue
            c, s = triangle[k, k] / radius, row[k] / radius
            for j in range(k, rank):
                above, below = triangle[k, j], row[j]
                triangle[k, j], row[j] = c * above + s * below, c * below - s * above
            image[k], label = c * image[k] + s * label, c * label - s * image[k]
        total = 0.0
        for k in range(rank - 1, -1, -1):
            value = image[k]
            for j in range(k + 1, rank):
                value -= triangle[k, j] * solution[j]
            solution[k] = value / triangle[k, k]
            total += solution[k] ** 2
        result[n] = total
    return result


def predicted_sharpness(X: ArrayLike, y: ArrayLike, *, depth: int) -> float:
    r"""Predicted sharpness :math:`\hat S_D = (\sigma_1^2/N)\, Q^{(D-1)/D}`, from the data and the depth alone.

    Parameters
    ----------
    X : array_like, shape (N, d)
    y : array_like, shape (N,)
    depth : int
        Number of layers D, at least 2.

    Raises
    ------
    ValueError
        See `spectrum`; or `depth` is not an integer of at least 2.
    """
    depth = as_depth(depth)
    return spectrum(X, y).predicted_sharpness(depth)


def sharpness_bounds(
    X: ArrayLike, y: ArrayLike, *, depth: int, imbalance: ArrayLike | None = None
) -> tuple[Array | float, Array | float]:
    r"""Bounds on the sharpness at the global minimum of the minimal model with given imbalances.

    .. math::
        \tfrac1N\big[\sigma_1^2 P^2 + h\, d_1^2\big] \le S \le \tfrac1N\big[\sigma_1^2 P^2 + h \textstyle\sum_i d_i^2\big],
        \qquad P = \prod_i v_i, \quad h = \sum_i v_i^{-2}

    Parameters
    ----------
    X : array_like, shape (N, d)
    y : array_like, shape (N,)
    depth : int
        Number of layers D, at least 2.
    imbalance : float or array_like, shape (..., depth - 1), optional
        :math:`C_i = \lVert\Pi_W u\rVert^2 - v_i^2`; a number stands for all layers, and 0 (balanced) is the default.

    Returns
    -------
    lower, upper : float, or ndarray of shape (...)

    Raises
    ------
    ValueError
        See `spectrum`; or `depth` or `imbalance` is not as described, or the labels are orthogonal to the data.
    """
    s, depth = spectrum(X, y), as_depth(depth)
    C = np.asarray(0.0 if imbalance is None else imbalance, dtype=float)
    if C.ndim == 0:
        C = np.full(depth - 1, float(C))
    if C.shape[-1] != depth - 1 or not np.all(np.isfinite(C)):
        raise ValueError(f"imbalance has shape {C.shape}; expected finite numbers, one or (..., {depth - 1})")
    v2 = layer_squares(s.difficulty, C)
    first = s.sigma[0] ** 2 * np.prod(v2, axis=-1)
    h = np.sum(1 / v2, axis=-1)
    lower = (first + h * s.labels[0] ** 2) / s.num_samples
    upper = (first + h * (s.labels @ s.labels)) / s.num_samples
    return (float(lower), float(upper)) if C.ndim == 1 else (lower, upper)


def layer_squares(difficulty: float, imbalance: ArrayLike) -> Array:
    r"""Squares of the scalar layers at the global minimum with given imbalances.

    The root :math:`x > \max(0, \max_i C_i)` of :math:`x \prod_i (x - C_i) = Q` gives :math:`v_i^2 = x - C_i`. It is
    computed for the distance of x from that bound, so that nothing cancels, by Newton's method in its logarithm,
    which is convex there and converges from above.

    Parameters
    ----------
    difficulty : float
        Q, positive.
    imbalance : array_like, shape (..., depth - 1)

    Returns
    -------
    ndarray, shape (..., depth - 1)

    Raises
    ------
    ValueError
        `difficulty` is not positive and finite: the labels are orthogonal to the data, or nearly so.
    """
    C = np.asarray(imbalance, dtype=float)
    if not 0 < difficulty < np.inf:
        raise ValueError(f"difficulty={difficulty!r} must be positive: the labels are orthogonal to the data")
    bound = np.maximum(C.max(axis=-1, keepdims=True), 0.0)
    offsets = np.concatenate([bound, bound - C], axis=-1)  # x and the x - C_i are the distance plus these
    t = np.full(bound.shape, np.log(difficulty) / offsets.shape[-1])
    for _ in range(200):
        factors = np.exp(t) + offsets
        step = (np.log(factors).sum(axis=-1, keepdims=True) - np.log(difficulty)) / (np.exp(t) / factors).sum(
            axis=-1, keepdims=True
        )
        t = t - step
        if np.all(np.abs(step) < 1e-15 * (1 + np.abs(t))):
            break
    return np.asarray(np.exp(t) + (bound - C))


def as_labelled(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`X` of shape (N, d) and `y` of shape (N,) as float64, after the checks that `spectrum` lists."""
    X, y = np.ascontiguousarray(X, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X has shape {X.shape}; expected a non-empty matrix (samples, features)")
    if y.shape != X.shape[:1]:
        raise ValueError(f"y has shape {y.shape}; expected one label for each of the {len(X)} rows of X")
    for name, array in (("X", X), ("y", y)):
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} has an entry {array[~np.isfinite(array)][0]}; every entry must be finite")
    if np.all(y == y[0]):
        raise ValueError(f"y is constant, all labels are {y[0]:g}; at least two different ones are needed")
    if not X.any():
        raise ValueError("X has rank 0: every entry is zero")
    return X, y


def as_depth(depth: int) -> int:
    """`depth` as an int of at least 2, or a ValueError."""
    if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or depth < 2:
        raise ValueError(f"depth={depth!r} must be an integer of at least 2")
    return int(depth)
