# The .rpm from its first installation to its removal. Debian's rpm and systemd stand in for those of a Fedora, whose preset
# enables nothing.
old=$(echo /packages/old/*.rpm) new=$(echo /packages/new/*.rpm)
mkdir -p /etc/systemd/system-preset
echo 'disable *' >/etc/systemd/system-preset/99-default.preset
systemctl start influxdb
rpm --initdb
# What a Fedora has.
mkdir -p /usr/share/licenses /usr/share/zsh/site-functions /usr/share/fish/vendor_completions.d
files >/tmp/before

ok "it needs nothing but a shell" '[ "$(rpm -qp --requires "$old" | grep -vE "^(rpmlib|config)\(" | sort -u)" = /bin/sh ]'
ok "it installs" 'rpm -i --nodeps "$old" >/tmp/install 2>&1 && rpm -q seismograf'
ok "files and modes are those of the package" '[ -z "$(rpm -V --nodeps seismograf)" ] && [ "$(stat -c %a:%U /etc/default/seismograf)" = 640:root ] && [ "$(stat -c %a /usr/bin/seismograf)" = 755 ]'
ok "configurations are known as such" '[ "$(rpm -qc seismograf | sort | tr "\n" " ")" = "/etc/default/seismograf /etc/seismograf/seismograf.conf " ]'
ok "how to start it is said" 'grep -q "systemctl enable --now seismograf" /tmp/install'
ok "it is not started unasked" '[ "$(prop ActiveState)" = inactive ] && ! systemctl -q is-enabled seismograf'
ok "it starts" 'systemctl enable -q --now seismograf && [ "$(prop ActiveState)" = active ]'
ok "points arrive in an InfluxDB here" 'wait_for "points cpu && points cgroup_cpu"'

sed -i 's/^\[global_tags\]/&\n  site = "here"/' /etc/seismograf/seismograf.conf
cp /etc/seismograf/seismograf.conf /tmp/changed
pid=$(prop MainPID)
ok "another version takes its place" 'rpm -U --nodeps "$new" >/tmp/upgrade 2>&1 && [ "$(rpm -q seismograf)" = "$(rpm -qp "$new")" ]'
ok "and runs" 'wait_for "[ \$(prop ActiveState) = active ]" && [ "$(prop MainPID)" != "$pid" ] && systemctl -q is-enabled seismograf'
ok "with the configuration as it was changed" 'cmp -s /tmp/changed /etc/seismograf/seismograf.conf'

cp /dev/null /etc/seismograf/seismograf.conf.rpmsave
ok "it is removed" 'rpm -e seismograf >/tmp/remove 2>&1 && [ ! -e /usr/bin/seismograf ]'
ok "and stopped" '[ "$(prop ActiveState)" = inactive ]'
ok "the changed configuration is kept as rpm does" 'cmp -s /tmp/changed /etc/seismograf/seismograf.conf.rpmsave'
rm -r /etc/seismograf /var/lib/seismograf /var/log/seismograf /var/lib/private/seismograf /var/log/private/seismograf
files >/tmp/after
ok "nothing else is left" 'diff /tmp/before /tmp/after'
