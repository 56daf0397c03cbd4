"""A wrong direct solve is known by its function of the matrix; nothing else gets such a name."""

import numpy as np
import pytest
from steps import check, make, names, result

import npgcheck
from npgcheck.step import spectral
from npgcheck.step.krylov import Krylov

SIZE, RANK = 40, 30


def system(seed=0, condition=1e3, rank=RANK):
    """A singular F, and g in its range."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0][:, :rank]
    spectrum = np.geomspace(1.0, 1.0 / condition, rank)
    return basis @ (spectrum[:, None] * basis.T), basis @ rng.standard_normal(rank)


def krylov(matrix, right, unit=2.0**-53):
    return Krylov(lambda v: matrix @ v, right, unit)


def told(x, matrix, right, damping=0.0, unit=2.0**-53):
    found = spectral.explain(x, krylov(matrix, right, unit), damping)
    return [(d.choice, d.value) for d in found]


EYE = np.eye(SIZE)


def pinv(m, cut=1e-9):
    return np.linalg.pinv(m, rcond=cut, hermitian=True)


def power(m, exponent):
    values, vectors = np.linalg.eigh(m)
    kept = values > 1e-9
    return vectors[:, kept] @ (values[kept, None] ** exponent * vectors[:, kept].T)


WRONG = {
    ("damping-subtracted", 0.02): lambda m, g: np.linalg.solve(m - 0.02 * EYE, g),
    ("damping-subtracted", 0.0137): lambda m, g: np.linalg.solve(m - 0.0137 * EYE, g),
    ("damping-added-to-the-inverse", 0.1): lambda m, g: pinv(m) @ g + 0.1 * g,
    ("ridge-on-normal-equations", 1e-3): lambda m, g: np.linalg.solve(
        m.T @ m + 1e-3 * EYE, m.T @ g
    ),
    ("shrinkage", 0.05): lambda m, g: np.linalg.solve(0.95 * m + 0.05 * EYE, g),
    ("marquardt-damping", 0.1): lambda m, g: np.linalg.lstsq(
        m + 0.1 * np.diag(np.diag(m)), g, rcond=None
    )[0],
    ("pseudo-inverse-cut-off", 0.01): lambda m, g: pinv(m, 0.009) @ g,
    ("square-root-of-F", None): lambda m, g: power(m, -0.5) @ g,
    ("inverse-applied-twice", None): lambda m, g: power(m, -2.0) @ g,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WRONG, ids=lambda n: f"{n[0]} {n[1]}")
def test_a_wrong_direct_solve_is_named(name, seed):
    matrix, right = system(seed)
    found = told(WRONG[name](matrix, right), matrix, right)
    assert [n for n, _ in found] == [name[0]]
    assert found[0][1] == (None if name[1] is None else pytest.approx(name[1], rel=1e-6))


@pytest.mark.parametrize("name", ["square-root-of-F", "inverse-applied-twice"])
def test_powers_of_a_damped_matrix_tell_the_damping(name):
    matrix, right = system()
    exponent = -0.5 if name == "square-root-of-F" else -2.0
    x = power(matrix + 0.05 * EYE, exponent) @ right
    assert told(x, matrix, right) == [(name, None), ("damping", 0.05)]


def test_marquardt_damping_with_a_ridge_beside_it_is_named():
    matrix, right = system()
    x = np.linalg.solve(matrix + 0.1 * np.diag(np.diag(matrix)) + 0.001 * EYE, right)
    assert told(x, matrix, right) == [("marquardt-damping", 0.1), ("damping", 0.001)]


def steepest(matrix, right, k):
    x = np.zeros_like(right)
    for _ in range(k):
        r = right - matrix @ x
        x = x + (r @ r) / (r @ matrix @ r) * r
    return x


OTHERS = {
    "solution": lambda m, g: pinv(m) @ g,
    "damped": lambda m, g: np.linalg.solve(m + 0.1 * EYE, g),
    "hardly damped": lambda m, g: np.linalg.solve(m + 1e-8 * EYE, g),
    "a multiple": lambda m, g: 1.3 * pinv(m) @ g,
    "disturbed": lambda m, g: pinv(m) @ g + 1e-3 * np.random.default_rng(1).standard_normal(SIZE),
    "two numbers": lambda m, g: 1.2 * np.linalg.solve(m + 0.1 * EYE, g) + 0.1 * g,
    "steepest descent": lambda m, g: steepest(m, g, 5),
    "gradient descent": lambda m, g: sum(
        np.linalg.matrix_power(EYE - 0.5 * m, k) @ g for k in range(9)
    ),
    "another right side": lambda m, g: np.linalg.solve(
        m + 0.1 * EYE, g + 0.1 * np.random.default_rng(2).standard_normal(SIZE)
    ),
    "F + θ": lambda m, g: np.linalg.solve(m + np.diag(np.linspace(0.1, 0.2, SIZE)), g),
    "random": lambda m, g: np.random.default_rng(3).standard_normal(SIZE),
}


@pytest.mark.parametrize("unit", [2.0**-53, 2.0**-24], ids=["double", "single"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OTHERS)
def test_nothing_else_gets_a_name(name, seed, unit):
    matrix, right = system(seed)
    assert told(OTHERS[name](matrix, right), matrix, right, unit=unit) == []


@pytest.mark.parametrize("distinct", [1, 2])
def test_few_eigenvalues_tell_no_function(distinct):
    matrix, right = system()
    vectors = np.linalg.eigh(matrix)[1]
    few = np.where(np.arange(SIZE) < SIZE // 2, 0.5, 0.5 * distinct)
    matrix = vectors @ (few[:, None] * vectors.T)
    x = np.linalg.solve(matrix - 0.1 * EYE, right)
    assert told(x, matrix, right) == []


@pytest.mark.parametrize("more", [1e-9, 1e-8, 1e-6, 1e-4])
def test_a_little_damping_is_no_shrinkage(more):
    matrix, right = system()
    damped = matrix + 0.001 * EYE
    assert told(np.linalg.solve(damped + more * EYE, right), damped, right, 0.001) == []


def test_a_matrix_that_is_not_symmetric_is_left_alone():
    matrix, right = system()
    matrix = matrix + 1e-6 * np.triu(np.ones_like(matrix), 1)
    assert told(np.linalg.solve(matrix - 0.02 * EYE, right), matrix, right) == []


def test_less_damping_than_the_products_is_not_subtracted():
    matrix, right = system()
    damped = matrix + 0.1 * EYE
    assert told(np.linalg.solve(matrix + 0.03 * EYE, right), damped, right, 0.1) == []
    found = told(np.linalg.solve(matrix - 0.03 * EYE, right), damped, right, 0.1)
    assert found == [("damping-subtracted", pytest.approx(0.03))]


def test_a_cut_off_tells_its_interval():
    matrix, right = system()
    found = spectral.explain(pinv(matrix, 0.02) @ right, krylov(matrix, right), 0.0)
    values = np.linalg.eigvalsh(matrix)
    assert f"{int((values > 0.02).sum())} of {RANK} are kept" in found[0].note
    assert found[0].kind == "approximation"


@pytest.mark.parametrize("form", ["tr F/D", "tr F", "λ_max"])
def test_relative_damping_is_told(form):
    matrix, right = system()
    top = np.linalg.eigvalsh(matrix)[-1]
    unit = {"tr F/D": np.trace(matrix) / SIZE, "tr F": np.trace(matrix), "λ_max": top}[form]
    unit *= 1.2345678  # so that no share of another size is round
    matrix = matrix * 1.2345678
    x = np.linalg.solve(matrix + 0.05 * unit * EYE, right)
    found, solved = spectral.relative(x, krylov(matrix, right), 0.0)
    assert solved
    assert [d.choice for d in found] == ["damping", "relative-damping"]
    assert found[1].value == pytest.approx(0.05)
    assert form in found[1].note
    odd = np.linalg.solve(matrix + 0.0512345 * unit * EYE, right)
    assert spectral.relative(odd, krylov(matrix, right), 0.0) == ([], False)


def undamped(solve):
    step = make()
    step.damping = 0.0

    def made(s, right, g):
        matrix = np.array([s.product(e) for e in np.eye(len(g))])
        return solve(0.5 * (matrix + matrix.T), g)

    step.changed["solve"] = made
    return step


def test_conventions_deviate_and_are_not_offered_as_damping():
    step = undamped(lambda m, g: np.linalg.solve(0.9 * m + 0.1 * np.eye(len(g)), g))
    report = check(step, "gradient", "fisher_vector_product", "direction")
    assert result(report, "natural_gradient").status == "deviates"
    assert names(report, "natural_gradient") == ["shrinkage"]
    assert "npgcheck explain shrinkage" in str(report)
    assert "damping=" not in report.declare
    held = check(
        step,
        "gradient",
        "fisher_vector_product",
        "direction",
        conventions=npgcheck.Conventions(damping=0.1),
    )
    assert result(held, "natural_gradient").status == "fail"


def test_relative_damping_is_declared_by_its_number():
    def solve(m, g):
        return np.linalg.solve(m + 0.1 * np.trace(m) / len(g) * np.eye(len(g)), g)

    step = undamped(solve)
    parts = ("gradient", "fisher_vector_product", "direction")
    report = check(step, *parts)
    assert names(report, "natural_gradient") == ["damping", "relative-damping"]
    made = eval(report.declare.removeprefix("conventions = "), {"npgcheck": npgcheck})
    assert result(check(step, *parts, conventions=made), "natural_gradient").status == "pass"
