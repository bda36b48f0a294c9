#!/bin/bash
# Sets up Debian 12 as root, from nothing to figures in InfluxDB: builds the agent, installs it as a service, and
# gives it a database. Can be run again: what is there already stays, the agent is built anew and restarted.
#
#     provision.sh [SOURCE]     SOURCE is the repository; without it, the one that this script is in
set -euo pipefail

here=$(dirname "$(realpath "$0")")
source=${1:-$(realpath "$here/../..")}
cd "$source"
export DEBIAN_FRONTEND=noninteractive

# For the agent: a C compiler, which links it. For the programs in the kernel: bpf-linker is built here against LLVM 22
# and can read no newer compiler's output, so they get Debian's Rust of the same LLVM, with its source. rustup's stable,
# which goes on to newer ones, builds the agent.
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  build-essential ca-certificates curl \
  llvm-22-dev libzstd-dev zlib1g-dev rustc-web cargo-web rust-web-src \
  influxdb influxdb-client

export PATH=$HOME/.cargo/bin:$PATH
if ! command -v rustup >/dev/null; then
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
    sh -s -- -y --profile minimal --default-toolchain stable
fi

cargo xtask build --release

install -m 755 target/release/seismograf /usr/bin/seismograf
install -d -m 755 /etc/seismograf
# A configuration that somebody has changed is theirs.
if [ ! -e /etc/seismograf/seismograf.conf ]; then
  new=$(mktemp)
  seismograf config default >"$new"
  seismograf config check "$new"
  install -m 644 "$new" /etc/seismograf/seismograf.conf
  rm "$new"
fi
install -m 644 deploy/systemd/seismograf.service /etc/systemd/system/seismograf.service

systemctl daemon-reload
systemctl enable --quiet --now influxdb
systemctl enable --quiet seismograf
systemctl restart seismograf

seismograf doctor --config /etc/seismograf/seismograf.conf || true
cat <<'NEXT'

Seismograf runs, and writes to the InfluxDB of this machine. What to do next, in `vagrant ssh`:

  sudo seismograf dump                           this machine's figures, as they come
  systemctl status seismograf                    the service; its log: journalctl -u seismograf
  sudoedit /etc/seismograf/seismograf.conf       its configuration; then: sudo systemctl restart seismograf
  influx -database telegraf -precision rfc3339 -execute \
    'SELECT usage_percent FROM cgroup_cpu WHERE time > now() - 1m GROUP BY "cgroup"'
NEXT
