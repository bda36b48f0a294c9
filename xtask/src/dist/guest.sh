# What every script begins with that `cargo xtask dist test` runs in a system of its own: one line a check, and at the end `pass`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
bad=0
say() { echo "dist: $*"; }
ok() { if eval "$2"; then say "ok: $1"; else say "FAIL: $1"; bad=1; fi; }
wait_for() { n=0; while ! eval "$1"; do n=$((n + 1)); [ $n -gt 400 ] && return 1; sleep 0.1; done; }
prop() { systemctl show -P "$1" seismograf; }
# Whether the InfluxDB of this machine has points of a measurement.
points() { curl -sG http://localhost:8086/query --data-urlencode db=telegraf --data-urlencode "q=SELECT * FROM \"$1\" LIMIT 1" | grep -q '"values"'; }
# Every file of the system but what any use of it changes.
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /check -o -path /root \
        -o -path /var/lib/dpkg -o -path /var/lib/rpm -o -path /var/lib/apt -o -path /var/cache -o -path /var/tmp -o -path /var/log/journal \
        -o -path /var/lib/influxdb -o -path /var/log/apt -o -path /var/log/dpkg.log \) -prune -o -print | sort
}
finish() {
    if [ $bad = 0 ]; then say pass; else journalctl -q -u seismograf -o short | tail -n 40; fi
    systemctl poweroff --force --force
}
