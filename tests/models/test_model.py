import dataclasses
import json
import os
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from napari_care_losses.errors import InputError, ModelFileError, OutputError
from napari_care_losses.evaluation.intervals import Intervals
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.models.architecture import PRESETS, Architecture
from napari_care_losses.models.model import FORMAT, HEADER, STRUCTURE_NAMES, Model, ModelCard, load_model, read_card
from napari_care_losses.models.unet import CareNetwork

TINY = Architecture(kernel_size=3, filters=2, depth=1)
INTERVALS = Intervals(levels=(0.5, 0.9), brightness=(0.0,), factors=((0.7,), (2.3,)), images=3, uses_scale=True)


def make_model(architecture=TINY, seed=0, **card):
    network = CareNetwork(architecture, torch.Generator().manual_seed(seed))
    return Model(
        ModelCard(**{"structure": "actin", "loss": "mae", "architecture": architecture, **card}), network.state_dict()
    )


@settings(max_examples=20, deadline=None)
@given(
    depth=st.integers(1, 3),
    kernel_size=st.sampled_from([3, 5]),
    filters=st.integers(1, 4),
    residual=st.booleans(),
    predicts_scale=st.booleans(),
)
def test_a_saved_model_is_loaded_unchanged(tmp_path_factory, depth, kernel_size, filters, residual, predicts_scale):
    architecture = Architecture(
        depth=depth, kernel_size=kernel_size, filters=filters, residual=residual, predicts_scale=predicts_scale
    )
    model = make_model(architecture, training={"steps": 3, "names": ["a", "µ"]})
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    model.save(path)
    loaded = load_model(path)
    assert loaded.card == model.card == read_card(path)
    assert loaded.weights.keys() == model.weights.keys()
    assert all(torch.equal(loaded.weights[name], value) for name, value in model.weights.items())
    assert loaded.digest() == model.digest()
    image = torch.rand(1, 1, 16, 24)
    with torch.inference_mode():
        reference = CareNetwork(architecture)
        reference.load_state_dict(model.weights)
        assert torch.equal(loaded.network()(image).mean, reference(image).mean)


@pytest.mark.parametrize("predicts_scale", [True, False])
def test_the_file_s_tensors_are_the_network_s_parameters_and_nothing_else(tmp_path, predicts_scale):
    architecture = dataclasses.replace(TINY, predicts_scale=predicts_scale)
    make_model(architecture).save(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    parameters = dict(CareNetwork(architecture).named_parameters())
    assert {name: value.shape for name, value in tensors.items()} == {
        name: value.shape for name, value in parameters.items()
    }
    assert sum(value.numel() for value in tensors.values()) == sum(p.numel() for p in parameters.values())


def test_a_loaded_network_is_ready_to_restore():
    network = make_model().network()
    assert not network.training


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_the_card_survives_json(structure):
    card = ModelCard(
        structure=structure,
        loss="bandpass",
        loss_parameters={"sigma_small": 0.5, "sigma_large": 4.0},
        preset="care",
        architecture=PRESETS["care"],
        normalization=PercentileNormalization(low=1, high=99),
        training={"steps": 10, "best_validation_loss": None, "versions": {"torch": "2"}},
        statistics={"version": 1, "images": 2, "centre": {"noise": -1.25}, "correlation": [[1.0]]},
        intervals=INTERVALS,
    )
    assert ModelCard.from_json(card.to_json()) == card
    assert json.loads(card.to_json())["format"] == FORMAT


def test_a_card_without_image_statistics_and_intervals_is_read(tmp_path):
    card = card_with()
    assert not {"statistics", "intervals"} & card.keys()
    save_file(make_model().weights, tmp_path / "m", metadata={HEADER: json.dumps(card)})
    assert read_card(tmp_path / "m").statistics == {} == load_model(tmp_path / "m").card.statistics
    assert read_card(tmp_path / "m").intervals is None


def test_image_statistics_and_intervals_make_no_other_model():
    """A training that started from a model can be resumed after they were added to it."""
    assert make_model(statistics={"version": 1}, intervals=INTERVALS).digest() == make_model().digest()


def test_an_unknown_structure_is_refused():
    with pytest.raises(InputError, match="actin, mitochondria, dendra, other; found 'yeast'"):
        ModelCard(structure="yeast", loss="mae", architecture=TINY)


def card_with(**changes):
    values = json.loads(make_model().card.to_json())
    for name, value in changes.items():
        if value is None:
            del values[name]
        elif isinstance(value, dict):
            values[name] = values.get(name, {}) | value
        else:
            values[name] = value
    return values


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ("null", "damaged"),
        ("[" * 100_000, "damaged"),
        (card_with(format=FORMAT + 1), f"format {FORMAT + 1}; this version reads up to {FORMAT}"),
        (card_with(format="x"), "damaged"),
        (card_with(format=float("inf")), "damaged"),
        (card_with(format=None), "damaged"),
        (card_with(architecture=None), "damaged"),
        (card_with(training=3), "damaged"),
        (card_with(statistics=3), "damaged"),
        (card_with(intervals=3), "damaged"),
        (card_with(intervals={"levels": [0.5]}), "damaged"),
        (card_with(intervals=INTERVALS.to_dict() | {"factors": [["x"], [1.0]]}), "damaged"),
        (card_with(intervals=INTERVALS.to_dict() | {"levels": [0.5, 5.0]}), "Intervals need levels between 0 and 1"),
        (card_with(structure="yeast"), "structure must be one of"),
        (card_with(architecture={"filters": 257}), "filters must lie between 1 and 256, found 257"),
        (card_with(architecture={"filters": 10**12}), "filters must lie between"),
        (card_with(architecture={"depth": 40}), "depth must lie between"),
        (card_with(architecture={"depth": 0}), "depth must lie between"),
        (card_with(architecture={"kernel_size": 10**6 + 1}), "kernel_size must lie between"),
        (card_with(architecture={"filters": "many"}), "filters must be of type int"),
        (card_with(architecture={"code": "import os"}), "no parameter 'code'"),
        (card_with(normalization={"low": float("nan")}), "low must lie between"),
        (card_with(normalization={"high": 101}), "high must lie between"),
    ],
)
def test_an_impossible_card_is_refused_before_a_network_is_built(tmp_path, monkeypatch, card, message):
    path = tmp_path / "m.safetensors"
    text = card if isinstance(card, str) else json.dumps(card)
    save_file(make_model().weights, path, metadata={HEADER: text})
    monkeypatch.setattr("napari_care_losses.models.unet.CareNetwork", None)
    for read in (read_card, load_model):
        with pytest.raises(ModelFileError, match=message):
            read(path)


def test_a_small_file_that_claims_the_largest_network_takes_no_memory(tmp_path):
    """With 128 filters of 7 x 7 at depth 4 its weights would take more than a gigabyte."""
    resource = pytest.importorskip("resource", reason="peak memory is read the Unix way")
    card = json.dumps(card_with(architecture={"filters": 128, "depth": 4, "kernel_size": 7}))
    save_file(make_model().weights, tmp_path / "m", metadata={HEADER: card})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match="claims a network of 478,494,593 weights"):
        load_model(tmp_path / "m")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_an_even_kernel_is_refused(tmp_path):
    """An even kernel would shift the image and change its size."""
    save_file(
        make_model().weights, tmp_path / "m", metadata={HEADER: json.dumps(card_with(architecture={"kernel_size": 4}))}
    )
    with pytest.raises(ModelFileError, match="kernel_size must be odd, found 4"):
        load_model(tmp_path / "m")


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    make_model().save(path)
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    contents = {
        "empty": b"",
        "text": b"this is not a model" * 10,
        "header only": whole[: 8 + length],
        "cut in the header": whole[:50],
        "cut in the weights": whole[:-3],
        "a huge header": struct.pack("<Q", 2**62) + whole[8:],
    }
    for name, content in contents.items():
        path.write_bytes(content)
        for read in (read_card, load_model):
            with pytest.raises(ModelFileError, match="is no model file"):
                read(path)
                pytest.fail(name)
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelFileError, match="There is no model file"):
            load_model(missing)


def test_a_file_without_a_card_is_not_ours(tmp_path):
    for metadata in (None, {"format": "pt"}):
        save_file(make_model().weights, tmp_path / "m.safetensors", metadata=metadata)
        with pytest.raises(ModelFileError, match="not made by napari-care-losses"):
            load_model(tmp_path / "m.safetensors")


def without(weights, name):
    return {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: without(w, "mean.bias"), "do not fit.*mean.bias"),
        (lambda w: {**w, "extra": torch.zeros(1)}, "do not fit.*extra"),
        (lambda w: {**w, "mean.weight": torch.zeros(1, 3, 1, 1)}, "do not fit.*mean.weight"),
        (lambda w: {**w, "mean.bias": torch.full((1,), torch.nan)}, "not finite float32"),
        (lambda w: {**w, "mean.bias": torch.full((1,), torch.inf)}, "not finite float32"),
        (lambda w: {**w, "mean.bias": torch.zeros(1, dtype=torch.float64)}, "not finite float32"),
        (lambda w: {}, "do not fit"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, message):
    model = make_model()
    save_file(change(model.weights), tmp_path / "m", metadata={HEADER: model.card.to_json()})
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_file_s_mode_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        make_model().save(tmp_path / "m.safetensors")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "m.safetensors").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("failing", ["os.replace", "os.fsync", "pathlib.Path.write_bytes"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "m.safetensors"
    old = make_model(seed=0)
    old.save(path)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(failing, fail)
    with pytest.raises(OutputError, match=r"m\.safetensors cannot be written: No space left"):
        make_model(seed=1).save(path)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
    assert load_model(path).digest() == old.digest()


def test_a_name_too_long_for_what_is_written_beside_it_is_refused(tmp_path):
    with pytest.raises(InputError, match="too long: at most"):
        make_model().save(tmp_path / ("m" * 250))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"folder .*none does not exist"):
        make_model().save(tmp_path / "none" / "m.safetensors")


def test_the_digest_differs_between_models():
    models = [make_model(), make_model(seed=1), make_model(loss="mse"), make_model(training={"steps": 1})]
    assert len({model.digest() for model in models}) == 4
    assert make_model().digest() == models[0].digest()


def test_the_digest_is_independent_of_date_and_duration_of_the_training():
    first = make_model(training={"steps": 4, "seconds": 1.5, "date": "2026-01-01"})
    later = make_model(training={"steps": 4, "seconds": 1.6, "date": "2026-02-03"})
    assert first.digest() == later.digest()
    assert first.digest() != make_model(training={"steps": 5}).digest()


def test_tensors_and_arrays_make_the_same_model(tmp_path):
    model = make_model()
    other = Model(model.card, model.weights)
    assert other.digest() == model.digest()
    for name, each in {"arrays": Model(model.card, model.arrays), "tensors": other}.items():
        each.save(tmp_path / name)
    assert (tmp_path / "arrays").read_bytes() == (tmp_path / "tensors").read_bytes()
    # the file of safetensors' own function for torch
    expected = save(model.weights, metadata={HEADER: model.card.to_json()})
    assert (tmp_path / "arrays").read_bytes() == expected


def test_weights_are_tensors_in_the_memory_of_the_arrays():
    model = make_model()
    model.weights["mean.bias"].fill_(3)
    assert model.arrays["mean.bias"].tolist() == [3]


def test_arrays_that_cannot_be_written_to_are_copied():
    model = make_model()
    fixed = {name: values.copy() for name, values in model.arrays.items()}
    for values in fixed.values():
        values.setflags(write=False)
    assert Model(model.card, fixed).digest() == model.digest()
    Model(model.card, fixed).weights["mean.bias"].fill_(3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_that_are_not_float32_are_refused(tmp_path, dtype):
    model = make_model()
    weights = {name: values.to(dtype) for name, values in model.weights.items()}
    save_file(weights, tmp_path / "m", metadata={HEADER: model.card.to_json()})
    with pytest.raises(ModelFileError, match="not finite float32"):
        load_model(tmp_path / "m")
