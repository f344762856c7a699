r"""Schedule-Free optimizers, and the river that they follow.

Minhak Song, Beomhan Baek, Kwangjun Ahn, Chulhee Yun: *Through the River: Understanding the Benefit of Schedule-Free
Methods for Language Model Training*, NeurIPS 2025, arXiv 2507.09846. The base method: Aaron Defazio et al., *The Road
Less Scheduled*, NeurIPS 2024, arXiv 2405.15682.

The loss of a network is a river in a valley: progress is slow along the river, and a large learning rate bounces between
the hills on both sides. A schedule lowers the learning rate in the end, so that the bouncing stops. Schedule-Free methods
average instead, and the average is already at the bottom:

.. math::
    y_t = (1-\beta) z_t + \beta x_t, \quad z_{t+1} = z_t - \gamma_t \Delta_t(y_t), \quad
    x_{t+1} = (1-c_{t+1}) x_t + c_{t+1} z_{t+1}, \\
    c_{t+1} = \min\Big\{ (1-\beta)\, C\, \frac{\gamma_t^2}{\sum_{i \le t} \gamma_i^2},\ 1 \Big\}

with :math:`C = 1/(1-\beta)` in the vanilla method.

=====================================  ===========================================================
paper                                  here
=====================================  ===========================================================
:math:`x_t, y_t`                       parameters after ``optimizer.eval()``, ``optimizer.train()``
:math:`z_t, v_t`                       ``optimizer.state[p]["z"]``, ``["exp_avg_sq"]``
:math:`\gamma, \lambda, \varepsilon`   `lr` (theory: `learning_rate`), `weight_decay`, `eps`
:math:`\beta_1, \beta_2`               `betas` (theory: `beta`, `beta2`); for descent `momentum`
:math:`T_\text{warm}`                  `warmup_steps`
:math:`C`                              `decoupling_c`
:math:`\alpha_t`                       `averaging_weights`
=====================================  ===========================================================

`optimizers` holds the drop-in methods, `theory` weights, thresholds and central flows. Use:

>>> import torch
>>> from descentlab.schedule_free import ScheduleFreeAdamW
>>> model = torch.nn.Linear(3, 1)
>>> optimizer = ScheduleFreeAdamW(model.parameters(), lr=0.01, warmup_steps=10)
>>> optimizer.train()
>>> for _ in range(100):
...     optimizer.zero_grad()
...     (model(torch.ones(4, 3)) - 1).square().mean().backward()
...     optimizer.step()
>>> optimizer.eval()  # the model now holds the average
"""

from descentlab.schedule_free._base import max_decoupling_c
from descentlab.schedule_free.optimizers import (
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    refresh_batch_norm,
)
from descentlab.schedule_free.theory import (
    Flow,
    averaging_coefficients,
    averaging_weights,
    central_flow,
    mean_age,
    oscillation_variance,
    power_law_weights,
    river_lag,
    sharpness,
    sharpness_gradient,
    stability_threshold,
    stall_point,
    step_matrix,
)

__all__ = [
    "Flow",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "averaging_coefficients",
    "averaging_weights",
    "central_flow",
    "max_decoupling_c",
    "mean_age",
    "oscillation_variance",
    "power_law_weights",
    "refresh_batch_norm",
    "river_lag",
    "sharpness",
    "sharpness_gradient",
    "stability_threshold",
    "stall_point",
    "step_matrix",
]
