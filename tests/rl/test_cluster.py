"""Actor options, placements and remote calls that fail in one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import ray

from rl.cluster import actor_options, call, check_placement, environment, redirect_output
from rl.settings import ClusterSettings


@pytest.mark.parametrize(("cpus", "actors", "threads"), [(2, 1, "2"), (2, 2, "1"), (2, 3, "1"), (8, 3, "2")])
def test_by_default_the_actors_of_a_kind_share_all_processors(cpus: int, actors: int, threads: str) -> None:
    assert environment(ClusterSettings(num_cpus=cpus), actors=actors)["OMP_NUM_THREADS"] == threads


def test_cpu_actors_stay_within_their_threads_and_never_compile() -> None:
    variables = environment(ClusterSettings(threads=2), actors=2, kv_cache_gib=3)
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["TORCHDYNAMO_DISABLE"] == "1"
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_gpu_actors_get_none_of_the_cpu_settings() -> None:
    variables = environment(ClusterSettings(device="cuda"))
    assert not {"OMP_NUM_THREADS", "TORCHDYNAMO_DISABLE", "DS_ACCELERATOR", "CUDA_VISIBLE_DEVICES"} & variables.keys()


def test_actors_with_a_local_model_do_not_use_the_network(tmp_path: Path) -> None:
    assert environment(ClusterSettings(), model_path=str(tmp_path))["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(ClusterSettings(), model_path="owner/model")


def test_each_role_gets_its_share_of_a_gpu() -> None:
    settings = ClusterSettings(device="cuda", gpus_per_engine=0.3)
    assert actor_options(settings, "engine", actors=1)["num_gpus"] == 0.3
    assert actor_options(ClusterSettings(), "engine", actors=1)["num_gpus"] == 0


def test_two_ranks_that_could_share_a_gpu_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cluster\.gpus_per_learner"):
        check_placement(ClusterSettings(device="cuda", gpus_per_learner=0.5), ranks=2)
    check_placement(ClusterSettings(device="cuda", gpus_per_learner=0.6), ranks=2)
    check_placement(ClusterSettings(device="cpu", gpus_per_learner=0.5), ranks=2)


class Worker:
    def work(self, how: str) -> str:
        if how == "refuse":
            raise ValueError("the prompt is empty")
        if how == "fault":
            raise KeyError("weights")
        if how == "die":
            os._exit(1)
        if how == "sleep":
            time.sleep(60)
        return how

    def talk(self, folder: str) -> None:
        redirect_output(Path(folder), "talker")
        print("from python")
        os.system("echo from a child")


@pytest.mark.e2e
def test_a_failed_call_is_a_one_line_error_that_names_the_actor_and_its_log(
    cluster: ClusterSettings, tmp_path: Path
) -> None:
    actors = [ray.remote(Worker).options(num_cpus=0).remote() for _ in range(3)]  # type: ignore[attr-defined]

    def work(what: str, *hows: str, timeout: float = 60) -> list[str]:
        refs = [actor.work.remote(how) for actor, how in zip(actors, hows, strict=False)]
        names = ["first", "second", "third"][: len(refs)]
        return call(refs, timeout, what, names=names, log_folder=tmp_path)

    assert work("starting", "a", "b", "c") == ["a", "b", "c"]
    with pytest.raises(ValueError, match="sampling: the prompt is empty"):
        work("sampling", "a", "refuse")
    with pytest.raises(RuntimeError, match=r"update: KeyError: 'weights' \(first; see .*first\.log\)"):
        work("update", "fault")
    with pytest.raises(RuntimeError, match=r"update: no answer from third within cluster\.timeout_s = 0\.5 s"):
        work("update", "a", "b", "sleep", timeout=0.5)
    with pytest.raises(RuntimeError, match=r"update: the process of second died.*second\.log"):
        work("update", "a", "die", "sleep")
    call([actors[0].talk.remote(str(tmp_path))], 60, "talk", names=["first"], log_folder=tmp_path)
    assert (tmp_path / "talker.log").read_text() == "from python\nfrom a child\n"
    for actor in actors:
        ray.kill(actor)
