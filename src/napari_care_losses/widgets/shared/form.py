"""Forms of magicgui's widgets, made from parameter classes, and what all rows of the plugin share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_type_hints

from magicgui.widgets import CheckBox, ComboBox, Container
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QWidget
from superqt import QCollapsible

from napari_care_losses.parameters import Parameters
from napari_care_losses.widgets.shared.number_edit import NumberEdit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from magicgui.widgets.bases import ValueWidget, Widget

    from napari_care_losses.parameters import ParameterInfo

Kind = TypeVar("Kind", bound=Parameters)

NO_LIMIT = 2**24 - 1
"""Qt's height of a widget that may be as high as it wants."""

NARROW = 110
"""Smallest width of an editor, in pixels: docks are narrow."""


class Rows(Container):
    """A container of magicgui, as compact as docks need it: a widget a row, its `label` before it."""

    def __init__(self, *widgets: Widget, **options: Any) -> None:
        super().__init__(widgets=widgets, **options)
        # no choice depends on where the form lies
        self.native_parent_changed.disconnect(self.reset_choices)
        self.margins = (0, 0, 0, 0)
        self.native.layout().setSpacing(4)
        line_up(self)


class ParameterForm(Rows, Generic[Kind]):
    """Edits an instance of a parameter class, with its titles, units, bounds, choices and help.

    `changed` is emitted when the user, or code that sets the value of an editor, changes a parameter.

    Parameters
    ----------
    kind : type
        The parameter class.
    apart : collection of str
        Parameters whose editors are laid out elsewhere; they belong to the value all the same.
    """

    def __init__(self, kind: type[Kind], *, apart: Collection[str] = ()) -> None:
        described, types = kind.described(), get_type_hints(kind)
        editors = {name: _editor(name, types[name], info) for name, info in described.items()}
        super().__init__(
            *(editors[name] for name, info in described.items() if not info.advanced and name not in apart)
        )
        for name in apart:
            editors[name].changed.connect(lambda: self.changed.emit(self))
        self._kind = kind
        self.editors: dict[str, ValueWidget[Any]] = editors
        advanced = Rows(*(editors[name] for name, info in described.items() if info.advanced))
        if len(advanced):
            advanced.changed.connect(lambda: self.changed.emit(self))
            self.native.layout().addWidget(fold("More settings", advanced.native))
        self.set_value(kind())

    def value(self) -> Kind:
        """Return what the form shows.

        Raises
        ------
        InputError
            If the values do not go together.
        """
        return self._kind(**{name: editor.value for name, editor in self.editors.items()})

    def set_value(self, value: Kind) -> None:
        """Show an instance, without `changed` being emitted."""
        self.set_values({name: getattr(value, name) for name in self.editors})

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show some values by name, without `changed` being emitted."""
        for name, value in values.items():
            editor = self.editors[name]
            with editor.changed.blocked():
                editor.value = value


def _editor(name: str, kind: Any, info: ParameterInfo) -> ValueWidget[Any]:
    common = {"name": name, "label": info.title, "tooltip": tooltip(info.help)}
    editor: ValueWidget[Any]
    if kind is bool:
        editor = CheckBox(**common | {"text": info.title, "label": None})
    elif info.choices:
        editor = ComboBox(choices=[(info.words.get(choice, choice), choice) for choice in info.choices], **common)
    else:
        is_whole, bounds = int in (kind, *get_args(kind)), {"min": info.low, "max": info.high}
        editor = NumberEdit(is_whole=is_whole, unit=info.unit, none_means=info.none_means, **bounds, **common)
    return narrow(editor, info.title)


class Choice(ComboBox):
    """Chooses one of what is there now; `value` is None where there is nothing.

    magicgui's own combo box appends new choices at the end, keeps separators of old ones, and loses the choice of what
    is renamed.

    Parameters
    ----------
    label, help : str
        Label and tooltip.
    none : str, optional
        Text of a first entry that stands for None.
    **options : Any
        Those of a combo box, `choices` first of all.
    """

    def __init__(self, label: str, help: str, *, none: str | None = None, **options: Any) -> None:
        self.was_chosen = self._is_resetting = False
        """Whether the user, or code that set `value`, has chosen."""
        self.null_string = none or ""
        super().__init__(label=label, tooltip=tooltip(help), nullable=none is not None, **options)
        # the choices do not depend on where the widget lies
        self.native_parent_changed.disconnect(self.reset_choices)
        narrow(self, label)
        self.native.activated.connect(self._on_activated)

    def set_value(self, value: Any) -> None:
        """Choose, as by hand."""
        self.was_chosen |= not self._is_resetting
        super().set_value(value)

    def reset_choices(self, *_: Any) -> None:
        """Offer what is there now; `changed` is emitted if another one is chosen then."""
        before = self.value
        self._is_resetting = True
        with self.changed.blocked():
            self.native.clear()
            super().reset_choices()
            if self.choices:
                self.value = self._chosen_after(before)
        self._is_resetting = False
        if self.value is not before:
            self.changed.emit(self.value)

    def _chosen_after(self, before: Any) -> Any:
        """Return what is chosen of the new choices."""
        return before if before in self.choices else self.choices[0]

    def _on_activated(self, _index: int) -> None:
        self.was_chosen = True


def narrow(editor: Any, title: str = "") -> Any:
    """Fit an editor of magicgui for docks that are narrow and scroll, name it for screen readers, and return it."""
    editor.native.setAccessibleName(title or editor.label)
    if not isinstance(editor, CheckBox):
        if isinstance(editor.native, QComboBox):
            editor.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        editor.native.setMinimumWidth(NARROW)
        scroll_past(editor.native)
    return editor


def tooltip(text: str) -> str:
    """Return a text as rich text, which Qt breaks into lines."""
    return f"<qt>{text}</qt>" if text else ""


def line_up(*forms: Container) -> None:
    """Give the labels of forms one width, so that their fields line up.

    That is done whenever one is shown: only then do labels have the viewer's style.
    """
    aligner = _Aligner(forms)
    for form in forms:
        form.native.installEventFilter(aligner)


class _Aligner(QObject):
    def __init__(self, forms: tuple[Container, ...]) -> None:
        super().__init__(forms[0].native)
        self._forms = forms

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Show:
            rows = [(widget.native.parentWidget(), form) for form in self._forms for widget in form]
            labels = [row.layout().itemAt(0).widget() for row, form in rows if row is not form.native]
            for label in labels:
                label.ensurePolished()
            width = max((max(label.sizeHint().width(), label.minimumWidth()) for label in labels), default=0)
            for label in labels:
                label.setMinimumWidth(width)
        return False


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


def fold(title: str, content: QWidget) -> QCollapsible:
    """Return a widget that can be unfolded under its title."""
    folded = QCollapsible(title, expandedIcon="▾", collapsedIcon="▸")
    folded.setDuration(0)
    folded.setContent(content)
    # it would keep the height that the content had when it was unfolded
    folded.toggled.connect(lambda is_unfolded: content.setMaximumHeight(NO_LIMIT if is_unfolded else 0))
    # the Tab key reaches what is only of no height
    folded.toggled.connect(content.setVisible)
    folded.collapse(animate=False)
    folded.layout().setContentsMargins(0, 0, 0, 0)
    return folded
