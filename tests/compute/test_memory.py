"""What may still be taken: of the machine, of the container, of the process."""

import subprocess
import sys

import psutil
import pytest

from napari_care_losses.compute import memory as module
from napari_care_losses.compute.memory import free_memory

CONFINED = """
import psutil, resource
from napari_care_losses.compute.memory import free_memory
limit = psutil.Process().memory_info().vms + (50 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(free_memory())
"""


def test_the_available_memory_of_the_machine_counts():
    assert 0 < free_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("limit", "cached", "expected"), [("1000", 50, 750), ("max", 50, None), ("200", 50, 0), ("300", 250, 250)]
)
def test_the_limit_of_a_container_counts(tmp_path, monkeypatch, limit, cached, expected):
    (tmp_path / "max").write_text(limit)
    (tmp_path / "current").write_text("300")
    (tmp_path / "memory.stat").write_text(f"anon 50\nfile 999\ninactive_file {cached - 50}\nactive_file 50\n")
    monkeypatch.setattr(module, "_GROUPS", ((tmp_path, "max", "current"),))
    found = free_memory()
    assert found == expected if expected is not None else found > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_limit_of_the_process_counts():
    done = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True)
    assert 0 <= int(done.stdout) <= 50 << 20
