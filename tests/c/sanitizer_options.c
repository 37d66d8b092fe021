/* What the instrumented supervisor does on a finding: its environment is empty and its stderr is
 * /dev/null, so the choice is linked in, and the findings go to files that the tests look for. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=1:abort_on_error=1:log_path=" LOG_PATH;
}

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1";
}

const char *__tsan_default_options(void)
{
    return "halt_on_error=1:die_after_fork=0:atexit_sleep_ms=50:log_path=" LOG_PATH;
}

/* Beside ASan gcc's UBSan heeds no log_path. An empty file is no finding. */
__attribute__((constructor)) static void keep_stderr(void)
{
    char path[sizeof LOG_PATH + 32];
    snprintf(path, sizeof path, LOG_PATH ".stderr.%d", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0 && dup2(fd, 2) == 2)
        close(fd);
}
