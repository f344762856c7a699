r"""The implicit bias of Adam with one sample a step.

Beomhan Baek, Minhak Song, Chulhee Yun: *Implicit Bias of Per-sample Adam on Separable Data: Departure from the
Full-batch Regime*, ICLR 2026, arXiv 2510.26303.

Logistic regression on separable data drives the weights to infinity; the optimizer decides in which direction. With full
batches Adam maximises the :math:`\ell_\infty` margin. With one sample a step it does not: its second moment averages the
squares of single gradients, and the limit maximises a margin in a norm that depends on the data.

.. math::
    m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \\
    w \leftarrow w - \eta\,(t+2)^{-a}\, m / (\sqrt v + \varepsilon)

=====================================  =========================
paper                                  here
=====================================  =========================
rows :math:`y_i x_i`                   `X`
:math:`\beta_1, \beta_2`               `betas`
:math:`\eta_0`, exponent :math:`a`     `learning_rate`, `decay`
batch size :math:`b`                   `batch_size`
Det-, Inc-, RR-Adam                    `batch_size=len(X)`, `order="cyclic"`, `order="reshuffled"`
dual weights :math:`c`                 `FixedPoint.dual`
:math:`\hat w_2, \hat w_\infty`        `geometry.l2_max_margin`, `geometry.linf_max_margin`
=====================================  =========================

`methods` holds the optimizers, `limits` the directions they end in, `experiments` the paper's experiments, and `results`
the declared claims.
"""

from descentlab.per_sample_adam.experiments import (
    BOOK,
    FULL,
    SIGNUM_BETAS,
    SIGNUM_COLUMNS,
    SMOKE,
    Config,
    basins,
    batch_size_sweep,
    compare,
    elapsed,
    epoch_residuals,
    epsilon_table,
    fixed_point_survey,
    gaussian_data,
    limit_angles,
    offset_time,
    proxy_residuals,
    proxy_run,
    replicator,
    replicator_gap,
    scaled_rademacher_data,
    shifted_diagonal_data,
    sign_residuals,
    signum_table,
    step_size_power,
)
from descentlab.per_sample_adam.limits import FixedPoint, adam_fixed_point, adam_limit
from descentlab.per_sample_adam.methods import adam, adam_proxy, gradient_descent, signum
from descentlab.per_sample_adam.results import CLAIMS

__all__ = [
    "BOOK",
    "CLAIMS",
    "FULL",
    "SIGNUM_BETAS",
    "SIGNUM_COLUMNS",
    "SMOKE",
    "Config",
    "FixedPoint",
    "adam",
    "adam_fixed_point",
    "adam_limit",
    "adam_proxy",
    "basins",
    "batch_size_sweep",
    "compare",
    "elapsed",
    "epoch_residuals",
    "epsilon_table",
    "fixed_point_survey",
    "gaussian_data",
    "gradient_descent",
    "limit_angles",
    "offset_time",
    "proxy_residuals",
    "proxy_run",
    "replicator",
    "replicator_gap",
    "scaled_rademacher_data",
    "shifted_diagonal_data",
    "sign_residuals",
    "signum",
    "signum_table",
    "step_size_power",
]
