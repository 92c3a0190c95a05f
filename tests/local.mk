# SPDX-License-Identifier: Apache-2.0
# tests/local.mk - every test speaks TAP and is started by tests/run.sh
#
# A test in C is one line in a list below and its sources, for example
#     sy_unit_tests += %D%/unit/options.t
#     tests_unit_options_t_SOURCES = %D%/unit/options.c
# It is linked with tests/tap.c and everything but src/cli/main.c. A name that ends in .npN.t runs on N ranks; its variable is
# spelt tests_mpi_NAME_np2_t_SOURCES. A shell test is an executable file NAME.t in a list.

sy_unit_tests =
# Tests of 2 ranks, which are also run with sanitizers and valgrind.
sy_np2_tests =
# Other numbers of ranks, and tests that take too long under valgrind.
sy_mpi_tests =
# Shell tests: whole runs of the program. The light ones are also run with sanitizers.
sy_shell_tests =
sy_shell_tests_light = \
	%D%/launch/runner.t \
	%D%/launch/setup.t

# Groups of ranks and transports.
sy_np2_tests += %D%/mpi/group.np2.t %D%/mpi/transport.np2.t %D%/mpi/windows.np2.t
sy_mpi_tests += %D%/mpi/group.np1.t %D%/mpi/group.np5.t %D%/mpi/group.np8.t \
	%D%/mpi/transport.np1.t %D%/mpi/transport.np3.t %D%/mpi/transport.np4.t %D%/mpi/transport.np5.t \
	%D%/mpi/transport.np6.t %D%/mpi/transport.np7.t %D%/mpi/transport.np8.t \
	%D%/mpi/transport.np16.t \
	%D%/mpi/windows.np1.t %D%/mpi/windows.np4.t %D%/mpi/windows.np8.t
tests_mpi_group_np1_t_SOURCES = %D%/mpi/group.c
tests_mpi_group_np2_t_SOURCES = %D%/mpi/group.c
tests_mpi_group_np5_t_SOURCES = %D%/mpi/group.c
tests_mpi_group_np8_t_SOURCES = %D%/mpi/group.c
tests_mpi_transport_np1_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np2_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np3_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np4_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np5_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np6_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np7_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np8_t_SOURCES = %D%/mpi/transport.c
tests_mpi_transport_np16_t_SOURCES = %D%/mpi/transport.c
tests_mpi_windows_np1_t_SOURCES = %D%/mpi/windows.c %D%/mpi/lender.h %D%/mpi/courier.h
tests_mpi_windows_np2_t_SOURCES = %D%/mpi/windows.c %D%/mpi/lender.h %D%/mpi/courier.h
tests_mpi_windows_np4_t_SOURCES = %D%/mpi/windows.c %D%/mpi/lender.h %D%/mpi/courier.h
tests_mpi_windows_np8_t_SOURCES = %D%/mpi/windows.c %D%/mpi/lender.h %D%/mpi/courier.h
sy_mpi_tests += %D%/mpi/overdue.np3.t
tests_mpi_overdue_np3_t_SOURCES = %D%/mpi/overdue.c %D%/mpi/courier.h %D%/mpi/lender.h
sy_shell_tests_light += %D%/mpi/fault.t
sy_shell_tests += %D%/mpi/ucx_shm.t %D%/mpi/ucx_tcp.t
EXTRA_DIST += %D%/mpi/ucx.sh
check_PROGRAMS += %D%/mpi/fault_job
tests_mpi_fault_job_SOURCES = %D%/mpi/fault_job.c
sy_shell_tests_light += %D%/mpi/device_fault.t
check_PROGRAMS += %D%/mpi/device_fault
tests_mpi_device_fault_SOURCES = %D%/mpi/device_fault.c

# The heart and the engine.
sy_unit_tests += %D%/unit/plan.t %D%/unit/replay.t %D%/unit/sampler.t %D%/unit/scheduler.t
tests_unit_plan_t_SOURCES = %D%/unit/plan.c
tests_unit_replay_t_SOURCES = %D%/unit/replay.c
tests_unit_sampler_t_SOURCES = %D%/unit/sampler.c
tests_unit_scheduler_t_SOURCES = %D%/unit/scheduler.c
sy_np2_tests += %D%/mpi/sharding.np2.t %D%/mpi/golden.np2.t %D%/mpi/load.np2.t
sy_mpi_tests += %D%/mpi/sharding.np1.t %D%/mpi/sharding.np5.t %D%/mpi/golden.np1.t %D%/mpi/golden.np3.t
tests_mpi_sharding_np1_t_SOURCES = %D%/mpi/sharding.c
tests_mpi_sharding_np2_t_SOURCES = %D%/mpi/sharding.c
tests_mpi_sharding_np5_t_SOURCES = %D%/mpi/sharding.c
tests_mpi_load_np2_t_SOURCES = %D%/mpi/load.c $(sy_folder)
sy_compare = %D%/mpi/compare.c %D%/mpi/compare.h
tests_mpi_golden_np1_t_SOURCES = %D%/mpi/golden.c $(sy_compare)
tests_mpi_golden_np2_t_SOURCES = %D%/mpi/golden.c $(sy_compare)
tests_mpi_golden_np3_t_SOURCES = %D%/mpi/golden.c $(sy_compare)
sy_np2_tests += %D%/mpi/landing.np2.t
sy_mpi_tests += %D%/mpi/landing.np1.t %D%/mpi/landing.np3.t
tests_mpi_landing_np1_t_SOURCES = %D%/mpi/landing.c
tests_mpi_landing_np2_t_SOURCES = %D%/mpi/landing.c
tests_mpi_landing_np3_t_SOURCES = %D%/mpi/landing.c
sy_mpi_tests += %D%/mpi/draws.np1.t
tests_mpi_draws_np1_t_SOURCES = %D%/mpi/draws.c
sy_np2_tests += %D%/mpi/ranges.np2.t
sy_mpi_tests += %D%/mpi/ranges.np1.t
tests_mpi_ranges_np1_t_SOURCES = %D%/mpi/ranges.c
tests_mpi_ranges_np2_t_SOURCES = %D%/mpi/ranges.c
sy_np2_tests += %D%/mpi/allocations.np2.t
sy_mpi_tests += %D%/mpi/allocations.np1.t %D%/mpi/allocations.np4.t
tests_mpi_allocations_np1_t_SOURCES = %D%/mpi/allocations.c
tests_mpi_allocations_np2_t_SOURCES = %D%/mpi/allocations.c
tests_mpi_allocations_np4_t_SOURCES = %D%/mpi/allocations.c
sy_mpi_tests += %D%/mpi/shapes.np3.t
tests_mpi_shapes_np3_t_SOURCES = %D%/mpi/shapes.c
sy_shell_tests_light += %D%/mpi/first_layer.t
sy_shell_tests += %D%/mpi/exact.t %D%/mpi/exact_across.t %D%/mpi/exact_families.t %D%/mpi/exact_gpus.t \
	%D%/mpi/exact_ucx.t %D%/mpi/gpu.t
EXTRA_DIST += %D%/mpi/exact.sh
check_PROGRAMS += %D%/mpi/exact_hash
tests_mpi_exact_hash_SOURCES = %D%/mpi/exact_hash.c %D%/mpi/across.h %D%/mpi/courier.h %D%/mpi/lender.h

# Machines and placement.
sy_unit_tests += %D%/topo/cgroup.t %D%/topo/cluster.t %D%/topo/discover.t %D%/topo/gpu.t %D%/topo/model.t \
	%D%/topo/placement.t %D%/topo/places.t
sy_unit_tests += %D%/topo/dump.t %D%/topo/merge.t %D%/topo/mutations.t
tests_topo_cgroup_t_SOURCES = %D%/topo/cgroup.c
tests_topo_cluster_t_SOURCES = %D%/topo/cluster.c %D%/topo/cluster_mistakes.h
tests_topo_discover_t_SOURCES = %D%/topo/discover.c
tests_topo_dump_t_SOURCES = %D%/topo/dump.c
tests_topo_merge_t_SOURCES = %D%/topo/merge.c
tests_topo_mutations_t_SOURCES = %D%/topo/mutations.c
tests_topo_gpu_t_SOURCES = %D%/topo/gpu.c
tests_topo_model_t_SOURCES = %D%/topo/model.c
tests_topo_placement_t_SOURCES = %D%/topo/placement.c
tests_topo_places_t_SOURCES = %D%/topo/places.c

# Kernels of every instruction set against the reference and against sums in double.
sy_unit_tests += %D%/kernels/across.t %D%/kernels/attention.t %D%/kernels/combine.t %D%/kernels/experts.t \
	%D%/kernels/gemm.t %D%/kernels/heads.t %D%/kernels/kv.t %D%/kernels/logits.t %D%/kernels/moe.t \
	%D%/kernels/picks.t %D%/kernels/probe.t %D%/kernels/router.t %D%/kernels/rows.t %D%/kernels/sequence.t
tests_kernels_across_t_SOURCES = %D%/kernels/across.c %D%/kernels/layer.h %D%/kernels/common.h
tests_kernels_attention_t_SOURCES = %D%/kernels/attention.c %D%/kernels/cache.h %D%/kernels/common.h
tests_kernels_combine_t_SOURCES = %D%/kernels/combine.c %D%/kernels/common.h
tests_kernels_experts_t_SOURCES = %D%/kernels/experts.c %D%/kernels/common.h
tests_kernels_gemm_t_SOURCES = %D%/kernels/gemm.c %D%/kernels/common.h
tests_kernels_heads_t_SOURCES = %D%/kernels/heads.c %D%/kernels/cache.h %D%/kernels/common.h
tests_kernels_kv_t_SOURCES = %D%/kernels/kv.c %D%/kernels/cache.h %D%/kernels/common.h
tests_kernels_picks_t_SOURCES = %D%/kernels/picks.c %D%/kernels/common.h
tests_kernels_logits_t_SOURCES = %D%/kernels/logits.c %D%/kernels/common.h
tests_kernels_moe_t_SOURCES = %D%/kernels/moe.c %D%/kernels/layer.h %D%/kernels/common.h
tests_kernels_probe_t_SOURCES = %D%/kernels/probe.c
tests_kernels_router_t_SOURCES = %D%/kernels/router.c %D%/kernels/common.h
tests_kernels_rows_t_SOURCES = %D%/kernels/rows.c %D%/kernels/common.h
tests_kernels_sequence_t_SOURCES = %D%/kernels/sequence.c %D%/kernels/cache.h %D%/kernels/common.h

# Discovery.
sy_unit_tests += %D%/topo/imports.t %D%/topo/nvml.t %D%/topo/show.t %D%/topo/view.t
tests_topo_imports_t_SOURCES = %D%/topo/imports.c %D%/topo/redump.h
tests_topo_nvml_t_SOURCES = %D%/topo/nvml.c
tests_topo_show_t_SOURCES = %D%/topo/show.c
tests_topo_view_t_SOURCES = %D%/topo/view.c %D%/topo/redump.h
# Libraries that replay the machines of data/nvml; the second one has the oldest functions only.
check_PROGRAMS += %D%/topo/fake/libnvidia-ml.so.1 %D%/topo/fake/libnvidia-ml-bare.so.1
tests_topo_fake_libnvidia_ml_so_1_SOURCES = %D%/topo/fake/nvml.c
tests_topo_fake_libnvidia_ml_so_1_CFLAGS = $(SY_CFLAGS) $(SY_WARNINGS) -fPIC
tests_topo_fake_libnvidia_ml_so_1_LDFLAGS = -shared
tests_topo_fake_libnvidia_ml_so_1_LDADD =
tests_topo_fake_libnvidia_ml_bare_so_1_SOURCES = %D%/topo/fake/nvml.c
tests_topo_fake_libnvidia_ml_bare_so_1_CPPFLAGS = $(AM_CPPFLAGS) -DBARE
tests_topo_fake_libnvidia_ml_bare_so_1_CFLAGS = $(SY_CFLAGS) $(SY_WARNINGS) -fPIC
tests_topo_fake_libnvidia_ml_bare_so_1_LDFLAGS = -shared
tests_topo_fake_libnvidia_ml_bare_so_1_LDADD =

# Checkpoints and the description of a model.
sy_unit_tests += %D%/model/safetensors.t %D%/model/checkpoint.t %D%/model/config.t %D%/model/families.t \
	%D%/model/rope.t %D%/model/bind.t %D%/model/synthetic.t %D%/model/load.t %D%/model/quantization.t \
	%D%/model/anatomy.t %D%/model/keys.t
sy_folder = %D%/model/folder.c %D%/model/folder.h
tests_model_safetensors_t_SOURCES = %D%/model/safetensors.c $(sy_folder)
tests_model_checkpoint_t_SOURCES = %D%/model/checkpoint.c $(sy_folder)
sy_small = $(sy_folder) %D%/model/small.c %D%/model/small.h
tests_model_config_t_SOURCES = %D%/model/config.c $(sy_small)
tests_model_families_t_SOURCES = %D%/model/families.c $(sy_small)
tests_model_rope_t_SOURCES = %D%/model/rope.c
tests_model_bind_t_SOURCES = %D%/model/bind.c $(sy_folder)
tests_model_synthetic_t_SOURCES = %D%/model/synthetic.c
tests_model_load_t_SOURCES = %D%/model/load.c $(sy_folder)
tests_model_quantization_t_SOURCES = %D%/model/quantization.c $(sy_folder)
tests_model_anatomy_t_SOURCES = %D%/model/anatomy.c $(sy_folder)
tests_model_keys_t_SOURCES = %D%/model/keys.c
EXTRA_DIST += %D%/model/check-odd %D%/model/make_odd.py %D%/model/odd/oracle.py %D%/model/odd/publish.py \
	%D%/model/odd/quantise.py %D%/model/odd/variant.py %D%/model/odd/tables/deepseek_v2.py \
	%D%/model/odd/tables/deepseek_v3.py %D%/model/odd/tables/glm4.py %D%/model/odd/tables/gpt_oss.py \
	%D%/model/odd/tables/hybrids.py %D%/model/odd/tables/multimodal.py %D%/model/odd/tables/mixtral_olmoe.py \
	%D%/model/odd/tables/qwen3.py %D%/model/odd/tables/granite.py %D%/model/odd/tables/phi.py %D%/model/odd/tables/qwen2.py

# Corpora of the fuzz harnesses, replayed. tests/fuzz/run.sh does the fuzzing.
sy_unit_tests += %D%/fuzz/safetensors.t %D%/fuzz/config.t %D%/fuzz/tokenizer.t %D%/fuzz/jsonl.t \
	%D%/fuzz/template.t
sy_fuzz_model = %D%/fuzz/shards.c %D%/fuzz/shards.h %D%/fuzz/bound.c %D%/fuzz/bound.h
tests_fuzz_safetensors_t_SOURCES = %D%/fuzz/fuzz_safetensors.c %D%/fuzz/replay.c $(sy_fuzz_model)
tests_fuzz_config_t_SOURCES = %D%/fuzz/fuzz_config.c %D%/fuzz/replay.c $(sy_fuzz_model)
tests_fuzz_tokenizer_t_SOURCES = %D%/fuzz/fuzz_tokenizer.c %D%/fuzz/replay.c
tests_fuzz_jsonl_t_SOURCES = %D%/fuzz/fuzz_jsonl.c %D%/fuzz/replay.c
tests_fuzz_template_t_SOURCES = %D%/fuzz/fuzz_template.c %D%/fuzz/replay.c
sy_unit_tests += %D%/fuzz/nccl.t %D%/fuzz/hwloc.t %D%/fuzz/cluster.t
tests_fuzz_cluster_t_SOURCES = %D%/fuzz/fuzz_cluster.c %D%/fuzz/replay.c
tests_fuzz_nccl_t_SOURCES = %D%/fuzz/fuzz_nccl.c %D%/fuzz/replay.c
tests_fuzz_hwloc_t_SOURCES = %D%/fuzz/fuzz_hwloc.c %D%/fuzz/replay.c
EXTRA_DIST += %D%/fuzz/hwloc.dict %D%/fuzz/nccl.dict
# What only the fuzzer itself is linked with.
sy_fuzz_mutators = %D%/fuzz/mutate.c %D%/fuzz/mutate.h %D%/fuzz/mutate_json.c %D%/fuzz/mutate_text.c
EXTRA_DIST += $(sy_fuzz_mutators) %D%/fuzz/run.sh %D%/fuzz/planted.sh %D%/fuzz/make_seeds.py \
	%D%/fuzz/cluster.dict %D%/fuzz/config.dict \
	%D%/fuzz/jsonl.dict %D%/fuzz/safetensors.dict %D%/fuzz/template.dict %D%/fuzz/tokenizer.dict

# Options, progress and rings.
sy_unit_tests += %D%/unit/amount.t %D%/unit/options.t %D%/unit/pool.t %D%/unit/progress.t %D%/unit/ring.t \
	%D%/unit/nvtx.t %D%/unit/stream.t
tests_unit_amount_t_SOURCES = %D%/unit/amount.c
tests_unit_options_t_SOURCES = %D%/unit/options.c
tests_unit_pool_t_SOURCES = %D%/unit/pool.c
tests_unit_progress_t_SOURCES = %D%/unit/progress.c
tests_unit_ring_t_SOURCES = %D%/unit/ring.c
tests_unit_nvtx_t_SOURCES = %D%/unit/nvtx.c
tests_unit_nvtx_t_CPPFLAGS = $(AM_CPPFLAGS) $(NVTX_CPPFLAGS)
tests_unit_stream_t_SOURCES = %D%/unit/stream.c

# Tokenizer.
sy_unit_tests += %D%/unit/utf8.t %D%/model/bpe.t %D%/model/normalizer.t %D%/model/pretokenizer.t %D%/model/tiktoken.t \
	%D%/model/tokenizer.t %D%/model/tokenizer_errors.t %D%/model/tokenizer_hostile.t %D%/model/tokenizer_random.t
tests_unit_utf8_t_SOURCES = %D%/unit/utf8.c
tests_model_bpe_t_SOURCES = %D%/model/bpe.c
tests_model_normalizer_t_SOURCES = %D%/model/normalizer.c
tests_model_pretokenizer_t_SOURCES = %D%/model/pretokenizer.c
tests_model_tiktoken_t_SOURCES = %D%/model/tiktoken.c $(sy_folder)
tests_model_tokenizer_t_SOURCES = %D%/model/tokenizer.c
tests_model_tokenizer_errors_t_SOURCES = %D%/model/tokenizer_errors.c
tests_model_tokenizer_hostile_t_SOURCES = %D%/model/tokenizer_hostile.c
tests_model_tokenizer_random_t_SOURCES = %D%/model/tokenizer_random.c
# Driven by compare_tokenizers.py, which needs packages of Python and is not part of make check.
check_PROGRAMS += %D%/model/tokenize
tests_model_tokenize_SOURCES = %D%/model/tokenize.c
EXTRA_DIST += %D%/model/compare_tokenizers.py %D%/model/random_strings.py %D%/model/tokenizer_variants.py

# Chat templates, held against jinja2 by make_expected.py.
sy_unit_tests += %D%/chat/template.t
tests_chat_template_t_SOURCES = %D%/chat/template.c
EXTRA_DIST += %D%/chat/make_expected.py

# The command line: what stands between a file of requests and the session.
sy_unit_tests += %D%/unit/batch.t %D%/unit/completion.t %D%/unit/idset.t %D%/unit/reader.t \
	%D%/unit/render.t %D%/unit/site.t %D%/unit/writer.t
tests_unit_batch_t_SOURCES = %D%/unit/batch.c
tests_unit_completion_t_SOURCES = %D%/unit/completion.c
tests_unit_idset_t_SOURCES = %D%/unit/idset.c
tests_unit_reader_t_SOURCES = %D%/unit/reader.c $(sy_folder)
tests_unit_render_t_SOURCES = %D%/unit/render.c
tests_unit_site_t_SOURCES = %D%/unit/site.c $(sy_folder)
tests_unit_writer_t_SOURCES = %D%/unit/writer.c $(sy_folder)

# Whole runs of the program, with small programs that look into what it writes.
sy_shell_tests_light += %D%/launch/chat.t %D%/launch/checkpoint.t %D%/launch/cli.t %D%/launch/complete.t \
	%D%/launch/greedy.t %D%/launch/topo.t
sy_shell_tests_light += %D%/launch/switchyard_run.t
sy_shell_tests += %D%/launch/batch.t %D%/launch/bench.t %D%/launch/cluster.t %D%/launch/doctor.t %D%/launch/drain.t \
	%D%/launch/faults.t \
	%D%/launch/measure_load.t %D%/launch/score.t %D%/launch/slurm.t
check_PROGRAMS += %D%/launch/hollow %D%/launch/jsonl %D%/launch/tensors
tests_launch_hollow_SOURCES = %D%/launch/hollow.c
tests_launch_jsonl_SOURCES = %D%/launch/jsonl.c
tests_launch_tensors_SOURCES = %D%/launch/tensors.c
EXTRA_DIST += %D%/launch/job.sh %D%/launch/recipes.sh %D%/launch/slurm.sh

# Several nodes on this machine.
sy_shell_tests += %D%/net/topo.t %D%/net/faults.t %D%/net/launcher.t %D%/net/nodes.t %D%/net/slow.t %D%/net/ucx.t
check_PROGRAMS += %D%/net/other_version %D%/net/tapswitch
tests_net_other_version_SOURCES = %D%/net/other_version.c src/cli/main.c
tests_net_tapswitch_SOURCES = %D%/net/tapswitch.c
tests_net_tapswitch_LDADD =
EXTRA_DIST += %D%/net/net.sh %D%/net/agent.sh %D%/net/requests.sh %D%/net/prompt.sh \
	%D%/net/bench.sh %D%/net/inject.sh %D%/gpu/multi.sh %D%/gpu/alltoall.py

check_LIBRARIES += libtap.a
libtap_a_SOURCES = %D%/tap.c %D%/tap.h %D%/tap_mpi.c %D%/tap_mpi.h %D%/testrand.h %D%/fixture.c %D%/fixture.h

sy_c_tests = $(sy_unit_tests) $(sy_np2_tests) $(sy_mpi_tests)
sy_all_tests = $(sy_c_tests) $(sy_shell_tests_light) $(sy_shell_tests)
check_PROGRAMS += $(sy_c_tests)
dist_check_SCRIPTS += %D%/run.sh $(sy_shell_tests) $(sy_shell_tests_light)
EXTRA_DIST += %D%/sh-tap.sh %D%/valgrind.supp %D%/data %D%/style
TESTS = $(sy_all_tests)

# What the other targets of Makefile.am run.
sy_style_tests = \
	%D%/style/build.t \
	%D%/style/format.t \
	%D%/style/includes.t \
	%D%/style/paths.t \
	%D%/style/shell.t \
	%D%/style/spdx.t
sy_asan_tests = $(sy_unit_tests) $(sy_np2_tests) $(sy_shell_tests_light)
sy_valgrind_tests = $(sy_unit_tests) $(sy_np2_tests)
