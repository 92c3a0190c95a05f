# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# check-nodes.sh - whether every node can take part in a job, and what to do where one cannot; for sourcing
#
# Each node runs the same few lines of sh, through ssh or in a step of Slurm, and answers "sy NODE KEY VALUE". Uses of
# switchyard-run: $work, $program, $launcher, $srun, $source and fail().

# shellcheck disable=SC2154 # of switchyard-run
check_bad=0
# Nodes asked at once, and how long one may take.
check_width=32
check_seconds=${SY_CHECK_SECONDS:-20}

complain() { # NODE WHAT TO-DO
    check_bad=$((check_bad + 1))
    [ "$check_bad" -le 20 ] || return 0
    echo "switchyard-run: $1: $2" >&2
    [ -z "$3" ] || echo "    $3" >&2
}

# Folders and files that all ranks read: those of --model and --config.
shared_paths() { # COMMAND ARGUMENT...
    while [ $# -gt 0 ]; do
        case $1 in
        -m | --model | --config) [ $# -lt 2 ] || printf '%s\n' "$2" ;;
        --model=* | --config=*) printf '%s\n' "${1#*=}" ;;
        -m?*) printf '%s\n' "${1#-m}" ;;
        esac
        shift
    done | while IFS= read -r path; do
        # What is not here either is for switchyard to say.
        case $path in
        /*) [ ! -e "$path" ] || printf '%s\n' "$path" ;;
        *) [ ! -e "$path" ] || printf '%s\n' "$PWD/$path" ;;
        esac
    done
}

# The lines that a node runs, as one because a login shell may be any. NAME is what the node calls itself.
question() { # NAME COMMAND ARGUMENT...
    q_program=$(quote "$program")
    q_orted=orted
    case $launcher in
    /*) q_orted=$(quote "$(dirname "${launcher%% *}")/orted") ;;
    esac
    # Of several tasks only the first says its version, so each is told that it is the first.
    printf '%s' "h=$1; if [ -x $q_program ]; then OMPI_COMM_WORLD_RANK=0 $q_program --version 2>&1 | " \
        'sed -n "1s/^/sy $h version /p; s/^  MPI  */sy $h mpi /p"; ' \
        "else echo \"sy \$h missing \"$q_program; fi; command -v $q_orted >/dev/null || echo \"sy \$h noorted\"; "
    shift
    shared_paths "$@" | while IFS= read -r path; do
        path=$(quote "$path")
        printf '%s' "[ -e $path ] || echo \"sy \$h missing \"$path; "
    done
    printf '%s' 'echo "sy $h end"'
}

ask_node() { # NODE COMMAND ARGUMENT...: by ssh
    node=$1
    shift
    agent=${OMPI_MCA_plm_rsh_agent:-ssh}
    [ "${agent##*/}" != ssh ] || agent="$agent -o BatchMode=yes -o ConnectTimeout=10"
    lines=$(question "$node" "$@")
    if is_here "$node"; then
        set -- sh -c "$lines"
    else
        # shellcheck disable=SC2086 # a command with arguments
        set -- $agent "$node" "sh -c $(quote "$lines")"
    fi
    timeout "$check_seconds" "$@" </dev/null >"$work/$node.out" 2>"$work/$node.err"
    echo $? >"$work/$node.rc"
}

# mpirun starts ranks on its own host without ssh.
is_here() { # NODE
    case $1 in
    localhost | "$(uname -n)" | "$(uname -n | cut -d . -f 1)") ;;
    *) return 1 ;;
    esac
}

# In an allocation mpirun reaches nodes by Slurm, whoever chose them.
ask_by_slurm() { # COMMAND ARGUMENT...
    lines=$(question '$SLURMD_NODENAME' "$@")
    timeout "$((3 * check_seconds))" "${SRUN:-srun}" --overlap --mpi=none -N "$n_nodes" -n "$n_nodes" \
        --ntasks-per-node=1 -w "$(paste -sd , "$work/nodes")" sh -c "$lines" </dev/null \
        >"$work/slurm.out" 2>"$work/slurm.err" ||
        fail 69 "Slurm cannot start a step on $(paste -sd , "$work/nodes"): $(tail -n 1 "$work/slurm.err")" \
            "are these nodes of the job's ($SLURM_JOB_NODELIST)? If so, look at sinfo and at slurmd's log there"
    while read -r node; do
        grep "^sy $node " "$work/slurm.out" >"$work/$node.out"
        echo 0 >"$work/$node.rc"
        : >"$work/$node.err"
    done <"$work/nodes"
}

ask_all() { # COMMAND ARGUMENT...
    if [ -n "${SLURM_JOB_ID:-}" ]; then
        ask_by_slurm "$@"
        return
    fi
    agent=${OMPI_MCA_plm_rsh_agent:-ssh}
    if [ "$n_nodes" -gt 1 ] || ! is_here "$(cat "$work/nodes")"; then
        command -v "${agent%% *}" >/dev/null || fail 69 "${agent%% *} is not in the PATH, and nodes are reached by it" \
            "install it (Debian, Ubuntu: openssh-client), name another with OMPI_MCA_plm_rsh_agent, or use Slurm"
    fi
    n_asked=0
    while read -r node; do
        ask_node "$node" "$@" &
        n_asked=$((n_asked + 1))
        [ $((n_asked % check_width)) -ne 0 ] || wait
    done <"$work/nodes"
    wait
}

# A node that did not come to the end of its lines.
judge_silence() { # NODE
    said=$(grep -v '^Warning: Permanently added' "$work/$1.err" | tail -n 1)
    case $(cat "$work/$1.err") in
    *"Connection refused"*)
        complain "$1" "ssh is refused: nothing listens there ($said)" \
            "start sshd on $1; if it listens on another port, say so in ~/.ssh/config (Host $1, Port N)"
        ;;
    *"Permission denied"*)
        complain "$1" "ssh asks for a password or does not know your key ($said)" \
            "make a key (ssh-keygen) if you have none, and bring it there: ssh-copy-id $1"
        ;;
    *"Host key verification failed"*)
        complain "$1" "ssh does not know the key of this host" \
            "log in once by hand (ssh $1) and compare the key, or: ssh-keyscan $1 >>~/.ssh/known_hosts"
        ;;
    *"Could not resolve"* | *"Name or service not known"*)
        complain "$1" "there is no host of this name ($said)" "look at the spelling, at /etc/hosts and at DNS"
        ;;
    *"timed out"* | *"No route to host"* | *"Network is unreachable"*)
        complain "$1" "does not answer ($said)" \
            "is it up, and does a firewall let port 22 and the job's own ports through?"
        ;;
    *)
        if [ "$(cat "$work/$1.rc")" = 124 ]; then
            complain "$1" "has not answered within $check_seconds s" \
                "try: ssh $1 true. A folder on a file server that hangs does this too"
        else
            complain "$1" "cannot be asked: ${said:-exit code $(cat "$work/$1.rc") and no message}" "try: ssh $1 true"
        fi
        ;;
    esac
}

value_of() { # NODE KEY
    sed -n "s/^sy [^ ]* $2 *//p" "$work/$1.out"
}

judge() { # NODE
    if ! grep -q "^sy [^ ]* end$" "$work/$1.out"; then
        judge_silence "$1"
        return
    fi
    missing=$(value_of "$1" missing)
    version=$(value_of "$1" version)
    mpi=$(value_of "$1" mpi)
    if [ -n "$missing" ]; then
        complain "$1" "does not have $(echo "$missing" | paste -sd , - | sed 's/,/, /g')" \
            "is the file system that holds it here ($(df -P "$(echo "$missing" | sed -n 1p)" |
                awk 'NR == 2 { print $1 " at " $6 }')) mounted there? Mount it, or copy it there under the same name"
    elif [ "$version" != "$version_here" ]; then
        complain "$1" "has ${version:-a program that does not start}, here is $version_here" \
            "install the same version on all nodes"
    elif [ "$mpi" != "$mpi_here" ]; then
        complain "$1" "has $mpi, here is $mpi_here" \
            "install the same MPI on all nodes: its daemons, and PMIx in them, of two versions do not mix"
    elif [ -z "${SLURM_JOB_ID:-}" ] && grep -q "^sy [^ ]* noorted$" "$work/$1.out"; then
        complain "$1" "Open MPI's orted is not in the PATH that a command by ssh gets" \
            "set PATH in a file that such shells read (~/.bashrc, at its beginning), or name all of mpirun's path: \
MPIRUN=$(command -v "${launcher%% *}")"
    fi
}

# Ranks that do not find one another believe each that it is alone.
check_pmix() {
    plugins=$("$srun" --mpi=list 2>&1 | tr -s ' \n\t' ' ')
    case $plugins in
    *pmix*) ;;
    *) fail 69 "this Slurm has no PMIx plugin: srun --mpi=list shows $plugins" \
        "install it (Debian, Ubuntu: slurm-wlm-basic-plugins), or leave out --srun, and mpirun starts the ranks" ;;
    esac
    [ "$n_ranks" -gt 1 ] || return 0
    timeout $((3 * check_seconds)) "$srun" --overlap --mpi=pmix --cpu-bind=none -N "$n_nodes" \
        -n "$((n_nodes > 2 ? n_nodes : 2))" "$program" doctor --device cpu </dev/null \
        >"$work/pmix.out" 2>"$work/pmix.err"
    rc=$?
    if [ "$(grep -c "^verdict" "$work/pmix.out")" -gt 1 ] || grep -q "PMI support\|PMIX" "$work/pmix.err"; then
        fail 69 "the ranks that srun starts do not find one another: Slurm's PMIx ($plugins) and that of \
$("$program" --version | sed -n 's/^  MPI  *//p') do not fit" \
            "build Open MPI --with-pmix of Slurm's library, or leave out --srun, and mpirun starts the ranks"
    fi
    [ "$rc" -eq 0 ] || fail 69 "doctor fails when srun starts it (exit code $rc): $(tail -n 1 "$work/pmix.err")" \
        "call it by hand: srun --mpi=pmix -n 2 $program doctor"
}

check_nodes() { # COMMAND ARGUMENT...
    if [ "$n_nodes" -gt 1 ] || [ "$source" != slurm ] && [ "$source" != here ]; then
        "$program" --version >"$work/version" 2>&1 || fail 71 "$program does not start: $(tail -n 1 "$work/version")"
        version_here=$(sed -n 1p "$work/version")
        mpi_here=$(sed -n 's/^  MPI  *//p' "$work/version")
        ask_all "$@"
        while read -r node; do
            judge "$node"
        done <"$work/nodes"
        [ "$check_bad" -le 20 ] || echo "switchyard-run: and $((check_bad - 20)) more" >&2
        [ "$check_bad" -eq 0 ] || exit 69
    fi
    [ -z "$srun" ] || check_pmix
    [ "$check" != only ] || echo "switchyard-run: all nodes can take part: $(shape "$work/ranks")"
}
