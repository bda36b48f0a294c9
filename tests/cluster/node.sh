#!/bin/bash
# The node: etcd, the parts of Kubernetes, containerd, a name server. node.sh STATE LOGS BINARIES
#
# `cargo xtask cluster up` starts it as the first process of PID, mount, network and UTS namespaces of its own. So it can
# have a network address that a kubelet accepts, the ports that are usual and a /run that is empty, whatever the machine
# around it has; and when this process is killed the kernel ends every other one, pods included, and with them go the
# mounts, interfaces and iptables rules.
set -eu
state=$1 logs=$2 binaries=$3
# For documentation (RFC 5737), so nobody else's. xtask/src/cluster.rs and overlay/secret.env have it too.
address=192.0.2.1
# The first of the Services' addresses, where pods expect the API; kube-proxy leads from there to it.
service=10.96.0.1
# Where pods expect the name server: an address of this node's own.
names=10.96.0.10

# What the machine around knows this process by, as its /proc is still the one mounted here: PID, and start time.
read -r -a stat < /proc/self/stat
echo "${stat[0]} ${stat[21]}" > "$state/pid.new" && mv "$state/pid.new" "$state/pid"

# Containers and volumes are mounted by one and seen by another, which takes shared mounts. The namespace was made with
# `slave`: nothing of this reaches the machine around.
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
# Places that are not an option of those who write there.
for place in /var/lib/cni /var/log/containers; do
  [ -d "$place" ] || { mkdir "$place" && echo "$place" >> "$state/made"; }
  mount -t tmpfs tmpfs "$place"
done

hostname node-1
ip link set lo up
ip address add "$names/32" dev lo
ip link add node0 type bridge
ip address add "$address/24" dev node0
ip link set node0 up
ip route add default dev node0

mkdir -p "$state"/{pki,cni,manifests,volume-plugins,opt}
cd "$state"
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "pki/$1.key" 2>/dev/null; }
# certificate NAME SUBJECT [EXTENSION]: signed by the cluster's own authority.
certificate() {
  key "$1"
  openssl req -new -key "pki/$1.key" -subj "$2" -out "pki/$1.csr"
  openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 30 -out "pki/$1.crt" \
    -extfile <(echo "${3:-}") 2>/dev/null
}
# client NAME SUBJECT: a certificate, and the kubeconfig with it.
client() {
  certificate "$1" "$2"
  cat > "$1.conf" << CONFIG
apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: "https://$address", certificate-authority: "$state/pki/ca.crt"}}]
users: [{name: user, user: {client-certificate: "$state/pki/$1.crt", client-key: "$state/pki/$1.key"}}]
contexts: [{name: context, context: {cluster: cluster, user: user}}]
current-context: context
CONFIG
}
key ca
openssl req -x509 -new -key pki/ca.key -subj /CN=cluster -days 30 -out pki/ca.crt
key accounts
openssl pkey -in pki/accounts.key -pubout -out pki/accounts.pub
certificate apiserver /CN=kube-apiserver "subjectAltName=IP:$address,IP:$service,DNS:kubernetes.default.svc"
certificate kubelet-server /CN=node-1 "subjectAltName=IP:$address,DNS:node-1"
client admin /O=system:masters/CN=admin
client kubelet /O=system:nodes/CN=system:node:node-1
client controllers /CN=system:kube-controller-manager
client scheduler /CN=system:kube-scheduler
client proxy /CN=system:kube-proxy

cat > containerd.toml << CONFIG
version = 2
root = "$state/containerd"
[plugins."io.containerd.internal.v1.opt"]
  path = "$state/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:test"
  # A machine may lack the capability to go below its own score, and AppArmor's tools.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
CONFIG
cat > cni/bridge.conflist << CONFIG
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    }
  ]
}
CONFIG
cat > kubelet.yaml << CONFIG
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
staticPodPath: $state/manifests
podLogsDir: $state/pod-logs
volumePluginDir: $state/volume-plugins
tlsCertFile: $state/pki/kubelet-server.crt
tlsPrivateKeyFile: $state/pki/kubelet-server.key
# As kubeadm sets it: tokens and client certificates are asked for, and the API server says who may do what.
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
failSwapOn: false
oomScoreAdj: 0
resolvConf: ""
clusterDomain: cluster.local
clusterDNS: [$names]
# A disk that is nearly full is not what is tested.
evictionHard: {memory.available: 50Mi, nodefs.available: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
CONFIG

cat > kube-proxy.yaml << CONFIG
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $state/proxy.conf}
mode: iptables
clusterCIDR: 10.244.0.0/24
hostnameOverride: node-1
# These belong to the machine around.
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
CONFIG
start() { "$@" > "$logs/${1##*/}" 2>&1 & }
start etcd --data-dir /run/etcd --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
start containerd --config containerd.toml
start "$binaries/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --advertise-address "$address" --secure-port 443 \
  --service-cluster-ip-range 10.96.0.0/16 --authorization-mode Node,RBAC \
  --allow-privileged --client-ca-file pki/ca.crt \
  --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file pki/accounts.pub \
  --service-account-signing-key-file pki/accounts.key \
  --kubelet-preferred-address-types InternalIP \
  --kubelet-client-certificate pki/admin.crt --kubelet-client-key pki/admin.key
until "$binaries/kubectl" --kubeconfig admin.conf get --raw /readyz > /dev/null 2>&1; do sleep 0.5; done
start "$binaries/kube-controller-manager" --kubeconfig controllers.conf --use-service-account-credentials \
  --service-account-private-key-file pki/accounts.key --root-ca-file pki/ca.crt --leader-elect=false
start "$binaries/kube-scheduler" --kubeconfig scheduler.conf --leader-elect=false
start "$binaries/kubelet" --config kubelet.yaml --kubeconfig kubelet.conf --cert-dir pki --root-dir "$state/kubelet" \
  --node-ip "$address"
start "$binaries/kube-proxy" --config kube-proxy.yaml
start "$binaries/kube-dns" --kubeconfig admin.conf --listen "$names:53"
# Whoever lost its parent is this process's to wait for, as long as the node runs.
while :; do wait || true; sleep 1; done
