"""Data sets as tensors: generated, bundled with a package, in files of your own, in a system folder, or downloaded.

`load` resolves a name in this order:

1. a package that bundles or generates the data: this one (``"fashion-mnist-12k"``, what the chapters use), scikit-learn
   (``"digits"``), mnist1d (``"mnist1d"``);
2. your folders: the argument `root`, then the environment variable ``DESCENTLAB_DATA``;
3. the system's folder, where Debian's package ``dataset-fashion-mnist`` puts its files;
4. a download, with its checksum, kept in the first of your folders, else in ``~/.cache/descentlab``; `fetch` does it
   ahead of time.

A name that ends in ``.npz`` is a file of yours; the path of a folder with ``train/<class>/…`` and ``val/<class>/…`` is
read as images, ImageNet's layout. Nothing is ever unpickled, and a truncated or altered file raises `ValueError` rather
than being trained on. torch and scikit-learn are imported when a data set is loaded, so that `available` is instant.
`SOURCES` states the licence and the origin of each data set.

`transforms` changes tensors that are loaded: augmentation of a batch, corruption of images, noise in labels. `load_text`
reads texts as rows of tokens.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descentlab.data import files, text
from descentlab.data.files import Arrays, read_cifar_archive, read_idx, read_image, read_image_folders, read_svhn
from descentlab.data.text import TEXTS, Text, TextSource, load_text

if TYPE_CHECKING:
    import torch

    from descentlab.data.transforms import (
        CORRUPTIONS,
        ImageFolders,
        Indexed,
        augment,
        binary_rows,
        corrupt,
        corrupt_share,
        random_crop,
        random_flip,
        random_shift,
        symmetric_label_noise,
    )

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
    "fetch",
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
]


def __getattr__(name: str) -> Any:
    if name in __all__:  # the rest of them need torch, which is imported when the first is used
        return getattr(import_module("descentlab.data.transforms"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


SYSTEM_FOLDER = Path("/usr/share/datasets")

# sha256 of the unpacked content: packers differ in what they write into a gzip header
FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_12K = Path(__file__).with_name("fashion-mnist-12k.gz")
FASHION_12K_SHA256 = "1b734cc285da26856d2511ce7ec0e1e31cf6a2fc7976750229210e28d2d99796"  # of the unpacked content


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


@dataclass(frozen=True)
class Source:
    """Where a data set comes from, and how it is read.

    Attributes
    ----------
    title, licence, origin : str
        As a chapter or a table states them.
    class_names : tuple of str
        Empty where they are taken from the labels.
    read : callable, (paths, generator) -> Arrays
        Reads the files. Data that are generated draw from the generator, where there is one.
    package : tuple of str
        What bundles or generates the data: the module's name, and the name to install.
    bundled : path, optional
        A file of this package.
    files : tuple of (str, str)
        Address and MD5 digest of each file that its publisher offers.
    folders : tuple of str
        Where those lie in a folder of data; a download goes to the first.
    """

    title: str
    licence: str
    origin: str
    class_names: tuple[str, ...]
    read: Callable[[Sequence[Path], np.random.Generator | None], Arrays]
    package: tuple[str, str] | None = None
    bundled: Path | None = None
    files: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()


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
    target, own = choose_device(device), None if root is None else Path(root)
    folder = _image_folder(name, own)
    if folder is not None:
        arrays, class_names = read_image_folders(folder, size=image_size)
        licence, origin = "licence not stated", str(folder)
    else:
        source = _source(name)
        paths = _find(name, own) or _download(str(name), own)
        arrays = files.read_npz(paths[0]) if paths[0].suffix == ".npz" else source.read(paths, generator)
        licence, origin, class_names = source.licence, source.origin, source.class_names
    train, test = arrays.train_labels, arrays.test_labels
    if not class_names:
        values = np.unique(train)
        train, test = np.searchsorted(values, train), np.searchsorted(values, test)
        class_names = tuple(str(value) for value in values.tolist())
    low, high = min(train.min(), test.min()), max(train.max(), test.max())
    if low < 0 or high >= len(class_names):
        raise ValueError(f"{paths[0]}: expected labels 0 … {len(class_names) - 1} in {name}, found {low} … {high}")
    return Dataset(
        name=Path(name).stem,
        licence=licence,
        origin=origin,
        inputs=torch.from_numpy(_pixels(arrays.train_images)).to(target),
        targets=torch.from_numpy(train.astype(np.int64)).to(target),
        test_inputs=torch.from_numpy(_pixels(arrays.test_images)).to(target),
        test_targets=torch.from_numpy(test.astype(np.int64)).to(target),
        class_names=class_names,
    )


def available(name: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether `load`, or `load_text`, would find the data without a download. Looks for files, does not read them."""
    own = None if root is None else Path(root)
    if str(name) in TEXTS:
        return text.find(str(name), own) is not None
    return _image_folder(name, own) is not None or _find(name, own) is not None


def fetch(name: str, *, root: str | os.PathLike[str] | None = None) -> Path:
    """Make sure that a data set or a text is on this machine, and say where: a file, or the folder that holds it.

    Parameters
    ----------
    name : str
        One of `SOURCES` or `TEXTS`. What is found, as `load` finds it, is not downloaded again, nor read.
    root : path, optional
        As for `load`.

    Raises
    ------
    ValueError
        The name is unknown.
    FileNotFoundError
        It is nowhere, and cannot be downloaded, or not be kept; the message names each place tried and the remedies.
    ModuleNotFoundError
        The package that bundles or generates it is not installed.
    """
    own = None if root is None else Path(root)
    if name in TEXTS:
        return text.find(name, own) or text.download(own)
    if name not in SOURCES:
        known = [*SOURCES, *TEXTS]
        raise ValueError(
            f"nothing to fetch under {name!r}{_meant(name, known)} Valid are {', '.join(map(repr, known))}"
        )
    paths = _find(name, own) or _download(name, own)
    return paths[0] if len(paths) == 1 else paths[0].parent


def class_number(dataset: Dataset, label: int | str) -> int:
    """Number of a class, given by number or by name; ValueError if there is no such class."""
    names = dataset.class_names
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, (int, np.integer)) and 0 <= label < len(names):
        return int(label)
    raise ValueError(f"no class {label!r} in {dataset.name}; valid are 0 … {len(names) - 1} or {', '.join(names)}")


def choose_device(device: str | torch.device) -> torch.device:
    """The device that a name means; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        The name is unknown, or this machine has no such device.
    """
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


# -- finding and fetching ---------------------------------------------------------------------------------------------


def _source(name: str | os.PathLike[str]) -> Source:
    """The source of a data set by its name, or by the path of an ``.npz`` file."""
    if Path(name).suffix == ".npz":
        return Source(Path(name).name, "licence not stated", str(name), (), lambda paths, _: files.read_npz(paths[0]))
    if name not in SOURCES:
        valid = ", ".join(repr(known) for known in SOURCES)
        raise ValueError(
            f"no data set {str(name)!r}{_meant(name, SOURCES)} Valid are {valid}, the path of an .npz file and that of "
            "a folder with train/<class>/… and val/<class>/…"
        )
    return SOURCES[str(name)]


def _meant(name: object, known: Sequence[str] | dict[str, Source]) -> str:
    guess = get_close_matches(str(name).lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {guess[0]!r}?" if guess else ";"


def _image_folder(name: str | os.PathLike[str], root: Path | None) -> Path | None:
    """The folder of images that `name` means, with ``train`` and ``val`` (or ``test``) in it; None if there is none."""
    if str(name) in SOURCES or Path(name).suffix == ".npz":
        return None
    return next((p for p in (Path(name), *_in(files.own_folders(root), name)) if files.split_folders(p)), None)


def _in(folders: Sequence[Path], name: str | os.PathLike[str]) -> list[Path]:
    return [folder / name for folder in folders]


def _places(source: Source, root: Path | None) -> list[Path]:
    """Folders that may hold the files of a source, in the order in which they are tried."""
    folders = [*files.own_folders(root), SYSTEM_FOLDER, *files.cache_folders()]
    return [folder / sub for folder in folders for sub in ("", *source.folders)]


def _find(name: str | os.PathLike[str], root: Path | None) -> list[Path] | None:
    """The files of a data set, or the folder of its package; None if something is missing. Looks for names only."""
    source = _source(name)
    if source.package:
        spec = find_spec(source.package[0])
        return [Path(spec.origin).parent] if spec is not None and spec.origin else None
    if source.bundled:
        return [source.bundled]
    if not source.files:
        own = [Path(name), *_in(files.own_folders(root), name)]
        return next(([place] for place in own if place.is_file()), None)
    for place in _places(source, root):
        if (place / f"{name}.npz").is_file():
            return [place / f"{name}.npz"]
        names = [address.rpartition("/")[2] for address, _ in source.files]
        either = [[place / n, *([place / n.removesuffix(".gz")] if source.folders[1:] else [])] for n in names]
        found = [next((path for path in paths if path.is_file()), None) for paths in either]
        if None not in found:
            return [path for path in found if path is not None]
    return None


def _download(name: str, root: Path | None) -> list[Path]:
    """Fetch what `_find` did not find."""
    source = _source(name)
    if source.package:
        raise ModuleNotFoundError(f"{name!r} comes with a package: pip install {source.package[1]}")
    if not source.files:
        tried = "\n".join(f"  {place}" for place in (Path(name), *_in(files.own_folders(root), name)))
        raise FileNotFoundError(
            f"{name} is not there; tried\n{tried}\nGive its path, or its folder as DESCENTLAB_DATA=…"
        )
    try:
        folder = files.download_folder(root) / source.folders[0]
        for address, md5 in source.files:
            files.download(address, f"md5:{md5}", folder)
        return [folder / address.rpartition("/")[2] for address, _ in source.files]
    except (OSError, ValueError) as error:  # no network, no space, nowhere to write; another digest
        addresses = "\n".join(f"  {address}" for address, _ in source.files)
        raise FileNotFoundError(
            f"{name} is in none of\n"
            + "\n".join(f"  {place}" for place in _places(source, root))
            + f"\nand cannot be downloaded: {error}\nEither be online, or take the files\n{addresses}\n"
            f"or write {name}.npz with train_images, train_labels, test_images, test_labels (uint8), and set "
            "DESCENTLAB_DATA=<their folder>. Pickled copies (“python version”) are not read."
        ) from error


def _pixels(images: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1], shape (n, channels, height, width); signals as (n, 1, length)."""
    scaled = images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    stacked = scaled[:, None] if images.ndim < 4 else np.moveaxis(scaled, 3, 1)
    return np.ascontiguousarray(stacked)


# -- the data sets that `load` knows ----------------------------------------------------------------------------------


def _read_digits(paths: Sequence[Path], generator: np.random.Generator | None) -> Arrays:
    """1797 images in 17 grey levels. Of each class every fifth image, in the file's order, is a test image."""
    digits = import_module("sklearn.datasets").load_digits()
    images, labels = (digits.images / 16).astype(np.float32), digits.target
    rank = np.zeros(len(labels), dtype=int)  # of an image among those of its class
    for label in range(10):
        rank[labels == label] = np.arange(np.sum(labels == label))
    test = rank % 5 == 4
    return Arrays(images[~test], labels[~test], images[test], labels[test])


def _read_mnist1d(paths: Sequence[Path], generator: np.random.Generator | None) -> Arrays:
    """4000 + 1000 signals of length 40; the published set unless a generator draws another one."""
    import random

    package = import_module("mnist1d.data")
    arguments = package.get_dataset_args()
    if generator is not None:
        arguments.seed = int(generator.integers(2**32))
    before, plain = np.random.get_state(), random.getstate()  # noqa: NPY002  (the package draws from the global generators)
    try:
        made = package.make_dataset(arguments)
    finally:
        np.random.set_state(before)  # noqa: NPY002
        random.setstate(plain)
    return Arrays(made["x"], made["y"], made["x_test"], made["y_test"])


def _read_fashion_mnist(paths: Sequence[Path], generator: np.random.Generator | None) -> Arrays:
    digests = FASHION_MNIST_FILES.values()
    return Arrays(*(read_idx(path, sha256=digest) for path, digest in zip(paths, digests, strict=True)))


def _read_fashion_12k(paths: Sequence[Path], generator: np.random.Generator | None) -> Arrays:
    """A byte of label and 784 of pixels an image, training images first."""
    content = files.read_packed(FASHION_12K, sha256=FASHION_12K_SHA256, most=12_000 * 785)
    records = np.frombuffer(content, dtype=np.uint8).reshape(12_000, 785)
    images, labels = records[:, 1:].reshape(-1, 28, 28), records[:, 0]
    return Arrays(images[:10_000], labels[:10_000], images[10_000:], labels[10_000:])


_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_ZALANDO = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_TORONTO = "https://www.cs.toronto.edu/~kriz"
_STANFORD = "http://ufldl.stanford.edu/housenumbers"
_CIFAR10_FILE = (f"{_TORONTO}/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")
_CIFAR100_FILE = (f"{_TORONTO}/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")
_SVHN_FILES = (
    (f"{_STANFORD}/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
    (f"{_STANFORD}/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
)

SOURCES: dict[str, Source] = {
    "digits": Source(
        "Optical Recognition of Handwritten Digits: 1797 images of 8 × 8, as bundled with scikit-learn",
        "CC BY 4.0",
        "E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository, doi:10.24432/C50P49",
        _DIGITS,
        _read_digits,
        package=("sklearn", "scikit-learn"),
    ),
    "fashion-mnist-12k": Source(
        "Fashion-MNIST, its first 10 000 + 2 000 images of clothing, 28 × 28, as bundled with this package",
        "MIT",
        "H. Xiao, K. Rasul and R. Vollgraf (2017), Zalando Research, arXiv:1708.07747",
        _CLOTHES,
        _read_fashion_12k,
        bundled=FASHION_12K,
    ),
    "fashion-mnist": Source(
        "Fashion-MNIST: 70 000 images of clothing, 28 × 28",
        "MIT",
        "H. Xiao, K. Rasul and R. Vollgraf (2017), Zalando Research, arXiv:1708.07747",
        _CLOTHES,
        _read_fashion_mnist,
        files=(
            (f"{_ZALANDO}/train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            (f"{_ZALANDO}/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            (f"{_ZALANDO}/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            (f"{_ZALANDO}/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        folders=("FashionMNIST/raw", "fashion-mnist"),
    ),
    "mnist1d": Source(
        "MNIST-1D: 5000 signals of length 40, generated by the package mnist1d",
        "Apache-2.0",
        "S. Greydanus and D. Kobak (2024), arXiv:2011.14439",
        _DIGITS,
        _read_mnist1d,
        package=("mnist1d", "mnist1d"),
    ),
    "cifar10": Source(
        "CIFAR-10: 60 000 photographs, 32 × 32, ten classes",
        "licence not stated",
        "A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        lambda paths, _: read_cifar_archive(paths[0], label_bytes=1, md5=_CIFAR10_FILE[1]),
        files=(_CIFAR10_FILE,),
        folders=("CIFAR10",),
    ),
    "cifar100": Source(
        "CIFAR-100: 60 000 photographs, 32 × 32, a hundred classes",
        "licence not stated",
        "A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images",
        tuple(_CIFAR100.split()),
        lambda paths, _: read_cifar_archive(paths[0], label_bytes=2, md5=_CIFAR100_FILE[1]),
        files=(_CIFAR100_FILE,),
        folders=("CIFAR100",),
    ),
    "svhn": Source(
        "Street View House Numbers, cropped digits: 73 257 + 26 032 photographs, 32 × 32",
        "for non-commercial use",
        "Y. Netzer et al. (2011), Reading Digits in Natural Images with Unsupervised Feature Learning",
        _DIGITS,
        lambda paths, _: read_svhn(*paths, md5=[md5 for _, md5 in _SVHN_FILES]),
        files=_SVHN_FILES,
        folders=("SVHN",),
    ),
}
