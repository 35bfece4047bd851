"""What every engine does: it runs tiles through a model and translates the failures of its library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from napari_care_losses.compute.memory import free_memory, require_memory
from napari_care_losses.errors import ComputeError
from napari_care_losses.restoration.tiles import working_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Tileable
    from napari_care_losses.models.model import Model

MEMORY_SHARE = 0.25
MEMORY_CAP = {"cpu": 768 << 20, "mps": 2 << 30, "cuda": 4 << 30}
"""Share of the free memory that a tile may take, and the bytes beyond which larger tiles gain nothing."""

Restored = tuple["NDArray[np.float32]", "NDArray[np.float32] | None"]
"""Restored tile and its Laplace scale, float32 arrays (Y, X); no scale from models without one."""


def as_batch(tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a tile (Y, X) or (C, Y, X) as a batch of one image (1, C, Y, X), contiguous in memory."""
    return np.ascontiguousarray(tile).reshape(1, -1, *tile.shape[-2:])


class Engine(ABC):
    """Runs tiles through a model.

    Attributes
    ----------
    note : str
        What the user should know about this engine's work; may be empty.
    device : str
        "cpu", "cuda" or "mps".
    architecture : Tileable
        What images are cut into tiles for.
    """

    samples = 0
    """Number of images that `prepare` needs."""
    _limits: ClassVar[dict[str, int]] = {}

    def __init__(self, model: Model, device: str) -> None:
        self.model, self.device, self.note = model, device, ""
        self.architecture: Tileable = model.card.architecture
        self._restored: set[tuple[int, ...]] = set()

    def restore(self, tile: NDArray[np.float32]) -> Restored:
        """Restore one normalised tile (Y, X), or (1 + neighbours, Y, X) for models that read neighbouring frames.

        Y and X are multiples of the network's block.

        Raises `ComputeError` if the device runs out of memory or fails, or if it would crash for lack of memory.
        """
        if tile.shape not in self._restored:
            require_memory(0, "restoring", "allow this program more memory")
        with self._failures(f"a tile of {tile.shape[-2]} x {tile.shape[-1]} px"):
            restored = self._run(tile)
        self._restored.add(tile.shape)
        return restored

    def prepare(self, images: Iterable[NDArray[np.float32]]) -> None:
        """Calibrate the engine on `samples` of the images to be restored, shaped as tiles, before the first tile.

        Raises `ComputeError` if the device runs out of memory or fails.
        """
        if self.samples:
            with self._failures("the calibration"):
                self._prepare(images)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Turn the libraries' errors into `ComputeError`: the viewer's workers drop a `RuntimeError` in silence."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            self.close()
            raise ComputeError(
                f"The {self.device} device failed on {what}: {error} "
                "If memory ran out, close other programs or choose a smaller tile size."
            ) from error

    @abstractmethod
    def _run(self, tile: NDArray[np.float32]) -> Restored:
        """Implement `restore`; errors of the library may escape."""

    def _prepare(self, images: Iterable[NDArray[np.float32]]) -> None:  # noqa: B027 - most need nothing
        """Implement `prepare`; errors of the library may escape."""

    def close(self) -> None:  # noqa: B027 - most hold none
        """Release working memory; the engine stays usable."""

    def memory(self) -> int:
        """Return the bytes that a tile may take on this device now."""
        free = free_memory() if self.device == "cpu" else self._free_memory()
        return min(int(MEMORY_SHARE * free), self._limits.get(self.device, MEMORY_CAP[self.device]))

    def _free_memory(self) -> int:
        """Return the bytes that are free on a graphics card, where torch runs."""
        import torch

        if self.device == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0])
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())

    def remember_tile(self, width: int) -> None:
        """Limit the memory of later tiles, on this device and in this process, to that of square ones of `width` px."""
        needed = working_memory(self.architecture, width)
        self._limits[self.device] = min(needed, self._limits.get(self.device, MEMORY_CAP[self.device]))


class WrappingEngine(Engine):
    """Changes images before another engine restores them, and changes them back after.

    Parameters
    ----------
    engine : Engine
        What restores them.
    reach : int
        Pixels around a pixel that both changes read together.
    """

    def __init__(self, engine: Engine, *, reach: int) -> None:
        super().__init__(engine.model, engine.device)
        self._engine = engine
        self.architecture = Wrapped(engine.architecture, reach)
        self.note, self.samples = engine.note, engine.samples

    @abstractmethod
    def _before(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Change an image (Y, X), or every channel of one (C, Y, X)."""

    @abstractmethod
    def _after(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Change what was restored of it back."""

    def _run(self, tile: NDArray[np.float32]) -> Restored:
        mean, scale = self._engine.restore(self._before(tile))
        return self._after(mean), None if scale is None else self._after(scale).clip(min=0)

    def _prepare(self, images: Iterable[NDArray[np.float32]]) -> None:
        self._engine.prepare(map(self._before, images))
        self.note = self._engine.note

    def close(self) -> None:
        """Release working memory; the engine stays usable."""
        self._engine.close()


@dataclass(frozen=True)
class Wrapped:
    """What is needed to cut images into tiles for a `WrappingEngine`."""

    network: Tileable
    reach: int

    @property
    def block(self) -> int:
        """Number of pixels that image sizes and tile positions must be multiples of."""
        return self.network.block

    @property
    def margin(self) -> int:
        """Radius of the receptive field in pixels, that of the changes included, in whole blocks."""
        return self.network.margin + -(-self.reach // self.block) * self.block

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of working memory for every pixel of a tile."""
        return self.network.memory_per_pixel + 64

    @property
    def cost_per_pixel(self) -> float:
        """Multiply-adds for every pixel, up to a factor."""
        return self.network.cost_per_pixel
