"""Full disks, read-only folders and drives that vanish: a clear error at once, and what is done is kept."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from counts import QUICK, say, scaled, size_of_images, write_images
from killing import _model, _pixels

from napari_care_losses.errors import CareError, OutputError, UnreadableError
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.to_file import restore_to_file
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.to_file import train_to_file
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 10
"""Of every fault and kind of work."""

FRAMES = 8
DISK = 24 << 20
"""Bytes of the small disk."""

LONGEST = 10.0
"""Seconds after which work that cannot go on must have said so."""


class Disk:
    """A folder on a small disk of its own where mounting is allowed; elsewhere files are limited in length instead."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
        self.is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        self._filling = folder / "filling"

    def fill(self) -> None:
        """Leave no byte."""
        if not self.is_mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            return
        with self._filling.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC

    def free(self) -> None:
        """Make room again."""
        if self.is_mounted:
            self._filling.unlink(missing_ok=True)
        else:
            most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def set_writable(self, is_writable: bool) -> None:
        """Let nothing be written, or all again."""
        if self.is_mounted:
            subprocess.run(["mount", "-o", f"remount,{'rw' if is_writable else 'ro'}", str(self.folder)], check=True)
        else:
            self.folder.chmod(0o755 if is_writable else 0o555)

    def close(self) -> None:
        """Take it away."""
        self.free()
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


class Work:
    """Work from files to a file, on a disk that fails."""

    def __init__(self, data: Path, out: Path) -> None:
        self.data, self.out = data, out

    def steps(self) -> Iterator[Any]:
        """Do it, or go on with it."""
        low, high = self.data / "low.tif", self.data / "high.tif"
        if self.out.suffix == ".safetensors":
            settings = {**QUICK, "budget": "epochs", "amount": 4, "steps_per_epoch": 4}
            pairs = pairs_from_frames(read_stack(low), read_stack(high), "pair")
            trainer = Trainer(pairs, LOSSES["mae"](), TrainingParameters(**settings), device="cpu")
            return train_to_file(trainer, self.out, resume=True)
        source = self.data / "low.ome.zarr" if self.out.suffix == ".zarr" else low
        model = load_model(self.data / "model.safetensors")
        parameters = RestorationParameters(engine="torch")
        run = RunOptions(device="cpu", resume=True)
        return restore_to_file(read_stack(source), model, self.out, parameters, run, source=source)

    def result(self) -> Any:
        """Return what was made, to be compared."""
        return load_model(self.out).digest() if self.out.suffix == ".safetensors" else _pixels(self.out)

    def remove(self) -> None:
        """Remove what was made."""
        for path in (self.out, self.out.with_suffix(".resume")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def stop_at(self, moment: int, fault, expected: type[CareError] = CareError) -> str:
        """Let a fault occur after so many steps; return what was said, which must come at once."""
        work = self.steps()
        try:
            for _ in range(moment):
                next(work)
            fault()
            begun = time.monotonic()
            for _ in work:
                assert time.monotonic() - begun < LONGEST, "it goes on as if nothing were"
        except expected as error:
            return str(error)
        raise AssertionError(f"{self.out.name}: nothing was said")


def run(scale: float) -> dict[str, float]:
    """Let disks fail at random moments, repair them, and go on."""
    times, moments = scaled(TIMES, scale), random.Random(0)
    counts = dict.fromkeys(("full_disks", "full_disks_gone_on", "read_only_folders", "vanished_drives"), 0)
    with TemporaryDirectory() as name:
        data = Path(name) / "data"
        data.mkdir()
        write_images(data, FRAMES, size_of_images(scale))
        save_stack(data / "low.ome.zarr", read_stack(data / "low.tif"))
        _model(seed=1).save(data / "model.safetensors")
        disk = Disk(Path(name) / "disk")
        try:
            for kind in ("model.safetensors", "out.tif", "out.ome.zarr"):
                work = Work(data, disk.folder / kind)
                steps = sum(1 for _ in work.steps())
                expected = work.result()
                for _ in range(times):
                    work.remove()
                    said = work.stop_at(moments.randrange(1, steps - 2), disk.fill, OutputError)
                    counts["full_disks"] += 1
                    assert "cannot be" in said and ("No space" in said or "too large" in said), said
                    disk.free()
                    assert list(disk.folder.glob(f"{work.out.name}.partial*")) or "model" in kind, "nothing is kept"
                    for _ in work.steps():
                        pass
                    np.testing.assert_array_equal(work.result(), expected)
                    counts["full_disks_gone_on"] += 1
                work.remove()
                if disk.is_mounted or os.geteuid():
                    disk.set_writable(False)
                    said = work.stop_at(0, lambda: None)
                    assert "cannot be written: " in said, said
                    counts["read_only_folders"] += 1
                    disk.set_writable(True)
                for _ in range(times):
                    counts["vanished_drives"] += _vanish(work, moments, steps, expected)
                say(f"disk: {counts}")
        finally:
            disk.close()
    return counts


def _vanish(work: Work, moments: random.Random, steps: int, expected: Any) -> int:
    """Take the output's folder away, then the input's, in the middle of the work; put them back and go on."""
    gone = work.out.parent / "gone"
    work.remove()
    home, work.out = work.out, work.out.parent / "drive" / work.out.name
    work.out.parent.mkdir()
    work.stop_at(moments.randrange(1, steps - 2), lambda: os.replace(work.out.parent, gone), OutputError)
    # what was being written when it went may have come to lie in its place
    shutil.rmtree(work.out.parent, ignore_errors=True)
    os.replace(gone, work.out.parent)
    for _ in work.steps():
        pass
    np.testing.assert_array_equal(work.result(), expected)
    shutil.rmtree(work.out.parent)
    work.out = home
    if work.out.suffix == ".safetensors":
        # the images of a training are in memory
        return 1
    source = work.data / ("low.ome.zarr" if work.out.suffix == ".zarr" else "low.tif")
    saved = source.with_name("saved")
    said = work.stop_at(moments.randrange(2, steps - 3), lambda: _take_away(source, saved), UnreadableError)
    assert f"The finished frames stay beside {work.out}" in said, said
    if source.is_file():
        source.unlink()
    os.replace(saved, source)
    for _ in work.steps():
        pass
    np.testing.assert_array_equal(work.result(), expected)
    return 2


def _take_away(source: Path, saved: Path) -> None:
    if source.is_dir():
        os.replace(source, saved)
        return
    # a file that is open can be read on after it was moved
    shutil.copy2(source, saved)
    os.truncate(source, 0)
