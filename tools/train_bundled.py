"""Train the bundled models: actin, mitochondria, dendra x Laplace, FFT, bandpass, on simulated images.

One common network is trained on all three structures first (mean absolute error), over a fourfold range of brightness
and a twofold range of magnification; each bundled model starts from its weights and is trained on its own structure
with its own loss. Unfinished trainings are resumed from ``build/models``.

    python tools/train_bundled.py                 # all nine
    python tools/train_bundled.py actin dendra    # those of two structures
    python tools/train_bundled.py --cards         # measure the training images again; the weights stay as they are
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
from napari_care_losses.core.matching import summarize_images
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


def train_all(structures: list[str]) -> None:
    """Train the models of structures and put them into the package."""
    work = Path("build/models")
    work.mkdir(parents=True, exist_ok=True)
    bundled_folder().mkdir(exist_ok=True)
    pairs = {structure: simulated_pairs(structure) for structure in STRUCTURES}
    common = train(
        Trainer(list(itertools.chain(*pairs.values())), MeanAbsoluteError(), COMMON), work / f"common{SUFFIX}"
    )
    for structure, loss in itertools.product(structures, BUNDLED_LOSSES):
        path = work / name_of(structure, loss)
        train(Trainer(pairs[structure], LOSSES[loss](), OWN, structure=structure, start_from=common), path)
        shutil.copyfile(path, bundled_folder() / path.name)


def refresh_cards(structures: list[str]) -> None:
    """Put what the training images look like into the cards of the models that are there."""
    for structure in structures:
        statistics = summarize_images([pair.low for pair in simulated_pairs(structure)])
        for loss in BUNDLED_LOSSES:
            path = bundled_folder() / name_of(structure, loss)
            model = load_model(path)
            Model(dataclasses.replace(model.card, statistics=statistics), model.weights).save(path)
            print(f"{path.stem}: figures of {statistics['images']} images", flush=True)


def name_of(structure: str, loss: str) -> str:
    """Return the file name of a bundled model."""
    return f"{structure}-{loss}-{OWN.preset}{SUFFIX}"


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", nargs="*", metavar="STRUCTURE", help=", ".join(STRUCTURES))
    parser.add_argument("--cards", action="store_true", help="only measure the training images again")
    options = parser.parse_args()
    structures = options.structures or list(STRUCTURES)
    if options.cards:
        refresh_cards(structures)
    else:
        train_all(structures)


if __name__ == "__main__":
    main()
