/* Mutates request bodies and scans them, without Python; built with the address and undefined-behaviour sanitizers.

   usage: body_scan_fuzzer SECONDS LEAST SEED. Goes on until the seconds of processor time are over and LEAST texts were tried. The last line is the number of texts and of valid bodies among them.
   The same file is a libFuzzer target: clang -fsanitize=fuzzer,address -DBODY_SCAN_LIBFUZZER. */

#define BODY_SCAN_WITHOUT_PYTHON
#include "_body_scan.c"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static unsigned long texts, valid_bodies;

static void claim(int holds, const char *what, text raw, size_t size)
{
    if (holds)
        return;
    fprintf(stderr, "%s:\n", what);
    fwrite(raw, 1, size, stderr);
    fputc('\n', stderr);
    abort();
}

/* A string says UTF-8 but for lone surrogates, in as much room as it was promised to need, whole or cut. */
static void check_string(text start, text end, text raw, size_t size)
{
    size_t length = (size_t)(end - start), whole = 0, count;
    for (int cut = 0; cut < 2; cut++) {
        size_t most = cut ? length % 7 : length;
        size_t room = length / 4 > most ? 4 * most : length;
        unsigned char *decoded = malloc(room + ROOM_BEYOND);
        unsigned char *last = decode_string(start, end, most, decoded, &count);
        claim(last <= decoded + room, "more text than there was", raw, size);
        claim(count <= most && (cut ? count <= whole : 1), "more characters than asked for", raw, size);
        size_t leads = 0;
        for (unsigned char *byte = decoded; byte < last; byte++)
            leads += !is_continuation(*byte);
        claim(leads == count, "characters counted wrongly", raw, size);
        whole = count;
        free(decoded);
    }
}

/* A span lies in the text; unless it is empty, it is exactly one value. */
static void check_span(span found, text raw, size_t size)
{
    if (found.start == NULL)
        return;
    claim(raw < found.start && found.start <= found.end && found.end < raw + size, "outside", raw, size);
    if (found.start == found.end)
        return;
    claim(after_value(found.start, raw + size, 0) == found.end, "not one value", raw, size);
    if (*found.start == '"')
        check_string(found.start + 1, found.end - 1, raw, size);
}

static const char *const PATHS[] = {"n", "messages.content", "stream_options.x", "messages", "tools.function.strict", "a.b.c.d.e.f"};
enum { PATH_COUNT = sizeof(PATHS) / sizeof(PATHS[0]) };

/* What is left without some parameters is a body of exactly the size that was counted, and has none of them. */
static void check_thinning(text raw, size_t size, unsigned chosen)
{
    removal from;
    body_scan found;

    from.path_count = 0;
    for (unsigned i = 0; i < PATH_COUNT; i++)
        if (chosen >> i & 1)
            claim(read_path(&from.paths[from.path_count++], PATHS[i], strlen(PATHS[i])), "no path", raw, size);
    size_t left = thin_body(&from, raw, size, NULL);
    claim(0 < left && left <= size, "no size", raw, size);
    unsigned char *thinned = malloc(left + 1);
    claim(thin_body(&from, raw, size, (char *)thinned) == left, "another size", raw, size);
    thinned[left] = 0;
    claim(scan_body(&found, thinned, left), "no body any more", raw, size);
    claim(thin_body(&from, thinned, left, NULL) == left, "not all taken out", raw, size);
    free(thinned);
}

/* Members follow one another in a body, each a string and a value. */
static void check_members(text raw, size_t size)
{
    member found[MAX_MEMBERS];
    int count = read_members(found, raw, size);
    text before = raw;

    for (int i = 0; i < count; i++) {
        claim(before < found[i].key.start && found[i].key.end < found[i].value.start, "out of order", raw, size);
        claim(after_string(found[i].key.start + 1, raw + size) == found[i].key.end, "not one key", raw, size);
        check_span(found[i].value, raw, size);
        before = found[i].value.end;
    }
}

/* What is read of a plain answer are tokens that it can have used, and labels that stand in it. */
static void check_plain_answer(const answer_scan *answer, text raw, size_t size)
{
    plain_usage usage;
    plain_report report;
    int64_t tokens = 0;

    if (!read_plain_answer(answer, &usage, &report))
        return;
    for (int i = 0; i < BUCKETS; i++) {
        claim(usage.buckets[i] >= 0, "a bucket below 0", raw, size);
        tokens += usage.buckets[i];
    }
    claim(tokens == usage.input + usage.output, "tokens in no bucket", raw, size);
    claim(usage.input <= MOST_INPUT_TOKENS && usage.output <= MOST_OUTPUT_TOKENS, "too many tokens", raw, size);
    claim(0 <= usage.cached && usage.cached <= usage.input, "more from a cache than there was", raw, size);
    claim(0 <= usage.reasoning && usage.reasoning <= usage.output, "more thought than said", raw, size);
    size_t labels = (size_t)report.bytes[COUNTS_BYTES] + report.bytes[COUNTS_BYTES + 1];
    claim(report.size == LABELS_START + labels && report.size <= sizeof report.bytes, "another size", raw, size);
}

/* An answer that passes for whole is one value, and what it reports are others inside it. */
static void check_answer(text raw, size_t size)
{
    answer_scan answer;

    read_short_string((text)"choices", (text)"choices" + 7, &answer.list);
    read_short_string((text)"message", (text)"message" + 7, &answer.member);
    if (!scan_answer(&answer, raw, size))
        return;
    claim(after_value(after_blanks(raw), raw + size, 0) != NULL, "no value passes for an answer", raw, size);
    check_span(answer.usage, raw, size);
    check_span(answer.model, raw, size);
    check_span(answer.service_tier, raw, size);
    check_plain_answer(&answer, raw, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* exactly as large as the text and its zero byte, so that a read beyond them is found */
    unsigned char *raw = malloc(size + 1);
    body_scan found;

    memcpy(raw, data, size);
    raw[size] = 0;
    texts++;
    claim(is_utf8(raw, raw + size) == is_utf8_by_characters(raw, raw + size), "UTF-8 or not", raw, size);
    claim(base64_sample(raw, raw + size, size % 5 + 1) < raw + size, "a sample outside", raw, size);
    check_answer(raw, size);
    if (scan_body(&found, raw, size)) {
        valid_bodies++;
        for (int i = 0; i < FIRST_OPENING; i++)
            check_span(found.fields[i], raw, size);
        claim(found.opening_count <= MAX_OPENING_MESSAGES, "too many openings", raw, size);
        for (unsigned i = 0; i < found.opening_count; i++)
            check_span(found.openings[i], raw, size);
        claim(after_value(after_blanks(raw), raw + size, 0) != NULL, "not one value", raw, size);
        check_members(raw, size);
        for (unsigned chosen = 0; chosen < 1u << PATH_COUNT; chosen += 1 + (unsigned)size % 7)
            check_thinning(raw, size, chosen);
    }
    free(raw);
    return 0;
}

#ifndef BODY_SCAN_LIBFUZZER
static const char *const SEEDS[] = {
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\\n\xc3\xa9\"},{\"role\":\"user\",\"content\":"
    "[{\"type\":\"text\",\"text\":\"caf\\u00e9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80 and more than a block\"}]}],\"n\":2}",
    " { \"mod\\u0065l\" : \"a\" , \"model\" : \"b\" , \"input\" : [ { \"content\" : -1.5e-3 } , { } ] , \"stream\" : true } ",
    "{\"stream_options\":{\"include_usage\":false,\"x\":[]},\"prompt\":{\"content\":null},\"max_tokens\":10,\"instructions\":\"\"}",
    "{ \"n\" : 1 , \"tools\":[{\"function\":{\"strict\":true,\"name\":\"f\",\"strict\":false}},[],{\"function\":{\"strict\":1}}] ,\"a\":{\"b\":1}}",
    "{\"messages\":[{\"r\\u006fle\":\"us\\u0065r\",\"c\\u006fntent\":\"\\ud800\"}],\"tools\":[[[[[[[[[[{}]]]]]]]]]]}",
    "{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\",\"error\":null},"
    "{ \"m\\u0065ssage\" : [ 1 ] } ],\"usage\":{\"prompt_tokens\":1},\"error\":null}",
    "{\"model\":\"m\",\"choices\":[{\"message\":\"a\"}],\"service_tier\":\"default\",\"usage\":{\"prompt_tokens\":97,\"completion_tokens\":61,"
    "\"total_tokens\":158,\"prompt_tokens_details\":{\"cached_tokens\":32,\"audio_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":20}}}",
};
static const char PARTS[] =
    "{}[]\",:\\u0123456789eE+-.truefalsn \n\t\x01\x7f\x80\xa0\xbf\xc3\xa9\xe0\xed\xf0\x9f\x98\x80\xf4\xff\"\\\"";
enum { MAX_TEXT = 4096 };

static uint64_t state;

static unsigned below(unsigned limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % limit;
}

/* Inserts size bytes; what no longer fits is dropped. */
static size_t inserted(unsigned char *raw, size_t length, size_t place, const unsigned char *bytes, size_t size)
{
    if (length + size > MAX_TEXT)
        return length;
    memmove(raw + place + size, raw + place, length - place);
    memcpy(raw + place, bytes, size);
    return length + size;
}

static size_t mutated(unsigned char *raw, size_t length)
{
    unsigned char bytes[64];
    size_t place = below((unsigned)length + 1), size;
    switch (below(5)) {
    case 0:
        if (place < length)
            raw[place] = (unsigned char)PARTS[below(sizeof(PARTS))];
        return length;
    case 1:
        bytes[0] = (unsigned char)PARTS[below(sizeof(PARTS))];
        return inserted(raw, length, place, bytes, 1);
    case 2: /* the same byte many times: deep nesting, long strings */
        size = below(sizeof(bytes));
        memset(bytes, PARTS[below(sizeof(PARTS))], size);
        return inserted(raw, length, place, bytes, size);
    case 3: /* a part of the text once more */
        size = below(sizeof(bytes));
        if (place + size > length)
            size = length - place;
        memcpy(bytes, raw + place, size);
        return inserted(raw, length, below((unsigned)length + 1), bytes, size);
    default:
        size = below(8);
        if (place + size > length)
            size = length - place;
        memmove(raw + place, raw + place + size, length - place - size);
        return length - size;
    }
}

int main(int count, char **arguments)
{
    unsigned char raw[MAX_TEXT];
    if (count != 4)
        return 2;
    clock_t end = clock() + atol(arguments[1]) * CLOCKS_PER_SEC;
    unsigned long least = strtoul(arguments[2], NULL, 10);
    state = strtoull(arguments[3], NULL, 10) * 2654435761u + 1;
    while (texts < least || texts % 1024 || clock() < end) {
        const char *seed = SEEDS[below(sizeof(SEEDS) / sizeof(SEEDS[0]))];
        size_t length = strlen(seed);
        memcpy(raw, seed, length);
        for (unsigned changes = below(5); changes; changes--)
            length = mutated(raw, length);
        LLVMFuzzerTestOneInput(raw, length);
    }
    printf("%lu texts, %lu valid\n", texts, valid_bodies);
    return 0;
}
#endif
