"""Switching a role from one model to another, with askers at the gate and a real child process behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from services.chat_model import ChatModel, ChatRequest
from services.engines import observer as observer_module
from services.engines.deployments import Deployments, EngineState
from services.engines.golden import GoldenPrompt
from services.engines.options import DeploymentSettings
from services.engines.run_record import RunRecords
from services.engines.views import Alternative, Mode, Step
from services.errors import (
    BadInput,
    DoesNotFit,
    EngineError,
    EngineRetired,
    EngineStartFailed,
    GoldenPromptFailed,
    ModelFilesError,
    PortalError,
    RolloutInProgress,
    VerificationFailed,
)
from services.permissions import CONSOLE
from tests.engine_bench import MODEL, Bench, until
from tests.fakes import FakeModels

ROOT = Path(__file__).resolve().parent.parent.parent
OTHER = "other-model"
SETTINGS = DeploymentSettings()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, drain_timeout_s=10)
    yield bench
    bench.close()


def switch(portal: Deployments, model_id: str = OTHER, **options: object) -> None:
    portal.switch("chat", model_id, SETTINGS, **options)


def step_of(portal: Deployments) -> Step:
    return portal.rollout().step


def finish(portal: Deployments, timeout_s: float = 20) -> Step:
    portal.wait_rollout(timeout_s)
    return step_of(portal)


def served(portal: Deployments) -> str:
    return portal.endpoint("chat").model_id


def outcomes(portal: Deployments) -> dict[str, str]:
    return {view.model_id: view.outcome for view in portal.rows.history(10)}


@dataclass
class Askers:
    """Askers that ask again and again; what they got, and how long each waited at the gate, in seconds."""

    portal: Deployments
    bench: Bench
    answers: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Askers:
        self.threads = [threading.Thread(target=self._ask) for _ in range(8)]
        for thread in self.threads:
            thread.start()
        until(lambda: len(self.answers) >= 8)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(20)

    def _ask(self) -> None:
        chat_model = ChatModel(self.portal, self.bench.settings)
        while not self.over.is_set():
            try:
                self._once(chat_model)
            except PortalError as error:
                self.lost.append(repr(error))

    def _once(self, chat_model: ChatModel) -> None:
        first, began = False, time.monotonic()
        while True:
            lease = chat_model.enter("chat", first=first)
            while not lease.wait(0.1):
                pass
            self.waits.append(time.monotonic() - began)
            request = ChatRequest([{"role": "user", "content": "Hi"}], max_tokens=50)
            try:
                with chat_model.stream(request, lease) as stream:
                    self.answers.append("".join(stream))
                    return
            except EngineRetired:
                first = True


def test_beside_the_old_one_serves_until_the_new_one_does(bench: Bench) -> None:
    portal = bench.ready_portal("--token-seconds", "0.01")
    bench.launcher.by_model[OTHER] = ("--load-seconds", "1")
    with Askers(portal, bench) as askers:
        assert portal.plan("chat", OTHER, SETTINGS).mode is Mode.BESIDE
        switch(portal)
        assert finish(portal) is Step.DONE
        until(lambda: portal.endpoint("chat").model_id == OTHER)
        time.sleep(0.3)
    assert askers.lost == []
    assert max(askers.waits) < 0.5, "nobody waited"
    assert outcomes(portal) == {OTHER: "serving", MODEL: "retired"}
    assert RunRecords(bench.settings.engines_dir).deployment_ids() == [portal.status("chat").deployment_id]


def test_in_place_askers_wait_in_line_and_none_is_lost(bench: Bench) -> None:
    portal = bench.ready_portal("--token-seconds", "0.01")
    bench.memory.only_one_fits()
    bench.launcher.by_model[OTHER] = ("--load-seconds", "1")
    with Askers(portal, bench) as askers:
        switch(portal)
        until(lambda: portal.rollout().queued == 8)
        assert finish(portal) is Step.DONE
        time.sleep(0.3)
    assert askers.lost == []
    assert 1 < max(askers.waits) < 8
    assert served(portal) == OTHER
    assert portal.rollout().mode is Mode.IN_PLACE


def test_answers_over_the_drain_limit_begin_anew_with_the_new_model(tmp_path: Path) -> None:
    bench = Bench(tmp_path, drain_timeout_s=0.3, engine_health_interval_s=60)
    portal = bench.ready_portal()
    httpx.post(portal.endpoint("chat").base_url.replace("/v1", "/fake/hang"), trust_env=False)
    bench.memory.only_one_fits()
    chat_model, answers = ChatModel(portal, bench.settings), []

    def ask() -> None:
        first = False
        while not answers:
            lease = chat_model.enter("chat", first=first)
            while not lease.wait(0.1):
                pass
            try:
                with chat_model.stream(ChatRequest([{"role": "user", "content": "Hi"}], 50), lease) as stream:
                    answers.append((lease.endpoint.model_id, "".join(stream)))
            except EngineRetired:
                first = True

    asker = threading.Thread(target=ask)
    asker.start()
    until(lambda: portal.role("chat").running == 1)
    switch(portal)
    assert finish(portal) is Step.DONE
    asker.join(10)
    assert answers == [(OTHER, "This is the fake engine. 这是假引擎。")]
    bench.close()


BROKEN = {
    "missing": (ModelFilesError, ()),
    "tampered": (VerificationFailed, ()),
    "out-of-memory": (EngineStartFailed, ("--stderr-file", "{trace}", "--exit-after", "0.2", "--load-seconds", "60")),
    "crashes": (EngineStartFailed, ("--exit-after", "0.8", "--load-seconds", "60")),
    "never-ready": (EngineStartFailed, ("--load-seconds", "600")),
    "garbage": (GoldenPromptFailed, ("--reply", "!!!!!!!!!!!!!!!!!!!!!!!!")),
    "wrong": (GoldenPromptFailed, ("--reply", "The capital is Rome.")),
}


@pytest.mark.parametrize("mode", [Mode.BESIDE, Mode.IN_PLACE])
@pytest.mark.parametrize("broken", [name for name in BROKEN if name != "missing"])
def test_a_broken_candidate_leaves_the_old_model_serving(tmp_path: Path, broken: str, mode: Mode) -> None:
    expected, options = BROKEN[broken]
    bench = Bench(tmp_path, engine_start_timeout_s=3)
    (tmp_path / "trace.txt").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    portal = bench.ready_portal()
    if mode is Mode.IN_PLACE:
        bench.memory.only_one_fits()
    bench.golden = [GoldenPrompt("What is this?", any_of=("fake engine",))]
    bench.launcher.by_model[OTHER] = tuple(option.format(trace=tmp_path / "trace.txt") for option in options)
    if broken == "tampered":
        bench.models.tampered.add(OTHER)
    switch(portal)
    assert finish(portal) is Step.FAILED
    assert isinstance(portal.rollout().error, expected)
    assert portal.status("chat").ready
    assert served(portal) == MODEL
    assert outcomes(portal) == {OTHER: "rolled_back", MODEL: "serving"}
    assert len(RunRecords(bench.settings.engines_dir).deployment_ids()) == 1
    bench.close()


def test_a_model_that_is_not_here_is_refused_before_anything_happens(bench: Bench) -> None:
    portal = bench.ready_portal()
    with pytest.raises(ModelFilesError):
        switch(portal, "absent-model")
    assert portal.rollout().model_id == MODEL
    assert served(portal) == MODEL


def test_tampered_files_are_found_before_the_old_engine_is_stopped(bench: Bench) -> None:
    portal = bench.ready_portal()
    bench.memory.only_one_fits()
    bench.models.tampered.add(OTHER)
    pid = portal.status("chat").pid
    switch(portal)
    assert finish(portal) is Step.FAILED
    assert portal.status("chat").pid == pid


def test_tampered_files_are_found_at_every_start(bench: Bench) -> None:
    bench.models.tampered.add(MODEL)
    portal = bench.portal()
    portal.start("chat", MODEL)
    status = portal.wait_ready("chat", 10)
    assert status.state is EngineState.FAILED
    assert isinstance(status.error, VerificationFailed)
    assert bench.record() is None


def test_what_does_not_fit_at_all_is_refused_unless_insisted_on(bench: Bench) -> None:
    portal = bench.ready_portal()
    bench.memory.available_mib, bench.memory.engine_mib = 10, 10
    with pytest.raises(DoesNotFit, match="are short"):
        switch(portal)
    switch(portal, anyway=True)
    assert finish(portal) is Step.DONE


def test_the_second_of_two_switches_is_told_who_is_switching(bench: Bench) -> None:
    portal = bench.ready_portal()
    bench.launcher.by_model[OTHER] = ("--load-seconds", "3")
    switch(portal)
    with pytest.raises(RolloutInProgress, match="console is switching chat to Other-Model"):
        switch(portal, MODEL)
    with pytest.raises(RolloutInProgress):
        portal.stop("chat")
    portal.cancel_rollout()
    assert finish(portal) is Step.CANCELLED


@pytest.mark.parametrize("mode", [Mode.BESIDE, Mode.IN_PLACE])
def test_a_cancelled_switch_leaves_the_old_model(bench: Bench, mode: Mode) -> None:
    portal = bench.ready_portal()
    if mode is Mode.IN_PLACE:
        bench.memory.only_one_fits()
    bench.launcher.by_model[OTHER] = ("--load-seconds", "60")
    switch(portal)
    until(lambda: step_of(portal) is Step.STARTING)
    assert portal.status("chat").switching_to == "Other-Model"
    portal.cancel_rollout()
    assert finish(portal) is Step.CANCELLED
    assert portal.status("chat").switching_to == ""
    assert portal.wait_ready("chat", 10).ready
    assert served(portal) == MODEL
    assert outcomes(portal)[OTHER] == "cancelled"


def test_a_role_that_the_model_cannot_do_is_refused(bench: Bench) -> None:
    portal = bench.portal()
    with pytest.raises(BadInput, match="not made for vision"):
        portal.switch("vision", MODEL, SETTINGS)


def test_a_second_role_shares_a_deployment_that_runs(bench: Bench) -> None:
    portal = bench.ready_portal()
    deployment = portal.rows.spec(portal.status("chat").deployment_id)
    portal.switch("code", MODEL, deployment.settings)
    assert finish(portal) is Step.DONE
    assert portal.rollout().mode is Mode.SHARED
    assert portal.status("code").deployment_id == deployment.id
    assert portal.role("chat").shared_with == ("code",)
    assert bench.launcher.launches == 1


def test_beside_only_the_asked_role_moves_and_the_old_one_goes_on_for_the_other(bench: Bench) -> None:
    portal = bench.portal()
    portal.resume(MODEL)
    assert portal.wait_ready("chat", 10).ready
    switch(portal)
    assert finish(portal) is Step.DONE
    assert portal.status("code").ready
    assert (portal.status("chat").model_id, portal.status("code").model_id) == (OTHER, MODEL)


def test_in_place_all_roles_of_the_stopped_deployment_move(bench: Bench) -> None:
    portal = bench.portal()
    portal.resume(MODEL)
    assert portal.wait_ready("chat", 10).ready
    bench.memory.only_one_fits()
    switch(portal)
    assert finish(portal) is Step.DONE
    assert portal.rollout().roles == ("chat", "code")
    assert {portal.status("chat").model_id, portal.status("code").model_id} == {OTHER}


def test_going_back_is_one_switch_to_the_last_good_deployment(bench: Bench) -> None:
    portal = bench.ready_portal()
    assert portal.role("chat").last_good is None
    switch(portal)
    assert finish(portal) is Step.DONE
    good = portal.role("chat").last_good
    assert (good.model_id, good.outcome) == (MODEL, "retired")
    portal.switch("chat", good.model_id, good.settings, reason="roll_back")
    assert finish(portal) is Step.DONE
    assert served(portal) == MODEL


def test_a_portal_killed_during_a_switch_comes_back_with_the_old_model(bench: Bench) -> None:
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.integration.test_rollout import OTHER, Bench, switch\n"
        "bench = Bench(Path(sys.argv[2])); portal = bench.ready_portal()\n"
        "bench.launcher.by_model[OTHER] = ('--load-seconds', '60'); switch(portal); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(ROOT), str(bench.settings.home)]) as killed:
        until(lambda: len(RunRecords(bench.settings.engines_dir).deployment_ids()) == 2, 20)
        killed.kill()
    portal = bench.portal()
    portal.adopt()
    portal.resume(MODEL)
    assert portal.wait_ready("chat", 10).model_id == MODEL
    assert RunRecords(bench.settings.engines_dir).deployment_ids() == [portal.status("chat").deployment_id]
    assert outcomes(portal)[OTHER] == "failed"
    assert bench.launcher.launches == 0, "the old engine was adopted, not started again"


def test_a_stopped_deployment_stays_stopped_when_the_portal_returns(bench: Bench) -> None:
    portal = bench.ready_portal()
    portal.stop("chat")
    portal.close(stop_engines=True)
    again = bench.portal()
    again.adopt()
    again.resume(MODEL)
    assert again.status("chat").state is EngineState.STOPPED
    again.start("chat")
    assert again.wait_ready("chat", 10).ready


def test_an_idle_engine_is_unloaded_and_the_next_question_waits_for_it(bench: Bench) -> None:
    portal = bench.portal()
    portal.start("chat", MODEL, DeploymentSettings(idle_unload_minutes=1))
    assert portal.wait_ready("chat", 10).ready
    post = portal._posts.known(portal.status("chat").deployment_id)
    post.observer._idle_s = lambda since: 61.0
    until(lambda: portal.status("chat").unloaded)
    assert bench.record() is None
    post.observer._idle_s = lambda since: 0.0
    lease = portal.enter("chat")
    assert lease.place.reason == "loading"
    until(lambda: lease.wait(0.1))
    assert portal.status("chat").ready


def test_a_candidate_that_never_answered_gets_no_time_to_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, engine_start_timeout_s=3, engine_stop_timeout_s=60)
    portal = bench.ready_portal()
    bench.launcher.by_model[OTHER] = ("--load-seconds", "600", "--ignore-sigterm")
    switch(portal)
    assert finish(portal) is Step.FAILED
    bench.close()


@pytest.mark.parametrize("name", ["__KMP_REGISTERED_LIB_{pid}_0", "sem.loky-{pid}-abcdef"])
def test_a_stopped_engine_leaves_nothing_that_bears_its_pid(bench: Bench, name: str) -> None:
    portal = bench.ready_portal()
    left = Path("/dev/shm", name.format(pid=portal.status("chat").pid))
    left.touch()
    portal.stop("chat")
    assert not left.exists()


def test_every_start_keeps_its_command_with_secrets_masked(bench: Bench) -> None:
    portal = bench.ready_portal()
    view = portal.rows.view(portal.status("chat").deployment_id)
    assert "--served-model-name" in view.command
    assert portal.endpoint("chat").api_key not in str(view.environment) + " ".join(view.command)
    assert view.engine_version == "fake 1"
    assert view.created_by_name == CONSOLE.name


def test_a_stopped_model_is_not_started_where_another_took_its_memory(bench: Bench) -> None:
    portal = bench.ready_portal()
    portal.stop("chat")
    bench.memory.only_one_fits()
    with pytest.raises(DoesNotFit):
        portal.start("chat")
    assert portal.status("chat").state is EngineState.STOPPED


@pytest.mark.parametrize("mode", [Mode.BESIDE, Mode.IN_PLACE])
def test_a_bug_in_a_switch_leaves_the_old_model_and_no_candidate(bench: Bench, mode: Mode) -> None:
    portal = bench.ready_portal()
    if mode is Mode.IN_PLACE:
        bench.memory.only_one_fits()
    bench.golden = None  # asking for it is the bug
    portal._tools = replace(portal._tools, golden_prompts=lambda model_id: bench.golden[model_id])
    switch(portal)
    assert finish(portal) is Step.FAILED
    assert portal.wait_ready("chat", 10).ready
    assert served(portal) == MODEL
    until(lambda: len(RunRecords(bench.settings.engines_dir).deployment_ids()) == 1)


def test_a_start_during_a_switch_is_refused(bench: Bench) -> None:
    portal = bench.ready_portal()
    bench.memory.only_one_fits()
    bench.launcher.by_model[OTHER] = ("--load-seconds", "3")
    switch(portal)
    until(lambda: step_of(portal) is Step.STARTING)
    with pytest.raises(RolloutInProgress):
        portal.start("chat")
    assert finish(portal) is Step.DONE
    assert len(RunRecords(bench.settings.engines_dir).deployment_ids()) == 1


def test_a_server_elsewhere_that_never_answers_ends_the_switch(tmp_path: Path) -> None:
    bench = Bench(tmp_path, engine_start_timeout_s=1)
    portal = bench.ready_portal()
    elsewhere = DeploymentSettings(engine="external")
    bench.launcher.by_model[OTHER] = ("--exit-after", "0", "--load-seconds", "60")
    portal._tools = replace(portal._tools, start_timeout_s=-25)
    portal.switch("chat", OTHER, elsewhere)
    assert finish(portal) is Step.FAILED
    assert served(portal) == MODEL
    bench.close()


def test_switching_an_unloaded_model_loses_no_question_and_has_a_way_back(bench: Bench) -> None:
    portal = bench.portal()
    portal.start("chat", MODEL, DeploymentSettings(idle_unload_minutes=1))
    assert portal.wait_ready("chat", 10).ready
    portal.wait_rollout(10)
    observer = portal._posts.known(portal.status("chat").deployment_id).observer
    observer._idle_s = lambda since: 61.0
    until(lambda: portal.status("chat").unloaded)
    observer._idle_s = lambda since: 0.0
    bench.launcher.by_model[OTHER] = ("--load-seconds", "60", "--exit-after", "1.5")
    switch(portal)
    until(lambda: step_of(portal) is Step.STARTING)
    lease = portal.enter("chat")
    assert lease.place.reason == "switching"
    assert finish(portal) is Step.FAILED
    assert lease.wait(10)
    assert lease.endpoint.model_id == MODEL


def test_a_role_moves_to_a_shared_deployment_only_when_it_is_ready(bench: Bench) -> None:
    bench.launcher.options = ("--load-seconds", "1.5")
    portal = bench.portal()
    portal.start("code", OTHER)
    settings = portal.rows.view(portal.status("code").deployment_id).settings
    portal.wait_rollout(10)
    portal.start("chat", MODEL)
    portal.wait_rollout(10)
    os.kill(portal.status("code").pid, signal.SIGKILL)
    until(lambda: portal.status("code").state is EngineState.STARTING)
    portal.switch("chat", OTHER, settings)
    assert served(portal) == MODEL, "until the other one is back"
    assert finish(portal) is Step.DONE
    assert (served(portal), portal.status("chat").ready) == (OTHER, True)


def test_a_model_in_use_by_any_of_its_names_is_not_given_away(bench: Bench) -> None:
    portal = bench.ready_portal()
    with pytest.raises(EngineError, match="in use"):
        portal.require_unused(MODEL)
    bench.memory.only_one_fits()
    bench.launcher.by_model[OTHER] = ("--load-seconds", "3")
    switch(portal)
    until(lambda: step_of(portal) is Step.STARTING)
    with pytest.raises(EngineError, match="in use"):
        portal.require_unused(MODEL)  # it may have to serve again
    finish(portal)
    portal.require_unused(MODEL)


def test_gpu_memory_that_does_not_come_back_is_said(bench: Bench) -> None:
    bench.launcher.device = "cuda"
    portal = bench.ready_portal()
    portal._posts.known(portal.status("chat").deployment_id).observer._memory_of = lambda pids, _device: 5000.0
    observer_module.GPU_PATIENCE_S = 0.2
    portal.stop("chat")
    observer_module.GPU_PATIENCE_S = 20.0
    assert portal.status("chat").state is EngineState.FAILED
    assert "GPU memory did not come back" in portal.status("chat").reason


def test_a_model_that_does_not_fit_names_its_variants_that_do(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.models = FakeModels(tmp_path / "models", MODEL, OTHER, missing=(f"{OTHER}:small",))
    portal = bench.ready_portal()
    bench.memory.available_mib = bench.memory.engine_mib = 10
    bench.memory.by_model[f"{OTHER}:small"] = 5
    plan = portal.plan("chat", OTHER, SETTINGS)
    assert isinstance(plan.refusal, DoesNotFit)
    assert plan.alternatives == (Alternative(f"{OTHER}:small", 5, ready=False),)
    assert portal.plan("chat", f"{OTHER}:small", SETTINGS).alternatives == ()
    bench.close()
