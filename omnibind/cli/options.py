"""The options that several commands share, and the model they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from omnibind.named import checkpoint_folder

if TYPE_CHECKING:
    from typer import Context

    from omnibind.embedder import Embedder
    from omnibind.engine import Engine
else:
    Context = typer.Context.__base__  # what Typer passes in fact

__all__ = [
    "NO_OTHER_HELP",
    "AsJson",
    "Cached",
    "CommercialOnly",
    "Context",
    "Device",
    "Dtype",
    "Help",
    "Loading",
    "LongMedia",
    "Memory",
    "MetricsPort",
    "ModelSize",
    "Processes",
    "RecipeName",
    "WeightsKind",
    "Without",
    "engine_asked",
    "loading_asked",
]


def _help(context: Context, asked: bool) -> bool:
    if asked:
        print(context.get_help())
        raise typer.Exit
    return asked


Help = Annotated[
    bool,
    typer.Option("--help", callback=_help, is_eager=True, help="Show this message and exit."),
]
"""A plain flag in place of Typer's own, for whose empty value it imports pydantic: 0.1 s."""
NO_OTHER_HELP: dict[str, Any] = {"help_option_names": []}
"""Context settings of a command that has the option `Help`."""
Size = Literal["full", "tiny"]
Weights = Literal["official", "random"]
Long = Literal["windows", "official"]
Numbers = Literal["auto", "float32", "bfloat16", "float8"]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="A recipe's name, or the folder of a bound checkpoint.")
]
ModelSize = Annotated[Size, typer.Option("--size", help="tiny: toy networks, for tests.")]
WeightsKind = Annotated[
    Weights, typer.Option("--weights", help="random: for benchmarks without checkpoints.")
]
LongMedia = Annotated[
    Long,
    typer.Option("--long", help="Media longer than a clip: windows of all, or as their authors."),
]
Dtype = Annotated[
    Numbers, typer.Option("--dtype", help="What encoders compute in where their cards bear it.")
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...; several with commas.")
]
Memory = Annotated[
    str, typer.Option("--memory", help="What weights may take on a device: auto, or e.g. 24GiB.")
]
MetricsPort = Annotated[
    str | None,
    typer.Option("--metrics-port", help="[HOST:]PORT of metrics for Prometheus; 127.0.0.1 alone."),
]
Processes = Annotated[
    bool,
    typer.Option("--processes", help="Read items in processes: one that crashes is a bad item."),
]
Cached = Annotated[
    bool, typer.Option("--cached", help="Use and keep rows in the cache of the other commands.")
]
CommercialOnly = Annotated[
    bool, typer.Option("--commercial-only", help="Only spaces whose licence permits it.")
]
Without = Annotated[
    list[str] | None, typer.Option("--without", help="A space to leave out; may be repeated.")
]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """What `omnibind.load` is asked for."""

    recipe: str = "starter"
    size: Size = "full"
    weights: Weights = "official"
    long: Long = "windows"
    dtype: Numbers = "auto"
    commercial_only: bool = False
    without: tuple[str, ...] = ()

    def model(
        self, device: str = "auto", *, memory: str = "auto", processes: bool = False
    ) -> Embedder:
        """Loads it; the arguments change how rows are made, and not what they are."""
        import omnibind

        return omnibind.load(
            self.name,
            device=device,
            size=self.size,
            weights=self.weights,
            long=self.long,
            dtype=self.dtype,
            memory=memory,
            processes=processes,
            commercial_only=self.commercial_only,
            without=self.without,
        )

    @property
    def name(self) -> str | Path:
        """The recipe's name, or the absolute folder of a checkpoint."""
        from omnibind.plugins import registry

        return checkpoint_folder(self.recipe, registry().recipes) or self.recipe

    def facts(self) -> dict[str, Any]:
        """The same as JSON, for the table that it makes."""
        return {**vars(self), "recipe": str(self.name), "without": list(self.without)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Loading:
        """Reads them back; what a table does not say has its default."""
        values: dict[str, Any] = {**facts, "without": tuple(facts.get("without", ()))}
        return cls(**values)


def loading_asked(
    recipe: RecipeName = "starter",
    size: ModelSize = "full",
    weights: WeightsKind = "official",
    long: LongMedia = "windows",
    dtype: Dtype = "auto",
    commercial_only: CommercialOnly = False,
    without: Without = None,
) -> Loading:
    """The options of commands that load a model."""
    return Loading(
        recipe=recipe,
        size=size,
        weights=weights,
        long=long,
        dtype=dtype,
        commercial_only=commercial_only,
        without=tuple(without or ()),
    )


def engine_asked(
    size: ModelSize = "full",
    weights: WeightsKind = "official",
    device: Device = "auto",
    dtype: Dtype = "auto",
    memory: Memory = "auto",
    processes: Processes = False,
    cached: Cached = False,
) -> Engine:
    """The options of commands that bind spaces: an engine of their own."""
    from omnibind.engine import shared_engine

    return shared_engine(
        device=device,
        size=size,
        weights=weights,
        dtype=dtype,
        memory=memory,
        processes=processes,
        cached=cached,
    )
