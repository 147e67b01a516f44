"""--init as a user gives it: for a network of one's own, for a result of one's own, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import poolsearch
from poolsearch.cli.main import main
from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.storage.run_dir import RunDir

FILE = """
from torch import nn

def unit(inputs, outputs, stride=1):
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

def make(classes):
    blocks = [unit(3, 4), unit(4, 4), unit(4, 6, 2), unit(6, 6), unit(6, 8, 2)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""
# A learning rate of nothing: what training ends with is what it began with
STILL = {"lr": 0.0, "retrain_lr": 0.0}

Tiny = Callable[..., Settings]


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str, Path]:
    """The name of a network of one's own, and a checkpoint of it for 10 classes."""
    (tmp_path / "mine.py").write_text(FILE)
    scope: dict[str, Callable[[int], nn.Module]] = {}
    exec(FILE, scope)
    model = scope["make"](10)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_()
    torch.save({"state_dict": model.state_dict(), "epoch": 90}, tmp_path / "mine.pth")
    return f"{tmp_path / 'mine.py'}:make", tmp_path / "mine.pth"


def own(settings: Settings, net: str, **changes: object) -> Settings:
    return settings.changed(net=net, width=None, **changes)


def parameters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if "running" not in name and "num_batches" not in name}


def test_one_command_with_a_network_and_a_checkpoint_of_ones_own(
    tmp_path: Path, mine: tuple[str, Path], tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, file = mine
    at = tiny_flags.index("--width")
    monkeypatch.chdir(tmp_path)
    flags = [*tiny_flags[:at], *tiny_flags[at + 2 :], "--net", "mine.py:make", "--init", "mine.pth", "--workers", "2"]
    assert main(["search", "--out", str(tmp_path / "run"), "--quiet", *flags]) == 0
    monkeypatch.chdir("/")  # the paths were made whole
    assert main(["run", "--resume", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["given"]["net"]["net"] == net
    assert record["init"] == {
        "source": str(file),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "replaced": [],
    }
    search, retrain = record["settings"]["search"], record["settings"]["retrain"]
    assert (search["lr"], retrain["retrain_lr"], search["lr_floor"]) == pytest.approx((0.01, 0.01, 1e-4))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "trained from given weights" in page
    assert record["init"]["sha256"] in page


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.nightly), 2])
def test_all_that_is_trained_begins_with_the_checkpoint(
    tmp_path: Path, mine: tuple[str, Path], tiny: Tiny, workers: int
) -> None:
    net, file = mine
    poolsearch.run(tmp_path / "run", own(tiny(init=file, workers=workers, **STILL), net))
    state = torch.load(file)["state_dict"]
    files = RunDir(tmp_path / "run")
    searched = load_file(files.checkpoint)
    for member in range(2):
        for name, tensor in parameters(state).items():
            assert torch.equal(searched[f"member{member}/model.{name}"], tensor)
    trained = sorted(files.retrain.rglob("model.safetensors"))
    assert len(trained) >= 4
    for path in trained:
        found = load_file(path)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in parameters(state).items())


def test_a_result_of_ones_own_can_be_gone_on_from(tmp_path: Path, tiny: Tiny) -> None:
    poolsearch.run(tmp_path / "first", tiny(placements=("4,3,3", "5,3,2")))
    file = RunDir(tmp_path / "first").retrain / "4,3,3" / "0" / "model.safetensors"
    poolsearch.run(tmp_path / "second", tiny(placements=("4,3,3", "5,3,2"), init=file, norm="per_placement", **STILL))
    first, second = (
        load_file(file),
        load_file(RunDir(tmp_path / "second").retrain / "5,3,2" / "0" / "model.safetensors"),
    )
    assert all(torch.equal(second[name], tensor) for name, tensor in parameters(first).items())


def test_a_head_for_other_classes_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_flags: list[str]
) -> None:
    file = six_classes(tmp_path)
    assert main(["search", "--out", str(tmp_path / "run"), *tiny_flags, "--init", str(file)]) == 0
    assert "begun anew: head.fc.weight, head.fc.bias" in " ".join(capsys.readouterr().err.split())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["init"]["replaced"] == ["head.fc.weight", "head.fc.bias"]
    assert not record["warnings"]


def six_classes(folder: Path) -> Path:
    from poolsearch.nets.build import NetSpec, build

    torch.save(build(NetSpec("cifar-resnet20", 6, 2)).state_dict(), folder / "six.pth")
    return folder / "six.pth"


def test_a_file_that_changed_is_refused_while_it_is_needed(tmp_path: Path, mine: tuple[str, Path], tiny: Tiny) -> None:
    net, file = mine
    settings = own(tiny(init=file), net)
    out, good = tmp_path / "run", file.read_bytes()
    poolsearch.search(out, settings)
    other = torch.load(file)
    other["state_dict"]["7.bias"] += 1
    torch.save(other, file)
    for again in (poolsearch.rank, poolsearch.retrain):
        with pytest.raises(
            PoolsearchError, match=r"was begun with weights of SHA-256 \w+\.\.\., and now there are weig"
        ):
            again(out)
    file.unlink()
    with pytest.raises(PoolsearchError, match="there is no file"):
        poolsearch.rank(out)
    with pytest.raises(PoolsearchError, match="now there are fresh weights"):
        poolsearch.run(out, settings.changed(init=None), resume=True)
    moved = tmp_path / "moved.pth"
    moved.write_bytes(good)
    poolsearch.run(out, settings.changed(init=moved), resume=True)
    assert json.loads((out / "run.json").read_text())["given"]["net"]["init"] == str(moved)
    moved.unlink()
    poolsearch.run(out, resume=True)  # all is done: nothing needs it any more
    assert json.loads((out / "run.json").read_text())["init"]["sha256"] == hashlib.sha256(good).hexdigest()


def test_a_run_that_was_begun_with_nothing_takes_no_weights_later(
    tmp_path: Path, mine: tuple[str, Path], tiny: Tiny
) -> None:
    net, file = mine
    settings = own(tiny(), net)
    poolsearch.search(tmp_path / "run", settings)
    with pytest.raises(PoolsearchError, match="was begun with fresh weights, and now there are weights of SHA-256"):
        poolsearch.run(tmp_path / "run", settings.changed(init=file), resume=True)
    poolsearch.rank(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["given"]["net"]["init"] is None


def test_what_does_not_fit_is_refused_before_anything_is_begun(
    tmp_path: Path, mine: tuple[str, Path], tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--out", str(tmp_path / "run"), *tiny_flags]
    assert main(["run", *flags, "--init", str(mine[1])]) == 2
    assert "not the weights of this network" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
