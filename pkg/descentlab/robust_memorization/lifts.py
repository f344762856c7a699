r"""Memorizers by distances, for large radii: the paraboloid lift, and point by point.

Frozen records of ingredients, with `layers` and `bounds` as for the memorizers on lattices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from descentlab.robust_memorization.parts import piecewise, sum_of_squares
from descentlab.robust_memorization.points import EPS, Array, Points, Unsuitable, projected_separation, reading_error
from descentlab.robust_memorization.registers import Affine, Layer, Program

# Large radius: the paraboloid lift ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LiftPlan:
    r"""One register for :math:`s \approx \lVert z \rVert^2` makes every ball a half-space (derived).

    In the units of the first layer, :math:`\hat z = Qx/S - c \in [-1, 1]^m`,

    .. math::
        v_i = 2\langle \hat z, \hat z_i\rangle - \lVert \hat z_i\rVert^2 - \hat s = -\lVert \hat z - \hat z_i\rVert^2 - e,
        \qquad 0 \le e \le m\,4^{-T}.

    Attributes
    ----------
    rows, offset : arrays, shapes (m, d) and (m,)
        From a point to :math:`\hat z`.
    centres : array, shape (N, m)
        :math:`\hat z_i`.
    codes : array of int, shape (N,)
    labels : array of int, shape (C,)
    radius : float
        Of a ball, in the same units.
    levels : int
        `T`.
    threshold, slope : float
        :math:`u_i = (v_i - \text{threshold}) \cdot \text{slope}` is at least 1 on the own ball and at most 0 on others.
    error : float
        Bound on the rounding of a coordinate of :math:`\hat z`.
    """

    rows: Array
    offset: Array
    centres: Array
    codes: NDArray[np.int64]
    labels: NDArray[np.int64]
    radius: float
    levels: int
    threshold: float
    slope: float
    error: float

    @property
    def active(self) -> NDArray[np.int64]:
        """The points that have a unit: those whose code is not zero."""
        return np.flatnonzero(self.codes)

    @property
    def square_error(self) -> float:
        r""":math:`m\,4^{-T}`, by which the squared norm is at most over-estimated."""
        return len(self.rows) * 4.0**-self.levels

    def layers(self) -> list[Layer]:
        """The network."""
        program = Program(self.rows.shape[1])
        dim = len(self.rows)
        (t,) = program.relu(self.rows @ program.units * 0.5 + (self.offset + 1) / 2)
        squares, kept = sum_of_squares(program, t, levels=self.levels, keep_t=True)
        assert kept is not None
        t, squares = program.relu(kept, squares)
        active = self.centres[self.active]
        norms = (active**2).sum(axis=1)
        # v = 2 <2t - 1, c> - |c|² - (4A - 4 Σt + m), in the units t and A
        lifted = (4 * active) @ t + (4 * t.sum() - 4 * squares - dim) - (2 * active.sum(axis=1) + norms)
        (units,) = program.relu((lifted - self.threshold) * self.slope)
        (unset,) = program.relu(1 - self._bits()[self.active].T.astype(float) @ units)
        powers = 2.0 ** np.arange(len(unset))
        code = powers.sum() - powers @ unset
        return program.finish(piecewise(program, code, list(map(float, self.labels))))

    def count(self) -> int:
        """Parameters, by the formula; a map of unevenly spaced labels comes on top."""
        m, d, active, top = len(self.rows), self.rows.shape[1], len(self.active), self.levels
        bits = self._bits().shape[1]
        middle = 2 * m * (m + 1) + ((2 * m + 1) * (m + 1) if top == 1 else
                 (2 * m + 1) * (3 * m + 1) + (top - 2) * (3 * m + 2) * (3 * m + 1) + (3 * m + 2) * (m + 1))  # fmt: skip
        return m * (d + 1) + middle + (m + 2) * active + (active + 1) * bits + bits + 1

    def bounds(self, centres: Array, radius: float) -> tuple[Array, Array]:
        """Smallest and largest possible output over balls around `centres`, each shape (n,).

        Distances give the range of every unit on a ball, since rows of norm one never lengthen; rounding is included.
        """
        scale = float(np.linalg.norm(self.rows, 2)) * (1 + 1e-12)
        dim = len(self.rows)
        Z = centres @ self.rows.T + self.offset
        reach = scale * radius + 2 * self.error * math.sqrt(dim)
        rounding = self.slope * rounding_of_squares(dim)
        bits = self._bits()[self.active].astype(float)
        low, high = np.empty(len(Z)), np.empty(len(Z))
        for start in range(0, len(Z), 256):
            part = slice(start, start + 256)
            D = cdist(Z[part], self.centres[self.active])
            far, near = (D + reach) ** 2 + self.square_error, np.maximum(D - reach, 0) ** 2
            least = np.maximum((-far - self.threshold) * self.slope - rounding, 0)
            most = np.maximum((-near - self.threshold) * self.slope + rounding, 0)
            powers = 2.0 ** np.arange(bits.shape[1])
            low[part] = np.minimum(least @ bits, 1) @ powers
            high[part] = np.minimum(most @ bits, 1) @ powers
        outside = np.abs(Z).max(axis=1) + reach > 1 + 1e-9  # beyond the domain of the squares
        steps = np.arange(len(self.labels))
        least, most = np.interp(low, steps, self.labels), np.interp(high, steps, self.labels)
        beyond = high > len(self.labels) - 1
        return np.where(outside, -np.inf, least), np.where(outside | beyond, np.inf, most)

    def _bits(self) -> NDArray[np.int64]:
        """The binary digits of the codes, lowest first, shape (N, number of bits)."""
        return self.codes[:, None] >> np.arange((len(self.labels) - 1).bit_length()) & 1


def rounding_of_squares(dim: int) -> float:
    r"""Bound on the rounding of :math:`v_i` in float64: sums of :math:`O(m)` terms of size :math:`O(1)`."""
    return EPS * (4 * dim + 16) * 16 * dim


def plan_lift(points: Points, radius: float, projection: Array, *, levels: int | None = None) -> LiftPlan:
    r"""Ingredients of the lift.

    `levels` is the smallest `T` for which the error of the squares is a quarter of the gap
    :math:`(2\varepsilon' - \mu)^2 - \mu^2` at most, unless given.
    """
    kept = projected_separation(points, projection)
    if not radius < kept:
        raise Unsuitable(f"projected balls overlap: radius {radius:.6g}, separation {kept:.6g} after the projection")
    Z = points.X @ projection.T
    centre = (Z.max(axis=0) + Z.min(axis=0)) / 2
    span = float(np.abs(Z - centre).max()) + radius
    dim, unit, near = len(projection), kept / span, radius / span
    if levels is None:
        levels = max(1, math.ceil(math.log2(dim / (unit * (unit - near))) / 2))
    low, high = -(near**2) - dim * 4.0**-levels, -((2 * unit - near) ** 2)
    error = reading_error(points, projection, radius + float(np.abs(centre).max())) / span
    noise = rounding_of_squares(dim) + 8 * error * math.sqrt(dim)
    if not 0.05 * (4 * unit * (unit - near)) > noise:
        i, j = points.nearest
        raise ValueError(
            f"points {i} and {j}, of different labels, are {2 * points.separation:.3g} apart, with coordinates up to "
            f"{np.abs(points.X).max():.3g}: float64 cannot separate their balls"
        )
    gap = max(low - high, EPS)
    return LiftPlan(
        projection / span, -centre / span, (Z - centre) / span, points.codes, points.labels, near, levels,
        high + gap / 4, 2 / gap, error,
    )  # fmt: skip


# Large radius: point by point ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SequentialPlan:
    r"""Compute :math:`\lVert z - z_i\rVert^2` anew for each point, threshold it, and take the running maximum.

    At the paper's rate, :math:`N m^2` up to logarithms. Attributes as for `LiftPlan`, in whose units distances are halved
    so that :math:`|z_j - z_{ij}|/2 \in [0, 1]`.
    """

    lift: LiftPlan

    def layers(self) -> list[Layer]:
        """The network."""
        plan = self.lift
        program = Program(plan.rows.shape[1])
        far, near = -plan.threshold, -plan.threshold - 1 / plan.slope
        (z,) = program.relu(plan.rows @ program.units + (plan.offset + 1))
        best: Affine | None = None
        for i in plan.active:
            shift = plan.centres[i] + 1
            (up, down), (fresh, best) = program.relu_keeping([z - shift, shift - z], [z, best])
            assert fresh is not None
            squares, kept = sum_of_squares(program, (up + down) * 0.5, levels=plan.levels, keep=_join(fresh, best))
            fresh, best = _part(kept, len(plan.rows))
            # 1 where four times the sum is at most `near`, 0 from `far` on; nested, so that it saturates exactly
            (steep,), (fresh, best) = program.relu_keeping([(4 * squares - near) * (1 / (far - near))], [fresh, best])
            (inside,), (fresh, best) = program.relu_keeping([1 - steep], [fresh, best])
            code = float(plan.codes[i])
            rise = code * inside - best if best is not None else code * inside
            (rise,), (fresh, best) = program.relu_keeping([rise], [fresh, best])
            best = rise if best is None else best + rise
            assert fresh is not None
            z = fresh
        assert best is not None
        return program.finish(piecewise(program, best, list(map(float, plan.labels))))

    def bounds(self, centres: Array, radius: float) -> tuple[Array, Array]:
        """Smallest and largest possible output over balls around `centres`, each shape (n,)."""
        plan = self.lift
        far, near = -plan.threshold, -plan.threshold - 1 / plan.slope
        dim = len(plan.rows)
        Z = centres @ plan.rows.T + plan.offset
        reach = float(np.linalg.norm(plan.rows, 2)) * (1 + 1e-12) * radius + 2 * plan.error * math.sqrt(dim)
        noise = rounding_of_squares(dim)
        D = cdist(Z, plan.centres[plan.active])
        most = (D + reach) ** 2 + plan.square_error + noise
        least = np.maximum(D - reach, 0) ** 2 - noise
        codes = plan.codes[plan.active]
        high = (codes * np.clip((far - least) / (far - near), 0, 1)).max(axis=1)
        low = (codes * np.clip((far - most) / (far - near), 0, 1)).max(axis=1)
        outside = np.abs(Z).max(axis=1) + reach > 1 + 1e-9
        steps = np.arange(len(plan.labels))
        lower, upper = np.interp(low, steps, plan.labels), np.interp(high, steps, plan.labels)
        return np.where(outside, -np.inf, lower), np.where(outside, np.inf, upper)


def _join(first: Affine, second: Affine | None) -> Affine:
    if second is None:
        return first
    matrix = np.concatenate([first.matrix, second.matrix])
    return Affine(first.layer, matrix, np.concatenate([first.offset, second.offset]))


def _part(both: Affine | None, size: int) -> tuple[Affine, Affine | None]:
    assert both is not None
    first = Affine(both.layer, both.matrix[:size], both.offset[:size])
    rest = Affine(both.layer, both.matrix[size:], both.offset[size:])
    return first, rest if len(rest) else None
