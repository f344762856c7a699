"""Files: where they are looked for, how they are fetched, and how they are read: nothing is unpickled, damage is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


class Arrays(NamedTuple):
    """What a source reads: images (n, height, width[, channels]), uint8 or float in [0, 1], and class numbers (n,).

    Signals are float64 of shape (n, length).
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


# -- places and downloads ---------------------------------------------------------------------------------------------


def own_folders(root: Path | None) -> list[Path]:
    """The user's own folders: the argument, then the environment variable."""
    named = os.environ.get("DESCENTLAB_DATA")
    return [*([root] if root is not None else []), *([Path(os.path.expanduser(named))] if named else [])]


def cache_folders() -> list[Path]:
    """The folder where downloads are kept unless there is one of the user's; empty for a user without a home."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "descentlab"]
    except RuntimeError:
        return []


def download_folder(root: Path | None) -> Path:
    """Where a download goes; FileNotFoundError where nothing can be written."""
    folder = next(iter([*own_folders(root), *cache_folders()]), None)
    try:
        if folder is None:
            raise FileNotFoundError("this user has no home folder")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"a download cannot be kept in {folder or '~/.cache'} ({error})"
        raise FileNotFoundError(f"{reason}: set DESCENTLAB_DATA=<a folder that can be written to>") from error
    return folder


def download(address: str, digest: str, folder: Path) -> None:
    """Put a file into a folder, whole and with this digest (``md5:…``), or not at all.

    Raises
    ------
    OSError
        It cannot be had. One attempt is made, which gives up after five seconds without an answer.
    ValueError
        What came has another digest.
    """
    import pooch

    get = pooch.HTTPDownloader(timeout=(5, 30), progressbar=sys.stderr.isatty())
    pooch.retrieve(address, digest, fname=address.rpartition("/")[2], path=folder, downloader=get)


# -- damage -----------------------------------------------------------------------------------------------------------


@contextmanager
def naming(path: Path, wanted: str) -> Iterator[None]:
    """Errors of a reader as a ValueError that names the file: readers raise errors of every type on damaged files."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path}: expected {wanted}, found {error or type(error).__name__}") from error


def check_claim(size: int, packed: int) -> None:
    """Refuse, before anything is allocated, content that claims to be far larger than its packed form."""
    if not 0 <= size <= max(2**26, 100 * packed):
        raise ValueError(f"one that claims to hold {size} bytes, packed into {packed}")


class Readable(Protocol):
    """A file open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


def read_bounded(file: Readable, most: int) -> bytes:
    """Content of an open file to its end, where checksums are compared; refused if it has more than `most` bytes."""
    parts, left = [], most
    while part := file.read(min(left, 2**20) + 1):  # memory grows with what is there, not with what is claimed
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise ValueError(f"more than {most} bytes in it")
    return b"".join(parts)


def unpack(path: Path, *, most: int) -> bytes:
    """Content of a gzip file, read to its checksum; ValueError if it is damaged or larger than `most` bytes."""
    with naming(path, f"a whole gzip file of {most} bytes or fewer"), gzip.open(path) as file:
        return read_bounded(file, most)


def read_packed(path: str | os.PathLike[str], *, sha256: str, most: int) -> bytes:
    """Content of a gzip file of this package, checked against its digest; errors as `unpack`'s."""
    content = unpack(Path(path), most=most)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{path}: expected content with sha256 {sha256}, found {found}: install the package again")
    return content


def check_md5(path: Path, md5: str | None) -> None:
    """Raise ValueError unless the file has this digest, the one its publisher states."""
    if md5 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise ValueError(f"{path}: expected a file with md5 {md5}, found {found}: remove it, and fetch it again")


# -- readers ----------------------------------------------------------------------------------------------------------


def read_idx(path: str | os.PathLike[str], *, sha256: str | None = None) -> np.ndarray:
    """An array of uint8 from a file in MNIST's idx format, packed with gzip (``.gz``) or not.

    Parameters
    ----------
    path : path
    sha256 : str, optional
        Expected digest of the unpacked content, in hexadecimal.

    Raises
    ------
    ValueError
        The file is truncated or altered: gzip's own check, the header, the size or the digest does not fit. The
        message names the file, what was expected and what was found.
    """
    path = Path(path)
    gz = path.suffix == ".gz"
    with naming(path, "a whole gzip file" if gz else "an idx file"), (gzip.open if gz else open)(path, "rb") as file:
        # header: two zero bytes, the type (8: unsigned byte), the number of axes, then each length as a big-endian int32
        head = file.read(4)
        axes = head[3] if head[:3] == b"\0\0\x08" and len(head) == 4 else 0
        lengths = file.read(4 * axes)
        if not axes or len(lengths) != 4 * axes:
            raise ValueError(f"one that starts with {(head + lengths).hex()!r} (an idx file of bytes: 000008)")
        shape = tuple(int.from_bytes(lengths[k : k + 4], "big") for k in range(0, 4 * axes, 4))
        check_claim(prod(shape), path.stat().st_size)
        content = read_bounded(file, prod(shape))
        if len(content) != prod(shape):
            raise ValueError(f"{len(content)} bytes of content where shape {shape} needs {prod(shape)}")
        digest = hashlib.sha256(head + lengths)
        digest.update(content)
        if sha256 not in (None, digest.hexdigest()):
            raise ValueError(f"sha256 {digest.hexdigest()} where {sha256} is expected: remove it, and fetch it again")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def read_npz(path: str | os.PathLike[str]) -> Arrays:
    """The four arrays of an ``.npz`` file in the layout that `load` documents; ValueError, naming it, for another one."""
    path = Path(path)
    with naming(path, "an .npz file of images and labels"), zipfile.ZipFile(path) as archive:
        if missing := [key for key in Arrays._fields if f"{key}.npy" not in archive.namelist()]:
            raise ValueError(f"{', '.join(missing)} missing")
        arrays = Arrays(*(_read_member(archive, f"{key}.npy") for key in Arrays._fields))
        check_arrays(arrays)
    return arrays


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an ``.npz`` file, whose size is what its header, the archive's table and the packed form allow."""
    info = archive.getinfo(name)
    check_claim(info.file_size, info.compress_size)
    with archive.open(info) as member:
        content = read_bounded(member, info.file_size)
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(f"pickled objects in {name}, which are not read")
    if min(shape, default=0) < 0 or file.tell() + prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes in {name} where {dtype} of shape {shape} is stated")
    flat = np.frombuffer(content, dtype=dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def check_arrays(arrays: Arrays) -> None:
    """Raise ValueError unless the arrays have the layout that `load` documents."""
    for split in ("train", "test"):
        images, labels = getattr(arrays, f"{split}_images"), getattr(arrays, f"{split}_labels")
        if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3, 4)) or images.size == 0:
            raise ValueError(f"{split}_images of shape {images.shape}, not (n, h, w) or (n, h, w, 1|3|4)")
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise ValueError(f"{split}_images of {images.dtype}, not uint8 or float")
        if images.dtype.kind == "f" and not np.all((images >= 0) & (images <= 1)):
            raise ValueError(f"{split}_images from {images.min():g} to {images.max():g}, not in [0, 1]")
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            wanted = f"integers of shape {images.shape[:1]}"
            raise ValueError(f"{split}_labels of {labels.dtype} and shape {labels.shape}, not {wanted}")
    if arrays.train_images.shape[1:] != arrays.test_images.shape[1:]:
        shapes = f"{arrays.train_images.shape[1:]} and {arrays.test_images.shape[1:]}"
        raise ValueError(f"images of different sizes, {shapes}")
    if unseen := np.setdiff1d(arrays.test_labels, arrays.train_labels).tolist():
        raise ValueError(f"test_labels {unseen}, which do not occur in train_labels")


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
        The archive is damaged (read to gzip's checksum), too large or not in that layout; the message names it.
    """
    path = Path(path)
    check_md5(path, md5)
    content = unpack(path, most=2**28)  # CIFAR's own have 185 MB
    parts: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
    with naming(path, "CIFAR's binary archive"), tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            if not 0 <= member.size <= len(content) or member.issparse():
                raise ValueError(f"{member.name} of {member.size} bytes in an archive of {len(content)}")
            stem = member.name.rpartition("/")[2]
            if member.isreg() and stem.endswith(".bin"):
                records = np.frombuffer(content, np.uint8, member.size, member.offset_data)
                split = "test" if stem.startswith("test") else "train"
                parts[split].append((member.name, records.reshape(-1, label_bytes + 3072)))
        if not all(parts.values()):
            raise ValueError("no .bin files for training and testing")
    arrays: list[np.ndarray] = []
    for named in parts.values():
        records = np.concatenate([part for _, part in sorted(named, key=lambda pair: pair[0])])
        images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays += [images, records[:, label_bytes - 1]]
    return Arrays(*arrays)


def read_svhn(train: str | os.PathLike[str], test: str | os.PathLike[str], *, md5: Sequence[str] = ()) -> Arrays:
    """Street View House Numbers, from ``train_32x32.mat`` and ``test_32x32.mat``; the label 10 is the digit 0.

    Raises
    ------
    ValueError
        A file is damaged, has another digest than in `md5`, or is not in that layout; the message names it.
    """
    from scipy.io import loadmat, whosmat

    arrays = []
    for path, digest in zip((Path(train), Path(test)), md5 or (None, None), strict=True):
        check_md5(path, digest)
        with naming(path, "a file of SVHN's cropped digits"), warnings.catch_warnings():
            warnings.simplefilter("error")
            shapes = {name: shape for name, shape, _ in whosmat(path)}
            for key in ("X", "y"):
                check_claim(8 * prod(shapes[key]), path.stat().st_size)
            stored = loadmat(path, variable_names=("X", "y"))
            images, labels = stored["X"].transpose(3, 0, 1, 2), stored["y"].ravel()
            if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or labels.shape != images.shape[:1]:
                raise ValueError(f"X of {images.dtype} and shape {stored['X'].shape}, y of shape {stored['y'].shape}")
            if labels.dtype.kind not in "iu" or not np.all((labels >= 1) & (labels <= 10)):
                raise ValueError(f"labels of {labels.dtype} that are not 1 … 10")
        arrays += [images, labels % 10]
    return Arrays(*arrays)


# -- folders of images ------------------------------------------------------------------------------------------------


def split_folders(root: Path) -> tuple[Path, Path] | None:
    """The folders of training and test images in `root`: ``train`` beside ``val`` or ``test``; None without them."""
    test = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    return (root / "train", test) if test is not None and (root / "train").is_dir() else None


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
    if size < 1:
        raise ValueError(f"size={size!r}: images need a side of at least one pixel")
    classes, _ = image_files(folders[0])
    arrays: list[np.ndarray] = []
    for folder in folders:
        present, files = image_files(folder)
        if present != classes or not classes:
            differing = ", ".join(sorted(set(present) ^ set(classes))) or "none"
            raise ValueError(f"{folder}: expected a folder for each class of {folders[0]}; these differ: {differing}")
        if not files:
            raise ValueError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)})")
        arrays += [np.stack([read_image(path, size=size) for path, _ in files]), np.array([k for _, k in files])]
    return Arrays(*arrays), tuple(classes)


def image_files(folder: Path) -> tuple[list[str], list[tuple[Path, int]]]:
    """The classes in a folder with a folder a class, and the images with their class numbers, in alphabetical order."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = ((path, k) for k, name in enumerate(classes) for path in sorted((folder / name).rglob("*")))
    return classes, [(path, k) for path, k in found if path.suffix.lower() in IMAGE_SUFFIXES]


def read_image(path: Path, *, size: int) -> np.ndarray:
    """An image as uint8, shape (size, size, 3): resized by its shorter side and cropped in the middle."""
    from PIL import Image, ImageOps

    with naming(path, "an image that can be read"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR))
