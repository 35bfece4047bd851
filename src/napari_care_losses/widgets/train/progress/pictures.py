"""Pictures of a training: a validation image as the network restores it, and patches as they are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent

    from napari_care_losses.training.patches import Batch
    from napari_care_losses.training.progress import Preview

CONTRAST_PERCENTILES = (1.0, 99.8)
"""Of the truth: shown as black and white in all three panels."""

SMALLEST = 60
"""Width of a picture at least, in pixels."""

PATCHES_A_ROW = 4
GAP = 2
"""Between patches, in pixels of theirs."""


class Picture(QWidget):
    """Shows an array in grey levels, as wide as there is room.

    Parameters
    ----------
    magnified : bool
        Whether the whole array is scaled to the width; otherwise its middle is shown pixel by pixel, larger only where
        there is more room than the array needs: scaled down, noise and detail would be averaged away.
    parent : QWidget, optional
        Parent widget.
    """

    def __init__(self, *, magnified: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._magnified = magnified
        self._image = QImage()
        self._aspect = 1.0
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumWidth(SMALLEST)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is shown."""
        return self._image.isNull()

    def show_array(self, array: NDArray[np.float32] | None, low: float = 0.0, high: float = 1.0) -> None:
        """Show an array (Y, X), `low` as black and `high` as white; NaN is left transparent, None shows nothing."""
        self._image = QImage() if array is None else to_image(array, low, high)
        if array is not None and self._magnified:
            self._aspect = array.shape[0] / array.shape[1]
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Return a size for a narrow dock."""
        return QSize(100, round(100 * self._aspect))

    def hasHeightForWidth(self) -> bool:
        """Tell the layout that the height follows the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height that keeps the pixels square."""
        return round(width * self._aspect)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the picture."""
        if self._image.isNull():
            return
        painter = QPainter(self)
        if self._magnified:
            target = QRect(0, 0, self.width(), self.heightForWidth(self.width()))
            painter.drawImage(target, self._image, self._image.rect())
            return
        ratio = self.devicePixelRatioF()
        width, height = (min(round(side * ratio), size) for side, size in self._sides())
        scale = min(self.width() / width, self.height() / height)
        source = QRect((self._image.width() - width) // 2, (self._image.height() - height) // 2, width, height)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale * ratio > 1)
        painter.drawImage(QRect(0, 0, round(width * scale), round(height * scale)), self._image, source)

    def _sides(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.width(), self._image.width()), (self.height(), self._image.height())


class PreviewPanels(QWidget):
    """Low exposure, restoration and truth of a validation image, with the same contrast limits."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.captions = {name: QLabel() for name in ("low", "restored", "truth")}
        self.pictures = {name: Picture() for name in self.captions}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        for column, name in enumerate(self.captions):
            self.captions[name].setAlignment(Qt.AlignmentFlag.AlignHCenter)
            grid.addWidget(self.captions[name], 0, column)
            grid.addWidget(self.pictures[name], 1, column)
            grid.setColumnStretch(column, 1)
        self.setToolTip(
            tooltip(
                "A part of an image that is not trained on, after the last epoch: the low exposure, the same as the "
                "network restores it now, and the high exposure. PSNR against the high exposure, higher is better. "
                "Pixels are shown one to one; a wider dock shows more of the image."
            )
        )
        self.show_preview(None)

    def show_preview(self, preview: Preview | None) -> None:
        """Show a preview; None hides the panels."""
        self.setVisible(preview is not None)
        if preview is None:
            for picture in self.pictures.values():
                picture.show_array(None)
            return
        low, high = np.percentile(preview.truth, CONTRAST_PERCENTILES)
        for name, picture in self.pictures.items():
            picture.show_array(getattr(preview, name), float(low), float(high))
        self.captions["low"].setText(f"Low {preview.low_psnr:.1f} dB")
        self.captions["restored"].setText(f"Restored {preview.restored_psnr:.1f} dB")
        self.captions["truth"].setText("Truth")


class PatchGrid(QWidget):
    """Patches as a training draws them: each low one above its high one."""

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.picture = Picture(magnified=True)
        self.caption = QLabel("Each low patch above its high one, normalised as the network sees them.")
        self.caption.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.picture)
        layout.addWidget(self.caption)
        self.setVisible(False)

    def show_patches(self, batch: Batch) -> None:
        """Show a batch of low and high patches, float32 arrays (N, 1, Y, X)."""
        low, high = (patches[:, 0] for patches in batch)
        self.picture.show_array(mosaic(low, high))
        self.setVisible(True)


def mosaic(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return patches (N, Y, X) side by side, low above high, NaN between them."""
    size = low.shape[1]
    rows = -(-len(low) // PATCHES_A_ROW)
    pair, column = 2 * size + 2 * GAP + GAP, size + GAP
    shown = np.full((rows * pair, PATCHES_A_ROW * column), np.nan, np.float32)
    for number, (first, second) in enumerate(zip(low, high, strict=True)):
        top, left = number // PATCHES_A_ROW * pair, number % PATCHES_A_ROW * column
        shown[top : top + size, left : left + size] = first
        shown[top + size + GAP : top + 2 * size + GAP, left : left + size] = second
    return shown[: -2 * GAP, :-GAP]


def to_image(array: NDArray[np.float32], low: float, high: float) -> QImage:
    """Return an array in grey levels; NaN becomes transparent."""
    there = np.isfinite(array)
    grey = np.where(there, (array - low) / max(high - low, 1e-12), 0.0)
    pixels = np.empty((*array.shape, 4), np.uint8)
    pixels[..., :3] = np.rint(255 * np.clip(grey, 0, 1))[..., None]
    pixels[..., 3] = 255 * there
    height, width = array.shape
    # a copy: the image must outlive the array
    return QImage(pixels.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
