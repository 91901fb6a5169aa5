/* Strings of a JSON text (RFC 8259 section 7): where they end, and what they say.

   A zero byte that does not belong to the text follows it. Bytes above ASCII are like any letter here. */

#ifndef JSON_STRINGS_H
#define JSON_STRINGS_H
#include "_utf8.h"

enum { BLOCK = 16, WIDE_BLOCK = 64 };

/* Returns the value of a hexadecimal digit, -1 if it is none. */
static inline int digit_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Returns the place behind the four digits at p, NULL if there are not as many. */
static inline text after_four_digits(text p)
{
    for (int i = 0; i < 4; i++)
        if (digit_value(p[i]) < 0)
            return NULL;
    return p + 4;
}

/* Returns the end of the escape at p, NULL if it is none. */
static inline text after_escape(text p)
{
    switch (p[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return p + 2;
    case 'u':
        return after_four_digits(p + 2);
    default:
        return NULL;
    }
}

#ifdef BODY_SCAN_X86
/* Returns one bit for each byte of the block at p that means something in a string: quotes, escapes, control characters. */
static inline unsigned special_bytes(text p)
{
    __m128i block = _mm_loadu_si128((const __m128i *)p);
    __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    __m128i escape = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(block, _mm_min_epu8(block, _mm_set1_epi8(0x1F)));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control));
}

/* Looks through whole blocks from *rest on. Returns the end of the string, or NULL and leaves in *rest where blocks end;
   that is NULL if the string is not valid. */
static inline text string_end_in_blocks(text *rest, text end)
{
    text p = *rest;
    while (end - p >= BLOCK) {
        unsigned special = special_bytes(p);
        text next = p + BLOCK;
        while (special) {
            text at = p + __builtin_ctz(special);
            if (*at == '"')
                return at + 1;
            at = *at == '\\' ? after_escape(at) : NULL;
            if (at == NULL) {
                *rest = NULL;
                return NULL;
            }
            if (at >= next) {
                next = at;
                break;
            }
            /* the bytes just passed are done with; the block is not loaded again */
            special &= ~0u << (at - p);
        }
        p = next;
    }
    *rest = p;
    return NULL;
}

/* Two neighbouring blocks of 32 bytes, of which each question is answered with one bit for each byte. */
typedef struct {
    __m256i first, second;
} wide_block;

IN_AVX2 static inline uint64_t set_bytes(__m256i first, __m256i second)
{
    return (uint32_t)_mm256_movemask_epi8(first) | (uint64_t)(uint32_t)_mm256_movemask_epi8(second) << 32;
}

IN_AVX2 static inline uint64_t bytes_equal_to(wide_block block, char byte)
{
    __m256i all = _mm256_set1_epi8(byte);
    return set_bytes(_mm256_cmpeq_epi8(block.first, all), _mm256_cmpeq_epi8(block.second, all));
}

IN_AVX2 static inline uint64_t control_bytes(wide_block block)
{
    __m256i last = _mm256_set1_epi8(0x1F);
    return set_bytes(_mm256_cmpeq_epi8(block.first, _mm256_min_epu8(block.first, last)),
                     _mm256_cmpeq_epi8(block.second, _mm256_min_epu8(block.second, last)));
}

/* Returns what is not 0 where a byte may follow a backslash: one of "\/bfnrtu, found by both its halves. */
IN_AVX2 static inline __m256i letters_of_escapes(__m256i bytes)
{
    const __m256i by_upper = TWICE(0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i by_lower = TWICE(0, 0, 1 | 4 | 8, 0, 8, 8, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1);
    __m256i lower = _mm256_and_si256(bytes, _mm256_set1_epi8(0x0F));
    return _mm256_and_si256(_mm256_shuffle_epi8(by_upper, upper_halves(bytes)),
                            _mm256_shuffle_epi8(by_lower, lower));
}

IN_AVX2 static inline uint64_t escape_letters(wide_block block)
{
    __m256i none = _mm256_setzero_si256();
    return ~set_bytes(_mm256_cmpeq_epi8(letters_of_escapes(block.first), none),
                      _mm256_cmpeq_epi8(letters_of_escapes(block.second), none));
}

/* Returns one bit for each byte that a backslash stands before which is not escaped itself (simdjson, "find_escaped").

   *carry says whether the first byte is one, and afterwards whether the first of the next block is. */
static inline uint64_t escaped_bytes(uint64_t backslashes, uint64_t *carry)
{
    const uint64_t even = 0x5555555555555555u;
    backslashes &= ~*carry;
    uint64_t follows = backslashes << 1 | *carry;
    uint64_t odd_starts = backslashes & ~even & ~follows;
    uint64_t runs;
    *carry = __builtin_add_overflow(odd_starts, backslashes, &runs);
    return (even ^ runs << 1) & follows;
}

/* Returns whether four digits stand behind each of the bytes of the block at p that the bits name. */
static inline int have_four_digits(text p, uint64_t bits)
{
    for (; bits; bits &= bits - 1)
        if (after_four_digits(p + __builtin_ctzll(bits) + 1) == NULL)
            return 0;
    return 1;
}

/* Does as string_end_in_blocks, in blocks of four times the size, and in the same time however many escapes they hold. */
IN_AVX2 static text string_end_in_wide_blocks(text *rest, text end)
{
    text p = *rest;
    uint64_t carry = 0, seen = 0;
    for (; end - p >= WIDE_BLOCK; p += WIDE_BLOCK) {
        wide_block block = {_mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32))};
        uint64_t stops = control_bytes(block);
        uint64_t quotes = bytes_equal_to(block, '"'), backslashes = bytes_equal_to(block, '\\');
        uint64_t with_digits = 0;
        /* where one escape is there are more: guessing anew for each block costs more than looking */
        seen |= backslashes;
        if (seen) {
            uint64_t escaped = escaped_bytes(backslashes, &carry);
            with_digits = escaped & bytes_equal_to(block, 'u');
            quotes &= ~escaped;
            stops |= escaped & ~escape_letters(block);
        }
        stops |= quotes;
        if (stops) {
            uint64_t first = stops & (0 - stops);
            int is_end = (quotes & first) && have_four_digits(p, with_digits & (first - 1));
            *rest = NULL;
            return is_end ? p + __builtin_ctzll(first) + 1 : NULL;
        }
        if (with_digits && !have_four_digits(p, with_digits)) {
            *rest = NULL;
            return NULL;
        }
    }
    /* an escape that the blocks cut through is read again from its backslash on */
    *rest = p - carry;
    return NULL;
}

/* Looks through most of a string; results are those of string_end_in_blocks. */
static inline text string_end_in_any_blocks(text *rest, text end)
{
    /* most strings are keys and other short ones */
    text found = string_end_in_blocks(rest, *rest + (end - *rest >= BLOCK ? BLOCK : 0));
    if (found == NULL && *rest != NULL && __builtin_cpu_supports("avx2"))
        found = string_end_in_wide_blocks(rest, end);
    if (found == NULL && *rest != NULL)
        found = string_end_in_blocks(rest, end);
    return found;
}
#endif

/* p is after the opening quote; returns the place after the closing one, NULL if the string is not valid. */
static text after_string(text p, text end)
{
#ifdef BODY_SCAN_X86
    text found = string_end_in_any_blocks(&p, end);
    if (found != NULL || p == NULL)
        return found;
#else
    (void)end;
#endif
    for (;;) {
        if (*p == '"')
            return p + 1;
        if (*p < 0x20)
            return NULL;
        p = *p == '\\' ? after_escape(p) : p + 1;
        if (p == NULL)
            return NULL;
    }
}

/* -- what they say ----------------------------------------------------------------------------------------------- */

static inline unsigned four_digits(text p)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (unsigned)digit_value(p[i]);
    return value;
}

/* Writes a character as UTF-8, a surrogate without its other half like any of three bytes; returns the end of it. */
static inline unsigned char *write_character(unsigned char *to, unsigned character)
{
    if (character < 0x80) {
        *to++ = (unsigned char)character;
        return to;
    }
    if (character < 0x800) {
        *to++ = (unsigned char)(0xC0 | character >> 6);
    } else {
        if (character < 0x10000) {
            *to++ = (unsigned char)(0xE0 | character >> 12);
        } else {
            *to++ = (unsigned char)(0xF0 | character >> 18);
            *to++ = (unsigned char)(0x80 | (character >> 12 & 0x3F));
        }
        *to++ = (unsigned char)(0x80 | (character >> 6 & 0x3F));
    }
    *to++ = (unsigned char)(0x80 | (character & 0x3F));
    return to;
}

/* Returns the character that the escape at *p stands for, and leaves its end in *p; two surrogates are one character. */
static inline unsigned read_escape(text *p)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    text at = *p;
    if (at[1] != 'u') {
        const char *found = strchr(letters, at[1]);
        *p = at + 2;
        return found == NULL ? at[1] : (unsigned char)meanings[found - letters];
    }
    unsigned character = four_digits(at + 2);
    *p = at + 6;
    if (character < 0xD800 || character > 0xDBFF || at[6] != '\\' || at[7] != 'u')
        return character;
    unsigned low = four_digits(at + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return character;
    *p = at + 12;
    return 0x10000 + ((character - 0xD800) << 10) + (low - 0xDC00);
}

#ifdef BODY_SCAN_X86
/* Copies whole blocks up to one that holds a backslash, of at most `most` characters, and leaves its place in *p; returns the
   end of the copy. *count grows by the characters that begin in them. */
static inline unsigned char *copy_plain_blocks(text *p, text end, size_t most, unsigned char *to, size_t *count)
{
    const __m128i zero = _mm_setzero_si128();
    size_t size = (size_t)(end - *p);
    if (size > most - *count)
        size = most - *count; /* no character is less than a byte */
    __m128i characters = zero;
    for (size_t blocks = size / BLOCK; blocks > 0; blocks--) {
        __m128i block = _mm_loadu_si128((const __m128i *)*p);
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))))
            break;
        /* as signed bytes, continuations are those below 0xC0 */
        __m128i leads = _mm_cmpgt_epi8(block, _mm_set1_epi8((char)0xBF));
        characters = _mm_add_epi64(characters, _mm_sad_epu8(_mm_sub_epi8(zero, leads), zero));
        _mm_storeu_si128((__m128i *)to, block);
        *p += BLOCK;
        to += BLOCK;
    }
    characters = _mm_add_epi64(characters, _mm_unpackhi_epi64(characters, characters));
    *count += (size_t)_mm_cvtsi128_si64(characters);
    return to;
}

/* Copies what stands before the first backslash of the block at *p, and leaves the end of it in *p; returns the end of the
   copy, which is written in a whole block. *count grows by the characters that begin in it. */
static inline unsigned char *copy_block(text *p, unsigned char *to, size_t *count)
{
    __m128i block = _mm_loadu_si128((const __m128i *)*p);
    unsigned backslashes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
    /* as signed bytes, continuations are those below 0xC0 */
    unsigned leads = (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(block, _mm_set1_epi8((char)0xBF)));
    int size = backslashes ? __builtin_ctz(backslashes) : BLOCK;
    _mm_storeu_si128((__m128i *)to, block);
    *count += (size_t)__builtin_popcount(leads & ((1u << size) - 1));
    *p += size;
    return to + size;
}
#endif

enum { ROOM_BEYOND = BLOCK };

/* Decodes the valid string from p to end into UTF-8, at most most characters of it, and returns the end of what it wrote.

   *count is the number of characters. There must be room for ROOM_BEYOND bytes more than the string has, or than four for
   each character. An escaped surrogate without its other half becomes three bytes, as "surrogatepass" has it. */
static unsigned char *decode_string(text p, text end, size_t most, unsigned char *to, size_t *count)
{
    *count = 0;
    while (p < end) {
#ifdef BODY_SCAN_X86
        if (end - p >= BLOCK && most - *count >= BLOCK && *p != '\\') {
            unsigned char *copied = copy_plain_blocks(&p, end, most, to, count);
            to = copied == to ? copy_block(&p, to, count) : copied;
            continue;
        }
#endif
        if (*p == '\\') {
            if (*count == most)
                break;
            to = write_character(to, read_escape(&p));
            ++*count;
        } else {
            if (!is_continuation(*p)) {
                if (*count == most)
                    break;
                ++*count;
            }
            *to++ = *p++;
        }
    }
    return to;
}
#endif
