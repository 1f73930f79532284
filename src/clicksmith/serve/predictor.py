"""`Predictor`: raw rows in, probabilities out, by the encoder and weights of one artefact."""

import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from clicksmith.batch.batch import Inputs, inputs_of
from clicksmith.embed.shape import Output
from clicksmith.encode.encoder import FEW
from clicksmith.encode.frames import stacked
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.sniff import Known
from clicksmith.encode.source import Source, open_source
from clicksmith.encode.store import Store
from clicksmith.errors import DataError, UsageError
from clicksmith.kernels.settled import settle
from clicksmith.schema import Schema
from clicksmith.serve import artifact as artifacts
from clicksmith.serve.artifact import Artifact

ROWS = 8192
"""Rows scored at once, in training-time evaluation and in serving alike, so that both give the same bits."""

Raw = Any
"""A row as a dict, a list of such rows, a polars, pandas or Arrow table, a path or several."""


Precision = Literal["fp32", "bf16"]


def load(path: str | Path, *, precision: Precision = "fp32") -> "Predictor":
    """Read an artefact, or the run folder that holds one, after checking every file of it. Raises ArtifactError.

    precision: fp32 gives the scores of training-time evaluation. bf16 multiplies matrices in bfloat16, which is faster
    on processors that have it (elsewhere slower) and rounds the logits, those of rows with extreme numbers most
    """
    return Predictor(artifacts.load(path), precision=precision)


class Predictor:
    """A trained model that scores raw rows. It is not changed by scoring, so threads may share it.

    A label is neither needed nor read, columns the schema does not name are ignored, and values that training never
    saw are scored as unseen. Missing columns and values that do not fit raise a DataError that names them.
    """

    def __init__(self, artifact: Artifact, *, precision: Precision = "fp32") -> None:
        if precision not in get_args(Precision):
            raise UsageError(f"precision '{precision}' is not known; use 'fp32' or 'bf16'.")
        self.artifact, self.precision = artifact, precision
        self._model = artifact.model.eval()
        settle(self._model)
        self._encoder = artifact.encoder.without_time()
        self._tasks = artifact.spec.tasks
        own = artifact.encoder.recipes[0].histories
        if len(own) < len(artifact.schema.behaviours):
            own = ()  # those of a side table are each row's own, whatever the rows say
        self._past = {name for b in own for name in (b.name, *(side.name for side in b.sides))}
        self.outputs = sum(task.width for task in self._tasks)
        """Number of logits per row."""

    @property
    def schema(self) -> Schema:
        """What the columns mean."""
        return self.artifact.schema

    def open(self, rows: Raw, *, columns: Sequence[str] | None = None, delimiter: str | None = None) -> Source:
        """Open rows as the training rows were: text files without a header have the columns that those had.

        `columns` are other names for such files. Raises what `open_source` does, and DataError for another number of
        cells than the training files had (with the labels or without them).
        """
        known = Known(self.artifact.bare, tuple(label.name for label in self.schema.labels))
        data = [rows] if isinstance(rows, Mapping) else rows
        return open_source(data, columns=columns, delimiter=delimiter, known=known if known.columns else None)

    def predict(self, rows: Raw) -> NDArray[np.float64]:
        """Return probabilities in row order: [rows], or [rows, outputs] for a model with several outputs."""
        if _is_few(rows):
            return self.probabilities(self.logits(self._few(rows)))
        with self.encoded(rows) as store:
            return self.probabilities(self.logits_of(store))

    def _few(self, rows: Any) -> EncodedRows:
        """Encode few rows; a history that all rows of a list have is read once."""
        if not isinstance(rows, list) or len(rows) < 2 or not self._past:
            return self._encoder.encode(rows)
        first = rows[0]
        if not all(name in row and _same(row[name], first.get(name)) for row in rows for name in self._past):
            return self._encoder.encode(rows)
        empty = dict.fromkeys(self._past)
        encoded = self._encoder.encode([first, *({**row, **empty} for row in rows[1:])])
        one = {name: history[:1] for name, history in encoded.histories.items()}
        return replace(encoded, histories=one, owner=np.zeros(len(rows), np.int32))

    def predict_frame(self, rows: Raw, *, keep: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the kept columns and behind them `probability` (one column per output), in row order.

        `keep` names columns of the data; None keeps what names a row (see `keys`).
        """
        return stacked(list(self.predict_frames(rows, keep=keep)))

    def predict_frames(self, rows: Raw, *, keep: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Give `predict_frame` in pieces, for data larger than memory."""
        source = self.open(rows)
        kept = self.keys(source.columns) if keep is None else list(keep)
        with self.encoded(source) as store:
            logits = self.logits_of(store)
        if not kept:
            yield pl.DataFrame(self._named(self.probabilities(logits)))
            return
        start = 0
        for frame in source.batches(kept):
            stop = start + frame.height
            yield frame.with_columns(self._named(self.probabilities(logits[start:stop])))
            start = stop

    def keys(self, columns: Sequence[str]) -> list[str]:
        """Return which of the columns name a row, see `Schema.keys`."""
        named = self.schema.keys
        return [name for name in columns if name in named]

    @contextmanager
    def encoded(self, rows: Raw, *, labels: bool = False) -> Generator[Store]:
        """Encode rows into a store that lasts as long as the `with` block; files go through the disk in pieces."""
        if isinstance(rows, list) and not rows:
            yield Store.of(nothing(self._encoder.layout), self._encoder.layout)
        elif isinstance(rows, (str, Path, Source)) or (isinstance(rows, list) and isinstance(rows[0], (str, Path))):
            with tempfile.TemporaryDirectory(prefix="clicksmith-") as folder:
                yield self._encoder.encode_to(self.open(rows), Path(folder) / "rows", labels=labels)
        else:
            yield Store.of(self._encoder.encode(rows, labels=labels), self._encoder.layout)

    def logits_of(self, store: Store) -> NDArray[np.float32]:
        """Return the model's own logits of encoded rows, before calibration: [rows, outputs]."""
        logits = np.empty((store.rows, self.outputs), np.float32)
        for start in range(0, store.rows, ROWS):
            logits[start : start + ROWS] = self.logits(store.slice(start, start + ROWS), first=start + 1)
        return logits

    def logits(self, rows: EncodedRows, *, first: int = 1) -> NDArray[np.float32]:
        """Return the model's own logits of at most `ROWS` encoded rows: [rows, outputs].

        Raises DataError for a logit that is infinite or not a number; the first row has the number `first`.
        """
        inputs = inputs_of(shared(rows))
        with torch.inference_mode():
            logits = self._forward(inputs).logits.float().numpy()
        finite = np.isfinite(logits)
        if not finite.all():
            row, output = np.argwhere(~finite)[0]
            raise DataError(
                f"row {first + row}: the model's logit is {logits[row, output]}, which is no score. A number in that "
                "row is too large for the model, or the model's weights are not finite; check the row, or fit again."
            )
        return logits

    def _forward(self, inputs: Inputs) -> Output:
        if self.precision == "fp32":
            return self._model(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            return self._model(inputs)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map logits [rows, outputs] to what `predict` returns."""
        shown = self.artifact.calibrator.probabilities(logits)
        return shown[:, 0] if self.outputs == 1 else shown

    def _named(self, probabilities: NDArray[np.float64]) -> list[pl.Series]:
        if self.outputs == 1:
            return [pl.Series("probability", probabilities)]
        names = [t.name if t.width == 1 else f"{t.name}_{i}" for t in self._tasks for i in range(t.width)]
        return [pl.Series(f"probability_{name}", probabilities[:, i]) for i, name in enumerate(names)]


def _is_few(rows: Any) -> bool:
    """Return whether rows are at hand and so few that they need no store."""
    if isinstance(rows, list):
        return 0 < len(rows) <= FEW and isinstance(rows[0], Mapping)
    return isinstance(rows, Mapping) or (isinstance(rows, pl.DataFrame) and 0 < rows.height <= FEW)


def shared(rows: EncodedRows) -> EncodedRows:
    """Return the rows with each distinct history once where most are repeated: users' parts are then computed once."""
    if not 1 < len(rows) < ROWS or not rows.histories or rows.owner is not None:
        return rows
    flat = [history.reshape(len(rows), -1) for history in rows.histories.values()]
    keys = sum(_mixed(history) for history in flat)
    _, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    if 2 * len(first) > len(rows) or any((history != history[first][owner]).any() for history in flat):
        return rows
    kept = {name: history[first] for name, history in rows.histories.items()}
    return replace(rows, histories=kept, owner=owner.astype(np.int32))


def _mixed(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return a key per row; rows of different keys differ, rows of one key are compared."""
    factors = np.random.default_rng(ids.shape[1]).integers(1, 1 << 62, ids.shape[1]) | 1
    return (ids * factors).sum(1)


def _same(one: Any, other: Any) -> bool:
    """Return whether two cells are equal texts or lists; arrays are not compared."""
    return type(one) is type(other) and isinstance(one, (str, list, tuple)) and bool(one == other)


def nothing(layout: Any) -> EncodedRows:
    """Return no rows of a layout."""
    return EncodedRows(
        ids=np.zeros((0, len(layout.ids)), np.int32),
        numeric=np.zeros((0, len(layout.numeric)), np.float32),
        bags={c.name: np.zeros((0, c.length), np.int32) for c in layout.bags},
        vectors={c.name: np.zeros((0, c.dim), np.float32) for c in layout.vectors},
        histories={h.name: np.zeros((0, h.length, len(h.columns)), np.int32) for h in layout.histories},
        domain=np.zeros(0, np.int32) if layout.domains else None,
    )
