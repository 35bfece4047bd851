"""What the panel that follows an acquisition says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_care_losses.following.delays import shown as shown_seconds
from napari_care_losses.widgets.background.worker import Outcome
from napari_care_losses.widgets.restore.follow.sources import LAYER, LIVE, SEQUENCE

if TYPE_CHECKING:
    from napari_care_losses.widgets.restore.follow.work import FollowReport

SOURCE_HELP = (
    "Where frames come from. The image chosen above: a layer that is replaced or grows, such as the preview of "
    "napari-micromanager. The camera: that of a Micro-Manager core which runs in this program (pymmcore-plus); live, "
    "or every frame of the next sequence."
)
START_HELP = "Restore each frame as it comes, the newest first. It starts no acquisition, and no light."
STOP_HELP = "Stop; what is restored stays."
QUICK_HELP = (
    "Of a live image only the newest frame counts, so it is restored by the quickest network of the chosen model's "
    "loss. A stack that grows and a sequence are restored by the chosen model."
)
STAYS = "This sequence stays with the model and the settings that it began with."
NOTHING_TO_SAVE = "Nothing is restored yet, or it is still being followed."
EXPOSURE_HELP = "The exposure of the camera. Turn it down until the estimated PSNR is just good enough."
PSNR_HELP = (
    "How close the restored frame is to the truth, estimated without one every few seconds, in the part of the frame "
    "with most structure. In most images the true PSNR lies in the interval."
)
WORDS = {LAYER: "the image above", LIVE: "the camera, live", SEQUENCE: "the camera, next sequence"}
WAITING = {
    LAYER: "Waiting for the first frame…",
    LIVE: "Waiting for the first frame: start the live mode of your acquisition program, or snap an image.",
    SEQUENCE: "Waiting for the sequence: start it in your acquisition program.",
}


def progress_text(report: FollowReport, rate: float | None, delay: float | None) -> str:
    """Return what is said while frames come."""
    progress = report.progress
    parts = [f"Frame {progress.arrived - 1}"]
    if rate is not None:
        parts.append(f"{rate:.1f} frames a second" if rate < 10 else f"{rate:.0f} frames a second")
    if delay is not None:
        parts.append(f"restored {shown_seconds(delay)} after it came")
    lines = [", ".join(parts) + "."]
    if report.movies is not None and progress.waiting:
        lines.append(f"{progress.waiting:,} of {progress.arrived:,} frames wait to be restored.")
    if progress.dropped:
        lines.append(f"{progress.dropped:,} of {progress.arrived:,} frames skipped: newer ones had come.")
    return "\n".join([*lines, progress.note] if progress.note else lines)


def end_text(report: FollowReport | None, outcome: Outcome, note: str) -> str:
    """Return what is said at the end."""
    restored = dropped = 0
    if report is not None:
        # the last reports are not heard where it was stopped
        restored = report.progress.restored if report.movies is None else len(report.movies.restored.done)
        dropped = report.progress.dropped
    frames = f"{restored:,} frame{'s' if restored != 1 else ''} restored"
    skipped = f", {dropped:,} skipped" if dropped else ""
    first = "Stopped" if outcome is Outcome.STOPPED else "Ended"
    return f"{first}: {frames}{skipped}. {note}".rstrip()
