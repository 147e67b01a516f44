"""A supernet at a placement is the stand-alone network with the same weights and statistics."""

import pytest
import torch
from torch import nn

from poolsearch.nets.build import NetSpec, build
from poolsearch.space import Placement
from poolsearch.supernet.norms import tracked_norm
from poolsearch.supernet.single_path import SinglePath

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ("4,3,3", "5,3,2", "4,1,5", "1,1,8", "8,1,1")
NORMS = ("batch", "calibrate", "per_placement")


@pytest.fixture
def make():
    def supernet(norm, name="cifar-resnet20", op=None, seed=0, width=2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SinglePath(lambda make_norm: build(NetSpec(name, 5, width, op), make_norm), norm)

    return supernet


def prefix_text(placement, block):
    return "_".join(f"{h}x{w}" for h, w in placement.sites[:block])


def stand_alone(supernet, placement, name, op, kept):
    """The network by itself, its BatchNorms filled with what the supernet keeps for this placement."""
    net = build(NetSpec(name, 5, 2, op), tracked_norm)
    state = {n: p.detach().clone() for n, p in supernet.net.named_parameters()}
    for module_name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            part, _, rest = module_name.partition(".")
            block, layer = rest.split(".", 1) if part == "blocks" else (-1, rest)
            where = f"{block}/{prefix_text(placement, int(block)) if part == 'blocks' else ''}/{layer}"
            state[f"{module_name}.running_mean"] = kept[f"{where}/mean_C"]
            state[f"{module_name}.running_var"] = kept[f"{where}/var_C"]
            state[f"{module_name}.num_batches_tracked"] = kept[f"{where}/batches"]
    net.load_state_dict(state, strict=True)
    return net.eval()


@pytest.mark.parametrize("norm", ["calibrate", "per_placement"])
@pytest.mark.parametrize(
    ("name", "op"), [("cifar-resnet20", "max"), ("cifar-resnet20", "stride"), ("resnet18", "stride")]
)
def test_a_placement_is_the_network_with_copied_weights_and_statistics(make, images, norm, name, op, statistics):
    supernet = make(norm, name, op)
    space = supernet.net.space
    placements = [space[n] for n in (0, space.size // 2, space.size - 1)]
    size = 12 if name.startswith("cifar") else 32
    for seed in range(3):
        for placement in placements:
            supernet.train()(images(size, seed=seed) * 2 + 1, placement)
    supernet.eval()
    x = images(size, seed=9)
    for placement in placements:
        with torch.no_grad():
            got, expected = (
                supernet(x, placement),
                stand_alone(supernet, placement, name, op, statistics(supernet))(x, placement),
            )
        assert torch.equal(got, expected)
        supernet_batch = make("batch", name, op).eval()
        assert not torch.allclose(got, supernet_batch(x, placement))  # the statistics are not the batch's


def test_batch_norm_is_a_network_without_norm_parameters_or_state(make, images):
    supernet = make("batch")
    assert {n for n, _ in supernet.net.named_buffers()} == set()
    assert not any("bn" in n for n, _ in supernet.net.named_parameters())
    x, placement = images(8), Placement.parse("5,3,2")
    assert torch.equal(supernet.train()(x, placement), supernet.eval()(x, placement))
    other = build(NetSpec("cifar-resnet20", 5, 2), lambda c: nn.BatchNorm2d(c, affine=False)).train()
    other.load_state_dict(dict(supernet.net.named_parameters()), strict=False)
    torch.testing.assert_close(supernet(x, placement), other(x, placement), rtol=0, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_weights_go_round(make, images, norm):
    a, b = make(norm, seed=0), make(norm, seed=1)
    placements = [Placement.parse(t) for t in TEXTS]
    for placement in placements:
        a.train()(images(8), placement)
    b.train()(images(8), Placement.parse("2,2,6"))  # what b had kept must go
    saved = {name: tensor.clone() for name, tensor in a.weights().items()}
    b.load_weights(saved)
    for placement in (*placements, Placement.parse("2,2,6")):
        assert torch.equal(a.eval()(images(8), placement), b.eval()(images(8), placement))
    again = b.weights()
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[name], saved[name]) for name in saved)


def test_weights_are_the_same_for_every_placement_that_trained(make, images):
    supernet = make("batch")
    names = supernet.weights().keys()
    for text in TEXTS:
        supernet.train()(images(8), Placement.parse(text)).sum().backward()
        assert supernet.weights().keys() == names


def test_placements_train_the_same_parameters(make, images):
    # one step on one placement moves another one's logits
    supernet = make("batch")
    one, other = Placement.parse("7,1,2"), Placement.parse("1,1,8")
    x = images(8)
    before = supernet(x, other).detach()
    supernet(x, one).square().sum().backward()
    with torch.no_grad():
        for p in supernet.parameters():
            p -= 0.1 * p.grad
    assert not torch.equal(supernet(x, other), before)
