#define _GNU_SOURCE
#include "base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct process {
    pid_t pid;
    pid_t parent;
    pid_t group;
    char state;
    char below; /* of the root */
};

struct table {
    struct process *rows;
    size_t count;
    size_t room;
};

/* In /proc/PID/stat the command is in parentheses and may contain parentheses itself: read the
 * fields after the last one. */
static int read_process(int proc_fd, pid_t pid, struct process *out)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "%d/stat", (int)pid);
    PF_AUTO_FD fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : PF_RETRY(read(fd, text, sizeof text - 1));
    if (length <= 0)
        return 0; /* the process has ended meanwhile */
    text[length] = '\0';
    const char *after = strrchr(text, ')');
    *out = (struct process){.pid = pid};
    return after && sscanf(after + 1, " %c %d %d", &out->state, &out->parent, &out->group) == 3;
}

static int add(struct table *table, const struct process *row)
{
    if (table->count == table->room) {
        size_t room = table->room ? table->room * 2 : 256;
        struct process *rows = reallocarray(table->rows, room, sizeof *rows);
        if (!rows)
            return -ENOMEM;
        table->rows = rows;
        table->room = room;
    }
    table->rows[table->count++] = *row;
    return 0;
}

static int read_all(struct table *table)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return -errno;
    int result = 0;
    struct process row;
    for (struct dirent *entry; result == 0 && (entry = readdir(proc));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            read_process(dirfd(proc), (pid_t)strtol(entry->d_name, NULL, 10), &row))
            result = add(table, &row);
    closedir(proc);
    return result;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *left = a, *right = b;
    return (left->pid > right->pid) - (left->pid < right->pid);
}

static int is_below(const struct table *table, pid_t parent, pid_t root)
{
    if (parent == root)
        return 1;
    struct process key = {.pid = parent};
    const struct process *row = bsearch(&key, table->rows, table->count, sizeof key, by_pid);
    return row && row->below;
}

/* Process ids wrap, so a child may have a smaller id than its parent. Repeat until nothing
 * changes. */
static void mark(struct table *table, pid_t root)
{
    if (table->count > 0) /* else there is no array to give */
        qsort(table->rows, table->count, sizeof *table->rows, by_pid);
    for (int changed = 1; changed;) {
        changed = 0;
        for (size_t i = 0; i < table->count; i++) {
            struct process *row = &table->rows[i];
            if (!row->below && is_below(table, row->parent, root)) {
                row->below = 1;
                changed = 1;
            }
        }
    }
}

char pf_process_state(pid_t pid)
{
    PF_AUTO_FD proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct process row;
    return proc_fd >= 0 && read_process(proc_fd, pid, &row) ? row.state : 0;
}

int pf_tree_signal(pid_t root, int signal, pid_t except)
{
    struct table table = {0};
    int result = read_all(&table);
    if (result == 0) {
        mark(&table, root);
        for (size_t i = 0; i < table.count; i++) {
            const struct process *row = &table.rows[i];
            if (!row->below || row->state == 'Z' || row->state == 'X')
                continue;
            result++;
            if (except == 0 || row->group != except)
                kill(row->pid, signal);
        }
    }
    free(table.rows);
    return result;
}
