"""What a whole table of the benchmark costs on this machine, from its rows; and what FuxiCTR's would.

    python benchmarks/table_cost.py benchmarks/results/frappe_bf16 [MORE_RESULTS …] --seeds 5

Rows of another processor, other kernels or more threads than one are left out (those of older code are
not), and where several folders have a model those of the last count. A setting costs the median processor time of its
rows, for every seed: of the whole process, its start, training, evaluations and test. FuxiCTR's times are of its `fit`
alone (frappe_fuxictr.json), and its table is taken to cost as much more than ours as those of its models do that are
measured for both. The total is of the models that were measured here. Result: benchmarks/results/table_cost.json.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from clicksmith.bench.results import read_results
from clicksmith.kernels import native
from clicksmith.serve.environment import processor
from machine import command, machine

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--dataset", default="frappe_x1_rebuilt")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--peer", type=Path, default=HERE / "results" / "frappe_fuxictr.json")
    parser.add_argument("--like", nargs="+", default=["DNN", "DCNv2", "FinalMLP"], help="models FuxiCTR is compared on")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "table_cost.json")
    asked = parser.parse_args()
    spent, missing = processor_seconds(asked.results, asked.dataset)
    found: dict[str, Any] = {
        "command": command(), "dataset": asked.dataset, "seeds": asked.seeds, "kernels": native.level(),
        "cpu_seconds": {name: round(median(all_), 1) for name, all_ in sorted(spent.items())},
        "rows": {name: len(all_) for name, all_ in sorted(spent.items())},
        "not_measured_here": sorted(missing), "machine": machine(),
    }  # fmt: skip
    total = asked.seeds * sum(found["cpu_seconds"].values())
    found |= {"total_cpu_seconds": round(total), f"hours_on_{asked.cores}_cores": round(total / asked.cores / 3600, 2)}
    peers = [run for run in json.loads(asked.peer.read_text())["runs"].items() if run[0].split("/")[0] in asked.like]
    runs = {name: [run["cpu_seconds"] for key, run in peers if key.split("/")[0] == name] for name in asked.like}
    ours = {name: found["cpu_seconds"].get(name) for name in asked.like}
    if all(ours.values()) and all(runs.values()):
        theirs = {name: median(seconds) for name, seconds in runs.items()}
        times = sum(theirs.values()) / sum(ours.values())
        found["fuxictr"] = {
            "cpu_seconds": theirs, "to_ours": round(times, 2), "estimated_cpu_seconds": round(times * total),
            f"estimated_hours_on_{asked.cores}_cores": round(times * total / asked.cores / 3600, 1),
        }  # fmt: skip
    else:
        print(
            f"not compared: {', '.join(n for n in asked.like if not (ours[n] and runs[n]))} lack rows here or FuxiCTR's"
        )
    asked.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def processor_seconds(folders: list[Path], dataset: str) -> tuple[dict[str, list[float]], set[str]]:
    """Return the processor seconds of the rows that were made here, by model, and the models that have none."""
    spent: dict[str, list[float]] = {}
    names: set[str] = set()
    here = native.level(), processor(), 1
    for folder in folders:
        for name, rows in read_results(folder).models(dataset).items():
            names.add(name)
            done = [row for row in rows if row.outcome is not None]
            alike = [row for row in done if (row.made_by.kernels, row.made_by.processor, row.made_by.threads) == here]
            if alike:
                spent[name] = [row.outcome.cost.cpu_seconds for row in alike if row.outcome is not None]
    return spent, names - set(spent)


if __name__ == "__main__":
    main()
