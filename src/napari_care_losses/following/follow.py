"""Following a growing source: frames are restored as they come, the newest first."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_care_losses.compute.prefetch import prefetch
from napari_care_losses.compute.steps import Steps, finish
from napari_care_losses.errors import ComputeError, InputError, ParameterError, UnreadableError
from napari_care_losses.following.backlog import Backlog
from napari_care_losses.following.delays import Delays
from napari_care_losses.following.growing_stack import stack_of
from napari_care_losses.following.progress import FollowOptions, FollowProgress
from napari_care_losses.following.source import Arrived, FrameGoneError
from napari_care_losses.images.frames import Frames
from napari_care_losses.restoration.correlated_noise import choose_treatment
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.ranges import Ranges, estimate_ranges
from napari_care_losses.restoration.remarks import Remarks
from napari_care_losses.restoration.restore_frame import FrameRestorer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from napari_care_losses.following.sink import Sink
    from napari_care_losses.following.source import Layout, Source
    from napari_care_losses.images.normalization import Range
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.restore_frame import Input

OPENING_FRAMES = 3
"""So many first frames are measured before any is restored: the range of a stack, noise, 8 bits."""

PATIENCE = 1.0
"""Seconds after the first frame in which the other ones of them are waited for."""

EARLY = 4.0
"""So many times as long as reading a frame takes before the one before it will be restored, it is read."""

REPORT_SECONDS = 0.1
"""Time after which progress is reported where nothing comes."""


def follow(
    source: Source,
    model: Model,
    sink: Sink | None = None,
    parameters: RestorationParameters | None = None,
    options: FollowOptions | None = None,
    *,
    enough: Event | None = None,
) -> Generator[FollowProgress, None, None]:
    """Restore the frames of a growing source as they come, the newest first, older ones when there is time.

    Each frame is restored once, as `napari_care_losses.restoration.restore_stack.restore_frames` restores it. What that
    takes from the whole stack is taken from the first frames (`OPENING_FRAMES`) and held: the range of grey levels of a
    stack, what is done about correlated noise, the calibration of 8 bits. A frame of a model that reads neighbouring
    frames waits until those after it have come; at the end the stack is reflected.

    The generator yields while nothing comes too, can be closed at any step, and ends once all that came is restored.

    Parameters
    ----------
    source : Source
        Where frames come from; the caller closes it.
    model : Model
        The trained model.
    sink : Sink, optional
        Where restored frames go, beside being yielded.
    parameters : RestorationParameters, optional
        How frames are restored; a range that follows bleaching needs the whole movie.
    options : FollowOptions, optional
        When it ends, and where it computes.
    enough : threading.Event, optional
        Once it is set, no more frames are taken; those that came are still restored.

    Yields
    ------
    FollowProgress
        After every frame, and every 0.1 s where none comes.

    Raises
    ------
    ParameterError
        If the settings need the whole stack.
    InputError
        If frames cannot be restored, or the source cannot be followed any longer.
    ComputeError, OutputError
        If the device or the sink fails.
    """
    parameters, options = parameters or RestorationParameters(), options or FollowOptions()
    work = _Following(source, model, sink, _checked(parameters, model, source), options, enough)
    yield from work.run()


def _checked(parameters: RestorationParameters, model: Model, source: Source) -> RestorationParameters:
    """Return parameters with the range by its own name; refuse what cannot be followed."""
    parameters = parameters.resolved(model.card.normalization)
    if parameters.normalization == "bleaching":
        raise ParameterError(
            "A range that follows bleaching is smoothed over the whole movie: while it is acquired choose the range of "
            "each frame or of the whole stack, or restore the movie once it is finished."
        )
    if model.card.architecture.neighbours and not source.keeps_frames:
        raise InputError(
            f"The model reads neighbouring frames, and {source.name} holds its newest frame only: choose a model of "
            "single frames, or follow a sequence that is kept."
        )
    return parameters


class _Taken(NamedTuple):
    """A frame ready to be restored."""

    given: Input
    arrival: float | None


class _Following:
    """One run of `follow`."""

    def __init__(
        self,
        source: Source,
        model: Model,
        sink: Sink | None,
        parameters: RestorationParameters,
        options: FollowOptions,
        enough: Event | None,
    ) -> None:
        self._source, self._model, self._sink, self._parameters = source, model, sink, parameters
        self._options, self._enough = options, enough
        self._backlog, self._delays, self._remarks = Backlog(), Delays(), Remarks()
        self._computing, self._closed = 0.0, Event()
        self._restored, self._notes = 0, {"held": "", "engine": "", "source": "", "end": ""}
        self._arrived, self._is_over, self._last_came = Arrived(0), False, time.monotonic()

    def run(self) -> Generator[FollowProgress, None, None]:
        first = yield from self._first_frames()
        layout = self._source.layout
        if first is None or layout is None:
            return
        if self._sink is not None:
            noted = self._sink.begin(layout, _times(first))
            if noted != _times(first):
                first = yield from self._first_frames(noted)
        assert first is not None
        card, parameters = self._model.card, self._parameters
        treatment = choose_treatment(first, card, parameters)
        restorer = FrameRestorer(first, self._model, parameters, treatment, device=self._options.device)
        found = finish(estimate_ranges(first, parameters, card.normalization))
        ranges = _HeldRanges(found.normalization, found, layout.frames_per_time)
        self._notes["held"] = _held_note(parameters, _times(first))
        done = frozenset() if self._sink is None else frozenset(self._sink.done)
        self._restored = len(done)
        self._backlog = Backlog(done, needs=_needed(restorer, layout, card.architecture.neighbours))
        try:
            restorer.prepare(ranges)
            yield from self._restoring(restorer, ranges, layout)
        except MemoryError as error:
            raise ComputeError(
                f"The memory ran out on a frame of {layout.frame_shape[0]} x {layout.frame_shape[1]} px, of which a "
                "few copies are needed: close other programs, or follow smaller frames."
            ) from error
        finally:
            restorer.close()
        if self._sink is not None:
            self._sink.finish(self._backlog.count)

    def _first_frames(self, times: int | None = None) -> Generator[FollowProgress, None, Frames | None]:
        """Wait for the first time points, as many as that if it is given; None where none has come at the end."""
        most, least = times or OPENING_FRAMES, times or (2 if self._model.card.architecture.neighbours else 1)
        patient_until = float("inf")
        while True:
            self._look()
            layout, there = self._source.layout, 0
            if layout is not None:
                there = self._whole_times(layout)
                if there and patient_until == float("inf"):
                    patient_until = time.monotonic() + PATIENCE
                is_enough = there >= most or not self._source.keeps_frames
                if there and (self._is_over or is_enough or (there >= least and time.monotonic() > patient_until)):
                    with suppress(FrameGoneError):
                        return self._first(layout, min(there, most))
            if self._is_over and not there:
                return None
            yield self._progress(layout)
            self._source.wait(REPORT_SECONDS)

    def _whole_times(self, layout: Layout) -> int:
        """Return how many time points are whole, from the oldest that is there on."""
        end = self._arrived.count if self._is_over else min(self._arrived.missing, default=self._arrived.count)
        return end // layout.frames_per_time - -(-self._arrived.oldest // layout.frames_per_time)

    def _first(self, layout: Layout, times: int) -> Frames:
        if self._source.keeps_frames:
            return stack_of(self._source, layout, times * layout.frames_per_time)
        start = -(-self._arrived.oldest // layout.frames_per_time) * layout.frames_per_time
        # now: they may be gone when they are asked for
        read = np.stack([self._source.frame(start + number) for number in range(layout.frames_per_time)])
        return Frames(read.reshape(layout.shape(1)), layout.axes, layout.calibration, metadata=layout.metadata)

    def _look(self) -> None:
        """Look at the source, unless following is over."""
        if self._is_over:
            return
        options, before = self._options, self._arrived
        arrived, now = self._source.poll(), time.monotonic()
        self._notes["source"] = arrived.note
        if (arrived.count, arrived.missing) != (before.count, before.missing):
            self._last_came = now
        is_over = arrived.has_ended or (self._enough is not None and self._enough.is_set())
        is_over = is_over or (options.idle is not None and now - self._last_came >= options.idle)
        if options.until is not None and self._source.layout is not None:
            limit = options.until * self._source.layout.frames_per_time
            missing = frozenset(number for number in arrived.missing if number < limit)
            is_over = is_over or (arrived.count >= limit and not missing)
            arrived = replace(arrived, count=min(arrived.count, limit), missing=missing)
        if (
            is_over
            and self._source.layout is not None
            and (unfinished := arrived.count % self._source.layout.frames_per_time)
        ):
            arrived = replace(arrived, count=arrived.count - unfinished)
            self._notes["end"] = "The last time point is not whole and is left out."
        self._arrived, self._is_over = arrived, is_over

    def _restoring(
        self, restorer: FrameRestorer, ranges: Ranges, layout: Layout
    ) -> Generator[FollowProgress, None, None]:
        """Restore frames until following is over and none is waiting; the next is read and the last written beside."""
        with ExitStack() as opened:
            thread = opened.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="write"))
            inputs = opened.enter_context(closing(prefetch(self._taken(restorer, ranges, layout))))
            opened.callback(self._closed.set)
            writing: Future[None] | None = None
            for taken in inputs:
                if taken is None:
                    yield self._progress(layout)
                    continue
                began, steps = time.monotonic(), Steps(restorer.restored(taken.given))
                for filled in steps:
                    if restorer.left(filled, 1):
                        yield self._progress(layout)
                frame, now = steps.result, time.monotonic()
                self._computing = now - began
                delay = None if taken.arrival is None else now - taken.arrival
                if delay is not None:
                    self._delays.add(delay)
                self._restored += 1
                self._remarks += frame.remarks
                self._notes["engine"] = restorer.note
                if self._sink is not None:
                    if writing is not None:
                        writing.result()
                    writing = thread.submit(self._sink.write, frame, delay)
                yield self._progress(layout, frame=frame, original=taken.given.source, delay=delay)
            if writing is not None:
                writing.result()

    def _taken(self, restorer: FrameRestorer, ranges: Ranges, layout: Layout) -> Generator[_Taken | None, None, None]:
        """Read the newest frame that can be restored, again and again; None while nothing comes."""
        reported, backlog, reading, read_from = time.monotonic(), self._backlog, 0.0, 0.0
        while not self._closed.is_set():
            before = backlog.count
            self._look()
            backlog.look(self._arrived, is_over=self._is_over)
            if backlog.count != before and backlog.count:
                restorer.grow(stack_of(self._source, layout, backlog.count))
            now = time.monotonic()
            if now < read_from:
                # a newer one may come while the frame before is restored
                self._source.wait(read_from - now)
            elif (number := backlog.take()) is not None:
                with self._gone_is_dropped():
                    (given,) = restorer.read([number], ranges)
                    reading = time.monotonic() - now
                    yield _Taken(given, self._source.arrival(number))
                reported = time.monotonic()
                read_from = reported + self._computing - EARLY * reading
            elif self._is_over and not backlog.waiting:
                return
            elif now - reported >= REPORT_SECONDS:
                yield None
                reported = now
            else:
                self._source.wait(REPORT_SECONDS)

    @contextmanager
    def _gone_is_dropped(self) -> Iterator[None]:
        try:
            yield
        except UnreadableError as error:
            if not isinstance(error.__cause__, FrameGoneError):
                raise
            self._backlog.drop()

    def _progress(self, layout: Layout | None, **of_frame: Any) -> FollowProgress:
        backlog, notes = self._backlog, self._notes
        arrived = max(backlog.count, self._arrived.count)
        note = " ".join(
            filter(None, (notes["source"], notes["held"], self._remarks.text(notes["engine"]), notes["end"]))
        )
        waiting = max(0, arrived - self._restored - backlog.dropped)
        return FollowProgress(
            arrived, self._restored, waiting, backlog.dropped, self._delays, layout, note=note, **of_frame
        )


@dataclass(frozen=True)
class _HeldRanges(Ranges):
    """The ranges of the first time point, held for all."""

    first: Ranges
    frames_per_time: int

    def shared(self, index: int) -> Range | None:
        return self.first.shared(index % self.frames_per_time)


def _times(frames: Frames) -> int:
    return frames.shape[0]


def _needed(restorer: FrameRestorer, layout: Layout, neighbours: int) -> Callable[[int], Iterable[int]]:
    """Return what gives the numbers of the frames that a model reads beside a frame, none before the first."""
    size = layout.frames_per_time

    def needed(number: int) -> Iterable[int]:
        if restorer.neighbour_axis == "Z":
            return range(number // size * size, (number // size + 1) * size)
        half = neighbours // 2
        numbers = range(number - half * size, number + half * size + 1, size)
        return (one for one in numbers if one >= 0 and one != number)

    return needed


def _held_note(parameters: RestorationParameters, times: int) -> str:
    if parameters.normalization != "stack":
        return ""
    first = "the first time point" if times == 1 else f"the first {times} time points"
    return f"The range of grey levels is that of {first}, held for all that follow."
