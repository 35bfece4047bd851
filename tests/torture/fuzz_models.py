"""Model files with spoilt headers, cards and weights, and all that is done with a model that was let in."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counts import scaled
from mutations import json_text, spoil_bytes, spoil_values

if TYPE_CHECKING:
    import random

SUFFIX = ".safetensors"
COUNT = 10_000
CORPUS = Path(__file__).with_name("corpus")
HEADER = "napari_care_losses"
WORDS = ("format", "architecture", "depth", "filters", "dtype", "shape", "data_offsets", "__metadata__", "version")


def run(scale: float) -> dict[str, float]:
    """Open spoilt model files."""
    from fuzzing import fuzz

    return fuzz("fuzz_models", scaled(COUNT, scale))


def prepare() -> None:
    """Load what a model needs, and use a sound one."""
    import random
    from tempfile import TemporaryDirectory

    from napari_care_losses.models.model import load_model

    with TemporaryDirectory() as folder:
        for _ in range(20):
            use_model(load_model(CORPUS / "plain.safetensors"), random.Random(0), Path(folder))


@cache
def seeds() -> list[bytes]:
    """Return the sound files."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.safetensors"))]


def make(rng: random.Random, path: Path) -> None:
    """Write a spoilt model file."""
    whole = rng.choice(seeds())
    path.write_bytes(spoilt_tensors(rng, whole, HEADER, seeds()))


def spoilt_tensors(rng: random.Random, whole: bytes, header: str, others: list[bytes]) -> bytes:
    """Return a file of tensors with its bytes, its table of tensors, the JSON in its header or its numbers spoilt."""
    length = int.from_bytes(whole[:8], "little")
    table, numbers = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    how = rng.randrange(10)
    if how == 0:
        return spoil_bytes(rng, whole, others)
    if how <= 5:
        noted = spoil_values(rng, json.loads(table["__metadata__"][header]), WORDS)
        table["__metadata__"][header] = json_text(rng, noted)
    elif how == 6:
        numbers = spoil_bytes(rng, numbers, others)
        numbers = numbers[: len(whole) - 8 - length].ljust(len(whole) - 8 - length, b"\xff")
    elif how == 7:
        _shift(rng, table)
    else:
        table = spoil_values(rng, table, WORDS)
    text = json_text(rng, table) if how > 6 else json.dumps(table)
    written = text.encode("utf-8", "surrogatepass")
    claimed = len(written) if rng.random() < 0.95 else rng.choice((0, 1, len(written) - 1, 2**31, 2**63, 2**64 - 1))
    return claimed.to_bytes(8, "little") + written + numbers


def _shift(rng: random.Random, table: dict[str, Any]) -> None:
    """Let tensors overlap, lie outside, or have other shapes or types."""
    for name in rng.sample([name for name in table if name != "__metadata__"], rng.choice((1, 2))):
        entry = table[name]
        how = rng.randrange(5)
        if how == 0:
            entry["data_offsets"] = [rng.choice((-1, 0, 8, 2**40, 2**63)), rng.choice((0, 4, 2**41, 2**64))]
        elif how == 1:
            entry["shape"] = [*entry["shape"], rng.choice((0, 1, 2**33, -1))]
        elif how == 2:
            entry["shape"] = [2**16] * 4
        elif how == 3:
            entry["dtype"] = rng.choice(("F64", "F16", "BF16", "I8", "BOOL", "F8_E4M3", "X", "C64"))
        else:
            table[name + "x"] = table.pop(name)


def use(path: Path, rng: random.Random) -> None:
    """Do with a model file what the product does."""
    from napari_care_losses.models.model import load_model, read_card

    read_card(path)
    model = load_model(path)
    use_model(model, rng, path.parent)
    if rng.random() < 0.05:
        from napari_care_losses.models.library import list_models
        from napari_care_losses.models.user_folder import FOLDER_VARIABLE

        os.environ[FOLDER_VARIABLE] = str(path.parent)
        list_models()


def use_model(model: Any, rng: random.Random, folder: Path) -> None:
    """Describe, save and sometimes run a model that was let in."""
    import numpy as np

    from napari_care_losses.interchange.bioimageio.readme import describe_package
    from napari_care_losses.models.learned_noise import learned_correlation
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.models.model import load_model
    from napari_care_losses.restoration.restore_frame import tied_sigma
    from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
    from napari_care_losses.widgets.shared import model_chooser

    image = np.random.default_rng(0).normal(100, 10, (40, 36)).astype(np.float32)
    card = model.card
    said = [model_chooser.describe(card), model_chooser.kind_of(LibraryEntry("m", folder / "m", False, card))]
    learned_correlation(card)
    assert all(text.isprintable() for text in said), said
    model.save(folder / "saved.safetensors")
    assert load_model(folder / "saved.safetensors").digest() == model.digest()
    tied_sigma(card, "auto")
    describe_package("m", card, parameter_count=1)
    if rng.random() < 0.1:
        restore(image, model, RestorationParameters(engine="torch"), device="cpu")
