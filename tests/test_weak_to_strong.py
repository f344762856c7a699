"""The fast trainers against the paper's words and autograd, the protocol, bad input; every claim against a wrong variant."""

import functools
import warnings
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from experiments import weak_to_strong as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from tests.reference import weak_to_strong as reference
from torch.utils.data import DataLoader, TensorDataset

from descentlab import data as datasets
from descentlab import weak_to_strong as w2s
from descentlab.weak_to_strong import training

BOTH = ("same", "opposite")


# -- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hard_patches", BOTH)
def test_patches_are_as_the_paper_defines_them(hard_patches):
    made = w2s.PatchData(
        3000,
        30,
        signal_easy=4,
        signal_hard=3,
        noise=0.5,
        hard_patches=hard_patches,
        probabilities=(0.2, 0.3, 0.5),
        seed=1,
    )
    patches, labels, kinds = made.patches, made.labels, made.kinds
    assert patches.shape == (3000, 3, 30) and labels.shape == kinds.shape == (3000,)
    assert set(labels.tolist()) == {1.0, -1.0}
    assert np.bincount(kinds) / 3000 == pytest.approx([0.2, 0.3, 0.5], abs=0.04)
    easy_place, hard_place = torch.where(labels > 0, 0, 1), torch.where(labels > 0, 2, 3)
    easy = 4.0 * torch.eye(30, dtype=torch.float64)[easy_place]
    hard = 3.0 * torch.eye(30, dtype=torch.float64)[hard_place]
    sums = patches[:, :2].sum(1)
    assert torch.equal(sums[kinds == 0], 2 * easy[kinds == 0])
    signed = sums[kinds == 2] - easy[kinds == 2]
    assert torch.equal(signed.abs(), hard[kinds == 2]) and 0.4 < (signed.sum(-1) > 0).double().mean() < 0.6
    of_hard = sums[kinds == 1]
    if hard_patches == "same":
        assert torch.equal(of_hard.abs(), 2 * hard[kinds == 1])
    else:
        assert not of_hard.any() and torch.equal(patches[kinds == 1][:, 0].abs(), hard[kinds == 1])
    assert not patches[:, :2, 4:].any() and not patches[:, 2, :4].any()
    assert patches[:, 2, 4:].std() == pytest.approx(0.5, rel=0.01)
    assert torch.equal(patches.sum(1), made.patch_sums())


def test_seeds_repeat_and_batches_are_the_single_runs():
    batch = w2s.PatchData(50, 10, seed=[3, 4])
    for i, seed in enumerate((3, 4)):
        single = w2s.PatchData(50, 10, seed=seed)
        assert torch.equal(batch.patches[i], single.patches) and torch.equal(batch.labels[i], single.labels)
    part = batch.subset(slice(10, 20))
    assert torch.equal(part.patches, batch.patches[:, 10:20]) and part.num_samples == 10


def test_ideal_labels_flip_half_of_the_hard_ones_and_nothing_else():
    made = w2s.PatchData(20_000, 5, seed=7)
    flipped = w2s.ideal_pseudo_labels(made, seed=7) != made.labels
    assert not flipped[made.kinds != 1].any()
    assert flipped[made.kinds == 1].double().mean() == pytest.approx(0.5, abs=0.03)
    seldom = w2s.ideal_pseudo_labels(made, flip_probability=0.2, seed=7) != made.labels
    assert seldom[made.kinds == 1].double().mean() == pytest.approx(0.2, abs=0.03)
    assert not seldom[made.kinds != 1].any() and not (seldom & ~flipped).any()


def test_vectors_in_their_span_have_the_law_of_the_full_space():
    """Means and variances of inner products, against their closed forms for normal vectors."""
    p, sigma, scale = 196, 0.7, 0.1
    made, net = lab.draw_in_span(
        4, p + 4, num_filters=2, init_scale=scale, noise=sigma, seed=range(4000), dtype=torch.float64
    )
    products = (made.rows @ made.rows.mT).numpy()
    squares, mixed = products[:, 3, 3], products[:, 3, 1]
    assert squares.mean() == pytest.approx(sigma**2 * p, rel=0.01)
    assert squares.var() == pytest.approx(2 * sigma**4 * p, rel=0.1)
    assert mixed.mean() == pytest.approx(0, abs=4 * sigma**2 * np.sqrt(p / 4000))
    assert mixed.var() == pytest.approx(sigma**4 * p, rel=0.1)
    with_filter = (made.rows @ net.weights.detach().flatten(1, 2)[..., 4:].mT).numpy()[:, 0, 3]
    assert with_filter.var() == pytest.approx(sigma**2 * scale**2 * p, rel=0.1)
    assert net.weights[..., :4].std().item() == pytest.approx(scale, rel=0.05)


# -- the trainers -----------------------------------------------------------------------------------------------------


def small(hard_patches="same", n=12, dim=9, seed=0):
    return w2s.PatchData(n, dim, signal_easy=2, signal_hard=1.5, hard_patches=hard_patches, seed=seed)


@pytest.mark.parametrize("hard_patches", BOTH)
def test_trainers_are_the_papers(hard_patches):
    made = small(hard_patches)
    patches, labels = made.patches.numpy(), made.labels.numpy()
    weak, _ = w2s.train_weak(made, learning_rate=0.1, num_steps=20)
    expected = reference.train_weak(patches, labels, learning_rate=0.1, num_steps=20)
    np.testing.assert_allclose(weak.weight.detach(), expected, atol=1e-13)
    net = w2s.ReluCNN(9, 3, init_scale=0.1, seed=2)
    given_labels = w2s.ideal_pseudo_labels(made, seed=1)
    expected = reference.train_strong(
        net.weights.detach().numpy(), patches, given_labels.numpy(), learning_rate=0.5, num_steps=20
    )
    for method in ("auto", "split", "gram", "autograd"):
        end, _ = w2s.train_strong(net, made, given_labels, learning_rate=0.5, num_steps=20, method=method)
        np.testing.assert_allclose(end.weights.detach(), expected, atol=1e-13)


@pytest.mark.parametrize("hard_patches", BOTH)
@pytest.mark.parametrize("method", ["split", "gram"])
@pytest.mark.parametrize("raw", [False, True])
def test_fast_forms_agree_with_plain_autograd(hard_patches, method, raw):
    """100 steps of torch.optim.SGD on softplus losses, a network a seed, against a batch of them."""
    made = w2s.PatchData(60, 40, hard_patches=hard_patches, seed=[0, 1])
    labels = w2s.ideal_pseudo_labels(made)
    nets = w2s.ReluCNN(40, 4, seed=[5, 6])
    on = w2s.PatchData.from_arrays(made.patches, made.labels, made.kinds) if raw else made
    ends, history = w2s.train_strong(nets, on, labels, learning_rate=0.5, num_steps=100, method=method)
    for i, seed in enumerate((5, 6)):
        net = w2s.ReluCNN(40, 4, seed=seed)
        optimizer = torch.optim.SGD([net.weights], lr=0.5)
        for step in range(100):
            loss = torch.nn.functional.softplus(-labels[i] * net(made.patches[i])).mean()
            assert history.loss[i, step] == pytest.approx(loss.item(), abs=1e-12)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert (ends.weights[i] - net.weights).abs().max().item() < 1e-10


@pytest.mark.parametrize(
    "variant",
    [
        {"optimizer": torch.optim.Adam},
        {"optimizer": functools.partial(torch.optim.SGD, weight_decay=0.1, momentum=0.9)},
        {"loss": "logconf"},
        {"loss": w2s.SmallLoss(keep=0.8)},
        {"batch_size": 7},
        {"train_output": True},
    ],
    ids=lambda variant: next(iter(variant)),
)
@pytest.mark.parametrize("raw", [False, True])
def test_variants_agree_with_autograd(variant, raw):
    made = w2s.PatchData(60, 20, seed=[0, 1])
    on = w2s.PatchData.from_arrays(made.patches, made.labels, made.kinds) if raw else made
    labels = w2s.ideal_pseudo_labels(made)
    nets = w2s.ReluCNN(20, 4, seed=[5, 6])
    arguments = {"learning_rate": 0.05, "num_steps": 40, "record": [0, 40], **variant}
    slow, _ = w2s.train_strong(nets, made, labels, method="autograd", **arguments)
    fast, _ = w2s.train_strong(nets, on, labels, method="split", **arguments)
    assert (slow.weights - fast.weights).abs().max().item() < 1e-10
    assert (slow.output - fast.output).abs().max().item() < 1e-10
    assert torch.equal(nets.weights, w2s.ReluCNN(20, 4, seed=[5, 6]).weights)  # the start is left alone


@pytest.mark.parametrize("variant", [{}, {"batch_size": 7}, {"loss": "logconf"}, {"train_output": True}], ids=str)
def test_large_data_sets_go_one_by_one_to_the_same_end(variant, monkeypatch):
    made, test = w2s.PatchData(60, 20, seed=[0, 1]), w2s.PatchData(30, 20, seed=[2, 3])
    labels, nets = w2s.ideal_pseudo_labels(made), w2s.ReluCNN(20, 4, seed=[5, 6])
    arguments = {"learning_rate": 0.1, "num_steps": 30, "record": [0, 10, 30], "keep_predictions": True, **variant}
    runs = []
    for large in (10**9, 1):
        monkeypatch.setattr("descentlab.weak_to_strong.training._LARGE", large)
        runs.append(w2s.train_strong(nets, made, labels, test=test, **arguments))
    (batch, a), (single, b) = runs
    torch.testing.assert_close(batch.weights, single.weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(batch.output, single.output, rtol=0, atol=1e-12)
    assert a.predictions.shape == b.predictions.shape == (2, 3, 30)
    for name in ("loss", "train_accuracy", "corrected", "test_by_kind", "predictions", "hard_products", "steps"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12)


def test_history_is_what_the_models_say():
    made, test = small(n=200, seed=1), small(n=300, seed=2)
    labels = w2s.ideal_pseudo_labels(made)
    net = w2s.ReluCNN(9, 4, init_scale=0.1, seed=3)
    end, h = w2s.train_strong(
        net, made, labels, learning_rate=0.5, num_steps=30, record=[0, 30], test=test, keep_predictions=True
    )
    with torch.no_grad():
        f, on_test = end(made.patches), end(test.patches)
    flipped = labels != made.labels
    assert h.train_accuracy[-1] == ((f >= 0) == (labels > 0)).double().mean()
    assert h.corrected[-1] == pytest.approx(((f >= 0) == (made.labels > 0))[flipped].double().mean().item())
    scores = w2s.evaluate(end, test)
    assert (h.test_accuracy[-1], *h.test_by_kind[-1]) == pytest.approx(
        (scores.overall, scores.easy, scores.hard, scores.both)
    )
    right = (on_test >= 0) == (test.labels > 0)
    assert scores.hard == pytest.approx(right[test.kinds == 1].double().mean().item())
    assert np.array_equal(h.predictions[-1] > 0, on_test >= 0)
    np.testing.assert_allclose(
        h.hard_products[-1], 1.5 * torch.stack([end.weights[0, :, 2], end.weights[1, :, 3]]).detach()
    )
    np.testing.assert_allclose(
        h.easy_products[0], 2 * torch.stack([net.weights[0, :, 0], net.weights[1, :, 1]]).detach()
    )
    assert list(h.steps) == [0, 30] and h.at(30) == 1
    with pytest.raises(ValueError, match="step=7"):
        h.at(7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(5, 20), st.sampled_from(BOTH), st.floats(0.2, 5))
def test_outputs_need_no_patches_and_see_no_order(seed, n, dim, hard_patches, norm):
    made = w2s.PatchData(n, dim, signal_hard=norm, hard_patches=hard_patches, seed=seed)
    net, linear = w2s.ReluCNN(dim, 3, init_scale=1.0, seed=seed), w2s.LinearCNN(dim)
    with torch.no_grad():
        linear.weight.copy_(net.weights[0, 0])
        for model in (net, linear):
            direct = model(made.patches)
            torch.testing.assert_close(w2s.outputs(model, made), direct, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(model(made.patches[:, [2, 0, 1]]), direct, rtol=1e-10, atol=1e-10)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 20))
def test_the_network_is_homogeneous(seed, factor):
    made, net = small(seed=seed), w2s.ReluCNN(9, 3, seed=seed)
    before = w2s.outputs(net, made)
    with torch.no_grad():
        net.weights.mul_(factor)
    torch.testing.assert_close(w2s.outputs(net, made), factor * before)


# -- losses -----------------------------------------------------------------------------------------------------------


def test_logconf_targets():
    """Five samples by hand: two labels 1, so the two most confident are the student's own ones."""
    one = torch.tensor([0.9, 0.2, 0.6, 0.55, 0.1])
    label = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
    stack = lambda v: torch.stack([1 - v, v], dim=-1)  # noqa: E731
    target, weight = w2s.LogConf(coefficient=0.5, warmup=0.1)(stack(one), stack(label), 0.5)
    assert weight is None
    torch.testing.assert_close(target[:, 1], torch.tensor([1.0, 0.5, 0.5, 0.0, 0.0]))
    half, _ = w2s.LogConf(coefficient=0.5, warmup=0.1)(stack(one), stack(label), 0.05)
    torch.testing.assert_close(half[:, 1], torch.tensor([1.0, 0.75, 0.25, 0.0, 0.0]))
    start, _ = w2s.LogConf()(stack(one), stack(label), 0.0)
    torch.testing.assert_close(start, stack(label))
    many = torch.tensor([[0.2, 0.7, 0.1]])
    mixed, _ = w2s.LogConf(0.4, 0.0)(many, torch.tensor([[1.0, 0.0, 0.0]]), 0.0)
    torch.testing.assert_close(mixed, torch.tensor([[0.6, 0.4, 0.0]]))


def test_small_loss_keeps_the_likeliest():
    predicted = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    _, weight = w2s.SmallLoss(keep=0.5)(predicted, labels, 0.9)
    assert weight.tolist() == [1, 0, 0, 1]
    assert w2s.SmallLoss(keep=0.5)(predicted, labels, 0.0)[1] is None


# -- the protocol -----------------------------------------------------------------------------------------------------


def loaders(dim=30, sizes=(3000, 1000)):
    law = {"signal_hard": 3.0, "dtype": torch.float32}
    sets = [w2s.PatchData(n, dim, seed=10 + i, **law) for i, n in enumerate(sizes)]
    return [DataLoader(TensorDataset(s.patches, s.labels), batch_size=128) for s in sets], sets


def test_protocol_for_own_models():
    """The student of the chapter, by mini-batches of Adam; the report's numbers are those of its models."""
    (train, test), (_, held) = loaders()
    weak, strong = w2s.LinearCNN(30, dtype=torch.float32), w2s.ReluCNN(30, seed=1, dtype=torch.float32)
    report = w2s.weak_to_strong(weak, strong, train, test, learning_rate=0.01, num_epochs=4, seed=1)
    assert report.weak == pytest.approx(0.85, abs=0.04)
    assert report.weak < report.weak_to_strong < report.ceiling
    assert w2s.evaluate(report.models["weak_to_strong"], held).overall == pytest.approx(report.weak_to_strong)
    expected = (report.weak_to_strong - report.weak) / (report.ceiling - report.weak)
    assert report.performance_gap_recovered == pytest.approx(expected)
    assert "gap recovered" in str(report) and not weak.weight.any()  # the models given are left alone
    again = w2s.weak_to_strong(weak, strong, train, test, learning_rate=0.01, num_epochs=4, seed=1)
    assert again == report


def test_protocol_for_classes_stops_early():
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 5, generator=rng)
    labels = torch.arange(900) % 3
    inputs = centres[labels] + 0.8 * torch.randn(900, 5, generator=rng)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=100)
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 3)
    deep = torch.nn.Sequential(torch.nn.Linear(5, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    for loss, soft in (("logconf", False), ("xent", True), (w2s.SmallLoss(0.9), False)):
        report = w2s.weak_to_strong(
            linear, deep, loader, loader, loss=loss, soft_labels=soft, learning_rate=0.05, num_epochs=60, patience=2
        )
        assert min(report.weak, report.weak_to_strong, report.ceiling) > 0.7
        assert report.epochs["weak_to_strong"] < 60
    assert np.isnan(w2s.Report(0.5, 0.6, 0.5).performance_gap_recovered)


def test_teachers_do_not_label_what_they_learned():
    made, fresh = small(n=50), small(n=50, seed=9)
    weak, _ = w2s.train_weak(made, num_steps=5)
    with pytest.warns(UserWarning, match="trained on 50 of these samples"):
        w2s.pseudo_label(weak, made)
    with pytest.warns(UserWarning, match="trained on 10 of these samples"):
        w2s.pseudo_label(weak, made.subset(slice(10)))
    assert set(w2s.pseudo_label(weak, fresh).tolist()) <= {1.0, -1.0}
    assert (w2s.pseudo_label(w2s.LinearCNN(9), fresh) == 1).all()  # ties
    twice = TensorDataset(made.patches.repeat(2, 1, 1).float(), made.labels.repeat(2).float())
    test = DataLoader(TensorDataset(fresh.patches.float(), fresh.labels.float()), batch_size=50)
    models = w2s.LinearCNN(9, dtype=torch.float32), w2s.ReluCNN(9, seed=0, dtype=torch.float32)
    with pytest.warns(UserWarning, match="occur both"):
        w2s.weak_to_strong(*models, DataLoader(twice, batch_size=50), test, num_epochs=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_is_not_mistaken_for_another(dtype):
    """Thousands of teachers' samples beside thousands of fresh ones, with numbers of single precision too."""
    law = {"signal_hard": 3.0, "dtype": dtype}
    weak, _ = w2s.train_weak(w2s.PatchData(6000, 60, seed=[0, 1], **law), num_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w2s.pseudo_label(weak, w2s.PatchData(6000, 60, seed=[2, 3], **law))
    assert len(torch.unique(weak.seen)) == 12_000


def test_panels_share_their_teachers():
    """Two panels of one law; each is the lesson that it would be alone."""
    panels = ((20, 30, 2.5, 0.5, 6), (120, 30, 2.5, 0.5, 6))
    config = replace(lab.SMOKE, panels=panels, num_test=100)
    made = lab.three_panels(config, seed=3, few_seeds=4)
    for (n, dim, norm, rate, steps), num_seeds in zip(panels, (4, 2), strict=True):
        alone = lab.teach(lab.Setting(dim, norm, rate), n, steps, seeds=range(3, 3 + num_seeds), num_test=100)
        at = [alone.history.at(t) for t in made[n].history.steps]
        np.testing.assert_allclose(made[n].history.test_accuracy, alone.history.test_accuracy[:, at])
        np.testing.assert_allclose(made[n].teacher.hard, alone.teacher.hard)


def test_gain_of_stopping_is_the_crest_minus_the_end():
    sweep = lab.boundary_sweep(replace(lab.SMOKE, sweep=((20, 24),), num_test=100), seeds=[0, 1])
    test = sweep[20].history.test_accuracy
    assert lab.gain_of_stopping(sweep) == {20: pytest.approx(np.mean([max(run) - run[-1] for run in test]))}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": (0.2, 0.3, 0.4)}, "probabilities"),
        ({"probabilities": (0.5, 0.5)}, "probabilities"),
        ({"probabilities": (-0.1, 0.6, 0.5)}, "probabilities"),
        ({"dim": 4}, "dim=4 must be at least 5"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"signal_hard": 0.0}, "signal_hard=0.0"),
        ({"noise": -1.0}, "noise=-1.0"),
        ({"hard_patches": "opp"}, "hard_patches='opp'; allowed are 'same' and 'opposite'"),
    ],
)
def test_bad_data_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        w2s.PatchData(**{"num_samples": 5, "dim": 6, **arguments})


def test_bad_arrays_and_labels_are_named():
    made = small()
    for bad in ({"labels": np.zeros(12)}, {"kinds": np.full(12, 3)}, {"patches": np.full((12, 3, 9), np.nan)}):
        arrays = {"patches": made.patches, "labels": made.labels, "kinds": made.kinds} | bad
        with pytest.raises(ValueError, match=next(iter(bad))):
            w2s.PatchData.from_arrays(**arrays)
    net = w2s.ReluCNN(9, 2)
    with pytest.raises(ValueError, match=r"labels: expected 1 and -1 .* found \[0.0, 1.0\]"):
        w2s.train_strong(net, made, (made.labels + 1) / 2, learning_rate=0.1, num_steps=1)
    with pytest.raises(ValueError, match="labels"):
        w2s.train_strong(net, made, made.labels[:3], learning_rate=0.1, num_steps=1)
    with pytest.raises(ValueError, match="arrays"):
        w2s.ideal_student(w2s.PatchData.from_arrays(made.patches, made.labels, made.kinds))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"record": [11]}, "record"),
        ({"method": "fast"}, "method='fast'"),
        ({"method": "gram", "batch_size": 2}, "method='gram'"),
        ({"batch_size": 13}, "batch_size=13"),
        ({"loss": "hinge"}, "loss='hinge'"),
        ({"test": w2s.PatchData(3, 8)}, "length"),
        ({"test": w2s.PatchData(3, 9, dtype=torch.float32)}, "float32"),
    ],
)
def test_bad_training_arguments_are_named(arguments, message):
    made = small()
    with pytest.raises(ValueError, match=message):
        w2s.train_strong(w2s.ReluCNN(9, 2), made, made.labels, **{"learning_rate": 0.1, "num_steps": 10, **arguments})


def test_batches_of_seeds_must_agree():
    made, nets = w2s.PatchData(5, 9, seed=[0, 1]), w2s.ReluCNN(9, 2, seed=[0, 1, 2])
    with pytest.raises(ValueError, match=r"model \(3,\), data \(2,\)"):
        w2s.train_strong(nets, made, made.labels, learning_rate=0.1, num_steps=1)
    one = w2s.PatchData(4, 9, seed=5)
    ends, h = w2s.train_strong(nets, one, one.labels, learning_rate=0.1, num_steps=2, test=one)
    assert ends.weights.shape == (3, 2, 2, 9) and h.test_accuracy.shape == (3, 3)


def test_other_bad_input_is_named():
    (train, test), _ = loaders(sizes=(50, 20))
    models = w2s.LinearCNN(30, dtype=torch.float32), w2s.ReluCNN(30, dtype=torch.float32)
    for arguments, message in (
        ({"teacher_fraction": 1.0}, "teacher_fraction"),
        ({"holdout": -0.1}, "holdout"),
        ({"num_epochs": 0}, "num_epochs"),
        ({"loss": "product"}, "loss='product'"),
    ):
        with pytest.raises(ValueError, match=message):
            w2s.weak_to_strong(*models, train, test, **arguments)
    wrong = DataLoader(TensorDataset(torch.zeros(20, 3, 30), torch.arange(20) % 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="expected 1 and -1"):
            w2s.weak_to_strong(*models, wrong, test)
    with pytest.raises(ValueError, match="train_loader"):
        w2s.weak_to_strong(*models, [], test)
    with pytest.raises(ValueError, match="dim=20"):
        lab.draw_in_span(20, 20)
    with pytest.raises(ValueError, match="kappa"):
        lab.scarce_run(10, 100)
    with pytest.raises(ValueError, match="coefficient=2"):
        w2s.LogConf(coefficient=2)
    with pytest.raises(ValueError, match="flip_probability=2"):
        w2s.ideal_pseudo_labels(small(), flip_probability=2)
    with pytest.raises(ValueError, match="labels='guess'"):
        lab.teach(lab.BEYOND, 10, 1, seeds=[0], labels="guess")


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------

SMALL = replace(lab.BOOK, beyond_samples=2000, bridge_samples=1000, bridge_steps=60, num_test=1000)
KAPPAS = {(200, 8000): (0.03, 0.3, 1, 3), (400, 8000): (0.03, 0.3, 1, 3), (400, 16_000): (0.03, 0.3, 1, 3)}
KAPPAS |= {(400, 60_000): (0.1, 0.3, 1, 3)}


@cache
def long_run(labels="teacher", loss=None, decay=0.0, steps=400, hard_patches="same"):
    """A run on the abundant side, one seed: 3000 samples in dimension 150."""
    arguments = {"loss": loss or "xent"}
    setting = replace(lab.BEYOND, hard_patches=hard_patches)
    if decay:
        arguments["optimizer"] = functools.partial(torch.optim.SGD, weight_decay=decay)
    log = sorted({0, 6, *range(10, steps + 1, 10)})
    return lab.teach(setting, 3000, steps, seeds=[0], labels=labels, record=log, num_test=1000, **arguments)


@cache
def few_samples():
    """400 samples in dimension 400: the ratio of the regimes is 9."""
    return lab.teach(lab.ABUNDANT, 400, 50, seeds=[0], record=range(10, 51, 10))


@cache
def panel(number, steps, labels="teacher", hard_patches="same"):
    n, dim, norm, rate, _ = lab.BOOK.panels[number]
    setting = lab.Setting(dim, norm, rate, weak_samples=1000, hard_patches=hard_patches)
    return lab.teach(setting, n, steps, seeds=[0], labels=labels, record=[steps], num_test=1000)


@cache
def transition(labels="ideal", steps=150):
    runs = {
        (n, d, k): lab.scarce_run(n, d, kappa=k, seeds=[0], labels=labels, num_steps=steps, num_test=1000)
        for (n, d), ks in KAPPAS.items()
        for k in ks
    }
    return runs


@cache
def sweep(labels):
    short = replace(lab.BOOK, sweep=tuple((n, 12) for n in lab.PORTRAIT), num_test=500)
    return lab.portrait(lab.boundary_sweep(short, seeds=[0], labels=labels))


@cache
def boundary(n, dim=1000, steps=60):
    setting = replace(lab.BOUNDARY, dim=dim)
    run = lab.teach(setting, n, steps, seeds=[0], record=range(8, steps + 1, 4), num_test=200)
    return run.history.corrected.max(-1)


@cache
def gain_at_1000(labels):
    config = replace(lab.BOOK, sweep=((1000, 200),), num_test=500)
    return lab.gain_of_stopping(lab.boundary_sweep(config, seeds=[0], labels=labels))[1000]


def signs_kept(lesson):
    of_another_start = w2s.ReluCNN(150, seed=77).weights.detach().numpy()[[0, 1], :, [2, 3]]
    return (np.sign(lesson.history.hard_products[0, -1]) == np.sign(of_another_start)).mean()


def least_product_at_6(lesson):
    return np.abs(lesson.history.hard_products[:, lesson.history.at(6)]).min()


def early_gap(lesson):
    return np.abs(lesson.history.train_accuracy - 1 + lesson.flip_rate[:, None]).max()


def drop(lesson):
    return lesson.history.test_accuracy.max(-1) - lesson.history.test_accuracy[:, -1]


def without_negative_filters():
    scores = []
    for hard_patches in BOTH:
        made = replace(lab.ABUNDANT, hard_patches=hard_patches).data(2000, 0)
        net = w2s.ideal_student(made)
        with torch.no_grad():
            net.weights[:, 2] = 0
        scores.append(w2s.evaluate(net, made).overall)
    return scores


def teacher_of_shuffled_labels():
    made, test = lab.ABUNDANT.data(2000, 0), lab.ABUNDANT.data(2000, 1)
    order = torch.as_tensor(np.random.default_rng(0).permutation(2000))
    score = w2s.evaluate(w2s.train_weak(made, labels=made.labels[order])[0], test)
    return [score.easy, score.hard, score.both]


def uniform_flips_on_hard():
    made = lab.ABUNDANT.data(5000, 0)
    flipped = torch.as_tensor(np.random.default_rng(0).random(5000) < 0.15)
    return (made.kinds[flipped] == 1).double().mean().item()


@cache
def equal_ratio_spread():
    runs = [lab.scarce_run(n, d, signal_hard=np.sqrt(0.3 * d / n), seeds=[0], num_test=1000) for n, d in KAPPAS]
    return np.ptp([run.hard.mean() for run in runs])


def slope_of_the_ratio(config=lab.BOOK):
    n, norms = np.array(config.heat_samples), np.array(config.heat_signals)
    return lab.contour_slope(n, norms, ndtr(0.008 * np.sqrt(np.outer(n, norms**2))))


def bridges(labels, hard_patches):
    return [
        lab.best_hard(run).mean() for run in lab.bridge_ablation(SMALL, hard_patches, seeds=[0], labels=labels).values()
    ]


def bridge(p_both):
    scores = []
    for hard_patches in BOTH:
        setting = replace(lab.ABUNDANT, hard_patches=hard_patches, probabilities=(0.7 - p_both, 0.3, p_both))
        run = lab.teach(setting, 2000, 60, seeds=[0], record=range(10, 61, 10), num_test=1000)
        scores.append(lab.best_hard(run).mean())
    return scores


@cache
def image_run(hard_patches="opposite", shuffled=False):
    config = replace(lab.BOOK, image_samples=400, image_steps=40, num_test=400)
    return lab.image_lesson(config, "fashion-mnist-12k", hard_patches, seed=0, with_ceiling=False, shuffled=shuffled)


@pytest.mark.parametrize("turn", [-1, 1], ids=["opposite", "same"])
def test_expected_accuracies_on_images(turn):
    """Those of C9: a loop that shares nothing with the package, on other seeds."""
    images = datasets.load("fashion-mnist-12k")
    halves = [
        (x.flatten(1).numpy(), t.numpy())
        for x, t in ((images.inputs, images.targets), (images.test_inputs, images.test_targets))
    ]
    seeds = (201, 202, 203) if turn == 1 else (201,)
    runs = [reference.image_lesson(*halves, turn=turn, seed=s, num_samples=2000, num_steps=60) for s in seeds]
    teacher, best, hard, ceiling = np.mean(runs, axis=0)
    expected = lab.statements.checks
    if turn == 1:
        assert expected["C9d"].holds(hard)
    else:
        assert expected["C9a"].holds(best - teacher) and expected["C9b"].holds(hard) and expected["C9c"].holds(ceiling)


@cache
def watch(coin_flips=False):
    return lab.stopping(SMALL, seeds=[0], coin_flips=coin_flips)


def random_selection(predicted, labels, progress):
    rng = torch.Generator().manual_seed(int(1e6 * progress))
    return labels, (torch.rand(labels.shape[:-1], generator=rng) < 0.85).to(labels.dtype)


def end_of(lesson):
    return lesson.history.corrected[:, -1]


def frozen():
    return long_run(loss=w2s.LogConf(0.75))


CONTROLS = {
    "C1a": lambda: lab.linear_on_hard(0, num_samples=5000, kind=0),
    "C1b": teacher_of_shuffled_labels,
    "C1c": lambda: (
        lab.teacher_report(
            [0], setting=replace(lab.ABUNDANT, probabilities=(0.5, 0.0, 0.5)), num_test=1000
        ).accuracy.overall
    ),
    "C1d": uniform_flips_on_hard,
    "C1e": lambda: lab.linear_on_hard(0, num_samples=5000, kind=0, hard_patches="opposite"),
    "C2": without_negative_filters,
    "C3a": lambda: long_run().history.train_accuracy[:, long_run().history.at(60)],
    "C3b": lambda: long_run().history.test_accuracy.max(-1) - long_run().teacher.overall,
    "C3c": lambda: panel(1, 20).history.train_accuracy[:, -1],
    "C3d": lambda: panel(1, 20, "shuffled").history.test_accuracy[:, -1] - panel(1, 20, "shuffled").teacher.overall,
    "C3e": lambda: long_run().teacher.overall,
    "C3f": lambda: panel(0, 200).history.train_accuracy[:, -1] - 1 + panel(0, 200).flip_rate,
    "C3g": lambda: drop(long_run("true")),
    "C3h": lambda: long_run("shuffled").history.test_accuracy.max(-1),
    "C3i": lambda: drop(long_run("true")),
    "C3j": lambda: long_run(steps=60, hard_patches="opposite").teacher.overall,
    "C3k": lambda: (lambda few: few.history.train_accuracy[:, -1] - 1 + few.flip_rate)(
        panel(0, 200, hard_patches="opposite")
    ),
    "C4a": lambda: long_run().history.train_accuracy[:, long_run().history.at(60)].min(),
    "C4b": lambda: max(run.loss.max() for run in transition(steps=3).values()),
    "C4c": lambda: [run.hard.mean() for run in transition("true").values()],
    "C4d": lambda: min(
        np.diff([transition()[n, d, k].hard.mean() for k in ks[::-1]]).min() for (n, d), ks in KAPPAS.items()
    ),
    "C4e": equal_ratio_spread,
    "C4f": lambda: lab.scarce_run(400, 20_000, kappa=3, seeds=[0, 1]).hard.mean(),
    "C4g": lambda: lab.scarce_run(400, 20_000, kappa=1, hard_patches="same", seeds=[0, 1]).hard.mean(),
    "C4h": lambda: 1 - lab.scarce_run(400, 20_000, kappa=30, seeds=[0, 1]).overall.mean(),
    "C4i": slope_of_the_ratio,
    "C4j": lambda: [
        lab.scarce_run(400, 16_000, kappa=1, p_both=p, seeds=[0], labels="true").hard.mean() for p in (0.65, 0.25)
    ],
    "C4k": lambda: slope_of_the_ratio(lab.FULL),
    "C4l": equal_ratio_spread,
    "C5a": lambda: boundary(1000).max(),
    "C5b": lambda: boundary(1000),
    "C5c": lambda: dict(
        zip(
            ("400", "1000", "2500", "8000"),
            (boundary(n, d).mean() for n, d in ((100, 250), (200, 500), (400, 1000), (800, 2000))),
            strict=True,
        )
    ),
    "C5d": lambda: sweep("shuffled").best.mean(-1),
    "C5e": lambda: sweep("shuffled").final.mean(-1),
    "C6a": lambda: early_gap(few_samples()),
    "C6b": lambda: few_samples().history.corrected.min(),
    "C6c": lambda: few_samples().history.test_accuracy.min(),
    "C6d": lambda: frozen().history.corrected[0, [frozen().history.at(t) for t in (100, 200, 400)]],
    "C6e": lambda: frozen().history.test_accuracy[0, [frozen().history.at(t) for t in (200, 400)]],
    "C6f": lambda: frozen().history.test_by_kind[0, -1, 1],
    "C6g": lambda: np.diff(1 - long_run().history.test_accuracy).max(),
    "C6h": lambda: (
        long_run("true").history.steps[long_run("true").history.hard_products.max((-1, -2)).argmax(-1)].mean()
    ),
    "C6i": lambda: (lambda top: top[:, -1] / top.max(-1))(long_run("true").history.hard_products.max((-1, -2))),
    "C6j": lambda: few_samples().history.corrected.min(),
    "C6k": lambda: few_samples().history.test_accuracy.min(),
    "C7a": lambda: signs_kept(long_run()),
    "C7b": lambda: least_product_at_6(long_run()),
    "C7c": lambda: (lambda e: e[e > 1].mean() if (e > 1).any() else e.max())(
        long_run("shuffled").history.easy_products[0, long_run("shuffled").history.at(60)]
    ),
    "C7d": lambda: signs_kept(long_run(steps=60, hard_patches="opposite")),
    "C7e": lambda: least_product_at_6(long_run(steps=60, hard_patches="opposite")),
    "C8a": lambda: bridges("true", "same"),
    "C8b": lambda: bridges("true", "opposite"),
    "C8c": lambda: bridge(0.4),
    "C8d": lambda: bridge(0.1),
    "C9a": lambda: (lambda run: run.student.test_accuracy.max() - run.teacher.overall)(image_run(shuffled=True)),
    "C9b": lambda: image_run().teacher.hard,
    "C9c": lambda: image_run().student.test_accuracy.max(),
    "C9d": lambda: image_run().student.test_by_kind[:, 1].max(),
    "C10a": lambda: (sweep("true").best - sweep("true").final).mean(-1),
    "C10b": lambda: (sweep("shuffled").best - sweep("shuffled").teacher).mean(-1).min(),
    "C10c": lambda: gain_at_1000("teacher"),
    "C10d": lambda: gain_at_1000("true"),
    "D1a": lambda: watch().regret("last"),
    "D1b": lambda: watch().held_out_on_hard.mean(-1),
    "D1c": lambda: watch().regret("disagreement"),
    "D2a": lambda: end_of(long_run()),
    "D2b": lambda: {
        "0": end_of(frozen()).mean(),
        "0.25": end_of(long_run(loss=w2s.LogConf(0.25))).mean(),
        "0.75": end_of(long_run()).mean(),
    },
    "D2c": lambda: end_of(long_run(loss=random_selection)),
    "D3a": lambda: drop(long_run()),
    "D3b": lambda: long_run(decay=0.02).history.test_accuracy[:, -1] - long_run().history.test_accuracy[:, -1],
    "D4": lambda: lab.output_factor_gap(rescale=False),
    "D5": lambda: lab.chain(SMALL, seeds=[0], stop=400).history.test_accuracy[:, -1],
    "D6": lambda: dict.fromkeys(("teacher", "coin flips"), end_of(long_run("coin")).mean()),
    "D7": lambda: dict.fromkeys(
        ("0.55", "0.5", "0.45"),
        long_run("coin").history.corrected[:, long_run("coin").history.at(200)].mean(),
    ),
}


def test_every_claim_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)


# -- what is shared between runs --------------------------------------------------------------------------------------


LAWS = [
    {"signal_easy": 4.0, "signal_hard": 3.0, "probabilities": (0.2, 0.3, 0.5), "hard_patches": "same"},
    {"signal_easy": 2.0, "signal_hard": 1.5, "probabilities": (0.6, 0.3, 0.1), "hard_patches": "opposite"},
]


def alone(n, dim, seed=3):
    return [w2s.PatchData(n, dim, seed=seed, **law) for law in LAWS]


def test_laws_share_their_noise_and_nothing_else():
    each = alone(50, 12)
    both = each[0].under_laws(LAWS, 3)
    assert both.rows.shape == (50, 8) and both.batch == (2,)
    for i, single in enumerate(each):
        for made in (both.of_seed(i), both.of_seed(slice(i, i + 1))):
            assert torch.equal(made.patches.reshape(50, 3, 12), single.patches)
        assert torch.equal(both.patches[i], single.patches)
        assert torch.equal(both.patch_sums()[i], single.patch_sums())
        assert torch.equal(both.labels[i], single.labels) and torch.equal(both.kinds[i], single.kinds)
        assert torch.equal(both.subset(slice(5, 9)).patches[i], single.patches[5:9])


@pytest.mark.parametrize("raw", [False, True])
def test_repeated_data_are_held_once(raw):
    made = alone(30, 9)[0]
    made = w2s.PatchData.from_arrays(made.patches, made.labels, made.kinds) if raw else made
    twice = made.repeated(2)
    assert twice.rows is made.rows and twice.batch == (2,)
    assert torch.equal(twice.patches, made.patches.expand(2, -1, -1, -1))
    labels = torch.stack([w2s.ideal_pseudo_labels(made), made.labels])
    net = w2s.ReluCNN(9, 3, seed=1)
    arguments = {"learning_rate": 0.3, "num_steps": 50}
    for method in ("split", "gram", "autograd"):
        ends, history = w2s.train_strong(net, twice, labels, method=method, test=made, **arguments)
        for i in range(2):
            end, log = w2s.train_strong(net, made, labels[i], method="autograd", test=made, **arguments)
            torch.testing.assert_close(ends.weights[i], end.weights, rtol=0, atol=1e-12)
            np.testing.assert_allclose(history.of_batch(i).test_by_kind, log.test_by_kind)
    weak, _ = w2s.train_weak(twice, labels=labels, num_steps=20)
    for i in range(2):
        single, _ = w2s.train_weak(made, labels=labels[i], num_steps=20)
        torch.testing.assert_close(weak.weight[i], single.weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["split", "gram", "autograd"])
def test_students_of_several_laws_are_the_single_ones(method):
    each, tests = alone(40, 30), alone(20, 30, 5)
    both, test = each[0].under_laws(LAWS, 3), tests[0].under_laws(LAWS, 5)
    labels = torch.stack([w2s.ideal_pseudo_labels(data) for data in each])
    net = w2s.ReluCNN(30, 3, seed=1)
    arguments = {"learning_rate": 0.3, "num_steps": 50, "method": method}
    ends, history = w2s.train_strong(net, both, labels, test=test, **arguments)
    for i, made in enumerate(each):
        end, log = w2s.train_strong(net, made, labels[i], test=tests[i], **arguments)
        torch.testing.assert_close(ends.weights[i], end.weights, rtol=0, atol=1e-12)
        for name in ("loss", "corrected", "test_by_kind", "hard_products"):
            np.testing.assert_allclose(getattr(history, name)[i], getattr(log, name), atol=1e-12)


@pytest.mark.parametrize(("n", "dim"), [(12, 40), (60, 9)], ids=["kernel", "weights"])
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_teachers_are_the_papers_by_every_route(n, dim, raw, side_by_side, monkeypatch):
    monkeypatch.setattr(training, "_CACHED", 2**17 if side_by_side else 0)
    made = w2s.PatchData(n, dim, signal_hard=1.5, seed=[0, 1])
    patches, labels = made.patches, made.labels
    made = w2s.PatchData.from_arrays(patches, labels, made.kinds) if raw else made
    weak, history = w2s.train_weak(made, learning_rate=0.05, num_steps=20, record=[0, 7, 20], test=made)
    for i in range(2):
        for k, steps in enumerate((0, 7, 20)):
            expected = reference.train_weak(patches[i].numpy(), labels[i].numpy(), learning_rate=0.05, num_steps=steps)
            f = patches[i].sum(1).numpy() @ expected
            assert history.loss[i, k] == pytest.approx(np.logaddexp(0, -labels[i].numpy() * f).mean(), abs=1e-12)
            assert history.test_accuracy[i, k] == pytest.approx(((f >= 0) == (labels[i].numpy() > 0)).mean())
        np.testing.assert_allclose(weak.weight.detach()[i], expected, atol=1e-13)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_one_pass_over_huge_data_agrees_with_autograd(seeds, monkeypatch):
    """A hundred steps in blocks of 64 samples; every tenth step is logged."""
    made, test = w2s.PatchData(150, 30, seed=seeds), w2s.PatchData(40, 30, seed=[7 + s for s in seeds])
    labels, nets = w2s.ideal_pseudo_labels(made), w2s.ReluCNN(30, 4, seed=[5 + s for s in seeds])
    arguments = {"learning_rate": 0.5, "num_steps": 100, "record": range(0, 101, 10), "test": test}
    slow, a = w2s.train_strong(nets, made, labels, method="autograd", **arguments)
    for name, value in (("training._LARGE", 1), ("training._HUGE", 1), ("engines.BLOCK", 1)):
        monkeypatch.setattr(f"descentlab.weak_to_strong.{name}", value)
    used = []
    streamed = w2s.training.Streamed
    monkeypatch.setattr(w2s.training, "Streamed", lambda *args, **more: used.append(1) or streamed(*args, **more))
    fast, b = w2s.train_strong(nets, made, labels, method="split", **arguments)
    assert len(used) == len(seeds)
    assert (slow.weights - fast.weights).abs().max().item() < 1e-10
    for field in fields(a):
        if getattr(a, field.name) is not None:
            np.testing.assert_allclose(getattr(a, field.name), getattr(b, field.name), atol=1e-10)


@pytest.mark.parametrize("labels", ["teacher", "coin", "true", "shuffled"])
def test_lessons_of_several_laws_are_the_single_lessons(labels):
    base = lab.Setting(dim=40, signal_hard=3.0, learning_rate=0.3, weak_samples=60, weak_steps=30)
    settings = [base, replace(base, probabilities=(0.6, 0.3, 0.1), hard_patches="opposite")]
    arguments = {"seeds": [2, 5], "record": [0, 10, 20], "num_test": 100, "labels": labels}
    together = lab.teach_laws(settings, 80, 20, **arguments)
    for setting, lesson in zip(settings, together, strict=True):
        single = lab.teach(setting, 80, 20, **arguments)
        np.testing.assert_allclose(lesson.flip_rate, single.flip_rate)
        np.testing.assert_allclose(lesson.teacher.hard, single.teacher.hard)
        for name in ("loss", "train_accuracy", "test_by_kind", "hard_products"):
            np.testing.assert_allclose(
                getattr(lesson.history, name), getattr(single.history, name), rtol=1e-3, atol=1e-4
            )


def test_lessons_take_teachers_and_tests_that_are_there():
    setting = lab.Setting(dim=30, signal_hard=3.0, learning_rate=0.3, weak_samples=60, weak_steps=30)
    own = lab.teach(setting, 50, 5, seeds=[0, 1], num_test=70)
    weak, test = lab.train_teacher(setting, [0, 1]), setting.data(70, [2000, 2001])
    given = lab.teach(setting, 50, 5, seeds=[0, 1], weak=weak, test=test)
    np.testing.assert_array_equal(own.history.test_by_kind, given.history.test_by_kind)
    with pytest.raises(ValueError, match="labels='guess'"):
        lab.teach_laws([setting], 10, 1, seeds=[0], labels="guess")


@pytest.mark.parametrize("labels", ["ideal", "true", "uniform"])
def test_points_of_the_transition_side_by_side(labels):
    points = [(lab.signal_at(0.3, 30, 500), 0.5), (lab.signal_at(1, 30, 500, p_both=0.25), 0.25)]
    arguments = {"seeds": [1, 4], "num_steps": 40, "num_test": 100, "labels": labels}
    together = lab.scarce_runs(30, 500, points, **arguments)
    for run, (norm, p_both), kappa in zip(together, points, (0.3, 1), strict=True):
        single = lab.scarce_run(30, 500, signal_hard=norm, p_both=p_both, **arguments)
        assert run.kappa == pytest.approx(kappa)
        np.testing.assert_allclose(run.loss, single.loss, rtol=1e-3)
        np.testing.assert_allclose(run.hard, single.hard, atol=0.05)
        np.testing.assert_allclose(run.train_accuracy, single.train_accuracy)
