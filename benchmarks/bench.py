"""Measure speed, memory and quality beside CSBDeep and CAREamics; `make bench` runs it.

    python benchmarks/bench.py --environments build/bench/env --pairs FOLDER
    python benchmarks/bench.py --environments build/bench/env --only memory,opening
    python benchmarks/bench.py --quick

Writes its part of docs/benchmarks.md with the plot, keeps the results of every section under build/bench, and prints
one JSON object as its last line. The whole takes some 20 minutes on two cores, --quick 5: it has a part of its own in
the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from context import SCRIPTS, Context
from page import PAGE
from report import SHORT, WHOLE, all_rows, to_json, write_page
from sections import SECTIONS
from settings import QUICK, TINY, Settings
from workers.wire import WorkerError

if TYPE_CHECKING:
    from report import Saved

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Measure what is asked for and report it; return 1 if a section failed."""
    options = _options()
    settings, name = (TINY, "tiny") if options.tiny else (QUICK, "quick") if options.quick else (Settings(), ".")
    form = WHOLE if settings == Settings() else SHORT
    folder = ROOT / "build" / "bench" / name
    page = options.page or (folder / "benchmarks.md" if options.tiny else PAGE)
    begun = time.perf_counter()
    context = Context(settings, folder.resolve(), options.environments.absolute(), options.pairs)
    saved = _earlier(folder) if options.only or options.reuse else {}
    chosen = options.only or [name for name in settings.sections or SECTIONS if name not in saved]
    failed: dict[str, str] = {}
    machine = _machine(context)
    for name in chosen:
        print(f"{name} ...", flush=True)
        try:
            saved[name] = _measured(name, context)
        except WorkerError as error:
            saved.pop(name, None)
            failed[name] = str(error)
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            continue
        (folder / f"{name}.json").write_text(json.dumps(saved[name], indent=1))
        for row in all_rows({name: saved[name]})[name]:
            print(f"  {row.what}: {row.ours}; {row.peer or '-'}; ratio {row.ratio or '-'}; reached {row.reached}")
    write_page(page, form, machine, saved, failed)
    print(f"{page}, after {(time.perf_counter() - begun) / 60:.1f} minutes")
    print(to_json(machine, saved, failed))
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--environments", type=Path, default=ROOT / "build" / "bench" / "env", help="Folder of the peers' environments."
    )
    parser.add_argument(
        "--pairs", type=Path, help="Folder with mitochondria_low.tif and mitochondria_high.tif, 69 frames each."
    )
    parser.add_argument("--only", type=_names, default=[], metavar="A,B", help=f"Of {', '.join(SECTIONS)}.")
    parser.add_argument("--reuse", action="store_true", help="Measure only what no earlier run has measured.")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="Figures in five minutes: smaller sizes, fewer sections.")
    sizes.add_argument("--tiny", action="store_true", help="Tiny sizes, to see that everything runs.")
    parser.add_argument("--page", type=Path, help="Where to write the page.")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose of {', '.join(SECTIONS)}")
    return names


def _earlier(folder: Path) -> Saved:
    paths = {name: folder / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _measured(name: str, context: Context) -> dict[str, Any]:
    """Measure a section between two looks at how fast the machine is."""
    with context.worker("ours") as ours:
        matmul = [ours.ask("matmul", **context.matmul)]
        measured, begun = datetime.datetime.now(datetime.UTC), time.perf_counter()
        results = SECTIONS[name].measure(context)
        seconds = time.perf_counter() - begun
        matmul.append(ours.ask("matmul", **context.matmul))
    # What is reported afresh must be what a later run reads back.
    return json.loads(
        json.dumps(
            {
                "measured": measured.isoformat(timespec="minutes"),
                "seconds": seconds,
                "matmul": matmul,
                "results": results,
            }
        )
    )


def _machine(context: Context) -> dict[str, Any]:
    versions = {}
    for name in SCRIPTS:
        if context.has(name):
            with context.worker(name) as worker:
                versions[name] = worker.ask("versions")
    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": psutil.virtual_memory().total / 1e9,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
