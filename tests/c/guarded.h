/* guarded.h - mappings that end exactly where the file does.
 *
 * mmap() rounds up to whole pages, so a read just past the end of a file would go unseen. Programs
 * linked with -Wl,--wrap=mmap,--wrap=munmap get an inaccessible page behind every shared mapping,
 * and the rest of its last page is poisoned for AddressSanitizer. */
#ifndef GUARDED_H
#define GUARDED_H
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define GUARD_BYTES 4096u

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t size);

static size_t guarded_whole(size_t size)
{
    return (size + GUARD_BYTES - 1) / GUARD_BYTES * GUARD_BYTES;
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    size_t whole = guarded_whole(size);
    char *room = __real_mmap(address, whole + GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                             -1, 0);
    if (room == MAP_FAILED)
        return MAP_FAILED;
    void *map = __real_mmap(room, size, protection, flags | MAP_FIXED, fd, offset);
    if (map == MAP_FAILED) {
        __real_munmap(room, whole + GUARD_BYTES);
        return MAP_FAILED;
    }
    ASAN_POISON_MEMORY_REGION(room + size, whole - size);
    return map;
}

int __wrap_munmap(void *address, size_t size)
{
    size_t whole = guarded_whole(size);
    ASAN_UNPOISON_MEMORY_REGION(address, whole);
    return __real_munmap(address, whole + GUARD_BYTES);
}

#endif
