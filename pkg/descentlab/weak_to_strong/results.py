"""What the paper states and what we derived, as claims to be measured."""

from descentlab.claims import Claim

_ONE_SEED = "one seed of an independent implementation, 300 hard-only test points: standard error 0.02 to 0.03"
_OVERALL = "one seed of an independent implementation on 1000 test points"
_RANGES = "half the range that an independent implementation saw over seeds, and the test set's error"

CLAIMS = (
    Claim(
        "C1a", r"Linear models are blind to hard signals: accuracy on hard-only data of five random ones and of the trained one",
        "Proposition 2.1", "approx", (0.5,) * 6, 0.01, "40000 samples: standard error 0.0025", "the same six models on easy-only data",
    ),
    Claim(
        "C1b", r"The trained teacher's accuracy on easy-only, hard-only and both-signal data (every seed)",
        "Proposition 2.1", "approx", (1.0, 0.5, 1.0), 0.03, "3000 hard-only points a seed: standard error 0.01", "a teacher trained on shuffled labels", across="every",
    ),
    Claim(
        "C1c", r"Its total accuracy is $1 - p_h/2$ (every seed)", "Proposition 2.1", "approx", 0.85, 0.02,
        "spread over seeds 0.835 to 0.867 in an independent implementation", "data without hard-only samples", across="every",
    ),
    Claim(
        "C1d", r"All its wrong labels sit on hard-only data (fraction, every seed)", "Section 2", "at least", 1.0, 0.01,
        "a few errors elsewhere", "uniform label noise at the same rate",
    ),
    Claim(
        "C1e", r"C1a for opposite patches", "Proposition 2.1", "approx", (0.5,) * 6, 0.01, "40000 samples: standard error 0.0025", "the same six models on easy-only data",
    ),
    Claim(
        "C2", r"The ReLU CNN with filters $\mu_s, \nu_s, -\nu_s$ is never wrong: accuracy under both readings of hard-only data",
        "Proposition 2.2", "approx", (1.0, 1.0), 0.0, "exact", r"without the filters $-\nu_s$",
    ),
    Claim(
        "C3a", r"75 samples: every pseudo-label is memorised (training accuracy, every seed)", "synthetic experiments", "at least",
        1.0, 0.0, "exact", "abundant data at $t = 60$",
    ),
    Claim(
        "C3b", r"… and the student is as bad as its teacher (difference of test accuracies, mean over seeds)", "synthetic experiments",
        "approx", 0.0, 0.05, _OVERALL + ": 0.848 against 0.855", "a student with 8000 samples of dimension 400", across="mean",
    ),
    Claim(
        "C3c", r"2000 samples: memorised too (training accuracy, every seed)", "synthetic experiments", "at least", 1.0, 0.001,
        "three digits", "stopped after twenty steps",
    ),
    Claim(
        "C3d", r"… yet the student beats its teacher (difference of test accuracies, every seed)", "synthetic experiments", "at least",
        0.03, 0.0, _OVERALL + ": 0.912 against 0.863", "shuffled pseudo-labels",
    ),
    Claim(
        "C3e", r"20000 samples: at its best the student is nearly perfect (test accuracy, every seed)", "synthetic experiments", "at least",
        0.98, 0.0, _OVERALL + ": 0.985", "the teacher itself",
    ),
    Claim(
        "C3f", r"… with the training accuracy at the fraction of correct labels: their difference (every seed)", "synthetic experiments",
        "approx", 0.0, 0.03, "the first memorised flips; 0.025 in an independent implementation", "75 samples", across="every",
    ),
    Claim(
        "C3g", r"… and then it degrades (drop of the test accuracy by $t = 60$, every seed)", "synthetic experiments", "at least", 0.01, 0.0,
        "0.985 to 0.969 in an independent implementation", "trained on true labels",
    ),
    Claim(
        "C3h", r"In small (8000 samples, dimension 400, $\|\nu\| = 3$): test accuracy at its best (every seed)", "synthetic experiments", "at least", 0.99, 0.0,
        "1.000 in an independent implementation", "shuffled pseudo-labels",
    ),
    Claim(
        "C3i", r"… and its drop by $t = 300$ (every seed)", "synthetic experiments", "at least", 0.03, 0.0, "0.97 at $t = 200$ already in an independent implementation",
        "trained on true labels",
    ),
    Claim(
        "C3j", r"C3e for opposite patches (every seed)", "synthetic experiments", "at least", 0.98, 0.0, _OVERALL + ": 0.985", "the teacher itself",
    ),
    Claim(
        "C3k", r"C3f for opposite patches (every seed)", "synthetic experiments", "approx", 0.0, 0.03, "the first memorised flips; 0.025 in an independent implementation", "75 samples", across="every",
    ),
    Claim(
        "C4a", r"Scarce data: every point of the transition memorises its labels (smallest training accuracy)", "Theorem 3.4", "at least",
        1.0, 0.0, "exact", "abundant data at $t = 60$",
    ),
    Claim(
        "C4b", r"… to a small loss (largest)", "Theorem 3.4", "at most", 0.03, 0.0, "an independent implementation's bound", "stopped after three steps",
    ),
    Claim(
        "C4c", r"Hard-only accuracy at $\kappa = 0.03, 0.3, 1, 3$ for $(n, d) = (200, 8000), (400, 8000), (400, 16000)$, and at $0.1, 0.3, 1, 3$ for $(400, 60000)$",
        "derived", "approx", (0.57, 0.69, 0.78, 0.87, 0.56, 0.66, 0.74, 0.82, 0.57, 0.68, 0.76, 0.84, 0.60, 0.68, 0.78, 0.87), 0.06,
        _ONE_SEED, r"pseudo-labels without errors",
    ),
    Claim(
        "C4d", r"It grows with $\kappa$ (smallest step up along the four rows)", "Theorem 3.4", "at least", 0.0, 0.0, "steps of 0.06 and more",
        r"$\kappa$ from large to small",
    ),
    Claim(
        "C4e", r"At equal $\kappa \le 1$ the rows agree: $\kappa$ alone decides (largest spread)", "Theorem 3.4", "at most", 0.07, 0.0,
        "an independent implementation's bound", r"rows at equal $n\|\nu\|^2/(\sigma_p^2 d)$ instead",
    ),
    Claim(
        "C4f", r"Benign: hard-only accuracy at $\kappa = 30$, $n = 400$, $d = 20000$, opposite patches", "Theorem 3.4", "at least", 0.95, 0.0,
        "0.98 in an independent implementation", r"$\kappa = 3$",
    ),
    Claim(
        "C4g", r"… and with equal patches", "Theorem 3.4", "approx", 0.94, 0.04, _ONE_SEED, r"$\kappa = 1$",
    ),
    Claim(
        "C4h", r"Harmful: at $\kappa \le 0.3$ the test error is at least $0.12\,p_h$ (smallest)", "Theorem 3.4", "at least", 0.036, 0.0, "the theorem's constant",
        r"$\kappa = 30$",
    ),
    Claim(
        "C4i", r"Level sets of the hard-only accuracy: slope of $\log n$ against $\log \|\nu\|$", "Theorem 3.4", "approx", -4.0, 0.8,
        r"coarse grid, two seeds; the competing law $n\|\nu\|^2$ has slope $-2$", r"a heat map of the regime ratio $n\|\nu\|^2$",
    ),
    Claim(
        "C4j", r"The fraction $p_b$ enters $\kappa$ less sharply: hard-only accuracy at $\kappa = 1$, $n = 400$, $d = 16000$ for $p_b = 0.65$ and $0.25$",
        "derived", "approx", (0.78, 0.68), 0.06, _ONE_SEED, "pseudo-labels without errors",
    ),
    Claim(
        "C4k", r"C4i at full resolution: 99 points, eight seeds each", "Theorem 3.4", "approx", -4.0, 0.8, r"as C4i; the competing law $n\|\nu\|^2$ has slope $-2$",
        r"a heat map of the regime ratio $n\|\nu\|^2$",
    ),
    Claim(
        "C4l", r"C4e with sixteen seeds: largest spread of the rows at equal $\kappa \le 1$", "Theorem 3.4", "at most", 0.07, 0.0, "an independent implementation's bound",
        r"rows at equal $n\|\nu\|^2/(\sigma_p^2 d)$ instead",
    ),
    Claim(
        "C5a", r"No wrong label is corrected where $n\|\nu\|^2 \le \sigma_p^2 d$ (largest corrected fraction over time, $n = 40$ and $100$)", "Theorem 3.6",
        "at most", 0.02, 0.0, "0.000 in an independent implementation", "$n = 1000$",
    ),
    Claim(
        "C5b", r"Nearly all are where it is 50 times larger ($n = 8000$, every seed)", "Theorem 3.6", "at least", 0.85, 0.0,
        "0.92 in an independent implementation", "$n = 1000$",
    ),
    Claim(
        "C5c", r"The fraction grows in between: $n = 400, 1000, 2500, 8000$", "derived", "order", ("400", "1000", "2500", "8000"), 0.05,
        "0, 0.24, 0.70, 0.92 in an independent implementation", "the dimension scaled along with the samples, at the ratio 2.5",
    ),
    Claim(
        "C5d", r"Best test accuracy along $n = 40, 100, 400, 1000, 2500, 8000$", "derived", "approx", (0.914, 0.940, 0.942, 0.954, 0.991, 0.995), 0.03,
        _OVERALL, "shuffled pseudo-labels",
    ),
    Claim(
        "C5e", r"Final test accuracy, after 200, 200, 200, 200, 120, 80 steps", "derived", "approx", (0.914, 0.939, 0.927, 0.897, 0.942, 0.973), 0.03,
        _OVERALL, "shuffled pseudo-labels",
    ),
    Claim(
        "C6a", r"Abundant data, $t = 10 … 50$: training accuracy minus the fraction of correct labels (every seed and step)", "Theorem 3.6", "approx", 0.0, 0.03,
        "flips memorised early, and pseudo-labels of easy data", "400 samples", across="every",
    ),
    Claim(
        "C6b", r"… because wrong labels are corrected: fraction of flipped samples predicted with the true label (smallest)", "Theorem 3.6", "at least", 0.976, 0.01,
        _RANGES, "400 samples",
    ),
    Claim(
        "C6c", r"… and the student is right on fresh data (smallest test accuracy)", "Theorem 3.6", "at least", 1.0, 0.005, "three digits of an independent implementation, 2000 test points",
        "400 samples",
    ),
    Claim(
        "C6d", r"Trained on, the flips take over: corrected fraction at $t = 100, 200, 400$ (mean over seeds)", "Theorem 3.6 (the fall is observed)", "approx",
        (0.965, 0.68, 0.225), 0.03, _RANGES, "log-confidence loss with $c = 0.75$",
    ),
    Claim(
        "C6e", r"… and test accuracy falls: at $t = 200, 400$", "Theorem 3.6 (the fall is observed)", "approx", (0.975, 0.9245), 0.015, _RANGES,
        "log-confidence loss with $c = 0.75$",
    ),
    Claim(
        "C6f", r"… on hard-only data alone to", "Theorem 3.6 (the fall is observed)", "approx", 0.75, 0.03, _RANGES, "log-confidence loss with $c = 0.75$",
    ),
    Claim(
        "C6g", r"… while the training loss never rises (largest rise between logged steps)", "Theorem 3.6", "at most", 0.0, 0.0, "gradient descent with a small step",
        "test error instead of training loss",
    ),
    Claim(
        "C6h", r"The hard signal is unlearned too: step at which the largest $\langle w_{s,r}, \nu_s \rangle$ peaks (mean over seeds)", "derived", "approx", 100.0, 50.0,
        "near 100 in an independent implementation, a flat maximum", "trained on true labels",
    ),
    Claim(
        "C6i", r"… and what is left of the peak at $t = 400$ (every seed)", "derived", "approx", 0.78, 0.06, "0.54 to 0.42 in one seed of an independent implementation",
        "trained on true labels", across="every",
    ),
    Claim(
        "C6j", r"C6b for opposite patches, $t = 10 … 50$ (every seed)", "Theorem 3.6", "at least", 0.976, 0.01, _RANGES, "400 samples",
    ),
    Claim(
        "C6k", r"C6c for opposite patches, $t = 10 … 50$ (every seed)", "Theorem 3.6", "at least", 1.0, 0.005,
        "three digits of an independent implementation, 2000 test points", "400 samples",
    ),
    Claim(
        "C7a", r"Each filter learns the sign of $\nu_s$ that it started with (fraction, $t = 60$, every seed)", "Section 3", "at least", 0.95, 0.0,
        "all of 20 in an independent implementation", "signs of another start",
    ),
    Claim(
        "C7b", r"No filter stays undecided: smallest $|\langle w_{s,r}, \nu_s \rangle|$", "Section 3", "at least", 0.1, 0.0, "0.34 and more in an independent implementation",
        "a tenth of the steps",
    ),
    Claim(
        "C7c", r"Filters that learn $\mu_s$: mean inner product with it (every seed)", "Section 3", "approx", 2.9, 0.3, "how many filters share the signal differs between seeds",
        "trained on shuffled labels", across="every",
    ),
    Claim(
        "C7d", r"C7a for opposite patches", "Section 3", "at least", 0.95, 0.0, "all of 20 in an independent implementation", "signs of another start",
    ),
    Claim(
        "C7e", r"C7b for opposite patches", "Section 3", "at least", 0.1, 0.0, "0.34 and more in an independent implementation", "a tenth of the steps",
    ),
    Claim(
        "C8a", r"Bridge data $p_b = 0.05, 0.1, 0.2, 0.4, 0.6$: best hard-only accuracy, equal patches (mean over seeds)", "Section 3", "approx", (0.68, 0.81, 0.91, 1.0, 1.0), 0.06,
        _ONE_SEED, "a student without flipped labels",
    ),
    Claim(
        "C8b", r"… opposite patches", "Section 3", "approx", (0.70, 0.83, 0.92, 1.0, 1.0), 0.06, _ONE_SEED, "a student without flipped labels",
    ),
    Claim(
        "C8c", r"Without bridges the student hardly learns the hard signal ($p_b = 0.05$, both readings)", "Section 3", "at most", 0.80, 0.0, "0.68 to 0.70 in an independent implementation",
        "$p_b = 0.4$",
    ),
    Claim(
        "C8d", r"With them it does ($p_b = 0.6$, both readings)", "Section 3", "at least", 0.97, 0.0, "1.00 in an independent implementation", "$p_b = 0.1$",
    ),
    Claim(
        "C9a", r"Images, opposite signs: best student minus teacher (every seed)", "modified MNIST in the paper", "at least", 0.05, 0.0,
        "0.934 against 0.837 in an independent implementation", "shuffled pseudo-labels",
    ),
    Claim(
        "C9b", r"… its accuracy on hard-only images at the same time", "modified MNIST in the paper", "at least", 0.80, 0.0, "0.911 in an independent implementation",
        "the teacher",
    ),
    Claim(
        "C9c", r"… and of the same network trained on true labels, all images", "derived", "approx", 0.985, 0.02, "six seeds of an independent loop: 0.981 to 0.988", "the student",
    ),
    Claim(
        "C9d", r"With equal signs the teacher errs systematically, and the student imitates it: hard-only accuracy (mean over seeds)", "derived", "approx", 0.61, 0.10, "three standard errors of a mean of three: 26 seeds of an independent loop spread by 0.057",
        "opposite signs",
    ),
    Claim(
        "C10a", r"Phase portrait: what stopping at the crest gains over training on, by $n = 40, 100, 400, 1000, 2500, 8000$", "Theorems 3.4 and 3.6", "approx",
        (0.0, 0.001, 0.015, 0.057, 0.049, 0.022), 0.03, _OVERALL, "a student without flipped labels",
    ),
    Claim(
        "C10b", r"The crest lies above the teacher at every $n$ (smallest difference, mean over seeds)", "Theorems 3.4 and 3.6", "at least", 0.03, 0.0,
        "0.914 against 0.855 at the smallest $n$ in an independent implementation", "shuffled pseudo-labels",
    ),
    Claim(
        "C10c", r"The scarce side at full resolution, 200 steps: training on costs nothing where $n\|\nu\|^2 \le \sigma_p^2 d$ (largest gain of stopping at the crest, mean over seeds)",
        "Theorems 3.4 and 3.6", "at most", 0.02, 0.0, "0.000 and 0.001 at $n = 40$ and $100$ in an independent implementation; 1000 test points", "$n = 1000$",
    ),
    Claim(
        "C10d", r"… and the abundant side: for $n \ge 1000$ stopping gains (smallest, mean over seeds)", "Theorems 3.4 and 3.6", "at least", 0.03, 0.0,
        "0.057 and 0.049 at $n = 1000$ and $2500$ in an independent implementation, and falling", "a student without flipped labels",
    ),
    Claim(
        "D1a", r"Stopping without labels: where two students on disjoint halves agree best on unlabelled data, test accuracy is within a point of its best (every seed)",
        "derived", "at most", 0.01, 0.0, "independent errors $e$ disagree on $2e(1-e)$ of the samples, smallest where $e$ is", "the last step",
    ),
    Claim(
        "D1b", r"Held-out pseudo-labels are blind if the teacher's errors are coin flips: agreement with them on hard-only data (mean over steps, every seed)", "derived", "approx",
        0.5, 0.06, "600 hard-only samples, whose labels are coin flips: three standard errors", "a teacher whose errors are a function of the noise", across="every",
    ),
    Claim(
        "D1c", r"… and mislead with the linear teacher, whose errors can be learned: best test accuracy minus that where held-out agreement is best (every seed)", "derived", "at least",
        0.05, 0.0, "the drop of overtraining, 0.07 in C6e", "stopping by disagreement",
    ),
    Claim(
        "D2a", r"The log-confidence loss with $c > 1/2$ freezes the corrected phase: corrected fraction at $t = 400$, $c = 0.75$ (every seed)", "derived", "at least", 0.95, 0.0,
        r"the target of a corrected sample, $c$ on the true side, stays above one half", r"$c = 0$",
    ),
    Claim(
        "D2b", r"… and the fraction grows with $c = 0, 0.25, 0.75$", "derived", "order", ("0", "0.25", "0.75"), 0.05, r"for $c < 1/2$ the target is on the wrong side, only weaker",
        "the coefficients in the opposite order",
    ),
    Claim(
        "D2c", r"Small-loss selection at the known rate of correct labels freezes it too (corrected fraction at $t = 400$, every seed)", "derived", "at least", 0.95, 0.0,
        "corrected samples have the largest losses, and are dropped", "a random selection of the same size",
    ),
    Claim(
        "D3a", r"Weight decay of 0.02 removes overtraining: best test accuracy minus that at $t = 400$ (every seed)", "derived", "at most", 0.01, 0.0,
        r"a flip's own noise logit is at most $\sigma_p^2 d/(mn\lambda) = 0.25$, below the signal's", "no weight decay",
    ),
    Claim(
        "D3b", r"Mini-batches do not: test accuracy at $t = 400$ with batches of an eighth, minus full batch (every seed)", "derived", "approx", 0.0, 0.03,
        r"noise of the batches, of order $\sqrt\eta$", "weight decay of 0.02", across="every",
    ),
    Claim(
        "D4", r"The factor $1/m$ is a choice of units: largest difference of outputs without it, with start over $m$ and step over $m^2$", "derived", "at most", 1e-10, 0.0,
        "homogeneity of ReLU; rounding", "the step not rescaled",
    ),
    Claim(
        "D5", r"Chain: a second student, taught by the first as it was at $t = 40$, does not degrade: test accuracy at $t = 400$ (every seed)", "derived", "at least", 0.99, 0.0,
        "its labels are right but for the first student's errors", "taught by the first as it was at $t = 400$",
    ),
    Claim(
        "D6", r"Overtraining is imitation: the linear teacher's errors, the sign of a linear function of the noise, are taken over sooner than coin flips (corrected fraction at $t = 200$)", "derived",
        "order", ("teacher", "coin flips"), 0.05, r"3000 samples learn a linear function of 146 noise coordinates, as they learn a signal", "coin flips on both sides",
    ),
    Claim(
        "D7", r"How long the correction lasts is decided by the majority on hard-only data: corrected fraction at $t = 200$ for coins that are wrong with probability 0.55, 0.5, 0.45", "derived",
        "order", ("0.55", "0.5", "0.45"), 0.05, r"once the bridges are fitted through $\mu$, what is left on $\nu$ is the pull of hard-only samples, $n p_h (1 - 2q)$", "the same coin three times",
    ),
)  # fmt: skip
