r"""Progressive sharpening with one neuron a layer, and a sharpness tool for any model.

Geonhui Yoo, Minhak Song, Chulhee Yun: *Understanding Sharpness Dynamics in NN Training with a Minimalist Example: The
Effects of Dataset Difficulty, Depth, Stochasticity, and More*, ICML 2025, arXiv 2506.06940.

The sharpness is the largest eigenvalue of the loss's Hessian. Gradient descent raises it, often until it hovers at
:math:`2/\eta`. A deep linear network with one neuron a layer does this too, and there everything can be computed: where
the flow ends follows from the data and the start alone.

.. math::
    f(x) = (x^\top u)\, v_1 \cdots v_{D-1}, \qquad L = \frac1{2N} \sum_n (f(x_n) - y_n)^2, \qquad
    Q = \sum_i d_i^2/\sigma_i^2, \qquad C_i = \lVert \Pi_W u\rVert^2 - v_i^2, \qquad
    \hat S_D = \frac{\sigma_1^2}N\, Q^{(D-1)/D}

=============================================  ===================================
paper                                          here
=============================================  ===================================
data :math:`X`, labels :math:`y`               `X`, `y`
singular values :math:`\sigma_i`, :math:`d_i`  `Spectrum.sigma`, `Spectrum.labels`
dataset difficulty :math:`Q`                   `dataset_difficulty`
depth :math:`D`                                `depth`
:math:`u` (its part that matters)              `a` (`MinimalModel.project`)
:math:`v_1, \dots, v_{D-1}`                    `v`
layer imbalance :math:`C_i`                    `imbalance`
step :math:`\eta`, batch size :math:`B`        `learning_rate`, `batch_size`
:math:`\hat S_D`                               `predicted_sharpness`
bounds on the sharpness                        `sharpness_bounds`
=============================================  ===================================

`difficulty` holds what the data alone say, `minimal` the model (with `kernels`, `batches` and `trajectories`), `hessian`
the sharpness tool, and `networks` (with `flows`) the networks that are compared with the model.
"""

from descentlab.progressive_sharpening.batches import fresh_batches, noise_factor
from descentlab.progressive_sharpening.difficulty import (
    Spectrum,
    dataset_difficulty,
    dataset_difficulty_prefixes,
    layer_squares,
    predicted_sharpness,
    sharpness_bounds,
    spectrum,
)
from descentlab.progressive_sharpening.flows import FlowEnd, network_flow, network_flows
from descentlab.progressive_sharpening.hessian import Eigenpairs, Evaluation, SharpnessMonitor, top_hessian_eigenvalues
from descentlab.progressive_sharpening.minimal import MinimalModel, sharpness_at_minimum
from descentlab.progressive_sharpening.networks import Network, network_sharpness
from descentlab.progressive_sharpening.trajectories import EdgeLimit, Limit, Trajectory

__all__ = [
    "EdgeLimit",
    "Eigenpairs",
    "Evaluation",
    "FlowEnd",
    "Limit",
    "MinimalModel",
    "Network",
    "SharpnessMonitor",
    "Spectrum",
    "Trajectory",
    "dataset_difficulty",
    "dataset_difficulty_prefixes",
    "fresh_batches",
    "layer_squares",
    "network_flow",
    "network_flows",
    "network_sharpness",
    "noise_factor",
    "predicted_sharpness",
    "sharpness_at_minimum",
    "sharpness_bounds",
    "spectrum",
    "top_hessian_eigenvalues",
]
