"""From model files to graphs; beyond this package nothing knows ONNX."""

from onnx import ModelProto as Model

__all__ = ["Model"]
