"""Attacks by states, notes, tables and results of experiments fail; see `docs/explanation/threats.md`."""

import json

import pytest
import torch
from fixtures.toy_trainings import trainer
from safetensors.torch import save_file

from napari_care_losses.errors import InputError, ResumeError
from napari_care_losses.experiments.entries import read_experiments
from napari_care_losses.experiments.results import load_result
from napari_care_losses.io.written_frames import Journal, journal_path
from napari_care_losses.training.checkpoint import STATE_HEADER, read_state, read_stopped, write_state

ESCAPES = "\x1b[2J\x1b]0;gone\x07\u202e\r\n\x00\ud800"


class TestStates:
    """What a training is resumed from: our own format, in a folder that others may write to."""

    @pytest.fixture
    def state(self, tmp_path, tiny_preset):
        started = trainer()
        for _, _ in zip(range(7), started.run(), strict=False):
            pass
        started.save_state(tmp_path / "m.resume")
        return tmp_path / "m.resume"

    @pytest.mark.parametrize(
        ("part", "change"),
        [
            ("progress", {"step": -1}),
            ("progress", {"step": "7"}),
            ("progress", {"step": float("inf")}),
            ("progress", {"seconds": float("nan")}),
            ("progress", {"seconds": 10**39}),
            ("progress", {"history": [[1, 2, 3]]}),
            ("progress", {"history": [["a", 2, 0.1, 0.1, 0.1, True]]}),
            ("progress", {"history": {}}),
            ("progress", {"epoch_losses": {}}),
            ("progress", {"epoch_losses": ["a"]}),
            ("progress", {"other": 1}),
            ("plateau", {"best": "low"}),
            ("plateau", {"num_bad_epochs": None}),
            ("rng", {"state": {"state": -1, "inc": 0}}),
            ("rng", {"bit_generator": "MT19937"}),
        ],
    )
    def test_values_of_another_kind_are_refused(self, state, part, change):
        values, tensors = read_state(state)
        values[part] |= change
        write_state(state, values, tensors)
        with pytest.raises(ResumeError, match="no resumable training"):
            trainer().load_state(state)

    def test_what_a_schedule_is_given_stays_a_number(self, state):
        """Torch would take any name for an attribute of its own, a method's too."""
        values, tensors = read_state(state)
        values["plateau"] |= {"step": 5, "optimizer": None, "mode": "max"}
        write_state(state, values, tensors)
        started = trainer()
        started.load_state(state)
        assert started._learner.plateau.mode == "min"
        assert callable(started._learner.plateau.step)

    @pytest.mark.parametrize("prefix", ["weights.", "best.", "adam.0.exp_avg", "adam.0.step"])
    def test_tensors_of_another_network_are_refused(self, state, prefix):
        values, tensors = read_state(state)
        name = next(name for name in tensors if name.startswith(prefix))
        for change in (torch.zeros(2, 2), torch.full((), -1e9), None):
            changed = (
                {**tensors, name: change} if change is not None else {k: v for k, v in tensors.items() if k != name}
            )
            write_state(state, values, changed)
            with pytest.raises(ResumeError, match="no resumable training"):
                trainer().load_state(state)

    def test_moments_of_parameters_that_there_are_not_are_refused(self, state):
        values, tensors = read_state(state)
        for name in ("adam.999.exp_avg", "adam.-1.step", "adam.x.step", "adam.0.a.b"):
            write_state(state, values, {**tensors, name: torch.zeros(1)})
            with pytest.raises(ResumeError, match="no resumable training"):
                trainer().load_state(state)

    @pytest.mark.parametrize("values", [[], "x", {}, {"identity": 3}, {"identity": {}, "progress": [1]}])
    def test_other_values_are_no_state(self, tmp_path, values):
        path = tmp_path / "m.resume"
        save_file({}, path, metadata={STATE_HEADER: json.dumps(values)})
        with pytest.raises(ResumeError, match="no resumable training"):
            read_stopped(path)


class TestJournals:
    """Which frames of a file are written, noted beside it."""

    @pytest.mark.parametrize(
        "text",
        ["{\n", "[]\n", "null\n", "{}\n", "\xff\n", "[" * 9999 + "\n", '{"job": "x"}\nzero\n', "9" * 5000 + "\n"],
    )
    def test_a_damaged_one_is_said(self, tmp_path, text):
        path = tmp_path / "a.tif"
        journal_path(path).write_bytes(text.encode("latin-1"))
        with pytest.raises(ResumeError, match=r"is damaged .* leave out --resume"):
            Journal(path, {}).reopen()
        assert journal_path(path).read_bytes() == text.encode("latin-1")


class TestExperiments:
    """Tables of experiments are data: their names make files only in the folder of the run."""

    ENTRY = '{ structure = "actin", low_ms = 1, high_ms = 100, fields = 9, seed = 1 }'

    def table(self, tmp_path, text):
        path = tmp_path / "own.toml"
        path.write_text(text, encoding="utf-8")
        return path

    @pytest.mark.parametrize(
        "name", ["../x", "a/b", "/x", "..", ".x", "C:\\x", "x\\u0000", "x" * 200, "", "\\u001b[2J"]
    )
    def test_a_name_or_label_that_could_be_a_path_is_refused(self, tmp_path, name):
        for text in (
            f'["{name}"]\ntrain = {self.ENTRY}\ntest = {self.ENTRY}\nlosses = ["mae"]\n',
            f'[own]\ntrain = {self.ENTRY}\nlosses = ["mae"]\n[own.tests]\n"{name}" = {self.ENTRY}\n',
        ):
            with pytest.raises(InputError, match=r"files are called after it|is no TOML"):
                read_experiments(self.table(tmp_path, text.replace("C:\\x", "C:\\\\x")))

    @pytest.mark.parametrize(
        "text",
        [
            "x = " + "[" * 5000,
            "x = " + "9" * 5000,
            "x = 1",
            "[own]\ntests = [1]\nlosses = ['mae']\ntrain = 3",
            "[own]\ntrain = {}\ntest = {}\nmethods = []",
            "[own]\ntrain = {}\ntest = {}\nlosses = [[1]]",
            "[own]\ntrain = {}\ntest = {}\nlosses = 5",
            "[own]\ntrain = {}\ntest = {}\nlosses = ['mae']\nthreshold = 5",
            "[own]\ntrain = {low = 1, high = 2}\ntest = {}\nlosses = ['mae']",
            "x" * (2 << 20),
        ],
    )
    def test_tables_of_another_kind_are_our_own_error(self, tmp_path, text):
        with pytest.raises(InputError, match=r"own\.toml"):
            read_experiments(self.table(tmp_path, text))

    @pytest.mark.parametrize(
        "change",
        [{"methods": 3}, {"name": 1}, {"threshold": {"metric": {}, "value": 1}}, {"scores": []}, {"notes": [1]}],
    )
    def test_a_damaged_result_is_no_result(self, tmp_path, change):
        values = {"name": "a", "title": "a", "experiment": "a", "label": "", "identity": "x", "methods": ["input"]}
        values |= {"reference": "input", "independent": True, "scores": {}, "rows": []}
        (tmp_path / "a.json").write_text(json.dumps(values))
        assert not load_result(tmp_path / "a.json").has_even_scores
        (tmp_path / "a.json").write_text(json.dumps(values | change))
        with pytest.raises(InputError, match="no result of an experiment"):
            load_result(tmp_path / "a.json")
