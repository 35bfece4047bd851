"""Training without clean images beside CAREamics: what each reaches in equal time.

    bash benchmarks/peers.sh build/bench/env .venv/bin/python
    python benchmarks/targets_beside_careamics.py --folder FOLDER [--structure mitochondria] [--minutes 7]

Without FOLDER on simulated images, two shots of each; otherwise as ``benchmarks/targets.py``. A row is
ours:TARGET:LOSS or careamics:METHOD (n2v, n2v2, n2n). Rows train for the minutes, one after the other, in the same
threads: ours with network ``lite`` and the robust recipe, CAREamics with its defaults; 16 patches of 64 x 64 px a step.
Prints a Markdown table: PSNR and SSIM on the fields that are not trained on, the steps taken, and those steps relative
to the first row of CAREamics.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from targets import TRAINING, Fields, recorded, simulated
from workers.wire import Worker

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = ("ours:clean:fft", "ours:self:fft", "ours:self:mae", "careamics:n2v", "careamics:n2v2")
WORKER = Path(__file__).parent / "workers" / "careamics_targets.py"


class Trained(NamedTuple):
    """What a row reached."""

    restored: NDArray[np.float32]
    seconds: float
    steps: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--structure", default="mitochondria")
    parser.add_argument("--rows", nargs="*", default=ROWS)
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--environments", type=Path, default=Path("build/bench/env"))
    options = parser.parse_args()
    fields = (
        simulated(options.structure, "camera", 10.0)
        if options.folder is None
        else recorded(options.folder, options.structure)
    )
    python = options.environments / "careamics" / "bin" / "python"
    results: dict[str, Trained] = {}
    for row in options.rows:
        program, *what = row.split(":")
        with tempfile.TemporaryDirectory() as folder:
            results[row] = (
                ours(fields, *what, options.minutes)
                if program == "ours"
                else careamics(fields, what[0], options.minutes, python, Path(folder))
            )
        print(f"{row}: {results[row].steps} steps in {results[row].seconds:.0f} s", flush=True)
    print("\n| | PSNR (dB) | SSIM | steps | ratio of steps |\n|---|---|---|---|---|")
    peer = next((result.steps for row, result in results.items() if row.startswith("careamics")), None)
    for row, result in results.items():
        scores = [score(*images) for images in zip(result.restored, fields.high[TRAINING:], strict=True)]
        psnr, ssim = (np.mean([one[metric] for one in scores]) for metric in ("psnr", "ssim"))
        ratio = "" if peer is None else f"{result.steps / peer:.2f}"
        print(f"| {row} | {psnr:.2f} | {ssim:.3f} | {result.steps} | {ratio} |")


def ours(fields: Fields, target: str, loss: str, minutes: float) -> Trained:
    """Train `lite` from nothing, and restore the fields that are not trained on."""
    seconds = {"clean": fields.high, "shot": fields.shot}.get(target)
    pairs = [Pair(fields.low[i], None if seconds is None else seconds[i], f"field {i}") for i in range(TRAINING)]
    settings = RECIPES["robust"] | {"preset": "lite", "budget": "minutes", "amount": minutes, "steps_per_epoch": 100}
    trainer = Trainer(pairs, LOSSES[loss](), TrainingParameters(target=target, **settings))
    begun, steps = time.perf_counter(), 0
    for report in trainer.run():
        steps = report.step if isinstance(report, Epoch) else steps
    spent = time.perf_counter() - begun
    return Trained(restore(fields.low[TRAINING:], trainer.model(), axes="TYX"), spent, steps)


def careamics(fields: Fields, method: str, minutes: float, python: Path, folder: Path) -> Trained:
    """Let CAREamics do the same."""
    files = {"low": fields.low[:TRAINING], "test": fields.low[TRAINING:]}
    if method == "n2n":
        assert fields.shot is not None, "Noise2Noise needs two shots: leave out --folder"
        files["shot"] = fields.shot[:TRAINING]
    for name, images in files.items():
        np.save(folder / f"{name}.npy", images)
    paths = {name: str(folder / f"{name}.npy") for name in ("low", "test", "out")}
    shot = str(folder / "shot.npy") if method == "n2n" else None
    with Worker(python, WORKER, folder / "log.txt") as worker:
        answer = worker.ask("train_and_restore", method=method, shot=shot, minutes=minutes, **paths)
    return Trained(np.load(paths["out"]), **answer)


if __name__ == "__main__":
    main()
