# SPDX-License-Identifier: Apache-2.0
# kernels/local.mk - arithmetic: the readable reference, and the CPU kernels once for each instruction set

noinst_LIBRARIES += libkernels.a libcpu_portable.a

# The reference, and what does not depend on the instruction set.
libkernels_a_SOURCES = \
	%D%/kernels.h %D%/half.h %D%/layout.h %D%/dtype.c \
	%D%/arena.c %D%/arena.h \
	%D%/cpu/isa.c \
	%D%/cpu/pack.c \
	%D%/cpu/queue.c %D%/cpu/queue.h \
	%D%/ref/attention.c \
	%D%/ref/experts.c \
	%D%/ref/gemm.c \
	%D%/ref/logits.c \
	%D%/ref/pick.c \
	%D%/ref/ref.h \
	%D%/ref/rope.c \
	%D%/ref/router.c \
	%D%/ref/rows.c \
	%D%/ref/table.c
libkernels_a_CPPFLAGS = $(AM_CPPFLAGS)

# The GPU. Flags of a target do not reach the rule for .cu files, which is one for all.
sy_cuda_sources = \
	%D%/cuda/across.cu %D%/cuda/across.cuh \
	%D%/cuda/across_send.cu \
	%D%/cuda/across_words.cu \
	%D%/cuda/attention.cu %D%/cuda/attention.cuh \
	%D%/cuda/attention_decode.cu \
	%D%/cuda/attention_hopper.cu \
	%D%/cuda/attention_prompt.cu \
	%D%/cuda/attention_tasks.cuh \
	%D%/cuda/cuda.h \
	%D%/cuda/experts.cu %D%/cuda/experts.cuh \
	%D%/cuda/experts_both.cu \
	%D%/cuda/experts_f32.cu \
	%D%/cuda/experts_hopper.cu %D%/cuda/experts_hopper.cuh \
	%D%/cuda/experts_mma.cu \
	%D%/cuda/experts_multiply.cuh \
	%D%/cuda/gemm.cu \
	%D%/cuda/gemm.cuh \
	%D%/cuda/gemm_hopper.cu \
	%D%/cuda/gemm_mma.cu \
	%D%/cuda/heads.cu \
	%D%/cuda/hopper.cuh \
	%D%/cuda/kv.cu \
	%D%/cuda/launch.cuh \
	%D%/cuda/layout.h \
	%D%/cuda/logits.cu \
	%D%/cuda/lend.cu \
	%D%/cuda/map.cu %D%/cuda/map.cuh \
	%D%/cuda/mma.cuh \
	%D%/cuda/moe.cu %D%/cuda/moe.cuh \
	%D%/cuda/moe_combine.cu \
	%D%/cuda/nccl.cu \
	%D%/cuda/pack.cu \
	%D%/cuda/pick.cu \
	%D%/cuda/porter.cu %D%/cuda/porter.cuh \
	%D%/cuda/probe.cu \
	%D%/cuda/queue.cu \
	%D%/cuda/ranges.cu \
	%D%/cuda/record.cu \
	%D%/cuda/rope.cu \
	%D%/cuda/router.cu %D%/cuda/router.cuh \
	%D%/cuda/rows.cu \
	%D%/cuda/sort.cuh \
	%D%/cuda/table.cu \
	%D%/cuda/warp.cuh \
	%D%/cuda/weight.cuh \
	%D%/cuda/widen.cuh
if HAVE_CUDA
noinst_LIBRARIES += libcuda.a
libcuda_a_SOURCES = $(sy_cuda_sources)
else
libkernels_a_SOURCES += %D%/cuda/none.c
EXTRA_DIST += $(sy_cuda_sources)
endif
EXTRA_DIST += %D%/cuda/none.c %D%/cuda/RESULTS.md

SUFFIXES = .cu
.cu.o:
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(NVCC) -std=c++17 $(SY_GENCODE) $(NVCCFLAGS) $(SY_NVCC_WARNINGS) -lineinfo \
	  $(SY_NCCL_FLAGS) -I$(top_builddir)/src -I$(top_srcdir)/src -I$(top_srcdir)/kernels -D_GNU_SOURCE \
	  -MMD -MF $(@:.o=.d) -c -o $@ $<
@SY_CUDA_DEPENDENCIES@

# One source for all instruction sets; SY_ISA_<name> tells it which one it is compiled for.
sy_cpu_sources = \
	%D%/cpu/cpu.h \
	%D%/cpu/vec.h %D%/cpu/vec_avx512.h %D%/cpu/vec_avx2.h %D%/cpu/vec_portable.h \
	%D%/cpu/attention.c \
	%D%/cpu/combine.c \
	%D%/cpu/decode.c \
	%D%/cpu/embed.c \
	%D%/cpu/experts.c \
	%D%/cpu/gemm.c \
	%D%/cpu/heads.c \
	%D%/cpu/kv.c \
	%D%/cpu/logits.c \
	%D%/cpu/panel.c %D%/cpu/panel.h %D%/cpu/panel_amx.c %D%/cpu/panel_amx_few.c \
	%D%/cpu/probe.c \
	%D%/cpu/rope.c \
	%D%/cpu/router.c \
	%D%/cpu/rows.c \
	%D%/cpu/table.c

libcpu_portable_a_SOURCES = $(sy_cpu_sources)
libcpu_portable_a_CPPFLAGS = $(AM_CPPFLAGS) -DSY_ISA_portable

if HAVE_AVX2_BUILD
libkernels_a_CPPFLAGS += -DSY_HAVE_AVX2
noinst_LIBRARIES += libcpu_avx2.a
libcpu_avx2_a_SOURCES = $(sy_cpu_sources)
libcpu_avx2_a_CPPFLAGS = $(AM_CPPFLAGS) -DSY_ISA_avx2
libcpu_avx2_a_CFLAGS = $(AM_CFLAGS) $(SY_AVX2_CFLAGS)
endif

if HAVE_AVX512_BUILD
libkernels_a_CPPFLAGS += -DSY_HAVE_AVX512
noinst_LIBRARIES += libcpu_avx512.a
libcpu_avx512_a_SOURCES = $(sy_cpu_sources)
libcpu_avx512_a_CPPFLAGS = $(AM_CPPFLAGS) -DSY_ISA_avx512
libcpu_avx512_a_CFLAGS = $(AM_CFLAGS) $(SY_AVX512_CFLAGS)
endif

if HAVE_AMX_BUILD
libkernels_a_CPPFLAGS += -DSY_HAVE_AMX
noinst_LIBRARIES += libcpu_amx.a
libcpu_amx_a_SOURCES = $(sy_cpu_sources)
libcpu_amx_a_CPPFLAGS = $(AM_CPPFLAGS) -DSY_ISA_amx
libcpu_amx_a_CFLAGS = $(AM_CFLAGS) $(SY_AMX_CFLAGS)
endif

EXTRA_DIST += %D%/cpu/RESULTS.md
