"""The rows of each part, encoded under a Plan."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from clicksmith.batch.store import Store, cached_encode, cached_fit_encode
from clicksmith.encode.encoder import Encoder
from clicksmith.fitting.asked import AskedSchema
from clicksmith.fitting.split import Parts
from clicksmith.fitting.told import FitProgress
from clicksmith.plan import Plan
from clicksmith.plan.apply import Applied, apply_plan, found_elsewhere
from clicksmith.plan.crossing import with_crosses


def encoded(
    asked: AskedSchema, parts: Parts, plan: Plan, home: Path, progress: FitProgress, *, rows: str
) -> tuple[Applied, dict[str, Store]]:
    """Encode every part, or open what `home` has of the same content.

    rows: the fingerprint of the training rows
    """

    def encode(encoder: Encoder, source: Any, part: str) -> Store:
        told = partial(progress.encoding, part)
        return cached_encode(encoder, source, home, progress=told, noted=progress.noted).store

    told = partial(progress.encoding, "train")
    fitted = cached_fit_encode(asked.schema, parts.train, home, root=asked.root, progress=told, noted=progress.noted)
    applied = apply_plan(plan, fitted.encoder)
    elsewhere = found_elsewhere(plan, fitted.encoder, (rows, fitted.store.digest))
    applied = replace(applied, notes=(*applied.notes, *elsewhere))
    stores = {"train": fitted.store}
    if applied.encoder is not fitted.encoder:
        stores["train"] = encode(applied.encoder, parts.train, "train")
    crossed = with_crosses(applied, stores["train"])
    if crossed is not applied:
        applied = crossed
        stores["train"] = encode(applied.encoder, parts.train, "train")
    for name, source in (("valid", parts.valid), ("test", parts.test)):
        if source is not None:
            stores[name] = encode(applied.encoder, source, name)
    return applied, stores
