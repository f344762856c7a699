"""The ten papers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One of the ten papers; its name is that of its module, chapter and tests."""

    name: str
    title: str
    authors: str
    arxiv: str
    hook: str


PAPERS = (
    Paper(
        "per_sample_adam",
        "Implicit Bias of Per-sample Adam on Separable Data: Departure from the Full-batch Regime",
        "Baek, Song, Yun",
        "2510.26303",
        "Feed Adam one sample at a time and it finds another classifier than with the full batch.",
    ),
    Paper(
        "weak_to_strong",
        "From Linear to Nonlinear: Provable Weak-to-Strong Generalization through Feature Learning",
        "Oh, Song, Yun",
        "2510.24812",
        "A student taught by a weaker teacher overtakes it, and it is known when.",
    ),
    Paper(
        "robust_memorization",
        "The Cost of Robustness: Tighter Bounds on Parameter Complexity for Robust Memorization in ReLU Nets",
        "Kim, Moon, Yun",
        "2510.24643",
        "How many parameters it takes to fit points together with the balls around them.",
    ),
    Paper(
        "schedule_free",
        "Through the River: Understanding the Benefit of Schedule-Free Methods for Language Model Training",
        "Song, Baek, Ahn, Yun",
        "2507.09846",
        "Why Schedule-Free training follows the river at the bottom of the loss valley without any decay.",
    ),
    Paper(
        "progressive_sharpening",
        "Understanding Sharpness Dynamics in NN Training with a Minimalist Example: "
        "The Effects of Dataset Difficulty, Depth, Stochasticity, and More",
        "Yoo, Song, Yun",
        "2506.06940",
        "One neuron a layer is enough to see, and to predict, how sharp training becomes.",
    ),
    Paper(
        "incremental_gd",
        "Incremental Gradient Descent with Small Epoch Counts is Surprisingly Slow on Ill-Conditioned Problems",
        "Kim, Cha, Yun",
        "2506.04126",
        "Visiting the data in a fixed order can be exponentially worse than drawing it at random.",
    ),
    Paper(
        "coordinate_descent",
        "Provable Benefit of Random Permutations over Uniform Sampling in Stochastic Coordinate Descent",
        "Kim, Lee, Yun",
        "2505.23152",
        "Shuffling the coordinates beats drawing them, for every matrix of a whole class.",
    ),
    Paper(
        "continual_classification",
        "Convergence and Implicit Bias of Gradient Descent on Continual Linear Classification",
        "Jung, Cho, Yun",
        "2504.12712",
        "Tasks that come back again and again are learned as if they had all been there at once.",
    ),
    Paper(
        "sgmcmc",
        "Parameter Expanded Stochastic Gradient Markov Chain Monte Carlo",
        "Kim, Nam, Yun, Yang, Lee",
        "2503.00699",
        "Write each weight matrix as a product, and a sampler explores further at the same price.",
    ),
    Paper(
        "dataset_pruning",
        "Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction Uncertainty",
        "Cho, Shin, Kang, Yun",
        "2502.06905",
        "The first epochs already tell which samples training can do without.",
    ),
)
