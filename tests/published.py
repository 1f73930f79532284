"""The layouts of the open benchmark's data sets, in the row counts of FuxiCTR's earlier and later versions."""

from clicksmith.encode.layout import IdColumn, Layout, Slot

FRAPPE = {
    "city": 235, "cnt": 4, "cost": 82, "country": 9, "daytime": 5, "homework": 4, "item": 4084, "user": 956,
    "weather": 11, "weekday": 9,
}  # fmt: skip
"""Rows of FuxiCTR's later versions; the earlier ones had one less per field."""


def layout(rows):
    return Layout(
        slots=tuple(Slot(name, n) for name, n in rows.items()),
        ids=tuple(IdColumn(name, name) for name in rows),
        order=tuple(rows),
    )


LATER = layout(FRAPPE)
EARLIER = layout({name: rows - 1 for name, rows in FRAPPE.items()})
MOVIELENS = layout({"user": 17045, "item": 23743, "tag": 49451})
MOVIELENS_LATER = layout({"user": 17046, "item": 23744, "tag": 49452})
