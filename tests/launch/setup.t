#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.t - launch/setup where packages are missing: what it asks for, and whom
#
# PATH is a folder with the few tools that every system has, and stand-ins for id and sudo, so nothing is installed.

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
[ -r /etc/debian_version ] || skip_all "not a Debian or Ubuntu system"

bin=$SY_TMP/bin
mkdir "$bin"
for tool in sh cat cut date dirname env getconf grep mkdir sed sleep sort tail tr; do
    ln -s "$(command -v "$tool")" "$bin/$tool"
done

stand_in() { # NAME LINE...
    name=$1
    shift
    printf '%s\n' '#!/bin/sh' "$@" >"$bin/$name"
    chmod +x "$bin/$name"
}

setup() {
    env PATH="$bin" CC= SY_BUILDDIR="$SY_TMP/build" sh "$SY_SRCDIR/launch/setup" >"$SY_TMP/out" 2>&1
    rc=$?
}

install="apt-get install -y --no-install-recommends"
stand_in id 'echo 1000'
setup
is "without root and sudo: exit code" "$rc" 1
has "one line to type" "$(cat "$SY_TMP/out")" "  su -c 'apt-get update && $install autoconf"
for package in gcc make libopenmpi-dev openmpi-bin libhwloc-dev libexpat1-dev libjansson-dev libpcre2-dev \
    libutf8proc-dev libyaml-dev; do
    has "which names $package" "$(grep apt-get "$SY_TMP/out")" " $package"
done

stand_in sudo 'exit 1'
setup
is "sudo that wants a password: exit code" "$rc" 1
has "the line is for sudo" "$(cat "$SY_TMP/out")" "  sudo sh -c 'apt-get update && $install"

stand_in sudo 'echo "$*" >>"$SY_TMP/sudo.log"'
SY_TMP=$SY_TMP setup
is "sudo that wants none, but installs nothing: exit code" "$rc" 1
has "packages were asked for through sudo" "$(tr '\n' ' ' <"$SY_TMP/sudo.log")" "$install \"\$@\" apt autoconf"
has "what is still missing is named" "$(cat "$SY_TMP/out")" "still missing: "

stand_in id 'echo 0'
stand_in apt-get 'echo "no such package"' 'exit 100'
setup
is "apt-get fails: exit code" "$rc" 1
has "its last words are shown" "$(cat "$SY_TMP/out")" "no such package"
done_testing
