"""What every engine does: it runs tiles through a model and translates the failures of its library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from napari_care_losses.compute.memory import free_memory, require_memory
from napari_care_losses.errors import ComputeError
from napari_care_losses.restoration.tiles import working_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_care_losses.models.architecture import Tileable
    from napari_care_losses.models.model import Model

MEMORY_SHARE = 0.25
MEMORY_CAP = {"cpu": 768 << 20, "mps": 2 << 30, "cuda": 4 << 30}
"""Share of the free memory that a tile may take, and the bytes beyond which larger tiles gain nothing."""

Pixels = Any
"""Normalised pixels (..., Y, X): a float32 array, or what `Engine.placed` made of one."""

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
    gains_together = False
    """Whether tiles are restored sooner together than one by one; one keeps the cores of a CPU busy."""
    copies = False
    """Whether `placed` copies images into other memory."""
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
        return self.restore_together([tile])[0]

    def restore_together(self, tiles: Sequence[Pixels]) -> list[Restored]:
        """Restore tiles of one shape at once, in the memory of all of them; each, and what is raised, as of `restore`.

        They may be parts of what `placed` returned.
        """
        shape = tuple(tiles[0].shape)
        if shape not in self._restored:
            require_memory(0, "restoring", "allow this program more memory")
        number = f"{len(tiles)} tiles" if len(tiles) > 1 else "a tile"
        with self._failures(f"{number} of {shape[-2]} x {shape[-1]} px"):
            restored = [self._run(tiles[0])] if len(tiles) == 1 else self._run_together(tiles)
        self._restored.add(shape)
        return restored

    def placed(self, image: NDArray[np.float32]) -> Pixels:
        """Return an image (..., Y, X) where the device reads it soonest; another thread may call it meanwhile."""
        return image

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
            # The error holds what was computed until then, which would keep the memory from being freed.
            clear_frames(error.__traceback__)
            self.close()
            raise ComputeError(
                f"The {self.device} device failed on {what}: {error} "
                "If memory ran out, close other programs or choose a smaller tile size."
            ) from error

    @abstractmethod
    def _run(self, tile: Pixels) -> Restored:
        """Implement `restore`; errors of the library may escape."""

    def _run_together(self, tiles: Sequence[Pixels]) -> list[Restored]:
        """Implement `restore_together` for several tiles; errors of the library may escape."""
        return [self._run(tile) for tile in tiles]

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

    def at_once(self, width: int) -> int:
        """Return how many square tiles of `width` px are restored together."""
        return max(1, self.memory() // working_memory(self.architecture, width)) if self.gains_together else 1

    def remember_tile(self, width: int, number: int = 1) -> None:
        """Limit the memory of later tiles, on this device and in this process, to that of so many of `width` px."""
        needed = number * working_memory(self.architecture, width)
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

    def _run(self, tile: Pixels) -> Restored:
        mean, scale = self._engine.restore(self._before(tile))
        self.note = self._engine.note
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
