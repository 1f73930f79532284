"""Quality on real rows: models x seeds x modes, chosen on validation rows, tested once; resumable, results as JSON."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec.structs import replace

from clicksmith.datasets.load import load
from clicksmith.encode.encoder import Encoder
from clicksmith.evaluate import auc, logloss
from clicksmith.files import write_bytes
from clicksmith.models import model_spec
from clicksmith.models.spec import CTRModel
from clicksmith.train.predict import predict_logits
from clicksmith.train.rich_progress import RichProgress
from clicksmith.train.settings import TrainSettings
from clicksmith.train.trainer import train

HERE = Path(__file__).parent
MODES: dict[str, dict[str, Any]] = {
    "fp32-dense": {"precision": "fp32", "table_update": "dense"},
    "fp32-lazy": {"precision": "fp32", "table_update": "lazy"},
    "bf16": {"precision": "bf16", "table_update": "dense"},
}


def main(dataset: str, settings_file: Path, result_file: str) -> None:
    """Run what is missing in the result file."""
    given = msgspec.toml.decode(settings_file.read_bytes())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of the data set")
    parser.add_argument("--models", nargs="*", default=list(given["models"]))
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="at most; for a look, recorded with the result")
    parser.add_argument(
        "--unseen-rate", type=float, help="embed.unseen_rate, as `fit` sets it; recorded with the result"
    )
    parser.add_argument("--out", default=str(HERE / "results" / result_file))
    asked = parser.parse_args()
    out = Path(asked.out)
    results: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"dataset": dataset, "runs": {}}
    data = load(dataset, asked.data, fetch=False)
    with tempfile.TemporaryDirectory() as folder:
        encoder, rows = Encoder.fit_encode(data.schema, data.train, Path(folder) / "train", root=data.root)
        stores = {"train": rows} | {
            part: encoder.encode_to(source, Path(folder) / part)
            for part, source in data.parts.items()
            if part != "train"
        }
        for seed in range(asked.seeds):
            for mode in asked.modes:
                for name in asked.models:
                    key = f"{name}/{mode}/{seed}" + (f"/epochs={asked.epochs}" if asked.epochs else "")
                    key += f"/unseen={asked.unseen_rate}" if asked.unseen_rate is not None else ""
                    if key in results["runs"]:
                        continue
                    results["runs"][key] = run(given, name, mode, seed, asked, encoder, stores)
                    results["summary"] = summary(results["runs"], given)
                    write_bytes(out, json.dumps(results, indent=1).encode() + b"\n")
                    print(key, results["runs"][key]["test"], flush=True)


def run(
    given: dict[str, Any],
    name: str,
    mode: str,
    seed: int,
    asked: argparse.Namespace,
    encoder: Encoder,
    stores: dict[str, Any],
) -> dict[str, Any]:
    """Train once and test once."""
    chosen = given["models"][name]
    extra = {key: chosen[key] for key in ("table_l2", "dense_l2", "epochs", "patience") if key in chosen}
    plain = {**given["train"], **extra, **MODES[mode], "seed": seed, "device": "cpu"}
    if asked.epochs:
        plain["epochs"] = asked.epochs
    settings = msgspec.convert(plain, TrainSettings)
    torch.manual_seed(seed)
    options = {
        key: tuple(value) if isinstance(value, list) else value for key, value in chosen.get("options", {}).items()
    }
    spec = model_spec(chosen["name"], **options)
    if asked.unseen_rate is not None:
        spec = replace(spec, embed=replace(spec.embed, unseen_rate=asked.unseen_rate))
    model = CTRModel(spec, encoder.layout)
    result = train(model, stores["train"], stores["valid"], settings, progress=RichProgress())
    labels, logits = stores["test"].targets["labels"][:, 0], predict_logits(model, stores["test"])
    return {
        "valid": result.metrics,
        "test": {"auc": auc(labels, logits), "logloss": logloss(labels, logits=logits[:, 0])},
        "epochs": result.epochs,
        "reason": result.reason,
        "parameters": model.parameter_counts().total,
        "table_update": result.table_update,
        "seconds_training": result.history[-1]["seconds"],
        "threads": torch.get_num_threads(),
    }


def summary(runs: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return mean test AUC per model, mode and whatever else was asked; runs cut short are left out."""
    found: dict[str, list[float]] = {}
    for key, one in runs.items():
        if "/epochs=" not in key:
            name, mode, _, *more = key.split("/")
            found.setdefault("/".join([name, mode, *more]), []).append(one["test"]["auc"])
    return {
        key: {
            "mean_test_auc": sum(values) / len(values),
            "seeds": len(values),
            "reference": given["models"][key.partition("/")[0]]["reference"],
        }
        for key, values in found.items()
    }
