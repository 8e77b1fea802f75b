"""Meshes become points spread over their surface, in their colours, from their own folder only."""

import io
import json
import struct
import time

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from omnibind.errors import MediaError
from omnibind.media import points
from omnibind.media.source import MediaWarning

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def refused(source):
    with pytest.raises(MediaError) as refusal:
        points.load(source)
    assert refusal.value.next_step
    return refusal.value.found[0]


def edit_glb(data, change):
    """A .glb whose JSON part has been changed in place."""
    end = 20 + struct.unpack("<I", data[12:16])[0]
    tree = json.loads(data[20:end])
    change(tree)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    length = 20 + len(text) + len(data) - end
    return data[:8] + struct.pack("<III", length, len(text), 0x4E4F534A) + text + data[end:]


def test_every_mesh_file_gives_65536_points_on_its_surface(points_files):
    for name in ("a.obj", "binary.ply", "ascii.ply", "binary.stl", "ascii.stl", "a.off", "a.glb"):
        shape = points.load(points_files[name])
        assert shape.xyz.shape == (65_536, 3), name
        assert (shape.xyz.norm(dim=1) - 0.98).abs().max() < 0.03, name


@pytest.mark.parametrize("name", ["binary.ply", "a.glb"])
def test_a_mesh_file_its_bytes_and_the_mesh_in_memory_are_equal(points_files, tmp_path, name):
    data = points_files[name]
    (tmp_path / name).write_bytes(data)
    memory = trimesh.load_scene(io.BytesIO(data), file_type=name.partition(".")[2])
    sources = [tmp_path / name, str(tmp_path / name), data, memory]
    assert len({points.digest(points.load(source)) for source in sources}) == 1


def test_points_spread_evenly_over_the_area():
    plates = trimesh.util.concatenate(
        [trimesh.creation.box([1, 1, 0.001]), trimesh.creation.box([3, 1, 0.001])]
    )
    plates.vertices[8:, 2] += 5
    share = (points.load(plates).xyz[:, 2] > 2).float().mean()
    assert share == pytest.approx(0.75, abs=1e-3)


def test_an_ordinary_mesh_is_sampled_quickly(ball):
    mesh = ball.subdivide().subdivide().subdivide()
    points.load(mesh)
    began = time.perf_counter()
    points.load(mesh)
    assert time.perf_counter() - began < 0.5  # 0.03 s alone on one core; others share it here


def test_vertex_colours_are_blended_and_face_colours_are_not(ball):
    shape = points.load(ball)
    assert (shape.rgb - (shape.xyz * 120 + 128).clamp(0, 255) / 255).abs().max() < 0.02
    faces = trimesh.creation.box()
    faces.visual.face_colors = np.eye(12, 3, dtype=np.uint8) * 255
    assert {tuple(rgb) for rgb in points.load(faces).rgb.tolist()} == {
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    }


def test_a_texture_is_read_upright(textured_quad, photo):
    shape = points.load(textured_quad)
    pixels = torch.tensor(np.asarray(photo) / 255)
    columns = (shape.xyz[:, 0] * 64).long().clamp(max=63)
    rows = ((1 - shape.xyz[:, 1]) * 48).long().clamp(max=47)
    assert ((shape.rgb - pixels[rows, columns]).abs().amax(1) < 1e-5).float().mean() > 0.99


def test_a_textured_glb_and_gltf_look_like_the_mesh_they_were_made_from(
    points_files, textured_quad
):
    expected = points.load(textured_quad).rgb
    for name in ("textured.glb", "a.gltf"):
        assert torch.allclose(points.load(points_files[name]).rgb, expected, atol=1e-6), name


def obj_with_material(folder, mtllib="a.mtl", texture="map_Kd t.png"):
    Image.new("RGB", (4, 4), (0, 255, 0)).save(folder / "t.png")
    (folder / "a.mtl").write_text(f"newmtl m\nKd 1 0 0\n{texture}\n")
    uv = "vt 0 0\nvt 1 0\nvt 0 1\n"
    (folder / "a.obj").write_text(f"mtllib {mtllib}\n{TRIANGLE}{uv}usemtl m\nf 1/1 2/2 3/3\n")
    return folder / "a.obj"


@pytest.mark.parametrize(
    ("texture", "colour"),
    [("map_Kd t.png", (0, 1, 0)), ("map_Kd -s 1 1 1 t.png", (0, 1, 0)), ("", (1, 0, 0))],
)
def test_an_obj_is_coloured_by_its_material_and_texture(tmp_path, texture, colour):
    shape = points.load(obj_with_material(tmp_path, texture=texture))
    assert shape.rgb.unique(dim=0).tolist() == [list(colour)]


def test_a_texture_named_by_somebody_elses_path_is_found_beside_the_mesh(tmp_path):
    path = obj_with_material(tmp_path, texture=r"map_Kd C:\Users\me\t.png")
    assert points.load(path).rgb[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "texture", ["missing.png", "../t.png", "https://example.org/u.png", "a.obj", "/etc/passwd"]
)
def test_a_texture_that_cannot_be_had_is_named_and_the_material_counts(tmp_path, texture):
    (tmp_path / "deep").mkdir()
    path = obj_with_material(tmp_path / "deep", texture=f"map_Kd {texture}")
    if texture.startswith("../"):
        (tmp_path / "deep" / "t.png").rename(tmp_path / "t.png")
    with pytest.warns(MediaWarning, match=f"{texture}.*left out"):
        assert points.load(path).rgb[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", ["../a.mtl", "{tmp}/a.mtl", "link.mtl"])
def test_a_material_outside_the_folder_is_never_read(tmp_path, name):
    (tmp_path / "deep").mkdir()
    path = obj_with_material(tmp_path / "deep", mtllib=name.format(tmp=tmp_path))
    (tmp_path / "deep" / "a.mtl").rename(tmp_path / "a.mtl")
    (tmp_path / "deep" / "link.mtl").symlink_to(tmp_path / "a.mtl")
    with pytest.warns(MediaWarning, match="no such file in the folder of the mesh"):
        assert points.load(path).rgb is None


def test_an_obj_in_memory_says_that_its_material_is_missing(tmp_path):
    with pytest.warns(MediaWarning, match="bytes in memory have no folder"):
        points.load(obj_with_material(tmp_path).read_bytes())


def test_a_damaged_texture_is_left_out_and_said(tmp_path):
    path = obj_with_material(tmp_path)
    (tmp_path / "t.png").write_bytes((tmp_path / "t.png").read_bytes()[:45])
    with pytest.warns(MediaWarning, match="does not decode"):
        assert points.load(path).rgb[0].tolist() == [1, 0, 0]


def test_a_scene_is_merged_with_every_part_in_its_place():
    scene = trimesh.Scene()
    box = trimesh.creation.box()
    for number in range(3):
        scene.add_geometry(
            box, transform=trimesh.transformations.translation_matrix([4 * number, 0, 0])
        )
    shape = points.load(scene)
    assert ((shape.xyz[:, 0] / 4).round().unique(return_counts=True)[1] - 21845).abs().max() < 9


def test_a_part_without_colour_is_grey_where_another_has_one(ball):
    plain = trimesh.creation.box()
    plain.apply_translation([9, 0, 0])
    shape = points.load(trimesh.Scene([ball, plain]))
    assert (shape.rgb[shape.xyz[:, 0] > 5] - 0.4).abs().max() < 1e-6


def test_a_gltf_whose_sizes_lie_is_refused_before_memory_is_taken(points_files):
    def inflate(tree):
        tree["accessors"][0] = {"count": 10**11, "componentType": 5126, "type": "VEC3"}

    assert "numbers; at most" in refused(edit_glb(points_files["a.glb"], inflate))


def test_a_packed_gltf_and_one_that_would_lose_its_colours_are_refused(points_files):
    def pack(tree):
        tree["extensionsRequired"] = ["KHR_draco_mesh_compression"]

    def deepen(tree):
        colour = tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
        tree["accessors"][colour]["componentType"] = 5123

    assert "KHR_draco" in refused(edit_glb(points_files["a.glb"], pack))
    assert "16-bit vertex colours" in refused(edit_glb(points_files["a.glb"], deepen))


def test_a_broken_texture_inside_a_glb_is_said(points_files):
    def blind(tree):
        tree["images"][0]["bufferView"] = 0

    with pytest.warns(MediaWarning, match="left out"):
        points.load(edit_glb(points_files["textured.glb"], blind))
