"""A script: gives up the rights that the reader of an untrusted file does not need, then runs it, see `sandbox.py`.

Imports nothing of this package. On every system, an audit hook forbids Python code to start processes, open connections
or write outside the current folder. On Linux, new enough kernels forbid the same to machine code: Landlock (5.13) for
files and programs, a seccomp filter for connections. The system's limits on memory, time and file sizes lie above those
that the parent process watches.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import struct
import sys
from typing import Any

_SLACK = 1 << 30
"""Bytes of memory above the parent's limit: the parent, which explains it, should notice first."""

_REFUSED_EVENTS = ("socket.", "subprocess.", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.fork", "pty.")
_CHANGING_EVENTS = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# linux/landlock.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASKS_VERSION, _RULE_PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READS = 1 << 0, 1 << 1, 1 << 2 | 1 << 3
_RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}  # bits there are of rights on files; later versions add one
_NET_TCP, _SCOPES = 0b11, 0b11

# linux/seccomp.h, linux/filter.h, linux/prctl.h
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _NOT_PERMITTED = 0x7FFF0000, 0x00050001
_X32 = 0x40000000
_CALLS = {
    # socket, execve, execveat, ptrace, process_vm_writev, io_uring_setup
    "x86_64": (0xC000003E, (41, 59, 322, 101, 311, 425)),
    "aarch64": (0xC00000B7, (198, 221, 281, 117, 271, 425)),
}


def main(reader: str, source: str, target: str, seconds: float, memory: int, output: int) -> None:
    """Run `reader` on `source`, to make `target`, with the current folder as the only one to write in."""
    sys.dont_write_bytecode = True
    _limit(seconds, memory, output)
    if sys.platform == "linux":
        _forbid_writing(os.getcwd())
        _forbid_calls()
    sys.addaudithook(_hook(os.path.realpath(os.getcwd())))
    sys.argv = [reader, source, target]
    runpy.run_path(reader, run_name="__main__")


def _limit(seconds: float, memory: int, output: int) -> None:
    """Set the system's own limits, where it has any."""
    try:
        import resource
    except ImportError:
        return
    for name, limit in {
        "RLIMIT_CPU": int(seconds) + 2,
        "RLIMIT_DATA": memory + _SLACK,
        "RLIMIT_FSIZE": output + 4096,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 256,
    }.items():
        # lower limits are kept, and limits that the system does not know are left out
        with contextlib.suppress(AttributeError, ValueError, OSError):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (limit, limit))


def _hook(folder: str) -> Any:
    def is_inside(path: object) -> bool:
        if not isinstance(path, str | bytes):
            return True  # a descriptor, opened before
        text = os.fsdecode(path)
        place = os.path.realpath(text)
        # on Windows the real path of the null device is another, and paths on two drives have nothing in common
        with contextlib.suppress(ValueError):
            return os.devnull in (text, place) or os.path.commonpath([folder, place]) == folder
        return False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED_EVENTS):
            raise PermissionError(f"{event} is forbidden to the reader of an untrusted file")
        changed: tuple[object, ...] = ()
        if event == "open":
            path, mode, flags = arguments
            changed = (path,) if set(mode or "") & set("wax+") or (flags or 0) & _WRITES else ()
        elif event in _CHANGING_EVENTS:
            changed = arguments[:2] if event in {"os.rename", "os.link"} else arguments[:1]
        if not all(is_inside(path) for path in changed):
            raise PermissionError(f"{event} outside its folder is forbidden to the reader of an untrusted file")

    return hook


def _forbid_writing(folder: str) -> None:
    """Let the kernel refuse every change of files outside `folder`, programs, connections by TCP, signals to others."""
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASKS_VERSION)
    if version < 1:
        return
    handled = ((1 << _RIGHTS_BY_VERSION.get(version, 16)) - 1) & ~_READS
    asked = struct.pack("=QQQ", handled, _NET_TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    asked = asked[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = system.syscall(_CREATE_RULESET, asked, ctypes.c_size_t(len(asked)), 0)
    if rules < 0:
        return
    for path, rights in ((folder, handled & ~_EXECUTE), (os.devnull, _WRITE_FILE)):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        system.syscall(_ADD_RULE, rules, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
        os.close(place)
    system.prctl(_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    system.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _forbid_calls() -> None:
    """Let the kernel refuse connections of any kind, programs and other processes' memory."""
    known = _CALLS.get(os.uname().machine)
    if known is None or struct.calcsize("P") != 8:
        return
    machine, calls = known
    # a comparison passes over so many of the next steps: the first number where it holds, the second where it does not
    refuse = (_RETURN, 0, 0, _NOT_PERMITTED)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), refuse, (_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _X32), refuse]
    for call in calls:
        steps += [(_EQUAL, 0, 1, call), refuse]
    steps.append((_RETURN, 0, 0, _ALLOW))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    described = struct.pack("HP", len(steps), ctypes.addressof(program))
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    system.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.c_char_p(described))


if __name__ == "__main__":
    main(*sys.argv[1:4], *(kind(text) for kind, text in zip((float, int, int), sys.argv[4:7], strict=True)))  # type: ignore[arg-type]
