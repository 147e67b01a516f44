"""Small networks of one's own: cut by hand, moved along one axis, copied, moved to other formats, trained."""

import copy
import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.poolable import map_sizes
from poolsearch.nets.restride import prove, restride, space_of_model, use_batch_statistics
from poolsearch.space import HALVE, KEEP, Placement

pytestmark = pytest.mark.usefixtures("one_thread")


class Residual(nn.Module):
    """A block of a user's: relu(norm(conv) + shortcut), with dropout by function."""

    def __init__(self, inputs, outputs, stride, kernel=3):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else None

    def forward(self, x):
        shortcut = x if self.skip is None else self.skip(x)
        out = F.dropout(self.norm(self.conv(x)), 0.5, training=self.training)
        return F.relu(out + shortcut, inplace=True)


class Net(nn.Module):
    def __init__(self, blocks, channels, stem=None):
        super().__init__()
        self.stem = stem or nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, 5)

    def forward(self, x, unused=None):
        x = self.body(self.stem(x))
        if unused is not None:
            raise AssertionError
        return self.fc(x.mean(dim=(2, 3)))


def plain():
    torch.manual_seed(0)
    return Net([Residual(4, 4, 1), Residual(4, 8, 2), Residual(8, 8, 1), Residual(8, 8, 1), Residual(8, 12, 2)], 12)


@pytest.fixture
def net(images):
    return restride(plain(), images(16))


def test_blocks_of_ones_own_class_are_found_or_named(images):
    model = plain()
    found, named = restride(model, images(16)), restride(model, images(16), blocks=[f"body.{i}" for i in range(5)])
    for net in (found, named):
        assert [b.path for b in net.blocks] == [f"body.{i}" for i in range(5)]
        assert str(net.default) == "1,3,1"
    assert space_of_model(model, images(16)) == found.space
    assert found.space.size == 6


def test_names_may_join_submodules_and_leave_some_to_the_stem(images):
    net = restride(plain(), images(16), blocks=[("body.1", "body.2"), "body.3", "body.4"])
    # the first block halves, so that what stands before it is the first block
    assert [b.path for b in net.blocks] == ["stem", "body.1", "body.3", "body.4"]
    assert str(net.default) == "1,2,1"
    assert isinstance(net.stem, nn.Identity)


def test_sizes_are_known_by_hand(net):
    assert map_sizes(net, 13, 10, Placement.parse("2,1,2")) == [(13, 10), (13, 10), (7, 5), (4, 3), (4, 3)]
    by_axis = Placement.parse("1x0_0x1_0x0_1x1")
    assert map_sizes(net, 13, 10, by_axis) == [(13, 10), (7, 10), (7, 5), (7, 5), (4, 3)]


@pytest.mark.parametrize("site", [KEEP, HALVE, (1, 0), (0, 1)])
@pytest.mark.parametrize("index", [1, 2])
def test_a_block_at_any_site_is_convolutions_at_that_stride(net, index, site, images):
    block, x = net.model.eval().body[index], images(7, channels=4 * index)
    stride = (2 ** site[0], 2 ** site[1])
    with torch.no_grad():
        out = F.conv2d(x, block.conv.weight, stride=stride, padding=1)
        skip = (
            x[..., :: stride[0], :: stride[1]] if block.skip is None else F.conv2d(x, block.skip.weight, None, stride)
        )
        assert torch.equal(net.blocks[index](x, site), F.relu(block.norm(out) + skip))


def test_a_projection_takes_the_stride_of_a_block_that_keeps_its_size(images):
    torch.manual_seed(0)
    model = Net([Residual(4, 4, 1), Residual(4, 8, 2), Residual(8, 12, 1)], 12).eval()
    net, x = restride(model, images(16)), images(8, channels=8)
    assert net.how(2) == "body.2: like body.1: body.2.conv, body.2.skip at stride 2"
    block = model.body[2]
    skip = F.conv2d(x, block.skip.weight, stride=2)
    expected = F.relu(block.norm(F.conv2d(x, block.conv.weight, stride=2, padding=1)) + skip)
    assert torch.equal(net.blocks[2](x, HALVE), expected)


def test_a_tensor_that_is_no_buffer_is_read_from_the_model(images):
    class Normalised(Net):
        def forward(self, x):
            return super().forward((x - self.mean) / 2)

    torch.manual_seed(0)
    model = Normalised([Residual(4, 4, 1), Residual(4, 4, 1), Residual(4, 4, 2)], 4).eval()
    model.mean = torch.full((3, 1, 1), 0.5)
    net = restride(model, images(16))
    assert torch.equal(net(images(16), net.default), model(images(16)))
    net.check_input(16, 16)


def test_other_sites_are_refused(net, images):
    with pytest.raises(PoolsearchError, match=r"'body.1' cannot run at 2x2; it can at 0x0, "):
        net.blocks[1](images(8, channels=4), (2, 2))


def test_dropout_by_function_follows_the_mode(net, images):
    x, p = images(16), net.space[0]
    assert torch.equal(net.eval()(x, p), net(x, p))
    net.train()
    assert not torch.equal(net(x, p), net(x, p))
    net.model.body[1].eval()  # of its own module
    assert net.training


def test_the_models_mode_and_numbers_are_left_as_they_were(images):
    model = plain()
    model.body[2].eval()
    modes = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    restride(model, images(16))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_names_are_the_models_and_a_state_goes_both_ways(net, images):
    names = [f"model.{n}" for n, _ in plain().named_parameters()]
    assert [n for n, _ in net.named_parameters()] == names
    other, x = restride(plain(), images(16)), images(16)
    for p in net.parameters():
        p.data.add_(0.1)
    other.load_state_dict(net.state_dict())
    bare = plain()
    bare.load_state_dict(net.model.state_dict())
    net.eval(), other.eval(), bare.eval()
    assert torch.equal(other(x, net.space[3]), net(x, net.space[3]))
    assert torch.equal(bare(x), net(x, net.default))


def test_a_deep_copy_is_a_network_of_its_own(net, images):
    x, p = images(16), net.space[0]
    twin = copy.deepcopy(net.eval())
    pointers = [{t.data_ptr() for t in n.state_dict().values()} for n in (net, twin)]
    assert not pointers[0] & pointers[1]
    assert torch.equal(twin(x, p), net(x, p))
    before = net(x, p)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert torch.equal(net(x, p), before)
    assert (twin(x, p) == 0).all()
    assert twin.blocks[0].layers.body.get_submodule("0").conv is twin.model.body[0].conv


def test_an_optimizer_trains_what_the_model_has(net, images):
    before = [p.clone() for p in net.model.parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(images(16), net.space[2]).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, net.model.parameters(), strict=True))


def test_channels_last_double_precision_and_replaced_layers_are_seen(net, images):
    x, p = images(16), net.space[1]
    expected = net.eval()(x, p)
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    out = last(x.contiguous(memory_format=torch.channels_last), p)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    state = last.run_block(0, last.stem(x.contiguous(memory_format=torch.channels_last)), KEEP)
    assert state.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(copy.deepcopy(net).double()(x.double(), p).float(), expected, rtol=1e-4, atol=1e-5)
    net.model.fc = nn.Linear(12, 7)
    assert net(x, p).shape == (3, 7)


def test_fixed_is_one_placement(net, images):
    x, p = images(16), net.space[0]
    assert torch.equal(net.eval().fixed(p)(x), net(x, p))
    with pytest.raises(PoolsearchError, match="this network has 5"):
        net.fixed(Placement.parse("1,1"))


@pytest.mark.skipif(
    "recompile_limit" not in inspect.signature(torch.compile).parameters,
    reason="this torch is too old for --compile",  # 2.9 fails in this test, for a bug of its own
)
def test_fixed_compiles_whole(net, images):
    x, p = images(16), net.space[0]
    compiled = torch.compile(net.eval().fixed(p), backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), net(x, p))


@pytest.mark.parametrize("op", ["max", "avg", "blur"])
def test_pooling_ops_stand_before_the_block_at_full_size(op, images):
    from poolsearch.nets.poolable import pool

    net, x = restride(plain(), images(16), op=op).eval(), images(16)
    state = net.stem(x)
    for index, block in enumerate(net.blocks):
        state = block(pool(state, HALVE, op) if index in (2, 4) else state, KEEP)
    assert torch.equal(net(x, Placement.parse("2,2,1")), net.head(state))
    assert net.how(2) == f"body.2: {op} pooling 2x2 in front"


def test_the_stem_can_be_searched_too(images):
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2))
    model = Net([Residual(4, 4, 1), Residual(4, 4, 1), Residual(4, 8, 2)], 8, stem)
    fixed, net = restride(model, images(32)), restride(model, images(32), search_stem=True)
    assert str(fixed.default) == "2,1"
    # an empty first block at full resolution; the pooling stands in front of the block after it
    assert [b.path for b in net.blocks] == ["stem", "stem.0", "stem.2", "body.0", "body.1", "body.2"]
    assert str(net.default) == "1,2,2,1"
    assert [p for p in prove(net, model, net.space, images(32)) if not p.holds] == []


class Concatenating(nn.Module):
    """Two maps and a number stay alive between the blocks."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(n, 4, 3, s, 1) for n, s in ((3, 1), (4, 1), (4, 1)))
        self.d = nn.Conv2d(8, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        count = x.shape[0]
        first = self.a(x)
        second = self.b(first).relu()
        third = self.c(second)
        out = self.d(torch.cat([first, third], 1))
        return self.fc(out.mean((2, 3)).view(count, -1))


def test_several_maps_alive_are_shrunk_together(images):
    torch.manual_seed(0)
    model = Concatenating().eval()
    net, x = restride(model, images(8), blocks=["a", "b", "c", "d"]), images(8)
    assert str(net.default) == "3,1"
    # the third convolution is strided like the fourth; the first map goes past it, and is subsampled where it does
    second = model.b(model.a(x)).relu()
    third = F.conv2d(second, model.c.weight, model.c.bias, stride=2, padding=1)
    both = torch.cat([model.a(x)[..., ::2, ::2], third], 1)
    last = F.conv2d(both, model.d.weight, model.d.bias, padding=1)
    torch.testing.assert_close(net(x, Placement.parse("2,2")), model.fc(last.mean((2, 3))))
    assert torch.equal(net(x, net.default), model(x))
    assert [p for p in prove(net, model, net.space, x) if not p.holds] == []


class PreActivation(nn.Module):
    """Writes into what it is given, as blocks that begin with an activation in place do."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)
        self.tail = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x):
        return self.tail(self.conv(self.act(x)))


def test_a_state_is_not_written_into_but_read_by_the_next_branch(images):
    torch.manual_seed(0)
    model = Net([PreActivation(4), PreActivation(4), PreActivation(4, 2)], 4).eval()
    net = restride(model, images(16), blocks=["body.0", "body.1", "body.2"])
    for index in (1, 2):
        for site in (KEEP, HALVE, (1, 0), (0, 1)):
            x = images(8, channels=4)
            before = x.clone()
            net.blocks[index](x, site)
            assert torch.equal(x, before)
    assert torch.equal(net(images(16), net.default), model(images(16)))


def test_batch_statistics_keep_parameters_and_forget_averages(net, images):
    names = [n for n, _ in net.named_parameters()]
    x = images(16)
    use_batch_statistics(net)
    assert [n for n, _ in net.named_parameters()] == names
    assert not [*net.buffers()]
    block = net.model.body[0]
    out = net.eval().blocks[0](images(6, channels=4))
    conv = block.conv(images(6, channels=4))
    normed = F.batch_norm(conv, None, None, block.norm.weight, block.norm.bias, training=True)
    assert torch.equal(out, F.relu(normed + images(6, channels=4)))
    net.train()(x, net.space[0]).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
