"""What the paper states and what we derived, as claims to be measured."""

from descentlab.claims import Claim

_ROUNDING = "rounding of float64"
_INDEPENDENT = "an independent implementation, rounding of its table"
_PAIRED = "paired runs; an independent implementation's spread"

CLAIMS = (
    Claim(
        "C1a", r"Our optimizer in float64 is Algorithm 1: largest difference of $x$ and $y$ from the three sequences after 2000 random gradients, at $\beta_1 = 0.1, 0.5, 0.9, 0.95$",
        "Algorithm 1", "at most", 1e-12, 0.0, _ROUNDING, "the coefficients of the average numbered one step later",
    ),
    Claim(
        "C1b", r"It is the public package's optimizer: $y_1, y_2, x_1, x_2$ of the same run at $\beta_1 = 0.95$ as `schedulefree` 1.4.1 computes them",
        "Algorithm 1", "approx", (0.04057506897390576, -0.21691193020204863, 0.04622887861204565, -0.22742813402636297), 1e-12,
        _ROUNDING, "weight decay left out",
    ),
    Claim(
        "C1c", r"The in-place layout in float32 against one with $x$ in memory of its own, at $\beta_1 = 0.1$",
        "Algorithm 1", "at most", 1.5e-5, 0.0, "rounding, enlarged by $1/\\beta_1$: the layout written out in NumPy's float32 differs by 1.0e-5 to 1.5e-5 over eight seeds",
        "beta 0.11 in the way back from y to x",
    ),
    Claim(
        "C1d", r"The same at $\beta_1 = 0.5, 0.9, 0.95$", "Algorithm 1", "at most", 2e-6, 0.0, "rounding, enlarged by $1/\\beta_1$",
        "the average taken of the last gradient point",
    ),
    Claim(
        "C2", r"$y$ follows a momentum method: largest difference between the two forms, random $c_t$ and $\Delta_t$, four values of $\beta$",
        "Section 5", "at most", 1e-12, 0.0, _ROUNDING, "momentum not multiplied by c",
    ),
    Claim(
        "C3a", r"$x_T = \sum_t \alpha_t y_t$: largest difference, vanilla and refined", "Section 5", "at most", 1e-12, 0.0, _ROUNDING,
        "the power law in place of the exact weights",
    ),
    Claim(
        "C3b", r"Distance in $L^1$ between the weights and $(C/T)(t/T)^{C-1}$ with $C = 1/(1-\beta)$, at $T = 1000$ and $\beta = 0.1, 0.5, 0.9$",
        "Figure 8", "approx", (0.0003, 0.0010, 0.0061), 0.00005, _INDEPENDENT, "C = 1 for all",
    ),
    Claim(
        "C3c", r"The same for the refined method at $\beta = 0.1$ and $C = 5, 20, 50, 200$, in units of $C/2T$", "Figures 14 and 15",
        "approx", (1.0, 1.0, 1.0, 1.0), 0.05, "leading order of the exact Gamma functions, corrections of order $C/T$", "the weights of beta 0.1 without C",
    ),
    Claim(
        "C3d", r"Mean age of the average at $T = 1000$, $C = 20$, $\beta = 0.1$ and $0.95$: $(T - (1-\beta)C)/(C+1)$", "derived",
        "approx", (46.76190476, 47.57142857), 1e-3, "closed form", "vanilla",
    ),
    Claim(
        "C4a", r"$C = 1/(1-\beta_1)$ is the vanilla method: largest difference of $x$ and $y$", "Section 6", "at most", 1e-15, 0.0, _ROUNDING, "C = 20 at beta 0.9",
    ),
    Claim(
        "C4b", r"A huge $C$ switches averaging off: largest $|x - y|$ for $C = 10^9$", "derived", "at most", 1e-12, 0.0, _ROUNDING, "C = 50",
    ),
    Claim(
        "C5a", r"On a quadratic with $A = (1-\beta)\gamma\lambda_1 = 2.02, 2.1$, $|y_{t+1}/y_t| \to A - 1$ ($\beta = 0.5$, then $0.9$)",
        "Proposition 4.1", "approx", (1.02, 1.1, 1.02, 1.1), 0.0033, "$\\beta/((1-\\beta)t)$ at step 4000", "gradient descent at the same sharpness, beta 0",
    ),
    Claim(
        "C5b", r"For $A = 1.98$ the gradient point decays: $|y_{4000}/y_1|$", "Proposition 4.1", "at most", 1e-3, 0.0, "$t^{-1/(1-\\beta)}$", "A = 2.02",
    ),
    Claim(
        "C5c", r"Exactly at the threshold $|y_t| \sim t^{\beta/(1-\beta)}$: log-log slope, $\beta = 0.5$", "derived", "slope", 1.0, 0.01, "corrections of order $1/t$", "beta 0.4",
    ),
    Claim(
        "C5d", r"The same at $\beta = 0.9$", "derived", "slope", 9.0, 0.01, "corrections of order $1/t$", "beta 0.89",
    ),
    Claim(
        "C5e", r"With $c$ held fixed, the spectral radius at $\frac{4-2c}{\gamma[2(1-\beta)+c(2\beta-1)]}$ is 1: largest deviation over $c$ and $\beta$",
        "derived", "at most", 1e-12, 0.0, _ROUNDING, "the limit of the threshold for c to 0",
    ),
    Claim(
        "C6a", r"A learning rate 3 % below $\lambda_1(P^{-1}H) = \frac{2}{(1-\beta)\gamma} - \lambda$ converges: $\|y_{3000}\|/\|y_1\|$, five problems",
        "Proposition 4.2", "at most", 1e-2, 0.0, "slow modes fall like $t^{-1/(1-\\beta)}$", "the threshold without $1-\\beta$ of SF, ten times the rate",
    ),
    Claim(
        "C6b", r"3 % above diverges: the same ratio", "Proposition 4.2", "at least", 1e10, 0.0, "$1.06^{3000}$", "3 % below",
    ),
    Claim(
        "C6c", r"Preconditioned iterates are plain ones in other coordinates: largest difference", "Appendix", "at most", 1e-10, 0.0, _ROUNDING, "P in place of its root",
    ),
    Claim(
        "C7a", r"Small $\beta$ leaves the river: mean $|h(x)|$ late in the run for $\beta_1 = 0.1, 0.5, 0.9$", "Figures 1 and 5",
        "approx", (0.522, 0.242, 0.012), 0.0006, _INDEPENDENT, "C = 20",
    ),
    Claim(
        "C7b", r"The gradient points straddle it: mean $|h(y)|$", "Figures 1 and 5", "approx", (0.0648, 0.0392, 0.0081), 0.0004, _INDEPENDENT, "measured at x",
    ),
    Claim(
        "C7c", r"… centred on it: size of the mean of $h(y)$", "Figure 5", "at most", 0.002, 0.0, "an independent implementation's bound", "measured at x",
    ),
    Claim(
        "C7d", r"$C = 20$ brings $x$ back: mean $|h(x)|$", "Section 6", "approx", (0.0004, 0.0005, 0.0021), 0.0001, _INDEPENDENT, "vanilla",
    ),
    Claim(
        "C7e", r"Loss at $x$ at the end, $\log_{10}$: vanilla at $\beta_1 = 0.1, 0.5, 0.9$, then with $C = 20$", "Figures 1 and 5",
        "approx", (-0.857, -1.536, -3.237, -3.046, -3.347, -3.721), 0.025, "5 %, and rounding of an independent implementation's table", "refined and vanilla exchanged",
    ),
    Claim(
        "C7f", r"The gradient points oscillate less as $\beta_1$ grows", "Figure 5", "order", ("0.9", "0.5", "0.1"), 0.0, "none: the run is deterministic", "the residuals of x with C = 20",
    ),
    Claim(
        "C7g", r"Averages of $y_1 \sim t^p$ on the river lie at $h(x) = p^2/(C^2-p^2)$: $(p, C) = (0.5, 2), (1, 5), (0.5, 10)$", "derived",
        "approx", (0.0666667, 0.0416667, 0.00250627), 1e-4, "closed form, corrections of order $1/T$", "a window of C + 1",
    ),
    Claim(
        "C7h", r"… and lag by $x_1/y_1 = C/(C+p)$", "derived", "approx", (0.8, 0.8333333, 0.952381), 1e-3, "closed form, corrections of order $1/T$", "a window of C + 1",
    ),
    Claim(
        "C8", r"On the toy, $\lambda_1(P^{-1}H(y))$ hovers at $2/((1-\beta_1)\gamma)$: ratio for $\gamma = 0.02, 0.05$ and $\beta_1 = 0.1, 0.5, 0.9$",
        "Figure 7", "approx", (1.0,) * 6, 0.01, "an independent implementation's spread", "GD's threshold, without the factor $1-\\beta_1$",
    ),
    Claim(
        "C9a", r"Schedule-Free descent on a network with full batches: mean ratio of sharpness to threshold in the last quarter", "Figure 7",
        "approx", 1.005, 0.075, "oscillation of the plateau; an independent implementation's spread", "gradient descent's threshold",
    ),
    Claim(
        "C9b", r"Schedule-Free AdamW: the same for $\gamma = 0.001, 0.0005$ at $\beta_1 = 0.95$, and $\gamma = 0.0005$ at $0.9$", "Figure 7",
        "approx", (1.005,) * 3, 0.075, "oscillation of the plateau; an independent implementation's spread", "gradient descent's threshold",
    ),
    Claim(
        "C9c", r"Early on, all are far below: ratio at steps 20 to 40", "Figure 7", "at most", 0.6, 0.0, "progressive sharpening comes first", "late in the run",
    ),
    Claim(
        "C10a", r"Size of the oscillation of the scalar adaptive method over the central flow's, $t = 4000$ and $5800$ at $\beta_1 = 0.1, 0.5, 0.9$",
        "Section 4", "approx", (1.01,) * 6, 0.04, "the neglected $c_t$", "the flow without the factor $1-\\beta_1$",
    ),
    Claim(
        "C10b", r"Where Schedule-Free AdamW stops on the toy, $w_1^* = W(4/((1-\beta_1)\gamma)^2)$: six pairs $(\gamma, \beta_1)$", "derived",
        "approx", (7.4173, 8.4611, 5.8261, 6.8411, 5.6467, 8.4611), 0.011, "closed form; 0.2 % of finite time", "a tenth of the steps",
    ),
    Claim(
        "C10c", r"The oscillation shrinks as $\beta_1$ grows", "Section 4", "order", ("0.9", "0.5", "0.1"), 0.0, "none: the run is deterministic", "betas listed in the opposite order",
    ),
    Claim(
        "C10d", r"The flow's error falls at least like $1/t$: error at 4000 over error at 5800, $\beta_1 = 0.5, 0.9$", "derived", "at least", 1.45, 0.0,
        "$5800/4000$", "the same time twice",
    ),
    Claim(
        "C10e", r"Schedule-Free descent on a funnel: mean of $v^2$ in units of $\epsilon\eta$, and mean sharpness over threshold", "Section 4",
        "approx", (1.0, 1.0), 0.08, "closed form; the neglected $c_t$", "the threshold of gradient descent",
    ),
    Claim(
        "C11a", r"A language model on Shakespeare: constant AdamW gains from a decay (nats, each seed)", "Figure 2", "at least", 0.04, 0.0, _PAIRED, "Schedule-Free's gain from the probe", across="paired",
    ),
    Claim(
        "C11b", r"… and from an exponential average", "Figure 2", "at least", 0.04, 0.0, _PAIRED, "Schedule-Free's gain from the average", across="paired",
    ),
    Claim(
        "C11c", r"Schedule-Free ($\beta_1 = 0.9$) gains from no exponential average", "Figure 2", "at most", 0.002, 0.0, _PAIRED, "AdamW's gain", across="paired",
    ),
    Claim(
        "C11d", r"… and from no short decay", "Figure 2", "at most", 0.01, 0.0, _PAIRED, "AdamW's gain", across="paired",
    ),
    Claim(
        "C11e", r"… which gives at most a fifth of what it gives AdamW (ratio)", "Figure 2", "at most", 0.2, 0.0, _PAIRED, "Schedule-Free at beta 0.1", across="paired",
    ),
    Claim(
        "C11f", r"Without a decay the better of two tuned runs ($\beta_1 = 0.9$, and $0.95$ at twice the rate) reaches AdamW with one: difference of losses", "Figure 2", "at most", 0.01, 0.0, _PAIRED, "Schedule-Free at beta 0.1", across="paired",
    ),
    Claim(
        "C11g", r"At the paper's size, 124 million parameters on SlimPajama, Schedule-Free at $\beta_1 = 0.95$ gains nothing from the short decay either (nats a token)", "Figure 2", "at most", 0.01, 0.0, "the bound of the small runs", "AdamW's gain",
    ),
    Claim(
        "C12a", r"Between two checkpoints of constant AdamW the loss dips below both ends", "Figure 3", "at least", 0.015, 0.0, _PAIRED, "a decay between the two", across="paired",
    ),
    Claim(
        "C12b", r"Along a decay, and along Schedule-Free's averages, it falls: largest rise between neighbours", "Figure 3", "at most", 1e-3, 0.0, "noise of the evaluation", "constant AdamW", across="paired",
    ),
    Claim(
        "C12c", r"Schedule-Free's fall is less than half of the decay's (ratio)", "Figure 3", "at most", 0.5, 0.0, _PAIRED, "the decay itself", across="paired",
    ),
    Claim(
        "C12d", r"At the paper's size: ratio of the falls of Schedule-Free and of the decay, between 2 and 2.5 billion tokens", "Figure 3", "at most", 0.5, 0.0, "the bound of the small runs", "the decay itself",
    ),
    Claim(
        "C13a", r"Badly tuned Schedule-Free does gain from the short decay: $\beta_1 = 0.1$", "Figure 4", "at least", 0.07, 0.0, _PAIRED, "beta 0.95", across="paired",
    ),
    Claim(
        "C13b", r"… $\beta_1 = 0.5$", "Figure 4", "at least", 0.025, 0.0, _PAIRED, "beta 0.95", across="paired",
    ),
    Claim(
        "C13c", r"… unlike $\beta_1 = 0.95$", "Figure 4", "at most", 0.01, 0.0, _PAIRED, "beta 0.1", across="paired",
    ),
    Claim(
        "C13d", r"At the paper's size: gain of $\beta_1 = 0.1$ by the short decay", "Figure 4", "at least", 0.07, 0.0, "the bound of the small runs", "beta 0.95",
    ),
    Claim(
        "C14a", r"At $\beta_1 = 0.1$ the gradient point is better than the average", "Figure 6", "at least", 0.01, 0.0, _PAIRED, "beta 0.9", across="paired",
    ),
    Claim(
        "C14b", r"The exponential average of $y$ is no worse than both, at all four $\beta_1$ of the vanilla method: largest excess", "Figure 6", "at most", 0.0015, 0.0, _PAIRED, "the exponential average of x", across="paired",
    ),
    Claim(
        "C14c", r"At the paper's size: loss at $x$ minus loss at $y$ for $\beta_1 = 0.1$", "Figure 6", "at least", 0.01, 0.0, "the bound of the small runs", "beta 0.9",
    ),
    Claim(
        "C15a", r"$C = 50$ repairs $\beta_1 = 0.1$: gain over vanilla", "Figure 9", "at least", 0.10, 0.0, _PAIRED, "beta 0.95", across="paired",
    ),
    Claim(
        "C15b", r"… $\beta_1 = 0.5$", "Figure 9", "at least", 0.03, 0.0, _PAIRED, "beta 0.95", across="paired",
    ),
    Claim(
        "C15c", r"… and improves $\beta_1 = 0.95$", "Figure 9", "at least", 0.01, 0.0, _PAIRED, "vanilla 0.9 for the refined run", across="paired",
    ),
    Claim(
        "C15d", r"Then $x$ is no worse than $y$: largest excess", "Figure 9", "at most", 0.0, 0.0, _PAIRED, "vanilla beta 0.1", across="paired",
    ),
    Claim(
        "C15e", r"The value of $C$ matters little: $C = 20$ against $50$ at $\beta_1 = 0.5$", "Table 5", "at most", 0.02, 0.0, _PAIRED, "vanilla for C = 20", across="paired",
    ),
    Claim(
        "C15f", r"At the paper's size: $C = 100$ minus vanilla at $\beta_1 = 0.95$, nats a token: $\log(23.60/25.12)$", "Table 5", "approx", -0.0624, 0.02, "final losses of two seeds differ by 0.01 to 0.02", "vanilla",
    ),
    Claim(
        "C16a", r"Four times the batch: vanilla 0.98 is behind AdamW with its best cosine", "Figure 9, Table 6", "at least", 0.008, 0.0, _PAIRED, "C = 100", across="paired",
    ),
    Claim(
        "C16b", r"… $C = 200$ catches up: size of the difference", "Figure 9, Table 6", "at most", 0.012, 0.0, _PAIRED, "AdamW with a cosine at a low rate", across="paired",
    ),
    Claim(
        "C16c", r"… $C = 100$ is ahead", "Table 6", "at most", 0.0, 0.0, _PAIRED, "vanilla", across="paired",
    ),
    Claim(
        "C16d", r"At the paper's size, 2 million tokens a batch: $C = 200$ minus vanilla at $\beta_1 = 0.98$, nats a token: $\log(24.51/26.09)$", "Table 6", "approx", -0.0625, 0.02, "final losses of two seeds differ by 0.01 to 0.02", "vanilla",
    ),
    Claim(
        "C17", r"OpenWebText2 with 124 million parameters shows the same: refined minus AdamW with cosine at a large batch", "Figures 10 to 13", "at most", 0.01, 0.0, "nats a token", "vanilla, which the paper finds behind",
    ),
    Claim(
        "C18", r"Memory in units of the parameters: ours, AdamW, AdamW with an average", "Section 5", "approx", (3.0, 3.0, 4.0), 0.0, "a count", "the reference layout",
    ),
    Claim(
        "C19a", r"The noisy river: $\log_{10}$ of the hill at $x$ for AdamW, AdamW decayed, SF 0.1, SF 0.5", "derived", "approx", (-2.979, -3.921, -1.382, -2.292), 0.104,
        "three standard errors of a mean of 256 squared normal numbers, 27 %, in an independent implementation", "measured at y",
    ),
    Claim(
        "C19b", r"… at $y$ for SF 0.1, 0.5, 0.9", "derived", "approx", (-2.770, -3.097, -3.854), 0.119, "the same, and rounding of two digits", "measured at x",
    ),
    Claim(
        "C19c", r"… how far down the river each method is, in the order of the figure", "derived", "approx", (4.83, 4.77, 3.43, 3.78, 4.44, 4.56, 4.62, 4.64, 4.72), 0.17,
        "5 %", "the methods in opposite order",
    ),
    Claim(
        "C19d", r"… $\log_{10}$ of the hills that are nearly nothing: SF 0.9, 0.95, and the three with $C$", "derived", "approx", (-5.0, -5.0, -5.0, -5.0, -4.52), 0.48, "a factor of three", "measured at y",
    ),
    Claim(
        "C19e", r"… who leaves the river", "derived", "order", ("SF 0.9", "AdamW, decayed", "AdamW, constant", "SF 0.5", "SF 0.1"), 0.0, "factors of four between neighbours", "measured at y",
    ),
    Claim(
        "C19f", r"… refined (0.9, 50) equals decayed AdamW: difference of their losses", "derived", "at most", 6e-4, 0.0, "two standard errors of an independent implementation", "vanilla 0.95",
    ),
    Claim(
        "D1", r"Stability at finite times: late sharpness on the toy in units of $\frac{4-2c_t}{\gamma[2(1-\beta)+c_t(2\beta-1)]}$ at $\beta_1 = 0.9$, $C = 200$", "derived",
        "approx", 1.0, 0.002, "closed form; curvature of the path", "the limit of the threshold",
    ),
    Claim(
        "D2", r"Just after a warmup of $T_w$ steps, $y$ steps are $1 + 3\beta C/T_w$ times as long as late ones: $(\beta, C, T_w) = (0.95, 200, 250), (0.98, 200, 180), (0.95, 50, 150)$", "derived",
        "approx", (3.28, 4.2667, 1.95), 0.04, "closed form, corrections of order $1/T_w$", "no warmup weights, c = (1-beta)C/t",
    ),
    Claim(
        "D3", r"The vanilla weights are beta-binomial: largest difference from $t - 1 \sim \mathrm{BetaBinomial}(T-1, 1/(1-\beta), 1)$", "derived", "at most", 1e-12, 0.0, _ROUNDING, "parameter $\\beta/(1-\\beta)$",
    ),
    Claim(
        "D4", r"The public package's power $r$ is $C$ in disguise, $r = (1-\beta)C - 1$: distance of the two averages over that to vanilla, four pairs", "derived",
        "at most", 0.002, 0.0, "order $1/t$; an independent implementation saw 0.0005 to 0.0009", "r = (1-beta)C",
    ),
)  # fmt: skip
