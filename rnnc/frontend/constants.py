"""The constants of a model while it is imported: initialisers, and all that follows from them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from rnnc.diagnostics import CompileError
from rnnc.ir.op import Const
from rnnc.ir.types import Array

MAX_ELEMENTS = 1 << 26
"""Size limit of a constant that a model computes (a few bytes of ConstantOfShape can ask for terabytes)."""


class Constants:
    """Arrays by ONNX name. A dequantised one remembers its integers, through transpositions too."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._imports = [helper.make_opsetid(entry.domain, entry.version) for entry in model.opset_import]
        self._arrays: dict[str, Array] = {}
        self._quantised: dict[str, Const] = {}
        for tensor in model.graph.initializer:
            self._arrays[tensor.name] = numpy_helper.to_array(tensor)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def array(self, name: str) -> Array:
        return self._arrays[name]

    def add(self, name: str, array: Array) -> None:
        self._arrays[name] = array

    def const(self, name: str) -> Const:
        """The constant as operators take it; integers stand in ``stored`` too, where float32 would round them."""
        if name in self._quantised:
            return self._quantised[name]
        array = self._arrays[name]
        if array.dtype.kind not in "fiub":
            raise CompileError(f"a constant of type {array.dtype}", where=f"tensor '{name}'")
        stored = array.astype(np.int64) if array.dtype.kind in "iub" else None
        return Const(array.astype(np.float32), stored)

    def fold(self, node: NodeProto) -> None:
        """Compute the outputs of ``node``, whose inputs are all constants. Raises CompileError naming it."""
        where = f"node '{node.name or node.output[0]}' ({node.op_type})"
        if node.op_type in ("ConstantOfShape", "Expand", "Tile") and self._grows_too_large(node):
            raise CompileError("it makes a constant of more than 64 M elements", where=where)
        try:
            if node.op_type == "DequantizeLinear" and not _in_blocks(node):
                self._quantised[node.output[0]] = self._dequantised(node)
                outputs: Sequence[Array] = [self._quantised[node.output[0]].values]
            elif node.op_type == "QuantizeLinear" and not _in_blocks(node):
                outputs = [self._quantise(node)]
            else:
                outputs = self._evaluate(node)
        except Exception as error:
            raise CompileError(
                "this constant cannot be computed",
                where=where,
                why=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="simplify the model before, e.g. with onnxruntime's offline optimiser",
            ) from error
        for name, array in zip(node.output, outputs, strict=False):
            if name:
                self._arrays[name] = np.asarray(array)
        if node.op_type in ("Transpose", "Identity") and node.input[0] in self._quantised:
            self._quantised[node.output[0]] = _transposed(self._quantised[node.input[0]], node)

    def _evaluate(self, node: NodeProto) -> Sequence[Array]:
        feeds = {name: self._arrays[name] for name in node.input if name}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        for output in outputs:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
        graph = helper.make_graph([node], "constant", inputs, outputs)
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=self._imports))
        with np.errstate(all="ignore"):  # whoever reads the constant refuses infinities
            results: Sequence[Array] = evaluator.run(None, feeds)  # type: ignore[assignment]
        return results

    def _grows_too_large(self, node: NodeProto) -> bool:
        counts = self._arrays[node.input[-1]].astype(np.float64)
        base = 1 if node.op_type != "Tile" else self._arrays[node.input[0]].size
        return float(np.prod(counts)) * base > MAX_ELEMENTS

    def _dequantised(self, node: NodeProto) -> Const:
        """scale * (stored - zero point); the zero point is taken off the stored integers."""
        stored = self._arrays[node.input[0]].astype(np.int64)
        axis = _axis(node, stored.ndim)
        if len(node.input) > 2 and node.input[2]:
            stored = stored - _along(self._arrays[node.input[2]].astype(np.int64), axis, stored.ndim)
        scale = self._arrays[node.input[1]]
        with np.errstate(all="ignore"):
            values = stored.astype(np.float32) * _along(scale.astype(np.float32), axis, stored.ndim)
        return Const(values, stored, scale.astype(np.float64).ravel(), axis if scale.size > 1 else 0)

    def _quantise(self, node: NodeProto) -> Array:
        values = self._arrays[node.input[0]].astype(np.float32)
        scale = self._arrays[node.input[1]].astype(np.float32)
        zero = self._arrays[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros((), np.uint8)
        axis, limits = _axis(node, values.ndim), np.iinfo(zero.dtype.name)
        stored = np.rint(values / _along(scale, axis, values.ndim))
        stored = stored + _along(zero.astype(np.int64), axis, values.ndim)
        codes: Array = np.clip(stored, limits.min, limits.max).astype(zero.dtype)
        return codes


def _in_blocks(node: NodeProto) -> bool:
    return any(attribute.name == "block_size" and attribute.i for attribute in node.attribute)


def _axis(node: NodeProto, rank: int) -> int:
    return next((a.i for a in node.attribute if a.name == "axis"), 1) % max(rank, 1)


Numbers = TypeVar("Numbers", bound=np.generic)


def _along(values: npt.NDArray[Numbers], axis: int, rank: int) -> npt.NDArray[Numbers]:
    """One number, or one per index of ``axis``, ready to broadcast over a tensor of ``rank`` axes."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape(tuple(-1 if i == axis else 1 for i in range(rank)))


def _transposed(const: Const, node: NodeProto) -> Const:
    if node.op_type == "Identity" or const.stored is None:
        return const
    given = [tuple(a.ints) for a in node.attribute if a.name == "perm"]
    perm = given[0] if given else tuple(reversed(range(const.stored.ndim)))
    axis = perm.index(const.axis) if perm else 0
    return Const(const.values.transpose(perm), const.stored.transpose(perm), const.scale, axis)


def known_shape(node: NodeProto, shape: tuple[int, ...]) -> Mapping[str, Array]:
    """Output of ONNX Shape or Size of a tensor of this shape."""
    if node.op_type == "Size":
        return {node.output[0]: np.array(int(np.prod(shape)), np.int64)}
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    cut = slice(bounds.get("start", 0), bounds.get("end"))
    return {node.output[0]: np.array(shape[cut], np.int64)}
