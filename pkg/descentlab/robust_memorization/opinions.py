"""What others make of the same task: generic verifiers on our networks, and networks that are trained to be robust."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from descentlab.robust_memorization.instances import Labels
from descentlab.robust_memorization.points import Array, as_points
from descentlab.robust_memorization.registers import Layer, empty_linear, from_torch
from descentlab.robust_memorization.verification import interval_bounds

# Generic verifiers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opinion:
    """What a verifier says of one network, and in which time.

    Attributes
    ----------
    proved : int
        Balls on which it encloses the output within 1e-6 of the label.
    seconds : float
        Of one core, for all balls.
    """

    proved: int
    seconds: float


@dataclass(frozen=True)
class Opinions:
    """Recorded opinions of several verifiers on one network.

    Attributes
    ----------
    num_balls, num_parameters, depth : int
    by_verifier : mapping of str to Opinion
    """

    num_balls: int
    num_parameters: int
    depth: int
    by_verifier: Mapping[str, Opinion]

    def share(self, verifier: str) -> float:
        """Share of the balls that `verifier` proves."""
        return self.by_verifier[verifier].proved / self.num_balls


def recorded_opinions(path: str | Path = "cpu/robust_memorization_verifiers.json") -> dict[str, Opinions]:
    """Opinions by network, as the benchmarks recorded them; empty where there is no record."""
    if not Path(path).exists():
        return {}
    stored = json.loads(Path(path).read_text(encoding="utf-8"))["networks"]
    return {
        name: Opinions(
            entry["balls"],
            entry["parameters"],
            entry["depth"],
            {tool: Opinion(said["proved"], said["seconds"]) for tool, said in entry["verifiers"].items()},
        )
        for name, entry in stored.items()
    }


# Training for robustness ---------------------------------------------------------------------------------------------


def mlp_width(dim: int, num_classes: int, num_parameters: int) -> int:
    """Width of two equal hidden layers with which a classifier has about `num_parameters`, and not fewer."""
    linear = dim + 2 + num_classes
    return max(1, math.ceil((math.sqrt(linear**2 + 4 * max(0, num_parameters - num_classes)) - linear) / 2))


def train_adversarially(
    X: Array,
    y: Labels,
    *,
    radius: float,
    num_parameters: int,
    num_steps: int = 400,
    attack_steps: int = 7,
    seed: int = 0,
) -> nn.Sequential:
    """A classifier with two hidden layers, trained on the worst points that projected gradients find in each ball.

    Adam on the cross-entropy of all points at once; it stops early once the attack of training
    finds no error in any ball.

    Parameters
    ----------
    X : array, shape (N, d)
    y : array of int, shape (N,)
    radius : float
        Of the Euclidean balls.
    num_parameters : int
        At least so many weights and biases, by choice of the width.
    num_steps, attack_steps : int
    seed : int

    Returns
    -------
    Sequential
        With one output a class, in the order of the labels.
    """
    points = as_points(X, y)
    generator = torch.Generator().manual_seed(seed)
    width = mlp_width(points.X.shape[1], len(points.labels), num_parameters)
    sizes = (points.X.shape[1], width, width, len(points.labels))
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = empty_linear(fan_in, fan_out, dtype=torch.float32)
        with torch.no_grad():
            linear.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            linear.bias.zero_()
        modules += [linear, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    scale = float(np.abs(points.X - points.X.mean(axis=0)).max())  # inputs of order one, whatever the units
    with torch.no_grad():
        modules[0].weight.div_(scale)  # type: ignore[operator, union-attr]
    inputs, targets = torch.as_tensor(points.X, dtype=torch.float32), torch.as_tensor(points.codes)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(num_steps):
        worst = _ascend(network, inputs, targets, radius, attack_steps, generator)
        optimizer.zero_grad()
        outputs = network(worst)
        functional.cross_entropy(outputs, targets).backward()
        optimizer.step()
        if bool((outputs.argmax(dim=1) == targets).all()) and _found_nothing(
            network, inputs, targets, radius, generator
        ):
            break
    return network


def share_withstanding(
    network: nn.Module, X: Array, y: Labels, *, radius: float, attack_steps: int = 50, restarts: int = 2, seed: int = 0
) -> float:
    """Share of the balls in which projected gradients find no point of the wrong class.

    An upper bound on the share of balls on which a classifier is right: what is found is wrong, while finding nothing
    proves nothing.
    """
    points = as_points(X, y)
    inputs, targets = torch.as_tensor(points.X, dtype=torch.float32), torch.as_tensor(points.codes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        right = network(inputs).argmax(dim=1) == targets
    for _ in range(restarts):
        found = _ascend(network, inputs, targets, radius, attack_steps, generator)
        with torch.no_grad():
            right &= network(found).argmax(dim=1) == targets
    return float(right.double().mean())


def share_enclosed(network: nn.Module, X: Array, y: Labels, *, radius: float) -> float:
    """Share of the balls on which plain intervals prove that the output of the right class is the largest."""
    points = as_points(X, y)
    *hidden, last = from_torch(network)
    proved = np.zeros(len(points.X), dtype=bool)
    for code in range(len(points.labels)):
        own = points.codes == code
        others = [k for k in range(len(points.labels)) if k != code]
        leads = [
            interval_bounds(
                [*hidden, Layer(last.weight[[code]] - last.weight[[k]], last.bias[[code]] - last.bias[[k]])],
                points.X[own],
                radius,
            )[0]
            for k in others
        ]
        proved[own] = np.min(leads, axis=0) > 0
    return float(proved.mean())


def _found_nothing(network: nn.Module, X: Tensor, targets: Tensor, radius: float, generator: torch.Generator) -> bool:
    found = _ascend(network, X, targets, radius, 20, generator)
    with torch.no_grad():
        return bool((network(found).argmax(dim=1) == targets).all())


def _ascend(
    network: nn.Module, X: Tensor, targets: Tensor, radius: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Projected normalized gradient ascent on the loss, from random points of the balls."""
    noise = torch.randn(X.shape, generator=generator)
    shift = radius * noise / noise.norm(dim=1, keepdim=True) * torch.rand(len(X), 1, generator=generator)
    for _ in range(steps):
        shift.requires_grad_()
        loss = functional.cross_entropy(network(X + shift), targets, reduction="sum")
        (slope,) = torch.autograd.grad(loss, shift)
        shift = shift.detach() + 2.5 * radius / steps * functional.normalize(slope, dim=1)
        shift *= (radius / shift.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
    return X + shift
