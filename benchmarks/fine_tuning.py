"""Few pairs and little time: a bundled model trained further, beside training from nothing.

    python benchmarks/fine_tuning.py FOLDER [--structure actin] [--pairs 1 3 10] [--minutes 5]

FOLDER holds ``STRUCTURE_low.tif`` and ``STRUCTURE_high.tif`` (W2S). Pairs are spread over frames 0-59, frames 60-68
are restored. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.spectra import agreement
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import Model, load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence

TRAINING, TEST = 60, (60, 69)
FINE_RATE = 3e-4
"""Learning rate of training further: from nothing it is the recipe's."""


def main() -> None:
    """Train and score all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structure", default="actin")
    parser.add_argument("--loss", default="fft")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    low, high = (read_stack(options.folder / f"{options.structure}_{which}.tif") for which in ("low", "high"))
    test = [(low[i], high[i]) for i in range(*TEST)]
    name = f"{options.loss}-{options.preset}"
    bundled = load_model(find_model(name))
    print("| pairs | start | steps | PSNR (dB) | SSIM | FRC |\n|---|---|---|---|---|---|")
    print(f"| 0 | {name} | 0 | {_figures(bundled, test)} |", flush=True)
    for count in options.pairs:
        places = np.linspace(0, TRAINING - 1, count + 2)[1:-1].round().astype(int).tolist()
        pairs = [Pair(low[i], high[i], f"frame {i}") for i in places]
        for start in (bundled, None):
            model = _trained(pairs, start, options)
            steps = model.card.training["steps"]
            said = "nothing" if start is None else name
            print(f"| {count} | {said} | {steps} | {_figures(model, test)} |", flush=True)


def _trained(pairs: list[Pair], start: Model | None, options: argparse.Namespace) -> Model:
    settings: dict[str, Any] = {**RECIPES["robust"], "preset": options.preset}
    if start is not None:
        settings["learning_rate"] = FINE_RATE
    parameters = TrainingParameters(budget="minutes", amount=options.minutes, **settings)
    trainer = Trainer(pairs, LOSSES[options.loss](), parameters, structure=options.structure, start_from=start)
    for _ in trainer.run():
        pass
    return trainer.model()


def _figures(model: Model, test: Sequence[tuple[Any, Any]]) -> str:
    rows = []
    for low, high in test:
        restored = restore(low, model)
        rows.append({**score(restored, high), **agreement(restored, high)})
    psnr, ssim, frc = (np.mean([row[metric] for row in rows]) for metric in ("psnr", "ssim", "frc"))
    return f"{psnr:.2f} | {ssim:.3f} | {frc:.3f}"


if __name__ == "__main__":
    main()
