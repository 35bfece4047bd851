"""Restoring one large frame, from array to array: ours, CSBDeep's and CAREamics'; a stream of small frames."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from context import multiply_adds
from rows import CAREAMICS, CSBDEEP, Row, compared, rate, summary

from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.library import find_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from context import Context
    from workers.wire import Worker

TITLE = "Restoring a frame"

TILES = 4
"""CSBDeep's tiles a side: 16 in all."""
SMALLEST_TILE = 64
"""Least width of CAREamics' tiles, which overlap by 48 px."""
SMALL = ("lite", "live")
"""The networks for streams."""
LEAST_IN_8_BITS = 1.8
"""How many times as fast as in float32 a network is to be in 8-bit integers."""
AGREED = 1e-3
"""Largest difference of both restorations of one image, in units of its normalised range."""


def measure(context: Context) -> dict[str, Any]:
    """Let everyone restore the same frame in turns."""
    settings = context.settings
    image, stream = context.image(settings.frame), context.image(settings.stream_width)
    models = {preset: context.random_model(preset) for preset in ("care", *SMALL)}
    # what stays in float32 depends on the weights
    trained = {preset: find_model(f"fft-{preset}") for preset in models}
    results: dict[str, Any] = {"width": settings.frame, "stream_width": settings.stream_width, "times": {}}
    with ExitStack() as stack:
        ours = stack.enter_context(context.worker("ours"))
        results["engines"] = engines = ours.ask("engines")["engines"]
        turns: dict[str, tuple[int, Callable[[], dict[str, float]]]] = {}

        def add(name: str, rounds: int, worker: Worker, command: str, **values: Any) -> None:
            turns[name] = rounds, lambda: worker.ask(command, **values)

        def model_for(preset: str, engine: str) -> Path:
            return trained[preset] if engine == "openvino-int8" else models[preset]

        def add_ours(preset: str, engine: str) -> None:
            # Where a faster float32 engine is there, torch is only reported.
            rounds = settings.slow_rounds if engine == "torch" and len(engines) > 1 else settings.rounds
            add(
                f"{preset} {engine}",
                rounds,
                ours,
                "predict",
                model=model_for(preset, engine),
                engine=engine,
                image=image,
            )

        for engine in engines:
            add_ours("care", engine)
        if context.has("csbdeep"):
            csbdeep = stack.enter_context(context.worker("csbdeep"))
            csbdeep.ask("open_model", weights=models["care"].with_suffix(".npz"))
            results["difference"] = _difference(context, ours, csbdeep, models["care"], engines)
            add("csbdeep whole", settings.rounds, csbdeep, "predict", image=image, tiles=1)
            add("csbdeep tiled", settings.rounds, csbdeep, "predict", image=image, tiles=TILES)
        if context.has("careamics"):
            careamics = stack.enter_context(context.worker("careamics"))
            results["careamics"] = careamics.ask("open_model")
            careamics.ask("predict", image=context.image(256), tile=None)
            tile = max(settings.frame // TILES, SMALLEST_TILE)
            add("careamics whole", settings.slow_rounds, careamics, "predict", image=image, tile=None)
            add("careamics tiled", settings.slow_rounds, careamics, "predict", image=image, tile=tile)
        for preset, engine in itertools.product(SMALL, engines):
            add_ours(preset, engine)
            model, frames = model_for(preset, engine), settings.stream_frames
            values = {"model": model, "engine": engine, "image": stream, "frames": frames}
            add(f"{preset} stream {engine}", settings.rounds, ours, "predict", **values)
        _warm_up(context, ours, models, engines)
        results["matmul"] = []
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
        for turn in range(settings.rounds):
            results["matmul"].append(ours.ask("matmul", **context.matmul))
            for name, (rounds, take) in turns.items():
                if turn < rounds:
                    answers[name].append(take())
    for name, taken in answers.items():
        if "further" in taken[0]:
            results["times"][name] = summary([answer["further"] for answer in taken])
            results["times"][f"{name} first"] = summary([answer["first"] for answer in taken])
        else:
            results["times"][name] = summary([answer["seconds"] for answer in taken])
    return results


def _warm_up(context: Context, ours: Worker, models: dict[str, Path], engines: list[str]) -> None:
    """Let our libraries be loaded before anyone is timed."""
    small = context.image(256)
    for engine in engines:
        for model in models.values():
            ours.ask("predict", model=model, engine=engine, image=small)


def _difference(
    context: Context, ours: Worker, csbdeep: Worker, model: Path, engines: list[str]
) -> dict[str, dict[str, float]]:
    """Return how far our restoration of an image is from CSBDeep's, in units of the image's normalised range."""
    image, theirs = context.image(256), context.work / "csbdeep.npy"
    csbdeep.ask("predict", image=image, tiles=1, out=theirs)
    expected = np.load(theirs)
    low, high = np.percentile(np.load(image), [2, 99.8])
    differences = {}
    for engine in engines:
        out = context.work / "ours.npy"
        ours.ask("predict_to", model=model, engine=engine, image=image, out=out)
        difference = np.abs(np.load(out) - expected) / (high - low)
        differences[engine] = {"largest": float(difference.max()), "mean": float(difference.mean())}
    return differences


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    times, engines = results["times"], results["engines"]
    matmul = max(matmul, *(rate for measured in results["matmul"] for rate in measured.values()))
    width = results["width"]
    pixels = width**2 / 1e6
    exact = "openvino" if "openvino" in engines else "torch"
    ours, lite, live = (times[f"{preset} {exact}"] for preset in ("care", *SMALL))
    fast = "openvino-int8" if "openvino-int8" in engines else None

    def speed(name: str) -> str:
        return rate(times[name], pixels, "Mpx/s")

    frame = f"{width} x {width} frame"
    lines = []
    for name, least in (("csbdeep whole", 0.95), ("csbdeep tiled", 1.8)):
        if name in times:
            how = "whole" if name == "csbdeep whole" else f"in {TILES**2} tiles"
            what = f"care, float32, {frame}; CSBDeep {how}, same weights"
            peer = f"{CSBDEEP} {speed(name)}"
            shown = {"least": least, "profile": f"care {exact}"}
            lines.append(compared(what, speed(f"care {exact}"), peer, times[name], ours, **shown))
    flops = 2 * multiply_adds(PRESETS["care"]) * width**2 / 1e9
    lines.append(_of_matmul(f"care, float32, {frame}, of the matrix-multiply rate", ours, flops, matmul, exact))
    if "csbdeep whole" in times:
        peer = f"{CSBDEEP} {speed('csbdeep whole')}"
        if exact != "torch":
            what = "care, float32, torch instead of OpenVINO, against CSBDeep whole"
            lines.append(compared(what, speed("care torch"), peer, times["csbdeep whole"], times["care torch"]))
        what = "care, float32, one call for one frame, against CSBDeep whole"
        first = f"care {exact} first"
        lines.append(compared(what, speed(first), peer, times["csbdeep whole"], times[first]))
    for name in ("careamics whole", "careamics tiled"):
        if name in times:
            lines.append(_careamics(results, name, ours, pixels))
    steps = (
        ("care, 8-bit integers, against our float32", f"care {fast}", ours, LEAST_IN_8_BITS),
        ("lite, float32, against care float32", f"lite {exact}", ours, 8.0),
        ("lite, 8-bit integers, against care float32", f"lite {fast}", ours, 20.0),
        ("lite, 8-bit integers, against lite float32", f"lite {fast}", lite, LEAST_IN_8_BITS),
        ("live, float32, against lite float32", f"live {exact}", lite, 2.5),
        ("live, 8-bit integers, against live float32", f"live {fast}", live, LEAST_IN_8_BITS),
    )
    for what, name, base, least in steps:
        if name in times:
            peer = f"{rate(base, pixels, 'Mpx/s')}"
            lines.append(compared(what, speed(name), peer, base, times[name], least=least, profile=name))
    judged = {"lite": fast or exact, "live": exact}
    for preset, engine in itertools.product(SMALL, engines):
        lines.append(_stream(results, preset, engine, has_target=engine == judged[preset]))
    if "difference" in results:
        largest = results["difference"][exact]["largest"]
        what = "care, float32, same weights: largest difference to CSBDeep's image, in units of its range"
        lines.append(Row(what=what, ours=f"{largest:.1e}", target=f"at most {AGREED:g}", reached=largest <= AGREED))
    return lines


def _of_matmul(what: str, times: dict[str, Any], gigaflops: float, matmul: float, engine: str) -> Row:
    best, median = (gigaflops / times[which] / matmul for which in ("best", "median"))
    return Row(
        what=what,
        ours=rate(times, gigaflops, "GFLOP/s"),
        peer=f"matrix product {matmul:.0f} GFLOP/s",
        ratio=best,
        median_ratio=median,
        target="at least 0.75",
        reached=best >= 0.75,
        profile=f"care {engine}",
    )


def _careamics(results: dict[str, Any], name: str, ours: dict[str, Any], pixels: float) -> Row:
    """Compare multiply-adds a second: CAREamics' network is another one."""
    theirs = results["times"][name]
    mine, other = multiply_adds(PRESETS["care"]), results["careamics"]["multiply_adds"]
    ratio, median = (theirs[which] / other / (ours[which] / mine) for which in ("best", "median"))
    how = "whole" if name.endswith("whole") else "in tiles"
    return Row(
        what=f"care, float32, against CAREamics' own network {how}, multiply-adds a second",
        ours=rate(ours, 2 * mine * pixels / 1e3, "GFLOP/s"),
        peer=f"{CAREAMICS} {rate(theirs, 2 * other * pixels / 1e3, 'GFLOP/s')}, {rate(theirs, pixels, 'Mpx/s')}",
        ratio=ratio,
        median_ratio=median,
    )


def _stream(results: dict[str, Any], preset: str, engine: str, *, has_target: bool) -> Row:
    times, width = results["times"][f"{preset} stream {engine}"], results["stream_width"]
    aim = {"target": "30 frames/s", "reached": times["best"] <= 1 / 30} if has_target else {}
    return Row(
        what=f"{preset}, stream of {width} x {width} frames, {engine}",
        ours=rate(times, 1, "frames/s"),
        profile=f"{preset} {engine}",
        **aim,
    )


def notes(results: dict[str, Any]) -> str:
    """Return what the table cannot say."""
    text = (
        "Ours is the time of a further frame of a stack held in memory, CSBDeep's that of `CARE.predict` once its "
        "network is built: both include normalising, tiling, stitching and undoing. The line *one call for one frame* "
        "also counts what a call of `restore` does before its first frame. GFLOP/s are nominal: two a multiply-add of "
        "the network as CSBDeep computes it, even where ours computes the same with fewer. Weights are random but in 8 "
        "bits, where the bundled models of the FFT loss run: which layers stay in float32 depends on the weights.\n"
    )
    if "difference" in results:
        found = ", ".join(f"{engine} {value['largest']:.2g}" for engine, value in results["difference"].items())
        text += (
            "\nBoth networks hold the same random weights. Largest difference of our restoration from CSBDeep's on a "
            f"256 px image, in units of the image's normalised range: {found}.\n"
        )
    if "careamics" in results:
        theirs = results["careamics"]
        text += (
            f"\nCAREamics' default network is another one: {theirs['parameters']:,} parameters, "
            f"{theirs['multiply_adds']:,} multiply-adds a pixel, against {multiply_adds(PRESETS['care']):,} of `care` "
            f"and {multiply_adds(PRESETS['lite']):,} of `lite`; its rates are compared by multiply-adds.\n"
        )
    return text
