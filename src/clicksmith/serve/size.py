"""How large a saved model is, in bytes that lie on disk and that its weights take in memory."""

import math
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open

from clicksmith.errors import ArtifactError
from clicksmith.serve.artifact import artifact_folder


class Size(msgspec.Struct, frozen=True):
    """The size of an artefact."""

    numbers: int
    """Weights, and what a norm keeps."""
    memory: int
    """Bytes of these numbers in memory."""
    encoder: int
    """Bytes of the encoder's files, which are mapped as they lie."""
    disk: int
    """Bytes of all files."""

    def line(self) -> str:
        """Say it in a line."""
        return (
            f"{self.numbers:,} numbers, {self.memory:,} bytes in memory; {self.disk:,} bytes on disk, "
            f"{self.encoder:,} of them the encoder's"
        )


def size_of(path: str | Path) -> Size:
    """Return the size of the artefact at `path`, or of the run folder that holds one, without building the model.

    Raises ArtifactError: its weights cannot be read.
    """
    folder = artifact_folder(path)
    files = {p.relative_to(folder): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    numbers = memory = 0
    file = folder / "weights.safetensors"
    try:
        with safe_open(file, framework="numpy") as weights:
            for name in weights.keys():  # noqa: SIM118
                part = weights.get_slice(name)
                numbers += math.prod(part.get_shape())
                memory += math.prod(part.get_shape()) * _BYTES[part.get_dtype()]
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"'{file}' cannot be read ({error}); copy the whole folder again.") from error
    encoder = sum(size for name, size in files.items() if name.parts[0] == "encoder")
    return Size(numbers, memory, encoder, sum(files.values()))


_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "BF16": 2, "F16": 2, "I16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}
