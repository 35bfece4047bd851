"""Importing torch beside a viewer: no garbage collection runs meanwhile."""

import gc
import sys

import pytest

from napari_care_losses.widgets.background import imports as loading


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return a function that makes a package which stands in for torch; it notes how it is imported."""
    monkeypatch.syspath_prepend(tmp_path)
    # a test before this one may have loaded torch in this way
    gc.unfreeze()

    def make(name, code=""):
        (tmp_path / f"{name}.py").write_text(f"import gc\nis_collected = gc.isenabled()\n{code}", encoding="utf-8")
        monkeypatch.setattr(loading, "LIBRARIES", {name: ()})
        return name

    yield make
    gc.unfreeze()
    for name in [name for name in sys.modules if name.startswith("stand_in")]:
        del sys.modules[name]


def test_no_collection_runs_during_the_import_nor_among_its_objects(library):
    name = library("stand_in_torch")
    gc.collect()
    assert gc.get_freeze_count() == 0
    loading.load(loading.all_libraries())
    assert sys.modules[name].is_collected is False
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
    assert not any(each is sys.modules[name].__dict__ for each in gc.get_objects())


def test_a_loaded_library_changes_nothing(library):
    library("stand_in_torch_again")
    loading.load(loading.all_libraries())
    gc.unfreeze()
    loading.load(loading.all_libraries())
    assert gc.get_freeze_count() == 0


def test_collection_is_on_again_after_a_broken_library(library):
    name = library("stand_in_broken", "raise ImportError('a library is missing')")
    loading.load(loading.all_libraries())
    assert name not in sys.modules
    assert gc.isenabled()


def test_a_collection_that_is_switched_off_stays_off(library):
    library("stand_in_quiet")
    gc.disable()
    try:
        loading.load(loading.all_libraries())
        assert not gc.isenabled()
    finally:
        gc.enable()
