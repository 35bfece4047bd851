"""The command line: everything the widgets do, without a screen."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
import warnings
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from napari_care_losses.errors import CareError, InputError, RenamedModelWarning, printable
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_IS_WINDOWS = sys.platform == "win32"
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

COMMANDS = {
    "train": ("train", "Train a model on pairs of low- and high-exposure images."),
    "restore": ("restore", "Restore a stack, or all stacks of a folder."),
    "evaluate": ("evaluate", "Score a restored stack against its ground truth."),
    "compare": ("compare", "Compare models and baselines on one stack, in a report."),
    "experiment": ("experiment", "Run the paper's experiments, or your own."),
    "models": ("models", "List the models of the library."),
    "import": ("models", "Add a model of CSBDeep, or a package, to the library."),
    "export": ("models", "Pack a model for other tools, in the format of bioimage.io."),
    "simulate": ("simulate", "Simulate pairs of low and high exposure."),
    "demo": ("demo", "Restore simulated actin by every method, score it, and show it in napari."),
}
"""Module and help of every command; the module has the functions ``add_<command>_options`` and ``run_<command>``."""


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {printable(message)} (--help lists the options)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 1 (failed), 2 (bad input), 130 (interrupted)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _print_any_name()
    try:
        # within: loading what the options are made from takes long enough to be interrupted
        parser = _parser(given[0] if given else "")
        if given:
            options = parser.parse_args(given)
            with _notes_printed():
                options.run(options)
        else:
            parser.print_help()
        sys.stdout.flush()
    except BrokenPipeError:
        _print_no_more()
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except CareError as error:
        print(f"napari-care-losses: error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, InputError) else FAILED
    except OSError as error:
        if _IS_WINDOWS and error.errno == errno.EINVAL and not error.filename:
            # what Windows says in place of a broken pipe
            _print_no_more()
            return FAILED
        # of the disk that is printed to, for instance
        where = f"{error.filename}: " if error.filename else ""
        print(f"napari-care-losses: error: {where}{error.strerror or error}", file=sys.stderr)
        _print_no_more()
        return FAILED
    except MemoryError:
        print("napari-care-losses: error: The memory ran out: close other programs.", file=sys.stderr)
        return FAILED
    return 0


@contextmanager
def _notes_printed() -> Iterator[None]:
    """Print what is said of renamed models as notes, each once; other warnings stay warnings."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", RenamedModelWarning)
        show = warnings.showwarning

        def print_once(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
            if category is not RenamedModelWarning:
                show(message, category, *where, **options)
            elif str(message) not in said:
                said.add(str(message))
                print(f"napari-care-losses: note: {message}", file=sys.stderr)

        warnings.showwarning = print_once
        yield


def _print_any_name() -> None:
    """Escape what the encoding of the output lacks, such as the name of a file: Windows has few letters in pipes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _print_no_more() -> None:
    """Discard what is still to be printed: Python would try once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(chosen: str) -> argparse.ArgumentParser:
    """Return the parser; only the module of the chosen command is loaded, for its options."""
    parser = _Parser(prog="napari-care-losses", description="Restore low-exposure fluorescence images.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module_name, text) in COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == chosen:
            module = import_module(f"napari_care_losses.cli.{module_name}")
            getattr(module, f"add_{name}_options")(command)
            command.set_defaults(run=getattr(module, f"run_{name}"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
