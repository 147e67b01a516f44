"""Planning as a whole: what it tells, that it leaves nothing, and how a run follows it."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import poolsearch
from poolsearch import pipeline
from poolsearch.cli import main as main_module
from poolsearch.cli.commands import Run
from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import (
    ChosenSetting,
    Estimate,
    HoursFit,
    MethodEstimate,
    Plan,
    SmallestDifference,
    StageCost,
)
from poolsearch.settings import Settings
from poolsearch.settings.check import with_method
from poolsearch.stages.planning import steps
from poolsearch.stages.planning.fitted import with_settings

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
    monkeypatch.setenv(
        "TORCHINDUCTOR_CACHE_DIR", str(tmp_path.parent / "inductor")
    )  # torch's, made when it is imported
    monkeypatch.setattr("tempfile.tempdir", None)
    before = torch.random.get_rng_state()
    found = poolsearch.plan(tiny(**SMALL, method="proxy", sweep_epochs=2, members=3))
    assert [(w.method, w.members) for w in found.ways] == [
        ("sweep", None), ("proxy", None), ("halving", None), ("random", None), ("hyperband", None),
        ("bayes", None), ("macs", None), ("spos", 1), ("mixture", 2), ("mixture", 3),
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
@pytest.mark.parametrize(
    "more",
    [
        {"placements_per_step": 2},
        {"norm": "calibrate"},
        pytest.param({"axes": "h,w", "placements": ()}, marks=pytest.mark.nightly),
    ],
)
def test_searches_of_every_kind_can_be_planned(tiny: Callable[..., Settings], more: dict[str, object]) -> None:
    found = poolsearch.plan(tiny(**{**SMALL, **more}))
    assert found.ways[-1].takes.seconds > 0


OPEN = {"epochs": None, "retrain_epochs": None, "retrain_seeds": 3, "top_k": 3, "members": 4, "control": ("macs",)}
"""What of the tiny settings is left to the hours."""

FOUR = {"placements": ("4,3,3", "5,3,2", "3,4,3", "3,3,4"), "workers": 1}


def chosen_of(found: Plan) -> dict[str, Any]:
    assert found.fit is not None
    return {one.name: one.value for one in found.fit.settings}


@pytest.mark.usefixtures("hasty")
def test_hours_choose_a_job_that_fits_and_its_command_is_that_job(tiny: Callable[..., Settings]) -> None:
    settings = tiny(**{**FOUR, **OPEN, "hours": 1000.0})
    found = poolsearch.plan(settings)
    assert found.fit is not None and found.fit.fits
    # everything is at its full size, and seeds at the most; the control is not the default's and so kept
    assert chosen_of(found) == {
        "epochs": 40, "members": 4, "retrain_epochs": 12, "retrain_seeds": 10, "top_k": 3, "control": ("macs",),
    }  # fmt: skip
    assert {one.name: one.why for one in found.fit.settings}["control"] == "as given"
    words = shlex.split(found.fit.command)
    assert words[:2] == ["poolsearch", "run"] and "--hours" not in words
    command = main_module._parse(words[1:])
    assert isinstance(command, Run)
    assert command.settings == with_settings(settings, chosen_of(found))
    assert [stage.name for stage in (*found.ways[0].stages, *found.after)] == ["search", "rank", "retrain", "test"]
    assert found.fit.takes.seconds < 3.6e6
    assert [one.accuracy for one in found.fit.shows] == [0.9, 0.7]
    assert json.loads(json.dumps(found.to_dict()))["fit"]["command"] == found.fit.command


@pytest.mark.usefixtures("hasty")
def test_hours_that_are_enough_for_a_sweep_are_used_for_one_by_auto(tiny: Callable[..., Settings]) -> None:
    found = poolsearch.plan(tiny(**{**FOUR, **OPEN, "hours": 1000.0, "method": "auto"}))
    assert [stage.name for stage in (*found.ways[0].stages, *found.after)] == ["sweep", "retrain", "test"]
    assert found.method == chosen_of(found)["method"] == "sweep"
    assert not {"epochs", "members"} & set(chosen_of(found))


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

    def plan(settings: Settings, progress: object, trust: object, keep: object, network: object) -> Plan:
        asked.append(settings)
        return made_up("proxy")

    monkeypatch.setattr(pipeline, "_plan", plan)
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


def test_hours_are_for_methods_that_can_be_fitted(tmp_path: Path) -> None:
    for method in ("darts", "proxy"):
        with pytest.raises(PoolsearchError, match=f"--hours is for --method .*, not for {method}"):
            poolsearch.search(tmp_path / "run", Settings.of(method=method, hours=1.0))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Planning for hours chooses two epochs and one top-k; gives the settings of each time it was asked."""
    asked: list[Settings] = []
    one = Estimate(1, 1, 1)
    values = {"method": "spos", "epochs": 2, "retrain_epochs": 1, "retrain_seeds": 2, "top_k": 1, "control": ()}
    settings = tuple(ChosenSetting(name, value, "so") for name, value in values.items())

    def plan(settings_: Settings, progress: object, trust: object, keep: object, network: object) -> Plan:
        asked.append(settings_)
        fit = HoursFit(1.0, True, "poolsearch run", settings, one, one, (), 1, 2, 1)
        return dataclasses.replace(made_up("spos"), fit=fit)

    monkeypatch.setattr(pipeline, "_plan", plan)
    return asked


def test_a_run_with_hours_is_the_run_that_was_chosen(
    tiny: Callable[..., Settings], tmp_path: Path, fitted: list[Settings]
) -> None:
    settings = tiny(**{**SMALL, **OPEN, "members": 3, "hours": 1.0, "control": ()})
    out = tmp_path / "run"
    poolsearch.search(out, settings)
    record = json.loads((out / "run.json").read_text())
    assert record["given"]["search"]["hours"] is None
    assert (record["given"]["search"]["method"], record["given"]["search"]["epochs"]) == ("spos", 2)
    assert record["plan"]["fit"]["hours"] == 1.0
    # gone on with by the same flags, by other hours, or by none: it is not planned again
    poolsearch.search(out, settings, resume=True)
    poolsearch.search(out, settings.changed(hours=7.0), resume=True)
    poolsearch.run(out, resume=True)
    assert len(fitted) == 1
    assert json.loads((out / "test.json").read_text())["summary"][0]["n"] == 2
    with pytest.raises(PoolsearchError, match="--epochs was 2, now 9"):
        poolsearch.search(out, settings.changed(epochs=9), resume=True, keep=("epochs",))


def test_settings_of_a_method_are_those_that_are_of_use_to_it() -> None:
    given = Settings.of(method="auto", members=8, sweep_seeds=2, proxy_epochs=3, hours=1.0, epochs=9, lr=0.3)
    for method, kept in (
        ("mixture", {"members", "epochs", "hours"}), ("spos", {"members", "epochs", "hours"}),
        ("sweep", {"sweep_seeds"}), ("proxy", {"proxy_epochs"}), ("halving", set[str]()), ("macs", {"hours"}),
    ):  # fmt: skip
        found = with_method(given, method)
        same = {name: value for _, name, value in Settings.of(method=method, lr=0.3).flat()}
        assert {name for _, name, value in found.flat() if value != same[name]} == kept, method


def test_what_fits_is_told_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from poolsearch.reports.terminal import show_plan

    one, chosen = (
        Estimate(60, 50, 70),
        (ChosenSetting("top_k", 2, "as many as fit"), ChosenSetting("control", (), "so")),
    )
    fit = HoursFit(
        0.5, True, "poolsearch run --top-k 2", chosen, one, one, (SmallestDifference(0.9, 0.021),), 500, 3, 2
    )
    show_plan(dataclasses.replace(made_up("spos"), fit=fit))
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "--top-k 2 as many as fit", "--control (none) so", "all 60 s 50 s to 70 s",
        "Fits into 0.5 h: poolsearch run --top-k 2",
        "2.1 points if the default reaches 90% (500 test images, 3 seeds, 2 answers",
    ):  # fmt: skip
        assert part in said, part
    show_plan(dataclasses.replace(made_up("spos"), fit=dataclasses.replace(fit, fits=False)))
    assert "0.5 h is not enough: the least useful run takes about 0.017 h" in capsys.readouterr().out


def test_a_plan_is_told_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from poolsearch.reports.terminal import show_plan

    show_plan(dataclasses.replace(made_up("halving"), warnings=("a warning",)))
    said = " ".join(capsys.readouterr().out.split())
    for part in ("3 placements", "halving", "1.0 s", "warning: a warning", "Advised: --method halving", "a reason"):
        assert part in said, part
