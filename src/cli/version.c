/* SPDX-License-Identifier: Apache-2.0
 * version.c - what this program is and what it was built with
 */
#include "config.h"

#include <expat.h>
#include <hwloc.h>
#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>
#ifdef HAVE_UCX
#include <ucp/api/ucp.h>
#endif
#include <utf8proc.h>
#include <yaml.h>

#include "cli/version.h"
#include "comm/group.h"
#include "kernels.h"

static void print(FILE *out, const char *label, const char *text)
{
    fprintf(out, "  %-14s %s\n", label, text);
}

void sy_version_library(enum sy_library library, char *out, size_t out_bytes)
{
    unsigned hwloc = hwloc_get_api_version();

    switch (library) {
    case SY_LIBRARY_MPI:
        snprintf(out, out_bytes, "%s", sy_group_mpi_version());
        break;
    case SY_LIBRARY_HWLOC:
        snprintf(out, out_bytes, "%u.%u.%u", hwloc >> 16, hwloc >> 8 & 0xff, hwloc & 0xff);
        break;
    case SY_LIBRARY_EXPAT: {
        XML_Expat_Version version = XML_ExpatVersionInfo();
        snprintf(out, out_bytes, "%d.%d.%d", version.major, version.minor, version.micro);
        break;
    }
    case SY_LIBRARY_JANSSON:
        snprintf(out, out_bytes, "%s", jansson_version_str());
        break;
    case SY_LIBRARY_PCRE2: {
        char text[64] = "";
        if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof text)
            pcre2_config(PCRE2_CONFIG_VERSION, text);
        snprintf(out, out_bytes, "%s", text);
        break;
    }
    case SY_LIBRARY_UTF8PROC:
        snprintf(out, out_bytes, "%s", utf8proc_version());
        break;
    case SY_LIBRARY_YAML:
        snprintf(out, out_bytes, "%s", yaml_get_version_string());
        break;
    case SY_LIBRARY_UCX:
#ifdef HAVE_UCX
        snprintf(out, out_bytes, "%s", ucp_get_version_string());
#else
        snprintf(out, out_bytes, "not built in");
#endif
        break;
    case SY_N_LIBRARIES:
        break;
    }
}

const char *sy_version_library_name(enum sy_library library)
{
    static const char *const names[] = {"MPI", "hwloc", "expat", "jansson", "PCRE2", "utf8proc", "libyaml", "UCX"};

    return names[library];
}

static const char built_isas[] = "portable"
#ifdef HAVE_AVX2_BUILD
                                 ", avx2"
#endif
#ifdef HAVE_AVX512_BUILD
                                 ", avx512"
#endif
#ifdef HAVE_AMX_BUILD
                                 ", amx"
#endif
    ;

void sy_cli_version(FILE *out)
{
    char text[256] = "";

    fprintf(out, "switchyard %s\n", sy_version);
    print(out, "compiler", SY_BUILD_COMPILER);
    print(out, "flags", SY_BUILD_CFLAGS);
    print(out, "built for", SY_BUILD_MPI);
    print(out, "CPU kernels", built_isas);
    print(out, "this CPU takes", sy_isa_name(sy_isa_best()));
#ifdef SY_BUILD_CUDA
    print(out, "CUDA kernels", SY_BUILD_CUDA);
#else
    print(out, "CUDA kernels", "none");
#endif
    print(out, "timelines", sy_cuda_ranges() ? "NVTX ranges" : "none: this build has no NVTX");
#ifdef SY_BUILD_ADDRESS_SANITIZER
    print(out, "sanitizers", "address, undefined behaviour");
#endif
    for (int i = 0; i < SY_N_LIBRARIES; i++) {
        sy_version_library((enum sy_library)i, text, sizeof text);
        print(out, sy_version_library_name((enum sy_library)i), text);
    }
}
