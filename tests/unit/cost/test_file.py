"""costs.parquet: what is written is read, and what is not whole is not taken."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsearch.cost.costs import Costs
from poolsearch.cost.file import read_costs, write_costs
from poolsearch.space import Placement, Space

SPACE = Space(4, 1, Placement.of_blocks((2, 2)))
ABOUT = {"batch": 8, "dtype": "fp32"}


def costs(memory=True, latency=True):
    fields = np.arange(6, dtype=np.int32).reshape(3, 2)
    known = np.array([9, 8, 7], np.int64) if memory else None
    return Costs(np.array([5, 6, 7]), known, fields, fields + 1, np.array([0.1, 0.2, 0.3]) if latency else None)


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("latency", [True, False])
def test_there_and_back(tmp_path, memory, latency):
    write_costs(tmp_path / "costs.parquet", SPACE, costs(memory, latency), ABOUT)
    found = read_costs(tmp_path / "costs.parquet")
    assert found.placements == ["1,3", "2,2", "3,1"] and found.about == ABOUT
    for name, expected in vars(costs(memory, latency)).items():
        value = getattr(found.costs, name)
        assert (value is None) == (expected is None)
        if expected is not None:
            np.testing.assert_array_equal(value, expected)
            assert value.dtype == expected.dtype


def test_it_is_readable_without_this_package(tmp_path):
    write_costs(tmp_path / "costs.parquet", SPACE, costs(latency=False), ABOUT)
    table = pq.read_table(tmp_path / "costs.parquet")
    assert table.to_pylist()[1] == {
        "number": 1, "placement": "2,2", "macs": 6, "memory": 8, "field_height": [2, 3], "field_width": [3, 4],
        "latency_ms": None,
    }  # fmt: skip
    assert json.loads(table.schema.metadata[b"poolsearch"]) == ABOUT


def test_no_file_a_damaged_one_and_one_of_an_older_version(tmp_path):
    path = tmp_path / "costs.parquet"
    assert read_costs(path) is None
    path.write_bytes(b"PAR1 and then the disk was full")
    assert read_costs(path) is None
    pq.write_table(pa.table({"number": [0], "placement": ["2,2"], "macs": [5]}), path)
    assert read_costs(path) is None
