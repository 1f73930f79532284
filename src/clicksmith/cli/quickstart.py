"""`clicksmith quickstart`: the main job end to end, on simulated clicks whose truth is known."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from clicksmith.cli.parse import call, option

if TYPE_CHECKING:
    from clicksmith.datasets.synthetic import AdWorldSettings

ABOUT = """Simulate clicks, look at them, train, measure, score raw rows: each step by the command that you would type.

examples:
  clicksmith quickstart
  clicksmith quickstart --out try --rows 300000 --model finalmlp"""

SHORT = ("--epochs", "3", "--train.batch-size", "256", "--train.learning-rate", "2e-3", "--train.table-l2", "1e-4")
SMALL = ("--model.dim", "8", "--model.units", "64,32")
"""What is asked of `fit`: few large steps, and a small net (for the default backbone)."""


def main(argv: Sequence[str]) -> int:
    """Run the verb."""
    return call(quickstart, argv, verb="quickstart", about=ABOUT)


def quickstart(
    *,
    out: Annotated[str, option("FOLDER", "where everything is written", default="quickstart")] = "quickstart",
    rows: Annotated[int, option("N", "impressions to simulate", default="100000")] = 100_000,
    model: Annotated[str | None, option("NAME", "the backbone", default="that of `fit`")] = None,
    seed: Annotated[int, option("N", "of everything", default="0")] = 0,
) -> int:
    """Run the steps."""
    import msgspec

    from clicksmith.cli.show import note
    from clicksmith.datasets.synthetic import ad_world
    from clicksmith.fitting.page import write_page
    from clicksmith.run import RunFolder

    began = time.monotonic()
    data, run = Path(out) / "data", Path(out) / "run"
    world = ad_world(rows, seed=seed, settings=learnable())
    world.write(data, form="csv", wide=True)
    best = world.truth.bayes["test"]
    note(f"simulated {rows:,} impressions in {data}; no model can do better than AUC {best.auc:.4f} on the test rows\n")
    fit = ["fit", f"{data}/train.csv", "--valid", f"{data}/valid.csv", "--test", f"{data}/test.csv"]
    fit += ["--schema", f"{data}/schema.json", "--out", str(run), "--seed", str(seed), "--overwrite"]
    _typed([*fit, *SHORT, *(("--model", model) if model else SMALL)])
    _typed(["predict", str(run), f"{data}/test.csv", "--out", f"{out}/scores.csv"])
    test = msgspec.json.decode((run / "metrics.json").read_bytes())["test"]
    print(
        f"\nAUC {test['auc']:.4f} of a possible {best.auc:.4f}, "
        f"log-loss {test['logloss']:.4f} (best {best.logloss:.4f})"
    )
    write_page(RunFolder(run), possible={"auc": best.auc, "logloss": best.logloss})
    note(f"{time.monotonic() - began:.0f} s in all. See {run / 'report.html'}")
    return 0


def learnable() -> "AdWorldSettings":
    """Return what is planted: parts of every kind, but few values each, so that some ten thousand rows show them."""
    from clicksmith.datasets.ad_world import AdWorldSettings, Domains, History, Ids, Noise, Numbers, Pair, Vectors

    return AdWorldSettings(
        ids=Ids(users=500, ads=100, categories=6, user_strength=0.5, ad_strength=0.9),
        history=History(longest=20, interests=2, strays=0.1, strength=0.5),
        communities=None,
        domains=Domains(count=3, values=4, strength=0.5),
        vectors=Vectors(dim=8, strength=0.2),
        numbers=Numbers(useful=2, noise=1, missing=0.05, strength=0.7),
        pairs=(
            Pair(kind="memorised", values=4, strength=0.6),
            Pair(kind="factorised", values=6, strength=0.5),
            Pair(kind="naive", values=20, strength=0.9),
        ),
        mixed=None,
        noise=Noise(fields=2, values=100),
    )


def _typed(arguments: list[str]) -> None:
    """Show a command and run it."""
    import shlex

    from clicksmith.cli.main import run_verb

    print(f"$ clicksmith {shlex.join(arguments)}", file=sys.stderr, flush=True)
    run_verb(arguments)
