/* reaper.h - one small process between the supervisor and each child it runs.
 *
 * A reaper is a child subreaper, so everything that a script starts, however it detaches itself
 * (setsid, double fork), stays below its reaper: which process belongs to which script needs no
 * cgroup and no guess, also with several scripts side by side. It is also a kill switch: when the
 * supervisor dies, the reaper's socket ends, and it kills what is below it.
 */
#ifndef PF_REAPER_H
#define PF_REAPER_H
#include <sys/resource.h>
#include <sys/types.h>

#include "protocol/childpage.h"

enum pf_reaper_command {
    PF_REAPER_TERMINATE = 'T', /* SIGTERM to the whole tree */
    PF_REAPER_KILL = 'K',      /* SIGKILL, until nothing is left */
    PF_REAPER_LEAVE = 'L'      /* leave what still runs to itself */
};

/* Told once, when the child itself has ended. The reaper exits, and its socket ends, when nothing
 * of the tree is left. */
struct pf_reaper_report {
    int32_t wait_status;
    uint64_t ended_ns;
};

/* What the supervisor has changed for itself, as it was before: its children get it back. */
struct pf_heritage {
    int oom_score_adj;
    struct rlimit descriptors; /* RLIMIT_NOFILE; a hard limit of 0: it is unchanged */
};

struct pf_reaper {
    const struct pf_child_words *words;
    struct pf_child_page *page;
    int control_fd;
    int output_fd; /* the child's stdout and stderr */
    int drain_fd; /* their other end: read by the supervisor, and by the reaper once it is told to
                     leave, so that a service that was started does not die of SIGPIPE */
    int park_fd; /* a socket: the child says there that it is parked, right before execve, and
                    goes when it has read one byte; -1: it need not wait */
    struct pf_heritage heritage;
};

/* The reaper's whole life, in a process just forked. */
_Noreturn void pf_reaper_run(const struct pf_reaper *reaper);

#endif
