"""What is known of graphics cards and threads without loading torch."""

import sys
from types import SimpleNamespace

import pytest
import torch

from napari_care_losses.compute import devices
from napari_care_losses.compute.devices import built_for, choose_device, compute_threads, leave_a_core

CPU_BUILD = "cuda: Optional[str] = None\nhip: Optional[str] = None\n"
CUDA_BUILD = "cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
ROCM_BUILD = "cuda: Optional[str] = None\nhip: Optional[str] = '6.3'\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that lets a torch of this text of ``version.py`` be installed beside these drivers."""

    def install(version, drivers=(), system="linux"):
        devices.may_have_graphics.cache_clear()
        (tmp_path / "version.py").write_text(version, encoding="utf-8")
        spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(devices, "find_spec", lambda name: spec)
        monkeypatch.setattr(devices, "_can_load", lambda library: library in drivers)
        monkeypatch.setattr(sys, "platform", system)

    yield install
    devices.may_have_graphics.cache_clear()


@pytest.mark.parametrize(
    ("version", "drivers", "system", "expected"),
    [
        (CPU_BUILD, ["libcuda.so.1"], "linux", False),
        (CUDA_BUILD, [], "linux", False),
        (CUDA_BUILD, ["libcuda.so.1"], "linux", True),
        (CUDA_BUILD, ["nvcuda.dll"], "win32", True),
        (CUDA_BUILD, [], "win32", False),
        (ROCM_BUILD, [], "linux", True),
        ("__version__ = '9.0'", ["libcuda.so.1"], "linux", True),
        (CPU_BUILD, [], "darwin", True),
    ],
)
def test_torch_is_asked_only_where_it_may_find_a_card(installed, version, drivers, system, expected):
    installed(version, drivers, system)
    assert devices.may_have_graphics() is expected


def test_the_installed_torch_says_for_what_it_was_built():
    expected = {name for name in ("cuda", "hip") if getattr(torch.version, name) is not None}
    with open(torch.version.__file__, encoding="utf-8") as file:
        assert built_for(file.read()) == expected


def test_without_a_card_torch_is_not_asked(installed, monkeypatch):
    installed(CPU_BUILD)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    assert choose_device() == "cpu"


class TestThreads:
    @pytest.fixture(autouse=True)
    def untouched(self, monkeypatch):
        monkeypatch.setattr(devices, "_spares_a_core", False)
        monkeypatch.setattr(devices, "cpu_cores", lambda: 8)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        devices._threads_of_torch.cache_clear()
        yield
        devices._threads_of_torch.cache_clear()

    def test_with_torch_they_are_its_own(self):
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            assert compute_threads() == 3
        finally:
            torch.set_num_threads(before)

    @pytest.mark.parametrize(
        ("told", "expected"), [({}, 4), ({"OMP_NUM_THREADS": "2,1"}, 2), ({"MKL_NUM_THREADS": "x"}, 4)]
    )
    def test_without_torch_they_are_as_many_as_it_would_take(self, monkeypatch, told, expected):
        monkeypatch.delitem(sys.modules, "torch")
        monkeypatch.setattr("psutil.cpu_count", lambda logical: 4)
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        assert compute_threads() == expected

    def test_a_core_stays_free_though_torch_is_loaded_later(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        with monkeypatch.context() as without:
            without.delitem(sys.modules, "torch")
            leave_a_core()
            assert compute_threads() == 7
        monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
        assert compute_threads() == 7
