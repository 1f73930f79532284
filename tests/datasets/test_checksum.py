import hashlib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clicksmith.datasets import checksum
from clicksmith.datasets.checksum import md5_forms, verify
from clicksmith.errors import DataError


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"bc"]), max_size=30), st.integers(1, 5))
def test_every_form_is_the_sum_of_that_form(tmp_path_factory, pieces, size):
    path = tmp_path_factory.getbasetemp() / "sums.txt"
    content = b"".join(pieces)
    path.write_bytes(content)
    lf = content.replace(b"\r\n", b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksum, "_PIECE", size)  # line ends fall between pieces
        got = md5_forms(path)
    assert got == tuple(hashlib.md5(form).hexdigest() for form in (content, lf, lf.replace(b"\n", b"\r\n")))


def test_a_packed_file_counts_as_its_content(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    content = b'label,a\r\n1,"x"\r\n\r\n0,y\r\n'
    (tmp_path / "a.csv.zst").write_bytes(zstandard.compress(content))
    verify(tmp_path / "a.csv.zst", (hashlib.md5(content).hexdigest(),))
    verify(tmp_path / "a.csv.zst", (hashlib.md5(content.replace(b"\r\n", b"\n")).hexdigest(),))


def test_no_published_sum_is_no_demand_but_for_a_known_number_of_rows(tmp_path):
    verify(tmp_path / "absent", ())
    for text in (b"a\nb\nc", b"a\nb\nc\n", b"head\na\nb\nc\n"):
        (tmp_path / "a.dat").write_bytes(text)
        verify(tmp_path / "a.dat", (), 3)
    for text in (b"a\nb\n", b"head\na\nb\nc\nd\n"):
        (tmp_path / "a.dat").write_bytes(text)
        with pytest.raises(DataError, match=r"a.dat' has [25] lines for 3 rows. The file is damaged"):
            verify(tmp_path / "a.dat", (), 3)
    pl.DataFrame({"x": range(3)}).write_parquet(tmp_path / "a.parquet")
    verify(tmp_path / "a.parquet", (), 3)
    with pytest.raises(DataError, match="has 3 lines for 9 rows"):
        verify(tmp_path / "a.parquet", (), 9)
