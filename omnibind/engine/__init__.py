"""The one place that knows devices: items in, rows by encoder out. It knows nothing of binding."""

from omnibind.engine.engine import Engine
from omnibind.engine.items import Item, recognise
from omnibind.engine.outcome import Cancel, Cancelled, Closed, Encoded, Interrupted
from omnibind.engine.precision import Dtype
from omnibind.engine.report.stats import Stats
from omnibind.engine.requests import Priority
from omnibind.engine.rowcache import RowCache
from omnibind.engine.shared import shared_engine

__all__ = [
    "Cancel",
    "Cancelled",
    "Closed",
    "Dtype",
    "Encoded",
    "Engine",
    "Interrupted",
    "Item",
    "Priority",
    "RowCache",
    "Stats",
    "recognise",
    "shared_engine",
]
