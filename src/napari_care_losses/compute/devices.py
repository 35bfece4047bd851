"""Which device computes, and with how many CPU cores; torch is asked only where it may know of a graphics card."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from napari_care_losses.compute.cores import cpu_cores
from napari_care_losses.errors import InputError

DRIVERS = {"linux": ("libcuda.so.1",), "win32": ("nvcuda.dll",)}
"""Libraries of NVIDIA's driver by system, without which torch finds no card."""

_spares_a_core = False


def choose_device(name: str = "auto") -> str:
    """Return the device called `name`: "cpu", "cuda" or "mps"; "auto" takes CUDA, then MPS, then the CPU.

    Torch is loaded only if it may find a graphics card, see `may_have_graphics`.

    Raises
    ------
    InputError
        If the name is unknown or this machine has no such device.
    """
    if name == "cpu":
        return name
    available = {**_graphics(), "cpu": True}
    if name == "auto":
        return next(device for device, is_there in available.items() if is_there)
    if not available.get(name, False):
        usable = ", ".join(device for device in ("cpu", "cuda", "mps") if available[device])
        raise InputError(f"There is no device {name!r} here; choose auto or one of: {usable}.")
    return name


def _graphics() -> dict[str, bool]:
    if not may_have_graphics():
        return {"cuda": False, "mps": False}
    import torch

    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


@lru_cache(maxsize=1)
def may_have_graphics() -> bool:
    """Return whether torch may find a graphics card; False if it certainly does not, known without loading it.

    It finds none if it was built without CUDA and ROCm, or if NVIDIA's driver is missing; on macOS it must be asked.
    """
    if sys.platform not in DRIVERS:
        return True
    spec = find_spec("torch")
    version = Path(spec.origin or "").with_name("version.py") if spec is not None else Path()
    built = built_for(version.read_text("utf-8") if version.is_file() else "")
    return "hip" in built or ("cuda" in built and any(map(_can_load, DRIVERS[sys.platform])))


def built_for(version: str) -> set[str]:
    r"""Return for which of CUDA and ROCm ("hip") torch was built, by the text of its ``version.py``.

    Those of which the text does not say that they are missing.

    Examples
    --------
    >>> built_for("cuda: Optional[str] = None\nhip: Optional[str] = None"), built_for("cuda = '12.8'\nhip = None")
    (set(), {'cuda'})
    """
    return {name for name in ("cuda", "hip") if not re.search(rf"^{name}\b[^=\n]*= *None\s*$", version, re.MULTILINE)}


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def compute_threads() -> int:
    """Return with how many threads networks run on the CPU: as many as torch has, known without loading it."""
    torch: Any = sys.modules.get("torch")
    # while it is being loaded it has no such function yet
    count = getattr(torch, "get_num_threads", _threads_of_torch)()
    return min(count, cpu_cores() - 1) if _spares_a_core and cpu_cores() > 2 else int(count)


@lru_cache(maxsize=1)
def _threads_of_torch() -> int:
    """Return how many threads torch will begin with: as OpenMP and MKL are told, else one for every physical core."""
    for name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        # OpenMP takes a list, one number for every level
        told = os.environ.get(name, "").split(",")[0].strip()
        if told.isdecimal() and int(told) > 0:
            return int(told)
    return min(psutil.cpu_count(logical=False) or cpu_cores(), cpu_cores())


def leave_a_core() -> None:
    """Let networks use all CPU cores but one where there are more than two, so that a viewer beside it stays fluid."""
    global _spares_a_core
    _spares_a_core = True
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads") and torch.get_num_threads() != compute_threads():
        torch.set_num_threads(compute_threads())
