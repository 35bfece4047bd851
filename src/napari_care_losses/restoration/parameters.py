"""How frames are restored, and how a restoration runs: settings that load without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import ParameterError
from napari_care_losses.parameters import Parameters, parameter
from napari_care_losses.restoration.engines import choose as engines

if TYPE_CHECKING:
    from distributed import Client

    from napari_care_losses.images.normalization import Normalization
    from napari_care_losses.images.usable_pixels import Repairs

ENGINES = ("auto", *engines.ENGINES)
"""What can run a network: auto takes OpenVINO on CPUs that it supports, torch everywhere else."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where a network can run: auto takes CUDA, then MPS, then the CPU."""


@dataclass(frozen=True, kw_only=True)
class RestorationParameters(Parameters):
    """How frames are normalised, cut into tiles, run through the network and put together.

    Examples
    --------
    >>> from napari_care_losses.restoration.parameters import RestorationParameters
    >>> movie = RestorationParameters(normalization="stack", tile_size=512)
    >>> movie.low_percentile is None  # as the model
    True
    >>> RestorationParameters(normalization="movie")
    Traceback (most recent call last):
    ...
    napari_care_losses.errors.ParameterError: normalization must be one of auto, frame, stack, bleaching; found 'movie'.
    """

    normalization: str = parameter(
        "auto",
        "Range",
        "Which grey levels become 0 and 1 for the network. auto: frame, or stack for the few imported models that "
        "normalise by the statistics of a whole dataset. frame: every frame has its own range (unrelated images). "
        "stack: one range for the stack (movies: brightness stays comparable between frames). bleaching: a range that "
        "follows bleaching, smoothed over time (movies that fade).",
        choices=("auto", "frame", "stack", "bleaching"),
        words={
            "auto": "as the model needs",
            "frame": "of each frame",
            "stack": "of the whole stack",
            "bleaching": "following bleaching",
        },
    )
    low_percentile: float | None = parameter(
        None,
        "Low percentile",
        "The percentile of the grey levels that becomes 0 for the network.",
        unit="%",
        low=0,
        high=50,
        none_means="as the model",
        none_number=-1.0,
    )
    high_percentile: float | None = parameter(
        None,
        "High percentile",
        "The percentile of the grey levels that becomes 1 for the network.",
        unit="%",
        low=50,
        high=100,
        none_means="as the model",
        none_number=-1.0,
    )
    low_band: str = parameter(
        "auto",
        "Low band",
        "Slow changes of brightness. tied: taken from the input. plain: as the network gives them. auto: tied for "
        "losses that leave them free (bandpass), plain for the others.",
        choices=("auto", "tied", "plain"),
        words={"auto": "as the model needs", "tied": "from the input", "plain": "from the model"},
    )
    average_flips: bool = parameter(
        False,
        "Average flips",
        "Restore every frame in four orientations, flipped up and down, left and right, and average them: slightly "
        "better, four times slower. The live preview does not do this.",
        advanced=True,
    )
    replace_hot_pixels: bool = parameter(
        False,
        "Replace hot pixels",
        "Replace isolated pixels far above their neighbours (hot pixels, cosmic rays) by the median of their "
        "neighbours before restoring. Otherwise they spoil the pixels around them.",
        advanced=True,
    )
    even_lines: bool = parameter(
        False,
        "Even out lines",
        "Replace dead rows and columns by their neighbours, and remove the offsets of uneven ones, before restoring. "
        "Otherwise the network takes them for structure.",
        advanced=True,
    )
    half_resolution: bool = parameter(
        False,
        "Half resolution",
        "Average blocks of 2 x 2 pixels, restore, and interpolate back: for images whose noise correlates between "
        "neighbouring pixels (interpolated, filtered or compressed after recording). What is finer than two pixels is "
        "lost.",
    )
    engine: str = parameter(
        "auto",
        "Engine",
        "What runs the network. openvino-int8 computes in 8 bits, calibrated on your own image: about twice as fast "
        "on most CPUs, several times on the newest, at a small loss of quality that is shown with the result.",
        choices=ENGINES,
        words={"auto": "automatic", "openvino": "OpenVINO", "openvino-int8": "OpenVINO, 8 bits"},
        advanced=True,
    )
    tile_size: int | None = parameter(
        None,
        "Tile size",
        "Width of the tiles that a large frame is cut into. Smaller tiles need less memory but more time.",
        unit="px",
        low=1,
        high=16384,
        advanced=True,
        none_means="automatic",
        none_number=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low_percentile is not None and self.low_percentile == self.high_percentile:
            raise ParameterError(
                f"low_percentile must be below high_percentile, found {self.low_percentile:g} % for both: "
                "lower the one or raise the other."
            )

    @property
    def repairs(self) -> Repairs:
        """What is replaced in a frame before it is restored."""
        from napari_care_losses.images.usable_pixels import Repairs

        return Repairs(hot_pixels=self.replace_hot_pixels, lines=self.even_lines)

    def resolved(self, normalization: Normalization) -> RestorationParameters:
        """Return the parameters with the kind of range that a model of this normalization needs, if left to it.

        Examples
        --------
        >>> from napari_care_losses.images.normalization import Standardization
        >>> RestorationParameters().resolved(Standardization(of_dataset=True)).normalization
        'stack'
        """
        if self.normalization != "auto":
            return self
        return replace(self, normalization="stack" if normalization.of_dataset else "frame")

    def identity(self) -> dict[str, Any]:
        """Return what tells jobs apart: the plain values, as earlier jobs had them: without what came later, if off."""
        later = ("replace_hot_pixels", "even_lines", "half_resolution")
        return {name: value for name, value in self.to_dict().items() if name not in later or value}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a restoration runs, how its result is stored, and whether a stopped run continues."""

    device: str = "auto"
    """One of `DEVICES`."""
    dtype: str = "float32"
    """One of `napari_care_losses.io.pixel_types.OUTPUT_TYPES`; integers are rounded and clipped."""
    zarr_version: str | None = None
    """One of `napari_care_losses.io.ome_zarr_reader.VERSIONS`, for OME-Zarr; by default the first."""
    resume: bool = False
    """Restore only the frames that a stopped run of the same job left out."""
    cluster: Client | None = None
    """Client of a Dask cluster (`napari_care_losses.restoration.cluster.scheduler.connected`) whose workers restore the
    frames; results must be OME-Zarr then."""
