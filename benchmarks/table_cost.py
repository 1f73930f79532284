"""What a whole table of the benchmark costs on one machine, from its rows; and what FuxiCTR's would.

    python benchmarks/table_cost.py benchmarks/results/frappe_bf16 [MORE_RESULTS …] --seeds 5

Rows count that were made with one thread on the processor, and by the kernels, of most rows (older code or not), and
where several folders have a model those of the last count. A setting costs the median processor time of its
rows, for every seed: of the whole process, its start, training, evaluations and test. FuxiCTR's times are of its `fit`
alone (frappe_fuxictr.json), and its table is taken to cost as much more than ours as those of its models do that are
measured for both. The total is of the models that were measured here. Result: benchmarks/results/table_cost.json.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from clicksmith.bench.results import read_results
from machine import command

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--dataset", default="frappe_x1_rebuilt")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--peer", type=Path, default=HERE / "results" / "frappe_fuxictr.json")
    parser.add_argument("--like", nargs="+", help="models FuxiCTR is compared on; all that both have if not given")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "table_cost.json")
    asked = parser.parse_args()
    (kernels, processor), spent, missing = processor_seconds(asked.results, asked.dataset)
    found: dict[str, Any] = {
        "command": command(), "dataset": asked.dataset, "seeds": asked.seeds,
        "processor": processor, "kernels": kernels,
        "cpu_seconds": {name: round(median(all_), 1) for name, all_ in sorted(spent.items())},
        "rows": {name: len(all_) for name, all_ in sorted(spent.items())},
        "not_measured_there": sorted(missing),
    }  # fmt: skip
    total = asked.seeds * sum(found["cpu_seconds"].values())
    found |= {"total_cpu_seconds": round(total), f"hours_on_{asked.cores}_cores": round(total / asked.cores / 3600, 2)}
    theirs: dict[str, list[float]] = {}
    for key, run in json.loads(asked.peer.read_text())["runs"].items():
        theirs.setdefault(key.split("/")[0], []).append(run["cpu_seconds"])
    both = [name for name in asked.like or theirs if name in theirs and name in found["cpu_seconds"]]
    if both:
        pairs = {name: (median(theirs[name]), found["cpu_seconds"][name]) for name in both}
        times = sum(a for a, _ in pairs.values()) / sum(b for _, b in pairs.values())
        found["fuxictr"] = {
            "cpu_seconds": {name: a for name, (a, _) in pairs.items()},
            "to_ours_by_model": {name: round(a / b, 2) for name, (a, b) in pairs.items()},
            "to_ours": round(times, 2), "estimated_cpu_seconds": round(times * total),
            f"estimated_hours_on_{asked.cores}_cores": round(times * total / asked.cores / 3600, 1),
        }  # fmt: skip
    asked.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def processor_seconds(folders: list[Path], dataset: str) -> tuple[tuple[str, str], dict[str, list[float]], set[str]]:
    """Return kernels and processor, the processor seconds of the rows made there by model, and models without."""
    found = [(read_results(folder).models(dataset)) for folder in folders]
    rows = [row for models in found for rows in models.values() for row in rows if row.made_by.threads == 1]
    ((there, _),) = Counter((row.made_by.kernels, row.made_by.processor) for row in rows).most_common(1)
    spent: dict[str, list[float]] = {}
    for models in found:
        for name in models:
            alike = [row for row in models[name] if row.made_by.threads == 1 and row.outcome is not None]
            seconds = [r.outcome.cost.cpu_seconds for r in alike if (r.made_by.kernels, r.made_by.processor) == there]
            if seconds:
                spent[name] = seconds
    return there, spent, {name for models in found for name in models} - set(spent)


if __name__ == "__main__":
    main()
