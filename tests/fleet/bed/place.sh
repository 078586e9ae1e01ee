# Process 1 of a place: mounts what it has, moves there, says so in /run/place, and waits.
# FOLDER: an empty one. NAME: of the host. REPOSITORY. Then pairs: a path in the place, and what folder is to be there.
folder=$1
hostname "$2"
repository=$3
shift 3
ip link set lo up
mount --make-rprivate /

# What is written lies in memory.
mount -t tmpfs -o mode=755 place "$folder"
root=$folder/root
mkdir "$root" "$folder/written" "$folder/work"
mount -t overlay place -o "lowerdir=/,upperdir=$folder/written,workdir=$folder/work" "$root"
while [ $# -gt 0 ]; do
	mkdir -p "$root$1"
	mount --bind "$2" "$root$1"
	shift 2
done

mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for empty in run tmp dev/shm; do
	mount -t tmpfs -o mode=1777 "$empty" "$root/$empty"
done
chmod 755 "$root/run"
# It may lie on a disk of its own, or in /tmp.
mkdir -p "$root$repository" "$folder/repository" "$folder/repository.work"
mount -t overlay repository \
	-o "lowerdir=$repository,upperdir=$folder/repository,workdir=$folder/repository.work" "$root$repository"

# The hierarchies from the place's own groups down. Fields: proc_pid_mountinfo(5).
while read -r _ _ _ _ point rest; do
	read -r kind _ options <<<"${rest#*- }"
	case $kind in
	cgroup2) controllers=nsdelegate ;;
	cgroup) controllers=$(tr , '\n' <<<"$options" | grep -vxE 'rw|ro|xattr|clone_children' | paste -sd,) ;;
	*) continue ;;
	esac
	umount "$root$point"
	mount -t "$kind" -o "$controllers" "$kind" "$root$point"
done < <(grep ' - cgroup2\? ' /proc/self/mountinfo | grep -vF " $root/")

cd "$root"
mkdir -p .before
pivot_root . .before
umount -l .before
rmdir .before
touch /run/place
exec sleep infinity
