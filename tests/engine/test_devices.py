"""Devices that are not there, and devices after a fork, are refused with what to do."""

from __future__ import annotations

import os

import pytest
import torch

from omnibind.engine import Engine
from omnibind.engine.devices import claim, pick, release
from omnibind.errors import SetupError


def usable(kind: str) -> bool:
    there = torch.accelerator.current_accelerator(check_available=True)
    return there is not None and there.type == kind


@pytest.mark.parametrize("kind", ["mps", "xpu", "meta", "vulkan", "hpu"])
def test_a_kind_of_device_that_torch_cannot_use_here_is_refused(kind: str) -> None:
    if usable(kind):
        pytest.skip(f"this machine has {kind}")
    with pytest.raises(SetupError) as refused:
        Engine(device=["cpu", kind], size="tiny")
    assert refused.value.asked == f"the device '{kind}'"
    assert f"which can use no {kind} on this machine" in str(refused.value)
    assert "say auto, cpu" in refused.value.next_step


def test_what_is_no_device_is_refused() -> None:
    with pytest.raises(SetupError, match="the device 'gpu'"):
        pick("gpu")


@pytest.mark.parametrize("device", ["auto", "cuda", "cpu,cuda:0"])
def test_cuda_that_was_started_before_a_fork_is_refused(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda._is_in_bad_fork", lambda: True)
    with pytest.raises(SetupError, match="in a forked process") as refused:
        Engine(device=device, dtype="float32", size="tiny")
    assert "'spawn'" in refused.value.next_step
    assert pick("cpu") == (torch.device("cpu"),)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning")  # others use it
def test_a_forked_process_has_the_devices_of_none_of_its_parents_engines() -> None:
    class Owner: ...

    parents, childs, devices = Owner(), Owner(), [torch.device("cuda:0")]
    claim(parents, devices)
    child = os.fork()
    if not child:
        code = 1
        try:
            claim(childs, devices)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(SetupError, match="another engine's of this process"):
        claim(childs, devices)
    release(parents)
