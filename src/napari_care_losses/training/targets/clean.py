"""Clean images as the target, as CARE trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from napari_care_losses.images.line_fit import fit_line
from napari_care_losses.images.neighbours import among
from napari_care_losses.training.pair_checks import warnings_of
from napari_care_losses.training.synthetic_noise import SIZE, STRENGTH, noise_pool, resized_window
from napari_care_losses.training.targets.base import Exposures, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters


class Clean(Target):
    """The high-exposure image of the same field (Weigert et al. 2018, doi:10.1038/s41592-018-0216-7)."""

    name: ClassVar[str] = "clean"
    takes_high: ClassVar[bool] = True
    is_noisy: ClassVar[bool] = False

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return _CleanExposures(share, parameters, rng)

    def level_map(self, pair: Pair, *, matches: bool) -> tuple[float, float] | None:  # noqa: D102
        if not matches:
            return None
        gain, offset = fit_line(pair.second, pair.low)
        # an empty field: without its noise, the low image is constant
        return (gain, offset) if gain >= 0 else (0.0, float(pair.low.mean()))

    def visible(self, pair: Pair) -> NDArray[Any]:  # noqa: D102
        return pair.second

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        return warnings_of(pair.low, pair.second)


class _CleanExposures:
    """A pair as it is, or its high image with new noise.

    With `redraw_noise` or `vary_size`, a pair whose noise `synthetic_noise.noise_pool` cannot use gives its own low
    patches.
    """

    def __init__(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> None:
        self._parameters = parameters
        self._low, self._high = share.pair.low[share.region], share.pair.second[share.region]
        self._around = [] if share.pair.around is None else [image[share.region] for image in share.pair.around.high]
        redraws = parameters.redraw_noise or parameters.vary_size
        self._noise = noise_pool(self._low, self._high, rng) if redraws else None

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        size = self._parameters.patch_size
        if self._noise is None or not augmented:
            window = (slice(top, top + size), slice(left, left + size))
            return self._low[window], self._high[window]
        factor = 2 ** rng.uniform(-SIZE, SIZE) if self._parameters.vary_size else 1.0
        high, strength = resized_window(self._high, (top, left), size, factor), 2 ** rng.uniform(-STRENGTH, STRENGTH)
        low = self._noise.expose(high, strength, rng)
        around = [resized_window(image, (top, left), size, factor) for image in self._around]
        return among([self._noise.expose(image, strength, rng) for image in around], low), high
