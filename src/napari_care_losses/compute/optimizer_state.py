"""The state of a network and its optimizer as tensors, to resume from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


Tensors = dict[str, "Tensor"]

LAST_STEP = 1 << 40
"""Steps, and seconds, of a training at most."""


def pack_tensors(
    weights: Tensors,
    best: Tensors,
    optimizer: dict[str, Any],
    average: Tensors | None = None,
    objective: Tensors | None = None,
) -> Tensors:
    """Return a state's tensors: the weights, the best so far, Adam's moments, averaged weights, the objective's own."""
    parts = {"weights": weights, "best": best, "average": average or {}, "objective": objective or {}}
    tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return tensors | pack_moments(optimizer)


def unpack_tensors(tensors: Tensors, network: Tensors) -> tuple[Tensors, Tensors, dict[int, Tensors], Tensors, Tensors]:
    """Return weights, best weights, moments, averaged weights and objective as `pack_tensors` took them.

    Raises `ValueError` if the best weights or the moments do not fit the parameters of `network`, in its order.
    """
    weights, best, average, objective = (
        named(tensors, f"{part}.") for part in ("weights", "best", "average", "objective")
    )
    moments = unpack_moments(tensors)
    shapes = [value.shape for value in network.values()]
    known = range(len(shapes))
    if {name: value.shape for name, value in best.items()} != dict(zip(network, shapes, strict=True)):
        raise ValueError("its best weights are those of another network")
    for index, held in moments.items():
        expected = {"step": (), "exp_avg": shapes[index], "exp_avg_sq": shapes[index]} if index in known else {}
        if {name: value.shape for name, value in held.items()} != expected:
            raise ValueError("its moments are those of another network")
        if not 0 <= float(held["step"]) <= LAST_STEP:
            raise ValueError("its moments are of no step")
    return weights, best, moments, average, objective


def pack_moments(optimizer: dict[str, Any]) -> Tensors:
    """Return copies of Adam's moments of every parameter, from its state."""
    return {
        f"adam.{index}.{name}": value.detach().to("cpu", copy=True).contiguous()
        for index, moments in optimizer["state"].items()
        for name, value in moments.items()
    }


def unpack_moments(tensors: Tensors) -> dict[int, Tensors]:
    """Return the moments that `pack_moments` took, which may lie among other tensors."""
    moments: dict[int, Tensors] = {}
    for name, value in named(tensors, "adam.").items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = value
    return moments


def named(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
