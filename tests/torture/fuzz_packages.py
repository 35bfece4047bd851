"""CSBDeep's folders and bioimage.io packages, spoilt at every layer: archive, description, weights, what unpickles."""

from __future__ import annotations

import contextlib
import json
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fuzz_models
import yaml
from counts import scaled
from forking import ForkedReader
from fuzz_models import CORPUS, spoilt_tensors, use_model
from mutations import NUMBERS, TEXTS, json_text, spoil_bytes, spoil_values

if TYPE_CHECKING:
    import random

SUFFIX = ".zip"
COUNT = 10_000
CSBDEEP = Path(__file__).parents[1] / "data" / "csbdeep"
DESCRIPTION = "rdf.yaml"
FORKED = 0.98
"""Part of the inputs whose reader is forked; for the others it is started as the product starts it."""

KEYS = (
    "unet_n_depth",
    "unet_kern_size",
    "unet_n_first",
    "n_dim",
    "axes",
    "probabilistic",
    "train_loss",
    "unet_residual",
)
WORDS = ("type", "weights", "pytorch_state_dict", "source", "sha256", "config", "napari_care_losses", "card", "<<")
WORDS += ("inputs", "outputs", "axes", "size", "preprocessing", "kwargs", "onnx", "torchscript", "test_tensor", "halo")
HOSTILE = (
    *(
        "../evil",
        "/tmp/evil",
        "a/../../evil",
        "..\\evil",
        "C:\\evil",
        "\\\\host\\evil",
        "x\0y",
        "con",
        "a" * 5000,
        "\x1b[2J",
    ),
    *("config.json/", "weights_best.h5/x", ".", "", " ", "config.json ", "CONFIG.JSON", "\ud7ff", "a/config.json"),
)


def run(scale: float) -> dict[str, float]:
    """Open spoilt packages."""
    from fuzzing import fuzz

    return fuzz("fuzz_packages", scaled(COUNT, scale))


def prepare() -> None:
    """Load what a package needs, the readers' libraries among it."""
    import bz2  # noqa: F401

    import h5py  # noqa: F401
    import torch._dynamo  # noqa: F401
    from fixtures.imported_models import read_foreign

    fuzz_models.prepare()
    read_foreign(CSBDEEP / "residual")
    read_foreign(CORPUS / "package.zip")
    read_foreign(CORPUS / "outsider.zip")


@cache
def seeds() -> list[dict[str, bytes]]:
    """Return the files of every sound package."""
    found = [
        {file.name: file.read_bytes() for file in sorted((CSBDEEP / name).iterdir())}
        for name in ("residual", "probabilistic", "direct")
    ]
    for package in ("package.zip", "package.zip", "outsider.zip"):
        with zipfile.ZipFile(CORPUS / package) as archive:
            found.append({name: archive.read(name) for name in archive.namelist()})
    return found


def make(rng: random.Random, path: Path) -> None:
    """Write a spoilt package."""
    files = dict(rng.choice(seeds()))
    (name,) = [name for name in files if name.endswith((".h5", ".pt", ".pth"))]
    how = rng.randrange(8)
    if how <= 1:
        _spoil_description(rng, files)
    elif how <= 4:
        files[name] = _spoilt_hdf5(rng, files[name]) if name.endswith(".h5") else _spoilt_state_dict(rng, files[name])
        if rng.random() < 0.8 and DESCRIPTION in files:
            files[DESCRIPTION] = b"\n".join(line for line in files[DESCRIPTION].split(b"\n") if b"sha256" not in line)
    options: dict[str, Any] = {"compression": rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(_entry(name), content)
        if how == 5:
            for _ in range(rng.choice((1, 1, 3, 300))):
                _add_hostile(rng, archive)
    if how >= 6:
        path.write_bytes(spoil_bytes(rng, path.read_bytes(), [content for one in seeds() for content in one.values()]))


def _entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("x", (2024, 1, 1, 0, 0, 0))
    entry.filename, entry.external_attr = name, mode << 16
    return entry


def _add_hostile(rng: random.Random, archive: zipfile.ZipFile) -> None:
    name = rng.choice(HOSTILE) if rng.random() < 0.7 else f"{rng.random()}"
    content = rng.choice((b"", b"/etc/passwd", bytes(3 << 20), b"{}"))
    archive.writestr(_entry(name, rng.choice((0o100644, 0o120777, 0o040755, 0o010644))), content)


def _spoil_description(rng: random.Random, files: dict[str, bytes]) -> None:
    if DESCRIPTION not in files:
        values = spoil_values(rng, json.loads(files["config.json"]), KEYS)
        files["config.json"] = json_text(rng, values).encode("utf-8", "surrogatepass")
        return
    values = yaml.safe_load(files[DESCRIPTION])
    how = rng.randrange(4)
    if how == 0:
        files[DESCRIPTION] = spoil_bytes(rng, files[DESCRIPTION])
    elif how == 1 and "config" in values:
        values["config"]["napari_care_losses"]["card"] = json_text(
            rng, spoil_values(rng, json.loads(values["config"]["napari_care_losses"]["card"]), WORDS)
        )
        files[DESCRIPTION] = json.dumps(values).encode()
    elif how == 2:
        files[DESCRIPTION] = json_text(rng, spoil_values(rng, values, WORDS)).encode("utf-8", "surrogatepass")
    else:
        files[DESCRIPTION] = _hostile_yaml(rng, files[DESCRIPTION].decode()).encode("utf-8", "surrogatepass")


def _hostile_yaml(rng: random.Random, text: str) -> str:
    """Return a description with what YAML knows beside plain values."""
    lines = text.split("\n")
    added = rng.choice(
        (
            "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
            "&a a: *a",
            "x: !!python/object/apply:os.system [true]",
            "x: !!python/name:os.system",
            "x: !!binary |\n  ////",
            "x: !!set {a, b}",
            "x: !!timestamp 2024-99-99",
            "x: 2024-13-45",
            "x: !!int '" + "9" * 5000 + "'",
            "x: 1" + ":59" * 5000,
            "x: .inf\ny: .nan\nz: 1e999",
            "<<: {type: model}",
            "? [a, b]\n: c",
            "? {a: b}\n: c",
            "%YAML 9.9\n---",
            "--- \n...\n---\nx: 1",
            "\tx: 1",
            "x: " + "[" * rng.choice((50, 5000)),
            "x: " + "{a: " * rng.choice((50, 900)),
            "x: 'unfinished",
            "x: |\n" + "  a\n" * 5000,
            "- a\n" * 30_000,
            f"{rng.choice(TEXTS)[:50]}: {rng.choice(NUMBERS[:20])}" if rng.random() < 0.5 else "type: x",
        )
    )
    lines.insert(rng.randrange(len(lines) + 1), added)
    return "\n".join(lines)


def _spoilt_hdf5(rng: random.Random, data: bytes) -> bytes:
    """Return HDF5 with bytes spoilt, or with other layers, arrays, attributes and links in it."""
    if rng.random() < 0.6:
        return spoil_bytes(rng, data, [one["weights_best.h5"] for one in seeds() if "weights_best.h5" in one])
    import h5py
    import numpy as np

    buffer = BytesIO(data)
    # where the library itself does not write what is asked of it, the file stays as it is
    with contextlib.suppress(ValueError, TypeError, OSError), h5py.File(buffer, "r+") as file:
        layer = rng.choice([name for name in file if len(file[name])])
        how = rng.randrange(9)
        inner = file[layer]
        if how == 0:
            del file[layer]
            file[layer] = rng.choice(
                (h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/"), h5py.SoftLink(f"/{layer}"))
            )
        elif how == 1:
            names = list(file.attrs["layer_names"])
            rng.shuffle(names)
            file.attrs["layer_names"] = rng.choice(
                (names, names * 2, names[:3], [b"\xff\0"], ["../x", *names], [1, 2], "x")
            )
        elif how == 2:
            inner.create_dataset("big", (1 << 16, 1 << rng.choice((4, 13, 40))), np.float32, chunks=(64, 16))
        elif how == 3:
            inner.create_dataset("x", data=rng.choice((np.zeros(3), np.array([b"a"]), np.float64(3), np.zeros((0, 2)))))
        elif how == 4:
            file.attrs["keras_version"] = rng.choice(("\x1b[2J", b"\xff" * 300, 7, "x" * 60_000))
        elif how == 5:
            file.move(layer, rng.choice((f"{layer}x", "batch_normalization_1", "lambda_1", "a/b/c")))
        elif how == 6:
            inner[f"{'deep/' * rng.choice((3, 20))}x"] = np.zeros(2)
        elif how == 7:
            inner["loop"] = inner
        else:
            inner.create_dataset("bomb", (1 << 22,), np.float32, compression="gzip", chunks=(1 << 20,), fillvalue=1e-3)
    return buffer.getvalue()


def _spoilt_state_dict(rng: random.Random, data: bytes) -> bytes:
    """Return a state dict with its archive, its pickle or its numbers spoilt, or another file in its place."""
    how = rng.randrange(8)
    if how <= 1:
        return spoil_bytes(rng, data)
    if how == 2:
        return spoilt_tensors(rng, (CORPUS / "plain.safetensors").read_bytes(), "napari_care_losses", [data])
    if how == 3:
        return rng.choice(
            (
                b"cos\nsystem\n(S'true'\ntR.",
                b"\x80\x04cbuiltins\neval\n(S'1'\ntR.",
                b"\x80\x02]" + b"(" * 5000,
                b"",
                b"PK\5\6" + bytes(18),
            )
        )
    buffer = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as whole, zipfile.ZipFile(buffer, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name.endswith("data.pkl"):
                content = _spoilt_pickle(rng, content) if how <= 6 else content
            elif how == 7:
                content = rng.choice((spoil_bytes(rng, content), b"", content * 50, content))
            archive.writestr(_entry(name), content)
    return buffer.getvalue()


def _spoilt_pickle(rng: random.Random, data: bytes) -> bytes:
    """Return a pickle with other names to call, other sizes or other instructions in it."""
    swaps = {
        b"torch._utils\n_rebuild_tensor_v2": rng.choice(
            (b"os\nsystem", b"builtins\nexec", b"torch._utils\n_rebuild_tensor")
        ),
        b"FloatStorage": rng.choice((b"DoubleStorage", b"CharStorage", b"UntypedStorage", b"load")),
        b"collections\nOrderedDict": rng.choice((b"subprocess\nPopen", b"builtins\nlist", b"collections\nCounter")),
        b"K\x03": rng.choice((b"K\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"M\xff\xff")),
    }
    old = rng.choice(list(swaps))
    return data.replace(old, swaps[old], rng.choice((1, -1))) if rng.random() < 0.5 else spoil_bytes(rng, data)


def use(path: Path, rng: random.Random) -> None:
    """Import a package."""
    from unittest.mock import patch

    from fixtures.imported_models import read_foreign

    from napari_care_losses.interchange import sandbox as confined

    place = path
    if rng.random() < 0.3 and (unpacked := _unpacked(path)):
        place = unpacked
    before = set(path.parent.iterdir())
    try:
        if rng.random() < FORKED:
            with patch.object(confined.subprocess, "Popen", ForkedReader):
                model = read_foreign(place)
        else:
            model = read_foreign(place)
    finally:
        assert set(path.parent.iterdir()) == before, "a file was left"
    use_model(model, rng, path.parent)


def _unpacked(path: Path) -> Path | None:
    """Return a folder of an archive's plain files; None where it cannot be unpacked."""
    folder = path.with_suffix("")
    folder.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist()[:20]:
                if name in {"config.json", "weights_best.h5", DESCRIPTION, "weights.pt"}:
                    (folder / name).write_bytes(archive.read(name))
    except Exception:  # noqa: BLE001 - a spoilt archive, which is opened as it is
        return None
    return folder
