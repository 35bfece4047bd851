"""Importing a model of another tool from the Restore widget."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures.bioimageio_packages import Denoiser, seeded, torchscript, write_package
from fixtures.restore_widget import press_restore
from magicgui.types import FileDialogMode
from qtpy.QtWidgets import QMainWindow, QMessageBox

from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.widgets.layers.restored_layers import find_result
from napari_care_losses.widgets.restore.panels import import_model as import_panel
from napari_care_losses.widgets.restore.widget import RestoreWidget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore.panels.import_model import ImportPanel

CSBDEEP = Path(__file__).parents[2] / "data" / "csbdeep"


def press_import(panel: ImportPanel, qtbot: QtBot) -> None:
    panel.run_bar.start_button.click()
    assert panel.is_running
    qtbot.waitUntil(lambda: not panel.is_running, timeout=180_000)


def test_a_folder_of_csbdeep_is_imported_and_chosen(viewer, open_widget, add_model, stack, qtbot) -> None:
    add_model()
    viewer.add_image(stack, name="cells")
    widget = open_widget()
    panel = widget.importing
    assert panel.isHidden()
    widget.import_button.native.click()
    assert not panel.isHidden()
    assert not panel.run_bar.start_button.isEnabled()
    assert "Choose a model" in panel.run_bar.reason.text()
    panel.source.value = CSBDEEP / "probabilistic"
    assert panel.name.value == "probabilistic"
    panel.structure.value = "dendra"
    press_import(panel, qtbot)
    entry = widget.model.value
    assert entry is not None
    assert (entry.name, entry.card.structure) == ("probabilistic", "dendra")
    assert "Imported from CSBDeep." in widget.model.about.text()
    assert panel.run_bar.status.text() == "probabilistic is in the library."
    assert widget.more_layers.uncertainty.enabled
    assert (panel.source.value, panel.name.value) == (None, "")
    load_model(entry.path)


def test_what_cannot_be_imported_is_said_in_the_widget(open_widget, tmp_path, model_library, qtbot, notified) -> None:
    (tmp_path / "config.json").write_text('{"unet_n_depth": 2, "axes": "ZYX"}')
    widget = open_widget()
    panel = widget.importing
    panel.source.value = tmp_path / "config.json"
    panel.name.value = "mine"
    press_import(panel, qtbot)
    assert panel.run_bar.status.text().startswith("Not imported: The network is for images with axes 'ZYX'")
    assert [str(each.message) for each in notified]
    assert list(model_library.iterdir()) == []
    assert panel.run_bar.start_button.isEnabled()


def test_the_button_says_why_it_would_not_work(open_widget, add_model, tmp_path) -> None:
    add_model("taken")
    widget = open_widget()
    panel = widget.importing
    panel.source.value = tmp_path / "nothing"
    assert "There is no file or folder" in panel.run_bar.reason.text()
    panel.source.value = CSBDEEP / "direct"
    for name, said in (("taken", "already has a model"), ("a/b", "plain file name"), ("", "plain file name")):
        panel.name.value = name
        assert said in panel.run_bar.reason.text()
        assert not panel.run_bar.start_button.isEnabled()
    panel.name.value = "free"
    assert panel.run_bar.start_button.isEnabled()


def test_a_name_follows_the_source_until_it_is_written(open_widget) -> None:
    widget = open_widget()
    panel = widget.importing
    panel.source.value = "/models/first.zip"
    assert panel.name.value == "first"
    panel.source.value = "/models/second/config.json"
    assert panel.name.value == "second"
    panel.name.value = "mine"
    panel.source.value = "/models/third"
    assert panel.name.value == "mine"


def test_files_and_folders_can_be_looked_for(open_widget, monkeypatch) -> None:
    widget = open_widget()
    panel = widget.importing
    asked = []

    def answer(path):
        def asking(parent, *options):
            asked.append(options)
            return (path, "") if path.endswith(".zip") else path

        return asking

    dialogs = {
        FileDialogMode.EXISTING_FILE: answer("/models/package.zip"),
        FileDialogMode.EXISTING_DIRECTORY: answer("/models/folder"),
    }
    monkeypatch.setattr("magicgui.backends._qtpy.widgets.QFILE_DIALOG_MODES", dialogs)
    panel.source.choose_btn.native.click()
    assert panel.source.value == Path("/models/package.zip")
    panel.folder_button.native.click()
    assert panel.source.value == Path("/models/folder")
    panel.source.choose_btn.native.click()
    assert [title for title, *_ in asked] == 3 * ["Import a model"]
    assert [len(options) for options in asked] == [3, 2, 3]
    assert "*.zip" in asked[0][2]


def test_the_panels_come_next_after_their_buttons(open_widget) -> None:
    widget = open_widget()
    widget.export_button.native.click()
    widget.import_button.native.click()
    widget.export_button.native.setFocus()
    reached = []
    while widget.focusNextChild() and widget.focusWidget() not in reached:
        reached.append(widget.focusWidget())
    fields = [
        *(widget.importing.source.line_edit, widget.importing.folder_button, widget.importing.name),
        *(widget.exporting.target.line_edit, widget.exporting.author, widget.exporting.license, widget.live),
    ]
    assert [reached.index(field.native) for field in fields] == sorted(reached.index(field.native) for field in fields)
    assert reached[0] is fields[0].native


def theirs(folder: Path) -> Path:
    network = seeded(Denoiser())
    return write_package(folder / "theirs.zip", network, {"torchscript": torchscript(network)})


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_a_program_of_others_is_run_only_after_a_yes(viewer, open_widget, stack, tmp_path, qtbot, answer) -> None:
    viewer.add_image(stack, name="cells")
    widget = open_widget()
    widget.import_button.native.click()
    panel = widget.importing
    panel.source.value = theirs(tmp_path)
    press_import(panel, qtbot)
    box = panel.question
    assert box.isVisible()
    assert box.defaultButton() is box.button(QMessageBox.StandardButton.No)
    assert "scripted.pt" in box.text()
    said = box.informativeText()
    assert "by O. Utsider, N. Eighbour" in said
    assert "runs with all your rights" in said
    assert "Not imported" not in panel.run_bar.status.text()
    box.button(QMessageBox.StandardButton[answer]).click()
    if answer == "No":
        assert panel.run_bar.status.text() == "Not imported: you chose not to run its program."
        assert all(entry.bundled for entry in list_models())
        return
    qtbot.waitUntil(lambda: not panel.is_running, timeout=180_000)
    entry = widget.model.value
    assert entry is not None
    assert (entry.name, entry.card.preset) == ("theirs", "torchscript")
    assert "Denoiser of others" in widget.model.about.text()
    press_restore(widget, qtbot)
    assert find_result(viewer, viewer.layers["cells"], entry) is not None


def test_percentiles_can_be_said(open_widget, qtbot) -> None:
    widget = open_widget()
    panel = widget.importing
    panel.source.value = CSBDEEP / "direct"
    panel.percentiles.set_values({"low_percentile": 5.0})
    press_import(panel, qtbot)
    entry = widget.model.value
    assert entry is not None
    assert entry.card.normalization == PercentileNormalization(low=5, high=99.8)


class Endless:
    """Stands in for an import that never ends."""

    def __init__(self) -> None:
        self.has_begun = False
        self.closed_in: threading.Thread | None = None

    def __call__(self, *_options: object, **_more: object) -> Iterator[None]:
        try:
            while True:
                self.has_begun = True
                yield
        finally:
            self.closed_in = threading.current_thread()


@pytest.mark.parametrize("way", ["stop", "close"])
def test_it_stops_when_told_and_when_the_window_closes(viewer, monkeypatch, qtbot, way) -> None:
    endless = Endless()
    monkeypatch.setattr(import_panel, "importing", endless)
    widget, window = RestoreWidget(viewer), QMainWindow()
    # the widget goes with its window
    qtbot.addWidget(window)
    window.setCentralWidget(widget)
    window.show()
    widget.import_button.native.click()
    panel = widget.importing
    panel.source.value = CSBDEEP / "direct"
    panel.run_bar.start_button.click()
    assert not panel.run_bar.start_button.isEnabled()
    assert panel.run_bar.stop_button.isEnabled()
    qtbot.waitUntil(lambda: endless.has_begun, timeout=180_000)
    if way == "stop":
        panel.run_bar.stop_button.click()
    else:
        window.close()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=180_000)
    assert panel.run_bar.status.text() == "Stopped: nothing was added."
    assert endless.closed_in not in {None, threading.main_thread()}
    assert list_models() == []
