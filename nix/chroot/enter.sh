# First half, in the Nix sandbox: check that it is one, and that it allows a user namespace of our own.
fail() {
  echo "leviathan: $*" >&2
  exit 1
}
[ "$NIX_BUILD_TOP" = /build ] ||
  fail "the Nix sandbox is off, builds would depend on this host; put 'sandbox = true' into nix.conf or use make"

state=/build/.leviathan
"$seed/bin/busybox" mkdir -p "$state/applets" "$state/lower" "$state/writable" "$state/root" /build/tmp
"$seed/bin/busybox" --install -s "$state/applets"
export PATH=$state/applets

unshare -r -m true || fail "this host forbids user namespaces inside the build sandbox;" \
  "run: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1"
exec unshare -r -m sh -eu "$mountScript"
