"""The command line in processes of its own, run to the end, killed, or confined."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def command(*arguments: object) -> list[str]:
    """Return the command line of this package."""
    return [sys.executable, "-m", "napari_care_losses.cli.main", *map(str, arguments)]


def environment(threads: int = 1, **more: str) -> dict[str, str]:
    """Return the environment of a child that computes in so many threads, and finds the fixtures."""
    paths = filter(None, [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")])
    counts = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {**os.environ, **counts, "PYTHONPATH": os.pathsep.join(paths), **more}


def finished(
    *arguments: object, threads: int = 1, folder: Path | None = None, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        command(*arguments),
        env=environment(threads),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
        timeout=3600,
    )


def succeeded(*arguments: object, threads: int = 1, folder: Path | None = None) -> str:
    """Run the command line to its end, which must be a good one; return what it printed."""
    done = finished(*arguments, threads=threads, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout
