"""How trainings stand while they are under way, on a clock that the test moves."""

from datetime import datetime

import pytest

from poolsearch.progress import SilentProgress
from poolsearch.space import Placement
from poolsearch.stages.standalone import progress as module
from poolsearch.stages.standalone.progress import SweepProgress, best_first, finish_time
from poolsearch.stages.standalone.trial import Trial

CHEAP, DEAR = Placement.parse("1,1,8"), Placement.parse("7,1,2")
MACS_OF = {Trial(placement, seed): macs for placement, macs in ((CHEAP, 100), (DEAR, 300)) for seed in range(2)}


class Recorder(SilentProgress):
    def __init__(self):
        self.lines, self.last = [], None

    def table(self, table, line=""):
        self.last = table
        self.lines += [line] if line else []


@pytest.fixture
def clock(monkeypatch):
    """Seconds that passed, at noon."""
    passed = [0.0]

    class Noon(datetime):
        @classmethod
        def now(cls):
            return datetime(2026, 11, 26, 12)

    monkeypatch.setattr(module.time, "monotonic", lambda: 50 + passed[0])
    monkeypatch.setattr(module, "datetime", Noon)
    return passed


class Others:
    """What files say."""

    def __init__(self):
        self.ended, self.held = {}, set()


def made(others, ended=()):
    shown = Recorder()
    return shown, SweepProgress(
        shown, "sweep", "test accuracy", MACS_OF, dict(ended), others.ended.get, others.held.__contains__
    )


def test_the_expected_finish_counts_what_is_half_done_and_what_others_have_ended(clock):
    others = Others()
    shown, live = made(others)
    with live.bar("whole", 100), live.bar(str(Trial(CHEAP, 0)), 10) as update:
        others.held.add(Trial(DEAR, 0))
        update(0, "")
        clock[0] = 60.0
        update(5, "")  # 50 of 800 MACs in 60 s: 900 s are left
        assert shown.last.title == (
            "sweep: 0 of 4 trainings have ended, 1 run here, 1 elsewhere; expected finish 12:15, in 15 min"
        )
        others.held.clear()
        others.ended[Trial(DEAR, 0)] = 0.75
        clock[0] = 70.0
        update(5, "")  # 350 of 800 in 70 s: 90 s are left
    assert shown.lines == [
        "7,1,2 seed 0 by another process: test accuracy 75.00 % (sweep: 1 of 4; expected finish 12:01)"
    ]
    assert shown.last.title.endswith(
        "1 of 4 trainings have ended, 1 run here, 0 elsewhere; expected finish 12:01, in 90 s"
    )
    clock[0] = 80.0
    live.ended(Trial(CHEAP, 0), 0.5)
    live.ended(Trial(DEAR, 0), 0.75)  # is known already
    assert shown.lines[1:] == ["1,1,8 seed 0: test accuracy 50.00 % (sweep: 2 of 4; expected finish 12:01)"]
    live.ended(Trial(CHEAP, 1), 0.6)
    live.ended(Trial(DEAR, 1), 0.75)
    assert shown.lines[-1].endswith("(sweep: 4 of 4; all have ended)")
    assert shown.last.columns == ("best so far", "test accuracy", "seeds", "MACs")
    assert shown.last.rows == [("7,1,2", "75.00 %", "2 of 2", "300"), ("1,1,8", "55.00 %", "2 of 2", "100")]


def test_what_was_done_before_is_nobodys_speed(clock):
    shown, live = made(Others(), {Trial(DEAR, 0): 0.9})
    with live.bar(str(Trial(DEAR, 1)), 10) as update:
        update(4, "")  # from a checkpoint
        clock[0] = 30.0
        update(5, "")  # 30 MACs in 30 s, and 150 + 200 are left
    assert shown.last.title.endswith("expected finish 12:05, in 5.8 min")


def test_nothing_is_expected_before_anything_is_done(clock):
    shown, live = made(Others())
    with live.bar("whole", 100) as update:
        update(0, "")
    assert shown.last.title.endswith("0 run here, 0 elsewhere; expected finish not known yet")


def test_the_best_by_mean_then_by_macs():
    value_of = {Trial(DEAR, 0): 0.5, Trial(DEAR, 1): 0.7, Trial(CHEAP, 1): 0.6}
    assert [(k.placement, k.n, k.macs) for k in best_first(value_of, MACS_OF)] == [("1,1,8", 1, 100), ("7,1,2", 2, 300)]


def test_a_finish_on_another_day_names_it():
    now = datetime(2026, 11, 26, 17, 28)
    assert finish_time(now, 4320) == "expected finish 18:40, in 72 min"
    assert finish_time(now, 86_400 / 2, short=True) == "expected finish Fri 27 Nov 05:28"
