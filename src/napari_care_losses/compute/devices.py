"""Torch devices, and how many CPU cores torch uses."""

from __future__ import annotations

import torch

from napari_care_losses.compute.cores import cpu_cores
from napari_care_losses.errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Raises
    ------
    InputError
        If the name is unknown or this machine has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available.get(name, False):
        usable = ", ".join(device for device, is_there in available.items() if is_there)
        raise InputError(f"There is no device {name!r} here; choose auto or one of: {usable}.")
    return torch.device(name)


def leave_a_core() -> None:
    """Let torch use all CPU cores but one where there are more than two, so that a viewer beside it stays fluid."""
    if cpu_cores() > 2:
        torch.set_num_threads(min(torch.get_num_threads(), cpu_cores() - 1))
