"""Dataset pruning: against loops written out, exact enumerations and scipy; bad input; and a control for each claim."""

import json
import warnings
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import dataset_pruning as lab
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.reference import dataset_pruning as reference
from torch.utils.data import DataLoader, Subset, TensorDataset

from descentlab import data, networks, training
from descentlab import dataset_pruning as dp

BOOK = Path(__file__).parents[1] / "book"
P = np.random.default_rng(0).random((12, 300))
tables = st.integers(2, 7).flatmap(lambda t: arrays(float, (t, 5), elements=st.floats(0, 1)))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.delenv("DESCENTLAB_CHECKPOINTS", raising=False)
    monkeypatch.setenv("DESCENTLAB_QUIET", "1")


# -- scores -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(2, 7))
def test_dual_is_its_definition(table, window):
    if window > len(table):
        with pytest.raises(ValueError, match=f"window={window} must be from 2 to the {len(table)} epochs"):
            dp.dual_score(table, window=window)
        return
    np.testing.assert_allclose(dp.dual_score(table, window=window), reference.dual(table, window), atol=1e-12)
    np.testing.assert_allclose(dp.dyn_unc_score(table, window=window), reference.dyn_unc(table, window), atol=1e-12)


def test_saturated_samples_keep_their_digits():
    """Running sums in single precision lose these altogether, and in double half of the digits."""
    table = 1 - 1e-4 * np.random.default_rng(1).random((30, 50))
    table[:, :10] = 1 - 1e-4
    expected = reference.dual(table, 10)
    np.testing.assert_allclose(dp.dual_score(table)[10:], expected[10:], rtol=1e-9)
    assert np.abs(dp.dual_score(table)[:10]).max() < 1e-15


def test_scores_take_tensors_and_many_samples():
    wide = np.random.default_rng(2).random((11, 1500))  # more than a block, and not a multiple of it
    np.testing.assert_allclose(dp.dual_score(torch.tensor(wide)), reference.dual(wide, 10), atol=1e-12)
    single = wide.astype(np.float32)
    np.testing.assert_allclose(dp.dual_score(single), reference.dual(single.astype(float), 10), atol=1e-12)
    assert dp.dual_score(single).dtype == np.float64
    short = torch.tensor(wide, dtype=torch.bfloat16)
    np.testing.assert_allclose(dp.dual_score(short), reference.dual(short.double().numpy(), 10), atol=1e-12)


def test_the_family_joins_the_two():
    for power, score in ((0, dp.dyn_unc_score), (1, dp.dual_score)):
        np.testing.assert_array_equal(dp.family_score(P, power=power), score(P))
    two = np.lib.stride_tricks.sliding_window_view(P, 10, axis=0)
    expected = (two.std(axis=2, ddof=1) * (1 - two.mean(axis=2)) ** 2.5).mean(axis=0)
    np.testing.assert_allclose(dp.family_score(P, power=2.5), expected, atol=1e-12)


def test_el2n_and_aum_are_means():
    errors = 1.4 * P
    np.testing.assert_allclose(dp.el2n_score(errors), errors[:10].mean(axis=0))
    np.testing.assert_allclose(dp.el2n_score(errors[4:5], num_epochs=1), errors[4])
    np.testing.assert_allclose(dp.aum_score(2 * P - 1), -(2 * P - 1).mean(axis=0))


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (7, 4)))
def test_forgetting_counts_events(correct):
    np.testing.assert_array_equal(dp.forgetting_score(correct), reference.forgetting(correct))


def test_entropy():
    p = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(dp.entropy_score(p), [np.log(2), 0, np.log(3)], atol=1e-12)


def test_tdds_is_its_definition():
    p = np.random.default_rng(3).dirichlet(np.ones(4), (8, 6))
    for window, decay in ((3, 0.9), (8, 0.5), (2, 1.0)):
        expected = reference.tdds(p, window, decay)
        np.testing.assert_allclose(dp.tdds_score(p, window=window, decay=decay), expected, rtol=1e-10, atol=1e-14)


def test_moderate_prefers_the_median_distance():
    features = np.array([[0.0], [1.0], [2.0], [4.0], [9.0], [10.0], [10.0], [13.0]])
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    score = dp.moderate_score(features, targets)
    for label in (0, 1):
        x = features[targets == label, 0]
        distance = np.abs(x - x.mean())
        np.testing.assert_allclose(score[targets == label], -np.abs(distance - np.median(distance)))


def test_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    a, b = P[0].round(1), P[1].round(1) + P[0]
    assert dp.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dp.dual_score(P[0]), r"probabilities has shape \(300,\)"),
        (lambda: dp.dual_score(P, window=1), "window=1 must be from 2 to the 12"),
        (lambda: dp.dual_score(np.full((12, 3), np.nan)), r"not finite for 3 samples, the first of them \[0, 1, 2\]"),
        (lambda: dp.el2n_score(P, num_epochs=13), "num_epochs=13 must be from 1 to the 12"),
        (lambda: dp.tdds_score(P), r"\(T, N, C\) needed"),
        (lambda: dp.tdds_score(P[..., None], decay=0), "decay=0"),
        (lambda: dp.moderate_score(P, np.zeros(3)), r"targets has shape \(3,\)"),
        (lambda: dp.family_score(P, power=-1), "power=-1"),
        (lambda: dp.dual_score(P, window=2.5), "window=2.5"),
        (lambda: dp.dual_score(3 * P), r"probabilities must be in \[0, 1\], found 0.* … 2.9"),
        (lambda: dp.dyn_unc_score(P - 1), r"probabilities must be in \[0, 1\], found -0.9"),
        (lambda: dp.el2n_score(np.full((12, 2), np.nan)), r"errors are not finite for 2 samples"),
        (lambda: dp.aum_score(np.full((12, 2), np.inf)), "margins are not finite"),
        (lambda: dp.forgetting_score(P), "correct must hold truth values, found float64"),
        (lambda: dp.entropy_score(-P), "final_probabilities must be in"),
        (lambda: dp.tdds_score(np.full((12, 3, 2), np.nan)), "all_probabilities must be in"),
        (lambda: dp.moderate_score(np.full((3, 2), np.nan), np.zeros(3)), "features are not finite for 3 samples"),
    ],
)
def test_bad_tables_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- selection --------------------------------------------------------------------------------------------------------

SCORES = np.random.default_rng(4).random(200)
MEANS = np.random.default_rng(5).random(200)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.floats(0, 0.999), st.sampled_from(["top", "beta", "ccs", "random"]), st.integers(0, 3))
def test_the_right_number_of_different_samples(num_samples, ratio, method, seed):
    rng = np.random.default_rng(seed)
    arguments = {"mean_probability": rng.random(num_samples)} if method == "beta" else {}
    kept = dp.prune(rng.random(num_samples), ratio=ratio, method=method, seed=seed, **arguments)
    assert kept.dtype == np.int64 and len(set(kept)) == len(kept) == round((1 - ratio) * num_samples)
    assert np.all(np.diff(kept) > 0) and (len(kept) == 0 or (kept[0] >= 0 and kept[-1] < num_samples))


def test_a_tenth_of_fifty_thousand_is_five_thousand():
    assert dp.kept_count(50_000, 0.9) == 5000 and dp.kept_count(50_000, 0.8) == 10_000


def test_top_keeps_the_largest_and_breaks_ties_at_random():
    np.testing.assert_array_equal(dp.prune(SCORES, ratio=0.9), np.sort(np.argsort(-SCORES)[:20]))
    ties = np.zeros(100)
    kept = [dp.prune(ties, ratio=0.5, seed=seed) for seed in range(20)]
    counts = np.bincount(np.concatenate(kept), minlength=100)
    assert counts.max() < 20 and counts.min() > 0  # no sample is always kept, and none never
    np.testing.assert_array_equal(kept[3], dp.prune(ties, ratio=0.5, seed=np.random.default_rng(3)))


@pytest.mark.parametrize("offset", [0, 1])
def test_weights_are_scipys_beta_density_times_the_score(offset):
    arguments = {"ratio": 0.7, "complexity": 4.0, "concentration": 15, "alpha_offset": offset}
    logs = dp.log_weights(SCORES, MEANS, **arguments)
    weights = np.exp(logs - logs.max())
    np.testing.assert_allclose(weights / weights.sum(), reference.beta_weights(SCORES, MEANS, **arguments), rtol=1e-8)


def test_beta_parameters_have_their_closed_form():
    for ratio in (0.0, 0.3, 0.9):
        found = dp.beta_parameters(0.336, ratio=ratio, complexity=4)
        assert found.alpha + found.beta == pytest.approx(16)
        assert found.mode == pytest.approx((15 - found.beta) / 14)
    assert dp.beta_parameters(0.5, ratio=0.999, complexity=1).mode == 1  # β below one: the density ends in a pole


def test_hardest_mean_is_over_the_largest_scores():
    assert dp.hardest_mean(SCORES, MEANS) == pytest.approx(MEANS[np.argsort(-SCORES)[:10]].mean())


def test_successive_sampling_has_the_exact_law():
    weights = np.array([1.0, 2.0, 4.0, 8.0])
    rng, draws = np.random.default_rng(0), 20_000
    found = np.zeros(4)
    for _ in range(draws):
        found[dp.successive_sample(np.log(weights), 2, seed=rng)] += 1
    exact = lab.inclusion_probabilities(weights, 2)
    assert np.abs((found / draws - exact) / np.sqrt(exact * (1 - exact) / draws)).max() < 4
    # the enumeration, against the formula for two draws
    p = weights / weights.sum()
    by_hand = p + np.array([sum(p[j] * p[i] / (1 - p[j]) for j in range(4) if j != i) for i in range(4)])
    np.testing.assert_allclose(exact, by_hand)


def test_samples_of_score_zero_are_drawn_last():
    scores = np.where(np.arange(200) < 50, 1e-300, 0.0)
    for seed in range(5):
        assert np.all(dp.beta_sample(scores, MEANS, ratio=0.75, complexity=4, seed=seed) == np.arange(50))
        assert len(dp.beta_sample(scores, MEANS, ratio=0.5, complexity=4, seed=seed)) == 100


def test_probabilities_of_exactly_zero_and_one():
    means = np.where(np.arange(200) % 2, 1.0, 0.0)
    for ratio in (0.1, 0.5, 0.99):
        assert len(dp.beta_sample(SCORES, means, ratio=ratio, complexity=4)) == round((1 - ratio) * 200)


def test_class_balance():
    targets = np.repeat([0, 1, 2], [100, 60, 40])
    kept = dp.prune(
        SCORES, ratio=0.9, method="beta", mean_probability=MEANS, complexity=4, targets=targets, class_balanced=True
    )
    assert np.bincount(targets[kept]).tolist() == [10, 6, 4]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.sampled_from([0.3, 0.5, 0.9]), st.sampled_from([0.0, 0.1, 0.3]))
def test_ccs_gives_each_stratum_its_budget(num_strata, ratio, cutoff):
    kept = dp.ccs_select(SCORES, ratio=ratio, hard_cutoff=cutoff, num_strata=num_strata, seed=0)
    rest = np.sort(SCORES)[: 200 - round(200 * cutoff)]
    edges = np.linspace(rest[0], rest[-1], num_strata + 1)
    stratum = np.clip(np.searchsorted(edges, SCORES, side="right") - 1, 0, num_strata - 1)
    sizes = [int(np.sum((stratum == k) & (rest[-1] >= SCORES))) for k in range(num_strata)]
    budgets = reference.ccs_budgets(sizes, round((1 - ratio) * 200))
    assert np.bincount(stratum[kept], minlength=num_strata).tolist() == budgets
    assert SCORES[kept].max() <= rest[-1]


def test_d2_is_its_definition():
    rng = np.random.default_rng(6)
    features, scores = rng.normal(size=(40, 3)), rng.random(40)
    arguments = {"num_neighbors": 4, "forward_rate": 0.7, "reverse_rate": 0.4}
    expected = reference.d2(scores, features, 12, **arguments)
    np.testing.assert_array_equal(dp.d2_select(scores, features, ratio=0.7, **arguments), expected)


def test_few_samples_for_many_classes_is_warned_of():
    with pytest.warns(UserWarning, match=r"ratio=0.99 keeps 2 samples of 10 classes"):
        dp.prune(SCORES, ratio=0.99, targets=np.arange(200) % 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.prune(SCORES, ratio=0.9, targets=np.arange(200) % 10)


def test_what_is_kept_is_ready_for_a_subset():
    source = TensorDataset(torch.arange(200), torch.arange(200) % 10)
    kept = dp.prune(SCORES, ratio=0.9)
    assert [int(x) for x, _ in Subset(source, kept)] == kept.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 1.0}, r"ratio=1.0 must be in \[0, 1\): the fraction of samples that is removed"),
        ({"ratio": -0.1}, "ratio=-0.1"),
        ({"ratio": 0.5, "method": "best"}, "method='best'; allowed are 'top', 'beta', 'ccs' and 'random'"),
        ({"ratio": 0.5, "method": "beta"}, "needs mean_probability"),
        ({"ratio": 0.5, "method": "beta", "mean_probability": 2 * MEANS}, r"entries in \[0, 1\]"),
        ({"ratio": 0.5, "method": "beta", "mean_probability": MEANS[:3]}, r"shape \(200,\)"),
        ({"ratio": 0.5, "method": "beta", "mean_probability": MEANS, "complexity": 0}, "complexity=0"),
        ({"ratio": 0.5, "method": "beta", "mean_probability": MEANS, "class_balanced": True}, "needs targets"),
        ({"ratio": 0.5, "method": "ccs", "hard_cutoff": 0.6}, "hard_cutoff=0.6"),
        ({"ratio": 0.5, "method": "ccs", "num_strata": 0}, "num_strata=0"),
        ({"ratio": 0.5, "method": "random", "num_strata": 3}, "method='random' takes no num_strata"),
        ({"ratio": 0.5, "method": "ccs", "strata": 3}, "method='ccs' takes no strata"),
        ({"ratio": 0.5, "method": "beta", "mean_probability": MEANS, "offset": 0}, "method='beta' takes no offset"),
        ({"ratio": 0.5, "method": "beta", "mean_probability": MEANS, "complexity": np.inf}, "complexity=inf"),
        ({"ratio": 0.5, "method": "ccs", "num_strata": 2.5}, "num_strata=2.5"),
        ({"ratio": 0.5, "method": "ccs", "hard_cutoff": np.nan}, "hard_cutoff=nan"),
        ({"ratio": 0.5, "targets": [0, 1]}, r"targets has shape \(2,\)"),
        ({"ratio": "0.5"}, "ratio='0.5'"),
        ({"ratio": np.nan}, "ratio=nan"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        dp.prune(SCORES, **arguments)


def test_bad_scores_are_named():
    for bad in (np.array([]), np.array([1.0, np.nan]), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="scores of shape"):
            dp.prune(bad, ratio=0.5)
    with pytest.raises(ValueError, match="must not be negative to serve as weights"):
        dp.beta_sample(-SCORES, MEANS, ratio=0.5, complexity=4)
    with pytest.raises(ValueError, match="num_neighbors=200"):
        dp.d2_select(SCORES, P[:3].T[:200], ratio=0.5, num_neighbors=200)
    with pytest.raises(ValueError, match=r"shape \(200, d\) and finite entries"):
        dp.d2_select(SCORES, np.full((200, 2), np.nan), ratio=0.5)


# -- recording --------------------------------------------------------------------------------------------------------

LOGITS = torch.randn(3, 20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(20) % 4
EVERYTHING = ("correct", "margins", "errors", "all_probabilities")


def feed(dynamics, epoch, order=None, batch=7):
    order = torch.randperm(20, generator=torch.Generator().manual_seed(epoch)) if order is None else order
    for part in order.split(batch):
        dynamics.update(part, LOGITS[epoch, part], TARGETS[part])
    dynamics.end_epoch()


def test_the_table_is_what_the_network_said():
    dynamics = dp.TrainingDynamics(20, 3, dtype=torch.float64, record=EVERYTHING)
    for epoch in range(3):
        assert dynamics.probabilities.shape == (epoch, 20)
        feed(dynamics, epoch)
    p = LOGITS.softmax(dim=2).numpy()
    own = p[:, np.arange(20), TARGETS]
    others = np.where(np.eye(4, dtype=bool)[TARGETS], -1, p).max(axis=2)
    np.testing.assert_allclose(dynamics.probabilities, own, atol=1e-15)
    np.testing.assert_allclose(dynamics.all_probabilities, p, atol=1e-15)
    np.testing.assert_allclose(dynamics.margins, own - others, atol=1e-15)
    np.testing.assert_array_equal(dynamics.correct, p.argmax(axis=2) == TARGETS.numpy())
    np.testing.assert_allclose(dynamics.errors, np.linalg.norm(p - np.eye(4)[TARGETS], axis=2), atol=1e-14)
    np.testing.assert_allclose(dynamics.mean_probability(), own.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(dynamics.dual_score(window=2), dp.dual_score(own, window=2), atol=1e-14)
    for call in (lambda: dynamics.update(torch.arange(20), LOGITS[0], TARGETS), dynamics.end_epoch):
        with pytest.raises(ValueError, match="all num_epochs=3 epochs are recorded"):
            call()


def test_samples_are_told_by_their_number_not_their_place():
    """Each sample's logits say its number; any order of the epoch must give the same row."""
    dynamics = dp.TrainingDynamics(20, 2, dtype=torch.float64)
    number = torch.arange(20, dtype=torch.float64)
    for epoch in range(2):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(epoch))
        dynamics.update(order, torch.stack([number[order] / 10, 0 * number], dim=1), torch.zeros(20, dtype=torch.long))
        dynamics.end_epoch()
    for row in dynamics.probabilities:
        np.testing.assert_allclose(row, 1 / (1 + np.exp(-np.arange(20) / 10)), atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(0, 4), st.integers(0, 100))
def test_streaming_gives_the_tables_scores(window, more, seed):
    table = np.random.default_rng(seed).uniform(0.01, 0.99, (window + more, 30))
    stream = lab.replay(table, seed=seed, streaming=True, window=window)
    np.testing.assert_allclose(stream.dual_score(), reference.dual(table, window), atol=1e-12)
    np.testing.assert_allclose(stream.dyn_unc_score(), reference.dyn_unc(table, window), atol=1e-12)
    np.testing.assert_allclose(stream.mean_probability(), table.mean(axis=0), atol=1e-12)


def test_streaming_keeps_a_window_only():
    stream = dp.TrainingDynamics(1000, 60, streaming=True, window=10)
    tensors = [v for v in vars(stream).values() if isinstance(v, torch.Tensor)]
    assert sum(t.numel() for t in tensors) < 10 * 1000 + 6 * 1001
    with pytest.raises(ValueError, match="streaming=True keeps no table"):
        _ = stream.probabilities
    with pytest.raises(ValueError, match="0 epochs are recorded, a window needs 10"):
        stream.dual_score()
    with pytest.raises(ValueError, match="keeps windows of 10"):
        stream.dual_score(window=5)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([*range(19)], "sample 19 not seen"),
        ([*range(20), 4], "sample 4 seen more than once"),
        ([*range(18), 3, 3], r"samples 18, 19 not seen; sample 3 seen more than once"),
        ([*range(19), 20], r"indices from 0 to 20, allowed are 0 … 19; sample 19 not seen"),
        ([*range(20), -1], r"indices from -1 to 19, allowed are 0 … 19"),
        ([], r"samples 0, 1, 2, 3, 4, 5, 6, 7 … \(20 in all\) not seen"),
    ],
)
def test_a_faulty_epoch_is_named_and_not_added(order, message, streaming):
    dynamics = dp.TrainingDynamics(20, 3, dtype=torch.float64, streaming=streaming, window=2)
    feed(dynamics, 0)
    before = dynamics.mean_probability()
    for part in torch.tensor(order, dtype=torch.long).split(7):
        dynamics.update(part, torch.zeros(len(part), 4), torch.zeros_like(part))
    with pytest.raises(ValueError, match=f"epoch 1: {message}.*; the epoch is not added to the table"):
        dynamics.end_epoch()
    np.testing.assert_array_equal(dynamics.mean_probability(), before)
    feed(dynamics, 1)  # the epoch can be repeated
    feed(dynamics, 2)
    own = LOGITS.softmax(dim=2).numpy()[:, np.arange(20), TARGETS]
    np.testing.assert_allclose(dynamics.dual_score(window=2), dp.dual_score(own, window=2), atol=1e-13)


def test_nan_logits_and_impossible_labels_are_named():
    for spoil in ("logits", "label"):
        dynamics, logits, targets = dp.TrainingDynamics(20, 1, record=EVERYTHING), LOGITS[0].clone(), TARGETS.clone()
        if spoil == "logits":
            logits[5] = torch.nan
        else:
            targets[5] = 4
        dynamics.update(torch.arange(20), logits, targets)
        with pytest.raises(ValueError, match="sample 5 without a finite probability"):
            dynamics.end_epoch()
        assert dynamics.epoch == 0


def test_a_forgotten_end_of_the_epoch_is_noticed():
    dynamics = dp.TrainingDynamics(20, 3)
    with pytest.raises(ValueError, match=r"samples since the last end_epoch\(\), of 20: was it not called\?"):
        for _ in range(9):
            dynamics.update(torch.arange(20), LOGITS[0], TARGETS)


def test_the_number_of_classes_is_one_for_an_epoch():
    dynamics = dp.TrainingDynamics(20, 3, record=EVERYTHING)
    dynamics.update(torch.arange(10), torch.zeros(10, 4), torch.zeros(10).long())
    with pytest.raises(ValueError, match="logits of 5 classes, in an epoch that began with 4"):
        dynamics.update(torch.arange(10, 20), torch.zeros(10, 5), torch.zeros(10).long())
    dynamics.update(torch.arange(10, 20), torch.zeros(10, 4), torch.zeros(10).long())
    dynamics.end_epoch()
    assert dynamics.all_probabilities.shape == (1, 20, 4)


def test_batches_may_wait_or_not(monkeypatch):
    """Many entries are taken in within the epoch, few at its end."""
    tables = []
    for many in (1, 100, 10**9):
        monkeypatch.setattr(dp.dynamics, "_MANY", many)
        tables.append(dp.TrainingDynamics(20, 1, dtype=torch.float64, record=EVERYTHING))
        feed(tables[-1], 0)
    for other in tables[1:]:
        assert torch.equal(other.probabilities, tables[0].probabilities)
        assert all(torch.equal(getattr(other, name), getattr(tables[0], name)) for name in EVERYTHING)


def test_large_logits_and_halves():
    """Single precision at the edge of its range, half precision, small integers as labels."""
    logits = torch.tensor([[1e4, 1e4 - 1], [-1e30, 1e30], [3.0, 3.0]])
    for dtype in (torch.float32, torch.bfloat16):
        dynamics = dp.TrainingDynamics(3, 1)
        dynamics.update(torch.arange(3), logits.to(dtype), torch.tensor([0, 1, 1], dtype=torch.uint8))
        dynamics.end_epoch()
        expected = logits.to(dtype).double().softmax(dim=1)[torch.arange(3), torch.tensor([0, 1, 1])]
        torch.testing.assert_close(dynamics.probabilities[0], expected.float())


def test_the_callers_tensors_may_be_used_again():
    dynamics, indices = dp.TrainingDynamics(20, 1, dtype=torch.float64), torch.arange(20)
    logits, targets = LOGITS[0].clone(), TARGETS.clone()
    dynamics.update(indices, logits, targets)
    indices.zero_()
    targets.zero_()
    logits.zero_()
    dynamics.end_epoch()
    own = LOGITS[0].softmax(dim=1)[torch.arange(20), TARGETS]
    torch.testing.assert_close(dynamics.probabilities[0], own)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dp.TrainingDynamics(0, 3), "num_samples=0"),
        (lambda: dp.TrainingDynamics(3, 2.5), "num_epochs=2.5"),
        (lambda: dp.TrainingDynamics(3, 3, record=["loss"]), r"record has \['loss'\]; allowed are correct"),
        (
            lambda: dp.TrainingDynamics(3, 30, streaming=True, record=["correct"]),
            "with streaming=True it must be empty",
        ),
        (lambda: dp.TrainingDynamics(3, 5, streaming=True), "window=10 must be from 2 to num_epochs=5"),
        (lambda: dp.TrainingDynamics(3, 5).correct, r"ask for it with record=\('correct',\)"),
        (lambda: dp.TrainingDynamics(3, 5).mean_probability(), "no epoch is recorded yet"),
        (
            lambda: dp.TrainingDynamics(3, 5).update(torch.zeros(2).long(), torch.zeros(3, 4), torch.zeros(3).long()),
            "shapes",
        ),
        (
            lambda: dp.TrainingDynamics(3, 5).update(torch.zeros(3), torch.zeros(3, 4), torch.zeros(3).long()),
            "whole numbers",
        ),
        (lambda: dp.TrainingDynamics(3, 5).update([0], torch.zeros(1, 4), torch.zeros(1).long()), "are list, Tensor"),
        (
            lambda: dp.TrainingDynamics(3, 5).update(torch.arange(3), torch.ones(3, 4).long(), torch.zeros(3).long()),
            "logits of 4 classes, torch.int64",
        ),
        (lambda: dp.TrainingDynamics(3, 5, dtype=torch.int64), "dtype=torch.int64"),
        (lambda: dp.TrainingDynamics(3, 5, device="gpu"), "device='gpu' is unknown"),
    ],
)
def test_bad_recordings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_recording_survives_a_checkpoint(streaming, tmp_path):
    record = () if streaming else EVERYTHING

    def make():
        return dp.TrainingDynamics(20, 3, record=record, streaming=streaming, window=2)

    whole, first, second = make(), make(), make()
    for epoch in range(3):
        feed(whole, epoch)
    feed(first, 0)
    feed(first, 1)
    training.save_checkpoint(tmp_path / "d.pt", first.state_dict())
    second.load_state_dict(training.load_checkpoint(tmp_path / "d.pt"))
    feed(second, 2)
    np.testing.assert_array_equal(second.dual_score(window=2), whole.dual_score(window=2))
    for name in record:
        assert torch.equal(getattr(second, name), getattr(whole, name))
    with pytest.raises(ValueError, match="N=7"):
        dp.TrainingDynamics(7, 3).load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match="another streaming or window"):
        dp.TrainingDynamics(20, 3, streaming=not streaming, window=3).load_state_dict(first.state_dict())
    if not streaming:
        bare = dp.TrainingDynamics(20, 3)
        feed(bare, 0)
        with pytest.raises(ValueError, match="recorded without all_probabilities, correct, errors, margins"):
            make().load_state_dict(bare.state_dict())


def test_the_callback_records_during_fit():
    digits = data.load("digits")
    recorder, sgd = dp.RecordDynamics(record=("correct",), num_epochs=2), partial(torch.optim.SGD, lr=0.1)
    with networks.seeded(0):
        network, other = networks.MLP(64), networks.MLP(64)
    other.load_state_dict(network.state_dict())
    arguments = {"optimizer": sgd, "num_epochs": 3, "device": "cpu", "progress": False}
    result = training.fit(network, digits, batch_size=100, callbacks=[recorder], **arguments)
    assert recorder.dynamics.probabilities.shape == (2, 1442)
    np.testing.assert_allclose(recorder.dynamics.correct.double().mean(dim=1), result.curves["accuracy"][:2])
    # the loss is what the probabilities say
    np.testing.assert_allclose(-recorder.dynamics.probabilities.log().mean(dim=1), result.curves["loss"][:2], rtol=1e-5)
    loader = DataLoader(TensorDataset(digits.inputs, digits.targets), batch_size=100)
    with pytest.raises(ValueError, match=r"must yield \(inputs, targets, indices\)"):
        training.fit(other, loader, callbacks=[dp.RecordDynamics()], **arguments)


def test_five_lines_for_a_loop_of_ones_own():
    """The example of the module's docstring, run."""
    digits = data.load("digits")
    dataset = TensorDataset(digits.inputs, digits.targets, torch.arange(len(digits.inputs)))
    model = networks.MLP(64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    dynamics = dp.TrainingDynamics(len(dataset), 10)
    for _ in range(10):
        for inputs, targets, indices in DataLoader(dataset, batch_size=200, shuffle=True):
            logits = model(inputs)
            dynamics.update(indices, logits, targets)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
        dynamics.end_epoch()
    p = dynamics.probabilities
    kept = dp.prune(dp.dual_score(p), ratio=0.8, method="beta", mean_probability=p.mean(0), complexity=4)
    assert len(Subset(dataset, kept)) == round(0.2 * len(dataset))


def test_the_five_lines_of_the_readme():
    """Exactly these lines prune a user's data set, model and optimizer."""
    text = (BOOK.parent / "README.md").read_text(encoding="utf-8")
    (example,) = [part.split("```")[0] for part in text.split("```python\n")[1:] if "RecordDynamics" in part]
    lines = [line for line in example.splitlines() if line and not line.startswith(("from ", "smaller ="))]
    assert len(lines) == 5
    digits = data.load("digits")
    dataset, model = TensorDataset(digits.inputs, digits.targets), networks.MLP(64, widths=(32,))
    given = {"dataset": dataset, "model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)}
    exec(example, given)
    assert isinstance(given["smaller"], Subset) and len(given["smaller"]) == round(0.2 * len(dataset))
    assert given["recorder"].dynamics.probabilities.shape == (30, len(dataset))
    scores = dp.dual_score(given["p"])
    assert scores[given["kept"]].mean() > 1.5 * scores.mean()  # not a random fifth


# -- the two points ---------------------------------------------------------------------------------------------------


def test_two_points_against_automatic_differentiation():
    x = torch.tensor([lab.HARD, lab.EASY], dtype=torch.float64)
    for loss, value in (("exponential", lambda z: torch.exp(-z)), ("logistic", torch.nn.functional.softplus)):
        w, path = torch.zeros(2, dtype=torch.float64, requires_grad=True), []
        for _ in range(30):
            z = x @ w
            path.append(torch.sigmoid(z).detach())
            (gradient,) = torch.autograd.grad(value(z if loss == "exponential" else -z).sum(), w)
            w = (w - 0.1 * gradient).detach().requires_grad_()
        run = lab.two_points(learning_rate=0.1, num_steps=30, loss=loss)
        np.testing.assert_allclose(run.probabilities, torch.stack(path), atol=1e-13)
        table = torch.stack(path).numpy()
        np.testing.assert_allclose(run.mean[5], table[5:15].mean(axis=0))
        np.testing.assert_allclose(run.variance[5], table[5:15].var(axis=0, ddof=1), rtol=1e-8)


def test_the_hard_points_mean_is_smaller_in_every_window():
    for hard, easy in lab.random_pairs(20, seed=1):
        run = lab.two_points(learning_rate=0.02, num_steps=500, hard=hard, easy=easy)
        assert np.all(run.mean[1:, 0] < run.mean[1:, 1])


def test_bad_points_are_named():
    with pytest.raises(ValueError, match="needed"):
        lab.two_points(learning_rate=0.1, num_steps=20, hard=(2, 1), easy=(0.3, 0.1))
    with pytest.raises(ValueError, match="loss='hinge'"):
        lab.two_points(learning_rate=0.1, num_steps=20, loss="hinge")
    with pytest.raises(ValueError, match="no crossing within 11 windows"):
        lab.two_points(learning_rate=0.01, num_steps=20).crossings()


@settings(max_examples=50, deadline=None)
@given(arrays(float, (6, 4), elements=st.floats(0, 1)))
def test_no_table_lies_above_the_envelope(table):
    assert np.all(table.std(axis=0, ddof=1) <= lab.envelope(table.mean(axis=0), 6) + 1e-9)


# -- the experiments, on digits ---------------------------------------------------------------------------------------

TINY = lab.Config(
    dataset="digits", num_samples=None, num_epochs=20, scoring_epochs=8, window=4, subset_epochs=8, batch_size=64,
    learning_rate=0.1, padding=0, softmax_samples=400,
)  # fmt: skip


@cache
def problem(damage=""):
    return lab.make_problem(TINY, damage=damage, device="cpu")


@cache
def recorded_run(seed=0, damage="", num_epochs=20):
    return lab.record(problem(damage), TINY, seed, num_epochs=num_epochs, device="cpu")


def test_damage_is_as_asked():
    clean, noisy, damaged = problem(), problem("labels"), problem("images")
    assert noisy.damaged.sum() == damaged.damaged.sum() == round(0.2 * 1442) and not clean.damaged.any()
    assert torch.equal(noisy.data.targets != clean.data.targets, torch.from_numpy(noisy.damaged))
    changed = (damaged.data.inputs != clean.data.inputs).flatten(1).any(dim=1).numpy()
    assert np.all(changed <= damaged.damaged) and changed.sum() > 0.9 * damaged.damaged.sum()
    assert torch.equal(noisy.data.test_targets, clean.data.test_targets)


def test_the_first_epochs_do_not_know_how_long_the_training_is():
    short = recorded_run(num_epochs=8)
    np.testing.assert_array_equal(short.probabilities, recorded_run().probabilities[:8])
    assert short.num_steps == 8 * 23


def test_scores_by_name():
    run = recorded_run()
    found = lab.all_scores(run, TINY)
    np.testing.assert_allclose(found["DUAL"], reference.dual(run.probabilities[:8].astype(float), 4), atol=1e-12)
    np.testing.assert_allclose(found["EL2N"], run.errors[3], atol=1e-7)
    np.testing.assert_allclose(found["AUM"], -run.margins.mean(axis=0), atol=1e-6)
    assert "AUM" not in lab.all_scores(recorded_run(num_epochs=8), TINY)
    with pytest.raises(ValueError, match="needs another run"):
        lab.select("forgetting", recorded_run(num_epochs=8), TINY, ratio=0.5, seed=0)


def test_subsets_are_trained_in_the_recipes_batches():
    assert [lab.subset_batch_size(lab.BOOK, r) for r in lab.RATIOS] == [128, 128, 128, 64, 32]
    found = lab.accuracies({0.5: ("random",)}, recorded_run(), problem(), TINY, 0, device="cpu")
    assert found["random", 0.5] > 60


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="network='vgg'; allowed are 'cnn', 'mlp', 'softmax', 'resnet18', 'resnet34'"):
        lab.build("vgg", problem(), 0)
    with pytest.raises(ValueError, match="damage='sound'"):
        lab.make_problem(TINY, damage="sound")


def test_trainings_are_taken_from_their_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("DESCENTLAB_CHECKPOINTS", str(tmp_path))
    first = lab.record(problem(), TINY, 0, num_epochs=2, name="clean", device="cpu")
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *a, **k: pytest.fail("trained again"))
    again = lab.record(problem(), TINY, 0, num_epochs=2, name="clean", device="cpu")
    np.testing.assert_array_equal(first.probabilities, again.probabilities)


def test_a_study_measures_every_claim_that_needs_training(tmp_path):
    small = replace(TINY, num_samples=300, num_epochs=10, scoring_epochs=8, subset_epochs=1)
    studies = [lab.run_study(small, seed, device="cpu") for seed in (0, 1)]
    measured = lab.measure(studies, small) | lab.time_shares(small, (0, 1), device="cpu")
    measured |= {"C3e": lab.softmax_gap(small, (0, 1), device="cpu"), "D5": None}
    assert set(measured) == set(lab.TRAINED_CLAIMS)
    claims = lab.statements.checks
    for key, value in measured.items():
        if value is not None:
            assert isinstance(claims[key].holds(value), bool)
    lab.write_tables(tmp_path / "t.json", studies)
    stored = lab.read_tables(tmp_path / "t.json")
    assert (
        stored["seeds"] == [0, 1] and len(stored["clean"]["CCS, 0.9"]) == 2 and lab.read_tables(tmp_path / "no") is None
    )


def test_the_papers_recipe_runs_on_cifar10_and_resumes(cifar10, tmp_path, monkeypatch):
    """A few steps of ResNet-18 on real images, scored, pruned, and trained on what is kept."""
    cifar10(96, 40)
    monkeypatch.setenv("DESCENTLAB_CHECKPOINTS", str(tmp_path))
    short = replace(
        lab.FULL, num_epochs=3, scoring_epochs=2, window=2, subset_epochs=1, batch_size=48, num_samples=None
    )
    real = lab.make_problem(short, device="cpu")
    assert real.data.inputs.shape == (96, 3, 32, 32)
    for num_epochs in (1, 2):  # the second call goes on from the first one's checkpoint
        run = lab.record(real, short, 42, num_epochs=num_epochs, name="clean", device="cpu")
    assert (
        networks.count_parameters(run.model) == 11_173_962 and run.probabilities.shape == (2, 96) and run.num_steps == 4
    )
    kept = lab.select("DUAL+β 5.5", run, short, ratio=0.5, seed=0)
    assert 0 <= lab.train_subset(real, short, 42, kept, ratio=0.5, device="cpu") <= 100


# -- the claims: each check fails for a wrong variant -----------------------------------------------------------------


@cache
def stored():
    """Accuracies and measurements of the three seeds, as recorded beside the book."""
    tables = json.loads((BOOK / "cpu" / "dataset_pruning_tables.json").read_text(encoding="utf-8"))
    return tables, json.loads((BOOK / "cpu" / "dataset_pruning.json").read_text(encoding="utf-8"))["measured"]


def accuracy(table, key):
    return np.array(stored()[0][table][key])


def shuffled(values, seed=1):
    return np.random.default_rng(seed).permutation(values)


def early(name="DUAL"):
    return lab.all_scores(recorded_run(), TINY)[name]


def whole():
    return dp.dyn_unc_score(recorded_run().probabilities, window=10)


def wrong_correlation_gap():
    return dp.rank_correlation(shuffled(early()), whole()) - dp.rank_correlation(early("Dyn-Unc (T)"), whole())


def wrong_crossing():
    epochs = list(range(4, 21))
    curves = lab.early_correlation(recorded_run(), TINY, epochs=epochs)
    wrong = [dp.rank_correlation(shuffled(dp.dual_score(recorded_run().first(t), window=4)), whole()) for t in epochs]
    return lab.crossing_epoch(epochs, np.array(wrong), curves["Dyn-Unc"])


def wrong_softmax(leader):
    """The gap at 12 epochs of the softmax regression, with another score in DUAL's place or in Dyn-Unc's."""
    gaps = {}
    for rate in (0.05, 0.005, 0.001):
        config = replace(TINY, network="softmax", learning_rate=rate, num_samples=400)
        run = lab.record(lab.make_problem(config, device="cpu"), config, 0, num_epochs=20, device="cpu")
        final = dp.dyn_unc_score(run.probabilities, window=10)
        dual, dyn = (score(run.first(12), window=4) for score in (dp.dual_score, dp.dyn_unc_score))
        pair = (shuffled(dual), dyn) if leader == "shuffled" else (dual, dual)
        gaps[str(rate)] = dp.rank_correlation(pair[0], final) - dp.rank_correlation(pair[1], final)
    return gaps


def wrong_stability(name, minus, misalign):
    """Rank correlations between two seeds, the second one's samples in another order for one of the scores."""
    tables = [lab.all_scores(recorded_run(seed), TINY) for seed in (0, 1)]
    found = {
        score: dp.rank_correlation(
            tables[0][score], shuffled(tables[1][score]) if score == misalign else tables[1][score]
        )
        for score in (name, minus)
    }
    return [found[name] - found[minus]]


def wrong_top_tenth():
    mean = recorded_run().mean(8)
    top = [mean[dp.top_select(s, ratio=0.9)].mean() for s in (early("Dyn-Unc (T)"), shuffled(early()))]
    return top[0] - top[1]


def edge_excess():
    zeros_and_ones = np.array([[0, 0, 0], [1, 0, 1], [1, 1, 0], [0, 0, 1]], dtype=float)
    m = zeros_and_ones.mean(axis=0)
    return (zeros_and_ones.std(axis=0, ddof=1) - np.sqrt(m * (1 - m))).max()


def edge_with_easiness():
    grid = np.linspace(0, 1, 10_001)
    edge = np.sqrt(grid * (1 - grid))
    return [grid[edge.argmax()], grid[(edge * grid).argmax()]]


def without_offset():
    found = [dp.beta_parameters(0.336, ratio=r, complexity=4, alpha_offset=0) for r in lab.RATIOS]
    return [v for b in found for v in (b.alpha, b.beta, b.mode)]


def monotone_with_the_root():
    grid = np.linspace(0.3, 0.95, 14)
    modes = np.array(
        [[dp.beta_parameters(0.336, ratio=r, complexity=1 / c).mode for r in grid] for c in (2, 4, 5.5, 11)]
    )
    return min(np.diff(modes, axis=1).min(), -np.diff(modes, axis=0).max())


def uniform_keys():
    weights, draws = np.array([1.0, 2, 3, 5, 8, 13]), 20_000
    keys = weights * np.random.default_rng(0).random((draws, 6))
    counts = np.bincount(np.argsort(-keys, axis=1)[:, :3].ravel(), minlength=6)
    exact = lab.inclusion_probabilities(weights, 3)
    return np.abs((counts / draws - exact) / np.sqrt(exact * (1 - exact) / draws)).max()


def draws_with_replacement():
    rng = np.random.default_rng(0)
    kept = [rng.choice(1442, round((1 - r) * 1442)) for r in lab.RATIOS]
    return sum(len(set(k)) != len(k) for k in kept)


def wrong_theorem():
    """Pairs in which weight on easiness is not earlier than the variance, and the deviation not earlier than that."""
    found = []
    for hard, easy in lab.random_pairs(10):
        run = lab.two_points(hard=hard, easy=easy, learning_rate=0.02, num_steps=20_000)
        log_v, log_m = np.log(run.variance), np.log(run.mean)
        curves = (log_v, log_v + log_m, log_v / 2 + log_m)
        found.append([np.flatnonzero(c[:, 0] > c[:, 1])[0] for c in curves])
    v, vm, sm = np.array(found).T
    return [np.sum(vm >= v), np.sum(sm >= vm)]


def crossings_with(learning_rate, loss="exponential", window=10):
    steps = int(max(6 / learning_rate, 100))
    return lab.two_points(learning_rate=learning_rate, num_steps=steps, loss=loss, window=window).crossings()


def easiness_crossings():
    run = lab.two_points(learning_rate=0.01, num_steps=3000)
    found = {}
    for q in (0, 0.5, 1, 2):
        value = np.log(run.variance) / 2 + q * np.log(run.mean)
        found[f"q = {q:g}"] = float(np.flatnonzero(value[:, 0] > value[:, 1])[0])
    return found


def noisy_share(scores, ratio=0.3):
    return lab.share_pruned(dp.top_select(scores, ratio=ratio), problem("labels").damaged)


def noisy_scores():
    return lab.all_scores(recorded_run(damage="labels", num_epochs=8), TINY)


def wrong_beta_filter():
    run, gaps = recorded_run(damage="labels", num_epochs=8), []
    for ratio in (0.3, 0.5, 0.8):
        order = np.random.default_rng(1).permutation(1442)
        kept = dp.beta_sample(noisy_scores()["DUAL"][order], run.mean(8)[order], ratio=ratio, complexity=4)
        gaps.append(lab.share_pruned(kept, problem("labels").damaged) - noisy_share(noisy_scores()["DUAL"], ratio))
    return min(gaps)


def random_share(ratio):
    kept = dp.prune(np.ones(1442), ratio=ratio, method="random")
    return lab.share_pruned(kept, problem("labels").damaged)


def shuffled_damage():
    mean, flags = recorded_run(damage="images", num_epochs=8).mean(8), shuffled(problem("images").damaged)
    return mean[~flags].mean() - mean[flags].mean()


def longer_scoring():
    seconds = np.array([recorded_run(seed).epoch_seconds for seed in (0, 1)])
    return seconds[:, :15].sum(axis=1) / seconds.sum(axis=1) / 0.25


def unbalanced():
    run, labels = recorded_run(), problem().data.targets.numpy()
    kept = lab.select("DUAL+β 4", run, TINY, ratio=0.9, seed=0)
    return np.abs(np.bincount(labels[kept], minlength=10) - np.bincount(labels) * len(kept) / len(labels)).max()


def wrong_stop():
    stop = lab.stopping_epoch(recorded_run(), TINY)
    return dp.rank_correlation(shuffled(dp.dual_score(recorded_run().first(stop), window=4)), whole())


def beta_minus_dual(table, sign=1):
    return sign * (accuracy(table, "DUAL+β 4, 0.9") - accuracy(table, "DUAL, 0.9"))


def dual_for_beta():
    """Plain DUAL's gain over the best of the scores that keep the hardest."""
    return accuracy("clean", "DUAL, 0.9") - np.max(
        [accuracy("clean", f"{m}, 0.9") for m in ("DUAL", "EL2N", "forgetting", "AUM")], axis=0
    )


def reversed_powers():
    names = list(stored()[1]["D4"])
    return dict(zip(names, list(stored()[1]["D4"].values())[::-1], strict=True))


CIFAR100_RANDOM, CIFAR100_BEST = (75.2, 71.7, 64.9, 59.2, 45.1), (77.86, 74.66, 69.25, 64.76, 54.54)

CONTROLS = {
    "C1a": lambda: np.sqrt(0.5) * dp.dual_score(np.array([[0, 0.2, 0.5], [1, 0.4, 0.5], [0, 0.9, 0.5]]), window=2),
    "C1b": lambda: np.abs(lab.replay(P.astype(np.float32), streaming=True).dual_score() - dp.dual_score(P)).max(),
    "C1c": lambda: [
        f((np.sqrt(8 / 9) * dp.dual_score(P, window=9)) / dp.dual_score(P, window=10)) for f in (np.min, np.max)
    ],
    "C1d": lambda: [
        np.abs(dp.dual_score(P[:, shuffled(np.arange(300))]) - dp.dual_score(P)).max(),
        np.abs(dp.dual_score(P[:11]) - P[:10].std(axis=0, ddof=1) * (1 - P[:10].mean(axis=0))).max(),
    ],
    "C2a": lambda: [t for rate in (0.1, 0.01, 0.003) for t in crossings_with(rate, window=5)],
    "C2b": lambda: crossings_with(0.01),
    "C2c": wrong_theorem,
    "C2d": lambda: crossings_with(0.01, "logistic")[:2],
    "C2e": lambda: 0.1 * np.array(crossings_with(0.1)),
    "C3a": wrong_correlation_gap,
    "C3b": lambda: dp.rank_correlation(shuffled(early()), whole()),
    "C3c": wrong_crossing,
    "C3d": lambda: (
        lab.overlap(shuffled(early()), whole(), share=0.2) - lab.overlap(early("Dyn-Unc (T)"), whole(), share=0.2)
    ),
    "C3e": lambda: wrong_softmax("shuffled")["0.05"],
    "C4a": lambda: wrong_stability("DUAL", "EL2N", "DUAL"),
    "C4b": lambda: wrong_stability("DUAL", "Dyn-Unc (T)", "DUAL"),
    "C4c": lambda: wrong_stability("EL2N (mean)", "DUAL", "EL2N (mean)"),
    "C5a": wrong_top_tenth,
    "C5b": edge_excess,
    "C5c": edge_with_easiness,
    "C6a": without_offset,
    "C6b": monotone_with_the_root,
    "C6c": uniform_keys,
    "C6d": lambda: stored()[1]["C6e"],
    "C6e": lambda: stored()[1]["C6d"],
    "C6f": draws_with_replacement,
    "C7a": dual_for_beta,
    "C7b": lambda: np.tile(accuracy("clean", "DUAL, 0.9") - accuracy("clean", "random, 0.9"), 2),
    "C7c": lambda: accuracy("clean", "DUAL, 0.8") - accuracy("clean", "random, 0.8"),
    "C7d": lambda: accuracy("clean", "DUAL, 0.8") - accuracy("clean", "CCS, 0.8"),
    "C7e": lambda: accuracy("clean", "DUAL, 0.9") - accuracy("clean", "random, 0.9"),
    "C7f": lambda: dict.fromkeys(("AUM", "EL2N", "forgetting", "Dyn-Unc"), accuracy("clean", "random, 0.9").mean()),
    "C7g": lambda: (94.4, 93.2, 90.5, 88.3, 83.7),
    "C7h": lambda: CIFAR100_RANDOM,
    "C7i": lambda: 52.3,
    "C8a": lambda: random_share(0.3),
    "C8b": lambda: random_share(0.3),
    "C8c": wrong_beta_filter,
    "C8d": lambda: random_share(0.9),
    "C8e": lambda: noisy_share(shuffled(noisy_scores()["Dyn-Unc (T)"])) - noisy_share(noisy_scores()["DUAL"]),
    "C8f": lambda: accuracy("wrong labels", "EL2N, 0.5") - accuracy("wrong labels", "random, 0.5"),
    "C8g": lambda: accuracy("wrong labels", "random, 0.5") - accuracy("wrong labels", "DUAL, 0.5"),
    "C9a": lambda: [noisy_share(noisy_scores()["DUAL"], ratio) for ratio in (0.3, 0.5, 0.7, 0.9)],
    "C9b": shuffled_damage,
    "C9c": lambda: np.subtract(CIFAR100_RANDOM, CIFAR100_BEST),
    "C10a": longer_scoring,
    "C10b": lambda: [recorded_run(s).epoch_seconds[:8].sum() / recorded_run(s).epoch_seconds[:8].sum() for s in (0, 1)],
    "C10c": lambda: dp.break_even_ratio(60, 90),
    "C11a": lambda: dp.rank_correlation(early(), shuffled(early())),
    "C11b": lambda: beta_minus_dual("from MLP", -1),
    "C11c": lambda: beta_minus_dual("from CNN", -1),
    "D1": easiness_crossings,
    "D2": unbalanced,
    "D3": wrong_stop,
    "D4": reversed_powers,
    "D5": lambda: wrong_softmax("itself"),
}


def test_every_claim_has_a_control():
    assert list(CONTROLS) == list(lab.statements.checks)


@pytest.mark.parametrize("key", CONTROLS)
def test_the_check_fails_for_a_wrong_variant(key):
    check, wrong = lab.statements.checks[key], CONTROLS[key]()
    assert not check.fault(wrong) and not check.holds(wrong)
