"""Streaming: layer by layer, within the budget, and the same rows bit for bit."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omnibind.engine.forward import run_batch
from omnibind.engine.memory.budget import module_bytes
from omnibind.engine.memory.copies import Copies, Moved
from omnibind.engine.memory.layers import finest, planned
from omnibind.engine.memory.streaming import Streaming
from omnibind.errors import PluginError, SetupError
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec
from omnibind.testing import samples
from omnibind.weights import build_encoder

CPU = torch.device("cpu")
WIDTH = 24
X = torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    """Attention and two layers, as most encoders have them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm(x)
        x = x + self.attention(seen, seen, seen, need_weights=False)[0]
        return x + self.narrow(torch.relu(self.wide(x)))


class Net(nn.Module):
    """Blocks between a parameter of the network's own and a head."""

    def __init__(self, blocks: int = 6) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 5, WIDTH))
        self.register_buffer("order", torch.arange(5))
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.head = nn.Linear(WIDTH, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place[:, self.order]
        for block in self.blocks:
            x = block(x)
        return self.head(x).mean(1)


class Twice(Net):
    """Runs its blocks two times over: weights that are shared between depths."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place
        for block in [*self.blocks, *self.blocks]:
            x = block(x)
        return self.head(x).mean(1)


class Prying(Net):
    """Reads the weights of its blocks without calling them, besides calling them."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = nn.functional.linear(x, block.wide.weight).relu() @ block.narrow.weight.T
        return super().forward(x)


def perhaps(weight: Tensor) -> Tensor:
    """Goes on without what cannot be read."""
    try:
        return weight.mean()
    except RuntimeError:
        return torch.tensor(1.0)


HIDING: dict[str, Callable[[Tensor], Tensor]] = {
    "a comparison": lambda weight: (weight > 0).float().mean(),
    "a place": lambda weight: weight.argmax(),
    "no NaN": lambda weight: weight.nan_to_num().mean(),
    "a view": lambda weight: weight.data[:3].sign().sum(),
    "an error": perhaps,
}
"""Ways to read a tensor whose result does not show that all of it was NaN."""


class Peeking(Net):
    """Reads a part of each block after all have run."""

    def __init__(self, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.read = read
        for block in self.blocks:
            nn.init.normal_(block.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        return made + sum(self.read(block.norm.weight) for block in self.blocks)


class Seldom(Peeking):
    """Does so for some items alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.amax() > 90 else Net.forward(self, x)


class Asking(Net):
    """Asks blocks that are not at work for shapes, types and devices."""

    def forward(self, x: Tensor) -> Tensor:
        made = super().forward(x)
        for block in self.blocks:
            weight = block.wide.weight
            made = made.to(weight).type_as(weight).to(weight.device, weight.dtype)
            assert len(weight) == weight.shape[0] == weight.size(0) == 4 * WIDTH
            made = made + torch.zeros_like(weight).sum() + weight.new_zeros(7)
        return made


class Renewing(Net):
    """Puts another buffer in the place of its own."""

    def forward(self, x: Tensor) -> Tensor:
        self.order = self.order.clone()
        return super().forward(x)


class Stepped(nn.Linear):
    """Has numbers that are no float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(WIDTH, WIDTH)
        self.steps = nn.Parameter(torch.arange(WIDTH).to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.steps.to(x.dtype))


class Picky(Net):
    """Refuses some items, in the middle of its layers."""

    def forward(self, x: Tensor) -> Tensor:
        first = self.blocks[0](x)
        if x.amax() > 90:
            raise ValueError("this item cannot be encoded")
        return super().forward(first)


def made(kind: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval().requires_grad_(False)


def streamed(net: nn.Module, budget: int, separate: bool = True) -> Streaming:
    return Streaming("net", net, budget, Copies(CPU, separate=separate), Moved())


def rows(net: nn.Module, x: Tensor = X) -> Tensor:
    with torch.inference_mode():
        return net(x)


BLOCK = module_bytes(Block())
WHOLE = module_bytes(Net())
REST = WHOLE - 6 * BLOCK
BUDGETS = [WHOLE - 1, WHOLE // 2, REST + 2 * BLOCK, REST + BLOCK, finest(Net()).nbytes]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("separate", [False, True], ids=["one memory", "two memories"])
@pytest.mark.filterwarnings("ignore:.*above the budget")
def test_rows_are_those_of_the_whole_network_bit_for_bit(budget: int, separate: bool) -> None:
    net = made(Net)
    whole = rows(net)
    streaming = streamed(net, budget, separate)
    for _ in range(3):
        assert torch.equal(rows(net), whole)
    assert streaming.layers
    streaming.close()
    assert torch.equal(rows(net), whole)


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_layer_that_does_not_stay_is_moved_once_a_forward(budget: int) -> None:
    net = made(Net)
    streaming = streamed(net, budget)
    stay = streaming.moved.nbytes
    for forwards in (1, 2, 3):
        rows(net)
        assert set(streaming.moved.layers.values()) == {forwards}
        assert set(streaming.moved.layers) == {layer.name for layer in streaming.layers}
    assert streaming.moved.nbytes == stay + 3 * sum(layer.nbytes for layer in streaming.layers)


@pytest.fixture
def few_objects() -> None:
    """Only what a test makes is walked through by `gc.get_objects`."""
    gc.collect()
    gc.freeze()  # for good, as at the start of the tests


def bytes_beside(net: nn.Module, host: set[int]) -> int:
    """Bytes of all copies of a network's tensors: those it has, and any others in memory."""
    own = [*net.parameters(), *net.buffers()]
    shapes = {(tensor.shape, tensor.dtype) for tensor in own}
    own += [one for one in gc.get_objects() if type(one) is Tensor]
    with torch._C.DisableTorchFunctionSubclass():  # those that are away cannot be read
        copies = {
            t.data_ptr(): t.untyped_storage().nbytes() for t in own if (t.shape, t.dtype) in shapes
        }
    return sum(n for place, n in copies.items() if place not in host and n > 4)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.usefixtures("few_objects")
def test_the_device_never_holds_more_than_the_budget(budget: int) -> None:
    net = made(Net)
    host = {tensor.data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    seen: list[int] = []
    streaming = streamed(net, budget)
    for block in net.blocks:
        block.wide.register_forward_hook(lambda *_: seen.append(bytes_beside(net, host)))
    rows(net)
    rows(net)
    assert 0.5 * streaming.nbytes < max(seen) <= streaming.nbytes <= budget


def test_layers_are_as_large_as_the_budget_allows_for_two_of_them() -> None:
    net = made(Net)
    whole = planned(net, REST + 2 * BLOCK, "net")
    assert {f"blocks.{i}" for i in range(6)} <= {layer.name for layer in whole.layers}
    finer = planned(net, REST + BLOCK, "net")
    assert "blocks.0" not in {layer.name for layer in finer.layers}
    assert whole.ahead
    assert finer.ahead


def test_a_table_that_is_larger_than_all_else_stays() -> None:
    net = made(Net)
    net.table = nn.Embedding(1000, WIDTH)
    table = module_bytes(net.table)
    plan = planned(net, table + REST + 2 * BLOCK, "net")
    assert "table" not in {layer.name for layer in plan.layers}
    assert plan.passing <= 6 * BLOCK + REST


def test_what_the_budget_leaves_is_filled_with_layers_evenly_spread() -> None:
    plan = planned(made(lambda: Net(8)), REST + 2 * BLOCK + 4 * BLOCK, "net")
    assert [layer.name for layer in plan.layers] == [f"blocks.{i}" for i in (1, 3, 5, 7)]


def test_attention_is_not_taken_apart() -> None:
    names = {layer.name for layer in finest(made(Net)).layers}
    assert "blocks.0.attention" in names
    assert not any("out_proj" in name for name in names)


def test_layers_that_run_twice_give_the_same_rows() -> None:
    net = made(Twice)
    whole = rows(net)
    streaming = streamed(net, REST + 2 * BLOCK)
    for _ in range(3):
        assert torch.equal(rows(net), whole)
    assert streaming.moved.layers["blocks.3"] == 6


def test_tied_tensors_stay_and_stay_tied() -> None:
    net = made(Net)
    net.blocks[4].wide.weight = net.blocks[1].wide.weight
    whole = rows(net)
    streaming = streamed(net, 3 * BLOCK)
    assert torch.equal(rows(net), whole)
    assert net.blocks[4].wide.weight is net.blocks[1].wide.weight
    streaming.close()
    assert torch.equal(rows(net), whole)


def test_tensors_that_are_read_out_of_turn_stay_from_then_on() -> None:
    net = made(lambda: Prying(3))
    whole = rows(net)
    budget = int(0.9 * module_bytes(net))
    streaming = streamed(net, budget)
    moved = [rows(net) is not None and streaming.moved.nbytes for _ in range(4)]
    assert torch.equal(rows(net), whole)
    assert streaming.nbytes <= budget
    assert moved[3] - moved[2] == moved[2] - moved[1] < moved[0]
    streaming.close()
    assert torch.equal(rows(net), whole)


def test_a_read_out_of_turn_that_finds_no_room_names_encoder_and_layer() -> None:
    net = made(Prying)
    streamed(net, REST + 2 * BLOCK)
    with pytest.raises(PluginError, match=r"the encoder 'net'") as error:
        rows(net)
    assert "blocks.0.wide.weight" in str(error.value)
    assert "read without calling their layers" in str(error.value)
    assert f"with {WHOLE:,} it is there as a whole" in error.value.next_step


@pytest.mark.parametrize("separate", [False, True], ids=["one memory", "two memories"])
@pytest.mark.parametrize("read", HIDING.values(), ids=HIDING)
@pytest.mark.filterwarnings("ignore:.*above the budget")
def test_what_is_read_out_of_turn_is_right_however_it_is_read(
    read: Callable[[Tensor], Tensor], separate: bool
) -> None:
    net = made(lambda: Peeking(read))
    whole = rows(net)
    streaming = streamed(net, WHOLE // 2, separate)
    for _ in range(3):
        assert torch.equal(rows(net), whole)
    assert streaming.nbytes <= WHOLE // 2
    assert len(streaming.layers) > 2


def test_what_only_a_later_forward_reads_out_of_turn_is_right() -> None:
    net = made(lambda: Seldom(HIDING["a comparison"]))
    usual, other = rows(net), rows(net, X + 100)
    streamed(net, WHOLE // 2)
    assert torch.equal(rows(net), usual)
    assert torch.equal(rows(net, X + 100), other)


def test_a_layer_that_is_asked_for_its_shape_and_type_need_not_be_there() -> None:
    net = made(Asking)
    whole = rows(net)
    streaming = streamed(net, REST + 2 * BLOCK)
    layers = streaming.layers
    for _ in range(2):
        assert torch.equal(rows(net), whole)
    assert streaming.layers is layers


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float16])
def test_numbers_of_every_type_stream(dtype: torch.dtype) -> None:
    net = made(lambda: nn.Sequential(*(Stepped(dtype) for _ in range(4))))
    whole = rows(net)
    streaming = streamed(net, module_bytes(net) * 3 // 4)
    for _ in range(2):
        assert torch.equal(rows(net), whole)
    assert streaming.layers


def test_an_item_that_fails_in_mid_forward_harms_no_other() -> None:
    net = made(Picky)
    whole = rows(net)
    streaming = streamed(net, REST + 2 * BLOCK)
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be encoded"):
            rows(net, X + 100)
        assert torch.equal(rows(net), whole)
    streaming.close()
    assert torch.equal(rows(net), whole)


def test_rows_with_nan_of_their_own_are_given_as_they_are() -> None:
    net = made(Net)
    item = X.clone()
    item[1] = float("nan")
    whole = rows(net, item)
    streamed(net, REST + 2 * BLOCK)
    assert torch.equal(rows(net, item).isnan(), whole.isnan())
    assert torch.equal(rows(net, item)[[0, 2]], whole[[0, 2]])


def test_hooks_of_the_network_find_the_weights_that_they_read() -> None:
    net = made(Net)
    net.blocks[2].wide.register_forward_pre_hook(lambda layer, x: (x[0] + layer.weight.sum(),))
    whole = rows(net)
    streamed(net, finest(net).nbytes)
    for _ in range(2):
        assert torch.equal(rows(net), whole)


@pytest.mark.usefixtures("few_objects")
def test_a_closed_network_leaves_nothing_on_the_device() -> None:
    net = made(Net)
    host = {tensor.data_ptr() for tensor in (*net.parameters(), *net.buffers())}
    streaming = streamed(net, WHOLE // 2)
    rows(net)
    assert bytes_beside(net, host) > 0
    streaming.close()
    assert bytes_beside(net, host) == 0


def test_a_closed_module_is_as_it_was() -> None:
    net = made(Net)
    before = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    streaming = streamed(net, WHOLE // 2)
    rows(net)
    streaming.close()
    assert {name: tensor.data_ptr() for name, tensor in net.state_dict().items()} == before
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert "forward" not in vars(net)


def test_a_network_that_exchanges_its_tensors_is_closed_like_any_other() -> None:
    net = made(Renewing)
    whole = rows(net)
    streaming = streamed(net, WHOLE // 2)
    rows(net)
    streaming.close()
    assert torch.equal(rows(net), whole)


def test_a_budget_smaller_than_a_layer_is_refused_and_leaves_the_module_alone() -> None:
    net = made(Net)
    whole, least = rows(net), finest(net)
    with pytest.raises(SetupError) as error:
        streamed(net, least.nbytes - 1)
    assert "the encoder 'net'" in str(error.value)
    assert re.search(r"its layer 'blocks\.\d\.\w+' takes [\d,]+ bytes", str(error.value))
    assert f"at least {least.nbytes:,} bytes" in error.value.next_step
    assert torch.equal(rows(net), whole)


def kinds() -> list[EncoderSpec]:
    """One encoder of each kind that is installed and whose modality there are samples of."""
    cards = [card for space in load_registry().spaces.values() for card in space.encoders.values()]
    known = {card.build.partition(" ")[0]: card for card in cards}.values()
    return [card for card in known if card.modality in ("text", "image", "audio", "points")]


@pytest.mark.parametrize("spec", kinds(), ids=lambda spec: spec.key)
def test_every_kind_of_encoder_streams_within_half_of_its_size(spec: EncoderSpec) -> None:
    net = build_encoder(spec, size="tiny", weights="random")
    items = [net.preprocess(item) for item in samples.media(spec.modality)]
    whole = run_batch(spec, net, items, CPU)
    streaming = streamed(net, max(module_bytes(net) // 2, finest(net).nbytes))
    for _ in range(2):
        assert torch.equal(run_batch(spec, net, items, CPU), whole)
    assert set(streaming.moved.layers.values()) <= {2}
    assert streaming.nbytes <= streaming.budget


def test_on_a_cpu_layers_are_read_from_their_file_and_given_back(tmp_path: Path) -> None:
    layers = [nn.Linear(1024, 1024, bias=False) for _ in range(16)]  # 4 MiB each
    save_file(nn.Sequential(*layers).state_dict(), tmp_path / "net.safetensors")
    with torch.device("meta"):
        net = nn.Sequential(*(nn.Linear(1024, 1024, bias=False) for _ in layers))
    net.load_state_dict(load_file(tmp_path / "net.safetensors"), assign=True)
    streamed(net.eval().requires_grad_(False), 12 * 2**20, separate=False)
    before, held = file_bytes(), list[int]()
    for layer in net:
        layer.register_forward_hook(lambda *_: held.append(file_bytes() - before))
    rows(net, torch.randn(2, 1024))
    assert 3.5 * 2**20 < max(held) < 12 * 2**20


@pytest.mark.filterwarnings("ignore:.*above the budget")
def test_on_a_cpu_weights_that_were_changed_after_they_were_read_are_kept(tmp_path: Path) -> None:
    net = made(Net)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    net.load_state_dict(load_file(tmp_path / "net.safetensors"), assign=True)
    net.requires_grad_(False)
    net.blocks[3].wide.weight.mul_(2)
    whole = rows(net)
    streamed(net, WHOLE // 2, separate=False)
    assert torch.equal(rows(net), whole)
    assert torch.equal(rows(net), whole)


def file_bytes() -> int:
    """Bytes of files that this process has in memory."""
    if not Path("/proc/self/status").exists():
        pytest.skip("what a process has in memory is read from Linux' /proc")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


def test_on_a_cpu_weights_that_are_no_file_are_named() -> None:
    with pytest.warns(UserWarning, match=f"the encoder 'net' takes {WHOLE:,} bytes"):
        streamed(made(Net), WHOLE // 2, separate=False)
