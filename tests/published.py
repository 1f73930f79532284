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


def of_ids(total, roles):
    """Return the layout of so many fields with so many ids together: how these are shared out changes no count."""
    rows = [total - 3 * (len(roles) - 1), *[3] * (len(roles) - 1)]
    return Layout(
        slots=tuple(Slot(f"f{i}", n) for i, n in enumerate(rows)),
        ids=tuple(IdColumn(f"f{i}", f"f{i}", role) for i, role in enumerate(roles)),
    )


KKBOX = of_ids(92_247, ["context"] * 13)
"""As many ids as its FM has parameters for: 129 each, and a constant."""
AVAZU = of_ids(3_750_975, ["user", "item", "context"] * 8)
"""As many ids as the FM of avazu_x4_001 has parameters for: 17 each, and a constant."""

LATER = layout(FRAPPE)
EARLIER = layout({name: rows - 1 for name, rows in FRAPPE.items()})
MOVIELENS = layout({"user": 17045, "item": 23743, "tag": 49451})
MOVIELENS_LATER = layout({"user": 17046, "item": 23744, "tag": 49452})
