"""What importing the package and opening its widgets costs."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from context import WORKERS
from rows import Row, summary
from workers.wire import WorkerError

if TYPE_CHECKING:
    from pathlib import Path

    from context import Context

TITLE = "Importing and opening"

WIDGETS = ("Restore", "Train")
MOST_SECONDS = 1.5
SCREEN = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]


def measure(context: Context) -> dict[str, Any]:
    """Start Python with and without the package in turns; open every widget in fresh viewers."""
    bare, imported = [], []
    for _ in range(context.settings.opening_rounds):
        bare.append(_seconds("pass"))
        imported.append(_seconds("import napari_care_losses"))
    found = _output([sys.executable, "-c", "import sys, napari_care_losses; print('torch' in sys.modules)"], {})
    results: dict[str, Any] = {
        "bare": summary(bare),
        "imported": summary(imported),
        "above": statistics.median(imported) - statistics.median(bare),
        "imports_torch": found == "True",
        "widgets": {},
    }
    screen = [] if os.environ.get("DISPLAY") or sys.platform != "linux" else SCREEN
    if screen and shutil.which(screen[0]) is None:
        return results
    library = context.folder / "library"
    for name in WIDGETS * context.settings.widget_rounds:
        command = [*screen, sys.executable, str(WORKERS / "widgets.py"), name]
        said = _output(command, {"NAPARI_CARE_LOSSES_LIBRARY": str(library)}, context.folder / "log" / "widgets.txt")
        results["widgets"].setdefault(name, []).append(json.loads(said.splitlines()[-1]))
    return results


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


def _output(command: list[str], environment: dict[str, str], log: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if log is not None:
        log.write_text(done.stderr)
    if done.returncode:
        raise WorkerError(f"{command[-2:]} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip()


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    lines = [
        Row(
            what="`import napari_care_losses`, above Python's own start",
            ours=f"{1e3 * results['above']:.0f} ms",
            peer=f"Python alone {1e3 * results['bare']['median']:.0f} ms",
            target="without torch",
            reached=not results["imports_torch"],
        )
    ]
    for name, openings in results["widgets"].items():
        opened = [opening["opened"] for opening in openings]
        lines.append(
            Row(
                what=f"opening the {name} widget in a running viewer",
                ours=f"{min(opened):.2f} s ({statistics.median(opened):.2f})",
                target=f"under {MOST_SECONDS:g} s",
                reached=min(opened) < MOST_SECONDS,
            )
        )
    return lines


def notes(results: dict[str, Any]) -> str:
    """Return what the table cannot say."""
    if not results["widgets"]:
        return "No screen was found, real or virtual: the widgets were not opened.\n"
    shown = ", ".join(
        f"{name} {statistics.median(opening['shown'] for opening in openings):.2f} s"
        for name, openings in results["widgets"].items()
    )
    torch = [name for name, openings in results["widgets"].items() if openings[0]["torch"]]
    loads = f"Opening loads torch: {', '.join(torch)}." if torch else "Opening loads no torch."
    return f"Each in a fresh process, its first widget. Until it is drawn (median): {shown}. {loads}\n"
