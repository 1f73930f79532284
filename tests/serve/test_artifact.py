"""Saving and loading: what comes back is what went in, and every kind of damage has its own sentence."""

import json
import os
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from clicks import folder, tiny_run
from clicksmith.errors import ArtifactError, StorageError
from clicksmith.identity import digest
from clicksmith.parts import PARTS
from clicksmith.serve import artifact as artifacts
from clicksmith.serve.manifest import FORMAT, FileRecord
from clicksmith.serve.predictor import Predictor, load


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a copy of a good artefact, to be damaged."""
    return Path(shutil.copytree(tiny_run() / "model", tmp_path / "model"))


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(ArtifactError) as error:
        load(path)
    assert str(error.value) == sentence


def test_saved_and_loaded_again_scores_the_same_bits(tmp_path):
    test = folder() / "test.csv"
    first = load(tiny_run())
    artifacts.save(tmp_path / "again", first.artifact)
    again = load(tmp_path / "again")
    np.testing.assert_array_equal(first.predict(test), again.predict(test))
    assert again.artifact.spec == first.artifact.spec
    assert again.artifact.calibrator == first.artifact.calibrator
    assert again.artifact.metrics == first.artifact.metrics


def test_a_run_folder_and_its_model_folder_are_the_same_artefact():
    rows = folder() / "test.csv"
    np.testing.assert_array_equal(load(tiny_run()).predict(rows), load(tiny_run() / "model").predict(rows))


def test_every_file_is_plain_data():
    endings = {p.suffix for p in (tiny_run() / "model").rglob("*") if p.is_file()}
    assert endings <= {".json", ".safetensors", ".bin"}


def test_no_such_folder(tmp_path):
    path = tmp_path / "nowhere"
    refused(path, f"there is no artefact folder '{path}'; give the folder that `clicksmith fit` wrote.")


def test_a_file_instead_of_a_folder(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"x")
    refused(path, f"'{path}' is a file; give the folder that `clicksmith fit` wrote.")


def test_a_folder_of_something_else(tmp_path):
    refused(
        tmp_path,
        f"'{tmp_path}' is not an artefact: it has no readable manifest.json; "
        "give the folder that `clicksmith fit` wrote.",
    )


def test_a_missing_file(copy):
    (copy / "weights.safetensors").unlink()
    refused(copy, f"'weights.safetensors' is missing in the artefact '{copy}'; copy the whole folder again.")


def test_a_truncated_file(copy):
    path = copy / "weights.safetensors"
    whole = path.stat().st_size
    os.truncate(path, whole - 100)
    refused(
        path.parent, f"'{path}' is truncated: {whole - 100} of {whole} bytes are there; copy the whole folder again."
    )


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "spec.json", "schema.json", "calibrator.json", "encoder/000.bin"]
)
def test_one_changed_byte_is_noticed(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    refused(
        copy,
        f"'{path}' was altered after it was saved (its SHA-256 differs from the manifest); "
        "do not use it, fit or copy the artefact again.",
    )


def test_a_changed_checksum_in_the_manifest_is_noticed(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["spec.json"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    refused(copy, f"'{path}' was altered after it was saved; do not use it, fit or copy the artefact again.")


def test_a_newer_format_names_both_versions(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": FORMAT + 1, "clicksmith": "9.0", "something": "new"}))
    refused(
        copy,
        f"'{copy}' was written by clicksmith 9.0 in format {FORMAT + 1}; "
        f"this installation reads up to format {FORMAT}. Upgrade clicksmith.",
    )


def test_a_manifest_that_is_no_json(copy):
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest\.json' is damaged \(.*\); copy the whole folder again\.$"):
        load(copy)


def test_a_manifest_that_points_outside_is_refused(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    files = {"../../secret": FileRecord(1, "0" * 64)}
    path.write_text(
        json.dumps({**manifest, "files": {"../../secret": {"bytes": 1, "sha256": "0" * 64}}, "identity": digest(files)})
    )
    refused(copy, f"'{path}' lists a file outside of its folder; do not use this artefact.")


def test_a_part_that_is_not_imported_is_explained(copy, monkeypatch):
    monkeypatch.delitem(PARTS, "deep_fm", raising=False)
    spec = json.loads((copy / "spec.json").read_text())
    spec["interact"] = {"kind": "my_block"}
    (copy / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(ArtifactError) as error:
        artifacts.read_spec(copy / "spec.json")
    assert re.fullmatch(
        r"'.*spec\.json': no part named 'my_block'\..* If the part is your own, import its file first: "
        r"`--models my_model\.py` on the command line, `import my_model` in Python\.",
        str(error.value),
    )


def test_a_killed_save_leaves_the_old_artefact(tmp_path, monkeypatch):
    good = load(tiny_run()).artifact
    artifacts.save(tmp_path / "model", good)
    before = (tmp_path / "model" / "manifest.json").read_bytes()

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(
        StorageError, match=r"^no space left on the disk while writing '.*model'; nothing was changed\."
    ):
        artifacts.save(tmp_path / "model", good)
    assert (tmp_path / "model" / "manifest.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_manifest_that_lists_too_little_lets_nothing_unchecked_be_read(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    for dropped in ({*manifest["files"]}, {"calibrator.json"}, {"encoder/manifest.json"}):
        files = {name: FileRecord(**f) for name, f in manifest["files"].items() if name not in dropped}
        written = {**manifest, "files": msgspec.to_builtins(files), "identity": digest(files)}
        path.write_text(json.dumps(written))
        first = copy / min(dropped)
        refused(copy, f"'{first}' does not belong to the artefact: manifest.json does not list it. Remove it.")


def test_a_file_that_the_manifest_must_list(copy):
    path = copy / "manifest.json"
    manifest = json.loads(path.read_text())
    files = {name: FileRecord(**f) for name, f in manifest["files"].items() if name != "calibrator.json"}
    path.write_text(json.dumps({**manifest, "files": msgspec.to_builtins(files), "identity": digest(files)}))
    (copy / "calibrator.json").unlink()
    refused(copy, f"'{path}' does not list 'calibrator.json', which every artefact has; fit it again.")


def test_a_stray_file_is_refused(copy):
    (copy / "encoder" / "extra.bin").write_bytes(b"x")
    refused(
        copy,
        f"'{copy / 'encoder' / 'extra.bin'}' does not belong to the artefact: manifest.json does not list it. "
        "Remove it.",
    )


@pytest.mark.parametrize("name", ["calibrator.json", "encoder"])
def test_a_link_is_refused(copy, tmp_path, name):
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    refused(copy, f"'{copy / name}' is a link; an artefact holds files only. Copy the files themselves.")


def test_an_artefact_travels_as_bytes():
    files = artifacts.to_bytes(load(tiny_run()).artifact)
    rows = folder() / "test.csv"
    again = Predictor(artifacts.from_bytes(files))
    np.testing.assert_array_equal(again.predict(rows), load(tiny_run()).predict(rows))


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/../../x", "", "..\\x", "C:x"])
def test_bytes_are_not_written_outside_of_their_folder(name, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", lambda *_: pytest.fail("a file was written"))
    with pytest.raises(ArtifactError) as error:
        artifacts.from_bytes({"spec.json": b"{}", name: b"x"})
    assert str(error.value) == f"the artefact has a file named {name!r}, outside of its folder; do not use it."
