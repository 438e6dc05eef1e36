"""The networks as LiteRT models on 8 bits, written as flat buffers by its schema."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from peers_networks import FEATURES, UNITS, Network

TANH_SCALE = 1 / 128
"""What LiteRT prescribes for a tangent of 8 bits."""
TYPES = {"int8": schema.TensorType.INT8, "int16": schema.TensorType.INT16, "int32": schema.TensorType.INT32}
TYPES["float32"] = schema.TensorType.FLOAT32
VERSIONS = {"FULLY_CONNECTED": 9, "CONV_2D": 3, "TANH": 2, "MAX_POOL_2D": 2}
VERSIONS["UNIDIRECTIONAL_SEQUENCE_LSTM"] = 3
"""The oldest of an operation that takes integers of 8 bits."""


def options(name: str, **values: Any) -> Any:
    """Options of an operation."""
    result = getattr(schema, f"{name}T")()
    for key, value in values.items():
        setattr(result, key, value)
    return result


class Graph:
    """Tensors and operations of a model that is being written."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.operators: list[Any] = []
        self.codes: list[str] = []

    def tensor(
        self, kind: str, shape: tuple[int, ...], scale: Any = None, zero: int = 0, *, state: bool = False
    ) -> int:
        """A tensor that is computed, or with `state` kept; its number. Several scales are one a channel."""
        tensor = schema.TensorT()
        tensor.type, tensor.shape, tensor.isVariable = TYPES[kind], list(shape), state
        tensor.name = f"t{len(self.tensors)}".encode()
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, dtype=np.float32))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero, dtype=np.int64)
            tensor.quantization.quantizedDimension = 0
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, value: Any, scale: Any = None) -> int:
        """A constant; its number."""
        number = self.tensor(str(value.dtype), value.shape, scale)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), dtype=np.uint8)
        self.buffers.append(buffer)
        self.tensors[number].buffer = len(self.buffers) - 1
        return number

    def operator(self, name: str, inputs: list[int], output: int, more: Any = None) -> int:
        """An operation of the name that it has in `BuiltinOperator`; the number of its result."""
        if name not in self.codes:
            self.codes.append(name)
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index(name)
        operator.inputs, operator.outputs = inputs, [output]
        if more is not None:
            operator.builtinOptions = more
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(more).__name__.removesuffix("T"))
        self.operators.append(operator)
        return output

    def reshaped(self, x: int, result: int) -> int:
        """The same elements in the shape of a tensor."""
        shape = self.tensors[result].shape
        target = self.constant(np.array(shape, dtype=np.int32))
        return self.operator("RESHAPE", [x, target], result, options("ReshapeOptions", newShape=shape))

    def sliced(self, x: int, start: tuple[int, ...], size: tuple[int, ...]) -> int:
        """A block of floats."""
        ends = [self.constant(np.array(v, dtype=np.int32)) for v in (start, size)]
        return self.operator("SLICE", [x, *ends], self.tensor("float32", size), options("SliceOptions"))

    def bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The finished model."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, inputs, outputs
        model = schema.ModelT()
        model.version, model.description = 3, b"network"
        model.subgraphs, model.buffers, model.operatorCodes = [graph], self.buffers, []
        for name in self.codes:
            entry, code = schema.OperatorCodeT(), getattr(schema.BuiltinOperator, name)
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), VERSIONS.get(name, 1)
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def feedforward(network: Network, batch: int, *, relu: bool = False) -> bytes:
    """Layers without a state, int8 throughout: images have their channels last.

    The maximum comes before the tanh, which is the same function and fewer tangents. With `relu` in place of tanh it is
    another function, but one that is fused with what comes before.
    """
    graph, scale, zero = Graph(), 1 / network.unit, network.zero - 128
    conv = network.layers[0].conv
    shape: tuple[int, ...] = (batch, *network.shape, 1) if conv else (batch, int(np.prod(network.shape)))
    x = first = graph.tensor("int8", shape, scale, zero)
    for layer in network.layers:
        n = len(layer.bias)
        weight, scales = layer.weight, np.full(n, layer.scale)
        bias = graph.constant(np.rint(layer.bias / (layer.scale * scale)).astype(np.int32), scales * scale)
        fused = int(relu and layer.tanh)
        reach, middle = (layer.reach / 255, -128) if fused else (layer.reach / 127, 0)
        if layer.conv:
            weight = graph.constant(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), scales)
            result = graph.tensor("int8", (*shape[:3], n), reach, middle)
            conv_2d = options("Conv2DOptions", padding=0, strideH=1, strideW=1, fusedActivationFunction=fused)
            x = graph.operator("CONV_2D", [x, weight, bias], result, conv_2d)
            shape = (batch, shape[1] // 2, shape[2] // 2, n)
            pool = options("Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
            x = graph.operator("MAX_POOL_2D", [x], graph.tensor("int8", shape, reach, middle), pool)
        else:
            if len(shape) == 4:  # channels last, where the network has them first
                height, width, depth = shape[1:]
                weight = weight.reshape(n, depth, height, width).transpose(0, 2, 3, 1).reshape(n, -1)
                x = graph.reshaped(x, graph.tensor("int8", (batch, weight.shape[1]), scale, zero))
            shape = (batch, n)
            dense = options("FullyConnectedOptions", fusedActivationFunction=fused)
            inputs = [x, graph.constant(np.ascontiguousarray(weight), scales), bias]
            x = graph.operator("FULLY_CONNECTED", inputs, graph.tensor("int8", shape, reach, middle), dense)
        scale, zero = reach, middle
        if layer.tanh and not relu:
            scale, zero = TANH_SCALE, 0
            x = graph.operator("TANH", [x], graph.tensor("int8", shape, scale))
    return graph.bytes([first], [x])


# ---------------------------------------------------------------------------------------------------- LSTM

# Weights are of 8 bits and the rest floats, which matrix products quantise as they come: LiteRT's LSTM that is of
# integers throughout takes eight times as long on x86, where it has no kernels.


def recurrent(network: Network, batch: int, steps: int) -> bytes:
    """LiteRT's operation, which keeps its state, and the readout of the last step: x (batch, steps, features) to y."""
    graph, layer = Graph(), network.recurrent
    assert layer is not None
    x = graph.tensor("float32", (batch, steps, FEATURES))
    w = [graph.constant(v, layer.w_scale) for v in np.split(layer.w, 4)]
    r = [graph.constant(v, layer.r_scale) for v in np.split(layer.r, 4)]
    bias = [graph.constant(v.astype(np.float32)) for v in np.split(layer.bias, 4)]
    state = [graph.tensor("float32", (batch, UNITS), state=True) for _ in "hc"]
    lstm = options("UnidirectionalSequenceLSTMOptions", fusedActivationFunction=schema.ActivationFunctionType.TANH)
    # without peepholes, projection and norms
    inputs = [x, *w, *r, -1, -1, -1, *bias, -1, -1, *state, -1, -1, -1, -1]
    hidden = graph.tensor("float32", (batch, steps, UNITS))
    h = graph.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, hidden, lstm)
    if steps > 1:
        h = graph.sliced(h, (0, steps - 1, 0), (batch, 1, UNITS))
    return graph.bytes([x], [_readout(graph, network, graph.reshaped(h, graph.tensor("float32", (batch, UNITS))))])


def unrolled(network: Network, batch: int, steps: int) -> bytes:
    """The same from a state of zeros, step by step out of operations that XNNPACK has: x (steps * batch, features)."""
    graph, layer = Graph(), network.recurrent
    assert layer is not None
    x = graph.tensor("float32", (steps * batch, FEATURES))
    w, r = (graph.constant(_sigmoids_first(v), s) for v, s in ((layer.w, layer.w_scale), (layer.r, layer.r_scale)))
    bias = graph.constant(_sigmoids_first(layer.bias).astype(np.float32))
    ours = _dense(graph, [x, w, bias], (steps * batch, 4 * UNITS))
    h = c = -1
    for t in range(steps):
        z = graph.sliced(ours, (t * batch, 0), (batch, 4 * UNITS)) if steps > 1 else ours
        if h >= 0:
            z = _binary(graph, "ADD", z, _dense(graph, [h, r, -1], (batch, 4 * UNITS)), 4 * UNITS, batch)
        gates = graph.tensor("float32", (batch, 3 * UNITS))
        graph.operator("LOGISTIC", [graph.sliced(z, (0, 0), (batch, 3 * UNITS))], gates)
        g = graph.operator(
            "TANH", [graph.sliced(z, (0, 3 * UNITS), (batch, UNITS))], graph.tensor("float32", (batch, UNITS))
        )
        i, f, o = (graph.sliced(gates, (0, k * UNITS), (batch, UNITS)) for k in range(3))
        added = _binary(graph, "MUL", i, g, UNITS, batch)
        c = added if c < 0 else _binary(graph, "ADD", added, _binary(graph, "MUL", f, c, UNITS, batch), UNITS, batch)
        h = _binary(graph, "MUL", o, graph.operator("TANH", [c], graph.tensor("float32", (batch, UNITS))), UNITS, batch)
    return graph.bytes([x], [_readout(graph, network, h)])


def _sigmoids_first(values: Any) -> Any:
    i, f, g, o = np.split(values, 4)
    return np.concatenate([i, f, o, g])


def _dense(graph: Graph, inputs: list[int], shape: tuple[int, ...]) -> int:
    dense = options("FullyConnectedOptions", asymmetricQuantizeInputs=True)
    return graph.operator("FULLY_CONNECTED", inputs, graph.tensor("float32", shape), dense)


def _binary(graph: Graph, name: str, x: int, y: int, width: int, batch: int) -> int:
    kind = {"ADD": "AddOptions", "MUL": "MulOptions"}[name]
    return graph.operator(name, [x, y], graph.tensor("float32", (batch, width)), options(kind))


def _readout(graph: Graph, network: Network, h: int) -> int:
    layer = network.layers[-1]
    weight = graph.constant(layer.weight, np.full(len(layer.bias), layer.scale))
    return _dense(
        graph, [h, weight, graph.constant(layer.bias.astype(np.float32))], (graph.tensors[h].shape[0], len(layer.bias))
    )
