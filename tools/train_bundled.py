"""Train the bundled models: actin, mitochondria, dendra x Laplace, FFT, bandpass x the networks care and lite.

    python tools/train_bundled.py                       # all eighteen
    python tools/train_bundled.py --preset lite actin   # some of them
    python tools/train_bundled.py --pairs FOLDER        # real pairs besides, NAME_low.tif and NAME_high.tif
    python tools/train_bundled.py --cards               # measure the training images again; the weights stay

Training images are simulated, each field through another microscope, at another exposure, brightness and
magnification; real pairs are cut into tiles, and what is named after a structure goes to that one, the rest to all. One
network of each size is trained on everything first (mean absolute error); each bundled model starts from its weights
and is trained on its own structure with its own loss. Unfinished trainings are resumed from ``build/models``.
"""

import argparse
import dataclasses
import itertools
import multiprocessing
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.pixelwise import MeanAbsoluteError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.match import summarize_images
from napari_care_losses.models.model import SUFFIX, Model, load_model, structure_named
from napari_care_losses.simulation.microscope import MicroscopeRange
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions, simulate_pair
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

BUNDLED_LOSSES = ("laplace", "fft", "bandpass")
BUNDLED_PRESETS = ("care", "lite")
SEEDS = {"actin": 100_000, "mitochondria": 200_000, "dendra": 300_000}
FIELDS, SIZE = 160, 320
MICROSCOPES = MicroscopeRange(
    pixel_size=(0.07, 0.15),
    haze=(0.1, 0.7),
    haze_radius=(0.8, 3.0),
    background=(0.01, 0.3),
    read_noise=(0.7, 2.0),
    gain=(1.0, 3.0),
)
LOW_EXPOSURES = (0.3, 3.0)
"""Times the paper's low exposure: of these bounds every field draws its own."""
HIGH_MS = 400.0
BRIGHTNESS, ZOOM = (0.5, 2.0), (0.5, 1.4)
TILE = 512
LEAST_CONTRAST = 0.25
"""A tile of a real pair trains where its contrast is at least this part of the whole image's."""

COMMON = TrainingParameters(budget="steps", amount=9000, steps_per_epoch=1000, **RECIPES["robust"])
OWN = dataclasses.replace(COMMON, amount=6000, learning_rate=5e-4)


class Task(NamedTuple):
    """A training: of the network all start from where no structure is named, else of a bundled model."""

    preset: str
    structure: str = ""
    loss: str = ""

    @property
    def file_name(self) -> str:
        """Name of the model file."""
        return f"{self.structure}-{self.loss}-{self.preset}{SUFFIX}" if self.structure else f"{self.preset}{SUFFIX}"


def simulated_pair(structure: str, index: int) -> Pair:
    """Return a simulated training pair."""
    rng = np.random.default_rng([SEEDS[structure], index])
    exposure = STRUCTURES[structure].low_ms * float(np.exp(rng.uniform(*np.log(LOW_EXPOSURES))))
    conditions = ImagingConditions(
        low_ms=exposure, high_ms=HIGH_MS, microscope=MICROSCOPES, brightness=BRIGHTNESS, zoom=ZOOM
    )
    low, high = simulate_pair(structure, (SIZE, SIZE), conditions, seed=SEEDS[structure] + index)
    return Pair(low, high, f"simulated {structure} {index}")


def real_pairs(folder: Path, structure: str, without: str) -> list[Pair]:
    """Return the tiles of the real pairs of a structure, and of those that are of none of ours."""
    pairs = []
    for path in sorted(folder.glob("*_low.tif")):
        name = path.name.removesuffix("_low.tif")
        if name != without and structure_named(name) in (structure, None):
            low, high = (read_stack(folder / f"{name}_{which}.tif")[0] for which in ("low", "high"))
            pairs += _tiles(low, high, name)
    return pairs


def _tiles(low: NDArray[Any], high: NDArray[Any], name: str) -> list[Pair]:
    def contrast(image: NDArray[Any]) -> float:
        dark, bright = np.percentile(image, [2, 99.8])
        return float(bright - dark)

    least = LEAST_CONTRAST * contrast(high)
    corners = itertools.product(*(range(0, size - TILE + 1, TILE) for size in high.shape))
    windows = [(slice(y, y + TILE), slice(x, x + TILE)) for y, x in corners]
    return [Pair(low[w], high[w], f"{name} {i}") for i, w in enumerate(windows) if contrast(high[w]) >= least]


def training_pairs(structures: Iterable[str], folder: Path | None, without: str) -> list[Pair]:
    """Return all pairs that models of these structures are trained on."""
    simulated = [simulated_pair(structure, index) for structure in structures for index in range(FIELDS)]
    real = [] if folder is None else [pair for name in structures for pair in real_pairs(folder, name, without)]
    return simulated + list({pair.name: pair for pair in real}.values())


def train(task: Task, *, work: Path, folder: Path | None, without: str, device: str) -> Path:
    """Carry out a training, resuming a stopped one, and return the model's file."""
    path = work / task.file_name
    # a stopped training leaves its best model, and the state beside it
    if path.is_file() and not state_path(path).is_file():
        return path
    if task.structure:
        parameters = dataclasses.replace(OWN, preset=task.preset)
        pairs = training_pairs([task.structure], folder, without)
        trainer = Trainer(
            pairs,
            LOSSES[task.loss](),
            parameters,
            structure=task.structure,
            start_from=load_model(work / Task(task.preset).file_name),
            device=device,
        )
    else:
        parameters = dataclasses.replace(COMMON, preset=task.preset)
        pairs = training_pairs(STRUCTURES, folder, without)
        trainer = Trainer(pairs, MeanAbsoluteError(), parameters, device=device)
    for report in train_to_file(trainer, path, resume=True):
        if isinstance(report, Epoch):
            print(f"{path.stem}: step {report.step}, validation loss {report.validation_loss:.5f}", flush=True)
    state_path(path).unlink(missing_ok=True)
    return path


def refresh_cards(tasks: list[Task], folder: Path | None) -> None:
    """Put what the training images look like into the cards of the models that are there."""
    for task in tasks:
        path = bundled_folder() / task.file_name
        statistics = summarize_images([pair.low for pair in training_pairs([task.structure], folder, "")])
        model = load_model(path)
        Model(dataclasses.replace(model.card, statistics=statistics), model.weights).save(path)
        print(f"{path.stem}: figures of {statistics['images']} images", flush=True)


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", nargs="*", metavar="STRUCTURE", help=", ".join(STRUCTURES))
    parser.add_argument("--preset", nargs="+", choices=BUNDLED_PRESETS, default=BUNDLED_PRESETS)
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="real pairs to train on besides")
    parser.add_argument("--without", default="", metavar="NAME", help="leave a real pair out; nothing is bundled then")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--cards", action="store_true", help="only measure the training images again")
    options = parser.parse_args()
    structures = options.structures or list(STRUCTURES)
    tasks = [Task(*names) for names in itertools.product(options.preset, structures, BUNDLED_LOSSES)]
    if options.cards:
        refresh_cards(tasks, options.pairs)
        return
    work = Path("build/models", *(["without", options.without] if options.without else []))
    work.mkdir(parents=True, exist_ok=True)
    carry_out = partial(train, work=work, folder=options.pairs, without=options.without, device=options.device)
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(carry_out, [Task(preset) for preset in options.preset]))
        for path in pool.map(carry_out, tasks):
            if not options.without:
                shutil.copyfile(path, bundled_folder() / path.name)


if __name__ == "__main__":
    main()
