"""One input restored by several methods, frame by frame, and scored against the ground truth."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.comparison.baselines import BASELINES, described_strength, restore_in_steps
from napari_care_losses.comparison.window_estimates import WindowEstimates, scores_or_reason
from napari_care_losses.compute.memory import free_memory
from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import grey_levels, scale_truth, score
from napari_care_losses.evaluation.without_truth.single_image import measure_image
from napari_care_losses.images.any_array import pixel_type, to_numpy
from napari_care_losses.images.axes import check_distinct, truth_of
from napari_care_losses.images.checks import finite
from napari_care_losses.models.model import read_card
from napari_care_losses.restoration.parameters import RestorationParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_care_losses.evaluation.metrics import ScaledTruth
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.program import Network

INPUT = "input"
"""The name under which the unrestored image is scored."""

_KEPT_FRAMES = 3


@dataclass(frozen=True)
class Method:
    """A model or a baseline that restores images.

    Raises
    ------
    InputError
        If there is not exactly one of model and baseline, the baseline is unknown, or the name is empty or that of the
        input.
    """

    name: str
    """Label of its panel and row, unique in one comparison."""
    model: Path | None = None
    """A model file."""
    baseline: str = ""
    """Or a name in `napari_care_losses.comparison.baselines.BASELINES`."""
    strength: float = 1.0
    """Strength of the baseline relative to that of least estimated error."""
    parameters: RestorationParameters | None = None
    """How the model restores, in place of the parameters of the comparison."""

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name == INPUT:
            raise InputError(f"A method's name must not be empty or {INPUT!r}, found {self.name!r}.")
        if (self.model is None) == (not self.baseline):
            raise InputError(f"The method {self.name!r} must be either a model or a baseline.")
        if self.baseline and self.baseline not in BASELINES:
            raise InputError(f"There is no baseline {self.baseline!r}; choose one of: {', '.join(BASELINES)}.")


class Compared(NamedTuple):
    """A step of a comparison."""

    done: int
    total: int
    """Steps in all; may change while tiles are being planned."""
    method: str
    """`INPUT` or the name of the method this step completed a frame of; empty for a step that completed none."""
    frame_index: int | None
    image: NDArray[np.float32] | None
    """The restored frame (Y, X) in the input's grey levels; the input itself for `INPUT`."""
    scores: dict[str, float]
    """The metrics, and ``slope`` and ``r2`` of the grey levels against the truth's; without a truth, what
    `napari_care_losses.evaluation.without_truth.single_image.measure_image` finds. With and without, the entries of
    `napari_care_losses.evaluation.without_truth.estimated_psnr.ESTIMATED_SCORES` where it can be estimated."""
    note: str = ""
    """What the user should know about how it was made; of the input, why nothing can be estimated; may be empty."""


def compare(
    frames: Frames,
    methods: Sequence[Method],
    *,
    truth: Frames | None = None,
    parameters: RestorationParameters | None = None,
    indices: Sequence[int] | None = None,
    aligned: bool = True,
) -> Generator[Compared, None, None]:
    """Restore a stack by several methods, frame by frame; can be closed at any step.

    All methods restore a frame before the next one. All tiles together take no more memory than a single restoration's.

    Parameters
    ----------
    methods : sequence of Method
        How to restore the frames, at least one.
    truth : Frames, optional
        The ground truth: frame i belongs to frame i of the input; one frame is that of a whole movie.
    parameters : RestorationParameters, optional
        How the models' frames are normalised, tiled and put together. A range for the stack is estimated once.
    indices : sequence of int, optional
        Which frames, in this order; all of them by default.
    aligned : bool
        Whether each frame is brought to the truth by the affine map of least squared error before PSNR and SSIM.

    Yields
    ------
    Compared
        For every frame the input, then each method in order; steps in between that completed nothing.

    Raises
    ------
    InputError
        If input and truth differ in number or shape of frames, or are the same images, names are used twice, a frame
        does not exist, cannot be restored or cannot be scored.
    ModelFileError
        If a model cannot be read.
    ComputeError
        If the device fails.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_care_losses.comparison.compare import Method, compare
    >>> from napari_care_losses.images.frames import Frames
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat(np.repeat(rng.uniform(20, 200, (2, 8, 8)), 8, axis=1), 8, axis=2)
    >>> noisy = rng.poisson(truth)
    >>> methods = [Method("TV", baseline="tv"), Method("NL-means", baseline="nl-means")]
    >>> for step in compare(Frames(noisy), methods, truth=Frames(truth), indices=[0]):
    ...     if step.image is not None:
    ...         print(step.method, round(step.scores["psnr"]))
    input 25
    TV 32
    NL-means 29
    """
    chosen = list(range(len(frames)) if indices is None else indices)
    truth = None if truth is None else truth_of(truth, frames)
    _check(frames, methods, truth, chosen)
    parameters = parameters or RestorationParameters()
    shared = replace(frames, data=_Shared(frames.pixels))
    if truth is not None:
        check_distinct(shared, truth, chosen)
    models = sum(method.model is not None for method in methods)
    with ExitStack() as closed:
        running = [closed.enter_context(closing(_steps(m, shared, chosen, parameters, models))) for m in methods]
        latest = [_Step(0, len(chosen))] * len(methods)
        estimates = _estimates(shared, methods, parameters)
        for number, index in enumerate(chosen, start=1):
            estimating = Steps(scores_or_reason(estimates, index))
            for _ in estimating:
                yield Compared(*_counted(latest, number - 1, len(chosen)), "", None, None, {})
            estimated, reason = estimating.result
            of_input, *of_methods = estimated or [{}] * (1 + len(methods))
            scores = _scorer(truth, index, frames.calibration.square_pixel, aligned=aligned)
            image = np.array(finite(shared[index], f"Frame {index}: "), np.float32)
            yield Compared(
                *_counted(latest, number, len(chosen)), INPUT, index, image, of_input | scores(image), reason
            )
            for place, method in enumerate(methods):
                for step in running[place]:
                    latest[place] = step
                    counted = _counted(latest, number, len(chosen))
                    if step.image is not None:
                        found = of_methods[place] | scores(step.image)
                        yield Compared(*counted, method.name, index, step.image, found, step.note)
                        break
                    yield Compared(*counted, "", None, None, {})


class _Step(NamedTuple):
    """A step of one method: its own counts, and the frame it completed, if it did."""

    done: int
    total: int
    image: NDArray[np.float32] | None = None
    note: str = ""


def _steps(
    method: Method, frames: Frames, indices: list[int], parameters: RestorationParameters, models: int
) -> Generator[_Step, None, None]:
    """Restore the frames by one method; `models` models share the memory."""
    if method.model is None:
        yield from _baseline_steps(method, frames, indices)
        return
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.restore_stack import restore_frames

    model = load_model(method.model)
    parameters = method.parameters or parameters
    if models > 1 and not parameters.tile_size:
        parameters = replace(parameters, tile_size=_shared_tile(model.card.architecture, models))
    yield _Step(0, len(indices))
    for progress in restore_frames(frames, model, parameters, indices=indices):
        image = None if progress.frame is None else progress.frame.image
        yield _Step(progress.done, progress.total, image, progress.note)


def _baseline_steps(method: Method, frames: Frames, indices: list[int]) -> Generator[_Step, None, None]:
    baseline = BASELINES[method.baseline]
    note = f"{baseline.title}: {described_strength(method.strength)}"
    for number, index in enumerate(indices, start=1):
        try:
            for image in restore_in_steps(method.baseline, frames[index], strength=method.strength):
                yield _Step(number - (image is None), len(indices), image, note)
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error


def _estimates(frames: Frames, methods: Sequence[Method], parameters: RestorationParameters) -> WindowEstimates:
    """Return what estimates the PSNR of the methods."""
    estimates = WindowEstimates(frames, parameters)
    for method in methods:
        if method.model is None:
            estimates.add_baseline(method.baseline, method.strength)
        else:
            estimates.add_model(method.model, method.parameters or parameters)
    return estimates


def _shared_tile(architecture: Network, models: int) -> int:
    """Return the tile size with which several models fit where one would: each keeps the memory of a tile."""
    from napari_care_losses.restoration.engines.base import MEMORY_CAP, MEMORY_SHARE
    from napari_care_losses.restoration.tiles import largest_tile

    memory = min(int(MEMORY_SHARE * free_memory()), MEMORY_CAP["cpu"])
    return max(1, largest_tile(architecture, memory // models))


def _counted(latest: list[_Step], inputs: int, frames: int) -> tuple[int, int]:
    """Return the steps done and in all."""
    return inputs + sum(step.done for step in latest), frames + sum(step.total for step in latest)


def _scorer(
    truth: Frames | None, index: int, pixel_size: float | None, *, aligned: bool
) -> Callable[[NDArray[np.float32]], dict[str, float]]:
    """Return what gives metrics, slope and R2 of an image of one frame; without a truth, its resolution."""
    clean = None if truth is None else truth[index]
    scaled: list[ScaledTruth] = []

    def scores(image: NDArray[np.float32]) -> dict[str, float]:
        if clean is None:
            return measure_image(image, pixel_size)
        try:
            if not scaled:
                scaled.append(scale_truth(clean))
            levels = grey_levels(image, clean)
            return {**score(image, scaled[0], aligned=aligned), "slope": levels.slope, "r2": levels.r2}
        except InputError as error:
            raise InputError(f"Frame {index}: {error}") from error

    return scores


class _Shared:
    """An array that several methods read: one at a time, and each frame in use only once."""

    def __init__(self, data: Any) -> None:
        self._data, self.shape, self.dtype = data, data.shape, pixel_type(data)
        self._lock = Lock()
        self._kept: dict[tuple[int, ...], NDArray[Any]] = {}

    def __getitem__(self, position: tuple[int, ...]) -> NDArray[Any]:
        with self._lock:
            # moved to the end: the frame that is unused for longest is dropped first
            frame = self._kept.pop(position, None)
            self._kept[position] = to_numpy(self._data[position]) if frame is None else frame
            while len(self._kept) > _KEPT_FRAMES:
                del self._kept[next(iter(self._kept))]
            return self._kept[position]


def _check(frames: Frames, methods: Sequence[Method], truth: Frames | None, indices: list[int]) -> None:
    if not methods:
        raise InputError("A comparison needs at least one method, found none: choose a model or a baseline.")
    names = [method.name for method in methods]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Every method needs a name of its own, found {', '.join(map(repr, twice))} more than once.")
    if truth is not None and (len(frames), frames.frame_shape) != (len(truth), truth.frame_shape):
        raise InputError(
            f"The input has {len(frames)} frames of {frames.frame_shape}, the ground truth {len(truth)} of "
            f"{truth.frame_shape}: they must be the same. Choose the truth of this input."
        )
    if not indices or not all(0 <= index < len(frames) for index in indices):
        raise InputError(f"Frames {indices} were asked for, expected at least one of 0 to {len(frames) - 1}.")
    if len(set(indices)) < len(indices):
        raise InputError(f"Every frame is compared once, found some twice in {indices}.")
    for method in methods:
        if method.model is not None:
            read_card(method.model)
