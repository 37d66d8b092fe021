/* actor.c - the scripts of these tests: one small program, told by its arguments how to behave.
 *
 * What outlives whom is seen through a FIFO. Everything that the actor starts holds its writing
 * end, so the reader's end-of-file says that all of them are gone; no process id can mislead it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int fifo;

static void say(char letter)
{
    (void)!write(fifo, &letter, 1);
}

static void on_terminate(int signal)
{
    (void)signal;
    say('T');
}

static void open_fifo(const char *path)
{
    fifo = open(path, O_WRONLY);
    if (fifo < 0)
        _exit(99);
}

/* Nobody is left behind for long, even if everything fails. */
static void stay(void)
{
    for (int i = 0; i < 30; i++)
        sleep(1); /* a signal ends one of them only */
    _exit(98);
}

static void be_stubborn(void)
{
    signal(SIGTERM, on_terminate);
}

/* fork, setsid, fork: as daemons do. Returns in the daemon and in the parent. */
static int daemonise(void)
{
    pid_t pid = fork();
    if (pid != 0) {
        waitpid(pid, NULL, 0); /* the one in the middle is not the test's to bury */
        return 0;
    }
    setsid();
    if (fork() != 0)
        _exit(0);
    return 1;
}

static void act_daemon(int status)
{
    be_stubborn();
    if (daemonise()) {
        say('r');
        stay();
    }
    _exit(status);
}

/* Three processes: one in the script's group, one in a session of its own, and the script. */
static void act_family(void)
{
    be_stubborn();
    if (fork() == 0) {
        say('r');
        stay();
    }
    if (daemonise()) {
        say('r');
        stay();
    }
    say('r');
    stay();
}

/* Each generation forks the next one and exits. */
static void act_chain(int own_session)
{
    signal(SIGTERM, SIG_IGN);
    say('r');
    for (int i = 0; i < 200000; i++) {
        if (fork() > 0)
            _exit(0);
        if (own_session)
            setsid();
    }
}

static void act_print(long count)
{
    char text[4096];
    for (long at = 0; at < count;) {
        long part = count - at < (long)sizeof text ? count - at : (long)sizeof text;
        for (long i = 0; i < part; i++)
            text[i] = (char)('a' + (at + i) % 26);
        ssize_t length = write(1, text, (size_t)part);
        if (length <= 0)
            _exit(97);
        at += length;
    }
    _exit(0);
}

static void list_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory))
            printf("fd %s\n", entry->d_name);
    if (directory)
        closedir(directory);
}

static void list_signals(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "Sig", 3) == 0 && strncmp(line, "SigQ", 4) != 0)
            printf("%s", line);
    if (status)
        fclose(status);
}

/* What of its surroundings a script can see. */
static void act_describe(char **environment)
{
    char text[256] = "";
    list_descriptors();
    list_signals();
    ssize_t length = readlink("/proc/self/fd/0", text, sizeof text - 1);
    printf("stdin %.*s\n", length < 0 ? 0 : (int)length, text);
    printf("directory %s\n", getcwd(text, sizeof text) ? text : "?");
    printf("leader %d %d\n", getsid(0) == getpid(), getpgid(0) == getpid());
    printf("umask %03o\n", (unsigned)umask(0));
    for (char **variable = environment; *variable; variable++)
        printf("env %s\n", *variable);
    exit(0);
}

/* Succeeds when PYFREEZE_ATTEMPT is the one that is wanted. */
static void act_attempt(const char *wanted)
{
    const char *attempt = getenv("PYFREEZE_ATTEMPT");
    printf("attempt %s\n", attempt ? attempt : "?");
    exit(attempt && strcmp(attempt, wanted) == 0 ? 0 : 5);
}

int main(int count, char **words, char **environment)
{
    const char *act = count > 1 ? words[1] : "";
    const char *what = count > 2 ? words[2] : "";
    if (strcmp(act, "exit") == 0)
        return atoi(what);
    if (strcmp(act, "signal") == 0)
        return kill(getpid(), atoi(what));
    if (strcmp(act, "print") == 0)
        act_print(atol(what));
    if (strcmp(act, "describe") == 0)
        act_describe(environment);
    if (strcmp(act, "attempt") == 0)
        act_attempt(what);
    open_fifo(what);
    if (strcmp(act, "touch") == 0) {
        say('x');
        return 0;
    }
    if (strcmp(act, "stubborn") == 0) {
        be_stubborn();
        say('r');
        stay();
    }
    if (strcmp(act, "daemon") == 0)
        act_daemon(count > 3 ? atoi(words[3]) : 0);
    if (strcmp(act, "family") == 0)
        act_family();
    if (strcmp(act, "chain") == 0)
        act_chain(0);
    if (strcmp(act, "sessions") == 0)
        act_chain(1);
    return 96;
}
