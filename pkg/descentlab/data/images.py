"""Samples fetched one at a time: images that stay on disk, and any data set with each sample's number added."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descentlab.data.formats import image_files, read_image


class ImageFolders(torch.utils.data.Dataset):
    """Images in folders named after their classes, one at a time: for ``DataLoader`` and what exceeds memory.

    Parameters
    ----------
    root : path
        Folder with a folder a class, such as ImageNet's ``train``.
    size : int
        Side of the square that images are resized and cropped to, where no `transform` is given.
    transform : callable, optional
        From the path of an image to a tensor of shape (3, h, w): to decode and augment in another way.

    Each item is (image, class number, its own index); the index lets a training record what it thinks of each sample.

    Raises
    ------
    ValueError
        There is no image below `root`.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, size: int = 224, transform: Callable[[Path], Tensor] | None = None
    ):
        folder = Path(root)
        self.classes = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        self.files = [(path, k) for k, name in enumerate(self.classes) for path in image_files(folder / name)]
        if not self.files:
            raise ValueError(f"root={str(root)!r}: no images in folders named after their classes")
        self.targets = torch.tensor([label for _, label in self.files])
        self.size, self.transform = size, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        path, label = self.files[index]
        if self.transform is not None:
            return self.transform(path), label, index
        pixels = np.array(read_image(path, size=self.size), copy=True)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, label, index


class Indexed(torch.utils.data.Dataset):
    """A data set of (input, target) pairs that also gives each sample's number: what recording a training needs.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Map-style; its items begin with the input and the target.

    Each item is (input, target, index).

    Raises
    ------
    ValueError
        `dataset` has no length, or an item is not such a pair.
    """

    def __init__(self, dataset: torch.utils.data.Dataset):
        if not hasattr(dataset, "__len__"):
            raise ValueError(f"dataset={type(dataset).__name__} has no length; a map-style data set is needed")
        self.dataset: Any = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        item = self.dataset[index]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise ValueError(f"item {index} of dataset is a {type(item).__name__}; (input, target) needed")
        return item[0], item[1], index
