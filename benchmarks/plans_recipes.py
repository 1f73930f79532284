"""What each method of the study of Plans is: a chain of searches, or a control as large as what a method found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

SETTINGS = Path(__file__).parent / "settings"
FIRST = 2
"""Rows of a table for padding and unseen values, which nothing removes."""
PLAIN, WARM = "plain", "warm"
BACKBONES = ("FM", "DeepFM", "DCNv2", "IPNN", "FinalMLP")
Facts = dict[str, Any]
"""The record of a run."""


class Refused(Exception):
    """A run that cannot be, for a reason that is worth a record."""


class Asked(msgspec.Struct, frozen=True):
    """A run; `folder` holds the data set's files, `results` takes the record, `work` is an empty folder."""

    dataset: str
    backbone: str
    method: str
    seed: int
    train: dict[str, Any]
    """Settings of training over those of the benchmark."""
    searches: str
    """The file of `plans_recipes`."""
    folder: str
    results: str
    command: str
    work: str = ""

    def record(self, method: str = "") -> Path:
        """Return where the record of this run, or of another method's, lies."""
        home = Path(self.results) / Path(self.dataset).stem / self.backbone
        return home / (method or self.method) / f"{self.seed}.json"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search of a chain."""

    search: str
    options: dict[str, Any] = {}
    start: bool = False
    """Whether the refit begins with the weights that this search, the last of the chain, leaves."""


class Recipe(msgspec.Struct, frozen=True):
    """What is trained: searches before it, and another dimension than the tuned one."""

    steps: tuple[Step, ...] = ()
    dim: int | None = None


def methods(searches: str | Path) -> dict[str, tuple[Step, ...]]:
    """Return the chains of searches of a data set, by name, from its file."""
    return msgspec.toml.decode(Path(searches).read_bytes(), type=dict[str, tuple[Step, ...]])


def controls(chain: tuple[Step, ...]) -> tuple[str, ...]:
    """Return the controls of a method: as large as what it found, without its choice."""
    if len(chain) > 1:
        return ("dim",)
    if "kind" in chain[0].options:  # another map of the size of the first, whose controls are its own
        return ()
    found = {
        "optfs": ("random", "frequent", "dim"),
        "optembed": ("frequent", "columns_random", "dim"),
        "dnis": ("columns_size", "columns_random", "dim"),
        "optinter": ("pairs", "dim"),
        "graphhash": ("hash", "double", "frequency", "rate", "dim"),
    }
    return found[chain[0].search]


def everything(searches: str | Path) -> list[str]:
    """Return all names of runs, the plain backbone first and controls behind their method."""
    names = [PLAIN, WARM]
    for method, chain in methods(searches).items():
        names += [method, *(f"{method}-{control}" for control in controls(chain))]
    return names


def needs(method: str) -> tuple[str, ...]:
    """Return the runs whose records a run reads.

    >>> needs("optfs-random"), needs("optfs"), needs("plain")
    (('plain', 'optfs'), (), ())
    """
    of, _, control = method.partition("-")
    return (PLAIN, of) if control else (PLAIN,) if method == WARM else ()


def recipe(searches: str | Path, method: str, known: dict[str, Facts]) -> Recipe:
    """Return what a run trains; `known` holds the records it needs. Raises Refused: no model has the size."""
    if method == PLAIN:
        return Recipe()
    if method == WARM:
        return Recipe((Step("warm", {"epochs": known[PLAIN]["best_epoch"]}, start=True),))
    of, _, control = method.partition("-")
    chain = methods(searches)[of]
    if not control:
        return Recipe(chain)
    return CONTROLS[control](known[PLAIN], known[of], chain)


def _smaller(plain: Facts, found: Facts, _: tuple[Step, ...]) -> Recipe:
    """Return the backbone with the dimension for all vectors that comes nearest to the size of what was found."""
    sizes = {int(dim): size for dim, size in plain["embedding_by_dim"].items()}
    dim = min(sizes, key=lambda dim: abs(sizes[dim] - found["embedding"]))
    if dim == plain["dim"]:
        raise Refused(f"the uniform dimension of that size is the plain one, {dim}")
    return Recipe(dim=dim)


def _features(search: str) -> Callable[[Facts, Facts, tuple[Step, ...]], Recipe]:
    """Return a control that keeps as many features, or for methods that cut columns too as large a share."""

    def made(plain: Facts, found: Facts, chain: tuple[Step, ...]) -> Recipe:
        fixed = FIRST * plain["slots"]
        rows = found["embedding"] * plain["rows"] / plain["embedding"]
        share = (rows - fixed) / (plain["rows"] - fixed)
        if chain[0].search == "optfs":
            share = found["scores"][0]["kept"]
        return Recipe((Step(search, {"share": _share(share)}),))

    return made


def _columns(search: str) -> Callable[[Facts, Facts, tuple[Step, ...]], Recipe]:
    """Return a control that cuts as many values of the main table, in the blocks of the method if it has any.

    Its refit begins with trained weights if that of the method does.
    """

    def made(plain: Facts, found: Facts, chain: tuple[Step, ...]) -> Recipe:
        values = (plain["rows"] - FIRST * plain["slots"]) * plain["dim"]
        cut = _share((plain["embedding"] - found["embedding"]) / values)
        blocks = {k: v for k, v in chain[0].options.items() if k in ("blocks", "rest", "group")}
        start = chain[-1].start
        return Recipe((Step(search, {"share": cut, "start": "inherit" if start else "fresh", **blocks}, start=start),))

    return made


def _share(share: float) -> float:
    if not 0 < share < 1:
        raise Refused(f"a share of {share:.4f} would have that size, and there is none")
    return share


def _pairs(_: Facts, found: Facts, chain: tuple[Step, ...]) -> Recipe:
    """Return as many pairs of either operation, drawn by chance; their crosses differ in size."""
    drawn = [found["pairs"].get(op, 0) for op in ("memorise", "factorise")]
    return Recipe((Step("optinter", chain[0].options | {"mode": "random", "candidates": 1, "drawn": drawn}),))


def _varied(**options: Any) -> Callable[[Facts, Facts, tuple[Step, ...]], Recipe]:
    def made(_: Facts, __: Facts, chain: tuple[Step, ...]) -> Recipe:
        return Recipe((Step(chain[0].search, chain[0].options | options),))

    return made


CONTROLS: dict[str, Callable[[Facts, Facts, tuple[Step, ...]], Recipe]] = {
    "random": _features("random"),
    "frequent": _features("frequent"),
    "columns_random": _columns("columns_random"),
    "columns_size": _columns("columns_size"),
    "dim": _smaller,
    "pairs": _pairs,
    "hash": _varied(kind="random"),
    "double": _varied(kind="double"),
    "frequency": _varied(kind="frequency"),
    "rate": _varied(kind="rate"),
}
