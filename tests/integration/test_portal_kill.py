"""The real portal, killed under load; 50 rounds of it: `python -m tests.benchmarks.portal_kill`."""

from __future__ import annotations

from tests.benchmarks.portal_kill import main


def test_a_killed_portal_loses_no_event_of_an_act_that_it_reported():
    result = main(rounds=2)
    assert result["chain_whole"]
    assert result["reported"]["left pending after the last start"] == 0
    assert sum(result["reported"].get(action, 0) for action in ("ask", "upload", "people.invite", "sign_in")) > 0
