#!/bin/sh
# What `cargo xtask vm provision` runs on the machine, after its start: the script, and what has to be true then. Prints one line
# a check, and at the end `vm: provision: pass`, or what was logged.
export HOME=/root SEISMOGRAF_PACKAGE=/vagrant/seismograf.deb
say() { echo "vm: provision: $*"; }
bad=0
ok() { if eval "$2"; then say "ok: $1"; else say "FAIL: $1"; bad=1; fi; }
wait_for() { n=0; while ! eval "$1"; do n=$((n + 1)); [ $n -gt 120 ] && return 1; sleep 1; done; }
n_points() {
  influx -database telegraf -format csv -execute "SELECT count(usage_ns) FROM cgroup_cpu WHERE time > now() - 1h" |
    tail -n 1 | cut -d , -f 3
}
listens() { ss -Hltn "sport = :$1" | awk '{print $4}'; }

/vagrant/deploy/vagrant/provision.sh /vagrant > /tmp/provision.log 2>&1
ok "provision.sh ends well" "[ $? = 0 ]"
ok "the agent runs" '[ "$(systemctl is-active seismograf)" = active ]'
ok "points of cgroups are in the database" 'wait_for "[ \"\$(n_points)\" -gt 0 ]"'
say "$(n_points) values of cgroup_cpu"
ok "InfluxDB listens on loopback alone" '[ "$(listens 8086)" = 127.0.0.1:8086 ]'
ok "it says what to do next" 'grep -q "seismograf dump" /tmp/provision.log'
/vagrant/deploy/vagrant/provision.sh /vagrant >> /tmp/provision.log 2>&1
ok "it can be run again" "[ $? = 0 ]"
ok "the agent runs after that" '[ "$(systemctl is-active seismograf)" = active ]'
if [ $bad = 0 ]; then say pass; else
  tail -n 40 /tmp/provision.log
  journalctl -q -u seismograf -u influxdb -o short | tail -n 40
fi
systemctl poweroff --force --force
