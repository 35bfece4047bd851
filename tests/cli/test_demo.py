from napari_care_losses.cli.main import main


def test_the_demo_prints_its_table_and_writes_picture_and_stacks(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo", "--out", str(tmp_path / "demo"), "--no-viewer"]) == 0
    printed = capsys.readouterr().out
    scores = {}
    for row in ("Input (1 ms)", "Total variation", "Non-local means", "CARE Laplace", "CARE FFT", "CARE Bandpass"):
        line = next(line for line in printed.splitlines() if line.startswith(row))
        scores[row] = float(line.removeprefix(row).split()[0])
    assert all(psnr > scores["Input (1 ms)"] + 5 for row, psnr in scores.items() if row != "Input (1 ms)")
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"comparison.png", "input.tif", "truth.tif", "care-fft.tif", "total-variation.tif"} <= written
