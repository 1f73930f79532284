"""Cells as text: one canonical text per value, so that a CSV, a frame and a JSON row give the same ids.

An integer is its digits, exactly; a float that is a whole number is that integer (pandas makes floats of integer
columns with holes; above 2^53 the frame itself has lost digits); booleans
are "true" and "false"; a missing value (None, NaN, an empty text) is the empty text.

Text is taken as it stands, but for what other tools write for such values: "204.0" names 204 ("-0.0" names 0), and
"True" and "False" name true and false. That holds wherever a text names something: in ids, bags, histories, domains and
keys of side tables (`canonical`), never in labels. "2.50", "007.0" and "1e3" stay as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clicksmith.errors import DataError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
NO_NUMBER = frozenset({"", "nan", "na", "null", "none"})
"""Texts (in any case) that mean a missing number."""


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Cells as places in a block of bytes; a length of -1 is "nothing here" (padding).

    Shape:
        text: bytes as uint8
        starts: [n] int64, lens: [n] int32; views with any stride, the same for both
    """

    text: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lens: NDArray[np.int32]

    def __len__(self) -> int:
        return self.starts.shape[0]

    def __getitem__(self, row: int) -> str:
        start = int(self.starts[row])
        return bytes(self.text[start : start + int(self.lens[row])]).decode()


Cells = Texts | pl.Series | Sequence[str | None]
"""A column of texts. In a series or a list, None is "nothing here"."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Several texts per row, laid out in rows of `length` places: `cells[i]` lies at `places[i]`.

    places: [n] int64, or None if the cells fill the grid one by one
    counts: [rows] int, values in each cell before it was cut
    """

    cells: Cells
    places: NDArray[np.int64] | None
    counts: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Texts one after another: text i ends at `ends[i]`."""

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return self.ends.shape[0]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each text starts."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]]) if len(self.ends) else self.ends

    def to_list(self) -> list[str]:
        """Return the texts."""
        whole, ends = self.text.tobytes(), self.ends.tolist()
        return [whole[a:b].decode() for a, b in zip([0, *ends[:-1]], ends, strict=True)] if ends else []

    def texts(self) -> Texts:
        """Return them as cells."""
        starts = self.starts
        return Texts(self.text, starts, (self.ends - starts).astype(np.int32))


def pack(texts: Sequence[str], joined: str | None = None) -> Packed:
    """Pack texts one after another; `joined` are the texts with zero bytes between them, if they are at hand."""
    whole = ("\0".join(texts) if joined is None else joined).encode(errors="replace")  # half an emoji is no text
    between = np.flatnonzero(np.frombuffer(whole, np.uint8) == 0)
    if len(between) == len(texts) - 1:  # no text holds a zero byte of its own: the places of the zeros are the ends
        ends = np.append(between, len(whole)) - np.arange(len(texts))
        return Packed(np.frombuffer(whole.translate(None, b"\0"), np.uint8), ends)
    whole = "".join(texts).encode(errors="replace")
    lens = np.fromiter((len(t.encode(errors="replace")) for t in texts), np.int64, len(texts))
    return Packed(np.frombuffer(whole, np.uint8), np.cumsum(lens))


def texts_of(cells: pl.Series | Sequence[str | None]) -> Texts:
    """Return a series or a list as places in a block of bytes."""
    if not isinstance(cells, pl.Series):
        packed = pack([cell or "" for cell in cells])
        texts = packed.texts()
        for i, cell in enumerate(cells):
            if cell is None:
                texts.lens[i] = -1
        return texts
    lens = cells.str.len_bytes()
    blank = lens.null_count() > 0
    sizes = lens.fill_null(0).to_numpy().astype(np.int64)
    whole = (cells.str.join("", ignore_nulls=True).item() or "").encode() if len(cells) else b""
    texts = Packed(np.frombuffer(whole, np.uint8), np.cumsum(sizes)).texts()
    if blank:
        texts.lens[lens.is_null().to_numpy()] = -1
    return texts


_WHOLE = r"^(-?(?:0|[1-9][0-9]{0,18}))\.0$"
_SPELLINGS = {"True": "true", "False": "false", "-0.0": "0"}
_LONGEST = 22
"""Characters of the longest text that `_WHOLE` matches."""


def is_plain(block: bytes | str) -> bool:
    """Return whether no text within a block of them can need `canonical`: a quick look."""
    if isinstance(block, str):  # a single letter is found many times faster than a word, and its absence says it all
        return (
            ("." not in block or ".0" not in block)
            and ("T" not in block or "True" not in block)
            and ("F" not in block or "False" not in block)
        )
    return b".0" not in block and b"True" not in block and b"False" not in block


def canonical(cells: Cells) -> Cells:
    """Return texts with "204.0" as "204", and "True" and "False" in small letters."""
    if isinstance(cells, Texts):
        return _canonical_places(cells)
    if isinstance(cells, pl.Series):
        if not (cells.str.ends_with(".0") | cells.is_in(["True", "False"])).any():
            return cells
        return cells.replace(_SPELLINGS).str.replace(_WHOLE, "$1")
    if is_plain("".join(filter(None, cells))):
        return cells
    return [cell and _SPELLINGS.get(cell, _whole_number(cell)) for cell in cells]


def _whole_number(text: str) -> str:
    return text[:-2] if text.endswith(".0") and re.fullmatch(_WHOLE[1:-1], text, re.ASCII) else text


def _canonical_places(cells: Texts) -> Texts:
    likely = np.flatnonzero((cells.lens >= 3) & (cells.lens <= _LONGEST))
    text, ends = cells.text, cells.starts[likely] + cells.lens[likely]
    last, before = (text[ends - 1], text[ends - 2]) if len(likely) else (text[:0], text[:0])
    whole = likely[(before == ord(".")) & (last == ord("0"))]
    words = likely[((before == ord("u")) | (before == ord("s"))) & (last == ord("e"))]
    if not len(whole) and not len(words):
        return cells
    starts, lens = cells.starts.copy(), cells.lens.copy()
    lens[_whole_numbers(text, starts, lens, whole)] -= 2
    for row in [*words.tolist(), *whole[text[starts[whole]] == ord("-")].tolist()]:
        spelling = _SPELLINGS.get(cells[row])
        if spelling is not None:
            starts[row], lens[row] = len(text) + "true false 0".index(spelling), len(spelling)
    return Texts(np.concatenate([text, np.frombuffer(b"true false 0", np.uint8)]), starts, lens)


def _whole_numbers(
    text: NDArray[np.uint8], starts: NDArray[np.int64], lens: NDArray[np.int32], at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return which of the cells `at`, which end in ".0", hold a whole number before it."""
    start, digits = starts[at], lens[at] - 2
    minus = text[start] == ord("-")
    start, digits = start + minus, digits - minus
    good = (digits >= 1) & (digits <= 19) & ((text[start] != ord("0")) | (digits == 1))
    for place in range(int(digits.max(initial=0))):
        byte = text[np.minimum(start + place, len(text) - 1)]
        good &= (place >= digits) | ((byte >= ord("0")) & (byte <= ord("9")))
    return at[good]


class NotUtf8(DataError):
    """Bytes that are no text; `index` is their place among the values that were read."""

    def __init__(self, value: bytes, index: int = 0) -> None:
        self.value, self.index = value, index
        super().__init__(f"{value!r} is not UTF-8 text. Give text, or leave the column out of the schema.")


def text_of(value: Any) -> str:
    """Return the canonical text of one value; bytes are UTF-8 text, else a `NotUtf8`."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise NotUtf8(value) from None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isnan(number):
            return ""
        return str(int(number)) if number.is_integer() else repr(number)
    text = str(value)
    return "" if text in ("NaT", "<NA>") else text


def shown(series: pl.Series) -> pl.Series:
    """Return bytes and spans of time as texts to look at, as text files have no cell for them; others as they are."""
    if series.dtype == pl.Binary:
        cells = [None if cell is None else cell.decode("utf-8", "backslashreplace") for cell in series.to_list()]
    elif series.dtype == pl.Duration:
        cells = [None if cell is None else str(cell) for cell in series.to_list()]
    else:
        return series
    return pl.Series(series.name, cells, pl.String)


def text_series(series: pl.Series) -> pl.Series:
    """Return a column of any scalar type as canonical texts, missing values as empty texts.

    Bytes are UTF-8 text, else a `NotUtf8`.
    """
    if series.dtype == pl.String:
        return series.fill_null("")
    if series.dtype == pl.Binary:
        try:
            return series.cast(pl.String).fill_null("")
        except pl.exceptions.ComputeError:
            for index, value in enumerate(series.to_list()):
                try:
                    text_of(value)
                except NotUtf8:
                    raise NotUtf8(value, index) from None
            raise
    if series.dtype.is_integer() or isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        return series.cast(pl.String).fill_null("")
    if series.dtype == pl.Null:
        return pl.Series(series.name, [""] * len(series), dtype=pl.String)
    values = series.unique()
    texts = pl.Series([text_of(v) for v in values.to_list()], dtype=pl.String)
    return series.replace_strict(values, texts, default="", return_dtype=pl.String)


def number_of(value: Any) -> float | None:
    """Return one value as a finite float, NaN if it is missing, or None if it is not a finite number."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in NO_NUMBER:
            return math.nan
        if not NUMBER.fullmatch(text):
            return None
        value = text
    elif isinstance(value, bytes):
        return number_of(value.decode(errors="replace"))
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan if str(value) in ("NaT", "<NA>") else None
    return None if math.isinf(number) else number
