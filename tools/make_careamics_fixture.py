"""Make the CAREamics packages that the tests read, in an environment with careamics 0.3.5: see `benchmarks/peers.sh`.

    build/bench/env/careamics/bin/python -m pip install "pydantic<2.14"
    build/bench/env/careamics/bin/python tools/make_careamics_fixture.py tests/data/careamics

Three small models as CAREamics itself trains and exports them, an image, and what CAREamics makes of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from careamics import CAREamist
from careamics.config.factories import create_advanced_care_config, create_advanced_n2v_config

CARE, N2V = create_advanced_care_config, create_advanced_n2v_config
MODELS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # without batch normalisation, whose numbers are in the state dict all the same
    "care": (CARE, {"depth": 1, "use_batch_norm": False}, {}),
    "n2v": (N2V, {"depth": 2, "residual": True}, {}),
    "n2v2": (N2V, {"depth": 1}, {"use_n2v2": True}),
}
COMMON = {
    "data_type": "array",
    "axes": "SYX",
    "patch_size": [32, 32],
    "batch_size": 2,
    "num_epochs": 2,
    "num_steps": 4,
    "n_val_patches": 2,
    "num_workers": 0,
    "seed": 1,
}


def main(folder: Path) -> None:
    """Write packages, image and restored images into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    high = 60 + 500 * np.kron(rng.random((5, 12, 12)), np.ones((1, 4, 4)))
    low = rng.poisson(high / 4).astype(np.float32)
    # not square, as most images
    image = low[:1, :40, :32]
    arrays = {"image": image[0]}
    with tempfile.TemporaryDirectory() as made:
        for name, (configured, network, settings) in MODELS.items():
            config = configured(
                experiment_name=name, model_params={"num_channels_init": 8, **network}, **COMMON, **settings
            )
            model = CAREamist(config, work_dir=Path(made) / name, enable_progress_bar=False)
            if configured is CARE:
                model.train(
                    train_data=low[1:4],
                    train_data_target=high[1:4].astype(np.float32),
                    val_data=low[4:],
                    val_data_target=high[4:].astype(np.float32),
                )
            else:
                model.train(train_data=low[1:4], val_data=low[4:])
            prediction, _ = model.predict(image, data_type="array")
            arrays[name] = np.squeeze(prediction)
            model.export_to_bmz(
                folder / f"{name}.zip",
                f"{name}-fixture",
                input_array=low[:1, :32, :24],
                authors=[{"name": "A. Nyone"}],
                general_description="A network of the tests",
                data_description="Squares with noise",
            )
    np.savez_compressed(folder / "restored.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
