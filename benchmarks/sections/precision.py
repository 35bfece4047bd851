"""What 8-bit integers cost in quality, on images no model here has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rows import Row

from napari_care_losses.models.library import list_models
from sections.quality import RUNS, model_file

if TYPE_CHECKING:
    from context import Context

TITLE = "8-bit integers against float32"

BUNDLED = ("fft-lite", "fft-live")
"""Those bundled models that are there."""
MOST_PSNR, MOST_SSIM = 0.1, 0.002


def measure(context: Context) -> dict[str, Any]:
    """Score the models of the quality section, and a bundled one, with every engine."""
    low, high = context.test_pairs()
    models = {f"{name}, trained above": model_file(context, name) for name in RUNS}
    models |= {
        f"bundled {entry.name}": entry.path for entry in list_models() if entry.bundled and entry.name in BUNDLED
    }
    results: dict[str, Any] = {"real": context.pairs is not None, "scores": {}}
    with context.worker("ours") as ours:
        for name, path in models.items():
            if path.exists():
                results["scores"][name] = {
                    engine: ours.ask("scores", model=path, engine=engine, low=low, high=high)
                    for engine in ours.ask("engines")["engines"]
                }
    return results


def rows(results: dict[str, Any], matmul: float) -> list[Row]:
    """Return the lines of the table."""
    lines = []
    for name, scores in results["scores"].items():
        if "openvino-int8" in scores:
            fast, exact = scores["openvino-int8"], scores["torch"]
            lines.append(
                Row(
                    what=f"{name}: quality with 8-bit integers",
                    ours=f"{fast['psnr']:.2f} dB / {fast['ssim']:.4f}",
                    peer=f"float32 {exact['psnr']:.2f} dB / {exact['ssim']:.4f}",
                    target=f"at most {MOST_PSNR:g} dB and {MOST_SSIM:g} less",
                    reached=exact["psnr"] - fast["psnr"] <= MOST_PSNR and exact["ssim"] - fast["ssim"] <= MOST_SSIM,
                )
            )
    return lines


def notes(results: dict[str, Any]) -> str:
    """Return the differences."""
    images = "the nine real test frames (W2S mitochondria 60-68)" if results["real"] else "simulated frames of actin"
    text = f"Mean over {images}; in brackets the difference to torch's float32.\n\n"
    text += "| model | engine | PSNR | SSIM |\n|---|---|---|---|\n"
    for name, scores in results["scores"].items():
        exact = scores["torch"]
        for engine, found in scores.items():
            psnr, ssim = found["psnr"] - exact["psnr"], found["ssim"] - exact["ssim"]
            text += (
                f"| {name} | {engine} | {found['psnr']:.2f} dB ({psnr:+.3f}) | {found['ssim']:.4f} ({ssim:+.4f}) |\n"
            )
    return text
