"""Slurm: jobs of a real cluster of one node overflow their card, at once, killed, out of memory, hostile, and with nonsense."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.installed import OPT
from bed.place import new_place, new_switch
from bed.slurm import CARD_MIB, HOME, PLUGIN, USER, Cluster, reason_without_slurm
from bed.steps import step
from bed.wait import wait_until

PROGRAMS = Path(__file__).parent / "programs"
FILL, HOLD = (f"python3 {PROGRAMS / name}" for name in ("fill.py", "hold.py"))
MIB = 1 << 20
FITS_MIB, HOST_MIB = 48, 96
ALL_MIB = CARD_MIB + HOST_MIB
JOB = "--gres=gpu:1 --mem=1G"
HELD = f"peak VRAM {CARD_MIB}.0 MiB, host split {HOST_MIB}.0 MiB (1 task)"


@pytest.fixture(scope="module")
def cluster(installed: Path, repository: Path) -> Iterator[Cluster]:
    """A cluster that has the plugin, whose node has a daemon."""
    if (reason := reason_without_slurm()) is not None:
        pytest.skip(reason)
    with new_switch() as switch, new_place("node1", folders={OPT: installed}, switch=switch) as place:
        place.run(step("link"))
        made = Cluster(place, repository)
        start_daemon(made)
        made.user(f"printf 'import sys\\nsys.argv[1:] = [\"{ALL_MIB}\"]\\n' | cat - {FILL.split()[1]} >train.py")
        yield made


def start_daemon(cluster: Cluster) -> None:
    cluster.place.run("mkdir -p /run/greenboost; setsid greenboost daemon </dev/null >/var/log/greenboost.log 2>&1 &")
    wait_until(lambda: daemon(cluster) is not None, "a daemon answers")


def daemon(cluster: Cluster) -> Any:
    """The daemon's report; None where none answers."""
    return json.loads(cluster.place.run("greenboost status --json", check=False).stdout or "{}").get("daemon")


def wait_for_leases(cluster: Cluster, clients: int, held_mib: int) -> None:
    books: Any = {}

    def balanced() -> bool:
        books.update(daemon(cluster)["leases"])
        return (books["clients"], books["held_bytes"]) == (clients, held_mib * MIB)

    try:
        wait_until(balanced, "the books balance")
    except TimeoutError:
        queue = cluster.place.run("squeue --all").stdout
        pytest.fail(f"not {clients} leases of {held_mib} MiB altogether: {books}\n{queue}")


@pytest.fixture(autouse=True)
def without_jobs(cluster: Cluster) -> Iterator[None]:
    """What a test leaves to run when it fails is not for the next."""
    yield
    cluster.user("touch go; scancel --user $(id -un)")
    wait_for_jobs(cluster)


def holding(cluster: Cluster, name: str) -> str:
    """A batch job that holds memory until a file called `go` is there; its number."""
    job = f"rm -f go; sbatch --parsable {JOB} --greenboost --output={name} --wrap '{HOLD} {ALL_MIB} {HOME}/go'"
    return cluster.user(job).stdout.strip()


def wait_for_jobs(cluster: Cluster) -> None:
    wait_until(lambda: not cluster.place.run("squeue -h").stdout, "the jobs have ended")


def said(cluster: Cluster, name: str) -> str:
    return cluster.place.path(f"{HOME}/{name}").read_text()


def test_first_job_by_the_steps_overflows_its_card_and_is_told_what_it_held(cluster: Cluster) -> None:
    done = cluster.user(step("slurm-job"))
    assert done.stdout == f"got {ALL_MIB} MiB\n"
    assert f": {HELD}" in done.stderr
    batch = cluster.user(step("slurm-batch")).stdout
    assert f"got {ALL_MIB} MiB\n" in batch
    assert f".batch on node1: {HELD}" in batch
    wait_for_leases(cluster, 0, 0)
    assert cluster.place.run("ls /var/tmp/greenboost-*", check=False).returncode


def test_job_that_does_not_ask_gets_nothing(cluster: Cluster) -> None:
    for options in (JOB, f"{JOB} --greenboost=off"):
        variables = cluster.variables(options)
        assert not [name for name in variables if name.startswith(("GREENBOOST_", "LD_PRELOAD"))]
    assert cluster.user(f"srun {JOB} {FILL} {ALL_MIB}").stdout == f"got {CARD_MIB} MiB\n"


def test_default_of_the_site_is_for_jobs_with_a_gpu(cluster: Cluster) -> None:
    cluster.configure("default=on")
    try:
        assert "LD_PRELOAD" in cluster.variables(JOB)
        assert "LD_PRELOAD" not in cluster.variables("--mem=1G")
        assert "LD_PRELOAD" not in cluster.variables(f"{JOB} --greenboost=off")
    finally:
        cluster.configure("")


def test_limits_are_the_smallest_and_the_gpus_stay_as_slurm_set_them(cluster: Cluster) -> None:
    def limits(options: str, **environment: str) -> tuple[str | None, str | None]:
        found = cluster.variables(f"--gres=gpu:1 {options}", **environment)
        assert found["CUDA_VISIBLE_DEVICES"] == "0"
        return found.get("GREENBOOST_VRAM_LIMIT"), found.get("GREENBOOST_HOST_LIMIT")

    high = {"GREENBOOST_VRAM_LIMIT": "1T", "GREENBOOST_HOST_LIMIT": "1T"}
    low = {"GREENBOOST_VRAM_LIMIT": "1M", "GREENBOOST_HOST_LIMIT": "2M"}
    assert limits("--mem=1G --greenboost") == (None, str(1024 * MIB))
    assert limits("--mem=1G --greenboost=vram=8G,host=100M", **high) == (str(8192 * MIB), str(100 * MIB))
    assert limits("--mem=1G --greenboost=vram=8G,host=100M", **low) == (str(MIB), str(2 * MIB))
    assert limits("--mem-per-cpu=300M --ntasks=1 --cpus-per-task=2 --greenboost") == (None, str(600 * MIB))
    cluster.configure("max_vram=1G max_host=500M")
    try:
        assert limits("--mem=1G --greenboost=vram=1M", **high) == (str(MIB), str(500 * MIB))
        assert limits("--mem=1G --greenboost", **high) == (str(1024 * MIB), str(500 * MIB))
        refused = cluster.user(f"srun {JOB} --greenboost=host=501M true", check=False)
        assert refused.returncode
        assert "more than a task may have here" in refused.stderr
    finally:
        cluster.configure("")


def test_memory_of_a_step_is_divided_by_its_tasks_on_the_node(cluster: Cluster) -> None:
    done = cluster.user(f"srun --ntasks=2 {JOB} --greenboost sh -c 'echo $GREENBOOST_HOST_LIMIT; {FILL} {ALL_MIB}'")
    assert sorted(done.stdout.splitlines()) == [str(512 * MIB)] * 2 + [f"got {ALL_MIB} MiB"] * 2
    each = f"VRAM {CARD_MIB}.0 MiB, host split {HOST_MIB}.0 MiB"
    assert f"host split {2 * HOST_MIB}.0 MiB (2 tasks; 0: {each}; 1: {each})" in done.stderr


def test_profile_is_used_and_one_that_there_is_not_costs_a_line(cluster: Cluster) -> None:
    assert cluster.variables(f"{JOB} --greenboost=profile=pytorch")["GREENBOOST_RETRY_FIRST"] == "1"
    done = cluster.user(f"srun {JOB} --greenboost=profile=nix sh -c 'echo [$LD_PRELOAD]'")
    assert done.stdout == "[]\n"
    (line,) = done.stderr.splitlines()
    assert (
        "the task starts without it: /usr/local/bin/greenboost env failed: greenboost: there is no profile 'nix'"
        in line
    )


def test_steps_of_an_allocation_and_jobs_of_an_array_have_what_it_was_asked_with(cluster: Cluster) -> None:
    done = cluster.user(f"salloc {JOB} --greenboost=host=512MiB sh -c 'srun {FILL} {ALL_MIB}; srun {FILL} {FITS_MIB}'")
    assert done.stdout == f"got {ALL_MIB} MiB\ngot {FITS_MIB} MiB\n"
    assert f": {HELD}" in done.stderr
    assert f": peak VRAM {FITS_MIB}.0 MiB (1 task)" in done.stderr
    cluster.user(f"sbatch --array=0-2 {JOB} --greenboost --output=array-%a --wrap 'srun {FILL} {ALL_MIB}'")
    wait_for_jobs(cluster)
    for index in range(3):
        assert said(cluster, f"array-{index}").count(HELD) == 1
    lowered = cluster.user(f"salloc {JOB} --greenboost=host=64M srun --greenboost=host=1M env")
    assert f"GREENBOOST_HOST_LIMIT={MIB}\n" in lowered.stdout


def test_jobs_at_once_killed_or_not_leave_books_that_balance(cluster: Cluster) -> None:
    wait_for_leases(cluster, 0, 0)
    jobs = [holding(cluster, f"held-{number}") for number in range(5)]
    wait_for_leases(cluster, 5, 5 * HOST_MIB)
    assert (
        "libgreenboost"
        not in cluster.place.run("cat $(pgrep -x 'slurm(ctl|step)?d' | sed 's:.*:/proc/&/maps:')").stdout
    )
    cluster.user(f"scancel {jobs[0]}; scancel --signal=KILL --full {jobs[1]}")
    wait_for_leases(cluster, 3, 3 * HOST_MIB)
    cluster.user("touch go")
    wait_for_jobs(cluster)
    wait_for_leases(cluster, 0, 0)
    for number in range(5):
        assert said(cluster, f"held-{number}").count(f"on node1: {HELD}") == 1
    assert cluster.place.run("ls /var/tmp/greenboost-*", check=False).returncode


def test_job_that_is_killed_in_the_middle_of_taking_memory_gives_it_back(cluster: Cluster) -> None:
    job = cluster.user(
        f"sbatch --parsable {JOB} --greenboost --output=middle --wrap 'while :; do {FILL} 900; done'"
    ).stdout.strip()
    wait_until(lambda: daemon(cluster)["leases"]["held_bytes"] > 0, "something is leased")
    cluster.user(f"scancel --signal=KILL --full {job}")
    wait_for_jobs(cluster)
    wait_for_leases(cluster, 0, 0)


def test_job_over_its_memory_limit_is_refused_host_memory_or_killed(cluster: Cluster) -> None:
    refused = cluster.user(f"srun --gres=gpu:1 --mem=200M --greenboost {FILL} 900").stdout
    assert CARD_MIB < int(refused.split()[1]) < CARD_MIB + 200
    eats = f"{HOLD} {ALL_MIB} /never & sleep 1; python3 -c \"x = b'1' * (900 << 20)\"; kill $!; exit 3"
    killed = cluster.user(f"srun --gres=gpu:1 --mem=300M --greenboost sh -c {shlex.quote(eats)}", check=False)
    assert killed.returncode
    assert "oom-kill event" in killed.stderr
    wait_for_leases(cluster, 0, 0)


NONSENSE = ["", "vram", "vram=", "vram=-1", "vram=lots", "vram=75%", "host=99999999999999999999", "vram=1G,vram=2G"]
NONSENSE += ["socket=/x", "profile=../../etc/passwd", "$(touch pwned)", "x" * 10240]


@pytest.mark.parametrize("command", ["srun", "sbatch", "salloc"])
def test_nonsense_is_refused_before_anything_is_submitted(cluster: Cluster, command: str) -> None:
    number = "scontrol show jobs -o | wc -l"
    before = cluster.user(number).stdout
    for text in NONSENSE:
        program = "job" if command == "sbatch" else "true"
        option = shlex.quote(f"--greenboost={text}")
        done = cluster.user(f"printf '#!/bin/sh\\n' >job; {command} {JOB} {option} {program}", check=False)
        line, *slurms = done.stderr.splitlines()
        assert done.returncode
        assert slurms == [f"{command}: error: Invalid --greenboost argument: {text}"]
        assert line.startswith(f"{command}: error: --greenboost: '")
        assert len(line) < 250
    cluster.user("printf '#!/bin/sh\\n#SBATCH --greenboost=vram=lots\\n' >job")
    assert cluster.user(f"sbatch {JOB} job", check=False).returncode
    assert cluster.user(number).stdout == before
    assert not cluster.place.path(f"{HOME}/pwned").exists()


def test_hostile_environment_can_lower_limits_and_not_raise_them(cluster: Cluster) -> None:
    library = cluster.variables(f"{JOB} --greenboost")["LD_PRELOAD"]
    hostile = {
        "LD_PRELOAD": f"libm.so.6:{library}",
        "GREENBOOST_HOST_LIMIT": "1T",
        "GREENBOOST_REPORT": "/etc/greenboost-report",
        "PYTHONPATH": "/nowhere",
    }
    found = cluster.variables(f"{JOB} --greenboost=host=32M", **hostile)
    assert found["LD_PRELOAD"] == f"{library}:libm.so.6"
    assert found["GREENBOOST_HOST_LIMIT"] == str(32 * MIB)
    assert found["GREENBOOST_REPORT"].startswith("/var/tmp/greenboost-")
    assert (
        cluster.user(f"srun {JOB} --greenboost=host=32M {FILL} 900", **hostile).stdout == f"got {CARD_MIB + 32} MiB\n"
    )


def test_what_a_job_changes_in_itself_is_held_by_the_ceilings(cluster: Cluster) -> None:
    raised = f"env GREENBOOST_HOST_LIMIT=1T GREENBOOST_HOST_RESERVE=0 GREENBOOST_SOCKET=/nowhere {FILL} 300"
    job = f"srun {JOB} --greenboost=host=32M {raised}"
    assert cluster.user(job).stdout == "got 300 MiB\n".replace("300", "304")
    cluster.place.run("mkdir -p /etc/greenboost; echo HOST_LIMIT=64MiB >/etc/greenboost/ceilings")
    try:
        assert cluster.user(job).stdout == f"got {CARD_MIB + 64} MiB\n"
    finally:
        cluster.place.run("rm /etc/greenboost/ceilings")


def test_what_a_job_writes_into_its_report_reaches_no_terminal(cluster: Cluster) -> None:
    lies = 'printf "\\033[31m%s\\n" x >>$GREENBOOST_REPORT; head -c 3000000 /dev/urandom >>$GREENBOOST_REPORT'
    honest = f"echo >>$GREENBOOST_REPORT; {FILL} {ALL_MIB} >/dev/null"
    done = cluster.user(f"srun {JOB} --greenboost sh -c {shlex.quote(f'{lies}; {honest}')}")
    (line,) = done.stderr.splitlines()
    assert line.endswith(HELD)
    gone = cluster.user(f"srun {JOB} --greenboost sh -c 'rm $GREENBOOST_REPORT; ln -s /etc/shadow $GREENBOOST_REPORT'")
    assert gone.stderr == ""
    assert cluster.place.path("/etc/shadow").exists()
    assert cluster.place.run("ls /var/tmp/greenboost-*", check=False).returncode


def test_job_that_lies_about_its_cgroup_is_seen_in_its_own(cluster: Cluster) -> None:
    moves = "echo $$ >/sys/fs/cgroup/memory/cgroup.procs || echo $$ >/sys/fs/cgroup/cgroup.procs"
    assert cluster.user(f"srun {JOB} --greenboost sh -c {shlex.quote(moves)}", check=False).returncode
    lie = "printf '9:memory:/\\n0::/\\n' >cgroup; mount --bind cgroup /proc/$$/cgroup; cat /proc/$$/cgroup; "
    lie += f"exec env -u GREENBOOST_HOST_LIMIT {FILL} 900"
    # A namespace of users that a user makes; a kernel that forbids it leaves nothing to lie with.
    job = f"srun --gres=gpu:1 --mem=200M --greenboost unshare --user --map-root-user --mount sh -c {shlex.quote(lie)}"
    for _ in range(5):
        done = cluster.user(job, check=False)
        if "unshare" in done.stderr:
            pytest.skip(f"no lie is possible here: {done.stderr.splitlines()[0]}")
        if "oom-kill" not in done.stderr:
            break  # else the machine was too busy for the daemon to answer in time, and the kernel was there first
    *faked, got = done.stdout.splitlines()
    assert faked == ["9:memory:/", "0::/"]
    assert CARD_MIB < int(got.split()[1]) < CARD_MIB + 200


def test_node_whose_daemon_is_down_runs_jobs_all_the_same(cluster: Cluster) -> None:
    cluster.place.run(f"kill {daemon(cluster)['pid']}")
    wait_until(lambda: daemon(cluster) is None, "the daemon has ended")
    try:
        done = cluster.user(f"srun {JOB} --greenboost {FILL} {ALL_MIB}")
        assert done.stdout == f"got {ALL_MIB} MiB\n"
        assert done.stderr.endswith(f"{HELD}\n")
    finally:
        start_daemon(cluster)


@pytest.mark.parametrize(
    ("command", "why"), [(None, "No such file"), ("exec sleep 1000", "did not end within 10 s"), ("exit 7", "failed")]
)
def test_node_without_an_answer_of_greenboost_runs_jobs_without_it(
    cluster: Cluster, command: str | None, why: str
) -> None:
    if command is not None:
        cluster.place.run(f"printf '#!/bin/sh\\n{command}\\n' >/usr/local/bin/other; chmod +x /usr/local/bin/other")
    cluster.configure("greenboost=/usr/local/bin/" + ("none" if command is None else "other"))
    try:
        done = cluster.user(f"srun {JOB} --greenboost {FILL} {ALL_MIB}")
    finally:
        cluster.configure("")
    assert done.stdout == f"got {CARD_MIB} MiB\n"
    (line,) = done.stderr.splitlines()
    assert "the task starts without it" in line
    assert why in line
    processes = cluster.place.run(f"ps -u {USER} -o stat=,args=", check=False).stdout.splitlines()
    assert not [process for process in processes if not process.startswith("Z")]


def test_upgrade_while_jobs_run_leaves_each_the_library_that_it_began_with(cluster: Cluster) -> None:
    library, folder = cluster.variables(f"{JOB} --greenboost")["LD_PRELOAD"], "/srv/greenboost"
    renew = f"cp {library} {folder}/new && mv {folder}/new {folder}/libgreenboost.so; "
    renew += f"cp {PLUGIN} {PLUGIN}.new && mv {PLUGIN}.new {PLUGIN}"
    wrapper = f'#!/bin/sh\\nGREENBOOST_LIBRARY={folder}/libgreenboost.so exec greenboost "$@"\\n'
    cluster.place.run(
        f"mkdir -p {folder}; {renew}; printf '{wrapper}' >{folder}/greenboost; chmod +x {folder}/greenboost"
    )
    cluster.configure(f"greenboost={folder}/greenboost")
    try:
        holding(cluster, "old")
        wait_for_leases(cluster, 1, HOST_MIB)
        cluster.place.run(renew)
        old = cluster.place.run("cat /proc/$(pgrep -u alice -f '^python3 .*hold.py')/maps").stdout
        done = cluster.user(f"srun {JOB} --greenboost {FILL} {ALL_MIB}")
        cluster.user("touch go")
        wait_for_jobs(cluster)
    finally:
        cluster.configure("")
    assert f"{folder}/libgreenboost.so (deleted)\n" in old
    assert done.stderr.endswith(f"{HELD}\n")
    assert f"on node1: {HELD}" in said(cluster, "old")
    wait_for_leases(cluster, 0, 0)


def test_mistake_in_plugstack_conf_is_told_where_jobs_are_submitted(cluster: Cluster) -> None:
    cluster.configure("max_vram=lots")
    try:
        done = cluster.user(f"srun {JOB} true", check=False)
    finally:
        cluster.configure("")
    assert "greenboost: plugstack.conf: 'max_vram=lots': no size in bytes" in done.stderr
    assert USER not in done.stdout
