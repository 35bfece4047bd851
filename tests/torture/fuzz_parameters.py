"""Random parameters, typed into the viewer's forms and given to the command line in this process."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import shutil
import signal
import sys
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counts import scaled
from mutations import NUMBERS, TEXTS, spoil_values

if TYPE_CHECKING:
    import random

SUFFIX = ".json"
COUNT = 10_000
"""Half of them for the forms, half for the command line."""

PATIENCE = 1.0
"""Seconds after which work that was rightly begun is interrupted, as by Ctrl+C."""

CORPUS = Path(__file__).with_name("corpus")
TYPED = (
    *(
        "1e5",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "1,5",
        "1.5.5",
        "-",
        "+",
        "e",
        "1e",
        "",
        " ",
        "٣",
        "½",
        "0x10",
        "1_000",
        "3 px",
    ),
    *("16", "64", "0", "-1", "100", "99.8", "50", "1e-7", "9" * 30, "automatic", "as the model", "1\n2", "\x00", "%"),
)
PATHS = (
    *("low.tif", "low.tif", "low.tif", "high.tif", "high.tif", "low.ome.zarr", "colour.tif", "other.tif", "small.tif"),
    *("missing.tif", ".", "folder", "spoilt.tif", "plain.safetensors", "state.resume", "package.zip", "out.tif"),
    *(
        "out.ome.zarr",
        "out",
        "missing/out.tif",
        "x.safetensors",
        "x.zip",
        "a" * 300,
        "\udcff.tif",
        "-",
        "/",
        "/dev/null",
    ),
    *("low.tif/x", "~", "own.toml", "x.html", "", "/proc/self/mem", "~nobody/x"),
)
MODELS = (
    "plain.safetensors",
    "plain.safetensors",
    "scaled.safetensors",
    "fft-lite",
    "missing",
    "low.tif",
    "tv",
    "",
    ".",
)
SPANS = ("0:2", "1:3", "0:3", "2:1", "-1:2", "0:0", "x", "1:2:3", "", f"0:{10**30}", f"{10**30}:{10**31}", "1.5:2")
COMMANDS = {
    "restore": 8,
    "train": 6,
    "evaluate": 4,
    "compare": 3,
    "experiment": 2,
    "models": 1,
    "import": 2,
    "export": 1,
    "simulate": 4,
}


def run(scale: float) -> dict[str, float]:
    """Try random parameters."""
    from fuzzing import fuzz

    return fuzz("fuzz_parameters", scaled(COUNT, scale))


def prepare() -> None:
    """Make a folder with images and models, and go there."""
    import numpy as np
    import tifffile

    # not before the viewer's libraries are asked for one
    import napari_care_losses.restoration.to_file  # noqa: F401
    from napari_care_losses.cli.main import main
    from napari_care_losses.models.architecture import PRESETS, Architecture

    # a network that takes a step in milliseconds
    PRESETS["lite"] = Architecture(depth=1, kernel_size=3, filters=2)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-parameters-"))
    os.environ["NAPARI_CARE_LOSSES_LIBRARY"] = str(folder / "library")
    os.environ["HOME"] = str(folder)
    os.chdir(folder)
    high = np.random.default_rng(0).integers(100, 1000, (3, 40, 36)).astype(np.uint16)
    for name, stack in {"low": high // 4, "high": high, "other": high[:2, :9], "small": high[0, :3, :5]}.items():
        tifffile.imwrite(f"{name}.tif", stack, photometric="minisblack")
    tifffile.imwrite("colour.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    Path("spoilt.tif").write_bytes(Path("low.tif").read_bytes()[:3000])
    for name in ("plain.safetensors", "scaled.safetensors", "state.resume", "package.zip"):
        shutil.copy(CORPUS / name, name)
    shutil.copytree(CORPUS / "zarr" / "0.5.ome.zarr", "low.ome.zarr")
    Path("folder").mkdir()
    shutil.copy("low.tif", "folder/low.tif")
    Path("own.toml").write_text(
        '[own]\ntrain = {low = "low.tif", high = "high.tif"}\ntest = {low = "low.tif", high = "high.tif"}\n'
        'losses = ["mae"]\n',
        encoding="utf-8",
    )
    _forms()
    for arguments in (
        ["restore", "plain.safetensors", "low.tif", "--out", "out.tif"],
        ["train", "--low", "low.tif", "--high", "high.tif", "--loss", "mae", "--out", "x.safetensors", "--steps", "1"],
        ["evaluate", "--restored", "low.tif", "--truth", "high.tif"],
        ["compare", "low.tif", "--methods", "plain.safetensors", "--truth", "high.tif", "--out", "x.html"],
    ):
        more = ("--preset", "lite", "--patch-size", "16") if arguments[0] == "train" else ()
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([*arguments, *more]) == 0
    _kept.update(_all_files())
    for path in Path().iterdir():
        _copy(path, _untouched() / path.name)


_kept: set[Path] = set()


def _untouched() -> Path:
    """Return the folder of copies of what the commands work on."""
    return Path(f"{Path.cwd()}-untouched")


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, to)
    else:
        shutil.copy(path, to)


def _all_files() -> set[Path]:
    return set(Path().rglob("*"))


def _tidy(kept: set[Path]) -> None:
    """Remove what a command has made."""
    for path in sorted(_all_files() - kept, reverse=True):
        _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _put_back(arguments: list[str]) -> None:
    """Undo what the command did to its inputs; only what it was to write may be missing.

    Raises
    ------
    AssertionError
        If anything else is.
    """
    written = [Path(name) for option, name in pairwise(arguments) if option == "--out"]
    missing = [path for path in _kept if not path.exists()]
    unasked = [str(path) for path in missing if not any(path.is_relative_to(out) for out in written if out.name)]
    for kept in _untouched().iterdir():
        if any(path.parts[:1] == (kept.name,) for path in (*written, *missing)):
            _remove(Path(kept.name))
            _copy(kept, Path(kept.name))
    assert not unasked, f"{arguments} removed {unasked[:3]}"


@cache
def _forms() -> dict[str, Any]:
    """Return every form of the viewer by the name of its parameters."""
    from qtpy.QtWidgets import QApplication

    from napari_care_losses.images.normalization import PercentileNormalization
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.models.architecture import Architecture
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.training.parameters import DeviceParameters, TrainingParameters
    from napari_care_losses.widgets.shared.form import ParameterForm
    from napari_care_losses.widgets.train.settings import TrainingSettings

    _forms.application = QApplication.instance() or QApplication([])  # type: ignore[attr-defined]
    kinds = (
        RestorationParameters,
        TrainingParameters,
        DeviceParameters,
        PercentileNormalization,
        Architecture,
        *LOSSES.values(),
    )
    forms = {kind.__name__: ParameterForm(kind) for kind in kinds}
    settings = _forms.settings = TrainingSettings(set)  # type: ignore[attr-defined]
    return forms | {"settings": settings.form, "settings.device": settings.device}


def make(rng: random.Random, path: Path) -> None:
    """Write what is to be typed or given."""
    if rng.random() < 0.5:
        form = rng.choice([name for name, one in _forms().items() if one.editors])
        edits = [_edit(rng, name) for name in rng.choices(list(_forms()[form].editors), k=rng.choice((1, 2, 5, 20)))]
        values = spoil_values(rng, _forms()[form]._kind().to_dict(), ["budget", "amount", "seed"])
        case = {"form": form, "edits": edits, "values": values}
    else:
        name = rng.choices(list(COMMANDS), list(COMMANDS.values()))[0]
        case = {"command": [name, *_arguments(rng, name)]}
    path.write_text(json.dumps(case), encoding="utf-8")


def _edit(rng: random.Random, name: str) -> list[Any]:
    numbers = [number for number in NUMBERS if isinstance(number, float) or abs(number) < 2**31]
    return [name, rng.choice((*TYPED, *(text[:200] for text in TEXTS[:20]))), rng.choice(numbers), rng.random()]


def _arguments(rng: random.Random, name: str) -> list[str]:
    """Return arguments for a command: those it needs, and some of its options, most of them possible."""
    from napari_care_losses.cli import main as cli

    parser = cli._parser(name)
    (commands,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    arguments: list[str] = []
    for action in commands.choices[name]._actions:
        if isinstance(action, argparse._HelpAction) or (not action.required and rng.random() < 0.85):
            continue
        if action.required and rng.random() < 0.02:
            continue
        if "--scheduler" in action.option_strings:
            continue
        if action.option_strings:
            arguments.append(rng.choice(action.option_strings))
        if action.nargs == 0:
            continue
        for _ in range(1 if action.nargs is None else rng.choice((1, 1, 2))):
            arguments.append(_argument(rng, action))
    if name == "train" and rng.random() < 0.9:
        arguments += ["--preset", "lite"]
    if rng.random() < 0.03:
        arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(("--nonsense", "", "--", "-x", "é", "--out")))
    return arguments


def _argument(rng: random.Random, action: argparse.Action) -> str:
    if "--workers" in action.option_strings:
        return rng.choice(("0", "-1", str(10**9), str(10**30), "x", ""))
    if action.choices is not None:
        return rng.choice(list(map(str, action.choices))) if rng.random() < 0.95 else rng.choice(("", "x", "\udcff"))
    if action.type in (int, float):
        near = action.default if isinstance(action.default, int | float) else 2
        small = (near, near, 1, 2, 3, 16, 32, 50, 99, 0.5, 0.001, 0, -1)
        return str(rng.choice(small if rng.random() < 0.8 else NUMBERS))[:400]
    if action.dest == "frames":
        return rng.choice(SPANS)
    if action.dest in {"model", "methods", "start_from", "reference"}:
        return rng.choice(MODELS)
    if action.dest == "names":
        return rng.choice(("MM", "AA", "own", "all", "lowest-light", "x", ""))
    if action.dest == "run_budget":
        return rng.choice(("1 step", "2", "0", "1e9 steps", "0.001 min", "9" * 40, "", "x", "-1"))
    if action.dest == "name":
        return rng.choice(("m", "../x", "con", "a" * 300, "\udcff", "", "x\n", ".x", "é"))
    return rng.choice(PATHS)


def use(path: Path, rng: random.Random) -> None:
    """Type into a form and read it, or run a command."""
    case = json.loads(path.read_text(encoding="utf-8"))
    if "form" in case:
        _use_form(case)
    else:
        _use_command(case["command"])


def _use_form(case: dict[str, Any]) -> None:
    from qtpy.QtWidgets import QAbstractSpinBox, QComboBox

    from napari_care_losses.errors import InputError

    form = _forms()[case["form"]]
    for name, typed, number, share in case["edits"]:
        editor = form.editors[name].native
        if isinstance(editor, QComboBox):
            editor.setCurrentIndex(int(share * editor.count()))
        elif isinstance(editor, QAbstractSpinBox):
            editor.lineEdit().setText(typed)
            editor.interpretText()
            if share < 0.3:
                editor.setValue(number)
            editor.stepBy(int(share * 7) - 3)
        else:
            editor.setChecked(share < 0.5)
    refusal = None
    try:
        value = form.value()
    except InputError as error:
        refusal = error
    else:
        # settings that count for nothing, such as the axis of no neighbours, are not kept
        assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))).to_dict() == value.to_dict()
        form.set_value(value)
        assert form.value() == value, "the form shows another value than it was given"
    form._kind.from_dict(case["values"])
    if refusal:
        raise refusal


def _use_command(arguments: list[str]) -> None:
    """Run a command; its status must be one that is documented, and bad input be told in one line."""
    from napari_care_losses.cli.main import main
    from napari_care_losses.errors import InputError

    said, told = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
            try:
                status = main(arguments)
            except SystemExit as ended:
                status = ended.code
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        _tidy(_kept)
        _put_back(arguments)
    lines = [line for line in told.getvalue().splitlines() if line.strip()]
    assert status in {0, 1, 2, 130}, (status, lines)
    assert "Traceback" not in told.getvalue(), lines
    if status == 2:
        assert len(lines) == 1 or arguments[0] in {"restore", "train", "compare", "experiment"}, lines
        assert all(math.isfinite(len(line)) for line in lines)
        raise InputError(lines[-1])


if __name__ == "__main__":
    sys.exit("run by torture.py")
