"""What the paper states and what we derived, as claims to be measured."""

from descentlab.claims import Claim

_DIGITS = "digits of an independent implementation"

# fmt: off
CLAIMS = (
    Claim(
        "C1a", r"Exact sharpness of the minimal model against automatic differentiation, depths 2, 3, 5, 8: largest relative difference",
        "derived", "at most", 1e-10, 0.0, "rounding", "the Gauss–Newton matrix instead of the Hessian",
    ),
    Claim(
        "C1b", r"The same early in training, where layers of one size deflate the top eigenvalue out of the secular equation",
        "derived", "at most", 1e-10, 0.0, "rounding", "the secular equation alone",
    ),
    Claim(
        "C1c", r"The same at a saddle, where the most negative eigenvalue is the largest in magnitude",
        "derived", "at most", 1e-10, 0.0, "rounding", "the eigenvalue of largest magnitude",
    ),
    Claim(
        "C2a", r"$D = 2$: the sharpness at a minimum lies between the bounds, for $C \in [-3, 3]$ on several data sets (smallest relative slack)",
        "Theorem for D = 2", "at least", 0.0, 1e-10, "rounding", "the bounds at the balanced minimum for every C",
    ),
    Claim(
        "C2b", r"Two classes (0, 6), $N = 100$, balanced: lower bound, exact sharpness, upper bound",
        "derived", "approx", (398.3729, 398.37297, 399.4327), 1e-4, _DIGITS, "labels shuffled",
    ),
    Claim(
        "C2c", r"The gap between the bounds is $\sum_{i \ge 2} d_i^2 / N v^2 \le 1/v^2$: largest gap times $v^2$, over the same grid",
        "derived", "at most", 1.0, 1e-9, "rounding", "v of the opposite imbalance",
    ),
    Claim(
        "C2d", r"The sharpness falls with the imbalance: largest relative step up over $C \in [-3, 0]$",
        "Theorem for D = 2", "at most", 0.0, 1e-12, "rounding", "imbalances beyond the flattest minimum",
    ),
    Claim(
        "C2e", r"… and does so only while $v^4 > d_1^2/\sigma_1^2$: this ratio of the two sides where the lower bound turns",
        "derived", "approx", 1.0, 1e-3, "width of the search", "where the upper bound turns",
    ),
    Claim(
        "C3a", r"Balanced, $D = 2, \dots, 6$: the sharpness lies between the bounds, on several data sets (smallest relative slack)",
        "Theorem for any D", "at least", 0.0, 1e-10, "rounding", "the bounds of one layer more",
    ),
    Claim(
        "C3b", r"Classes (2, 4), $N = 150$, $D = 3$: $\hat S$, lower bound, exact sharpness, upper bound",
        "derived", "approx", (1160.986, 1161.00026, 1161.00028, 1162.478), 1e-3, _DIGITS, "labels shuffled",
    ),
    Claim(
        "C3c", r"… and their difficulty $Q$", "derived", "approx", 2.412027, 1e-6, _DIGITS, "labels shuffled",
    ),
    Claim(
        "C3d", r"$\hat S_D$ is the sharpness for $Q > 0.3$: largest relative difference, $D = 2, \dots, 6$",
        "derived", "at most", 1e-3, 0.0, "seen on all data sets by an independent implementation",
        r"the power of $Q$ one instead of $(D-1)/D$",
    ),
    Claim(
        "C4a", r"The flow conserves every imbalance: largest change, $D = 2, 3, 5$", "Section 5", "at most", 1e-7, 0.0,
        "tolerance of the integrator", r"the sum $\lVert u\rVert^2 + v^2$",
    ),
    Claim(
        "C4b", r"Descent does not, to first order in its step: ratio of the drifts when the step is halved",
        "derived", "approx", 2.0, 0.2, "next order in the step", "the midpoint rule instead of Euler's",
    ),
    Claim(
        "C5a", r"The start alone predicts where the flow ends: largest relative error of the sharpness over 18 flows ($N$, $D$, balanced or not)",
        "Theorem for D = 2 and balanced starts; otherwise derived", "at most", 1e-4, 0.0,
        "the flow is stopped at a loss of 1e-10", "imbalance left out of the prediction",
    ),
    Claim(
        "C5b", r"(0, 6), $N = 100$, balanced: sharpness at the end for $D = 2, 3, 5$", "derived", "approx",
        (398.373, 389.478, 382.517), 1e-3, _DIGITS, "labels shuffled",
    ),
    Claim(
        "C6a", r"More data end sharper: balanced, $D = 2$, $N = 50, 100, 200, 300$", "Figure on dataset size", "approx",
        (286.9, 398.4, 965.1, 1534.0), 0.06, _DIGITS, r"$\sigma_1^2/N$ alone",
    ),
    Claim(
        "C6b", r"$Q$ never falls as samples are added: smallest step over all prefixes", "derived", "at least", 0.0, 0.0,
        "the difficulty of nested data is monotone", r"$\sigma_1^2/N$ instead of $Q$",
    ),
    Claim(
        "C7a", r"Depth sharpens where $Q > 1$: $N = 300$, $D = 2, \dots, 6$", "Figure on depth", "approx",
        (1534.0, 2301.0, 2818.0, 3183.0, 3452.0), 1.0, _DIGITS, "labels shuffled",
    ),
    Claim(
        "C7b", r"… and flattens where $Q < 1$: $N = 100$", "derived", "approx", (398.0, 389.0, 385.0, 383.0, 381.0), 0.6,
        _DIGITS + ", rounded", "the depths in opposite order",
    ),
    Claim(
        "C7c", r"The factor by which the sharpness rises grows with depth in both cases: smallest ratio of neighbours",
        "derived", "at least", 1.0, 0.0, "the start flattens with depth much faster", "the end alone",
    ),
    Claim(
        "C8a", r"Change of $C$ in a step of GD, $D = 2$: largest relative error of $\eta^2(\Psi_1 - C\,\Omega_1)$",
        "Theorem 5.9 (wording reconstructed)", "at most", 1e-9, 0.0, "cancellation", "without the term in C",
    ),
    Claim(
        "C8b", r"Expected change in a step of SGD, all batches enumerated: largest relative error of $\eta^2(\Psi_2 - C\,\Omega_2)$",
        "Theorem 5.9 (wording reconstructed)", "at most", 1e-9, 0.0, "cancellation", r"$(N-B)/(BN)$ for $(N-B)/(B(N-1))$",
    ),
    Claim(
        "C8c", r"The same with replacement, where the factor is $1/B$", "derived", "at most", 1e-9, 0.0, "cancellation",
        "the factor without replacement",
    ),
    Claim(
        "C8d", r"Noise adds: smallest of $\Psi_1$, $\Psi_2 - \Psi_1$, $\Omega_2 - \Omega_1$ over random weights",
        "Theorem 5.9 (wording reconstructed)", "at least", 0.0, 1e-12, "rounding",
        r"the variance of $u^\top g_n$ summed over samples instead of averaged",
    ),
    Claim(
        "C8e", r"Any depth: GD multiplies $v_i^2 - v_j^2$ by $1 - \eta^2 (a^\top g')^2 P^2/v_i^2 v_j^2$; largest relative error",
        "derived", "at most", 1e-12, 0.0, "rounding", "a plus sign",
    ),
    Claim(
        "C9a", r"At the edge the sharpness stays at $2/\eta$: mean of $S\eta/2$ over the last fifth, float32 and float64",
        "Section 4", "approx", (1.0, 1.0), 0.02, "an independent implementation saw 1.000 ± 0.003", r"$2/\eta$ above the flow's limit",
    ),
    Claim(
        "C9b", r"… in oscillations that decay: amplitude in the last 300 of 3000 steps over that in the first 300",
        "Section 4", "at most", 0.05, 0.0, "0.5 % seen by an independent implementation", "the second 300 steps",
    ),
    Claim(
        "C9c", r"… while the loss is not monotone: number of steps at which it rises", "Section 4", "at least", 100, 0.0,
        "hundreds seen by an independent implementation", r"$2/\eta$ above the flow's limit",
    ),
    Claim(
        "C9d", r"The same at $2/\eta = 300$, $200$ ($D = 2$) and $120$ ($D = 3$): mean of $S\eta/2$ over the last fifth",
        "Section 4", "approx", (1.0, 1.0, 1.0), 0.02, "as for C9a", r"$2/\eta$ above the flow's limit",
    ),
    Claim(
        "C9e", r"Descent ends with sharpness $\min(S_\text{flow}, 2/\eta)$: $S\eta/2$ after 60 000 steps", "derived", "approx",
        1.0, 2e-3, "the approach to the end point is slow", "the flow's limit",
    ),
    Claim(
        "C9f", r"… and with the imbalance that solves $S(C) = 2/\eta$", "derived", "approx", 2.8217, 1e-3, _DIGITS,
        "the root on the other side of the flattest minimum",
    ),
    Claim(
        "C9g", r"There is such an imbalance only above the flattest minimum: its sharpness, for (3, 8), $N = 70$ and (0, 6), $N = 100$",
        "derived", "approx", (26.2606, 23.38), 0.006, "dense eigenvalues of the Gram matrix at its imbalance; " + _DIGITS, "the balanced minimum",
    ),
    Claim(
        "C9h", r"… and its imbalance", "derived", "approx", (3.02, 17.45), 0.02, _DIGITS, "where the lower bound turns",
    ),
    Claim(
        "C9i", r"Precision decides how bad the spikes are: highest loss in float64 over that in float32, $N = 300$, $2/\eta = 200$, every seed",
        "Section 4", "at least", 1.4, 0.0, "2.2 seen by an independent implementation", "float32 in both",
    ),
    Claim(
        "C10a", r"Smaller batches end less balanced: smallest difference of $1000\,C$ between neighbouring batch sizes, at every step size",
        "Figure on batch size", "at least", 0.0, 0.0, "differences of many standard deviations", "batch sizes in opposite order",
    ),
    Claim(
        "C10b", r"So do larger steps: smallest difference of $1000\,C$ between neighbouring step sizes",
        "Figure on learning rate", "at least", 0.0, 0.0, "differences of many standard deviations", "step sizes in opposite order",
    ),
    Claim(
        "C10c", r"And they end flatter: smallest drop of the final sharpness, from each batch size to the smaller, from each step to the larger",
        "Figures on batch size and learning rate", "at least", 0.0, 0.0, "differences of many standard deviations",
        "batch sizes in opposite order",
    ),
    Claim(
        "C10d", r"$1000\,C$ at $\eta = 2 \cdot 10^{-3}$ for $B = 10, 25, 50, 100$", "derived", "approx", (47.7, 16.1, 6.0, 0.85), 0.5,
        "noise of 4 seeds, 1 % of the largest", "with replacement",
    ),
    Claim(
        "C10e", r"… and the final sharpness", "derived", "approx", (351.5, 359.0, 361.3, 362.4), 0.5, "noise of 4 seeds",
        "the sharpness of the flow for all",
    ),
    Claim(
        "C10f", r"The excess over full batch is $\eta k_B$ times one constant: spread of $(C_B - C_N)/\eta k_B$ over batch sizes, largest over $\eta$",
        "Theorem 5.9", "at most", 0.03, 0.0, "noise of 4 seeds", r"$1/B$ for $k_B$",
    ),
    Claim(
        "C11a", r"Difficulty of the first $N = 50, 100, 200, 300, 500$ images of two classes (0, 6)", "derived", "approx",
        (0.4503, 0.87315, 4.3022, 11.394, 91.168), 6e-4, _DIGITS, "labels shuffled",
    ),
    Claim(
        "C11b", r"$\log_{10}$ of the mean over ten random subsets, $N = 50, 100, 200, 300, 500$", "derived", "approx",
        (-0.431, 0.047, 0.619, 1.047, 1.883), 0.12, "three times the spread of a mean of ten, 0.034 at $N = 50$; means over 200 subsets by least squares", "the first singular value only",
    ),
    Claim(
        "C11c", r"CIFAR-10: $\log_{10} Q$ for two classes, $N = 100, 300, 1000$", "Table of dataset difficulty", "approx",
        (-0.658, 0.230, 1.648), 1.0, "classes and preprocessing are not known: order of magnitude", "the first singular value only", data="cifar10.npz",
    ),
    Claim(
        "C12a", r"Deep linear networks, width 64, $D = 5$: correlation of $\hat S_D$ with the sharpness they reach, 25 sets",
        "Figure on correlation (width 2048, CIFAR-10: 0.99)", "at least", 0.97, 0.0, "an independent implementation saw 0.997",
        "the sharpness at the start",
    ),
    Claim(
        "C12b", r"Tanh networks, width 64, $D = 4$: the same, 20 sets", "Figure on correlation (width 1024, SVHN: 0.81)",
        "at least", 0.75, 0.0, "an independent implementation saw 0.93", "the sharpness at the start",
    ),
    Claim(
        "C12c", r"Small initial weights make a wide linear network the minimal model: sharpness over the exact $S^\star$, gain 0.2, $D = 2, 3$, widths 16, 64, 256",
        "derived", "approx", (1.0,) * 6, 0.015, "an independent implementation saw 1.000 to 1.013", "gain 1",
    ),
    Claim(
        "C12d", r"At the paper's widths: 5-layer linear networks on CIFAR-10", "Figure on correlation", "approx", 0.99, 0.01,
        "two digits", "the sharpness at the start", data="cifar10.npz",
    ),
    Claim(
        "C12e", r"… 4-layer tanh networks on SVHN", "Figure on correlation", "approx", 0.81, 0.05, "two digits",
        "the sharpness at the start", data="svhn.npz",
    ),
    Claim(
        "C13a", r"A tanh network: smaller batches end flatter, $\eta = 10^{-3}$ (rise of the sharpness from $B = 5$ to 20, mean)",
        "prior: Cohen et al. 2021", "at least", 0.0, 0.0, "three standard errors over seeds", "the batch sizes exchanged", across="mean",
    ),
    Claim(
        "C13b", r"… at $\eta = 4 \cdot 10^{-3}$ (rise from $B = 5$ to 20 over the spread of the seeds, and from 20 to 100)",
        "prior: Cohen et al. 2021", "at least", 3.0, 0.0, "an ordering by three standard deviations", "the batch sizes exchanged",
    ),
    Claim(
        "C13c", r"… at $\eta = 10^{-2}$ (rise from $B = 5$ to 20 over the spread of the seeds)",
        "prior: Cohen et al. 2021", "at least", 3.0, 0.0, "an ordering by three standard deviations", "the batch sizes exchanged",
    ),
    Claim(
        "C13d", r"… and larger steps end flatter at $B = 5$ (falls from step to step over the spread of the seeds)",
        "prior: Cohen et al. 2021", "at least", 3.0, 0.0, "an ordering by three standard deviations", "the steps exchanged",
    ),
    Claim(
        "C13e", r"Full batch at $\eta = 10^{-2}$ sits at the edge: $S\eta/2$, mean over seeds",
        "prior: Cohen et al. 2021", "approx", 1.0, 0.05, "oscillation about the edge", r"$\eta = 4 \cdot 10^{-3}$",
    ),
    Claim(
        "C14", r"Outside the theory: with the logistic loss the sharpness rises, then falls as margins grow (last over highest)",
        "Section on limitations", "at most", 0.5, 0.0, "it vanishes with the loss", "the squared loss",
    ),
    Claim(
        "C15a", r"The sharpness tool, float32, along a training run of an MLP (89 610 parameters): largest relative error",
        "derived", "at most", 1e-5, 0.0, "square of the tolerance, rounding of float32", "power iteration",
    ),
    Claim(
        "C15b", r"Hessian-vector products an evaluation, warm-started (mean)", "derived", "at most", 14, 0.0,
        "12 seen by an independent implementation", "scipy's eigsh",
    ),
    Claim(
        "C15c", r"Where the top two eigenvalues cross along a trajectory: largest relative error of warm starts",
        "derived", "at most", 1e-4, 0.0, "square of the tolerance over the gap", "the curvature along the old eigenvector",
    ),
    Claim(
        "C15d", r"Recorded speed over curvlinops with eigsh, on the MLP and on a CNN", "derived", "at least", (4.0, 3.0), 0.0,
        "a ratio of times in one run", "curvlinops against itself",
    ),
    Claim(
        "C15e", r"Recorded speed over PyHessian's defaults, on the MLP and on the CNN", "derived", "at least", (1.0, 1.0), 0.0,
        "a ratio of times in one run", "ten evaluations for one",
    ),
    Claim(
        "C15f", r"Recorded speed of the minimal model's sharpness over dense eigenvalues and over automatic differentiation",
        "derived", "at least", (15.0, 500.0), 0.0, "a ratio of times in one run", "dense eigenvalues against themselves",
    ),
    Claim(
        "D1", r"Closed form against 6 runs at other steps, sizes and depths (2 and 3): largest relative difference of the final sharpness",
        "derived", "at most", 2e-3, 0.0, "the bar of C9e", "the flow's limit",
    ),
    Claim(
        "D2", r"… and, where the loss has reached $10^{-9}$, of the final layer from the closed form of its imbalance", "derived", "at most",
        1e-5, 0.0, "distance from zero loss", "the layer at the start's imbalance",
    ),
    Claim(
        "D3", r"Spikes grow with precision: median highest loss by mantissa bits, $N = 100$, $2/\eta = 200$", "derived", "order",
        ("24", "53", "100", "200", "400"), 0.1, "the unstable direction grows from the rounding floor", "bits in opposite order",
    ),
    Claim(
        "D4a", r"The first-order law of $C$ under SGD at $B = 10$: its relative error vanishes with the step size, by the power",
        "derived", "slope", 1.0, 0.25, "next order in the step", "the full-batch term left out and the noise doubled",
    ),
    Claim(
        "D4b", r"The integral of the noise, one ODE", "derived", "approx", 221.28, 0.05, _DIGITS, "half the time",
    ),
    Claim(
        "D4c", r"… and of the full gradient", "derived", "approx", 0.4235, 5e-4, _DIGITS, "half the time",
    ),
    Claim(
        "D5", r"The law at depth 4: relative error of the predicted $C_i$ under SGD, every layer", "derived", "at most", 0.1, 0.0,
        "first order in the step, noise of the seeds", "the noise left out",
    ),
    Claim(
        "D6", r"The excess of C12c comes from the imbalance of the start: it falls with the gain, by the power", "derived", "slope", 2.0, 0.15,
        "imbalance is quadratic in the weights; next order", "the ratio itself instead of its excess over one",
    ),
    Claim(
        "D7", r"As a function of $v^2$ the sharpness of minima is convex, so that $S(C) = 2/\eta$ has at most two roots: smallest second difference",
        "derived", "at least", 0.0, 1e-10, "rounding", r"as a function of $v^4$",
    ),
)
# fmt: on
