"""Time to quality: a quarter of the time CSBDeep took, and where our networks stand then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rows import CSBDEEP, Row

from napari_care_losses.training.pairs import Pair, split_pairs
from napari_care_losses.training.parameters import RECIPES

if TYPE_CHECKING:
    from pathlib import Path

    from context import Context

TITLE = "Time to quality"

ALLOWED, SHARE = 0.5, 0.25
"""Parts of CSBDeep's seconds in which ours must reach its quality, and that they are given."""
SEED = 0
PATCH = 64
RUNS: dict[str, dict[str, Any]] = {
    "lite": {"preset": "lite", "steps_per_epoch": 100, **RECIPES["robust"]},
    "live": {"preset": "live", "steps_per_epoch": 200, **RECIPES["robust"]},
    "care": {"preset": "care", "steps_per_epoch": 25, **RECIPES["robust"]},
}
"""The settings of ours that are not defaults."""
LOSS = "fft"


def model_file(context: Context, name: str) -> Path:
    """Return where the model of one of `RUNS` is kept."""
    return context.work / f"quality-{name}.safetensors"


def measure(context: Context) -> dict[str, Any]:
    """Train CSBDeep, then ours for a part of its time, and score both on the same validation images."""
    low, high = context.quality_pairs()
    lows, highs = np.load(low, mmap_mode="r"), np.load(high, mmap_mode="r")
    pairs = [Pair(*images, f"pair {i}") for i, images in enumerate(zip(lows, highs, strict=True))]
    shares = split_pairs(pairs, PATCH, np.random.default_rng(SEED))
    validation = [i for i, share in enumerate(shares) if share.validates]
    training = [i for i, share in enumerate(shares) if not share.validates]
    np.save(context.work / "truth.npy", highs[validation])
    results: dict[str, Any] = {"real": context.pairs is not None, "pairs": [len(training), len(validation)]}
    with context.worker("ours") as ours:
        engines = ours.ask("engines")["engines"]
        results["input"] = _scores_of(ours, context, lows[validation])
        seconds = 60.0
        if context.has("csbdeep"):
            with context.worker("csbdeep") as csbdeep:
                results["csbdeep"] = csbdeep.ask(
                    "train_to_quality",
                    low=low,
                    high=high,
                    training=training,
                    validation=validation,
                    steps=context.settings.quality_steps,
                    out=context.work / "restored.npy",
                )
            results["csbdeep"] |= _scores_of(ours, context, np.load(context.work / "restored.npy"))
            seconds = results["csbdeep"]["seconds"]
    for name, settings in RUNS.items():
        with context.worker("ours") as ours:
            results[name] = ours.ask(
                "train_to_quality",
                low=low,
                high=high,
                validation=validation,
                settings={**settings, "seed": SEED, "patch_size": PATCH},
                loss=LOSS,
                seconds=SHARE * seconds,
                engine="openvino" if "openvino" in engines else "torch",
                out=model_file(context, name),
            )
    return results


def _scores_of(ours: Any, context: Context, stack: Any) -> dict[str, float]:
    path = context.work / "scored.npy"
    np.save(path, stack)
    return ours.ask("scores_of", restored=path, high=context.work / "truth.npy")


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    theirs = results.get("csbdeep")
    lines = []
    for name in RUNS:
        ours = results[name]
        last = ours["course"][-1]
        shown = f"{_quality(last)} after {ours['seconds']:.0f} s, {ours['steps']} steps"
        what = f"training {name} with {LOSS} to the quality of CSBDeep's training, share of its time"
        if theirs is None:
            lines.append(Row(what=what, ours=shown))
            continue
        reached = reached_after(ours["course"], theirs)
        if reached is not None:
            shown += f"; CSBDeep's figure after {reached:.0f} s"
        lines.append(
            Row(
                what=what,
                ours=shown,
                peer=f"{CSBDEEP} {_quality(theirs)} after {theirs['seconds']:.0f} s, {theirs['steps']} steps",
                ratio=None if reached is None else reached / theirs["seconds"],
                target=f"at most {ALLOWED:g}",
                reached=reached is not None and reached <= ALLOWED * theirs["seconds"],
                profile=f"training {name} {LOSS}",
            )
        )
    return lines


def reached_after(course: list[dict[str, float]], goal: dict[str, float]) -> float | None:
    """Return the seconds of training after which both scores were at least the goal's; None if never."""
    for point in course:
        if point["psnr"] >= goal["psnr"] and point["ssim"] >= goal["ssim"]:
            return point["seconds"]
    return None


def _quality(scores: dict[str, float]) -> str:
    return f"{scores['psnr']:.2f} dB / {scores['ssim']:.3f}"


def notes(results: dict[str, Any]) -> str:
    """Return what was trained on, and the course of every training."""
    images = "real pairs (W2S mitochondria)" if results["real"] else "pairs of simulated actin (1 ms and 100 ms)"
    training, validation = results["pairs"]
    text = (
        f"Trained on {training} {images}, scored on the {validation} validation images of the same split (PSNR and "
        f"SSIM, aligned as CARE does; the input itself scores {_quality(results['input'])}). CSBDeep with "
        "`probabilistic=True`, otherwise its defaults; ours with the robust recipe, validation images restored by the "
        "best weights so far, outside of the clock.\n\n| | seconds | steps | PSNR / SSIM |\n|---|---|---|---|\n"
    )
    if "csbdeep" in results:
        theirs = results["csbdeep"]
        text += f"| CSBDeep | {theirs['seconds']:.0f} | {theirs['steps']} | {_quality(theirs)} |\n"
    for name in RUNS:
        course = results[name]["course"]
        for point in course[:-1][:: max(1, len(course) // 5)] + course[-1:]:
            text += f"| {name} | {point['seconds']:.0f} | {point['steps']} | {_quality(point)} |\n"
    return text
