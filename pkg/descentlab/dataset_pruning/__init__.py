r"""Dataset pruning from early training dynamics.

Yeseul Cho, Baekrok Shin, Changmin Kang, Chulhee Yun: *Lightweight Dataset Pruning without Full Training via Example
Difficulty and Prediction Uncertainty*, ICML 2025, arXiv 2502.06905.

Which samples can training do without? DUAL scores a sample from the first epochs of one ordinary training: how much the
probability of its label varies, times how small it is. At high pruning ratios the kept samples are drawn, not taken from
the top, with a preference for easier ones that grows with the ratio.

.. math::
    \text{DUAL}(i) = \frac{1}{T-J+1} \sum_k s_k(i)\,(1 - m_k(i)), \qquad
    w(i) \propto \text{Beta}(\bar\mu(i); \alpha_r, \beta_r) \cdot \text{DUAL}(i), \\
    \beta_r = C (1-\mu_D)(1 - r^{c_D}), \qquad \alpha_r = C + 1 - \beta_r

=================================================  ============================================
paper                                              here
=================================================  ============================================
probability of the label, epochs × samples         `TrainingDynamics.probabilities`
mean and deviation :math:`m_k, s_k` over J epochs  `dual_score`, `window`
scoring epochs T, all epochs E                     `Config.scoring_epochs`, `Config.num_epochs`
pruning ratio r, the fraction removed              `ratio`
:math:`C, c_D`                                     `concentration`, `complexity`
:math:`\mu_D`                                      `hardest_mean`
=================================================  ============================================

A data set of your own: record while you train, score, keep::

    dynamics = TrainingDynamics(len(dataset), num_epochs, device="cuda")
    # in the loop: dynamics.update(indices, logits, targets); after each epoch: dynamics.end_epoch()
    p = dynamics.probabilities
    kept = prune(dual_score(p), ratio=0.8, method="beta", mean_probability=p.mean(0), complexity=4)
    smaller = torch.utils.data.Subset(dataset, kept)

`dynamics` records, `scores` and `selection` choose.
"""

from descentlab.dataset_pruning.dynamics import RecordDynamics, TrainingDynamics
from descentlab.dataset_pruning.scores import (
    aum_score,
    dual_score,
    dyn_unc_score,
    el2n_score,
    entropy_score,
    family_score,
    forgetting_score,
    moderate_score,
    rank_correlation,
    tdds_score,
)
from descentlab.dataset_pruning.selection import (
    BetaParameters,
    beta_parameters,
    beta_sample,
    break_even_ratio,
    ccs_select,
    d2_select,
    hardest_mean,
    kept_count,
    log_weights,
    prune,
    successive_sample,
    top_select,
)

__all__ = [
    "BetaParameters",
    "RecordDynamics",
    "TrainingDynamics",
    "aum_score",
    "beta_parameters",
    "beta_sample",
    "break_even_ratio",
    "ccs_select",
    "d2_select",
    "dual_score",
    "dyn_unc_score",
    "el2n_score",
    "entropy_score",
    "family_score",
    "forgetting_score",
    "hardest_mean",
    "kept_count",
    "log_weights",
    "moderate_score",
    "prune",
    "rank_correlation",
    "successive_sample",
    "tdds_score",
    "top_select",
]
