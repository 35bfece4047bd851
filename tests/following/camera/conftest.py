"""The fixtures of a simulated microscope."""

from fixtures.simulated_microscope import *  # noqa: F403
