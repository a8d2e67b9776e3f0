/* Single steps of the pipeline in C.
 *
 * usage: pieces crc FILE REPEATS                  CRC-32 of the file, out of memory
 *        pieces write FILE OUT BLOCK buffered     the file's bytes, out of memory, in blocks; fdatasync at the end
 *        pieces write FILE OUT BLOCK direct       the same with O_DIRECT
 * Prints one line of JSON: wall and CPU seconds of the step alone, and the CRC. */
#define _GNU_SOURCE
#include "crc32.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void check(int isGood, const char *what)
{
	if (isGood) return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static double wallNow(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpuNow(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void writeFile(const char *path, const uint8_t *data, size_t length, size_t block, int flags)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | flags, 0666);
	check(file >= 0 && ftruncate(file, (off_t)length) == 0, path);
	for (size_t done = 0; done < length;) {
		size_t part = length - done < block ? length - done : block;
		ssize_t written = pwrite(file, data + done, part, (off_t)done);
		check(written > 0, "pwrite");
		done += (size_t)written;
	}
	check(fdatasync(file) == 0 && close(file) == 0, "fdatasync");
}

int main(int count, char **arguments)
{
	int isCrc = count == 4 && strcmp(arguments[1], "crc") == 0;
	int isWrite = count == 6 && strcmp(arguments[1], "write") == 0;
	if (!isCrc && !isWrite) return 2;
	crc32_setup();
	int file = open(arguments[2], O_RDONLY);
	struct stat facts;
	check(file >= 0 && fstat(file, &facts) == 0, arguments[2]);
	size_t length = (size_t)facts.st_size;
	uint8_t *data = aligned_alloc(4096, length / 4096 * 4096 + 4096);
	for (size_t done = 0; done < length;) {
		ssize_t got = read(file, data + done, length - done);
		check(got > 0, "read");
		done += (size_t)got;
	}
	double wall = wallNow(), cpu = cpuNow();
	uint32_t crc = 0;
	for (int i = isCrc ? atoi(arguments[3]) : 0; i > 0; i--) {
		crc = crc32_update(0, data, length);
		/* Without it the compiler sees that every round gives the same, and runs one. */
		__asm__ volatile("" : : : "memory");
	}
	if (isWrite) {
		int flags = strcmp(arguments[5], "direct") == 0 ? O_DIRECT : 0;
		writeFile(arguments[3], data, length, strtoul(arguments[4], NULL, 10), flags);
	}
	printf("{\"wallSeconds\":%.6f,\"cpuSeconds\":%.6f,\"crc\":%u}\n", wallNow() - wall, cpuNow() - cpu, crc);
	return 0;
}
