/* Tells whether a text is UTF-8 (Unicode, table 3-7).

   A zero byte that does not belong to the text follows it, as in every bytes object. */

#ifndef UTF8_H
#define UTF8_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__) && !defined(BODY_SCAN_PORTABLE)
#include <immintrin.h>
#define BODY_SCAN_X86
#define IN_AVX2 __attribute__((target("avx2")))
#endif

typedef const unsigned char *text;

static inline int is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/* Returns the end of the character of several bytes at p, NULL if it is none. */
static inline text after_wide_character(text p)
{
    unsigned char lead = p[0];
    if (lead < 0xC2 || lead > 0xF4 || !is_continuation(p[1]))
        return NULL;
    if (lead < 0xE0)
        return p + 2;
    if (!is_continuation(p[2]))
        return NULL;
    if (lead < 0xF0) {
        /* no overlong forms, no surrogates */
        if ((lead == 0xE0 && p[1] < 0xA0) || (lead == 0xED && p[1] > 0x9F))
            return NULL;
        return p + 3;
    }
    /* no overlong forms, nothing above U+10FFFF */
    if (!is_continuation(p[3]) || (lead == 0xF0 && p[1] < 0x90) || (lead == 0xF4 && p[1] > 0x8F))
        return NULL;
    return p + 4;
}

static int is_utf8_by_characters(text p, text end)
{
    while (p < end) {
        uint64_t eight;
        if (end - p >= (ptrdiff_t)sizeof(eight)) {
            memcpy(&eight, p, sizeof(eight));
            if ((eight & 0x8080808080808080u) == 0) {
                p += sizeof(eight);
                continue;
            }
        }
        p = *p < 0x80 ? p + 1 : after_wide_character(p);
        if (p == NULL)
            return 0;
    }
    return 1;
}

#ifdef BODY_SCAN_X86
/* "Validating UTF-8 in less than one instruction per byte", Keiser and Lemire, 2020: each bit is an error that two
   neighbouring bytes make, found by looking up three of their halves. */
enum {
    TOO_SHORT = 1,   /* a lead byte, and then no continuation */
    TOO_LONG = 2,    /* ASCII, and then a continuation */
    OVERLONG_3 = 4,
    TOO_LARGE = 8,   /* above U+10FFFF: F4 90, or F5 and more */
    SURROGATE = 16,
    OVERLONG_2 = 32,
    TOO_LARGE_1000 = 64,
    OVERLONG_4 = 64,
    TWO_CONTINUATIONS = 128, /* right only as the end of a character of three or four bytes */
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS,
    LARGE = TOO_LARGE | TOO_LARGE_1000,
};
#define TWICE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)
#define BITS(value) (char)(value)

/* Returns the block shifted by that many bytes, with the last ones of the block before it. */
#define BEFORE(block, previous, count) \
    _mm256_alignr_epi8(block, _mm256_permute2x128_si256(previous, block, 0x21), 16 - (count))

IN_AVX2 static inline __m256i upper_halves(__m256i block)
{
    return _mm256_and_si256(_mm256_srli_epi16(block, 4), _mm256_set1_epi8(0x0F));
}

/* Returns the errors that every two neighbours make. */
IN_AVX2 static inline __m256i errors_of_two(__m256i block, __m256i first)
{
    const __m256i by_first_upper = TWICE(
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        BITS(TWO_CONTINUATIONS), BITS(TWO_CONTINUATIONS), BITS(TWO_CONTINUATIONS), BITS(TWO_CONTINUATIONS),
        TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
        TOO_SHORT | LARGE | OVERLONG_4);
    const __m256i by_first_lower = TWICE(
        BITS(ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), BITS(ANY_LOW | OVERLONG_2), BITS(ANY_LOW),
        BITS(ANY_LOW), BITS(ANY_LOW | TOO_LARGE), BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE),
        BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE),
        BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE | SURROGATE),
        BITS(ANY_LOW | LARGE), BITS(ANY_LOW | LARGE));
    const __m256i by_second_upper = TWICE(
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        BITS(TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4),
        BITS(TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | TOO_LARGE),
        BITS(TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE),
        BITS(TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE),
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT);
    __m256i lower = _mm256_and_si256(first, _mm256_set1_epi8(0x0F));
    __m256i errors = _mm256_and_si256(_mm256_shuffle_epi8(by_first_upper, upper_halves(first)),
                                      _mm256_shuffle_epi8(by_first_lower, lower));
    return _mm256_and_si256(errors, _mm256_shuffle_epi8(by_second_upper, upper_halves(block)));
}

/* Returns what is not 0 where the block, behind the one before it, is not UTF-8. */
IN_AVX2 static inline __m256i errors_in(__m256i block, __m256i previous)
{
    __m256i errors = errors_of_two(block, BEFORE(block, previous, 1));
    /* the third byte of three, and the third and fourth of four, have their highest bit set in these */
    __m256i third = _mm256_subs_epu8(BEFORE(block, previous, 2), _mm256_set1_epi8(0xE0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(BEFORE(block, previous, 3), _mm256_set1_epi8(0xF0 - 0x80));
    __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(due, errors);
}

/* Returns what is not 0 if a character begins in the block and does not end there. */
IN_AVX2 static inline __m256i unfinished(__m256i block)
{
    const char any = (char)0xFF;
    const __m256i most = _mm256_setr_epi8(
        any, any, any, any, any, any, any, any, any, any, any, any, any, any, any, any,
        any, any, any, any, any, any, any, any, any, any, any, any, any,
        (char)(0xF0 - 1), (char)(0xE0 - 1), (char)(0xC0 - 1));
    return _mm256_subs_epu8(block, most);
}

IN_AVX2 static int is_utf8_in_blocks(text p, text end)
{
    __m256i errors = _mm256_setzero_si256(), open = errors, previous = errors;
    unsigned char rest[64] = {0};

    while (p < end) {
        text from = p;
        if (end - p < 64) {
            memcpy(rest, p, (size_t)(end - p));
            from = rest;
        }
        __m256i first = _mm256_loadu_si256((const __m256i *)from);
        __m256i second = _mm256_loadu_si256((const __m256i *)(from + 32));
        if (_mm256_movemask_epi8(_mm256_or_si256(first, second)) == 0) {
            errors = _mm256_or_si256(errors, open);
            open = _mm256_setzero_si256();
        } else {
            errors = _mm256_or_si256(errors, errors_in(first, previous));
            errors = _mm256_or_si256(errors, errors_in(second, first));
            open = unfinished(second);
        }
        previous = second;
        p += 64;
    }
    errors = _mm256_or_si256(errors, open);
    return _mm256_testz_si256(errors, errors);
}
#endif

static inline int is_utf8(text start, text end)
{
#ifdef BODY_SCAN_X86
    if (__builtin_cpu_supports("avx2"))
        return is_utf8_in_blocks(start, end);
#endif
    return is_utf8_by_characters(start, end);
}
#endif
