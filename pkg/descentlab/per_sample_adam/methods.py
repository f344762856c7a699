r"""The methods, as compiled loops in a floating log scale.

Gradients of separable data shrink like :math:`e^{-z}` with margins `z` in the hundreds, so their squares leave the range
of float64 at margin 370. The loops therefore keep :math:`2^k m` and :math:`4^k v` with an integer `k` that follows the size
of the gradients. Adam and Signum do not see a common factor, and powers of two do not round: the iterates are those of
exact arithmetic, to rounding, at any margin.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentlab.compiled import njit
from descentlab.geometry import (
    LOG_SLOPES,
    Loss,
    Order,
    Trajectory,
    as_samples,
    log_slope_exponential,
    log_slope_logistic,
    recorded_steps,
)

ORDERS = ("cyclic", "reshuffled", "replacement")
_LN2 = math.log(2.0)
_MAX_SHIFT = 200.0  # bits that m may drift from size one before it is rescaled; v drifts by twice as many


def adam(
    X: ArrayLike,
    *,
    num_steps: int,
    batch_size: int = 1,
    betas: tuple[float, float] = (0.9, 0.95),
    learning_rate: float = 0.1,
    decay: float = 0.5,
    order: Order = "cyclic",
    eps: float = 0.0,
    loss: Loss = "logistic",
    w0: ArrayLike | None = None,
    seed: int = 0,
    record: ArrayLike | None = None,
) -> Trajectory:
    r"""Adam without bias correction on linear classification, one batch a step.

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \\
        w \leftarrow w - \eta\,(t+2)^{-a}\, m / (\sqrt v + \varepsilon),

    with `g` the mean gradient of the batch, `t` the step counted from 0, and 0/0 taken as 0.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples with labels folded in.
    num_steps : int
        Number of updates (steps, not epochs).
    batch_size : int
        Samples a step; divides N. ``batch_size=len(X)`` is full batch.
    betas : (float, float)
        :math:`\beta_1` and :math:`\beta_2`, in [0, 1).
    learning_rate, decay : float
        :math:`\eta` and `a`; not negative.
    order : {"cyclic", "reshuffled", "replacement"}
        Fixed contiguous batches in turn; batches of a fresh permutation an epoch; samples drawn uniformly at each step.
    eps : float
        :math:`\varepsilon`; not negative.
    loss : {"logistic", "exponential"}
    w0 : array_like, shape (d,), optional
        Start; zero by default.
    seed : int
        Of the random orders.
    record : array_like of int, optional
        Step counts to keep; by default about 200 log-spaced ones, half-way and last included.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        For an argument outside its range, naming it.

    Warns
    -----
    UserWarning
        If :math:`\beta_1^2 \ge \beta_2` with :math:`\beta_1 > 0`: :math:`|m|/\sqrt v` is then unbounded.

    Notes
    -----
    arXiv 2510.26303, section 2. Updates are bounded because, by Cauchy-Schwarz over the past gradients,
    :math:`m^2/v \le \frac{(1-\beta_1)^2}{1-\beta_2} \sum_s (\beta_1^2/\beta_2)^s`, which converges only for
    :math:`\beta_1^2 < \beta_2`.
    """
    beta1, beta2 = (_decay_rate("betas", b, betas) for b in betas)
    if beta1 > 0 and beta1**2 >= beta2:
        warnings.warn(
            f"betas={betas}: beta1**2 >= beta2, so updates m/sqrt(v) are unbounded and the iterates may diverge; "
            f"choose beta2 > {beta1**2:g}",
            UserWarning,
            stacklevel=2,
        )
    if not eps >= 0:
        raise ValueError(f"eps={eps!r} must not be negative")
    return _run(
        _adam_loop, X, (beta1, beta2, float(eps)), batch_size=batch_size, order=order, loss=loss, seed=seed,
        num_steps=num_steps, learning_rate=learning_rate, decay=decay, w0=w0, record=record,
    )  # fmt: skip


def signum(
    X: ArrayLike,
    *,
    num_steps: int,
    batch_size: int = 1,
    beta: float = 0.9,
    learning_rate: float = 0.1,
    decay: float = 0.5,
    order: Order = "cyclic",
    loss: Loss = "logistic",
    w0: ArrayLike | None = None,
    seed: int = 0,
    record: ArrayLike | None = None,
) -> Trajectory:
    r"""Signum, the sign of momentum: :math:`m \leftarrow \beta m + (1-\beta) g`, :math:`w \leftarrow w - \eta_t \operatorname{sign} m`.

    With ``beta=0`` and full batches it is sign descent. The momentum remembers :math:`1/(1-\beta)` steps, in which the
    margins must move by much less than one: scale `learning_rate` with :math:`1-\beta`. Arguments, errors and return
    value are those of `adam`. Source: arXiv 2510.26303, section 5.
    """
    beta = _decay_rate("beta", beta, beta)
    return _run(
        _signum_loop, X, (beta, 0.0, 0.0), batch_size=batch_size, order=order, loss=loss, seed=seed,
        num_steps=num_steps, learning_rate=learning_rate, decay=decay, w0=w0, record=record,
    )  # fmt: skip


def adam_proxy(
    X: ArrayLike,
    *,
    num_steps: int,
    learning_rate: float = 0.1,
    decay: float = 0.5,
    loss: Loss = "logistic",
    w0: ArrayLike | None = None,
    record: ArrayLike | None = None,
) -> Trajectory:
    r"""AdamProxy, the :math:`\beta_2 \to 1` limit of per-sample Adam.

    .. math:: w \leftarrow w - \eta_t \sum_i \nabla L_i(w) \Big/ \sqrt{\textstyle\sum_i \nabla L_i(w)^2}

    Arguments, errors and return value are those of `adam`; every step uses all samples. Source: arXiv 2510.26303,
    section 4.
    """
    return _run(
        _proxy_loop, X, (0.0, 0.0, 0.0), batch_size=None, order="cyclic", loss=loss, seed=0,
        num_steps=num_steps, learning_rate=learning_rate, decay=decay, w0=w0, record=record,
    )  # fmt: skip


def gradient_descent(
    X: ArrayLike,
    *,
    num_steps: int,
    batch_size: int | None = None,
    learning_rate: float = 0.1,
    decay: float = 0.0,
    order: Order = "cyclic",
    loss: Loss = "logistic",
    w0: ArrayLike | None = None,
    seed: int = 0,
    record: ArrayLike | None = None,
) -> Trajectory:
    r"""(Stochastic) gradient descent, :math:`w \leftarrow w - \eta_t\, g`; full batch unless `batch_size` is given.

    Arguments, errors and return value are those of `adam`.
    """
    return _run(
        _gradient_loop, X, (0.0, 0.0, 0.0), batch_size=batch_size, order=order, loss=loss, seed=seed,
        num_steps=num_steps, learning_rate=learning_rate, decay=decay, w0=w0, record=record,
    )  # fmt: skip


def _decay_rate(name: str, value: float, given: object) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name}={given!r}: every entry must lie in [0, 1)")
    return float(value)


def _run(
    loop: Any,
    X: ArrayLike,
    constants: tuple[float, float, float],
    *,
    num_steps: int,
    batch_size: int | None,
    learning_rate: float,
    decay: float,
    order: str,
    loss: str,
    w0: ArrayLike | None,
    seed: int,
    record: ArrayLike | None,
) -> Trajectory:
    """Check the arguments that the methods share, run the compiled loop, and pack its records."""
    X = as_samples(X)
    num_samples, dim = X.shape
    batch_size = num_samples if batch_size is None else batch_size
    if int(batch_size) != batch_size or batch_size < 1 or num_samples % batch_size:
        divisors = [b for b in range(1, num_samples + 1) if num_samples % b == 0]
        raise ValueError(f"batch_size={batch_size!r} does not divide the {num_samples} samples; allowed are {divisors}")
    for name, value in (("learning_rate", learning_rate), ("decay", decay)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}={value!r} must be finite and not negative")
    if order not in ORDERS:
        raise ValueError(f"order={order!r}; allowed are {', '.join(map(repr, ORDERS))}")
    if loss not in LOG_SLOPES:
        raise ValueError(f"loss={loss!r}; allowed are {', '.join(map(repr, LOG_SLOPES))}")
    start = np.zeros(dim) if w0 is None else np.array(w0, dtype=np.float64)
    if start.shape != (dim,) or not np.all(np.isfinite(start)):
        raise ValueError(f"w0 has shape {start.shape}; expected ({dim},) with finite entries, one a feature of X")
    steps = recorded_steps(num_steps, record)
    weights = loop(
        X, start, steps, int(batch_size), ORDERS.index(order), np.random.default_rng(seed), loss == "exponential",
        float(learning_rate), float(decay), *constants,
    )  # fmt: skip
    return Trajectory(steps, weights)


@njit
def _fill_batch(batch, permutation, step, order, rng):
    """Indices of the samples of a step: batches in turn, of a permutation renewed each epoch, or drawn afresh."""
    num_samples, size = len(permutation), len(batch)
    position = (step * size) % num_samples
    if order == 1 and position == 0:
        for i in range(num_samples - 1, 0, -1):
            j = rng.integers(0, i + 1)
            permutation[i], permutation[j] = permutation[j], permutation[i]
    for i in range(size):
        batch[i] = rng.integers(0, num_samples) if order == 2 else permutation[position + i]


@njit(fastmath={"reassoc", "contract"})  # free order of summation: vector instructions, no call into BLAS
def _dot(u, v):
    total = 0.0
    for k in range(len(u)):
        total += u[k] * v[k]
    return total


@njit
def _log_slopes(X, w, batch, exponential, logs):
    """Fill in the logarithms of the samples' loss slopes and return the largest, in bits."""
    largest = -np.inf
    for i in range(len(batch)):
        z = _dot(X[batch[i]], w)
        logs[i] = log_slope_exponential(z) if exponential else log_slope_logistic(z)
        largest = max(largest, logs[i])
    return largest / _LN2


@njit
def _clip(bits):
    """A power of two as an integer exponent, cut where it is zero or infinite beside anything in range anyway."""
    return int(min(max(bits, -4000.0), 4000.0))


@njit
def _shifted_exp(log_value, shift):
    """``exp(log_value) * 2**shift``, rounded the same for every shift, so that rescaling never changes an iterate."""
    bits = math.floor(log_value / _LN2)
    return math.ldexp(math.exp(log_value - bits * _LN2), _clip(bits + shift))


@njit
def _rescale(moment, beta, change):
    """Multiply a moment by ``2**change``, without rounding; one that the next step forgets must not overflow."""
    for k in range(len(moment)):
        moment[k] = math.ldexp(moment[k], change) if beta > 0 else 0.0


@njit
def _batch_gradient(X, batch, logs, shift, gradient):
    """Fill in ``2**shift`` times the negative gradient of the batch's mean loss."""
    for i in range(len(batch)):
        weight, row = _shifted_exp(logs[i], shift) / len(batch), X[batch[i]]
        for k in range(len(gradient)):
            gradient[k] = weight * row[k] if i == 0 else gradient[k] + weight * row[k]


@njit
def _adam_loop(X, w, steps, size, order, rng, exponential, learning_rate, decay, beta1, beta2, eps):
    weights = np.empty((len(steps), len(w)))
    batch, permutation = np.empty(size, np.int64), np.arange(len(X))
    logs, g, m, v = np.empty(size), np.empty_like(w), np.zeros_like(w), np.zeros_like(w)
    shift, m_bits, v_bits = 0.0, -np.inf, -np.inf  # true sizes of m and sqrt(v) in bits, bounded from above
    m_decay, v_decay = np.log2(beta1), 0.5 * np.log2(beta2)
    first = 0
    for r in range(len(steps)):
        for t in range(first, steps[r]):
            _fill_batch(batch, permutation, t, order, rng)
            bits = _log_slopes(X, w, batch, exponential, logs)
            if not np.isfinite(bits):  # the iterates have left float64: no further step brings them back
                weights[r:] = w
                return weights
            m_bits, v_bits = max(m_bits + m_decay, bits), max(v_bits + v_decay, bits)
            if abs(max(m_bits, v_bits) + shift) > _MAX_SHIFT:
                change = _clip(-np.round(max(m_bits, v_bits)) - shift)
                shift = -np.round(max(m_bits, v_bits))
                _rescale(m, beta1, change)
                _rescale(v, beta2, 2 * change)
            step_size = learning_rate * (t + 2.0) ** -decay
            floor = math.ldexp(eps, _clip(shift)) if eps > 0 else 0.0
            _batch_gradient(X, batch, logs, shift, g)
            for k in range(len(w)):
                m[k] = beta1 * m[k] + (1 - beta1) * g[k]
                v[k] = beta2 * v[k] + (1 - beta2) * (g[k] * g[k])
                scale = np.sqrt(v[k]) + floor
                w[k] += step_size * (m[k] / scale if scale > 0 else 0.0)  # 0/0 is 0; g is the negative gradient
        first = steps[r]
        weights[r] = w
    return weights


@njit
def _signum_loop(X, w, steps, size, order, rng, exponential, learning_rate, decay, beta, _1, _2):
    weights = np.empty((len(steps), len(w)))
    batch, permutation = np.empty(size, np.int64), np.arange(len(X))
    logs, g, m = np.empty(size), np.empty_like(w), np.zeros_like(w)
    shift, m_bits, m_decay = 0.0, -np.inf, np.log2(beta)
    first = 0
    for r in range(len(steps)):
        for t in range(first, steps[r]):
            _fill_batch(batch, permutation, t, order, rng)
            m_bits = max(m_bits + m_decay, _log_slopes(X, w, batch, exponential, logs))
            if abs(m_bits + shift) > _MAX_SHIFT:
                change = _clip(-np.round(m_bits) - shift)
                shift = -np.round(m_bits)
                _rescale(m, beta, change)
            _batch_gradient(X, batch, logs, shift, g)
            step_size = learning_rate * (t + 2.0) ** -decay
            for k in range(len(w)):
                m[k] = beta * m[k] + (1 - beta) * g[k]
                w[k] += step_size * np.sign(m[k])
        first = steps[r]
        weights[r] = w
    return weights


@njit
def _proxy_loop(X, w, steps, size, order, rng, exponential, learning_rate, decay, _1, _2, _3):
    weights = np.empty((len(steps), len(w)))
    batch, logs = np.arange(len(X)), np.empty(len(X))
    numerator, squares = np.empty_like(w), np.empty_like(w)
    first = 0
    for r in range(len(steps)):
        for t in range(first, steps[r]):
            shift = -np.round(_log_slopes(X, w, batch, exponential, logs))
            numerator[:], squares[:] = 0.0, 0.0
            for i in range(len(X)):
                weight, row = _shifted_exp(logs[i], shift), X[i]
                for k in range(len(w)):
                    numerator[k] += weight * row[k]
                    squares[k] += (weight * row[k]) ** 2
            step_size = learning_rate * (t + 2.0) ** -decay
            for k in range(len(w)):
                w[k] += step_size * (numerator[k] / np.sqrt(squares[k]) if squares[k] > 0 else 0.0)
        first = steps[r]
        weights[r] = w
    return weights


@njit
def _gradient_loop(X, w, steps, size, order, rng, exponential, learning_rate, decay, _1, _2, _3):
    weights = np.empty((len(steps), len(w)))
    batch, permutation = np.empty(size, np.int64), np.arange(len(X))
    logs, g = np.empty(size), np.empty_like(w)
    first = 0
    for r in range(len(steps)):
        for t in range(first, steps[r]):
            _fill_batch(batch, permutation, t, order, rng)
            _log_slopes(X, w, batch, exponential, logs)
            _batch_gradient(X, batch, logs, 0.0, g)
            step_size = learning_rate * (t + 2.0) ** -decay
            for k in range(len(w)):
                w[k] += step_size * g[k]
        first = steps[r]
        weights[r] = w
    return weights
