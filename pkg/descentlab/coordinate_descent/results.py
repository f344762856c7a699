"""The declared claims: what the paper, earlier work and our own derivations say, before anything is measured."""

from __future__ import annotations

import math

from descentlab.claims import Claim

_PRINTED = "digits of an independent implementation"
_ROUNDING = "rounding"

CLAIMS = (
    Claim(
        "C1a", r"On $\sigma I + (1-\sigma) 11^\top$ a 2×2 matrix gives the rate of all $n!$ orders, $n = 2 … 6$: largest difference",
        "derived", "at most", 1e-12, 0.0, _ROUNDING, "one order for all epochs",
    ),
    Claim(
        "C1b", r"$\rho_P$ at $(n, \sigma) = (5, 0.05), (10, 0.1), (25, 0.3), (100, 0.5)$", "derived", "approx",
        (0.885822, 0.800224, 0.521895, 0.328889), 1e-6, _PRINTED, "coordinates drawn with replacement",
    ),
    Claim(
        "C1c", r"$B$ at the same four", "Conjecture 4.1", "approx", (0.904382, 0.817907, 0.546824, 0.366958), 1e-6, _PRINTED,
        r"only the branch $(1 - 1/n)^n$",
    ),
    Claim(
        "C1d", r"$\rho_R$ at the same four", "derived", "approx", (0.907507, 0.831066, 0.625486, 0.511508), 1e-6, _PRINTED,
        "a fresh permutation each epoch",
    ),
    Claim(
        "C2a", r"$\rho_P < B \le \rho_R$ for $n = 2 … 1000$, $\sigma = 10^{-6} … 0.99$: violations on the grid", "Main theorem", "at most",
        0.0, 0.0, "a count", "RPCD and RCD exchanged",
    ),
    Claim(
        "C2b", r"Strictly: the smallest gap $\log B - \log\rho_P$, at the corner $n = 1000$, $\sigma = 10^{-6}$, is $2\sigma/n$ (ratio)",
        "derived", "approx", 1.0, 0.001, r"next order in $\sigma$ and in $1/n$", "RCD's gap",
    ),
    Claim(
        "C2c", r"The gap is $2\sigma/n$ for small $\sigma$: least and largest ratio over $n \le 100$, $\sigma \le 10^{-3}$, $\sigma n \le 0.1$",
        "derived", "approx", (1.0005, 1.0005), 0.0015, r"next order in $\sigma n$: from 0.999 to 1.002", "RCD's gap",
    ),
    Claim(
        "C3a", r"$\rho_R \ge B$ for every matrix: smallest $\log\rho_R - \log B$ over random ones, $n = 3 … 6$", "Lower bound for RCD",
        "at least", 0.0, 1e-12, _ROUNDING, "RPCD in the place of RCD",
    ),
    Claim(
        "C3b", r"$\rho_P \le B$ on the same: largest $\log\rho_P - \log B$", "Conjecture 4.1", "at most", 0.0, 1e-12, _ROUNDING,
        "RCD in the place of RPCD",
    ),
    Claim(
        "C3c", r"Speed-up $\log\rho_P / \log\rho_R$ on the same: the smallest (1.27 in another random sample)", "derived", "at least",
        1.0, 0.0, r"follows from C3a and C3b", "the two exchanged",
    ),
    Claim(
        "C4a", r"$\rho_P$ and $\rho_R$ at $n = 1000$, $\sigma = 0.3$", "derived", "approx", (0.53804568, 0.63019), 1e-5, _PRINTED,
        r"$n = 100$",
    ),
    Claim(
        "C4b", r"Both are near their limits $(1-\sigma)/(1+\sigma)$ and $e^{-2\sigma/(1+\sigma)}$: the distances", "derived", "approx", (0.0, 0.0), 5e-4,
        r"$1/n$", "the limits exchanged",
    ),
    Claim(
        "C5", r"Simulated runs agree with the exact $E\|x_k\|^2$ at every epoch: largest distance in standard errors, three settings",
        "derived", "at most", 4.0, 0.0, "four standard errors", "runs with replacement",
    ),
    *(
        Claim(
            f"C6{part}", rf"Largest $\rho_P$ found for $n = {n}$, $\sigma = 0.05, 0.2, 0.5, 0.8$",
            "Search for counterexamples (n = 3 … 6)", "approx", values, 1e-8, _PRINTED, "the random starts, not optimised",
        )
        for part, n, values in (
            ("a", 3, (0.87340565, 0.56581310, 0.19791667, 0.03623887)),
            ("b", 4, (0.88113314, 0.58924967, 0.22675020, 0.05300981)),
            ("c", 5, (0.88582229, 0.60407810, 0.24642505, 0.06846993)),
            ("d", 6, (0.88896338, 0.61421612, 0.26028052, 0.08151874)),
        )
    ),
    Claim(
        "C6e", r"They are the rates of the permutation-invariant class, $\max_{k \le n} \rho_P(k, \sigma)$: largest difference", "Conjecture 4.1",
        "at most", 1e-8, 0.0, "tolerance of the search", "the random starts, not optimised",
    ),
    Claim(
        "C6f", r"… attained at $A = \sigma I + (1-\sigma) ss^\top$ up to signs: smallest $|C_{ij}|$ of the maximisers", "Conjecture 4.1",
        "at least", 1.0, 1e-6, "square root of the tolerance", "the random starts, not optimised",
    ),
    Claim(
        "C6g", r"None exceeds $B$: largest $\log\rho_P - \log B$ found", "Conjecture 4.1", "at most", 0.0, 0.0, "a search can refute, not prove",
        "the rate of RCD at the same matrices",
    ),
    Claim(
        "C7a", r"The largest block is not always the worst: worst $k$ for $n = 40$, $\sigma = 0.8, 0.85, 0.9$", "derived", "approx", (21, 19, 23),
        0.0, "integers", "the best block",
    ),
    Claim(
        "C7b", r"… with the rates", "derived", "approx", (0.12155, 0.10607, 0.09634), 5e-6, _PRINTED, "the full block",
    ),
    Claim(
        "C7c", r"… against those of $k = 40$", "derived", "approx", (0.11986, 0.09910, 0.08676), 5e-6, _PRINTED, "the worst block",
    ),
    Claim(
        "C8a", r"Signs, order of the coordinates and diagonal scaling do not change the rate: largest difference", "Assumption 2.2", "at most",
        1e-12, 0.0, _ROUNDING, "the sign of one pair of entries",
    ),
    Claim(
        "C8b", r"Averaging over permuted copies is not monotone, $n = 3$: $\rho_P$ before and after, same $\sigma = 0.4$", "derived", "approx",
        ((4521 + 3 * math.sqrt(2321049)) / 31250, 153 / 625), 1e-12, "closed forms", "the average over all permuted copies",
    ),
    Claim(
        "C9a", r"CCD, RPCD, RCD at $(n, \sigma) = (10, 0.1)$, $(50, 0.01)$, $(100, 0.01)$: cyclic descent is the outlier",
        "prior: Lee & Wright 2019", "approx",
        (0.956165, 0.800224, 0.831066, 0.999839, 0.979802, 0.980385, 0.99995975, 0.98000002, 0.98038897), 1e-6, _PRINTED,
        "CCD in a random order each epoch",
    ),
    Claim(
        "C9b", r"CCD needs about $n^2$ times as many epochs: slope of $\log\rho_P/\log\rho_C$ over $n = 50, 100, 200$",
        "prior: Sun & Ye 2021, Lee & Wright 2019", "slope", 2.0, 0.03, r"next order in $1/n$", "RCD against RPCD",
    ),
    Claim(
        "C9c", r"… namely 126.9, 501.9, 1996.7 times", "derived", "approx", (126.9, 501.9, 1996.7), 0.06, _PRINTED, "RCD against RPCD",
    ),
    Claim(
        "C9d", r"Negative equicorrelation ($n = 10$, $\sigma = 0.1$) turns the ranking around", "derived", "order", ("CCD", "RPCD", "RCD"), 0.01,
        "rates that differ visibly", "positive equicorrelation",
    ),
    Claim(
        "C10a", r"The gain is asymptotic: $n = 9$, $\sigma = 0.25$, start $e_1$, $E\|x\|^2$ after one epoch, RPCD and RCD", "derived", "approx",
        (1.017778625, 0.973774836), 1e-8, _PRINTED, "start at the all-ones vector of norm one",
    ),
    Claim(
        "C10b", r"… $E f$ after one epoch", "derived", "approx", (0.130000, 0.124520), 1e-6, _PRINTED, "the two exchanged",
    ),
    Claim(
        "C10c", r"… $E\|x\|^2$ after two and five epochs: RPCD has overtaken", "derived", "approx", (0.566611, 0.641848, 0.098968, 0.183803),
        1e-6, _PRINTED, "the two exchanged",
    ),
    Claim(
        "C11a", r"Hessian of 49 pooled pixels, ridge 0.001, 0.01, 0.1: $\rho_R$", "derived", "approx", (0.970839, 0.958089, 0.857071), 1e-5,
        _PRINTED, "the bound in the place of the rate",
    ),
    Claim(
        "C11b", r"… and $B$: the bound is nearly attained", "derived", "approx", (0.970811, 0.957992, 0.855365), 1e-5, _PRINTED,
        r"$\sigma$ of the matrix before its diagonal is one",
    ),
    Claim(
        "C11c", r"… and $\rho_C$ of cyclic descent", "derived", "approx", (0.940326, 0.925909, 0.887697), 1e-5, _PRINTED,
        "pixels in another order",
    ),
    Claim(
        "C11d", r"Cyclic descent is faster than RCD at the first two ridges and slower at the third: sign of $\rho_R - \rho_C$", "derived",
        "approx", (1, 1, -1), 0.0, "signs", "positive equicorrelation with the same least eigenvalues",
    ),
    Claim(
        "C11e", r"Epochs until the mean energy has fallen to $10^{-3}$: RPCD, RCD at ridge 0.1, then at 0.01", "derived", "approx",
        (17, 22, 32, 43), 2.0, "spread over 20 seeds", "with replacement throughout",
    ),
    Claim(
        "C11f", r"Least eigenvalue at ridge 0.01 and 0.1", "derived", "approx", (0.02145, 0.07805), 1e-5, _PRINTED,
        "the matrix before its diagonal is one",
    ),
    Claim(
        "C11g", r"Largest eigenvalue at ridge 0.01", "derived", "approx", 15.34, 0.005, _PRINTED,
        "the matrix before its diagonal is one",
    ),
    Claim(
        "C11h", r"… CCD at ridge 0.1 and 0.01, exact mean over starts from $N(0, I)$", "derived", "approx", (27, 38), 0.0,
        "powers of the Gauss–Seidel matrix, computed apart from the package; 20 starts of an independent implementation gave 33 and 43, but such means scatter by 2 epochs and more",
        "pixels in another order",
    ),
    Claim(
        "C12a", r"scikit-learn's `selection='random'`: mean $\|w\|^2$ after 8 epochs is that of exact RCD, $n = 10$, $\sigma = 0.1$", "derived", "approx",
        3.78737, 0.21, "four standard errors of 0.053", "RPCD",
    ),
    Claim(
        "C12b", r"Exact RCD there", "derived", "approx", 3.78737, 1e-5, _PRINTED, "exact RPCD",
    ),
    Claim(
        "C12c", r"… and it is not RPCD: distance from the exact value of RPCD, in standard errors", "derived", "at least", 4.0, 0.0,
        "four standard errors", "RPCD itself",
    ),
    Claim(
        "D1a", r"As $n \to \infty$, relaxed by $\omega$: RPCD contracts by $1 - x$ and RCD by $e^{-x}$, the same $x$ — slope of RPCD's distance in $n$, $\omega = 1.5$",
        "derived", "slope", -1.0, 0.05, r"expansion in $1/n$", r"$e^{-x}$ for RPCD",
    ),
    Claim(
        "D1b", r"… of RCD's distance", "derived", "slope", -1.0, 0.05, r"expansion in $1/n$", r"$1 - x$ for RCD",
    ),
    Claim(
        "D1c", r"Hence one relaxation is best for both, $\omega = 2/(1+\sqrt\sigma)$: RPCD's best for $\sigma = 0.01, 0.1, 0.4$, $n = 2000$",
        "derived", "approx", tuple(2 / (1 + math.sqrt(s)) for s in (0.01, 0.1, 0.4)), 0.01, r"$1/n$", "$n = 3$",
    ),
    Claim(
        "D1d", r"… and RCD's", "derived", "approx", tuple(2 / (1 + math.sqrt(s)) for s in (0.01, 0.1, 0.4)), 0.01, r"$1/n$", "$n = 3$",
    ),
    Claim(
        "D1e", r"Relaxed rates from the 2×2 matrix and from all orders, $\omega = 1.5$: largest difference", "derived", "at most", 1e-12, 0.0,
        _ROUNDING, r"without relaxation",
    ),
    Claim(
        "D2", r"Search beyond the paper, $n = 7$: largest $\rho_P$ at $\sigma = 0.05, 0.2, 0.5, 0.8$", "derived", "approx",
        (0.89121258, 0.62155733, 0.27043517, 0.09196687), 1e-8, _PRINTED, "the random starts, not optimised",
    ),
    Claim(
        "D3", r"Map of all 3×3 matrices with $\sigma = 0.4$: no $\rho_P$ exceeds that of the class", "derived", "at most",
        (4521 + 3 * math.sqrt(2321049)) / 31250, 1e-12, _ROUNDING, "the rate of RCD",
    ),
    Claim(
        "D4", r"Bracket from sampled orders, $n = 10$, $\sigma = 0.1$: the exact 0.800224 lies between (low minus 3 errors, high)", "derived",
        "at least", 0.0, 1e-6, "three standard errors", "with replacement",
    ),
    Claim(
        "D5a", r"Real Hessians too large for exact work: the upper end of the bracket for RPCD is below $\rho_R$ (digits, ridge 0.1)", "derived",
        "at most", 0.0, 0.0, "the upper end is biased upwards", "the worst factor of the energy in an epoch of one order",
    ),
    Claim(
        "D5b", r"… Fashion-MNIST, ridge 0.1", "derived", "at most", 0.0, 0.0, "the upper end is biased upwards",
        "the worst factor of the energy in an epoch of one order",
    ),
    Claim(
        "D6a", r"Certificate $\theta/(1+\theta)$ of the energy: valid on all random matrices, smallest excess over $\rho_P$", "derived", "at least",
        0.0, 0.0, "a proven bound", r"without the term $\operatorname{Diag}(H^2)/6$ and with $H^2/6$",
    ),
    Claim(
        "D6b", r"… but loose: its value at $n = 10$, $\sigma = 0.1$, where $\rho_P = 0.800$", "derived", "approx", 0.937, 5e-4, _PRINTED, r"$\rho_P$ itself",
    ),
    Claim(
        "D7", r"A 4×4 matrix of a public research repository: $\rho_P$, $B$, $\rho_R$ as computed there", "derived; external check", "approx",
        (0.75576074, 0.81634337, 0.81939220), 1e-8, "digits of that repository", "two of its entries exchanged",
    ),
)  # fmt: skip
