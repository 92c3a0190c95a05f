/* SPDX-License-Identifier: Apache-2.0
 * nvtx.c - ranges reach a tool that NVTX finds in the program
 *
 * NVTX calls the function that this name points to, as it would that of a profiler.
 */
#include "config.h"

#include <string.h>

#include "kernels.h"
#include "tap.h"

#ifdef SY_HAVE_NVTX
#define NVTX_NO_IMPL
#include <nvtx3/nvToolsExt.h>

static char seen[64];

static int push(const char *name)
{
    strncat(seen, name, sizeof seen - strlen(seen) - 2);
    strcat(seen, "(");
    return 0;
}

static int pop(void)
{
    strncat(seen, ")", sizeof seen - strlen(seen) - 1);
    return 0;
}

static int attach(NvtxGetExportTableFunc_t get_table)
{
    const NvtxExportTableCallbacks *callbacks = get_table(NVTX_ETID_CALLBACKS);
    NvtxFunctionTable table;
    unsigned n;

    if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &n) ||
        n <= NVTX_CBID_CORE_RangePop)
        return 0;
    *table[NVTX_CBID_CORE_RangePushA] = (NvtxFunctionPointer)push;
    *table[NVTX_CBID_CORE_RangePop] = (NvtxFunctionPointer)pop;
    return 1;
}

extern NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr;
NvtxInitializeInjectionNvtxFunc_t InitializeInjectionNvtx2_fnptr = attach;

static int nested(bool leave)
{
    SY_RANGE("inner");
    if (leave)
        return 1;
    return 2;
}

int main(void)
{
    plan(3);
    nested(true);
    is_str(seen, "", "a range that nobody listens to goes nowhere");
    sy_range_listen(sy_cuda_ranges());
    ok(sy_range_listener != NULL, "this build has a listener");
    {
        SY_RANGE("outer");
        nested(true);
        nested(false);
    }
    is_str(seen, "outer(inner()inner())", "ranges nest, and end however they are left");
    return tap_exit();
}

#else

int main(void)
{
    if (sy_cuda_ranges())
        bail("a build without NVTX has a listener");
    skip_all("this build has no NVTX");
}

#endif
