"""`--metrics-port`: a command's engine under an address that Prometheus reads."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omnibind.cli.printing import talk
from omnibind.errors import SetupError

if TYPE_CHECKING:
    from omnibind.engine import Engine

__all__ = ["address_of", "metered", "url_of"]


@contextmanager
def metered(engine: Engine, where: str | None) -> Generator[None]:
    """Serves metrics while the command runs, and says where.

    Args:
        engine: of the command.
        where: `PORT` or `HOST:PORT`; None serves nothing.

    Raises:
        SetupError: no such address, or prometheus_client is not installed.
    """
    if where is None:
        yield
        return
    from omnibind.engine.report.metrics import served_metrics

    host, port = address_of(where)
    with served_metrics(engine, port, host) as found:
        talk(f"metrics: {url_of(host, found)}")
        yield


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `9100`, `0.0.0.0:9100` or `[::1]:9100`; this machine alone by default.

    Raises:
        SetupError: no port from 0 to 65535.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise SetupError(
            f"metrics at {text!r}",
            found="no port from 0 to 65535",
            next_step="write for example --metrics-port 9100, or 0.0.0.0:9100",
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def url_of(host: str, port: int) -> str:
    """Where the metrics of a host's port are; an IPv6 address is written in brackets."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
