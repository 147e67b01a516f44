"""Weights from files and libraries: read whole, loaded whole, or refused with what is wrong."""

import argparse
import collections
import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, blank, build
from poolsearch.nets.restride import from_name
from poolsearch.nets.warm_start import (
    InitialWeights,
    check_init,
    find_weights,
    library_weights,
    load_weights,
    match_weights,
    read_weights,
)
from poolsearch.train import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(make, seed=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


@pytest.fixture(scope="module")
def resnet(randomise_norms):
    """torchvision's ResNet18 for 5 classes, and its state."""
    model = randomise_norms(seeded(lambda: torchvision.models.resnet18(num_classes=5)))
    return model, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def restrided():
    """Restrided ResNets by the number of classes, made once; each time all their numbers are 7."""
    made = {}

    def make(classes=5, name="torchvision:resnet18"):
        if (classes, name) not in made:
            made[classes, name] = from_name(name, classes, 64)
        return sevens(made[classes, name])

    return make


@torch.no_grad()
def sevens(net):
    for tensor in net.state_dict().values():
        tensor.fill_(7)
    return net


def same(net, state, but=()):
    """Whether the network holds exactly this, and sevens where ``but`` says."""
    own = net.original.state_dict()
    assert own.keys() == state.keys()
    return all(
        torch.equal(tensor, torch.full_like(tensor, 7) if name in but else state[name]) for name, tensor in own.items()
    )


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


SAVED = {
    "state": lambda state: state,
    "ordered": collections.OrderedDict,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}},
    "model": lambda state: {"model": state, "model_ema": {"n": torch.ones(1)}, "lr": [0.1]},
    "model_state_dict": lambda state: {"model_state_dict": state, "best": 0.5, "name": "resnet18"},
    "data parallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: {"state_dict": prefixed(state, "_orig_mod.")},
    "both": lambda state: prefixed(state, "module._orig_mod."),
    "in a wrapper": lambda state: prefixed(state, "model."),
    "net": lambda state: {"net": state, "acc": 93.1, "epoch": 3},
    "params": lambda state: {"params": state, "params_ema": {"n": torch.ones(1)}},
    "weights": lambda state: {"weights": state, "epoch": 3},
    "ema": lambda state: {"ema": state, "step": 7},
    "lightning": lambda state: {"state_dict": prefixed(state, "net."), "epoch": 3},
    "encoder": lambda state: prefixed(state, "encoder."),
    "numpy": lambda state: {"model": state, "best": np.float64(0.9), "n": np.int64(3), "curve": np.ones(4)},
}


@pytest.mark.parametrize("how", SAVED)
def test_a_state_saved_by_torch_goes_round(how, resnet, restrided, tmp_path):
    torch.save(SAVED[how](resnet[1]), tmp_path / "net.pth")
    net = restrided()
    assert load_weights(net, read_weights(tmp_path / "net.pth")) == []
    assert same(net, resnet[1])


def test_safetensors_and_torchs_old_format_go_round_too(resnet, restrided, tmp_path):
    save_file(resnet[1], tmp_path / "net.safetensors")
    torch.save(resnet[1], tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    for name in ("net.safetensors", "net.pt"):
        net = restrided()
        assert load_weights(net, read_weights(tmp_path / name)) == []
        assert same(net, resnet[1])


def test_a_network_that_is_loaded_computes_what_the_original_does(resnet, restrided, images, tmp_path):
    model, state = resnet
    torch.save(state, tmp_path / "net.pth")
    net = restrided()
    load_weights(net, read_weights(tmp_path / "net.pth"))
    x = images(64, count=2)
    with torch.no_grad():
        assert torch.equal(net.eval()(x, net.default), model.eval()(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_cast(dtype, resnet, restrided, tmp_path):
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in resnet[1].items()}
    torch.save(state, tmp_path / "net.pth")
    net = restrided()
    load_weights(net, read_weights(tmp_path / "net.pth"))
    assert same(net, {name: tensor.to(resnet[1][name].dtype) for name, tensor in state.items()})
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_a_name_that_begins_like_a_prefix_is_left_alone():
    """A network whose one child is called ``module``: its names are its own."""

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    class Net:
        original, head = Outer(), nn.Module()

    state = {name: torch.ones_like(tensor) for name, tensor in Net.original.state_dict().items()}
    for given in (state, prefixed(state, "module.")):
        assert match_weights(Net, InitialWeights("these", "", given)).tensors.keys() == state.keys()


def test_a_last_layer_for_other_classes_is_replaced_and_nothing_else(resnet, restrided, tmp_path):
    torch.save(resnet[1], tmp_path / "net.pth")
    net = restrided(classes=7)
    assert load_weights(net, read_weights(tmp_path / "net.pth")) == ["fc.weight", "fc.bias"]
    state = resnet[1] | {"fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}
    assert same(net, state, but=["fc.weight", "fc.bias"])


def test_other_layers_of_the_head_are_loaded(restrided, tmp_path):
    timm = pytest.importorskip("timm")
    name = "mobilenetv3_small_050"
    state = seeded(lambda: timm.create_model(name, num_classes=11)).state_dict()
    torch.save(state, tmp_path / "net.pth")
    net = restrided(5, f"timm:{name}")
    assert any("conv_head" in n for n, _ in net.head.named_parameters()), "else this test shows nothing"
    replaced = ["classifier.weight", "classifier.bias"]
    assert load_weights(net, read_weights(tmp_path / "net.pth")) == replaced
    own = net.original.state_dict()
    assert torch.equal(own["conv_head.weight"], state["conv_head.weight"])
    assert all(torch.equal(own[n], state[n]) for n in own if n not in replaced)
    assert all((own[n] == 7).all() for n in replaced)


@pytest.mark.parametrize("classes", [5, 6])
def test_a_result_of_ones_own_goes_round(classes, tiny_net, randomise_norms, tmp_path):
    net = randomise_norms(tiny_net(classes=5))
    state = {name: tensor.clone() for name, tensor in net.original.state_dict().items()}
    checkpoint.save(tmp_path / "model.safetensors", state, {"placement": "4,3,3"})
    other = sevens(tiny_net(classes=classes, seed=1))
    replaced = [] if classes == 5 else ["head.fc.weight", "head.fc.bias"]
    assert load_weights(other, read_weights(tmp_path / "model.safetensors")) == replaced
    kept = {n: torch.full_like(t, 7) for n, t in other.state_dict().items() if n in replaced}
    assert same(other, state | kept)


def test_the_hash_is_that_of_the_file(tmp_path):
    torch.save({"w": torch.ones(3)}, tmp_path / "net.pth")
    found = read_weights(tmp_path / "net.pth")
    assert found.sha256 == hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    assert found.source == str(tmp_path / "net.pth")


def test_old_files_without_counts_of_batches_are_whole(resnet, restrided):
    state = {name: tensor for name, tensor in resnet[1].items() if not name.endswith("num_batches_tracked")}
    net = restrided()
    counts = {name: torch.tensor(7) for name in resnet[1] if name.endswith("num_batches_tracked")}
    assert load_weights(net, InitialWeights("these", "", state)) == []
    assert same(net, state | counts)


def test_weights_are_seen_to_fit_without_numbers(resnet):
    net = blank(NetSpec("torchvision:resnet18", 7, image_size=64))
    assert match_weights(net, InitialWeights("these", "", resnet[1])).replaced == ["fc.weight", "fc.bias"]
    assert all(tensor.is_meta for tensor in net.state_dict().values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bn1.bias": None}, "'bn1.bias' is missing. Give"),
        ({"bn9.bias": torch.ones(2)}, "'bn9.bias' is unexpected. Give"),
        ({"conv1.weight": torch.ones(64, 3, 3, 3)},
         "'conv1.weight' is float32 [64, 3, 3, 3], expected float32 [64, 3, 7, 7]. Give"),
        ({"conv1.weight": torch.ones(64, 3, 7, 7, dtype=torch.int8)},
         "'conv1.weight' is int8 [64, 3, 7, 7], expected float32 [64, 3, 7, 7]. Give"),
        ({"fc.weight": torch.ones(9, 256), "fc.bias": torch.ones(9)},
         "'fc.weight' is float32 [9, 256], expected float32 [5, 512]. Give"),
        ({"fc.weight": torch.ones(())}, "'fc.weight' is float32 [], expected float32 [5, 512]. Give"),
        ({"layer1.0.conv1.weight": torch.ones(32, 64, 3, 3)},
         "'layer1.0.conv1.weight' is float32 [32, 64, 3, 3], expected float32 [64, 64, 3, 3]. Give"),
        ({"bn1.bias": None, "bn1.weight": None, "a": torch.ones(2), "b": torch.ones(2), "conv1.weight": torch.ones(1)},
         "'bn1.weight' is missing, 'a' is unexpected, 'conv1.weight' is float32 [1], expected float32 [64, 3, 7, 7], "
         "and 2 more. Give"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change, said, resnet, restrided):
    state = {name: tensor for name, tensor in (resnet[1] | change).items() if tensor is not None}
    net = restrided()
    with pytest.raises(PoolsearchError) as error:
        load_weights(net, InitialWeights("weights.pth", "", state))
    assert f"weights.pth: not the weights of this network: {said}" in str(error.value)
    assert same(net, resnet[1], but=resnet[1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (torchvision.models.resnet34, "'layer1.2.conv1.weight' is unexpected, 'layer1.2.bn1.weight' is unexpected"),
        (torchvision.models.squeezenet1_0, "'conv1.weight' is missing, 'features.0.weight' is unexpected"),
    ],
)
def test_another_architecture_is_named_by_its_first_mismatches(make, said, restrided):
    with pytest.raises(PoolsearchError) as error:
        load_weights(restrided(), InitialWeights("these", "", seeded(make).state_dict()))
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["none.pth", "none.safetensors", "folder"])
def test_a_file_that_is_not_there(name, tmp_path):
    (tmp_path / "folder").mkdir()
    for look in (read_weights, lambda path: check_init(str(path), "resnet18")):
        with pytest.raises(
            PoolsearchError, match=f"there is no file .*{name} to begin with: give --init a .safetensors"
        ):
            look(tmp_path / name)


@pytest.mark.parametrize("left", [0, 1, 30, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file(suffix, left, tmp_path):
    path = tmp_path / f"net{suffix}"
    state = {"weight": torch.arange(5000.0), "bias": torch.ones(3)}
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])
    with pytest.raises(PoolsearchError, match=f"net{suffix} is damaged, or"):
        read_weights(path)


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "net.pth").write_text("weights: 3")
    (tmp_path / "net.safetensors").write_text("weights: 3, and more of the kind")
    for name in ("net.pth", "net.safetensors"):
        with pytest.raises(PoolsearchError, match="is damaged, or"):
            read_weights(tmp_path / name)


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_more_than_tensors_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(2)}, "args": Trap(tmp_path / "run")}, tmp_path / "trap.pth")
    torch.save({"state_dict": {"w": torch.ones(2)}, "args": argparse.Namespace(lr=1)}, tmp_path / "args.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    torch.save({"args": argparse.Namespace(lr=1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    foreign = {"trap": "open", "args": "argparse.Namespace", "module": "torch.nn", "old": "argparse.Namespace"}
    for name, what in foreign.items():
        with pytest.raises(PoolsearchError, match=rf"{name}.pth holds more than tensors \([\w.]*{what}.*state_dict"):
            read_weights(tmp_path / f"{name}.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"args": Trap(tmp_path / "run")}))
    with pytest.raises(PoolsearchError):
        read_weights(tmp_path / "plain.pth")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.ones(2), "holds tensor([1., 1.]), where tensors by name"),
        ({}, "holds {}, where"),
        (
            {"epoch": 3, "gen": {"w": torch.ones(2)}, "disc": {"w": torch.ones(2)}},
            "holds entries that are no tensors (epoch, gen, disc), where tensors by name are wanted. Say which of its "
            "states to take: --init-key gen or disc.",
        ),
        (
            {"net": {"w": torch.ones(2)}, "weights": {"w": torch.ones(2)}, "ema": {"w": torch.ones(2)}},
            "holds several states: net, weights, ema. Say which to take: --init-key net.",
        ),
        ({"state_dict": {"w": torch.ones(2), "n": 3}}, "holds entries that are no tensors (n), where"),
    ],
)
def test_what_is_no_state_is_said(value, said, tmp_path):
    torch.save(value, tmp_path / "net.pth")
    with pytest.raises(PoolsearchError) as error:
        read_weights(tmp_path / "net.pth")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("key", "entry", "value"),
    [(None, None, 0), ("model_ema", "model_ema", 1), ("a.b", "a.b", 2), ("deep", "deep.net", 3)],
)
def test_an_entry_is_taken_on_request_and_named(key, entry, value, tmp_path):
    states = [{"w": torch.full((2,), float(i))} for i in range(4)]
    saved = {"model": states[0], "model_ema": states[1], "a": {"b": states[2]}, "deep": {"net": states[3]}, "epoch": 3}
    torch.save(saved, tmp_path / "net.pth")
    found = read_weights(tmp_path / "net.pth", key)
    assert found.tensors["w"].tolist() == [value, value]
    assert found.source == str(tmp_path / "net.pth") + (f", entry '{entry}'" if entry else "")


def test_an_entry_that_is_not_there(tmp_path):
    torch.save({"net": {"w": torch.ones(2)}, "epoch": 3}, tmp_path / "net.pth")
    with pytest.raises(PoolsearchError, match=r"no entry 'ema' \(--init-key\)\. Entries with tensors: net\."):
        read_weights(tmp_path / "net.pth", "ema")
    with pytest.raises(PoolsearchError, match="--init-key ema is for a file of weights"):
        find_weights("pretrained", "torchvision:resnet18", key="ema")


def test_a_backbone_without_its_head_keeps_the_networks_own(resnet, restrided):
    state = {name: tensor for name, tensor in resnet[1].items() if not name.startswith("fc.")}
    beside = {"module.head.fc.weight": torch.ones(3, 512), "module.neck.bias": torch.ones(2)}
    for given, unused in ((state, []), (prefixed(state, "module.backbone.") | beside, [*beside])):
        net = restrided()
        found = match_weights(net, InitialWeights("these", "", given))
        assert found.replaced == ["fc.weight", "fc.bias"] and found.unused == unused
        load_weights(net, InitialWeights("these", "", given))
        assert same(net, state | {n: torch.zeros(1) for n in found.replaced}, but=found.replaced)


def test_a_backbone_that_lacks_more_than_its_head_is_refused(resnet, restrided):
    state = {name: tensor for name, tensor in resnet[1].items() if not name.startswith(("fc.", "layer4.1."))}
    with pytest.raises(PoolsearchError, match=r"'layer4\.1\.conv1\.weight' is missing"):
        match_weights(restrided(), InitialWeights("these", "", state))
    half = {name: tensor for name, tensor in resnet[1].items() if name != "fc.bias"}
    with pytest.raises(PoolsearchError, match=r"'fc\.bias' is missing"):
        match_weights(restrided(), InitialWeights("these", "", half))


def test_what_torchvision_offers(monkeypatch, restrided):
    state = seeded(lambda: torchvision.models.squeezenet1_1()).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    before = torch.get_rng_state()
    found = find_weights("pretrained", "torchvision:squeezenet1_1")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.items())
    assert found.source == "the pretrained weights of torchvision:squeezenet1_1"
    assert library_weights("torchvision:squeezenet1_1").sha256 == found.sha256
    net = restrided(5, "torchvision:squeezenet1_1")
    assert load_weights(net, found) == ["classifier.1.weight", "classifier.1.bias"]
    state["classifier.1.bias"] += 1
    assert library_weights("torchvision:squeezenet1_1").sha256 != found.sha256


def test_what_timm_offers(monkeypatch):
    timm = pytest.importorskip("timm")
    state = seeded(lambda: timm.create_model("mobilenetv3_small_050")).state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(state))
    found = find_weights("pretrained", "timm:mobilenetv3_small_050")
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("name", "download"),
    [
        ("torchvision:squeezenet1_1", "torchvision.models._api.load_state_dict_from_url"),
        ("timm:mobilenetv3_small_050", "timm.models._builder.load_state_dict_from_hf"),
    ],
)
@pytest.mark.parametrize("error", [urllib.error.URLError("no route"), OSError("no route"), RuntimeError("no route")])
def test_without_a_network_connection_the_way_by_a_file_is_named(name, download, error, monkeypatch):
    pytest.importorskip("timm")

    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(download, fails)
    with pytest.raises(
        PoolsearchError, match=r"no pretrained weights: .*no route.* give a file of weights: --init FILE"
    ):
        find_weights("pretrained", name)


def test_a_network_of_timm_without_weights_is_told_so():
    pytest.importorskip("timm")
    with pytest.raises(PoolsearchError, match=r"No pretrained weights exist.*--init FILE"):
        find_weights("pretrained", "timm:seresnet18")


@pytest.mark.parametrize("name", ["resnet18", "cifar-resnet20", "mine.py:make"])
def test_networks_of_no_library_have_no_pretrained_weights(name):
    for look in (lambda: check_init("pretrained", name), lambda: find_weights("pretrained", name)):
        with pytest.raises(PoolsearchError, match=f"{name} has no weights of a library.*--init FILE"):
            look()


def test_what_is_loaded_has_its_own_memory(tiny_net, tmp_path):
    """Two networks that begin with the same weights train apart."""
    checkpoint.save(tmp_path / "model.safetensors", dict(tiny_net().state_dict()), {})
    found = read_weights(tmp_path / "model.safetensors")
    one, other = (build(NetSpec("cifar-resnet20", 5, 2)) for _ in range(2))
    for net in (one, other):
        load_weights(net, found)
    sevens(one)
    assert same(other, load_file(tmp_path / "model.safetensors"))
