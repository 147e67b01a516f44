"""Which trial comes next, where others do some."""

from __future__ import annotations

import pytest

from poolsearch.workers import queue
from poolsearch.workers.queue import TrialQueue


def test_what_others_do_is_looked_at_again_after_all_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(queue.time, "monotonic", lambda: now)
    trials = TrialQueue([3, 1, 2])
    assert trials.next() == 3
    trials.busy(3)
    now += 1000
    assert [trials.next(), trials.next(), trials.next()] == [1, 2, 3]
    assert not trials and trials.next() is None
    trials.busy(1)
    trials.busy(2)
    assert trials and trials.next() is None, "not at once"
    now += 1000
    assert [trials.next(), trials.next()] == [1, 2]
    trials.busy(2)
    trials.clear()
    assert not trials
