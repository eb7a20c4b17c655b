"""What is launched for which hardware, and what a failed launch's log is read for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from services.engines.engine_log import decisive_lines
from services.engines.hardware import Hardware, read_hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest, fingerprint
from services.engines.launchers.vllm import VllmLauncher
from services.settings import Settings

AVX2 = Hardware(cores=2, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=False)
AMX = Hardware(cores=32, avx2=True, avx512=True, avx512_bf16=False, amx_bf16=True, nvidia=False)
LOGS = Path(__file__).resolve().parent.parent / "fixtures" / "engine_logs"


def plan(hardware: Hardware, tmp_path: Path, *, cpu_build: bool = True, **settings: object) -> LaunchPlan:
    request = LaunchRequest("tiny", tmp_path / "models" / "tiny", 4711, "secret", tmp_path / "cache")
    launcher = VllmLauncher(Settings(home=tmp_path, **settings), hardware, cpu_build=cpu_build, library_dir=tmp_path)
    return launcher.plan(request)


def option(plan: LaunchPlan, name: str) -> str:
    return plan.command[plan.command.index(name) + 1]


def test_the_server_of_this_python_listens_on_loopback_under_the_catalogue_id(tmp_path: Path) -> None:
    made = plan(AVX2, tmp_path)
    assert made.command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert (option(made, "--host"), option(made, "--port")) == ("127.0.0.1", "4711")
    assert option(made, "--served-model-name") == "tiny"
    assert "--enable-prefix-caching" in made.command


def test_the_key_is_in_the_environment_and_not_on_the_command_line(tmp_path: Path) -> None:
    made = plan(AVX2, tmp_path)
    assert made.environment["VLLM_API_KEY"] == "secret"
    assert "secret" not in " ".join(made.command)


@pytest.mark.parametrize(("hardware", "dtype"), [(AVX2, "float32"), (AMX, "bfloat16")], ids=["avx2", "amx"])
def test_the_number_format_is_what_the_cpu_is_fast_at(hardware: Hardware, dtype: str, tmp_path: Path) -> None:
    made = plan(hardware, tmp_path, engine_kv_cache_gib=3)
    assert option(made, "--dtype") == dtype
    assert "--enforce-eager" in made.command
    assert made.environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert made.environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"


def test_the_intel_openmp_library_is_loaded_where_it_is_installed(tmp_path: Path) -> None:
    assert "LD_PRELOAD" not in plan(AVX2, tmp_path).environment
    (tmp_path / "libiomp5.so").touch()
    assert plan(AVX2, tmp_path).environment["LD_PRELOAD"] == str(tmp_path / "libiomp5.so")


def test_the_engine_asks_no_hub_and_writes_below_its_own_folder(tmp_path: Path) -> None:
    environment = plan(AVX2, tmp_path).environment
    assert environment["HF_HUB_OFFLINE"] == environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    caches = ("HF_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    assert all(environment[name].startswith(str(tmp_path / "cache")) for name in caches)


def test_a_gpu_gets_its_memory_share_and_compiles(tmp_path: Path) -> None:
    gpu = Hardware(cores=8, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=True)
    made = plan(gpu, tmp_path, cpu_build=False, engine_gpu_memory_utilization=0.7)
    assert option(made, "--gpu-memory-utilization") == "0.7"
    assert option(made, "--dtype") == "auto"
    assert "--enforce-eager" not in made.command
    assert "VLLM_CPU_KVCACHE_SPACE" not in made.environment


def test_the_fingerprint_changes_with_a_setting_only(tmp_path: Path) -> None:
    def print_of(**settings: object) -> str:
        return fingerprint(VllmLauncher(Settings(home=tmp_path, **settings), AVX2), "tiny", tmp_path, tmp_path)

    assert print_of() == print_of()
    assert print_of() != print_of(engine_context_tokens=8192)


def test_cpu_flags_and_the_nvidia_driver_are_found(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16\n\nprocessor\t: 1\n")
    found = read_hardware(cpuinfo, nvidia_driver=cpuinfo)
    assert found.fast_bfloat16
    assert found.avx2
    assert found.nvidia
    assert found.cores >= 1


def test_a_quiet_log_has_no_decisive_line() -> None:
    assert decisive_lines("INFO 11-22 18:14:41 [base_loader.py:82] Initializing model took 0.3 seconds\n") == []


def test_the_folder_that_is_no_model_is_named() -> None:
    (line,) = decisive_lines((LOGS / "badpath.log").read_text())
    assert line.startswith("huggingface_hub.errors.HFValidationError: Repo id must be")


def test_the_reason_of_a_rejected_setting_comes_last() -> None:
    lines = decisive_lines((LOGS / "context.log").read_text())
    assert lines[-1].startswith("Value error, User-specified max_model_len (999999) is greater than")


def test_the_root_cause_is_told_instead_of_what_it_caused() -> None:
    lines = decisive_lines((LOGS / "no_lscpu.log").read_text())
    assert len(lines) == 1
    assert lines[0].startswith("subprocess.CalledProcessError: Command 'lscpu")


def test_a_kv_cache_over_the_memory_is_told_in_one_line_by_its_worker() -> None:
    (line,) = decisive_lines((LOGS / "kv_cache.log").read_text())
    assert line.startswith("ValueError: Available memory on node 0")


def test_what_it_caused_is_told_when_nothing_else_is_known() -> None:
    text = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
    assert decisive_lines(text) == [text.strip()]


def test_long_lines_are_cut_and_repeated_ones_told_once() -> None:
    assert decisive_lines("ValueError: " + "x" * 1000 + "\nMemoryError\n" * 3)[1:] == ["MemoryError"]
    assert len(decisive_lines("ValueError: " + "x" * 1000)[0]) == 400
