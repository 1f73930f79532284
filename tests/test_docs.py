"""Every code block of the README and of docs/ is executed, in order, one folder per page."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = {"", "text", "toml", "json", "make"}
"""Languages that are shown, not run; toml and json are parsed."""


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


def run(block: Block, folder: Path) -> None:
    """Execute one block in `folder`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    if block.language == "python":
        command = [sys.executable, "-c", block.code]
    else:
        command = ["bash", "-eu", "-o", "pipefail", "-c", block.code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, (
        f"line {block.line}: exit {done.returncode}\n{block.code}\n{done.stdout}\n{done.stderr}"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language in SHOWN:
            continue
        assert block.language in {"python", "sh"}, (
            f"line {block.line}: a block of language '{block.language}' cannot be run"
        )
        if targets := make_targets(block.code):
            known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(targets) <= set(known), f"line {block.line}: {targets} are not all verbs of the Makefile"
            assert len(targets) == len([line for line in block.code.splitlines() if line.strip()]), "keep make apart"
            continue
        run(block, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit 3"):
        run(Block("sh", "exit 3\n", 1), tmp_path)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run(Block("python", "1 / 0\n", 1), tmp_path)


def test_the_readme_names_the_two_commands_that_set_up_everything() -> None:
    commands = [t for b in blocks(ROOT / "README.md") for t in make_targets(b.code)]
    assert {"quickstart", "test"} <= set(commands)


def test_every_figure_of_the_readme_has_a_result_file() -> None:
    named = re.findall(r"benchmarks/results/[\w.-]+\.json", (ROOT / "README.md").read_text())
    for path in named:
        assert (ROOT / path).is_file(), f"README.md names {path}, which is not there"
