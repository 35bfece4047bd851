"""Ours beside CSBDeep on real pairs, with equal training time for both.

    python benchmarks/against_csbdeep.py FOLDER [--minutes 7 30] [--only CSBDeep "deep, bandpass"]

FOLDER holds ``mitochondria_low.tif``, ``mitochondria_high.tif`` and the same of actin (W2S). Everybody trains on frames
0-59 of one structure, split alike 4:1, for the same number of minutes, and restores frames 60-68 of both: MM, MA, AA,
AM. CSBDeep trains with ``probabilistic=True`` and otherwise its defaults, on the paper's 800 patches an image. Total
variation stands beside them with its strength picked on the very test images. Ours are commands of the command line;
CSBDeep is installed in an environment of its own where it is missing (``peers.sh``).
Networks and scores are kept in ``build/quality``, and what is there is not done again; the table is printed at the end
and written into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from context import Context
from page import write_part
from settings import Settings

from napari_care_losses.comparison.baselines import BASELINES, restore_with
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.spectra import agreement
from napari_care_losses.training.pairs import Pair, split_pairs

STRUCTURES = ("mitochondria", "actin")
TRAINING, TEST = (0, 60), (60, 69)
SEED, PATCH = 0, 64
FOLDER = Path("build/quality")
ROBUST = ["--recipe", "robust", "--steps-per-epoch", "250"]
OURS = {
    "deep, bandpass": (["--loss", "bandpass", "--preset", "deep", *ROBUST], []),
    "lite, bandpass": (["--loss", "bandpass", "--preset", "lite", *ROBUST], []),
    "lite, FFT, low band tied": (["--loss", "fft", "--preset", "lite", *ROBUST], ["--low-band", "tied"]),
}
"""Options of ``train`` and of ``restore`` by name."""
FLIPS = "--average-flips"

Rows = dict[str, dict[str, float]]


def main() -> None:
    """Train, restore and score what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[7.0, 30.0])
    parser.add_argument("--only", nargs="+", choices=("CSBDeep", *OURS), default=("CSBDeep", *OURS))
    parser.add_argument("--environments", type=Path, default=Path("build/bench/env"))
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    peers = Path(__file__).parent / "peers.sh"
    subprocess.run(["bash", str(peers), str(options.environments), sys.executable], check=True)
    path = FOLDER / "scores.json"
    found: dict[str, Rows] = json.loads(path.read_text()) if path.is_file() else {}

    def note(name: str, rows: Rows) -> None:
        found.setdefault(name, {}).update(rows)
        path.write_text(json.dumps(found, indent=1))
        print(name, rows, flush=True)

    if "input" not in found:
        note("input", _scored(options.folder, lambda low: low))
        note("total variation, strength picked on the test images", _best_tv(options.folder))
    for minutes in options.minutes:
        for trained_on in STRUCTURES:
            for name in options.only:
                label = f"{name}, {minutes:g} min"
                if not any(key.startswith(trained_on) for key in found.get(label, {})):
                    train = _csbdeep if name == "CSBDeep" else _ours
                    note(label, train(name, trained_on, minutes, options))
    text = table(found)
    write_part("against_csbdeep", text)
    print(text)


def table(found: dict[str, Rows]) -> str:
    """Return all scores as a Markdown table."""
    short = {"mitochondria": "M", "actin": "A"}
    pairs = [("mitochondria", "mitochondria"), ("mitochondria", "actin"), ("actin", "actin"), ("actin", "mitochondria")]
    lines = [
        "| | " + " | ".join(short[a] + short[b] for a, b in pairs) + " | steps |",
        "|---|" + "---|" * (len(pairs) + 1),
    ]
    for name, rows in found.items():
        cells = []
        for trained_on, tested_on in pairs:
            row = rows.get(f"{trained_on} -> {tested_on}") or rows.get(f"-> {tested_on}")
            cells.append("" if row is None else f"{row['psnr']:.2f} / {row['ssim']:.3f} / {row['frc']:.3f}")
        steps = ", ".join(dict.fromkeys(f"{row['steps']:.0f}" for row in rows.values() if "steps" in row))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {steps} |")
    return "\n".join(lines)


def _ours(name: str, trained_on: str, minutes: float, options: argparse.Namespace) -> Rows:
    """Train by the command line and score."""
    from napari_care_losses.models.model import read_card

    training, restoring = OURS[name]
    model = FOLDER / f"{name.replace(' ', '-').replace(',', '')}-{trained_on}-{minutes:g}.safetensors"
    low, high = (options.folder / f"{trained_on}_{which}.tif" for which in ("low", "high"))
    chosen = ["--frames", f"{TRAINING[0]}:{TRAINING[1]}", "--minutes", str(minutes), "--seed", str(SEED)]
    _command("train", "--low", low, "--high", high, *chosen, *training, "--out", model, "--resume")
    steps = read_card(model).training["steps"]
    restored = FOLDER / "restored.tif"

    def restore(structure: str) -> Any:
        test = ["--frames", f"{TEST[0]}:{TEST[1]}", FLIPS, *restoring]
        _command("restore", model, options.folder / f"{structure}_low.tif", "--out", restored, *test)
        return tifffile.imread(restored)

    rows = {}
    for tested_on in STRUCTURES:
        _, truth = _stacks(options.folder, tested_on, TEST)
        rows[f"{trained_on} -> {tested_on}"] = {**_mean(restore(tested_on), truth), "steps": steps}
    return rows


def _csbdeep(_: str, trained_on: str, minutes: float, options: argparse.Namespace) -> Rows:
    """Train CSBDeep in its environment and score."""
    context = Context(Settings(), FOLDER, options.environments, options.folder)
    files: dict[str, Path] = {}
    for structure, frames in ((trained_on, TRAINING), *((structure, TEST) for structure in STRUCTURES)):
        for which, stack in zip(("low", "high"), _stacks(options.folder, structure, frames), strict=True):
            files[f"{structure} {which} {frames[0]}"] = path = context.work / f"{structure}-{which}-{frames[0]}.npy"
            np.save(path, stack)
    low, high = files[f"{trained_on} low 0"], files[f"{trained_on} high 0"]
    pairs = [Pair(*images, "pair") for images in zip(np.load(low), np.load(high), strict=True)]
    shares = split_pairs(pairs, PATCH, np.random.default_rng(SEED))
    outs = [context.work / f"restored-{structure}.npy" for structure in STRUCTURES]
    with context.worker("csbdeep") as csbdeep:
        answer = csbdeep.ask(
            "train_for",
            low=low,
            high=high,
            training=[i for i, share in enumerate(shares) if not share.validates],
            validation=[i for i, share in enumerate(shares) if share.validates],
            seconds=60 * minutes,
            inputs=[files[f"{structure} low 60"] for structure in STRUCTURES],
            outs=outs,
        )
    rows = {}
    for tested_on, out in zip(STRUCTURES, outs, strict=True):
        truth = _stacks(options.folder, tested_on, TEST)[1]
        rows[f"{trained_on} -> {tested_on}"] = {**_mean(np.load(out), truth), "steps": answer["steps"]}
    return rows


def _best_tv(folder: Path) -> Rows:
    """Return total variation's scores at the strength that is best on the test images themselves."""
    rows = {}
    for structure in STRUCTURES:
        low, truth = _stacks(folder, structure, TEST)
        tried = [
            _mean([restore_with("tv", frame, strength=float(strength)) for frame in low], truth)
            for strength in BASELINES["tv"].strength * 2.0 ** np.linspace(-1.5, 1.5, 13)
        ]
        rows[f"-> {structure}"] = max(tried, key=lambda scores: scores["psnr"])
    return rows


def _scored(folder: Path, restore: Any) -> Rows:
    rows = {}
    for structure in STRUCTURES:
        low, truth = _stacks(folder, structure, TEST)
        rows[f"-> {structure}"] = _mean(restore(low), truth)
    return rows


def _mean(images: Any, truths: Any) -> dict[str, float]:
    rows = [{**score(image, truth), **agreement(image, truth)} for image, truth in zip(images, truths, strict=True)]
    return {metric: float(np.mean([row[metric] for row in rows])) for metric in rows[0]}


def _stacks(folder: Path, structure: str, frames: tuple[int, int]) -> tuple[Any, Any]:
    low, high = (tifffile.imread(folder / f"{structure}_{w}.tif", key=range(*frames)) for w in ("low", "high"))
    return low, high


def _command(*arguments: Any) -> None:
    subprocess.run([sys.executable, "-m", "napari_care_losses.cli.main", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
