/* Looks for base64 in samples of a text. A zero byte that does not belong to the text follows it. */

#ifndef BASE64_H
#define BASE64_H
#include "_utf8.h"

enum { SAMPLE = 48 };

static inline int is_base64(unsigned char byte)
{
    unsigned char letter = byte | 0x20;
    return (letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9') || byte == '+' || byte == '/' ||
           byte == '=' || byte == '-' || byte == '_';
}

/* Returns the first of the places p, p + stride, ... at which SAMPLE bytes of base64 stand, NULL if there is none. */
static text base64_sample(text p, text end, size_t stride)
{
    for (; p < end; p = (size_t)(end - p) > stride ? p + stride : end) {
        int length = 0;
        while (length < SAMPLE && is_base64(p[length]))
            length++;
        if (length == SAMPLE)
            return p;
    }
    return NULL;
}
#endif
