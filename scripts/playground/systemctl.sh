#!/bin/sh
# Stand-in for systemd's systemctl on a playground node, where node-init.sh keeps the services: `is-active` and `restart` of
# containerd.service, with systemd's exit codes.
set -u
verb=$1
for unit; do :; done
[ "$unit" = containerd.service ] || exit 4
pid=$(cat /run/containerd.pid 2>/dev/null)
case $verb in
is-active) kill -0 "$pid" 2>/dev/null || exit 3 ;;
restart)
	kill "$pid" 2>/dev/null
	# Type=notify: done when it serves.
	for _ in $(seq 100); do
		sleep 0.1
		now=$(cat /run/containerd.pid)
		[ "$now" != "$pid" ] && ctr version >/dev/null 2>&1 && exit 0
	done
	echo "Job for $unit failed." >&2
	exit 1
	;;
*) exit 1 ;;
esac
