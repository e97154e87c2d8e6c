#!/usr/bin/env python3
"""Checks ONNX Runtime: tower_onnx.py GOLDEN [-o FOLDER]

transformers' Qwen2-VL vision tower is exported to ONNX and run twice:
  as deployed    with all graph optimisations; its one output is judged (scope outputs)
  looked into    every value of the graph is made an output, which keeps ONNX Runtime from fusing them away, and those that the
                 golden file knows under the path of their module are judged (scope forward)
An exported graph has no backward: gradients are absent.

    pip install ./scripts/versavit_golden torch transformers safetensors onnx onnxruntime
"""
import argparse
import os
import sys
import tempfile
import warnings

import onnx
import onnxruntime
import torch

from tower_pytorch import load
from versavit_golden import Golden, Recorder


class Exported(torch.nn.Module):
    """The tower for pictures of one size: grid_thw is built into the graph."""

    def __init__(self, tower, grid_thw):
        super().__init__()
        self.visual, self.grid_thw = tower, grid_thw

    def forward(self, pixel_values):
        return self.visual(pixel_values, self.grid_thw).pooler_output


def export(folder, given, path):
    """Writes the ONNX file."""
    module = Exported(load(folder, "eager", torch.float32), torch.from_numpy(given["grid_thw"].copy()))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.from_numpy(given["pixel_values"].copy()),), path, dynamo=False, opset_version=18,
                          input_names=["pixel_values"], output_names=["merged"])


def run(model, given, outputs=None):
    """{value: array} of an onnx.ModelProto; outputs: names of values, None: those of the graph."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = outputs or [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixel_values": given["pixel_values"]})))


def golden_names(model, golden):
    """{value of the graph: golden name}: the last value that the nodes of a module made; merged is the tower's last one."""
    out = {}
    for node in model.graph.node:
        parts = node.output[0].split("/")[1:-1]  # /visual/blocks.0/mlp/fc1/Gemm_output_0: visual, blocks.0, mlp, fc1
        # the exporter repeats a list's name in front of its members: visual.merger.mlp.mlp.0
        parts = [p for i, p in enumerate(parts) if not (i + 1 < len(parts) and parts[i + 1].startswith(p + "."))]
        name = ".".join(parts)
        if golden.has("act", name) and not name.endswith(("attn.proj", "mlp.fc2")):
            out[name] = node.output[0]
    out["visual.merger.mlp.2"] = "merged"
    return {value: name for name, value in out.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("golden")
    p.add_argument("-o", "--output", help="write the two candidates into this folder")
    a = p.parse_args()
    golden = Golden(a.golden)
    given = golden.inputs()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "tower.onnx")
        export(a.golden, given, path)
        model = onnx.load(path)

    deployed = Recorder(golden)
    deployed.act("visual.merger.mlp.2", run(model, given)["merged"])

    names = golden_names(model, golden)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(v) for v in names if v != "merged")
    inside = Recorder(golden)
    for value, array in run(model, given, list(names)).items():
        inside.act(names[value], array)

    status = 0
    for title, recorder, scope in (("deployed", deployed, "outputs"), ("inside", inside, "forward")):
        if a.output:
            os.makedirs(a.output, exist_ok=True)
            recorder.save(os.path.join(a.output, title + ".safetensors"))
        report = recorder.check(scope=scope, present=True)
        print(f"{title}: {report.text()}", end="")
        status |= report.status
    return status


if __name__ == "__main__":
    sys.exit(main())
