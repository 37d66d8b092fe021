/* inputs.h - how the inputs of the harnesses begin, and what of: for them, and for seeds.c. */
#ifndef INPUTS_H
#define INPUTS_H
#include <stdint.h>

#include "protocol/wire.h"

/* ---- request.c: a message and a plan's file follow ---------------------------------------------- */

struct request_head {
    uint8_t fix; /* MEND_LENGTH, and enum journal_mend */
    uint8_t length; /* of the message, unless mended */
    uint8_t fds;
    uint8_t appended; /* to the children's output */
};

enum request_mend { MEND_LENGTH = 128 };

/* ---- record.c: a state page and a journal follow -------------------------------------------------- */

struct record_head {
    uint8_t fix; /* enum record_mend, and enum journal_mend */
    uint8_t page_length[2]; /* 256 times the first, and the second; the rest is the journal */
};

enum record_mend {
    MEND_HEADER = 16, /* magic and size, and the ends of the two texts */
    MEND_OFFSETS = 32, /* of the paths: into the room behind the slots */
    MEND_BLACKBOX = 64
};

/* ---- receive.c: messages follow ------------------------------------------------------------------ */

struct receive_head {
    uint8_t asked; /* 1: a plan is under way; 2: a window is, too */
    uint8_t end; /* 1: the run is closed as it ought to be; else it is forgotten. 2: at once */
};

/* One message: made of this, or the bytes that follow. */
struct receive_part {
    uint8_t raw; /* from 0x80 on: how many bytes */
    uint8_t fds;
    uint8_t kind;
    int8_t index;
    int8_t op;
    int8_t error;
};

/* ---- handle.c: orders follow ------------------------------------------------------------------------ */

#define SIMULATED_COUNT 3 /* filesystems */

struct handle_head {
    uint8_t fails[SIMULATED_COUNT]; /* enum failing */
    uint8_t flags; /* enum handle_flag */
};

enum handle_flag {
    HANDLE_FORK_FAILS = 1,
    HANDLE_BYE = 2 /* the client takes its leave; else it only goes */
};

struct order {
    uint8_t kind; /* enum pf_request_kind, or enum other_order */
    uint8_t number; /* of steps, which follow a plan's order; of a child; a failure; a kind */
    uint8_t fds;
    uint8_t flags; /* enum order_flag */
};

enum other_order {
    ORDER_UNKNOWN,
    ORDER_WAIT = PF_REQUEST_BYE + 1,
    ORDER_ANSWER, /* of the peer */
    ORDER_SIGNAL,
    ORDER_PARK,
    ORDER_REPORT, /* fds: the exit status */
    ORDER_REAPER_ENDS,
    ORDER_KINDS
};

enum order_flag {
    ORDER_UNWATCHABLE = 1, /* a peer's descriptor that epoll does not take */
    ORDER_HANGS_UP = 2, /* a peer that is gone before it was told anything */
    ORDER_READ_ONLY = 4,
    ORDER_TELLS_STEPS = 8,
    ORDER_DAMAGED = 128 /* a byte of the journal, before it is handed over; three bytes follow */
};

struct drawn_step {
    uint8_t kind; /* from 0 */
    uint8_t flags; /* enum pf_step_flag, and those of a window above */
    uint8_t group;
    uint8_t skip_if;
    uint8_t only_if;
    uint8_t on_failure;
    uint8_t after; /* 0: whatever was begun */
    uint8_t
        child; /* enum pf_child_flag, the number of attempts above; 128: a window has one, too */
    uint8_t times; /* two numbers of times_ns[] */
};

#endif
