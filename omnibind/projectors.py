"""From a space's rows to the backbone's coordinates: small heads, a linear fit, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from omnibind.errors import CheckpointError, ShapeError
from omnibind.products import batched
from omnibind.writing import whole

__all__ = [
    "HeadEnsemble",
    "Identity",
    "Linear",
    "Projector",
    "ProjectorSet",
    "read_projector",
    "write_projector",
]

EPS = 1e-12


class HeadEnsemble(nn.Module):
    r"""Seven small heads a space that carry it onto the backbone's unit sphere.

    $$ s = \tfrac{1}{H} \sum_h \frac{g_h(x)}{\lVert g_h(x) \rVert_2}, \quad
       g = \mathrm{BN} \circ W_2 \circ \mathrm{ReLU} \circ \mathrm{BN} \circ W_1 $$

    Holds the heads of several spaces of one width; neighbours run as one batched product.

    Shape:
        unit rows `[item, dim]` a space -> `[item, joint]` a space; the mean of the heads' unit
        rows, not normalised again.
    Raises:
        ShapeError: the last axis is not `dim`.
    Source:
        arXiv:2407.11895 and its released code. Ours: the heads run as one batched product.
    """

    def __init__(
        self, spaces: Sequence[str], dim: int, joint: int, *, heads: int = 7, hidden: int = 2048
    ) -> None:
        super().__init__()
        self.spaces = tuple(spaces)
        self.dim, self.joint, self.heads, self.hidden = dim, joint, heads, hidden
        count = len(self.spaces)
        self.first = nn.Parameter(torch.empty(count, heads * hidden, dim))
        self.first_bias = nn.Parameter(torch.zeros(count, heads * hidden))
        self.first_norm = nn.BatchNorm1d(count * heads * hidden)
        self.second = nn.Parameter(torch.empty(count * heads, joint, hidden))
        self.second_bias = nn.Parameter(torch.zeros(count * heads, joint))
        self.second_norm = nn.BatchNorm1d(count * heads * joint)
        nn.init.kaiming_uniform_(self.first.view(-1, dim), nonlinearity="relu")
        nn.init.kaiming_uniform_(self.second.view(-1, hidden), nonlinearity="linear")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What two ensembles must share to be stacked: dim, heads, hidden, joint."""
        return self.dim, self.heads, self.hidden, self.joint

    def forward(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Slot rows `[item, joint]` of each space named in `rows`."""
        return {name: unit.mean(dim=1) for name, unit in self.unit_heads(rows).items()}

    def unit_heads(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each head's unit row: `[item, head, joint]` a space."""
        found: dict[str, Tensor] = {}
        for start, stop in self._runs(rows):
            names = self.spaces[start:stop]
            for name in names:
                if rows[name].shape[-1] != self.dim:
                    raise _wrong_width(name, self.dim, rows[name])
            together = self._run(torch.stack([rows[name] for name in names]), start, stop)
            found.update(zip(names, together, strict=True))
        return found

    def _runs(self, rows: Mapping[str, Tensor]) -> Iterator[tuple[int, int]]:
        asked = [k for k, name in enumerate(self.spaces) if name in rows]
        for _, run in groupby(enumerate(asked), key=lambda pair: pair[1] - pair[0]):
            positions = [position for _, position in run]
            yield positions[0], positions[-1] + 1

    def _run(
        self, x: Float[Tensor, "space item dim"], start: int, stop: int
    ) -> Float[Tensor, "space item head joint"]:
        heads = slice(start * self.heads, stop * self.heads)
        items = x.shape[1]
        x = torch.baddbmm(
            self.first_bias[start:stop, None], x, self.first[start:stop].transpose(1, 2)
        )
        x = F.relu(_norm(self.first_norm, x.transpose(0, 1).reshape(items, -1), heads, self.hidden))
        x = x.view(items, -1, self.hidden).transpose(0, 1)
        x = torch.baddbmm(self.second_bias[heads, None], x, self.second[heads].transpose(1, 2))
        x = _norm(self.second_norm, x.transpose(0, 1).reshape(items, -1), heads, self.joint)
        x = F.normalize(x.view(items, stop - start, self.heads, self.joint), dim=-1, eps=EPS)
        return x.transpose(0, 1)

    def own_batches(
        self, x: Float[Tensor, "space head item dim"], batch_norm: Any = F.batch_norm
    ) -> Float[Tensor, "space head joint item"]:
        """Each head's rows of items of its own, as in training, before they are of unit norm.

        Channels come first, so that one call normalises every head by its own items and nothing
        is copied between the two products. In training no bias is added: BatchNorm takes the
        mean away again, so that only its running mean has to know of it.

        Args:
            x: rows of all spaces, in their order.
            batch_norm: `F.batch_norm`, or one that sees the items of other processes too.

        Raises:
            ShapeError: the last axis is not `dim`.
        """
        if x.shape[-1] != self.dim:
            raise _wrong_width(", ".join(self.spaces), self.dim, x)
        count, items = len(self.spaces) * self.heads, x.shape[2]
        x = x.reshape(count, items, self.dim).mT
        first = self.first.view(count, self.hidden, self.dim)
        x = _norm_channels(self.first_norm, batched(first, x), self.first_bias, batch_norm)
        x = batched(self.second, F.relu(x))
        x = _norm_channels(self.second_norm, x, self.second_bias, batch_norm)
        return x.view(len(self.spaces), self.heads, self.joint, items)

    @classmethod
    def stacked(cls, ensembles: Sequence[HeadEnsemble]) -> HeadEnsemble:
        """One ensemble that holds the spaces of several of the same shape, in order."""
        (shape,) = {ensemble.shape for ensemble in ensembles}
        dim, heads, hidden, joint = shape
        spaces = [name for ensemble in ensembles for name in ensemble.spaces]
        with torch.device("meta"):
            whole = cls(spaces, dim, joint, heads=heads, hidden=hidden)
        states = [ensemble.state_dict() for ensemble in ensembles]
        merged = {
            key: states[0][key] if value.ndim == 0 else torch.cat([s[key] for s in states])
            for key, value in states[0].items()
        }
        whole.load_state_dict(merged, assign=True)
        return whole.train(ensembles[0].training)

    def of_space(self, name: str) -> HeadEnsemble:
        """The ensemble of one space alone; shares memory with this one."""
        at, count = self.spaces.index(name), len(self.spaces)
        with torch.device("meta"):
            alone = HeadEnsemble([name], self.dim, self.joint, heads=self.heads, hidden=self.hidden)
        alone.load_state_dict(
            {
                key: value if value.ndim == 0 else value.chunk(count)[at]
                for key, value in self.state_dict().items()
            },
            assign=True,
        )
        return alone.train(self.training)


class Linear(nn.Module):
    """A linear fit (ridge, say) into the backbone's coordinates; unit rows. Ours."""

    def __init__(self, space: str, dim: int, joint: int) -> None:
        super().__init__()
        self.spaces = (space,)
        self.dim, self.joint = dim, joint
        self.weight = nn.Parameter(torch.zeros(joint, dim))
        self.bias = nn.Parameter(torch.zeros(joint))

    def forward(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Slot rows of the one space."""
        (name,) = self.spaces
        if rows[name].shape[-1] != self.dim:
            raise _wrong_width(name, self.dim, rows[name])
        return {name: F.normalize(F.linear(rows[name], self.weight, self.bias), dim=-1, eps=EPS)}


class Identity(nn.Module):
    """For a space that lives in the backbone's coordinates already, the backbone among them."""

    def __init__(self, space: str, joint: int) -> None:
        super().__init__()
        self.spaces = (space,)
        self.joint = joint

    def forward(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The rows as they are."""
        (name,) = self.spaces
        if rows[name].shape[-1] != self.joint:
            raise _wrong_width(name, self.joint, rows[name])
        return {name: rows[name]}


Projector = HeadEnsemble | Linear | Identity


class ProjectorSet(nn.Module):
    """The projectors of all spaces; ensembles of one shape are stacked into one."""

    def __init__(self, projectors: Mapping[str, Projector]) -> None:
        super().__init__()
        shapes: dict[tuple[int, ...], list[HeadEnsemble]] = {}
        groups: list[Projector] = []
        for projector in projectors.values():
            if isinstance(projector, HeadEnsemble):
                shapes.setdefault(projector.shape, []).append(projector)
            else:
                groups.append(projector)
        groups += [HeadEnsemble.stacked(ensembles) for ensembles in shapes.values()]
        self.groups = nn.ModuleList(groups)
        self.spaces = frozenset(projectors)

    def forward(self, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Slot rows `[item, joint]` of each space in `rows` that has a projector here."""
        found: dict[str, Tensor] = {}
        for group in cast("list[Projector]", self.groups):
            asked = {name: rows[name] for name in group.spaces if name in rows}
            if asked:
                found.update(group(asked))
        return found

    def of_space(self, name: str) -> Projector:
        """The projector of one space alone; shares memory with this set."""
        for group in cast("list[Projector]", self.groups):
            if name in group.spaces:
                return group.of_space(name) if isinstance(group, HeadEnsemble) else group
        raise KeyError(name)


def write_projector(projector: Projector, path: Path, *, backbone: str) -> None:
    """Writes the projector of one space as safetensors, its kind and sizes as metadata."""
    (space,) = projector.spaces
    metadata = {"space": space, "backbone": backbone, "joint": str(projector.joint)}
    if isinstance(projector, HeadEnsemble):
        metadata |= {"kind": "heads", "heads": str(projector.heads)}
        metadata |= {"dim": str(projector.dim), "hidden": str(projector.hidden)}
    else:
        metadata |= {"kind": "linear" if isinstance(projector, Linear) else "identity"}
        if isinstance(projector, Linear):
            metadata |= {"dim": str(projector.dim)}
    state = {key: value.contiguous() for key, value in projector.state_dict().items()}
    with whole(path) as part:
        part.write_bytes(_sorted_metadata(save(state, metadata=metadata)))


def read_projector(path: Path) -> Projector:
    """Reads what `write_projector` wrote.

    Raises:
        CheckpointError: damaged, of an unknown kind, or tensors that do not fit its metadata.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = cast("dict[str, str]", file.metadata() or {})
            state = {key: _full(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
        projector = _empty_projector(facts)
        projector.load_state_dict(state, assign=True)
    except Exception as error:
        raise CheckpointError(
            f"the projector file {path}",
            found=f"{type(error).__name__}: {error}",
            next_step="fetch or train it again",
        ) from error
    return projector.eval()


def _full(tensor: Tensor) -> Tensor:
    """Half precision is for files: it is computed in full."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _sorted_metadata(content: bytes) -> bytes:
    """The same safetensors file with its metadata in order: safetensors writes them in any."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)
    return len(said).to_bytes(8, "little") + said + content[8 + length :]


def _empty_projector(facts: Mapping[str, str]) -> Projector:
    space, joint = facts["space"], int(facts["joint"])
    if facts["kind"] == "identity":
        return Identity(space, joint)
    with torch.device("meta"):
        if facts["kind"] == "linear":
            return Linear(space, int(facts["dim"]), joint)
        if facts["kind"] == "heads":
            sizes = {"heads": int(facts["heads"]), "hidden": int(facts["hidden"])}
            return HeadEnsemble([space], int(facts["dim"]), joint, **sizes)
    raise ValueError(f"kind {facts['kind']!r}, not one of heads, linear, identity")


def _norm(norm: nn.BatchNorm1d, x: Tensor, heads: slice, width: int) -> Tensor:
    part = slice(heads.start * width, heads.stop * width)
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    return F.batch_norm(
        x,
        mean[part],
        variance[part],
        norm.weight[part],
        norm.bias[part],
        training=norm.training,
        momentum=norm.momentum or 0.1,
        eps=norm.eps,
    )


def _norm_channels(
    norm: nn.BatchNorm1d, x: Float[Tensor, "head channel item"], bias: Tensor, batch_norm: Any
) -> Float[Tensor, "head channel item"]:
    """BatchNorm of x + bias."""
    momentum = norm.momentum or 0.1
    if norm.training:  # as if the bias were part of the mean that is taken in now
        with torch.no_grad():
            cast("Tensor", norm.running_mean).add_(bias.flatten() * momentum / (1 - momentum))
    else:
        x = x + bias.view(len(x), -1, 1)
    normed = batch_norm(
        x.reshape(1, -1, x.shape[-1]),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=norm.training,
        momentum=momentum,
        eps=norm.eps,
    )
    return normed.view(x.shape)


def _wrong_width(space: str, dim: int, rows: Tensor) -> ShapeError:
    return ShapeError(
        f"rows of the space {space!r} as [item, {dim}]",
        found=f"{list(rows.shape)}",
        next_step="give the rows of that space's own encoders",
    )
