r"""Exact second moments of linear maps applied in a random order.

Many methods are products of linear maps: a step of coordinate descent, of Kaczmarz, or of stochastic gradient descent on
a quadratic sends :math:`x` to :math:`U_i x`, where `i` is the coordinate or the sample of the step. (An affine step
becomes linear in the homogeneous coordinates :math:`(x, 1)`.) If :math:`S = E[x x^\top]`, the step `i` makes of it
:math:`U_i S U_i^\top`, so an epoch in a random order acts *linearly* on `S`, and no simulation is needed:

=================  =====================================================================================
order              what an epoch of `n` steps makes of :math:`S`
=================  =====================================================================================
``"cyclic"``       :math:`T S T^\top` with :math:`T = U_n \cdots U_1`
``"replacement"``  :math:`\mathcal R^n(S)` with :math:`\mathcal R(S) = \frac1n \sum_i U_i S U_i^\top`
``"reshuffled"``   :math:`\mathcal M(S)`, the mean over all `n!` orders, by the recursion below
indices            :math:`T S T^\top` with the maps in that order
=================  =====================================================================================

The mean over all orders needs one matrix for each *set* of maps that may have been applied so far, instead of one for
each order: the last map of a set is any of its members with equal probability, so

.. math::
    \Phi_\emptyset = S, \qquad \Phi_C = \frac1{|C|} \sum_{i \in C} U_i\, \Phi_{C \setminus i}\, U_i^\top, \qquad
    \mathcal M(S) = \Phi_{\{1, \dots, n\}} .

Equal maps are interchangeable. Then `C` is a vector of counts and :math:`1/|C|` becomes :math:`c_i/|c|`: distinct maps
make :math:`2^n` states, two kinds of maps only :math:`(n_1 + 1)(n_2 + 1)`.

A symmetric matrix is written as a vector by `svec`: diagonal entries, and entries below the diagonal times
:math:`\sqrt2`. That is an orthonormal basis, so adjoint operators become transposed matrices.
"""

from descentlab.random_maps._checks import MAX_DISTINCT, MAX_STATES, ORDERS, Order
from descentlab.random_maps.moments import (
    MAX_ENUMERATED,
    enumerate_orders,
    epoch_operator,
    second_moment_epoch,
    second_moments,
    smat,
    svec,
)
from descentlab.random_maps.rates import largest_eigenvalue, leading_eigenpair, spectral_radius

__all__ = [
    "MAX_DISTINCT",
    "MAX_ENUMERATED",
    "MAX_STATES",
    "ORDERS",
    "Order",
    "enumerate_orders",
    "epoch_operator",
    "largest_eigenvalue",
    "leading_eigenpair",
    "second_moment_epoch",
    "second_moments",
    "smat",
    "spectral_radius",
    "svec",
]
