/* reaper.h - a small process between the supervisor and each child that it runs.
 *
 * A reaper is a child subreaper (PR_SET_CHILD_SUBREAPER). A process that a script starts stays
 * below the reaper, even after setsid() or a double fork. So each process belongs to a known
 * script, without a cgroup, also with several scripts side by side. When the supervisor dies, the
 * reaper's socket ends, and the reaper kills what is below it.
 */
#ifndef PF_REAPER_H
#define PF_REAPER_H
#include <sys/resource.h>
#include <sys/types.h>

#include "protocol/childpage.h"

enum pf_reaper_command {
    PF_REAPER_TERMINATE = 'T', /* SIGTERM to the whole tree */
    PF_REAPER_KILL = 'K',      /* SIGKILL, until nothing is left */
    PF_REAPER_LEAVE = 'L'      /* exit, and let what still runs go on */
};

/* Sent once, when the child itself has ended. The reaper exits, and its socket ends, when no
 * process of the tree is left. */
struct pf_reaper_report {
    int32_t wait_status;
    uint64_t ended_ns;
};

/* The values before the supervisor changed them for itself: its children get these. */
struct pf_heritage {
    int oom_score_adj;
    struct rlimit
        descriptors; /* RLIMIT_NOFILE; a hard limit of 0: the supervisor has not changed it */
};

struct pf_reaper {
    const struct pf_child_words *words;
    struct pf_child_page *page;
    int control_fd;
    int output_fd; /* the child's stdout and stderr */
    int drain_fd; /* the pipe's other end, which the supervisor reads. After PF_REAPER_LEAVE the
                     reaper reads it, so that a started service does not die of SIGPIPE */
    int park_fd; /* a socket: a parked child writes one byte to it right before execve, and goes on
                    when it has read one; -1: the child does not wait */
    struct pf_heritage heritage;
};

/* The reaper's whole life, in a process just forked. */
_Noreturn void pf_reaper_run(const struct pf_reaper *reaper);

#endif
