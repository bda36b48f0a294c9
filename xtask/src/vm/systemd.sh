#!/bin/busybox sh
# What `cargo xtask vm systemd` runs in a machine with a real systemd, as a unit of its own: the shipped unit from its first start
# to a refused configuration. Prints one line a check, and at the end `vm: systemd: pass` or all that was logged.
export PATH=/bin:/usr/bin
say() { echo "vm: systemd: $*"; }
ok() { if eval "$2"; then say "ok: $1"; else say "FAIL: $1"; bad=1; fi; }
bad=0
prop() { systemctl show -P "$1" seismograf; }
wait_for() { n=0; while ! eval "$1"; do n=$((n + 1)); [ $n -gt 300 ] && return 1; usleep 100000; done; }
points=/var/log/seismograf/points
mkdir -p /etc/seismograf/conf.d
cat > /etc/seismograf/seismograf.conf <<C
[agent]
  interval = "1s"
  flush_interval = "1s"
[[inputs.system]]
[[outputs.file]]
  files = ["$points"]
C
printf '[[inputs.mem]]\n[[inputs.net]]\n  interfaces = ["nowhere*"]\n' > /etc/seismograf/conf.d/mem.conf
systemctl start seismograf
ok "it is active when it is started" '[ "$(prop ActiveState)" = active ]'
ok "conf.d is read" 'wait_for "grep -q ^mem, $points"'
ok "a warning has its priority" '[ "$(journalctl -q -u seismograf -p warning -o cat | grep -c "nowhere")" = 1 ]'
ok "all lines are in the journal" '[ "$(journalctl -q -u seismograf -o cat | wc -l)" -ge 4 ]'
ok "no line has a prefix or a second time" '! journalctl -q -u seismograf -o cat | grep -qE "^<[0-9]>|^20[0-9][0-9]-"'
ok "privileges are given up" '! grep -hE "^(CapPrm|CapEff|CapAmb):.*[1-9a-f]" /proc/$(prop MainPID)/task/*/status && ! grep -h "^Seccomp:" /proc/$(prop MainPID)/task/*/status | grep -qv 2'
ok "docker is not given" '! grep -q "^Groups:.*4711" /proc/$(prop MainPID)/status'
pid=$(prop MainPID)
printf '[[inputs.mem]]\n[[inputs.swap]]\n' > /etc/seismograf/conf.d/mem.conf
systemctl reload seismograf
ok "a good file is taken up by the same process" 'wait_for "grep -q ^swap, $points" && [ "$(prop MainPID)" = $pid ]'
echo '[[inputs.mems]]' > /etc/seismograf/conf.d/mem.conf
systemctl reload seismograf
ok "a bad file changes nothing" '[ "$(prop ActiveState)" = active ] && [ "$(prop MainPID)" = $pid ]'
ok "and is an error in the journal" 'wait_for "journalctl -q -u seismograf -p err -o cat | grep -q mem.conf:1"'
systemctl restart seismograf
ok "a refused configuration fails the start" '[ "$(prop ExecMainStatus)" = 78 ]'
sleep 7
ok "and it is not started again" '[ "$(prop ActiveState)" = failed ] && [ "$(prop NRestarts)" = 0 ]'
mkdir -p /etc/systemd/system/seismograf.service.d
printf '[Service]\nSupplementaryGroups=docker\n' > /etc/systemd/system/seismograf.service.d/docker.conf
echo '[[inputs.mem]]' > /etc/seismograf/conf.d/mem.conf
systemctl daemon-reload; systemctl reset-failed seismograf; systemctl start seismograf
ok "a drop-in gives docker's group" 'grep -q "^Groups:.*4711" /proc/$(prop MainPID)/status'
if [ $bad = 0 ]; then say pass; else journalctl -q -u seismograf -o short | tail -n 40; fi
poweroff -f
