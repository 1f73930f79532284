"""One self-contained HTML page about a run, a ranking or a data set."""

from clicksmith.report.columns import profile_of
from clicksmith.report.curves import curves_of
from clicksmith.report.data import (
    Bar,
    ColumnProfile,
    Curves,
    Distribution,
    PartRows,
    Ranking,
    ReportData,
    Searched,
    Series,
    Trial,
    Trials,
    distribution_of,
)
from clicksmith.report.page import page

__all__ = [
    "Bar", "ColumnProfile", "Curves", "Distribution", "PartRows", "Ranking", "ReportData", "Searched", "Series",
    "Trial", "Trials", "curves_of", "distribution_of", "page", "profile_of",
]  # fmt: skip
