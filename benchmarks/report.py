"""The page of results, and the same as one JSON object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from page import write_part
from plot import draw_growth
from rows import CAREAMICS, CSBDEEP
from sections import SECTIONS
from sections.profiles import table

if TYPE_CHECKING:
    from pathlib import Path

    from rows import Row

PEERS = {"csbdeep": CSBDEEP, "careamics": CAREAMICS}
PLOT = "benchmark_growth.png"


@dataclass(frozen=True)
class Form:
    """A form of the measurements: its part of the page, its plot, its command, and what stands below its table."""

    part: str
    plot: str
    command: str
    has_notes: bool


WHOLE = Form("bench", PLOT, "make bench", has_notes=True)
SHORT = Form("bench-quick", "benchmark_growth_quick.png", "make bench BENCH_ARGS=--quick", has_notes=False)

Saved = dict[str, dict[str, Any]]
"""By section: its results, when it was measured, how long it took, the matrix-multiply rates beside it."""


def matmul_rate(section: dict[str, Any]) -> float:
    """Return the highest matrix-multiply rate measured beside a section, in GFLOP/s."""
    return max(rate for measured in section["matmul"] for rate in measured.values())


def all_rows(saved: Saved) -> dict[str, list[Row]]:
    """Return the lines of every section that was measured."""
    return {name: SECTIONS[name].rows(saved[name]["results"], matmul_rate(saved[name])) for name in ordered(saved)}


def ordered(saved: Saved) -> list[str]:
    """Return the names of the measured sections in the order of `SECTIONS`."""
    return [name for name in SECTIONS if name in saved]


def to_json(machine: dict[str, Any], saved: Saved, failed: dict[str, str]) -> str:
    """Return everything in one line."""
    lines = all_rows(saved)
    return json.dumps(
        {
            "machine": machine,
            "sections": {
                name: {
                    "measured": saved[name]["measured"],
                    "seconds": saved[name]["seconds"],
                    "matmul_gflops": saved[name]["matmul"],
                    "rows": [row.to_dict() for row in lines[name]],
                    "results": saved[name]["results"],
                }
                for name in ordered(saved)
            },
            "failed": failed,
        }
    )


def write_page(path: Path, form: Form, machine: dict[str, Any], saved: Saved, failed: dict[str, str]) -> None:
    """Write the form's part of the page, and its plot into the folder `images` beside it."""
    if "growth" in saved:
        draw_growth(saved["growth"]["results"], path.parent / "images" / form.plot)
    lines = all_rows(saved)
    every = [row for rows in lines.values() for row in rows if row.reached is not None]
    parts = [
        f"Written by `{form.command}`, which measures this project beside CSBDeep and CAREamics on one machine and "
        f"makes their environments by itself{_without(machine)}. Turns are taken in order (ours, theirs, ours, ...), "
        "so that other load on the machine meets both. Every time is the best of its repeats, the median in brackets; "
        "*ratio* above 1 means that ours is faster, unless its line says what it is a share of. Measuring took "
        f"{sum(section['seconds'] for section in saved.values()) / 60:.0f} minutes.\n",
        f"**{sum(row.reached for row in every)} of {len(every)} targets are reached.**\n",
        _table(lines),
        *(f"\n`{name}` could not be measured: {reason.splitlines()[0]}\n" for name, reason in failed.items()),
    ]
    for name in ordered(saved):
        notes = SECTIONS[name].notes(saved[name]["results"])
        if notes and (form.has_notes or name == "growth"):
            notes = notes.replace(PLOT, form.plot)
            parts.append(f"### {SECTIONS[name].TITLE}\n\n{notes}")
    parts += [_missed(lines, saved), _machine(machine, saved)]
    write_part(form.part, "\n".join(part.rstrip("\n") + "\n" for part in parts if part), path)


def _without(machine: dict[str, Any]) -> str:
    missing = [name for key, name in PEERS.items() if key not in machine["versions"]]
    return f" (measured here without {' and '.join(missing)})" if missing else ""


def _table(lines: dict[str, list[Row]]) -> str:
    text = "| what | ours | peer or base | ratio | target | reached |\n|---|---|---|---|---|---|\n"
    for rows in lines.values():
        for row in rows:
            reached = {None: "", True: "yes", False: "**no**"}[row.reached]
            cells = (row.what, row.ours, row.peer, _ratio(row), row.target, reached)
            text += "| " + " | ".join(cells) + " |\n"
    return text


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    return f"{row.ratio:.2f}" if row.median_ratio is None else f"{row.ratio:.2f} ({row.median_ratio:.2f})"


def _missed(lines: dict[str, list[Row]], saved: Saved) -> str:
    """Return the profiles of what misses its target."""
    if "profiles" not in saved:
        return ""
    missed: dict[str, list[str]] = {}
    for rows in lines.values():
        for row in rows:
            if row.reached is False and row.profile:
                missed.setdefault(row.profile, []).append(row.what)
    if not missed:
        return ""
    results = saved["profiles"]["results"]
    text = (
        "### What holds the targets not reached\n\nThe costliest layers of a restored "
        f"{results['width']} px frame by OpenVINO's own counters, or of two training steps by torch's profiler. The "
        "kernel tells what runs: `brgconv` and `jit` are compiled for this processor, `ref` is a plain loop.\n"
    )
    for name, whats in missed.items():
        if name in results["profiles"]:
            text += f"\n**{name}** ({'; '.join(whats)})\n\n{table(results['profiles'][name])}"
    return text


def _machine(machine: dict[str, Any], saved: Saved) -> str:
    text = (
        f"### Machine and versions\n\n{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB of "
        f"memory, {machine['system']}; no GPU is used.\n\n"
    )
    for name, versions in machine["versions"].items():
        text += f"- {name}: {', '.join(f'{package} {version}' for package, version in versions.items())}\n"
    text += (
        "\nA float32 matrix product before and after each section, the higher of numpy's and torch's, "
        "shows how steady the machine was:\n\n"
        "| section | measured (UTC) | took | GFLOP/s before, after |\n|---|---|---|---|\n"
    )
    for name in ordered(saved):
        section = saved[name]
        rates = ", ".join(f"{max(rates.values()):.0f}" for rates in section["matmul"])
        text += f"| {name} | {section['measured']} | {section['seconds']:.0f} s | {rates} |\n"
    return text
