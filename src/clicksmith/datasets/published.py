"""The published preprocessing of the BARS data sets, as schemas; where code and words differ, the code."""

from __future__ import annotations

from clicksmith.schema import Bag, Behaviour, Categorical, Label, Multimodal, Numeric, Schema, Side, SideTable
from clicksmith.schema.columns import Field, Role

_USERS = frozenset(
    [
        "user",
        "user_id",
        "userid",
        "msno",
        "city",
        "gender",
        "registered_via",
        "bd",
        "cms_segid",
        "cms_group_id",
        "final_gender_code",
        "age_level",
        "pvalue_level",
        "shopping_level",
        "occupation",
        "new_user_class_level",
        "device_id",
        "device_ip",
    ]
)
_ITEMS = frozenset(
    [
        "item",
        "item_id",
        "song_id",
        "language",
        "genre_ids",
        "artist_name",
        "isrc",
        "adgroup_id",
        "cate_id",
        "campaign_id",
        "customer",
        "brand",
        "price",
        "tag",
        "tag_id",
        "likes_level",
        "views_level",
    ]
)
AVAZU = tuple(
    [
        "C1",
        "banner_pos",
        "site_id",
        "site_domain",
        "site_category",
        "app_id",
        "app_domain",
        "app_category",
        "device_id",
        "device_ip",
        "device_model",
        "device_type",
        "device_conn_type",
        "C14",
        "C15",
        "C16",
        "C17",
        "C18",
        "C19",
        "C20",
        "C21",
    ]
)
CRITEO_NUMBERS = tuple(f"I{i}" for i in range(1, 14))
CRITEO_CODES = tuple(f"C{i}" for i in range(1, 27))
FRAPPE = ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city")


def role(name: str) -> Role:
    """Return whom a column of these data sets describes."""
    return "user" if name in _USERS else "item" if name in _ITEMS else "context"


def codes(names: str | tuple[str, ...], min_count: int = 1) -> tuple[Field, ...]:
    """Return categorical columns."""
    listed = names.split() if isinstance(names, str) else names
    return tuple(Categorical(name, role=role(name), min_count=min_count) for name in listed)


def criteo_x1() -> Schema:
    """Numbers as AFN scaled them, 26 codes."""
    return Schema(
        fields=(*(Numeric(n, scale="raw", missing="zero") for n in CRITEO_NUMBERS), *codes(CRITEO_CODES)),
        label=Label("label"),
    )


def criteo_x4(min_count: int, label: str = "Label") -> Schema:
    """39 fields of ids: empty numbers are 0, then floor(ln(x)^2) for x > 2, else int(x)."""
    numbers = (Numeric(n, scale="log_square", missing="zero", min_count=min_count) for n in CRITEO_NUMBERS)
    return Schema(fields=(*numbers, *codes(CRITEO_CODES, min_count)), label=Label(label))


def avazu_x1() -> Schema:
    """22 codes as AFN encoded them."""
    return Schema(fields=codes(tuple(f"feat_{i}" for i in range(1, 23))), label=Label("label"))


def avazu_x4(min_count: int) -> Schema:
    """24 codes: `id` is left out, the hour is cut into hour, weekday and weekend."""
    return Schema(fields=codes(("hour", "weekday", "weekend", *AVAZU), min_count), label=Label("click"))


def frappe() -> Schema:
    """10 codes, every value kept."""
    return Schema(fields=codes(FRAPPE), label=Label("label"), group="user")


def kkbox_x1() -> Schema:
    """9 codes, two bags of up to 3, the country of the isrc, and seven age buckets."""
    plain = "msno song_id source_system_tab source_screen_name source_type city gender registered_via language"
    bags = (Bag(n, role="item", min_count=10, separator="|", max_length=3) for n in ("genre_ids", "artist_name"))
    return Schema(fields=(*codes(plain, 10), *bags, *codes("isrc bd", 10)), label=Label("label"), group="msno")


def movielenslatest_x1() -> Schema:
    """3 codes."""
    return Schema(fields=codes("user_id item_id tag_id"), label=Label("label"), group="user_id")


TAOBAO = tuple(
    [
        "userid",
        "cms_segid",
        "cms_group_id",
        "final_gender_code",
        "age_level",
        "pvalue_level",
        "shopping_level",
        "occupation",
        "new_user_class_level",
        "adgroup_id",
        "cate_id",
        "campaign_id",
        "customer",
        "brand",
        "pid",
        "btag",
    ]
)


def taobaoad_x1(min_count: int = 10) -> Schema:
    """16 codes, the price, and one history of (category, brand, kind of behaviour), newest last."""
    sides = (Side("brand_his", of="brand"), Side("btag_his", of="btag"))
    history = Behaviour("cate_his", of="cate_id", sides=sides, separator="^", max_length=50)
    fields = (*codes(TAOBAO, min_count), Numeric("price", role="item"))
    return Schema(fields=fields, behaviours=(history,), label=Label("clk"), group="userid")


def amazonelectronics_x1() -> Schema:
    """Item, category, and their history; the user only groups."""
    history = Behaviour(
        "item_history", of="item_id", sides=(Side("cate_history", of="cate_id"),), separator="^", max_length=100
    )
    return Schema(fields=codes("item_id cate_id"), behaviours=(history,), label=Label("label"), group="user_id")


def kuaivideo_x1() -> Schema:
    """User, item, and items that the user clicked and did not click."""
    histories = tuple(Behaviour(n, of="item_id", separator="^", max_length=100) for n in ("pos_items", "neg_items"))
    return Schema(fields=codes("user_id item_id", 10), behaviours=histories, label=Label("is_click"), group="user_id")


def microvideo_x1() -> Schema:
    """User, item, category, and clicked items with their categories."""
    history = Behaviour(
        "clicked_items", of="item_id", sides=(Side("clicked_categories", of="cate_id"),), separator="^", max_length=100
    )
    return Schema(
        fields=codes("user_id item_id cate_id"), behaviours=(history,), label=Label("is_click"), group="user_id"
    )


def microlens_1m_x1() -> Schema:
    """Levels of likes and views, the item with tags and vector from its table, and the items seen before."""
    fields = (
        *codes("likes_level views_level item_id"),
        Bag("item_tags", role="item", max_length=5),
        Multimodal("item_emb_d128", dim=128),
    )
    history = Behaviour("item_seq", of="item_id", max_length=100)
    return Schema(
        fields=fields,
        behaviours=(history,),
        label=Label("label"),
        group="user_id",
        tables=(SideTable("items", "item_info.parquet", "item_id"),),
    )
