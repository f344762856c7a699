r"""What the averages weigh, when the iteration is stable, and where it oscillates.

Here the sequences are numbered as in the paper's theory: :math:`x_1 = z_1`, and :math:`c_t` mixes :math:`z_t` into
:math:`x_t`, with :math:`c_t = 1/t`, or :math:`\min\{(1-\beta)C/t, 1\}` in the refined method. (The optimizers number
:math:`c` one step later, so that their average forgets the start.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

Array = NDArray[np.float64]


class Objective(Protocol):
    """A function with gradient and Hessian, such as `river_toy`."""

    def gradient(self, w: ArrayLike) -> Array: ...

    def hessian(self, w: ArrayLike) -> Array: ...


# Averages ------------------------------------------------------------------------------------------------------------


def averaging_coefficients(num_steps: int, *, beta: float, decoupling_c: float | None = None) -> Array:
    r"""The coefficients :math:`c_1, \dots, c_T` with which :math:`z_t` is mixed into :math:`x_t`, shape (num_steps,).

    :math:`c_1 = 1` always, since :math:`x_1 = z_1`.
    """
    _check(num_steps=num_steps, beta=beta, decoupling_c=decoupling_c)
    return _coefficient(np.arange(1.0, num_steps + 1), beta, decoupling_c)


def averaging_weights(num_steps: int, *, beta: float, decoupling_c: float | None = None) -> Array:
    r"""Weights of the gradient points in the average, :math:`x_T = \sum_t \alpha_t y_t`, shape (num_steps,); sum 1.

    :math:`x_t = (1-w_t) x_{t-1} + w_t y_t` with :math:`w_t = c_t / (1-\beta+\beta c_t)`, hence
    :math:`\alpha_t = w_t \prod_{s>t} (1-w_s)`.

    Parameters
    ----------
    num_steps : int
        :math:`T`.
    beta : float
        In [0, 1).
    decoupling_c : float, optional
        The refined method's `C`, at least 1; None is vanilla.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Notes
    -----
    In the vanilla method :math:`t - 1` has the beta-binomial distribution with :math:`T - 1` trials and parameters
    :math:`1/(1-\beta)` and 1. For large `T` the weights tend to :math:`(C/T)(t/T)^{C-1}` (Section 5 of the paper).
    """
    c = averaging_coefficients(num_steps, beta=beta, decoupling_c=decoupling_c)
    w = c / (1 - beta + beta * c)
    keep = np.concatenate([np.cumprod(1 - w[:0:-1])[::-1], [1.0]])  # product over the later steps
    return w * keep


def power_law_weights(num_steps: int, *, decoupling_c: float) -> Array:
    r"""The paper's approximation :math:`(C/T)(t/T)^{C-1}` to `averaging_weights`, shape (num_steps,)."""
    t = np.arange(1.0, num_steps + 1)
    return decoupling_c / num_steps * (t / num_steps) ** (decoupling_c - 1)


def mean_age(num_steps: int, *, beta: float, decoupling_c: float | None = None) -> float:
    r"""How many steps back the average lies, :math:`T - \sum_t \alpha_t t`; about :math:`T/(C+1)`.

    Parameters as `averaging_weights`, whose weights are summed; see there for what is raised.
    """
    weights = averaging_weights(num_steps, beta=beta, decoupling_c=decoupling_c)
    return float(weights @ np.arange(num_steps - 1, -1, -1.0))


def river_lag(power: float, *, decoupling_c: float) -> tuple[float, float]:
    r"""Where the average of a run down the hyperbola :math:`y_1 y_2 = 1` lies, if :math:`y_1 \sim t^p`.

    Returns
    -------
    lag : float
        :math:`x_1/y_1 \to C/(C+p)`.
    residual : float
        :math:`x_1 x_2 - 1 \to p^2/(C^2-p^2)`, above the river: it is convex, and chords lie inside.

    Raises
    ------
    ValueError
        Unless ``abs(power) < decoupling_c``: otherwise the start outweighs the rest.
    """
    if not abs(power) < decoupling_c:
        raise ValueError(f"power={power!r}: allowed are values below decoupling_c={decoupling_c!r} in size")
    c = decoupling_c
    return c / (c + power), power**2 / (c**2 - power**2)


# Stability -----------------------------------------------------------------------------------------------------------


def stability_threshold(
    learning_rate: float,
    *,
    beta: float,
    step: ArrayLike | None = None,
    decoupling_c: float | None = None,
    weight_decay: float = 0.0,
) -> float | Array:
    r"""Sharpness at the gradient point above which Schedule-Free descent oscillates without bound.

    The limit is :math:`2/((1-\beta)\gamma)` (Proposition 4.1). While the average still moves by the coefficient
    :math:`c`, less is allowed: with :math:`c` held fixed, exactly
    :math:`(4-2c) / (\gamma [2(1-\beta) + c(2\beta-1)])`. For a preconditioned method it bounds
    :math:`\lambda_1(P^{-1}H)`, and weight decay takes its own part off (Proposition 4.2).

    Parameters
    ----------
    learning_rate : float
        :math:`\gamma > 0`.
    beta : float
        In [0, 1).
    step : int or array of int, optional
        The step :math:`t \ge 1` at which to take :math:`c_t`; None is the limit.
    decoupling_c : float, optional
        The refined method's `C`; None is vanilla.
    weight_decay : float

    Returns
    -------
    float, or array of the shape of `step`

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    _check(beta=beta, decoupling_c=decoupling_c, learning_rate=learning_rate)
    if step is None:
        return 2 / ((1 - beta) * learning_rate) - weight_decay
    t = np.asarray(step, dtype=float)
    if t.size == 0 or not np.all(t >= 1):
        raise ValueError(f"step={step!r}: allowed are steps from 1 on")
    c = _coefficient(t, beta, decoupling_c)
    threshold = (4 - 2 * c) / (learning_rate * (2 * (1 - beta) + c * (2 * beta - 1))) - weight_decay
    return threshold if threshold.ndim else float(threshold)


def step_matrix(sharpness: float, learning_rate: float, *, beta: float, c: float) -> Array:
    r"""One step of Schedule-Free descent on :math:`\tfrac12 a w^2` with coefficient `c` fixed, on (x, z), shape (2, 2)."""
    a = learning_rate * sharpness
    fast = np.array([-a * beta, 1 - a * (1 - beta)])
    return np.array([(1 - c) * np.array([1.0, 0.0]) + c * fast, fast])


# Central flows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    r"""A central flow: the path that an oscillating run follows on average.

    Attributes
    ----------
    times : ndarray, shape (n,)
        In steps.
    points : ndarray, shape (n, d)
    sharpness : ndarray, shape (n,)
        Largest eigenvalue of the Hessian, divided by :math:`\sqrt\nu` for the adaptive method.
    variance : ndarray, shape (n,)
        :math:`\sigma^2`, mean square of the oscillation along the sharpest direction; 0 where it is stable.
    moment : ndarray, shape (n,)
        :math:`\nu`; ones for gradient descent.
    """

    times: Array
    points: Array
    sharpness: Array
    variance: Array
    moment: Array


def sharpness(objective: Objective, w: ArrayLike) -> float:
    """Largest eigenvalue of the Hessian."""
    return float(np.linalg.eigvalsh(objective.hessian(w))[-1])


def sharpness_gradient(objective: Objective, w: ArrayLike, *, distance: float = 1e-4) -> Array:
    """Gradient of the sharpness, by central differences of the Hessian between top eigenvectors, shape (d,)."""
    w = np.asarray(w, dtype=float)
    top = np.linalg.eigh(objective.hessian(w))[1][:, -1]
    shifts = distance * np.eye(len(w))
    return np.array(
        [top @ (objective.hessian(w + s) - objective.hessian(w - s)) @ top / (2 * distance) for s in shifts]
    )


def oscillation_variance(
    objective: Objective,
    w: ArrayLike,
    *,
    learning_rate: float,
    beta: float,
    beta2: float = 0.99,
    method: Literal["sgd", "scalar_adam"] = "scalar_adam",
) -> float:
    r"""Size of the oscillation that keeps the sharpness at its threshold, :math:`\sigma^2`.

    With :math:`\eta = (1-\beta)\gamma` it is :math:`2\langle-\nabla f,\nabla S\rangle/\|\nabla S\|^2` for gradient
    descent; for one adaptive scalar step size

    .. math::
        \sigma^2 = \frac{\beta_2\langle-\nabla f,\nabla S\rangle + (1-\beta_2)[S^2/4 - \|\nabla f\|^2/\eta^2]}
        {\tfrac12\beta_2\|\nabla S\|^2 + (1-\beta_2) S^2/\eta^2}.

    Parameters
    ----------
    objective : Objective
    w : array, shape (d,)
        A point on the time average of the run.
    learning_rate, beta, beta2 : float
    method : {"sgd", "scalar_adam"}

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    _check(beta=beta, learning_rate=learning_rate)
    slope, turn = objective.gradient(w), sharpness_gradient(objective, w)
    if method == "sgd":
        return float(-2 * slope @ turn / (turn @ turn))
    if method != "scalar_adam":
        raise ValueError(f"method={method!r}; allowed are 'sgd' and 'scalar_adam'")
    eta, s = (1 - beta) * learning_rate, sharpness(objective, w)
    above = -beta2 * slope @ turn + (1 - beta2) * (s**2 / 4 - slope @ slope / eta**2)
    return float(above / (beta2 * turn @ turn / 2 + (1 - beta2) * s**2 / eta**2))


def central_flow(
    objective: Objective,
    start: ArrayLike,
    *,
    learning_rate: float,
    beta: float,
    num_steps: int,
    beta2: float = 0.99,
    method: Literal["sgd", "scalar_adam"] = "scalar_adam",
    time_step: float = 1.0,
) -> Flow:
    r"""The central flow of Schedule-Free descent: what is left of a run when its oscillation is averaged out.

    :math:`\dot y = -\eta\,[\nabla f + \tfrac12\sigma^2\nabla S]`, :math:`\eta = (1-\beta)\gamma`. The variance
    :math:`\sigma^2 \ge 0` is the smallest that keeps the sharpness from exceeding its threshold :math:`2/\eta`. In the
    adaptive method all is divided by :math:`\sqrt\nu`, with
    :math:`\dot\nu = \tfrac{1-\beta_2}{\beta_2}[\|\nabla f\|^2 + S^2\sigma^2 - \nu]`.

    Parameters
    ----------
    objective : Objective
    start : array, shape (d,)
    learning_rate, beta, beta2 : float
    num_steps : int
        Length, in steps of the method.
    method : {"sgd", "scalar_adam"}
        The adaptive one has a single second moment for all coordinates.
    time_step : float
        Of the integration, in steps of the method.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """
    _check(num_steps=num_steps, beta=beta, learning_rate=learning_rate)
    if method not in ("sgd", "scalar_adam"):
        raise ValueError(f"method={method!r}; allowed are 'sgd' and 'scalar_adam'")
    if not 0 < time_step <= num_steps:
        raise ValueError(f"time_step={time_step!r}: must be positive and at most num_steps={num_steps!r}")
    adaptive, eta = method == "scalar_adam", (1 - beta) * learning_rate
    y = np.array(start, dtype=float)
    nu = float(objective.gradient(y) @ objective.gradient(y)) if adaptive else 1.0
    count = math.ceil(num_steps / time_step)
    path: list[tuple[float, Array, float, float, float]] = []
    for k in range(count + 1):
        slope, turn = objective.gradient(y), sharpness_gradient(objective, y)
        s = sharpness(objective, y)
        memory = (1 - beta2) / beta2 if adaptive else 0.0
        root = math.sqrt(nu)
        # the excess S - 2 sqrt(nu) / eta after a step is linear in the variance: where the latter has to be
        # positive, it is what brings the excess to zero
        excess = s - 2 * root / eta
        free = -eta / root * slope @ turn - memory * (slope @ slope - nu) / (eta * root)
        relief = eta / (2 * root) * turn @ turn + memory * s**2 / (eta * root)
        variance = max(0.0, float((excess / time_step + free) / relief))
        path.append((k * time_step, y, s / root, variance, nu))
        y = y - time_step * eta / root * (slope + variance / 2 * turn)
        nu = float(nu + time_step * memory * (slope @ slope + s**2 * variance - nu))
    times, points, ratios, variances, moments = (np.array(column) for column in zip(*path, strict=True))
    return Flow(times, points, ratios, variances, moments)


def stall_point(learning_rate: ArrayLike, *, beta: ArrayLike) -> Array:
    r"""Where on the toy river Schedule-Free AdamW comes to rest: :math:`w_1^* = W\big(4/((1-\beta)\gamma)^2\big)`.

    On the river, :math:`S \approx w_1^2`. The pull of the loss, :math:`e^{-w_1}`, and the push of the oscillation,
    :math:`\tfrac12\sigma^2\,\partial_1 S = \sigma^2 w_1` with :math:`\sigma = (1-\beta)\gamma/2`, cancel there;
    :math:`W` is Lambert's function.

    Parameters
    ----------
    learning_rate, beta : float or array

    Returns
    -------
    ndarray
    """
    return np.real(lambertw(4 / ((1 - np.asarray(beta)) * np.asarray(learning_rate)) ** 2))


# Checks --------------------------------------------------------------------------------------------------------------


def _coefficient(t: Array, beta: float, decoupling_c: float | None) -> Array:
    if decoupling_c is None:
        return 1 / t
    return np.where(t == 1, 1.0, np.minimum((1 - beta) * decoupling_c / t, 1.0))


def _check(
    *,
    beta: float,
    num_steps: int | None = None,
    decoupling_c: float | None = None,
    learning_rate: float | None = None,
) -> None:
    if not 0 <= beta < 1:
        raise ValueError(f"beta={beta!r}: allowed are values in [0, 1)")
    if num_steps is not None and not (isinstance(num_steps, (int, np.integer)) and num_steps >= 1):
        raise ValueError(f"num_steps={num_steps!r}: must be a positive whole number")
    if decoupling_c is not None and not (decoupling_c >= 1 and math.isfinite(decoupling_c)):
        raise ValueError(f"decoupling_c={decoupling_c!r}: must be None or a finite number of at least 1")
    if learning_rate is not None and not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate={learning_rate!r}: must be a positive finite number")
