#define _GNU_SOURCE
#include "base/thread.h"

#include <limits.h>

/* mlockall() locks a stack's whole size. Our threads neither format text nor recurse, so a small
 * one does. */
#define STACK_BYTES ((size_t)32 * 1024)

int pf_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return error;
    size_t stack = STACK_BYTES > (size_t)PTHREAD_STACK_MIN ? STACK_BYTES
                                                           : (size_t)PTHREAD_STACK_MIN;
    error = pthread_attr_setstacksize(&attributes, stack);
    if (error == 0)
        error = pthread_create(thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    return error;
}
