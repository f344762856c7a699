r"""Gradient descent on a stream of linear classification tasks.

Hyunji Jung, Hanseul Cho, Chulhee Yun: *Convergence and Implicit Bias of Gradient Descent on Continual Linear
Classification*, ICLR 2025, arXiv 2504.12712.

Tasks arrive one after another and come back. Each is trained by a fixed number of steps of gradient descent on its own
loss, without replay, and pulls the weights towards its own max-margin direction. If the tasks are separable together,
the weights nevertheless end in the direction that training on all of them at once would find, and what a cycle forgets
vanishes faster than the loss. In closed form: :math:`w = \ln(Kt/M)\,\hat w + \text{const}`,
:math:`\varphi^2 \eta K J L \to 1`, and :math:`J^2\, CF(J)` tends to a constant that the support vectors give.

.. math::
    w \leftarrow w - \eta \nabla L_m(w) \quad (K \text{ times, then the next } m), \qquad
    L_m(w) = \sum_{i \in I_m} \ln(1 + e^{-x_i^\top w})

===========================================  ==========================================
paper                                        here
===========================================  ==========================================
rows :math:`y_i x_i`, :math:`i \in I_m`      `tasks[m]`
number of tasks `M`, stages `t`, cycles `J`  ``len(tasks)``, `num_stages`, `num_cycles`
steps a stage `K`, step size :math:`\eta`    `num_steps`, `learning_rate`
cyclic, random tasks                         `order="cyclic"`, `order="replacement"`
:math:`\hat w`, margin :math:`\phi`          `JointLimit.solution`, `JointLimit.margin`
:math:`N_{p,q}`, :math:`\bar N_{p,q}`        `alignment`
:math:`CF(J)`                                `Forgetting.values`, cycles counted from 1
joint minimiser :math:`w_*`                  `joint_minimizer`
===========================================  ==========================================

`methods` holds the algorithms, `limits` the closed forms and forgetting with its bounds.
"""

from descentlab.continual_classification.limits import (
    Forgetting,
    JointLimit,
    alignment,
    curvatures,
    cycle_averaged_forgetting,
    cycle_bias,
    cyclic_step_bound,
    forgetting_limit,
    horizon_step,
    increment_error,
    joint_limit,
    margin_residuals,
    random_step_bound,
    task_forgetting_limits,
)
from descentlab.continual_classification.methods import (
    Tasks,
    as_tasks,
    joint_hessian,
    joint_minimizer,
    largest_stable_step,
    project,
    sequential_gd,
    sequential_max_margin,
    task_order,
)

__all__ = [
    "Forgetting",
    "JointLimit",
    "Tasks",
    "alignment",
    "as_tasks",
    "curvatures",
    "cycle_averaged_forgetting",
    "cycle_bias",
    "cyclic_step_bound",
    "forgetting_limit",
    "horizon_step",
    "increment_error",
    "joint_hessian",
    "joint_limit",
    "joint_minimizer",
    "largest_stable_step",
    "margin_residuals",
    "project",
    "random_step_bound",
    "sequential_gd",
    "sequential_max_margin",
    "task_forgetting_limits",
    "task_order",
]
