"""A small Llama: the decoder of today's language models, in its plainest form.

Root-mean-square norms before each part, rotary positions, gated linear units, no biases, and an output layer that is the
embedding's transpose (Touvron et al. 2023, arXiv 2302.13971).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Llama"]


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


class _Block(nn.Module):
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
        self.blocks = nn.ModuleList(_Block(dim, num_heads, hidden) for _ in range(num_layers))
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
