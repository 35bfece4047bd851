"""Reading in a separate process: its limits hold, and every failure there raises a ModelFileError."""

import ctypes
import ntpath
import os
import socket
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from fixtures.cli_runs import names

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import ModelFileError
from napari_care_losses.interchange import sandbox, sandbox_child
from napari_care_losses.interchange.sandbox import Limits, read_confined

WRITE = "import sys, numpy; from safetensors.numpy import save_file\n"


@pytest.fixture
def children():
    """Return a function that lists the child processes started since the fixture was made."""
    before = {child.pid for child in psutil.Process().children()}
    return lambda: [child for child in psutil.Process().children() if child.pid not in before]


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a script as a reader."""

    def run(code, **limits):
        script = tmp_path / "reader.py"
        script.write_text(code)
        return finish(read_confined(script, tmp_path / "model.h5", Limits(**limits)))

    return run


def test_tensors_and_notes_come_back_in_single_precision(run):
    found = run(WRITE + "save_file({'a': numpy.arange(3.)}, sys.argv[2], metadata={'from': sys.argv[1][-8:]})")
    assert found.tensors["a"].dtype == np.float32
    assert found.tensors["a"].tolist() == [0, 1, 2]
    assert found.notes == {"from": "model.h5"}


@pytest.mark.parametrize(
    ("code", "limits", "message"),
    [
        ("import time; time.sleep(60)", {"seconds": 0.5}, "more than 0.5 seconds"),
        ("while True: pass", {"work": 1.0}, "more than 1 seconds of work"),
        ("held = b'x' * (600 << 20)\nimport time; time.sleep(60)", {"memory": 300 << 20}, "bytes of memory"),
        (
            "import sys, time\nwith open(sys.argv[2], 'wb') as file:\n"
            "    file.write(bytes(20 << 20)); file.flush(); time.sleep(60)",
            {"output": 10 << 20},
            "bytes of output",
        ),
        (
            "import sys\nwith open(sys.argv[2], 'wb') as file: file.write(bytes(20 << 20))",
            {"output": 10 << 20},
            "output",
        ),
        ("import sys\nwhile True: sys.stderr.write('x' * 100000)", {"output": 10 << 20}, "bytes of output"),
    ],
)
def test_a_process_that_exceeds_a_limit_is_ended(children, run, code, limits, message):
    begun = time.monotonic()
    with pytest.raises(ModelFileError, match=rf"model\.h5 took .*{message}"):
        run(code, **limits)
    assert time.monotonic() - begun < 30
    assert not children()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "is damaged: the process that read it ended with "),
        ("raise SystemExit(0)", "gave no tensors"),
        ("import sys; open(sys.argv[2], 'wb').write(b'nonsense' * 100)", "gave no tensors"),
        ("1 / 0", "ended with 1 .*ZeroDivisionError"),
        ("import sys; sys.exit('too old')", "ended with 1 .*too old"),
        (
            "import sys; print('x' * 10**5 + '\\x00\\xff it is old', file=sys.stderr); sys.exit(2)",
            "cannot be read: .*it is old",
        ),
    ],
)
def test_a_process_that_fails_raises_a_model_file_error(run, code, message):
    with pytest.raises(ModelFileError, match=message) as raised:
        run(code)
    assert len(str(raised.value)) < 1000


def test_no_module_is_imported_from_the_current_folder_and_no_file_is_left(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    (tmp_path / "safetensors.py").write_text("raise SystemExit('imported from the wrong place')")
    monkeypatch.chdir(tmp_path)
    run(WRITE + "save_file({'a': numpy.zeros(1)}, sys.argv[2])")
    with pytest.raises(ModelFileError):
        run("1 / 0")
    assert names(tmp_path / "temporary") == []


def test_closing_the_generator_ends_the_process(children, tmp_path):
    script = tmp_path / "reader.py"
    script.write_text("import time; time.sleep(60)")
    steps = read_confined(script, tmp_path / "model.h5")
    next(steps)
    assert children()
    steps.close()
    assert not children()


@pytest.mark.skipif(sys.platform == "win32", reason="stands in for the Python of a virtual environment there")
@pytest.mark.parametrize(
    ("code", "limits", "message"),
    [
        ("held = b'x' * (600 << 20)\nimport time; time.sleep(60)", {"memory": 300 << 20}, "bytes of memory"),
        ("while True: pass", {"work": 1.0}, "more than 1 seconds of work"),
        ("import time; time.sleep(60)", {"seconds": 2.0}, "more than 2 seconds"),
    ],
)
def test_the_limits_hold_for_a_python_that_another_one_starts(tmp_path, run, monkeypatch, code, limits, message):
    launcher, noted = tmp_path / "python", tmp_path / "pid"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@" &\necho $! > "{noted}"\nwait $!\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(sandbox, "_HAS_LAUNCHER", True)
    monkeypatch.setattr(sys, "executable", str(launcher))
    with pytest.raises(ModelFileError, match=message):
        run(code, **limits)
    assert not psutil.pid_exists(int(noted.read_text()))


def test_no_window_opens(run, monkeypatch):
    monkeypatch.setattr(sandbox.subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    given = []

    def start(command, **options):
        given.append(options["creationflags"])
        return real(command, **(options | {"creationflags": 0}))

    real = sandbox.subprocess.Popen
    monkeypatch.setattr(sandbox.subprocess, "Popen", start)
    run(WRITE + "save_file({'a': numpy.zeros(1)}, sys.argv[2])")
    assert given == [0x08000000]


def test_a_path_on_another_drive_of_windows_is_outside(monkeypatch):
    folder = "C:\\Temp\\x"
    places = {"nul": "\\\\.\\nul", "result": "C:\\Temp\\x\\result"}
    path = SimpleNamespace(realpath=lambda text: places.get(text, text), commonpath=ntpath.commonpath)
    monkeypatch.setattr(sandbox_child, "os", SimpleNamespace(path=path, fsdecode=os.fsdecode, devnull="nul"))
    hook = sandbox_child._hook(folder)
    hook("open", ("nul", "w", 0))
    hook("open", ("result", "w", 0))
    for outside in ("D:\\Temp\\x\\result", "C:\\Temp\\result"):
        with pytest.raises(PermissionError, match="outside its folder"):
            hook("open", (outside, "w", 0))


class TestRights:
    """A reader that its file has taken control of can only write tensors, which are checked."""

    @pytest.mark.parametrize(
        "code",
        [
            "import socket; socket.socket()",
            "import subprocess; subprocess.run(['true'])",
            "import os; os.system('true')",
            "open({outside!r}, 'w')",
            "open({outside!r}, 'r+')",
            "import os; os.remove({outside!r})",
            "import os; os.rename({outside!r}, 'here')",
            "import os; os.mkdir({outside!r} + '.d')",
            "import os; os.chmod({outside!r}, 0)",
            "import os; os.chdir('/'); open({outside!r}, 'w')",
        ],
    )
    def test_python_code_cannot_leave_its_folder(self, run, tmp_path, code):
        outside = tmp_path / "precious"
        outside.write_text("kept")
        with pytest.raises(ModelFileError, match="PermissionError"):
            run(code.format(outside=str(outside)))
        assert outside.read_text() == "kept"
        assert names(tmp_path) == ["precious", "reader.py"]

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process give up its rights")
    @pytest.mark.parametrize(
        ("call", "landlock"),
        [
            ("creat({outside!r}, 0o600)", 1),
            ("open({outside!r}, 2)", 1),
            ("unlink({outside!r})", 1),
            ("socket(2, 1, 0)", 0),
            ("socket(2, 2, 0)", 0),
            ("execve(b'/bin/true', 0, 0)", 0),
            ("kill({parent}, 0)", 6),
        ],
    )
    def test_machine_code_cannot_leave_its_folder(self, run, tmp_path, call, landlock):
        if ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) < landlock:
            pytest.skip("the kernel is too old to forbid this")
        outside = tmp_path / "precious"
        outside.write_text("kept")
        run(
            "import ctypes, os, sys\nsystem = ctypes.CDLL(None)\n"
            f"assert system.{call.format(outside=bytes(outside), parent='os.getppid()')} == -1\n"
            + WRITE
            + "save_file({'a': numpy.zeros(1)}, sys.argv[2])"
        )
        assert outside.read_text() == "kept"

    def test_a_server_on_the_same_machine_cannot_be_reached(self, run):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with pytest.raises(ModelFileError, match="PermissionError"):
                run(f"import socket; socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}))")
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()

    def test_the_system_limits_memory_too(self, run):
        pytest.importorskip("resource")
        with pytest.raises(ModelFileError, match="MemoryError"):
            run("held = bytes(3 << 30)", memory=1 << 30)
