#!/bin/busybox sh
# A guest's first process: it runs /test, hands over what that kept through the second serial port, and ends QEMU with its
# status.
export PATH=/bin:/busybox
/bin/busybox mkdir -p /proc /sys /dev /busybox /kept
/bin/busybox --install -s /busybox
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

# busybox's sh would take its own, which read modprobe.d, and hand on the command line, in ways of their own.
modprobe() {
	/bin/modprobe "$@"
}
rmmod() {
	/bin/rmmod "$@"
}

KEPT=/kept
. /functions

(
	set -e
	. /test
)
status=$?

exec 3>/dev/ttyS1
stty -F /dev/ttyS1 raw 115200
tar -c -f - -C /kept . >&3
exec 3>&-
end $status
