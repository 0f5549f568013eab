#!/usr/bin/env bash
# Builds codeact-sandbox-base:latest from Debian packages: a base image for docker/sandbox.Dockerfile on machines that
# cannot pull images. It needs root, debootstrap and a Docker engine, and takes about a minute. The server uses this
# image as the base if it exists.
#
#   sudo docker/debian-base.sh [MIRROR]        SUITE=trixie by default; it must have Python 3.12 or newer
set -euo pipefail

image=codeact-sandbox-base:latest
suite=${SUITE:-trixie}
bundle=/etc/ssl/certs/ca-certificates.crt

for tool in debootstrap docker tar; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: sudo apt-get install debootstrap docker.io" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "Run this as root: debootstrap makes a root file system." >&2; exit 1; }

root=$(mktemp -d /var/tmp/codeact-base.XXXXXX)
trap 'rm -rf --one-file-system "$root" "$root.log"' EXIT

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" "$@" >"$root.log" \
    || { tail -n 20 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}

# Behind a proxy with its own certificate, pip must trust the certificates that this machine trusts.
changes=()
if [ -r "$bundle" ]; then
    install -D -m 644 "$bundle" "$root$bundle"
    changes=(--change "ENV PIP_CERT=$bundle SSL_CERT_FILE=$bundle")
fi
tar -C "$root" --one-file-system -c . | docker import "${changes[@]}" - "$image" >/dev/null
echo "$image: $(docker image inspect --format '{{.Size}}' "$image" | numfmt --to=si)B, Debian $suite"
