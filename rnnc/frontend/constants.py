"""The constants of a model while it is imported: initialisers, and all that follows from them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
            outputs = self._evaluate(node)
        except Exception as error:  # noqa: BLE001 the evaluator raises whatever numpy does
            raise CompileError(
                "this constant cannot be computed",
                where=where,
                why=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="simplify the model before, e.g. with onnxruntime's offline optimiser",
            ) from error
        for name, array in zip(node.output, outputs, strict=False):
            if name:
                self._arrays[name] = np.asarray(array)
        self._remember_integers(node)

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
        results: Sequence[Array] = evaluator.run(None, feeds)  # type: ignore[assignment]
        return results

    def _grows_too_large(self, node: NodeProto) -> bool:
        counts = self._arrays[node.input[-1]].astype(np.float64)
        base = 1 if node.op_type != "Tile" else self._arrays[node.input[0]].size
        return float(np.prod(counts)) * base > MAX_ELEMENTS

    def _remember_integers(self, node: NodeProto) -> None:
        source, output = node.input[0] if node.input else "", node.output[0]
        if node.op_type == "DequantizeLinear":
            self._quantised[output] = self._dequantised(node)
        elif source in self._quantised and node.op_type in ("Transpose", "Identity"):
            self._quantised[output] = _transposed(self._quantised[source], node, self._arrays[output])

    def _dequantised(self, node: NodeProto) -> Const:
        values = self._arrays[node.output[0]].astype(np.float32)
        scale = self._arrays[node.input[1]].astype(np.float64)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        stored = self._arrays[node.input[0]].astype(np.int64)
        if len(node.input) > 2 and node.input[2]:
            zero = self._arrays[node.input[2]].astype(np.int64)
            stored = stored - _along(zero, axis, stored.ndim)
        if scale.size > 1 and scale.ndim != 1:
            return Const(values)  # blocks of scales: quantised anew, by channel
        return Const(values, stored, scale.ravel(), axis % max(stored.ndim, 1) if scale.size > 1 else 0)


def _along(values: npt.NDArray[np.int64], axis: int, rank: int) -> npt.NDArray[np.int64]:
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis] = values.size
    return values.reshape(shape)


def _transposed(const: Const, node: NodeProto, values: Array) -> Const:
    if node.op_type == "Identity" or const.stored is None:
        return Const(values.astype(np.float32), const.stored, const.scale, const.axis)
    given = [tuple(a.ints) for a in node.attribute if a.name == "perm"]
    perm = given[0] if given else tuple(reversed(range(const.stored.ndim)))
    return Const(values.astype(np.float32), const.stored.transpose(perm), const.scale, perm.index(const.axis))


def known_shape(node: NodeProto, shape: tuple[int, ...]) -> Mapping[str, Array]:
    """Output of ONNX Shape or Size of a tensor of this shape."""
    if node.op_type == "Size":
        return {node.output[0]: np.array(int(np.prod(shape)), np.int64)}
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    cut = slice(bounds.get("start", 0), bounds.get("end"))
    return {node.output[0]: np.array(shape[cut], np.int64)}
