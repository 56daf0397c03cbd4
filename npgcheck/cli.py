"""The ``npgcheck`` command.

Exit codes: 0 nothing wrong; 1 a refutation, a surviving control or a stale known failure (and,
under ``--strict``, an undeclared deviation); 2 the request was wrong, or nothing was judged;
130 interrupted. A mistake in npgcheck itself is none of these: it exits with 70 and says so.

Results go to standard output; progress and messages go to standard error.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any

import click

import npgcheck
from npgcheck.console import (
    Group,
    OneOf,
    Progress,
    Seed,
    stdout_for_the_report,
    without_threads,
)
from npgcheck.errors import NpgcheckError, UsageError, nearest

INTERRUPTED = 130
INTERNAL_ERROR = 70


_FORMAT = OneOf("format", ("text", "json", "junit", "markdown"))
_STYLE = OneOf("style", ("numpy", "torch", "batch"))


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(npgcheck.__version__, "--version", message="npgcheck %(version)s")
def cli() -> None:
    """gradcheck for policy optimisation.

    Judges your natural policy gradient (NPG, TRPO, PPO's parts) against exact answers.

    \b
        npgcheck new my_npg.py          write a file to start from
        npgcheck verify my_npg.py       judge it
    """


@cli.command(short_help="Judge a file, a module or an adapter.")
@click.argument("target")
@click.option("--examples", type=int, default=None, help="Problems in all.  [default: 120]")
@click.option("--seed", type=Seed(), default="0", help="Seed of the drawn problems, or random.")
@click.option("--only", multiple=True, metavar="QUANTITY", help="Judge this quantity; repeatable.")
@click.option("--families", multiple=True, metavar="NAMES", help="Policy families, with commas.")
@click.option("--checks", default=None, metavar="SET", help="A dated check set.  [default: newest]")
@click.option("--problem", "problem_id", default=None, metavar="ID", help="On this problem alone.")
@click.option("--strict", is_flag=True, help="Undeclared deviations are failures too.")
@click.option("--controls", is_flag=True, help="Also plant mistakes in your answers: caught?")
@click.option(
    "--isolate/--no-isolate",
    default=os.name == "posix",
    help="Run your code in a process of its own.  [default: isolate]",
)
@click.option("--time-limit", type=float, default=5.0, show_default=True, help="Seconds per call.")
@click.option(
    "--format", "file_format", type=_FORMAT, default="text", help="text, json, junit or markdown."
)
@click.option("--output", default=None, metavar="FILE", help="Write the report there.")
@click.option("--force", is_flag=True, help="Let --output replace a file that is no report.")
def verify(
    target: str,
    examples: int | None,
    seed: int,
    only: tuple[str, ...],
    families: tuple[str, ...],
    checks: str | None,
    problem_id: str | None,
    strict: bool,
    controls: bool,
    isolate: bool,
    time_limit: float,
    file_format: str,
    output: str | None,
    force: bool,
) -> int:
    """Judge TARGET: a Python file, a module, module:object, or an adapter's name.

    A file that exists wins over a module, a module over an adapter. Everything that the target
    defines of the contract is judged; the rest is "not covered".
    """
    without_threads()
    from npgcheck.conformance.output import destination, render

    if examples is not None and examples < 1:
        raise UsageError(f"--examples {examples}: at least one problem is needed.")
    if not time_limit > 0:
        raise UsageError(f"--time-limit {time_limit:g}: give a positive number of seconds.")
    where = destination(output, file_format, force)
    options: dict[str, Any] = {
        "examples": examples,
        "checks": checks,
        "problem_id": problem_id,
        "families": _families(families),
    }
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"seed": seed, "only": _quantities(only), "controls": controls}
    with stdout_for_the_report(keep=isolate) as emit:
        report = _run(target, isolate, time_limit, options)
        from npgcheck.conformance.report import exit_code

        if where.path is not None:
            where.write(render(report, file_format, strict))
            click.echo(f"report written to {output}", err=True)
        elif file_format == "text" and isolate and sys.stdout.isatty():
            from npgcheck.conformance.render_text import print_report

            print_report(report)
        else:
            emit(render(report, file_format, strict))
    code = exit_code(report, strict)
    if code == 2:
        _say(_nothing_judged(report))
    return code


def _run(target: str, isolate: bool, time_limit: float, options: dict[str, Any]) -> Any:
    """Loads, runs and names the report after what the user wrote."""
    from dataclasses import replace

    from npgcheck.conformance.guard import LocalCaller
    from npgcheck.conformance.subject import load
    from npgcheck.conformance.worker import WorkerCaller

    local = None if isolate else LocalCaller(load(target), time_limit)
    caller = local or WorkerCaller(target, time_limit)
    try:
        # The worker imports the subject while this process imports the engine.
        from npgcheck.conformance.engine import run

        with Progress() as progress:
            report = run(caller.subject, caller, progress=progress, **options)
    finally:
        caller.close()
    return replace(report, target=target, command="")


def _nothing_judged(report: Any) -> str:
    why = [r.reason for r in report.results if r.status == "skip" and r.reason]
    return "nothing was judged" + (f": {why[0]}" if why else ".")


def _quantities(names: tuple[str, ...]) -> tuple[str, ...]:
    from npgcheck.conformance.contract import QUANTITIES

    chosen = [part.strip() for name in names for part in name.split(",") if part.strip()]
    for name in chosen:
        if name not in QUANTITIES:
            raise UsageError(
                f"there is no quantity {name!r}.{nearest(name, QUANTITIES)} "
                f"The quantities are: {', '.join(QUANTITIES)}."
            )
    return tuple(dict.fromkeys(chosen))


def _families(names: tuple[str, ...]) -> tuple[str, ...] | None:
    from npgcheck.conformance.subject import check_families

    chosen = [part.strip() for name in names for part in name.split(",") if part.strip()]
    check_families(chosen, "--families")
    return tuple(dict.fromkeys(chosen)) or None


@cli.command(short_help="Write a starter file with one mistake to find.")
@click.argument("file")
@click.option("--style", type=_STYLE, default="numpy", help="numpy, torch or batch.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def new(file: str, style: str, force: bool) -> int:
    """Write a commented starter FILE with one deliberate mistake to find."""
    from npgcheck.conformance.templates import write

    path = write(file, style, force)
    click.echo(f"{path} holds a natural gradient with one mistake. Find it:\n")
    click.echo(f"    npgcheck verify {shlex.quote(str(path))}")
    return 0


@cli.command(short_help="List the problems, or show one.")
@click.argument("problem_id", required=False, metavar="[ID]")
@click.option("--families", multiple=True, metavar="NAMES", help="List these families only.")
@click.option("--seed", type=Seed(), default="0", help="Seed of the drawn problems.")
@click.option("--format", "file_format", type=OneOf("format", ("text", "json")), default="text")
def problems(problem_id: str | None, families: tuple[str, ...], seed: int, file_format: str) -> int:
    """List the designed problems, or show the one with this ID."""
    from npgcheck.conformance import show

    if problem_id is None:
        click.echo(show.listing(_families(families), file_format), nl=False)
    else:
        click.echo(show.one_problem(problem_id, seed, file_format), nl=False)
    return 0


@cli.command(short_help="Say what a name in a report means.")
@click.argument("name", required=False)
def explain(name: str | None) -> int:
    """Say what NAME means: a choice from a diagnosis, a quantity, or a check id."""
    from npgcheck.conformance import show

    click.echo(show.explanation(name), nl=False)
    return 0


@cli.command(short_help="Print an exact number as JSON.")
@click.argument("quantity")
@click.argument("problem_id", metavar="ID")
@click.option("--seed", type=Seed(), default="0", help="Seed of the drawn problems.")
def oracle(quantity: str, problem_id: str, seed: int) -> int:
    """Print the exact QUANTITY of the problem ID, as JSON."""
    from npgcheck.conformance import show

    _quantities((quantity,))
    click.echo(show.exact(quantity, problem_id, seed), nl=False)
    return 0


@cli.command(short_help="Judge planted mistakes and right subjects.")
@click.option("--seeds", type=int, default=2, show_default=True, help="Seeds 0 to N-1.")
@click.option("--only", multiple=True, metavar="NAME", help="This planted subject; repeatable.")
@click.option("--diagnosis", is_flag=True, help="Whether each is called by its name, and pairs.")
@click.option("--steps", is_flag=True, help="Steps of networks, judged by check_step.")
@click.option("--format", "file_format", type=OneOf("format", ("text", "json")), default="text")
def power(seeds: int, only: tuple[str, ...], diagnosis: bool, steps: bool, file_format: str) -> int:
    """Judge planted mistakes and right subjects: is each refuted, or spared, as it should be?

    With --diagnosis: is each called by its name and by no other, single, in pairs, and when the
    verifier does not know that name? With --steps: the same for check_step, on small networks.
    """
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least one seed is needed.")
    without_threads()
    if steps and (diagnosis or only):
        raise UsageError(
            "--steps stands alone: it has mistakes of its own, all of them are planted."
        )
    if diagnosis:
        return _power_of_diagnosis(seeds, only, file_format)
    if steps:
        return _power_of_steps(seeds, file_format)
    from npgcheck.conformance.power import run_power
    from npgcheck.conformance.render_power import to_json

    with Progress() as progress:
        report = run_power(tuple(range(seeds)), only or None, progress)
    click.echo(_json(to_json(report)) if file_format == "json" else str(report))
    return 0 if report.passed else 1


def _power_of_diagnosis(seeds: int, only: tuple[str, ...], file_format: str) -> int:
    from npgcheck.conformance.power_diagnosis import run_diagnosis
    from npgcheck.conformance.render_diagnosis import to_json

    with Progress() as progress:
        jobs = 1 if only else os.cpu_count() or 1
        report = run_diagnosis(tuple(range(seeds)), only or None, jobs=jobs, progress=progress)
    click.echo(_json(to_json(report)) if file_format == "json" else str(report))
    return 0 if report.passed else 1


def _power_of_steps(seeds: int, file_format: str) -> int:
    from npgcheck.step.controls import matrix

    with Progress() as progress:
        found = matrix.run(range(seeds), progress)
    click.echo(_json(matrix.to_json(found)) if file_format == "json" else str(found))
    return 0 if found.passed else 1


@cli.command(short_help="Judge the derivations step by step.")
@click.argument("claims", nargs=-1, metavar="[CLAIM]...")
@click.option("--format", "file_format", type=OneOf("format", ("text", "json")), default="text")
@click.option("--evidence", default=None, metavar="FILE", help="Also write all evidence as JSON.")
def prove(claims: tuple[str, ...], file_format: str, evidence: str | None) -> int:
    """Judge the derivations in proofs/ step by step; all of them, or the CLAIMs named.

    A claim is judged together with those that it uses. The exit code is 1 when a step is refuted
    or a planted mistake survives.
    """
    from npgcheck.derivation import prove as engine
    from npgcheck.derivation.record import to_json

    with Progress() as progress:
        report = engine.run(claims, progress)
    found = _json(to_json(report)) if file_format == "json" or evidence else ""
    if evidence:
        _write(evidence, found)
    click.echo(found if file_format == "json" else engine.to_text(report))
    return report.exit_code


def _write(path: str, text: str) -> None:
    from pathlib import Path

    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def _json(data: Any) -> str:
    import json

    return json.dumps(data, indent=2, ensure_ascii=False)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Runs the command line and returns its exit code."""
    try:
        code = cli.main(arguments, prog_name="npgcheck", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted.")
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        _say(_one_sentence(error))
        return 2
    except NpgcheckError as error:
        _say(str(error))
        return 2
    except BrokenPipeError:
        # The reader went away, as `| head` does; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        import traceback

        traceback.print_exc()
        _say("this is a mistake in npgcheck, not in your code; please report the lines above.")
        return INTERNAL_ERROR


def _one_sentence(error: click.ClickException) -> str:
    """Click's message, and where to read on."""
    text = error.format_message().rstrip()
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
    return f"{text} See {path or 'npgcheck'} --help."


def _say(text: str) -> None:
    click.echo(f"npgcheck: {text}", err=True)
