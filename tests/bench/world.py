"""A tiny data set declared in TOML, and one benchmark on it that many tests read."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from clicks import SCHEMA, clicks
from clicksmith.bench.run import Report, run

SETTINGS = """
[train]
epochs = 2
batch_size = 128
learning_rate = 1e-2
[models.FM]
reference = 0.7
name = "fm"
options = { dim = 4 }
[models.LR]
name = "lr"
table_l2 = 1e-5
"""


def make(folder: Path) -> Path:
    """Write the data set and its settings into `folder`; return the TOML file that declares it."""
    for name, rows, seed in (("train", 1500, 1), ("valid", 400, 2), ("test", 400, 3)):
        clicks(rows, seed).write_csv(folder / f"{name}.csv")
    schema = SCHEMA.replace("[label]", "[schema.label]").replace("[[", "[[schema.")
    head = 'name = "shop"\ntrain = "train.csv"\nvalid = "valid.csv"\ntest = "test.csv"\n[schema]'
    (folder / "shop.toml").write_text(head + schema)
    (folder / "settings.toml").write_text(SETTINGS)
    return folder / "shop.toml"


def bench(
    folder: Path,
    *,
    dataset: str | Path | None = None,
    data: str | None = None,
    said: list[str] | None = None,
    **options,
) -> Report:
    """Run the benchmark of `make`'s data set in `folder`."""
    say = (lambda _: None) if said is None else said.append
    whole = {"models": ("all",), "seeds": 2, "settings": str(folder / "settings.toml"), "jobs": 2} | options
    whole |= {"results": folder / "results", "cache": folder / "cache", "say": say}
    return run(str(dataset or folder / "shop.toml"), folder=data, **whole)


@cache
def finished() -> Path:
    """Return a folder in which both models have two seeds; made once per test process and never to be changed."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make(folder)
    bench(folder)
    return folder


def copied(folder: Path) -> Path:
    """Copy the finished benchmark into `folder`, to be changed."""
    return Path(shutil.copytree(finished(), folder / "copy"))
