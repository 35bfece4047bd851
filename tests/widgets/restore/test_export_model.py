"""Exporting the chosen model from the Restore widget."""

from __future__ import annotations

import zipfile

from fixtures.imported_models import read_foreign

from napari_care_losses.models.model import load_model


def test_the_chosen_model_is_packed(open_widget, add_model, tmp_path, qtbot) -> None:
    add_model("mine")
    widget = open_widget()
    widget.model.choose("mine")
    panel = widget.exporting
    assert panel.isHidden()
    widget.export_button.native.click()
    assert not panel.isHidden()
    assert panel.target.value.name == "mine.zip"
    assert panel.author.native.placeholderText() == "anonymous"
    target = tmp_path / "package.zip"
    panel.target.value = target
    panel.author.value = "A. Nyone, B. Else"
    panel.license.native.setCurrentText("MIT")
    panel.run_bar.start_button.click()
    assert panel.is_running
    qtbot.waitUntil(lambda: not panel.is_running, timeout=180_000)
    assert panel.run_bar.status.text() == f"Saved {target}."
    entry = widget.model.value
    assert entry is not None
    assert read_foreign(target).digest() == load_model(entry.path).digest()
    with zipfile.ZipFile(target) as archive:
        described = archive.read("rdf.yaml").decode()
    assert all(name in described for name in ("A. Nyone", "B. Else", "MIT"))


def test_what_the_format_does_not_take_is_said(open_widget, add_model, tmp_path, qtbot, notified) -> None:
    add_model("mine")
    widget = open_widget()
    panel = widget.exporting
    panel.target.value = tmp_path / "package.zip"
    panel.license.native.setCurrentText("my own")
    panel.run_bar.start_button.click()
    qtbot.waitUntil(lambda: not panel.is_running, timeout=180_000)
    assert panel.run_bar.status.text().startswith("Not exported: The format does not allow this description")
    assert [*notified]
    assert list(tmp_path.iterdir()) == []


def test_the_button_says_why_it_would_not_work(open_widget, add_model, tmp_path) -> None:
    add_model("mine")
    widget = open_widget()
    panel = widget.exporting
    for text, said in ((tmp_path / "p.tar", "ends in .zip"), (tmp_path / "none" / "p.zip", "There is no folder")):
        panel.target.value = text
        assert said in panel.run_bar.reason.text()
        assert not panel.run_bar.start_button.isEnabled()
    panel.target.value = None
    add_model("other")
    widget.model.reload()
    widget.model.choose("other")
    assert panel.target.value.name == "other.zip"
    assert panel.run_bar.start_button.isEnabled()
