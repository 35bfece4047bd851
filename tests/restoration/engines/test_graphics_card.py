"""What is done on graphics cards, with stand-ins for what only they can do."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures.random_models import image_of, make_model, tile_of

from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines import torch_engine
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.engines.graphics_card import RECORDED_PIXELS, Card, Recorded
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class Network:
    """Doubles batches, and notes what it is asked for; recordings of it say so."""

    def __init__(self, error=None):
        self.ran, self.recorded, self.replayed, self.error = [], [], [], error
        self.run = Recorded(self.plainly, self.record)

    def plainly(self, precision, batch):
        self.ran.append((precision, tuple(batch.shape)))
        return (2 * batch,)

    def record(self, run, precision, batch):
        self.recorded.append((precision, tuple(batch.shape)))
        if self.error:
            raise self.error

        def replay(batch):
            self.replayed.append((precision, tuple(batch.shape)))
            return (2 * batch,)

        return replay


class TestRecordings:
    def test_a_shape_is_recorded_when_it_comes_again_and_once(self):
        network, key = Network(), ("bfloat16", (1, 1, 8, 8))
        batches = [torch.rand(1, 1, 8, 8) for _ in range(4)]
        for batch in batches:
            assert torch.equal(network.run("bfloat16", batch)[0], 2 * batch)
        assert (network.ran, network.recorded, network.replayed) == ([key], [key], [key] * 3)

    def test_every_shape_and_precision_has_its_own(self):
        network = Network()
        for precision, width in (("tf32", 8), ("float32", 8), ("float32", 16)) * 2:
            network.run(precision, torch.rand(1, 1, 8, width))
        assert len(network.recorded) == len(set(network.recorded)) == 3

    def test_only_the_last_two_are_kept(self):
        network = Network()
        for width in (8, 8, 16, 16, 24, 24, 16, 8):
            network.run("float32", torch.rand(1, 1, 8, width))
        assert [shape[-1] for _, shape in network.recorded] == [8, 16, 24, 8]

    @pytest.mark.parametrize("error", [RuntimeError("capture"), torch.cuda.OutOfMemoryError("out of memory")])
    def test_where_recording_fails_the_network_runs_plainly(self, error):
        network = Network(error)
        for _ in range(4):
            network.run("float32", torch.rand(1, 1, 8, 8))
        assert (len(network.ran), len(network.recorded)) == (4, 1)

    def test_large_batches_are_not_recorded(self):
        network = Network()
        for _ in range(3):
            network.run("float32", torch.zeros(2, 1, RECORDED_PIXELS // 1024, 1024))
        assert (len(network.ran), network.recorded) == (3, [])

    def test_what_is_cleared_is_recorded_anew(self):
        network = Network()
        for _ in range(2):
            for _ in range(2):
                network.run("float32", torch.rand(1, 1, 8, 8))
            network.run.clear()
        assert len(network.recorded) == 2


class Copies:
    """A card in the host's memory, which notes what is copied."""

    def __init__(self, device, *, is_full=False):
        self.uploaded, self.downloaded, self.is_full = [], [], is_full

    def upload(self, image):
        assert image.flags.c_contiguous
        self.uploaded.append(image.shape)
        if self.is_full:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return torch.from_numpy(image.copy())

    def download(self, tensors):
        self.downloaded += [tuple(tensor.shape) for tensor in tensors]
        return [tensor.numpy() for tensor in tensors]


@pytest.fixture
def card(monkeypatch):
    """Return a function that lets the torch engine run as on a card, on the CPU; it returns the card's stand-in."""
    start = TorchEngine.__init__

    def put(**options):
        found = SimpleNamespace(copies=Copies(None, **options), engines=[])

        def started(engine, model, device):
            start(engine, model, device)
            engine._card, engine.gains_together, engine.copies = found.copies, True, True
            engine._recorded = Recorded(engine._computed, lambda run, name, batch: lambda batch: run(name, batch))
            found.engines.append(engine)

        monkeypatch.setattr(TorchEngine, "__init__", started)
        return found

    return put


MODEL = make_model(Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True), "laplace")
STACK = image_of((3, 70, 90))


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("options", [{}, {"average_flips": True, "tile_size": 32}, {"tile_size": 40}], ids=str)
def test_frames_and_tiles_on_a_card_are_those_of_the_cpu(options, is_full, card):
    expected = restore(STACK, MODEL, RestorationParameters(engine="torch", **options), device="cpu")
    copies = card(is_full=is_full).copies
    found = restore(STACK, MODEL, RestorationParameters(engine="torch", **options), device="cpu")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(STACK))
    assert copies.uploaded == [(70, 90)] * 3
    assert len(copies.downloaded) > 0


def test_neighbours_are_copied_with_their_frame(card):
    model = make_model(Architecture(kernel_size=3, filters=2, depth=1, neighbours=2))
    parameters = RestorationParameters(engine="torch", tile_size=32, average_flips=True)
    expected = restore(STACK, model, parameters, axes="TYX", device="cpu")
    copies = card().copies
    np.testing.assert_allclose(
        restore(STACK, model, parameters, axes="TYX", device="cpu"), expected, rtol=0, atol=1e-5 * np.ptp(STACK)
    )
    assert copies.uploaded == [(3, 70, 90)] * 3


def test_tiles_and_orientations_are_restored_together(card, monkeypatch):
    numbers, run = [], TorchEngine._run_together
    monkeypatch.setattr(
        TorchEngine, "_run_together", lambda engine, tiles: numbers.append(len(tiles)) or run(engine, tiles)
    )
    card()
    restore(STACK[0], MODEL, RestorationParameters(engine="torch", tile_size=32, average_flips=True), device="cpu")
    tiles = sum(numbers) // 4
    assert tiles > 4
    assert numbers == [4 * tiles]


def test_an_image_larger_than_the_card_stays_in_the_host(card, monkeypatch):
    copies = card().copies
    engine = open_engine("torch", MODEL, "cpu")
    monkeypatch.setattr(engine, "memory", lambda: 100)
    image = tile_of((16, 16))
    assert engine.placed(image) is image
    assert copies.uploaded == []


def test_the_closed_engine_holds_no_recording(card):
    found = card()
    engine = open_engine("torch", MODEL, "cpu")
    for _ in range(2):
        engine.restore(tile_of((16, 16)))
    assert engine._recorded._recordings
    engine.close()
    assert not engine._recorded._recordings
    assert found.engines == [engine]


def test_the_card_copies_through_pinned_memory_in_its_own_stream(monkeypatch):
    """The order of the calls; a card has not seen them here."""
    calls = []
    stream = SimpleNamespace(synchronize=lambda: calls.append("waited"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda which: nullcontext(calls.append(which)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: calls.append("pinned") or tensor)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda shape, pin_memory: calls.append("pinned") or empty(shape))
    card, image = Card(torch.device("cpu")), tile_of((8, 8))
    placed = card.upload(image)
    assert calls == ["pinned", stream, "waited"]
    calls.clear()
    (back,) = card.download((placed,))
    assert calls == ["pinned", "waited"]
    np.testing.assert_array_equal(back, image)


def test_the_engine_of_a_card_copies_and_records(monkeypatch):
    monkeypatch.setattr(torch_engine, "Card", Copies)
    monkeypatch.setattr(type(MODEL), "network", lambda model: SimpleNamespace(to=lambda *_, **__: "on the card"))
    engine = TorchEngine(MODEL, "cuda")
    assert engine.copies
    assert engine.gains_together
    assert isinstance(engine._card, Copies)
    assert isinstance(engine._recorded, Recorded)
