from fractions import Fraction

import numpy as np
import pytest
import torch
from networks import assert_exact, batch
from torch.nn import functional as F

from zahlen import Levels, nn
from zahlen.machine import InputError, LayerError


class TestInput:
    def test_values_come_out_centred(self):
        model = nn.Sequential(nn.Input((2,), Levels(0, 255), offset=1000, unit=Fraction(5, 2)))
        assert model(torch.tensor([[0, 255]], dtype=torch.uint8)).tolist() == [[-1000, -745]]
        assert model.twin()(torch.tensor([[0, 255]])).tolist() == [[-400, -298]]
        assert_exact(model, batch(model))

    @pytest.mark.parametrize(
        "x", [torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), torch.zeros(1, 2, dtype=torch.complex64),
              torch.zeros(1, 2, dtype=torch.uint64), np.zeros((1, 2), dtype=np.int64), [[0, 0]]]
    )  # fmt: skip
    def test_what_is_no_integer_tensor_is_refused(self, x):
        with pytest.raises(InputError, match="integers"):
            nn.Sequential(nn.Input((2,), Levels(0, 9)), nn.Linear(2, 2))(x)

    @pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 2, 1), ()])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(InputError, match=r"Input: shape \(batch, 2\) is due"):
            nn.Input((2,), Levels(0, 9))(torch.zeros(shape, dtype=torch.int64))

    def test_values_outside_the_alphabet_are_refused(self):
        layer = nn.Input((1,), Levels(-4, 8, 3))
        for value in (-5, 9, 10, -(2**62), 2**62):
            with pytest.raises(InputError, match=r"the alphabet is -4\.\.8 step 3"):
                layer(torch.tensor([[value]]))
        for value in (-3, 0, 7):
            with pytest.raises(InputError, match="off the grid"):
                layer(torch.tensor([[value]]))
        assert layer(torch.tensor([[-4], [-1], [8]])).flatten().tolist() == [-4, -1, 8]

    def test_grids_of_narrow_types(self):
        layer = nn.Input((1,), Levels(100, 250, 50))
        assert layer(torch.tensor([[150], [250]], dtype=torch.uint8)).flatten().tolist() == [150, 250]
        layer = nn.Input((1,), Levels(-128, 127, 255))
        assert layer(torch.tensor([[-128], [127]], dtype=torch.int8)).flatten().tolist() == [-128, 127]

    def test_an_empty_batch_passes(self):
        model = nn.Sequential(nn.Input((2,), Levels(0, 9)), nn.Linear(2, 3), nn.TanhD(3))
        assert model(torch.zeros((0, 2), dtype=torch.int64)).shape == (0, 3)

    def test_numpy_integers_are_integers(self):
        layer = nn.Input((np.int64(2),), Levels(0, 9), offset=np.int32(3), unit=np.int64(5))
        assert all(type(v) is int for v in (layer.shape[0], layer.offset, layer.unit.numerator))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: nn.Input(3, Levels(0, 1)),
            lambda: nn.Input((0,), Levels(0, 1)),
            lambda: nn.Input((2.0,), Levels(0, 1)),
            lambda: nn.Input((2,), 256),
            lambda: nn.Input((2,), Levels(0, 1), unit=0),
            lambda: nn.Input((2,), Levels(0, 1), unit="x"),
            lambda: nn.Input((2,), Levels(0, 1), offset=0.5),
        ],
    )
    def test_arguments_that_make_no_input_are_refused(self, make):
        with pytest.raises(LayerError, match=r"^Input"):
            make()

    def test_the_batch_given_is_left_as_it_was(self):
        x = torch.tensor([[1, 2]])
        nn.Input((2,), Levels(0, 9), offset=5)(x)
        assert x.tolist() == [[1, 2]]


class TestStandardise:
    @pytest.mark.parametrize(("grain", "limit"), [(32, 127), (1, 1), (3, 5), (7, 2), (100, 1000)])
    def test_every_value_by_rational_arithmetic(self, grain, limit):
        mean, deviation = [0, -17, 40, 3], [0, 1, 7, 1000]
        model = nn.Sequential(
            nn.Input((4,), Levels(-300, 300)), nn.Standardise(mean, deviation, grain=grain, limit=limit)
        )
        x = torch.arange(-300, 301)[:, None].expand(-1, 4)
        expected = [
            [max(-limit, min((Fraction(grain * (v - m), max(d, 1)) + Fraction(1, 2)).__floor__(), limit))
             for m, d in zip(mean, deviation)] for v in range(-300, 301)
        ]  # fmt: skip
        assert model(x).tolist() == expected
        assert model.unit == grain
        assert_exact(model, x)

    def test_its_twin_knows_the_inputs_unit(self):
        model = nn.Sequential(nn.Input((1,), Levels(-300, 300), unit=10), nn.Standardise([5], [2], grain=4))
        assert model.twin()(torch.tensor([[7]])).tolist() == [[1]]

    @pytest.mark.parametrize(
        ("mean", "deviation", "options"),
        [([1.5], [1], {}), ([1], [1.5], {}), ([1, 2], [1], {}), ([[1]], [[1]], {}), ([], [], {}), ([1], [2**41], {}),
         ([1], [1], {"grain": 0}), ([1], [1], {"limit": 0}), ([1], [1], {"grain": 0.5}), ([1], [1], {"limit": 2**20})],
    )  # fmt: skip
    def test_what_would_not_be_exact_is_refused(self, mean, deviation, options):
        with pytest.raises(LayerError, match="Standardise"):
            nn.Standardise(mean, deviation, **options)

    def test_another_number_of_columns_is_refused(self):
        with pytest.raises(LayerError, match=r"Standardise.*receives shape \(3,\), not \(2,\)"):
            nn.Sequential(nn.Input((3,), Levels(0, 1)), nn.Standardise([0, 0], [1, 1]))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint32])
def test_twins_keep_small_differences_of_large_integers(dtype):
    x, grid = (10**9 + torch.arange(200))[:, None].to(dtype), Levels(10**9, 10**9 + 199)
    expected = torch.arange(200)[:, None]
    model = nn.Sequential(nn.Input((1,), grid, offset=10**9 + 100, unit=8))
    assert (model.twin()(x) == (expected - 100) / 8).all()
    for offset, unit in ((0, 1), (10**9, 3)):
        model = nn.Sequential(
            nn.Input((1,), grid, offset=offset, unit=unit),
            nn.Standardise([10**9 + 100 - offset], [8], grain=8, limit=200), nn.Linear(1, 2),
        )  # fmt: skip
        assert (model.twin()[:2](x) == (expected - 100) / 8).all()
        assert (model[:2](x) == expected - 100).all()
        assert model.twin()(x).shape == (200, 2)


def test_reshapes_keep_the_order():
    model = nn.Sequential(nn.Input((2, 3), Levels(0, 9)), nn.Reshape(3, 2), nn.Reshape(1, 6, 1), nn.Flatten())
    x = batch(model)
    assert (model(x) == x.flatten(1)).all()
    assert (model[1](model[0](x)) == x.reshape(-1, 3, 2)).all()
    assert_exact(model, x)
    assert model.twin()(x).shape == (6, 6)
    for shape in [(4, 2), (-2, -3), (0,)]:
        with pytest.raises(LayerError, match="Reshape"):
            nn.Sequential(nn.Input((2, 3), Levels(0, 9)), nn.Reshape(*shape))


@pytest.mark.parametrize("alphabet", [Levels(-9, -2), Levels(3, 9), Levels(-4, 8, 3)])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, None, 1), ((3, 2), (1, 2), (1, 1)), (1, 3, 0), (4, 2, 2)])
def test_pools(alphabet, size, stride, padding):
    for kind in (nn.MaxPool2d, nn.SumPool2d):
        model = nn.Sequential(nn.Input((2, 5, 4), alphabet, unit=3), kind(size, stride, padding))
        x = batch(model, 8)
        assert_exact(model, x)
        assert (model.twin()(x).shape) == model(x).shape
        lo, hi = model(x).aminmax()
        assert model.output.alphabet.lo <= lo <= hi <= model.output.alphabet.hi
        if kind is nn.MaxPool2d:  # padding is never the maximum, however negative the values
            assert (model(x) == F.max_pool2d(x.double(), size, stride, padding)).all()
        else:
            window = torch.ones(2, 1, *model[1].kernel_size, dtype=torch.float64)
            summed = F.conv2d(x.double(), window, None, model[1].stride, padding, groups=2)
            assert (model(x) == summed).all()
            assert model.unit == 3 * window[0].numel()


def test_sums_beyond_float32_are_carried_in_float64():
    model = nn.Sequential(nn.Input((1, 2, 2), Levels(0, 2**23 - 1)), nn.SumPool2d(2))
    x = torch.full((1, 1, 2, 2), 2**23 - 1)
    x[0, 0, 0, 0] -= 1
    assert model(x).item() == 4 * (2**23 - 1) - 1
    with pytest.raises(LayerError, match=r"SumPool2d.*53 bits"):
        nn.Sequential(nn.Input((1, 2, 2), Levels(0, 2**52)), nn.SumPool2d(2))


def test_pools_that_do_not_fit_are_refused():
    for kind in (nn.MaxPool2d, nn.SumPool2d):
        for arguments in [(2, None, 2), (0,), ((2, 2, 2),), (2, 0), (2, 1, -1), ("2",)]:
            with pytest.raises(LayerError, match="Pool2d"):
                kind(*arguments)
        with pytest.raises(LayerError, match=r"Pool2d.*not \(channels, height, width\)"):
            nn.Sequential(nn.Input((4, 4), Levels(0, 1)), kind(2))
        with pytest.raises(LayerError, match=r"Pool2d.*does not fit"):
            nn.Sequential(nn.Input((1, 2, 2), Levels(0, 1)), kind(3))


@pytest.mark.parametrize(
    "layer", [nn.MaxPool2d(1), nn.SumPool2d(1), nn.Flatten(), nn.Reshape(4), nn.Standardise([0] * 2, [1] * 2)]
)
def test_a_layer_on_its_own_says_where_it_belongs(layer):
    with pytest.raises(LayerError, match=r"nn.Sequential that begins with nn.Input"):
        layer(torch.ones(1, 1, 2, 2))
