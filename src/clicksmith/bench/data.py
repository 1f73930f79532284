"""The data of a benchmark: found, checked, cut into parts that never mix, and encoded once for all trials."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clicksmith.batch.store import cached_encode, cached_fit_encode
from clicksmith.bench.published import PUBLISHED
from clicksmith.datasets.catalogue import DATASETS
from clicksmith.datasets.checksum import md5_forms
from clicksmith.datasets.dataset import Dataset
from clicksmith.datasets.load import find, load
from clicksmith.datasets.spec import DatasetSpec
from clicksmith.encode.layout import Layout
from clicksmith.encode.source import open_source
from clicksmith.errors import SchemaError, UsageError
from clicksmith.files import names_folder
from clicksmith.fitting.asked import AskedSchema, check_parts
from clicksmith.fitting.split import parts_of
from clicksmith.names import lookup
from clicksmith.schema import Schema

SPLIT_SEED = 2026
"""Of validation rows taken off by chance; the same for all trials, whatever their seed."""
GIVEN = "files as given"
TEST_AS_VALID = "test rows are validation rows too, as published"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchData:
    """Encoded parts, and what a row says of them.

    title: data set and protocol, the name of the results folder; checksums: see `Configuration.data`
    """

    title: str
    checksums: dict[str, str]
    split: str
    schema: str
    layout: Layout
    stores: dict[str, Path]
    """Folder of the encoded rows of train, valid and test."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A data set before it is encoded."""

    title: str
    dataset: Dataset
    checksums: dict[str, str]
    how: str | None
    """How the published parts are to be taken; None: validation rows come off the training rows."""


def prepare(name: str, folder: str | None, protocol: str | None, cache: Path, say: Say) -> BenchData:
    """Find, verify, split and encode a data set: a name of `DATASETS`, or a TOML file that declares one.

    Raises UnknownNameError naming the nearest; StorageError: it is not there; DataError: a file is not the published
    one (with both sums), before anything is run; UsageError: it has no test rows, or more than one label.
    """
    found = _declared(Path(name), protocol) if name.endswith(".toml") else _published(name, folder, protocol)
    dataset, schema = found.dataset, found.dataset.schema
    if dataset.test is None:
        raise UsageError(f"the data set '{name}' has no labelled test rows; a benchmark needs them.")
    if len(schema.labels) != 1 or schema.labels[0].task != "binary" or schema.weight is not None:
        raise UsageError(f"the benchmark compares one binary label without weights; the schema of '{name}' has others.")
    how, split = _carving(schema)
    valid = None if found.how is None else dataset.valid
    how = how if valid is None else "auto"
    parts = parts_of(dataset.train, valid, dataset.test, schema=schema, how=how, seed=SPLIT_SEED)
    assert parts.test is not None
    if parts.split is None:
        split = found.how or GIVEN
    else:
        split += f" (row numbers {parts.split.record.checksums['valid'][:16]})"
    sums = "no checksums are published for its files" if name.endswith(".toml") else "checksums agree"
    say(f"{found.title}: {sums}; {split}")
    check_parts(AskedSchema(schema, dataset.root), parts)
    noted: Say = lambda text: say(f"note: {text}")  # noqa: E731
    fitted = cached_fit_encode(schema, parts.train, cache, root=dataset.root, noted=noted)
    encoded = {"train": fitted}
    for part, source in (("valid", parts.valid), ("test", parts.test)):
        encoded[part] = cached_encode(fitted.encoder, source, cache, noted=noted)
    say("encoded: " + ", ".join(f"{part} {cached.store.rows:,} rows" for part, cached in encoded.items()))
    return BenchData(
        title=found.title,
        checksums=found.checksums,
        split=split,
        schema=schema.digest,
        layout=fitted.encoder.layout,
        stores={part: cached.rows for part, cached in encoded.items()},
        notes=dataset.notes,
    )


def named(title: str) -> tuple[str, str | None]:
    """Return the data set and the protocol that have a title.

    >>> named("frappe_x1"), named("criteo_x4_002"), named("taobaoad_x1_published")
    (('frappe_x1', None), ('criteo_x4', 'criteo_x4_002'), ('taobaoad_x1', 'published'))
    """
    return lookup(titles(), title, "data set")


def titles() -> dict[str, tuple[str, str | None]]:
    """Return the data sets and protocols by title."""
    found: dict[str, tuple[str, str | None]] = {}
    for name, spec in DATASETS.items():
        found |= {protocol: (name, protocol) for protocol in list(spec.schema)[1:]}
        found |= {f"{name}_{PUBLISHED}": (name, PUBLISHED)} if spec.test_as_valid else {}
    return found | {name: (name, None) for name in DATASETS}


def _carving(schema: Schema) -> tuple[Literal["time", "group", "random"], str]:
    """Return how validation rows come off the training rows where none are given, and that in words."""
    if schema.time is not None:
        return "time", f"valid is the latest tenth of the training rows by '{schema.time.name}'"
    drawn = f"drawn by chance, seed {SPLIT_SEED}"
    if schema.group is not None:
        return "group", f"valid is a tenth of the training rows, whole groups of '{schema.group}' {drawn}"
    return "random", f"valid is a tenth of the training rows, {drawn}"


def _published(name: str, folder: str | None, protocol: str | None) -> Found:
    spec = lookup(DATASETS, name, "data set")
    first = next(iter(spec.schema))
    asked = lookup(_protocols(spec), protocol or first, f"protocol of {name}")
    dataset = load(name, folder, protocol=asked, fetch=False)
    carve = spec.test_as_valid and protocol != PUBLISHED
    how = None if carve or dataset.valid is None else TEST_AS_VALID if spec.test_as_valid else GIVEN
    title = name if asked == first else asked
    return Found(title if how != TEST_AS_VALID else f"{title}_{PUBLISHED}", dataset, _checksums(spec, folder), how)


def _protocols(spec: DatasetSpec) -> dict[str, str]:
    """Return the name of a protocol to that of its preprocessing."""
    return {**{name: name for name in spec.schema}, PUBLISHED: next(iter(spec.schema))}


def _checksums(spec: DatasetSpec, folder: str | None) -> dict[str, str]:
    """Return the published MD5 of each file (`load` has compared it), else the MD5 of its LF form."""
    found = find(spec, folder) or {}
    return {
        file.part: file.md5[0] if file.md5 else md5_forms(found[file.part])[1]
        for file in spec.files
        if file.part in found
    }


def _declared(path: Path, protocol: str | None) -> Found:
    if protocol is not None:
        raise UsageError(f"--protocol {protocol}: a data set declared in TOML has one protocol; leave it out.")
    dataset = Dataset.from_toml(path)
    if not names_folder(dataset.name):
        raise SchemaError(
            f"'{path}': the data set is named '{dataset.name}'; its name becomes a folder of results, so leave out '/' "
            "and a leading '.'."
        )
    if dataset.name in titles():
        raise SchemaError(f"'{path}': the data set is named '{dataset.name}', as a known one is; give it another name.")
    sides = AskedSchema(dataset.schema, dataset.root).side_fingerprints()
    how = None if dataset.valid is None else GIVEN
    sums = {part: open_source(rows).fingerprint() for part, rows in dataset.parts.items()}
    if "test" in sums and sums["test"] == sums.get("valid"):
        raise UsageError(
            f"'{path}': valid and test are the same rows, and what is selected on test rows says nothing of new ones; "
            "leave out valid (a tenth of the training rows is taken off for it), or give other rows."
        )
    return Found(dataset.name, dataset, sums | sides, how)
