#!/bin/sh
# First process of a node, in namespaces of its own: makes the node's view of the file system, then keeps its services.
# A shell, since pid 1 must reap whatever is left to it. Usage: node-init.sh NODE DIR (environment: CGROUP NODE_DISK NODE_RAM
# KUBELET KUBELET_ARGS CONTAINERD PROXY PROXY_ARGS LOGS).
set -eu
node=$1 dir=$2
for procs in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do
	own=${procs%/*}/$CGROUP/init/cgroup.procs
	if [ -e "$own" ]; then echo 0 >"$own"; fi
done
hostname "$node"
for path in $NODE_DISK; do mount -n --bind "$dir/disk$path" "$path"; done
# What a machine loses with its power: sockets, network namespaces, the state of runc and containerd.
mount -n -t tmpfs -o mode=755 tmpfs /run
for path in $NODE_RAM; do mkdir -p "$path"; done
mkdir -p /run/lock
# As on a real node (systemd does it): mounts made in pods with Bidirectional propagation reach the node.
mount -n --make-rshared /

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH HOME=/root
unset KUBECONFIG
keep() {
	log=$1
	shift
	while :; do
		"$@" >>"$log" 2>&1 &
		echo $! >"/run/${1##*/}.pid"
		wait $! || :
		sleep 0.2
	done
}
keep "$LOGS/containerd-$node.log" "$CONTAINERD" &
while [ ! -S /run/containerd/containerd.sock ]; do sleep 0.05; done
# shellcheck disable=SC2086 # arguments of ours, without spaces
keep "$LOGS/kubelet-$node.log" "$KUBELET" $KUBELET_ARGS &
# shellcheck disable=SC2086
keep "$LOGS/proxy-$node.log" "$PROXY" $PROXY_ARGS &
wait
