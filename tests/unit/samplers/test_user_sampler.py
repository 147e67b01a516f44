"""A sampler of the user's own: what goes wrong in it is said, with its name."""

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.samplers.make import SAMPLERS, make_sampler
from poolsearch.session.prepare import absolute
from poolsearch.settings import Settings
from poolsearch.settings.methods import METHODS
from poolsearch.settings.resolve import resolve
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space

FILE = """
from poolsearch import Placement

class Broken:
    def ask(self): raise KeyError("ask")
    def tell(self, placement, reward): raise ValueError("tell")
    def state(self): return {1, 2}
    def load_state(self, state): raise TypeError("load")

class Outside(Broken):
    def ask(self): return Placement.of_blocks([2, 1, 1])

class Nothing(Broken):
    def ask(self): return None

def broken(space, seed, draws): return Broken()
def outside(space, seed, draws): return Outside()
def nothing(space, seed, draws): return Nothing()
def none(space, seed, draws): return 7
def fails(space, seed, draws): raise RuntimeError("no luck")
def narrow(space): return Broken()
"""
SPACE = Space(6, 2, Placement.of_blocks([2, 2, 2]))


@pytest.fixture
def made(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    return lambda name: make_sampler(f"{tmp_path}/mine.py:{name}", SPACE, SearchSettings(), 0, 10)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", r"mine.py has no function 'nowhere'; it has .*broken"),
        ("none", r"mine.py:none is a int without ask, tell, state, load_state: a sampler has ask\(\)"),
        ("fails", "mine.py:fails could not be built: RuntimeError: no luck"),
        ("narrow", "mine.py:narrow could not be built: TypeError"),
    ],
)
def test_what_gives_no_sampler_is_said(made, name, said):
    with pytest.raises(PoolsearchError, match=said):
        made(name)


@pytest.mark.parametrize(
    ("name", "call", "said"),
    [
        ("broken", lambda s: s.ask(), r"mine.py:broken failed in ask\(\): KeyError"),
        ("broken", lambda s: s.tell(SPACE[0], 0.5), r"mine.py:broken failed in tell\(\): ValueError: tell"),
        ("broken", lambda s: s.state(), "mine.py:broken has a state that is no JSON value .*set"),
        ("broken", lambda s: s.load_state(0), r"mine.py:broken failed in load_state\(\): TypeError: load"),
        ("outside", lambda s: s.ask(), "mine.py:outside asked for 2,1,1, which is not one of the 10 placements"),
        ("nothing", lambda s: s.ask(), "mine.py:nothing asked for None, which is not one of"),
    ],
)
def test_what_fails_in_a_search_is_said(made, name, call, said):
    with pytest.raises(PoolsearchError, match=said):
        call(made(name))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(PoolsearchError, match=r"there is no file .*gone.py to take a sampler from"):
        make_sampler(f"{tmp_path}/gone.py:make", SPACE, SearchSettings(), 0, 10)


def test_the_path_is_kept_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(Settings.of(method="mine.py:make")).search.method == f"{tmp_path.resolve()}/mine.py:make"
    assert absolute(Settings.of(method="bse")).search.method == "bse"


def test_every_sampled_method_has_its_sampler_and_no_other():
    assert [*SAMPLERS] == [name for name, kind in METHODS.items() if kind == "sampled"]


@pytest.mark.parametrize("method", ["spos", "bse", "mcts", "mine.py:make"])
def test_only_a_mixture_has_several_members(method):
    assert resolve(Settings.of(method=method), 100, 100, 8).search.members == 1
    assert resolve(Settings.of(method=method), 100, 100, 8).search.inv_temp_end == 100
