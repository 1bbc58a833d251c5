#!/usr/bin/env bash
# The steps of the Containerfile without a container engine: in a Debian root made by mmdebstrap, by chroot. As root.
#
#   .ci/container.sh
#
# The base is made once and kept in $CLIPLIT_CI_CACHE; each run works on a copy of it. Packages come from the mirror apt
# uses here, distributions from where pip of this machine gets them.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${CLIPLIT_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cliplit-ci}
root=$(mktemp -d)
finish() { # nothing is removed while something of this machine is mounted in it
    local place
    for place in "${mounted[@]}"; do umount "$root$place" || return; done
    rm -rf --one-file-system "$root"
}
mounted=()
trap finish EXIT
mkdir -p "$cache"
if ! command -v mmdebstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap >/dev/null
fi

from=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' Containerfile)
packages=$(sed -n 's/^RUN apt-get update.*--no-install-recommends \(.*\) && rm .*/\1/p' Containerfile | tr ' ' ,)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
base=$cache/$from-slim
if [ ! -d "$base" ]; then
    rm -rf "$base.new"
    mmdebstrap --quiet --variant=minbase --aptopt='APT::Install-Recommends "false"' --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' "$from" "$base.new" "$mirror"
    mv "$base.new" "$base"
fi
cp -a "$base/." "$root"
install -D -m 644 /etc/resolv.conf "$root/etc/resolv.conf"

# Where pip gets things on this machine holds in the root, too: its settings, and the local files and folders they name
# (a local index with what lies beside its `simple`, the files).
python3 -m pip config list | python3 -c '
import ast, sys
for line in sys.stdin:
    name, _, value = line.strip().partition("=")
    print("PIP_%s=%s" % (name.rpartition(".")[2].upper().replace("-", "_"), " ".join(ast.literal_eval(value).split())))
' >"$root.pip"
mapfile -t settings <"$root.pip"
rm "$root.pip"
folders() { printf '%s\n' "${settings[@]}" | grep -oE '(file://|=| )/[^ ]+' | sed -E 's,^(file://|=| ),,; s,/simple/?$,,'; }
for place in /proc $(folders | sort -u); do
    if [ -d "$place" ]; then
        mkdir -p "$root$place"
        mount -o bind,ro "$place" "$root$place"
        mounted+=("$place")
    elif [ -f "$place" ]; then
        install -D -m 644 "$place" "$root$place"
    fi
done

inside() { chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" "$@"; }

# COPY and every RUN but the first, whose packages mmdebstrap has put there
mkdir "$root/src"
git ls-files -z | tar --null -T - -cf - | tar -C "$root/src" -xf -
sed -n 's/^RUN //p' Containerfile | tail -n +2 | while IFS= read -r step; do
    echo "RUN $step"
    inside DEBIAN_FRONTEND=noninteractive sh -euc "$step" </dev/null >/dev/null
done

user=$(sed -n 's/^USER //p' Containerfile)
entry=$(sed -n 's/^ENTRYPOINT \["\(.*\)"\]$/\1/p' Containerfile)
[ "$(inside id -u "$user")" != 0 ] || { echo "the container would run as root" >&2; exit 1; }
inside setpriv --reuid="$user" --regid="$user" --clear-groups env -C /work HOME="/home/$user" "$entry" --demo out.mp4
test -s "$root/work/out.mp4"
du -sm "${mounted[@]/#/--exclude=$root}" "$root" | awk '{print "the root of the container: " $1 " MB"}'
