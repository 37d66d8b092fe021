/* thread.h - threads of a program whose memory is locked. */
#ifndef PF_THREAD_H
#define PF_THREAD_H
#include <pthread.h>

/* A thread with a small stack, as all stacks are locked in memory. Returns 0 or an errno value. */
int pf_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

#endif
