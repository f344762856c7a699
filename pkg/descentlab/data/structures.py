"""What a data set is, and what a source of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images (or signals) with labels, split for training and testing.

    Attributes
    ----------
    name, licence, origin : str
        What it is, under which terms, and who made it.
    inputs, test_inputs : Tensor, shape (n, channels, height, width), float32
        Pixels in [0, 1]; signals have shape (n, channels, length), standardised.
    targets, test_targets : Tensor, shape (n,), int64
        Class numbers 0, 1, …, indices into `class_names`.
    class_names : tuple of str
    """

    name: str
    licence: str
    origin: str
    inputs: torch.Tensor
    targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        shape = " × ".join(str(size) for size in self.inputs.shape[1:])
        kind = "images" if self.inputs.ndim == 4 else "signals"
        return (
            f"{self.name}: {len(self.inputs)} + {len(self.test_inputs)} {kind} of {shape}, "
            f"{len(self.class_names)} classes, on {self.inputs.device}; {self.licence}"
        )


class Arrays(NamedTuple):
    """What a source reads: images (n, height, width[, channels]), uint8 or float in [0, 1], and class numbers (n,).

    Signals are float64 of shape (n, length).
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and how it is read.

    Attributes
    ----------
    title, licence, origin : str
        As a chapter or a table states them.
    class_names : tuple of str
    present : callable, root -> bool
        Whether `read` finds the data without a download; looks for names only, and is instant.
    read : callable, (root, generator) -> Arrays
        Reads the data, downloads them where that is the only way, or raises an error that says what to do. Data that
        are generated draw from the generator, where there is one.
    """

    title: str
    licence: str
    origin: str
    class_names: tuple[str, ...]
    present: Callable[[Path | None], bool]
    read: Callable[[Path | None, np.random.Generator | None], Arrays]


def class_number(dataset: Dataset, label: int | str) -> int:
    """Number of a class, given by number or by name.

    Raises
    ------
    ValueError
        There is no such class.
    """
    names: Sequence[str] = dataset.class_names
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, (int, np.integer)) and 0 <= label < len(names):
        return int(label)
    raise ValueError(f"no class {label!r} in {dataset.name}; valid are 0 … {len(names) - 1} or {', '.join(names)}")
