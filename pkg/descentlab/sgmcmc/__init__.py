r"""Samplers of posteriors that are right, and parameter expansion for any network.

Hyunsu Kim, Giung Nam, Chulhee Yun, Hongseok Yang, Juho Lee: *Parameter Expanded Stochastic Gradient Markov Chain Monte
Carlo*, ICLR 2025, arXiv 2503.00699.

Samples of a Bayesian neural network that stochastic gradients drive are too alike to make a good ensemble. The paper
replaces every weight matrix by a product of matrices and samples all factors; for predictions they are multiplied out.

.. math::
    W = P_c \cdots P_1\, V\, Q_1 \cdots Q_d, \qquad b = P_c \cdots P_1\, a, \\
    r \leftarrow (1 - h\gamma)\, r - h \nabla \tilde U(\theta) + \sqrt{2 h \gamma T}\, n, \qquad
    \theta \leftarrow \theta + h\, r

============================================  ===============================
paper                                         here
============================================  ===============================
energy :math:`U`, minus the log-posterior     `energy`
step size :math:`h`, friction :math:`\gamma`  `step_size`, `friction`
temperature :math:`T`                         `temperature`
numbers of factors :math:`c, d`               `left`, `right`
prior variance of V, :math:`\sigma_V^2`       `prior_variance`
prior precision of P and Q                    `factor_precision`
cycle of :math:`K` updates                    `cycle_length`
expanded, standard parametrisation            `expand(model)`, `merge(model)`
============================================  ===============================

`kernels` holds the samplers, `expansion` and `preconditioning` the expansion, `posterior` the loop around them, `ensemble`
and `diagnostics` what comes out.
"""

from descentlab.sgmcmc.diagnostics import (
    Convergence,
    Likeness,
    ambiguity,
    auroc,
    calibration_error,
    convergence,
    disagreement,
    ensemble_metrics,
    likeness,
)
from descentlab.sgmcmc.ensemble import Ensemble
from descentlab.sgmcmc.expansion import (
    Expansion,
    InducedPrior,
    by_block,
    count_added,
    expand,
    factor_names,
    induced_prior,
    log_prior,
    merge,
)
from descentlab.sgmcmc.kernels import hmc, psgld, sghmc, sgld, sgnht
from descentlab.sgmcmc.optimizer import SGHMC
from descentlab.sgmcmc.posterior import posterior_energy, sample_posterior
from descentlab.sgmcmc.preconditioning import (
    effective_step,
    expected_move,
    factors_preconditioner,
    factors_trace,
    move_bound,
    preconditioner,
)
from descentlab.sgmcmc.schedules import CyclicalSchedule, cyclical_schedule
from descentlab.sgmcmc.state import Info, Kernel, NonFiniteEnergy, State

__all__ = [
    "SGHMC",
    "Convergence",
    "CyclicalSchedule",
    "Ensemble",
    "Expansion",
    "InducedPrior",
    "Info",
    "Kernel",
    "Likeness",
    "NonFiniteEnergy",
    "State",
    "ambiguity",
    "auroc",
    "by_block",
    "calibration_error",
    "convergence",
    "count_added",
    "cyclical_schedule",
    "disagreement",
    "effective_step",
    "ensemble_metrics",
    "expand",
    "expected_move",
    "factor_names",
    "factors_preconditioner",
    "factors_trace",
    "hmc",
    "induced_prior",
    "likeness",
    "log_prior",
    "merge",
    "move_bound",
    "posterior_energy",
    "preconditioner",
    "psgld",
    "sample_posterior",
    "sghmc",
    "sgld",
    "sgnht",
]
