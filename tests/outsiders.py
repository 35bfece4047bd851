"""Packages for bioimage.io as others make them: with the format's own library, other networks, and other habits."""

import copy
import hashlib
import io
import json
import warnings
import zipfile

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn


class Denoiser(nn.Module):
    """Three convolutions, zero padding, residual: sees 3 px far."""

    def __init__(self, channels=4):
        super().__init__()
        self.entry = nn.Conv2d(1, channels, 3, padding=1)
        self.body = nn.Conv2d(channels, channels, 3, padding=1)
        self.exit = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x):
        return x + self.exit(torch.relu(self.body(torch.relu(self.entry(x)))))


class PooledDenoiser(nn.Module):
    """Halves once: sizes must be even, and tiles start at even places."""

    def __init__(self):
        super().__init__()
        self.entry, self.exit = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.coarse = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        fine = torch.relu(self.entry(x))
        coarse = torch.relu(self.coarse(nn.functional.max_pool2d(fine, 2)))
        return self.exit(torch.cat([nn.functional.interpolate(coarse, scale_factor=2.0), fine], 1))


class Normalizing(nn.Module):
    """Instance normalisation: every place depends on the whole image."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 2, 3, padding=1)
        self.two = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x):
        return self.two(nn.functional.instance_norm(self.one(x)))


class TheirCare(nn.Module):
    """The CARE network of depth 1 under other names, the skipped features first."""

    def __init__(self, filters=3):
        super().__init__()

        def layer(a, b, size=3):
            return nn.Conv2d(a, b, size, padding=size // 2)

        self.enc1, self.enc2 = layer(1, filters), layer(filters, filters)
        self.bottom1, self.bottom2 = layer(filters, 2 * filters), layer(2 * filters, filters)
        self.dec1, self.dec2 = layer(2 * filters, filters), layer(filters, filters)
        self.last = layer(filters, 1, 1)

    def forward(self, x):
        skip = self.enc2(self.enc1(x).relu()).relu()
        low = self.bottom2(self.bottom1(nn.functional.max_pool2d(skip, 2)).relu()).relu()
        merged = torch.cat([skip, nn.functional.interpolate(low, scale_factor=2.0)], 1)
        return self.last(self.dec2(self.dec1(merged).relu()).relu()) + x


def seeded(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for values in network.parameters():
        nn.init.uniform_(values, -0.4, 0.8, generator=generator)
        values.data /= max(values[0].numel(), 1) ** 0.5
    return network.eval()


def torchscript(network):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.save(torch.jit.script(network), buffer)
    return buffer.getvalue()


def state_dict(network):
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


def onnx_of(network, size=None):
    """Return a `Denoiser` as ONNX, for any size or one."""
    shape = [1, 1, size or "y", size or "x"]
    constants = [
        numpy_helper.from_array(values.detach().numpy(), name.replace(".", "_"))
        for name, values in network.named_parameters()
    ]

    def convolution(name, given):
        return helper.make_node("Conv", [given, f"{name}_weight", f"{name}_bias"], [f"{name}_out"], pads=[1] * 4)

    nodes = [
        convolution("entry", "x"),
        helper.make_node("Relu", ["entry_out"], ["entry_on"]),
        convolution("body", "entry_on"),
        helper.make_node("Relu", ["body_out"], ["body_on"]),
        convolution("exit", "body_on"),
        helper.make_node("Add", ["exit_out", "x"], ["y"]),
    ]
    tensors = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "theirs", tensors[:1], tensors[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return made.SerializeToString()


PERCENTILES = {"id": "scale_range", "kwargs": {"axes": ["y", "x"], "min_percentile": 1.0, "max_percentile": 99.8}}
STANDARD = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}}
FIXED = {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 150.0, "std": 80.0}}
BACK = {"id": "scale_linear", "kwargs": {"gain": 80.0, "offset": 150.0}}
LINEAR = {"id": "scale_linear", "kwargs": {"gain": 0.01, "offset": -1.0}}
CLIP = {"id": "clip", "kwargs": {"min": 0.0, "max": 1.5}}


def normalized(image, preprocessing=PERCENTILES):
    """Return an image as a package's preprocessing makes it, by numpy alone."""
    image = image.astype(np.float32)
    for step in [preprocessing] if isinstance(preprocessing, dict) else preprocessing:
        kwargs = step.get("kwargs", {})
        match step["id"]:
            case "scale_range":
                low, high = np.percentile(image, [kwargs["min_percentile"], kwargs["max_percentile"]])
                image = (image - low) / (high - low)
            case "zero_mean_unit_variance":
                image = (image - image.mean()) / image.std()
            case "fixed_zero_mean_unit_variance":
                image = (image - kwargs["mean"]) / kwargs["std"]
            case "scale_linear":
                image = image * kwargs.get("gain", 1) + kwargs.get("offset", 0)
            case "clip":
                image = image.clip(kwargs["min"], kwargs["max"])
    return image.astype(np.float32)


def write_package(
    path,
    network,
    weights,
    *,
    preprocessing=PERCENTILES,
    postprocessing=(),
    size=None,
    halo=4,
    tensor_order="bcyx",
    edit=None,
):
    """Write a package for bioimage.io 0.5 with the format's own library; `weights` maps kinds to bytes."""
    import bioimageio.spec
    from bioimageio.spec.model import v0_5

    preprocessing = [preprocessing] if isinstance(preprocessing, dict) else list(preprocessing)
    width = size if isinstance(size, int) else 64
    image = np.random.default_rng(5).gamma(2, 100, (width, width)).astype(np.float32)
    with torch.inference_mode():
        result = network(torch.from_numpy(normalized(image, preprocessing))[None, None])[0, 0].numpy()
    for step in postprocessing:
        result = result * step["kwargs"].get("gain", 1) + step["kwargs"].get("offset", 0)

    def laid_out(array):
        array = array if tensor_order.index("y") < tensor_order.index("x") else array.T
        sizes = iter(array.shape)
        return array.reshape([next(sizes) if axis in "yx" else 1 for axis in tensor_order])

    files = {"in.npy": _npy(laid_out(image)), "out.npy": _npy(laid_out(result.astype(np.float32)))}
    files |= {"README.md": b"# A network of others\n\n## Validation\n\nNone.\n", "cover.png": _png()}
    names = {"torchscript": "scripted.pt", "onnx": "graph.onnx", "pytorch_state_dict": "state.pth"}
    files |= {names[kind]: data for kind, data in weights.items()} | {"network.py": b"raise SystemExit('never run')\n"}

    def described(name):
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    def axis(letter, its_size):
        match letter:
            case "b":
                return {"type": "batch"}
            case "c":
                return {"type": "channel", "channel_names": ["cells"]}
        return {"type": "space", "id": letter, **its_size(letter)}

    fixed = {"size": size if size is not None else {"min": 16, "step": 2}}
    entering = {
        "id": "noisy",
        "axes": [axis(letter, lambda _: fixed) for letter in tensor_order],
        "test_tensor": described("in.npy"),
        "data": {"type": "float32"},
        "preprocessing": preprocessing,
    }

    def out(letter):
        its = {"size": {"tensor_id": "noisy", "axis_id": letter}}
        return its | ({"halo": halo} if halo else {})

    leaving = {
        "id": "clean",
        "axes": [axis(letter, out) for letter in tensor_order],
        "test_tensor": described("out.npy"),
        "data": {"type": "float32"},
        "postprocessing": list(postprocessing),
    }
    version = {"pytorch_version": "2.1"}
    extras = {
        "torchscript": version,
        "onnx": {"opset_version": 13},
        "pytorch_state_dict": version | {"architecture": {**described("network.py"), "callable": "Net", "kwargs": {}}},
    }
    entries = {kind: {**described(names[kind]), **extras[kind]} for kind in weights}
    for kind in list(entries)[1:]:
        entries[kind]["parent"] = next(iter(entries))
    values = {
        "format_version": "0.5.4",
        "type": "model",
        "name": "Denoiser of others",
        "description": "Removes noise",
        "authors": [{"name": "O. Utsider"}, {"name": "N. Eighbour"}],
        "cite": [{"text": "A paper", "doi": "10.1038/s41592-018-0216-7"}],
        "license": "MIT",
        "documentation": "README.md",
        "covers": ["cover.png"],
        "tags": ["denoising"],
        "inputs": [entering],
        "outputs": [leaving],
        "weights": entries,
    }
    with bioimageio.spec.ValidationContext(perform_io_checks=False):
        v0_5.ModelDescr.model_validate(values)
    values = copy.deepcopy(values)
    if edit is not None:
        edit(values)
    # JSON is YAML too, and without the aliases that are made of what stands twice
    files["rdf.yaml"] = json.dumps(values, indent=1).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _png():
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 16), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def yes(_):
    """Agree to whatever is asked."""
    return True
