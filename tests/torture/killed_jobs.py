"""Jobs in processes that are killed, forked from one that has loaded what they need, so that killing costs little."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fixtures.forked_programs import LOADED

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

PRELOADED = [*LOADED, "napari_care_losses.experiments.runner"]


class Victim:
    """A job that is begun again and again, each time in a process of its own, and killed at random moments.

    Parameters
    ----------
    job : callable
        Called in the process with a shared number, in which it notes how far it is, and the arguments given.
    seed : int
        Of the moments.

    Attributes
    ----------
    kills : int
        How often it was killed.
    reached : int
        How far it had come when it ended last.
    """

    def __init__(self, job: Callable[..., None], *, seed: int) -> None:
        # by which the process that forks them finds the module of the job
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([job.__module__, *PRELOADED])
        self._job, self._moments = job, random.Random(seed)
        self.kills = self.reached = 0
        self._seconds = 0.0

    def finish(self, *arguments: Any) -> None:
        """Let it come to its end, to learn how long it takes."""
        process = self._start(arguments)
        begun = time.monotonic()
        process.join()
        self._seconds = time.monotonic() - begun
        assert process.exitcode == 0, f"ended with {process.exitcode}"

    def kill(self, *arguments: Any) -> bool:
        """Begin it and kill it at a random moment before its usual end; return whether it had ended by itself."""
        process = self._start(arguments)
        process.join(self._moments.uniform(0, self._seconds))
        if process.exitcode is None:
            process.kill()
            process.join()
        assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}"
        self.kills += process.exitcode != 0
        self.reached = self._reached.value
        return process.exitcode == 0

    def attempt(self, kills: int, *arguments: Any) -> bool:
        """Kill it, or let it come to its end once it was killed so often; return whether it has ended."""
        if self.kills < kills:
            return self.kill(*arguments)
        self.finish(*arguments)
        return True

    def _start(self, arguments: tuple[Any, ...]) -> BaseProcess:
        # without locks, which the killed would keep
        self._reached, is_begun = self._context.RawValue("q", 0), self._context.RawValue("b", 0)
        process = self._context.Process(target=_work, args=(is_begun, self._job, self._reached, *arguments))
        process.start()
        while not is_begun.value and process.exitcode is None:
            time.sleep(0.001)
        return process


def _work(is_begun: Any, job: Callable[..., None], *arguments: Any) -> None:
    is_begun.value = 1
    job(*arguments)
