# The service of the system, from its first installation to its removal. Sourced by a guest's script, which has set GREENBOOST.

main_pid() {
	systemctl show --property=MainPID --value greenboostd
}

restarts() {
	systemctl show --property=NRestarts --value greenboostd
}

# running [PID]: waits until the daemon runs, as another process than that; asked at once, so that both are of one moment.
running() {
	local MainPID=0 SubState=
	until [ "$SubState" = running ] && [ "$MainPID" != "${1:-0}" ]; do
		sleep 0.2
		eval "$(systemctl show --property=MainPID,SubState greenboostd)"
	done
}

# state FILE: what there is on this machine that an installation could have changed; what runs and logs aside.
state() {
	{
		find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp -o -path /mnt -o -path /opt \
			-o -path /var/log -o -path /var/lib/systemd \) -prune -o -printf '%p %M %u %g %l\n'
		find /run -maxdepth 1 -printf '%p %M %u %g\n'
		sha256sum /etc/passwd /etc/group /etc/shadow /etc/gshadow
		systemctl list-unit-files --no-legend --no-pager
	} | sort >"$KEPT/$1"
}

# said SINCE: of a warning's weight or more, on this boot, by us or of us.
said() {
	journalctl --boot --quiet --no-pager --priority=warning --since="$1" | grep -i greenboost || true
}
