"""Other right solvers are told from wrong ones, on systems whose answers are computed apart."""

import numpy as np
import pytest
import scipy.sparse.linalg as linalg
from steps import check, make, names, result

import npgcheck
from npgcheck.step import iterates, solvers
from npgcheck.step.controls import heads
from npgcheck.step.controls.mistakes import MISTAKES
from npgcheck.step.krylov import Krylov
from npgcheck.step.verdict import Verdict


def system(size=60, condition=1e3, seed=0):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    spectrum = np.geomspace(1.0, 1.0 / condition, size)
    matrix = basis @ (spectrum[:, None] * basis.T)
    scale = np.exp(0.3 * rng.standard_normal(size))  # so that a diagonal preconditions something
    return scale[:, None] * matrix * scale, rng.standard_normal(size)


def spaces(matrix, right, unit=2.0**-53, grown=40):
    """The spaces, as far as a search has built them."""
    made = Krylov(lambda v: matrix @ v, right, unit)
    made.grow(grown)
    return made


def recurrence(matrix, b, k, beta=lambda new, old: new / old, start=None, diagonal=1.0):
    """Conjugate gradient as textbooks print it, with what may be changed."""
    x = np.zeros_like(b) if start is None else start.copy()
    r = b - matrix @ x
    z = r / diagonal
    p, square = z.copy(), r @ z
    for _ in range(k):
        image = matrix @ p
        x, r = x + square / (p @ image) * p, r - square / (p @ image) * image
        z = r / diagonal
        p, square = z + beta(r @ z, square) * p, r @ z
    return x


def old_residual(matrix, b, k):
    x, r = np.zeros_like(b), b.copy()
    p, square = r.copy(), r @ r
    for _ in range(k):
        image = matrix @ p
        before = r
        x, r = x + square / (p @ image) * p, r - square / (p @ image) * image
        p, square = before + r @ r / square * p, r @ r
    return x


def root(matrix, b):
    spectrum, vectors = np.linalg.eigh(matrix)
    return vectors @ (vectors.T @ b / np.sqrt(spectrum))


WRONG = {
    "cg-is-steepest-descent": lambda m, b: recurrence(m, b, 7, lambda new, old: 0.0),
    "cg-beta-inverted": lambda m, b: recurrence(m, b, 5, lambda new, old: old / new),
    "cg-residual-minus-direction": lambda m, b: recurrence(m, b, 5, lambda new, old: -new / old),
    "cg-beta-is-one": lambda m, b: recurrence(m, b, 5, lambda new, old: 1.0),
    "cg-returns-the-residual": lambda m, b: b - m @ recurrence(m, b, 6),
    "": lambda m, b: old_residual(m, b, 5),
}


@pytest.mark.parametrize("unit", [2.0**-53, 2.0**-24], ids=["double", "single"])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_recurrence_is_named(name, unit):
    matrix, right = system()
    x = WRONG[name](matrix, right)
    if unit > 1e-12:
        x = x.astype(np.float32).astype(float)
    assert solvers.mistaken(x, spaces(matrix, right, unit)).name == name


def test_a_square_root_is_named():
    matrix, right = system(condition=50.0)
    made = spaces(matrix, right, grown=60)
    assert solvers.mistaken(root(matrix, right), made).name == "square-root-of-F"


def test_names_of_mistakes_are_registered():
    from npgcheck.step.names import entry

    assert {entry(name).kind for name, *_ in solvers.RECURRENCES if name} == {"bug"}


def jacobi(matrix, b):
    return recurrence(matrix, b, 10, diagonal=np.diag(matrix))


def near_zero(matrix, b):
    start = 1e-4 * np.random.default_rng(3).standard_normal(len(b))
    return recurrence(matrix, b, 12, start=start)


def warm(matrix, b):
    solution = np.linalg.solve(matrix, b)
    noise = np.random.default_rng(3).standard_normal(len(b))
    start = solution + 0.3 * np.linalg.norm(solution) / np.linalg.norm(noise) * noise
    return recurrence(matrix, b, 30, start=start)


RIGHT = {"jacobi": jacobi, "start near zero": near_zero, "warm start": warm}


@pytest.mark.parametrize("condition", [10.0, 1e2, 1e3])
@pytest.mark.parametrize("style", RIGHT)
def test_a_right_solver_is_spared(style, condition):
    matrix, right = system(condition=condition)
    made = spaces(matrix, right)
    x = RIGHT[style](matrix, right)
    assert solvers.mistaken(x, made) is None
    assert solvers.approximates(x, made)


@pytest.mark.parametrize("k", [3, 6, 10])
def test_a_minimal_residual_is_recognised(k):
    matrix, right = system()
    x = linalg.gmres(matrix, right, rtol=1e-14, restart=k, maxiter=1)[0]
    assert solvers.minimal_residual(x, spaces(matrix, right)) == k
    assert solvers.minimal_residual(recurrence(matrix, right, k), spaces(matrix, right)) is None
    again = linalg.minres(matrix, right, rtol=1e-14, maxiter=k)[0]
    assert x == pytest.approx(again, rel=1e-7)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_another_right_side_is_refuted(share, seed):
    matrix, right = system(seed=seed)
    noise = np.random.default_rng(seed + 100).standard_normal(len(right))
    noise *= share * np.linalg.norm(right) / np.linalg.norm(noise)
    made = spaces(matrix, right)
    x = np.linalg.solve(matrix, right + noise)
    assert not solvers.inside(x, made)
    assert solvers.approximates(x, made) == ""
    assert solvers.undetermined(x, made, True) is None


def single_precision():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    matrix, right = (
        basis @ (np.geomspace(1.0, 1e-7, 60)[:, None] * basis.T),
        rng.standard_normal(60),
    )
    single = matrix.astype(np.float32)
    made = Krylov(lambda v: (single @ v.astype(np.float32)).astype(float), right, 2.0**-24)
    return matrix, made


def test_single_precision_on_an_ill_conditioned_system_is_left_undetermined():
    matrix, made = single_precision()
    x = made.plain(12, 0.0)
    disturbed = made.plain(12, 0.0, wobble=True)
    assert np.linalg.norm(x - disturbed) > 1e-2 * np.linalg.norm(x)  # two right runs
    made.grow(20)
    assert solvers.undetermined(disturbed, made, True) > 1e-2
    assert solvers.undetermined(1.2 * disturbed, made, True) is None
    assert solvers.undetermined(disturbed, spaces(matrix, made.right, grown=12), True) is None


def test_what_leaves_the_spaces_is_not_excused_by_rounding():
    _, made = single_precision()
    made.grow(30)
    x = made.plain(25, 0.0, wobble=True)
    assert solvers.undetermined(x, made, True)
    noise = np.random.default_rng(1).standard_normal(len(x))
    off = x + 0.05 * np.linalg.norm(x) * noise / np.linalg.norm(noise)
    assert solvers.undetermined(off, made, True) is None
    wrong = np.clip(x, -np.abs(x).max() / 2, np.abs(x).max() / 2)
    assert solvers.undetermined(wrong, made, True) is None


def test_a_factor_is_claimed_only_where_the_iterate_is_known():
    _, made = single_precision()
    made.grow(30)
    x = made.plain(20, 0.0, wobble=True)
    assert iterates.multiple(x, made, 2) is None


# ---- what right code was accused of -------------------------------------------------------------


def whole(step):
    """The matrix of the exact Fisher matrix."""
    return np.stack([step.fisher(e) for e in np.eye(len(step.theta))])


@pytest.mark.parametrize("declared", [{}, {"damping": 0.1}])
def test_a_preconditioned_solve_that_adds_its_own_damping(declared):
    step = make(heads.gaussian(2), rows=80)
    matrix, g = whole(step) + 0.1 * np.eye(len(step.theta)), step.gradient()
    x = recurrence(matrix, g, 4, diagonal=np.diag(matrix))
    conventions = npgcheck.Conventions(**declared, damping_in="solve") if declared else None
    given = {"fisher_vector_product": step.fisher, "direction": x, "conventions": conventions}
    report = check(step, "gradient", **given)
    assert report.passed, report
    report = check(step, "gradient", **{**given, "direction": 1.5 * x})
    assert not report.passed


def test_a_direction_with_a_declared_bonus_and_without_the_gradient():
    step = make(heads.categorical(4), rows=80)
    bonus = step.pull_back(step.head.entropy_score(step.outputs(step.theta)))
    matrix = whole(step) + 0.1 * np.eye(len(step.theta))
    x = np.linalg.solve(matrix, step.gradient() + 0.05 * bonus)

    def product(v):
        return matrix @ v

    given = {"fisher_vector_product": product, "direction": x}
    conventions = npgcheck.Conventions(entropy=0.05, damping=0.1)
    assert check(step, **given, conventions=conventions).passed
    other = npgcheck.Conventions(entropy=0.5, damping=0.1)
    assert not check(step, **given, conventions=other).passed


def test_a_declared_bonus_that_has_no_gradient_is_not_missed():
    """The entropy of a Gaussian depends on σ alone; here σ is no parameter."""
    step = make(heads.gaussian(2), rows=80)
    free = step.theta[-2:]

    def policy(theta, observations):
        return step.policy(np.concatenate([theta, free]), observations)

    fixed = {"policy": policy, "theta": step.theta[:-2], "gradient": step.gradient()[:-2]}
    assert check(step, **fixed, conventions=npgcheck.Conventions(entropy=0.01)).passed


def test_no_advantage_asks_for_no_direction():
    step = make(heads.gaussian(2), rows=80)
    nothing = {"advantages": np.zeros(len(step.advantages)), "direction": 0.0 * step.theta}
    assert check(step, **nothing).passed
    assert not check(step, direction=0.0 * step.theta).passed


def test_an_iterate_of_minres_without_the_gradient_is_left_open():
    step = make(heads.gaussian(2), rows=80)
    matrix, g = whole(step) + 0.1 * np.eye(len(step.theta)), step.gradient()
    x = linalg.minres(matrix, g, maxiter=3)[0]

    def product(v):
        return matrix @ v

    report = check(step, fisher_vector_product=product, direction=x)
    assert report.passed
    for scale in (0.7, 2.0):  # too short, as an iterate of another λ would be, and too long
        assert not check(step, fisher_vector_product=product, direction=scale * x).passed


def test_a_solver_that_damps_a_damped_product_again_is_refuted():
    step = make(heads.gaussian(2), rows=80)
    size = np.eye(len(step.theta))
    matrix, g = whole(step) + 0.1 * size, step.gradient()
    twice = recurrence(matrix + 0.05 * size, g, 4, diagonal=np.diag(matrix))

    def product(v):
        return matrix @ v

    assert not check(step, "gradient", fisher_vector_product=product, direction=twice).passed


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_products_by_central_differences_are_an_approximation(damping):
    step = make(heads.gaussian(2), rows=80)
    matrix = whole(step)
    rough = np.random.default_rng(1).standard_normal(matrix.shape)
    near = matrix * (1.0 + 1e-9 * rough) + damping * np.eye(len(matrix))

    report = check(step, "gradient", fisher_vector_product=lambda v: near @ v)
    assert report.passed, report
    said = [d.choice for r in report.results for d in r.diagnosis if r.quantity != "log_prob"]
    assert "finite-difference-eps" in said
    far = matrix * (1.0 + 1e-4 * rough) + damping * np.eye(len(matrix))
    assert not check(step, "gradient", fisher_vector_product=lambda v: far @ v).passed


@pytest.mark.parametrize(("aside", "named"), [(0.0, True), (6e-6, False)])
def test_x_is_called_the_gradient_only_as_far_as_it_is_rounded(aside, named):
    """A wrong recurrence may come within a few parts in a million of the direction of g."""
    step = make(heads.gaussian(2), rows=80)
    g = step.gradient()
    other = np.random.default_rng(3).standard_normal(len(g))
    other -= other @ g / (g @ g) * g
    x = 2.6 * (g + aside * np.linalg.norm(g) / np.linalg.norm(other) * other)
    report = check(step, "gradient", "fisher_vector_product", direction=x)
    assert not report.passed
    said = [d.choice for r in report.results for d in r.diagnosis]
    assert ("preconditioner-not-applied" in said) is named


def test_a_wrong_recurrence_is_told_where_single_precision_cannot_refute_its_residual():
    # 10 steps of steepest descent on 30 parameters: the residual is within float32's budget
    step = make(heads.multi_discrete((3, 2)), (5,), 2, 120, "float32", "linear")
    mistake = next(m for m in MISTAKES if m.choice == "cg-is-steepest-descent")
    report = check(mistake.apply(step), "fisher_vector_product", "gradient", "direction")
    found = result(report, "natural_gradient")
    assert found.worst < 1.0
    assert found.status == "fail"
    assert names(report, "natural_gradient") == ["cg-is-steepest-descent"]


def test_an_answer_without_a_right_digit_is_no_pass():
    for digits, status in ((0.4, "skip"), (1.2, "pass")):
        (found,) = Verdict("policy_gradient", ratio=0.8, digits=digits).results()
        assert found.status == status
    assert Verdict("policy_gradient", digits=0.0).results()[0].status == "pass"  # exactly zero


def kinked(**more):
    """A unit stands 1e-9 before its kink in one of 20 rows: F is known to two digits only."""
    step = make(heads.categorical(3), (4, 8), 1, 20, activation="relu", **more)
    weight, bias = step.network._unpack(step.theta)[0][:2]
    row = step.observations[0]
    row -= (row @ weight[:, 0] + bias[0] - 1e-9) * weight[:, 0] / (weight[:, 0] @ weight[:, 0])
    return step


def test_a_declared_damping_that_a_kink_hides_is_believed():
    declared = npgcheck.Conventions(damping=1e-3, damping_in="product")
    parts = ("gradient", "fisher_vector_product", "direction")
    report = check(kinked(damping=1e-3), *parts, conventions=declared)
    assert report.passed, str(report)


@pytest.mark.parametrize(("scale", "status"), [(1e-5, "deviates"), (1.0, "fail")])
def test_a_direction_of_zero_is_judged_without_the_gradient_too(scale, status):
    step = make()
    tiny = scale * step.advantages
    report = check(step, advantages=tiny, direction=np.zeros_like(step.theta))
    assert result(report, "natural_gradient").status == status
    # no advantages, no gradient: then zero is the solution
    report = check(step, advantages=0.0 * tiny, direction=np.zeros_like(step.theta))
    assert result(report, "natural_gradient").status == "pass"


def test_a_variant_with_the_same_numbers_explains_nothing():
    # log σ is no parameter here, so that every block for it is the right one
    rng = np.random.default_rng(0)
    observations, theta = rng.standard_normal((200, 3)), rng.standard_normal(6)
    actions, advantages = rng.standard_normal((200, 2)), rng.standard_normal(200)
    spread = np.full((200, 2), -2.0)

    def policy(at, rows):
        return rows @ at.reshape(3, 2), spread

    def product(v):  # by finite differences, so that it is a little off
        exact = observations.T @ (observations @ v.reshape(3, 2)) * np.exp(4.0) / 200
        return exact.ravel() * (1.0 + 1e-9 * np.sin(1e3 * v))

    report = npgcheck.check_step(
        policy, theta, observations, actions, advantages, fisher_vector_product=product
    )
    assert names(report, "fisher_vector_product") == ["finite-difference-eps"]


def test_a_declared_damping_that_the_solver_forgot_is_refuted_in_single_precision():
    # budgets of single precision let a declared λ fit much: the user's own system tells
    step = make(dtype="float32", damping=0.0, iterations=60)
    declared = npgcheck.Conventions(damping=0.05, damping_in="solve")
    parts = ("gradient", "fisher_vector_product", "direction")
    assert result(check(step, *parts, conventions=declared), "natural_gradient").status == "fail"


def test_a_declared_damping_above_what_a_kink_hides_is_refuted():
    declared = npgcheck.Conventions(damping=10.0, damping_in="product")
    parts = ("gradient", "fisher_vector_product", "direction")
    report = check(kinked(damping=0.0), *parts, conventions=declared)
    assert "λ = 10 is declared" in result(report, "natural_gradient").reason


@pytest.mark.parametrize("solved", [0.1, 0.2])
def test_another_damping_in_single_precision_is_refuted_without_the_gradient(solved):
    step = make(dtype="float32", damping=0.1)
    step.damping = solved
    direction = step.solve(step.gradient())
    step.damping = 0.1
    report = check(step, "fisher_vector_product", direction=direction)
    assert (result(report, "natural_gradient").status == "fail") is (solved != 0.1)


@pytest.mark.parametrize(
    ("top", "few", "seed", "k"), [(1e3, 12, 2, 8), (1e4, 6, 2, 5), (1e5, 3, 1, 3)]
)
def test_single_precision_that_loses_conjugacy_is_not_accused(top, few, seed, k):
    # a few large eigenvalues over a floor: right runs break gᵀx = xᵀ(F + λI)x by 6 % and more
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    spectrum = np.concatenate([np.geomspace(top, 1.0, few), np.zeros(60 - few)]) + 0.1
    matrix = (basis @ (spectrum[:, None] * basis.T)).astype(np.float32)
    right = (basis @ (np.sqrt(spectrum) * rng.standard_normal(60))).astype(np.float32)
    made = Krylov(
        lambda v: (matrix @ v.astype(np.float32)).astype(float), right.astype(float), 2.0**-24
    )
    made.grow(20)
    x = recurrence(matrix, right, k).astype(float)
    assert abs(solvers._gap(x, made)) > 0.05
    assert solvers.undetermined(x, made, True)
    # what is wrong by more than that is
    assert solvers.undetermined(0.6 * x, made, True) is None
    assert solvers.undetermined(1.4 * x, made, True) is None
