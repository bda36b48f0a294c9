# The .deb from its first installation to its purge, under the systemd of a Debian.
old=$(echo /packages/old/*.deb) new=$(echo /packages/new/*.deb)
installed() { dpkg-query -W -f '${db:Status-Abbrev}${Version}' seismograf 2>/dev/null; }
systemctl start influxdb
files >/tmp/before

apt-get install -y -q "$old" >/tmp/install 2>&1 || bad=1
ok "it installs" '[ "$(installed)" = "ii $(dpkg-deb -f "$old" Version)" ]'
ok "it starts at once, and at every boot" '[ "$(prop ActiveState)" = active ] && systemctl -q is-enabled seismograf'
ok "what to do next is said" 'grep -q "writes to the InfluxDB at http://localhost:8086" /tmp/install && ! grep -q Telegraf /tmp/install'
ok "points of the host arrive in an InfluxDB here" 'wait_for "points cpu && points mem"'
ok "and of its cgroups, from the kernel" 'wait_for "points cgroup_cpu"'
ok "every probe is on" '! journalctl -q -u seismograf -o cat | grep "is off"'
ok "it is no root" '[ "$(awk "/^Uid:/ { print \$2 }" "/proc/$(prop MainPID)/status")" -ge 1000 ]'
ok "the file with passwords is for root" '[ "$(stat -c %a:%U /etc/default/seismograf)" = 640:root ]'
ok "the version names the commit" 'seismograf --version | grep -qE "^seismograf [0-9.]+ \([0-9a-f]{9}( and changes)?, [0-9]{4}-[0-9]{2}-[0-9]{2}\)$"'
ok "the configuration is the default one" 'seismograf config default --state-directory /var/lib/seismograf | cmp -s - /etc/seismograf/seismograf.conf'
ok "points wait on the disk, for nobody else to read" '[ -n "$(find /var/lib/private/seismograf/spool -type f)" ] && [ -z "$(find /var/lib/private/seismograf/spool -perm /007)" ]'
ok "there is a page for each command" '[ -e /usr/share/man/man1/seismograf.1.gz ] && [ -e /usr/share/man/man1/seismograf-config-check.1.gz ]'
ok "completions are there" 'bash -n /usr/share/bash-completion/completions/seismograf && [ -s /usr/share/zsh/vendor-completions/_seismograf ] && [ -s /usr/share/fish/vendor_completions.d/seismograf.fish ]'
ok "nothing that dpkg installed was changed" '[ -z "$(dpkg --verify seismograf)" ]'

sed -i 's/^\[global_tags\]/&\n  site = "here"/' /etc/seismograf/seismograf.conf
echo 'SECRET=kept' >/etc/default/seismograf
cp /etc/seismograf/seismograf.conf /tmp/changed
echo '[[inputs.swap]]' >/etc/seismograf/conf.d/more.conf
pid=$(prop MainPID)
ok "another version takes its place" 'apt-get install -y -q "$new" >/tmp/upgrade 2>&1 && [ "$(installed)" = "ii $(dpkg-deb -f "$new" Version)" ]'
ok "and runs" 'wait_for "[ \$(prop ActiveState) = active ]" && [ "$(prop MainPID)" != "$pid" ]'
ok "with the configuration as it was changed" 'cmp -s /tmp/changed /etc/seismograf/seismograf.conf && grep -q kept /etc/default/seismograf && [ -e /etc/seismograf/conf.d/more.conf ]'
ok "without saying again what to do" '! grep -q "writes to the InfluxDB" /tmp/upgrade'

echo '[[inputs.mems]]' >/etc/seismograf/conf.d/more.conf
ok "a refused configuration does not stop dpkg" 'dpkg -i "$new" >/tmp/refused 2>&1'
ok "but the service, for good" 'wait_for "[ \$(prop ActiveState) = failed ]" && [ "$(prop ExecMainStatus)" = 78 ] && sleep 6 && [ "$(prop NRestarts)" = 0 ]'
echo '[[inputs.swap]]' >/etc/seismograf/conf.d/more.conf
systemctl reset-failed seismograf; systemctl start seismograf

systemctl stop influxdb
ok "it is removed" 'apt-get remove -y -q seismograf >/tmp/remove 2>&1 && [ ! -e /usr/bin/seismograf ]'
ok "and stopped, with no failure left" '[ "$(prop ActiveState)" = inactive ] && [ "$(prop MainPID)" = 0 ]'
ok "the configuration stays" 'cmp -s /tmp/changed /etc/seismograf/seismograf.conf && [ -e /etc/seismograf/conf.d/more.conf ]'

mkdir /etc/telegraf
echo '[[inputs.cpu]]' >/etc/telegraf/telegraf.conf
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get install -y -q "$old" >/tmp/again 2>&1
ok "it comes back with that configuration" '[ "$(installed)" = "ii $(dpkg-deb -f "$old" Version)" ] && cmp -s /tmp/changed /etc/seismograf/seismograf.conf'
ok "and stays off where the machine says so" '[ "$(prop ActiveState)" = inactive ] && systemctl -q is-enabled seismograf'
apt-get purge -y -q seismograf >/tmp/purge 2>&1
apt-get install -y -q "$old" >/tmp/beside 2>&1
ok "the way from Telegraf is said where there is one" 'grep -q "seismograf migrate /etc/telegraf/telegraf.conf" /tmp/beside'
ok "and not gone" '[ "$(cat /etc/telegraf/telegraf.conf)" = "[[inputs.cpu]]" ]'
rm -r /etc/telegraf /usr/sbin/policy-rc.d

systemctl start seismograf
touch /var/lib/seismograf/state /var/log/seismograf/log
ok "it is purged" 'apt-get purge -y -q seismograf >/tmp/purge 2>&1 && [ -z "$(installed)" -o "$(installed)" = "un " ]'
systemctl start influxdb
files >/tmp/after
ok "and leaves nothing" 'diff /tmp/before /tmp/after'
ok "no unit is left" '! systemctl cat seismograf >/dev/null 2>&1'
