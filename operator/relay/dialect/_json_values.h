/* Names and values of a JSON text (RFC 8259): where they end, and which name it is.

   A zero byte that does not belong to the text follows it. Zero is valid nowhere in JSON, so that reading one byte at a time stops there
   without a comparison of positions. */

#ifndef JSON_VALUES_H
#define JSON_VALUES_H
#include "_json_strings.h"

enum { MAX_NESTING = 512, LONGEST_NAME = 64 };

/* Where a value stands; start is NULL for one that is absent. */
typedef struct {
    text start, end;
} span;

/* -- keys -------------------------------------------------------------------------------------------------------- */

/* Decodes the valid string from p to end into name and returns its length, -1 if it is longer or no ASCII. */
static int decoded_name(text p, text end, char name[LONGEST_NAME])
{
    int length = 0;
    while (p < end) {
        unsigned character = *p;
        if (length == LONGEST_NAME)
            return -1;
        if (character != '\\') {
            p++;
        } else if (p[1] == 'u') {
            character = 0;
            for (int i = 2; i < 6; i++)
                character = character << 4 | (unsigned)digit_value(p[i]);
            p += 6;
        } else {
            return -1; /* no name of ours holds what the other escapes stand for */
        }
        if (character >= 0x80)
            return -1;
        name[length++] = (char)character;
    }
    return length;
}

/* A key or another short string, decoded if it is spelled with escapes; its length is -1 if it is no name of ours. */
typedef struct {
    const char *bytes;
    int length;
    char decoded[LONGEST_NAME];
} short_string;

/* start and end lie inside the quotes. */
static inline void read_short_string(text start, text end, short_string *string)
{
    size_t size = (size_t)(end - start);
    string->bytes = (const char *)start;
    string->length = size <= LONGEST_NAME ? (int)size : -1;
    if (size <= 6 * LONGEST_NAME && memchr(start, '\\', size) != NULL) {
        string->bytes = string->decoded;
        string->length = decoded_name(start, end, string->decoded);
    }
}

static inline int is_named(const short_string *string, const char *name, size_t length)
{
    return string->length == (int)length && memcmp(string->bytes, name, length) == 0;
}

/* -- values ------------------------------------------------------------------------------------------------------ */

static inline text after_blanks(text p)
{
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')
        p++;
    return p;
}

static inline int is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

static inline text after_digits(text p)
{
    while (is_digit(*p))
        p++;
    return p;
}

static text after_number(text p)
{
    if (*p == '-')
        p++;
    if (!is_digit(*p))
        return NULL;
    p = *p == '0' ? p + 1 : after_digits(p);
    if (*p == '.') {
        if (!is_digit(p[1]))
            return NULL;
        p = after_digits(p + 1);
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        if (!is_digit(*p))
            return NULL;
        p = after_digits(p);
    }
    return p;
}

static inline text after_word(text p, const char *word)
{
    while (*word)
        if (*p++ != (unsigned char)*word++)
            return NULL;
    return p;
}

/* Returns the end of the value at p that is neither array nor object. */
static inline text after_scalar(text p, text end)
{
    switch (*p) {
    case '"': return after_string(p + 1, end);
    case 't': return after_word(p, "true");
    case 'f': return after_word(p, "false");
    case 'n': return after_word(p, "null");
    default: return after_number(p);
    }
}

/* Returns the place of the value whose key begins at p, NULL if there is no key. */
static inline text after_key(text p, text end)
{
    if (*p != '"')
        return NULL;
    p = after_string(p + 1, end);
    if (p == NULL)
        return NULL;
    p = after_blanks(p);
    return *p == ':' ? after_blanks(p + 1) : NULL;
}

/* Returns the end of the value at p, NULL if it is none; open brackets stand around it. */
static text after_value(text p, text end, unsigned open)
{
    unsigned char closing[MAX_NESTING]; /* the bracket that closes each open array and object */
    unsigned depth = 0;

value:
    if (*p == '{' || *p == '[') {
        if (open + depth >= MAX_NESTING)
            return NULL;
        closing[depth++] = *p == '{' ? '}' : ']';
        p = after_blanks(p + 1);
        if (*p == closing[depth - 1])
            goto close;
        goto member;
    }
    p = after_scalar(p, end);
    if (p == NULL)
        return NULL;
    if (depth == 0)
        return p;
after:
    p = after_blanks(p);
    if (*p == closing[depth - 1])
        goto close;
    if (*p != ',')
        return NULL;
    p = after_blanks(p + 1);
member:
    if (closing[depth - 1] == '}') {
        p = after_key(p, end);
        if (p == NULL)
            return NULL;
    }
    goto value;
close:
    p++;
    if (--depth == 0)
        return p;
    goto after;
}

/* Reads the key at p, which lies in the text up to end, and returns the place of its value, NULL if there is no key. */
static inline text read_key(text p, text end, short_string *key)
{
    text start = p + 1;
    if (*p != '"')
        return NULL;
    p = after_string(start, end);
    if (p == NULL)
        return NULL;
    read_short_string(start, p - 1, key);
    p = after_blanks(p);
    return *p == ':' ? after_blanks(p + 1) : NULL;
}
#endif
