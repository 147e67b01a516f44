"""Restrided small members of all families, made once."""

import pytest


@pytest.fixture(scope="session")
def family(images):
    """Gives (model, restrided) of a family. Shared: copy before changing."""
    from poolsearch.nets.restride import restride

    from .families import SMALL, seeded

    made = {}

    def make(name):
        if name not in made:
            model = seeded(SMALL[name])
            made[name] = (model, restride(model, images(64, count=2)))
        return made[name]

    return make
