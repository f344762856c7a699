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

`dynamics` records, `scores` and `selection` choose, `theory` is the two-point model, `experiments` are the paper's
experiments and `results` the declared claims.
"""

from descentlab.dataset_pruning.dynamics import RecordDynamics, TrainingDynamics
from descentlab.dataset_pruning.experiments import (
    BOOK,
    CCS_CUTOFF,
    CPU_FULL,
    FULL,
    RATIOS,
    SMOKE,
    Config,
    Dynamics,
    Problem,
    accuracies,
    all_scores,
    build,
    crossing_epoch,
    early_correlation,
    filtering,
    kept_means,
    make_problem,
    overlap,
    record,
    select,
    share_pruned,
    stability,
    stopping_epoch,
    subset_batch_size,
    train_subset,
)
from descentlab.dataset_pruning.results import CLAIMS, NOTES, TRAINED_CLAIMS
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
from descentlab.dataset_pruning.study import (
    METHODS,
    Study,
    family_filter,
    measure,
    paper_table,
    read_tables,
    replay,
    run_studies,
    run_study,
    softmax_gap,
    tables,
    time_shares,
    window_correlations,
    write_tables,
)
from descentlab.dataset_pruning.theory import (
    TwoPoints,
    crossing_times,
    envelope,
    family_crossings,
    inclusion_probabilities,
    random_pairs,
    two_points,
)

__all__ = [
    "BOOK",
    "CCS_CUTOFF",
    "CLAIMS",
    "CPU_FULL",
    "FULL",
    "METHODS",
    "NOTES",
    "RATIOS",
    "SMOKE",
    "TRAINED_CLAIMS",
    "BetaParameters",
    "Config",
    "Dynamics",
    "Problem",
    "RecordDynamics",
    "Study",
    "TrainingDynamics",
    "TwoPoints",
    "accuracies",
    "all_scores",
    "aum_score",
    "beta_parameters",
    "beta_sample",
    "break_even_ratio",
    "build",
    "ccs_select",
    "crossing_epoch",
    "crossing_times",
    "d2_select",
    "dual_score",
    "dyn_unc_score",
    "early_correlation",
    "el2n_score",
    "entropy_score",
    "envelope",
    "family_crossings",
    "family_filter",
    "family_score",
    "filtering",
    "forgetting_score",
    "hardest_mean",
    "inclusion_probabilities",
    "kept_count",
    "kept_means",
    "log_weights",
    "make_problem",
    "measure",
    "moderate_score",
    "overlap",
    "paper_table",
    "prune",
    "random_pairs",
    "rank_correlation",
    "read_tables",
    "record",
    "replay",
    "run_studies",
    "run_study",
    "select",
    "share_pruned",
    "softmax_gap",
    "stability",
    "stopping_epoch",
    "subset_batch_size",
    "successive_sample",
    "tables",
    "tdds_score",
    "time_shares",
    "top_select",
    "train_subset",
    "two_points",
    "window_correlations",
    "write_tables",
]
