"""Files of the user's: loaded as Python loads a script, each time alike."""

import sys
import textwrap

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.user_code import ModulePlace, factory_of, neighbours_of


@pytest.fixture
def write(tmp_path):
    def of(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return of


SCRIPT = """
    from __future__ import annotations
    import json
    from dataclasses import dataclass, fields
    from pathlib import Path
    from layers_beside import WIDTH, Layer

    @dataclass
    class Config:
        width: int = json.loads((Path(__file__).parent / "width.json").read_text())
        layer: Layer | None = None

    class Made:
        def __init__(self, many):
            import later_beside
            self.all = many, Config().width, WIDTH, later_beside.NAME, [f.name for f in fields(Config)]

    def make(many):
        return Made(many).all
"""


def test_a_file_is_loaded_as_a_script_is(write):
    folder = write(net=SCRIPT, layers_beside="WIDTH = 8\nclass Layer: pass", later_beside="NAME = 'later'")
    (folder / "width.json").write_text("3")
    before = [*sys.path]
    assert factory_of(folder / "net.py", "make", "network")(5) == (5, 3, 8, "later", ["width", "layer"])
    assert sys.path == before
    assert neighbours_of(folder / "net.py").keys() == {"layers_beside.py", "later_beside.py"}
    assert isinstance(factory_of(folder / "net.py", "Made", "network")(1).all, tuple)


def test_each_load_runs_the_file_and_its_neighbours_anew(write):
    folder = write(
        net="import count_beside\ndef make(): return count_beside.next()",
        count_beside="number = 0\ndef next():\n    global number\n    number += 1\n    return number",
    )
    first = factory_of(folder / "net.py", "make", "network")
    assert (first(), first(), factory_of(folder / "net.py", "make", "network")()) == (1, 2, 1)


def test_neighbours_of_one_name_in_two_folders_are_not_mixed_up(write):
    net = "from same_beside import WHO\ndef make(): return WHO"
    folder = write(a__in__net=net, a__in__same_beside="WHO = 'a'", b__in__net=net, b__in__same_beside="WHO = 'b'")
    assert [factory_of(folder / who / "net.py", "make", "sampler")() for who in "aba"] == ["a", "b", "a"]


def test_a_file_in_a_package_may_import_relatively(write):
    folder = write(
        nets_beside__in____init__="", nets_beside__in__blocks="WIDTH = 4",
        nets_beside__in__net="from .blocks import WIDTH\nfrom nets_beside import blocks\ndef make(): return WIDTH",
    )  # fmt: skip
    path = folder / "nets_beside" / "net.py"
    assert factory_of(path, "make", "network")() == 4
    assert neighbours_of(path).keys() == {"nets_beside/__init__.py", "nets_beside/blocks.py"}
    assert ModulePlace.of(path) == ModulePlace(folder.resolve(), "nets_beside", "nets_beside.user_file_net")


def test_a_file_with_the_name_of_a_library_hides_none(write):
    folder = write(json="def make(): return 1")
    import json

    assert factory_of(folder / "json.py", "make", "network")() == 1
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nimport not_there_beside", r"ModuleNotFoundError: No module named 'not_there_beside' \(line 2\)"),
        ("def make(:", "SyntaxError"),
        ("import sys\nsys.exit('usage: ...')", r"SystemExit: usage: \.\.\. \(line 2\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(write, text, said):
    folder = write(net=text)
    with pytest.raises(PoolsearchError, match=f"net.py cannot be imported: {said}"):
        factory_of(folder / "net.py", "make", "network")
    assert "user_file_net" not in sys.modules
