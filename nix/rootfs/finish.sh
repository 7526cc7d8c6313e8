# Inside a freshly unpacked tree: what its packages' maintainer scripts would have done, deterministically.

cd /usr/share
rm -rf man info locale lintian bug
if [ -n "$documentation" ]; then # licences stay, change logs and examples go
  find doc ! -type d ! -name copyright -delete
  find doc -depth -type d -empty -delete
else
  rm -rf doc
fi

# base-passwd, base-files, libc-bin
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
cp /usr/share/libc-bin/nsswitch.conf /etc/nsswitch.conf
cp /usr/share/base-files/profile /etc/profile
mkdir -p /root /home /run /tmp /var/tmp /var/log /var/cache /mnt /media /srv /opt /proc /sys /dev /usr/local/bin /usr/local/lib
rm -rf /var/run /var/lock
ln -sfn /run /var/run
ln -sfn /run/lock /var/lock
: >/etc/hosts
: >/etc/resolv.conf

# alternatives: NAME CANDIDATE... (the first that is there)
choose() {
  name=$1
  shift
  [ ! -e "$name" ] || return 0
  for candidate; do
    if [ -e "$candidate" ]; then
      ln -s "$candidate" "$name"
      return 0
    fi
  done
}
choose /usr/bin/sh /usr/bin/dash /usr/bin/bash
choose /usr/bin/awk /usr/bin/mawk /usr/bin/gawk
choose /usr/bin/cc /usr/bin/gcc
choose /usr/bin/c++ /usr/bin/g++
choose /usr/bin/which /usr/bin/which.debianutils

# ca-certificates: a link a certificate, the hashed names, then the bundle
if [ -d /usr/share/ca-certificates ]; then
  mkdir -p /etc/ssl/certs
  (cd /usr/share/ca-certificates && find . -name '*.crt' | sort | sed 's#^\./##') >/etc/ca-certificates.conf
  while read -r certificate; do
    name=${certificate##*/}
    ln -s "/usr/share/ca-certificates/$certificate" "/etc/ssl/certs/${name%.crt}.pem"
  done </etc/ca-certificates.conf
  [ ! -x /usr/bin/openssl ] || openssl rehash /etc/ssl/certs
  while read -r certificate; do
    cat "/usr/share/ca-certificates/$certificate"
  done </etc/ca-certificates.conf >/etc/ssl/certs/ca-certificates.crt
fi

ldconfig -X
rm -rf /var/cache/ldconfig
