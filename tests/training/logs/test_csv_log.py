import csv
import math
import os
import time
from pathlib import Path

import pytest
from fixtures.forked_programs import ForkedProgram
from fixtures.toy_trainings import short as trainer

from napari_care_losses.training.logs.csv_log import CsvLog, LogRow, log_path, read_log, row_of
from napari_care_losses.training.logs.logged import train_and_log
from napari_care_losses.training.progress import Epoch, Preview


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def rows_in(path):
    return read_log(log_path(path))


def test_every_epoch_has_its_line(path):
    training = trainer()
    reports = list(train_and_log(training, path))
    with log_path(path).open(newline="", encoding="utf-8") as file:
        heading, *lines = csv.reader(file)
    assert heading == list(LogRow._fields) and len(lines) == 4
    rows = rows_in(path)
    assert [row[:2] for row in rows] == [(1, 2), (2, 4), (3, 6), (4, 8)]
    for row, epoch in zip(rows, training.history, strict=True):
        assert row.training_loss == pytest.approx(epoch.training_loss, rel=1e-6)
        assert row.validation_loss == pytest.approx(epoch.validation_loss, rel=1e-6)
        assert (row.learning_rate, row.is_best) == (pytest.approx(epoch.learning_rate, rel=1e-6), epoch.is_best)
    assert 0 < rows[0].seconds < rows[-1].seconds == pytest.approx(training.seconds, rel=1e-6)
    previews = [report for report in reports if isinstance(report, Preview)]
    assert rows[-1].psnr == pytest.approx(previews[-1].restored_psnr, rel=1e-6)


def test_a_resumed_training_goes_on_with_its_log(path):
    work = train_and_log(trainer(), path)
    next(report for report in work if isinstance(report, Epoch) and report.epoch == 2)
    work.close()
    before = rows_in(path)
    assert len(before) == 2 and not math.isnan(before[0].seconds)
    list(train_and_log(trainer(), path, resume=True))
    rows = rows_in(path)
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert str(rows[:2]) == str(before)
    assert rows[2].seconds > rows[1].seconds


def test_lines_that_are_lost_or_cut_are_made_up_for_by_the_state(path):
    work = train_and_log(trainer(), path)
    next(report for report in work if isinstance(report, Epoch) and report.epoch == 3)
    work.close()
    first = log_path(path).read_bytes().splitlines(keepends=True)
    # the second line is cut short, the third lost; one of an epoch that the state does not know came later
    log_path(path).write_bytes(first[0] + first[1] + first[2][:9] + b"\n9,90,1,1,1,1,1,no\n")
    list(train_and_log(trainer(), path, resume=True))
    rows = rows_in(path)
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    assert math.isnan(rows[1].seconds) and not math.isnan(rows[0].seconds) and rows[1].validation_loss > 0


def test_a_new_training_replaces_the_log_once_it_has_a_line(path):
    list(train_and_log(trainer(), path))
    work = train_and_log(trainer(amount=4), path)
    next(report for report in work if not isinstance(report, Preview) and getattr(report, "step", 0) == 1)
    assert len(rows_in(path)) == 4
    list(work)
    assert len(rows_in(path)) == 2


def test_lines_wait_while_the_file_cannot_be_written(path, monkeypatch):
    log = CsvLog(path)
    log.add(row_of(Epoch(1, 2, 0.5, 0.4, 1e-3, True)))

    def refuse(*_args, **_options):
        raise PermissionError(13, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        log.add(row_of(Epoch(2, 4, 0.4, 0.3, 1e-3, True)))
    log.add(row_of(Epoch(3, 6, 0.3, 0.35, 1e-3, False)))
    assert [row.epoch for row in rows_in(path)] == [1, 2, 3]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fixtures.toy_trainings import ARCHITECTURE, short as trainer
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.training.logs.logged import train_and_log
PRESETS["lite"] = ARCHITECTURE
for report in train_and_log(trainer(amount=1e6), Path(sys.argv[1]), previews=False):
    pass
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process as only Unix does")
def test_the_log_is_whole_after_a_kill(path):
    process = ForkedProgram(path, Path(__file__).parents[2], code=KILLED)
    try:
        deadline = time.monotonic() + 200
        while len(rows_in(path)) < 3 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    killed = rows_in(path)
    assert len(killed) >= 3
    work = train_and_log(trainer(amount=1e6), path, resume=True, previews=False)
    number = next(report for report in work if isinstance(report, Epoch)).epoch
    work.close()
    assert [row.epoch for row in rows_in(path)] == list(range(1, number + 1))
    assert number >= len(killed)
