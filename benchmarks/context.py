"""What every section needs: the settings, the folders, the environments, images and models to measure with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from workers.wire import Worker, WorkerError

from napari_care_losses.models.architecture import PRESETS, Architecture

if TYPE_CHECKING:
    from settings import Settings

WORKERS = Path(__file__).parent / "workers"
SCRIPTS = {"ours": "ours.py", "csbdeep": "csbdeep_care.py", "careamics": "careamics_care.py"}


@dataclass(frozen=True)
class Context:
    """Where and how much to measure.

    Attributes
    ----------
    settings : Settings
        Sizes and repeats.
    folder : Path
        Results, logs and what is made on the way.
    environments : Path
        Folder of the peers' environments.
    pairs : Path, optional
        Folder of real pairs.
    """

    settings: Settings
    folder: Path
    environments: Path
    pairs: Path | None

    @property
    def matmul(self) -> dict[str, int]:
        """The matrix product whose rate everything is compared with: its width, and how often it is taken."""
        return {"size": self.settings.matmul, "repeats": 5}

    @cached_property
    def work(self) -> Path:
        """Folder for images and models, made if missing."""
        path = self.folder / "work"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def has(self, name: str) -> bool:
        """Return whether an environment is there."""
        return self._python(name).exists()

    def worker(self, name: str) -> Worker:
        """Return a new process in an environment: ours, csbdeep or careamics."""
        return Worker(self._python(name), WORKERS / SCRIPTS[name], self.folder / "log" / f"{name}.txt")

    def _python(self, name: str) -> Path:
        return Path(sys.executable) if name == "ours" else self.environments / name / "bin" / "python"

    def image(self, width: int) -> Path:
        """Return the file of a frame of simulated actin, repeated to a width in pixels."""
        path = self.work / f"frame-{width}.npy"
        if not path.exists():
            from napari_care_losses.simulation.pairs_and_movies import simulate_pair

            tile, _ = simulate_pair("actin", (min(width, 512),) * 2, seed=0)
            count = -(-width // len(tile))
            np.save(path, np.tile(tile, (count, count))[:width, :width])
        return path

    def training_pairs(self) -> tuple[Path, Path]:
        """Return the files of a few simulated pairs whose training is only timed."""
        return self._simulated("timed", 4, seed=1)

    def quality_pairs(self) -> tuple[Path, Path]:
        """Return the files of the pairs to train on: real ones where given."""
        count = self.settings.quality_pairs
        return self._real("training", 0, count) if self.pairs else self._simulated("training", count, seed=2)

    def test_pairs(self) -> tuple[Path, Path]:
        """Return the files of the pairs no model here has seen."""
        count = self.settings.test_pairs
        return self._real("test", 60, 69) if self.pairs else self._simulated("test", count, seed=3)

    def _real(self, name: str, start: int, stop: int) -> tuple[Path, Path]:
        import tifffile

        paths = self.work / f"real-{name}-low.npy", self.work / f"real-{name}-high.npy"
        for path, exposure in zip(paths, ("low", "high"), strict=True):
            np.save(path, tifffile.imread(self.pairs / f"mitochondria_{exposure}.tif", key=range(start, stop)))
        return paths

    def _simulated(self, name: str, count: int, seed: int) -> tuple[Path, Path]:
        from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

        paths = self.work / f"{name}-{count}-low.npy", self.work / f"{name}-{count}-high.npy"
        if not all(path.exists() for path in paths):
            for path, stack in zip(paths, simulate_pairs("actin", count, seed=seed), strict=True):
                np.save(path, stack)
        return paths

    def random_model(self, name: str, architecture: Architecture | None = None) -> Path:
        """Return the file of a model with random weights: a preset's, or another architecture's under a name."""
        path = self.work / f"{name}.safetensors"
        if not path.exists():
            import torch

            from napari_care_losses.models.model import Model, ModelCard
            from napari_care_losses.models.unet import CareNetwork

            shape = architecture or PRESETS[name]
            network = CareNetwork(shape, torch.Generator().manual_seed(0))
            preset = name if architecture is None else "custom"
            card = ModelCard(structure="other", loss="mae", preset=preset, architecture=shape)
            Model(card, dict(network.state_dict())).save(path)
            np.savez(path.with_suffix(".npz"), **{key: value.numpy() for key, value in network.state_dict().items()})
        return path

    def run(self, arguments: list[Any], log: str) -> dict[str, Any]:
        """Run a command; return its wall time and peak memory.

        Raises
        ------
        WorkerError
            If it fails.
        """
        path = self.folder / "log" / f"{log}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, WORKERS / "peak.py", *map(str, arguments)]
        with path.open("w") as file:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment, check=False)
        if done.returncode:
            raise WorkerError(f"{log} failed:\n{path.read_text(errors='replace')[-2000:]}")
        return json.loads(done.stdout)

    def restore_file(self, model: Path, source: Path, out: Path, engine: str) -> dict[str, Any]:
        """Restore a TIFF file into another by the command; return its wall time and peak memory."""
        cli = [sys.executable, "-m", "napari_care_losses.cli.main", "restore"]
        options = subprocess.run([*cli, "--help"], capture_output=True, text=True, check=True).stdout
        named = [source, "--model", model] if "--model" in options else [model, source]
        chosen = ["--engine", engine] if "--engine" in options else []
        return self.run([*cli, *named, "--out", out, *chosen], "restore")


def multiply_adds(architecture: Architecture) -> int:
    """Return the multiply-adds a network makes for each pixel, its convolutions' alone."""
    first, depth, area = architecture.filters, architecture.depth, architecture.kernel_size**2
    total, channels = 0.0, 1
    for level in range(depth):
        width = first * 2**level
        total += (channels * width + width * width) * area / 4**level
        channels = width
    narrow = first * 2 ** max(0, depth - 1)
    total += (channels * first * 2**depth + first * 2**depth * narrow) * area / 4**depth
    channels = narrow
    for level in reversed(range(depth)):
        width, narrow = first * 2**level, first * 2 ** max(0, level - 1)
        total += ((channels + width) * width + width * narrow) * area / 4**level
        channels = narrow
    return round(total + channels)
