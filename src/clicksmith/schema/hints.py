"""What the name of a column suggests. Names are cut into words: `siteCategory_id` is site, category, id."""

from __future__ import annotations

import re

from clicksmith.schema.columns import Role


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABELS = (
    "label", "click", "clicked", "is_click", "is_clicked", "clk", "target", "y", "is_attributed", "click_label",
    "label_click", "ctr_label", "conversion", "converted", "is_conversion", "purchase", "purchased", "buy", "install",
)  # fmt: skip
"""Names of a label, the likeliest first."""

_ID = _words(
    "id ids uid pid aid cid code key hash ip zip zipcode postcode type kind class category categories cat cate "
    "brand user item ad site app device model campaign advertiser creative publisher slot pos position banner "
    "adgroup group segment seg level country city region state language lang os browser sku shop store seller "
    "movie video song artist genre tag tags author topic channel page url domain network carrier weekday month "
    "hour daypart gender sex occupation job color customer msno msid flag is has "
)
_QUANTITY = _words(
    "price amount age count counts cnt num number total sum avg mean score rate ratio ctr cvr length duration "
    "days hours minutes seconds size distance weight height income revenue cost bid budget clicks views likes "
    "impressions popularity probability prob percent pct latitude longitude lat lon lng temperature value log "
    "year quantity qty depth tenure recency "
)
_TIME = _words("time timestamp ts date datetime day dt hour created at moment unixtime epoch ")
_HISTORY = re.compile(r"hist|his$|his_|_seq|seq$|sequence|behaviou?r|clicked_|viewed_|past_|recent|previous|last_\d")
_USER = _words(
    "user uid userid member customer cust visitor cookie gender sex age occupation job zip zipcode income msno "
    "reader viewer "
)
_ITEM = _words(
    "item ad ads adid aid creative campaign advertiser movie video song product sku brand cate category genre "
    "genres title price tag tags author artist shop seller itemid adgroup article news pid image img likes "
    "views level "
)
_GROUP = (
    "user_id",
    "userid",
    "user",
    "uid",
    "customer_id",
    "member_id",
    "visitor_id",
    "msno",
    "cookie_id",
    "device_id",
)
_DOMAIN = ("domain", "domain_id", "scenario", "scenario_id", "scene", "scene_id", "domain_indicator")


def words(name: str) -> set[str]:
    """Return the words of a column name, in lower case."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return {word for word in re.split(r"[^a-zA-Z0-9]+", spaced.lower()) if word}


def names_things(name: str) -> bool:
    """Whether the name is that of an id or a code."""
    return bool(words(name) & _ID) or name.lower().endswith("id")


def names_quantity(name: str) -> bool:
    """Whether the name is that of a quantity: a price, a count, an age."""
    return bool(words(name) & _QUANTITY) and not name.lower().endswith("id")


def names_time(name: str) -> bool:
    """Whether the name is that of a moment."""
    return bool(words(name) & _TIME)


def names_history(name: str) -> bool:
    """Whether the name is that of a sequence of past behaviours."""
    return bool(_HISTORY.search(name.lower()))


def role_of(name: str) -> Role:
    """Return whom a column of this name describes."""
    found = words(name)
    if found & _USER:
        return "user"
    return "item" if found & _ITEM else "context"


def label_rank(name: str) -> int | None:
    """Return how likely the name is that of a label: 0 is likeliest; None if it is not one."""
    lower = name.lower()
    if lower in LABELS:
        return LABELS.index(lower)
    return len(LABELS) if words(lower) & {"click", "clicked", "label", "target"} else None


def first_of(names: list[str], which: str) -> str | None:
    """Return the column that is a likely "group" or "domain", or None."""
    lower = {name.lower(): name for name in reversed(names)}
    wanted = _GROUP if which == "group" else _DOMAIN
    return next((lower[name] for name in wanted if name in lower), None)
