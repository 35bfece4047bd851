"""Asking a process in another environment to do things, one JSON line each way; needs nothing but Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOG_LINES = 15
"""Lines of a dead worker's log that its error repeats."""


class WorkerError(Exception):
    """A worker ended without an answer; its log says why."""


class Worker:
    """A process that serves commands until it is closed.

    Parameters
    ----------
    python : Path
        The interpreter of the environment to work in.
    script : Path
        What it runs; it ends in a call of `serve`.
    log : Path
        Where everything it prints goes.
    """

    def __init__(self, python: Path, script: Path, log: Path) -> None:
        self._log_path = log
        log.parent.mkdir(parents=True, exist_ok=True)
        # A GPU would serve some of those compared and not others.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [python, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=environment,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, command: str, **values: Any) -> dict[str, Any]:
        """Return the worker's answer to a command.

        Raises
        ------
        WorkerError
            If the worker failed.
        """
        answer = ""
        try:
            self._process.stdin.write(json.dumps({"command": command, **values}, default=str) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            said = self._log_path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise WorkerError(f"{self._log_path.stem} failed at {command!r}:\n" + "\n".join(said))
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def serve(commands: Mapping[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer commands from standard input until it closes; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        request = json.loads(line)
        answer = commands[request.pop("command")](**request)
        print(json.dumps(answer), file=answers, flush=True)
