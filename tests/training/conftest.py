"""The toy network of the tests of training."""

import pytest
from fixtures.toy_trainings import ARCHITECTURE

from napari_care_losses.models.architecture import PRESETS


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    """Let `lite` be a network of a few filters."""
    monkeypatch.setitem(PRESETS, "lite", ARCHITECTURE)
