"""Make the sound files that the fuzzing sections spoil: `python tests/torture/make_corpus.py`."""

from __future__ import annotations

import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import zarr

sys.path.insert(0, str(Path(__file__).parents[1]))

from fixtures.bioimageio_packages import TheirCare, seeded, state_dict, write_package
from fixtures.random_models import make_model
from numcodecs import Blosc, Delta, Zlib

from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.interchange.bioimageio.export import export_bioimageio
from napari_care_losses.io.ome_zarr_reader import VERSIONS
from napari_care_losses.io.ome_zarr_writer import OmeZarrStackWriter
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.models.learned_noise import noise_statistics
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.trainer import Trainer

CORPUS = Path(__file__).with_name("corpus")
PLAIN = Architecture(depth=1, kernel_size=3, filters=2)
SCALED = replace(PLAIN, predicts_scale=True)
STAMP = (2024, 1, 1, 0, 0, 0)


def main() -> None:
    """Write the corpus anew."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    CORPUS.mkdir()
    rng = np.random.default_rng(0)
    images = rng.normal(100, 10, (4, 40, 36)).astype(np.float32)
    training = {"steps": 7, "pairs": 2, "names": ["a[0]", "b[1]"], "seconds": 61.5, "date": "2024-05-06"}
    statistics = noise_statistics(list(images))
    make_model(SCALED, "laplace", training=training, statistics=statistics).save(CORPUS / "scaled.safetensors")
    make_model(PLAIN, "bandpass", loss_parameters=LOSSES["bandpass"]().to_dict()).save(CORPUS / "plain.safetensors")
    _package(CORPUS / "package.zip")
    network = seeded(TheirCare())
    write_package(CORPUS / "outsider.zip", network, {"pytorch_state_dict": state_dict(network)})
    _state(CORPUS / "state.resume", images)
    _tiffs(CORPUS / "tiff", rng)
    _zarrs(CORPUS / "zarr", rng)


def _package(path: Path) -> None:
    """Export a package, and leave in it what is read of it."""
    model = make_model(PLAIN, normalization=PercentileNormalization(low=1, high=99.9))
    export_bioimageio(model, path, name="mine")
    with zipfile.ZipFile(path) as whole:
        files = {name: whole.read(name) for name in whole.namelist() if name in {"rdf.yaml", "weights.pt"}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, STAMP), content, zipfile.ZIP_DEFLATED)


def trainer(images: np.ndarray) -> Trainer:
    """Return a new training on images (N, Y, X) that the state belongs to."""
    PRESETS["lite"] = PLAIN
    pairs = [Pair(image, image * 2, name) for image, name in zip(images, "abcd", strict=True)]
    settings = {"preset": "lite", "patch_size": 16, "batch_size": 2, "steps_per_epoch": 2, "validation_patches": 2}
    parameters = TrainingParameters(budget="steps", amount=4, average_weights=True, **settings)
    return Trainer(pairs, LOSSES["mae"](), parameters, device="cpu")


def _state(path: Path, images: np.ndarray) -> None:
    started = trainer(images)
    for _, report in zip(range(8), started.run(), strict=False):
        del report
    started.save_state(path)


def _tiffs(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    stack = rng.integers(0, 1000, (3, 20, 24)).astype(np.uint16)
    tifffile.imwrite(folder / "plain.tif", stack[0], photometric="minisblack")
    tifffile.imwrite(folder / "pages.tif", stack, photometric="minisblack", metadata=None)
    tifffile.imwrite(folder / "big.tif", stack, photometric="minisblack", bigtiff=True, byteorder=">")
    tifffile.imwrite(
        folder / "imagej.tif", stack, imagej=True, metadata={"axes": "TYX", "finterval": 0.4, "unit": "um"}
    )
    for name in ("zlib", "lzw", "zstd", "packbits", "jpeg", "jpeg2000", "lerc", "lzma", "webp"):
        pixels = stack if name not in {"jpeg", "webp"} else (stack >> 2).astype(np.uint8)
        options = {"compression": name, "rowsperstrip": 8, "metadata": None}
        if name == "webp":
            # it packs colours only
            tifffile.imwrite(folder / f"{name}.tif", np.stack([pixels[0]] * 3, -1), photometric="rgb", **options)
        else:
            tifffile.imwrite(folder / f"{name}.tif", pixels, photometric="minisblack", **options)
    tifffile.imwrite(
        folder / "tiles.tif", stack, photometric="minisblack", compression="zlib", tile=(16, 16), predictor=True
    )
    tifffile.imwrite(folder / "bits.tif", stack > 500, photometric="minisblack")
    tifffile.imwrite(folder / "half.tif", stack.astype(np.float16), photometric="minisblack")
    with tifffile.TiffWriter(folder / "levels.tif") as tiff:
        tiff.write(stack[0], subifds=1, tile=(16, 16), photometric="minisblack")
        tiff.write(stack[0, ::2, ::2], subfiletype=1, tile=(16, 16), photometric="minisblack")
    save_stack(folder / "ome.tif", Frames(stack[None], "ZTYX", Calibration(pixel_size=(0.1, 0.1), time_step=0.4)))


def _zarrs(folder: Path, rng: np.random.Generator) -> None:
    folder.mkdir()
    stack = rng.integers(0, 1000, (3, 20, 24)).astype(np.uint16)
    for version in VERSIONS:
        frames = Frames(stack, "TYX", Calibration(pixel_size=(0.1, 0.1), time_step=0.4))
        image = OmeZarrStackWriter(
            folder / f"{version}.ome.zarr", frames, dtype=np.uint16, job={}, resume=False, zarr_version=version
        )
        for index in range(3):
            image.write(index, stack[index])
        image.close()
    for name, options in {
        "delta": {"filters": [Delta("u2")], "compressors": Zlib()},
        "blosc": {"compressors": Blosc()},
    }.items():
        copied = folder / f"{name}.ome.zarr"
        shutil.copytree(folder / "0.4.ome.zarr", copied)
        shutil.rmtree(copied / "0")
        zarr.create_array(copied / "0", data=stack, chunks=(1, 10, 24), zarr_format=2, **options)
    sharded = folder / "sharded.ome.zarr"
    shutil.copytree(folder / "0.5.ome.zarr", sharded)
    shutil.rmtree(sharded / "0")
    zarr.create_array(sharded / "0", data=stack, chunks=(1, 10, 12), shards=(1, 20, 24))


if __name__ == "__main__":
    main()
