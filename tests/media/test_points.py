"""Clouds and meshes of every kind become points; bad ones are refused with a reason."""

import io
import json
import struct
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from omnibind.errors import MediaError
from omnibind.media import clouds, meshes, points
from omnibind.media.points import Points
from omnibind.media.source import MediaWarning

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def refused(source):
    with pytest.raises(MediaError) as refusal:
        points.load(source)
    assert refusal.value.next_step
    return refusal.value.found[0]


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


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


def test_every_point_file_gives_its_points_and_colours(points_files, ball):
    colours = torch.tensor(ball.visual.vertex_colors[:, :3] / 255)
    for name in ("cloud.ply", "a.npz", "a.npy", "ascii.pcd", "binary.pcd", "a.xyz"):
        shape = points.load(points_files[name])
        assert np.allclose(shape.xyz, ball.vertices, atol=1e-5), name
        assert torch.allclose(shape.rgb.double(), colours, atol=1e-5), name


@pytest.mark.parametrize("name", ["binary.ply", "a.glb"])
def test_a_mesh_file_its_bytes_and_the_mesh_in_memory_are_equal(points_files, tmp_path, name):
    data = points_files[name]
    (tmp_path / name).write_bytes(data)
    memory = trimesh.load_scene(io.BytesIO(data), file_type=name.partition(".")[2])
    sources = [tmp_path / name, str(tmp_path / name), data, memory]
    assert len({points.digest(points.load(source)) for source in sources}) == 1


def test_equal_clouds_are_equal_however_they_are_given(points_files, ball):
    xyz = ball.vertices.astype(np.float32)
    rgb = ball.visual.vertex_colors[:, :3]
    unit = (rgb / 255).astype(np.float32)
    sources = [
        (xyz, rgb),
        (xyz, unit),
        (torch.tensor(xyz), torch.tensor(rgb)),
        npz(xyz=xyz, rgb=rgb),
    ]
    sources += [
        np.hstack([xyz, unit]),
        torch.tensor(np.hstack([xyz, unit])),
        npz(a=np.hstack([xyz, unit])),
    ]
    sources += [npz(points=xyz, colors=unit), points.load((xyz, rgb)), trimesh.PointCloud(xyz, rgb)]
    sources += [points_files["a.npy"], points_files["binary.pcd"]]
    assert len({points.digest(points.load(source)) for source in sources}) == 1


def test_points_spread_evenly_over_the_area():
    plates = trimesh.util.concatenate(
        [trimesh.creation.box([1, 1, 0.001]), trimesh.creation.box([3, 1, 0.001])]
    )
    plates.vertices[8:, 2] += 5
    share = (points.load(plates).xyz[:, 2] > 2).float().mean()
    assert share == pytest.approx(0.75, abs=1e-3)


def test_an_ordinary_mesh_is_sampled_in_a_tenth_of_a_second(ball):
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


def test_without_any_colour_rgb_is_none(points_files):
    assert points.load(np.zeros((5, 3))).rgb is None
    assert points.load(points_files["a.off"]).rgb is None
    assert points.load(TRIANGLE.encode()).rgb is None


def test_an_obj_of_vertices_alone_is_a_cloud():
    assert points.load(TRIANGLE.encode()).xyz.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_one_point_and_equal_points_are_clouds():
    assert points.load(np.ones((1, 3))).sample(4)[0].tolist() == [[1, 1, 1]] * 4
    assert points.load(np.ones((9, 3))).xyz.shape == (9, 3)


@pytest.mark.parametrize("count", [1, 7, 10, 25])
def test_a_sample_has_exactly_as_many_points_as_asked(count):
    shape = points.load((np.arange(30.0).reshape(10, 3), np.arange(30).reshape(10, 3) / 30))
    xyz, rgb = shape.sample(count)
    assert (xyz.shape, rgb.shape) == ((count, 3), (count, 3))
    assert torch.allclose(xyz, rgb * 30, atol=1e-5)
    assert len(xyz.unique(dim=0)) == min(count, 10)
    assert torch.equal(xyz, points.load(shape).sample(count)[0])


def test_a_sample_of_nothing_is_an_error_of_the_caller():
    with pytest.raises(ValueError, match="at least one"):
        points.load(np.zeros((5, 3))).sample(0)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros((0, 3)), "0 points"),
        (np.full((4, 3), np.nan), "NaN"),
        (np.array([[0, 0, np.inf]]), "NaN, infinite"),
        (np.full((4, 3), 1e30), "beyond 1e+15"),
        (np.zeros((4, 5)), "shape [4, 5]"),
        (np.zeros((4, 3, 1)), "shape [4, 3, 1]"),
        (np.hstack([np.zeros((4, 3)), np.full((4, 3), -1.0)]), "colours from -1 to -1"),
        (np.hstack([np.zeros((4, 3)), np.full((4, 3), 1.5)]), "colours from 1.5 to 1.5"),
        ((np.zeros((4, 3)), np.zeros((5, 3))), "[[4, 3], [5, 3]]"),
        ((np.zeros((4, 3)), np.full((4, 3), np.nan)), "colours from nan"),
        ((np.zeros((4, 3)), "red"), "a tuple of"),
        ((), "a tuple of nothing"),
        (b"This is a text, not a shape.", "no known shape"),
        (b"\x89PNG\r\n\x1a\n", "no known shape"),
        (TRIANGLE.encode() + b"f 1 1 1\n", "area of 0"),
        (TRIANGLE.encode() + b"f 1 2 9\n", "does not decode"),
        (b"v nan 0 0\n" + TRIANGLE.encode() + b"f 1 2 3\n", "NaN or infinite"),
        (b"v 0 0 0\nv 1e200 0 0\nv 0 1e200 0\nf 1 2 3\n", "area of inf"),
        (b"OFF\n0 0 0\n", "empty mesh"),
        (b"solid nothing\nendsolid nothing\n", "empty mesh"),
        (b"# only a comment\n", "no known shape"),
        (b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "empty mesh"),
        (trimesh.Trimesh(), "empty mesh"),
        (trimesh.Scene(), "empty mesh"),
        (trimesh.PointCloud([[0, 0, np.nan]]), "NaN"),
        (npz(a=np.zeros((4, 3)), b=np.zeros((4, 3))), "arrays named a, b"),
        (npz(xyz=np.array(["a"])), "does not decode"),
    ],
)
def test_bad_shapes_are_refused_with_the_reason(source, reason):
    assert reason in refused(source)


def test_pickled_objects_are_refused_unopened():
    file = io.BytesIO()
    np.save(file, np.array({"xyz": 1}, dtype=object), allow_pickle=True)
    assert "could run code" in refused(file.getvalue())
    assert "could run code" in refused(npz(xyz=np.array([{}], dtype=object)))


def test_an_array_that_promises_more_than_the_file_holds_is_refused():
    header = str({"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}).encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"
    assert "0 bytes for an array" in refused(data + b"")


def test_a_zip_bomb_is_refused_by_its_table(monkeypatch):
    monkeypatch.setattr(clouds, "MAX_BYTES", 1000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xyz.npy", bytes(100_000))
    assert "more than 1,000 bytes" in refused(file.getvalue())


def test_limits_are_said(monkeypatch, points_files):
    monkeypatch.setattr(meshes, "MAX_FACES", 100)
    monkeypatch.setattr(points, "MAX_POINTS", 100)
    monkeypatch.setitem(meshes.MAX_MEGABYTES_OF_TEXT, "obj", 0.01)
    assert "320 faces; at most 100" in refused(points_files["binary.stl"])
    assert "320 faces; at most 100" in refused(points_files["a.glb"])
    assert "MB of text; at most 0.01" in refused(points_files["a.obj"])
    assert "162 points; 1 to 100" in refused(points_files["a.npy"])


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


def test_compressed_pcd_is_refused_with_what_to_write():
    with pytest.raises(MediaError, match="uncompressed"):
        points.load(b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nDATA binary_compressed\nxxxx")


@pytest.fixture(scope="module")
def open3d():
    return pytest.importorskip("open3d", exc_type=ImportError)


def test_open3d_meshes_old_and_new_equal_trimeshs(open3d, ball):
    old = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(ball.vertices), open3d.utility.Vector3iVector(ball.faces)
    )
    old.vertex_colors = open3d.utility.Vector3dVector(ball.visual.vertex_colors[:, :3] / 255)
    expected = points.load(ball)
    for mesh in (old, open3d.t.geometry.TriangleMesh.from_legacy(old)):
        assert points.claims(mesh)
        shape = points.load(mesh)
        assert torch.allclose(shape.xyz, expected.xyz, atol=1e-6)
        assert torch.allclose(shape.rgb, expected.rgb, atol=1e-6)


def test_open3d_clouds_old_and_new_keep_points_and_colours(open3d, ball):
    rgb = ball.visual.vertex_colors[:, :3] / 255
    old = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(ball.vertices))
    assert points.load(old).rgb is None
    old.colors = open3d.utility.Vector3dVector(rgb)
    for cloud in (old, open3d.t.geometry.PointCloud.from_legacy(old)):
        shape = points.load(cloud)
        assert np.allclose(shape.xyz, ball.vertices, atol=1e-6)
        assert np.allclose(shape.rgb, rgb, atol=1e-6)


def test_a_texture_in_open3d_is_read_upright(open3d, textured_quad, tmp_path):
    textured_quad.export(tmp_path / "a.obj")
    expected = points.load(tmp_path / "a.obj")
    old = open3d.io.read_triangle_mesh(str(tmp_path / "a.obj"))
    new = open3d.t.io.read_triangle_mesh(str(tmp_path / "a.obj"))
    for mesh in (old, new):
        shape = points.load(mesh)
        assert torch.allclose(shape.xyz, expected.xyz, atol=1e-6)
        assert (shape.rgb - expected.rgb).abs().mean() < 0.01


def test_empty_open3d_objects_are_refused(open3d):
    geometries = (open3d.geometry, open3d.t.geometry)
    assert [refused(kind.TriangleMesh()) for kind in geometries] == ["an empty mesh: no faces"] * 2
    assert all("0 points" in refused(kind.PointCloud()) for kind in geometries)


def test_clouds_of_open3d_are_read_from_its_files(open3d, ball, tmp_path):
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(ball.vertices))
    cloud.colors = open3d.utility.Vector3dVector(ball.visual.vertex_colors[:, :3] / 255)
    for ascii_text in (True, False):
        open3d.io.write_point_cloud(str(tmp_path / "a.pcd"), cloud, write_ascii=ascii_text)
        shape = points.load(tmp_path / "a.pcd")
        assert np.allclose(shape.xyz, ball.vertices, atol=1e-5)
        assert np.allclose(shape.rgb, ball.visual.vertex_colors[:, :3] / 255, atol=1e-6)


def test_shapes_are_claimed_and_pictures_and_sounds_are_not(ball):
    cloud = np.zeros((9, 3))
    mine = [ball, trimesh.Scene(ball), cloud, torch.zeros(9, 6), (cloud, cloud), (cloud, None)]
    others = [np.zeros((9, 3), np.uint8), np.zeros((9, 9)), np.zeros((9, 9, 3)), (cloud, 8000)]
    assert all(map(points.claims, [*mine, Points(torch.zeros(1, 3), None)]))
    assert not any(map(points.claims, [*others, "a.obj", b"", None, ()]))


def test_positions_colours_and_their_absence_all_count_in_the_digest():
    zeros, ones = torch.zeros(2, 3), torch.ones(2, 3)
    clouds_ = [Points(zeros, None), Points(zeros, zeros), Points(ones, zeros), Points(zeros, ones)]
    clouds_.append(Points(torch.zeros(4, 3), None))
    assert len({points.digest(cloud) for cloud in clouds_}) == 5


def test_many_threads_read_the_same_files_alike(points_files):
    files = [points_files[name] for name in ("a.obj", "textured.glb", "binary.ply", "a.npz")] * 4
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda data: points.digest(points.load(data)), files))
    assert len(set(digests)) == 4


def test_open3d_is_not_imported_by_reading_shapes():
    import subprocess

    code = "import sys, omnibind.media.points; assert 'open3d' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
