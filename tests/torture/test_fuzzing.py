"""Every section of spoilt inputs of `make torture` holds, at a scale of seconds."""

import sys

import pytest
from torture import SECTIONS, run_section

SCALE = 0.005

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched as on Linux")


@pytest.mark.parametrize("name", [name for name in SECTIONS if name.startswith("fuzz-")])
def test_the_section_holds(name):
    counts = run_section(name, SCALE)
    assert counts
    assert all(isinstance(value, int | float) for value in counts.values())
