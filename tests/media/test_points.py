"""Clouds of every kind become points; bad shapes are refused with a reason."""

import io
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import trimesh

from omnibind.errors import MediaError
from omnibind.media import clouds, meshes, points
from omnibind.media.points import Points

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


def test_every_point_file_gives_its_points_and_colours(points_files, ball):
    colours = torch.tensor(ball.visual.vertex_colors[:, :3] / 255)
    for name in ("cloud.ply", "a.npz", "a.npy", "ascii.pcd", "binary.pcd", "a.xyz"):
        shape = points.load(points_files[name])
        assert np.allclose(shape.xyz, ball.vertices, atol=1e-5), name
        assert torch.allclose(shape.rgb.double(), colours, atol=1e-5), name


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


def test_compressed_pcd_is_refused_with_what_to_write():
    with pytest.raises(MediaError, match="uncompressed"):
        points.load(b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nDATA binary_compressed\nxxxx")


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


def test_a_shape_whose_z_points_up_is_turned_when_told(tmp_path):
    lying = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    (tmp_path / "a.npz").write_bytes(npz(xyz=lying))
    assert points.load(tmp_path / "a.npz").xyz.tolist() == lying.tolist()
    turned = points.load(tmp_path / "a.npz", up_axis="z")
    assert turned.xyz.tolist() == [[1, 3, -2], [4, 6, -5]]
    assert points.digest(points.load(turned)) == points.digest(turned)


def test_ten_million_points_are_taken():
    xyz = np.zeros((10_000_000, 3), np.float32)
    xyz[1] = 1
    assert len(points.load(npz(xyz=xyz)).xyz) == 10_000_000
