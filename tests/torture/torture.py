"""Runs the sections of `make torture`: each breaks something again and again, and counts what came out whole.

    python tests/torture/torture.py [SECTION ...] [--scale S]

The last line is one JSON object of all counts. A section is a module with a function ``run(scale)`` that returns its
counts and raises where the product falls short. Several sections run each in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

# the fixtures that sections share with the tests
sys.path.append(str(Path(__file__).resolve().parents[1]))

SECTIONS = {
    "kill": "killing",
    "disk": "filling",
    "memory": "starving",
    "explode": "exploding",
    "inputs": "breaking",
    "share": "sharing",
    "cancel": "cancelling",
    "soak": "soaking",
    "repeat": "repeating",
    "fuzz-models": "fuzz_models",
    "fuzz-packages": "fuzz_packages",
    "fuzz-parameters": "fuzz_parameters",
    "fuzz-images": "fuzz_images",
    "fuzz-notes": "fuzz_notes",
}
"""The sections and their modules, in the order in which they run."""


def run_section(name: str, scale: float) -> dict[str, float]:
    """Run one section in this process; at scale 1 it does all that it is made for."""
    counts: dict[str, float] = importlib.import_module(SECTIONS[name]).run(scale)
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run sections; return 0 where all held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"Of {', '.join(SECTIONS)}; all by default.")
    parser.add_argument("--scale", type=float, default=1.0, help="Part of the full counts (1).")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
    names = options.sections or list(SECTIONS)
    counts: dict[str, object] = {}
    failed = []
    for name in names:
        begun = time.monotonic()
        found = _here(name, options.scale) if len(names) == 1 else _in_a_process(name, options.scale)
        if found is None:
            failed.append(name)
        counts |= found or {}
        print(f"{name}: {'FAILED' if found is None else 'held'} after {time.monotonic() - begun:.0f} s", flush=True)
    if failed:
        counts["failed"] = failed
    print(json.dumps(counts))
    return 1 if failed else 0


def _here(name: str, scale: float) -> dict[str, float] | None:
    try:
        return run_section(name, scale)
    except Exception:  # noqa: BLE001 - whatever went wrong is shown, and the other sections go on
        traceback.print_exc()
        return None


def _in_a_process(name: str, scale: float) -> dict[str, float] | None:
    command = [sys.executable, str(Path(__file__)), name, "--scale", str(scale)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            if last and not last.startswith(f"{name}: "):
                print(last, end="", flush=True)
            last = line
    return json.loads(last) if process.returncode == 0 else None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
