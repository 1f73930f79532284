"""Every code block of the README and of docs/ is executed, in order, one folder per page."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

import warm
from clicksmith.cli.main import main
from clicksmith.errors import ClicksmithError
from clicksmith.schema import Schema

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = {"", "text", "toml", "json", "make"}
"""Languages that are shown, not run: the verbs and options of commands are looked up, TOML and schemas are read."""


class Block(NamedTuple):
    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, with the line they start on."""
    text = page.read_text()
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1].strip(), m[2], text[: m.start()].count("\n") + 1) for m in found]


def make_targets(code: str) -> list[str]:
    return [line.split()[1] for line in code.splitlines() if line.startswith("make ")]


def check_shown(block: Block) -> None:
    """Check what can be known of a block that is not run: it stands for files that are not here."""
    if block.language == "json":
        assert msgspec.json.decode(block.code, type=Schema).fields, f"line {block.line}: no schema"
    elif block.language == "toml":
        assert tomllib.loads(block.code), f"line {block.line}: nothing is said"
    for line in block.code.splitlines() if block.language == "text" else ():
        words = shlex.split(line, comments=True)
        if words[:1] == ["python"]:
            assert (ROOT / words[1]).is_file(), f"line {block.line}: there is no {words[1]}"
        elif words[:1] == ["clicksmith"]:
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert options <= set(re.findall(r"--[\w.-]+", help_of(words[1:]))), f"line {block.line}: {line}"


def help_of(words: list[str]) -> str:
    """Return the help of the verb, or of the verb's action, that a command line is of."""
    text = io.StringIO()
    verb = words[:2] if words[0] in ("bench", "datasets", "plan", "search") else words[:1]
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        assert main([*(w for w in verb if w != "METHOD"), "--help"]) == 0, f"no verb '{' '.join(verb)}'"
    return text.getvalue()


def run(block: Block, folder: Path, commands: Path) -> None:
    """Execute one block in `folder`; `commands` holds the command `clicksmith`."""
    environment = {**os.environ, "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    bash = ["bash", "-eu", "-o", "pipefail", "-c", block.code]
    command = warm.command("-c", block.code) if block.language == "python" else bash
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, (
        f"line {block.line}: exit {done.returncode}\n{block.code}\n{done.stdout}\n{done.stderr}"
    )


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the command `clicksmith`, warm."""
    folder = tmp_path_factory.mktemp("commands")
    script = folder / "clicksmith"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(warm.command("clicksmith"))} "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_runs(page: Path, commands: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language in SHOWN:
            check_shown(block)
            continue
        assert block.language in {"python", "sh"}, (
            f"line {block.line}: a block of language '{block.language}' cannot be run"
        )
        if targets := make_targets(block.code):
            known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(targets) <= set(known), f"line {block.line}: {targets} are not all verbs of the Makefile"
            assert len(targets) == len([line for line in block.code.splitlines() if line.strip()]), "keep make apart"
            continue
        run(block, tmp_path, commands)
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_a_block_that_fails_is_noticed(commands: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit 3"):
        run(Block("sh", "exit 3\n", 1), tmp_path, commands)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(Block("python", "1 / 0\n", 1), tmp_path, commands)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("text", "clicksmith fitt clicks.csv --label click"),
        ("text", "clicksmith fit clicks.csv --lable click"),
        ("text", "clicksmith plan mix a.json b.json"),
        ("text", "python benchmarks/nothing.py"),
        ("toml", "epochs = "),
        ("json", '{"fields": [{"kind": "number", "name": "price"}]}'),
    ],
)
def test_a_shown_block_that_is_wrong_is_noticed(language: str, code: str) -> None:
    with pytest.raises((AssertionError, ClicksmithError, tomllib.TOMLDecodeError, msgspec.MsgspecError)):
        check_shown(Block(language, code, 1))


def test_the_readme_names_the_two_commands_that_set_up_everything() -> None:
    commands = [t for b in blocks(ROOT / "README.md") for t in make_targets(b.code)]
    assert {"quickstart", "test"} <= set(commands)


def test_every_figure_of_the_readme_has_a_result_file() -> None:
    named = re.findall(r"benchmarks/results/[\w.-]+\.json", (ROOT / "README.md").read_text())
    for path in named:
        assert (ROOT / path).is_file(), f"README.md names {path}, which is not there"
