"""The exact natural gradient, sparse: ten successors per pair, growing S.

Run: OMP_NUM_THREADS=1 python benchmarks/sparse_growth.py [largest S]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from npgcheck.exact import evaluate
from npgcheck.named_mdps import garnet
from npgcheck.natural import natural_gradient
from npgcheck.policy import SoftmaxPolicy


def main(largest: int = 100_000, A: int = 10) -> None:
    """Prints seconds, microseconds per state, and the residual that bounds the error."""
    print(f"sparse, A = {A}, ten successors per pair, γ = 0.99")
    print(f"  {'S':>7} {'build':>9} {'solve':>9} {'per state':>12} {'Bellman residual':>18}")
    for S in (1_000, 10_000, 100_000):
        if largest < S:
            break
        start = time.perf_counter()
        mdp = garnet(S, A, 10, 0.99, sparse=True)
        built = time.perf_counter() - start
        policy, theta = SoftmaxPolicy(S, A), np.random.default_rng(0).normal(size=S * A)
        seconds = []
        for _ in range(3 if S < 100_000 else 2):
            start = time.perf_counter()
            x = natural_gradient(mdp, policy, theta, None)
            seconds.append(time.perf_counter() - start)
        assert np.isfinite(x).all()
        probabilities = policy.probabilities(theta, None)
        found = evaluate(mdp, probabilities)
        # ‖V − (r_π + γP_πV)‖/(1 − γ) bounds ‖V − V^π‖
        backed_up = mdp.rewards + mdp.discount * mdp.expected_next(found.value)
        residual = np.abs((probabilities * backed_up).sum(axis=1) - found.value).max()
        print(
            f"  {S:>7} {built:8.2f}s {min(seconds):8.3f}s {1e6 * min(seconds) / S:9.2f} µs"
            f" {residual / np.abs(found.value).max():17.1e}"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
