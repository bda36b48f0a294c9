# Without type information of the kernel no probe can be, and all else goes on. Debian has no kernel without it, so a directory
# over the one that it is in stands for that: to a program they are the same.
mount -t tmpfs none /sys/kernel/btf
cat > /tmp/agent.conf <<C
[[inputs.ebpf]]
[[inputs.cpu]]
[[inputs.mem]]
C
seismograf doctor --config /tmp/agent.conf > /tmp/doctor 2>&1
grep -q /sys/kernel/btf/vmlinux /tmp/doctor || { fail "doctor does not say what is missing"; cat /tmp/doctor; }
seismograf dump --config /tmp/agent.conf --format line --interval 1s --count 3 > /tmp/points 2> /tmp/log \
  || fail "the agent did not run"
grep -E "WARN|ERROR" /tmp/log | sed 's/^/vm: /'
[ "$(grep -c "probe is off" /tmp/log)" = 1 ] || fail "not just one line says that the probes are off"
grep "probe is off" /tmp/log | grep -q BTF || fail "it does not say why"
grep -q '^cpu,cpu=cpu-total' /tmp/points || fail "no CPU time of the machine"
grep -q '^mem,' /tmp/points || fail "no memory of the machine"
! grep -q '^cgroup_cpu' /tmp/points || fail "figures of probes that cannot be"
say "table: all probes | the inputs that read /proc go on | |"
