"""Loading a subject: what is accepted, and the one sentence about everything else."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from npgcheck.conformance import locate
from npgcheck.conformance.contract import DEFAULT_FAMILIES, QUANTITIES
from npgcheck.conformance.subject import load
from npgcheck.errors import UsageError

KL = "def kl(problem, theta): return 0.0\n"


def written(folder: Path, text: str, name: str = "my_npg.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_contract_has_every_function_of_the_design_in_order():
    assert list(QUANTITIES) == [
        "log_prob", "score", "value", "q_value", "advantage", "state_distribution", "objective",
        "policy_gradient", "surrogate", "fisher", "fisher_vector_product", "kl",
        "natural_gradient", "update", "trust_region_proposal", "trust_region_step", "train",
        "conjugate_gradient", "advantage_estimate",
    ]  # fmt: skip
    assert QUANTITIES["kl"].signature == "kl(problem, theta) -> float"
    assert QUANTITIES["train"].signature.endswith("-> iterable of (D,)")
    assert QUANTITIES["score"].signature == "score(problem, state, action) -> (D,)"


def test_loads_a_file_by_path_and_by_text(tmp_path):
    path = written(tmp_path, KL + "def fisher(problem): return 0\n")
    for target in (path, str(path)):
        subject = load(target)
        assert subject.quantities == ("fisher", "kl")
        assert subject.name == "my_npg.py"
        assert subject.families == DEFAULT_FAMILIES
        assert subject.folders == (str(tmp_path),)


def test_object_inside_a_file(tmp_path):
    path = written(tmp_path, "class Agent:\n    def kl(self, problem, theta): return 0.0\n")
    assert load(f"{path}:Agent").quantities == ("kl",)
    with pytest.raises(UsageError, match=r"my_npg\.py has no 'Agnet'\. Did you mean 'Agent'\?"):
        load(f"{path}:Agnet")


def test_a_file_wins_over_a_module_and_a_module_over_an_adapter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, KL, "json.py")
    assert load("json.py").quantities == ("kl",)
    module = types.ModuleType("sb3_contrib_stand_in")
    module.kl = lambda problem, theta: 0.0
    monkeypatch.setattr(locate, "_is_module", lambda name: name == "sb3_contrib_stand_in")
    monkeypatch.setitem(sys.modules, "sb3_contrib_stand_in", module)
    monkeypatch.setattr(locate, "adapters", lambda: ("sb3_contrib_stand_in",))
    assert load("sb3_contrib_stand_in").quantities == ("kl",)


def test_a_folder_of_that_name_does_not_hide_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "my_package"
    package.mkdir()
    written(package, KL, "__init__.py")
    try:
        assert load("my_package").quantities == ("kl",)
    finally:
        del sys.modules["my_package"]


@pytest.mark.parametrize(
    "target",
    [
        {"kl": lambda problem, theta: 0.0},
        types.SimpleNamespace(kl=lambda problem, theta: 0.0),
    ],
)
def test_objects_and_mappings(target):
    assert load(target).quantities == ("kl",)


def test_instances_classes_and_single_functions():
    class Agent:
        def kl(self, problem, theta):
            return 0.0

    def natural_gradient(problem):
        return problem.theta

    assert load(Agent()).quantities == ("kl",)
    assert load(Agent).quantities == ("kl",)
    assert load(natural_gradient).quantities == ("natural_gradient",)

    class Needy(Agent):
        def __init__(self, network):
            self.network = network

    with pytest.raises(UsageError, match="pass an instance"):
        load(Needy)


def test_methods_that_a_framework_defines_are_no_answers():
    def train(self, mode=True):
        return self

    train.__module__ = "torch.nn.modules.module"

    class Network:
        def kl(self, problem, theta):
            return 0.0

    Network.train = train
    assert load(Network()).quantities == ("kl",)


def test_adapters_are_listed_without_importing_them():
    before = set(sys.modules)
    assert "sb3-contrib" in locate.adapters()
    assert not {m for m in set(sys.modules) - before if m.startswith("npgcheck.adapters.")}


def test_a_missing_extra_is_named(tmp_path):
    path = written(tmp_path, "raise ModuleNotFoundError('no', name='sb3_contrib')\n")
    with pytest.raises(UsageError, match=r'pip install "npgcheck\[sb3\]"'):
        load(path)


def test_helpers_beside_the_file_are_importable_and_kept_apart(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        written(folder, f"WHO = {name!r}\n", "helper_of_subject.py")
        written(folder, "import helper_of_subject\nwho = helper_of_subject.WHO\n" + KL)
    loaded = [load(tmp_path / name / "my_npg.py") for name in ("one", "two")]
    names = [s.functions["kl"].__globals__["who"] for s in loaded]
    assert names == ["one", "two"]
    assert str(tmp_path / "one") not in sys.path


def test_loading_leaves_warnings_and_floating_point_settings_alone(tmp_path):
    import warnings

    import numpy as np

    path = written(
        tmp_path,
        "import numpy as np, warnings\nnp.seterr(all='raise')\n"
        "warnings.warn('at import')\nwarnings.simplefilter('error')\n" + KL,
    )
    settings, filters = np.geterr(), list(warnings.filters)
    load(path)
    assert np.geterr() == settings
    assert list(warnings.filters) == filters


def test_a_misspelt_function_is_noted_not_judged(tmp_path):
    subject = load(written(tmp_path, KL + "def fisher_vector_prod(problem, v): return v\n"))
    assert subject.near_misses == {"fisher_vector_product": "fisher_vector_prod"}
    assert "did you mean fisher_vector_product?" in subject.notes[0]
    assert load({"kl": lambda problem, theta: 0.0, "helper": len}).notes == ()


def test_declarations(tmp_path):
    subject = load(
        written(
            tmp_path,
            "import npgcheck\nfamilies = 'gaussian'\n"
            "conventions = npgcheck.Conventions(damping=0.1)\n"
            "known_failures = {'NPG-F-001': 'the library pads F'}\n" + KL,
        )
    )
    assert subject.families == {"gaussian"}
    assert subject.conventions.damping == 0.1
    assert dict(subject.known_failures) == {"NPG-F-001": "the library pads F"}
    assert load({"kl": lambda p, t: 0.0, "conventions": {"damping": 0.1}}).conventions.damping


def test_a_policy_of_its_own():
    own = {
        "families": {"own"},
        "num_parameters": lambda problem: 3,
        "logits": lambda problem, observations, theta: observations,
        "num_actions": 4,
        "kl": lambda problem, theta: 0.0,
    }
    subject = load(own)
    assert set(subject.policy_functions) == {"num_parameters", "logits"}
    assert dict(subject.policy_sizes) == {"num_actions": 4}
    without = {k: v for k, v in own.items() if k != "families"}
    # a helper called logits means nothing unless the policy is declared as the subject's own
    assert load({**without, "logits": lambda x: x}).policy_functions == {}
    with pytest.raises(UsageError, match="needs num_parameters"):
        load({**own, "mean_log_std": lambda problem, observations, theta: 0})
    with pytest.raises(UsageError, match="num_actions is 0; it must be a positive integer"):
        load({**own, "num_actions": 0})


WRONG = {
    "def kl(problem): return 0": r"kl\(problem\) cannot be called .* define kl\(problem, theta\)",
    "def kl(theta, problem): return 0": r"arguments in another order; define kl\(problem, theta\)",
    "def kl(problem, theta, *, key): return 0": r"kl\(problem, theta, \*, key\) cannot be called",
    "kl = 3": r"kl is an int, not a function; the contract asks for kl\(problem, theta\) -> float",
    "x = 1": "defines no function of the contract.*npgcheck new",
    "def natural_grad(problem): return 0": r"natural_grad is not one\. Did you mean natural_grad",
    "1 / 0": r"cannot be imported: ZeroDivisionError: division by zero \(my_npg\.py, line 1\)",
    "def f(:": r"cannot be imported: invalid syntax \(my_npg\.py, line 1\)",
    "import sys; sys.exit(3)": r"cannot be imported: SystemExit: 3",
    "import not_installed_anywhere": "No module named 'not_installed_anywhere'",
    KL + "families = {'softmx'}": "no family 'softmx'.*Did you mean 'softmax'",
    KL + "families = set()": "families is empty",
    KL + "families = 3": "families is an int",
    KL + "conventions = 3": "conventions is an int; write conventions = npgcheck.Conventions",
    KL + "conventions = {'dampng': 1}": "no field 'dampng'.*Did you mean 'damping'",
    KL + "known_failures = {'NPG-F-01': 'why'}": "no check 'NPG-F-01'.*Did you mean 'NPG-F-0",
    KL + "known_failures = {'NPG-F-001': ''}": "NPG-F-001 needs a reason",
    KL + "known_failures = ['NPG-F-001']": "known_failures is a list",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, text):
    with pytest.raises(UsageError, match=WRONG[text]) as caught:
        load(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "the target is empty"),
        ("no_such_thing", "no file, module or adapter 'no_such_thing'"),
        ("sb3-contrb", "Did you mean 'sb3-contrib'"),
        ("json:kl", "json has no 'kl'"),
        ("json.nothing", "there is no module 'json.nothing': 'json' has no 'nothing'"),
        ("./absent.py", r"there is no file absent\.py"),
        ("no_folder/absent.py", "the folder no_folder does not exist"),
    ],
)
def test_targets_that_do_not_exist(target, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        load(target)


def test_nearest_file_folders_and_other_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, KL)
    written(tmp_path, "{}", "data.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"Did you mean 'my_npg\.py'\?"):
        load("my_ngp.py")
    with pytest.raises(UsageError, match="folder is a folder; give the Python file"):
        load("folder")
    with pytest.raises(UsageError, match=r"data\.json is not a Python file"):
        load("data.json")


def test_shapes_of_right_answers():
    problem = types.SimpleNamespace(
        num_states=4, num_actions=3, theta=types.SimpleNamespace(shape=(6,))
    )
    shapes = {
        name: QUANTITIES[name].shape_for(problem)
        for name in ("value", "q_value", "objective", "score", "fisher")
    }
    assert shapes == {
        "value": (4,), "q_value": (4, 3), "objective": (), "score": (6,), "fisher": (6, 6)
    }  # fmt: skip
    assert QUANTITIES["train"].shape_for(problem, 5, 0.1) == (5, 6)
    assert QUANTITIES["conjugate_gradient"].shape_for(None, None, [0.0] * 7, 3) == (7,)
    assert QUANTITIES["advantage_estimate"].shape_for(None, [0.0] * 9) == (9,)


def test_ordinary_helpers_are_no_misspelt_functions():
    def two(a, b): ...
    def one(problem): ...
    def three(problem, state, action): ...

    helpers = dict.fromkeys(("values", "advantages", "policy", "natural", "fishers", "k"), one)
    helpers |= dict.fromkeys(("scores", "log_probs", "score_of"), three)
    assert load({"kl": lambda problem, theta: 0.0, **helpers}).notes == ()
    kl = {"kl": lambda problem, theta: 0.0}
    slips = {"vlaue": one, "policy_gradeint": one, "fisher_vector_prod": two, "scor": three}
    assert set(load({**kl, **slips}).near_misses) == {
        "value",
        "policy_gradient",
        "fisher_vector_product",
        "score",
    }
    assert load({**kl, "policy_gradeint": two, "scor": one}).notes == ()
    assert load({**kl, "fischer": one, "fisher": one}).notes == ()
