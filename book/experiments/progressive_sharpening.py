"""Experiments behind the lesson progressive_sharpening, and the statements of its paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional

from descentlab import data
from descentlab.claims import Statements
from descentlab.figures import BLUE, GREY, ORANGE
from descentlab.geometry import Array
from descentlab.progressive_sharpening.batches import fresh_batches, noise_factor
from descentlab.progressive_sharpening.difficulty import Spectrum, layer_squares, sharpness_bounds, spectrum
from descentlab.progressive_sharpening.flows import network_flow, network_flows
from descentlab.progressive_sharpening.hessian import Eigenpairs, top_hessian_eigenvalues
from descentlab.progressive_sharpening.minimal import MinimalModel, sharpness_at_minimum
from descentlab.progressive_sharpening.networks import Network, initial_weights, network_sharpness, train_in_batches
from descentlab.progressive_sharpening.trajectories import EdgeLimit, Trajectory

# -- Sizes of the experiments, and the data they run on ---------------------------------------------------------------

IMAGES = "fashion-mnist-12k"
START_SCALE = 0.3  # size of the layers at the start: small, so that the sharpness starts low
DRIFT_TIME = 20.0  # learning rate times steps of the experiments on batch size


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Starts, and orders of batches, behind statements about several.
    drift_rates : tuple of float
        Step sizes of the batch-size experiment on the minimal model.
    edge_steps : int
        Steps of gradient descent until it is at its end point.
    bits : tuple of int
        Fractional bits of the fixed-point runs.
    linear_sizes, tanh_sizes : tuple of int
        Numbers of samples on which networks are trained.
    linear_width, tanh_width : int
    pairs : int
        Pairs of classes.
    batch_rates : tuple of float
        Step sizes of the batch-size experiment on a network.
    widths : tuple of int
        Of the linear networks that start small.
    small_samples : int
        Samples on which those are trained.
    peak_seeds, peak_steps : int
        Starts and steps of the runs whose highest loss is compared.
    tool_samples : int
        Samples of the loss whose sharpness the tool finds.
    """

    num_seeds: int
    drift_rates: tuple[float, ...]
    edge_steps: int
    bits: tuple[int, ...]
    linear_sizes: tuple[int, ...]
    tanh_sizes: tuple[int, ...]
    linear_width: int
    tanh_width: int
    pairs: int
    batch_rates: tuple[float, ...]
    widths: tuple[int, ...]
    small_samples: int
    peak_seeds: int
    peak_steps: int
    tool_samples: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the statements about several."""
        return tuple(range(self.num_seeds))


SMOKE = Config(
    2, (1e-3, 2e-3, 4e-3), 6_000, (100, 200, 400), (10, 20), (10, 20), 32, 32, 2, (1e-2, 2e-2, 4e-2), (8, 16, 32),
    20, 1, 1000, 100,
)  # fmt: skip
BOOK = Config(
    4, (5e-4, 1e-3, 2e-3), 60_000, (100, 200, 400), (10, 20, 40, 60, 80), (10, 20, 40, 80, 160), 64, 64, 5,
    (1e-3, 4e-3, 1e-2), (16, 64, 256), 100, 3, 3000, 500,
)  # fmt: skip
FULL = Config(
    10, (5e-4, 1e-3, 2e-3), 200_000, (100, 200, 400), (100, 200, 300, 500, 700, 1000), (100, 200, 300, 500, 700, 1000),
    2048, 1024, 5, (1e-3, 4e-3, 1e-2), (16, 64, 256), 100, 3, 3000, 500,
)  # fmt: skip

# what one core does in some ten minutes: more orders of batches and starts, and wider networks
FULL_CPU = replace(BOOK, num_seeds=10, edge_steps=200_000, linear_width=256, tanh_width=256)

PAIRS = ((0, 6), (2, 4), (3, 8), (0, 1), (5, 7))


# Data ---------------------------------------------------------------------------------------------------------------


@cache
def images(name: str) -> tuple[Array, Array]:
    """Training images, float32 in [0, 1] of shape (n, channels, height, width), and class numbers; read once."""
    loaded = data.load(name)
    return loaded.inputs.numpy(), loaded.targets.numpy()


def two_classes(
    num_samples: int, classes: tuple[int, int] = (0, 6), *, seed: int | None = None, name: str = IMAGES
) -> tuple[Array, Array]:
    """Training images of two classes as rows, with labels +1 for the first and -1 for the second.

    Parameters
    ----------
    num_samples : int
        The first so many, in the file's order.
    classes : pair of int
    seed : int, optional
        Draw a random subset instead.
    name : str
        See `descentlab.data.load`.

    Returns
    -------
    X : ndarray, shape (num_samples, d)
    y : ndarray, shape (num_samples,)
    """
    pixels, targets = images(name)
    members = np.flatnonzero(np.isin(targets, classes))
    if len(members) < num_samples:
        raise ValueError(f"num_samples={num_samples}: the classes {classes} have {len(members)} images in {name}")
    if seed is not None:
        members = np.random.default_rng(seed).permutation(members)
    chosen = members[:num_samples]
    grey = np.rint(pixels[chosen].astype(float) * 255) / 255  # whole levels again, after float32
    X = (grey.reshape(num_samples, -1) - 0.2860) / 0.3530
    return X, np.where(targets[chosen] == classes[0], 1.0, -1.0)


def power_law_data(num_samples: int, *, dim: int = 784, seed: int = 0) -> tuple[Array, Array]:
    """Generated data that resemble images: variances fall like a power law, and the labels follow the large ones.

    Data of more samples begin with those of fewer.
    """
    rng = np.random.default_rng(seed)
    scales = 10 / np.arange(1.0, dim + 1)
    teacher = rng.standard_normal(dim) / np.sqrt(np.arange(1.0, dim + 1))
    X = rng.standard_normal((num_samples, dim)) * scales
    y = np.where(X @ teacher + 0.3 * rng.standard_normal(num_samples) > 0, 1.0, -1.0)
    if num_samples > 1 and np.all(y == y[0]):
        y[-1] = -y[0]
    return X, y


def model(num_samples: int = 100, *, depth: int = 2, classes: tuple[int, int] = (0, 6)) -> MinimalModel:
    """The minimal model on `two_classes`."""
    return MinimalModel(*two_classes(num_samples, classes), depth=depth)


# -- The experiments on networks, and on the sharpness tool: what the minimal model is compared with ------------------

# Predicted and measured sharpness (C12) ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scatter:
    """Networks trained on data sets of different difficulty; arrays of shape (networks,).

    Attributes
    ----------
    predicted : ndarray
        The predicted sharpness, from the data and the depth.
    measured : ndarray
        The largest eigenvalue of the Hessian at the trained weights.
    start : ndarray
        The same at the initial weights.
    difficulty : ndarray
    converged : ndarray of bool
        Whether the flow reached its loss goal.
    """

    predicted: Array
    measured: Array
    start: Array
    difficulty: Array
    converged: Array

    def correlation(self, *, logarithmic: bool = False) -> float:
        """Pearson's coefficient of predicted and measured sharpness, or of their logarithms."""
        x, y = self.predicted, self.measured
        return float(np.corrcoef(np.log(x), np.log(y))[0, 1] if logarithmic else np.corrcoef(x, y)[0, 1])


def flows_to_minima(
    problems: Sequence[tuple[Spectrum, Array]], network: Network, *, loss_goal: float, seed: int, device: str
) -> list[tuple[float, float, bool]]:
    """Gradient flows of one network on data sets of one size, side by side, from the same seed.

    Returns
    -------
    list of tuple
        Sharpness at the start and at the end, and whether the loss reached the goal, for each data set.
    """
    dtype = torch.float64 if device == "cpu" else torch.float32  # double precision is slow on most GPUs
    starts = [initial_weights(network, s.right, seed=seed, device=device, dtype=dtype) for s, _ in problems]
    samples = [torch.as_tensor(s.samples, dtype=dtype, device=device) for s, _ in problems]
    labels = torch.stack([torch.as_tensor(y, dtype=dtype, device=device) for _, y in problems])
    begun = [
        network_sharpness(weights, X, y, network, tol=1e-2)[0]
        for weights, X, y in zip(starts, samples, labels, strict=True)
    ]
    rank = max(X.shape[1] for X in samples)
    for weights in starts:
        weights[0] = functional.pad(weights[0], (0, rank - weights[0].shape[1]))
    inputs = torch.stack([functional.pad(X, (0, rank - X.shape[1])) for X in samples])
    layers = [torch.stack(layer) for layer in zip(*starts, strict=True)]
    ends = network_flows(layers, inputs, labels, network, loss_goal=loss_goal)
    return [(start, end.sharpness, end.converged) for start, end in zip(begun, ends, strict=True)]


def scatter(
    network: Network,
    sizes: Sequence[int],
    *,
    pairs: Sequence[tuple[int, int]] = PAIRS,
    loss_goal: float,
    name: str = IMAGES,
    seed: int = 0,
    device: str = "cpu",
) -> Scatter:
    """Train a network on each pair of classes and number of samples, from the same seed.

    The networks of one number of samples are trained side by side.
    """
    columns = np.empty((5, len(pairs), len(sizes)))
    for j, size in enumerate(sizes):
        problems = [(spectrum(X, y), y) for X, y in (two_classes(size, pair, name=name) for pair in pairs)]
        found = flows_to_minima(problems, network, loss_goal=loss_goal, seed=seed, device=device)
        for i, ((s, _), (start, end, converged)) in enumerate(zip(problems, found, strict=True)):
            columns[:, i, j] = s.predicted_sharpness(network.depth), end, start, s.difficulty, converged
    rows = columns.reshape(5, -1)
    return Scatter(rows[0], rows[1], rows[2], rows[3], rows[4].astype(bool))


def small_start_ratios(
    widths: Sequence[int], *, gain: float, depths: Sequence[int] = (2, 3), num_samples: int = 100, device: str = "cpu"
) -> Array:
    """Sharpness that wide linear networks end with over that of the balanced minimum of the minimal model.

    Shape (len(depths) * len(widths),). The flow goes to a loss of 1e-6, where the sharpness has settled.
    """
    X, y = two_classes(num_samples)
    s, ratios = spectrum(X, y), []
    for depth in depths:
        balanced = np.full(depth - 1, s.difficulty ** (0.5 / depth))
        exact = float(MinimalModel(X, y, depth=depth).minimum_sharpness(balanced))
        for width in widths:
            network = Network(depth, width, "linear", gain=gain)
            ((_, end, _),) = flows_to_minima([(s, y)], network, loss_goal=1e-6, seed=0, device=device)
            ratios.append(end / exact)
    return np.array(ratios)


# Batch size and learning rate on a network (C13) ---------------------------------------------------------------------


def batch_size_table(
    rates: Sequence[float], *, num_seeds: int, batch_sizes: Sequence[int] = (5, 20, 100), time: float = 16.0
) -> Array:
    """Final sharpness of a tanh network by step and batch size, shape (rates, batch sizes, seeds).

    Three weight layers, width 32, on 100 images of two classes; each run lasts for the same learning rate times steps.
    Seeds differ in their initial weights and see the same batches.
    """
    X, y = two_classes(100)
    spectral = spectrum(X, y)
    network = Network(3, 32)
    starts = [initial_weights(network, spectral.right, seed=s, dtype=torch.float32) for s in range(num_seeds)]
    weights = [torch.stack(layer) for layer in zip(*starts, strict=True)]
    inputs, labels = (torch.as_tensor(t, dtype=torch.float32) for t in (spectral.samples, y))
    table = np.empty((len(rates), len(batch_sizes), num_seeds))
    for i, rate in enumerate(rates):
        for j, size in enumerate(batch_sizes):
            ends = train_in_batches(
                weights, inputs, labels, network, learning_rate=rate, num_steps=round(time / rate), batch_size=size
            )
            for k in range(num_seeds):
                table[i, j, k], _ = network_sharpness([w[k] for w in ends], inputs, labels, network)
    return table


# Logistic loss (C14) -------------------------------------------------------------------------------------------------


def sharpness_by_loss(goals: Sequence[float], *, loss: str = "logistic", seed: int = 0) -> Array:
    """Sharpness along the flow of a tanh network, at its start and where the loss reaches each goal."""
    X, y = power_law_data(40)
    spectral = spectrum(X, y)
    network = Network(3, 32, loss=loss)  # type: ignore[arg-type]
    weights = initial_weights(network, spectral.right, seed=seed)
    inputs, labels = torch.as_tensor(spectral.samples), torch.as_tensor(y)
    found = [network_sharpness(weights, inputs, labels, network)[0]]
    for goal in goals:
        end = network_flow(weights, inputs, labels, network, loss_goal=goal)
        weights = end.weights
        found.append(end.sharpness)
    return np.array(found)


# The sharpness tool (C15) --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshots:
    """A classifier along its training, for comparisons of sharpness tools.

    Attributes
    ----------
    model : nn.Module
    inputs, targets : Tensor
    states : list of dict
        Its weights, a few steps of gradient descent apart.
    """

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    states: list[dict[str, Tensor]]

    def loss(self) -> Tensor:
        return nn.functional.cross_entropy(self.model(self.inputs), self.targets)


def snapshots(kind: str = "mlp", *, count: int = 8, apart: int = 2, num_samples: int = 500, seed: int = 0) -> Snapshots:
    """An MLP of 89 610 parameters or a small CNN, in float32, trained on images of Fashion-MNIST."""
    X, y = _ten_classes(num_samples)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "mlp":
            layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, 100), nn.Tanh(), nn.Linear(100, 100), nn.Tanh()]
            model = nn.Sequential(*layers, nn.Linear(100, 10))
        elif kind == "cnn":
            layers = [nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1)]
            model = nn.Sequential(*layers, nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(784, 10))
        else:
            raise ValueError(f"kind={kind!r}; allowed are 'mlp' and 'cnn'")
    found = Snapshots(model, X, y, [])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(count):
        for _ in range(apart):
            optimizer.zero_grad()
            found.loss().backward()
            optimizer.step()
        found.states.append({name: t.detach().clone() for name, t in model.state_dict().items()})
    optimizer.zero_grad()
    return found


def _ten_classes(num_samples: int) -> tuple[Tensor, Tensor]:
    pixels, labels = images(IMAGES)
    return torch.as_tensor((pixels[:num_samples] - 0.2860) / 0.3530), torch.as_tensor(labels[:num_samples])


def evaluate(points: Snapshots, *, warm: bool = True, tol: float = 1e-3) -> list[Eigenpairs]:
    """The tool at every snapshot, each evaluation started from the last where `warm`."""
    found: list[Eigenpairs] = []
    for step, state in enumerate(points.states):
        points.model.load_state_dict(state)
        start = found[-1] if warm and found else None
        found.append(top_hessian_eigenvalues(points.loss, points.model.parameters(), tol=tol, start=start, seed=step))
    return found


def reference_sharpness(points: Snapshots) -> Array:
    """The same in double precision by scipy's eigsh on products that are differentiated anew."""
    values: list[float] = []
    size = sum(t.numel() for t in points.states[0].values())
    start = np.random.default_rng(0).standard_normal(size)
    points.model.double()
    try:
        for state in points.states:
            operator = LinearOperator((size, size), matvec=_rebuilt_product(points, state), dtype=np.float64)
            # the error of the value is of the order of the square of the tolerance
            value, vector = eigsh(operator, k=1, which="LA", tol=1e-4, v0=start, ncv=10)
            start = vector[:, 0] + 1e-2 * start / np.linalg.norm(start)  # something of what the vector lacks
            values.append(float(value[0]))
    finally:
        points.model.float()
    return np.array(values)


def _rebuilt_product(points: Snapshots, state: dict[str, Tensor]) -> Callable[[Array], Array]:
    """Hessian-vector product that differentiates the gradient along a vector anew each time, in float64."""
    params = {name: t.double() for name, t in state.items()}
    sizes, inputs = [t.numel() for t in params.values()], points.inputs.double()

    def loss(p: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(points.model, p, (inputs,)), points.targets)

    def product(x: Array) -> Array:
        parts = torch.as_tensor(x.reshape(-1)).split(sizes)
        direction = {name: part.view_as(params[name]) for name, part in zip(params, parts, strict=True)}

        def slope(p: dict[str, Tensor]) -> Tensor:
            gradient = torch.func.grad(loss)(p)
            return torch.stack([(gradient[name] * direction[name]).sum() for name in p]).sum()

        columns = torch.func.grad(slope)(params)
        return np.concatenate([column.numpy().ravel() for column in columns.values()])

    return product


def recorded_ratios(names: Sequence[tuple[str, str]], path: str | Path = "bench.json") -> list[float] | None:
    """Ratios of times that ``make bench`` recorded: entries of ``extra_info`` by benchmark; None unless all are there."""
    if not Path(path).exists():
        return None
    stored = json.loads(Path(path).read_text(encoding="utf-8"))["benchmarks"]
    info = {benchmark["name"]: benchmark["extra_info"] for benchmark in stored}
    found = [info.get(name, {}).get(key) for name, key in names]
    return None if None in found else [float(ratio) for ratio in found]


@dataclass(frozen=True)
class LongRun:
    """What a run at full scale measured: values by claim, number of seeds, date and device."""

    measured: dict[str, Any]
    num_seeds: int
    date: str
    device: str
    seconds: float


def recorded_run(path: str | Path = "cpu/progressive_sharpening.json") -> LongRun | None:
    """The committed results of ``descentlab run progressive_sharpening --scale full``; None where there are none."""
    if not Path(path).exists():
        return None
    stored = json.loads(Path(path).read_text(encoding="utf-8"))
    where = stored["environment"]
    return LongRun(stored["measured"], len(where["seeds"]), where["date"], where["device"], where["seconds"])


def crossing_errors(
    *,
    size: int = 200,
    points: int = 21,
    find: Callable[[Callable[[], Tensor], Tensor, Eigenpairs | None], Eigenpairs] | None = None,
) -> Array:
    """Relative errors along a trajectory on which the top two eigenvalues of a quadratic cross; shape (points,)."""
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    values = torch.linspace(-1, 3, size, dtype=torch.float64)
    x = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    last: Eigenpairs | None = None
    errors: list[float] = []
    for t in np.linspace(0, 1, points):
        values[-2], values[-1] = 4 + t, 4.7 - t

        def loss() -> Tensor:
            return (values * (basis.T @ x) ** 2).sum() / 2

        if find is None:
            last = top_hessian_eigenvalues(loss, [x], start=last, seed=len(errors))
        else:
            last = find(loss, x, last)
        errors.append(abs(float(last.values[0]) / float(values.max()) - 1))
    return np.array(errors)


# -- Gradient descent at the edge of stability, and what the precision of the arithmetic does to it -------------------


@dataclass(frozen=True)
class EdgeRun:
    """Gradient descent at the edge of stability, beside its closed forms.

    Attributes
    ----------
    edge : float
        2 over the learning rate.
    run : Trajectory
    ratio : ndarray, shape (t,)
        Sharpness over the edge.
    at_minimum : ndarray, shape (t,)
        The sharpness that the imbalance of each iterate would have at zero loss.
    predicted : EdgeLimit
    """

    edge: float
    run: Trajectory
    ratio: Array
    at_minimum: Array
    predicted: EdgeLimit


def edge_run(
    m: MinimalModel,
    edge: float,
    *,
    num_steps: int = 3000,
    seed: int = 0,
    dtype: type = np.float64,
    record: Array | None = None,
) -> EdgeRun:
    """Descent with learning rate ``2 / edge`` from a balanced start."""
    a, v = m.balanced_start(START_SCALE, seed=seed)
    run = m.gradient_descent(a, v, learning_rate=2 / edge, num_steps=num_steps, dtype=dtype, record=record)
    finite = np.where(np.isfinite(run.loss)[:, None], run.a, a), np.where(np.isfinite(run.loss)[:, None], run.v, v)
    return EdgeRun(edge, run, run.sharpness / edge, m.flow_limit(*finite).sharpness, m.edge_limit(2 / edge, (a, v)))


def amplitude_decay(run: EdgeRun, windows: tuple[int, int] = (0, -1), length: int = 300) -> float:
    """Range of the sharpness within one window of steps over that in another: the last over the first."""
    ranges = [float(np.ptp(part)) for part in np.array_split(run.ratio[:-1], len(run.ratio[:-1]) // length)]
    return ranges[windows[1]] / ranges[windows[0]]


@dataclass(frozen=True)
class EdgeEnd:
    """Where descent ended, beside the closed form.

    Attributes
    ----------
    num_samples, depth : int
    edge : float
    sharpness, predicted : float
        Measured, and min of the flow's limit and the edge.
    flow : float
        The flow's limit.
    loss : float
    layer, layer_at_minimum, layer_of_flow : float
        Size of a scalar layer: measured, at the minimum of the final imbalance, and at that of the start's.
    """

    num_samples: int
    depth: int
    edge: float
    sharpness: float
    predicted: float
    flow: float
    loss: float
    layer: float
    layer_at_minimum: float
    layer_of_flow: float


def edge_survey(num_steps: int) -> list[EdgeEnd]:
    """Ends of descent for several data sets, depths and step sizes, the last of which is stable."""
    ends = []
    for N, depth, edge in ((100, 2, 300), (100, 2, 200), (200, 2, 400), (50, 2, 150), (100, 3, 200), (100, 2, 450)):
        m = model(N, depth=depth)
        start = m.balanced_start(START_SCALE)
        run = m.gradient_descent(*start, learning_rate=2 / edge, num_steps=num_steps, record=[0])
        flow, here = m.flow_limit(*start), m.flow_limit(run.a[-1], run.v[-1])
        predicted = m.edge_limit(2 / edge, start).sharpness
        sizes = (float(abs(v[0])) for v in (run.v[-1], here.v, flow.v))
        measured, loss = float(run.sharpness[-1]), float(run.loss[-1])
        ends.append(EdgeEnd(N, depth, edge, measured, predicted, float(flow.sharpness), loss, *sizes))
    return ends


def highest_loss(m: MinimalModel, edge: float, *, dtype: type, seeds: Sequence[int], num_steps: int = 3000) -> Array:
    """Largest loss of a run of descent, for several starts; infinite where it diverges."""
    peaks = []
    for seed in seeds:
        a, v = m.balanced_start(START_SCALE, seed=seed)
        loss = m.gradient_descent(a, v, learning_rate=2 / edge, num_steps=num_steps, dtype=dtype).loss
        peaks.append(float(loss.max()) if np.all(np.isfinite(loss)) else np.inf)
    return np.array(peaks)


def highest_loss_fixed_point(
    m: MinimalModel, edge: float, *, bits: int, seeds: Sequence[int], num_steps: int = 3000
) -> Array:
    """The same in fixed-point arithmetic with `bits` binary digits after the point, at depth 2, by whole numbers.

    A run is called divergent, and reads infinity, where the loss passes 10^6.
    """
    if m.depth != 2:
        raise ValueError(f"depth={m.depth}: fixed-point runs are for depth 2")
    one = 1 << bits
    half = one >> 1

    def fixed(values: Array) -> Any:
        return np.array([int(float(x) * 2**60) * one >> 60 for x in np.atleast_1d(values)], dtype=object)

    s = m.spectrum
    sigma, labels = fixed(s.sigma), fixed(s.labels)
    rate = fixed(np.array(2 / edge / m.num_samples))[0]
    peaks = []
    for seed in seeds:
        start_a, start_v = m.balanced_start(START_SCALE, seed=seed)
        a, v, peak = fixed(start_a), fixed(start_v)[0], 0.0
        for _ in range(num_steps):
            z = (sigma * a + half) >> bits
            residual = ((v * z + half) >> bits) - labels
            peak = max(peak, float(np.sum((residual.astype(float) / float(one)) ** 2)) / (2 * m.num_samples))
            if peak > 1e6:
                peak = np.inf
                break
            pull = (rate * ((sigma * residual + half) >> bits) + half) >> bits
            inner = (int(z @ residual) + half) >> bits
            a, v = a - ((v * pull + half) >> bits), v - ((rate * inner + half) >> bits)
        peaks.append(peak)
    return np.array(peaks)


# -- Sharpness, its bounds and the gradient flow, checked: pure functions, no printing, no plotting -------------------

# The exact Hessian (C1) ----------------------------------------------------------------------------------------------


def autodiff_sharpness(X: Array, y: Array, u: Array, v: Array) -> Array:
    """All eigenvalues of the Hessian in the original weights (u, v), ascending, by automatic differentiation."""
    inputs, targets = torch.as_tensor(X), torch.as_tensor(y)
    dim = len(u)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ((inputs @ x[:dim] * x[dim:].prod() - targets) ** 2).mean() / 2

    point = torch.as_tensor(np.concatenate([u, v]))
    return np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point).numpy())


def hessian_points(kind: str, *, seed: int = 0) -> list[tuple[Array, Array, Array, Array]]:
    """Problems and weights (X, y, u, v) on which the exact sharpness is tested.

    ``"random"``: depths 2, 3, 5, 8, equal and unequal layers, mixed signs. ``"deflated"``: small layers of one size,
    where the top eigenvalue is that of their differences. ``"saddle"``: the most negative eigenvalue is larger.
    """
    rng = np.random.default_rng(seed)
    points = []
    for depth, trial in product((2, 3, 5, 8), range(4)):
        X = rng.standard_normal((12, 16))
        y = np.sign(X[:, 0] + 0.1 * rng.standard_normal(12))
        u, v = rng.standard_normal(16), rng.uniform(0.5, 1.5, depth - 1) * rng.choice([-1, 1], depth - 1)
        if trial % 2:
            v = np.abs(v[0]) * np.sign(v)
        depth = max(depth, 2 if kind == "random" else 3)
        if kind == "deflated":  # small layers of one size, less aligned with the labels than the first layer is
            u, v = (1 + trial) * X.T @ y / 12, np.full(depth - 1, 0.1)
        if kind == "saddle":
            u, v = 0.05 * X.T @ y / 12, np.linspace(0.05, 0.05 + 0.01 * trial, depth - 1)
        points.append((X, y, u, v))
    return points


def hessian_error(kind: str, sharpness: Callable[[MinimalModel, Array, Array], float] | None = None) -> float:
    """Largest relative difference between the exact sharpness, or another one, and automatic differentiation."""
    worst = 0.0
    for X, y, u, v in hessian_points(kind):
        m = MinimalModel(X, y, depth=len(v) + 1)
        a = m.project(u)
        value = float(m.sharpness(a, v)) if sharpness is None else sharpness(m, a, v)
        truth = autodiff_sharpness(X, y, u, v)[-1]
        worst = max(worst, abs(value / truth - 1))
    return worst


# Bounds (C2, C3) and dataset difficulty (C11) ------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """Lower bound, exact sharpness and upper bound at minima; arrays of one shape."""

    lower: Array
    exact: Array
    upper: Array

    def slack(self) -> Array:
        """How far the exact sharpness is inside the bounds, relative to it; negative outside."""
        return np.minimum(self.exact - self.lower, self.upper - self.exact) / self.exact


def imbalance_bounds(X: Array, y: Array, imbalance: Array) -> Bounds:
    """Bounds at depth 2 for several imbalances, shape (k,)."""
    m = MinimalModel(X, y, depth=2)
    C = np.asarray(imbalance, dtype=float)[:, None]
    lower, upper = sharpness_bounds(X, y, depth=2, imbalance=C)
    exact = m.minimum_sharpness(np.sqrt(layer_squares(m.difficulty, C)))
    return Bounds(np.asarray(lower), exact, np.asarray(upper))


def depth_bounds(X: Array, y: Array, depths: Sequence[int] = (2, 3, 4, 5, 6)) -> Bounds:
    """Bounds at balanced minima for several depths."""
    s = spectrum(X, y)
    pairs = np.array([sharpness_bounds(X, y, depth=depth) for depth in depths])
    exact = [float(sharpness_at_minimum(s, np.full(depth - 1, s.difficulty ** (1 / depth)))) for depth in depths]
    return Bounds(pairs[:, 0], np.array(exact), pairs[:, 1])


def turning_point(X: Array, y: Array) -> float:
    r""":math:`v^4 \sigma_1^2/d_1^2` where the lower bound of depth 2, as a function of the imbalance, is least."""
    s = spectrum(X, y)

    def lower(log_square: float) -> float:
        C = s.difficulty / np.exp(log_square) - np.exp(log_square)
        return float(sharpness_bounds(X, y, depth=2, imbalance=C)[0])

    middle = float(np.log(s.difficulty) / 2)
    found = minimize_scalar(lower, bracket=(middle - 3.0, middle), tol=1e-9)
    return float(np.exp(2 * found.x) * s.sigma[0] ** 2 / s.labels[0] ** 2)


def prediction_error(X: Array, y: Array) -> float:
    """Largest relative difference between the predicted sharpness and the exact one at balanced minima."""
    exact = depth_bounds(X, y).exact
    s = spectrum(X, y)
    predicted = [s.predicted_sharpness(depth) for depth in (2, 3, 4, 5, 6)]
    return float(np.max(np.abs(np.array(predicted) / exact - 1)))


# Flows (C4, C5, C7) -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlowRow:
    """One flow: sharpness at its start and its end, and what was predicted from the start."""

    num_samples: int
    depth: int
    balanced: bool
    start: float
    end: float
    predicted: float
    lower: float
    upper: float


def flow_table(sizes: Sequence[int] = (20, 50, 100), depths: Sequence[int] = (2, 3, 5)) -> list[FlowRow]:
    """Flows from balanced and unbalanced starts to a loss of 1e-10."""
    rows = []
    for N, depth, balanced in product(sizes, depths, (True, False)):
        X, y = two_classes(N)
        m = MinimalModel(X, y, depth=depth)
        a, v = m.balanced_start(START_SCALE)
        if not balanced:
            a, v = 3 * a, v * np.linspace(1.0, 2.0, depth - 1) * np.where(np.arange(depth - 1) % 2, -1, 1)
        run, limit = m.gradient_flow(a, v), m.flow_limit(a, v)
        low, high = sharpness_bounds(X, y, depth=depth, imbalance=m.imbalance(a, v))
        rows.append(
            FlowRow(N, depth, balanced, run.sharpness[0], run.sharpness[-1], float(limit.sharpness), low, high)  # type: ignore[arg-type]
        )
    return rows


def flow_drift(depths: Sequence[int] = (2, 3, 5)) -> float:
    """Largest change of an imbalance along a flow, on generated data."""
    X, y = power_law_data(50)
    worst = 0.0
    for depth in depths:
        m = MinimalModel(X, y, depth=depth)
        run = m.gradient_flow(*m.balanced_start(START_SCALE), loss_goal=1e-8)
        C = m.imbalance(run.a, run.v)
        worst = max(worst, float(np.abs(C - C[0]).max()))
    return worst


def euler_drift_ratio() -> float:
    """Ratio of the imbalances that descent has after the same time with a step and with half of it."""
    m = MinimalModel(*power_law_data(50), depth=3)
    a, v = m.balanced_start(START_SCALE)
    runs = [m.gradient_descent(a, v, learning_rate=1e-4 / k, num_steps=10_000 * k, record=[0]) for k in (1, 2)]
    drift = [float(m.imbalance(run.a[-1], run.v[-1])[0]) for run in runs]
    return drift[0] / drift[1]


def convexity(m: MinimalModel) -> float:
    """Smallest second difference of the sharpness of balanced-layer minima in v², relative to their sharpness."""
    middle = m.difficulty ** (1 / m.depth)
    v2 = np.linspace(0.05 * middle, 5 * middle, 400)
    S = m.minimum_sharpness(np.sqrt(np.repeat(v2[:, None], m.depth - 1, axis=1)))
    return float(np.min(np.diff(S, 2) / S[1:-1]))


# -- What gradient noise does to the imbalance, a step at a time and over a run ---------------------------------------

# One step of GD and SGD (C8) ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepTerms:
    """The terms of an expected step of C at depth 2: it is eta² (psi - C omega)."""

    psi: float
    omega: float


def step_terms(X: Array, y: Array, u: Array, v: float, *, factor: float) -> StepTerms:
    r"""The paper's :math:`\Psi` and :math:`\Omega` for noise that enters with `factor`; 0 is full batch.

    With :math:`g_n = (v\,u^\top x_n - y_n)\,x_n` and mean g, where :math:`u` lies in the span of the samples:
    :math:`\Omega = \lVert g\rVert^2 + k(\overline{\lVert g_n\rVert^2} - \lVert g\rVert^2)` and
    :math:`\Psi = \lVert u\rVert^2\,\Omega - (u^\top g)^2 - k \operatorname{Var}(u^\top g_n)`.
    """
    gradients = (v * (X @ u) - y)[:, None] * X
    mean = gradients.mean(axis=0)
    omega = mean @ mean + factor * (np.sum(gradients**2) / len(X) - mean @ mean)
    psi = (u @ u) * omega - (u @ mean) ** 2 - factor * np.var(gradients @ u)
    return StepTerms(float(psi), float(omega))


def enumerated_increment(
    X: Array, y: Array, u: Array, v: float, *, rate: float, batches: Sequence[Sequence[int]]
) -> float:
    """Mean change of C in one literal step of depth 2, over given batches."""
    changes = []
    for batch in batches:
        rows = X[list(batch)]
        residual = v * (rows @ u) - y[list(batch)]
        new_u, new_v = u - rate * v * (residual @ rows) / len(rows), v - rate * (residual @ (rows @ u)) / len(rows)
        changes.append((new_u @ new_u - new_v**2) - (u @ u - v**2))
    return float(np.mean(changes))


def identity_error(
    kind: str, *, terms: Callable[[Array, Array, Array, float, int], float] | None = None, seed: int = 0
) -> float:
    r"""Largest relative error of :math:`\eta^2(\Psi - C\,\Omega)` against enumerated steps.

    Parameters
    ----------
    kind : {"full batch", "subsets", "replacement"}
    terms : callable, (X, y, u, v, batch_size) -> float, optional
        Another formula for the increment over eta².
    """
    rng = np.random.default_rng(seed)
    worst = 0.0
    num_samples = 5 if kind == "replacement" else 7
    sizes = {"full batch": (num_samples,), "subsets": (1, 2, 3, 5), "replacement": (1, 2, 3)}[kind]
    for _, size in product(range(5), sizes):
        X, y = rng.standard_normal((num_samples, 9)), rng.choice([-1.0, 1.0], num_samples)
        u, v = X.T @ rng.standard_normal(num_samples), float(rng.standard_normal())
        index = range(num_samples)
        batches: list[tuple[int, ...]] = list(combinations(index, size))
        if kind == "replacement":
            batches = list(product(index, repeat=size))
        factor = noise_factor(num_samples, size, "replacement" if kind == "replacement" else "reshuffled")
        t = step_terms(X, y, u, v, factor=factor)
        balance = float(u @ u) - v**2
        formula = t.psi - balance * t.omega if terms is None else terms(X, y, u, v, size)
        exact = enumerated_increment(X, y, u, v, rate=0.1, batches=batches) / 0.1**2
        worst = max(worst, float(abs(formula / exact - 1)))
    return worst


def noise_terms(*, trials: int = 200, seed: int = 0) -> Array:
    """Psi of full batch, and what noise adds to Psi and to Omega, over random weights; shape (trials, 3)."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(trials):
        X, y = rng.standard_normal((6, 8)), rng.choice([-1.0, 1.0], 6)
        u, v = X.T @ rng.standard_normal(6), float(rng.standard_normal())
        calm, noisy = (step_terms(X, y, u, v, factor=k) for k in (0.0, 1.0))
        rows.append((calm.psi, noisy.psi - calm.psi, noisy.omega - calm.omega))
    return np.array(rows)


def balancing_error(*, sign: float = -1.0, seed: int = 0) -> float:
    r"""Largest relative error of :math:`1 - \eta^2 (a^\top g')^2 P^2/v_i^2v_j^2` for a step of GD on three or more layers."""
    rng = np.random.default_rng(seed)
    worst = 0.0
    for depth in (3, 4, 6):
        m = MinimalModel(rng.standard_normal((7, 9)), np.array([1, -1, 1, -1, 1, 1, -1.0]), depth=depth)
        a, v = rng.standard_normal(m.rank), rng.uniform(0.6, 1.4, depth - 1)
        run = m.gradient_descent(a, v, learning_rate=0.03, num_steps=1)
        before, after = v**2, run.v[1] ** 2
        P = v.prod()
        inner = (m.spectrum.sigma * a) @ (P * m.spectrum.sigma * a - m.spectrum.labels) / m.num_samples
        for i, j in combinations(range(depth - 1), 2):
            factor = 1 + sign * 0.03**2 * inner**2 * P**2 / (before[i] * before[j])
            worst = max(worst, abs((after[i] - after[j]) / ((before[i] - before[j]) * factor) - 1))
    return worst


# Batch size and learning rate (C10) ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchSweep:
    """Imbalance and sharpness that SGD has after a fixed time, shapes (rates, batch sizes, seeds)."""

    rates: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    imbalance: Array
    sharpness: Array
    flow_sharpness: float
    num_samples: int

    def excess_constants(self, factor: Callable[[int, int], float] = noise_factor) -> Array:
        """The excess of C over full batch, over eta and the noise factor; shape (rates, batch sizes - 1)."""
        mean = self.imbalance.mean(axis=2)
        scale = [[rate * factor(self.num_samples, b) for b in self.batch_sizes[:-1]] for rate in self.rates]
        return (mean[:, :-1] - mean[:, -1:]) / np.array(scale)


def batch_sweep(m: MinimalModel, config: Config, *, batch_sizes: tuple[int, ...] = (10, 25, 50, 100)) -> BatchSweep:
    """SGD for a fixed time, at several step and batch sizes, the last of which is the full batch."""
    a, v = m.balanced_start(START_SCALE)
    C = np.empty((len(config.drift_rates), len(batch_sizes), config.num_seeds))
    S = np.empty_like(C)
    for i, rate in enumerate(config.drift_rates):
        steps = round(DRIFT_TIME / rate)
        for j, size in enumerate(batch_sizes):
            if size == m.num_samples:
                run = m.gradient_descent(a, v, learning_rate=rate, num_steps=steps, record=[0])
                C[i, j], S[i, j] = m.imbalance(run.a, run.v)[-1, 0], run.sharpness[-1]
                continue
            for k in range(config.num_seeds):
                order = fresh_batches(m.num_samples, size, steps, seed=k)
                run = m.sgd(a, v, learning_rate=rate, num_steps=steps, batch_size=size, order=order, record=[0])
                C[i, j, k], S[i, j, k] = m.imbalance(run.a, run.v)[-1, 0], run.sharpness[-1]
    flow = m.gradient_flow(a, v, times=[0.0, DRIFT_TIME])
    return BatchSweep(config.drift_rates, batch_sizes, C, S, float(flow.sharpness[-1]), m.num_samples)


def depth_drift_error(m: MinimalModel, *, rate: float, batch_size: int, seeds: int, time: float = DRIFT_TIME) -> Array:
    """Relative error of the first-order law for each layer's imbalance, mean over orders; shape (depth - 1,)."""
    a, v = m.balanced_start(START_SCALE)
    v = v * np.linspace(1.0, 2.0, m.depth - 1)
    steps = round(time / rate)
    change = []
    for k in range(seeds):
        order = fresh_batches(m.num_samples, batch_size, steps, seed=k)
        run = m.sgd(a, v, learning_rate=rate, num_steps=steps, batch_size=batch_size, order=order, record=[0])
        change.append(m.imbalance(run.a[-1], run.v[-1]) - m.imbalance(a, v))
    calm, noise = m.drift(a, v, time=time)
    law = rate * (calm + noise_factor(m.num_samples, batch_size) * noise)
    return np.abs(law / np.mean(change, axis=0) - 1)


# -- What the paper states and what we derived, as claims to be measured ----------------------------------------------

_DIGITS = "digits of an independent implementation"

# fmt: off
statements = Statements("progressive_sharpening")


C1 = statements.statement(
    "C1", r"The sharpness of the minimal model has a closed form.", "ours", source="ours",
)
C1.in_cells(
    "a", r"Exact sharpness of the minimal model against automatic differentiation, depths 2, 3, 5, 8: largest relative difference",
    "ours", "at most", 1e-10, 0.0,
    "rounding", basis="exact", control="the Gauss–Newton matrix instead of the Hessian",
)
C1.in_cells(
    "b", r"The same early in training, where layers of one size deflate the top eigenvalue out of the secular equation",
    "ours", "at most", 1e-10, 0.0,
    "rounding", basis="exact", control="the secular equation alone",
)
C1.in_cells(
    "c", r"The same at a saddle, where the most negative eigenvalue is the largest in magnitude",
    "ours", "at most", 1e-10, 0.0,
    "rounding", basis="exact", control="the eigenvalue of largest magnitude",
)

C2 = statements.statement(
    "C2", r"At a minimum of the two-layer model the sharpness lies between two bounds, and falls with the imbalance.", "Theorem for D = 2", source="paper",
)
C2.in_cells(
    "a", r"$D = 2$: the sharpness at a minimum lies between the bounds, for $C \in [-3, 3]$ on several data sets (smallest relative slack)",
    "Theorem for D = 2", "at least", 0.0, 1e-10,
    "rounding", basis="statement", control="the bounds at the balanced minimum for every C",
)
C2.in_cells(
    "b", r"Two classes (0, 6), $N = 100$, balanced: lower bound, exact sharpness, upper bound",
    "ours", "approx", (398.3729, 398.37297, 399.4327), 1e-4,
    _DIGITS, basis="second", control="labels shuffled",
)
C2.in_cells(
    "c", r"The gap between the bounds is $\sum_{i \ge 2} d_i^2 / N v^2 \le 1/v^2$: largest gap times $v^2$, over the same grid",
    "ours", "at most", 1.0, 1e-9,
    "rounding", basis="statement", control="v of the opposite imbalance",
)
C2.in_cells(
    "d", r"The sharpness falls with the imbalance: largest relative step up over $C \in [-3, 0]$",
    "Theorem for D = 2", "at most", 0.0, 1e-12,
    "rounding", basis="statement", control="imbalances beyond the flattest minimum",
)
C2.in_cells(
    "e", r"… and does so only while $v^4 > d_1^2/\sigma_1^2$: this ratio of the two sides where the lower bound turns",
    "ours", "approx", 1.0, 1e-3,
    "width of the search", basis="exact", control="where the upper bound turns",
)

C3 = statements.statement(
    "C3", r"For balanced layers of any number the sharpness at a minimum lies between two bounds.", "Theorem for any D", source="paper",
)
C3.in_cells(
    "a", r"Balanced, $D = 2, \dots, 6$: the sharpness lies between the bounds, on several data sets (smallest relative slack)",
    "Theorem for any D", "at least", 0.0, 1e-10,
    "rounding", basis="statement", control="the bounds of one layer more",
)
C3.in_cells(
    "b", r"Classes (2, 4), $N = 150$, $D = 3$: $\hat S$, lower bound, exact sharpness, upper bound",
    "ours", "approx", (1160.986, 1161.00026, 1161.00028, 1162.478), 1e-3,
    _DIGITS, basis="second", control="labels shuffled",
)
C3.in_cells(
    "c", r"… and their difficulty $Q$",
    "ours", "approx", 2.412027, 1e-6,
    _DIGITS, basis="second", control="labels shuffled",
)
C3.in_cells(
    "d", r"$\hat S_D$ is the sharpness for $Q > 0.3$: largest relative difference, $D = 2, \dots, 6$",
    "ours", "at most", 1e-3, 0.0,
    "seen on all data sets by an independent implementation", basis="second", control=r"the power of $Q$ one instead of $(D-1)/D$",
)

C4 = statements.statement(
    "C4", r"Gradient flow conserves every imbalance.", "Section 5", source="paper",
)
C4.in_cells(
    "a", r"The flow conserves every imbalance: largest change, $D = 2, 3, 5$",
    "Section 5", "at most", 1e-7, 0.0,
    "tolerance of the integrator", basis="statement", control=r"the sum $\lVert u\rVert^2 + v^2$",
)
C4.in_cells(
    "b", r"Descent does not, to first order in its step: ratio of the drifts when the step is halved",
    "ours", "approx", 2.0, 0.2,
    "next order in the step", basis="exact", control="the midpoint rule instead of Euler's",
)

C5 = statements.statement(
    "C5", r"The start alone predicts the sharpness at which the flow ends.", "Theorem for D = 2 and balanced starts", source="paper",
)
C5.in_cells(
    "a", r"The start alone predicts where the flow ends: largest relative error of the sharpness over 18 flows ($N$, $D$, balanced or not)",
    "Theorem for D = 2 and balanced starts; otherwise derived", "at most", 1e-4, 0.0,
    "the flow is stopped at a loss of 1e-10", basis="statement", control="imbalance left out of the prediction",
)
C5.in_cells(
    "b", r"(0, 6), $N = 100$, balanced: sharpness at the end for $D = 2, 3, 5$",
    "ours", "approx", (398.373, 389.478, 382.517), 1e-3,
    _DIGITS, basis="second", control="labels shuffled",
)

C6 = statements.statement(
    "C6", r"More data end sharper.", "Figure on dataset size", source="paper",
)
C6.in_cells(
    "a", r"More data end sharper: balanced, $D = 2$, $N = 50, 100, 200, 300$",
    "ours", "approx", (286.9, 398.4, 965.1, 1534.0), 0.06,
    _DIGITS, basis="second", control=r"$\sigma_1^2/N$ alone",
)
C6.in_cells(
    "b", r"$Q$ never falls as samples are added: smallest step over all prefixes",
    "ours", "at least", 0.0, 0.0,
    "the difficulty of nested data is monotone", basis="exact", control=r"$\sigma_1^2/N$ instead of $Q$",
)

C7 = statements.statement(
    "C7", r"Deeper models end sharper.", "Figure on depth", source="paper",
)
C7.in_cells(
    "a", r"Depth sharpens where $Q > 1$: $N = 300$, $D = 2, \dots, 6$",
    "ours", "approx", (1534.0, 2301.0, 2818.0, 3183.0, 3452.0), 1.0,
    _DIGITS, basis="second", control="labels shuffled",
)
C7.in_cells(
    "b", r"… and flattens where $Q < 1$: $N = 100$",
    "ours", "approx", (398.0, 389.0, 385.0, 383.0, 381.0), 0.6,
    _DIGITS + ", rounded", basis="second", control="the depths in opposite order",
)
C7.in_cells(
    "c", r"The factor by which the sharpness rises grows with depth in both cases: smallest ratio of neighbours",
    "ours", "at least", 1.0, 0.0,
    "the start flattens with depth much faster", basis="statement", control="the end alone",
)

C8 = statements.statement(
    "C8", r"A step of gradient descent, and more so of SGD, moves the imbalance by a known amount.", "Theorem 5.9 (wording reconstructed)", source="paper",
)
C8.in_cells(
    "a", r"Change of $C$ in a step of GD, $D = 2$: largest relative error of $\eta^2(\Psi_1 - C\,\Omega_1)$",
    "Theorem 5.9 (wording reconstructed)", "at most", 1e-9, 0.0,
    "cancellation", basis="exact", control="without the term in C",
)
C8.in_cells(
    "b", r"Expected change in a step of SGD, all batches enumerated: largest relative error of $\eta^2(\Psi_2 - C\,\Omega_2)$",
    "Theorem 5.9 (wording reconstructed)", "at most", 1e-9, 0.0,
    "cancellation", basis="exact", control=r"$(N-B)/(BN)$ for $(N-B)/(B(N-1))$",
)
C8.in_cells(
    "c", r"The same with replacement, where the factor is $1/B$",
    "ours", "at most", 1e-9, 0.0,
    "cancellation", basis="exact", control="the factor without replacement",
)
C8.in_cells(
    "d", r"Noise adds: smallest of $\Psi_1$, $\Psi_2 - \Psi_1$, $\Omega_2 - \Omega_1$ over random weights",
    "Theorem 5.9 (wording reconstructed)", "at least", 0.0, 1e-12,
    "rounding", basis="statement", control=r"the variance of $u^\top g_n$ summed over samples instead of averaged",
)
C8.in_cells(
    "e", r"Any depth: GD multiplies $v_i^2 - v_j^2$ by $1 - \eta^2 (a^\top g')^2 P^2/v_i^2 v_j^2$; largest relative error",
    "ours", "at most", 1e-12, 0.0,
    "rounding", basis="exact", control="a plus sign",
)

C9 = statements.statement(
    "C9", r"At the edge of stability the sharpness stays at $2/\eta$, in oscillations that decay, and the precision of the arithmetic decides how bad the spikes are.", "Section 4", source="paper",
)
C9.in_cells(
    "a", r"At the edge the sharpness stays at $2/\eta$: mean of $S\eta/2$ over the last fifth, float32 and float64",
    "Section 4", "approx", (1.0, 1.0), 0.02,
    "an independent implementation saw 1.000 ± 0.003", basis="statement", control=r"$2/\eta$ above the flow's limit",
)
C9.in_cells(
    "b", r"… in oscillations that decay: amplitude in the last 300 of 3000 steps over that in the first 300",
    "Section 4", "at most", 0.05, 0.0,
    "0.5 % seen by an independent implementation", basis="statement", control="the second 300 steps",
)
C9.in_cells(
    "c", r"… while the loss is not monotone: number of steps at which it rises",
    "Section 4", "at least", 100, 0.0,
    "hundreds seen by an independent implementation", basis="statement", control=r"$2/\eta$ above the flow's limit",
)
C9.in_cells(
    "d", r"The same at $2/\eta = 300$, $200$ ($D = 2$) and $120$ ($D = 3$): mean of $S\eta/2$ over the last fifth",
    "Section 4", "approx", (1.0, 1.0, 1.0), 0.02,
    "as for C9a", basis="statement", control=r"$2/\eta$ above the flow's limit",
)
C9.in_cells(
    "e", r"Descent ends with sharpness $\min(S_\text{flow}, 2/\eta)$: $S\eta/2$ after 60 000 steps",
    "ours", "approx", 1.0, 2e-3,
    "the approach to the end point is slow", basis="statement", control="the flow's limit",
)
C9.in_cells(
    "f", r"… and with the imbalance that solves $S(C) = 2/\eta$",
    "ours", "approx", 2.8217, 1e-3,
    _DIGITS, basis="second", control="the root on the other side of the flattest minimum",
)
C9.in_cells(
    "g", r"There is such an imbalance only above the flattest minimum: its sharpness, for (3, 8), $N = 70$ and (0, 6), $N = 100$",
    "ours", "approx", (26.2606, 23.38), 0.006,
    "dense eigenvalues of the Gram matrix at its imbalance; " + _DIGITS, basis="second", control="the balanced minimum",
)
C9.in_cells(
    "h", r"… and its imbalance",
    "ours", "approx", (3.02, 17.45), 0.02,
    _DIGITS, basis="second", control="where the lower bound turns",
)
C9.in_cells(
    "i", r"Precision decides how bad the spikes are: highest loss in float64 over that in float32, $N = 300$, $2/\eta = 200$, every seed",
    "Section 4", "at least", 1.4, 0.0,
    "2.2 seen by an independent implementation", basis="statement", control="float32 in both",
)

C10 = statements.statement(
    "C10", r"Smaller batches and larger steps end less balanced and flatter.", "Figures on batch size and learning rate, Theorem 5.9", source="paper",
)
C10.in_cells(
    "a", r"Smaller batches end less balanced: smallest difference of $1000\,C$ between neighbouring batch sizes, at every step size",
    "Figure on batch size", "at least", 0.0, 0.0,
    "differences of many standard deviations", basis="statement", control="a larger step with the larger batch",
)
C10.in_cells(
    "b", r"So do larger steps: smallest difference of $1000\,C$ between neighbouring step sizes",
    "Figure on learning rate", "at least", 0.0, 0.0,
    "differences of many standard deviations", basis="statement", control="a larger batch with the larger step",
)
C10.in_cells(
    "c", r"And they end flatter: smallest drop of the final sharpness, from each batch size to the smaller, from each step to the larger",
    "Figures on batch size and learning rate", "at least", 0.0, 0.0,
    "differences of many standard deviations", basis="statement", control="batch and step raised together",
)
C10.in_cells(
    "d", r"$1000\,C$ at $\eta = 2 \cdot 10^{-3}$ for $B = 10, 25, 50, 100$",
    "ours", "approx", (47.7, 16.1, 6.0, 0.85), 0.5,
    "noise of 4 seeds, 1 % of the largest", basis="second", control="with replacement",
)
C10.in_cells(
    "e", r"… and the final sharpness",
    "ours", "approx", (351.5, 359.0, 361.3, 362.4), 0.5,
    "noise of 4 seeds", basis="second", control="the sharpness of the flow for all",
)
C10.in_cells(
    "f", r"The excess over full batch is $\eta k_B$ times one constant: spread of $(C_B - C_N)/\eta k_B$ over batch sizes, largest over $\eta$",
    "Theorem 5.9", "at most", 0.03, 0.0,
    "noise of 4 seeds", basis="statement", control=r"$1/B$ for $k_B$",
)

C11 = statements.statement(
    "C11", r"The difficulty of a data set grows quickly with its size.", "Table of dataset difficulty", source="paper",
)
C11.in_cells(
    "a", r"Difficulty of the first $N = 50, 100, 200, 300, 500$ images of two classes (0, 6)",
    "ours", "approx", (0.4503, 0.87315, 4.3022, 11.394, 91.168), 6e-4,
    _DIGITS, basis="second", control="labels shuffled",
)
C11.in_cells(
    "b", r"$\log_{10}$ of the mean over ten random subsets, $N = 50, 100, 200, 300, 500$",
    "ours", "approx", (-0.431, 0.047, 0.619, 1.047, 1.883), 0.12,
    "three times the spread of a mean of ten, 0.034 at $N = 50$; means over 200 subsets by least squares", basis="second", control="the first singular value only",
)
C11.in_cells(
    "c", r"CIFAR-10: $\log_{10} Q$ for two classes, $N = 100, 300, 1000$",
    "Table of dataset difficulty", "approx", (-0.658, 0.230, 1.648), 1.0,
    "classes and preprocessing are not known: order of magnitude", basis="printed", control="the first singular value only", paper_value='Q = 0.22, 1.70, 44.44',
)

C12 = statements.statement(
    "C12", r"The predicted sharpness follows the one that networks reach.", "Figure on correlation", source="paper",
)
C12.in_cells(
    "a", r"Deep linear networks, width 64, $D = 5$: correlation of $\hat S_D$ with the sharpness they reach, 25 sets",
    "Figure on correlation (width 2048, CIFAR-10: 0.99)", "at least", 0.97, 0.0,
    "an independent implementation saw 0.997", basis="statement", control="the sharpness at the start", paper_value=0.99,
)
C12.in_cells(
    "b", r"Tanh networks, width 64, $D = 4$: the same, 20 sets",
    "Figure on correlation (width 1024, SVHN: 0.81)", "at least", 0.75, 0.0,
    "an independent implementation saw 0.93", basis="statement", control="the sharpness at the start", paper_value=0.81,
)
C12.in_cells(
    "c", r"Small initial weights make a wide linear network the minimal model: sharpness over the exact $S^\star$, gain 0.2, $D = 2, 3$, widths 16, 64, 256",
    "ours", "approx", (1.0,) * 6, 0.015,
    "an independent implementation saw 1.000 to 1.013", basis="statement", control="gain 1",
)
C12.in_cells(
    "d", r"At the paper's widths: 5-layer linear networks on CIFAR-10",
    "Figure on correlation", "approx", 0.99, 0.01,
    "two digits", basis="printed", control="the sharpness at the start", paper_value=0.99,
)
C12.in_cells(
    "e", r"… 4-layer tanh networks on SVHN",
    "Figure on correlation", "approx", 0.81, 0.05,
    "two digits", basis="printed", control="the sharpness at the start", paper_value=0.81,
)

C13 = statements.statement(
    "C13", r"In networks smaller batches and larger steps end flatter.", "Cohen et al. 2021", source="prior",
)
C13.in_cells(
    "a", r"A tanh network: smaller batches end flatter, $\eta = 10^{-3}$ (rise of the sharpness from $B = 5$ to 20, mean)",
    "Cohen et al. 2021", "at least", 0.0, 0.0,
    "three standard errors over seeds", basis="statement", control="a larger step with the larger batch", across="mean",
)
C13.in_cells(
    "b", r"… at $\eta = 4 \cdot 10^{-3}$ (rise from $B = 5$ to 20 over the spread of the seeds, and from 20 to 100)",
    "Cohen et al. 2021", "at least", 3.0, 0.0,
    "an ordering by three standard deviations", basis="statement", control="a larger step with the larger batch",
)
C13.in_cells(
    "c", r"… at $\eta = 10^{-2}$ (rise from $B = 5$ to 20 over the spread of the seeds)",
    "Cohen et al. 2021", "at least", 3.0, 0.0,
    "an ordering by three standard deviations", basis="statement", control="a larger step with the larger batch",
)
C13.in_cells(
    "d", r"… and larger steps end flatter at $B = 5$ (falls from step to step over the spread of the seeds)",
    "Cohen et al. 2021", "at least", 3.0, 0.0,
    "an ordering by three standard deviations", basis="statement", control="a larger batch with the larger step",
)
C13.in_cells(
    "e", r"Full batch at $\eta = 10^{-2}$ sits at the edge: $S\eta/2$, mean over seeds",
    "Cohen et al. 2021", "approx", 1.0, 0.05,
    "oscillation about the edge", basis="statement", control=r"$\eta = 4 \cdot 10^{-3}$",
)

C14 = statements.statement(
    "C14", r"With the logistic loss the sharpness rises and then falls as margins grow: outside the theory.", "Section on limitations", source="paper",
)
C14.in_cells(
    "", r"Outside the theory: with the logistic loss the sharpness rises, then falls as margins grow (last over highest)",
    "Section on limitations", "at most", 0.5, 0.0,
    "it vanishes with the loss", basis="statement", control="the squared loss",
)

C15 = statements.statement(
    "C15", r"The sharpness tool is exact along a training run, and faster than public ones.", "ours", source="ours",
)
C15.in_cells(
    "a", r"The sharpness tool, float32, along a training run of an MLP (89 610 parameters): largest relative error",
    "ours", "at most", 1e-5, 0.0,
    "square of the tolerance, rounding of float32", basis="exact", control="power iteration",
)
C15.in_cells(
    "b", r"Hessian-vector products an evaluation, warm-started (mean)",
    "ours", "at most", 14, 0.0,
    "12 seen by an independent implementation", basis="second", control="scipy's eigsh",
)
C15.in_cells(
    "c", r"Where the top two eigenvalues cross along a trajectory: largest relative error of warm starts",
    "ours", "at most", 1e-4, 0.0,
    "square of the tolerance over the gap", basis="exact", control="the curvature along the old eigenvector",
)
C15.in_cells(
    "d", r"Recorded speed over curvlinops with eigsh, on the MLP and on a CNN",
    "ours", "at least", (4.0, 3.0), 0.0,
    "a ratio of times in one run", basis="statement", control="curvlinops against itself",
)
C15.in_cells(
    "e", r"Recorded speed over PyHessian's defaults, on the MLP and on the CNN",
    "ours", "at least", (1.0, 1.0), 0.0,
    "a ratio of times in one run", basis="statement", control="ten evaluations for one",
)
C15.in_cells(
    "f", r"Recorded speed of the minimal model's sharpness over dense eigenvalues and over automatic differentiation",
    "ours", "at least", (15.0, 500.0), 0.0,
    "a ratio of times in one run", basis="statement", control="dense eigenvalues against themselves",
)

D1 = statements.statement(
    "D1", r"One closed form gives the final sharpness at other steps, sizes and depths.", "ours", source="ours",
)
D1.in_cells(
    "", r"Closed form against 6 runs at other steps, sizes and depths (2 and 3): largest relative difference of the final sharpness",
    "ours", "at most", 2e-3, 0.0,
    "the bar of C9e", basis="exact", control="the flow's limit",
)

D2 = statements.statement(
    "D2", r"The final layer follows from the closed form of its imbalance.", "ours", source="ours",
)
D2.in_cells(
    "", r"… and, where the loss has reached $10^{-9}$, of the final layer from the closed form of its imbalance",
    "ours", "at most", 1e-5, 0.0,
    "distance from zero loss", basis="exact", control="the layer at the start's imbalance",
)

D3 = statements.statement(
    "D3", r"Spikes grow with the precision of the arithmetic.", "ours", source="ours",
)
D3.in_cells(
    "", r"Spikes grow with precision: median highest loss by mantissa bits, $N = 100$, $2/\eta = 200$",
    "ours", "order", ("24", "53", "100", "200", "400"), 0.1,
    "the unstable direction grows from the rounding floor", basis="statement", control="bits in opposite order",
)

D4 = statements.statement(
    "D4", r"The first-order law of the imbalance under SGD.", "ours", source="ours",
)
D4.in_cells(
    "a", r"The first-order law of $C$ under SGD at $B = 10$: its relative error vanishes with the step size, by the power",
    "ours", "slope", 1.0, 0.25,
    "next order in the step", basis="statement", control="the full-batch term left out and the noise doubled",
)
D4.in_cells(
    "b", r"The integral of the noise, one ODE",
    "ours", "approx", 221.28, 0.05,
    _DIGITS, basis="second", control="half the time",
)
D4.in_cells(
    "c", r"… and of the full gradient",
    "ours", "approx", 0.4235, 5e-4,
    _DIGITS, basis="second", control="half the time",
)

D5 = statements.statement(
    "D5", r"The law at depth four.", "ours", source="ours",
)
D5.in_cells(
    "", r"The law at depth 4: relative error of the predicted $C_i$ under SGD, every layer",
    "ours", "at most", 0.1, 0.0,
    "first order in the step, noise of the seeds", basis="statement", control="the noise left out",
)

D6 = statements.statement(
    "D6", r"What small starts leave over the prediction comes from their imbalance.", "ours", source="ours",
)
D6.in_cells(
    "", r"The excess of C12c comes from the imbalance of the start: it falls with the gain, by the power",
    "ours", "slope", 2.0, 0.15,
    "imbalance is quadratic in the weights; next order", basis="statement", control="the ratio itself instead of its excess over one",
)

D7 = statements.statement(
    "D7", r"As a function of $v^2$ the sharpness of minima is convex: $S(C) = 2/\eta$ has at most two roots.", "ours", source="ours",
)
D7.in_cells(
    "", r"As a function of $v^2$ the sharpness of minima is convex, so that $S(C) = 2/\eta$ has at most two roots: smallest second difference",
    "ours", "at least", 0.0, 1e-10,
    "rounding", basis="statement", control=r"as a function of $v^4$",
)
# fmt: on

# fmt: on


# -- A figure that computes in the reader's browser: the closed forms of the minimal model behind four sliders --------

_DEPTHS, _IMBALANCE, _EDGE = (2, 8), (-3.0, 3.0), (1.0, 3.7)  # ranges of the sliders; 2/η as a power of ten
_WIDTH, _HEIGHT, _LOW, _HIGH = 560.0, 240.0, 1.0, 4.3  # of the plot, and its vertical axis in powers of ten

# The script sits in the figure's own handler: no global names, and it works wherever the markup is pasted. It repeats
# `layer_squares` and the secular equation of `MinimalModel.minimum_sharpness`. No double quotes may occur in it.
_SCRIPT = """
const f=this,g=k=>+f.querySelector('[name='+k+']').value,m=JSON.parse(f.dataset.models)[g('n')],D=g('d'),C=g('c');
const edge=10**g('e'),Q=m.d.reduce((t,d,i)=>t+(d/m.s[i])**2,0);
const square=c=>{const b=Math.max(c,0);let t=Math.log(Q)/D;
for(let i=0;i<60;i++){const e=Math.exp(t),x=e+b,y=e+b-c;
t-=(Math.log(x)+(D-1)*Math.log(y)-Math.log(Q))/(e/x+(D-1)*e/y)}return Math.exp(t)+(b-c)};
const sharp=c=>{const v=square(c),P=v**(D-1),h=(D-1)/v;let lo=P*m.s[0]**2,hi=lo+h*m.d.reduce((t,d)=>t+d*d,0);
const low=lo+h*m.d[0]**2,up=hi;
for(let i=0;i<60;i++){const x=(lo+hi)/2;let F=0;for(let k=0;k<m.s.length;k++)F+=m.d[k]**2/(x-P*m.s[k]**2);
h*F<1?hi=x:lo=x}return [low/m.N,(lo+hi)/2/m.N,up/m.N]};
const X=c=>(c+3)/6*560,Y=s=>240*(1-(Math.log10(s)-1)/3.3),path=p=>p.map((q,i)=>(i?'L':'M')+q[0].toFixed(1)+' '+
q[1].toFixed(1)).join('');
const cs=[...Array(61).keys()].map(i=>i/10-3),all=cs.map(sharp),here=sharp(C);
[0,1,2].forEach(k=>f.querySelector('.s'+k).setAttribute('d',path(cs.map((c,i)=>[X(c),Y(all[i][k])]))));
const dot=f.querySelector('circle'),line=f.querySelector('line');dot.setAttribute('cx',X(C));dot.setAttribute('cy',Y(here[1]));
line.setAttribute('y1',Y(edge));line.setAttribute('y2',Y(edge));
const r=x=>x.toPrecision(4);f.querySelector('.n').textContent=m.N;f.querySelector('.d').textContent=D;
f.querySelector('.c').textContent=C.toFixed(1);f.querySelector('.e').textContent=r(edge);
f.querySelector('.text').textContent='Q = '+r(Q)+': the flow ends with sharpness '+r(here[1])+', between '+r(here[0])+
' and '+r(here[2])+'; '+(here[1]<=edge?'below 2/η, so descent ends there too.':'above 2/η: descent goes to the edge.');
"""


@dataclass(frozen=True, repr=False)
class Playground:
    """The figure as HTML that needs nothing else. See `playground`."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return "Figure with sliders for the number of samples, the depth, the imbalance and the step size"


def playground(spectra: Mapping[int, Spectrum], *, depth: int = 2, edge: float = 120.0) -> Playground:
    """Sliders for data, depth, imbalance and step size; the sharpness of minima follows at once, without a server.

    Parameters
    ----------
    spectra : mapping of int to Spectrum
        By number of samples.
    depth : int
        Where the slider for the depth stands at first, 2 to 8.
    edge : float
        The same for 2 over the learning rate, 10 to 5000.

    Raises
    ------
    ValueError
        `spectra` is empty, or a value is out of its range.
    """
    if not spectra or not _DEPTHS[0] <= depth <= _DEPTHS[1] or not 10 ** _EDGE[0] <= edge <= 10 ** _EDGE[1]:
        raise ValueError(f"spectra of sizes {list(spectra)}, depth={depth!r}, edge={edge!r}: see the ranges allowed")
    sizes = list(spectra)
    models = [_compact(s) for s in spectra.values()]
    curves = _curves(spectra[sizes[0]], depth)
    here = curves[:, len(curves[0]) // 2]
    state = {"n": str(sizes[0]), "d": str(depth), "c": "0.0", "e": f"{edge:.4g}"}
    paths = "".join(
        f'<path class="s{k}" d="{_path(curve)}" fill="none" stroke="{colour}" stroke-width="{width}"></path>'
        for k, (curve, colour, width) in enumerate(zip(curves, (GREY, BLUE, GREY), (1, 2.5, 1), strict=True))
    )
    level = _y(edge)
    rows = (
        ("n", "samples", 0, len(sizes) - 1, 1, 0),
        ("d", "depth", *_DEPTHS, 1, depth),
        ("c", "imbalance", *_IMBALANCE, 0.1, 0),
        ("e", "2/η", *_EDGE, 0.01, np.log10(edge)),
    )
    controls = "".join(
        f'<label style="display:flex;gap:0.75em"><span style="min-width:6em">{label}</span>'
        f'<input type="range" name="{name}" min="{low}" max="{high}" step="{step}" value="{value:g}" autocomplete="off" '
        f'style="flex:1;min-width:4em"><output class="{name}" style="min-width:4em">{state[name]}</output></label>'
        for name, label, low, high, step, value in rows
    )
    verdict = "below 2/η, so descent ends there too." if here[1] <= edge else "above 2/η: descent goes to the edge."
    text = (
        f"Q = {spectra[sizes[0]].difficulty:.4g}: the flow ends with sharpness {here[1]:.4g}, between {here[0]:.4g} and "
        f"{here[2]:.4g}; {verdict}"
    )
    ticks = "".join(
        f'<text x="4" y="{_y(10**k) - 3:.0f}" fill="currentColor" font-size="11">{10**k}</text>' for k in (1, 2, 3, 4)
    )
    html = f"""<figure class="dl-playground" style="margin:1em 0;max-width:50em" \
data-models='{json.dumps(models, separators=(",", ":"))}' oninput="{escape(_SCRIPT.strip())}">
<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" style="width:100%" aria-label="Sharpness of the minimum against the \
imbalance from -3 to 3, between its bounds, with a dot at the chosen imbalance and a line at 2/η">
{paths}<line x1="0" x2="{_WIDTH:g}" y1="{level:.1f}" y2="{level:.1f}" stroke="{ORANGE}" stroke-dasharray="6 4"></line>\
<circle cx="{_WIDTH / 2:g}" cy="{_y(here[1]):.1f}" r="6" fill="{BLUE}"></circle>{ticks}</svg>
{controls}
<figcaption class="text" aria-live="polite">{text}</figcaption>
</figure>"""
    return Playground(html)


def _compact(s: Spectrum) -> dict[str, object]:
    return {"N": s.num_samples, "s": [float(f"{x:.8g}") for x in s.sigma], "d": [float(f"{x:.8g}") for x in s.labels]}


def _curves(s: Spectrum, depth: int) -> np.ndarray:
    """Lower bound, exact sharpness and upper bound over the imbalances of the plot, shape (3, 61)."""
    C = np.repeat(np.linspace(*_IMBALANCE, 61)[:, None], depth - 1, axis=1)
    v2 = layer_squares(s.difficulty, C)
    exact = sharpness_at_minimum(s, v2)
    first, h = s.sigma[0] ** 2 * np.prod(v2, axis=1), np.sum(1 / v2, axis=1)
    bounds = [(first + h * part) / s.num_samples for part in (s.labels[0] ** 2, s.labels @ s.labels)]
    return np.array([bounds[0], exact, bounds[1]])


def _y(sharpness: float) -> float:
    return float(_HEIGHT * (1 - (np.log10(sharpness) - _LOW) / (_HIGH - _LOW)))


def _path(curve: np.ndarray) -> str:
    points = zip(np.linspace(0, _WIDTH, len(curve)), (_y(s) for s in curve), strict=True)
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
