"""Make the figures of docs/explanation/simulation.md: simulated images beside real ones.

    python docs/make_simulation_figure.py [FOLDER]

FOLDER holds ``w2s/`` and ``high_low/``. Without it only the simulated images are drawn again. Curves of real images go
into the figures, the images themselves only into ``build/simulated_beside_real.png``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_care_losses.comparison.report.panels import save_panels
from napari_care_losses.comparison.report.svg_plots import COLOURS, Axis, PlotLine, plot
from napari_care_losses.evaluation.spectra import radial_power
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, simulate_pairs
from napari_care_losses.simulation.varied_pairs import simulate_varied_pair

IMAGES = Path(__file__).parent / "images"
SEED, FIELDS, SIZE, CROP = 700, 12, 512, 256
HIGH_LOW = {"actin": "actin-20x-noise1", "mitochondria": "mito-60x-noise1"}
LEVELS = np.linspace(-0.1, 1.1, 61)

Image = NDArray[np.generic]
Pairs = list[tuple[Image, Image]]


def main() -> None:
    """Draw everything."""
    simulated = {f"simulated {name}": _simulated(name) for name in STRUCTURES}
    shown = {
        f"{name}, {which}": pairs[0][side][:CROP, :CROP]
        for name, pairs in simulated.items()
        for side, which in ((0, "short"), (1, "long"))
    }
    save_panels(IMAGES / "simulation.png", shown, columns=6)
    varied = {
        f"{name}, {which}": image[:CROP, :CROP]
        for index, name in enumerate(STRUCTURES)
        for which, image in zip(
            ("noisy", "noise-free"), simulate_varied_pair(name, (SIZE, SIZE), seed=index), strict=True
        )
    }
    save_panels(IMAGES / "simulation_varied.png", varied, columns=6)
    if len(sys.argv) < 2:
        return
    folder = Path(sys.argv[1])
    real = {label: pairs for name in HIGH_LOW for label, pairs in _real(folder, name)}
    beside = {
        f"{label}, {which}": pairs[len(pairs) // 2][side][-CROP:, :CROP]
        for label, pairs in {**real, **simulated}.items()
        if any(name in label for name in HIGH_LOW)
        for side, which in ((0, "short"), (1, "long"))
    }
    save_panels(Path("build/simulated_beside_real.png"), beside, columns=4)
    for structure in HIGH_LOW:
        sets = {label: pairs for label, pairs in {**simulated, **real}.items() if structure in label}
        _draw(structure, sets)


def _simulated(structure: str) -> Pairs:
    low, high = simulate_pairs(structure, FIELDS, (SIZE, SIZE), seed=SEED)
    return list(zip(low, high, strict=True))


def _real(folder: Path, structure: str) -> Iterator[tuple[str, Pairs]]:
    low, high = (read_stack(folder / "w2s" / f"{structure}_{which}.tif") for which in ("low", "high"))
    yield f"W2S {structure}", [(low[i], high[i]) for i in range(0, 60, 5)]
    low, high = (read_stack(folder / "high_low" / f"{HIGH_LOW[structure]}_{which}.tif") for which in ("low", "high"))
    windows = [(slice(y, y + SIZE), slice(x, x + SIZE)) for y in range(256, 1537, SIZE) for x in range(256, 1537, SIZE)]
    lit = [
        w
        for w in windows
        if np.ptp(np.percentile(high[0][w], [2, 99.8])) > 0.25 * np.ptp(np.percentile(high[0], [2, 99.8]))
    ]
    yield f"High Low {structure}", [(low[0][w], high[0][w]) for w in lit]


def _draw(structure: str, sets: dict[str, Pairs]) -> None:
    spectra, histograms, noise = [], [], []
    for (label, pairs), colour in zip(sets.items(), COLOURS, strict=False):
        powers = [radial_power(_ranged(high)) for _, high in pairs]
        frequency = powers[0][0]
        mean = np.exp(np.mean([np.log(np.maximum(power, 1e-12)) for _, power in powers], axis=0))
        spectra.append(PlotLine(label, frequency[1:], mean[1:], colour))
        counts = np.mean([np.histogram(_ranged(high), LEVELS)[0] / high.size for _, high in pairs], axis=0)
        histograms.append(PlotLine(label, (LEVELS[1:] + LEVELS[:-1]) / 2, np.maximum(counts, 1e-5), colour))
        noise.append(PlotLine(label, *_noise(pairs), colour))
    for name, curves, x, y in (
        ("spectrum", spectra, Axis("frequency (cycles/px)"), Axis("power of the long exposure", is_logarithmic=True)),
        ("histogram", histograms, Axis("grey level of its range"), Axis("share of the pixels", is_logarithmic=True)),
        ("noise", noise, Axis("signal (of the short exposure's range)"), Axis("standard deviation of the noise")),
    ):
        _save(IMAGES / f"simulation_{structure}_{name}.svg", curves, x, y)


def _save(path: Path, curves: list[PlotLine], x: Axis, y: Axis) -> None:
    top = 30 if y.is_logarithmic else 230
    names = "".join(
        f'<text x="620" y="{top + 17 * i}" text-anchor="end" fill="{curve.colour}">{curve.name}</text>'
        for i, curve in enumerate(curves)
    )
    drawn = plot(curves, x, y).replace("<svg ", '<svg style="background:white" ', 1)
    path.write_text(drawn.replace("</svg>", f"{names}</svg>"), encoding="utf-8")


def _ranged(image: Image) -> NDArray[np.float64]:
    low, high = np.percentile(image, [2, 99.8])
    return (np.asarray(image, np.float64) - low) / (high - low)


def _noise(pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the noise of the short exposures, against the signal, both in units of their range."""
    signal, noise = [], []
    for low, high in pairs:
        start, stop = np.percentile(low, [2, 99.8])
        gain, offset = np.polyfit(np.asarray(high, np.float64).ravel(), np.asarray(low, np.float64).ravel(), 1)
        clean = (gain * high.astype(np.float64) + offset - start) / (stop - start)
        signal.append(clean.ravel())
        noise.append(((low - start) / (stop - start) - clean).ravel())
    levels, deviations = np.concatenate(signal), np.concatenate(noise)
    bins = np.linspace(0, 0.9, 19)
    which = np.digitize(levels, bins) - 1
    middle = (bins[1:] + bins[:-1]) / 2
    spread = [deviations[which == i].std() if (which == i).sum() > 500 else np.nan for i in range(len(middle))]
    return middle, np.array(spread)


if __name__ == "__main__":
    main()
