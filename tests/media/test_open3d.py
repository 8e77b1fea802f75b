"""Objects and files of open3d become the points that everybody else's do."""

import sys

import numpy as np
import pytest
import torch

from omnibind.errors import MediaError
from omnibind.media import points


def refused(source):
    with pytest.raises(MediaError) as refusal:
        points.load(source)
    assert refusal.value.next_step
    return refusal.value.found[0]


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


def test_open3d_is_not_imported_by_reading_shapes():
    import subprocess

    code = "import sys, omnibind.media.points; assert 'open3d' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
