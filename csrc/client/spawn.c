/* spawn.c - the embedding process's side: starting the supervisor's program, in either role. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>

#include "base/util.h"
#include "client/run.h"
#include "protocol/wire.h"

/* Descriptors go through numbers above the ones they are expected at, so that none is overwritten
 * before it has been copied. */
static int add_descriptors(posix_spawn_file_actions_t *actions, int *high, const int *fds, int end)
{
    int error = 0;
    for (int fd = 0; fd < PF_FD_SOCKET && error == 0; fd++)
        error = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    for (int fd = PF_FD_SOCKET; fd < end && error == 0; fd++) {
        if (fds[fd] < 0) {
            error = posix_spawn_file_actions_addclose(actions, fd);
            continue;
        }
        high[fd] = fcntl(fds[fd], F_DUPFD_CLOEXEC, end);
        error = high[fd] < 0 ? errno : posix_spawn_file_actions_adddup2(actions, high[fd], fd);
    }
    return error;
}

static int spawn(const char *program, const struct pf_page *page, const char *role, const int *fds,
                 int *high, int end, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        /* A session of its own: the terminal's Ctrl-C is for the client, which then decides. All
         * signals blocked from the first instruction: none can end it before it has a signalfd. */
        sigset_t all;
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
        error = add_descriptors(&actions, high, fds, end);
        char *const argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)page->run_id,
                              (char *)(uintptr_t)role, NULL};
        char *const envp[] = {NULL};
        if (error == 0)
            error = posix_spawn(pid, program, &actions, &attributes, argv, envp);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

int pf_spawn(const char *program, const struct pf_page *page, const char *role, const int *fds,
             int end, pid_t *pid)
{
    int *high = malloc((size_t)end * sizeof *high);
    if (!high)
        return ENOMEM;
    for (int fd = 0; fd < end; fd++)
        high[fd] = -1;
    int error = spawn(program, page, role, fds, high, end, pid);
    for (int fd = 0; fd < end; fd++)
        pf_close_fd(&high[fd]);
    free(high);
    return error;
}
