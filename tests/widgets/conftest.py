"""The fixtures of a viewer."""

from fixtures.viewer import *  # noqa: F403
