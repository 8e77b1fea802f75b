"""Rows of unimodal pools on disk: one Lance dataset a modality, one float16 column an encoder."""

from omnibind.store.columns import Column, Entry, column_of, unusable
from omnibind.store.digest import digest_of, state_of
from omnibind.store.health import Problem, StoreInfo, describe, drop, verify
from omnibind.store.ids import IdIndex
from omnibind.store.lock import only_writer
from omnibind.store.rows import StoreRows
from omnibind.store.store import Store
from omnibind.store.writer import Writer

__all__ = [
    "Column",
    "Entry",
    "IdIndex",
    "Problem",
    "Store",
    "StoreInfo",
    "StoreRows",
    "Writer",
    "column_of",
    "describe",
    "digest_of",
    "drop",
    "only_writer",
    "state_of",
    "unusable",
    "verify",
]
