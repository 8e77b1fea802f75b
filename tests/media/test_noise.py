"""Known noise of libraries is kept away, everything else passes."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from omnibind.media.noise import hush


def warn_as(module, message="Corrupt EXIF data", category=UserWarning):
    warnings.warn_explicit(message, category, "file.py", 1, module=module)


def test_what_pillow_says_of_metadata_is_silent_while_decoding():
    with hush():
        warn_as("PIL.TiffImagePlugin")


def test_what_others_say_passes():
    with hush(), pytest.warns(UserWarning, match="mine"):
        warn_as("my.module", "mine")


def test_pillow_speaks_again_afterwards():
    with hush():
        pass
    with pytest.warns(UserWarning, match="EXIF"):
        warn_as("PIL.TiffImagePlugin")


def test_filters_are_the_same_after_many_threads():
    before = list(warnings.filters)

    def work(_):
        for _ in range(200):
            with hush(), hush():
                warn_as("PIL.TiffImagePlugin")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(warnings.filters) == before


def test_trimeshs_log_is_dropped_only_while_this_thread_decodes(caplog):
    log = logging.getLogger("trimesh.util")
    with hush():
        log.warning("inside")
    log.warning("outside")
    assert caplog.messages == ["outside"]
