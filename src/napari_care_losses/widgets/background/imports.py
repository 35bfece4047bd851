"""Loading torch and OpenVINO beside a viewer without holding it up."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
import threading
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARIES = {"torch": ("lib/libtorch_cpu.so", "lib/libtorch_python.so"), "openvino": ("libs/libopenvino.so*",)}
"""The large shared libraries of a package, in the order to be loaded."""

_lock = threading.Lock()


def load_torch() -> None:
    """Import torch, and OpenVINO where it is installed; to be called in a background thread before it uses them.

    An import statement would do, but Python loads a shared library while holding its global lock, for hundreds of
    milliseconds with torch's; and the many new objects set off searches for garbage, which take as long. Here the
    libraries are loaded beforehand, without the lock, and no garbage is searched for meanwhile. After the loading, all
    objects are left out of the search (`gc.freeze`): whoever keeps the viewer's out of it while work goes on ends that.
    """
    with _lock:
        missing = [name for name in LIBRARIES if name not in sys.modules and find_spec(name) is not None]
        if not missing:
            return
        with _no_search_for_garbage():
            for name in missing:
                _load_libraries(name)
                # Installed is not yet usable: the engines then do without it, and torch's users say what is wrong.
                with suppress(ImportError, OSError):
                    importlib.import_module(name)


def lower_priority() -> None:
    """Let the calling thread, and all it will start, yield the processor to the viewer; Linux only.

    There every thread has a niceness of its own, and hands it down to the threads of torch and OpenVINO. It cannot be
    taken back without privileges: for threads that end with their work.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


NICENESS = 19
"""Niceness of computing threads, the highest there is: when both want a processor, the viewer has nearly all of it."""


def _load_libraries(package: str) -> None:
    """Load the shared libraries of a package as a foreign call, which releases Python's lock; Linux only."""
    spec = find_spec(package)
    if sys.platform != "linux" or spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for pattern in LIBRARIES[package]:
        for path in sorted(Path(spec.origin).parent.glob(pattern)):
            # What cannot be loaded like this, the import will load or complain about.
            dlopen(os.fsencode(path), os.RTLD_NOW)


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Before it is enabled: the next new object would set off a search among all of these.
        gc.freeze()
        if is_enabled:
            gc.enable()
