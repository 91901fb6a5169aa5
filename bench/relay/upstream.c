/*
 * The provider of the benchmark: answers chat calls as fast as one core allows, so that the proxy under test is the limit.
 *
 *   upstream PORT EVENTS INTERVAL_MS
 *
 * A request whose body contains "stream":true or "stream": true gets EVENTS server-sent events, one every INTERVAL_MS milliseconds,
 * then the usage chunk and [DONE]; any other gets one JSON completion of 0.66 KB. HTTP/1.1 with content-length only: every
 * proxy measured here sends that. One thread, epoll, no allocation per request.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 65536
#define HEAD_BYTES 16384
#define TAIL_BYTES 256

struct connection {
    int open;
    int used;                /* bytes of the head received so far */
    long body_left;          /* bytes of the body still to come, -1 while the head is incomplete */
    int streams;             /* the body asked for a stream */
    int tail_used;           /* the last bytes of the part before, so that a split match is found */
    int events_left;         /* events still to send, -1 when no stream is running */
    long long next_event_us;
    char head[HEAD_BYTES];
    char tail[TAIL_BYTES];
};

static struct connection *connections[MAX_CONNECTIONS];
static int streaming[MAX_CONNECTIONS];
static int streaming_count;
static int event_count;
static long interval_us;
static char unary[2048];
static int unary_bytes;
static char chunk_event[1024];
static int chunk_event_bytes;
static char chunk_end[2048];
static int chunk_end_bytes;

static const char stream_head[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    "x-request-id: req_bench\r\n\r\n";

static long long now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int chunked(char *out, const char *data) {
    return sprintf(out, "%zx\r\n%s\r\n", strlen(data), data);
}

static void prepare_answers(void) {
    const char *body =
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench-model\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\""
        "The relay forwards what the provider says and adds nothing of its own to it. The relay forwards what the "
        "provider says and adds nothing of its own to it. The relay forwards what the provider says and adds nothing.\""
        ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":97,"
        "\"completion_tokens\":61,\"total_tokens\":158,\"prompt_tokens_details\":{\"cached_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0}},\"system_fingerprint\":\"fp_bench\"}";
    unary_bytes = sprintf(unary,
                          "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
                          "openai-processing-ms: 1\r\ncontent-length: %zu\r\n\r\n%s",
                          strlen(body), body);
    chunk_event_bytes = chunked(
        chunk_event,
        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\","
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    chunk_end_bytes = chunked(
        chunk_end,
        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\","
        "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n"
        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench-model\","
        "\"choices\":[],\"usage\":{\"prompt_tokens\":97,\"completion_tokens\":33,\"total_tokens\":130}}\n\n"
        "data: [DONE]\n\n");
    chunk_end_bytes += sprintf(chunk_end + chunk_end_bytes, "0\r\n\r\n");
}

static void drop(int fd) {
    if (connections[fd] == NULL || !connections[fd]->open) return;
    connections[fd]->open = 0;
    for (int index = 0; index < streaming_count; index++)
        if (streaming[index] == fd) streaming[index--] = streaming[--streaming_count];
    close(fd);
}

/* Answers are far smaller than a socket's buffer: a short write means that the peer is gone or stuck. */
static int put(int fd, const char *data, int size) {
    if (send(fd, data, size, MSG_NOSIGNAL) == size) return 1;
    drop(fd);
    return 0;
}

static void answer(int fd, struct connection *connection) {
    int streams = connection->streams;
    connection->used = 0;
    connection->body_left = -1;
    connection->streams = 0;
    connection->tail_used = 0;
    if (!streams) {
        put(fd, unary, unary_bytes);
    } else if (put(fd, stream_head, sizeof stream_head - 1)) {
        connection->events_left = event_count;
        connection->next_event_us = now_us();
        streaming[streaming_count++] = fd;
    }
}

static void look_for_stream(struct connection *connection, const char *data, long size) {
    static char window[2 * TAIL_BYTES];
    if (connection->streams) return;
    int kept = connection->tail_used;
    long first = size < TAIL_BYTES ? size : TAIL_BYTES;
    memcpy(window, connection->tail, kept);
    memcpy(window + kept, data, first);
    connection->streams = memmem(window, kept + first, "\"stream\":true", 13) != NULL ||
                          memmem(window, kept + first, "\"stream\": true", 14) != NULL ||
                          memmem(data, size, "\"stream\":true", 13) != NULL ||
                          memmem(data, size, "\"stream\": true", 14) != NULL;
    long keep = size < TAIL_BYTES / 2 ? size : TAIL_BYTES / 2;
    memcpy(connection->tail, data + size - keep, keep);
    connection->tail_used = keep;
}

static void take(int fd, struct connection *connection, char *data, long size) {
    while (size > 0 && connection->open) {
        if (connection->body_left < 0) {
            int room = HEAD_BYTES - 1 - connection->used;
            int part = size < room ? size : room;
            int before = connection->used;
            if (part == 0) return drop(fd);
            memcpy(connection->head + before, data, part);
            connection->used += part;
            connection->head[connection->used] = 0;
            char *end = strstr(connection->head, "\r\n\r\n");
            if (end == NULL) return;
            char *length = strcasestr(connection->head, "\r\ncontent-length:");
            connection->body_left = length != NULL && length < end ? atol(length + 17) : 0;
            long consumed = end + 4 - connection->head - before;
            data += consumed;
            size -= consumed;
        } else {
            long part = size < connection->body_left ? size : connection->body_left;
            look_for_stream(connection, data, part);
            connection->body_left -= part;
            data += part;
            size -= part;
        }
        if (connection->body_left == 0) answer(fd, connection);
    }
}

static void send_due_events(void) {
    long long now = now_us();
    for (int index = 0; index < streaming_count; index++) {
        int fd = streaming[index];
        struct connection *connection = connections[fd];
        if (connection->next_event_us > now) continue;
        connection->next_event_us += interval_us;
        if (connection->events_left-- > 0) {
            if (!put(fd, chunk_event, chunk_event_bytes)) index--;
        } else {
            streaming[index--] = streaming[--streaming_count];
            connection->events_left = -1;
            put(fd, chunk_end, chunk_end_bytes);
        }
    }
}

static void accept_all(int listener, int poll) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int one = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MAX_CONNECTIONS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connections[fd] == NULL) connections[fd] = malloc(sizeof(struct connection));
        memset(connections[fd], 0, offsetof(struct connection, head));
        connections[fd]->open = 1;
        connections[fd]->body_left = -1;
        connections[fd]->events_left = -1;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    static char buffer[1 << 18];
    static struct epoll_event events[1024];
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1;
    if (argc != 4) {
        fprintf(stderr, "usage: upstream PORT EVENTS INTERVAL_MS\n");
        return 2;
    }
    event_count = atoi(argv[2]);
    interval_us = atol(argv[3]) * 1000;
    prepare_answers();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    address.sin_port = htons(atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("upstream");
        return 1;
    }
    int poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 1024, streaming_count ? 1 : -1);
        for (int index = 0; index < ready; index++) {
            int fd = events[index].data.fd;
            if (fd == listener) {
                accept_all(listener, poll);
                continue;
            }
            long size = recv(fd, buffer, sizeof buffer, 0);
            if (size > 0)
                take(fd, connections[fd], buffer, size);
            else if (size == 0 || errno != EAGAIN)
                drop(fd);
        }
        if (streaming_count) send_due_events();
    }
}
