"""Bad input to the command line ends with status 2, one line and no file."""

import subprocess

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import QUICK, in_a_process, names, save_model, status_of, train, write

from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.models.architecture import Architecture

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder")


TRAIN = "train --low low.tif --high high.tif --loss mae --out m.safetensors --steps 1 " + " ".join(QUICK)
RESTORE = "restore good.safetensors low.tif --out out.tif"
EVALUATE = "evaluate --restored low.tif --truth high.tif"
COMPARE = "compare low.tif --methods good.safetensors --truth high.tif --out report.html"
TV = "compare low.tif --methods tv --out report.html"
EXPORT = "export fft-lite --out p.zip"
FROM_ZARR = "restore good.safetensors low.ome.zarr --out low.ome.zarr"
BAD = {
    "unknown command": ("improve", "invalid choice"),
    "train: missing input": (TRAIN.replace("low.tif", "none.tif"), "no file none.tif"),
    "train: missing folder": (TRAIN.replace("m.safetensors", "none/m.safetensors"), "folder none does not exist"),
    "train: no model file": (TRAIN.replace("m.safetensors", "m.pt"), "must end in .safetensors"),
    "train: truncated": (TRAIN.replace("low.tif", "cut.tif"), "cut.tif cannot be read"),
    "train: RGB": (TRAIN.replace("low.tif", "rgb.tif"), "RGB"),
    "train: counts of files": (TRAIN.replace("low.tif", "low.tif low.tif"), "2 low and 1 high"),
    "train: counts of frames": (TRAIN.replace("low.tif", "short.tif"), "same shape, found (2, 28, 24) and (6, 28, 24)"),
    "train: shapes": (TRAIN.replace("low.tif", "wide.tif"), "same shape"),
    "train: identical": (TRAIN.replace("low.tif", "high.tif"), "same image"),
    "train: constant": (TRAIN.replace("high.tif", "flat.tif"), "constant"),
    "train: NaN": (TRAIN.replace("low.tif", "nan.tif") + " --frames 1:2", "NaN"),
    "train: names": (
        TRAIN.replace("low.tif", "low.tif wide.tif").replace("high.tif", "high.tif flat.tif"),
        "--pairing",
    ),
    "train: no high": (TRAIN.replace("--high high.tif", "--target shot"), "--target shot needs --high"),
    "train: high too much": (TRAIN + " --target self", "leave --high out"),
    "train: no movie": (
        TRAIN.replace("--low low.tif --high high.tif", "--target next --low wide.tif") + " --frames 0:1",
        "a movie of at least two frames",
    ),
    "train: overlap": (TRAIN + " --frames 0:3,2:4", "ranges that do not overlap"),
    "train: frames": (TRAIN + " --frames 4:9", "Frames 4:9 were asked for, but the stack has 6"),
    "train: frames reversed": (TRAIN + " --frames 4:2", "Frames 4:2"),
    "train: no frames": (TRAIN + " --frames 4", "expected A:B"),
    "train: patch size": (TRAIN + " --patch-size 17", "multiple of"),
    "train: patch too large": (TRAIN + " --patch-size 32", "too small for patches of 32 px"),
    "train: a single small image": (
        TRAIN + " --frames 0:1",
        "low[0]: 28 x 24 px are too small for patches of 16 px. A single image is split",
    ),
    "train: a single image left of a list": (TRAIN.replace("low.tif", "nan.tif") + " --frames 0:1,1:2", "Left out: "),
    "train: loss": (TRAIN.replace("mae", "l2"), "invalid choice: 'l2'"),
    "train: loss parameter": (TRAIN + " --sigma-large 4", "no parameter 'sigma_large'"),
    "train: sigmas": (TRAIN.replace("mae", "bandpass") + " --sigma-large 0.5", "sigma_small must be smaller"),
    "train: two budgets": (TRAIN + " --epochs 1", "not allowed with argument"),
    "train: no budget": (TRAIN.replace("--steps 1", "--steps 0"), "--steps must lie between"),
    "train: batch size": (TRAIN + " --batch-size 0", "batch_size must lie between"),
    "train: device": (TRAIN + " --device tpu", "invalid choice: 'tpu'"),
    "train: unknown model": (TRAIN + " --from nobody", "no model 'nobody'"),
    "train: other preset": (TRAIN.replace("lite", "care") + " --from good.safetensors", "does not fit --from"),
    "train: abbreviation": (TRAIN + " --res", "unrecognized arguments: --res"),
    "restore: missing input": (RESTORE.replace("low.tif", "none.tif"), "no file none.tif"),
    "restore: missing folder": (RESTORE.replace("out.tif", "none/out.tif"), "folder none does not exist"),
    "restore: missing folder of the scale": (
        RESTORE.replace("good", "scaled") + " --scale-out none/s.tif",
        "folder none does not exist",
    ),
    "restore: truncated": (RESTORE.replace("low.tif", "cut.tif"), "cut.tif cannot be read"),
    "restore: RGB": (RESTORE.replace("low.tif", "rgb.tif"), "RGB"),
    "restore: text": (RESTORE.replace("low.tif", "text.tif"), "text.tif cannot be read"),
    "restore: beyond float32": (RESTORE.replace("low.tif", "huge.tif"), "Frame 1: the pixels reach 1e+300"),
    "restore: unknown model": (RESTORE.replace("good.safetensors", "nobody"), "no model 'nobody'"),
    "restore: missing model": (RESTORE.replace("good", "none"), "no model file none.safetensors"),
    "restore: damaged model": (RESTORE.replace("good", "broken"), "broken.safetensors is no model file"),
    "restore: frames": (RESTORE + " --frames 5:7", "low.tif: Frames 5:7"),
    "restore: no scale": (RESTORE + " --scale-out s.tif", "predicts no scale"),
    "restore: no intervals": (RESTORE + " --interval-out l.tif u.tif", "This model has no intervals"),
    "restore: intervals without files": (RESTORE + " --interval 90", "--interval needs --interval-out LOWER UPPER"),
    "restore: unknown interval": (RESTORE + " --interval-out l.tif u.tif --interval 99", "one of 50, 68, 80, 90, 95"),
    "restore: missing folder of the intervals": (
        RESTORE + " --interval-out none/l.tif u.tif",
        "folder none does not exist",
    ),
    "evaluate: intervals without a truth": (
        "evaluate --restored low.tif --interval low.tif high.tif",
        "--interval needs --truth",
    ),
    "restore: onto itself": (RESTORE.replace("out.tif", "low.tif"), "would overwrite its input"),
    "restore: normalization": (RESTORE + " --normalization movie", "invalid choice: 'movie'"),
    "restore: tile size": (RESTORE + " --tile-size -1", "tile_size must lie between"),
    "restore: engine": (RESTORE + " --engine tensorflow", "invalid choice: 'tensorflow'"),
    "restore: engine on another device": (
        RESTORE + " --engine openvino --device cuda",
        "engine openvino runs on the cpu, not on cuda",
    ),
    "restore: device": (RESTORE + " --device tpu", "no device 'tpu'"),
    "restore: format": (RESTORE + " --format ome-zarr", "does not fit --out"),
    "restore: empty OME-Zarr": (RESTORE.replace("low.tif", "empty.zarr"), "expected a folder with zarr.json"),
    "restore: onto another folder": (RESTORE.replace("out.tif", "empty.zarr"), "is no OME-Zarr image"),
    "restore: OME-Zarr onto itself": (FROM_ZARR, "would overwrite its input"),
    "restore: OME-Zarr onto itself, spelt differently": (
        FROM_ZARR.replace("--out ", "--out ./"),
        "overwrite its input",
    ),
    "restore: OME-Zarr into itself": (FROM_ZARR + "/0/more.zarr", "would overwrite its input"),
    "restore: folder to a file": ("restore good.safetensors in --out out.tif", "--out must name one, found out.tif"),
    "restore: files to a file": ("restore good.safetensors in/a.tif in/b.tif --out low.tif", "--out must name one"),
    "restore: scale of a folder": (
        "restore good.safetensors in --out out --scale-out s.tif",
        "--scale-out is of a single image",
    ),
    "restore: two files of one name": (
        "restore good.safetensors in a.tif in/a.tif --out out",
        "both be restored into",
    ),
    "restore: empty folder": ("restore good.safetensors empty --out out", "no image file"),
    "evaluate: missing": (EVALUATE.replace("low.tif", "none.tif"), "no file none.tif"),
    "evaluate: counts": (EVALUATE + " --input short.tif", "2 frames of (28, 24), the truth 6"),
    "evaluate: shapes": (EVALUATE.replace("low.tif", "wide.tif"), "they must be the same"),
    "evaluate: constant truth": (
        EVALUATE.replace("high.tif", "flat.tif"),
        "Frame 0: The ground truth must have contrast",
    ),
    "evaluate: identical": (EVALUATE.replace("low.tif", "high.tif"), "hold the same images"),
    "evaluate: RGB": (EVALUATE.replace("low.tif", "rgb.tif"), "RGB"),
    "compare: identical": (COMPARE.replace("low.tif", "high.tif"), "hold the same images"),
    "compare: constant truth": (
        COMPARE.replace("high.tif", "flat.tif"),
        "Frame 0: The ground truth must have contrast",
    ),
    "compare: RGB": (COMPARE.replace("low.tif", "rgb.tif"), "RGB"),
    "compare: shapes": (COMPARE.replace("high.tif", "wide.tif"), "same"),
    "compare: counts": (COMPARE.replace("low.tif", "short.tif"), "must be the same"),
    "compare: unknown model": (TV.replace("tv", "none"), "no model 'none'"),
    "compare: a method twice": (TV.replace("tv", "tv tv"), "'tv' more than once"),
    "compare: no page": (TV.replace("html", "pdf"), "must end in .html"),
    "compare: missing folder": (TV.replace("report", "none/report"), "does not exist"),
    "compare: shown frame": (TV + " --show 6", "expected 0 to 5"),
    "compare: reference": (TV + " --reference laplace", "is none of: tv"),
    "compare: frames": (TV + " --frames 4:9", "4:9"),
    "compare: no methods": ("compare low.tif --out report.html", "--methods"),
    "evaluate: frames": (EVALUATE + " --frames 3:8", "Frames 3:8"),
    "evaluate: frames of a short file": (
        EVALUATE.replace("low.tif", "short.tif") + " --frames 0:3",
        "short.tif: Frames",
    ),
    "simulate: structure": ("simulate yeast --out new", "invalid choice: 'yeast'"),
    "simulate: count": ("simulate actin --out new --size 64 --count 0", "count"),
    "simulate: size": ("simulate actin --out new --size 3", "at least 16 px"),
    "simulate: exposure": ("simulate actin --out new --size 64 --low-ms -1", "low_ms"),
    "simulate: interval": (
        "simulate dendra --out new --size 64 --interval 0",
        "interval_s must be a number above zero",
    ),
    "simulate: z-step": (
        "simulate actin --kind z-stack --out new --size 64 --z-step -1",
        "z_step must be a number above",
    ),
    "simulate: seed": ("simulate actin --out new --size 64 --seed -1", "seed"),
    "simulate: missing folder": ("simulate actin --out none/new --size 64 --count 1", "none/new cannot be made"),
    "simulate: a file": ("simulate actin --out low.tif --size 64 --count 1", "low.tif cannot be made"),
    "models: no image": ("models --for nothing.tif", "nothing.tif"),
    "export: unknown model": (EXPORT.replace("fft-lite", "nobody"), "no model 'nobody'"),
    "export: no zip": (EXPORT.replace("p.zip", "p.tar"), "must end in .zip"),
    "export: missing folder": (EXPORT.replace("p.zip", "none/p.zip"), "folder none does not exist"),
    "export: licence": (EXPORT + " --license mine", "license"),
}


@pytest.fixture
def bad_files(folder):
    """Lay files of every bad kind beside the good ones."""
    low = tifffile.imread("low.tif")
    write("short.tif", low[:2])
    write("wide.tif", low.swapaxes(1, 2).copy())
    write("flat.tif", np.full_like(low, 7))
    broken = low.astype(np.float32)
    broken[1, 0, 0] = np.nan
    write("nan.tif", broken)
    write("huge.tif", np.nan_to_num(broken.astype(np.float64), nan=1e300))
    tifffile.imwrite("rgb.tif", np.zeros((28, 24, 3), np.uint8), photometric="rgb")
    write("cut.tif", low)
    (folder / "cut.tif").write_bytes((folder / "cut.tif").read_bytes()[:5000])
    (folder / "text.tif").write_text("no image")
    save_stack("low.ome.zarr", Frames(low, "TYX"))
    for name in ("empty", "empty.zarr", "in"):
        (folder / name).mkdir()
    for path in ("in/a.tif", "in/b.tif", "a.tif"):
        write(path, low)
    (folder / "broken.safetensors").write_bytes(b"\0" * 100)
    save_model(folder / "good.safetensors")
    save_model(folder / "scaled.safetensors", Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True))
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_status_2_one_line_and_no_file(bad_files, capsys, case):
    arguments, said = BAD[case]
    before = {path: path.read_bytes() for path in bad_files.rglob("*") if path.is_file()}
    assert status_of(*arguments.split()) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert output.err.startswith("napari-care-losses")
    assert said in output.err
    assert {path: path.read_bytes() for path in bad_files.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", [{"ome": True}, {"compression": "zlib"}, {"imagej": True}])
@pytest.mark.parametrize("kept", [0.03, 0.5, 0.75])
def test_a_tiff_cut_short_is_refused_whatever_its_kind(bad_files, capsys, kind, kept):
    write("cut.tif", tifffile.imread("low.tif"), **kind)
    whole = (bad_files / "cut.tif").read_bytes()
    (bad_files / "cut.tif").write_bytes(whole[: int(kept * len(whole))])
    assert status_of("restore", "good.safetensors", "cut.tif", "--out", "out.tif") == 2
    assert "cut.tif cannot be read" in capsys.readouterr().err
    assert not (bad_files / "out.tif").exists()


def test_an_argument_with_a_line_break_is_printed_in_one_line(bad_files, capsys):
    assert status_of("import", "low.tif", "--name", "m", "x\n\u2028y") == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert r"x\n\u2028y" in told


def test_an_existing_result_survives_bad_input(bad_files):
    for name in ("out.tif", "m.safetensors", "m.resume"):
        (bad_files / name).write_text("before")
    assert status_of("restore", "good.safetensors", "huge.tif", "--out", "out.tif") == 2
    assert train("--frames", "4:9") == 2
    for name in ("out.tif", "m.safetensors", "m.resume"):
        assert (bad_files / name).read_text() == "before"


def test_a_real_process_reports_bad_input_in_one_line(bad_files):
    before = names(bad_files)
    command = in_a_process("restore", "good.safetensors", "cut.tif", "--out", "out.tif")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "cut.tif cannot be read" in done.stderr
    assert names(bad_files) == before


def test_a_stopped_training_is_kept_where_the_images_are_too_small_for_another(folder):
    (folder / "m.resume").write_bytes(b"state")
    assert train("--patch-size", 32) == 2
    assert (folder / "m.resume").read_bytes() == b"state"
