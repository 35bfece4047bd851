"""The demo: simulated actin at 1 ms restored by every method, scored against 100 ms, and shown in napari."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_care_losses.comparison.baselines import BASELINES, restore_with
from napari_care_losses.comparison.report.panels import save_panels
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.stack_scores import evaluate
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.model import SUFFIX, load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import Microscope, simulate_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STRUCTURE, PRESET = "actin", "lite"
TRAINED_LOSSES = ("laplace", "fft", "bandpass")
FRAMES, SIZE, SEED = 6, 384, 7
CROP = (slice(64, 256), slice(64, 256))


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes
    ----------
    title : str
        Its name.
    stack : array (N, Y, X)
        Its restoration, or the input itself.
    seconds : float
        Time it took.
    """

    title: str
    stack: NDArray[np.generic]
    seconds: float


def run_demo(folder: Path, *, opens_viewer: bool = True) -> None:
    """Restore, score, write a picture and the stacks into `folder`, and open napari where there is a display.

    Raises
    ------
    InputError
        If the folder cannot be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror or error}.") from error
    print(f"Simulating {FRAMES} fields of {STRUCTURE} at 1 ms and 100 ms, {SIZE} x {SIZE} px ...")
    low, truth = simulate_pairs(STRUCTURE, FRAMES, (SIZE, SIZE), seed=SEED)
    methods = [Method("Input (1 ms)", low, 0.0)]
    for name, baseline in BASELINES.items():
        begun = time.perf_counter()
        stack = np.stack([restore_with(name, frame) for frame in low])
        methods.append(Method(baseline.title, stack, time.perf_counter() - begun))
    for loss in TRAINED_LOSSES:
        begun = time.perf_counter()
        model = load_model(bundled_folder() / f"{STRUCTURE}-{loss}-{PRESET}{SUFFIX}")
        stack = restore(low, model)
        methods.append(Method(f"CARE {LOSSES[loss].title}", stack, time.perf_counter() - begun))
    labels = _print_table(methods, truth)
    panels = {label: method.stack[0][CROP] for label, method in zip(labels, methods, strict=True)}
    save_panels(folder / "comparison.png", {**panels, "Ground truth\n(100 ms)": truth[0][CROP]}, zoom=2)
    pixel = Microscope().pixel_size
    calibration = Calibration(pixel_size=(pixel, pixel))
    for name, array in {"truth": truth, "input": low, **_file_names(methods)}.items():
        save_stack(folder / f"{name}.tif", Frames(array, "TYX", calibration))
    print(f"Picture: {folder / 'comparison.png'}; stacks beside it.")
    if not opens_viewer:
        return
    if not _has_display():
        print(
            "No display here: napari is not opened. Where there is one, this opens the layers and the Restore widget."
        )
        return
    _open_viewer(methods, truth, pixel)


def _print_table(methods: list[Method], truth: NDArray[np.generic]) -> list[str]:
    """Print PSNR and SSIM of every method, means over the frames; return a panel label for each."""
    scores = evaluate({method.title: Frames(method.stack) for method in methods}, Frames(truth))
    print(f"\n{'Method':<20}{'PSNR (dB)':>11}{'SSIM':>8}{'s/frame':>10}")
    labels = []
    for method in methods:
        mean = scores["mean"][method.title]
        print(f"{method.title:<20}{mean['psnr']:>11.2f}{mean['ssim']:>8.3f}{method.seconds / FRAMES:>10.2f}")
        shown = scores["frames"][0][method.title]
        labels.append(f"{method.title}\n{shown['psnr']:.1f} dB, SSIM {shown['ssim']:.3f}")
    print(f"Means over {FRAMES} frames against 100 ms, after the CARE protocol's affine alignment.\n")
    return labels


def _file_names(methods: list[Method]) -> dict[str, NDArray[np.generic]]:
    return {method.title.lower().replace(" ", "-"): method.stack for method in methods[1:]}


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open_viewer(methods: list[Method], truth: NDArray[np.generic], pixel: float) -> None:
    import napari

    viewer = napari.Viewer(title="napari-care-losses demo")
    shown = {"scale": (1, pixel, pixel), "units": ("pixel", "um", "um"), "axis_labels": ("t", "y", "x")}
    for title, stack in [("Ground truth (100 ms)", truth), *((m.title, m.stack) for m in reversed(methods))]:
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
