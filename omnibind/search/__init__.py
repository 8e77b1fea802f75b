"""Tables of joint rows: made from files and texts, resumed after a kill, searched exactly."""

from omnibind.search.bulk import Summary, embed_table
from omnibind.search.exact import Hit, nearest, search
from omnibind.search.pairs import Comparison, compare
from omnibind.search.sources import Listing, Source, gather
from omnibind.search.table import Table, read_table

__all__ = [
    "Comparison",
    "Hit",
    "Listing",
    "Source",
    "Summary",
    "Table",
    "compare",
    "embed_table",
    "gather",
    "nearest",
    "read_table",
    "search",
]
