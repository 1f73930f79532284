"""The pictures of a search: where the points lie, and what is left out."""

import re

from clicksmith.report import Searched, Trial, Trials
from clicksmith.report.searched import history_chart, parallel_chart, search_charts, slice_chart, trials_table

DONE = [
    Trial(0, "complete", 0.70, (0.0, 1e-4), ("a", "0.0001")),
    Trial(1, "pruned", 0.90, (1.0, 1e-3), ("b", "0.001")),
    Trial(2, "complete", 0.80, (1.0, 1e-2), ("b", "0.01")),
]
FAILED = Trial(3, "failed", None, (), (), "DivergedError")
SEARCH = Trials("auc", (Searched("model.kind", ("a", "b")), Searched("train.rate", log=True)), (*DONE, FAILED))


def dots(image: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle class="dot[^"]*" cx="([\d.]+)" cy="([\d.]+)"', image)]


def test_the_history_rises_with_finished_trials_only():
    chart = history_chart("auc", DONE)
    assert chart.note == "best: 0.8 in trial 2"
    assert chart.rows == (("0", "complete", "0.7"), ("1", "pruned", "0.9"), ("2", "complete", "0.8"))
    (x0, y0), (x1, y1), (x2, y2) = dots(chart.image)
    assert x0 < x1 < x2
    assert y1 < y2 < y0  # pixels count from the top


def test_a_range_on_the_log_scale_is_spread_evenly_and_names_are_places():
    rate = slice_chart("auc", SEARCH.parameters[1], 1, DONE)
    (x0, _), (x1, _), (x2, _) = dots(rate.image)
    assert abs((x1 - x0) - (x2 - x1)) < 0.05
    kind = slice_chart("auc", SEARCH.parameters[0], 0, DONE)
    (x0, _), (x1, _), (x2, _) = dots(kind.image)
    assert x0 < x1 == x2


def test_all_parameters_stand_side_by_side_with_a_line_per_trial():
    chart = parallel_chart(SEARCH, DONE)
    assert chart.wide
    assert chart.image.count('class="line trial') == 3
    assert chart.image.count('class="line trial c1"') == 2
    assert chart.rows[0] == ("2", "b", "0.01", "0.8")


def test_one_value_for_all_and_no_trial_at_all_can_be_drawn():
    assert len(list(search_charts(Trials("auc", SEARCH.parameters, DONE[:1])))) == 4
    assert list(search_charts(Trials("auc", SEARCH.parameters, (FAILED,)))) == []
    assert "DivergedError" in trials_table(SEARCH)
