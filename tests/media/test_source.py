"""What every modality refuses alike, before it decodes anything."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from omnibind.errors import MediaError
from omnibind.media import source

EVERY = pytest.mark.parametrize("modality", ["text", "image", "audio", "points"])


def refused(modality, thing):
    with pytest.raises(MediaError) as refusal:
        import_module(f"omnibind.media.{modality}").load(thing)
    assert refusal.value.next_step
    return refusal.value.found[0]


@EVERY
def test_a_missing_path_is_refused(modality, tmp_path):
    assert "No such file" in refused(modality, tmp_path / "nothing.bin")


@EVERY
def test_a_directory_is_refused(modality, tmp_path):
    assert refused(modality, tmp_path) == "a directory"


@EVERY
def test_an_empty_file_is_refused(modality, tmp_path):
    (tmp_path / "empty").touch()
    assert "0 bytes" in refused(modality, tmp_path / "empty")
    assert "0 bytes" in refused(modality, b"")


@EVERY
def test_a_url_is_refused_without_being_opened(modality):
    assert "URL" in refused(modality, "https://example.org/item")
    assert "URL" in refused(modality, Path("s3://bucket/item"))


@EVERY
def test_a_path_that_no_system_takes_is_refused(modality):
    assert "null byte" in refused(modality, Path("a\0b"))
    assert "too long" in refused(modality, Path("a" * 5000))


@EVERY
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(modality, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in refused(modality, tmp_path / "pipe")


@EVERY
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_the_right_to_read_is_refused(modality, tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "PermissionError" in refused(modality, path)


@EVERY
def test_an_object_of_another_kind_is_refused_by_its_type(modality):
    with pytest.raises(MediaError, match="set"):
        import_module(f"omnibind.media.{modality}").load({1})


def test_a_file_beyond_the_limit_is_refused_by_its_size_alone(tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(source.MAX_BYTES + 1)
    assert "at most 536,870,912" in refused("image", tmp_path / "huge")


def test_the_librarys_own_error_stays_as_the_cause():
    with pytest.raises(MediaError) as refusal, source.decoding("image", "x"):
        raise IndexError("row 7\nand more")
    assert isinstance(refusal.value.__cause__, IndexError)
    assert "IndexError: row 7)" in refusal.value.found[0]


def test_importing_the_package_the_text_and_the_picture_module_imports_no_torch():
    code = (
        "import sys, omnibind.media, omnibind.media.text, omnibind.media.image;"
        "assert 'torch' not in sys.modules and 'trimesh' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
