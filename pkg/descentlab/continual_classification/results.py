"""What the paper states and what we derived, as claims to be measured.

The constants are tables of an independent implementation, by which chapters and tests divide their measurements.
"""

from descentlab.claims import Claim

CLUSTERED_FORGETTING = (0.151, 0.0590, 0.0142, 3.0e-3, 4.1e-4)  # at J = 1, 3, 10, 30, 100
INTERLEAVED_FORGETTING = (-0.215, -0.0199, 2.8e-3, 1.2e-3, 2.1e-4)  # at the same cycles
ACUTE_FORGETTING = (-8.48e-2, -2.20e-2, -3.28e-3, -7.83e-4, -7.4e-6)  # at J = 1, 2, 5, 10, 100
STEP_BOUNDS = (1.00e-2, 2.30e-4, 2.48e-2)  # cyclic: both terms; random
IMAGE_FORGETTING = (2.84, 2.94, 1.36, 5.4e-2, 2.5e-3, 6.4e-4, 1.6e-4)  # at J = 1, 10, 100, 1000, 5000, 10^4, 2 · 10^4
NETWORK_LOSS = (1.07, 0.86, 0.76, 0.66, 0.58, 0.50, 0.33)  # at J = 1, 2, 5, 10, 20, 50, 100

_DIGITS = "digits of an independent implementation"

CLAIMS = (
    Claim(
        "C1a", r"Each task alone leaves in a direction of its own: cosine of its final weights to $\hat w$", "Figure 1",
        "at most", 0.5, 0.0, r"its limit has cosine 0.40 or 0.38", "trained together, and in turn",
    ),
    Claim(
        "C1b", r"Trained together, or in turn, they go along $\hat w$ (cosines)", "Figure 1, Theorem 3.2", "at least", 0.99,
        0.0, "finite time", "each task alone",
    ),
    Claim(
        "C1c", "The two paths merge: cosine between them", "Figure 1", "at least", 0.999, 0.0, "finite time",
        "task 0 alone against both together",
    ),
    Claim(
        "C2a", r"The joint loss tends to zero, and with it $\varphi^2 \eta K J L$ to one: values at $J = 10^2, \dots, 10^6$",
        "Theorem 3.1; the constant is derived", "approx", (1.0073, 1.0041, 1.0007, 1.0001, 1.0000), 1e-4, _DIGITS,
        "losses averaged over a task's samples",
    ),
    Claim(
        "C2b", r"Every margin tends to infinity: the smallest growth over the last decade of cycles", "Theorem 3.1",
        "at least", 2.302585, 1e-3, r"support vectors gain $\ln 10$ a decade, others more; corrections of $1/J$",
        "task 0 alone",
    ),
    Claim(
        "C2c", r"The squared gradients sum up: those of a cycle fall like $J^{-2}$, $10^3 \le J \le 10^6$", "Theorem 3.1",
        "slope", -2.0, 0.01, "corrections of $1/J$", "a flipped label, so that the tasks contradict each other",
    ),
    Claim(
        "C3a", r"Cosine of $w$ to $\hat w$ after $2 \cdot 10^6$ stages", "Theorem 3.2, Figure 2", "at least", 0.99999, 0.0,
        r"$\rho/\ln t$, squared", "task 0 alone",
    ),
    Claim(
        "C3b", r"The residual $\rho$ settles: $(w(t) - w(t/2))/\ln 2$ is $\hat w$, norm included (relative error, $\eta = 0.1$ and $0.5$)",
        "Theorem 3.2; the norm is derived", "at most", 1e-4, 0.0, "an independent implementation saw 2e-5 and 3e-6",
        "task 0 alone",
    ),
    Claim(
        "C3c", r"The same at $\eta = 2 \cdot 10^{-4}$, which the theorem allows", "Theorem 3.2", "approx", 3.413e-3, 1e-5,
        "gradient flow at the same time, integrated to 1e-12, up to the size of a stage, $\\eta K = 2 \\cdot 10^{-3}$", "half this step",
    ),
    Claim(
        "C3d", r"Margins of support vectors are $\ln(\eta K t/(M\alpha_i))$ (largest difference)", "Theorem 3.2; the constant is derived",
        "at most", 1e-4, 0.0, "corrections of $1/t$", "effective time not divided by the number of tasks",
    ),
    Claim(
        "C4", r"The loss at cycle $J$ is $\Theta(1/J)$, without logarithms: slope for $10^3 \le J \le 10^6$",
        "Theorem 3.3 ($O(\\ln^2 J/J)$); the rate is derived", "slope", -1.0, 0.002, "C2a: the constant moves by 0.4 % over these decades",
        "a flipped label",
    ),
    Claim(
        "C5a", r"Forgetting stays between its bounds: least distance to them over their width, on data A at $\eta = 0.01$ and $0.1$, on the clustered and the interleaved split",
        "Theorem 3.4", "at least", 0.0, 0.0, "an inequality", "inner products averaged over the samples instead of summed",
    ),
    Claim(
        "C5b", "Data A: sums of positive and of negative inner products between the tasks", "Theorem 3.4", "approx", (7.0, -4.0),
        1e-12, "rounding", "products within a task included",
    ),
    Claim(
        "C5c", r"Data A: $CF(1)$ for $\eta = 0.1$ and $0.01$", "Theorem 3.4", "approx", (7.61e-2, -7.5e-3), 5e-5, _DIGITS,
        "compared with the loss at the start of the cycle",
    ),
    Claim(
        "C6a", r"$J^2 \, CF(J)$ at $J = 10^2, \dots, 10^6$", "Theorem 3.4 ($O(\\ln^4 J/J^2)$); the constant is derived", "approx",
        (1.965, 1.970, 1.9583, 1.9560, 1.9556), 5e-4, _DIGITS, "losses averaged over a task's samples",
    ),
    Claim(
        "C6b", r"Forgetting falls like $J^{-2}$: slope for $10^3 \le J \le 10^6$", "Theorem 3.4; the rate is derived", "slope", -2.0,
        0.005, "C6a: the constant moves by 0.7 % over these decades", "a flipped label",
    ),
    Claim(
        "C6c", r"$J^2 \, CF(J)$ for $\eta = 0.01$, $J = 10^6$: the closed form", "derived", "approx", 19.5556, 0.02,
        "one part in a thousand from $J = 10^5$ on", "summed over the tasks instead of averaged",
    ),
    Claim(
        "C6d", r"It falls faster than the loss: slope of $CF/L$ for $10^3 \le J \le 10^6$", "Theorem 3.4; the rate is derived",
        "slope", -1.0, 0.005, "C4 and C6b", "a flipped label",
    ),
    Claim(
        "C7a", "Two splits of twelve points, clustered and interleaved: positive and negative alignment of each", "Figure 3", "approx",
        (9.735, -21.042, 50.095, -17.351), 5e-4, _DIGITS, "every third point to one task",
    ),
    Claim(
        "C7b", r"Clustered: $CF$ at $J = 1, 3, 10, 30, 100$ over an independent implementation's", "Figure 3", "approx", (1.0,) * 5, 0.02,
        _DIGITS + " (two or three)", "the interleaved split",
    ),
    Claim(
        "C7c", r"Interleaved: $CF$ at the same cycles over an independent implementation's; tasks help each other first, then forget",
        "Figure 3", "approx", (1.0,) * 5, 0.05, _DIGITS + " (two)", "the clustered split",
    ),
    Claim(
        "C7d", r"$J^2 \, CF(J)$ at $J = 10^5$, clustered and interleaved", "derived", "approx", (5.932, 3.855), 5e-3,
        "three " + _DIGITS, "learning rate 0.06 instead of 0.05",
    ),
    Claim(
        "C7e", r"… which tend to the closed form", "derived", "approx", (5.991, 3.942), 1e-3, _DIGITS,
        "raw alignment instead of that of dual-weighted support vectors",
    ),
    Claim(
        "C7f", r"Cosines of the tasks' own max-margin directions to $\hat w$, clustered, then interleaved", "Figure 3", "approx",
        (0.54, 0.34, 0.49, 0.85, 0.87, 0.92), 6e-3, "two " + _DIGITS, "the splits exchanged",
    ),
    Claim(
        "C7g", r"All twelve points: margin $\varphi$ and number of support vectors", "Figure 3", "approx", (0.37455, 5), 1e-5, _DIGITS,
        "the first eight points",
    ),
    Claim(
        "C7h", r"No negative inner product, no forgetting: $CF$ at $J = 1, 2, 5, 10, 100$ over an independent implementation's, all negative",
        "Theorem 3.4", "approx", (1.0,) * 5, 0.01, _DIGITS + " (two or three)", "learning rate 0.06 instead of 0.05",
    ),
    Claim(
        "C7i", r"… and $J^2 \, CF$: closed form, and measured at $J = 10^4$", "derived", "approx", (-0.08392, -0.0769), 1e-4, _DIGITS,
        "learning rate 0.06 instead of 0.05",
    ),
    Claim(
        "C8a", r"Data A: step sizes that the theorems ask for (two terms in cyclic, one in random order) over an independent computation's",
        "Theorems 3.1, 4.1 (constants from secondary text)", "approx", (1.0, 1.0, 1.0), 0.005, "three " + _DIGITS,
        "largest singular value of task 0 alone",
    ),
    Claim(
        "C8b", r"Steps a thousand times as large converge as well: increment error at $\eta = 0.5, 1, 5$", "derived", "at most", 1e-4,
        0.0, "the bar of C3b", r"$\eta = 20$, 10 and 15",
    ),
    Claim(
        "C8c", r"$\eta = 20$ overshoots and stands still: increment error", "derived", "at least", 0.9, 0.0,
        "one, if nothing moves", r"$\eta = 5$",
    ),
    Claim(
        "C9a", r"Random tasks: cosine of $w$ to $\hat w$ after $10^6$ stages, three seeds", "Theorem 4.2", "at least", 0.99999, 0.0,
        r"$\rho/\ln t$, squared", "task 0 at every stage",
    ),
    Claim(
        "C9b", r"… margins of support vectors are $\ln(\eta K t/(M\alpha_i))$ (largest difference)", "Theorem 4.2; the constant is derived",
        "at most", 0.01, 0.0, "imbalance of visits, about $1/\\sqrt t$; an independent implementation saw up to 4e-3",
        "task 0 nine times out of ten",
    ),
    Claim(
        "C9c", r"… $(w(t) - w(t/10))/\ln 10$ is $\hat w$ (relative error)", "Theorem 4.2; the norm is derived", "at most", 0.01, 0.0,
        "imbalance of visits, as in C9b", "task 0 at every stage",
    ),
    Claim(
        "C9d", r"A fresh permutation in each cycle is as exact as the cyclic order (the same error)", "derived", "at most", 1e-4, 0.0,
        "the bar of C3b", "drawn with replacement",
    ),
    Claim(
        "C10a", r"Two samples on which projections stop elsewhere: their end and its cosine to $\hat w = (2, 0)$", "prior: Evron et al. 2023",
        "approx", (2.0, 5 / 6, 12 / 13), 1e-9, "rounding of a closed form", "the opposite order",
    ),
    Claim(
        "C10b", "… and never move again: distance over a hundred further stages", "prior: Evron et al. 2023", "at most", 1e-12, 0.0,
        "rounding", "sequential gradient descent",
    ),
    Claim(
        "C10c", r"Sequential gradient descent still turns to $(2, 0)$: increment after $2 \cdot 10^6$ stages", "Theorem 3.2", "approx",
        (1.993, 0.026), 5e-4, _DIGITS, "the projections' end",
    ),
    Claim(
        "C10d", r"In the opposite order projections do find $\hat w$ (distance)", "derived", "at most", 1e-9, 0.0, "rounding",
        "task 0 first",
    ),
    Claim(
        "C10e", r"On data A projections and gradient descent agree: $1 - \cos$ of the projections' end to $\hat w$", "derived", "at most",
        1e-6, 0.0, "linear convergence of projections", "the two samples of C10a",
    ),
    Claim(
        "C11", r"As many steps, in stages of $K = 1, 10, 10^2, 10^3, 10^4$: cosine to $\hat w$", "derived", "approx",
        (0.9978, 0.9978, 0.9975, 0.9966, 0.9944), 1e-4, "four " + _DIGITS, "thirty stages for every $K$",
    ),
    Claim(
        "C12a", r"Overlapping tasks: strong convexity $\mu$ at the joint minimiser, smoothness of the joint and of a task's loss",
        "Lemma 5.1", "approx", (3.0371, 22.865, 12.66), 5e-3, _DIGITS, "curvature at the origin; smoothness summed, and averaged, over the tasks",
    ),
    Claim(
        "C12b", r"A constant step leaves a bias of its own order: $\lVert w_\infty - w_*\rVert/\eta$ at $\eta = 10^{-2}$, halved four times",
        "derived", "approx", (13.80, 12.91, 12.43, 12.19, 12.07), 0.01, "four " + _DIGITS, "one step a stage",
    ),
    Claim(
        "C12c", r"A step tuned to the horizon: $\lVert w - w_*\rVert^2 J^2/\ln^2 J$ at $J = 300, 10^3, 3 \cdot 10^3, 10^4, 3 \cdot 10^4$",
        "Theorem 5.2 (step size partly reconstructed)", "approx", (0.644, 0.628, 0.622, 0.620, 0.619), 1e-3, _DIGITS, "tasks in random order",
    ),
    Claim(
        "C13a", r"Three pairs of classes of Fashion-MNIST: margin $\varphi$ of all, in hundredths, and $\sigma_m$ of the tasks",
        "derived", "approx", (3.0540, 8.75, 8.61, 7.50), 5e-3, _DIGITS, "pixels not normalised",
    ),
    Claim(
        "C13b", "… number of support vectors", "derived", "approx", 84, 0.0, "a count", "one pair of classes",
    ),
    Claim(
        "C13c", r"… cosine to $\hat w$ at $J = 1, 10, 10^2, 10^3, 5 \cdot 10^3, 10^4, 2 \cdot 10^4$", "Theorem 3.2", "approx",
        (0.337, 0.469, 0.774, 0.931, 0.964, 0.971, 0.977), 1e-3, "three " + _DIGITS, "labels shuffled within a task",
    ),
    Claim(
        "C13d", r"… the end's cosine to the tasks' own directions, and theirs to $\hat w$", "Theorem 3.2", "approx",
        (0.41, 0.36, 0.29, 0.42, 0.34, 0.22), 6e-3, "two " + _DIGITS, "task 0 alone",
    ),
    Claim(
        "C13e", r"… at the end: margin over $\varphi$; $\varphi^2\eta KJL$; cosine of the increment", "Theorem 3.2", "approx",
        (0.754, 0.977, 0.9969), 1e-3, "three " + _DIGITS, "a thousand cycles",
    ),
    Claim(
        "C13f", r"… $CF$ at the cycles of C13c over an independent implementation's", "Theorem 3.4", "approx", (1.0,) * 7, 0.04,
        _DIGITS + " (two or three)", "summed over the tasks instead of averaged",
    ),
    Claim(
        "C13g", r"… $J^2 \, CF$ at the end over its closed form", "derived", "approx", 1.0, 0.1, "a finite run: the gap of the data is small",
        "the closed form not divided by the number of tasks",
    ),
    Claim(
        "C14a", r"A network on the same tasks: $CF$ at $J = 1, 2, 5, 10, 20, 50, 100$ (mean over seeds)", "derived", "approx",
        (0.10, 0.13, 0.15, 0.14, 0.14, 0.15, 0.105), 0.05, "spread over initialisations", "trained on all tasks at once",
    ),
    Claim(
        "C14b", r"… joint loss at the same cycles over an independent implementation's (mean over seeds)", "derived", "approx", (1.0,) * 7, 0.15,
        "spread over initialisations", "trained on all tasks at once",
    ),
    Claim(
        "C14c", r"… test accuracy on the tasks at the end (mean over seeds)", "derived", "approx", (0.951, 0.880, 0.991), 0.02,
        "spread over initialisations; the mean of eight of a network in plain NumPy, which scatter by 0.003", "labels shuffled",
    ),
    Claim(
        "C14d", r"… forgetting falls only once the joint loss does: $CF(100)/CF(50)$, every seed", "derived", "at most", 0.9, 0.0,
        "an independent implementation saw 0.7", "$CF(50)/CF(5)$, before",
    ),
    Claim(
        "D1a", r"Law A on three tasks: the margins' deviation falls like $J^{-r}$, $r$ the least eigenvalue of $G_S\,\mathrm{diag}(\alpha_S)$, $10^4 \le J \le 10^6$",
        "derived", "slope", -0.43976, 0.01, "closed form; the next eigenvalue is 1", "effective time not divided by the number of tasks",
    ),
    Claim(
        "D1b", r"Law B: $\varphi^2 \eta K J L$ on three tasks", "derived", "approx", 1.0, 1e-4,
        "corrections of $1/J$ and $J^{-2r}$: the slow mode does not enter to first order", "losses averaged over a task's samples",
    ),
    Claim(
        "D1c", r"Law C: $J^2 \, CF$ over its closed form on three tasks", "derived", "approx", 1.0, 5e-3, "corrections of $J^{-r}$, 2e-3",
        "losses averaged over a task's samples",
    ),
    Claim(
        "D1d", r"Law D: $(w(t) - w(t/2))/\ln 2$ on three tasks (relative error)", "derived", "at most", 5e-3, 0.0,
        "corrections of $J^{-r}$, 2e-3", "task 0 alone",
    ),
    Claim(
        "D2a", r"Forgetting of the single tasks: $J^2$ times it over the closed form $-u_m^\top \sum_{p>m} u_p/(\eta K)$, first two tasks of C7's clustered split",
        "derived", "approx", (1.0, 1.0), 0.03, "C7d: the average is 1 % off at this $J$", "later tasks taken for earlier ones",
    ),
    Claim(
        "D2b", r"The order of the tasks changes who forgets, not the total: $J^2\,CF$ of the six orders over the closed form", "derived",
        "approx", (1.0,) * 6, 0.03, "as in D2a", "forgetting of task 0 instead of the average",
    ),
    Claim(
        "D3", r"Half the alignment is enough for the bounds, since a task forgets through later ones only (least distance, as in C5a)",
        "derived", "at least", 0.0, 0.0, "an inequality", "inner products averaged over the samples instead of summed",
    ),
    Claim(
        "D4", r"The zig-zag of a cycle: the stage of task $m$ moves $w$ by $\lVert u_m\rVert/J$ (ratios, clustered split, $J = 10^5$)", "derived",
        "approx", (1.0, 1.0, 1.0), 0.02, "C7d: 1 % at this $J$", "both tasks in every stage, a third of the cycle each",
    ),
    Claim(
        "D5a", r"The bias of a constant step in closed form: $\lVert w_\infty - w_*\rVert/\eta$ extrapolated from two step sizes over it",
        "derived", "approx", 1.0, 1e-3, "second order in the step size", "one step a stage",
    ),
    Claim(
        "D5b", r"Steps $2/(\mu K j)$ in cycle $j$ need no horizon: slope of $\lVert w - w_*\rVert$ for $10^3 \le J \le 10^5$", "derived",
        "slope", -1.0, 0.02, r"the next order, $J^{-2}\ln J$", r"steps $1/(2 \mu K j)$",
    ),
    Claim(
        "D5c", r"… and no logarithm remains: $J \lVert w - w_*\rVert$ at $J = 10^5$ over its closed form", "derived", "approx", 1.0, 0.01,
        "the next order", "the constant of a fixed step",
    ),
)  # fmt: skip
