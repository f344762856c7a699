"""What the paper states and what was derived here, as claims to be measured."""

import math

from descentlab.claims import Claim

_ROUNDING = "rounding"
_EXACT = "proved, rounding included"

CLAIMS = (
    Claim(
        "C1a", r"Scale does not matter: built for $c\,D$, the network is right on random points of the balls, for $c = 10^{-6}, 1, 10^6$ (largest $|f - y|$)",
        "Section 2 (scale invariance)", "at most", 1e-6, 0.0, "the paper asks for equality; rounding",
        "one network for $c = 1$ on all three data sets",
    ),
    Claim(
        "C1b", r"and has the same number of parameters, $\sum_\ell (d_{\ell-1} + 1)\,d_\ell$ with zeros counted: difference from the formula",
        "Section 2 (parameter count)", "approx", (0, 0, 0), 0.0, "a count", "non-zero entries only",
    ),
    Claim(
        "C2a", r"Paper's upper bound with $d = N$, $\rho = N^{-a}$: exponents of $N$ at $a = 2, 1, \tfrac14$",
        "Theorem 4.2, Figure 1", "approx", (0.5, 0.75, 2.0), 1e-9, _ROUNDING, "the earlier upper bound",
    ),
    Claim(
        "C2b", r"First term of the lower bound, $(\rho^2\min\{N, d\} + 1)d$: exponents at $a = 2, 1, \tfrac14$",
        "Proposition 3.2, Figure 1", "approx", (1.0, 1.0, 1.5), 1e-9, _ROUNDING, "the VC term",
    ),
    Claim(
        "C2c", r"The lift: exponents at $a = \tfrac12, \tfrac14, \tfrac18$, namely $2 - 2a$", "derived", "approx",
        (1.0, 1.5, 1.75), 1e-9, _ROUNDING, "the paper's upper bound",
    ),
    Claim(
        "C2d", r"At its two breaks the upper bound is continuous up to constants: ratio of right to left limit, $1/\sqrt5$ and $\sqrt5/625$, at any size",
        "Theorem 4.2", "approx", (1 / math.sqrt(5), math.sqrt(5) / 625), 1e-6, _ROUNDING, "the earlier upper bound at its own breaks",
    ),
    Claim(
        "C2e", r"Counting non-zero parameters only, $d = \sqrt N$: exponents at $a = 0.1$ of the upper bound, $\tfrac32 - 2a$, and the lower, $\tfrac12$",
        "Theorems E.1, E.2, Figure 8", "approx", (1.3, 0.5), 1e-9, _ROUNDING, "all parameters counted",
    ),
    Claim(
        "C3a", r"For any first layer, some unit vector shrinks to $\sqrt{m/d}$ or less under the projector onto its rows: ratio, random matrices",
        "Lemma A.1", "at most", 1.0, 1e-12, _ROUNDING, "the longest image instead of the shortest",
    ),
    Claim("C3b", r"with equality for rows of a Hadamard matrix", "Lemma A.1", "approx", 1.0, 1e-12, _ROUNDING, "random rows"),
    Claim(
        "C3c", r"A trained network whose first layer is narrower than $\rho^2 \min\{N-1, d\}$ is broken in closed form: $|f(x) - f(x')|$ for $x, x'$ in balls of different labels, for $N - 1 = d$ and $N - 1 > d$",
        "Proposition 3.2, Figure 2", "at most", 1e-9, 0.0, _ROUNDING, "the same two balls, without the projector",
    ),
    Claim(
        "C3d", r"the points are nearer to their centres than $\tfrac12\sqrt{m/d}$ ($d = 64$, $m = 15$), which is less than $\mu = \tfrac14$",
        "Proposition 3.2", "at most", 0.5 * math.sqrt(15 / 64), 1e-12, _ROUNDING, "a first layer of full width",
    ),
    Claim(
        "C3e", r"The width is tight: the lift on $m$ Hadamard rows is robust for $\rho = 0.99\sqrt{m/d}$ (share of balls proved; six pairs $d, m$)",
        "derived", "at least", 1.0, 0.0, _EXACT, "balls larger by 3 %",
    ),
    Claim(
        "C3f", r"and no network with that first layer is for $\rho > \sqrt{m/d}$: of the six, broken at $\rho = 1.01\sqrt{m/d}$",
        "Proposition 3.2", "approx", 6, 0.0, "a count", r"$\rho = 0.99\sqrt{m/d}$",
    ),
    Claim(
        "C4a", r"The shattered data have $\varepsilon_D = \sqrt k$, $k = \lfloor 1/(1-\rho^2)\rfloor$ (ratio, three cases)",
        "Proposition 3.3, Figure 5", "approx", (1.0, 1.0, 1.0), 1e-12, _ROUNDING, "nearest points of any label",
    ),
    Claim(
        "C4b", r"and each point is $\sqrt{k-1} \le \mu$ from the centre of its own label (largest excess over $\mu$)",
        "Proposition 3.3", "at most", 0.0, 1e-12, _ROUNDING, "from the other centre",
    ),
    Claim(
        "C4c", r"A robust network therefore reads back any signs: right ones of 32, 8 and 15, in the worst pattern",
        "Proposition 3.3", "approx", (32, 8, 15), 0.0, r"a count, $\lfloor N/2\rfloor k$", "labels of the centres permuted",
    ),
    Claim(
        "C5a", r"Small $\rho = 1/(5N\sqrt d)$: intervals prove $f = y$ on all balls (largest distance of either bound from the label)",
        "Theorem 4.2(i)", "at most", 0.0, 0.0, "nested ReLUs saturate exactly", "balls eight times as large",
    ),
    Claim(
        "C5b", r"Parameters of the first of them, $N = 48$, $d = m = 16$, by hat functions", "Theorem 4.2(i); the count is derived",
        "approx", 9038, 0.0, "closed form with 144 kinks and 4 bits, and an independent implementation", "non-zero entries only",
    ),
    Claim(
        "C5c", r"Bit extraction: log-log slope of parameters in the number of keys, 1024 to 16384", "Theorem 4.2(i), after Vardi et al. 2021",
        "at most", 0.6, 0.0, r"$\sqrt{N \log N}$ has slope 0.54 there", "hat functions",
    ),
    Claim(
        "C5d", r"$P / \sqrt{N \log_2 N}$ is constant from 64 to 16384 keys: largest over smallest, minus one", "derived", "at most", 0.1, 0.0,
        r"rounding of the group size; a few layers that do not grow", r"$P/\sqrt N$",
    ),
    Claim(
        "C5e", r"It needs fewer parameters than hat functions, $9N + 1$, from $N \approx 1000$: first power of two", "derived", "approx", 1024, 512,
        r"$86\sqrt{N \log_2 N} = 9N$ at $N \approx 900$; one power of two", "three lookups in place of one",
    ),
    Claim(
        "C5f", r"1024 keys are all right, and 100 other integers give 0, in exact integers (errors)", "Theorem 4.2(i)", "at most", 0.0, 0.0,
        "integers", "the same network in float64",
    ),
    Claim("C5g", r"Its width is constant: largest over all sizes", "Theorem B.1", "at most", 7, 0.0, "a count", "hat functions"),
    Claim(
        "C5h", r"and its depth grows like $\sqrt{N \log N}$: log-log slope in $N$", "Theorem B.1", "at most", 0.6, 0.0, "as for the parameters",
        "one group a key",
    ),
    Claim(
        "C5i", r"The first network of C5a is not robust on balls eight times as large: largest error on lines", "derived", "at least", 0.9, 0.0,
        "labels are integers, and a wrong cell gives a wrong one", "balls of the right size",
    ),
    Claim(
        "C6a", r"Bits a weight against parameters, 1024 keys: ranking of the group sizes by parameters", "Remark B.2, Theorem B.1", "order",
        ("4", "8", "2", "16", "1", "32"), 0.0, "an independent implementation's", "a quarter of the keys",
    ),
    Claim(
        "C6b", r"Few bits cost parameters: log-log slope in the group size, 1 to 4, of 16384 keys", "Remark B.2", "slope", -1.0, 0.15,
        r"$20 N/k$ and a smaller term", "group sizes 64 to 256",
    ),
    Claim(
        "C6c", r"and too many do too: slope from 64 to 256", "derived", "slope", 1.0, 0.15, r"$k (42 B + 56 c + 98)$ and a smaller term",
        "group sizes 1 to 4",
    ),
    Claim(
        "C6d", r"float64 holds words of up to 52 bits, two entries at 1024 keys (44 bits): wrong outputs", "Remark B.2", "at most", 0.0, 0.0,
        "a count", "four entries a word (88 bits)",
    ),
    Claim(
        "C6e", r"In float64 a step is a difference of two ramps as long as the word, times the word, so words of $26 = 52/2$ bits are safe: wrong outputs with one entry (22 bits)",
        "derived", "at most", 0.0, 0.0, "products below $2^{53}$ are exact", "two entries a word (44 bits)",
    ),
    Claim(
        "C7a", r"Moderate $\rho$, the paper's network: wrong samples, 1000 a ball, for three ramps (share)", "Theorem 4.2(ii)", "at most", 0.0, 1e-6,
        r"the error is bounded by $\eta$, which the ramp makes small", "labels permuted",
    ),
    Claim(
        "C7b", r"Yet it is not robust: largest error on lines, for three ramps", "derived", "at least", 0.9, 0.0,
        "a slit passes through another label", "with the guard",
    ),
    Claim(
        "C7c", r"The slits are as wide as the ramp: share of a lattice line, for ramps of 0.05 and 0.02 margins over that for 0.1 (median over lines)",
        "Lemma B.11", "approx", (0.5, 0.2), 0.01, "5 % of the smaller ratio", "the same ramp three times",
    ),
    Claim(
        "C8a", r"With the guard every ball is proved: balls that are not", "derived", "at most", 0.0, 0.0, _EXACT, "without the guard",
    ),
    Claim(
        "C8b", r"and more than 300 lines through the balls find nothing: largest error", "derived", "at most", 0.0, 0.0, "equality",
        "without the guard",
    ),
    Claim(
        "C9a", r"Moderate $\rho$ with bit extraction, by formula: log-log slope of parameters in $\rho$ where groups are huge",
        "Theorem 4.2(ii)", "slope", 0.5, 0.05, r"$\sqrt{\log}$ of the group size", "hat functions",
    ),
    Claim(
        "C9b", r"With its real constants it beats the lift only beyond a million points: fewest for which it does, $d = m = 8$, middle of the regime",
        "derived", "at least", 1e6, 0.0, "an order of magnitude, from an independent count", "without the floors and carried registers",
    ),
    Claim(
        "C10a", r"Large $\rho$: the lift is proved on every ball at $\rho = 0.3, 0.5, 0.9, 0.999$, and so is the sequential network at the first three (balls that are not)",
        "Theorem 4.2(iii); the lift is derived", "at most", 0.0, 0.0, _EXACT, "one level of squares too few",
    ),
    Claim(
        "C10b", r"Largest error on lines through the balls of the same networks", "Theorem 4.2(iii)", "at most", 1e-6, 0.0, _ROUNDING,
        "one level of squares too few",
    ),
    Claim(
        "C10c", r"Levels of the squares at $\rho = 0.3, 0.9, 0.999$, $N = 60$, $d = 20$", "derived", "approx", (4, 6, 9), 1,
        "an independent implementation on other data", "one point far away",
    ),
    Claim(
        "C10d", r"One level more for each factor 4 of $1/(1-\rho)$: from $1 - 4^{-2}$ to $1 - 4^{-8}$", "derived", "approx", 6, 1,
        r"$T = \lceil \tfrac12 \log_2 \frac{1}{1-\rho} + \ldots \rceil$", "levels for the centres alone",
    ),
    Claim(
        "C10e", r"Sequential network: log-log slope of parameters in $m$", "Theorem 4.2(iii) (rate $N m^2$)", "slope", 2.0, 0.15,
        "lower powers, and the levels", "the lift, of 600 points",
    ),
    Claim(
        "C10f", r"and in $N$", "Theorem 4.2(iii)", "slope", 1.0, 0.05, "the first layer", "the lift",
    ),
    Claim(
        "C10g", r"The lift: slope in $N$ at the same $m$", "derived", "at most", 1.0, 0.0, r"$m^2 \log + N(m + 2)$", "the sequential network",
    ),
    Claim(
        "C10h", r"Sequential over lift, $N = 96$, $d = 32$, four classes, $\rho = 0.9$", "derived", "approx", 119, 25,
        "an independent implementation on other data; layouts differ", r"$N = 24$, $d = 8$",
    ),
    Claim(
        "C11a", r"For $N = d$ the lift meets the lower bound $\rho^2 d^2$ up to a constant: smallest and largest ratio over all sizes and radii, $\log_{10}$",
        "derived", "approx", (1.5, 1.5), 0.5, "between 10 and 100; an independent implementation has 26 to 62", "the sequential network",
    ),
    Claim(
        "C11b", r"without a trend in $d$: median ratio at the largest over that at the smallest size, $\log_2$", "derived", "approx", 0.0, 1.0,
        "a factor of two, for logarithms", "the sequential network",
    ),
    Claim(
        "C12a", r"Random projections of 50 points from 512 dimensions to 64 and 128: smallest length ratio over $\sqrt{m/d}$", "Lemma B.18", "at least",
        5 / 12, 0.0, "the constant of Lemma B.20", "four dimensions",
    ),
    Claim(
        "C12b", r"Their spread falls like $\sqrt{(1 - m/d)/2m}$: standard deviation at 64 over that at 128", "Lemma B.18, Figure 3", "approx",
        math.sqrt(7 / 3), 0.2, "50 points", "the same dimension twice",
    ),
    Claim(
        "C13a", r"The lattice stays $1/2N$ away from every point: largest gap, times $N$, on random points", "Lemma B.15", "at least", 1.0, 1e-9, _ROUNDING,
        "the smallest gap",
    ),
    Claim("C13b", r"with equality for equispaced points", "Lemma B.15", "approx", 1.0, 1e-9, _ROUNDING, "random points"),
    Claim(
        "C13c", r"The paper's floor is exact off its ramps: error for 5 bits, $\gamma = 1/16$", "Lemma B.16, Figure 7", "at most", 1e-11, 0.0,
        r"slope $2^n/\gamma$ times $2^{n}$ times rounding", "a ramp ten times too narrow for the points",
    ),
    Claim(
        "C13d", r"but not in float64: $\log_{10}$ of its error at $(n, \gamma) = (10, 10^{-3}), (10, 10^{-6})$, away from the ramps by $10^{-3}$", "derived", "approx",
        (-7.4, -4.7), 1.0, "an order of magnitude; an independent implementation", "the float-safe floor",
    ),
    Claim(
        "C13e", r"and at $(12, 10^{-6})$ it fails by a whole unit, next to the ramps, where the lemma promises equality (error)", "derived", "approx", 1.0, 0.1,
        "an independent implementation", "the float-safe floor",
    ),
    Claim(
        "C13f", r"The float-safe floor is exact there, and at $(16, 10^{-6})$: error", "derived", "at most", 0.0, 0.0, "equality", "the paper's floor",
    ),
    Claim(
        "C13g", r"A slab of relative thickness $\eta$ holds at most a fraction $2\eta V_{d-1}/V_d$ of a ball: fraction over bound, $d = 2, 8, 32$",
        "Lemmas B.11, B.12, Figure 4", "at most", 1.0, 0.02, "200,000 samples", r"without the factor 2",
    ),
    Claim(
        "C14a", r"Networks for $\gamma_p\rho = 0.95$ serve $\ell_p$ balls of ratio $\rho$, $p = 1, 2, \infty$: largest error on corners and lines",
        "Theorem C.11", "at most", 1e-6, 0.0, _ROUNDING, "balls so large that those of foes overlap",
    ),
    Claim(
        "C14b", r"In $\ell_\infty$ any kernel passes within $\tfrac12$ of a unit vector, so $\rho > \tfrac12$ needs full width: largest distance, random first layers",
        "Theorem C.5", "at most", 0.5, 1e-12, "closed form", r"$\ell_2$ distances",
    ),
    Claim(
        "C15a", r"100 images: the separation $\varepsilon_D$", "derived", "approx", 2.0449, 1e-4, "an independent implementation", "labels permuted",
    ),
    Claim(
        "C15b", r"The lift is proved on every ball at $\rho = 0.1, 0.3, 0.6, 0.9$ (balls that are not)", "derived", "at most", 0.0, 0.0, _EXACT,
        "balls of radius 1.03 separations",
    ),
    Claim(
        "C15c", r"with few random dimensions", "derived", "approx", (6, 20, 40, 100), 4, "an independent implementation, other random rows",
        "no projection",
    ),
    Claim(
        "C15d", r"and fewer principal directions", "derived", "approx", (6, 10, 38, 95), 1, "deterministic; an independent implementation",
        "the directions of least variance",
    ),
    Claim(
        "C16", r"Nine awkward data sets, from integer lattices to coordinates of $10^{\pm6}$, at $\rho = 0.9$: balls not proved", "derived", "at most", 0.0, 0.0,
        _EXACT, "balls of radius 1.03 separations",
    ),
    Claim(
        "D1", r"Plain intervals prove all balls of a small-radius network and none of a lift: share of balls", "derived", "approx", (1.0, 0.0), 0.0,
        "they lose the correlation of inner product and square", "balls eight times as large",
    ),
    Claim(
        "D2", r"The first 100 digits: the lift is proved at $\rho = 0.1, 0.3, 0.6, 0.9$ (balls that are not)", "derived", "at most", 0.0, 0.0, _EXACT,
        "balls of radius 1.03 separations",
    ),
    Claim(
        "D3", r"Generic verifiers fall short on a lift: largest share of its balls that linear bounds prove, plain, by the released auto_LiRPA, and optimised by it (recorded)",
        "derived", "at most", 47 / 48, 0.0, "one ball of 48 at least is left unproved", "the construction's own proof",
    ),
    Claim(
        "D4", r"A classifier of the lift's size, trained adversarially on the digits at $\rho = 0.3, 0.6, 0.9$: share of the balls that intervals prove",
        "derived", "at most", 0.99, 0.0, "a certified network has all of them", "the lift",
    ),
)  # fmt: skip
