"""The rows of each part, encoded under a Plan."""

from functools import partial
from pathlib import Path

from clicksmith.batch.store import Store, cached_encode, cached_fit_encode
from clicksmith.fitting.asked import AskedSchema
from clicksmith.fitting.split import Parts
from clicksmith.fitting.told import FitProgress
from clicksmith.plan import Plan
from clicksmith.plan.apply import Applied, apply_plan


def encoded(
    asked: AskedSchema, parts: Parts, plan: Plan, home: Path, progress: FitProgress
) -> tuple[Applied, dict[str, Store]]:
    """Encode every part, or open what `home` has of the same content."""
    told = progress.encoding
    fitted = cached_fit_encode(asked.schema, parts.train, home, root=asked.root, progress=partial(told, "train"))
    applied = apply_plan(plan, fitted.encoder)
    stores = {"train": fitted.store}
    if applied.encoder is not fitted.encoder:
        stores["train"] = cached_encode(applied.encoder, parts.train, home, progress=partial(told, "train")).store
    for name, source in (("valid", parts.valid), ("test", parts.test)):
        if source is not None:
            stores[name] = cached_encode(applied.encoder, source, home, progress=partial(told, name)).store
    return applied, stores
