"""The networks that the papers train: a perceptron, small convolutional networks, residual networks.

Each is an ordinary `torch.nn.Module` with a method ``features``, the activations before the last, linear layer, of
shape (batch, `num_features`), so that ``model(x)`` is ``model.head(model.features(x))``. Weights are drawn by PyTorch's
default initialisation from the global generator: build a network inside `seeded` to make it repeatable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "FRN",
    "MLP",
    "Llama",
    "ResNet",
    "SmallCNN",
    "WideCNN",
    "count_parameters",
    "resnet18",
    "resnet20_frn",
    "resnet34",
    "seeded",
]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block the global generators of torch start from `seed`; afterwards they are as before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def count_parameters(model: nn.Module) -> int:
    """Number of trainable entries."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class _Classifier(nn.Module):
    """A body that computes features, and a linear head."""

    body: nn.Module
    head: nn.Linear

    @property
    def num_features(self) -> int:
        return self.head.in_features

    def features(self, inputs: Tensor) -> Tensor:
        """Activations before the head, shape (batch, num_features)."""
        return self.body(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs))


class MLP(_Classifier):
    """Perceptron on flattened inputs.

    Parameters
    ----------
    num_inputs : int
        Entries of one input: ``28 * 28`` for Fashion-MNIST.
    num_classes : int
    widths : sequence of int
        Units of the hidden layers; none is softmax regression.
    activation : callable
        Builds the module between the layers.
    """

    def __init__(
        self,
        num_inputs: int,
        num_classes: int = 10,
        *,
        widths: Sequence[int] = (128, 128),
        activation: Callable[[], nn.Module] = nn.ReLU,
    ):
        super().__init__()
        _check_sizes(
            num_inputs=num_inputs, num_classes=num_classes, **{f"widths[{i}]": w for i, w in enumerate(widths)}
        )
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in zip([num_inputs, *widths], widths, strict=False):
            layers += [nn.Linear(before, after), activation()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear([num_inputs, *widths][-1], num_classes)


class SmallCNN(_Classifier):
    """Two 3 × 3 convolutions of stride 2 and a hidden layer; 105 866 parameters on 28 × 28 grey images.

    Parameters
    ----------
    num_channels, num_classes, image_size : int
        Of square inputs, shape (batch, num_channels, image_size, image_size).
    widths : pair of int
        Channels of the convolutions.
    num_hidden : int
        Units of the hidden layer.
    """

    def __init__(
        self,
        num_channels: int = 1,
        num_classes: int = 10,
        *,
        image_size: int = 28,
        widths: tuple[int, int] = (16, 32),
        num_hidden: int = 64,
    ):
        super().__init__()
        _check_sizes(num_channels=num_channels, num_classes=num_classes, image_size=image_size, num_hidden=num_hidden)
        side = (image_size + 3) // 4  # each stride of 2 halves, and rounds up
        self.body = nn.Sequential(
            nn.Conv2d(num_channels, widths[0], 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(widths[0], widths[1], 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(widths[1] * side**2, num_hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(num_hidden, num_classes)


class WideCNN(_Classifier):
    """Three 3 × 3 convolutions with batch norm, each followed by a 2 × 2 max-pool; global average pool."""

    def __init__(self, num_channels: int = 3, num_classes: int = 10, *, widths: Sequence[int] = (256, 512, 1024)):
        super().__init__()
        _check_sizes(num_channels=num_channels, num_classes=num_classes)
        layers: list[nn.Module] = []
        for before, after in zip([num_channels, *widths], widths, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(widths[-1], num_classes)


class FRN(nn.Module):
    r"""Filter response normalisation with a threshold (Singh and Krishnan 2020, arXiv 1911.09737).

    :math:`\max(\gamma x / \sqrt{\nu^2 + \varepsilon} + \beta, \tau)` with :math:`\nu^2` the mean of the squares over an
    image's pixels, a channel at a time: no statistics of the batch, so that it suits samplers and ``vmap``.
    """

    def __init__(self, num_channels: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.threshold = nn.Parameter(torch.zeros(num_channels))

    def forward(self, inputs: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        unit = inputs * torch.rsqrt(inputs.square().mean(dim=(2, 3), keepdim=True) + self.eps)
        return torch.maximum(self.scale.view(shape) * unit + self.bias.view(shape), self.threshold.view(shape))


class _Block(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, which is a 1 × 1 convolution where the shape changes."""

    def __init__(
        self,
        before: int,
        after: int,
        stride: int,
        norm: Callable[[int], nn.Module],
        activation: Callable[[], nn.Module],
        bias: bool,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=bias)
        self.norm1, self.activation1 = norm(after), activation()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=bias)
        self.norm2, self.activation2 = norm(after), activation()
        same = stride == 1 and before == after
        projection = (nn.Conv2d(before, after, 1, stride=stride, bias=bias), norm(after)) if not same else ()
        self.shortcut = nn.Sequential(*projection)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.activation1(self.norm1(self.conv1(inputs)))
        return self.activation2(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class ResNet(_Classifier):
    """Residual network of basic blocks (He et al. 2016, arXiv 1512.03385).

    Parameters
    ----------
    blocks : sequence of int
        Blocks of each stage; from the second stage on, the first block halves the image.
    widths : sequence of int
        Channels of each stage.
    num_classes, num_channels : int
    stem : {"cifar", "imagenet"}
        First convolution: 3 × 3 of stride 1, or 7 × 7 of stride 2 and a max-pool.
    norm, activation : callable
        Build the normalisation of a number of channels, and the activation.
    bias : bool
        Whether convolutions have biases.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int],
        num_classes: int = 10,
        *,
        num_channels: int = 3,
        stem: Literal["cifar", "imagenet"] = "cifar",
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        activation: Callable[[], nn.Module] = nn.ReLU,
        bias: bool = False,
    ):
        super().__init__()
        _check_sizes(num_classes=num_classes, num_channels=num_channels)
        if stem not in ("cifar", "imagenet"):
            raise ValueError(f"stem={stem!r}; allowed are 'cifar' and 'imagenet'")
        if stem == "cifar":
            layers: list[nn.Module] = [nn.Conv2d(num_channels, widths[0], 3, padding=1, bias=bias)]
        else:
            layers = [nn.Conv2d(num_channels, widths[0], 7, stride=2, padding=3, bias=bias)]
        layers += [norm(widths[0]), activation()]
        if stem == "imagenet":
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        before = widths[0]
        for stage, (count, after) in enumerate(zip(blocks, widths, strict=True)):
            for block in range(count):
                layers.append(_Block(before, after, 2 if stage > 0 and block == 0 else 1, norm, activation, bias))
                before = after
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(num_classes: int = 10, *, num_channels: int = 3, stem: Literal["cifar", "imagenet"] = "cifar") -> ResNet:
    """ResNet-18; 11 173 962 parameters with the CIFAR stem and 10 classes."""
    return ResNet((2, 2, 2, 2), (64, 128, 256, 512), num_classes, num_channels=num_channels, stem=stem)


def resnet34(
    num_classes: int = 1000, *, num_channels: int = 3, stem: Literal["cifar", "imagenet"] = "imagenet"
) -> ResNet:
    """ResNet-34; 21 797 672 parameters with the ImageNet stem and 1000 classes."""
    return ResNet((3, 4, 6, 3), (64, 128, 256, 512), num_classes, num_channels=num_channels, stem=stem)


def resnet20_frn(num_classes: int = 10, *, num_channels: int = 3) -> ResNet:
    """ResNet-20 with `FRN`, Swish and biases, as in Izmailov et al. 2021; 274 042 parameters with 10 classes."""
    return ResNet(
        (3, 3, 3), (16, 32, 64), num_classes, num_channels=num_channels, norm=FRN, activation=nn.SiLU, bias=True
    )


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not (isinstance(size, int) and size > 0):
            raise ValueError(f"{name}={size!r} must be a positive whole number")


# -- a small Llama: root-mean-square norms, rotary positions, gated linear units, no biases, tied output layer ----------


class _Attention(nn.Module):
    """Causal attention with rotary positions."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.mix = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, inputs: Tensor, *turns: Tensor) -> Tensor:
        batch, length, dim = inputs.shape
        mixed = self.mix(inputs).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        queries, keys = _rotate(mixed[:, :, :2], *turns).permute(2, 0, 3, 1, 4)
        values = mixed[:, :, 2].transpose(1, 2)
        heads = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.out(heads.transpose(1, 2).reshape(batch, length, dim))


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor, quarter: Tensor) -> Tensor:
    """Turn neighbouring pairs of entries by angles that grow with the position; (batch, length, 2, heads, size).

    A quarter turn of each pair is a small matrix product: faster than slices with a stride, forward and backward.
    """
    turned = (heads.reshape(-1, heads.shape[-1]) @ quarter).view(heads.shape)
    return (heads * cos[:, None, None] + turned * sin[:, None, None]).to(heads.dtype)


class _DecoderBlock(nn.Module):
    """Attention and a gated perceptron, each beside a shortcut."""

    def __init__(self, dim: int, num_heads: int, hidden: int):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-5), nn.RMSNorm(dim, eps=1e-5)
        self.attention = _Attention(dim, num_heads)
        self.gates = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, inputs: Tensor, *turns: Tensor) -> Tensor:
        inputs = inputs + self.attention(self.norm1(inputs), *turns)
        gate, value = self.gates(self.norm2(inputs)).chunk(2, dim=-1)
        return inputs + self.down(F.silu(gate) * value)


class Llama(nn.Module):
    """Predicts each next token: tokens (batch, length) → scores (batch, length, vocabulary).

    Weights are drawn from the global generator, normal with standard deviation 0.02, smaller by the root of twice the
    number of layers where a part is added to its shortcut.

    Parameters
    ----------
    vocabulary : int
        Number of different tokens.
    context : int
        The longest sequence.
    dim, num_layers, num_heads : int
        Width, blocks, and heads of attention, of an even size each.
    hidden : int, optional
        Width of the gated perceptron; three times `dim` unless given.

    Raises
    ------
    ValueError
        A size is not a positive whole number, or `dim` is not divisible by twice `num_heads`.
    """

    cos: Tensor
    sin: Tensor
    quarter: Tensor

    def __init__(
        self,
        vocabulary: int,
        *,
        context: int = 64,
        dim: int = 32,
        num_layers: int = 2,
        num_heads: int = 2,
        hidden: int | None = None,
    ):
        super().__init__()
        hidden = 3 * dim if hidden is None else hidden
        sizes = {"vocabulary": vocabulary, "context": context, "dim": dim, "num_layers": num_layers}
        for name, size in {**sizes, "num_heads": num_heads, "hidden": hidden}.items():
            if not (isinstance(size, int) and size > 0):
                raise ValueError(f"{name}={size!r} must be a positive whole number")
        if dim % (2 * num_heads):
            raise ValueError(f"dim={dim!r} must be divisible by twice num_heads={num_heads!r}")
        self.context = context
        self.embedding = nn.Embedding(vocabulary, dim)
        self.blocks = nn.ModuleList(_DecoderBlock(dim, num_heads, hidden) for _ in range(num_layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        size = dim // num_heads
        rates = 10_000 ** (-torch.arange(0, size, 2) / size)
        turns = torch.outer(torch.arange(context), rates.repeat_interleave(2))
        quarter = torch.block_diag(*[torch.tensor([[0.0, 1.0], [-1.0, 0.0]])] * (size // 2))
        for name, table in {"cos": turns.cos(), "sin": turns.sin(), "quarter": quarter}.items():
            self.register_buffer(name, table, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                shortcut = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * num_layers) if shortcut else 0.02)

    def features(self, tokens: Tensor) -> Tensor:
        """Activations before the output layer, shape (batch, length, dim)."""
        if tokens.shape[-1] > self.context:
            raise ValueError(f"tokens: sequences of {tokens.shape[-1]}, at most context={self.context}")
        hidden = self.embedding(tokens)
        turns = self.cos[: tokens.shape[-1]], self.sin[: tokens.shape[-1]], self.quarter
        for block in self.blocks:
            hidden = block(hidden, *turns)
        return self.norm(hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(self.features(tokens), self.embedding.weight)
