"""A combo box of magicgui for choices that come and go."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox

from napari_care_losses.widgets.shared.form import narrow, tooltip


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

    Attributes
    ----------
    was_chosen : bool
        Whether the user, or code that set `value`, has chosen.
    """

    def __init__(self, label: str, help: str, *, none: str | None = None, **options: Any) -> None:
        self.was_chosen = self._is_resetting = False
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
