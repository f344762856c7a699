"""Data sets: layout, where they are looked for, and that damaged files are refused."""

import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import tarfile
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from scipy.optimize import linprog

from descentlab import data

FASHION = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data set on the machine, and no network."""
    monkeypatch.delenv("DESCENTLAB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "system")
    publisher({}, monkeypatch)
    return tmp_path


def publisher(contents, monkeypatch):
    """Downloads get these contents, by the end of their address, instead of the network's; the addresses asked for."""
    asked = []

    def get(address, output_file, pooch, **options):
        asked.append(address)
        name = address.rpartition("/")[2]
        if name not in contents:
            raise ConnectionError("no route to host")
        Path(output_file).write_bytes(contents[name])

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **options: get)
    return asked


@pytest.fixture
def small_fashion(nowhere, monkeypatch):
    """A function that writes the four files, with 20 and 10 random images, into a folder; and their arrays."""
    generator = np.random.default_rng(0)
    arrays = [
        generator.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        np.arange(20, dtype=np.uint8) % 10,
        generator.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        np.arange(10, dtype=np.uint8),
    ]
    contents = dict(zip(FASHION, map(idx_bytes, arrays), strict=True))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(data, "FASHION_MNIST_FILES", digests)

    def write(folder, packed=True):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            path = folder / (f"{name}.gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
        return folder

    return write, arrays


# -- digits ---------------------------------------------------------------------------------------------------------


def test_digits_layout():
    digits = data.load("digits")
    assert digits.inputs.shape == (1442, 1, 8, 8) and digits.test_inputs.shape == (355, 1, 8, 8)
    assert digits.inputs.dtype == torch.float32 and digits.targets.dtype == torch.int64
    assert digits.inputs.min() == 0 and digits.inputs.max() == 1
    assert digits.class_names == tuple("0123456789")
    assert digits.licence == "CC BY 4.0" and "UCI" in digits.origin
    assert repr(digits) == "digits: 1442 + 355 images of 1 × 8 × 8, 10 classes, on cpu; CC BY 4.0"


def test_digits_split_is_a_partition_with_a_fifth_of_each_class():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    per_class = digits.targets.bincount(), digits.test_targets.bincount()
    assert all(abs(test / (train + test) - 0.2) < 0.01 for train, test in zip(*per_class, strict=True))

    def as_multiset(images, labels):
        return sorted((*row, label) for row, label in zip(images.tolist(), labels.tolist(), strict=True))

    images = torch.cat([digits.inputs, digits.test_inputs]).flatten(1) * 16
    labels = torch.cat([digits.targets, digits.test_targets])
    assert as_multiset(images, labels) == as_multiset(*load_digits(return_X_y=True))


@pytest.mark.parametrize(("name", "package"), [("digits", "scikit-learn"), ("mnist1d", "mnist1d")])
def test_a_set_of_a_package_that_is_missing(name, package, monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    assert not data.available(name)
    for call in (data.load, data.fetch):
        with pytest.raises(ModuleNotFoundError, match=f"pip install {package}"):
            call(name)


# -- the images that come with the package --------------------------------------------------------------------------


def test_bundled_images(nowhere):
    assert data.available("fashion-mnist-12k")
    images = data.load("fashion-mnist-12k")
    assert images.inputs.shape == (10_000, 1, 28, 28) and images.test_inputs.shape == (2_000, 1, 28, 28)
    assert images.targets.bincount().tolist() == [942, 1027, 1016, 1019, 974, 989, 1021, 1022, 990, 1000]
    assert images.test_targets.bincount().tolist() == [200, 203, 214, 190, 219, 195, 197, 200, 194, 188]
    assert images.class_names[9] == "Ankle boot" and images.licence == "MIT"
    levels = images.inputs * 255
    assert torch.equal(levels.round().to(torch.uint8) / torch.tensor(255.0), images.inputs) and levels.max() == 255
    # the set's first training images, as anybody sees them: a boot, a T-shirt and another one, a dress
    assert [images.class_names[k] for k in images.targets[:4]] == ["Ankle boot", "T-shirt/top", "T-shirt/top", "Dress"]


def test_bundled_images_that_are_damaged(tmp_path, monkeypatch):
    whole, path = data.FASHION_12K.read_bytes(), tmp_path / "images.gz"
    monkeypatch.setattr(data, "FASHION_12K", path)
    content = gzip.decompress(whole)
    altered = content[:-1] + bytes([content[-1] ^ 1])
    for damaged in (whole[:-1], flip_a_bit(whole), gzip.compress(altered, 1), gzip.compress(content + b"\0", 1)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"images\.gz: expected"):
            data.load("fashion-mnist-12k")


@pytest.mark.parametrize("name", ["fashion-mnist-12k", "shakespeare-small"])
def test_what_is_bundled_states_its_licence_and_goes_into_the_wheel(name):
    file = data.fetch(name)
    told = file.with_suffix(".txt").read_text(encoding="utf-8")
    assert hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() in told
    assert ("MIT License" if name == "fashion-mnist-12k" else "CC BY 2.5") in told
    ignored = Path(__file__).parents[1] / ".gitignore"  # what git ignores, the wheel leaves out
    assert file.name not in ignored.read_text() and "*.gz" not in ignored.read_text()


# -- names and devices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [data.load, data.available])
def test_an_unknown_name_lists_the_valid_ones(call):
    with pytest.raises(
        ValueError, match=r"no data set 'FashionMNIST'; did you mean 'fashion-mnist'\? Valid are 'digits'"
    ):
        call("FashionMNIST")
    with pytest.raises(ValueError, match=r"'zzz'; Valid are 'digits', .*'svhn', the path of an \.npz file"):
        call("zzz")


def test_devices():
    assert data.load("digits", device="auto").inputs.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert data.load("digits", device=torch.device("cpu")).targets.device.type == "cpu"
    with pytest.raises(ValueError, match="device='gpu' is unknown; valid are 'auto', 'cpu', 'cuda'"):
        data.load("digits", device="gpu")


def test_absent_devices_are_refused_in_a_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "cuda:1", "mps"):
        with pytest.raises(ValueError, match=f"device='{device}': this machine or this build of torch has none"):
            data.load("digits", device=device)


def test_every_source_states_licence_and_origin():
    for name, source in data.SOURCES.items():
        assert source.licence and source.origin and source.title, name
        assert len(set(source.class_names)) == len(source.class_names) == (100 if name == "cifar100" else 10)


def test_availability_is_told_without_importing_torch_or_scikit_learn():
    code = (
        "import sys; from descentlab import data; [data.available(name) for name in (*data.SOURCES, *data.TEXTS)];"
        "assert not {'torch', 'sklearn', 'pooch', 'requests'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- Fashion-MNIST --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("layout", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("how", ["root", "environment", "system", "cache"])
def test_fashion_mnist_is_found(how, layout, packed, small_fashion, nowhere, monkeypatch):
    write, (train_images, train_labels, test_images, test_labels) = small_fashion
    assert not data.available("fashion-mnist")
    root = None
    if how == "root":
        root = write(nowhere / "mine" / layout, packed) and nowhere / "mine"
    elif how == "environment":
        monkeypatch.setenv("DESCENTLAB_DATA", str(nowhere / "mine"))
        write(nowhere / "mine" / layout, packed)
    else:
        write(nowhere / {"system": "system/fashion-mnist", "cache": "cache/descentlab/FashionMNIST/raw"}[how], packed)
    assert data.available("fashion-mnist", root=root)
    fashion = data.load("fashion-mnist", root=root)
    np.testing.assert_allclose(fashion.inputs[:, 0], train_images / 255, atol=1e-7)
    np.testing.assert_allclose(fashion.test_inputs[:, 0], test_images / 255, atol=1e-7)
    assert fashion.targets.tolist() == train_labels.tolist()
    assert fashion.test_targets.tolist() == test_labels.tolist()


def test_root_comes_before_the_environment(small_fashion, nowhere, monkeypatch):
    write, _ = small_fashion
    monkeypatch.setenv("DESCENTLAB_DATA", str(write(nowhere / "altered")))
    (nowhere / "altered" / f"{FASHION[1]}.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\0"))
    with pytest.raises(ValueError, match="altered"):
        data.load("fashion-mnist")
    assert len(data.load("fashion-mnist", root=write(nowhere / "whole")).inputs) == 20


def test_absent_and_offline_names_each_place_and_the_remedies(small_fashion, nowhere, monkeypatch):
    write, _ = small_fashion
    monkeypatch.setenv("DESCENTLAB_DATA", str(nowhere / "theirs"))
    (write(nowhere / "mine") / f"{FASHION[3]}.gz").unlink()  # three files of four are not enough
    assert not data.available("fashion-mnist", root=nowhere / "mine")
    for call in (data.load, data.fetch):
        with pytest.raises(FileNotFoundError, match="no route to host") as raised:
            call("fashion-mnist", root=nowhere / "mine")
    message = str(raised.value)
    for place in ("mine", "mine/FashionMNIST/raw", "theirs", "system/fashion-mnist", "cache/descentlab"):
        assert str(nowhere / place) + "\n" in message
    assert f"{FASHION[0]}.gz\n" in message and "fashion-mnist.npz" in message and "DESCENTLAB_DATA=" in message


@pytest.mark.parametrize("root", [None, "mine"])
def test_download_with_its_digest(root, small_fashion, nowhere, monkeypatch):
    write, _ = small_fashion
    contents = {path.name: path.read_bytes() for path in write(nowhere / "publisher").iterdir()}
    named = tuple((f"https://nowhere.example/{name}.gz", md5(contents[f"{name}.gz"])) for name in FASHION)
    monkeypatch.setitem(data.SOURCES, "fashion-mnist", replace(data.SOURCES["fashion-mnist"], files=named))
    altered = publisher({**contents, f"{FASHION[1]}.gz": flip_a_bit(contents[f"{FASHION[1]}.gz"])}, monkeypatch)
    root = root and nowhere / root
    folder = (root or nowhere / "cache" / "descentlab") / "FashionMNIST" / "raw"
    with pytest.raises(FileNotFoundError, match=f"(?i){FASHION[1]}.*md5|md5.*{FASHION[1]}"):
        data.fetch("fashion-mnist", root=root)
    assert [path.name for path in folder.iterdir()] == [f"{FASHION[0]}.gz"] and len(altered) == 2
    asked = publisher(contents, monkeypatch)
    for _ in range(2):  # the second time the files are there
        assert data.fetch("fashion-mnist", root=root) == folder
        assert len(data.load("fashion-mnist", root=root).inputs) == 20
    assert asked == [address for address, _ in named[1:]]  # the first is there already


def md5(content):
    return hashlib.md5(content).hexdigest()


def test_digests_that_their_publishers_state():
    """Of Fashion-MNIST's README, of the CIFAR page, and of the copies of SVHN that everybody uses."""
    assert [md5[:6] for _, md5 in data.SOURCES["fashion-mnist"].files] == ["8d4fb7", "25c819", "bef4ec", "bb300c"]
    assert data.SOURCES["cifar10"].files[0][1] == "c32a1d4ab5d03f1284b67883e8d87530"
    assert data.SOURCES["cifar100"].files[0][1] == "03b5dce01913d631647c71ecec9e9cb8"


def test_fetch_says_where_things_are(nowhere):
    assert data.fetch("digits").name == "sklearn" and (data.fetch("digits") / "datasets").is_dir()
    assert data.fetch("fashion-mnist-12k").name == "fashion-mnist-12k.gz"
    assert data.fetch("shakespeare-small").is_file() and (data.fetch("python-stdlib") / "os.py").is_file()
    np.savez(nowhere / "cifar10.npz", **npz_arrays((32, 32, 3)))
    assert data.fetch("cifar10", root=nowhere) == nowhere / "cifar10.npz"
    with pytest.raises(ValueError, match=r"nothing to fetch under 'cifar-10'; did you mean 'cifar10'\? Valid are"):
        data.fetch("cifar-10")


def test_a_home_that_is_missing_or_not_to_be_written_to(nowhere, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    (nowhere / "home").write_text("a file where a folder should be")
    monkeypatch.setenv("HOME", str(nowhere / "home"))
    message = rf"a download cannot be kept in {nowhere}/home/\.cache/descentlab .*: set DESCENTLAB_DATA="
    for name in ("cifar10", "shakespeare"):
        assert not data.available(name)
        with pytest.raises(FileNotFoundError, match=message):
            data.fetch(name)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("cifar10", "shakespeare"):
        assert not data.available(name)
        with pytest.raises(FileNotFoundError, match=r"this user has no home folder.*: set DESCENTLAB_DATA="):
            data.fetch(name)


# -- damaged files --------------------------------------------------------------------------------------------------


def flip_a_bit(content):
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda packed: packed[: len(packed) // 2], "expected a whole gzip file"),
        (lambda packed: packed[:-1], "expected a whole gzip file"),
        (flip_a_bit, "expected a whole gzip file"),
        (lambda packed: b"<html>not found</html>", "expected a whole gzip file"),
        (lambda packed: b"", "expected a whole gzip file"),
        (lambda packed: gzip.compress(flip_a_bit(gzip.decompress(packed))), "found sha256 .* where .* is expected"),
        (
            lambda packed: gzip.compress(gzip.decompress(packed)[:-28]),
            r"found 15652 bytes of content where shape \(20, 28, 28\) needs 15680",
        ),
        (lambda packed: gzip.compress(gzip.decompress(packed) + b"\0"), "found more than 15680 bytes"),
        (lambda packed: gzip.compress(b"\0\0\x0d\x03" + bytes(12)), "starts with '00000d03'"),
    ],
    ids=[
        "half",
        "last byte",
        "bit of the stream",
        "web page",
        "empty",
        "bit of the content",
        "short",
        "long",
        "floats",
    ],
)
def test_damaged_files_are_refused(damage, message, small_fashion, nowhere):
    write, _ = small_fashion
    path = write(nowhere / "mine") / f"{FASHION[0]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as raised:
        data.load("fashion-mnist", root=nowhere / "mine")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (0, 4)])
@pytest.mark.parametrize("packed", [True, False])
def test_read_idx_round_trip(shape, packed, tmp_path):
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("array.gz" if packed else "array")
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    np.testing.assert_array_equal(data.read_idx(path), array)


@pytest.mark.parametrize("content", [b"\0\0", b"\0\0\x08\0", b"\x01\0\x08\x01", b"\0\0\x08\x02\0\0\0\x01"])
def test_read_idx_refuses_a_bad_header(content, tmp_path):
    (tmp_path / "array").write_bytes(content)
    with pytest.raises(ValueError, match="expected"):
        data.read_idx(tmp_path / "array")


# -- .npz files -----------------------------------------------------------------------------------------------------


def npz_arrays(shape=(6, 5), dtype=np.uint8, labels=(3, 8, 3, 8, 3, 8, 8, 3)):
    generator = np.random.default_rng(2)
    images = generator.integers(0, 256, (8, *shape), dtype=np.uint8)
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    labels = np.array(labels)
    return {
        "train_images": images[:6],
        "train_labels": labels[:6],
        "test_images": images[6:],
        "test_labels": labels[6:],
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_npz_layouts(shape, dtype, tmp_path):
    arrays = npz_arrays(shape, dtype)
    np.savez_compressed(tmp_path / "mine.npz", **arrays)
    mine = data.load(tmp_path / "mine.npz")
    channels = shape[2] if len(shape) == 3 else 1
    assert mine.inputs.shape == (6, channels, 6, 5) and mine.inputs.dtype == torch.float32
    expected = arrays["train_images"] / (255 if dtype == np.uint8 else 1)
    for channel in range(channels):
        picture = expected[..., channel] if len(shape) == 3 else expected
        np.testing.assert_allclose(mine.inputs[:, channel], picture, atol=1e-7)
    assert mine.name == "mine" and mine.class_names == ("3", "8")
    assert mine.targets.tolist() == [0, 1, 0, 1, 0, 1] and mine.test_targets.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_npz_labels_of_any_integer_type(dtype, tmp_path):
    low = -1 if np.issubdtype(dtype, np.signedinteger) else 0
    arrays = npz_arrays()
    for split in ("train", "test"):
        arrays[f"{split}_labels"] = np.where(arrays[f"{split}_labels"] == 3, low, 1).astype(dtype)
    np.savez(tmp_path / "mine.npz", **arrays)
    mine = data.load(tmp_path / "mine.npz")
    assert mine.class_names == (str(low), "1") and mine.targets.tolist() == [0, 1, 0, 1, 0, 1]


def test_npz_is_found_in_root_and_environment(nowhere, monkeypatch):
    (nowhere / "mine").mkdir()
    np.savez(nowhere / "mine" / "x.npz", **npz_arrays())
    assert data.available("x.npz", root=nowhere / "mine") and not data.available("x.npz")
    monkeypatch.setenv("DESCENTLAB_DATA", str(nowhere / "mine"))
    assert data.available("x.npz") and len(data.load("x.npz").inputs) == 6
    with pytest.raises(FileNotFoundError) as raised:
        data.load("y.npz", root=nowhere)
    assert all(str(place) in str(raised.value) for place in (nowhere / "y.npz", nowhere / "mine" / "y.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "test_labels missing"),
        ({"train_images": np.zeros((6, 30), np.uint8)}, r"found train_images of shape \(6, 30\)"),
        ({"train_images": np.zeros((6, 3, 6, 5), np.uint8)}, r"shape \(6, 3, 6, 5\)"),
        ({"train_images": np.zeros((0, 6, 5), np.uint8)}, r"shape \(0, 6, 5\)"),
        ({"train_images": np.zeros((6, 6, 5), np.int64)}, "of int64, not uint8 or float"),
        ({"train_images": np.full((6, 6, 5), 255.0)}, r"from 255 to 255, not in \[0, 1\]"),
        ({"test_images": np.full((2, 6, 5), np.nan)}, r"from nan to nan"),
        ({"test_images": np.zeros((2, 7, 5), np.uint8)}, r"different sizes, \(6, 5\) and \(7, 5\)"),
        ({"train_labels": np.zeros(5, int)}, r"train_labels of int64 and shape \(5,\), not integers of shape \(6,\)"),
        ({"train_labels": np.zeros(6)}, "train_labels of float64"),
        ({"train_labels": np.zeros((6, 1), int)}, r"and shape \(6, 1\)"),
        ({"test_labels": np.array([3, 7])}, r"test_labels \[7\], which do not occur"),
        ({"train_images": np.array([{}] * 6, dtype=object)}, "pickled objects in train_images.npy"),
    ],
)
def test_npz_in_another_layout_is_refused(changes, message, tmp_path):
    arrays = {key: value for key, value in {**npz_arrays(), **changes}.items() if value is not None}
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ValueError, match=message) as raised:
        data.load(tmp_path / "mine.npz")
    assert str(tmp_path / "mine.npz") in str(raised.value)


class Trap:
    """Unpickling it fails the test."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "bit", "empty", "text", "pickle", "npy"])
def test_damaged_npz_is_refused(damage, compressed, tmp_path):
    path = tmp_path / "mine.npz"
    (np.savez_compressed if compressed else np.savez)(path, **npz_arrays((28, 28)))
    whole = path.read_bytes()
    if damage == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        middle = 200  # within the first array
        path.write_bytes(
            {
                "truncated": whole[: len(whole) // 2],
                "bit": whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :],
                "empty": b"",
                "text": b"not a zip file",
                "pickle": pickle.dumps(Trap()),
            }[damage]
        )
    with pytest.raises(ValueError, match=r"mine\.npz: expected an \.npz file"):
        data.load(path)


@pytest.mark.skipif(not (SHARED / "cifar10-jpeg.npz").exists(), reason="needs ../shared/data/cifar10-jpeg.npz")
def test_an_npz_of_packed_jpegs_is_refused():
    with pytest.raises(ValueError, match="train_images, test_images missing"):
        data.load(SHARED / "cifar10-jpeg.npz")


# -- two classes as rows --------------------------------------------------------------------------------------------


def small_dataset(num_per_class=30, side=8, seed=3):
    """Random grey levels, the first column black; three classes."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 17, (3 * num_per_class, 1, side, side)) / 16
    images[..., 0] = 0
    labels = np.arange(3 * num_per_class) % 3
    tensors = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
    return data.Dataset("noise", "none", "here", *tensors, *tensors, ("a", "b", "c"))


def separable(rows):
    """Whether some w has every row · w >= 1, by linear programming."""
    d = rows.shape[1]
    return linprog(np.zeros(d), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=[(None, None)] * d).status == 0


def test_binary_rows_against_a_plain_computation():
    dataset = small_dataset()
    rows = data.binary_rows(dataset, classes=(1, 2), num_samples=20, seed=5, drop_constant=False, standardize=False)
    assert rows.shape == (20, 64) and rows.dtype == np.float64
    # each row is plus an image of class 1, or minus one of class 2; ten of each, all different
    images = dataset.inputs.flatten(1).double().numpy()
    labels = dataset.targets.numpy()
    matches = []
    for row in rows:
        sign = 1 if row.sum() > 0 else -1
        (index,) = np.flatnonzero((images == sign * row).all(axis=1))
        assert labels[index] == (1 if sign == 1 else 2)
        matches.append(index)
    assert len(set(matches)) == 20 and np.sum(labels[matches] == 1) == 10
    assert not np.array_equal(labels[matches], np.repeat([1, 2], 10))  # the order is mixed


def test_binary_rows_standardised():
    dataset = small_dataset()
    rows = data.binary_rows(dataset, classes=(0, 1), num_samples=20, seed=1)
    plain = data.binary_rows(dataset, classes=(0, 1), num_samples=20, seed=1, standardize=False, drop_constant=False)
    signs = np.sign(plain.sum(axis=1))
    features = signs[:, None] * rows
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-13)
    # a pixel goes where it is constant, or where a sample has exactly the mean (in sixteenths, so exactly decidable)
    levels = np.rint(16 * signs[:, None] * plain).astype(int)
    wanted = ~(20 * levels == levels.sum(axis=0)).any(axis=0)
    assert 0 < wanted.sum() < 56
    centred = levels[:, wanted] - levels[:, wanted].mean(axis=0)
    np.testing.assert_allclose(features, centred / levels[:, wanted].std(axis=0), atol=1e-12)


def test_binary_rows_keeps_pixels_where_asked():
    rows = data.binary_rows(small_dataset(), num_samples=20, drop_constant=False)
    assert rows.shape == (20, 64)
    assert not rows[:, ::8].any()  # the black column, and no division by zero
    assert data.binary_rows(small_dataset(), num_samples=20, standardize=False).shape == (20, 56)


def test_binary_rows_depend_on_the_seed_only():
    first, again, other = (data.binary_rows(small_dataset(), num_samples=10, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_binary_rows_by_class_name_and_reversed():
    by_number = data.binary_rows(small_dataset(), classes=(2, 0), num_samples=10)
    np.testing.assert_array_equal(data.binary_rows(small_dataset(), classes=("c", "a"), num_samples=10), by_number)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": (1, 1), "num_samples": 4}, "two different classes"),
        ({"classes": (0, 3), "num_samples": 4}, "no class 3 in noise; valid are 0 … 2 or a, b, c"),
        ({"classes": (0, "z"), "num_samples": 4}, "no class 'z'"),
        ({"num_samples": 5}, "num_samples=5 must be even"),
        ({"num_samples": 0}, "num_samples=0 must be even and at least 2"),
        ({"num_samples": 62}, "class 'a' has only 30 training images"),
    ],
)
def test_binary_rows_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.binary_rows(small_dataset(), **arguments)


def test_binary_rows_without_a_varying_pixel():
    dataset = small_dataset()
    with pytest.raises(ValueError, match="no pixel of noise varies"):
        data.binary_rows(
            data.Dataset("noise", "", "", torch.zeros(90, 1, 8, 8), *[dataset.targets] * 3, ("a", "b", "c")),
            num_samples=10,
        )


@pytest.mark.parametrize("num_samples", [10, 20, 40])
@pytest.mark.parametrize("classes", [(0, 1), (3, 8), (4, 9)])
def test_digits_rows_are_separable_and_nowhere_zero(classes, num_samples):
    rows = data.binary_rows(data.load("digits"), classes=classes, num_samples=num_samples)
    assert num_samples < rows.shape[1] and np.abs(rows).min() > 1e-4
    assert separable(rows)


def test_fashion_mnist_rows_are_separable_and_nowhere_zero():
    rows = data.binary_rows(data.load("fashion-mnist-12k"), classes=("Pullover", "Coat"), num_samples=100)
    assert rows.shape[1] > 100 and np.abs(rows).min() > 1e-6
    assert separable(rows)


# -- generated, and other publishers' files ---------------------------------------------------------------------------


def test_mnist1d_is_the_published_set_or_another():
    pytest.importorskip("mnist1d")
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    signals = data.load("mnist1d")
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002  (the package seeds the global generator)
    assert signals.inputs.shape == (4000, 1, 40) and signals.test_inputs.shape == (1000, 1, 40)
    assert abs(float(torch.cat([signals.inputs, signals.test_inputs]).std()) - 1) < 1e-3
    assert torch.cat([signals.targets, signals.test_targets]).bincount().tolist() == [500] * 10
    assert repr(signals).startswith("mnist1d: 4000 + 1000 signals of 1 × 40, 10 classes")
    other = data.load("mnist1d", generator=np.random.default_rng(1))
    assert not torch.equal(other.inputs, signals.inputs)


def test_mnist1d_is_drawn_from_the_generator_it_is_given(monkeypatch):
    """With a stand-in for the package: its seed is the published one, or comes from the generator."""
    asked = []

    def make_dataset(arguments):
        asked.append(arguments.seed)
        np.random.seed(arguments.seed)  # noqa: NPY002  (as the package does)
        signals = np.random.randn(10, 40)  # noqa: NPY002
        return {"x": signals[:8], "y": np.arange(8), "x_test": signals[8:], "y_test": np.arange(2)}

    package = types.SimpleNamespace(get_dataset_args=lambda: types.SimpleNamespace(seed=42), make_dataset=make_dataset)
    monkeypatch.setattr(data, "import_module", lambda name: {"mnist1d.data": package}[name])
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    published, again = data.load("mnist1d"), data.load("mnist1d")
    drawn = [data.load("mnist1d", generator=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert asked[:2] == [42, 42] and asked[2] == asked[3] != asked[4]
    assert torch.equal(published.inputs, again.inputs) and torch.equal(drawn[0].inputs, drawn[1].inputs)
    assert not torch.equal(drawn[0].inputs, drawn[2].inputs) and published.inputs.shape == (8, 1, 40)


def cifar_archive(path, label_bytes, records=6):
    """An archive in CIFAR's binary layout, and its images and labels."""
    generator = np.random.default_rng(7)
    parts = {}
    with tarfile.open(path, "w:gz") as archive:
        for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
            labels = generator.integers(0, 10, (records, label_bytes), dtype=np.uint8)
            images = generator.integers(0, 256, (records, 3, 32, 32), dtype=np.uint8)
            content = np.concatenate([labels, images.reshape(records, -1)], axis=1).tobytes()
            member = tarfile.TarInfo(f"cifar/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            parts[name] = images, labels
    return parts


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_in_its_binary_version(label_bytes, tmp_path):
    parts = cifar_archive(tmp_path / "cifar.tar.gz", label_bytes)
    arrays = data.read_cifar_archive(tmp_path / "cifar.tar.gz", label_bytes=label_bytes)
    train = [parts[f"data_batch_{k}.bin"] for k in (1, 2)]
    images = np.concatenate([image for image, _ in train]).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(arrays.train_images, images)
    np.testing.assert_array_equal(arrays.train_labels, np.concatenate([label for _, label in train])[:, -1])
    np.testing.assert_array_equal(arrays.test_labels, parts["test_batch.bin"][1][:, -1])


def test_damaged_cifar_archives_are_refused(tmp_path):
    path = tmp_path / "cifar.tar.gz"
    cifar_archive(path, 1)
    whole = path.read_bytes()
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz: expected a file with md5 0+, found"):
        data.read_cifar_archive(path, label_bytes=1, md5="0" * 32)
    for content in (whole[: len(whole) // 2], b"", b"no archive", gzip.compress(b"no archive"), flip_a_bit(whole)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cifar\.tar\.gz: expected"):
            data.read_cifar_archive(path, label_bytes=1)
    cifar_archive(path, 1)
    with pytest.raises(ValueError, match="expected CIFAR's binary archive"):
        data.read_cifar_archive(path, label_bytes=2)  # records of another length


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.999])
def test_any_bit_of_a_cifar_archive_is_under_its_checksum(where, tmp_path):
    path = tmp_path / "cifar.tar.gz"
    cifar_archive(path, 1)
    whole = bytearray(path.read_bytes())
    whole[int(where * len(whole))] ^= 4
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"cifar\.tar\.gz: expected"):
        data.read_cifar_archive(path, label_bytes=1)


def test_svhn_files(tmp_path):
    generator = np.random.default_rng(8)
    stored = {}
    for split, count in (("train", 5), ("test", 3)):
        images = generator.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = generator.integers(1, 11, (count, 1), dtype=np.uint8)
        savemat(tmp_path / f"{split}.mat", {"X": images, "y": labels})
        stored[split] = images, labels
    arrays = data.read_svhn(tmp_path / "train.mat", tmp_path / "test.mat")
    np.testing.assert_array_equal(arrays.train_images[2], stored["train"][0][..., 2])
    np.testing.assert_array_equal(arrays.test_labels, stored["test"][1].ravel() % 10)  # the digit 0 is labelled 10
    (tmp_path / "test.mat").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"test\.mat: expected a file of SVHN"):
        data.read_svhn(tmp_path / "train.mat", tmp_path / "test.mat")
    with pytest.raises(ValueError, match="md5"):
        data.read_svhn(tmp_path / "train.mat", tmp_path / "test.mat", md5=("0" * 32, "1" * 32))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_photographs_from_an_npz_named_after_the_set(name, nowhere):
    generator = np.random.default_rng(9)
    assert not data.available(name, root=nowhere)
    with pytest.raises(FileNotFoundError) as raised:
        data.load(name, root=nowhere)
    assert str(nowhere) in str(raised.value) and f"{name}.npz" in str(raised.value)
    assert data.SOURCES[name].files[0][0] in str(raised.value) and "not read" in str(raised.value)
    np.savez(
        nowhere / f"{name}.npz",
        train_images=generator.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8),
        train_labels=np.arange(6),
        test_images=np.zeros((2, 32, 32, 3), np.uint8),
        test_labels=np.arange(2),
    )
    assert data.available(name, root=nowhere)
    photographs = data.load(name, root=nowhere)
    assert photographs.inputs.shape == (6, 3, 32, 32) and photographs.targets.tolist() == list(range(6))
    assert len(photographs.class_names) == (100 if name == "cifar100" else 10)
    np.savez(nowhere / f"{name}.npz", **npz_arrays((32, 32, 3), labels=[0, 100] * 4))
    with pytest.raises(ValueError, match=rf"{name}\.npz: expected labels 0 … 99? in {name}, found 0 … 100"):
        data.load(name, root=nowhere)


# -- folders of images ------------------------------------------------------------------------------------------------


def image_folders(root, splits=("train", "val"), classes=("cat", "dog"), count=3, size=(12, 20)):
    generator = np.random.default_rng(10)
    for split in splits:
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{k}.png")


def test_folders_of_images(tmp_path):
    image_folders(tmp_path)
    assert data.available(tmp_path)
    animals = data.load(tmp_path, image_size=8)
    assert animals.inputs.shape == (6, 3, 8, 8) and animals.test_inputs.shape == (6, 3, 8, 8)
    assert animals.targets.tolist() == [0, 0, 0, 1, 1, 1] and animals.class_names == ("cat", "dog")
    assert data.load(tmp_path.name, root=tmp_path.parent, image_size=8).inputs.shape == (6, 3, 8, 8)
    # at its own height an image is cropped in the middle and nothing else
    exact = data.load(tmp_path, image_size=12)
    pixels = np.asarray(Image.open(tmp_path / "train" / "cat" / "0.png"))[:, 4:16]
    np.testing.assert_allclose(exact.inputs[0].permute(1, 2, 0), pixels / 255, atol=1e-6)


def test_images_that_stay_on_disk(tmp_path):
    image_folders(tmp_path)
    lazy = data.ImageFolders(tmp_path / "train", size=12)
    image, label, index = lazy[4]
    assert (label, index, len(lazy)) == (1, 4, 6) and lazy.targets.tolist() == [0, 0, 0, 1, 1, 1]
    torch.testing.assert_close(image, data.load(tmp_path, image_size=12).inputs[4])
    batch = next(iter(torch.utils.data.DataLoader(lazy, batch_size=6)))
    assert batch[0].shape == (6, 3, 12, 12) and batch[2].tolist() == list(range(6))
    own = data.ImageFolders(tmp_path / "train", transform=lambda path: torch.zeros(1))
    assert own[0][0].shape == (1,)
    with pytest.raises(ValueError, match="no images in folders named after their classes"):
        data.ImageFolders(tmp_path / "nothing")


def test_any_data_set_gets_numbers():
    numbered = data.Indexed(torch.utils.data.TensorDataset(10 * torch.arange(5), torch.arange(5) % 2))
    inputs, targets, indices = next(iter(torch.utils.data.DataLoader(numbered, batch_size=5, shuffle=True)))
    assert torch.equal(inputs, 10 * indices) and torch.equal(targets, indices % 2) and len(numbered) == 5
    with pytest.raises(ValueError, match=r"item 0 of dataset is a tuple; \(input, target\) needed"):
        data.Indexed(torch.utils.data.TensorDataset(torch.arange(5)))[0]
    with pytest.raises(ValueError, match="has no length"):
        data.Indexed(iter([1, 2]))


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected folders train and val"):
        data.read_image_folders(tmp_path)
    image_folders(tmp_path)
    (tmp_path / "val" / "bird").mkdir()
    with pytest.raises(ValueError, match="these differ: bird"):
        data.load(tmp_path)
    (tmp_path / "val" / "bird").rmdir()
    (tmp_path / "val" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png: expected an image that can be read"):
        data.load(tmp_path)


# -- damage of every kind ---------------------------------------------------------------------------------------------


def mutated(content, generator):
    """One of seven kinds of damage, at a random place."""
    here, there = sorted(generator.integers(0, len(content), 2))
    noise = generator.integers(0, 256, 8, dtype=np.uint8).tobytes()
    kind = generator.integers(7)
    if kind < 2:  # a bit; the beginning, where headers are, as often as the rest
        place = here if kind else here % min(200, len(content))
        return content[:place] + bytes([content[place] ^ (1 << generator.integers(8))]) + content[place + 1 :]
    return [
        content[:here],
        content[:here] + content[there:],
        content[:here] + noise + content[here:],
        content[:here] + noise + content[here + 8 :],
        content[:here] + b"\xff" * 8 + content[here + 8 :],
    ][kind - 2]


def readers(folder):
    """Of each reader: the file to damage, the function that reads it, and whether a digest or checksum covers all of it."""
    folder.mkdir()
    pixels = np.random.default_rng(11).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    for name in ("a.idx", "b.idx.gz"):
        content = idx_bytes(pixels)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        digest = hashlib.sha256(content).hexdigest()
        yield folder / name, lambda p, digest=digest: [data.read_idx(p, sha256=digest)], True
    for save, name in ((np.savez, "c.npz"), (np.savez_compressed, "d.npz")):
        save(folder / name, **npz_arrays((12, 12)))
        yield folder / name, data.files.read_npz, True
    cifar_archive(folder / "e.tar.gz", 1, records=1)
    yield folder / "e.tar.gz", lambda p: data.read_cifar_archive(p, label_bytes=1), True
    for name, packed in (("f.mat", False), ("g.mat", True)):
        mat = {"X": pixels.transpose(1, 2, 3, 0), "y": np.arange(1, 4, dtype=np.uint8)[:, None]}
        savemat(folder / name, mat, do_compression=packed)
        yield folder / name, lambda p: data.read_svhn(p, p), False
        digests = 2 * [md5((folder / name).read_bytes())]
        yield folder / name, lambda p, digests=digests: data.read_svhn(p, p, md5=digests), True
    for name in ("h.png", "i.jpg", "j.bmp", "k.ppm", "l.webp"):
        Image.fromarray(pixels[0]).save(folder / name)
        yield folder / name, lambda p: [data.read_image(p, size=8)], False
    (folder / "m.txt").write_text("To be, or not to be: that is the question, héllo.\n" * 3, encoding="utf-8")
    yield folder / "m.txt", lambda p: [data.load_text(p).tokens.numpy()], False


def test_mutated_files_are_read_right_or_refused_by_name(tmp_path):
    generator, refused, count = np.random.default_rng(12), 0, 0
    for path, read, covered in readers(tmp_path / "files"):
        whole = path.read_bytes()
        right = read(path)
        for _ in range(60):
            content = mutated(whole, generator)
            path.write_bytes(content)
            count += 1
            try:
                arrays = read(path)
            except (ValueError, FileNotFoundError) as error:
                assert str(path) in str(error), (path.name, error)
                refused += 1
                continue
            if covered:  # what is read in spite of the damage is what was written: only a header's idle bits differ
                assert all(map(np.array_equal, arrays, right)), path.name
        path.write_bytes(whole)
    assert count == 15 * 60 and refused > count / 2


def test_sizes_are_checked_before_anything_is_allocated(tmp_path):
    """Files of a few kilobytes that claim, or unpack to, gigabytes."""
    claims = struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31)
    (tmp_path / "idx").write_bytes(claims + bytes(100))
    (tmp_path / "idx.gz").write_bytes(gzip.compress(claims + bytes(100)))
    for name in ("idx", "idx.gz"):
        with pytest.raises(ValueError, match="claims to hold 9903520314283042199192993792 bytes"):
            data.read_idx(tmp_path / name)
    bomb = tmp_path / "bomb.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**17, 28, 28)})
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in data.Arrays._fields:
            with archive.open(f"{key}.npy", "w") as member:
                member.write(header.getvalue())
                for _ in range(98):
                    member.write(bytes(2**20))
    with pytest.raises(ValueError, match=r"bomb\.npz: expected .* claims to hold 1\d{8} bytes"):
        data.load(bomb)
    short = npz_arrays()
    np.savez(tmp_path / "short.npz", **short)
    with zipfile.ZipFile(tmp_path / "long.npz", "w") as archive, zipfile.ZipFile(tmp_path / "short.npz") as before:
        for name in before.namelist():
            archive.writestr(name, before.read(name) + bytes(5))  # more than the array's header says
    with pytest.raises(ValueError, match=r"long\.npz: expected .* where uint8 of shape \(6, 6, 5\) is stated"):
        data.load(tmp_path / "long.npz")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match=r"bomb\.png: expected an image .*decompression bomb"):
        data.read_image(tmp_path / "bomb.png", size=8)
    with pytest.raises(ValueError, match=r"bomb\.gz: .*more than 100000 bytes"):
        (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(2**26)))
        data.files.unpack(tmp_path / "bomb.gz", most=100_000)
    with tarfile.open(tmp_path / "sparse.tar.gz", "w:gz", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("data_batch_1.bin")
        member.size = 2**40
        archive.addfile(member)  # a header without content
    with pytest.raises(ValueError, match=r"sparse\.tar\.gz: expected CIFAR's .*1099511627776 bytes"):
        data.read_cifar_archive(tmp_path / "sparse.tar.gz", label_bytes=1)


# -- changes to loaded data -------------------------------------------------------------------------------------------


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_crop_is_a_window_of_the_padded_image():
    images = torch.rand(40, 2, 6, 5)
    for flip in (False, True):
        cut = data.random_crop(images, padding=2, fill=-1.0, flip=flip, generator=generator())
        padded = torch.nn.functional.pad(images, (2, 2, 2, 2), value=-1.0)
        found, mirrored = [], 0
        for before, after in zip(padded, cut, strict=True):
            windows = [
                (i, j) for i in range(5) for j in range(5) if torch.equal(before[:, i : i + 6, j : j + 5], after)
            ]
            flipped = [
                (i, j)
                for i in range(5)
                for j in range(5)
                if torch.equal(before[:, i : i + 6, j : j + 5].flip(2), after)
            ]
            assert windows or (flip and flipped)
            mirrored += not windows
            found += windows or flipped
        assert len(set(found)) > 10 and (10 < mirrored < 30) == flip
    assert data.random_crop(images, padding=0, size=3, generator=generator()).shape == (40, 2, 3, 3)


def test_shift_flip_and_augment_are_crops():
    images = torch.rand(30, 1, 8, 8)
    shifted = data.random_shift(images, max_shift=1, generator=generator())
    assert torch.equal(shifted, data.random_crop(images, padding=1, generator=generator()))
    assert torch.equal(data.augment(images, generator(), padding=0, flip=False), images)
    flipped = data.random_flip(images, generator=generator())
    same, mirrored = ((flipped == other).flatten(1).all(dim=1) for other in (images, images.flip(3)))
    assert torch.all(same | mirrored) and 5 < same.sum() < 25
    with pytest.raises(ValueError, match="size=9 must be positive, and not exceed the padded image"):
        data.random_crop(images, padding=0, size=9, generator=generator())
    with pytest.raises(ValueError, match="padding=-1"):
        data.random_crop(images, padding=-1, generator=generator())


@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
def test_symmetric_noise_changes_the_share_to_other_classes(rate):
    targets = torch.arange(20_000) % 5
    noisy, changed = data.symmetric_label_noise(targets, rate=rate, num_classes=5, seed=0)
    assert changed.sum() == round(rate * 20_000) and torch.equal(changed, noisy != targets)
    if rate:
        offsets = ((noisy - targets) % 5)[changed].bincount(minlength=5)
        assert offsets[0] == 0 and (offsets[1:] / changed.sum() - 0.25).abs().max() < 0.04
    again, _ = data.symmetric_label_noise(targets, rate=rate, num_classes=5, seed=0)
    assert torch.equal(noisy, again)


@pytest.mark.parametrize("kind", data.CORRUPTIONS)
def test_corruptions_grow_with_severity(kind):
    images = data.load("digits").inputs[:200]
    images = torch.nn.functional.interpolate(images, size=(28, 28), mode="bilinear")
    before = images.clone()
    distances = []
    for severity in range(1, 6):
        damaged = data.corrupt(images, kind, severity=severity, seed=0)
        assert damaged.shape == images.shape and damaged.min() >= 0 and damaged.max() <= 1
        distances.append(float((damaged - images).square().mean()))
    assert torch.equal(images, before) and distances == sorted(distances) and distances[0] > 1e-4
    assert torch.equal(data.corrupt(images, kind, seed=3), data.corrupt(images, kind, seed=3))


def test_blur_and_fog_keep_constant_images_smooth():
    plain = torch.full((4, 3, 16, 16), 0.4)
    torch.testing.assert_close(data.corrupt(plain, "motion blur", severity=5), plain)
    torch.testing.assert_close(data.corrupt(plain, "resolution", severity=5), plain)
    assert torch.all(data.corrupt(plain, "fog") > 0.4)
    hole = data.corrupt(plain, "occlusion", severity=4)
    assert (hole == 0).sum() == 4 * 3 * 8 * 8


def test_a_share_of_the_images_is_corrupted_in_equal_parts():
    images = torch.rand(100, 1, 12, 12)
    damaged, kind = data.corrupt_share(images, rate=0.2, seed=0)
    changed = (damaged != images).flatten(1).any(dim=1)
    assert torch.equal(changed, kind >= 0) and kind[kind >= 0].bincount().tolist() == [4] * 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.corrupt(torch.rand(2, 1, 4, 4), "rain"), "kind='rain'; allowed are 'gaussian noise'"),
        (lambda: data.corrupt(torch.rand(2, 1, 4, 4), "fog", severity=6), "severity=6; allowed are 1 to 5"),
        (lambda: data.corrupt(torch.rand(2, 4), "fog"), r"images of shape \(2, 4\)"),
        (lambda: data.corrupt_share(torch.rand(2, 1, 4, 4), rate=1.5, seed=0), "rate=1.5"),
        (lambda: data.symmetric_label_noise(torch.zeros(3).long(), rate=-0.1, num_classes=3, seed=0), "rate=-0.1"),
        (lambda: data.symmetric_label_noise(torch.zeros(3).long(), rate=0.1, num_classes=1, seed=0), "num_classes=1"),
        (
            lambda: data.symmetric_label_noise(torch.arange(7), rate=0.1, num_classes=5, seed=0),
            "targets must be classes 0 … 4, found 0 … 6",
        ),
        (lambda: data.corrupt(255 * torch.ones(2, 1, 4, 4), "fog"), r"pixels in \[0, 1\], found .*float32 from 255"),
        (lambda: data.corrupt(torch.ones(2, 1, 4, 4).byte(), "fog"), "found torch.uint8"),
        (lambda: data.random_flip(torch.ones(4, 4), generator=generator()), r"images of shape \(4, 4\)"),
        (lambda: data.load(3), "name=3 must be the name of a data set or a path"),
    ],
)
def test_bad_changes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
