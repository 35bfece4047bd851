"""Docks, viewers and layers closed or deleted during work, in a real viewer: the work ends without errors."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from fixtures.train_widget import FEW, is_stepping
from napari.utils import progress
from napari.utils.notifications import NotificationSeverity
from qtpy.QtWidgets import QApplication
from superqt.utils import WorkerBase

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.training.pair_sources import PairSource
from napari_care_losses.widgets.background.threads import thread_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import napari
    from napari.layers import Image
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

WIDTH, FRAMES = 64, 4
"""Of the stacks."""

MANY = 1000
"""Frames that take longer than any test."""


OTHERS = ("ThreadPoolExecutor", "zarr_io")
"""Names of the threads that napari and zarr keep."""


class Scene(NamedTuple):
    """A viewer with a pair of layers and a widget in its dock."""

    viewer: napari.Viewer
    widget: Any
    low: Image
    truth: Image
    folder: Path
    qtbot: QtBot

    def wait(self, is_so: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(is_so, timeout=180_000)

    def lengthen(self) -> None:
        """Make the stacks too long to finish."""
        for layer in (self.low, self.truth):
            layer.data = np.broadcast_to(layer.data[0], (MANY, WIDTH, WIDTH))


def restores(scene: Scene) -> None:
    scene.lengthen()
    scene.widget.scores.truth.value = scene.truth
    scene.widget.run_bar.start_button.click()
    scene.wait(lambda: "frames" in scene.widget.run_bar.status.text())
    assert scene.widget.is_running


def begins_to_restore(scene: Scene) -> None:
    scene.lengthen()
    scene.widget.run_bar.start_button.click()
    assert scene.widget.is_running


def previews(scene: Scene) -> None:
    live = scene.widget.preview
    scene.wait(lambda: not live.is_running and live.layer is not None)
    scene.viewer.dims.set_current_step(0, 3)

    # checked after every round of events, and not now and then: a preview may end at once
    deadline = time.monotonic() + 10
    while live._delay.isActive() or not live._job.is_running:
        assert time.monotonic() < deadline
        if not live.is_running:
            live.refresh()
        QApplication.processEvents()


def is_restored(scene: Scene) -> None:
    scene.widget.run_bar.start_button.click()
    scene.wait(lambda: not scene.widget.is_running)


def scores(scene: Scene) -> None:
    is_restored(scene)
    scene.widget.scores.truth.value = scene.truth
    scene.wait(lambda: scene.widget.scores.is_busy)


def shows_the_residual(scene: Scene) -> None:
    is_restored(scene)
    scene.widget.scores.residual.click()
    assert scene.widget.scores.is_busy


def saves(scene: Scene) -> None:
    is_restored(scene)
    scene.widget.save.save(scene.folder / "saved.tif")
    assert scene.widget.save.is_running


def restores_a_folder(scene: Scene) -> None:
    files, folder = scene.folder / "files", scene.widget.folder
    files.mkdir()
    for name in ("a", "b", "c"):
        save_stack(files / f"{name}.tif", Frames(np.broadcast_to(scene.low.data[0], (MANY, WIDTH, WIDTH)), "TYX"))
    folder.source.value = files
    folder.run_bar.start_button.click()
    scene.wait(lambda: "file 1 of 3" in folder.run_bar.status.text())
    assert folder.is_running


def follows(scene: Scene) -> None:
    follow, shown = scene.widget.follow, []
    follow.frame_shown.connect(shown.append)
    follow.run_bar.start_button.click()
    scene.wait(lambda: bool(shown))
    assert follow.is_running


def begins_to_follow(scene: Scene) -> None:
    scene.widget.follow.run_bar.start_button.click()
    assert scene.widget.follow.is_running


def checks_pairs(scene: Scene) -> None:
    paths = [scene.folder / f"{name}.tif" for name in ("low", "high")]
    for path, layer in zip(paths, (scene.low, scene.truth), strict=True):
        save_stack(path, Frames(layer.data, "TYX"))
    scene.widget.pairs.add_files([PairSource("cells", *paths)])
    assert scene.widget.pairs.is_checking


def has_a_pair(scene: Scene) -> None:
    scene.widget.pairs.rows[0].choose(scene.low, scene.truth)
    scene.wait(lambda: not scene.widget.pairs.is_checking)
    scene.widget.form.set_values({**FEW, "budget": "steps", "amount": 1e6})


def draws_patches(scene: Scene) -> None:
    has_a_pair(scene)
    scene.widget.patches.button.click()
    assert scene.widget.patches.is_running


def prepares(scene: Scene) -> None:
    scene.lengthen()
    has_a_pair(scene)
    scene.widget.run_bar.start_button.click()
    scene.wait(lambda: "reading the images" in scene.widget.run_bar.status.text())
    assert scene.widget.is_running


def trains(scene: Scene) -> None:
    has_a_pair(scene)
    scene.widget.queue_button.click()
    scene.widget.run_bar.start_button.click()
    scene.wait(lambda: is_stepping(scene.widget))


def begins_to_compare(scene: Scene) -> None:
    scene.widget.settings.truth.value = scene.truth
    scene.widget.settings.methods.tick(["tv", "nl-means", "untrained"])
    scene.widget.run_bar.start_button.click()
    assert scene.widget.is_running


def compares(scene: Scene) -> None:
    scene.lengthen()
    begins_to_compare(scene)
    scene.wait(lambda: bool(scene.widget.results.frames_done()))
    assert scene.widget.is_running


def reports(scene: Scene) -> None:
    for layer in (scene.low, scene.truth):
        layer.data = layer.data[:2]
    begins_to_compare(scene)
    scene.wait(lambda: not scene.widget.is_busy)
    scene.widget.export(scene.folder / "report.html")
    assert scene.widget.is_busy


def close_dock(scene: Scene) -> None:
    scene.viewer.window.remove_dock_widget(scene.widget)


def delete_input(scene: Scene) -> None:
    scene.viewer.layers.remove(scene.low)


def delete_truth(scene: Scene) -> None:
    scene.viewer.layers.remove(scene.truth)


def delete_all(scene: Scene) -> None:
    scene.viewer.layers.clear()


WORK = {
    "Restore": [
        begins_to_restore,
        restores,
        previews,
        scores,
        shows_the_residual,
        saves,
        restores_a_folder,
        begins_to_follow,
        follows,
    ],
    "Train": [checks_pairs, draws_patches, prepares, trains],
    "Compare": [begins_to_compare, compares, reports],
}

DELETED = {
    delete_input: [restores, previews, scores, saves, follows, prepares, trains, compares, reports],
    delete_truth: [restores, scores, compares],
    delete_all: [begins_to_restore, previews, follows, trains, begins_to_compare],
}
"""Work that uses the deleted layers."""

GOES_ON = {saves, restores_a_folder, prepares, trains, reports}
"""Work that holds its data and goes on without the layer."""


@pytest.fixture
def open_scene(
    plugin,
    make_napari_viewer: Callable[..., napari.Viewer],
    add_model: Callable[..., str],
    tmp_path: Path,
    qtbot: QtBot,
) -> Callable[..., Scene]:
    """Return a function that opens a widget on two layers, in a viewer it is given or in a new one."""
    add_model()

    def open_(name: str, viewer: napari.Viewer | None = None) -> Scene:
        if viewer is None:
            viewer = make_napari_viewer(show=True)
            # as small as it can be: every change draws all of it
            viewer.window.resize(1, 1)
        low = viewer.add_image(noisy(50), name="1 ms")
        truth = viewer.add_image(noisy(500), name="100 ms", visible=False)
        viewer.dims.set_current_step(0, 0)
        _, widget = viewer.window.add_plugin_dock_widget(plugin.name, name)
        return Scene(viewer, widget, low, truth, tmp_path, qtbot)

    return open_


@pytest.fixture(autouse=True)
def no_warning_shown(notified: list) -> Iterator[None]:
    yield
    assert not [said for said in notified if said.severity >= NotificationSeverity.WARNING]


def noisy(light: float, shape: tuple[int, ...] = (FRAMES, WIDTH, WIDTH)) -> NDArray[np.uint16]:
    return np.random.default_rng(0).poisson(light, shape).astype(np.uint16)


def threads() -> set[threading.Thread]:
    """Return the threads of Python that are not other libraries', nor dummies for Qt's, which stay listed."""
    return {
        thread
        for thread in threading.enumerate()
        if not isinstance(thread, threading._DummyThread) and not thread.name.startswith(OTHERS)
    }


@contextmanager
def comes_to_rest(scene: Scene, *what: Callable[[Scene], None]) -> Iterator[None]:
    """Check that all work begun here ends."""
    before = threads()
    try:
        yield
        scene.wait(is_at_rest)
        scene.wait(lambda: threads() <= before)
    except Exception as error:
        error.add_note(" ".join(each.__name__ for each in what))
        raise


def is_at_rest() -> bool:
    return thread_pool().activeThreadCount() == 0 and not WorkerBase._worker_set and not progress._all_instances


@pytest.mark.parametrize(("name", "begin"), [(name, begin) for name, works in WORK.items() for begin in works])
def test_closing_the_viewer_in_mid_work(name: str, begin: Callable[[Scene], None], open_scene) -> None:
    scene = open_scene(name)
    with comes_to_rest(scene):
        begin(scene)
        scene.viewer.close()


@pytest.mark.parametrize("name", WORK)
def test_closing_the_dock_in_mid_work(name: str, open_scene) -> None:
    viewer = None
    for begin in WORK[name]:
        scene = open_scene(name, viewer)
        viewer = scene.viewer
        with comes_to_rest(scene, begin):
            begin(scene)
            close_dock(scene)
            use(viewer)
        viewer.layers.clear()


@pytest.mark.parametrize("name", WORK)
def test_deleting_layers_in_mid_work(name: str, open_scene) -> None:
    viewer = None
    for delete, works in DELETED.items():
        for begin in works:
            if begin not in WORK[name]:
                continue
            scene = open_scene(name, viewer)
            viewer = scene.viewer
            goes_on = begin in GOES_ON or delete is delete_truth
            with comes_to_rest(scene, begin, delete):
                begin(scene)
                delete(scene)
                scene.qtbot.wait(20)
                if goes_on:
                    close_dock(scene)
                use(viewer)
            if not goes_on:
                close_dock(scene)
            viewer.layers.clear()


def use(viewer: napari.Viewer) -> None:
    """Use the viewer: nothing that was closed may react."""
    viewer.add_image(noisy(50, (3, 30, 40)), name="another")
    viewer.dims.set_current_step(0, 2)
    viewer.layers.remove("another")
