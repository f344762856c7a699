"""What the paper states and what we derived, as claims to be measured."""

from math import log2, log10

from descentlab.claims import Claim

_DIGITS = "digits of an independent implementation"
_PAPER_RATE = "; its constant is derived"


def _log2(*values: float) -> tuple[float, ...]:
    return tuple(log2(v) for v in values)


def _log10(*values: float) -> tuple[float, ...]:
    return tuple(log10(v) for v in values)


CLAIMS = (
    Claim(
        "C1a", r"Components with one shared Hessian: whatever the step, gap $\ge 0.05\, G^2/(\mu K)$; least gap times $\mu K/G^2$ for $K = 2, 4, \dots, 64$",
        "Theorem 3.1" + _PAPER_RATE, "at least", 0.05, 0.0, "half of the least value of an independent implementation", "replacement order",
    ),
    Claim(
        "C1b", r"… at $K = 2, 4, 8, 16, 32, 64$", "derived", "approx", (0.107, 0.143, 0.175, 0.209, 0.243, 0.276), 0.001,
        "three " + _DIGITS + " and the grid of steps", "reshuffled order",
    ),
    Claim(
        "C1c", r"… grows by a factor near one when $K$ doubles: the drift is a logarithm", "derived", "approx", (1.2,) * 5, 0.3,
        "from 0.9 to 1.5", "not multiplied by $K$",
    ),
    Claim(
        "C2a", r"A fixed order is n times slower than replacement: ratio of gaps over $n$, for $n = 50, 100, 200, 400, 800$ ($K = 4$, $\eta\mu nK = 1$, tilted coordinate)",
        "Theorem 3.1 beside replacement" + _PAPER_RATE, "approx", (5.845 / 50, 11.628 / 100, 23.193 / 200, 46.324 / 400, 92.585 / 800), 5e-5,
        "four " + _DIGITS, "reshuffled instead of replacement",
    ),
    Claim(
        "C2b", r"… log-log slope of the ratio in $n$", "Theorem 3.1 beside replacement", "slope", 1.0, 0.02, r"$O(1/n)$ in the cyclic gap",
        "tilts that alternate",
    ),
    Claim(
        "C2c", r"… common logarithms of both gaps at $n = 200$: cyclic, replacement", "derived", "approx", _log10(7.264e-3, 3.132e-4), 1e-4,
        "four " + _DIGITS, "one epoch more",
    ),
    Claim(
        "C3a", r"One coordinate, half/half tilts: steady gap over $\eta n G^2$, largest over all curvatures, is $\frac12 \max_u \tanh^2 u/(4u)$",
        "Theorem 3.2; the constant is derived", "approx", 0.0729, 0.0015, "2 %: finite $n$", "tilts that alternate",
    ),
    Claim(
        "C3b", r"… after $K = 4, 16, 64$ epochs at $\eta\mu nK = 1$, times $\mu K/G^2$", "Theorem 3.2; the constant is derived", "approx",
        (0.0736, 0.0736, 0.069), 0.0014, "2 %", "three times the step",
    ),
    Claim(
        "C3c", r"… attained at the curvature $4.3\,\mu K$ ($K = 4, 16$)", "derived", "approx", (4.3, 4.3), 0.1, "two digits and the grid of curvatures",
        "three times the step",
    ),
    Claim(
        "C4a", r"The polygon: after 8 epochs the iterate is back (relative), and all iterates are equally far from the minimiser (spread)",
        "Theorem 3.3; the construction is derived", "at most", (1e-12, 1e-12), 0.0, "rounding of 1600 steps", "components in clockwise order",
    ),
    Claim(
        "C4b", r"Whatever the step, least gap over $\frac{LG^2}{\mu^2}\min\{1, \kappa^2/K^4\}$ for $K = 2, \dots, 64$", "Theorem 3.3" + _PAPER_RATE,
        "at least", 0.008, 0.0, r"the closed form at $\eta\mu nK = 1$ falls to about 0.01 near $K = \sqrt\kappa$", "reshuffled order",
    ),
    Claim(
        "C4c", r"… and the bound is sharp up to a factor (same ratio)", "Theorem 3.3" + _PAPER_RATE, "at most", 0.5, 0.0, "an independent implementation saw at most 0.13",
        r"the rate of a shared Hessian, $G^2/(\mu K)$",
    ),
    Claim(
        "C4d", r"… with the plane started at the minimiser", "derived", "approx", (0.130, 0.073, 0.026, 0.011, 0.038, 0.105), 6e-4, "three " + _DIGITS,
        r"at the fixed step $\eta\mu nK = 1$",
    ),
    Claim(
        "C4e", r"Starting at the minimiser instead of on the orbit changes the least gap by a constant factor (binary logarithm)", "derived", "approx", (0.0,) * 6, 1.0,
        "a factor of two", "the other coordinates at the minimiser, too",
    ),
    Claim(
        "C4f", r"Exponents in $K$ for $\kappa = 10^6$, $n = 10^5$, $\eta\mu nK = 1$: a plateau, $K^{-4}$, and $K^{-2}$ beyond $\kappa$, between $K =$ 5–10, 10–20, 1000–2000, 2000–5000, 5000–10⁴, 10⁶–3·10⁶",
        "Theorem 3.3; the exponents in between are derived", "approx", (-0.006, -0.03, -3.95, -3.99, -4.00, -2.02), 0.03, _DIGITS, "$n = 200$, for which steps exceed $2/L$",
    ),
    Claim(
        "C4g", r"… the plateau's height over $LG^2/\mu^2$ ($K = 5$)", "derived", "approx", 0.25, 5e-4, "closed form", r"$K = \sqrt\kappa$",
    ),
    Claim(
        "C5a", r"Any order, strongly convex components: $\lVert x - x_\star \rVert^2 \le (1-\eta\mu)^{nK} \lVert x_0 - x_\star \rVert^2 + \eta^2 L S^2/\mu$; largest ratio on random problems",
        "derived, after Mishchenko et al. 2020", "at most", 1.0, 0.0, "a theorem", "prefix sums of a herded order, for the closed orbit",
    ),
    Claim(
        "C5b", r"… the ratio on the closed orbit, $K = 4, 8, 14$", "derived", "approx", (0.055, 0.020, 0.008), 6e-4, "two " + _DIGITS, r"the bound with $S = nG/2$",
    ),
    Claim(
        "C6a", r"Some nonconvex components: whatever the step, least gap over $\frac{G^2}{L}(1 + \frac{L}{2\mu nK})^n$ for $K = 2, \dots, 32$",
        "Theorem 3.5" + _PAPER_RATE, "at least", 0.03, 0.0, "a third of the least value of an independent implementation", "reshuffled order",
    ),
    Claim(
        "C6b", r"… and the bound is sharp up to a factor (same ratio)", "Theorem 3.5" + _PAPER_RATE, "at most", 0.5, 0.0, "an independent implementation saw at most 0.132",
        r"the rate of a shared Hessian, $G^2/(\mu K)$",
    ),
    Claim(
        "C6c", r"… its values", "derived", "approx", (0.084, 0.094, 0.111, 0.131, 0.132), 0.001, "three " + _DIGITS + " and the grid of steps", "concave components first",
    ),
    Claim(
        "C6d", r"The gap is exponential in $1/K$: slope of its logarithm over $K = 2, 3, 4, 5, 6, 8$, for $n = 200, 1000$", "Theorem 3.5", "approx",
        (86.5, 96.9), 2.6, r"3 % of the slope of the formula $n \log(1 + \frac{\kappa}{2nK})$", "half of the condition number",
    ),
    Claim(
        "C7a", r"On the same components random orders are harmless: common logarithm of the exact expectation, tilted coordinate, reshuffled, at $(K, \eta\mu nK) = (8, 1), (16, 1), (8, 4)$",
        "Section 3.3, as reported", "approx", _log10(1.096e-4, 3.342e-5, 1.068e-3), 2e-4, "four " + _DIGITS, "replacement",
    ),
    Claim(
        "C7b", r"… with replacement", "derived", "approx", _log10(1.852e-4, 8.475e-5, 1.667e-3), 2e-4, "four " + _DIGITS, "reshuffled",
    ),
    Claim(
        "C7c", r"… cyclic", "derived", "approx", _log10(1.143e2, 2.608e-1, 1.506e16), 2e-4, "four " + _DIGITS, "concave components first",
    ),
    Claim(
        "C7d", r"Seeded runs agree with the expectations: deviation of their mean in standard errors, reshuffled and replacement ($K = 8$)", "derived", "approx", (0.0, 0.0), 4.0,
        "four standard errors", "a shuffle once, kept for all epochs",
    ),
    Claim(
        "C8a", r"A good order exists: least gap with replacement over that of the herded order, shared Hessian then polygon, $K = 8, 16, 32, 64$ each",
        "Theorem 3.7", "at least", 5.0, 0.0, "a factor that grid-resolved minima cannot blur", "the cyclic order",
    ),
    Claim(
        "C8b", r"… whose prefix constant $H$ on the three constructions is", "Theorem 3.7", "at most", (1.01, 1.01, 1.01), 0.0, "one, and rounding", "an order drawn at random",
    ),
    Claim(
        "C8c", r"… against the cyclic order's: $n/2$, $1/\sin(\pi/n)$, $n/2$", "derived", "approx", (100.0, 63.66, 100.0), 0.01, "closed forms", "an order drawn at random",
    ),
    Claim(
        "C8d", r"Least gaps of the herded order at $K = 16$ (binary logarithm): shared Hessian, nonconvex", "derived", "approx", _log2(9.6e-6, 5.4e-5), 1.0,
        "a factor of two: minima on a grid", "an order drawn at random",
    ),
    Claim(
        "C8e", r"On the polygon herding is a chain of ties, and how they are broken matters: median least gap over random ties, $K = 16$", "derived", "at most", 7.9e-8, 7.9e-8,
        "the figure of an independent implementation, whose ties rounding broke; a factor of two: minima on a grid", "ties to the smaller angle",
    ),
    Claim(
        "C8f", r"Least gaps in random order at $K = 16$ (binary logarithm): shared Hessian reshuffled, replacement; polygon reshuffled, replacement", "derived", "approx",
        _log2(2.5e-4, 4.1e-4, 4e-4, 9e-4), 1.0, "a factor of two: minima on a grid, means over runs", "the cyclic order",
    ),
    Claim(
        "C8g", r"… nonconvex, reshuffled", "derived", "approx", log2(4.9e-4), 0.1,
        "two digits of a recursion over single states; an independent mean of few runs saw 1.3e-4, which choosing the luckiest step flatters", "the cyclic order",
    ),
    Claim(
        "C9a", r"Many epochs, convex: least gap over $\frac{LG^2}{\mu^2K^2} z_\star^2$, $z_\star = \eta_\star\mu nK$, for $K = 20, 40, \dots, 1280$ ($\kappa = 20$, $n = 100$)", "large-epoch lower bound; the constant is derived",
        "approx", (0.0185,) * 7, 0.0065, "1/64 from the tilt, plus the transient", r"without $z_\star^2$",
    ),
    Claim(
        "C9b", r"… slope of the raw gap in $K$ at both ends: not yet $-2$, because $z_\star$ grows like a logarithm", "derived", "approx", (-1.46, -1.72), 0.03,
        "three digits of an independent implementation, steps on a grid", r"$z_\star^2$ divided out",
    ),
    Claim(
        "C10a", r"Many epochs, nonconvex: least gap over $\frac{L^2G^2}{\mu^3K^2} z_\star^2$, $K = 20, 40, \dots, 1280$ ($\kappa = 20$, $n = 100$)", "large-epoch lower bound; the constant is derived",
        "approx",
        (0.00778, 0.00832, 0.00891, 0.00934, 0.00958, 0.00968, 0.00970), 2e-4, "closed form on a fine grid of steps; another implementation saw 0.0079 to 0.0097 on a coarse one", r"without $z_\star^2$",
    ),
    Claim(
        "C10b", r"… for $\kappa = 50$ it climbs from $K = 20$ to $10240$", "derived", "approx", (0.003, 0.009), 6e-4, "one " + _DIGITS, r"without $z_\star^2$",
    ),
    Claim(
        "C10c", r"At the fixed step $z = 1$ from the minimiser: gap over the rate, $K = 120, 480, 1920$ ($\kappa = 30$, $n = 80$)", "derived", "approx", (0.00323, 0.00331, 0.00333), 6e-6,
        "three " + _DIGITS, "reshuffled order",
    ),
    Claim(
        "C10d", r"… slope of that gap between $K = 480$ and $1920$", "large-epoch lower bound", "slope", -2.0, 0.01, "next order in the step", "reshuffled order",
    ),
    Claim(
        "C11a", r"The table of rates: least gap over the lower bound, worst over its five rows and all $K$", "Table 1, Figure 1; constants derived", "at least", 0.008, 0.0,
        "the constant of C4b, the smallest", "the replacement order",
    ),
    Claim(
        "C11b", r"The strongly convex row's bounds meet at $K = \sqrt\kappa$ ($\kappa = 200$)", "Figure 1", "approx", 14.142, 0.15, "grid of $K$", r"$\kappa = 400$",
    ),
    Claim(
        "C12a", r"Where reshuffling starts to win: expected gap, reshuffled over replacement, at $K = 40, 80, 200, 400, 1000, 2000, 10000$, exactly", "prior: Safran and Shamir 2021", "approx",
        (0.964, 0.928, 0.830, 0.677, 0.343, 0.134, 0.008), 6e-4, "three " + _DIGITS, "twice the step",
    ),
    Claim(
        "C12b", r"… common logarithms of the gaps at $K = 40$: replacement, sorted", "derived", "approx", _log10(3.256e-5, 6.250e-4), 1e-4, "four " + _DIGITS, "twice the step",
    ),
    Claim(
        "C13a", r"Two classes of images, logistic regression: least loss", "derived", "approx", 0.400426, 1e-6, "six " + _DIGITS, "half the ridge",
    ),
    Claim(
        "C13b", r"… condition number of the Hessian at the minimiser", "derived", "approx", 173.5, 0.1, "four " + _DIGITS, "half the ridge",
    ),
    Claim(
        "C13c", r"… largest gradient of a component there", "derived", "approx", 3.155, 0.001, "four " + _DIGITS, "half the ridge",
    ),
    Claim(
        "C13d", r"With tuned steps, sorted by class is slower than reshuffled: ratio of gaps after each of 50 epochs", "derived", "at least", 4.0, 0.0, "an independent implementation saw 5 or more", "the classes in turns",
    ),
    Claim(
        "C13e", r"With few epochs reshuffling is no better than replacement: binary logarithm of their ratio, $K = 1, \dots, 5$", "derived", "approx", (0.0,) * 5, 1.0, "a factor of two", "sorted instead of reshuffled",
    ),
    Claim(
        "C13f", r"Herding the gradients at the minimiser wins: reshuffled over herded, $K = 5, \dots, 50$", "derived", "at least", 5.0, 0.0, "an independent implementation saw 8 or more", "an order drawn at random",
    ),
    Claim(
        "C13g", r"Prefix constants $H$ of the sorted and the herded order", "derived", "approx", (42.3, 0.78), 0.06, "three " + _DIGITS, "an order drawn at random",
    ),
    Claim(
        "C13h", r"Common logarithm of the tuned gap, sorted, replacement, herded, at $K = 5$, then at $K = 20$", "derived", "approx",
        _log10(6.8e-2, 1.05e-2, 1.6e-3, 2.8e-2, 5.8e-3, 1.4e-4), 0.114, "30 %: spread over seeds", "a single step size",
    ),
    Claim(
        "C13i", r"… reshuffled", "derived", "approx", _log10(1.35e-2, 3.0e-3), 0.114, "30 %: spread over five seeds", "a single step size",
    ),
    Claim(
        "C14a", r"The lower bounds need a *constant* step. Least gap at $K = 8$ (binary logarithm) with constant steps: shared Hessian, polygon, nonconvex", "derived", "approx", _log2(2.3e-2, 5.4, 177.0), 1.0, "a factor of two",
        "linear decay",
    ),
    Claim(
        "C14b", r"… on the same problems with steps that decay linearly to zero", "derived", "approx", _log2(4.9e-7, 0.11, 0.066), 1.0, "a factor of two", "constant steps",
    ),
    Claim(
        "C14c", r"… along a cosine", "derived", "approx", _log2(2.6e-6, 0.017, 0.0070), 1.0, "a factor of two", "linear decay",
    ),
    Claim(
        "D1", r"Forward in one epoch, backward in the next repairs only the nonconvex construction: least gap at $K = 8$ (binary logarithm), shared Hessian, polygon, nonconvex", "derived", "approx", _log2(1.6e-2, 5.4, 6e-4), 0.15,
        "one or two " + _DIGITS, "forward always",
    ),
    Claim(
        "D2", r"What makes an order good once curvatures differ is the bias $\sum_{i<j} H_j b_i$: over all 720 orders of six components the steady gap tends to the one it predicts; slope of the largest error in the step", "derived", "slope", 1.0, 0.1,
        "next order in the step", r"the mean Hessian instead of $H_j$",
    ),
)  # fmt: skip
