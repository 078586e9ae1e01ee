"""A Slurm of one node, from Debian's packages: munge, slurmctld and slurmd in a place with five GPUs that are none."""

import shutil
from pathlib import Path
from shlex import quote
from subprocess import CompletedProcess

from bed.place import Place
from bed.steps import step
from bed.wait import wait_until

USER = "alice"
HOME = f"/home/{USER}"
PLUGIN = "/usr/local/lib/slurm/greenboost.so"
CARD_MIB = 64

_CONFIGURATION = """
mkdir -p /run/munge /etc/slurm /var/lib/slurm/slurmctld /var/lib/slurm/slurmd
chown munge: /run/munge
echo "$(hostname -I) $(hostname)" >>/etc/hosts
useradd --create-home {user}
cat >/etc/slurm/slurm.conf <<END
ClusterName=test
SlurmctldHost=$(hostname)
SlurmUser=root
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
MpiDefault=none
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
LaunchParameters=use_interactive_step
GresTypes=gpu
MessageTimeout=30
KillWait=2
NodeName=$(hostname) CPUs=$(nproc) RealMemory=8000 Gres=gpu:5
PartitionName=all Nodes=ALL Default=YES OverSubscribe=FORCE:8
END
printf 'Name=gpu File=/dev/%s\\n' null zero full random urandom >/etc/slurm/gres.conf
echo CgroupAutomount=no >/etc/slurm/cgroup.conf
"""


def reason_without_slurm() -> str | None:
    """What is missing on this machine; None: nothing."""
    programs = {"slurmctld": "slurmctld", "slurmd": "slurmd", "munged": "munge", "srun": "slurm-client"}
    missing = {package for program, package in programs.items() if shutil.which(program) is None}
    if not Path("/usr/include/slurm/spank.h").exists():
        missing.add("libslurm-dev")
    return f"not installed: {' '.join(sorted(missing))}" if missing else None


class Cluster:
    """A cluster of one node, whose card has CARD_MIB. The plugin is in it, built and installed as docs/fleet.md says.

    Attributes:
        place: the node.
    """

    def __init__(self, place: Place, repository: Path) -> None:
        self.place, self._repository = place, repository
        place.run(_CONFIGURATION.format(user=USER))
        place.run(f"cd {repository}\n" + step("slurm-build"), timeout_s=300)
        place.run(step("slurm-cgroup") + step("slurm-plugstack"))
        self.configure("")
        place.run("runuser -u munge -- munged; slurmctld; slurmd")
        wait_until(lambda: "idle" in place.run("timeout 5 sinfo -h -o %t", check=False).stdout, "a node is idle")

    @property
    def environment(self) -> dict[str, str]:
        """Of a user who has a CUDA program."""
        return {
            "HOME": HOME,
            "LD_LIBRARY_PATH": str(self._repository / "build/fake_driver"),
            "FAKECUDA_VRAM": f"{CARD_MIB}MiB",
        }

    def configure(self, arguments: str) -> None:
        """Gives the plugin these arguments from the next job on."""
        self.place.run(f"echo 'optional {PLUGIN} {arguments}' >/etc/slurm/plugstack.conf")

    def user(
        self, script: str, *, check: bool = True, timeout_s: float = 60.0, **environment: str
    ) -> CompletedProcess[str]:
        """Runs a script as the user, at home."""
        exports = "".join(f"export {name}={quote(value)}\n" for name, value in environment.items())
        return self.place.run(
            f"cd {HOME}\n{exports}{script}",
            user=USER,
            environment=self.environment,
            check=check,
            timeout_s=timeout_s,
        )

    def variables(self, options: str, **environment: str) -> dict[str, str]:
        """The environment of a task that was started with these options of srun."""
        printed = self.user(f"srun {options} env -0", **environment).stdout
        return dict(one.split("=", 1) for one in printed.split("\0") if "=" in one)
