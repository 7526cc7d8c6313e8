# Compiles nix/kubernetes/src offline into $out/bin: one program, linked by the names of its parts, beside Debian's etcd.
for deb in $go; do
  dpkg-deb -x "$deb" toolchain
done
dpkg-deb -x "$etcd" etcd
mkdir work
cp "$source"/* work
tar -xf "$modules" -C work

export PATH=$(echo "$PWD"/toolchain/usr/lib/go-*/bin):$PATH
export GOCACHE=$PWD/cache GOTMPDIR=$PWD/tmp GOPROXY=off GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0
export GOFLAGS="-mod=vendor -trimpath -buildvcs=false -p=${NIX_BUILD_CORES:-1}"
go version

# What Kubernetes' own build stamps into its programs (hack/lib/version.sh), less what differs between two builds.
minor=${version#*.}
stamp=k8s.io/component-base/version
flags="-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=${minor%%.*}"
flags="$flags -X $stamp.gitCommit=v$version -X $stamp.gitTreeState=archive -X $stamp.buildDate=1970-01-01T00:00:00Z"

mkdir -p "$out/bin"
cd work
go build -ldflags "$flags" -o "$out/bin/kubernetes" .
for name in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubelet; do
  ln -s kubernetes "$out/bin/$name"
  [ "$("$out/bin/$name" --version)" = "Kubernetes v$version" ]
done
ln -s kubernetes "$out/bin/device-plugin"
"$out/bin/device-plugin" --help
cp ../etcd/usr/bin/etcd "$out/bin/etcd"
"$out/bin/etcd" --version
