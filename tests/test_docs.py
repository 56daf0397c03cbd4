"""Every example in the documentation: Python blocks run, console blocks are valid commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "site").rglob("*.md")])
#: Pages whose blocks need the torch extra.
NEED_TORCH = {"check-step-torch.md"}
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)
LANGUAGES = {"python", "console", "text", "bash", "json", "toml", "yaml", ""}


@dataclass(frozen=True)
class Block:
    language: str
    source: str
    line: int


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, with the line at which their content starts."""
    found = []
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        source = "\n".join(line[indent:] for line in match["body"].split("\n"))
        line = text[: match.start("body")].count("\n") + 1
        found.append(Block(match["language"], source, line))
    return found


def run(path: Path, found: list[Block]) -> None:
    """Runs a page's Python blocks one after the other, in one namespace."""
    namespace: dict[str, object] = {"__name__": "__docs__"}
    for block in found:
        # blank lines in front make a traceback point into the page
        code = compile("\n" * (block.line - 1) + block.source, str(path), "exec")
        exec(code, namespace)


def commands(found: list[Block]) -> list[str]:
    """The npgcheck commands in console blocks: lines after a prompt, comments dropped."""
    out = []
    for block in found:
        for line in block.source.splitlines():
            if line.startswith("$ "):
                for part in line[2:].split("&&"):
                    words = shlex.split(part, comments=True)
                    if words and Path(words[0]).name == "npgcheck":
                        out.append(shlex.join(words[1:]))
    return out


def validate(command: str) -> None:
    """Parses a command line without carrying it out; raises on anything unknown."""
    from npgcheck.cli import main
    from npgcheck.errors import UsageError

    group = main if isinstance(main, click.Group) else cli_group()
    words = shlex.split(command)
    context = click.Context(group, info_name="npgcheck")
    try:
        name, subcommand, rest = group.resolve_command(context, words)
        assert subcommand is not None
        with subcommand.make_context(name, rest, parent=context):
            pass
    except (click.ClickException, UsageError) as error:
        raise AssertionError(f"`npgcheck {command}`: {error}") from error


def cli_group() -> click.Group:
    import npgcheck.cli

    groups = [g for g in vars(npgcheck.cli).values() if isinstance(g, click.Group)]
    assert len(groups) == 1
    return groups[0]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """A folder with the file that the pages talk about, so that it can be named."""
    from npgcheck.conformance import templates

    starter = Path(templates.__file__).parent / "numpy_style.txt"
    (tmp_path / "my_npg.py").write_text(starter.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.torch) if p.name in NEED_TORCH else p for p in PAGES],
    ids=name,
)
def test_python_blocks_run(path, in_a_folder, capsys):
    if path.name in NEED_TORCH:
        pytest.importorskip("torch", reason="needs the torch extra")
    found = [b for b in blocks(path.read_text(encoding="utf-8")) if b.language == "python"]
    if found:
        run(path, found)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_console_blocks_are_valid_commands(path):
    found = [b for b in blocks(path.read_text(encoding="utf-8")) if b.language == "console"]
    for command in commands(found):
        validate(command)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_block_has_a_language_that_is_tested_or_is_plain_text(path):
    for block in blocks(path.read_text(encoding="utf-8")):
        assert block.language in LANGUAGES, f"{name(path)}:{block.line}: {block.language}"
        if block.language in {"", "text", "bash"}:  # Python must not hide in a plain block
            assert not re.search(r"^(import|from) \w+", block.source, re.M), block.line


def test_links_between_pages_exist():
    missing = []
    for path in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+\.md)(?:#[\w-]*)?\)", path.read_text("utf-8")):
            generated = path.parent.name == "theory" or "theory/" in target
            known = (generated and _is_claim(target)) or _is_of_the_atlas(target)
            if not (path.parent / target).exists() and not known:
                missing.append(f"{name(path)} → {target}")
    assert not missing


def _is_of_the_atlas(target: str) -> bool:
    from npgcheck.conformance.atlas import STAGES

    pages = {"index", "apart", *STAGES}
    return Path(target).parent.name == "atlas" and Path(target).stem in pages


def _is_claim(target: str) -> bool:
    from npgcheck.derivation import prove

    return Path(target).stem in prove.load()


# -- the runner itself says no ----------------------------------------------------------------


def test_a_failing_block_fails_at_its_line():
    page = "text\n\n```python\nx = 1\n```\n\n```python\nassert x == 2, 'wrong'\n```\n"
    with pytest.raises(AssertionError, match="wrong") as failure:
        run(Path("page.md"), blocks(page))
    assert failure.traceback[-1].lineno + 1 == 8


@pytest.mark.parametrize(
    "command", ["verfy my_npg.py", "verify my_npg.py --sed 3", "verify", "new x.py --style jax"]
)
def test_a_wrong_command_is_noticed(command):
    with pytest.raises(AssertionError, match="npgcheck"):
        validate(command)


def test_commands_are_found_behind_prompts_and_in_chains():
    page = "```console\n$ pip install . && npgcheck verify a.py  # why\n$ npgcheck new b.py\n```\n"
    assert commands(blocks(page)) == ["verify a.py", "new b.py"]


def test_the_quickstart_leads_from_a_failure_to_a_pass(in_a_folder):
    """The starter file fails for the reason that it gives, and passes once mended as it says."""
    import npgcheck

    file = in_a_folder / "my_npg.py"
    before = npgcheck.verify(str(file), examples=24, only=["policy_gradient"])
    wrong = {(r.quantity, r.status) for r in before.results if r.status == "fail"}
    assert wrong == {("policy_gradient", "fail")}

    text = file.read_text(encoding="utf-8")
    (line,) = re.findall(r"^# +(weights -= .*)$", text, re.M)
    body, _, rest = text.partition("def policy_gradient(problem):")
    head, _, tail = rest.partition("    return ")
    mended = f"{body}def policy_gradient(problem):{head}    {line}\n    return {tail}"
    file.write_text(mended, encoding="utf-8")
    after = npgcheck.verify(str(file), examples=24, only=["policy_gradient"])
    assert after.passed
