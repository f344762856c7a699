"""Adam with one sample a step: the experiments behind the lesson, and the statements of the paper with their checks.

`Study` computes each experiment once; the lesson draws its figures from the same object. Below it stand the statements:
what is measured, what it should be and why, and a wrong method that must miss.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cached_property as kept
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from descentlab import data, geometry
from descentlab import per_sample_adam as psa
from descentlab.claims import NotAtThisScale, Statements
from descentlab.geometry import Array, Trajectory

BETAS = (0.9, 0.95)
PAIRS = ((0.0, 0.5), (0.5, 0.5), (0.9, 0.95), (0.9, 0.999))
OTHERS = ((0.9, 0.9), (0.95, 0.95), (0.3, 0.99), (0.95, 0.999))  # compared with (0.5, 0.9)
OUTSIDE = (0.95, 0.5)  # β₁² > β₂: |m|/√v has no bound
FINITE = ((0.9, 0.95), (0.0, 0.5), (0.5, 0.9))
SHORT = (0.5, 0.5)  # memories in which the noise of new orders outweighs the (η/τ)² that every order leaves
ORDERS = ("cyclic", "reshuffled", "replacement")
SIZES = (1, 2, 5, 10)
EPS = (0.0, 1e-8, 1e-4, 1e-2)
SIGNUM_BETAS = (0.0, 0.5, 0.9, 0.99, 0.999)
IMAGES = {"digits": (3, 8), "fashion-mnist-12k": ("Pullover", "Coat")}

# fmt: off
# -- data and small tools ---------------------------------------------------------------------------------------------

def gaussian(seed: int, num_samples: int = 10, dim: int = 50) -> Array:
    """Standard normal rows, shape (num_samples, dim)."""
    return np.random.default_rng(seed).standard_normal((num_samples, dim))

def equal_sizes(seed: int) -> Array:
    """Ten rows of signs, each times a size of its own: all coordinates of a sample have the same magnitude."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (10, 50))
    return rng.uniform(0.5, 1.5, 10)[:, None] * signs

def shifted_diagonal(diagonal: ArrayLike, offset: float) -> Array:
    """The matrix with `diagonal` on its diagonal and `offset` elsewhere, shape (d, d)."""
    diagonal = np.asarray(diagonal, dtype=float)
    return np.full((len(diagonal),) * 2, float(offset)) + np.diag(diagonal - offset)

DIAGONAL, TRIANGLE = shifted_diagonal(np.linspace(1, 2, 10), 0.1), shifted_diagonal((1.0, 1.25, 1.5), 0.2)

def elapsed(steps: ArrayLike, *, learning_rate: float = 0.1, decay: float = 0.5) -> Array:
    """Sum of the first step sizes: the time in which margins grow linearly."""
    steps = np.asarray(steps)
    return np.concatenate([[0.0], np.cumsum(learning_rate * np.arange(2.0, steps.max() + 2) ** -decay)])[steps]

def at(run: Trajectory, steps: ArrayLike) -> Array:
    """The iterates after `steps` updates, which were recorded."""
    return run.weights[np.searchsorted(run.steps, steps)]

def gap(vectors: Iterable, directions: Iterable) -> Array:
    """One minus the cosine, pair by pair."""
    return np.array([geometry.misalignment(v, w) for v, w in zip(vectors, directions, strict=True)])

def slope(x: Array, y: Array) -> float:
    """Of log y against log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])

def relative_slopes(X: Array, weights: Array) -> Array:
    """Slopes of the logistic losses over the largest of a set, shape (r, N): all ratios of gradients follow from them."""
    logs = -np.logaddexp(0.0, weights @ X.T)
    return np.exp(logs - logs.max(axis=-1, keepdims=True))

def root_of_squares(parts: Array) -> Array:
    return np.sqrt((parts**2).sum(axis=0))

def sum_of_sizes(parts: Array) -> Array:
    """A wrong M(c): the absolute values summed, where the paper has the root of the sum of squares."""
    return np.abs(parts).sum(axis=0)

def fixed_point(X: Array, size: Callable[[Array], Array] = root_of_squares) -> Array:
    """The direction of the paper's Algorithm 3, literally; `size` makes M(c) of the rows c_i x_i."""
    c = np.full(len(X), 1 / len(X))
    for _ in range(2000):
        previous, c = c, geometry.mahalanobis_max_margin(X, size(c[:, None] * X)).dual
        if np.abs(c - previous).sum() < 1e-12:
            break
    return (c @ X) / size(c[:, None] * X)

def epoch_displacement(X: Array, slopes: Array, betas: tuple[float, float], *, newest_first: bool = True) -> Array:
    """Proposition 2.5: an epoch's displacement over the step size, from the gradients at its beginning, shape (r, d)."""
    n, (b1, b2) = len(X), betas
    age = np.subtract.outer(np.arange(n), np.arange(n)) % n
    age = age if newest_first else n - 1 - age
    first = np.einsum("ij,rj,jd->rid", b1**age, slopes, X)
    second = np.einsum("ij,rj,jd->rid", b2**age, slopes**2, X**2)
    return (1 - b1) / (1 - b1**n) * np.sqrt((1 - b2**n) / (1 - b2)) * (first / np.sqrt(second)).sum(axis=1)

def linf_ratio(X: Array, w: Array) -> float:
    """l-infinity margin of a direction over the best one."""
    return geometry.margin(X, w, np.inf) / geometry.linf_max_margin(X).margin

def replicator(X: Array, *, num_steps: int, learning_rate: float) -> Array:
    """Multiplicative weights: a share falls with its sample's gain of margin. AdamProxy without weights."""
    c = np.full(len(X), 1 / len(X))
    for _ in range(num_steps):
        gains = X @ ((c @ X) / root_of_squares(c[:, None] * X))
        c = c * np.exp(-learning_rate * (gains - gains.min()))
        c /= c.sum()
    return c

def wrong_adam(X: Array, num_steps: int, betas: tuple[float, float], square: Callable[[Array, int], Array], top: bool = False) -> Array:
    """One sample a step in m; v averages the squares of what `square` makes of all gradients and t; `top`: v never falls (AMSGrad)."""
    (w, m, v, largest), (b1, b2) = np.zeros((4, X.shape[1])), betas
    for t in range(num_steps):
        gradients = np.exp(-np.logaddexp(0, X @ w))[:, None] * X
        m, v = b1 * m + (1 - b1) * gradients[t % len(X)], b2 * v + (1 - b2) * square(gradients, t) ** 2
        largest = np.maximum(largest, v)
        w = w + 0.1 * (t + 2) ** -0.5 * m / np.sqrt(largest if top else v)
    return w

# -- the experiments --------------------------------------------------------------------------------------------------

class Study:
    """The experiments at one size; each is computed when it is first asked for, and then kept.

    `num_steps`: updates of a run with one sample a step; full-batch runs take a tenth, Signum's up to twice as many.
    `seed`: data set j is drawn with seed + j. `num_instances`: random problems on which the fixed-point iteration is tried.
    `num_starts`: random starts of the bistability experiment.
    """

    def __init__(self, num_steps: int = 1_000_000, *, seed: int = 0, num_instances: int = 189, num_starts: int = 40):
        self.num_steps, self.seed, self.num_instances, self.num_starts = num_steps, seed, num_instances, num_starts
        self.sets, self.equal = [gaussian(seed + j) for j in range(10)], [equal_sizes(seed + j) for j in range(3)]
        self.X = self.sets[0]
        self.l2, self.equal_l2 = ([geometry.l2_max_margin(X).direction for X in sets] for sets in (self.sets, self.equal))
        self.linf = [geometry.linf_max_margin(X).direction for X in self.sets]

    @classmethod
    def at(cls, scale: str, seed: int = 0) -> Study:
        """The study of a scale: "smoke" is the smallest honest one, which the tests use."""
        steps, instances, starts = {"smoke": (200_000, 20, 12), "book": (10**6, 189, 40), "full": (10**7, 2_000, 1_000)}[scale]
        return cls(steps, seed=seed, num_instances=instances, num_starts=starts)

    def needs(self, num_steps: int, why: str = "") -> None:
        if self.num_steps < num_steps:
            raise NotAtThisScale(f"{num_steps} steps{why}")

    def adam(self, X: Array, **options: Any) -> Trajectory:
        full = options.get("batch_size", 1) == len(X)
        return psa.adam(X, **({"num_steps": self.num_steps // 10 if full else self.num_steps, "betas": BETAS} | options))

    def increments(self, sets: Iterable[Array], **options: Any) -> list[Array]:
        return [self.adam(X, **options).increment() for X in sets]

    def equal_gaps(self, pairs: Iterable = (BETAS,), **options: Any) -> Array:
        """One minus the cosine of the increments to the l2 direction, for pairs of betas and three data sets of equal sizes."""
        return np.concatenate([gap(self.increments(self.equal, betas=b, **options), self.equal_l2) for b in pairs])

    full_batch = kept(lambda self: [self.adam(X, batch_size=10) for X in self.sets])
    one_sample = kept(lambda self: {order: [self.adam(X, order=order) for X in self.sets] for order in ORDERS})
    late = kept(lambda self: [run.increment() for runs in self.one_sample.values() for run in runs])
    descent = kept(lambda self: [psa.gradient_descent(X, num_steps=100_000, batch_size=1).increment() for X in self.sets])
    square_of_the_sum = kept(lambda self: [wrong_adam(X, 3000, BETAS, lambda g, t: g.mean(axis=0)) for X in self.sets])
    signs = kept(lambda self: {size: self.sign_distances(size) for size in (10, 1)})
    recurrence = kept(lambda self: {0.5: self.epoch_errors((0.5, 0.9), 0.5), 0.8: self.epoch_errors(BETAS, 0.8)})
    points = kept(lambda self: [fixed_point(X) for X in self.sets])
    proxies = kept(lambda self: [psa.adam_proxy(X, num_steps=100_000).increment() for X in self.sets])
    slow_memory = kept(lambda self: psa.adam(self.X, num_steps=10**6, betas=(0.9, 0.999)).increment())
    by_batch_size = kept(lambda self: {o: {b: self.adam(self.X, batch_size=b, order=o).increment() for b in SIZES} for o in ORDERS[:2]})
    finite = kept(lambda self: [psa.adam(self.X, num_steps=10**6, betas=b).increment() for b in FINITE])
    blocks = kept(lambda self: [psa.adam(self.X, num_steps=10**6, betas=(0.9, 0.999), batch_size=b).increment() for b in (2, 5)])
    two_points = kept(lambda self: [psa.adam_fixed_point(TRIANGLE, start=s).dual for s in ([1, 0, 0], [0.1, 0.9, 0])])
    images = kept(lambda self: [data.binary_rows(data.load(n), classes=c, num_samples=40, seed=self.seed) for n, c in IMAGES.items()])

    image_increments = kept(lambda self: {r: self.increments(self.images, learning_rate=r) for r in (0.4, 0.2)})

    def sign_distances(self, batch_size: int) -> tuple[Array, Array, Array]:
        """Times; |m/√v − sign ∇L|; |∇L| / L, both of shape (r, d), for steps with a = 0.8."""
        times = np.unique(np.geomspace(1000, 50_000, 40).astype(int))
        run = psa.adam(self.X, num_steps=50_001, batch_size=batch_size, decay=0.8, record=np.concatenate([times, times + 1]))
        before = at(run, times)
        step = (at(run, times + 1) - before) / (0.1 * (times + 2.0) ** -0.8)[:, None]
        slopes = relative_slopes(self.X, before)
        gradient = slopes @ self.X / slopes.sum(axis=1, keepdims=True)
        return times, np.abs(step - np.sign(gradient)), np.abs(gradient)

    def epoch_errors(self, betas: tuple[float, float], decay: float, *, factor: float = 1.0, **wrong: bool) -> tuple[Array, Array]:
        """Epochs, and the largest coordinate of (displacement / step size − prediction)."""
        epochs, n = np.unique(np.geomspace(1000, 20_000, 40).astype(int)), len(self.X)
        record = np.concatenate([epochs * n, (epochs + 1) * n])
        run = psa.adam(self.X, num_steps=record.max(), betas=betas, decay=decay, record=record)
        before = at(run, epochs * n)
        moved = (at(run, (epochs + 1) * n) - before) / (0.1 * (epochs * n + 2.0) ** -decay)[:, None]
        predicted = epoch_displacement(self.X, relative_slopes(self.X, before), betas, **wrong)
        return epochs, np.abs(moved - factor * predicted).max(axis=1)

    def shuffled_by_steps(self, **options: Any) -> tuple[Array, Array]:
        """Numbers of steps T, and the mean gap between w(T) − w(T/2) and the l2 direction; three data sets, four orders."""
        ends = self.num_steps // 2 ** np.arange(5)
        options |= {"record": np.append(ends, ends // 2), "num_steps": self.num_steps}
        runs = [(self.adam(X, seed=s, **options), w) for X, w in zip(self.equal, self.equal_l2, strict=True) for s in range(4)]
        return ends, np.mean([geometry.misalignment(at(r, ends) - at(r, ends // 2), w) for r, w in runs], axis=0)

    def shuffled_by_rate(self, betas: tuple[float, float] = BETAS, **options: Any) -> tuple[Array, Array]:
        """Step sizes η₀, and the same mean gap at the end, over three data sets and two orders."""
        rates = np.array([0.025, 0.05, 0.1, 0.2, 0.4])
        gaps = [self.equal_gaps([betas], seed=s, learning_rate=r, **options) for r in rates for s in range(2)]
        return rates, np.reshape(gaps, (5, -1)).mean(axis=1)

    def proxy_angles(self, direction: Array) -> tuple[Array, Array]:
        """1 − β₂, and the angles between the limits at those β₂ and `direction`."""
        rest = np.array([0.05, 0.01, 1e-3, 1e-4])
        limits = [psa.adam_limit(self.X, betas=(0.9, 1 - r)).direction for r in rest]
        return rest, 2 * np.arcsin(np.sqrt(gap(limits, [direction] * 4) / 2))

    def proxy_errors(self, size: Callable[[Array], Array] = root_of_squares) -> tuple[Array, Array]:
        """1 − β₂, and the error of Proposition 4.1 as the number of epochs tends to infinity, in the largest coordinate."""
        rest = np.array([0.1, 0.05, 1e-2, 1e-3, 1e-4, 1e-5])
        errors = []
        for r in rest:
            c = psa.adam_limit(self.X, betas=(0.9, 1 - r)).dual
            step = np.sqrt((1 - (1 - r) ** 10) / r) * (c @ self.X) / size(c[:, None] * self.X)
            errors.append(np.abs(step - epoch_displacement(self.X, c[None], (0.9, 1 - r))[0]).max())
        return rest, np.array(errors)

    @kept
    def survey(self) -> Array:
        """Largest distance between the fixed points from four starts, on random problems of four families."""
        rng, spreads = np.random.default_rng(self.seed), []
        while len(spreads) < self.num_instances:
            shape, family = (int(rng.integers(3, 21)), int(rng.integers(2, 61))), rng.integers(4)
            X = rng.standard_t(2, shape) if family == 1 else rng.standard_normal(shape) + 0.5 * (family == 2)
            X = X * (rng.lognormal(size=shape[1]) if family == 3 else 1.0)
            try:
                geometry.l2_max_margin(X)
            except geometry.NotSeparableError:
                continue
            duals = [psa.adam_fixed_point(X, start=s).dual for s in (None, *rng.dirichlet(np.ones(len(X)), 3))]
            spreads.append(max(np.abs(c - duals[0]).sum() for c in duals))
        return np.array(spreads)

    @kept
    def signum(self) -> dict[tuple[float, int], float]:
        """l-infinity margin of Signum over the best one, by momentum and batch size."""
        found = {}
        for beta, size in [(b, 1) for b in SIGNUM_BETAS] + [(b, size) for b in (0.0, 0.99) for size in SIZES[1:]]:
            steps = max(2 * self.num_steps, 800_000) // (1 if beta >= 0.99 else 4)  # larger steps arrive sooner
            run = psa.signum(self.X, num_steps=steps, beta=beta, batch_size=size, learning_rate=min(0.1, 1 - beta))
            found[beta, size] = linf_ratio(self.X, run.increment())
        return found

    @kept
    def epsilon(self) -> tuple[Array, Array]:
        """Cosine of full-batch Adam's iterate to the l-infinity direction, and its least margin; one row an ε."""
        steps = [100, 1000, 10_000, 100_000]
        runs = [at(psa.adam(self.X, num_steps=10**5, batch_size=10, eps=e, record=steps), steps) for e in EPS]
        return np.array([geometry.cosine(w, self.linf[0]) for w in runs]), np.array([(w @ self.X.T).min(axis=-1) for w in runs])

    @kept
    def many(self) -> dict[float, float]:
        """One minus the cosine between the limit at a β₂ and AdamProxy's, for many samples."""
        X = gaussian(self.seed, 100, 300)
        limits = {b: psa.adam_limit(X, betas=(0.9, b)).direction for b in (0.95, 0.999, 1 - 1e-9)}
        return {b: geometry.misalignment(w, psa.adam_fixed_point(X).direction) for b, w in limits.items()}

    def powers(self, directions: list[Array]) -> Array:
        """Power of the step size with which one-sample Adam closes in on directions of the images' weights.

        Step sizes 0.4 and 0.2, so large because the transient must be over: a sample that nearly belongs to the support
        loses its share like exp(−δτ), with a small δ.
        """
        gaps = [gap(self.image_increments[r], directions) for r in (0.4, 0.2)]
        return np.log2(gaps[0] / gaps[1])

    def ends(self, spread: float) -> Array:
        """How many runs from normal starts end nearer to each of the two fixed points."""
        starts = spread * np.random.default_rng(self.seed).standard_normal((self.num_starts, 3))
        limits = [c @ TRIANGLE / root_of_squares(c[:, None] * TRIANGLE) for c in self.two_points]
        runs = [psa.adam(TRIANGLE, num_steps=200_000, betas=(0.9, 0.999), w0=w).increment() for w in starts]
        return np.bincount([int(np.argmin(gap([run] * 2, limits))) for run in runs], minlength=2)

# -- the statements ---------------------------------------------------------------------------------------------------

statements = Statements("per_sample_adam")
statement = statements.statement

C1 = statement("C1", "With one sample a step, Adam leaves the $\\ell_\\infty$ direction on Gaussian data, whatever the order.", "Figure 1",
    source="paper", saw="in 30 runs the cosine to $\\hat w_2$ exceeds the one to $\\hat w_\\infty$ (differences {a}); it never reaches one: {b}")

@C1.check("a", at_least=0.0, shape=(30,), basis="statement", why="the sign of a difference, in every run")
def nearer_to_l2(study):
    """Cosine of the increment to the ℓ2 direction less the one to the ℓ∞ direction; ten data sets, three orders"""
    return gap(study.late, study.linf * 3) - gap(study.late, study.l2 * 3)
nearer_to_l2.control("the square of the summed gradient in v")(
    lambda study: np.tile(gap(study.square_of_the_sum, study.linf) - gap(study.square_of_the_sum, study.l2), 3))

@C1.check("b", at_most=0.99, shape=(30,), basis="statement", why="near is not equal: an angle of 8 degrees or more remains")
def not_quite_l2(study):
    """Cosine of the increment to the ℓ2 direction; ten data sets, three orders"""
    return 1 - gap(study.late, study.l2 * 3)
not_quite_l2.control("the division by √v left out")(lambda study: np.tile(1 - gap(study.descent, study.l2), 3))

C2 = statement("C2", "With full batches Adam takes sign steps, where the gradient is not small beside the step size.", "Proposition 2.5",
    source="paper", saw="the median coordinate's distance to a sign falls like $t$ to the power {a}; distance times gradient, at worst, to the power {b} (the step size: $-0.8$)")

@C2.check("a", at_most=-0.6, basis="statement", why="nearly as fast as the step size, t^-0.8, or faster")
def median_distance(study):
    """Log-log slope in t of the median over coordinates of |m/√v − sign ∇L|, a = 0.8"""
    return slope(study.signs[10][0], np.median(study.signs[10][1], axis=1))
median_distance.control("one sample a step")(lambda study: slope(study.signs[1][0], np.median(study.signs[1][1], axis=1)))

@C2.check("b", slope=-0.8, within=0.1, basis="exact", why="a Taylor step: |m/√v − sign ∇L| · |∇L| / L is of the order of the step size")
def distance_times_gradient(study, batch_size=10):
    """Largest coordinate of |m/√v − sign ∇L| · |∇L| / L against t"""
    times, distances, gradients = study.signs[batch_size]
    return times, (distances * gradients).max(axis=1)
distance_times_gradient.control("one sample a step")(lambda study: distance_times_gradient.measure(study, 1))

C3 = statement("C3", "An epoch of one-sample Adam follows a recurrence in the epoch's first gradients, up to an error that vanishes.",
    "Proposition 2.5", source="paper", saw="the error falls like the epoch number to the power {a} for $a = 0.5$, {b} for $a = 0.8$")

@C3.check("a", slope=-0.5, within=0.05, basis="exact", why="a Taylor step: the error is of the order of the step size; betas (0.5, 0.9)")
def recurrence_error(study):
    """Largest coordinate of the error of an epoch's displacement against the epoch's number, a = 0.5"""
    return study.recurrence[0.5]
recurrence_error.control("ages counted from the oldest gradient")(lambda study: study.epoch_errors((0.5, 0.9), 0.5, newest_first=False))

@C3.check("b", slope=-0.8, within=0.05, basis="exact", why="a Taylor step: the error is of the order of the step size; betas (0.9, 0.95)")
def faster_recurrence_error(study):
    """The same for a = 0.8"""
    return study.recurrence[0.8]
faster_recurrence_error.control("the correction for the geometric series of β₁ left out")(lambda study: study.epoch_errors(BETAS, 0.8, factor=1 - 0.9**10))

C4 = statement("C4",
    "Where all coordinates of a sample have the same size, one-sample Adam goes to $\\hat w_2$ exactly; so it does in new orders, here at betas (0.5, 0.5).",
    "Corollary 3.2, Theorem 3.3", source="paper", saw="$1-\\cos$ is {a} for three data sets, four pairs of betas; with new orders at betas (0.5, 0.5) it vanishes like $T$ to the power {b} and $\\eta_0$ to the power {c}; for drawn samples it is {d}")

@C4.check("a", at_most=1e-9, shape=(12,), basis="statement", why="a limit, seen late; what remains is of the order of (η/τ)²")
def equal_sizes_to_l2(study):
    """One minus the cosine of the increment to the ℓ2 direction, fixed order; four pairs of betas, three data sets"""
    return study.equal_gaps(PAIRS, num_steps=max(study.num_steps, 10**6))
equal_sizes_to_l2.control("all ten samples in one batch")(lambda study: study.equal_gaps(PAIRS, batch_size=10))

NOISE = "margins pull a random walk of steps η_T back: its variance over τ² is η_T/τ² ∝ T^-1.5/η₀; few random orders"

@C4.check("b", slope=-1.5, within=0.25, basis="exact", why=NOISE)
def shuffled_by_steps(study):
    """Mean of the same for a new order in every epoch, against the number of steps T; betas (0.5, 0.5), three data sets, four seeds"""
    return study.shuffled_by_steps(order="reshuffled", betas=SHORT)
shuffled_by_steps.control("all ten samples in one batch")(lambda study: study.shuffled_by_steps(batch_size=10))

@C4.check("c", slope=-1.0, within=0.25, basis="exact", why=NOISE)
def shuffled_by_rate(study):
    """The same against the step size η₀; three data sets, two seeds"""
    return study.shuffled_by_rate(order="reshuffled", betas=SHORT)
shuffled_by_rate.control("all ten samples in one batch")(lambda study: study.shuffled_by_rate(batch_size=10, num_steps=20_000))

@C4.check("d", at_most=1e-5, shape=(12,), basis="statement", why="a limit; the noise of drawn samples remains")
def drawn_to_l2(study):
    """One minus the cosine of the increment to the ℓ2 direction, samples drawn with replacement"""
    return study.equal_gaps(PAIRS, order="replacement")
drawn_to_l2.control("ten drawn samples summed before they are squared")(lambda study: study.equal_gaps(PAIRS, order="replacement", batch_size=10, num_steps=100_000))

C5 = statement("C5", "As $\\beta_2 \\to 1$, one-sample Adam becomes AdamProxy.", "Proposition 4.1", source="paper",
    saw="the error of an epoch's displacement, at late epochs, is proportional to $1-\\beta_2$ to the power {a}; the angle of the limits to the power {b}")

@C5.check("a", slope=1.0, within=0.05, basis="exact", why="the first Taylor term of β₂ʲ")
def proxy_error(study):
    """Largest error of AdamProxy's displacement as the epochs tend to infinity, against 1 − β₂ = 0.1 … 10⁻⁵"""
    return study.proxy_errors()
proxy_error.control("absolute values summed in place of squares")(lambda study: study.proxy_errors(sum_of_sizes))

@C5.check("b", slope=1.0, within=0.05, basis="exact", why="the first Taylor term of β₂ʲ")
def angle_to_the_proxy(study):
    """Angle between the limits at β₂ = 0.95 … 0.9999 and AdamProxy's, against 1 − β₂"""
    return study.proxy_angles(study.points[0])
angle_to_the_proxy.control("absolute values summed in place of squares")(lambda study: study.proxy_angles(fixed_point(study.X, sum_of_sizes)))

C6 = statement("C6", "AdamProxy drives the loss to zero.", "Proposition 4.3", source="paper",
    saw="$\\log L$ falls linearly in $\\tau = \\sum_t \\eta_t$, at {a} times the rate that the fixed point predicts")

@C6.check("a", approx=1.0, within=1e-3, basis="exact", why="the common gain of margin at the fixed point; the transient, over τ, remains")
def loss_rate(study):
    """Rate at which log L falls between 10⁴ and 10⁶ steps, over the least gain of margin at the fixed point"""
    return rate_of(study, psa.adam_proxy(study.X, num_steps=10**6, record=[10**4]))
loss_rate.control("the division by the root of the squares left out")(
    lambda study: rate_of(study, psa.gradient_descent(study.X, num_steps=10**5, record=[10**4], decay=0.5)))

def rate_of(study, run):
    ends = np.array([10**4, run.steps[-1]])
    fall = -np.diff(geometry.log_loss(study.X, at(run, ends))) / np.diff(elapsed(ends))
    return float(fall[0] / (study.X @ study.points[0]).min())

C7 = statement("C7", "AdamProxy ends in a direction $\\hat w_c$ whose weights are their own dual, $c = T(c)$.", "Theorem 4.8, Algorithm 3",
    source="paper", saw="$1-\\cos$ is {a} on ten data sets, {b} for one-sample Adam at $\\beta_2 = 0.999$; four starts of $T$ end within {c}")

@C7.check("a", at_most=1e-6, shape=(10,), basis="statement", why="a limit, seen after 100 000 steps")
def proxy_to_the_fixed_point(study):
    """One minus the cosine between AdamProxy's increment and the fixed point, ten data sets"""
    return gap(study.proxies, study.points)
proxy_to_the_fixed_point.control("absolute values summed in place of squares")(lambda study: gap(study.proxies, [fixed_point(X, sum_of_sizes) for X in study.sets]))

@C7.check("b", at_most=1e-7, basis="statement", why="a limit; an angle of the order of 1 − β₂ and the squared step size remain")
def adam_to_the_fixed_point(study):
    """The same for one-sample Adam at β₂ = 0.999, first data set"""
    return geometry.misalignment(study.slow_memory, study.points[0])
adam_to_the_fixed_point.control("absolute values summed in place of squares")(
    lambda study: geometry.misalignment(study.slow_memory, fixed_point(study.X, sum_of_sizes)))

@C7.check("c", at_most=1e-9, basis="statement", why="one point from every start, to the tolerance of the iteration over its rate")
def survey(study):
    """Largest distance between the fixed points that four starts reach, on random separable problems"""
    return study.survey.max()
survey.control("entries of few sizes, where there are two fixed points")(lambda study: np.abs(np.subtract(*study.two_points)).sum())

C8 = statement("C8",
    "The norm is Euclidean where all coordinates of a sample have one size; on shifted-diagonal data the limit is $\\hat w_\\infty$.",
    "Section 4 (wording reconstructed)", source="paper", saw="$1-\\cos$ of the fixed points {a} and {b}; a run arrives to {c}")

@C8.check("a", at_most=1e-12, shape=(3,), basis="exact", why="M(c) is a multiple of the identity: rounding remains")
def equal_sizes_fixed_point(study):
    """One minus the cosine between fixed point and ℓ2 direction, three data sets of equal sizes"""
    return gap([psa.adam_fixed_point(X).direction for X in study.equal], study.equal_l2)
equal_sizes_fixed_point.control("uniform shares, not those of the dual problem")(
    lambda study: gap([X.sum(axis=0) / root_of_squares(X) for X in study.equal], study.equal_l2))

@C8.check("b", at_most=1e-12, basis="exact", why="the optimality conditions hold at c = e₁ in closed form: rounding remains")
def diagonal_fixed_point(study):
    """One minus the cosine between (1, …, 1) and the fixed point that the first corner starts from"""
    return geometry.misalignment(psa.adam_fixed_point(DIAGONAL, start=np.eye(10)[0]).direction, np.ones(10))
diagonal_fixed_point.control("uniform shares, not those of the dual problem")(
    lambda study: geometry.misalignment(DIAGONAL.sum(axis=0) / root_of_squares(DIAGONAL), np.ones(10)))

@C8.check("c", at_most=1e-3, basis="statement", why="a limit that iterates approach like 1/τ², seen after 10⁶ steps")
def diagonal_run(study):
    """One minus the cosine between (1, …, 1) and one-sample Adam's weights"""
    return geometry.misalignment(psa.adam(DIAGONAL, num_steps=10**6).weights[-1], np.ones(10))
diagonal_run.control("the division by √v left out")(lambda study: geometry.misalignment(psa.gradient_descent(DIAGONAL, num_steps=100_000).weights[-1], np.ones(10)))

C9 = statement("C9", "Signum keeps the $\\ell_\\infty$ bias at every batch size, once its memory is long enough.", "Theorem 5.1",
    source="paper", saw="one sample a step attains of the best margin: {a}; at $\\beta = 0.99$ batches of 1, 2, 5, 10 attain {b}")

@C9.check("a", order=tuple(f"β = {b:g}" for b in SIGNUM_BETAS), basis="statement", why="grows towards the limit 1")
def signum_order(study):
    """Share of the best ℓ∞ margin that Signum attains with one sample a step, fixed order"""
    study.needs(10**6)
    return {f"β = {b:g}": study.signum[b, 1] for b in SIGNUM_BETAS}
signum_order.control("the sign of each gradient, then the average")(lambda study: {f"β = {b:g}": study.signum[0.0, 1] for b in SIGNUM_BETAS})

@C9.check("b", at_least=0.998, shape=(4,), basis="statement", why="within any δ of the best for β near 1; here δ = 0.002")
def signum_margin(study):
    """The same at β = 0.99 for batches of 1, 2, 5 and 10"""
    return [study.signum[0.99, size] for size in SIZES]
signum_margin.control("the sign of each gradient, then the average")(lambda study: [study.signum[0.0, size] for size in SIZES])

C10 = statement("C10",
    "Batches lead from the one limit to the other; with half of the samples a step Adam is still far from $\\hat w_\\infty$.", "Figure 6",
    source="paper", saw="cosine to $\\hat w_\\infty$ by batch size: {a}")

@C10.check("a", order=tuple(f"b = {b}" for b in SIZES), within=0.005, basis="statement", why="neighbours differ by more than the noise of a run")
def batch_order(study):
    """Cosine of the increment to the ℓ∞ direction, fixed order"""
    return {f"b = {b}": geometry.cosine(w, study.linf[0]) for b, w in study.by_batch_size["cyclic"].items()}
@batch_order.control("the division by √v left out")
def _(study):
    runs = {b: psa.gradient_descent(study.X, num_steps=100_000, batch_size=b) for b in SIZES}
    return {f"b = {b}": geometry.cosine(run.increment(), study.linf[0]) for b, run in runs.items()}

@C10.check("b", at_most=0.9, shape=(6,), basis="statement", why="far: an angle of 25 degrees or more; at most half of the samples a step")
def half_batches(study):
    """The same for batches of 1, 2 and 5, fixed order and new orders"""
    return [geometry.cosine(ends[b], study.linf[0]) for ends in study.by_batch_size.values() for b in SIZES[:3]]
half_batches.control("the square of the full gradient in v")(lambda study: [geometry.cosine(study.full_batch[0].increment(), study.linf[0])] * 6)

C11 = statement("C11",
    "As long as $\\beta_1 \\le \\beta_2$, the limit on such data does not depend on the betas; outside nothing is promised.",
    "Theorem 3.3", source="paper", saw="between betas (0.5, 0.9) and four other pairs $1-\\cos$ is {a}; at betas (0.95, 0.5) a run explodes to {b} in 100 steps, smaller steps do not ({c})")

@C11.check("a", at_most=1e-9, shape=(12,), basis="statement", why="a limit, seen late; what remains is of the order of (η/τ)²")
def other_betas(study):
    """One minus the cosine between increments at betas (0.5, 0.9) and at (0.9, 0.9), (0.95, 0.95), (0.3, 0.99), (0.95, 0.999); three data sets"""
    one, *others = (study.increments(study.equal, betas=b, num_steps=max(study.num_steps, 10**6)) for b in ((0.5, 0.9), *OTHERS))
    return np.concatenate([gap(other, one) for other in others])
@other_betas.control("the sign of the momentum in place of m/√v")
def _(study):
    one, *others = ([psa.signum(X, num_steps=10**5, beta=b).increment() for X in study.equal] for b in (0.5, *(b for b, _ in OTHERS)))
    return np.concatenate([gap(other, one) for other in others])

@C11.check("b", at_least=1e6, basis="statement", why="an explosion, by orders of magnitude")
def explosion(study):
    """Largest weight after 100 steps at betas (0.95, 0.5), η₀ = 0.1, a = 0.5"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the one that says that updates are unbounded
        return np.abs(psa.adam(study.equal[0], num_steps=100, betas=OUTSIDE).weights[-1]).max()
explosion.control("v that never falls (AMSGrad)")(lambda study: np.abs(wrong_adam(study.equal[0], 100, OUTSIDE, lambda g, t: g[t % 10], top=True)).max())

@C11.check("c", at_most=1e-6, shape=(2,), basis="statement", why="a limit; (η/τ)² remains")
def no_explosion(study):
    """One minus the cosine of the increment to the ℓ2 direction at the same betas, for η₀ = 0.01 and for a = 0.8"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ways = ({"learning_rate": 0.01}, {"decay": 0.8})
        runs = [psa.adam(study.equal[0], num_steps=10**6, betas=OUTSIDE, **way).increment() for way in ways]
    return gap(runs, study.equal_l2[:1] * 2)
@no_explosion.control("the sign of the momentum in place of m/√v")
def _(study):
    runs = [psa.signum(study.equal[0], num_steps=10**5, beta=0.95, learning_rate=r, decay=a) for r, a in ((0.01, 0.5), (0.1, 0.8))]
    return gap([run.increment() for run in runs], study.equal_l2[:1] * 2)

C12 = statement("C12",
    "With full batches Adam goes to $\\hat w_\\infty$ if $\\varepsilon = 0$, and loses that bias for any other $\\varepsilon$.",
    "Zhang et al. 2024; Wang et al. 2021", source="prior", saw="$1-\\cos$ is {a} without $\\varepsilon$; after 100 000 steps the cosines are {c}")

@C12.check("a", at_most=5e-4, shape=(10,), basis="statement", why="a limit, seen late")
def full_batch_to_linf(study):
    """One minus the cosine between the increment of full-batch Adam and the ℓ∞ direction, ten data sets"""
    return gap([run.increment() for run in study.full_batch], study.linf)
full_batch_to_linf.control("ε = 10⁻⁸ in the denominator")(lambda study: gap(study.increments(study.sets, batch_size=10, eps=1e-8), study.linf))

@C12.check("b", at_least=0.999, shape=(5,), basis="statement", why="a limit, seen after 100 000 steps at betas (0.9, 0.95); at (0.9, 0.999) it comes later")
def full_batch_margins(study):
    """Share of the best ℓ∞ margin that the increment attains: three data sets of equal sizes, digits, clothes"""
    return [linf_ratio(X, study.adam(X, num_steps=100_000, batch_size=len(X)).increment()) for X in (*study.equal, *study.images)]
full_batch_margins.control("one sample a step")(lambda study: [linf_ratio(X, study.adam(X, num_steps=100_000).increment()) for X in (*study.equal, *study.images)])

@C12.check("c", order=("ε = 0.01", "ε = 0.0001", "ε = 1e-08", "ε = 0"), within=0.01, basis="statement", why="the sooner ε counts, the more is lost")
def epsilon_order(study):
    """Cosine of the weights to the ℓ∞ direction after 100 000 steps with full batches"""
    return {f"ε = {e:g}": row[-1] for e, row in zip(EPS, study.epsilon[0], strict=True)}
epsilon_order.control("the denominator without ε")(lambda study: {f"ε = {e:g}": study.epsilon[0][0, -1] for e in EPS})

@C12.check("d", approx=18.4, within=5.0, shape=(3,), basis="exact", why="exp(−z) = ε at z = 18.4; sums of ten and steps after that add less than 5")
def epsilon_stall(study):
    """Least margin after 10³, 10⁴ and 10⁵ steps with ε = 10⁻⁸, where it stalls"""
    return study.epsilon[1][1, 1:]
epsilon_stall.control("the denominator without ε")(lambda study: study.epsilon[1][0, 1:])

D1 = statement("D1", "At any betas and batches that stay together, the limit has equal gains of margin under the epoch's recurrence.",
    "derived here", source="ours", saw="$1-\\cos$ is {a} for three pairs of betas, {b} for batches of 2 and 5; on images it vanishes like the step size to the power {c}. AdamProxy misses this limit by {d} where $\\beta_2^N$ is small (100 samples, $\\beta_2 = 0.95$)")

@D1.check("a", at_most=1e-7, shape=(3,), basis="statement", why="a limit, seen after 10⁶ steps; the squared step size remains")
def finite_betas(study):
    """One minus the cosine between the increment and the predicted limit; betas (0.9, 0.95), (0, 0.5), (0.5, 0.9)"""
    return gap(study.finite, [psa.adam_limit(study.X, betas=b).direction for b in FINITE])
finite_betas.control("all ages alike, as in AdamProxy")(lambda study: gap(study.finite, [study.points[0]] * 3))

@D1.check("b", at_most=7.5e-9, shape=(2,), basis="statement", why="what single samples leave at this β₂; batches leave fewer steps an epoch")
def blocks(study):
    """One minus the cosine between the increment and the fixed point for batches of 2 and 5, β₂ = 0.999"""
    return gap(study.blocks, [psa.adam_fixed_point(study.X, batch_size=b).direction for b in (2, 5)])
blocks.control("squares of single gradients, though batches hold several")(lambda study: gap(study.blocks, [study.points[0]] * 2))

@D1.check("c", approx=2.0, within=0.1, shape=(2,), basis="exact", why="the next order in the step size; steps 0.4 and 0.2, so that the transient is over")
def image_powers(study):
    """Power of the step size with which 1 − cos to the predicted limit vanishes: digits, clothes"""
    study.needs(10**6)
    return study.powers([psa.adam_limit(X, betas=BETAS).direction for X in study.images])
image_powers.control("all ages alike, as in AdamProxy")(lambda study: study.powers([psa.adam_fixed_point(X).direction for X in study.images]))

@D1.check("d", at_least=1e-3, basis="statement", why="more than 2.5 degrees")
def many_samples(study):
    """One minus the cosine between AdamProxy's limit and the one at β₂ = 0.95, for many samples"""
    return study.many[0.95]
many_samples.control("a memory without end")(lambda study: study.many[1 - 1e-9])

D2 = statement("D2", "There can be two limits, and the start decides: three shifted-diagonal samples.", "derived here", source="ours",
    saw="$T$ moves both points by {a}; {b} runs from random starts reach the rarer one")

def moved(points):
    images = [geometry.mahalanobis_max_margin(TRIANGLE, root_of_squares(c[:, None] * TRIANGLE)).dual for c in points]
    return [np.abs(image - c).sum() for image, c in zip(images, points, strict=True)]

@D2.check("a", at_most=1e-9, shape=(2,), basis="statement", why="fixed points; the tolerance of the iteration remains")
def both_fixed(study):
    """Distance ‖T(c) − c‖₁ at the two points"""
    return moved(study.two_points)
@both_fixed.control("mixtures of the two points")
def _(study):
    first, second = study.two_points
    return moved([0.9 * first + 0.1 * second, 0.5 * first + 0.5 * second])

@D2.check("b", at_least=1, basis="statement", why="a count")
def both_reached(study):
    """Runs from random starts that end at the rarer point, β₂ = 0.999"""
    return study.ends(3.0).min()
both_reached.control("starts at the origin")(lambda study: study.ends(0.0).min())

D3 = statement("D3", "On the exponential loss AdamProxy is multiplicative weights: shares follow the replicator equation.", "derived here",
    source="ours", saw="after 5000 steps the shares differ by {a}")

def shares_beside_replicator(study, loss, num_steps=5000):
    z = study.X @ psa.adam_proxy(study.X, num_steps=num_steps, learning_rate=0.01, decay=0.0, loss=loss).weights[-1]
    shares = np.exp(z.min() - z) / np.exp(z.min() - z).sum()
    return np.abs(shares - replicator(study.X, num_steps=num_steps, learning_rate=0.01)).max()

@D3.check("a", at_most=1e-11, basis="exact", why="an identity; the rounding of 5000 steps remains")
def replicator_identity(study):
    """Largest difference between the shares of AdamProxy's gradients and multiplicative weights"""
    return shares_beside_replicator(study, "exponential")
replicator_identity.control("the slopes of the logistic loss")(lambda study: shares_beside_replicator(study, "logistic", num_steps=100))

D4 = statement("D4", "Whatever the exponent $a < 1$ of the step size, the angle to the limit falls like $1/\\tau$.", "derived here", source="ours",
    saw="$1-\\cos$ falls like $\\tau$ to the power {a} for $a = 0.5$ and $0.8$; for $a = 0.3$ the increment is within {b}")

def powers_of_time(study, against=elapsed):
    """Power of the time with which gaps fall once its origin is fitted: gaps**-0.5 is a straight line in the time."""
    ends, powers = np.unique(np.geomspace(study.num_steps // 10, study.num_steps, 50).astype(int) // 10 * 10), []
    for a in (0.5, 0.8):
        runs = [psa.adam(X, num_steps=ends[-1], decay=a, record=ends) for X in study.equal]
        gaps, time = [geometry.misalignment(r.weights, w) for r, w in zip(runs, study.equal_l2, strict=True)], against(ends, decay=a)
        powers.append([slope(time + np.divide(*np.polyfit(time, g**-0.5, 1)[::-1]), g) for g in gaps])
    return powers

@D4.check("a", approx=-2.0, within=0.01, shape=(2, 3), basis="exact", why="w = v(τ + s) + const: terms beyond the fitted s are of relative order 1/τ²")
def power_of_time(study):
    """Power of τ with which 1 − cos(w, ŵ₂) falls over the last decade, origin fitted; a = 0.5 and 0.8, three data sets"""
    return powers_of_time(study)
power_of_time.control("the number of steps in place of τ")(lambda study: powers_of_time(study, against=lambda steps, decay: steps.astype(float)))

@D4.check("b", at_most=1e-6, shape=(3,), basis="statement", why="a limit; (η/τ)² remains")
def small_exponent(study):
    """One minus the cosine of the increment to the ℓ2 direction for a = 0.3, three data sets"""
    return study.equal_gaps(decay=0.3)
small_exponent.control("all ten samples in one batch")(lambda study: study.equal_gaps(decay=0.3, batch_size=10))

D5 = statement("D5", "With the exponent $a = 1$ the limit is the same.", "derived here", source="ours",
    saw="$\\tau$ grows like $\\ln T$: it is 13 after a million steps, too little to tell")

@D5.check("a", at_most=1e-6, shape=(3,), basis="statement", why="a limit, as for the other exponents")
def largest_exponent(study):
    """One minus the cosine of the increment to the ℓ2 direction for a = 1, η₀ = 1, three data sets"""
    study.needs(10**8, ": τ is 13 after a million")
    return study.equal_gaps(decay=1.0, learning_rate=1.0)
largest_exponent.control("all ten samples in one batch")(lambda study: study.equal_gaps(decay=1.0, learning_rate=1.0, batch_size=10))
