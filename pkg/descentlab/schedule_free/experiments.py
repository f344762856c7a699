"""The paper's experiments on small problems, as pure functions: no printing, no plotting."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from descentlab.schedule_free.optimizers import ScheduleFreeAdamW
from descentlab.schedule_free.river import RiverToy, Run, river_toy, run_adamw, run_schedule_free
from descentlab.schedule_free.theory import (
    Array,
    averaging_coefficients,
    oscillation_variance,
    stability_threshold,
    step_matrix,
)


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Noisy runs down the toy river.
    toy_steps, stall_steps : int
        Of the runs to the edge of stability, and to where the river's runs come to rest.
    edge_steps : int
        At most, of the network at the edge of stability.
    language_steps : int
        Of the language models that are trained in the chapter itself.
    seeds : tuple of int
        Of the recorded ones, which only the full scale trains anew.
    """

    num_seeds: int
    toy_steps: int
    stall_steps: int
    edge_steps: int
    language_steps: int
    seeds: tuple[int, ...] = (0, 1, 2, 3)


SMOKE = Config(64, 6_000, 3_000, 60, 40)
BOOK = Config(2_048, 6_001, 30_000, 2_500, 600)
FULL = Config(8_192, 6_001, 100_000, 5_000, 600)

# The methods of the noisy river: name, and None (AdamW), or beta and C
NOISY = {
    "AdamW, constant": None,
    "AdamW, decayed": None,
    "SF 0.1": (0.1, None),
    "SF 0.5": (0.5, None),
    "SF 0.9": (0.9, None),
    "SF 0.95": (0.95, None),
    "SF 0.1, C=20": (0.1, 20.0),
    "SF 0.5, C=20": (0.5, 20.0),
    "SF 0.9, C=50": (0.9, 50.0),
}


# The algorithms agree with one another --------------------------------------------------------------------------------


def optimizer_run(
    gradients: Array,
    *,
    beta: float,
    decoupling_c: float | None = None,
    learning_rate: float = 0.01,
    warmup_steps: int = 100,
    weight_decay: float = 0.1,
    dtype: torch.dtype = torch.float64,
    layout: str = "in-place",
) -> tuple[Array, Array]:
    """`ScheduleFreeAdamW` fed with given gradients; the first row is the start.

    Returns
    -------
    y, x : ndarray, shape (d,)
        After the last step.
    """
    p = torch.nn.Parameter(torch.tensor(gradients[0], dtype=dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that C is large beside the warmup
        optimizer = ScheduleFreeAdamW(
            [p],
            learning_rate,
            betas=(beta, 0.99),
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            decoupling_c=decoupling_c,
            layout=layout,  # type: ignore[arg-type]
        )
    optimizer.train()
    for g in gradients[1:]:
        p.grad = torch.as_tensor(g, dtype=dtype)
        optimizer.step()
    y = p.detach().double().numpy().copy()
    return y, optimizer.averages()[0].double().numpy()


def three_sequences(
    gradients: Array,
    *,
    beta: float,
    decoupling_c: float | None = None,
    power: float | None = None,
    learning_rate: float = 0.01,
    warmup_steps: int = 100,
    weight_decay: float = 0.1,
    first: int = 1,
) -> tuple[Array, Array]:
    r"""The same, in NumPy and word for word: `x`, `y` and `z` in memory of their own.

    Parameters
    ----------
    power : float, optional
        Average with weights :math:`t^r` instead of `C`, as the public package does.
    first : int
        1 is Algorithm 1; 2 numbers the average's coefficients one step later, so that the start stays in it.
    """
    x, z, v = gradients[0].copy(), gradients[0].copy(), np.zeros(gradients.shape[1])
    weights = 0.0
    for t, g in enumerate(gradients[1:], start=1):
        y = (1 - beta) * z + beta * x
        v = 0.99 * v + 0.01 * g**2
        rate = learning_rate * min(1.0, t / warmup_steps if warmup_steps else 1.0)
        z = z - rate * g / (np.sqrt(v / (1 - 0.99**t)) + 1e-8) - rate * weight_decay * y
        weight = rate**2 * (t**power if power is not None else 1.0)
        weights += weight if t > 1 or first == 1 else 2 * weight
        c = weight / weights
        c = c if decoupling_c is None else min(c * (1 - beta) * decoupling_c, 1.0)
        x = (1 - c) * x + c * z
    return (1 - beta) * z + beta * x, x


def random_gradients(num_steps: int = 2000, dim: int = 50, seed: int = 0) -> Array:
    """Standard normal numbers, the first row a start, shape (num_steps + 1, dim)."""
    return np.random.default_rng(seed).standard_normal((num_steps + 1, dim))


def momentum_gap(*, beta: float, num_steps: int = 400, seed: int = 0, averaged: bool = True) -> float:
    r"""Largest difference between `y` from the three sequences, and from its momentum form.

    :math:`m_t = (1-c_t) m_{t-1} + \Delta_t`, :math:`y_{t+1} = y_t - \gamma[(1-\beta)\Delta_t + \beta c_{t+1} m_t]`, for
    random :math:`c_t` and :math:`\Delta_t`. With ``averaged=False`` the factor :math:`c_{t+1}` is forgotten.
    """
    rng, rate = np.random.default_rng(seed), 0.1
    c = np.concatenate([[1.0], rng.uniform(0, 1, num_steps + 1)])
    steps = rng.standard_normal((num_steps, 5))
    x = z = y = rng.standard_normal(5)
    m, gap = np.zeros(5), 0.0
    for t in range(num_steps):
        m = (1 - c[t]) * m + steps[t]
        y = y - rate * ((1 - beta) * steps[t] + beta * (c[t + 1] if averaged else 1.0) * m)
        z = z - rate * steps[t]
        x = (1 - c[t + 1]) * x + c[t + 1] * z
        gap = max(gap, float(np.abs(y - ((1 - beta) * z + beta * x)).max()))
    return gap


def average_gap(*, beta: float, decoupling_c: float | None, weights: Array, seed: int = 0) -> float:
    """Largest entry of the difference between the average and the weighted sum of all gradient points."""
    num_steps, rng = len(weights), np.random.default_rng(seed)
    c = averaging_coefficients(num_steps, beta=beta, decoupling_c=decoupling_c)
    z = np.cumsum(rng.standard_normal((num_steps, 5)), axis=0)
    x, ys = z[0], []
    for t in range(num_steps):
        x = (1 - c[t]) * x + c[t] * z[t]
        ys.append((1 - beta) * z[t] + beta * x)
    return float(np.abs(x - weights @ np.array(ys)).max())


def buffers(optimizer: torch.optim.Optimizer, parameters: Sequence[torch.Tensor]) -> float:
    """Bytes of parameters and optimizer state, in units of the parameters' bytes; single numbers do not count."""
    own = sum(p.numel() * p.element_size() for p in parameters)
    state = [t for entry in optimizer.state.values() for t in entry.values() if torch.is_tensor(t) and t.numel() > 1]
    return 1 + sum(t.numel() * t.element_size() for t in state) / own


# Stability on quadratics ---------------------------------------------------------------------------------------------


def quadratic_run(
    hessian: ArrayLike,
    *,
    learning_rate: float,
    beta: float,
    num_steps: int,
    preconditioner: ArrayLike | None = None,
    weight_decay: float = 0.0,
    start: ArrayLike | None = None,
) -> Array:
    """Gradient points of preconditioned Schedule-Free descent on a quadratic, shape (num_steps, d)."""
    H = np.atleast_2d(np.asarray(hessian, dtype=float))
    d = len(H)
    P = np.ones(d) if preconditioner is None else np.asarray(preconditioner, dtype=float)
    matrix = H / P[:, None] + weight_decay * np.eye(d)
    x = z = np.ones(d) if start is None else np.asarray(start, dtype=float)
    path = np.empty((num_steps, d))
    for t in range(1, num_steps + 1):
        x = (1 - 1 / t) * x + z / t
        path[t - 1] = (1 - beta) * z + beta * x
        z = z - learning_rate * (matrix @ path[t - 1])
    return path


def growth_power(*, beta: float, num_steps: int = 20_000) -> tuple[Array, Array]:
    """Steps, and the size of the gradient point, of a run exactly at the threshold; from a tenth of its length on."""
    path = np.abs(quadratic_run(1.0, learning_rate=2 / (1 - beta), beta=beta, num_steps=num_steps)[:, 0])
    steps = np.unique(np.geomspace(num_steps // 10, num_steps, 60).astype(int))
    return steps.astype(float), path[steps - 1]


def spectral_radius(
    coefficients: ArrayLike, betas: ArrayLike, *, learning_rate: float = 0.3, factor: float = 1.0
) -> Array:
    """Of a step with `c` held fixed, at `factor` times the threshold; shape (betas, coefficients)."""
    radii = []
    for beta in np.atleast_1d(betas):
        row = []
        for c in np.atleast_1d(coefficients):
            limit = stability_threshold(learning_rate, beta=float(beta), step=1 / c)
            matrix = step_matrix(factor * float(limit), learning_rate, beta=float(beta), c=float(c))
            row.append(np.abs(np.linalg.eigvals(matrix)).max())
        radii.append(row)
    return np.array(radii)


def preconditioned_growth(
    *, factor: float, beta: float, weight_decay: float = 0.1, seed: int = 0, num_steps: int = 3000
) -> float:
    """Size of the last gradient point over that of the first, at `factor` times the critical learning rate."""
    rng = np.random.default_rng(seed)
    A, P = rng.standard_normal((5, 5)), rng.uniform(0.5, 2, 5)
    H = A @ A.T + 0.1 * np.eye(5)
    top = np.linalg.eigvalsh(H / np.sqrt(np.outer(P, P)))[-1]
    critical = 2 / ((1 - beta) * (top + weight_decay))
    path = quadratic_run(
        H, learning_rate=factor * critical, beta=beta, num_steps=num_steps, preconditioner=P, weight_decay=weight_decay
    )
    return float(np.linalg.norm(path[-1]) / np.linalg.norm(path[0]))


def reparametrisation_gap(*, beta: float = 0.9, seed: int = 0, num_steps: int = 500, root: bool = True) -> float:
    """Largest difference between preconditioned iterates, and plain ones in the coordinates that the root of P gives."""
    rng = np.random.default_rng(seed)
    A, P = rng.standard_normal((5, 5)), rng.uniform(0.5, 2, 5)
    H, R = A @ A.T, np.sqrt(P) if root else P
    rate = 1 / ((1 - beta) * np.linalg.eigvalsh(H / np.sqrt(np.outer(P, P)))[-1])
    direct = quadratic_run(H, learning_rate=rate, beta=beta, num_steps=num_steps, preconditioner=P, weight_decay=0.1)
    plain = quadratic_run(
        H / np.outer(R, R), learning_rate=rate, beta=beta, num_steps=num_steps, weight_decay=0.1, start=R
    )
    return float(np.abs(direct - plain / R).max())


# The river -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoisyRiver:
    """Means over seeds at the end of noisy runs, by method: the hill at `x` and at `y`, `x_1`, and the loss at `x`."""

    hill_x: dict[str, float]
    hill_y: dict[str, float]
    river: dict[str, float]
    loss: dict[str, float]


def noisy_river(
    num_seeds: int, *, noise: float = 0.3, num_steps: int = 2000, learning_rate: float = 0.02, seed: int = 0
) -> NoisyRiver:
    """Every method of `NOISY` down the toy river with noisy gradients; blocks of seeds keep the memory small."""
    f, block = river_toy(), min(256, num_seeds)
    ends: dict[str, list[tuple[Array, Array]]] = {name: [] for name in NOISY}
    for number in range(-(-num_seeds // block)):
        for name in NOISY:
            run = noisy_run(
                name, noise=noise, num_steps=num_steps, learning_rate=learning_rate, num_seeds=block, seed=seed + number
            )
            ends[name].append((run.x[:, -1].copy(), run.y[:, -1].copy()))
    xs = {name: np.concatenate([x for x, _ in parts]) for name, parts in ends.items()}
    ys = {name: np.concatenate([y for _, y in parts]) for name, parts in ends.items()}
    return NoisyRiver(
        {name: float(f.hill(x).mean()) for name, x in xs.items()},
        {name: float(f.hill(y).mean()) for name, y in ys.items()},
        {name: float(x[:, 0].mean()) for name, x in xs.items()},
        {name: float(f(x).mean()) for name, x in xs.items()},
    )


def noisy_run(
    name: str,
    *,
    noise: float = 0.3,
    num_steps: int = 2000,
    learning_rate: float = 0.02,
    num_seeds: int = 1,
    seed: int = 0,
) -> Run:
    """Runs of one method of `NOISY`."""
    setting = NOISY[name]
    common = {
        "learning_rate": learning_rate,
        "num_steps": num_steps,
        "noise": noise,
        "num_seeds": num_seeds,
        "seed": seed,
    }
    if setting is None:
        return run_adamw(decay_fraction=0.1 * (name == "AdamW, decayed"), **common)  # type: ignore[arg-type]
    return run_schedule_free(river_toy(), beta=setting[0], decoupling_c=setting[1], **common)  # type: ignore[arg-type]


def late_residuals(beta: float, decoupling_c: float | None = None, *, num_steps: int = 2000) -> dict[str, float]:
    """Without noise, over the last 500 steps: mean size of the residual at `x` and `y`, and its mean at `y`; the last loss at `x`."""
    f = river_toy()
    run = run_schedule_free(f, learning_rate=0.02, beta=beta, num_steps=num_steps, decoupling_c=decoupling_c)
    at_x, at_y = (f.residual(points[0, -500:]) for points in (run.x, run.y))
    return {
        "x": float(np.abs(at_x).mean()),
        "y": float(np.abs(at_y).mean()),
        "bias": float(at_y.mean()),
        "loss": float(f(run.x[0, -1])),
    }


def toy_sharpness(learning_rate: float, beta: float, *, num_steps: int, at: str = "y") -> Array:
    r"""Preconditioned sharpness along a run of Schedule-Free AdamW down the river, over :math:`2/((1-\beta)\gamma)`."""
    f = river_toy()
    run = run_schedule_free(f, learning_rate=learning_rate, beta=beta, num_steps=num_steps)
    points, root = (run.y if at == "y" else run.x)[0], np.sqrt(run.scale[0])
    scaled = f.hessian(points) / root[:, :, None] / root[:, None, :]
    return np.linalg.eigvalsh(scaled)[:, -1] / float(stability_threshold(learning_rate, beta=beta))


def measured_variance(run: Run, objective: RiverToy, *, end: int, window: int = 200) -> tuple[float, Array]:
    """Mean square of the oscillation along the sharpest direction, and the centre, over the steps before `end`."""
    y, k = run.y[0], np.arange(end - window, end)
    centre = (y[k - 1] + 2 * y[k] + y[k + 1]) / 4  # an oscillation of period two cancels
    middle = centre.mean(axis=0)
    top = np.linalg.eigh(objective.hessian(middle))[1][:, -1]
    return float((((y[k] - centre) @ top) ** 2).mean()), middle


def variance_ratios(
    *, betas: Sequence[float] = (0.1, 0.5, 0.9), end: int, learning_rate: float = 0.02
) -> tuple[Array, Array]:
    """Measured size of the oscillation of the scalar adaptive method, and the same over the central flow's; by beta."""
    f, sizes, ratios = river_toy(), [], []
    for beta in betas:
        run = run_schedule_free(f, learning_rate=learning_rate, beta=beta, num_steps=end + 1, method="scalar_adam")
        size, middle = measured_variance(run, f, end=end)
        sizes.append(size)
        ratios.append(size / oscillation_variance(f, middle, learning_rate=learning_rate, beta=beta))
    return np.array(sizes), np.array(ratios)


def resting_places(settings: Sequence[tuple[float, float]], *, num_steps: int) -> Array:
    """Where Schedule-Free AdamW is on the toy river at the end, for pairs of learning rate and beta; mean of 200 steps."""
    f = river_toy()
    runs = (run_schedule_free(f, learning_rate=g, beta=b, num_steps=num_steps) for g, b in settings)
    return np.array([run.y[0, -200:, 0].mean() for run in runs])


def warmup_stretch(*, beta: float, decoupling_c: float, warmup_steps: int) -> float:
    """How many times its late length a step of `y` has just after the warmup, read from the weights of the average."""
    rates = np.minimum(np.arange(1, warmup_steps + 1) / warmup_steps, 1.0)
    c = min(float(rates[-1] ** 2 / (rates**2).sum()) * (1 - beta) * decoupling_c, 1.0)
    return 1 + beta * c / (1 - beta)
