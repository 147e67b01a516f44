"""poolsearch's own networks as exported code."""

import pytest
import torch

from poolsearch.exporting.builtin_code import builtin_code
from poolsearch.exporting.model_card import features_of, reductions, states_of
from poolsearch.nets.build import OWN_OPS, NetSpec, build
from poolsearch.space import Placement

pytestmark = pytest.mark.usefixtures("one_thread")

PLACEMENTS = {
    "cifar-resnet20": ["4,3,3", "1,1,8", "h 4,3,3 w 3,4,3", "h 2,4,4 w 8,1,1", "at 0,0,2,1,1,2,0,0,1,2"],
    "resnet18": ["2,2,2,2", "1,3,3,1", "at 0,1,3,2,2,0,1,1"],
    "cifar-resnet18": ["3,2,2,2", "1,6,1,1"],
    "resnet50": ["3,4,6,3", "1,1,1,13", "h 3,4,6,3 w 4,3,6,3"],
}


@pytest.mark.parametrize("op", OWN_OPS)
@pytest.mark.parametrize(("name", "text"), [(n, text) for n, texts in PLACEMENTS.items() for text in texts])
def test_logits_and_maps_are_equal_to_the_bit(name, text, op, facts, run_code, images, randomise_norms, same_maps):
    spec, placement = NetSpec(name, 5, 4, op), Placement.parse(text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = randomise_norms(build(spec)).eval()
    exported = run_code(builtin_code(facts(spec, placement), features_of(spec, placement)), net.state_dict())
    loaded, x = exported.load(), images(64)
    with torch.no_grad():
        logits, states = states_of(net, x, placement)
        assert torch.equal(net(x, placement), logits)
        assert torch.equal(loaded(x), logits)
    assert loaded.state_dict().keys() == net.state_dict().keys()
    same_maps(exported.Backbone(loaded), states, 64, x)


def test_a_gradient_step_moves_the_weights_as_in_the_network(facts, run_code, images, randomise_norms):
    """Training goes on as in the network: the same gradients, the same running statistics."""
    spec, placement = NetSpec("cifar-resnet20", 5, 4, "stride"), Placement.parse("2,5,3")
    net = randomise_norms(build(spec)).train()
    state = {name: t.clone() for name, t in net.state_dict().items()}
    loaded = run_code(builtin_code(facts(spec, placement), features_of(spec, placement)), state).load().train()
    x = images(16, count=4)
    net(x, placement).square().sum().backward()
    loaded(x).square().sum().backward()
    theirs = dict(net.named_parameters())
    assert all(torch.equal(p.grad, theirs[name].grad) for name, p in loaded.named_parameters())
    assert all(torch.equal(b, net.state_dict()[name]) for name, b in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("name", "text", "strides"),
    [
        ("cifar-resnet20", "4,3,3", [1, 2, 4]),
        ("resnet18", "1,3,2,2", [4, 8, 16, 32]),  # the ImageNet stem has a quarter of the image's size
        ("cifar-resnet20", "h 4,3,3 w 3,4,3", [(1, 1), (1, 2), (2, 2), (4, 4)]),
    ],
)
def test_strides_of_the_maps(name, text, strides):
    assert reductions(features_of(NetSpec(name, 5, 4), Placement.parse(text))) == strides


def test_channels_follow_the_last_block_of_each_resolution():
    """Channels belong to blocks, not to resolutions: of 16, 16, 16, 16, 32, 32, 32, 64, 64, 64 the 2nd, 8th, 10th."""
    found = features_of(NetSpec("cifar-resnet20", 5), Placement.parse("2,6,2"))
    assert [f.channels for f in found] == [16, 64, 64]


def test_only_the_classes_needed_are_written(facts):
    placement = Placement.parse("4,3,3")
    spec = NetSpec("cifar-resnet20", 5, 4, "max")
    code = builtin_code(facts(spec, placement), features_of(spec, placement))
    assert "class BasicBlock" in code and "POOLED = {4: 2, 7: 2}" in code
    assert not any(name in code for name in ("Bottleneck", "ImageNetStem", "def blur", "stride=2", "poolsearch."))
