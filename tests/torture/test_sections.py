"""Every section of `make torture` holds, at a scale of seconds; those of spoilt inputs: `test_fuzzing.py`."""

import sys

import pytest
from torture import SECTIONS, main, run_section

SCALE = 0.01

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and disk are set as Linux sets them")


@pytest.mark.parametrize("name", [name for name in SECTIONS if not name.startswith("fuzz-")])
def test_the_section_holds(name):
    counts = run_section(name, SCALE)
    assert counts
    assert all(isinstance(value, int | float) for value in counts.values())


def test_an_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "no section 'nothing'" in capsys.readouterr().err
