r"""The implicit bias of Adam with one sample a step.

Beomhan Baek, Minhak Song, Chulhee Yun: *Implicit Bias of Per-sample Adam on Separable Data: Departure from the
Full-batch Regime*, ICLR 2026, arXiv 2510.26303.

Logistic regression on separable data drives the weights to infinity; the optimizer decides in which direction. With full
batches Adam maximises the :math:`\ell_\infty` margin. With one sample a step it does not: its second moment averages the
squares of single gradients, and the limit maximises a margin in a norm that depends on the data.

.. math::
    m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \\
    w \leftarrow w - \eta\,(t+2)^{-a}\, m / (\sqrt v + \varepsilon)

=====================================  =========================
paper                                  here
=====================================  =========================
rows :math:`y_i x_i`                   `X`, or `X` and `y`
:math:`\beta_1, \beta_2`               `betas`
:math:`\eta_0`, exponent :math:`a`     `learning_rate`, `decay`
batch size :math:`b`                   `batch_size`
Det-, Inc-, RR-Adam                    `batch_size=len(X)`, `order="cyclic"`, `order="reshuffled"`
dual weights :math:`c`                 `FixedPoint.dual`
:math:`\hat w_2, \hat w_\infty`        `geometry.l2_max_margin`, `geometry.linf_max_margin`
=====================================  =========================

>>> import numpy as np
>>> X = np.random.default_rng(0).standard_normal((10, 50))
>>> run = adam(X, num_steps=100_000)                        # one sample a step
>>> limit = adam_limit(X, betas=(0.9, 0.95)).direction      # where it goes, without a run
>>> bool(geometry.misalignment(run.increment(), limit) < 1e-6)
True
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root
from scipy.special import logsumexp

from descentlab import checks, geometry
from descentlab.compiled import njit
from descentlab.geometry import LOG_SLOPES, Array, Loss, Order, Trajectory, log_slope_exponential, log_slope_logistic

__all__ = ["FixedPoint", "adam", "adam_fixed_point", "adam_limit", "adam_proxy", "gradient_descent", "signum"]

ORDERS = ("cyclic", "reshuffled", "replacement")

# -- the methods, in a floating log scale ------------------------------------------------------------------------------
#
# Gradients of separable data shrink like exp(-z) with margins z in the hundreds, so that their squares leave the range of
# float64 at margin 372. The loop keeps 2**k m and 4**k v with an integer k that follows the size of the gradients, and
# divides each column of X by a power of two. Adam and Signum see neither factor, and powers of two do not round: the
# iterates are those of exact arithmetic, to rounding, at any margin and any scale of the data.


def adam(
    X: ArrayLike, y: ArrayLike | None = None, *, num_steps: int, batch_size: int = 1, betas: tuple[float, float] = (0.9, 0.95),
    learning_rate: float = 0.1, decay: float = 0.5, order: Order = "cyclic", eps: float = 0.0, loss: Loss = "logistic",
    w0: ArrayLike | None = None, seed: int = 0, record: ArrayLike | None = None,
) -> Trajectory:  # fmt: skip
    r"""Adam without bias correction on linear classification, one batch a step.

    The update is that of the module's head, with `g` the mean gradient of the batch, `t` the step counted from 0, and
    0/0 taken as 0.

    Parameters
    ----------
    X : array_like, shape (N, d)
        Samples; with labels folded in (:math:`y_i x_i`) where `y` is not given.
    y : array_like, shape (N,), optional
        Labels +1 and -1.
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
    arXiv 2510.26303, section 2. By Cauchy-Schwarz over the past gradients, :math:`m^2/v \le
    \frac{(1-\beta_1)^2}{1-\beta_2} \sum_s (\beta_1^2/\beta_2)^s`, which converges only for :math:`\beta_1^2 < \beta_2`.
    """
    beta1, beta2 = _betas(betas)
    if beta1 > 0 and beta1**2 >= beta2:
        advice = f"beta1**2 >= beta2, so updates m/sqrt(v) are unbounded; choose beta2 > {beta1**2:g}"
        warnings.warn(f"betas={betas}: {advice}", UserWarning, stacklevel=2)
    eps = checks.real("eps", eps, least=0)
    return _run(_ADAM, X, y, batch_size, (beta1, beta2, eps), num_steps, learning_rate, decay, order, loss, w0, seed, record)  # fmt: skip


def signum(
    X: ArrayLike, y: ArrayLike | None = None, *, num_steps: int, batch_size: int = 1, beta: float = 0.9,
    learning_rate: float = 0.1, decay: float = 0.5, order: Order = "cyclic", loss: Loss = "logistic",
    w0: ArrayLike | None = None, seed: int = 0, record: ArrayLike | None = None,
) -> Trajectory:  # fmt: skip
    r"""Signum, the sign of momentum: :math:`m \leftarrow \beta m + (1-\beta) g`, :math:`w \leftarrow w - \eta_t \operatorname{sign} m`.

    With ``beta=0`` and full batches it is sign descent. The momentum remembers :math:`1/(1-\beta)` steps, in which the
    margins must move by much less than one: scale `learning_rate` with :math:`1-\beta`. Arguments, errors and return
    value are those of `adam`. Source: arXiv 2510.26303, section 5.
    """
    beta = checks.real("beta", beta, least=0, below=1)
    return _run(_SIGNUM, X, y, batch_size, (beta, 0.0, 0.0), num_steps, learning_rate, decay, order, loss, w0, seed, record)  # fmt: skip


def adam_proxy(
    X: ArrayLike, y: ArrayLike | None = None, *, num_steps: int, learning_rate: float = 0.1, decay: float = 0.5,
    loss: Loss = "logistic", w0: ArrayLike | None = None, record: ArrayLike | None = None,
) -> Trajectory:  # fmt: skip
    r"""AdamProxy, the :math:`\beta_2 \to 1` limit of per-sample Adam.

    .. math:: w \leftarrow w - \eta_t \sum_i \nabla L_i(w) \Big/ \sqrt{\textstyle\sum_i \nabla L_i(w)^2}

    Arguments, errors and return value are those of `adam`; every step uses all samples. Source: arXiv 2510.26303,
    section 4.
    """
    return _run(_PROXY, X, y, None, (0.0, 0.0, 0.0), num_steps, learning_rate, decay, "cyclic", loss, w0, 0, record)


def gradient_descent(
    X: ArrayLike, y: ArrayLike | None = None, *, num_steps: int, batch_size: int | None = None,
    learning_rate: float = 0.1, decay: float = 0.0, order: Order = "cyclic", loss: Loss = "logistic",
    w0: ArrayLike | None = None, seed: int = 0, record: ArrayLike | None = None,
) -> Trajectory:  # fmt: skip
    r"""(Stochastic) gradient descent, :math:`w \leftarrow w - \eta_t\, g`; full batch unless `batch_size` is given.

    Arguments, errors and return value are those of `adam`.
    """
    return _run(_DESCENT, X, y, batch_size, (0.0, 0.0, 0.0), num_steps, learning_rate, decay, order, loss, w0, seed, record)  # fmt: skip


_ADAM, _SIGNUM, _PROXY, _DESCENT = range(4)
_LN2 = math.log(2.0)
_MAX_SHIFT = 200.0  # bits that m may drift from size one before it is rescaled; v drifts by twice as many
_SAMPLES_A_CALL = 10_000_000  # that compiled code takes in without looking for an interrupt


def _betas(betas: tuple[float, float]) -> tuple[float, float]:
    try:
        first, second = (checks.real("betas", b, least=0, below=1) for b in betas)
    except (TypeError, ValueError) as error:
        raise ValueError(f"betas={betas!r}: two numbers in [0, 1) expected") from error
    return first, second


def _run(
    method: int, X: ArrayLike, y: ArrayLike | None, batch_size: int | None, constants: tuple[float, float, float],
    num_steps: int, learning_rate: float, decay: float, order: str, loss: str, w0: ArrayLike | None, seed: int,
    record: ArrayLike | None,
) -> Trajectory:  # fmt: skip
    """Check the arguments that the methods share, and run the compiled loop from one record to the next."""
    X = geometry.as_samples(X, y)
    size = len(X) if batch_size is None else checks.divisor("batch_size", batch_size, len(X))
    rate, decay = checks.real("learning_rate", learning_rate, least=0), checks.real("decay", decay, least=0)
    which, exponential = checks.one_of("order", order, ORDERS), checks.one_of("loss", loss, LOG_SLOPES) == "exponential"
    w = np.zeros(X.shape[1]) if w0 is None else checks.vector("w0", w0, X.shape[1])
    steps = geometry.recorded_steps(num_steps, record)
    bits = np.where(X.any(axis=0) & (method != _DESCENT), np.frexp(np.abs(X).max(axis=0))[1], 0)
    rows = np.ldexp(X, -bits)
    beta1, beta2, eps = constants
    m, v, scale = np.zeros_like(w), np.zeros_like(w), np.array([0.0, -np.inf, -np.inf])
    fixed = (X, rows, method, ORDERS.index(which), np.random.default_rng(seed), exponential, rate, decay, beta1, beta2)
    scratch = (np.empty(size, np.int64), np.arange(len(X)), np.empty(size))
    weights, at, stride = np.empty((len(steps), len(w))), 0, max(1, _SAMPLES_A_CALL // (size * len(w)))
    for r, end in enumerate(steps):
        while at < end:
            stop = min(at + stride, int(end))
            _advance(*fixed, eps, bits, at, stop, w, m, v, scale, *scratch)
            at = stop
        weights[r] = w
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
def _clip(bits):
    """A power of two as an integer exponent, cut where it is zero or infinite beside anything in range anyway."""
    return int(min(max(bits, -4000.0), 4000.0))


@njit
def _shifted_exp(log_value, shift):
    """``exp(log_value) * 2**shift``, rounded the same for every shift, so that rescaling never changes an iterate."""
    bits = math.floor(log_value / _LN2)
    return math.ldexp(math.exp(log_value - bits * _LN2), _clip(bits + shift))


@njit
def _advance(
    X, rows, method, order, rng, exponential, rate, decay, beta1, beta2, eps, column_bits, first, last,
    w, m, v, scale, batch, permutation, logs,
):  # fmt: skip
    """Steps first … last - 1 in place; ``scale`` holds the shift k and the sizes of m and sqrt(v) in bits, from above."""
    size, dim = len(batch), len(w)
    g, squares, floor = np.empty(dim), np.empty(dim), np.zeros(dim)
    for k in range(dim if eps > 0 else 0):
        floor[k] = math.ldexp(eps, _clip(scale[0] - column_bits[k]))  # eps in the units of m and sqrt(v)
    for t in range(first, last):
        _fill_batch(batch, permutation, t, order, rng)
        largest = -np.inf
        for i in range(size):
            z = _dot(X[batch[i]], w)
            logs[i] = log_slope_exponential(z) if exponential else log_slope_logistic(z)
            largest = max(largest, logs[i])
        if not np.isfinite(largest):  # the iterates have left float64: no further step brings them back
            return
        if method == _PROXY:  # no memory: the shift is chosen afresh
            scale[0] = -np.round(largest / _LN2)
        elif method != _DESCENT:
            scale[1] = max(scale[1] + np.log2(beta1), largest / _LN2)
            scale[2] = max(scale[2] + 0.5 * np.log2(beta2), largest / _LN2) if method == _ADAM else -np.inf
            size_bits = max(scale[1], scale[2])
            if abs(size_bits + scale[0]) > _MAX_SHIFT:
                change = _clip(-np.round(size_bits) - scale[0])
                scale[0] = -np.round(size_bits)
                for k in range(dim):  # exactly, without rounding; what the next step forgets must not overflow
                    m[k] = math.ldexp(m[k], change) if beta1 > 0 else 0.0
                    v[k] = math.ldexp(v[k], 2 * change) if beta2 > 0 else 0.0
                    floor[k] = math.ldexp(eps, _clip(scale[0] - column_bits[k])) if eps > 0 else 0.0
        shift, step_size = scale[0], rate * (t + 2.0) ** -decay
        for i in range(size):  # g: 2**shift times the negative gradient of the mean loss, columns of `rows` scaled
            weight, row = _shifted_exp(logs[i], shift), rows[batch[i]]
            weight = weight if method == _PROXY else weight / size
            for k in range(dim):
                g[k] = weight * row[k] if i == 0 else g[k] + weight * row[k]
            if method == _PROXY:
                for k in range(dim):
                    squares[k] = (weight * row[k]) ** 2 + (squares[k] if i > 0 else 0.0)
        if method == _ADAM:
            for k in range(dim):
                m[k] = beta1 * m[k] + (1 - beta1) * g[k]
                v[k] = beta2 * v[k] + (1 - beta2) * (g[k] * g[k])
                below = np.sqrt(v[k]) + floor[k]
                w[k] += step_size * (m[k] / below if below > 0 else 0.0)  # 0/0 is 0
        elif method == _SIGNUM:
            for k in range(dim):
                m[k] = beta1 * m[k] + (1 - beta1) * g[k]
                w[k] += step_size * np.sign(m[k])
        elif method == _PROXY:
            for k in range(dim):
                w[k] += step_size * (g[k] / np.sqrt(squares[k]) if squares[k] > 0 else 0.0)
        else:
            for k in range(dim):
                w[k] += step_size * g[k]


# -- where they go, without a run --------------------------------------------------------------------------------------
#
# Along the limit the gradients have fixed shares: sample i contributes c_i x_i. Shares can be stable only if all samples
# that keep one gain margin at the same rate, and the others gain faster. Equal rows have equal margins at all times, and
# therefore equal shares: the unknowns are the shares of the different rows.


@dataclass(frozen=True)
class FixedPoint:
    """A limit direction with the dual weights that carry it.

    Attributes
    ----------
    dual : ndarray, shape (N,)
        Shares of the samples in the gradient: non-negative, sum one; equal for equal rows.
    direction : ndarray, shape (d,)
        The limit direction, of Euclidean norm one.
    num_iterations : int
        Iterations used.
    unique : bool
        Whether other shares of the samples on the margin are ruled out: their different rows are linearly independent,
        which the paper assumes (Assumption 3.2).
    """

    dual: Array
    direction: Array
    num_iterations: int
    unique: bool


def adam_fixed_point(
    X: ArrayLike, y: ArrayLike | None = None, *, batch_size: int = 1, start: ArrayLike | None = None,
    tol: float = 1e-12, max_iterations: int = 10_000,
) -> FixedPoint:  # fmt: skip
    r"""Limit direction of cyclic mini-batch Adam as :math:`\beta_2 \to 1`, by the paper's fixed-point iteration.

    .. math::
        M(c) = \operatorname{diag}\sqrt{\textstyle\sum_B \big(\sum_{i \in B} c_i x_i\big)^2}, \qquad
        T(c) = \text{dual of } \min \tfrac12 w^\top M(c)\, w \text{ s.t. } Xw \ge 1, \qquad
        \hat w = M(c)^{-1} X^\top c .

    Parameters
    ----------
    X, y : array_like, shapes (N, d) and (N,)
        As in `adam`; consecutive rows form the batches.
    batch_size : int
        Divides N. The iteration is damped by one half above one; ``batch_size=len(X)`` is sign descent, whose limit
        is the :math:`\ell_\infty` max-margin direction.
    start : array_like, shape (N,), optional
        Dual weights to begin with, uniform by default; where there are several fixed points, starts lead to
        different ones.
    tol, max_iterations : float, int
        Stop once :math:`\|T(c) - c\|_1` is below `tol`; give up after so many iterations.

    Raises
    ------
    NotSeparableError
        If no direction separates the rows.
    ValueError
        For a batch size that does not divide N, or a start that is not a vector of non-negative weights.
    RuntimeError
        If the iteration does not settle on shares that make all gains equal to a millionth.

    Warns
    -----
    UserWarning
        If the shares are not unique: the limit may then depend on the order of the samples.

    Notes
    -----
    arXiv 2510.26303, Algorithm 3 and Theorem 4.8, for ``batch_size=1``; larger batches are our extension.
    """
    p = _Problem.of(X, y, batch_size, start)
    if len(p.batches) == 1:
        return p.sign_limit()
    damping, shares = 0.5 if batch_size > 1 else 0.0, p.start
    tol, max_iterations = checks.real("tol", tol, above=0), checks.whole("max_iterations", max_iterations, least=1)
    for iteration in range(1, max_iterations + 1):  # noqa: B007
        image = geometry.mahalanobis_max_margin(p.rows, p.second_moment(shares)).dual
        change = np.abs(image - shares).sum()
        shares = damping * shares + (1 - damping) * image
        if change < tol:
            break
    velocity = (shares @ p.rows) / p.second_moment(shares)
    if change >= tol or p.unequal(shares, velocity) > 1e-6:
        raise RuntimeError(
            f"adam_fixed_point did not settle in max_iterations={max_iterations}: the dual weights last changed by {change:.1e} "
            f"(tol={tol:g}), gains differ by {p.unequal(shares, velocity):.1e}; raise it, or try another start"
        )
    return p.result(shares, velocity, iteration)


def adam_limit(
    X: ArrayLike, y: ArrayLike | None = None, *, betas: tuple[float, float], batch_size: int = 1,
    start: ArrayLike | None = None, tol: float = 1e-12, max_iterations: int = 200_000,
) -> FixedPoint:  # fmt: skip
    r"""Limit direction of cyclic mini-batch Adam at finite betas.

    With the batches' shares :math:`g_j = \sum_{i \in B_j} c_i x_i` and `K` batches, an epoch moves the weights along

    .. math::
        u(c) = \sum_{i=1}^K \frac{\sum_j \beta_1^{(i-j) \bmod K} g_j}{\sqrt{\sum_j \beta_2^{(i-j) \bmod K} g_j^2}} .

    In the limit :math:`x_k^\top u(c)` is equal on the support of `c` and larger off it. Exponential loss makes the shares
    :math:`c = \operatorname{softmax}(-z)` follow :math:`\dot z = X u(c)`; that flow comes near, and Newton's method
    finishes. As :math:`\beta_2 \to 1` the limit is that of `adam_fixed_point`.

    Parameters
    ----------
    X, y, batch_size, start, max_iterations
        As in `adam_fixed_point`; batches are visited in turn.
    betas : (float, float)
        :math:`\beta_1` and :math:`\beta_2` in [0, 1).
    tol : float
        Largest relative spread of :math:`x_k^\top u` over the support.

    Raises
    ------
    ValueError
        As `adam_fixed_point` (which also tells of its warning), or for betas outside [0, 1).
    RuntimeError
        If the flow does not settle: then the method has no limit direction, or a degenerate one.

    Notes
    -----
    Derived from the epoch recurrence, arXiv 2510.26303, Proposition 2.5; not in the paper.
    """
    betas = _betas(betas)
    p = _Problem.of(X, y, batch_size, start)
    if len(p.batches) == 1:
        return p.sign_limit()
    geometry.l2_max_margin(p.rows)  # raises where nothing separates
    tol, max_iterations = checks.real("tol", tol, above=0), checks.whole("max_iterations", max_iterations, least=1)
    ages = np.subtract.outer(np.arange(len(p.batches)), np.arange(len(p.batches))) % len(p.batches)
    kernels = tuple(np.power(float(beta), ages) for beta in betas)  # 0**0 is 1: the newest batch alone

    z = -np.log(np.maximum(p.start, 1e-12))  # a share of exactly zero would stay zero, whatever its sample's gain
    step, attempt, spread = 1.0, 50, np.inf
    for iteration in range(1, max_iterations + 1):
        shares = np.exp(-z - logsumexp(-z))
        gains = p.rows @ p.displacement(shares, *kernels)
        if iteration == attempt:
            attempt *= 2
            spread = shares @ np.abs(gains - shares @ gains) / np.abs(gains).max()
            arrived = spread < tol and gains.min() >= (shares @ gains) * (1 - 1e-9)  # the flow itself
            solution = p.equalise_gains(shares, kernels, tol)
            if solution is not None or arrived:
                solution = shares if solution is None else solution
                return p.result(solution, p.displacement(solution, *kernels), iteration)
            if iteration > 3000:  # the flow should be near by now, unless its steps overshoot
                step /= 2
        z = z + step * gains / np.abs(gains).max()
        z = np.minimum(z - z.min(), 100.0)  # so that a share driven to zero by an overshoot can come back
    raise RuntimeError(
        f"adam_limit did not settle in max_iterations={max_iterations}: margins still grow at rates that differ by "
        f"{spread:.1e}, relatively; betas={betas} may have no single limit direction on these data"
    )


@dataclass(frozen=True)
class _Problem:
    """Different rows of the data, where they stand in the batches, and shares to start from."""

    rows: Array  # shape (U, d)
    group: Any  # which of them a sample is, shape (N,)
    copies: Array  # how many samples each is, shape (U,)
    batches: Array  # shape (K, b, d)
    start: Array  # shape (U,)

    @classmethod
    def of(cls, X: ArrayLike, y: ArrayLike | None, batch_size: int, start: ArrayLike | None) -> _Problem:
        X = geometry.as_samples(X, y)
        X = np.asarray(np.ldexp(X, -np.frexp(np.abs(X).max())[1]))  # squares stay in range; directions do not change
        size = checks.divisor("batch_size", batch_size, len(X))
        weights = np.ones(len(X)) if start is None else np.asarray(start, dtype=np.float64)
        if weights.shape != (len(X),) or not np.all(weights >= 0) or not 0 < weights.sum() < np.inf:
            raise ValueError(f"start={start!r} must hold {len(X)} non-negative weights, one a sample, not all zero")
        _, index, group = np.unique(X, axis=0, return_index=True, return_inverse=True)
        group = np.argsort(np.argsort(index))[group.ravel()]  # rows in the order of their first appearance
        copies, shares = np.bincount(group).astype(float), np.bincount(group, weights) / weights.sum()
        return cls(X[np.sort(index)], group, copies, X.reshape(-1, size, X.shape[1]), shares)

    def gradients(self, shares: Array) -> Array:
        """What each batch contributes, shape (K, d)."""
        dual = (shares / self.copies)[self.group]
        return np.einsum("kb,kbd->kd", dual.reshape(self.batches.shape[:2]), self.batches)

    def second_moment(self, shares: Array) -> Array:
        """Diagonal of M(c), shape (d,); coordinates that no share touches get a tiny weight, so that M has an inverse."""
        diagonal = np.sqrt((self.gradients(shares) ** 2).sum(axis=0))
        return np.maximum(diagonal, 1e-12 * diagonal.max())

    def displacement(self, shares: Array, first: Array, second: Array) -> Array:
        """An epoch's displacement, up to a factor, shape (d,)."""
        g = self.gradients(shares)
        scale = np.sqrt(second @ g**2)
        return np.divide(first @ g, scale, out=np.zeros_like(scale), where=scale > 0).sum(axis=0)

    def unequal(self, shares: Array, velocity: Array) -> float:
        """By how much gains differ, relatively: over the samples with a share, or below them on the others."""
        gains = self.rows @ velocity
        level = shares @ gains
        return max(np.abs(gains[shares > 1e-9] / level - 1).max(), 1 - gains.min() / level)

    def equalise_gains(self, shares: Array, kernels: Any, tol: float) -> Array | None:
        """Newton's method for equal gains on the support near `shares`; None unless it ends in an equilibrium to `tol`.

        The support is found as in an active-set method: begin with all shares that count, drop those that turn negative.
        """
        support = np.flatnonzero(shares > 1e-6 * shares.max())
        while support.size:
            reference = support[np.argmax(shares[support])]
            free = support[support != reference]

            def full(values: Array, reference: int = reference, free: Array = free) -> Array:
                filled = np.zeros(len(self.rows))
                filled[free], filled[reference] = values, 1 - values.sum()
                return filled

            def excess(values: Array, at: Any, full: Any = full, reference: int = reference) -> Array:
                gains = self.rows @ self.displacement(full(values), *kernels)
                return gains[at] / gains[reference] - 1.0

            values = shares[free] / shares[support].sum()
            values = root(excess, values, args=(free,), options={"xtol": 1e-15}).x if free.size else values
            solution = full(values)
            if solution.min() >= 0:
                equal = np.abs(excess(values, support)).max() <= max(tol, 1e-14 * len(self.rows))
                return solution if equal and excess(values, np.arange(len(self.rows))).min() >= -1e-9 else None
            support = np.flatnonzero(solution > 0)
        return None

    def sign_limit(self) -> FixedPoint:
        """Full batches: the l-infinity max-margin direction."""
        solution = geometry.linf_max_margin(self.rows)
        return self.result(solution.dual, solution.direction, 1)

    def result(self, shares: Array, velocity: Array, num_iterations: int) -> FixedPoint:
        gains = self.rows @ velocity
        on_margin = self.rows[gains <= gains.min() * (1 + 1e-8)]
        unique = bool(np.linalg.matrix_rank(on_margin) == len(on_margin))
        if not unique and len(self.batches) > 1:
            why = f"the {len(on_margin)} rows on the margin are linearly dependent (Assumption 3.2 of the paper excludes it)"
            advice = "the limit may depend on the order of the samples and on the start"
            warnings.warn(f"the shares are not unique: {why}; {advice}", UserWarning, stacklevel=3)
        direction = velocity / np.linalg.norm(velocity)
        return FixedPoint((shares / self.copies)[self.group], direction, num_iterations, unique)
