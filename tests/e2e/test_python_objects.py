"""A run from Python objects: a network, datasets, settings by name; what it gives back; resuming."""

from __future__ import annotations

import csv
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import poolsearch
from poolsearch.cli.main import main
from poolsearch.storage.files import read_json

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(96) % 3
TEST = (PIXELS[72:], LABELS[72:])
VALUES: dict[str, Any] = {
    "method": "macs", "retrain_epochs": 1, "retrain_seeds": 2, "top_k": 1, "control": (), "device": "cpu",
    "precision": "fp32", "batch": 16, "retrain_batch": 16, "answer_at": (1.0,),
}  # fmt: skip


class Small(nn.Module):
    """Three convolutions and a halving."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).mean((2, 3)))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> poolsearch.Result:
    out = tmp_path_factory.mktemp("objects") / "run"
    return poolsearch.run(out, net=Small, train=(PIXELS[:72], LABELS[:72]), test=TEST, **VALUES)


def test_it_says_what_the_folder_says(found: poolsearch.Result) -> None:
    test = read_json(found.folder / "test.json")
    assert found.verdict == test["verdict"] and test["images"] == 24
    assert found.page == found.folder / "report.html" and found.page.exists()
    assert str(found.best_placement) == test["winner"]
    with open(found.folder / "ranking.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["placement"] for row in found.ranking] == [row["placement"] for row in rows]
    assert found.ranking[-1]["macs"] == int(rows[-1]["macs"]) and len(found.ranking) == len(rows)
    by_limit = {one.limit: one for one in found.answers}
    for told in test["answers"]:
        answer = by_limit[told["limit"]]
        assert str(answer.placement) == told["placement"] and answer.better == told["better"]
    # three classes of noise: nothing can be better
    assert found.recommended == poolsearch.Placement.parse(read_json(found.folder / "run.json")["space"]["default"])
    assert "ladder" in found.figures and found.figures["ladder"]._repr_svg_().startswith("<svg")


def test_its_table_goes_where_tables_go(found: poolsearch.Result) -> None:
    assert pa.table(found.ranking).column_names == found.ranking.columns
    assert "placement" in repr(found.ranking) and "<table>" in found.ranking._repr_html_()
    assert found.verdict.split()[0] in found._repr_html_() and found.verdict in repr(found)
    with pytest.raises(IndexError):
        found.ranking[len(found.ranking)]


def test_its_network_reaches_what_was_tested(found: poolsearch.Result) -> None:
    network = found.network("default", seed=1)
    x_BCHW = torch.from_numpy(PIXELS[72:]).permute(0, 3, 1, 2) / 255
    right = (network(x_BCHW).argmax(1) == torch.from_numpy(LABELS[72:])).float().mean()
    tested = {(one["placement"], one["seed"]): one for one in read_json(found.folder / "test.json")["trials"]}
    default = read_json(found.folder / "run.json")["space"]["default"]
    assert float(right) == pytest.approx(tested[default, 1]["value"])
    assert not network.training
    with pytest.raises(poolsearch.PoolsearchError, match="has no retrained network"):
        found.network(seed=7)
    held = io.BytesIO()
    torch.save(network, held)
    held.seek(0)
    assert torch.equal(torch.load(held, weights_only=False)(x_BCHW), network(x_BCHW))


def test_it_is_resumed_with_its_network_and_without_its_images(found: poolsearch.Result) -> None:
    again = poolsearch.run(found.folder, resume=True, net=Small)
    assert again.verdict == found.verdict
    assert poolsearch.open(found.folder, net=Small).network().training is False
    more = poolsearch.run(found.folder, resume=True, net=Small, retrain_seeds=3)
    assert len({one["seed"] for one in read_json(more.folder / "test.json")["trials"]}) == 3


def test_other_images_are_refused(found: poolsearch.Result) -> None:
    with pytest.raises(poolsearch.PoolsearchError, match="changed since"):
        poolsearch.run(found.folder, resume=True, net=Small, train=(255 - PIXELS[:72], LABELS[:72]), test=TEST)


def test_a_result_may_be_sent_elsewhere(found: poolsearch.Result) -> None:
    assert pickle.loads(pickle.dumps(found)).verdict == found.verdict
    assert poolsearch.Result(str(found.folder)).page == found.page  # pyright: ignore[reportArgumentType]


def test_a_network_that_is_an_object_is_looked_at_before(tmp_path: Path) -> None:
    assert poolsearch.check(Small, 8, 3).holds
    assert poolsearch.costs(Small(), 8, 3).placements == 2
    plan = poolsearch.plan(net=Small, train=(PIXELS, LABELS), hours=1e-4, **(VALUES | {"method": "bayes"}))
    assert plan.net == "object:Small" and plan.fit is not None and not plan.fit.fits


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    class Stop(poolsearch.Callback):
        def on_stage(self, event: poolsearch.StageEvent) -> None:
            raise poolsearch.Interrupted

    with pytest.raises(poolsearch.Interrupted, match=r"poolsearch\.run\('.*run', resume=True, net=...\)"):
        poolsearch.run(tmp_path / "run", net=Small, train=(PIXELS, LABELS), callbacks=[Stop()], **VALUES)


def test_without_or_with_another_network_it_is_not(
    found: poolsearch.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(poolsearch.PoolsearchError, match="was given as a Python object"):
        poolsearch.run(found.folder, resume=True)
    assert main(["run", "--resume", "--out", str(found.folder), "--quiet"]) == 2
    assert "resume=True, net=" in capsys.readouterr().err
    wider = lambda: nn.Sequential(Small(), nn.Identity())  # noqa: E731
    with pytest.raises(poolsearch.PoolsearchError, match="was begun with another network"):
        poolsearch.run(found.folder, resume=True, net=wider)


def test_it_has_no_code_to_export(found: poolsearch.Result) -> None:
    with pytest.raises(poolsearch.PoolsearchError, match=r"torch\.export\.export"):
        poolsearch.export(found.folder, net=Small)


def test_trainings_begin_with_a_trained_module_as_it_is(tmp_path: Path) -> None:
    module = Small()
    module.train()(torch.rand(8, 3, 8, 8))
    values = VALUES | {"retrain_lr": 1e-9, "retrain_seeds": 1}
    run = poolsearch.run(tmp_path / "run", net=module, train=(PIXELS, LABELS), **values)
    assert read_json(run.folder / "run.json")["init"]["source"] == "the weights of object:Small"
    trained = dict(run.network(normalize=False).named_parameters())
    for name, value in module.named_parameters():
        same = [one for other, one in trained.items() if other.endswith(name)]
        assert same and torch.allclose(same[0], value, atol=1e-6), name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": (PIXELS, LABELS), "data": "digits"}, "beside train"),
        ({"train": "digits", "test": (PIXELS, LABELS)}, "give it alone"),
        ({"net": 3}, "net is a int"),
        ({"trails": 3}, "trails"),
        ({"resume": True}, "there is no run in runs/"),
        ({"net": Small}, "no images were given"),
        ({"net": Small, "train": TEST, "workers": 2}, "in this process alone"),
        ({"settings": {"trials": 3}}, "settings is a dict"),
    ],
)
def test_what_is_given_wrongly(
    given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(poolsearch.PoolsearchError, match=said):
        poolsearch.run(**given)
