"""Samples for problems that are not networks: rows of linear classification."""

from __future__ import annotations

import numpy as np

from descentlab.data.structures import Dataset, class_number


def binary_rows(
    dataset: Dataset,
    *,
    classes: tuple[int | str, int | str] = (0, 1),
    num_samples: int,
    seed: int = 0,
    drop_constant: bool = True,
    standardize: bool = True,
) -> np.ndarray:
    """Two classes of images as the rows y_i x_i of a linear classification problem.

    Half of the samples are training images of ``classes[0]`` (y = +1), half of ``classes[1]`` (y = -1), drawn
    without replacement and put in random order. As long as there are fewer samples than pixels, such rows are
    linearly separable unless two images coincide or the pixels conspire.

    Parameters
    ----------
    dataset : Dataset
    classes : pair of int or str
        Class numbers or names.
    num_samples : int
        Number of rows, even.
    seed : int
        Draws the samples and their order, with NumPy on the CPU.
    drop_constant : bool
        Keep only the pixels that vary over the samples and, once standardised, are zero in none of them: theorems
        on optimizers that divide by a coordinate's gradients assume ``x_i[k] != 0``.
    standardize : bool
        Shift and scale each pixel to mean 0 and standard deviation 1 over the samples, before labels are folded in.

    Returns
    -------
    ndarray, shape (num_samples, d), float64

    Raises
    ------
    ValueError
        The classes are equal or unknown, `num_samples` is odd, too small or more than there are, or no pixel is left.
    """
    first, second = (class_number(dataset, c) for c in classes)
    if first == second:
        raise ValueError(f"classes={classes!r} must be two different classes of {dataset.name}")
    if num_samples < 2 or num_samples % 2:
        raise ValueError(f"num_samples={num_samples!r} must be even and at least 2, half for each class")
    generator = np.random.default_rng(seed)
    targets = dataset.targets.cpu().numpy()
    chosen = []
    for number in (first, second):
        members = np.flatnonzero(targets == number)
        if len(members) < num_samples // 2:
            label = dataset.class_names[number]
            raise ValueError(f"num_samples={num_samples}: class {label!r} has only {len(members)} training images")
        chosen.append(generator.choice(members, num_samples // 2, replace=False))
    order = generator.permutation(num_samples)
    index = np.concatenate(chosen)[order]
    signs = np.repeat([1.0, -1.0], num_samples // 2)[order]

    rows = dataset.inputs[index].cpu().numpy().astype(np.float64).reshape(num_samples, -1)
    keep = np.ptp(rows, axis=0) > 0
    if standardize:
        spread = rows.std(axis=0)
        rows = (rows - rows.mean(axis=0)) / np.where(keep, spread, 1.0)
        # grey levels are few, so that a sample can sit exactly on the mean, up to the rounding of float32 pixels;
        # otherwise it is at least about 1 / (128 num_samples) away
        keep &= np.abs(rows).min(axis=0) > 1e-6
    if drop_constant:
        rows = rows[:, keep]
    if rows.shape[1] == 0:
        raise ValueError(f"no pixel of {dataset.name} varies over these {num_samples} samples: take others, or more")
    return signs[:, None] * rows
