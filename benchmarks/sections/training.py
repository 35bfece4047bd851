"""Steps a second in training: every loss of ours, and CSBDeep's own loop."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rows import CSBDEEP, Row, compared, rate, summary

if TYPE_CHECKING:
    from context import Context

TITLE = "Training"

LOSSES = ("mae", "laplace", "fft", "bandpass")
CSBDEEP_KINDS = {"csbdeep mae": False, "csbdeep laplace": True}
"""Whether CSBDeep's network is probabilistic."""


def measure(context: Context) -> dict[str, Any]:
    """Let everyone train a few steps in turns."""
    settings = context.settings
    low, high = context.training_pairs()
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(context.worker("ours"))
        turns: dict[str, Any] = {}
        for loss in LOSSES:
            ours.ask("open_training", loss=loss, low=low, high=high)
            turns[loss] = lambda loss=loss: ours.ask("train_steps", loss=loss, steps=settings.training_steps)
        if context.has("csbdeep"):
            csbdeep = stack.enter_context(context.worker("csbdeep"))
            for name, kind in CSBDEEP_KINDS.items():
                csbdeep.ask("open_training", probabilistic=kind, low=low, high=high)
                turns[name] = lambda kind=kind: csbdeep.ask(
                    "train_steps", probabilistic=kind, steps=settings.training_steps
                )
        # CSBDeep's turn comes right after ours of the same kind.
        order = [name for name in ("mae", "csbdeep mae", "laplace", "csbdeep laplace", *LOSSES[2:]) if name in turns]
        for turn in range(settings.training_rounds + 1):
            for name in order:
                seconds = turns[name]()["seconds"]
                if turn > 0:
                    taken.setdefault(name, []).append(seconds)
    return {"steps": settings.training_steps, "times": {name: summary(values) for name, values in taken.items()}}


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    times, lines = results["times"], []

    def speed(name: str) -> str:
        return rate(times[name], results["steps"], "steps/s")

    for loss in LOSSES:
        peer = "csbdeep laplace" if loss == "laplace" else "csbdeep mae"
        if peer in times:
            kind = "`probabilistic=True`" if loss == "laplace" else "its default"
            what = f"training care with {loss}; CSBDeep {kind}"
            shown = {"least": 1.0, "profile": f"training {loss}"}
            lines.append(compared(what, speed(loss), f"{CSBDEEP} {speed(peer)}", times[peer], times[loss], **shown))
    for loss in LOSSES[1:]:
        what = f"training care with {loss}, against mae"
        shown = {"least": 0.95, "profile": f"training {loss}"}
        lines.append(compared(what, speed(loss), speed("mae"), times["mae"], times[loss], **shown))
    return lines


def notes(results: dict[str, Any]) -> str:
    """Return what the table cannot say."""
    return (
        "Batches of 16 patches of 64 px; ours draws every patch anew within its time, CSBDeep takes them from memory. "
        "Validation is left out of both.\n"
    )
