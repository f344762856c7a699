r"""Problems on which a fixed order is slow whatever the step, and the closed forms that explain them.

Each function returns ``(problem, x0)``: a `QuadraticSum` with minimiser zero, whose constants are checked when it is
built, and the start. The coordinates do not mix, except for the plane of the polygon.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from descentlab.incremental_gd.problems import Array, QuadraticSum


def shared_hessian_instance(
    *, num_epochs: int, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""All components share the Hessian :math:`\operatorname{diag}(\mu, \lambda, L)`, :math:`\lambda = \min(\mu K, L/2)`.

    The second coordinate is tilted, by G in the first half of the components and by -G in the second (for odd `n` the
    middle one is not tilted). The first coordinate punishes small steps, the third steps beyond 2/L, and the tilt all
    between. Gap of order :math:`G^2/(\mu K)` (arXiv 2506.04126, Theorem 3.1; the constants are ours).

    Parameters
    ----------
    num_epochs : int
        K.
    mu, L, G : float
        Strong convexity, smoothness, size of the gradients at the minimiser.
    n : int
        Number of components.

    Returns
    -------
    (QuadraticSum in 3 dimensions, ndarray of shape (3,))

    Raises
    ------
    ValueError
        A number is outside its range.
    """
    _check(mu, L, G, n, num_epochs)
    curvature = max(min(mu * num_epochs, L / 2), mu)
    start = np.array([G / mu, 0.0, G / np.sqrt(mu * L * num_epochs)])
    return _tilted(mu, curvature, L, G, n), start


def large_epoch_convex_instance(
    *, num_epochs: int | None = None, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""`shared_hessian_instance` with the tilted curvature L/2: gap of order :math:`LG^2/(\mu^2K^2)` once :math:`K > \kappa`.

    Arguments, errors and return value are those of `shared_hessian_instance`. `num_epochs` sets only the start of the
    third coordinate; it is :math:`L/\mu` by default.
    """
    num_epochs = max(1, round(L / mu)) if num_epochs is None else num_epochs
    _check(mu, L, G, n, num_epochs)
    return _tilted(mu, L / 2, L, G, n), np.array([G / mu, 0.0, G / np.sqrt(mu * L * num_epochs)])


def polygon_instance(
    *, num_epochs: int, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""Strongly convex components that rotate: the method walks for ever round a regular n-gon.

    Coordinates 0 and 1 have shared curvatures :math:`\mu` and L and no tilt; they start at
    :math:`\sqrt L G/\mu^{3/2}` and :math:`G/\mu`. On coordinates 2 and 3, :math:`H_i = R^{i-1}
    \operatorname{diag}(\mu, L) R^{-(i-1)}` and :math:`b_i = R^{i-1} (-G, 0)^\top` with the rotation R by
    :math:`2\pi/n`. The start is `polygon_orbit` at the step :math:`1/(\mu n K)`. Gap of order
    :math:`(LG^2/\mu^2) \min\{1, \kappa^2/K^4\}` (arXiv 2506.04126, Theorem 3.3; the constants are ours).

    Arguments, errors and return value are those of `shared_hessian_instance`, in 4 dimensions; ``n >= 3``.
    """
    _check(mu, L, G, n, num_epochs, smallest=3)
    angles = 2 * np.pi * np.arange(n) / n
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    hessians = np.zeros((n, 4, 4))
    hessians[:, 0, 0], hessians[:, 1, 1] = mu, L
    hessians[:, 2:, 2:] = L * np.eye(2) + (mu - L) * along[:, :, None] * along[:, None, :]
    problem = QuadraticSum(hessians, np.concatenate([np.zeros((n, 2)), -G * along], axis=1), mu=mu, L=L)
    return problem, polygon_orbit(problem, learning_rate=1 / (mu * n * num_epochs))


def polygon_orbit(problem: QuadraticSum, *, learning_rate: ArrayLike, offset: bool = True) -> Array:
    r"""Start of the closed orbit of a `polygon_instance`: from there each step rotates the iterate by one corner.

    Parameters
    ----------
    problem : QuadraticSum
        From `polygon_instance`.
    learning_rate : array_like, shape (...)
        Step size; positive.
    offset : bool
        Whether coordinates 0 and 1, which every step shrinks, start where the instance has them, or at zero. With
        zero the whole iterate returns to its start after an epoch; otherwise its coordinates 2 and 3 do.

    Returns
    -------
    ndarray, shape (..., 4)

    Raises
    ------
    ValueError
        The problem is no polygon, or a step size is not positive.

    Notes
    -----
    :math:`x_0 = -(\eta H_1 + R - I)^{-1} \eta b_1` solves :math:`x_0 - \eta(H_1x_0 + b_1) = Rx_0`, and rotating this
    identity gives all the other steps.
    """
    rates = np.asarray(learning_rate, dtype=float)
    if not np.all(rates > 0):
        raise ValueError(f"learning_rate={learning_rate!r} must be positive")
    n = problem.num_components
    if problem.dim != 4 or problem.is_diagonal or n < 3:
        raise ValueError(f"problem={problem!r}: expected a polygon_instance")
    turn = _rotation_minus_identity(n)
    rotation = np.eye(2) + turn
    hessian, tilt = problem.hessians[:, 2:, 2:], problem.linear_terms[:, 2:]
    rotated = np.allclose(np.roll(hessian, -1, axis=0), rotation @ hessian @ rotation.T, atol=1e-9 * problem.smoothness)
    if not (rotated and np.allclose(np.roll(tilt, -1, axis=0), tilt @ rotation.T, atol=1e-9 * np.abs(tilt).max())):
        raise ValueError("problem: its components do not turn by 2π/n from each to the next; take a polygon_instance")
    G = float(np.linalg.norm(tilt[0]))
    mu, L = problem.hessians[0, 0, 0], problem.hessians[0, 1, 1]
    orbit = np.empty((*rates.shape, 4))
    orbit[..., :2] = (np.sqrt(L) * G / mu**1.5, G / mu) if offset else (0.0, 0.0)
    scaled = rates[..., None, None]
    orbit[..., 2:] = -np.linalg.solve(scaled * hessian[0] + turn, scaled * tilt[0][:, None])[..., 0]
    return orbit


def polygon_gap(*, learning_rate: ArrayLike, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200) -> Array:
    r"""Gap on the closed orbit, :math:`\frac{L+\mu}4 \lVert x_0 \rVert^2`, without building the n components.

    `learning_rate` of shape (...) or `L` of that shape; returns shape (...). Only the plane of the polygon counts.
    """
    rates, L_ = np.broadcast_arrays(np.asarray(learning_rate, dtype=float), np.asarray(L, dtype=float))
    turn = _rotation_minus_identity(n)
    matrix = np.broadcast_to(turn, (*rates.shape, 2, 2)).copy()
    matrix[..., 0, 0] += rates * mu
    matrix[..., 1, 1] += rates * L_
    tilt = np.stack([-G * rates, np.zeros_like(rates)], axis=-1)
    start = -np.linalg.solve(matrix, tilt[..., None])[..., 0]
    return np.asarray((L_ + mu) / 4 * (start**2).sum(axis=-1))


def nonconvex_instance(
    *, num_epochs: int, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""Half of the components are concave in the second coordinate: the gap grows like :math:`e^{\kappa/(2K)}`.

    There the first n/2 components have curvature L and tilt -G, the others -L/2 and G. The first half pulls the
    iterate to about G/L, the second amplifies it. The first coordinate has the shared curvature :math:`\mu` and
    starts at :math:`(G/\sqrt{\mu L})(1 + L/(2\mu nK))^{n/2}`. Gap of order :math:`(G^2/L)(1 + L/(2\mu nK))^n`
    (arXiv 2506.04126, Theorem 3.5; the constants are ours).

    Arguments, errors and return value are those of `shared_hessian_instance`, in 2 dimensions; `n` is even and
    :math:`L \ge 4\mu`.
    """
    _check(mu, L, G, n, num_epochs, multiple=2)
    if 4 * mu > L:
        raise ValueError(f"L={L:g} must be at least 4 mu = {4 * mu:g}, so that F has the strong convexity mu")
    first = np.arange(n) < n // 2
    hessians = np.stack([np.full(n, mu), np.where(first, L, -L / 2)], axis=1)
    linear = np.stack([np.zeros(n), np.where(first, -G, G)], axis=1)
    with np.errstate(over="ignore"):
        start = G / np.sqrt(mu * L) * np.exp(n / 2 * np.log1p(L / (2 * mu * n * num_epochs)))
    return QuadraticSum(hessians, linear, mu=mu, L=L), np.array([start, 0.0])


def large_epoch_nonconvex_instance(
    *, num_epochs: int | None = None, mu: float = 1.0, L: float = 200.0, G: float = 1.0, n: int = 200
) -> tuple[QuadraticSum, Array]:
    r"""Curvature and tilt correlate along the epoch: gap of order :math:`L^2G^2/(\mu^3K^2)` once :math:`K > \kappa`.

    In the second coordinate the curvature is L on the middle half and :math:`2\mu - L` on the outer quarters, the tilt
    G on the first half and -G on the second; to second order in the step an epoch drifts by
    :math:`\eta^2 \sum_{i<j} h_j b_i \approx \eta^2 n^2 L G/8`.

    Arguments, errors and return value are those of `shared_hessian_instance`, in 2 dimensions; 4 divides `n`, and
    `num_epochs` does not enter.
    """
    _check(mu, L, G, n, 1 if num_epochs is None else num_epochs, multiple=4)
    place = np.arange(n)
    middle = (place >= n // 4) & (place < 3 * n // 4)
    hessians = np.stack([np.full(n, mu), np.where(middle, L, 2 * mu - L)], axis=1)
    linear = np.stack([np.zeros(n), np.where(place < n // 2, G, -G)], axis=1)
    return QuadraticSum(hessians, linear, mu=mu, L=L), np.array([G / mu * np.sqrt(L / mu), 0.0])


def _tilted(mu: float, curvature: float, L: float, G: float, n: int) -> QuadraticSum:
    """Shared curvatures (mu, curvature, L), the second coordinate tilted half/half."""
    tilt = G * np.sign(n - 1 - 2 * np.arange(n))  # zero in the middle of an odd number
    hessians = np.tile([mu, curvature, L], (n, 1))
    return QuadraticSum(hessians, tilt[:, None] * np.array([0.0, 1.0, 0.0]), mu=mu, L=L)


def _rotation_minus_identity(n: int) -> Array:
    """R - I for the rotation by 2π/n, exact for large n, where cos - 1 would cancel."""
    angle = 2 * np.pi / n
    down = -2 * np.sin(angle / 2) ** 2
    return np.array([[down, -np.sin(angle)], [np.sin(angle), down]])


def _check(mu: float, L: float, G: float, n: int, num_epochs: int, *, smallest: int = 2, multiple: int = 1) -> None:
    if not (0 < mu <= L < np.inf):
        raise ValueError(f"mu={mu!r}, L={L!r}: expected 0 < mu <= L")
    if not 0 < G < np.inf:
        raise ValueError(f"G={G!r} must be positive")
    if n != int(n) or n < max(smallest, multiple) or n % multiple:
        wanted = f"a multiple of {multiple}" if multiple > 1 else f"an integer of at least {smallest}"
        raise ValueError(f"n={n!r} must be {wanted}")
    if not 1 <= num_epochs < np.inf:
        raise ValueError(f"num_epochs={num_epochs!r} must be at least 1")
