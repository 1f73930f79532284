"""The picture of a Plan: what is dropped, shares and sizes by vocabulary, columns by block, ranks, matrix of pairs."""

from collections.abc import Iterable

from clicksmith.plan import Columns, IdMaps, KeptFeatures, KeptFields, Pairs, Plan, Ranks
from clicksmith.report import svg, tables
from clicksmith.report.charts import Chart, bar_chart
from clicksmith.report.data import Bar, Ranking

_FIRST = 2
_CELL = 26


def origins_table(plan: Plan) -> str:
    """Return which search found each part, with its scores."""
    rows = [
        [tables.Cell(str(part.__struct_config__.tag)), part.found_by.method, part.found_by.backbone,
         str(part.found_by.seed), ", ".join(f"{name} {svg.number(x)}" for name, x in part.found_by.scores.items())]
        for part in plan.parts
    ]  # fmt: skip
    return tables.table(("part", "found by", "backbone", "seed", "scores"), rows, "where the Plan comes from")


def plan_charts(plan: Plan) -> Iterable[Chart]:
    """Return every picture the Plan has something for."""
    return (chart for chart in _charts(plan) if chart is not None)


def _charts(plan: Plan) -> Iterable[Chart | None]:
    for part in plan.parts:
        if isinstance(part, KeptFeatures):
            bars = [
                Bar(slot, float(kept.values[_FIRST:].mean())) for slot, kept in part.slots.items() if len(kept) > _FIRST
            ]
            yield _bars("Share of features kept", bars, f"of each vocabulary; {part.found_by.method}")
        elif isinstance(part, IdMaps):
            bars = [
                Bar(slot, (one.rows - _FIRST) / (len(one.ids) - _FIRST))
                for slot, one in part.slots.items()
                if len(one.ids) > _FIRST
            ]
            yield _bars("Rows per id", bars, f"after sharing; {part.found_by.method}")
        elif isinstance(part, Columns):
            bars = [
                Bar(f"{slot} {block.first}–{block.last - 1}", float(len(block.columns)))
                for slot, blocks in part.slots.items()
                for block in blocks
            ]
            yield _bars(
                "Columns by block of ids", bars, f"of {part.dim}; frequent ids come first; {part.found_by.method}"
            )
        elif isinstance(part, Ranks):
            bars = [Bar(slot, float(rank)) for slot, rank in part.slots.items()]
            yield _bars("Ranks", bars, f"numbers per id; {part.found_by.method}")
        elif isinstance(part, Pairs) and part.pairs:
            yield pair_chart(part)
        elif isinstance(part, KeptFields) and part.drop:
            yield _bars("Fields dropped", [Bar(name, 1.0) for name in part.drop], part.found_by.method)


def pair_chart(part: Pairs) -> Chart:
    """Return the matrix of field pairs and their operations."""
    names = list(dict.fromkeys(name for pair in part.pairs for name in pair.fields))
    at = {name: i for i, name in enumerate(names)}
    left, top = 130, 24
    shapes: list[str] = []
    for name, i in at.items():
        short = svg.escape(svg.shorten(name, 16))
        shapes.append(f'<text class="name" x="{left - 8}" y="{top + i * _CELL + 17}" text-anchor="end">{short}</text>')
        tag = svg.escape(svg.shorten(name, 4))
        shapes.append(f'<text class="tick" x="{left + i * _CELL + 13}" y="{top - 8}" text-anchor="middle">{tag}</text>')
    for pair in part.pairs:
        tone = "c1" if pair.op == "memorise" else "c2"
        for one, two in (pair.fields, pair.fields[::-1]):
            x, y = left + at[two] * _CELL, top + at[one] * _CELL
            tip = f"{one} x {two}: {pair.op}, {pair.dim} columns"
            size = f'width="{_CELL - 3}" height="{_CELL - 3}" rx="2"'
            shapes.append(f'<rect class="bar {tone}" x="{x}" y="{y}" {size} {svg.tipped(x + 12, y + 12, tip)}/>')
    size = len(names) * _CELL
    image = svg.picture("".join(shapes), "operation of each pair of fields", left + size + 10, top + size + 10)
    rows = tuple((" x ".join(p.fields), p.op, str(p.dim)) for p in part.pairs)
    key = (("c1", "memorise"), ("c2", "factorise"))
    return Chart("Pairs", image, "pairs without a mark are naive", key, ("pair", "operation", "columns"), rows)


def _bars(title: str, bars: list[Bar], unit: str) -> Chart | None:
    return None if not bars else bar_chart(Ranking(title, tuple(bars), unit), most=40)
