"""The study of Plans in figures: means over seeds, paired tests, sizes and costs beside the plain model, Pareto curves.

Tests are those of `clicksmith bench`: DeLong's over test rows, paired, rows of one group (user) as one draw, the spread
of seeds added, that of the backbone's other methods where one has a single seed (`bench.ranks`). Where all have one,
nothing is known of it, and there is no test.
"""

import json
from collections import Counter
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from clicksmith.bench.facts import GROUPS, LABELS
from clicksmith.bench.ranks import holm, rank, shown_p
from clicksmith.files import write_bytes
from plans_recipes import PLAIN, WARM, Facts, everything

NEAR = 0.001
"""AUC below the plain model that the smallest model may have."""


def summarise(folder: Path, searches: Path) -> str:
    """Write summary.json and summary.md of a data set's records; return the latter."""
    labels = np.load(folder / LABELS)
    groups = np.load(folder / GROUPS) if (folder / GROUPS).exists() else None
    found = {
        place.name: backbone(place, labels, groups, searches) for place in sorted(folder.iterdir()) if place.is_dir()
    }
    first = next(iter(sorted(folder.glob("*/plain/*.json"))))
    about = {key: value for key, value in json.loads(first.read_text()).items() if key in ("machine", "train")}
    text = body(found)
    out = folder.parent.name
    command = f"python benchmarks/plans.py {folder.name} --summary" + (f" --out {out}" if out != "plans" else "")
    whole = {"command": command, **about, "backbones": found}
    write_bytes(folder / "summary.json", json.dumps(whole, indent=1).encode() + b"\n")
    write_bytes(folder / "summary.md", f"# Plans on {folder.name}\n\n{text}".encode())
    return text


def backbone(place: Path, labels: np.ndarray, groups: np.ndarray | None, searches: Path) -> dict[str, Any]:
    """Return the rows of a backbone by method, and its Pareto curve."""
    records: dict[str, list[Facts]] = {}
    refused: dict[str, str] = {}
    for name in everything(searches):
        own = [json.loads(path.read_text()) for path in sorted((place / name).glob("*.json"))]
        if reasons := [one["refused"] for one in own if "refused" in one]:
            refused[name] = reasons[0]
        if made := [one for one in own if "refused" not in one]:
            records[name] = made
    tests = tested(labels, groups, {name: predictions(place / name, made) for name, made in records.items()})
    rows = {name: line(made, records.get(PLAIN, made)) for name, made in records.items()}
    for name, row in rows.items():
        others = [PLAIN] if "-" in name else [PLAIN, WARM, *(o for o in records if o.startswith(f"{name}-"))]
        row["against"] = {
            other: tests[other, name] | {"logloss": row["test_logloss"] - rows[other]["test_logloss"]}
            for other in others
            if other in rows and other != name
        }
    pairs = [one for row in rows.values() for one in row["against"].values()]
    known = [one for one in pairs if one["p"] is not None]
    for one, p in zip(known, holm([one["p"] for one in known]), strict=True):
        one["holm"] = p
    return {"methods": rows, "refused": refused, "smallest": smallest(rows), "pareto": pareto(rows)}


def predictions(place: Path, made: list[Facts]) -> list[np.ndarray]:
    """Return the stored test logits of each seed."""
    return [np.load(place / f"{one['seed']}.npy").astype(np.float32) for one in made]


def line(made: list[Facts], plain: list[Facts]) -> dict[str, Any]:
    """Return the means over the seeds of a method, costs and sizes as multiples of the plain model's."""
    seeds = [one["seed"] for one in made]
    same = [one for one in plain if one["seed"] in seeds] or plain
    auc = [one["test"]["auc"] for one in made]
    spent = {key: mean(one["cpu_seconds"][key] for one in made) for key in made[0]["cpu_seconds"]}
    return {
        "seeds": seeds,
        "test_auc": mean(auc),
        "test_auc_sd": stdev(auc) if len(auc) > 1 else None,
        "test_logloss": mean(one["test"]["logloss"] for one in made),
        "valid_auc": mean(one["valid"]["auc"] for one in made),
        "valid_auc_over_plain": mean(one["valid"]["auc"] for one in made) - mean(o["valid"]["auc"] for o in same),
        "parameters": round(mean(one["parameters"] for one in made)),
        "embedding": round(mean(one["embedding"] for one in made)),
        "embedding_ratio": mean(one["embedding"] for one in made) / mean(one["embedding"] for one in same),
        "bytes": {key: round(mean(one["bytes"][key] for one in made)) for key in made[0]["bytes"]},
        "processors": [one["machine"]["processor"] for one in made],
        "latency_ms": {
            key: mean(one["latency_ms"][key] for one in alike(made, plain)) for key in made[0]["latency_ms"]
        },
        "cpu_seconds": spent,
        "cost_ratio": cost(made, plain),
        "plan": made[0]["plan"],
    }


def alike(made: list[Facts], plain: list[Facts]) -> list[Facts]:
    """Return the runs on the processor of the first plain one; all where there are none: times of one machine."""
    return [one for one in made if one["machine"]["processor"] == plain[0]["machine"]["processor"]] or made


def cost(made: list[Facts], plain: list[Facts]) -> float | None:
    """Return the median over seeds of search and refit in plain trainings; None if no processor has made both.

    Of a seed with itself, where one processor has made both; else with the others that it has made.
    """
    ratios = list[float]()
    for one in made:
        here = [p for p in plain if p["machine"]["processor"] == one["machine"]["processor"]]
        beside = [p for p in here if p["seed"] == one["seed"]] or here
        if beside:
            spent = one["cpu_seconds"]["search"] + one["cpu_seconds"]["refit_training"]
            ratios.append(spent / mean(p["cpu_seconds"]["refit_training"] for p in beside))
    return median(ratios) if ratios else None


def tested(
    labels: np.ndarray, groups: np.ndarray | None, logits: dict[str, list[np.ndarray]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the second has over the first, of all methods of a backbone: the mean AUC of the seeds, its test."""
    if not logits:  # all were refused
        return {}
    spread = any(len(seeds) > 1 for seeds in logits.values())
    found = dict[tuple[str, str], dict[str, Any]]()
    for pair in rank(labels, logits, groups=groups).pairs:
        for names, sign in (((pair.a, pair.b), 1), ((pair.b, pair.a), -1)):
            low, high = sorted((sign * pair.low, sign * pair.high))
            found[names] = {"auc": sign * pair.effect, "low": low, "high": high, "p": pair.p, "holm": None}
            if not spread:
                found[names] |= {"low": None, "high": None, "p": None}
    return found


def smallest(rows: dict[str, dict[str, Any]]) -> str | None:
    """Return the method of the smallest model whose validation AUC is within `NEAR` of the plain one's."""
    near = {name: row["bytes"]["memory"] for name, row in rows.items() if row["valid_auc_over_plain"] >= -NEAR}
    return min(near, key=near.__getitem__) if near else None


def pareto(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the methods that no smaller one equals in test AUC, the smallest first."""
    best, curve = 0.0, list[str]()
    for name in sorted(rows, key=lambda name: (rows[name]["bytes"]["memory"], -rows[name]["test_auc"])):
        if rows[name]["test_auc"] > best:
            best = rows[name]["test_auc"]
            curve.append(name)
    return curve


def body(found: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown of all."""
    made = Counter(name for one in found.values() for row in one["methods"].values() for name in row["processors"])
    told = ", ".join(f"{name} ({count} runs)" for name, count in made.most_common())
    about = (
        f"Processors: {told}. Costs compare runs of one of them; latency is of that of the plain model's first seed."
    )
    return "\n".join([about, "", *overview(found), *(line for name, one in found.items() for line in page(name, one))])


def overview(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the Markdown of all backbones beside each other: searches, and what they have over their controls."""
    named = dict.fromkeys(method for one in found.values() for method in one["methods"])
    searches = [name for name in named if "-" not in name and name != PLAIN]
    head = ["AUC − plain (embedding, of plain)", *found, "search + refit, of plain: median", "most"]
    told = ["## All backbones", "", "| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for name in searches:
        rows = [one["methods"].get(name) for one in found.values()]
        costs = [row["cost_ratio"] for row in rows if row and row["cost_ratio"] is not None]
        cells = [
            "" if not row else f"{row['against'][PLAIN]['auc']:+.4f} ({row['embedding_ratio']:.2f})" for row in rows
        ]
        told.append(
            "| "
            + " | ".join([name, *cells, *([f"{median(costs):.1f}", f"{max(costs):.1f}"] if costs else ["", ""])])
            + " |"
        )
    head = ["search", "beside", "backbones", "better (p < .05)", "worse (p < .05)", "AUC more: mean"]
    told += ["", "| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(head) - 2)]
    for name in searches:
        for other in dict.fromkeys(
            o for one in found.values() for o in one["methods"].get(name, {}).get("against", ())
        ):
            tests = [one["methods"][name]["against"].get(other) for one in found.values() if name in one["methods"]]
            known = [test for test in tests if test]
            sure = [test["auc"] > 0 for test in known if test["p"] is not None and test["p"] < 0.05]
            more = [test["auc"] for test in known]
            better = f"{sum(auc > 0 for auc in more)} ({sum(sure)})"
            worse = f"{sum(auc < 0 for auc in more)} ({len(sure) - sum(sure)})"
            told.append(f"| {name} | {other} | {len(known)} | {better} | {worse} | {mean(more):+.5f} |")
    return [*told, ""]


def page(name: str, one: dict[str, Any]) -> list[str]:
    """Return the Markdown of a backbone."""
    head = ["method", "seeds", "test AUC", "log-loss", "AUC − plain (95 %)", "embedding", "of plain", "table bytes"]
    head += ["model bytes", "on disk", "search + refit, of plain", "ms, 1 row", "ms, 100 rows"]
    found = [f"## {name}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method, row in one["methods"].items():
        spread = "" if row["test_auc_sd"] is None else f" ± {row['test_auc_sd']:.5f}"
        cells = [
            method,
            str(len(row["seeds"])),
            f"{row['test_auc']:.5f}{spread}",
            f"{row['test_logloss']:.5f}",
            over_of(row["against"].get(PLAIN)),
        ]
        cells += [f"{row['embedding']:,}", f"{row['embedding_ratio']:.3f}", f"{row['bytes']['tables']:,}"]
        cells += [
            f"{row['bytes']['memory']:,}",
            f"{row['bytes']['disk']:,}",
            "" if row["cost_ratio"] is None else f"{row['cost_ratio']:.2f}",
        ]
        cells += [f"{ms:.2f}" for ms in row["latency_ms"].values()]
        found.append("| " + " | ".join(cells) + " |")
    found += ["", "| method | against | AUC more (95 %) | p | p (Holm) | log-loss more |", "|---|---|---|---|---|---|"]
    for method, row in one["methods"].items():
        for other, test in row["against"].items():
            chances = ["" if test[key] is None else shown_p(test[key]) for key in ("p", "holm")]
            cells = [method, other, over_of(test), *chances, f"{test['logloss']:+.5f}"]
            found.append("| " + " | ".join(cells) + " |")
    found += ["", f"Smallest within {NEAR} of plain's validation AUC: {one['smallest']}."]
    found.append("Pareto curve of model bytes and test AUC: " + ", ".join(
        f"{m} ({one['methods'][m]['bytes']['memory']:,}; {one['methods'][m]['test_auc']:.5f})" for m in one["pareto"]
    ) + ".")  # fmt: skip
    found += [f"Refused: {method}: {why}" for method, why in one["refused"].items()]
    return [*found, ""]


def over_of(test: dict[str, Any] | None) -> str:
    """Return an effect with its interval, if that is known."""
    if test is None:
        return ""
    return f"{test['auc']:+.5f}" + ("" if test["p"] is None else f" ({test['low']:+.5f} to {test['high']:+.5f})")
