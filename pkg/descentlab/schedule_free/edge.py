"""A network trained with full batches: its sharpness rises to the threshold of stability and stays there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from descentlab import data
from descentlab.networks import MLP, seeded
from descentlab.schedule_free.optimizers import ScheduleFreeAdamW, ScheduleFreeSGD
from descentlab.schedule_free.theory import stability_threshold


@dataclass(frozen=True)
class Edge:
    """Sharpness along a run.

    Attributes
    ----------
    steps : ndarray, shape (n,)
    loss : ndarray, shape (n,)
    sharpness : ndarray, shape (n,)
        Largest eigenvalue of the Hessian at the gradient points, preconditioned for AdamW.
    threshold : float
        Limit of stability for it.
    """

    steps: np.ndarray
    loss: np.ndarray
    sharpness: np.ndarray
    threshold: float

    @property
    def ratio(self) -> np.ndarray:
        return self.sharpness / self.threshold

    @property
    def plateau(self) -> float:
        """Mean ratio over the last quarter of the run."""
        return float(self.ratio[-len(self.ratio) // 4 :].mean())

    @property
    def beginning(self) -> float:
        """Smallest ratio over steps 20 to 40."""
        return float(self.ratio[self.steps <= 40].min())


def small_images(num_samples: int = 1000) -> tuple[Tensor, Tensor]:
    """The first images of Fashion-MNIST, pooled to 14 × 14 and standardised a pixel at a time, and one-hot classes."""
    images = data.load("fashion-mnist-12k")
    pooled = nn.functional.avg_pool2d(images.inputs[:num_samples], 2).flatten(1)
    centred = pooled - pooled.mean(dim=0)
    spread = centred.std(dim=0)
    scaled = centred / torch.where(spread < 1e-3, torch.ones(()), spread)
    return scaled, nn.functional.one_hot(images.targets[:num_samples], 10).float()


def edge_of_stability(
    inputs: Tensor,
    targets: Tensor,
    *,
    learning_rate: float,
    beta: float,
    adaptive: bool,
    stop_loss: float,
    max_steps: int,
    weight_decay: float = 0.1,
    every: int = 20,
    num_products: int = 12,
    seed: int = 0,
) -> Edge:
    """Train a tanh network on the squared error with full batches, and follow its sharpness.

    Parameters
    ----------
    inputs, targets : Tensor, shapes (n, d) and (n, 10)
    learning_rate, beta : float
    adaptive : bool
        Schedule-Free AdamW with the second moment's memory 0.99, or Schedule-Free descent (no decay).
    stop_loss : float
    max_steps, every : int
        Length, and steps between measurements; the first is at step `every`.
    weight_decay : float
        For AdamW.
    num_products : int
        Products with the Hessian a measurement, in a power iteration that goes on from the last one's vector.
    seed : int
    """
    with seeded(seed):
        model = MLP(inputs.shape[1], 10, widths=(100, 100), activation=nn.Tanh)
        vector = [torch.randn_like(p) for p in model.parameters()]
    parameters = list(model.parameters())
    optimizer: ScheduleFreeAdamW | ScheduleFreeSGD
    if adaptive:
        optimizer = ScheduleFreeAdamW(parameters, learning_rate, betas=(beta, 0.99), weight_decay=weight_decay)
    else:
        optimizer = ScheduleFreeSGD(parameters, learning_rate, momentum=beta)
    decay = weight_decay if adaptive else 0.0
    threshold = stability_threshold(learning_rate, beta=beta, weight_decay=decay)
    optimizer.train()
    found: list[tuple[int, float, float]] = []
    for step in range(1, max_steps + 1):
        due = step % every == 0
        loss = (model(inputs) - targets).square().sum(dim=1).mean() / 2
        grads = torch.autograd.grad(loss, parameters, create_graph=due)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss at step {step} is {value}: lower learning_rate={learning_rate!r}")
        if due:
            roots = [
                _root(optimizer, p, g.detach(), step) if adaptive else torch.ones(())
                for p, g in zip(parameters, grads, strict=True)
            ]
            top, vector = _top_eigenvalue(grads, parameters, roots, vector, num_products)
            found.append((step, value, top))
        for p, g in zip(parameters, grads, strict=True):
            p.grad = g.detach()
        optimizer.step()
        if value < stop_loss and len(found) > 4:
            break
    steps, losses, tops = (np.array(column) for column in zip(*found, strict=True))
    return Edge(steps, losses, tops, float(threshold))


def _root(optimizer: torch.optim.Optimizer, p: Tensor, g: Tensor, step: int) -> Tensor:
    """Square root of the preconditioner with which this step's gradient will be divided."""
    state = optimizer.state.get(p, {})
    before = state.get("exp_avg_sq", torch.zeros(()))
    corrected = (0.99 * before + 0.01 * g.square()) / (1 - 0.99**step)
    return (corrected.sqrt() + 1e-8).sqrt()


def _top_eigenvalue(
    grads: tuple[Tensor, ...],
    parameters: Sequence[Tensor],
    roots: list[Tensor],
    vector: list[Tensor],
    num_products: int,
) -> tuple[float, list[Tensor]]:
    """Largest eigenvalue of the Hessian between the inverse roots on both sides, by power iteration."""
    value = 0.0
    for _ in range(num_products):
        norm = torch.sqrt(sum((v.square().sum() for v in vector), start=torch.zeros(())))
        vector = [v / norm for v in vector]
        across = [v / r for v, r in zip(vector, roots, strict=True)]
        product = torch.autograd.grad(grads, parameters, across, retain_graph=True)
        image = [h / r for h, r in zip(product, roots, strict=True)]
        value = float(sum((v * h).sum() for v, h in zip(vector, image, strict=True)))
        vector = image
    return value, vector
