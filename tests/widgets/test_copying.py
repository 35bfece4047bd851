"""What the buttons Copy of the three widgets give makes the results again."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from fixtures.cli_runs import status_of
from fixtures.compare_widget import open_compare, press_compare
from fixtures.restore_widget import entry, press_restore
from fixtures.train_widget import make_widget, press_start
from napari.layers._source import layer_source
from qtpy.QtWidgets import QApplication

import napari_care_losses as ncl
from napari_care_losses.models.model import PROVENANCE, load_model
from napari_care_losses.plugin.writer import write_image
from napari_care_losses.widgets.layers.restored_layers import find_result
from napari_care_losses.widgets.layers.source_file import LayerFile, file_of


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Run in a folder of an awkward name."""
    folder = tmp_path / "it's \u00fc"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def add_file(viewer, folder, stack, name="my stack.tif", axes="TYX"):
    """Open a stack from a file."""
    ncl.save_stack(folder / name, stack, axes=axes)
    with layer_source(path=str(folder / name)):
        return viewer.add_image(stack, name=Path(name).stem)


def copied(button, form):
    QApplication.clipboard().clear()
    button.copy(form)
    return QApplication.clipboard().text()


def run_copied(button, form):
    """Run what a button copies."""
    text = copied(button, form)
    if form == "python":
        exec(text, {"print": lambda *_: None})
    else:
        assert status_of(*shlex.split(text)[1:]) == 0
    return text


@pytest.mark.parametrize("form", ["bash", "python"])
def test_a_restored_layer_is_made_again(viewer, open_widget, add_model, stack, in_folder, qtbot, form):
    add_model()
    source = add_file(viewer, in_folder, stack)
    widget = open_widget()
    widget.form.set_values({"average_flips": True, "normalization": "stack", "replace_hot_pixels": True})
    press_restore(widget, qtbot)
    run_copied(widget.copy, form)
    made = find_result(viewer, source, entry())
    np.testing.assert_array_equal(tifffile.imread(in_folder / "my stack_restored-untrained.tif"), made.data)
    assert "Copied the" in widget.run_bar.status.text()
    # settings that have changed since are not those of the layer
    before = copied(widget.copy, form)
    widget.form.editors["average_flips"].value = False
    assert copied(widget.copy, form) == before


def test_some_frames_of_a_layer_are_made_again(viewer, open_widget, add_model, stack, in_folder, qtbot):
    add_model()
    source = add_file(viewer, in_folder, stack)
    widget = open_widget()
    widget.frame_choice.frames.value = "numbered"
    widget.frame_choice.numbers.value = "1:3"
    press_restore(widget, qtbot)
    assert "--only 1:3" in run_copied(widget.copy, "bash")
    made = find_result(viewer, source, entry()).data
    np.testing.assert_array_equal(tifffile.imread(in_folder / "my stack_restored-untrained.tif"), made[1:3])


def test_a_saved_layer_says_how_it_was_made(viewer, open_widget, add_model, stack, in_folder, qtbot):
    add_model()
    source = add_file(viewer, in_folder, stack)
    widget = open_widget()
    press_restore(widget, qtbot)
    made = find_result(viewer, source, entry())
    write_image(str(in_folder / "saved.tif"), *made.as_layer_data_tuple()[:2])
    with tifffile.TiffFile(in_folder / "saved.tif") as file:
        assert copied(widget.copy, "bash") in tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Description"]
    # what the user has made of it was not made so
    made.data = made.data + 1
    write_image(str(in_folder / "saved.tif"), *made.as_layer_data_tuple()[:2])
    with tifffile.TiffFile(in_folder / "saved.tif") as file:
        assert "Description" not in tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]


def test_a_layer_without_a_file_is_to_be_saved_first(viewer, open_widget, add_model, stack, in_folder, qtbot):
    add_model()
    source = viewer.add_image(stack, name="cells: 1 ms")
    widget = open_widget()
    text = copied(widget.copy, "powershell")
    assert "'cells- 1 ms.tif'" in text
    said = widget.run_bar.status.text()
    assert "cells: 1 ms lies in no file: first save it" in said and "as cells- 1 ms.tif" in said
    press_restore(widget, qtbot)
    write_image("cells- 1 ms.tif", *source.as_layer_data_tuple()[:2])
    run_copied(widget.copy, "bash")
    made = find_result(viewer, source, entry()).data
    np.testing.assert_array_equal(tifffile.imread("cells- 1 ms_restored-untrained.tif"), made)


def test_the_file_of_a_layer_is_found_by_its_pixels(viewer, stack, in_folder):
    both = np.stack([stack, stack + 1], axis=1)
    path = in_folder / "two.tif"
    ncl.save_stack(path, both, axes="TCYX")
    with layer_source(path=str(path)):
        second, other = viewer.add_image(both[:, 1]), viewer.add_image(stack + 2)
        whole = viewer.add_image(both)
    assert file_of(second) == LayerFile(path, 1)
    assert file_of(whole) == LayerFile(path)
    assert not file_of(other).is_saved
    with layer_source(path=str(in_folder / "gone.tif")):
        assert not file_of(viewer.add_image(stack)).is_saved


@pytest.mark.parametrize("form", ["bash", "python"])
def test_a_trained_model_is_made_again(viewer, stack, in_folder, qtbot, form):
    clean = np.repeat(stack[:1], 3, axis=0).astype(np.float32) * 2
    widget = make_widget(
        viewer, (add_file(viewer, in_folder, stack), add_file(viewer, in_folder, clean, "c.tif")), qtbot
    )
    press_start(widget, qtbot)
    entry = widget.queue.entries[0]
    made = load_model(entry.out)
    text = copied(widget.trainings.copy_button, form)
    assert made.card.training[PROVENANCE][form] == text.splitlines()
    again = text.replace(entry.out.stem, f"{entry.out.stem}-again")
    if form == "python":
        exec(again, {"print": lambda *_: None})
    else:
        assert status_of(*shlex.split(again)[1:]) == 0
    model = load_model(entry.out.with_stem(f"{entry.out.stem}-again"))
    assert all(torch.equal(weights, model.weights[name]) for name, weights in made.weights.items())


def test_a_training_of_layers_without_files_says_what_to_save(viewer, stack, qtbot):
    clean = np.repeat(stack[:1], 3, axis=0).astype(np.float32) * 2
    layers = viewer.add_image(stack, name="1 ms"), viewer.add_image(clean, name="100 ms")
    widget = make_widget(viewer, layers, qtbot)
    widget.form.set_values({"budget": "minutes", "amount": 5.0})
    widget.queue_button.click()
    assert "--low '1 ms.tif' --high '100 ms.tif'" in copied(widget.trainings.copy_button, "bash")
    said = widget.run_bar.status.text()
    assert "1 ms and 100 ms lie in no file" in said and "budget is in minutes" in said


@pytest.mark.parametrize("form", ["bash", "python"])
def test_a_comparison_is_made_again(viewer, add_model, stack, in_folder, qtbot, form):
    add_model()
    truth = (stack.mean(axis=1, keepdims=True) * np.ones((1, stack.shape[1], 1)) * 10 + 7).astype(np.float32)
    low, high = add_file(viewer, in_folder, stack), add_file(viewer, in_folder, truth, "truth.tif")
    widget = open_compare(viewer, qtbot, "tv", "untrained")
    widget.settings.image.value, widget.settings.truth.value = low, high
    press_compare(widget, qtbot)
    run_copied(widget.summary.again, form)
    widget.export(in_folder / "widget.html")
    qtbot.waitUntil(lambda: (in_folder / "widget.html").exists() and not widget.is_busy, timeout=180_000)
    tables = []
    for page in ("comparison", "widget"):
        paths = sorted(in_folder.glob(f"{page}*.csv"))
        tables.append([list(csv.reader(path.read_text(encoding="utf-8").splitlines())) for path in paths])
    assert len(tables[0]) == 2 and tables[0] == tables[1]
    assert "To make it again" in (in_folder / "widget.html").read_text(encoding="utf-8")
