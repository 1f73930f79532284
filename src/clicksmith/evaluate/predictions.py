"""Predictions stored with a run, so that a metric can be added later without the model or the features."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from clicksmith.errors import ArtifactError, DataError, UsageError
from clicksmith.evaluate.scored import Scored, scored
from clicksmith.files import atomic_folder
from clicksmith.identity import file_digest

VERSION = 1
CARD = "predictions.json"


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `predictions.json` says."""

    version: int
    rows: int
    outputs: tuple[str, ...]
    """Name of each column of the logits: the label it predicts."""
    origin: dict[str, str]
    """Where they come from: digests of the model, the data, the split."""
    sha256: dict[str, str]
    """File name to checksum."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits, labels and groups of the same rows; arrays may be memory-mapped.

    Shape (n rows):
        logits:  [n, outputs] float32
        labels:  [n, outputs] float32, NaN where unknown
        groups:  [n] int64 or None
        weights: [n] float32 or None
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.float32]
    groups: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None
    outputs: tuple[str, ...] = ("label",)
    origin: dict[str, str] = field(default_factory=dict[str, str])

    def __len__(self) -> int:
        """Number of rows."""
        return self.logits.shape[0]

    def scored(self, output: int | str = 0) -> Scored:
        """Return the rows whose label is known, for one output, as what metrics read."""
        column = self.outputs.index(output) if isinstance(output, str) and output in self.outputs else output
        if isinstance(column, str) or not 0 <= column < len(self.outputs):
            raise UsageError(f"no output {output!r} in these predictions; they hold {', '.join(self.outputs)}.")
        labels, logits = self.labels[:, column], self.logits[:, column]
        known = ~np.isnan(labels)
        if known.all():
            return scored(labels, logits=logits, groups=self.groups, weights=self.weights)
        rest = [None if a is None else a[known] for a in (self.groups, self.weights)]
        return scored(labels[known], logits=logits[known], groups=rest[0], weights=rest[1])

    def save(self, folder: Path) -> None:
        """Write the folder: .npy files, and `predictions.json` with their checksums. It appears whole or not at all."""
        write_predictions(folder, [self], rows=len(self), outputs=self.outputs, origin=self.origin)

    @staticmethod
    def open(folder: Path, *, verify: bool = True) -> "Predictions":
        """Memory-map a folder that `save` wrote.

        Raises ArtifactError if it is incomplete, altered (unless `verify` is False) or of another version.
        """
        card = _card(folder)
        for name, expected in card.sha256.items():
            path = folder / name
            if not path.is_file():
                raise ArtifactError(f"'{path}' is missing; the predictions are incomplete. Run the evaluation again.")
            if verify and file_digest(path) != expected:
                raise ArtifactError(
                    f"'{path}' was altered: its checksum is not the one in {CARD}. Run the evaluation again."
                )
        arrays = {Path(name).stem: _map(folder / name, card.rows) for name in card.sha256}
        if not {"logits", "labels"} <= set(arrays):
            raise ArtifactError(f"'{folder / CARD}' lists no logits and labels; run the evaluation again.")
        return Predictions(
            logits=arrays["logits"],
            labels=arrays["labels"],
            groups=arrays.get("groups"),
            weights=arrays.get("weights"),
            outputs=card.outputs,
            origin=card.origin,
        )


def write_predictions(
    folder: Path,
    pieces: Iterable[Predictions],
    *,
    rows: int,
    outputs: tuple[str, ...] = ("label",),
    origin: dict[str, str] | None = None,
) -> None:
    """Write predictions piece by piece (of `rows` rows together), so that they need not fit in memory."""
    with atomic_folder(folder) as beside:
        done = 0
        files: dict[str, NDArray[Any]] = {}
        for piece in pieces:
            columns = _columns(piece)
            for name, values in columns.items() if not files else ():
                shape = (rows, *values.shape[1:])
                files[name] = np.lib.format.open_memmap(beside / f"{name}.npy", "w+", values.dtype, shape)
            if set(columns) != set(files) or done + len(piece) > rows:
                raise DataError(
                    f"the pieces of '{folder}' do not fit together: {done + len(piece)} of {rows} rows, "
                    f"columns {sorted(columns)}; give every piece the same columns."
                )
            for name, values in columns.items():
                files[name][done : done + len(piece)] = values
            done += len(piece)
        if done != rows or not files:
            raise DataError(f"'{folder}': {done} rows of predictions came, {rows} were announced; nothing was written.")
        for values in files.values():
            cast("np.memmap[Any, Any]", values).flush()
        sums = {f"{name}.npy": file_digest(beside / f"{name}.npy") for name in files}
        card = Card(VERSION, rows, outputs, origin or {}, sums)
        (beside / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")


def _columns(piece: Predictions) -> dict[str, NDArray[Any]]:
    if piece.logits.ndim != 2 or piece.logits.shape != piece.labels.shape:
        raise DataError(
            f"logits have shape {piece.logits.shape}, labels {piece.labels.shape}; both are [rows, outputs]."
        )
    columns: dict[str, NDArray[Any]] = {
        "logits": piece.logits.astype(np.float32, copy=False),
        "labels": piece.labels.astype(np.float32, copy=False),
    }
    if piece.groups is not None:
        columns["groups"] = piece.groups.astype(np.int64, copy=False)
    if piece.weights is not None:
        columns["weights"] = piece.weights.astype(np.float32, copy=False)
    return columns


def _card(folder: Path) -> Card:
    path = folder / CARD
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"'{folder}' holds no predictions ({CARD} cannot be read); run the evaluation first."
        ) from error
    try:
        card = msgspec.json.decode(content, type=Card)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"'{path}' is damaged: {error}. Run the evaluation again.") from error
    if card.version != VERSION:
        raise ArtifactError(
            f"'{path}' has version {card.version}; this Clicksmith reads version {VERSION}. Upgrade Clicksmith."
        )
    if any(Path(name).name != name or not name.endswith(".npy") for name in card.sha256):
        raise ArtifactError(f"'{path}' names files outside its folder; it was not written by Clicksmith.")
    return card


def _map(path: Path, rows: int) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(f"'{path}' is damaged: {error}. Run the evaluation again.") from error
    if array.shape[0] != rows:
        raise ArtifactError(f"'{path}' holds {array.shape[0]} rows where {CARD} says {rows}. Run the evaluation again.")
    return array
