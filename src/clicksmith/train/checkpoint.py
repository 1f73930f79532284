"""Checkpoints: safetensors and JSON in a folder replaced as a whole. No pickle; a killed write leaves the old one.

state.json               where training is, and what it was started with
weights.safetensors      the weights between two steps
optimizer.safetensors    moments, random states
best.safetensors         the weights of the best evaluation (a link to an earlier weights.safetensors if they are those)
"""

import os
import shutil
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from clicksmith.errors import ArtifactError, UsageError
from clicksmith.files import atomic_folder, recover, save_tensors
from clicksmith.names import unknown

FOLDER = "checkpoint"
FORMAT = 2


class Checkpoints:
    """The checkpoint of a run folder; `asked` is what decides the run, and is compared when it goes on."""

    def __init__(self, run_dir: Path, asked: dict[str, Any]) -> None:
        self.path = run_dir / FOLDER
        self.asked = cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(asked)))

    def save(self, weights: dict[str, Tensor], state: dict[str, Any], *, best: dict[str, Tensor] | None) -> None:
        """Write everything; `best` are the weights to end with if these are the best so far, none: those known stay.

        `state` may nest tensors and values.
        """
        tensors: dict[str, Tensor] = {}
        plain = {"format": FORMAT, "asked": self.asked, "state": _take_tensors(state, "", tensors)}
        with atomic_folder(self.path, durable=True) as folder:
            save_tensors(folder / "weights.safetensors", {n: t.contiguous() for n, t in weights.items()})
            save_tensors(folder / "optimizer.safetensors", tensors)
            if best is not None and best is not weights:
                save_tensors(folder / "best.safetensors", {n: t.contiguous() for n, t in best.items()})
            else:
                old = self.path / "best.safetensors" if best is None else folder / "weights.safetensors"
                if old.exists():
                    _link(old, folder / "best.safetensors")
            (folder / "state.json").write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1))

    def load(self, model: nn.Module, device: torch.device) -> dict[str, Any] | None:
        """Put the weights into `model` and return the state; None if there is no checkpoint.

        Raises UsageError if the run was started with something else, ArtifactError if a file is damaged.
        """
        recover(self.path)
        if not (self.path / "state.json").exists():
            return None
        try:
            saved = msgspec.json.decode((self.path / "state.json").read_bytes())
            if saved["format"] != FORMAT:
                raise ArtifactError(
                    f"'{self.path}' has format {saved['format']}, this version reads {FORMAT}; remove it."
                )
            self._compare(saved["asked"])
            tensors = load_file(self.path / "optimizer.safetensors")
            load_weights(model, load_file(self.path / "weights.safetensors", device=str(device)))
            if (self.path / "best.safetensors").exists():
                safe_open(self.path / "best.safetensors", "pt")  # a file cut short is told now, not after training
        except (OSError, msgspec.DecodeError, KeyError, SafetensorError) as error:
            raise ArtifactError(
                f"the checkpoint '{self.path}' is damaged ({error}); remove it to start anew."
            ) from error
        return cast("dict[str, Any]", _put_tensors(saved["state"], "", tensors))

    def load_best(self, model: nn.Module, device: torch.device) -> None:
        """Put the weights of the best evaluation into `model`."""
        try:
            load_weights(model, load_file(self.path / "best.safetensors", device=str(device)))
        except (OSError, SafetensorError) as error:
            raise ArtifactError(
                f"the checkpoint '{self.path}' is damaged ({error}); remove it to start anew."
            ) from error

    def _compare(self, asked: dict[str, Any]) -> None:
        other = [name for name in sorted({*asked, *self.asked}) if asked.get(name) != self.asked.get(name)]
        if other:
            name = other[0]
            raise UsageError(
                f"'{self.path.parent}' holds a run with {name}={asked.get(name)!r}, asked is {self.asked.get(name)!r}; "
                "train in another folder, or remove this one."
            )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, outside autograd; what is shared stands under its first name."""
    seen: set[int] = set()
    named: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if id_of(tensor) not in seen:
            seen.add(id_of(tensor))
            named[name] = tensor.detach()
    return named


def id_of(tensor: Tensor) -> int:
    """Return where a tensor's memory starts; empty tensors have none, and are themselves."""
    return tensor.data_ptr() or id(tensor)


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy `weights_of` another model of the same spec into `model`."""
    own = weights_of(model)
    if own.keys() != weights.keys():
        stray = next(iter(own.keys() ^ weights.keys()))
        raise ArtifactError(f"the saved weights are of another model: {unknown(stray, own, 'weight')}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _take_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` without its tensors, which go to `tensors` under their path."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().contiguous()
        return {"tensor": path}
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {str(key): _take_tensors(item, f"{path}/{key}", tensors) for key, item in items}
    return value


def _put_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[str(value["tensor"])]
        return {key: _put_tensors(item, f"{path}/{key}", tensors) for key, item in value.items()}
    return value
