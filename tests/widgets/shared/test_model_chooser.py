"""Which models Restore offers, what it says of them, and which it suggests."""

from __future__ import annotations

from qtpy.QtCore import QCoreApplication


def test_models_are_labelled_and_described(open_widget, add_model) -> None:
    add_model("mine", loss="bandpass", structure="mitochondria")
    widget = open_widget()
    assert widget.model.current_choice == "mine — mitochondria · Bandpass · lite"
    assert "mitochondria images, Bandpass loss" in widget.model.about.text()


def test_a_model_that_comes_into_the_library_is_chosen(open_widget, add_model, qtbot) -> None:
    widget = open_widget()
    assert widget.model.value is None
    add_model("first")
    qtbot.waitUntil(lambda: widget.model.value is not None, timeout=30_000)
    add_model("second")
    qtbot.waitUntil(lambda: widget.model.value.name == "second", timeout=30_000)


def test_bundled_models_are_set_apart_from_ones_own(open_widget, add_model, model_library, no_bundled_models) -> None:
    add_model("actin-fft-lite", loss="fft")
    (model_library / "actin-fft-lite.safetensors").rename(no_bundled_models / "actin-fft-lite.safetensors")
    add_model("mine")
    combo = open_widget().model.native
    texts = [combo.itemText(i) for i in range(combo.count())]
    assert texts == ["mine — actin · Mean absolute error · lite", "", "actin · FFT · lite — bundled"]


def test_a_model_file_can_be_opened(open_widget, add_model, model_library, tmp_path, qtbot) -> None:
    add_model("elsewhere")
    path = (model_library / "elsewhere.safetensors").rename(tmp_path / "elsewhere.safetensors")
    widget = open_widget()
    widget.model.open_file(path)
    assert widget.model.value.path == path


def test_a_model_of_the_structure_named_is_suggested_until_one_is_chosen(viewer, open_widget, add_model, stack) -> None:
    add_model("a", structure="actin")
    add_model("m", structure="mitochondria")
    add_model("other", structure="other")
    widget = open_widget()
    assert widget.model.value.name == "a"
    viewer.add_image(stack, name="MITO 60x")
    QCoreApplication.processEvents()
    assert widget.model.value.name == "m"
    viewer.add_image(stack, name="another cell")
    QCoreApplication.processEvents()
    assert widget.model.value.name == "m"
    widget.model.choose("other")
    viewer.add_image(stack, name="actin")
    assert widget.model.value.name == "other"
