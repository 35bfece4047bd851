"""Broken inputs through the command line: every kind has a decided behaviour, which docs/how_to/recover.md lists."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import tifffile
from counts import images, say, size_of_images
from killing import _model

from napari_care_losses.cli.main import main
from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import read_stack

TRAIN = (
    "train --low {} --high {} --loss mae --preset lite --patch-size 16 --batch-size 2 --validation-patches 2 --steps 2"
)

HUGE, LESS_HUGE = 20_000, 1_000
"""Height and width of the largest image, and of the one in its place where there is little time."""


class Fault(NamedTuple):
    """A kind of input, and what is said of it by every command; empty where the work is done."""

    low: np.ndarray
    train: str
    restore: str
    truth: str
    high: np.ndarray


FLAT = "image is constant: there is nothing to learn from it"
TOO_SMALL = r"too small for patches of 16 px"


def _faults(low: np.ndarray, high: np.ndarray) -> dict[str, Fault]:
    """Return every kind of fault of an image and its long exposure, arrays (N, Y, X)."""

    def with_value(place, value, dtype=np.float32):
        stack = low.astype(dtype)
        stack[place] = value
        return stack

    size = low.shape[-1]
    pixels = rf"1 of {size * size} pixels are NaN or infinite: replace them"
    no_image = "float32 cannot hold"
    faults = {
        "NaN": (with_value((0, 5, 5), np.nan), "", "", pixels),
        "NaN in a later frame": (with_value((2, 5, 5), np.nan), "", "", pixels),
        "infinite": (with_value((1, 5, 5), np.inf), "", "", pixels),
        "beyond float32": (low * 1e300, no_image, no_image, no_image),
        "constant": (np.full_like(low, 7), FLAT, "", "must have contrast"),
        "a constant frame": (with_value(1, 7, np.uint16), "", "", "Frame 1: .*must have contrast"),
        "all zero": (np.zeros_like(low), FLAT, "", "must have contrast"),
        "saturated": (np.full_like(low, 65535), FLAT, "", "must have contrast"),
        "one pixel": (low[:, :1, :1], FLAT, "", "at least 11 x 11 px", high[:, :1, :1]),
        "3 x 5 pixels": (low[:, :3, :5], TOO_SMALL, "", "at least 11 x 11 px", high[:, :3, :5]),
        "one row": (low[:, :1], TOO_SMALL, "", "at least 11 x 11 px", high[:, :1]),
        "bool": (low > np.median(low), "", "", ""),
        "complex": (low.astype(np.complex64), "Expected real numbers", "Expected real numbers", "real numbers"),
        "big-endian": (low.astype(">u2"), "", "", ""),
        "negative": (low.astype(np.int16) - 400, "", "", ""),
        "float64": (low.astype(np.float64), "", "", ""),
        "float16": (low.astype(np.float16), "", "", ""),
        "another shape": (low, "must have the same shape", "", "", high[:, : size * 3 // 4]),
        "another number of frames": (low, "must have the same shape", "", "", high[:2]),
        "the same image twice": (high, "hold the same image", "", ""),
    }
    return {kind: Fault(*fault[:4], high=fault[4] if len(fault) > 4 else high) for kind, fault in faults.items()}


def run(scale: float) -> dict[str, float]:
    """Give every kind of broken input to training, restoration, evaluation and comparison."""
    counts = {"broken_inputs": 0, "refused_with_status_2": 0, "done": 0}
    before = Path.cwd()
    low, high = images(3, size_of_images(scale))
    with TemporaryDirectory() as name:
        os.chdir(name)
        try:
            _model(seed=1).save(Path("model.safetensors"))
            for kind, fault in _faults(low, high).items():
                _write("low.tif", fault.low)
                _write("high.tif", fault.high)
                for command, said in _commands(kind, fault, compares=scale >= 1):
                    counts["broken_inputs"] += 1
                    counts["done" if _behaves(kind, command, said) else "refused_with_status_2"] += 1
            for command, said in _files(low, high):
                counts["broken_inputs"] += 1
                assert not _behaves("damaged", command, said)
                counts["refused_with_status_2"] += 1
            counts["doubts_said"] = _doubts(*images(3, max(128, low.shape[-1])))
            _refuses_objects()
            say(f"inputs: {counts}")
            counts |= _huge(HUGE if scale >= 1 else LESS_HUGE, low[0])
        finally:
            os.chdir(before)
    return counts


def _commands(kind: str, fault: Fault, *, compares: bool):
    yield TRAIN.format("low.tif", "high.tif") + " --out new.safetensors", fault.train
    yield "restore model.safetensors low.tif --out out.tif", fault.restore
    differ = {"another shape": "they must be the same", "another number of frames": "they must be the same"}
    same = {"the same image twice": "hold the same images"}
    expected = (differ | same).get(kind, fault.truth)
    yield "evaluate --restored high.tif --truth low.tif", expected
    if compares:
        said = {"another shape": "same", "another number of frames": "same"} | same
        yield "compare high.tif --methods tv --truth low.tif --out page.html", said.get(kind, fault.truth)


def _files(low: np.ndarray, high: np.ndarray):
    """Yield commands on files that are no whole grey-level TIFF."""
    _write("whole.tif", low)
    _write("other.tif", high)
    whole = Path("whole.tif").read_bytes()
    tifffile.imwrite("packed.tif", low, photometric="minisblack", compression="zlib")
    packed = bytearray(Path("packed.tif").read_bytes())
    broken = len(packed) // 16
    packed[len(packed) // 2 : len(packed) // 2 + broken] = bytes(broken)
    tifffile.imwrite("rgb.tif", np.zeros((256, 256, 3), np.uint8), photometric="rgb")
    files = {
        "cut.tif": (whole[: len(whole) // 2], "cut short"),
        "empty.tif": (b"", "cannot be read as TIFF"),
        "text.tif": (b"no image", "cannot be read as TIFF"),
        "header.tif": (whole[:8] + bytes(200) + whole[208:], "cannot be read|holds no image|Expected"),
        "corrupt.tif": (bytes(packed), "Frame 1 cannot be read"),
        "rgb.tif": (Path("rgb.tif").read_bytes(), "RGB"),
        "none.tif": (None, "There is no file"),
    }
    for name, (content, said) in files.items():
        if content is not None:
            Path(name).write_bytes(content)
        yield TRAIN.format(name, "other.tif") + " --out new.safetensors", said
        yield f"restore model.safetensors {name} --out out.tif", said
        yield f"evaluate --restored other.tif --truth {name}", said


def _behaves(kind: str, command: str, said: str) -> bool:
    """Run a command; return whether it was done, which must be as expected; bad input is one line and status 2."""
    out, err = io.StringIO(), io.StringIO()
    begun = time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(command.split())
        except SystemExit as ended:
            status = ended.code
    lines = [line for line in err.getvalue().splitlines() if "warning: " not in line]
    where = f"{kind}: {command}: status {status}, {lines}"
    if not said:
        assert status == 0, where
        if command.startswith("restore"):
            # pixels without a value come back as they were, and no others
            there = [np.isfinite(np.asarray(frame)) for frame in read_stack(Path("low.tif"))]
            made = [np.isfinite(frame) for frame in read_stack(Path("out.tif"))]
            assert np.array_equal(there, made), where
        return True
    assert status == 2, where
    assert len(lines) == 1 and re.search(said, lines[0]), where
    assert time.monotonic() - begun < 60
    return False


def _doubts(low: np.ndarray, high: np.ndarray) -> int:
    """Count the doubts that a training says of pairs it can still use."""
    inner = (slice(None), slice(16, -16), slice(16, -16))
    bright = np.minimum(high / np.percentile(high, 90), 1)
    pairs = {
        "moved": (np.roll(low, (3, -5), (1, 2))[inner], high[inner], "px left of the high one"),
        "swapped": (high, low, "have the two been swapped"),
        "overexposed": (low, (bright * 4095).astype(np.uint16), "are saturated, at 4095"),
    }
    for dark, light, said in pairs.values():
        _write("low.tif", dark)
        _write("high.tif", light)
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            assert main([*TRAIN.format("low.tif", "high.tif").split(), "--out", "doubted.safetensors"]) == 0
        assert said in err.getvalue(), err.getvalue()
        Path("doubted.safetensors").unlink()
    return len(pairs)


def _refuses_objects() -> None:
    try:
        Frames(np.array([[1, None], [2, 3]], object))
    except InputError:
        return
    raise AssertionError("an array of objects was taken for an image")


def _huge(size: int, tile: np.ndarray) -> dict[str, float]:
    """Restore one frame of so many pixels a side, made of tiles, from and to files."""
    array = tifffile.memmap("huge.tif", shape=(size, size), dtype=np.uint16, photometric="minisblack")
    side = len(tile)
    for top in range(0, size, side):
        rows = array[top : top + side]
        rows[:] = np.tile(tile, (1, -(-size // side)))[: len(rows), :size]
    array.flush()
    del array
    begun = time.monotonic()
    assert main("restore model.safetensors huge.tif --out out.tif".split()) == 0
    frame = read_stack(Path("out.tif"))[0]
    assert frame.shape == (size, size)
    assert np.isfinite(frame).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "pixels_a_side": size,
        "seconds_for_them": round(time.monotonic() - begun, 1),
        "peak_gib": round(peak, 1),
    }


def _write(name: str, stack: np.ndarray) -> None:
    order = ">" if stack.dtype.byteorder == ">" or (stack.dtype.byteorder == "=" and sys.byteorder == "big") else "<"
    tifffile.imwrite(name, stack, photometric="minisblack", byteorder=order)
