"""Train the bundled models: actin, mitochondria, dendra x Laplace, FFT, bandpass, on simulated images.

One common network is trained on all three structures first (mean absolute error), over a fourfold range of brightness
and a twofold range of magnification; each bundled model starts from its weights and is trained on its own structure
with its own loss. Unfinished trainings are resumed from ``build/models``.

    python tools/train_bundled.py                 # all nine
    python tools/train_bundled.py actin dendra    # those of two structures
"""

import argparse
import dataclasses
import itertools
import shutil
from pathlib import Path

from napari_care_losses.core.frames import Frames
from napari_care_losses.core.jobs import train_to_file
from napari_care_losses.core.library import bundled_folder
from napari_care_losses.core.losses import LOSSES, MeanAbsoluteError
from napari_care_losses.core.model import SUFFIX, Model, load_model
from napari_care_losses.core.patches import Pair, pairs_from_frames
from napari_care_losses.core.simulation import STRUCTURES, simulate_pairs
from napari_care_losses.core.training import Epoch, Trainer, TrainingParameters

BUNDLED_LOSSES = ("laplace", "fft", "bandpass")
SEEDS = {"actin": 1001, "mitochondria": 1002, "dendra": 1003}
FIELDS, SIZE = 60, 256
COMMON = TrainingParameters(
    preset="lite",
    budget="steps",
    amount=5000,
    steps_per_epoch=250,
    batch_size=8,
    learning_rate=1e-3,
    # Patches are drawn everywhere: the models must know what an empty background looks like.
    background_filter=False,
)
OWN = dataclasses.replace(COMMON, amount=1200, steps_per_epoch=100, learning_rate=5e-4)


def simulated_pairs(structure: str) -> list[Pair]:
    """Return the training pairs of a structure."""
    low, high = simulate_pairs(
        structure, FIELDS, (SIZE, SIZE), seed=SEEDS[structure], brightness=(0.5, 2.0), zoom=(0.6, 1.2)
    )
    return pairs_from_frames(Frames(low), Frames(high), f"simulated {structure}")


def train(trainer: Trainer, path: Path) -> Model:
    """Train to a file, resuming a stopped run, and return the model."""
    for report in train_to_file(trainer, path, resume=True):
        if isinstance(report, Epoch):
            print(f"{path.stem}: step {report.step}, validation loss {report.validation_loss:.5f}", flush=True)
    return load_model(path)


def main() -> None:
    """Train what is asked for and put it into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", nargs="*", metavar="STRUCTURE", help=", ".join(STRUCTURES))
    structures = parser.parse_args().structures or list(STRUCTURES)
    work = Path("build/models")
    work.mkdir(parents=True, exist_ok=True)
    bundled_folder().mkdir(exist_ok=True)
    pairs = {structure: simulated_pairs(structure) for structure in STRUCTURES}
    common = train(
        Trainer(list(itertools.chain(*pairs.values())), MeanAbsoluteError(), COMMON), work / f"common{SUFFIX}"
    )
    for structure, loss in itertools.product(structures, BUNDLED_LOSSES):
        path = work / f"{structure}-{loss}-{OWN.preset}{SUFFIX}"
        train(Trainer(pairs[structure], LOSSES[loss](), OWN, structure=structure, start_from=common), path)
        shutil.copyfile(path, bundled_folder() / path.name)


if __name__ == "__main__":
    main()
