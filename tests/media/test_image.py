"""Pictures of every kind become the same upright RGB; bad ones are refused with a reason."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import functional as transforms

from omnibind.errors import MediaError
from omnibind.media import image


def pixels(source):
    return np.asarray(image.load(source))


def refused(source):
    with pytest.raises(MediaError) as refusal:
        image.load(source)
    assert refusal.value.next_step
    return refusal.value.found[0]


def encode(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_header(width, height):
    """The start of a PNG of any size, without its pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 10) + b"IDAT" + bytes(14)


def test_every_kind_of_file_becomes_rgb_of_8_bits(image_files):
    for name, data in image_files.items():
        picture = image.load(data)
        assert (picture.mode, sorted(picture.size)) == ("RGB", [48, 64]), name


def test_a_file_its_bytes_the_picture_and_its_array_are_equal(image_files, photo, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(image_files["rgb.png"])
    array = np.asarray(photo)
    sources = [path, str(path), path.read_bytes(), photo, array, array / 255, torch.tensor(array)]
    sources.append(torch.tensor(array).permute(2, 0, 1))
    sources.append(torch.tensor(array).permute(2, 0, 1).float() / 255)
    assert len({image.digest(image.load(source)) for source in sources}) == 1


def test_content_decides_and_not_the_name(image_files, photo, tmp_path):
    (tmp_path / "a.jpg").write_bytes(image_files["rgb.png"])
    assert np.array_equal(pixels(tmp_path / "a.jpg"), np.asarray(photo))


def test_exif_orientation_is_applied(image_files):
    plain, turned = image.load(image_files["plain.jpg"]), image.load(image_files["turned.jpg"])
    assert np.array_equal(np.asarray(plain.rotate(-90, expand=True)), np.asarray(turned))


def test_a_picture_in_memory_is_turned_too_and_stays_as_it_was(image_files):
    given = Image.open(io.BytesIO(image_files["turned.jpg"]))
    assert image.load(given).size == (48, 64)
    assert given.size == (64, 48)


def test_transparent_parts_become_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 2, 4))
    expected = np.full((4, 4, 3), 255)
    expected[:, :2] = (0, 0, 255)
    palette = encode(clear.quantize(4), "PNG")
    keyed = encode(clear.convert("RGB"), "PNG", transparency=(255, 0, 0))
    for source in (clear, palette, np.asarray(clear), keyed):
        assert np.array_equal(pixels(source), expected)


def test_grey_with_alpha_becomes_white_where_it_is_clear():
    assert (pixels(Image.new("LA", (3, 3), (7, 0))) == 255).all()


def test_the_first_frame_of_an_animation_counts(image_files, photo):
    for name in ("moving.png", "moving.gif", "moving.webp"):
        difference = pixels(image_files[name]).astype(int) - np.asarray(photo)
        assert np.abs(difference).mean() < 16, name


def test_16_bit_grey_keeps_its_upper_8_bits(image_files, photo):
    grey = np.asarray(photo)[..., 0]
    for name in ("deep.png", "deep.tiff"):
        assert np.array_equal(pixels(image_files[name])[..., 1], grey)
    wide = Image.fromarray(grey.astype(np.int32) * 256)
    assert wide.mode == "I"
    assert np.array_equal(pixels(wide)[..., 2], grey)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "F"])
def test_every_mode_of_pillow_is_taken(mode):
    picture = Image.new("F", (4, 5), 0.5) if mode == "F" else Image.new("RGB", (4, 5)).convert(mode)
    assert image.load(picture).mode == "RGB"


def test_cmyk_looks_like_the_picture_it_was_made_from(image_files, photo):
    assert np.abs(pixels(image_files["cmyk.jpg"]).astype(int) - np.asarray(photo)).mean() < 12


def test_grey_arrays_are_taken_with_and_without_a_channel_axis():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(pixels(grey), pixels(grey[..., None]))


def test_a_bomb_is_refused_by_its_header_without_a_warning():
    assert "at most 100,000,000" in refused(png_header(50_000, 50_000))
    assert "10,001 x 10,000" in refused(png_header(10_001, 10_000))


def test_between_pillows_own_limit_and_ours_nothing_is_said():
    assert "does not decode" in refused(png_header(9_500, 10_000))


def test_one_pixel_is_no_picture():
    assert "1 x 1 pixels; each side needs at least 2" in refused(Image.new("RGB", (1, 1)))
    assert "1 x 9 pixels" in refused(np.zeros((9, 1, 3), np.uint8))
    assert image.load(Image.new("RGB", (2, 2))).size == (2, 2)


@pytest.mark.parametrize("kind", ["rgb.png", "plain.jpg", "lzw.tiff", "a.bmp", "a.avif"])
def test_a_truncated_picture_is_refused(image_files, kind):
    found = refused(image_files[kind][: len(image_files[kind]) * 2 // 3])
    assert "does not decode" in found or "no readable" in found


def test_a_text_named_png_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("This is a text.")
    assert "starts with b'This is '" in refused(tmp_path / "a.png")


def test_svg_and_heic_are_refused_with_what_to_do():
    for data, step in ((b'<?xml version="1.0"?><svg/>', "render"), (b"\0\0\0 ftypheic", "JPEG")):
        with pytest.raises(MediaError, match=step):
            image.load(data)


def test_postscript_is_never_handed_to_an_interpreter():
    assert "starts with b'%!PS-Ado'" in refused(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.full((4, 4, 3), 2.0), "expected 0 to 1"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((2, 4, 4, 3)), "not the axes"),
        (np.zeros((5, 5, 7)), "not the axes"),
        (np.zeros((0, 4, 3)), "at least 2"),
        (Image.new("F", (4, 4), 300), "expected 0 to 1"),
        (Image.new("I", (4, 4), -1), "expected 0 to 65535"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(array, reason):
    assert reason in refused(array)


def test_damaged_exif_leaves_the_picture_as_it_is(photo):
    data = encode(photo, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40)
    assert image.load(data).size == photo.size


def test_pictures_are_claimed_and_points_and_sounds_are_not():
    mine = [Image.new("L", (2, 2)), np.zeros((9, 9, 3)), np.zeros((9, 9)), torch.zeros(3, 9, 9)]
    mine.append(np.zeros((9, 3), np.uint8))
    others = [np.zeros((900, 3)), np.zeros((900, 6)), np.zeros((2, 900)), np.zeros(900), "a.png"]
    assert all(map(image.claims, mine))
    assert not any(map(image.claims, [*others, torch.zeros(900, 3), b"", None]))


def test_other_pixels_or_another_shape_give_another_digest():
    pictures = [Image.new("RGB", size, colour) for size in ((2, 6), (3, 4)) for colour in (0, 1)]
    assert len({image.digest(picture) for picture in pictures}) == 4


def test_many_threads_may_load_one_lazy_picture(image_files):
    lazy = Image.open(io.BytesIO(image_files["turned.jpg"]))
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: image.digest(image.load(lazy)), range(32)))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(image_files["turned.jpg"])))
    assert digests == {image.digest(expected)}


def test_a_picture_is_shrunk_once_for_all_who_ask() -> None:
    picture = Image.effect_noise((123, 77), 50).convert("RGB")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: image.shrunk(picture, 32), range(16)))
    assert len({id(one) for one in made}) == 1
    theirs = transforms.resize(picture, 32, transforms.InterpolationMode.BICUBIC)
    assert made[0].tobytes() == theirs.tobytes()
