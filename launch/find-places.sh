# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# find-places.sh - where the ranks of a job go, as a table of one rank a line: "HOST CORES"; for sourcing
#
# From switchyard-run's $source, $source_name, $n_ranks and $per_node find_places makes: $work/ranks, the table, in which
# CORES is a list as 0-3,8 or "-"; $work/nodes, each host once; $n_ranks, $n_nodes, $bound (ranks with cores), and
# $by_system where cores are CPUs by the system's numbers, not counted from 0 in the order of the machine.

# shellcheck disable=SC2154,SC2034 # of switchyard-run, and for it
by_system=

add_places() { # HOST RANKS CORES
    i=0
    while [ $i -lt "$2" ]; do
        echo "$1 $3"
        i=$((i + 1))
    done >>"$work/places"
}

check_host() { # NAME WHERE
    case $1 in
    "" | -* | *[!A-Za-z0-9._-]*) fail 64 "$2: \"$1\" is no name of a host" ;;
    esac
}

read_hosts() { # LIST
    old_ifs=$IFS
    IFS=,
    # shellcheck disable=SC2086 # a list
    set -f -- $1
    IFS=$old_ifs
    set +f
    [ $# -gt 0 ] || fail 64 "no hosts: --hosts names none"
    for item in "$@"; do
        slots=1
        case $item in
        *:*) slots=${item##*:} ;;
        esac
        check_host "${item%%:*}" "--hosts"
        is_count "$slots" || fail 64 "--hosts: \"$item\": expected HOST or HOST:RANKS"
        add_places "${item%%:*}" "${per_node:-$slots}" -
    done
}

read_hostfile() { # FILE
    if [ ! -r "$1" ] || [ -d "$1" ]; then
        fail 74 "--hostfile $1: cannot read it"
    fi
    line_no=0
    while IFS= read -r line || [ -n "$line" ]; do
        line_no=$((line_no + 1))
        set -f
        # shellcheck disable=SC2086 # words
        set -- ${line%%#*}
        set +f
        [ $# -gt 0 ] || continue
        host=${1%%:*} slots=1 cores=-
        check_host "$host" "$source_name:$line_no"
        case $1 in
        *:*) slots=${1#*:} ;;
        esac
        shift
        for word in "$@"; do
            case $word in
            slots=*) slots=${word#*=} ;;
            cores=*)
                cores=${word#*=}
                echo "$cores" | grep -Eqx '[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*' ||
                    fail 64 "$source_name:$line_no: cores=$cores: expected a list as 0-3,8"
                ;;
            max_slots=* | max-slots=*) ;;
            *) fail 64 "$source_name:$line_no: \"$word\": expected slots=N or cores=LIST" ;;
            esac
        done
        is_count "$slots" || fail 64 "$source_name:$line_no: \"$slots\" is no number of ranks"
        add_places "$host" "${per_node:-$slots}" "$cores"
    done <"$1"
    [ -s "$work/places" ] || fail 64 "no hosts: $source_name names none" \
        "write a line \"HOST slots=N\" for each node, N being the number of its ranks"
}

# YAML is the program's business: it prints "HOST cores=LIST", "HOST cpus=LIST" or "HOST -" for each rank.
read_cluster() { # FILE
    [ -z "$per_node" ] || fail 64 "--per-node: a cluster file says itself how many ranks a node has"
    "$program" topo --cluster "$1" --places </dev/null >"$work/lines" || exit
    while read -r host cores; do
        check_host "$host" "$source_name"
        case $cores in
        cpus=*) by_system=yes ;;
        esac
        add_places "$host" 1 "${cores#*=}"
    done <"$work/lines"
    [ -s "$work/places" ] || fail 65 "no hosts: $source_name has no device that a rank could run on"
}

# "2(x3),1" is 2, 2, 2 and 1 tasks.
read_slurm() {
    [ -n "${SLURM_JOB_ID:-}" ] || fail 64 "no hosts: this is no Slurm allocation (SLURM_JOB_ID is not set)" \
        "submit it with sbatch or call it under salloc, or give --hosts or --hostfile"
    command -v scontrol >/dev/null || fail 71 "Slurm's scontrol is not in the PATH"
    scontrol show hostnames "${SLURM_JOB_NODELIST:-}" >"$work/hosts" ||
        fail 71 "scontrol does not know the nodes of this job"
    echo "${SLURM_TASKS_PER_NODE:-1}" | tr , '\n' | sed 's/(x\(.*\))/ \1/' |
        while read -r tasks times; do
            for i in $(seq "${times:-1}"); do echo "${per_node:-$tasks} $i"; done
        done | paste -d ' ' "$work/hosts" - | while read -r host tasks i; do add_places "$host" "${tasks:-1}" -; done
}

count_places() {
    n_places=$(wc -l <"$work/places")
    # Slurm may have room for more tasks than the job asked for.
    if [ "$source" = slurm ] && [ -z "$per_node" ] && [ "${SLURM_NTASKS:-$n_places}" -lt "$n_places" ]; then
        : "${n_ranks:=$SLURM_NTASKS}"
    fi
    [ "${n_ranks:=$((n_places))}" -le "$n_places" ] || fail 64 \
        "$n_ranks ranks are wanted, and there is room for $((n_places)): $(shape "$work/places")" \
        "say how many each node takes (slots=N in a host file, HOST:N, --ntasks-per-node of Slurm), or --per-node N"
    head -n "$n_ranks" "$work/places" >"$work/ranks"
    # Those without cores= could be anywhere.
    bound=$(grep -vc ' -$' "$work/ranks")
    [ "$bound" -eq 0 ] || [ "$bound" -eq "$n_ranks" ] || fail 64 "$source_name: $bound of $n_ranks ranks have cores=" \
        "give them to all ranks or to none"
    cut -d ' ' -f 1 "$work/ranks" | awk '!seen[$1]++' >"$work/nodes"
    n_nodes=$(($(wc -l <"$work/nodes")))
}

shape() { # FILE: "nd0 2, nd1 1"
    cut -d ' ' -f 1 "$1" | awk '!n[$1]++ { order[++hosts] = $1 } END {
        for (i = 1; i <= hosts && i <= 8; i++) printf "%s%s %d", (i > 1 ? ", " : ""), order[i], n[order[i]]
        if (hosts > 8) printf " and %d more", hosts - 8 }'
}

find_places() {
    : >"$work/places"
    if [ -z "$source" ]; then
        source=here
        [ -z "${SLURM_JOB_ID:-}" ] || source=slurm
    fi
    [ -z "$srun" ] || [ "$source" = slurm ] || fail 64 "--srun needs a Slurm allocation for its hosts" \
        "submit it with sbatch or call it under salloc"
    case $source in
    hosts) read_hosts "$source_name" ;;
    hostfile) read_hostfile "$source_name" ;;
    cluster) read_cluster "$source_name" ;;
    slurm) read_slurm ;;
    here) add_places localhost "${per_node:-${n_ranks:-1}}" - ;;
    esac
    count_places
}
