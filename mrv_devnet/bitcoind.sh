#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bitcoind.sh FOLDER: unpack Debian's bitcoind and the libraries it loads into FOLDER, as any user, on any Debian.
#
# bitcoind is in Debian's unstable suite only, so it needs a newer libc than a stable system has. The program is run
# through the unpacked dynamic loader and finds its libraries beside it. The system's packages and apt's own state are
# left as they are: apt works on a private state, with the mirror and the key ring of the system's own sources.
#
# Exit status: 0 done, 3 this is no machine that it can work on, anything else: apt or the program failed.
set -euo pipefail

target=${1:?usage: bitcoind.sh FOLDER}
suite=sid
packages=(bitcoin-knots bitcoind)

say() { printf '%s\n' "$*" >&2; }

for program in apt-get apt-config dpkg-deb; do
  if ! command -v "$program" >/dev/null; then
    say "no $program: this is not a Debian system"
    exit 3
  fi
done

mkdir -p "$target"
target=$(cd "$target" && pwd)
state=$(mktemp -d "$target/.apt.XXXXXX")
trap 'rm -rf "$state"' EXIT
mkdir -p "$state"/{lists/partial,archives/partial,parts,preferences,root}
: >"$state/status"
: >"$state/main.conf"

# The main archive this machine is set up with. Its origin is known once apt has lists; before that its path tells.
sources() {
  # shellcheck disable=SC2016 # apt's own placeholders
  apt-get indextargets --format '$(SITE) $(SIGNED_BY)' 'Identifier: Packages' 'Component: main' "$@" 2>/dev/null || true
}
read -r site key < <({ sources 'Origin: Debian'; sources | grep -E '^[^ ]*/debian/? '; } | grep -v -- '-security') || true
if [ -z "${site:-}" ]; then
  say "apt has no source of Debian packages"
  exit 3
fi
case ${key:-} in
  /*) ;;
  *) key=/usr/share/keyrings/debian-archive-keyring.gpg ;;
esac
printf 'deb [signed-by=%s] %s %s main\n' "$key" "$site" "$suite" >"$state/sources.list"

# How the machine reaches its mirror (proxy, certificates), but none of its hooks and none of its packages:
# with an empty list of installed packages apt resolves everything bitcoind needs, libc included.
apt-config dump | grep '^Acquire::' >"$state/apt.conf" || true
cat >>"$state/apt.conf" <<EOF
Dir::Etc::Main "$state/main.conf";
Dir::Etc::Parts "$state/parts";
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "$state/parts";
Dir::Etc::PreferencesParts "$state/preferences";
Dir::State::Lists "$state/lists";
Dir::State::Status "$state/status";
Dir::State::Extended_States "$state/extended";
Dir::Cache::Archives "$state/archives";
Dir::Cache::PkgCache "";
Dir::Cache::SrcPkgCache "";
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
EOF
export APT_CONFIG=$state/apt.conf
apt-get -qq update >&2

for package in "${packages[@]}"; do
  if [ -n "$(apt-cache show "$package" 2>/dev/null | head -n 1)" ]; then
    break
  fi
done
apt-get -qq -y --download-only install "$package" >/dev/null

for archive in "$state"/archives/*.deb; do
  dpkg-deb -x "$archive" "$state/root"
done
version=$(dpkg-deb -f "$state/archives/${package}"_*.deb Version)

loader=$(find "$state/root" -name 'ld-linux*.so*' -type f | sort | head -n 1)
places=$(find "$state/root" -name '*.so*' -printf '%h\n' | sort -u | paste -s -d :)
mkdir "$target/bin" "$target/lib" "$target/libexec"
cp -L "$loader" "$target/lib/ld.so"
chmod 755 "$target/lib/ld.so"
cp "$state/root/usr/bin/bitcoind" "$target/libexec/bitcoind"
"$loader" --library-path "$places" --list "$target/libexec/bitcoind" |
  awk '$2 == "=>" && $3 ~ "^/" && $3 !~ "/ld-linux" { print $3 }' |
  while read -r library; do
    cp -Ln "$library" "$target/lib/"
  done
cat >"$target/bin/bitcoind" <<'EOF'
#!/bin/sh
folder=$(dirname "$(dirname "$(readlink -f "$0")")")
exec "$folder/lib/ld.so" --library-path "$folder/lib" "$folder/libexec/bitcoind" "$@"
EOF
chmod 755 "$target/bin/bitcoind"
printf '%s %s\n' "$package" "$version" >"$target/VERSION"
"$target/bin/bitcoind" -version >/dev/null
