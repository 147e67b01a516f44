"""--init: one checkpoint begins every member and every stand-alone network, whole."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from poolsearch.nets.poolable import Poolable
from poolsearch.nets.restride import restride
from poolsearch.nets.warm_start import InitialWeights, load_weights
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.stages.retrain import retrain_config
from poolsearch.stages.search import SearchTraining, make_members
from poolsearch.stages.standalone.trial import StandaloneTraining, Trial
from poolsearch.supernet.single_path import SinglePath

Tiny = Callable[..., Settings]
NORMS = ("batch", "calibrate", "per_placement")


def randomised(module: nn.Module, seed: int = 5) -> nn.Module:
    """All numbers drawn anew, those of BatchNorm so that nothing is at its initial value."""
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(11)
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight", "norm5.weight")):
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)
        else:
            tensor.copy_(torch.randn(tensor.shape, generator=draw) * 0.1)
    return module


def opened(folder: Path, settings: Settings) -> Run:
    with open_run(folder, settings, False, SilentProgress()) as run:
        return run


def checkpoint(tmp_path: Path, tiny: Tiny, **changes: object) -> tuple[dict[str, Tensor], Path]:
    """The state of the tiny network on digits, all random, and a file of it."""
    net = randomised(opened(tmp_path / "fresh", tiny(**changes)).build())
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    return net.state_dict(), tmp_path / "net.safetensors"


@pytest.mark.parametrize("norm", NORMS)
def test_all_members_begin_with_what_the_file_has(tmp_path: Path, tiny: Tiny, norm: str) -> None:
    state, file = checkpoint(tmp_path, tiny)
    members = SearchTraining(opened(tmp_path / "run", tiny(init=file, norm=norm, members=3))).members
    names = {name for name, _ in opened(tmp_path / "other", tiny()).build().named_parameters()}
    assert len(members) == 3
    for member in members:
        found = dict(member.net.named_parameters())
        assert found.keys() == names, "the weights and biases of BatchNorm are among them"
        assert all(torch.equal(parameter, state[name]) for name, parameter in found.items())
    one, other = (member.net.blocks[0].conv1.weight for member in members[:2])
    assert one.data_ptr() != other.data_ptr()


def test_a_replaced_head_is_each_members_own(tmp_path: Path, tiny: Tiny) -> None:
    state, _ = checkpoint(tmp_path, tiny)
    file = tmp_path / "six.pth"
    torch.save(state | {"head.fc.weight": torch.ones(6, 8), "head.fc.bias": torch.ones(6)}, file)
    run = opened(tmp_path / "run", tiny(init=file))
    plain = make_members(opened(tmp_path / "plain", tiny()), "batch")
    for member, fresh in zip(make_members(run, "batch"), plain, strict=True):
        for name, parameter in member.net.named_parameters():
            assert torch.equal(parameter, state[name]) != name.startswith("head.")
        # the head is drawn as that of a network which begins with nothing
        assert member.net.head.fc.weight.std() > 0
        assert member.net.head.fc.weight.shape == fresh.net.head.fc.weight.shape
    one, other = (member.net.head.fc.weight for member in make_members(run, "batch"))
    assert not torch.equal(one, other)


def test_a_worker_process_reads_the_weights_itself(tmp_path: Path, tiny: Tiny) -> None:
    state, file = checkpoint(tmp_path, tiny)
    run = opened(tmp_path / "run", tiny(init=file))
    assert run.weights is not None
    again = pickle.loads(pickle.dumps(run))
    assert "weights" not in vars(again)
    assert all(torch.equal(again.weights.tensors[name], tensor) for name, tensor in state.items())


def test_a_retraining_begins_with_the_file_and_its_statistics(tmp_path: Path, tiny: Tiny) -> None:
    state, file = checkpoint(tmp_path, tiny)
    run = opened(tmp_path / "run", tiny(init=file))
    for seed, placement in ((0, "4,3,3"), (1, "1,1,8")):
        net = StandaloneTraining(run, retrain_config(run.settings), Trial(Placement.parse(placement), seed)).net.net
        assert net.state_dict().keys() == state.keys()
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: torchvision.models.resnet18(num_classes=5),
    # their heads have a BatchNorm
    "densenet": lambda: torchvision.models.DenseNet(4, (2, 3, 3, 2), 8, num_classes=5),
    "mobilenet": lambda: torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.25),
}


def warm(name: str, norm: str) -> tuple[nn.Module, SinglePath]:
    """A model with trained statistics, and a supernet that begins with its state."""
    model = randomised(MODELS[name]())
    net: Poolable = restride(MODELS[name](), torch.zeros(2, 3, 64, 64))
    load_weights(net, InitialWeights("these", "", model.state_dict()))
    return model, SinglePath(lambda _: net, norm, warm=True)


@pytest.mark.parametrize("name", MODELS)
def test_before_training_the_default_placement_is_the_original(name: str) -> None:
    model, supernet = warm(name, "per_placement")
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = supernet.eval()(x, supernet.net.default)
        assert torch.equal(logits, model.eval()(x))
        assert logits.std() > 0
        # with cold statistics it is not: the test can fail
        cold = SinglePath(lambda _: copy.deepcopy(supernet.net), "per_placement").eval()
        assert not torch.allclose(cold(x, supernet.net.default), logits)


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("name", MODELS)
def test_every_prefix_begins_with_the_statistics_of_the_file(name: str, number: int) -> None:
    """One step on a placement moves its running averages a tenth of the way from the file's to the batch's."""
    model, supernet = warm(name, "per_placement")
    space = supernet.net.space
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(layer: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            x_CN = given[0].transpose(0, 1).flatten(1)
            seen[layer] = x_CN.mean(1), x_CN.var(1)

        return hook

    layers = {n: m for n, m in supernet.net.original.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for layer, module in layers.items():
        module.register_forward_pre_hook(note(layer))
    with torch.no_grad():
        x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        supernet.train()(x, space[number % space.size])
    state = model.state_dict()
    for layer, module in layers.items():
        mean, var = seen[layer]
        assert module.num_batches_tracked == 12
        torch.testing.assert_close(module.running_mean, 0.9 * state[f"{layer}.running_mean"] + 0.1 * mean)
        torch.testing.assert_close(module.running_var, 0.9 * state[f"{layer}.running_var"] + 0.1 * var)


def test_calibration_begins_with_nothing_of_the_file() -> None:
    _, supernet = warm("resnet", "calibrate")
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        supernet.train()(x, supernet.net.default)
        raw = supernet.net.original.conv1(x)
    norm = supernet.net.original.bn1
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, raw.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, raw.transpose(0, 1).flatten(1).var(1))
