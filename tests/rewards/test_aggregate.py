from __future__ import annotations

import pytest

from rewards.aggregate import aggregate


@pytest.mark.parametrize(("name", "value"), [("min", 0.25), ("product", 0.1), ("mean", 0.516666), ("last", 0.5)])
def test_each_aggregation_gives_its_number(name, value):
    assert aggregate(name)([0.8, 0.25, 0.5]) == pytest.approx(value, abs=1e-5)


def test_an_unknown_aggregation_names_the_known_ones():
    with pytest.raises(ValueError, match="min, product, mean, last, not 'max'"):
        aggregate("max")
