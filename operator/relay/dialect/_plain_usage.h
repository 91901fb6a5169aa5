/* Reads the usage that most answers report: counts that are whole numbers, in the names of chat completions, of which nothing is in doubt.

   usage/openai_usage.py has the rules for what is billed and reported_usage.py those for limits; they read whatever is unlike that, and the
   tests hold all three to each other. Most calls come here, and the same takes a few times as long with an object for every number. */

#ifndef PLAIN_USAGE_H
#define PLAIN_USAGE_H
#include "_json_values.h"

enum {
    ABSENT = -1, /* or null */
    ODD = -2,    /* no count, or more than one attempt can use */
    BUCKETS = 9,
    COUNTS_BYTES = BUCKETS * 4 + 2 * 2 + 1, /* BilledUsage.packed: the buckets, two units, whether a cache was told of */
};
/* What one attempt can use in all; and of both, whatever the size of call and answer (reported_usage.py). */
enum { MOST_BILLED_TOKENS = 1000000000, MOST_INPUT_TOKENS = 10000000, MOST_OUTPUT_TOKENS = 1000000 };

/* Where a bucket stands among the counts: the order of relay_contract.billing.token_buckets. */
enum { INPUT_BUCKET, CACHE_READ, CACHE_WRITE, OUTPUT_BUCKET = 4, REASONING, AUDIO_INPUT, AUDIO_OUTPUT };

enum {
    PROMPT_DETAILS,
    COMPLETION_DETAILS,
    DETAILS, /* the number of the objects in a usage object */
    PROMPT_TOKENS = DETAILS,
    COMPLETION_TOKENS,
    TOTAL_TOKENS,
    REASONING_TOKENS,
    AUDIO_TOKENS,
    CACHED_TOKENS,
    CACHE_WRITE_TOKENS,
    CACHE_CREATION,
    PROMPT_CACHE_HIT_TOKENS,
    NUM_CACHED_TOKENS,
    CACHE_READ_INPUT_TOKENS,
    SERVER_TOOL_USE,
    ITERATIONS,
    USAGE_NAMES, /* also stands for any other */
};
#define SPELLED(name) {name, sizeof(name) - 1}
static const struct {
    const char *bytes;
    size_t size;
} USAGE_NAME[USAGE_NAMES] = {
    SPELLED("prompt_tokens_details"),
    SPELLED("completion_tokens_details"),
    SPELLED("prompt_tokens"),
    SPELLED("completion_tokens"),
    SPELLED("total_tokens"),
    SPELLED("reasoning_tokens"),
    SPELLED("audio_tokens"),
    SPELLED("cached_tokens"),
    SPELLED("cache_write_tokens"),
    SPELLED("cache_creation_input_tokens"),
    SPELLED("prompt_cache_hit_tokens"),
    SPELLED("num_cached_tokens"),
    SPELLED("cache_read_input_tokens"),
    SPELLED("server_tool_use"),
    SPELLED("iterations"),
};
/* Where input from a cache is told of beside the details or in their place, in this order. */
static const int CACHE_BESIDE[] = {PROMPT_CACHE_HIT_TOKENS, CACHED_TOKENS, NUM_CACHED_TOKENS, CACHE_READ_INPUT_TOKENS};

/* Where the values of an object's members stand, NULL where one is absent or null; the last of each, as for who decodes it. */
typedef struct {
    text values[USAGE_NAMES];
} usage_members;

/* The members of a usage object, and of the details in it. */
typedef struct {
    usage_members whole, details[DETAILS];
} usage_object;

typedef struct {
    int64_t buckets[BUCKETS];
    int cache_reported;
    int64_t input, output, cached, reasoning; /* as limits count them: input with what is cached, output with what was thought */
} plain_usage;

static int usage_name_of(const short_string *key)
{
    for (int name = 0; name < USAGE_NAMES; name++)
        if (is_named(key, USAGE_NAME[name].bytes, USAGE_NAME[name].size))
            return name;
    return USAGE_NAMES;
}

/* Adds the members of the object at p, and with details also those of the objects in it. Returns its end, NULL if it is not valid; open
   brackets, few enough for two more, stand around it. */
static text after_usage_members(text p, text end, unsigned open, usage_members *read, usage_members *details)
{
    short_string key;

    p = after_blanks(p + 1);
    if (*p == '}')
        return p + 1;
    for (;;) {
        text value = read_key(p, end, &key);
        if (value == NULL)
            return NULL;
        int name = usage_name_of(&key), has_members = details != NULL && name < DETAILS;
        if (has_members)
            details[name] = (usage_members){{NULL}};
        p = has_members && *value == '{' ? after_usage_members(value, end, open + 1, &details[name], NULL)
                                         : after_value(value, end, open + 1);
        if (p == NULL)
            return NULL;
        if (name != USAGE_NAMES)
            read->values[name] = *value == 'n' ? NULL : value;
        p = after_blanks(p);
        if (*p != ',')
            return *p == '}' ? p + 1 : NULL;
        p = after_blanks(p + 1);
    }
}

/* Reads the value of `usage` at p and returns its end, NULL if it is not valid; one bracket is open around it. */
static text after_usage(text p, text end, usage_object *usage)
{
    memset(usage, 0, sizeof *usage);
    return *p == '{' ? after_usage_members(p, end, 1, &usage->whole, usage->details) : after_value(p, end, 1);
}

/* Returns a count, ABSENT or ODD. */
static int64_t count_of(const usage_members *fields, int name)
{
    text p = fields->values[name];
    int64_t number = 0;

    if (p == NULL)
        return ABSENT;
    if (!is_digit(*p))
        return ODD;
    for (; is_digit(*p); p++)
        if ((number = 10 * number + (*p - '0')) > MOST_BILLED_TOKENS)
            return ODD;
    return *p == '.' || *p == 'e' || *p == 'E' ? ODD : number;
}

/* Returns a count that is 0 where it is absent, or ODD. */
static int64_t part_of(const usage_members *fields, int name)
{
    int64_t number = count_of(fields, name);
    return number == ABSENT ? 0 : number;
}

/* Returns a part that stands in the details, or else beside them; ODD where one is none. */
static int64_t part_or_beside(const usage_members *details, int name, const usage_members *whole, int name_beside)
{
    int64_t number = part_of(details, name);
    return number ? number : part_of(whole, name_beside);
}

/* Returns the input that came from a cache, ABSENT where nothing tells of one, or ODD. */
static int64_t cached_of(const usage_members *whole, const usage_members *details)
{
    int64_t told = count_of(details, CACHED_TOKENS);

    for (size_t i = 0; i < sizeof CACHE_BESIDE / sizeof *CACHE_BESIDE && told <= 0 && told != ODD; i++) {
        int64_t other = count_of(whole, CACHE_BESIDE[i]);
        told = other == ABSENT ? told : other;
    }
    return told;
}

/* Reads what a usage object says; returns 0 for one that is unlike most. */
static int read_plain_usage(const usage_object *object, plain_usage *read)
{
    const usage_members *whole = &object->whole, *details = &object->details[PROMPT_DETAILS],
                        *output_details = &object->details[COMPLETION_DETAILS];
    int64_t input = count_of(whole, PROMPT_TOKENS), output = count_of(whole, COMPLETION_TOKENS);
    int64_t total = count_of(whole, TOTAL_TOKENS);

    for (int i = 0; i < DETAILS; i++)
        if (whole->values[i] != NULL && *whole->values[i] != '{')
            return 0;
    /* what is billed beside tokens is rare, and so are answers of several models */
    if (input < 0 || output < 0 || total == ODD || whole->values[SERVER_TOOL_USE] != NULL
        || whole->values[ITERATIONS] != NULL)
        return 0;
    int64_t reasoning = part_or_beside(output_details, REASONING_TOKENS, whole, REASONING_TOKENS);
    int64_t audio_output = part_of(output_details, AUDIO_TOKENS), audio_input = part_of(details, AUDIO_TOKENS);
    int64_t written = part_or_beside(details, CACHE_WRITE_TOKENS, whole, CACHE_CREATION), cached = cached_of(whole, details);
    /* some count what the model thought beside the output */
    int64_t beside = total == ABSENT ? 0 : total - input - output;
    if (reasoning < 0 || audio_output < 0 || audio_input < 0 || written < 0 || cached == ODD
        || (beside != 0 && beside != reasoning))
        return 0;

    read->cache_reported = cached != ABSENT;
    read->input = input;
    read->output = output + beside;
    read->cached = cached == ABSENT ? 0 : cached;
    read->reasoning = part_of(output_details, REASONING_TOKENS);
    memset(read->buckets, 0, sizeof read->buckets);
    read->buckets[CACHE_READ] = read->cached;
    read->buckets[CACHE_WRITE] = written;
    read->buckets[INPUT_BUCKET] = input - read->cached - written - audio_input;
    read->buckets[OUTPUT_BUCKET] = read->output - reasoning - audio_output;
    read->buckets[REASONING] = reasoning;
    read->buckets[AUDIO_INPUT] = audio_input;
    read->buckets[AUDIO_OUTPUT] = audio_output;
    /* the others are parts of the two, so that these are all of the tokens */
    return read->buckets[INPUT_BUCKET] >= 0 && read->buckets[OUTPUT_BUCKET] >= 0 && input <= MOST_INPUT_TOKENS
           && read->output <= MOST_OUTPUT_TOKENS;
}

/* Writes COUNTS_BYTES. */
static void write_counts(const plain_usage *usage, unsigned char *to)
{
    for (int i = 0; i < BUCKETS; i++)
        for (int byte = 0; byte < 4; byte++)
            *to++ = (unsigned char)((uint64_t)usage->buckets[i] >> 8 * byte);
    memset(to, 0, 4);
    to[4] = (unsigned char)usage->cache_reported;
}
#endif
