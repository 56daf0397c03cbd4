"""Checking one update in a live training loop every n iterations, and leaving no trace.

    monitor = npgcheck.torch.StepMonitor(policy, distribution, every=10, max_kl=0.01)
    ...
    with monitor.step(observations, actions, advantages) as step:
        ...                                             # the update, as it was
        step.record(gradient=g, fisher_vector_product=fvp, direction=x)

The parameters on entering the block are θ, those on leaving it θ′. Recorded functions are called
when the block ends, with the parameters put back to θ for that long.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from npgcheck.conformance.report import Report, exit_code
from npgcheck.conventions import Conventions
from npgcheck.errors import InvalidArgument, NpgcheckError, UsageError, nearest
from npgcheck.torch.policy import DistributionOf, Policy, alike
from npgcheck.torch.state import autocast, preserved
from npgcheck.torch.step import Answers, judge, moved_outside

#: The exit code of a report in which everything was skipped or not given.
NOTHING_JUDGED = 2
#: What belongs to one update: recorded again after the parameters moved, it is another update's.
VECTORS = ("gradient", "direction")
RECORDED = ("log_prob", "gradient", "fisher_vector_product", "kl", "direction", "max_kl")


class StepRefuted(NpgcheckError):
    """A step in a training loop was refuted; ``report`` says how."""

    def __init__(self, iteration: int, report: Report) -> None:
        super().__init__(f"the step of iteration {iteration} is refuted:\n{report}")
        self.iteration = iteration
        self.report = report


class StepRefutedWarning(UserWarning):
    """What a monitor warns with when ``on_failure="warn"``."""


class StepMonitor:
    """Checks every n-th update of a training loop.

    Args:
        module: the policy's ``torch.nn.Module``, or a list of modules and parameters.
        distribution: ``distribution(module, observations)`` gives the torch.distributions object.
        every: checks the first update and every so many after it.
        max_kl: δ of the trust region, for all steps.
        parameters: which parameters make up θ, in order; all by default.
        fixed: names of trainable parameters that stay as they are on purpose.
        conventions: what is meant; None infers it.
        strict: a convention or approximation that was not declared counts as a failure too.
        on_failure: ``"raise"`` a ``StepRefuted``, ``"warn"``, or a function of the report.

    Attributes:
        iteration: how many steps were begun.
        checked: how many of them were checked.
        refuted: how many of these failed.
        unjudged: how many of them left nothing to judge: nothing was recorded, and θ is unchanged.
        last: the last report, or None.
    """

    def __init__(
        self,
        module: Any,
        distribution: DistributionOf,
        *,
        every: int = 1,
        max_kl: float | None = None,
        parameters: Iterable[Any] | None = None,
        fixed: Iterable[str] = (),
        conventions: Conventions | None = None,
        strict: bool = False,
        on_failure: str | Callable[[Report], Any] = "raise",
    ) -> None:
        if every < 1 or int(every) != every:
            raise InvalidArgument(f"every must be a whole number of at least 1, got {every!r}.")
        if not callable(on_failure) and on_failure not in ("raise", "warn"):
            raise InvalidArgument(
                f"on_failure must be 'raise', 'warn' or a function of the report, got "
                f"{on_failure!r}."
            )
        self.module, self.distribution = module, distribution
        self.every, self.max_kl = int(every), max_kl
        self.parameters = None if parameters is None else list(parameters)
        self.fixed, self.conventions = tuple(fixed), conventions
        self.on_failure, self.strict = on_failure, strict
        self.iteration = self.checked = self.refuted = self.unjudged = 0
        self.last: Report | None = None
        self.policy()  # a wrong list of parameters shows now, not in the middle of training

    def policy(self) -> Policy:
        """A snapshot of the policy as it is now."""
        return Policy(self.module, self.distribution, parameters=self.parameters)

    def step(self, observations: Any, actions: Any, advantages: Any, weights: Any = None) -> Step:
        """The context of one update: enter it before the parameters change.

        Args:
            observations: N rows, as ``distribution`` takes them.
            actions: N rows.
            advantages: (N,), the weights of the rows in the surrogate.
            weights: (N,), of the rows; equal by default.
        """
        due = self.iteration % self.every == 0
        self.iteration += 1
        return Step(self, due, (observations, actions, advantages, weights))

    def conclude(self, report: Report, iteration: int) -> None:
        """Counts a report, and reacts to a refutation as ``on_failure`` says."""
        self.last = report
        self.checked += 1
        code = exit_code(report, self.strict)
        if code == NOTHING_JUDGED:
            self.unjudged += 1
        if code in (0, NOTHING_JUDGED):
            return
        self.refuted += 1
        if callable(self.on_failure):
            self.on_failure(report)
        elif self.on_failure == "warn":
            text = f"the step of iteration {iteration} is refuted:\n{report}"
            warnings.warn(text, StepRefutedWarning, stacklevel=3)
        else:
            raise StepRefuted(iteration, report)


class Step:
    """One update; made by ``StepMonitor.step``.

    Attributes:
        due: whether this update is checked.
        report: what was found, once the block has ended.
    """

    def __init__(self, monitor: StepMonitor, due: bool, rows: tuple[Any, ...]) -> None:
        self.monitor, self.due = monitor, due
        self.number = monitor.iteration - 1
        self.report: Report | None = None
        self._rows = rows
        self._answers = Answers(max_kl=monitor.max_kl)
        self._policy: Policy | None = None
        self._state = "new"
        self._recorded_at: dict[str, Tensor] = {}
        self._autocast: tuple[str, torch.dtype] | None = None

    def __enter__(self) -> Step:
        if self._state != "new":
            raise UsageError(
                f"the step of iteration {self.number} was entered before; call monitor.step(…) for "
                "every update."
            )
        self._state = "open"
        if self.due:
            # Copies: a training loop may normalise its advantages in place.
            self._rows = tuple(_copied(part) for part in self._rows)
            self._policy = self.monitor.policy()
        return self

    def record(self, **answers: Any) -> None:
        """Notes what the update computed, to be judged when the block ends.

        Args:
            answers: ``gradient``, ``direction`` (vectors, or one tensor per parameter),
                ``fisher_vector_product``, ``kl``, ``log_prob`` (functions), ``max_kl``; see
                ``npgcheck.torch.check_step``. What is recorded twice counts as last recorded.

        Raises:
            UsageError: a name that is not one of these; outside of the block, or after ``check``;
                or a gradient or direction for a second time with other parameters.
        """
        self._refuse_unless_open("record")
        for name in answers:
            if name not in RECORDED:
                raise UsageError(
                    f"record has no argument {name!r}.{nearest(name, RECORDED)} "
                    f"Known: {', '.join(RECORDED)}. θ′ is read off the module."
                )
        if self.due:
            self._refuse_a_second_update(name for name in answers if name in VECTORS)
            assert self._policy is not None  # the block is open
            device = self._policy.parameters[0].device.type
            self._autocast = self._autocast or autocast(device)
            self._answers = replace(
                self._answers, **{name: _copied(value) for name, value in answers.items()}
            )

    def check(self) -> None:
        """Judges now what was recorded, instead of when the block ends.

        For functions that do not outlive the change of the parameters; the step itself is then
        not judged.
        """
        self._refuse_unless_open("check")
        if self._policy is not None:
            self._judge(self._answers, ())
        self._state = "checked"

    def _refuse_unless_open(self, what: str) -> None:
        where = {
            "new": "before its block was entered",
            "checked": "after step.check(): this update is judged already",
            "over": "after its block has ended",
        }.get(self._state)
        if where is not None:
            raise UsageError(
                f"step.{what} of iteration {self.number} was called {where}; use it inside "
                "`with monitor.step(…) as step`."
            )

    def _refuse_a_second_update(self, names: Iterable[str]) -> None:
        """Two updates in one block cannot be told apart: θ and θ′ are those of both together."""
        present: Tensor | None = None
        for name in names:
            present = self.monitor.policy().theta if present is None else present
            before = self._recorded_at.setdefault(name, present)
            if not torch.equal(before, present):
                raise UsageError(
                    f"{name} was recorded twice in iteration {self.number}, and the parameters "
                    "moved in between: enter one monitor.step(…) for every update."
                )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._state = "over"
        if kind is not None or self._policy is None:
            return  # the user's own error goes on as it is
        new = self.monitor.policy()
        moved = moved_outside(self._policy, new)
        self._judge(replace(self._answers, new_theta=new.theta), moved)

    def _judge(self, answers: Answers, moved: tuple[str, ...]) -> None:
        """Judges with the module put back to θ for that long."""
        policy, self._policy = self._policy, None
        assert policy is not None
        observations, actions, advantages, weights = self._rows
        # what the update computed under autocast is judged under it
        cast = torch.autocast(*self._autocast) if self._autocast else nullcontext()
        with preserved(policy.holder), policy.at_snapshot(), cast:
            report = judge(
                policy,
                observations,
                actions,
                advantages,
                answers,
                fixed=self.monitor.fixed,
                moved=moved,
                conventions=self.monitor.conventions,
                weights=weights,
            )
        for result in report.results:
            if any(words in result.reason for words in _OUTLIVED):
                raise UsageError(
                    f"{result.quantity} differentiates a graph that was built before the update, "
                    "and the update has changed or freed it. Build the graph inside the function, "
                    "or call step.check() before the parameters change."
                )
        self.report = report
        self.monitor.conclude(report, self.number)


#: What torch says of a graph that did not outlive the update: no finding about the user's code.
_OUTLIVED = (
    "modified by an inplace operation",
    "Trying to backward through the graph a second time",
)


def _copied(given: Any) -> Any:
    """Tensors and arrays copied, also inside lists and dictionaries; functions as they are."""
    if isinstance(given, Tensor):
        return given.detach().clone()
    if isinstance(given, dict):
        return {name: _copied(part) for name, part in given.items()}
    if isinstance(given, (list, tuple)):
        return alike(given, [_copied(part) for part in given])
    if hasattr(given, "copy") and hasattr(given, "dtype"):
        return given.copy()
    return given
