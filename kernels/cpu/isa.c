/* SPDX-License-Identifier: Apache-2.0
 * isa.c - which instruction sets this build and this CPU have
 *
 * SY_HAVE_AVX2, SY_HAVE_AVX512 and SY_HAVE_AMX say which files were compiled in.
 */
#include "kernels.h"

#include <pthread.h>
#include <unistd.h>

#if defined(SY_HAVE_AVX2) || defined(SY_HAVE_AVX512) || defined(SY_HAVE_AMX)
#include <cpuid.h>
#endif
#ifdef SY_HAVE_AMX
#include <sys/syscall.h>
#endif

static const char *const names[SY_N_ISAS] = {
    [SY_ISA_PORTABLE] = "portable",
    [SY_ISA_AVX2] = "avx2",
    [SY_ISA_AVX512] = "avx512",
    [SY_ISA_AMX] = "amx",
};

extern const struct sy_kernels sy_kernels_cpu_portable;

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

#ifdef SY_HAVE_AVX512
extern const struct sy_kernels sy_kernels_cpu_avx512;

/* __builtin_cpu_supports() asks XGETBV too, whether the system saves the registers; AVX512_BF16 is a CPUID bit of leaf 7.1
 * that older compilers do not know by name. */
static const struct sy_kernels *avx512(void)
{
    unsigned a, b, c, d;

    __builtin_cpu_init();
    if (!avx2() || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512vnni"))
        return NULL;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1))
        return NULL;
    return &sy_kernels_cpu_avx512;
}
#else
static const struct sy_kernels *avx512(void)
{
    return NULL;
}
#endif

#ifdef SY_HAVE_AMX
extern const struct sy_kernels sy_kernels_cpu_amx;

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA  18

static bool amx_allowed;

/* Linux lets a process use tiles once it has asked; threads made later may, too. Source: the kernel's documentation, "Using
 * XSTATE features in user space applications". */
static void ask_for_amx(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1) || !(d >> 25 & 1))
        return;
    amx_allowed = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static const struct sy_kernels *amx(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (!avx512())
        return NULL;
    pthread_once(&once, ask_for_amx);
    return amx_allowed ? &sy_kernels_cpu_amx : NULL;
}
#else
static const struct sy_kernels *amx(void)
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
    case SY_ISA_AVX512:
        return avx512();
    case SY_ISA_AMX:
        return amx();
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
