"""Take the pictures of the widgets at work that the tutorial shows, on sample data, by clicking through it.

Opens a real viewer, so it needs a display; a virtual one serves:
``xvfb-run -a -s "-screen 0 1600x1000x24" python docs/make_screenshots.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import napari.settings
import npe2
from napari.qt import get_qapp
from qtpy.QtWidgets import QApplication, QWidget
from superqt import QCollapsible
from useq import MDASequence

import napari_care_losses
from napari_care_losses.following.camera.simulated_microscope import simulated_microscope
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_movie, simulate_pairs
from napari_care_losses.training.plans import adapt

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_care_losses.widgets.compare.widget import CompareWidget
    from napari_care_losses.widgets.restore.widget import RestoreWidget
    from napari_care_losses.widgets.train.widget import TrainWidget

PLUGIN = "napari-care-losses"
SIZE = (1366, 768)
"""Pixels of a small laptop's screen: what fits there fits anywhere."""


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--only", choices=tuple(PAGES), help="Only the pictures of one of the tutorials.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    get_qapp()
    with tempfile.TemporaryDirectory() as library:
        # The pictures must not depend on, nor add to, the models of the user who takes them.
        os.environ["NAPARI_CARE_LOSSES_LIBRARY"] = library
        _register()
        napari.settings.get_settings().appearance.theme = options.theme
        viewer = napari.Viewer(show=False)
        viewer.show()
        viewer.window.resize(*SIZE)
        for name, show in PAGES.items():
            if options.only in (None, name):
                viewer.layers.clear()
                show(viewer, options.out)
        viewer.close()


def _show_fields(viewer: napari.Viewer, out: Path) -> None:
    truth, low = viewer.open_sample(PLUGIN, "actin")
    viewer.dims.set_current_step(0, 4)
    restore = _open(viewer, "Restore")
    _show_preview(viewer, restore, out)
    _show_restoring(viewer, restore, truth, out)
    viewer.window.remove_dock_widget(restore)
    _show_training(viewer, _open(viewer, "Train"), low, truth, out)
    compare = _open(viewer, "Compare")
    _show_comparison(viewer, compare, low, truth, out)
    viewer.window.remove_dock_widget(compare)


def _show_movie(viewer: napari.Viewer, out: Path) -> None:
    truth, low = viewer.open_sample(PLUGIN, "dendra")
    train: TrainWidget = _open(viewer, "Train")
    train.pairs.rows[0].choose(low, truth)
    train.start_from.choose("fft-lite-movie")
    train.form.set_values({"neighbours": 4, "amount": 0.4, "steps_per_epoch": 20})
    train.run_bar.start_button.click()
    _wait(lambda: train.run_bar.progress.value() > 700, 300)
    _take(viewer, out / "train_movie.png")
    train.run_bar.stop_button.click()
    _wait(lambda: not train.is_running, 60)
    viewer.window.remove_dock_widget(train)
    viewer.layers.clear()
    # cells that no model has seen, and a truth of hardly any noise
    conditions = ImagingConditions(high_ms=4000.0)
    noisy, clean = (
        viewer.add_image(
            stack, name=f"dendra {exposure} ms", scale=low.scale, units=low.units, axis_labels=low.axis_labels
        )
        for stack, exposure in zip(
            simulate_movie("dendra", 12, (256, 256), conditions, seed=305), (10, 4000), strict=True
        )
    )
    compare: CompareWidget = _open(viewer, "Compare")
    compare.settings.image.value = noisy
    compare.settings.truth.value = clean
    compare.settings.methods.tick(["fft-lite", "fft-lite-movie"])
    compare.run_bar.start_button.click()
    _wait(lambda: not compare.is_running and not compare.is_busy, 300)
    _take_window(compare, out / "compare_movie.png")
    viewer.window.remove_dock_widget(compare)


def _show_without_clean(viewer: napari.Viewer, out: Path) -> None:
    viewer.add_image(simulate_pairs("mitochondria", 6, (256, 256), seed=1)[0], name="cells 10 ms")
    _show_training_without_clean(viewer, _open(viewer, "Train"), out)
    restore = _open(viewer, "Restore")
    _show_adapting(viewer, restore, out)
    viewer.window.remove_dock_widget(restore)


def _show_following(viewer: napari.Viewer, out: Path) -> None:
    core = simulated_microscope(exposure_ms=20, interval_ms=200)
    restore = _open(viewer, "Restore")
    restore.model.choose("fft-lite")
    follow, found = restore.follow, []
    follow.estimate.estimated.connect(lambda _, exposure: found.append(exposure))
    next(each for each in restore.findChildren(QCollapsible) if follow in each.findChildren(QWidget)).expand(False)
    _wait(lambda: follow.exposure.visible or len(follow.kind.choices) > 1, 30)
    follow.kind.value = "live"
    core.startContinuousSequenceAcquisition()
    follow.run_bar.start_button.click()
    for exposure, name in ((20, "follow_live"), (2, "follow_exposure")):
        follow.exposure.value = exposure
        _wait(lambda exposure=exposure: exposure in found, 120)
        restore.bring_into_view(follow.psnr)
        _take(viewer, out / f"{name}.png")
    core.stopSequenceAcquisition()
    follow.run_bar.stop_button.click()
    _wait(lambda: not follow.is_running, 60)
    viewer.layers.clear()
    follow.kind.value = "sequence"
    follow.run_bar.start_button.click()
    core.run_mda(MDASequence(time_plan={"interval": 0.3, "loops": 60}))
    _wait(lambda: follow.layer is not None and len(follow.layer.data) > 40, 120)
    restore.bring_into_view(follow.psnr)
    _take(viewer, out / "follow_sequence.png")
    core.mda.cancel()
    _wait(lambda: not follow.is_running, 120)
    viewer.window.remove_dock_widget(restore)


def _show_preview(viewer: napari.Viewer, restore: RestoreWidget, out: Path) -> None:
    painted: list[float] = []
    restore.preview.painted.connect(painted.append)
    restore.model.choose("bandpass-lite")
    _camera(viewer).zoom *= 2
    _wait(lambda: bool(painted) and not restore.preview.is_running, 60)
    _take(viewer, out / "restore_preview.png")


def _show_restoring(viewer: napari.Viewer, restore: RestoreWidget, truth: Image, out: Path) -> None:
    _camera(viewer).zoom /= 2
    restore.model.choose("laplace-lite")
    restore.more_layers.uncertainty.value = True
    restore.scores.truth.value = truth
    restore.run_bar.start_button.click()
    _wait(lambda: not restore.is_running and not restore.scores.is_busy, 120)
    restore.bring_into_view(restore.contrast.native)
    _take(viewer, out / "restore.png")


def _show_training(viewer: napari.Viewer, train: TrainWidget, low: Image, truth: Image, out: Path) -> None:
    train.pairs.rows[0].choose(low, truth)
    train.structure.value = "actin"
    train.loss.combo.value = "fft"
    train.form.set_values({"amount": 1.0, "steps_per_epoch": 25})
    train.patches.button.click()
    _wait(lambda: not train.patches.is_running, 120)
    train.bring_into_view(train.patches)
    _take(viewer, out / "train_patches.png")
    train.queue_button.click()
    train.loss.combo.value = "bandpass"
    train.queue_button.click()
    train.run_bar.start_button.click()
    _wait(lambda: train.run_bar.progress.value() > 700, 300)
    _take(viewer, out / "train.png")
    train.run_bar.stop_button.click()
    _wait(lambda: not train.is_running, 60)
    viewer.window.remove_dock_widget(train)


def _show_comparison(viewer: napari.Viewer, compare: CompareWidget, low: Image, truth: Image, out: Path) -> None:
    compare.settings.image.value = low
    compare.settings.truth.value = truth
    compare.settings.methods.tick(["laplace-lite", "fft-lite", "bandpass-lite", "tv"])
    compare.run_bar.start_button.click()
    _wait(lambda: not compare.is_running and not compare.is_busy, 300)
    compare.bring_into_view(compare.summary)
    _take(viewer, out / "compare.png")
    compare.view.tabs.setCurrentIndex(2)
    _take_window(compare, out / "compare_window.png")


def _take_window(compare: CompareWidget, out: Path) -> None:
    compare.view.resize(*SIZE)
    _wait(lambda: not compare.is_busy, 60)
    compare.view.grab().save(str(out))
    print(out)


def _show_training_without_clean(viewer: napari.Viewer, train: TrainWidget, out: Path) -> None:
    _wait(lambda: train.pairs.rows[0].is_examined and train.run_bar.start_button.isEnabled(), 60)
    train.start_from.choose("fft-lite")
    _take(viewer, out / "without_clean_form.png")
    train.form.set_values({"budget": "steps", "amount": 120, "steps_per_epoch": 20})
    train.run_bar.start_button.click()
    _wait(lambda: train.run_bar.progress.value() > 700, 300)
    _take(viewer, out / "without_clean_running.png")
    train.run_bar.stop_button.click()
    _wait(lambda: not train.is_running, 60)
    viewer.window.remove_dock_widget(train)


def _show_adapting(viewer: napari.Viewer, restore: RestoreWidget, out: Path) -> None:
    adapt.BUDGET.update(budget="steps", amount=120)
    restore.model.choose("fft-lite")
    restore.adapt.run_bar.start_button.click()
    _wait(lambda: restore.adapt.has_result and not restore.adapt.is_estimating, 300)
    for button in (restore.adapt.before, restore.adapt.after):
        button.click()
        _wait(lambda: restore.preview.layer is not None and not restore.preview.is_running, 60)
        _take(viewer, out / f"adapt_{button.text().lower()}.png")


def _register() -> None:
    """Make the plugin known to napari where it is not installed."""
    manager = npe2.PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:
        manager.register(npe2.PluginManifest.from_file(Path(napari_care_losses.__file__).parent / "napari.yaml"))


def _open(viewer: napari.Viewer, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def _camera(viewer: napari.Viewer) -> Any:
    return getattr(viewer, "scene", viewer).camera  # viewer.camera is deprecated since napari 0.9


def _wait(is_done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_done():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise TimeoutError("the viewer did not get there in time")
    for _ in range(40):
        QApplication.processEvents()
        time.sleep(0.02)


def _take(viewer: napari.Viewer, out: Path) -> None:
    viewer.screenshot(out, canvas_only=False, flash=False)
    print(out)


PAGES = {
    "fields": _show_fields,
    "movie": _show_movie,
    "without_clean": _show_without_clean,
    "while_you_image": _show_following,
}
"""What takes the pictures of each tutorial."""

if __name__ == "__main__":
    main()
