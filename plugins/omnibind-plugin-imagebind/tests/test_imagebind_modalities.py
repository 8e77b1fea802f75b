"""Depth, thermal pictures and movement are read, or refused with the next step."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import omnibind_plugin_imagebind as plugin
import pytest
import torch
from omnibind_plugin_imagebind import depth, imu, thermal
from omnibind_plugin_imagebind.sensors import ImageBindDepth, ImageBindMovement
from PIL import Image

from omnibind.engine import recognise
from omnibind.errors import MediaError
from omnibind.plugins import builtin, registry
from omnibind.specs import resolve

MAP = np.linspace(0.5, 4, 24, dtype=np.float32).reshape(4, 6)
SIZES = {"width": 32, "layers": 1, "heads": 4, "dim": 8}


def png(values: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def npy(values: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, values)
    return file.getvalue()


def pfm(values: np.ndarray) -> bytes:
    return b"Pf\n6 4\n-1.0\n" + values[::-1].astype("<f4").tobytes()


def test_the_plugin_brings_three_modalities_and_a_space() -> None:
    names = {point for point, owner in registry().owners.items() if owner == "imagebind"}
    assert {name for _, name in names} == {"depth", "thermal", "imu", "imagebind"}


def test_their_objects_are_recognised_and_nobody_elses() -> None:
    cards = {card.name: card for card in plugin.provide_modalities()}
    objects = {
        "depth": depth.Depth(torch.ones(3, 3)),
        "thermal": thermal.Thermal(torch.ones(3, 3)),
        "imu": imu.Movement(torch.ones(6, 9), 50.0),
    }
    every = {card.name: card for card in (*builtin.provide_modalities(), *cards.values())}
    for name, thing in objects.items():
        assert recognise(0, thing, every).modality.name == name
        media = resolve(cards[name].load)(thing)
        assert resolve(cards[name].digest)(media) == resolve(cards[name].digest)(thing)


@pytest.mark.parametrize(
    "source",
    [
        MAP,
        torch.from_numpy(MAP),
        (MAP * 1000).round().astype(np.uint16),
        npy(MAP),
        pfm(MAP),
        png((MAP * 1000).round().astype(np.uint16)),
    ],
    ids=["array", "tensor", "millimetres", "npy", "pfm", "png"],
)
def test_a_depth_map_is_metres_however_it_came(source: Any) -> None:
    np.testing.assert_allclose(depth.load(source).metres, MAP, atol=6e-4)


def test_a_pfm_file_is_a_depth_map_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "view.pfm"
    path.write_bytes(pfm(MAP))
    assert recognise(0, path, registry().modalities).modality.name == "depth"
    np.testing.assert_array_equal(depth.load(path).metres, MAP)


def test_what_is_unknown_is_zero() -> None:
    holes = np.where(MAP > 3, np.nan, MAP)
    made = depth.load(holes).metres
    assert (made == 0).sum() == np.isnan(holes).sum()
    plane = ImageBindDepth(**SIZES).preprocess(depth.Depth(made))["plane"]
    assert plane.shape == (1, 224, 224)
    assert 0 <= plane.min() < 0.1 < 0.7 < plane.max() <= 1


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 4), np.float32),
        -MAP,
        MAP[0],
        MAP[:1],
        np.ones((4, 4), np.int64),
        pfm(MAP)[:-3],
        png(np.ones((4, 4), np.uint8)),
        b"Pf but nothing more",
        b"",
        Path("/nowhere/at/all.pfm"),
        "a text",
    ],
    ids=range(11),
)
def test_a_bad_depth_map_is_refused_with_the_next_step(source: Any) -> None:
    refuses(depth.load, source)


def test_any_picture_can_be_a_thermal_one() -> None:
    made = thermal.load(Image.new("RGB", (5, 3), (255, 255, 255)))
    assert torch.equal(made.level, torch.ones(3, 5))


@pytest.mark.parametrize("source", [b"no picture", b"", np.ones((5, 5, 9))], ids=range(3))
def test_a_bad_thermal_picture_is_refused_by_its_own_name(source: Any) -> None:
    assert "the thermal picture" in refuses(thermal.load, source)


def test_a_table_becomes_readings_at_even_steps() -> None:
    table = b"s,ax,ay,az,gx,gy,gz\n0.0,0,1,2,3,4,5\n0.02,2,1,2,3,4,5\n0.03,3,1,2,3,4,5\n"
    made = imu.load(table)
    assert made.rate == pytest.approx(2 / 0.03)
    torch.testing.assert_close(made.readings[0], torch.tensor([0, 1.5, 3]))


@pytest.mark.parametrize(
    ("steps", "rate", "count"),
    [(2, 1.0, 1), (2000, 400.0, 1), (2100, 400.0, 2), (10**5, 100.0, 30)],
)
def test_a_recording_of_any_length_becomes_windows(steps: int, rate: float, count: int) -> None:
    ramp = torch.arange(float(steps)).expand(6, -1)
    made = ImageBindMovement(**SIZES).preprocess(imu.load((ramp, rate)))["windows"]
    assert made.shape == (count, 6, 2000)
    assert made[0, 0, 0] == 0
    assert made[-1, 0, -1] == pytest.approx(steps - 1, abs=rate / 400)


@pytest.mark.parametrize(
    "source",
    [
        (np.ones((5, 9)), 100),
        (np.ones((6, 1)), 100),
        (np.full((6, 9), np.nan), 100),
        (np.ones((6, 9)), 0),
        (np.ones((6, 9)), "fast"),
        b"0 1 2 3 4 5 6\n0 1 2 3 4 5 6\n",
        b"0 1 2\n1 2 3\n",
        b"words only\n",
        b"",
        np.ones((6, 9)),
    ],
    ids=range(10),
)
def test_a_bad_recording_is_refused_with_the_next_step(source: Any) -> None:
    refuses(imu.load, source)


def refuses(load: Callable[[object], object], source: object) -> str:
    with pytest.raises(MediaError) as caught:
        load(source)
    assert caught.value.next_step
    return str(caught.value)
