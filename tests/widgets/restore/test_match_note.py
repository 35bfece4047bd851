from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.image_statistics import measure
from napari_care_losses.models.library import LibraryEntry
from napari_care_losses.models.match import summarize_images
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
from napari_care_losses.widgets.restore import frame_notes
from napari_care_losses.widgets.restore.frame_notes import ADVICE, HELP, TITLE, MatchNote, note
from napari_care_losses.widgets.shared.model_chooser import ModelChooser, describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

    MakeEntry = Callable[..., LibraryEntry]


@pytest.fixture(scope="module")
def fields() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return mitochondria at low and high exposure, (12, 160, 160)."""
    return simulate_pairs("mitochondria", 12, (160, 160), seed=41)


@pytest.fixture
def make_entry(fields: tuple[NDArray[np.uint16], ...], tmp_path: Path) -> MakeEntry:
    """Return a function that makes an entry of a model trained on the low exposures, or on the high ones."""

    def make(exposure: int = 0, *, knows: bool = True) -> LibraryEntry:
        statistics = summarize_images(list(fields[exposure])) if knows else {}
        card = ModelCard(structure="mitochondria", loss="mae", architecture=PRESETS["lite"], statistics=statistics)
        return LibraryEntry("model", tmp_path / f"{exposure}{knows}", False, card)

    return make


class Shown:
    """A note in a window, and how to wait for it."""

    def __init__(self, qtbot: QtBot) -> None:
        self.qtbot = qtbot
        self.window = QWidget()
        qtbot.addWidget(self.window)
        self.note = MatchNote()
        QVBoxLayout(self.window).addWidget(self.note)
        self.window.show()

    def check(self, data: NDArray | None, index: int, entry: LibraryEntry | None) -> list[str]:
        # wrapped anew, as a layer's data are for every check
        self.note.check(None if data is None else Frames(data), index, entry)
        self.qtbot.waitUntil(lambda: not self.note.is_checking, timeout=60_000)
        assert self.note.isVisible() == bool(self.note.reasons)
        return self.note.reasons


@pytest.fixture
def shown(qtbot: QtBot) -> Shown:
    return Shown(qtbot)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the shapes of the frames measured so far."""
    shapes: list[tuple[int, ...]] = []
    measure = frame_notes.measure

    def spy(image: NDArray) -> object:
        shapes.append(image.shape)
        return measure(image)

    monkeypatch.setattr(frame_notes, "measure", spy)
    return shapes


def test_a_matching_frame_is_no_news(shown: Shown, fields, make_entry) -> None:
    assert shown.check(fields[0], 0, make_entry()) == []
    assert not shown.note.isVisible()


def test_a_frame_that_does_not_match_is_named_with_its_reason(shown: Shown, fields, make_entry) -> None:
    assert "less noisy" in shown.check(fields[1], 0, make_entry())[0]
    text = shown.note.text()
    assert all(part in text for part in (TITLE, "less noisy", ADVICE))


def test_the_first_reason_is_in_sight_and_the_others_in_the_tooltip(shown: Shown, fields, make_entry, monkeypatch):
    monkeypatch.setattr(frame_notes, "reasons", lambda *_: ["It is dark.", "It also is < small.", "It also is old."])
    shown.check(fields[1], 0, make_entry())
    assert "It is dark." in shown.note.text()
    assert "It also" not in shown.note.text()
    assert all(text in shown.note.toolTip() for text in ("It also is &lt; small.", "It also is old.", HELP))


def test_the_note_follows_slider_and_model(shown: Shown, fields, make_entry) -> None:
    low, high = make_entry(0), make_entry(1)
    stack = np.stack([fields[0][0], fields[1][0]])
    assert not shown.check(stack, 0, low)
    assert shown.check(stack, 1, low)
    assert not shown.check(stack, 1, high)
    assert "noisier" in shown.check(stack, 0, high)[0]
    assert not shown.check(fields[1], 0, high)


def test_a_frame_is_measured_once_for_any_model(shown: Shown, fields, make_entry, measured) -> None:
    for entry in (make_entry(0), make_entry(1)):
        for index in (0, 1, 0):
            shown.check(fields[0], index, entry)
    assert len(measured) == 2
    shown.check(fields[1], 0, make_entry(0))
    assert len(measured) == 3


def test_nothing_is_measured_or_said_where_there_is_nothing_to_compare(shown: Shown, fields, make_entry, measured):
    for data, entry in ((None, make_entry()), (fields[0], None), (fields[0], make_entry(knows=False))):
        shown.check(fields[1], 0, make_entry(0))
        assert shown.note.reasons
        before = len(measured)
        assert shown.check(data, 0, entry) == []
        assert len(measured) == before


def test_a_frame_that_cannot_be_measured_is_left_alone(shown: Shown, fields, make_entry) -> None:
    broken = fields[1].astype(np.float32)
    broken[1] = np.nan
    assert shown.check(broken, 0, make_entry())
    assert shown.check(broken, 1, make_entry()) == []
    assert shown.check(np.zeros((3, 40, 40)), 0, make_entry()) == []
    assert shown.check(fields[1][:, :20, :20], 0, make_entry()) == []


def test_of_many_steps_of_the_slider_the_last_counts(shown: Shown, fields, make_entry, measured) -> None:
    stack = np.concatenate([fields[1], fields[0]])
    entry = make_entry()
    for index in range(len(stack) - 1):
        shown.note.check(Frames(stack), index, entry)
    assert shown.check(stack, len(stack) - 1, entry) == []
    assert len(measured) < 6


def test_another_channel_of_the_same_data_is_another_frame(shown: Shown, fields, make_entry, measured) -> None:
    stack = np.stack([fields[0][:2], fields[1][:2]])
    entry = make_entry()
    found = [bool(shown.check(stack, index, entry)) for index in range(4)]
    assert found == [False, False, True, True]
    assert len(measured) == 4


def test_closing_the_window_ends_the_measuring(qtbot: QtBot, fields, make_entry) -> None:
    note = MatchNote()
    note.check(Frames(fields[0]), 0, make_entry())
    note.deleteLater()
    qtbot.wait(150)


def test_reasons_are_text_and_not_markup() -> None:
    assert note([]) == ""
    assert "a &lt; b" in note(["a < b"])


def test_the_chooser_says_what_a_model_was_trained_on(make_entry: MakeEntry) -> None:
    card = make_entry().card
    training = {
        "pairs": 60,
        "names": ["cells_1ms.tif[0]", "cells_1ms.tif[1]"],
        "steps": 1200,
        "seconds": 130.0,
        "date": "2026-11-22",
    }
    text = describe(replace(card, preset="lite", training=training))
    for part in (
        "60 pairs of mitochondria images (cells_1ms.tif)",
        "lite network",
        "1,200 steps in 2 min, 22 Nov 2026.",
        "Noise of its images: ",
        " % of their range.",
    ):
        assert part in text
    assert "does not store" in describe(replace(card, statistics={}))


def names(chooser: ModelChooser) -> list[str]:
    return [entry.name for entry in chooser.choices]


def test_the_library_puts_first_what_was_trained_on_such_images(
    qtbot: QtBot, model_library: Path, fields: tuple[NDArray[np.uint16], ...]
) -> None:
    for name, statistics in (("a", {}), ("b", summarize_images(fields[1])), ("c", summarize_images(fields[0]))):
        architecture = PRESETS["lite"]
        card = ModelCard(structure="mitochondria", loss="mae", architecture=architecture, statistics=statistics)
        Model(card, CareNetwork(architecture).state_dict()).save(model_library / f"{name}.safetensors")
    chooser = ModelChooser("Model", "")
    qtbot.addWidget(chooser.rows.native)
    chooser.choose("b")
    assert names(chooser) == ["a", "b", "c"]
    chooser.sort_for(measure(fields[0][0]))
    assert names(chooser) == ["c", "b", "a"]
    entry = chooser.value
    assert entry is not None
    assert entry.name == "b", "the choice is the user's"
    tips = [chooser.native.itemData(index, Qt.ItemDataRole.ToolTipRole) for index in range(3)]
    for tip, said in zip(tips, ("like this one", "The image is", "Does not say"), strict=True):
        assert said in tip
    chooser.reload()
    assert names(chooser) == ["c", "b", "a"]


def test_a_stack_is_measured_for_the_library_once(
    qtbot: QtBot, make_entry: MakeEntry, fields: tuple[NDArray[np.uint16], ...]
) -> None:
    shown, seen = Shown(qtbot), []
    shown.note.measured.connect(seen.append)
    low = fields[0]
    for index in (0, 3, 0):
        shown.check(low, index, make_entry())
    assert seen == [measure(low[0])]
    shown.check(low[5:], 0, make_entry())
    assert seen == [measure(low[0]), measure(low[5])]
