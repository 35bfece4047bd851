"""The command line: what every command does."""

import errno
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import in_a_process, save_model, status_of, write
from fixtures.random_models import needs_openvino
from scipy import ndimage

import napari_care_losses.cli.main as main_module
from napari_care_losses.evaluation.intervals import Intervals
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.evaluation.truth_limit import truth_limit
from napari_care_losses.evaluation.without_truth.contradictions import find_contradictions
from napari_care_losses.evaluation.without_truth.single_image import measure_image
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.io.untrusted_files import nan_as_null
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, simulate_pairs

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")


class TestRestore:
    @pytest.mark.parametrize("model", ["mine", "there.safetensors"])
    @pytest.mark.parametrize("normalization", ["frame", "stack"])
    def test_restores_by_library_name_or_file(self, folder, model_library, model, normalization):
        saved = save_model(model_library / "mine.safetensors" if model == "mine" else folder / model)
        options = ("--frames", "2:5", "--normalization", normalization, "--tile-size", 32)
        assert status_of("restore", model, "low.tif", "--out", "out.tif", *options) == 0
        restored = tifffile.imread("out.tif")
        assert restored.dtype == np.float32
        parameters = RestorationParameters(normalization=normalization)
        expected = restore(tifffile.imread("low.tif")[2:5], saved, parameters)
        np.testing.assert_allclose(restored, expected, atol=1e-2)

    def test_frame_is_the_default_range(self, folder):
        save_model(folder / "m.safetensors")
        for out, options in (("default.tif", []), ("frame.tif", ["--normalization", "frame"])):
            assert status_of("restore", "m.safetensors", "low.tif", "--out", out, *options) == 0
        np.testing.assert_array_equal(tifffile.imread("default.tif"), tifffile.imread("frame.tif"))

    def test_scale_out_and_dtype(self, folder, capsys):
        save_model(folder / "m.safetensors", Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True))
        more = ("--scale-out", "s.tif", "--dtype", "uint8")
        assert status_of("restore", "m.safetensors", "high.tif", "--out", "out.tif", *more) == 0
        assert tifffile.imread("s.tif").shape == tifffile.imread("out.tif").shape == (6, 28, 24)
        assert tifffile.imread("s.tif").min() > 0
        assert tifffile.imread("out.tif").dtype == np.uint8
        assert "pixels did not fit uint8" in capsys.readouterr().out

    def test_the_low_band_can_be_left_untied(self, folder):
        save_model(folder / "m.safetensors", loss="bandpass", loss_parameters={"sigma_large": 5.0})
        for low_band in ("auto", "tied", "plain"):
            out = f"{low_band}.tif"
            assert status_of("restore", "m.safetensors", "low.tif", "--out", out, "--low-band", low_band) == 0
        auto, tied, plain = (tifffile.imread(f"{low_band}.tif") for low_band in ("auto", "tied", "plain"))
        np.testing.assert_array_equal(auto, tied)
        assert np.abs(tied - plain).max() > 0.1

    @needs_openvino
    def test_8_bits_are_close_and_say_how_close(self, folder, capsys):
        save_model(folder / "m.safetensors")
        for engine in ("torch", "openvino-int8"):
            command = ("restore", "m.safetensors", "low.tif", "--out", f"{engine}.tif", "--engine", engine)
            assert status_of(*command) == 0
            said = capsys.readouterr()
            assert said.err == ""
            assert said.out.startswith("8-bit engine: ") == (engine == "openvino-int8")
            assert said.out.endswith(f"{engine}.tif: 6 frames of 28 x 24 px\n")
        exact, coarse = (tifffile.imread(f"{engine}.tif") for engine in ("torch", "openvino-int8"))
        assert 0 < np.abs(coarse - exact).max() < 0.02 * np.ptp(exact)

    def test_an_engine_that_is_not_installed_is_replaced_and_reported(self, folder, capsys, monkeypatch):
        monkeypatch.setattr("napari_care_losses.restoration.engines.choose.find_spec", lambda name: None)
        save_model(folder / "m.safetensors")
        for engine, is_said in (("auto", False), ("openvino-int8", True)):
            command = ("restore", "m.safetensors", "low.tif", "--out", "out.tif", "--device", "cpu")
            assert status_of(*command, "--engine", engine) == 0
            assert ("OpenVINO is not usable here" in capsys.readouterr().out) == is_said

    def test_resume_of_a_finished_run_ends_with_0_and_changes_nothing(self, folder):
        save_model(folder / "m.safetensors")
        command = ("restore", "m.safetensors", "low.tif", "--out", "out.tif", "--resume")
        assert status_of(*command) == 0
        os.utime("out.tif", ns=(1, 1))
        assert status_of(*command) == 0
        assert (folder / "out.tif").stat().st_mtime_ns == 1
        assert status_of(*command[:-1]) == 0
        assert (folder / "out.tif").stat().st_mtime_ns != 1


class TestEvaluate:
    def scores(self, capsys, *options):
        capsys.readouterr()
        assert status_of("evaluate", "--truth", "high.tif", "--json", *options) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return json.loads(said.out)

    @pytest.mark.parametrize("with_input", [True, False])
    @pytest.mark.parametrize("unaligned", [True, False])
    def test_json_holds_mean_and_frames_of_restored_and_input(self, folder, capsys, with_input, unaligned):
        stacks = {"restored": tifffile.imread("high.tif") + np.uint16(7), "input": tifffile.imread("low.tif")}
        stacks["restored"][:, ::2] += 30
        write("restored.tif", stacks["restored"])
        options = (["--input", "low.tif"] if with_input else []) + (["--unaligned"] if unaligned else [])
        scores = self.scores(capsys, "--restored", "restored.tif", *options)
        expected = ["restored", "input"] if with_input else ["restored"]
        assert scores.keys() == {"mean", "frames"}
        assert len(scores["frames"]) == 6
        truth = tifffile.imread("high.tif")
        for name in expected:
            values = [score(stacks[name][i], truth[i], aligned=not unaligned) for i in range(6)]
            for metric in ("psnr", "ssim"):
                found = [row[name][metric] for row in scores["frames"]]
                assert found == pytest.approx([value[metric] for value in values])
                assert scores["mean"][name][metric] == pytest.approx(np.mean(found))
        assert all(list(row) == expected for row in [scores["mean"], *scores["frames"]])
        if with_input:
            limits = [truth_limit(stacks["input"][i], truth[i]).psnr for i in range(6)]
            assert [row["input"]["psnr_limit"] for row in scores["frames"]] == pytest.approx(limits)
            assert scores["mean"]["input"]["psnr_limit"] == pytest.approx(np.mean(limits))

    def test_frames_select_from_longer_files_and_take_equal_ones_whole(self, folder, capsys):
        low = tifffile.imread("low.tif")
        whole = self.scores(capsys, "--restored", "low.tif", "--input", "low.tif")
        write("part.tif", low[2:5])
        part = self.scores(capsys, "--restored", "part.tif", "--input", "low.tif", "--frames", "2:5")
        assert part["frames"] == whole["frames"][2:5]
        both = self.scores(capsys, "--restored", "low.tif", "--input", "low.tif", "--frames", "2:5")
        assert [row["restored"] for row in both["frames"]] == [row["restored"] for row in whole["frames"][2:5]]

    def test_a_perfect_frame_is_valid_json(self, folder, capsys):
        stack = tifffile.imread("high.tif")
        stack[1:] //= 2
        write("perfect.tif", stack)
        scores = self.scores(capsys, "--restored", "perfect.tif")
        assert scores["mean"]["restored"]["psnr"] is None
        assert scores["frames"][0]["restored"]["ssim"] == pytest.approx(1)

    def test_a_table_for_people(self, folder, capsys):
        assert status_of("evaluate", "--truth", "high.tif", "--restored", "low.tif") == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 + 6 + 1 + 1
        titles = ["PSNR (dB)", "SSIM", "MicroSSIM", "NRMSE", "RSE", "RSP"]
        assert re.split(" {2,}", lines[0].strip()) == ["frame", *(f"restored {title}" for title in titles)]
        assert lines[7].split()[0] == "mean"
        assert math.isfinite(float(lines[7].split()[1]))
        assert "slope" in lines[8]

    def test_without_a_truth_the_resolution_is_measured(self, folder, capsys):
        rng = np.random.default_rng(0)
        stack = ndimage.gaussian_filter(rng.normal(size=(2, 64, 64)), (0, 2, 2)).astype(np.float32)
        write("smooth.tif", stack)
        write("noisy.tif", stack + rng.normal(0, 0.05, stack.shape).astype(np.float32))
        capsys.readouterr()
        command = ["evaluate", "--restored", "smooth.tif", "--input", "noisy.tif"]
        assert status_of(*command, "--json") == 0
        scores = json.loads(capsys.readouterr().out)
        found = scores["frames"][1]["restored"]
        share = find_contradictions(tifffile.imread("noisy.tif")[1], stack[1]).share
        assert found == nan_as_null({**measure_image(stack[1]), "contradictions": share})
        assert scores["mean"]["input"]["frc_resolution_px"] > scores["mean"]["restored"]["frc_resolution_px"]
        assert status_of(*command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 + 2 + 1
        assert "restored FRC resolution (px)" in lines[0]
        assert "restored Contradicting share" in lines[0]


class TestModels:
    def test_json_is_a_list_with_the_documented_keys(self, model_library, capsys):
        intervals = Intervals(levels=(0.9,), brightness=(0.0,), factors=((0.2,),), images=7)
        save_model(model_library / "mine.safetensors", structure="dendra", intervals=intervals)
        assert status_of("models", "--json") == 0
        rows = json.loads(capsys.readouterr().out)
        mine = next(row for row in rows if not row["bundled"])
        assert mine == {
            "name": "mine",
            "structure": "dendra",
            "loss": "mae",
            "preset": "lite",
            "target": "clean",
            "neighbours": 0,
            "intervals": intervals.to_dict(),
            "bundled": False,
            "path": str(model_library / "mine.safetensors"),
        }
        assert all(row.keys() == mine.keys() for row in rows)

    def test_for_an_image_the_models_that_may_be_best_come_first(self, model_library, folder, capsys):
        save_model(model_library / "mine.safetensors")
        low, _ = simulate_pairs("mitochondria", 3, (96, 96), seed=5)
        tifffile.imwrite(folder / "stack.tif", low, photometric="minisblack")
        assert status_of("models", "--for", "stack.tif", "--json") == 0
        rows = json.loads(capsys.readouterr().out)
        # "mine" has random weights
        assert rows[-1]["name"] == "mine"
        found = [row["estimated_psnr"] for row in rows]
        assert found == sorted(found, reverse=True)
        # the frames are of different cells: models for movies fail too
        assert found[-1] < min(row["estimated_psnr"] for row in rows[:-1] if not row["neighbours"]) - 3
        assert rows[0]["behind"] == 0
        assert all(0 < row["uncertainty"] < 10 for row in rows)
        assert all(0 < row["behind_uncertainty"] <= row["uncertainty"] for row in rows[1:-1])
        # the middle frame is taken
        tifffile.imwrite(folder / "middle.tif", low[1])
        assert status_of("models", "--for", "middle.tif") == 0
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith(rows[0]["name"])
        assert f"{found[0]:.1f} dB (" in said[0]

    def test_where_no_psnr_can_be_estimated_the_reason_is_said_once_and_the_order_stays(self, folder, capsys):
        tifffile.imwrite(folder / "small.tif", np.random.default_rng(0).poisson(50, (40, 80)).astype(np.uint8))
        assert status_of("models", "--for", "small.tif") == 0
        said = capsys.readouterr().out
        assert said.startswith("fft-care ")
        assert said.count("at least 64 x 64 px are needed, found 80 x 40") == 1
        assert status_of("models", "--for", "small.tif", "--json") == 0
        first = json.loads(capsys.readouterr().out)[0]
        assert (first["name"], first["estimated_psnr"], first["uncertainty"]) == ("fft-care", None, None)
        assert "at least 64 x 64 px" in first["reason"]

    def test_the_table_names_the_folder(self, model_library, capsys):
        intervals = Intervals(levels=(0.9,), brightness=(0.0,), factors=((0.2,),), images=7)
        save_model(model_library / "mine.safetensors", intervals=intervals)
        assert status_of("models") == 0
        said = capsys.readouterr().out
        assert said.startswith("mine ")
        assert "intervals (7 images)" in said.splitlines()[0]
        assert f"your models: {model_library}" in said


class TestSimulate:
    @pytest.mark.parametrize("structure", ["actin", "mitochondria", "dendra"])
    def test_writes_pairs_that_are_equal_for_equal_seeds(self, folder, structure):
        for out in ("a", "b"):
            assert status_of("simulate", structure, "--out", out, "--size", 64, "--count", 2, "--seed", 3) == 0
        for name in ("low", "high"):
            stack = tifffile.imread(folder / "a" / f"{name}.tif")
            assert stack.shape == (2, 64, 64)
            assert stack.dtype == np.uint16
            np.testing.assert_array_equal(stack, tifffile.imread(folder / "b" / f"{name}.tif"))
        assert tifffile.imread("a/high.tif").mean() > tifffile.imread("a/low.tif").mean()

    def test_the_exposures_are_options(self, folder):
        for out, exposure in (("dim", 1), ("bright", 50)):
            exposures = ("--low-ms", exposure, "--high-ms", 400)
            assert status_of("simulate", "actin", "--out", out, "--size", 64, "--count", 1, *exposures) == 0
        assert tifffile.imread("bright/low.tif").mean() > tifffile.imread("dim/low.tif").mean() + 1

    @pytest.mark.parametrize(
        ("options", "axes", "time_step", "z_step"),
        [
            ("", "TYX", None, None),
            ("--kind movie", "TYX", STRUCTURES["actin"].interval_s, None),
            ("--kind movie --interval 5", "TYX", 5.0, None),
            ("--kind z-stack", "ZYX", None, 0.3),
            ("--kind z-stack --z-step 0.5", "ZYX", None, 0.5),
        ],
    )
    def test_files_say_how_far_apart_frames_and_planes_are(self, folder, options, axes, time_step, z_step):
        size = ("--size", 64, "--count", 2)
        assert status_of("simulate", "actin", "--out", "out", *size, *options.split()) == 0
        for name in ("low", "high"):
            frames = read_stack(Path("out") / f"{name}.tif")
            assert (frames.axes, frames.shape) == (axes, (2, 64, 64))
            assert (frames.calibration.time_step, frames.calibration.z_step) == (time_step, z_step)


def test_a_failure_not_caused_by_the_input_ends_with_status_1(folder, capsys, monkeypatch):
    def fail(self, x):
        raise RuntimeError("out of memory")

    save_model(folder / "m.safetensors")
    monkeypatch.setattr(CareNetwork, "forward", fail)
    assert status_of("restore", "m.safetensors", "low.tif", "--out", "out.tif", "--engine", "torch") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "out of memory" in said
    assert not (folder / "out.tif").exists()


def test_former_names_of_bundled_models_are_said_once_each(folder, capsys):
    methods = ("actin-fft-lite", "dendra-laplace-lite", "tv")
    assert status_of("compare", "low.tif", "--frames", "0:1", "--methods", *methods, "--out", "report.html") == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "napari-care-losses: note: actin-fft-lite is now fft-lite: one model for every structure.",
        "napari-care-losses: note: dendra-laplace-lite is now laplace-lite: one model for every structure.",
    ]
    assert all(name in (folder / "report.html").read_text() for name in ("fft-lite", "laplace-lite"))


def test_help_of_every_command_and_the_version(capsys):
    for command in ("", "train", "restore", "evaluate", "models", "import", "export", "simulate", "demo"):
        assert status_of(*command.split(), "--help") == 0
        assert "usage: napari-care-losses" in capsys.readouterr().out
    assert status_of("--version") == 0
    assert status_of() == 0
    assert capsys.readouterr().out.count("usage: napari-care-losses") == 1


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_name_that_the_output_has_no_letters_for_is_escaped(folder, encoding):
    (folder / "low.tif").rename(folder / "細胞.tif")
    done = subprocess.run(
        in_a_process(*"restore fft-lite 細胞.tif --out 細胞2.tif --frames 0:1".split()),
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u7d30\u80de2.tif: 1 frames" in done.stdout


def test_the_broken_pipe_of_windows_is_no_error(monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    silenced = []
    monkeypatch.setattr(main_module, "_print_no_more", lambda: silenced.append(True))
    monkeypatch.setattr(main_module, "_parser", fail)
    monkeypatch.setattr(main_module, "_IS_WINDOWS", True)
    assert main_module.main([]) == 1
    assert (capsys.readouterr().err, silenced) == ("", [True])
    monkeypatch.setattr(main_module, "_IS_WINDOWS", False)
    assert main_module.main([]) == 1
    assert capsys.readouterr().err == "napari-care-losses: error: Invalid argument\n"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has a device that is always full")
@pytest.mark.parametrize("command", ["models", "evaluate --restored low.tif --truth high.tif --json"])
def test_printing_to_a_full_disk_is_one_line(folder, command):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            in_a_process(*command.split()), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "napari-care-losses: error: No space left on device\n"
