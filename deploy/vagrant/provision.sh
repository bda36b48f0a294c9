#!/bin/bash
# Sets up Debian 12 as root, from nothing to figures in InfluxDB: builds the agent's package, installs it, gives it a database,
# and, where it can be had, Chronograf to look at it. Can be run again: what is there stays, the agent is built anew and restarted.
#
#     provision.sh [SOURCE]     SOURCE is the repository; without it, the one that this script is in
#
# SEISMOGRAF_PACKAGE=FILE.deb   installs this package instead of building one
# FORWARDED=yes                 has the database listen on every address, as the forwarded port of a virtual machine needs;
#                               without it, it listens on 127.0.0.1 alone
set -euo pipefail

here=$(dirname "$(realpath "$0")")
source=${1:-$(realpath "$here/../..")}
cd "$source"
export DEBIAN_FRONTEND=noninteractive
packages() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
apt-get update -qq

# A C compiler, which links; rustup, whose stable builds the agent; `cargo xtask` brings what else the probes take.
if [ -z "${SEISMOGRAF_PACKAGE:-}" ]; then
  packages build-essential ca-certificates curl git
  export PATH=$HOME/.cargo/bin:$PATH
  if ! command -v rustup >/dev/null; then
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --profile minimal --default-toolchain stable
  fi
  # Vagrant copies the source without its history, which says how old it is.
  [ -d .git ] || export SOURCE_DATE_EPOCH=$(stat -c %Y Cargo.lock)
  cargo xtask dist
  SEISMOGRAF_PACKAGE=$(ls -t target/dist/seismograf_*_"$(dpkg --print-architecture)".deb | head -n 1)
fi

# The database is asked and told by programs of this machine alone, unless a port is forwarded to it.
address=127.0.0.1:8086
[ "${FORWARDED:-no}" = yes ] && address=:8086
printf 'INFLUXDB_HTTP_BIND_ADDRESS=%s\nINFLUXDB_REPORTING_DISABLED=true\n' "$address" >/etc/default/influxdb
packages influxdb influxdb-client
systemctl enable --quiet influxdb
systemctl restart influxdb

# Chronograf is not Debian's. Its makers' packages are signed with this key.
KEY=24C975CBA61A024EE1B631787C3D57159FC2F927
chronograf() {
  packages ca-certificates curl gpg || return
  local key=/etc/apt/keyrings/influxdata.gpg new
  new=$(mktemp)
  curl -fsS --max-time 60 -o "$new" https://repos.influxdata.com/influxdata-archive.key || return
  gpg --show-keys --with-colons "$new" | grep -q "^fpr:*$KEY:" || { echo "not the key $KEY"; return 1; }
  mkdir -p /etc/apt/keyrings
  gpg --yes --dearmor -o "$key" "$new"
  echo "deb [signed-by=$key] https://repos.influxdata.com/debian stable main" >/etc/apt/sources.list.d/influxdata.list
  apt-get update -qq && packages chronograf && systemctl enable --quiet --now chronograf
}
if ! reason=$(chronograf 2>&1); then
  rm -f /etc/apt/sources.list.d/influxdata.list
  has_chronograf=no
  echo "Chronograf cannot be had here: $(tail -n 1 <<<"$reason")"
fi

# The package brings the service, whose configuration writes to this database.
packages "$(realpath "$SEISMOGRAF_PACKAGE")"
systemctl enable --quiet seismograf
systemctl restart seismograf

seismograf doctor --config /etc/seismograf/seismograf.conf || true
cat <<'NEXT'

Seismograf runs, and writes to the InfluxDB of this machine. What to do next:

  sudo seismograf dump                           this machine's figures, as they come
  systemctl status seismograf                    the service; its log: journalctl -u seismograf
  sudoedit /etc/seismograf/seismograf.conf       its configuration; then: sudo systemctl reload seismograf
  influx -database telegraf -precision rfc3339 -execute \
    'SELECT usage_percent FROM cgroup_cpu WHERE time > now() - 1m GROUP BY "cgroup"'
NEXT
[ "${has_chronograf:-yes}" = no ] || echo "  http://localhost:8888                          Chronograf"
