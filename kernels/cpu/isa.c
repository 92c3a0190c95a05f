/* SPDX-License-Identifier: Apache-2.0
 * isa.c - which instruction sets this build and this CPU have
 *
 * SY_HAVE_AVX2 says that the avx2 files were compiled in.
 */
#include "kernels.h"

#ifdef SY_HAVE_AVX2
#include <cpuid.h>
#endif

extern const struct sy_kernels sy_kernels_cpu_portable;

static const char *const names[SY_N_ISAS] = {[SY_ISA_PORTABLE] = "portable", [SY_ISA_AVX2] = "avx2"};

#ifdef SY_HAVE_AVX2
extern const struct sy_kernels sy_kernels_cpu_avx2;

/* The avx2 files use FMA and F16C too: CPUs with AVX2 have both, but a hypervisor may hide one. clang 14 knows no
 * __builtin_cpu_supports("f16c"), hence the look at CPUID. */
static const struct sy_kernels *avx2(void)
{
    unsigned a, b, c, d;

    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return NULL;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C))
        return NULL;
    return &sy_kernels_cpu_avx2;
}
#else
static const struct sy_kernels *avx2(void)
{
    return NULL;
}
#endif

const struct sy_kernels *sy_kernels_cpu(enum sy_isa isa)
{
    switch (isa) {
    case SY_ISA_PORTABLE:
        return &sy_kernels_cpu_portable;
    case SY_ISA_AVX2:
        return avx2();
    default:
        return NULL;
    }
}

enum sy_isa sy_isa_best(void)
{
    int isa = SY_N_ISAS - 1;

    while (isa > SY_ISA_PORTABLE && !sy_kernels_cpu((enum sy_isa)isa))
        isa--;
    return (enum sy_isa)isa;
}

const char *sy_isa_name(enum sy_isa isa)
{
    return (unsigned)isa < SY_N_ISAS ? names[isa] : "?";
}
