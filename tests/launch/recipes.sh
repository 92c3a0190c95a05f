#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# recipes.sh - run the steps of launch/Dockerfile and launch/switchyard.def without an engine, in roots by debootstrap
#
# usage: tests/launch/recipes.sh [FOLDER]        as root, with a network; a few minutes and 3 GB
#
# Base images become roots of debootstrap, COPY and %files become copies, RUN and %post run in a chroot. Then both
# images run the demo model on two ranks. Both must have built the same program, byte for byte.

top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
work=${1:-$(mktemp -d)}
mkdir -p "$work" || exit 1

fail() {
    echo "recipes: $*" >&2
    exit 1
}

inside() { # ROOT COMMAND...: with what a container gets
    root=$1
    shift
    unshare -m --propagation private sh -c 'mount -t proc none "$0/proc" && mount -t tmpfs none "$0/tmp" &&
        mount --rbind /dev "$0/dev" && mount --rbind /sys "$0/sys" && mount -t tmpfs none "$0/dev/shm" &&
        exec chroot "$0" env -i HOME=/root LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "$@"' "$root" "$@"
}

base() { # ROOT: what "FROM debian:12-slim" is, copied from one that is made once
    [ -e "$work/base/etc/debian_version" ] ||
        debootstrap --variant=minbase bookworm "$work/base" http://deb.debian.org/debian >"$work/base.log" 2>&1 ||
        fail "debootstrap: see $work/base.log"
    mkdir "$1" && cp -a "$work/base/." "$1" && cp /etc/resolv.conf "$1/etc" || exit 1
}

source_to() { # FOLDER: what is committed, as a context without builds
    mkdir -p "$1" && git -C "$top" archive HEAD | tar -x -C "$1" || exit 1
}

# Lines as Dockerfile has them: one an instruction, but for ENV, which is collected.
docker() {
    stage=
    environment=
    folder=/
    grep -v '^#\|^$' "$top/launch/Dockerfile" >"$work/instructions"
    while read -r instruction arguments; do
        case "$instruction $arguments" in
        "FROM "*" AS "*) stage=$work/docker-${arguments##* } && base "$stage" ;;
        "FROM "*) stage=$work/docker && base "$stage" ;;
        "ARG OPTIONS="*) OPTIONS=${arguments#*=} ;;
        "ARG "* | "CMD "*) ;;
        "COPY . "*) source_to "$stage${arguments#. }" ;;
        "COPY --from=build "*)
            # shellcheck disable=SC2086 # two words
            set -- ${arguments#--from=build }
            mkdir -p "$stage$(dirname "$2")" && cp -aT "$work/docker-build$1" "$stage$2" || exit 1
            ;;
        "WORKDIR "*) folder=$arguments ;;
        "ENV "*) environment="$environment $arguments" ;;
        "RUN "*)
            echo "recipes: docker: $instruction $arguments"
            inside "$stage" env OPTIONS="$OPTIONS" sh -c "cd $folder && $arguments" </dev/null >"$work/run.log" 2>&1 ||
                fail "RUN $arguments: $(tail -n 20 "$work/run.log")"
            folder=/
            ;;
        *) fail "what is $instruction?" ;;
        esac
    done <"$work/instructions"
}

section() { # NAME STAGE: of switchyard.def
    awk -v name="$1" -v wanted="$2" '/^Stage:/ { stage = $2 } /^(%|Bootstrap:)/ { on = 0 }
        stage == wanted && $0 == name { on = 1; next } on && NF' "$top/launch/switchyard.def"
}

apptainer() {
    for stage in build final; do
        base "$work/apptainer-$stage"
        [ $stage = final ] || source_to "$work/apptainer-build$(section %files build | awk '$1 == "." { print $2 }')"
        section "%files from build" $stage >"$work/files"
        while read -r from to; do
            mkdir -p "$work/apptainer-$stage$(dirname "$to")" &&
                cp -aT "$work/apptainer-build$from" "$work/apptainer-final$to" || exit 1
        done <"$work/files"
        echo "recipes: apptainer: %post of $stage"
        section %post $stage >"$work/apptainer-$stage/post"
        inside "$work/apptainer-$stage" sh -e /post </dev/null >"$work/run.log" 2>&1 ||
            fail "%post of $stage: $(tail -n 20 "$work/run.log")"
    done
    environment=$(section %environment final | sed 's/^ *export //')
}

try() { # ROOT: two ranks write the text of the demo
    cp -r "$top/tests/data/demo" "$1/demo" || exit 1
    # shellcheck disable=SC2086 # variables
    inside "$1" env $environment mpirun -n 2 switchyard run -m /demo -p "In the beginning God" -n 16 --temperature 0 \
        --device cpu </dev/null >"$work/text" 2>"$work/err" || fail "no text from $1: $(cat "$work/err")"
    sed 's/^/recipes: /' "$work/text"
    # shellcheck disable=SC2086 # variables
    inside "$1" env $environment switchyard-run -n 2 doctor </dev/null >"$work/doctor" 2>"$work/err" ||
        fail "switchyard-run: $(cat "$work/err")"
    tail -n 1 "$work/doctor" | sed 's/^/recipes: switchyard-run doctor: /'
}

command -v debootstrap >/dev/null || fail "debootstrap is not installed"
docker
try "$work/docker"
apptainer
try "$work/apptainer-final"
cmp "$work/docker/usr/local/bin/switchyard" "$work/apptainer-final/usr/local/bin/switchyard" || exit 1
echo "recipes: both have the same program: $(sha256sum <"$work/docker/usr/local/bin/switchyard")"
du -sh "$work/docker" | sed 's/^/recipes: /'
