/* SPDX-License-Identifier: Apache-2.0
 * bytelevel.c - bytes as printable characters
 */
#include "model/bytelevel.h"

#include "base/utf8.h"

static bool stands_for_itself(uint32_t cp)
{
    return (cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xac) || (cp >= 0xae && cp <= 0xff);
}

uint32_t sy_bytelevel_char(uint8_t byte)
{
    if (stands_for_itself(byte))
        return byte;
    /* The others in order: 00..20, 7F..A0, AD. */
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte <= 0xa0)
        return 0x121u + (byte - 0x7fu);
    return 0x143;
}

int sy_bytelevel_byte(uint32_t cp)
{
    if (cp <= 0xff)
        return stands_for_itself(cp) ? (int)cp : -1;
    if (cp <= 0x120)
        return (int)cp - 0x100;
    if (cp <= 0x142)
        return (int)cp - 0x121 + 0x7f;
    return cp == 0x143 ? 0xad : -1;
}

bool sy_bytelevel_decode(const char *token, size_t len, uint8_t *out, size_t *out_len)
{
    const uint8_t *s = (const uint8_t *)token;
    size_t n = 0;

    for (size_t i = 0; i < len;) {
        uint32_t cp;
        i += (size_t)sy_utf8_get(s + i, &cp);
        int byte = sy_bytelevel_byte(cp);
        if (byte < 0)
            return false;
        out[n++] = (uint8_t)byte;
    }
    *out_len = n;
    return true;
}
