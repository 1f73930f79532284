"""How far Plans agree on the features to keep."""

import numpy as np
import pytest

from clicksmith.cli.main import main
from clicksmith.errors import UsageError
from clicksmith.plan import FoundBy, KeptFeatures, KeptFields, Plan
from clicksmith.plan.arrays import Array
from clicksmith.plan.overlap import overlap

BY = FoundBy(method="optfs")


def keeps(numbering="n", **slots):
    masks = {slot: Array(np.array([True, True, *(bit == "1" for bit in bits)])) for slot, bits in slots.items()}
    return KeptFeatures(slots=masks, numbering=dict.fromkeys(masks, numbering), found_by=BY)


def test_the_overlap_by_hand():
    one, two = Plan(parts=(keeps(a="1100", b="111"),)), Plan(parts=(keeps(a="0110", b="111"),))
    total, slots = overlap([one, two])
    assert slots == {"a": pytest.approx(1 / 3), "b": 1.0}
    assert total == pytest.approx(4 / 6)
    three = Plan(parts=(keeps(a="1100", b="000"),))
    assert overlap([one, two, three])[1]["a"] == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)
    assert overlap([three, three]) == (1.0, {"a": 1.0, "b": 1.0})


def test_what_a_plan_does_not_name_is_whole_and_what_it_drops_is_empty():
    whole, half = Plan(parts=(keeps(a="1100"),)), Plan(parts=(keeps(b="1100"),))
    assert overlap([whole, half])[1] == {"a": 0.5, "b": 0.5}
    gone = Plan(parts=(KeptFields(drop={"a": "empty"}, found_by=BY), keeps(b="1100")))
    assert overlap([whole, gone])[1] == {"a": 0.0, "b": 0.5}
    assert overlap([gone, Plan(parts=(keeps(a="0000", b="1100"),))])[0] == 1.0
    both = Plan(parts=(keeps(a="1101"), keeps(a="0111")))
    assert overlap([both, Plan(parts=(keeps(a="0101"),))])[0] == 1.0


def test_other_numberings_and_a_single_plan_are_refused():
    one = Plan(parts=(keeps(a="1100"),))
    with pytest.raises(UsageError, match=r"Plan 2: .* another numbering of 'a' than that of Plan 1"):
        overlap([one, Plan(parts=(keeps("m", a="1100"),))])
    with pytest.raises(UsageError, match="two Plans or more"):
        overlap([one])


def test_the_command_shows_several_plans_and_what_they_share(tmp_path, capsys):
    files = [str(tmp_path / "0.json"), str(tmp_path / "1.json")]
    for file, bits in zip(files, ("1100", "0110"), strict=True):
        Plan(parts=(keeps(a=bits),)).save(file)
    assert main(["plan", "show", *files]) == 0
    told = capsys.readouterr().out
    assert "a: 2 of 4 features kept" in told and f"{files[1]}:" in told
    assert "kept features in common (Jaccard, mean over pairs of Plans): 0.333 (a 0.333)" in told
    assert "does not speak of" not in told
    assert main(["plan", "show", files[0]]) == 0
    assert "in common" not in capsys.readouterr().out
    by = FoundBy(method="rank", scores={"rows": 12345.0, "auc": 0.5})
    Plan(parts=(KeptFields(drop={"b": "weak"}, found_by=by),)).save(tmp_path / "2.json")
    assert main(["plan", "show", files[0], str(tmp_path / "2.json")]) == 0
    told = capsys.readouterr().out
    assert "a Plan that does not speak of a vocabulary keeps all of it" in told and "rows 12,345, auc 0.5000)" in told
    assert main(["plan", "show", *files, "--html", str(tmp_path / "p.html")]) == 2
    assert "--html draws one Plan" in capsys.readouterr().err
    Plan(parts=(keeps("m", a="1100"),)).save(files[1])
    assert main(["plan", "show", *files]) == 2
    told = capsys.readouterr().err
    assert f"error: {files[1]}: " in told and f"another numbering of 'a' than that of {files[0]}" in told
    assert main(["plan", "show"]) == 2
