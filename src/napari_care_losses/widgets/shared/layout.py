"""Buttons, and widgets laid out one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QBoxLayout, QLayout, QPushButton, QWidget

from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from collections.abc import Callable, Container


def arrange(
    layout: QBoxLayout,
    *parts: QWidget | QLayout,
    growing: Container[QWidget | QLayout] = (),
    spacing: int = 4,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> QBoxLayout:
    """Put widgets and layouts into a layout, one after the other; `growing` ones share the room left."""
    layout.setSpacing(spacing)
    layout.setContentsMargins(*margins)
    for part in parts:
        add = layout.addLayout if isinstance(part, QLayout) else layout.addWidget
        add(part, int(part in growing))
    return layout


def push_button(text: str, help: str, press: Callable[[], object]) -> QPushButton:
    """Return a button with a tooltip, which calls `press`."""
    button = QPushButton(text, toolTip=tooltip(help))
    button.clicked.connect(lambda _=False: press())
    return button
