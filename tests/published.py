"""The layouts of the open benchmark's data sets, in the row counts of FuxiCTR's earlier and later versions."""

from clicksmith.encode.layout import BagColumn, IdColumn, Layout, NumericColumn, Slot, VectorColumn

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
CRITEO = of_ids(5_549_213, ["context"] * 39)
"""The one number of ids that gives InterHAt's parameters on criteo_x4_002; AFN's must follow from it."""


def with_histories(rows, histories, *, numbers=(), vectors=()):
    """Return the layout of fields with one id, histories whose ids are pooled, numbers, and given vectors of 64.

    `rows` are the logs' sizes of the vocabularies; `histories` name the field each shares its vocabulary with.
    """
    return Layout(
        slots=tuple(Slot(name, n) for name, n in rows.items()),
        ids=tuple(IdColumn(name, name) for name in rows),
        numeric=tuple(NumericColumn(name) for name in numbers),
        bags=tuple(BagColumn(name, slot, 100) for name, slot in histories.items()),
        vectors=tuple(VectorColumn(name, 64) for name in vectors),
        order=(*rows, *numbers, *histories, *vectors),
    )


AMAZON = with_histories({"item_id": 63_003, "cate_id": 803}, {"item_history": "item_id", "cate_history": "cate_id"})
KUAIVIDEO = with_histories(
    {"user_id": 10_002, "item_id": 632_406},
    {"pos_items": "item_id", "neg_items": "item_id"},
    vectors=("item_emb", "pos_items_emb", "neg_items_emb"),
)
MICROVIDEO = with_histories(
    {"user_id": 10_988, "cate_id": 514}, {"clicked_categories": "cate_id"}, vectors=("item_id", "clicked_items")
)
TAOBAO = with_histories(
    {
        "userid": 403_958, "cms_segid": 99, "cms_group_id": 15, "final_gender_code": 4, "age_level": 9,
        "pvalue_level": 6, "shopping_level": 5, "occupation": 4, "new_user_class_level": 7, "adgroup_id": 246_851,
        "cate_id": 11_330, "campaign_id": 191_771, "customer": 132_136, "brand": 308_870, "pid": 4, "btag": 6,
    },
    {"cate_his": "cate_id", "brand_his": "brand", "btag_his": "btag"},
    numbers=("price",),
)  # fmt: skip

LATER = layout(FRAPPE)
EARLIER = layout({name: rows - 1 for name, rows in FRAPPE.items()})
MOVIELENS = layout({"user": 17045, "item": 23743, "tag": 49451})
MOVIELENS_LATER = layout({"user": 17046, "item": 23744, "tag": 49452})
