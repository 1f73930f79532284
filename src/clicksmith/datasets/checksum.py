"""MD5 sums of text that do not depend on line ends: published sums are of LF files, or of CRLF files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from clicksmith.errors import DataError

_PIECE = 1 << 20


def md5_forms(path: Path) -> tuple[str, str, str]:
    """Return the MD5 of a file as it is, with LF and with CRLF line ends. A .zst file counts as its content."""
    own, lf, crlf = hashlib.md5(), hashlib.md5(), hashlib.md5()
    held = b""
    for piece in _pieces(path):
        own.update(piece)
        text = held + piece
        held = b"\r" if text.endswith(b"\r") else b""
        text = (text[:-1] if held else text).replace(b"\r\n", b"\n")
        lf.update(text)
        crlf.update(text.replace(b"\n", b"\r\n"))
    lf.update(held)
    crlf.update(held)
    return own.hexdigest(), lf.hexdigest(), crlf.hexdigest()


def verify(path: Path, expected: tuple[str, ...], rows: int | None = None) -> None:
    """Raise DataError unless the MD5 of a file, in one of its forms, is an expected one.

    Where no sum is published, its rows are counted if their number is known.
    """
    if not expected:
        if rows is not None and (got := _rows(path)) not in (rows, rows + 1):  # a head may be one
            raise DataError(
                f"'{path}' has {got:,} lines for {rows:,} rows. The file is damaged; delete it and load again."
            )
        return
    got = md5_forms(path)
    if not set(got) & set(expected):
        raise DataError(
            f"'{path}' has MD5 {got[0]} ({got[1]} with LF line ends), expected {' or '.join(expected)}. "
            "The file is damaged or of another version; delete it and load again."
        )


def _rows(path: Path) -> int:
    """Return the rows of a Parquet file, the lines of another."""
    if path.suffix == ".parquet":
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    lines, last = 0, b"\n"
    for piece in _pieces(path):
        lines, last = lines + piece.count(b"\n"), piece[-1:]
    return lines + (last != b"\n")


def _pieces(path: Path) -> Iterator[bytes]:
    if path.suffix != ".zst":
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
        return
    lines = pl.scan_csv(
        path,
        has_header=False,
        separator="\x01",
        quote_char=None,
        infer_schema=False,
        encoding="utf8-lossy",
        glob=False,
    )
    for frame in lines.collect_batches(chunk_size=100_000, maintain_order=True, lazy=True):
        yield ("\n".join(line or "" for line in frame.to_series().to_list()) + "\n").encode()
