"""Loaded data changed, and given in other forms: augmented batches, corrupted images, noisy labels, rows, samples.

Random numbers are drawn on the generator's device, the CPU as a rule, and only their few values move: the same seed
gives the same picture on every device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from descentlab.data import Dataset, class_number
from descentlab.data.files import image_files, read_image

CORRUPTIONS = ("gaussian noise", "occlusion", "resolution", "fog", "motion blur")

# by severity 1 … 5
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation of pixels in [0, 1]
_HOLE = (0.25, 0.3, 0.4, 0.5, 0.6)  # side of the black square over the image's
_COARSE = (0.7, 0.6, 0.5, 0.35, 0.25)  # resolution left
_FOG = (0.3, 0.4, 0.5, 0.6, 0.7)  # weight of the fog
_BLUR = (0.1, 0.15, 0.2, 0.3, 0.4)  # length of the motion over the image's side


def random_crop(
    images: Tensor,
    *,
    padding: int,
    size: int | None = None,
    fill: float = 0.0,
    flip: bool = False,
    generator: torch.Generator,
) -> Tensor:
    """Cut a square out of each padded image, at a place of its own, and mirror half of them where asked.

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width)
    padding : int
        Pixels added on each side.
    size : int, optional
        Side of the result; by default images keep their size.
    fill : float
        Value of the added pixels.
    flip : bool
        Also mirror each image left to right with probability one half.
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (n, channels, size, size), on the device of the images
    """
    if images.ndim != 4 or padding < 0:
        raise ValueError(
            f"images of shape {tuple(images.shape)}, padding={padding!r}: (n, c, h, w) and 0 or more needed"
        )
    n, _, height, width = images.shape
    tall, wide = (height, width) if size is None else (size, size)
    if min(tall, wide) < 1 or tall > height + 2 * padding or wide > width + 2 * padding:
        raise ValueError(
            f"size={size!r} must be positive, and not exceed the padded image, {height + 2 * padding} × {width + 2 * padding}"
        )

    def draw(top: int) -> Tensor:
        return torch.randint(top, (n, 1), generator=generator, device=generator.device).to(
            images.device, non_blocking=True
        )

    rows = draw(height + 2 * padding - tall + 1) + torch.arange(tall, device=images.device)
    columns = torch.arange(wide, device=images.device).expand(n, wide)
    shift = draw(width + 2 * padding - wide + 1)
    if flip:
        columns = torch.where(draw(2).bool(), wide - 1 - columns, columns)
    padded = pad(images, (padding,) * 4, value=fill) if padding else images
    number = torch.arange(n, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[number, rows[:, :, None], (columns + shift)[:, None, :]].permute(0, 3, 1, 2)


def random_shift(images: Tensor, *, max_shift: int, fill: float = 0.0, generator: torch.Generator) -> Tensor:
    """Move each image by up to `max_shift` pixels along each axis; `random_crop` under another name."""
    return random_crop(images, padding=max_shift, fill=fill, generator=generator)


def random_flip(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half."""
    if images.ndim != 4:
        raise ValueError(f"images of shape {tuple(images.shape)}; (n, channels, height, width) needed")
    mirrored = torch.randint(2, (len(images),), generator=generator, device=generator.device).bool()
    return torch.where(mirrored.to(images.device, non_blocking=True)[:, None, None, None], images.flip(3), images)


def augment(
    images: Tensor, generator: torch.Generator, *, padding: int = 4, flip: bool = True, fill: float = 0.0
) -> Tensor:
    """The usual augmentation of small images: a random crop after padding, and a random flip; for `training.fit`."""
    return random_crop(images, padding=padding, fill=fill, flip=flip, generator=generator)


def symmetric_label_noise(targets: Tensor, *, rate: float, num_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Give a share of the samples another label, drawn uniformly from the other classes.

    Parameters
    ----------
    targets : Tensor of int64, shape (n,)
    rate : float
        Share of samples; ``round(rate * n)`` of them are changed.
    num_classes, seed : int

    Returns
    -------
    noisy : Tensor, shape (n,)
    changed : Tensor of bool, shape (n,)
        Where the labels differ.
    """
    _check_share("rate", rate)
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes!r} must be at least 2")
    if len(targets) and not (targets.min() >= 0 and targets.max() < num_classes):
        found = f"{int(targets.min())} … {int(targets.max())}"
        raise ValueError(f"targets must be classes 0 … {num_classes - 1}, found {found}")
    rng = np.random.default_rng(seed)
    labels = targets.cpu().numpy().copy()
    chosen = rng.permutation(len(labels))[: round(rate * len(labels))]
    labels[chosen] = (labels[chosen] + rng.integers(1, num_classes, len(chosen))) % num_classes
    noisy = torch.from_numpy(labels).to(targets.device)
    return noisy, noisy != targets


def corrupt(images: Tensor, kind: str, *, severity: int = 3, seed: int = 0) -> Tensor:
    """Damage images in one of five ways.

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width), pixels in [0, 1]
    kind : str
        One of `CORRUPTIONS`: Gaussian noise; occlusion by a black square; loss of resolution; fog, a bright and smooth
        cloud; motion blur along a random direction.
    severity : int
        From 1 to 5.
    seed : int

    Returns
    -------
    Tensor, same shape, pixels in [0, 1]
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"kind={kind!r}; allowed are {', '.join(map(repr, CORRUPTIONS))}")
    if severity not in (1, 2, 3, 4, 5):
        raise ValueError(f"severity={severity!r}; allowed are 1 to 5")
    if images.ndim != 4:
        raise ValueError(f"images of shape {tuple(images.shape)}; (n, channels, height, width) needed")
    if len(images) == 0:
        return images.clone()
    if not (images.is_floating_point() and images.min() >= 0 and images.max() <= 1):
        found = f"{images.dtype} from {float(images.min()):g} to {float(images.max()):g}"
        raise ValueError(f"images must hold floating-point pixels in [0, 1], found {found}")
    generator, level = torch.Generator().manual_seed(seed), severity - 1
    here = images.cpu()
    damaged = {
        "gaussian noise": lambda: here + _NOISE[level] * torch.randn(here.shape, generator=generator),
        "occlusion": lambda: _occlude(here, _HOLE[level], generator),
        "resolution": lambda: _coarsen(here, _COARSE[level]),
        "fog": lambda: _fog(here, _FOG[level], generator),
        "motion blur": lambda: _blur(here, _BLUR[level], generator),
    }[kind]()
    return damaged.clamp(0, 1).to(images.device)


def corrupt_share(
    images: Tensor, *, rate: float, severity: int = 3, kinds: Sequence[str] = CORRUPTIONS, seed: int
) -> tuple[Tensor, Tensor]:
    """Damage a share of the images, in equal parts in each of the ways `kinds`.

    Returns
    -------
    images : Tensor, same shape
    kind : Tensor of int64, shape (n,)
        Index into `kinds`; −1 where an image is as it was.
    """
    _check_share("rate", rate)
    order = np.random.default_rng(seed).permutation(len(images))[: round(rate * len(images))]
    damaged, kind = images.clone(), torch.full((len(images),), -1)
    for k, part in enumerate(np.array_split(order, len(kinds))):
        index = torch.from_numpy(part)
        damaged[index.to(images.device)] = corrupt(
            images[index.to(images.device)], kinds[k], severity=severity, seed=seed + k
        )
        kind[index] = k
    return damaged, kind.to(images.device)


def _occlude(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    tall, wide = max(1, round(share * height)), max(1, round(share * width))
    top, left = (torch.randint(s - t + 1, (n, 1), generator=generator) for s, t in ((height, tall), (width, wide)))
    rows, columns = torch.arange(height), torch.arange(width)
    inside = ((rows >= top) & (rows < top + tall))[:, :, None] & ((columns >= left) & (columns < left + wide))[
        :, None, :
    ]
    return torch.where(inside[:, None], 0.0, images)


def _coarsen(images: Tensor, left: float) -> Tensor:
    size = [max(1, round(left * side)) for side in images.shape[2:]]
    small = interpolate(images, size=size, mode="bilinear", antialias=True)
    return interpolate(small, size=images.shape[2:], mode="nearest-exact")


def _fog(images: Tensor, weight: float, generator: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    cloud = interpolate(torch.rand((n, 1, 4, 4), generator=generator), size=(height, width), mode="bicubic")
    low, high = cloud.amin((2, 3), keepdim=True), cloud.amax((2, 3), keepdim=True)
    return (1 - weight) * images + weight * (0.5 + 0.5 * (cloud - low) / (high - low))


def _blur(images: Tensor, length: float, generator: torch.Generator) -> Tensor:
    n, channels, height, width = images.shape
    reach = max(1, round(length * max(height, width) / 2))
    angle = np.pi * torch.rand((n, 1), generator=generator)
    along = torch.linspace(-reach, reach, 4 * reach + 1)
    rows, columns = ((f(angle) * along).round().long() + reach for f in (torch.sin, torch.cos))
    side = 2 * reach + 1
    kernels = torch.zeros(n, side * side).scatter_(1, rows * side + columns, 1.0).view(n, 1, side, side)
    kernels = (kernels / kernels.sum((2, 3), keepdim=True)).repeat_interleave(channels, 0)
    flat = pad(images, (reach,) * 4, mode="replicate").reshape(1, n * channels, height + 2 * reach, width + 2 * reach)
    return conv2d(flat, kernels, groups=n * channels).view_as(images)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} must be in [0, 1]")


# -- other forms -------------------------------------------------------------------------------------------------------


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
        self.classes, self.files = image_files(Path(root))
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
