/* Reads the usage objects that most answers have: counts that are whole numbers, in the names of chat completions, of which nothing is in doubt.

   openai_usage.py has the rules, and reads whatever is unlike that; the tests hold both to each other. Each call comes here when its
   record is written for the ledger, and the same takes a few times as long with an object for every number. Every object is walked once:
   it has fewer members than there are names to look up, and in a dictionary that was made of JSON a look-up compares strings. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum {
    ABSENT = -1, /* or null */
    ODD = -2,    /* no count, or more than one attempt can use */
    MAX_TOKENS = 1000000000,
    BUCKETS = 9,
    PACKED_BYTES = BUCKETS * 4 + 2 * 2 + 1,
};

/* Where a bucket stands among the counts: the order of relay_contract.billing.token_buckets. */
enum { INPUT, CACHE_READ, CACHE_WRITE, OUTPUT = 4, REASONING, AUDIO_INPUT, AUDIO_OUTPUT };

enum {
    PROMPT_TOKENS,
    COMPLETION_TOKENS,
    TOTAL_TOKENS,
    PROMPT_DETAILS,
    COMPLETION_DETAILS,
    REASONING_TOKENS,
    AUDIO_TOKENS,
    CACHED_TOKENS,
    CACHE_WRITE_TOKENS,
    CACHE_CREATION,
    PROMPT_CACHE_HIT_TOKENS,
    NUM_CACHED_TOKENS,
    CACHE_READ_INPUT_TOKENS,
    NAMES, /* also stands for any other */
};
#define SPELLED(name) {name, sizeof name - 1}
static const struct {
    const char *bytes;
    Py_ssize_t size;
} names[NAMES] = {
    SPELLED("prompt_tokens"),
    SPELLED("completion_tokens"),
    SPELLED("total_tokens"),
    SPELLED("prompt_tokens_details"),
    SPELLED("completion_tokens_details"),
    SPELLED("reasoning_tokens"),
    SPELLED("audio_tokens"),
    SPELLED("cached_tokens"),
    SPELLED("cache_write_tokens"),
    SPELLED("cache_creation_input_tokens"),
    SPELLED("prompt_cache_hit_tokens"),
    SPELLED("num_cached_tokens"),
    SPELLED("cache_read_input_tokens"),
};
/* Where input from a cache is told of beside the details or in their place, in this order. */
static const int BESIDE[] = {PROMPT_CACHE_HIT_TOKENS, CACHED_TOKENS, NUM_CACHED_TOKENS, CACHE_READ_INPUT_TOKENS};

/* The members of an object by name, NULL where one is absent or null. */
typedef struct {
    PyObject *values[NAMES];
} members;

static int name_of(PyObject *key)
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(key, &size);

    if (bytes == NULL) {
        PyErr_Clear(); /* half a surrogate pair: no name of ours */
        return NAMES;
    }
    for (int name = 0; name < NAMES; name++)
        if (names[name].size == size && memcmp(names[name].bytes, bytes, (size_t)size) == 0)
            return name;
    return NAMES;
}

/* Reads the members of a dictionary; without one there are none. */
static void read_members(PyObject *fields, members *read)
{
    PyObject *key, *value;
    Py_ssize_t place = 0;

    memset(read, 0, sizeof *read);
    while (fields != NULL && PyDict_Next(fields, &place, &key, &value)) {
        int name = name_of(key);
        if (name != NAMES && value != Py_None)
            read->values[name] = value;
    }
}

/* Returns a count, ABSENT or ODD. */
static int64_t count(const members *fields, int name)
{
    PyObject *value = fields->values[name];
    int overflow;

    if (value == NULL)
        return ABSENT;
    if (!PyLong_CheckExact(value))
        return ODD;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow || number < 0 || number > MAX_TOKENS ? ODD : number;
}

/* Returns a count that is 0 where it is absent, or ODD. */
static int64_t part(const members *fields, int name)
{
    int64_t number = count(fields, name);
    return number == ABSENT ? 0 : number;
}

/* Returns a part that stands in the details, or else beside them; ODD where one is none. */
static int64_t part_of(const members *details, int name, const members *usage, int name_beside)
{
    int64_t number = part(details, name);
    return number ? number : part(usage, name_beside);
}

/* Returns the input that came from a cache, ABSENT where nothing tells of one, or ODD. */
static int64_t cached(const members *usage, const members *details)
{
    int64_t told = count(details, CACHED_TOKENS);

    for (size_t i = 0; i < sizeof BESIDE / sizeof *BESIDE && told <= 0 && told != ODD; i++) {
        int64_t other = count(usage, BESIDE[i]);
        told = other == ABSENT ? told : other;
    }
    return told;
}

static int is_object(PyObject *value) { return value == NULL || PyDict_CheckExact(value); }

/* Reads the buckets and whether a cache was told of; returns 0 for a usage object that is unlike most. */
static int read_usage(PyObject *object, int64_t *buckets, int *cache_reported)
{
    members usage, details, output_details;

    read_members(object, &usage);
    PyObject *prompt_details = usage.values[PROMPT_DETAILS], *completion_details = usage.values[COMPLETION_DETAILS];
    int64_t input = count(&usage, PROMPT_TOKENS), output = count(&usage, COMPLETION_TOKENS), total = count(&usage, TOTAL_TOKENS);
    if (!is_object(prompt_details) || !is_object(completion_details) || input < 0 || output < 0 || total == ODD)
        return 0;
    read_members(prompt_details, &details);
    read_members(completion_details, &output_details);
    int64_t reasoning = part_of(&output_details, REASONING_TOKENS, &usage, REASONING_TOKENS);
    int64_t audio_output = part(&output_details, AUDIO_TOKENS), audio_input = part(&details, AUDIO_TOKENS);
    int64_t written = part_of(&details, CACHE_WRITE_TOKENS, &usage, CACHE_CREATION), read = cached(&usage, &details);
    /* some count what the model thought beside the output */
    int64_t beside = total == ABSENT ? 0 : total - input - output;
    if (reasoning < 0 || audio_output < 0 || audio_input < 0 || written < 0 || read == ODD
        || (beside != 0 && beside != reasoning))
        return 0;

    *cache_reported = read != ABSENT;
    memset(buckets, 0, BUCKETS * sizeof *buckets);
    buckets[CACHE_READ] = read == ABSENT ? 0 : read;
    buckets[CACHE_WRITE] = written;
    buckets[INPUT] = input - buckets[CACHE_READ] - written - audio_input;
    buckets[OUTPUT] = output + beside - reasoning - audio_output;
    buckets[REASONING] = reasoning;
    buckets[AUDIO_INPUT] = audio_input;
    buckets[AUDIO_OUTPUT] = audio_output;
    /* the others are parts of the two, so that these are all of the tokens */
    return buckets[INPUT] >= 0 && buckets[OUTPUT] >= 0 && input + output + beside <= MAX_TOKENS;
}

static PyObject *plain_usage(PyObject *module, PyObject *usage)
{
    int64_t buckets[BUCKETS];
    unsigned char packed[PACKED_BYTES] = {0};
    int cache_reported;

    (void)module;
    if (!PyDict_CheckExact(usage) || !read_usage(usage, buckets, &cache_reported))
        Py_RETURN_NONE;
    for (int i = 0; i < BUCKETS; i++)
        for (int byte = 0; byte < 4; byte++)
            packed[4 * i + byte] = (unsigned char)((uint64_t)buckets[i] >> 8 * byte);
    packed[PACKED_BYTES - 1] = (unsigned char)cache_reported;
    return PyBytes_FromStringAndSize((const char *)packed, PACKED_BYTES);
}

static PyMethodDef methods[] = {
    {"plain_usage", plain_usage, METH_O, "Returns the packed usage of a usage object, None where it is to be read by openai_usage."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "relay.dialect.usage._plain_usage", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__plain_usage(void) { return PyModuleDef_Init(&definition); }
