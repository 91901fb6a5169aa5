/* Writes the records of an attempt into a segment, each with one call: record_format.py has their layout.

   record_writing_pure.py does the same in Python, and the tests hold both to each other. Whoever calls says where the record goes and
   where the segment's room for it ends; a record that does not fit is not written. All is put together in a buffer of its own and copied
   whole, so that a killed process leaves as little as it can of half a record. */

#include "_crc32.h"

enum {
    HEADER_BYTES = 16,
    OPENING_BYTES = 44,
    CLOSING_BYTES = 57,
    CALL_ID_DIGITS = 32,
    MAX_TEXT_BYTES = 255,
    MAX_OPENING_BYTES = OPENING_BYTES + MAX_TEXT_BYTES,
    TEXTS = 4, /* of a closing: model, tier, region, id */
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

enum { ELAPSED, STATUS, OUTCOME, SOURCE, FLAGS, FIRST_COUNT, COUNTS = 8, FIRST_UNIT = FIRST_COUNT + COUNTS, UNITS = 2,
       NUMBERS = FIRST_UNIT + UNITS };
/* Bytes of the numbers of a closing, in the order of the arguments. */
static const unsigned char NUMBER_BYTES[NUMBERS] = {8, 2, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2};

typedef struct {
    uint64_t numbers[NUMBERS];
    short_text texts[TEXTS];
} closing;

static void add_closing(record *to, const closing *what)
{
    const uint64_t *numbers = what->numbers;

    add_number(to, numbers[ELAPSED], 8);
    add_number(to, numbers[STATUS], 2);
    add_number(to, numbers[OUTCOME], 1);
    add_number(to, numbers[SOURCE], 1);
    add_number(to, numbers[FLAGS], 1);
    for (int i = 0; i < TEXTS; i++)
        add_number(to, what->texts[i].size, 1);
    for (int i = 0; i < COUNTS; i++)
        add_number(to, numbers[FIRST_COUNT + i], 4);
    add_number(to, 0, 4); /* room for another bucket */
    for (int i = 0; i < UNITS; i++)
        add_number(to, numbers[FIRST_UNIT + i], 2);
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

/* Where a record goes: up to `room` bytes at `start` of a segment. */
typedef struct {
    Py_buffer segment;
    unsigned char *start;
    size_t room;
    uint32_t names;
} place;

/* Reads a number of so many bytes; returns 0 with an exception set if it is none. */
static int read_number(PyObject *object, int bytes, uint64_t *number)
{
    *number = PyLong_AsUnsignedLongLong(object);
    if (*number == (uint64_t)-1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return 0;
        PyErr_Clear();
    } else if (bytes == 8 || *number >> 8 * bytes == 0) {
        return 1;
    }
    PyErr_Format(PyExc_ValueError, "%R is not a number of %d bytes", object, bytes);
    return 0;
}

/* Takes segment, offset, end and number of the names; returns 0 with an exception set. Whoever gets 1 releases the segment. */
static int take_place(PyObject *const *args, place *found)
{
    uint64_t offset, end, names;

    if (!read_number(args[1], 8, &offset) || !read_number(args[2], 8, &end) || !read_number(args[3], 4, &names)
        || PyObject_GetBuffer(args[0], &found->segment, PyBUF_WRITABLE) < 0)
        return 0;
    if (end > (uint64_t)found->segment.len) {
        PyBuffer_Release(&found->segment);
        PyErr_SetString(PyExc_ValueError, "the end is not inside the segment");
        return 0;
    }
    found->room = offset < end ? (size_t)(end - offset) : 0;
    found->start = (unsigned char *)found->segment.buf + (found->room ? offset : 0);
    found->names = (uint32_t)names;
    return 1;
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

enum { PLACE_ARGUMENTS = 4, OPENED_ARGUMENTS = PLACE_ARGUMENTS + 5, CLOSED_ARGUMENTS = PLACE_ARGUMENTS + 1 + NUMBERS + TEXTS };

static int has_arguments(Py_ssize_t count, Py_ssize_t needed)
{
    if (count != needed)
        PyErr_Format(PyExc_TypeError, "%zd arguments are needed", needed);
    return count == needed;
}

/* Writes the record if there is room; returns its body, NULL with an exception set. */
static PyObject *write_record(PyObject *const *args, unsigned kind, record *made)
{
    size_t size = (size_t)(made->p - body_of(made));
    place to;

    if (!take_place(args, &to))
        return NULL;
    PyObject *body = PyBytes_FromStringAndSize((const char *)body_of(made), (Py_ssize_t)size);
    if (body != NULL && record_bytes(size) <= to.room)
        seal_record(made, kind, to.names, to.start);
    PyBuffer_Release(&to.segment);
    return body;
}

static PyObject *write_opened(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    opening what;
    record made;

    (void)module;
    if (!has_arguments(count, OPENED_ARGUMENTS) || !read_number(args[4], 8, &what.dispatched_at)
        || !read_number(args[5], 2, &what.attempt) || !read_number(args[6], 1, &what.stream)
        || !read_string(args[7], &what.call_id) || !read_string(args[8], &what.request_id))
        return NULL;
    made.p = body_of(&made);
    add_opening(&made, &what);
    return write_record(args, OPENED, &made);
}

static PyObject *write_closed(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *const *numbers = args + PLACE_ARGUMENTS + 1, *const *texts = numbers + NUMBERS;
    PyObject *held[TEXTS] = {NULL}, *body = NULL;
    char *begins;
    Py_ssize_t begins_size;
    closing what;
    record made;
    int read = 1;

    (void)module;
    if (!has_arguments(count, CLOSED_ARGUMENTS) || PyBytes_AsStringAndSize(args[PLACE_ARGUMENTS], &begins, &begins_size) < 0)
        return NULL;
    if (begins_size > MAX_OPENING_BYTES) {
        PyErr_SetString(PyExc_ValueError, "no opening is as long");
        return NULL;
    }
    for (int i = 0; read && i < NUMBERS; i++)
        read = read_number(numbers[i], NUMBER_BYTES[i], &what.numbers[i]);
    for (int i = 0; read && i < TEXTS; i++)
        read = read_text(texts[i], &what.texts[i], &held[i]);
    if (read) {
        made.p = body_of(&made);
        add_bytes(&made, begins, (size_t)begins_size);
        add_closing(&made, &what);
        body = write_record(args, CLOSED, &made);
    }
    for (int i = 0; i < TEXTS; i++)
        Py_XDECREF(held[i]);
    return body;
}

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL
static PyMethodDef methods[] = {
    {"write_opened", FAST(write_opened), "Writes that an attempt is about to be sent, where that fits; returns the record's body."},
    {"write_closed", FAST(write_closed), "Writes how an attempt ended, where that fits; returns the record's body."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "relay.outbox._record_writing", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__record_writing(void)
{
    prepare_crc32();
    return PyModuleDef_Init(&definition);
}
#endif
