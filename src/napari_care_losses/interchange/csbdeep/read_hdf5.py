"""A script: reads the weights of a Keras model from HDF5, see `sandbox.py`. Imports nothing of this package.

The result holds every layer's arrays as ``layer/array``. Its metadata hold Keras' version and the names of all layers
in Keras' order, also of those without weights.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import save_file

MAX_VALUES = 1 << 26
"""Weights in all, at most: a file can claim any number without holding them."""

MAX_LAYERS = 2000
MAX_DEPTH = 8
"""Levels of groups below a layer, at most."""


class RefusedWeights(Exception):
    """A file that is not read, with the reason."""


def read(path: str) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Return the arrays and the notes of a file."""
    with h5py.File(path, "r") as file:
        # a whole model, saved with its optimiser, keeps the weights in a group
        root = _child(file, "model_weights") if "model_weights" in file else file
        if "layer_names" not in root.attrs and "layer_names0" not in root.attrs:
            raise RefusedWeights("it has no list of Keras layers, as Keras 1 and 2 and CSBDeep write it")
        names = _texts(root.attrs, "layer_names")
        if len(names) > MAX_LAYERS or len(set(names)) != len(names):
            raise RefusedWeights(f"it lists {len(names)} layers, some of them twice or more than {MAX_LAYERS}")
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        left = MAX_VALUES
        for name in names:
            for short, data in _datasets(_child(root, name), MAX_DEPTH):
                left -= _checked_size(name, data, left)
                key = f"{name}/{short}"
                if key in arrays:
                    raise RefusedWeights(f"layer {name!r} holds two arrays {short!r}")
                arrays[key] = np.ascontiguousarray(data[()], np.float32)
        version = root.attrs.get("keras_version", "")
        version = version.decode() if isinstance(version, bytes) else str(version)
        return arrays, {"layers": json.dumps(names), "keras_version": version[:40]}


def _child(group: Any, name: str) -> Any:
    """Return a member of a group; a link that leads elsewhere is not followed."""
    link = group.get(name, getlink=True)
    if link is None:
        raise RefusedWeights(f"it lists a layer {name!r} that it does not hold")
    if not isinstance(link, h5py.HardLink):
        raise RefusedWeights(f"{name!r} is a link to somewhere else")
    return group[name]


def _datasets(group: Any, depth: int) -> list[tuple[str, Any]]:
    if isinstance(group, h5py.Dataset):
        raise RefusedWeights("a layer is an array")
    if depth == 0 or len(group) > MAX_LAYERS:
        raise RefusedWeights("its groups are nested too deeply or hold too much")
    found: list[tuple[str, Any]] = []
    for name in group:
        member = _child(group, name)
        found += (
            [(name.partition(":")[0], member)] if isinstance(member, h5py.Dataset) else _datasets(member, depth - 1)
        )
    return found


def _checked_size(layer: str, data: Any, left: int) -> int:
    if data.dtype.kind != "f" or data.is_virtual or data.external:
        raise RefusedWeights(f"layer {layer!r} holds an array that is not of plain numbers")
    size: int = math.prod(data.shape)
    if size > left:
        raise RefusedWeights(f"layer {layer!r} claims an array of shape {data.shape}: too large")
    return size


def _texts(attributes: Any, name: str) -> list[str]:
    """Return a list of names; Keras cuts long ones into numbered pieces."""
    if name in attributes:
        pieces = [attributes[name]]
    else:
        pieces = []
        while f"{name}{len(pieces)}" in attributes:
            pieces.append(attributes[f"{name}{len(pieces)}"])
    values = [value for piece in pieces for value in np.asarray(piece).ravel().tolist()]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def main(source: str, target: str) -> int:
    """Read `source` into `target`; return the exit status."""
    try:
        arrays, notes = read(source)
    except RefusedWeights as refused:
        print(f"{refused}.", file=sys.stderr)
        return 2
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        print(f"it is no HDF5 file, or a damaged one ({type(error).__name__}: {error}).", file=sys.stderr)
        return 2
    save_file(arrays, target, metadata=notes)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
