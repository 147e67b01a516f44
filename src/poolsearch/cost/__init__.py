"""What every placement costs, known before any training: MACs, memory, receptive fields, latency. May import
``nets``."""

from __future__ import annotations

from poolsearch.cost.costs import Costs as Costs
from poolsearch.cost.costs import Profile as Profile
from poolsearch.cost.costs import profile as profile
from poolsearch.cost.latency import LatencyTable as LatencyTable
from poolsearch.cost.latency import latency_table as latency_table
from poolsearch.cost.macs import CostTable as CostTable
from poolsearch.cost.macs import cost_table as cost_table
from poolsearch.cost.macs import macs_of as macs_of
