r"""The methods: gradient descent on a stream of tasks, the projection scheme beside it, and the joint minimiser.

A stage changes the weights by a combination of its own task's samples, so that a stream in many dimensions is run on the
samples' inner products: :math:`w = w_0 + X^\top a`, with one block of the Gram matrix for each stage.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, nnls

from descentlab.compiled import njit
from descentlab.geometry import (
    Array,
    Order,
    Trajectory,
    as_samples,
    l2_max_margin,
    log_slope_logistic,
    recorded_steps,
)

TaskOrder = Order | Sequence[int] | NDArray[np.int64]
_MAX_NEWTON_STEPS = 200


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks of one dimension, stacked. Every function of this module that takes tasks takes these too.

    Attributes
    ----------
    X : ndarray, shape (N, d)
        All samples with labels folded in, task after task.
    bounds : ndarray of int, shape (M + 1,)
        Task `m` holds the rows ``bounds[m]`` up to ``bounds[m + 1]``.
    """

    X: Array
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, m: int) -> Array:
        return self.X[self.bounds[m] : self.bounds[m + 1]]

    def sums(self, values: ArrayLike) -> Array:
        """Sums over the samples of each task, along the last axis: shape (..., N) to (..., M)."""
        return cast(Array, np.add.reduceat(np.asarray(values, dtype=float), self.bounds[:-1], axis=-1))


def as_tasks(tasks: Any) -> Tasks:
    """`tasks` stacked, after the checks that every method here needs.

    Parameters
    ----------
    tasks : sequence of array_like, shape (n_m, d), or of pairs (X, y)
        Samples with labels folded in, or samples and their labels −1 and +1.

    Raises
    ------
    ValueError
        If there is no task, a task is empty, not finite or holds a row of zeros, a label is not −1 or +1, or the tasks
        differ in dimension.
    """
    if isinstance(tasks, Tasks):
        return tasks
    if len(tasks) == 0:
        raise ValueError("tasks is empty; expected at least one array of shape (samples, features)")
    rows = [_fold(task, f"tasks[{m}]") for m, task in enumerate(tasks)]
    for m, task in enumerate(rows):
        if task.shape[1] != rows[0].shape[1]:
            raise ValueError(
                f"tasks[{m}] has {task.shape[1]} features and tasks[0] has {rows[0].shape[1]}; all tasks must agree"
            )
    return Tasks(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


def _fold(task: Any, name: str) -> Array:
    """One task as an array with the labels folded in."""
    pair = len(task) == 2 and np.ndim(task[0]) == 2 and np.ndim(task[1]) == 1
    samples, labels = task if pair else (task, None)
    try:
        X = as_samples(samples)
    except ValueError as error:  # its message starts with "X", which is this task here
        raise ValueError(f"{name}{str(error)[1:]}" if str(error).startswith("X") else f"{name}: {error}") from None
    if labels is None:
        return X
    y = np.asarray(labels, dtype=float)
    if y.shape != (len(X),) or not np.all(np.abs(y) == 1):
        raise ValueError(f"{name}: labels {np.unique(y)} of shape {y.shape}; expected {len(X)} labels −1 or +1")
    return y[:, None] * X


def task_order(order: TaskOrder, num_tasks: int, num_stages: int, seed: int = 0) -> NDArray[np.int64]:
    """The task of each stage, shape (num_stages,).

    Parameters
    ----------
    order : {"cyclic", "replacement", "reshuffled"} or sequence of int
        0, 1, …, M − 1 in turn; drawn uniformly at each stage; a fresh permutation for each cycle; or task numbers,
        repeated from the start where there are fewer than `num_stages`.
    num_tasks, num_stages : int
    seed : int
        Of the random orders.

    Raises
    ------
    ValueError
        For any other order, or a task number outside 0 … M − 1.
    """
    if int(num_stages) != num_stages or num_stages < 1:
        raise ValueError(f"num_stages={num_stages!r} must be a positive integer")
    if isinstance(order, str):
        rng = np.random.default_rng(seed)
        num_cycles = -(-num_stages // num_tasks)
        if order == "cyclic":
            stages = np.tile(np.arange(num_tasks), num_cycles)
        elif order == "replacement":
            stages = rng.integers(num_tasks, size=num_stages)
        elif order == "reshuffled":
            stages = rng.permuted(np.tile(np.arange(num_tasks), (num_cycles, 1)), axis=1).ravel()
        else:
            allowed = "'cyclic', 'replacement', 'reshuffled' and a sequence of task numbers"
            raise ValueError(f"order={order!r}; allowed are {allowed}")
    else:
        stages = np.asarray(order)
        whole = stages.ndim == 1 and stages.size > 0 and np.issubdtype(stages.dtype, np.integer)
        if not whole or stages.min() < 0 or stages.max() >= num_tasks:
            raise ValueError(f"order={order!r}; a sequence must hold task numbers 0 … {num_tasks - 1}")
        stages = np.resize(stages, num_stages)
    return stages[:num_stages].astype(np.int64)


def largest_stable_step(tasks: Any) -> float:
    r"""The least :math:`8/\sigma_m^2` over the tasks: two over the smoothness :math:`\sigma_m^2/4` of a task's loss."""
    tasks = as_tasks(tasks)
    return 8 / max(squared_norm(tasks[m]) for m in range(len(tasks)))


def squared_norm(rows: Array) -> float:
    r"""Square of the largest singular value, :math:`\sigma^2`, from the smaller of the two Gram matrices."""
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return float(np.linalg.eigvalsh(gram)[-1])


def sequential_gd(
    tasks: Any,
    *,
    num_stages: int,
    num_steps: int,
    learning_rate: float | ArrayLike,
    order: TaskOrder = "cyclic",
    w0: ArrayLike | None = None,
    seed: int = 0,
    record: ArrayLike | None = None,
) -> Trajectory:
    r"""Gradient descent on one task after another, each on its own logistic loss, without replay.

    .. math:: w \leftarrow w - \eta \nabla L_m(w), \qquad L_m(w) = \sum_{i \in I_m} \ln(1 + e^{-x_i^\top w}),

    `num_steps` times in a stage, then on to the next task with the weights as they are.

    Parameters
    ----------
    tasks : sequence of array_like, shape (n_m, d), or of pairs (X, y)
        Samples with labels folded in, or samples and their labels −1 and +1.
    num_stages : int
        Number of stages; a task is trained in each.
    num_steps : int
        Steps of gradient descent a stage, the paper's `K`.
    learning_rate : float or array_like, shape (num_stages,)
        :math:`\eta`, positive: of all stages, or of each.
    order : {"cyclic", "replacement", "reshuffled"} or sequence of int
        See `task_order`.
    w0 : array_like, shape (d,), optional
        Start; zero by default.
    seed : int
        Of the random orders.
    record : array_like of int, optional
        Numbers of stages after which to keep the weights; by default about 200 log-spaced ones, half-way and last
        included.

    Returns
    -------
    Trajectory
        Its `steps` count stages.

    Raises
    ------
    ValueError
        For an argument outside its range, naming it.

    Warns
    -----
    UserWarning
        If the step exceeds :math:`8/\sigma_m^2` for a task: gradient descent on this task alone may then diverge.

    Notes
    -----
    arXiv 2504.12712, section 2. The loss is a sum over samples, not a mean. With more features than samples the loop runs
    on inner products; iterates are the same up to rounding.
    """
    tasks = as_tasks(tasks)
    if int(num_steps) != num_steps or num_steps < 1:
        raise ValueError(f"num_steps={num_steps!r} must be a positive integer")
    stages = task_order(order, len(tasks), num_stages, seed)
    rates = _rates(learning_rate, num_stages)
    limit = largest_stable_step(tasks)
    if rates.max() > limit:
        warnings.warn(
            f"learning_rate={rates.max():.4g} is above {limit:.4g}, two over the smoothness of a task's loss: gradient "
            "descent on that task may overshoot and then stand still",
            UserWarning,
            stacklevel=2,
        )
    start = np.zeros(tasks.X.shape[1]) if w0 is None else np.array(w0, dtype=np.float64)
    if start.shape != tasks.X.shape[1:] or not np.all(np.isfinite(start)):
        raise ValueError(f"w0 has shape {start.shape}; expected {tasks.X.shape[1:]} with finite entries, one a feature")
    steps = recorded_steps(num_stages, record)
    if tasks.X.shape[1] > len(tasks.X):
        shares = _kernel_loop(tasks.X @ tasks.X.T, tasks.X @ start, tasks.bounds, stages, int(num_steps), rates, steps)
        return Trajectory(steps, start + shares @ tasks.X)
    return Trajectory(steps, _loop(tasks.X, start, tasks.bounds, stages, int(num_steps), rates, steps))


def _rates(learning_rate: float | ArrayLike, num_stages: int) -> Array:
    """The step size of each stage, or a single one, shape (num_stages,) or (1,)."""
    rates = np.atleast_1d(np.asarray(learning_rate, dtype=np.float64))
    if rates.shape not in ((1,), (num_stages,)):
        raise ValueError(f"learning_rate has shape {rates.shape}; expected a number, or {num_stages}, one a stage")
    if not (np.all(np.isfinite(rates)) and np.all(rates > 0)):
        raise ValueError(f"learning_rate={learning_rate!r} must be finite and positive")
    return rates


@njit
def _loop(X, start, bounds, stages, num_steps, rates, steps):
    dim, w = X.shape[1], start.copy()
    weights, pull = np.empty((len(steps), dim)), np.empty(dim)
    done = 0
    for r in range(len(steps)):
        for t in range(done, steps[r]):
            m, rate = stages[t], rates[t if len(rates) > 1 else 0]
            for _ in range(num_steps):
                pull[:] = 0.0
                for i in range(bounds[m], bounds[m + 1]):
                    z = 0.0
                    for k in range(dim):
                        z += X[i, k] * w[k]
                    slope = rate * math.exp(log_slope_logistic(z))
                    for k in range(dim):
                        pull[k] += slope * X[i, k]
                for k in range(dim):
                    w[k] += pull[k]
        done = steps[r]
        weights[r] = w
    return weights


@njit
def _kernel_loop(gram, offset, bounds, stages, num_steps, rates, steps):
    """The same in the coefficients `a` of ``w = w0 + X' a``; `offset` is ``X w0``."""
    a, shares = np.zeros(len(gram)), np.empty((len(steps), len(gram)))
    done = 0
    for r in range(len(steps)):
        for t in range(done, steps[r]):
            first, last = bounds[stages[t]], bounds[stages[t] + 1]
            rate = rates[t if len(rates) > 1 else 0]
            block = np.ascontiguousarray(gram[first:last, first:last])
            slopes = np.empty(last - first)
            z = offset[first:last] + np.dot(gram[first:last], a)
            for _ in range(num_steps):
                for i in range(last - first):
                    slopes[i] = rate * math.exp(log_slope_logistic(z[i]))
                    a[first + i] += slopes[i]
                z += np.dot(block, slopes)
        done = steps[r]
        shares[r] = a
    return shares


def project(w: ArrayLike, A: ArrayLike) -> Array:
    r"""Nearest point to `w` of the polyhedron :math:`\{u : A u \ge 1\}`, exactly.

    Parameters
    ----------
    w : array_like, shape (d,)
    A : array_like, shape (n, d)

    Raises
    ------
    NotSeparableError
        If the polyhedron is empty, with convex weights of the rows that average to zero.

    Notes
    -----
    A least-distance problem, solved as one non-negative least-squares problem (Lawson & Hanson 1974, ch. 23); the active
    rows are then solved for once more.
    """
    w, A = np.asarray(w, dtype=np.float64), as_samples(A)
    lack = 1 - A @ w
    if lack.max() <= 0:
        return w.copy()
    system = np.vstack([A.T, lack])
    target = np.zeros(len(system))
    target[-1] = 1.0
    y, _ = nnls(system, target, maxiter=30 * max(system.shape))
    rest = target[-1] - lack @ y
    if rest <= 1e-12:  # no point is feasible: then no direction separates the rows
        l2_max_margin(A)
    active = np.flatnonzero(y)
    move = np.linalg.lstsq(A[active], lack[active], rcond=None)[0]
    coarse = (A.T @ y) / rest
    fine = (A @ move - lack).min() >= (A @ coarse - lack).min() - 1e-12
    return cast(Array, w + (move if fine else coarse))


def sequential_max_margin(tasks: Any, *, num_stages: int, order: TaskOrder = "cyclic", seed: int = 0) -> Array:
    r"""The projection scheme of Evron et al. (2023): what training each task to the end would do.

    From zero, a stage projects the weights on the points :math:`\{u : x_i^\top u \ge 1, i \in I_m\}` of its task.

    Parameters
    ----------
    tasks : sequence of array_like, shape (n_m, d), or of pairs (X, y)
        Separable together.
    num_stages : int
    order, seed
        See `task_order`.

    Returns
    -------
    ndarray, shape (num_stages + 1, d)
        Weights after 0, 1, … stages.

    Raises
    ------
    NotSeparableError
        With its certificate, if no direction separates all tasks.
    ValueError
        For bad tasks or an unknown order.
    """
    tasks = as_tasks(tasks)
    l2_max_margin(tasks.X)
    weights = np.zeros((num_stages + 1, tasks.X.shape[1]))
    for t, m in enumerate(task_order(order, len(tasks), num_stages, seed)):
        weights[t + 1] = project(weights[t], tasks[m])
    return weights


def joint_minimizer(tasks: Any) -> Array:
    """The minimiser of the joint logistic loss of tasks that are not separable, by Newton's method.

    Returns
    -------
    ndarray, shape (d,)
        Exact up to rounding.

    Raises
    ------
    ValueError
        If the data are separable, even weakly, so that the loss has no minimum; or if they do not span the space, so that
        it has many.
    """
    X = as_tasks(tasks).X
    if np.linalg.matrix_rank(X) < X.shape[1]:
        rank = np.linalg.matrix_rank(X)
        raise ValueError(f"tasks span {rank} of {X.shape[1]} dimensions, so that the joint loss has many minimisers")
    total = X.sum(axis=0)
    # a direction that puts no sample on the wrong side and one on the right side: the loss falls along it for ever
    escape = linprog(-total, A_ub=np.vstack([-X, X]), b_ub=np.repeat([0.0, 1.0], len(X)), bounds=(None, None))
    if escape.status != 0 or -escape.fun > 1e-7:
        raise ValueError(
            "tasks are separable together (a direction puts no sample on the wrong side), so that the joint loss has no "
            "minimiser; its max-margin direction is geometry.l2_max_margin's"
        )
    w = np.zeros(X.shape[1])
    loss = np.logaddexp(0, -X @ w).sum()
    for _ in range(_MAX_NEWTON_STEPS):
        s = np.exp(-np.logaddexp(0, X @ w))
        step = np.linalg.solve((X * (s * (1 - s))[:, None]).T @ X, X.T @ s)
        size = 1.0
        while np.logaddexp(0, -X @ (w + size * step)).sum() > loss + 1e-14 * abs(loss) and size > 1e-10:
            size /= 2
        w = w + size * step
        loss = np.logaddexp(0, -X @ w).sum()
        if np.abs(size * step).max() <= 1e-14 * max(1.0, np.abs(w).max()):
            return w
    return w


def joint_hessian(tasks: Any, w: ArrayLike) -> Array:
    """Second derivative of the joint logistic loss at `w`, shape (d, d)."""
    X = as_tasks(tasks).X
    s = np.exp(-np.logaddexp(0, X @ np.asarray(w, dtype=float)))
    return cast(Array, (X * (s * (1 - s))[:, None]).T @ X)
