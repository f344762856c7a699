"""One rounding in every gradient, and in the last bit of the data: for `tests/steadiness.py`, by way of PYTHONPATH.

Another processor adds in another order and returns a neighbour of each number. Here each finite number but zero moves to
one of its two neighbours, a relative change between 2^-24 and 2^-23 in float32, 2^-53 and 2^-52 in float64. Which one is
a hash of its bits and its place, so that the same computation still gives the same result, as on any one machine, and
no generator is drawn from. Changed are

- gradients: of parameters before each step of an optimizer, and what `torch.autograd.grad` returns (`torch.func` calls
  it too, under `vmap` as well);
- data: the images of `descentlab.data.load`, and floats that NumPy's generators and torch's draw.

Integers, zeros, infinities and NaN stay as they are.
"""

import dataclasses
import functools
import importlib.abc
import importlib.machinery
import sys


def moved(a):
    """`a`, an array of floats, with each entry replaced by a neighbour."""
    import numpy as np

    if a.dtype not in (np.float32, np.float64):
        return a
    unsigned, bits = (np.uint32, 32) if a.dtype == np.float32 else (np.uint64, 64)
    out = np.array(a, order="C").reshape(-1)
    raw = out.view(unsigned)
    mixed = (raw + np.arange(a.size, dtype=unsigned) * unsigned(0x9E3779B1)) * unsigned(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> unsigned(bits // 2))) * unsigned(0xC2B2AE35 | 1 << (bits - 1))
    step = (mixed >> unsigned(bits - 1) << unsigned(1)) - unsigned(1)  # 1 or -1, modulo 2^bits
    raw += np.where(np.isfinite(out) & (out != 0), step, unsigned(0))
    return out.reshape(a.shape)


def in_torch(torch):
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    class Moved(torch.autograd.Function):
        """`moved` for tensors; its derivative is that of the identity."""

        @staticmethod
        def forward(x):
            return torch.from_numpy(moved(x.detach().cpu().numpy())).to(x.device)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, gradient):
            return gradient

        @staticmethod
        def jvp(ctx, tangent):
            return tangent.clone()

        @staticmethod
        def vmap(info, in_dims, x):
            return Moved.apply(x), in_dims[0]

    def move(x):
        wanted = torch.is_tensor(x) and x.dtype in (torch.float32, torch.float64) and not x.is_sparse
        return Moved.apply(x) if wanted else x

    def move_in_place(x):
        with torch.no_grad():
            x.copy_(move(x.detach()))
        return x

    def before_step(optimizer, args, kwargs):
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    move_in_place(p.grad)

    def after(owner, name, change):
        function = getattr(owner, name)

        @functools.wraps(function)
        def changed(*args, **kwargs):
            return change(function(*args, **kwargs))

        setattr(owner, name, changed)

    register_optimizer_step_pre_hook(before_step)
    after(torch.autograd, "grad", lambda found: tuple(move(g) for g in found))
    for name in ("randn", "rand", "randn_like", "rand_like", "normal"):
        after(torch, name, lambda x: move(x.detach()).requires_grad_(x.requires_grad))
    for name in ("normal_", "uniform_"):
        after(torch.Tensor, name, move_in_place)


def in_numpy(random):
    import numpy as np

    class Generator(random.Generator):
        pass

    def changed(name):
        draw = getattr(random.Generator, name)

        @functools.wraps(draw)
        def method(self, *args, **kwargs):
            drawn = draw(self, *args, **kwargs)
            if kwargs.get("out") is not None:
                drawn[...] = moved(drawn)
                return drawn
            return moved(np.asarray(drawn))[()] if np.ndim(drawn) else float(moved(np.asarray(drawn)))

        return method

    for name in ("normal", "standard_normal", "uniform", "random"):
        setattr(Generator, name, changed(name))

    original = random.default_rng

    @functools.wraps(original)
    def default_rng(seed=None):
        made = original(seed)
        return made if made is seed else Generator(made.bit_generator)

    random.default_rng = default_rng


def in_data(data):
    import torch

    load = data.load

    def images(x):
        neighbours = torch.from_numpy(moved(x.cpu().numpy())).to(x.device)
        return neighbours.clamp(x.min(), x.max())  # pixels stay in [0, 1]

    @functools.wraps(load)
    def changed(*args, **kwargs):
        found = load(*args, **kwargs)
        return dataclasses.replace(found, inputs=images(found.inputs), test_inputs=images(found.test_inputs))

    data.load = changed


CHANGES = {"torch": in_torch, "numpy.random": in_numpy, "descentlab.data": in_data}


class AtImport(importlib.abc.MetaPathFinder):
    """Changes a module right after it has been executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute, change = spec.loader.exec_module, CHANGES[name]

        def then_change(module):
            execute(module)
            change(module)

        spec.loader.exec_module = then_change
        return spec


sys.meta_path.insert(0, AtImport())
