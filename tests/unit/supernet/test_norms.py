"""BatchNorm statistics keyed by prefix: what is shared, what differs, and the averages by hand."""

import pytest
import torch
import torch.nn.functional as F

from poolsearch.nets.build import NetSpec, build
from poolsearch.space import Placement
from poolsearch.supernet.norms import PrefixNorms, batch_norm
from poolsearch.supernet.single_path import SinglePath

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make():
    def supernet(norm, name="cifar-resnet20"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SinglePath(lambda make_norm: build(NetSpec(name, 5, 2), make_norm), norm)

    return supernet


def moments(x_BCHW):
    """Mean and unbiased variance of each channel."""
    return x_BCHW.mean((0, 2, 3)), x_BCHW.transpose(0, 1).flatten(1).var(1, unbiased=True)


def test_running_averages_follow_the_momentum_formula(make, images, statistics):
    supernet = make("per_placement").train()
    mean, var = torch.zeros(2), torch.ones(2)
    for seed in range(3):
        x = images(8, seed=seed) * 3 + 1
        supernet(x, Placement.parse("4,3,3"))
        batch_mean, batch_var = moments(F.conv2d(x, supernet.net.blocks[0].conv1.weight, padding=1))
        mean, var = 0.9 * mean + 0.1 * batch_mean, 0.9 * var + 0.1 * batch_var
    kept = statistics(supernet)
    torch.testing.assert_close(kept["0//bn1/mean_C"], mean)
    torch.testing.assert_close(kept["0//bn1/var_C"], var)
    assert kept["0//bn1/batches"] == 3


def test_calibration_is_a_plain_average_over_batches(make, images, statistics):
    supernet = make("calibrate").train()
    seen = []
    for seed in range(4):
        x = images(8, seed=seed) * (seed + 1)
        supernet(x, Placement.parse("4,3,3"))
        seen.append(moments(F.conv2d(x, supernet.net.blocks[0].conv1.weight, padding=1)))
    kept = statistics(supernet)
    torch.testing.assert_close(kept["0//bn1/mean_C"], torch.stack([m for m, _ in seen]).mean(0))
    torch.testing.assert_close(kept["0//bn1/var_C"], torch.stack([v for _, v in seen]).mean(0))


def test_statistics_are_kept_once_for_each_prefix(make, images, statistics):
    supernet = make("per_placement").train()
    texts = ("4,3,3", "4,3,3", "4,2,4", "1,1,8")
    for text in texts:
        supernet(images(8), Placement.parse(text))
    kept = statistics(supernet)
    placements = [Placement.parse(t) for t in texts]
    for block in range(10):
        for prefix in {p.sites[:block] for p in placements}:
            users = sum(p.sites[:block] == prefix for p in placements)
            where = f"{block}/{'_'.join(f'{h}x{w}' for h, w in prefix)}"
            assert kept[f"{where}/bn1/batches"] == users
    blocks_and_prefixes = {(b, p.sites[:b]) for p in placements for b in range(10)}
    assert len({name.rsplit("/", 2)[0] for name in kept}) == len(blocks_and_prefixes)


def test_prefixes_that_differ_have_other_statistics(make, images, statistics):
    supernet = make("per_placement").train()
    for text in ("1,1,8", "2,1,7"):
        supernet(images(8), Placement.parse(text))
    kept = statistics(supernet)
    assert not torch.equal(kept["1/1x1/bn1/mean_C"], kept["1/0x0/bn1/mean_C"])
    # the map is as large again from block 2 on, but what came before was another path
    assert not torch.equal(kept["3/1x1_1x1_0x0/bn1/mean_C"], kept["3/0x0_1x1_1x1/bn1/mean_C"])


def test_training_one_placement_leaves_another_ones_own_statistics(make, images, statistics):
    supernet = make("per_placement").train()
    supernet(images(8), Placement.parse("4,3,3"))
    before = {n: t.clone() for n, t in statistics(supernet).items()}
    supernet(images(8, seed=5), Placement.parse("4,2,4"))
    changed = {n for n, t in statistics(supernet).items() if n in before and not torch.equal(t, before[n])}
    # 4,3,3 and 4,2,4 part before block 6
    assert {int(n.split("/")[0]) for n in changed} == {0, 1, 2, 3, 4, 5}


def test_evaluation_keeps_statistics_as_they_are(make, images, statistics):
    supernet = make("per_placement").train()
    supernet(images(8), Placement.parse("4,3,3"))
    before = {n: t.clone() for n, t in statistics(supernet).items()}
    for text in ("4,3,3", "4,2,4"):
        supernet.eval()(images(8, seed=5), Placement.parse(text))
    after = statistics(supernet)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[n], before[n]) for n in before)


@pytest.mark.parametrize("norm", ["calibrate", "per_placement"])
def test_a_prefix_never_trained_is_normalised_by_the_batch(make, images, norm):
    x, unseen = images(8), Placement.parse("1,1,8")
    by_batch = make("batch").eval()(x, unseen)
    assert torch.equal(make(norm).eval()(x, unseen), by_batch)
    trained = make(norm).train()
    trained(x * 2, Placement.parse("7,1,2"))  # shares block 0 only
    trained(x, unseen)
    assert not torch.equal(trained.eval()(x, unseen), by_batch)


def test_only_the_branch_never_trained_falls_back_to_the_batch(make, images, statistics):
    supernet = make("per_placement").train()
    x = images(8)
    supernet(x * 2, Placement.parse("7,1,2"))
    supernet.eval()
    mean, var = (statistics(supernet)[f"0//bn1/{kind}"] for kind in ("mean_C", "var_C"))
    out = supernet.run_block(0, x, Placement.parse("1,1,8"))
    raw = F.conv2d(x, supernet.net.blocks[0].conv1.weight, padding=1)
    expected = F.relu((raw - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt())
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("name", ["cifar-resnet20", "resnet18"])
def test_tensors_go_round(make, images, name):
    a, b = make("per_placement", name), make("per_placement", name)
    size = 8 if name.startswith("cifar") else 32
    space = a.net.space
    for number in (0, 3, space.size - 1):
        a.train()(images(size), space[number])
    saved = {n: t.clone() for n, t in a.norms.tensors().items()}
    b.norms.load(saved)
    again = b.norms.tensors()
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[n], saved[n]) for n in saved)
    kinds = {"batches": torch.int64, "prefixes": torch.int8}
    assert all(t.dtype == kinds.get(n.rsplit("/", 1)[1], torch.float32) for n, t in again.items())
    has_stem = any(n.startswith(f"{PrefixNorms.STEM}/") for n in saved)
    assert has_stem == (name == "resnet18")
    # training goes on from what was loaded, and the loaded copy is its own
    b.train()(images(size, seed=4), space[0])
    assert all(torch.equal(t, saved[n]) for n, t in a.norms.tensors().items())


def test_the_paper_supernets_norm_has_no_parameters_and_no_memory():
    norm = batch_norm(3)
    assert not [*norm.parameters()] and not [*norm.buffers()]
    x = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 5 + 2
    for mode in (True, False):
        out = norm.train(mode)(x)
        torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
        torch.testing.assert_close(out.square().mean((0, 2, 3)), torch.ones(3), rtol=0, atol=1e-4)
