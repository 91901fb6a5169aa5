/* Finds the values of the few fields that the relay reads in a request body, in one strict pass; and tells a whole answer by one.

   The text must be one JSON object (RFC 8259) in UTF-8 without a byte order mark, at most MAX_NESTING brackets deep, and
   nothing else. Nothing is decoded and nothing is kept: the result says where values stand. body_fields.py describes it;
   body_scan_pure.py does the same in Python, and the tests hold both to each other.

   What is not ASCII stands inside strings alone, so that the whole text is checked for UTF-8 first; from then on such bytes are
   like any letter.

   The text ends with a zero byte that does not belong to it, as every bytes object does. Zero is valid nowhere in JSON, so
   that reading one byte at a time stops there without a comparison of positions. Only the parameters that are taken out of a
   body are looked for with recursion, as deep as their paths are long. */

#include "_base64.h"
#include "_plain_usage.h"

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
    CONVERSATION,
    EARLIER_BOUND,
    FIRST_OPENING, /* the number of fields */
};
enum { MAX_OPENING_MESSAGES = 64 };

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
    NAMED("conversation", CONVERSATION),
};
enum { NAME_COUNT = sizeof(FIELD_NAMES) / sizeof(FIELD_NAMES[0]) };

/* -- what the relay reads ---------------------------------------------------------------------------------------- */

/* Reads the value at p and returns its end, NULL if it is not valid; key is its name in an object, NULL in an array. */
typedef text (*value_reader)(body_scan *scan, const short_string *key, text p);

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
    case MAX_COMPLETION_TOKENS: case MAX_TOKENS: case MAX_OUTPUT_TOKENS: case N: case BEST_OF:
        if (scan->fields[field].start != NULL)
            scan->fields[EARLIER_BOUND] = scan->fields[field];
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
    if (*p != '{' || !is_utf8(p, scan->end))
        return 0;
    p = after_values(scan, p, read_field);
    return p != NULL && after_blanks(p) == scan->end;
}

/* -- parameters that are taken out ------------------------------------------------------------------------------- */

enum { MAX_PATHS = 16, MAX_STEPS = 6 };

/* A name, or several with dots between them that lead from one object into the next. */
typedef struct {
    const char *steps[MAX_STEPS];
    size_t lengths[MAX_STEPS];
    unsigned count;
} path;

typedef struct {
    text end;
    path paths[MAX_PATHS];
    unsigned path_count;
    text kept; /* from here on nothing is decided yet */
    char *out; /* what is kept goes here; NULL while it is only counted */
    size_t size; /* of what is kept, so far */
} removal;

/* Splits the path at its dots; returns 0 if it has too many or an empty step. */
static int read_path(path *into, const char *p, size_t length)
{
    const char *end = p + length;
    into->count = 0;
    for (;;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        const char *stop = dot == NULL ? end : dot;
        if (into->count == MAX_STEPS || stop == p)
            return 0;
        into->steps[into->count] = p;
        into->lengths[into->count++] = (size_t)(stop - p);
        if (dot == NULL)
            return 1;
        p = dot + 1;
    }
}

static void take_out(removal *to, text start, text end)
{
    size_t size = (size_t)(start - to->kept);
    if (to->out != NULL)
        memcpy(to->out + to->size, to->kept, size);
    to->size += size;
    to->kept = end;
}

/* Returns which of the active paths go on after this key, one bit each; sets *ends if one of them ends with it. */
static unsigned following(const removal *from, const short_string *key, unsigned level, unsigned active, int *ends)
{
    unsigned deeper = 0;
    for (unsigned i = 0; i < from->path_count; i++) {
        const path *one = &from->paths[i];
        if (!(active >> i & 1) || !is_named(key, one->steps[level], one->lengths[level]))
            continue;
        if (level + 1 == one->count)
            *ends = 1;
        else
            deeper |= 1u << i;
    }
    return deeper;
}

static text after_thinned_value(removal *from, text p, unsigned level, unsigned active, unsigned open);

/* Takes members out of the object at p and returns its end, NULL if it is not valid; open brackets stand around it. The
   paths that are active have come as far as this object, in `level` steps. */
static text after_thinned_object(removal *from, text p, unsigned level, unsigned active, unsigned open)
{
    short_string key;
    int kept = 0;
    text first = after_blanks(p + 1), last_end = first;

    p = first;
    if (*p == '}')
        return p + 1;
    for (;;) {
        text start = p, end;
        int ends = 0;
        p = read_key(p, from->end, &key);
        if (p == NULL)
            return NULL;
        unsigned deeper = following(from, &key, level, active, &ends);
        if (ends) {
            end = after_value(p, from->end, open + 1);
            /* with the comma before it, or, as long as none is kept, with the one behind it */
            if (end != NULL && kept)
                take_out(from, last_end, end);
        } else {
            if (!kept && start != first)
                take_out(from, first, start);
            kept = 1;
            end = deeper ? after_thinned_value(from, p, level + 1, deeper, open + 1)
                         : after_value(p, from->end, open + 1);
        }
        if (end == NULL)
            return NULL;
        last_end = end;
        p = after_blanks(end);
        if (*p != ',')
            break;
        p = after_blanks(p + 1);
    }
    if (*p != '}')
        return NULL;
    if (!kept)
        take_out(from, first, last_end);
    return p + 1;
}

/* The same for any value: an object, each object of an array, and nothing else. */
static text after_thinned_value(removal *from, text p, unsigned level, unsigned active, unsigned open)
{
    if (*p == '{')
        return after_thinned_object(from, p, level, active, open);
    if (*p != '[')
        return after_value(p, from->end, open);
    p = after_blanks(p + 1);
    if (*p == ']')
        return p + 1;
    for (;;) {
        p = *p == '{' ? after_thinned_object(from, p, level, active, open + 1)
                      : after_value(p, from->end, open + 1);
        if (p == NULL)
            return NULL;
        p = after_blanks(p);
        if (*p != ',')
            break;
        p = after_blanks(p + 1);
    }
    return *p == ']' ? p + 1 : NULL;
}

/* Takes the paths out of the body of size bytes at start, which scan_body accepts, and writes what is left to out unless
   that is NULL; returns its size. */
static size_t thin_body(removal *from, text start, size_t size, char *out)
{
    from->end = start + size;
    from->kept = start;
    from->out = out;
    from->size = 0;
    text end = after_thinned_object(from, after_blanks(start), 0, (1u << from->path_count) - 1, 0);
    if (end == NULL) /* no body */
        return 0;
    take_out(from, from->end, from->end);
    return from->size;
}

/* -- all members ------------------------------------------------------------------------------------------------- */

enum { MAX_MEMBERS = 128 };

/* A member of the outermost object: its key with its quotes, and its value. */
typedef struct {
    span key, value;
} member;

/* Finds the members of the body of size bytes at start, which scan_body accepts; returns their number, -1 if there are more
   than MAX_MEMBERS. */
static int read_members(member *found, text start, size_t size)
{
    text end = start + size, p = after_blanks(after_blanks(start) + 1);
    int count = 0;
    while (*p == '"') {
        if (count == MAX_MEMBERS)
            return -1;
        member *one = &found[count++];
        one->key.start = p;
        one->value.start = after_key(p, end);
        one->key.end = after_string(p + 1, end);
        one->value.end = one->value.start == NULL ? NULL : after_value(one->value.start, end, 1);
        if (one->value.end == NULL) /* no body */
            return -1;
        p = after_blanks(one->value.end);
        if (*p == ',')
            p = after_blanks(p + 1);
    }
    return count;
}

/* -- answers ----------------------------------------------------------------------------------------------------- */

/* What is looked for in an answer: that it reports no error and that each item of a list in it has a member that is not empty. */
typedef struct {
    text end;
    short_string list, member;
    int complete; /* the list was found, and every item of it is as it should be */
    span usage, model, service_tier; /* the last of each, as for who decodes it */
    usage_object read; /* of the usage */
} answer_scan;

/* Returns whether the valid value at p is a string, an array or an object that is not empty. */
static int is_filled(text p)
{
    switch (*p) {
    case '"': return p[1] != '"';
    case '[': return *after_blanks(p + 1) != ']';
    case '{': return *after_blanks(p + 1) != '}';
    default: return 0;
    }
}

static int is_same(const short_string *key, const short_string *name)
{
    return is_named(key, name->bytes, (size_t)name->length);
}

/* Returns whether the valid value from p to after is the word error. */
static int says_error(text p, text after)
{
    short_string word;
    if (*p != '"')
        return 0;
    read_short_string(p + 1, after - 1, &word);
    return is_named(&word, "error", 5);
}

/* Returns whether the member of an answer, or of an item of its list, says by its name that there may be an error. */
static int may_report_error(const short_string *key, text p, text after)
{
    if (is_named(key, "error", 5))
        return *p != 'n';
    return (is_named(key, "finish_reason", 13) || is_named(key, "object", 6)) && says_error(p, after);
}

/* Returns the end of the item at p, NULL if it is not as it should be. */
static text after_whole_item(const answer_scan *scan, text p)
{
    short_string key;
    int filled = 0;
    if (*p != '{')
        return NULL;
    do {
        p = read_key(after_blanks(p + 1), scan->end, &key);
        text after = p == NULL ? NULL : after_value(p, scan->end, 2);
        if (after == NULL || may_report_error(&key, p, after))
            return NULL;
        if (is_same(&key, &scan->member))
            filled = is_filled(p);
        p = after_blanks(after);
    } while (*p == ',');
    return *p == '}' && filled ? p + 1 : NULL;
}

/* Returns the end of the list at p, NULL if it has no item, or one that is not as it should be. */
static text after_whole_items(const answer_scan *scan, text p)
{
    if (*p != '[')
        return NULL;
    do {
        p = after_whole_item(scan, after_blanks(p + 1));
        if (p == NULL)
            return NULL;
        p = after_blanks(p);
    } while (*p == ',');
    return *p == ']' ? p + 1 : NULL;
}

/* Scans the size bytes at start, which a zero byte follows; returns 0 for anything but an answer that is as it should be. */
static int scan_answer(answer_scan *scan, text start, size_t size)
{
    short_string key;
    scan->end = start + size;
    scan->usage = scan->model = scan->service_tier = (span){NULL, NULL};
    scan->complete = 0;
    text p = after_blanks(start);
    if (*p != '{' || !is_utf8(p, scan->end))
        return 0;
    do {
        p = read_key(after_blanks(p + 1), scan->end, &key);
        if (p == NULL || is_named(&key, "type", 4)) /* which may name an error */
            return 0;
        int is_list = is_same(&key, &scan->list), is_usage = is_named(&key, "usage", 5);
        text after = is_list    ? after_whole_items(scan, p)
                     : is_usage ? after_usage(p, scan->end, &scan->read)
                                : after_value(p, scan->end, 1);
        if (after == NULL || may_report_error(&key, p, after))
            return 0;
        scan->complete |= is_list;
        if (is_usage)
            scan->usage = (span){p, after};
        else if (is_named(&key, "model", 5))
            scan->model = (span){p, after};
        else if (is_named(&key, "service_tier", 12))
            scan->service_tier = (span){p, after};
        p = after_blanks(after);
    } while (*p == ',');
    return *p == '}' && scan->complete && after_blanks(p + 1) == scan->end;
}

/* Where the labels of a plain answer begin, each with its length in front of all of them, and the most bytes of one. */
enum { LABELS = 2, LABELS_START = COUNTS_BYTES + LABELS, LONGEST_LABEL = 255 };
typedef struct {
    unsigned char bytes[LABELS_START + LABELS * LONGEST_LABEL];
    size_t size;
} plain_report;

/* Adds a label: what a string says that needs no decoding, and nothing for another value; returns 0 for a string that is left to others. */
static int add_label(plain_report *to, int label, span found)
{
    size_t size = found.start == NULL || *found.start != '"' ? 0 : (size_t)(found.end - found.start) - 2;

    if (size > LONGEST_LABEL || (size && memchr(found.start, '\\', size) != NULL))
        return 0;
    to->bytes[COUNTS_BYTES + label] = (unsigned char)size;
    if (size)
        memcpy(to->bytes + to->size, found.start + 1, size);
    to->size += size;
    return 1;
}

/* Reads the usage of an answer that was scanned, and puts it together with model and service tier as they stand in a record; returns 0 for one
   that is unlike most. */
static int read_plain_answer(const answer_scan *answer, plain_usage *usage, plain_report *report)
{
    if (answer->usage.start == NULL || !read_plain_usage(&answer->read, usage))
        return 0;
    write_counts(usage, report->bytes);
    report->size = LABELS_START;
    return add_label(report, 0, answer->model) && add_label(report, 1, answer->service_tier);
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

/* Returns (start, end, start, end, ...) of the spans in one tuple, 0 and 0 for one that is absent; NULL with an exception set. */
static PyObject *places_object(text origin, const span *spans, Py_ssize_t count)
{
    PyObject *places = PyTuple_New(2 * count);
    for (Py_ssize_t i = 0; places != NULL && i < 2 * count; i++) {
        const span *one = &spans[i / 2];
        text there = one->start == NULL ? origin : i % 2 ? one->end : one->start;
        PyObject *place = PyLong_FromSsize_t(there - origin);
        if (place == NULL) {
            Py_DECREF(places);
            places = NULL;
        } else {
            PyTuple_SetItem(places, i, place);
        }
    }
    return places;
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

/* Reads the span (start, end) of the bytes object raw, None for an empty one; returns 0 with an exception set if it is none. */
static int read_span(PyObject *raw, PyObject *pair, span *found)
{
    char *start;
    Py_ssize_t size, first, last;

    if (PyBytes_AsStringAndSize(raw, &start, &size) < 0)
        return 0;
    *found = (span){(text)start, (text)start};
    if (pair == Py_None)
        return 1;
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "a span is a tuple of two integers");
        return 0;
    }
    first = PyLong_AsSsize_t(PyTuple_GetItem(pair, 0));
    last = PyLong_AsSsize_t(PyTuple_GetItem(pair, 1));
    if (PyErr_Occurred())
        return 0;
    if (first < 0 || last < first || last > size) {
        PyErr_SetString(PyExc_ValueError, "the span is not inside the text");
        return 0;
    }
    *found = (span){(text)start + first, (text)start + last};
    return 1;
}

/* Makes a Python object of decoded text. */
typedef PyObject *(*text_object)(const char *decoded, Py_ssize_t size, size_t characters);

/* Decodes the string at args[1] in args[0], at most args[2] characters; None where no string stands. */
static PyObject *decoded_at(PyObject *const *args, Py_ssize_t count, text_object object)
{
    unsigned char few[512], *room = few;
    span found;
    size_t most, size, characters;

    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "text, span and a number of characters are needed");
        return NULL;
    }
    most = PyLong_AsSize_t(args[2]);
    if ((most == (size_t)-1 && PyErr_Occurred()) || !read_span(args[0], args[1], &found))
        return NULL;
    if (found.end - found.start < 2 || *found.start != '"')
        Py_RETURN_NONE;
    size = (size_t)(found.end - found.start) - 2;
    if (size / 4 > most)
        size = 4 * most;
    if (size + ROOM_BEYOND > sizeof(few) && (room = PyMem_Malloc(size + ROOM_BEYOND)) == NULL)
        return PyErr_NoMemory();
    unsigned char *end = decode_string(found.start + 1, found.end - 1, most, room, &characters);
    PyObject *result = object((const char *)room, end - room, characters);
    if (room != few)
        PyMem_Free(room);
    return result;
}

static PyObject *as_string(const char *decoded, Py_ssize_t size, size_t characters)
{
    (void)characters;
    return PyUnicode_DecodeUTF8(decoded, size, "surrogatepass");
}

static PyObject *as_bytes_and_count(const char *decoded, Py_ssize_t size, size_t characters)
{
    PyObject *bytes = PyBytes_FromStringAndSize(decoded, size);
    PyObject *number = PyLong_FromSize_t(characters);
    PyObject *both = PyTuple_New(2);
    if (bytes == NULL || number == NULL || both == NULL) {
        Py_XDECREF(bytes);
        Py_XDECREF(number);
        Py_XDECREF(both);
        return NULL;
    }
    PyTuple_SetItem(both, 0, bytes);
    PyTuple_SetItem(both, 1, number);
    return both;
}

static PyObject *string_at(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return decoded_at(args, count, as_string);
}

static PyObject *text_at(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return decoded_at(args, count, as_bytes_and_count);
}

static PyObject *base64_at(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    char *start;
    Py_ssize_t size, place, stride;

    (void)module;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "text, place and stride are needed");
        return NULL;
    }
    place = PyLong_AsSsize_t(args[1]);
    stride = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred() || PyBytes_AsStringAndSize(args[0], &start, &size) < 0)
        return NULL;
    if (place < 0 || stride < 1) {
        PyErr_SetString(PyExc_ValueError, "place and stride count bytes of the text");
        return NULL;
    }
    if (place >= size)
        return PyLong_FromLong(-1);
    text found = base64_sample((text)start + place, (text)start + size, (size_t)stride);
    return PyLong_FromSsize_t(found == NULL ? -1 : found - (text)start);
}

/* Looks for errors in the answer args[0], and for a list args[1] whose items have the member args[2]. */
static PyObject *reports_in_answer(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    char *start, *names[2];
    Py_ssize_t size, lengths[2];
    answer_scan found;

    (void)module;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "an answer and two names are needed");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(args[0], &start, &size) < 0)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (PyBytes_AsStringAndSize(args[1 + i], &names[i], &lengths[i]) < 0)
            return NULL;
    read_short_string((text)names[0], (text)names[0] + lengths[0], &found.list);
    read_short_string((text)names[1], (text)names[1] + lengths[1], &found.member);
    if (!scan_answer(&found, (text)start, (size_t)size))
        Py_RETURN_NONE;
    return places_object((text)start, (span[]){found.usage, found.model, found.service_tier}, 3);
}

static PyObject *plain_answer(PyObject *module, PyObject *answer)
{
    static const char list[] = "choices", item_member[] = "message";
    char *start;
    Py_ssize_t size;
    answer_scan found;
    plain_usage usage;
    plain_report report;

    (void)module;
    if (PyBytes_AsStringAndSize(answer, &start, &size) < 0)
        return NULL;
    read_short_string((text)list, (text)list + sizeof list - 1, &found.list);
    read_short_string((text)item_member, (text)item_member + sizeof item_member - 1, &found.member);
    if (!scan_answer(&found, (text)start, (size_t)size) || !read_plain_answer(&found, &usage, &report))
        Py_RETURN_NONE;
    int64_t numbers[] = {usage.input, usage.output, usage.cached, usage.reasoning};
    enum { FIRST = 1, ITEMS = FIRST + sizeof numbers / sizeof *numbers };
    PyObject *read = PyTuple_New(ITEMS);
    for (Py_ssize_t i = 0; read != NULL && i < ITEMS; i++) {
        PyObject *item = i < FIRST ? PyBytes_FromStringAndSize((const char *)report.bytes, (Py_ssize_t)report.size)
                                   : PyLong_FromLong((long)numbers[i - FIRST]);
        if (item == NULL)
            Py_CLEAR(read);
        else
            PyTuple_SetItem(read, i, item);
    }
    return read;
}

/* Reads the paths, a tuple of bytes; returns 0 with an exception set if they are none. */
static int read_paths(removal *from, PyObject *paths)
{
    Py_ssize_t count = PyTuple_Size(paths);
    if (count > MAX_PATHS) {
        PyErr_SetString(PyExc_ValueError, "too many paths");
        return 0;
    }
    from->path_count = (unsigned)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        char *name;
        Py_ssize_t length;
        PyObject *one = PyTuple_GetItem(paths, i);
        if (one == NULL || PyBytes_AsStringAndSize(one, &name, &length) < 0)
            return 0;
        if (!read_path(&from->paths[i], name, (size_t)length)) {
            PyErr_SetString(PyExc_ValueError, "not a path of at most six names with dots between them");
            return 0;
        }
    }
    return 1;
}

static PyObject *without(PyObject *module, PyObject *arguments)
{
    PyObject *raw, *paths;
    removal from;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "SO!", &raw, &PyTuple_Type, &paths) || !read_paths(&from, paths))
        return NULL;
    char *start = PyBytes_AsString(raw);
    size_t size = (size_t)PyBytes_Size(raw);
    size_t left = thin_body(&from, (text)start, size, NULL);
    if (left == 0 || left == size)
        return Py_NewRef(raw);
    PyObject *thinned = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)left);
    if (thinned != NULL)
        thin_body(&from, (text)start, size, PyBytes_AsString(thinned));
    return thinned;
}

static PyObject *members(PyObject *module, PyObject *raw)
{
    char *start;
    Py_ssize_t size;
    member found[MAX_MEMBERS];

    (void)module;
    if (PyBytes_AsStringAndSize(raw, &start, &size) < 0)
        return NULL;
    int count = read_members(found, (text)start, (size_t)size);
    if (count < 0)
        Py_RETURN_NONE;
    PyObject *spans = PyTuple_New(2 * (Py_ssize_t)count);
    for (int i = 0; spans != NULL && i < 2 * count; i++) {
        PyObject *item = span_object((text)start, i % 2 ? found[i / 2].value : found[i / 2].key);
        if (item == NULL) {
            Py_DECREF(spans);
            return NULL;
        }
        PyTuple_SetItem(spans, (Py_ssize_t)i, item);
    }
    return spans;
}

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL
static PyMethodDef methods[] = {
    {"scan", scan, METH_O, "Returns where the fields stand that the relay reads; None for what is no JSON object."},
    {"string_at", FAST(string_at), "Returns the string there, of a long one the first characters; None for another value."},
    {"text_at", FAST(text_at), "Returns the same in UTF-8, and the number of its characters."},
    {"base64_at", FAST(base64_at), "Returns the first of the places, a stride apart, where base64 stands; -1 without one."},
    {"reports_in_answer", FAST(reports_in_answer),
     "Returns where usage, model and service tier of a whole answer stand; None for one that is to be decoded."},
    {"plain_answer", plain_answer, METH_O,
     "Returns what a whole answer to a chat reports that is like most: as records have it, and the tokens; None for another."},
    {"members", members, METH_O, "Returns where the keys and values of a body that was scanned stand, in turn; None for too many."},
    {"without", without, METH_VARARGS, "Returns a body that was scanned without the parameters at these paths; itself if it has none."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "relay.dialect._body_scan", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__body_scan(void) { return PyModuleDef_Init(&definition); }
#endif
