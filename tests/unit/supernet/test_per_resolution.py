"""Weights for every resolution: a supernet at a placement is the network with the weights of its resolutions."""

import pytest
import torch
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.restride import restride
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.space import KEEP, FreeSpace, Placement
from poolsearch.stages.search import make_members
from poolsearch.supernet.norms import tracked_norm
from poolsearch.supernet.per_resolution import PerResolution
from poolsearch.supernet.prefix_tree import run_tree
from poolsearch.supernet.single_path import SinglePath
from poolsearch.tasks.classification import classification
from poolsearch.train.machine import pick_machine
from poolsearch.train.step import backward, tree_backward

pytestmark = pytest.mark.usefixtures("one_thread")

UP = "1x1_0x0_1x1_-2x-2_0x0_2x2_-1x-1_0x0_0x0"
DOWN = ("4,3,3", "1,1,8", "8,1,1")


def free(space):
    return FreeSpace.of(space)


def restricted(space):
    return space


@pytest.fixture
def make():
    """Makes one of the 6n+2 family; every resolution has a seed of its own, unless they are to begin alike."""

    def supernet(norm="batch", paths=free, alike=False, op="max", seed=0, only=None, make_net=None):
        def network(resolution, make_norm):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(100 * seed + (0 if alike else resolution[0]))
                return make_net() if make_net else build(NetSpec("cifar-resnet20", 5, 2, op), make_norm)

        space = paths(network(KEEP, nn.BatchNorm2d).space)
        if only:
            space = space.keep(Placement.parse(text) for text in only)
        return PerResolution(network, norm, space)

    return supernet


def place_of(supernet, placement, block):
    """Where the weights of a block at a placement are kept."""
    halvings = placement.resolution(block)[0]
    return "" if halvings == 0 else f"{halvings}x{halvings}/"


def trained(supernet, images, texts):
    for seed, text in enumerate(texts):
        supernet.train()(images(16, seed=seed) * 2 + 1, Placement.parse(text))
    return supernet.eval()


def stand_alone(supernet, placement, op):
    """The network by itself, with the weights and statistics that the supernet has for this placement's blocks."""
    net, kept = build(NetSpec("cifar-resnet20", 5, 2, op), tracked_norm), supernet.weights()
    state = {}
    for name, tensor in net.state_dict().items():
        part, _, rest = name.partition(".")
        block, layer = rest.split(".", 1) if part == "blocks" else ("-1", rest)
        place = place_of(supernet, placement, int(block)) if part == "blocks" else ""
        kind = {"running_mean": "mean_C", "running_var": "var_C", "num_batches_tracked": "batches"}
        norm, _, last = layer.rpartition(".")
        if last not in kind:
            state[name] = kept[place + name]
            continue
        prefixes = kept[f"{place}norms/{block}/prefixes"].tolist()
        wanted = [list(site) for site in placement.prefix(int(block))]
        state[name] = kept[f"{place}norms/{block}/{norm}/{kind[last]}"][prefixes.index(wanted)].to(tensor.dtype)
    net.load_state_dict(state, strict=True)
    return net.eval()


@pytest.mark.parametrize("norm", ["calibrate", "per_placement"])
@pytest.mark.parametrize("op", ["max", "stride"])
def test_a_placement_is_the_network_with_the_weights_of_its_resolutions(make, images, norm, op):
    supernet = trained(make(norm, op=op), images, (UP, *DOWN, UP))
    for text in (UP, *DOWN):
        placement, x = Placement.parse(text), images(16, seed=9)
        with torch.no_grad():
            assert torch.equal(supernet(x, placement), stand_alone(supernet, placement, op)(x, placement))


@pytest.mark.parametrize("text", [UP, *DOWN])
def test_a_gradient_reaches_the_weights_of_the_resolutions_and_no_others(make, images, text):
    supernet, placement = make().train(), Placement.parse(text)
    supernet(images(16), placement).square().sum().backward()
    reached = {name for name, p in supernet.named_parameters() if p.grad is not None}
    names = [name for name, _ in build(NetSpec("cifar-resnet20", 5, 2), lambda _: nn.Identity()).named_parameters()]
    expected = set()
    for name in names:
        block = int(name.split(".")[1]) if name.startswith("blocks") else 0
        halvings = placement.resolution(block)[0] if block else 0
        expected.add(f"net.{name}" if halvings == 0 else f"others.{halvings}x{halvings}.net.{name}")
    assert reached == expected


def test_only_what_some_placement_needs_is_kept(make):
    supernet = make(paths=restricted)
    # of 10 blocks with two halvings: not halved 0 to 7, halved once 1 to 8, twice 2 to 9
    blocks = {"net.": range(8), "others.1x1.net.": range(1, 9), "others.2x2.net.": range(2, 10)}
    expected = {f"{place}blocks.{block}.conv1.weight" for place, found in blocks.items() for block in found}
    names = [name for name, _ in supernet.named_parameters()]
    assert {name for name in names if name.endswith("conv1.weight")} == expected
    assert [name for name in names if "fc" in name] == ["net.head.fc.weight", "net.head.fc.bias"]
    few = make(only=("4,3,3", "5,3,2"), paths=restricted)
    assert {name.split(".conv1")[0] for name in few.weights() if "conv1" in name} == {
        *(f"blocks.{b}" for b in (0, 1, 2, 3, 4)), *(f"1x1/blocks.{b}" for b in (4, 5, 6, 7)),
        *(f"2x2/blocks.{b}" for b in (7, 8, 9)),
    }  # fmt: skip
    with pytest.raises(PoolsearchError, match=r"block 1 has no weights at resolution 1x1.*some at 0x0"):
        few(torch.zeros(2, 3, 16, 16), Placement.parse("1,1,8"))


def test_a_block_runs_on_a_map_that_is_at_its_resolution(make, images):
    supernet, x = make().eval(), images(4, channels=2)
    with torch.no_grad():
        found = [supernet.run_at(1, x, (r, r)) for r in (0, 1, 2)]
        sites = Placement.parse("1x1_0x0_0x0_0x0_0x0_0x0_0x0_0x0_0x0")
        assert torch.equal(found[1], supernet.run_block(1, x.repeat_interleave(2, 2).repeat_interleave(2, 3), sites))
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


@pytest.mark.parametrize("norm", ["batch", "calibrate", "per_placement"])
def test_a_tree_is_one_by_one_to_the_bit(make, images, norm):
    supernet = trained(make(norm), images, (UP, *DOWN))
    placements = [free(supernet.net.space)[n] for n in (0, 5, 700, 701, 9_000, 15_000, 19_682, 5)]
    placements += [Placement.parse(text) for text in (UP, *DOWN)]
    x = images(16, seed=9)
    with torch.no_grad():
        found = dict(run_tree(supernet, x, placements))
        assert all(torch.equal(found[i], supernet(x, placement)) for i, placement in enumerate(placements))


def test_a_step_of_a_tree_has_the_gradients_of_one_by_one(make, images, tiny):
    machine = pick_machine(tiny().machine)
    scaler, y_B = torch.amp.GradScaler("cpu", enabled=False), torch.tensor([0, 1, 2])
    task = classification("accuracy")
    supernet, x = make().train(), images(16)
    placements = [Placement.parse(text) for text in (UP, *DOWN)]
    tree_backward(task, supernet, x, y_B, placements, scaler, machine)
    shared = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad()
    for placement in placements:
        backward(task, lambda x_BCHW, placement=placement: supernet(x_BCHW, placement), x, y_B, scaler, machine)
    alone = {n: p.grad / len(placements) for n, p in supernet.named_parameters() if p.grad is not None}
    assert shared.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(shared[name], gradient, rtol=1e-3, atol=1e-5)
    supernet.zero_grad()  # one placement is the plain step, to the bit
    tree_backward(task, supernet, x, y_B, placements[:1], scaler, machine)
    one = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad()
    backward(task, lambda x_BCHW: supernet(x_BCHW, placements[0]), x, y_B, scaler, machine)
    assert all(torch.equal(p.grad, one[n]) for n, p in supernet.named_parameters() if p.grad is not None)


@pytest.mark.parametrize("norm", ["batch", "calibrate", "per_placement"])
def test_weights_go_round(make, images, norm):
    a, b = trained(make(norm), images, (UP, *DOWN)), trained(make(norm, seed=1), images, ("2,2,6",))
    saved = {name: tensor.clone() for name, tensor in a.weights().items()}
    b.load_weights(saved)
    b.eval()
    for text in (UP, *DOWN, "2,2,6"):
        with torch.no_grad():
            assert torch.equal(a(images(16), Placement.parse(text)), b(images(16), Placement.parse(text)))
    again = b.weights()
    assert again.keys() == saved.keys() and all(torch.equal(again[name], saved[name]) for name in saved)


class Scaled(nn.Module):
    """Two blocks with a parameter that belongs to no layer, as ConvNeXt's; the second halves."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.gamma = nn.Parameter(torch.full((outputs, 1, 1), 0.5))

    def forward(self, x):
        return torch.relu(self.conv(x) * self.gamma)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.Sequential(Scaled(4, 4, 1), Scaled(4, 8, 2), Scaled(8, 8, 1), Scaled(8, 8, 2))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("op", ["native", "max"])
def test_a_restrided_network_keeps_parameters_that_belong_to_no_layer(make, images, op):
    x = images(16)
    supernet = make(make_net=lambda: restride(Own(), x, op=op), norm="batch")
    placement = next(p for p in free(supernet.net.space) if p.sites[-3:] == ((1, 1), (1, 1), (-2, -2)))
    supernet.train()(x, placement).square().sum().backward()
    reached = {n for n, p in supernet.named_parameters() if p.grad is not None}
    layers = {f"layers.{i}.{n}" for i in range(4) for n in ("conv.weight", "conv.bias", "gamma")}
    ends = {f"{part}.{n}" for part in ("stem", "fc") for n in ("weight", "bias")}
    assert {name.split("model.")[1] for name in reached} == layers | ends
    at = {name.split("model.")[1].split(".conv")[0]: name.split("net.")[0] for name in reached if "layers" in name}
    assert at["layers.1"] == "others.1x1." and at["layers.2"] == "others.2x2." and at["layers.3"] == ""
    assert not any("fc" in name or "stem" in name for name in supernet.weights() if "/" in name)


def members_of(folder, settings):
    with open_run(folder, settings, False, SilentProgress()) as run:
        return run, make_members(run, run.settings.search.norm)


def test_same_init_begins_as_the_shared_supernet(tmp_path, tiny, images):
    run, (shared, second) = members_of(tmp_path / "shared", tiny())
    _, alike = members_of(tmp_path / "same", tiny(sharing="same-init"))
    assert type(shared) is SinglePath and all(type(member) is PerResolution for member in alike)
    for ours, theirs in zip(alike, (shared, second), strict=True):
        weights = theirs.weights()
        assert all(torch.equal(tensor, weights[name.split("/")[-1]]) for name, tensor in ours.weights().items())
        x = images(8)
        assert all(torch.equal(ours(x, placement), theirs(x, placement)) for placement in run.space)


def test_random_init_draws_each_by_itself(tmp_path, tiny):
    _, (first, second) = members_of(tmp_path / "random", tiny(sharing="random-init"))
    _, (again, _) = members_of(tmp_path / "again", tiny(sharing="random-init"))
    _, (shared, _) = members_of(tmp_path / "shared", tiny())
    one, two = first.weights(), second.weights()
    assert all(torch.equal(tensor, again.weights()[name]) for name, tensor in one.items())
    assert all(torch.equal(one[name], tensor) for name, tensor in shared.weights().items() if name in one)
    name = "blocks.4.conv1.weight"
    drawn = [found[place + name] for found in (one, two) for place in ("", "1x1/", "2x2/")]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    # what another resolution draws does not depend on which placements there are
    _, (few, _) = members_of(tmp_path / "few", tiny(sharing="random-init", placements=("4,3,3", "3,4,3"), members=2))
    assert torch.equal(few.weights()["1x1/blocks.4.conv1.weight"], one["1x1/blocks.4.conv1.weight"])


def test_random_weights_for_every_resolution_are_no_given_ones(tmp_path, tiny):
    settings = tiny(sharing="random-init", init=str(tmp_path / "weights.safetensors"), net="cifar-resnet20")
    with (
        pytest.raises(PoolsearchError, match=r"--sharing random-init.*--init.*same-init"),
        open_run(tmp_path / "run", settings, False, SilentProgress()),
    ):
        pass
