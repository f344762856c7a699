r"""Schedule-Free AdamW and SGD, with the averaging window as a parameter of its own.

Three sequences: the gradient is taken at :math:`y_t = (1-\beta) z_t + \beta x_t`; the fast iterate steps,
:math:`z_{t+1} = z_t - \gamma_t \Delta_t`; and :math:`x_{t+1} = (1-c_{t+1}) x_t + c_{t+1} z_{t+1}` averages. While
training, the parameters of the model hold `y`; the state holds `z` and the second moment. Then

.. math::
    y \leftarrow (1-c)\, y + c\, z + \gamma_t (\beta (1-c) - 1)\, u, \qquad z \leftarrow z - \gamma_t u, \qquad
    x = z + (y - z)/\beta,

so that the average costs no memory of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from descentlab.schedule_free._base import Implementation, Layout, ScheduleFree


class ScheduleFreeAdamW(ScheduleFree):
    r"""AdamW without a schedule: the model to use is a weighted average of the points at which gradients were taken.

    A drop-in optimizer: call ``optimizer.train()`` beside ``model.train()`` and ``optimizer.eval()`` beside
    ``model.eval()``, and leave the learning rate constant after the warmup. It starts in evaluation mode.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        :math:`\gamma`; the best one is often 1 to 10 times AdamW's.
    betas : pair of float
        :math:`\beta_1`, the interpolation between average and fast iterate; :math:`\beta_2`, memory of the second moment.
    eps : float
    weight_decay : float
        :math:`\lambda`; taken at `y`, multiplied by the learning rate.
    warmup_steps : int
        The learning rate rises linearly, from ``lr / warmup_steps``.
    decoupling_c : float, optional
        The refined method's `C`, at least 1: the average reaches back about :math:`1/(C+1)` of the run, whatever
        :math:`\beta_1`. None is the vanilla method, the same as :math:`C = 1/(1-\beta_1)`.
    layout : {"in-place", "reference"}
        The reference layout keeps `x` in memory of its own: one array more, and it admits :math:`\beta_1 = 0`.
    implementation : {"auto", "fused", "foreach", "compiled"}
        How the in-place layout computes; "auto" is a fused loop on the CPU and foreach operations elsewhere, "compiled"
        goes through ``torch.compile``.

    Raises
    ------
    ValueError
        A parameter is out of range, complex, sparse or on another device than the rest, or :math:`\beta_1 = 0` in the
        in-place layout.

    Warns
    -----
    UserWarning
        `decoupling_c` is large beside the warmup, so that early steps are long: see `max_decoupling_c`; or parameters
        are of low precision, in which small steps vanish.

    Notes
    -----
    Algorithms 1 and 2 of the paper: :math:`c_{t+1} = \min\{(1-\beta_1) C\,\gamma_t^2 / \sum_{i \le t} \gamma_i^2, 1\}`,
    without the factor :math:`(1-\beta_1) C` in the vanilla method.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 0.0025,
        *,
        betas: tuple[float, float] = (0.95, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        warmup_steps: int = 0,
        decoupling_c: float | None = None,
        layout: Layout = "in-place",
        implementation: Implementation = "auto",
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "decoupling_c": decoupling_c,
        }
        super().__init__(params, defaults, layout, implementation)

    def _beta(self, group: dict[str, Any]) -> float:
        return group["betas"][0]

    def _moment(self, group: dict[str, Any]) -> tuple[float, float]:
        return group["betas"][1], group["eps"]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        betas = {**self.defaults, **param_group}["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas={betas!r}: expected a pair (beta1, beta2)")
        super().add_param_group(param_group)


class ScheduleFreeSGD(ScheduleFree):
    r"""Gradient descent without a schedule; see `ScheduleFreeAdamW` for use and parameters.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
    momentum : float
        :math:`\beta`, the interpolation between average and fast iterate.
    weight_decay : float
        Added to the gradient, :math:`\lambda y`.
    warmup_steps : int
    decoupling_c : float, optional
    layout : {"in-place", "reference"}
    implementation : {"auto", "fused", "foreach", "compiled"}

    Raises
    ------
    ValueError
        As `ScheduleFreeAdamW`.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        decoupling_c: float | None = None,
        layout: Layout = "in-place",
        implementation: Implementation = "auto",
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "warmup_steps": warmup_steps,
            "decoupling_c": decoupling_c,
        }
        super().__init__(params, defaults, layout, implementation)

    def _beta(self, group: dict[str, Any]) -> float:
        return group["momentum"]

    def _moment(self, group: dict[str, Any]) -> None:
        return None


def refresh_batch_norm(
    model: nn.Module, optimizer: ScheduleFree, batches: Iterable[Any], *, device: torch.device | str | None = None
) -> None:
    """Recompute the statistics of batch-norm layers at the averages `x`, before evaluation.

    What the layers gathered during training belongs to `y`. Training does not use it, so nothing there changes.

    Parameters
    ----------
    model : Module
    optimizer : ScheduleFreeAdamW or ScheduleFreeSGD
        In evaluation mode.
    batches : iterable of Tensor, or of sequences that begin with one
        Inputs of training data.
    device : optional
        Where to move the inputs.

    Raises
    ------
    RuntimeError
        The optimizer is in training mode: the model holds `y`.
    """
    if optimizer.training:
        raise RuntimeError("the parameters are the gradient points y: call optimizer.eval() before refresh_batch_norm.")
    update_bn(batches, model, device=device)  # type: ignore[arg-type]
