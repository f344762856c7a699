"""What the paper states and what we derived, as claims to be measured."""

from descentlab.claims import Claim

_PROTOTYPE = "spread between independent implementations"

CLAIMS = (
    Claim(
        "C1a", r"On Gaussian data, full-batch Adam's increment points along $\hat w_\infty$ (cosine, every seed)",
        "prior: Zhang et al. 2024 (Figure 1)", "at least", 0.9995, 0.0, "finite time", "one sample a step",
    ),
    Claim(
        "C1b", r"Cyclic single-sample Adam on data set 0: cosine of its increment to $\hat w_2$",
        "Figure 1", "approx", 0.9735, 0.002, _PROTOTYPE, "full batch",
    ),
    Claim(
        "C1c", r"Cyclic and reshuffled orders agree: difference of their cosines to $\hat w_2$ (every seed)",
        "Figure 1", "at most", 0.002, 0.0, "step-size noise of a random order", "full batch against cyclic",
    ),
    Claim(
        "C1d", r"Yet $\hat w_2$ is not the limit on Gaussian data: the cosine stays away from one (every seed)",
        "Figure 1", "at most", 0.99, 0.0, "0.95 to 0.98 over ten seeds, independently computed", "gradient descent",
    ),
    Claim(
        "C1e", r"Every single-sample order leaves $\hat w_\infty$: mean cosine of the increment to it over ten data sets, cyclic, reshuffled, with replacement",
        "Figure 1", "approx", (0.812, 0.811, 0.809), 0.002, _PROTOTYPE + " and random orders", "full batch",
    ),
    Claim(
        "C2a", r"Full batch: the median of $|m/\sqrt v - \operatorname{sign} \nabla L|$ falls; log-log slope in $t$ for $a = 0.8$",
        "Proposition 2.5", "at most", -0.6, 0.0, "the rate is that of the step size, $-a$, minus noise", "one sample a step",
    ),
    Claim(
        "C2b", r"Hence the margin gap $1 - \gamma(w)/\gamma_\infty$ closes: its values at $10^3, 10^4, 10^5, 10^6$ steps",
        "derived", "approx", (0.112, 0.0228, 0.0057, 0.0016), 0.0005, _PROTOTYPE + ", rounding of the table",
        "steps that fall with $a = 0.8$ instead of $0.5$",
    ),
    Claim(
        "C3a", r"An epoch of cyclic Adam follows the recurrence with $C_\text{inc}$: slope of the residual in epochs, $a = 0.5$",
        "Proposition 2.5; the rate is derived", "slope", -0.5, 0.05, "residual proportional to the step size",
        "the constant without its square root",
    ),
    Claim(
        "C3b", r"The same for $a = 0.8$", "Proposition 2.5; the rate is derived", "slope", -0.8, 0.05,
        "residual proportional to the step size", "ages counted from the oldest sample",
    ),
    Claim(
        "C4a", r"On scaled Rademacher data cyclic Adam reaches $\hat w_2$, at four pairs of betas: $1 - \cos$ of the increment",
        "Corollary 3.2, Theorem 3.3", "at most", 1e-9, 0.0, "square of the last step size", "full batch",
    ),
    Claim(
        "C4b", r"So does the reshuffled order, at the same four pairs", "Corollary 3.2 (reshuffled: derived)", "at most",
        1e-9, 0.0, "square of the last step size; an independent implementation saw 2e-11", "full batch",
    ),
    Claim(
        "C4c", r"So does sampling with replacement, up to its noise", "derived", "at most", 1e-5, 0.0,
        "variance of random orders", "full batch",
    ),
    Claim(
        "C4d", r"Full-batch Adam at $\beta = (0.9, 0.95)$ has the best $\ell_\infty$ margin on the same data (ratio)",
        "prior: Zhang et al. 2024", "at least", 0.999, 0.0, "finite time", "one sample a step",
    ),
    Claim(
        "C4e", r"… and not the best $\ell_2$ margin (ratio)", "Section 3", "at most", 0.9, 0.0,
        "0.80 to 0.87, independently computed", "one sample a step",
    ),
    Claim(
        "C5a", r"As $\beta_2 \to 1$ the limit tends to AdamProxy's; the angle is proportional to $1 - \beta_2$",
        "Proposition 4.1; the rate is derived", "slope", 1.0, 0.05, "higher orders in $1 - \\beta_2$",
        "another fixed point to compare with: l2",
    ),
    Claim(
        "C5b", r"An epoch's displacement is AdamProxy's up to a residual that falls with $1 - \beta_2$ ($\beta_2 = 0.9, 0.95, 0.99$)",
        "Proposition 4.1", "order", ("0.99", "0.95", "0.9"), 0.1, "residuals differ by factors of two or more",
        "betas listed in the opposite order",
    ),
    Claim(
        "C5c", r"AdamProxy with exponential loss is the replicator flow on the shares: largest difference after 5000 steps",
        "derived", "at most", 1e-11, 0.0, "rounding of 5000 steps", "logistic loss",
    ),
    Claim(
        "C6", r"AdamProxy drives the loss to zero: $\log L$ falls linearly in $\tau$, at the rate of the fixed point (ratio)",
        "Proposition 4.3; the rate is derived", "approx", 1.0, 1e-3, "the transient, over $\\tau$", "gradient descent's rate",
    ),
    Claim(
        "C7a", r"The fixed point $c^\star$ of data set 0",
        "Theorem 4.8, Algorithm 3", "approx",
        (0.0906, 0.1829, 0.0587, 0.0563, 0.0905, 0.0467, 0.1841, 0.1312, 0.0688, 0.0902), 1e-4,
        "four digits of an independent implementation", "one iteration only",
    ),
    Claim(
        "C7b", r"AdamProxy converges to it: $1 - \cos(w, \hat w_c)$ after $10^5$ steps",
        "Theorem 4.8", "at most", 1e-5, 0.0, r"$1/\tau^2$ at $10^5$ steps", "the l2 direction",
    ),
    Claim(
        "C7c", r"So does cyclic Adam at $\beta_2 = 0.999$: $1 - \cos$ of the increment",
        "Theorem 4.8", "at most", 1e-7, 0.0, r"$(1 - \beta_2)^2$ and the step size squared", r"$\beta_2 = 0.5$",
    ),
    Claim(
        "C7d", r"AdamProxy's Mahalanobis margin over the best, at $10^3, 10^4, 10^5, 10^6$ steps",
        "Theorem 4.8", "approx", (0.99257, 0.99772, 0.99929, 0.99977), 2e-5, "five digits of an independent implementation",
        "margin in the Euclidean norm",
    ),
    Claim(
        "C7e", r"On random separable problems the iteration finds one point from every start (largest spread of $c$)",
        "derived", "at most", 1e-9, 0.0, "tolerance of the iteration over its rate", "shifted-diagonal data",
    ),
    Claim(
        "C8a", r"On scaled Rademacher data the fixed point is $\hat w_2$ ($1 - \cos$)", "Section 4", "at most", 1e-12, 0.0,
        "rounding", "Gaussian data",
    ),
    Claim(
        "C8b", r"On shifted-diagonal data $c = e_1$ is a fixed point whose direction is $\mathbf 1 = \hat w_\infty$ ($1 - \cos$)",
        "Section 4 (wording reconstructed)", "at most", 1e-12, 0.0, "rounding", "the fixed point that the start at the second sample finds",
    ),
    Claim(
        "C8c", r"Cyclic Adam follows: $1 - \cos(w, \mathbf 1)$", "Section 4", "at most", 1e-3, 0.0,
        r"$1/\tau^2$ at $10^6$ steps", "gradient descent",
    ),
    Claim(
        "C8d", r"… and gradient descent leaves $\mathbf 1$ for $\hat w_2$: its cosine after $10^5$ steps of 0.1 on the summed loss", "Section 4",
        "approx", 0.9912, 1e-4, "four digits of an independent implementation", "cyclic Adam",
    ),
    Claim(
        "C9a", r"Signum's $\ell_\infty$ margin ratio by momentum $\beta = 0, 0.5, 0.9, 0.99, 0.999$, one sample a step",
        "Theorem 5.1", "approx", (0.105, 0.541, 0.918, 0.9989, 0.9997), 0.003, _PROTOTYPE, "sampling with replacement",
    ),
    Claim(
        "C9b", r"The ratio grows with $\beta$ at every batch size and order (smallest step up)", "Theorem 5.1", "at least", 0.0,
        0.001, "columns that have reached one", "betas in the opposite order",
    ),
    Claim(
        "C9c", r"At $\beta = 0.99$ the $\ell_\infty$ bias is back at every batch size, cyclic order (smallest ratio)",
        "Theorem 5.1", "at least", 0.998, 0.0, "finite momentum", r"$\beta = 0.9$",
    ),
    Claim(
        "C10a", r"Cyclic Adam by batch size 1, 2, 5, 10: cosine of the increment to $\hat w_2$", "Figure 6", "approx",
        (0.9735, 0.9544, 0.9027, 0.7447), 0.003, _PROTOTYPE, "reshuffled order",
    ),
    Claim(
        "C10b", r"… and to $\hat w_\infty$: even half of the data a step is far from full batch", "Figure 6", "approx",
        (0.7557, 0.7664, 0.8246, 1.0), 0.003, _PROTOTYPE, "with replacement",
    ),
    Claim(
        "C10c", r"Reshuffled Adam by batch size: cosine to $\hat w_2$", "Figure 6", "approx",
        (0.9734, 0.9769, 0.9670, 0.7447), 0.003, "spread over random orders", "cyclic order",
    ),
    Claim(
        "C11a", r"$\beta = (0.95, 0.5)$ has $\beta_1^2 > \beta_2$: with $\eta_0 = 0.1$, $a = 0.5$ the iterates explode (size after 100 steps)",
        "derived", "at least", 1e6, 0.0, "an explosion by orders of magnitude", r"$\beta = (0.5, 0.5)$",
    ),
    Claim(
        "C11b", r"… while smaller steps still lead to $\hat w_2$: $1 - \cos$ for $\eta_0 = 0.01$ and for $a = 0.8$", "derived",
        "at most", 1e-6, 0.0, "square of the last step size", r"$\eta_0 = 0.1$, $a = 0.5$",
    ),
    Claim(
        "C11c", r"$1 - \cos(w, \hat w_2)$ falls like $\tau^{-2}$: log-log slope over the last decade of steps, $a = 0.5$", "derived",
        "slope", -2.0, 0.06, "range seen by an independent implementation", r"against steps instead of $\tau$",
    ),
    Claim(
        "C11d", r"The same for $a = 0.8$", "derived", "slope", -2.0, 0.06, "range seen by an independent implementation",
        r"against steps instead of $\tau$",
    ),
    Claim(
        "C11e", r"With the offset of $\tau$ fitted, the power is two ($a = 0.5$)", "derived", "slope", -2.0, 0.01,
        "terms beyond the offset are of relative order $\\tau^{-2}$", r"steps instead of $\tau$",
    ),
    Claim(
        "C12a", r"With $\varepsilon > 0$ full-batch Adam loses the $\ell_\infty$ bias: cosine to $\hat w_\infty$ after $10^5$ steps, by $\varepsilon$",
        "prior: Wang et al. 2021, Zhang et al. 2024", "order", ("0.01", "0.0001", "1e-08", "0.0"), 0.01,
        "differences of several hundredths", "epsilon switched off",
    ),
    Claim(
        "C12b", r"For $\varepsilon = 10^{-8}$ it stalls just above margins of $\ln(1/\varepsilon) = 18.4$: smallest margin at $10^3$, $10^4$ and $10^5$ steps",
        "derived", "approx", (21.0, 21.0, 21.0), 2.5, "an independent implementation saw 19 to 23, rounded", "epsilon switched off",
    ),
    Claim(
        "D1", r"Exact limit at finite betas $(0.9, 0.95)$, $(0, 0.5)$, $(0.5, 0.9)$: $1 - \cos$ of cyclic Adam's increment to it vanishes with the step size, by the power",
        "derived", "approx", (2.0, 2.0, 2.0), 0.1, "next order in the step size", r"the $\beta_2 \to 1$ fixed point",
    ),
    Claim(
        "D2", r"Mini-batch fixed point for batches of 2 and 5 at $\beta_2 = 0.999$: $1 - \cos$ of the increment", "derived",
        "at most", 7.5e-9, 0.0, r"the single samples' gap at this $\beta_2$, independently computed: batches leave fewer steps an epoch",
        "the single-sample fixed point",
    ),
    Claim(
        "D3a", r"Bistability: shifted-diagonal data in three dimensions have a second fixed point $c$", "derived", "approx",
        (0.0867, 0.9133, 0.0), 1e-4, "four digits of an independent implementation", "the start at the first sample",
    ),
    Claim(
        "D3b", r"… whose $\ell_\infty$ margin falls short of the best (ratio)", "derived", "approx", 0.940, 0.001,
        "three digits of an independent implementation", "the first fixed point",
    ),
    Claim(
        "D3c", r"From random starts cyclic Adam reaches both (number of runs at the rarer one)", "derived", "at least", 1, 0.0,
        "a count", "starts at the origin",
    ),
    Claim(
        "D4a", r"Two classes of digits: $1 - \cos$ of cyclic Adam's increment to its limit at finite betas vanishes with the step size, by the power", "derived",
        "approx", 2.0, 0.1, "next order in the step size", "the l2 direction",
    ),
    Claim(
        "D4b", r"Full-batch Adam on the digits has the best $\ell_\infty$ margin (ratio)", "derived", "at least", 0.999, 0.0,
        "the bar of C4d", "one sample a step",
    ),
    Claim(
        "D5a", r"Two classes of Fashion-MNIST: $1 - \cos$ of cyclic Adam's increment to its limit at finite betas vanishes with the step size, by the power", "derived",
        "approx", 2.0, 0.1, "next order in the step size", "the l2 direction",
    ),
    Claim(
        "D5b", r"Full-batch Adam on them has the best $\ell_\infty$ margin (ratio)", "derived", "at least", 0.999, 0.0,
        "the bar of C4d", "one sample a step",
    ),
)  # fmt: skip
