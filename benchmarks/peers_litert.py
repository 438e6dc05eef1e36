"""LiteRT on 8 bits: its interpreter, with XNNPACK as it is by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peers_tflite
from ai_edge_litert.interpreter import Interpreter
from peers_networks import Case
from peers_timing import Contestant

INT8, RELU = "LiteRT int8", "LiteRT int8, ReLU"
PACKAGES = ("ai-edge-litert",)
NAME_OF_IMPORT, IMPORT = "LiteRT", "from ai_edge_litert.interpreter import Interpreter"


def forms(case: Case, threads: int) -> dict[str, list[Callable[[], Contestant]]]:
    """By name the forms of which the fastest takes part."""
    n = case.network
    if case.steps:
        made = [lambda: _recurrent(case, threads)]
        # a stream needs no unrolling
        return {INT8: made if case.streaming else [*made, lambda: _unrolled(case, threads)]}
    x = (case.x.astype(np.int16) - 128).astype(np.int8)
    return {
        INT8: [lambda: _contestant(INT8, "static", peers_tflite.feedforward(n, case.batch), x, threads)],
        RELU: [lambda: _contestant(RELU, "static", peers_tflite.feedforward(n, case.batch, relu=True), x, threads)],
    }


def _interpreter(model: bytes, x: Any, threads: int) -> tuple[Any, Callable[[], Any]]:
    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.tensor(given["index"])()[...] = x.reshape(given["shape"])
    return interpreter, interpreter.tensor(found["index"])


def _contestant(name: str, form: str, model: bytes, x: Any, threads: int) -> Contestant:
    interpreter, out = _interpreter(model, x, threads)
    return Contestant(name, form, interpreter.invoke, lambda: out().copy(), len(model))


def _recurrent(case: Case, threads: int) -> Contestant:
    model = peers_tflite.recurrent(case.network, case.batch, case.steps)
    interpreter, out = _interpreter(model, case.network.real(case.x), threads)

    def sequence() -> None:
        interpreter.reset_all_variables()
        interpreter.invoke()

    call = interpreter.invoke if case.streaming else sequence
    return Contestant(INT8, "hybrid LSTM", call, lambda: out().copy(), len(model))


def _unrolled(case: Case, threads: int) -> Contestant:
    model = peers_tflite.unrolled(case.network, case.batch, case.steps)
    return _contestant(INT8, "unrolled", model, case.network.real(case.x).transpose(1, 0, 2), threads)
