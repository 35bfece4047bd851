"""Spoilt inputs by the thousand, each opened in a watched process: only our own errors, no hang, little memory.

A kind of input is a module with ``SUFFIX``, ``prepare()``, which loads the libraries, ``make(rng, path)``, which writes
a spoilt input at `path`, and ``use(path, rng)``, which does with it what the product does. Which input is made depends
on the seed and on its number alone: `python tests/torture/fuzzing.py MODULE NUMBER` makes one again and opens it
without a watch. Another seed is set by the environment variable FUZZ_SEED.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import random
import re
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from counts import say
from fixtures.forked_programs import Forked

SEED = int(os.environ.get("FUZZ_SEED", "1"))
LONGEST = 5.0
"""Seconds of processor time for one input; those of a busy machine's other work do not count."""

LONGEST_WAIT = 60.0
"""Seconds for one input, whatever the process does."""

MOST_MEMORY = 2 << 30
"""Bytes of memory of the process that opens the inputs, all it has loaded included."""

PATIENCE = 900.0
"""Seconds for its start."""

KEPT = Path("build") / "torture"
"""Where inputs go that brought something to light."""

MOST_FAILURES = 50

OWN = ("said", "told")
"""Files of errors and of what came of the inputs, beside an input."""


@dataclass
class Outcome:
    """What came of the inputs of one kind."""

    refused: int = 0
    accepted: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    memory: int = 0
    failures: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many were opened."""
        return self.refused + self.accepted + len(self.failures)


def fuzz(module: str, count: int) -> dict[str, float]:
    """Open `count` spoilt inputs; return the counts.

    Raises
    ------
    AssertionError
        If one led to anything but our own errors; it has been kept, and its number printed.
    """
    outcome, begun = Outcome(), time.monotonic()
    following = 0
    while following < count and len(outcome.failures) < MOST_FAILURES:
        following = _watch(module, following, count, outcome)
    outcome.seconds = time.monotonic() - begun
    for failure in outcome.failures:
        say(failure)
    for said, number in outcome.errors.most_common(5):
        say(f"{module}: {number} times {said}")
    name = module.removeprefix("fuzz_")
    assert not outcome.failures, f"{len(outcome.failures)} of {outcome.count} {name} failed, kept in {KEPT}"
    return {
        f"{name}_spoilt": outcome.count,
        f"{name}_refused": outcome.refused,
        f"{name}_longest_seconds": round(outcome.longest, 2),
        f"{name}_memory_mb": round(outcome.memory / 1e6),
        f"{name}_seconds": round(outcome.seconds),
    }


def _watch(module: str, first: int, count: int, outcome: Outcome) -> int:
    """Open inputs in a process until all are done or one ends it; return the number of the next."""
    with TemporaryDirectory(prefix="fuzz-") as folder:
        said, told = (Path(folder) / name for name in OWN)
        said.touch()
        os.mkfifo(told)
        pipe = os.open(told, os.O_RDONLY | os.O_NONBLOCK)
        process = Forked(
            *(_open_many, module, first, count, Path(folder)),
            folder=Path.cwd(),
            environment=os.environ | {"OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"},
            out=told,
            err=said,
        )
        try:
            is_ready, number, wrong = _follow(process, pipe, first, outcome)
            if wrong and process.poll() is None:
                # it says where it is, and ends
                process.send_signal(signal.SIGABRT)
                process.wait(10)
        finally:
            process.kill()
            process.wait()
            os.close(pipe)
        errors = said.read_text(encoding="utf-8", errors="replace")[-1500:]
        if not is_ready:
            raise RuntimeError(f"{module} could not start: {errors}")
        if wrong or (number < count and process.returncode):
            text = wrong or f"ended the process with {process.returncode}"
            _keep(module, number, Path(folder), f"{text}\n{errors}", outcome)
            number += 1
    return number


def _follow(process: Forked, pipe: int, number: int, outcome: Outcome) -> tuple[bool, int, str]:
    """Read what the process says of each input.

    Return whether it came to any, the number of the next, and what went wrong with it.
    """
    watched, buffer, patience = psutil.Process(process.pid), b"", PATIENCE
    last, worked, is_ready = time.monotonic(), 0.0, False
    while True:
        if select.select([pipe], [], [], 0.25)[0]:
            piece = os.read(pipe, 1 << 16)
            if not piece:
                process.wait()
                return is_ready, number, ""
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                last, patience = time.monotonic(), LONGEST_WAIT
                worked = _processor_time(watched)
                word, seconds, *error = line.decode().split(" ", 2)
                if word == "ready":
                    is_ready = True
                    continue
                if word == "failed":
                    return True, number, f"{float(seconds):.1f} s: {error[0]}"
                outcome.refused += word == "refused"
                outcome.accepted += word == "accepted"
                outcome.longest = max(outcome.longest, float(seconds))
                outcome.errors[" ".join(error)] += word == "refused"
                number += 1
        elif process.poll() is not None:
            return is_ready, number, ""
        with contextlib.suppress(psutil.Error):
            used = watched.memory_info().rss
            outcome.memory = max(outcome.memory, used)
            if used > MOST_MEMORY:
                return is_ready, number, f"took {used / 1e9:.1f} GB of memory"
        if time.monotonic() - last > patience or (is_ready and _processor_time(watched) - worked > LONGEST):
            return is_ready, number, f"was not done after {LONGEST:g} s of work, or {patience:g} s"


def _processor_time(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _keep(module: str, number: int, folder: Path, text: str, outcome: Outcome) -> None:
    """Keep an input that brought something to light."""
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = "not made"
    for made in folder.glob("input*.*"):
        kept = str(KEPT / f"{module}-{SEED}-{number}{made.suffix}")
        shutil.copytree(made, kept, dirs_exist_ok=True) if made.is_dir() else shutil.copyfile(made, kept)
    outcome.failures.append(f"{module} {number} (seed {SEED}, {kept}): {text}")


def _rng(module: str, number: int) -> random.Random:
    return random.Random(f"{SEED} {module} {number}")


def _open_many(module: str, first: int, count: int, folder: Path) -> None:
    """Open inputs one after the other, and say of each on one line how it ended."""
    warnings.simplefilter("ignore")
    sys.exit(open_many(module, first, count, folder))


def open_many(module: str, first: int, count: int, folder: Path) -> int:
    """Open inputs one after the other, and say of each on one line how it ended; return 1 where one failed."""
    from napari_care_losses.errors import CareError

    kind: Any = importlib.import_module(module)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    faulthandler.enable()
    os.dup2(2, 1)
    kind.prepare()
    out.write("ready 0\n")
    for number in range(first, count):
        rng, begun = _rng(module, number), time.process_time()
        path = folder / f"input{kind.SUFFIX}"
        kind.make(rng, path)
        try:
            word, error = "accepted", ""
            kind.use(path, rng)
        except CareError as refusal:
            word, error = "refused", _gist(refusal)
        except BaseException as wrong:  # noqa: BLE001 - whatever it is, it is not ours
            traceback.print_exc()
            word, error = "failed", f"{type(wrong).__name__}: {str(wrong)[:300]}".replace("\n", " ")
        if word == "failed":
            out.write(f"{word} {time.process_time() - begun:.3f} {error.encode('ascii', 'replace').decode()}\n")
            return 1
        for made in folder.iterdir():
            if made.name not in OWN:
                shutil.rmtree(made) if made.is_dir() and not made.is_symlink() else made.unlink()
        if _peak_memory() > MOST_MEMORY:
            out.write("failed 0 took more memory than allowed\n")
            return 1
        out.write(f"{word} {time.process_time() - begun:.3f} {error.encode('ascii', 'replace').decode()}\n")
    return 0


def _peak_memory() -> int:
    """Return the most bytes that this process has used; what the system counts begins with those of its parent."""
    import resource

    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _gist(error: Exception) -> str:
    """Return an error's kind and its first words without what differs from file to file."""
    text = re.sub(r"\S*/\S*|'[^']*'|\d+", "#", " ".join(str(error)[:300].split()))
    return f"{type(error).__name__}: {text[:70]}"


def main(arguments: list[str]) -> int:
    """Open a single input without catching what comes of it."""
    module, first = arguments
    kind: Any = importlib.import_module(module)
    kind.prepare()
    rng = _rng(module, int(first))
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"input{kind.SUFFIX}"
        kind.make(rng, path)
        kind.use(path, rng)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main(sys.argv[1:]))
