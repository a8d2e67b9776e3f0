/* What the converter does with bytes that keep their order, as a C programmer would write it for speed: ranges of files over N kept
 * connections, one thread, epoll, received into one small buffer that stays in the cache, CRC-32 of every range, pwrite to its place.
 *
 * usage: pipeline HOST PORT CA|- CONNECTIONS BUFFER MODE SYNC|- OUT|- JOBS
 *   CA    certificate to trust: TLS 1.3; "-": plain HTTP
 *   MODE  receive; crc; write: crc and pwrite; direct: crc and pwrite with O_DIRECT, out of one aligned buffer per connection
 *   SYNC  "sync": fdatasync at the end, counted
 *   JOBS  file with lines "PATH START LENGTH"; the output has them one behind the other
 * Prints one line of JSON: bytes, wall and CPU seconds, CRC of every job. */
#define _GNU_SOURCE
#include "crc32.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_JOBS = 65536, MAX_CONNECTIONS = 256, HEAD_BYTES = 4096, ALIGNMENT = 4096 };
enum mode { RECEIVE, CRC, WRITE, DIRECT };

struct job {
	char path[512];
	uint64_t start, length, place;
	uint32_t crc;
};

struct connection {
	int fd;
	SSL *ssl;
	struct job *job;
	char head[HEAD_BYTES];
	size_t headLength;
	int inBody;
	uint64_t received; /* of the body */
	uint8_t *buffer;   /* DIRECT: its own; else the shared one */
	size_t filled;     /* DIRECT: bytes that wait in `buffer` */
};

static struct job *jobs;
static size_t jobCount, nextJob, jobsDone;
static enum mode mode;
static size_t bufferBytes;
static int out = -1, outTail = -1; /* outTail: without O_DIRECT, for what is not a multiple of 4096 */
static const char *host;

static void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void writeAll(int fd, const uint8_t *data, size_t length, uint64_t place)
{
	while (length > 0) {
		ssize_t written = pwrite(fd, data, length, (off_t)place);
		if (written <= 0) fail("pwrite: %s", strerror(errno));
		data += written, length -= (size_t)written, place += (size_t)written;
	}
}

static void flushDirect(struct connection *c)
{
	uint64_t place = c->job->place + c->received - c->filled;
	size_t whole = place % ALIGNMENT == 0 ? c->filled / ALIGNMENT * ALIGNMENT : 0;
	writeAll(out, c->buffer, whole, place);
	writeAll(outTail, c->buffer + whole, c->filled - whole, place + whole);
	c->filled = 0;
}

/* `data` are the next `length` bytes of the body. */
static void consume(struct connection *c, const uint8_t *data, size_t length)
{
	if (mode >= CRC) c->job->crc = crc32_update(c->job->crc, data, length);
	if (mode == WRITE) writeAll(out, data, length, c->job->place + c->received);
	c->received += length;
	if (mode == DIRECT) {
		c->filled += length;
		if (c->filled == bufferBytes || c->received == c->job->length) flushDirect(c);
	}
}

static void sendAll(struct connection *c, const char *text, int length)
{
	/* A request fits into an empty socket buffer. */
	int sent = c->ssl != NULL ? SSL_write(c->ssl, text, length) : (int)send(c->fd, text, (size_t)length, MSG_NOSIGNAL);
	if (sent != length) fail("send: %d of %d bytes", sent, length);
}

static int startJob(struct connection *c)
{
	if (nextJob == jobCount) return 0;
	c->job = &jobs[nextJob++];
	c->inBody = 0, c->headLength = 0, c->received = 0, c->filled = 0;
	char text[1024];
	int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%llu-%llu\r\n\r\n", c->job->path, host,
		(unsigned long long)c->job->start, (unsigned long long)(c->job->start + c->job->length - 1));
	sendAll(c, text, length);
	return 1;
}

/* The head is complete at `end`: it must promise exactly the range. */
static void checkHead(struct connection *c)
{
	c->head[c->headLength] = 0;
	char *field = strcasestr(c->head, "\r\ncontent-length:");
	uint64_t promised = field == NULL ? 0 : strtoull(field + 17, NULL, 10);
	if (strncmp(c->head, "HTTP/1.1 206", 12) != 0 || promised != c->job->length) fail("unexpected answer: %s", c->head);
}

/* 0: nothing there now. */
static size_t receive(struct connection *c, uint8_t *into, size_t room)
{
	if (c->ssl == NULL) {
		ssize_t count = recv(c->fd, into, room, 0);
		if (count > 0) return (size_t)count;
		if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
		fail("recv: %s", count == 0 ? "closed early" : strerror(errno));
	}
	int count = SSL_read(c->ssl, into, (int)room);
	if (count > 0) return (size_t)count;
	if (SSL_get_error(c->ssl, count) == SSL_ERROR_WANT_READ) return 0;
	fail("SSL_read: %s", ERR_reason_error_string(ERR_get_error()));
	return 0;
}

static void readHead(struct connection *c)
{
	/* Never past the head: up to where its end may first be. Bytes of the body would need a copy. */
	while (!c->inBody) {
		char *head = c->head;
		size_t count = receive(c, (uint8_t *)head + c->headLength, HEAD_BYTES - 1 - c->headLength);
		if (count == 0) return;
		size_t total = c->headLength + count;
		char *end = memmem(head, total, "\r\n\r\n", 4);
		if (end == NULL) {
			c->headLength = total;
			if (total == HEAD_BYTES - 1) fail("the head is too long");
			continue;
		}
		size_t headLength = (size_t)(end + 4 - head), extra = total - headLength;
		uint8_t first[HEAD_BYTES];
		memcpy(first, head + headLength, extra);
		c->headLength = headLength;
		checkHead(c);
		c->inBody = 1;
		if (mode == DIRECT) memcpy(c->buffer, first, extra);
		if (extra > 0) consume(c, mode == DIRECT ? c->buffer : first, extra);
	}
}

static void readBody(struct connection *c)
{
	for (;;) {
		uint64_t missing = c->job->length - c->received;
		if (missing == 0) break;
		size_t room = bufferBytes - c->filled;
		if (room > missing) room = (size_t)missing;
		size_t count = receive(c, c->buffer + c->filled, room);
		if (count == 0) return;
		consume(c, c->buffer + c->filled, count);
		/* A socket that gave less than there was room for is empty. */
		if (c->ssl == NULL && count < room) break;
	}
	if (c->received < c->job->length) return;
	jobsDone++;
	startJob(c);
}

static void openConnection(struct connection *c, int port, SSL_CTX *tls)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect: %s", strerror(errno));
	if (tls != NULL) {
		c->ssl = SSL_new(tls);
		SSL_set_fd(c->ssl, c->fd);
		SSL_set_tlsext_host_name(c->ssl, host);
		SSL_set1_host(c->ssl, host);
		if (SSL_connect(c->ssl) != 1) fail("TLS: %s", ERR_reason_error_string(ERR_get_error()));
	}
	if (!startJob(c)) return;
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void readJobs(const char *path)
{
	FILE *file = fopen(path, "r");
	if (file == NULL) fail("%s: %s", path, strerror(errno));
	jobs = calloc(MAX_JOBS, sizeof *jobs);
	unsigned long long start, length;
	uint64_t place = 0;
	while (jobCount < MAX_JOBS && fscanf(file, "%511s %llu %llu", jobs[jobCount].path, &start, &length) == 3) {
		struct job *job = &jobs[jobCount++];
		job->start = start, job->length = length, job->place = place;
		place += length;
	}
	fclose(file);
}

static SSL_CTX *openTls(const char *ca)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_load_verify_locations(tls, ca, NULL) != 1) fail("%s cannot be read", ca);
	/* Several records per recv: without it every record costs two system calls. */
	SSL_CTX_set_read_ahead(tls, 1);
	SSL_CTX_set_default_read_buffer_len(tls, 128 * 1024);
	return tls;
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int main(int count, char **arguments)
{
	if (count != 10) fail("usage: pipeline HOST PORT CA|- CONNECTIONS BUFFER MODE SYNC|- OUT|- JOBS");
	const char *modes[] = { "receive", "crc", "write", "direct" };
	host = arguments[1];
	size_t connections = strtoul(arguments[4], NULL, 10);
	bufferBytes = strtoul(arguments[5], NULL, 10);
	for (int i = 0; i < 4; i++) if (strcmp(arguments[6], modes[i]) == 0) mode = (enum mode)i;
	if (connections > MAX_CONNECTIONS || bufferBytes % ALIGNMENT != 0) fail("too many connections or odd buffers");
	crc32_setup();
	readJobs(arguments[9]);
	struct timespec begun, ended;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	if (mode >= WRITE) {
		int flags = O_WRONLY | O_CREAT | O_TRUNC;
		out = open(arguments[8], flags | (mode == DIRECT ? O_DIRECT : 0), 0666);
		outTail = mode == DIRECT ? open(arguments[8], O_WRONLY) : out;
		if (out < 0 || outTail < 0) fail("%s: %s", arguments[8], strerror(errno));
		struct job *last = &jobs[jobCount - 1];
		if (ftruncate(out, (off_t)(last->place + last->length)) != 0) fail("ftruncate: %s", strerror(errno));
	}
	SSL_CTX *tls = strcmp(arguments[3], "-") == 0 ? NULL : openTls(arguments[3]);
	struct connection *all = calloc(connections, sizeof *all);
	uint8_t *shared = aligned_alloc(ALIGNMENT, bufferBytes);
	int poll = epoll_create1(0);
	for (size_t i = 0; i < connections; i++) {
		all[i].buffer = mode == DIRECT ? aligned_alloc(ALIGNMENT, bufferBytes) : shared;
		openConnection(&all[i], atoi(arguments[2]), tls);
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &all[i] };
		epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	while (jobsDone < jobCount) {
		struct epoll_event events[64];
		int ready = epoll_wait(poll, events, 64, 30000);
		if (ready <= 0) fail("no data for 30 seconds");
		for (int i = 0; i < ready; i++) {
			struct connection *c = events[i].data.ptr;
			if (!c->inBody) readHead(c);
			if (c->inBody) readBody(c);
		}
	}
	if (strcmp(arguments[7], "sync") == 0 && fdatasync(out) != 0) fail("fdatasync: %s", strerror(errno));
	clock_gettime(CLOCK_MONOTONIC, &ended);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	uint64_t bytes = 0;
	for (size_t i = 0; i < jobCount; i++) bytes += jobs[i].length;
	printf("{\"bytes\":%llu,\"wallSeconds\":%.6f,\"cpuSeconds\":%.6f,\"crc\":[", (unsigned long long)bytes,
		(double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9,
		seconds(usage.ru_utime) + seconds(usage.ru_stime));
	for (size_t i = 0; i < jobCount; i++) printf("%s%u", i > 0 ? "," : "", jobs[i].crc);
	puts("]}");
	return 0;
}
