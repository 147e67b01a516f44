"""``poolsearch check`` as a user runs it: what it says, and its exit code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

MINE = """
import random
from torch import nn

class Jitter(nn.Module):
    def forward(self, x):
        return x + random.random()

def layers(a, b, stride):
    return [nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.ReLU()]

def net(classes, *more):
    parts = [*layers(3, 8, 1), *layers(8, 8, 2), *layers(8, 8, 1), *layers(8, 8, 2), *layers(8, 8, 1), *more]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))

def jittery(classes):
    return net(classes, Jitter())

def raises(classes):
    raise OSError(2, "no such file", "weights.pt")

def table_of_positions(classes):
    return nn.Sequential(*layers(3, 8, 1), nn.Flatten(), nn.Linear(8 * 32 * 32, classes))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_a_network_of_ones_own_holds(command: Command, mine: Path) -> None:
    done = command("check", "mine.py:net", "--image-size", "32", cwd=mine)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for part in ("6 placements; the default is 1,2,2", "of all of them", "difference to the original's: 0,", "holds."):
        assert part in said, part
    assert "without computing anything" in done.stderr
    assert sorted(path.name for path in mine.iterdir() if path.name != "__pycache__") == ["mine.py"], "no run folder"


def test_quiet_and_every_option(command: Command, mine: Path) -> None:
    flags = "--image-size 32 --classes 3 --op avg --axes h,w --blocks 0 3 6 9 12 --search-stem --all --quiet".split()
    done = command("check", "mine.py:net", *flags, cwd=mine)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "36 placements, height and width each by itself" in " ".join(done.stdout.split())


def test_what_does_not_hold_is_listed_and_the_exit_code_is_1(command: Command, mine: Path) -> None:
    done = command("check", "mine.py:jittery", "--image-size", "32", cwd=mine)
    assert done.returncode == 1, done.stderr
    assert "Does not hold (2):" in done.stdout
    assert "1,2,2: in evaluation, the logits at the default placement differ" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cifar-resent20"], "Did you mean 'cifar-resnet20'?"),
        (["torchvision:resnet19"], "torchvision has no network 'resnet19'. Near it:"),
        (["mine.py:raises"], "mine.py:raises could not be built: FileNotFoundError: [Errno 2] no such file"),
        (["mine.py:other"], "mine.py has no function 'other'; it has"),
        (["mine.py:table_of_positions", "--image-size", "32"], "at least 2 are needed"),
        (["mine.py:net", "--image-size", "2"], "cannot be halved: use larger images (--image-size)"),
        (["mine.py:net", "--classes", "0"], "--classes is 0; allowed is at least 1"),
        (["mine.py:net", "--op", "stride"], "unknown downsampling op of a restrided network 'stride'"),
        (["cifar-resnet20", "--search-stem"], "--search-stem is for networks that are restrided"),
        ([], "NET"),
        (["mine.py:net", "--axes", "x"], "--axes"),
    ],
)
def test_mistakes_are_told_without_a_traceback(command: Command, mine: Path, arguments: list[str], said: str) -> None:
    done = command("check", *arguments, cwd=mine)
    assert done.returncode == 2, done.stdout + done.stderr
    text = " ".join((done.stdout + done.stderr).split())
    assert said in text
    assert "Traceback" not in text


def test_help_teaches(command: Command) -> None:
    text = command("check", "--help").stdout
    for part in (
        "poolsearch check timm:regnety_002",
        "NET",
        "--image-size",
        "--classes",
        "--op",
        "--search-stem",
        "--blocks",
        "--all",
    ):
        assert part in text, part
    listed = command("--help").stdout
    assert "check" in listed
    assert "Shown are the blocks" not in listed, "only the first line stands in the list of commands"
