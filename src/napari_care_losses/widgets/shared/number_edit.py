"""magicgui's number field with what its own lacks: short numbers, a unit, words in place of None."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from magicgui.backends._qtpy.widgets import QBaseRangedWidget
from magicgui.widgets.bases import RangedWidget
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


class NumberBox(QDoubleSpinBox):
    """Edits a number of any size, written as short as possible: 0.5, 100, 0.0004 or 1e-07.

    With ``decimals() == 0`` it takes whole numbers only.
    """

    _PARTIAL = re.compile(r"[-+]?\d*[.,]?\d*(e[-+]?\d*)?", re.IGNORECASE)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDecimals(12)
        self.setKeyboardTracking(False)

    def textFromValue(self, value: float) -> str:
        """Return the text shown for a value."""
        return f"{value:.12g}"

    def valueFromText(self, text: str | None) -> float:
        """Return the value of a text."""
        return float(self._number(text))

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Tell whether a text is a number, or may become one."""
        number, shown = self._number(text), text or ""
        is_whole = number.lstrip("+-").isdecimal() or self.decimals() or not number.lstrip("+-")
        if not self._PARTIAL.fullmatch(number) or not is_whole:
            return QValidator.State.Invalid, shown, position
        try:
            is_allowed = self.minimum() <= float(number) <= self.maximum()
        except ValueError:
            is_allowed = False
        return QValidator.State.Acceptable if is_allowed else QValidator.State.Intermediate, shown, position

    def _number(self, text: str | None) -> str:
        return (text or "").removesuffix(self.suffix()).strip().replace(",", ".")


class _NumberBackend(QBaseRangedWidget):
    """A `NumberBox` as magicgui sees it; None is shown as words, one below the smallest number."""

    _qwidget: NumberBox

    def __init__(self, none_means: str = "", is_whole: bool = False, **kwargs: Any) -> None:
        super().__init__(NumberBox, **kwargs)
        self._below = 1 if none_means else 0
        self._qwidget.setSpecialValueText(none_means)
        if is_whole:
            self._qwidget.setDecimals(0)

    def _mgui_get_min(self) -> float:
        return self._qwidget.minimum() + self._below

    def _mgui_set_min(self, value: float) -> None:
        self._qwidget.setMinimum(value - self._below)

    def _mgui_get_value(self) -> float | None:
        value = self._qwidget.value()
        if self._below and value == self._qwidget.minimum():
            return None
        return value if self._qwidget.decimals() else int(value)

    def _mgui_set_value(self, value: float | None) -> None:
        self._qwidget.setValue(self._qwidget.minimum() if value is None else value)

    def _mgui_bind_change_callback(self, callback: Callable[[float | None], object]) -> None:
        self._qwidget.valueChanged.connect(lambda _: callback(self._mgui_get_value()))


class NumberEdit(RangedWidget):
    """Edits a number, or None.

    Parameters
    ----------
    is_whole : bool
        Whether it must be a whole number.
    unit : str
        Shown behind the number.
    none_means : str
        Shown in place of None; empty where None is not allowed.
    **options : Any
        Those of every widget of magicgui; of them `min` and `max`, both included, are needed.
    """

    def __init__(self, *, is_whole: bool = False, unit: str = "", none_means: str = "", **options: Any) -> None:
        super().__init__(
            # from the words, an adaptive step would lead to fractions
            step=1 if none_means else None,
            nullable=bool(none_means),
            widget_type=_NumberBackend,
            backend_kwargs={"none_means": none_means, "is_whole": is_whole},
            **options,
        )
        self.unit = unit

    @property
    def unit(self) -> str:
        """The unit behind the number."""
        return str(self.native.suffix()).strip()

    @unit.setter
    def unit(self, unit: str) -> None:
        self.native.setSuffix(f" {unit}" if unit else "")

    def set_value(self, value: Any) -> None:
        """Show a number, or None."""
        if value is None:
            self._widget._mgui_set_value(None)
        else:
            super().set_value(value)
