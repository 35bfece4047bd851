"""Which models Restore offers, what it says of them, and which it starts with."""

from __future__ import annotations

import pytest

from napari_care_losses.errors import RenamedModelWarning


def test_models_are_labelled_and_described(open_widget, add_model) -> None:
    add_model("mine", loss="bandpass", structure="mitochondria")
    widget = open_widget()
    assert widget.model.current_choice == "mine — Bandpass · lite · mitochondria"
    assert "mitochondria images, Bandpass loss" in widget.model.about.text()


def test_a_model_that_comes_into_the_library_is_chosen(open_widget, add_model, qtbot) -> None:
    widget = open_widget()
    assert widget.model.value is None
    add_model("first")
    qtbot.waitUntil(lambda: widget.model.value is not None, timeout=30_000)
    add_model("second")
    qtbot.waitUntil(lambda: widget.model.value.name == "second", timeout=30_000)


@pytest.fixture
def bundle(add_model, model_library, no_bundled_models):
    """Return a function that adds untrained models to the bundled ones."""

    def add(*losses: str) -> None:
        for loss in losses:
            add_model(f"{loss}-lite", loss=loss, structure="other")
            (model_library / f"{loss}-lite.safetensors").rename(no_bundled_models / f"{loss}-lite.safetensors")

    return add


def test_bundled_models_are_set_apart_from_ones_own(open_widget, add_model, bundle) -> None:
    bundle("laplace", "fft", "bandpass")
    add_model("mine")
    combo = open_widget().model.native
    texts = [combo.itemText(i) for i in range(combo.count())]
    bundled = [f"{loss} · lite — bundled" for loss in ("FFT", "Bandpass", "Laplace")]
    assert texts == ["mine — Mean absolute error · lite · actin", "", *bundled]


def test_the_fft_model_is_chosen_at_first_and_a_choice_stays(open_widget, add_model, bundle) -> None:
    add_model("mine")
    bundle("laplace", "fft")
    widget = open_widget()
    assert widget.model.value.name == "fft-lite"
    widget.model.choose("mine")
    widget.model.reload()
    assert widget.model.value.name == "mine"


def test_a_former_name_chooses_the_model_of_every_structure(open_widget, bundle) -> None:
    bundle("laplace", "fft")
    widget = open_widget()
    with pytest.warns(RenamedModelWarning, match="dendra-laplace-lite is now laplace-lite"):
        widget.model.choose("dendra-laplace-lite")
    assert widget.model.value.name == "laplace-lite"


def test_a_model_file_can_be_opened(open_widget, add_model, model_library, tmp_path, qtbot) -> None:
    add_model("elsewhere")
    path = (model_library / "elsewhere.safetensors").rename(tmp_path / "elsewhere.safetensors")
    widget = open_widget()
    widget.model.open_file(path)
    assert widget.model.value.path == path
