"""Another noisy shot of the same field as the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from napari_care_losses.training.pair_checks import warnings_of
from napari_care_losses.training.targets.base import Exposures, Target
from napari_care_losses.training.targets.two_shots import TwoShots

if TYPE_CHECKING:
    import numpy as np

    from napari_care_losses.training.pairs import Pair, Share
    from napari_care_losses.training.parameters import TrainingParameters


class Shot(Target):
    """A second noisy image of the same field: Noise2Noise (Lehtinen et al. 2018, arXiv:1803.04189)."""

    name: ClassVar[str] = "shot"
    takes_high: ClassVar[bool] = True

    def exposures(self, share: Share, parameters: TrainingParameters, rng: np.random.Generator) -> Exposures:  # noqa: D102
        return TwoShots(share, parameters.patch_size, either_way=False)

    def warnings(self, pair: Pair) -> list[str]:  # noqa: D102
        return warnings_of(pair.low, pair.second, target_is_noisy=True)
