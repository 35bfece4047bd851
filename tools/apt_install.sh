#!/usr/bin/env bash
# Install packages with apt as root or by a sudo that asks for no password; else say which command to type.
#
#   tools/apt_install.sh PACKAGE...
set -euo pipefail

if ! command -v apt-get >/dev/null; then
    echo "This system has no apt; install with its own tools what Debian calls: $*" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true >/dev/null 2>&1; then
        echo "Root rights are needed; please type: sudo apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    as_root=(sudo -n)
fi

echo "Installing with apt: $*"
# A mirror that does not answer is no obstacle where the lists at hand suffice.
${as_root[@]+"${as_root[@]}"} apt-get update -qq || true
${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
