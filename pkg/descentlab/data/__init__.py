"""Data sets as tensors: generated, bundled with a package, in files of your own, in a system folder, or downloaded.

`load` resolves a name in this order:

1. a package that bundles or generates the data (scikit-learn: ``"digits"``; mnist1d: ``"mnist1d"``);
2. your folders: the argument `root`, then the environment variable ``DESCENTLAB_DATA``;
3. the system's folder, where Debian's package ``dataset-fashion-mnist`` puts its files;
4. a download through torchvision, with its checksum, kept in the first of your folders, else in ``~/.cache/descentlab``.

A name that ends in ``.npz`` is a file of yours; the path of a folder with ``train/<class>/…`` and ``val/<class>/…`` is
read as images, ImageNet's layout. Nothing is ever unpickled, and a truncated or altered file raises `ValueError` rather
than being trained on. torch and scikit-learn are imported when a data set is loaded, so that `available` is instant.
`SOURCES` states the licence and the origin of each data set.

`transforms` changes tensors that are loaded: augmentation of a batch, corruption of images, noise in labels. `load_text`
reads texts as rows of tokens.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

SYSTEM_FOLDER = Path("/usr/share/datasets")

# sha256 of the unpacked content: packers differ in what they write into a gzip header
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

from descentlab.data.formats import (  # noqa: E402  (reads the settings above)
    read_cifar_archive,
    read_idx,
    read_image,
    read_image_folders,
    read_svhn,
)
from descentlab.data.places import choose_device  # noqa: E402
from descentlab.data.samples import binary_rows  # noqa: E402
from descentlab.data.sources import SOURCES, find_folder, source_of  # noqa: E402
from descentlab.data.structures import Arrays, Dataset, Source, class_number  # noqa: E402
from descentlab.data.text import TEXTS, Text, TextSource, fetched, load_text, text_available  # noqa: E402

if TYPE_CHECKING:
    import torch

    from descentlab.data.images import ImageFolders, Indexed
    from descentlab.data.transforms import (
        CORRUPTIONS,
        augment,
        corrupt,
        corrupt_share,
        random_crop,
        random_flip,
        random_shift,
        symmetric_label_noise,
    )

_NEED_TORCH = {
    **dict.fromkeys(("ImageFolders", "Indexed"), "images"),
    **dict.fromkeys(
        (
            *("CORRUPTIONS", "augment", "corrupt", "corrupt_share", "random_crop", "random_flip", "random_shift"),
            "symmetric_label_noise",
        ),
        "transforms",
    ),
}

__all__ = [
    "CORRUPTIONS",
    "FASHION_MNIST_FILES",
    "SOURCES",
    "SYSTEM_FOLDER",
    "TEXTS",
    "Arrays",
    "Dataset",
    "ImageFolders",
    "Indexed",
    "Source",
    "Text",
    "TextSource",
    "augment",
    "available",
    "binary_rows",
    "choose_device",
    "class_number",
    "corrupt",
    "corrupt_share",
    "fetched",
    "load",
    "load_text",
    "random_crop",
    "random_flip",
    "random_shift",
    "read_cifar_archive",
    "read_idx",
    "read_image",
    "read_image_folders",
    "read_svhn",
    "symmetric_label_noise",
    "text_available",
]


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:  # torch is imported when the first of them is used
        return getattr(import_module(f"descentlab.data.{_NEED_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(
    name: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    generator: np.random.Generator | None = None,
    image_size: int = 64,
) -> Dataset:
    """A data set as tensors on a device.

    Parameters
    ----------
    name : str or path
        One of `SOURCES`, or the path of an ``.npz`` file that holds ``train_images``, ``train_labels``,
        ``test_images`` and ``test_labels``: images of shape (n, h, w) or (n, h, w, c), uint8 or float in [0, 1];
        labels any integers, renumbered 0, 1, … in their order, their values kept as `Dataset.class_names`. Or the
        path of a folder of images in ImageNet's layout; what does not fit in memory is for `ImageFolders`.
    root : path, optional
        Folder to look in first: the files themselves, torchvision's layout (``FashionMNIST/raw``), or a file named
        after the set, ``cifar10.npz``. Also read from the environment variable ``DESCENTLAB_DATA``.
    device : str or torch.device
        ``"auto"`` is CUDA where there is one, else the CPU. Inputs are float32, so that ``"mps"`` works too.
    generator : numpy.random.Generator, optional
        For data sets that are generated; those that are fixed do not draw from it.
    image_size : int
        Side of the square that images in folders are resized and cropped to.

    Raises
    ------
    ValueError
        The name or the device is unknown, or a file is truncated, altered or not in the documented layout.
    FileNotFoundError
        The data are nowhere, and cannot be downloaded; the message names each place tried and the remedy.
    ModuleNotFoundError
        The package that bundles the data is not installed.
    """
    import torch

    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(f"name={name!r} must be the name of a data set or a path")
    target = choose_device(device)
    own = None if root is None else Path(root)
    folder = None if str(name) in SOURCES or Path(name).suffix == ".npz" else find_folder(name, own)
    if folder is not None:
        arrays, class_names = read_image_folders(folder, size=image_size)
        licence, origin = "licence not stated", str(folder)
        train_labels, test_labels = (labels.astype(np.int64) for labels in (arrays[1], arrays[3]))
    else:
        source = source_of(name)
        arrays = source.read(own, generator)
        licence, origin = source.licence, source.origin
        train_labels, test_labels, class_names = _number_classes(arrays, source)
    return Dataset(
        name=Path(name).stem,
        licence=licence,
        origin=origin,
        inputs=torch.from_numpy(_pixels(arrays.train_images)).to(target),
        targets=torch.from_numpy(train_labels).to(target),
        test_inputs=torch.from_numpy(_pixels(arrays.test_images)).to(target),
        test_targets=torch.from_numpy(test_labels).to(target),
        class_names=class_names,
    )


def available(name: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether `load`, or `load_text`, would find the data without a download. Looks for files, does not read them."""
    if str(name) in TEXTS:
        return text_available(name, root=root)
    own = None if root is None else Path(root)
    if str(name) not in SOURCES and Path(name).suffix != ".npz" and find_folder(name, own) is not None:
        return True
    return source_of(name).present(own)


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1], shape (n, channels, height, width); signals as (n, 1, length)."""
    scaled = images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    stacked = scaled[:, None] if images.ndim < 4 else np.moveaxis(scaled, 3, 1)
    return np.ascontiguousarray(stacked)


def _number_classes(arrays: Arrays, source: Source) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels as class numbers (int64), and the names of the classes."""
    if source.class_names:
        return arrays.train_labels.astype(np.int64), arrays.test_labels.astype(np.int64), source.class_names
    values = np.unique(arrays.train_labels)
    train, test = (np.searchsorted(values, labels).astype(np.int64) for labels in (arrays[1], arrays[3]))
    return train, test, tuple(str(value) for value in values.tolist())
