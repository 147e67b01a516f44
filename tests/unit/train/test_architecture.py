"""Steps of the architecture: by hand, and the second order against finite differences and a problem solved on paper."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poolsearch.nets.build import NetSpec, build
from poolsearch.settings.search_groups import RelaxedSettings
from poolsearch.supernet.relaxed import Relaxed
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train.architecture import (
    LEAST,
    Architecture,
    Darts,
    Gaea,
    exponentiated,
    first_order,
    frozen_parameters,
    make_architecture,
    second_order,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
PLAIN = torch.amp.GradScaler("cpu", enabled=False)


def test_darts_begins_equal_and_its_weights_are_the_softmax_of_each_row() -> None:
    darts = Darts(2, 3, "adam", 0.01)
    assert torch.allclose(darts.weight_LR(), torch.full((2, 3), 1 / 3))
    darts.parameter.data.copy_(torch.tensor([[0.0, math.log(2), math.log(3)], [1.0, 1.0, 1.0 + math.log(2)]]))
    assert torch.allclose(darts.weight_LR(), torch.tensor([[1 / 6, 2 / 6, 3 / 6], [1 / 4, 1 / 4, 2 / 4]]))


def test_the_gradient_goes_through_the_softmax() -> None:
    """d/d theta_r of a sum g_s w_s is w_r (g_r - sum_s w_s g_s)."""
    darts = Darts(1, 3, "sgd", 1.0)
    darts.parameter.data.copy_(torch.tensor([[0.0, math.log(2), math.log(3)]]))
    g = torch.tensor([[6.0, 0.0, 12.0]])
    (gradient,) = torch.autograd.grad((darts.weight_LR() * g).sum(), darts.parameter)
    assert torch.allclose(gradient, torch.tensor([[-1 / 6, -7 / 3, 5 / 2]]))  # the mean of g is 7


def test_adams_first_step_is_its_rate_against_the_sign() -> None:
    darts = Darts(2, 2, "adam", 0.01)
    darts.step(torch.tensor([[0.3, -2.0], [1e-3, -1e-2]]))
    assert torch.allclose(darts.parameter, torch.tensor([[0.99, 1.01], [0.99, 1.01]]), atol=1e-6)


def test_adams_second_step_by_hand() -> None:
    darts = Darts(1, 2, "adam", 0.01)
    for g in (1.0, 3.0):
        darts.step(torch.tensor([[g, -g]]))
    m, v = (0.1 * 0.9 * 1 + 0.1 * 3) / (1 - 0.9**2), (0.001 * 0.999 * 1 + 0.001 * 9) / (1 - 0.999**2)
    moved = 0.01 + 0.01 * m / math.sqrt(v)
    assert torch.allclose(darts.parameter, torch.tensor([[1 - moved, 1 + moved]]), atol=1e-6)


def test_sgd_is_plain_descent() -> None:
    darts = Darts(1, 2, "sgd", 0.1)
    for _ in range(2):
        darts.step(torch.tensor([[1.0, -2.0]]))
    assert torch.allclose(darts.parameter, torch.tensor([[0.8, 1.4]]))


def test_a_gaea_step_by_hand() -> None:
    gaea = Gaea(1, 3, 0.1)
    assert torch.equal(gaea.weight_LR(), torch.full((1, 3), 1 / 3))
    gaea.step(torch.tensor([[0.0, 10 * math.log(2), -10 * math.log(3)]]))  # times 1, 1/2 and 3
    assert torch.allclose(gaea.weight_LR(), torch.tensor([[2 / 9, 1 / 9, 6 / 9]]))


def test_a_weight_in_gaea_never_falls_below_its_least() -> None:
    weight = exponentiated(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 1000.0]]), 0.1)
    assert torch.allclose(weight, torch.tensor([[0.5, LEAST]]) / (0.5 + LEAST))
    assert weight.sum() == pytest.approx(1)
    # and so it can rise again
    assert exponentiated(weight, torch.tensor([[0.0, -200.0]]), 0.1)[0, 1] > 0.99


def test_a_gaea_step_is_the_minimum_of_loss_and_divergence() -> None:
    """Exponentiated gradient is mirror descent: it minimises lr g.w + KL(w || before) on the simplex."""
    before, g = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[1.0, -2.0, 0.5]])
    after = exponentiated(before, g, 0.1)

    def value(w: Tensor) -> float:
        return float((0.1 * g * w + w * (w / before).log()).sum())

    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        aside = (after + 0.02 * torch.randn(1, 3, generator=draw)).clamp(min=1e-6)
        assert value(after) <= value(aside / aside.sum()) + 1e-7


@pytest.mark.parametrize(
    ("method", "settings", "lr", "kind"),
    [
        ("darts", RelaxedSettings(arch_lr=0.01), 0.01, Darts),
        ("darts", RelaxedSettings(arch_optimizer="sgd", arch_lr=0.3), 0.3, Darts),
        ("gaea", RelaxedSettings(arch_lr=0.1), 0.1, Gaea),
    ],
)
def test_the_settings_make_the_architecture(method: str, settings: RelaxedSettings, lr: float, kind: type) -> None:
    made = make_architecture(method, 9, 3, settings, CPU)
    assert isinstance(made, kind) and made.parameter.shape == (9, 3)
    before = made.parameter.detach().clone()
    made.step(torch.full((9, 3), 0.5) * torch.tensor([1.0, 0.0, -1.0]))
    moved = float((before - made.parameter).detach().abs().max())
    expected = {"adam": lr, "sgd": 0.5 * lr}[settings.arch_optimizer]
    if method == "gaea":
        e = math.exp(0.05)
        expected = e / (e + 1 + 1 / e) - 1 / 3
    assert moved == pytest.approx(expected, rel=1e-4)


MAKERS = (lambda: Darts(2, 3, "adam", 0.01), lambda: Darts(2, 3, "sgd", 0.1), lambda: Gaea(2, 3, 0.1))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("steps", [0, 3])
def test_an_architecture_goes_on_from_its_tensors_to_the_bit(make, steps: int) -> None:
    draw = torch.Generator().manual_seed(0)
    whole: Architecture = make()
    for _ in range(steps):
        whole.step(torch.randn(2, 3, generator=draw))
    again: Architecture = make()
    again.load({name: tensor.clone() for name, tensor in whole.tensors().items()})
    for _ in range(3):
        gradient = torch.randn(2, 3, generator=draw)
        for each in (whole, again):
            each.step(gradient.clone())
    assert torch.equal(whole.parameter, again.parameter)
    assert whole.tensors().keys() == again.tensors().keys()


class Quadratic(nn.Module):
    """One weight w and one architecture a: the losses are those of the test below."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, a: Tensor) -> Tensor:
        return self.w * a


def test_the_second_order_of_a_quadratic_problem_solved_on_paper() -> None:
    """train = (w a - 1)^2 / 2, val = (w a - 3)^2 / 2, at w = 2, a = 1/2, lr = 1/10, weight decay 1/5.

    The step: grad_w train = (w a - 1) a = 0, so w' = 2 - 1/10 (0 + 2/5) = 1.96.
    d w'/da = -lr (2 w a - 1) = -1/10. With w' a - 3 = -2.02:
    d val/da = -2.02 (w' + a dw'/da) = -2.02 (1.96 - 0.05) = -3.8582; to first order -2 * 2 = -4.
    """
    net, a = Quadratic(2.0), torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def loss(target: float):
        return lambda forward: (forward(a) - target) ** 2 / 2

    assert float(second_order(net, a, loss(1), loss(3), 0.1, 0.2)) == pytest.approx(-3.8582, abs=1e-12)
    assert float(first_order(net, a, loss(3), PLAIN)) == pytest.approx(-4)
    assert net.w.item() == 2 and net.w.grad is None and a.grad is None


@pytest.fixture(scope="module")
def problem():
    """A tiny relaxed ResNet20 in float64 and two minibatches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        supernet = SinglePath(lambda norm: build(NetSpec("cifar-resnet20", 5, 2), norm), "batch").double()
        batches = [(torch.randn(6, 3, 9, 9).double(), torch.arange(6) % 5) for _ in range(2)]
        theta = torch.randn(9, 3).double()
    return Relaxed(supernet), batches, theta


def test_the_second_order_is_the_slope_of_the_loss_after_the_step(problem) -> None:
    relaxed, (train, val), theta = problem
    lr, decay, theta = 0.05, 0.1, theta.clone().requires_grad_()

    def loss(batch):
        return lambda forward: F.cross_entropy(forward(batch[0], theta.softmax(1)), batch[1])

    exact = second_order(relaxed, theta, loss(train), loss(val), lr, decay)
    saved = [p.detach().clone() for p in relaxed.parameters()]

    def after_a_step() -> float:
        gradients = torch.autograd.grad(loss(train)(relaxed), list(relaxed.parameters()))
        with torch.no_grad():
            for p, g in zip(relaxed.parameters(), gradients, strict=True):
                p -= lr * (g + decay * p)
            found = float(loss(val)(relaxed))
            for p, before in zip(relaxed.parameters(), saved, strict=True):
                p.copy_(before)
        return found

    draw = torch.Generator().manual_seed(1)
    for _ in range(3):  # along random directions of the architecture
        way, before = torch.randn(9, 3, generator=draw).double(), theta.detach().clone()
        ends = []
        for sign in (1, -1):
            theta.data.copy_(before + sign * 1e-5 * way)
            ends.append(after_a_step())
        theta.data.copy_(before)
        assert float((exact * way).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)
    first = first_order(relaxed, theta, loss(val), PLAIN)
    assert (exact - first).abs().max() > 1e-3 * first.abs().max(), "the two are not the same thing"
    assert torch.allclose(second_order(relaxed, theta, loss(train), loss(val), 0.0, decay), first, atol=1e-12)


def test_the_first_order_is_the_gradient_with_the_weights_held_and_leaves_nothing_behind(problem) -> None:
    relaxed, (_, val), theta = problem
    theta = theta.clone().requires_grad_()
    seen: list[bool] = []

    def loss(forward) -> Tensor:
        seen.append(any(p.requires_grad for p in relaxed.parameters()))
        return F.cross_entropy(forward(val[0], theta.softmax(1)), val[1])

    found = first_order(relaxed, theta, loss, PLAIN)
    assert seen == [False], "the weights' gradients are not computed"
    assert all(p.requires_grad and p.grad is None for p in relaxed.parameters())
    loss(relaxed).backward()
    assert torch.allclose(found, theta.grad, atol=1e-12)
    relaxed.zero_grad(set_to_none=True)


def test_parameters_that_were_frozen_stay_so() -> None:
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    with pytest.raises(KeyError), frozen_parameters(net):
        assert not net.weight.requires_grad
        raise KeyError
    assert net.weight.requires_grad and not net.bias.requires_grad


def test_a_scaled_gradient_is_scaled_back_and_one_that_overflows_counts_as_zero() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    net, a = nn.Linear(2, 1, bias=False), torch.tensor([2.0, 3.0], requires_grad=True)
    net.weight.data.copy_(torch.tensor([[0.5, -1.0]]))
    assert torch.allclose(first_order(net, a, lambda f: f(a).sum(), scaler), torch.tensor([0.5, -1.0]))
    net.weight.data.copy_(torch.tensor([[0.5, 3e38]]))
    assert torch.allclose(first_order(net, a, lambda f: f(a).sum(), scaler), torch.tensor([0.5, 0.0]))


def test_second_order_in_mixed_precision_has_the_same_direction(problem) -> None:
    relaxed, batches, theta = problem
    single = Relaxed(
        SinglePath(lambda norm: build(NetSpec("cifar-resnet20", 5, 2), norm), "batch")
    )  # the same weights in float32
    single.load_state_dict({name: p.float() for name, p in relaxed.state_dict().items()})
    theta = theta.float().requires_grad_()
    found = []
    for on in (False, True):

        def loss(batch, on=on):
            def value(forward) -> Tensor:
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
                    logits = forward(batch[0].float(), theta.softmax(1))
                return F.cross_entropy(logits.float(), batch[1])

            return value

        found.append(second_order(single, theta, *map(loss, batches), 0.05, 0.1))
    exact, mixed = found
    assert mixed.dtype == torch.float32 and mixed.isfinite().all()
    # second derivatives of nine blocks at two-pixel maps, of which bfloat16 keeps eight bits each
    assert F.cosine_similarity(exact.flatten(), mixed.flatten(), 0) > 0.8
