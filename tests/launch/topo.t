#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# topo.t - switchyard topo: this machine, machines of a fake management library, files of other programs, and what it writes

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

recorded=$SY_SRCDIR/tests/data/nvml

# With the GPUs of a recorded machine. The fake library is not built with a sanitizer, and needs none.
as() { # MACHINE ARGUMENT...
    FAKE_NVML=$recorded/$1
    shift
    export FAKE_NVML
    LD_LIBRARY_PATH=$SY_BUILDDIR/tests/topo/fake${saved_path:+:$saved_path}
    export LD_LIBRARY_PATH
    switchyard "$@"
    LD_LIBRARY_PATH=$saved_path
}
saved_path=${LD_LIBRARY_PATH:-}

squeeze() {
    tr -s ' ' <"$SY_TMP/out"
}

# ---- this machine ----

as none topo
is "this machine: exit code" "$rc" 0
has "its name" "$(cat "$SY_TMP/out")" "node $(hostname | cut -d . -f 1)"
has "its CPUs" "$(squeeze)" " cpu0 "
has "ranks run on CPUs" "$(head -n 1 "$SY_TMP/out")" "1 node, 0 GPUs"
is "nothing is odd" "$(cat "$SY_TMP/err")" ""

# ---- with GPUs ----

as hgx-h200 topo
is "with 8 GPUs: exit code" "$rc" 0
has "they are one NVLink domain" "$(head -n 1 "$SY_TMP/out")" "1 node, 8 GPUs in 1 NVLink domain, 8 ranks"
has "a GPU" "$(squeeze)" \
    "gpu5 at 0000:ab:00.0 NVIDIA H200, sm 90, 150.8 GB, PCIe 63.02 GB/s, 18 NVLinks 450 GB/s to nvs0 nvs1 nvs2 nvs3"
is "56 cells of the matrix are NV18" "$(grep '^GPU' "$SY_TMP/out" | grep -o NV18 | wc -l | tr -d ' ')" 56

as h200-one-lost topo
is "a GPU without its links: exit code" "$rc" 0
has "is said" "$(cat "$SY_TMP/err")" "error: GPU 0000:ab:00.0 has 0 NVLinks up where equal GPUs have 18"
has "and goes another way" "$(squeeze)" "GPU5 SYS SYS SYS SYS NODE X NODE NODE"

as vm-x1 topo
has "an emulated port is said" "$(cat "$SY_TMP/err")" "2.5 GT/s x1"
as not-loaded topo
is "a driver that is not loaded is no error" "$rc" 0

# ---- beside nvidia-smi, where there is a driver ----

# Rows of GPUs: how each reaches the others, CPUs and NUMA node. The last column of nvidia-smi's is left out.
rows() {
    tr -d '\033' | tr '\t' ' ' | tr -s ' ' | sed -n 's/ *$//; s/ N\/A$//; /^GPU[0-9]* .*[0-9]$/p'
}
if nvidia-smi topo -m >"$SY_TMP/smi" 2>/dev/null; then
    switchyard topo
    rows <"$SY_TMP/smi" >"$SY_TMP/smi.rows"
    ok "nvidia-smi topo -m has rows of GPUs" test -s "$SY_TMP/smi.rows"
    is "the matrix is that of nvidia-smi topo -m, line by line" "$(rows <"$SY_TMP/out")" "$(cat "$SY_TMP/smi.rows")"
    nvidia-smi nvlink -s 2>/dev/null | awk '/^GPU [0-9]/ { sub(":", "", $2); gpu = $2; n[gpu] += 0 }
        /Link [0-9]+: [0-9.]+ GB/ { n[gpu]++ }
        END { for (gpu in n) if (n[gpu]) print "gpu" gpu, n[gpu] }' | sort >"$SY_TMP/smi.links"
    sed -n 's/^ *\(gpu[0-9]*\) at .* \([0-9][0-9]*\) NVLinks .*/\1 \2/p' "$SY_TMP/out" | sort >"$SY_TMP/links"
    is "the NVLinks are those of nvidia-smi nvlink -s" "$(cat "$SY_TMP/links")" "$(cat "$SY_TMP/smi.links")"
else
    skip "the matrix is that of nvidia-smi topo -m" "there is no nvidia-smi, or no driver"
    skip "the NVLinks are those of nvidia-smi nvlink -s" "there is no nvidia-smi, or no driver"
fi

# ---- beside what nvidia-smi said on a real HGX H200, whose dump lacks the NIC at each switch ----

published=${SY_TOPOLOGIES:-$SY_SRCDIR/../shared/reference/topologies}/simllm-vastai-hgx-h200-8x
if [ -r "$published.topo-m.txt" ]; then
    awk '{ print } /<\/gpu>/ { inside = 1 }
        inside && /<\/pci>/ {
            inside = 0
            printf "<pci busid=\"00%d:00:00.0\" class=\"0x020700\">", 10 + n
            printf "<nic><net name=\"mlx5_%d\"/></nic></pci>\n", n++
        }' "$published.nccl_topo.xml" >"$SY_TMP/hgx.xml"
    switchyard topo --import-nccl "$SY_TMP/hgx.xml"
    is "a real HGX H200: exit code" "$rc" 0
    rows <"$published.topo-m.txt" >"$SY_TMP/smi.rows"
    is "a real HGX H200: 8 rows" "$(wc -l <"$SY_TMP/smi.rows" | tr -d ' ')" 8
    is "a real HGX H200: the matrix is that of nvidia-smi topo -m, line by line" "$(rows <"$SY_TMP/out")" \
        "$(cat "$SY_TMP/smi.rows")"
else
    skip "a real HGX H200" "$published.topo-m.txt is not here"
fi

# ---- several ranks ----

switchyard_ranks 2 topo
is "two ranks of one machine: exit code" "$rc" 0
has "are one node" "$(head -n 1 "$SY_TMP/out")" "1 node, "
is "which is said once" "$(grep -c '^node ' "$SY_TMP/out")" 1

# ---- what is written, read again ----

as a100-4 topo --nccl-xml "$SY_TMP/a100.xml"
is "NCCL's XML: exit code" "$rc" 0
switchyard topo --import-nccl "$SY_TMP/a100.xml" --nccl-xml "$SY_TMP/again.xml"
is "it is read again: exit code" "$rc" 0
ok "and written again it is the same" cmp "$SY_TMP/a100.xml" "$SY_TMP/again.xml"
has "with 4 links a pair" "$(squeeze)" "GPU1 NV4 X NV4 NV4"
as a100-4 topo --nccl-xml -
ok "- is standard output, and nothing else is there" cmp "$SY_TMP/a100.xml" "$SY_TMP/out"
as none topo --hwloc-xml "$SY_TMP/here.xml"
is "hwloc's XML: exit code" "$rc" 0
switchyard topo --import-hwloc "$SY_TMP/here.xml"
is "it is read again: exit code" "$rc" 0
has "as the same machine" "$(cat "$SY_TMP/out")" "node $(hostname | cut -d . -f 1)"

as hgx-h200 topo --yaml "$SY_TMP/hgx.yaml"
is "a cluster file is written: exit code" "$rc" 0
has "with sources" "$(cat "$SY_TMP/hgx.yaml")" "# discovered"
cp "$SY_TMP/out" "$SY_TMP/shown"
switchyard topo --cluster "$SY_TMP/hgx.yaml"
is "and read again: exit code" "$rc" 0
is "as the same tree" "$(sed -n '/^  numa0/,/^$/p' "$SY_TMP/out")" "$(sed -n '/^  numa0/,/^$/p' "$SY_TMP/shown")"

as hgx-h200 topo --check "$SY_TMP/hgx.yaml"
is "a file that was written is held against the same machine: exit code" "$rc" 0
has "and agrees" "$(cat "$SY_TMP/err")" "hgx.yaml says of these machines what was found"
sed 's/mem: [0-9]* .*B  # discovered/mem: 1 GB/; /sm: 90/s/90/80/' "$SY_TMP/hgx.yaml" >"$SY_TMP/other.yaml"
as hgx-h200 topo --check "$SY_TMP/other.yaml"
is "one that says other things: exit code" "$rc" 65
has "and where" "$(cat "$SY_TMP/err")" "other.yaml:$(grep -n 'sm: 80' "$SY_TMP/other.yaml" | cut -d : -f 1):"
as a100-4 topo --check "$SY_TMP/hgx.yaml"
is "against another machine: exit code" "$rc" 65
switchyard topo --cluster "$SY_TMP/hgx.yaml" --check "$SY_TMP/hgx.yaml"
is "against itself: exit code" "$rc" 64

# ---- a cluster file ----

switchyard topo --cluster "$SY_SRCDIR/topo/clusters/h200-4x8.yaml"
is "a cluster file: exit code" "$rc" 0
has "nodes that are alike are shown once" "$(cat "$SY_TMP/out")" "nodes n0, n1, n2, n3 (4, alike)"
has "and their network" "$(cat "$SY_TMP/out")" "network ib: rail, 32 ports of 400 Gb/s, 8 rails"
switchyard topo --cluster "$SY_SRCDIR/topo/clusters/gb200-nvl72.yaml" --svg -
is "a picture: exit code" "$rc" 0
has "is SVG" "$(head -n 1 "$SY_TMP/out")" "<svg xmlns="
has "and names the nodes" "$(cat "$SY_TMP/out")" ">t00, t01, t02, ..., t17: 18 nodes</text>"
printf 'switchyard_cluster: 1\nnodes: [{name: a, type: b}]\n' >"$SY_TMP/wrong.yaml"
switchyard topo --cluster "$SY_TMP/wrong.yaml"
is "a wrong one: exit code" "$rc" 65
has "and its place" "$(cat "$SY_TMP/err")" "wrong.yaml:2:25: error: "

# ---- what cannot be ----

printf '<system version="1">\n<cpu numaid="0">\n<gpu/></cpu></system>\n' >"$SY_TMP/wrong.xml"
switchyard topo --import-nccl "$SY_TMP/wrong.xml"
is "a wrong file of NCCL: exit code" "$rc" 65
has "its place" "$(cat "$SY_TMP/err")" "wrong.xml:3:1: error: <gpu> outside a <pci>"
has "and the end" "$(cat "$SY_TMP/err")" "wrong.xml is not read: 1 error"
is "nothing is shown of it" "$(cat "$SY_TMP/out")" ""
switchyard topo --import-hwloc "$SY_TMP/wrong.xml"
is "the same as a file of hwloc: exit code" "$rc" 65
has "and what it is" "$(cat "$SY_TMP/err")" "this is a topology of NCCL (--import-nccl)"
switchyard topo --import-nccl "$SY_TMP/absent.xml"
is "a file that is not there: exit code" "$rc" 74
switchyard topo --import-nccl a --cluster b
is "two sources: exit code" "$rc" 64
switchyard topo --cluster b --hwloc-xml c
is "hwloc's XML of a file: exit code" "$rc" 64
for files in "--yaml - --svg -" "--places --yaml -" "--hwloc-xml same --nccl-xml same" "--check same --yaml same"; do
    # shellcheck disable=SC2086 # options
    switchyard topo $files
    is "$files: exit code" "$rc" 64
    has "$files" "$(cat "$SY_TMP/err")" " takes only one of them"
    is "$files: nothing is shown" "$(cat "$SY_TMP/out")" ""
done
switchyard topo --cluster "$SY_TMP"
is "a folder in place of a cluster file: exit code" "$rc" 74
has "is said once" "$(cat "$SY_TMP/err")" "switchyard: $SY_TMP: cannot open: Is a directory"
as none topo --nccl-xml "$SY_TMP/no/such/folder"
is "a file that cannot be written: exit code" "$rc" 74

done_testing
