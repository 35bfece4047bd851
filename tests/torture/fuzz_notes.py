"""What the product notes for itself, spoilt: states of trainings, journals, results; and tables of experiments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counts import scaled
from fuzz_models import spoilt_tensors
from mutations import NUMBERS, TEXTS, json_text, spoil_bytes, spoil_values

if TYPE_CHECKING:
    import random

SUFFIX = ".note"
COUNT = 6_000
CORPUS = Path(__file__).with_name("corpus")
STATE = "napari_care_losses_training"
WORDS = (
    "identity",
    "progress",
    "step",
    "seconds",
    "history",
    "plateau",
    "rng",
    "loss",
    "amount",
    "job",
    "offset",
    "scores",
)
KINDS = ("state", "state", "journal", "result", "experiments", "experiments")
JOB = {"model": "m"}
EXPERIMENTS = """\
[own]
title = "Own"
train = { low = "low.tif", high = "high.tif", frames = [0, 60] }
losses = ["laplace", "fft"]
reference = "laplace"
baselines = ["tv"]
threshold = { metric = "psnr", value = 30.5 }
[own.tests]
"0.3" = { structure = "actin", low_ms = 0.3, high_ms = 100, fields = 9, seed = 1_000_100 }
"1" = { structure = "dendra", low_ms = [1, 2], high_ms = 100, frames = 9, seed = 5, size = 64, brightness = 0.5 }
[sizes]
train = { structure = "actin", low_ms = 1, high_ms = 100, fields = 60, seed = 1_000_000 }
test = { low = "a.tif", high = "b.tif", movie = true }
[[sizes.methods]]
name = "small"
loss = "bandpass"
loss_parameters = { sigma_small = 1.0 }
training = { patch_size = 32 }
"""


def run(scale: float) -> dict[str, float]:
    """Read spoilt notes."""
    from fuzzing import fuzz

    return fuzz("fuzz_notes", scaled(COUNT, scale))


def prepare() -> None:
    """Load what a training needs, and go on with the sound one."""
    from random import Random
    from tempfile import TemporaryDirectory

    for name, content in {
        "input.state": (CORPUS / "state.resume").read_bytes(),
        "input.experiments": EXPERIMENTS.encode(),
        "input.result": json.dumps(_result()).encode(),
    }.items():
        with TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(content)
            use(Path(folder) / "input.note", Random(0))


def _result() -> dict[str, Any]:
    from dataclasses import asdict

    from napari_care_losses.experiments.results import Result

    scores = {
        method: {str(i): {"psnr": 30.0 + i, "ssim": 0.9} for i in range(3)} for method in ("input", "laplace", "fft")
    }
    names = {
        "name": "own_1",
        "title": "Own",
        "experiment": "own",
        "label": "1",
        "identity": "x",
        "reference": "laplace",
    }
    threshold = {"metric": "psnr", "value": 30.5}
    result = Result(
        **names, methods=["input", "laplace", "fft"], independent=True, threshold=threshold, settings={"a": "b"}
    )
    return {**asdict(result), "scores": scores, "rows": []}


def make(rng: random.Random, path: Path) -> None:
    """Write a spoilt note beside `path`, its suffix saying which."""
    kind = rng.choice(KINDS)
    if kind == "state":
        whole = (CORPUS / "state.resume").read_bytes()
        content = spoilt_tensors(rng, whole, STATE, [(CORPUS / "plain.safetensors").read_bytes()])
    elif kind == "journal":
        lines = [json.dumps({"job": _digest(), "offset": 300, "version": "0.5"}), "0", "2"]
        how = rng.randrange(4)
        if how == 0:
            lines[0] = json_text(rng, spoil_values(rng, json.loads(lines[0]), WORDS))
        elif how == 1:
            lines[rng.choice((1, 2))] = rng.choice((*map(str, NUMBERS[:20]), *TEXTS[:20]))
        content = "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")
        content = spoil_bytes(rng, content) if how >= 2 else content
    elif kind == "result":
        content = json_text(rng, spoil_values(rng, _result(), WORDS)).encode("utf-8", "surrogatepass")
    else:
        content = _spoilt_toml(rng).encode("utf-8", "surrogatepass")
    path.with_suffix(f".{kind}").write_bytes(content)


def _digest() -> str:
    from napari_care_losses.io.written_frames import job_digest

    return job_digest(JOB)


def _spoilt_toml(rng: random.Random) -> str:
    """Return a table of experiments with values, names or its grammar spoilt."""
    text = EXPERIMENTS
    if rng.random() < 0.2:
        return spoil_bytes(rng, text.encode()).decode("utf-8", "replace")
    import tomllib

    spoilt = spoil_values(rng, tomllib.loads(text), ("train", "tests", "losses", "low", "../../x", "threshold"))
    return (
        "".join(f"{json.dumps(str(key))} = {_toml(value)}\n" for key, value in spoilt.items())
        if isinstance(spoilt, dict)
        else _toml(spoilt)
    )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(json.dumps(value), json.dumps(value))
    return "''" if value is None else json.dumps(value)


def use(path: Path, rng: random.Random) -> None:
    """Read a note as the product does."""
    (found,) = path.parent.glob("input.*")
    {"state": _use_state, "journal": _use_journal, "result": _use_result, "experiments": _use_experiments}[
        found.suffix[1:]
    ](found)


def _use_state(path: Path) -> None:
    """List a stopped training, and go on with it for three steps."""
    import numpy as np
    from make_corpus import trainer

    from napari_care_losses.training.checkpoint import list_stopped, read_stopped

    resumed = path.with_suffix(".resume")
    path.rename(resumed)
    list_stopped(resumed.parent)
    images = np.random.default_rng(0).normal(100, 10, (4, 40, 36)).astype(np.float32)
    started = trainer(images)
    started.load_state(resumed)
    for _, _ in zip(range(3), started.run(), strict=False):
        pass
    assert all(isinstance(epoch.validation_loss, float) for epoch in started.history)
    read_stopped(resumed)


def _use_journal(path: Path) -> None:
    """Resume a TIFF file and an OME-Zarr image of whose frames the journal tells."""
    import numpy as np

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.stacks import writer_for

    like = Frames(np.zeros((3, 8, 8), np.uint16), "TYX")
    text = path.read_bytes()
    path.unlink()
    for name in ("a.tif", "a.ome.zarr"):
        out = path.parent / name
        writer_for(out)(out, like, dtype=np.uint16, job=JOB, resume=False).suspend()
        out.with_name(f"{name}.partial.json").write_bytes(text)
        stack = writer_for(out)(out, like, dtype=np.uint16, job=JOB, resume=True)
        try:
            for index in set(range(3)) - stack.done:
                stack.write(index, like[index])
        finally:
            stack.suspend()


def _use_result(path: Path) -> None:
    """Read a result, and write the overview it goes into."""
    from napari_care_losses.experiments.overview import write_overview
    from napari_care_losses.experiments.results import load_result

    path = path.rename(path.with_suffix(".json"))
    load_result(path)
    write_overview(path.parent)


def _use_experiments(path: Path) -> None:
    from napari_care_losses.experiments.entries import read_experiments

    for experiment in read_experiments(path).values():
        assert not {"/", "\\", "\0"} & set(experiment.name + "".join(experiment.tests)), experiment.tests
        for pairs in (experiment.train, *experiment.tests.values()):
            assert pairs.title.isprintable(), pairs.title
        experiment.smoke()
