from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QObject

from napari_care_losses.widgets import garbage
from napari_care_losses.widgets.garbage import GarbageCollector
from napari_care_losses.widgets.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot


class Cycle:
    """Garbage that only a search finds, and that notes the thread it is found in."""

    def __init__(self, found_in: list[threading.Thread]) -> None:
        self.itself = self
        weakref.finalize(self, lambda: found_in.append(threading.current_thread()))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "INTERVAL_MS", 20)


@pytest.fixture
def work() -> Iterator[list[bool]]:
    """Return a list that is true while a thread works."""
    yield (work := [True])
    work.clear()
    assert gc.isenabled(), "Python's own garbage collection was not given back"
    assert not gc.get_freeze_count()


def test_garbage_is_collected_while_threads_work_and_given_back_after(work, qtbot: QtBot) -> None:
    parent = QObject()
    collector = GarbageCollector(lambda: bool(work), parent=parent)
    collector.take_over()
    assert not gc.isenabled()
    assert gc.get_freeze_count()
    found_in: list[threading.Thread] = []
    Cycle(found_in)
    qtbot.waitUntil(lambda: bool(found_in), timeout=5000)
    assert found_in == [threading.main_thread()]
    collector.take_over()
    work.clear()
    qtbot.waitUntil(gc.isenabled, timeout=5000)


def test_garbage_of_the_viewer_is_not_collected_in_a_working_thread(qtbot: QtBot) -> None:
    found_in: list[threading.Thread] = []

    def allocate() -> Iterator[int]:
        for _ in range(20):
            kept = [[] for _ in range(20_000)]
            yield len(kept)

    parent = QObject()
    job = Job(parent=parent)
    job.start(allocate)
    for _ in range(50):
        Cycle(found_in)
    qtbot.waitUntil(lambda: not job.is_running, timeout=20_000)
    qtbot.waitUntil(gc.isenabled, timeout=5000)
    gc.collect()
    assert set(found_in) == {threading.main_thread()}


def test_garbage_collection_that_is_switched_off_stays_so(qtbot: QtBot) -> None:
    gc.disable()
    try:
        parent = QObject()
        GarbageCollector(lambda: True, parent=parent).take_over()
        assert not gc.get_freeze_count()
    finally:
        gc.enable()
