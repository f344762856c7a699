"""Scores beside the authors' way of computing them, recording inside a training, and an epoch beside torchvision's loop."""

import resource
import time
from functools import partial

import numpy as np
import pytest
import torch
from tests.reference.dataset_pruning import official_scores
from torch.utils.data import DataLoader

from descentlab import data, networks, training
from descentlab import dataset_pruning as dp


def seconds(function, repeats=5):
    """Shortest of a few runs, after one to warm up."""
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("DESCENTLAB_QUIET", "1")
    torch.set_num_threads(1)


@pytest.mark.benchmark(group="DUAL scores")
@pytest.mark.parametrize(("epochs", "samples"), [(30, 60_000), (60, 1_281_167)], ids=["30 × 60 000", "60 × 1 281 167"])
def test_scores_beside_the_authors_loop(benchmark, capsys, epochs, samples):
    """The same table, one thread; the authors' windows and reductions, re-typed from the definition."""
    table = torch.rand(epochs, samples, generator=torch.Generator().manual_seed(0))
    array, few = table.numpy(), 5 if samples < 1e6 else 1
    np.testing.assert_allclose(dp.dual_score(array), official_scores(table, 10).numpy(), atol=1e-5)
    peer = seconds(lambda: official_scores(table, 10), few)
    benchmark.pedantic(dp.dual_score, args=(array,), rounds=5, warmup_rounds=1)
    ours = benchmark.stats.stats.min
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    benchmark.extra_info |= {
        "peer": "the authors' loop over windows (torch, single precision)",
        "peer seconds": round(peer, 3),
    }
    benchmark.extra_info |= {"ratio": round(peer / ours, 1), "peak GiB of the process": round(gigabytes, 2)}
    with capsys.disabled():
        print(
            f"\nscores of {epochs} × {samples}: {ours:.3f} s, {peer / ours:.1f} times the authors' loop; {gigabytes:.2f} GiB"
        )


def fit(source, callbacks=(), augment=None):
    with networks.seeded(0):
        model = networks.SmallCNN()
    sgd = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    return training.fit(
        model, source, optimizer=sgd, num_epochs=1, batch_size=128, callbacks=callbacks, augment=augment, device="cpu",
        evaluate_every=0, progress=False,
    )  # fmt: skip


class Timed(training.Callback):
    """Time spent in a recorder's own calls, of the whole epoch's."""

    def __init__(self, inner):
        self.inner, self.spent = inner, 0.0

    def start(self, run):
        self.inner.start(run)

    def batch(self, *arguments):
        start = time.perf_counter()
        self.inner.batch(*arguments)
        self.spent += time.perf_counter() - start

    def epoch(self, run):
        start = time.perf_counter()
        self.inner.epoch(run)
        self.spent += time.perf_counter() - start


@pytest.mark.benchmark(group="recording dynamics")
def test_recording_beside_an_epoch_without(benchmark, capsys):
    """The share of an epoch's time that recording takes, counted inside the epoch: two epochs differ by more."""
    whole = data.load("fashion-mnist-12k")
    source = (whole.inputs, whole.targets)
    fit((source[0][:2000], source[1][:2000]))
    shares = []
    for _ in range(3):
        timed = Timed(dp.RecordDynamics())
        epoch = fit(source, callbacks=[timed]).curves["seconds"][0]
        shares.append(timed.spent / (epoch - timed.spent))
    benchmark.pedantic(fit, args=(source,), kwargs={"callbacks": [dp.RecordDynamics()]}, rounds=2)
    benchmark.extra_info |= {"share of an epoch in per cent": round(100 * min(shares), 2)}
    with capsys.disabled():
        print(f"\nrecording adds {100 * min(shares):.2f} % to an epoch of the CNN on 10 000 images")


@pytest.mark.benchmark(group="an epoch on 10 000 images")
def test_an_epoch_beside_torchvision_and_a_loader(benchmark, capsys, tmp_path):
    """The same network, augmentation and batch size; the usual loop transforms images one at a time."""
    transforms = pytest.importorskip("torchvision.transforms")
    datasets = pytest.importorskip("torchvision.datasets")
    whole = data.load("fashion-mnist-12k")
    steps = [transforms.RandomCrop(28, padding=2), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    usual = datasets.FashionMNIST.__new__(datasets.FashionMNIST)  # without a download
    usual.root, usual.train = str(tmp_path), True
    usual.transform, usual.target_transform = transforms.Compose(steps), None
    usual.data, usual.targets = (255 * whole.inputs[:, 0]).round().byte(), whole.targets

    def loop():
        with networks.seeded(0):
            model = networks.SmallCNN()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for inputs, targets in DataLoader(usual, batch_size=128, shuffle=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

    augment = partial(data.augment, padding=2)
    peer = seconds(loop, 1)
    source = (whole.inputs, whole.targets)
    benchmark.pedantic(fit, args=(source,), kwargs={"augment": augment}, rounds=3, warmup_rounds=1)
    ours = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "peer": "torchvision transforms and a DataLoader, one core",
        "peer seconds": round(peer, 2),
    }
    benchmark.extra_info |= {"ratio": round(ours / peer, 2)}
    with capsys.disabled():
        print(f"\nan epoch: {ours:.1f} s, {ours / peer:.2f} times the usual loop's {peer:.1f} s")
