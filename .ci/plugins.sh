#!/bin/bash
# The plug-ins in the real programs: ffmpeg, melt, GStreamer, mpv, GIMP 3 and VapourSynth. For root on Debian 12.
#
#   .ci/plugins.sh [PYTHON]     PYTHON has cliplit[cpu], pytest and hypothesis installed; default: python3
#
# GIMP 3 comes from roots of later Debian suites, made once by mmdebstrap and kept in $CLIPLIT_CI_CACHE; PYTHON and its
# packages are copied into them, so nothing is downloaded there. VapourSynth's wheels want Python 3.12 or newer: a root
# of its own has one, in which this checkout is built. Screenshots go to $CLIPLIT_ARTEFACTS. No test is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(command -v "${1:-python3}")
cache=${CLIPLIT_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cliplit-ci}
export CLIPLIT_ARTEFACTS=${CLIPLIT_ARTEFACTS:-$PWD/build/artefacts}
mkdir -p "$cache" "$CLIPLIT_ARTEFACTS"

install_programs() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ffmpeg melt frei0r-plugins mpv gcc \
        libc6-dev binutils valgrind mmdebstrap gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-bad >/dev/null
}

mirror() { # the one that apt itself uses
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1
}

make_root() { # SUITE FOLDER PACKAGES; signatures are checked, their dates are not: a mirror may stand still
    rm -rf "$2.new"
    [ -d "$2" ] && return
    mmdebstrap --quiet --variant=apt --aptopt='APT::Install-Recommends "false"' --include="$3" \
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

in_root() { # FOLDER COMMAND...
    chroot "$1" env -i HOME=/tmp PATH="$environment/bin:/usr/bin:/bin" LANG=C.UTF-8 "${@:2}"
}

install_vapoursynth() { # FOLDER: an environment in it with VapourSynth and this checkout; only here is downloaded
    local version platforms requirements
    version=$(chroot "$1" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mapfile -t platforms < <(printf -- "--platform=%s_$(uname -m)\n" manylinux_2_28 manylinux_2_27 manylinux2014)
    mapfile -t requirements < <("$python" -c 'from importlib.metadata import requires
print("\n".join(line.split(";")[0] for line in requires("cliplit") if "extra" not in line or "\"cpu\"" in line))')
    rm -rf "$1/tmp/wheels" "$1/tmp/cliplit" "$1$environment"
    mkdir -p "$1/tmp/cliplit"
    "$python" -m pip download -qq --dest "$1/tmp/wheels" --only-binary=:all: --python-version "$version" \
        "${platforms[@]}" "${requirements[@]}" "vapoursynth>=70" vapoursynth-bestsource "pytest>=8" "setuptools>=77"
    git ls-files -z | tar --null -T - -cf - | tar -C "$1/tmp/cliplit" -xf -
    in_root "$1" python3 -m venv "$environment"
    in_root "$1" pip install -qq --no-index --find-links /tmp/wheels "${requirements[@]}" vapoursynth \
        vapoursynth-bestsource pytest setuptools
    in_root "$1" pip install -qq --no-index --no-deps --no-build-isolation /tmp/cliplit
}

test_vapoursynth() { # FOLDER; without /proc, vspipe does not find the libraries that lie beside it
    local libraries
    libraries=$(in_root "$1" python -c 'import pathlib, vapoursynth; print(pathlib.Path(vapoursynth.__file__).parent)')
    in_root "$1" env -C /tmp/cliplit CLIPLIT_INTEGRATION=required LD_LIBRARY_PATH="$libraries" \
        pytest -p no:cacheprovider tests/integration/test_plugins_vapoursynth.py
}

environment=/opt/cliplit # in the root
vapoursynth=$cache/trixie-vapoursynth
install_programs
make_root trixie "$vapoursynth" ca-certificates,python3-venv,python3-dev,gcc,libc6-dev,mpv
install_vapoursynth "$vapoursynth"
test_vapoursynth "$vapoursynth"

roots=
for suite in ${CLIPLIT_GIMP3_SUITES:-trixie}; do # GIMP 3.0; forky has 3.2, which at times hangs in its own start
    root=$cache/$suite
    make_root "$suite" "$root" gimp,ca-certificates,xvfb,xdotool,imagemagick
    copy_python "$root"
    roots=$roots${roots:+:}$root
done

# The command, not `python -m pytest`, which would find the checkout's `cliplit` before the installed one.
CLIPLIT_INTEGRATION=required CLIPLIT_GIMP3_ROOT=$roots "$(dirname "$python")/pytest" tests/integration \
    --ignore=tests/integration/test_plugins_vapoursynth.py
