"""How the threads that torch computes with wait for each other."""

from __future__ import annotations

import os

WAITING = {"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "1"}
"""How long threads turn in place: turns of GNU's OpenMP (torch on Linux), ms of Intel's and LLVM's (Windows, macOS).

Measured by `benchmarks/beside_other_work.py`.
"""


def wait_asleep() -> None:
    """Let threads of OpenMP that wait sleep early; call it before torch is loaded.

    By default they turn in place for milliseconds, on a core that the thread they wait for may need: beside other work
    a network then takes several times as long as its share of the cores. What the environment says already stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)
