"""The command line: every job of the widgets, without a screen."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from napari_care_losses import __version__
from napari_care_losses.core.errors import CareError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from napari_care_losses.core.frames import Frames
    from napari_care_losses.core.losses import Loss
    from napari_care_losses.core.parameters import ParameterInfo, Parameters
    from napari_care_losses.core.restoration import Progress

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (--help lists the options)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 1 (failed), 2 (bad input), 130 (interrupted)."""
    # A parser that needs torch is only built for the command that trains.
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(trains="train" in given[:1]).parse_args(given)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except CareError as error:
        print(f"napari-care-losses: error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, InputError) else FAILED
    return 0


def _parser(*, trains: bool) -> argparse.ArgumentParser:
    parser = _Parser(prog="napari-care-losses", description="Restore low-exposure fluorescence images.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    train = command("train", _train, "Train a model on pairs of low- and high-exposure images.")
    if trains:
        _add_training_options(train)
    restore = command("restore", _restore, "Restore an image or a stack.")
    restore.add_argument("model", metavar="MODEL", help="A model file, or a name in the library.")
    restore.add_argument("input", type=Path, metavar="INPUT", help="A TIFF file.")
    restore.add_argument("--out", type=Path, required=True, help="The TIFF file to make.")
    restore.add_argument("--frames", type=_selection, metavar="A:B", help="Only frames A up to, not including, B.")
    restore.add_argument(
        "--normalization", choices=("frame", "stack"), default="frame", help="One range a frame, or one for the stack."
    )
    restore.add_argument(
        "--low-band", choices=("auto", "tied", "plain"), default="auto", help="Tie slow brightness to the input's."
    )
    restore.add_argument("--tile-size", type=int, default=1024, metavar="PX", help="Width of the tiles (1024).")
    restore.add_argument("--scale-out", type=Path, help="Also write the Laplace scale to this TIFF file.")
    restore.add_argument("--dtype", choices=("float32", "uint16", "uint8"), default="float32", help="Pixel type.")
    restore.add_argument("--device", default="auto", help="auto, cpu, cuda or mps.")
    restore.add_argument("--resume", action="store_true", help="Do only what a stopped run left out.")

    evaluate = command("evaluate", _evaluate, "Score a restored stack against its ground truth.")
    evaluate.add_argument("--restored", type=Path, required=True)
    evaluate.add_argument("--truth", type=Path, required=True)
    evaluate.add_argument("--input", type=Path, help="Score the unrestored stack beside it.")
    evaluate.add_argument("--frames", type=_selection, metavar="A:B", help="Frames A up to, not including, B.")
    evaluate.add_argument("--unaligned", action="store_true", help="Raw scores, without the affine alignment.")
    evaluate.add_argument("--json", action="store_true", help="Print one JSON object.")

    models = command("models", _models, "List the models of the library.")
    models.add_argument("--json", action="store_true", help="Print a JSON list.")

    simulate = command("simulate", _simulate, "Simulate pairs of low and high exposure.")
    simulate.add_argument("structure", choices=("actin", "mitochondria", "dendra"))
    simulate.add_argument("--out", type=Path, required=True, help="Folder for low.tif and high.tif; made if missing.")
    simulate.add_argument("--count", type=int, default=9, help="Fields of view, or frames of a dendra movie (9).")
    simulate.add_argument("--size", type=int, default=512, help="Width and height in pixels (512).")
    simulate.add_argument("--low-ms", type=float, help="Low exposure in milliseconds.")
    simulate.add_argument("--high-ms", type=float, help="High exposure in milliseconds.")
    simulate.add_argument("--seed", type=int, default=0)

    demo = command("demo", _demo, "Restore simulated actin by every method, score it, and show it in napari.")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="Folder for picture and stacks (demo).")
    demo.add_argument("--no-viewer", action="store_true", help="Do not open napari.")
    return parser


def _add_training_options(train: argparse.ArgumentParser) -> None:
    from napari_care_losses.core.engines import DEVICES
    from napari_care_losses.core.losses import LOSSES
    from napari_care_losses.core.model import STRUCTURES
    from napari_care_losses.core.training import TrainingParameters

    train.add_argument("--low", type=Path, nargs="+", required=True, metavar="TIF", help="Low-exposure stacks.")
    train.add_argument("--high", type=Path, nargs="+", required=True, metavar="TIF", help="Their high exposures.")
    train.add_argument("--loss", choices=tuple(LOSSES), required=True)
    train.add_argument("--out", type=Path, required=True, metavar="M.safetensors", help="The model file to make.")
    train.add_argument("--frames", type=_selection, metavar="A:B", help="Frames A up to, not including, B.")
    train.add_argument("--from", dest="start_from", metavar="MODEL", help="Start from this model's weights.")
    train.add_argument("--structure", choices=STRUCTURES, default="other", help="What the images show.")
    budget = train.add_mutually_exclusive_group()
    for unit, kind in (("epochs", int), ("steps", int), ("minutes", float)):
        budget.add_argument(f"--{unit}", type=kind, help=f"Train this many {unit} (default: 100 epochs).")
    train.add_argument("--device", choices=DEVICES, default="auto")
    train.add_argument("--resume", action="store_true", help="Go on where a stopped run ended.")
    _add_options(train, TrainingParameters.described(), TrainingParameters, skipped={"budget", "amount"})
    for loss in LOSSES.values():
        _add_options(train, loss.described(), loss, skipped=set())


def _add_options(
    parser: argparse.ArgumentParser, described: dict[str, ParameterInfo], owner: type[Parameters], skipped: set[str]
) -> None:
    """Add one option a parameter; those not given are absent from the namespace."""
    for name, info in described.items():
        if name in skipped:
            continue
        flag = "--" + name.replace("_", "-")
        default = getattr(owner(), name)
        unit = f" {info.unit}" if info.unit else ""
        text = f"{info.help} (default: {default}{unit})".replace("%", "%%")
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
        else:
            choices = {"choices": info.choices} if info.choices else {"metavar": type(default).__name__.upper()}
            parser.add_argument(flag, type=type(default), default=argparse.SUPPRESS, help=text, **choices)


def _train(options: argparse.Namespace) -> None:
    from napari_care_losses.core.jobs import state_path, train_to_file
    from napari_care_losses.core.library import find_model
    from napari_care_losses.core.model import SUFFIX, load_model
    from napari_care_losses.core.patches import pairs_from_frames
    from napari_care_losses.core.tiff import read_tiff
    from napari_care_losses.core.training import DEFAULT_STEPS_PER_EPOCH, Trainer, TrainingParameters

    if options.out.suffix != SUFFIX:
        raise InputError(f"--out must end in {SUFFIX}, found {options.out}.")
    if not options.out.parent.is_dir():
        raise InputError(f"The folder {options.out.parent} does not exist: make it first.")
    if len(options.low) != len(options.high):
        raise InputError(f"Every --low needs its --high, found {len(options.low)} low and {len(options.high)} high.")
    given = vars(options)
    unit = next((unit for unit in ("epochs", "steps", "minutes") if given[unit] is not None), "epochs")
    settings = {name: given[name] for name in TrainingParameters.described() if name in given}
    settings.setdefault("steps_per_epoch", DEFAULT_STEPS_PER_EPOCH[unit])
    amount = 100 if given[unit] is None else given[unit]
    parameters = TrainingParameters(**settings, budget=unit, amount=amount)
    loss = _loss(options)
    start_from = load_model(find_model(options.start_from)) if options.start_from else None
    if start_from is not None and "preset" in given and given["preset"] != start_from.card.preset:
        raise InputError(f"--preset {given['preset']} does not fit --from, a {start_from.card.preset} model.")
    pairs = []
    for low, high in zip(options.low, options.high, strict=True):
        low_frames, high_frames = (_selected(read_tiff(path), options.frames, path) for path in (low, high))
        pairs += pairs_from_frames(low_frames, high_frames, low.stem)
    trainer = Trainer(
        pairs, loss, parameters, structure=options.structure, start_from=start_from, device=options.device
    )
    reports = train_to_file(trainer, options.out, resume=options.resume)
    with _stoppable(reports) as stopped:
        _show_training(reports, stopped)
    if not trainer.is_finished:
        print(f"stopped; {state_path(options.out)} holds the state: --resume goes on")
        raise KeyboardInterrupt
    best = trainer.model().card.training["best_validation_loss"]
    print(f"{options.out}: {trainer.model().card.training['steps']} steps, best validation loss {best:.5g}")


def _loss(options: argparse.Namespace) -> Loss:
    from napari_care_losses.core.losses import LOSSES

    chosen = LOSSES[options.loss]
    every = {name for loss in LOSSES.values() for name in loss.described()}
    given = {name: value for name, value in vars(options).items() if name in every}
    return chosen.from_dict(given)


def _show_training(reports: Iterator[Any], stopped: list[bool]) -> None:
    from tqdm import tqdm

    from napari_care_losses.core.training import Epoch, Step

    layout = "{l_bar}{bar}| {elapsed} {postfix}"
    with tqdm(total=1.0, disable=None, bar_format=layout) as bar:
        for report in reports:
            if isinstance(report, Epoch):
                best = " best" if report.is_best else ""
                tqdm.write(
                    f"epoch {report.epoch} step {report.step} training {report.training_loss:.5f} "
                    f"validation {report.validation_loss:.5f} rate {report.learning_rate:.2e}{best}"
                )
                sys.stdout.flush()
            elif isinstance(report, Step):
                bar.update(report.fraction - bar.n)
                left = tqdm.format_interval(report.seconds_left)
                bar.set_postfix_str(f"step {report.step}, {report.steps_per_second:.2f}/s, {left} left", refresh=False)
            if stopped:
                break


@contextmanager
def _stoppable(work: Generator[Any, Any, Any] | Iterator[Any]) -> Iterator[list[bool]]:
    """Let Ctrl+C end `work` between two steps, so that its state can be saved; pressed again, it ends at once."""
    stopped: list[bool] = []

    def stop(*_: object) -> None:
        stopped.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
        work.close()  # type: ignore[union-attr]


def _restore(options: argparse.Namespace) -> None:
    if not options.out.parent.is_dir():
        raise InputError(f"The folder {options.out.parent} does not exist: make it first.")
    from napari_care_losses.core.library import find_model
    from napari_care_losses.core.tiff import read_tiff

    path = find_model(options.model)
    frames = _selected(read_tiff(options.input), options.frames, options.input)
    from napari_care_losses.core.jobs import restore_to_file
    from napari_care_losses.core.model import load_model
    from napari_care_losses.core.restoration import RestorationParameters

    parameters = RestorationParameters(
        normalization=options.normalization, low_band=options.low_band, tile_size=options.tile_size
    )
    work = restore_to_file(
        frames,
        load_model(path),
        options.out,
        parameters,
        source=options.input,
        scale_out=options.scale_out,
        dtype=options.dtype,
        resume=options.resume,
        device=options.device,
    )
    with _stoppable(work) as stopped:
        clipped = _show_restoring(work, stopped)
    if stopped:
        print("stopped; --resume goes on")
        raise KeyboardInterrupt
    if clipped:
        print(f"{clipped} pixels did not fit {options.dtype} and were clipped")
    print(f"{options.out}: {len(frames)} frames of {frames.frame_shape[0]} x {frames.frame_shape[1]} px")


def _show_restoring(work: Generator[Progress, None, int], stopped: list[bool]) -> int:
    from tqdm import tqdm

    with tqdm(disable=None, unit="tile") as bar:
        while not stopped:
            try:
                progress = next(work)
            except StopIteration as finished:
                return int(finished.value)
            bar.total = progress.total
            bar.update(progress.done - bar.n)
    return 0


def _evaluate(options: argparse.Namespace) -> None:
    from napari_care_losses.core.evaluation import evaluate

    stacks = {
        name: _evaluated(path, options.frames)
        for name, path in (("restored", options.restored), ("truth", options.truth), ("input", options.input))
        if path is not None
    }
    truth = stacks.pop("truth")
    scores = evaluate(stacks, truth, aligned=not options.unaligned)
    if options.json:
        print(json.dumps(_finite(scores)))
        return
    print(f"{'frame':>7}" + "".join(f"{name + ' PSNR':>16}{'SSIM':>9}" for name in stacks))
    rows = [*((str(i), frame) for i, frame in enumerate(scores["frames"])), ("mean", scores["mean"])]
    for label, row in rows:
        print(f"{label:>7}" + "".join(f"{row[name]['psnr']:>16.3f}{row[name]['ssim']:>9.4f}" for name in stacks))
    levels = scores["mean"]["restored"]
    print(f"grey levels, restored against truth: slope {levels['slope']:.3f}, R2 {levels['r2']:.4f} (means)")


def _evaluated(path: Path, selection: tuple[int, int] | None) -> Frames:
    """Return the frames of a file; one with just as many as selected is taken whole."""
    from napari_care_losses.core.tiff import read_tiff

    frames = read_tiff(path)
    if selection is not None and frames.selectable == selection[1] - selection[0]:
        return frames
    return _selected(frames, selection, path)


def _finite(value: Any) -> Any:
    """Replace infinities and NaN, which JSON has no word for, by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _models(options: argparse.Namespace) -> None:
    from napari_care_losses.core.library import library_folder, list_models

    rows = [
        {
            "name": entry.name,
            "structure": entry.card.structure,
            "loss": entry.card.loss,
            "preset": entry.card.preset,
            "bundled": entry.bundled,
            "path": str(entry.path),
        }
        for entry in list_models()
    ]
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        kind = "bundled" if row["bundled"] else "yours"
        print(f"{row['name']:<28}{row['structure']:<14}{row['loss']:<10}{row['preset']:<8}{kind:<9}{row['path']}")
    print(f"your models: {library_folder()}")


def _simulate(options: argparse.Namespace) -> None:
    from napari_care_losses.core.frames import Calibration, Frames
    from napari_care_losses.core.simulation import Microscope, simulate_movie, simulate_pairs
    from napari_care_losses.core.tiff import write_tiff

    simulated = (simulate_movie if options.structure == "dendra" else simulate_pairs)(
        options.structure,
        options.count,
        (options.size, options.size),
        low_ms=options.low_ms,
        high_ms=options.high_ms,
        seed=options.seed,
    )
    try:
        options.out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {options.out} cannot be made: {error.strerror or error}.") from error
    pixel = Microscope().pixel_size
    for name, stack in zip(("low", "high"), simulated, strict=True):
        path = options.out / f"{name}.tif"
        write_tiff(path, Frames(stack, "TYX", Calibration(pixel_size=(pixel, pixel))))
        print(path)


def _demo(options: argparse.Namespace) -> None:
    from napari_care_losses.demo import run_demo

    run_demo(options.out, opens_viewer=not options.no_viewer)


def _selection(text: str) -> tuple[int, int]:
    try:
        start, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B, two whole numbers such as 0:60, found {text!r}") from None
    return start, stop


def _selected(frames: Frames, selection: tuple[int, int] | None, path: Path) -> Frames:
    if selection is None:
        return frames
    try:
        return frames.select(*selection)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
