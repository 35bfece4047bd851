"""Models sorted by how well they restore an image, estimated without a ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import CareError
from napari_care_losses.images.noise.shared import measure_frames
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.correlated_noise import treatment_of
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.window_psnr import SMALL_WINDOW, PsnrWindow

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr, Measured
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.images.normalization import Normalization
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.ranges import Ranges


class RankedModel(NamedTuple):
    """A model, and the PSNR that it is estimated to give."""

    entry: LibraryEntry
    estimate: EstimatedPsnr | None
    """How far it is behind, is how far it is behind the best of the models; None where nothing can be estimated."""
    reason: str = ""
    """Why nothing can be estimated."""


class Ranking(NamedTuple):
    """A step of ranking: models tried, and models in all."""

    done: int
    total: int


def rank_models(
    frames: Frames, index: int, entries: Sequence[LibraryEntry], parameters: RestorationParameters | None = None
) -> Generator[Ranking, None, list[RankedModel]]:
    """Sort models by the PSNR that a frame restored by them is estimated to have, the best first.

    Each restores the same window of at most 256 px, where the frame has most structure, and the same probe. Those of
    which nothing can be estimated come last, in their order; so do all, where nothing can be estimated of the frame.

    Parameters
    ----------
    frames : Frames
        The noisy stack.
    index : int
        The frame.
    entries : sequence of LibraryEntry
        The models.
    parameters : RestorationParameters, optional
        How the frame is restored.

    Yields
    ------
    Ranking
        After every model; can be closed there.

    Examples
    --------
    >>> from napari_care_losses.compute.steps import finish
    >>> from napari_care_losses.images.frames import Frames
    >>> from napari_care_losses.models.library import list_models
    >>> from napari_care_losses.restoration.rank_models import rank_models
    >>> from napari_care_losses.simulation.pairs_and_movies import simulate_pair
    >>> low, _ = simulate_pair("actin", (128, 128), seed=0)
    >>> small = [entry for entry in list_models() if entry.name in ("fft-lite", "bandpass-lite", "laplace-lite")]
    >>> best, *others = finish(rank_models(Frames(low), 0, small))
    >>> best.estimate.behind, all(other.estimate.behind >= 0 for other in others)
    (0.0, True)
    """
    parameters = parameters or RestorationParameters()
    known: dict[Normalization, Ranges] = {}

    def ranges_for(normalization: Normalization) -> Ranges:
        if normalization not in known:
            known[normalization] = finish(estimate_ranges(frames, parameters, normalization))
        return known[normalization]

    try:
        ranges = ranges_for(PercentileNormalization())
        window = PsnrWindow(frames, index, parameters, ranges, size=SMALL_WINDOW, probes=1)
    except CareError as error:
        return [RankedModel(entry, None, str(error)) for entry in entries]
    noise = measure_frames(frames)
    measured: list[tuple[LibraryEntry, Measured]] = []
    failed: list[RankedModel] = []
    for done, entry in enumerate(entries, 1):
        try:
            model = load_model(entry.path)
            ranges, treatment = ranges_for(model.card.normalization), treatment_of(noise, model.card, parameters)
            measured.append((entry, window.measure(model, parameters, ranges, treatment)))
        except CareError as error:
            failed.append(RankedModel(entry, None, str(error)))
        yield Ranking(done, len(entries))
    if not measured:
        return failed
    estimates = window.estimator.estimates([each for _, each in measured])
    found = [(entry, estimate) for (entry, _), estimate in zip(measured, estimates, strict=True)]
    found.sort(key=lambda each: each[1].behind)
    return [*(RankedModel(*each) for each in found), *failed]
