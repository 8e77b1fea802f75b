"""Small real files of every kind that is read, made on the spot."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping

import av
import numpy as np
import pytest
import soundfile
import trimesh
from PIL import Image

RATE = 16_000


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A picture with smooth and noisy parts, 64 x 48."""
    rows, columns = np.mgrid[:48, :64]
    noise = np.random.default_rng(1).integers(0, 60, (48, 64))
    return Image.fromarray(np.stack([rows * 4, columns * 3, noise], -1).astype(np.uint8))


@pytest.fixture(scope="session")
def tone() -> np.ndarray:
    """Half a second of a chord, float32, 16 kHz."""
    time = np.arange(RATE // 2) / RATE
    return (0.3 * np.sin(2765 * time) + 0.2 * np.sin(1382 * time)).astype(np.float32)


@pytest.fixture(scope="session")
def ball() -> trimesh.Trimesh:
    """A sphere of 320 faces whose vertices are coloured."""
    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.visual.vertex_colors = np.clip(mesh.vertices * 120 + 128, 0, 255).astype(np.uint8)
    return mesh


@pytest.fixture(scope="session")
def textured_quad(photo: Image.Image) -> trimesh.Trimesh:
    """A unit square in x and y that carries the photo upright."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=photo)
    look = trimesh.visual.TextureVisuals(uv=corners[:, :2], material=material)
    return trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], visual=look, process=False)


@pytest.fixture(scope="session")
def image_files(photo: Image.Image) -> dict[str, bytes]:
    """Suffix or variant -> bytes."""

    def save(picture: Image.Image, kind: str, **options: object) -> bytes:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [photo.rotate(angle).quantize(32) for angle in (90, 180)]
    deep = Image.fromarray(np.asarray(photo)[..., 0].astype(np.uint16) * 257)
    return {
        "rgb.png": save(photo, "PNG"),
        "rgba.png": save(photo.convert("RGBA"), "PNG"),
        "deep.png": save(deep, "PNG"),
        "moving.png": save(photo, "PNG", save_all=True, append_images=[photo.rotate(90)]),
        "plain.jpg": save(photo, "JPEG"),
        "turned.jpg": save(photo, "JPEG", exif=turned),
        "cmyk.jpg": save(photo.convert("CMYK"), "JPEG"),
        "moving.gif": save(photo.quantize(32), "GIF", save_all=True, append_images=frames),
        "moving.webp": save(photo, "WEBP", save_all=True, append_images=[photo.rotate(90)]),
        "lzw.tiff": save(photo, "TIFF", compression="tiff_lzw"),
        "deep.tiff": save(deep, "TIFF"),
        "a.bmp": save(photo, "BMP"),
        "a.avif": save(photo, "AVIF"),
        "a.jp2": save(photo, "JPEG2000"),
        "a.ppm": save(photo, "PPM"),
        "a.tga": save(photo, "TGA"),
    }


@pytest.fixture(scope="session")
def audio_files(tone: np.ndarray) -> dict[str, bytes]:
    """Suffix or variant -> bytes."""

    def save(kind: str, subtype: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, tone, RATE, format=kind, subtype=subtype)
        return file.getvalue()

    def encode(kind: str, codec: str, rate: int) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=kind) as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
        return file.getvalue()

    return {
        "pcm16.wav": save("WAV", "PCM_16"),
        "pcm24.wav": save("WAV", "PCM_24"),
        "float.wav": save("WAV", "FLOAT"),
        "a.flac": save("FLAC", "PCM_16"),
        "vorbis.ogg": save("OGG", "VORBIS"),
        "a.opus": save("OGG", "OPUS"),
        "a.mp3": save("MP3", "MPEG_LAYER_III"),
        "a.aiff": save("AIFF", "PCM_16"),
        "a.au": save("AU", "PCM_16"),
        "a.caf": save("CAF", "PCM_16"),
        "a.m4a": encode("ipod", "aac", RATE),
        "alac.m4a": encode("ipod", "alac", RATE),
        "a.aac": encode("adts", "aac", RATE),
        "a.webm": encode("webm", "libopus", 48_000),
        "a.mka": encode("matroska", "aac", RATE),
    }


@pytest.fixture(scope="session")
def points_files(ball: trimesh.Trimesh, textured_quad: trimesh.Trimesh) -> dict[str, bytes]:
    """Suffix or variant -> bytes."""
    rgb = ball.visual.vertex_colors[:, :3]
    table = np.hstack([ball.vertices, rgb / 255]).astype(np.float32)
    npz, npy, gltf = io.BytesIO(), io.BytesIO(), textured_quad.export(file_type="glb")
    np.savez(npz, xyz=table[:, :3], rgb=table[:, 3:])
    np.save(npy, table)
    return {
        "a.obj": ball.export(file_type="obj").encode(),
        "binary.ply": ball.export(file_type="ply"),
        "ascii.ply": ball.export(file_type="ply", encoding="ascii"),
        "cloud.ply": trimesh.PointCloud(ball.vertices, rgb).export(file_type="ply"),
        "binary.stl": ball.export(file_type="stl"),
        "ascii.stl": ball.export(file_type="stl_ascii").encode(),
        "a.off": ball.export(file_type="off").encode(),
        "a.glb": ball.export(file_type="glb"),
        "textured.glb": gltf,
        "a.gltf": as_embedded_gltf(gltf),
        "a.npz": npz.getvalue(),
        "a.npy": npy.getvalue(),
        "ascii.pcd": as_pcd(ball.vertices, rgb, "ascii"),
        "binary.pcd": as_pcd(ball.vertices, rgb, "binary"),
        "a.xyz": "\n".join(" ".join(f"{n:.6f}" for n in row) for row in table).encode(),
    }


def as_embedded_gltf(glb: bytes) -> bytes:
    """The JSON form of a .glb, with its buffer inside."""
    import base64

    end = 20 + struct.unpack("<I", glb[12:16])[0]
    tree = json.loads(glb[20:end])
    buffer = base64.b64encode(glb[end + 8 :]).decode()
    tree["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{buffer}"
    return json.dumps(tree).encode()


def as_pcd(xyz: np.ndarray, rgb: np.ndarray, encoding: str) -> bytes:
    """A .pcd as the Point Cloud Library writes it."""
    packed = (rgb.astype(np.uint32) << [16, 8, 0]).sum(1).astype("<u4")
    head = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb\n"
        f"SIZE 4 4 4 4\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH {len(xyz)}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(xyz)}\nDATA {encoding}\n"
    )
    if encoding == "ascii":
        rows = zip(xyz, packed, strict=True)
        return (head + "".join(f"{x} {y} {z} {p}\n" for (x, y, z), p in rows)).encode()
    table = np.empty(len(xyz), [("xyz", "<f4", 3), ("rgb", "<u4")])
    table["xyz"], table["rgb"] = xyz, packed
    return head.encode() + table.tobytes()


Damage = Callable[[np.random.Generator, Mapping[str, bytes]], tuple[str, bytes]]


@pytest.fixture(scope="session")
def damaged() -> Damage:
    """Picks a file and does one of eight kinds of harm to it; gives a name and the bytes."""
    return damage


def damage(random: np.random.Generator, files: Mapping[str, bytes]) -> tuple[str, bytes]:
    name = str(random.choice(list(files)))
    data = bytearray(files[name])
    start = int(random.integers(len(data)))
    length = int(random.integers(1, max(2, len(data) // 4)))
    match random.integers(8):
        case 0:
            del data[start:]
        case 1:
            for place in random.integers(len(data), size=int(random.integers(1, 20))):
                data[place] ^= 1 << int(random.integers(8))
        case 2:
            data[start : start + length] = bytes(len(data[start : start + length]))
        case 3:
            data[: min(64, len(data))] = harmed(random, data[:64])
        case 4:
            del data[start : start + length]
        case 5:
            data[start:start] = random.bytes(length)
        case 6:
            data[start : start + 4] = random.choice([b"\xff" * 4, b"\x7f" * 4, b"9999"])
        case _:
            data += random.bytes(length)
    suffixes = [str(other) for other in files] if random.random() < 0.2 else [name]
    return str(random.choice(suffixes)), bytes(data)


def harmed(random: np.random.Generator, head: bytearray) -> bytes:
    values = np.frombuffer(bytes(head), np.uint8).copy()
    places = random.integers(len(values), size=int(random.integers(1, 8)))
    values[places] = random.integers(256, size=len(places))
    return values.tobytes()
