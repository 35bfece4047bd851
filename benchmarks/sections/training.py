"""Steps a second in training: every loss of ours with three networks, and CSBDeep's own loop."""

from __future__ import annotations

import itertools
import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rows import CSBDEEP, Row, compared, rate, summary

if TYPE_CHECKING:
    from context import Context

TITLE = "Training"

LOSSES = ("mae", "laplace", "fft", "bandpass")
LONGER = {"care": 1, "lite": 4, "live": 8}
"""How many times more steps a turn takes with smaller networks, so that turns take about as long."""
CSBDEEP_KINDS = {"csbdeep mae": False, "csbdeep laplace": True}
"""Whether CSBDeep's network is probabilistic."""
LEAST_OF_MAE = 0.97
"""Steps a second with a loss, of those with the mean absolute error."""


def measure(context: Context) -> dict[str, Any]:
    """Let everyone train a few steps in turns, every other round in the reverse order."""
    settings = context.settings
    low, high = context.training_pairs()
    taken: dict[str, list[float]] = {}
    steps = {preset: longer * settings.training_steps for preset, longer in LONGER.items()}
    with ExitStack() as stack:
        ours = stack.enter_context(context.worker("ours"))
        turns: dict[str, Any] = {}
        for preset, loss in itertools.product(LONGER, LOSSES):
            named = {"preset": preset, "loss": loss}
            ours.ask("open_training", **named, low=low, high=high)
            turns[f"{preset} {loss}"] = lambda named=named: ours.ask(
                "train_steps", **named, steps=steps[named["preset"]]
            )
        if context.has("csbdeep"):
            csbdeep = stack.enter_context(context.worker("csbdeep"))
            for name, kind in CSBDEEP_KINDS.items():
                csbdeep.ask("open_training", probabilistic=kind, low=low, high=high)
                turns[name] = lambda kind=kind: csbdeep.ask(
                    "train_steps", probabilistic=kind, steps=settings.training_steps
                )
        # CSBDeep's turn comes beside ours of the same kind.
        first = ("care mae", "csbdeep mae", "care laplace", "csbdeep laplace")
        order = [*(name for name in first if name in turns), *(name for name in turns if name not in first)]
        for turn in range(settings.training_rounds + 1):
            for name in order if turn % 2 else reversed(order):
                seconds = turns[name]()["seconds"]
                if turn > 0:
                    taken.setdefault(name, []).append(seconds)
    return {"steps": steps, "times": {name: summary(values) for name, values in taken.items()}}


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    times, steps, lines = results["times"], results["steps"], []

    def speed(name: str) -> str:
        return rate(times[name], steps.get(name.split()[0], steps["care"]), "steps/s")

    for loss in LOSSES:
        peer = "csbdeep laplace" if loss == "laplace" else "csbdeep mae"
        if peer in times:
            kind = "`probabilistic=True`" if loss == "laplace" else "its default"
            what = f"training care with {loss}; CSBDeep {kind}"
            shown = {"least": 1.0, "profile": f"training care {loss}"}
            ours = f"care {loss}"
            lines.append(compared(what, speed(ours), f"{CSBDEEP} {speed(peer)}", times[peer], times[ours], **shown))
    for preset, loss in itertools.product(LONGER, LOSSES[1:]):
        lines.append(_of_mae(preset, loss, times, speed(f"{preset} {loss}"), speed(f"{preset} mae")))
    for preset in list(LONGER)[1:]:
        ratio, median = (
            times["care mae"][which] / steps["care"] / (times[f"{preset} mae"][which] / steps[preset])
            for which in ("best", "median")
        )
        what, ours = f"training {preset} with mae, against care", speed(f"{preset} mae")
        lines.append(Row(what=what, ours=ours, peer=speed("care mae"), ratio=ratio, median_ratio=median))
    return lines


def _of_mae(preset: str, loss: str, times: dict[str, Any], ours: str, base: str) -> Row:
    """Compare a loss with the mean absolute error: the median of the rounds' ratios counts, as other load hits both."""
    mine, plain = times[f"{preset} {loss}"]["all"], times[f"{preset} mae"]["all"]
    ratio = statistics.median(base / own for base, own in zip(plain, mine, strict=True))
    return Row(
        what=f"training {preset} with {loss}, against mae; ratio: median over the rounds",
        ours=ours,
        peer=base,
        ratio=ratio,
        target=f"at least {LEAST_OF_MAE:g}",
        reached=ratio >= LEAST_OF_MAE,
        profile=f"training {preset} {loss}",
    )


def notes(results: dict[str, Any]) -> str:
    """Return what the table cannot say."""
    return (
        "Batches of 16 patches of 64 px; ours draws every patch anew within its time, CSBDeep takes them from memory. "
        "Validation is left out of both. `python benchmarks/loss_cost.py` compares the losses by the processor's time, "
        "which other work on the machine changes little.\n"
    )
