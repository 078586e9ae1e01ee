# What a guest's test may do, in busybox's sh and in bash: with what it keeps in $KEPT.

# keep PATH...: hands over what files hold that are there, and which folders are. A process takes 10 ms here: few are made.
keep() {
	folders=
	for path; do
		shift
		if [ -d "$path" ]; then
			folders="$folders $KEPT$path"
		elif [ -e "$path" ]; then
			set -- "$@" "$path"
		fi
	done
	mkdir -p $KEPT $folders
	[ $# = 0 ] || cp --parents "$@" $KEPT
}

# keep_machine: hands over what greenboost reads of a running kernel.
keep_machine() {
	keep /proc/cmdline /proc/cpuinfo /proc/meminfo /proc/stat /proc/sys/kernel/osrelease /etc/modprobe.d/*
	keep /sys/module/* /sys/module/*/initstate
	for module in ttm amdttm amdgpu; do
		keep "/sys/module/$module/parameters/"* "/sys/module/$module/holders/"*
	done
	keep /sys/kernel /sys/kernel/iommu_groups/*/type /sys/class/iommu/*
}

# attempt NAME COMMAND...: hands over what a command says and its status, as NAME and NAME.status; it may fail.
attempt() {
	name=$1
	shift
	said=0
	"$@" >"$KEPT/$name" 2>&1 || said=$?
	echo "$said" >"$KEPT/$name.status"
}

# set_to VALUE FILE: writes as echo does; in a shell of its own, so that a refusal ends only that.
set_to() {
	sh -c 'echo "$1" >"$2"' set_to "$1" "$2"
}

# end STATUS: ends QEMU with twice the byte, plus one (isa-debug-exit). The byte is never 0, which would stand for a reboot.
end() {
	printf "\\$(printf '%03o' $(($1 < 100 ? $1 + 1 : 101)))" | dd of=/dev/port bs=1 seek=244 count=1 conv=notrunc 2>/dev/null
}
