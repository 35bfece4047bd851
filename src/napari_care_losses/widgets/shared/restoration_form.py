"""The form of how frames are restored; 8 bits are offered only where the processor gains from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QEvent, QObject

from napari_care_losses.restoration.engines import choose
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.widgets.background.worker import Job
from napari_care_losses.widgets.shared.form import ParameterForm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from magicgui.widgets.bases import ValueWidget

EIGHT_BITS = "openvino-int8"

NOT_OFFERED = "8 bits: hardly faster on this processor"


class RestorationForm(ParameterForm[RestorationParameters]):
    """Edits `RestorationParameters`. Engines that this processor gains nothing from are shown and cannot be chosen."""

    def __init__(self) -> None:
        super().__init__(RestorationParameters)
        self._eight_bits = _EightBits(self.editors["engine"])


class _EightBits(QObject):
    """Looks whether this processor gains from 8 bits once the engines are first shown.

    Settings that name them stay valid: they are used, and the result says what they gained.
    """

    def __init__(self, editor: ValueWidget[Any]) -> None:
        super().__init__(editor.native)
        assert isinstance(editor, ComboBox)
        self._editor, self._has_looked = editor, False
        self._job = Job(parent=self)
        self._job.reported.connect(self._offer)
        editor.native.installEventFilter(self)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Show and not self._has_looked:
            self._has_looked = True
            self._job.start(_look)
        return False

    def _offer(self, gains: bool) -> None:
        if gains:
            return
        combo = self._editor.native
        index = self._editor.choices.index(EIGHT_BITS)
        combo.setItemText(index, NOT_OFFERED)
        combo.model().item(index).setEnabled(False)


def _look() -> Iterator[bool]:
    yield choose.gains_from_8_bits()
