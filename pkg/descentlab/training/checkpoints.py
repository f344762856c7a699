"""Checkpoints that a crash cannot damage: written beside the old one, then put in its place in one step."""

from __future__ import annotations

import hashlib
import inspect
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write `state` so that at any moment, a power cut included, `path` holds the old content or the new one.

    Parameters
    ----------
    path : path
        Its folder is made if need be.
    state : mapping
        Tensors, numbers, strings, and lists, tuples and dicts of such: what ``weights_only`` loading admits.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, on the CPU; nothing in the file is executed.

    Raises
    ------
    ValueError
        The file is not a checkpoint, or damaged; the message names it.
    """
    with _named(path), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(m.compress_type for m in members) or sum(m.file_size for m in members) > os.path.getsize(path):
            raise ValueError("it unpacks to more than its size, which checkpoints do not")
        if (damaged := archive.testzip()) is not None:  # torch does not compare the checksums that it wrote
            raise ValueError(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"{path}: expected a checkpoint, found {type(state).__name__}; remove it to start anew")
    return state


@contextmanager
def _named(path: str | os.PathLike[str], problem: str = "not a checkpoint that can be read") -> Iterator[None]:
    """Whatever is raised inside becomes a ValueError that names the file: what a damaged one raises knows no bounds."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: {problem} ({first}); remove it to start anew") from error


# Runs ----------------------------------------------------------------------------------------------------------------


def save_run(path: str | os.PathLike[str], identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Checkpoint of a run that `identity` tells from others; a seal over both says that they belong together."""
    content = {"identity": dict(identity), "state": dict(state)}
    save_checkpoint(path, content | {"seal": digest(content)})


def resume_run(
    path: str | os.PathLike[str], identity: Mapping[str, Any], restore: Callable[[dict[str, Any]], None]
) -> None:
    """Call `restore` with the state of a run.

    Raises
    ------
    ValueError
        The file is damaged, its state is not what the run saved or does not fit, or it belongs to another run; then the
        message says in what they differ.
    """
    saved = load_checkpoint(path)
    with _named(path):
        if set(saved) != {"identity", "state", "seal"}:
            raise ValueError("no run of this version wrote it")
        if digest({name: saved[name] for name in ("identity", "state")}) != saved["seal"]:
            raise ValueError("changed since it was written")
    if differs := list(_differences(saved["identity"], dict(identity))):
        raise ValueError(
            f"checkpoint={str(path)!r} belongs to another run, which differs in {', '.join(differs[:4])}; "
            "remove it, or resume=False"
        )
    with _named(path, "this run cannot go on from it"):
        restore(saved["state"])


def _differences(found: Any, expected: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in expected | found:
            yield from _differences(found.get(key), expected.get(key), f"{name}.{key}" if name else str(key))
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for i, pair in enumerate(zip(found, expected, strict=True)):
            yield from _differences(*pair, f"{name}[{i}]" if len(found) > 1 else name)
    elif found != expected and repr(found) != repr(expected):
        short = max(len(repr(found)), len(repr(expected))) <= 40
        yield f"{name} ({found!r} there, {expected!r} here)" if short else name


def digest(value: Any) -> str:
    """SHA-256 of tensors (values, shapes, types) and of what holds them, the same in every process."""
    # what is held twice is read once, as a small file may hold a part very often; objects are kept for their ids
    known: dict[int, tuple[Any, bytes]] = {}

    def of(value: Any) -> bytes:
        if id(value) not in known:
            known[id(value)] = value, hashlib.sha256(b"".join(parts(value))).digest()
        return known[id(value)][1]

    def parts(value: Any) -> Iterator[bytes]:
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            yield f"tensor {plain.dtype} {tuple(plain.shape)}".encode()
            yield hashlib.sha256(plain.flatten().view(torch.uint8).numpy().data).digest()
        elif isinstance(value, Mapping):
            yield b"mapping"
            for key, entry in value.items():
                yield from (of(key), of(entry))
        elif isinstance(value, (list, tuple)):
            yield type(value).__name__.encode()
            yield from map(of, value)
        elif isinstance(value, (set, frozenset)):
            yield from (b"set", *sorted(map(of, value)))
        elif isinstance(value, CodeType):
            yield from (value.co_code, of(value.co_names), of(value.co_consts))
        else:
            yield f"{type(value).__name__} {value!r}".encode()

    return of(value).hex()


def describe(value: Any, depth: int = 5) -> Any:
    """What tells one setting of a run from another, in types that a checkpoint may hold: the same in every process.

    Functions are told apart by name, code, defaults and what they enclose; modules by structure, and by their buffers
    where there is nothing to train; other objects by class and attributes.
    """
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        tensor = torch.as_tensor(value)
        return tensor.item() if tensor.ndim == 0 else digest(tensor)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth == 0:
        return _name(type(value))
    inner = partial(describe, depth=depth - 1)
    if isinstance(value, Mapping):
        return {str(key): inner(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(entry) for entry in value]
    if isinstance(value, partial):
        named = {name: inner(entry) for name, entry in value.keywords.items()}
        return {"function": inner(value.func), "arguments": inner(value.args), **named}
    if isinstance(value, MethodType):
        return {"method": value.__name__, "of": inner(value.__self__)}
    if isinstance(value, FunctionType):
        parts = {"name": _name(value), "code": digest(value.__code__)}
        enclosed = {}
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with suppress(ValueError):  # not assigned yet
                enclosed[name] = inner(cell.cell_contents)
        return parts | {"defaults": inner([value.__defaults__, value.__kwdefaults__]), **enclosed}
    if isinstance(value, nn.Module):
        trained = any(True for _ in value.parameters())  # perhaps by this very run
        return {"module": str(value), "buffers": None if trained else digest(value.state_dict())}
    if hasattr(value, "__qualname__"):  # a class, or a function without code of its own
        return _name(value)
    return {"class": _name(type(value)), **{name: inner(v) for name, v in getattr(value, "__dict__", {}).items()}}


def describe_run(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, **others: Any) -> dict[str, Any]:
    """Identity of a run: structure of its model, class and settings of its optimizer, schedule, and `others`."""
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    entries = {
        name: f"{entry.dtype} {tuple(entry.shape)}" + " trained" * (id(entry) in trained)
        for name, entry in model.state_dict(keep_vars=True).items()
        if isinstance(entry, Tensor)
    }
    settings = []
    names = set(inspect.signature(type(optimizer)).parameters) - {"params"}  # groups hold counters, too
    for group in optimizer.param_groups:
        given = {name: group[name] for name in sorted(names) if name in group}
        given |= {"lr": group.get("initial_lr", group.get("lr"))}  # before a schedule
        settings.append(describe(given) | {"parameters": [list(p.shape) for p in group["params"]]})
    if isinstance(schedule, LRScheduler):
        takes = {"lr_lambdas", *inspect.signature(type(schedule)).parameters} - {"optimizer", "last_epoch"}
        schedule = {"class": type(schedule), **{name: v for name, v in vars(schedule).items() if name in takes}}
    return {
        "model": {"modules": str(model), **entries},
        "optimizer": {"class": _name(type(optimizer)), "groups": settings},
        "schedule": describe(schedule),
        **describe(others),
    }


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
