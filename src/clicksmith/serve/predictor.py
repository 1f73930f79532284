"""`Predictor`: raw rows in, probabilities out, by the encoder and weights of one artefact."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from clicksmith.batch.batch import batch_of
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.source import open_source
from clicksmith.schema import Categorical, Schema
from clicksmith.serve.artifact import Artifact, load

ROWS = 8192
"""Rows scored at once. Training-time evaluation uses the same number, so that both give the same bits."""

Raw = Any
"""A row as a dict, a list of such rows, a polars, pandas or pyarrow frame, or the path of a file."""


class Predictor:
    """A trained model that scores raw rows. It is read-only and safe to share between threads."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._model = artifact.model.eval()
        self._encoder = artifact.encoder
        self._single = sum(task.width for task in artifact.spec.tasks) == 1

    @staticmethod
    def load(path: str | Path) -> "Predictor":
        """Read an artefact, or the run folder that holds one, after checking every file of it.

        Raises ArtifactError.
        """
        return Predictor(load(path))

    @property
    def schema(self) -> Schema:
        """What the columns mean."""
        return self.artifact.schema

    def predict(self, rows: Raw) -> NDArray[np.float64]:
        """Return probabilities in row order: [rows], or [rows, outputs] for a model with several outputs.

        A label column is not needed and not read; values never seen in training are scored as unseen.

        Raises DataError: a column that the schema names is missing, or a value does not fit its column.
        """
        pieces = [self.probabilities(self.logits(part)) for part in self.encoded(rows)]
        return np.concatenate(pieces) if pieces else self.probabilities(np.zeros((0, self.outputs), np.float32))

    def predict_frame(self, rows: Raw, *, keep: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the kept columns with the column `probability` (one per output) behind them, in row order.

        `keep` names columns of the data; None keeps the key columns (see `keys`).
        """
        return pl.concat(list(self.predict_frames(rows, keep=keep)), how="vertical")

    def predict_frames(self, rows: Raw, *, keep: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Give `predict_frame` in pieces, for data larger than memory; there is at least one piece."""
        source = open_source(_as_frame(rows))
        kept = list(self.keys(source.columns) if keep is None else keep)
        columns = list(dict.fromkeys([*self._encoder.columns_of(source), *kept]))
        empty = True
        for frame in source.batches(columns, ROWS):
            encoded = self._encoder.encode(frame, labels=False)
            yield frame.select(kept).with_columns(self._named(self.probabilities(self.logits(encoded))))
            empty = False
        if empty:
            nothing = pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in kept})
            yield nothing.with_columns(self._named(self.probabilities(np.zeros((0, self.outputs), np.float32))))

    def keys(self, columns: Sequence[str]) -> list[str]:
        """Return which of the columns name a row: ids of user and item, group, time, and columns not used."""
        schema = self.schema
        named = {c.name for c in schema.fields if isinstance(c, Categorical) and c.role in ("user", "item")}
        named |= {name for name in (schema.group, schema.domain, *schema.ignored) if name}
        named |= {schema.time.name} if schema.time else set()
        return [name for name in columns if name in named]

    def encoded(self, rows: Raw, *, labels: bool = False) -> Iterator[EncodedRows]:
        """Give raw rows encoded, at most `ROWS` at a time."""
        if isinstance(rows, Mapping):
            rows = [rows]
        if isinstance(rows, list) and len(rows) <= ROWS:
            yield self._encoder.encode(rows, labels=labels)
            return
        source = open_source(_as_frame(rows))
        for frame in source.batches(self._encoder.columns_of(source, labels=labels), ROWS):
            yield self._encoder.encode(frame, labels=labels)

    @property
    def outputs(self) -> int:
        """Number of logits per row."""
        return sum(task.width for task in self.artifact.spec.tasks)

    def logits(self, rows: EncodedRows) -> NDArray[np.float32]:
        """Return the model's own logits of encoded rows, before offset and calibration: [rows, outputs]."""
        with torch.inference_mode():
            return self._model(batch_of(shared(rows)).inputs).logits.float().numpy()

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map logits [rows, outputs] to what `predict` returns."""
        shown = self.artifact.calibrator.probabilities(logits)
        return shown[:, 0] if self._single else shown

    def _named(self, probabilities: NDArray[np.float64]) -> list[pl.Series]:
        if self._single:
            return [pl.Series("probability", probabilities)]
        names = [t.name if t.width == 1 else f"{t.name}_{i}" for t in self.artifact.spec.tasks for i in range(t.width)]
        return [pl.Series(f"probability_{name}", probabilities[:, i]) for i, name in enumerate(names)]


def shared(rows: EncodedRows) -> EncodedRows:
    """Return the rows with one history where all rows have the same, so that a user's part is computed once."""
    if len(rows) < 2 or not rows.histories or rows.owner is not None:
        return rows
    if any((history != history[:1]).any() for history in rows.histories.values()):
        return rows
    one = {name: history[:1] for name, history in rows.histories.items()}
    return replace(rows, histories=one, owner=np.zeros(len(rows), np.int32))


def _as_frame(rows: Raw) -> Any:
    if isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows):
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)
    return rows
