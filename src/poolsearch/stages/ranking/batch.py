"""How many images are evaluated at once, so that the tree of placements fits the memory."""

from __future__ import annotations

from collections.abc import Sequence

from poolsearch.nets.build import blank
from poolsearch.session.run import Run
from poolsearch.stages.ranking.choice import Pair, by_member
from poolsearch.supernet.tree_memory import memory_table, tree_bytes

GOOD_BATCH = 64
"""Statistics of fewer images, where the batch at hand normalises, are not those of the training any more."""
_LEAST_BATCH = 16
OVERHEAD = 2
"""What a process takes for each byte of maps: the rest is the workspace of convolutions and the allocator's slack."""
_SHARE = 0.5  # of the free memory, where nothing else is asked for


def eval_batch(run: Run, pairs: Sequence[Pair]) -> int:
    """Images per batch: as asked for, or the default, halved until the tree fits ``--rank-memory``.

    The user is told of smaller batches, and warned where these are too small for BatchNorm or do not fit.

    Args:
        run: open, with a method of supernets.
        pairs: all that are evaluated: (number of the placement, member).

    Returns:
        The most images of a batch, never more than the search-val half has.
    """
    asked, batch = run.settings.given.rank.eval_batch, run.settings.rank.eval_batch
    batch = min(batch, len(run.split.search_val))
    given, free = run.settings.rank.rank_memory, run.machine.free_memory()
    room = given * 1e9 if given is not None else None if free is None else _SHARE * free
    if room is None:
        return batch
    image_bytes = OVERHEAD * bytes_per_image(run, pairs)
    fitting = batch if asked is not None else largest_batch(batch, image_bytes, room)
    if fitting < batch:
        run.progress.say(f"evaluating by {fitting} images, not {batch}: {room / 1e9:.2f} GB of memory are to be used.")
    if fitting < min(batch, GOOD_BATCH) and run.settings.search.norm == "batch":
        run.warn(
            f"evaluation batches of only {fitting} images: their statistics, by which BatchNorm normalises here, are "
            "rough. Allow more memory with --rank-memory, or search with --norm per_placement."
        )
    if fitting * image_bytes > room:
        run.warn(
            f"the ranking by batches of {fitting} images takes up to {fitting * image_bytes / 1e9:.2f} GB, more than "
            f"the {room / 1e9:.2f} GB {'of --rank-memory' if given else 'that are half of the free memory'}: it may "
            "run out of memory. A smaller --eval-batch takes less."
        )
    return fitting


def largest_batch(batch: int, image_bytes: int, room: float) -> int:
    """``batch``, halved until ``image_bytes`` for each image fit into ``room`` bytes, but not below 16.

    Args:
        batch: images to begin with.
        image_bytes: that each image takes.
        room: bytes that there are.

    Returns:
        Images of a batch; the smallest that is allowed even where that does not fit.
    """
    while batch * image_bytes > room and batch // 2 >= _LEAST_BATCH:
        batch //= 2
    return batch


def bytes_per_image(run: Run, pairs: Sequence[Pair]) -> int:
    """The most bytes alive per image: members are run one after the other, each with its own tree.

    Args:
        run: open; bytes are in the number format of its machine.
        pairs: all that are evaluated: (number of the placement, member).

    Returns:
        Bytes of maps for one image, found from shapes alone; workspaces of libraries are not in it.
    """
    net = blank(run.net_spec).to(run.machine.dtype).eval()
    table = memory_table(net, *run.image_size, run.space, run.machine.memory_format)
    return max(tree_bytes(table, [run.space[number] for number in own]) for own in by_member(pairs).values())
