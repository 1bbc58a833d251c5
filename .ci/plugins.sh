#!/bin/bash
# The plug-ins in the real programs: ffmpeg, melt, GStreamer, GIMP 2.10 and GIMP 3. For root on Debian 12.
#
#   .ci/plugins.sh [PYTHON]     PYTHON has cliplit[cpu], pytest and hypothesis installed; default: python3
#
# GIMP 3 comes from roots of later Debian suites, made once by mmdebstrap and kept in $CLIPLIT_CI_CACHE; PYTHON and its
# packages are copied into them, so nothing is downloaded there. Screenshots go to $CLIPLIT_ARTEFACTS. No test is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(command -v "${1:-python3}")
cache=${CLIPLIT_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cliplit-ci}
export CLIPLIT_ARTEFACTS=${CLIPLIT_ARTEFACTS:-$PWD/build/artefacts}
mkdir -p "$cache" "$CLIPLIT_ARTEFACTS"

install_programs() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ffmpeg melt frei0r-plugins gimp gcc \
        libc6-dev binutils valgrind mmdebstrap gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-bad >/dev/null
}

mirror() { # the one that apt itself uses
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1
}

make_root() { # SUITE FOLDER; signatures are checked, their dates are not: a mirror may stand still
    local packages=gimp,ca-certificates,xvfb,xdotool,imagemagick
    mmdebstrap --quiet --variant=apt --aptopt='APT::Install-Recommends "false"' --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' "$1" "$2.new" "$(mirror)" && mv "$2.new" "$2"
}

copy_python() { # FOLDER: this Python under its own path, so that what is installed there runs as it is
    local paths
    paths=$("$python" -c 'import cliplit, pathlib, sys
paths = {sys.base_prefix, sys.prefix, str(pathlib.Path(cliplit.__file__).resolve().parents[1])}
sys.exit("a Python of the system cannot be copied into another; use one with a prefix of its own") if "/usr" in paths else None
print("\n".join(path for path in sorted(paths) if not any(path.startswith(other + "/") for other in paths)))')
    echo "$paths" | sed 's|^/||' | tar -C / --exclude=__pycache__ --exclude=.git --exclude='lib/python3*/test' \
        --exclude="$(realpath --relative-to=/ "$cache")" -cf - -T - | tar -C "$1" -xf -
}

install_programs
roots=
for suite in ${CLIPLIT_GIMP3_SUITES:-trixie}; do # GIMP 3.0; forky has 3.2, which at times hangs in its own start
    root=$cache/$suite
    rm -rf "$root.new"
    [ -d "$root" ] || make_root "$suite" "$root"
    copy_python "$root"
    roots=$roots${roots:+:}$root
done

# The command, not `python -m pytest`, which would find the checkout's `cliplit` before the installed one.
CLIPLIT_INTEGRATION=required CLIPLIT_GIMP3_ROOT=$roots "$(dirname "$python")/pytest" tests/integration
