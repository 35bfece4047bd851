"""What the tests of the Restore widget share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.core.library import list_models

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_care_losses.widgets.restore import RestoreWidget


def entry(name: str = "untrained"):
    return next(entry for entry in list_models() if entry.name == name)


def press_restore(widget: RestoreWidget, qtbot: QtBot) -> None:
    widget.run_bar.start_button.click()
    assert widget.is_running
    qtbot.waitUntil(lambda: not widget.is_running, timeout=20_000)
