"""Fixtures for the tests of the widgets."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import QCoreApplication, QObject, QThreadPool
from superqt.utils import WorkerBase

import napari_care_losses
from napari_care_losses.core import library
from napari_care_losses.core.architecture import PRESETS
from napari_care_losses.core.losses import LOSSES
from napari_care_losses.core.model import Model, ModelCard
from napari_care_losses.core.network import CareNetwork
from napari_care_losses.widgets.threads import garbage_guard, thread_pool
from napari_care_losses.widgets.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore import RestoreWidget

PLUGIN = "napari-care-losses"


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_leaked_worker(qapp: object) -> Iterator[None]:
    """Fail the test that leaves a thread working."""
    yield
    for pool in (QThreadPool.globalInstance(), thread_pool()):
        assert pool.waitForDone(10_000), "a worker goes on after its test"
    # A worker that is done is let go by an event of the main thread.
    application, deadline = QCoreApplication.instance(), time.monotonic() + 10
    while WorkerBase._worker_set and application is not None and time.monotonic() < deadline:
        application.processEvents()
    assert not WorkerBase._worker_set
    garbage_guard(thread_pool()).let_go()


@pytest.fixture
def make_napari_viewer(make_napari_viewer: Callable[..., napari.Viewer]) -> Iterator[Callable[..., napari.Viewer]]:
    """Return napari's own fixture, which after the test looks for viewers that were not let go."""
    yield make_napari_viewer
    garbage_guard(thread_pool()).let_go()


@pytest.fixture
def owner() -> Iterator[QObject]:
    """Return an object for jobs to belong to."""
    owner = QObject()
    yield owner
    owner.deleteLater()


@pytest.fixture
def job(owner: QObject) -> Job:
    """Return a job that does nothing yet."""
    return Job(parent=owner)


@pytest.fixture
def notified() -> Iterator[list]:
    """Return the notifications the user has seen since the test began."""
    first = len(notification_manager.records)

    class Seen(list):
        def __iter__(self):
            return iter(notification_manager.records[first:])

    yield Seen()
    del notification_manager.records[first:]


@pytest.fixture(scope="session", autouse=True)
def plugin() -> PluginManifest:
    """Return our manifest, registered where the package is not installed, before any viewer asks for plugins."""
    manager = PluginManager.instance()
    manager.discover()
    if PLUGIN not in manager:
        manager.register(PluginManifest.from_file(Path(napari_care_losses.__file__).parent / "napari.yaml"))
    return manager.get_manifest(PLUGIN)


@pytest.fixture(autouse=True)
def no_bundled_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that stands in for that of the bundled models."""
    folder = tmp_path_factory.mktemp("bundled")
    monkeypatch.setattr(library, "bundled_folder", lambda: folder)
    return folder


@pytest.fixture
def viewer() -> ViewerModel:
    """Return a viewer without a window: quick, and all that a widget outside of a dock needs."""
    return ViewerModel()


@pytest.fixture
def add_model(model_library: Path) -> Callable[..., str]:
    """Return a function that adds an untrained model to the library and returns its name."""

    def add(name: str = "untrained", *, loss: str = "mae", structure: str = "actin") -> str:
        architecture = replace(PRESETS["lite"], predicts_scale=LOSSES[loss].predicts_scale)
        network = CareNetwork(architecture, torch.Generator().manual_seed(0))
        card = ModelCard(structure=structure, loss=loss, preset="lite", architecture=architecture)
        Model(card, network.state_dict()).save(model_library / f"{name}.safetensors")
        return name

    return add


@pytest.fixture
def stack() -> NDArray[np.uint16]:
    """Return a noisy stack of uint16, shape (3, 40, 52)."""
    rng = np.random.default_rng(0)
    signal = 100 * (1 + np.sin(np.arange(52) / 4)) * np.ones((3, 40, 1))
    return rng.poisson(signal + 20).astype(np.uint16)


@pytest.fixture
def open_widget(viewer: ViewerModel, qtbot: QtBot) -> Callable[[], RestoreWidget]:
    from napari_care_losses.widgets.restore import RestoreWidget

    def open_() -> RestoreWidget:
        widget = RestoreWidget(viewer)
        qtbot.addWidget(widget)
        return widget

    return open_
