"""The work of adapting a model, as iterators without Qt."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.errors import CareError
from napari_care_losses.models.library import LibraryEntry, free_name, new_model_path
from napari_care_losses.models.model import SUFFIX, load_model, read_card
from napari_care_losses.models.user_folder import library_folder
from napari_care_losses.widgets.layers.source_file import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.layers import Image

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.training.plans.plan import Resumed
    from napari_care_losses.training.progress import Preview, Report


class Adaptation:
    """A model that is trained further on a layer; until it is kept, the result lies in a temporary folder.

    Attributes
    ----------
    layer, entry, index
        The layer, the model and the frame that was shown.
    """

    def __init__(self, layer: Image, entry: LibraryEntry, frames: Frames, index: int) -> None:
        self.layer, self.entry, self.index = layer, entry, index
        self._frames, self._name = frames, layer.name
        self._folder = Path(tempfile.mkdtemp(prefix="napari-care-losses-"))
        self._out = self._folder / f"{free_name(f'{layer.name} {entry.path.stem}')}{SUFFIX}"
        self._is_wanted = True

    def run(self) -> Iterator[Report | Resumed | Preview]:
        """Train; closed earlier, the best weights so far are the result."""
        # imported here, in the background: torch takes seconds
        from napari_care_losses.training.plans.adapt import adaptation_plan
        from napari_care_losses.training.plans.plan import train

        try:
            plan = adaptation_plan(self._name, self._frames, self.index, self.entry.path, self._out)
            file, kept_as = file_of(self.layer), library_folder() / self._out.name
            plan = plan._replace(files=[(file.path, None)], channel=file.channel, kept_as=kept_as)
            with closing(train(plan, previews=False)) as reports:
                yield from reports
        finally:
            if not self._is_wanted:
                self.remove()

    def result(self) -> LibraryEntry | None:
        """Return the adapted model; None where there is none yet."""
        if not self._out.is_file():
            return None
        return LibraryEntry(self._out.stem, self._out, False, read_card(self._out))

    def keep(self) -> str:
        """Put the result into the library, and return its name there; raises a `CareError` where that fails."""
        name = free_name(self._out.stem)
        load_model(self._out).save(new_model_path(name))
        self.remove()
        return name

    def drop(self) -> None:
        """Have the files removed at the end of a run that is being stopped."""
        self._is_wanted = False

    def remove(self) -> None:
        """Remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Estimates(NamedTuple):
    """The estimated PSNR of one frame before and after."""

    index: int
    found: tuple[EstimatedPsnr, ...]
    problem: str = ""
    """Why it cannot be told."""


def estimated(
    frames: Frames, index: int, paths: Sequence[Path], parameters: RestorationParameters
) -> Iterator[Estimates | None]:
    """Estimate the PSNR of a frame by several models; yields None while it works, so that it can be stopped."""
    from napari_care_losses.compute.steps import Steps
    from napari_care_losses.restoration.correlated_noise import choose_treatment
    from napari_care_losses.restoration.ranges import estimate_ranges
    from napari_care_losses.restoration.window_psnr import PsnrWindow

    window, measured = None, []
    try:
        for path in paths:
            model = load_model(path)
            treatment = choose_treatment(frames, model.card, parameters)
            sampling = Steps(estimate_ranges(frames, parameters, model.card.normalization))
            for _ in sampling:
                yield None
            # one window and one noise for both: their difference is surer than either
            window = window or PsnrWindow(frames, index, parameters, sampling.result)
            measured.append(window.measure(model, parameters, sampling.result, treatment))
            yield None
        assert window is not None
        yield Estimates(index, tuple(window.estimator.estimates(measured)))
    except CareError as error:
        yield Estimates(index, (), str(error))
