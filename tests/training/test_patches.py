import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.training.pairs import Pair, Share, fingerprint, pairs_from_frames, split_pairs
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.patches import PatchSource, draw_batch

WHOLE = (slice(None), slice(None))


def noise(shape=(48, 40), seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def pair(seed=0, shape=(48, 40), name="cell"):
    high = noise(shape, seed)
    return Pair(high + noise(shape, seed + 1000), high, name)


def source(of, patch_size=16, background_filter=False, seed=0):
    parameters = TrainingParameters(patch_size=patch_size, background_filter=background_filter)
    return PatchSource(Share(of, WHOLE, False), parameters, np.random.default_rng(seed))


def numbered(shape, patch_size, **options):
    """Return a source whose patches carry their place: pixel (y, x) holds y * width + x, in both images."""
    places = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return source(Pair(places, 2 * places, "numbered"), patch_size, **options), places


def corner(patch, places):
    """Return where an unturned patch of `numbered` lies."""
    low, high = np.percentile(places, [2, 99.7])
    return divmod(round(float(patch[0, 0]) * (high - low) + low), places.shape[1])


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (noise((8, 8)), noise((8, 9)), r"same shape, found \(8, 8\) and \(8, 9\)"),
        (np.ones((8, 8)), noise((8, 8)), "the low image is constant"),
        (noise((8, 8)), np.zeros((8, 8), np.uint16), "the high image is constant"),
        (np.where(np.eye(8) > 0, np.nan, 1), noise((8, 8)), "in the low image 8 of 64 pixels are NaN"),
        (noise((8, 8)), np.where(np.eye(8) > 0, np.inf, 1), "in the high image 8 of 64 pixels are NaN or infinite"),
        (noise((8, 8)), noise((8, 8)), "the same image"),
    ],
)
def test_unusable_pairs_are_refused_by_name(low, high, said):
    with pytest.raises(InputError, match=rf"cell.*{said}"):
        Pair(low, high, "cell")


def test_frames_are_paired_in_order():
    low, high = noise((3, 20, 20)), noise((3, 20, 20), 1)
    pairs = pairs_from_frames(Frames(low), Frames(high), "movie")
    assert [p.name for p in pairs] == ["movie[0]", "movie[1]", "movie[2]"]
    for index, made in enumerate(pairs):
        np.testing.assert_array_equal(made.low, low[index])
        np.testing.assert_array_equal(made.high, high[index])
    assert pairs_from_frames(Frames(low[0]), Frames(high[0]), "image")[0].name == "image"
    with pytest.raises(InputError, match=r"movie: .* found \(3, 20, 20\) and \(2, 20, 20\)"):
        pairs_from_frames(Frames(low), Frames(high[:2]), "movie")


def test_different_pairs_have_different_fingerprints():
    pairs = [pair(0), pair(1)]
    assert fingerprint(pairs) == fingerprint([pair(0), pair(1)])
    others = [pairs[::-1], pairs[:1], [pair(0), pair(2)], [pair(0), Pair(pairs[1].high, pairs[1].low, "swapped")]]
    assert len({fingerprint(other) for other in [pairs, *others]}) == 5


@given(count=st.integers(2, 60), seed=st.integers(0, 99))
def test_images_are_split_four_to_one(count, seed):
    shared = pair()
    pairs = [Pair(shared.low, shared.high, str(i)) for i in range(count)]
    shares = split_pairs(pairs, 16, np.random.default_rng(seed))
    assert [share.pair.name for share in shares] == [str(i) for i in range(count)]
    assert all(share.region == WHOLE for share in shares)
    validating = [share.pair.name for share in shares if share.validates]
    assert len(validating) == max(1, round(count / 5))
    assert len(validating) < count
    again = split_pairs(pairs, 16, np.random.default_rng(seed))
    assert [share.validates for share in again] == [share.validates for share in shares]


def test_the_seed_chooses_which_images_validate():
    pairs = [pair(i) for i in range(10)]
    chosen = {
        tuple(share.validates for share in split_pairs(pairs, 16, np.random.default_rng(seed))) for seed in range(5)
    }
    assert len(chosen) > 1


@given(height=st.integers(16, 200), width=st.integers(16, 200), patch_size=st.sampled_from([16, 32]))
def test_a_single_pair_is_split_into_regions_without_a_common_pixel(height, width, patch_size):
    single = Pair(np.indices((height, width))[0], np.indices((height, width))[1], "single")
    if max(height, width) < 2 * patch_size or min(height, width) < patch_size:
        with pytest.raises(InputError, match=rf"single: {height} x {width} px are too small.*patch"):
            split_pairs([single], patch_size, np.random.default_rng(0))
        return
    shares = split_pairs([single], patch_size, np.random.default_rng(0))
    assert [share.validates for share in shares] == [False, True]
    covered = np.zeros((height, width), int)
    for share in shares:
        covered[share.region] += 1
        assert min(covered[share.region].shape) >= patch_size
    np.testing.assert_array_equal(covered, 1)


def test_no_pair_is_refused():
    with pytest.raises(InputError, match="at least one pair"):
        split_pairs([], 16, np.random.default_rng(0))


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(InputError, match=r"cell is 48 x 40 px, too small for patches of 64 px"):
        source(pair(), 64)


def test_every_place_is_drawn_and_none_outside():
    drawing, places = numbered((20, 19), 16)
    rng = np.random.default_rng(0)
    found = {corner(drawing.draw(rng, augmented=False)[0], places) for _ in range(500)}
    assert found == {(y, x) for y in range(5) for x in range(4)}


def spotted():
    high = np.random.default_rng(0).random((60, 52)) * 10
    high[12:15, 40:43] = 100
    high[44, 9] = 90
    return high


@pytest.mark.parametrize("patch_size", [16, 20])
def test_the_background_filter_keeps_the_centres_csbdeep_keeps(patch_size):
    """After csbdeep 0.8.2, ``no_background_patches(threshold=0.4, percentile=99.9)`` and ``sample_patches``."""
    high = spotted()
    places = np.arange(high.size, dtype=np.float64).reshape(high.shape)
    drawing = source(Pair(places, high, "spots"), patch_size, background_filter=True)
    rng = np.random.default_rng(0)
    found = {corner(drawing.draw(rng, augmented=False)[0], places) for _ in range(4000)}
    mask = maximum_filter(high, size=patch_size // 2, mode="constant") > 0.4 * np.percentile(high, 99.9)
    expected = set()
    for y, x in zip(*np.nonzero(mask), strict=True):
        top, left = y - patch_size // 2, x - patch_size // 2
        if 0 <= top <= high.shape[0] - patch_size and 0 <= left <= high.shape[1] - patch_size:
            expected.add((int(top), int(left)))
    assert 0 < len(expected) < 200
    assert found == expected


def test_an_image_of_background_only_is_drawn_from_anywhere():
    high = np.zeros((32, 32))
    high[0, 0] = 1
    high[31, 31] = -1
    drawing = source(Pair(noise((32, 32)), high, "dim"), 16, background_filter=True)
    assert drawing.draw(np.random.default_rng(0), augmented=True)[0].shape == (16, 16)


def test_the_number_of_centres_is_limited(monkeypatch):
    monkeypatch.setattr("napari_care_losses.training.patches.MAX_CENTRES", 7)
    drawing, places = numbered((40, 40), 16)
    rng = np.random.default_rng(0)
    assert len({corner(drawing.draw(rng, augmented=False)[0], places) for _ in range(300)}) == 7


def test_low_and_high_stay_registered_and_all_eight_orientations_appear():
    drawing, places = numbered((24, 24), 16)
    rng = np.random.default_rng(0)
    orientations = set()
    for _ in range(200):
        low, high = drawing.draw(rng, augmented=True)
        # high = 2 * low, each normalised by percentiles of its own: the same numbers
        np.testing.assert_allclose(low, high, atol=1e-5)
        down, right = np.sign(low[1, 0] - low[0, 0]), np.sign(low[0, 1] - low[0, 0])
        orientations.add((down, right, bool(abs(low[1, 0] - low[0, 0]) > abs(low[0, 1] - low[0, 0]))))
    assert len(orientations) == 8
    plain = [drawing.draw(rng, augmented=False)[0] for _ in range(20)]
    assert all(patch[1, 0] - patch[0, 0] > patch[0, 1] - patch[0, 0] > 0 for patch in plain)
    assert places.shape == (24, 24)


@pytest.mark.parametrize("augmented", [True, False])
def test_the_percentiles_stay_within_their_bounds(augmented):
    image = np.random.default_rng(0).gamma(2, 50, (64, 64))
    drawing = source(Pair(image, image + 1, "gamma"), 64)
    rng = np.random.default_rng(0)
    lows, highs = [], []
    for _ in range(100):
        patch = np.sort(drawing.draw(rng, augmented=augmented)[0].ravel())
        slope, offset = np.polyfit(patch, np.sort(image.ravel()), 1)
        lows.append((image < offset).mean() * 100)
        highs.append((image < offset + slope).mean() * 100)
    one = 100 / image.size
    if augmented:
        assert 1 - one <= min(lows) < 1.4
        assert 2.6 < max(lows) <= 3 + one
        assert 99.5 - one <= min(highs) < 99.6
        assert 99.8 < max(highs) <= 99.9 + one
    else:
        np.testing.assert_allclose(lows, 2, atol=2 * one)
        np.testing.assert_allclose(highs, 99.7, atol=2 * one)


def test_equal_seeds_draw_equal_batches():
    sources = [source(pair(i)) for i in range(3)]
    first, second, other = (draw_batch(sources, 6, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(first, second, strict=True):
        assert a.shape == (6, 1, 16, 16)
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["bool", "uint8", ">u2", "int16", ">i4", "float16", ">f4", "float64"]), st.booleans())
def test_every_real_dtype_is_drawn_alike(dtype, background_filter):
    image = (np.indices((32, 32)).sum(0) % 7 > 3) if dtype == "bool" else np.indices((32, 32)).sum(0) % 7 * 10
    given_pair = Pair(image.astype(dtype), (image[::-1]).astype(dtype), "typed")
    reference = Pair(image.astype(np.float64), image[::-1].astype(np.float64), "typed")
    low, high = source(given_pair, background_filter=background_filter).draw(np.random.default_rng(5), augmented=True)
    expected = source(reference, background_filter=background_filter).draw(np.random.default_rng(5), augmented=True)
    assert low.dtype == high.dtype == np.float32
    np.testing.assert_allclose(low, expected[0], atol=1e-4)
    np.testing.assert_allclose(high, expected[1], atol=1e-4)


def source_of(of=None, **settings):
    rng = np.random.default_rng(0)
    high = 100 + 50 * rng.random((40, 40))
    of = of or Pair(high + rng.normal(0, 5, high.shape), high, "toy")
    parameters = TrainingParameters(patch_size=32, background_filter=False, **settings)
    return PatchSource(Share(of, WHOLE, False), parameters, rng)


def drawn(source, count=40, **options):
    rng = np.random.default_rng(1)
    return [source.draw(rng, **{"augmented": True, **options}) for _ in range(count)]


def test_varied_levels_are_one_gain_and_offset_for_both_exposures():
    slopes = []
    for low, high in drawn(source_of(vary_levels=True)):
        assert low.dtype == high.dtype == np.float32
        slopes.append(high.std() / (low - high).std())
    # the signal to noise is that of the plain patches
    plain = [high.std() / (low - high).std() for low, high in drawn(source_of())]
    assert np.mean(slopes) == pytest.approx(np.mean(plain), rel=0.05)
    spreads = [high.std() for _, high in drawn(source_of(vary_levels=True))]
    assert max(spreads) / min(spreads) > 1.5
    assert max(high.std() for _, high in drawn(source_of())) / min(high.std() for _, high in drawn(source_of())) < 1.3


def test_varied_noise_falls_on_the_low_patches_alone():
    varied, plain = drawn(source_of(vary_noise=True)), drawn(source_of())
    noise = [(low - high).std() for low, high in varied]
    assert max(noise) > 1.3 * max((low - high).std() for low, high in plain)
    assert min(noise) < 1.2 * min((low - high).std() for low, high in plain)
    np.testing.assert_allclose(np.mean([h.std() for _, h in varied]), np.mean([h.std() for _, h in plain]), rtol=0.05)


@pytest.mark.parametrize("redraw_noise", [False, True])
def test_with_matched_levels_the_patches_differ_only_by_noise(redraw_noise):
    """Whatever gain and offset the high image has, its patches are the low ones without their noise."""
    rng = np.random.default_rng(0)
    clean = np.cumsum(rng.standard_normal((64, 64)), axis=0)
    low = 40 * clean + 300 + 60 * rng.standard_normal(clean.shape)
    for gain, offset in ((1.0, 0.0), (7.0, -250.0)):
        made = Pair(low, gain * clean + offset, "cell")
        patches = drawn(source_of(match_levels=True, redraw_noise=redraw_noise, of=made))
        lows, highs = (np.stack(images) for images in zip(*patches, strict=True))
        slope, intercept = np.polyfit(highs.ravel(), lows.ravel(), 1)
        assert slope == pytest.approx(1, abs=0.02)
        assert intercept == pytest.approx(0, abs=0.02)


def test_matched_levels_of_an_empty_field_are_constant():
    low, high = noise(seed=1), 1 - noise(seed=1)
    for _, patch in drawn(source_of(match_levels=True, of=Pair(low, high, "empty"))):
        assert np.ptp(patch) < 1e-5


def test_validation_patches_are_never_varied():
    for varied, plain in zip(
        drawn(source_of(vary_levels=True, vary_noise=True), augmented=False),
        drawn(source_of(), augmented=False),
        strict=True,
    ):
        np.testing.assert_array_equal(varied, plain)
