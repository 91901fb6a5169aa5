/* Reads the usage objects that most answers have: counts that are whole numbers, in the names of chat completions, of which nothing is in doubt.

   openai_usage.py has the rules, and reads whatever is unlike that; the tests hold both to each other. Each call comes here when its
   record is written for the ledger, and the same takes a few times as long with an object for every number. */

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
    FIRST_CACHE_NAME,
    NAMES = FIRST_CACHE_NAME + 4,
};
static const char *const SPELLED[NAMES] = {
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "reasoning_tokens",
    "audio_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_creation_input_tokens",
    /* beside the details or in their place */
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cache_read_input_tokens",
};
static PyObject *names[NAMES];

/* Returns a member, NULL where it is absent or null. The keys are strings, of which no look-up raises. */
static PyObject *member(PyObject *fields, int name)
{
    PyObject *value = fields == NULL ? NULL : PyDict_GetItemWithError(fields, names[name]);
    if (value == NULL)
        PyErr_Clear();
    return value == Py_None ? NULL : value;
}

/* Returns a count, ABSENT or ODD. */
static int64_t count(PyObject *fields, int name)
{
    PyObject *value = member(fields, name);
    int overflow;

    if (value == NULL)
        return ABSENT;
    if (!PyLong_CheckExact(value))
        return ODD;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow || number < 0 || number > MAX_TOKENS ? ODD : number;
}

/* Returns a count that is 0 where it is absent, or ODD. */
static int64_t part(PyObject *fields, int name)
{
    int64_t number = count(fields, name);
    return number == ABSENT ? 0 : number;
}

/* Returns a part that stands in the details, or else beside them; ODD where one is none. */
static int64_t part_of(PyObject *details, int name, PyObject *usage, int name_beside)
{
    int64_t number = part(details, name);
    return number ? number : part(usage, name_beside);
}

/* Returns the input that came from a cache, ABSENT where nothing tells of one, or ODD. */
static int64_t cached(PyObject *usage, PyObject *details)
{
    int64_t told = count(details, CACHED_TOKENS);

    for (int name = FIRST_CACHE_NAME; name < NAMES && told <= 0 && told != ODD; name++) {
        int64_t other = count(usage, name);
        told = other == ABSENT ? told : other;
    }
    return told;
}

static int is_object(PyObject *value) { return value == NULL || PyDict_CheckExact(value); }

/* Reads the buckets and whether a cache was told of; returns 0 for a usage object that is unlike most. */
static int read_usage(PyObject *usage, int64_t *buckets, int *cache_reported)
{
    PyObject *details = member(usage, PROMPT_DETAILS), *output_details = member(usage, COMPLETION_DETAILS);
    int64_t input = count(usage, PROMPT_TOKENS), output = count(usage, COMPLETION_TOKENS), total = count(usage, TOTAL_TOKENS);

    if (!is_object(details) || !is_object(output_details) || input < 0 || output < 0 || total == ODD)
        return 0;
    int64_t reasoning = part_of(output_details, REASONING_TOKENS, usage, REASONING_TOKENS);
    int64_t audio_output = part(output_details, AUDIO_TOKENS), audio_input = part(details, AUDIO_TOKENS);
    int64_t written = part_of(details, CACHE_WRITE_TOKENS, usage, CACHE_CREATION), read = cached(usage, details);
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

PyMODINIT_FUNC PyInit__plain_usage(void)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i] == NULL && (names[i] = PyUnicode_InternFromString(SPELLED[i])) == NULL)
            return NULL;
    return PyModuleDef_Init(&definition);
}
