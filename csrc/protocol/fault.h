/* fault.h - how a function fails: it returns -errno, and says what failed in a pf_fault of its
 * caller's. */
#ifndef PF_FAULT_H
#define PF_FAULT_H
#include <errno.h>

#include "pyfreeze.h"

static inline int pf_fail_at(pf_fault *fault, int op, int index, int error)
{
    *fault = (pf_fault){.op = op, .index = index, .error = error};
    return -error;
}

static inline int pf_fail(pf_fault *fault, int op, int error)
{
    return pf_fail_at(fault, op, -1, error);
}

/* For a call that has just set errno. */
static inline int pf_fail_errno(pf_fault *fault, int op)
{
    return pf_fail(fault, op, errno);
}

#endif
