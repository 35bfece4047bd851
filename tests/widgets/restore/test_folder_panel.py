from __future__ import annotations

import threading

import numpy as np
from fixtures.restore_widget import entry

from napari_care_losses.images.frames import Frames
from napari_care_losses.io import stacks
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.widgets.restore.panels.folder import note_lines


def test_a_folder_is_restored_from_here(viewer, open_widget, add_model, stack, tmp_path, qtbot, monkeypatch) -> None:
    readers, read = set(), stacks.files_of_set
    monkeypatch.setattr(stacks, "files_of_set", lambda path: readers.add(threading.get_ident()) or read(path))
    add_model()
    for name in ("a", "b"):
        save_stack(tmp_path / f"{name}.tif", Frames(stack, "TYX"))
    (tmp_path / "broken.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:500])
    viewer.add_image(stack)
    widget = open_widget()
    folder = widget.folder
    assert "Choose a folder" in folder.run_bar.reason.text()
    folder.source.value = tmp_path / "no"
    assert "no folder" in folder.run_bar.reason.text()
    folder.source.value = tmp_path
    assert folder.run_bar.start_button.isEnabled()
    folder.run_bar.start_button.click()
    assert "folder is being restored" in widget.run_bar.reason.text()
    qtbot.waitUntil(lambda: not folder.is_running, timeout=180_000)
    assert readers
    assert threading.get_ident() not in readers, "the viewer waits for no file"
    assert "Restored 2 of 3 files" in folder.run_bar.status.text()
    assert "broken.tif" in folder.run_bar.status.text()
    result = read_tiff(tmp_path / "a_restored-untrained.tif")
    assert np.allclose(np.asarray(result.data), restore(stack, load_model(entry().path)))


def test_notes_on_frames_of_files_are_shown(viewer, open_widget, add_model, stack, tmp_path, qtbot) -> None:
    add_model()
    save_stack(tmp_path / "a.tif", Frames(stack, "TYX"))
    blank = stack.copy()
    blank[1] = 7
    for name in "bcdef":
        save_stack(tmp_path / f"{name}.tif", Frames(blank, "TYX"))
    folder = open_widget().folder
    folder.source.value = tmp_path
    folder.run_bar.start_button.click()
    qtbot.waitUntil(lambda: not folder.is_running, timeout=180_000)
    first, *notes = folder.run_bar.status.text().split("\n")
    assert first.startswith("Restored 6 of 6 files in ")
    assert notes == ["• b.tif, c.tif, d.tif and 2 more: Left as they are, being blank: frame 1."]


def test_of_many_different_notes_the_first_are_shown() -> None:
    lines = note_lines({f"note {number}": ["a.tif"] for number in range(20)})
    assert lines[:2] == ["• a.tif: note 0", "• a.tif: note 1"]
    assert lines[8:] == ["• and 12 more notes"]
    assert note_lines({}) == []
