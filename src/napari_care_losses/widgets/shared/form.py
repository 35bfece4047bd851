"""A form made from a parameter class: titles, units, bounds, choices and help come from its description."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt, Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_care_losses.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_care_losses.parameters import ParameterInfo

Kind = TypeVar("Kind", bound=Parameters)
Editor = QCheckBox | QComboBox | QSpinBox | QDoubleSpinBox
Words = dict[str, dict[str, str]]

NO_LIMIT = 2**24 - 1
"""Qt's height of a widget that may be as high as it wants."""

NARROW = 110
"""Smallest width of an editor, in pixels: docks are narrow."""


class ParameterForm(QWidget, Generic[Kind]):
    """Edits an instance of a parameter class.

    Parameters
    ----------
    kind : type
        The parameter class.
    words : dict of str to dict, optional
        By parameter, what to show in place of its choices.
    parent : QWidget, optional
        Parent widget.
    """

    edited = Signal(str)
    """Name of the parameter the user has changed."""

    def __init__(self, kind: type[Kind], *, words: Words | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind = kind
        self._editors: dict[str, Editor] = {}
        self._labels: dict[str, QLabel] = {}
        plain = self.rows = make_rows()
        advanced = make_rows()
        types = get_type_hints(kind)
        for name, info in kind.described().items():
            editor = _make_editor(types[name], info, (words or {}).get(name, {}))
            label = QLabel("" if isinstance(editor, QCheckBox) else info.title)
            for widget in (editor, label):
                widget.setToolTip(tooltip(info.help))
            editor.setAccessibleName(info.title)
            editor.setObjectName(name)
            _changed(editor).connect(lambda *_, name=name: self.edited.emit(name))
            self._editors[name], self._labels[name] = editor, label
            (advanced if info.advanced else plain).addRow(label, editor)
        self.set_value(kind())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(plain)
        if advanced.rowCount():
            content = QWidget()
            content.setLayout(advanced)
            layout.addWidget(fold("More settings", content))

    def value(self) -> Kind:
        """Return what the form says.

        Raises
        ------
        InputError
            If the values do not go together.
        """
        return self._kind(**{name: _get(editor) for name, editor in self._editors.items()})

    def set_value(self, value: Kind) -> None:
        """Show an instance, without `edited` being emitted."""
        self.set_values(value.to_dict())

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show some values by name, without `edited` being emitted."""
        for name, value in values.items():
            editor = self._editors[name]
            with QSignalBlocker(editor):
                _set(editor, value)

    def get(self, name: str) -> Any:
        """Return the value of one parameter, unchecked."""
        return _get(self._editors[name])

    def set_unit(self, name: str, unit: str) -> None:
        """Show another unit behind a number."""
        editor = self._editors[name]
        assert isinstance(editor, QSpinBox | QDoubleSpinBox)
        editor.setSuffix(f" {unit}" if unit else "")

    def editor(self, name: str) -> Editor:
        """Return the widget that edits a parameter."""
        return self._editors[name]

    def label(self, name: str) -> QLabel:
        """Return the label of a parameter."""
        return self._labels[name]


def tooltip(text: str) -> str:
    """Return a text as rich text, which Qt breaks into lines."""
    return f"<qt>{text}</qt>" if text else ""


def align_labels(*forms: QFormLayout) -> None:
    """Give the labels of several form layouts one width, so that their fields line up."""
    items = [form.itemAt(row, QFormLayout.ItemRole.LabelRole) for form in forms for row in range(form.rowCount())]
    labels = [label for item in items if item is not None and (label := item.widget()) is not None]
    for label in labels:
        label.ensurePolished()
    width = max((label.sizeHint().width() for label in labels), default=0)
    for label in labels:
        label.setMinimumWidth(width)


def scroll_past(widget: QWidget) -> None:
    """Let the mouse wheel scroll the panel, not change the value of an editor it happens to pass over."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelFilter(widget))


class _WheelFilter(QObject):
    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


class NumberBox(QDoubleSpinBox):
    """Edits a number of any size, written as short as possible: 0.5, 100, 0.0004 or 1e-07."""

    _PARTIAL = re.compile(r"[-+]?\d*[.,]?\d*(e[-+]?\d*)?", re.IGNORECASE)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(12)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        """Return the text shown for a value."""
        return f"{value:g}"

    def valueFromText(self, text: str | None) -> float:
        """Return the value of a text."""
        return float(self._number(text))

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Tell whether a text is a number, or may become one."""
        number, shown = self._number(text), text or ""
        if not self._PARTIAL.fullmatch(number):
            return QValidator.State.Invalid, shown, position
        try:
            is_allowed = self.minimum() <= float(number) <= self.maximum()
        except ValueError:
            is_allowed = False
        return QValidator.State.Acceptable if is_allowed else QValidator.State.Intermediate, shown, position

    def _number(self, text: str | None) -> str:
        return (text or "").removesuffix(self.suffix()).strip().replace(",", ".")


def _make_editor(kind: Any, info: ParameterInfo, words: Mapping[str, str]) -> Editor:
    if kind is bool:
        return QCheckBox(info.title)
    editor: QComboBox | QSpinBox | QDoubleSpinBox
    if info.choices:
        editor = QComboBox()
        for choice in info.choices:
            editor.addItem(words.get(choice, choice), choice)
        editor.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    else:
        editor = QSpinBox() if kind in (int, int | None) else NumberBox()
        lowest = info.low if info.none_number is None else info.none_number
        number = int if isinstance(editor, QSpinBox) else float
        editor.setRange(number(max(lowest, -(2**31))), number(min(info.high, 2**31 - 1)))
        editor.setSuffix(f" {info.unit}" if info.unit else "")
        editor.setKeyboardTracking(False)
        if info.none_number is not None:
            editor.setSpecialValueText(info.none_means)
            # in between there is nothing that is meant as a number
            editor.setStepType(QAbstractSpinBox.StepType.DefaultStepType)
    editor.setMinimumWidth(NARROW)
    scroll_past(editor)
    return editor


def _get(editor: Editor) -> Any:
    if isinstance(editor, QComboBox):
        return editor.currentData()
    return editor.isChecked() if isinstance(editor, QCheckBox) else editor.value()


def _set(editor: Editor, value: Any) -> None:
    if isinstance(editor, QComboBox):
        editor.setCurrentIndex(editor.findData(value))
    elif isinstance(editor, QCheckBox):
        editor.setChecked(value)
    else:
        editor.setValue(value)


def _changed(editor: Editor) -> Any:
    if isinstance(editor, QComboBox):
        return editor.currentIndexChanged
    return editor.toggled if isinstance(editor, QCheckBox) else editor.valueChanged


def make_rows() -> QFormLayout:
    """Return a compact form layout whose fields fill the width."""
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setVerticalSpacing(4)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return rows


def fold(title: str, content: QWidget) -> QCollapsible:
    """Return a widget that can be unfolded under its title."""
    folded = QCollapsible(title, expandedIcon="▾", collapsedIcon="▸")
    folded.setDuration(0)
    folded.setContent(content)
    folded.collapse(animate=False)
    # it would keep the height that the content had when it was unfolded
    folded.toggled.connect(lambda is_unfolded: content.setMaximumHeight(NO_LIMIT if is_unfolded else 0))
    layout = folded.layout()
    assert layout is not None
    layout.setContentsMargins(0, 0, 0, 0)
    return folded
