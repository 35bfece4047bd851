"""The readers of foreign files in forks of this process: as confined as in a process of their own, started in no time.

What is replaced is the start of Python alone, which takes a second with the libraries that a reader loads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any


class ForkedReader:
    """Stands in for `subprocess.Popen` in `napari_care_losses.interchange.sandbox`."""

    def __init__(self, command: list[str], *, stderr: Any, cwd: str, env: dict[str, str], **_: Any) -> None:
        self.returncode: int | None = None
        *_, reader, source, target, seconds, memory, output = command
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor, place in ((null, 0), (null, 1), (stderr.fileno(), 2)):
                os.dup2(descriptor, place)
            os.chdir(cwd)
            os.environ.update(env)
            status = _read(reader, source, target, float(seconds), int(memory), int(output))
        finally:
            os._exit(status)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, up to a time."""
        end = time.monotonic() + (60 if timeout is None else timeout)
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise subprocess.TimeoutExpired("reader", timeout or 60)
            else:
                time.sleep(0.001)
        return self.returncode

    def kill(self) -> None:
        """End it."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


def _read(reader: str, source: str, target: str, seconds: float, memory: int, output: int) -> int:
    import sys
    import traceback

    from napari_care_losses.interchange import sandbox_child as restricted

    try:
        restricted.main(reader, source, target, seconds, memory, output)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else bool(ended.code)
    except BaseException:  # noqa: BLE001 - as Python itself ends
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
    return 0
