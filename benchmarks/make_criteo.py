"""Write a large Criteo-format text file with the peers' generator, in slices so that it fits in memory.

    python benchmarks/make_criteo.py --peers FOLDER --rows 20000000 --out criteo_20m.tsv

FOLDER is the peers' benchmark (it holds `ctrbench/`); columns as in Kaggle's Criteo: label, 13 integers, 26 tokens.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--ids", type=int, default=5_000_000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    os.environ.setdefault("CTRBENCH_DATA", str(args.out.parent.resolve()))
    sys.path.insert(0, str(args.peers))
    from ctrbench import data  # type: ignore[import-not-found]

    data.criteo(args.rows, args.ids)
    folder = Path(os.environ["CTRBENCH_DATA"]) / f"criteo_{args.rows}_{args.ids}"
    ids, numbers, labels = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("cat", "num", "y"))
    beside = args.out.with_suffix(".tmp")
    with beside.open("wb") as file:
        for start in range(0, args.rows, 500_000):
            stop = min(start + 500_000, args.rows)
            frame = text(ids[start:stop], numbers[start:stop], labels[start:stop], seed=start)
            frame.write_csv(file, separator="\t", include_header=False, null_value="")
    beside.replace(args.out)


def text(ids: np.ndarray, numbers: np.ndarray, labels: np.ndarray, seed: int) -> pl.DataFrame:
    """Return rows as text columns, with the missing rates of the peers' file."""
    generator, columns = np.random.default_rng([5, seed]), {"label": labels.astype(np.int8)}
    for j in range(13):
        value = np.floor(np.expm1(numbers[:, j].astype(np.float64)) * (10 ** (j % 4))).astype(np.int64)
        missing = generator.random(len(value)) < (0.45 if j in (0, 11) else 0.1)
        columns[f"I{j + 1}"] = pl.select(pl.when(pl.Series(missing)).then(None).otherwise(pl.Series(value))).to_series()
    for j in range(26):
        code = ids[:, j].astype(np.uint64) * np.uint64(2654435761) + np.uint64(j) * np.uint64(0x9E3779B9)
        code %= np.uint64(2**32)
        unique, inverse = np.unique(code, return_inverse=True)
        token = pl.Series([f"{x:08x}" for x in unique.tolist()]).gather(pl.Series(inverse.astype(np.uint32)))
        if j in (2, 11, 18, 21):
            missing = generator.random(len(token)) < 0.1
            token = pl.select(pl.when(pl.Series(missing)).then(None).otherwise(token)).to_series()
        columns[f"C{j + 1}"] = token
    return pl.DataFrame(columns)


if __name__ == "__main__":
    main()
