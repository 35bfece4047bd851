#!/usr/bin/env bash
# Install what Qt and OpenGL need of the system, and the virtual screen of the tests, where something is missing.
#
# Libraries are looked for by file, not by package: the names of packages differ between releases. Ends well even where
# it could not install: the command line and most of the package work without a screen.
set -euo pipefail

[ "$(uname -s)" = Linux ] || exit 0

needed="
libEGL.so.1 libegl1
libGL.so.1 libgl1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xinerama.so.0 libxcb-xinerama0
"

missing=()
libraries=$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p)
while read -r library package; do
    if [ -n "$library" ] && [[ "$libraries" != *"$library "* ]]; then
        missing+=("$package")
    fi
done <<<"$needed"
command -v xvfb-run >/dev/null || missing+=(xvfb)
command -v xauth >/dev/null || missing+=(xauth)

[ "${#missing[@]}" -gt 0 ] || exit 0
if ! bash "$(dirname "$0")/apt_install.sh" "${missing[@]}"; then
    echo "Without these, windows may not open, and tests on a virtual screen cannot run: ${missing[*]}" >&2
fi
