"""Files of the hub, fetched for real from a server on this machine that speaks its protocol."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import close_session, constants

from omnibind.errors import WeightsError
from omnibind.weights import locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = bytes(range(256)) * 4000
PINNED = f"hub:owner/name@{COMMIT}/folder/weights.bin"
PATH = "/owner/name/resolve/"
MOVING = "hub:owner/name@main/folder/weights.bin"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Hub:
    """What the server has, how it misbehaves, and what it was asked."""

    content: bytes = CONTENT
    named: str = sha256(CONTENT)
    size: int = len(CONTENT)
    status: int = 200
    error: str = ""
    breaks_at: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def downloads(self) -> list[str]:
        """The ranges of content that were asked for."""
        return [span for method, path, span in self.asked if method == "GET" and PATH in path]


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(b"")

        def do_GET(self) -> None:
            self.answer(hub.content)

        def answer(self, content: bytes) -> None:
            span = self.headers.get("Range", "")
            hub.asked.append((self.command, self.path, span))
            start = int(span.removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(hub.status if hub.status != 200 or not start else 206)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hub.named}"')
            self.send_header("X-Linked-Etag", f'"{hub.named}"')
            self.send_header("X-Linked-Size", str(hub.size))
            if hub.error:
                self.send_header("X-Error-Code", hub.error)
            whole = hub.content if hub.status == 200 else b""
            self.send_header("Content-Length", str(len(whole) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
            self.end_headers()
            stop = hub.breaks_at.pop(0) if content and hub.breaks_at else None
            self.close_connection = stop is not None
            self.wfile.write(content[start:stop] if hub.status == 200 else b"")

        def log_message(self, *_: object) -> None: ...

    return Handler


@pytest.fixture
def served() -> Iterator[tuple[Hub, str]]:
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(hub)) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield hub, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def hub(served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server, as this process's hub; with empty caches and online."""
    hub, address = served
    for name in ("OMNIBIND_OFFLINE", "OMNIBIND_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMNIBIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # the client has read these from the environment when it was imported
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65536)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    close_session()
    yield hub
    close_session()


# --- downloads ------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [f"{PINNED}#sha256={sha256(CONTENT)}", PINNED, MOVING])
def test_a_file_is_downloaded_once(hub: Hub, reference: str) -> None:
    path = locate(reference)
    assert path.read_bytes() == CONTENT
    asked = len(hub.asked)
    assert locate(reference) == path
    assert len(hub.asked) == asked
    assert hub.downloads == [""]


def test_the_environment_names_the_hub_and_its_cache(served, tmp_path: Path) -> None:
    hub, address = served
    progress = {"TQDM_POSITION": "-1"}  # shown also where nobody looks
    own = {
        "NO_PROXY": "127.0.0.1",
        "OMNIBIND_CACHE": str(tmp_path / "own"),
        "HF_HOME": str(tmp_path / "hub"),
    }
    script = f"from omnibind.weights import locate; print(locate({PINNED!r}).read_bytes()[:3])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **own, "HF_ENDPOINT": address, "OMNIBIND_OFFLINE": "", **progress},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "b'\\x00\\x01\\x02'\n", done.stderr
    assert "weights.bin: 100%" in done.stderr
    assert list((tmp_path / "hub" / "hub").glob("models--owner--name/snapshots/*/folder/*"))
    assert hub.downloads == [""]


def test_a_broken_connection_is_resumed_where_it_stopped(hub: Hub) -> None:
    hub.breaks_at = [600_000]
    assert locate(PINNED).read_bytes() == CONTENT
    assert hub.downloads == ["", f"bytes={9 * 65536}-"]


def test_a_truncated_file_is_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.content = CONTENT[:1000]
    with pytest.raises(WeightsError, match=r"a truncated file[\s\S]*next: +run it again"):
        locate(PINNED)
    assert not [path for path in (tmp_path / "hub").rglob("*") if path.stat().st_size == 1000]
    hub.content = CONTENT
    assert locate(PINNED).read_bytes() == CONTENT


def test_a_file_that_the_disk_has_no_room_for_is_not_begun(hub: Hub) -> None:
    hub.size = 10**18
    with pytest.raises(WeightsError, match=r"1000000000\.00 GB[\s\S]*HF_HUB_CACHE"):
        locate(PINNED)
    assert hub.downloads == []


# --- checksums ------------------------------------------------------------------------------


def test_another_file_than_the_cards_is_not_downloaded(hub: Hub) -> None:
    with pytest.raises(WeightsError, match=r"by the hub's word[\s\S]*do not use it"):
        locate(f"{PINNED}#sha256={'0' * 64}")
    assert hub.downloads == []


@pytest.mark.parametrize("checksum", ["", f"#sha256={sha256(CONTENT)}"])
def test_content_that_arrives_changed_is_refused_until_it_is_deleted(
    hub: Hub, checksum: str
) -> None:
    hub.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"sha256 {sha256(CONTENT[::-1])}") as refused:
        locate(PINNED + checksum)
    hub.content = CONTENT
    with pytest.raises(WeightsError, match="sha256"):
        locate(PINNED + checksum)
    Path(refused.value.next_step.removeprefix("delete ").partition(" and ")[0]).unlink()
    assert locate(PINNED + checksum).read_bytes() == CONTENT


def test_a_file_that_changes_later_is_refused_with_both_hashes(hub: Hub) -> None:
    locate(MOVING).resolve().unlink()
    changed = CONTENT + b"more"
    hub.content, hub.named, hub.size = changed, sha256(changed), len(changed)
    with pytest.raises(WeightsError, match="first seen") as refused:
        locate(MOVING)
    assert sha256(CONTENT) in str(refused.value)
    assert sha256(changed) in str(refused.value)
    Path(refused.value.next_step.partition("the new one, delete ")[2].partition(": ")[0]).unlink()
    assert locate(MOVING).read_bytes() == changed


@pytest.mark.parametrize("target", ["owner/name/weights.bin", "owner/na--me@main/weights.bin"])
def test_a_name_that_no_hub_has_is_refused_at_once(hub: Hub, target: str) -> None:
    with pytest.raises(WeightsError, match=r"next: +(pin a revision|correct the card)"):
        locate(f"hub:{target}")
    assert hub.asked == []


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (401, "", r"HTTP 401[\s\S]*hf auth login"),
        (401, "GatedRepo", r"a gated repository[\s\S]*accept its licence at http://127.*/name"),
        (403, "GatedRepo", r"a gated repository[\s\S]*accept its licence"),
        (403, "", r"HTTP 403[\s\S]*hf auth login"),
        (404, "RepoNotFound", r"HTTP 404: no such repository"),
        (404, "RevisionNotFound", rf"no revision '{COMMIT}'[\s\S]*correct the card"),
        (404, "EntryNotFound", r"no such file[\s\S]*correct the card"),
        (500, "", r"HTTP 500[\s\S]*try again later"),
    ],
)
def test_a_refusal_says_what_helps(hub: Hub, status: int, error: str, says: str) -> None:
    hub.status, hub.error = status, error
    with pytest.raises(WeightsError, match=says):
        locate(PINNED)


def test_a_hub_that_is_not_there_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nobody)
    with pytest.raises(WeightsError, match=r"ConnectError[\s\S]*check the network"):
        locate(PINNED)


def test_offline_only_what_is_cached_is_found(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = locate(PINNED)
    asked = len(hub.asked)
    monkeypatch.setenv("OMNIBIND_OFFLINE", "1")
    assert locate(PINNED) == path
    with pytest.raises(WeightsError, match=r"OMNIBIND_OFFLINE is set[\s\S]*owner/name/other\.bin"):
        locate(f"hub:owner/name@{COMMIT}/other.bin")
    assert len(hub.asked) == asked


# --- the user's own folder ------------------------------------------------------------------


@pytest.fixture
def weights(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`OMNIBIND_WEIGHTS`, with the file in two places."""
    monkeypatch.setenv("OMNIBIND_WEIGHTS", str(tmp_path))
    for place in ("owner/name/folder/weights.bin", "weights.bin"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(CONTENT)
    return tmp_path


def test_the_weights_folder_is_looked_into_first(hub: Hub, weights: Path) -> None:
    assert locate(PINNED) == weights / "owner/name/folder/weights.bin"
    locate(PINNED).unlink()
    assert locate(PINNED) == weights / "weights.bin"
    locate(PINNED).unlink()
    assert locate(PINNED).is_relative_to(weights / "hub")
    assert hub.downloads == [""]


def test_a_wrong_file_in_the_weights_folder_is_refused(weights: Path) -> None:
    with pytest.raises(WeightsError, match="put the right file into OMNIBIND_WEIGHTS"):
        locate(f"{PINNED}#sha256={'0' * 64}")


def test_a_name_that_many_repositories_share_has_to_lie_in_its_folder(weights: Path) -> None:
    (weights / "model.safetensors").write_bytes(CONTENT)
    reference = f"hub:owner/name@{COMMIT}/model.safetensors"
    with pytest.raises(WeightsError, match=r"move it to .*owner/name/model\.safetensors"):
        locate(reference)
    assert locate(f"{reference}#sha256={sha256(CONTENT)}") == weights / "model.safetensors"


def test_a_weights_folder_that_is_none_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNIBIND_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match="correct or unset OMNIBIND_WEIGHTS"):
        locate(PINNED)
