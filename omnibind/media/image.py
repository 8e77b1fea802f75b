"""Pictures: an upright RGB `PIL.Image.Image`, 8 bits a channel, whatever they were before.

Files are decoded by Pillow, and only in the formats listed here. EXIF orientation is applied,
transparency is laid on white, the first frame of an animation counts, of 16 bits the upper 8 are
kept (as Pillow does for 16-bit colour). Colour profiles are not applied. Ours: the pixel limit,
and that a picture has at least 2 pixels each way, for one pixel shows nothing.
"""

from __future__ import annotations

import threading
from hashlib import blake2b
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from omnibind.errors import MediaError
from omnibind.media.arrays import as_array, is_array, is_tensor
from omnibind.media.noise import quiet_libtiff
from omnibind.media.source import Content, decoding, describe, read, refusal

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
MAX_PIXELS = 100_000_000
MIN_SIDE = 2

_lazy_picture = threading.Lock()
_shrinking = threading.Lock()
quiet_libtiff()


def load(source: object) -> Image.Image:
    """Reads a picture.

    Args:
        source: a path, the bytes of a file, a PIL image of any mode, or an array or tensor
            `[height, width]`, `[height, width, 1 | 3 | 4]` or `[1 | 3 | 4, height, width]`,
            uint8 or float in [0, 1].
    Raises:
        MediaError: it is not a picture, is damaged, or is too small or too large.
    """
    if isinstance(source, Image.Image):
        label = f"(PIL image, mode {source.mode})"
        with decoding("image", label):
            picture = _upright_rgb(source, label)
            return picture.copy() if picture is source else picture
    if is_array(source):
        label = f"({describe(source)})"
        with decoding("image", label):
            return _upright_rgb(_from_array(source, label), label)
    return _decode(read(source, "image"))


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture with its shorter side at so many pixels, by PIL's bicubic filter.

    Computed once for each side, however many encoders and threads ask. The result is shared: do
    not write into it. Its size is that of torchvision's `resize`.
    """
    with _shrinking:
        known: dict[int, Image.Image] = picture.__dict__.setdefault("_shrunk", {})
        lock: threading.Lock = picture.__dict__.setdefault("_shrunk_lock", threading.Lock())
    with lock:
        if side not in known:
            short = min(picture.size)
            size = tuple(int(side * one / short) for one in picture.size)
            known[side] = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        return known[side]


def claims(thing: object) -> bool:
    """Whether the object is a PIL image, or an array that can only be a picture.

    A float array with two axes is one if both are at least 8 long: shorter ones are sounds or
    points.
    """
    if isinstance(thing, Image.Image):
        return True
    if not is_array(thing):
        return False
    if thing.ndim == 2:
        return str(thing.dtype).endswith("uint8") or (_is_float(thing) and min(thing.shape) >= 8)
    return thing.ndim == 3 and _channel_axis(thing) is not None


def digest(media: Image.Image) -> bytes:
    """Equal size and pixels, equal digest."""
    summary = blake2b(f"{media.mode} {media.size}".encode(), digest_size=16, person=b"image")
    summary.update(media.tobytes())
    return summary.digest()


def open_header(data: bytes, label: str) -> Image.Image:
    """Recognises a picture and checks its size; no pixel is decoded yet.

    Raises:
        MediaError: of no known format, or too large.
    """
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _not_a_picture(data, label) from error
    except Image.DecompressionBombError as error:
        raise _too_large(label, str(error)) from error
    check_pixels(picture.size, label)
    return picture


def check_pixels(size: tuple[int, int], label: str) -> None:
    """Refuses what is too large, before any memory is taken for pixels."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_large(label, f"{width:,} x {height:,} pixels")


def _check_sides(size: tuple[int, int], label: str) -> None:
    check_pixels(size, label)
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise refusal(
            "image",
            label,
            found=f"{width} x {height} pixels; each side needs at least {MIN_SIDE}",
            next_step="leave it out, or enlarge it if it is meant as a plain colour",
        )


def _decode(content: Content) -> Image.Image:
    with decoding("image", content.label):
        return _upright_rgb(open_header(content.data, content.label), content.label)


def _upright_rgb(picture: Image.Image, label: str) -> Image.Image:
    _check_sides(picture.size, label)
    with _lazy_picture:  # a picture in memory may be lazy, and in the hands of several threads
        picture.load()
    try:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
        upright = ImageOps.exif_transpose(picture) if turned else picture
    except Exception:  # noqa: BLE001 - damaged EXIF, of any kind, says not which way is up
        upright = picture
    return as_rgb(upright, label)


def as_rgb(picture: Image.Image, label: str) -> Image.Image:
    """The picture in mode RGB, on white where it is transparent; itself if it is so already."""
    if picture.mode.startswith("I;16"):
        return _from_grey(np.asarray(picture).astype(np.uint16) >> 8)
    if picture.mode == "I":
        return _from_grey(_levels(np.asarray(picture), 65535, label) // 256)
    if picture.mode == "F":
        return _from_grey(_bytes(np.asarray(picture), label))
    if picture.has_transparency_data:
        clear = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(clear, mask=clear)
        return white
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _from_grey(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _from_array(thing: Any, label: str) -> Image.Image:
    array = as_array(thing)
    if array.ndim == 3:
        axis = _channel_axis(thing)
        if axis is None:
            raise _odd_shape(label)
        array = np.moveaxis(array, axis, -1)
        array = array[..., 0] if array.shape[-1] == 1 else array
    elif array.ndim != 2:
        raise _odd_shape(label)
    _check_sides((array.shape[1], array.shape[0]), label)
    return Image.fromarray(np.ascontiguousarray(_bytes(array, label)))


def _channel_axis(thing: Any) -> int | None:
    axes = (0, -1) if is_tensor(thing) else (-1, 0)
    return next((axis for axis in axes if thing.shape[axis] in (1, 3, 4)), None)


def _is_float(thing: Any) -> bool:
    return "float" in str(thing.dtype)


def _bytes(values: NDArray[Any], label: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        raise refusal(
            "image",
            label,
            found=f"numbers of type {values.dtype}",
            next_step="give uint8 in [0, 255] or float in [0, 1]",
        )
    return np.round(_levels(values, 1, label) * 255).astype(np.uint8)


def _levels(values: NDArray[Any], top: int, label: str) -> NDArray[Any]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):  # also refuses NaN
        raise refusal(
            "image",
            label,
            found=f"values from {low:g} to {high:g}, expected 0 to {top}",
            next_step=f"scale the values to [0, {top}] and replace NaN",
        )
    return values


def _odd_shape(label: str) -> MediaError:
    return refusal(
        "image",
        label,
        found="not the axes of one picture",
        next_step="give [height, width], [height, width, 1|3|4] or [1|3|4, height, width]",
    )


def _too_large(label: str, found: str) -> MediaError:
    return refusal(
        "image",
        label,
        found=f"{found}; at most {MAX_PIXELS:,} pixels are decoded",
        next_step="give a smaller copy of it",
    )


def _not_a_picture(data: bytes, label: str) -> MediaError:
    start = data[:1000].lstrip().lower()
    if b"<svg" in start:
        found, next_step = "SVG, a drawing without pixels", "render it to PNG first"
    elif b"ftyphei" in data[:16] or b"ftypmif1" in data[:16]:
        found, next_step = "HEIC, which Pillow does not decode", "convert it to JPEG or PNG"
    else:
        found = f"no readable {', '.join(FORMATS)} file; it starts with {data[:8]!r}"
        next_step = "check what the file really is, or convert it to PNG"
    return refusal("image", label, found=found, next_step=next_step)
