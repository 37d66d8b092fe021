/* thread.h - threads of a program whose memory is locked. */
#ifndef PF_THREAD_H
#define PF_THREAD_H
#include <pthread.h>

/* Start a thread with a small stack, because mlockall() locks all of it. Returns 0 or an errno
 * value. */
int pf_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
