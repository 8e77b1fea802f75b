"""The one place that knows devices: items in, rows by encoder out. It knows nothing of binding."""

from omnibind.engine.engine import Encoded, Engine, shared_engine
from omnibind.engine.items import Item, recognise
from omnibind.engine.rowcache import RowCache

__all__ = ["Encoded", "Engine", "Item", "RowCache", "recognise", "shared_engine"]
