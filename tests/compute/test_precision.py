"""Which device computes in which numbers, and that it does."""

import pytest
import torch
from torch.nn import functional

from napari_care_losses.compute import precision
from napari_care_losses.compute.precision import computing_in, why_not

CPU, CARD = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def card(monkeypatch):
    """Return a function that puts an NVIDIA card of a compute capability in place; its convolutions are computed."""
    monkeypatch.setattr(precision, "_is_computed", lambda name, device: True)
    return lambda *capability: monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("name", "capability", "reason"),
    [
        ("tf32", (7, 5), "TF32 needs compute capability 8.0 or newer, and this graphics card has 7.5"),
        ("bfloat16", (7, 5), "bfloat16 needs compute capability 8.0 or newer, and this graphics card has 7.5"),
        ("float16", (7, 5), ""),
        ("float32", (5, 0), ""),
        ("tf32", (8, 0), ""),
        ("bfloat16", (9, 0), ""),
    ],
)
def test_a_card_that_lacks_a_format_is_named(name, capability, reason, card):
    card(*capability)
    assert why_not(name, CARD) == reason


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_tf32_is_for_nvidia_s_cards(kind):
    assert f"this device is '{kind}'" in why_not("tf32", torch.device(kind))


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_a_cpu_computes_in_half_width_and_says_so(name, dtype):
    assert why_not(name, CPU) == ""
    with computing_in(name, CPU):
        assert functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 1, 1)).dtype == dtype
    assert functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 1, 1)).dtype == torch.float32


@pytest.mark.parametrize("error", [RuntimeError, TypeError, NotImplementedError])
def test_a_device_that_fails_to_compute_lacks_the_format(error, monkeypatch):
    def fail(*_, **__):
        raise error("not implemented for 'BFloat16'")

    monkeypatch.setattr(precision.functional, "conv2d", fail)
    assert why_not("bfloat16", CPU) == "this device does not compute in bfloat16"


def test_a_device_that_silently_keeps_float32_lacks_the_format(monkeypatch):
    monkeypatch.setattr(precision, "computing_in", lambda name, device: torch.autocast("cpu", enabled=False))
    assert why_not("float16", CPU) == "this device does not compute in float16"


@pytest.mark.parametrize(("name", "allows"), [("float32", False), ("tf32", True)])
def test_on_cuda_tf32_is_allowed_where_it_was_chosen(name, allows):
    """The setting is torch's own and exists without a card."""
    before = torch.backends.cudnn.allow_tf32
    with computing_in(name, CARD):
        assert torch.backends.cudnn.allow_tf32 is allows
    assert torch.backends.cudnn.allow_tf32 is before
