"""Write the tables of searches.md: `python docs/make_searches.py`. A test checks that the page is current.

They are taken from the summaries of the study of Plans, which `python benchmarks/plans.py DATASET --summary` writes.
"""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "searches.md"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "plans"
DATASETS = ("frappe_x1_rebuilt", "movielens_1m")
BEGIN, END = "<!-- begin: {}, written by docs/make_searches.py -->", "<!-- end: {} -->"

BACKBONES = ("FM", "DeepFM", "DCNv2", "IPNN", "FinalMLP")
WARM = "trained twice (`warm`)"
SEARCHES = {
    "warm": WARM,
    "optfs": "OptFS",
    "optembed": "OptEmbed",
    "dnis": "DNIS",
    "optinter": "OptInter",
    "graphhash": "GraphHash, half the rows",
    "hybrid": "its hybrid",
    "combined_1": "GraphHash, OptFS and OptEmbed (`combined_1`)",
    "combined_2": "smaller (`combined_2`)",
    "combined_3": "smaller (`combined_3`)",
    "combined_pairs": "`combined_1` and OptInter",
}
SHORTER = "shorter vectors for all"
CONTROLS = {
    "optfs": {"frequent": "the most frequent features", "dim": SHORTER, "random": "features by chance"},
    "optembed": {"frequent": "the most frequent features", "dim": SHORTER, "columns_random": "columns by chance"},
    "dnis": {
        "dim": SHORTER, "columns_size": "columns by the size of vectors", "columns_random": "columns by chance",
    },
    "optinter": {"pairs": "as many pairs by chance (a third of the parameters with FM)"},
    "graphhash": {
        "frequency": "rows shared by frequency", "rate": "rows shared by click rate (knows the labels)",
        "double": "two rows each by chance, summed", "hash": "rows shared by chance", "dim": SHORTER,
    },
    "combined_1": {},
}  # fmt: skip
BEGUN = ("optembed", "dnis", "combined_1")
"""Searches whose refit begins with the weights that were found: they stand beside `warm`, too."""

BESIDE = (
    "A search is worth its time where it beats what costs nothing to find. Its AUC less that of a control of its size"
)
TESTED = (
    "* where p < .05; rows of one user are one draw, the spread of seeds is added, for a method with one seed that of "
    "the backbone's others; not corrected for the number of tests"
)
UNTESTED = "no test with a backbone of which all have one seed"
ONE_SEED = "one seed each: how much of it another seed would change is not known"

Rows = dict[str, dict[str, dict[str, Any]]]
"""By backbone and method, what summary.json says."""


def tables(dataset: str) -> str:
    """Return the tables of a data set: searches beside the plain model, and beside their controls."""
    summary = json.loads((RESULTS / dataset / "summary.json").read_text())["backbones"]
    rows: Rows = {name: summary[name]["methods"] for name in BACKBONES if name in summary}
    known = [test["p"] is not None for own in rows.values() for row in own.values() for test in row["against"].values()]
    tested = TESTED if all(known) else f"{TESTED}; {UNTESTED}"
    return "\n".join([*found(rows), "", f"{BESIDE} ({tested if any(known) else ONE_SEED}):", "", *beside(rows)])


def found(rows: Rows) -> list[str]:
    """Return the table of what searches found."""
    lines = header(["test AUC − plain (embedding, of plain)", *rows, "search + refit, of plain"], 1)
    lines.append(line(["plain", *(figure(own["plain"]["test_auc"], 4) for own in rows.values()), ""]))
    for method, name in SEARCHES.items():
        made = [own.get(method) for own in rows.values()]
        if not any(made):
            continue
        cells = [
            f"{signed(one['against']['plain']['auc'])} ({figure(one['embedding_ratio'], 2)})" if one else ""
            for one in made
        ]
        costs = [one["cost_ratio"] for one in made if one and one["cost_ratio"] is not None]
        ends = dict.fromkeys(figure(cost, 1) for cost in (min(costs), max(costs))) if costs else {}
        lines.append(line([name, *cells, " to ".join(ends)]))
    lines.append(line(["seeds", *(seeds(own) for own in rows.values()), ""]))
    return lines


def seeds(own: dict[str, dict[str, Any]]) -> str:
    """Return how many seeds the methods of a backbone have, least to most."""
    counts = [len(row["seeds"]) for row in own.values()]
    return " to ".join(dict.fromkeys(str(count) for count in (min(counts), max(counts))))


def beside(rows: Rows) -> list[str]:
    """Return the table of what searches have over their controls."""
    lines = header(["search", "beside, as large", *rows], 2)
    for method, controls in CONTROLS.items():
        name = SEARCHES[method].partition(",")[0] if method == "graphhash" else SEARCHES[method]
        name = f"`{method}`" if method == "combined_1" else name
        others = {f"{method}-{control}": text for control, text in controls.items()}
        others |= {"warm": "trained twice (`warm`; larger)"} if method in BEGUN else {}
        for other, text in others.items():
            tests = [own.get(method, {}).get("against", {}).get(other) for own in rows.values()]
            cells = [signed(test["auc"]) + "*" * sure(test) if test else "" for test in tests]
            if any(cells):
                lines.append(line([name, text, *cells]))
    return lines


def sure(test: dict[str, Any]) -> bool:
    """Say whether a difference is more than chance."""
    return test["p"] is not None and test["p"] < 0.05


def header(cells: list[str], texts: int) -> list[str]:
    """Return the head of a table whose first columns are texts, the others figures."""
    return [line(cells), "|" + "---|" * texts + "--:|" * (len(cells) - texts)]


def line(cells: list[str]) -> str:
    """Return a row."""
    return f"| {' | '.join(cells)} |"


def figure(x: float, places: int) -> str:
    """Return a number without the 0 before its point."""
    return f"{x:.{places}f}".removeprefix("0")


def signed(x: float) -> str:
    """Return a difference of AUC."""
    return ("−" if x < 0 else "+") + figure(abs(x), 4)


def current(page: str) -> str:
    """Return the page with the generated parts as they should be."""
    for dataset in DATASETS:
        begin, end = BEGIN.format(dataset), END.format(dataset)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{tables(dataset)}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text()))
