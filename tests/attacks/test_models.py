"""Attacks by model files and packages fail (`docs/explanation/threats.md`); those by archives: `test_archives.py`."""

import json
import os
import pickle
import struct
import sys
import zipfile

import pytest
import torch
from fixtures.cli_runs import names, save_model, status_of
from fixtures.csbdeep_models import csbdeep_files, zip_of
from fixtures.imported_models import read_foreign
from fixtures.random_models import TINY, make_model
from safetensors.torch import save_file

from napari_care_losses.errors import CareError, InputError, ModelFileError, ParameterError, ResumeError, printable
from napari_care_losses.images.normalization import PercentileNormalization
from napari_care_losses.interchange.archives import open_contents
from napari_care_losses.interchange.bioimageio.rdf import read_description
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.io.untrusted_files import checked, read_json
from napari_care_losses.models.library import find_model, new_model_path
from napari_care_losses.models.model import HEADER, ModelCard, load_model, read_card
from napari_care_losses.training.checkpoint import read_state, read_stopped

ESCAPES = "\x1b[2J\x1b]0;gone\x07\u202e\r\n\x00\ud800"


class Marked:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def with_card(path, **changes):
    """Write a model file whose card says something else."""
    card = json.loads(make_model().card.to_json()) | changes
    save_file(make_model().weights, path, metadata={HEADER: json.dumps(card)})
    return path


class TestNothingIsUnpickled:
    """Neither as a model, nor as weights, nor as a state."""

    @pytest.fixture
    def pickled(self, tmp_path):
        """Return pickles that would leave a folder, plain and as torch saves them; in the end there is none."""
        path = tmp_path / "saved"
        torch.save({"weights": Marked(tmp_path / "mark")}, path)
        yield [pickle.dumps(Marked(tmp_path / "mark")), path.read_bytes()]
        assert not (tmp_path / "mark").exists()

    @pytest.mark.parametrize("number", [0, 1])
    def test_as_a_model_or_a_state(self, tmp_path, pickled, number):
        for name, read in (("m.safetensors", load_model), ("m.resume", read_state), ("n.resume", read_stopped)):
            (tmp_path / name).write_bytes(pickled[number])
            with pytest.raises(InputError):
                read(tmp_path / name)

    @pytest.mark.parametrize("number", [0, 1])
    def test_as_weights_of_csbdeep(self, tmp_path, pickled, number):
        files = dict(csbdeep_files()) | {"weights_best.h5": pickled[number]}
        with pytest.raises(ModelFileError, match="no HDF5 file"):
            read_foreign(zip_of(tmp_path / "m.zip", files.items()))

    def test_as_the_network_of_a_package(self, tmp_path, pickled):
        card = make_model().card.to_json()
        described = {"type": "model", "config": {"napari_care_losses": {"card": card}}}
        described["weights"] = {"pytorch_state_dict": {"source": "weights.pt"}}
        for data in pickled:
            files = {"rdf.yaml": json.dumps(described).encode(), "weights.pt": data}
            with pytest.raises(ModelFileError, match=r"not loaded|is damaged"):
                read_foreign(zip_of(tmp_path / "m.zip", files.items()))


class TestYaml:
    """Makes plain values only, and few of them."""

    @pytest.mark.parametrize(
        "text",
        [
            "x: !!python/object/apply:os.mkdir [mark]",
            "x: !!python/name:os.system",
            "x: !!python/module:os",
            "x: !!python/object/new:os.mkdir [mark]",
            "a: &a [x, x, x]\nb: [*a, *a]",
            "<<: &a {type: model}\nb: *a",
            "&a x: *a",
            "type: model\nx: 1" + ":59" * 20_000,
            "type: model\nx: " + "9" * 5000,
            "type: model\nx: " + "9" * 60,
            "[" * 50_000,
            "- a\n" * 60_000,
            "x: " + "{a: " * 50 + "1" + "}" * 50,
            b"\xff\xfe\x00",
            "\x00",
            "a: b: c",
            "{a: 1",
            "a: 2026-99-99 00:00:00",
            "? [a, b]\n: c\ntype: model",
        ],
    )
    def test_anything_else_is_refused(self, tmp_path, monkeypatch, text):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "rdf.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with open_contents(tmp_path, ("rdf.yaml",)) as (contents, name), pytest.raises(ModelFileError, match="damaged"):
            read_description(contents, name)
        assert names(tmp_path) == ["rdf.yaml"]


class TestNames:
    """Names from files are shown without what a terminal would obey, and are never paths."""

    def test_text_is_shown_without_what_a_terminal_would_obey(self):
        assert printable("a µ ✓ 日本") == "a µ ✓ 日本"
        assert printable(ESCAPES) == r"\x1b[2J\x1b]0;gone\x07\u202e\r\n\x00\ud800"
        assert checked({ESCAPES: [ESCAPES, 1, None]}) == {printable(ESCAPES): [printable(ESCAPES), 1, None]}
        assert str(CareError(f"one\ntwo {ESCAPES}")).startswith("one\ntwo \\x1b[2J")
        assert len(str(CareError("x" * 10**6))) < 20_000

    def test_a_card_s_words_are_shown_so_too(self, tmp_path, model_library, capsys):
        with_card(
            model_library / "m.safetensors",
            loss=ESCAPES,
            preset=ESCAPES,
            training={"names": [ESCAPES], "date": ESCAPES},
        )
        assert status_of("models") == 0
        said = capsys.readouterr().out
        assert all(line.isprintable() for line in said.splitlines())
        assert r"\x1b[2J" in said
        with_card(tmp_path / "s.safetensors", structure=ESCAPES)
        assert status_of("restore", tmp_path / "s.safetensors", "x.tif", "--out", tmp_path / "y.tif") == 2
        assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())

    @pytest.mark.parametrize(
        "name",
        [
            "../x",
            "/etc/x",
            "a/b",
            "C:x",
            "..",
            ".x",
            "x\0",
            "x\x1b[2J",
            "\ud800",
            "con",
            "NUL.old",
            "lpt1",
            "x.",
            "a" * 300,
        ],
    )
    def test_a_name_for_the_library_is_a_plain_file_name(self, model_library, name):
        with pytest.raises(InputError, match="plain file name"):
            new_model_path(name)
        assert names(model_library) == []

    @pytest.mark.parametrize("name", ["a" * 300, "a" * 70_000, "x\0y", "\ud800"])
    def test_what_can_be_no_path_is_said(self, tmp_path, name, capsys):
        for read in (find_model, lambda name: read_stack(tmp_path / name)):
            with pytest.raises(InputError):
                read(name)
        assert status_of("evaluate", "--restored", name, "--truth", name) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert len(said) < 1000


class TestSizes:
    """Headers cannot ask for absurd sizes."""

    def test_a_header_is_not_parsed_beyond_a_size(self, tmp_path):
        path = tmp_path / "m.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", 99 << 20))
            file.truncate(100 << 20)
        for read in (read_card, load_model):
            with pytest.raises(ModelFileError, match="header claims 103,809,024 bytes"):
                read(path)
        path = path.rename(tmp_path / "m.resume")
        with pytest.raises(ResumeError, match="header claims"):
            read_state(path)

    def test_tensors_are_compared_with_the_card_before_they_are_read(self, tmp_path):
        """A file with a hole of 64 GB, as large as it claims: its weights would not fit into the memory."""
        card = make_model().card.to_json()
        size = 64 << 30
        table = {"__metadata__": {HEADER: card}}
        table["down.0.0.weight"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
        header = json.dumps(table).encode()
        path = tmp_path / "m.safetensors"
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            try:
                file.truncate(8 + len(header) + size)
            except OSError:
                pytest.skip("the file system has no files with holes")
        with pytest.raises(ModelFileError, match=r"do not fit|is damaged"):
            load_model(path)

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            '{"a":' * 100_000,
            "[" * 40 + "]" * 40,
            "9" * 60,
            "9" * 5000,
            '"' + "x" * (17 << 20) + '"',
            "{" * 10,
            "",
        ],
    )
    def test_json_is_bounded(self, text):
        with pytest.raises(ValueError, match=r"."):
            read_json(text)

    @pytest.mark.parametrize("number", [10**400, -(10**400), 10**18, float("nan"), float("inf")])
    def test_numbers_that_no_float_holds_are_out_of_bounds(self, number):
        with pytest.raises(ParameterError, match="low must lie between"):
            PercentileNormalization(low=number)

    def test_deeply_nested_provenance_is_no_card(self, tmp_path):
        nested = []
        for _ in range(200):
            nested = [nested]
        with pytest.raises(ModelFileError, match="levels of lists"):
            read_card(with_card(tmp_path / "m.safetensors", training={"x": nested}))

    def test_values_that_are_no_table_are_no_parameters(self):
        with pytest.raises(ParameterError, match="Expected a table"):
            ModelCard.from_json(make_model().card.to_json()).architecture.from_dict([1, 2])

    @pytest.mark.parametrize(
        "arguments",
        [("--count", 10**18), ("--size", 10**9), ("--size", 10**30), ("--low-ms", 1e300), ("--count", 10**30)],
    )
    def test_simulations_that_no_memory_holds_are_refused(self, tmp_path, arguments, capsys):
        assert status_of("simulate", "actin", "--out", tmp_path / "x", *arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert names(tmp_path) == []


def test_an_archive_in_an_archive_is_not_opened(tmp_path):
    inner = zip_of(tmp_path / "inner.zip", csbdeep_files())
    with pytest.raises(ModelFileError, match="not a model in a known format"):
        read_foreign(zip_of(tmp_path / "m.zip", [("inner.zip", inner.read_bytes())]))


def test_an_entry_without_a_name_is_not_trusted(tmp_path):
    entry = zipfile.ZipInfo("x")
    entry.filename = ""
    with pytest.raises(ModelFileError, match="not trusted"):
        read_foreign(zip_of(tmp_path / "m.zip", [*csbdeep_files(), (entry, b"")]))


@pytest.mark.parametrize("change", [{"train_loss": ["mae"]}, {"train_loss": {}}, {"unet_n_depth": 10**39}])
def test_settings_of_another_kind_are_our_own_error_or_change_nothing(tmp_path, change):
    files = dict(csbdeep_files())
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | change).encode()
    path = zip_of(tmp_path / "m.zip", files.items())
    if "train_loss" in change:
        assert read_foreign(path).card.loss == "mae"
    else:
        with pytest.raises(ModelFileError, match="depth must lie between"):
            read_foreign(path)


def test_models_made_here_are_not_touched_by_any_of_it(tmp_path):
    """Names of images may hold anything that a file's name may."""
    model = save_model(tmp_path / "m.safetensors", TINY, training={"names": ["a µ", "日本", "x y"], "steps": 7})
    assert load_model(tmp_path / "m.safetensors").card == model.card
    assert sys.getsizeof(model.card.to_json()) < 10_000
