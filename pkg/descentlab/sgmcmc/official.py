"""What the authors' code logged on CIFAR-10: one run of each sampler, seed 42, published with their repository.

The network is `descentlab.networks.resnet20_frn`; 100 samples, one a cycle of 5000 updates, no data augmentation,
temperature 1. Source: ``cs-giung/px-sgmcmc`` (Apache-2.0), console logs; the baselines from ``cs-giung/bdlx``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from descentlab.data import Dataset
from descentlab.networks import resnet20_frn
from descentlab.sgmcmc.expansion import expand, expansion_of, induced_prior

CYCLES = (1, 2, 5, 10, 20, 50, 100)
CURVES = {
    "SGHMC": {
        "error": (0.4125, 0.3322, 0.2486, 0.2030, 0.1719, 0.1457, 0.1343),
        "nll": (1.142, 0.9645, 0.7576, 0.6342, 0.5436, 0.4615, 0.4212),
        "ambiguity": (0.0, 0.078, 0.144, 0.166, 0.177, 0.184, 0.188),
    },
    "PX-SGHMC": {
        "error": (0.3956, 0.3155, 0.2418, 0.1954, 0.1588, 0.1269, 0.1185),
        "nll": (1.086, 0.8991, 0.7112, 0.5904, 0.4944, 0.4128, 0.3763),
        "ambiguity": (0.0, 0.105, 0.183, 0.224, 0.243, 0.246, 0.241),
    },
}
"""Error, negative log-likelihood and ambiguity of the ensemble after so many cycles."""

SINGLE_NLL = {"SGHMC": 0.5455, "PX-SGHMC": 0.5460}
"""Of single samples, averaged over the last 50."""

MINUTES = {"SGHMC": 106, "PX-SGHMC": 117}
"""On one RTX A6000."""

LOGGED = {"‖W‖, PX": 2113.0, "‖W‖, SP": 119.2, "½ Σ ‖P, Q‖²": 27_780.0, "‖V‖² / 2σ²": 139_400.0}
"""Norms at the end of the two runs (that of W under PX is the middle of 2106 to 2120)."""

BASELINES = {"SGLD": (0.153, 0.473, 0.182), "SGHMC": (0.132, 0.409, 0.181), "SGNHT": (0.136, 0.424, 0.191)}
"""Error, negative log-likelihood and ambiguity of other samplers on the same data, means of 8 runs."""


def normalised(images: Tensor) -> Tensor:
    """Colour images with values in [0, 1] as the authors' network takes them, shape (n, 3, height, width)."""
    return (images - images.new_tensor(MEANS).view(3, 1, 1)) / DEVIATION


def splits(images: Dataset) -> tuple[Pair, Pair, Pair]:
    """Training, validation and test images of CIFAR-10 with their labels, normalised, as in the authors' runs.

    The first 40 960 images train and the others validate; of a smaller set that share.
    """
    count = len(images.inputs) * NUM_TRAINING // 50_000
    inputs = normalised(images.inputs)
    return (
        (inputs[:count], images.targets[:count]),
        (inputs[count:], images.targets[count:]),
        (normalised(images.test_inputs), images.test_targets),
    )


Pair = tuple[Tensor, Tensor]
NUM_TRAINING = 40_960
"""Training images of the authors' runs; the other 9 040 of the 50 000 are for validation."""

MEANS, DEVIATION = (0.49, 0.48, 0.44), 0.2


class Constants(NamedTuple):
    """Settings of one of the authors' runs."""

    step_size: float
    friction: float
    factor_friction: float
    prior_variance: float
    factor_precision: float


SGHMC = Constants(3e-4, 100.0, 0.0, 0.05, 0.0)
PX_SGHMC = Constants(1e-4, 100.0, 1.0, 0.02, 2.0)


def predicted_norms(*, factor_precision: float = 2.0, prior_variance: float = 0.02) -> dict[str, float]:
    r"""What the logged norms would be if all factors were draws from their prior: Gaussian, forgetful of the identity.

    :math:`E \|W\|^2` adds up the variances of `induced_prior` over the layers; vectors are products with left factors
    only.
    """
    sizes = {name: t.numel() for name, t in resnet20_frn().named_parameters()}
    network = expand(resnet20_frn())
    p = factor_precision**-0.5
    total, added = 0.0, 0
    for group in expansion_of(network).groups:
        m, vector = group.shape[0], prior_variance * (group.shape[0] * p**2) ** group.left
        if group.weight is not None:
            entry = induced_prior(group.shape, left=group.left, right=group.right, scales=(p, p, prior_variance**0.5))
            total += int(np.prod(group.shape)) * entry.variance
        total += len(group.vectors) * m * vector
        added += group.left * m * m + (group.right * group.shape[1] ** 2 if group.right else 0)
    parameters = sum(sizes.values())
    expanded = {g.name(t) for g in expansion_of(network).groups for t in (g.weight, *g.vectors) if t is not None}
    plain = sum(size for name, size in sizes.items() if name not in expanded)
    total += plain * prior_variance
    return {
        "‖W‖, PX": total**0.5,
        "‖W‖, SP": (parameters * SGHMC.prior_variance) ** 0.5,
        "½ Σ ‖P, Q‖²": 0.5 * added / factor_precision,
        "‖V‖² / 2σ²": 0.5 * parameters,
    }


def cycles_to_reach(curve: str, value: float, method: str = "PX-SGHMC") -> float:
    """Cycle at which a logged curve falls to `value`, between the tabulated ones on a logarithmic scale."""
    heights = np.array(CURVES[method][curve])
    return float(np.exp(np.interp(-value, -heights, np.log(CYCLES))))
