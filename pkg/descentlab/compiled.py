"""numba's `njit`, which keeps what it compiled where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def njit(function: Callable | None = None, **options: Any) -> Any:
    """`numba.njit` with ``cache=True``; without it where no folder for the cache can be written.

    numba keeps machine code beside the module, or in the user's cache folder. Where neither can be written (a package
    installed by another user, a container without a home) it would refuse the function at import; here the function is
    compiled anew in each process, to the same machine code.

    Parameters
    ----------
    function : callable
        What to compile at its first call; left out, as in ``@njit(error_model="numpy")``, a decorator is returned.
    **options
        Of `numba.njit`.
    """
    if function is None:
        return lambda function: njit(function, **options)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return numba.njit(**options)(function)
