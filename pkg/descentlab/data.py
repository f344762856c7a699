"""Data sets as tensors: bundled with a package, in files of your own, in a system folder, or downloaded.

`load` resolves a name in this order:

1. a package that bundles the data (scikit-learn: ``"digits"``);
2. your folders: the argument `root`, then the environment variable ``DESCENTLAB_DATA``;
3. the system's folder, where Debian's package ``dataset-fashion-mnist`` puts its files;
4. torchvision's download, with its checksum, kept in the first of your folders, else in ``~/.cache/descentlab``.

A name that ends in ``.npz`` is a file of yours. Nothing is ever unpickled, and a truncated or altered file raises
`ValueError` rather than being trained on. torch and scikit-learn are imported when a data set is loaded, so that
`available` is instant. `SOURCES` states the licence and the origin of each data set.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

SYSTEM_FOLDER = Path("/usr/share/datasets")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images with labels, split for training and testing.

    Attributes
    ----------
    name, licence, origin : str
        What it is, under which terms, and who made it.
    inputs, test_inputs : Tensor, shape (n, channels, height, width), float32
        Pixels in [0, 1].
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
        return (
            f"{self.name}: {len(self.inputs)} + {len(self.test_inputs)} images of {shape}, "
            f"{len(self.class_names)} classes, on {self.inputs.device}; {self.licence}"
        )


class Arrays(NamedTuple):
    """What a source reads: images (n, height, width[, channels]), uint8 or float in [0, 1], and class numbers (n,)."""

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
    read : callable, root -> Arrays
        Reads the data, downloads them where that is the only way, or raises an error that says what to do.
    """

    title: str
    licence: str
    origin: str
    class_names: tuple[str, ...]
    present: Callable[[Path | None], bool]
    read: Callable[[Path | None], Arrays]


def load(
    name: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    generator: np.random.Generator | None = None,
) -> Dataset:
    """A data set as tensors on a device.

    Parameters
    ----------
    name : str or path
        One of `SOURCES`, or the path of an ``.npz`` file that holds ``train_images``, ``train_labels``,
        ``test_images`` and ``test_labels``: images of shape (n, h, w) or (n, h, w, c), uint8 or float in [0, 1];
        labels any integers, renumbered 0, 1, … in their order, their values kept as `Dataset.class_names`.
    root : path, optional
        Folder to look in first: the files themselves, or torchvision's layout ``FashionMNIST/raw``.
        Also read from the environment variable ``DESCENTLAB_DATA``.
    device : str or torch.device
        ``"auto"`` is CUDA where there is one, else the CPU. Inputs are float32, so that ``"mps"`` works too.
    generator : numpy.random.Generator, optional
        For data sets that are generated; those that are fixed do not draw from it.

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

    del generator  # no data set is generated yet
    target = _device(device)
    folder = None if root is None else Path(root)
    source = _source(name)
    arrays = source.read(folder)
    train_labels, test_labels, class_names = _number_classes(arrays, source)
    return Dataset(
        name=Path(name).stem,
        licence=source.licence,
        origin=source.origin,
        inputs=torch.from_numpy(_pixels(arrays.train_images)).to(target),
        targets=torch.from_numpy(train_labels).to(target),
        test_inputs=torch.from_numpy(_pixels(arrays.test_images)).to(target),
        test_targets=torch.from_numpy(test_labels).to(target),
        class_names=class_names,
    )


def available(name: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether `load` would find the data without a download. Looks for files, does not read them."""
    return _source(name).present(None if root is None else Path(root))


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
    first, second = (_class_number(dataset, c) for c in classes)
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


# -- digits, bundled with scikit-learn ------------------------------------------------------------------------------


def _digits_present(root: Path | None) -> bool:
    return find_spec("sklearn") is not None


def _read_digits(root: Path | None) -> Arrays:
    """1797 images in 17 grey levels. Of each class every fifth image, in the file's order, is a test image."""
    try:
        datasets = import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("'digits' is bundled with scikit-learn: pip install scikit-learn") from error
    digits = datasets.load_digits()
    images, labels = (digits.images / 16).astype(np.float32), digits.target
    rank = np.zeros(len(labels), dtype=int)  # of an image among those of its class
    for label in range(10):
        rank[labels == label] = np.arange(np.sum(labels == label))
    test = rank % 5 == 4
    return Arrays(images[~test], labels[~test], images[test], labels[test])


# -- Fashion-MNIST: four idx files ----------------------------------------------------------------------------------

# sha256 of the unpacked content: packers differ in what they write into a gzip header
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def read_idx(path: str | os.PathLike[str], *, sha256: str | None = None) -> np.ndarray:
    """An array from a file in MNIST's idx format, packed with gzip (``.gz``) or not.

    Parameters
    ----------
    path : path
    sha256 : str, optional
        Expected digest of the unpacked content, in hexadecimal.

    Returns
    -------
    ndarray of uint8, shape as the file's header says

    Raises
    ------
    ValueError
        The file is truncated or altered: gzip's own check, the header, the size or the digest does not fit. The
        message names the file, what was expected and what was found.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: expected a whole gzip file, found one that is damaged ({error})") from error
    # header: two zero bytes, the type (8: unsigned byte), the number of axes, then each length as a big-endian int32
    if len(content) < 4 or content[:3] != b"\0\0\x08" or content[3] == 0:
        raise ValueError(f"{path}: expected an idx file of bytes (it starts with 000008), found {content[:4].hex()!r}")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[k : k + 4], "big") for k in range(4, start, 4))
    if len(content) != start + prod(shape):
        raise ValueError(f"{path}: expected {start + prod(shape)} bytes for shape {shape}, found {len(content)}")
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"{path}: expected content with sha256 {sha256}, found {found}: fetch the file again")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _fashion_mnist_places(root: Path | None) -> list[Path]:
    """Folders that may hold the four files, in the order in which they are tried."""
    torchvision = Path("FashionMNIST", "raw")
    mine = [place for folder in _folders(root) for place in (folder, folder / torchvision)]
    return [*mine, SYSTEM_FOLDER / "fashion-mnist", _cache() / torchvision]


def _fashion_mnist_files(folder: Path) -> list[Path] | None:
    """The four files in `folder`, packed or not; None unless all are there."""
    found = [next((p for p in (folder / f"{n}.gz", folder / n) if p.is_file()), None) for n in FASHION_MNIST_FILES]
    return [path for path in found if path is not None] if all(found) else None


def _fashion_mnist_present(root: Path | None) -> bool:
    return any(_fashion_mnist_files(folder) for folder in _fashion_mnist_places(root))


def _read_fashion_mnist(root: Path | None) -> Arrays:
    if not _fashion_mnist_present(root):
        _download_fashion_mnist(root)
    files = next(filter(None, map(_fashion_mnist_files, _fashion_mnist_places(root))))
    digests = FASHION_MNIST_FILES.values()
    return Arrays(*(read_idx(path, sha256=digest) for path, digest in zip(files, digests, strict=True)))


def _download_fashion_mnist(root: Path | None) -> None:
    destination = [*_folders(root), _cache()][0]
    try:
        import_module("torchvision.datasets").FashionMNIST(destination, download=True)
        if _fashion_mnist_present(root):
            return
        failure: object = f"it left no complete set of files in {destination}"
        cause = None
    except (ImportError, OSError, RuntimeError) as error:  # not installed; no network or no space; wrong checksum
        failure, cause = error, error
    tried = "\n".join(f"  {place}" for place in _fashion_mnist_places(root))
    raise FileNotFoundError(
        f"Fashion-MNIST (train-images-idx3-ubyte.gz and three more files) is in none of\n{tried}\n"
        f"and torchvision could not download it: {failure}\n"
        "Either  apt-get install dataset-fashion-mnist\n"
        "or      pip install torchvision, and be online\n"
        "or      set DESCENTLAB_DATA=<folder with the four files>."
    ) from cause


# -- a file of your own ---------------------------------------------------------------------------------------------


def _npz_places(name: Path, root: Path | None) -> list[Path]:
    return [name, *(folder / name for folder in _folders(root))]


def _read_npz(name: Path, root: Path | None) -> Arrays:
    places = _npz_places(name, root)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        tried = "\n".join(f"  {place}" for place in places)
        raise FileNotFoundError(
            f"{name} is not there; tried\n{tried}\nGive the path of the file, or its folder as root=… or "
            "DESCENTLAB_DATA=…"
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if missing := [key for key in Arrays._fields if key not in stored]:
                raise ValueError(f"expected arrays {', '.join(Arrays._fields)}; {', '.join(missing)} missing")
            arrays = Arrays(*(stored[key] for key in Arrays._fields))
        _check(arrays)
    except (ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not an .npz file of images and labels that can be used: {error}") from error
    return arrays


def _check(arrays: Arrays) -> None:
    """Raise ValueError unless the arrays have the documented layout."""
    for split in ("train", "test"):
        images, labels = getattr(arrays, f"{split}_images"), getattr(arrays, f"{split}_labels")
        if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)) or images.size == 0:
            raise ValueError(f"expected {split}_images of shape (n, h, w) or (n, h, w, 1|3|4), found {images.shape}")
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise ValueError(f"expected {split}_images of uint8 or float, found {images.dtype}")
        if images.dtype.kind == "f" and not np.all((images >= 0) & (images <= 1)):
            raise ValueError(f"expected {split}_images in [0, 1], found {images.min():g} … {images.max():g}")
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            found = f"{labels.dtype} of shape {labels.shape}"
            raise ValueError(f"expected {split}_labels of integers, shape {images.shape[:1]}, found {found}")
    if arrays.train_images.shape[1:] != arrays.test_images.shape[1:]:
        shapes = f"{arrays.train_images.shape[1:]} and {arrays.test_images.shape[1:]}"
        raise ValueError(f"expected images of one size, found {shapes}")
    if unseen := np.setdiff1d(arrays.test_labels, arrays.train_labels).tolist():
        raise ValueError(f"expected test_labels that occur in train_labels, found {unseen} besides")


# -- shared ---------------------------------------------------------------------------------------------------------

SOURCES: dict[str, Source] = {
    "digits": Source(
        title="Optical Recognition of Handwritten Digits: 1797 images of 8 × 8, as bundled with scikit-learn",
        licence="CC BY 4.0",
        origin="E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi:10.24432/C50P49",
        class_names=tuple("0123456789"),
        present=_digits_present,
        read=_read_digits,
    ),
    "fashion-mnist": Source(
        title="Fashion-MNIST: 70 000 images of clothing, 28 × 28",
        licence="MIT",
        origin="H. Xiao, K. Rasul and R. Vollgraf (2017), Zalando Research, arXiv:1708.07747",
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        present=_fashion_mnist_present,
        read=_read_fashion_mnist,
    ),
}


def _source(name: str | os.PathLike[str]) -> Source:
    path = Path(name)
    if path.suffix == ".npz":
        return Source(
            title=path.name,
            licence="licence not stated",
            origin=str(path),
            class_names=(),  # taken from the labels
            present=lambda root: any(place.is_file() for place in _npz_places(path, root)),
            read=lambda root: _read_npz(path, root),
        )
    if name not in SOURCES:
        guess = get_close_matches(str(name).lower(), SOURCES, n=1, cutoff=0.5)
        meant = f"; did you mean {guess[0]!r}?" if guess else ";"
        valid = ", ".join(repr(known) for known in SOURCES)
        raise ValueError(f"no data set {str(name)!r}{meant} Valid are {valid} and the path of an .npz file")
    return SOURCES[str(name)]


def _folders(root: Path | None) -> list[Path]:
    """The user's own folders: the argument, then the environment variable."""
    named = os.environ.get("DESCENTLAB_DATA")
    return [*([root] if root is not None else []), *([Path(named).expanduser()] if named else [])]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "descentlab"


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1], shape (n, channels, height, width)."""
    scaled = images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    stacked = scaled[:, None] if images.ndim == 3 else np.moveaxis(scaled, 3, 1)
    return np.ascontiguousarray(stacked)


def _number_classes(arrays: Arrays, source: Source) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels as class numbers (int64), and the names of the classes."""
    if source.class_names:
        return arrays.train_labels.astype(np.int64), arrays.test_labels.astype(np.int64), source.class_names
    values = np.unique(arrays.train_labels)
    train, test = (np.searchsorted(values, labels).astype(np.int64) for labels in (arrays[1], arrays[3]))
    return train, test, tuple(str(value) for value in values.tolist())


def _class_number(dataset: Dataset, label: int | str) -> int:
    names: Sequence[str] = dataset.class_names
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, (int, np.integer)) and 0 <= label < len(names):
        return int(label)
    raise ValueError(f"no class {label!r} in {dataset.name}; valid are 0 … {len(names) - 1} or {', '.join(names)}")


def _device(device: str | torch.device) -> torch.device:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is unknown; valid are 'auto', 'cpu', 'cuda', 'cuda:1', 'mps'") from error
    absent = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if absent.get(chosen.type, False):
        raise ValueError(f"device={str(device)!r}: this machine or this build of torch has none; use 'auto' or 'cpu'")
    return chosen
