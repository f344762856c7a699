"""What is computed once for several runs, or in another order, is what each run would be alone."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from tests.reference import weak_to_strong as reference

from descentlab import weak_to_strong as w2s

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
    for i, data in enumerate(each):
        end, log = w2s.train_strong(net, data, labels[i], test=tests[i], **arguments)
        torch.testing.assert_close(ends.weights[i], end.weights, rtol=0, atol=1e-12)
        for name in ("loss", "corrected", "test_by_kind", "hard_products"):
            np.testing.assert_allclose(getattr(history, name)[i], getattr(log, name), atol=1e-12)


@pytest.mark.parametrize(("n", "dim"), [(12, 40), (60, 9)], ids=["kernel", "weights"])
@pytest.mark.parametrize("raw", [False, True])
def test_teachers_are_the_papers_by_either_route(n, dim, raw):
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
    base = w2s.Setting(dim=40, signal_hard=3.0, learning_rate=0.3, weak_samples=60, weak_steps=30)
    settings = [base, replace(base, probabilities=(0.6, 0.3, 0.1), hard_patches="opposite")]
    arguments = {"seeds": [2, 5], "record": [0, 10, 20], "num_test": 100, "labels": labels}
    together = w2s.teach_laws(settings, 80, 20, **arguments)
    for setting, lesson in zip(settings, together, strict=True):
        single = w2s.teach(setting, 80, 20, **arguments)
        np.testing.assert_allclose(lesson.flip_rate, single.flip_rate)
        np.testing.assert_allclose(lesson.teacher.hard, single.teacher.hard)
        for name in ("loss", "train_accuracy", "test_by_kind", "hard_products"):
            np.testing.assert_allclose(
                getattr(lesson.history, name), getattr(single.history, name), rtol=1e-3, atol=1e-4
            )


def test_lessons_take_teachers_and_tests_that_are_there():
    setting = w2s.Setting(dim=30, signal_hard=3.0, learning_rate=0.3, weak_samples=60, weak_steps=30)
    own = w2s.teach(setting, 50, 5, seeds=[0, 1], num_test=70)
    weak, test = w2s.train_teacher(setting, [0, 1]), setting.data(70, [2000, 2001])
    given = w2s.teach(setting, 50, 5, seeds=[0, 1], weak=weak, test=test)
    np.testing.assert_array_equal(own.history.test_by_kind, given.history.test_by_kind)
    with pytest.raises(ValueError, match="labels='guess'"):
        w2s.teach_laws([setting], 10, 1, seeds=[0], labels="guess")


@pytest.mark.parametrize("labels", ["ideal", "true", "uniform"])
def test_points_of_the_transition_side_by_side(labels):
    points = [(w2s.signal_at(0.3, 30, 500), 0.5), (w2s.signal_at(1, 30, 500, p_both=0.25), 0.25)]
    arguments = {"seeds": [1, 4], "num_steps": 40, "num_test": 100, "labels": labels}
    together = w2s.scarce_runs(30, 500, points, **arguments)
    for run, (norm, p_both), kappa in zip(together, points, (0.3, 1), strict=True):
        single = w2s.scarce_run(30, 500, signal_hard=norm, p_both=p_both, **arguments)
        assert run.kappa == pytest.approx(kappa)
        np.testing.assert_allclose(run.loss, single.loss, rtol=1e-3)
        np.testing.assert_allclose(run.hard, single.hard, atol=0.05)
        np.testing.assert_allclose(run.train_accuracy, single.train_accuracy)
