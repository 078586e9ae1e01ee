#!/bin/busybox sh
# A guest's first process, which goes on with the system on the disk: root= of the command line, or the first disk.
export PATH=/bin:/busybox
/bin/busybox mkdir -p /proc /sys /dev /busybox /newroot
/bin/busybox --install -s /busybox
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
root=/dev/vda
for word in $(cat /proc/cmdline); do
	case $word in root=/dev/* | root=UUID=*) root=${word#root=} ;; esac
done
for module in virtio_pci virtio_blk crc32c_generic ext4 9pnet_virtio 9p; do
	/bin/modprobe -q $module
done
case $root in UUID=*) root=$(findfs "$root") ;; esac
mount -t ext4 "$root" /newroot || exec sh
# A disk that goes with any kernel has no modules of its own.
if [ ! -d "/newroot/usr/lib/modules/$(uname -r)" ]; then
	mount -t tmpfs -o mode=755 modules /newroot/usr/lib/modules
	cp -a /lib/modules/. /newroot/usr/lib/modules
fi
umount /proc /sys
mount --move /dev /newroot/dev
exec switch_root /newroot /lib/systemd/systemd
