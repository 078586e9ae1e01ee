# CUDA programs on the simulated driver that take all the host memory that they are lent. Sourced by a guest's script.
export LD_LIBRARY_PATH=/mnt/test PYTHONPATH=/mnt/test FAKECUDA_VRAM=16MiB

# takers CASE COUNT PROPERTY...: so many at once, in units with these properties, to their end. What each saw is kept as
# CASE-NUMBER.json, what it said as CASE-NUMBER.err, and what the daemon says while all hold theirs as CASE.status.
takers() {
	local folder=/run/$1 case=$1 units number
	units=$(for number in $(seq "$2"); do echo "$1-$number"; done)
	mkdir "$folder"
	for unit in $units; do
		systemd-run --quiet --collect --unit="$unit" --service-type=exec "${@:3}" -E LD_LIBRARY_PATH -E PYTHONPATH \
			-E FAKECUDA_VRAM --property=StandardError="append:$KEPT/$unit.err" \
			/opt/greenboost/bin/greenboost run -- python3 /mnt/test/take.py "$unit" "$folder"
	done
	for unit in $units; do
		until [ -e "$folder/$unit.full" ]; do
			systemctl -q is-active "$unit"
			sleep 0.1
		done
	done
	while systemctl -q is-active greenboostd; do
		/opt/greenboost/bin/greenboost status --json >"$KEPT/$case.status"
		! grep -q "\"clients\": $2," "$KEPT/$case.status" || break
	done
	touch "$folder/go-on"
	for unit in $units; do
		while systemctl -q is-active "$unit"; do sleep 0.1; done
	done
	cp "$folder"/*.json "$KEPT"
}
