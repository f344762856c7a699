"""Networks: parameter counts as published, shapes, and the pieces that PyTorch does not have."""

import pytest
import torch
from torch import nn

from descentlab import networks


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (lambda: networks.SmallCNN(), 105_866),
        (lambda: networks.resnet18(), 11_173_962),  # kuangliu/pytorch-cifar
        (lambda: networks.resnet18(100), 11_220_132),
        (lambda: networks.resnet18(1000, stem="imagenet"), 11_689_512),  # torchvision
        (lambda: networks.resnet34(), 21_797_672),  # torchvision
        (lambda: networks.resnet20_frn(), 274_042),  # Izmailov et al. 2021
        (lambda: networks.MLP(784, 10, widths=(100,)), 784 * 100 + 100 + 1010),
        (lambda: networks.MLP(784, 10, widths=()), 7850),
    ],
)
def test_parameter_counts(build, published):
    assert networks.count_parameters(build()) == published


def test_imagenet_networks_are_torchvisions():
    torchvision = pytest.importorskip("torchvision")
    ours, theirs = networks.resnet34(), torchvision.models.resnet34()
    _copy(theirs, ours)
    inputs = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(inputs), theirs.eval()(inputs), rtol=1e-4, atol=1e-5)


def _copy(theirs, ours):
    """torchvision's weights into our network, by the order of the layers (a shortcut is registered last in both)."""
    pairs = zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True)
    with torch.no_grad():
        for source, target in pairs:
            assert source.shape == target.shape
            target.copy_(source)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (networks.MLP(64), (3, 1, 8, 8)),
        (networks.SmallCNN(image_size=8), (3, 1, 8, 8)),
        (networks.SmallCNN(3, image_size=32), (3, 3, 32, 32)),
        (networks.WideCNN(widths=(4, 8, 16)), (3, 3, 32, 32)),
        (networks.resnet20_frn(), (3, 3, 32, 32)),
        (networks.ResNet((1, 1), (4, 8), num_channels=1), (3, 1, 28, 28)),
    ],
)
def test_forward_is_head_of_features(model, shape):
    inputs = torch.randn(shape)
    features = model.eval().features(inputs)
    assert features.shape == (3, model.num_features)
    torch.testing.assert_close(model(inputs), model.head(features))
    assert model(inputs).shape == (3, 10)


def test_frn_against_its_formula():
    layer = networks.FRN(2)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.5, 0.0]))
        layer.threshold.copy_(torch.tensor([0.0, -0.3]))
    inputs = torch.randn(3, 2, 4, 5)
    outputs = layer(inputs)
    for n in range(3):
        for c in range(2):
            x = inputs[n, c]
            unit = x / ((x**2).mean() + 1e-6) ** 0.5
            expected = torch.maximum(layer.scale[c] * unit + layer.bias[c], layer.threshold[c])
            torch.testing.assert_close(outputs[n, c], expected)


def test_frn_networks_treat_samples_one_by_one():
    model, inputs = networks.resnet20_frn(), torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(model(inputs)[:1], model(inputs[:1]), rtol=1e-4, atol=1e-5)


def test_small_images_of_any_size():
    for side in range(1, 12):
        assert networks.SmallCNN(image_size=side)(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_seeded_repeats_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    weights = []
    for seed in (0, 0, 1):
        with networks.seeded(seed):
            weights.append(networks.MLP(4).head.weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: networks.MLP(0), "num_inputs=0 must be a positive whole number"),
        (lambda: networks.MLP(4, widths=(3, 0)), r"widths\[1\]=0"),
        (lambda: networks.SmallCNN(num_classes=-1), "num_classes=-1"),
        (lambda: networks.resnet18(stem="mnist"), "stem='mnist'; allowed are 'cifar' and 'imagenet'"),
        (lambda: networks.resnet20_frn(0), "num_classes=0"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_count_leaves_out_frozen_parameters():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert networks.count_parameters(model) == 6
