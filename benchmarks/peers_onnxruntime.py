"""ONNX Runtime: single precision, and 8 bits, on inputs and outputs that are bound beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import peers_onnx
from peers_networks import UNITS, Case
from peers_timing import Contestant

FLOAT, INT8 = "ONNX Runtime float32", "ONNX Runtime int8"
PACKAGES = ("onnxruntime", "onnx")
NAME_OF_IMPORT, IMPORT = "ONNX Runtime", "import onnxruntime"


def forms(case: Case, threads: int) -> dict[str, list[Callable[[], Contestant]]]:
    """By name the forms of which the fastest takes part."""
    n, batch = case.network, case.batch
    if case.steps:
        return {
            FLOAT: [lambda: _recurrent(case, threads, FLOAT, "float")],
            INT8: [lambda: _recurrent(case, threads, INT8, "dynamic")],
        }
    x = n.real(case.x)
    return {
        FLOAT: [lambda: _feedforward(FLOAT, "float", peers_onnx.float_model(n, batch), x, threads)],
        INT8: [
            lambda: _feedforward(INT8, "QOperator", peers_onnx.operator_model(n, batch), case.x, threads),
            lambda: _feedforward(INT8, "QDQ", peers_onnx.qdq_model(n, batch), case.x, threads),
        ],
    }


def _session(model: bytes, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _value(array: Any) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _feedforward(name: str, form: str, model: Any, x: Any, threads: int) -> Contestant:
    data = model.SerializeToString()
    session = _session(data, threads)
    binding, given = session.io_binding(), _value(x)
    out = _value(np.zeros(session.get_outputs()[0].shape, dtype=np.float32))
    binding.bind_ortvalue_input("x", given)
    binding.bind_ortvalue_output("y", out)
    return Contestant(name, form, lambda: session.run_with_iobinding(binding), out.numpy, len(data))


def _recurrent(case: Case, threads: int, name: str, form: str) -> Contestant:
    data = peers_onnx.recurrent_model(case.network, case.batch, case.steps, form).SerializeToString()
    session = _session(data, threads)
    x = _value(np.ascontiguousarray(case.network.real(case.x).transpose(1, 0, 2)))
    out = _value(np.zeros((case.batch, len(case.network.layers[-1].bias)), dtype=np.float32))
    # a stream goes to and fro between two states, a sequence starts from the first
    states = [{key: _value(np.zeros((1, case.batch, UNITS), dtype=np.float32)) for key in "hc"} for _ in range(2)]
    bindings = []
    for before, after in (states, states[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_output("y", out)
        for key in "hc":
            binding.bind_ortvalue_input(key, before[key])
            binding.bind_ortvalue_output(f"{key}_next", after[key])
        bindings.append(binding)

    def step() -> None:
        session.run_with_iobinding(bindings[0])
        bindings.reverse()

    call = step if case.streaming else lambda: session.run_with_iobinding(bindings[0])
    return Contestant(name, form, call, out.numpy, len(data))
