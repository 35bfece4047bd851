"""How and where frames are restored: the settings, known without torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_care_losses.core.parameters import Parameters, parameter

ENGINES = ("auto", "torch", "openvino", "openvino-int8")
"""What can run a network: auto takes OpenVINO on a processor that it supports, torch everywhere else."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where a network can run: auto takes CUDA, then MPS, then the processor."""


@dataclass(frozen=True, kw_only=True)
class RestorationParameters(Parameters):
    """How frames are normalised, tiled, run and put together."""

    normalization: str = parameter(
        "frame",
        "Range",
        "Whose percentiles become 0 and 1: every frame's own (unrelated images), or one range for the stack (movies: "
        "keeps brightness comparable between frames).",
        choices=("frame", "stack"),
    )
    low_band: str = parameter(
        "auto",
        "Low band",
        "Slow changes of brightness: tied to the input's, plain as the network gives them, or auto: tied where the "
        "training loss leaves them free (bandpass).",
        choices=("auto", "tied", "plain"),
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
