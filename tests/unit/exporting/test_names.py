"""Names in exported files: whatever is in them, they come out as they went in, and are never code."""

import ast
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from poolsearch.errors import PoolsearchError
from poolsearch.exporting.builtin_code import builtin_code
from poolsearch.exporting.check import ExportCheck, OutputDifference
from poolsearch.exporting.library_code import library_codes
from poolsearch.exporting.model_card import ModelCard, features_of
from poolsearch.exporting.readme import readme
from poolsearch.exporting.usage import literal, quoted
from poolsearch.image_size import ImageSize
from poolsearch.nets.build import NetSpec, build
from poolsearch.storage.files import write_text

SIZE = ImageSize.of(32)
CODE = "__import__('pathlib').Path('ran').touch()"
NAMES = [
    f'"""\n{CODE}\n"""', f"'''\n{CODE}\n'''", f'"\n{CODE}\n"', f"'+{CODE}+'", f'"+{CODE}+"', f"{{{CODE}}}",
    '"""', "'''", "\"\"\"'''", "\\", "\\\\", "\\N", "\\N{BULLET}", "\\u", "\\x", "\\'", '\\"""', "a\nb", "a\rb", "\t",
    "", "\"\"\"+'''", f"''';{CODE}#",
    "{{", "}}", "{facts}", "%s", "%(x)s", "$x", "#", "Ä", "猫", "\U0001f600", "\u202e", "\u2028", "\x00", "\x1b[2J",
    "\udcff", "x" * 300, "a b " * 90 + '"',
]  # fmt: skip
PROGRAM = """
import json, sys
sys.modules["poolsearch"] = None
import model
print(json.dumps([model.__doc__, model.CLASSES, model.RUN, model.NETWORK]))
"""


def facts(run, classes=NAMES, net="cifar-resnet20"):
    spec = NetSpec(net, len(classes), 2 if ":" not in net else None, image_size=32)
    placement = build(NetSpec("cifar-resnet20", 3, 2)).default
    return ModelCard(spec, placement, 0, classes, (0.1,) * 3, (0.5,) * 3, SIZE, SIZE, run, "a test")


def docstring(code):
    return ast.get_docstring(ast.parse(code))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_a_constant_of_the_file_and_changes_nothing_else(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = facts(name, [name, "plain"])
    features = features_of(told.spec, told.placement)
    code = builtin_code(told, features)
    write_text(tmp_path / "model.py", code)  # can be written at all
    scope = {"__file__": "model.py", "__name__": "model"}
    exec(compile(code, "model.py", "exec"), scope)
    assert (scope["RUN"], scope["CLASSES"], scope["NETWORK"]) == (name, [name, "plain"], "cifar-resnet20")
    assert not (tmp_path / "ran").exists()
    usual = builtin_code(facts("digits", ["0", "1"]), features)
    assert docstring(code) == docstring(usual)
    assert [type(node) for node in ast.parse(code).body] == [type(node) for node in ast.parse(usual).body]


def test_a_fresh_interpreter_reads_every_name_as_it_was(tmp_path):
    told = facts(NAMES[0])
    write_text(tmp_path / "model.py", builtin_code(told, features_of(told.spec, told.placement)))
    net = build(told.spec)
    save_file({name: t.contiguous() for name, t in net.state_dict().items()}, tmp_path / "model.safetensors")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
    doc, classes, run, _ = json.loads(done.stdout)
    assert (classes, run) == (NAMES, NAMES[0])
    assert "ran" not in os.listdir(tmp_path) and "digits" not in doc


@given(st.text(st.characters(codec=None)), st.lists(st.text(st.characters(codec=None))))
def test_every_text_is_a_literal_that_can_be_written(text, texts):
    assert ast.literal_eval(quoted(text)) == text and ast.literal_eval(literal(texts)) == texts
    (quoted(text) + literal(texts)).encode("utf-8")


def test_a_network_of_a_file_with_such_a_name(tmp_path):
    """The original's name and module, and the names of its layers, stand in code, too."""
    odd = tmp_path / 'it\'s """ {x}.py'
    odd.write_text(
        "from torch import nn\n"
        "def make(classes):\n"
        "    one, two, three = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))\n"
        "    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)]\n"
        "    return nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), nn.MaxPool2d(2), three, *head)\n"
        "def named(classes):\n"
        "    net = make(classes)\n"
        "    net.add_module('a\"b', nn.Identity())\n"
        "    return net\n"
    )
    net = build(NetSpec(f"{odd}:make", 2, image_size=32))
    told = ModelCard(net_spec := NetSpec(f"{odd}:make", 2, image_size=32), net.default, 0, ["a", "b"], (0.1,) * 3,
                 (0.5,) * 3, SIZE, SIZE, "run", "a test")  # fmt: skip
    for code in library_codes(told, net, features_of(net_spec, net.default)):
        body = ast.parse(code).body
        assert any(isinstance(node, ast.ImportFrom) and node.module == "original" for node in body)
        constants = {n.targets[0].id: n.value for n in body if isinstance(n, ast.Assign)}
        assert ast.literal_eval(constants["NETWORK"]) == f"{odd.name}:make"
    with pytest.raises(PoolsearchError, match=r"has a module named .*Give the module another name"):
        build(NetSpec(f"{odd}:named", 2, image_size=32))
    with pytest.raises(PoolsearchError, match="has no function"):
        build(NetSpec(f"{odd}:make(2) or make", 2, image_size=32))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_readme_shows_names_and_is_not_shaped_by_them(name):
    told, gap = facts(name, ["a", "b"]), OutputDifference(0.0, 0.0)
    features = features_of(told.spec, told.placement)
    text = readme(told, features, ExportCheck(gap, gap, None), name, ["onnx"])
    usual = readme(facts("digits", ["a", "b"]), features, ExportCheck(gap, gap, None), "change", ["onnx"])
    assert len(text.splitlines()) == len(usual.splitlines())
    assert text.isprintable() or {*text} - {"\n"} <= {c for c in text if c.isprintable()} | {"\n"}
    text.encode("utf-8")
