"""What vLLM is launched with on which hardware, and what a failed launch's log is read for."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path

import pytest

from services.engines.engine_log import decisive_lines
from services.engines.hardware import Hardware, read_hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest, fingerprint
from services.engines.launchers.vllm import VllmBuild, VllmLauncher
from services.engines.options import DeploymentSettings, LoraAdapter
from services.errors import EngineUnavailable

AVX2 = Hardware(cores=2, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=False)
AMX = Hardware(cores=32, avx2=True, avx512=True, avx512_bf16=False, amx_bf16=True, nvidia=False)
GPU = Hardware(cores=8, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=True)
FOR_CPU, FOR_CUDA = VllmBuild("0.32.0", for_cpu=True), VllmBuild("0.32.0", for_cpu=False)
SHAPE = {"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 896}
LOGS = Path(__file__).resolve().parent.parent / "fixtures" / "engine_logs"


def plan(
    hardware: Hardware, tmp_path: Path, *, build: VllmBuild = FOR_CPU, config: dict | None = None, **settings: object
) -> LaunchPlan:
    folder = model_folder(tmp_path, config or {})
    request = LaunchRequest("tiny", folder, 4711, "secret", tmp_path / "cache", DeploymentSettings(**settings))
    return VllmLauncher(hardware, build=build, prefix=tmp_path).plan(request)


def model_folder(tmp_path: Path, config: dict) -> Path:
    """Of a model with one tensor; its config says that there are more."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SHAPE | config))
    tensors = {"model.embed_tokens.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    header = json.dumps(tensors).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    return folder


def option(plan: LaunchPlan, name: str) -> str:
    return plan.command[plan.command.index(name) + 1]


def test_the_server_of_this_python_listens_on_loopback_under_the_catalogue_id(tmp_path: Path) -> None:
    made = plan(AVX2, tmp_path, context_tokens=2048, max_num_seqs=3)
    assert made.command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert (option(made, "--host"), option(made, "--port")) == ("127.0.0.1", "4711")
    assert option(made, "--served-model-name") == made.served_name == "tiny"
    assert (option(made, "--max-model-len"), option(made, "--max-num-seqs")) == ("2048", "3")


def test_the_key_is_in_the_environment_and_not_on_the_command_line(tmp_path: Path) -> None:
    made = plan(AVX2, tmp_path)
    assert made.environment["VLLM_API_KEY"] == "secret"
    assert "secret" not in " ".join(made.command)


@pytest.mark.parametrize(("hardware", "dtype"), [(AVX2, "float32"), (AMX, "bfloat16")], ids=["avx2", "amx"])
def test_the_number_format_is_what_the_cpu_is_fast_at(hardware: Hardware, dtype: str, tmp_path: Path) -> None:
    made = plan(hardware, tmp_path)
    assert option(made, "--dtype") == dtype
    assert "--enforce-eager" in made.command
    assert made.environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"


def test_a_number_format_that_was_chosen_is_used(tmp_path: Path) -> None:
    assert option(plan(AMX, tmp_path, dtype="float32"), "--dtype") == "float32"


def test_the_cpu_kv_cache_holds_every_request_at_its_longest(tmp_path: Path) -> None:
    per_token = 2 * 24 * 2 * 64 * 4  # keys and values, layers, KV heads, head dimension, float32
    made = plan(AVX2, tmp_path, context_tokens=1000, max_num_seqs=2)
    assert option(made, "--kv-cache-memory-bytes") == str(per_token * (2 * 1024 + 128))


def test_a_kv_cache_may_be_set_in_fractions_of_a_gib(tmp_path: Path) -> None:
    assert option(plan(AVX2, tmp_path, kv_cache_gib=1.5), "--kv-cache-memory-bytes") == str(3 * 2**29)


def test_steps_on_a_cpu_are_short_but_hold_a_token_of_every_request(tmp_path: Path) -> None:
    assert option(plan(AVX2, tmp_path), "--max-num-batched-tokens") == "512"
    assert option(plan(AVX2, tmp_path, max_num_seqs=600), "--max-num-batched-tokens") == "600"


def test_fewer_threads_are_bound_to_the_first_cores(tmp_path: Path) -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    assert plan(AVX2, tmp_path).environment["VLLM_CPU_OMP_THREADS_BIND"] == "auto"
    bound = plan(AVX2, tmp_path, threads=1).environment["VLLM_CPU_OMP_THREADS_BIND"]
    assert bound == (str(first) if others else "auto")


def test_prefix_caching_can_be_turned_off(tmp_path: Path) -> None:
    assert "--enable-prefix-caching" in plan(AVX2, tmp_path).command
    assert "--no-enable-prefix-caching" in plan(AVX2, tmp_path, prefix_caching=False).command


def test_the_intel_openmp_library_is_loaded_where_it_is_installed(tmp_path: Path) -> None:
    assert "LD_PRELOAD" not in plan(AVX2, tmp_path).environment
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libiomp5.so").touch()
    assert plan(AVX2, tmp_path).environment["LD_PRELOAD"] == str(tmp_path / "lib" / "libiomp5.so")


def test_the_engine_asks_no_hub_and_writes_below_its_own_folder(tmp_path: Path) -> None:
    environment = plan(AVX2, tmp_path).environment
    assert environment["HF_HUB_OFFLINE"] == environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    caches = ("HF_HOME", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    assert all(environment[name].startswith(str(tmp_path / "cache")) for name in caches)


@pytest.mark.parametrize(
    ("settings", "config"),
    [
        ({"tensor_parallel": 2}, {}),
        ({"quantization": "fp8"}, {}),
        ({"quantization": "bnb-4bit"}, {}),
        ({}, {"quantization_config": {"quant_method": "awq"}}),
        ({}, {"quantization_config": {"quant_method": "bitsandbytes"}}),
    ],
    ids=["two-gpus", "fp8", "bitsandbytes", "awq-without-avx512", "stored-as-bitsandbytes"],
)
def test_what_this_cpu_cannot_do_is_refused_with_a_way_out(settings: dict, config: dict, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable) as refusal:
        plan(AVX2, tmp_path, config=config, **settings)
    assert refusal.value.hint


def test_8_bit_weights_are_refused_on_every_cpu(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="4 bits"):
        plan(AMX, tmp_path, config={"quantization_config": {"quant_method": "gptq", "bits": 8}})


def test_4_bit_weights_are_computed_in_bfloat16_where_the_cpu_has_avx512(tmp_path: Path) -> None:
    avx512 = Hardware(cores=2, avx2=True, avx512=True, avx512_bf16=False, amx_bf16=False, nvidia=False)
    made = plan(avx512, tmp_path, config={"quantization_config": {"quant_method": "gptq"}})
    assert option(made, "--dtype") == "bfloat16"


def test_a_gpu_gets_its_memory_share_and_compiles(tmp_path: Path) -> None:
    made = plan(GPU, tmp_path, build=FOR_CUDA, gpu_memory_utilization=0.7)
    assert option(made, "--gpu-memory-utilization") == "0.7"
    assert option(made, "--dtype") == "auto"
    for name in ("--enforce-eager", "--tensor-parallel-size", "--quantization", "--kv-cache-memory-bytes"):
        assert name not in made.command


def test_everything_that_can_be_set_for_gpus_reaches_the_engine(tmp_path: Path) -> None:
    settings = {"tensor_parallel": 2, "cpu_offload_gib": 4, "enforce_eager": True, "quantization": "fp8"}
    made = plan(GPU, tmp_path, build=FOR_CUDA, **settings)
    assert option(made, "--tensor-parallel-size") == "2"
    assert option(made, "--cpu-offload-gb") == "4.0"
    assert option(made, "--quantization") == "fp8_per_tensor"
    assert "--enforce-eager" in made.command


def test_a_vllm_that_is_not_installed_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="not installed"):
        plan(AVX2, tmp_path, build=VllmBuild("", for_cpu=True))


def test_a_model_that_sees_takes_one_image_and_the_torchvision_that_is_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "vision" / "torchvision").mkdir(parents=True)
    made = plan(AVX2, tmp_path, config={"vision_config": {}, "text_config": SHAPE})
    assert json.loads(option(made, "--limit-mm-per-prompt")) == {"image": 1}
    shim, apart = made.environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(shim) / "sitecustomize.py").is_file()
    assert apart == str(tmp_path / "vision")
    assert "PYTHONPATH" not in plan(AVX2, tmp_path, config={}).environment


def adapter(folder: Path, *, rank: int) -> LoraAdapter:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (folder / "adapter_model.safetensors").touch()
    return LoraAdapter(name=folder.name, path=str(folder))


def test_adapters_are_served_under_their_names_with_room_for_the_largest(tmp_path: Path) -> None:
    lora = (adapter(tmp_path / "law", rank=4), adapter(tmp_path / "tone", rank=12))
    made = plan(AVX2, tmp_path, lora=lora)
    at = made.command.index("--lora-modules")
    assert [json.loads(module)["name"] for module in made.command[at + 1 : at + 3]] == ["law", "tone"]
    assert option(made, "--max-lora-rank") == "16"


def test_an_adapter_in_pickles_is_refused_by_name(tmp_path: Path) -> None:
    law = adapter(tmp_path / "law", rank=4)
    (tmp_path / "law" / "adapter_model.safetensors").rename(tmp_path / "law" / "adapter_model.bin")
    with pytest.raises(EngineUnavailable, match="law"):
        plan(AVX2, tmp_path, lora=(law,))


def test_the_fingerprint_changes_with_a_setting_only(tmp_path: Path) -> None:
    def print_of(**settings: object) -> str:
        request = LaunchRequest("tiny", model_folder(tmp_path, {}), 0, "", tmp_path, DeploymentSettings(**settings))
        return fingerprint(VllmLauncher(AVX2, build=FOR_CPU), request)

    assert print_of() == print_of()
    assert print_of() != print_of(context_tokens=8192)


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
