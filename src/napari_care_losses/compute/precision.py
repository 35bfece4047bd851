"""Number formats that a network computes in, and which a device has."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn import functional

FLOAT32, TF32, BFLOAT16, FLOAT16 = "float32", "tf32", "bfloat16", "float16"
"""Formats in which convolutions multiply; sums of them, and what is no convolution, keep more digits.

float32 has 24 binary digits, tf32 and float16 11, bfloat16 8. float16 ends at 65504, the others at 3e38.
"""

LARGEST_FLOAT16 = 65504.0

_HALVES = {BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}

_FIRST_CARD = 8, 0
"""Compute capability of the first NVIDIA cards with TF32 and bfloat16 (Ampere, 2020)."""


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which convolutions on a device multiply in one of the formats; weights stay as they are.

    float32 is float32 on CUDA, too, where torch by itself takes TF32.

    Examples
    --------
    >>> with computing_in("bfloat16", torch.device("cpu")):
    ...     made = functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 1, 1))
    >>> made.dtype
    torch.bfloat16
    """
    if precision in _HALVES:
        # nothing is cached: every weight is read once, and a recorded network must not refer to copies of them
        return torch.autocast(device.type, dtype=_HALVES[precision], cache_enabled=False)
    if device.type != "cuda":
        return nullcontext()
    cudnn = torch.backends.cudnn
    multiplying: AbstractContextManager[object] = cudnn.flags(
        enabled=cudnn.enabled,
        benchmark=cudnn.benchmark,
        deterministic=cudnn.deterministic,
        allow_tf32=precision == TF32,
    )
    return multiplying


def why_not(precision: str, device: torch.device) -> str:
    """Return why a device cannot compute in a format, as a sentence without its full stop; empty if it can.

    Examples
    --------
    >>> why_not("tf32", torch.device("cpu"))
    "TF32 needs an NVIDIA graphics card of compute capability 8.0 or newer, and this device is 'cpu'"
    >>> why_not("bfloat16", torch.device("cpu"))
    ''
    """
    if precision == FLOAT32:
        return ""
    name = precision.upper() if precision == TF32 else precision
    if precision == TF32 and device.type != "cuda":
        needed = "an NVIDIA graphics card of compute capability 8.0 or newer"
        return f"{name} needs {needed}, and this device is {device.type!r}"
    if device.type == "cuda" and precision != FLOAT16:
        found = torch.cuda.get_device_capability(device)
        if found < _FIRST_CARD:
            return f"{name} needs compute capability 8.0 or newer, and this graphics card has {found[0]}.{found[1]}"
    return "" if precision == TF32 or _is_computed(precision, device) else f"this device does not compute in {name}"


def _is_computed(precision: str, device: torch.device) -> bool:
    """Return whether a small convolution on the device, and its gradient, are computed in a half-width format."""
    weight = torch.ones(1, 1, 3, 3, device=device, requires_grad=True)
    try:
        with warnings.catch_warnings(), torch.enable_grad(), computing_in(precision, device):
            # torch warns, and computes in float32, where it knows that it cannot
            warnings.simplefilter("ignore")
            made = functional.conv2d(torch.ones(1, 1, 8, 8, device=device), weight, padding=1)
        made.float().sum().backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, TypeError, NotImplementedError):
        return False
    return made.dtype == _HALVES[precision]
