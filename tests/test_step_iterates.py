"""Iterates of conjugate gradient, recognised: against minimisation over the Krylov space."""

import numpy as np
import pytest

from npgcheck.step import epsilon, iterates
from npgcheck.step.krylov import Krylov


def system(size=30, seed=0, condition=1e3):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    spectrum = np.geomspace(1.0, 1.0 / condition, size)
    return basis @ (spectrum[:, None] * basis.T), rng.standard_normal(size)


def krylov(matrix, right, unit=2.0**-53):
    return Krylov(lambda v: matrix @ v, right, unit)


def minimiser(matrix, right, k, damping=0.0):
    """argmin over span{b, Ab, …} of ½xᵀ(A + λI)x − bᵀx, by least squares on a QR basis."""
    columns = [right]
    for _ in range(k - 1):
        columns.append(matrix @ columns[-1])
        columns[-1] /= np.linalg.norm(columns[-1])
    q = np.linalg.qr(np.stack(columns, axis=1))[0]
    damped = matrix + damping * np.eye(len(right))
    return q @ np.linalg.solve(q.T @ damped @ q, q.T @ right)


@pytest.mark.parametrize("damping", [0.0, 0.05])
@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_an_iterate_minimises_over_its_space(k, damping):
    matrix, right = system()
    spaces = krylov(matrix, right)
    spaces.grow(k)
    exact = minimiser(matrix, right, k, damping)
    assert spaces.iterate(k, damping) == pytest.approx(exact, rel=1e-9, abs=1e-12)
    # a plain run (the second route) gives the same as long as orthogonality holds
    assert spaces.plain(k, damping) == pytest.approx(exact, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("k", [1, 3, 5])  # beyond, the power basis of `minimiser` rounds
def test_an_iterate_is_recognised(k):
    matrix, right = system()
    found = iterates.find(minimiser(matrix, right, k), krylov(matrix, right), [0.0], None)
    assert (found.k, found.extra, found.sign, found.solved) == (k, 0.0, 1.0, False)


def test_a_flipped_iterate_is_recognised():
    matrix, right = system()
    found = iterates.find(-minimiser(matrix, right, 5), krylov(matrix, right), [0.0], None)
    assert (found.k, found.sign) == (5, -1.0)


@pytest.mark.parametrize("damping", [0.1, 0.0123, 1e-4])
def test_damping_of_the_solve_alone_is_found(damping):
    matrix, right = system()
    x = minimiser(matrix, right, 6, damping)
    found = iterates.find(x, krylov(matrix, right), [0.0], None)
    assert found.k == 6
    assert found.extra == pytest.approx(damping, rel=1e-6)


def test_an_exact_solution_is_solved():
    matrix, right = system(condition=30.0)
    found = iterates.find(np.linalg.solve(matrix, right), krylov(matrix, right), [0.0], None)
    assert found.solved


def wrongs(matrix, right):
    x = minimiser(matrix, right, 6)
    noise = np.random.default_rng(1).standard_normal(len(x))
    return {
        "scaled": 1.01 * x,
        "disturbed": x + 1e-3 * np.linalg.norm(x) * noise / np.linalg.norm(noise),
        "of another right side": minimiser(matrix, right + 0.1 * noise, 6),
        "of another matrix": minimiser(matrix @ matrix, right, 6),
        "between two": 0.5 * (minimiser(matrix, right, 5) + x),
    }


@pytest.mark.parametrize("name", wrongs(*system()))
def test_what_is_no_iterate_is_not_recognised(name):
    matrix, right = system()
    assert iterates.find(wrongs(matrix, right)[name], krylov(matrix, right), [0.0], None) is None


def test_facts():
    matrix, right = system()
    spaces = krylov(matrix, right)
    x = minimiser(matrix, right, 6)
    iterates.find(1.5 * x, spaces, [0.0], None)
    first = iterates.holding(x, spaces)
    assert first <= 6
    assert iterates.multiple(1.5 * x, spaces, first) == pytest.approx(1.5)
    assert iterates.misapplied(matrix @ right, spaces) == "multiplied-not-solved"
    twice = np.linalg.solve(matrix, np.linalg.solve(matrix, right))
    assert iterates.misapplied(twice, spaces) == "inverse-applied-twice"
    assert iterates.misapplied(x, spaces) is None


@pytest.mark.parametrize("number", [1e-8, 3e-9, 2e-7, 1e-6])
@pytest.mark.parametrize("both", [False, True], ids=["alpha", "both"])
def test_a_biased_denominator_is_told(number, both):
    matrix, right = system()
    right = 1e-4 * right
    spaces = krylov(matrix, right)
    x, r = np.zeros_like(right), right.copy()
    p, rr = r.copy(), r @ r
    for _ in range(5):
        z = matrix @ p
        alpha = rr / (p @ z + number)
        x, r = x + alpha * p, r - alpha * z
        p, rr = r + (r @ r) / (rr + number * both) * p, r @ r
    assert iterates.find(x, spaces, [0.0], None) is None
    assert epsilon.find(x, spaces) == (5, pytest.approx(number))


@pytest.mark.parametrize("name", wrongs(*system()))
def test_no_epsilon_is_invented(name):
    matrix, right = system()
    spaces = krylov(matrix, right)
    x = wrongs(matrix, right)[name]
    iterates.find(x, spaces, [0.0], None)
    assert epsilon.find(x, spaces) is None
