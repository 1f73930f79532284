"""Preparation that a schema cannot say: new columns, joined tables, histories built from logs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from clicksmith.datasets.published import AVAZU, CRITEO_CODES, CRITEO_NUMBERS, TAOBAO
from clicksmith.datasets.spec import Found, Frames
from clicksmith.encode.hashing import splitmix64
from clicksmith.encode.source import open_source

PARTS = ("train", "valid", "test")


def text(path: Path) -> pl.LazyFrame:
    """Return a CSV file with a header, its cells as text."""
    return pl.scan_csv(path, infer_schema=False, glob=False)


def lines(path: Path) -> pl.Series:
    """Return the lines of a text file."""
    frame = pl.read_csv(
        path, has_header=False, separator="\x01", quote_char=None, infer_schema=False, encoding="utf8-lossy"
    )
    return frame.to_series().alias("line")


def cut(path: Path, separator: str, names: tuple[str, ...]) -> pl.DataFrame:
    """Return a text file whose lines are cut at a separator of several characters."""
    found = lines(path).str.split_exact(separator, len(names) - 1)
    return found.struct.rename_fields(list(names)).struct.unnest()


def avazu(found: Found) -> Frames:
    """Cut the hour (YYMMDDHH) into hour, weekday (0 is Sunday) and weekend."""
    return {part: _with_calendar(text(found[part])) for part in PARTS}


def _with_calendar(frame: pl.LazyFrame) -> pl.LazyFrame:
    hour = pl.col("hour")
    day = (pl.lit("20") + hour.str.slice(0, 6)).str.to_date("%Y%m%d").dt.weekday() % 7
    weekend = day.is_in([0, 6]).cast(pl.Int8)
    return frame.with_columns(hour.str.slice(6, 2), day.alias("weekday"), weekend.alias("weekend")).drop("id")


def avazu_sample(found: Found) -> Frames:
    """Avazu's first rows: only the train file has a header."""
    names = ["id", "click", "hour", *AVAZU]
    read = {part: pl.concat(list(open_source(found[part], columns=names).batches())) for part in PARTS}
    return {part: _with_calendar(frame.lazy()) for part, frame in read.items()}


def criteo_sample(found: Found) -> Frames:
    """Criteo's first rows."""
    names = ["Label", *CRITEO_NUMBERS, *CRITEO_CODES]
    rows = pl.concat(list(open_source(found["train"], columns=names).batches()))
    return {"rows": rows.lazy()}


def kkbox(found: Found) -> Frames:
    """Take the country from the isrc, and seven age buckets from bd (empty outside 1 to 95)."""
    age = pl.col("bd").cast(pl.Int64, strict=False)
    bucket = pl.when((age < 1) | (age > 95)).then(None).otherwise(((age - 1) // 10).clip(0, 6))
    country = pl.col("isrc").str.slice(0, 2)
    return {part: text(found[part]).with_columns(country, bucket.alias("bd")) for part in PARTS}


def movielens_1m(found: Found) -> Frames:
    """AutoInt's MovieLens-1M: no user and no movie id; ratings above 3 are positive, below 3 negative, 3 left out."""
    ratings = cut(found["ratings"], "::", ("user", "movie", "rating", "time")).cast(pl.Int64)
    users = cut(found["users"], "::", ("user", "gender", "age", "occupation", "zip"))
    movies = cut(found["movies"], "::", ("movie", "title", "genres"))
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64)
    bucket = pl.when(year < 1970).then(year // 10 * 10).otherwise(year)
    movies = movies.select(pl.col("movie").cast(pl.Int64), bucket.alias("year"), "genres")
    rows = (
        ratings.filter(pl.col("rating") != 3)
        .join(users.with_columns(pl.col("user").cast(pl.Int64)), on="user", how="left", maintain_order="left")
        .join(movies, on="movie", how="left", maintain_order="left")
    )
    time = pl.col("time")
    low, high = int(ratings["time"].min() or 0), int(ratings["time"].max() or 1)  # type: ignore[arg-type]
    rows = rows.select(
        (pl.col("rating") > 3).cast(pl.Int8).alias("label"),
        "gender",
        "age",
        "occupation",
        "zip",
        "year",
        ((time - low) / (high - low)).alias("timestamp"),
        "genres",
        "time",
    )
    return {"rows": rows.lazy()}


def movielens_100k(found: Found) -> Frames:
    """MovieLens-100k with ids: ratings above 3 are positive, below 3 negative, 3 left out."""

    def read(name: str) -> pl.DataFrame:
        frame = pl.read_csv(found[name], separator="\t", quote_char=None, infer_schema=False, glob=False)
        return frame.rename(lambda column: column.split(":")[0])

    rows = (
        read("inter")
        .with_columns(pl.col("rating").cast(pl.Float64))
        .filter(pl.col("rating") != 3)
        .join(read("user"), on="user_id", how="left", maintain_order="left")
        .join(read("item"), on="item_id", how="left", maintain_order="left")
        .with_columns((pl.col("rating") > 3).cast(pl.Int8).alias("label"), pl.col("timestamp").cast(pl.Int64))
        .drop("rating", "movie_title")
        .rename({"class": "genres"})
    )
    return {"rows": rows.lazy()}


def taobao_sample(found: Found) -> Frames:
    """DMR's 267-column layout: 50 kinds of behaviour, categories and brands, then profile and ad; 0 pads a history."""
    raw = pl.read_csv(found["train"], has_header=False, infer_schema=False, glob=False)
    names = raw.columns
    fields = ("userid", *TAOBAO[1:14], "price", "pid")
    columns = [pl.Series("clk", raw[names[266]]).alias("clk")]
    for i, name in enumerate(("btag_his", "cate_his", "brand_his")):
        block = raw.select(names[50 * i : 50 * i + 50])
        kept = pl.concat_list([pl.when(pl.col(c) != "0").then(pl.col(c)) for c in block.columns]).list.drop_nulls()
        columns.append(block.select(kept.list.join("^").alias(name)).to_series())
    columns += [raw[names[250 + i]].alias(name) for i, name in enumerate(fields)]
    rows = pl.DataFrame(columns).with_columns(pl.lit("1").alias("btag"))
    return {"rows": rows.lazy()}


def next_item(found: Found) -> Frames:
    """Build DIN's data from item sequences: is this the user's next item? One true, one drawn at random, per user.

    The last item of each user tests, the one before validates, the one before that trains.
    """
    cells = lines(found["sequences"]).str.split(" ")
    items = cells.list.slice(1)
    users = pl.DataFrame({"user": cells.list.first(), "items": items})
    attributes = _attributes(found)
    largest = int(items.explode().cast(pl.Int64).max() or 1)  # type: ignore[arg-type]
    frames: Frames = {}
    for back, part in ((1, "test"), (2, "valid"), (3, "train")):
        place = pl.col("items").list.len().cast(pl.Int64) - back
        kept = users.filter(place > 0).with_columns(
            pl.col("items").list.head(place).alias("history"),
            pl.col("items").list.get(place, null_on_oob=True).alias("true"),
        )
        owner, history, true = kept["user"], kept["history"], kept["true"]
        keys = splitmix64(np.arange(len(owner), dtype=np.uint64), back)
        drawn = pl.Series((keys % np.uint64(largest)).astype(np.int64) + 1).cast(pl.String)
        both = [_candidates(owner, history, item, label) for item, label in ((true, 1), (drawn, 0))]
        frames[part] = _with_categories(pl.concat(both), attributes).lazy()
    return frames


def _candidates(owner: pl.Series, history: pl.Series, item: pl.Series, label: int) -> pl.DataFrame:
    frame = pl.DataFrame({"user_id": owner, "item_id": item, "item_history": history})
    return frame.select(pl.lit(label, pl.Int8).alias("label"), "user_id", "item_id", "item_history")


def _attributes(found: Found) -> pl.DataFrame:
    table = msgspec.json.decode("".join(lines(found["attributes"]).to_list()), type=dict[str, list[int]])
    first = {item: str(values[0]) for item, values in table.items() if values}
    return pl.DataFrame(
        {"item": list(first), "category": list(first.values())}, schema={"item": pl.String, "category": pl.String}
    )


def _with_categories(rows: pl.DataFrame, attributes: pl.DataFrame) -> pl.DataFrame:
    item, category = attributes["item"], attributes["category"]
    return rows.with_columns(
        pl.col("item_id").replace_strict(item, category, default="").alias("cate_id"),
        pl.col("item_history").list.eval(pl.element().replace_strict(item, category, default="")).alias("cate_history"),
    )
