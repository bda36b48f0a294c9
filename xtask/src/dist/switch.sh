# The switch from Telegraf as docs/tasks.md has it, on a Debian whose Telegraf has an input that is not here. A stand-in has
# Telegraf's place: it says which configuration it was started with, and writes nothing.
block() { awk -v wanted="$1" '/^```/ { on = 0 } on; /^```sh switch$/ && ++n == wanted { on = 1 }' /tasks.md; }
switch() { sh -ex -c "$(block "$1")" >"/tmp/switch.$1" 2>&1 || { cat "/tmp/switch.$1"; false; }; }
telegraf_has() { grep -qF "[[inputs.$1]]" /run/telegraf.conf; }
tag() { curl -sG http://localhost:8086/query --data-urlencode db=fleet --data-urlencode "q=SELECT LAST(usage_idle) FROM cpu WHERE rack = '7'" | grep -q '"values"'; }
cd /root
systemctl start influxdb
mkdir -p /etc/telegraf/telegraf.d
cat >/etc/telegraf/telegraf.conf <<'CONF'
# The fleet's.
[global_tags]
  rack = "$RACK"
[agent]
  interval = "1s"
  flush_interval = "1s"
[[outputs.influxdb]]
  urls = ["http://localhost:8086"]
  database = "fleet"
[[inputs.cpu]]
[[inputs.nginx]]
  urls = ["http://localhost/status"]
CONF
printf '[[inputs.mem]]\n' >/etc/telegraf/telegraf.d/mem.conf
echo 'RACK=7' >/etc/default/telegraf
cat >/etc/systemd/system/telegraf.service <<'UNIT'
[Service]
EnvironmentFile=-/etc/default/telegraf
ExecStartPre=/bin/sh -c "cat /etc/telegraf/telegraf.conf >/run/telegraf.conf"
ExecStart=/bin/sleep infinity
UNIT
systemctl daemon-reload
systemctl start telegraf
cp -a /etc/telegraf /tmp/telegraf
apt-get install -y -q /packages/old/*.deb >/tmp/install 2>&1 || bad=1

ok "the files are made, and taken" 'switch 1'
ok "Telegraf still runs as it did" 'telegraf_has cpu && diff -r /etc/telegraf /tmp/telegraf'
ok "the two change places" 'switch 2'
ok "Telegraf goes on with what is not here" '[ "$(systemctl show -P ActiveState telegraf)" = active ] && telegraf_has nginx && ! telegraf_has cpu'
ok "the agent has the rest, with the values of the variables" 'wait_for "[ \$(prop ActiveState) = active ]" && wait_for tag'
ok "of every file" 'wait_for "curl -sG http://localhost:8086/query --data-urlencode db=fleet --data-urlencode \"q=SELECT * FROM mem LIMIT 1\" | grep -q values"'
ok "at every boot" 'systemctl -q is-enabled seismograf'
ok "the way back is as short" 'switch 3'
ok "and leaves what there was" 'diff -r /etc/telegraf /tmp/telegraf && telegraf_has cpu && [ "$(prop ActiveState)" = inactive ] && ! systemctl -q is-enabled seismograf'
