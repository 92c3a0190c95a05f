#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# switchyard_run.t - launch/switchyard-run: the lines that it makes, and what it says of nodes that cannot take part
#
# ssh, srun and scontrol are stand-ins, and so is the program, so that each failure is at hand.

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
run=$SY_SRCDIR/launch/switchyard-run
cd "$SY_TMP" || exit 1
TMPDIR=$SY_TMP/tmp
export TMPDIR
mkdir "$TMPDIR"
# What this test's own environment says of Slurm and networks is none of its business.
for name in $(env | sed -n 's/^\(SLURM\|UCX\|NCCL\|SWITCHYARD\|OMPI_MCA_plm\)\(_[A-Za-z_]*\)=.*/\1\2/p'); do
    unset "$name"
done
MPIRUN=mpirun

stand_in() { # NAME, its text on standard input
    { echo '#!/bin/sh' && cat; } >"$1"
    chmod +x "$1"
}

mkdir bin
stand_in bin/mpirun </dev/null
stand_in program <<'END'
case $1 in
--version) printf 'switchyard %s\n  MPI            %s\n' "${FAKE_VERSION-9.9}" "${FAKE_MPI-Open MPI v4.1.4}" ;;
doctor) echo "verdict: ready" ;;
topo) [ "$3" != wrong ] && [ "$*" = "topo --cluster $3 --places" ] && cat "$3" || exit 65 ;;
esac
END
PATH=$SY_TMP/bin:$PATH
export PATH MPIRUN

launch() { # ARGUMENT...
    "$run" --program ./program "$@" </dev/null >out 2>err
    rc=$?
}

lines() { # what --dry-run prints, without settings of MPI
    grep -v '^export OMPI_\|^export HWLOC_' out | sed "s|$SY_TMP/||g; s/ -x HWLOC_COMPONENTS//"
}

dry() { # NAME EXPECTED ARGUMENT...
    name=$1 expected=$2
    shift 2
    launch --dry-run "$@"
    is "$name: exit code" "$rc" 0 || diag "$(cat err)"
    is "$name" "$(lines)" "$expected"
    ok "$name: what is printed parses" sh -n out
}

refused() { # NAME EXIT-CODE TEXT ARGUMENT...
    name=$1 code=$2 text=$3
    shift 3
    launch "$@"
    is "$name: exit code" "$rc" "$code"
    has "$name" "$(cat err)" "switchyard-run: $text"
}

# ---- lines ----

dry "this machine" "# ranks of each node: localhost 1
mpirun -n 1 program run -m 'a b'" run -m "a b"
dry "four ranks on this machine" "# ranks of each node: localhost 4
mpirun -n 4 program run -p 'it'\\''s'" -n 4 run -p "it's"
dry "unequal hosts" "# ranks of each node: nd0 2, nd1 1
cat >switchyard.ranks <<'END'
nd0
nd0
nd1
END
mpirun -n 3 --mca rmaps seq --hostfile switchyard.ranks program doctor" --hosts nd0:2,nd1 doctor
dry "a part of the hosts" "# ranks of each node: nd0 2
mpirun -n 2 --host nd0:2 program doctor" --hosts nd0:2,nd1 -n 2 doctor
dry "as many on each" "# ranks of each node: nd0 3, nd1 3
cat >switchyard.ranks <<'END'
nd0
nd0
nd0
nd1
nd1
nd1
END
mpirun -n 6 --mca rmaps seq --hostfile switchyard.ranks program doctor" --hosts nd0,nd1 --per-node 3 doctor
dry "hosts in turn" "# ranks of each node: nd0 2, nd1 1
cat >switchyard.ranks <<'END'
nd0
nd1
nd0
END
mpirun -n 3 --mca rmaps seq --hostfile switchyard.ranks program doctor" --hosts nd0,nd1,nd0 doctor

cat >hostfile <<'END'
# a cluster
nd0 slots=2   # two here

nd1:3
nd2
END
dry "a host file" "# ranks of each node: nd0 2, nd1 3, nd2 1
cat >switchyard.ranks <<'END'
nd0
nd0
nd1
nd1
nd1
nd2
END
mpirun -n 6 --mca rmaps seq --hostfile switchyard.ranks program doctor" --hostfile hostfile doctor
: >empty
cat >cores <<'END'
nd0 cores=0-3
nd1 slots=2 cores=0-1,4
nd0 cores=4-7
END
dry "cores make a rank file" "# ranks of each node: nd0 2, nd1 2
cat >switchyard.ranks <<'END'
rank 0=nd0 slot=0-3
rank 1=nd1 slot=0-1,4
rank 2=nd1 slot=0-1,4
rank 3=nd0 slot=4-7
END
mpirun -n 4 --rankfile switchyard.ranks program doctor" --hostfile cores doctor

printf '%s\n' "nd1 cores=1-1" "nd0 cores=0-3" "nd1 cores=0-0" >places
dry "a cluster file whose devices say how many cores" "# ranks of each node: nd1 2, nd0 1
cat >switchyard.ranks <<'END'
rank 0=nd1 slot=1-1
rank 1=nd0 slot=0-3
rank 2=nd1 slot=0-0
END
mpirun -n 3 --rankfile switchyard.ranks program doctor --cluster places" --cluster places doctor
printf '%s\n' "nd0 cpus=0,2" "nd1 cpus=1,3" >places
dry "a cluster file whose devices say their CPUs" "# ranks of each node: nd0 1
cat >switchyard.ranks <<'END'
rank 0=nd0 slot=0,2
END
mpirun -n 1 --mca rmaps_rank_file_physical 1 --rankfile switchyard.ranks program doctor --cluster places" \
    --cluster places -n 1 doctor
printf '%s\n' "nd0 -" "nd0 -" "nd1 -" >places
dry "a cluster file that says nothing of cores" "# ranks of each node: nd0 2, nd1 1
cat >switchyard.ranks <<'END'
nd0
nd0
nd1
END
mpirun -n 3 --mca rmaps seq --hostfile switchyard.ranks program doctor --cluster places" --cluster places doctor
launch --cluster wrong doctor
is "a cluster file that is wrong: exit code" "$rc" 65
refused "a cluster file without devices" 65 "no hosts: empty has no device" --cluster empty doctor
refused "a cluster file and --per-node" 64 "--per-node: a cluster file says itself" --cluster places --per-node 2 doctor

dry "an interface" "# ranks of each node: nd0 1, nd1 1
cat >switchyard.ranks <<'END'
nd0
nd1
END
export UCX_NET_DEVICES=eth0,ib0
mpirun -n 2 --mca rmaps seq --hostfile switchyard.ranks -x UCX_NET_DEVICES program doctor" \
    --interface eth0,ib0 --hosts nd0,nd1 doctor
has "an interface: for mpirun and its daemons" "$(cat out)" "export OMPI_MCA_oob_tcp_if_include=eth0,ib0"
has "an interface: for messages" "$(cat out)" "export OMPI_MCA_btl_tcp_if_include=eth0,ib0"
dry "a subnet, which UCX does not know" "# ranks of each node: nd0 1
mpirun -n 1 --host nd0:1 program doctor" --interface 10.1.0.0/16 --hosts nd0 doctor
has "a subnet: for messages" "$(cat out)" "export OMPI_MCA_btl_tcp_if_include=10.1.0.0/16"
SWITCHYARD_THREADS=2 dry "variables" "# ranks of each node: localhost 1
export A='1 2'
mpirun -n 1 -x A -x SWITCHYARD_THREADS program doctor" --env "A=1 2" doctor
has "what a small machine needs is set" "$(cat out)" "export OMPI_MCA_mpi_yield_when_idle=1"

# ---- where it lies ----

mkdir elsewhere
ln -s "$run" elsewhere/linked
run=elsewhere/linked dry "a symbolic link to it" "# ranks of each node: localhost 1
mpirun -n 1 program doctor" doctor
cp "$run" elsewhere/alone
run=elsewhere/alone refused "a copy of it alone" 71 "the files that belong to it are neither in $SY_TMP/elsewhere" \
    doctor
top=$SY_TMP/install
mkdir -p "$top/bin" "$top/share/switchyard"
cp "$run" program "$top/bin"
mv "$top/bin/program" "$top/bin/switchyard"
cp "$SY_SRCDIR"/launch/*.sh "$top/share/switchyard"
is "installed: the program beside it" "$("$top/bin/switchyard-run" --dry-run doctor | tail -n 1)" \
    "mpirun -n 1 -x HWLOC_COMPONENTS $top/bin/switchyard doctor"

# ---- in Slurm ----

stand_in bin/scontrol <<'END'
[ "$*" = "show hostnames nd[0-3]" ] && printf '%s\n' nd0 nd1 nd2 nd3
END
stand_in bin/srun <<'END'
case "$*" in
--mpi=list) echo "MPI plugin types are... ${FAKE_PLUGINS-none pmix pmix_v4 pmi2}" ;;
*doctor*)
    ${FAKE_DOCTOR-echo verdict: ready}
    ;;
*)
    while [ "$1" != sh ]; do shift; done
    for SLURMD_NODENAME in nd0 nd1 nd2 nd3; do
        export SLURMD_NODENAME
        [ $SLURMD_NODENAME != "${FAKE_OLD-}" ] || export FAKE_VERSION=0.0.1
        "$@"
        unset FAKE_VERSION
    done
    ;;
esac
END
refused "--slurm outside of Slurm" 64 "no hosts: this is no Slurm allocation" --slurm doctor
refused "--srun outside of Slurm" 64 "--srun needs a Slurm allocation" --srun doctor
SLURM_JOB_ID=7 SLURM_JOB_NODELIST='nd[0-3]' SLURM_TASKS_PER_NODE='2(x3),1'
export SLURM_JOB_ID SLURM_JOB_NODELIST SLURM_TASKS_PER_NODE
dry "an allocation" "# ranks of each node: nd0 2, nd1 2, nd2 2, nd3 1
mpirun -n 7 program doctor" doctor
dry "an allocation, so many on each node" "# ranks of each node: nd0 4, nd1 4, nd2 4, nd3 4
mpirun -n 16 --map-by ppr:4:node program doctor" --per-node 4 doctor
dry "an allocation, by srun" "# ranks of each node: nd0 2, nd1 2, nd2 2, nd3 1
srun --mpi=pmix --cpu-bind=none --export=ALL -n 7 program doctor" --srun doctor
SLURM_NTASKS=5 dry "an allocation with room for more" "# ranks of each node: nd0 2, nd1 2, nd2 1
mpirun -n 5 program doctor" doctor
launch --srun --check
is "an allocation whose nodes are well: exit code" "$rc" 0 || diag "$(cat err)"
is "an allocation whose nodes are well" "$(cat out)" \
    "switchyard-run: all nodes can take part: nd0 2, nd1 2, nd2 2, nd3 1"
FAKE_OLD=nd2 refused "another version on a node" 69 "nd2: has switchyard 0.0.1, here is switchyard 9.9" doctor
FAKE_PLUGINS="none pmi2" refused "Slurm without PMIx" 69 "this Slurm has no PMIx plugin" --srun doctor
FAKE_DOCTOR="printf verdict\\nverdict\\n" refused "PMIx of two kinds" 69 \
    "the ranks that srun starts do not find one another" --srun doctor
FAKE_DOCTOR=false refused "doctor fails under srun" 69 "doctor fails when srun starts it (exit code 1)" --srun doctor
unset SLURM_JOB_ID SLURM_JOB_NODELIST SLURM_TASKS_PER_NODE

# ---- nodes that cannot take part ----

mkdir model
stand_in bin/orted </dev/null
# As ssh does: the words of the command in one line for a shell, and 255 when there is no connection.
stand_in bin/ssh <<'END'
while [ "$1" = -o ]; do shift 2; done
host=$1
shift
no() { echo "$1" >&2 && exit 255; }
command=$*
case $host in
good*) ;;
refused) no "ssh: connect to host refused port 22: Connection refused" ;;
denied) no "user@denied: Permission denied (publickey,password)." ;;
unknown) no "ssh: Could not resolve hostname unknown: Name or service not known" ;;
newkey) no "Host key verification failed." ;;
down) no "ssh: connect to host down port 22: No route to host" ;;
hangs) sleep 30 ;;
old) export FAKE_VERSION=0.0.1 ;;
mpi) export FAKE_MPI="Open MPI v5.0.3" ;;
noorted) PATH=$(echo "$PATH" | sed 's|^[^:]*/bin:||') && command=$(echo "$*" | sed 's/orted >/absent >/') ;;
nomodel) command=$(echo "$*" | sed 's|/model|/absent|g; s|missing "/|&|') ;;
noprogram) command=$(echo "$*" | sed 's|/program |/absent |g; s|/program;|/absent;|g; s|/program \]|/absent ]|g') ;;
esac
sh -c "$command"
END

bad_node() { # HOST TEXT TO-DO
    refused "$1" 69 "$1: $2" --hosts "good,$1" run -m model
    has "$1: what to do" "$(cat err)" "    $3"
    is "$1: nothing is said of others" "$(grep -c '^switchyard-run: ' err)" 1
}

bad_node refused "ssh is refused" "start sshd on refused"
bad_node denied "ssh asks for a password" "make a key"
bad_node unknown "there is no host of this name" "look at the spelling"
bad_node newkey "ssh does not know the key of this host" "log in once by hand"
bad_node down "does not answer (ssh: connect to host down port 22: No route to host)" "is it up"
bad_node old "has switchyard 0.0.1, here is switchyard 9.9" "install the same version on all nodes"
bad_node mpi "has Open MPI v5.0.3, here is Open MPI v4.1.4" "install the same MPI on all nodes"
bad_node noorted "Open MPI's orted is not in the PATH" "set PATH"
bad_node nomodel "does not have $SY_TMP/absent" "is the file system that holds it here"
bad_node noprogram "does not have $SY_TMP/absent" "is the file system that holds it here"
SY_CHECK_SECONDS=1
export SY_CHECK_SECONDS
bad_node hangs "has not answered within 1 s" "try: ssh hangs true"
unset SY_CHECK_SECONDS
launch --hosts good,refused,old,good2,denied run -m model
named=$(sed -n 's/^switchyard-run: \([a-z0-9]*\): .*/\1/p' err | paste -sd ' ' -)
is "all nodes that are not well are named" "$named" "refused old denied"
launch --hosts good,good2 --check
is "all well: exit code" "$rc" 0
launch --hosts refused --no-check doctor
is "--no-check: nobody is asked" "$rc" 0
mv bin/ssh bin/elsewhere
OMPI_MCA_plm_rsh_agent=elsewhere launch --hosts good,refused --check
is "another ssh: exit code" "$rc" 69
has "another ssh: it is used" "$(cat err)" "refused: ssh is refused"
OMPI_MCA_plm_rsh_agent=absent refused "no ssh" 69 "absent is not in the PATH" --hosts good --check

# ---- wrong usage ----

refused "a host file without hosts" 64 "no hosts: empty names none" --hostfile empty doctor
refused "a host file that is not there" 74 "--hostfile absent: cannot read it" --hostfile absent doctor
printf 'nd0\nnd1 slot=2\n' >wrong
refused "a word of a host file" 64 "wrong:2: \"slot=2\": expected slots=N or cores=LIST" --hostfile wrong doctor
for list in "" - 1- 1,,2 ,1 "1," a 1-2-3 1:2; do
    echo "nd0 cores=$list" >wrong
    refused "cores=$list" 64 "wrong:1: cores=$list: expected a list as 0-3,8" --hostfile wrong doctor
done
printf 'nd0 slots=2\nnd1 cores=1\n' >wrong
refused "cores of some ranks" 64 "wrong: 1 of 3 ranks have cores=" --hostfile wrong doctor
refused "an empty list of hosts" 64 "no hosts: --hosts names none" --hosts "" doctor
if [ -d /sys/class/net ]; then
    refused "a network that there is not" 64 "--interface nowhere0,nowhere1: $(uname -n) has no such network; it has " \
        --interface nowhere0,nowhere1 doctor
else
    skip "a network that there is not" "this system does not tell its networks"
fi
refused "a folder in place of the program" 64 "--program $TMPDIR: there is no such program" --program "$TMPDIR" doctor
refused "slots" 64 "--hosts: \"nd0:x\": expected HOST or HOST:RANKS" --hosts nd0:x doctor
refused "a host like an option" 64 "--hosts: \"-oProxyCommand=x\" is no name of a host" --hosts=-oProxyCommand=x doctor
refused "too many ranks" 64 "4 ranks are wanted, and there is room for 3: nd0 2, nd1 1" -n 4 --hosts nd0:2,nd1 doctor
for n in 0 x -1 ""; do
    refused "-n '$n'" 64 "-n $n: expected a number of ranks" -n "$n" doctor
done
refused "two sources" 64 "--hosts and --hostfile: give one of them" --hosts a --hostfile b doctor
refused "an unknown option" 64 "unknown option --host" --host a doctor
refused "no command" 64 "no command: run, score, doctor, bench or topo"
refused "looking and not looking" 64 "--check and --no-check: give one of them" --check --no-check doctor
refused "looking, and only showing what would be done" 64 "--check and --dry-run: give one of them" \
    --dry-run --check doctor
refused "two cluster files" 64 "--cluster comes before doctor or after it" --cluster places doctor --cluster=empty
refused "a switch with a value" 64 "unknown option --srun=yes" --srun=yes doctor
dry "another name of --ranks" "# ranks of each node: localhost 2
mpirun -n 2 program doctor" --np=2 doctor
refused "no value" 64 "--hosts needs a value" --hosts
refused "a name of a variable" 64 "--env 1=2: 1 is no name of a variable" --env 1=2 doctor
MPIRUN=absent refused "no mpirun" 71 "absent is not in the PATH" doctor
launch --help
is "--help: exit code" "$rc" 0
for option in --hosts --hostfile --cluster --slurm "-n, --ranks" --per-node --srun --interface --env --program --check \
    --no-check --dry-run; do
    has "--help: $option" "$(cat out)" "  $option"
done
is "no folders are left" "$(ls "$TMPDIR")" ""
done_testing
