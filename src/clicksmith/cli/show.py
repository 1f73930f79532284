"""What the verbs print: tables on stdout, progress on stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def out() -> "Console":
    """Return the console for results; it has no colour when stdout is a file or a pipe."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = ()) -> None:
    """Print a table; the columns at the positions `numbers` are set to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(head, cells, numbers)
        return
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    for row in [list(head), *cells]:
        padded = [c.rjust(w) if i in numbers else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(padded).rstrip())


def _rich_table(head: Sequence[str], cells: list[list[str]], numbers: Sequence[int]) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(head):
        grid.add_column(name, justify="right" if i in numbers else "left", overflow="fold")
    for row in cells:
        grid.add_row(*(Text(cell) for cell in row))
    out().print(grid)


def note(text: str) -> None:
    """Say on stderr what is being done; results alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def json_out(value: Any) -> None:
    """Print a value as indented JSON on stdout; NaN and infinity become null."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
