from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clicksmith.batch.split import Split, split_by_group, split_by_time, split_leave_last, split_random
from clicksmith.encode.hashing import splitmix64
from clicksmith.errors import ArtifactError, DataError, UnknownNameError, UsageError

SHARES = st.sampled_from(
    [
        {"train": 0.8, "valid": 0.1, "test": 0.1},
        {"train": 0.5, "valid": 0.5},
        {"train": 0.72, "valid": 0.18, "test": 0.1},
    ]
)


def assert_a_partition(split: Split, rows: int) -> None:
    everything = np.concatenate(list(split.parts.values()))
    assert np.array_equal(np.sort(everything), np.arange(rows))


@settings(deadline=None)
@given(rows=st.integers(1, 3000), seed=st.integers(-5, 2**70), shares=SHARES)
def test_a_random_split_is_a_partition_with_its_shares(rows, seed, shares):
    split = split_random(rows, shares=shares, seed=seed)
    assert_a_partition(split, rows)
    for name, share in shares.items():
        assert abs(len(split[name]) - rows * share) <= 1
    assert split == split_random(rows, shares=shares, seed=seed)


def test_another_seed_is_another_split():
    assert split_random(1000, seed=1) != split_random(1000, seed=2)


def test_a_random_split_does_not_favour_any_place():
    split = split_random(200_000, seed=5)
    by_block = np.histogram(split["test"], bins=20, range=(0, 200_000))[0]
    assert np.abs(by_block - 1000).max() < 5 * np.sqrt(1000)  # five standard deviations
    assert abs(np.mean(split["test"] % 2) - 0.5) < 0.02


def test_splitmix64_follows_its_definition():
    def by_hand(z: int) -> int:
        mask = (1 << 64) - 1
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    start = int(splitmix64_step_of(7))
    got = splitmix64(np.arange(5, dtype=np.uint64), 7)
    assert [int(x) for x in got] == [by_hand((start + i) & ((1 << 64) - 1)) for i in range(5)]


def splitmix64_step_of(seed: int) -> int:
    from hashlib import sha256

    return int.from_bytes(sha256(str(seed).encode()).digest()[:8], "little")


@settings(deadline=None)
@given(groups=st.lists(st.integers(0, 30), min_size=1, max_size=400), seed=st.integers(0, 1000), shares=SHARES)
def test_no_group_is_in_two_parts(groups, seed, shares):
    split = split_by_group(groups, shares=shares, seed=seed)
    assert_a_partition(split, len(groups))
    values = np.array(groups)
    met = [set(values[part]) for part in split.parts.values()]
    assert sum(len(part) for part in met) == len(set(groups))
    for name, share in shares.items():
        assert abs(len(split[name]) - len(groups) * share) <= 1 + 2 * np.bincount(groups).max()


def test_groups_are_told_by_their_text_and_not_by_the_order_of_rows():
    groups = pl.Series([f"u{i % 40}" for i in range(400)])
    order = np.random.default_rng(0).permutation(400)
    one, two = split_by_group(groups, seed=3), split_by_group(groups.gather(order), seed=3)
    assert set(groups.gather(one["test"])) == set(groups.gather(order).gather(two["test"]))


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 50), min_size=1, max_size=300), shares=SHARES)
def test_a_split_by_time_never_looks_ahead_and_keeps_a_moment_together(times, shares):
    split = split_by_time(np.array(times), shares=shares)
    assert_a_partition(split, len(times))
    values = np.array(times)
    filled = [values[part] for part in split.parts.values() if len(part)]
    for earlier, later in pairwise(filled):
        assert earlier.max() < later.min()


def test_distinct_times_are_cut_at_the_shares():
    split = split_by_time(np.random.default_rng(1).permutation(1000))
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 800, "valid": 100, "test": 100}


def test_a_missing_time_is_named():
    with pytest.raises(DataError, match="row 2 has no time; a split by time needs one in every row"):
        split_by_time([1.0, float("nan"), 3.0])


def test_leave_last_gives_the_newest_row_of_each_group_to_test():
    groups = ["a", "b", "a", "a", "b", "c", "a"]
    times = [4, 1, 1, 3, 2, 9, 2]
    split = split_leave_last(groups, times)
    assert split["test"].tolist() == [0]  # a has four rows; b and c too few for all three parts
    assert split["valid"].tolist() == [3]
    assert split["train"].tolist() == [1, 2, 4, 5, 6]


def test_leave_last_without_times_takes_the_order_of_rows():
    split = split_leave_last([1, 1, 1, 2, 2, 2])
    assert (split["test"].tolist(), split["valid"].tolist()) == ([2, 5], [1, 4])


def test_a_saved_split_is_the_same_and_altered_ones_are_refused(tmp_path):
    split = split_random(100, seed=1)
    split.save(tmp_path / "split")
    assert Split.load(tmp_path / "split") == split
    assert Split.load(tmp_path / "split").record == split.record
    np.save(tmp_path / "split" / "test.npy", split["test"] + 1)
    with pytest.raises(
        ArtifactError, match=r"test.npy' was altered: its checksum is not the one in split.json. Split again."
    ):
        Split.load(tmp_path / "split")


def test_a_folder_without_a_split_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not hold a split"):
        Split.load(tmp_path)


def test_impossible_shares_and_parts_are_named():
    with pytest.raises(UsageError, match=r"the shares of a split sum to 0.9, not to 1"):
        split_random(10, shares={"train": 0.9})
    with pytest.raises(UsageError, match="each must be at least 0"):
        split_random(10, shares={"train": 1.5, "test": -0.5})
    with pytest.raises(DataError, match="there are no rows to split"):
        split_random(0)
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        split_random(10)["trains"]
