"""The base of the targets: what the network is to reproduce, and how patches of it are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from napari_care_losses.errors import InputError
from napari_care_losses.images.sampling import evenly_spaced

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.losses.base import Loss
    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters

MAX_CHECKED = 5
"""Most images of a training of which it is checked whether a target can be had."""


MOST_CORRELATED, LEAST_CORRELATED = 0.3, 0.1
"""Correlation of the noise in neighbouring pixels above which images that are their own target are refused, and above
which it is warned of."""

VISIBLE = 2.0
"""Sigma in pixels of the Gaussian that shows where the signal of a noisy image is."""

PHOTONS = (1, 3, 10)
"""Photons a pixel at which the median of noisy targets was measured (``benchmarks/targets.py``)."""


class Exposures(Protocol):
    """Draws windows of one image: what the network is given, and what it is to make of it."""

    def draw(
        self, top: int, left: int, rng: np.random.Generator, *, augmented: bool
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return both for the patch (Y, X) that begins at a place of the region to draw from, in grey levels.

        What the network is given is (1 + neighbours, Y, X) where the frames around it are made too; otherwise they are
        added as they are. Pixels that it is not to learn from are NaN in the second, for losses that compare pixel by
        pixel.
        """


class Target(ABC):
    """What the network is to reproduce.

    To add one, write a class in a file of this folder and add it to `registry.TARGETS`.
    """

    name: ClassVar[str]
    """One of `napari_care_losses.training.parameters.TARGET_NAMES`."""
    takes_high: ClassVar[bool] = False
    """Whether every image comes with a second one of the same field."""
    is_noisy: ClassVar[bool] = True
    """Whether the target has noise of its own, so that it is no ground truth."""
    is_blind: ClassVar[bool] = False
    """Whether the network sees the neighbours of a frame only, and not the frame itself."""
    medians: ClassVar[tuple[float, ...]] = (0.81, 0.94, 0.98)
    """Median of a noisy target relative to its mean, at each number of `PHOTONS` a pixel."""

    def places(self, low: Frames) -> list[tuple[int, ...]]:
        """Return for every example of a stack the number of its frame, or of both frames where it is made of two.

        Raises
        ------
        InputError
            If the stack gives none.
        """
        return [(index,) for index in range(len(low))]

    @abstractmethod
    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:
        """Return what draws windows of the part of an image that trains or validates."""

    def level_map(self, pair: Pair, *, matches: bool) -> tuple[float, float] | None:
        """Return gain and offset from the grey levels of what is drawn as target to those of the input.

        None where each has a range of its own; `matches` is whether the training asks for equal grey levels.
        """
        return 1.0, 0.0

    def visible(self, pair: Pair) -> NDArray[Any]:
        """Return an image (Y, X) of a pair that shows where its signal is, with as little noise as there is."""
        from scipy.ndimage import gaussian_filter

        blurred: NDArray[np.float32] = gaussian_filter(pair.low.astype("float32"), VISIBLE)
        return blurred

    def problem(self, pair: Pair) -> str:
        """Return why the target cannot be had of an image, and what to do; empty if it can."""
        return ""

    def check(self, pairs: Sequence[Pair]) -> None:
        """Check that the target can be had of images; a few are looked at.

        Raises
        ------
        InputError
            If it cannot be had of more than half of them, or second images are missing.
        """
        if self.takes_high and any(pair.high is None for pair in pairs):
            raise InputError(f"The target {self.name!r} needs a second image of every field, as high.")
        checked = evenly_spaced(pairs, MAX_CHECKED)
        problems = [(pair.name, problem) for pair in checked if (problem := self.problem(pair))]
        if 2 * len(problems) > len(checked):
            raise InputError("Pair {}: {}".format(*problems[0]) if self.takes_high else "{}: {}".format(*problems[0]))

    def check_loss(self, loss: Loss) -> None:  # noqa: B027
        """Raise an `InputError` if the target cannot be learnt by a loss; any can, unless a target says otherwise."""

    def loss_remark(self, loss: Loss) -> str:
        """Return what a loss makes of the target's noise, if it is not the mean; else nothing."""
        if not self.is_noisy or loss.gives_mean:
            return ""
        darker = ", ".join(f"{share:.0%}" for share in self.medians)
        photons = ", ".join(map(str, PHOTONS))
        return (
            f"The loss {loss.title} does not learn the mean of a noisy target. The median, which most losses learn, is "
            f"{darker} of the mean at {photons} photons a pixel. Choose FFT, or the mean squared error."
        )

    def warnings(self, pair: Pair) -> list[str]:
        """Return what may be wrong with an image that can be used, one sentence each."""
        return []

    def remarks(self, pairs: Sequence[Pair]) -> list[str]:
        """Return what is good to know of images, and no reason for doubt, one sentence each."""
        return []
