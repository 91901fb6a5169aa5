"""Looks at Secrets: one that the API server refuses is told by the Tenant whose Secret it is."""

import logging

import pytest
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_refused_look_is_told_by_the_tenant_and_not_by_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle(5)
    stage.pod()
    await stage.settle(40)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    life.api.failures.statuses = {"Secret": 403}
    await stage.settle(60)
    assert "403" in stage.condition("Tenant", "finance", "Ready")["message"]
    assert "Secrets not looked at" not in caplog.text
    await life.end()
