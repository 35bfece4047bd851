"""Which pairs can be learnt from, and patches drawn from them before a training starts."""

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.training.pair_sources import (
    PairSource,
    check_pair,
    examine_pair,
    first_listing,
    pair_files,
    shape_text,
    stack_files,
)
from napari_care_losses.training.pairs import Pair, pairs_from_frames, usable_pairs
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.patches import sample_patches

PARAMETERS = TrainingParameters(patch_size=16)


def images(count=3, size=(40, 52), seed=0):
    rng = np.random.default_rng(seed)
    high = 100 + 50 * rng.random((count, *size))
    return high + rng.normal(0, 20, high.shape), high


def pair_of(low, high, name="toy"):
    return PairSource(name, Frames(low), Frames(high))


@pytest.fixture
def files(tmp_path):
    low, high = (stack.astype(np.uint16) for stack in images())
    tifffile.imwrite(tmp_path / "low.tif", low, photometric="minisblack")
    tifffile.imwrite(tmp_path / "high.ome.TIFF", high, photometric="minisblack")
    return PairSource("files", tmp_path / "low.tif", tmp_path / "high.ome.TIFF")


def broken(change):
    low, high = images()
    return {
        "same layer": (low, low),
        "same image": (low, low.copy()),
        "shapes": (low, high[:, :20]),
        "counts": (low, high[:2]),
        "constant low": (np.full_like(low, 3), high),
        "constant high": (low, np.full_like(low, 3)),
        "not finite": (np.where(low == low[:, :1, :1], np.nan, low), high),
    }[change]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("same layer", "same layer twice"),
        ("same image", "same image"),
        ("shapes", "Different shapes: 3 x 40 x 52 and 3 x 20 x 52"),
        ("counts", "Different shapes: 3 x 40 x 52 and 2 x 40 x 52"),
        ("constant low", "low image is constant"),
        ("constant high", "high image is constant"),
        ("not finite", "In the low image 1 of 2080 pixels are NaN"),
    ],
)
def test_unusable_pairs_are_explained(change, said):
    with pytest.raises(InputError, match=said):
        check_pair(pair_of(*broken(change)))


def test_a_usable_pair_has_a_shape(files):
    assert check_pair(pair_of(*images())) == (3, 40, 52)
    assert check_pair(files) == (3, 40, 52)
    assert shape_text((3, 40, 52)) == "3 x 40 x 52"


def test_files_are_checked_too(files, tmp_path):
    with pytest.raises(InputError, match="same file twice"):
        check_pair(files._replace(high=files.low))
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((30, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="RGB"):
        check_pair(files._replace(high=tmp_path / "photo.tif"))
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(InputError, match="cannot be read"):
        check_pair(files._replace(low=tmp_path / "text.tif"))


def test_only_the_first_frame_of_each_is_looked_at():
    low, high = images(5)
    read = []

    def frame(block, block_info=None):
        read.append(block_info[0]["array-location"][0][0])
        return block

    lazy = [da.from_array(stack, chunks=(1, 40, 52)).map_blocks(frame, dtype=stack.dtype) for stack in (low, high)]
    read.clear()
    assert check_pair(pair_of(*lazy)) == (5, 40, 52)
    assert read == [0, 0]


def test_stacks_in_memory_are_at_hand(files):
    low, high = images()
    assert pair_of(low, high).is_at_hand
    assert not pair_of(low, da.from_array(high)).is_at_hand
    assert not files.is_at_hand


def test_a_pair_listed_twice_is_found(files):
    low, high = images()
    again = PairSource("by another way", files.low.parent / ".." / files.low.parent.name / files.low.name, files.high)
    sources = [pair_of(low, high), files, None, pair_of(low, high, "other"), again, pair_of(high, low), None]
    assert first_listing(sources) == [None, None, None, 0, 1, None, None]


def test_the_stack_files_of_a_folder(files, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "._low.tif").write_text("")
    assert stack_files(tmp_path) == {"low": files.low, "high": files.high}
    with pytest.raises(InputError, match="cannot be read"):
        stack_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image files"):
        stack_files(tmp_path / "empty")


def test_sample_patches_are_those_of_a_training(files):
    sources = [pair_of(*images()), files]
    low, high = sample_patches(sources, PARAMETERS, 5, np.random.default_rng(0))
    assert low.shape == high.shape == (5, 1, 16, 16)
    assert low.dtype == np.float32
    assert -1 < high.mean() < 2
    again = sample_patches(sources, PARAMETERS, 5, np.random.default_rng(0))
    assert np.array_equal(again[0], low)
    assert not np.array_equal(sample_patches(sources, PARAMETERS, 5, np.random.default_rng(1))[0], low)


def test_sample_patches_read_few_images():
    low, high = images(40)
    read = []

    class Noting(np.ndarray):
        def __getitem__(self, key):
            read.append(key)
            return super().__getitem__(key)

    sample_patches([pair_of(low.view(Noting), high)], PARAMETERS, 4, np.random.default_rng(0))
    assert len([key for key in read if isinstance(key, tuple) and len(key) == 1]) <= 6


def test_sample_patches_of_a_single_image_are_from_its_training_region():
    low, high = (stack[0] for stack in images(1, (60, 20)))
    high[48:] += 1e6
    _, drawn = sample_patches([pair_of(low, high)], PARAMETERS, 30, np.random.default_rng(0))
    assert drawn.max() < 0.1, "the bright fifth validates"


@pytest.mark.parametrize(
    ("size", "said"), [((12, 40), "at least 32 x 16|too small"), ((100, 12), "at least|too small")]
)
def test_patches_that_do_not_fit_are_explained(size, said):
    for count in (1, 2):
        with pytest.raises(InputError, match=said):
            sample_patches([pair_of(*images(count, size))], PARAMETERS, 4, np.random.default_rng(0))


def test_sample_patches_of_no_pair_are_refused():
    with pytest.raises(InputError, match="at least one pair"):
        sample_patches([], PARAMETERS, 4, np.random.default_rng(0))


def test_a_lost_file_is_explained(files):
    Path(files.low).unlink()
    with pytest.raises(InputError, match="no file"):
        sample_patches([files], PARAMETERS, 4, np.random.default_rng(0))


def examined(source):
    """Return what an examination counts, and what it finds."""
    work, counted = examine_pair(source), []
    while True:
        try:
            counted.append(next(work))
        except StopIteration as finished:
            return counted, finished.value[:2]


def test_an_examination_reads_every_frame():
    low, high = images(4)
    assert examined(pair_of(low, high)) == ([1, 2, 3, 4], ([], 0))
    broken = low.copy()
    broken[3, 0, 0] = np.inf
    counted, ((said,), left_out) = examined(pair_of(broken, high))
    assert (counted, left_out) == ([1, 2, 3, 4], 1)
    assert said.startswith("Left out: frame 3, in the low image 1 of 2080 pixels are NaN")
    broken[0] = 7
    assert check_pair(pair_of(broken, high)) == (4, 40, 52)
    _, ((said,), left_out) = examined(pair_of(broken, high))
    assert left_out == 2
    assert said.startswith("Left out: frame 0, the low image is constant")
    assert said.endswith(" 1 more too.")
    _, drawn = sample_patches([pair_of(broken, high)], PARAMETERS, 4, np.random.default_rng(0))
    assert np.isfinite(drawn).all()


def test_one_truth_is_that_of_every_frame_of_a_movie():
    low, high = images(4)
    for truth in (high[0], high[:1]):
        source = pair_of(low, truth)
        assert check_pair(source) == (4, 40, 52)
        pairs = pairs_from_frames(*source.opened(), "movie")
        assert [pair.name for pair in pairs] == [f"movie[{i}]" for i in range(4)]
        assert all(np.array_equal(pair.high, high[0]) for pair in pairs)
        assert all(np.array_equal(pair.low, low[i]) for i, pair in enumerate(pairs))
    channels = Frames(low, "CYX")
    with pytest.raises(InputError, match="Different shapes"):
        check_pair(PairSource("channels", channels, Frames(high[0])))


def test_unusable_and_small_images_are_left_out_by_name():
    low, high = images(4)
    low[1] = 3
    low[2, 0, 0] = np.nan
    left_out = []
    pairs = pairs_from_frames(Frames(low).select(1, 4), Frames(high).select(1, 4), "movie", left_out=left_out)
    assert [pair.name for pair in pairs] == ["movie[3]"]
    assert [said.split(":")[0] for said in left_out] == ["Pair movie[1]", "Pair movie[2]"]
    small = Pair(low[0, :15], high[0, :15], "small")
    assert usable_pairs([*pairs, small], left_out, 16) == pairs
    assert left_out[-1] == "Pair small: 15 x 52 px are too small for patches of 16 px."
    assert usable_pairs([small], [], 16) == [small]
    with pytest.raises(InputError, match="is constant"):
        usable_pairs([], ["Pair a: the low image is constant"], 16)


def laid(folder, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        tifffile.imwrite(folder / name, np.zeros((4, 4), np.uint8))
    return [folder / name for name in names]


def test_files_are_paired_by_name_and_refused_where_that_is_not_certain(tmp_path):
    numbers = sorted(map(str, range(1, 12)))
    low = laid(tmp_path / "low", [f"l_{number}.tif" for number in numbers])
    high = laid(tmp_path / "high", [f"h_{number:02}.tif" for number in range(1, 12)])
    right = [(path, tmp_path / "high" / f"h_{int(path.stem[2:]):02}.tif") for path in low]
    assert pair_files(low, [pair[1] for pair in right]) == (right, "")
    with pytest.raises(InputError, match=r"another order.*--pairing name pairs.*l_10.tif with h_10.tif.*order pairs"):
        pair_files(low, high)
    assert pair_files(low, high, "name") == (right, "")
    assert pair_files(low, high, "order") == (list(zip(low, high, strict=True)), "")
    assert sorted(pair_files([tmp_path / "low"], [tmp_path / "high"])[0]) == sorted(right)
    high[0].unlink()
    found, said = pair_files([tmp_path / "low"], [tmp_path / "high"])
    assert len(found) == 10
    assert said == "No partner for l_1."
    with pytest.raises(InputError, match=r"found 11 low and 10 high. --pairing name pairs"):
        pair_files(low, high[1:])
    assert pair_files(low[:1], high[1:2])[0] == [(low[0], high[1])], "one of each needs no name"


def test_names_that_say_nothing_are_not_guessed_from(tmp_path):
    low, high = laid(tmp_path / "a", ["x.tif", "y.tif"]), laid(tmp_path / "b", ["u.tif", "v.tif"])
    with pytest.raises(InputError, match=r"do not say .* --pairing order pairs x.tif with u.tif, y.tif with v.tif"):
        pair_files(low, high)
    with pytest.raises(InputError, match="do not say"):
        pair_files(low, high, "name")
    several = laid(tmp_path / "c", ["f_1ms.tif", "f_2ms.tif"]), laid(tmp_path / "d", ["f_5ms.tif", "f_9ms.tif"])
    for chosen in (several, ([tmp_path / "c"], [tmp_path / "d"])):
        with pytest.raises(InputError, match=r"do not say|more than one partner"):
            pair_files(*chosen)


def test_no_file_of_a_folder_vanishes(tmp_path):
    low = laid(tmp_path / "low", ["a.tif", "a.tiff", "b.tif"])
    high = laid(tmp_path / "high", ["a.tif", "a.tiff", "b.tiff"])
    assert list(stack_files(tmp_path / "low").values()) == low
    assert pair_files([tmp_path / "low"], [tmp_path / "high"]) == (list(zip(low, high, strict=True)), "")
    same = laid(tmp_path / "one", ["low.tif", "high.tif"]) + laid(tmp_path / "two", ["low.tif", "high.tif"])
    assert pair_files(same[::2], same[1::2])[0] == list(zip(same[::2], same[1::2], strict=True))


def test_an_examination_warns_of_the_first_suspicious_frame():
    low, high = images(5, (64, 64))
    high = np.repeat(np.repeat(high[:, :16, :16], 4, 1), 4, 2)
    low = high + np.random.default_rng(0).normal(0, 20, high.shape)
    low[2] = np.roll(low[2], 9, 0)
    counted, ((said,), _) = examined(pair_of(low, high))
    assert counted == [1, 2, 3, 4, 5]
    assert said.startswith("Frame 2: The low image lies 9.")


def test_an_examination_says_that_pixel_sizes_differ(tmp_path):
    low, high = (stack.astype(np.uint16) for stack in images())
    for name, stack, pixel in (("low", low, 0.13), ("high", high, 0.065)):
        save_stack(tmp_path / f"{name}.tif", Frames(stack, "TYX", Calibration(pixel_size=(pixel, pixel))))
    _, ((said, *_), _) = examined(PairSource("files", tmp_path / "low.tif", tmp_path / "high.tif"))
    assert said.startswith("The low image has pixels of 0.13 x 0.13 µm, the high one of 0.065 x 0.065 µm: ")
