"""Run an experiment: train what is missing, tune the baselines, restore and score image by image, report.

It can be stopped or killed at any step: finished networks, tuned strengths and scored images are kept in the folder of
the run and not computed again.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.comparison.baselines import BASELINES, described_strength, tune
from napari_care_losses.comparison.compare import INPUT, Method, compare
from napari_care_losses.comparison.report.content import ComparisonReport, ReportImage
from napari_care_losses.comparison.report.write import write_report
from napari_care_losses.errors import InputError, TrainingDivergedError
from napari_care_losses.evaluation.spectra import agreement
from napari_care_losses.experiments.entries import result_name
from napari_care_losses.experiments.pair_sets import SimulatedSet
from napari_care_losses.experiments.results import FULL, Result, load_result
from napari_care_losses.images.sampling import evenly_spaced
from napari_care_losses.io.untrusted_files import read_json
from napari_care_losses.io.whole_files import make_folder, patiently, replacing
from napari_care_losses.models.model import STRUCTURE_NAMES, SUFFIX, read_card
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.training import progress as reports
from napari_care_losses.training.checkpoint import state_path

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_care_losses.experiments.entries import Experiment, TrainedMethod
    from napari_care_losses.experiments.pair_sets import PairSet, Stacks
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.parameters import TrainingParameters

TUNING_PAIRS = 6
"""Number of training pairs on which the strength of a baseline is tuned, evenly chosen."""


class ExperimentStep(NamedTuple):
    """A step of an experiment: what is being done, in words, and the fraction of it that is done, 0 to 1."""

    what: str
    fraction: float


def run_experiment(
    experiment: Experiment,
    out: Path,
    training: TrainingParameters,
    restoring: RestorationParameters | None = None,
    *,
    device: str = "auto",
) -> Generator[ExperimentStep, None, list[Result]]:
    """Run one experiment in a folder, step by step; return one result for each test.

    Results of an earlier run with the same settings are kept.

    Parameters
    ----------
    out : Path
        Folder of the run: networks in ``models``, and for every test a page, two CSV files and a JSON file.
    training : TrainingParameters
        How every network is trained.
    restoring : RestorationParameters, optional
        How test images are restored.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.

    Raises
    ------
    InputError
        If pairs or settings cannot be used.
    ComputeError, OutputError
        If the device or the disk fails.
    """
    models = out / "models"
    make_folder(models, parents=True)
    restoring = restoring or RestorationParameters()
    train_set = _LazySet(experiment.train)
    notes: list[str] = []
    trained: dict[str, Path] = {}
    for method in experiment.methods:
        trained[method.name] = path = models / f"{_key(experiment.train, method, training)}{SUFFIX}"
        # a stopped training leaves its best model, and the state beside it
        if not path.is_file() or state_path(path).is_file():
            notes += yield from _train(method, path, train_set, training, device)
    strengths: dict[str, float] = {}
    for name in experiment.baselines:
        strengths[name] = yield from _tuned(name, models, train_set)
    methods = [Method(name, baseline=name, strength=strengths[name]) for name in experiment.baselines]
    methods += [
        Method(method.name, model=trained[method.name], parameters=replace(restoring, **method.restoring))
        for method in experiment.methods
    ]
    results = []
    for label, pairs in experiment.tests.items():
        result = _started(experiment, label, pairs, methods, out)
        result.notes += [note for note in notes if note not in result.notes]
        yield from _scored(result, pairs, methods, out)
        results.append(result)
    return results


class _LazySet:
    """A set of pairs that is drawn or opened when it is first needed."""

    def __init__(self, source: PairSet) -> None:
        self.source = source
        self._pairs: dict[int, list[Pair]] = {}

    @cached_property
    def stacks(self) -> Stacks:
        return self.source.stacks()

    def pairs(self, neighbours: int) -> list[Pair]:
        if neighbours not in self._pairs:
            self._pairs[neighbours] = self.source.pairs(neighbours)
        return self._pairs[neighbours]


def _key(pairs: PairSet, method: TrainedMethod, training: TrainingParameters) -> str:
    """Return the file name of a network: equal for equal trainings, so that experiments share them."""
    settings = replace(training, **method.training).to_dict()
    if settings["target"] == "clean":
        # networks of earlier versions stay known
        del settings["target"]
    identity = [pairs.identity(), method.loss.name, method.loss.to_dict(), settings]
    structure = pairs.structure if isinstance(pairs, SimulatedSet) else pairs.low.stem
    readable = re.sub(r"\W+", "-", f"{structure} {method.name}", flags=re.ASCII)
    return f"{readable}_{_digest(identity)}"


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _train(
    method: TrainedMethod, path: Path, train_set: _LazySet, training: TrainingParameters, device: str
) -> Generator[ExperimentStep, None, list[str]]:
    """Train one network; return notes for the reader."""
    from napari_care_losses.training.to_file import train_to_file
    from napari_care_losses.training.trainer import Trainer

    yield ExperimentStep(f"preparing {train_set.source.title}", 0)
    parameters = replace(training, **method.training)
    pairs = train_set.pairs(parameters.neighbours)
    structure = train_set.source.structure if isinstance(train_set.source, SimulatedSet) else "other"
    if structure not in STRUCTURE_NAMES:
        structure = "other"
    trainer = Trainer(pairs, method.loss, parameters, structure=structure, device=device)
    notes: list[str] = []
    try:
        with closing(train_to_file(trainer, path, resume=True)) as running:
            for report in running:
                if isinstance(report, reports.Preparing):
                    yield ExperimentStep(f"reading {report.total} pairs", report.done / report.total)
                elif isinstance(report, reports.Step):
                    yield ExperimentStep(f"training {method.name}", report.fraction)
    except TrainingDivergedError as error:
        if not trainer.history:
            raise
        notes = [f"{method.name}: {error}"]
    # a finished network does not need its checkpoint, which is several times larger
    patiently(state_path(path).unlink, missing_ok=True)
    return notes


def _tuned(name: str, folder: Path, train_set: _LazySet) -> Generator[ExperimentStep, None, float]:
    """Return the strength of a baseline tuned on training pairs."""
    path = folder / f"{name}_{_digest(train_set.source.identity())}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        # of an earlier run; a damaged file is written again
        return float(read_json(path.read_text(encoding="utf-8"))["relative_strength"])
    yield ExperimentStep(f"tuning {BASELINES[name].title}", 0)
    low, high = train_set.stacks
    places = evenly_spaced(range(len(low)), TUNING_PAIRS)
    strength = tune(name, ((low[place], high[place]) for place in places))
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"relative_strength": strength, "pairs": places}), encoding="utf-8")
    return strength


def _started(experiment: Experiment, label: str, pairs: PairSet, methods: list[Method], out: Path) -> Result:
    """Return the result of a test with the scores of an earlier run, or an empty one."""
    name = result_name(experiment, label)
    strengths = [(method.name, method.strength) for method in methods if method.baseline]
    models = [
        (method.name, method.model.name, None if method.parameters is None else method.parameters.to_dict())
        for method in methods
        if method.model is not None
    ]
    result = Result(
        name=name,
        title=experiment.title + (f": {label}" if label else ""),
        experiment=experiment.name,
        label=label,
        identity=_digest([pairs.identity(), strengths, models]),
        methods=[INPUT, *(method.name for method in methods)],
        reference=experiment.reference,
        independent=not pairs.is_movie,
        threshold=None if experiment.threshold is None else vars(experiment.threshold),
    )
    try:
        earlier = load_result(out / f"{name}.json")
    except InputError:
        earlier = result
    if earlier.identity == result.identity:
        result.scores, result.notes = earlier.scores, earlier.notes
    result.settings = {"Trained on": experiment.train.title, "Tested on": pairs.title, **_trainings(methods)}
    return result


def _trainings(methods: list[Method]) -> dict[str, str]:
    """Return how each method was made, by its name."""
    settings = {}
    for method in methods:
        if method.model is None:
            settings[method.name] = f"{described_strength(method.strength)}, tuned on training pairs"
        else:
            card = read_card(method.model)
            training = card.training
            loss = ", ".join(f"{name} {value:g}" for name, value in card.loss_parameters.items())
            settings[method.name] = (
                f"loss {card.loss}{f' ({loss})' if loss else ''}, network {card.preset}, {training['steps']} steps of "
                f"{training['batch_size']} patches of {training['patch_size']} px in {training['seconds']:.0f} s"
                f"{f', {card.care.neighbours} neighbouring frames' if card.care.neighbours else ''}"
            )
    return settings


def _shortfalls(methods: list[Method], stacks: Stacks, *, is_movie: bool) -> list[str]:
    """Return in what respects a run is smaller than `FULL`."""
    found = []
    cards = [read_card(method.model) for method in methods if method.model is not None]
    if any(card.preset != "care" for card in cards):
        found.append("the network is not care")
    steps = min((card.training["steps"] for card in cards), default=FULL["steps"])
    if steps < FULL["steps"]:
        found.append(f"{steps} steps, not {FULL['steps']}")
    if any(card.training["batch_size"] * card.training["patch_size"] ** 2 < FULL["batch_pixels"] for card in cards):
        found.append("batches smaller than 16 patches of 64 px")
    if min(stacks.low.frame_shape) < FULL["frame"]:
        found.append(f"frames of {stacks.low.frame_shape[0]} x {stacks.low.frame_shape[1]} px, not {FULL['frame']}")
    wanted, what = (FULL["time_points"], "time points") if is_movie else (FULL["fields"], "test fields")
    if len(stacks.low) < wanted:
        found.append(f"{len(stacks.low)} {what}, not {wanted}")
    return found


def _scored(result: Result, pairs: PairSet, methods: list[Method], out: Path) -> Generator[ExperimentStep, None, None]:
    """Restore and score the images that are missing, and write the page."""
    path = out / f"{result.name}.json"
    yield ExperimentStep(f"preparing {pairs.title}", 0)
    stacks = pairs.stacks()
    result.shortfalls = _shortfalls(methods, stacks, is_movie=pairs.is_movie)
    pending = result.pending(len(stacks.low))
    if pending:
        with closing(compare(stacks.low, methods, truth=stacks.high, indices=pending)) as steps:
            for step in steps:
                if step.image is not None and step.frame_index is not None:
                    detail = agreement(step.image, stacks.high[step.frame_index])
                    result.scores.setdefault(step.method, {})[step.frame_index] = {**step.scores, **detail}
                    if step.method == methods[-1].name:
                        result.save(path)
                yield ExperimentStep(f"restoring {result.name}", step.done / max(1, step.total))
    result.save(path)
    if pending or not path.with_suffix(".html").is_file():
        # the image whose input is of median quality
        ranked = sorted((scores["psnr"], image) for image, scores in result.scores[INPUT].items())
        shown = ranked[len(ranked) // 2][1]
        images: list[ReportImage] = []
        with closing(compare(stacks.low, methods, truth=stacks.high, indices=[shown])) as steps:
            for step in steps:
                if step.image is not None:
                    images.append(ReportImage(step.method, step.image, step.scores))
                yield ExperimentStep(f"the pictures of {result.name}", step.done / max(1, step.total))
        write_report(path.with_suffix(".html"), _report(result, images, stacks, shown))


def _report(result: Result, images: list[ReportImage], stacks: Stacks, shown: int) -> ComparisonReport:
    pixel = stacks.low.calibration.pixel_size
    title = f"{result.name}: {result.title}"
    notes = [*result.notes]
    if result.shortfalls:
        title = f"Smoke run of {title}"
        notes.insert(0, f"A smoke run, whose values say nothing about the methods: {'; '.join(result.shortfalls)}.")
    taken = {name: getattr(result, name) for name in ("scores", "settings", "reference", "independent")}
    return ComparisonReport(
        **taken,
        title=title,
        images=images,
        truth=stacks.high[shown].astype("float32"),
        rows=result.rows(),
        notes=notes,
        frame_index=shown,
        pixel_size=None if pixel is None else pixel[1],
    )
