r"""Coordinate descent: random permutations against draws with replacement.

Donghwa Kim, Jaewook Lee, Chulhee Yun: *Provable Benefit of Random Permutations over Uniform Sampling in Stochastic
Coordinate Descent*, ICML 2025, arXiv 2505.23152.

To minimise :math:`f(x) = \frac12 x^\top A x` one coordinate at a time, one may draw each coordinate at random (RCD) or go
through all of them in a fresh random order each epoch (RPCD). Everybody does the second, theory knew the first. The paper
proves for a class of matrices that the second is strictly faster. Here both are exact: with
:math:`U_i = I - e_i e_i^\top A / A_{ii}` the step along coordinate `i`, second moments :math:`X = E[xx^\top]` obey

.. math::
    \mathcal R(X) = \frac1n \sum_i U_i X U_i^\top \;\text{ (a step of RCD)}, \qquad
    \mathcal M(X) = E_p\, T_p X T_p^\top, \; T_p = U_{p_n} \cdots U_{p_1} \;\text{ (an epoch of RPCD)},

and the rates in `n` updates are the spectral radii :math:`\rho_R = \rho(\mathcal R)^n` and
:math:`\rho_P = \rho(\mathcal M)`.

=======================================================  ==================================================
paper                                                    here
=======================================================  ==================================================
:math:`\sigma = \lambda_{\min}(A)`, unit diagonal        `sigma`; `unit_diagonal`
:math:`\sigma I + (1-\sigma) 1 1^\top`, signs, blocks    `permutation_invariant(n, sigma, signs=, block=)`
:math:`\rho_P, \rho_R, \rho_C`                           `rpcd_rate`, `rcd_rate`, `ccd_rate`
bound :math:`B(n, \sigma)` of Conjecture 4.1             `rate_bound(n, sigma)`
RPCD, RCD, CCD                                           `method="rpcd"`, `"rcd"`, `"ccd"`
=======================================================  ==================================================

`matrices` holds the class and the checks, `rates` the exact rates and bounds, `methods` the methods and their exact
expected progress, and `search` the worst-case search. `descentlab.random_maps` computes such means for any linear steps;
coordinate steps have rank one, for which `rates` has its own, faster recursion over subsets.
"""

from descentlab.coordinate_descent.matrices import MAX_EXACT, permutation_invariant, unit_diagonal
from descentlab.coordinate_descent.methods import (
    Moments,
    coordinate_descent,
    coordinate_descent_invariant,
    expected_moments,
)
from descentlab.coordinate_descent.rates import (
    ccd_rate,
    energy_bound,
    rate_bound,
    rcd_rate,
    rcd_rate_invariant,
    rpcd_bracket,
    rpcd_rate,
    rpcd_rate_invariant,
    worst_block,
)

__all__ = [
    "MAX_EXACT",
    "Moments",
    "ccd_rate",
    "coordinate_descent",
    "coordinate_descent_invariant",
    "energy_bound",
    "expected_moments",
    "permutation_invariant",
    "rate_bound",
    "rcd_rate",
    "rcd_rate_invariant",
    "rpcd_bracket",
    "rpcd_rate",
    "rpcd_rate_invariant",
    "unit_diagonal",
    "worst_block",
]
