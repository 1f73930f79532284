"""Start files: weights that training begins with instead of drawn ones. A search writes one beside its Plan.

Safetensors with the weights of the model *as `fit` builds it under the Plan* (compact: dropped features have no row),
the digests of that model and of its ids, so that they fit only the same backbone with the same options on the same ids;
and a checksum.
"""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clicksmith.errors import ArtifactError, UsageError
from clicksmith.files import atomic_file, save_tensors
from clicksmith.models.spec import CTRModel
from clicksmith.train.checkpoint import load_weights, weights_of


def save_start(model: CTRModel, ids: str, path: Path) -> None:
    """Write the weights of a model under a Plan; `ids` is its encoder's `ids_digest`."""
    with atomic_file(path) as beside:
        weights = {name: tensor.contiguous() for name, tensor in weights_of(model).items()}
        # one entry: the order of several is not always the same, and the same search leaves the same bytes
        save_tensors(beside, weights, metadata={"model weights": f"{model.digest} {ids} {_checksum(weights)}"})


def load_start(model: CTRModel, ids: str, path: Path) -> None:
    """Put the weights of a start file into a model that was built under the same Plan.

    Raises ArtifactError: the file is none. UsageError: it belongs to another model, or to other ids.
    """
    try:
        with safe_open(path, "pt") as file:
            made_for, _, checksum = (file.metadata() or {}).get("model weights", "").rpartition(" ")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    if checksum != _checksum(weights):
        raise ArtifactError(
            f"the start file '{path}' is damaged: its weights have another checksum than when they were written. "
            "Search again, or leave --start out."
        )
    if made_for != f"{model.digest} {ids}":
        raise UsageError(
            f"the start file '{path}' has the weights of another model: it goes with the Plan of its search, the same "
            "training rows, backbone and options, and no other Plan. Leave --start out to begin with drawn weights."
        )
    load_weights(model, weights)


def _checksum(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of weights by name."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode())
        whole.update(weights[name].cpu().reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def start_digest(path: str | Path) -> str:
    """Return the SHA-256 of a start file. Raises ArtifactError: there is none, or it is no start file."""
    try:
        content = Path(path).read_bytes()
        with safe_open(path, "pt"):
            return hashlib.sha256(content).hexdigest()
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path, error: Exception) -> ArtifactError:
    told = getattr(error, "strerror", None) or error
    return ArtifactError(f"cannot read the start file '{path}': {told}. Search again, or leave --start out.")
