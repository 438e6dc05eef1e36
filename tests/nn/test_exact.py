"""The central contract: module and machine compute the same integers, whatever PyTorch is set to."""

import copy
import random
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import assert_exact, batch, networks, shake
from torch.nn import functional as F

from zahlen import Levels, nn
from zahlen.machine import LayerError
from zahlen.nn.exact import exact_products


@given(networks(), st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_every_wire_equals_the_machines(model, seed):
    assert_exact(model, batch(model, 6, seed))
    assert_exact(model, batch(model, 1, seed))


@given(networks())
@settings(max_examples=40)
def test_every_wire_after_steps_of_an_optimiser(model):
    if not list(model.parameters()):
        return
    model.train()
    x, optimiser = batch(model, 8), torch.optim.Adam(model.parameters(), lr=0.3)
    for _ in range(3):
        optimiser.zero_grad()
        output = model(x) / float(model.unit)
        if output.requires_grad:
            (output**2).mean().backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0.0, 1.0, -1.0).clamp_(-1, 1)
        optimiser.step()
    assert_exact(model, x)


def mixed() -> nn.Sequential:
    """Convolution, pools, batch norm, dense layers; input values that bf16 cannot hold."""
    model = nn.Sequential(
        nn.Input((2, 12, 12), Levels(-2000, 2000), unit=500),
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm(), nn.TanhD(301),
        nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.TanhD(16), nn.MaxPool2d(2), nn.SumPool2d(2), nn.Flatten(),
        nn.Linear(54, 24), nn.ReLUD(40, 3), nn.Linear(24, 5),
    )  # fmt: skip
    shake(model, random.Random(1))
    return model.eval()


@contextmanager
def autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@contextmanager
def precision():
    torch.set_float32_matmul_precision("medium")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@contextmanager
def double_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def no_onednn():
    # what is left is NNPACK, whose 3x3 convolutions are Winograd's
    with torch.backends.mkldnn.flags(enabled=False):
        yield
        assert not torch.backends.mkldnn.enabled
        assert torch._C._get_nnpack_enabled()


@contextmanager
def onednn_in_bf16():
    owners = torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv
    before = [owner.fp32_precision for owner in owners]
    for owner in owners:
        owner.fp32_precision = "bf16"
    try:
        yield
        assert [owner.fp32_precision for owner in owners] == ["bf16", "bf16"]
    finally:
        for owner, value in zip(owners, before):
            owner.fp32_precision = value


SETTINGS = [autocast, precision, double_default, no_onednn, torch.inference_mode]
if hasattr(torch.backends.mkldnn, "matmul"):
    SETTINGS.append(onednn_in_bf16)


@pytest.mark.parametrize("setting", SETTINGS)
def test_global_settings_change_no_integer(setting):
    model = mixed()
    x = batch(model, 32)
    expected = model.machine().trace(x.numpy())
    with setting():
        traced = model.trace(x)
        output = model(x)
        assert_exact(model, x)
    assert all((value.numpy() == expected[name]).all() for name, value in traced.items())
    assert (output.detach().numpy() == expected[model.machine().outputs[0]]).all()


def test_autocast_would_break_an_unguarded_product():
    x, w = torch.full((1, 3), 257.0), torch.ones(1, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert F.linear(x, w).item() != 771
        with exact_products(x.device):
            assert F.linear(x, w).item() == 771
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("device", ["mps", "xpu", "meta"])
def test_devices_that_nobody_vouches_for_are_refused(device):
    with pytest.raises(LayerError, match=f"products on {device} are exact is not known"):
        exact_products(torch.device(device)).__enter__()


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_wire_on_cuda_under_tf32_and_autocast(dtype):
    model = mixed().cuda()
    x = batch(model, 64).cuda()
    torch.set_float32_matmul_precision("medium")
    cudnn, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, True
    try:
        with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            assert_exact(model, x)
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.enabled
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = cudnn


def test_what_is_switched_off_comes_back_on_after_an_error():
    torch.set_float32_matmul_precision("medium")
    try:
        with suppress(ZeroDivisionError), exact_products(torch.device("cpu")):
            assert not torch._C._get_nnpack_enabled()
            assert not torch.backends.mkldnn.enabled
            raise ZeroDivisionError
        assert torch.backends.mkldnn.enabled
        assert torch._C._get_nnpack_enabled()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_an_environment_that_rounds_in_onednn_is_noticed(monkeypatch):
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    with exact_products(torch.device("cpu")):
        assert not torch.backends.mkldnn.enabled
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize("to", [torch.float64, torch.float16, torch.bfloat16])
def test_moving_weights_to_another_type_keeps_module_and_machine_equal(to):
    model = nn.Sequential(
        nn.Input((6,), Levels(-900, 900), unit=300), nn.Linear(6, 8), nn.TanhD(16), nn.Linear(8, 3)
    ).to(to)
    assert_exact(model, batch(model, 16))
    if to == torch.float64:  # the same latent weights, the same integers
        assert model.machine().hash == copy.deepcopy(model).float().machine().hash


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32])
def test_every_integer_type_of_input(dtype):
    model = nn.Sequential(nn.Input((3, 4), Levels(0, 255), offset=73, unit=90), nn.Flatten(), nn.Linear(12, 5))
    x = batch(model, 9)
    assert (model(x.to(dtype)) == model(x)).all()
    strided = x.to(dtype).transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    assert (model(strided) == model(x)).all()


def test_a_network_first_run_in_inference_mode_can_be_trained():
    model = nn.Sequential(nn.Input((4,), Levels(-9, 9), unit=3), nn.Linear(4, 4), nn.TanhD(5), nn.Linear(4, 2))
    with torch.inference_mode():
        model(batch(model))
    model(batch(model)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


class TestCarrier:
    """float32 is exact below 2^24 only; the bound decides, never the samples."""

    @staticmethod
    def readout(weight, top, unit=1, bias=None):
        model = nn.Sequential(
            nn.Input((len(weight),), Levels(-top, top), unit=unit),
            nn.Linear(len(weight), 1, bias is not None, weights=Levels(-(2**12), 2**12), scale=1),
        )
        with torch.no_grad():
            model[1].weight.copy_(torch.tensor([weight]))
            if bias is not None:
                model[1].bias.fill_(bias)
        return model

    def test_float32_would_be_wrong_beyond_two_to_the_24(self):
        weight, x = [4096.0, 1.0], torch.tensor([[4096, 1]])
        assert F.linear(x.float(), torch.tensor([weight])).item() != 2**24 + 1
        model = self.readout(weight, 4096)
        assert model(x).dtype == torch.float64
        assert model(x).item() == 2**24 + 1
        assert_exact(model, x)

    def test_the_type_changes_at_the_bound(self):
        # the largest sum is 4095 * 4097 = 2^24 - 1, then 4096 * 4096 = 2^24
        below, at = self.readout([4096.0, -1.0], 4095), self.readout([-4096.0, 0.0], 4096)
        assert below(torch.tensor([[4095, -4095]])).dtype == torch.float32
        assert below(torch.tensor([[4095, -4095]])).item() == 2**24 - 1
        assert at(torch.tensor([[0, 0]])).dtype == torch.float64

    def test_a_bias_counts(self):
        assert self.readout([1024.0, 0.0], 2**13, bias=0.0)(torch.tensor([[0, 0]])).dtype == torch.float32
        assert self.readout([1024.0, 0.0], 2**13, bias=2.0**23)(torch.tensor([[0, 0]])).dtype == torch.float64

    def test_beyond_two_to_the_53_a_layer_is_refused_by_name(self):
        with pytest.raises(nn.spec.LayerError, match=r"^Linear\(2, 1.*53 bits; put an activation before"):
            self.readout([1.0, 1.0], 2**41)
        just_below = self.readout([1.0, 1.0], 2**39)
        x = torch.tensor([[2**39, 1], [-(2**39), 2**39]])
        assert_exact(just_below, x)

    def test_an_input_beyond_two_to_the_53_is_refused_by_name(self):
        nn.Input((1,), Levels(0, 2**53 - 1)).start()
        with pytest.raises(nn.spec.LayerError, match=r"^Input\("):
            nn.Sequential(nn.Input((1,), Levels(0, 2**53)))
        with pytest.raises(nn.spec.LayerError, match=r"^Input\("):  # centred it would fit, as stored it does not
            nn.Sequential(nn.Input((1,), Levels(2**53, 2**53 + 1), offset=2**53))

    @given(st.integers(2**24 - 4, 2**24 + 4), st.integers(0, 2**32 - 1))
    @settings(max_examples=30)
    def test_inputs_around_two_to_the_24(self, top, seed):
        rng = np.random.default_rng(seed)
        model = nn.Sequential(
            nn.Input((3,), Levels(-top, top), offset=int(rng.integers(-3, 4)), unit=2**22),
            nn.Linear(3, 4, weights=int(rng.choice([2, 3, 255]))),
            nn.TanhD(int(rng.choice([2, 7, 300]))),
            nn.Linear(4, 2),
        )
        x = torch.from_numpy(rng.integers(-top, top + 1, (8, 3)))
        x[0], x[1] = top, -top
        assert_exact(model, x)
