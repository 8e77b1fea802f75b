"""The processes that train together: one global batch, whoever holds which part of it.

Every rank computes its share of the loss; the shares add up to the loss that one process would
have had. Sums and gathers carry gradients, so the added gradients are that process's too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from omnibind.errors import TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["ALONE", "Ranks"]


class Ranks:
    """The processes of a Lightning Fabric, or one process where there is none.

    Args:
        fabric: launched; it started the processes and chose their devices.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.rank = fabric.global_rank if fabric else 0
        self.world = fabric.world_size if fabric else 1
        self.device = fabric.device if fabric else torch.device("cpu")
        self.first = self.rank == 0

    def part(self, size: int) -> slice:
        """This rank's stretch of a global batch.

        Raises:
            TrainingError: the batch cannot be divided evenly.
        """
        own, left = divmod(size, self.world)
        if left:
            raise TrainingError(
                f"a batch of {size} tuples on {self.world} devices",
                found=f"{left} left over",
                next_step=f"choose a batch that {self.world} divides",
            )
        return slice(self.rank * own, (self.rank + 1) * own)

    def gather(self, x: Tensor, dim: int) -> Tensor:
        """The parts of all ranks, in order of rank; with gradient."""
        return x if self.world == 1 else cast("Tensor", _Gather.apply(x, dim, self.rank))

    def total(self, x: Tensor) -> Tensor:
        """The sum over ranks; with gradient."""
        return x if self.world == 1 else cast("Tensor", _Total.apply(x))

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its sum over ranks."""
        if self.world > 1:
            for gradient in [p.grad for p in parameters if p.grad is not None]:
                dist.all_reduce(gradient)

    def wait(self) -> None:
        """Returns when every rank has come here."""
        if self.world > 1:
            dist.barrier()

    def batch_norm(
        self,
        x: Tensor,
        mean: Tensor,
        variance: Tensor,
        weight: Tensor,
        bias: Tensor,
        *,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        """`F.batch_norm` over `[item, channel]` or `[item, channel, place]` of the global batch."""
        settings = {"momentum": momentum, "eps": eps}
        if self.world == 1 or not training:
            return F.batch_norm(x, mean, variance, weight, bias, training, **settings)
        shape = [1, -1, *[1] * (x.ndim - 2)]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        count = self.world * x.numel() / x.shape[1]
        centre = self.total(x.sum(axes)) / count
        x = x - centre.view(shape)
        spread = self.total(x.square().sum(axes)) / count
        with torch.no_grad():
            mean.lerp_(centre, momentum)
            variance.lerp_(spread * (count / (count - 1)), momentum)
        scale = (spread + eps).rsqrt() * weight
        return x * scale.view(shape) + bias.view(shape)

    def shared_norms(self, network: nn.Sequential) -> nn.Sequential:
        """The same network whose BatchNorm layers see the global batch."""
        if self.world > 1:
            for at, layer in enumerate(network):
                if isinstance(layer, nn.BatchNorm1d):
                    network[at] = _SharedNorm(layer, self)
        return network


class _SharedNorm(nn.BatchNorm1d):
    """A BatchNorm layer's own tensors, normalised by the global batch."""

    def __init__(self, layer: nn.BatchNorm1d, ranks: Ranks) -> None:
        super().__init__(layer.num_features, eps=layer.eps, momentum=layer.momentum)
        self.load_state_dict(layer.state_dict())
        self._ranks = ranks

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        return self._ranks.batch_norm(
            input,
            cast("Tensor", self.running_mean),
            cast("Tensor", self.running_var),
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum or 0.1,
            eps=self.eps,
        )


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, rank: int) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        ctx.dim, ctx.start, ctx.length = dim, rank * x.shape[dim], x.shape[dim]
        return torch.cat(parts, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient.narrow(ctx.dim, ctx.start, ctx.length), None, None


ALONE = Ranks()
"""One process on the CPU."""
