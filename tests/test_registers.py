"""Programs of registers against direct evaluation; exact integers against Python's own."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from descentlab.robust_memorization.registers import Affine, Program, count, evaluate, from_torch, to_torch

X = np.random.default_rng(0).standard_normal((50, 3))


def relu(x):
    return np.maximum(x, 0)


def test_program_computes_what_it_says():
    program = Program(3)
    x = program.units
    a, b = program.relu(2 * x - 1, -x + [0.0, 1.0, 2.0])
    (c,) = program.relu(a.sum() - 3 * b.sum() + 0.5)
    layers = program.finish(1 - c * 4)
    first, second = relu(2 * X - 1), relu([0.0, 1.0, 2.0] - X)
    expected = 1 - 4 * relu(first.sum(axis=1) - 3 * second.sum(axis=1) + 0.5)
    np.testing.assert_allclose(evaluate(layers, X)[:, 0], expected, atol=1e-12)
    with torch.no_grad():
        np.testing.assert_allclose(to_torch(layers)(torch.as_tensor(X))[:, 0], expected, atol=1e-12)


def test_affine_maps_merge_and_every_entry_counts():
    program = Program(3)
    (a,) = program.relu(np.ones((2, 3)) @ (program.units + 1) - 5)
    layers = program.finish(np.array([1.0, -1.0]) @ a * 2 + 7)
    assert [layer.weight.shape for layer in layers] == [(2, 3), (1, 2)]
    assert count(layers) == (3 + 1) * 2 + (2 + 1) * 1 == sum(p.numel() for p in to_torch(layers).parameters())
    assert count(layers, nonzero=True) == count(layers)  # 3 - 5 = -2, nothing vanishes
    assert layers[0].bias.tolist() == [-2.0, -2.0] and layers[1].weight.tolist() == [[2.0, -2.0]]


def test_registers_live_as_long_as_they_are_emitted():
    program = Program(2)
    x = program.units
    (a,) = program.relu(x)
    with pytest.raises(ValueError, match="layers 1 and 0"):
        a + x
    with pytest.raises(ValueError, match="layer 0 is out of reach in layer 1"):
        program.relu(x)
    new, (kept, none) = program.relu_keeping([a.sum()], [a, None])
    assert len(new[0]) == 1 and len(kept) == 2 and none is None


@given(st.lists(st.integers(-(2**80), 2**80), min_size=2, max_size=2), st.integers(1, 2**80))
def test_integers_of_any_length(values, factor):
    program = Program(2, dtype=object)
    (a,) = program.relu(program.units * factor)
    layers = program.finish(a.sum() - factor)
    inputs = np.array([values], dtype=object)
    assert evaluate(layers, inputs)[0, 0] == sum(max(v * factor, 0) for v in values) - factor


def test_floats_are_taken_as_the_fractions_they_are():
    program = Program(1, dtype=object)
    (a,) = program.relu(3 * program.units)
    assert evaluate(program.finish(a + 1), [[0.1]])[0, 0] == 3 * Fraction(0.1) + 1


def test_round_trip_and_refusals():
    program = Program(2)
    (a,) = program.relu(program.units)
    layers = program.finish(a.sum())
    back = from_torch(to_torch(layers))
    assert all(
        np.array_equal(p.weight, q.weight) and np.array_equal(p.bias, q.bias) for p, q in zip(layers, back, strict=True)
    )
    no_bias = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False))
    assert from_torch(no_bias)[0].bias.tolist() == [0.0]
    linear, act = torch.nn.Linear(2, 2), torch.nn.ReLU()
    for bad in (linear, torch.nn.Sequential(linear, act), torch.nn.Sequential(linear, torch.nn.Tanh(), linear)):
        with pytest.raises(ValueError, match="network"):
            from_torch(bad)
    with pytest.raises(ValueError, match="num_inputs=0"):
        Program(0)


def test_constants_and_parts():
    program = Program(2)
    five = program.constant(5.0)
    assert isinstance(five, Affine) and len(five) == 1
    layers = program.finish(five + program.units.sum())
    np.testing.assert_allclose(evaluate(layers, X[:, :2])[:, 0], 5 + X[:, :2].sum(axis=1))
