"""Reading untrusted files in a process of its own, with limited rights, time, memory and output.

The libraries that read them are written in C: a damaged file can crash or hang them, or make them take all memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from safetensors import SafetensorError

from napari_care_losses.errors import ModelFileError
from napari_care_losses.io.untrusted_files import open_tensors

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from numpy.typing import NDArray

_RESTRICTED = Path(__file__).with_name("sandbox_child.py")
"""The script that gives up rights and then runs a reader."""

_HAS_LAUNCHER = sys.platform == "win32"
"""Whether the Python of a virtual environment starts another, which does the work."""

_POLL = 0.02
_LONGEST_END = 10.0
"""Seconds in which a killed process closes its files."""
_LONGEST_MESSAGE = 600
"""Characters of the process's messages that are passed on, at most."""


@dataclass(frozen=True)
class Limits:
    """Limits of a process: seconds since its start, bytes of memory and of output, and seconds of CPU time."""

    seconds: float = 120.0
    memory: int = 2 << 30
    output: int = 1 << 30
    work: float = 120.0


@dataclass(frozen=True)
class Tensors:
    """The result of a process: arrays by name, and notes about the file."""

    tensors: Mapping[str, NDArray[np.float32]]
    notes: Mapping[str, str]


def read_confined(
    reader: Path, source: Path, limits: Limits | None = None, *, use: str = "read"
) -> Generator[None, None, Tensors]:
    """Run a reader on a file, step by step; closing the generator ends the process.

    Parameters
    ----------
    reader : Path
        A script that is called with the file and a ``.safetensors`` file to write. If it refuses the file, it ends with
        status 2 and writes the reason to its standard error.
    source : Path
        The untrusted file.
    limits : Limits, optional
        Limits of the process.
    use : str
        Verb for messages: what is done with the file.

    Raises
    ------
    ModelFileError
        If the file is refused, or reading it crashed, took too long, or wanted more memory or output than allowed.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="napari-care-losses-") as folder:
        output, log = Path(folder) / "tensors.safetensors", Path(folder) / "messages.txt"
        with log.open("wb") as messages:
            # -P: no module is imported from the folder the user happens to be in
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", str(_RESTRICTED), str(reader), str(source), str(output)),
                    *map(str, (limits.seconds, limits.memory, limits.output)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                cwd=folder,
                # one thread, and no plug-ins, which HDF5 loads for unknown filters
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"},
                # on Windows a viewer without a console would open one
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            try:
                excess = yield from _watch(process, output, log, limits)
            finally:
                _end(process)
        if excess:
            raise ModelFileError(f"{source.name} took more than {excess} to be {use}: stopped.")
        with log.open("rb") as messages:
            text = " ".join(messages.read()[-_LONGEST_MESSAGE:].decode("utf-8", "replace").split())
        if process.returncode == 2:
            raise ModelFileError(f"{source.name} cannot be {use}: {text}")
        if process.returncode != 0:
            how = f"ended with {process.returncode}{f' ({text})' if text else ''}"
            raise ModelFileError(f"{source.name} is damaged: the process that read it {how}.")
        try:
            with open_tensors(output, "numpy") as file:
                tensors = {name: np.asarray(file.get_tensor(name), np.float32) for name in file.keys()}
                return Tensors(tensors, file.metadata() or {})
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            raise ModelFileError(f"{source.name} is damaged: reading it gave no tensors ({error}).") from error


def _watch(process: subprocess.Popen[bytes], output: Path, log: Path, limits: Limits) -> Generator[None, None, str]:
    """Wait for a process; return the limit it has exceeded, in words, or nothing."""
    end = time.monotonic() + limits.seconds
    while True:
        yield
        try:
            process.wait(_POLL)
        except subprocess.TimeoutExpired:
            pass
        written = sum(file.stat().st_size for file in (output, log) if file.exists())
        if written > limits.output:
            return f"{limits.output:,} bytes of output"
        if process.returncode is not None:
            return ""
        if time.monotonic() > end:
            return f"{limits.seconds:g} seconds"
        used, worked = 0, 0.0
        with suppress(psutil.Error):
            for one in _processes(process):
                times = one.cpu_times()
                used, worked = used + one.memory_info().rss, worked + times.user + times.system
        if worked > limits.work:
            return f"{limits.work:.0f} seconds of work"
        if used > limits.memory:
            return f"{limits.memory:,} bytes of memory"


def _processes(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a process and those that it started; raise `psutil.Error` where it has ended."""
    first = psutil.Process(process.pid)
    return [first, *(first.children(recursive=True) if _HAS_LAUNCHER else ())]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started, and wait until their files are closed."""
    ending: list[psutil.Process] = []
    with suppress(psutil.Error):
        ending = _processes(process)[1:]
    process.kill()
    process.wait()
    for one in ending:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(ending, timeout=_LONGEST_END)
