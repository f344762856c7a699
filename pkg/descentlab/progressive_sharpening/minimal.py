r"""The minimal model: a deep linear network with one neuron a layer, in coordinates in which everything is exact.

The network :math:`f(x) = (x^\top u)\,v_1\cdots v_{D-1}` sees :math:`u` only through :math:`a = W^\top u`, its components
along the right singular vectors of the data. With :math:`z_k = \sigma_k a_k` and :math:`P = \prod_i v_i` the loss is
:math:`\lVert Pz - d\rVert^2/2N`, up to a constant, and a step of gradient descent costs r + D operations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

from descentlab.geometry import Array
from descentlab.progressive_sharpening import kernels
from descentlab.progressive_sharpening.batches import batches_of, noise_factor
from descentlab.progressive_sharpening.difficulty import Spectrum, as_depth, layer_squares, spectrum
from descentlab.progressive_sharpening.trajectories import EdgeLimit, Limit, Trajectory, as_rate, as_steps


class MinimalModel:
    """One neuron a layer, on given data.

    Parameters
    ----------
    X : array_like, shape (N, d)
    y : array_like, shape (N,)
        Labels, not all equal.
    depth : int
        Number of layers D, at least 2.

    Attributes
    ----------
    spectrum : Spectrum
    depth, rank, num_samples : int
    difficulty : float
        Dataset difficulty Q.

    Raises
    ------
    ValueError
        See `spectrum`; or `depth` is not an integer of at least 2.
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, *, depth: int):
        self.depth = as_depth(depth)
        self.spectrum = spectrum(X, y)
        self.num_samples = self.spectrum.num_samples
        self.rank = len(self.spectrum.sigma)
        self.difficulty = self.spectrum.difficulty
        self._rows = self.spectrum.samples
        # labels that are out of reach add a part orthogonal to all rows, which batches do see
        self._targets = np.asarray(y, dtype=float)

    def project(self, u: ArrayLike) -> Array:
        """Reduced coordinates a of first-layer weights `u` (..., d), shape (..., r)."""
        return np.asarray(u, dtype=float) @ self.spectrum.right.T

    def balanced_start(self, scale: float, *, seed: int = 0) -> tuple[Array, Array]:
        """A start with all imbalances zero: a random direction of norm `scale`, and layers of size `scale`.

        The direction is drawn in the space of the samples, then projected: singular vectors have arbitrary signs.
        """
        a = self.project(np.random.default_rng(seed).standard_normal(self.spectrum.right.shape[1]))
        return scale * a / np.linalg.norm(a), np.full(self.depth - 1, float(scale))

    def imbalance(self, a: ArrayLike, v: ArrayLike) -> Array:
        r"""The imbalances :math:`C_i = \lVert a\rVert^2 - v_i^2`, shape (..., depth - 1)."""
        a, v = self._point(a, v)
        return np.asarray(np.sum(a**2, axis=-1, keepdims=True) - v**2)

    def loss(self, a: ArrayLike, v: ArrayLike) -> Array:
        """Mean of half the squared residuals, shape (...)."""
        a, v = self._point(a, v)
        residual = v.prod(axis=-1, keepdims=True) * self.spectrum.sigma * a - self.spectrum.labels
        return np.asarray(np.sum(residual**2, axis=-1) / (2 * self.num_samples) + self.spectrum.floor)

    def gradient(self, a: ArrayLike, v: ArrayLike) -> tuple[Array, Array]:
        """Gradient of the loss at one point, shapes (r,) and (depth - 1,)."""
        a, v = self._point(a, v)
        whole, q = kernels.products(v)
        z = self.spectrum.sigma * a
        residual = whole * z - self.spectrum.labels
        return whole / self.num_samples * self.spectrum.sigma * residual, q / self.num_samples * (z @ residual)

    def hessian(self, a: ArrayLike, v: ArrayLike) -> Array:
        """Dense Hessian of the loss at one point in the coordinates (a, v), shape (r + depth - 1, r + depth - 1)."""
        a, v = self._point(a, v)
        s, r, N = self.spectrum, self.rank, self.num_samples
        whole, q = kernels.products(v)
        z = s.sigma * a
        dense = np.zeros((r + len(v), r + len(v)))
        dense[:r, :r] = np.diag(whole**2 * s.sigma**2 / N)
        dense[:r, r:] = np.outer(s.sigma * (2 * whole * z - s.labels) / N, q)
        dense[r:, :r] = dense[:r, r:].T
        dense[r:, r:] = kernels.layer_block(v, q, z @ z, z @ (whole * z - s.labels), float(N))
        return dense

    def sharpness(self, a: ArrayLike, v: ArrayLike) -> Array:
        r"""Largest Hessian eigenvalue, exactly, at any number of points.

        The Hessian is diagonal in `a`, bordered by the few rows of `v`. By Sylvester's law of inertia a level λ above
        the poles :math:`P^2\sigma_k^2/N` exceeds all eigenvalues if and only if the Schur complement of size D - 1 is
        positive definite; bisection finds the least such λ in some sixty steps of r + D³ operations. Nothing is
        deflated by hand, and a layer may be zero.

        Parameters
        ----------
        a : array_like, shape (..., r)
        v : array_like, shape (..., depth - 1)

        Returns
        -------
        ndarray, shape (...)
            NaN where the weights have overflowed.
        """
        a, v = self._point(a, v)
        shape = np.broadcast_shapes(a.shape[:-1], v.shape[:-1])
        a = np.ascontiguousarray(np.broadcast_to(a, (*shape, self.rank))).reshape(-1, self.rank)
        v = np.ascontiguousarray(np.broadcast_to(v, (*shape, self.depth - 1))).reshape(-1, self.depth - 1)
        out = np.empty(len(a))
        kernels.sharpness(self.spectrum.sigma, self.spectrum.labels, float(self.num_samples), a, v, out)
        return out.reshape(shape)

    def minimum_sharpness(self, v: ArrayLike) -> Array:
        r"""Sharpness at the global minimum with scalar layers `v` (..., depth - 1), shape (...).

        :math:`S = \lambda_{\max}(P^2 \operatorname{diag}(\sigma^2) + h\,dd^\top)/N` with :math:`h = \sum_i v_i^{-2}`.
        """
        return sharpness_at_minimum(self.spectrum, np.asarray(v, dtype=float) ** 2)

    def flow_limit(self, a: ArrayLike, v: ArrayLike) -> Limit:
        """Where the gradient flow from any start ends, in closed form; no simulation.

        Parameters
        ----------
        a : array_like, shape (..., r)
        v : array_like, shape (..., depth - 1)

        Returns
        -------
        Limit
            Under the assumption that the flow converges to a global minimum, as it does from almost every start.
        """
        a, v = self._point(a, v)
        if not (np.all(np.isfinite(a)) and np.all(np.isfinite(v))):
            raise ValueError("a, v: an entry is not finite; expected weights to start from")
        limit = np.where(v < 0, -1.0, 1.0) * np.sqrt(layer_squares(self.difficulty, self.imbalance(a, v)))
        return Limit(limit, self.minimum_sharpness(limit))

    def gradient_flow(
        self,
        a: ArrayLike,
        v: ArrayLike,
        *,
        loss_goal: float = 1e-10,
        max_time: float = 1e7,
        rtol: float = 1e-9,
        times: ArrayLike | None = None,
    ) -> Trajectory:
        """Integrate the gradient flow from one start with LSODA and the exact Jacobian.

        Parameters
        ----------
        a : array_like, shape (r,)
        v : array_like, shape (depth - 1,)
        loss_goal : float
            The flow stops where the loss is this far above its floor.
        max_time : float
            Or at this time.
        rtol : float
            Relative tolerance of the integrator.
        times : array_like, optional
            Report at these increasing times instead of the integrator's own; the goal is then ignored.

        Raises
        ------
        ValueError
            A value is out of its range.
        RuntimeError
            The integrator fails.
        """
        a, v = self._one_point(a, v)
        for name, value in (("loss_goal", loss_goal), ("max_time", max_time), ("rtol", rtol)):
            if not 0 < value < np.inf:
                raise ValueError(f"{name}={value!r} must be positive and finite")
        if times is not None:
            times = np.asarray(times, dtype=float)
            if times.ndim != 1 or not times.size or times[0] < 0 or not np.all(np.diff(times) > 0):
                raise ValueError(f"times={times!r} must increase from a number that is not negative")
        r = self.rank

        def velocity(_: float, x: Array) -> Array:
            return -np.concatenate(self.gradient(x[:r], x[r:]))

        def arrived(_: float, x: Array) -> float:
            # in logarithms, so that the root is found as precisely as the loss is small
            return float(np.log((self.loss(x[:r], x[r:]) - self.spectrum.floor) / loss_goal + 1e-300))

        arrived.terminal = True  # type: ignore[attr-defined]
        found = solve_ivp(
            velocity,
            (0.0, max_time if times is None else float(times[-1])),
            np.concatenate([a, v]),
            method="LSODA",
            jac=lambda _, x: -self.hessian(x[:r], x[r:]),
            rtol=rtol,
            atol=1e-3 * rtol,
            t_eval=times,
            events=arrived if times is None else None,
        )
        if not found.success:
            raise RuntimeError(f"the integrator stopped at time {found.t[-1]:g}: {found.message}")
        return self._trajectory(found.t, found.y.T[:, :r], found.y.T[:, r:])

    def gradient_descent(
        self,
        a: ArrayLike,
        v: ArrayLike,
        *,
        learning_rate: float,
        num_steps: int,
        record: ArrayLike | None = None,
        dtype: DTypeLike = np.float64,
    ) -> Trajectory:
        """Full-batch gradient descent, from any number of starts side by side.

        Parameters
        ----------
        a : array_like, shape (..., r)
        v : array_like, shape (..., depth - 1)
        learning_rate : float
        num_steps : int
        record : array_like of int, optional
            Numbers of updates after which to keep the iterate; 0 … `num_steps` unless given.
        dtype : float32 or float64
            The type in which the descent runs; the sharpness of the iterates is always found in float64.

        Returns
        -------
        Trajectory
            After an overflow all is NaN or infinite, without a warning: a divergence is a result here.
        """
        a, v = self._point(a, v)
        steps, rate = as_steps(num_steps, record), as_rate(learning_rate)
        kind: Any = np.dtype(dtype)
        if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype={dtype!r}; allowed are float32 and float64")
        shape = np.broadcast_shapes(a.shape[:-1], v.shape[:-1])
        points_a = np.broadcast_to(a, (*shape, self.rank)).reshape(-1, self.rank)
        points_v = np.broadcast_to(v, (*shape, self.depth - 1)).reshape(-1, self.depth - 1)
        path_a = np.empty((len(points_a), len(steps), self.rank), kind)
        path_v = np.empty((len(points_a), len(steps), self.depth - 1), kind)
        loss = np.empty((len(points_a), len(steps)), kind)
        sigma, labels = self.spectrum.sigma.astype(kind), self.spectrum.labels.astype(kind)
        for m, (one_a, one_v) in enumerate(zip(points_a.astype(kind), points_v.astype(kind), strict=True)):
            size = kind.type(self.num_samples)
            kernels.descend(
                sigma, labels, size, one_a.copy(), one_v.copy(), kind.type(rate), steps, path_a[m], path_v[m], loss[m]
            )
        out = self._shaped(steps, shape, path_a, path_v)
        measured = np.moveaxis(loss.reshape(*shape, len(steps)), -1, 0).astype(float) + self.spectrum.floor
        return replace(out, loss=measured)

    def sgd(
        self,
        a: ArrayLike,
        v: ArrayLike,
        *,
        learning_rate: float,
        num_steps: int,
        batch_size: int,
        order: str | ArrayLike = "reshuffled",
        seed: int = 0,
        record: ArrayLike | None = None,
    ) -> Trajectory:
        """Stochastic gradient descent in batches, from any number of starts side by side.

        Parameters
        ----------
        a : array_like, shape (..., r)
        v : array_like, shape (..., depth - 1)
        learning_rate : float
        num_steps : int
        batch_size : int
            B, from 1 to N. Where it does not divide N, an epoch leaves the remainder out.
        order : {"cyclic", "reshuffled", "replacement"} or array_like of int, shape (num_steps, batch_size)
            How batches are drawn, or the samples of each batch: `fresh_batches` draws every batch anew, without
            replacement within it. Each start gets its own random order, and all share a given one, unless the array
            has a leading axis of starts.
        seed : int
        record : array_like of int, optional
            Numbers of updates after which to keep the iterate; 0 … `num_steps` unless given.
        """
        a, v = self._point(a, v)
        steps, rate = as_steps(num_steps, record), as_rate(learning_rate)
        N = self.num_samples
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or not 1 <= batch_size <= N:
            raise ValueError(f"batch_size={batch_size!r} must be an integer from 1 to {N}")
        shape = np.broadcast_shapes(a.shape[:-1], v.shape[:-1])
        points_a = np.broadcast_to(a, (*shape, self.rank)).reshape(-1, self.rank)
        points_v = np.broadcast_to(v, (*shape, self.depth - 1)).reshape(-1, self.depth - 1)
        path_a = np.empty((len(points_a), len(steps), self.rank))
        path_v = np.empty((len(points_a), len(steps), self.depth - 1))
        for m, generator in enumerate(np.random.default_rng(seed).spawn(len(points_a))):
            batches = batches_of(order, N, int(batch_size), int(steps[-1]), generator, m, len(points_a))
            kernels.descend_in_batches(
                self._rows, self._targets, points_a[m].copy(), points_v[m].copy(), rate, batches, steps,
                path_a[m], path_v[m],
            )  # fmt: skip
        return self._shaped(steps, shape, path_a, path_v)

    def edge_limit(self, learning_rate: float, start: tuple[ArrayLike, ArrayLike]) -> EdgeLimit:
        r"""The end point of gradient descent at the edge of stability, from the imbalance of its start.

        At minima whose layers are all of one size :math:`v`, the sharpness is a convex function of :math:`v^2`, since
        :math:`P^2 = v^{2(D-1)}` and :math:`h = (D-1)/v^2` are; so each value above the least one is taken twice.

        Parameters
        ----------
        learning_rate : float
        start : pair of array_like, shapes (r,) and (depth - 1,)
            Weights (a, v), with layers of one size, which descent then keeps.

        Raises
        ------
        ValueError
            The start's layers differ in size, or a value is out of its range.
        """
        if not isinstance(start, (tuple, list)) or len(start) != 2:
            raise ValueError(f"start must be a pair (a, v), not {type(start).__name__}")
        a, v = self._one_point(*start)
        edge = 2 / as_rate(learning_rate)
        sizes = np.abs(v)
        if np.ptp(sizes) > 1e-12 * sizes.max():
            raise ValueError(f"start has layers of sizes {sizes}; a single imbalance needs layers of one size")
        limit = self.flow_limit(a, v)
        here = float(limit.v[0] ** 2)
        if limit.sharpness <= edge:
            return EdgeLimit(float(self.imbalance(a, v)[0]), float(limit.sharpness), "unique")

        flattest, least = self._flattest()
        if abs(least / edge - 1) < 1e-12:
            return EdgeLimit(self._imbalance_of(flattest), edge, "unique")
        if least > edge:
            return EdgeLimit(np.nan, np.nan, "none")
        # the start lies outside the two roots, so that the nearer one is between it and the flattest minimum
        root = brentq(lambda x: self._level(x) / edge - 1, np.log(here), flattest, xtol=1e-14, rtol=1e-14)
        return EdgeLimit(self._imbalance_of(root), edge, "two roots")

    def flattest_minimum(self) -> tuple[float, float]:
        """Imbalance and sharpness of the flattest minimum whose layers are all of one size."""
        log_square, least = self._flattest()
        return self._imbalance_of(log_square), least

    def _level(self, log_square: float) -> float:
        """Sharpness at the minimum whose layers all have the square ``exp(log_square)``."""
        return float(sharpness_at_minimum(self.spectrum, np.full(self.depth - 1, np.exp(log_square))))

    def _imbalance_of(self, log_square: float) -> float:
        v2 = np.exp(log_square)
        return float(self.difficulty / v2 ** (self.depth - 1) - v2)

    def _flattest(self) -> tuple[float, float]:
        # the least of a convex function of v², hence of a unimodal one of its logarithm
        middle = np.log(self.difficulty) / self.depth
        found = minimize_scalar(self._level, bracket=(middle - 3.0, middle), tol=1e-10)
        return float(found.x), float(found.fun)

    def expected_increment(
        self, a: ArrayLike, v: ArrayLike, *, learning_rate: float, batch_size: int, order: str = "reshuffled"
    ) -> Array:
        r"""Expected change of the imbalances in one step, exactly, shape (depth - 1,).

        .. math::
            \mathbb E\,\Delta C_i = \eta^2\big[\lVert \bar g\rVert^2 - \bar g_i^2
            + k_B\,(\operatorname{tr}\operatorname{Cov} g - \operatorname{Var} g_i)\big]

        with :math:`g` the samples' gradients in a, :math:`g_i` those in :math:`v_i`, and :math:`k_B = (N-B)/(B(N-1))` for
        a uniformly drawn batch of B different samples, :math:`1/B` with replacement, 0 for B = N.
        """
        if order not in ("reshuffled", "replacement"):
            raise ValueError(f"order={order!r}; allowed are 'reshuffled' and 'replacement'")
        mean, noise = self._imbalance_rates(*self._one_point(a, v))
        return as_rate(learning_rate) ** 2 * (mean + noise_factor(self.num_samples, batch_size, order) * noise)

    def drift(self, a: ArrayLike, v: ArrayLike, *, time: float) -> tuple[Array, Array]:
        r"""First-order law of the imbalance: the two integrals along the gradient flow.

        After time :math:`T = \eta t` a descent with small step η and batches of B samples has
        :math:`C_i(T) \approx C_i(0) + \eta I_i + \eta k_B J_i`. Works for every depth.

        Returns
        -------
        full_batch, noise : ndarray, shape (depth - 1,)
            I and J, by one run of the ODE with 2 (D - 1) extra states.
        """
        a, v = self._one_point(a, v)
        if not 0 < time < np.inf:
            raise ValueError(f"time={time!r} must be positive and finite")
        r, layers = self.rank, self.depth - 1

        def velocity(_: float, x: Array) -> Array:
            here = x[:r], x[r : r + layers]
            return np.concatenate([*(-g for g in self.gradient(*here)), *self._imbalance_rates(*here)])

        start = np.concatenate([a, v, np.zeros(2 * layers)])
        found = solve_ivp(velocity, (0.0, time), start, method="LSODA", rtol=1e-8, atol=1e-10)
        return found.y[r + layers : r + 2 * layers, -1], found.y[r + 2 * layers :, -1]

    def _imbalance_rates(self, a: Array, v: Array) -> tuple[Array, Array]:
        """Squared mean gradients, and variances over the samples: a's minus each layer's."""
        whole, q = kernels.products(np.ascontiguousarray(v))
        scores = self._rows @ a
        residual = whole * scores - self._targets
        size = self.num_samples
        mean_a = whole * (residual @ self._rows) / size
        inner = scores * residual
        mean = mean_a @ mean_a - q**2 * inner.mean() ** 2
        trace = whole**2 * np.sum(residual**2 * np.sum(self._rows**2, axis=1)) / size - mean_a @ mean_a
        return mean, trace - q**2 * inner.var()

    def _point(self, a: ArrayLike, v: ArrayLike) -> tuple[Array, Array]:
        a, v = np.ascontiguousarray(a, dtype=np.float64), np.ascontiguousarray(v, dtype=np.float64)
        if a.ndim == 0 or a.shape[-1] != self.rank:
            raise ValueError(f"a has shape {a.shape}; expected (..., {self.rank}), the rank of X: see project()")
        if v.ndim == 0 or v.shape[-1] != self.depth - 1:
            raise ValueError(
                f"v has shape {v.shape}; expected (..., {self.depth - 1}), one number for each layer but one"
            )
        return a, v

    def _one_point(self, a: ArrayLike, v: ArrayLike) -> tuple[Array, Array]:
        a, v = self._point(a, v)
        if a.ndim != 1 or v.ndim != 1 or not (np.all(np.isfinite(a)) and np.all(np.isfinite(v))):
            raise ValueError(f"a, v have shapes {a.shape}, {v.shape}; expected one point of finite numbers")
        return a, v

    def _shaped(self, steps: Any, shape: tuple[int, ...], path_a: Any, path_v: Any) -> Trajectory:
        a = np.moveaxis(path_a.reshape(*shape, len(steps), self.rank), -2, 0)
        v = np.moveaxis(path_v.reshape(*shape, len(steps), self.depth - 1), -2, 0)
        return self._trajectory(steps, a, v)

    def _trajectory(self, steps: Any, a: Any, v: Any) -> Trajectory:
        a, v = np.asarray(a, dtype=float), np.asarray(v, dtype=float)
        with np.errstate(over="ignore", invalid="ignore"):
            return Trajectory(np.asarray(steps), a, v, self.loss(a, v), self.sharpness(a, v))


def sharpness_at_minimum(s: Spectrum, v2: ArrayLike) -> Array:
    """Sharpness at the global minimum whose scalar layers have the squares `v2` (..., depth - 1), shape (...)."""
    v2 = np.ascontiguousarray(v2, dtype=np.float64)
    flat = v2.reshape(-1, v2.shape[-1])
    out = np.empty(len(flat))
    kernels.minimum_sharpness(s.sigma, s.labels, float(s.num_samples), flat, out)
    return out.reshape(v2.shape[:-1])
