"""Restriding: any CNN, unmodified, with its downsampling moved without touching a parameter."""

from poolsearch.nets.restride.assemble import restride, space_of_model
from poolsearch.nets.restride.loading import from_name, load_model
from poolsearch.nets.restride.network import Restrided
from poolsearch.nets.restride.norms import use_batch_statistics
from poolsearch.nets.restride.proof import Proof, prove

__all__ = [
    "Proof",
    "Restrided",
    "from_name",
    "load_model",
    "prove",
    "restride",
    "space_of_model",
    "use_batch_statistics",
]
