"""OpenVINO on 8 bits: the quantised ONNX models, and an LSTM with FakeQuantize around it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import peers_onnx
from openvino import opset13 as ops
from peers_networks import FEATURES, UNITS, Case
from peers_timing import Contestant

INT8, RELU = "OpenVINO int8", "OpenVINO int8, ReLU"
PACKAGES = ("openvino", "onnx")
NAME_OF_IMPORT, IMPORT = "OpenVINO", "import openvino"


def forms(case: Case, threads: int) -> dict[str, list[Callable[[], Contestant]]]:
    """By name the forms of which the fastest takes part."""
    if case.steps:
        return {INT8: [lambda: _recurrent(case, threads)]}
    made = [lambda: _feedforward(case, threads, False)]
    if _pools(case):
        made.append(lambda: _feedforward(case, threads, True))
    return {INT8: made, RELU: [lambda: _feedforward(case, threads, False, relu=True)]}


def _pools(case: Case) -> bool:
    return case.network.layers[0].conv


def _request(model: Any, threads: int, **more: str) -> Any:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # the cores are shared with the other contestants
        **more,
    }
    return openvino.Core().compile_model(model, "CPU", options).create_infer_request()


def _size(model: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder) / "model.xml", compress_to_fp16=False)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def _shared(array: Any) -> Any:
    return openvino.Tensor(array, shared_memory=True)


def _feedforward(case: Case, threads: int, pool_first: bool, *, relu: bool = False) -> Contestant:
    data = peers_onnx.qdq_model(case.network, case.batch, pool_first=pool_first, relu=relu).SerializeToString()
    model = openvino.Core().read_model(data)
    size, request, x = _size(model), _request(model, threads), case.x
    request.set_input_tensor(_shared(x))
    out = request.get_output_tensor(0)
    form = "QDQ" + (", maximum before tanh" if pool_first and _pools(case) else "")
    return Contestant(RELU if relu else INT8, form, request.infer, lambda: out.data, size, (x,))


# ---------------------------------------------------------------------------------------------------- LSTM


def _on_grid(value: Any, low: float, high: float, levels: int) -> Any:
    ends = [ops.constant(np.full((1, 1, 1), end, dtype=np.float32)) for end in (low, high)]
    return ops.fake_quantize(value, *ends, *ends, levels)


def _recurrent_model(case: Case) -> Any:
    network, batch, layer = case.network, case.batch, case.network.recurrent
    assert layer is not None
    x = ops.parameter([batch, case.steps, FEATURES], np.float32)
    state = [ops.parameter([batch, 1, UNITS], np.float32) for _ in "hc"]

    def gates(values: Any) -> Any:
        i, f, g, o = np.split(values, 4)
        return np.concatenate([f, i, g, o])[None]

    def weights(values: Any, scale: float) -> Any:
        constant = ops.constant((gates(values) * np.float32(scale)).astype(np.float32))
        return _on_grid(constant, -127 * scale, 127 * scale, 255)

    # oneDNN computes with one scale for the input and the state, so the input's, which reaches further, is for both
    ends = -128 / network.unit, 127 / network.unit, 256
    lengths = ops.constant(np.full(batch, case.steps, dtype=np.int64))
    inputs = _on_grid(x, *ends), _on_grid(state[0], *ends), state[1], lengths
    constants = weights(layer.w, layer.w_scale), weights(layer.r, layer.r_scale)
    bias = ops.constant(gates(layer.bias).astype(np.float32))
    hidden = ops.lstm_sequence(*inputs, *constants, bias, UNITS, "forward")
    flat = ops.reshape(hidden.output(1), ops.constant(np.array([batch, UNITS], dtype=np.int64)), False)
    readout = network.layers[-1]
    y = ops.matmul(flat, ops.constant(readout.real), False, True)
    y = ops.add(y, ops.constant(readout.bias.astype(np.float32)[None]))
    return openvino.Model(
        [ops.result(o) for o in (y.output(0), hidden.output(1), hidden.output(2))], [x, *state], "lstm"
    )


def _recurrent(case: Case, threads: int) -> Contestant:
    model = _recurrent_model(case)
    size = _size(model)
    # what is not on 8 bits is faster in single precision than in bfloat16
    request = _request(model, threads, INFERENCE_PRECISION_HINT="f32")
    compiled = request.get_compiled_model()
    x = case.network.real(case.x)
    out = np.zeros((case.batch, len(case.network.layers[-1].bias)), dtype=np.float32)
    # a stream goes to and fro between two states, a sequence starts from the first
    states = [[np.zeros((case.batch, 1, UNITS), dtype=np.float32) for _ in "hc"] for _ in range(2)]
    shapes = [tuple(compiled.output(k).shape) for k in (1, 2)]
    requests = [request, compiled.create_infer_request()]
    for run, before, after in ((requests[0], *states), (requests[1], *states[::-1])):
        run.set_input_tensor(0, _shared(x))
        run.set_output_tensor(0, _shared(out))
        for k in range(2):
            run.set_input_tensor(1 + k, _shared(before[k]))
            run.set_output_tensor(1 + k, _shared(after[k].reshape(shapes[k])))

    def step() -> None:
        requests[0].infer()
        requests.reverse()

    call = step if case.streaming else request.infer
    return Contestant(INT8, "FakeQuantize", call, lambda: out, size, (x, states, compiled))
