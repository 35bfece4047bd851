"""Intervals of restored frames: in the input's units, in files, on a cluster, and refused where there are none."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
import tifffile
import torch

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.intervals import LEVELS, Intervals
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import frame_range
from napari_care_losses.images.regions import Region
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.parameters import IntervalFiles, RestorationParameters, RunOptions
from napari_care_losses.restoration.record import RestorationRecord
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.restoration.to_file import restore_to_file

FACTORS = tuple((1.0 + place,) for place in range(len(LEVELS)))
OF_SCALE = Intervals(levels=LEVELS, brightness=(0.0,), factors=FACTORS, images=4, uses_scale=True)
BY_BRIGHTNESS = Intervals(
    levels=LEVELS, brightness=(0.0, 1.0), factors=tuple((low, low + 1) for (low,) in FACTORS), images=4
)
PARAMETERS = RestorationParameters(tile_size=32, engine="torch")


def a_model(intervals):
    has_scale = intervals is None or intervals.uses_scale
    architecture = Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=has_scale)
    network = CareNetwork(architecture, torch.Generator().manual_seed(0))
    loss = "laplace" if has_scale else "mae"
    card = ModelCard(structure="other", loss=loss, architecture=architecture, intervals=intervals)
    return Model(card, dict(network.state_dict()))


def restored(image, model, **options):
    *_, last = restore_frames(Frames(image), model, PARAMETERS, device="cpu", **options)
    return last.frame


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(100, 1000, (40, 36)).astype(np.uint16)


def test_of_a_laplace_model_the_width_is_the_scale_times_the_factor(image):
    model = a_model(OF_SCALE)
    frame = restored(image, model)
    lower, upper = frame.bounds(model.card, 0.9)
    assert np.allclose(upper - frame.image, 4 * frame.scale, rtol=1e-4, atol=1e-3)
    assert np.allclose(frame.image - lower, 4 * frame.scale, rtol=1e-4, atol=1e-3)
    assert lower.dtype == upper.dtype == np.float32


def test_of_another_model_the_width_follows_the_restored_brightness(image):
    model = a_model(BY_BRIGHTNESS)
    frame = restored(image, model)
    levels = frame_range(image, model.card.normalization)
    lower, upper = frame.bounds(model.card, 0.5)
    normalized = (frame.image - levels.low) / levels.width
    expected = levels.width * (1 + np.clip(normalized, 0, 1))
    assert np.allclose((upper - lower) / 2, expected, rtol=1e-3)


@pytest.mark.parametrize("intervals", [OF_SCALE, BY_BRIGHTNESS])
def test_they_follow_gain_and_offset_of_the_input(image, intervals):
    model = a_model(intervals)
    plain, other = restored(image, model), restored(3.0 * image + 500, model)
    for end, scaled in zip(plain.bounds(model.card, 0.8), other.bounds(model.card, 0.8), strict=True):
        assert np.allclose(3 * end + 500, scaled, rtol=1e-4)


@pytest.mark.parametrize("intervals", [OF_SCALE, BY_BRIGHTNESS])
def test_pixels_that_stay_as_they_are_have_no_width(image, intervals):
    model, holed = a_model(intervals), image.astype(np.float32)
    holed[:, :4] = np.nan
    frame = restored(holed, model)
    lower, upper = frame.bounds(model.card, 0.9)
    assert np.isnan(lower[:, :4]).all()
    assert np.isnan(upper[:, :4]).all()
    assert (upper[:, 4:] > lower[:, 4:]).all()
    blank = restored(np.full((40, 36), 7, np.uint16), model)
    assert all((end == 7).all() for end in blank.bounds(model.card, 0.9))


def test_a_part_has_the_intervals_of_the_whole(image):
    model, part = a_model(BY_BRIGHTNESS), Region(8, 30, 5, 25)
    whole, cut = restored(image, model), restored(image, model, region=part)
    for one, other in zip(whole.bounds(model.card, 0.9), cut.bounds(model.card, 0.9), strict=True):
        assert np.allclose(one[part.slices], other, rtol=1e-4)


def test_without_intervals_it_is_said_what_has_them(image):
    model = a_model(None)
    with pytest.raises(InputError, match=r"no intervals\. They come from the validation images"):
        restored(image, model).bounds(model.card, 0.9)


class TestFiles:
    @pytest.fixture
    def stack(self, tmp_path):
        pixels = np.random.default_rng(0).integers(100, 1000, (3, 40, 36)).astype(np.uint16)
        save_stack(tmp_path / "in.tif", Frames(pixels, "TYX"))
        return tmp_path / "in.tif"

    def work(self, stack, model, level=0.9, **options):
        files = IntervalFiles(level, stack.with_name("lower.tif"), stack.with_name("upper.tif"))
        out, run = stack.with_name("out.tif"), RunOptions(device="cpu", **options)
        return restore_to_file(read_tiff(stack), model, out, PARAMETERS, run, source=stack, intervals=files)

    def read(self, stack):
        return [tifffile.imread(stack.with_name(name)) for name in ("lower.tif", "out.tif", "upper.tif")]

    @pytest.mark.parametrize("intervals", [OF_SCALE, BY_BRIGHTNESS])
    def test_ends_go_to_files_of_their_own_also_after_a_stop(self, stack, intervals):
        model = a_model(intervals)
        stopped = self.work(stack, model, dtype="uint16")
        list(islice(stopped, 6))
        stopped.close()
        for _ in self.work(stack, model, dtype="uint16", resume=True):
            pass
        lower, out, upper = self.read(stack)
        assert (lower.dtype, out.dtype, upper.dtype) == (np.float32, np.uint16, np.float32)
        pixels = tifffile.imread(stack)
        for index, image in enumerate(pixels):
            expected = restored(image, model).bounds(model.card, 0.9)
            assert np.allclose(lower[index], expected[0], rtol=1e-4)
            assert np.allclose(upper[index], expected[1], rtol=1e-4)

    def test_another_level_or_calibration_is_another_job(self, stack):
        model = a_model(OF_SCALE)
        for _ in self.work(stack, model):
            pass
        lower, _, upper = self.read(stack)
        for _ in self.work(stack, model, level=0.5, resume=True):
            pass
        narrow = self.read(stack)
        assert np.allclose((narrow[2] - narrow[0]) * 4, upper - lower, rtol=1e-3)
        wider = dataclasses.replace(OF_SCALE, factors=tuple((10 * factor,) for (factor,) in FACTORS))
        for _ in self.work(stack, a_model(wider), level=0.5, resume=True):
            pass
        wide = self.read(stack)
        assert np.allclose(wide[2] - wide[0], 10 * (narrow[2] - narrow[0]), rtol=1e-3)

    def test_how_the_result_was_made_says_so(self, stack):
        files = IntervalFiles(0.9, stack.with_name("lower.tif"), stack.with_name("upper.tif"))
        record = RestorationRecord(
            model="laplace-lite", source=stack, out=stack.with_name("out.tif"), parameters=PARAMETERS, intervals=files
        )
        words = record.words()
        place = words.index("--interval-out")
        assert words[place : place + 5] == ["--interval-out", *map(str, files[1:]), "--interval", "90"]
        assert f"intervals=IntervalFiles(level=0.9, lower={files.lower!r}".replace("PosixPath", "Path") in (
            " ".join(record.python().split()).replace("( level", "(level")
        )
        compile(record.python(), "record", "exec")

    def test_what_cannot_be_written_is_refused_and_leaves_nothing(self, stack):
        with pytest.raises(InputError, match="no intervals"):
            next(self.work(stack, a_model(None)))
        with pytest.raises(InputError, match="hold 50, 68, 80, 90, 95 %"):
            next(self.work(stack, a_model(OF_SCALE), level=0.99))
        same = IntervalFiles(0.9, stack.with_name("lower.tif"), stack.with_name("lower.tif"))
        with pytest.raises(InputError, match="need different files"):
            next(restore_to_file(read_tiff(stack), a_model(OF_SCALE), stack.with_name("out.tif"), intervals=same))
        assert [path.name for path in stack.parent.iterdir()] == ["in.tif"]
