"""Files of the user's: loaded as Python loads a script, each time alike."""

import importlib
import importlib.util
import py_compile
import sys
import textwrap

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.user_code import ModulePlace, factory_of, imports_of, neighbours_of


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
    assert imports_of(path) == sorted(neighbours_of(path).values())
    place = ModulePlace.of(path)
    assert (place.root, place.package) == (folder.resolve(), "nets_beside")
    assert place.name.startswith("nets_beside.user_file_net_")


def test_files_of_one_name_are_two_modules(write):
    folder = write(a__in__net="class Net: pass", b__in__net="class Net: pass")
    one, two = (factory_of(folder / who / "net.py", "Net", "network") for who in "ab")
    assert one.__module__ != two.__module__
    assert all(each.__wrapped__ is sys.modules[each.__module__].Net for each in (one, two))


def test_what_a_file_imports_is_found_without_running_it(write):
    leaves = ("plain", "late", "named", "parts__in____init__", "parts__in__one", "parts__in__two", "deep__in__leaf")
    folder = write(
        net="""
            import os.path, poolsearch.errors, plain as p
            from parts import *
            raise SystemExit
            def make():
                from deep import leaf
                import late
                importlib.import_module("named"), importlib.import_module("na" + "med"), __import__("nothing")
        """,
        poolsearch__in__errors="", unused="",
        broken="def (", circle="import net, circle, broken", **dict.fromkeys(leaves, "import circle"),
    )  # fmt: skip
    (folder / "compiled.so").touch()
    (folder / "late.py").write_text("import compiled, json\nfrom . import unused\nfrom ... import unused")
    (folder / "around").symlink_to(folder)
    (folder / "named.py").write_text("import around.around.around.around.plain")
    wanted = {f"{name.replace('__in__', '/')}.py" for name in (*leaves, "circle", "broken", "net", "unused")}
    found = {path.resolve().relative_to(folder.resolve()).as_posix() for path in imports_of(folder / "net.py")}
    assert found == {*wanted, "compiled.so"}
    assert imports_of(folder / "gone.py") == []


def test_what_was_imported_before_is_a_neighbour_too(write, monkeypatch):
    folder = write(
        net="import json, early_beside\ndef make(): return early_beside", early_beside="", other_beside="", json=""
    )
    monkeypatch.syspath_prepend(folder)
    scripts = importlib.import_module("early_beside"), importlib.import_module("other_beside")
    try:
        for _ in range(2):
            assert factory_of(folder / "net.py", "make", "network")() is scripts[0]
            assert neighbours_of(folder / "net.py").keys() == {"early_beside.py"}
    finally:
        del sys.modules["early_beside"], sys.modules["other_beside"]


def test_a_compiled_file_beside_a_neighbour_is_not_run(write):
    folder = write(net="import text_beside\ndef make(): return text_beside.WHO", text_beside="WHO = 'text'")
    other = write(other="WHO = 'compiled'") / "other.py"
    cached = importlib.util.cache_from_source(str(folder / "text_beside.py"))
    py_compile.compile(str(other), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    finders = [*sys.meta_path]
    assert factory_of(folder / "net.py", "make", "network")() == "text"
    assert sys.meta_path == finders


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
    assert ModulePlace.of(folder / "net.py").name not in sys.modules
