"""The command ``simulate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.cli.common import path_option

if TYPE_CHECKING:
    import argparse

KINDS = ("fields", "movie", "z-stack")


def add_simulate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from napari_care_losses.simulation.pairs_and_movies import STRUCTURES

    parser.add_argument("structure", choices=tuple(STRUCTURES), help="What to simulate.")
    parser.add_argument(
        "--out", type=path_option, required=True, help="Folder for low.tif and high.tif; made if missing."
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help="Fields of view, one movie or one z-stack; by default a movie of dendra, fields of others.",
    )
    parser.add_argument(
        "--count", type=int, default=9, help="Fields of view, frames of a movie or planes of a z-stack (9)."
    )
    parser.add_argument(
        "--interval",
        type=float,
        help="Seconds between the frames of a movie; by default as fast as the structure moves.",
    )
    parser.add_argument("--z-step", type=float, help="Micrometres between the planes of a z-stack (0.3).")
    parser.add_argument("--size", type=int, default=512, help="Width and height in pixels (512).")
    parser.add_argument("--low-ms", type=float, help="Low exposure in milliseconds.")
    parser.add_argument("--high-ms", type=float, help="High exposure in milliseconds.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed (0).")


def run_simulate(options: argparse.Namespace) -> None:
    """Write simulated pairs, a movie or a z-stack."""
    from napari_care_losses.images.frames import Calibration, Frames
    from napari_care_losses.io.stacks import save_stack
    from napari_care_losses.io.whole_files import make_folder
    from napari_care_losses.simulation.microscope import Microscope
    from napari_care_losses.simulation.pairs_and_movies import (
        STRUCTURES,
        ImagingConditions,
        simulate_movie,
        simulate_pairs,
    )
    from napari_care_losses.simulation.z_stacks import simulate_z_stack

    steps = {"interval_s": options.interval, "z_step": options.z_step}
    conditions = ImagingConditions(
        low_ms=options.low_ms,
        high_ms=options.high_ms,
        **{name: step for name, step in steps.items() if step is not None},
    )
    kind = options.kind or ("movie" if options.structure == "dendra" else "fields")
    arguments = (options.structure, options.count, (options.size, options.size), conditions)
    if kind == "z-stack":
        simulated = simulate_z_stack(*arguments, seed=options.seed)
    else:
        simulated = (simulate_movie if kind == "movie" else simulate_pairs)(*arguments, seed=options.seed)
    interval_s = conditions.interval_s or STRUCTURES[options.structure].interval_s
    pixel = Microscope().pixel_size
    calibration = Calibration(
        pixel_size=(pixel, pixel),
        z_step=conditions.z_step if kind == "z-stack" else None,
        time_step=interval_s if kind == "movie" else None,
    )
    axes = "ZYX" if kind == "z-stack" else "TYX"
    make_folder(options.out)
    for name, stack in zip(("low", "high"), simulated, strict=True):
        path = options.out / f"{name}.tif"
        save_stack(path, Frames(stack, axes, calibration))
        print(path)
