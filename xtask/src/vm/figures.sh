# Known work in cgroups, the agent beside it, and the kernel's own figures against the agent's.
if is_booted_with sched_ext; then
  work --work /sys/fs/cgroup/cgroup.procs "" schedule 2>&1 | sed "s/^/vm: /"
  say "an extensible scheduler: $(cat /sys/kernel/sched_ext/state)"
  [ "$(cat /sys/kernel/sched_ext/state)" = enabled ] || fail "no extensible scheduler"
fi
# What is off by the nature of this machine; all else is on everywhere.
expected_off=
[ "$lockdown" = confidentiality ] && expected_off="lifecycle, oom, tcp"
# Without a cgroup2 there is nothing that the programs of the network could be attached to.
has_network=yes
[ "$layout" = v1 ] && { has_network=no; expected_off=net; }

# A process that works in a cgroup.
run() { name=$1; shift; echo go | work --work "$(joins $name)" "" "$@" > /tmp/$name.done 2>&1; }

cat > /tmp/agent.conf <<C
[[inputs.processes]]
[[inputs.ebpf]]
probes = ["cpu", "blkio", "net", "runqueue", "tcp"]
C
# CPU time by the kernel's own sums, which it goes over since Linux 6.1; before, a probe counts it all the same.
source=probe
if is_booted_with cpu_kernel; then
  printf 'cpu_source = "kernel"\nprobe_costs = true\n' >> /tmp/agent.conf
  case $(uname -r) in 5.*) ;; *) source=kernel ;; esac
fi
seismograf doctor --config /tmp/agent.conf > /tmp/doctor 2>&1
sed 's/^/vm: /' /tmp/doctor
# The kernel goes over the memory of all cgroups since Linux 6.1, where programs may read its memory.
way="in one pass"
case $(uname -r) in 5.*) way="by a file of each cgroup" ;; esac
[ "$lockdown" = confidentiality ] && way="by a file of each cgroup"
# A kernel of late can be without memory in v1.
grep -q "memory in .*, $way" /tmp/doctor || grep -q "memory in *not mounted" /tmp/doctor || fail "memory is not read $way"
sums=$(grep -c "kernel's own sums" /tmp/doctor)
[ "$source" = kernel ] && [ "$sums" = 0 ] && fail "CPU time is not of the kernel's own sums"
# A unit, whose total begins where the kernel has it. It runs before the programs are there, which see no begin of its slice.
cgroup early.service
run early.service spin 10000 &
early=$!
await ready /tmp/early.service.done $early
sleep 2
cat >> /tmp/agent.conf <<C
[agent]
interval = "1s"
flush_interval = "1s"
[[outputs.file]]
files = ["/tmp/points"]
C
# A second one, whose programs read the kernel's offsets from memory: both count the same.
sed 's/^probes = .*/&\nfold = false/; /^cpu_source/d; /^probe_costs/d; s|/tmp/points|/tmp/points_plain|' /tmp/agent.conf > /tmp/plain.conf
touch /tmp/points /tmp/points_plain
seismograf --config /tmp/plain.conf 2> /tmp/log_plain &
plain=$!
await part=ring /tmp/points_plain $plain || cat /tmp/log_plain
seismograf --config /tmp/agent.conf 2> /tmp/log &
agent=$!
# It has attached everything when its first gather is there.
await part=ring /tmp/points $agent || cat /tmp/log

# All that it does from here on it does without privileges; before Linux 5.19, with BPF alone.
await "privileges given up" /tmp/log $agent
say "$(sed -n 's/.*\(privileges given up.*\)/\1/p' /tmp/log)"
held=0000000000000000
case $(uname -r) in
  5.*) [ "$(cat /proc/sys/kernel/unprivileged_bpf_disabled)" = 0 ] || held=0000008000000000 ;;
  *) grep -q "files by Landlock" /tmp/log || fail "no Landlock" ;;
esac
for thread in /proc/$agent/task/*; do
  status=$(sed -n 's/^\(CapPrm\|CapEff\|CapBnd\|CapAmb\|NoNewPrivs\|Seccomp\):[[:space:]]*/\1 /p' $thread/status | tr '\n' ' ')
  expected="CapPrm $held CapEff $held CapBnd 0000000000000000 CapAmb 0000000000000000 NoNewPrivs 1 Seccomp 2 "
  [ "$status" = "$expected" ] || fail "thread $thread: $status"
done

N=2000
BLOCK=4096
SIZE=100
for name in spinner forker writer sender receiver; do cgroup $name; done
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
await ready /tmp/receiver.done $r
cgroup large
run large udp-send 127.0.0.1:10 $LARGE $LARGE_N 1
wait $r

lines() { grep -c part=ring /tmp/points; }
# Two gathers from now on have seen everything.
gathered() {
  target=$(($(lines) + 2))
  while [ "$(lines)" -lt $target ]; do kill -0 $agent || break; sleep 0.1; done
}
gathered

# CPU time of a cgroup, to so many per cent. What a slice had before the task joined is the agent's, and the kernel's other one's.
cpu_time() {
  name=$1
  kernel=$(kernel_cpu $name)
  ours=$(field cgroup_cpu $name usage_ns)
  off=$(awk -v a="${ours:-0}" -v b="$kernel" 'BEGIN{printf "%+.3f", 100 * (a - b) / b}')
  say "cpu: $name: kernel $kernel ns, agent ${ours:-none}, $off %"
  awk -v off="$off" -v b="$kernel" -v most="$2" 'BEGIN{exit !(off <= most && off >= -most && b > 1e9)}' || fail "CPU time of $name"
}
cpu_time early.service 0.5
cpu_time spinner 0.5
cpu="$off %"
cpu_time forker 0.5
cpu="$cpu, $off %"
# A cgroup that lives shorter than a gather takes to come, and so is in none of its passes. Under lockdown nobody tells of it.
if [ "$lockdown" != confidentiality ]; then
  cgroup brief
  run brief spin 200
  brief=$(kernel_cpu brief)
  for root in $hierarchies; do rmdir $root/brief; done
  gathered
  ours=$(field cgroup_cpu brief usage_ns)
  off=$(awk -v a="${ours:-0}" -v b="$brief" 'BEGIN{printf "%+.3f", 100 * (a - b) / b}')
  say "cpu: brief: kernel $brief ns before it was removed, agent ${ours:-none}, $off %"
  awk -v off="$off" 'BEGIN{exit !(off <= 5 && off >= -1)}' || fail "CPU time of a cgroup that is gone"
fi
if [ $source = kernel ]; then
  ! grep -q "^cgroup_cpu.*context_switches" /tmp/points || fail "context switches that nobody counts"
  grep -q "probe=lifecycle_cgroup_mkdir" /tmp/points || fail "the programs are not told"
  ! grep -q "probe=cpu_sched_switch" /tmp/points || fail "a program at each switch all the same"
fi
exact() { say "$1: expected $2, agent ${3:-none}"; [ "$2" = "$3" ] || fail "$1"; }
exact "bytes written" $((N * BLOCK)) "$(field cgroup_blkio writer write_bytes)"
exact "writes" $N "$(field cgroup_blkio writer writes)"
disk=exact
network=off
if [ $has_network = yes ]; then
  exact "datagrams sent" $N "$(field cgroup_net sender tx_packets)"
  exact "bytes sent" $((N * (SIZE + 28))) "$(field cgroup_net sender tx_bytes)"
  network="exact"
fi
if [ $has_network = yes ] && [ "$lockdown" = confidentiality ]; then
  # What is above the MTU is one packet here.
  network="exact; as one packet each"
elif [ $has_network = yes ]; then
  fragments=$((LARGE_N * 6))
  exact "fragments sent" $fragments "$(field cgroup_net large tx_packets)"
  exact "their bytes" $((LARGE_N * (LARGE + 8) + fragments * 20)) "$(field cgroup_net large tx_bytes)"
  exact "fragments received" $fragments "$(field cgroup_net receiver rx_packets)"
  network="exact; exact"
  unseen=$(grep part=net /tmp/points | tail -n 1 | sed "s/.*unseen_tx_bytes=\(-*[0-9]*\)i.*/\1/")
  say "network: $unseen bytes sent that no program was called for"
  # IP counts fragments one by one since Linux 6.6.
  [ "$unseen" -ge 0 ] && [ "$unseen" -le $((fragments * 20)) ] || fail "the balance of the network"
fi

# The kill is the victim's, also where another one ran out of memory: the limit is that of a cgroup above both.
if [ "$layout" = v2 ] && [ "$lockdown" != confidentiality ]; then
  for name in limited limited/victim limited/other; do
    cgroup $name
    [ $name != limited ] || { echo +memory > /sys/fs/cgroup/limited/cgroup.subtree_control; echo 64M > /sys/fs/cgroup/limited/memory.max; }
  done
  takes() { name=$1; shift; sh -c 'echo $$ > /sys/fs/cgroup/limited/'$name'/cgroup.procs; exec dd if=/dev/zero of='$1' bs=40M count=1' > /tmp/oom.done 2>&1; }
  mkfifo /tmp/held
  sleep 1000 < /tmp/held &
  holder=$!
  takes victim /tmp/held &
  while [ "$(cat /sys/fs/cgroup/limited/victim/memory.current)" -lt 40000000 ]; do sleep 0.1; done
  takes other /dev/null
  gathered
  kill $holder
  for name in victim other; do
    kills=$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/limited/$name/memory.events)
    exact "OOM kills of $name" "$kills" "$(field cgroup_mem limited/$name oom_kills)"
  done
  [ "$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/limited/victim/memory.events)" = 1 ] || fail "the victim was not killed"
fi

# At one of these times nothing comes or goes between a look at /proc and a gather, not even a thread of the kernel.
grep -q "processes .*by the kernel" /tmp/doctor || [ "$lockdown" = confidentiality ] || fail "processes are not counted by the kernel"
for try in 1 2 3 4 5; do
  sleep 3 &
  sleeps=$!
  set -- /proc/[0-9]*
  wait $sleeps
  total=$(grep "^processes," /tmp/points | tail -n 1 | sed "s/.*[ ,]total=\([0-9]*\)i.*/\1/")
  [ "$total" = $# ] && break
done
exact "processes" $# "$total"

# The other form has the same of all that has ended; of CPU time, what came while the two were not yet both there is apart.
target=$(($(grep -c part=ring /tmp/points_plain) + 2))
while [ "$(grep -c part=ring /tmp/points_plain)" -lt $target ]; do kill -0 $plain || break; sleep 0.1; done
same() {
  for of in $3; do
    folded=$(field $1 $2 $of)
    plainly=$(grep "^$1,cgroup=/$2," /tmp/points_plain | tail -n 1 | sed "s/.*[ ,]$of=\([0-9]*\)i.*/\1/")
    exact "$2: $of in both forms" "$plainly" "$folded"
  done
}
# What the kernel adds up has not passed a program.
[ $source = kernel ] || for name in spinner forker writer; do same cgroup_cpu $name "usage_ns context_switches"; done
same cgroup_blkio writer "writes write_bytes"
[ $has_network = no ] || same cgroup_net sender "tx_packets tx_bytes"
kill $plain
wait $plain

# It ends with a CPU that goes, so this is before that.
if is_booted_with sched_ext; then
  [ "$(cat /sys/kernel/sched_ext/state)" = enabled ] || fail "the kernel gave up the extensible scheduler"
fi

# A CPU goes, with amounts in its cache, and comes back; the agent sleeps meanwhile, so that it cannot have written them back.
cgroup leaver
leave() {
  kill -STOP $agent
  for load in "udp-send 127.0.0.1:9 $SIZE $N 1" "spin 2000"; do
    taskset 2 sh -c "echo go | work --work '$(joins leaver)' '' $load" >> /tmp/leaver.done 2>&1
  done
  echo $1 > /sys/devices/system/cpu/cpu1/online || fail "CPU 1 cannot be set to $1"
  kill -CONT $agent
  gathered
}
leave 0
say "CPUs: $(cat /sys/devices/system/cpu/online)"
[ $has_network = no ] || exact "datagrams sent before the CPU went" $N "$(field cgroup_net leaver tx_packets)"
cpu_time leaver 5
echo 1 > /sys/devices/system/cpu/cpu1/online
leave 1
say "CPUs: $(cat /sys/devices/system/cpu/online)"
[ $has_network = no ] || exact "datagrams sent since it is back" $((2 * N)) "$(field cgroup_net leaver tx_packets)"
cpu_time leaver 5

# The clock is set an hour forward and back, and then back by a little, which gathers wait for.
set_clock() { date -s @$(($(date +%s) + $1)) > /dev/null; gathered; }
set_clock 3600
set_clock -3600
set_clock -5
steps=$(grep -o "the clock was set.*" /tmp/log | sed 's/^the clock was set \([a-z]*\).*seconds=\([0-9]*\).*/\1 \2/' | tr '\n' ' ')
say "the clock: set $steps"
case $steps in
  "forward 3"[56]*" back 3"[56]*" back "[456]" ") ;;
  *) fail "what is told of the clock" ;;
esac
twice=$(grep part=ring /tmp/points | sed 's/.* //' | sort | uniq -d)
[ -z "$twice" ] || fail "times that came twice: $twice"
! grep -q "usage_percent=-" /tmp/points || fail "negative rates"

unseen=$(grep part=cpu /tmp/points | tail -n 1 | sed "s/.*machine_ns=\([0-9]*\)i,unseen_ns=\(-*[0-9]*\)i.*/\2 \1/")
# Counted in ticks by these kernels, which emulation loses some of: to know, and no bar.
say "CPU time that no program was called for, and all: $unseen ns"

grep -E "WARN|ERROR" /tmp/log | sed 's/^/vm: /'
# One cause is said once, with the probes that it is of.
! grep -q "goes offline waits" /tmp/log || fail "a program that runs when a CPU goes is not attached"
off=$(grep "probe is off" /tmp/log | sed 's/.* probe="\{0,1\}\([^"=]*\)"\{0,1\} why=.*/\1/')
[ "$off" = "$expected_off" ] || fail "off is \"$off\", where \"$expected_off\" is expected"
say "table: ${off:-nothing} | $cpu | $disk | $network"
