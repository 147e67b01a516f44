"""What a user can get wrong: one clear sentence that names it and says how to fix it, exit code 2, no traceback."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from poolsearch.cli.main import main
from poolsearch.settings.config_file import read_config

Folder = Callable[..., Path]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Run the command line in this process and give what it says when it refuses."""

    def run(*arguments: str | Path) -> str:
        flags = [str(a) for a in arguments]
        if "--out" not in flags and flags[0] != "plan":
            flags += ["--out", str(tmp_path / "run")]
        try:
            code = main(flags)
        except SystemExit as error:  # how the parser ends
            code = error.code
        said = capsys.readouterr()
        assert code == 2, said.out + said.err
        assert "Traceback" not in said.err
        return " ".join((said.out + said.err).split())

    return run


def test_a_run_that_could_not_begin_leaves_nothing_in_the_way(refused: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "mine"
    for flag in ("--members", "--batch"):
        refused("search", flag, "5000", "--out", out / "deep")
        assert not out.exists()
    out.mkdir()
    refused("search", "--members", "37", "--out", out)
    assert out.exists(), "the user's own folder stays"
    out.rmdir()
    assert "nothing to resume" in refused("search", "--resume", "--out", out)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--net", "cifar-resent20"], "unknown network 'cifar-resent20'. Did you mean 'cifar-resnet20'?"),
        (["--data", "cifar11"], "Did you mean 'cifar10'?"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--members", "37"], "--members 37 is more than the 36 placements"),
        (["--members", "0"], "--members is 0; allowed is at least 1"),
        (["--placements", "4,3,2"], "give 3 counts that sum to 10 blocks, such as the default 4,3,3"),
        (["--placements", "4,3"], "placement 4,3 does not fit this space"),
        (["--placements", "four"], "'four' is not a placement"),
        (["--min-blocks", "5", "5", "5"], "widen the limits"),
        (["--min-blocks", "5"], "give 3 numbers of at least 1, one per resolution"),
        (["--batch", "2000"], "--batch 2000 is larger than the search-train half (719 images)"),
        (["--val-batch", "2000"], "--val-batch 2000 is larger than the search-val half (719 images)"),
        (["--retrain-batch", "2000"], "--retrain-batch 2000 is larger than the training images (1438 images)"),
        (["--subset", "100000"], "--subset 100000 is not possible: there are 1438 images"),
        (["--image-size", "2"], "too small for 2 halvings"),
        (["--beta", "90"], "--beta is 90.0; allowed is from 0 to 0.9999"),
        (["--precision", "fp16", "--device", "cpu"], "--precision fp16 needs a CUDA device"),
        (["--width", "0"], "--width is 0; allowed is at least 1"),
        (["--metric", "f1"], "--metric"),
        (["--metric", "macro-f1", "--rank-early-stop"], "there is none for --metric macro-f1. Leave one of them out"),
        (["--init", "no/such/net.pth"], "no/such/net.pth to begin with: give --init a .safetensors or .pth file"),
        (["--init", "pretrained"], "poolsearch's own network has no weights of a library. Give a file of weights"),
        (["--init", "net.pth", "--zero-init"], "leave one of them out"),
    ],
)
def test_settings(refused: Callable[..., str], flags: list[str], said: str) -> None:
    assert said in refused("search", *flags)


def test_an_unknown_flag_names_the_nearest(refused: Callable[..., str]) -> None:
    said = refused("run", "--membres", "4")
    assert "--membres" in said
    assert "--members" in said


def test_an_unknown_command_lists_the_commands(refused: Callable[..., str]) -> None:
    said = refused("serach")
    assert "search" in said


@pytest.mark.parametrize(("device", "there"), [("cuda", "torch.cuda.is_available()"), ("mps", "mps")])
def test_a_device_that_is_not_there(refused: Callable[..., str], device: str, there: str) -> None:
    import torch

    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip(f"this machine has a {device} device")
    assert f"--device {device}: torch sees no such device here. Found: cpu" in refused("search", "--device", device)


def test_a_folder_that_is_not_empty(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("five years of work")
    assert "is not empty" in refused("run", "--out", tmp_path / "full")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "five years of work"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_nothing_to_resume(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "nothing to resume" in refused("run", "--resume", "--out", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_stages_in_the_wrong_order(
    refused: Callable[..., str], tmp_path: Path, tiny_flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert "run.json" in refused("rank", "--out", out)
    assert main(["search", "--out", str(out), "--quiet", *tiny_flags]) == 0
    assert "has no ranking yet" in refused("retrain", "--out", out)


def test_resuming_with_other_settings_names_them(
    refused: Callable[..., str], tmp_path: Path, tiny_flags: list[str]
) -> None:
    out = tmp_path / "run"
    assert main(["search", "--out", str(out), "--quiet", *tiny_flags]) == 0
    said = refused(
        "run", "--resume", "--out", out, "--members", "3", "--beta", "0.8", "--top-k", "1", "--metric", "macro-f1"
    )
    assert "--members was 2, now 3" in said
    assert "--beta was 0.9, now 0.8" in said
    assert "--metric was not given, now 'macro-f1'" in said
    assert "top-k" not in said, "nothing rests on it yet"
    assert "holds a run already" in refused("run", "--out", out)


@pytest.mark.parametrize("change", ["empty class", "one class", "three images"])
def test_image_folders(refused: Callable[..., str], image_folder: Folder, change: str) -> None:
    if change == "one class":
        assert "has 1 class (class0); a search needs at least 2" in refused("run", "--data", image_folder(classes=1))
        return
    folder = image_folder()
    if change == "empty class":
        (folder / "zebra").mkdir()
        assert "class 'zebra' has no" in refused("run", "--data", folder)
        return
    for path in sorted((folder / "class1").iterdir())[3:]:
        path.unlink()
    assert "too few training images: class 'class1' has" in refused("run", "--data", folder)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_folders_and_tables_that_are_something_else(
    refused: Callable[..., str], image_folder: Folder, tmp_path: Path, command: str
) -> None:
    def said(data: Path) -> str:
        return refused(command, "--data", data)

    first = image_folder(images=4).rename(tmp_path / "first")
    for name in ("fold1", "fold2"):
        shutil.copytree(first, tmp_path / "folds" / name)
    assert "hold the same folders ('class0', 'class1', 'class2')" in said(tmp_path / "folds")
    shutil.make_archive(str(tmp_path / "photos"), "zip", first)
    assert "Its 12 images lie in 'class0', 'class1', 'class2'. Unpack it: unzip" in said(tmp_path / "photos.zip")
    assert "the images lie directly in" in said(first / "class0")
    (first / "labels.csv").write_text("file,label\nclass0/000.jpg,a\nclass0/x.jpg,b\n")
    assert "1 of 2 files are not there: class0/x.jpg" in said(first / "labels.csv")
    assert not (tmp_path / "run").exists()


def test_images_too_small_for_the_halvings(refused: Callable[..., str], image_folder: Folder) -> None:
    said = refused("run", "--data", image_folder(low=4, high=5), "--net", "resnet18")
    assert "too small for 3 halvings" in said
    assert "--image-size" in said


def test_labels_out_of_range(refused: Callable[..., str], tmp_path: Path) -> None:
    x = np.zeros((40, 8, 8, 3), np.uint8)
    y = np.arange(40) % 4
    y[7] = -1
    np.savez(tmp_path / "bad.npz", x=x, y=y)
    assert "the first is -1 of" in refused("run", "--data", tmp_path / "bad.npz")
    y[7] = 10**11
    np.savez(tmp_path / "bad.npz", x=x, y=y)
    said = refused("run", "--data", tmp_path / "bad.npz")
    assert "labels go up to 100000000000, but only 5 different ones occur, and 4 is not among them" in said


def test_places_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in ("/dev/null/x", "/proc/nowhere/x", tmp_path / "file" / "x"):
        assert "cannot be made or written" in refused("run", "--out", out)
    assert "is a file" in refused("run", "--out", tmp_path / "file")
    refused("run", "--cache-dir", "/dev/null/x", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_inside_its_own_data(
    refused: Callable[..., str], image_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder()
    monkeypatch.chdir(folder)
    assert "lies inside the data folder" in refused("run", "--data", ".", "--out", "runs/mine")
    assert sorted(p.name for p in folder.iterdir()) == ["class0", "class1", "class2"]


def test_a_folder_name_with_a_typo(
    refused: Callable[..., str], image_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder(name="my_photos").parent)
    assert "Did you mean 'my_photos'?" in refused("run", "--data", "my_phtos")


def test_data_by_a_relative_path_is_found_from_anywhere(
    image_folder: Folder, tmp_path: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image_folder().parent)
    flags = ["--data", "photos", "--image-size", "16", "--batch", "8", "--val-batch", "8", "--quiet"]
    assert main(["search", "--out", str(tmp_path / "run"), *tiny_flags, *flags]) == 0
    monkeypatch.chdir("/")
    assert main(["rank", "--out", str(tmp_path / "run"), "--quiet"]) == 0


def test_the_data_changed_since(
    refused: Callable[..., str], image_folder: Folder, tmp_path: Path, tiny_flags: list[str]
) -> None:
    folder, out = image_folder(), tmp_path / "run"
    flags = ["--data", str(folder), "--image-size", "16", "--batch", "8", "--val-batch", "8"]
    assert main(["search", "--out", str(out), "--quiet", *tiny_flags, *flags]) == 0
    shutil.copy(folder / "class0" / "000.jpg", folder / "class0" / "999.jpg")
    said = refused("run", "--resume", "--out", out)
    assert "changed since" in said and "Start a new run with --out" in said and "it read hidden folders" in said


def test_names_that_are_no_text_are_written_as_such(
    image_folder: Folder, tmp_path: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown where only ASCII can be."""
    image_folder().rename(tmp_path / os.fsdecode(b"photos\xe9"))
    folder, out = tmp_path / os.fsdecode(b"photos\xe9"), tmp_path / "run"
    (folder / "class0" / "000.jpg").rename(folder / "class0" / os.fsdecode(b"caf\xe9\n.jpg"))
    (folder / "class1").rename(folder / os.fsdecode(b"\xff"))
    (folder / "class2" / os.fsdecode(b"\xfe.jpg")).write_text("no image")
    os.mkfifo(folder / "class2" / "pipe.jpg")
    (folder / "class2").rename(folder / "\u732b")
    (folder / "more.zip").touch()
    flags = ["--data", str(folder), "--image-size", "16", "--batch", "8", "--val-batch", "8"]
    shown = {name: io.TextIOWrapper(io.BytesIO(), "ascii") for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        for name, stream in shown.items():
            patch.setattr(sys, name, stream)
        assert main(["run", "--out", str(out), *tiny_flags, *flags]) == 0
    for stream in shown.values():
        stream.flush()
    results, told = (shown[name].buffer.getvalue().decode("ascii") for name in ("stdout", "stderr"))
    assert "3 classes (images): class0 (24), \\u732b (24), \\xff (24)" in told and "Traceback" not in told
    assert "% +/- " in results, "between a mean and its deviation"
    assert json.loads((out / "run.json").read_text())["data"]["class_names"] == ["class0", "\u732b", "\\xff"]
    assert "photos\\xe9" in (out / "report.html").read_text(encoding="utf-8")
    told = "archives are not read: 'more.zip'"
    assert any(text.startswith(told) for text in json.loads((out / "run.json").read_text())["warnings"])
    assert told.replace("'", "&#x27;") in (out / "report.html").read_text(encoding="utf-8")
    assert "photos\\xe9" in read_config(out / "config.toml")["data"]
    assert "class0/caf\\xe9\n.jpg" in pq.read_table(out / "images.parquet")["file"].to_pylist()
    assert [entry["file"] for entry in json.loads((out / "skipped.json").read_text())] == [
        "\u732b/pipe.jpg",
        "\u732b/\\xfe.jpg",
    ]


def test_a_run_folder_that_is_not_utf_8(refused: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    assert "caf\\udce9, is not UTF-8: checkpoints cannot be written there" in refused("run", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    "error", [UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), RuntimeError("no"), MemoryError()]
)
def test_whatever_stops_the_opening_the_next_run_can_begin(
    tmp_path: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from poolsearch.session import basis

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(basis, "write_split", fail)
        with pytest.raises(type(error)):
            main(["search", "--out", str(tmp_path / "run"), "--quiet", *tiny_flags])
    assert not (tmp_path / "run").exists()
    assert main(["search", "--out", str(tmp_path / "run"), "--quiet", *tiny_flags]) == 0


def test_groups(refused: Callable[..., str], image_folder: Folder, tmp_path: Path, tiny_flags: list[str]) -> None:
    folder, out, path = image_folder(), tmp_path / "run", tmp_path / "groups.csv"
    assert "groups.csv cannot be read (No such file" in refused("run", "--data", folder, "--groups", path)
    files = sorted(str(file.relative_to(folder)) for file in folder.glob("*/*"))
    path.write_text("".join(f"{file},{number // 2}\n" for number, file in enumerate(files[:-1])))
    said = refused("run", "--data", folder, "--groups", path)
    assert f"no group for 1 of {len(files)} images: {files[-1]}" in said
    assert not out.exists()
    path.write_text("".join(f"{file},{number // 2}\n" for number, file in enumerate(files)))
    flags = ["--data", str(folder), "--image-size", "16", "--batch", "8", "--val-batch", "8"]
    assert main(["search", "--out", str(out), "--quiet", *tiny_flags, *flags, "--groups", str(path)]) == 0
    path.write_text("".join(f"{file},{number // 3}\n" for number, file in enumerate(files)))
    assert "the groups, or the division of the images" in refused("run", "--resume", "--out", out)
    path.unlink()
    assert "groups.csv cannot be read" in refused("run", "--resume", "--out", out)
