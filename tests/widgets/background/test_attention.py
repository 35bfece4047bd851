from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fixtures.viewer_work import Heard
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_care_losses.compute.cores import threads_now
from napari_care_losses.widgets.background import attention as module
from napari_care_losses.widgets.background.attention import Attention
from napari_care_losses.widgets.background.threads import attention, thread_pool
from napari_care_losses.widgets.background.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> Iterator[Attention]:
    """Return what all jobs share; a core of two is free while somebody uses the viewer."""
    monkeypatch.setattr(module, "HOLD_MS", 50)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    given = attention(thread_pool())
    yield given
    qtbot.waitUntil(lambda: not given.is_watching, timeout=30_000)


def mouse(kind: QEvent.Type) -> QMouseEvent:
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    return QMouseEvent(kind, QPointF(1, 1), QPointF(1, 1), left, left, none)


def key() -> QKeyEvent:
    return QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier)


@pytest.mark.parametrize("kind", [QEvent.Type.MouseMove, QEvent.Type.MouseButtonPress, QEvent.Type.KeyPress])
def test_what_somebody_does_anywhere_is_noticed(
    kind: QEvent.Type, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    widget, has_work, event = QWidget(), [True], key() if kind == QEvent.Type.KeyPress else mouse(kind)
    qtbot.addWidget(widget)
    noticing = Attention(lambda: has_work[0], parent=widget)
    assert not noticing.is_given
    noticing.watch()
    # the work has just been asked for
    assert noticing.is_given and noticing.cores() == 1
    now[0] += module.REST_S
    assert not noticing.is_given and noticing.cores() == 2
    QApplication.sendEvent(widget, QEvent(QEvent.Type.UpdateRequest))
    assert not noticing.is_given
    QApplication.sendEvent(widget, event)
    assert noticing.is_given
    now[0] += module.REST_S
    has_work[0] = False
    qtbot.waitUntil(lambda: not noticing.is_watching, timeout=30_000)
    QApplication.sendEvent(widget, event)
    assert not noticing.is_given


@pytest.mark.parametrize("gives_way", [True, False])
def test_only_work_that_gives_way_leaves_a_core(gives_way: bool, qtbot: QtBot, quick: Attention) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    job = Job(parent=widget, gives_way=gives_way)
    heard = Heard(job)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(Attention, "is_given", True)
    try:
        job.start(lambda: iter([threads_now(4)]))
        qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    finally:
        monkey.undo()
    assert heard.reports == [1 if gives_way else 4]
    assert threads_now(4) == 4
