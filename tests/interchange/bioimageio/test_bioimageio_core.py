"""Our packages pass the tests of bioimageio.core, in a separate environment that is made on the first run."""

import io
import os
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from fixtures.csbdeep_models import zip_of
from fixtures.random_models import bundled_model, make_model

from napari_care_losses.interchange.bioimageio.export import export_bioimageio
from napari_care_losses.models.architecture import BILINEAR, Architecture

PROJECT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the environment is made by a shell script"),
]


@pytest.fixture(scope="module")
def tool():
    """Return the path of the command of bioimageio.core."""
    folder = PROJECT / "build" / "bioimageio"
    script = PROJECT / "tools" / "bioimageio_environment.sh"
    # the environment's own torch must be imported, not that of the tests
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["bash", script, folder, sys.executable], check=True, env=environment)
    return folder / "bin" / "bioimageio"


def run_test_of(tool, package):
    environment = os.environ | {"XDG_CACHE_HOME": str(package.parent / "cache"), "COLUMNS": "200"}
    return subprocess.run([tool, "test", package], capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(depth=1, kernel_size=5, filters=4, predicts_scale=True),
        Architecture(depth=2, kernel_size=3, filters=4, residual=False),
        Architecture(depth=3, kernel_size=5, filters=2, upsampling=BILINEAR),
        Architecture(depth=2, kernel_size=3, filters=4, neighbours=4),
        Architecture(depth=2, kernel_size=3, filters=4, neighbours=2, refinement=4),
    ],
)
def test_every_kind_of_weights_passes(tool, tmp_path, architecture):
    export_bioimageio(make_model(architecture), tmp_path / "package.zip", name="package")
    done = run_test_of(tool, tmp_path / "package.zip")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for kind in ("onnx", "pytorch_state_dict", "torchscript"):
        assert f"Reproduce test outputs from test inputs ({kind})" in done.stdout


@pytest.mark.parametrize("name", ["laplace-lite", "bandpass-lite"])
def test_bundled_models_pass_and_a_wrong_output_fails(tool, tmp_path, name):
    path = tmp_path / "package.zip"
    export_bioimageio(bundled_model(name), path, name=name, authors=["A. Nyone"], license="BSD-3-Clause")
    assert run_test_of(tool, path).returncode == 0
    with zipfile.ZipFile(path) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    buffer = io.BytesIO()
    np.save(buffer, np.load(io.BytesIO(files["restored.npy"])) + 0.1)
    before, after = (sha256(data).hexdigest() for data in (files["restored.npy"], buffer.getvalue()))
    files["rdf.yaml"] = files["rdf.yaml"].replace(before.encode(), after.encode())
    wrong = zip_of(tmp_path / "wrong.zip", (files | {"restored.npy": buffer.getvalue()}).items())
    assert run_test_of(tool, wrong).returncode != 0
