"""How and where frames are restored: the settings, known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_care_losses.errors import ParameterError
from napari_care_losses.parameters import Parameters, parameter

ENGINES = ("auto", "torch", "openvino", "openvino-int8")
"""What can run a network: auto takes OpenVINO on a processor that it supports, torch everywhere else."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where a network can run: auto takes CUDA, then MPS, then the processor."""

AS_THE_MODEL = -1.0
"""In place of a percentile: the one the model was made for."""


@dataclass(frozen=True, kw_only=True)
class RestorationParameters(Parameters):
    """How frames are normalised, tiled, run and put together."""

    normalization: str = parameter(
        "frame",
        "Range",
        "Whose percentiles become 0 and 1: every frame's own (unrelated images), one range for the stack (movies: "
        "keeps brightness comparable between frames), or one that follows bleaching, smoothed over time (movies that "
        "fade).",
        choices=("frame", "stack", "bleaching"),
    )
    low_percentile: float = parameter(
        AS_THE_MODEL,
        "Low percentile",
        "The percentile of the grey levels that becomes 0 for the network; -1 takes the model's own.",
        unit="%",
        low=AS_THE_MODEL,
        high=50,
        lowest_means="as the model",
    )
    high_percentile: float = parameter(
        AS_THE_MODEL,
        "High percentile",
        "The percentile of the grey levels that becomes 1 for the network, 50 or more; -1 takes the model's own.",
        unit="%",
        low=AS_THE_MODEL,
        high=100,
        lowest_means="as the model",
    )
    low_band: str = parameter(
        "auto",
        "Low band",
        "Slow changes of brightness: tied to the input's, plain as the network gives them, or auto: tied where the "
        "training loss leaves them free (bandpass).",
        choices=("auto", "tied", "plain"),
    )
    average_flips: bool = parameter(
        False,
        "Average flips",
        "Whether every frame is restored in four orientations, flipped up and down, left and right, and averaged: a "
        "little better and four times as long. The live preview leaves it out.",
        advanced=True,
    )
    engine: str = parameter(
        "auto",
        "Engine",
        "What runs the network. openvino-int8 computes in 8 bits, calibrated on your own image: about twice as fast "
        "on most processors, several times on the newest, at a small loss that is shown with the result.",
        choices=ENGINES,
        advanced=True,
    )
    tile_size: int = parameter(
        0,
        "Tile size",
        "Width of the tiles a large frame is cut into; smaller takes less memory and more time. 0 chooses it from the "
        "free memory.",
        unit="px",
        low=0,
        high=16384,
        advanced=True,
        lowest_means="automatic",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, lowest, highest in (("low_percentile", 0, 50), ("high_percentile", 50, 100)):
            value = getattr(self, name)
            if value != AS_THE_MODEL and value < lowest:
                raise ParameterError(
                    f"{name} must lie between {lowest} and {highest} %, or be {AS_THE_MODEL:g} for the model's own; "
                    f"found {value:g}."
                )
        if self.low_percentile == self.high_percentile != AS_THE_MODEL:
            raise ParameterError(
                f"low_percentile must be below high_percentile, found {self.low_percentile:g} % for both: "
                "lower the one or raise the other."
            )
