"""The experiments on networks, and on the sharpness tool: what the minimal model is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn import functional

from descentlab.geometry import Array
from descentlab.progressive_sharpening.difficulty import Spectrum, spectrum
from descentlab.progressive_sharpening.flows import network_flow, network_flows
from descentlab.progressive_sharpening.hessian import Eigenpairs, top_hessian_eigenvalues
from descentlab.progressive_sharpening.minimal import MinimalModel
from descentlab.progressive_sharpening.networks import (
    Network,
    initial_weights,
    network_sharpness,
    train_in_batches,
)
from descentlab.progressive_sharpening.problems import IMAGES, PAIRS, images, power_law_data, two_classes

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
