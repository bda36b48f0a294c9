#!/bin/bash
# The two images of the tests, as a file for `ctr images import`: no registry is needed. images.sh FILE
#
# `pause` is what the runtime starts for each pod, to hold its namespaces; `box` is busybox, for workloads.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root"/{bin,tmp,proc,sys,dev,etc}
cp "$(command -v busybox)" "$work/root/bin/busybox"
for applet in sh sleep dd true head tr cat wget nc; do ln -s busybox "$work/root/bin/$applet"; done
tar -C "$work/root" -cf "$work/layer.tar" .
sum=$(sha256sum "$work/layer.tar")
architecture=$(dpkg --print-architecture)
# image NAME COMMAND: the one layer, and what it runs.
image() {
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$architecture" "$2" "${sum%% *}" > "$work/$1.json"
  printf '{"Config":"%s.json","RepoTags":["docker.io/library/%s:test"],"Layers":["layer.tar"]}' "$1" "$1"
}
{ echo '['; image box '["sh"]'; echo ','; image pause '["sleep","inf"]'; echo ']'; } > "$work/manifest.json"
tar -C "$work" -cf "$1" manifest.json box.json pause.json layer.tar
