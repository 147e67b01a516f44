"""Planning as a whole: what it tells, that it leaves nothing, and how a run follows it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import poolsearch
from poolsearch import pipeline
from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import Estimate, MethodEstimate, Plan, StageCost
from poolsearch.settings import Settings
from poolsearch.settings.check import with_method
from poolsearch.stages.planning import steps
from poolsearch.stages.planning.advice import PREFERRED

SMALL = {"placements": ("4,3,3", "5,3,2", "3,4,3"), "workers": 1}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds of everything that is timed."""
    monkeypatch.setattr(steps, "_MOST_ROUNDS", steps._LEAST_ROUNDS)


@pytest.mark.usefixtures("hasty")
def test_a_plan_tells_of_every_method_and_leaves_nothing(
    tiny: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = torch.random.get_rng_state()
    found = poolsearch.plan(tiny(**SMALL, method="proxy", sweep_epochs=2, members=3))
    assert [(w.method, w.members) for w in found.ways] == [
        ("sweep", None), ("proxy", None), ("halving", None), ("random", None), ("hyperband", None), ("macs", None),
        ("spos", 1), ("mixture", 2), ("mixture", 3),
    ]  # fmt: skip
    assert [stage.name for stage in found.after] == ["retrain", "test"]
    assert next(w for w in found.ways if w.method == "macs").takes.seconds == 0
    for takes in [*(w.takes for w in found.ways if w.method != "macs"), *(s.takes for s in found.after)]:
        assert 0 <= takes.low < takes.seconds < takes.high  # a disturbed machine knows no lower end
    assert found.placements == 3
    assert found.largest == "5,3,2"
    assert found.method in {w.method for w in found.ways}
    assert json.loads(json.dumps(found.to_dict()))["reason"] == found.reason
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("more", [{"placements_per_step": 2}, {"norm": "calibrate"}, {"axes": "h,w", "placements": ()}])
def test_searches_of_every_kind_can_be_planned(tiny: Callable[..., Settings], more: dict[str, object]) -> None:
    found = poolsearch.plan(tiny(**{**SMALL, **more}))
    assert found.ways[-1].takes.seconds > 0


@pytest.mark.usefixtures("hasty")
def test_the_hours_that_are_given_count(tiny: Callable[..., Settings]) -> None:
    found = poolsearch.plan(tiny(**SMALL, hours=1e-9))
    allowed = [w for w in found.ways if w.method in PREFERRED and w.members in (None, 1, 2)]
    cheapest = min(allowed, key=lambda w: w.takes.seconds)
    assert found.method == cheapest.method
    assert "nothing fits" in found.reason


def test_what_is_wrong_with_the_settings_is_told_as_by_a_run(tiny: Callable[..., Settings]) -> None:
    with pytest.raises(PoolsearchError, match="--members 5 is more than the 3 placements"):
        poolsearch.plan(tiny(**SMALL, members=5))


def made_up(method: str) -> Plan:
    one = Estimate(1, 1, 1)
    way = MethodEstimate(method, None, "", (StageCost("sweep", one),), 1)
    return Plan("net", "4,3,3", 3, 2, "", "", 1, 1, (way,), (), method, "a reason", (), 0.0)


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Planning advises a proxy; gives the settings of each time it was asked."""
    asked: list[Settings] = []

    def plan(settings: Settings, progress: object, trust: object) -> Plan:
        asked.append(settings)
        return made_up("proxy")

    monkeypatch.setattr(pipeline, "plan", plan)
    return asked


def test_auto_takes_what_is_advised_and_keeps_why(
    tiny: Callable[..., Settings], tmp_path: Path, advised: list[Settings]
) -> None:
    settings = tiny(**SMALL, method="auto", members=3, proxy_epochs=1, hours=2.0)
    poolsearch.run(tmp_path / "run", settings)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [asked.search.hours for asked in advised] == [2.0]
    assert record["settings"]["search"]["method"] == record["given"]["search"]["method"] == "proxy"
    assert record["given"]["alone"]["proxy_epochs"] == 1
    assert record["given"]["search"]["members"] == Settings().search.members  # of no use to a proxy
    assert record["plan"] == json.loads(json.dumps(made_up("proxy").to_dict()))
    assert [stage["stage"] for stage in record["stages"]] == ["sweep", "retrain"]


def test_a_resumed_run_keeps_its_method_and_does_not_plan_again(
    tiny: Callable[..., Settings], tmp_path: Path, advised: list[Settings]
) -> None:
    settings = tiny(**SMALL, method="auto", members=3, proxy_epochs=1)
    out = tmp_path / "run"
    poolsearch.search(out, settings)
    poolsearch.run(out, settings, resume=True)
    poolsearch.run(out, None, resume=True)
    assert len(advised) == 1
    record = json.loads((out / "run.json").read_text())
    assert record["given"]["search"]["method"] == "proxy"
    assert record["plan"]["reason"] == "a reason"
    with pytest.raises(PoolsearchError, match="--method was 'proxy', now 'halving'"):
        poolsearch.run(out, with_method(settings, "halving"), resume=True)


def test_nothing_is_planned_for_a_folder_that_cannot_be_used(
    tiny: Callable[..., Settings], tmp_path: Path, advised: list[Settings]
) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(PoolsearchError, match="is not empty"):
        poolsearch.run(tmp_path, tiny(method="auto"))
    with pytest.raises(PoolsearchError, match="--lr is -1"):
        poolsearch.run(tmp_path / "new", tiny(method="auto", lr=-1.0))
    assert advised == []


def test_hours_are_for_who_chooses(tiny: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match="--hours is for --method auto"):
        poolsearch.search(tmp_path / "run", tiny(hours=1.0))


def test_settings_of_a_method_are_those_that_are_of_use_to_it() -> None:
    given = Settings.of(method="auto", members=8, sweep_seeds=2, proxy_epochs=3, hours=1.0, epochs=9, lr=0.3)
    for method, kept in (
        ("mixture", {"members", "epochs"}), ("spos", {"members", "epochs"}), ("sweep", {"sweep_seeds"}),
        ("proxy", {"proxy_epochs"}), ("halving", set[str]()), ("macs", set[str]()),
    ):  # fmt: skip
        found = with_method(given, method)
        same = {name: value for _, name, value in Settings.of(method=method, lr=0.3).flat()}
        assert {name for _, name, value in found.flat() if value != same[name]} == kept, method


def test_a_plan_is_told_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from poolsearch.reports.terminal import show_plan

    show_plan(dataclasses.replace(made_up("halving"), warnings=("a warning",)))
    said = " ".join(capsys.readouterr().out.split())
    for part in ("3 placements", "halving", "1.0 s", "warning: a warning", "Advised: --method halving", "a reason"):
        assert part in said, part
