"""Loading a subject: the implementation under test, from a file, a module, an adapter or an object.

A path to a file that exists wins over a module, and a module over an adapter. Whatever is wrong
with a subject's definition is a :class:`~npgcheck.errors.UsageError` in one sentence; what goes
wrong later, inside a call, is a finding and belongs to :mod:`npgcheck.conformance.guard`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from npgcheck.conformance.check_ids import CHECK_SETS
from npgcheck.conformance.contract import (
    DEFAULT_FAMILIES,
    FAMILIES,
    POLICY_FUNCTIONS,
    POLICY_SIZES,
    QUANTITIES,
    in_order,
)
from npgcheck.errors import UsageError, nearest

_FRAMEWORKS = ("torch", "jax", "flax", "tensorflow", "gymnasium", "stable_baselines3", "sklearn")
"""Packages whose base classes define methods (``train``, ``score``) that are no answers of ours."""


@dataclass(frozen=True)
class Subject:
    """An implementation under test.

    Attributes:
        name: how a report calls it.
        functions: the contract functions that it defines, in the contract's order.
        families: policy families that it claims to answer.
        conventions: what it declares, or None to infer everything.
        known_failures: check id → why it is known to fail.
        policy_functions: the functions of a policy of its own (``families = {"own"}``).
        policy_sizes: the sizes that such a policy fixes, e.g. ``{"num_actions": 3}``.
        near_misses: contract name → the subject's public function that looks like it.
        folders: folders that are importable while the subject is loaded and called.
        target: what a second process loads to get the same subject, or "".
    """

    name: str
    functions: Mapping[str, Callable[..., Any]]
    families: frozenset[str] = DEFAULT_FAMILIES
    conventions: Any = None
    known_failures: Mapping[str, str] = field(default_factory=dict)
    policy_functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    policy_sizes: Mapping[str, int] = field(default_factory=dict)
    near_misses: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    target: str = ""

    @property
    def quantities(self) -> tuple[str, ...]:
        """The quantities that it answers, in the contract's order."""
        return in_order(self.functions)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the report, one line each."""
        return tuple(
            f"{yours} is not part of the contract, so it was not judged; did you mean {name}?"
            for name, yours in self.near_misses.items()
        )


def load(target: Any) -> Subject:
    """Loads a subject.

    Args:
        target: a path or the text of one, a ``module`` or ``module:object``, an adapter's name, or
            an object: a module, a mapping, a class, an instance, or one contract function.

    Raises:
        UsageError: it does not exist, does not import, or does not fit the contract.
    """
    from npgcheck.conformance import locate

    if isinstance(target, Subject):
        return target
    if isinstance(target, (str, Path)):
        found = locate.find(str(target))
        return subject_from(found.obj, found.name, folders=found.folders, target=found.target)
    return subject_from(target, _name_of(target))


def subject_from(
    obj: Any, name: str, *, folders: tuple[str, ...] = (), target: str = ""
) -> Subject:
    """Reads the contract off an object; see :func:`load`."""
    obj = _instance(obj, name)
    members = _members(obj)
    functions = {q: _checked(name, q, members[q]) for q in QUANTITIES if q in members}
    if not functions:
        raise UsageError(_nothing(name, _near_misses(obj, members)))
    misses = _misspelt(obj, members)
    families = _families(name, members.get("families"))
    own = _own_policy(name, members) if "own" in families else {}
    return Subject(
        name=name,
        functions=MappingProxyType(functions),
        families=families,
        conventions=_conventions(name, members.get("conventions")),
        known_failures=MappingProxyType(check_known_failures(name, members.get("known_failures"))),
        policy_functions=MappingProxyType(own),
        policy_sizes=MappingProxyType(_sizes(name, members) if own else {}),
        near_misses=MappingProxyType(misses),
        folders=folders,
        target=target,
    )


def _name_of(obj: Any) -> str:
    if isinstance(obj, (ModuleType, type)) or inspect.isroutine(obj):
        return str(getattr(obj, "__name__", type(obj).__name__))
    return type(obj).__name__ if not isinstance(obj, Mapping) else "subject"


def _instance(obj: Any, name: str) -> Any:
    """An object with attributes: a class is instantiated, a lone contract function wrapped."""
    if isinstance(obj, type):
        try:
            return obj()
        except Exception as error:
            raise UsageError(
                f"{name} is a class that cannot be made without arguments ({error}); "
                f"pass an instance of it."
            ) from error
    if inspect.isroutine(obj) and getattr(obj, "__name__", "") in QUANTITIES:
        return {obj.__name__: obj}
    return obj


def _members(obj: Any) -> dict[str, Any]:
    """Everything of the contract that the object carries, functions and declarations."""
    names = (
        *QUANTITIES,
        *POLICY_FUNCTIONS,
        *POLICY_SIZES,
        "families",
        "conventions",
        "known_failures",
    )
    if isinstance(obj, Mapping):
        return {n: obj[n] for n in names if n in obj}
    found = {}
    for name in names:
        member = getattr(obj, name, None)
        if member is not None and not _inherited_from_framework(member):
            found[name] = member
    return {n: m for n, m in found.items() if not isinstance(m, ModuleType)}


def _inherited_from_framework(member: Any) -> bool:
    home = getattr(member, "__module__", None) if callable(member) else None
    return isinstance(home, str) and home.split(".")[0] in _FRAMEWORKS


def _checked(name: str, quantity: str, function: Any) -> Callable[..., Any]:
    contract = QUANTITIES[quantity]
    return _fits(name, function, quantity, contract.parameters, contract.signature)


def _fits(
    name: str, function: Any, function_name: str, parameters: tuple[str, ...], wanted: str
) -> Callable[..., Any]:
    """The function, if the contract's positional arguments can be passed to it."""
    if not callable(function):
        raise UsageError(
            f"{name}: {function_name} is {_article(type(function).__name__)}, not a function; "
            f"the contract asks for {wanted}. Rename it if it is something else."
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature: the first call will tell
        return function
    got = f"{function_name}{_bare(signature)}"
    try:
        signature.bind(*parameters)
    except TypeError:
        raise UsageError(
            f"{name}: {got} cannot be called with the contract's arguments; define {wanted}."
        ) from None
    positional = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ][: len(parameters)]
    if sorted(positional) == sorted(parameters) and tuple(positional) != parameters:
        raise UsageError(f"{name}: {got} has its arguments in another order; define {wanted}.")
    return function


def _bare(signature: inspect.Signature) -> str:
    """The signature without annotations: only names, order and defaults matter here."""
    empty = inspect.Parameter.empty
    parameters = [p.replace(annotation=empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=empty))


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _public_functions(obj: Any) -> list[str]:
    """Names of the functions that the object itself defines."""
    if isinstance(obj, Mapping):
        return [n for n, f in obj.items() if isinstance(n, str) and callable(f)]
    if isinstance(obj, ModuleType):
        own = vars(obj)
        return [
            n
            for n, f in own.items()
            if inspect.isfunction(f) and f.__module__ == obj.__name__ and not n.startswith("_")
        ]
    defined = {n for base in type(obj).__mro__[:-1] for n in vars(base)} | set(
        getattr(obj, "__dict__", ())
    )
    return sorted(
        n
        for n in defined
        if not n.startswith("_")
        and callable(member := getattr(obj, n, None))
        and not _inherited_from_framework(member)
    )


def _near_misses(obj: Any, members: Mapping[str, Any]) -> dict[str, str]:
    """Contract name → a public function whose name is probably a misspelling of it."""
    known = {*QUANTITIES, *POLICY_FUNCTIONS}
    missing = [q for q in QUANTITIES if q not in members]
    found: dict[str, str] = {}
    for yours in _public_functions(obj):
        if yours in known:
            continue
        plain = yours.lower()
        close = difflib.get_close_matches(plain, missing, n=1, cutoff=0.8) or [
            q for q in missing if len(plain) >= 6 and (q.startswith(plain) or plain == q + "s")
        ]
        if close:
            found.setdefault(close[0], yours)
    return found


def _misspelt(obj: Any, members: Mapping[str, Any]) -> dict[str, str]:
    """Those of the near misses that are hardly anything else: one or two letters off, or the last
    word cut short, and as many parameters as the contract has. Ordinary helpers (``scores``,
    ``policy``, ``natural``) are none."""
    missing = [q for q in QUANTITIES if q not in members]
    found: dict[str, str] = {}
    for yours in _public_functions(obj):
        if yours in QUANTITIES or yours in POLICY_FUNCTIONS:
            continue
        for wanted in missing:
            alike = _slip(yours.lower(), wanted) or _cut_short(yours.lower(), wanted)
            function = obj[yours] if isinstance(obj, Mapping) else getattr(obj, yours)
            if alike and _takes(function, len(QUANTITIES[wanted].parameters)):
                found.setdefault(wanted, yours)
    return found


def _slip(yours: str, wanted: str) -> bool:
    """One letter off, in a long name two, or two letters exchanged; a plural or a longer word is
    another name."""
    off = [i for i, (a, b) in enumerate(zip(yours, wanted, strict=False)) if a != b]
    if len(yours) == len(wanted) > 3 and len(off) == 2 and off[1] == off[0] + 1:
        return sorted(yours) == sorted(wanted)
    allowed = 2 if len(wanted) > 6 else 1 if len(wanted) > 3 else 0
    return not yours.startswith(wanted) and _distance(yours, wanted) <= allowed


def _cut_short(yours: str, wanted: str) -> bool:
    """``policy_grad`` for ``policy_gradient``: as many words, the last of them cut."""
    return (
        yours.count("_") == wanted.count("_") > 0
        and wanted.startswith(yours)
        and len(yours.rpartition("_")[2]) >= 4
    )


def _distance(first: str, second: str) -> int:
    """Letters to insert, delete or replace."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _takes(function: Any, count: int) -> bool:
    """Whether it can be called with so many positional arguments, and no fewer are asked for."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in places)
    return needed <= count <= len(places) and needed > 0


def _nothing(name: str, misses: Mapping[str, str]) -> str:
    if misses:
        wanted, yours = next(iter(misses.items()))
        return (
            f"{name} defines no function of the contract; {yours} is not one. "
            f"Did you mean {QUANTITIES[wanted].signature}?"
        )
    return (
        f"{name} defines no function of the contract, such as "
        f"{QUANTITIES['natural_gradient'].signature} or {QUANTITIES['fisher'].signature}; "
        f"`npgcheck new my_npg.py` writes a file to start from."
    )


def check_families(families: Iterable[str], where: str) -> frozenset[str]:
    """The families as a set; an unknown one is a usage error that starts with ``where``."""
    chosen = {families} if isinstance(families, str) else set(families)
    for family in sorted(chosen, key=str):
        if family not in FAMILIES:
            raise UsageError(
                f"{where}: there is no family {family!r}; the families are "
                f"{', '.join(FAMILIES)}.{nearest(str(family), FAMILIES)}"
            )
    return frozenset(chosen)


def _families(name: str, declared: Any) -> frozenset[str]:
    if declared is None:
        return DEFAULT_FAMILIES
    if not isinstance(declared, (str, set, frozenset, list, tuple)):
        raise UsageError(
            f"{name}: families is {_article(type(declared).__name__)}; "
            f'write families = {{"softmax"}}.'
        )
    families = check_families(declared, f"{name}, families")
    if not families:
        raise UsageError(f"{name}: families is empty; leave it out to be asked about the default.")
    return families


def _own_policy(name: str, members: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """The functions of the subject's own policy; only ``families = {"own"}`` asks for them."""
    policy = {
        function: _fits(name, members[function], function, parameters, _wanted(function))
        for function, parameters in POLICY_FUNCTIONS.items()
        if function in members
    }
    forms = [f for f in ("logits", "mean_log_std") if f in policy]
    if "num_parameters" not in policy or len(forms) != 1:
        raise UsageError(
            f'{name}: families has "own", which needs num_parameters(problem) and one of '
            f"logits(problem, observations, theta) and mean_log_std(problem, observations, theta); "
            f"it defines {', '.join(policy) or 'none of them'}."
        )
    return policy


def _wanted(policy_function: str) -> str:
    return f"{policy_function}({', '.join(POLICY_FUNCTIONS[policy_function])})"


def _sizes(name: str, members: Mapping[str, Any]) -> dict[str, int]:
    sizes = {}
    for size in POLICY_SIZES:
        if size in members:
            value = members[size]
            if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
                raise UsageError(f"{name}: {size} is {value!r}; it must be a positive integer.")
            sizes[size] = int(value)
    return sizes


def _conventions(name: str, declared: Any) -> Any:
    if declared is None:
        return None
    from npgcheck.conventions import Conventions

    if isinstance(declared, Mapping):
        declared = Conventions(**declared)
    if isinstance(declared, Conventions):
        only_of_steps = [f for f in ("entropy", "gradient_of") if f in declared.declared()]
        if only_of_steps:
            raise UsageError(
                f"{name}: Conventions({only_of_steps[0]}=…) is judged by npgcheck.check_step only, "
                "not by verify in this version; leave it out."
            )
        return declared
    raise UsageError(
        f"{name}: conventions is {_article(type(declared).__name__)}; "
        f"write conventions = npgcheck.Conventions(damping=0.1)."
    )


def check_known_failures(name: str, declared: Any) -> dict[str, str]:
    """The baseline as a dict; anything wrong with it is a usage error that starts with ``name``."""
    if declared is None:
        return {}
    if not isinstance(declared, Mapping):
        raise UsageError(
            f"{name}: known_failures is {_article(type(declared).__name__)}; "
            f'write known_failures = {{"NPG-F-003": "why"}}.'
        )
    ids = frozenset().union(*CHECK_SETS.values())
    for check, why in declared.items():
        if check not in ids:
            raise UsageError(
                f"{name}, known_failures: there is no check {check!r}.{nearest(str(check), ids)} "
                f"The ids stand in the report."
            )
        if not isinstance(why, str) or not why.strip():
            raise UsageError(f"{name}, known_failures: {check} needs a reason, in words.")
    return {str(check): str(why) for check, why in declared.items()}
