r"""What the run tends to, in closed form, and forgetting measured beside its bounds.

Let :math:`\hat w` be the smallest `w` with margins of at least one, :math:`\hat w = \sum_i \alpha_i x_i`, and
:math:`u_m = \sum_{i \in I_m} \alpha_i x_i` the part that task `m` pulls. In cycle `J` task `m` moves the weights by
:math:`u_m / J` to leading order, and everything else follows: the loss, the margins, and what the other tasks forget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from descentlab.continual_classification.methods import (
    as_tasks,
    joint_hessian,
    joint_minimizer,
    sequential_gd,
    squared_norm,
)
from descentlab.geometry import Array, l2_max_margin, recorded_steps


@dataclass(frozen=True)
class JointLimit:
    r"""Joint max-margin solution, by tasks.

    Attributes
    ----------
    solution : ndarray, shape (d,)
        :math:`\hat w`, the smallest `w` with :math:`x_i^\top w \ge 1` for all samples of all tasks.
    margin : float
        :math:`\varphi = 1/\|\hat w\|`.
    dual : ndarray, shape (N,)
        :math:`\alpha`: not negative, zero off the support, :math:`\hat w = \sum_i \alpha_i x_i`.
    pulls : ndarray, shape (M, d)
        :math:`u_m`, which sum to the solution.
    gap : float
        Least :math:`x_i^\top \hat w - 1` off the support, infinite if all samples are support vectors.
    rate : float
        Corrections to the laws fall like :math:`t^{-\text{rate}}`: the least of the gap and of the eigenvalues of
        :math:`G_S \operatorname{diag}(\alpha_S)`, of which one is always 1, with the Gram matrix of the support vectors.
        Derived: the margins' deviations :math:`\varepsilon` from law (A) obey
        :math:`d\varepsilon / d\ln t = -G_S \operatorname{diag}(\alpha_S)\,\varepsilon` to first order.
    """

    solution: Array
    margin: float
    dual: Array
    pulls: Array
    gap: float
    rate: float


def joint_limit(tasks: Any) -> JointLimit:
    """The joint max-margin solution of tasks that are separable together.

    Raises
    ------
    NotSeparableError
        With its certificate, if no direction separates all tasks.
    """
    tasks = as_tasks(tasks)
    best = l2_max_margin(tasks.X)
    dual = best.dual / best.margin**2  # the hull's smallest point has norm `margin`, the solution has its inverse
    pulls = np.array([dual[a:b] @ tasks.X[a:b] for a, b in zip(tasks.bounds[:-1], tasks.bounds[1:], strict=True)])
    solution = best.direction / best.margin
    support = dual > 0
    gap = float(np.min((tasks.X @ solution)[~support] - 1, initial=np.inf))
    halves = np.sqrt(dual[support])[:, None] * tasks.X[support]  # G diag(alpha), made symmetric
    slowest = float(np.linalg.eigvalsh(halves @ halves.T)[0])
    return JointLimit(solution, best.margin, dual, pulls, gap, min(gap, slowest))


def alignment(tasks: Any) -> tuple[Array, Array]:
    r"""Sums of the positive and of the negative inner products between the samples of two tasks.

    Returns
    -------
    positive, negative : ndarray, shape (M, M)
        :math:`N_{p,q} = \sum_{i \in I_p, j \in I_q} \max(0, x_i^\top x_j)`, and the same with min. Theorem 3.4.
    """
    tasks = as_tasks(tasks)
    products = tasks.X @ tasks.X.T

    def by_tasks(entries: Array) -> Array:
        return tasks.sums(tasks.sums(entries).T)

    return by_tasks(np.maximum(products, 0)), by_tasks(np.minimum(products, 0))


def forgetting_limit(tasks: Any, *, num_steps: int, learning_rate: float) -> float:
    r"""What :math:`J^2 \, CF(J)` tends to in cyclic order.

    .. math:: \frac{\sum_m \|u_m\|^2 - \|\hat w\|^2}{2 M \eta K}

    It is positive, and tasks are forgotten in the end, if the dual-weighted pulls :math:`u_m` oppose each other on the
    whole. Derived.

    Raises
    ------
    NotSeparableError
        With its certificate, if no direction separates all tasks.
    ValueError
        If `num_steps` or `learning_rate` is not positive.
    """
    return float(task_forgetting_limits(tasks, num_steps=num_steps, learning_rate=learning_rate).mean())


def task_forgetting_limits(
    tasks: Any, *, num_steps: int, learning_rate: float, order: Sequence[int] | None = None
) -> Array:
    r"""What :math:`J^2` times the forgetting of each task tends to, shape (M,).

    It is :math:`-u_m^\top \sum_{p \text{ after } m} u_p / (\eta K)`: the tasks that come later in the cycle pull along
    :math:`u_m`, and the task gains, or against it. `order` is a permutation of the tasks, 0, 1, … by default; the entries
    of the result are those of tasks 0, 1, …, whatever the order. Derived.
    """
    if not (num_steps > 0 and learning_rate > 0):
        raise ValueError(f"num_steps={num_steps!r} and learning_rate={learning_rate!r} must be positive")
    pulls = joint_limit(tasks).pulls
    places = cycle_order("cyclic" if order is None else order, len(pulls))
    later = np.empty_like(pulls)
    later[places] = np.cumsum(pulls[places][::-1], axis=0)[::-1] - pulls[places]
    return cast(Array, -(pulls * later).sum(axis=1) / (learning_rate * num_steps))


def cycle_order(order: str | Sequence[int], num_tasks: int) -> NDArray[np.int64]:
    """The tasks of a cycle, shape (M,).

    Raises
    ------
    ValueError
        If `order` is neither ``"cyclic"`` nor a permutation of the tasks.
    """
    if isinstance(order, str) and order == "cyclic":
        return np.arange(num_tasks)
    if isinstance(order, str) or sorted(np.ravel(order).tolist()) != list(range(num_tasks)):
        raise ValueError(f"order={order!r}; allowed are 'cyclic' and a permutation of 0 … {num_tasks - 1}")
    return np.asarray(order, dtype=np.int64)


def recorded_cycles(num_cycles: int, record: ArrayLike | None = None) -> NDArray[np.int64]:
    """Cycles to measure, counted from 1: those asked for, or about 200 log-spaced ones; the last is always among them.

    Raises
    ------
    ValueError
        If `num_cycles` is not a positive integer, or a requested cycle lies outside 1 … `num_cycles`.
    """
    if int(num_cycles) != num_cycles or num_cycles < 1:
        raise ValueError(f"num_cycles={num_cycles!r} must be a positive integer")
    cycles = recorded_steps(num_cycles, record)
    if record is None:
        return cycles[cycles > 0]
    if cycles[0] < 1:
        raise ValueError(f"record holds {cycles[0]}; cycles are counted from 1 to {num_cycles}")
    return cycles


@dataclass(frozen=True)
class Forgetting:
    r"""Forgetting in the recorded cycles of a run in cyclic order.

    Attributes
    ----------
    cycles : ndarray of int, shape (r,)
        Numbers `J` of the cycles.
    values : ndarray, shape (r,)
        Cycle-averaged forgetting :math:`CF(J)`: positive where tasks are forgotten, negative where they gain.
    lower, upper : ndarray, shape (r,)
        Bounds of Theorem 3.4, with the largest slope of the loss seen in the cycle as the bound on the loss.
    per_task : ndarray, shape (r, M)
        Loss of each task at the end of the cycle minus its loss right after its own stage.
    loss : ndarray, shape (r,)
        Joint loss at the end of the cycle, a sum over all samples.
    weights : ndarray, shape (r, d)
        Weights at the end of the cycle.
    moves : ndarray, shape (r, M, d)
        What the stage of each task added to the weights.
    """

    cycles: NDArray[np.int64]
    values: Array
    lower: Array
    upper: Array
    per_task: Array
    loss: Array
    weights: Array
    moves: Array


def cycle_averaged_forgetting(
    tasks: Any,
    *,
    num_cycles: int,
    num_steps: int,
    learning_rate: float,
    order: str | Sequence[int] = "cyclic",
    w0: ArrayLike | None = None,
    record: ArrayLike | None = None,
) -> Forgetting:
    r"""Run gradient descent through the tasks in cyclic order and measure what each cycle forgets.

    .. math:: CF(J) = \frac1M \sum_m \left[ L_m(\text{end of cycle } J) - L_m(\text{after task } m \text{ in cycle } J) \right]

    Parameters
    ----------
    tasks : sequence of array_like, shape (n_m, d), or of pairs (X, y)
        Samples with labels folded in, or samples and their labels −1 and +1.
    num_cycles : int
        Number of cycles.
    num_steps, learning_rate, w0
        See `sequential_gd`.
    order : "cyclic" or permutation of the tasks
        Order within each cycle.
    record : array_like of int, optional
        Cycles to measure, counted from 1; by default about 200 log-spaced ones, the last included.

    Returns
    -------
    Forgetting

    Raises
    ------
    ValueError
        For an argument outside its range, naming it.

    Notes
    -----
    arXiv 2504.12712, section 3.3. A difference of two losses of order :math:`1/J` that is itself of order :math:`1/J^2`
    loses all digits in the end. It is computed from the cycle's displacements, which are small and exact, instead.
    """
    tasks = as_tasks(tasks)
    places = cycle_order(order, len(tasks))
    cycles = recorded_cycles(num_cycles, record)
    run = sequential_gd(
        tasks, num_stages=num_cycles * len(tasks), num_steps=num_steps, learning_rate=learning_rate, order=places,
        w0=w0, record=(cycles - 1) * len(tasks),
    )  # fmt: skip
    w = run.weights[: len(cycles)].copy()  # at the start of the cycles; all of them are then replayed side by side
    moves = np.empty((len(cycles), len(tasks), w.shape[1]))
    own = np.empty((len(cycles), len(tasks.X)))
    steepest = np.zeros(len(cycles))
    for m in places:
        rows, here = tasks[m], slice(tasks.bounds[m], tasks.bounds[m + 1])
        before, move = w, np.zeros_like(w)
        for _ in range(num_steps):
            z = w @ tasks.X.T
            steepest = np.maximum(steepest, _slope(z).max(axis=1))
            move = move + learning_rate * _slope(z[:, here]) @ rows
            w = before + move
        moves[:, m] = move
        own[:, here] = w @ rows.T
    steepest = np.maximum(steepest, _slope(w @ tasks.X.T).max(axis=1))
    later = np.empty_like(moves)
    later[:, places] = np.cumsum(moves[:, places][:, ::-1], axis=1)[:, ::-1] - moves[:, places]
    gained = np.concatenate([later[:, m] @ tasks[m].T for m in range(len(tasks))], axis=1)
    # softplus(-own - gained) - softplus(-own), to full relative precision
    per_task = tasks.sums(np.log1p(_slope(own) * np.expm1(-gained)))
    positive, negative = (n.sum() - np.trace(n) for n in alignment(tasks))
    scale = learning_rate * num_steps * steepest**2 / len(tasks)
    loss = np.logaddexp(0, -w @ tasks.X.T).sum(axis=1)
    values = per_task.mean(axis=1)
    return Forgetting(cycles, values, -scale * positive, -scale * negative, per_task, loss, w, moves)


def _slope(z: Array) -> Array:
    """Minus the derivative of the logistic loss."""
    return cast(Array, np.exp(-np.logaddexp(0, z)))


def margin_residuals(tasks: Any, w: ArrayLike, *, num_stages: float, num_steps: int, learning_rate: float) -> Array:
    r"""How far the support vectors' margins are from :math:`\ln(\eta K t / (M \alpha_i))`, shape (support,).

    It tends to zero in cyclic order (derived); Theorem 3.2 says that it stays bounded.
    """
    tasks = as_tasks(tasks)
    dual = joint_limit(tasks).dual
    support = dual > 0
    predicted = np.log(learning_rate * num_steps * num_stages / (len(tasks) * dual[support]))
    return cast(Array, tasks.X[support] @ np.asarray(w, dtype=float) - predicted)


def increment_error(tasks: Any, w: ArrayLike, w_before: ArrayLike, ratio: float = 2.0) -> float:
    r"""Relative distance of :math:`(w(t) - w(t/\text{ratio})) / \ln \text{ratio}` to the joint solution, norm included."""
    solution = joint_limit(tasks).solution
    step = (np.asarray(w, dtype=float) - np.asarray(w_before, dtype=float)) / np.log(ratio)
    return float(np.linalg.norm(step - solution) / np.linalg.norm(solution))


def cyclic_step_bound(tasks: Any, *, num_steps: int) -> tuple[float, float]:
    r"""The two step sizes of which Theorems 3.1 to 3.4 ask for less than the smaller.

    They are :math:`\frac{1}{2MK\beta\sigma^2}` and :math:`\frac{\varphi^2}{4K\beta\sigma^3(M\varphi + \sigma)}` with
    :math:`\beta = \frac14` and :math:`\sigma` the largest singular value of all samples.
    """
    tasks = as_tasks(tasks)
    sigma, margin, beta = squared_norm(tasks.X) ** 0.5, joint_limit(tasks).margin, 0.25
    first = 1 / (2 * len(tasks) * num_steps * beta * sigma**2)
    return first, margin**2 / (4 * num_steps * beta * sigma**3 * (len(tasks) * margin + sigma))


def random_step_bound(tasks: Any) -> float:
    r"""The step size :math:`2\varphi^2 / (\beta\sigma^4)` below which Theorems 4.1 and 4.2 hold; :math:`\beta = \frac14`."""
    tasks = as_tasks(tasks)
    return 2 * joint_limit(tasks).margin ** 2 / (0.25 * squared_norm(tasks.X) ** 2)


# Tasks that are not separable together ------------------------------------------------------------------------------


def curvatures(tasks: Any) -> tuple[float, float, float]:
    r"""Strong convexity at the joint minimiser, and smoothness of the joint loss, and of the least smooth task's.

    Returns
    -------
    mu, smoothness, task_smoothness : float
        :math:`\lambda_{\min}` of the Hessian at the minimiser, :math:`\sigma^2/4` and the largest :math:`\sigma_m^2/4`.

    Raises
    ------
    ValueError
        If the tasks are separable together.
    """
    tasks = as_tasks(tasks)
    mu = float(np.linalg.eigvalsh(joint_hessian(tasks, joint_minimizer(tasks)))[0])
    squares = [squared_norm(rows) / 4 for rows in (tasks.X, *(tasks[m] for m in range(len(tasks))))]
    return mu, squares[0], max(squares[1:])


def horizon_step(tasks: Any, *, num_cycles: int, num_steps: int) -> float:
    r"""The step size tuned to the horizon, :math:`\min\{1/(2\sqrt2 K B),\ 2\ln J / (\mu K J)\}`, as in Theorem 5.2.

    `B` is the largest smoothness of a task; the second term's constant is reconstructed.
    """
    mu, _, smoothness = curvatures(tasks)
    return min(1 / (2 * np.sqrt(2) * num_steps * smoothness), 2 * np.log(num_cycles) / (mu * num_steps * num_cycles))


def cycle_bias(tasks: Any, *, num_steps: int, decay: float = 0.0) -> Array:
    r"""How far from the joint minimiser :math:`w_*` cyclic gradient descent ends, to first order in the step size.

    Parameters
    ----------
    tasks : sequence of array_like, shape (n_m, d)
        Not separable together.
    num_steps : int
        Steps a stage, `K`.
    decay : float
        0 for a constant step :math:`\eta`. For steps :math:`c/(\mu K j)` in cycle `j`, give `c`, above one.

    Returns
    -------
    ndarray, shape (d,)
        The limit of :math:`(w - w_*)/\eta` for a constant step, of :math:`J\,(w_J - w_*)` for falling ones.

    Notes
    -----
    Derived. With :math:`g_m, H_m` the tasks' gradients and Hessians at :math:`w_*`, a cycle moves :math:`w` by
    :math:`-\eta K H (w - w_*) + \eta^2 b` with :math:`b = K^2 \sum_{p<m} H_m g_p + \frac{K(K-1)}{2} \sum_m H_m g_m`.
    """
    tasks = as_tasks(tasks)
    w = joint_minimizer(tasks)
    gradients = task_gradients(tasks, w)
    hessians = np.array([joint_hessian([tasks[m]], w) for m in range(len(tasks))])
    before = np.cumsum(gradients, axis=0) - gradients
    drift = num_steps**2 * np.einsum("mij,mj->i", hessians, before)
    drift += num_steps * (num_steps - 1) / 2 * np.einsum("mij,mj->i", hessians, gradients)
    hessian = hessians.sum(axis=0)
    if decay == 0:
        return np.linalg.solve(hessian, drift) / num_steps
    mu = float(np.linalg.eigvalsh(hessian)[0])
    if decay <= 1:
        raise ValueError(f"decay={decay!r} must be above one: the start is forgotten like J to the power −decay")
    scale = decay / (mu * num_steps)
    return cast(Array, np.linalg.solve(decay * hessian / mu - np.eye(len(w)), scale**2 * drift))


def task_gradients(tasks: Any, w: ArrayLike) -> Array:
    """Gradients of the tasks' losses at `w`, shape (M, d)."""
    tasks = as_tasks(tasks)
    slopes = _slope(tasks.X @ np.asarray(w, dtype=float))
    return np.array([-slopes[a:b] @ tasks.X[a:b] for a, b in zip(tasks.bounds[:-1], tasks.bounds[1:], strict=True)])
