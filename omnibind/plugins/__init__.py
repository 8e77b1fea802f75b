"""How spaces, modalities and recipes come in: pluggy hooks, entry-point group `omnibind`."""

from omnibind.plugins.hooks import hookimpl
from omnibind.plugins.registry import Failure, LoadedPlugin, Registry, load_registry, registry

__all__ = ["Failure", "LoadedPlugin", "Registry", "hookimpl", "load_registry", "registry"]
