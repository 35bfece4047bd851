from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from napari_care_losses.compute.openmp import WAITING, wait_asleep

CODE = """
import json, os, sys, napari_care_losses
print(json.dumps([dict(os.environ), "torch" in sys.modules]))
import torch
"""


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WAITING, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def test_openmp_is_told_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_DISPLAY_ENV", "verbose")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    environment, has_torch = json.loads(done.stdout)
    assert not has_torch
    assert {name: environment.get(name) for name in WAITING} == WAITING
    if "GOMP_SPINCOUNT" in done.stderr:
        # what it understood
        assert f"GOMP_SPINCOUNT = '{WAITING['GOMP_SPINCOUNT']}'" in done.stderr


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_says_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    wait_asleep()
    assert os.environ[name] == "7"
    assert os.environ.get("GOMP_SPINCOUNT") == ("7" if name == "GOMP_SPINCOUNT" else None)
