/* The CRC-32 of a record's body, as zlib has it: polynomial 0x04C11DB7, reflected.

   A record has 80 to 300 bytes. zlib's tables of 16 KiB are out of the first cache whenever a call comes to its record, and looking
   them up took longer than the rest of the record. Where the processor multiplies without carries, no table is needed (V. Gopal et al.,
   Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel, 2009). */

#ifndef CRC32_H
#define CRC32_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__) && !defined(RECORDS_PORTABLE)
#include <immintrin.h>
#define CRC32_X86
#define WITH_PCLMUL __attribute__((target("pclmul,sse4.1")))
#endif

enum { CRC32_ROOM = 16 }; /* bytes in front of a body that computing its checksum overwrites; also the least a body may have */

static uint32_t crc32_tables[8][256];

static void make_crc32_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t remainder = byte;
        for (int bit = 0; bit < 8; bit++)
            remainder = remainder >> 1 ^ (remainder & 1 ? 0xEDB88320u : 0);
        crc32_tables[0][byte] = remainder;
    }
    for (int table = 1; table < 8; table++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = crc32_tables[table - 1][byte];
            crc32_tables[table][byte] = before >> 8 ^ crc32_tables[0][before & 0xFF];
        }
}

static uint32_t crc32_by_tables(unsigned char *body, size_t size, uint32_t start)
{
    const unsigned char *p = body, *end = body + size;
    uint32_t crc = ~start;

    for (; end - p >= 8; p += 8) {
        uint32_t next = 0;
        crc ^= p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        for (int i = 0; i < 4; i++)
            next ^= crc32_tables[7 - i][crc >> 8 * i & 0xFF] ^ crc32_tables[3 - i][p[4 + i]];
        crc = next;
    }
    for (; p < end; p++)
        crc = crc >> 8 ^ crc32_tables[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

#ifdef CRC32_X86
static inline void add_to_start(unsigned char *body, uint32_t value)
{
    uint32_t first;
    memcpy(&first, body, sizeof(first));
    first ^= value;
    memcpy(body, &first, sizeof(first));
}

/* Folds 16 bytes after 16 bytes, then reduces what is left. Zeros in front of a text do not change its remainder, so the text is
   lengthened with them to whole blocks. */
WITH_PCLMUL static uint32_t crc32_by_folding(unsigned char *body, size_t size, uint32_t start)
{
    const __m128i fold = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i low = _mm_setr_epi32(~0, 0, ~0, 0);
    const unsigned char *p = body - (-size & 15), *end = body + size;

    memset(body - CRC32_ROOM, 0, CRC32_ROOM);
    add_to_start(body, ~start);
    __m128i sum = _mm_loadu_si128((const __m128i *)p);
    for (p += 16; p < end; p += 16) {
        __m128i next = _mm_loadu_si128((const __m128i *)p);
        __m128i high = _mm_clmulepi64_si128(sum, fold, 0x11);
        sum = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(sum, fold, 0x00), high), next);
    }
    add_to_start(body, ~start);
    /* 128 bits to 64 */
    sum = _mm_xor_si128(_mm_clmulepi64_si128(sum, fold, 0x10), _mm_srli_si128(sum, 8));
    __m128i shifted = _mm_srli_si128(sum, 4);
    sum = _mm_clmulepi64_si128(_mm_and_si128(sum, low), _mm_set_epi64x(0, 0x163cd6124), 0x00);
    sum = _mm_xor_si128(sum, shifted);
    /* and to 32, by Barrett's reduction */
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(sum, low), barrett, 0x10);
    quotient = _mm_clmulepi64_si128(_mm_and_si128(quotient, low), barrett, 0x00);
    return ~(uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, quotient), 1);
}
#endif

/* Returns the checksum of a body of at least CRC32_ROOM bytes, with as many in front of it that may be overwritten; body is left as it was. */
static uint32_t (*crc32_of)(unsigned char *body, size_t size, uint32_t start) = crc32_by_tables;

/* Makes the choice; call it once before crc32_of. */
static void prepare_crc32(void)
{
    make_crc32_tables();
#ifdef CRC32_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        crc32_of = crc32_by_folding;
#endif
}
#endif
