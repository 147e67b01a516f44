"""What a user gives in Python: settings by their names, and a network, a task and images as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolsearch.data import default_cache_dir
from poolsearch.data.objects import write_images
from poolsearch.errors import PoolsearchError
from poolsearch.nets.objects import GIVEN, LIBRARY, NetworkObject
from poolsearch.progress import Progress
from poolsearch.settings import Settings
from poolsearch.settings.tasks import OBJECT, is_own_task
from poolsearch.storage.run_record import saved_settings
from poolsearch.tasks.by_name import check_task, task_of_file
from poolsearch.tasks.names import target_kind
from poolsearch.tasks.task import Task
from poolsearch.user_code import file_of


@dataclass(frozen=True)
class Objects:
    """What was given as Python objects, which live in this process alone; None: it has a name in the settings."""

    network: NetworkObject | None = None
    task: Task | None = None

    @classmethod
    def of(cls, net: Any = None, task: Any = None) -> Objects:
        """Take what the user gives.

        Args:
            net: as of :meth:`~poolsearch.nets.objects.NetworkObject.of`, or None.
            task: a task, or None.

        Returns:
            Both.

        Raises:
            PoolsearchError: one is not what it must be.
        """
        return cls(
            None if net is None else NetworkObject.of(net), None if task is None else check_task(task, "the task")
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.network is not None or self.task is not None


NO_OBJECTS = Objects()


def settings_with(
    settings: Settings | None,
    resumed: Path | None,
    objects: Objects,
    images: Mapping[str, Any],
    values: Mapping[str, Any],
    progress: Progress,
) -> Settings | None:
    """The settings of a run that a network, a task or images as objects are given to.

    Args:
        settings: as given, in one piece; None is the defaults, or those of the run that is resumed.
        resumed: the folder of the run that is gone on with; None: a new one is begun.
        objects: a network and a task, where they are given as objects.
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
    is_told = settings is not None or resumed is None or "task" in values
    changes, network = dict(values), objects.network
    images = {part: given for part, given in images.items() if given is not None}
    if images and "data" in changes:
        raise PoolsearchError("data is given beside train, val or test. Leave out one.")
    if settings is None and resumed is not None:
        if not objects and not changes and not images:
            return None
        settings = saved_settings(resumed)
        if network is not None and (settings.net.net or "").startswith(f"{LIBRARY}:"):
            network = None  # what its function is called is no matter; whether it is the same is seen when it is made
    if objects.task is not None:
        changes["task"] = f"{OBJECT}:{objects.task.metric_name}"
    if objects and changes.get("workers") not in (None, 1):
        raise PoolsearchError(
            f"workers is {changes['workers']}, and a network or task that is given as a Python object is used in this "
            "process alone. Leave workers out, or give it as net='FILE.py:FACTORY', task='FILE.py:FACTORY'."
        )
    if network is not None:
        if resumed is None and not images and settings is None and "data" not in changes:
            raise PoolsearchError("no images were given: give train=..., or data='...' for a folder, or a name.")
        changes["net"] = network.name
        if network.is_trained and changes.get("init", settings and settings.net.init) is None:
            changes["init"] = GIVEN
    settings = (settings or Settings()).changed(**changes)
    return settings.changed(data=_data(settings, images, objects.task, is_told, progress)) if images else settings


def _data(settings: Settings, images: Mapping[str, Any], task: Task | None, is_told: bool, progress: Progress) -> str:
    """What the setting ``data`` says of these images; where the user told the task, its file may run."""
    if named := [part for part, given in images.items() if isinstance(given, (str, Path))]:
        if list(images) == ["train"]:
            return str(images["train"])
        raise PoolsearchError(
            f"{named[0]} is the name of a data set, {images[named[0]]}, which says itself what its parts are: give it "
            "alone, as train. Or give all parts as datasets."
        )
    name = settings.data.task
    if task is None and is_own_task(name):
        if not is_told or file_of(name) is None:
            raise PoolsearchError(
                f"images were given, and what their targets are is said by the run's task, {name}. Give it, too: "
                "poolsearch.run(FOLDER, resume=True, train=..., task=...)."
            )
        task = task_of_file(name, None)
    kind, collate = (target_kind(settings), None) if task is None else (task.targets, task.collate)
    cache = Path(settings.data.cache_dir).expanduser() if settings.data.cache_dir else default_cache_dir()
    return str(write_images(images, cache, progress, kind, collate))
