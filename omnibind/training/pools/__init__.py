"""Unimodal pools: folders, manifests, WebDataset archives, lines of text; read one by one."""

from omnibind.training.pools.listed import Listed, Unlisted
from omnibind.training.pools.pool import Pool, Survey, parse_pool, survey

__all__ = ["Listed", "Pool", "Survey", "Unlisted", "parse_pool", "survey"]
