"""Score the bundled models on images they were not trained on.

    python benchmarks/bundled_models.py FOLDER

FOLDER holds ``w2s/`` (frames 60-68 are restored). Simulated fields of new seeds stand beside them. Total variation and
non-local means have the strength that is best on the very images they are judged on. Scores lie in
``build/models/judged.json`` and are not taken again while a model is the same. Tables go into ``docs/benchmarks.md``; a
picture of the worst simulated field of each model goes to ``docs/images/models``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from page import write_part

from napari_care_losses.comparison.baselines import BASELINES, restore_with
from napari_care_losses.comparison.report.panels import save_panels
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.spectra import agreement
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.library import LibraryEntry, list_models
from napari_care_losses.models.model import Model, load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

W2S_FRAMES = (60, 69)
FIELDS, SEED = 9, 500
STEPS = 2.0 ** np.linspace(-1, 1, 7)
"""Strengths that a baseline is tried at, times its default."""
TUNED_ON = 512
"""Pixels a side of the middle of an image that baselines are tuned on."""
CROP = 160
SCORES = Path("build/models/judged.json")
PICTURES = Path("docs/images/models")

Image = NDArray[Any]
Scores = dict[str, float]


@dataclass(frozen=True)
class TestSet:
    """Pairs to judge the models on."""

    name: str
    structure: str

    def pairs(self, folder: Path) -> list[tuple[Image, Image]]:
        """Return low and high images."""
        if self.name == "simulated":
            low, high = simulate_pairs(self.structure, FIELDS, seed=SEED)
        else:
            stacks = (
                read_stack(folder / "w2s" / f"{self.structure}_{w}.tif").select(*W2S_FRAMES) for w in ("low", "high")
            )
            low, high = ([frames[i] for i in range(len(frames))] for frames in stacks)
        return list(zip(low, high, strict=True))


TESTS = [
    *(TestSet("W2S", structure) for structure in ("actin", "mitochondria")),
    *(TestSet("simulated", structure) for structure in ("actin", "mitochondria", "dendra")),
]


def main() -> None:
    """Score what has no scores yet; write the tables and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    found: dict[str, list[Scores]] = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
    SCORES.parent.mkdir(parents=True, exist_ok=True)
    for test in TESTS:
        for name, key, method in _methods(test):
            if key not in found:
                restored = method(test.pairs(options.folder))
                found[key] = [_scored(*images) for images in restored]
                SCORES.write_text(json.dumps(found))
                print(test.name, test.structure, name, _mean(found[key]), flush=True)
    results = {test: {name: found[key] for name, key, _ in _methods(test)} for test in TESTS}
    write_part("bundled_models", tables(results))
    simulated = {test: rows for test, rows in results.items() if test.name == "simulated"}
    for entry in _bundled():
        gains = {test: _gains(rows, entry.name).min() for test, rows in simulated.items()}
        test = min(gains, key=gains.__getitem__)
        _save_picture(entry, test, simulated[test])


Method = Callable[[list[tuple[Image, Image]]], Iterator[tuple[Image, Image]]]


def _methods(test: TestSet) -> Iterator[tuple[str, str, Method]]:
    """Yield name, key of the scores, and what restores pairs."""
    label = f"{test.name} {test.structure}"
    yield "input", f"{label} input", iter
    for baseline in BASELINES:
        yield baseline, f"{label} {baseline}", lambda pairs, name=baseline: _best(name, pairs)
    for entry in _bundled():
        model = load_model(entry.path)
        yield entry.name, f"{label} {entry.name} {model.digest()}", lambda pairs, model=model: _restored(model, pairs)


def _bundled() -> list[LibraryEntry]:
    return [entry for entry in list_models() if entry.bundled]


def _restored(model: Model, pairs: list[tuple[Image, Image]]) -> Iterator[tuple[Image, Image]]:
    for low, high in pairs:
        yield restore(low, model), high


def _best(name: str, pairs: list[tuple[Image, Image]]) -> Iterator[tuple[Image, Image]]:
    """Restore by a baseline at the strength that has the best PSNR on these images."""

    def mean_psnr(strength: float) -> float:
        middles = [[_middle(image) for image in pair] for pair in pairs[:: max(1, len(pairs) // 4)]]
        return float(
            np.mean([score(restore_with(name, low, strength=strength), high)["psnr"] for low, high in middles])
        )

    strength = max((float(BASELINES[name].strength * step) for step in STEPS), key=mean_psnr)
    for low, high in pairs:
        yield restore_with(name, low, strength=strength), high


def _middle(image: Image) -> Image:
    top, left = (max(0, (size - TUNED_ON) // 2) for size in image.shape)
    return image[top : top + TUNED_ON, left : left + TUNED_ON]


def _scored(image: Image, truth: Image) -> Scores:
    return {**score(image, truth), **agreement(image, truth)}


def _mean(rows: list[Scores]) -> Scores:
    return {metric: round(float(np.mean([row[metric] for row in rows])), 4) for metric in ("psnr", "ssim", "frc")}


def tables(results: dict[TestSet, dict[str, list[Scores]]]) -> str:
    """Return a table for every set of images, with the image on which a model gains least over total variation."""
    lines: list[str] = []
    for test, rows in results.items():
        several = len(rows["tv"]) > 1
        lines += ["", f"### {_titled(test)}", "", f"| | PSNR (dB) | SSIM | FRC |{' worst image |' if several else ''}"]
        lines += ["|---|---|---|---|" + ("---|" if several else "")]
        for name, scores in rows.items():
            mean = _mean(scores)
            line = f"| {_row_name(name)} | {mean['psnr']:.2f} | {mean['ssim']:.3f} | {mean['frc']:.3f} |"
            if several and name != "input" and name not in BASELINES:
                worst = _worst(rows, name)
                gain = scores[worst]["psnr"] - rows["tv"][worst]["psnr"]
                line += f" number {worst}: {scores[worst]['psnr']:.2f}, {gain:+.2f} |"
            elif several:
                line += " |"
            lines.append(line)
    return "\n".join(lines)


def _worst(rows: dict[str, list[Scores]], name: str) -> int:
    """Return the image on which a model gains least over total variation."""
    return int(_gains(rows, name).argmin())


def _gains(rows: dict[str, list[Scores]], name: str) -> NDArray[Any]:
    """Return the gain in PSNR over total variation, by image."""
    return np.array([ours["psnr"] - tv["psnr"] for ours, tv in zip(rows[name], rows["tv"], strict=True)])


def _titled(test: TestSet) -> str:
    if test.name == "simulated":
        return f"Simulated {test.structure}, {FIELDS} fields"
    return f"W2S {test.structure}, frames {W2S_FRAMES[0]}-{W2S_FRAMES[1] - 1}"


def _row_name(name: str) -> str:
    return BASELINES[name].title if name in BASELINES else name


def _save_picture(entry: LibraryEntry, test: TestSet, rows: dict[str, list[Scores]]) -> None:
    """Make the picture of the window in a field where the restoration is furthest from the truth."""
    worst = _worst(rows, entry.name)
    low, high = test.pairs(Path())[worst]
    restored = restore(low, load_model(entry.path))
    gain, offset = np.polyfit(restored.ravel().astype(np.float64), high.ravel().astype(np.float64), 1)
    wrong = np.abs(gain * restored + offset - high)
    sums = wrong.cumsum(axis=0).cumsum(axis=1)
    windows = sums[CROP:, CROP:] - sums[:-CROP, CROP:] - sums[CROP:, :-CROP] + sums[:-CROP, :-CROP]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    window = (slice(int(top), int(top) + CROP), slice(int(left), int(left) + CROP))
    psnr = rows[entry.name][worst]["psnr"]
    panels = {"input": low[window], f"restored\n{psnr:.2f} dB": restored[window], "ground truth": high[window]}
    PICTURES.mkdir(parents=True, exist_ok=True)
    save_panels(PICTURES / f"{entry.name}.png", panels, zoom=2)


if __name__ == "__main__":
    main()
