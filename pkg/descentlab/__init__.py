"""Executable tutorials on how neural networks train, and the methods as tools.

One paper is one module, one chapter and one test file, under one name. Modules load when they are first used,
so that ``import descentlab`` is instant and imports neither torch nor numba.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

__all__ = [
    "claims",
    "continual_classification",
    "coordinate_descent",
    "data",
    "dataset_pruning",
    "figures",
    "geometry",
    "incremental_gd",
    "networks",
    "per_sample_adam",
    "progressive_sharpening",
    "random_maps",
    "robust_memorization",
    "schedule_free",
    "sgmcmc",
    "training",
    "weak_to_strong",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its modules are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
