"""Experiments, and the TOML files that describe them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.comparison.baselines import BASELINES
from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.errors import InputError
from napari_care_losses.experiments.pair_sets import FileSet, PairSet, SimulatedSet
from napari_care_losses.io.file_names import is_file_name, same_file
from napari_care_losses.io.untrusted_files import checked
from napari_care_losses.losses.registry import loss_class
from napari_care_losses.restoration.parameters import RestorationParameters, current_names
from napari_care_losses.training.parameters import TrainingParameters

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_care_losses.losses.base import Loss

LARGEST_FILE = 1 << 20
"""Bytes of a file of experiments at most."""

TRAINING_FRAMES, TEST_FRAMES = (0, 60), (60, 69)
"""Frames of a folder's stacks that train and test: the paper's sixty and nine."""


@dataclass(frozen=True, kw_only=True)
class TrainedMethod:
    """A network trained with a loss, under a name that is unique in the experiment."""

    name: str
    loss: Loss
    training: dict[str, Any] = field(default_factory=dict)
    """Fields of `TrainingParameters` that replace those of the run."""
    restoring: dict[str, Any] = field(default_factory=dict)
    """Fields of `RestorationParameters` likewise."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The mean score from which a method is usable."""

    metric: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Methods trained on one set of pairs and tested on others."""

    name: str
    title: str
    """Its question."""
    train: PairSet
    """Pairs to train and validate on, split 4:1."""
    tests: dict[str, PairSet]
    """Pairs to test on by label; the label of a single one is empty."""
    methods: tuple[TrainedMethod, ...]
    baselines: tuple[str, ...]
    """Names in `napari_care_losses.comparison.baselines.BASELINES`, their strength tuned on training pairs."""
    reference: str
    """The method that others are tested against."""
    threshold: Threshold | None = None
    """The score to reach, in a study of ever less light."""

    def on_files(self, folder: Path) -> Experiment:
        """Return the experiment on real images: ``STRUCTURE_low.tif`` and ``STRUCTURE_high.tif`` in a folder.

        Frames 0-59 train and 60-68 test, as in the paper. Raises `InputError` if it is an experiment about movies or
        exposures, or a file is missing.
        """
        sets = (self.train, *self.tests.values())
        if not all(
            isinstance(one, SimulatedSet) and not one.is_movie and one.brightness == 1 and len(one.low_ms) == 1
            for one in sets
        ):
            raise InputError(
                f"{self.name} is about movies or exposures that a folder of stacks does not name: "
                "write an entry of your own for it, or run it on simulated images."
            )
        return replace(
            self,
            train=_in_folder(folder, self.train, TRAINING_FRAMES),
            tests={label: _in_folder(folder, one, TEST_FRAMES) for label, one in self.tests.items()},
        )

    def smoke(self) -> Experiment:
        """Return the experiment on a few small images, which only shows that everything works."""
        return replace(
            self, train=self.train.smoke(5), tests={label: one.smoke(3) for label, one in self.tests.items()}
        )


def paper_experiments() -> dict[str, Experiment]:
    """Return the paper's experiments and studies by name."""
    text = resources.files("napari_care_losses.experiments").joinpath("paper.toml").read_text(encoding="utf-8")
    return _parsed(text, Path(), "paper.toml")


def read_experiments(path: Path) -> dict[str, Experiment]:
    """Return the experiments of a TOML file by name, paths relative to its folder; `InputError` names a wrong entry."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is larger than {LARGEST_FILE:,} bytes: no file of experiments is.")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    return _parsed(text, path.parent, str(path))


def result_name(experiment: Experiment, label: str) -> str:
    """Return what the files of a test's results are called."""
    return f"{experiment.name}_{label}" if label else experiment.name


def _parsed(text: str, folder: Path, source: str) -> dict[str, Experiment]:
    try:
        entries = checked(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is no TOML file: {error}.") from error
    found = {}
    for name, entry in entries.items():
        try:
            found[name] = _experiment(name, entry, folder)
        except (InputError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{source}, [{name}]: {error}") from error
    try:
        _check_different(found.values())
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return found


def _experiment(name: str, entry: Any, folder: Path) -> Experiment:
    _check_name("the name", name)
    optional = {"title", "test", "tests", "losses", "methods", "baselines", "reference", "threshold"}
    _check_keys(entry, {"train"}, optional)
    if ("test" in entry) == ("tests" in entry) or ("losses" in entry) == ("methods" in entry):
        raise InputError("it needs either test or tests, and either losses or methods.")
    listed = entry["methods"] if "methods" in entry else [{"name": loss, "loss": loss} for loss in entry["losses"]]
    methods = tuple(_method(one) for one in listed)
    baselines = tuple(entry.get("baselines", BASELINES))
    names = [*baselines, *(method.name for method in methods)]
    if not methods or len(set(names)) < len(names) or INPUT in names:
        raise InputError(f"methods must have different names, none of them {INPUT!r}; found {', '.join(names)}.")
    unknown = [one for one in baselines if one not in BASELINES]
    if unknown:
        raise InputError(f"there is no baseline {unknown[0]!r}; choose from {', '.join(BASELINES)}.")
    reference = entry.get("reference", "laplace" if "laplace" in names else methods[0].name)
    if reference not in names:
        raise InputError(f"the reference {reference!r} is none of {', '.join(names)}.")
    tests = entry["tests"] if "tests" in entry else {"": entry["test"]}
    for label in entry.get("tests", {}):
        _check_name("the label of a test", label)
    train, tested = _pair_set(entry["train"], folder), {label: _pair_set(one, folder) for label, one in tests.items()}
    for label, one in tested.items():
        shared = isinstance(train, FileSet) and isinstance(one, FileSet) and train.shared_with(one)
        if shared:
            which = f"the test {label!r}" if label else "the test"
            raise InputError(f"{shared} are in train and in {which}: give them frames that do not overlap.")
    fields = [one for one in tested.values() if isinstance(one, SimulatedSet) and not one.is_movie]
    for method in methods:
        if fields and method.training.get("neighbours"):
            raise InputError(
                f"{method.name} reads neighbouring frames: every test must be a movie (frames, not fields)."
            )
    return Experiment(
        name=name,
        title=str(entry.get("title", name)),
        train=train,
        tests=tested,
        methods=methods,
        baselines=baselines,
        reference=reference,
        threshold=Threshold(**entry["threshold"]) if "threshold" in entry else None,
    )


def _check_name(what: str, name: str) -> None:
    """Raise `InputError` unless files can be named after it."""
    if not re.fullmatch(r"[\w +,%.-]{1,100}", name) or name != name.strip(" .") or not is_file_name(name):
        raise InputError(
            f"{what} must be up to 100 letters, digits, spaces and _ + , % . - , and none that Windows keeps for a "
            "device (con, nul, com1): files are called after it."
        )


def _check_different(experiments: Collection[Experiment]) -> None:
    """Raise `InputError` if the results of two tests would be one file, on Windows or macOS at least."""
    names = [result_name(one, label) for one in experiments for label in one.tests]
    twice = [name for number, name in enumerate(names) if same_file(name) in map(same_file, names[:number])]
    if twice:
        raise InputError(f"The results of two tests would both be called {twice[0]}: name one of them otherwise.")


def _method(entry: Any) -> TrainedMethod:
    _check_keys(entry, {"name", "loss"}, {"loss_parameters", "training", "restoring"})
    training, restoring = entry.get("training", {}), current_names(entry.get("restoring", {}))
    # checked here, where the error can name the entry, and not hours later
    TrainingParameters.from_dict(training)
    RestorationParameters.from_dict(restoring)
    return TrainedMethod(
        name=str(entry["name"]),
        loss=loss_class(entry["loss"]).from_dict(entry.get("loss_parameters", {})),
        training=training,
        restoring=restoring,
    )


def _pair_set(entry: Any, folder: Path) -> PairSet:
    if isinstance(entry, dict) and "structure" in entry:
        _check_keys(entry, {"structure", "low_ms", "high_ms", "seed"}, {"fields", "frames", "size", "brightness"})
        if ("fields" in entry) == ("frames" in entry):
            raise InputError("a simulated set needs either fields (of view) or frames (of a movie).")
        low = entry["low_ms"]
        given = {key: entry[key] for key in ("structure", "high_ms", "seed", "size", "brightness") if key in entry}
        return SimulatedSet(
            **given,
            low_ms=tuple(low) if isinstance(low, list) else (low,),
            count=entry["frames"] if "frames" in entry else entry["fields"],
            is_movie="frames" in entry,
        )
    _check_keys(entry, {"low", "high"}, {"frames", "movie"})
    frames = entry.get("frames")
    are_many = isinstance(frames, list) and frames != [] and all(isinstance(one, list) for one in frames)
    ranges = frames if are_many else [frames]
    if frames is not None and not all(isinstance(one, list) and list(map(type, one)) == [int, int] for one in ranges):
        raise InputError(
            "frames must be the first and the one after the last, such as [0, 60], or several such ranges; "
            f"found {frames!r}."
        )
    return FileSet(
        low=folder / entry["low"],
        high=folder / entry["high"],
        frames=None if frames is None else tuple(map(tuple, frames)) if are_many else (frames[0], frames[1]),
        is_movie=bool(entry.get("movie", False)),
    )


def _in_folder(folder: Path, simulated: PairSet, frames: tuple[int, int]) -> FileSet:
    assert isinstance(simulated, SimulatedSet)
    paths = [folder / f"{simulated.structure}_{which}.tif" for which in ("low", "high")]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"Real images of {simulated.structure} were expected as {' and '.join(missing)}.")
    return FileSet(low=paths[0], high=paths[1], frames=frames)


def _check_keys(entry: Any, needed: Collection[str], optional: Collection[str]) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"expected a table with {', '.join(sorted(needed))}, found {entry!r}.")
    missing = sorted(set(needed) - set(entry))
    unknown = sorted(set(entry) - set(needed) - set(optional))
    if missing or unknown:
        raise InputError(
            f"missing {', '.join(missing) or 'nothing'}, unknown {', '.join(unknown) or 'nothing'}; "
            f"it takes {', '.join(sorted({*needed, *optional}))}."
        )
