"""Who may ask, who waits, and in which order."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from services.engines.gate import Gate, Hold
from services.engines.states import Endpoint, nothing_ordered
from services.errors import EngineNotReady


class Roles:
    """What answers for each role: a deployment id, or nothing."""

    def __init__(self, **deployments: int) -> None:
        self.deployments = deployments

    def __call__(self, role: str) -> Endpoint:
        if role not in self.deployments:
            raise nothing_ordered()
        return Endpoint("http://127.0.0.1:1/v1", "", "m", Path(), deployment_id=self.deployments[role])


def held(gate: Gate) -> Hold:
    return gate.hold(("chat",), reason="switching", typical_s=40)


def test_a_request_is_let_in_at_once_and_counted_until_it_is_released() -> None:
    gate = Gate(Roles(chat=1))
    lease = gate.enter("chat")
    assert lease.granted
    assert lease.place is None
    assert gate.running(1) == 1
    lease.release()
    lease.release()
    assert gate.running(1) == 0


def test_without_a_model_nobody_is_let_in() -> None:
    with pytest.raises(EngineNotReady):
        Gate(Roles()).enter("chat")


def test_while_a_role_is_held_requests_wait_in_their_order() -> None:
    gate = Gate(Roles(chat=1))
    held(gate)
    first, second = gate.enter("chat"), gate.enter("chat")
    assert (first.place.place, second.place.place, second.place.of) == (1, 2, 2)
    assert second.place.typical_s == 40
    assert not first.wait(0)
    assert gate.queued(("chat",)) == 2


def test_other_roles_do_not_wait() -> None:
    gate = Gate(Roles(chat=1, code=1))
    held(gate)
    assert gate.enter("code").granted


def test_those_who_waited_are_let_in_to_the_model_that_answers_now() -> None:
    roles = Roles(chat=1)
    gate = Gate(roles)
    hold = held(gate)
    lease = gate.enter("chat")
    roles.deployments["chat"] = 2
    gate.open(hold)
    assert lease.wait(0)
    assert lease.endpoint.deployment_id == 2
    assert (gate.running(1), gate.running(2)) == (0, 1)


def test_those_who_waited_learn_why_there_is_no_model_after_all() -> None:
    roles = Roles(chat=1)
    gate = Gate(roles)
    hold = held(gate)
    lease = gate.enter("chat")
    del roles.deployments["chat"]
    gate.open(hold)
    with pytest.raises(EngineNotReady):
        lease.wait(0)


def test_one_whose_answer_was_cut_off_is_next() -> None:
    gate = Gate(Roles(chat=1))
    running = gate.enter("chat")
    held(gate)
    gate.enter("chat", first=False)
    waiting = gate.enter("chat")
    assert gate.cut(1) == 1
    assert running.revoked
    running.release()
    again = gate.enter("chat", first=True)
    assert again.place.place == 1
    assert waiting.place.place == 2


def test_a_waiting_request_that_is_dropped_leaves_the_line() -> None:
    gate = Gate(Roles(chat=1))
    held(gate)
    gone = gate.enter("chat")
    left = gate.enter("chat")
    assert left.place.place == 2
    del gone
    gc.collect()
    assert left.place.place == 1


def test_a_running_request_that_is_dropped_does_not_count_for_ever() -> None:
    gate = Gate(Roles(chat=1))
    lease = gate.enter("chat")
    assert gate.running(1) == 1
    del lease
    gc.collect()
    assert gate.wait_idle(1, 0)


def test_waiting_for_idleness_ends_with_the_last_request() -> None:
    gate = Gate(Roles(chat=1))
    leases = [gate.enter("chat") for _ in range(3)]
    assert not gate.wait_idle(1, 0.01)
    threading.Timer(0.05, lambda: [lease.release() for lease in leases]).start()
    assert gate.wait_idle(1, 5)


def test_idle_time_counts_from_the_last_end_and_not_while_one_runs() -> None:
    gate = Gate(Roles(chat=1))
    lease = gate.enter("chat")
    assert gate.idle_s(1, 0.0) is None
    lease.release()
    assert 0 <= gate.idle_s(1, 0.0) < 1


def test_a_hundred_threads_come_and_go_and_none_is_lost() -> None:
    gate = Gate(Roles(chat=1))
    answered = []

    def ask() -> None:
        with gate.enter("chat") as lease:
            while not lease.wait(0.05):
                pass
            answered.append(lease.endpoint.deployment_id)

    hold = held(gate)
    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    gate.open(hold)
    for thread in threads:
        thread.join(10)
    assert answered == [1] * 100
    assert gate.running(1) == 0


def test_a_hold_that_another_took_the_place_of_opens_nothing() -> None:
    gate = Gate(Roles(chat=1))
    waking = gate.hold(("chat",), reason="loading", typical_s=10)
    lease = gate.enter("chat")
    switching = held(gate)
    gate.open(waking)
    assert lease.place.reason == "switching"
    gate.open(switching)
    assert lease.wait(0)


def test_a_lease_that_is_dropped_under_another_lock_waits_for_nothing() -> None:
    gate = Gate(Roles(chat=1))
    lease = gate.enter("chat")
    with gate._changed:  # somebody else is at the gate
        dropping = threading.Thread(target=lease.__del__)
        dropping.start()
        dropping.join(5)
        assert not dropping.is_alive()
    assert gate.running(1) == 0
    lease._over = True
