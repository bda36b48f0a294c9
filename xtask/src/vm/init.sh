#!/bin/busybox sh
# The first process of the machine that `cargo xtask vm` boots: known work in cgroups, the agent beside it, and the kernel's
# own figures against the agent's. Prints one line a figure, and at the end `vm: pass` or `vm: fail`.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo 0 > /proc/sys/kernel/printk
echo "+cpu +io +memory" > /sys/fs/cgroup/cgroup.subtree_control
ifconfig lo 127.0.0.1 up
failed=0
say() { echo "vm: $(uname -r): $*"; }

cat > /tmp/agent.conf <<C
[[inputs.ebpf]]
probes = ["cpu", "blkio", "net", "runqueue", "tcp"]
C
seismograf doctor --config /tmp/agent.conf 2>&1 | sed 's/^/vm: /'
seismograf dump --config /tmp/agent.conf --format line --interval 1s > /tmp/points 2> /tmp/log &
agent=$!
# It has attached everything when its first gather is there.
while ! grep -q part=ring /tmp/points; do kill -0 $agent || { cat /tmp/log; say "the agent did not start"; failed=1; break; }; sleep 0.1; done

N=2000
BLOCK=4096
SIZE=100
for name in spinner forker writer sender; do mkdir /sys/fs/cgroup/$name; done
run() { name=$1; shift; echo go | work --work "/sys/fs/cgroup/$name/cgroup.procs" "" "$@" > /tmp/$name.done 2>&1; }
run spinner spin 8000 &
a=$!
run forker fork 8000 &
b=$!
wait $a $b
run writer write /dev/nvme0n1 $BLOCK $N
run sender udp-send 127.0.0.1:9 $SIZE $N 1

# Two gathers from now on have seen everything.
lines() { grep -c part=ring /tmp/points; }
target=$(($(lines) + 2))
while [ "$(lines)" -lt $target ]; do kill -0 $agent || break; sleep 0.1; done

# The last value of a field of a measurement of a cgroup.
field() { grep "^$1,cgroup=/$2," /tmp/points | tail -n 1 | sed "s/.*[ ,]$3=\([0-9]*\)i.*/\1/"; }

for name in spinner forker; do
  kernel=$(awk '/^usage_usec/{print $2 * 1000}' /sys/fs/cgroup/$name/cpu.stat)
  ours=$(field cgroup_cpu $name usage_ns)
  off=$(awk -v a="${ours:-0}" -v b="$kernel" 'BEGIN{printf "%.3f", 100 * (a - b) / b}')
  say "cpu: $name: kernel $kernel ns, agent ${ours:-none}, $off %"
  awk -v off="$off" -v b="$kernel" 'BEGIN{exit !(off <= 0.5 && off >= -0.5 && b > 1e9)}' || failed=1
done
exact() { say "$1: expected $2, agent ${3:-none}"; [ "$2" = "$3" ] || failed=1; }
exact "bytes written" $((N * BLOCK)) "$(field cgroup_blkio writer write_bytes)"
exact "writes" $N "$(field cgroup_blkio writer writes)"
exact "datagrams sent" $N "$(field cgroup_net sender tx_packets)"
exact "bytes sent" $((N * (SIZE + 28))) "$(field cgroup_net sender tx_bytes)"
grep -E "WARN|ERROR" /tmp/log | sed 's/^/vm: /'
if grep -q "probe is off" /tmp/log; then failed=1; fi
[ $failed = 0 ] && say pass || { say fail; for f in /tmp/*.done; do echo "$f: $(cat $f)"; done; }
poweroff -f
