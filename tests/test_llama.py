"""The network against one written position by position."""

import numpy as np
import pytest
import torch
from tests.reference import schedule_free as reference

from descentlab.networks import Llama, count_parameters, seeded


@pytest.fixture
def model():
    with seeded(0):
        model = Llama(11, context=16, dim=24, num_layers=2, num_heads=3, hidden=20).double()
    with torch.no_grad():
        for p in model.parameters():  # larger than at the start, so that every part matters
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype))
    return model


def test_it_is_the_network_word_for_word(model):
    tokens = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(0))
    arrays = {name: p.detach().numpy() for name, p in model.named_parameters()}
    for row, scores in zip(tokens, model(tokens), strict=True):
        np.testing.assert_allclose(
            scores.detach(), reference.llama(row.numpy(), arrays, num_heads=3), atol=1e-6
        )  # the table of angles is float32


def test_the_small_one_has_29472_parameters():
    assert count_parameters(Llama(84)) == 29_472


def test_no_position_sees_the_future(model):
    tokens = torch.randint(11, (1, 12), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[0, 7:] = (changed[0, 7:] + 1) % 11
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7], atol=1e-12, rtol=0)
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_scores_are_the_head_of_the_features(model):
    tokens = torch.randint(11, (2, 5))
    torch.testing.assert_close(model(tokens), model.features(tokens) @ model.embedding.weight.T)


def test_the_start_is_seeded_and_predicts_nothing():
    with seeded(1):
        one = Llama(50)
    with seeded(1):
        two = Llama(50)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    tokens = torch.randint(50, (8, 64))
    loss = torch.nn.functional.cross_entropy(one(tokens).flatten(0, 1), tokens.roll(1).flatten())
    assert loss.item() == pytest.approx(np.log(50), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 30}, "dim=30 must be divisible by twice num_heads=2"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"context": -1}, "context=-1"),
        ({"hidden": 1.5}, "hidden=1.5"),
    ],
)
def test_bad_sizes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Llama(11, **arguments)


def test_too_long_sequences_are_refused(model):
    with pytest.raises(ValueError, match="sequences of 17, at most context=16"):
        model(torch.zeros(1, 17, dtype=torch.long))
