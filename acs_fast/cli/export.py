"""Write a trained model into a file for readers without acs_fast."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from acs_fast.training import checkpoint, restore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast export`."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="as in acs-fast evaluate")
    parser.add_argument("output", type=Path, metavar="FILE",
                        help="by its ending: .pt2 (a program, for torch.export.load), .pt (weights, for torch.load), "
                        ".safetensors (weights) or .onnx")  # fmt: skip
    parser.add_argument("--model", metavar="SPEC", help="needed where the run trained a model of your own")


def run(arguments: argparse.Namespace) -> int:
    """Restore the model and write it."""
    output: Path = arguments.output
    write = WRITERS.get(output.suffix)
    if write is None:
        raise ValueError(f"FILE must end in {', '.join(WRITERS)}; got {output}")
    restored = restore(arguments.checkpoint, torch.device("cpu"), arguments.model)
    checkpoint.write_bytes(output, write(restored.model, torch.rand(2, *restored.shape)))
    channels, height, width = restored.shape
    print(f"{output}: takes pixels of [0, 1], [N, {channels}, {height}, {width}]; gives logits [N, {restored.classes}]")
    return 0


def _program(model: nn.Module, x: Tensor) -> bytes:
    buffer = io.BytesIO()
    batch = torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(model, (x,), dynamic_shapes=({0: batch},)), buffer)
    return buffer.getvalue()


def _weights(model: nn.Module, x: Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()


def _safetensors(model: nn.Module, x: Tensor) -> bytes:
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise RuntimeError(f".safetensors needs safetensors ({error}): pip install safetensors") from None
    content: bytes = save({name: w.contiguous() for name, w in model.state_dict().items()})
    return content


def _onnx(model: nn.Module, x: Tensor) -> bytes:
    try:
        program = torch.onnx.export(
            model, (x,), dynamo=True, verbose=False, dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=["pixels"], output_names=["logits"],
        )  # fmt: skip
    except ImportError as error:
        raise RuntimeError(f".onnx needs onnx and onnxscript ({error}): pip install onnx onnxscript") from None
    if program is None:
        raise RuntimeError("torch.onnx gave no program")
    content: bytes = program.model_proto.SerializeToString()
    return content


WRITERS: dict[str, Callable[[nn.Module, Tensor], bytes]] = {
    ".pt2": _program,
    ".pt": _weights,
    ".safetensors": _safetensors,
    ".onnx": _onnx,
}
