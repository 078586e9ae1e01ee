"""Ray: actors under GreenBoost on a real cluster of two nodes, by the page's steps. The node that dies is the last test's."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed.ray import NODES_PRELOAD, VRAM, Cluster, get_ray, new_cluster
from bed.steps import step
from bed.wait import wait_until
from harness.cache import Cache

MIB = 1 << 20


@pytest.fixture(scope="module")
def cluster(repository: Path, fleet_dir: Path, wheel: Path, installed: Path) -> Iterator[Cluster]:
    """One for all tests of this file; each leaves it as it was, but for the last."""
    with new_cluster(repository, installed, get_ray(Cache(fleet_dir), wheel)) as made:
        yield made


def test_first_job_of_the_page_overflows_its_card(cluster: Cluster) -> None:
    said = cluster.nodes["head"].run(step("ray-job"), environment=cluster.environment).stdout
    assert "CUDA_SUCCESS" in said
    assert " split " in said


def test_actors_on_both_nodes_overflow_at_once_and_each_is_on_its_own_nodes_books(cluster: Cluster) -> None:
    found = cluster.drive("""
        models = {node: start({"host_limit": "256MiB"}, size=96 * MIB, **on(node)) for node in NODES}
        answer({node: ray.get(model.books.remote()) for node, model in models.items()})
    """)
    for node, books in found.items():
        assert (books["node"], books["clients"]) == (node, 1)
        assert sum(books["tiers"].values()) == 96 * MIB
        assert 0 < books["tiers"]["device"] <= VRAM
        assert books["leased"] == [books["program"]["host_bytes"]] == [books["tiers"]["split"]]
        assert books["program"]["host_limit_bytes"] == 256 * MIB
        assert books["program"]["program"].startswith("python")
    for place in cluster.nodes.values():
        cluster.wait_until_given_back(place)


def test_worker_gets_what_its_runtime_env_says_beside_what_is_there_already(cluster: Cluster) -> None:
    found = cluster.drive("""
        fields = {
            "node's": ({"host_limit": 9 * MIB}, {}),
            "own": ({"host_limit": "9MiB"}, {"LD_PRELOAD": "libpthread.so.0", "GREENBOOST_HOST_LIMIT": "7MiB", "GREENBOOST_LOG": "info"}),
            "both": (True, {"LD_PRELOAD": "libpthread.so.0:${LD_PRELOAD}", "GREENBOOST_HOST_LIMIT": "7MiB"}),
            "profile": ({"profile": "pytorch", "moves": False}, {}),
            "off": (False, {}),
        }
        models = {
            name: start(runtime_env={"greenboost": field, "env_vars": env_vars}, num_gpus=0.2, **on("head"))
            for name, (field, env_vars) in fields.items()
        }
        answer({name: ray.get(model.look.remote()) for name, model in models.items()})
    """)
    environments = {name: each["environment"] for name, each in found.items()}
    library, own = environments["node's"]["LD_PRELOAD"].split(":")
    assert (Path(library).name, own) == ("libgreenboost.so", NODES_PRELOAD)
    assert environments["node's"]["GREENBOOST_HOST_LIMIT"] == str(9 * MIB)
    assert environments["own"]["LD_PRELOAD"] == f"{library}:libpthread.so.0"
    assert environments["own"]["GREENBOOST_HOST_LIMIT"] == "9MiB"
    assert environments["own"]["GREENBOOST_LOG"] == "info"
    assert environments["both"]["LD_PRELOAD"] == f"{library}:libpthread.so.0:{NODES_PRELOAD}"
    assert environments["both"]["GREENBOOST_HOST_LIMIT"] == "7MiB"
    assert environments["profile"]["GREENBOOST_RETRY_FIRST"] == "1"
    assert environments["profile"]["GREENBOOST_MOVES"] == "0"
    assert environments["off"]["LD_PRELOAD"] == NODES_PRELOAD
    for each in found.values():
        assert each["environment"]["CUDA_VISIBLE_DEVICES"] == ",".join(map(str, each["gpus"])) == "0"


def test_worker_is_used_again_for_the_same_field_and_not_for_another(cluster: Cluster) -> None:
    found = cluster.drive("""
        task = ray.remote(look)
        fields = [{"log": "error"}, {"log": "error"}, {"log": "warn"}, None]
        answer([ray.get(task.options(runtime_env={"greenboost": field}, **on("head")).remote()) for field in fields])
    """)
    first, again, other, without = found
    assert first["pid"] == again["pid"]
    assert len({first["pid"], other["pid"], without["pid"]}) == 3
    assert (other["environment"]["GREENBOOST_LOG"], without["environment"]["LD_PRELOAD"]) == ("warn", NODES_PRELOAD)


def test_field_that_cannot_be_used_fails_the_actor_with_a_line_that_says_what(cluster: Cluster) -> None:
    found = cluster.drive("""
        fields = [{"vram_limt": "8GiB"}, {"host_limit": "8 parsecs"}, "8GiB", {"profile": "nonesuch"}]
        found = []
        for model in [start(field, num_gpus=0) for field in fields]:
            try:
                ray.get(model.look.remote())
            except ray.exceptions.RuntimeEnvSetupError as error:
                found.append(str(error).strip().splitlines()[-1])
        found.append(ray.get(start().look.remote())["node"])
        answer(found)
    """)
    unknown, unit, kind, profile, afterwards = found
    assert """runtime_env["greenboost"]: there is no option 'vram_limt'; there are vram_limit,""" in unknown
    assert """runtime_env["greenboost"]["host_limit"]: '8 parsecs'""" in unit
    assert """runtime_env["greenboost"]: write true, or options""" in kind
    assert "there is no profile 'nonesuch'; there are " in profile
    assert afterwards in cluster.nodes


def test_ceilings_of_a_node_hold_whatever_a_job_sets(cluster: Cluster) -> None:
    folder = cluster.nodes["worker"].path("/etc/greenboost")
    folder.mkdir(exist_ok=True)
    (folder / "ceilings").write_text("HOST_LIMIT=8MiB\n")
    found = cluster.drive("""
        hostile = {"greenboost": {"host_limit": "1GiB"}, "env_vars": {"GREENBOOST_HOST_LIMIT": "1TiB", "LD_PRELOAD": ""}}
        models = [start(runtime_env=hostile, **on(node)) for node in NODES]
        answer([ray.get(model.take.remote(96 * MIB)) for model in models])
    """)
    (folder / "ceilings").unlink()
    assert found == [0, 2]  # CUDA_ERROR_OUT_OF_MEMORY where there are ceilings


def test_actor_on_a_node_whose_daemon_is_down_overflows_and_is_leased_to_once_it_is_back(cluster: Cluster) -> None:
    worker = cluster.nodes["worker"]
    cluster.stop_daemon(worker)
    found = cluster.drive(
        """
        model = start(size=96 * MIB, **on("worker"))
        alone = ray.get(model.books.remote())
        pause()
        until = time.monotonic() + 30
        while not ray.get(model.books.remote())["leased"] and time.monotonic() < until:
            ray.get(model.take.remote(MIB))
            time.sleep(0.3)
        answer([alone, ray.get(model.books.remote())])
        """,
        lambda: cluster.start_daemon(worker),
    )
    alone, leased = found
    assert alone["tiers"]["split"] and alone["leased"] == []
    assert leased["leased"] == [leased["program"]["host_bytes"]]
    cluster.wait_until_given_back(worker)


def test_actor_that_is_killed_while_it_allocates_leaves_no_lease(cluster: Cluster) -> None:
    head = cluster.nodes["head"]
    found = cluster.drive(
        """
        model = start(size=96 * MIB, **on("head"))
        ray.get(model.look.remote())
        endless = model.take_and_give.remote(8 * MIB)
        pause()
        ray.kill(model)
        try:
            ray.get(endless)
        except ray.exceptions.RayActorError as error:
            answer(type(error).__name__)
        """,
        lambda: wait_until(
            lambda: cluster.status(head)["daemon"]["leases"]["granted"] > 5, "it leases again and again"
        ),
    )
    assert found == "ActorDiedError"
    cluster.wait_until_given_back(head)


def test_py_executable_does_the_same_without_a_plugin(cluster: Cluster) -> None:
    found = cluster.drive("""
        command = "env GREENBOOST_REMEMBER= greenboost run --host-limit 256MiB -- /opt/ray/bin/python"
        answer(ray.get(start(size=96 * MIB, runtime_env={"py_executable": command}).books.remote()))
    """)
    assert found["tiers"]["split"]
    assert found["program"]["host_limit_bytes"] == 256 * MIB
    assert found["environment"]["GREENBOOST_REMEMBER"] == ""


def test_node_without_the_plugin_runs_the_actor_without_greenboost(cluster: Cluster) -> None:
    join = step("ray-worker").replace("""--resources='{"greenboost": 1}'""", """--resources='{"plain": 1}'""")
    with cluster.node("plain", join) as plain:
        found = cluster.drive(
            """
            models = [start(resources={"plain": 1}), start(resources={"greenboost": 0.001})]
            codes = [ray.get(model.take.remote(96 * MIB)) for model in models]
            pause()
            while sum(node["Alive"] for node in ray.nodes()) > 2:
                time.sleep(0.1)
            answer(codes)
            """,
            lambda: plain.run("kill $(pgrep --exact raylet)"),
        )
    assert found == [2, 0]


def test_node_that_dies_leaves_the_other_nodes_books_right_and_its_actor_starts_there(cluster: Cluster) -> None:
    head, worker = cluster.nodes["head"], cluster.nodes["worker"]
    found = cluster.drive(
        """
        staying = start(size=96 * MIB, **on("head"))
        ray.get(staying.look.remote())
        moving = start({"host_limit": "128MiB"}, size=96 * MIB, num_gpus=0.5, max_restarts=1, max_task_retries=-1)
        mortal = start(num_gpus=0.5)
        before = [ray.get(each.look.remote())["node"] for each in (staying, moving, mortal)]
        pause()
        again = moving.books.remote()
        while "died" not in before:
            try:
                ray.get(mortal.look.remote())
            except ray.exceptions.ActorUnavailableError:  # the connection broke, and Ray does not know yet why
                time.sleep(0.2)
            except ray.exceptions.ActorDiedError:
                before.append("died")
        left = ray.get(staying.books.remote())
        ray.kill(staying)
        answer([before, left, ray.get(again)])
        """,
        lambda: os.kill(worker.pid, signal.SIGKILL),
    )
    before, left, again = found
    assert before == ["head", "worker", "worker", "died"]
    for books in (left, again):
        assert (books["node"], books["clients"], sum(books["tiers"].values())) == ("head", 1, 96 * MIB)
        assert books["leased"] == [books["program"]["host_bytes"]]
    assert again["program"]["host_limit_bytes"] == 128 * MIB
    cluster.wait_until_given_back(head)
