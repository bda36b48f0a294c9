# Whether a gather interrupts CPU 1, from which all that can be is kept away: nothing runs there but what the kernel has for each
# CPU, and what is put there. A program of the agent's runs on another CPU by a function call interrupt, `CAL` in /proc/interrupts.
seconds=$(sed -n 's/.*seconds=\([0-9]*\).*/\1/p' /proc/cmdline)
# Threads of the kernel too, such as that of RCU, which the scheduler likes to wake on a CPU that is idle.
for process in /proc/[0-9]*; do taskset -p 1 ${process#/proc/} > /dev/null 2>&1; done
echo 1 > /sys/devices/virtual/workqueue/cpumask

of() { awk -v name="$1:" '$1 == name {print $3}' /proc/interrupts; }
# Has what CPU 1 is interrupted by within so many seconds in `calls`, and all kinds in words.
watched() {
  cat /proc/interrupts > /tmp/before
  before=$(of CAL)
  sleep $1
  calls=$(($(of CAL) - before))
  kinds=$(awk 'NR == FNR {n[$1] = $3; next} $3 ~ /^[0-9]+$/ && $3 > n[$1] {printf " %s %d", $1, $3 - n[$1]}' /tmp/before /proc/interrupts)
}
gathers() { grep -c part=ring /tmp/points; }
gathered() { n=$(($(gathers) + $1)); while [ "$(gathers)" -lt $n ]; do kill -0 $agent || break; sleep 1; done; }

sleep 60
watched $((seconds / 6))
say "idle, no agent, $((seconds / 6)) s: $calls calls;$kinds"
alone=$((calls * 6))

cat > /tmp/agent.conf <<C
[agent]
interval = "5s"
flush_interval = "5s"
[[inputs.ebpf]]
probes = ["cpu", "blkio", "net", "runqueue", "tcp"]
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.disk]]
[[inputs.system]]
[[outputs.file]]
files = ["/tmp/points"]
C
touch /tmp/points
seismograf --config /tmp/agent.conf 2> /tmp/log &
agent=$!
# What it loads is made known to every CPU.
gathered 5

# Somebody who runs there has something to say at each gather. On a CPU that is to run a single task without end, that is read
# from elsewhere.
cgroup busy
echo go | taskset 2 work --work "$(joins busy)" "" spin 100000 > /tmp/busy.done 2>&1 &
busy=$!
gathered 2
usage() { field cgroup_cpu $1 usage_ns; }
since=$(gathers)
used=$(usage busy)
watched 75
n=$(($(gathers) - since))
say "busy, 75 s: $calls calls in $n gathers;$kinds"
[ "$n" -ge 13 ] || fail "$n gathers in 75 s: this shows nothing"
if is_booted_with nohz_full; then
  [ "$(cat /sys/devices/system/cpu/nohz_full)" = 1 ] || fail "the kernel knows no nohz_full: this shows nothing"
  [ "$calls" -le 2 ] || fail "a CPU that is to be left alone was called $calls times in $n gathers"
else
  [ "$calls" -ge $((n - 1)) ] || fail "a busy CPU was called $calls times in $n gathers: this shows nothing"
  [ "$calls" -le $((n + 1)) ] || fail "a busy CPU was called $calls times in $n gathers"
fi
# It ran all the time, and no switch has told of it yet.
used=$(($(usage busy) - used))
say "busy, 75 s: $((used / 1000000)) ms by the agent in $n gathers; $(($(kernel_cpu busy) / 1000000)) ms in all by the kernel, $(($(usage busy) / 1000000)) by the agent"
[ $used -ge $(((n - 1) * 4500000000)) ] || fail "the time of a task that runs without end is not told"
[ "$(usage busy)" -le "$(kernel_cpu busy)" ] || fail "more time than the kernel has"
# It moves while it runs: what was told of it stays the first cgroup's, and is not the second one's too.
cgroup moved
for root in $hierarchies; do cat $root/busy/cgroup.procs > $root/moved/cgroup.procs; done
wait $busy
gathered 2
sum=$(($(usage busy) + $(usage moved)))
kernel_sum=$(($(kernel_cpu busy) + $(kernel_cpu moved)))
off=$(awk -v a="$sum" -v b="$kernel_sum" 'BEGIN{printf "%+.3f", 100 * (a - b) / b}')
say "busy, then moved: kernel $(kernel_cpu busy) and $(kernel_cpu moved) ns, agent $(usage busy) and $(usage moved), $off %"
awk -v off="$off" 'BEGIN{exit !(off <= 0.5 && off >= -0.5)}' || fail "CPU time of a task that ran without end"
[ "$(usage busy)" -ge $(($(kernel_cpu busy) - 6000000000)) ] || fail "what was told of the first cgroup"
gathered 3

# Without the pages of its program, which come back one by one after the start.
memory() { awk '/^RssAnon/{print $2}' /proc/$agent/status; }
memory_before=$(memory)
since=$(gathers)
watched $seconds
say "idle, $seconds s: $memory_before kB of its own before, $(memory) after"
[ "$(memory)" -le $((memory_before * 21 / 20 + 100)) ] || fail "memory grows"
n=$(($(gathers) - since))
say "idle, $seconds s: $calls calls in $n gathers;$kinds"
there=$(cat /proc/[0-9]*/stat | sed 's/^[0-9]* (\(.*\)) /\1 /' | awk '$38 == 1 {printf " %s", $1}')
[ "$calls" -le "$alone" ] || fail "an idle CPU was called $calls times; without the agent $alone times; who ran there last:$there"
[ "$n" -ge $((seconds * 9 / 50)) ] || fail "$n gathers in $seconds s: this shows nothing"
kill $agent
