"""Experiments behind the lesson robust_memorization, and the statements of its paper."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard
from scipy.spatial.distance import pdist
from scipy.special import gammaln
from torch import Tensor, nn
from torch.nn import functional

from descentlab.claims import Statements
from descentlab.robust_memorization.bounds import lp_factor, upper_bound
from descentlab.robust_memorization.lattices import lookup_layers
from descentlab.robust_memorization.lifts import plan_lift
from descentlab.robust_memorization.memorizer import Memorizer, memorize
from descentlab.robust_memorization.parts import Words, best_group_size, floor_key, floor_network
from descentlab.robust_memorization.points import Array, as_points, lattice_translation, smallest_projection
from descentlab.robust_memorization.registers import Layer, Program, count, empty_linear, evaluate, from_torch
from descentlab.robust_memorization.verification import (
    LineReport,
    attack_nullspace,
    ball_segments,
    certify,
    check_lines,
    foe_directions,
    interval_bounds,
)

# -- What the paper states and what was derived here, as claims to be measured ----------------------------------------

_ROUNDING = "rounding"
_EXACT = "proved, rounding included"

# fmt: off
statements = Statements("robust_memorization")


C1 = statements.statement(
    "C1", r"Memorizing and its radius do not depend on the scale of the data; parameters are counted with zeros.", "Section 2", source="paper",
)
C1.in_cells(
    "a", r"Scale does not matter: built for $c\,D$, the network is right on random points of the balls, for $c = 10^{-6}, 1, 10^6$ (largest $|f - y|$)",
    "Section 2 (scale invariance)", "at most", 1e-6, 0.0,
    "the paper asks for equality; rounding", basis="statement", control="one network for $c = 1$ on all three data sets",
)
C1.in_cells(
    "b", r"and has the same number of parameters, $\sum_\ell (d_{\ell-1} + 1)\,d_\ell$ with zeros counted: difference from the formula",
    "Section 2 (parameter count)", "approx", (0, 0, 0), 0.0,
    "a count", basis="exact", control="non-zero entries only",
)

C2 = statements.statement(
    "C2", r"The bounds on the number of parameters against the robustness ratio, with their exponents and breaks.", "Theorem 4.2, Propositions 3.2 and 3.3, Figures 1 and 8", source="paper",
)
C2.in_cells(
    "a", r"Paper's upper bound with $d = N$, $\rho = N^{-a}$: exponents of $N$ at $a = 2, 1, \tfrac14$",
    "Theorem 4.2, Figure 1", "approx", (0.5, 0.75, 2.0), 1e-9,
    _ROUNDING, basis="exact", control="the earlier upper bound",
)
C2.in_cells(
    "b", r"First term of the lower bound, $(\rho^2\min\{N, d\} + 1)d$: exponents at $a = 2, 1, \tfrac14$",
    "Proposition 3.2, Figure 1", "approx", (1.0, 1.0, 1.5), 1e-9,
    _ROUNDING, basis="exact", control="the VC term",
)
C2.in_cells(
    "c", r"The lift: exponents at $a = \tfrac12, \tfrac14, \tfrac18$, namely $2 - 2a$",
    "ours", "approx", (1.0, 1.5, 1.75), 1e-9,
    _ROUNDING, basis="exact", control="the paper's upper bound",
)
C2.in_cells(
    "d", r"At its two breaks the upper bound is continuous up to constants: ratio of right to left limit, $1/\sqrt5$ and $\sqrt5/625$, at any size",
    "Theorem 4.2", "approx", (1 / math.sqrt(5), math.sqrt(5) / 625), 1e-6,
    _ROUNDING, basis="exact", control="the earlier upper bound at its own breaks",
)
C2.in_cells(
    "e", r"Counting non-zero parameters only, $d = \sqrt N$: exponents at $a = 0.1$ of the upper bound, $\tfrac32 - 2a$, and the lower, $\tfrac12$",
    "Theorems E.1, E.2, Figure 8", "approx", (1.3, 0.5), 1e-9,
    _ROUNDING, basis="exact", control="all parameters counted",
)

C3 = statements.statement(
    "C3", r"The first hidden layer of a robust network is at least $\rho^2 \min\{N - 1, d\}$ wide.", "Proposition 3.2, Figure 2", source="paper",
)
C3.in_cells(
    "a", r"For any first layer, some unit vector shrinks to $\sqrt{m/d}$ or less under the projector onto its rows: ratio, random matrices",
    "Lemma A.1", "at most", 1.0, 1e-12,
    _ROUNDING, basis="statement", control="the longest image instead of the shortest",
)
C3.in_cells(
    "b", r"with equality for rows of a Hadamard matrix",
    "Lemma A.1", "approx", 1.0, 1e-12,
    _ROUNDING, basis="exact", control="random rows",
)
C3.in_cells(
    "c", r"A trained network whose first layer is narrower than $\rho^2 \min\{N-1, d\}$ is broken in closed form: $|f(x) - f(x')|$ for $x, x'$ in balls of different labels, for $N - 1 = d$ and $N - 1 > d$",
    "Proposition 3.2, Figure 2", "at most", 1e-9, 0.0,
    _ROUNDING, basis="statement", control="the same two balls, without the projector",
)
C3.in_cells(
    "d", r"the points are nearer to their centres than $\tfrac12\sqrt{m/d}$ ($d = 64$, $m = 15$), which is less than $\mu = \tfrac14$",
    "Proposition 3.2", "at most", 0.5 * math.sqrt(15 / 64), 1e-12,
    _ROUNDING, basis="statement", control="a first layer of full width",
)
C3.in_cells(
    "e", r"The width is tight: the lift on $m$ Hadamard rows is robust for $\rho = 0.99\sqrt{m/d}$ (share of balls proved; six pairs $d, m$)",
    "ours", "at least", 1.0, 0.0,
    _EXACT, basis="statement", control="balls larger by 3 %",
)
C3.in_cells(
    "f", r"and no network with that first layer is for $\rho > \sqrt{m/d}$: of the six, broken at $\rho = 1.01\sqrt{m/d}$",
    "Proposition 3.2", "approx", 6, 0.0,
    "a count", basis="exact", control=r"$\rho = 0.99\sqrt{m/d}$",
)

C4 = statements.statement(
    "C4", r"A robust network reads back any signs: $\lfloor N/2\rfloor \lfloor 1/(1-\rho^2)\rfloor$ points are shattered.", "Proposition 3.3, Figure 5", source="paper",
)
C4.in_cells(
    "a", r"The shattered data have $\varepsilon_D = \sqrt k$, $k = \lfloor 1/(1-\rho^2)\rfloor$ (ratio, three cases)",
    "Proposition 3.3, Figure 5", "approx", (1.0, 1.0, 1.0), 1e-12,
    _ROUNDING, basis="exact", control="nearest points of any label",
)
C4.in_cells(
    "b", r"and each point is $\sqrt{k-1} \le \mu$ from the centre of its own label (largest excess over $\mu$)",
    "Proposition 3.3", "at most", 0.0, 1e-12,
    _ROUNDING, basis="statement", control="from the other centre",
)
C4.in_cells(
    "c", r"A robust network therefore reads back any signs: right ones of 32, 8 and 15, in the worst pattern",
    "Proposition 3.3", "approx", (32, 8, 15), 0.0,
    r"a count, $\lfloor N/2\rfloor k$", basis="exact", control="labels of the centres permuted",
)

C5 = statements.statement(
    "C5", r"For small $\rho$ a network of about $\sqrt N$ parameters is right on all balls.", "Theorem 4.2(i)", source="paper",
)
C5.in_cells(
    "a", r"Small $\rho = 1/(5N\sqrt d)$: intervals prove $f = y$ on all balls (largest distance of either bound from the label)",
    "Theorem 4.2(i)", "at most", 0.0, 0.0,
    "nested ReLUs saturate exactly", basis="statement", control="balls eight times as large",
)
C5.in_cells(
    "b", r"Parameters of the first of them, $N = 48$, $d = m = 16$, by hat functions",
    "ours", "approx", 9038, 0.0,
    "closed form with 144 kinks and 4 bits, and an independent implementation", basis="second", control="non-zero entries only",
)
C5.in_cells(
    "c", r"Bit extraction: log-log slope of parameters in the number of keys, 1024 to 16384",
    "Theorem 4.2(i), after Vardi et al. 2021", "at most", 0.6, 0.0,
    r"$\sqrt{N \log N}$ has slope 0.54 there", basis="statement", control="hat functions",
)
C5.in_cells(
    "d", r"$P / \sqrt{N \log_2 N}$ is constant from 64 to 16384 keys: largest over smallest, minus one",
    "ours", "at most", 0.1, 0.0,
    r"rounding of the group size; a few layers that do not grow", basis="statement", control=r"$P/\sqrt N$",
)
C5.in_cells(
    "e", r"It needs fewer parameters than hat functions, $9N + 1$, from $N \approx 1000$: first power of two",
    "ours", "approx", 1024, 512,
    r"$86\sqrt{N \log_2 N} = 9N$ at $N \approx 900$; one power of two", basis="second", control="three lookups in place of one",
)
C5.in_cells(
    "f", r"1024 keys are all right, and 100 other integers give 0, in exact integers (errors)",
    "Theorem 4.2(i)", "at most", 0.0, 0.0,
    "integers", basis="statement", control="the same network in float64",
)
C5.in_cells(
    "g", r"Its width is constant: largest over all sizes",
    "Theorem B.1", "at most", 7, 0.0,
    "a count", basis="statement", control="hat functions",
)
C5.in_cells(
    "h", r"and its depth grows like $\sqrt{N \log N}$: log-log slope in $N$",
    "Theorem B.1", "at most", 0.6, 0.0,
    "as for the parameters", basis="statement", control="one group a key",
)
C5.in_cells(
    "i", r"The first network of C5a is not robust on balls eight times as large: largest error on lines",
    "ours", "at least", 0.9, 0.0,
    "labels are integers, and a wrong cell gives a wrong one", basis="statement", control="balls of the right size",
)

C6 = statements.statement(
    "C6", r"Parameters can be traded for bits: few bits a weight cost parameters.", "Remark B.2, Theorem B.1", source="paper",
)
C6.in_cells(
    "a", r"Bits a weight against parameters, 1024 keys: ranking of the group sizes by parameters",
    "ours", "order", ("4", "8", "2", "16", "1", "32"), 0.0,
    "an independent implementation's", basis="second", control="a quarter of the keys",
)
C6.in_cells(
    "b", r"Few bits cost parameters: log-log slope in the group size, 1 to 4, of 16384 keys",
    "Remark B.2", "slope", -1.0, 0.15,
    r"$20 N/k$ and a smaller term", basis="exact", control="group sizes 64 to 256",
)
C6.in_cells(
    "c", r"and too many do too: slope from 64 to 256",
    "ours", "slope", 1.0, 0.15,
    r"$k (42 B + 56 c + 98)$ and a smaller term", basis="exact", control="group sizes 1 to 4",
)
C6.in_cells(
    "d", r"float64 holds words of up to 52 bits, two entries at 1024 keys (44 bits): wrong outputs",
    "ours", "at most", 0.0, 0.0,
    "a count", basis="statement", control="four entries a word (88 bits)",
)
C6.in_cells(
    "e", r"In float64 a step is a difference of two ramps as long as the word, times the word, so words of $26 = 52/2$ bits are safe: wrong outputs with one entry (22 bits)",
    "ours", "at most", 0.0, 0.0,
    "products below $2^{53}$ are exact", basis="statement", control="two entries a word (44 bits)",
)

C7 = statements.statement(
    "C7", r"For moderate $\rho$ a network errs on a small share of each ball, as small as its ramps are narrow.", "Theorem 4.2(ii), Lemma B.11", source="paper",
)
C7.in_cells(
    "a", r"Moderate $\rho$, the paper's network: wrong samples, 1000 a ball, for three ramps (share)",
    "Theorem 4.2(ii)", "at most", 0.0, 1e-6,
    r"the error is bounded by $\eta$, which the ramp makes small", basis="statement", control="labels permuted",
)
C7.in_cells(
    "b", r"Yet it is not robust: largest error on lines, for three ramps",
    "ours", "at least", 0.9, 0.0,
    "a slit passes through another label", basis="statement", control="with the guard",
)
C7.in_cells(
    "c", r"The slits are as wide as the ramp: share of a lattice line, for ramps of 0.05 and 0.02 margins over that for 0.1 (median over lines)",
    "Lemma B.11", "approx", (0.5, 0.2), 0.01,
    "5 % of the smaller ratio", basis="statement", control="the same ramp three times",
)

C8 = statements.statement(
    "C8", r"With a guard around each cell the network for moderate $\rho$ errs nowhere.", "ours", source="ours",
)
C8.in_cells(
    "a", r"With the guard every ball is proved: balls that are not",
    "ours", "at most", 0.0, 0.0,
    _EXACT, basis="exact", control="without the guard",
)
C8.in_cells(
    "b", r"and more than 300 lines through the balls find nothing: largest error",
    "ours", "at most", 0.0, 0.0,
    "equality", basis="exact", control="without the guard",
)

C9 = statements.statement(
    "C9", r"For moderate $\rho$ the number of parameters grows like $\sqrt\rho$.", "Theorem 4.2(ii)", source="paper",
)
C9.in_cells(
    "a", r"Moderate $\rho$ with bit extraction, by formula: log-log slope of parameters in $\rho$ where groups are huge",
    "Theorem 4.2(ii)", "slope", 0.5, 0.05,
    r"$\sqrt{\log}$ of the group size", basis="statement", control="hat functions",
)
C9.in_cells(
    "b", r"With its real constants it beats the lift only beyond a million points: fewest for which it does, $d = m = 8$, middle of the regime",
    "ours", "at least", 1e6, 0.0,
    "an order of magnitude, from an independent count", basis="second", control="without the floors and carried registers",
)

C10 = statements.statement(
    "C10", r"For large $\rho$ there are networks that are right on all balls, with $N m^2$ parameters.", "Theorem 4.2(iii)", source="paper",
)
C10.in_cells(
    "a", r"Large $\rho$: the lift is proved on every ball at $\rho = 0.3, 0.5, 0.9, 0.999$, and so is the sequential network at the first three (balls that are not)",
    "Theorem 4.2(iii); the lift is derived", "at most", 0.0, 0.0,
    _EXACT, basis="exact", control="one level of squares too few",
)
C10.in_cells(
    "b", r"Largest error on lines through the balls of the same networks",
    "Theorem 4.2(iii)", "at most", 1e-6, 0.0,
    _ROUNDING, basis="statement", control="one level of squares too few",
)
C10.in_cells(
    "c", r"Levels of the squares at $\rho = 0.3, 0.9, 0.999$, $N = 60$, $d = 20$",
    "ours", "approx", (4, 6, 9), 1,
    "an independent implementation on other data", basis="second", control="one point far away",
)
C10.in_cells(
    "d", r"One level more for each factor 4 of $1/(1-\rho)$: from $1 - 4^{-2}$ to $1 - 4^{-8}$",
    "ours", "approx", 6, 1,
    r"$T = \lceil \tfrac12 \log_2 \frac{1}{1-\rho} + \ldots \rceil$", basis="exact", control="levels for the centres alone",
)
C10.in_cells(
    "e", r"Sequential network: log-log slope of parameters in $m$",
    "Theorem 4.2(iii) (rate $N m^2$)", "slope", 2.0, 0.15,
    "lower powers, and the levels", basis="statement", control="the lift, of 600 points",
)
C10.in_cells(
    "f", r"and in $N$",
    "Theorem 4.2(iii)", "slope", 1.0, 0.05,
    "the first layer", basis="statement", control="the lift",
)
C10.in_cells(
    "g", r"The lift: slope in $N$ at the same $m$",
    "ours", "at most", 1.0, 0.0,
    r"$m^2 \log + N(m + 2)$", basis="statement", control="the sequential network",
)
C10.in_cells(
    "h", r"Sequential over lift, $N = 96$, $d = 32$, four classes, $\rho = 0.9$",
    "ours", "approx", 119, 25,
    "an independent implementation on other data; layouts differ", basis="second", control=r"$N = 24$, $d = 8$",
)

C11 = statements.statement(
    "C11", r"For $N = d$ the lift meets the lower bound $\rho^2 d^2$ up to a constant.", "ours", source="ours",
)
C11.in_cells(
    "a", r"For $N = d$ the lift meets the lower bound $\rho^2 d^2$ up to a constant: smallest and largest ratio over all sizes and radii, $\log_{10}$",
    "ours", "approx", (1.5, 1.5), 0.5,
    "between 10 and 100; an independent implementation has 26 to 62", basis="second", control="the sequential network",
)
C11.in_cells(
    "b", r"without a trend in $d$: median ratio at the largest over that at the smallest size, $\log_2$",
    "ours", "approx", 0.0, 1.0,
    "a factor of two, for logarithms", basis="second", control="the sequential network",
)

C12 = statements.statement(
    "C12", r"Random projections keep lengths up to a constant.", "Lemma B.18, Figure 3", source="paper",
)
C12.in_cells(
    "a", r"Random projections of 50 points from 512 dimensions to 64 and 128: smallest length ratio over $\sqrt{m/d}$",
    "Lemma B.18", "at least", 5 / 12, 0.0,
    "the constant of Lemma B.20", basis="statement", control="four dimensions",
)
C12.in_cells(
    "b", r"Their spread falls like $\sqrt{(1 - m/d)/2m}$: standard deviation at 64 over that at 128",
    "Lemma B.18, Figure 3", "approx", math.sqrt(7 / 3), 0.2,
    "50 points", basis="exact", control="the same dimension twice",
)

C13 = statements.statement(
    "C13", r"A lattice keeps away from all points, the floor network is exact off its ramps, and slabs hold little of a ball.", "Lemmas B.11, B.12, B.15, B.16, Figures 4 and 7", source="paper",
)
C13.in_cells(
    "a", r"The lattice stays $1/2N$ away from every point: largest gap, times $N$, on random points",
    "Lemma B.15", "at least", 1.0, 1e-9,
    _ROUNDING, basis="statement", control="the smallest gap",
)
C13.in_cells(
    "b", r"with equality for equispaced points",
    "Lemma B.15", "approx", 1.0, 1e-9,
    _ROUNDING, basis="exact", control="random points",
)
C13.in_cells(
    "c", r"The paper's floor is exact off its ramps: error for 5 bits, $\gamma = 1/16$",
    "Lemma B.16, Figure 7", "at most", 1e-11, 0.0,
    r"slope $2^n/\gamma$ times $2^{n}$ times rounding", basis="statement", control="a ramp ten times too narrow for the points",
)
C13.in_cells(
    "d", r"but not in float64: $\log_{10}$ of its error at $(n, \gamma) = (10, 10^{-3}), (10, 10^{-6})$, away from the ramps by $10^{-3}$",
    "ours", "approx", (-7.4, -4.7), 1.0,
    "an order of magnitude; an independent implementation", basis="second", control="the float-safe floor",
)
C13.in_cells(
    "e", r"and at $(12, 10^{-6})$ it fails by a whole unit, next to the ramps, where the lemma promises equality (error)",
    "ours", "approx", 1.0, 0.1,
    "an independent implementation", basis="second", control="the float-safe floor",
)
C13.in_cells(
    "f", r"The float-safe floor is exact there, and at $(16, 10^{-6})$: error",
    "ours", "at most", 0.0, 0.0,
    "equality", basis="exact", control="the paper's floor",
)
C13.in_cells(
    "g", r"A slab of relative thickness $\eta$ holds at most a fraction $2\eta V_{d-1}/V_d$ of a ball: fraction over bound, $d = 2, 8, 32$",
    "Lemmas B.11, B.12, Figure 4", "at most", 1.0, 0.02,
    "200,000 samples", basis="statement", control=r"without the factor 2",
)

C14 = statements.statement(
    "C14", r"The results carry over to $\ell_p$ balls with the factor $\gamma_p(d) = d^{|1/p - 1/2|}$.", "Theorems C.5, C.11", source="paper",
)
C14.in_cells(
    "a", r"Networks for $\gamma_p\rho = 0.95$ serve $\ell_p$ balls of ratio $\rho$, $p = 1, 2, \infty$: largest error on corners and lines",
    "Theorem C.11", "at most", 1e-6, 0.0,
    _ROUNDING, basis="statement", control="balls so large that those of foes overlap",
)
C14.in_cells(
    "b", r"In $\ell_\infty$ any kernel passes within $\tfrac12$ of a unit vector, so $\rho > \tfrac12$ needs full width: largest distance, random first layers",
    "Theorem C.5", "at most", 0.5, 1e-12,
    "closed form", basis="statement", control=r"$\ell_2$ distances",
)

C15 = statements.statement(
    "C15", r"On a hundred images the lift is proved for every ball, with few dimensions where the balls are small.", "ours", source="ours",
)
C15.in_cells(
    "a", r"100 images: the separation $\varepsilon_D$",
    "ours", "approx", 2.0449, 1e-4,
    "an independent implementation", basis="second", control="labels permuted",
)
C15.in_cells(
    "b", r"The lift is proved on every ball at $\rho = 0.1, 0.3, 0.6, 0.9$ (balls that are not)",
    "ours", "at most", 0.0, 0.0,
    _EXACT, basis="exact", control="balls of radius 1.03 separations",
)
C15.in_cells(
    "c", r"with few random dimensions",
    "ours", "approx", (6, 20, 40, 100), 4,
    "an independent implementation, other random rows", basis="second", control="no projection",
)
C15.in_cells(
    "d", r"and fewer principal directions",
    "ours", "approx", (6, 10, 38, 95), 1,
    "deterministic; an independent implementation", basis="second", control="the directions of least variance",
)

C16 = statements.statement(
    "C16", r"Awkward data sets are memorized as well.", "ours", source="ours",
)
C16.in_cells(
    "", r"Nine awkward data sets, from integer lattices to coordinates of $10^{\pm6}$, at $\rho = 0.9$: balls not proved",
    "ours", "at most", 0.0, 0.0,
    _EXACT, basis="exact", control="balls of radius 1.03 separations",
)

D1 = statements.statement(
    "D1", r"Plain intervals prove networks for small $\rho$ and fail on the lift.", "ours", source="ours",
)
D1.in_cells(
    "", r"Plain intervals prove all balls of a small-radius network and none of a lift: share of balls",
    "ours", "approx", (1.0, 0.0), 0.0,
    "they lose the correlation of inner product and square", basis="statement", control="balls eight times as large",
)

D2 = statements.statement(
    "D2", r"A hundred digits are memorized with a proof at every ratio.", "ours", source="ours",
)
D2.in_cells(
    "", r"The first 100 digits: the lift is proved at $\rho = 0.1, 0.3, 0.6, 0.9$ (balls that are not)",
    "ours", "at most", 0.0, 0.0,
    _EXACT, basis="exact", control="balls of radius 1.03 separations",
)

D3 = statements.statement(
    "D3", r"Generic verifiers fall short on the lift.", "ours", source="ours",
)
D3.in_cells(
    "", r"Generic verifiers fall short on a lift: largest share of its balls that linear bounds prove, plain, by the released auto_LiRPA, and optimised by it (recorded)",
    "ours", "at most", 47 / 48, 0.0,
    "one ball of 48 at least is left unproved", basis="statement", control="the construction's own proof",
)

D4 = statements.statement(
    "D4", r"Networks of the lift's size that are trained adversarially do not reach its certificates.", "ours", source="ours",
)
D4.in_cells(
    "", r"A classifier of the lift's size, trained adversarially on the digits at $\rho = 0.3, 0.6, 0.9$: share of the balls that intervals prove",
    "ours", "at most", 0.99, 0.0,
    "a certified network has all of them", basis="statement", control="the lift",
)
# fmt: on


# -- Data sets: random, extreme, awkward, and images ------------------------------------------------------------------

Labels = NDArray[np.int64]


def gaussian_data(num: int, dim: int, num_classes: int = 3, seed: int = 0) -> tuple[Array, Labels]:
    """Standard normal points, shape (num, dim), with random labels 1, …, `num_classes`, each of which occurs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, num_classes + 1, num)
    labels[:num_classes] = np.arange(1, num_classes + 1)
    return rng.standard_normal((num, dim)), labels


def scattered_data(num: int, num_classes: int = 3, seed: int = 0) -> tuple[Array, Labels]:
    """Points of the unit square that avoid each other, shape (num, 2): each the best of 20 random candidates."""
    rng = np.random.default_rng(seed)
    X = rng.random((1, 2))
    while len(X) < num:
        candidates = rng.random((20, 2))
        nearest = np.linalg.norm(candidates[:, None] - X, axis=2).min(axis=1)
        X = np.vstack([X, candidates[nearest.argmax()]])
    return X, rng.permutation(np.resize(np.arange(1, num_classes + 1), num))


def simplex_data(dim: int, num_extra: int = 0) -> tuple[Array, Labels]:
    r"""The unit vectors, label 2, and zero, label 1: the data of Proposition 3.2; extra points 2e₁, 3e₁, … of label 2."""
    extra = np.zeros((num_extra, dim))
    extra[:, 0] = np.arange(2, num_extra + 2)
    X = np.vstack([np.eye(dim), extra, np.zeros((1, dim))])
    return X, np.array([2] * (dim + num_extra) + [1])


@dataclass(frozen=True, eq=False)
class Shattering:
    """The data of Proposition 3.3: centres whose labels are decided by signs, and points that read the signs back."""

    X: Array
    y: Labels
    points: Array
    signs: Labels


def shattering_data(num: int, dim: int, rho: float, *, seed: int = 0) -> Shattering:
    r"""Centres :math:`c_l \pm \sum_j s_j e_j` with labels 2 and 1, and the points :math:`c_l + e_j`, for random signs."""
    size = int(1 / (1 - rho**2) + 1e-10)
    if size > dim:
        raise ValueError(f"rho={rho!r} must be at most sqrt(1 - 1/dim) = {math.sqrt(1 - 1 / dim):.6g}")
    groups = num // 2
    signs = np.random.default_rng(seed).choice([-1, 1], (groups, size))
    base = np.zeros((groups, dim))
    base[:, 0] = 2 * dim**2 * np.arange(groups)
    step = np.zeros((groups, dim))
    step[:, :size] = signs
    points = (base[:, None, :] + np.eye(dim)[:size]).reshape(-1, dim)
    return Shattering(
        np.vstack([base + step, base - step]), np.repeat([2, 1], groups), points, signs.reshape(-1).astype(np.int64)
    )


def nearest_own_centre(case: Shattering, *, other: bool = False) -> Array:
    """Distance of each point to the centre that has the label it reads, or to the `other` of its group."""
    groups, size = len(case.X) // 2, len(case.points) // (len(case.X) // 2)
    own = case.signs if not other else -case.signs
    rows = np.repeat(np.arange(groups), size) + np.where(own > 0, 0, groups)
    return np.asarray(np.linalg.norm(case.points - case.X[rows], axis=1))


def random_keys(num: int, *, seed: int = 0) -> dict[int, int]:
    """Different integers below num², with random labels 1 and 2."""
    rng = np.random.default_rng(seed)
    keys: set[int] = set()
    while len(keys) < num:
        keys.update(rng.integers(0, num**2, num - len(keys)).tolist())
    return dict(zip(sorted(keys), rng.integers(1, 3, num).tolist(), strict=True))


def edge_cases(seed: int = 0) -> dict[str, tuple[Array, Labels]]:
    """Data sets that break careless constructions, by name."""
    rng = np.random.default_rng(seed)
    lattice = np.array(list(product(range(3), repeat=3)), dtype=float)
    blobs = np.repeat(10 * rng.standard_normal((4, 5)), 8, axis=0) + 0.1 * rng.standard_normal((32, 5))
    X, y = gaussian_data(30, 6, seed=seed)
    return {
        "integer lattice, parity": (lattice, lattice.sum(axis=1).astype(int) % 2),
        "overlapping balls of one label": (blobs, np.repeat([1, 2, 1, 2], 8)),
        "far from the origin": (X + 1e4, y),
        "tiny": (1e-6 * X, y),
        "huge": (1e6 * X, y),
        "alternating on a line": (np.outer(np.arange(20.0), rng.standard_normal(4)), np.arange(20) % 2),
        "two points": (X[:2], np.array([-7, 40])),
        "one against many": (X, np.where(np.arange(30) == 7, 5, 0)),
        "unit vectors against zero": simplex_data(16),
    }


def image_points(images: Array, labels: Labels, num: int) -> tuple[Array, Labels]:
    """The first images as points, mean removed, rotated to the span of their differences and of their mean."""
    X = images[:num].reshape(num, -1).astype(float)
    X = X - X.mean()
    left, sizes, _ = np.linalg.svd(X, full_matrices=False)
    kept = sizes > 1e-10 * sizes[0]
    return np.asarray(left[:, kept] * sizes[kept]), np.asarray(labels[:num], dtype=np.int64)


# -- The experiments as pure functions: no printing, no plotting ------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    small_sizes : tuple of (int, int)
        Points and dimensions of the small-radius networks.
    key_exponents : tuple of int
        Powers of two: numbers of keys that are memorized by bit extraction.
    num_samples : int
        Random points a ball, in the sampling that finds nothing.
    num_matrices : int
        Random first layers that are attacked.
    num_patterns : int
        Sign patterns that are read back.
    match_sizes : tuple of int
        Sizes N = d at which the lift is compared with the lower bound.
    sequential_sizes : tuple of int
        Dimensions, and numbers of points over three, of the sequential networks.
    num_images : int
    num_steps : int
        Of the training of ordinary networks, which are then attacked.
    long_keys : int
        Keys whose lookup is built for several lengths of the words.
    slider : tuple of float
        Radii over separation that the slider offers.
    """

    small_sizes: tuple[tuple[int, int], ...]
    key_exponents: tuple[int, ...]
    num_samples: int
    num_matrices: int
    num_patterns: int
    match_sizes: tuple[int, ...]
    sequential_sizes: tuple[int, ...]
    num_images: int
    num_steps: int
    long_keys: int
    slider: tuple[float, ...]


SMOKE = Config(((48, 16),), (6, 8, 10), 50, 10, 2, (32,), (8, 16), 40, 100, 4096, (0.3, 0.9))
BOOK = Config(
    ((48, 16), (64, 32), (256, 64)), tuple(range(6, 15)), 1000, 100, 10, (32, 64, 128), (8, 16, 32), 100, 500, 16384,
    (0.1, 0.3, 0.5, 0.7, 0.9, 0.97),
)  # fmt: skip
FULL = Config(
    ((48, 16), (64, 32), (256, 64), (1024, 64)), tuple(range(6, 17)), 10_000, 1000, 100, (32, 64, 128, 256), (8, 16, 32, 64),
    1000, 500, 16384, (0.1, 0.3, 0.5, 0.7, 0.9, 0.97),
)  # fmt: skip


# First-layer width (Proposition 3.2) --------------------------------------------------------------------------------


def shortest_images(matrices: Sequence[Array]) -> Array:
    r""":math:`\min_j \lVert\Pi e_j\rVert` over :math:`\sqrt{m/d}` for each matrix, with the projector onto its rows."""
    shortest = []
    for W in matrices:
        q, _ = np.linalg.qr(W.T)
        shortest.append(np.sqrt((q**2).sum(axis=1)).min() / math.sqrt(q.shape[1] / q.shape[0]))
    return np.array(shortest)


def hadamard_rows(num: int, dim: int) -> Array:
    """The first rows of a Hadamard matrix, made orthonormal: they shorten all unit vectors alike."""
    return np.asarray(hadamard(dim)[:num] / math.sqrt(dim))


def tight_width_shares(pairs: Sequence[tuple[int, int]], *, stretch: float = 1.0) -> list[float]:
    r"""Share of proved balls of the lift on Hadamard rows at :math:`\rho = 0.99\sqrt{m/d}`, for pairs (d, m).

    `stretch` multiplies the radius of the balls, not of the construction.
    """
    shares = []
    for dim, width in pairs:
        X, y = simplex_data(dim)
        rho = 0.99 * math.sqrt(width / dim)
        network = memorize(X, y, rho=rho, method="lift", projection=hadamard_rows(width, dim))
        shares.append(float(certify(network, X, y, radius=stretch * network.radius).proved.mean()))
    return shares


def num_broken_widths(pairs: Sequence[tuple[int, int]], *, stretch: float) -> int:
    r"""Of the networks of `tight_width_shares`, how many the null space breaks at `stretch` times :math:`\rho = \sqrt{m/d}`."""
    broken = 0
    for dim, width in pairs:
        X, y = simplex_data(dim)
        ratio = math.sqrt(width / dim)
        network = memorize(X, y, rho=0.99 * ratio, method="lift", projection=hadamard_rows(width, dim))
        attack = attack_nullspace(network.network, X, y, radius=stretch * ratio / 2)
        broken += attack is not None and attack.gap <= 1e-9
    return broken


def train_mlp(
    X: Array, y: Labels, width: int, *, num_steps: int = 500, hidden: int = 64, seed: int = 0
) -> torch.nn.Sequential:
    """A network with three layers, fitted to the labels by Adam: mean square error, full batch."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [X.shape[1], width, hidden, 1]
    modules: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = empty_linear(fan_in, fan_out, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            linear.bias.zero_()
        modules += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*modules[:-1])
    inputs, targets = torch.as_tensor(X), torch.as_tensor(y, dtype=torch.float64)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(num_steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(inputs)[:, 0], targets).backward()
        optimizer.step()
    return network


def read_back(num: int, dim: int, rho: float, num_patterns: int, *, shuffle: bool = False) -> int:
    """Signs that the lift reads back right, in the worst of several random patterns; `shuffle` permutes the labels."""
    right = []
    for seed in range(num_patterns):
        case = shattering_data(num, dim, rho, seed=seed)
        y = np.random.default_rng(seed).permutation(case.y) if shuffle else case.y
        network = memorize(case.X, y, rho=rho, method="lift", projection=np.eye(dim))
        right.append(int((np.abs(2 * network(case.points) - 3 - case.signs) < 1e-6).sum()))
    return min(right)


# Integers (Theorem 4.2(i)) ------------------------------------------------------------------------------------------


def bit_extraction_sizes(num: int, *, group_size: int | None = None) -> tuple[int, int, int]:
    """Parameters, depth and width of the lookup of `num` random keys."""
    key_bits, label_bits = max(1, 2 * (num - 1).bit_length()), 2
    size = best_group_size(num, key_bits, label_bits) if group_size is None else group_size
    layers = lookup_layers(random_keys(num), Words(key_bits, label_bits, size))
    return count(layers), len(layers), max(len(layer.bias) for layer in layers[:-1])


def lookup_errors(num: int, *, group_size: int | None = None, exact: bool = True, num_others: int = 100) -> int:
    """Keys with a wrong value, and other integers that do not give 0, in exact integers or in float64."""
    values = random_keys(num)
    key_bits = 2 * (num - 1).bit_length()
    size = best_group_size(num, key_bits, 2) if group_size is None else group_size
    layers = lookup_layers(values, Words(key_bits, 2, size))
    others = [int(k) for k in np.random.default_rng(1).integers(0, num**2, 2 * num_others) if int(k) not in values]
    inputs = np.array([*values, *others[:num_others]], dtype=object)[:, None]
    if not exact:
        layers = [type(layer)(layer.weight.astype(float), layer.bias.astype(float)) for layer in layers]
        inputs = inputs.astype(float)
    expected = np.array([*values.values(), *[0] * num_others])
    return int((evaluate(layers, inputs)[:, 0].astype(float) != expected).sum())


# Lines through balls ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Search:
    """What lines and samples find: errors a segment, the ball each belongs to, and the share of wrong samples."""

    lines: LineReport
    owner: NDArray[np.int64]
    sampled: float

    @property
    def worst(self) -> float:
        """Largest error on any segment."""
        return float(self.lines.worst.max())

    @property
    def num_broken(self) -> int:
        """Balls in which a segment errs by 0.9 or more."""
        return len(np.unique(self.owner[self.lines.worst >= 0.9]))


def search(
    memorizer: Memorizer,
    *,
    stretch: float = 1.0,
    foes: bool = True,
    num_random: int = 2,
    num_samples: int = 0,
    seed: int = 0,
) -> Search:
    """Diameters of every ball along the first layer's rows, towards the nearest foe and at random; random samples.

    `stretch` multiplies the radius.
    """
    X, y = memorizer.points.X, memorizer.points.labels[memorizer.points.codes]
    radius, rng = stretch * memorizer.radius, np.random.default_rng(seed)
    first = memorizer.network[0]
    assert isinstance(first, torch.nn.Linear)
    rows = first.weight.detach().numpy()
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    shape = (len(X), len(rows), X.shape[1])
    ways = [np.broadcast_to(rows, shape)] + [foe_directions(X, y)[:, None]] * foes
    ways.append(rng.standard_normal((len(X), num_random, X.shape[1])))
    starts, ends, owner = ball_segments(X, radius, np.concatenate(ways, axis=1))
    report = check_lines(memorizer.network, starts, ends, y[owner])
    wrong = [np.abs(memorizer(x + uniform_ball(rng, num_samples, len(x)) * radius) - label) > 1e-3 for x, label in
             zip(X, y, strict=True)] if num_samples else [np.zeros(1, dtype=bool)]  # fmt: skip
    return Search(report, owner, float(np.mean(wrong)))


def uniform_ball(rng: np.random.Generator, num: int, dim: int) -> Array:
    """Uniform points of the unit ball, shape (num, dim)."""
    steps = rng.standard_normal((num, dim))
    return np.asarray(steps / np.linalg.norm(steps, axis=1, keepdims=True) * rng.random((num, 1)) ** (1 / dim))


def slit_ratios(networks: Sequence[Memorizer]) -> list[float]:
    """Length of the slits on lines along the lattice, over that of the first network: medians over lines slit in all.

    Of a slit at the end of a line only a part may lie in the ball, hence the median.
    """
    found = [search(n, foes=False, num_random=0).lines for n in networks]
    slit = np.all([report.worst >= 0.9 for report in found], axis=0)
    return [float(np.median(report.share[slit] / found[0].share[slit])) for report in found[1:]]


def moderate_networks(ramps: Sequence[float], *, guard: bool, seed: int = 0) -> list[Memorizer]:
    """32 points in 8 dimensions, in groups of three: the moderate network for several ramps."""
    X, y = gaussian_data(32, 8, seed=seed)
    rho = 0.3 / (5 * math.sqrt(8))
    return [
        memorize(X, y, rho=rho, method="moderate", guard=guard, projection=np.eye(8), ramp=ramp, seed=seed)
        for ramp in ramps
    ]


# Formulas -----------------------------------------------------------------------------------------------------------


def growth_exponent(bound: Callable[[float, float, float], float], power: float, *, dim_power: float = 1.0) -> float:
    r"""Exponent of `N` in ``bound(N, N**dim_power, N**-power)``, between two sizes so large that only one term counts."""
    ends = [math.log(bound(n, n**dim_power, n**-power)) for n in (1e40, 1e60)]
    return (ends[1] - ends[0]) / (math.log(1e60) - math.log(1e40))


def jumps(source: str, num: float = 1e6, dim: float = 1e6) -> list[float]:
    """Right over left limit of the upper bound at its two breaks."""
    breaks = {
        "paper": (1 / (5 * num * math.sqrt(dim)), 1 / (5 * math.sqrt(dim))),
        "prior": (dim**-0.5, dim ** (-1 / 6)),
    }
    sides = [[upper_bound(num, dim, at * (1 + s), source=source) for s in (-1e-9, 1e-9)] for at in breaks[source]]  # type: ignore[arg-type]
    return [right / left for left, right in sides]


def break_even(dim: int = 8, *, bare: bool = False) -> float:
    r"""Fewest points, in steps of a quarter decade, for which the moderate network is smaller than the lift.

    At the geometric middle of the moderate regime, where groups have :math:`\sqrt N` points. `bare` leaves out the floors
    and the registers that are carried along.
    """
    for num in 10 ** np.arange(2, 16, 0.25):
        lift = num * (dim + 2 + 2)
        if moderate_count(num, math.sqrt(num), dim, bits=True, bare=bare) < lift:
            return float(num)
    return math.inf


def moderate_count(num: float, size: float, dim: int, *, bits: bool, num_bits: int = 6, bare: bool = False) -> float:
    r"""Parameters of the guarded moderate network by formula, for numbers of points that nobody would build.

    A group of `size` points costs its floor, :math:`2n(5m+3)^2`, and its lookup: hat functions that carry m + 2
    registers along, or bit extraction, whose layers are m + 1 units wider than alone.
    """
    floor = 2 * num_bits * (5 * dim + 3) ** 2
    if not bits:
        return num / size * (floor + 3 * size * (2 * dim + 6) + 3 * (dim + 2) ** 2)
    key_bits = 2 * math.log2(max(size, 2))
    alone = 2 * math.sqrt(20 * size * (42 * key_bits + 56 * 2 + 98))
    return num / size * (alone if bare else floor + alone * (1 + (dim + 1) / 7) ** 2)


# Large radii --------------------------------------------------------------------------------------------------------


def levels_needed(X: Array, y: Labels, rhos: Sequence[float]) -> list[int]:
    """Levels `T` of the lift without a projection, by radius."""
    points = as_points(X, y)
    return [plan_lift(points, rho * points.separation, np.eye(X.shape[1])).levels for rho in rhos]


def size_by_dimension(dims: Sequence[int], *, method: Any, num: int = 24, rho: float = 0.9) -> list[int]:
    """Parameters for Gaussian data of growing dimension, without a projection."""
    return [memorize(*gaussian_data(num, d), rho=rho, method=method, projection=np.eye(d)).num_parameters for d in dims]


def size_by_number(nums: Sequence[int], *, method: Any, dim: int = 16, rho: float = 0.9) -> list[int]:
    """Parameters for more and more points of the same data, all subsets holding the nearest pair of foes.

    So all have the same separation, and a third of their points in each of three classes.
    """
    X, _ = gaussian_data(max(nums), dim)
    y = np.resize([1, 2, 3], len(X))
    i, j = sorted(as_points(X, y).nearest)
    order = [i, j, *(k for k in range(len(X)) if k not in (i, j))]
    X, y = X[order], y[order]
    return [memorize(X[:num], y[:num], rho=rho, method=method, projection=np.eye(dim)).num_parameters for num in nums]


def match_ratios(
    sizes: Sequence[int], rhos: Sequence[float], *, count_with: Callable[[Any], int] | None = None
) -> Array:
    r"""The lift's parameters over :math:`\rho^2 d^2` on Gaussian data with N = d, shape (len(sizes), len(rhos))."""
    ratios = np.empty((len(sizes), len(rhos)))
    for row, size in enumerate(sizes):
        points = as_points(*gaussian_data(size, size))
        for column, rho in enumerate(rhos):
            radius = rho * points.separation
            Q = smallest_projection(points, radius / 0.95, np.random.default_rng(0))
            plan = plan_lift(points, radius, Q)
            ratios[row, column] = (plan.count() if count_with is None else count_with(plan)) / (rho * size) ** 2
    return ratios


# Images -------------------------------------------------------------------------------------------------------------


def principal_projection(X: Array, y: Labels, rho: float) -> Array:
    """The fewest principal directions that keep enough of the separation, shape (m, d)."""
    points = as_points(X, y)
    rows = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2]
    for size in range(1, len(rows)):
        if as_points(X @ rows[:size].T, y).separation > rho * points.separation / 0.95:
            return np.asarray(rows[:size])
    return np.asarray(rows)


def bound_curves(num: float, dim: float, rhos: Array) -> dict[str, Array]:
    """Upper bounds by source, at each radius."""
    return {s: np.array([upper_bound(num, dim, r, source=s) for r in rhos]) for s in ("paper", "prior", "lift")}  # type: ignore[arg-type]


# -- What others make of the same task: generic verifiers on our networks, and networks that are trained to be robust ---

# Generic verifiers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opinion:
    """What a verifier says of one network, and in which time.

    Attributes
    ----------
    proved : int
        Balls on which it encloses the output within 1e-6 of the label.
    seconds : float
        Of one core, for all balls.
    """

    proved: int
    seconds: float


@dataclass(frozen=True)
class Opinions:
    """Recorded opinions of several verifiers on one network.

    Attributes
    ----------
    num_balls, num_parameters, depth : int
    by_verifier : mapping of str to Opinion
    """

    num_balls: int
    num_parameters: int
    depth: int
    by_verifier: Mapping[str, Opinion]

    def share(self, verifier: str) -> float:
        """Share of the balls that `verifier` proves."""
        return self.by_verifier[verifier].proved / self.num_balls


def recorded_opinions(path: str | Path = "cpu/robust_memorization_verifiers.json") -> dict[str, Opinions]:
    """Opinions by network, as the benchmarks recorded them; empty where there is no record."""
    if not Path(path).exists():
        return {}
    stored = json.loads(Path(path).read_text(encoding="utf-8"))["networks"]
    return {
        name: Opinions(
            entry["balls"],
            entry["parameters"],
            entry["depth"],
            {tool: Opinion(said["proved"], said["seconds"]) for tool, said in entry["verifiers"].items()},
        )
        for name, entry in stored.items()
    }


# Training for robustness ---------------------------------------------------------------------------------------------


def mlp_width(dim: int, num_classes: int, num_parameters: int) -> int:
    """Width of two equal hidden layers with which a classifier has about `num_parameters`, and not fewer."""
    linear = dim + 2 + num_classes
    return max(1, math.ceil((math.sqrt(linear**2 + 4 * max(0, num_parameters - num_classes)) - linear) / 2))


def train_adversarially(
    X: Array,
    y: Labels,
    *,
    radius: float,
    num_parameters: int,
    num_steps: int = 400,
    attack_steps: int = 7,
    seed: int = 0,
) -> nn.Sequential:
    """A classifier with two hidden layers, trained on the worst points that projected gradients find in each ball.

    Adam on the cross-entropy of all points at once; it stops early once the attack of training
    finds no error in any ball.

    Parameters
    ----------
    X : array, shape (N, d)
    y : array of int, shape (N,)
    radius : float
        Of the Euclidean balls.
    num_parameters : int
        At least so many weights and biases, by choice of the width.
    num_steps, attack_steps : int
    seed : int

    Returns
    -------
    Sequential
        With one output a class, in the order of the labels.
    """
    points = as_points(X, y)
    generator = torch.Generator().manual_seed(seed)
    width = mlp_width(points.X.shape[1], len(points.labels), num_parameters)
    sizes = (points.X.shape[1], width, width, len(points.labels))
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = empty_linear(fan_in, fan_out, dtype=torch.float32)
        with torch.no_grad():
            linear.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
            linear.bias.zero_()
        modules += [linear, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    scale = float(np.abs(points.X - points.X.mean(axis=0)).max())  # inputs of order one, whatever the units
    with torch.no_grad():
        modules[0].weight.div_(scale)  # type: ignore[operator, union-attr]
    inputs, targets = torch.as_tensor(points.X, dtype=torch.float32), torch.as_tensor(points.codes)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(num_steps):
        worst = _ascend(network, inputs, targets, radius, attack_steps, generator)
        optimizer.zero_grad()
        outputs = network(worst)
        functional.cross_entropy(outputs, targets).backward()
        optimizer.step()
        if bool((outputs.argmax(dim=1) == targets).all()) and _found_nothing(
            network, inputs, targets, radius, generator
        ):
            break
    return network


def share_withstanding(
    network: nn.Module, X: Array, y: Labels, *, radius: float, attack_steps: int = 50, restarts: int = 2, seed: int = 0
) -> float:
    """Share of the balls in which projected gradients find no point of the wrong class.

    An upper bound on the share of balls on which a classifier is right: what is found is wrong, while finding nothing
    proves nothing.
    """
    points = as_points(X, y)
    inputs, targets = torch.as_tensor(points.X, dtype=torch.float32), torch.as_tensor(points.codes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        right = network(inputs).argmax(dim=1) == targets
    for _ in range(restarts):
        found = _ascend(network, inputs, targets, radius, attack_steps, generator)
        with torch.no_grad():
            right &= network(found).argmax(dim=1) == targets
    return float(right.double().mean())


def share_enclosed(network: nn.Module, X: Array, y: Labels, *, radius: float) -> float:
    """Share of the balls on which plain intervals prove that the output of the right class is the largest."""
    points = as_points(X, y)
    *hidden, last = from_torch(network)
    proved = np.zeros(len(points.X), dtype=bool)
    for code in range(len(points.labels)):
        own = points.codes == code
        others = [k for k in range(len(points.labels)) if k != code]
        leads = [
            interval_bounds(
                [*hidden, Layer(last.weight[[code]] - last.weight[[k]], last.bias[[code]] - last.bias[[k]])],
                points.X[own],
                radius,
            )[0]
            for k in others
        ]
        proved[own] = np.min(leads, axis=0) > 0
    return float(proved.mean())


def _found_nothing(network: nn.Module, X: Tensor, targets: Tensor, radius: float, generator: torch.Generator) -> bool:
    found = _ascend(network, X, targets, radius, 20, generator)
    with torch.no_grad():
        return bool((network(found).argmax(dim=1) == targets).all())


def _ascend(
    network: nn.Module, X: Tensor, targets: Tensor, radius: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Projected normalized gradient ascent on the loss, from random points of the balls."""
    noise = torch.randn(X.shape, generator=generator)
    shift = radius * noise / noise.norm(dim=1, keepdim=True) * torch.rand(len(X), 1, generator=generator)
    for _ in range(steps):
        shift.requires_grad_()
        loss = functional.cross_entropy(network(X + shift), targets, reduction="sum")
        (slope,) = torch.autograd.grad(loss, shift)
        shift = shift.detach() + 2.5 * radius / steps * functional.normalize(slope, dim=1)
        shift *= (radius / shift.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
    return X + shift


# -- The lemmas behind the constructions, and other norms, checked: pure functions, no printing, no plotting ----------

# Lemmas -------------------------------------------------------------------------------------------------------------


def length_ratios(num: int, dim: int, kept: int, *, seed: int = 0) -> Array:
    r"""Projected over original distances, over :math:`\sqrt{m/d}`, of Gaussian points under a random projection."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((num, dim))
    q, _ = np.linalg.qr(rng.standard_normal((dim, kept)))
    return np.asarray(pdist(X @ q) / pdist(X) / math.sqrt(kept / dim))


def lattice_gaps(Z: Array) -> Array:
    """Largest gaps between fractional parts, times the number of points: at least 1."""
    return len(Z) * lattice_translation(Z)[1]


def floor_errors(
    num_bits: int, ramp: float, *, safe: bool, margin: float = 0.001, num: int = 2000, seed: int = 0
) -> float:
    """Largest error of the paper's or the float-safe floor on points whose fractional part exceeds ramp and margin."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 2**num_bits, num)
    start = ramp + margin
    x = (whole + start + (1 - 2e-3 - start) * np.concatenate([rng.random(num - num // 2), np.zeros(num // 2)]))[:, None]
    if safe:
        program = Program(1)
        (z,) = program.relu(program.units)
        layers = program.finish(floor_key(program, z, num_bits=num_bits, ramp=ramp, weights=[1])[0])
    else:
        layers = floor_network(num_bits, ramp)
    return float(np.abs(evaluate(layers, x) - np.floor(x)).max())


def ball_volume_ratio(dim: int) -> float:
    r""":math:`V_d / V_{d-1} = \sqrt\pi\,\Gamma((d+1)/2)/\Gamma(d/2 + 1)`."""
    return math.sqrt(math.pi) * math.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2 + 1))


def slab_fractions(dims: Sequence[int], width: float, *, num: int = 200_000, seed: int = 0) -> Array:
    """Fraction of a ball within a central slab, `width` being its thickness over the diameter, by sampling."""
    rng = np.random.default_rng(seed)
    return np.array([np.mean(np.abs(uniform_ball(rng, num, d)[:, 0]) < width) for d in dims])


# Other norms --------------------------------------------------------------------------------------------------------


def lp_errors(p: float, *, num: int = 40, dim: int = 6, stretch: float = 1.0) -> float:
    r"""Largest error on the corners and diameters of the :math:`\ell_p` balls of a network built for :math:`\gamma_p\rho = 0.95`."""
    X, y = gaussian_data(num, dim)
    points = as_points(X, y, norm=p)
    network = memorize(X, y, rho=0.95, method="lift", projection=np.eye(dim))
    radius = stretch * 0.95 / lp_factor(dim, p) * points.separation
    corners = (
        np.array(list(product([-1.0, 1.0], repeat=dim))) if p == np.inf else np.vstack([np.eye(dim), -np.eye(dim)])
    )
    if p == 2:
        corners = uniform_ball(np.random.default_rng(0), 64, dim)
        corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    towards = foe_directions(X, y)
    order = np.inf if p == np.inf else p
    towards /= np.linalg.norm(towards, ord=order, axis=1, keepdims=True)
    steps = (
        radius
        * (1 - 1e-9)
        * np.concatenate([np.broadcast_to(corners, (num, *corners.shape)), towards[:, None]], axis=1)
    )
    owner = np.repeat(np.arange(num), steps.shape[1])
    flat = steps.reshape(-1, dim)
    return float(check_lines(network.network, X[owner] - flat, X[owner] + flat, y[owner]).worst.max())


def kernel_distances(num_matrices: int, dim: int, *, norm: float = np.inf, seed: int = 0) -> Array:
    r"""Distance from the nearest unit vector to the kernel of a random matrix with d − 1 rows, in :math:`\ell_\infty` or :math:`\ell_2`."""
    rng = np.random.default_rng(seed)
    nearest = []
    for _ in range(num_matrices):
        v = np.linalg.svd(rng.standard_normal((dim - 1, dim)))[2][-1]
        if norm == 2:
            nearest.append(math.sqrt(1 - (v**2).max()))
            continue
        j = int(np.argmax(np.abs(v)))
        others = np.delete(np.abs(v), j).max() / abs(v[j])
        nearest.append(others / (1 + others))  # |1 - t| = t · others
    return np.array(nearest)
