"""Several processes: one training over the ranks of ``torchrun``, and sweeps of many trainings through joblib."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")
BACKENDS = ("loky", "threading", "dask", "ray")


def rank() -> int:
    """Number of this process among those that train together; 0 where it is alone."""
    return distributed.get_rank() if _joined() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _joined() else int(os.environ.get("WORLD_SIZE", "1"))


def join_ranks() -> int:
    """Join the other ranks where ``torchrun`` started several processes; returns their number. Repeats are harmless.

    NCCL where there is a GPU for each process of this machine, gloo otherwise.
    """
    size = world_size()
    if size > 1 and not _joined():
        own_gpu = torch.cuda.is_available() and torch.cuda.device_count() >= int(
            os.environ.get("LOCAL_WORLD_SIZE", "1")
        )
        if own_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if own_gpu else "gloo")
    return size


def sum_over_ranks(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over the ranks, in place."""
    if _joined():
        for tensor in tensors:
            distributed.all_reduce(tensor)


def largest_over_ranks(*tensors: Tensor) -> None:
    """Replace each tensor by its largest value over the ranks, in place."""
    if _joined():
        for tensor in tensors:
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX)


def wait_for_ranks() -> None:
    """Return once every rank is here."""
    if _joined():
        distributed.barrier()


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device to train on: under ``torchrun`` the GPU of this process, else what `data.load` would choose."""
    from descentlab.data import choose_device as alone

    chosen = alone(device)
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return chosen


def sweep(
    function: Callable[..., T],
    cases: Iterable[Mapping[str, Any]],
    *,
    backend: str | None = None,
    num_jobs: int = 1,
    address: str | None = None,
    progress: str | None = None,
) -> list[T]:
    """``[function(**case) for case in cases]``, spread over processes or a cluster by joblib.

    Parameters
    ----------
    function : callable
        Importable by name in the workers, such as a function of a module.
    cases : iterable of mapping
        Keyword arguments of each call.
    backend : {"loky", "threading", "dask", "ray"}, optional
        Processes of this machine; its threads; a Dask cluster; a Ray cluster. By default what the environment variable
        ``DESCENTLAB_BACKEND`` names, else processes of this machine.
    num_jobs : int
        Calls at a time; −1 is one a core. On a cluster its workers decide.
    address : str, optional
        Of the Dask scheduler or the Ray head; by default that in ``DESCENTLAB_CLUSTER``, else the current Dask client,
        else a cluster on this machine.
    progress : str, optional
        Label of a bar that counts finished calls; none while a chapter is recorded, nor on a cluster.

    Returns
    -------
    list
        Results in the order of `cases`.

    Raises
    ------
    ValueError
        If `backend` is unknown.
    ModuleNotFoundError
        If its package is not installed.
    """
    from joblib import Parallel, delayed, parallel_config  # type: ignore[import-untyped,unused-ignore]

    backend = backend or os.environ.get("DESCENTLAB_BACKEND") or "loky"
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}; allowed are {', '.join(map(repr, BACKENDS))}")
    address = address or os.environ.get("DESCENTLAB_CLUSTER") or None
    cases = list(cases)
    calls = (delayed(function)(**case) for case in cases)
    with _cluster(backend, address, num_jobs), parallel_config(backend, n_jobs=num_jobs if backend != "dask" else -1):
        if progress is None or backend in ("dask", "ray"):
            return list(Parallel()(calls))
        from descentlab.figures import progress as bar

        return list(bar(Parallel(return_as="generator")(calls), desc=progress, total=len(cases)))


@contextmanager
def _cluster(backend: str, address: str | None, num_jobs: int) -> Iterator[None]:
    if backend == "ray":
        ray, register_ray = import_module("ray"), import_module("ray.util.joblib").register_ray

        ray.init(address=address, ignore_reinit_error=True)
        register_ray()
        yield
    elif backend == "dask":
        with _dask_client(address, num_jobs):
            yield
    else:
        yield


def _dask_client(address: str | None, num_jobs: int) -> AbstractContextManager[Any]:
    try:
        dask = import_module("distributed")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("backend='dask' needs Dask: pip install distributed") from error
    if address is not None:
        return dask.Client(address)
    try:
        return nullcontext(dask.get_client())
    except ValueError:  # no client yet
        workers = num_jobs if num_jobs > 0 else os.cpu_count()
        return dask.Client(dask.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None))


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
