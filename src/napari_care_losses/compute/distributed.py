"""Training in several processes, on one machine or many, as PyTorch's launcher ``torchrun`` starts them.

Every process holds the same network and draws its own share of each batch; the gradients of all are averaged, so that a
step is that of one process with the whole batch. The first process validates, decides and writes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import distributed

from napari_care_losses.compute.devices import choose_device
from napari_care_losses.errors import ComputeError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SET_BY_THE_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Team:
    """The processes of one training; this class is a training in a single process.

    Attributes
    ----------
    rank, size : int
        Number of this process, counted from 0, and how many there are.
    """

    rank, size = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this process validates, decides and writes."""
        return self.rank == 0

    def share(self, count: int) -> int:
        """Return how many of `count` patches this process draws."""
        return count // self.size + (self.rank < count % self.size)

    def average(self, parameters: Iterable[torch.nn.Parameter], value: float, weight: float) -> float:
        """Average the gradients of all processes in place; return the loss of the whole batch.

        Gradients and loss (`value`) are those of this process's share of the batch; `weight` is how large a part of the
        batch that share is.
        """
        return value

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums of values over all processes."""
        return list(values)

    def from_first(self, value: float) -> float:
        """Return the first process's value."""
        return value

    def any(self, flag: bool) -> bool:
        """Return whether any process's flag is set."""
        return flag


class LaunchedTeam(Team):
    """Processes that a launcher has started, connected to each other; messages are exchanged on `device`."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._device = device

    def average(self, parameters: Iterable[torch.nn.Parameter], value: float, weight: float) -> float:  # noqa: D102
        gradients = [one.grad for one in parameters if one.grad is not None]
        # one message for all of them; float32 keeps the loss to seven digits
        message = torch.cat([*(gradient.reshape(-1) for gradient in gradients), gradients[0].new_tensor([value])])
        message *= weight
        distributed.all_reduce(message)
        *flat, total = torch.split(message, [*(gradient.numel() for gradient in gradients), 1])
        for gradient, mean in zip(gradients, flat, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return float(total.item())

    def total(self, values: Sequence[float]) -> list[float]:  # noqa: D102
        message = torch.tensor(values, dtype=torch.float64, device=self._device)
        distributed.all_reduce(message)
        return [float(value) for value in message.tolist()]

    def from_first(self, value: float) -> float:  # noqa: D102
        message = torch.tensor([value], dtype=torch.float64, device=self._device)
        distributed.broadcast(message, src=0)
        return float(message.item())

    def any(self, flag: bool) -> bool:  # noqa: D102
        message = torch.tensor([float(flag)], device=self._device)
        distributed.all_reduce(message, op=distributed.ReduceOp.MAX)
        return bool(message.item())


def check_team(team: Team, batch_size: int) -> None:
    """Raise `InputError` if there are more processes than patches in a batch."""
    if team.size > batch_size:
        raise InputError(f"A batch of {batch_size} patches cannot be shared by {team.size} processes: enlarge it.")


@contextmanager
def joined(device: str = "auto") -> Iterator[Team]:
    """Join the other processes that ``torchrun`` has started; alone where it was not used.

    Parameters
    ----------
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`. With CUDA, every process of a machine takes the
        graphics card of its own number.

    Raises
    ------
    InputError
        If a machine has fewer graphics cards than processes, or the device cannot train with others.
    ComputeError
        If the processes do not find each other.
    """
    if not all(name in os.environ for name in _SET_BY_THE_LAUNCHER) or os.environ["WORLD_SIZE"] == "1":
        yield Team()
        return
    chosen = torch.device(choose_device(device))
    if chosen.type == "mps":
        raise InputError(
            "Several processes cannot share Apple's graphics: choose --device cpu, or train in one process."
        )
    if chosen.type == "cuda":
        number = int(os.environ["LOCAL_RANK"])
        if number >= torch.cuda.device_count():
            raise InputError(
                f"There are {torch.cuda.device_count()} graphics cards here for more processes: start one a card "
                "(--nproc-per-node), or choose --device cpu."
            )
        torch.cuda.set_device(number)
    try:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise ComputeError(f"The processes of the training do not find each other: {error}") from error
    try:
        yield LaunchedTeam(chosen)
    finally:
        distributed.destroy_process_group()
