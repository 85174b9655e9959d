/*
 * Notes what a power cut would leave of an append-only file: preloaded into Redis, it writes the size that a file had
 * when an fsync of it began, once that fsync has succeeded, and the size after each write.
 *
 *   cc -shared -fPIC -O1 -o fsync_recorder.so fsync_recorder.c -ldl
 *   FSYNC_RECORD=record LD_PRELOAD=./fsync_recorder.so redis-server ...
 *
 * A line of the record is "F <size> <path>" or "W <size> <path>"; it is appended by one write, so it outlives SIGKILL.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int record = -1;

__attribute__((constructor)) static void open_record(void) {
    const char *path = getenv("FSYNC_RECORD");
    if (path != NULL) record = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* The path of an append-only file behind fd; 0 for everything else. */
static int is_log(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (record < 0 || size < 4) return 0;
    path[size] = 0;
    return strcmp(path + size - 4, ".aof") == 0;
}

static long long size_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? (long long)found.st_size : -1;
}

static void note(char what, long long size, const char *path) {
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%c %lld %s\n", what, size, path);
    static ssize_t (*next)(int, const void *, size_t);
    if (next == NULL) next = dlsym(RTLD_NEXT, "write");
    if (next(record, line, length) < 0) abort();
}

ssize_t write(int fd, const void *data, size_t length) {
    static ssize_t (*next)(int, const void *, size_t);
    if (next == NULL) next = dlsym(RTLD_NEXT, "write");
    ssize_t written = next(fd, data, length);
    char path[PATH_MAX];
    if (written > 0 && is_log(fd, path)) note('W', size_of(fd), path);
    return written;
}

static int sync_by(const char *name, int (**next)(int), int fd) {
    if (*next == NULL) *next = dlsym(RTLD_NEXT, name);
    char path[PATH_MAX];
    int ours = is_log(fd, path);
    long long size = ours ? size_of(fd) : 0;
    int result = (*next)(fd);
    if (result == 0 && ours) note('F', size, path);
    return result;
}

int fsync(int fd) {
    static int (*next)(int);
    return sync_by("fsync", &next, fd);
}

int fdatasync(int fd) {
    static int (*next)(int);
    return sync_by("fdatasync", &next, fd);
}
