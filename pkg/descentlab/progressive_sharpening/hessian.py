"""The sharpness of any PyTorch model: the top eigenvalues of the Hessian of a loss, fast and without surprises.

The graph of the gradient is built once at a point; each Hessian-vector product is one backward pass through it. The
Lanczos iteration orthogonalises against its whole basis, twice, so that no eigenvalue appears as a ghost of another,
and it asks for the algebraically largest eigenvalues: power iteration finds those of largest magnitude, which at a
saddle is a negative one. Along training, the eigenvectors found last are a good start for the next evaluation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_CHUNK = 16  # rows by which the basis grows


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """The algebraically largest eigenvalues of a Hessian.

    Attributes
    ----------
    values : Tensor, shape (k,), float64 on the CPU
        From the largest down.
    vectors : Tensor, shape (k, p)
        Eigenvectors of norm one in the order of the flattened parameters, on their device. `split` shapes them.
    num_hvps : int
        Hessian-vector products that were computed.
    residuals : Tensor, shape (k,), float64 on the CPU
        Norms of H x - value x, an upper bound on the distance to an eigenvalue. The error of the value itself is of
        the order of the square.
    subspace : Tensor, shape (m, p)
        The leading Ritz vectors, a few more than k: what a warm start needs.
    """

    values: Tensor
    vectors: Tensor
    num_hvps: int
    residuals: Tensor
    subspace: Tensor

    def split(self, params: Iterable[Tensor]) -> list[list[Tensor]]:
        """Each eigenvector as a list of tensors with the shapes of `params`."""
        shapes = [p.shape for p in params]
        sizes = [shape.numel() for shape in shapes]
        return [[t.reshape(s) for t, s in zip(row.split(sizes), shapes, strict=True)] for row in self.vectors]


def top_hessian_eigenvalues(
    loss_fn: Callable[[], Tensor],
    params: Iterable[Tensor],
    *,
    k: int = 1,
    tol: float = 1e-3,
    start: Eigenpairs | Tensor | None = None,
    max_hvps: int = 500,
    seed: int = 0,
) -> Eigenpairs:
    r"""The k algebraically largest eigenvalues of the Hessian of a loss, by Lanczos iteration.

    An eigenvalue :math:`\theta` is accepted when its residual is at most ``tol * abs(θ)`` and it has moved by less than
    ``0.1 * tol`` over two iterations; the second rule guards against settling on the second eigenvalue while the
    first has not yet shown. The error of an accepted value is of the order of ``tol ** 2``. Copies of an
    eigenvalue, equal or nearly so, may count as one: for k > 1 the next value can then be a smaller one.

    Parameters
    ----------
    loss_fn : callable, () -> scalar Tensor
        Computes the loss from `params`; called once. It must be deterministic, that is without dropout.
    params : iterable of Tensor
        Leaf tensors that require grad, of one type and on one device; others are constants.
    k : int
        Number of eigenvalues, at most the number of parameters.
    tol : float
        See above. At ``1e-2`` a warm start can miss that the top two eigenvalues have just crossed.
    start : Eigenpairs or Tensor, shape (p,) or (m, p), optional
        Result of an earlier call at a nearby point. A random direction is mixed in, without which an eigenvector that
        the start lacks would never appear.
    max_hvps : int
        Warn and return what there is after so many products.
    seed : int
        Of the random directions, drawn on the CPU and kept apart from the global generator.

    Returns
    -------
    Eigenpairs

    Raises
    ------
    ValueError
        An argument is out of its range, a parameter does not require grad or is not used, or the loss is not a finite
        scalar that is twice differentiable at this point.
    """
    product, template = _hessian_product(loss_fn, params)
    size = template.numel()
    for name, value, most in (("k", k, size), ("max_hvps", max_hvps, np.inf)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= most:
            raise ValueError(f"{name}={value!r} must be an integer from 1 to {most}")
    _check_tolerance(tol)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        noise = torch.randn(size, generator=generator, dtype=template.dtype)
        return (noise / noise.norm()).to(template.device)

    return _lanczos(product, _first_vector(start, draw, template), draw, int(k), tol, min(int(max_hvps), size))


def _check_tolerance(tol: float) -> None:
    if not isinstance(tol, (int, float)) or not 0 < tol < 1:
        raise ValueError(f"tol={tol!r} must be between 0 and 1")


def _hessian_product(
    loss_fn: Callable[[], Tensor], params: Iterable[Tensor]
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Function that multiplies flat vectors by the Hessian, and a flat vector to take the type and device from."""
    tensors = [params] if isinstance(params, Tensor) else list(params)
    if not tensors:
        raise ValueError("params is empty; expected tensors that require grad")
    if len({id(p) for p in tensors}) < len(tensors):
        raise ValueError("params holds a tensor twice")
    if not callable(loss_fn):
        raise ValueError(f"loss_fn={loss_fn!r} must be a function of no argument that returns the loss")
    for index, p in enumerate(tensors):
        if not isinstance(p, Tensor) or not p.requires_grad or not p.dtype.is_floating_point:
            raise ValueError(
                f"params[{index}] does not require grad or is no real tensor; leave it out, or unfreeze it"
            )
        if p.dtype != tensors[0].dtype or p.device != tensors[0].device:
            raise ValueError(
                f"params[{index}] is {p.dtype} on {p.device}, params[0] {tensors[0].dtype} on {tensors[0].device}"
            )
    # the fused kernels of attention have no second derivative
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        loss = loss_fn()
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ValueError(f"loss_fn returned {_described(loss)}; expected one number computed from params")
        if not torch.isfinite(loss):
            raise ValueError(f"loss_fn returned {loss.item()}; expected a finite number")
        # with a weight that requires grad, operations that can be differentiated only once leave a mark in the graph
        weight = torch.ones_like(loss, requires_grad=True)
        gradients = torch.autograd.grad(loss, tensors, weight, create_graph=True, materialize_grads=True)
    if _has_single_use(gradients):
        raise ValueError("the loss is not twice differentiable here: an operation has no second derivative")
    # where the gradient is constant its graph ends, and the Hessian has rows of zeros
    pairs = [(i, g) for i, g in enumerate(gradients) if g.requires_grad]
    sizes = [p.numel() for p in tensors]

    def product(vector: Tensor) -> Tensor:
        if not pairs:
            return torch.zeros_like(vector)
        parts = [part.view_as(p) for part, p in zip(vector.split(sizes), tensors, strict=True)]
        try:
            columns = torch.autograd.grad(
                [g for _, g in pairs],
                tensors,
                grad_outputs=[parts[i] for i, _ in pairs],
                retain_graph=True,
                materialize_grads=True,
            )
        except RuntimeError as error:  # an operation without a second derivative
            raise ValueError(f"the loss is not twice differentiable here: {error}") from error
        return torch.cat([c.reshape(-1) for c in columns])

    return product, torch.cat([p.detach().reshape(-1) for p in tensors])


def _has_single_use(gradients: Iterable[Tensor]) -> bool:
    """Whether a gradient comes from an operation marked as differentiable once; products would silently miss it."""
    nodes = [g.grad_fn for g in gradients if g.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if node.name() == "torch::autograd::Error":
            return True
        following = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= following
        nodes.extend(following)
    return False


def _described(loss: object) -> str:
    if not isinstance(loss, Tensor):
        return f"a {type(loss).__name__}"
    return f"a tensor of shape {tuple(loss.shape)}" + ("" if loss.requires_grad else " that does not depend on params")


def _first_vector(start: Eigenpairs | Tensor | None, draw: Callable[[], Tensor], template: Tensor) -> Tensor:
    """The first Ritz vector, plus a little of the next two and of a random direction."""
    if start is None:
        return draw()
    if not isinstance(start, (Eigenpairs, Tensor)):
        raise ValueError(f"start is a {type(start).__name__}; expected a tensor, or the result of an earlier call")
    rows = start.subspace if isinstance(start, Eigenpairs) else torch.atleast_2d(start)
    if rows.ndim != 2 or rows.shape[1] != template.numel() or not torch.isfinite(rows).all():
        raise ValueError(f"start has shape {tuple(rows.shape)}; expected finite numbers, (m, {template.numel()})")
    rows = torch.nn.functional.normalize(rows.detach().to(template), dim=1)
    vector = rows[0] + 0.3 * rows[1:3].sum(dim=0) + 0.1 * draw()
    return vector / vector.norm()


def _lanczos(
    product: Callable[[Tensor], Tensor], first: Tensor, draw: Callable[[], Tensor], k: int, tol: float, limit: int
) -> Eigenpairs:
    size, eps = first.numel(), torch.finfo(first.dtype).eps
    basis = first.new_empty((min(_CHUNK, size) + 1, size))
    basis[0] = first
    diagonal: list[float] = []
    beside: list[float] = []
    history: list[np.ndarray] = []
    while True:
        j = len(diagonal)
        image = product(basis[j])
        alpha = float(image @ basis[j])
        diagonal.append(alpha)
        if not np.isfinite(alpha):
            raise ValueError("the loss is not twice differentiable here: a Hessian-vector product is not finite")
        rest = image
        for _ in range(2):
            rest = rest - basis[: j + 1].T @ (basis[: j + 1] @ rest)
        beta = float(rest.norm())
        ritz, states = eigh_tridiagonal(np.array(diagonal), np.array(beside))
        ritz, states = ritz[::-1], states[:, ::-1]
        scale = np.abs(ritz).max()
        if beta <= 10 * eps * np.sqrt(size) * scale or scale == 0:  # an invariant subspace: look outside of it
            beta = 0.0
        residuals = beta * np.abs(states[-1, :k])
        history.append(ritz[:k])
        done = j + 1 >= k and len(history) > 2 and len(history[-3]) == min(k, len(ritz))
        if done:
            allowed = np.maximum(tol * np.abs(ritz[:k]), 100 * eps * scale)
            moved = np.abs(history[-1] - history[-3])
            done = bool(np.all(residuals <= allowed) and np.all(moved <= 0.1 * allowed))
        if done or j + 1 >= limit:
            break
        if j + 2 > len(basis):
            basis = torch.cat([basis, basis.new_empty((min(_CHUNK, size + 1 - len(basis)), size))])
        if beta == 0.0:
            rest = draw()
            for _ in range(2):
                rest = rest - basis[: j + 1].T @ (basis[: j + 1] @ rest)
        basis[j + 1] = rest / rest.norm()
        beside.append(beta)
    if not done and j + 1 < size:
        warnings.warn(
            f"the top Hessian eigenvalue has not converged after {j + 1} Hessian-vector products (residual "
            f"{residuals.max():.1e}): raise max_hvps or tol",
            UserWarning,
            stacklevel=3,
        )
    kept = min(k + 2, len(ritz))
    subspace = torch.as_tensor(states[:, :kept].T.copy(), dtype=basis.dtype, device=basis.device) @ basis[: j + 1]
    return Eigenpairs(
        torch.from_numpy(ritz[:k].copy()), subspace[:k], j + 1, torch.from_numpy(residuals[:k].copy()), subspace
    )


@dataclass(frozen=True)
class Evaluation:
    """One entry of a monitor's history.

    Attributes
    ----------
    step : int
        Number of updates so far.
    sharpness : float
    residual : float
        Norm of H x - sharpness x.
    edge : float
        2 over the learning rate at this step (the largest of the parameter groups); NaN without an optimizer.
    num_hvps : int
        Hessian-vector products that the evaluation took.
    """

    step: int
    sharpness: float
    residual: float
    edge: float
    num_hvps: int


class SharpnessMonitor:
    """Records the sharpness while your own loop trains a model.

    Parameters
    ----------
    model : nn.Module
        Its parameters that require grad are the variables. It is evaluated in ``eval`` mode, so that dropout and batch
        statistics neither disturb the products nor are disturbed, and put back into its mode afterwards.
    loss_fn : callable, (outputs, targets) -> scalar Tensor
    data : pair of Tensor
        Inputs and targets on which the loss is measured, on the model's device.
    every : int
        Evaluate after every so many updates.
    optimizer : torch.optim.Optimizer, optional
        Its learning rate gives the edge of stability, 2 over the learning rate.
    tol : float
        See `top_hessian_eigenvalues`.

    Attributes
    ----------
    history : list of Evaluation

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> data = torch.eye(3), torch.ones(3, 1)
    >>> loss_fn = torch.nn.functional.mse_loss
    >>> monitor = SharpnessMonitor(model, loss_fn, data, every=5, optimizer=optimizer)
    >>> for _ in range(10):
    ...     optimizer.zero_grad()
    ...     loss_fn(model(data[0]), data[1]).backward()
    ...     optimizer.step()
    ...     monitor.step()
    >>> [entry.step for entry in monitor.history], monitor.history[-1].edge
    ([5, 10], 20.0)
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        data: tuple[Tensor, Tensor],
        *,
        every: int,
        optimizer: torch.optim.Optimizer | None = None,
        tol: float = 1e-3,
    ):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every={every!r} must be an integer of at least 1")
        if not isinstance(model, nn.Module) or not callable(loss_fn):
            raise ValueError(
                f"model={model!r} must be a module and loss_fn={loss_fn!r} a function of outputs and targets"
            )
        if optimizer is not None and not hasattr(optimizer, "param_groups"):
            raise ValueError(f"optimizer={optimizer!r} must be a torch optimizer")
        _check_tolerance(tol)
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise ValueError(f"data must be a pair (inputs, targets), not {type(data).__name__}")
        self.model, self.loss_fn, self.data = model, loss_fn, data
        self.every, self.optimizer, self.tol = every, optimizer, tol
        self.history: list[Evaluation] = []
        self._updates = 0
        self._last: Eigenpairs | None = None

    def step(self) -> None:
        """Count an update; evaluate if it is due. Call it after each ``optimizer.step()``."""
        self._updates += 1
        if self._updates % self.every == 0:
            self._evaluate()

    def _evaluate(self) -> None:
        params = [p for p in self.model.parameters() if p.requires_grad]
        inputs, targets = self.data
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            found = top_hessian_eigenvalues(
                lambda: self.loss_fn(self.model(inputs), targets),
                params,
                tol=self.tol,
                start=self._last,
                seed=self._updates,
            )
        finally:
            for module, training in modes:
                module.training = training
        self._last = found
        rates = [group["lr"] for group in self.optimizer.param_groups] if self.optimizer else []
        rate = float(max(rates, default=np.nan))
        edge = 2 / rate if rate != 0 else np.inf
        self.history.append(
            Evaluation(self._updates, float(found.values[0]), float(found.residuals[0]), edge, found.num_hvps)
        )
