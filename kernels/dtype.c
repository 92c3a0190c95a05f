/* SPDX-License-Identifier: Apache-2.0
 * dtype.c - sizes and names of element types
 */
#include "kernels.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[SY_N_DTYPES] = {
    [SY_F32] = {"F32", 4},     [SY_F16] = {"F16", 2},         [SY_BF16] = {"BF16", 2},
    [SY_I32] = {"I32", 4},     [SY_I64] = {"I64", 8},         [SY_U8] = {"U8", 1},
    [SY_I8] = {"I8", 1},       [SY_F8_E4M3] = {"F8_E4M3", 1}, [SY_F8_E5M2] = {"F8_E5M2", 1},
    [SY_F64] = {"F64", 8},     [SY_I16] = {"I16", 2},         [SY_U16] = {"U16", 2},
    [SY_U32] = {"U32", 4},     [SY_U64] = {"U64", 8},         [SY_BOOL] = {"BOOL", 1},
    [SY_F8_E8M0] = {"F8_E8M0", 1},
    [SY_MXFP4] = {"MXFP4", 0}, [SY_BF16X2] = {"BF16X2", 4},
};

size_t sy_dtype_bytes(enum sy_dtype dtype)
{
    return (unsigned)dtype < SY_N_DTYPES ? dtypes[dtype].bytes : 0;
}

size_t sy_dtype_array_bytes(enum sy_dtype dtype, size_t n)
{
    return dtype == SY_MXFP4 ? (n + 1) / 2 : n * sy_dtype_bytes(dtype);
}

const char *sy_dtype_name(enum sy_dtype dtype)
{
    return (unsigned)dtype < SY_N_DTYPES ? dtypes[dtype].name : "?";
}
