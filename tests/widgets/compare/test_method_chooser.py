from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from napari_care_losses.errors import RenamedModelWarning
from napari_care_losses.models.library import list_models
from napari_care_losses.widgets.compare.method_chooser import MethodChooser, short_names, suggested
from napari_care_losses.widgets.compare.results import TITLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

LOSSES = ("bandpass", "fft", "laplace")


@pytest.fixture
def bundle(add_model: Callable[..., str], model_library: Path, no_bundled_models: Path) -> Callable[..., str]:
    """Return a function that adds an untrained model to the bundled ones."""

    def add(loss: str, name: str = "") -> str:
        name = name or f"{loss}-lite"
        add_model(name, loss=loss, structure="other")
        (model_library / f"{name}.safetensors").rename(no_bundled_models / f"{name}.safetensors")
        return name

    return add


@pytest.fixture
def open_chooser(qtbot: QtBot) -> Callable[[], MethodChooser]:
    def open_() -> MethodChooser:
        chooser = MethodChooser("dark")
        qtbot.addWidget(chooser)
        return chooser

    return open_


def ticked(chooser: MethodChooser) -> list[str]:
    return [choice if isinstance(choice, str) else choice.name for choice in chooser.choices()]


def texts(chooser: MethodChooser) -> dict[str, list[str]]:
    groups = [chooser.tree.topLevelItem(place) for place in range(chooser.tree.topLevelItemCount())]
    return {group.text(0): [group.child(i).text(0) for i in range(group.childCount())] for group in groups}


def item_of(chooser: MethodChooser, text: str):
    return chooser.tree.findItems(text, Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive)[0]


def test_methods_are_grouped_and_labelled(open_chooser, add_model, bundle) -> None:
    add_model("mine", loss="fft")
    for loss in LOSSES:
        bundle(loss)
    assert texts(open_chooser()) == {
        "Your models": ["mine — FFT · lite · actin"],
        "Bundled models": ["FFT · lite", "Bandpass · lite", "Laplace · lite"],
        "Without training": ["Total variation", "Non-local means"],
    }


def test_a_model_of_each_loss_and_tv_are_ticked_at_first(open_chooser, bundle) -> None:
    for loss in LOSSES:
        bundle(loss)
        bundle(loss, f"{loss}-again")
    chooser = open_chooser()
    assert set(ticked(chooser)) == {"tv", *(f"{loss}-again" for loss in LOSSES)}
    assert [method.name for method in chooser.methods()] == ["FFT", "Bandpass", "Laplace", "TV"]
    assert chooser.reference() == "Laplace"


def test_a_former_name_ticks_the_model_of_every_structure(open_chooser, bundle) -> None:
    bundle("fft")
    chooser = open_chooser()
    with pytest.warns(RenamedModelWarning, match="actin-fft-lite is now fft-lite"):
        chooser.tick(["actin-fft-lite", "tv"])
    assert ticked(chooser) == ["fft-lite", "tv"]


def test_bundled_models_are_suggested_before_ones_own(add_model, bundle) -> None:
    add_model("a-mine", loss="fft")
    bundle("fft")
    assert suggested(list_models()) == {"tv", "fft-lite"}


def test_ones_own_are_suggested_where_nothing_is_bundled(add_model) -> None:
    add_model("mine", loss="laplace", structure="other")
    add_model("plain", loss="mae", structure="other")
    assert suggested(list_models()) == {"tv", "mine"}
    assert suggested([]) == {"tv"}


def test_what_the_user_ticked_stays(open_chooser, bundle, qtbot) -> None:
    bundle("fft")
    chooser = open_chooser()
    with qtbot.waitSignal(chooser.changed):
        item_of(chooser, "Non-local means").setCheckState(0, Qt.CheckState.Checked)
    chooser.reload()
    assert ticked(chooser) == ["fft-lite", "tv", "nl-means"]


def test_a_model_that_comes_into_the_library_is_listed_not_ticked(open_chooser, add_model, qtbot) -> None:
    chooser = open_chooser()
    chooser.tick({"tv"})
    add_model("new", loss="laplace")
    qtbot.waitUntil(lambda: "Your models" in texts(chooser), timeout=30_000)
    assert ticked(chooser) == ["tv"]


def test_all_that_is_bundled_is_seen_without_scrolling(open_chooser, add_model, bundle, qtbot) -> None:
    add_model("mine")
    for loss in LOSSES:
        bundle(loss)
        bundle(loss, f"{loss}-care")
    chooser = open_chooser()
    chooser.show()
    bar = chooser.tree.verticalScrollBar()
    assert bar.maximum() == 0
    chooser.hide()
    # as the viewer's style does, once the widget is in it
    chooser.setStyleSheet("QTreeView::item { height: 40px; }")
    chooser.show()
    qtbot.waitUntil(
        lambda: chooser.tree.visualItemRect(item_of(chooser, "Total variation")).height() == 40, timeout=30_000
    )
    assert bar.maximum() == 0
    for number in range(5):
        add_model(f"another-{number}")
    chooser.reload()
    qtbot.waitUntil(lambda: bar.maximum() > 0, timeout=30_000)


def test_with_nothing_ticked_there_is_a_problem(open_chooser) -> None:
    chooser = open_chooser()
    assert chooser.problem == ""
    chooser.tick(())
    assert "Tick at least one" in chooser.problem
    assert chooser.reference() is None


def test_names_are_short_and_told_apart(open_chooser, add_model, bundle) -> None:
    bundle("fft")
    bundle("fft", "fft-again")
    bundle("laplace")
    add_model("input", loss="fft")
    add_model("FFT", loss="fft")
    entries = {(entry.name, entry.bundled): entry for entry in list_models()}
    choices = [
        entries["input", False],
        entries["FFT", False],
        entries["fft-lite", True],
        entries["fft-again", True],
        entries["laplace-lite", True],
        "tv",
    ]
    names = short_names(choices)
    assert names == ["input (2)", "FFT", "fft-lite", "fft-again", "Laplace", "TV"]
    assert len({*names, *TITLES}) == len(names) + len(TITLES)
    assert short_names([entries["fft-lite", True], "nl-means"]) == ["FFT", "NL-means"]


def test_a_model_says_what_it_was_trained_on(open_chooser, add_model) -> None:
    add_model("mine", loss="bandpass", structure="mitochondria")
    (text,) = texts(open_chooser())["Your models"]
    chooser = open_chooser()
    assert re.search("mitochondria images, Bandpass loss", item_of(chooser, text).toolTip(0))
