"""What is chosen for hours in an open run, from made-up prices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poolsearch import pipeline
from poolsearch.errors import PoolsearchError
from poolsearch.inspection_results import NOTHING, Estimate, HoursFit, Plan, fit_text
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.stages.planning.estimate import StepTime, WorkerLayout
from poolsearch.stages.planning.fitted import Asked, Fitted, fit, members_to_price, sizes_of, told, with_settings
from poolsearch.stages.planning.hours import JobPrices

GIVEN = {
    "placements": ("4,3,3", "5,3,2", "3,4,3", "3,3,4"), "epochs": None, "retrain_epochs": None, "retrain_seeds": 3,
    "top_k": 3, "members": None, "control": ("macs", "random"),
}  # fmt: skip


@pytest.fixture
def run(tiny: Callable[..., Settings], tmp_path: Path) -> Iterator[Run]:
    """719 + 719 + 359 digits in batches of 32: 22 and 44 steps an epoch; four placements."""
    with open_run(tmp_path / "run", tiny(**GIVEN, batch=32), False, SilentProgress()) as opened:
        yield opened


def second_each(run: Run) -> JobPrices:
    """A second for an epoch of one supernet, and for every step alone; nothing else takes time."""
    members = {m: Estimate.of(m, 0.1) for m in (1, 2, 3, 4)}
    step = StepTime(np.ones(4), 0.1)
    crew = WorkerLayout(1, 0, 0)
    return JobPrices(
        NOTHING, members, dict.fromkeys(members, NOTHING), step, 44, crew, np.zeros(4), np.ones(4), 0, (1.0,)
    )


def chosen(run: Run, settings: Settings, keep: Collection[str] = ()) -> tuple[dict[str, Any], HoursFit, Fitted]:
    assert settings.search.hours is not None
    asked = Asked(settings, keep, settings.search.hours)
    found = fit(run, asked, second_each(run), Estimate.of(1000, 0.1), spent=100)
    fitted = told(run, asked, found)
    return {one.name: one.value for one in fitted.settings}, fitted, found


def test_what_is_chosen_and_why(run: Run, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny(**GIVEN, batch=32, hours=1e-3)
    asked = Asked(settings, (), 1e-3)
    assert members_to_price(run, asked) == [1, 2, 4]
    assert members_to_price(run, Asked(settings, ("members",), 1.0)) == [4]
    sizes = sizes_of(run, asked)
    # 200 steps are 10 epochs of 22, 300 are 7 of 44
    assert (sizes[0].epochs, sizes[0].retrain_epochs, sizes[0].retrain_seeds, sizes[0].top_k) == (10, 7, 2, 1)
    assert (sizes[-1].epochs, sizes[-1].retrain_epochs, sizes[-1].members, sizes[-1].retrain_seeds) == (40, 12, 4, 10)

    least, fitted, _ = chosen(run, settings)
    assert least == {
        "epochs": 10, "members": 1, "retrain_epochs": 7, "retrain_seeds": 2, "top_k": 1, "control": (),
    }  # fmt: skip
    assert not fitted.fits
    assert (
        "--method mixture --preset paper --members 1 --epochs 10" in fitted.command and "--hours" not in fitted.command
    )
    with monkeypatch.context() as patched:
        made = Plan("", "", 4, 1, "", "", 1, 1, (), (), "spos", "", (), 0.0, fitted)
        patched.setattr(pipeline, "_plan", lambda *_: made)
        with pytest.raises(
            PoolsearchError, match=r"0\.001 h is not enough: the least useful run takes about .* h: pool"
        ):
            pipeline.run(run.dir.root.parent / "new", settings)
        assert not (run.dir.root.parent / "new").exists()

    whole, fitted, found = chosen(run, settings.changed(hours=10.0))
    assert whole == {
        "epochs": 40, "members": 4, "retrain_epochs": 12, "retrain_seeds": 10, "top_k": 3, "control": ("macs", "random")
    }  # fmt: skip
    assert fitted.fits and fitted.takes == found.prices.takes(found.size)
    assert fitted.takes.seconds <= 36_000 - 100
    why = {one.name: one.why for one in fitted.settings}
    assert why["epochs"] == "the default" and "smaller a difference" in why["retrain_seeds"]
    given = with_settings(settings.changed(hours=10.0), whole)
    assert (given.search.hours, given.search.members, given.retrain.retrain_seeds) == (None, 4, 10)
    for part in ("Fitted into 10 h", "--retrain-seeds 10", "if the default reaches 90%", "359 test images"):
        assert part in fit_text(fitted), part

    some, fitted, _ = chosen(run, settings.changed(hours=0.55))
    assert {one.name: one.why for one in fitted.settings}["epochs"] == "as many as fit; 40 by default"
    assert 10 < some["epochs"] < 40


def test_what_is_given_is_fixed(run: Run, tiny: Callable[..., Settings]) -> None:
    settings = tiny(**{**GIVEN, "epochs": 3, "batch": 32}, hours=1e-3)
    own = replace(run, settings=run.settings.changed(epochs=3))
    found, fitted, _ = chosen(own, settings, keep=("members", "retrain_seeds"))
    assert (found["epochs"], found["members"], found["retrain_seeds"], found["top_k"]) == (3, 4, 3, 1)
    why = {one.name: one.why for one in fitted.settings}
    assert why["epochs"] == why["members"] == why["retrain_seeds"] == "as given"


@pytest.mark.parametrize(
    ("more", "method", "left_out"),
    [
        ({"method": "macs"}, "macs", {"method", "epochs", "members"}),
        ({"method": "bayes", "preset": "robust"}, "bayes", {"method", "epochs", "members"}),
        ({"method": "bse"}, "bse", {"method", "members"}),
        ({"method": "auto"}, "sweep", {"epochs", "members"}),
        ({"method": "auto", "hours": 1e-3}, "mixture", {"members"}),  # told as spos
        ({"metric": "macro-f1"}, "mixture", {"method"}),
    ],
)
def test_every_method_that_can_be_fitted(
    run: Run, tiny: Callable[..., Settings], more: dict[str, Any], method: str, left_out: set[str]
) -> None:
    values, fitted, found = chosen(run, tiny(**{**GIVEN, "batch": 32, "hours": 10.0, **more}))
    assert found.method == method
    assert not left_out & set(values)
    assert {"retrain_epochs", "retrain_seeds", "top_k"} <= set(values)
    assert len(fitted.shows) == 2
