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
the sharpness tool, and `networks` the networks that are compared with the model. `problems` has sizes and data;
`experiments`, `noise`, `edge` and `comparisons` the experiments; `sliders` a figure that computes in the browser; `results`
the declared claims.
"""

from descentlab.progressive_sharpening.batches import fresh_batches, noise_factor
from descentlab.progressive_sharpening.comparisons import (
    LongRun,
    Scatter,
    Snapshots,
    batch_size_table,
    crossing_errors,
    evaluate,
    flows_to_minima,
    recorded_ratios,
    recorded_run,
    reference_sharpness,
    scatter,
    sharpness_by_loss,
    small_start_ratios,
    snapshots,
)
from descentlab.progressive_sharpening.difficulty import (
    Spectrum,
    dataset_difficulty,
    dataset_difficulty_prefixes,
    layer_squares,
    predicted_sharpness,
    sharpness_bounds,
    spectrum,
)
from descentlab.progressive_sharpening.edge import (
    EdgeEnd,
    EdgeRun,
    amplitude_decay,
    edge_run,
    edge_survey,
    highest_loss,
    highest_loss_fixed_point,
)
from descentlab.progressive_sharpening.experiments import (
    Bounds,
    FlowRow,
    convexity,
    depth_bounds,
    euler_drift_ratio,
    flow_drift,
    flow_table,
    hessian_error,
    imbalance_bounds,
    prediction_error,
    turning_point,
)
from descentlab.progressive_sharpening.flows import FlowEnd, network_flow, network_flows
from descentlab.progressive_sharpening.hessian import Eigenpairs, Evaluation, SharpnessMonitor, top_hessian_eigenvalues
from descentlab.progressive_sharpening.minimal import MinimalModel, sharpness_at_minimum
from descentlab.progressive_sharpening.networks import Network, network_sharpness
from descentlab.progressive_sharpening.noise import (
    BatchSweep,
    balancing_error,
    batch_sweep,
    depth_drift_error,
    identity_error,
    noise_terms,
    step_terms,
)
from descentlab.progressive_sharpening.problems import (
    BOOK,
    DRIFT_TIME,
    FULL,
    FULL_CPU,
    PAIRS,
    SMOKE,
    START_SCALE,
    Config,
    model,
    power_law_data,
    two_classes,
)
from descentlab.progressive_sharpening.results import CLAIMS
from descentlab.progressive_sharpening.sliders import playground
from descentlab.progressive_sharpening.trajectories import EdgeLimit, Limit, Trajectory

__all__ = [
    "BOOK",
    "CLAIMS",
    "DRIFT_TIME",
    "FULL",
    "FULL_CPU",
    "PAIRS",
    "SMOKE",
    "START_SCALE",
    "BatchSweep",
    "Bounds",
    "Config",
    "EdgeEnd",
    "EdgeLimit",
    "EdgeRun",
    "Eigenpairs",
    "Evaluation",
    "FlowEnd",
    "FlowRow",
    "Limit",
    "LongRun",
    "MinimalModel",
    "Network",
    "Scatter",
    "SharpnessMonitor",
    "Snapshots",
    "Spectrum",
    "Trajectory",
    "amplitude_decay",
    "balancing_error",
    "batch_size_table",
    "batch_sweep",
    "convexity",
    "crossing_errors",
    "dataset_difficulty",
    "dataset_difficulty_prefixes",
    "depth_bounds",
    "depth_drift_error",
    "edge_run",
    "edge_survey",
    "euler_drift_ratio",
    "evaluate",
    "flow_drift",
    "flow_table",
    "flows_to_minima",
    "fresh_batches",
    "hessian_error",
    "highest_loss",
    "highest_loss_fixed_point",
    "identity_error",
    "imbalance_bounds",
    "layer_squares",
    "model",
    "network_flow",
    "network_flows",
    "network_sharpness",
    "noise_factor",
    "noise_terms",
    "playground",
    "power_law_data",
    "predicted_sharpness",
    "prediction_error",
    "recorded_ratios",
    "recorded_run",
    "reference_sharpness",
    "scatter",
    "sharpness_at_minimum",
    "sharpness_bounds",
    "sharpness_by_loss",
    "small_start_ratios",
    "snapshots",
    "spectrum",
    "step_terms",
    "top_hessian_eigenvalues",
    "turning_point",
    "two_classes",
]
