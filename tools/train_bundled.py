"""Train the bundled models: FFT, bandpass, Laplace x the networks care, lite, live, and lite for movies.

    python tools/train_bundled.py                             # all twelve, each for every structure
    python tools/train_bundled.py --preset lite --loss fft    # some of them
    python tools/train_bundled.py --movies                    # only those for movies, from the lite ones as they are
    python tools/train_bundled.py --pairs FOLDER              # real pairs besides, NAME_low.tif and NAME_high.tif
    python tools/train_bundled.py --cards                     # say anew in the cards what they learned from
    python tools/train_bundled.py --intervals                 # calibrate the intervals of the Laplace models anew

1. One network of each size learns from everything that is simulated as the paper's microscope sees it, through other
   microscopes and at other exposures, and from the real pairs (mean absolute error).
2. For each loss, three networks start from it and learn from actin, mitochondria and dendra alone.
3. Their weights are averaged. The average of the Laplace networks fails: that of mitochondria is taken.
4. The result learns from fields of all nine structures as any microscope might record them, without noise so
   correlated that it cannot be told from structure at full resolution; from some of 1; and from the real pairs.
5. Weights of FFT and bandpass before and after 4 are averaged: either alone is behind on some real images.
6. Those for movies begin as the lite ones and learn from five frames of all nine structures each, as any microscope
   might record them at any time between frames, and as the paper's does.
7. The live ones learn in two steps only: one network from all of 1 and 4 together (mean absolute error), then one for
   each loss from 4.
8. The intervals of the Laplace models are calibrated on simulated fields that none of them learned from or was chosen
   by, drawn as those of 4 and 6. Others have none: the width of theirs would be that of the simulated noise.

What is under way lies in ``build/models`` and is resumed.
"""

import argparse
import dataclasses
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_care_losses.io.stacks import read_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.learned_noise import noise_statistics
from napari_care_losses.models.library import BUNDLED_LOSSES, BUNDLED_SIZES, bundled_folder
from napari_care_losses.models.model import SUFFIX, Model, ModelCard, load_model, structure_named
from napari_care_losses.simulation.microscope import MicroscopeRange
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, ImagingConditions, simulate_movie, simulate_pair
from napari_care_losses.simulation.varied_pairs import simulate_varied_movie, simulate_varied_pair
from napari_care_losses.training.checkpoint import state_path
from napari_care_losses.training.neighbours import Around
from napari_care_losses.training.pairs import Pair, Share
from napari_care_losses.training.parameters import RECIPES, TrainingParameters
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer
from napari_care_losses.training.validation.intervals import with_intervals

WORK = Path("build/models")

SEEDS = {"actin": 100_000, "mitochondria": 200_000, "dendra": 300_000}
"""Structures of the steps 1 and 2."""
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

VARIED_SEED, VARIED_SIZE = 700_000, 256
VARIED_FIELDS, PAPER_FIELDS = 75, 100
"""Of each structure in step 4: by any microscope, and those of step 1."""
MOST_CORRELATION = 0.4

MOVIE_SEED, MOVIE_FIELDS, PAPER_MOVIES = 900_000, 40, 25
"""Of each structure in step 6: by any microscope, and by the paper's."""
NEIGHBOURS = 4

UNSEEN = 500
"""Added to the seeds of the fields of step 8."""
UNSEEN_FIELDS = {"varied": 15, "paper": 20, "movie": 12, "paper movie": 7}
"""Of each structure, in the proportions of the steps 4 and 6."""

COMMON = TrainingParameters(budget="steps", amount=9000, steps_per_epoch=1000, **RECIPES["robust"])
OWN = dataclasses.replace(COMMON, amount=6000, learning_rate=5e-4)
GENERAL = dataclasses.replace(COMMON, steps_per_epoch=500, learning_rate=3e-4, vary_noise=False)
MOVIES = dataclasses.replace(GENERAL, preset="lite", neighbours=NEIGHBOURS, amount=5000)
GENERAL_STEPS = {"lite": 8000, "care": 900}
LAPLACE_STEPS = {"lite": 8000, "care": 2000}
LIVE_TOGETHER = dataclasses.replace(COMMON, preset="live", amount=14_000)
LIVE = dataclasses.replace(GENERAL, preset="live", amount=5000)


def simulated_pair(structure: str, index: int) -> Pair:
    """Return a simulated training pair."""
    rng = np.random.default_rng([SEEDS[structure], index])
    exposure = STRUCTURES[structure].low_ms * float(np.exp(rng.uniform(*np.log(LOW_EXPOSURES))))
    conditions = ImagingConditions(
        low_ms=exposure, high_ms=HIGH_MS, microscope=MICROSCOPES, brightness=BRIGHTNESS, zoom=ZOOM
    )
    low, high = simulate_pair(structure, (SIZE, SIZE), conditions, seed=SEEDS[structure] + index)
    return Pair(low, high, f"simulated {structure} {index}")


def varied_pair(structure: str, index: int) -> Pair:
    """Return a simulated training pair as any microscope might give it."""
    seed = VARIED_SEED + 1000 * list(STRUCTURES).index(structure) + index
    shape = VARIED_SIZE, VARIED_SIZE
    low, high = simulate_varied_pair(structure, shape, seed=seed, most_correlation=MOST_CORRELATION)
    return Pair(low, high, f"simulated {structure} {index}")


def movie_pair(structure: str, index: int, *, unseen: int = 0) -> Pair:
    """Return the middle frame of a simulated movie, as any microscope or as the paper's might give it."""
    seed, shape = MOVIE_SEED + 1000 * list(STRUCTURES).index(structure) + index + unseen, (VARIED_SIZE, VARIED_SIZE)
    low: NDArray[Any]
    high: NDArray[Any]
    if index < MOVIE_FIELDS:
        low, high = simulate_varied_movie(
            structure, NEIGHBOURS + 1, shape, seed=seed, most_correlation=MOST_CORRELATION
        )
    else:
        rng = np.random.default_rng(seed)
        low_ms = STRUCTURES[structure].low_ms * float(np.exp(rng.uniform(*np.log(LOW_EXPOSURES))))
        conditions = ImagingConditions(
            low_ms=low_ms, high_ms=HIGH_MS, microscope=MICROSCOPES, brightness=BRIGHTNESS, zoom=ZOOM
        )
        low, high = simulate_movie(structure, NEIGHBOURS + 1, shape, conditions, seed=seed)
    middle = NEIGHBOURS // 2
    beside = [frame for frame in range(NEIGHBOURS + 1) if frame != middle]
    around = Around(tuple(low[frame] for frame in beside), tuple(high[frame] for frame in beside))
    return Pair(low[middle], high[middle], f"simulated {structure} movie {index}", around)


def real_pairs(folder: Path | None) -> list[Pair]:
    """Return the tiles of the real pairs."""
    pairs = []
    for path in [] if folder is None else sorted(folder.glob("*_low.tif")):
        name = path.name.removesuffix("_low.tif")
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


def paper_pairs(structures: Iterable[str], folder: Path | None) -> list[Pair]:
    """Return the pairs of the steps 1 and 2: those of some structures, and real ones of these or of none."""
    simulated = [simulated_pair(structure, index) for structure in structures for index in range(FIELDS)]
    return simulated + [pair for pair in real_pairs(folder) if structure_named(pair.name) in (*structures, None)]


@cache
def general_pairs(folder: Path | None) -> list[Pair]:
    """Return the pairs of step 4."""
    corner = slice(VARIED_SIZE), slice(VARIED_SIZE)
    simulated = [varied_pair(structure, index) for index in range(VARIED_FIELDS) for structure in STRUCTURES]
    paper = [simulated_pair(structure, index) for structure in SEEDS for index in range(PAPER_FIELDS)]
    cut = [Pair(pair.low[corner], pair.high[corner], pair.name) for pair in paper]
    return simulated + cut + real_pairs(folder)


def all_pairs(folder: Path | None) -> list[Pair]:
    """Return the pairs of the steps 1 and 4, each once."""
    simulated = [simulated_pair(structure, index) for structure in SEEDS for index in range(PAPER_FIELDS, FIELDS)]
    return simulated + general_pairs(folder)


@cache
def movie_pairs() -> list[Pair]:
    """Return the pairs of step 6."""
    varied = [(structure, index) for index in range(MOVIE_FIELDS) for structure in STRUCTURES]
    paper = [(structure, MOVIE_FIELDS + index) for structure in SEEDS for index in range(PAPER_MOVIES)]
    return [movie_pair(*each) for each in varied + paper]


@cache
def unseen_pairs() -> list[Pair]:
    """Return the pairs of step 8 for single frames."""
    numbers = {kind: range(UNSEEN, UNSEEN + count) for kind, count in UNSEEN_FIELDS.items()}
    varied = [varied_pair(structure, index) for structure in STRUCTURES for index in numbers["varied"]]
    return varied + [simulated_pair(structure, index) for structure in SEEDS for index in numbers["paper"]]


@cache
def unseen_movie_pairs() -> list[Pair]:
    """Return the pairs of step 8 for movies."""
    varied = [(structure, index) for structure in STRUCTURES for index in range(UNSEEN_FIELDS["movie"])]
    paper = [(structure, MOVIE_FIELDS + index) for structure in SEEDS for index in range(UNSEEN_FIELDS["paper movie"])]
    return [movie_pair(*each, unseen=UNSEEN) for each in varied + paper]


def with_bundled_intervals(model: Model, device: str) -> Model:
    """Return a model with intervals if it predicts a scale, any other without."""
    if not model.card.architecture.predicts_scale:
        return Model(dataclasses.replace(model.card, intervals=None), model.weights)
    pairs = unseen_movie_pairs() if model.card.architecture.neighbours else unseen_pairs()
    shares = [Share(pair, (slice(None), slice(None)), True) for pair in pairs]
    return with_intervals(model, shares, device=device, are_simulated=True, most_images=len(shares))


def trained(
    name: str,
    loss: str,
    parameters: TrainingParameters,
    pairs: Callable[[], list[Pair]],
    device: str,
    start: Model | None = None,
) -> Model:
    """Carry out a training, resuming a stopped one, and return the model."""
    path = WORK / f"{name}{SUFFIX}"
    # a stopped training leaves its best model, and the state beside it
    if path.is_file() and not state_path(path).is_file():
        return load_model(path)
    trainer = Trainer(pairs(), LOSSES[loss](), parameters, start_from=start, device=device)
    for report in train_to_file(trainer, path, resume=True):
        if isinstance(report, Epoch):
            print(f"{name}: step {report.step}, validation loss {report.validation_loss:.5f}", flush=True)
    state_path(path).unlink(missing_ok=True)
    return load_model(path)


def train(loss: str, preset: str, folder: Path | None, device: str) -> Path:
    """Make a bundled model, from what is there already, and return its file."""
    settings = [dataclasses.replace(each, preset=preset) for each in (COMMON, OWN, GENERAL)]
    common = trained(preset, "mae", settings[0], partial(paper_pairs, SEEDS, folder), device)
    own = []
    for name in ["mitochondria"] if loss == "laplace" else list(SEEDS):
        pairs = partial(paper_pairs, [name], folder)
        own.append(trained(f"{name}-{loss}-{preset}", loss, settings[1], pairs, device, common))
    steps = LAPLACE_STEPS if loss == "laplace" else GENERAL_STEPS
    general = dataclasses.replace(settings[2], amount=steps[preset])
    start = averaged(own)
    model = trained(f"{loss}-{preset}-further", loss, general, partial(general_pairs, folder), device, start)
    if loss != "laplace":
        model = averaged([model, start])
    path = WORK / f"{loss}-{preset}{SUFFIX}"
    model = with_bundled_intervals(model, device)
    Model(described(model.card, general_pairs(folder)), model.weights).save(path)
    return path


def train_live(loss: str, folder: Path | None, device: str) -> Path:
    """Make a bundled live model, from what is there already, and return its file."""
    start = trained("live", "mae", LIVE_TOGETHER, partial(all_pairs, folder), device)
    model = trained(f"{loss}-live-further", loss, LIVE, partial(general_pairs, folder), device, start)
    path = WORK / f"{loss}-live{SUFFIX}"
    model = with_bundled_intervals(model, device)
    Model(described(model.card, all_pairs(folder)), model.weights).save(path)
    return path


def train_for_movies(loss: str, device: str) -> Path:
    """Make a bundled model for movies from the bundled lite one, and return its file."""
    start = load_model(bundled_folder() / f"{loss}-lite{SUFFIX}")
    name = f"{loss}-lite-movie"
    model = trained(f"{name}-further", loss, MOVIES, movie_pairs, device, start)
    path = WORK / f"{name}{SUFFIX}"
    model = with_bundled_intervals(model, device)
    Model(described(model.card, movie_pairs()), model.weights).save(path)
    return path


def averaged(models: Sequence[Model]) -> Model:
    """Return the model of the mean weights."""
    weights = {name: torch.stack([each.weights[name] for each in models]).mean(0) for name in models[0].weights}
    return Model(models[0].card, weights)


def described(card: ModelCard, pairs: Sequence[Pair]) -> ModelCard:
    """Return a card that says what the last step learned from, each kind of pairs once, the most frequent first."""
    names = [name for name, _ in Counter(pair.name.rpartition(" ")[0] for pair in pairs).most_common()]
    statistics = noise_statistics([pair.low for pair in pairs])
    training = {**card.training, "pairs": len(pairs), "names": names}
    return dataclasses.replace(card, structure="other", training=training, statistics=statistics)


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", nargs="+", choices=BUNDLED_LOSSES, default=BUNDLED_LOSSES)
    parser.add_argument("--preset", nargs="+", choices=BUNDLED_SIZES, default=BUNDLED_SIZES)
    parser.add_argument("--pairs", type=Path, metavar="FOLDER", help="real pairs to train on besides")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cards", action="store_true", help="only say anew what the bundled models learned from")
    parser.add_argument("--intervals", action="store_true", help="only calibrate the intervals of the bundled models")
    parser.add_argument("--movies", action="store_true", help="only those for movies")
    options = parser.parse_args()
    if options.intervals:
        for path in sorted(bundled_folder().glob(f"laplace-*{SUFFIX}")):
            with_bundled_intervals(load_model(path), options.device).save(path)
            print(path, flush=True)
        return
    WORK.mkdir(parents=True, exist_ok=True)
    for preset, loss in itertools.product([] if options.movies else options.preset, options.loss):
        path = bundled_folder() / f"{loss}-{preset}{SUFFIX}"
        if options.cards:
            model, pairs = load_model(path), all_pairs if preset == "live" else general_pairs
            Model(described(model.card, pairs(options.pairs)), model.weights).save(path)
        else:
            recipe = train_live if preset == "live" else partial(train, preset=preset)
            shutil.copyfile(recipe(loss, folder=options.pairs, device=options.device), path)
        print(path, flush=True)
    for loss in options.loss if options.movies or "lite" in options.preset else []:
        path = bundled_folder() / f"{loss}-lite-movie{SUFFIX}"
        if options.cards:
            model = load_model(path)
            Model(described(model.card, movie_pairs()), model.weights).save(path)
        else:
            shutil.copyfile(train_for_movies(loss, options.device), path)
        print(path, flush=True)


if __name__ == "__main__":
    main()
