"""The methods and averages word for word: one update, one order, one run at a time."""

from itertools import permutations, product

import numpy as np


def step(A, x, i):
    """Exact minimisation along coordinate i."""
    x = np.array(x, dtype=float)
    x[i] -= (A[i] @ x) / A[i, i]
    return x


def epoch_matrix(A, order, relaxation=1.0):
    """The product of the steps of an order."""
    n = len(A)
    T = np.eye(n)
    for i in order:
        U = np.eye(n)
        U[i] -= relaxation * A[i] / A[i, i]
        T = U @ T
    return T


def shuffled_operator(A, relaxation=1.0):
    """Mean of kron(T, T) over all n! orders: the RPCD operator on n² coordinates."""
    orders = list(permutations(range(len(A))))
    return sum(np.kron(T, T) for T in (epoch_matrix(A, p, relaxation) for p in orders)) / len(orders)


def drawn_operator(A, relaxation=1.0):
    """Mean of kron(U, U) over the coordinates, to the power n: the RCD operator of n updates."""
    n = len(A)
    one = sum(np.kron(U, U) for U in (epoch_matrix(A, [i], relaxation) for i in range(n))) / n
    return np.linalg.matrix_power(one, n)


def radius(operator):
    return np.abs(np.linalg.eigvals(operator)).max()


def mean_over_sequences(A, X, num_steps):
    """Mean of T X T' over all sequences of coordinates, drawn with replacement."""
    sequences = list(product(range(len(A)), repeat=num_steps))
    return sum(T @ X @ T.T for T in (epoch_matrix(A, s) for s in sequences)) / len(sequences)


def moments(operator, A, X, num_epochs):
    """E|x|² and E f after each epoch, from an operator on n² coordinates."""
    norms, objectives = [np.trace(X)], [np.sum(A * X) / 2]
    for _ in range(num_epochs):
        X = (operator @ X.ravel()).reshape(X.shape)
        norms.append(np.trace(X))
        objectives.append(np.sum(A * X) / 2)
    return np.array(norms), np.array(objectives)


def cyclic_epochs_to(A, target, num_epochs=100):
    """Epochs of cyclic descent until the mean energy from N(0, I) is below `target` of its first value."""
    T, X = epoch_matrix(A, range(len(A))), np.eye(len(A))
    first = np.trace(A @ X)
    for k in range(num_epochs):
        if np.trace(A @ X) <= target * first:
            return k
        X = T @ X @ T.T
    return num_epochs
