# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# slurm.sh - a real Slurm on the nodes of tests/net/net.sh; for sourcing after it and tests/launch/job.sh
#
#   slurm_up       start it on all nodes; 1 with the reason in $net_why where that does not work
#   slurm COMMAND  one of Slurm's commands on node 0, with a time limit
#   slurm_down     end it
#
# All of its files are in $SY_TMP/slurm. Of that, local is another folder on each node, as /tmp is on a cluster.

slurm_dir=$SY_TMP/slurm
slurm_pids=

slurm_conf() {
    # shellcheck disable=SC2154 # of net.sh
    cat <<END
ClusterName=test
SlurmctldHost=nd0(10.77.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$slurm_dir/munge.socket,cred_expire=5
SlurmctldPidFile=$slurm_dir/run/slurmctld.pid
SlurmdPidFile=$slurm_dir/run/%n.pid
SlurmctldLogFile=$slurm_dir/log/slurmctld
SlurmdLogFile=$slurm_dir/log/%n
StateSaveLocation=$slurm_dir/state
SlurmdSpoolDir=$slurm_dir/spool/%n
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1
ReturnToService=2
SlurmdTimeout=10
KillWait=2
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
NodeName=nd[0-$((net_n - 1))] CPUs=4 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
}

# munged wants a key that nobody else can read, and says nothing before it serves.
slurm_munge() {
    (umask 077 && head -c 1024 /dev/urandom >"$slurm_dir/key") &&
        net_quietly munged --force --key-file="$slurm_dir/key" --socket="$slurm_dir/munge.socket" \
            --pid-file="$slurm_dir/run/munged.pid" --log-file="$slurm_dir/log/munged" --seed-file="$slurm_dir/seed"
}

slurm_up() {
    for slurm_tool in slurmctld slurmd munged sbatch srun scontrol; do
        command -v $slurm_tool >/dev/null || {
            # shellcheck disable=SC2034 # for tests
            net_why="$slurm_tool is not installed"
            return 1
        }
    done
    for slurm_folder in state log run local; do
        mkdir -p "$slurm_dir/$slurm_folder"
    done
    SLURM_CONF=$slurm_dir/slurm.conf
    export SLURM_CONF
    slurm_conf >"$SLURM_CONF"
    # Of cgroups nothing is used, but slurmd looks for them.
    echo "CgroupPlugin=cgroup/v1" >"$slurm_dir/cgroup.conf"
    echo "PMIxCliTmpDirBase=$slurm_dir/local" >"$slurm_dir/mpi.conf"
    slurm_munge || {
        net_failed "munged does not start here"
        return
    }
    net_quietly net_on 0 slurmctld || {
        net_failed "slurmctld does not start here"
        return
    }
    for slurm_i in $(seq 0 $((net_n - 1))); do
        mkdir -p "$slurm_dir/spool/nd$slurm_i"
        if ! net_quietly net_on "$slurm_i" mount -t tmpfs none "$slurm_dir/local" ||
            ! net_quietly net_on "$slurm_i" slurmd -N "nd$slurm_i"; then
            net_failed "slurmd does not start on node $slurm_i"
            return
        fi
    done
    wait_for 20 slurm_idle || {
        # shellcheck disable=SC2034 # for tests
        net_why="the nodes of Slurm are not idle: $(slurm sinfo -h -N -o '%N %T' | paste -sd , -)"
        return 1
    }
}

slurm_idle() { # all nodes are
    [ "$(slurm sinfo -h -t idle -o %D)" = "$net_n" ]
}

# Jobs get the environment of sbatch. Daemons of mpirun are started by srun, and not by the agent of net.sh.
slurm() {
    net_on 0 env -u OMPI_MCA_plm_rsh_agent -u MPIRUN TMPDIR="$slurm_dir/local" timeout -k 5 30 "$@"
}

# The controller saves its state before it ends.
slurm_down() {
    for slurm_pid in "$slurm_dir"/run/*.pid; do
        slurm_pids="$slurm_pids $(cat "$slurm_pid")"
    done
    # shellcheck disable=SC2086 # numbers
    kill $slurm_pids
    for slurm_pid in $slurm_pids; do
        wait_for 10 sh -c '! kill -0 $0 2>/dev/null' "$slurm_pid" || kill -9 "$slurm_pid"
    done
}

slurm_submit() { # ARGUMENT...: of sbatch; the job's number
    slurm sbatch --parsable "$@"
}
