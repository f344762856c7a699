"""The energy of nine Gaussians on a grid, of w, of w = P v and of w = P v q, with its gradient written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descentlab.compiled import njit

NINE = torch.tensor([(a, b) for a in (-2.0, 0.0, 2.0) for b in (-2.0, 0.0, 2.0)], dtype=torch.float64)
NINE_DEVIATION = 0.4
KINDS = ("plain", "left", "both", "gaussian")


class NineEnergy:
    """Minus the log-density of the factors of w, up to a constant; see `toys.mix_nine` for the kinds."""

    def __init__(self, kind: str):
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}; allowed are 'plain', 'left', 'both' and 'gaussian'")
        self.kind = kind

    def start(self) -> dict[str, Tensor]:
        """A corner mode, factors at the identity."""
        eye, one = torch.eye(2, dtype=torch.float64), torch.ones((), dtype=torch.float64)
        start = {"v": NINE[0], "P": eye, "q": one}
        return {name: start[name] for name in {"plain": "v", "left": "vP"}.get(self.kind, "vPq")}

    def product(self, params: Mapping[str, Tensor]) -> Tensor:
        """The point w of each chain."""
        w = params["v"]
        if "P" in params:
            w = (params["P"] @ w.unsqueeze(-1)).squeeze(-1)
        return w * params["q"].unsqueeze(-1) if "q" in params else w

    def __call__(self, params: Mapping[str, Tensor], _: Any) -> Tensor:
        w = self.product(params)
        u = -torch.logsumexp(-torch.cdist(w, NINE).square() / (2 * NINE_DEVIATION**2), dim=1)
        if self.kind == "gaussian":
            squared_norm = params["P"].square().sum((-2, -1)) + params["q"].square()
            return u + 0.5 * squared_norm + params["v"].square().sum(-1) / 8
        if "P" in params:  # one column: |det P| of the Jacobian, and the density |det P| exp(-3 |P|² / 2)
            u = u - 2 * torch.linalg.slogdet(params["P"]).logabsdet + 1.5 * params["P"].square().sum((-2, -1))
        if "q" in params:  # two rows: q² of the Jacobian, and the density |q| exp(-q²)
            u = u - 3 * params["q"].abs().log() + params["q"].square()
        return u

    def value_and_grad(self, params: Mapping[str, Tensor], _: Any, out: Mapping[str, Tensor]) -> Tensor:
        """Energies, shape (chains,); the gradients are written into `out`."""
        chains, none = len(params["v"]), np.empty(0)
        value = np.empty(chains)
        rows = [
            t[k].numpy().reshape(chains, -1) if k in t else none.reshape(0, 1) for t in (params, out) for k in "vPq"
        ]
        _evaluate(*rows, NINE.numpy(), NINE_DEVIATION**2, self.kind == "gaussian", value)  # type: ignore[call-arg]
        return torch.from_numpy(value)


@njit(error_model="numpy")  # a path that leaves the finite is rejected, no error
def _evaluate(v, p, q, grad_v, grad_p, grad_q, centres, variance, gaussian, value):
    logs = np.empty(len(centres))
    for i in range(len(v)):
        a, b, c, d, s = 1.0, 0.0, 0.0, 1.0, 1.0
        if len(p):
            a, b, c, d = p[i, 0], p[i, 1], p[i, 2], p[i, 3]
        if len(q):
            s = q[i, 0]
        y0, y1 = a * v[i, 0] + b * v[i, 1], c * v[i, 0] + d * v[i, 1]
        w0, w1 = s * y0, s * y1
        best = -np.inf
        for k in range(len(centres)):
            logs[k] = -((w0 - centres[k, 0]) ** 2 + (w1 - centres[k, 1]) ** 2) / (2 * variance)
            best = max(best, logs[k])
        total, mean0, mean1 = 0.0, 0.0, 0.0
        for k in range(len(centres)):
            weight = np.exp(logs[k] - best)
            total += weight
            mean0 += weight * centres[k, 0]
            mean1 += weight * centres[k, 1]
        u = -best - np.log(total)
        g0, g1 = (w0 - mean0 / total) / variance, (w1 - mean1 / total) / variance
        slope = g0 * y0 + g1 * y1
        g0, g1 = s * g0, s * g1
        grad_v[i, 0], grad_v[i, 1] = a * g0 + c * g1, b * g0 + d * g1
        if len(p):
            square = a * a + b * b + c * c + d * d
            pull, turn = 1.0, 0.0
            if gaussian:
                u += 0.5 * square
            else:
                det = a * d - b * c
                u += 1.5 * square - 2 * np.log(abs(det))
                pull, turn = 3.0, 2 / det
            grad_p[i, 0] = g0 * v[i, 0] + pull * a - turn * d
            grad_p[i, 1] = g0 * v[i, 1] + pull * b + turn * c
            grad_p[i, 2] = g1 * v[i, 0] + pull * c + turn * b
            grad_p[i, 3] = g1 * v[i, 1] + pull * d - turn * a
        if len(q):
            if gaussian:
                u += 0.5 * s * s
                grad_q[i, 0] = slope + s
            else:
                u += s * s - 3 * np.log(abs(s))
                grad_q[i, 0] = slope + 2 * s - 3 / s
        if gaussian:
            u += (v[i, 0] ** 2 + v[i, 1] ** 2) / 8
            grad_v[i, 0] += v[i, 0] / 4
            grad_v[i, 1] += v[i, 1] / 4
        value[i] = u
