# A machine on which a GPU's driver takes all RAM while somebody works. All is noted in the kernel's log, whose clock is the
# one for all. Sourced by a guest's script.
modprobe qxl
until [ -e /dev/dri/card0 ]; do sleep 0.1; done

mark() {
	echo "<5>mark: $*" >/dev/kmsg
}

# start NAME ARGUMENT...: runs a program as a unit of its own, by systemd-run's arguments, until it has said something.
start() {
	rm -f "/run/$1.out"
	systemd-run --quiet --unit="$1" --property=StandardOutput="append:/run/$1.out" \
		--property=StandardError="append:/run/$1.err" "${@:2}"
	until [ -s "/run/$1.out" ]; do sleep 0.1; done
}

# pid NAME: of its program.
pid() {
	systemctl show --property=MainPID --value "$1"
}

# stop NAME...: and nothing of it is left.
stop() {
	systemctl kill --signal=KILL "$@" 2>/dev/null || true
	systemctl stop "$@" 2>/dev/null || true
	systemctl reset-failed "$@" 2>/dev/null || true
}

# load MIB_PER_S SECONDS: until one of the two has ended, or for so long.
load() {
	start innocent --uid=nobody python3 -u /mnt/test/innocent.py 48
	mark "begin $1"
	start hog python3 -u /mnt/test/ttm_hog.py "$1"
	innocent=$(pid innocent) hog=$(pid hog)
	mark "pids $innocent $hog"
	for _ in $(seq $(($2 * 10))); do
		[ -d "/proc/$innocent" ] || { mark "gone innocent"; break; }
		[ -d "/proc/$hog" ] || { mark "gone hog"; break; }
		sleep 0.1
	done
	mark "end $1"
	stop innocent hog
	sleep 2
}
