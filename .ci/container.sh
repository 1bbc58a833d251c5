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
    for place in "${mounted[@]}"; do umount "$root$place"; done
    rm -rf --one-file-system "$root"
}
mounted=()
trap finish EXIT
mkdir -p "$cache"

from=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' Containerfile)
packages=$(sed -n 's/^RUN apt-get update.*--no-install-recommends \(.*\) && rm .*/\1/p' Containerfile | tr ' ' ,)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
base=$cache/$from-container
if [ ! -d "$base" ]; then
    rm -rf "$base.new"
    mmdebstrap --quiet --variant=apt --aptopt='APT::Install-Recommends "false"' --include="$packages" \
        --aptopt='Acquire::Check-Valid-Until "false"' "$from" "$base.new" "$mirror"
    mv "$base.new" "$base"
fi
cp -a "$base/." "$root"
for file in /etc/resolv.conf /etc/pip.conf "$HOME/.config/pip/pip.conf"; do # where pip gets things on this machine
    if [ -f "$file" ]; then install -D -m 644 "$file" "$root/etc/$(basename "$file")"; fi
done
for variable in PIP_CERT PIP_FIND_LINKS; do # files and folders its settings name
    place=${!variable:-}
    if [ -f "$place" ]; then install -D -m 644 "$place" "$root$place"; fi
done
for place in $(sed -n 's/.*file:\/\/\(\/[^ ]*\).*/\1/p' "$root/etc/pip.conf" 2>/dev/null) /proc; do
    mkdir -p "$root$place" && mount --bind "$place" "$root$place" && mounted+=("$place")
done

inside() { chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin ${PIP_CERT:+PIP_CERT="$PIP_CERT"} "$@"; }

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
du -sm "$root" --exclude="$root/proc" | awk '{print "the root of the container: " $1 " MB"}'
