"""The OpenAPI schema says what the service does: schemathesis makes requests from it and checks every reply."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rewards.serving.forms import by_path
from tests.rewards.serving.rewards import Marks
from tests.rewards.serving.running import serving

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def schema():
    with serving(Marks()) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_every_path_is_described(schema):
    assert set(schema) == {*by_path(), "/health", "/ready", "/metrics"}


@pytest.mark.parametrize("path", sorted(by_path()))
def test_requests_made_from_the_schema_get_the_replies_that_it_promises(schema, path):
    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=schema[path]["POST"].as_strategy())
    def check(case):
        case.call_and_validate(checks=CHECKS, timeout=20)

    check()
