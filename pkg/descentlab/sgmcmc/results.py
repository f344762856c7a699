"""What the paper states and what we derived, as claims to be measured."""

from descentlab.claims import Claim

_SEEDS = "spread over seeds and data subsets of an independent implementation"

# fmt: off
CLAIMS = (
    Claim(
        "C1a", r"Gradient flow on the factors is preconditioned flow of $W$: largest relative error of $P_W$ against automatic differentiation, up to five factors",
        "Lemma 3.1 (formula derived)", "at most", 1e-12, 0.0, "rounding in float64", "transposes on the wrong factors",
    ),
    Claim(
        "C1b", r"At $P = Q = I$ the eigenvalues of $P_W$ are $1 + c\,\sigma_j(V)^2 + d\,\sigma_i(V)^2$: largest relative error",
        "derived", "at most", 1e-12, 0.0, "rounding in float64", "c and d exchanged",
    ),
    Claim(
        "C1c", r"The flow conserves $A_i^\top A_i - A_{i+1} A_{i+1}^\top$: drift after 2000 Runge–Kutta steps of $10^{-3}$",
        "prior: balancedness of deep linear networks", "at most", 1e-5, 0.0, "fourth-order error of the integrator", "weight decay of 0.1 on the factors",
    ),
    Claim(
        "C2a", r"One Langevin step on the factors moves $W$ by $2\varepsilon T \operatorname{tr} P_W + \varepsilon^2 \|P_W \nabla U\|^2$: simulated over predicted, $(c,d) = (0,0), (1,0), (1,1), (2,2), (3,3)$",
        "derived", "approx", (1.0, 1.0, 1.0, 1.0, 1.0), 0.02, "Monte Carlo, and the next order at $\\varepsilon = 10^{-4}$", "$mn$ in place of the trace",
    ),
    Claim(
        "C2b", r"The bound in the manner of the theorem holds: smallest ratio of bound to root mean square move",
        "Theorem 3.2 (constants reconstructed)", "at least", 1.0, 0.01, "Monte Carlo of the move", "the bound with $e = M = 1$",
    ),
    Claim(
        "C2c", r"A growing bound does not mean larger moves: $\operatorname{tr} P_W$ at depth 7 over depth 5, for some perturbed identities",
        "derived", "at most", 1.0, 0.0, "existence of an example", "exact identities",
    ),
    Claim(
        "C3a", r"Stationary variance of SGHMC, momentum first, over that of a Lyapunov solve, at $(h, \lambda, \gamma, V) = (0.1, 4, 1, 0), (0.5, 1, 1, 0), (0.1, 4, 2, 50)$",
        "derived", "approx", (1.0, 1.0, 1.0), 0.01, "Monte Carlo, 4000 chains", "position moved before momentum",
    ),
    Claim(
        "C3b", r"… and of its mean squared momentum, in the first two settings", "derived", "approx", (1.0, 1.0), 0.01,
        "Monte Carlo, 4000 chains", "position moved before momentum",
    ),
    Claim(
        "C3c", r"Explicit Euler inflates the variance to 0.42101 instead of 0.25, first setting (ratio to the closed form)", "derived", "approx", 1.0, 0.01,
        "Monte Carlo, 4000 chains", "momentum moved first",
    ),
    Claim(
        "C3d", r"The thermostat (SGNHT) absorbs noisy gradients: $E x^2$ and $\xi$ at $V = 0$ and $80$ over the closed form",
        "derived", "approx", (1.0, 1.0, 1.0, 1.0), 0.01, "Monte Carlo, thermostat averaged over many coordinates", "friction that does not adapt",
    ),
    Claim(
        "C3e", r"Langevin dynamics has variance $T / (\lambda (1 - \eta\lambda/2)) = 0.3125$ at $\eta = 0.1$, $\lambda = 4$ (ratio)", "prior: textbook",
        "approx", 1.0, 0.01, "Monte Carlo, 4000 chains", "HMC with Metropolis, which has no bias",
    ),
    Claim(
        "C4a", r"25 Gaussians: Langevin dynamics with decaying steps visits few modes (mean of 32 chains)", "prior: Zhang et al. 2020", "at most", 5.0, 0.0,
        "an independent implementation saw 2.4", "a constant step size",
    ),
    Claim(
        "C4b", r"… with cyclical steps nearly all of them", "prior: Zhang et al. 2020", "at least", 24.0, 0.0, "an independent implementation saw 25.0",
        "decaying steps",
    ),
    Claim(
        "C4c", r"… and with a constant large step nearly as many", "derived", "approx", 24.25, 0.6, "spread of the mean over seeds", "decaying steps",
    ),
    Claim(
        "C5a", r"Nine Gaussians, HMC at the same small step: mode switches of the expansion over those without, for $(c,d) = (1,0)$ and $(1,1)$, exact target",
        "Section 5.1 (mixture ours)", "approx", (2.5, 2.5), 0.7, "range [1.8, 3.2] set before the run", "no expansion on either side",
    ),
    Claim(
        "C5b", r"With Gaussian priors on the factors the centre has the mass 0.743 instead of 0.111", "derived", "approx", 0.743, 0.02,
        "Monte Carlo and slow mixing", "the exact target",
    ),
    Claim(
        "C5c", r"With the exact target the masses are right: total variation to a ninth each", "derived", "at most", 0.08, 0.0,
        "an independent implementation saw 0.044", "Gaussian priors on the factors",
    ),
    Claim(
        "C5d", r"The advantage is one of step size: switches of $(1,1)$ at the small step over those of plain HMC at its tuned one", "derived", "approx", 1.0, 0.2,
        "Monte Carlo of two rates", "plain HMC at the small step",
    ),
    Claim(
        "C6a", r"Norms at the end of the authors' runs are those of the prior: predicted over logged, for $\|W\|$ (PX, SP), $\tfrac12 \sum \|P, Q\|^2$ and $\|V\|^2 / 2\sigma^2$",
        "derived, on the official logs", "approx", (1.0, 1.0, 1.0, 1.0), 0.03, "the data move the norms a little", "factors of precision 1 instead of 2",
    ),
    Claim(
        "C6b", r"Induced variance of $W = PVQ$ over $\sigma_V^2 (m s_P^2)(n s_Q^2)$, $3 \times 4$", "derived", "approx", 1.0, 0.01, "Monte Carlo", "a factor less on the left",
    ),
    Claim(
        "C6c", r"Its kurtosis is $3 (1 + 2/m)(1 + 2/n) = 7.5$", "derived", "approx", 7.5, 0.375, "heavy tails slow the fourth moment", "V alone",
    ),
    Claim(
        "C6d", r"Scalar $w = pv$, $y \mid w \sim N(w, \tfrac14)$: posterior mean and variance at $y = 1$ and $y = 2$", "derived", "approx",
        (0.616773, 0.231147, 1.674864, 0.264116), 1e-6, "digits of an independent quadrature", "a Gaussian prior of the same variance",
    ),
    Claim(
        "C6e", r"A sampler on $(p, v)$ has that mean, at $y = 1$ (in standard errors)", "derived", "at most", 3.0, 0.0, "three standard errors", "the exact target, whose mean is 0.8",
    ),
    Claim(
        "C7a", r"Exact target, $2 \times 3$ Gaussian: largest error of the mean of $W$ in standard errors, $\rho$ around the identity and Wishart-like", "derived", "at most",
        (4.0, 4.0), 0.0, "four standard errors", "the determinant left out",
    ),
    Claim(
        "C7b", r"… relative error of the covariance", "derived", "at most", (0.04, 0.04), 0.0, "Monte Carlo", "the determinant left out",
    ),
    Claim(
        "C7c", r"… and $E\|P\|^2/m$, $E\|Q\|^2/n$ as $\rho$ says", "derived", "approx", (1.18, 1.27, 1.0, 1.0), 0.03, "Monte Carlo", "the determinant left out",
    ),
    Claim(
        "C8", r"CIFAR-10, ResNet-20: error, NLL and ambiguity of 100 samples of PX-SGHMC", "Table 1; official log of seed 42", "approx", (0.1185, 0.3763, 0.2408), 0.012,
        "spread between seeds", "SGHMC",
    ),
    Claim(
        "C9a", r"Fashion-MNIST 14×14, NLL of HMC, SGHMC at $h = $ 1e-3, 2e-3, 8e-3, PX exact and PX paper at 1e-3", "derived", "approx", (0.535, 0.637, 0.587, 0.558, 0.603, 0.571), 0.03,
        _SEEDS, "chains that have hardly moved",
    ),
    Claim(
        "C9b", r"… their ambiguity", "derived", "approx", (0.227, 0.088, 0.133, 0.188, 0.131, 0.190), 0.012, _SEEDS, "chains that have hardly moved",
    ),
    Claim(
        "C9c", r"… their error", "derived", "approx", (0.168, 0.218, 0.197, 0.181, 0.198, 0.190), 0.015, _SEEDS, "chains that have hardly moved",
    ),
    Claim(
        "C9d", r"At equal step the expansion is more diverse: ambiguity of PX exact over SGHMC, each chain", "Section 5.2 (scale ours)", "approx", 1.5, 0.2,
        "range [1.3, 1.7] set before the run", "SGHMC on both sides", across="every",
    ),
    Claim(
        "C9e", r"… of PX paper over SGHMC", "Section 5.2 (scale ours)", "approx", 2.2, 0.4, "range [1.8, 2.6] set before the run", "SGHMC on both sides", across="every",
    ),
    Claim(
        "C9f", r"… and better: NLL of SGHMC minus that of PX exact, over chains", "Section 5.2 (scale ours)", "at least", 0.01, 0.0, "0.020 to 0.038 over three data subsets, independently",
        "SGHMC on both sides", across="mean",
    ),
    Claim(
        "C9g", r"… minus that of PX paper", "Section 5.2 (scale ours)", "at least", 0.02, 0.0, "0.034 to 0.066 over three data subsets, independently", "SGHMC on both sides", across="mean",
    ),
    Claim(
        "C9h", r"PX exact at $h$ is SGHMC at $2h$: distance of NLL and ambiguity", "derived", "at most", (0.03, 0.02), 0.0, "predicted by the trace of $P_W$",
        "SGHMC at a step a hundred times smaller",
    ),
    Claim(
        "C9i", r"A step tuned on validation images closes the gap: total variation to HMC of PX exact minus that of tuned SGHMC, each chain", "derived", "at least", 0.0, 0.0,
        "0.106 against 0.074, independently", "SGHMC at a step a hundred times smaller",
    ),
    Claim(
        "C9j", r"PX paper samples another posterior: NLL of its single samples minus that of HMC's", "derived", "at least", 0.02, 0.0, "0.778 against 0.729, independently", "HMC on both sides", across="mean",
    ),
    Claim(
        "C10a", r"4000 images, 64-64 units: NLL of SGHMC at 1e-3, 2e-3, PX paper, PX exact", "derived", "approx", (0.479, 0.4641, 0.4607, 0.4616), 0.02, _SEEDS,
        "chains that have hardly moved",
    ),
    Claim(
        "C10b", r"… their ambiguity", "derived", "approx", (0.0581, 0.0842, 0.0965, 0.0969), 0.012, _SEEDS, "chains that have hardly moved",
    ),
    Claim(
        "C11a", r"Ambiguity grows with depth, exact target", "Table 4 (scale ours)", "order", ("(0, 0)", "(1, 0)", "(1, 1)", "(2, 2)"), 0.0, "strictly", "no expansion at any depth",
    ),
    Claim(
        "C11b", r"… deepest over none", "Table 4 (scale ours)", "at least", 1.7, 0.0, "2.1 in an independent implementation", "no expansion at any depth",
    ),
    Claim(
        "C11c", r"With the paper's prior the largest singular value of a hidden layer grows with depth", "Figure 2 (scale ours)", "order", ("(0, 0)", "(1, 0)", "(1, 1)", "(2, 2)"), 1.0,
        "4.3, 11, 31, 184 in an independent implementation", "no expansion at any depth",
    ),
    Claim(
        "C11d", r"… and the smallest falls", "Figure 2 (scale ours)", "order", ("(2, 2)", "(1, 1)", "(1, 0)", "(0, 0)"), 0.0, "strictly", "no expansion at any depth",
    ),
    Claim(
        "C12a", r"Barrier on the line between samples of a chain", "Figure 4 (scale ours)", "order", ("SGHMC", "PX exact", "PX paper", "HMC"), 0.0, "strictly; a demonstration on one data set",
        "the same samples for all",
    ),
    Claim(
        "C12b", r"… none for SGHMC at $h = $ 1e-3", "derived", "at most", 0.02, 0.0, "−0.05 in an independent implementation", "the same path between samples of different chains",
    ),
    Claim(
        "C12c", r"… a high one for HMC", "derived", "at least", 0.25, 0.0, "0.38 in an independent implementation", "both ends the same sample",
    ),
    Claim(
        "C13a", r"Digits among clothes: AUROC of the entropy, PX exact minus SGHMC at equal step, over chains", "Section 5.3 (data ours)", "at least", 0.005, 0.0, "0.894 against 0.851, independently; a difference that counts",
        "SGHMC on both sides", across="mean",
    ),
    Claim(
        "C13b", r"Noisy pixels: NLL of SGHMC minus PX exact, mean of the levels 0.1, 0.2, 0.4, over chains", "Section 5.3 (data ours)", "at least", 0.005, 0.0, "0.035, 0.075, 0.18 on the larger network, independently; a difference that counts",
        "SGHMC on both sides", across="mean",
    ),
    Claim(
        "C14a", r"Temperatures 1, 0.1, 0.01: NLL of SGHMC", "derived", "approx", (0.472, 0.439, 0.435), 0.02, _SEEDS, "chains that have hardly moved",
    ),
    Claim(
        "C14b", r"… and of PX paper", "derived", "approx", (0.476, 0.472, 0.471), 0.02, _SEEDS, "chains that have hardly moved",
    ),
    Claim(
        "C15a", r"A merged ResNet-20 has the plain one's parameters (difference of counts), an expanded one 109 056 more", "Section 3", "approx", (0.0, 109_056.0), 0.0, "a count", "the norms left plain",
    ),
    Claim(
        "C15b", r"Floating-point operations of a step with factors over one without, 196-64-64-10 and batches of 100: merging costs $m^2 n + m n^2$ a layer, whatever the batch", "derived", "approx",
        2.051, 0.002, "products counted by hand: 1 + 4 128 768 / 3 929 600", "batches of 400",
    ),
    Claim(
        "D1", r"The effective step predicts the gain: $\operatorname{tr}(P_W) / \dim W$ of the sampled network, mean over layers", "derived", "approx", 7.5, 2.5,
        "range [5, 10] set before the run, from the matched step of C9h", "a network without factors",
    ),
    Claim(
        "D2", r"A prior-matched expansion, $s_P^2 = 1/m$, $s_Q^2 = 1/n$: variance of $W$ over that without factors, depths $(1,1)$ and $(2,2)$", "derived", "approx", (1.0, 1.0), 0.02, "Monte Carlo",
        "the paper's variances, one half",
    ),
    Claim(
        "D3", r"One thermostat a block keeps each block of an expanded network at the temperature it should have: kinetic temperature of P, Q and of the rest", "derived", "approx", (1.0, 1.0), 0.05,
        "Monte Carlo, and the bias of the step", "friction 0.3 on the factors instead, which a cycle does not warm",
    ),
)
# fmt: on
