"""The commands for the model library: ``models``, ``import``, ``export``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_care_losses.cli.common import path_option, run_with_bar
from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    import argparse

    from napari_care_losses.errors import ForeignProgram
    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
    from napari_care_losses.restoration.rank_models import RankedModel


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--for",
        type=path_option,
        dest="image",
        metavar="IMAGE",
        help="Estimate the PSNR that each model restores this image with (of a stack, the middle frame); the best "
        "comes first.",
    )
    parser.add_argument("--json", action="store_true", help="Print a JSON list.")


def run_models(options: argparse.Namespace) -> None:
    """List the library; for an image sorted by the estimated PSNR of each model."""
    from napari_care_losses.models.library import list_models
    from napari_care_losses.models.user_folder import library_folder

    entries = list_models()
    found: dict[str, RankedModel] = {}
    if options.image is not None:
        from napari_care_losses.io.stacks import read_stack
        from napari_care_losses.restoration.rank_models import rank_models

        frames = read_stack(options.image)
        ranked, _ = run_with_bar(rank_models(frames, len(frames) // 2, entries), "model")
        entries, found = [each.entry for each in ranked], {each.entry.name: each for each in ranked}
    rows: list[dict[str, Any]] = []
    for entry in entries:
        card = {name: getattr(entry.card, name) for name in ("loss", "preset", "structure", "target")}
        card["neighbours"] = entry.card.architecture.neighbours
        found_intervals = entry.card.intervals
        card["intervals"] = None if found_intervals is None else found_intervals.to_dict()
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
        holds = "" if row["intervals"] is None else f"intervals ({row['intervals']['images']} images)"
        line = f"{row['name']:<28}{row['loss']:<10}{row['preset']:<8}{kind:<9}{target:<6}{shows:<14}{holds:<24}"
        if found:
            line += f"{_psnr_text(found[row['name']].estimate):<48}"
        print(f"{line}{row['path']}")
    for reason in dict.fromkeys(each.reason for each in found.values() if each.reason):
        print(reason)
    print(f"your models: {library_folder()}")


def _estimated(ranked: RankedModel) -> dict[str, Any]:
    """Return an estimate, or why there is none, as plain values."""
    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr

    found = ranked.estimate
    values = dict.fromkeys(EstimatedPsnr._fields) if found is None else found._asdict()
    rounded = {name: None if value is None else round(value, 2) for name, value in values.items()}
    return {"estimated_psnr": rounded.pop("psnr"), **rounded, "reason": ranked.reason or None}


def _psnr_text(estimate: EstimatedPsnr | None) -> str:
    if estimate is None:
        return "not known"
    behind = f", {estimate.behind:.1f} behind the best" if estimate.behind else ""
    return f"{estimate.psnr:.1f} dB ({estimate.interval(1)}{behind})"


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
