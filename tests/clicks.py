"""Clicks with a planted signal, as files, and one tiny trained run that many tests read."""

import atexit
import contextlib
import io
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl


def clicks(rows: int = 600, seed: int = 0) -> pl.DataFrame:
    """Make impressions: a third of the ads and half of the users click more; price helps a little."""
    random = np.random.default_rng(seed)
    user, ad = random.integers(0, 40, rows), random.integers(0, 25, rows)
    price = np.round(random.lognormal(3, 1, rows), 2)
    logit = 2.5 * (ad % 3 == 0) + 1.5 * (user % 2) - 2 + 0.5 * (price > 20)
    click = random.random(rows) < 1 / (1 + np.exp(-logit))
    history = ["|".join(f"a{x}" for x in random.integers(0, 25, random.integers(0, 6))) for _ in range(rows)]
    return pl.DataFrame(
        {
            "user": [f"u{x}" for x in user],
            "ad": [f"a{x}" for x in ad],
            "device": random.choice(["phone", "tablet", "desktop"], rows),
            "price": price,
            "seen_ads": history,
            "click": click.astype(np.int64),
        }
    )


SCHEMA = """
group = "user"
[label]
kind = "label"
name = "click"
[[fields]]
kind = "categorical"
name = "user"
role = "user"
[[fields]]
kind = "categorical"
name = "ad"
role = "item"
[[fields]]
kind = "categorical"
name = "device"
[[fields]]
kind = "numeric"
name = "price"
[[behaviours]]
kind = "behaviour"
name = "seen_ads"
of = "ad"
max_length = 5
"""


@cache
def folder() -> Path:
    """Return a folder with train.csv, valid.csv, test.csv and schema.toml, removed when Python ends."""
    path = Path(tempfile.mkdtemp(prefix="clicks-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    for name, rows, seed in (("train", 1500, 1), ("valid", 300, 2), ("test", 300, 3)):
        clicks(rows, seed).write_csv(path / f"{name}.csv")
    (path / "schema.toml").write_text(SCHEMA)
    return path


@cache
def tiny_run() -> Path:
    """Return the folder of a run trained once per test process, through the command line."""
    from clicksmith.cli.main import main

    at = folder()
    argv = ["fit", f"{at}/train.csv", "--valid", f"{at}/valid.csv", "--test", f"{at}/test.csv"]
    argv += ["--schema", f"{at}/schema.toml", "--model", "deepfm", "--model.dim", "8", "--quiet"]
    argv += ["--epochs", "8", "--train.learning-rate", "0.01", "--train.batch-size", "64"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = main([*argv, "--out", f"{at}/run"])
    assert status == 0
    return at / "run"
