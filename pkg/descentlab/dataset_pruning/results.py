"""What the paper states and what we derived, as claims to be measured."""

from descentlab.claims import Claim

_SPREAD = "an independent implementation's spread over three seeds"
_RANK = "an independent implementation saw more; rank correlations vary by 0.03 between seeds"
_ROOT2 = 2**0.5

CLAIMS = (
    Claim(
        "C1a", r"The score of a table worked out by hand, $P = (0,1,0), (.2,.4,.9), (.5,.5,.5)$ with $J = 2$",
        "Section 3", "approx", (_ROOT2 / 4, 0.07875 * _ROOT2, 0.0), 1e-12, "rounding", "the deviation with divisor J",
    ),
    Claim(
        "C1b", r"Streaming, with the last $J$ epochs in memory, gives the table's scores: largest difference",
        "derived", "at most", 1e-12, 0.0, "rounding", "streaming in single precision",
    ),
    Claim(
        "C1c", r"The divisor $J$ instead of $J - 1$ multiplies each score by $\sqrt{(J-1)/J}$: extremes of the ratio, $J = 10$",
        "derived", "approx", (0.9**0.5, 0.9**0.5), 1e-12, "rounding", "windows of nine epochs instead of ten",
    ),
    Claim(
        "C1d", r"Scores go with their samples: largest change when the samples are shuffled and put back; and when $T = J$, of the only window",
        "Section 3", "at most", (0.0, 1e-12), 0.0, "rounding", "the samples are not put back; two windows instead of one",
    ),
    Claim(
        "C2a", r"Two points, exponential loss: $(T_v, T_{vm}, T_{sm})$ for $\eta = 0.1$, $0.01$, $0.003$",
        "Theorem on the two-point model (conditions derived)", "approx", (20, 8, 4, 243, 120, 74, 822, 411, 259), 0.0, "integers",
        "windows of five steps",
    ),
    Claim(
        "C2b", r"… and logistic loss, $\eta = 0.01$", "Theorem on the two-point model (conditions derived)", "approx", (343, 174, 112), 0.0, "integers",
        "exponential loss",
    ),
    Claim(
        "C2c", r"On 111 random pairs of points that meet the conditions: violations of $T_{vm} < T_v$, and of $T_{sm} < T_{vm}$",
        "Theorem on the two-point model; the second is derived", "at most", (0, 0), 0.0, "a theorem", "the easiness $m$ in place of the difficulty $1 - m$",
    ),
    Claim(
        "C2d", r"Large steps break strictness: $(T_v, T_{vm})$ for the logistic loss, $\eta = 1$", "derived", "approx", (1, 1), 0.0,
        "integers", r"$\eta = 0.01$",
    ),
    Claim(
        "C2e", r"Crossing times are continuous time over $\eta$: $\eta\,(T_v, T_{vm}, T_{sm})$ at $\eta = 0.001$, exponential loss", "derived",
        "approx", (2.47, 1.23, 0.78), 0.015, r"a window is $10 \eta$ long, and two digits of an independent implementation", r"$\eta = 0.1$",
    ),
    Claim(
        "C3a", r"DUAL sees early what Dyn-Unc sees late: rank correlation with the whole run's Dyn-Unc, minus that of Dyn-Unc from the same $T = 5, 6, 8, 10$ epochs (smallest, by seed)",
        "Figure on early identification", "at least", 0.05, 0.0, _RANK, "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C3b", r"DUAL from 10 of 40 epochs: rank correlation with the whole run's Dyn-Unc (by seed)", "Figure on early identification",
        "at least", 0.85, 0.0, _RANK, "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C3c", r"… and Dyn-Unc catches up: the epoch at which the two curves cross (mean of the seeds)", "derived", "approx", 18.6, 3.0,
        "interpolated from an independent implementation's curves, which are nearly parallel there", "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C3d", r"Overlap of the top fifth with the whole run's: DUAL from 10 epochs minus Dyn-Unc from 10 (by seed)", "Figure on early identification",
        "at least", 0.05, 0.0, "an independent implementation saw 0.68 and 0.53", "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C3e", r"Softmax regression on 3000 images: the same difference of rank correlations at $T = 12$ of 40 epochs (by seed)",
        "derived", "at least", 0.2, 0.0, "an independent implementation saw 0.90 against 0.48", "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C4a", r"Rank correlation between two seeds: DUAL ($T = 10$) minus a one-epoch EL2N (pairs of seeds)", "Section 2 (snapshots vary)",
        "at least", 0.02, 0.0, "an independent implementation saw 0.86 and 0.81; ±0.03", "the second seed's samples in another order",
    ),
    Claim(
        "C4b", r"… minus Dyn-Unc from the same 10 epochs", "derived", "at least", 0.0, 0.0, "an independent implementation saw 0.86 and 0.76",
        "the second seed's samples in another order",
    ),
    Claim(
        "C4c", r"Averages are steadier than DUAL: EL2N averaged over 10 epochs minus DUAL", "derived", "at least", 0.0, 0.0,
        "an independent implementation saw 0.935 and 0.86", "the second seed's samples in another order for EL2N",
    ),
    Claim(
        "C5a", r"Mean early probability of the top tenth: Dyn-Unc minus DUAL (by seed)", "Figure of the moon", "at least", 0.10, 0.0,
        "an independent implementation saw 0.54 and 0.38", "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C5b", r"No sample lies above $\sqrt{T/(T-1)\, m(1-m)}$: largest excess of its deviation", "derived", "at most", 1e-6, 0.0,
        "single precision of the table", "the bound without its factor, on zeros and ones",
    ),
    Claim(
        "C5c", r"Where a sample of zeros and ones scores highest: $m$ of the largest $\sqrt{m(1-m)}$ and $\sqrt{m(1-m)}\,(1-m)$", "derived",
        "approx", (0.5, 0.25), 1e-3, "grid of $10^{-4}$", "difficulty $m$ in place of $1 - m$",
    ),
    Claim(
        "C6a", r"$(\alpha_r, \beta_r, \text{mode})$ at $\mu_D = .336$, $c_D = 4$ for $r = .3, .5, .7, .8, .9$", "Section 4 (offset of the code)", "approx",
        (6.12, 9.88, 0.37, 6.66, 9.34, 0.40, 8.43, 7.57, 0.53, 10.12, 5.88, 0.65, 12.57, 3.43, 0.83), 0.0051, "two digits of an independent implementation",
        r"$\alpha_r = C - \beta_r$",
    ),
    Claim(
        "C6b", r"The mode rises with $r$ and falls with $c_D$: smallest step over a grid of both", "derived", "at least", 1e-9, 0.0, "strict monotonicity",
        r"$r^{1/c_D}$ in place of $r^{c_D}$",
    ),
    Claim(
        "C6c", r"Six samples, three drawn: how often each is kept, against the exact enumeration, in standard errors of $2 \cdot 10^5$ draws (largest)",
        "Section 4, successive sampling", "at most", 4.0, 0.0, "six comparisons", "uniform keys $w\\,U$ in place of Gumbel keys",
    ),
    Claim(
        "C6d", r"Mean early probability of what is kept, $c_D = 4$, $r = .3, .5, .7, .8, .9$ (mean of the seeds)", "Section 4", "approx",
        (0.62, 0.54, 0.53, 0.62, 0.75), 0.03, "two digits of an independent implementation, and the spread of seeds", "the top scores (recorded)",
    ),
    Claim(
        "C6e", r"… and of plain top scores", "Section 4", "approx", (0.62, 0.53, 0.44, 0.41, 0.38), 0.03,
        "two digits of an independent implementation, and the spread of seeds", "Beta sampling (recorded)",
    ),
    Claim(
        "C6f", r"Exactly $\mathrm{round}((1-r)N)$ different samples are kept, for every $r$ and method: number of exceptions", "Section 4", "at most", 0, 0.0,
        "a count", "drawing with replacement",
    ),
    Claim(
        "C7a", r"At 90 % Beta sampling rescues DUAL: points gained over plain DUAL, EL2N, forgetting and AUM (smallest, $c_D = 4$ and $5.5$, by seed)",
        "Table 1", "at least", 10.0, 0.0, "an independent implementation saw 19 or more", "plain DUAL in place of Beta sampling (recorded)",
    ),
    Claim(
        "C7b", r"At 90 % DUAL with Beta sampling is no worse than random ($c_D = 4$ and $5.5$, by seed), in points", "Table 1", "at least", -0.5, 0.0,
        "two standard errors of a three-seed difference", "plain DUAL in place of Beta sampling (recorded)", across="mean",
    ),
    Claim(
        "C7c", r"At 80 %, $c_D = 4$: no worse than random (by seed), in points", "Table 1", "at least", -0.5, 0.0,
        "two standard errors of a three-seed difference", "plain DUAL in place of Beta sampling (recorded)", across="mean",
    ),
    Claim(
        "C7d", r"… and within two points of CCS, which needs four times the epochs (by seed)", "derived", "at least", -2.0, 0.0,
        "an independent implementation saw −0.8", "plain DUAL in place of Beta sampling (recorded)", across="mean",
    ),
    Claim(
        "C7e", r"At 50 % plain DUAL beats random (by seed), in points", "Table 1", "at least", 0.5, 0.0,
        "two standard errors of a three-seed difference; an independent implementation saw 1.0", "at 90 % (recorded)", across="mean",
    ),
    Claim(
        "C7f", r"At 90 % hard-first scores collapse, in this order (accuracy in per cent, mean of the seeds)", "Table 1; the order is derived", "order",
        ("AUM", "EL2N", "forgetting", "Dyn-Unc"), 2.0, "an independent implementation saw gaps of 13 and more", "random pruning under each name (recorded)",
    ),
    Claim(
        "C7g", r"CIFAR-10, ResNet-18, DUAL with Beta sampling at $r = 30, 50, 70, 80, 90$ %: accuracy", "Table 1", "approx",
        (95.51, 95.23, 93.04, 91.42, 87.09), 0.7, "spread of five seeds", "random pruning (the paper's figure)", data="cifar10",
    ),
    Claim(
        "C7h", r"CIFAR-100, the same", "Table 1", "approx", (77.86, 74.66, 69.25, 64.76, 54.54), 1.0, "spread of five seeds", "random pruning (the paper's figure)", data="cifar100",
    ),
    Claim(
        "C7i", r"ImageNet-1k, ResNet-34, DUAL with Beta sampling at 90 %: accuracy", "Table 2", "approx", 60.0, 0.7, "spread between runs", "random pruning (the paper's table)",
        data="imagenet",
    ),
    Claim(
        "C8a", r"20 % wrong labels: share of them that plain DUAL prunes at $r = .3$ (by seed)", "Section on label noise", "at least", 0.70, 0.0,
        "an independent implementation saw 0.77", "random pruning",
    ),
    Claim(
        "C8b", r"… and EL2N, which takes wrong labels for hard samples", "Section on label noise", "at most", 0.05, 0.0,
        "an independent implementation saw 0.01", "random pruning",
    ),
    Claim(
        "C8c", r"Beta sampling prunes more of them than plain DUAL: smallest difference over $r = .3, .5, .8$, $c_D = 4$ (by seed)", "Section on label noise",
        "at least", 0.0, 0.0, "an independent implementation saw 0.036 and more", "Beta sampling with the scores of the wrong samples",
    ),
    Claim(
        "C8d", r"At 90 % Beta sampling prunes nearly all of them (by seed)", "Section on label noise", "at least", 0.99, 0.0,
        "an independent implementation saw 0.996 at 80 %", "random pruning",
    ),
    Claim(
        "C8e", r"Dyn-Unc from the same epochs is the better filter: its share at $r = .3$ minus DUAL's (by seed)", "derived", "at least", 0.05, 0.0,
        "an independent implementation saw 0.94 and 0.77", "Dyn-Unc's scores given to the wrong samples",
    ),
    Claim(
        "C8f", r"20 % wrong labels, $r = .5$: accuracy of DUAL minus random (by seed), in points", "Section on label noise", "at least", 1.5, 0.0,
        "an independent implementation saw 3.2 in one seed", "EL2N in place of DUAL (recorded)", across="mean",
    ),
    Claim(
        "C8g", r"… and EL2N is the worst: random minus EL2N (by seed), in points", "Section on label noise", "at least", 10.0, 0.0,
        "an independent implementation saw 22 in one seed", "DUAL in place of EL2N (recorded)",
    ),
    Claim(
        "C9a", r"20 % damaged images are kept, not pruned: share of them that plain DUAL prunes at $r = .3, .5, .7, .9$ (mean of the seeds)", "derived", "at most",
        (0.3, 0.5, 0.7, 0.9), 0.0, "random pruning's shares; an independent implementation saw 0.14, 0.32, 0.58, 0.86", "wrong labels in place of damaged images",
    ),
    Claim(
        "C9b", r"Their mean early probability is lower: clean minus damaged (by seed)", "derived", "at least", 0.05, 0.0,
        "an independent implementation saw 0.71 and 0.59", "which images are damaged, shuffled",
    ),
    Claim(
        "C9c", r"With damaged images, accuracy of DUAL with Beta sampling minus the best other method's", "Section on image corruption", "at least", 0.0, 0.0,
        "as stated; the paper's table was not at hand", "random pruning in place of Beta sampling (CIFAR-100 without damage, the paper's figures)", data="cifar100",
    ),
    Claim(
        "C10a", r"Scoring costs its share of epochs: processor time of the first $T$ epochs over all, divided by $T/E$ (by seed)", "Figure on time", "approx", 1.0, 0.1,
        "10 % relative", "the epochs of a 30-of-40 run", across="mean",
    ),
    Claim(
        "C10b", r"Score and draw cost little beside it: their share of the scoring run's processor time (by seed)", "Figure on time", "at most", 0.01, 0.0,
        "a run takes minutes, a score milliseconds", "the scoring run itself",
    ),
    Claim(
        "C10c", r"The published minutes, 5.5 of 38.0, are the ratio of epochs, 30 of 200", "Figure on time", "approx", 5.5 / 38.0, 0.1 * 5.5 / 38.0,
        "10 % relative", "ImageNet's 60 of 90",
    ),
    Claim(
        "C11a", r"The window matters little: rank correlation of DUAL ($T = 10$) with $J = 3 … 8$ to $J = 5$ (smallest, by seed)", "Ablations",
        "at least", 0.95, 0.0, "an independent implementation saw 0.99", "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "C11b", r"Scores of a perceptron prune for the CNN: at 90 %, points gained by Beta sampling over plain DUAL (by seed)", "Section on architectures",
        "at least", 0.0, 0.0, "the paper's ranking", "the two methods exchanged (recorded)",
    ),
    Claim(
        "C11c", r"… and those of the CNN for the perceptron", "Section on architectures", "at least", 0.0, 0.0, "the paper's ranking",
        "the two methods exchanged (recorded)",
    ),
    Claim(
        "D1", r"The family $s(1-m)^q$: the more weight on difficulty, the earlier the hard point is found (windows until crossing, $\eta = .01$)", "derived", "order",
        ("q = 2", "q = 1", "q = 0.5", "q = 0"), 1.0, "integers", "weight on easiness, $m^q$",
    ),
    Claim(
        "D2", r"Class-balanced Beta sampling keeps as many of each class as its size allows, at 90 %: largest difference from the exact share", "derived", "at most", 1.0, 0.0,
        "rounding to whole samples", "classes not looked at",
    ),
    Claim(
        "D3", r"A stopping rule in place of $T$: stop when an epoch leaves the ranking within .98 of itself. Rank correlation with the whole run's Dyn-Unc there (by seed)",
        "derived", "at least", 0.85, 0.0, "the bar of C3b", "DUAL's scores given to the wrong samples",
    ),
    Claim(
        "D4", r"As a filter of wrong labels the family goes the other way: share pruned at $r = .3$ by power (mean of the seeds)", "derived", "order",
        ("q = 2", "q = 1", "q = 0"), 0.05, "an independent implementation saw 0.77 for $q = 1$ and 0.94 for $q = 0$", "the powers in the opposite order (recorded)",
    ),
    Claim(
        "D5", r"Softmax regression: the smaller the learning rate, the longer DUAL's lead, as crossing times $\propto 1/\eta$ predict. The difference of C3e by learning rate (mean of the seeds)",
        "derived", "order", ("0.05", "0.005", "0.001"), 0.03, "the spread of rank correlations between seeds", "DUAL in place of Dyn-Unc",
    ),
)  # fmt: skip

# those that rest on several trained networks, and are recorded
TRAINED_CLAIMS = (
    *("C3a", "C3b", "C3c", "C3d", "C3e", "C4a", "C4b", "C4c", "C5a", "C6d", "C6e"),
    *("C7a", "C7b", "C7c", "C7d", "C7e", "C7f", "C8a", "C8b", "C8c", "C8d", "C8e", "C8f", "C8g"),
    *("C9a", "C9b", "C10a", "C10b", "C11a", "C11b", "C11c", "D3", "D4", "D5"),
)

# why a measurement misses, where one does
NOTES: dict[str, str] = {}
