"""Solving (I − γP) x = b and its transpose: dense, sparse direct, or iterative with proof.

Mᵀ = I − γPᵀ is an M-matrix, strictly dominant in its columns, so it is Mᵀ that is factored:
partial pivoting then never leaves the diagonal, no entry changes sign on the way, and the
occupancy of an unreachable state comes out as exactly zero, that of any other as positive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npgcheck.errors import NotConverged
from npgcheck.mdp import MDP, QuadraticMDP

Array = np.ndarray

METHODS = ("auto", "dense", "direct", "iterative")

#: Up to this many states numpy's solver, called twice, beats loading scipy and factoring once.
SMALL = 48
#: Up to this many states a sparse MDP is solved by dense LAPACK (32 MB at the limit).
DENSE_LIMIT = 2000
#: A sparse factorisation is a fallback up to this size, or with this few successors per state.
DIRECT_LIMIT, DIRECT_SUCCESSORS = 5000, 8

_U = float(np.finfo(float).eps) / 2

# A normwise backward error of 64u. A backward stable dense solve reaches a few u; GMRES with
# refinement stalls between u and the row length times u, and rows rarely exceed a few hundred.
_BACKWARD_ERROR = 64 * _U
_RESTART, _ROUNDS, _CYCLES = 40, 12, 25


class DiscountedSystem:
    """(I − γ P_π), factored at most once, for values and occupancies."""

    def __init__(self, mdp: MDP | QuadraticMDP, probabilities: Array | None, method: str) -> None:
        """Prepares the solver; `probabilities` is None when the chain is P itself."""
        self.mdp, self.probabilities = mdp, probabilities
        size = mdp.num_states
        sparse = isinstance(mdp, MDP) and mdp.is_sparse
        if method == "auto":
            method = "iterative" if sparse and size > DENSE_LIMIT else "dense"
            self.fallback = True
        else:
            self.fallback = False
        self.method = method
        self._solve: Callable[[Array, bool], Array]
        if method == "iterative":
            self._solve = self._iterative
            self._direct: Callable[[Array, bool], Array] | None = None
        elif method == "direct":
            self._solve = self._factor_sparse()
        else:
            self._solve = self._factor_dense()

    def value(self, rewards: Array) -> Array:
        """(I − γP) x = rewards."""
        return self._solve(rewards, False)

    def refined(self, x: Array, rewards: Array) -> Array:
        """One step of iterative refinement of a solution x of (I − γP) x = rewards.

        Worth its price where γ > 0.9, and only with a factorisation at hand.
        """
        if self.method == "iterative" or self.mdp.discount <= 0.9:
            return x
        residual = rewards - (x - self.mdp.discount * (self.chain @ x))
        return x + self._solve(residual, False)

    def occupancy(self, start: Array) -> Array:
        """(I − γPᵀ) x = start, without the factor 1 − γ."""
        return self._solve(start, True)

    def _chain(self) -> Any:
        if self.probabilities is None:
            return self.mdp.transitions
        assert isinstance(self.mdp, MDP)
        return self.mdp.policy_transitions(self.probabilities)

    def _factor_dense(self) -> Callable[[Array, bool], Array]:
        chain = self.chain = self._chain()
        if not isinstance(chain, np.ndarray):
            chain = chain.toarray()
        matrix = -self.mdp.discount * chain
        matrix.flat[:: len(matrix) + 1] += 1
        if len(matrix) <= SMALL:
            return lambda b, transposed: np.linalg.solve(matrix.T if transposed else matrix, b)
        from scipy.linalg.lapack import dgetrf, dgetrs

        # rows in C order are columns in Fortran order: matrix.T is factored in place
        factors, pivots, info = dgetrf(matrix.T, overwrite_a=True)
        assert info == 0, "I − γP is strictly diagonally dominant"

        def solve(b: Array, transposed: bool) -> Array:
            return dgetrs(factors, pivots, b, trans=0 if transposed else 1)[0]

        return solve

    def _factor_sparse(self) -> Callable[[Array, bool], Array]:
        from scipy.sparse import csc_array, eye_array
        from scipy.sparse.linalg import splu

        chain = self.chain = csc_array(self._chain())
        matrix = csc_array(eye_array(chain.shape[0], format="csc") - self.mdp.discount * chain)
        factors = splu(csc_array(matrix.T))
        return lambda b, transposed: factors.solve(b, trans="N" if transposed else "T")

    def _operator(self, transposed: bool) -> Callable[[Array], Array]:
        """The product with M or Mᵀ, without forming P_π."""
        mdp, probabilities, discount = self.mdp, self.probabilities, self.mdp.discount
        if probabilities is None:
            chain = mdp.transitions.T if transposed else mdp.transitions
            return lambda x: x - discount * (chain @ x)
        assert isinstance(mdp, MDP)
        if transposed:
            flat = mdp.transitions
            if not mdp.is_sparse:
                flat = flat.reshape(-1, mdp.num_states)
            backward = flat.T
            # (P_πᵀ x)(s') = Σ_{s,a} P(s, a, s') π(a|s) x(s)
            return lambda x: x - discount * (backward @ (probabilities * x[:, None]).ravel())
        return lambda x: x - discount * np.einsum("sa,sa->s", probabilities, mdp.expected_next(x))

    def _iterative(self, b: Array, transposed: bool) -> Array:
        """Restarted GMRES inside iterative refinement, until the backward error is verified."""
        if self._direct is not None:
            return self._direct(b, transposed)
        from scipy.sparse.linalg import LinearOperator, gmres

        apply = self._operator(transposed)
        size = len(b)
        operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
        # ‖I − γP‖ ≤ 1 + γ in the norm that suits each side: ∞ for values, 1 for occupancies
        norm = _one_norm if transposed else _max_norm
        x = np.zeros(size)
        residual = b
        backward = np.inf
        for _ in range(_ROUNDS):
            step, _ = gmres(
                operator, residual, rtol=1e-7, atol=0.0, restart=_RESTART, maxiter=_CYCLES
            )
            x = x + step
            if transposed and b.min() >= 0:
                # an occupancy is non-negative: entries below the round-off come out with any sign;
                # the residual is verified afterwards
                x = np.maximum(x, 0)
            residual = b - apply(x)
            scale = (1 + self.mdp.discount) * norm(x) + norm(b)
            previous, backward = backward, (norm(residual) / scale if scale else 0.0)
            if backward <= _BACKWARD_ERROR:
                return x
            if not backward <= 0.5 * previous:
                break
        if self.fallback and self._fill_is_bounded():
            self._direct = self._factor_sparse()
            return self._direct(b, transposed)
        raise NotConverged(
            f"GMRES reached a backward error of {backward:.2g} on {size} states, above the"
            f" {_BACKWARD_ERROR:.2g} that is asked; nothing was returned. The discount is"
            f" {self.mdp.discount}: a smaller one converges faster, and method='direct' factors"
            " the matrix if memory allows."
        )

    def _fill_is_bounded(self) -> bool:
        size = self.mdp.num_states
        entries = self._chain()
        stored = entries.nnz if hasattr(entries, "nnz") else size * size
        # slow convergence means no expander, so few successors mean little fill
        return size <= DIRECT_LIMIT or stored <= DIRECT_SUCCESSORS * size


def _max_norm(x: Array) -> float:
    return float(np.abs(x).max())


def _one_norm(x: Array) -> float:
    return float(np.abs(x).sum())
