"""The ONNX function that defines ``rnnc::RNNPool`` (version 1), so that onnxruntime runs it with no plug-in.

One function serves every node: shapes are computed from the inputs and the attributes are read through
attribute references, because a function has no other way to depend on them and a model may hold several
RNNPool nodes with different patches. A function body has no ``if missing`` either, hence two idioms below:
``Gemm`` with its optional third input yields zeros where ``S`` is absent, and ``Unique`` compares strings in
every opset (``Equal`` does so only from 19 on).

Work is shared as far as the operator allows: the input products are taken once per pixel, and a row's
(column's) summary once per column (row) window, whatever the number of patches that contain it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, helper, parser

from rnnc.diagnostics import CompileError

DOMAIN = "rnnc"
OP_TYPE = "RNNPool"
VERSION = 1
CELLS = ("FastGRNN",)
GATE_ACTIVATIONS = ("Sigmoid", "QuantSigmoid")
UPDATE_ACTIVATIONS = ("Tanh", "QuantTanh")

# In a function of an earlier opset, onnxruntime infers no shape for a Scan's state and refuses to run it.
_MIN_OPSET = 14

_HEADER = """
<domain: "rnnc", opset_import: ["" : {opset}]>
RNNPool <kernel_shape, strides: ints = [1, 1], pads: ints = [0, 0, 0, 0], cell: string = "FastGRNN",
         gate_activation: string = "Sigmoid", update_activation: string = "Tanh">
        (X, W1, R1, B1, W2, R2, B2, S1, S2) => (Y)
"""

_CONSTANTS = """
    i0 = Constant <value_int: int = 0> ()
    i1 = Constant <value_int: int = 1> ()
    i2 = Constant <value_int: int = 2> ()
    i3 = Constant <value_int: int = 3> ()
    axis0 = Constant <value_ints: ints = [0]> ()
    axis1 = Constant <value_ints: ints = [1]> ()
    first_two = Constant <value_ints: ints = [0, 1]> ()
    last_two = Constant <value_ints: ints = [2, 3]> ()
    no_pad = Constant <value_ints: ints = [0, 0]> ()
    zero = Constant <value_float: float = 0.0> ()
    one = Constant <value_float: float = 1.0> ()
    minus_one = Constant <value_float: float = -1.0> ()
    one_by_one = Constant <value = float[1,1] {1.0}> ()
    one_by_two = Constant <value = float[1,2] {0.0, 0.0}> ()
    kernel = Constant <value_ints: ints = @kernel_shape> ()
    stride = Constant <value_ints: ints = @strides> ()
    pad = Constant <value_ints: ints = @pads> ()
    quant_gate = Constant <value_strings: strings = ["QuantSigmoid"]> ()
    gate_name = Constant <value_string: string = @gate_activation> ()
    gate_names = Unsqueeze (gate_name, axis0)
    gate_both = Concat <axis = 0> (gate_names, quant_gate)
    gate_unique = Unique (gate_both)
    gate_count = Size (gate_unique)
    gate_is_quant = Equal (gate_count, i1)
    quant_update = Constant <value_strings: strings = ["QuantTanh"]> ()
    update_name = Constant <value_string: string = @update_activation> ()
    update_names = Unsqueeze (update_name, axis0)
    update_both = Concat <axis = 0> (update_names, quant_update)
    update_unique = Unique (update_both)
    update_count = Size (update_unique)
    update_is_quant = Equal (update_count, i1)
"""

# The cell's parameters, transposed for row vectors; an absent S is (0, 0) here, which stands for (1, 0).
_CELL = """
    w{n} = Transpose <perm = [1, 0]> (W{n})
    r{n} = Transpose <perm = [1, 0]> (R{n})
    gate_bias{n} = Gather (B{n}, i0)
    update_bias{n} = Gather (B{n}, i1)
    s_row{n} = Gemm (one_by_one, one_by_two, S{n})
    s{n} = Squeeze (s_row{n}, axis0)
    zeta_given{n} = Gather (s{n}, i0)
    nu{n} = Gather (s{n}, i1)
    s_sum{n} = Add (zeta_given{n}, nu{n})
    s_absent{n} = Equal (s_sum{n}, zero)
    zeta{n} = Where (s_absent{n}, one, zeta_given{n})
"""

# windows{a}: [size, count], position of step k of window i along the axis; both{a}: [size, 2, count], the
# same forward and backward. padded holds X as [N, C, H, W].
_WINDOWS = """
    size{a} = Gather (kernel, {index})
    stride{a} = Gather (stride, {index})
    length{a} = Gather (padded_shape, {dim})
    spare{a} = Sub (length{a}, size{a})
    last{a} = Div (spare{a}, stride{a})
    count{a} = Add (last{a}, i1)
    indices{a} = Range (i0, count{a}, i1)
    starts{a} = Mul (indices{a}, stride{a})
    steps{a} = Range (i0, size{a}, i1)
    step_column{a} = Unsqueeze (steps{a}, axis1)
    windows{a} = Add (step_column{a}, starts{a})
    largest{a} = Sub (size{a}, i1)
    back_steps{a} = Sub (largest{a}, steps{a})
    back_column{a} = Unsqueeze (back_steps{a}, axis1)
    back_windows{a} = Add (back_column{a}, starts{a})
    forward3{a} = Unsqueeze (windows{a}, axis1)
    backward3{a} = Unsqueeze (back_windows{a}, axis1)
    both{a} = Concat <axis = 1> (forward3{a}, backward3{a})
"""

# One FastGRNN over the leading axis of x{p} [steps, ..., hidden], whose input products are done.
# Its last state is h{p} [..., hidden].
_SWEEP = """
    first{p} = Gather (x{p}, i0)
    state_shape{p} = Shape (first{p})
    start{p} = ConstantOfShape (state_shape{p})
    h{p} = Scan <num_scan_inputs = 1, body = step{p} (float[] h, float[] x) => (float[] h_next) {{
        recurrent = MatMul (h, r{n})
        sum = Add (x, recurrent)
        gate_sum = Add (sum, gate_bias{n})
        z = If (gate_is_quant) <
            then_branch = quant_gate{p} () => (float[] zq) {{
                zq = HardSigmoid <alpha = 0.5, beta = 0.5> (gate_sum)
            }},
            else_branch = smooth_gate{p} () => (float[] zs) {{ zs = Sigmoid (gate_sum) }}>
        update_sum = Add (sum, update_bias{n})
        u = If (update_is_quant) <
            then_branch = quant_update{p} () => (float[] uq) {{ uq = Clip (update_sum, minus_one, one) }},
            else_branch = smooth_update{p} () => (float[] us) {{ us = Tanh (update_sum) }}>
        kept = Mul (z, h)
        open = Sub (one, z)
        scaled = Mul (zeta{n}, open)
        weight = Add (scaled, nu{n})
        added = Mul (weight, u)
        h_next = Add (kept, added)
    }}> (start{p}, x{p})
"""

_PADDED = """
    pad_before = Gather (pad, first_two)
    pad_after = Gather (pad, last_two)
    all_pads = Concat <axis = 0> (no_pad, pad_before, no_pad, pad_after)
    padded = Pad (X, all_pads)
    padded_shape = Shape (padded)
    pixels = Transpose <perm = [0, 2, 3, 1]> (padded)
    products = MatMul (pixels, w1)
"""

_ROWS_IN = """
    by_column = Transpose <perm = [2, 0, 1, 3]> (products)
    x_row = Gather <axis = 0> (by_column, windows_w)
"""

_ROWS_OUT = """
    row_products = MatMul (h_row, w2)
    by_row_summary = Transpose <perm = [2, 0, 1, 3]> (row_products)
    x_rows = Gather <axis = 0> (by_row_summary, both_h)
"""

_COLUMNS_IN = """
    by_row = Transpose <perm = [1, 0, 2, 3]> (products)
    x_column = Gather <axis = 0> (by_row, windows_h)
"""

_COLUMNS_OUT = """
    column_products = MatMul (h_column, w2)
    by_column_summary = Transpose <perm = [2, 0, 1, 3]> (column_products)
    x_columns = Gather <axis = 0> (by_column_summary, both_w)
"""

# h_rows [2, OH, OW, N, h2] holds q1, q2; h_columns [2, OW, OH, N, h2] holds q3, q4.
_RESULT = """
    q12 = Transpose <perm = [3, 0, 4, 1, 2]> (h_rows)
    q34 = Transpose <perm = [3, 0, 4, 2, 1]> (h_columns)
    all_q = Concat <axis = 1> (q12, q34)
    batch = Gather (padded_shape, axis0)
    minus = Constant <value_ints: ints = [-1]> ()
    count1_h = Unsqueeze (count_h, axis0)
    count1_w = Unsqueeze (count_w, axis0)
    y_shape = Concat <axis = 0> (batch, minus, count1_h, count1_w)
    Y = Reshape (all_q, y_shape)
"""


def rnnpool_functions(nodes: Sequence[NodeProto], *, opset: int = 17) -> list[FunctionProto]:
    """The functions that a model with these RNNPool nodes must carry: one, or none when ``nodes`` is empty.

    ``opset`` is the version of the default domain that the model imports; ONNX wants both to agree.

    Raises CompileError for a cell or an activation that the function does not compute.
    """
    if not nodes:
        return []
    if opset < _MIN_OPSET:
        raise CompileError(
            f"the model imports opset {opset}, the RNNPool function needs {_MIN_OPSET} or later",
            remedy=f"convert the model with onnx.version_converter to opset {_MIN_OPSET} or later",
        )
    for node in nodes:
        _check_choice(node, "cell", CELLS)
        _check_choice(node, "gate_activation", GATE_ACTIVATIONS)
        _check_choice(node, "update_activation", UPDATE_ACTIVATIONS)
    return [_function(opset)]


def attach_rnnpool(model: ModelProto) -> ModelProto:
    """``model`` itself if it has all that its RNNPool nodes need, else a copy with function and import added.

    A function that the file carries is left as it is. Raises CompileError as ``rnnpool_functions`` does.
    """
    nodes = list(_rnnpool_nodes(model.graph))
    has_function = any(f.domain == DOMAIN and f.name == OP_TYPE for f in model.functions)
    has_import = any(entry.domain == DOMAIN for entry in model.opset_import)
    if not nodes or (has_function and has_import):
        return model
    result = ModelProto()
    result.CopyFrom(model)
    if not has_function:
        opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), _MIN_OPSET)
        result.functions.extend(rnnpool_functions(nodes, opset=opset))
    if not has_import:
        result.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    # Model-local functions exist from IR version 8 on.
    result.ir_version = max(result.ir_version, 8)
    return result


def make_rnnpool_node(
    inputs: Sequence[str],
    output: str,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int] = (0, 0, 0, 0),
    gate_activation: str = "Sigmoid",
    update_activation: str = "Tanh",
    name: str = "",
) -> NodeProto:
    """An RNNPool node with FastGRNN cells.

    ``inputs`` are the names of X, W1, R1, B1, W2, R2, B2 and, if given, S1 and S2.
    """
    return helper.make_node(
        OP_TYPE,
        list(inputs),
        [output],
        name=name,
        domain=DOMAIN,
        kernel_shape=list(kernel_shape),
        strides=list(strides),
        pads=list(pads),
        cell="FastGRNN",
        gate_activation=gate_activation,
        update_activation=update_activation,
    )


def _function(opset: int) -> FunctionProto:
    body = [
        _CONSTANTS,
        _CELL.format(n=1),
        _CELL.format(n=2),
        _PADDED,
        _WINDOWS.format(a="_h", index="i0", dim="i2"),
        _WINDOWS.format(a="_w", index="i1", dim="i3"),
        _ROWS_IN,
        _SWEEP.format(p="_row", n=1),
        _ROWS_OUT,
        _SWEEP.format(p="_rows", n=2),
        _COLUMNS_IN,
        _SWEEP.format(p="_column", n=1),
        _COLUMNS_OUT,
        _SWEEP.format(p="_columns", n=2),
        _RESULT,
    ]
    return parser.parse_function(_HEADER.format(opset=opset) + "{" + "".join(body) + "}")


def _rnnpool_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        if node.domain == DOMAIN and node.op_type == OP_TYPE:
            yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _rnnpool_nodes(attribute.g)


def _check_choice(node: NodeProto, attribute: str, supported: Sequence[str]) -> None:
    for entry in node.attribute:
        value = entry.s.decode(errors="replace")
        if entry.name == attribute and value not in supported:
            raise CompileError(
                f"RNNPool with {attribute} {value!r} is not supported",
                where=node.name or (node.output[0] if node.output else OP_TYPE),
                why=f"supported: {', '.join(supported)}",
                remedy=f"export the model with one of these for {attribute}",
            )
