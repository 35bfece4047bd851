"""Where the time goes: the costliest layers of every network and engine, the costliest operations of training."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from sections.training import LONGER, LOSSES

if TYPE_CHECKING:
    from context import Context
    from rows import Row

TITLE = "Profiles"

TRAINING_STEPS = 2


def measure(context: Context) -> dict[str, Any]:
    """Profile all that a target may be missed in."""
    image = context.image(context.settings.profiled)
    low, high = context.training_pairs()
    found: dict[str, Any] = {}
    with context.worker("ours") as ours:
        for engine in ours.ask("engines")["engines"]:
            for preset in LONGER:
                model = context.random_model(preset)
                found[f"{preset} {engine}"] = ours.ask("layers", model=model, engine=engine, image=image)["layers"]
        for preset, loss in itertools.product(LONGER, LOSSES):
            named = {"preset": preset, "loss": loss}
            answer = ours.ask("training_operations", **named, low=low, high=high, steps=TRAINING_STEPS)
            found[f"training {preset} {loss}"] = answer["layers"]
    return {"width": context.settings.profiled, "profiles": found}


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return no line: profiles explain others'."""
    return []


def notes(results: dict[str, Any]) -> str:
    """Return nothing: the report shows the profiles of missed targets."""
    return ""


def table(layers: list[dict[str, Any]]) -> str:
    """Return a profile as a Markdown table."""
    text = "| layer, with channels x height x width of what it gives | kernel | ms | share |\n|---|---|---|---|\n"
    for layer in layers:
        spent = f"{layer['milliseconds']:.1f} | {layer['share']:.0%}"
        text += f"| `{layer['name']}` | `{layer['kernel']}` | {spent} |\n"
    return text
