/* Writes the line of a record closed whose texts need no escapes and no replacing, as most are: event_lines.py has the rules, and writes
   all others. The tests hold both to each other.

   The delivery of an attempt costs the pod about as much as its line, and the same in Python takes a few times as long. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* A body as record_format.py describes it: the opening with the caller's request id, the closing with its texts. */
enum {
    OPENING_BYTES = 44,
    ATTEMPT = 8,
    STREAM = 10,
    REQUEST_ID_BYTES = 11,
    CALL_ID = 12,
    CALL_ID_DIGITS = 32,
    CLOSING_BYTES = 57,
    STATUS = 8,
    OUTCOME = 10,
    SOURCE,
    FLAGS,
    TEXT_BYTES,
    COUNTS = 17,
    UNITS = 53,
    BUCKETS = 9,
    DELIVERED = 64,
    CACHE_REPORTED = 128,
    DOUBT_BITS = 63,
    MAX_LINE_BYTES = 8192,
};
enum { MODEL, TIER, REGION, UPSTREAM_ID, TEXTS };
/* What the lines of one kind of attempts share, in this order; what the id is computed from begins and ends with two of them. */
enum { ATTEMPT_PREFIX, ENDPOINT, KEY_NAME, MANIFEST, PROVIDER, RELAY, MODELS, SIDE, TENANT, ID_START, ID_END, PIECES };

/* Of record_format.py, in its order. */
static const char *const OUTCOMES[] = {"ok",        "client_error", "throttled", "failed",    "unreachable",
                                       "timeout",   "truncated",    "invalid",   "cancelled", "no_key"};
static const char *const SOURCES[] = {"provider", "partial", "estimated", "none", "unknown"};
static const char *const DOUBTS[] = {"", "negative", "total", "parts", "range", "shape", "models"};
enum { COUNTED_SOURCES = 3 }; /* the first ones */
/* Buckets in the order of their names, and where they stand among the counts; units are two. */
static const struct {
    const char *name;
    int place;
} SORTED_BUCKETS[BUCKETS] = {
    {"audioInput", 6}, {"audioOutput", 7}, {"cacheRead", 1}, {"cacheWrite", 2}, {"cacheWriteHour", 3},
    {"input", 0},      {"output", 4},      {"reasoning", 5}, {"toolPrompt", 8},
};
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

typedef struct {
    const char *bytes;
    size_t size;
} piece;

/* A line being put together; what does not fit makes it none. */
typedef struct {
    char bytes[MAX_LINE_BYTES];
    size_t size;
    int fits;
} line;

static uint64_t number_at(const unsigned char *p, int bytes)
{
    uint64_t number = 0;
    for (int i = bytes - 1; i >= 0; i--)
        number = number << 8 | p[i];
    return number;
}

static void add(line *to, const char *bytes, size_t size)
{
    to->fits = to->fits && size <= MAX_LINE_BYTES - to->size;
    if (!to->fits)
        return;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

#define ADD(to, literal) add(to, literal, sizeof(literal) - 1)
static void add_piece(line *to, piece what) { add(to, what.bytes, what.size); }
static void add_word(line *to, const char *word) { add(to, word, strlen(word)); }

static void add_number(line *to, uint64_t number)
{
    char digits[20], *first = digits + sizeof digits;

    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    add(to, first, (size_t)(digits + sizeof digits - first));
}

/* Adds the field of a text, nothing where it is empty. start is the quoted name with its colon and the opening quote of the value. */
static void add_text(line *to, const char *start, piece text)
{
    if (text.size == 0)
        return;
    add_word(to, start);
    add_piece(to, text);
    ADD(to, "\",");
}

static int is_plain(piece text)
{
    int plain = 1;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        plain &= byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\';
    }
    return plain;
}

/* What a body says, taken apart. */
typedef struct {
    const unsigned char *opening, *closing;
    uint64_t dispatched_at, attempt, closed_at;
    piece call_id, request_id, texts[TEXTS];
} record;

/* Returns whether an attempt without tokens has some that were expected of it. */
static int has_expected(const unsigned char *closing)
{
    int expected = 0;
    for (int i = 0; i < BUCKETS; i++)
        expected |= number_at(closing + COUNTS + 4 * i, 4) != 0;
    return closing[SOURCE] >= COUNTED_SOURCES && expected;
}

/* Takes a body apart; returns 0 for one that is not as it should be, has a text that is not plain, or is of few: of unknown use. */
static int read_record(const unsigned char *body, size_t size, record *read)
{
    if (size < OPENING_BYTES || size < OPENING_BYTES + (size_t)body[REQUEST_ID_BYTES] + CLOSING_BYTES)
        return 0;
    read->opening = body;
    read->dispatched_at = number_at(body, 8);
    read->attempt = number_at(body + ATTEMPT, 2);
    read->call_id = (piece){(const char *)body + CALL_ID, CALL_ID_DIGITS};
    read->request_id = (piece){(const char *)body + OPENING_BYTES, body[REQUEST_ID_BYTES]};
    read->closing = body + OPENING_BYTES + read->request_id.size;
    read->closed_at = read->dispatched_at + number_at(read->closing, 8);
    int plain = is_plain(read->call_id) && is_plain(read->request_id) && read->closed_at >= read->dispatched_at;
    const char *text = (const char *)read->closing + CLOSING_BYTES, *end = (const char *)body + size;
    for (int i = 0; plain && i < TEXTS; i++) {
        read->texts[i] = (piece){text, read->closing[TEXT_BYTES + i]};
        plain = read->texts[i].size <= (size_t)(end - text) && is_plain(read->texts[i]);
        text += read->texts[i].size;
    }
    return plain && text == end && read->closing[OUTCOME] < COUNT_OF(OUTCOMES) && read->closing[SOURCE] < COUNT_OF(SOURCES)
           && (read->closing[FLAGS] & DOUBT_BITS) < COUNT_OF(DOUBTS) && !has_expected(read->closing);
}

/* Adds a count after its name, and a comma before it unless it is the first; nothing for 0. */
static void add_count(line *to, const char *name, uint64_t number, int *first)
{
    if (number == 0)
        return;
    add_word(to, *first ? "\"" : ",\"");
    add_word(to, name);
    ADD(to, "\":");
    add_number(to, number);
    *first = 0;
}

static void add_usage(line *to, const record *of)
{
    uint64_t searches = number_at(of->closing + UNITS, 2), fetches = number_at(of->closing + UNITS + 2, 2);
    int first = 1;

    if (of->closing[SOURCE] < COUNTED_SOURCES) {
        ADD(to, "\"tokens\":{");
        for (int i = 0; i < BUCKETS; i++)
            add_count(to, SORTED_BUCKETS[i].name, number_at(of->closing + COUNTS + 4 * SORTED_BUCKETS[i].place, 4), &first);
        ADD(to, "},");
    }
    if (searches == 0 && fetches == 0)
        return;
    first = 1;
    ADD(to, "\"units\":{");
    add_count(to, "webFetch", fetches, &first);
    add_count(to, "webSearch", searches, &first);
    ADD(to, "},");
}

static void add_attempt_id(line *to, const record *of, const piece *shared)
{
    add_piece(to, of->call_id);
    ADD(to, "-");
    add_piece(to, shared[ATTEMPT_PREFIX]);
    add_number(to, of->attempt);
}

/* Puts the line together, its fields in the order of their names. */
static void write_line(line *to, const record *of, const piece *shared, piece id)
{
    const unsigned char *closing = of->closing;
    unsigned flags = closing[FLAGS];
    uint64_t status = number_at(closing + STATUS, 2);

    ADD(to, "{");
    add_text(to, "\"answeredModel\":\"", of->texts[MODEL]);
    ADD(to, "\"attempt\":");
    add_number(to, of->attempt);
    ADD(to, ",\"attemptId\":\"");
    add_attempt_id(to, of, shared);
    ADD(to, "\",");
    if (!(flags & CACHE_REPORTED))
        ADD(to, "\"cacheReported\":false,");
    add_text(to, "\"callId\":\"", of->call_id);
    ADD(to, "\"closedAt\":");
    add_number(to, of->closed_at);
    add_word(to, flags & DELIVERED ? ",\"delivered\":true,\"dispatchedAt\":" : ",\"delivered\":false,\"dispatchedAt\":");
    add_number(to, of->dispatched_at);
    ADD(to, ",");
    if (flags & DOUBT_BITS) {
        ADD(to, "\"doubt\":\"");
        add_word(to, DOUBTS[flags & DOUBT_BITS]);
        ADD(to, "\",");
    }
    add_piece(to, shared[ENDPOINT]);
    add_text(to, "\"id\":\"", id);
    add_piece(to, shared[KEY_NAME]);
    add_piece(to, shared[MANIFEST]);
    ADD(to, "\"outcome\":\"");
    add_word(to, OUTCOMES[closing[OUTCOME]]);
    ADD(to, "\",\"phase\":\"closed\",");
    add_piece(to, shared[PROVIDER]);
    add_text(to, "\"region\":\"", of->texts[REGION]);
    add_piece(to, shared[RELAY]);
    add_text(to, "\"requestId\":\"", of->request_id);
    add_piece(to, shared[MODELS]);
    add_text(to, "\"serviceTier\":\"", of->texts[TIER]);
    add_piece(to, shared[SIDE]);
    if (status) {
        ADD(to, "\"status\":");
        add_number(to, status);
        ADD(to, ",");
    }
    if (of->opening[STREAM])
        ADD(to, "\"stream\":true,");
    add_piece(to, shared[TENANT]);
    add_usage(to, of);
    add_text(to, "\"upstreamRequestId\":\"", of->texts[UPSTREAM_ID]);
    ADD(to, "\"usageSource\":\"");
    add_word(to, SOURCES[closing[SOURCE]]);
    ADD(to, "\",\"v\":1}");
}

/* -- the module -------------------------------------------------------------------------------------------------- */

static int read_piece(PyObject *object, piece *read)
{
    char *bytes;
    Py_ssize_t size;

    if (PyBytes_AsStringAndSize(object, &bytes, &size) < 0)
        return 0;
    *read = (piece){bytes, (size_t)size};
    return 1;
}

/* Computes the id of the record (event_id in relay_contract): digest makes it of a name. Returns it, and in *id where it stands; NULL with an
   exception set. */
static PyObject *computed_id(line *name, const record *of, const piece *shared, PyObject *digest, piece *id)
{
    Py_ssize_t size;

    add_piece(name, shared[ID_START]);
    add_attempt_id(name, of, shared);
    ADD(name, "/");
    add_number(name, of->dispatched_at);
    add_piece(name, shared[ID_END]);
    PyObject *bytes = PyBytes_FromStringAndSize(name->bytes, (Py_ssize_t)name->size);
    PyObject *computed = bytes == NULL ? NULL : PyObject_CallFunctionObjArgs(digest, bytes, NULL);
    Py_XDECREF(bytes);
    id->bytes = computed == NULL ? NULL : PyUnicode_AsUTF8AndSize(computed, &size);
    if (id->bytes == NULL)
        Py_CLEAR(computed);
    else
        id->size = (size_t)size;
    return computed;
}

static PyObject *plain_line(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    piece body, id, shared[PIECES];
    record of;
    line made;

    (void)module;
    if (count != 3 || !PyTuple_Check(args[1]) || PyTuple_Size(args[1]) != PIECES) {
        PyErr_SetString(PyExc_TypeError, "a body, the pieces of its kind and a digest are needed");
        return NULL;
    }
    if (!read_piece(args[0], &body))
        return NULL;
    for (Py_ssize_t i = 0; i < PIECES; i++)
        if (!read_piece(PyTuple_GetItem(args[1], i), &shared[i]))
            return NULL;
    if (!read_record((const unsigned char *)body.bytes, body.size, &of))
        Py_RETURN_NONE;
    made.size = 0;
    made.fits = 1;
    PyObject *computed = computed_id(&made, &of, shared, args[2], &id);
    if (computed == NULL)
        return NULL;
    made.size = 0;
    write_line(&made, &of, shared, id);
    Py_DECREF(computed);
    if (!made.fits)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(made.bytes, (Py_ssize_t)made.size);
}

static PyMethodDef methods[] = {
    {"plain_line", (PyCFunction)(void (*)(void))plain_line, METH_FASTCALL,
     "Returns the line of a record closed; None for one that is to be written by event_lines."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "relay.outbox._plain_lines", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__plain_lines(void) { return PyModuleDef_Init(&definition); }
