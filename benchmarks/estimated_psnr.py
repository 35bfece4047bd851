"""Compare the PSNR that is estimated without a ground truth with the true one, and the models that it picks.

    python benchmarks/estimated_psnr.py FOLDER [EVERY]

FOLDER holds pairs as for ``baselines.py``, of which every EVERYth frame is taken (1); two simulated pairs of every
structure are added. The tables go into ``docs/explanation/estimated_psnr.md``, the plot beside it.
"""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from baselines import sets
from page import write_part

from napari_care_losses.comparison.report.svg_plots import COLOURS, Axis, PlotLine, plot
from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.truth_limit import TruthLimit, truth_limit
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.library import list_models
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.ranges import estimate_ranges
from napari_care_losses.restoration.restore_stack import RestorationParameters
from napari_care_losses.restoration.window_psnr import LARGEST_WINDOW, SMALL_WINDOW, PsnrWindow
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.simulation.varied_pairs import simulate_varied_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_care_losses.evaluation.without_truth.estimated_psnr import EstimatedPsnr
    from napari_care_losses.models.model import Model

    Pairs = list[tuple[NDArray[Any], NDArray[Any]]]

SIMULATED, SIZE, SEED = 2, 384, 80_000
SHOWN = "fft-lite"
CROSS = 0.1
"""Half the width of a point of the plot, in dB."""
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "estimated_psnr.md"
PLOT = PAGE.parents[1] / "images" / "estimated_psnr.svg"
PARAMETERS = RestorationParameters()


class Judged(NamedTuple):
    """What is estimated of models on a window of a frame, and what is true."""

    estimates: list[EstimatedPsnr]
    true: NDArray[np.float64]
    limit: TruthLimit
    """What a noiseless input would have."""

    def against_truth(self, psnr: ArrayLike) -> NDArray[np.float64]:
        """Return what PSNRs of restorations become by the difference between input and ground truth."""
        return -10 * np.log10(_error(psnr) + _error(self.limit.psnr))

    @property
    def without_limit(self) -> NDArray[np.float64]:
        """What the true PSNRs would be if input and ground truth differed in noise alone."""
        error = _error(self.true)
        return -10 * np.log10(np.maximum(error - _error(self.limit.psnr), error / 10))


def main(folder: str, every: str = "1") -> None:
    """Estimate for every pair; write the tables and draw the plot."""
    loaded = {entry.name: load_model(entry.path) for entry in list_models() if entry.bundled}
    # the pairs are single frames
    models = {name: model for name, model in loaded.items() if not model.card.architecture.neighbours}
    of_shown, of_library, points = [], [], {}
    for name, pairs in [*sets(Path(folder), every_frame=True), *_simulated()]:
        chosen = pairs[:: int(every)] if len(pairs) > SIMULATED else pairs
        shown = [_judged(*pair, {SHOWN: models[SHOWN]}, LARGEST_WINDOW, 2) for pair in chosen]
        library = [_judged(*pair, models, SMALL_WINDOW, 1) for pair in chosen]
        points[name] = [found for found in (*shown, *library) if found is not None]
        of_shown.append(_row_of_shown(name, shown))
        of_library.append(_row_of_library(name, library))
        print(of_shown[-1], of_library[-1], sep="\n", flush=True)
    head = "| images | frames | estimated | mean difference (dB) | within 1 dB | a noiseless input would have (dB) "
    head += "| mean difference, counting that | within 1 dB | intervals that hold |"
    write_part("shown", "\n".join([head, "|---" * 9 + "|", *of_shown]), PAGE)
    head = "| images | estimated | the model picked is behind the best (dB) | at most | a model picked by chance | "
    head += "pairs in the right order | intervals of the difference that hold |"
    write_part("library", "\n".join([head, "|---" * 7 + "|", *of_library]), PAGE)
    _draw(points)


def _judged(low: NDArray[Any], high: NDArray[Any], models: dict[str, Model], size: int, probes: int) -> Judged | None:
    """Restore a window by every model; None where nothing can be estimated."""
    frames = Frames(low)
    model = next(iter(models.values()))
    ranges = finish(estimate_ranges(frames, PARAMETERS, model.card.normalization))
    try:
        window = PsnrWindow(frames, 0, PARAMETERS, ranges, size=size, probes=probes)
    except InputError as error:
        print(error, file=sys.stderr)
        return None
    treatments = [choose_treatment(frames, each.card, PARAMETERS) for each in models.values()]
    measured = [
        window.measure(each, PARAMETERS, ranges, treatment)
        for each, treatment in zip(models.values(), treatments, strict=True)
    ]
    truth = high[window.region.slices]
    true = np.array([score(each.restored, truth)["psnr"] for each in measured])
    limit = truth_limit(window.image, truth)
    return Judged(window.estimator.estimates([*measured, window.estimator.plain_blur()])[:-1], true, limit)


def _row_of_shown(name: str, judged: list[Judged | None]) -> str:
    found = [each for each in judged if each is not None]
    cells = [name, str(len(judged)), str(len(found)), *"------"]
    if found:
        gaps = np.array([each.estimates[0].psnr - each.true[0] for each in found])
        counted = np.array([each.against_truth(each.estimates[0].psnr) - each.true[0] for each in found])
        limit = -10 * np.log10(np.mean([_error(each.limit.psnr) for each in found]))
        cells[3:] = f"{gaps.mean():+.2f}", f"{np.mean(np.abs(gaps) < 1):.0%}", f"{limit:.1f}"
        cells += (
            f"{counted.mean():+.2f}",
            f"{np.mean(np.abs(counted) < 1):.0%}",
            f"{np.mean([_holds(e) for e in found]):.0%}",
        )
    return f"| {' | '.join(cells)} |"


def _holds(judged: Judged) -> bool:
    psnr, uncertainty, *_ = judged.estimates[0]
    least, most = judged.against_truth([psnr - uncertainty, psnr + uncertainty])
    return bool(least <= judged.true[0] <= most)


def _row_of_library(name: str, judged: list[Judged | None]) -> str:
    found = [each for each in judged if each is not None]
    cells = [name, str(len(found)), *"-----"]
    if found:
        picked = [int(np.argmax([one.psnr for one in each.estimates])) for each in found]
        behind = [each.true.max() - each.true[place] for each, place in zip(found, picked, strict=True)]
        by_chance = [each.true.max() - each.true.mean() for each in found]
        right = [
            (each.true[one] < each.true[other]) == (each.estimates[one].psnr < each.estimates[other].psnr)
            for each in found
            for one, other in combinations(range(len(each.true)), 2)
        ]
        holds = [
            abs(each.without_limit[place] - true - (one.behind - each.estimates[place].behind))
            <= one.behind_uncertainty
            for each, place in zip(found, picked, strict=True)
            for one, true in zip(each.estimates, each.without_limit, strict=True)
            if one is not each.estimates[place]
        ]
        cells[2:] = f"{np.mean(behind):.2f}", f"{max(behind):.2f}", f"{np.mean(by_chance):.2f}", f"{np.mean(right):.0%}"
        cells.append(f"{np.mean(holds):.0%}")
    return f"| {' | '.join(cells)} |"


def _error(psnr: ArrayLike) -> NDArray[np.float64]:
    return 10 ** (-np.asarray(psnr, np.float64) / 10)


def _simulated() -> Iterator[tuple[str, Pairs]]:
    for place, name in enumerate(STRUCTURES):
        seeds = range(SEED + 100 * place, SEED + 100 * place + SIMULATED)
        drawn = [simulate_varied_pair(name, (SIZE, SIZE), seed=seed, most_correlation=0.0) for seed in seeds]
        yield f"simulated {name}", drawn


def _draw(points: dict[str, list[Judged]]) -> None:
    """Draw a cross for each estimate, a line to what the ground truth lets it be, and where both are equal."""
    groups: dict[str, list[Judged]] = {}
    for name, found in points.items():
        groups.setdefault(name.split(",")[0].split()[0], []).extend(found)
    curves, drops, ends = [], [], []
    for (name, found), colour in zip(groups.items(), COLOURS, strict=False):
        if found:
            true = np.concatenate([each.true for each in found])
            estimated = np.array([one.psnr for each in found for one in each.estimates])
            counted = np.concatenate([each.against_truth([one.psnr for one in each.estimates]) for each in found])
            curves.append(PlotLine(name, *_crosses(true, estimated), colour))
            down = np.stack([estimated, counted, np.full_like(true, np.nan)], axis=1).ravel()
            drops.append(PlotLine("", np.repeat(true, 3), down, colour, "1 2"))
            ends += [true.min(), true.max()]
    line = np.array([min(ends), max(ends)])
    equal = [PlotLine("equal", line, line, "#777"), *(PlotLine("", line, line + by, "#777", "3 3") for by in (-1, 1))]
    drawn = plot([*equal, *drops, *curves], Axis("True PSNR (dB)"), Axis("Estimated PSNR (dB)"))
    names = [
        f'<text x="80" y="{28 + 16 * place}" fill="{curve.colour}">{curve.name}</text>'
        for place, curve in enumerate(curves)
    ]
    drawn = drawn.replace("<svg ", '<svg style="background:white" ', 1).replace("</svg>", f"{''.join(names)}</svg>")
    PLOT.write_text(drawn + "\n", encoding="utf-8")


def _crosses(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    none = np.full_like(x, np.nan)
    across = np.stack([x - CROSS, x + CROSS, none, x, x, none], axis=1)
    return across.ravel(), np.stack([y, y, none, y - CROSS, y + CROSS, none], axis=1).ravel()


if __name__ == "__main__":
    main(*sys.argv[1:])
