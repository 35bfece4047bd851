"""The commands for the model library: ``models``, ``import``, ``export``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_care_losses.cli.common import path_option, run_with_bar
from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import CareError, InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from napari_care_losses.errors import ForeignProgram
    from napari_care_losses.evaluation.estimated_psnr import EstimatedPsnr
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.models.library import LibraryEntry


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--for",
        type=path_option,
        dest="image",
        metavar="IMAGE",
        help="Estimate the PSNR that each model restores this image with (of a stack, the middle frame); those that "
        "may be the best come first.",
    )
    parser.add_argument("--json", action="store_true", help="Print a JSON list.")


class _Tried(NamedTuple):
    """What came of a model, and of how many in all."""

    done: int
    total: int


def run_models(options: argparse.Namespace) -> None:
    """List the library; for an image with the estimated PSNR of each model."""
    from napari_care_losses.models.library import list_models
    from napari_care_losses.models.user_folder import library_folder

    entries = list_models()
    found: dict[str, EstimatedPsnr | str] = {}
    if options.image is not None:
        from napari_care_losses.io.stacks import read_stack

        found, _ = run_with_bar(_estimates(read_stack(options.image), entries), "model")
        entries = _sorted(entries, found)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        card = {name: getattr(entry.card, name) for name in ("loss", "preset", "structure", "target")}
        rows.append({"name": entry.name, **card, "bundled": entry.bundled, "path": str(entry.path)})
        if found:
            rows[-1] |= _estimated(found[entry.name])
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        kind = "bundled" if row["bundled"] else "yours"
        shows = "" if row["structure"] == "other" else row["structure"]
        target = "" if row["target"] == "clean" else row["target"]
        line = f"{row['name']:<28}{row['loss']:<10}{row['preset']:<8}{kind:<9}{target:<6}{shows:<14}"
        if found:
            line += f"{_psnr_text(found[row['name']]):<26}"
        print(f"{line}{row['path']}")
    for reason in dict.fromkeys(estimate for estimate in found.values() if isinstance(estimate, str)):
        print(reason)
    print(f"your models: {library_folder()}")


def _sorted(entries: list[LibraryEntry], found: dict[str, EstimatedPsnr | str]) -> list[LibraryEntry]:
    """Put the models first that may be the best, in the order that they have; those without an estimate come last."""
    known = {name: estimate for name, estimate in found.items() if not isinstance(estimate, str)}
    best = max((estimate.least for estimate in known.values()), default=-math.inf)

    def place(entry: LibraryEntry) -> tuple[int, float]:
        estimate = known.get(entry.name)
        if estimate is None:
            return 2, 0
        return (0, 0) if estimate.most >= best else (1, -estimate.psnr)

    return sorted(entries, key=place)


def _estimates(frames: Frames, entries: list[LibraryEntry]) -> Generator[_Tried, None, dict[str, EstimatedPsnr | str]]:
    """Estimate the PSNR of the middle frame restored by every model; or say why it cannot be estimated."""
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.correlated_noise import choose_treatment
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.restoration.ranges import estimate_ranges
    from napari_care_losses.restoration.window_psnr import SMALL_WINDOW, estimate_window_psnr

    found: dict[str, EstimatedPsnr | str] = {}
    parameters, index = RestorationParameters(), len(frames) // 2
    for done, entry in enumerate(entries, 1):
        try:
            model = load_model(entry.path)
            ranges = finish(estimate_ranges(frames, parameters, model.card.normalization))
            treatment = choose_treatment(frames, model.card, parameters)
            # the same pixels for all models
            found[entry.name] = estimate_window_psnr(
                frames, index, model, parameters, ranges, treatment, size=SMALL_WINDOW
            )
        except CareError as error:
            found[entry.name] = str(error)
        yield _Tried(done, len(entries))
    return found


def _estimated(estimate: EstimatedPsnr | str) -> dict[str, Any]:
    """Return an estimate, or why there is none, as plain values."""
    if isinstance(estimate, str):
        return {"estimated_psnr": None, "uncertainty": None, "reason": estimate}
    half = (estimate.most - estimate.least) / 2
    uncertainty = round(half, 2) if math.isfinite(half) else None
    return {"estimated_psnr": round(estimate.psnr, 2), "uncertainty": uncertainty, "reason": None}


def _psnr_text(estimate: EstimatedPsnr | str) -> str:
    return "not known" if isinstance(estimate, str) else f"{estimate.psnr:.1f} dB ({estimate.interval(1)})"


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from napari_care_losses.models.model import STRUCTURE_NAMES
    from napari_care_losses.restoration.parameters import RestorationParameters

    parser.add_argument(
        "path",
        type=path_option,
        metavar="PATH",
        help="A CSBDeep model folder, a zip archive of it, or a package for bioimage.io.",
    )
    parser.add_argument("--name", required=True, help="What the library is to call it.")
    parser.add_argument(
        "--run-its-code",
        action="store_true",
        help="Run the package's TorchScript program, now and when restoring: code of its authors, with your rights.",
    )
    parser.add_argument("--structure", choices=STRUCTURE_NAMES, help="What the images show (other).")
    for name in ("low_percentile", "high_percentile"):
        info = RestorationParameters.described()[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            metavar="PERCENT",
            help=f"{info.help} (default: as the model says, else CARE's).".replace("%", "%%"),
        )


def run_import(options: argparse.Namespace) -> None:
    """Add a foreign model to the library."""
    from napari_care_losses.errors import UnagreedProgramError
    from napari_care_losses.interchange.import_model import ImportParameters, import_model
    from napari_care_losses.models.model import NOTE, read_card

    def agrees(program: ForeignProgram) -> bool:
        if options.run_its_code:
            print(program)
        return bool(options.run_its_code)

    try:
        parameters = ImportParameters(
            structure=options.structure,
            low_percentile=options.low_percentile,
            high_percentile=options.high_percentile,
        )
        made = import_model(options.path, options.name, parameters, agrees=agrees)
    except UnagreedProgramError as error:
        raise InputError(
            f"{error.program} Nothing of it has been run. If you trust its authors, repeat the command with "
            "--run-its-code."
        ) from error
    card = read_card(made)
    shows = "" if card.structure == "other" else f"{card.structure}, "
    print(f"{made.stem}: {shows}{card.loss} loss, {card.preset} network; {made}")
    if note := card.training.get(NOTE):
        print(note)


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("model", metavar="MODEL", help="A model file, or a name in the library.")
    parser.add_argument("--out", type=path_option, required=True, metavar="PACKAGE.zip", help="The package to make.")
    parser.add_argument("--author", action="append", metavar="NAME", help="Who made the model; may be given again.")
    parser.add_argument("--license", metavar="SPDX", help="The licence of the weights, such as CC-BY-4.0.")


def run_export(options: argparse.Namespace) -> None:
    """Pack a model for other tools."""
    from napari_care_losses.interchange.bioimageio.export import export_bioimageio
    from napari_care_losses.io.whole_files import check_folder
    from napari_care_losses.models.library import find_model, makers_of
    from napari_care_losses.models.model import load_model

    if options.out.suffix != ".zip":
        raise InputError(f"--out must end in .zip, found {options.out}.")
    check_folder(options.out)
    path = find_model(options.model)
    author, usual_license = makers_of(path)
    authors, license = options.author or [author], options.license or usual_license
    export_bioimageio(load_model(path), options.out, name=path.stem, authors=authors, license=license)
    print(f"{options.out}: by {', '.join(authors)}, licence {license}")
