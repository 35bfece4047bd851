"""Where the time goes: OpenVINO's own performance counters, torch's profiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile

from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training.progress import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.restore_stack import RestorationParameters
    from napari_care_losses.training.trainer import Trainer

COSTLIEST = 5

Layers = list[dict[str, Any]]
"""The costliest first: ``name``, ``kernel``, ``milliseconds`` and ``share`` of the whole."""


def profile_restoring(model: Model, parameters: RestorationParameters, image: NDArray[Any], engine: str) -> Layers:
    """Restore an image twice and return the costliest layers of the second time."""
    if engine == "torch":
        restore(image, model, parameters)
        return _profiled(lambda: restore(image, model, parameters))
    return _counted(lambda: restore(image, model, parameters))


def profile_training(trainer: Trainer, steps: int) -> Layers:
    """Train some steps and return the costliest operations."""
    reports = (report for report in trainer.run() if isinstance(report, Step))
    next(reports)

    def train() -> None:
        for _ in range(steps):
            next(reports)

    return _profiled(train)


def _profiled(work: Callable[[], Any]) -> Layers:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    averages = sorted(profiler.key_averages(), key=lambda row: -row.self_cpu_time_total)
    whole = sum(row.self_cpu_time_total for row in averages)
    return [
        _layer(row.key, f"{row.count} calls", row.self_cpu_time_total / 1e3, whole / 1e3)
        for row in averages[:COSTLIEST]
    ]


def _counted(work: Callable[[], Any]) -> Layers:
    """Run OpenVINO with its counters on, whoever compiles the network."""
    import openvino

    ran: list[Any] = []
    compile_model, infer = openvino.Core.compile_model, openvino.InferRequest.infer

    def compile_counting(core: Any, network: Any, device: str = "CPU", config: Any = None, **rest: Any) -> Any:
        return compile_model(core, network, device, {**(config or {}), "PERF_COUNT": True}, **rest)

    def infer_noted(request: Any, *arguments: Any, **rest: Any) -> Any:
        ran[:] = [request]
        return infer(request, *arguments, **rest)

    openvino.Core.compile_model, openvino.InferRequest.infer = compile_counting, infer_noted
    try:
        work()
        work()
    finally:
        openvino.Core.compile_model, openvino.InferRequest.infer = compile_model, infer
    rows = [row for row in ran[0].get_profiling_info() if row.real_time.total_seconds() > 0]
    rows.sort(key=lambda row: -row.real_time)
    whole = sum(row.real_time.total_seconds() for row in rows) * 1e3
    nodes = ran[0].get_compiled_model().get_runtime_model().get_ops()
    shapes = {node.get_friendly_name(): " x ".join(map(str, node.get_output_shape(0)[1:])) for node in nodes}
    return [
        _layer(
            f"{row.node_type} to {shapes.get(row.node_name, '?')}",
            row.exec_type,
            row.real_time.total_seconds() * 1e3,
            whole,
        )
        for row in rows[:COSTLIEST]
    ]


def _layer(name: str, kernel: str, milliseconds: float, whole: float) -> dict[str, Any]:
    share = milliseconds / whole
    return {"name": name, "kernel": kernel, "milliseconds": milliseconds, "share": share}
