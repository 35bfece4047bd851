"""The demo: simulated actin at 1 ms restored by every method, scored against 100 ms, and shown in napari."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from napari_care_losses.cli.common import path_option

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

STRUCTURE, PRESET = "actin", "lite"
TRAINED_LOSSES = ("laplace", "fft", "bandpass")
FRAMES, SIZE, SEED = 6, 384, 7
CROP = (slice(64, 256), slice(64, 256))


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--out", type=path_option, default=Path("demo"), help="Folder for picture and stacks (demo).")
    parser.add_argument("--no-viewer", action="store_true", help="Do not open napari.")


def run_demo(options: argparse.Namespace) -> None:
    """Restore, score, write a picture and the stacks, and open napari where there is a display."""
    import numpy as np

    from napari_care_losses.comparison.baselines import BASELINES, restore_with
    from napari_care_losses.comparison.report.panels import save_panels
    from napari_care_losses.images.frames import Calibration, Frames
    from napari_care_losses.io.stacks import save_stack
    from napari_care_losses.io.whole_files import make_folder
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.models.library import bundled_folder
    from napari_care_losses.models.model import SUFFIX, load_model
    from napari_care_losses.restoration.restore_stack import restore
    from napari_care_losses.simulation.microscope import Microscope
    from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

    folder = options.out
    make_folder(folder)
    print(f"Simulating {FRAMES} fields of {STRUCTURE} at 1 ms and 100 ms, {SIZE} x {SIZE} px ...")
    low, truth = simulate_pairs(STRUCTURE, FRAMES, (SIZE, SIZE), seed=SEED)
    stacks, seconds = {"Input (1 ms)": low}, [0.0]
    for name, baseline in BASELINES.items():
        begun = time.perf_counter()
        stacks[baseline.title] = np.stack([restore_with(name, frame) for frame in low])
        seconds.append(time.perf_counter() - begun)
    for loss in TRAINED_LOSSES:
        begun = time.perf_counter()
        model = load_model(bundled_folder() / f"{loss}-{PRESET}{SUFFIX}")
        stacks[f"CARE {LOSSES[loss].title}"] = restore(low, model)
        seconds.append(time.perf_counter() - begun)
    labels = _print_table(stacks, seconds, truth)
    panels = {label: stack[0][CROP] for label, stack in zip(labels, stacks.values(), strict=True)}
    save_panels(folder / "comparison.png", {**panels, "Ground truth\n(100 ms)": truth[0][CROP]}, zoom=2)
    pixel = Microscope().pixel_size
    calibration = Calibration(pixel_size=(pixel, pixel))
    files = {"input" if stack is low else title.lower().replace(" ", "-"): stack for title, stack in stacks.items()}
    for name, array in {"truth": truth, **files}.items():
        save_stack(folder / f"{name}.tif", Frames(array, "TYX", calibration))
    print(f"Picture: {folder / 'comparison.png'}; stacks beside it.")
    if options.no_viewer:
        return
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print(
            "No display here: napari is not opened. Where there is one, this opens the layers and the Restore widget."
        )
        return
    _open_viewer(stacks, truth, pixel)


def _print_table(stacks: dict[str, NDArray[np.generic]], seconds: list[float], truth: NDArray[np.generic]) -> list[str]:
    """Print PSNR and SSIM of every method, means over the frames; return a panel label for each."""
    from napari_care_losses.evaluation.stack_scores import evaluate
    from napari_care_losses.images.frames import Frames

    scores = evaluate({title: Frames(stack) for title, stack in stacks.items()}, Frames(truth))
    print(f"\n{'Method':<20}{'PSNR (dB)':>11}{'SSIM':>8}{'s/frame':>10}")
    labels = []
    for title, duration in zip(stacks, seconds, strict=True):
        mean, first = scores["mean"][title], scores["frames"][0][title]
        print(f"{title:<20}{mean['psnr']:>11.2f}{mean['ssim']:>8.3f}{duration / FRAMES:>10.2f}")
        labels.append(f"{title}\n{first['psnr']:.1f} dB, SSIM {first['ssim']:.3f}")
    print(f"Means over {FRAMES} frames against 100 ms, after the CARE protocol's affine alignment.\n")
    return labels


def _open_viewer(stacks: dict[str, NDArray[np.generic]], truth: NDArray[np.generic], pixel: float) -> None:
    import napari
    import numpy as np

    viewer = napari.Viewer(title="napari-care-losses demo")
    shown = {"scale": (1, pixel, pixel), "units": ("pixel", "um", "um"), "axis_labels": ("t", "y", "x")}
    for title, stack in [("Ground truth (100 ms)", truth), *reversed(stacks.items())]:
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
