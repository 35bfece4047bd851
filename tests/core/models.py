"""Models and images that the tests of restoration, engines and calibration share."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from napari_care_losses.core.architecture import Architecture
from napari_care_losses.core.library import bundled_folder
from napari_care_losses.core.model import Model, ModelCard, load_model
from napari_care_losses.core.network import CareNetwork

TINY = Architecture(kernel_size=3, filters=2, depth=1)

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


def make_model(architecture=TINY, loss="mae", seed=0, **card):
    """Return a model whose output depends strongly on every pixel within reach: few Glorot filters often do not."""
    network, generator = CareNetwork(architecture), torch.Generator().manual_seed(seed)
    for name, values in network.named_parameters():
        torch.nn.init.uniform_(values, -0.4, 1, generator=generator)
        values.data *= 0.1 if name.endswith("bias") else 1 / (0.3 * values[0].numel())
    return Model(ModelCard(structure="other", loss=loss, architecture=architecture, **card), network.state_dict())


def bundled_model(name):
    return load_model(bundled_folder() / f"{name}.safetensors")


def image_of(shape, seed=0):
    return np.random.default_rng(seed).gamma(2, 100, shape).astype(np.float32)


def tile_of(shape, seed=0):
    """Return an image in normalised units."""
    return np.random.default_rng(seed).gamma(2, 0.2, shape).astype(np.float32)


def plainly(model, tile):
    """Return what the network makes of a tile in plain torch: mean and scale, the latter None without its head."""
    with torch.inference_mode():
        mean, scale = model.network()(torch.from_numpy(tile)[None, None])
    return mean[0, 0].numpy(), None if scale is None else scale[0, 0].numpy()


class Spy:
    """A stack that notes which frames are read."""

    def __init__(self, stack):
        self.stack, self.shape, self.dtype, self.read = stack, stack.shape, stack.dtype, []

    def __getitem__(self, key):
        self.read.append(key[0])
        return self.stack[key]
