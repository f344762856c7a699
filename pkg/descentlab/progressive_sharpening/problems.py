"""Sizes of the experiments, and the data they run on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from descentlab import data
from descentlab.geometry import Array
from descentlab.progressive_sharpening.minimal import MinimalModel

IMAGES = "fashion-mnist-12k"
START_SCALE = 0.3  # size of the layers at the start: small, so that the sharpness starts low
DRIFT_TIME = 20.0  # learning rate times steps of the experiments on batch size


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments.

    Attributes
    ----------
    num_seeds : int
        Starts, and orders of batches, behind statements about several.
    drift_rates : tuple of float
        Step sizes of the batch-size experiment on the minimal model.
    edge_steps : int
        Steps of gradient descent until it is at its end point.
    bits : tuple of int
        Fractional bits of the fixed-point runs.
    linear_sizes, tanh_sizes : tuple of int
        Numbers of samples on which networks are trained.
    linear_width, tanh_width : int
    pairs : int
        Pairs of classes.
    batch_rates : tuple of float
        Step sizes of the batch-size experiment on a network.
    widths : tuple of int
        Of the linear networks that start small.
    small_samples : int
        Samples on which those are trained.
    peak_seeds, peak_steps : int
        Starts and steps of the runs whose highest loss is compared.
    tool_samples : int
        Samples of the loss whose sharpness the tool finds.
    """

    num_seeds: int
    drift_rates: tuple[float, ...]
    edge_steps: int
    bits: tuple[int, ...]
    linear_sizes: tuple[int, ...]
    tanh_sizes: tuple[int, ...]
    linear_width: int
    tanh_width: int
    pairs: int
    batch_rates: tuple[float, ...]
    widths: tuple[int, ...]
    small_samples: int
    peak_seeds: int
    peak_steps: int
    tool_samples: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the statements about several."""
        return tuple(range(self.num_seeds))


SMOKE = Config(
    2, (1e-3, 2e-3, 4e-3), 6_000, (100, 200, 400), (10, 20), (10, 20), 32, 32, 2, (1e-2, 2e-2, 4e-2), (8, 16, 32),
    20, 1, 1000, 100,
)  # fmt: skip
BOOK = Config(
    4, (5e-4, 1e-3, 2e-3), 60_000, (100, 200, 400), (10, 20, 40, 60, 80), (10, 20, 40, 80, 160), 64, 64, 5,
    (1e-3, 4e-3, 1e-2), (16, 64, 256), 100, 3, 3000, 500,
)  # fmt: skip
FULL = Config(
    10, (5e-4, 1e-3, 2e-3), 200_000, (100, 200, 400), (100, 200, 300, 500, 700, 1000), (100, 200, 300, 500, 700, 1000),
    2048, 1024, 5, (1e-3, 4e-3, 1e-2), (16, 64, 256), 100, 3, 3000, 500,
)  # fmt: skip

# what one core does in some ten minutes: more orders of batches and starts, and wider networks
FULL_CPU = replace(BOOK, num_seeds=10, edge_steps=200_000, linear_width=256, tanh_width=256)

PAIRS = ((0, 6), (2, 4), (3, 8), (0, 1), (5, 7))


# Data ---------------------------------------------------------------------------------------------------------------


@cache
def images(name: str) -> tuple[Array, Array]:
    """Training images, float32 in [0, 1] of shape (n, channels, height, width), and class numbers; read once."""
    loaded = data.load(name)
    return loaded.inputs.numpy(), loaded.targets.numpy()


def two_classes(
    num_samples: int, classes: tuple[int, int] = (0, 6), *, seed: int | None = None, name: str = IMAGES
) -> tuple[Array, Array]:
    """Training images of two classes as rows, with labels +1 for the first and -1 for the second.

    Parameters
    ----------
    num_samples : int
        The first so many, in the file's order.
    classes : pair of int
    seed : int, optional
        Draw a random subset instead.
    name : str
        See `descentlab.data.load`.

    Returns
    -------
    X : ndarray, shape (num_samples, d)
    y : ndarray, shape (num_samples,)
    """
    pixels, targets = images(name)
    members = np.flatnonzero(np.isin(targets, classes))
    if len(members) < num_samples:
        raise ValueError(f"num_samples={num_samples}: the classes {classes} have {len(members)} images in {name}")
    if seed is not None:
        members = np.random.default_rng(seed).permutation(members)
    chosen = members[:num_samples]
    grey = np.rint(pixels[chosen].astype(float) * 255) / 255  # whole levels again, after float32
    X = (grey.reshape(num_samples, -1) - 0.2860) / 0.3530
    return X, np.where(targets[chosen] == classes[0], 1.0, -1.0)


def power_law_data(num_samples: int, *, dim: int = 784, seed: int = 0) -> tuple[Array, Array]:
    """Generated data that resemble images: variances fall like a power law, and the labels follow the large ones.

    Data of more samples begin with those of fewer.
    """
    rng = np.random.default_rng(seed)
    scales = 10 / np.arange(1.0, dim + 1)
    teacher = rng.standard_normal(dim) / np.sqrt(np.arange(1.0, dim + 1))
    X = rng.standard_normal((num_samples, dim)) * scales
    y = np.where(X @ teacher + 0.3 * rng.standard_normal(num_samples) > 0, 1.0, -1.0)
    if num_samples > 1 and np.all(y == y[0]):
        y[-1] = -y[0]
    return X, y


def model(num_samples: int = 100, *, depth: int = 2, classes: tuple[int, int] = (0, 6)) -> MinimalModel:
    """The minimal model on `two_classes`."""
    return MinimalModel(*two_classes(num_samples, classes), depth=depth)
