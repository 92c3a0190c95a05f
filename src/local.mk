# SPDX-License-Identifier: Apache-2.0
# src/local.mk - the engine's libraries, in the order that data flows through them, and the program

noinst_LIBRARIES += libbase.a libmodel.a libcomm.a libmoe.a libengine.a libchat.a

libbase_a_SOURCES = \
	%D%/base/amount.c %D%/base/amount.h \
	%D%/base/arena.c %D%/base/arena.h \
	%D%/base/buf.c %D%/base/buf.h \
	%D%/base/clock.c %D%/base/clock.h \
	%D%/base/file.c %D%/base/file.h \
	%D%/base/json.c %D%/base/json.h \
	%D%/base/courier.h \
	%D%/base/lender.h \
	%D%/base/log.c %D%/base/log.h \
	%D%/base/options.c %D%/base/options.h %D%/base/options_help.c %D%/base/options_private.h \
	%D%/base/options_value.c \
	%D%/base/pool.c %D%/base/pool.h \
	%D%/base/progress.c %D%/base/progress.h \
	%D%/base/range.c %D%/base/range.h \
	%D%/base/status.c %D%/base/status.h \
	%D%/base/stream.c %D%/base/stream.h \
	%D%/base/utf8.c %D%/base/utf8.h

# Checkpoint, model description, tokenizer, shard.
libmodel_a_SOURCES = \
	%D%/model/load.c %D%/model/load_order.c %D%/model/loading.h \
	%D%/model/quantization.c %D%/model/quantization.h \
	%D%/model/matrix.c %D%/model/matrix.h \
	%D%/model/shard.c %D%/model/shard.h %D%/model/shard_job.h \
	%D%/model/scan.c %D%/model/scan.h \
	%D%/model/sample.c \
	%D%/model/safetensors.c %D%/model/safetensors.h \
	%D%/model/shard_index.c %D%/model/shard_index.h \
	%D%/model/meta.c %D%/model/meta.h \
	%D%/model/checkpoint.c %D%/model/checkpoint.h \
	%D%/model/shapes.c %D%/model/shapes.h \
	%D%/model/synthetic.c %D%/model/synthetic.h \
	%D%/model/families.c %D%/model/families.h \
	%D%/model/config.c %D%/model/config.h \
	%D%/model/rope.c \
	%D%/model/bind.c %D%/model/bind.h %D%/model/bind_private.h \
	%D%/model/bind_attention.c %D%/model/bind_experts.c %D%/model/bind_mla.c %D%/model/bind_mlp.c \
	%D%/model/bind_tensor.c \
	%D%/model/keys.c %D%/model/keys.h \
	%D%/model/model.c %D%/model/model.h \
	%D%/model/anatomy.c %D%/model/anatomy.h \
	%D%/model/tokenizer.c %D%/model/tokenizer.h %D%/model/tokenizer_impl.h \
	%D%/model/tokenizer_read.c \
	%D%/model/tiktoken.c %D%/model/tiktoken.h \
	%D%/model/added.c %D%/model/added.h \
	%D%/model/normalizer.c %D%/model/normalizer.h \
	%D%/model/nfc.c %D%/model/nfc.h \
	%D%/model/pretokenizer.c %D%/model/pretokenizer.h %D%/model/pretokenizer_impl.h \
	%D%/model/pretokenizer_read.c \
	%D%/model/pattern.c %D%/model/pattern.h \
	%D%/model/bpe.c %D%/model/bpe.h \
	%D%/model/vocab.c %D%/model/vocab.h \
	%D%/model/postprocessor.c %D%/model/postprocessor.h \
	%D%/model/decoder.c %D%/model/decoder.h \
	%D%/model/bytelevel.c %D%/model/bytelevel.h \
	%D%/model/detokenizer.c

# Chat templates: messages to text.
libchat_a_SOURCES = \
	%D%/chat/builtin.c %D%/chat/builtin.h \
	%D%/chat/chat.c %D%/chat/chat.h \
	%D%/chat/chars.c %D%/chat/chars.h \
	%D%/chat/eval.c \
	%D%/chat/expression.c \
	%D%/chat/functions.c \
	%D%/chat/lexer.c %D%/chat/lexer.h \
	%D%/chat/list_filters.c \
	%D%/chat/list_methods.c \
	%D%/chat/literal.c %D%/chat/literal.h \
	%D%/chat/loop.c \
	%D%/chat/operator.c \
	%D%/chat/parser.c %D%/chat/parser.h \
	%D%/chat/predicates.c \
	%D%/chat/region.c %D%/chat/region.h \
	%D%/chat/render.h \
	%D%/chat/run.c \
	%D%/chat/show.c \
	%D%/chat/template.c %D%/chat/template.h \
	%D%/chat/text.c \
	%D%/chat/text_edit.c %D%/chat/methods.h \
	%D%/chat/text_filters.c \
	%D%/chat/text_methods.c \
	%D%/chat/tree.h \
	%D%/chat/value.c %D%/chat/value.h

# Groups of ranks, agreement, transports.
libcomm_a_SOURCES = \
	%D%/comm/carried.c %D%/comm/carried.h %D%/comm/carried_private.h \
	%D%/comm/collective.c \
	%D%/comm/direct.c \
	%D%/comm/fabric.c \
	%D%/comm/group.c %D%/comm/group.h %D%/comm/group_mpi.h \
	%D%/comm/launcher.c \
	%D%/comm/lent.c %D%/comm/lent.h \
	%D%/comm/link.c \
	%D%/comm/mailbox.c %D%/comm/mailbox.h \
	%D%/comm/mpi.c \
	%D%/comm/mpi_close.c \
	%D%/comm/mpi_memory.c \
	%D%/comm/mpi_message.c \
	%D%/comm/mpi_private.h \
	%D%/comm/post_mpi.c \
	%D%/comm/ring.c %D%/comm/ring.h \
	%D%/comm/rounds.c \
	%D%/comm/share.c \
	%D%/comm/shm.c \
	%D%/comm/transport.h
if HAVE_UCX
libcomm_a_SOURCES += \
	%D%/comm/ucx.c %D%/comm/ucx_private.h \
	%D%/comm/ucx_lane.c \
	%D%/comm/ucx_link.c \
	%D%/comm/ucx_message.c \
	%D%/comm/ucx_post.c \
	%D%/comm/ucx_put.c
endif

# router -> plan -> dispatch -> experts -> combine
libmoe_a_SOURCES = \
	%D%/moe/across.c %D%/moe/across.h \
	%D%/moe/moe.c %D%/moe/moe.h %D%/moe/batch.h %D%/moe/wire.h \
	%D%/moe/layer.c \
	%D%/moe/whole.c %D%/moe/whole.h \
	%D%/moe/router.c %D%/moe/shared.c \
	%D%/moe/plan.c %D%/moe/plan.h \
	%D%/moe/dispatch.c \
	%D%/moe/residency.h \
	%D%/moe/exchange.c \
	%D%/moe/experts.c \
	%D%/moe/overdue.c \
	%D%/moe/combine.c

# Attention, KV cache, scheduler, sampler, session.
libengine_a_SOURCES = \
	%D%/engine/attention.c %D%/engine/attention.h \
	%D%/engine/mla.c \
	%D%/engine/blocks.c %D%/engine/blocks.h \
	%D%/engine/forward.c %D%/engine/forward.h \
	%D%/engine/inputs.c %D%/engine/inputs.h \
	%D%/engine/logits.c \
	%D%/engine/holding.c %D%/engine/holding.h \
	%D%/engine/kvcache.c %D%/engine/kvcache.h \
	%D%/engine/replay.c %D%/engine/replay.h \
	%D%/engine/protocol.c %D%/engine/protocol.h \
	%D%/engine/sampler.c %D%/engine/sampler.h \
	%D%/engine/scheduler.c %D%/engine/scheduler.h \
	%D%/engine/sequence.c %D%/engine/sequence.h \
	%D%/engine/session.c %D%/engine/session.h %D%/engine/session_private.h \
	%D%/engine/stats.c \
	%D%/engine/step.c \
	%D%/engine/tokens.c

# The subcommands. A library, so that tests can have a look.
noinst_LIBRARIES += libcli.a
libcli_a_SOURCES = \
	%D%/cli/alike.c %D%/cli/alike.h \
	%D%/cli/anatomy.c %D%/cli/anatomy.h \
	%D%/cli/batch.c %D%/cli/batch.h \
	%D%/cli/bench.c %D%/cli/bench.h \
	%D%/cli/bench_cells.c \
	%D%/cli/bench_ceilings.c \
	%D%/cli/bench_cpu.c \
	%D%/cli/bench_figures.c %D%/cli/bench_figures.h \
	%D%/cli/bench_json.c \
	%D%/cli/bench_layer.c \
	%D%/cli/bench_model.c \
	%D%/cli/bench_probe.c %D%/cli/bench_probe.h \
	%D%/cli/bench_replay.c \
	%D%/cli/bench_report.c %D%/cli/bench_report.h \
	%D%/cli/bench_roof.c %D%/cli/bench_roof.h \
	%D%/cli/bench_tokenizer.c \
	%D%/cli/bench_dispatch.c %D%/cli/bench_exchange.h %D%/cli/bench_exchange_report.c \
	%D%/cli/bench_baseline.c %D%/cli/bench_link.c %D%/cli/bench_overlap.c %D%/cli/bench_routing.c \
	%D%/cli/chat_choice.c %D%/cli/chat_choice.h \
	%D%/cli/chat_line.c %D%/cli/chat_line.h \
	%D%/cli/cli.h \
	%D%/cli/completion.c %D%/cli/completion.h \
	%D%/cli/doctor.c \
	%D%/cli/gather.c %D%/cli/gather.h \
	%D%/cli/help.c \
	%D%/cli/idset.c %D%/cli/idset.h \
	%D%/cli/job.c %D%/cli/job.h \
	%D%/cli/job_line.c %D%/cli/job_line.h \
	%D%/cli/logits.c %D%/cli/logits.h \
	%D%/cli/prompt.c %D%/cli/prompt.h \
	%D%/cli/reader.c %D%/cli/reader.h \
	%D%/cli/release.c \
	%D%/cli/render.c %D%/cli/render.h \
	%D%/cli/run.c \
	%D%/cli/score.c \
	%D%/cli/settings.c %D%/cli/settings.h \
	%D%/cli/setup.c %D%/cli/setup.h \
	%D%/cli/signals.c %D%/cli/signals.h \
	%D%/cli/site.c %D%/cli/site.h \
	%D%/cli/summary.c %D%/cli/summary.h \
	%D%/cli/topo.c \
	%D%/cli/version.c %D%/cli/version.h \
	%D%/cli/writer.c %D%/cli/writer.h

bin_PROGRAMS += switchyard
switchyard_SOURCES = %D%/cli/main.c
switchyard_LDADD = libcli.a $(sy_libraries) $(sy_libs)
