/* Finds the values of the few fields that the relay reads in a request body, in one strict pass.

   The text must be one JSON object (RFC 8259) in UTF-8 without a byte order mark, at most MAX_NESTING brackets deep, and
   nothing else. Nothing is decoded and nothing is kept: the result says where values stand. body_fields.py describes it;
   body_scan_pure.py does the same in Python, and the tests hold both to each other.

   The text ends with a zero byte that does not belong to it, as every bytes object does. Zero is valid nowhere in JSON, so
   that reading one byte at a time stops there without a comparison of positions. There is no recursion. */

#include <stddef.h>
#include <string.h>
#if defined(__SSE2__) && !defined(BODY_SCAN_PORTABLE)
#include <emmintrin.h>
#define BODY_SCAN_SSE2
#endif

enum {
    MODEL,
    EARLIER_MODEL,
    STREAM,
    STREAM_OPTIONS,
    INCLUDE_USAGE,
    MAX_COMPLETION_TOKENS,
    MAX_TOKENS,
    MAX_OUTPUT_TOKENS,
    N,
    BEST_OF,
    PREVIOUS_RESPONSE_ID,
    PROMPT_CACHE_KEY,
    MESSAGES,
    INPUT,
    PROMPT,
    INSTRUCTIONS,
    FIRST_OPENING, /* the number of fields */
};
enum { MAX_OPENING_MESSAGES = 64, MAX_NESTING = 512, BLOCK = 16, LONGEST_NAME = 21 };

typedef const unsigned char *text;

/* Where a value stands; start is NULL for one that is absent. */
typedef struct {
    text start, end;
} span;

typedef struct {
    text end;
    unsigned open; /* arrays and objects around the value being read */
    span fields[FIRST_OPENING];
    span openings[MAX_OPENING_MESSAGES];
    unsigned opening_count;
    unsigned messages_seen;
    int user_seen;
    span role, content; /* of the message being read, or of the object that input or prompt begins with */
    span *opening; /* of the input or prompt being read; NULL once it is found, or given up */
    unsigned prefaces_seen;
} body_scan;

typedef struct {
    const char *name;
    unsigned char length, field;
} field_name;

#define NAMED(name, field) {name, sizeof(name) - 1, field}
static const field_name FIELD_NAMES[] = {
    NAMED("model", MODEL),
    NAMED("stream", STREAM),
    NAMED("stream_options", STREAM_OPTIONS),
    NAMED("max_completion_tokens", MAX_COMPLETION_TOKENS),
    NAMED("max_tokens", MAX_TOKENS),
    NAMED("max_output_tokens", MAX_OUTPUT_TOKENS),
    NAMED("n", N),
    NAMED("best_of", BEST_OF),
    NAMED("previous_response_id", PREVIOUS_RESPONSE_ID),
    NAMED("prompt_cache_key", PROMPT_CACHE_KEY),
    NAMED("messages", MESSAGES),
    NAMED("input", INPUT),
    NAMED("prompt", PROMPT),
    NAMED("instructions", INSTRUCTIONS),
};
enum { NAME_COUNT = sizeof(FIELD_NAMES) / sizeof(FIELD_NAMES[0]) };

/* -- strings ----------------------------------------------------------------------------------------------------- */

static inline int is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

/* Returns the end of the character of several bytes at p (Unicode, table 3-7), NULL if it is none. */
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

/* Returns the value of a hexadecimal digit, -1 if it is none. */
static inline int digit_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Returns the end of the escape at p, NULL if it is none. */
static inline text after_escape(text p)
{
    switch (p[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return p + 2;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (digit_value(p[i]) < 0)
                return NULL;
        return p + 6;
    default:
        return NULL;
    }
}

/* Returns the end of what stands at p inside a string and is not plain ASCII, NULL if it may not stand there. */
static inline text after_special(text p)
{
    if (*p == '\\')
        return after_escape(p);
    return *p >= 0x80 ? after_wide_character(p) : NULL;
}

#ifdef BODY_SCAN_SSE2
/* Returns one bit for each byte of the block at p that is not plain ASCII inside a string. */
static inline unsigned special_bytes(text p)
{
    __m128i block = _mm_loadu_si128((const __m128i *)p);
    __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    __m128i escape = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    /* as signed bytes, those from 0x80 on are below the blank too */
    __m128i other = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), other));
}

/* Looks through whole blocks from p on. Returns the end of the string or NULL and leaves *rest where blocks end; NULL
   and *rest NULL if the string is not valid. */
static inline text string_in_blocks(text p, text end, text *rest)
{
    while (end - p >= BLOCK) {
        unsigned special = special_bytes(p);
        text next = p + BLOCK;
        while (special) {
            text at = p + __builtin_ctz(special);
            if (*at == '"')
                return at + 1;
            at = after_special(at);
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
#endif

/* p is after the opening quote; returns the place after the closing one, NULL if the string is not valid. */
static text after_string(text p, text end)
{
#ifdef BODY_SCAN_SSE2
    text found = string_in_blocks(p, end, &p);
    if (found != NULL || p == NULL)
        return found;
#else
    (void)end;
#endif
    for (;;) {
        if (*p == '"')
            return p + 1;
        if (*p >= 0x20 && *p < 0x80 && *p != '\\') {
            p++;
            continue;
        }
        p = after_special(p);
        if (p == NULL)
            return NULL;
    }
}

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

/* -- what the relay reads ---------------------------------------------------------------------------------------- */

/* Reads the value at p and returns its end, NULL if it is not valid; key is its name in an object, NULL in an array. */
typedef text (*value_reader)(body_scan *scan, const short_string *key, text p);

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

/* Reads every value of the array or object at p with `read` and returns its end, NULL if it is not valid. */
static text after_values(body_scan *scan, text p, value_reader read)
{
    int in_object = *p == '{';
    unsigned char closing = in_object ? '}' : ']';
    short_string key;

    scan->open++;
    p = after_blanks(p + 1);
    if (*p != closing) {
        for (;;) {
            if (in_object && (p = read_key(p, scan->end, &key)) == NULL)
                return NULL;
            p = read(scan, in_object ? &key : NULL, p);
            if (p == NULL)
                return NULL;
            p = after_blanks(p);
            if (*p != ',')
                break;
            p = after_blanks(p + 1);
        }
        if (*p != closing)
            return NULL;
    }
    scan->open--;
    return p + 1;
}

static text skip_value(body_scan *scan, text p) { return after_value(p, scan->end, scan->open); }

static text read_stream_option(body_scan *scan, const short_string *key, text p)
{
    text after = skip_value(scan, p);
    if (after != NULL && is_named(key, "include_usage", 13))
        scan->fields[INCLUDE_USAGE] = (span){p, after};
    return after;
}

static text read_message_part(body_scan *scan, const short_string *key, text p)
{
    text after = skip_value(scan, p);
    if (after != NULL && is_named(key, "role", 4))
        scan->role = (span){p, after};
    if (after != NULL && is_named(key, "content", 7))
        scan->content = (span){p, after};
    return after;
}

/* Reads the object at p for its role and content; sets *content to an empty span if it has none. */
static text read_message_object(body_scan *scan, text p, span *content)
{
    scan->role = scan->content = (span){NULL, NULL};
    text after = after_values(scan, p, read_message_part);
    *content = scan->content.start == NULL ? (span){p, p} : scan->content;
    return after;
}

/* Reads the role of the message that was read last; returns 0 if it has none that is a string. */
static int read_role(const body_scan *scan, short_string *role)
{
    if (scan->role.start == NULL || *scan->role.start != '"')
        return 0;
    read_short_string(scan->role.start + 1, scan->role.end - 1, role);
    return 1;
}

static int is_preface(const short_string *role)
{
    return is_named(role, "system", 6) || is_named(role, "developer", 9);
}

static text read_message(body_scan *scan, const short_string *key, text p)
{
    (void)key;
    if (scan->user_seen || scan->messages_seen == MAX_OPENING_MESSAGES)
        return skip_value(scan, p);
    scan->messages_seen++;
    if (*p != '{')
        return skip_value(scan, p);
    span content;
    short_string role;
    text after = read_message_object(scan, p, &content);
    if (after == NULL || !read_role(scan, &role))
        return after;
    scan->user_seen = is_named(&role, "user", 4);
    if (scan->user_seen || is_preface(&role))
        scan->openings[scan->opening_count++] = content;
    return after;
}

/* Reads the value of messages; what the platform says to every user opens no conversation without a user. */
static text read_messages(body_scan *scan, text p)
{
    scan->opening_count = scan->messages_seen = 0;
    scan->user_seen = 0;
    text after = *p == '[' ? after_values(scan, p, read_message) : skip_value(scan, p);
    if (!scan->user_seen)
        scan->opening_count = 0;
    return after;
}

/* Reads the value of input or prompt, or an item of it that may be the opening: the value, or the content of an object. */
static text read_opening(body_scan *scan, span *opening, text p)
{
    if (*p == '{')
        return read_message_object(scan, p, opening);
    text after = skip_value(scan, p);
    *opening = (span){p, after};
    return after;
}

static text read_input_item(body_scan *scan, const short_string *key, text p)
{
    short_string role;
    span found;
    (void)key;
    if (scan->opening == NULL)
        return skip_value(scan, p);
    text after = read_opening(scan, &found, p);
    if (after != NULL && *p == '{' && read_role(scan, &role) && is_preface(&role)) {
        if (++scan->prefaces_seen == MAX_OPENING_MESSAGES)
            scan->opening = NULL;
        return after;
    }
    *scan->opening = found;
    scan->opening = NULL;
    return after;
}

static text read_input(body_scan *scan, text p, span *opening)
{
    if (*p != '[')
        return read_opening(scan, opening, p);
    *opening = (span){p, p};
    scan->opening = opening;
    scan->prefaces_seen = 0;
    return after_values(scan, p, read_input_item);
}

static text read_stream_options(body_scan *scan, text p)
{
    scan->fields[INCLUDE_USAGE] = (span){NULL, NULL};
    return *p == '{' ? after_values(scan, p, read_stream_option) : skip_value(scan, p);
}

/* Returns the field of this name, -1 if the relay reads none of that name. */
static int field_of(const short_string *key)
{
    for (int i = 0; i < NAME_COUNT; i++)
        if (is_named(key, FIELD_NAMES[i].name, FIELD_NAMES[i].length))
            return FIELD_NAMES[i].field;
    return -1;
}

static text read_field(body_scan *scan, const short_string *key, text p)
{
    int field = field_of(key);
    text after;
    switch (field) {
    case -1:
        return skip_value(scan, p);
    case MESSAGES:
        after = read_messages(scan, p);
        break;
    case INPUT: case PROMPT:
        return read_input(scan, p, &scan->fields[field]);
    case STREAM_OPTIONS:
        after = read_stream_options(scan, p);
        break;
    case MODEL:
        scan->fields[EARLIER_MODEL] = scan->fields[MODEL];
        after = skip_value(scan, p);
        break;
    default:
        after = skip_value(scan, p);
    }
    scan->fields[field] = (span){p, after};
    return after;
}

/* Scans the size bytes at start, which a zero byte follows; returns 0 if they are not one JSON object. */
static int scan_body(body_scan *scan, text start, size_t size)
{
    memset(scan, 0, offsetof(body_scan, openings));
    scan->end = start + size;
    scan->opening_count = 0;
    text p = after_blanks(start);
    if (*p != '{')
        return 0;
    p = after_values(scan, p, read_field);
    return p != NULL && after_blanks(p) == scan->end;
}

/* -- the module -------------------------------------------------------------------------------------------------- */

#ifndef BODY_SCAN_WITHOUT_PYTHON
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

/* Returns (start, end) in bytes from `origin`, None if the value is absent, NULL with an exception set. */
static PyObject *span_object(text origin, span found)
{
    if (found.start == NULL)
        return Py_NewRef(Py_None);
    PyObject *start = PyLong_FromSsize_t(found.start - origin);
    PyObject *end = PyLong_FromSsize_t(found.end - origin);
    PyObject *pair = PyTuple_New(2);
    if (start == NULL || end == NULL || pair == NULL) {
        Py_XDECREF(start);
        Py_XDECREF(end);
        Py_XDECREF(pair);
        return NULL;
    }
    PyTuple_SetItem(pair, 0, start);
    PyTuple_SetItem(pair, 1, end);
    return pair;
}

static PyObject *spans_object(const body_scan *scan, text origin)
{
    unsigned count = FIRST_OPENING + scan->opening_count;
    PyObject *spans = PyTuple_New((Py_ssize_t)count);
    if (spans == NULL)
        return NULL;
    for (unsigned i = 0; i < count; i++) {
        span found = i < FIRST_OPENING ? scan->fields[i] : scan->openings[i - FIRST_OPENING];
        PyObject *item = span_object(origin, found);
        if (item == NULL) {
            Py_DECREF(spans);
            return NULL;
        }
        PyTuple_SetItem(spans, (Py_ssize_t)i, item);
    }
    return spans;
}

static PyObject *scan(PyObject *module, PyObject *raw)
{
    char *start;
    Py_ssize_t size;
    body_scan found;

    (void)module;
    if (PyBytes_AsStringAndSize(raw, &start, &size) < 0)
        return NULL;
    if (!scan_body(&found, (text)start, (size_t)size))
        Py_RETURN_NONE;
    return spans_object(&found, (text)start);
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_O, "Returns where the fields stand that the relay reads; None for what is no JSON object."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "relay.dialect._body_scan", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__body_scan(void) { return PyModuleDef_Init(&definition); }
#endif
