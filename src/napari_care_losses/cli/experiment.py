"""The command ``experiment``: the paper's experiments, and one's own, from pairs to report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.cli.common import (
    add_restoration_parameters,
    add_training_parameters,
    given_parameters,
    path_option,
    stoppable,
)
from napari_care_losses.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from napari_care_losses.experiments.entries import Experiment
    from napari_care_losses.experiments.results import Result

SIMULATED = "simulated"

BUDGET = "800 steps"
SMOKE = {"preset": "lite", "budget": "steps", "amount": 20.0, "steps_per_epoch": 10, "validation_patches": 16}

_UNITS = {"step": "steps", "minute": "minutes", "min": "minutes", "epoch": "epochs"}


def parse_budget(text: str) -> tuple[str, float]:
    """Return kind and amount of a budget such as "800 steps", "7min" or "100 epochs"; an `InputError` if it is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*?)s?\s*", text.lower())
    if found is None or (found[2] and found[2] not in _UNITS):
        raise InputError(f"--budget must be steps, minutes or epochs, such as '800 steps' or '7 min'; found {text!r}.")
    return _UNITS[found[2] or "step"], float(found[1])


def add_experiment_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from napari_care_losses.losses.registry import LOSSES
    from napari_care_losses.restoration.parameters import DEVICES

    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="MM, AA, MA, AM, DDS, AAS, AAE, patch-size, losses, lowest-light; all."
    )
    parser.add_argument(
        "--out", type=path_option, required=True, help="Folder of the run; the same command continues in it."
    )
    parser.add_argument(
        "--source",
        default=SIMULATED,
        metavar="FOLDER",
        help="A folder with STRUCTURE_low.tif and STRUCTURE_high.tif in place of simulated images.",
    )
    parser.add_argument("--file", type=path_option, metavar="TOML", help="Entries of your own in place of the paper's.")
    parser.add_argument(
        "--budget",
        dest="run_budget",
        default=BUDGET,
        help=f"Of every training, in steps, minutes or epochs ({BUDGET}).",
    )
    parser.add_argument("--losses", nargs="+", choices=tuple(LOSSES), help="Only methods trained with these losses.")
    parser.add_argument("--smoke", action="store_true", help="A few small images, just to see that all of it runs.")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="Where to compute (auto).")
    # which networks are given neighbouring frames is what the entries compare
    add_training_parameters(parser, recipe="paper", recipe_default="paper", skipped=("neighbours", "neighbours_along"))
    add_restoration_parameters(parser)


def run_experiment(options: argparse.Namespace) -> None:
    """Run experiments one after the other, each to its report, and write the overview."""
    from tqdm import tqdm

    from napari_care_losses.compute.steps import Steps
    from napari_care_losses.experiments.overview import write_overview
    from napari_care_losses.experiments.runner import run_experiment as run
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.training.parameters import DEFAULT_STEPS_PER_EPOCH, RECIPES, TrainingParameters

    experiments = _chosen(options)
    kind, amount = parse_budget(options.run_budget)
    settings: dict[str, Any] = {"budget": kind, "amount": amount, "steps_per_epoch": DEFAULT_STEPS_PER_EPOCH[kind]}
    settings |= RECIPES[options.recipe] | (SMOKE if options.smoke else {})
    training = TrainingParameters(**settings | given_parameters(options, TrainingParameters))
    restoring = RestorationParameters(**given_parameters(options, RestorationParameters))
    for experiment in experiments:
        work = run(experiment, options.out, training, restoring, device=options.device)
        steps = Steps(work)
        layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}"
        with stoppable(work) as stopped, tqdm(total=1.0, disable=None, bar_format=layout) as bar:
            doing = ""
            for step in steps:
                if step.what != doing:
                    doing = step.what
                    tqdm.write(f"{experiment.name}: {doing}")
                    bar.reset(total=1.0)
                    bar.set_description_str(f"{experiment.name}: {doing}"[:60])
                bar.update(max(0.0, min(1.0, step.fraction) - bar.n))
                if stopped:
                    print(f"stopped: repeat the command to continue in {options.out}")
                    raise KeyboardInterrupt
        for result in steps.result:
            _print(result)
    print(write_overview(options.out))


def _chosen(options: argparse.Namespace) -> list[Experiment]:
    from napari_care_losses.experiments.entries import paper_experiments, read_experiments

    known = paper_experiments() if options.file is None else read_experiments(options.file)
    names = list(known) if options.names == ["all"] else options.names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"There is no experiment {unknown[0]!r}; choose from {', '.join(known)}, or all.")
    experiments = [known[name] for name in names]
    if options.source != SIMULATED:
        experiments = [experiment.on_files(Path(options.source)) for experiment in experiments]
    experiments = [experiment.smoke() for experiment in experiments] if options.smoke else experiments
    return [_only(experiment, options.losses) for experiment in experiments] if options.losses else experiments


def _only(experiment: Experiment, losses: Sequence[str]) -> Experiment:
    """Return an experiment with those of its methods that were trained with some losses."""
    methods = tuple(method for method in experiment.methods if method.loss.name in losses)
    if not methods:
        has = ", ".join(dict.fromkeys(method.loss.name for method in experiment.methods))
        raise InputError(f"{experiment.name} trains no network with {', '.join(losses)}: it has {has}.")
    names = [method.name for method in methods]
    reference = experiment.reference if experiment.reference in names else names[0]
    return replace(experiment, methods=methods, reference=reference)


def _print(result: Result) -> None:
    rows = {(row.method, row.metric): row for row in result.rows()}
    print(f"{result.name}{' (smoke)' if result.shortfalls else ''}: {result.title}")
    print(f"{'':<24}{'PSNR':>8}{'SSIM':>8}{'FRC':>8}{'p PSNR':>10}{'p SSIM':>10}")
    for method in result.methods:
        psnr, ssim = rows[method, "psnr"], rows[method, "ssim"]
        frc = rows.get((method, "frc"))
        line = f"{method:<24}{psnr.mean:>8.3f}{ssim.mean:>8.4f}{'' if frc is None else f'{frc.mean:.4f}':>8}"
        print(line + "".join("" if row.p_value != row.p_value else f"{row.p_value:>10.2g}" for row in (psnr, ssim)))
