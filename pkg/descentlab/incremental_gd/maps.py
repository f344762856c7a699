"""An epoch on a quadratic problem as one affine map, for many step sizes at once, and its powers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from descentlab.compiled import njit
from descentlab.incremental_gd.problems import Array, QuadraticSum


@dataclass(frozen=True)
class AffineMap:
    """The map x -> linear x + shift, batched.

    Attributes
    ----------
    linear : ndarray, shape (..., d, d), or (..., d) where `diagonal`
    shift : ndarray, shape (..., d)
    diagonal : bool
    """

    linear: Array
    shift: Array
    diagonal: bool

    def __call__(self, x: ArrayLike) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self._linear(np.asarray(x, dtype=float)) + self.shift

    def after(self, first: AffineMap) -> AffineMap:
        """The composition: `first`, then this one."""
        with np.errstate(over="ignore", invalid="ignore"):
            linear = self.linear * first.linear if self.diagonal else self.linear @ first.linear
            return AffineMap(linear, self._linear(first.shift) + self.shift, self.diagonal)

    def power(self, exponent: int) -> AffineMap:
        """The map applied `exponent` >= 1 times, by repeated squaring."""
        if exponent != int(exponent) or exponent < 1:
            raise ValueError(f"exponent={exponent!r} must be an integer of at least 1")
        result, square, rest = None, self, int(exponent)
        while True:
            if rest & 1:
                result = square if result is None else square.after(result)
            rest >>= 1
            if not rest:
                return result if result is not None else square
            square = square.after(square)

    def _linear(self, x: Array) -> Array:
        return self.linear * x if self.diagonal else (self.linear @ x[..., None])[..., 0]


def epoch_map(problem: QuadraticSum, learning_rate: ArrayLike, *, order: ArrayLike | None = None) -> AffineMap:
    """One epoch on a quadratic problem as an affine map, for each step size.

    Parameters
    ----------
    problem : QuadraticSum
    learning_rate : array_like, shape (...)
    order : array_like of int, shape (m,), optional
        Components in the order in which they are visited, here not necessarily a permutation; 0, 1, … by default.

    Returns
    -------
    AffineMap
        Its batch axes are those of `learning_rate`.
    """
    rates = np.asarray(learning_rate, dtype=float)
    index = np.arange(problem.num_components) if order is None else np.asarray(order)
    d = problem.dim
    build = _diagonal_epoch_map if problem.is_diagonal else _dense_epoch_map
    linear, shift = build(problem.hessians, problem.linear_terms, index, np.array(rates).ravel())
    shape = (*rates.shape, d) if problem.is_diagonal else (*rates.shape, d, d)
    return AffineMap(linear.reshape(shape), shift.reshape(*rates.shape, d), problem.is_diagonal)


@njit
def _diagonal_epoch_map(h, b, order, rates):  # type: ignore[no-untyped-def]
    d = h.shape[1]
    linear, shift = np.ones((len(rates), d)), np.zeros((len(rates), d))
    for r in range(len(rates)):
        for i in order:
            for j in range(d):
                factor = 1 - rates[r] * h[i, j]
                linear[r, j] *= factor
                shift[r, j] = factor * shift[r, j] - rates[r] * b[i, j]
    return linear, shift


@njit
def _dense_epoch_map(h, b, order, rates):  # type: ignore[no-untyped-def]
    d = h.shape[1]
    linear, shift = np.zeros((len(rates), d, d)), np.zeros((len(rates), d))
    g = np.empty((d, d + 1))
    for r in range(len(rates)):
        for j in range(d):
            linear[r, j, j] = 1.0
        for i in order:
            for j in range(d):  # all gradients before any update
                for c in range(d):
                    g[j, c] = 0.0
                g[j, d] = b[i, j]
                for k in range(d):
                    for c in range(d):
                        g[j, c] += h[i, j, k] * linear[r, k, c]
                    g[j, d] += h[i, j, k] * shift[r, k]
            for j in range(d):
                for c in range(d):
                    linear[r, j, c] -= rates[r] * g[j, c]
                shift[r, j] -= rates[r] * g[j, d]
    return linear, shift
