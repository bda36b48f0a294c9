# The second of the README's two commands, as it stands there, in a Debian 12 with an InfluxDB.
systemctl start influxdb
cd /seismograf
say "$(cat /command)"
ok "it installs" 'yes | sh -c "$(cat /command)" >/tmp/install 2>&1 || { cat /tmp/install; false; }'
ok "points are there" 'wait_for "points cpu && points mem && points cgroup_cpu"'
