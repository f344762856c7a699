r"""Incremental gradient descent with few epochs.

Yujun Kim, Jaeyoung Cha, Chulhee Yun: *Incremental Gradient Descent with Small Epoch Counts is Surprisingly Slow on
Ill-Conditioned Problems*, ICML 2025, arXiv 2506.04126.

Minimise a mean of n components by visiting them in a fixed order, K times over. With many epochs, :math:`K > \kappa`, that
beats drawing components at random; with few it can be n times slower even if all components share one Hessian, slower by
powers of :math:`\kappa` if they do not, and exponentially bad if some are nonconvex: for *every* constant step size. A
good fixed order exists all the same.

.. math::
    x \leftarrow x - \eta\, \nabla f_{\sigma_k(i)}(x), \qquad i = 1, \dots, n, \quad k = 1, \dots, K,
    \qquad F = \frac1n \sum_i f_i

==================================================  ====================================================
paper                                               here
==================================================  ====================================================
:math:`f_i(x) = \frac12 x^\top H_i x + b_i^\top x`  `QuadraticSum(hessians, linear_terms)`
:math:`x_\star, F - F_\star, L, \mu`                `minimizer`, `gap`, `smoothness`, `strong_convexity`
:math:`\eta, K`                                     `learning_rate`, `num_epochs`
IGD; RR; with replacement                           `order="cyclic"`; `"reshuffled"`; `"replacement"`
:math:`\kappa = L/\mu`                              `L`, with `mu=1`
:math:`z = \eta\mu nK`, the natural step size       `z`
herding constant H                                  `prefix_constant`, `herded_order`
==================================================  ====================================================

`problems` holds the sums, `instances` the paper's constructions, `methods` and `maps` the algorithm, `expectations` its
mean over random orders, and `ordering` good orders. The paper's own worst-case functions were not available to us: the
constructions have its dimensions and its rates, and their constants are ours.
"""

from descentlab.incremental_gd.expectations import MAX_BLOCK, expected_gap
from descentlab.incremental_gd.maps import AffineMap, epoch_map
from descentlab.incremental_gd.methods import (
    ORDERS,
    SCHEDULES,
    EpochTrajectory,
    FiniteSum,
    best_gap,
    final_gaps,
    incremental_gd,
    step_sizes,
)
from descentlab.incremental_gd.ordering import HerdedSampler, herded_order, per_sample_gradients, prefix_constant
from descentlab.incremental_gd.problems import LogisticSum, QuadraticSum

__all__ = [
    "MAX_BLOCK",
    "ORDERS",
    "SCHEDULES",
    "AffineMap",
    "EpochTrajectory",
    "FiniteSum",
    "HerdedSampler",
    "LogisticSum",
    "QuadraticSum",
    "best_gap",
    "epoch_map",
    "expected_gap",
    "final_gaps",
    "herded_order",
    "incremental_gd",
    "per_sample_gradients",
    "prefix_constant",
    "step_sizes",
]
