"""The artefact: one folder that holds everything needed to score raw rows.

    manifest.json        format version; size and SHA-256 of every other file
    spec.json            the model as a value
    schema.json          what the columns mean
    layout.json          the shape of encoded rows
    encoder/             the fitted encoder, plain files
    weights.safetensors  the weights
    calibrator.json      from logits to calibrated logits: sampling correction, Platt
    metrics.json         what was measured when it was made
    columns.json         names of the columns, if the training files had no header
    plan.json            the Plan that the model was built under, if there was one; plan.json.arrays/ its long arrays
    environment.json     versions, processor, seed, settings, data checksums

Loading reads JSON and safetensors only, so it cannot run code. A part that a user wrote must have been imported before.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from clicksmith.encode.encoder import Encoder
from clicksmith.encode.layout import Layout
from clicksmith.errors import ArtifactError, ClicksmithError, UnknownNameError
from clicksmith.evaluate.calibrator import Calibrator
from clicksmith.files import atomic_folder, save_tensors
from clicksmith.models.spec import CTRModel, ModelSpec
from clicksmith.parts import from_plain, to_plain
from clicksmith.plan import Plan
from clicksmith.schema import Schema
from clicksmith.serve.environment import Environment, environment, package_version
from clicksmith.serve.manifest import NAME, outside, verify, write_manifest

T = TypeVar("T")

FILES = (
    "spec.json", "schema.json", "layout.json", "encoder/manifest.json", "weights.safetensors", "calibrator.json",
    "metrics.json", "environment.json",
)  # fmt: skip
"""What `load` reads besides the arrays of the encoder."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained model with what belongs to it. `layout` is the encoder's."""

    spec: ModelSpec
    model: CTRModel
    encoder: Encoder
    schema: Schema
    bare: tuple[str, ...] = ()
    """The names of the columns, in order, if the training files had no header."""
    plan: Plan = field(default_factory=Plan)
    """What encoder and spec were made under; both hold it already, and scoring does not read it."""
    calibrator: Calibrator = field(default_factory=Calibrator)
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    environment: Environment = field(default_factory=environment)


def save(folder: str | Path, artifact: Artifact) -> None:
    """Write the artefact atomically: `folder` appears whole or not at all, and an older one is replaced."""
    with atomic_folder(Path(folder), durable=True) as beside:
        _write(beside / "spec.json", to_plain(artifact.spec))
        _write(beside / "schema.json", artifact.schema)
        _write(beside / "layout.json", artifact.encoder.layout)
        _write(beside / "calibrator.json", artifact.calibrator)
        _write(beside / "metrics.json", artifact.metrics)
        _write(beside / "environment.json", artifact.environment)
        if artifact.bare:
            _write(beside / "columns.json", artifact.bare)
        if artifact.plan.parts:
            artifact.plan.save(beside / "plan.json")
        artifact.encoder.save(beside / "encoder")
        weights = beside / "weights.safetensors"
        save_tensors(weights, _weights(artifact.model), metadata={"digest": artifact.model.digest})
        write_manifest(beside, package_version("clicksmith"))


def load(folder: str | Path) -> Artifact:
    """Read an artefact, or the run folder that holds one, after checking every file.

    Raises ArtifactError: no artefact, a newer format, a missing, truncated, altered or unlisted file, a link, a part
    that is not imported, weights that do not fit the spec.
    """
    folder = artifact_folder(folder)
    verify(folder, FILES)
    schema = _read(folder / "schema.json", Schema)
    layout = _read(folder / "layout.json", Layout)
    spec = read_spec(folder / "spec.json")
    encoder = Encoder.load(folder / "encoder")
    if encoder.layout.digest != layout.digest:
        raise ArtifactError(f"'{folder}': the encoder gives another layout than layout.json; fit the model again.")
    return Artifact(
        spec=spec,
        model=_model(spec, layout, folder / "weights.safetensors"),
        encoder=encoder,
        schema=schema,
        bare=_read(columns, tuple[str, ...]) if (columns := folder / "columns.json").exists() else (),
        plan=Plan.load(plan) if (plan := folder / "plan.json").exists() else Plan(),
        calibrator=_read(folder / "calibrator.json", Calibrator),
        metrics=_read(folder / "metrics.json", dict[str, Any]),
        environment=_read(folder / "environment.json", Environment),
    )


def to_bytes(artifact: Artifact) -> dict[str, bytes]:
    """Return the files of an artefact by name, for sending it to another process."""
    with tempfile.TemporaryDirectory(prefix="clicksmith-") as folder:
        home = Path(folder) / "model"
        save(home, artifact)
        return {p.relative_to(home).as_posix(): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def from_bytes(files: dict[str, bytes]) -> Artifact:
    """Return the artefact whose files `to_bytes` gave, with the checks of `load`."""
    for name in files:
        if outside(name):
            raise ArtifactError(f"the artefact has a file named {name!r}, outside of its folder; do not use it.")
    with tempfile.TemporaryDirectory(prefix="clicksmith-") as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return load(folder)


def artifact_folder(path: str | Path) -> Path:
    """Return the artefact folder: `path` itself, or `path/model` when `path` is a run folder."""
    path = Path(path)
    if path.is_file():
        raise ArtifactError(f"'{path}' is a file; give the folder that `clicksmith fit` wrote.")
    inside = path / "model"
    return inside if not (path / NAME).exists() and (inside / NAME).exists() else path


def read_spec(path: Path) -> ModelSpec:
    """Return the spec in a JSON file; a kind that is not registered is explained."""
    try:
        spec = from_plain(_read(path, dict[str, Any]))
    except UnknownNameError as error:
        raise ArtifactError(
            f"'{path}': {error} If the part is your own, import its file first: `--models my_model.py` "
            f"on the command line, `import my_model` in Python."
        ) from error
    except ClicksmithError as error:
        raise ArtifactError(f"'{path}': {error}") from error
    if not isinstance(spec, ModelSpec):
        raise ArtifactError(f"'{path}' holds a {type(spec).__name__}, not a model spec; copy the whole folder again.")
    return spec


def _model(spec: ModelSpec, layout: Layout, path: Path) -> CTRModel:
    try:
        with safe_open(path, framework="pt") as file:
            saved = (file.metadata() or {}).get("digest", "")
        weights = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"'{path}' is not a safetensors file ({error}); copy the whole folder again.") from error
    model = CTRModel(spec, layout)
    model.check_digest(saved)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ArtifactError(f"'{path}' does not fit spec.json: {first} Fit the model again.") from error
    return model.eval()


def _weights(model: CTRModel) -> dict[str, torch.Tensor]:
    """Return the state with tensors that share memory copied, which safetensors asks for."""
    seen: set[int] = set()
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        state[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return state


def _write(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ArtifactError(f"cannot read '{path}': {error.strerror}; copy the whole folder again.") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArtifactError(f"'{path}' is damaged ({error}); copy the whole folder again.") from error
