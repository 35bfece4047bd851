from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
import tifffile
from fixtures.train_widget import make_widget, press_start, shown
from qtpy.QtCore import QCoreApplication, Qt

from napari_care_losses.models.library import list_models
from napari_care_losses.simulation.pairs_and_movies import ImagingConditions, simulate_pairs
from napari_care_losses.training.pair_sources import stack_files
from napari_care_losses.widgets.layers.restored_layers import KEY
from napari_care_losses.widgets.train.pairs.table import PairTable

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.train.pairs.folder_dialog import FoldersDialog


@pytest.fixture
def table(viewer: ViewerModel, qtbot: QtBot) -> PairTable:
    table = PairTable(viewer)
    qtbot.addWidget(table)
    return table


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder of low and one of high exposures, 60 fields each."""
    rng = np.random.default_rng(0)
    for number in range(60):
        high = rng.integers(100, 1000, (24, 28)).astype(np.uint16)
        for name, image in (("low", high // 5), ("high", high)):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"cell{number + 1}_{name}.tif", image)
    return tmp_path / "low", tmp_path / "high"


def choose_folders(table: PairTable, low: Path, high: Path) -> FoldersDialog:
    table.folders_button.click()
    dialog = table.folders
    dialog.low.value = low
    dialog.high.value = high
    return dialog


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        ("1 ms", "100 ms", "✓ 3 frames of 40 x 52 px"),
        ("1 ms", "1 ms", "same layer twice"),
        ("1 ms", "copy", "same image"),
        ("1 ms", "small", "Different shapes: 3 x 40 x 52 and 3 x 20 x 52"),
        ("1 ms", "photo", "RGB"),
        ("1 ms", "flat", "high image is constant"),
    ],
)
def test_every_pair_says_whether_it_is_usable(low, high, verdict, widget, viewer, stack) -> None:
    viewer.add_image(stack.copy(), name="copy")
    viewer.add_image(stack[:, :20], name="small")
    viewer.add_image(np.zeros((9, 9, 3), np.uint8), rgb=True, name="photo")
    viewer.add_image(np.zeros_like(stack), name="flat")
    row = widget.pairs.rows[0]
    row.choose(viewer.layers[low], viewer.layers[high])
    assert verdict in row.verdict
    assert widget.pairs.verdict.text() == row.verdict
    is_usable = verdict.startswith("✓")
    assert shown(widget.pairs, 0)[:3] == ["✓" if is_usable else "✗", low, high]
    assert widget.run_bar.start_button.isEnabled() is is_usable
    assert bool(widget.run_bar.reason.text()) is not is_usable


def test_an_unusable_frame_is_found_however_late(widget, viewer, stack, qtbot) -> None:
    late = stack.astype(np.float32)
    late[2, 5, 5] = np.nan
    row = widget.pairs.rows[0]
    row.choose(viewer.add_image(late, name="late"), viewer.layers["100 ms"])
    assert row.is_usable, "the first frame is sound, and a training may start"
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    left_out = "Left out: frame 2, in the low image 1 of 2080 pixels are NaN or infinite: replace them first."
    assert row.verdict == f"⚠ 3 frames of 40 x 52 px. {left_out}"
    assert shown(widget.pairs, 0)[0] == "⚠"
    assert widget.run_bar.start_button.isEnabled()


def test_a_pair_with_a_warning_stays_usable(widget, viewer, qtbot) -> None:
    low, high = simulate_pairs("actin", 2, (128, 128), ImagingConditions(low_ms=1), seed=1)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    layers = [viewer.add_image(np.roll(low, (3, -5), (1, 2))[inner]), viewer.add_image(high[inner])]
    row = widget.pairs.rows[0]
    row.choose(*layers)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    assert re.match(r"⚠ 2 frames of 96 x 96 px\. Frame 0: The low image lies (2\.9|3\.\d) px below and", row.verdict)
    assert shown(widget.pairs, 0)[0] == "⚠"
    assert widget.pairs.verdict.text() == row.verdict
    assert widget.run_bar.start_button.isEnabled()
    row.choose(*reversed(layers))
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    assert "have the two been swapped?" in row.verdict


def test_the_layers_of_the_selected_row_are_chosen_below(widget, viewer, layers, stack) -> None:
    pairs = widget.pairs
    pairs.add_button.click()
    assert pairs.low.value is None, "the new row is selected and empty"
    assert not pairs.add_button.isEnabled()
    other = viewer.add_image(stack[::-1].copy(), name="other")
    pairs.low.value = other
    pairs.high.value = layers[1]
    assert pairs.rows[1].layers == (other, layers[1])
    assert pairs.rows[1].is_usable
    assert shown(pairs, 1) == ["✓", "other", "100 ms", "3 x 40 x 52"]
    pairs.table.setCurrentCell(0, 1)
    assert pairs.low.value is layers[0]
    assert pairs.rows[0].layers == layers
    assert len(pairs.pairs()) == 2


def test_pairs_are_added_and_removed(widget, layers) -> None:
    pairs = widget.pairs
    pairs.add_button.click()
    assert "Row 2 is empty" in widget.run_bar.reason.text()
    pairs.rows[1].choose(*layers)
    assert "row 2, the pair marked ✗ Listed twice: row 1 is the same pair" in widget.run_bar.reason.text()
    pairs.remove_button.click()
    assert len(pairs.rows) == 1
    assert widget.run_bar.start_button.isEnabled()
    pairs.clear_button.click()
    assert [row.is_empty for row in pairs.rows] == [True]
    assert not pairs.remove_button.isEnabled()
    assert not pairs.clear_button.isEnabled()


def test_the_delete_key_removes_the_selected_rows(table, viewer, layers, stack, qtbot) -> None:
    table.rows[0].choose(*layers)
    table.add_row().choose(layers[1], layers[0])
    table.show()
    table.table.setFocus()
    table.table.selectAll()
    qtbot.keyClick(table.table, Qt.Key.Key_Delete)
    assert [row.is_empty for row in table.rows] == [True]


def test_a_removed_layer_leaves_its_pair_unusable(widget, viewer, layers) -> None:
    viewer.layers.remove(layers[1])
    assert widget.pairs.rows[0].layers == (layers[0], None)
    QCoreApplication.processEvents()
    assert shown(widget.pairs, 0)[:3] == ["✗", "1 ms", "choose…"]
    assert not widget.run_bar.start_button.isEnabled()


def test_a_row_follows_its_layers_names_and_data(table, layers, stack) -> None:
    table.rows[0].choose(*layers)
    layers[0].name = "short"
    assert shown(table, 0)[1] == "short"
    assert table.pairs()[0].name == "short"
    layers[0].data = stack[:, :20]
    assert "Different shapes" in table.rows[0].verdict


def test_pairs_are_matched_by_name(table, viewer, stack) -> None:
    assert not table.match_button.isEnabled()
    for name in ("b_low", "a_high", "a_low", "b_high", "alone", "x 1ms", "x 10ms", "x 100ms"):
        viewer.add_image(stack + len(viewer.layers), name=name)
    viewer.add_image(stack, name="alone_gt", metadata={KEY: {}})
    QCoreApplication.processEvents()
    assert table.note.isHidden()
    assert "Add the 2 pairs" in table.match_button.toolTip()
    table.match_button.click()
    assert [row.names for row in table.rows] == [("b_low", "b_high"), ("a_low", "a_high")]
    assert "2 pairs matched" in table.note.text()
    assert "x 1ms, x 10ms, x 100ms fit more than one partner" in table.note.text()
    assert not table.note.isHidden()
    assert not table.match_button.isEnabled()
    assert "in the table" in table.match_button.toolTip()
    viewer.layers["alone"].name = "c_low"
    viewer.add_image(stack, name="c_high")
    QCoreApplication.processEvents()
    assert table.match_button.isEnabled()


def test_lazy_layers_are_checked_in_the_background(table, viewer, stack, qtbot) -> None:
    def slow(block):
        time.sleep(0.3)
        return block

    lazy = da.from_array(stack, chunks=(1, 40, 52)).map_blocks(slow, dtype=stack.dtype)
    low, high = viewer.add_image(lazy, contrast_limits=(0, 9)), viewer.add_image(stack[::-1].copy())
    begun = time.monotonic()
    table.rows[0].choose(low, high)
    assert time.monotonic() - begun < 0.25
    assert table.rows[0].verdict == "… being checked"
    with pytest.raises(Exception, match="1 of 1 pairs are still being checked"):
        table.pairs()
    qtbot.waitUntil(lambda: table.rows[0].is_usable, timeout=180_000)
    assert len(table.pairs()) == 1
    qtbot.waitUntil(lambda: not table.is_checking, timeout=180_000)


def test_a_layer_removed_during_the_check_leaves_its_pair_unusable(table, viewer, stack, qtbot) -> None:
    is_read, may_go_on = threading.Event(), threading.Event()

    def held_up(block):
        if threading.current_thread() is not threading.main_thread():
            is_read.set()
            may_go_on.wait(60)
        return block

    lazy = da.from_array(stack, chunks=(1, 40, 52)).map_blocks(held_up, dtype=stack.dtype)
    # the viewer reads in other threads, too
    may_go_on.set()
    low, high = viewer.add_image(lazy, contrast_limits=(0, 9)), viewer.add_image(stack[::-1].copy())
    may_go_on.clear()
    is_read.clear()
    table.rows[0].choose(low, high)
    qtbot.waitUntil(is_read.is_set, timeout=180_000)
    viewer.layers.remove(high)
    may_go_on.set()
    qtbot.waitUntil(lambda: not table.is_checking, timeout=180_000)
    assert table.rows[0].layers == (low, None)
    assert table.rows[0].verdict == "✗ Choose a low and a high exposure."


def test_layers_of_no_pair_leave_the_check_alone(table, viewer, layers, stack, qtbot, monkeypatch) -> None:
    table.rows[0].choose(*layers)
    requests = []
    monkeypatch.setattr(table._checks, "request", requests.append)
    other = viewer.add_image(stack)
    QCoreApplication.processEvents()
    viewer.layers.remove(other)
    QCoreApplication.processEvents()
    assert requests == []
    qtbot.waitUntil(lambda: not table.is_checking, timeout=180_000)


def test_sixty_pairs_from_two_folders(table, folders, qtbot) -> None:
    dialog = choose_folders(table, *folders)
    assert dialog.found.count() == 60
    assert dialog.summary.text() == "60 pairs matched."
    begun = time.monotonic()
    dialog.add_button.click()
    assert time.monotonic() - begun < 1
    assert len(table.rows) == 60
    assert table.rows[9].names == ("cell10_low.tif", "cell10_high.tif")
    qtbot.waitUntil(lambda: all(row.is_usable for row in table.rows), timeout=180_000)
    assert shown(table, 9) == ["✓", "cell10_low.tif", "cell10_high.tif", "24 x 28"]
    assert table.table.height() < 250, "the table scrolls"
    assert not table.choosers.native.isVisibleTo(table)
    assert len(table.pairs()) == 60
    qtbot.waitUntil(lambda: not table.is_checking, timeout=180_000)
    table.table.setCurrentCell(3, 0)
    table.remove_button.click()
    assert len(table.rows) == 59
    table.clear_button.click()
    assert [row.is_empty for row in table.rows] == [True]


def test_a_broken_file_is_marked_and_the_others_are_not(table, folders, qtbot) -> None:
    low, high = folders
    (low / "cell7_low.tif").write_text("no image")
    tifffile.imwrite(low / "cell8_low.tif", np.zeros((10, 10), np.uint8))
    choose_folders(table, low, high).add_button.click()
    qtbot.waitUntil(lambda: all(row.is_checked for row in table.rows), timeout=180_000)
    wrong = {row.names[0]: row.verdict for row in table.rows if not row.is_usable}
    assert wrong.keys() == {"cell7_low.tif", "cell8_low.tif"}
    assert "cannot be read" in wrong["cell7_low.tif"]
    assert "Different shapes: 10 x 10 and 24 x 28" in wrong["cell8_low.tif"]
    qtbot.waitUntil(lambda: not table.is_checking, timeout=180_000)


def test_the_dialog_explains_what_it_cannot_match(table, folders, tmp_path) -> None:
    dialog = choose_folders(table, folders[0], tmp_path / "none")
    assert "cannot be read" in dialog.summary.text()
    assert not dialog.add_button.isEnabled()
    (folders[1] / "cell5_high.tif").unlink()
    dialog.high.value = folders[1]
    assert dialog.summary.text() == "59 pairs matched. No partner for cell5_low."
    dialog.low.value = None
    assert "Choose the folder" in dialog.summary.text()
    dialog.reject()
    assert [row.is_empty for row in table.rows] == [True]


def test_training_on_pairs_from_folders(viewer, folders, qtbot) -> None:
    for folder in folders:
        for path in list(stack_files(folder).values())[6:]:
            path.unlink()
    widget = make_widget(viewer, (None, None), qtbot)
    choose_folders(widget.pairs, *folders).add_button.click()
    qtbot.waitUntil(lambda: widget.run_bar.start_button.isEnabled(), timeout=180_000)
    press_start(widget, qtbot)
    (entry,) = list_models()
    assert entry.card.training["pairs"] == 6
    assert entry.card.training["names"][0] == "cell1_low"


def test_a_closed_table_follows_the_layers_no_longer(table, viewer, layers, stack) -> None:
    table.rows[0].choose(*layers)
    table.stop()
    table.stop()
    changes = []
    table.changed.connect(lambda: changes.append(1))
    layers[0].name = "renamed"
    layers[0].data = stack[:, :20]
    viewer.layers.remove(layers[1])
    assert changes == []
