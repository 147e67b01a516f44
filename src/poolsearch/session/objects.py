"""What a user gives in Python: settings by their names, and a network and images as objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poolsearch.data import default_cache_dir
from poolsearch.data.objects import write_images
from poolsearch.errors import PoolsearchError
from poolsearch.nets.objects import GIVEN, LIBRARY, NetworkObject
from poolsearch.progress import Progress
from poolsearch.settings import Settings
from poolsearch.storage.run_record import saved_settings


def settings_with(
    settings: Settings | None,
    resumed: Path | None,
    network: NetworkObject | None,
    images: Mapping[str, Any],
    values: Mapping[str, Any],
    progress: Progress,
) -> Settings | None:
    """The settings of a run that a network or images as objects are given to.

    Args:
        settings: as given, in one piece; None is the defaults, or those of the run that is resumed.
        resumed: the folder of the run that is gone on with; None: a new one is begun.
        network: where it is given as an object.
        images: under "train", "val" and "test" what is given; as "train" alone also what the setting ``data`` may be.
        values: further settings by their names, which win.
        progress: where reading the images shows itself.

    Returns:
        All settings; None where nothing was given and a run is resumed.

    Raises:
        PoolsearchError: a setting is unknown, or what was given is no network, or no images.
    """
    if settings is not None and not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PoolsearchError(
            f"settings is a {type(settings).__name__}. Give poolsearch.Settings.of(trials=3, ...), or settings by "
            "their names: poolsearch.run(..., trials=3)."
        )
    changes = dict(values)
    images = {part: given for part, given in images.items() if given is not None}
    if images and "data" in changes:
        raise PoolsearchError("data is given beside train, val or test. Leave out one.")
    if settings is None and resumed is not None:
        if network is None and not changes and not images:
            return None
        settings = saved_settings(resumed)
        if network is not None and (settings.net.net or "").startswith(f"{LIBRARY}:"):
            network = None  # what its function is called is no matter; whether it is the same is seen when it is made
    if network is not None:
        if resumed is None and not images and settings is None and "data" not in changes:
            raise PoolsearchError("no images were given: give train=..., or data='...' for a folder, or a name.")
        if changes.get("workers") not in (None, 1):
            raise PoolsearchError(
                f"workers is {changes['workers']}, and a network that is given as a Python object is trained in this "
                "process alone. Leave workers out, or give the network as net='FILE.py:FACTORY'."
            )
        changes["net"] = network.name
        if network.is_trained and changes.get("init", settings and settings.net.init) is None:
            changes["init"] = GIVEN
    settings = (settings or Settings()).changed(**changes)
    return settings.changed(data=_data(settings, images, progress)) if images else settings


def _data(settings: Settings, images: Mapping[str, Any], progress: Progress) -> str:
    """What the setting ``data`` says of these images."""
    if named := [part for part, given in images.items() if isinstance(given, (str, Path))]:
        if list(images) == ["train"]:
            return str(images["train"])
        raise PoolsearchError(
            f"{named[0]} is the name of a data set, {images[named[0]]}, which says itself what its parts are: give it "
            "alone, as train. Or give all parts as datasets."
        )
    cache = settings.data.cache_dir
    return str(write_images(images, Path(cache).expanduser() if cache else default_cache_dir(), progress))
