#!/bin/bash
# The images of the tests, as a file for `ctr images import`: no registry is needed. images.sh FILE
#
#   pause       what the runtime starts for each pod, to hold its namespaces
#   box         busybox, for workloads
#   etcd        Debian's etcd, with a shell; under the name that deploy/kubernetes/sidecar has too
#   influxdb    Debian's influxd 1.6 under the official image's name; images/influxdb makes database and user as that one does
#   chronograf, kapacitor
#               stand-ins under the official images' names, since neither is a package: busybox, which answers what the probes
#               ask for. What is tested is the manifests around them.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(dirname "$0")/images
architecture=$(dpkg --print-architecture)

# program LAYER FILE: a program in /bin of a layer, with the libraries that it names.
program() {
  mkdir -p "$work/$1/bin"
  cp "$2" "$work/$1/bin/"
  # Lines are `name => path (address)`, or `path (address)` for the loader.
  ldd "$2" 2>/dev/null | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$work/$1${library%/*}"
    cp -L "$library" "$work/$1$library"
  done
}
# image NAME COMMAND LAYER...: in the manifest, and its configuration.
separator='['
image() {
  local name=$1 command=$2 sums='' layers=''
  shift 2
  for layer in "$@"; do
    sum=$(sha256sum "$work/$layer.tar")
    sums+="${sums:+,}\"sha256:${sum%% *}\""
    layers+="${layers:+,}\"$layer.tar\""
  done
  local file=${name//[^a-z0-9]/-}.json
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Entrypoint":%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$architecture" "$command" "$sums" > "$work/$file"
  printf '%s{"Config":"%s","RepoTags":["%s"],"Layers":[%s]}' "$separator" "$file" "$name" "$layers" \
    >> "$work/manifest.json"
  separator=','
}

mkdir -p "$work"/{box,pause,chronograf,kapacitor}
mkdir -p "$work/box"/{bin,tmp,proc,sys,dev,etc}
cp "$(command -v busybox)" "$work/box/bin/busybox"
for applet in sh sleep dd true head tr cat wget nc hostname ping seq httpd kill; do
  ln -s busybox "$work/box/bin/$applet"
done
program influxdb "$(command -v influxd)"
program influxdb "$(command -v influx)"
cp "$here/influxdb" "$work/influxdb/bin/start"
program etcd "$(command -v etcd)"
mkdir -p "$work/etcd/usr/local/bin"
ln -s /bin/etcd "$work/etcd/usr/local/bin/etcd"
# stand_in LAYER PATH: answers there.
stand_in() {
  mkdir -p "$work/$1/bin" "$work/$1/www${2%/*}"
  cp "$here/stand-in" "$work/$1/bin/start"
  echo pong > "$work/$1/www$2"
}
stand_in chronograf /ping
stand_in kapacitor /kapacitor/v1/ping
for layer in box influxdb etcd chronograf kapacitor; do
  tar -C "$work/$layer" --owner=0 --group=0 -cf "$work/$layer.tar" .
done
image docker.io/library/box:test '["sh"]' box
image docker.io/library/pause:test '["sleep","inf"]' box
image docker.io/library/etcd:test '["etcd"]' box etcd
image quay.io/coreos/etcd:v3.5.21 '["etcd"]' box etcd
image docker.io/library/influxdb:1.8 '["start"]' box influxdb
image docker.io/library/chronograf:1.10 '["start","8888"]' box chronograf
image docker.io/library/kapacitor:1.7 '["start","9092"]' box kapacitor
echo ']' >> "$work/manifest.json"
(cd "$work" && tar -cf images -- *.json *.tar)
mv "$work/images" "$1"
