"""The contract fails where a promise is broken, there alone, and says what to do next."""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnibind.specs import EncoderSpec, SpaceSpec
from omnibind.testing import SpaceContract, samples
from omnibind.weights import LoadReport, load_state

CHECKS = sorted(name for name in vars(SpaceContract) if name.startswith("test_"))


class Good(nn.Module):
    """Bytes of a text, 16 of them: keeps the whole contract."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        width = 8 if size == "full" else 4
        self.table = nn.Embedding(256, width)
        self.out = nn.Linear(width, 6)

    def preprocess(self, media: str) -> dict[str, Tensor]:
        return {"ids": torch.tensor(list(media.encode()[:16].ljust(16)))}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return F.normalize(self.out(self.table(batch["ids"]).mean(1)), dim=-1)

    def load_official(self, state: dict[str, Tensor]) -> LoadReport:
        return load_state(self, state)


class TooWide(Good):
    def forward(self, batch):
        return F.pad(super().forward(batch), (0, 1))


class WholeNumbers(Good):
    def forward(self, batch):
        return (F.one_hot(super().forward(batch).argmax(-1), 6)).long()


class NotANumber(Good):
    def forward(self, batch):
        return super().forward(batch) / 0 * 0


class NotUnit(Good):
    def forward(self, batch):
        return 2 * super().forward(batch)


class Random(Good):
    def preprocess(self, media):
        return {**super().preprocess(media), "noise": torch.rand(3)}


class Noisy(Good):
    def forward(self, batch):
        rows = super().forward(batch)
        return F.normalize(rows + 0.1 * torch.rand_like(rows), dim=-1)


class NumpyWeights(Good):
    def __init__(self, size, assets):
        super().__init__(size, assets)
        noise = torch.from_numpy(np.random.default_rng().random(6, np.float32))
        if not self.out.bias.is_meta:
            self.out.bias.data.copy_(noise)


class Centred(Good):
    def forward(self, batch):
        rows = super().forward(batch)
        return F.normalize(rows - 0.5 * rows.mean(0), dim=-1)


class OnlyFloat32(Good):
    def forward(self, batch):
        return F.normalize(self.out(self.table(batch["ids"]).float().mean(1)), dim=-1)


class OfDifferentLength(Good):
    def preprocess(self, media):
        return {"ids": torch.tensor(list(media.encode()))}


class Unpadded(OfDifferentLength):
    def collate(self, samples):
        ids = [sample["ids"] for sample in samples]
        return {"ids": nn.utils.rnn.pad_sequence(ids, batch_first=True)}


class MakesAList(Good):
    def preprocess(self, media):
        return list(super().preprocess(media).values())

    def collate(self, samples):
        return {"ids": torch.stack([sample[0] for sample in samples])}


class WithGradient(Good):
    def preprocess(self, media):
        return {**super().preprocess(media), "scale": torch.ones(1, requires_grad=True)}


class KeepsOnSelf(Good):
    def preprocess(self, media):
        self.media = media
        time.sleep(1e-4)
        return super().preprocess(self.media)


class ReadsItsWeights(Good):
    def preprocess(self, media):
        return {**super().preprocess(media), "scale": self.table.weight.abs().max()}


class FinishesInPlace(Good):
    def finish(self, batch):
        return {"ids": batch["ids"].clamp_(max=100)}


class LooksAtTheBatch(Good):
    def finish(self, batch):
        return {"ids": (batch["ids"] + batch["ids"].sum()) % 256}


class LooksAtItsWeights(Good):
    def __init__(self, size, assets):
        super().__init__(size, assets)
        self.largest = self.out.weight.max().item()


class AlwaysReal(Good):
    def __init__(self, size, assets):
        super().__init__(size, assets)
        self.scale = nn.Parameter(torch.from_numpy(np.ones(6, np.float32)))


class LeftBehind(Good):
    def __init__(self, size, assets):
        super().__init__(size, assets)
        self.scale = torch.arange(1, 7)

    def forward(self, batch):
        return F.normalize(super().forward(batch) * self.scale, dim=-1)


class LooksAtValues(Good):
    """No fault: it cannot be run without values, so nothing is known."""

    def forward(self, batch):
        assert int(batch["ids"].max()) < 256
        return super().forward(batch)


class NotStrict(Good):
    def load_official(self, state):
        self.load_state_dict(state, strict=False)
        return LoadReport(used=tuple(state), dropped={})


class ForgivesMissing(Good):
    def load_official(self, state):
        return load_state(self, state, derived={"out.*": "whatever"} if len(state) > 1 else None)


class LosesKeys(Good):
    def load_official(self, state):
        return replace(load_state(self, state), used=())


class RaisesKeyError(Good):
    def load_official(self, state):
        return LoadReport(used=(str(state["table.weight"]),), dropped={})


class Renamed(Good):
    """The published file calls its layers otherwise, and has a key that is not needed."""

    def load_official(self, state):
        dropped = {"step": "of training"}
        return load_state(self, state, rename=lambda key: key.removeprefix("net."), dropped=dropped)


class LosesShapes(Renamed):
    def load_official(self, state):
        mended = {key: tensor[:6] if "bias" in key else tensor for key, tensor in state.items()}
        return super().load_official(mended)


class NoPreprocess(nn.Module):
    def __init__(self, size, assets):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2102))


class Clamps(Good):
    """Writes into the resampled sound, which every encoder gets."""

    def preprocess(self, media):
        return {"ids": (media.mono(8000).clamp_(min=0)[:16] * 255).long()}


class Paints(Good):
    def preprocess(self, media):
        media.putpixel((0, 0), (0, 0, 0))
        return {"ids": torch.tensor(list(media.resize((4, 4)).convert("L").tobytes()))}


class SaysNothingOfLong(Good):
    def __init__(self, size, assets):
        super().__init__(size, assets)
        self.long = "windows"


class StartsOfficial(Good):
    def __init__(self, size, assets):
        super().__init__(size, assets)
        self.long = "official"


class BreaksOfficially(SaysNothingOfLong):
    def forward(self, batch):
        rows = super().forward(batch)
        return 2 * rows if self.long == "official" else rows


def space_of(name: str, modality: str = "text", **facts: Any) -> SpaceSpec:
    card: dict[str, Any] = {
        "key": name,
        "modality": modality,
        "dim": 6,
        "params": 256 * 8 + 9 * 6,
        "flops_per_item": 1.0,
        "build": f"{__name__}:{name}",
        "weights": (),
    }
    encoder = EncoderSpec(**{**card, **facts})
    return SpaceSpec(
        name="broken",
        dim=6,
        encoders={modality: encoder},
        licence="MIT",
        commercial_use=True,
        revision="1",
    )


def failing(contract: SpaceContract, space: SpaceSpec) -> dict[str, str]:
    """Which tests of the contract fail, and what they say."""
    found: dict[str, str] = {}
    for check in CHECKS:
        try:
            getattr(contract, check)(space)
        except pytest.fail.Exception as failure:
            found[check.removeprefix("test_")] = str(failure)
        except pytest.skip.Exception:
            pass
    return found


class Contract(SpaceContract):
    def items(self, modality: str):
        return samples.media(modality)[:3]


SHAPE = "rows_are_floats_of_the_cards_width"
UNIT = "rows_have_unit_norm"
REPEAT = "the_same_item_gives_the_same_row"
SEED = "the_same_seed_gives_the_same_encoder"
BATCH = "a_row_does_not_depend_on_its_batch"
TENSORS = "preprocess_makes_cpu_tensors"
THREADS = "preprocess_is_thread_safe"
ITEM = "preprocess_leaves_the_item_alone"
APART = "preprocess_is_apart_from_the_network"
FINISH = "finish_makes_the_same_of_a_sample_and_of_a_batch"
META = "it_builds_on_the_meta_device"
HALF = "it_runs_in_half_precision"
MOVES = "it_runs_on_any_device"
LOAD = "loading_published_weights_is_strict"
COUNT = "cards_count_the_parameters_of_the_full_size"
LONG = "media_longer_than_a_clip_become_rows_both_ways"
CARDS = "the_cards_of_the_encoders_can_be_used"

BROKEN: dict[type, dict[str, str]] = {
    Good: {},
    LooksAtValues: {},
    TooWide: {SHAPE: "pool to one row an item"},
    WholeNumbers: {SHAPE: "return floats"},
    NotANumber: {SHAPE: "guard divisions", UNIT: "", REPEAT: "", BATCH: ""},
    NotUnit: {UNIT: r"norms from 2 to 2[\s\S]*normalize"},
    Random: {REPEAT: "no random crops", THREADS: "", APART: "", SEED: ""},
    Noisy: {REPEAT: "nn.Dropout", BATCH: ""},
    NumpyWeights: {SEED: "torch's own generator"},
    Centred: {BATCH: "no statistics over the batch"},
    OnlyFloat32: {HALF: "cast what preprocess made"},
    OfDifferentLength: {SHAPE: "pad in collate", UNIT: "", BATCH: "", MOVES: ""},
    Unpadded: {BATCH: "mask the padding"},
    WithGradient: {TENSORS: "cpu tensor, with gradients"},
    KeepsOnSelf: {THREADS: "keep nothing on self"},
    ReadsItsWeights: {APART: "plain attribute"},
    FinishesInPlace: {FINISH: "no in-place operations"},
    LooksAtTheBatch: {FINISH: "axes from the end", BATCH: ""},
    LooksAtItsWeights: {META: r"no \.item\(\)", COUNT: ""},
    AlwaysReal: {META: "real memory for scale", COUNT: "write params=2_108"},
    LeftBehind: {MOVES: "register_buffer"},
    NotStrict: {LOAD: "load with omnibind.weights.load_state"},
    ForgivesMissing: {LOAD: "refuses a checkpoint without 'out.bias'"},
    LosesKeys: {LOAD: "left out or invented: out.bias"},
    RaisesKeyError: {LOAD: "KeyError: 'table.weight'"},
}


@pytest.mark.filterwarnings("ignore:random weights of 'LooksAtItsWeights' are made on the host")
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_promise_fails_its_own_test_with_the_next_step(kind: type) -> None:
    said = failing(Contract(), space_of(kind.__name__))
    assert set(said) == set(BROKEN[kind])
    for check, words in BROKEN[kind].items():
        assert re.search(words, said[check])
        assert "\n  next:   " in said[check]


@pytest.mark.parametrize(("kind", "modality"), [(Clamps, "audio"), (Paints, "image")])
def test_an_item_that_is_written_to_is_found(kind: type, modality: str) -> None:
    said = failing(Contract(), space_of(kind.__name__, modality))
    assert set(said) == {ITEM}
    assert "no in-place operations" in said[ITEM]


@pytest.mark.parametrize(
    ("kind", "card", "words"),
    [
        (SaysNothingOfLong, False, "one on the network"),
        (Good, True, "none on the network"),
        (StartsOfficial, True, "starts as 'windows'"),
        (BreaksOfficially, True, "long='official': one unit row an item"),
    ],
)
def test_a_broken_promise_about_long_media_is_found(kind: type, card: bool, words: str) -> None:
    said = failing(Contract(), space_of(kind.__name__, long=card))
    assert set(said) == {LONG}
    assert words in said[LONG]


class Smelling(Contract):
    def items(self, modality: str):
        return ["roses"]


def test_a_modality_that_is_not_installed_is_said() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"pip install -e \."):
        Smelling().test_preprocess_leaves_the_item_alone(space_of("Good", "smell"))


def test_a_list_of_tensors_is_no_sample() -> None:
    with pytest.raises(pytest.fail.Exception, match="for item 0: list"):
        Contract().test_preprocess_makes_cpu_tensors(space_of("MakesAList"))


class RenamedContract(Contract):
    def published(self, encoder: nn.Module) -> dict[str, Tensor]:
        state = {f"net.{key}": tensor for key, tensor in encoder.state_dict().items()}
        return {**state, "step": torch.tensor(7)}


def test_renamed_keys_are_tested_in_the_published_layout() -> None:
    RenamedContract().test_loading_published_weights_is_strict(space_of("Renamed"))
    with pytest.raises(pytest.fail.Exception, match=r"another shape of 'net\.out\.bias'"):
        RenamedContract().test_loading_published_weights_is_strict(space_of("LosesShapes"))


def test_a_published_layout_that_is_not_one_is_found() -> None:
    with pytest.raises(pytest.fail.Exception, match="correct `published` in your test class"):
        RenamedContract().test_loading_published_weights_is_strict(space_of("Good"))


def test_weights_without_load_official_are_found() -> None:
    space = space_of("NoPreprocess", weights=("file:x",))
    with pytest.raises(pytest.fail.Exception) as failure:
        Contract().test_the_cards_of_the_encoders_can_be_used(space)
    assert "write `def preprocess(self, media)`" in str(failure.value)
    assert "no load_official(state) method" in str(failure.value)


class Small(Contract):
    largest_tiny = 1000


def test_a_tiny_size_that_is_not_tiny_is_found() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"at most 1_000 parameters[\s\S]*1_054"):
        Small().test_the_tiny_size_is_tiny(space_of("Good"))


CARDS_AT_FAULT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a licence that is not stated": ({"licence": " "}, {}, "fill in `licence`"),
    "a revision that is not stated": ({"revision": ""}, {}, "fill in `revision`"),
    "a space without encoders": ({"encoders": {}}, {}, "no encoders on its card"),
    "widths that differ": ({"dim": 7}, {}, "make card and encoders agree"),
    "a name in capitals": ({"name": "Mine"}, {}, "rename it"),
    "a reference of no kind": ({}, {"weights": ("ftp:x",)}, "write it as KIND:PATH"),
    "a hub file that moves": ({}, {"weights": ("hub:me/it/a.pt",)}, "REVISION"),
    "an asset without a path": ({}, {"assets": {"a": "package:it==1"}}, "it==1/path/inside"),
    "a projector of no kind": ({"projectors": {"b": "x"}}, {}, "write it as KIND:PATH"),
}


@pytest.mark.parametrize("what", CARDS_AT_FAULT)
def test_a_card_at_fault_says_what_to_write(what: str) -> None:
    of_space, of_encoder, words = CARDS_AT_FAULT[what]
    space = replace(space_of("Good", **of_encoder), **of_space)
    with pytest.raises(pytest.fail.Exception, match=re.escape(words)):
        Contract().test_the_card_of_the_space_can_be_used(space)


def test_a_card_without_flops_says_how_to_count_them() -> None:
    with pytest.raises(pytest.fail.Exception, match="flop_counter"):
        Contract().test_the_cards_of_the_encoders_can_be_used(space_of("Good", flops_per_item=0.0))


@pytest.mark.parametrize(
    ("reference", "note", "unsaid"),
    [
        ("hub:me/it@main/a.pt", "", ["checksum", "revision"]),
        ("hub:me/it@main/a.pt", "revision and checksum unknown", []),
        (f"hub:me/it@{'a' * 40}/a.pt", "", ["checksum"]),
        (f"hub:me/it@v1/a.pt#sha256={'0' * 64}", "checksum as the authors say", ["revision"]),
        (f"hub:me/it@{'a' * 40}/a.pt#sha256={'0' * 64}", "", []),
    ],
)
def test_what_is_unknown_of_a_hub_file_has_to_be_said(
    reference: str, note: str, unsaid: list[str]
) -> None:
    space = space_of("Good", weights=(reference,), note=note)
    said = failing(Contract(), space).get("the_cards_of_the_encoders_can_be_used", "")
    assert re.findall(r"the (checksum|revision) of a hub file is not known", said) == unsaid


def test_a_builder_that_is_not_there_is_said_in_every_test() -> None:
    with pytest.raises(pytest.fail.Exception, match="mend the card in the plugin"):
        Contract().test_rows_have_unit_norm(space_of("Missing"))


class Reads(Good):
    def __init__(self, size: str, assets: dict[str, Path]) -> None:
        super().__init__(size, assets)
        self.words = assets["words"] if size == "full" else None


def test_a_builder_that_needs_a_file_is_found_and_files_are_not_asked_for() -> None:
    files = {"words": "file:/nowhere/words.txt"}
    Contract().test_cards_count_the_parameters_of_the_full_size(space_of("Good", assets=files))
    with pytest.raises(pytest.fail.Exception, match="asset 'words' was asked for at size 'full'"):
        Contract().test_cards_count_the_parameters_of_the_full_size(space_of("Reads", assets=files))


STRAYS = {
    "x.cuda()": True,
    "x.cpu()": True,
    "x.to('cuda:1')": True,
    "x.to(device='cpu')": True,
    "x.to(self.device)": True,
    "x.to(x.dtype)": False,
    "torch.zeros(3, device='cuda')": True,
    "torch.zeros(3, device=x.device)": False,
    "torch.device('cuda')": True,
    "torch.cuda.is_available()": True,
    "torch.compile(x)": True,
    "hash('word')": True,
    "'cuda'.upper()": False,
}


@pytest.mark.parametrize("line", STRAYS)
def test_a_line_that_names_a_device_is_found_with_its_number(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"strays_{zlib.crc32(line.encode())}"
    source = f"""
from {__name__} import Good

class Strays(Good):
    def never_called(self, x):
        {line}
"""
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    space = space_of("Good", key=line, build=f"{name}:Strays")
    said = failing(Contract(), space)
    assert list(said) == (["its_source_names_no_device"] if STRAYS[line] else [])
    assert all(f"at {name}.py:6" in words for words in said.values())
