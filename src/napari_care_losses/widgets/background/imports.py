"""Importing torch and OpenVINO in a background thread without blocking the viewer."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LIBRARIES = {"torch": ("lib/libtorch_cpu.so", "lib/libtorch_python.so"), "openvino": ("libs/libopenvino.so*",)}
"""The large shared libraries of each package, in the order of loading."""

_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)


def all_libraries() -> tuple[str, ...]:
    """Return all packages: what trains needs both."""
    return tuple(LIBRARIES)


def is_loaded(name: str) -> bool:
    """Return whether a package is loaded, or cannot be because it is not installed."""
    return name in sys.modules or find_spec(name) is None


def load(names: Iterable[str]) -> None:
    """Import those of `LIBRARIES` that are named and installed; call it in a background thread before using them.

    A plain import loads torch's shared libraries while it holds the GIL, and its many new objects trigger garbage
    collections: both block the viewer for some hundred milliseconds. Here the libraries are loaded first, without the
    GIL, and garbage collection is off during the import. Afterwards all objects are frozen (`gc.freeze`); the
    `GarbageGuard` of the work unfreezes them.
    """
    for name in names:
        # a lock each: work that needs OpenVINO does not wait for torch
        with _locks[name]:
            if is_loaded(name):
                continue
            with _no_garbage_collection():
                _load_libraries(name)
                # A package may be installed but broken: the code that needs it then raises the error.
                with suppress(ImportError, OSError):
                    importlib.import_module(name)


def lower_priority() -> None:
    """Let the viewer have the CPU before the calling thread and all threads it starts; Linux only.

    On Linux every thread has its own niceness, which the threads of torch and OpenVINO inherit. It cannot be lowered
    again without privileges, so call this only in threads that end with their work.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


NICENESS = 19
"""Niceness of computing threads, the highest there is: the viewer gets nearly all the CPU time it needs."""


def _load_libraries(package: str) -> None:
    """Load the shared libraries of a package by a foreign call, which releases the GIL; Linux only."""
    spec = find_spec(package)
    if sys.platform != "linux" or spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for pattern in LIBRARIES[package]:
        for path in sorted(Path(spec.origin).parent.glob(pattern)):
            # On failure the import itself loads the library or raises the error.
            dlopen(os.fsencode(path), os.RTLD_NOW)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Before enabling: otherwise the next allocation would trigger a collection of all new objects.
        gc.freeze()
        if is_enabled:
            gc.enable()
