"""Pictures of a training: grey-level pictures, and the validation image restored by the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_care_losses.widgets.shared.form import tooltip

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QPaintEvent

    from napari_care_losses.training.progress import Preview

TRUTH_PERCENTILES = (1.0, 99.8)
"""Percentiles of the ground truth, or without it of the restored image, shown as black and white in all panels."""

RESIDUAL_DEVIATIONS = 3.0
"""Standard deviations of the residual that are shown as black and white."""

SMALLEST_PICTURE = 60
"""Least width of a picture, in pixels."""


class Picture(QWidget):
    """Shows an array in grey levels, as wide as possible.

    Parameters
    ----------
    magnified : bool
        Whether the whole array is scaled to the width. Otherwise its middle is shown pixel by pixel, and enlarged only
        if there is more room than it needs: scaling down would average noise and detail.
    """

    def __init__(self, *, magnified: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._magnified = magnified
        self.image, self._aspect = QImage(), 1.0
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumWidth(SMALLEST_PICTURE)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is shown."""
        return self.image.isNull()

    def show_array(self, array: NDArray[np.float32] | None, low: float = 0.0, high: float = 1.0) -> None:
        """Show an array (Y, X), `low` as black and `high` as white; NaN is left transparent, None shows nothing."""
        self.image = QImage() if array is None else to_image(array, low, high)
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
        if self.image.isNull():
            return
        painter = QPainter(self)
        if self._magnified:
            target = QRect(0, 0, self.width(), self.heightForWidth(self.width()))
            painter.drawImage(target, self.image, self.image.rect())
            return
        ratio = self.devicePixelRatioF()
        width = min(round(self.width() * ratio), self.image.width())
        height = min(round(self.height() * ratio), self.image.height())
        scale = min(self.width() / width, self.height() / height)
        source = QRect((self.image.width() - width) // 2, (self.image.height() - height) // 2, width, height)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale * ratio > 1)
        painter.drawImage(QRect(0, 0, round(width * scale), round(height * scale)), self.image, source)


class PreviewPanels(QWidget):
    """Low exposure, restored image and ground truth of a validation image, with the same contrast limits.

    Without a truth, the residual is in its place.
    """

    def __init__(self, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        centred = Qt.AlignmentFlag.AlignHCenter
        self.captions = {name: QLabel(alignment=centred) for name in ("low", "restored", "third")}
        self.pictures = {name: Picture() for name in self.captions}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        for column, name in enumerate(self.captions):
            grid.addWidget(self.captions[name], 0, column)
            grid.addWidget(self.pictures[name], 1, column)
            grid.setColumnStretch(column, 1)
        self.setToolTip(
            tooltip(
                "Part of a validation image after the last epoch: the low exposure, the image restored by the network, "
                "and the high exposure as ground truth. Without one, the residual, input minus restored: structure "
                "seen in it is lost signal. PSNR against the ground truth, without one estimated; higher is "
                "better. One pixel of the image is one pixel of the screen: a wider dock shows more."
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
        shown = preview.restored if preview.truth is None else preview.truth
        limits = [float(limit) for limit in np.percentile(shown, TRUTH_PERCENTILES)]
        self.pictures["low"].show_array(preview.low, *limits)
        self.pictures["restored"].show_array(preview.restored, *limits)
        if preview.truth is None:
            residual = preview.low - preview.restored
            most = RESIDUAL_DEVIATIONS * float(residual.std())
            self.pictures["third"].show_array(residual, -most, most)
            psnr = preview.restored_psnr
            texts = ["Noisy", f"Restored ~{psnr:.0f} dB" if np.isfinite(psnr) else "Restored", "Residual"]
        else:
            self.pictures["third"].show_array(preview.truth, *limits)
            texts = [f"Low {preview.low_psnr:.1f} dB", f"Restored {preview.restored_psnr:.1f} dB", "Ground truth"]
        for caption, text in zip(self.captions.values(), texts, strict=True):
            caption.setText(text)


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
