import warnings
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zahlen import Levels, nn
from zahlen.grids import LARGEST, default_scale, weight_grid
from zahlen.machine import LayerError
from zahlen.nn.weights import on_grid

GRIDS = [Levels(-127, 127), Levels(-1, 1), Levels(-1, 1, 2), Levels(-15, 15, 2), Levels(0, 10, 5), Levels(-6, 6, 3)]
GRIDS += [Levels(-7, -1, 2), Levels(1, 13, 4), Levels(-9, 3, 6)]


@given(st.sampled_from(GRIDS), st.integers(-300, 300), st.sampled_from([1, 2, 8, 512]))
def test_the_nearest_element(grid, eighths, scale):
    latent = torch.tensor([eighths / 8 / scale])  # exact in float32, and so is the product
    result = on_grid(latent, scale, grid).item()
    assert int(result) in grid
    distances = {v: abs(Fraction(eighths, 8) - v) for v in range(grid.lo, grid.hi + 1, grid.step)}
    assert distances[int(result)] == min(distances.values())


def test_binary_weights_are_signs_even_of_the_smallest():
    latent = torch.tensor([1e-30, -1e-30, 0.0, -0.0, 0.4, -0.4, 9.0, -9.0])
    assert on_grid(latent, 1, Levels(-1, 1, 2)).tolist() == [1, -1, 1, 1, 1, -1, 1, -1]


def test_the_gradient_passes_straight_through_times_the_scale():
    latent = torch.tensor([0.5, -0.25, 0.0], requires_grad=True)
    on_grid(latent, 8, Levels(-127, 127)).backward(torch.tensor([1.0, -2.0, 3.0]))
    assert latent.grad.tolist() == [8, -16, 24]


@pytest.mark.parametrize("grid", [Levels(-3, 3), Levels(-3, 3, 2), Levels(-3, 3, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clipped_weights_get_inward_gradients_only(grid, dtype):
    # a step goes against the gradient: a negative one pushes up
    latent = torch.tensor([4.0, 4.0, -4.0, -4.0, 1.0, 1.0, 3.0, 3.0], dtype=dtype, requires_grad=True)
    on_grid(latent, 1, grid).backward(torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]))
    assert latent.grad.tolist() == [1, 0, 0, -1, 1, -1, 1, -1]
    assert latent.grad.dtype == dtype


def test_clipping_holds_where_subnormal_numbers_are_flushed():
    torch.set_flush_denormal(True)
    try:
        latent = torch.tensor([4.0, 1.0], requires_grad=True)
        on_grid(latent, 1, Levels(-3, 3)).backward(torch.tensor([-1.0, -1.0]))
        assert latent.grad.tolist() == [0, -1]
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_latent_weights_that_are_no_numbers_are_refused(value):
    with pytest.raises(LayerError, match="no longer finite"):
        on_grid(torch.tensor([0.0, value]), 1, Levels(-3, 3))


def test_grids_by_number_of_values():
    assert [weight_grid(n).size for n in (2, 3, 4, 15, 16, 255)] == [2, 3, 4, 15, 16, 255]
    assert all(weight_grid(n).lo == -weight_grid(n).hi for n in range(2, 300))
    assert all((0 in weight_grid(n)) == (n % 2 == 1) for n in range(2, 300))


@pytest.mark.parametrize("weights", [1, 0, -3, True, 2.0, "3", Levels(2, 2), Levels(0, LARGEST + 1), 2**24 + 1])
def test_what_is_no_grid_is_refused(weights):
    with pytest.raises(LayerError, match="weights"):
        weight_grid(weights)


@given(st.integers(2, 300), st.integers(1, 5000))
def test_default_scales_are_whole_and_fine_ones_powers_of_two(values, fan_in):
    scale = default_scale(weight_grid(values), fan_in)
    assert scale >= 1
    assert values < 15 or scale & (scale - 1) == 0


def test_default_scales_are_decided_by_integers():
    for grid, scales in {
        Levels(-127, 127): {784: 512, 256: 256, 64: 128},
        Levels(-7, 7): {784: 32, 256: 16},
        Levels(-1, 1): {784: 28, 256: 16, 1: 1, 2: 1, 3: 2, 6: 2, 7: 3},
        # exact ties between two powers of two go up
        Levels(-128, 127): {8: 64, 32: 128, 128: 256, 512: 512, 2048: 1024, 8192: 2048, 7: 32, 31: 64, 127: 128},
        Levels(-(10**6), 10**6): {10**6: 2**27},
    }.items():
        assert {n: default_scale(grid, n) for n in scales} == scales


@given(st.integers(2, 300), st.integers(1, 10**6))
def test_default_scales_never_fall_with_the_fan_in(values, fan_in):
    grid = weight_grid(values)
    scale, reach = default_scale(grid, fan_in), fan_in * grid.hi**2
    assert scale <= default_scale(grid, fan_in + 1)
    if grid.size >= 15 and scale > 1:
        assert 32 * scale**2 <= reach < 128 * scale**2
    if grid.size < 15:
        assert (2 * scale - 1) ** 2 <= 4 * reach < (2 * scale + 1) ** 2


def test_dead_weights_are_told_apart():
    with pytest.warns(UserWarning, match="Linear: all integer weights start equal; take a larger scale") as caught:
        nn.Linear(100, 3, weights=3, scale=1)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="Embedding") as caught:
        nn.Embedding(2, 1, weights=Levels(-1000, 1000, 1000), scale=1)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Linear(100, 3, weights=3)
