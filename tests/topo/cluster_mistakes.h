/* SPDX-License-Identifier: Apache-2.0
 * cluster_mistakes.h - lines of tests/topo/cluster.c's base in another form, and all that is said then: place by place
 */
{4, "  nvl4:\t{class: nvlink}", ""},
    {4, "  nvl4: {class: nvlink, bw: 25 GB/s",
     "c:5:8: error: YAML: did not find expected ',' or '}'\n"
     "c:4:9: note: while parsing a flow mapping that begins here\n"
     "c:4:29: note: what was understood last is here\n"},
    {4, "\tnvl4: {class: nvlink}",
     "c:4:1: error: YAML: found character that cannot start any token\n"
     "c:4:1: note: while scanning for the next token that begins here\n"
     "c:3:1: note: what was understood last is here\n"},
    {5, "  nvl4: {class: pcie, bw: 63 GB/s}",
     "c:5:3: error: duplicate key 'nvl4'\n"
     "c:4:3: note: it is here already\n"
     "c:17:51: error: no link type 'pcie5'\n"
     "c:6:3: note: the nearest is 'upi', defined here\n"
     "c:18:47: error: no link type 'pcie5'\n"
     "c:6:3: note: the nearest is 'upi', defined here\n"},
    {2, "naem: small", "c:2:1: error: unknown key 'naem' in a cluster file, did you mean 'name'?\n"},
    {2, "frobnicate: small", "c:2:1: error: unknown key 'frobnicate' in a cluster file\n"},
    {5, "  pcie5: {clas: pcie, bw: 63 GB/s}",
     "c:5:10: error: a link type needs 'class'\n"
     "c:5:11: error: unknown key 'clas' in a link type, did you mean 'class'?\n"},
    {10, NULL,
     "c:10:11: error: expected a map for a node type, found text\n"
     "c:11:14: error: expected a map for a node type, found a list\n"
     "c:12:15: error: expected a map for a node type, found a list\n"
     "c:13:11: error: expected a map for a node type, found a list\n"
     "c:15:7: error: expected a map for a node type, found a list\n"
     "c:19:32: error: no node type 'box'\n"
     "c:10:5: note: the nearest is 'numa', defined here\n"},
    {12, NULL,
     "c:12:21: error: switch 'nvs0' has no links\n"
     "c:15:16: error: no device, switch or NIC 'gpu0' in the node\n"
     "c:12:21: note: the nearest is 'nvs0', defined here\n"
     "c:16:16: error: no device, switch or NIC 'gpu0' in the node\n"
     "c:12:21: note: the nearest is 'nvs0', defined here\n"},
    {20, "nodes: {name: n0, type: box}", "c:20:8: error: expected a list for 'nodes', found a map\n"},
    {3, "link_types: []",
     "c:4:3: error: YAML: did not find expected key\n"
     "c:1:1: note: while parsing a block mapping that begins here\n"
     "c:3:13: note: what was understood last is here\n"},
    {8, "device_types: {h100: {kind: [gpu]}}", "c:8:29: error: expected text for 'kind', found a list\n"},
    {5, "  pcie5: {class: pcie, bw: 63}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found '63', a number without unit\n"},
    {5, "  pcie5: {class: pcie, bw: 63 GB}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found '63 GB', which is an amount of memory\n"},
    {5, "  pcie5: {class: pcie, bw: 63 GBs}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found '63 GBs', unknown unit 'GBs', did you mean 'GB/s'?\n"},
    {5, "  pcie5: {class: pcie, bw: fast}", "c:5:28: error: expected a bandwidth such as 25 GB/s, found 'fast'\n"},
    {7, "  ndr: {class: ib, bw: 400 GB/s, latency: 2 us}",
     "c:7:24: warning: 400 GB/s on a link of class ib is more than any port has; did you mean Gb/s?\n"},
    {5, "  pcie5: {class: pcie, bw: -63 GB/s}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found '-63 GB/s', which is negative\n"},
    {5, "  pcie5: {class: pcie, bw: 0 GB/s}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found '0 GB/s', which is zero; leave out what is not "
     "known\n"},
    {5, "  pcie5: {class: pcie, bw: nan GB/s}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found 'nan GB/s'\n"},
    {5, "  pcie5: {class: pcie, bw: 1e999 GB/s}",
     "c:5:28: error: expected a bandwidth such as 25 GB/s, found '1e999 GB/s', which is out of any range\n"},
    {4, "  nvl4: {class: nvlink, bw: 25 GB/s, efficiency: 1.5}",
     "c:4:50: error: expected a number above 0, at most 1, found '1.5'\n"},
    {5, "  pcie5: {class: pci, bw: 63 GB/s}",
     "c:5:18: error: unknown class 'pci', did you mean 'pcie'? (there are nvlink, c2c, memory, shm, pcie, smp, ib, "
     "ethernet)\n"},
    {12, "    devices: [{id: \"gpu[0-3]\", type: h10, numa: [0, 0, 1, 1]}]",
     "c:12:38: error: no device type 'h10'\n"
     "c:8:16: note: the nearest is 'h100', defined here\n"},
    {16, "      - {from: \"gpu[0-3]\", to: nvs0, type: nvl5, count: 18}",
     "c:16:44: error: no link type 'nvl5'\n"
     "c:4:3: note: the nearest is 'nvl4', defined here\n"},
    {20, "nodes: [{name: \"n[0-1]\", type: bocks}]",
     "c:20:32: error: no node type 'bocks'\n"
     "c:10:3: note: the nearest is 'box', defined here\n"},
    {12, "    devices: [{id: \"gpu[3-1]\", type: h100, numa: [0, 0, 1, 1]}]",
     "c:12:25: error: bad range 'gpu[3-1]': it runs backwards\n"},
    {12, "    devices: [{id: \"gpu[0-3\", type: h100, numa: [0, 0, 1, 1]}]",
     "c:12:20: error: bad range 'gpu[0-3': a bracket is not closed\n"},
    {20, "nodes: [{name: \"n[00-1]\", type: box}]",
     "c:20:19: error: bad range 'n[00-1]': both ends of a span need the same number of digits when one begins with "
     "0\n"},
    {12, "    devices: [{id: \"gpu[0-3]\", type: h100, numa: [0, 0, 1]}]",
     "c:12:50: error: expected 4 values, one for each id, found 3\n"},
    {12, "    devices: [{id: \"gpu[0-x]\", type: h100, numa: [0, 0, 1, 1]}]",
     "c:12:27: error: bad range 'gpu[0-x]': expected a number\n"},
    {17, "      - {zip: [\"gpu[0-3]\", \"plx[0-1]\"], type: pcie5}",
     "c:17:28: error: zip of 4 with 2: 'gpu[0-3]' and 'plx[0-1]' have not the same number of names\n"
     "c:17:16: note: 4 names here\n"},
    {16, "      - {from: \"gpu[0-4]\", to: nvs0, type: nvl4, count: 18}",
     "c:16:16: error: no device, switch or NIC 'gpu4' in the node\n"
     "c:12:20: note: the nearest is 'gpu0', defined here\n"},
    {13, "    switches: [{id: nvs1, kind: nvswitch}, {id: \"plx[0-1]\", kind: pcie, numa: \"[0-1]\"}]",
     "c:13:21: error: switch 'nvs1' has no links\n"
     "c:16:32: error: no device, switch or NIC 'nvs0' in the node\n"
     "c:13:21: note: the nearest is 'nvs1', defined here\n"},
    {19, "      - {from: numa0, to: numa0, type: upi}", "c:19:27: error: a link from 'numa0' to itself\n"},
    {18, "      - {zip: [\"gpu[2-3]\", \"plx[1,1]\"], type: pcie5, count: 2}",
     "c:18:9: error: a second link of class pcie between 'gpu2' and 'plx1', with other values\n"
     "c:17:9: note: n0.gpu2 to n0.plx1 is here already\n"},
    {12, "    devices: [{id: \"gpu[0-3]\", type: h100, numa: [0, 0, 1, 2]}]",
     "c:12:60: error: no NUMA node 2: the node has 2\n"
     "c:11:11: note: as it says here\n"},
    {11, "    numa: 1",
     "c:12:57: error: no NUMA node 1: the node has 1\n"
     "c:11:11: note: as it says here\n"
     "c:13:79: error: no NUMA node 1: the node has 1\n"
     "c:11:11: note: as it says here\n"
     "c:19:27: error: no device, switch or NIC 'numa1' in the node\n"
     "c:11:11: note: the nearest is 'numa0', defined here\n"},
    {12, "    devices: [{id: \"gpu[0-3]\", type: h100}]",
     "c:12:15: error: a device needs 'numa' in a node with several NUMA nodes\n"
     "c:11:11: note: their number is said here\n"},
    {16, "      - {from: \"gpu[0-3]\", to: nvs0, type: nvl4, count: 19}",
     "c:12:20: warning: 'gpu0' has 19 lanes of NVLink, and a GPU with sm 90 has at most 18\n"
     "c:16:9: note: the first of them are here\n"},
    {16, "      - {from: numa0, to: numa1, type: pcie5}", "c:13:21: error: switch 'nvs0' has no links\n"},
    {16, NULL, "c:13:21: error: switch 'nvs0' has no links\n"},
    {21, NULL,
     "c:21:3: error: YAML: did not find expected key\n"
     "c:1:1: note: while parsing a block mapping that begins here\n"
     "c:20:32: note: what was understood last is here\n"},
    {22, NULL, "c:21:9: error: expected a list for 'fabrics', found nothing\n"},
    {22, "  - {name: ib, kind: rail, rails: 2, port: ndr, members: \"n[0-1].nic[0-1]\"}", ""},
    {5, "  pcie5: {class: pcie}",
     "c:5:3: error: the path from 'n0.gpu0' to 'n1.gpu0' needs the bandwidth of 'pcie5', which is unknown\n"
     "c:17:9: note: such a link is here\n"},
    {7, "  ndr: {class: ib}",
     "c:7:3: error: the path from 'n0.gpu0' to 'n1.gpu0' needs the bandwidth of 'ndr', which is unknown\n"
     "c:22:12: note: such a link is here\n"},
    {22, "  - {name: ib, kind: rail, rails: 3, port: ndr, members: \"n[0-1].nic[0-1]\"}",
     "c:22:35: error: 3 rails, and node 'n0' has 2 NICs in this fabric\n"
     "c:14:17: note: its NICs are defined here\n"},
    {22, "  - {name: ib, kind: rail, rails: 2, port: ndr, members: [\"n[0-1].nic[0-1]\", n0.nic0]}",
     "c:22:58: error: 'n0.nic0' is in this fabric twice\n"},
    {22,
     "  - {name: ib, kind: rail, rails: 2, port: ndr, members: \"n[0-1].nic[0-1]\"}\n  - {name: lan, kind: fat_tree, "
     "port: ndr, members: n1.nic1}",
     "c:23:53: error: 'n1.nic1' is in two fabrics\n"
     "c:22:12: note: it is in 'ib' already\n"},
    {22, "  - {name: ib, kind: rail, rails: 2, port: nvl4, members: \"n[0-1].nic[0-1]\"}",
     "c:22:44: error: the port of a rail is of class ib or ethernet, and 'nvl4' is of class nvlink\n"
     "c:4:3: note: it is defined here\n"},
    {22, "  - {name: ib, kind: rail, rails: 2, port: ndr, members: \"n[0-2].nic[0-1]\"}",
     "c:22:58: error: no node 'n2'\n"
     "c:20:16: note: the nearest is 'n0', defined here\n"},
    {22, "  - {name: ib, kind: rail, rails: 2, port: ndr, members: \"n[0-1].gpu[0-1]\"}",
     "c:22:58: error: a member of a rail is a NIC, and 'n0.gpu0' is of kind gpu\n"
     "c:12:20: note: it is defined here\n"},
    {22, "  - {name: ib, kind: fat_tree, rails: 2, port: ndr, members: \"n[0-1].nic[0-1]\"}",
     "c:22:39: error: 'rails' does not go with a fabric of kind fat_tree\n"},
    {14, "    nics: [{id: \"nic[0-1]\", rail: \"[1-2]\", port: ndr}]",
     "c:14:35: error: no rail 2: 'ib' has 2, from 0\n"
     "c:22:35: note: the fabric is here\n"},
    {14, "    nics: [{id: \"nic[0-1]\", rail: \"[0-1]\", port: upi}]",
     "c:14:50: error: the port of a NIC is of class ib or ethernet, and 'upi' is of class smp\n"
     "c:6:3: note: it is defined here\n"},
    {20, "nodes: [{name: \"n[0-1]\", type: box}, {name: n1, type: box}]",
     "c:20:45: error: a second node 'n1'\n"
     "c:20:16: note: the first one is here\n"},
    {23, "ranks: {count: 9}",
     "c:23:16: error: more ranks than devices: 9 ranks, 8 devices\n"
     "c:12:20: note: the first one is defined here\n"},
    {23, "ranks: {map: [\"n0.gpu[0-3]\", n0.gpu2]}",
     "c:23:14: error: more ranks than devices: rank 2 has 'n0.gpu2' already, rank 4 cannot have it too\n"},
    {23, "ranks: {map: [n0.nic1]}",
     "c:23:14: error: a rank runs on a GPU or CPU device, and 'n0.nic1' is of kind nic\n"
     "c:14:17: note: it is defined here\n"},
    {23, "include: [none.yaml]", "c:23:11: error: none.yaml: cannot open: No such file or directory\n"},
    {1, "switchyard_cluster: 2",
     "c:1:21: error: this is version 2 of the format, and this program reads up to version 1\n"},
    {1, NULL, "c:1:1: error: a cluster file needs 'switchyard_cluster: 1'\n"},
    {1, "switchyard_cluster: one", "c:1:21: error: expected a whole number from 1 to 2147483647, found 'one'\n"},
    {23, "policy: {discover: maybe}", "c:23:20: error: unknown policy 'maybe' (there are fill, verify, off)\n"},
    {2, "name: !!str small", "c:2:7: error: tags ('!') are not understood here\n"},
    {2, "name: &a small\n<<: *a", "c:3:1: error: merge keys ('<<') are not understood here; write the values out\n"},
    {2, "name: *b", "c:2:7: error: no anchor '&b' before this\n"},
    {23, "---\nname: other", "c:23:1: error: a second document; a file describes one cluster\n"},
    {23, "[a]: b", "c:23:1: error: expected a key, found a list\n"},
    {10, "  box: {base: box}\n  bax:",
     "c:10:15: error: 'box' is its own base\n"
     "c:10:3: note: it is defined here\n"},
    {10, "  tin: {base: box, replace: {device_type: {h100: h300}}}\n  box:",
     "c:10:50: error: no device type 'h300'\n"
     "c:8:16: note: the nearest is 'h100', defined here\n"},
    {12, "    devices: [{id: \"gpu[0-3]\", type: h100, numa: [0, 0, 1, 1]}, {id: gpu3, type: h100, numa: 0}]",
     "c:12:70: error: a second 'gpu3' in the node\n"
     "c:12:20: note: the first one is here\n"},
    {12, "    devices: [{id: \"gpu 0\", type: h100, numa: 0}]", "c:12:20: error: 'gpu 0' is no name: it has a blank\n"},
    {16, "      - {from: \"gpu[0-3]\", type: nvl4, count: 18}",
     "c:16:9: error: a link has either 'from' and 'to', or 'zip', or 'mesh'\n"},
    {16, "      - {from: \"gpu[0-3]\", to: nvs0, type: nvl4, count: many}",
     "c:16:57: error: expected a whole number from 1 to 4096, found 'many'\n"},
    {20, "nodes: [{name: \"n[0-1]\", type: box, set: {gpu0: {pci: \"0000:19:00.0\"}, gpu7: {uuid: x}}}]",
     "c:20:72: error: no device, switch or NIC 'gpu7' in the node\n"
     "c:12:20: note: the nearest is 'gpu0', defined here\n"},
    {20, "nodes: [{name: n[0-1], type: box}]",
     "c:20:17: error: YAML: did not find expected ',' or '}'\n"
     "c:20:9: note: while parsing a flow mapping that begins here\n"
     "c:20:17: note: a range needs quotes here, as in \"n[0-3]\"\n"},
    {22, "  - {name: ib, type: rail, rails: 2, port: ndr, members: \"n[0-1].nic[0-1]\"}",
     "c:22:5: error: a fabric needs 'kind'\n"
     "c:22:16: error: unknown key 'type' in a fabric\n"},
    {12, "    devices: [{id: \"gpu[0-3]\", type: H100, numa: [0, 0, 1, 1]}]",
     "c:12:38: error: no device type 'H100'\n"
     "c:8:16: note: the nearest is 'h100', defined here\n"},
    {8, "device_types: {h100: {kind: GPU}}",
     "c:8:29: error: unknown kind of device 'GPU', did you mean 'gpu'? (there are gpu, cpu)\n"},
    {20, "nodes: []", "c:20:8: error: a cluster needs 'nodes'\n"},
    {20, "nodes: [{name: \"n[0-1]\", type: box, host: [a, b, c]}]",
     "c:20:43: error: expected 2 values, one for each id, found 3\n"},
