"""magicgui's file edit, with what it does not ask for: tooltip, names for screen readers, a text while it is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.widgets import FileEdit, PushButton

from napari_care_losses.widgets.shared.form import tooltip

FILE, FOLDER, NEW = "r", "d", "w"
"""magicgui's modes: a file there is, a folder there is, a file to be made."""


def file_edit(label: str, help: str, mode: str, *, title: str, filters: str = "", placeholder: str = "") -> FileEdit:
    """Return a line for a path, typed or looked for in a dialog.

    Parameters
    ----------
    label, help, placeholder : str
        Label, tooltip, and what an empty line shows.
    mode : str
        What is looked for: FILE, FOLDER or NEW.
    title, filters : str
        Of the dialog: its title, and which files it shows, as Qt takes them.
    """
    edit = FileEdit(mode=mode, filter=filters or None, nullable=True, label=label, tooltip=tooltip(help))
    ask, options = edit._show_file_dialog, {"caption": title, "parent": edit.native}
    edit._show_file_dialog = lambda mode, **others: ask(mode, **others | options)
    line, button = edit.line_edit.native, edit.choose_btn.native
    line.setToolTip(tooltip(help))
    line.setAccessibleName(label)
    line.setPlaceholderText(placeholder)
    button.setText("…")
    button.setAccessibleName(f"{label}: look for it")
    edit.native.setFocusProxy(line)
    edit.native.layout().setStretch(0, 1)
    return edit


def offer_folders(edit: FileEdit) -> PushButton:
    """Give a file edit a second button, which looks for folders, and return it."""
    edit.choose_btn.text = "File…"
    button = PushButton(text="Folder…", tooltip=tooltip("Look for a folder."))
    button.native.setAccessibleName(f"{edit.label}: look for a folder")

    def look(_: Any) -> None:
        mode, text = edit.mode, edit.choose_btn.text
        # which sets the text of the button too
        edit.mode = FOLDER
        edit.choose_btn.native.click()
        edit.mode, edit.choose_btn.text = mode, text

    button.changed.connect(look)
    edit.native.layout().addWidget(button.native)
    return button


def typed_path(edit: FileEdit) -> Path | None:
    """Return the path in a file edit, None while it is empty; ``~`` is the user's own folder.

    Raises
    ------
    RuntimeError
        If the user's own folder is not known.
    """
    text = edit.line_edit.value.strip()
    return Path(text).expanduser() if text else None
