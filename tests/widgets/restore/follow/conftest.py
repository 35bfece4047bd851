"""The fixtures of a simulated microscope, and a panel that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fixtures.simulated_microscope import *  # noqa: F403
from fixtures.simulated_microscope import Following

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def follow(viewer, open_widget, add_model, qtbot) -> Callable[..., Following]:
    """Return a function that opens the widget, and what drives its panel; what it follows is stopped after the test."""
    opened = []

    def open_(kind: str = "layer") -> Following:
        add_model()
        opened.append(Following(open_widget(), qtbot))
        opened[-1].panel.kind.value = kind
        return opened[-1]

    yield open_
    for following in opened:
        following.panel.close_for_good()
