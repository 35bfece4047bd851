"""The Restore widget runs a model of ours with OpenVINO without loading torch, which takes seconds."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile

from napari_care_losses.compute.devices import may_have_graphics

CODE = """
import sys, time
import numpy as np
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

application = QApplication([])

from napari_care_losses.widgets.restore.widget import RestoreWidget

def wait(is_done):
    end = time.monotonic() + 600
    while not is_done() and time.monotonic() < end:
        application.processEvents()
        time.sleep(0.002)
    assert is_done()
    assert "torch" not in sys.modules

viewer = ViewerModel()
if hasattr(viewer, "canvas"):
    viewer.canvas.size = (600, 800)
else:
    viewer._canvas_size = (600, 800)
noisy = viewer.add_image(np.random.default_rng(0).poisson(50, (2, 64, 80)).astype(np.uint16), name="noisy")
widget = RestoreWidget(viewer)
widget.model.choose("fft-lite")
painted = []
widget.preview.painted.connect(painted.append)
wait(lambda: painted and not widget.preview.is_running)
widget.run_bar.start_button.click()
wait(lambda: not widget.is_running)
assert widget.run_bar.progress.value() == widget.run_bar.progress.maximum(), widget.run_bar.status.text()
restored = [layer for layer in viewer.layers if layer is not noisy and layer.data.shape == noisy.data.shape]
assert restored, viewer.layers
widget.folder.source.value = sys.argv[1]
widget.folder.run_bar.start_button.click()
wait(lambda: not widget.folder.is_running)
assert widget.folder.run_bar.status.text().startswith("Restored 1 of 1"), widget.folder.run_bar.status.text()
print(restored[0].data.shape)
"""


@pytest.mark.skipif(
    find_spec("openvino") is None or may_have_graphics(), reason="torch runs the network where there is a graphics card"
)
def test_preview_restored_layer_and_folder_load_no_torch(tmp_path):
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "NAPARI_CARE_LOSSES_LIBRARY": str(tmp_path / "library"),
        "NAPARI_CONFIG": str(tmp_path / "settings.yaml"),
    }
    (tmp_path / "files").mkdir()
    tifffile.imwrite(tmp_path / "files" / "noisy.tif", np.random.default_rng(0).poisson(50, (64, 80)).astype(np.uint16))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "files")],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("(2, 64, 80)")
