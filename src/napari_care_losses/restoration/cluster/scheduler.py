"""Restoring a stack on many machines: frames are tasks of a Dask cluster, written in parallel into one OME-Zarr image.

Workers read the input and write the output themselves, so every machine must see the same files. Every worker gets the
model once. Another worker repeats the frames of one that is lost.
"""

from __future__ import annotations

import gc
import itertools
import time
import uuid
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_care_losses.compute.cores import cpu_cores
from napari_care_losses.compute.steps import Steps
from napari_care_losses.errors import CareError, ComputeError, InputError
from napari_care_losses.restoration.ranges import estimate_ranges, frames_to_sample
from napari_care_losses.restoration.remarks import Remarks
from napari_care_losses.restoration.restore_stack import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from distributed import Client, Future

    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.stack_writer import StackWriter
    from napari_care_losses.models.model import Model
    from napari_care_losses.restoration.cluster.worker import Done
    from napari_care_losses.restoration.engines.treatment import Treatment
    from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
    from napari_care_losses.restoration.restore_frame import Beside

PATIENCE = 120.0
"""Seconds without any worker after which a local cluster has failed; workers of others may join hours later."""

_INTERVAL = 0.5  # seconds between two reports, at which Ctrl+C is noticed
_FAILURES = (OSError, TimeoutError, CancelledError)


@contextmanager
def connected(*, scheduler: str = "", workers: int = 0) -> Iterator[Client]:
    """Connect to a Dask cluster, or start one on this machine for as long as the block lasts.

    `scheduler` is the address of one, such as ``tcp://host:8786``, or the JSON file it wrote; in its place, `workers`
    is the number of worker processes on this machine, which share its cores.

    Raises
    ------
    InputError
        If Dask's distributed scheduler is not installed, or the address leads to none.
    """
    if find_spec("distributed") is None:
        raise InputError(
            "Restoring on a cluster needs Dask's distributed scheduler, which is not installed here: "
            'pip install "napari-care-losses[cluster]".'
        )
    if bool(scheduler) == (workers > 0):
        raise InputError("Expected either the address of a scheduler or a number of workers above 0.")
    from distributed import Client, LocalCluster

    if workers:
        threads = max(1, cpu_cores() // workers)
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            # Any free port: several runs may share a machine.
            dashboard_address="127.0.0.1:0",
            # Tiles are sized by the free memory.
            memory_limit=None,
        )
        with cluster, Client(cluster) as client:
            yield client
        return
    is_file = scheduler.endswith(".json") and Path(scheduler).is_file()
    client, problem = None, ""
    try:
        client = Client(scheduler_file=scheduler) if is_file else Client(scheduler, timeout=30)
    except (OSError, ValueError, TypeError) as error:
        problem = str(error)
    if client is None:
        # The garbage collector ends what Dask started. In a later client's thread it would deadlock, so it runs here,
        # when no error refers to the client any more.
        gc.collect()
        raise InputError(f"There is no Dask scheduler at {scheduler} ({problem}): is it running, is the address right?")
    with client:
        yield client


def restore_on_cluster(
    frames: Frames,
    model: Model,
    stacks: Sequence[StackWriter],
    parameters: RestorationParameters,
    run: RunOptions,
    treatment: Treatment,
    beside: Beside,
    *,
    source: Path,
    indices: Sequence[int],
) -> Generator[Progress, None, int]:
    """Restore the frames `indices` of a stack, in that order, into OME-Zarr images: the restored one, and those beside.

    The other arguments are as in `napari_care_losses.restoration.to_file.restore_to_file`; `run` has a cluster. Yields
    frames done and frames in all at least twice a second, can be closed at any step, and returns the number of pixels
    clipped to fit an integer type.

    Raises
    ------
    InputError
        If a frame cannot be restored, or a worker does not see the input.
    ComputeError, OutputError
        If a device or disk fails, or the cluster is lost.
    """
    from napari_care_losses.restoration.cluster.worker import ClusterJob, RestoringPlugin

    sampling = Steps(estimate_ranges(frames, parameters, model.card.normalization))
    total, to_sample = len(indices), frames_to_sample(frames, parameters, model.card.normalization)
    for sampled in sampling:
        yield Progress(0, total, sampled=(sampled, to_sample))
    client = run.cluster
    if not indices or client is None:
        return 0
    outputs = [stack.partial.resolve() for stack in stacks]
    job = ClusterJob(
        source.resolve(),
        frames.layout(),
        model,
        parameters,
        treatment,
        sampling.result,
        outputs,
        run.dtype,
        run.device,
        beside,
    )
    name = f"restore-{uuid.uuid4().hex[:12]}"
    is_local = client.cluster is not None
    try:
        client.register_plugin(RestoringPlugin(job, name, ignores_interrupts=is_local))
        clipped = yield from _frames_done(client, name, stacks, indices)
    except CareError:
        raise
    except _FAILURES as error:
        cause = error or type(error).__name__
        raise ComputeError(f"The cluster was lost ({cause}); continue with --resume.") from error
    finally:
        # A client that was closed before raises a RuntimeError.
        with suppress(*_FAILURES, ValueError, RuntimeError):
            client.unregister_worker_plugin(name)
    return clipped


def _frames_done(
    client: Client, name: str, stacks: Sequence[StackWriter], indices: Sequence[int]
) -> Generator[Progress, None, int]:
    """Submit frames as workers become free, and record finished ones."""
    from distributed import wait

    from napari_care_losses.restoration.cluster.worker import restore_frame

    waiting = iter(indices)
    at_work: dict[Future, int] = {}
    done = clipped = 0
    note, remarks = "", Remarks()
    patience = _Patience(client)
    try:
        while True:
            # Twice as many as can be computed at once, so that no worker waits.
            room = 2 * patience.threads() + 1 - len(at_work)
            for index in itertools.islice(waiting, max(room, 0)):
                at_work[client.submit(restore_frame, name, index, pure=False)] = index
            if not at_work and patience.has_workers:
                return clipped
            if at_work:
                with suppress(TimeoutError):
                    wait(list(at_work), timeout=_INTERVAL, return_when="FIRST_COMPLETED")
            else:
                time.sleep(_INTERVAL)
            for future in [future for future in at_work if future.done()]:
                index, result = at_work.pop(future), _result(future)
                for stack in stacks:
                    stack.mark_done(index)
                done, clipped, note = done + 1, clipped + result.clipped, result.note
                remarks += result.remarks
            yield Progress(
                done, len(indices), note=remarks.text(note) if patience.has_workers else "waiting for workers"
            )
    except InputError:
        # The output is discarded: workers must not write into it afterwards.
        with suppress(*_FAILURES):
            wait(list(at_work), timeout=PATIENCE)
        raise
    finally:
        if at_work:
            with suppress(*_FAILURES):
                client.cancel(list(at_work))


def _result(future: Future) -> Done:
    """Return the result of a task, or raise the `CareError` that it raised; also where its workers ended."""
    from distributed import KilledWorker

    try:
        result: Done = future.result()
    except KilledWorker as error:
        raise ComputeError(
            "Several workers ended while they restored one and the same frame: memory may have run out. Choose a "
            "smaller tile size or fewer workers; continue with --resume."
        ) from error
    return result


class _Patience:
    """Counts the cluster's threads, and the time without any."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._looked = -1.0
        self._seen = time.monotonic()
        self._threads = 0

    @property
    def has_workers(self) -> bool:
        return self._threads > 0

    def threads(self) -> int:
        """Return the number of threads of all workers, at most a second old.

        Raises `ComputeError` if a local cluster has had no worker for `PATIENCE`.
        """
        now = time.monotonic()
        if now - self._looked > 1.0:
            found: dict[str, Any] = self._client.nthreads()
            self._looked, self._threads = now, sum(found.values())
        if self._threads:
            self._seen = now
        elif self._client.cluster is not None and now - self._seen > PATIENCE:
            raise ComputeError(f"No worker for {PATIENCE:.0f} s. Finished frames are kept: continue with --resume.")
        return self._threads
