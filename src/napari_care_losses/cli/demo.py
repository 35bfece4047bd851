"""The demo: simulated actin at 1 ms restored by every method, scored against 100 ms, and shown in napari.

A real pair may stand beside it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.cli.common import path_option
from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRUCTURE, PRESET = "actin", "lite"
FRAMES, SIZE, SEED = 6, 384, 7
REAL_SIZE = 512
"""Largest side of the part of a real image that is restored and shown, in px."""


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--out", type=path_option, default=Path("demo"), help="Folder for picture and stacks (demo).")
    parser.add_argument("--no-viewer", action="store_true", help="Do not open napari.")
    parser.add_argument(
        "--pair",
        type=path_option,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help=f"Show a real image besides, its middle {REAL_SIZE} px, and score it against its long exposure.",
    )


def run_demo(options: argparse.Namespace) -> None:
    """Restore, score, write a picture and the stacks, and open napari where there is a display."""
    from napari_care_losses.comparison.report.panels import save_panels
    from napari_care_losses.images.frames import Calibration, Frames
    from napari_care_losses.images.regions import middle
    from napari_care_losses.io.stacks import save_stack
    from napari_care_losses.io.whole_files import make_folder
    from napari_care_losses.simulation.microscope import Microscope
    from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

    real = None if options.pair is None else _real_pair(*options.pair)
    folder = options.out
    make_folder(folder)
    print(f"Simulating {FRAMES} fields of {STRUCTURE} at 1 ms and 100 ms, {SIZE} x {SIZE} px ...")
    low, truth = simulate_pairs(STRUCTURE, FRAMES, (SIZE, SIZE), seed=SEED)
    simulated = Restored(low, truth)
    if real is None:
        _print_table({"": simulated})
        panels = simulated.panels("", part=middle((SIZE, SIZE), SIZE // 2).slices, zoom=2)
    else:
        shown = {"Simulated": simulated, "Real": Restored(*real)}
        _print_table(shown)
        # as large as the real image
        part = middle((SIZE, SIZE), REAL_SIZE // 2).slices
        beside = zip(simulated.panels("Simulated", part=part, zoom=2), shown["Real"].panels("Real"), strict=True)
        panels = [panel for both in beside for panel in both]
    save_panels(folder / "comparison.png", dict(panels))
    pixel = Microscope().pixel_size
    files = {name.lower().replace(" ", "-"): stack for name, stack in {**simulated.stacks, "truth": truth}.items()}
    for name, array in files.items():
        save_stack(folder / f"{name}.tif", Frames(array, "TYX", Calibration(pixel_size=(pixel, pixel))))
    print(f"Picture: {folder / 'comparison.png'}; stacks beside it.")
    if options.no_viewer:
        return
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print(
            "No display here: napari is not opened. Where there is one, this opens the layers and the Restore widget."
        )
        return
    _open_viewer(simulated.stacks, truth, pixel)


class Restored:
    """A stack (T, Y, X) restored by every method, and its scores."""

    def __init__(self, low: NDArray[Any], truth: NDArray[Any]) -> None:
        import numpy as np

        from napari_care_losses.comparison.baselines import BASELINES, restore_with
        from napari_care_losses.evaluation.stack_scores import evaluate
        from napari_care_losses.images.frames import Frames
        from napari_care_losses.losses.registry import loss_title
        from napari_care_losses.models.library import BUNDLED_LOSSES, bundled_folder
        from napari_care_losses.models.model import SUFFIX, load_model
        from napari_care_losses.restoration.restore_stack import restore

        self.truth = truth
        self.stacks, self.seconds = {"Input": low}, [0.0]
        for name, baseline in BASELINES.items():
            begun = time.perf_counter()
            self.stacks[baseline.title] = np.stack([restore_with(name, frame) for frame in low])
            self.seconds.append((time.perf_counter() - begun) / len(low))
        for loss in BUNDLED_LOSSES:
            begun = time.perf_counter()
            model = load_model(bundled_folder() / f"{loss}-{PRESET}{SUFFIX}")
            self.stacks[f"CARE {loss_title(loss)}"] = restore(low, model)
            self.seconds.append((time.perf_counter() - begun) / len(low))
        self.scores = evaluate({name: Frames(stack) for name, stack in self.stacks.items()}, Frames(truth))

    def panels(
        self, title: str, *, part: tuple[slice, ...] = (slice(None),) * 2, zoom: int = 1
    ) -> list[tuple[str, NDArray[Any]]]:
        """Return a part of the first frame of every stack, with its label."""
        found = []
        for name, stack in {**self.stacks, "Ground truth": self.truth}.items():
            label = f"{title}: {name}" if title else name
            score = self.scores["frames"][0].get(name)
            label += f"\n{score['psnr']:.1f} dB, SSIM {score['ssim']:.3f}" if score else "\n(long exposure)"
            found.append((label, stack[0][part].repeat(zoom, 0).repeat(zoom, 1)))
        return found


def _real_pair(low: Path, high: Path) -> Sequence[NDArray[Any]]:
    """Return the middle of the first frames of two files, as stacks of one frame."""
    from napari_care_losses.images.regions import middle
    from napari_care_losses.io.stacks import read_stack

    first, second = (read_stack(path)[0] for path in (low, high))
    if first.shape != second.shape:
        sizes = [f"{image.shape[0]} x {image.shape[1]} px" for image in (first, second)]
        raise InputError(
            f"The images of a pair show one field and have one size: {low} is of {sizes[0]}, {high} of {sizes[1]}."
        )
    part = middle((first.shape[0], first.shape[1]), REAL_SIZE).slices
    return [image[part][None] for image in (first, second)]


def _print_table(shown: dict[str, Restored]) -> None:
    """Print PSNR and SSIM of every method, means over the frames, of each kind of images."""
    print()
    if len(shown) > 1:
        print(" " * 20 + "".join(f"{title:>29}" for title in shown))
    print(f"{'Method':<20}" + f"{'PSNR (dB)':>11}{'SSIM':>8}{'s/frame':>10}" * len(shown))
    for place, name in enumerate(next(iter(shown.values())).stacks):
        line = f"{name:<20}"
        for each in shown.values():
            mean = each.scores["mean"][name]
            line += f"{mean['psnr']:>11.2f}{mean['ssim']:>8.3f}{each.seconds[place]:>10.2f}"
        print(line)
    frames = f"{FRAMES} simulated frames{' and of one real one' if len(shown) > 1 else ''}"
    print(f"Means of {frames} against the long exposure, after the CARE protocol's affine alignment.\n")


def _open_viewer(stacks: dict[str, NDArray[Any]], truth: NDArray[Any], pixel: float) -> None:
    import napari
    import numpy as np

    viewer = napari.Viewer(title="napari-care-losses demo")
    shown = {"scale": (1, pixel, pixel), "units": ("pixel", "um", "um"), "axis_labels": ("t", "y", "x")}
    for title, stack in [("Ground truth", truth), *reversed(stacks.items())]:
        limits = tuple(float(level) for level in np.percentile(stack, (0.1, 99.9)))
        layer = viewer.add_image(stack, name=title, contrast_limits=limits, **shown)
        # Older versions of napari cannot label the panels of its grid.
        if hasattr(layer, "name_overlay"):
            layer.name_overlay.visible = True
    viewer.grid.enabled = True
    viewer.dims.set_current_step(0, 0)
    viewer.window.add_plugin_dock_widget("napari-care-losses", "Restore")
    viewer.reset_view()
    napari.run()
