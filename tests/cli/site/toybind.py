"""A plugin for these tests: three toy spaces, a recipe, a command. Installed by `conftest.py`."""

from __future__ import annotations

from omnibind.plugins import hookimpl
from omnibind.specs import Command, EncoderSpec, Recipe, Slot, SpaceSpec


def _encoder(key: str, modality: str) -> EncoderSpec:
    return EncoderSpec(
        key=key,
        modality=modality,
        dim=8,
        params=1000,
        flops_per_item=2000.0,
        build=f"omnibind.testing.toys:{modality}_8",
        weights=(f"package:never-published=={modality}/weights.pt",),
    )


def _space(name: str, encoders: dict[str, str], **facts: object) -> SpaceSpec:
    return SpaceSpec(
        name=name,
        dim=8,
        encoders={modality: _encoder(key, modality) for modality, key in encoders.items()},
        revision="1",
        training_data="nothing",
        **facts,
    )


@hookimpl
def provide_spaces() -> list[SpaceSpec]:
    return [
        _space(
            "toy",
            {"text": "toy-text", "image": "toy-image", "audio": "toy-audio"},
            licence="CC0-1.0",
            commercial_use=True,
        ),
        _space(
            "toy-nc",
            {"text": "toy-text", "image": "other-image"},
            licence="CC-BY-NC-4.0",
            commercial_use=False,
            projectors={"toy": "module:toybind_files/toy-nc.safetensors"},
        ),
        _space(
            "toy-late",
            {"text": "late-text", "image": "late-image"},
            licence="CC0-1.0",
            commercial_use=True,
        ),
    ]


@hookimpl
def provide_recipes() -> list[Recipe]:
    both = (Slot.of("toy"), Slot.of("toy-nc"))
    slots = {"text": both, "image": both, "audio": (Slot.of("toy"),)}
    return [Recipe(name="toys", backbone="toy", joint_dim=8, slots=slots)]


@hookimpl
def add_commands() -> list[Command]:
    return [
        Command(name="greet", app="toybind_command:app", help="Greet somebody."),
        Command(name="doctor", app="toybind_command:app", help="Pretend to be a doctor."),
    ]
