# A real kernel with the real TTM module, and a whole Debian with systemd and GRUB, booted in QEMU, without KVM, a GPU or a
# network. Included by the top Makefile. Debian only: kernels and packages are downloaded once and unpacked into build/vm
# (2.5 GB), never installed. Root lays out the Debian; as somebody else, tests that need it are left out.
#
#   WORKERS=2          guests that run at once, of 3 GiB at most
# tool:package
VM_TOOLS := qemu-system-x86_64:qemu-system-x86 busybox:busybox-static kmod:kmod depmod:kmod setpriv:util-linux \
	apt-get:apt dpkg-deb:dpkg mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs sfdisk:fdisk
# depmod lies where only root looks.
VM_PATH := PATH="$$PATH:/usr/sbin:/sbin"

VM_PYTEST = $(VM_PATH) $(VENV_PYTHON) -m pytest -o pythonpath=tests/vm
VM_READY = @export $(VM_PATH); for tool in $(VM_TOOLS); do command -v "$${tool%%:*}" >/dev/null || { \
	echo "make: $${tool%%:*} is missing (Debian: apt-get install $${tool\#\#*:})" >&2; exit 1; }; done

test-vm: wheel test-artifacts $(VENV)/.stamp-test ## boots Debian in QEMU: the service, GRUB and reboots, leases, and who dies when RAM runs out
	$(VM_READY)
	$(VM_PYTEST) -n $(WORKERS) --maxschedchunk 1 tests/vm

.PHONY: oom-comparison
oom-comparison: wheel $(VENV)/.stamp-test # the figures of docs/reliability.md: the same load under those who also watch memory
	$(VM_READY)
	@$(VM_PATH) PYTHONPATH=tests/vm:. $(VENV_PYTHON) tests/vm/comparison.py
