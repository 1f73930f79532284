"""Planted truth: what a ranking must find, where the paper's rule and plain mutual information do not."""

import numpy as np
import pytest
from stored import frame_of, store_of

from clicksmith.datasets import ad_world
from clicksmith.datasets.fields import planted_fields
from clicksmith.encode.layout import BagColumn, Layout, Slot
from clicksmith.encode.rows import EncodedRows
from clicksmith.encode.store import Store
from clicksmith.rank import pairs, rank, rank_store
from clicksmith.rank.pairs import joined
from clicksmith.rank.views import sampled


def precision(ranking, relevant, most=20):
    return np.mean([int(f.field[1:]) in relevant for f in ranking.fields[:most]])


def test_precision_at_20_where_plain_information_and_the_papers_rule_fail():
    ours, rule, plain = [], [], []
    for seed in range(3):
        codes, labels, relevant = planted_fields(seed=seed)
        store = store_of(codes, labels)
        ours.append(precision(rank_store(store), relevant))
        rule.append(precision(rank_store(store, score="outrank"), relevant))
        plain.append(precision(rank_store(store, score="mi"), relevant))
    assert np.mean(ours) >= 0.6
    assert np.mean(plain) < np.mean(rule) < np.mean(ours) - 0.3


@pytest.mark.slow
def test_precision_at_12_of_weaker_fields_in_more_rows():
    ours, plain = [], []
    for seed in range(3):
        codes, labels, relevant = planted_fields(131_072, 120, effect=0.1, seed=seed)
        store = store_of(codes, labels)
        ours.append(precision(rank_store(store), relevant, most=12))
        plain.append(precision(rank_store(store, score="mi"), relevant, most=12))
    assert np.mean(ours) >= 0.8 and np.mean(plain) < 0.3, (ours, plain)


def test_raw_whole_numbers_are_ranked_as_well_as_ids():
    codes, labels, relevant = planted_fields(seed=1)
    assert precision(rank(frame_of(codes, labels), label="click"), relevant) >= 0.6


def test_every_planted_field_stands_above_every_noise_field():
    codes, labels, relevant = planted_fields(rows=60_000, fields=30, seed=2, effect=0.5)
    found = rank_store(store_of(codes, labels))
    assert precision(found, relevant, most=3) == 1.0
    assert {f.field for f in found.fields if f.q <= 0.05} >= {f"f{i}" for i in relevant}
    assert sum(f.q <= 0.05 for f in found.fields) <= 5


def test_information_is_of_one_size_in_samples_of_any_size_where_the_plug_in_grows():
    codes, labels, relevant = planted_fields(rows=64_000, fields=20, seed=4, effect=0.5)
    parts = [slice(0, 4_000), slice(0, 64_000)]
    small, large = (rank_store(store_of(codes[part], labels[part])) for part in parts)
    wide = [f"f{i}" for i in range(20) if i not in relevant and len(set(codes[:, i].tolist())) > 500]
    assert len(wide) > 3
    for name in wide:
        assert abs(small[name].information - large[name].information) < 4 * small[name].spread
        assert small[name].mutual_information > 2 * large[name].mutual_information
    # what is there shows from four thousand rows as from sixteen times as many, but for the noise of a sample
    for i in relevant:
        assert small[f"f{i}"].information == pytest.approx(large[f"f{i}"].information, abs=0.02)


def test_pairs_are_found_on_a_sample_of_the_rows(monkeypatch):
    """Drawn by a hash: the package fills its sample partly and reads what was in memory."""
    monkeypatch.setattr(pairs, "ROWS", 5_000)
    random = np.random.default_rng(0)
    codes = np.tile(random.integers(0, [2, 2, 30], (10_000, 3)), (4, 1))
    labels = (random.random(40_000) < 0.1 + 0.3 * (codes[:, 0] ^ codes[:, 1])).astype(np.int64)
    found = rank_store(store_of(codes, labels), pairs=3)
    assert set(found.pairs[0].fields) == {"f0", "f1"} and found.pairs[0].synergy > 0.02
    assert all(abs(pair.synergy) < 0.01 for pair in found.pairs[1:])
    numbers = [sampled(1_000_000, 5_000, seed) for seed in (0, 0, 1)]
    assert np.array_equal(numbers[0], numbers[1]) and len(np.intersect1d(numbers[0], numbers[2])) < 100
    assert abs(len(numbers[0]) - 5_000) < 5 * np.sqrt(5_000) and (np.diff(numbers[0]) > 0).all()
    assert numbers[0][0] >= 0 and numbers[0][-1] < 1_000_000 and len(set(np.diff(numbers[0]).tolist())) > 500
    assert np.array_equal(sampled(10, 5_000, 0), np.arange(10))


def test_the_pair_is_found_where_neither_field_says_anything():
    random = np.random.default_rng(0)
    codes = random.integers(0, [2, 2, 50, 300, 7], (8_000, 5))
    labels = (random.random(8_000) < 0.1 + 0.3 * (codes[:, 0] ^ codes[:, 1])).astype(np.int64)
    found = rank_store(store_of(codes, labels), pairs=5)
    assert abs(found["f0"].information) < 0.001 and found["f0"].q > 0.05
    assert set(found.pairs[0].fields) == {"f0", "f1"} and found.pairs[0].relation > 0.02
    assert found.candidates() == (found.pairs[0].fields,) and found.pairs[0].synergy > 0.02
    assert abs(found.order.index("f0") - found.order.index("f1")) == 1  # the one draws the other after it


def test_of_two_copies_one_stands_early_and_the_other_late():
    codes, labels, relevant = planted_fields(rows=20_000, fields=30, seed=3, effect=1.0)
    first = min(relevant, key=lambda f: len(set(codes[:, f].tolist())))
    renamed = np.random.default_rng(0).permutation(int(codes[:, first].max()) + 1)[codes[:, first]]
    found = rank_store(store_of(np.concatenate([codes, renamed[:, None]], 1), labels), pairs=8)
    copies = {f"f{first}", "f30"}
    assert {f.field for f in found.fields[:4]} == copies | {f"f{i}" for i in relevant}
    assert len(copies & set(found.order[:3])) == 1 and {f"f{i}" for i in relevant} - copies < set(found.order[:3])
    pair = next(p for p in found.pairs if set(p.fields) == copies)
    assert pair.redundancy == pytest.approx(1.0, abs=0.02) and pair.relation < 1e-6
    assert f"says the same as 'f{first}'" in " ".join(found["f30"].flags)


@pytest.mark.parametrize("values", [50, 2_000, 12_000])
def test_a_copy_is_as_redundant_however_many_values_it_has(values):
    random = np.random.default_rng(0)
    ids, ad = random.integers(0, values, 20_000), random.integers(0, 30, 20_000)
    labels = (random.random(20_000) < 0.1 + 0.3 * (ad % 3 == 0)).astype(np.int64)
    coarse = ids % max(2, values // 10)  # the ids say it all, and more
    codes = np.stack([ids, random.permutation(values)[ids], coarse, ad], 1)
    found = rank_store(store_of(codes, labels), pairs=4)
    redundancy = {frozenset(pair.fields): pair.redundancy for pair in found.pairs}
    assert redundancy[frozenset({"f0", "f1"})] == pytest.approx(1, abs=1e-9)
    assert redundancy[frozenset({"f0", "f2"})] == pytest.approx(1, abs=0.02)
    assert redundancy[frozenset({"f0", "f3"})] < 0.05


def test_a_copy_of_a_rare_flag_is_one():
    random = np.random.default_rng(0)
    flag, ad = (random.random(20_000) < 0.003).astype(np.int64), random.integers(0, 30, 20_000)
    codes = np.stack([flag, 1 - flag, ad], 1)
    found = rank_store(store_of(codes, (random.random(20_000) < 0.1 + 0.2 * (ad % 3 == 0)).astype(np.int64)), pairs=3)
    redundancy = {frozenset(pair.fields): pair.redundancy for pair in found.pairs}
    assert redundancy[frozenset({"f0", "f1"})] == pytest.approx(1, abs=1e-9)
    assert redundancy[frozenset({"f0", "f2"})] < 0.1


def test_noise_of_two_values_is_not_told_to_be_balanced():
    random = np.random.default_rng(0)
    codes = np.stack([(random.random(4_000) < share).astype(np.int64) for share in [0.5] * 15 + [0.005] * 15], 1)
    found = rank_store(store_of(codes, (random.random(4_000) < 0.1).astype(np.int64)))
    assert not [field.field for field in found.fields if any("balanced" in flag for flag in field.flags)]


def test_ids_of_which_nearly_every_row_has_its_own_are_not_told_from_copies():
    random = np.random.default_rng(0)
    codes = np.stack([random.integers(0, 10**6, 5_000) for _ in range(2)], 1)
    found = rank_store(store_of(codes, random.integers(0, 2, 5_000)), pairs=2)
    assert found.pairs[0].redundancy == 0.0


def test_joint_codes_are_pairs_and_no_strings_put_together():
    one, two = np.repeat(np.arange(20), 20), np.tile(np.arange(20), 20)  # "1" + "12" is "11" + "2"
    assert len(set(joined(one, two).tolist())) == 400
    far = np.array([0, 3_000_000_000, 0]), np.array([1_000_000_000, 0, 1_000_000_000])
    assert joined(*far)[0] == joined(*far)[2] != joined(*far)[1]


def test_a_leak_is_flagged_and_a_row_id_is_not_taken_for_one():
    random = np.random.default_rng(0)
    labels = (random.random(5_000) < 0.2).astype(np.int64)
    codes = np.stack([labels * 40 + random.integers(0, 40, 5_000), np.arange(5_000), np.zeros(5_000, np.int64)], 1)
    found = rank_store(store_of(codes, labels))
    assert found.fields[0].field == "f0" and found["f0"].flags[0].startswith("leak?")
    assert found["f1"].flags == ("nearly every row has a value of its own",) and abs(found["f1"].score) < 1e-6
    assert found["f2"].flags == ("one value in all rows",)


def test_fields_that_only_add_up_are_no_candidates():
    random = np.random.default_rng(0)
    codes = random.integers(0, [4, 4], (20_000, 2))
    rate = 0.1 + 0.05 * codes.sum(1)
    found = rank_store(store_of(codes, (random.random(20_000) < rate).astype(np.int64)), pairs=2)
    assert found.pairs[0].relation > 0.005 and found.pairs[0].synergy < 0.1 * found.pairs[0].relation
    assert not found.candidates()


def test_the_simulators_fields_stand_above_its_noise():
    world = ad_world(rows=25_000, seed=1)
    found = [f.field for f in rank(world.frame("train"), label="click").fields]
    planted_ones = {"user_id", "ad_id", "category", "domain", "past_ads", "mixed_code_0", "pair_2_a", "pair_2_b"}
    planted_ones |= {"number_0", "number_1", "number_2"}
    noise = {"noise_code_0", "noise_code_1", "noise_number_0", "noise_number_1", "hour"}
    assert max(found.index(name) for name in planted_ones) < min(found.index(name) for name in noise)


def test_a_field_that_rows_are_balanced_by_is_told():
    codes, labels = np.repeat(np.arange(300), 10)[:, None], np.tile([1, 0, 0, 0, 0], 600)
    found = rank_store(store_of(codes, labels))
    assert found["f0"].information < 0 and "balanced" in found["f0"].flags[0]


def test_the_controls_lie_where_they_must():
    codes, labels, _ = planted_fields(fields=10, effect=1.0)
    found = rank_store(store_of(codes, labels))
    assert len(found.controls) == 11 and found.controls[0].field == "(the label)"
    assert found.controls[0].information == pytest.approx(found.entropy, abs=1e-3)
    assert all(abs(c.z) < 4 and c.score < 1e-3 for c in found.controls[1:])
    again = rank_store(store_of(codes, labels))
    assert again.controls == found.controls and again.fields == found.fields


def test_a_bag_is_known_by_its_best_value_or_by_its_set():
    random = np.random.default_rng(0)
    bags = np.sort(random.integers(2, 60, (6_000, 5)), 1).astype(np.int32)
    noise = np.sort(random.integers(2, 60, (6_000, 5)), 1).astype(np.int32)
    labels = (random.random(6_000) < 0.1 + 0.3 * (bags == 7).any(1)).astype(np.float32)
    slots = (Slot("tags", 60), Slot("noise", 60))
    layout = Layout(slots=slots, bags=(BagColumn("tags", "tags", 5), BagColumn("noise", "noise", 5)))
    nothing = np.zeros((6_000, 0))
    rows = EncodedRows(
        nothing.astype(np.int32), nothing.astype(np.float32), {"tags": bags, "noise": noise}, labels=labels[:, None]
    )
    found = rank_store(Store.of(rows, layout))
    assert found.fields[0].field == "tags" and found["tags"].view == "one value"
    assert set(found["tags"].views) == {"set", "one value"} and found["tags"].z > 10
    assert found["noise"].z < 3 and found["noise"].information < 0.001
