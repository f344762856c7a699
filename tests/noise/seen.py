"""Prints, as JSON, what the libraries say of their kernels and threads here, and digests of small computations."""

import hashlib
import json
import math

import numba
import numpy as np
import scipy.linalg
import threadpoolctl
import torch
from numba.core.registry import cpu_target

a = np.random.default_rng(0).standard_normal(10000)
A = a.reshape(100, 100)
T = torch.as_tensor(A, dtype=torch.float32)
x = torch.linspace(1, 2, 999, requires_grad=True)
compiled = numba.njit(lambda x: x * 1.5)
results = {
    "BLAS": A @ A,
    "C": [math.exp(v) + math.sin(v) for v in a],
    "LAPACK": scipy.linalg.eigh(A + A.T)[0],
    "NumPy": np.exp(a),
    "gradient": torch.autograd.grad((x**3).sum(), x)[0],
    "numba": compiled(a),
    "torch": torch.linspace(0, 1, 10**6).exp().sum(),
    "torch.mm": T @ T,
    "torch.conv": torch.nn.functional.conv2d(T[None, None], T[None, None, :9, :9]),
}
blas = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
assembly = "".join(compiled.inspect_asm().values())
widest = next((width for register, width in (("zmm", 512), ("ymm", 256)) if register in assembly), 128)
print(
    json.dumps(
        {
            "OpenBLAS": ", ".join(sorted({f"{pool.get('architecture')} × {pool['num_threads']}" for pool in blas})),
            "torch": f"{torch.backends.cpu.get_cpu_capability()} × {torch.get_num_threads()}",
            "NumPy": ", ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])) or "baseline",
            "numba": f"{cpu_target.target_context.codegen().magic_tuple()[1]}, {widest} bits × {numba.get_num_threads()}",
            "digests": {
                name: hashlib.sha256(np.ascontiguousarray(value)).hexdigest()[:8] for name, value in results.items()
            },
        }
    )
)
