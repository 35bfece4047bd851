"""A script: reads a PyTorch state dict, see `sandbox.py`. Imports nothing of this package.

Torch's restricted unpickler makes tensors and plain containers, and calls no function that a file names.
"""

from __future__ import annotations

import json
import pickle
import sys
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from torch import Tensor

MAX_VALUES = 1 << 26
"""Weights in all, at most: a view can claim any number without holding them."""


class RefusedStateDict(Exception):
    """A file that is not read, with the reason."""


def read(path: str) -> dict[str, Tensor]:
    """Return the tensors of a state dict."""
    found: Any = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise RefusedStateDict("it is no state dict of names and tensors")
    left = MAX_VALUES
    for name, tensor in found.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or not _is_number(tensor):
            raise RefusedStateDict(f"{name!r} is no plain tensor of float32 numbers")
        left -= tensor.numel()
        if left < 0:
            raise RefusedStateDict(f"{name!r} claims a tensor of shape {tuple(tensor.shape)}: too large")
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in found.items()}


def _is_number(tensor: Tensor) -> bool:
    # batch normalisations count their batches
    return tensor.dtype == torch.float32 or (tensor.dtype == torch.int64 and tensor.ndim == 0)


def main(source: str, target: str) -> int:
    """Read `source` into `target`; return the exit status."""
    try:
        tensors = read(source)
    except RefusedStateDict as refused:
        print(f"{refused}.", file=sys.stderr)
        return 2
    except pickle.UnpicklingError:
        print("it is damaged, or holds more than weights; what else it holds is not loaded.", file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes torch raise
        print(f"it is damaged ({type(error).__name__}: {str(error)[:200]}).", file=sys.stderr)
        return 2
    save_file(tensors, target, metadata={"order": json.dumps(list(tensors))})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
