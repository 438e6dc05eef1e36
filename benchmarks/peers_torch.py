"""PyTorch: in single precision, and quantised by its own kernels (static; dynamic for an LSTM).

Modules run as they are and traced and frozen, whichever is faster. They are called inside `torch.inference_mode`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from peers_networks import FEATURES, UNITS, Case, Network
from peers_timing import Contestant
from torch.ao.nn import quantized
from torch.ao.quantization import quantize_dynamic

FLOAT, INT8 = "PyTorch float32", "PyTorch int8"
PACKAGES = ("torch",)
NAME_OF_IMPORT, IMPORT = "PyTorch", "import torch"
TANH_SCALE = 1 / 127

Make = Callable[[], Contestant]


def forms(case: Case, threads: int) -> dict[str, list[Make]]:
    """By name the forms of which the fastest takes part."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", module=r"torch\..*")  # tracing and torch.ao are deprecated, but not replaced here
    warnings.filterwarnings("ignore", message=".*quantize")
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    if case.steps:
        return {FLOAT: list(_recurrent(case, None)), INT8: [m for e in ENGINES for m in _recurrent(case, e)]}
    return {FLOAT: list(_float(case)), INT8: [m for e in ENGINES for m in _quantised(case, e)]}


ENGINES = ("x86", "onednn")


def _bytes(module: torch.nn.Module) -> int:
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.tell()


def _input(case: Case, x: torch.Tensor) -> torch.Tensor:
    return x[:, None].contiguous() if case.network.layers[0].conv else x


def _contestant(name: str, form: str, module: Any, x: torch.Tensor, size: int, kept: list[Any]) -> Contestant:
    def call() -> None:
        kept[0] = module(x)

    def output() -> Any:
        y = kept[0]
        return (y.int_repr() if y.is_quantized else y).numpy()

    return Contestant(name, form, call, output, size)


def _traced(module: torch.nn.Module, *x: torch.Tensor, fuse: bool = False) -> Any:
    traced = torch.jit.trace(module, x, check_trace=False)
    return torch.jit.optimize_for_inference(traced) if fuse else torch.jit.freeze(traced)


# ---------------------------------------------------------------------------------------------------- without a state


def _float_module(network: Network) -> torch.nn.Module:
    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        out, inside = layer.weight.shape[:2]
        module: Any = torch.nn.Conv2d(inside, out, 3, padding=1) if layer.conv else torch.nn.Linear(inside, out)
        module.weight.copy_(torch.from_numpy(layer.real))
        module.bias.copy_(torch.from_numpy(layer.bias))
        modules += [module, torch.nn.MaxPool2d(2)] if layer.conv else [torch.nn.Flatten(), module]
        modules += [torch.nn.Tanh()] if layer.tanh else []
    return torch.nn.Sequential(*modules).eval()


def _float(case: Case) -> Iterable[Make]:
    x = _input(case, torch.from_numpy(case.network.real(case.x)))
    module = _float_module(case.network)
    size = _bytes(module)

    def make(form: str, build: Callable[[], Any], x: torch.Tensor) -> Make:
        return lambda: _contestant(FLOAT, form, build(), x, size, [None])

    yield make("eager", lambda: module, x)
    yield make("traced, frozen", lambda: _traced(module, x), x)
    yield make("traced, optimised for inference", lambda: _traced(module, x, fuse=True), x)
    if case.network.layers[0].conv:
        last = _float_module(case.network).to(memory_format=torch.channels_last)
        x_last = x.to(memory_format=torch.channels_last)
        yield make("channels last", lambda: last, x_last)
        yield make("channels last, traced, frozen", lambda: _traced(last, x_last), x_last)


def _quantised_module(network: Network) -> torch.nn.Module:
    """As `torch.ao.quantization.convert` would leave it, with the integers of the network."""
    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        out, inside = layer.weight.shape[:2]
        module: Any = quantized.Conv2d(inside, out, 3, padding=1) if layer.conv else quantized.Linear(inside, out)
        scales = torch.full((out,), layer.scale, dtype=torch.float64)
        zeros = torch.zeros(out, dtype=torch.int64)
        weight = torch.quantize_per_channel(torch.from_numpy(layer.real), scales, zeros, 0, torch.qint8)
        module.set_weight_bias(weight, torch.from_numpy(layer.bias).float())
        module.scale, module.zero_point = layer.reach / 127, 128
        modules += [module, torch.nn.MaxPool2d(2)] if layer.conv else [torch.nn.Flatten(), module]
        modules += [torch.nn.Tanh()] if layer.tanh else []
    return torch.nn.Sequential(*modules).eval()


def _quantised(case: Case, engine: str) -> Iterable[Make]:
    raw = _input(case, torch.from_numpy(case.x))

    def make(traced: bool) -> Make:
        def build() -> Contestant:
            torch.backends.quantized.engine = engine
            x = torch._make_per_tensor_quantized_tensor(raw, 1 / case.network.unit, case.network.zero)
            module = _quantised_module(case.network)
            size = _bytes(module)
            run = _traced(module, x) if traced else module
            return _contestant(INT8, f"{engine}{', traced, frozen' if traced else ''}", run, x, size, [None])

        return build

    yield make(False)
    yield make(True)


# ---------------------------------------------------------------------------------------------------- LSTM


class Layer(torch.nn.Module):
    """An LSTM layer and the readout of its last step; with `cell` made for one step."""

    def __init__(self, network: Network, cell: bool) -> None:
        super().__init__()
        layer, readout = network.recurrent, network.layers[-1]
        assert layer is not None
        self.cells: Any = torch.nn.LSTMCell(FEATURES, UNITS) if cell else torch.nn.LSTM(FEATURES, UNITS)
        self.readout = torch.nn.Linear(UNITS, len(readout.bias))
        values = (layer.w * np.float32(layer.w_scale), layer.r * np.float32(layer.r_scale), layer.bias, 0 * layer.bias)
        for parameter, value in zip(self.cells.parameters(), values):
            parameter.copy_(torch.from_numpy(value))
        self.readout.weight.copy_(torch.from_numpy(readout.real))
        self.readout.bias.copy_(torch.from_numpy(readout.bias))
        self.cell = cell

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        """Take x (steps, batch, features), of a cell (batch, features), and the state; give y and the next state."""
        if self.cell:
            h, c = self.cells(x, (h, c))
            return self.readout(h), h, c
        _, (h, c) = self.cells(x, (h, c))
        return self.readout(h[0]), h, c


def _recurrent(case: Case, engine: str | None) -> Iterable[Make]:
    x = torch.from_numpy(np.ascontiguousarray(case.network.real(case.x).transpose(1, 0, 2)))

    def make(cell: bool, traced: bool) -> Make:
        def build() -> Contestant:
            module: torch.nn.Module = Layer(case.network, cell).eval()
            if engine is not None:
                torch.backends.quantized.engine = engine
                kinds = {torch.nn.LSTM, torch.nn.LSTMCell, torch.nn.Linear}
                module = quantize_dynamic(module, kinds, dtype=torch.qint8)
            size = _bytes(module)
            zero = torch.zeros(case.batch, UNITS) if cell else torch.zeros(1, case.batch, UNITS)
            inputs = x[0] if cell else x
            run = _traced(module, inputs, zero, zero) if traced else module
            form = ", ".join(
                [engine] * (engine is not None) + ["cell"] * cell + (["traced, frozen"] if traced else ["eager"])
            )
            name = FLOAT if engine is None else INT8
            return _stateful(name, form, run, inputs, zero, size, case.streaming)

        return build

    for traced in (False, True):
        yield make(False, traced)
        if case.streaming:
            yield make(True, traced)


def _stateful(
    name: str, form: str, run: Any, x: torch.Tensor, zero: torch.Tensor, size: int, streaming: bool
) -> Contestant:
    kept: list[Any] = [None, zero, zero]

    def step() -> None:
        kept[:] = run(x, kept[1], kept[2])

    def sequence() -> None:
        kept[:] = run(x, zero, zero)

    return Contestant(name, form, step if streaming else sequence, lambda: kept[0].numpy(), size)
