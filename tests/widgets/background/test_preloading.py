"""Packages are loaded before work needs them, and torch not before other work has ended."""

from __future__ import annotations

import sys
import threading

import pytest
from qtpy.QtWidgets import QWidget

from napari_care_losses.widgets.background import imports, preloading
from napari_care_losses.widgets.background.preloading import Preloading


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the name of a package that can be loaded."""
    name = "stand_in_preloaded"
    (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(imports.LIBRARIES, name, ())
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def widget(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


def test_a_package_is_loaded_once_the_widget_is_made(package, widget, qtbot):
    loading = Preloading(parent=widget, libraries=lambda: (package,))
    assert loading.is_running
    assert package not in sys.modules
    qtbot.waitUntil(lambda: not loading.is_running, timeout=180_000)
    assert package in sys.modules


def test_torch_waits_for_other_work(package, widget, qtbot, job, monkeypatch):
    monkeypatch.setattr(preloading, "WAIT_MS", 1)
    may_end = threading.Event()
    job.start(lambda: iter(may_end.wait, True))
    loading = Preloading(parent=widget, libraries=lambda: ("torch", package))
    qtbot.wait(50)
    assert package not in sys.modules
    may_end.set()
    qtbot.waitUntil(lambda: not loading.is_running, timeout=180_000)
    assert package in sys.modules


def test_what_is_loaded_starts_no_work(widget):
    assert not Preloading(parent=widget, libraries=lambda: ("sys",)).is_running
