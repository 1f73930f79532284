"""Encoders as folders of plain files: arrays with checksums and one JSON note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clicksmith.encode.arrays import Arrays, read_arrays, read_manifest, writing
from clicksmith.encode.assemble import Share
from clicksmith.encode.crosses import Cross, CrossOf
from clicksmith.encode.dictionary import new_dictionary
from clicksmith.encode.encoder import Encoder, Side
from clicksmith.encode.fitted import Fitted
from clicksmith.encode.numbers import Moments, Scale
from clicksmith.encode.recipe import TableRecipe, side_tables
from clicksmith.encode.texts import Packed, pack
from clicksmith.encode.vocabulary import Keep, Vocabulary
from clicksmith.errors import ArtifactError
from clicksmith.files import atomic_folder
from clicksmith.schema.schema import Schema

KIND = "encoder"
_PARTS = ("text", "ends", "counts", "rare_text", "rare_ends", "rare_counts")
_CROSS = ("keys", "ids", "counts")


class CrossNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cross, besides its arrays."""

    of: CrossOf
    base: int
    unseen: int


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """What the manifest says besides the arrays; sizes are those of `_PARTS`, by slot."""

    schema: Schema
    recipes: tuple[TableRecipe, ...]
    scales: dict[str, Scale]
    moments: dict[str, Moments]
    keeps: dict[str, Keep]
    sizes: dict[str, tuple[int, ...]]
    blanks: dict[str, int]
    shares: dict[str, Share]
    rows: int
    whole: bool
    crosses: tuple[CrossNote, ...] = ()
    plain: dict[str, str] = {}
    """The numbering that a Plan started from, by slot that it renumbered."""


def save(encoder: Encoder, folder: Path, *, rare: bool) -> None:
    """Write an encoder; the folder appears only when it is complete."""
    nothing = pack([])
    sizes: dict[str, tuple[int, ...]] = {}
    with atomic_folder(folder) as beside, writing(beside) as writer:
        for slot, v in encoder.fitted.vocabularies.items():
            left, left_counts = (v.rare, v.rare_counts) if rare else (nothing, v.rare_counts.sum(keepdims=True))
            parts = (v.values.text, v.values.ends, v.counts, left.text, left.ends, left_counts)
            sizes[slot] = tuple(len(part) for part in parts)
            writer.append({f"vocabulary:{name}": part for name, part in zip(_PARTS, parts, strict=True)})
            if v.remap is not None:
                writer.append({f"remap {slot}": v.remap})
        for name, side in encoder.sides.items():
            keys = side.keys.pick(np.arange(len(side.keys), dtype=np.int32))
            writer.append({f"side {name}:(keys)": keys.text, f"side {name}:(ends)": keys.ends})
            writer.append({f"side {name}:{key}": array for key, array in side.arrays.items()})
        for cross in encoder.crosses:
            for key in _CROSS:
                writer.append({f"cross {cross.name}:{key}": getattr(cross, key)})
        note = Note(
            schema=encoder.schema,
            recipes=encoder.recipes,
            scales=encoder.fitted.scales,
            moments=encoder.moments,
            keeps={slot: v.keep for slot, v in encoder.fitted.vocabularies.items()},
            sizes=sizes,
            blanks={slot: v.blank for slot, v in encoder.fitted.vocabularies.items()},
            shares={name: side.share for name, side in encoder.sides.items()},
            rows=encoder.rows,
            whole=rare and encoder.whole,
            crosses=tuple(CrossNote(c.of, c.base, c.unseen) for c in encoder.crosses),
            plain={slot: v.plain for slot, v in encoder.fitted.vocabularies.items() if v.plain},
        )
        writer.finish(KIND, msgspec.to_builtins(note, str_keys=True))


def load(folder: Path, *, verify: bool, root: Path) -> Encoder:
    """Read an encoder; its arrays stay on disk until they are used."""
    manifest = read_manifest(folder, KIND)
    try:
        note = msgspec.convert(manifest.note, Note, str_keys=True)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"'{folder / 'manifest.json'}' is damaged: {error}. Write it again.") from error
    arrays = read_arrays(folder, manifest, verify=verify)
    fitted = Fitted(note.schema, _vocabularies(arrays, note), note.scales)
    recipes = {recipe.name: recipe for recipe in note.recipes}
    sides: dict[str, Side] = {}
    for name, share in note.shares.items():
        own: Arrays = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"side {name}:")}
        keys = new_dictionary()
        packed = Packed(own.pop("(keys)"), own.pop("(ends)"))
        keys.load(packed, np.zeros(len(packed), np.int64))
        sides[name] = Side(recipes[name], keys, share, own)
    tables = side_tables(note.schema, {}, root)
    crosses = tuple(
        Cross(c.of, c.base, *(arrays[f"cross {'*'.join(c.of.fields)}:{key}"] for key in _CROSS), unseen=c.unseen)
        for c in note.crosses
    )
    return Encoder(note.schema, fitted, note.moments, note.recipes, sides, tables, note.rows, note.whole, crosses)


def _vocabularies(arrays: Arrays, note: Note) -> dict[str, Vocabulary]:
    found: dict[str, Vocabulary] = {}
    at = [0] * len(_PARTS)
    for slot, sizes in note.sizes.items():
        parts: list[Any] = []
        for i, name in enumerate(_PARTS):
            parts.append(arrays[f"vocabulary:{name}"][at[i] : at[i] + sizes[i]])
            at[i] += sizes[i]
        text, ends, counts, rare_text, rare_ends, rare_counts = parts
        values, rare = Packed(text, ends), Packed(rare_text, rare_ends)
        keep = note.keeps[slot]
        if slot in note.scales:  # an encoder of before knows the edges of quantiles from its scales alone
            keep = msgspec.structs.replace(keep, edges=note.scales[slot].edges)
        found[slot] = Vocabulary(
            keep, values, counts, rare, rare_counts, note.blanks[slot],
            arrays.get(f"remap {slot}"), note.plain.get(slot, ""),
        )  # fmt: skip
    return found
