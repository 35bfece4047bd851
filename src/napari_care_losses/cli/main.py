"""The command line: every job of the widgets, without a screen."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from napari_care_losses.cli import common as commands
from napari_care_losses.cli import experiment as experiment_command
from napari_care_losses.cli import restore as restore_command
from napari_care_losses.errors import CareError, InputError, printable
from napari_care_losses.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from napari_care_losses.parameters import Parameters

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {printable(message)} (--help lists the options)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 1 (failed), 2 (bad input), 130 (interrupted)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # within: loading what the options are made from takes long enough to be interrupted
        options = _parser(given[0] if given else "").parse_args(given)
        options.run(options)
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
        # of the disk that is printed to, for instance
        where = f"{error.filename}: " if error.filename else ""
        print(f"napari-care-losses: error: {where}{error.strerror or error}", file=sys.stderr)
        _print_no_more()
        return FAILED
    except MemoryError:
        print("napari-care-losses: error: The memory ran out: close other programs.", file=sys.stderr)
        return FAILED
    return 0


def _print_no_more() -> None:
    """Let what is still to be printed go nowhere: Python would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(chosen: str) -> argparse.ArgumentParser:
    """Return the parser; options made from parameter classes, which load torch, only for the chosen command."""
    parser = _Parser(prog="napari-care-losses", description="Restore low-exposure fluorescence images.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=help, description=help, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    train = command("train", commands.train, "Train a model on pairs of low- and high-exposure images.")
    if chosen == "train":
        _add_training_options(train)
    restore = command("restore", restore_command.run, "Restore a stack, or all stacks of a folder.")
    if chosen == "restore":
        _add_restore_options(restore)

    evaluate = command("evaluate", commands.evaluate, "Score a restored stack against its ground truth.")
    evaluate.add_argument("--restored", type=_path, required=True)
    evaluate.add_argument("--truth", type=_path, required=True)
    evaluate.add_argument("--input", type=_path, help="Score the unrestored stack beside it.")
    evaluate.add_argument("--frames", type=_selection, metavar="A:B", help="Frames A up to, not including, B.")
    evaluate.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    evaluate.add_argument("--json", action="store_true", help="Print one JSON object.")

    compare = command("compare", commands.compare, "Compare models and baselines on one stack, in a report.")
    compare.add_argument("input", type=_path, metavar="INPUT", help="A TIFF file or an OME-Zarr image.")
    compare.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="METHOD",
        help="Model files, names in the library, or the baselines tv and nl-means.",
    )
    compare.add_argument("--truth", type=_path, help="The ground truth, a TIFF file or an OME-Zarr image.")
    compare.add_argument("--out", type=_path, required=True, help="The HTML page to make; two CSV files lie beside it.")
    compare.add_argument("--frames", type=_selection, metavar="A:B", help="Only frames A up to, not including, B.")
    compare.add_argument(
        "--show", type=int, default=0, help="The frame whose images are shown, among those chosen (0)."
    )
    compare.add_argument(
        "--reference", metavar="METHOD", help="What others are compared with (a Laplace model if any)."
    )
    compare.add_argument(
        "--independent",
        action="store_true",
        help="The frames are independent fields of view, not a movie: adds paired t-tests.",
    )
    compare.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    if chosen == "compare":
        _add_restoration_options(compare)

    experiment = command("experiment", experiment_command.run, "Run the paper's experiments, or your own.")
    if chosen == "experiment":
        _add_experiment_options(experiment)

    models = command("models", commands.models, "List the models of the library.")
    models.add_argument(
        "--for",
        type=_path,
        dest="image",
        metavar="IMAGE",
        help="Sort by how well each model's training images match this image or stack, the best first.",
    )
    models.add_argument("--json", action="store_true", help="Print a JSON list.")

    bring = command("import", commands.import_model, "Add a model of CSBDeep, or a package, to the library.")
    bring.add_argument(
        "path",
        type=_path,
        metavar="PATH",
        help="A CSBDeep model folder, a zip archive of it, or a package for bioimage.io.",
    )
    bring.add_argument("--name", required=True, help="What the library is to call it.")
    bring.add_argument(
        "--run-its-code",
        action="store_true",
        help="Run the package's TorchScript program, now and when restoring: code of its authors, with your rights.",
    )
    if chosen == "import":
        _add_import_options(bring)

    export = command("export", commands.export_model, "Pack a model for other tools, in the format of bioimage.io.")
    export.add_argument("model", metavar="MODEL", help="A model file, or a name in the library.")
    export.add_argument("--out", type=_path, required=True, metavar="PACKAGE.zip", help="The package to make.")
    export.add_argument("--author", action="append", metavar="NAME", help="Who made the model; may be given again.")
    export.add_argument("--license", metavar="SPDX", help="The licence of the weights, such as CC-BY-4.0.")

    simulate = command("simulate", commands.simulate, "Simulate pairs of low and high exposure.")
    simulate.add_argument("structure", choices=("actin", "mitochondria", "dendra"))
    simulate.add_argument("--out", type=_path, required=True, help="Folder for low.tif and high.tif; made if missing.")
    simulate.add_argument("--count", type=int, default=9, help="Fields of view, or frames of a dendra movie (9).")
    simulate.add_argument("--size", type=int, default=512, help="Width and height in pixels (512).")
    simulate.add_argument("--low-ms", type=float, help="Low exposure in milliseconds.")
    simulate.add_argument("--high-ms", type=float, help="High exposure in milliseconds.")
    simulate.add_argument("--seed", type=int, default=0)

    demo = command("demo", commands.demo, "Restore simulated actin by every method, score it, and show it in napari.")
    demo.add_argument("--out", type=_path, default=Path("demo"), help="Folder for picture and stacks (demo).")
    demo.add_argument("--no-viewer", action="store_true", help="Do not open napari.")
    return parser


def _add_training_options(train: argparse.ArgumentParser) -> None:
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.models.model import STRUCTURE_NAMES
    from napari_care_losses.restoration.parameters import DEVICES
    from napari_care_losses.training.parameters import TrainingParameters

    train.add_argument(
        "--low", type=_path, nargs="+", required=True, metavar="STACK", help="Low-exposure stacks, TIFF or OME-Zarr."
    )
    train.add_argument("--high", type=_path, nargs="+", required=True, metavar="STACK", help="Their high exposures.")
    train.add_argument("--loss", choices=tuple(LOSSES), required=True)
    train.add_argument("--out", type=_path, required=True, metavar="M.safetensors", help="The model file to make.")
    train.add_argument("--frames", type=_selection, metavar="A:B", help="Frames A up to, not including, B.")
    train.add_argument("--from", dest="start_from", metavar="MODEL", help="Start from this model's weights.")
    train.add_argument("--structure", choices=STRUCTURE_NAMES, default="other", help="What the images show.")
    budget = train.add_mutually_exclusive_group()
    for unit, kind in (("epochs", int), ("steps", int), ("minutes", float)):
        budget.add_argument(f"--{unit}", type=kind, help=f"Train this many {unit} (default: 100 epochs).")
    train.add_argument("--device", choices=DEVICES, default="auto")
    train.add_argument("--resume", action="store_true", help="Go on where a stopped run ended.")
    _add_recipe(train)
    _add_options(train, TrainingParameters, skipped={"budget", "amount"})
    added: set[str] = set()
    for loss in LOSSES.values():
        # losses that share a parameter share its option
        _add_options(train, loss, skipped=added)
        added |= set(loss.described())


def _add_restore_options(restore: argparse.ArgumentParser) -> None:
    from napari_care_losses.io.ome_zarr_reader import VERSIONS
    from napari_care_losses.io.stacks import NEW_SUFFIXES

    restore.add_argument("model", metavar="MODEL", help="A model file, or a name in the library.")
    restore.add_argument(
        "input", type=_path, nargs="+", metavar="INPUT", help="TIFF files, OME-Zarr images, or folders of them."
    )
    restore.add_argument(
        "--out",
        type=_path,
        required=True,
        help="The file to make, OME-Zarr where it ends in .zarr, else TIFF; a folder for several inputs.",
    )
    restore.add_argument("--frames", type=_selection, metavar="A:B", help="Only frames A up to, not including, B.")
    restore.add_argument("--scale-out", type=_path, help="Also write the Laplace scale to this file.")
    restore.add_argument("--dtype", choices=("float32", "uint16", "uint8"), default="float32", help="Pixel type.")
    restore.add_argument(
        "--format", choices=tuple(NEW_SUFFIXES), help="Of the files in the folder (default: that of each input)."
    )
    restore.add_argument(
        "--ome-zarr", choices=VERSIONS, default=VERSIONS[0], help=f"Version of OME-Zarr written ({VERSIONS[0]})."
    )
    restore.add_argument("--device", default="auto", help="auto, cpu, cuda or mps.")
    restore.add_argument("--resume", action="store_true", help="Do only what a stopped run left out.")
    cluster = restore.add_mutually_exclusive_group()
    cluster.add_argument(
        "--scheduler", metavar="ADDRESS", help="Restore on the Dask cluster of this scheduler, into OME-Zarr."
    )
    cluster.add_argument("--workers", type=int, metavar="N", help="Restore in N processes, into OME-Zarr.")
    _add_restoration_options(restore)


def _add_experiment_options(experiment: argparse.ArgumentParser) -> None:
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.restoration.parameters import DEVICES
    from napari_care_losses.training.parameters import TrainingParameters

    experiment.add_argument(
        "names", nargs="+", metavar="NAME", help="MM, AA, MA, AM, DDS, AAS, AAE, patch-size, losses, lowest-light; all."
    )
    experiment.add_argument(
        "--out", type=_path, required=True, help="Folder of the run; the same command goes on in it."
    )
    experiment.add_argument(
        "--source",
        default=experiment_command.SIMULATED,
        metavar="FOLDER",
        help="A folder with STRUCTURE_low.tif and STRUCTURE_high.tif in place of simulated images.",
    )
    experiment.add_argument("--file", type=_path, metavar="TOML", help="Entries of your own in place of the paper's.")
    experiment.add_argument(
        "--budget",
        dest="run_budget",
        default=experiment_command.BUDGET,
        help=f"Of every training, in steps, minutes or epochs ({experiment_command.BUDGET}).",
    )
    experiment.add_argument(
        "--losses", nargs="+", choices=tuple(LOSSES), help="Only methods trained with these losses."
    )
    experiment.add_argument("--smoke", action="store_true", help="A few small images, just to see that all of it runs.")
    experiment.add_argument("--device", choices=DEVICES, default="auto")
    _add_recipe(experiment)
    _add_options(experiment, TrainingParameters, skipped={"budget", "amount"})
    _add_restoration_options(experiment)


def _add_import_options(bring: argparse.ArgumentParser) -> None:
    from napari_care_losses.models.model import STRUCTURE_NAMES
    from napari_care_losses.restoration.parameters import RestorationParameters

    bring.add_argument("--structure", choices=STRUCTURE_NAMES, help="What the images show (other).")
    for name in ("low_percentile", "high_percentile"):
        info = RestorationParameters.described()[name]
        bring.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            metavar="PERCENT",
            help=f"{info.help} (default: as the model says, else CARE's).".replace("%", "%%"),
        )


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    from napari_care_losses.training.parameters import RECIPES

    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default="paper",
        help="Settings of training taken together (paper); fine-tune goes with --from.",
    )


def _add_restoration_options(parser: argparse.ArgumentParser) -> None:
    from napari_care_losses.restoration.parameters import RestorationParameters

    _add_options(parser, RestorationParameters)


def _add_options(parser: argparse.ArgumentParser, owner: type[Parameters], skipped: Collection[str] = ()) -> None:
    """Add one option a parameter of `owner`; those not given are absent from the namespace."""
    for name, info in owner.described().items():
        if name in skipped:
            continue
        flag = "--" + name.replace("_", "-")
        default = owner().to_dict()[name]
        unit = f" {info.unit}" if info.unit else ""
        shown = info.none_means if default == info.none_number else f"{default}{unit}"
        text = f"{info.help} (default: {shown})".replace("%", "%%")
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            choices = {"choices": info.choices} if info.choices else {"metavar": type(default).__name__.upper()}
            parser.add_argument(flag, type=type(default), default=argparse.SUPPRESS, help=text, **choices)


def _path(text: str) -> Path:
    """Return a path that can be looked at, whether there is something or not."""
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{text[:100]!r} cannot be looked at: {said}") from None
    return Path(text)


def _selection(text: str) -> tuple[int, int]:
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B, two whole numbers such as 0:60, found {text!r}") from None
    return start, stop


if __name__ == "__main__":
    sys.exit(main())
