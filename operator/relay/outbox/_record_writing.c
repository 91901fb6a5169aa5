/* Writes the records of an attempt into a segment, each with one call: record_format.py has their layout.

   record_writing_pure.py does the same in Python, and the tests hold both to each other. A record that does not fit is not written. All is
   put together in a buffer of its own and copied whole, so that a killed process leaves as little as it can of half a record. */

#include "_crc32.h"

enum {
    HEADER_BYTES = 16,
    OPENING_BYTES = 44,
    EXPECTED = 2, /* numbers behind the opening, in the record opened alone: tokens of input and of output */
    EXPECTED_BYTES = 4, /* of each */
    CLOSING_BYTES = 57,
    COUNTS_BYTES = 40, /* of the closing: tokens by bucket, and units */
    PACKED_BYTES = COUNTS_BYTES + 1,
    DELIVERED = 64,
    CACHE_REPORTED = 128,
    OK = 0,          /* of the outcomes */
    BY_PROVIDER = 0, /* of the sources of usage */
    CALL_ID_DIGITS = 32,
    MAX_TEXT_BYTES = 255,
    MAX_OPENING_BYTES = OPENING_BYTES + MAX_TEXT_BYTES,
    TEXTS = 4, /* of a closing: model, tier, region, id */
    LABELS = 2, /* of these texts, those in a report */
    LABELS_START = PACKED_BYTES + LABELS,
    MAX_BODY_BYTES = MAX_OPENING_BYTES + CLOSING_BYTES + TEXTS * MAX_TEXT_BYTES,
    OPENED = 2,
    CLOSED = 3,
};

/* UTF-8, at most MAX_TEXT_BYTES of it. */
typedef struct {
    const char *bytes;
    size_t size;
} short_text;

/* A record being put together; p is where the body's next byte goes. */
typedef struct {
    unsigned char bytes[HEADER_BYTES + MAX_BODY_BYTES], *p;
} record;

static inline unsigned char *body_of(record *one) { return one->bytes + HEADER_BYTES; }

/* Returns what a record with such a body takes in a segment. */
static inline size_t record_bytes(size_t body_bytes) { return (HEADER_BYTES + body_bytes + 7) & ~(size_t)7; }

/* Adds the lowest bytes of a number, little-endian. */
static inline void add_number(record *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *to->p++ = (unsigned char)(number >> 8 * i);
}

static inline void add_bytes(record *to, const char *bytes, size_t size)
{
    memcpy(to->p, bytes, size);
    to->p += size;
}

/* What the records of an attempt begin with. */
typedef struct {
    uint64_t dispatched_at, attempt, stream;
    short_text call_id, request_id;
} opening;

static void add_opening(record *to, const opening *what)
{
    size_t digits = what->call_id.size < CALL_ID_DIGITS ? what->call_id.size : CALL_ID_DIGITS;

    add_number(to, what->dispatched_at, 8);
    add_number(to, what->attempt, 2);
    add_number(to, what->stream, 1);
    add_number(to, what->request_id.size, 1);
    memset(to->p, 0, CALL_ID_DIGITS);
    memcpy(to->p, what->call_id.bytes, digits);
    to->p += CALL_ID_DIGITS;
    add_bytes(to, what->request_id.bytes, what->request_id.size);
}

enum { ELAPSED, STATUS, OUTCOME, SOURCE, FLAGS, NUMBERS };
enum { MODEL, TIER, REGION, UPSTREAM_ID }; /* of the texts */
#define MOST_SECONDS 9e12 /* of an attempt: its microseconds fit in 63 bits */
/* Bytes of the numbers of a closing, in the order of the arguments. */
static const unsigned char NUMBER_BYTES[NUMBERS] = {8, 2, 1, 1, 1};

/* counts are PACKED_BYTES, as BilledUsage.packed returns them: as they stand in the record, then whether the provider told of its cache. In a
   report (labels_of in billed_usage.py) model and tier follow them. */
typedef struct {
    uint64_t numbers[NUMBERS];
    const char *counts;
    short_text texts[TEXTS];
} closing;

/* Reads the labels of a report, and none where there are only counts. Returns their number, -1 for what is neither. */
static int read_labels(const char *packed, size_t size, short_text *labels)
{
    const unsigned char *sizes = (const unsigned char *)packed + PACKED_BYTES;

    if (size == PACKED_BYTES)
        return 0;
    if (size < LABELS_START || size != LABELS_START + (size_t)sizes[0] + sizes[1])
        return -1;
    labels[0] = (short_text){packed + LABELS_START, sizes[0]};
    labels[1] = (short_text){packed + LABELS_START + sizes[0], sizes[1]};
    return LABELS;
}

static void add_closing(record *to, const closing *what)
{
    const uint64_t *numbers = what->numbers;

    add_number(to, numbers[ELAPSED], 8);
    add_number(to, numbers[STATUS], 2);
    add_number(to, numbers[OUTCOME], 1);
    add_number(to, numbers[SOURCE], 1);
    add_number(to, numbers[FLAGS] | (what->counts[COUNTS_BYTES] ? CACHE_REPORTED : 0), 1);
    for (int i = 0; i < TEXTS; i++)
        add_number(to, what->texts[i].size, 1);
    add_bytes(to, what->counts, COUNTS_BYTES);
    for (int i = 0; i < TEXTS; i++)
        add_bytes(to, what->texts[i].bytes, what->texts[i].size);
}

/* Puts the header in front of the body and copies the record to where it goes. */
static void seal_record(record *one, unsigned kind, uint32_t names, unsigned char *target)
{
    size_t size = (size_t)(one->p - body_of(one));
    uint32_t checksum = crc32_of(body_of(one), size, names * 4 + kind);

    one->p = one->bytes;
    add_number(one, size, 4);
    add_number(one, checksum, 4);
    add_number(one, names, 4);
    add_number(one, kind, 1);
    add_bytes(one, "\xa5\x5aR", 3);
    memcpy(target, one->bytes, HEADER_BYTES + size);
}

/* -- the module -------------------------------------------------------------------------------------------------- */

#ifndef RECORDS_WITHOUT_PYTHON
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>
#include <time.h>

/* Where the next record of a segment goes, and where the room for it ends: for closings at end, for openings at openings_end, which is
   not trusted. Without a segment end is 0. */
typedef struct {
    PyObject_HEAD
    Py_buffer segment;
    unsigned long long offset, end, openings_end;
} place;

/* Reads a number of so many bytes; returns 0 with an exception set if it is none. */
static int read_number(PyObject *object, int bytes, uint64_t *number)
{
    int overflow;
    /* the limited API's way to an unsigned number of more than 30 bits is several times as long */
    long long read = PyLong_AsLongLongAndOverflow(object, &overflow);

    if (read == -1 && !overflow && PyErr_Occurred())
        return 0;
    *number = overflow > 0 ? PyLong_AsUnsignedLongLong(object) : (uint64_t)read;
    int fits = overflow > 0 ? !PyErr_Occurred() : read >= 0 && !overflow;
    if (fits && (bytes == 8 || *number >> 8 * bytes == 0))
        return 1;
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "%R is not a number of %d bytes", object, bytes);
    return 0;
}

/* Reads a string; returns 0 with an exception set if it is none, or has no UTF-8. */
static int read_string(PyObject *object, short_text *read)
{
    Py_ssize_t size;
    read->bytes = PyUnicode_AsUTF8AndSize(object, &size);
    if (read->bytes == NULL)
        return 0;
    read->size = size < MAX_TEXT_BYTES ? (size_t)size : MAX_TEXT_BYTES;
    return 1;
}

/* Reads None, bytes or a string, of which half a surrogate pair is replaced; *held is to be released. Returns 0 with an exception set. */
static int read_text(PyObject *object, short_text *read, PyObject **held)
{
    char *bytes = "";
    Py_ssize_t size = 0;

    if (object != Py_None && !PyBytes_Check(object)) {
        if (read_string(object, read))
            return 1;
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return 0;
        PyErr_Clear();
        object = *held = PyUnicode_AsEncodedString(object, "utf-8", "replace");
        if (object == NULL)
            return 0;
    }
    if (object != Py_None && PyBytes_AsStringAndSize(object, &bytes, &size) < 0)
        return 0;
    *read = (short_text){bytes, size < MAX_TEXT_BYTES ? (size_t)size : MAX_TEXT_BYTES};
    return 1;
}

enum { OPENED_ARGUMENTS = 6 + EXPECTED, CLOSED_ARGUMENTS = 2 + NUMBERS + 1 + TEXTS, REPORTED_ARGUMENTS = 7 };

static int has_arguments(Py_ssize_t count, Py_ssize_t needed)
{
    if (count != needed)
        PyErr_Format(PyExc_TypeError, "%zd arguments are needed", needed);
    return count == needed;
}

/* Writes the record if there is room before end, and goes on behind it; returns whether there was. */
static int write_record(place *to, unsigned long long end, unsigned kind, uint64_t names, record *made)
{
    size_t size = (size_t)(made->p - body_of(made)), needed = record_bytes(size);

    if (end > to->end)
        end = to->end;
    if (to->offset > end || needed > end - to->offset)
        return 0;
    seal_record(made, kind, (uint32_t)names, (unsigned char *)to->segment.buf + to->offset);
    to->offset += needed;
    return 1;
}

/* Reads a time in microseconds since 1970, None for now; returns 0 with an exception set if it is neither. */
static int read_time(PyObject *object, uint64_t *time)
{
    struct timespec now;

    if (object != Py_None)
        return read_number(object, 8, time);
    clock_gettime(CLOCK_REALTIME, &now);
    *time = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    return 1;
}

static PyObject *write_opened(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    place *to = (place *)self;
    uint64_t names, expected[EXPECTED];
    opening what;
    record made;

    if (!has_arguments(count, OPENED_ARGUMENTS) || !read_number(args[0], 4, &names) || !read_time(args[1], &what.dispatched_at)
        || !read_number(args[2], 2, &what.attempt) || !read_number(args[3], 1, &what.stream)
        || !read_string(args[4], &what.call_id) || !read_string(args[5], &what.request_id)
        || !read_number(args[6], EXPECTED_BYTES, &expected[0]) || !read_number(args[7], EXPECTED_BYTES, &expected[1]))
        return NULL;
    made.p = body_of(&made);
    add_opening(&made, &what);
    Py_ssize_t size = (Py_ssize_t)(made.p - body_of(&made));
    for (int i = 0; i < EXPECTED; i++)
        add_number(&made, expected[i], EXPECTED_BYTES);
    if (!write_record(to, to->openings_end, OPENED, names, &made))
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)body_of(&made), size);
}

/* Reads counts or a report, and its labels into the first texts; returns the number of these, -1 with an exception set. */
static int read_counts(PyObject *object, closing *what)
{
    char *packed;
    Py_ssize_t size;

    if (PyBytes_AsStringAndSize(object, &packed, &size) < 0)
        return -1;
    what->counts = packed;
    int labels = read_labels(packed, (size_t)size, what->texts);
    if (labels < 0)
        PyErr_Format(PyExc_ValueError, "%zd bytes are no counts", size);
    return labels;
}

/* Writes the record closed, which begins as that of the opening; returns whether it fits, -1 with an exception set. */
static int write_end(place *to, PyObject *number, PyObject *begins, const closing *what)
{
    char *bytes;
    Py_ssize_t size;
    uint64_t names;
    record made;

    if (!read_number(number, 4, &names) || PyBytes_AsStringAndSize(begins, &bytes, &size) < 0)
        return -1;
    if (size > MAX_OPENING_BYTES) {
        PyErr_SetString(PyExc_ValueError, "no opening is as long");
        return -1;
    }
    made.p = body_of(&made);
    add_bytes(&made, bytes, (size_t)size);
    add_closing(&made, what);
    return write_record(to, to->end, CLOSED, names, &made);
}

static PyObject *write_closed(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *const *numbers = args + 2, *const *counts = numbers + NUMBERS, *const *texts = counts + 1;
    PyObject *held[TEXTS] = {NULL};
    closing what;
    int labels, written = -1;

    if (!has_arguments(count, CLOSED_ARGUMENTS) || (labels = read_counts(*counts, &what)) < 0)
        return NULL;
    int read = 1;
    for (int i = 0; read && i < NUMBERS; i++)
        read = read_number(numbers[i], NUMBER_BYTES[i], &what.numbers[i]);
    for (int i = labels; read && i < TEXTS; i++)
        read = read_text(texts[i], &what.texts[i], &held[i]);
    if (read)
        written = write_end((place *)self, args[0], args[1], &what);
    for (int i = 0; i < TEXTS; i++)
        Py_XDECREF(held[i]);
    return written < 0 ? NULL : PyBool_FromLong(written);
}

/* Reads seconds as microseconds; returns 0 with an exception set for what is no time that passed. */
static int read_seconds(PyObject *object, uint64_t *microseconds)
{
    double seconds = PyFloat_AsDouble(object);

    if (seconds >= 0 && seconds < MOST_SECONDS) {
        *microseconds = (uint64_t)(seconds * 1000000);
        return 1;
    }
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "%R are not the seconds of an attempt", object);
    return 0;
}

/* Most answers come here: what ended well, with a report in place of counts and labels. */
static PyObject *write_reported(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *held = NULL;
    uint64_t delivered;
    closing what;
    int labels, written = -1;

    if (!has_arguments(count, REPORTED_ARGUMENTS) || !read_seconds(args[2], &what.numbers[ELAPSED])
        || !read_number(args[3], NUMBER_BYTES[STATUS], &what.numbers[STATUS]) || !read_number(args[4], 1, &delivered)
        || (labels = read_counts(args[5], &what)) < 0)
        return NULL;
    if (labels != LABELS) {
        PyErr_SetString(PyExc_ValueError, "counts alone are no report");
        return NULL;
    }
    what.numbers[OUTCOME] = OK;
    what.numbers[SOURCE] = BY_PROVIDER;
    what.numbers[FLAGS] = delivered ? DELIVERED : 0;
    what.texts[REGION] = (short_text){"", 0};
    if (read_text(args[6], &what.texts[UPSTREAM_ID], &held))
        written = write_end((place *)self, args[0], args[1], &what);
    Py_XDECREF(held);
    return written < 0 ? NULL : PyBool_FromLong(written);
}

static PyObject *release(PyObject *self, PyObject *unused)
{
    place *one = (place *)self;

    (void)unused;
    one->end = 0;
    PyBuffer_Release(&one->segment);
    Py_RETURN_NONE;
}

static PyObject *new_place(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *segment;
    unsigned long long offset, end;
    uint64_t number[2];
    PyObject *numbers[2];

    if (keywords != NULL && PyDict_Size(keywords)) {
        PyErr_SetString(PyExc_TypeError, "no keywords are taken");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOO", &segment, &numbers[0], &numbers[1]) || !read_number(numbers[0], 8, &number[0])
        || !read_number(numbers[1], 8, &number[1]))
        return NULL;
    offset = number[0], end = number[1];
    place *made = (place *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (made == NULL)
        return NULL;
    if (PyObject_GetBuffer(segment, &made->segment, PyBUF_WRITABLE) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    if (end > (unsigned long long)made->segment.len) {
        PyErr_SetString(PyExc_ValueError, "the end is not inside the segment");
        Py_DECREF(made);
        return NULL;
    }
    made->offset = offset;
    made->end = made->openings_end = end;
    return (PyObject *)made;
}

static void free_place(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyBuffer_Release(&((place *)self)->segment);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL
static PyMethodDef methods[] = {
    {"write_opened", FAST(write_opened), "Writes that an attempt is about to be sent; returns what its closing begins with, None where it does not fit."},
    {"write_closed", FAST(write_closed), "Writes how an attempt ended; returns whether it fits."},
    {"write_reported", FAST(write_reported), "Writes that an attempt ended well and reported all; returns whether it fits."},
    {"release", release, METH_NOARGS, "Lets go of the segment: nothing fits any more."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef members[] = {
    {"offset", T_ULONGLONG, offsetof(place, offset), 0, "Where the next record goes."},
    {"openings_end", T_ULONGLONG, offsetof(place, openings_end), 0, "Where the room for openings ends."},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_doc, "Where the next record of a segment goes."},
    {Py_tp_new, new_place},
    {Py_tp_dealloc, free_place},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};
static PyType_Spec spec = {"relay.outbox._record_writing.Place", sizeof(place), 0, Py_TPFLAGS_DEFAULT, slots};

static int add_types(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, add_types}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "relay.outbox._record_writing", NULL, 0, NULL, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__record_writing(void)
{
    prepare_crc32();
    return PyModuleDef_Init(&definition);
}
#endif
