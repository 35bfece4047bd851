"""How restoring on a Dask cluster and training with torchrun scale on this machine, at one thread a process.

    python benchmarks/scaling.py [--frames 48] [--size 512] [--steps 60] [--rounds 3] [--most 2] [--jobs restore,train]
        [--out scaling.json]

Numbers of processes take turns, round after round, because other programs may load the machine; beside the wall time
stands the processor time of all processes, and the load while they ran. The time to start them is left out of both: a
cluster has restored a small stack before its run is timed, a training is timed by itself from its first step. The
table gives medians, and how many times as fast as one process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, LocalCluster

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.library import bundled_folder
from napari_care_losses.models.model import SUFFIX, load_model, read_card
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.to_file import restore_to_file
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

MODEL = "fft-lite"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
TRAINING = {"loss": "fft", "recipe": "paper", "preset": "lite", "batch-size": "16", "patch-size": "64"}


def main() -> None:
    """Measure, print the table, and write all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("frames", 48), ("size", 512), ("steps", 60), ("rounds", 3), ("most", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--jobs", default="restore,train", help="What is measured, of restore and train.")
    parser.add_argument("--out", type=Path, default=Path("scaling.json"))
    options = parser.parse_args()
    measures = {"restore": _restored, "train": _trained}
    jobs = {name: measures[name] for name in options.jobs.split(",")}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write_stacks(folder, options.frames, options.size)
        for number in range(options.rounds):
            for processes in range(1, options.most + 1):
                for job, measure in jobs.items():
                    row = {"job": job, "processes": processes, "round": number}
                    row |= measure(folder, processes, options.steps) | {"load": os.getloadavg()[0]}
                    rows.append(row)
                    print(row, flush=True)
    options.out.write_text(json.dumps(rows, indent=1))
    for job in jobs:
        alone = _median(rows, job, 1, "seconds")
        for processes in range(1, options.most + 1):
            seconds, busy = (_median(rows, job, processes, kind) for kind in ("seconds", "processor"))
            loads = [row["load"] for row in rows if (row["job"], row["processes"]) == (job, processes)]
            print(
                f"{job:<8}{processes} processes: {seconds:.1f} s, {busy:.1f} s of processor time, "
                f"{alone / seconds:.2f} times as fast; load {min(loads):.1f} to {max(loads):.1f}"
            )


def _median(rows: list[dict[str, Any]], job: str, processes: int, kind: str) -> float:
    return statistics.median(row[kind] for row in rows if (row["job"], row["processes"]) == (job, processes))


def _write_stacks(folder: Path, count: int, size: int) -> None:
    low, high = simulate_pairs("actin", 12, (size, size), seed=1)
    save_stack(folder / "low.tif", Frames(low, "TYX"))
    save_stack(folder / "high.tif", Frames(high, "TYX"))
    save_stack(folder / "small.tif", Frames(low[:4], "TYX"))
    save_stack(folder / "stack.tif", Frames(low[[number % len(low) for number in range(count)]], "TYX"))


def _restored(folder: Path, processes: int, _steps: int) -> dict[str, float]:
    os.environ |= ONE_THREAD
    model = load_model(bundled_folder() / f"{MODEL}{SUFFIX}")
    settings = RestorationParameters(normalization="stack", tile_size=256)
    cluster = LocalCluster(
        n_workers=processes, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None
    )
    with cluster, Client(cluster) as client:
        pids = [*client.run(os.getpid).values(), os.getpid()]

        def run(name: str) -> None:
            source = folder / f"{name}.tif"
            work = restore_to_file(
                read_tiff(source), model, folder / "out.ome.zarr", settings, RunOptions(cluster=client), source=source
            )
            for _ in work:
                pass

        for _ in range(3):  # so that every worker has loaded torch and compiled the network
            run("small")
        before, begun = _processor_time(pids), time.perf_counter()
        run("stack")
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "processor": _processor_time(pids) - before}


def _processor_time(pids: list[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


def _trained(folder: Path, processes: int, steps: int) -> dict[str, float]:
    """Train twice, for a few steps and for more: the difference has no start in it."""
    few, many = (_training(folder, processes, count) for count in (4, 4 + steps))
    return {kind: many[kind] - few[kind] for kind in few}


def _training(folder: Path, processes: int, steps: int) -> dict[str, float]:
    out = folder / "model.safetensors"
    before = os.times()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [
        "-m",
        "napari_care_losses.cli.main",
        "train",
        "--low",
        "low.tif",
        "--high",
        "high.tif",
        "--out",
        str(out),
    ]
    command += ["--steps", str(steps), "--steps-per-epoch", str(steps)]
    for name, value in TRAINING.items():
        command += [f"--{name}", value]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | ONE_THREAD)
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": float(read_card(out).training["seconds"]), "processor": busy}


if __name__ == "__main__":
    main()
