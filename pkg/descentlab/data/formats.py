"""Files as arrays: read without unpickling anything, and refused where they are damaged."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from descentlab.data.structures import Arrays

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


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


def unpack(path: Path, *, most: int) -> bytes:
    """Content of a gzip file, read to its checksum; refused, before more is in memory, if it is larger than `most` bytes.

    Raises
    ------
    ValueError
        The file is damaged, or unpacks to more; the message names it.
    """
    try:
        with gzip.open(path) as file:
            content = file.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path}: expected a whole gzip file, found one that is damaged ({error})") from error
    if len(content) > most:
        raise ValueError(f"{path}: expected a gzip file of {most} bytes or fewer, found one that unpacks to more")
    return content


def read_packed(path: str | os.PathLike[str], *, sha256: str, most: int) -> bytes:
    """Content of a gzip file of this package, checked against its digest; errors as `unpack`'s."""
    content = unpack(Path(path), most=most)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{path}: expected content with sha256 {sha256}, found {found}: install the package again")
    return content


def read_npz(path: str | os.PathLike[str]) -> Arrays:
    """The four arrays of an ``.npz`` file in the layout that `load` documents.

    Raises
    ------
    ValueError
        The file is damaged, or in another layout; the message names it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if missing := [key for key in Arrays._fields if key not in stored]:
                raise ValueError(f"expected arrays {', '.join(Arrays._fields)}; {', '.join(missing)} missing")
            arrays = Arrays(*(stored[key] for key in Arrays._fields))
        check_arrays(arrays)
    except (ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not an .npz file of images and labels that can be used: {error}") from error
    return arrays


def check_arrays(arrays: Arrays) -> None:
    """Raise ValueError unless the arrays have the layout that `load` documents."""
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


def check_md5(path: Path, md5: str) -> None:
    """Raise ValueError unless the file has this digest, the one its publisher states."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise ValueError(f"{path}: expected a file with md5 {md5}, found {found}: fetch the file again")


def read_cifar_archive(path: str | os.PathLike[str], *, label_bytes: int, md5: str | None = None) -> Arrays:
    """CIFAR in its binary version, from the ``.tar.gz``: bytes of labels, then 3072 of an image, a record at a time.

    Parameters
    ----------
    path : path
    label_bytes : int
        1 in CIFAR-10; 2 in CIFAR-100, of which the second, the fine label, is kept.
    md5 : str, optional
        Expected digest of the archive.

    Raises
    ------
    ValueError
        The archive is damaged, or does not hold whole records.
    """
    path = Path(path)
    if md5 is not None:
        check_md5(path, md5)
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "test": []}
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                stem = Path(member.name).name
                file = archive.extractfile(member) if member.isfile() and stem.endswith(".bin") else None
                if file is not None:
                    records = np.frombuffer(file.read(), dtype=np.uint8).reshape(-1, label_bytes + 3072)
                    images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
                    parts["test" if stem.startswith("test") else "train"].append((images, records[:, label_bytes - 1]))
        if not all(parts.values()):
            raise ValueError("no .bin files for training and testing")
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{path}: not CIFAR's binary archive: {error}") from error
    joined = [np.concatenate(arrays) for split in ("train", "test") for arrays in zip(*parts[split], strict=True)]
    return Arrays(*joined)


def read_svhn(train: str | os.PathLike[str], test: str | os.PathLike[str], *, md5: Sequence[str] = ()) -> Arrays:
    """Street View House Numbers, from ``train_32x32.mat`` and ``test_32x32.mat``; the label 10 is the digit 0."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    arrays = []
    for path, digest in zip((Path(train), Path(test)), md5 or (None, None), strict=True):
        if digest is not None:
            check_md5(path, digest)
        try:
            stored = loadmat(path)
            images, labels = stored["X"].transpose(3, 0, 1, 2), stored["y"].ravel() % 10
        except (KeyError, MatReadError, NotImplementedError, OSError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"{path}: not a file of SVHN's cropped digits: {error!r}") from error
        arrays += [images, labels]
    return Arrays(*arrays)


def split_folders(root: Path) -> tuple[Path, Path] | None:
    """The folders of training and test images in `root`: ``train`` beside ``val`` or ``test``; None without them."""
    found = [
        next((root / name for name in names if (root / name).is_dir()), None) for names in (["train"], ["val", "test"])
    ]
    return None if None in found else (found[0], found[1])  # type: ignore[return-value]


def read_image_folders(root: str | os.PathLike[str], *, size: int = 64) -> tuple[Arrays, tuple[str, ...]]:
    """Images in folders named after their classes, ``train/<class>/…`` and ``val/<class>/…``.

    Parameters
    ----------
    root : path
    size : int
        Images are resized so that their shorter side has this length, and cropped to a square in the middle.

    Returns
    -------
    Arrays, tuple of str
        The images in memory, uint8, three channels; and the classes, the folders' names in alphabetical order.

    Raises
    ------
    ValueError
        A folder is missing or empty, a class is in one split only, or a file is no image; the message names it.
    """
    folders = split_folders(Path(root))
    if folders is None:
        raise ValueError(f"{root}: expected folders train and val (or test), each with a folder a class")
    classes = sorted(path.name for path in folders[0].iterdir() if path.is_dir())
    arrays: list[np.ndarray] = []
    for folder in folders:
        present = sorted(path.name for path in folder.iterdir() if path.is_dir())
        if present != classes or not classes:
            differing = sorted(set(present) ^ set(classes)) or ["none"]
            raise ValueError(
                f"{folder}: expected a folder for each class of {folders[0]}; these differ: {', '.join(differing)}"
            )
        files = [(path, k) for k, name in enumerate(classes) for path in image_files(folder / name)]
        if not files:
            raise ValueError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)})")
        arrays += [np.stack([read_image(path, size=size) for path, _ in files]), np.array([k for _, k in files])]
    return Arrays(*arrays), tuple(classes)


def image_files(folder: Path) -> list[Path]:
    """Images below `folder`, in alphabetical order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_image(path: Path, *, size: int) -> np.ndarray:
    """An image as uint8, shape (size, size, 3): resized by its shorter side and cropped in the middle."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR))
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path}: not an image that can be read: {error}") from error
