/*
 * What a power cut would take away, and a clock that jumps.
 *
 * kill -9 keeps the page cache, so a server that acknowledges before it has synced loses nothing
 * by it. This library, preloaded into the server, writes down what each write to the database
 * replaces, and forgets that when the file is synced. After kill -9 a test puts back what stands
 * in the journals: exactly what was never synced is gone then. It is one of the outcomes that a
 * power cut may have.
 *
 *   POWERCUT_DIR      files of this directory whose name begins with "quikapp.db" are watched,
 *                     save the -shm file, which is memory and is rebuilt from the log
 *   POWERCUT_JOURNAL  the directory of the journals: one for each file, under the same name
 *   CLOCK_OFFSET      a file of eight bytes, mapped: milliseconds to add to the wall clock
 *
 * A journal is a sequence of records in the machine's byte order:
 *   u64 kind (1 = replaced, 2 = synced), u64 offset, u64 length, u64 size of the file before,
 *   then `length` bytes that were replaced. Of kind 2 the offset says up to which byte of the
 *   journal everything is on the disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 16
#define DESCRIPTORS 65536

struct record { uint64_t kind, offset, length, size; };
struct file { char name[64]; int journal; };

static struct file files[FILES];
static int file_count;
/* Index into `files` plus one, for each descriptor; zero is not watched. */
static unsigned char watched[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir, *journal_dir;
static volatile int64_t *clock_offset;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void die(const char *what) {
    fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open");
    real_openat = dlsym(RTLD_NEXT, "openat");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    dir = getenv("POWERCUT_DIR");
    journal_dir = getenv("POWERCUT_JOURNAL");
    const char *offset = getenv("CLOCK_OFFSET");
    if (offset) {
        int fd = real_open(offset, O_RDWR);
        if (fd < 0) die(offset);
        void *at = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) die(offset);
        real_close(fd);
        clock_offset = at;
    }
}

/* Names the watched file of a path; NULL for any other. */
static const char *watched_name(const char *path) {
    if (!dir || !journal_dir || strncmp(path, dir, strlen(dir)) != 0) return NULL;
    const char *name = strrchr(path, '/');
    if (!name || strncmp(++name, "quikapp.db", 10) != 0 || strstr(name, "-shm")) return NULL;
    return name;
}

static int watch(int fd, const char *path) {
    const char *name = fd < 0 || fd >= DESCRIPTORS ? NULL : watched_name(path);
    if (!name) return fd;
    pthread_mutex_lock(&lock);
    int index = 0;
    while (index < file_count && strcmp(files[index].name, name) != 0) index++;
    if (index == file_count) {
        char journal[4096];
        if (file_count == FILES) die("too many files");
        snprintf(journal, sizeof journal, "%s/%s", journal_dir, name);
        snprintf(files[index].name, sizeof files[index].name, "%s", name);
        files[index].journal = real_open(journal, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (files[index].journal < 0) die(journal);
        file_count++;
    }
    watched[fd] = index + 1;
    pthread_mutex_unlock(&lock);
    return fd;
}

static struct file *file_of(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS || !watched[fd]) return NULL;
    return &files[watched[fd] - 1];
}

static void append(struct file *file, struct record record, const void *bytes) {
    size_t whole = sizeof record + record.length;
    char *buffer = malloc(whole);
    if (!buffer) die("malloc");
    memcpy(buffer, &record, sizeof record);
    if (record.length) memcpy(buffer + sizeof record, bytes, record.length);
    if (real_write(file->journal, buffer, whole) != (ssize_t)whole) die(file->name);
    free(buffer);
}

/* Writes down what `length` bytes at `offset` are before they are replaced. Holds the lock. */
static void replaced(struct file *file, int fd, off_t offset, size_t length) {
    struct stat stat;
    if (fstat(fd, &stat) != 0) die(file->name);
    size_t there = offset >= stat.st_size ? 0 : (size_t)(stat.st_size - offset);
    if (there > length) there = length;
    char *bytes = malloc(there ? there : 1);
    if (!bytes || pread(fd, bytes, there, offset) != (ssize_t)there) die(file->name);
    struct record record = { 1, (uint64_t)offset, there, (uint64_t)stat.st_size };
    append(file, record, bytes);
    free(bytes);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return watch(real_open(path, flags, mode), path);
}
int open64(const char *path, int flags, ...) __attribute__((alias("open")));

int openat(int at, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return watch(real_openat(at, path, flags, mode), path);
}
int openat64(int at, const char *path, int flags, ...) __attribute__((alias("openat")));

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS) watched[fd] = 0;
    return real_close(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    struct file *file = file_of(fd);
    if (!file) return real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    replaced(file, fd, offset, length);
    ssize_t written = real_pwrite(fd, bytes, length, offset);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset)
    __attribute__((alias("pwrite")));

ssize_t write(int fd, const void *bytes, size_t length) {
    struct file *file = file_of(fd);
    if (!file) return real_write(fd, bytes, length);
    pthread_mutex_lock(&lock);
    replaced(file, fd, lseek(fd, 0, SEEK_CUR), length);
    ssize_t written = real_write(fd, bytes, length);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

int ftruncate(int fd, off_t size) {
    struct file *file = file_of(fd);
    if (!file) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    struct stat stat;
    if (fstat(fd, &stat) != 0) die(file->name);
    replaced(file, fd, size, stat.st_size > size ? (size_t)(stat.st_size - size) : 0);
    int result = real_ftruncate(fd, size);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

/* What was written before a sync began is on the disk when it has ended. */
static int synced(int fd, int (*sync)(int)) {
    struct file *file = file_of(fd);
    if (!file) return sync(fd);
    pthread_mutex_lock(&lock);
    off_t end = lseek(file->journal, 0, SEEK_END);
    pthread_mutex_unlock(&lock);
    int result = sync(fd);
    int error = errno;
    if (result == 0) {
        pthread_mutex_lock(&lock);
        if (lseek(file->journal, 0, SEEK_END) == end) {
            if (real_ftruncate(file->journal, 0) != 0) die(file->name);
        } else {
            struct record record = { 2, (uint64_t)end, 0, 0 };
            append(file, record, NULL);
        }
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return result;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

/* What was in a file that is gone does not matter; the next of its name begins anew. */
int unlink(const char *path) {
    int result = real_unlink(path);
    int error = errno;
    const char *name = result == 0 ? watched_name(path) : NULL;
    pthread_mutex_lock(&lock);
    for (int index = 0; name && index < file_count; index++) {
        if (strcmp(files[index].name, name) == 0 && real_ftruncate(files[index].journal, 0) != 0)
            die(name);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = real_clock_gettime(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && clock_offset) {
        int64_t offset = *clock_offset;
        int64_t nanos = time->tv_nsec + (offset % 1000) * 1000000;
        time->tv_sec += offset / 1000;
        if (nanos < 0) { nanos += 1000000000; time->tv_sec--; }
        if (nanos >= 1000000000) { nanos -= 1000000000; time->tv_sec++; }
        time->tv_nsec = nanos;
    }
    return result;
}
