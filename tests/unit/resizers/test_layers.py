"""The layers against closed forms, finite differences and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.resizers import (
    DiffStride,
    DynOPool,
    Resizer,
    ShapeAdaptor,
    adaptor_count,
    common_scale,
    freeze,
    gmacs_cost,
    map_sizes,
    parameter_groups,
    resizer_parameters,
    stride_cost,
)
from poolsearch.resizers.diffstride import crop_spectrum, spectral_mask
from poolsearch.resizers.dynopool import query_places, sample

LAYERS = {
    "diffstride": lambda: DiffStride((2.0, 3.0), smoothness=2.0),
    "shape-adaptor": lambda: ShapeAdaptor(0.7),
    "dynopool": lambda: DynOPool((0.5, 0.3)),
    "dynopool-4": lambda: DynOPool((0.45, 0.3), points=4),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


def maps(height: int = 13, width: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cosine(length: int, frequency: int) -> Tensor:
    """A map whose rows all are so many waves."""
    row = torch.cos(2 * math.pi * frequency * torch.arange(length, dtype=torch.float64) / length + 0.4)
    return row.expand(1, 1, length, length)


# What all have in common


@pytest.mark.parametrize(
    "layer", [DiffStride(1.0), DynOPool(1.0), ShapeAdaptor(1.0)], ids=lambda layer: type(layer).__name__
)
@pytest.mark.parametrize(("height", "width"), [(13, 16), (2, 7), (8, 8)])
def test_at_a_scale_of_one_maps_stay_as_they_are(layer: Resizer, height: int, width: int) -> None:
    x = maps(height, width)
    torch.testing.assert_close(layer(x), x, atol=1e-6, rtol=0)


@every_layer
def test_constants_stay_constant(make) -> None:
    made = make()(torch.full((2, 1, 33, 40), 3.7))
    torch.testing.assert_close(made, torch.full_like(made, 3.7))


@every_layer
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (16, 9), (31, 64)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_maps_have_the_declared_size_whatever_theirs_is(make, size: tuple[int, int], batch: int) -> None:
    layer = make()
    layer.start = None
    made = layer(torch.rand(batch, 2, *size))
    assert made.shape == (batch, 2, *layer.output_size(*size))
    assert all(1 <= now <= before for now, before in zip(made.shape[2:], size, strict=True))


@every_layer
def test_gradients_to_maps_are_those_of_finite_differences(make) -> None:
    x = maps(5, 6, dtype=torch.float64)[:1, :1].requires_grad_()
    assert torch.autograd.gradcheck(make().double(), (x,))


@pytest.mark.parametrize("name", ["diffstride", "shape-adaptor"])
def test_gradients_to_what_is_learned_are_those_of_finite_differences(name: str) -> None:
    layer = LAYERS[name]().double()
    x = maps(9, 12, dtype=torch.float64)[:1, :1]

    def run(value: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {parameter: value}, (x,))

    ((parameter, value),) = layer.named_parameters()
    assert torch.autograd.gradcheck(run, ((value.detach() + 0.013).requires_grad_(),))


@every_layer
@pytest.mark.parametrize("rate", [1e2, 1e6, 1e30])
def test_hostile_learning_rates_keep_all_bounds(make, rate: float) -> None:
    layer = nn.Sequential(make(), make())
    for one in layer:
        one.smallest = 2
    optimizer = torch.optim.SGD(layer.parameters(), rate)
    for step in range(6):
        x = maps(16, 20, seed=step)
        made = layer(x)
        assert made.isfinite().all()
        assert all(2 <= now <= before for now, before in zip(made.shape[2:], x.shape[2:], strict=True))
        optimizer.zero_grad()
        ((-1) ** step * made.square().sum()).backward()
        optimizer.step()
        assert all(0 < s <= 1 for one in layer for s in one.scales().tolist())


@every_layer
def test_half_precision_is_computed_in_single(make) -> None:
    layer, x = make(), maps(30, 25).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(x)
    made.float().sum().backward()
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, layer(x.float()).bfloat16())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    layer.freeze(30, 25)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x), made)


@every_layer
def test_a_frozen_layer_computes_the_same_and_learns_no_more(make) -> None:
    layer, x = make(), maps()
    before = layer(x)
    size = layer.freeze(13, 16)
    torch.testing.assert_close(layer(x), before)
    assert before.shape[2:] == size == layer.output_size(13, 16)
    assert not any(p.requires_grad for p in layer.parameters())
    with pytest.raises(ValueError, match=r"frozen for maps of 13x16 and was given 14x16: call thaw\(\)"):
        layer(maps(14, 16))
    layer.thaw()
    assert layer(maps(14, 16)).requires_grad


def test_a_layer_of_half_precision_freezes_in_single() -> None:
    layer, x = DiffStride(2.0, 2.0).bfloat16(), maps().bfloat16()
    before = layer(x)
    layer.freeze(13, 16)
    torch.testing.assert_close(layer(x), before)


def test_a_frozen_layer_follows_what_is_loaded() -> None:
    layer, other = DiffStride(2.0, 2.0), DiffStride(3.0, 2.0)
    layer.freeze(13, 16)
    layer.load_state_dict(other.state_dict())
    torch.testing.assert_close(layer(maps()), other(maps()).detach())
    assert [*layer.state_dict()] == ["stride"]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(1, 1, 4, 4, dtype=torch.complex64), "a map of torch.complex64: give floating-point maps"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), "a map of torch.int64: give floating-point maps"),
        (torch.zeros(1, 4, 4), r"a tensor of shape \[1, 4, 4\]: give maps of shape \(B, C, H, W\)"),
        ([1.0], "was given a list"),
        (torch.zeros(1, 1, 1, 9), "maps of 1x9: an axis of one pixel cannot be resized"),
    ],
)
@every_layer
def test_what_are_no_maps_is_refused(make, x, said: str) -> None:
    layer = make()
    with pytest.raises(ValueError, match=f"{type(layer).__name__} was given.*{said}|{type(layer).__name__} {said}"):
        layer(x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DiffStride(0.5), "stride is 0.5; give a number of at least 1"),
        (lambda: DiffStride((2, 2, 2)), r"stride is \(2, 2, 2\)"),
        (lambda: DiffStride(float("nan")), "stride is nan"),
        (lambda: DiffStride(smoothness=0), "smoothness is 0; give a number of frequencies above 0"),
        (lambda: DiffStride(smallest=0), "smallest is 0; give whole pixels, at least 1"),
        (lambda: ShapeAdaptor(0.4), "scale is 0.4; give one number, from 0.5 to 1.0"),
        (lambda: ShapeAdaptor((0.6, 0.7)), r"scale is \(0.6, 0.7\)"),
        (lambda: DynOPool(1.5), "scale is 1.5; give a number from 0.0001 to 1"),
        (lambda: DynOPool(points=3), "points is 3; a cell is sampled at 1 point or at 4"),
        (lambda: DiffStride(5.0)(maps(4, 8)), "maps of 4x8, too small to be divided by 5x5"),
        (lambda: DynOPool((1.0, 0.1))(maps(8, 9)), "maps of 8x9, too small to be divided by 1x10"),
        (lambda: adaptor_count(0), "lengths are 0 and 2"),
        (lambda: stride_cost([]), "no resizers to count the cost of"),
        (lambda: gmacs_cost([DynOPool()], [1.0, 2.0]), "1 resizers and 2 costs"),
    ],
)
def test_arguments_out_of_range_are_refused(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@every_layer
def test_infinite_parameters_are_the_end_of_their_range(make) -> None:
    layer = make()
    for value in (math.inf, -math.inf):
        with torch.no_grad():
            (parameter,) = layer.parameters()
            parameter.fill_(value)
        for training in (False, True):
            made = layer.train(training)(maps())
            assert made.isfinite().all()
            assert all(1 <= now <= before for now, before in zip(made.shape[2:], (13, 16), strict=True))


def test_a_diverged_training_is_said() -> None:
    layer = DiffStride()
    with torch.no_grad():
        layer.stride.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"DiffStride has learned .*nan.*the training diverged"):
        layer(maps())


# DiffStride


@pytest.mark.parametrize("frequency", [0, 1, 5, 8])
@pytest.mark.parametrize("length", [32, 33])
def test_a_wave_below_the_cut_is_the_same_wave_at_fewer_places(length: int, frequency: int) -> None:
    layer = DiffStride(2.0, smoothness=3.0).double()
    size = layer.output_size(length, length)[1]
    assert size == math.floor(length / 2 + 6)
    wave = math.cos(0.4) if frequency == 0 else None
    row = torch.cos(2 * math.pi * frequency * torch.arange(size, dtype=torch.float64) / size + 0.4)
    assert wave is None or row[0].item() == pytest.approx(wave)
    torch.testing.assert_close(layer(cosine(length, frequency))[0, 0], row.expand(size, size))


def test_a_wave_in_the_ramp_is_weakened_and_one_beyond_is_gone() -> None:
    layer = DiffStride(2.0, smoothness=4.0).double()  # 1 up to frequency 8, 0 from 12 on
    row = torch.cos(2 * math.pi * 10 * torch.arange(24, dtype=torch.float64) / 24 + 0.4)
    torch.testing.assert_close(layer(cosine(32, 10))[0, 0], (0.5 * row).expand(24, 24))
    assert (layer(cosine(32, 13)).abs() < 1e-12).all()


@pytest.mark.parametrize(("length", "stride"), [(32, 2.0), (36, 3.0), (25, 2.0), (24, 1.0)])
def test_a_band_limited_map_is_resampled_as_scipy_does(length: int, stride: float) -> None:
    layer = DiffStride(stride, smoothness=2.0).double()
    spectrum = torch.fft.rfft2(maps(length, length, dtype=torch.float64))
    low = int(length / (2 * stride))
    spectrum[:, :, low + 1 : length - low] = 0
    spectrum[:, :, :, low + 1 :] = 0
    x = torch.fft.irfft2(spectrum, s=(length, length))
    size = layer.output_size(length, length)
    theirs = scipy.signal.resample(scipy.signal.resample(x.numpy(), size[0], axis=2), size[1], axis=3)
    np.testing.assert_allclose(layer(x).detach().numpy(), theirs, atol=1e-12)


def test_cropping_any_spectrum_without_a_mask_is_scipys_resampling() -> None:
    x = maps(12, 20, dtype=torch.float64)
    for size in (20, 19, 12, 7, 2, 1):
        ours = crop_spectrum(x, torch.tensor(1.0, dtype=torch.float64), 4.0, size)
        np.testing.assert_allclose(ours.numpy(), scipy.signal.resample(x.numpy(), size, axis=3), atol=1e-12)


def test_the_mask_by_hand() -> None:
    stride = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    mask = spectral_mask(8, stride, 2.0, 5)  # 8 / (2 * 2) = 2, then a ramp over two frequencies
    assert mask.tolist() == [1.0, 1.0, 1.0, 0.5, 0.0]
    mask[3].backward()
    assert stride.grad is not None
    assert stride.grad.item() == pytest.approx(-8 / (2 * 2**2) / 2)


def test_the_size_of_the_crop_has_the_width_of_the_ramp_and_no_more_than_the_map() -> None:
    assert DiffStride(2.0).output_size(32, 64) == (24, 40)
    assert DiffStride((2.0, 4.0), smoothness=0.5).output_size(33, 33) == (17, 9)
    assert DiffStride(2.0).output_size(8, 12) == (8, 12)
    assert DiffStride(8.0, smoothness=0.1, smallest=3).output_size(8, 16) == (3, 3)


@pytest.mark.parametrize("layer", [DiffStride(1.0), DynOPool(1.0)], ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("size", [(16, 16), (13, 9)])
def test_a_stride_of_one_can_still_grow(layer: DiffStride | DynOPool, size: tuple[int, int]) -> None:
    layer.zero_grad()
    layer(maps(*size)).square().sum().backward()
    assert layer.stride.grad is not None
    assert (layer.stride.grad != 0).all()
    layer.zero_grad()
    layer.scales().sum().backward()
    assert layer.stride.grad.tolist() == [-1.0, -1.0]


def test_the_regulariser_by_hand() -> None:
    layers = [DiffStride((2.0, 4.0)), DiffStride(2.0)]
    cost = stride_cost(layers)
    assert cost.item() == pytest.approx(1 / 8 + 1 / 8 / 4)
    cost.backward()
    assert layers[1].stride.grad is not None
    assert layers[1].stride.grad.tolist() == pytest.approx([-1 / 8 / 8, -1 / 8 / 8])


# DynOPool


def test_at_one_half_it_is_bilinear_interpolation() -> None:
    x = maps(14, 18)
    torch.testing.assert_close(DynOPool(0.5)(x), F.interpolate(x, (7, 9), mode="bilinear", align_corners=False))
    torch.testing.assert_close(DynOPool(0.5, points=4)(x), F.max_pool2d(x, 2))


@pytest.mark.parametrize("points", [1, 4])
@pytest.mark.parametrize("scale", [0.5, 0.33, (0.8, 0.61)])
def test_at_any_scale_it_is_interpolation_on_its_grid(points: int, scale) -> None:
    layer, x = DynOPool(scale, points), maps(15, 22)
    high, wide = layer.output_size(15, 22)
    side = math.isqrt(points)
    grid = F.interpolate(x, (high * side, wide * side), mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x), F.max_pool2d(grid, side))


def test_the_grid_by_hand() -> None:
    cell = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    places = query_places(5, 2, cell, (0.5,))
    assert places.tolist() == [0.75, 3.25]  # cells of 2.5 pixels have their centres at 1.25 and 3.75 from the border
    x = torch.tensor([0.0, 1.0, 4.0, 9.0, 16.0], dtype=torch.float64).expand(1, 1, 5, 5)
    assert sample(x, 3, places)[0, 0, 0].tolist() == [0.75, 9 + 0.25 * 7]
    assert sample(x.mT, 2, places)[0, 0, :, 0].tolist() == [0.75, 9 + 0.25 * 7]
    assert query_places(4, 2, torch.tensor(2.0), (0.25, 0.75)).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_sizes_are_the_nearest() -> None:
    assert DynOPool(0.5).output_size(5, 6) == (3, 3)
    assert DynOPool((0.3, 0.9)).output_size(10, 10) == (3, 9)
    assert DynOPool(0.01).output_size(100, 120) == (1, 1)
    assert DynOPool(0.1, smallest=4).output_size(10, 3 * 10) == (4, 4)


def test_gradients_to_places_are_those_of_finite_differences() -> None:
    x = maps(7, 8, dtype=torch.float64)[:1, :1]

    def run(cells: Tensor) -> Tensor:
        made = sample(x, 2, query_places(7, 3, cells[0], (0.25, 0.75)))
        return F.max_pool2d(sample(made, 3, query_places(8, 3, cells[1], (0.25, 0.75))), 2)

    cells = torch.tensor([2.21, 2.53], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (cells,))


def test_the_gradient_to_the_scale_is_that_to_the_length_of_a_cell() -> None:
    layer, x = DynOPool((3 / 7, 3 / 8), points=4).double(), maps(7, 8, dtype=torch.float64)
    layer(x).square().sum().backward()
    cells = torch.tensor([7 / 3, 8 / 3], dtype=torch.float64, requires_grad=True)
    made = sample(x, 2, query_places(7, 3, cells[0], (0.25, 0.75)))
    F.max_pool2d(sample(made, 3, query_places(8, 3, cells[1], (0.25, 0.75))), 2).square().sum().backward()
    torch.testing.assert_close(layer.stride.grad, cells.grad)


def test_the_penalty_of_computation_by_hand() -> None:
    layers = [DynOPool(0.5), DynOPool((0.5, 1.0))]
    assert gmacs_cost(layers, [2.0, 8.0]).item() == pytest.approx(2 / 4 + 8 / 8)


# Shape Adaptor


def test_the_mixture_by_hand() -> None:
    layer, x = ShapeAdaptor(0.75), maps(8, 12)
    pooled = F.interpolate(F.max_pool2d(x, 2), (6, 9), mode="bilinear", align_corners=False)
    whole = F.interpolate(x, (6, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x), (pooled + whole) / 2)


def test_at_the_least_scale_it_is_max_pooling() -> None:
    x = maps(8, 12)
    torch.testing.assert_close(ShapeAdaptor(0.5)(x), F.max_pool2d(x, 2), atol=1e-6, rtol=0)


def test_the_penalty_multiplies_the_scale_down_to_its_least() -> None:
    layer = ShapeAdaptor(0.8)
    layer.penalty = 0.75
    assert layer.scales().tolist() == pytest.approx([0.6, 0.6])
    layer.penalty = 0.1
    assert layer.output_size(10, 10) == (5, 5)


def test_how_many_and_with_which_scale_by_hand() -> None:
    assert [adaptor_count(32), adaptor_count(33), adaptor_count(56), adaptor_count(2)] == [4, 5, 5, 1]
    assert common_scale(32, 8, 4) == pytest.approx(0.25**0.25)
    assert common_scale(32, 2, 4) == 0.51
    assert common_scale(32, 32, 4) == 0.99


# In a network of one's own


def plain_net() -> nn.Sequential:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3, padding=1)
    return nn.Sequential(DiffStride(2.0, 2.0), conv, DynOPool(0.7, points=4), ShapeAdaptor(0.7), nn.BatchNorm2d(4))


def test_sizes_can_be_logged_and_frozen() -> None:
    net, x = plain_net(), torch.rand(4, 1, 20, 24)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert map_sizes(net, x[:1]) == {"0": (14, 16), "2": (10, 11), "3": (7, 8)}
    assert net.training
    assert net(x).shape[2:] == (7, 8)
    net.load_state_dict(before)
    assert freeze(net, x[:1]) == map_sizes(net, x)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_layer_used_at_two_sizes_is_refused_by_its_name() -> None:
    layer = DynOPool(0.5)
    with pytest.raises(ValueError, match="resizer '0' is given maps of two sizes in one pass, 8x8 and 4x4"):
        map_sizes(nn.Sequential(layer, nn.ReLU(), layer), torch.rand(1, 1, 8, 8))


def test_resizers_learn_at_their_own_rate_and_without_decay() -> None:
    net = plain_net()
    others, resizing = parameter_groups(net, lr=0.1, weight_decay=0.01, resizer_lr=0.5)
    assert resizing["params"] == resizer_parameters(net) == [net[0].stride, net[2].stride, net[3].logit]
    assert (resizing["lr"], resizing["weight_decay"]) == (0.5, 0.0)
    assert (others["lr"], others["weight_decay"]) == (0.1, 0.01)
    assert {*others["params"], *resizing["params"]} == {*net.parameters()}
    freeze(net, torch.rand(1, 1, 20, 24))
    assert parameter_groups(net, lr=0.1)[1]["params"] == []
    torch.optim.SGD(parameter_groups(net, lr=0.1))


@pytest.mark.nightly  # compiling takes long
def test_a_compiled_network_computes_the_same() -> None:
    net, x = plain_net().eval(), torch.rand(2, 1, 20, 24)
    compiled = torch.compile(net, backend="eager")
    torch.testing.assert_close(compiled(x), net(x))
    freeze(net, x)
    torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(x), net(x))


def test_a_frozen_network_is_exported_to_onnx(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    net, x = plain_net().eval(), torch.rand(2, 1, 20, 24)
    freeze(net, x)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(net, (x,), dynamo=True, verbose=False, dynamic_shapes=({0: batch},))
    assert program is not None
    program.save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(3, 1, 20, 24)
    (made,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    np.testing.assert_allclose(made, net(images).detach().numpy(), atol=1e-5)


def test_the_layers_need_nothing_else_of_the_package() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from poolsearch.resizers import DiffStride, ShapeAdaptor, DynOPool; "
        "print(sorted(m for m in sys.modules if m.startswith('poolsearch.') and 'resizers' not in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
