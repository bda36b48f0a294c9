#!/bin/busybox sh
# The first process of the machine that `cargo xtask vm` boots: mounts what a system mounts, with the layout of cgroups that the
# kernel's command line names, and has the checks run that it names. They print one line a figure, then
# `vm: KERNEL: table: COLUMNS`, and this ends with `vm: KERNEL: pass` or `fail`.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t securityfs security /sys/kernel/security
echo 0 > /proc/sys/kernel/printk
# So small that datagrams are split.
ifconfig lo 127.0.0.1 mtu 1500 up

failed=0
say() { echo "vm: $(uname -r): $*"; }
fail() { say "FAIL: $*"; failed=1; }
is_booted_with() { grep -qw -- "$1" /proc/cmdline; }

# The hierarchies of cgroups, each of which a process joins.
hierarchies=
cgroup_v1() {
  mkdir /sys/fs/cgroup/$1
  if mount -t cgroup -o $2 cgroup /sys/fs/cgroup/$1; then hierarchies="$hierarchies /sys/fs/cgroup/$1"
  else rmdir /sys/fs/cgroup/$1; fi
}
layout=$(sed -n 's/.*layout=\([a-z0-9]*\).*/\1/p' /proc/cmdline)
layout=${layout:-v2}
case $layout in
  v2)
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    echo "+cpu +io +memory" > /sys/fs/cgroup/cgroup.subtree_control
    hierarchies=/sys/fs/cgroup
    ;;
  v1 | hybrid)
    mount -t tmpfs cgroup /sys/fs/cgroup
    cgroup_v1 cpu cpu,cpuacct
    cgroup_v1 blkio blkio
    # Kernels of late can be without this one.
    cgroup_v1 memory memory 2> /dev/null
    [ -d /sys/fs/cgroup/cpu ] && [ -d /sys/fs/cgroup/blkio ] || fail "the kernel has no cgroup v1"
    if [ $layout = hybrid ]; then
      mkdir /sys/fs/cgroup/unified
      mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
      hierarchies="$hierarchies /sys/fs/cgroup/unified"
    fi
    ;;
esac

# A cgroup in each hierarchy, and where a process joins it.
cgroup() { for root in $hierarchies; do mkdir $root/$1; done; }
joins() { for root in $hierarchies; do printf '%s,' $root/$1/cgroup.procs; done | sed 's/,$//'; }
# Waits for a text in a file, as long as process $3 is there, and some minutes: an emulated machine is slow.
await() {
  n=0
  while ! grep -q "$1" $2; do
    n=$((n + 1))
    if ! kill -0 $3 || [ $n -gt 1200 ]; then
      fail "no \`$1\` in $2: process $3 $(sed -n 's/^State:[[:space:]]*//p' /proc/$3/status), in $(cat /proc/$3/task/*/wchan 2> /dev/null)"
      return 1
    fi
    sleep 0.1
  done
}
# The last value of a field of a measurement of a cgroup.
field() { grep "^$1,cgroup=/$2," /tmp/points | tail -n 1 | sed "s/.*[ ,]$3=\([0-9]*\)i.*/\1/"; }
# CPU time in nanoseconds, as the kernel has it.
kernel_cpu() {
  if [ -e /sys/fs/cgroup/cpu ]; then cat /sys/fs/cgroup/cpu/$1/cpuacct.usage
  else awk '/^usage_usec/{print $2 * 1000}' /sys/fs/cgroup/$1/cpu.stat; fi
}

# What the kernel says of its lockdown, between brackets.
lockdown=$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/security/lockdown)
for wanted in integrity confidentiality; do
  if is_booted_with lockdown=$wanted; then
    [ "$lockdown" = $wanted ] && say "locked down to $wanted" || fail "the kernel does not lock down"
  fi
done

if is_booted_with no_btf; then . /no_btf.sh
elif is_booted_with idle; then . /idle.sh
else . /figures.sh; fi
if [ $failed = 0 ]; then say pass; else
  for file in /tmp/*.done /tmp/log; do echo "$file: $(cat $file)"; done
  say fail
fi
poweroff -f
