"""One rounding in every gradient and in all random data, for `steadiness.py`: imported by Python at start-up."""

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec


def _relative(array, generator, bits):
    """Factors 1 + s 2**-bits with random signs s in {-1, 0, 1}, as numpy numbers of float64."""
    return 1.0 + generator.integers(-1, 2, array) * 2.0**-bits


def _disturb_numpy(numpy):
    original = numpy.random.default_rng
    noise = numpy.random.Generator(numpy.random.PCG64(2**31 - 1))

    class Disturbed(numpy.random.Generator):
        """Draws what the generator draws, and rounds it once more."""

    def wrapped(name):
        method = getattr(numpy.random.Generator, name)

        def draw(self, *args, **kwargs):
            drawn = method(self, *args, **kwargs)
            if kwargs.get("out") is not None or numpy.asarray(drawn).dtype.kind != "f":
                return drawn
            bits = 23 if numpy.asarray(drawn).dtype == numpy.float32 else 52
            return (
                (drawn * _relative(numpy.shape(drawn), noise, bits)).astype(drawn.dtype, copy=False)
                if numpy.ndim(drawn)
                else float(drawn * _relative((), noise, bits))
            )

        return draw

    for name in ("standard_normal", "normal", "standard_t", "lognormal", "exponential"):
        setattr(Disturbed, name, wrapped(name))

    def default_rng(seed=None):
        made = original(seed)
        return made if isinstance(seed, numpy.random.Generator) else Disturbed(made.bit_generator)

    numpy.random.default_rng = default_rng


def _disturb_torch(torch):
    generator = torch.Generator().manual_seed(2**31 - 1)

    def rounded(tensor):
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.device.type != "cpu":
            return tensor
        signs = torch.randint(-1, 2, tensor.shape, generator=generator, dtype=torch.int8)
        bits = 23 if tensor.dtype == torch.float32 else 52
        return tensor * (1 + signs.to(tensor.dtype) * 2.0**-bits)

    def each(value):
        if isinstance(value, (tuple, list)):
            return type(value)(map(each, value)) if not hasattr(value, "_fields") else type(value)(*map(each, value))
        if isinstance(value, dict):
            return {key: each(entry) for key, entry in value.items()}
        return rounded(value)

    plain = torch.autograd.grad

    def grad(*args, **kwargs):
        if kwargs.get("create_graph"):
            return plain(*args, **kwargs)
        return each(plain(*args, **kwargs))

    torch.autograd.grad = grad

    def hook(optimizer, args, kwargs):
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.copy_(rounded(parameter.grad))

    from torch.optim.optimizer import register_optimizer_step_pre_hook

    register_optimizer_step_pre_hook(hook)
    draw = torch.randn

    def randn(*args, **kwargs):
        return rounded(draw(*args, **kwargs)) if kwargs.get("out") is None else draw(*args, **kwargs)

    torch.randn = randn


def _disturb_data(data):
    load = data.load

    def disturbed(*args, **kwargs):
        import torch

        made = load(*args, **kwargs)
        generator = torch.Generator().manual_seed(2**31 - 2)
        for inputs in (made.inputs, made.test_inputs):
            signs = torch.randint(-1, 2, inputs.shape, generator=generator, dtype=torch.int8)
            inputs.mul_(1 + signs * 2.0**-23)
        return made

    data.load = disturbed


class _After(MetaPathFinder):
    """Calls a function on a module once it is loaded."""

    calls = {"numpy": _disturb_numpy, "torch": _disturb_torch, "descentlab.data": _disturb_data}  # noqa: RUF012

    def find_spec(self, name, path=None, target=None):
        if name not in self.calls:
            return None
        call = self.calls.pop(name)
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            call(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _After())
