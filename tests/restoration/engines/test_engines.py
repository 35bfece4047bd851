"""Engines: all give the network's result; which one is chosen, and how much memory it may take."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures.random_models import bundled_model, image_of, make_model, needs_openvino, plainly, tile_of

from napari_care_losses.compute import devices
from napari_care_losses.compute.cores import limit_threads
from napari_care_losses.compute.devices import choose_device, leave_a_core
from napari_care_losses.compute.memory import LEAST_MEMORY
from napari_care_losses.errors import ComputeError, InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import BILINEAR, Architecture
from napari_care_losses.models.program import ONNX, TORCHSCRIPT, Program
from napari_care_losses.restoration.engines import choose, torch_engine
from napari_care_losses.restoration.engines.base import MEMORY_CAP
from napari_care_losses.restoration.engines.choose import libraries, open_engine
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.parameters import ENGINES, RestorationParameters
from napari_care_losses.restoration.restore_stack import restore, restore_frames
from napari_care_losses.restoration.tiles import working_memory

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# those of fewer digits are in test_reduced_engines.py
EVERY = [
    pytest.param(name, marks=needs_openvino) if "openvino" in name else name for name in ENGINES if "16" not in name
]


@pytest.fixture(params=["not installed", "cannot be imported"])
def no_openvino(request, monkeypatch):
    if request.param == "not installed":
        monkeypatch.setattr(choose, "find_spec", lambda name: None)
    else:
        monkeypatch.setitem(sys.modules, "napari_care_losses.restoration.engines.openvino_engine", None)


def assert_equals_the_network(engine, tile):
    for found, expected in zip(engine.restore(tile), plainly(engine.model, tile), strict=True):
        if expected is None:
            assert found is None
        else:
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", EVERY)
class TestEveryEngine:
    """An 8-bit engine computes in float32 until it is calibrated."""

    @pytest.mark.parametrize(
        "architecture",
        [
            Architecture(depth=1, kernel_size=3, filters=3),
            Architecture(depth=1, kernel_size=7, filters=1, predicts_scale=True),
            Architecture(depth=2, kernel_size=5, filters=2, residual=False),
            Architecture(depth=3, kernel_size=3, filters=2, predicts_scale=True),
            Architecture(depth=3, kernel_size=7, filters=2, residual=False, predicts_scale=True),
            Architecture(depth=4, kernel_size=5, filters=1),
            Architecture(depth=2, kernel_size=1, filters=2),
            Architecture(depth=1, kernel_size=15, filters=1),
            Architecture(depth=6, kernel_size=3, filters=1),
            Architecture(depth=2, kernel_size=3, filters=2, upsampling=BILINEAR),
            Architecture(depth=1, kernel_size=5, filters=2, residual=False, upsampling=BILINEAR),
            Architecture(depth=1, kernel_size=3, filters=2, refinement=2),
            Architecture(depth=2, kernel_size=5, filters=4, refinement=6, predicts_scale=True, upsampling=BILINEAR),
        ],
        ids=lambda each: f"depth {each.depth} kernel {each.kernel_size} {each.upsampling} {each.refinement}",
    )
    def test_equals_the_network(self, name, architecture):
        engine = open_engine(name, make_model(architecture), "cpu")
        for shape in ((architecture.block, 2 * architecture.block), (3 * architecture.block, architecture.block)):
            assert_equals_the_network(engine, tile_of(shape))

    @pytest.mark.parametrize("model", ["laplace-lite", "fft-lite"])
    def test_equals_a_trained_network(self, name, model):
        assert_equals_the_network(open_engine(name, bundled_model(model), "cpu"), tile_of((64, 100)))

    def test_takes_tiles_of_any_memory_layout(self, name):
        engine, whole = open_engine(name, make_model(), "cpu"), tile_of((80, 60))
        for tile in (whole[10:40, 20:50], whole.T[:32, :32], whole[::2, ::-2]):
            mean, _ = engine.restore(tile)
            np.testing.assert_array_equal(mean, engine.restore(tile.copy())[0])

    def test_a_result_outlives_the_next_one(self, name):
        engine = open_engine(name, make_model(Architecture(filters=2, predicts_scale=True)), "cpu")
        first = engine.restore(tile_of((32, 32)))
        before = [array.copy() for array in first]
        second = engine.restore(tile_of((32, 32), seed=1))
        for array, unchanged, later in zip(first, before, second, strict=True):
            np.testing.assert_array_equal(array, unchanged)
            assert np.abs(array - later).max() > 0.01

    def test_a_tile_is_not_changed(self, name):
        tile = tile_of((32, 32))
        open_engine(name, make_model(), "cpu").restore(tile)
        np.testing.assert_array_equal(tile, tile_of((32, 32)))

    def test_is_usable_after_it_was_closed(self, name):
        engine = open_engine(name, make_model(), "cpu")
        engine.close()
        for _ in range(2):
            assert_equals_the_network(engine, tile_of((32, 32)))
            engine.close()
            engine.close()

    def test_two_of_one_model_work_and_close_at_the_same_time(self, name):
        model = make_model(Architecture(filters=4))
        tiles = [tile_of((64, 64), seed) for seed in range(4)]
        expected = [plainly(model, tile)[0] for tile in tiles]
        together = threading.Barrier(2, timeout=60)

        def work(first):
            engine = open_engine(name, model, "cpu")
            together.wait()
            for turn in range(20):
                which = (first + turn) % 4
                mean, _ = engine.restore(tiles[which])
                np.testing.assert_allclose(mean, expected[which], rtol=0, atol=1e-5 * np.ptp(expected[which]))
                engine.close()

        with ThreadPoolExecutor(2) as pool:
            for working in [pool.submit(work, first) for first in (0, 2)]:
                working.result()

    def test_a_library_that_fails_is_a_compute_error_and_gives_its_memory_back(self, name, monkeypatch):
        engine, closed = open_engine(name, make_model(), "cpu"), []

        def fail(tile):
            raise RuntimeError("out of memory")

        monkeypatch.setattr(engine, "_run", fail)
        monkeypatch.setattr(engine, "close", lambda: closed.append(1))
        with pytest.raises(ComputeError, match=r"cpu device failed on a tile of 16 x 32 px: out of memory.*smaller ti"):
            engine.restore(tile_of((16, 32)))
        assert closed == [1]

    def test_tiles_equal_the_whole(self, name):
        """Restored by 8 bits, both are off by rounding, but no more at the seams than elsewhere."""
        model, image = bundled_model("laplace-lite"), image_of((150, 170))
        parameters = {width: RestorationParameters(engine=name, tile_size=width) for width in (80, 16384)}
        tiled, whole = (restore(image, model, parameters[width], device="cpu") for width in (80, 16384))
        tolerance = 0.01 if name == "openvino-int8" else 1e-5
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=tolerance * np.ptp(image))


class TestChoice:
    @needs_openvino
    def test_a_cpu_gets_openvino_unless_torch_is_chosen(self):
        kinds = {name: type(open_engine(name, make_model(), "cpu")).__name__ for name in ENGINES}
        assert kinds == {
            "auto": "OpenVinoEngine",
            "torch": "TorchEngine",
            "torch-tf32": "Tf32Engine",
            "torch-bfloat16": "Bfloat16Engine",
            "torch-float16": "Float16Engine",
            "openvino": "OpenVinoEngine",
            "openvino-int8": "Int8Engine",
        }

    @pytest.mark.parametrize(("name", "device"), [("auto", "auto"), ("auto", "cuda"), ("torch", "auto")])
    def test_a_graphics_card_gets_torch(self, name, device, monkeypatch):
        monkeypatch.setattr(devices, "may_have_graphics", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch_engine, "TorchEngine", lambda model, device: ("torch", device))
        assert open_engine(name, make_model(), device) == ("torch", "cuda")

    @needs_openvino
    def test_openvino_chosen_beside_a_graphics_card_runs_on_the_cpu(self, monkeypatch):
        monkeypatch.setattr(devices, "may_have_graphics", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert open_engine("openvino", make_model()).device == "cpu"

    @pytest.mark.parametrize("name", ["openvino", "openvino-int8"])
    @pytest.mark.parametrize("device", ["cuda", "mps"])
    def test_openvino_on_a_graphics_card_is_refused(self, name, device):
        with pytest.raises(InputError, match=f"engine {name} runs on the cpu, not on {device}"):
            open_engine(name, make_model(), device)

    def test_cuda_comes_before_mps_and_the_cpu(self, monkeypatch):
        monkeypatch.setattr(devices, "may_have_graphics", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        assert choose_device() == "cpu"
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert choose_device() == "mps"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert choose_device() == "cuda"


@pytest.mark.usefixtures("no_openvino")
class TestWithoutOpenVino:
    @pytest.mark.parametrize("device", ["auto", "cpu"])
    def test_auto_takes_torch_without_a_note(self, device, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        engine = open_engine("auto", make_model(), device)
        assert isinstance(engine, TorchEngine)
        assert engine.note == ""

    @pytest.mark.parametrize("name", ["openvino", "openvino-int8"])
    def test_torch_replaces_a_missing_openvino_and_notes_it(self, name):
        engine = open_engine(name, make_model(), "cpu")
        assert isinstance(engine, TorchEngine)
        assert "torch restored instead (pip install openvino)" in engine.note

    def test_the_progress_of_a_restoration_has_the_note(self):
        model, image = make_model(), image_of((20, 20))
        steps = list(restore_frames(Frames(image), model, RestorationParameters(engine="openvino-int8"), device="cpu"))
        assert "OpenVINO is not usable here" in steps[-1].note
        expected = restore(image, model, RestorationParameters(engine="torch"), device="cpu")
        np.testing.assert_array_equal(steps[-1].frame.image, expected)


class TestLeavingACore:
    @pytest.mark.parametrize(
        ("cores", "before", "after"), [(1, 1, 1), (2, 2, 2), (3, 3, 2), (8, 8, 7), (8, 4, 4), (8, 12, 7)]
    )
    def test_one_of_more_than_two_cores_stays_free(self, cores, before, after, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
        monkeypatch.setattr(devices, "_spares_a_core", False)
        torch.set_num_threads(before)
        leave_a_core()
        assert torch.get_num_threads() == after

    @pytest.mark.parametrize(("cores", "after"), [(6, 5), (None, 6)])
    def test_where_the_affinity_is_unknown_the_cores_of_the_machine_count(self, cores, after, monkeypatch):
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.setattr(devices, "_spares_a_core", False)
        torch.set_num_threads(6)
        leave_a_core()
        assert torch.get_num_threads() == after


@needs_openvino
def test_threads_of_openvino_may_change_between_two_tiles_and_the_result_does_not():
    torch.set_num_threads(2)
    model, tile = make_model(), tile_of((64, 64))
    expected, _ = open_engine("openvino", model, "cpu").restore(tile)
    limit, found, used = [2], [], []

    def work():
        limit_threads(lambda: limit[0])
        engine = open_engine("openvino", model, "cpu")
        for threads in (2, 1, 1, 2):
            limit[0] = threads
            found.append(engine.restore(tile)[0].copy())
            used.extend(
                request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")
                for request in engine._requests.values()
            )

    # the limit is that of a thread
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert used == [2, 1, 1, 2]
    for restored in found:
        np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


class TestMemory:
    @pytest.fixture(autouse=True)
    def ample(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.set_free(1 << 40)

    def set_free(self, available):
        memory = SimpleNamespace(available=available)
        self.monkeypatch.setattr("psutil.virtual_memory", lambda: memory)

    def test_a_tile_takes_a_quarter_of_the_free_memory_up_to_a_limit(self):
        engine = open_engine("torch", make_model(), "cpu")
        assert engine.memory() == MEMORY_CAP["cpu"]
        self.set_free(1000)
        assert engine.memory() == 250

    def test_with_almost_nothing_free_no_tile_of_a_new_shape_is_tried(self):
        """The libraries crash where no memory is left for the kernels they make."""
        engine = open_engine("torch", make_model(), "cpu")
        self.set_free(LEAST_MEMORY - 1)
        with pytest.raises(
            ComputeError, match=r"Only 63 MB of memory are left, and restoring takes about 64 MB: allow this program"
        ):
            engine.restore(tile_of((16, 16)))
        self.set_free(LEAST_MEMORY)
        engine.restore(tile_of((16, 16)))
        self.set_free(0)
        engine.restore(tile_of((16, 16)))
        with pytest.raises(ComputeError, match="Only 0 MB"):
            engine.restore(tile_of((16, 32)))

    def test_a_remembered_tile_width_limits_every_engine_of_the_device(self):
        model, other = make_model(), make_model(Architecture(filters=8))
        open_engine("torch", model, "cpu").remember_tile(100)
        for name in ("torch", "auto"):
            assert open_engine(name, other, "cpu").memory() == working_memory(model.card.architecture, 100)
        self.set_free(1000)
        assert open_engine("torch", other, "cpu").memory() == 250
        self.set_free(1 << 40)
        on_a_card = TorchEngine(model, "cpu")
        on_a_card.device = "mps"
        self.monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 1 << 40)
        self.monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 0)
        assert on_a_card.memory() == MEMORY_CAP["mps"]

    def test_the_remembered_tile_width_only_shrinks(self):
        engine = open_engine("torch", make_model(), "cpu")
        engine.remember_tile(8192)
        engine.remember_tile(16384)
        assert engine.memory() <= MEMORY_CAP["cpu"]
        engine.remember_tile(50)
        engine.remember_tile(100)
        assert engine.memory() == working_memory(engine.model.card.architecture, 50)


class TestLibraries:
    """What is loaded before a network runs."""

    @pytest.mark.parametrize(
        ("engine", "has_card", "expected"),
        [
            ("auto", False, {"openvino"}),
            ("auto", True, {"openvino", "torch"}),
            ("openvino", True, {"openvino"}),
            ("openvino-int8", False, {"openvino", "torch"}),
            ("torch", False, {"openvino", "torch"}),
        ],
    )
    def test_torch_only_where_it_may_compute(self, engine, has_card, expected, monkeypatch):
        monkeypatch.setattr(choose, "find_spec", lambda name: name)
        monkeypatch.setattr(choose, "may_have_graphics", lambda: has_card)
        assert set(libraries(engine)) == expected

    def test_torch_for_its_programs_and_without_openvino(self, monkeypatch):
        assert libraries("auto", Program(kind=TORCHSCRIPT)) == ("torch",)
        assert "torch" in libraries("auto", Program(kind=ONNX))
        monkeypatch.setattr(choose, "find_spec", lambda name: None)
        assert libraries("auto") == ("torch",)
