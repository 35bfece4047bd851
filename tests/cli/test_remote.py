"""The command line reads OME-Zarr behind an address, and writes here."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import names, save_model, status_of
from fixtures.plates import metadata_of, write_plate
from fixtures.servers import FileServer, serving

import napari_care_losses as ncl
from napari_care_losses.io.remote.address import located
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.record import RestorationRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")

RESTORE = ("restore", "m.safetensors")
OPTIONS = ("--normalization", "stack", "--tile-size", 32)


@pytest.fixture
def server(folder: Path) -> Iterator[FileServer]:
    """Return a server of the folder `served`, which holds the low exposure as `low.zarr`."""
    save_model(folder / "m.safetensors")
    (folder / "served").mkdir()
    ncl.save_stack(folder / "served" / "low.zarr", tifffile.imread("low.tif"), axes="TYX")
    with serving(folder / "served") as running:
        yield running


def test_a_file_is_restored_here_and_resumed(server: FileServer, folder: Path) -> None:
    address = f"{server.url}/low.zarr"
    assert status_of(*RESTORE, "low.tif", "--out", "a.tif", *OPTIONS) == 0
    assert status_of(*RESTORE, address, "--out", "b.tif", *OPTIONS) == 0
    np.testing.assert_array_equal(tifffile.imread("b.tif"), tifffile.imread("a.tif"))
    before = (folder / "b.tif").stat().st_mtime_ns
    server.asked.clear()
    assert status_of(*RESTORE, address, "--out", "b.tif", "--resume", *OPTIONS) == 0
    assert (folder / "b.tif").stat().st_mtime_ns == before
    assert not any("/c/" in name for name in server.asked)
    assert status_of(*RESTORE, address, "low.tif", "--out", "out", *OPTIONS) == 0
    assert names(folder / "out") == ["low_restored-m.ome.zarr", "low_restored-m.tif"]


def test_it_is_trained_on_and_scored(server: FileServer) -> None:
    address = f"{server.url}/low.zarr"
    quick = ("--preset", "lite", "--patch-size", 16, "--batch-size", 2, "--validation-patches", 2)
    steps = ("--steps", 4, "--steps-per-epoch", 2, "--loss", "mae")
    assert status_of("train", "--low", address, "--high", "high.tif", "--out", "new.safetensors", *quick, *steps) == 0
    assert status_of("evaluate", "--restored", address, "--truth", "high.tif") == 0
    assert status_of("compare", address, "--truth", "high.tif", "--methods", "m.safetensors", "--out", "c.html") == 0


@pytest.mark.parametrize("name", ["plate.zarr", "plate.zarr/A/1"])
def test_a_plate_and_a_well(server: FileServer, folder: Path, name: str) -> None:
    write_plate(folder / "served" / "plate.zarr")
    assert status_of(*RESTORE, f"{server.url}/{name}", "--out", "here.ome.zarr", *OPTIONS) == 0
    assert status_of(*RESTORE, f"served/{name}", "--out", "local.ome.zarr", *OPTIONS) == 0
    assert metadata_of(folder / "here.ome.zarr") == metadata_of(folder / "served" / name)
    field = "0" if name.endswith("1") else "A/1/0"
    here, local = (np.stack(list(read_stack(folder / f"{one}.ome.zarr" / field))) for one in ("here", "local"))
    np.testing.assert_array_equal(here, local)


def test_nothing_is_written_to_an_address(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (f"{server.url}/new.zarr", "s3://bucket/new.tif"):
        assert status_of(*RESTORE, "low.tif", "--out", out, *OPTIONS) == 2
        assert "where nothing is written" in capsys.readouterr().err
    assert not server.asked


def test_only_what_lies_here_is_followed(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    command = (*RESTORE, f"{server.url}/low.zarr", "--follow", "--out", "a.ome.zarr", "--idle", 1, *OPTIONS)
    assert status_of(*command) == 2
    assert "the address of another machine" in capsys.readouterr().err


def test_the_python_of_a_result_makes_it_again(server: FileServer, folder: Path) -> None:
    """Though a path of pathlib loses a slash of the address."""
    address = f"{server.url}/low.zarr"
    assert status_of(*RESTORE, address, "--out", "a.tif", *OPTIONS) == 0
    record = RestorationRecord(
        model="m.safetensors",
        source=located(address),
        out=folder / "b.tif",
        parameters=RestorationParameters(normalization="stack", tile_size=32),
    )
    exec(record.python(), {})
    np.testing.assert_array_equal(tifffile.imread("b.tif"), tifffile.imread("a.tif"))


def test_faults_are_one_line(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    for address, said in (
        (f"{server.url}/none.zarr", "There is no OME-Zarr at"),
        ("https://me:secret@host/a.zarr", "a user, a password or a query"),
    ):
        assert status_of(*RESTORE, address, "--out", "a.tif", *OPTIONS) == 2
        found = capsys.readouterr().err
        assert said in found
        assert "secret" not in found
        assert "Traceback" not in found


def test_a_process_ends_without_an_open_connection(server: FileServer) -> None:
    """Nor waits for a thread of the network."""
    code = f"import napari_care_losses as n; print(n.read_stack({server.url + '/low.zarr'!r})[0].shape)"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    assert done.stdout.strip() == "(28, 24)"
    assert "ResourceWarning" not in done.stderr
    assert "Unclosed" not in done.stderr
