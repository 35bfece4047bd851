"""The table of engines, and the choice of the one that runs a model; known without torch."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.compute.devices import choose_device, may_have_graphics
from napari_care_losses.errors import InputError
from napari_care_losses.models.program import TORCHSCRIPT, Program

if TYPE_CHECKING:
    from napari_care_losses.models.model import Model
    from napari_care_losses.models.program import Network
    from napari_care_losses.restoration.engines.base import Engine
    from napari_care_losses.restoration.engines.treatment import Treatment


class Entry(NamedTuple):
    """Where an engine is defined, and what it needs.

    `engine` is a class in the file `module` beside this one, called with a model and the name of a device; `package`
    must be installed besides torch.
    """

    module: str
    engine: str
    package: str = ""
    is_for_cpu: bool = False


ENGINES = {
    "torch": Entry("torch_engine", "TorchEngine"),
    "torch-tf32": Entry("reduced_engine", "Tf32Engine"),
    "torch-bfloat16": Entry("reduced_engine", "Bfloat16Engine"),
    "torch-float16": Entry("reduced_engine", "Float16Engine"),
    "openvino": Entry("openvino_engine", "OpenVinoEngine", "openvino", is_for_cpu=True),
    "openvino-int8": Entry("openvino_engine", "Int8Engine", "openvino", is_for_cpu=True),
}
"""All engines by name."""


def libraries(engine: str = "auto", network: Network | None = None) -> tuple[str, ...]:
    """Return the packages that running a network on the device "auto" loads, known without loading any.

    OpenVINO alone where it runs a CARE network in float32; torch too where that may run it, or calibrates 8 bits.

    Parameters
    ----------
    engine : str
        One of `ENGINES`, or "auto".
    network : Network, optional
        What is to be run; by default a CARE network.
    """
    if find_spec("openvino") is None or (isinstance(network, Program) and network.kind == TORCHSCRIPT):
        return ("torch",)
    is_for_openvino = engine == "openvino" or (engine == "auto" and not may_have_graphics())
    if is_for_openvino and not isinstance(network, Program):
        return ("openvino",)
    return ("torch", "openvino")


def gains_from_8_bits() -> bool:
    """Return whether 8 bits are much faster than float32 on this processor; loads OpenVINO, true where it cannot be.

    They are where products of 8 bits are added up in 32 bits by one instruction (VNNI, AMX). Others, tried on an AMD
    EPYC of the first generation, compute 8 bits hardly faster than float32.
    """
    with suppress(ImportError, OSError):
        from napari_care_losses.restoration.engines.openvino_graph import weight_room

        return weight_room() == 1
    return True


def open_engine(name: str, model: Model, device: str = "auto", treatment: Treatment | None = None) -> Engine:
    """Return an engine for a model.

    Parameters
    ----------
    name : str
        One of `ENGINES`, or "auto" for OpenVINO on the CPU and torch elsewhere. Where OpenVINO is not usable, torch
        takes its place; if OpenVINO was asked for by name, the engine's note says so.
    model : Model
        The model.
    device : str
        One of `napari_care_losses.restoration.parameters.DEVICES`.
    treatment : Treatment, optional
        What is done about noise that neighbouring pixels share; by default nothing.

    Raises
    ------
    InputError
        If the device does not exist or the engine cannot run on it.
    """
    engine = _opened(name, model, device)
    if treatment is not None and treatment.halves:
        from napari_care_losses.restoration.engines.half_resolution import HalfResolutionEngine

        return HalfResolutionEngine(engine)
    if treatment is not None and treatment.correlation is not None:
        from napari_care_losses.restoration.engines.decorrelating import DecorrelatingEngine

        return DecorrelatingEngine(engine, treatment.correlation)
    return engine


def _opened(name: str, model: Model, device: str) -> Engine:
    if isinstance(model.card.architecture, Program):
        from napari_care_losses.restoration.engines.programs import open_program

        return open_program(name, model, device)
    if name != "auto" and ENGINES[name].is_for_cpu and device not in ("auto", "cpu"):
        raise InputError(
            f"The engine {name} runs on the cpu, not on {device}: choose the engine torch, or another device."
        )
    is_on_cpu = device == "cpu" or (device == "auto" and choose_device() == "cpu")
    chosen = ENGINES[name if name != "auto" else "openvino" if is_on_cpu else "torch"]
    if not chosen.package or find_spec(chosen.package) is not None:
        # Installed is not yet usable: a system library that it needs may be missing.
        with suppress(ImportError, OSError):
            return _engine(chosen, model, device)
    engine = _engine(ENGINES["torch"], model, device)
    if name != "auto":
        engine.note = "OpenVINO is not usable here, so torch restored instead (pip install openvino)."
    return engine


def _engine(entry: Entry, model: Model, device: str) -> Engine:
    kind = getattr(import_module(f"{__package__}.{entry.module}"), entry.engine)
    engine: Engine = kind(model, choose_device("cpu" if entry.is_for_cpu else device))
    return engine
