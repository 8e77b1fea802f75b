"""Random weights are drawn tensor by tensor, in the numbers and on the device that is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder
from omnibind.weights.build import seeded
from omnibind.weights.initial import initialised
from omnibind.weights.recorded import UnrecordableError

CPU = torch.device("cpu")
ENCODERS = {card.key: card for s in load_registry().spaces.values() for card in s.encoders.values()}
BUILDERS = {card.build.partition(" ")[0]: card for card in ENCODERS.values()}
"""One card of every builder of the installed plugins."""
MEASURE = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from omnibind.specs import EncoderSpec
from omnibind.weights import build_encoder

class Net(nn.Sequential):
    def __init__(self, size, assets):
        count = 200 if size == "full" else 1
        super().__init__(*(nn.Linear(1000, 375, bias=False) for _ in range(count)))
        for layer in self:  # as networks do: first all are filled, then filled anew and scaled
            nn.init.trunc_normal_(layer.weight, std=0.02)
        for layer in self:
            layer.weight.data.div_(2)

def kilobytes(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))

def peak(size):
    card = EncoderSpec(key="net", modality="text", dim=1, params=1, flops_per_item=1,
                       build="__main__:Net", weights=())
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    how = {"size": size, "dtype": torch.float32, "products": torch.bfloat16}
    net = build_encoder(card, weights="random", **how)
    kept = sum(parameter.nbytes for parameter in net.parameters())
    return (kilobytes("VmHWM") - before) * 1024 / kept, kept

sys.modules["__main__"].Net = Net
peak("tiny")  # imports what is imported late
json.dump(peak("full"), sys.stdout)
"""


def _values(module: nn.Module) -> dict[str, Tensor]:
    named = (module.named_parameters, module.named_buffers)
    return {name: one for every in named for name, one in every(remove_duplicate=False)}


def _made(make: type[nn.Module], dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    return seeded(lambda: initialised(make, CPU, dtype, None), "net", 0)


def _alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    pairs = ((other[name], value) for name, value in one.items())
    return one.keys() == other.keys() and all(
        a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs
    )


@pytest.mark.parametrize("builder", sorted(BUILDERS))
def test_every_installed_network_gets_the_values_of_its_constructor_rounded(builder: str) -> None:
    card = BUILDERS[builder]
    whole = build_encoder(card, size="tiny").bfloat16()
    narrow = build_encoder(card, size="tiny", products=torch.bfloat16)
    kept = {name: one for name, one in _values(narrow).items() if one.dtype == torch.bfloat16}
    assert kept.keys() <= _values(whole).keys()
    assert all(torch.equal(_values(whole)[name], one) for name, one in kept.items())


def test_random_weights_in_bfloat16_take_a_tensor_more_than_what_is_kept() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process is read from Linux' /proc")
    freed_at_once = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # as large blocks always are
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, env=freed_at_once
    )
    assert done.returncode == 0, done.stderr
    peak, kept = json.loads(done.stdout)
    print(f"peak {peak:.3f}")  # shown by `pytest -rP`
    assert kept == 200 * 1000 * 375 * 2
    assert 0.9 < peak < 1.1


class Busy(nn.Module):
    """What constructors do: views, copies, products, tables, tensors that are shared."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.words = nn.Embedding(6, 8, padding_idx=0)
        self.heads = nn.MultiheadAttention(8, 2)
        self.orthogonal = nn.Parameter(nn.init.orthogonal_(torch.empty(8, 8)))
        self.scaled = nn.Parameter(0.5 * torch.randn(8, 8))
        self.cut = nn.Parameter(nn.init.trunc_normal_(torch.zeros(8, 8), std=0.02))
        self.rows = nn.Parameter(torch.empty(4, 8))
        with torch.no_grad():
            for n, row in enumerate(self.rows):
                row.copy_(self.scaled[n] + n)
            self.first.weight.div_(2)
        self.register_buffer("table", torch.arange(8.0).cos(), persistent=False)
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu_(1), persistent=False)


def test_whatever_a_constructor_does_is_done_in_the_end() -> None:
    torch.manual_seed(0)
    whole, made = seeded(Busy, "net", 0), _made(Busy, torch.float32)
    assert _alike(_values(whole), _values(made))
    assert made.second.weight is made.first.weight


def test_what_waits_on_the_host_is_what_it_would_be_on_the_device() -> None:
    """As far as a machine without an accelerator can tell: drawn there, and then brought here."""
    meta = torch.device("meta")
    made = seeded(lambda: initialised(Busy, meta, torch.bfloat16, None, drawn_on=CPU), "net", 0)
    assert {one.device for one in _values(made).values()} == {meta}
    assert made.heads.in_proj_weight.dtype == torch.bfloat16


class Looks(nn.Linear):
    """Looks at its own weights."""

    def __init__(self, size: object = None, assets: object = None) -> None:
        super().__init__(4, 4)
        if self.weight.sum() > 0:
            self.weight.data.neg_()


class Unfilled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4))


class Hides(nn.Linear):
    """Keeps a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.steps = [torch.zeros(4)]


@pytest.mark.parametrize("kind", [Looks, Unfilled, Hides])
def test_a_constructor_that_cannot_wait_is_told_apart(kind: type[nn.Module]) -> None:
    with pytest.raises(UnrecordableError):
        _made(kind)


def test_a_constructor_that_cannot_wait_is_run_as_it_is() -> None:
    build = f"{__name__}:Looks"
    card = EncoderSpec(
        key="net", modality="text", dim=4, params=20, flops_per_item=1.0, build=build, weights=()
    )
    whole = build_encoder(card, weights="random")
    with pytest.warns(UserWarning, match="'net' are made on the host as a whole"):
        narrow = build_encoder(card, weights="random", dtype=torch.bfloat16)
    assert torch.equal(narrow.weight, whole.weight.bfloat16())


def test_what_others_draw_stays_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    _made(Busy)
    assert torch.equal(torch.rand(2), expected)
