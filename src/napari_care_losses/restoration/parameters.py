"""How frames are restored, and how a restoration runs: settings that load without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from napari_care_losses.errors import ParameterError
from napari_care_losses.parameters import Parameters, parameter
from napari_care_losses.restoration.engines import choose as engines

if TYPE_CHECKING:
    from pathlib import Path

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
    correlated_noise: str = parameter(
        "auto",
        "Correlated noise",
        "Noise that neighbouring pixels share (images that were interpolated, filtered or compressed after recording), "
        "which networks take for structure. auto: measured in a few frames; decorrelated before restoring, or restored "
        "at half resolution where that is not enough, unless the model learned from such noise. half: blocks of 2 x 2 "
        "pixels are averaged, restored, and interpolated back; what is finer than two pixels is lost. ignore: nothing "
        "is done about it.",
        choices=("auto", "half", "ignore"),
        words={"auto": "as measured", "half": "at half resolution", "ignore": "left as it is"},
    )
    engine: str = parameter(
        "auto",
        "Engine",
        "What runs the network. openvino-int8 computes in 8 bits, calibrated on your own image: several times as fast "
        "on processors with instructions for that (VNNI: Intel since 2019, AMD since Zen 4), hardly faster on others. "
        "torch-tf32, torch-bfloat16 and torch-float16 are for graphics cards, which multiply shorter numbers faster; "
        "CPUs do so more slowly. The small loss of quality and what it gains are shown with the result.",
        choices=ENGINES,
        words={
            "auto": "automatic",
            "torch-tf32": "torch, TF32 (graphics cards)",
            "torch-bfloat16": "torch, bfloat16 (graphics cards)",
            "torch-float16": "torch, float16 (graphics cards)",
            "openvino": "OpenVINO",
            "openvino-int8": "OpenVINO, 8 bits",
        },
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

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make an instance from plain values, those of earlier versions too; raise `ParameterError` as `Parameters`."""
        return super().from_dict(current_names(values))

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
        """Return what tells jobs apart: the plain values, as earlier jobs had them: without what came later, if off.

        Where correlated noise is left to be measured, what is done about it is `Treatment.identity`.
        """
        later = ("replace_hot_pixels", "even_lines", "half_resolution")
        values = self.to_dict()
        values["half_resolution"] = values.pop("correlated_noise") == "half"
        return {name: value for name, value in values.items() if name not in later or value}


def current_names(values: dict[str, Any]) -> dict[str, Any]:
    """Return plain values of `RestorationParameters` with what was ``half_resolution``, yes or no, by its new name.

    Examples
    --------
    >>> current_names({"half_resolution": True, "tile_size": 512})
    {'tile_size': 512, 'correlated_noise': 'half'}
    """
    if not isinstance(values, dict) or "half_resolution" not in values:
        return values
    named = {name: value for name, value in values.items() if name != "half_resolution"}
    return {**named, "correlated_noise": "half" if values["half_resolution"] else "ignore"}


class IntervalFiles(NamedTuple):
    """Intervals to write: the share of the true grey levels that they hold, and the files of their ends."""

    level: float
    lower: Path
    upper: Path

    def absolute(self) -> IntervalFiles:
        """Return them with whole paths."""
        return IntervalFiles(self.level, self.lower.absolute(), self.upper.absolute())


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
