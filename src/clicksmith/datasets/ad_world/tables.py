"""An ad world's arrays as frames, and its schema."""

from __future__ import annotations

import numpy as np
import polars as pl

from clicksmith.datasets.ad_world.hidden import Hidden
from clicksmith.datasets.ad_world.rows import Block
from clicksmith.datasets.ad_world.settings import AdWorldSettings
from clicksmith.schema import Behaviour, Categorical, Label, Multimodal, Numeric, Schema, Side, SideTable, Time
from clicksmith.schema.columns import Field


def schema_of(settings: AdWorldSettings, *, tables: bool) -> Schema:
    """Return the schema of a world: with side tables, or for the wide table."""
    fields: list[Field] = [
        Categorical("user_id", role="user"),
        Categorical("ad_id", role="item"),
        Categorical("category", role="item"),
        Categorical("hour"),
    ]
    if settings.domains is not None:
        fields += [Categorical("domain"), Categorical("style")]
    fields += [Categorical(f"pair_{i}_{side}") for i in range(len(settings.pairs)) for side in "ab"]
    fields += [Categorical(f"mixed_code_{i}") for i in range(settings.mixed.fields if settings.mixed else 0)]
    if settings.numbers is not None:
        fields += [
            Numeric(f"number_{i}", scale="log" if i % 3 == 1 else "standard") for i in range(settings.numbers.useful)
        ]
        fields += [Numeric(f"noise_number_{i}") for i in range(settings.numbers.noise)]
    fields += [Categorical(f"noise_code_{i}") for i in range(settings.noise.fields if settings.noise else 0)]
    joined: list[SideTable] = []
    behaviours: tuple[Behaviour, ...] = ()
    if settings.history is not None:
        joined.append(SideTable("users", "users.parquet", "user_id"))
        sides = (Side("past_categories", of="category"), Side("past_gaps"))
        behaviours = (Behaviour("past_ads", of="ad_id", sides=sides, max_length=settings.history.longest),)
    if settings.vectors is not None:
        joined.append(SideTable("ads", "ads.parquet", "ad_id"))
        fields.append(Multimodal("image", dim=settings.vectors.dim))
    return Schema(
        fields=tuple(fields),
        behaviours=behaviours,
        label=Label("click"),
        group="user_id",
        domain="domain" if settings.domains is not None else None,
        time=Time("time"),
        tables=tuple(joined) if tables else (),
    )


def frame_of_block(block: Block, settings: AdWorldSettings) -> pl.DataFrame:
    """Return rows as a frame in the order of the schema, label and time first."""
    order = [name for name in schema_of(settings, tables=False).field_names if name != "image"]
    columns = {
        "click": pl.Series("click", block.click.astype(np.int8)),
        "time": pl.Series("time", block.columns["time"]),
    }
    for name in order:
        cells = block.columns[name]
        if cells.dtype.kind == "f":
            columns[name] = pl.Series(name, cells).fill_nan(None)
        else:
            columns[name] = pl.Series(name, cells.astype(np.int32))
    return pl.DataFrame(columns)


def users_table(hidden: Hidden) -> pl.DataFrame:
    """Return past behaviours by user, newest last: lists of ads, of their categories, and of the days between them."""
    users, longest = hidden.histories.shape
    kept = np.arange(longest) >= longest - hidden.lengths[:, None]
    ads = hidden.histories[kept]
    flat = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(users, dtype=np.int32), hidden.lengths),
            "past_ads": ads.astype(np.int32),
            "past_categories": hidden.category[ads].astype(np.int32),
            "past_gaps": hidden.gaps[kept].astype(np.int32),
        }
    )
    return flat.group_by("user_id", maintain_order=True).agg(pl.all())


def ads_table(settings: AdWorldSettings, hidden: Hidden) -> pl.DataFrame:
    """Return what is known of each ad: its vector `image`; `lifetime_days` and whether it was `stopped` by then."""
    columns: dict[str, pl.Series] = {"ad_id": pl.Series("ad_id", np.arange(len(hidden.category), dtype=np.int32))}
    if settings.vectors is not None:
        columns["image"] = pl.Series("image", hidden.vectors)
    if settings.lifetimes is not None:
        columns["lifetime_days"] = pl.Series("lifetime_days", hidden.lifetime)
        columns["stopped"] = pl.Series("stopped", hidden.stopped.astype(np.int8))
    return pl.DataFrame(columns)


def hidden_tables(settings: AdWorldSettings, hidden: Hidden) -> dict[str, pl.DataFrame]:
    """Return what is hidden of users and ads."""
    users = {
        "user_id": pl.Series(np.arange(len(hidden.user_effect), dtype=np.int32)),
        "community": pl.Series(hidden.user_community.astype(np.int32)),
        "effect": pl.Series(hidden.user_effect),
    }
    ads = {
        "ad_id": pl.Series(np.arange(len(hidden.category), dtype=np.int32)),
        "community": pl.Series(hidden.ad_community.astype(np.int32)),
        "category": pl.Series(hidden.category.astype(np.int32)),
        "effect": pl.Series(hidden.ad_effect + hidden.vector_effect),
    }
    if settings.history is not None:
        liked = np.nonzero(hidden.likes)[1].reshape(len(hidden.likes), settings.history.interests)
        users["likes"] = pl.Series(liked.astype(np.int32)).arr.to_list()
    if settings.lifetimes is not None:
        ads["worn_out"] = pl.Series(hidden.worn_out)
    return {"users": pl.DataFrame(users), "ads": pl.DataFrame(ads)}
