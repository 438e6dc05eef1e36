"""The networks as ONNX models: in single precision, and quantised statically or, an LSTM, dynamically."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from peers_networks import FEATURES, UNITS, Affine, Network

OPSET = 21
TANH_SCALE = 1 / 127


class Graph:
    """Nodes and constants of a model that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, value: Any) -> str:
        """A constant; its name."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its result, or of each."""
        names = [f"{kind.lower()}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def dequantised(self, x: str, scale: Any, zero: Any, **attributes: Any) -> str:
        """Integers as real numbers."""
        ends = self.constant(np.float32(scale)), self.constant(zero)
        return str(self.node("DequantizeLinear", x, *ends, **attributes))

    def requantised(self, x: str, scale: float, zero: Any) -> str:
        """Real numbers on a grid of 8 bits, as real numbers again."""
        ends = self.constant(np.float32(scale)), self.constant(zero)
        return str(self.node("DequantizeLinear", self.node("QuantizeLinear", x, *ends), *ends))

    def model(self, inputs: dict[str, tuple[int, Any]], outputs: dict[str, Any]) -> Any:
        """The finished model; inputs with their types and shapes, outputs with their shapes."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=10))

    def named(self, old: str, new: str) -> None:
        """Call a result by the name that an output has."""
        self.nodes.append(helper.make_node("Identity", [old], [new]))


def float_model(network: Network, batch: int) -> Any:
    """Of layers without a state, in single precision: x float32 (batch, *shape) to y."""
    graph = Graph()
    x = _start(graph, network, "x", batch)
    for layer in network.layers:
        weight, bias = graph.constant(layer.real), graph.constant(layer.bias.astype(np.float32))
        if layer.conv:
            x = graph.node("Conv", x, weight, bias, pads=[1, 1, 1, 1])
            x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        else:
            x = graph.node("Gemm", graph.node("Flatten", x) if len(network.shape) > 1 else x, weight, bias, transB=1)
        x = graph.node("Tanh", x) if layer.tanh else x
    graph.named(x, "y")
    return graph.model(
        {"x": (TensorProto.FLOAT, (batch, *network.shape))}, {"y": (batch, len(network.layers[-1].bias))}
    )


def _start(graph: Graph, network: Network, x: str, batch: int) -> str:
    shape = (batch, 1, *network.shape) if network.layers[0].conv else (batch, -1)
    return str(graph.node("Reshape", x, graph.constant(np.array(shape, dtype=np.int64))))


def qdq_model(network: Network, batch: int, *, pool_first: bool = True, relu: bool = False) -> Any:
    """Of layers without a state, on 8 bits: x uint8 (batch, *shape) to y in single precision.

    Parameters
    ----------
    network : Network
    batch : int
    pool_first : bool
        Whether the maximum is taken before the tanh (of fewer values) or behind it; both are the same function.
    relu : bool
        ReLU in place of tanh: another function, but one that runtimes fuse.
    """
    graph, first = Graph(), network.layers[0]
    middle, scale = np.uint8(0 if relu else 128), 1 / network.unit
    x = graph.dequantised(_start(graph, network, "x", batch), scale, _centre(network))
    pool: Any = {"kernel_shape": [2, 2], "strides": [2, 2]}
    for layer in network.layers:
        weight, bias = _dequantised_constants(graph, network, layer, scale, layer is first)
        if layer.conv:
            x = graph.node("Conv", x, weight, bias, pads=[1, 1, 1, 1])
            if pool_first:
                x = graph.node("MaxPool", graph.requantised(x, _step(layer, relu), middle), **pool)
        else:
            x = graph.node("Gemm", graph.node("Flatten", x), weight, bias, transB=1)
        if layer.tanh:
            scale = _step(layer, relu) if relu else TANH_SCALE
            x = graph.requantised(graph.node("Relu" if relu else "Tanh", x), scale, middle)
        if layer.conv and not pool_first:
            x = graph.requantised(graph.node("MaxPool", x, **pool), scale, middle)
    graph.named(x, "y")
    return graph.model(
        {"x": (TensorProto.UINT8, (batch, *network.shape))}, {"y": (batch, len(network.layers[-1].bias))}
    )


def operator_model(network: Network, batch: int) -> Any:
    """The same with operations on integers, as ONNX Runtime has them (its QGemm returns floats if asked to)."""
    graph, first = Graph(), network.layers[0]
    x, scale, zero = _start(graph, network, "x", batch), 1 / network.unit, _centre(network)
    for layer in network.layers:
        ends = graph.constant(np.float32(scale)), graph.constant(zero)
        steps = graph.constant(np.float32(layer.scale)), graph.constant(np.int8(0))
        bias = graph.constant(_sums(network, layer, scale, layer is first))
        if layer.conv:
            out = np.float32(_step(layer, False)), np.uint8(128)
            names = graph.constant(out[0]), graph.constant(out[1])
            x = graph.node(
                "QLinearConv", x, *ends, graph.constant(layer.weight), *steps, *names, bias, pads=[1, 1, 1, 1]
            )
            x = graph.dequantised(graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), *out)
        else:
            weight = graph.constant(np.ascontiguousarray(layer.weight.T))
            x = graph.node("QGemm", graph.node("Flatten", x), *ends, weight, *steps, bias, domain="com.microsoft")
        if layer.tanh:
            scale, zero = TANH_SCALE, np.uint8(128)
            x = graph.node(
                "QuantizeLinear", graph.node("Tanh", x), graph.constant(np.float32(scale)), graph.constant(zero)
            )
    graph.named(x, "y")
    return graph.model(
        {"x": (TensorProto.UINT8, (batch, *network.shape))}, {"y": (batch, len(network.layers[-1].bias))}
    )


def _centre(network: Network) -> Any:
    """The zero point of the input: 0 without padding, since the bias can take it up."""
    return np.uint8(network.zero if network.layers[0].conv else 0)


def _step(layer: Affine, relu: bool) -> float:
    """What a step of pre-activations of 8 bits is worth."""
    return layer.reach / (255 if relu else 127)


def _sums(network: Network, layer: Affine, x_scale: float, first: bool) -> Any:
    """The bias as integers of 32 bits."""
    bias = layer.bias
    if first and not layer.conv:
        bias = bias - layer.weight.astype(np.int64).sum(1) * layer.scale * network.zero / network.unit
    return np.rint(bias / (layer.scale * x_scale)).astype(np.int32)


def _dequantised_constants(
    graph: Graph, network: Network, layer: Affine, x_scale: float, first: bool
) -> tuple[str, str]:
    """Weights and bias as integers that become real numbers, one scale for each channel."""
    n = len(layer.bias)
    scales = np.full(n, layer.scale, dtype=np.float32)
    sums = graph.constant(_sums(network, layer, x_scale, first))
    weight = graph.dequantised(graph.constant(layer.weight), scales, np.zeros(n, dtype=np.int8), axis=0)
    return weight, graph.dequantised(sums, scales * np.float32(x_scale), np.zeros(n, dtype=np.int32), axis=0)


def recurrent_model(network: Network, batch: int, steps: int, form: str) -> Any:
    """An LSTM with its readout of the last step: x float32 (steps, batch, features), h, c to y, h_next, c_next.

    Parameters
    ----------
    network : Network
    batch, steps : int
    form : {"float", "dynamic"}
        ``dynamic`` is ONNX Runtime's operation, which quantises activations as they come.
    """
    graph, layer = Graph(), network.recurrent
    assert layer is not None
    w, r, bias = (_onnx_gates(v) for v in (layer.w, layer.r, layer.bias))
    shift = graph.constant(np.concatenate([bias, np.zeros_like(bias)])[None].astype(np.float32))
    x, h, c = "x", "h", "c"
    if form == "dynamic":
        ends = [
            graph.constant(v)
            for scale in (layer.w_scale, layer.r_scale)
            for v in (np.array([scale], dtype=np.float32), np.zeros(1, dtype=np.int8))
        ]
        w_name, r_name = (
            graph.constant(np.ascontiguousarray(w.T[None])),
            graph.constant(np.ascontiguousarray(r.T[None])),
        )
        inputs = (x, w_name, r_name, shift, "", h, c, "", *ends)
        _, h_next, c_next = graph.node(
            "DynamicQuantizeLSTM", *inputs, outputs=3, domain="com.microsoft", hidden_size=UNITS
        )
    else:
        names = [
            graph.constant((v[None] * np.float32(scale)).astype(np.float32))
            for v, scale in ((w, layer.w_scale), (r, layer.r_scale))
        ]
        _, h_next, c_next = graph.node("LSTM", x, *names, shift, "", h, c, outputs=3, hidden_size=UNITS)
    readout = network.layers[-1]
    flat = graph.node("Reshape", h_next, graph.constant(np.array((batch, UNITS), dtype=np.int64)))
    last = graph.node(
        "Gemm", flat, graph.constant(readout.real), graph.constant(readout.bias.astype(np.float32)), transB=1
    )
    for old, new in ((last, "y"), (h_next, "h_next"), (c_next, "c_next")):
        graph.named(old, new)
    state, kind = (1, batch, UNITS), TensorProto.FLOAT
    ins = {"x": (kind, (steps, batch, FEATURES)), "h": (kind, state), "c": (kind, state)}
    return graph.model(ins, {"y": (batch, len(readout.bias)), "h_next": state, "c_next": state})


def _onnx_gates(values: Any) -> Any:
    """Gates i, f, g, o in ONNX's order i, o, f, g."""
    i, f, g, o = np.split(values, 4)
    return np.concatenate([i, o, f, g])
