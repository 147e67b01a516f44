"""Sizes of images: height first, whoever writes them."""

from __future__ import annotations

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.image_size import ImageSize


@pytest.mark.parametrize(
    ("given", "size", "plain"),
    [
        (32, (32, 32), 32),
        ("32", (32, 32), 32),
        ("48x96", (48, 96), "48x96"),
        (" 48 X 96 ", (48, 96), "48x96"),
        ((48, 96), (48, 96), "48x96"),
        ("64x64", (64, 64), 64),
    ],
)
def test_a_size_is_read_as_people_and_files_write_it(
    given: int | str | tuple[int, int], size: tuple[int, int], plain: int | str
) -> None:
    found = ImageSize.of(given)
    assert found == size and (found.height, found.width) == size
    assert found.plain == plain and ImageSize.of(found.plain) == found
    assert str(found) == f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("given", ["", "x", "48x", "48x96x3", "48,96", "-3", "4.5", "large"])
def test_another_text_is_refused_with_what_is_allowed(given: str) -> None:
    with pytest.raises(PoolsearchError, match=r"no size of images.*64, or height x width, such as 48x96"):
        ImageSize.of(given)


@pytest.mark.parametrize("given", [0, "0", "0x8", (8, 0)])
def test_sides_are_at_least_a_pixel(given: int | str | tuple[int, int]) -> None:
    with pytest.raises(PoolsearchError, match="at least 1 pixel"):
        ImageSize.of(given)


def test_the_shape_stays_when_it_grows() -> None:
    assert ImageSize(20, 60).times(1.5) == (30, 90)
    assert ImageSize(1, 60).times(0.1) == (1, 6)
    assert ImageSize(32, 320).small and not ImageSize(65, 65).small
