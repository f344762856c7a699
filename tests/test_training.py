"""The training loop: against loops written out, killed and resumed, over two processes, on a Dask cluster."""

import copy
import dataclasses
import os
import subprocess
import sys
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from descentlab import data, dataset_pruning, networks, training

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def model(seed=0, **arguments):
    with networks.seeded(seed):
        return networks.MLP(64, widths=(16,), **arguments)


def fit(network, source, **arguments):
    settings = {"optimizer": SGD, "num_epochs": 2, "batch_size": 100, "device": "cpu", "progress": False}
    if isinstance(source, DataLoader):
        settings.pop("batch_size")
    return training.fit(network, source, **{**settings, **arguments})


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


class Seen(training.Callback):
    """Collects what callbacks are told."""

    def __init__(self):
        self.batches, self.epochs, self.calls = [], [], []

    def start(self, run):
        self.calls.append("start")

    def batch(self, run, indices, outputs, targets):
        self.batches.append((run.epoch, run.step, indices, outputs, targets))

    def epoch(self, run):
        self.epochs.append(run.epoch)

    def finish(self, run):
        self.calls.append("finish")


# -- the loop ---------------------------------------------------------------------------------------------------------


def test_against_a_loop_written_out(digits):
    """The batches are taken from a callback; the updates are then repeated by hand."""
    seen, network = Seen(), model()
    schedule = training.cosine(30)
    result = fit(network, digits, callbacks=[seen], schedule=schedule, evaluate_every=1)
    other = model()
    optimizer = SGD(other.parameters())
    losses = []
    for _, step, indices, outputs, targets in seen.batches:
        optimizer.param_groups[0]["lr"] = 0.1 * schedule(step)
        ours = other(digits.inputs[indices])
        torch.testing.assert_close(ours.detach(), outputs)
        assert torch.equal(targets, digits.targets[indices])
        loss = nn.functional.cross_entropy(ours, targets)
        losses.append((len(indices), float(loss.detach()), float((ours.argmax(1) == targets).sum())))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(weights(network), weights(other))
    per_epoch = np.array(losses).reshape(2, -1, 3)
    sizes = per_epoch[..., 0]
    np.testing.assert_allclose(result.curves["loss"], (sizes * per_epoch[..., 1]).sum(1) / sizes.sum(1), rtol=1e-6)
    np.testing.assert_allclose(result.curves["accuracy"], per_epoch[..., 2].sum(1) / 1442, rtol=1e-12)
    np.testing.assert_allclose(result.curves["learning_rate"], [0.1 * schedule(15), 0.1 * schedule(30)])
    with torch.no_grad():
        outputs = network(digits.test_inputs)
    assert result.test_accuracy == pytest.approx(float((outputs.argmax(1) == digits.test_targets).float().mean()))
    assert result.num_steps == 30 == len(seen.batches) and result.num_epochs == 2 and seen.epochs == [1, 2]
    assert seen.calls == ["start", "finish"] and not np.isnan(result.curves["test_loss"]).any()


def test_each_epoch_sees_each_sample_once_in_an_order_of_its_own(digits):
    seen = Seen()
    fit(model(), digits, callbacks=[seen])
    orders = [torch.cat([b[2] for b in seen.batches if b[0] == epoch]) for epoch in (0, 1)]
    assert all(torch.equal(order.sort().values, torch.arange(1442)) for order in orders)
    assert not torch.equal(*orders)


def test_subsets_keep_the_samples_numbers(digits):
    seen, kept = Seen(), np.array([5, 7, 900, 13])
    fit(model(), digits, subset=kept, batch_size=3, callbacks=[seen])
    assert [len(b[2]) for b in seen.batches] == [3, 1, 3, 1]
    assert sorted(torch.cat([b[2] for b in seen.batches[:2]]).tolist()) == sorted(kept.tolist())


def test_seeds_repeat_and_the_global_generator_is_left_alone(digits):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    ends = []
    for seed in (0, 0, 1):
        network = model()
        network.body.append(nn.Dropout(0.5))
        fit(network, digits, seed=seed, num_epochs=1)
        ends.append(weights(network))
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])
    assert torch.equal(torch.rand(2), expected)


def test_augmentation_is_applied_on_batches(digits):
    shapes, plain, black = [], model(), model()

    def blacken(images, generator):
        shapes.append((tuple(images.shape), float(torch.rand((), generator=generator))))
        return torch.zeros_like(images)

    fit(plain, digits, num_epochs=1)
    result = fit(black, digits, num_epochs=1, augment=blacken)
    assert shapes[0][0] == (100, 1, 8, 8) and len(shapes) == 15
    assert result.curves["accuracy"][0] < 0.2


def test_a_data_loader_gives_the_batches(digits):
    source = TensorDataset(digits.inputs, digits.targets, torch.arange(1442))
    seen, network, other = Seen(), model(), model()
    result = fit(network, DataLoader(source, batch_size=100), callbacks=[seen], num_epochs=1)
    assert torch.equal(torch.cat([b[2] for b in seen.batches]), torch.arange(1442))
    optimizer = SGD(other.parameters())
    for start in range(0, 1442, 100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            other(digits.inputs[start : start + 100]), digits.targets[start : start + 100]
        ).backward()
        optimizer.step()
    torch.testing.assert_close(weights(network), weights(other))
    assert np.isnan(result.test_accuracy)


def test_an_optimizer_and_a_scheduler_of_ones_own(digits):
    network, other = model(), model()
    optimizer = SGD(network.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, gamma=0.5)
    fit(network, digits, optimizer=optimizer, schedule=scheduler)
    fit(other, digits, schedule=lambda step: 0.5 ** (step // 10))
    torch.testing.assert_close(weights(network), weights(other))


def test_a_loss_of_ones_own(digits):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    source = (digits.inputs, digits.inputs.flatten(1).sum(1, keepdim=True))
    result = fit(
        network,
        source,
        loss=lambda outputs, targets: (outputs - targets).square()[:, 0],
        num_epochs=20,
        optimizer=partial(torch.optim.Adam, lr=0.05),
    )
    assert result.curves["loss"][-1] < 0.05 * result.curves["loss"][0] and np.isnan(result.curves["accuracy"]).all()


def test_bfloat16_trains(digits):
    result = fit(model(), digits, precision="bfloat16", num_epochs=4)
    assert result.precision == "bfloat16" and result.test_accuracy > 0.85


@pytest.mark.parametrize(("compile", "expected"), [(True, 1), (False, 0), ("auto", 0)])  # "auto" is for CUDA
def test_compiles_where_asked(compile, expected, digits, monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda module: calls.append(module) or module)
    result = fit(network := model(), digits, compile=compile, num_epochs=1)
    assert calls == [network] * expected and result.compiled is bool(expected)


def test_nothing_waits_for_the_device_within_an_epoch(digits, monkeypatch):
    """Every way of reading a value is shut between the first and the last batch of each epoch."""
    inside, read = [False], []

    class Watch(training.Callback):
        def batch(self, run, indices, outputs, targets):
            inside[0] = run.step % 15 != 14  # 15 batches an epoch

    def watched(name, usual):
        def method(self, *arguments, **keywords):
            if inside[0]:
                read.append(name)
            return usual(self, *arguments, **keywords)

        return method

    for name in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, watched(name, getattr(torch.Tensor, name)))
    recorder = dataset_pruning.RecordDynamics(record=("correct", "margins", "errors", "all_probabilities"))
    settings = {"augment": partial(data.augment, padding=1), "schedule": training.cosine(30)}
    fit(model(), digits, callbacks=[Watch(), recorder], **settings)
    assert not read and recorder.dynamics.epoch == 2
    inside[0] = True
    assert float(torch.ones(())) == 1 and read  # the watch sees what it should


def test_evaluate_and_predict_keep_the_mode(digits):
    network = model()
    network.body.append(nn.Dropout(0.9))
    network.train()
    outputs = training.predict(network, digits.test_inputs, batch_size=7)
    torch.testing.assert_close(outputs, training.predict(network, digits.test_inputs))
    assert network.training
    loss, accuracy = training.evaluate(network, digits.test_inputs, digits.test_targets)
    assert loss == pytest.approx(float(nn.functional.cross_entropy(outputs, digits.test_targets)), rel=1e-5)
    assert accuracy == pytest.approx(float((outputs.argmax(1) == digits.test_targets).float().mean()))
    assert training.predict(network.features, digits.test_inputs).shape == (355, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_epochs": 0}, "num_epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": None}, "batch_size=None"),
        ({"precision": "half"}, "precision='half'; allowed are 'auto', 'float32' and 'bfloat16'"),
        ({"compile": "yes"}, "compile='yes'"),
        ({"seed": -1}, "seed=-1"),
        ({"evaluate_every": -1}, "evaluate_every=-1"),
        ({"subset": [0, 1442]}, "subset must be a row of sample numbers in 0 … 1441"),
        ({"subset": []}, "subset"),
        ({"subset": np.ones(1442, bool)}, r"sample numbers in 0 … 1441, found bool of shape \(1442,\)"),
        ({"subset": [0.5, 1.5]}, "found float64"),
        ({"optimizer": None}, "optimizer=None must be"),
        ({"optimizer": SGD(model().parameters())}, "optimizer holds no parameter of model"),
        ({"schedule": 3}, "schedule=3 must be"),
        ({"callbacks": training.Callback()}, "must be a list of training.Callback"),
        ({"callbacks": [print]}, "must be a list of training.Callback"),
        ({"checkpoint": "/"}, "checkpoint='/' is a folder"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
        ({"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets)}, "one a sample"),
    ],
)
def test_bad_arguments_are_named(arguments, message, digits):
    with pytest.raises(ValueError, match=message):
        fit(model(), digits, **arguments)


def test_bad_data_are_named(digits):
    with pytest.raises(ValueError, match="data=list; allowed are a Dataset, a pair of tensors and a DataLoader"):
        fit(model(), [1, 2, 3])
    with pytest.raises(ValueError, match="1442 inputs and 3 targets"):
        fit(model(), (digits.inputs, digits.targets[:3]))
    loader = DataLoader(TensorDataset(digits.inputs, digits.targets), batch_size=50)
    with pytest.raises(ValueError, match="batch_size=100, but the DataLoader's is 50"):
        fit(model(), loader, batch_size=100)
    with pytest.raises(ValueError, match="subset is for data in memory"):
        fit(model(), loader, subset=[1])
    with pytest.raises(ValueError, match="must yield"):
        fit(model(), DataLoader(TensorDataset(digits.inputs), batch_size=50))


def test_divergence_is_named_and_the_last_checkpoint_kept(digits, tmp_path):
    path = tmp_path / "run.pt"
    schedule = {"schedule": lambda step: 1.0 if step < 15 else float("nan")}
    fit(model(), digits, num_epochs=1, checkpoint=path, **schedule)
    before = path.read_bytes()
    with pytest.raises(FloatingPointError, match="the loss of epoch 2 of 3 is nan"):
        fit(model(), digits, num_epochs=3, checkpoint=path, **schedule)
    assert path.read_bytes() == before


# -- checkpoints ------------------------------------------------------------------------------------------------------


class Counter(training.Callback):
    """A callback with a state."""

    def __init__(self):
        self.total = torch.zeros(())

    def batch(self, run, indices, outputs, targets):
        self.total += outputs.sum()

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"].clone()


def with_dropout():
    network = model()
    network.body.append(nn.Dropout(0.3))
    return network


@pytest.mark.parametrize("optimizer", [SGD, partial(torch.optim.AdamW, lr=0.01)], ids=["SGD", "AdamW"])
def test_interrupted_and_resumed_is_the_uninterrupted_run(optimizer, digits, tmp_path):
    settings = {"optimizer": optimizer, "schedule": training.cosine(60), "evaluate_every": 1}
    settings["augment"] = partial(data.augment, padding=1)
    whole, counter = with_dropout(), Counter()
    expected = fit(whole, digits, num_epochs=4, callbacks=[counter], **settings)
    parts, path = with_dropout(), tmp_path / "deep" / "run.pt"
    for num_epochs in (1, 3, 4, 4):  # the last call finds the run finished
        parts, again = with_dropout(), Counter()
        result = fit(parts, digits, num_epochs=num_epochs, callbacks=[again], checkpoint=path, **settings)
    assert torch.equal(weights(whole), weights(parts)) and torch.equal(counter.total, again.total)
    for name in ("loss", "accuracy", "test_loss", "learning_rate"):
        np.testing.assert_array_equal(result.curves[name], expected.curves[name])
    assert result.num_steps == expected.num_steps == 60


def test_a_loader_resumes_too(digits, tmp_path):
    loader = DataLoader(TensorDataset(digits.inputs, digits.targets), batch_size=100, shuffle=True)
    whole, parts = model(), model()
    fit(whole, loader, num_epochs=2)
    fit(parts, loader, num_epochs=1, checkpoint=tmp_path / "run.pt")
    fit(parts := model(), loader, num_epochs=2, checkpoint=tmp_path / "run.pt")
    assert torch.equal(weights(whole), weights(parts))


def test_resume_can_be_declined(digits, tmp_path):
    path = tmp_path / "run.pt"
    fit(model(), digits, num_epochs=1, checkpoint=path)
    result = fit(model(), digits, num_epochs=1, checkpoint=path, resume=False)
    assert result.num_steps == 15


def halved(step):
    return 0.5 ** (step // 10)


def scaled_loss(factor):
    return lambda outputs, targets: factor * training.cross_entropy(outputs, targets)


def wider():
    with networks.seeded(0):
        return networks.MLP(64, widths=(20,))


def other_digits(digits):
    return dataclasses.replace(digits, inputs=digits.inputs.flip(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"belongs to another run, which differs in seed \(0 there, 1 here\); remove it, or resume=False"),
        ({"batch_size": 50}, r"in batch_size \(100 there, 50 here\)"),
        ({"subset": range(100)}, "in subset"),
        ({"callbacks": [Counter()]}, r"in callbacks \(\[\] there"),
        ({"num_epochs": 1}, r"run\.pt: .*at epoch 2, beyond num_epochs=1"),
        ({"optimizer": partial(SGD, lr=0.2)}, r"in optimizer\.groups\.lr \(0\.1 there, 0\.2 here\);"),
        ({"optimizer": partial(SGD, momentum=0.8)}, r"in optimizer\.groups\.momentum \(0\.9 there, 0\.8 here\);"),
        ({"optimizer": partial(torch.optim.Adam, lr=0.1)}, r"in optimizer\.class"),
        ({"schedule": training.cosine(30)}, "in schedule"),
        ({"loss": scaled_loss(2.0)}, r"in loss\.name"),
        ({"augment": partial(data.augment, padding=1)}, "in augment"),
        ({"precision": "bfloat16"}, r"in bfloat16 \(False there, True here\)"),
        ({"model": wider()}, r"in model\.modules, model\.body"),
        ({"model": model().double()}, r"in model\.body.* \('torch\.float32 .* there, 'torch\.float64"),
        ({"model": with_dropout()}, r"in model\.modules;"),
        ({"data": other_digits}, "in data"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changes, message, digits, tmp_path):
    fit(model(), digits, checkpoint=tmp_path / "run.pt")
    changes = dict(changes)
    source, network = changes.pop("data", lambda same: same)(digits), changes.pop("model", model())
    with pytest.raises(ValueError, match=message):
        fit(network, source, checkpoint=tmp_path / "run.pt", **changes)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"schedule": training.cosine(30)}, {"schedule": training.cosine(31)}, r"schedule\.num_steps \(30 there, 31"),
        ({"schedule": halved}, {"schedule": lambda step: 0.5 ** (step // 10)}, r"schedule\.name"),
        ({"schedule": lambda step: 1 / (step + 1)}, {"schedule": lambda step: 1 / (step + 2)}, r"schedule\.code"),
        ({"loss": scaled_loss(2.0)}, {"loss": scaled_loss(3.0)}, r"loss\.factor \(2\.0 there, 3\.0 here\)"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            {"loss": nn.CrossEntropyLoss(reduction="none", weight=torch.ones(10))},
            r"loss\.buffers",
        ),
    ],
)
def test_functions_are_told_apart(first, second, message, digits, tmp_path):
    fit(model(), digits, checkpoint=tmp_path / "run.pt", **first)
    fit(model(), digits, checkpoint=tmp_path / "run.pt", **first)
    with pytest.raises(ValueError, match=message):
        fit(model(), digits, checkpoint=tmp_path / "run.pt", **second)


@pytest.mark.parametrize(("gamma", "accepted"), [(0.5, True), (0.6, False)])
def test_schedulers_and_loaders_are_told_apart(gamma, accepted, digits, tmp_path):
    def run(gamma, inputs, num_epochs):
        network = model()
        optimizer = SGD(network.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, gamma=gamma)
        loader = DataLoader(TensorDataset(inputs, digits.targets), batch_size=100)
        settings = {"optimizer": optimizer, "schedule": scheduler, "checkpoint": tmp_path / "run.pt"}
        fit(network, loader, num_epochs=num_epochs, **settings)
        fit(network, loader, num_epochs=num_epochs, **settings)  # the optimizer's learning rate has changed by now
        return weights(network)

    run(0.5, digits.inputs, 1)
    if accepted:
        run(gamma, digits.inputs, 2)
        with pytest.raises(ValueError, match="in data;"):
            run(gamma, digits.inputs.flip(0), 2)
    else:
        with pytest.raises(ValueError, match=r"schedule\.gamma \(0\.5 there, 0\.6 here\)"):
            run(gamma, digits.inputs, 2)


def test_settings_are_described_alike_in_every_process():
    """Whatever seeds the hashes of strings, and wherever objects lie."""
    code = """
from functools import partial
import torch
from descentlab import training
from descentlab.training.checkpoints import describe, digest

class Warmup:
    def __init__(self): self.steps, self.inner = 10, training.cosine(30)
    def __call__(self, step): return min(1, step / self.steps)

def loss(outputs, targets, kinds=("a",)):
    return outputs if str(targets) in {"north", "south", "east", "west"} else [x for x in targets]

settings = [Warmup(), Warmup().__call__, loss, partial(loss, kinds=torch.ones(2)), torch.nn.MSELoss(), torch.relu]
print(describe(settings), digest({"a": (1, None, {"x", "y"}), "b": torch.ones(2, dtype=torch.bfloat16)}))
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in "12"
    }
    assert len(printed) == 1 and "Warmup" in printed.pop()


class Trap:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "bit", "pickle", "list"])
def test_damaged_checkpoints_are_refused(damage, tmp_path):
    path = tmp_path / "run.pt"
    training.save_checkpoint(path, {"weights": torch.zeros(1000)})
    whole = path.read_bytes()
    if damage == "pickle":
        torch.save({"trap": Trap()}, path)
    elif damage == "list":
        torch.save([1, 2], path)
    else:
        middle = bytearray(whole)
        middle[len(whole) // 2] ^= 16  # among the weights
        content = {"empty": b"", "text": b"not a checkpoint", "half": whole[: len(whole) // 2], "bit": bytes(middle)}
        path.write_bytes(content[damage])
    with pytest.raises(ValueError, match=r"run\.pt"):
        training.load_checkpoint(path)


def resume_images(path):
    with networks.seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2))
    source = (torch.arange(24.0).view(6, 1, 2, 2), torch.arange(6) % 2)
    callbacks = [Counter()]
    result = fit(network, source, batch_size=3, schedule=training.cosine(8), checkpoint=path, callbacks=callbacks)
    return weights(network), result.curves["loss"]


def resume_language(path):
    with networks.seeded(0):
        network = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    text = torch.arange(100) % 5
    settings = {"num_steps": 4, "batch_size": 2, "context": 4, "num_windows": 3, "ema": 0.5, "evaluate_every": 2}
    settings |= {"device": "cpu", "progress": False, "checkpoint": path}
    result = training.fit_language_model(
        network, (text, text), optimizer=partial(torch.optim.AdamW, lr=0.1), schedule=training.cosine(5), **settings
    )
    return weights(network), result.curves["loss"]


def entries(value, path=()):
    """Paths to all entries of nested dicts and lists."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, (list, tuple)) else ():
        yield from entries(value[key], (*path, key))


def changed(state, path, new):
    *outer, last = path
    for key in outer:
        state = state[key]
    if isinstance(state, tuple) or repr(state[last]) == repr(new):
        return False
    if new == "gone":
        del state[last]
    else:
        state[last] = new
    return True


@pytest.mark.parametrize("resume", [resume_images, resume_language], ids=["images", "language"])
def test_damaged_runs_are_refused_by_name(resume, tmp_path):
    """Bytes of the file; bytes of its index under right checksums; and entries of the state, one after another."""
    path, rng = tmp_path / "run.pt", np.random.default_rng(0)
    expected = resume(path)
    whole = path.read_bytes()
    assert all(map(np.array_equal, resume(path), expected))  # finished, and read back
    with zipfile.ZipFile(path) as archive:
        parts = {member.filename: archive.read(member) for member in archive.infolist()}
    index = next(name for name in parts if name.endswith("data.pkl"))

    def flip(content):
        content = bytearray(content)
        for at in rng.integers(len(content), size=rng.integers(1, 4)):
            content[at] = rng.integers(256)
        return bytes(content)

    def check():
        """Refused by name, or, where the damage is in what nobody reads, the same."""
        try:
            return all(map(np.array_equal, resume(path), expected))
        except ValueError as error:
            assert str(path) in str(error)
            return True

    for _ in range(100):
        path.write_bytes(flip(whole) if rng.random() < 0.7 else whole[: rng.integers(len(whole))])
        assert check()
    for _ in range(100):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, flip(content) if name == index else content)
        assert check()
    path.write_bytes(whole)
    state = training.load_checkpoint(path)
    wrong = ["gone", None, float("nan"), [], "text", torch.zeros(7), {"x": 1}]
    for i, place in enumerate(list(entries(state))[1:]):
        for new in (wrong[i % 7], wrong[(i + 3) % 7]):
            damaged = copy.deepcopy(state)
            if changed(damaged, place, new):
                torch.save(damaged, path)
                with pytest.raises(ValueError, match=r"run\.pt"):
                    resume(path)


def test_what_unpacks_to_more_than_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "run.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/data.pkl", bytes(100_000_000))
    with pytest.raises(ValueError, match=r"run\.pt: .*unpacks to more than its size"):
        training.load_checkpoint(tmp_path / "run.pt")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    training.save_checkpoint(path, {"x": torch.ones(3)})

    def fail(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        training.save_checkpoint(path, {"x": torch.zeros(3)})
    assert torch.equal(training.load_checkpoint(path)["x"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


# One interpreter loads torch, and forks for each training: that is quick, and safe as long as it trains nothing itself.
PROCESSES = """
import os, signal, socket, sys, torch
from functools import partial
from descentlab import data, networks, training
from descentlab.dataset_pruning import RecordDynamics

folder = sys.argv[1]
torch.set_num_threads(1)
digits = data.load("digits")
sgd = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
sgd([torch.zeros(1, requires_grad=True)])  # loads what optimizers load

class Tell(training.Callback):
    def __init__(self, pipe):
        self.pipe = pipe
    def batch(self, run, indices, outputs, targets):
        os.write(self.pipe, b"%d\\n" % run.step)

def train(name, pipe, num_epochs=6):
    with networks.seeded(0):
        model = networks.SmallCNN(image_size=8)
    recorder = RecordDynamics(record=("correct", "margins"))
    result = training.fit(model, digits, optimizer=sgd, num_epochs=num_epochs, batch_size=64,
                          schedule=training.cosine(6 * 23), augment=partial(data.augment, padding=1), device="cpu",
                          callbacks=[recorder, Tell(pipe)], checkpoint=f"{folder}/{name}.pt", progress=False)
    found = recorder.dynamics
    if training.rank() == 0:
        torch.save({"weights": model.state_dict(), "table": found.probabilities, "margins": found.margins,
                    "correct": found.correct, "loss": result.curves["loss"].tolist(), "ranks": training.world_size(),
                    "score": found.dual_score(window=2).tolist()}, f"{folder}/{name}-end.pt")

def fork(name, num_epochs=6, **environment):
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        os.environ.update(environment)
        try:
            train(name, writer, num_epochs)
            if environment:
                torch.distributed.destroy_process_group()
        finally:
            os._exit(sys.exc_info()[0] is not None)
    os.close(writer)
    return child, os.fdopen(reader)

def finish(child, steps):
    found = [int(line) for line in steps]
    assert os.waitpid(child, 0)[1] == 0
    return found

finish(*fork("whole"))
for moment in (5, 30, 77):  # in the first, the second and the fourth epoch
    child, steps = fork("killed")
    for line in steps:
        if int(line) >= moment:
            os.kill(child, signal.SIGKILL)
            break
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
print(finish(*fork("killed"))[0])

finish(*fork("one", 2))
with socket.socket() as free:
    free.bind(("localhost", 0))
    port = str(free.getsockname()[1])
common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
ranks = [fork("two", 2, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(2)]
for child, steps in ranks:
    finish(child, steps)
"""


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What the script printed, and a function that reads the end of a training by name."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-W", "ignore", "-c", PROCESSES, str(folder)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, lambda name: torch.load(folder / f"{name}-end.pt", weights_only=True)


def test_killed_at_any_moment_it_resumes_bit_for_bit(processes):
    printed, end = processes
    whole, killed = end("whole"), end("killed")
    assert int(printed) == 3 * 23  # killed in its fourth epoch, it went on after the third
    assert torch.equal(whole["table"], killed["table"]) and whole["loss"] == killed["loss"]
    pairs = zip(whole["weights"].values(), killed["weights"].values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


# -- several processes ------------------------------------------------------------------------------------------------


def test_two_processes_train_as_one(processes):
    """As ``torchrun --nproc-per-node=2`` starts them: it sets these environment variables."""
    one, two = (processes[1](name) for name in ("one", "two"))
    assert (one["ranks"], two["ranks"]) == (1, 2)
    for name in ("table", "margins"):
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-5)
    np.testing.assert_allclose(one["score"], two["score"], rtol=1e-3, atol=1e-5)
    assert (one["correct"] != two["correct"]).sum() <= 3


SHARED_TRAINING = """
import sys, torch
from functools import partial
from descentlab import data, networks, training
from descentlab.dataset_pruning import RecordDynamics
from experiments.dataset_pruning import replay

def train():
    with networks.seeded(0):
        model = networks.MLP(64, widths=(16,))
    recorder = RecordDynamics()
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    training.fit(model, data.load("digits"), optimizer=sgd, num_epochs=2, batch_size=100, callbacks=[recorder],
                 device="cpu", progress=False)
    return recorder.dynamics.probabilities

if __name__ == "__main__":
    table = train()
    again = replay(torch.full((2, 5), 0.25)).probabilities  # what each rank does alone
    if training.rank() == 0:
        torch.save({"table": table, "ranks": training.world_size(), "again": again}, sys.argv[1])
    torch.distributed.destroy_process_group()
"""


def test_under_torchrun(tmp_path):
    """The real command, with a script of one's own; the first rank writes, with every rank's samples in its table."""
    script, end = tmp_path / "shared.py", tmp_path / "end.pt"
    script.write_text(SHARED_TRAINING, encoding="utf-8")
    torchrun = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*torchrun, str(script), str(end)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(end, weights_only=True)
    alone = {"__name__": "alone"}
    exec(SHARED_TRAINING, alone)
    assert found["ranks"] == 2
    torch.testing.assert_close(found["table"], alone["train"](), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["again"], torch.full((2, 5), 0.25))


def add(a, b):
    return a + b


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_sweeps_return_in_order(backend):
    cases = [{"a": a, "b": b} for a in range(3) for b in range(2)]
    assert training.sweep(add, cases, backend=backend, num_jobs=1) == [0, 1, 1, 2, 2, 3]


@pytest.mark.filterwarnings("default")
def test_a_sweep_on_a_local_dask_cluster():
    distributed = pytest.importorskip("distributed")
    cases = [{"a": a, "b": 1} for a in range(4)]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        assert training.sweep(add, cases, backend="dask", address=cluster.scheduler_address) == [1, 2, 3, 4]
        with distributed.Client(cluster):
            assert training.sweep(add, cases, backend="dask") == [1, 2, 3, 4]


def test_sweeps_refuse_what_they_do_not_know(monkeypatch):
    with pytest.raises(ValueError, match="backend='spark'; allowed are 'loky', 'threading', 'dask', 'ray'"):
        training.sweep(add, [], backend="spark")
    monkeypatch.setenv("DESCENTLAB_BACKEND", "dask")  # what the environment asks for is the default
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match="pip install distributed"):
        training.sweep(add, [{"a": 1, "b": 2}], address="tcp://nowhere")
    with pytest.raises(ModuleNotFoundError, match="pip install distributed"):
        training.sweep(add, [{"a": 1, "b": 2}], backend="dask", address="tcp://nowhere")


# -- many networks at once --------------------------------------------------------------------------------------------


def tiny():
    return networks.MLP(64, widths=(8,)).double()


def test_stacked_networks_are_trained_as_single_ones(digits):
    source = (digits.inputs[:300].double(), digits.targets[:300])
    subsets = [np.arange(0, 200), np.arange(100, 300), np.arange(50, 250)]
    settings = {
        "seeds": (0, 1, 2),
        "subsets": subsets,
        "optimizer": SGD,
        "num_epochs": 2,
        "batch_size": 32,
        "device": "cpu",
    }
    settings |= {"schedule": training.cosine(14), "augment": partial(data.augment, padding=1)}
    loop, stacked = (training.fit_many(tiny, source, method=method, **settings) for method in ("loop", "vmap"))
    for one, other in zip(loop, stacked, strict=True):
        torch.testing.assert_close(weights(one.model), weights(other.model), rtol=1e-9, atol=1e-11)
        for name in ("loss", "accuracy", "learning_rate"):
            np.testing.assert_allclose(one.curves[name], other.curves[name], rtol=1e-9)
    assert not torch.allclose(weights(stacked[0].model), weights(stacked[1].model))


def test_the_method_is_chosen_by_timing(digits):
    settings = {"optimizer": SGD, "batch_size": 32, "device": "cpu"}
    assert training.faster_method(lambda: networks.MLP(64, widths=(8,)), digits, num_networks=2, **settings) in (
        "loop",
        "vmap",
    )
    results = training.fit_many(lambda: networks.MLP(64, widths=(8,)), digits, seeds=(0, 1), num_epochs=1, **settings)
    assert all(result.test_accuracy > 0.2 for result in results)


def test_networks_that_cannot_be_stacked(digits):
    settings = {"optimizer": SGD, "num_epochs": 1, "batch_size": 400, "device": "cpu"}

    def normed():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))

    with pytest.raises(ValueError, match="BatchNorm1d tracks running statistics"):
        training.fit_many(normed, digits, seeds=(0, 1), method="vmap", **settings)
    assert len(training.fit_many(normed, digits, seeds=(0, 1), **settings)) == 2
    with pytest.raises(ValueError, match="the subsets differ in size"):
        training.fit_many(tiny, digits, seeds=(0, 1), subsets=[[0, 1], [2]], method="vmap", **settings)
    with pytest.raises(ValueError, match="subsets has 1 entries, seeds 2"):
        training.fit_many(tiny, digits, seeds=(0, 1), subsets=[[0]], **settings)
    with pytest.raises(ValueError, match="method='fast'"):
        training.fit_many(tiny, digits, seeds=(0,), method="fast", **settings)


# -- schedules --------------------------------------------------------------------------------------------------------


def test_cosine_against_pytorch():
    optimizer = SGD([nn.Parameter(torch.zeros(1))])
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    factor = training.cosine(20)
    for step in range(21):
        assert 0.1 * factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        reference.step()
    assert factor(25) == 0


def test_cosine_with_warmup_and_floor():
    factor = training.cosine(30, warmup_steps=10, final=0.1)
    assert [factor(s) for s in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0] and factor(30) == pytest.approx(0.1)
    assert training.count_steps(1442, batch_size=100, num_epochs=2) == 30
    with pytest.raises(ValueError, match="batch_size=0 must be a positive"):
        training.count_steps(1442, batch_size=0, num_epochs=2)
    with pytest.raises(ValueError, match="warmup_steps=30, num_steps=30"):
        training.cosine(30, warmup_steps=30)
