import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clicksmith.datasets import catalogue
from clicksmith.datasets.download import download, unpack
from clicksmith.datasets.load import load
from clicksmith.datasets.published import frappe
from clicksmith.datasets.spec import DataFile, DatasetSpec
from clicksmith.errors import DataError, StorageError

HEADER = "label,user,item,daytime,weekday,isweekend,homework,cost,weather,country,city\r\n"
TEXT = (HEADER + "".join(f"{i % 2},{i},{i * 3},1,2,3,4,5,6,7,8\r\n" for i in range(300))).encode()


class Server:
    """A web server on this machine; `cut` ends an answer early, `ranges` says whether it can go on from the middle."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str | None] = []
        self.cut: int | None = None
        self.ranges = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        content = self.files.get(request.path)
        if content is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start : self.cut])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_csv", ".csv"), content)
    return buffer.getvalue()


def test_a_file_arrives_whole_with_progress(server, tmp_path):
    server.files["/a"] = bytes(range(256)) * 4000
    seen: list[tuple[int, int | None]] = []
    path = download(server.url + "/a", tmp_path / "a", progress=lambda have, total: seen.append((have, total)))
    assert path.read_bytes() == server.files["/a"]
    assert seen[-1] == (1_024_000, 1_024_000)
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert not (tmp_path / "a.part").exists()


def test_an_interrupted_download_goes_on_where_it_stopped(server, tmp_path):
    server.files["/a"] = bytes(range(256)) * 400
    server.cut = 1000
    with pytest.raises(DataError) as error:
        download(server.url + "/a", tmp_path / "a")
    assert str(error.value) == f"{server.url}/a ended after 1,000 of 102,400 bytes; run again to go on from there."
    assert not (tmp_path / "a").exists()
    server.cut = None
    download(server.url + "/a", tmp_path / "a")
    assert server.asked == [None, "bytes=1000-"]
    assert (tmp_path / "a").read_bytes() == server.files["/a"]


def test_a_server_that_cannot_go_on_begins_again(server, tmp_path):
    server.files["/a"] = b"0123456789" * 100
    server.ranges = False
    (tmp_path / "a.part").write_bytes(b"something else")
    assert download(server.url + "/a", tmp_path / "a").read_bytes() == server.files["/a"]


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    server.files["/a"] = b"0123456789"
    (tmp_path / "a.part").write_bytes(b"0123456789")
    assert download(server.url + "/a", tmp_path / "a").read_bytes() == b"0123456789"


def test_refusals_of_the_server_and_of_the_network_are_told(server, tmp_path):
    with pytest.raises(StorageError, match=r"the server answered 404 \(Not Found\) for http://127"):
        download(server.url + "/none", tmp_path / "a")
    with pytest.raises(StorageError, match=r"no connection to http://127.0.0.1:9/a"):
        download("http://127.0.0.1:9/a", tmp_path / "a")
    with pytest.raises(DataError, match="is no web address; it must begin with https://"):
        download("file:///etc/passwd", tmp_path / "a")


def test_a_zip_that_reaches_outside_is_not_unpacked(tmp_path):
    for name in ("../evil.csv", "/evil.csv", "a/../../evil.csv"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("good.csv", b"1")
            archive.writestr(name, b"2")
        with pytest.raises(DataError, match="which lies outside its folder; it is not unpacked"):
            unpack(tmp_path / "a.zip", tmp_path / "here" / "a")
        assert not list(tmp_path.rglob("evil.csv"))
        assert not (tmp_path / "here" / "a").exists()


def test_what_lies_beside_the_unpacked_files_stays(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(deep__train_csv=TEXT, valid_csv=TEXT))
    here = tmp_path / "here" / "a"
    here.mkdir(parents=True)
    (here / "notes.txt").write_text("mine")
    (here / "valid.csv").write_text("old")
    unpack(tmp_path / "a.zip", here)
    found = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert found == {"notes.txt": b"mine", "valid.csv": TEXT, "deep/train.csv": TEXT}
    assert {path.name for path in here.parent.iterdir()} == {"a", ".lock"}


def test_a_zip_damaged_inside_a_file_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", bytes(range(256)) * 40)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    for at in range(40, 100):  # wherever it is, the sentence is the same
        damaged = whole.copy()
        damaged[at] ^= 0xFF
        (tmp_path / "a.zip").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a.zip' is no complete zip \(.*\); delete it and load again"):
            unpack(tmp_path / "a.zip", tmp_path / "here" / "a")


def test_a_truncated_zip_leaves_nothing_half_made(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(train_csv=TEXT)[:-40])
    with pytest.raises(DataError, match=r"a.zip' is no complete zip \(.*\); delete it and load again"):
        unpack(tmp_path / "a.zip", tmp_path / "here" / "a")
    assert not (tmp_path / "here" / "a").exists()


@pytest.fixture
def tiny(server, monkeypatch) -> DatasetSpec:
    """A data set like Frappe_x1 whose sums are published for CRLF files."""
    sums = (hashlib.md5(TEXT).hexdigest(),)
    files = tuple(DataFile(part, f"{part}.csv", sums) for part in ("train", "valid", "test"))
    spec = DatasetSpec("tiny", "Tiny", files, {"tiny": frappe()}, "A tiny one.", url=f"{server.url}/Tiny.zip")
    monkeypatch.setitem(catalogue.DATASETS, "tiny", spec)
    return spec


def test_a_data_set_is_fetched_checked_and_found_again(server, tiny, tmp_path):
    server.files["/Tiny.zip"] = zipped(train_csv=TEXT, valid_csv=TEXT, test_csv=TEXT)
    assert load("tiny", tmp_path).frame().height == 300
    assert len(server.asked) == 1
    load("tiny", tmp_path)
    load("tiny", tmp_path / "Tiny")
    assert len(server.asked) == 1
    assert not (tmp_path / "Tiny.zip").exists()


def test_files_with_other_line_ends_are_the_same_files(server, tiny, tmp_path):
    lines = TEXT.replace(b"\r\n", b"\n")
    server.files["/Tiny.zip"] = zipped(Tiny__train_csv=lines, Tiny__valid_csv=lines, Tiny__test_csv=TEXT)
    assert load("tiny", tmp_path).frame("test").height == 300


def test_an_altered_file_is_named_with_both_sums(server, tiny, tmp_path):
    altered = TEXT + TEXT.splitlines(keepends=True)[-1]
    server.files["/Tiny.zip"] = zipped(train_csv=TEXT, valid_csv=altered, test_csv=TEXT)
    with pytest.raises(DataError) as error:
        load("tiny", tmp_path)
    text, got = str(error.value), hashlib.md5(altered).hexdigest()
    assert text.startswith(f"'{tmp_path}/Tiny/valid.csv' has MD5 {got}")
    assert f"expected {hashlib.md5(TEXT).hexdigest()}. The file is damaged or of another version" in text
    assert load("tiny", tmp_path, verify=False).frame("valid").height == 301


def test_a_zip_without_the_files_says_so(server, tiny, tmp_path):
    server.files["/Tiny.zip"] = zipped(train_csv=TEXT)
    with pytest.raises(StorageError, match=r"was unpacked, but does not hold train.csv, valid.csv, test.csv"):
        load("tiny", tmp_path)


def test_offline_gives_the_steps_by_hand_in_one_sentence(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(catalogue.DATASETS, "tiny", replace(tiny, url="http://127.0.0.1:9/Tiny.zip"))
    with pytest.raises(StorageError) as error:
        load("tiny", tmp_path)
    text = str(error.value)
    assert text.startswith(
        f"the data set 'tiny' is not in '{tmp_path}', and no connection to http://127.0.0.1:9/Tiny.zip ("
    )
    assert text.endswith(
        "On a machine with a network download http://127.0.0.1:9/Tiny.zip, unpack it so that train.csv, "
        f"valid.csv, test.csv lie in '{tmp_path}/Tiny', and run again."
    )
    assert "\n" not in text


def test_the_environment_names_the_folder(server, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("CLICKSMITH_DATA", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    (tmp_path / "Tiny").mkdir()
    for part in ("train", "valid", "test"):
        (tmp_path / "Tiny" / f"{part}.csv").write_bytes(TEXT)
    assert load("tiny", fetch=False).frame().height == 300
