r"""Networks that are right on whole balls, and what they cost.

Yujun Kim, Chaewon Moon, Chulhee Yun: *The Cost of Robustness: Tighter Bounds on Parameter Complexity for Robust
Memorization in ReLU Nets*, NeurIPS 2025, arXiv 2510.24643.

A network memorizes labelled points robustly if it equals :math:`y_i` on the whole ball of radius
:math:`\mu = \rho\,\varepsilon_D` around :math:`x_i`, with :math:`\varepsilon_D` half the smallest distance between points
of different labels. How many parameters that takes depends on :math:`\rho` alone:

.. math::
    \text{needed:}\quad & (\rho^2 \min\{N, d\} + 1)\,d + \min\{1/\sqrt{1-\rho^2}, \sqrt d\}\,\sqrt N, \\
    \text{enough:}\quad & \sqrt N \;\Big|\; N d^{1/4} \rho^{1/2} \;\Big|\; N d^2 \rho^4
    \qquad \text{(breaks at } \rho = \tfrac{1}{5N\sqrt d},\ \tfrac{1}{5\sqrt d}\text{)}.

The paper proves; here its networks are built and verified, and two of its bounds improved: a guard makes the error of the
moderate regime zero, and a lift to a paraboloid makes :math:`(\rho^2\min\{N, d\} + 1)(d + N)` enough.

================================================  =============================================
paper                                             here
================================================  =============================================
points :math:`x_i`, labels :math:`y_i`            `X`, `y`
:math:`\varepsilon_D`, :math:`\varepsilon_{D,p}`  `separation`, its argument `norm`
:math:`\rho`; :math:`\mu`                         `rho`; `radius`
number of parameters :math:`P`                    `parameter_count`, `Memorizer.num_parameters`
projection :math:`Q` to :math:`m` dimensions      `projection`
ramp :math:`\gamma` of a floor                    `ramp` (over the margin)
points a group, :math:`\lceil N^\alpha\rceil`     `group_size`
robust error :math:`\mathcal L_\rho`              `LineReport.share`, of a line
================================================  =============================================

`registers` writes networks as programs; `parts` are floors, lookups and squares; `lattices` and `lifts` hold the
constructions, `memorizer` the one call, `verification` the proofs and refutations, `bounds` the paper's table, and
`points` separations and projections.
"""

from descentlab.robust_memorization.bounds import (
    lower_bound,
    lp_factor,
    nonzero_bound,
    upper_bound,
)
from descentlab.robust_memorization.lattices import (
    BitsPlan,
    ModeratePlan,
    SmallPlan,
    lookup_layers,
)
from descentlab.robust_memorization.lifts import (
    LiftPlan,
    SequentialPlan,
    plan_lift,
)
from descentlab.robust_memorization.memorizer import (
    Memorizer,
    group_size,
    memorize,
    parameter_count,
)
from descentlab.robust_memorization.parts import (
    Words,
    best_group_size,
    extract_bits,
    floor_key,
    floor_network,
    hat_kinks,
    piecewise,
    sum_of_squares,
)
from descentlab.robust_memorization.points import (
    Points,
    Unsuitable,
    as_points,
    lattice_translation,
    projected_separation,
    separation,
)
from descentlab.robust_memorization.registers import (
    Affine,
    Layer,
    Program,
    count,
    evaluate,
    from_torch,
    to_torch,
)
from descentlab.robust_memorization.verification import (
    Attack,
    Certificate,
    LineReport,
    attack_nullspace,
    ball_segments,
    certify,
    check_lines,
    foe_directions,
    lines,
    verify_line,
)

__all__ = [
    "Affine",
    "Attack",
    "BitsPlan",
    "Certificate",
    "Layer",
    "LiftPlan",
    "LineReport",
    "Memorizer",
    "ModeratePlan",
    "Points",
    "Program",
    "SequentialPlan",
    "SmallPlan",
    "Unsuitable",
    "Words",
    "as_points",
    "attack_nullspace",
    "ball_segments",
    "best_group_size",
    "certify",
    "check_lines",
    "count",
    "evaluate",
    "extract_bits",
    "floor_key",
    "floor_network",
    "foe_directions",
    "from_torch",
    "group_size",
    "hat_kinks",
    "lattice_translation",
    "lines",
    "lookup_layers",
    "lower_bound",
    "lp_factor",
    "memorize",
    "nonzero_bound",
    "parameter_count",
    "piecewise",
    "plan_lift",
    "projected_separation",
    "separation",
    "sum_of_squares",
    "to_torch",
    "upper_bound",
    "verify_line",
]
