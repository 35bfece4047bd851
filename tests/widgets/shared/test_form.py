from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from magicgui.widgets import CheckBox, ComboBox
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QValidator, QWheelEvent
from qtpy.QtWidgets import QApplication, QLabel, QLineEdit, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_care_losses.errors import InputError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.restore_stack import RestorationParameters
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.widgets.shared.form import ParameterForm, fold
from napari_care_losses.widgets.shared.number_edit import NumberBox, NumberEdit
from napari_care_losses.widgets.train.loss_form import LossForm, explain

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_care_losses.parameters import Parameters

KINDS = [RestorationParameters, TrainingParameters, *LOSSES.values()]

CHANGED = {
    RestorationParameters: RestorationParameters(
        normalization="stack", low_band="plain", engine="openvino-int8", tile_size=64
    ),
    TrainingParameters: TrainingParameters(
        preset="lite",
        budget="minutes",
        amount=2.5,
        steps_per_epoch=7,
        patch_size=32,
        batch_size=4,
        learning_rate=1.25e-5,
        background_filter=False,
        validation_patches=9,
        seed=3,
    ),
    LOSSES["bandpass"]: LOSSES["bandpass"](sigma_small=0.75, sigma_large=6.5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_form_shows_the_defaults(kind: type[Parameters], qtbot: QtBot) -> None:
    form = ParameterForm(kind)
    qtbot.addWidget(form.native)
    assert form.value() == kind()


@pytest.mark.parametrize("kind", CHANGED)
def test_what_is_shown_is_what_was_given(kind: type[Parameters], qtbot: QtBot) -> None:
    form = ParameterForm(kind)
    qtbot.addWidget(form.native)
    emitted: list[object] = []
    form.changed.connect(emitted.append)
    form.set_value(CHANGED[kind])
    assert form.value() == CHANGED[kind]
    assert emitted == []


def test_what_is_typed_is_what_is_returned(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    edited: list[str] = []
    for name, editor in form.editors.items():
        editor.changed.connect(lambda _, name=name: edited.append(name))
    for name, text in {"learning_rate": "2e-5", "amount": "12", "patch_size": "128"}.items():
        line = form.editors[name].native.findChild(QLineEdit)
        line.selectAll()
        qtbot.keyClicks(line, text)
        qtbot.keyClick(line, Qt.Key.Key_Return)
    budget = form.editors["budget"].native
    budget.setCurrentIndex(budget.findText("steps"))
    form.editors["background_filter"].native.click()
    assert edited == ["learning_rate", "amount", "patch_size", "budget", "background_filter"]
    assert form.value() == TrainingParameters(
        learning_rate=2e-5, amount=12.0, patch_size=128, budget="steps", background_filter=False
    )


def test_a_change_is_told_once_also_of_a_folded_parameter(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    emitted: list[object] = []
    form.changed.connect(emitted.append)
    form.editors["patch_size"].value = 128
    form.editors["learning_rate"].value = 1e-3
    assert emitted == [form, form]


@pytest.mark.parametrize("kind", KINDS)
def test_title_unit_bounds_choices_and_help_are_the_parameters(kind: type[Parameters], qtbot: QtBot) -> None:
    form = ParameterForm(kind)
    qtbot.addWidget(form.native)
    for name, info in kind.described().items():
        editor = form.editors[name]
        assert (editor.text if isinstance(editor, CheckBox) else editor.label) == info.title
        assert info.help in editor.tooltip
        assert editor.native.accessibleName() == info.title
        if isinstance(editor, ComboBox):
            assert editor.choices == info.choices
        elif isinstance(editor, NumberEdit):
            assert (editor.min, editor.max, editor.unit) == (info.low, info.high, info.unit)


def test_labels_stand_before_their_editors_with_the_same_help(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    for name, info in TrainingParameters.described().items():
        if not isinstance(form.editors[name], CheckBox):
            label = form.editors[name].native.parentWidget().layout().itemAt(0).widget()
            assert label.text() == info.title
            assert info.help in label.toolTip()


def test_advanced_parameters_wait_until_they_are_asked_for(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    form.native.show()
    assert not form.editors["patch_size"].native.visibleRegion().isEmpty()
    assert form.editors["learning_rate"].native.visibleRegion().isEmpty()


def test_choices_are_shown_in_words(qtbot: QtBot) -> None:
    form = ParameterForm(RestorationParameters)
    qtbot.addWidget(form.native)
    combo = form.editors["normalization"].native
    assert [combo.itemText(i) for i in range(combo.count())] == [
        "as the model needs",
        "of each frame",
        "of the whole stack",
        "following bleaching",
    ]


@pytest.mark.parametrize(
    ("name", "words", "text", "value"),
    [("tile_size", "automatic", "512 px", 512), ("high_percentile", "as the model", "99.9 %", 99.9)],
)
def test_none_is_shown_in_words(name: str, words: str, text: str, value: float, qtbot: QtBot) -> None:
    form = ParameterForm(RestorationParameters)
    qtbot.addWidget(form.native)
    editor, lowest = form.editors[name], RestorationParameters.described()[name].low
    assert (editor.native.text(), editor.value) == (words, None)
    form.set_values({name: value})
    assert (editor.native.text(), editor.value) == (text, value)
    editor.value = None
    assert (editor.native.text(), editor.value) == (words, None)
    editor.native.stepUp()
    assert editor.value == lowest
    editor.native.stepDown()
    assert editor.value is None
    qtbot.keyClicks(editor.native, str(value))
    qtbot.keyClick(editor.native, Qt.Key.Key_Return)
    assert editor.value == value


def test_code_cannot_show_a_number_out_of_bounds(qtbot: QtBot) -> None:
    form = ParameterForm(RestorationParameters)
    qtbot.addWidget(form.native)
    with pytest.raises(ValueError, match="outside of the allowed range"):
        form.set_values({"high_percentile": 20.0})


def test_values_that_do_not_go_together_are_refused(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    form.set_values({"patch_size": 63})
    with pytest.raises(InputError, match="multiple of 4"):
        form.value()


@pytest.mark.parametrize("value", [0.5, 100.0, 4e-4, 1e-8, 1e7, 0.0, 2.5])
def test_a_number_box_writes_and_reads_any_size(value: float, qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setRange(0, 1e7)
    box.setSuffix(" px")
    box.setValue(value)
    assert box.valueFromText(box.text()) == value
    assert box.validate(box.text(), 0)[0] is QValidator.State.Acceptable


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("1e", QValidator.State.Intermediate),
        ("", QValidator.State.Intermediate),
        ("0,5", QValidator.State.Acceptable),
        ("20", QValidator.State.Intermediate),
        ("five", QValidator.State.Invalid),
    ],
)
def test_a_number_box_knows_what_may_become_a_number(text: str, state: QValidator.State, qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setRange(0, 10)
    assert box.validate(text, 0)[0] is state


@pytest.mark.parametrize(
    ("text", "state"), [("7", "Acceptable"), ("-", "Intermediate"), ("2.5", "Invalid"), ("1e1", "Invalid")]
)
def test_a_whole_number_has_no_fraction(text: str, state: str, qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setDecimals(0)
    box.setRange(0, 10)
    assert box.validate(text, 0)[0] is QValidator.State[state]


def test_the_wheel_scrolls_past_an_editor(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    form.native.show()
    editor = form.editors["batch_size"].native
    centre = QPointF(editor.rect().center())
    wheel = QWheelEvent(
        centre,
        editor.mapToGlobal(centre),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(editor, wheel)
    assert editor.value() == TrainingParameters().batch_size


def test_every_loss_can_be_chosen_and_is_explained(qtbot: QtBot) -> None:
    form = LossForm()
    qtbot.addWidget(form)
    for name, kind in LOSSES.items():
        form.combo.value = name
        assert form.value() == kind()
        assert form.combo.native.currentText() == kind.title
        assert "L = " in form.combo.tooltip
        assert "\\" not in explain(kind), "an equation with commands Qt does not know"


def test_a_losses_own_parameters_are_asked_for(qtbot: QtBot) -> None:
    form = LossForm()
    qtbot.addWidget(form)
    form.show()
    form.combo.value = "bandpass"
    assert form.form.visible
    with qtbot.waitSignal(form.changed):
        form.form.editors["sigma_large"].value = 7.5
    assert form.value() == LOSSES["bandpass"](sigma_large=7.5)
    form.form.set_values({"sigma_small": 9.0})
    with pytest.raises(InputError, match="smaller"):
        form.value()


def test_what_is_unfolded_grows_with_what_it_shows(qtbot) -> None:
    window, label = QWidget(), QLabel("one line")
    qtbot.addWidget(window)
    folded = fold("More", label)
    layout = QVBoxLayout(window)
    layout.addWidget(folded)
    layout.addStretch(1)
    window.resize(200, 600)
    window.show()
    assert label.height() == 0
    folded.toggleButton().click()
    qtbot.waitUntil(lambda: label.height() >= label.sizeHint().height(), timeout=30_000)
    label.setText("one\ntwo\nthree\nfour\nfive")
    qtbot.waitUntil(lambda: label.height() >= label.sizeHint().height(), timeout=30_000)
    folded.toggleButton().click()
    qtbot.waitUntil(lambda: label.height() == 0, timeout=30_000)


def test_the_tab_key_passes_over_what_is_folded(qtbot: QtBot) -> None:
    form = ParameterForm(TrainingParameters)
    qtbot.addWidget(form.native)
    form.native.show()
    folded = form.native.findChild(QCollapsible)

    def reached() -> list[QWidget]:
        form.editors["preset"].native.setFocus()
        found = []
        while form.native.focusNextChild() and form.native.focusWidget() not in found:
            found.append(form.native.focusWidget())
        return found

    editor = form.editors["learning_rate"].native
    assert folded.toggleButton() in reached()
    assert editor not in reached()
    folded.toggleButton().click()
    assert editor in reached()
