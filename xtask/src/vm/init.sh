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
mount -t securityfs securityfs /sys/kernel/security
echo 0 > /proc/sys/kernel/printk
echo "+cpu +io +memory" > /sys/fs/cgroup/cgroup.subtree_control
# So small that datagrams are split.
ifconfig lo 127.0.0.1 mtu 1500 up
failed=0
# Whether the kernel is locked down so far that BPF may not read its memory.
confidential=no
grep -q '\[confidentiality\]' /sys/kernel/security/lockdown && confidential=yes
say() { echo "vm: $(uname -r): $*"; }
if grep -q lockdown=confidentiality /proc/cmdline; then
  [ $confidential = yes ] && say "locked down to confidentiality" || { say "the kernel does not lock down"; failed=1; }
fi

if grep -q sched_ext /proc/cmdline; then
  work --work /sys/fs/cgroup/cgroup.procs "" schedule 2>&1 | sed "s/^/vm: /"
  say "an extensible scheduler: $(cat /sys/kernel/sched_ext/state)"
  [ "$(cat /sys/kernel/sched_ext/state)" = enabled ] || failed=1
fi

cat > /tmp/agent.conf <<C
[[inputs.ebpf]]
probes = ["cpu", "blkio", "net", "runqueue", "tcp"]
C
seismograf doctor --config /tmp/agent.conf 2>&1 | sed 's/^/vm: /'
run() { name=$1; shift; echo go | work --work "/sys/fs/cgroup/$name/cgroup.procs" "" "$@" > /tmp/$name.done 2>&1; }
# A unit, whose total begins where the kernel has it. It runs before the programs are there, which see no begin of its slice.
mkdir /sys/fs/cgroup/early.service
run early.service spin 10000 &
early=$!
while ! grep -q ready /tmp/early.service.done; do sleep 0.1; done
sleep 2
seismograf dump --config /tmp/agent.conf --format line --interval 1s > /tmp/points 2> /tmp/log &
agent=$!
# It has attached everything when its first gather is there.
while ! grep -q part=ring /tmp/points; do kill -0 $agent || { cat /tmp/log; say "the agent did not start"; failed=1; break; }; sleep 0.1; done

N=2000
BLOCK=4096
SIZE=100
for name in spinner forker writer sender receiver; do mkdir /sys/fs/cgroup/$name; done
wait $early
run spinner spin 8000 &
a=$!
run forker fork 8000 &
b=$!
wait $a $b
run writer write /dev/nvme0n1 $BLOCK $N
run sender udp-send 127.0.0.1:9 $SIZE $N 1
# Six fragments each, out and in.
LARGE=8192
LARGE_N=200
run receiver udp-receive 127.0.0.1:10 $LARGE $LARGE_N &
r=$!
while ! grep -q ready /tmp/receiver.done; do sleep 0.1; done
mkdir /sys/fs/cgroup/large
run large udp-send 127.0.0.1:10 $LARGE $LARGE_N 1
wait $r

lines() { grep -c part=ring /tmp/points; }
# Two gathers from now on have seen everything.
gathered() {
  target=$(($(lines) + 2))
  while [ "$(lines)" -lt $target ]; do kill -0 $agent || break; sleep 0.1; done
}
gathered

# The last value of a field of a measurement of a cgroup.
field() { grep "^$1,cgroup=/$2," /tmp/points | tail -n 1 | sed "s/.*[ ,]$3=\([0-9]*\)i.*/\1/"; }

# CPU time of a cgroup, to so many per cent. What a slice had before the task joined is the agent's, and the kernel's other one's.
cpu_time() {
  name=$1
  kernel=$(awk '/^usage_usec/{print $2 * 1000}' /sys/fs/cgroup/$name/cpu.stat)
  ours=$(field cgroup_cpu $name usage_ns)
  off=$(awk -v a="${ours:-0}" -v b="$kernel" 'BEGIN{printf "%.3f", 100 * (a - b) / b}')
  say "cpu: $name: kernel $kernel ns, agent ${ours:-none}, $off %"
  awk -v off="$off" -v b="$kernel" -v most="$2" 'BEGIN{exit !(off <= most && off >= -most && b > 1e9)}' || failed=1
}
cpu_time early.service 0.5
cpu_time spinner 0.5
cpu_time forker 0.5
exact() { say "$1: expected $2, agent ${3:-none}"; [ "$2" = "$3" ] || failed=1; }
exact "bytes written" $((N * BLOCK)) "$(field cgroup_blkio writer write_bytes)"
exact "writes" $N "$(field cgroup_blkio writer writes)"
exact "datagrams sent" $N "$(field cgroup_net sender tx_packets)"
exact "bytes sent" $((N * (SIZE + 28))) "$(field cgroup_net sender tx_bytes)"
if [ $confidential = no ]; then
  fragments=$((LARGE_N * 6))
  exact "fragments sent" $fragments "$(field cgroup_net large tx_packets)"
  exact "their bytes" $((LARGE_N * (LARGE + 8) + fragments * 20)) "$(field cgroup_net large tx_bytes)"
  exact "fragments received" $fragments "$(field cgroup_net receiver rx_packets)"
  unseen=$(grep part=net /tmp/points | tail -n 1 | sed "s/.*unseen_tx_bytes=\(-*[0-9]*\)i.*/\1/")
  say "network: $unseen bytes sent that no program was called for"
  # IP counts fragments one by one since Linux 6.6.
  [ "$unseen" -ge 0 ] && [ "$unseen" -le $((fragments * 20)) ] || failed=1
fi

# It ends with a CPU that goes, so this is before that.
if grep -q sched_ext /proc/cmdline; then
  [ "$(cat /sys/kernel/sched_ext/state)" = enabled ] || { say "the kernel gave up the extensible scheduler"; failed=1; }
fi

# A CPU goes, with amounts in its cache, and comes back; the agent sleeps meanwhile, so that it cannot have written them back.
mkdir /sys/fs/cgroup/leaver
leave() {
  kill -STOP $agent
  taskset 2 sh -c "echo go | work --work /sys/fs/cgroup/leaver/cgroup.procs '' udp-send 127.0.0.1:9 $SIZE $N 1" > /tmp/leaver.done 2>&1
  taskset 2 sh -c "echo go | work --work /sys/fs/cgroup/leaver/cgroup.procs '' spin 2000" >> /tmp/leaver.done 2>&1
  echo $1 > /sys/devices/system/cpu/cpu1/online || failed=1
  kill -CONT $agent
  gathered
}
leave 0
say "CPUs: $(cat /sys/devices/system/cpu/online)"
exact "datagrams sent before the CPU went" $N "$(field cgroup_net leaver tx_packets)"
cpu_time leaver 5
echo 1 > /sys/devices/system/cpu/cpu1/online
leave 1
say "CPUs: $(cat /sys/devices/system/cpu/online)"
exact "datagrams sent since it is back" $((2 * N)) "$(field cgroup_net leaver tx_packets)"
cpu_time leaver 5
unseen=$(grep part=cpu /tmp/points | tail -n 1 | sed "s/.*machine_ns=\([0-9]*\)i,unseen_ns=\(-*[0-9]*\)i.*/\2 \1/")
# Counted in ticks by these kernels, which emulation loses some of: to know, and no bar.
say "CPU time that no program was called for, and all: $unseen ns"

grep -E "WARN|ERROR" /tmp/log | sed 's/^/vm: /'
# Under lockdown these three are off, with the reason; all others are on everywhere.
off=$(grep "probe is off" /tmp/log | grep -vE 'confidentiality' | wc -l)
[ "$off" = 0 ] || failed=1
if [ $confidential = yes ]; then
  # One cause is said once, with the probes that it is of.
  grep "probe is off.*confidentiality" /tmp/log | grep -q 'probe="lifecycle, oom, tcp"' || { say "not just three probes are off"; failed=1; }
elif grep -q "probe is off" /tmp/log; then failed=1; fi
[ $failed = 0 ] && say pass || { say fail; for f in /tmp/*.done; do echo "$f: $(cat $f)"; done; }
poweroff -f
