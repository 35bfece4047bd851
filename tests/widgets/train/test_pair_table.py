from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
import tifffile
from fixtures.train_widget import make_widget, press_start
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


def shown(table: PairTable, number: int) -> list[str]:
    return [table.table.item(number, column).text() for column in range(4)]


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
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
    left_out = "Left out: frame 2, in the low image 1 of 2080 pixels are NaN or infinite: replace them first."
    assert row.verdict == f"⚠ 3 frames of 40 x 52 px. {left_out}"
    assert shown(widget.pairs, 0)[0] == "⚠"
    assert widget.run_bar.start_button.isEnabled()


def test_a_pair_smaller_than_a_patch_is_marked_while_another_is_larger(widget, viewer, stack) -> None:
    pairs, patch = widget.pairs, widget.form.editors["patch_size"]
    patch.value = 32
    small = [viewer.add_image(viewer.layers[name].data[:, :20], name=f"small {name}") for name in ("1 ms", "100 ms")]
    pairs.rows[0].choose(*small)
    assert "Left out" not in pairs.rows[0].verdict, "a training without any other pair is refused"
    pairs.add_row().choose(viewer.layers["1 ms"], viewer.layers["100 ms"])
    assert "Left out: smaller than a patch of 32 px." in pairs.rows[0].verdict
    assert "Left out" not in pairs.rows[1].verdict
    assert shown(pairs, 0)[0] == "⚠"
    patch.value = 16
    assert "Left out" not in pairs.rows[0].verdict


@pytest.mark.parametrize(("width", "advice"), [(3, "choose larger images"), (20, "choose a smaller patch size")])
def test_pairs_that_are_all_smaller_than_a_patch_are_refused_before_the_start(width, advice, widget, viewer) -> None:
    rng = np.random.default_rng(0)
    low, high = (viewer.add_image(rng.poisson(100, (4, 160, width)), name=name, rgb=False) for name in ("a", "b"))
    widget.form.editors["patch_size"].value = 32
    widget.pairs.rows[0].choose(low, high)
    assert shown(widget.pairs, 0)[0] == "✗"
    assert widget.pairs.rows[0].verdict.startswith(f"✗ 160 x {width} px are too small for patches of 32 px: {advice}")
    assert "too small for patches" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    widget.form.editors["patch_size"].value = 16
    assert (shown(widget.pairs, 0)[0] == "✗") == (width < 16)
    assert widget.run_bar.start_button.isEnabled() == (width > 16)


def test_a_single_image_that_holds_no_two_patches_is_refused_before_the_start(widget, viewer, layers, stack) -> None:
    pairs, patch = widget.pairs, widget.form.editors["patch_size"]
    patch.value = 32
    single = [viewer.add_image(layer.data[0], name=f"field {layer.name}") for layer in layers]
    pairs.rows[0].choose(*single)
    assert shown(pairs, 0)[0] == "✗"
    assert pairs.rows[0].verdict == (
        "✗ 40 x 52 px are too small for patches of 32 px. A single image is split into a part that trains and a part "
        "that validates, so it must be at least 64 x 32 px: choose a smaller patch size, or add another image."
    )
    assert "at least 64 x 32 px" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    patch.value = 20
    assert pairs.rows[0].verdict.startswith("✓")
    patch.value = 32
    pairs.add_row().choose(*(viewer.add_image(layer.data[1][:, ::-1], name=f"other {layer.name}") for layer in layers))
    assert [row.verdict[0] for row in pairs.rows] == ["✓", "✓"]
    pairs.rows[1].choose(*(viewer.add_image(layer.data[:, :24], name=f"small {layer.name}") for layer in layers))
    assert "Left out: smaller than a patch" in pairs.rows[1].verdict
    assert "A single image is split" in pairs.rows[0].verdict, "what is left out does not train"


def test_the_only_frame_that_is_left_of_a_movie_is_a_single_image(widget, viewer, layers, stack, qtbot) -> None:
    widget.form.editors["patch_size"].value = 32
    flashed = stack.copy()
    flashed[1:] = 7
    widget.pairs.rows[0].choose(viewer.add_image(flashed, name="flashed"), layers[1])
    assert widget.run_bar.start_button.isEnabled(), "not all frames have been looked at"
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
    assert "A single image is split" in widget.pairs.rows[0].verdict
    assert not widget.run_bar.start_button.isEnabled()


def test_a_blank_pair_is_left_out_while_another_is_usable(widget, viewer, layers, stack) -> None:
    pairs = widget.pairs
    flat = viewer.add_image(np.full_like(stack, 7), name="flat")
    pairs.rows[0].choose(flat, layers[1])
    said = "The low image is constant: there is nothing to learn from it."
    assert pairs.rows[0].verdict == f"✗ {said}"
    assert not widget.run_bar.start_button.isEnabled()
    pairs.add_row().choose(*layers)
    assert pairs.rows[0].verdict == f"⚠ Left out: {said}"
    assert shown(pairs, 0)[::3] == ["⚠", "Left out"]
    assert widget.run_bar.start_button.isEnabled()
    assert pairs.pairs() == [pairs.rows[1].source]
    widget.form.editors["patch_size"].value = 64
    assert pairs.rows[0].verdict.startswith("✗"), "now there is no other pair"


def test_pixel_sizes_that_differ_are_said_until_they_do_not(widget, viewer, layers, qtbot) -> None:
    row = widget.pairs.rows[0]
    for layer, size, units in ((layers[0], 0.13, "um"), (layers[1], 65, "nm")):
        layer.units = ("pixel", units, units)
        layer.scale = (1, size, size)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
    assert row.verdict.startswith(
        "⚠ 3 frames of 40 x 52 px. The low image has pixels of 0.13 x 0.13 µm, the high one of"
    )
    assert widget.run_bar.start_button.isEnabled()
    layers[0].scale = (1, 0.065, 0.065)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
    assert row.verdict == "✓ 3 frames of 40 x 52 px"
    layers[0].scale, layers[0].units = (1, 0.5, 0.5), ("pixel",) * 3
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
    assert row.verdict == "✓ 3 frames of 40 x 52 px", "an unknown size is no other one"


def test_a_pair_with_a_warning_stays_usable(widget, viewer, qtbot) -> None:
    low, high = simulate_pairs("actin", 2, (128, 128), ImagingConditions(low_ms=1), seed=1)
    inner = (slice(None), slice(16, -16), slice(16, -16))
    layers = [viewer.add_image(np.roll(low, (3, -5), (1, 2))[inner]), viewer.add_image(high[inner])]
    row = widget.pairs.rows[0]
    row.choose(*layers)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
    assert re.match(r"⚠ 2 frames of 96 x 96 px\. Frame 0: The low image lies (2\.9|3\.\d) px below and", row.verdict)
    assert shown(widget.pairs, 0)[0] == "⚠"
    assert widget.pairs.verdict.text() == row.verdict
    assert widget.run_bar.start_button.isEnabled()
    row.choose(*reversed(layers))
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=60_000)
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
    qtbot.waitUntil(lambda: table.rows[0].is_usable, timeout=60_000)
    assert len(table.pairs()) == 1
    qtbot.waitUntil(lambda: not table.is_checking, timeout=60_000)


def test_sixty_pairs_from_two_folders(table, folders, qtbot) -> None:
    dialog = choose_folders(table, *folders)
    assert dialog.found.count() == 60
    assert dialog.summary.text() == "60 pairs matched."
    begun = time.monotonic()
    dialog.add_button.click()
    assert time.monotonic() - begun < 1
    assert len(table.rows) == 60
    assert table.rows[9].names == ("cell10_low.tif", "cell10_high.tif")
    qtbot.waitUntil(lambda: all(row.is_usable for row in table.rows), timeout=60_000)
    assert shown(table, 9) == ["✓", "cell10_low.tif", "cell10_high.tif", "24 x 28"]
    assert table.table.height() < 250, "the table scrolls"
    assert not table.choosers.native.isVisibleTo(table)
    assert len(table.pairs()) == 60
    qtbot.waitUntil(lambda: not table.is_checking, timeout=60_000)
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
    qtbot.waitUntil(lambda: all(row.is_checked for row in table.rows), timeout=60_000)
    wrong = {row.names[0]: row.verdict for row in table.rows if not row.is_usable}
    assert wrong.keys() == {"cell7_low.tif", "cell8_low.tif"}
    assert "cannot be read" in wrong["cell7_low.tif"]
    assert "Different shapes: 10 x 10 and 24 x 28" in wrong["cell8_low.tif"]
    qtbot.waitUntil(lambda: not table.is_checking, timeout=60_000)


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
    qtbot.waitUntil(lambda: widget.run_bar.start_button.isEnabled(), timeout=60_000)
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
